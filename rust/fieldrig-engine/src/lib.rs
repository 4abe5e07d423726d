//! The machine: the only crate that knows clocks, files, threads and sockets.

pub mod bench;
pub mod json;
pub mod log;
pub mod trace;
