//! What an event looks like once it leaves its protocol: the run log and reports know no other shape.

use crate::dissect::hex;
use crate::endpoint::Conn;
use crate::time::Stamp;
use std::borrow::Cow;
use std::fmt;

/// A value of a record, a setting or a point.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Truth value.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Integer above `i64::MAX`; smaller ones are `Int`.
    Unsigned(u64),
    /// Real number.
    Float(f64),
    /// Text.
    Text(String),
    /// Octets.
    Bytes(Vec<u8>),
    /// Several values.
    List(Vec<Value>),
    /// Named values in order.
    Table(Vec<(String, Value)>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}
value_from!(bool => Bool, i64 => Int, i32 => Int, u32 => Int, u16 => Int, u8 => Int, f64 => Float, f32 => Float,
    String => Text, &str => Text, Vec<u8> => Bytes, &[u8] => Bytes, Vec<Value> => List);

impl Value {
    /// The value as a number, if it is one; truth values count as 0 and 1.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::Int(i) => Some(*i as f64),
            Value::Unsigned(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The value as an integer, if it is one exactly.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Bool(b) => Some(i64::from(*b)),
            Value::Int(i) => Some(*i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i64),
            _ => None,
        }
    }

    /// The value as an integer of any size, if it is one exactly.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        match self {
            Value::Bool(b) => Some(i128::from(*b)),
            Value::Unsigned(i) => Some(i128::from(*i)),
            other => other.as_i64().map(i128::from),
        }
    }

    /// An integer; the nearest real number if it has more than 64 bits.
    #[must_use]
    pub fn from_integer(integer: i128) -> Value {
        match (i64::try_from(integer), u64::try_from(integer)) {
            (Ok(integer), _) => Value::Int(integer),
            (_, Ok(integer)) => Value::Unsigned(integer),
            _ => Value::Float(integer as f64),
        }
    }

    /// The value as text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry `key` of a table.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Table(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// As a person would write it in a bench file: `85.0`, `"text"`, `0a 0b`, `[1, 2]`, `{ a = 1 }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Unsigned(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes(bytes) => f.write_str(&hex(bytes)),
            Value::List(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Value::Table(entries) => {
                let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                write!(f, "{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// An event in the shape of the run log.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// What happened, e.g. `modbus.answer`.
    pub kind: Cow<'static, str>,
    /// When, if the event has an instant of its own.
    pub at: Option<Stamp>,
    /// On which connection, if on one.
    pub conn: Option<Conn>,
    /// Further facts, in order.
    pub fields: Vec<(Cow<'static, str>, Value)>,
}

impl Record {
    /// A record without facts yet.
    #[must_use]
    pub fn new(kind: impl Into<Cow<'static, str>>) -> Record {
        Record { kind: kind.into(), at: None, conn: None, fields: Vec::new() }
    }

    /// Adds the instant.
    #[must_use]
    pub fn at(mut self, at: Stamp) -> Record {
        self.at = Some(at);
        self
    }

    /// Adds the connection.
    #[must_use]
    pub fn conn(mut self, conn: Conn) -> Record {
        self.conn = Some(conn);
        self
    }

    /// Adds one fact.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Record {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The fact `name`, if there is one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_write_them() {
        let list = Value::List(vec![Value::Int(1), Value::Float(2.0), Value::from("a\"b")]);
        let table = Value::Table(vec![("list".to_owned(), list), ("bytes".to_owned(), Value::Bytes(vec![10, 11]))]);
        assert_eq!(table.to_string(), r#"{ list = [1, 2.0, "a\"b"], bytes = 0a 0b }"#);
        assert_eq!(Value::Bool(true).to_string(), "true");
    }
}
