//! Numbers in bits.

use super::clock::Instant;
use super::{Bits, Encoding, Epoch, PointType, ValueProblem};
use crate::record::Value;

/// The bits of a part, where they stand.
pub(super) fn mask(bits: Bits) -> u64 {
    (u64::MAX >> (64 - u32::from(bits.count.clamp(1, 64)))) << bits.lowest
}

impl Encoding {
    /// The bits of a value that must fit.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn exact_bits(&self, value: &Value) -> Result<u64, ValueProblem> {
        let value = self.unnamed(value)?;
        if !self.kind.is_integer() {
            let number = value.as_f64().ok_or_else(|| ValueProblem::NoNumber(value.clone()))?;
            return self.real_bits(number).ok_or_else(|| self.does_not_fit(&value));
        }
        let raw = self.raw(&value)?;
        let (low, high) = self.limits();
        if !(low..=high).contains(&raw) {
            return Err(self.does_not_fit(&value));
        }
        Ok(self.placed(raw))
    }

    /// The bits of the nearest value that fits.
    pub(super) fn nearest_bits(&self, value: &Value) -> u64 {
        let value = self.unnamed(value).unwrap_or(Value::Int(0));
        if !self.kind.is_integer() {
            let number = value.as_f64().unwrap_or_default();
            let far = if number > 0.0 { f32::MAX } else { f32::MIN };
            return self.real_bits(number).unwrap_or_else(|| u64::from(far.to_bits()));
        }
        let raw = match self.raw(&value) {
            Ok(raw) => raw,
            Err(ValueProblem::NotFinite(number)) if number == f64::INFINITY => i128::MAX,
            Err(ValueProblem::NotFinite(number)) if number == f64::NEG_INFINITY => i128::MIN,
            Err(_) => 0,
        };
        let (low, high) = self.limits();
        self.placed(raw.clamp(low, high))
    }

    /// What the registers say.
    pub(super) fn number(&self, registers: &[u16]) -> Result<Value, String> {
        let bits = self.take_bits(registers);
        match self.kind {
            PointType::F32 => return Ok(Value::Float(self.scaled(f64::from(f32::from_bits(bits as u32))))),
            PointType::F64 => return Ok(Value::Float(self.scaled(f64::from_bits(bits)))),
            _ => {}
        }
        let raw = self.integer(bits).ok_or_else(|| format!("registers {registers:04x?} hold digits above 9"))?;
        if let Some((_, label)) = self.labels.iter().find(|(number, _)| i128::from(*number) == raw) {
            return Ok(Value::Text(label.clone()));
        }
        if let Some(epoch) = self.epoch {
            let milliseconds = if epoch == Epoch::Seconds { raw * 1000 } else { raw };
            let at = Instant::from_milliseconds(milliseconds);
            return at.map(|at| Value::Text(at.to_string())).ok_or_else(|| format!("{raw} is no instant"));
        }
        Ok(match self.kind {
            PointType::Bool => Value::Bool(raw != 0),
            _ if !self.is_plain() => Value::Float(self.scaled(raw as f64)),
            _ => Value::from_integer(raw),
        })
    }

    /// The number behind a name of an enumeration, or an instant; other values as they are.
    fn unnamed(&self, value: &Value) -> Result<Value, ValueProblem> {
        let Value::Text(text) = value else { return Ok(value.clone()) };
        if let Some((number, _)) = self.labels.iter().find(|(_, label)| label == text) {
            return Ok(Value::Int(*number));
        }
        if !self.labels.is_empty() {
            let there: Vec<&str> = self.labels.iter().map(|(_, label)| label.as_str()).collect();
            return Err(ValueProblem::Label { value: value.clone(), there: there.join(", ") });
        }
        match (self.epoch, Instant::parse(text)) {
            (None, _) => Err(ValueProblem::NoNumber(value.clone())),
            (Some(_), None) => Err(ValueProblem::NoInstant(value.clone())),
            (Some(Epoch::Milliseconds), Some(at)) => Ok(Value::Int(at.milliseconds())),
            (Some(Epoch::Seconds), Some(at)) => Ok(Value::Int(at.milliseconds().div_euclid(1000))),
        }
    }

    /// The integer that stands for a value, rounded, whether it fits or not.
    fn raw(&self, value: &Value) -> Result<i128, ValueProblem> {
        if self.is_plain()
            && let Some(integer) = value.as_i128()
        {
            return Ok(integer);
        }
        let number = value.as_f64().ok_or_else(|| ValueProblem::NoNumber(value.clone()))?;
        if !number.is_finite() {
            return Err(ValueProblem::NotFinite(number));
        }
        let raw = if self.is_plain() { number } else { (number - self.offset) / self.scale };
        Ok(raw.round() as i128)
    }

    fn does_not_fit(&self, value: &Value) -> ValueProblem {
        let mut nearest = vec![0; self.registers];
        self.put_bits(self.nearest_bits(value), &mut nearest);
        let nearest = self.decode_number(&nearest).unwrap_or(Value::Int(0));
        ValueProblem::DoesNotFit { value: value.clone(), nearest }
    }

    /// How many bits the integer has.
    fn width(&self) -> u32 {
        self.bits.map_or(self.registers.min(4) as u32 * 16, |bits| u32::from(bits.count))
    }

    /// The lowest and the highest integer.
    fn limits(&self) -> (i128, i128) {
        let width = self.width();
        match self.kind {
            PointType::Bool => (0, 1),
            PointType::Bcd => (0, 10i128.pow(width / 4) - 1),
            kind if kind.is_signed() => (-(1 << (width - 1)), (1 << (width - 1)) - 1),
            _ => (0, (1 << width) - 1),
        }
    }

    /// The bits of an integer that fits, at their place.
    fn placed(&self, raw: i128) -> u64 {
        let bits = if self.kind == PointType::Bcd { to_digits(raw as u64) } else { raw as u64 };
        self.bits.map_or(bits, |part| (bits << part.lowest) & mask(part))
    }

    /// The integer in these bits; `None` if its digits are none.
    fn integer(&self, bits: u64) -> Option<i128> {
        let bits = self.bits.map_or(bits, |part| (bits & mask(part)) >> part.lowest);
        let unused = 64 - self.width().clamp(1, 64);
        Some(match self.kind {
            PointType::Bool => i128::from(bits != 0),
            PointType::Bcd => i128::from(from_digits(bits)?),
            kind if kind.is_signed() => i128::from((bits << unused) as i64 >> unused),
            _ => i128::from(bits),
        })
    }

    /// The bits of a real number; `None` if it is finite and too large.
    fn real_bits(&self, number: f64) -> Option<u64> {
        let raw = if self.is_plain() { number } else { (number - self.offset) / self.scale };
        if self.kind == PointType::F64 {
            return Some(raw.to_bits());
        }
        let short = raw as f32;
        (short.is_finite() || !raw.is_finite()).then(|| u64::from(short.to_bits()))
    }

    fn is_plain(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// `raw * scale + offset`. A scale of 0.1 is not exact in binary, but a division by 10 rounds as people expect.
    fn scaled(&self, raw: f64) -> f64 {
        if self.is_plain() {
            return raw;
        }
        let inverse = 1.0 / self.scale;
        let product = if (inverse - inverse.round()).abs() < 1e-9 * inverse.abs() && inverse.abs() >= 1.0 {
            raw / inverse.round()
        } else {
            raw * self.scale
        };
        product + self.offset
    }
}

fn to_digits(mut number: u64) -> u64 {
    let mut digits = 0;
    for place in 0..16 {
        digits |= (number % 10) << (4 * place);
        number /= 10;
    }
    digits
}

fn from_digits(digits: u64) -> Option<u64> {
    (0..16).rev().try_fold(0u64, |number, place| {
        let digit = digits >> (4 * place) & 0xf;
        (digit <= 9).then(|| number * 10 + digit)
    })
}
