//! A byte stream -> whole packets, however the stream is cut.

use super::packet::Version;
use super::rule::{self, Violation};
use crate::dissect::hex;

/// A whole packet of a stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The index of its last byte among the bytes just fed: what to ask the stamps for.
    pub last: usize,
}

/// The length of the packet at the start of `bytes`, once its fixed header is there (2.1.4).
///
/// # Errors
/// A remaining length of more than four bytes.
pub fn frame_length(bytes: &[u8], version: Version) -> Result<Option<usize>, Violation> {
    let mut length = 0usize;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some(index + 2 + length));
        }
    }
    match bytes.get(1..5) {
        None => Ok(None),
        Some(field) => {
            let place = (1, "remaining length");
            let expected = "at most four bytes, the last below 0x80";
            Err(Violation::of(&rule::LENGTH_TOO_LONG, version, place, hex(field), expected))
        }
    }
}

/// Cuts a stream into packets. Holds at most one unfinished packet.
#[derive(Clone, Debug)]
pub struct Deframer {
    held: Vec<u8>,
    maximum: usize,
}

impl Default for Deframer {
    /// Takes every packet MQTT allows (256 MiB).
    fn default() -> Deframer {
        Deframer::limited(usize::MAX)
    }
}

impl Deframer {
    /// Takes packets of at most `maximum` bytes.
    #[must_use]
    pub const fn limited(maximum: usize) -> Deframer {
        Deframer { held: Vec::new(), maximum }
    }

    /// Bytes of the unfinished packet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes bytes of the stream and calls `each` with every packet they complete, until it says `false`: then the
    /// rest of the stream is dropped. Packets inside one feed are not copied.
    ///
    /// # Errors
    /// A fixed header from which no length can be read, or a packet above the limit; the rest of the stream is dropped.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        version: Version,
        mut each: impl FnMut(Frame<'_>) -> bool,
    ) -> Result<(), Violation> {
        let before = self.held.len();
        let mut held = std::mem::take(&mut self.held);
        let data = if before == 0 {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let mut at = 0;
        while let Some(length) = frame_length(&data[at..], version)? {
            if length > self.maximum {
                let found = format!("that of a packet of {length} bytes");
                let expected = format!("at most {} bytes", self.maximum);
                return Err(Violation::of(&rule::TOO_LARGE, version, (1, "remaining length"), found, expected));
            }
            let Some(frame) = data.get(at..at + length) else { break };
            at += length;
            if !each(Frame { bytes: frame, last: at - before - 1 }) {
                return Ok(());
            }
        }
        self.held = match (at, before) {
            (0, 1..) => held,
            _ => data[at..].to_vec(),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(deframer: &mut Deframer, bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let mut found = Vec::new();
        deframer
            .feed(bytes, Version::V5, |frame| {
                found.push((frame.bytes.to_vec(), frame.last));
                true
            })
            .unwrap();
        found
    }

    #[test]
    fn packets_are_cut_out_of_one_read() {
        let mut deframer = Deframer::default();
        let found = frames(&mut deframer, &[0xc0, 0, 0xd0, 0, 0x30]);
        assert_eq!(found, [(vec![0xc0, 0], 1), (vec![0xd0, 0], 3)]);
        assert_eq!(deframer.held(), 1);
        assert_eq!(frames(&mut deframer, &[2, 9, 9, 0xc0]), [(vec![0x30, 2, 9, 9], 2)]);
        assert_eq!(frames(&mut deframer, &[0]), [(vec![0xc0, 0], 0)]);
        assert_eq!(deframer.held(), 0);
    }

    #[test]
    fn a_length_of_five_bytes_is_a_violation() {
        let mut deframer = Deframer::default();
        let violation = deframer.feed(&[0x30, 0x80, 0x80, 0x80, 0x80, 1], Version::V5, |_| true).unwrap_err();
        assert_eq!((violation.offset, violation.code), (1, 0x81));
    }

    #[test]
    fn a_packet_above_the_limit_is_refused_by_its_header() {
        let violation = Deframer::limited(10).feed(&[0x30, 9], Version::V5, |_| true).unwrap_err();
        assert_eq!(violation.statement, "MQTT-3.1.2-24");
        assert!(frames(&mut Deframer::limited(10), &[0x30, 8]).is_empty());
    }
}
