//! What a test expects of fields, held against what came.
//!
//! Rules of this file:
//! - What is expected holds if it is the same in the bytes of the field: a real number as the field can hold it, a number
//!   for its name, flags in any order.
//! - What can never come is refused: a field that is not there, a name that the field has not, a number between two
//!   steps. An expectation that something does not come would pass for it, and one that it comes would accuse the device.

use super::definition::Definition;
use super::encode::EncodeError;
use super::field::{Field, Kind};
use crate::reader::did_you_mean;
use crate::record::Value;

/// What stands in a message that nobody described.
const UNKNOWN: &str = "payload";

impl Definition {
    /// Whether a field of a message (of any, if none is said) could ever hold a value.
    ///
    /// # Errors
    /// There is no such field, or it cannot; what can stand there.
    pub fn expects(&self, message: Option<&str>, name: &str, value: &Value) -> Result<(), EncodeError> {
        if message.is_none() && name == UNKNOWN && matches!(value, Value::Bytes(_)) {
            return Ok(());
        }
        let mut problem = None;
        for field in self.expected_fields(message).filter(|field| field.name == name) {
            match field.can_hold(value) {
                Ok(()) => return Ok(()),
                Err(what) => problem = Some(format!("`{name}` {what}")),
            }
        }
        if let Some(problem) = problem {
            return Err(EncodeError::new(problem));
        }
        let names: Vec<&str> = self.expected_fields(message).map(|field| field.name.as_str()).collect();
        let of = message.map_or_else(|| format!("no message of {}", self.name), |message| format!("`{message}`"));
        let has = if message.is_some() { "has no field" } else { "has a field" };
        Err(EncodeError { problem: format!("{of} {has} `{name}`"), hint: did_you_mean(name, names.into_iter()) })
    }

    /// Whether what came in a field of a message is what was expected there.
    #[must_use]
    pub fn holds(&self, message: Option<&str>, name: &str, expected: &Value, found: &Value) -> bool {
        let mut fields = self.expected_fields(message).filter(|field| field.name == name);
        fields.any(|field| field.holds(expected, found)) || (name == UNKNOWN && expected == found)
    }

    fn expected_fields<'a>(&'a self, message: Option<&'a str>) -> impl Iterator<Item = &'a Field> {
        let of = self.messages.iter().filter(move |shape| message.is_none_or(|name| shape.name == name));
        let payloads = of.flat_map(|shape| &shape.fields.fields);
        self.header.fields.iter().chain(&self.trailer.fields).chain(payloads)
    }
}

impl Field {
    /// Whether it could ever hold a value; else what it takes.
    fn can_hold(&self, value: &Value) -> Result<(), String> {
        // What cannot be read is kept as it came: a test may expect just that.
        let keeps = matches!(self.kind, Kind::Text(_) | Kind::Bcd(_) | Kind::Hex(_) | Kind::Decimal(_));
        if keeps && matches!(value, Value::Bytes(_)) {
            return Ok(());
        }
        let value = &whole(value);
        let bytes = self.encode(value)?;
        match (self.scale, value.as_f64(), self.decode(&bytes).0.as_f64()) {
            (Some(step), Some(wanted), Some(there))
                if (wanted - there).abs() > step.abs() * 1e-6 + wanted.abs() * 1e-12 =>
            {
                Err(format!("has steps of {step} and never holds {wanted}; {there} is the nearest"))
            }
            _ => Ok(()),
        }
    }

    /// Whether two values are the same in it.
    fn holds(&self, expected: &Value, found: &Value) -> bool {
        let same = || match (self.encode(&whole(expected)), self.encode(found)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        };
        // Bytes that were kept because they are no number or text of this field are nothing that it could say.
        let kept = matches!(found, Value::Bytes(_)) && !matches!(self.kind, Kind::Bytes(_));
        expected == found || (!kept && same())
    }
}

/// 1.0 is 1.
fn whole(value: &Value) -> Value {
    match value {
        Value::Float(real) if real.fract() == 0.0 && real.abs() < 9e15 => Value::Int(*real as i64),
        other => other.clone(),
    }
}
