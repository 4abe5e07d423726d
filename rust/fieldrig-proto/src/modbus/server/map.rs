//! Points in registers and coils: types, word order, scale and offset.
//!
//! The value of a point is `raw * scale + offset`. A value that the type cannot hold is sent as the nearest it can.

use crate::record::Value;

/// How a point stands in registers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PointType {
    /// 0 or 1; the only type of coils and discrete inputs.
    Bool,
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 32 bits, IEEE 754.
    F32,
}

impl PointType {
    /// All types with their names in files.
    pub const NAMES: [(&'static str, PointType); 6] = [
        ("bool", PointType::Bool),
        ("u16", PointType::U16),
        ("i16", PointType::I16),
        ("u32", PointType::U32),
        ("i32", PointType::I32),
        ("f32", PointType::F32),
    ];

    /// How many registers it takes.
    #[must_use]
    pub fn registers(self) -> usize {
        match self {
            PointType::Bool | PointType::U16 | PointType::I16 => 1,
            PointType::U32 | PointType::I32 | PointType::F32 => 2,
        }
    }

    /// The bits of a raw number, rounded and limited to what the type holds.
    #[must_use]
    pub fn encode(self, raw: f64) -> u32 {
        let limited = |low: f64, high: f64| if raw.is_nan() { 0.0 } else { raw.round().clamp(low, high) };
        match self {
            PointType::Bool => u32::from(raw != 0.0),
            PointType::U16 => limited(0.0, 65535.0) as u32,
            PointType::I16 => u32::from(limited(-32768.0, 32767.0) as i16 as u16),
            PointType::U32 => limited(0.0, f64::from(u32::MAX)) as u32,
            PointType::I32 => limited(f64::from(i32::MIN), f64::from(i32::MAX)) as i32 as u32,
            PointType::F32 => (raw as f32).to_bits(),
        }
    }

    /// The raw number of these bits.
    #[must_use]
    pub fn decode(self, bits: u32) -> f64 {
        match self {
            PointType::Bool => f64::from(u8::from(bits != 0)),
            PointType::U16 => f64::from(bits as u16),
            PointType::I16 => f64::from(bits as u16 as i16),
            PointType::U32 => f64::from(bits),
            PointType::I32 => f64::from(bits as i32),
            PointType::F32 => f64::from(f32::from_bits(bits)),
        }
    }
}

/// How a value becomes registers, whoever asks: the emulated device and the client that reads a point by name.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Encoding {
    /// Type.
    pub kind: PointType,
    /// The low word comes first.
    pub low_word_first: bool,
    /// Factor; not 0.
    pub scale: f64,
    /// Is added after scaling.
    pub offset: f64,
}

impl Encoding {
    /// A type as it is: high word first, no scale, no offset.
    #[must_use]
    pub fn plain(kind: PointType) -> Encoding {
        Encoding { kind, low_word_first: false, scale: 1.0, offset: 0.0 }
    }

    /// The registers of a value; values that are no numbers count as 0.
    #[must_use]
    pub fn registers(&self, value: &Value) -> Vec<u16> {
        let (words, count) = self.words(value);
        words[..count].to_vec()
    }

    pub(super) fn words(&self, value: &Value) -> ([u16; 2], usize) {
        let number = value.as_f64().unwrap_or_default();
        let bits = self.kind.encode(if self.is_plain() { number } else { (number - self.offset) / self.scale });
        let (high, low) = ((bits >> 16) as u16, bits as u16);
        match (self.kind.registers(), self.low_word_first) {
            (1, _) => ([low, 0], 1),
            (_, true) => ([low, high], 2),
            (_, false) => ([high, low], 2),
        }
    }

    /// The value of registers; missing ones count as 0. Integers stay integers as long as nothing is scaled.
    #[must_use]
    pub fn value(&self, registers: &[u16]) -> Value {
        let word = |index: usize| u32::from(registers.get(index).copied().unwrap_or_default());
        let bits = match (self.kind.registers(), self.low_word_first) {
            (1, _) => word(0),
            (_, true) => word(1) << 16 | word(0),
            (_, false) => word(0) << 16 | word(1),
        };
        let raw = self.kind.decode(bits);
        match self.kind {
            PointType::Bool => Value::Bool(bits != 0),
            PointType::F32 => Value::Float(self.scaled(raw)),
            _ if self.is_plain() => Value::Int(raw as i64),
            _ => Value::Float(self.scaled(raw)),
        }
    }

    fn is_plain(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// `raw * scale + offset`. A scale of 0.1 is not exact in binary, but a division by 10 rounds as people expect.
    fn scaled(&self, raw: f64) -> f64 {
        let inverse = 1.0 / self.scale;
        let product = if (inverse - inverse.round()).abs() < 1e-9 * inverse.abs() && inverse.abs() >= 1.0 {
            raw / inverse.round()
        } else {
            raw * self.scale
        };
        product + self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(kind: PointType, scale: f64, offset: f64) -> Encoding {
        Encoding { scale, offset, ..Encoding::plain(kind) }
    }

    #[test]
    fn values_become_registers_and_come_back() {
        let tenth = scaled(PointType::U16, 0.1, 0.0);
        assert_eq!(tenth.registers(&Value::Float(230.1)), [2301]);
        assert_eq!(tenth.value(&[2301]), Value::Float(230.1));
        let kelvin = scaled(PointType::I16, 0.01, -40.0);
        assert_eq!(kelvin.registers(&Value::Float(-45.5)), [(-550i16) as u16]);
        assert_eq!(kelvin.value(&[(-550i16) as u16]), Value::Float(-45.5));
        let plain = Encoding::plain(PointType::U32);
        assert_eq!(plain.registers(&Value::Int(0x0001_86a0)), [1, 0x86a0]);
        assert_eq!(plain.value(&[1, 0x86a0]), Value::Int(100_000));
        let swapped = Encoding { low_word_first: true, ..Encoding::plain(PointType::F32) };
        // 1.5 is 0x3fc00000 in IEEE 754.
        assert_eq!(swapped.registers(&Value::Float(1.5)), [0, 0x3fc0]);
        assert_eq!(swapped.value(&[0, 0x3fc0]), Value::Float(1.5));
        assert_eq!(Encoding::plain(PointType::I32).value(&[0xffff, 0xfffe]), Value::Int(-2));
        assert_eq!(Encoding::plain(PointType::Bool).value(&[1]), Value::Bool(true));
    }

    #[test]
    fn what_does_not_fit_is_sent_as_the_nearest_that_does() {
        assert_eq!(Encoding::plain(PointType::U16).registers(&Value::Int(-1)), [0]);
        assert_eq!(Encoding::plain(PointType::U16).registers(&Value::Int(70_000)), [0xffff]);
        assert_eq!(Encoding::plain(PointType::I16).registers(&Value::Float(f64::NAN)), [0]);
        assert_eq!(Encoding::plain(PointType::I32).registers(&Value::Float(-1e12)), [0x8000, 0]);
        assert_eq!(Encoding::plain(PointType::U16).registers(&Value::Text("no number".into())), [0]);
    }
}
