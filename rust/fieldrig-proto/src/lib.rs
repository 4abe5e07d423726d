//! Protocols as sans-I/O state machines: bytes and time in, bytes and events out.
//!
//! ```text
//!            Input (Opened, Bytes + stamps, Line, Closed, Writable)      now
//!                 |                                                       |
//!            +----v-------------------------------------------------------v---+
//!            |  Endpoint: client, device (store + model + faces), broker,     |
//!            |  console; built from codecs (bytes <-> messages) and framers   |
//!            +----+------------------------+-----------------------+----------+
//!                 |                        |                       |
//!            Action (Send, Close, ..)   Event -> Record       poll_timeout
//! ```
//!
//! Layers, from the floor up:
//! - [`time`], [`timing`], [`verdict`], [`record`], [`fault`], [`dissect`]: words that everything shares.
//! - [`endpoint`]: the seam and its calling contract. Read it before writing an endpoint.
//! - [`mod@line`]: serial lines and the framing toolkit; [`device`]: stores, models, faces.
//! - one folder for each protocol: [`modbus`], [`mqtt`]. Protocols never import each other.
//! - [`protocol`]: the descriptor through which the engine, which knows no protocol, uses one.
//!
//! What holds everywhere: nothing here reads a clock, opens a file or a socket, starts a thread or prints; no input
//! bytes make anything panic; unknown codes are kept, not rejected; what went wrong on the wire is an event with fields.

#![forbid(unsafe_code)]

pub mod certificate;
pub mod checksum;
pub mod device;
pub mod dissect;
pub mod endpoint;
pub mod fault;
pub mod line;
pub mod modbus;
pub mod mqtt;
pub mod protocol;
mod reader;
pub mod record;
pub mod time;
pub mod timing;
pub mod verdict;
