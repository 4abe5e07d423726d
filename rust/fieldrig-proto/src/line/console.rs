//! The descriptor of consoles: lines of text on a wire.
//!
//! Settings of the face of a device (`[face.console]` of a model file), all optional:
//! `echo` (true or false, default false), `prompt` (text, default none), `limit` (bytes of the longest line taken, default
//! 1024), `ending` ("crlf", "lf" or "cr"; default "crlf"). How fieldrig uses a console (`client` of a link) stands in
//! `console/tester.rs`.

mod tester;

use crate::device::{ConsoleFace, ConsoleSettings};
use crate::dissect::{Dissection, Sender};
use crate::protocol::{BenchKey, Built, Constructor, Protocol, Role, SettingError, Settings};
use crate::record::Value;

/// Consoles: `console`.
pub static CONSOLE: Protocol = Protocol {
    name: "console",
    schemes: &["console", "serial"],
    dissect: &dissect,
    message_length: &message_length,
    // Text needs no dissector of its own.
    unasked: false,
    half_duplex: false,
    capture_tag: "data-text-lines",
    constructors: &[Constructor { role: Role::Device, keys: KEYS, inner: &[], build: &build }, tester::TESTER],
};

const fn key(name: &'static str, what: &'static str) -> BenchKey {
    BenchKey { name, what, required: false }
}

const KEYS: &[BenchKey] = &[
    key("echo", "true: the console sends back what it receives"),
    key("prompt", "the text with which the console asks for a line"),
    key("limit", "the longest line the console takes, in bytes; default 1024"),
    key("ending", "how the console ends its lines: \"crlf\" (default), \"lf\" or \"cr\""),
];

fn build(name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let mut console = ConsoleSettings::default();
    for (key, value) in settings {
        set(&mut console, key, value).map_err(|expected| SettingError {
            key: key.clone(),
            problem: format!("`{key}` takes {expected}, {value} is none"),
            hint: KEYS.iter().find(|known| known.name == key).map(|known| known.what.to_owned()),
        })?;
    }
    Ok(Built::Face(Box::new(ConsoleFace::new(name, console))))
}

/// Sets one setting; else says what was expected.
fn set(console: &mut ConsoleSettings, key: &str, value: &Value) -> Result<(), &'static str> {
    match (key, value) {
        ("echo", Value::Bool(echo)) => console.echo = *echo,
        ("echo", _) => return Err("true or false"),
        ("prompt", Value::Text(prompt)) => console.prompt.clone_from(prompt),
        ("prompt", _) => return Err("a text"),
        ("limit", _) => {
            let limit = value.as_i64().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
            console.limit = limit.ok_or("a positive number of bytes")?;
        }
        ("ending", _) => {
            let ending = value.as_str().and_then(ConsoleSettings::ending);
            console.ending = ending.ok_or("\"crlf\", \"lf\" or \"cr\"")?;
        }
        // Unknown keys are refused where the file is read.
        _ => {}
    }
    Ok(())
}

/// One line, with its ending.
fn message_length(bytes: &[u8], _sender: Sender) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|index| index + 1)
}

fn dissect(bytes: &[u8], _sender: Sender) -> Dissection {
    let ending = bytes.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let text = bytes.len() - ending;
    let shown: String = String::from_utf8_lossy(&bytes[..text]).escape_debug().collect();
    let mut dissection = Dissection::new("console");
    dissection.summary = format!("\"{shown}\"");
    let not_text = std::str::from_utf8(&bytes[..text]).is_err();
    dissection.field(0..text, "text", format!("\"{shown}\"")).note = not_text.then(|| "is not UTF-8".to_owned());
    if ending > 0 {
        let name: String = String::from_utf8_lossy(&bytes[text..]).escape_debug().collect();
        dissection.field(text..bytes.len(), "ending", name);
    }
    dissection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let wrong = |key: &str, value: Value| match build("console", &[(key.to_owned(), value)]) {
            Err(error) => error.problem,
            Ok(_) => panic!("`{key}` was taken"),
        };
        assert_eq!(wrong("limit", Value::Int(0)), "`limit` takes a positive number of bytes, 0 is none");
        assert_eq!(wrong("echo", "yes".into()), "`echo` takes true or false, \"yes\" is none");
        assert!(build("console", &[("ending".into(), "lf".into()), ("limit".into(), Value::Int(80))]).is_ok());
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(message_length(b"boot ok\r\n> ", Sender::Server), Some(9));
        assert_eq!(message_length(b"boot", Sender::Server), None);
        let dissection = dissect(b"boot \xff\r\n", Sender::Server);
        assert_eq!(dissection.fields[0].note.as_deref(), Some("is not UTF-8"));
        assert_eq!(dissection.fields[1].value, "\\r\\n");
    }
}
