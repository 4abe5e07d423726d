//! Stock: the clients and servers that a device meets in the field, on traced links.
//!
//! ```text
//!   their code (a future) <--> Transport | Far end <--> endpoint of ours <--> port, traced and stamped
//! ```
//!
//! Rules of this folder:
//! - Their code reads and writes a [`transport::Transport`], which is two queues of bytes and no socket. An endpoint of ours
//!   is at the far end of it. So every port of the engine will do, and every byte passes through the capture.
//! - A client that keeps no time and starts no tasks is polled by hand, by whoever drives its endpoint: it needs no runtime
//!   and no thread, and works on virtual time. A server brings tasks of its own; it gets a runtime on a thread, which ends
//!   with it.
//! - Their code may panic. It is caught, said, and the connection begun anew; it never reaches our caller.

pub mod modbus;
mod transport;
