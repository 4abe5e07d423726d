//! Modbus: PDUs, the two framings in use, client, server and client faces, monitor, dissection.
//!
//! ```text
//!   Client, ClientFace     ServerFace (faces of a device)
//!      \                      /
//!       Request / Response / Exception        pdu: functions and data, alike on every framing
//!      /                      \
//!   tcp (MBAP header)      rtu (unit, CRC, silence)
//! ```
//!
//! Citations: `AP` is the Application Protocol V1.1b3, `SL` the Serial Line guide V1.02, `MG` the TCP/IP Messaging
//! guide V1.0b.
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

pub mod client;
pub mod client_face;
mod dissect;
pub mod monitor;
pub mod pdu;
pub mod point;
pub mod rtu;
pub mod server;
pub mod tcp;

pub use dissect::{dissect_rtu, dissect_tcp};

use crate::dissect::Sender;
use crate::protocol::Protocol;

/// Modbus on TCP.
pub static TCP: Protocol = Protocol {
    name: "modbus-tcp",
    schemes: &["modbus-tcp", "tcp"],
    dissect: dissect_tcp,
    message_length: |bytes, _| tcp_message_length(bytes),
    unasked: false,
    capture_tag: "mbtcp",
    constructors: &[server::TCP_DEVICE, client_face::TCP_CLIENT],
};

/// Modbus RTU.
pub static RTU: Protocol = Protocol {
    name: "modbus-rtu",
    schemes: &["modbus-rtu", "rtu"],
    dissect: dissect_rtu,
    message_length: |bytes, sender| rtu::adu_length(bytes, traffic(sender)),
    unasked: false,
    capture_tag: "mbrtu",
    constructors: &[server::RTU_DEVICE, client_face::RTU_CLIENT, monitor::RTU_LISTENER],
};

/// For traces: after a length that cannot be gone by, everything is one message.
fn tcp_message_length(bytes: &[u8]) -> Option<usize> {
    match tcp::View(bytes).length() {
        Some(length) if !(1..=tcp::MAX_LENGTH).contains(&length) => Some(bytes.len()),
        _ => tcp::adu_length(bytes),
    }
}

fn traffic(sender: Sender) -> rtu::Traffic {
    match sender {
        Sender::Client => rtu::Traffic::Requests { own: None },
        Sender::Server => rtu::Traffic::Responses,
    }
}
