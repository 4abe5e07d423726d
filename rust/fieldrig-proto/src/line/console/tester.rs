//! How fieldrig uses a console, from the table `client` of a link in a bench file: keywords of the class in Python.

use super::key;
use crate::line::pattern::Patterns;
use crate::line::stream::{Keeping, LEAST_KEPT, Stream};
use crate::protocol::{BenchKey, Built, Constructor, Role, SettingError, Settings};
use crate::record::Value;
use crate::time::parse_duration;

const KEYS: &[BenchKey] = &[
    key("ansi", "\"strip\": patterns and lines do not see control functions of terminals; \"keep\" (default): they do"),
    key("prompt", "a regular expression for what asks for a command"),
    key("ending", "what ends a line that is sent: \"lf\" (default), \"crlf\" or \"cr\""),
    key("pace", "the pause behind each byte that is sent, for devices with small buffers; none by default"),
    key("keep", "bytes that are kept in memory; 16777216 by default"),
    key("spill", "bytes that are kept in a file beyond those, 1073741824 by default; 0: none"),
];

/// A console of ours.
pub(super) const TESTER: Constructor = Constructor { role: Role::Tester, keys: KEYS, inner: &[], build: &build };

fn build(_name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let mut keeping = Keeping::default();
    for (name, value) in settings {
        match name.as_str() {
            "ansi" => keeping.strip = word(name, value, &["keep", "strip"])? == "strip",
            "ending" => drop(word(name, value, &["lf", "crlf", "cr"])?),
            "prompt" => {
                let text = value.as_str().ok_or_else(|| error(name, format!("it must be a text, not {value}")))?;
                let known = Patterns::new(&[text]).map_err(|problem| error(name, in_a_line(text, &problem.problem)))?;
                if known.matches_nothing().is_some() {
                    let problem = format!("the pattern /{text}/ matches nothing at all, so every text is a prompt");
                    return Err(error(name, problem));
                }
            }
            "pace" => {
                let text = value.as_str().and_then(|text| parse_duration(text).ok());
                text.ok_or_else(|| error(name, format!("it must be a duration such as \"2ms\", not {value}")))?;
            }
            "keep" => keeping.capacity = Some(usize::try_from(bytes(name, value, LEAST_KEPT)?).unwrap_or(usize::MAX)),
            "spill" => drop(bytes(name, value, 0)?),
            _ => return Err(error(name, "there is no such key".to_owned())),
        }
    }
    Ok(Built::Endpoint(Box::new(Stream::keeping(keeping))))
}

fn word<'a>(name: &str, value: &'a Value, words: &[&str]) -> Result<&'a str, SettingError> {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let there = value.as_str().filter(|text| words.contains(text));
    there.ok_or_else(|| error(name, format!("it is one of {}, not {value}", quoted.join(", "))))
}

fn bytes(name: &str, value: &Value, least: usize) -> Result<u64, SettingError> {
    let given = if let Value::Int(given) = value { u64::try_from(*given).ok() } else { None };
    let enough = given.filter(|given| usize::try_from(*given).is_ok_and(|given| given >= least));
    enough.ok_or_else(|| error(name, format!("it is a number of bytes, at least {least}, not {value}")))
}

/// What is wrong with a pattern, without the drawing that points at the place in it.
fn in_a_line(pattern: &str, problem: &str) -> String {
    let reason = problem.lines().last().unwrap_or_default();
    format!("the pattern /{pattern}/ cannot be used: {}", reason.trim_start_matches("error: "))
}

fn error(key: &str, problem: String) -> SettingError {
    SettingError { key: key.to_owned(), problem, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &str, value: Value) -> Option<String> {
        build("console", &[(key.to_owned(), value)]).err().map(|error| format!("{}: {error}", error.key))
    }

    #[test]
    fn what_the_class_takes_is_taken() {
        for (key, value) in [
            ("ansi", Value::from("strip")),
            ("prompt", Value::from(r"[$#] ")),
            ("ending", Value::from("cr")),
            ("pace", Value::from("2ms")),
            ("keep", Value::Int(65_536)),
            ("spill", Value::Int(0)),
        ] {
            assert_eq!(told(key, value), None);
        }
        assert!(KEYS.iter().all(|key| told(key.name, Value::Bool(true)).is_some()), "each key looks at its value");
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_told_with_its_key() {
        for (key, value, problem) in [
            ("ansi", "colour".into(), "ansi: it is one of \"keep\", \"strip\", not \"colour\""),
            ("ending", "\n".into(), "ending: it is one of \"lf\", \"crlf\", \"cr\", not \"\\n\""),
            ("pace", Value::Int(2), "pace: it must be a duration such as \"2ms\", not 2"),
            ("keep", Value::Int(4096), "keep: it is a number of bytes, at least 65536, not 4096"),
            ("spill", Value::Int(-1), "spill: it is a number of bytes, at least 0, not -1"),
        ] {
            assert_eq!(told(key, value).as_deref(), Some(problem));
        }
        let problem = told("prompt", "(=> ".into());
        assert_eq!(problem.as_deref(), Some("prompt: the pattern /(=> / cannot be used: unclosed group"));
    }
}
