//! The machine: the only crate that knows clocks, files, threads and sockets.
//!
//! ```text
//!  Rig (clock, run log, capture, sentinel, threads)
//!   +-- Node (one endpoint and its ports)
//!        +-- lease: who drives it now: its owner thread, or a caller
//!             +-- drive: step() over ports, endpoint and time; reactor, line thread, simulation
//!                  +-- layer: TLS on any of these
//!                  +-- port: TCP, unix sockets, serial lines, ptys, wires in memory
//! ```
//!
//! Read [`node`] for what users do, [`lease`] for how threads share a node, `drive/step.rs` for what happens then.

mod acting;
pub mod bench;
mod clock;
pub mod doctor;
mod drive;
mod error;
pub mod json;
mod layer;
pub mod lease;
pub mod link;
pub mod log;
mod node;
mod origin;
mod port;
mod programs;
mod rig;
mod run_delay;
pub mod secrets;
mod sentinel;
pub mod spill;
#[cfg(not(loom))]
pub mod stock;
mod sync;
pub mod trace;

pub use clock::{Clock, ClockKind};
pub use drive::{Gate, GivesUp, LostPort, Sent, Step, Timing, TimingClass};
pub use error::EngineError;
pub use layer::tls::{TlsSettings, TlsVersion};
pub use node::{Called, Faults, Node};
pub use origin::{Origin, clock_of, origin};
pub use port::calibration;
pub use port::{
    Drive, Holder, LineCounts, LineReport, MemoryEnd, Mismatch, ModemLines, PortSpec, Rs485, SerialOptions, SerialPort,
    UrlError, UsbPort, WireLock, WireOptions, memory_pair, ports, ports_in,
};
pub use rig::{Binding, Rig, RigOptions, Thread};
pub use sentinel::{Stall, StallKind};
