//! Packets that may be anything: for sending what a correct sender never sends.

use super::encode::{EncodeError, encode, put_varint};
use super::packet::{Packet, Version};
use std::ops::Range;

/// A packet, taken apart only as far as that each part can be wrong on its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawPacket {
    /// Packet type and flags.
    pub first: u8,
    /// The remaining length as it is sent; `None` computes the right one.
    pub length: Option<Vec<u8>>,
    /// Everything after the fixed header.
    pub body: Vec<u8>,
}

/// One deliberate change of a packet. Offsets count in the body, from the first byte after the remaining length;
/// what lies beyond its end is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Patch {
    /// Another packet type and flags.
    First(u8),
    /// Other flags, same packet type.
    Flags(u8),
    /// Another remaining length, in its shortest form.
    Length(u32),
    /// These bytes as remaining length.
    LengthBytes(Vec<u8>),
    /// Other bytes at an offset.
    Overwrite(usize, Vec<u8>),
    /// More bytes at an offset.
    Insert(usize, Vec<u8>),
    /// Fewer bytes.
    Remove(Range<usize>),
    /// Only so many bytes; the remaining length stays what it was.
    CutAt(usize),
    /// More bytes at the end.
    Append(Vec<u8>),
}

impl RawPacket {
    /// The bytes of a correct packet, ready to be patched.
    ///
    /// # Errors
    /// Those of [`encode`].
    pub fn of(packet: &Packet, version: Version) -> Result<RawPacket, EncodeError> {
        let mut bytes = Vec::new();
        encode(packet, version, &mut bytes)?;
        let head = 1 + bytes.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let body = bytes.split_off(head.min(bytes.len()));
        Ok(RawPacket { first: bytes[0], length: None, body })
    }

    /// Applies a patch.
    #[must_use]
    pub fn patched(mut self, patch: &Patch) -> RawPacket {
        let length = self.body.len();
        match patch {
            Patch::First(byte) => self.first = *byte,
            Patch::Flags(flags) => self.first = self.first & 0xf0 | flags & 0x0f,
            Patch::Length(value) => self.length = Some(varint(*value)),
            Patch::LengthBytes(bytes) => self.length = Some(bytes.clone()),
            Patch::Overwrite(at, bytes) => {
                let rest = self.body.get_mut(*at..).unwrap_or_default();
                rest.iter_mut().zip(bytes).for_each(|(old, new)| *old = *new);
            }
            Patch::Insert(at, bytes) => {
                let at = (*at).min(length);
                self.body.splice(at..at, bytes.iter().copied());
            }
            Patch::Remove(range) => {
                let start = range.start.min(length);
                self.body.drain(start..range.end.clamp(start, length));
            }
            Patch::CutAt(count) => {
                self.length.get_or_insert_with(|| varint(length as u32));
                self.body.truncate(*count);
            }
            Patch::Append(bytes) => self.body.extend_from_slice(bytes),
        }
        self
    }

    /// Appends the packet to `out`, as it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.first);
        match &self.length {
            Some(bytes) => out.extend_from_slice(bytes),
            None => put_varint(self.body.len() as u32, out),
        }
        out.extend_from_slice(&self.body);
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 5);
        self.write(&mut out);
        out
    }
}

fn varint(value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(value, &mut bytes);
    bytes
}
