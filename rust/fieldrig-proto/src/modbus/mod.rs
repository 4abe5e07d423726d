//! Modbus: PDUs, the framings, client, server and client faces, monitor, dissection.
//!
//! ```text
//!   Client, ClientFace     ServerFace (faces of a device)
//!      \                      /
//!       Request / Response / Exception        pdu: functions and data, alike on every framing
//!      /                      \
//!   tcp (MBAP header)      rtu (unit, CRC, silence)      ascii (":", digits, LRC, CR LF)
//! ```
//!
//! Citations: `AP` is the Application Protocol V1.1b3, `SL` the Serial Line guide V1.02, `MG` the TCP/IP Messaging
//! guide V1.0b, `SEC` MODBUS/TCP Security v36.
//!
//! ```
//! use fieldrig_proto::modbus::{pdu::Request, tcp};
//!
//! let mut pdu = Vec::new();
//! Request::ReadHoldingRegisters { address: 4, quantity: 1 }.encode(&mut pdu);
//! let mut adu = Vec::new();
//! tcp::Adu { length: Some(9), ..tcp::Adu::new(1, 255, &pdu) }.encode(&mut adu);    // a length that lies
//! assert_eq!(adu, [0, 1, 0, 0, 0, 9, 255, 3, 0, 4, 0, 1]);
//! println!("{}", fieldrig_proto::modbus::dissect_tcp(&adu, fieldrig_proto::dissect::Sender::Client).render(&adu));
//! ```

pub mod ascii;
pub mod client;
pub mod client_face;
mod dissect;
pub mod gateway;
pub mod map;
pub mod monitor;
pub mod pdu;
pub mod rtu;
pub mod serial;
pub mod server;
pub mod tcp;
pub mod url;

pub use dissect::{dissect_ascii, dissect_rtu, dissect_tcp};

use crate::dissect::{Dissection, Sender};
use crate::protocol::Protocol;

/// Modbus on TCP.
pub static TCP: Protocol = Protocol {
    name: "modbus-tcp",
    schemes: &["modbus-tcp", "tcp"],
    dissect: &dissect_tcp,
    message_length: &|bytes, _| tcp_message_length(bytes),
    unasked: false,
    half_duplex: false,
    capture_tag: "mbtcp",
    constructors: &[server::TCP_DEVICE, client_face::TCP_CLIENT, client::TESTER],
};

/// Modbus/TCP Security: Modbus on TCP inside TLS (mbaps). What TLS needs stands in the URL of the port.
pub static TLS: Protocol = Protocol { name: "modbus-tls", schemes: &["tls"], ..TCP };

/// Modbus over UDP: the header of Modbus/TCP, one ADU for each datagram.
pub static UDP: Protocol = Protocol {
    name: "modbus-udp",
    schemes: &["modbus-udp", "udp"],
    dissect: &|bytes, sender| Dissection { protocol: "modbus-udp", ..dissect_tcp(bytes, sender) },
    message_length: &|bytes, _| Some(bytes.len()),
    unasked: false,
    half_duplex: false,
    capture_tag: "mbudp",
    constructors: &[server::TCP_DEVICE, client_face::TCP_CLIENT, client::TESTER],
};

/// Modbus RTU.
pub static RTU: Protocol = Protocol {
    name: "modbus-rtu",
    schemes: &["modbus-rtu", "rtu"],
    dissect: &|bytes, sender| dissect_rtu(bytes, heard_from(bytes, sender)),
    message_length: &|bytes, sender| rtu::adu_length(bytes, traffic(sender)),
    unasked: false,
    half_duplex: true,
    capture_tag: "mbrtu",
    constructors: &[server::RTU_DEVICE, client_face::RTU_CLIENT, monitor::RTU_LISTENER, client::LINE_TESTER],
};

/// Modbus ASCII. Wireshark has no dissector for it: in a capture the frames are lines of text.
pub static ASCII: Protocol = Protocol {
    name: "modbus-ascii",
    schemes: &["modbus-ascii", "ascii"],
    dissect: &dissect_ascii,
    message_length: &|bytes, _| ascii::adu_length(bytes),
    unasked: false,
    half_duplex: true,
    capture_tag: "data-text-lines",
    constructors: &[server::ASCII_DEVICE, client_face::ASCII_CLIENT, client::LINE_TESTER],
};

/// For traces: after a length that cannot be gone by, everything is one message.
fn tcp_message_length(bytes: &[u8]) -> Option<usize> {
    match tcp::View(bytes).length() {
        Some(length) if !(1..=tcp::MAX_LENGTH).contains(&length) => Some(bytes.len()),
        _ => tcp::adu_length(bytes),
    }
}

/// A device on a shared wire hears the answers of others, too: what is whole and can only be an answer is read as one.
fn heard_from(bytes: &[u8], sender: Sender) -> Sender {
    let view = rtu::View(bytes);
    let length = pdu::Length::Known(view.pdu().len());
    let answers = || pdu::request_length(view.pdu()) != length && pdu::response_length(view.pdu()) == length;
    if sender == Sender::Client && view.problem().is_none() && answers() { Sender::Server } else { sender }
}

/// A device hears the answers of others on its wire, too: no unit is its own here.
fn traffic(sender: Sender) -> rtu::Traffic {
    match sender {
        Sender::Client => rtu::Traffic::Requests { own: Some(rtu::BROADCAST) },
        Sender::Server => rtu::Traffic::Responses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_hears_from_others_is_read_as_what_it_is() {
        for (pdu, spoken_by) in [
            (&[4, 0, 0, 0, 1][..], Sender::Client),
            (&[4, 2, 9, 9], Sender::Server),
            (&[0x84, 2], Sender::Server),
            (&[6, 0, 1, 0, 2], Sender::Client),
            (&[0x41, 1], Sender::Client),
        ] {
            let mut frame = Vec::new();
            rtu::Adu::new(3, pdu).encode(&mut frame);
            let expected = dissect_rtu(&frame, spoken_by).summary;
            assert_eq!((RTU.dissect)(&frame, Sender::Client).summary, expected);
            assert_eq!((RTU.dissect)(&frame, Sender::Server).summary, dissect_rtu(&frame, Sender::Server).summary);
        }
    }
}
