//! RFC 2217: a serial line at the other end of a Telnet connection.
//!
//! Rules of this folder:
//! - To an endpoint it is a wire: bytes, line events, line commands. What Telnet says besides stays here.
//! - Who connects is opened once the other side has agreed to COM-PORT-OPTION, confirmed each setting, and thrown away
//!   what its line said before; from there on each byte counts. A setting that it answers with another value is
//!   refused, by name and value; so is one that it does not answer (section 2: each has to be acknowledged).
//! - Who listens stands for the serial port of an emulated device: it confirms what it is told, tells the endpoint, and
//!   says what it was asked (RFC 2217, SET-CONTROL). If the speed of the device is stated, a client at another one hears
//!   and says garbage ([`crate::Mismatch`]).
//! - What happens is told as the masks of the client want it: line states only if asked for, modem lines unless not
//!   (RFC 2217, SET-LINESTATE-MASK, SET-MODEMSTATE-MASK).
//! - A byte may have waited in the serial server: instants of what comes in are as unsure as those of a USB adapter.

mod modem;
mod option;
mod port;
mod telnet;
#[cfg(test)]
mod tests;

pub use modem::{Drive, ModemLines};
pub(crate) use port::{Rfc2217Port, Side};
