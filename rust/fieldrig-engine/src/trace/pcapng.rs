//! Blocks of the pcapng file format (draft-ietf-opsawg-pcapng), little-endian: written, and read back.
//!
//! Besides the standard options each packet carries one custom option (code 2989) with what pcapng has no words for:
//! the uncertainty of the stamp (a packet that was sent left so much later at most, one that was received came so much
//! earlier at most) and the connection; each interface carries one (code 2988) with the name of the
//! protocol. Programs that do not know a custom option must skip it. fieldrig has no enterprise number of its own;
//! 32473 is the one reserved for examples (RFC 5612).

use super::instant;
use fieldrig_proto::dissect::Direction;
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::time::{Duration, Stamp, Time};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 0x0a;
/// `TLSK`: lines of the NSS key log.
const TLS_KEY_LOG: u32 = 0x544c_534b;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// LINKTYPE_WIRESHARK_UPPER_PDU: packets that begin with the name of their dissector.
const UPPER_PDU: u16 = 252;
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const EPB_FLAGS: u16 = 2;
const CUSTOM_TEXT: u16 = 2988;
const CUSTOM_OCTETS: u16 = 2989;
const ENTERPRISE: u32 = 32473;

/// An interface: one link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) description: String,
    /// Name of the protocol, empty for bytes of no known protocol.
    pub(super) protocol: String,
    /// Seconds to add to each stamp to get the wall clock.
    pub(super) offset: i64,
}

/// A packet: one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Packet<'a> {
    pub(super) interface: u32,
    pub(super) conn: Conn,
    pub(super) direction: Direction,
    pub(super) stamp: Stamp,
    pub(super) comment: Option<&'a str>,
    pub(super) data: &'a [u8],
}

/// A block read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Block<'a> {
    Section,
    Interface(Interface),
    Packet(Packet<'a>),
    Other,
}

/// Appends the section header.
pub(super) fn write_section(out: &mut Vec<u8>, comment: &str) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend([1, 0, 0, 0]);
        out.extend((-1i64).to_le_bytes());
        option(out, OPT_COMMENT, &[comment.as_bytes()]);
        option(out, SHB_USERAPPL, &[concat!("fieldrig ", env!("CARGO_PKG_VERSION")).as_bytes()]);
        option(out, 0, &[]);
    });
}

/// Appends an interface description.
pub(super) fn write_interface(out: &mut Vec<u8>, interface: &Interface) {
    block(out, INTERFACE, |out| {
        out.extend(UPPER_PDU.to_le_bytes());
        out.extend([0; 6]);
        option(out, IF_NAME, &[interface.name.as_bytes()]);
        if !interface.description.is_empty() {
            option(out, IF_DESCRIPTION, &[interface.description.as_bytes()]);
        }
        option(out, IF_TSRESOL, &[&[9]]);
        option(out, IF_TSOFFSET, &[&interface.offset.to_le_bytes()]);
        option(out, CUSTOM_TEXT, &[&ENTERPRISE.to_le_bytes(), interface.protocol.as_bytes()]);
        option(out, 0, &[]);
    });
}

/// Appends keys of TLS sessions.
pub(super) fn write_session_keys(out: &mut Vec<u8>, lines: &str) {
    block(out, DECRYPTION_SECRETS, |out| {
        out.extend_from_slice(&TLS_KEY_LOG.to_le_bytes());
        out.extend_from_slice(&(lines.len() as u32).to_le_bytes());
        out.extend_from_slice(lines.as_bytes());
        pad(out, lines.len());
    });
}

/// Appends a packet; `data` is given in two parts.
pub(super) fn write_packet(out: &mut Vec<u8>, packet: &Packet<'_>, header: &[u8]) {
    let length = ((header.len() + packet.data.len()) as u32).to_le_bytes();
    let nanos = instant(packet.direction, packet.stamp).as_nanos();
    let uncertainty = u64::try_from(packet.stamp.uncertainty().as_nanos()).unwrap_or(u64::MAX);
    block(out, ENHANCED_PACKET, |out| {
        out.extend_from_slice(&packet.interface.to_le_bytes());
        out.extend_from_slice(&((nanos >> 32) as u32).to_le_bytes());
        out.extend_from_slice(&(nanos as u32).to_le_bytes());
        out.extend_from_slice(&length);
        out.extend_from_slice(&length);
        out.extend_from_slice(header);
        out.extend_from_slice(packet.data);
        pad(out, header.len() + packet.data.len());
        if let Some(comment) = packet.comment {
            option(out, OPT_COMMENT, &[comment.as_bytes()]);
        }
        let flags: u32 = if packet.direction == Direction::In { 1 } else { 2 };
        option(out, EPB_FLAGS, &[&flags.to_le_bytes()]);
        let conn = packet.conn.0.to_le_bytes();
        option(out, CUSTOM_OCTETS, &[&ENTERPRISE.to_le_bytes(), &uncertainty.to_le_bytes(), &conn]);
        option(out, 0, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

/// Appends one option; values longer than an option can be are cut.
fn option(out: &mut Vec<u8>, code: u16, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().min(usize::from(u16::MAX));
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(length as u16).to_le_bytes());
    let mut left = length;
    for part in parts {
        let part = &part[..part.len().min(left)];
        out.extend_from_slice(part);
        left -= part.len();
    }
    pad(out, length);
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.wrapping_neg() & 3]);
}

/// Reads the next block and says how many bytes it takes; `None` if the rest is not a whole block of ours.
pub(super) fn read_block(bytes: &[u8]) -> Option<(Block<'_>, usize)> {
    let kind = u32_at(bytes, 0)?;
    let length = u32_at(bytes, 4)? as usize;
    if length < 12 || !length.is_multiple_of(4) {
        return None;
    }
    let body = bytes.get(8..length.checked_sub(4)?)?;
    bytes.get(..length)?;
    let block = match kind {
        SECTION_HEADER if u32_at(body, 0) == Some(BYTE_ORDER) => Block::Section,
        SECTION_HEADER => return None,
        INTERFACE => Block::Interface(read_interface(body)?),
        ENHANCED_PACKET => Block::Packet(read_packet(body)?),
        _ => Block::Other,
    };
    Some((block, length))
}

fn read_interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface::default();
    for (code, value) in options(body.get(8..)?) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match code {
            IF_NAME => interface.name = text(),
            IF_DESCRIPTION => interface.description = text(),
            IF_TSOFFSET => interface.offset = i64::from_le_bytes(*value.first_chunk()?),
            CUSTOM_TEXT if u32_at(value, 0) == Some(ENTERPRISE) => {
                interface.protocol = String::from_utf8_lossy(&value[4..]).into_owned();
            }
            _ => {}
        }
    }
    Some(interface)
}

fn read_packet(body: &[u8]) -> Option<Packet<'_>> {
    let nanos = u64::from(u32_at(body, 4)?) << 32 | u64::from(u32_at(body, 8)?);
    let at = Time::from_nanos(nanos);
    let mut uncertainty = Duration::ZERO;
    let length = u32_at(body, 12)? as usize;
    let data = body.get(20..20usize.checked_add(length)?)?;
    let mut packet = Packet {
        interface: u32_at(body, 0)?,
        conn: Conn(0),
        direction: Direction::In,
        stamp: Stamp::exact(at),
        comment: None,
        data,
    };
    for (code, value) in options(body.get(20 + length.next_multiple_of(4)..)?) {
        match code {
            OPT_COMMENT => packet.comment = std::str::from_utf8(value).ok(),
            EPB_FLAGS if u32_at(value, 0)? & 3 == 2 => packet.direction = Direction::Out,
            CUSTOM_OCTETS if u32_at(value, 0) == Some(ENTERPRISE) => {
                uncertainty = Duration::from_nanos(u64::from_le_bytes(*value.get(4..)?.first_chunk()?));
                packet.conn = Conn(u32_at(value, 12)?);
            }
            _ => {}
        }
    }
    packet.stamp = match packet.direction {
        Direction::Out => Stamp::between(at, at + uncertainty),
        Direction::In => Stamp::between(at - uncertainty, at),
    };
    Some(packet)
}

fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let code = u16::from_le_bytes(*bytes.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?));
        let value = bytes.get(4..4 + length)?;
        bytes = bytes.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        (code != 0).then_some((code, value))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_le_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface() -> Interface {
        Interface { name: "bus".to_owned(), description: "9600 8E1".to_owned(), protocol: "toy".to_owned(), offset: 77 }
    }

    fn packet() -> Packet<'static> {
        Packet {
            interface: 3,
            conn: Conn(7),
            direction: Direction::Out,
            stamp: Stamp::between(Time::from_nanos(1 << 40), Time::from_nanos((1 << 40) + 9)),
            comment: Some("odd"),
            data: b"12345",
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut file = Vec::new();
        write_section(&mut file, "a test");
        write_interface(&mut file, &interface());
        write_packet(&mut file, &Packet { data: b"345", ..packet() }, b"12");
        assert!(file.len().is_multiple_of(4));
        let (section, used) = read_block(&file).unwrap();
        assert_eq!(section, Block::Section);
        let rest = &file[used..];
        let (read, used) = read_block(rest).unwrap();
        assert_eq!(read, Block::Interface(interface()));
        let (read, used_by_packet) = read_block(&rest[used..]).unwrap();
        assert_eq!(read, Block::Packet(packet()));
        assert_eq!(used + used_by_packet, rest.len());
    }

    #[test]
    fn torn_and_foreign_blocks_are_refused_not_feared() {
        let mut file = Vec::new();
        write_packet(&mut file, &packet(), b"");
        for end in 0..file.len() {
            assert_eq!(read_block(&file[..end]), None, "{end} bytes");
        }
        for at in 0..file.len() {
            for value in [0, 0x7f, 0xff] {
                let mut broken = file.clone();
                broken[at] = value;
                let _ = read_block(&broken);
            }
        }
    }
}
