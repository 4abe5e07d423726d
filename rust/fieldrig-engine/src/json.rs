//! Values and records as JSON.
//!
//! JSON has no octets and no NaN: octets become `{"hex": "0a0b"}`, numbers that are not finite become their names as
//! text (`"NaN"`, `"inf"`).

use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::fmt::Write as _;

/// A JSON string.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Seconds with nine decimals, exact.
#[must_use]
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos())
}

/// Octets as lower-case hex without spaces.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A value as JSON.
#[must_use]
pub fn from_value(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Unsigned(value) => Json::from(*value),
        Value::Float(value) if value.is_finite() => Json::from(*value),
        Value::Float(value) => Json::from(value.to_string()),
        Value::Text(value) => Json::from(value.as_str()),
        Value::Bytes(value) => Json::Object([("hex".to_owned(), Json::from(hex(value)))].into_iter().collect()),
        Value::List(values) => values.iter().map(from_value).collect(),
        Value::Table(entries) => entries.iter().map(|(key, value)| (key.clone(), from_value(value))).collect(),
    }
}

/// The value of a JSON text. What [`from_value`] wrote comes back, but for numbers that are not finite (they stay text);
/// `null` becomes an empty text.
#[must_use]
pub fn to_value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Text(String::new()),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            let integer = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
            integer.map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::from_integer)
        }
        Json::String(value) => Value::Text(value.clone()),
        Json::Array(values) => Value::List(values.iter().map(to_value).collect()),
        Json::Object(entries) => octets(entries).map_or_else(
            || Value::Table(entries.iter().map(|(key, value)| (key.clone(), to_value(value))).collect()),
            Value::Bytes,
        ),
    }
}

fn octets(entries: &serde_json::Map<String, serde_json::Value>) -> Option<Vec<u8>> {
    let hex = entries.get("hex").filter(|_| entries.len() == 1)?.as_str()?;
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// A record as one line of JSON, without a line feed: `{"t":1.5,"uncertainty":0.0,"kind":..,"conn":..,"fields":{..}}`;
/// `t` (seconds, the latest instant) and `uncertainty` are left out for a record without an instant, `conn` for one
/// without a connection.
#[must_use]
pub fn from_record(record: &Record) -> String {
    let mut line = String::from("{");
    if let Some(at) = record.at {
        let _ = write!(line, "\"t\":{},\"uncertainty\":{},", at.latest(), seconds(at.uncertainty()));
    }
    let _ = write!(line, "\"kind\":{}", text(&record.kind));
    if let Some(conn) = record.conn {
        let _ = write!(line, ",\"conn\":{}", conn.0);
    }
    line.push_str(",\"fields\":{");
    for (index, (name, value)) in record.fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(line, "{comma}{}:{}", text(name), from_value(value));
    }
    line.push_str("}}");
    line
}

/// The record of one line; `None` if the line is none.
#[must_use]
pub fn to_record(line: &str) -> Option<Record> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let mut record = Record::new(json.get("kind")?.as_str()?.to_owned());
    let nanos = |key: &str| json.get(key).and_then(serde_json::Value::as_f64).map(|seconds| (seconds * 1e9).round());
    if let Some(latest) = nanos("t") {
        let latest = Time::from_nanos(latest as u64);
        let uncertainty = Duration::from_nanos(nanos("uncertainty").unwrap_or(0.0) as u64);
        record.at = Some(Stamp::between(latest - uncertainty, latest));
    }
    record.conn = json.get("conn").and_then(serde_json::Value::as_u64).map(|conn| Conn(conn as u32));
    let fields = json.get("fields")?.as_object()?;
    record.fields = fields.iter().map(|(name, value)| (name.clone().into(), to_value(value))).collect();
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_line() {
        let at = Stamp::between(Time::from_nanos(1_500_000_000), Time::from_nanos(1_500_000_007));
        let table = Value::Table(vec![("a".to_owned(), Value::List(vec![Value::Bool(true), Value::Float(0.5)]))]);
        let record = Record::new("toy.answer")
            .at(at)
            .conn(Conn(3))
            .with("text", "a \"b\"\n\u{1}")
            .with("bytes", &[0u8, 255][..])
            .with("int", -7i64)
            .with("table", Value::Text(String::new()));
        let mut record = record;
        record.fields.push(("nested".into(), table));
        let line = from_record(&record);
        assert!(!line.contains('\n'));
        assert!(line.starts_with("{\"t\":1.500000007,\"uncertainty\":0.000000007,\"kind\":\"toy.answer\",\"conn\":3,"));
        assert_eq!(to_record(&line), Some(record));
    }

    #[test]
    fn what_json_cannot_say_becomes_text() {
        assert_eq!(from_value(&Value::Float(f64::NAN)), "NaN");
        assert_eq!(from_value(&Value::Float(f64::NEG_INFINITY)), "-inf");
        assert_eq!(to_record("{\"kind\":\"x\"}"), None);
        assert_eq!(to_record("{\"kind\":\"x\",\"fie"), None);
    }
}
