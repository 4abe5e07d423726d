//! tokio-modbus, the Modbus client and server of the field, on traced links.
//!
//! - [`Client`] is an endpoint that polls a client of tokio-modbus by hand.
//! - [`Server`] runs a server of tokio-modbus on a runtime of its own, over [`Tables`].
//! - It speaks Modbus/TCP and RTU, each inside any stream of bytes; no ASCII, no UDP.
//!
//! Its weak sides, known from its source (0.17), which are not held against whoever it talks to:
//! - An exception to a function that it has no request for (07, 08, 0B, 0C, 14, 15, 18) is to it a mismatch of function
//!   codes ([`Outcome::Exception`] here), and an answer to one is cut where the bytes that have arrived end.
//! - What it cannot yet tell the length of it may take for damaged, and drops a byte: answers to function 2B, and to those it
//!   has no request for, are lost in RTU unless they arrive in one piece. Its server's answer to 11 is cut short on TCP.
//! - It takes any amount of registers for an answer, and any echo; only a debug build asserts. Here each is
//!   [`Outcome::Odd`].
//! - It knows no silences, and takes whatever comes next on a line for the answer: see the rules of [`Client`].

mod client;
mod quiet;
mod server;
mod tables;

pub use client::{Client, Config, Ended, Exchange, Outcome, Ticket};
pub use server::{Server, ServerEvent};
pub use tables::{Table, Tables};
pub use tokio_modbus::{Request, Response};

use fieldrig_proto::time::Duration;
use tokio_modbus::bytes::Bytes;

/// The unit id that means all (SL 2.2).
const BROADCAST: u8 = 0;
/// Function code 08 and its sub-function 0004 (AP 6.8.1).
const DIAGNOSTICS: u8 = 8;
const FORCE_LISTEN_ONLY: u16 = 4;

/// How frames look, and the silence before each that a line needs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Modbus/TCP.
    Tcp,
    /// RTU; `gap` is the silence before each frame, if the link is a line.
    Rtu {
        /// t3.5.
        gap: Option<Duration>,
    },
}

impl Framing {
    fn gap(self) -> Option<Duration> {
        match self {
            Framing::Tcp => None,
            Framing::Rtu { gap } => gap,
        }
    }
}

/// What a request is to which no device ever answers, while tokio-modbus would wait for it; `None` if there is an answer.
#[must_use]
pub fn never_answered(framing: Framing, unit: u8, pdu: &[u8]) -> Option<&'static str> {
    let sub = u16::from_be_bytes([*pdu.get(1).unwrap_or(&0), *pdu.get(2).unwrap_or(&0)]);
    match pdu.first() {
        // SL 2.1; a connection to a gateway speaks to the line behind it.
        _ if framing != Framing::Tcp && unit == BROADCAST => Some("a broadcast"),
        // AP 6.8.1, 0004.
        Some(&DIAGNOSTICS) if pdu.len() > 2 && sub == FORCE_LISTEN_ONLY => Some("Force Listen Only Mode (08/0004)"),
        _ => None,
    }
}

/// The request of a PDU, as tokio-modbus has it.
///
/// # Errors
/// What tokio-modbus says of a PDU that it has no request for.
pub fn request(pdu: &[u8]) -> Result<Request<'static>, String> {
    Request::try_from(Bytes::copy_from_slice(pdu)).map_err(|error| error.to_string())
}
