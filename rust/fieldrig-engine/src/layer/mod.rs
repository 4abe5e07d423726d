//! Layers: what wraps a stream and is a port itself, so that it stands between a port and an endpoint unseen.
//!
//! Rules of this folder:
//! - A layer is a [`crate::port::Port`] that has one. It never blocks; its own business (a handshake, an alert) is done
//!   while it is read and flushed. An endpoint hears of the connection once [`crate::port::Port::is_opening`] is over.
//! - A layer knows no protocol above it and no kind of port below it.
//! - Bytes it hands up arrived when the bytes below that completed them arrived.

pub(crate) mod rfc2217;
pub(crate) mod tls;
