//! Points in registers and coils: types, orders of bytes, parts of registers, scale and offset, names for numbers.
//!
//! ```text
//!   Mapping    where a point stands: table, address         mapping
//!      |
//!   Encoding   value <-> registers                           this file; kind, order, clock, number
//! ```
//! Rules of this folder:
//! - One map serves both sides: it finds the points of a real device by name, and shows those of an emulated one.
//! - The value of a point is `raw * scale + offset`. Integers stay exact as long as nothing is scaled; what is scaled is a
//!   64-bit float.
//! - What a client writes must fit ([`Encoding::encode`]); what an emulated device shows is the nearest that does
//!   ([`Encoding::put`]). What cannot be read is an error with the registers in it ([`Encoding::decode`]).
//! - A part of a register belongs to its point alone; the rest of the bits to others ([`Encoding::masks`]).

mod clock;
mod kind;
mod mapping;
mod number;
mod order;
mod parse;
mod value;

pub use kind::PointType;
pub use mapping::{Mapping, PointWriteError, overlap};
pub use order::Order;
pub use parse::{encoding_of, parse_map};
pub use value::ValueProblem;

use crate::record::Value;
use clock::Instant;

/// Registers of the longest text: what one request writes (AP 6.12).
pub const MOST_REGISTERS: usize = 123;

/// Some of the bits of the registers of a point.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Bits {
    /// The lowest of them; 0 is the lowest of all.
    pub lowest: u8,
    /// How many.
    pub count: u8,
}

/// What an integer counts, if it is an instant.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Epoch {
    /// Seconds since 1970-01-01T00:00:00Z.
    Seconds,
    /// Milliseconds since then.
    Milliseconds,
}

/// How a value becomes registers, whoever asks: the emulated device and the client that reads a point by name.
#[derive(Clone, PartialEq, Debug)]
pub struct Encoding {
    /// Type.
    pub kind: PointType,
    /// How many registers it takes.
    pub registers: usize,
    /// Order of its bytes.
    pub order: Order,
    /// Only these bits of the registers.
    pub bits: Option<Bits>,
    /// Factor; not 0.
    pub scale: f64,
    /// Is added after scaling.
    pub offset: f64,
    /// Names of numbers; empty if it is no enumeration.
    pub labels: Vec<(i64, String)>,
    /// The integer is an instant.
    pub epoch: Option<Epoch>,
}

impl Encoding {
    /// A type as it is: highest byte first, no scale, no offset.
    #[must_use]
    pub fn plain(kind: PointType) -> Encoding {
        let bits = matches!(kind, PointType::U8 | PointType::I8).then_some(Bits { lowest: 0, count: 8 });
        Encoding {
            kind,
            registers: kind.registers(),
            order: Order::BIG,
            bits,
            scale: 1.0,
            offset: 0.0,
            labels: Vec::new(),
            epoch: None,
        }
    }

    /// It shares its registers with others: writing it must keep the rest.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.bits.is_some()
    }

    /// The bits of each register that belong to the point.
    #[must_use]
    pub fn masks(&self) -> Vec<u16> {
        let mut masks = vec![0xffff; self.registers];
        if let Some(bits) = self.bits {
            self.put_bits(number::mask(bits), &mut masks);
        }
        masks
    }

    /// The registers of a value that must fit; the bits of others are 0.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn encode(&self, value: &Value) -> Result<Vec<u16>, ValueProblem> {
        let mut registers = vec![0; self.registers];
        match self.kind {
            PointType::Text => {
                let bytes = value.as_str().ok_or_else(|| ValueProblem::NoText(value.clone()))?.as_bytes();
                let room = self.registers * 2;
                if bytes.len() > room {
                    return Err(ValueProblem::TooLong { value: value.clone(), room, takes: bytes.len() });
                }
                self.put(value, &mut registers);
            }
            PointType::DateTime => {
                instant(value).ok_or_else(|| ValueProblem::NoInstant(value.clone()))?;
                self.put(value, &mut registers);
            }
            _ => self.put_bits(self.exact_bits(value)?, &mut registers),
        }
        Ok(registers)
    }

    /// Puts a value into registers: the nearest that fits. What means nothing counts as 0.
    pub fn put(&self, value: &Value, registers: &mut [u16]) {
        match self.kind {
            PointType::Text => {
                let mut bytes = vec![0; self.registers * 2];
                let text = value.as_str().unwrap_or_default().as_bytes();
                let length = text.len().min(bytes.len());
                bytes[..length].copy_from_slice(&text[..length]);
                self.order.put(&bytes, registers);
            }
            PointType::DateTime => {
                let at = instant(value);
                let fields = at.map_or([0; 6], |at| [at.year, at.month, at.day, at.hour, at.minute, at.second]);
                for (register, field) in registers.iter_mut().zip(fields) {
                    *register = field as u16;
                }
            }
            _ => self.put_bits(self.nearest_bits(value), registers),
        }
    }

    /// The value of registers; missing ones count as 0.
    ///
    /// # Errors
    /// They hold something that is no value of this type: digits above 9, a day that does not exist.
    pub fn decode(&self, registers: &[u16]) -> Result<Value, String> {
        match self.kind {
            PointType::Text => Ok(Value::Text(self.text(registers))),
            PointType::DateTime => {
                let field = |index: usize| i64::from(registers.get(index).copied().unwrap_or_default());
                let (year, month, day) = (field(0), field(1), field(2));
                let (hour, minute, second) = (field(3), field(4), field(5));
                let at = Instant { year, month, day, hour, minute, second, millisecond: 0 };
                let problem = || format!("registers {registers:?} are no date and time");
                at.is_real().then(|| Value::Text(at.to_string())).ok_or_else(problem)
            }
            _ => self.number(registers),
        }
    }

    /// The same without names for numbers: what a point that holds numbers stores.
    ///
    /// # Errors
    /// Those of [`Encoding::decode`].
    pub fn decode_number(&self, registers: &[u16]) -> Result<Value, String> {
        if self.labels.is_empty() && self.epoch.is_none() {
            return self.decode(registers);
        }
        Encoding { labels: Vec::new(), epoch: None, ..self.clone() }.decode(registers)
    }

    /// Trailing NULs and spaces are no part of a text; what is no UTF-8 stands in it as `\xNN`.
    fn text(&self, registers: &[u16]) -> String {
        let mut bytes = vec![0; self.registers * 2];
        self.order.take(registers, &mut bytes);
        let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
        let mut text = String::new();
        for chunk in bytes[..end].utf8_chunks() {
            text.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        }
        text
    }

    fn put_bits(&self, bits: u64, registers: &mut [u16]) {
        let count = self.registers.min(4) * 2;
        self.order.put(&bits.to_be_bytes()[8 - count..], registers);
    }

    fn take_bits(&self, registers: &[u16]) -> u64 {
        let mut bytes = [0; 8];
        let count = self.registers.min(4) * 2;
        self.order.take(registers, &mut bytes[8 - count..]);
        u64::from_be_bytes(bytes)
    }
}

fn instant(value: &Value) -> Option<Instant> {
    value.as_str().and_then(Instant::parse)
}

#[cfg(test)]
mod tests;
