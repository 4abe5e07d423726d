//! A cursor over one packet. Every read names its field, so that one parser yields values, violations and dissections.

use super::packet::Version;
use super::rule::{self, Rule, Violation};
use crate::dissect::{Field, hex};
use std::ops::Range;

/// Reads a packet from front to back.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Fields end here; narrower than `bytes` inside a property list.
    pub(super) end: usize,
    pub(super) version: Version,
    /// Collects what was read, for a dissection.
    pub(super) fields: Option<&'a mut Vec<Field>>,
}

type Read<T> = Result<T, Violation>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], version: Version, fields: Option<&'a mut Vec<Field>>) -> Reader<'a> {
        Reader { bytes, at: 0, end: bytes.len(), version, fields }
    }

    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    pub(super) fn note(&mut self, range: Range<usize>, name: &'static str, value: impl FnOnce() -> String) {
        if let Some(fields) = &mut self.fields {
            fields.push(Field { range, name: name.into(), value: value(), note: None });
        }
    }

    pub(super) fn fail<T>(
        &self,
        rule: &Rule,
        place: (usize, &'static str),
        found: impl Into<String>,
        expected: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Read<T> {
        Err(Violation::of(rule, self.version, place, found, expected))
    }

    /// The next `count` bytes, without a note.
    fn take(&mut self, count: usize, field: &'static str) -> Read<&'a [u8]> {
        if self.left() < count {
            let found = format!("cut off after {} of {count} bytes", self.left());
            return self.fail(&rule::TRUNCATED, (self.at, field), found, "a whole field");
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn number(&mut self, width: usize, field: &'static str) -> Read<u32> {
        let start = self.at;
        let value = self.take(width, field)?.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        self.note(start..self.at, field, || value.to_string());
        Ok(value)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Read<u8> {
        self.number(1, field).map(|value| value as u8)
    }

    /// A code, shown in hex.
    pub(super) fn code(&mut self, field: &'static str, describe: impl FnOnce(u8) -> String) -> Read<u8> {
        let start = self.at;
        let value = self.take(1, field)?[0];
        self.note(start..self.at, field, || describe(value));
        Ok(value)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Read<u16> {
        self.number(2, field).map(|value| value as u16)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Read<u32> {
        self.number(4, field)
    }

    /// A variable byte integer (1.5.5), at most four bytes, minimal in MQTT 5 [MQTT-1.5.5-1].
    pub(super) fn varint(&mut self, field: &'static str) -> Read<u32> {
        let start = self.at;
        let mut value = 0u32;
        for index in 0..4 {
            let byte = self.take(1, field)?[0];
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 && self.version == Version::V5 {
                    let found = hex(&self.bytes[start..self.at]);
                    let expected = format!("the shortest form of {value}");
                    return self.fail(&rule::LENGTH_NOT_MINIMAL, (start, field), found, expected);
                }
                self.note(start..self.at, field, || value.to_string());
                return Ok(value);
            }
        }
        let found = hex(&self.bytes[start..self.at]);
        self.fail(&rule::LENGTH_TOO_LONG, (start, field), found, "at most four bytes, the last below 0x80")
    }

    /// Binary data: a length of two bytes, then the bytes (1.5.6).
    pub(super) fn binary(&mut self, field: &'static str) -> Read<&'a [u8]> {
        let start = self.at;
        let value = self.sized(field)?;
        self.note(start..self.at, field, || hex(value));
        Ok(value)
    }

    /// Binary data that no trace may show: only its length is noted.
    pub(super) fn secret(&mut self, field: &'static str) -> Read<&'a [u8]> {
        let start = self.at;
        let value = self.sized(field)?;
        self.note(start..start + 2, field, || format!("{} bytes, masked", value.len()));
        Ok(value)
    }

    /// A UTF-8 string: well formed [MQTT-1.5.4-1], without U+0000 [MQTT-1.5.4-2].
    pub(super) fn string(&mut self, field: &'static str) -> Read<&'a str> {
        let start = self.at;
        let bytes = self.sized(field)?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let bad = error.valid_up_to();
                let found = hex(&bytes[bad..bytes.len().min(bad + 4)]);
                return self.fail(&rule::UTF8, (start + 2 + bad, field), found, "well-formed UTF-8");
            }
        };
        if let Some(index) = bytes.iter().position(|byte| *byte == 0) {
            return self.fail(&rule::NUL, (start + 2 + index, field), "U+0000", "a string without U+0000");
        }
        self.note(start..self.at, field, || format!("{text:?}"));
        Ok(text)
    }

    fn sized(&mut self, field: &'static str) -> Read<&'a [u8]> {
        let start = self.at;
        let head = self.take(2, field)?;
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        if self.left() < length {
            let found = format!("{length} bytes long by its length field while {} follow", self.left());
            return self.fail(&rule::TRUNCATED, (start, field), found, "as many bytes as the length says");
        }
        self.take(length, field)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self, field: &'static str) -> &'a [u8] {
        let start = self.at;
        let value = &self.bytes[start..self.end];
        self.at = self.end;
        self.note(start..self.end, field, || show_payload(value));
        value
    }

    /// Nothing may follow.
    pub(super) fn finish(&mut self) -> Read<()> {
        match self.left() {
            0 => Ok(()),
            left => {
                let found = format!("followed by {left} more bytes");
                self.fail(&rule::TRAILING, (self.at, "end of the packet"), found, "nothing after the last field")
            }
        }
    }
}

fn show_payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().count() <= 120 => format!("{text:?}"),
        _ if bytes.len() <= 32 => hex(bytes),
        _ => format!("{} bytes", bytes.len()),
    }
}
