//! The header of LINKTYPE_WIRESHARK_UPPER_PDU packets: tags that name the dissector and stand in for addresses and
//! ports (epan/exported_pdu.h of Wireshark). Tags and lengths are big-endian; values are padded to four octets.
//!
//! fieldrig is 10.0.0.1, the other side of link `n` is 10.1.x.y with `x * 256 + y = n + 1`. The client has a port of its
//! own for each connection, the server the one its dissector expects: without it Wireshark cannot tell queries from
//! responses.

use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::endpoint::Conn;

const END: u16 = 0;
const DISSECTOR_NAME: u16 = 12;
const IPV4_SOURCE: u16 = 20;
const IPV4_DESTINATION: u16 = 21;
const PORT_TYPE: u16 = 24;
const SOURCE_PORT: u16 = 25;
const DESTINATION_PORT: u16 = 26;
const PORT_TYPE_TCP: u32 = 2;
const PORT_TYPE_UDP: u32 = 3;

/// The dissector of bytes that are no message of a known protocol.
pub(super) const DATA: &str = "data";

/// Where the dissectors of Wireshark expect their server; others do not look at the port.
const SERVER_PORTS: [(&str, u32); 5] = [("mbtcp", 502), ("mbudp", 502), ("mbrtu", 502), ("mqtt", 1883), ("tls", 802)];
/// Dissectors that expect datagrams.
const OVER_UDP: [&str; 1] = ["mbudp"];
/// RFC 863, discard: for dissectors that do not look at the port.
const OTHER_PORT: u32 = 9;

/// Where a message belongs.
pub(super) struct Place<'a> {
    pub(super) tag: &'a str,
    pub(super) link: u32,
    pub(super) conn: Conn,
    pub(super) direction: Direction,
    pub(super) sender: Sender,
}

/// Appends the header.
pub(super) fn write(out: &mut Vec<u8>, place: &Place<'_>) {
    let us = [10, 0, 0, 1];
    let [.., high, low] = place.link.wrapping_add(1).to_be_bytes();
    let them = [10, 1, high, low];
    let (source, destination) = if place.direction == Direction::Out { (us, them) } else { (them, us) };
    let server = SERVER_PORTS.iter().find(|(tag, _)| *tag == place.tag).map_or(OTHER_PORT, |(_, port)| *port);
    let client = 0xc000 | (place.conn.0 & 0x3fff);
    let (from, to) = if place.sender == Sender::Client { (client, server) } else { (server, client) };
    tag(out, DISSECTOR_NAME, place.tag.as_bytes());
    tag(out, IPV4_SOURCE, &source);
    tag(out, IPV4_DESTINATION, &destination);
    let port_type = if OVER_UDP.contains(&place.tag) { PORT_TYPE_UDP } else { PORT_TYPE_TCP };
    tag(out, PORT_TYPE, &port_type.to_be_bytes());
    tag(out, SOURCE_PORT, &from.to_be_bytes());
    tag(out, DESTINATION_PORT, &to.to_be_bytes());
    tag(out, END, &[]);
}

fn tag(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let padded = value.len().next_multiple_of(4);
    out.extend(code.to_be_bytes());
    out.extend((padded as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.extend(std::iter::repeat_n(0, padded - value.len()));
}

/// Reads a header written by [`write`]: dissector, sender, and the message after it.
pub(super) fn read(mut bytes: &[u8]) -> Option<(&str, Sender, &[u8])> {
    let (mut name, mut sender) = ("", Sender::Server);
    loop {
        let (code, rest) = bytes.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        bytes = rest;
        match u16::from_be_bytes(*code) {
            END => return Some((name, sender, bytes)),
            DISSECTOR_NAME => name = std::str::from_utf8(value).ok()?.trim_end_matches('\0'),
            SOURCE_PORT if u32::from_be_bytes(*value.first_chunk()?) >= 0xc000 => sender = Sender::Client,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_dissector_and_sender() {
        for (sender, direction) in [(Sender::Client, Direction::Out), (Sender::Server, Direction::In)] {
            let mut bytes = Vec::new();
            write(&mut bytes, &Place { tag: "mbrtu", link: 0, conn: Conn(3), direction, sender });
            bytes.extend(b"hello");
            assert_eq!(read(&bytes), Some(("mbrtu", sender, &b"hello"[..])));
            for end in 0..bytes.len() - 5 {
                assert_eq!(read(&bytes[..end]), None);
            }
        }
    }
}
