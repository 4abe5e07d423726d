//! Templates: texts in which `{name}` stands for a point, a variable, or a group of the command that was matched.
//!
//! Rules of this file:
//! - `{name}` is replaced by the value; `{name:.2}` by the number with two decimals. A name is letters, digits, `_`,
//!   `.` and `-`.
//! - Any other brace is itself, so that JSON can be written as it is: `{"v": {voltage}}`.
//! - A name that stands for nothing is an error when the template is compiled, with its place.
//! - Numbers of Float points always show that they are: `85.0`.

use crate::record::Value;
use std::fmt::Write as _;

/// A compiled template.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Debug)]
enum Piece {
    Literal(String),
    Name { name: String, decimals: Option<usize> },
}

/// Why a text is not a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{{{name}}}` at offset {offset} stands for nothing: {known}")]
pub struct TemplateError {
    /// The unknown name.
    pub name: String,
    /// Where it is (bytes).
    pub offset: usize,
    /// What could stand there.
    pub known: String,
}

impl Template {
    /// Reads a template; `names` are those that can be replaced.
    ///
    /// # Errors
    /// A placeholder whose name is not among `names`.
    pub fn compile(text: &str, names: &[&str]) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = 0;
        let mut from = 0;
        while let Some(open) = text[from..].find('{').map(|index| from + index) {
            from = open + 1;
            let Some((inside, end)) = placeholder(text, open) else { continue };
            let (name, decimals) = split_format(inside);
            if !names.contains(&name) {
                return Err(TemplateError { name: name.to_owned(), offset: open, known: known(names) });
            }
            if literal < open {
                pieces.push(Piece::Literal(text[literal..open].to_owned()));
            }
            pieces.push(Piece::Name { name: name.to_owned(), decimals });
            literal = end;
            from = end;
        }
        if literal < text.len() {
            pieces.push(Piece::Literal(text[literal..].to_owned()));
        }
        Ok(Template { pieces })
    }

    /// The text with all names replaced; a name that has no value now is replaced by nothing.
    #[must_use]
    pub fn render(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name { name, decimals } => {
                    if let Some(value) = lookup(name) {
                        write_value(&mut text, &value, *decimals);
                    }
                }
            }
        }
        text
    }

    /// The value itself if the template is one placeholder and nothing else, else the rendered text.
    #[must_use]
    pub fn value(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> Value {
        match self.pieces.as_slice() {
            [Piece::Name { name, decimals: None }] => lookup(name).unwrap_or(Value::Text(String::new())),
            _ => Value::Text(self.render(lookup)),
        }
    }
}

/// The inside of a placeholder that begins at `open`, and where it ends.
fn placeholder(text: &str, open: usize) -> Option<(&str, usize)> {
    let close = open + 1 + text[open + 1..].find('}')?;
    let inside = &text[open + 1..close];
    let (name, format) = inside.split_once(':').unwrap_or((inside, ".0"));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (is_name && decimals(format).is_some()).then_some((inside, close + 1))
}

fn split_format(inside: &str) -> (&str, Option<usize>) {
    match inside.split_once(':') {
        Some((name, format)) => (name, decimals(format)),
        None => (inside, None),
    }
}

/// `.2` is two decimals; more than 17 say nothing about a 64-bit number.
fn decimals(format: &str) -> Option<usize> {
    format.strip_prefix('.')?.parse().ok().filter(|count| *count <= 17)
}

fn known(names: &[&str]) -> String {
    if names.is_empty() {
        "there is nothing to stand for".to_owned()
    } else {
        format!("known are {}", names.join(", "))
    }
}

/// Writes a value for people.
pub(crate) fn write_value(text: &mut String, value: &Value, decimals: Option<usize>) {
    let written = match (value, decimals, value.as_f64()) {
        (_, Some(decimals), Some(number)) => write!(text, "{number:.decimals$}"),
        (Value::Bool(truth), ..) => write!(text, "{truth}"),
        (Value::Int(number), ..) => write!(text, "{number}"),
        (Value::Unsigned(number), ..) => write!(text, "{number}"),
        // The debug form keeps `.0`.
        (Value::Float(number), ..) => write!(text, "{number:?}"),
        (Value::Text(inner), ..) => write!(text, "{inner}"),
        (Value::Bytes(bytes), ..) => write!(text, "{}", crate::dissect::hex(bytes)),
        (Value::List(_) | Value::Table(_), ..) => {
            write_json(text, value);
            Ok(())
        }
    };
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// Writes a value as JSON (RFC 8259). What JSON has no word for (infinite numbers) becomes `null`, octets a hex text.
pub(crate) fn write_json(text: &mut String, value: &Value) {
    match value {
        Value::Text(inner) => write_json_text(text, inner),
        Value::Bytes(bytes) => write_json_text(text, &crate::dissect::hex(bytes)),
        Value::Float(number) if !number.is_finite() => text.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => write_value(text, value, None),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_json(text, item);
            }
            text.push(']');
        }
        Value::Table(entries) => {
            text.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_json_text(text, key);
                text.push_str(": ");
                write_json(text, item);
            }
            text.push('}');
        }
    }
}

fn write_json_text(text: &mut String, inner: &str) {
    text.push('"');
    for character in inner.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => {
                let written = write!(text, "\\u{:04x}", u32::from(control));
                debug_assert!(written.is_ok(), "writing to a String does not fail");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<Value> {
        match name {
            "voltage" => Some(Value::Float(85.0)),
            "count" => Some(Value::Int(7)),
            "name" => Some(Value::Text("a\"b".into())),
            _ => None,
        }
    }

    const NAMES: [&str; 4] = ["voltage", "count", "name", "group"];

    #[test]
    fn names_are_replaced_and_other_braces_stay() {
        for (text, rendered) in [
            ("{voltage} V", "85.0 V"),
            ("{voltage:.2}/{count:.1}", "85.00/7.0"),
            (r#"{"v": {voltage}, "n": {"c": {count}}}"#, r#"{"v": 85.0, "n": {"c": 7}}"#),
            ("{}{ {count", "{}{ {count"),
            ("{group}|{name}", "|a\"b"),
            ("{ä {count:x} ü", "{ä {count:x} ü"),
        ] {
            let template = Template::compile(text, &NAMES).expect("a template");
            assert_eq!(template.render(&lookup), rendered, "{text}");
        }
    }

    #[test]
    fn a_lone_placeholder_is_the_value_itself() {
        let lone = Template::compile("{voltage}", &NAMES).expect("a template");
        assert_eq!(lone.value(&lookup), Value::Float(85.0));
        let text = Template::compile("{voltage}V", &NAMES).expect("a template");
        assert_eq!(text.value(&lookup), Value::Text("85.0V".into()));
    }

    #[test]
    fn an_unknown_name_is_an_error_with_its_place() {
        let error = Template::compile("a {volts} b", &["voltage"]).expect_err("unknown name");
        assert_eq!(error.to_string(), "`{volts}` at offset 2 stands for nothing: known are voltage");
    }

    #[test]
    fn json_is_escaped() {
        let mut text = String::new();
        let value = Value::Table(vec![
            ("k\"".into(), Value::Text("a\n\u{1}\\".into())),
            ("l".into(), Value::List(vec![Value::Float(f64::INFINITY), Value::Bool(true), Value::Float(1.5)])),
        ]);
        write_json(&mut text, &value);
        assert_eq!(text, r#"{"k\"": "a\n\u0001\\", "l": [null, true, 1.5]}"#);
    }
}
