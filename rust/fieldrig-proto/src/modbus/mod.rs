//! Modbus: PDUs, the two framings in use, client, server face, dissection.
//!
//! ```text
//!   Client                 ServerFace (a face of a device)
//!      \                      /
//!       Request / Response / Exception        pdu: functions and data, alike on every framing
//!      /                      \
//!   tcp (MBAP header)      rtu (unit, CRC, silence)
//! ```
//!
//! Citations: `AP` is the Application Protocol V1.1b3, `SL` the Serial Line guide V1.02, `MG` the TCP/IP Messaging guide V1.0b.

pub mod client;
pub mod pdu;
pub mod rtu;
pub mod tcp;
