//! RFC 2217: a serial line at the other end of a Telnet connection.
//!
//! Rules of this folder:
//! - To an endpoint it is a wire: bytes, line events, line commands. What Telnet says besides stays here.
//! - Who connects is opened once the other side has agreed to COM-PORT-OPTION and confirmed each setting. A setting that
//!   it answers with another value is refused, by name and value.
//! - Who listens stands for the serial port of an emulated device: it confirms what it is told, and tells the endpoint.
//! - A byte may have waited in the serial server: instants of what comes in are as unsure as those of a USB adapter.

mod option;
mod port;
mod telnet;

pub(crate) use port::{Rfc2217Port, Side};
