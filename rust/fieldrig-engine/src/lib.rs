//! The machine: the only crate that knows clocks, files, threads and sockets.
