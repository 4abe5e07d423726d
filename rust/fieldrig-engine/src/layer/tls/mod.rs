//! TLS on any stream, by rustls without its I/O.
//!
//! ```text
//!   endpoint  --plain bytes-->  TlsPort (session, records)  --cipher bytes-->  the port below
//!   TlsSettings (of a URL) --> ClientSide / ServerSide: made once for a port, shared by its connections
//! ```
//!
//! Rules of this folder:
//! - The handshake is done while the port is read and flushed, so one that takes its time keeps nobody waiting. A
//!   connection whose handshake fails was never there for the endpoint; who refused whom, and why, is said in words.
//! - Plain bytes are captured as ever. Cipher text, and the keys to read it, only if the settings ask for it.
//! - Nothing of any protocol above is known here: an endpoint gets the certificate of the other side as it was presented.

mod port;
mod record;
mod session;
mod settings;
mod side;
mod words;

pub(crate) use port::{Tap, TlsPort};
pub(crate) use record::RECORDS;
pub(crate) use settings::KEYS;
pub use settings::{TlsSettings, TlsVersion};
pub(crate) use side::{ClientSide, Problem, ServerSide};
pub(crate) use words::Refusal;
