//! Typed reading of settings (rules of devices, descriptions of protocols): every value knows its key, so that errors can
//! say where they are.

use crate::protocol::{BenchKey, SettingError};
use crate::record::Value;
use crate::time::{Duration, parse_duration};
use std::ops::RangeInclusive;

type Outcome<T> = Result<T, SettingError>;

/// A value and the key under which it stands, dots between levels: `rule.0.when.unit`.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) key: String,
    pub(crate) value: &'a Value,
}

/// A table whose keys are known.
#[derive(Clone, Debug)]
pub(crate) struct Table<'a> {
    key: String,
    entries: &'a [(String, Value)],
}

impl<'a> Table<'a> {
    /// The table under a key; all its keys must be among `known`.
    pub(crate) fn read(field: Field<'a>, known: &[BenchKey]) -> Outcome<Table<'a>> {
        let Value::Table(entries) = field.value else {
            return Err(field.must_be("a table"));
        };
        let table = Table { key: field.key, entries };
        let names = || known.iter().map(|key| key.name);
        match entries.iter().find(|(name, _)| !names().any(|known| known == name)) {
            None => Ok(table),
            Some((name, _)) => {
                let key = joined(&table.key, name);
                Err(SettingError { key, problem: format!("unknown key `{name}`"), hint: did_you_mean(name, names()) })
            }
        }
    }

    /// The value under `name`.
    pub(crate) fn field(&self, name: &str) -> Option<Field<'a>> {
        let (_, value) = self.entries.iter().find(|(known, _)| known == name)?;
        Some(Field { key: joined(&self.key, name), value })
    }

    /// What `read` makes of the value under `name`.
    pub(crate) fn get<T>(&self, name: &str, read: impl FnOnce(Field<'a>) -> Outcome<T>) -> Outcome<Option<T>> {
        self.field(name).map(read).transpose()
    }

    /// The names that are there of several that exclude each other; at most one.
    pub(crate) fn one_of(&self, names: &[&'static str]) -> Outcome<Option<&'static str>> {
        let mut there = names.iter().copied().filter(|name| self.field(name).is_some());
        match (there.next(), there.next()) {
            (Some(one), Some(other)) => Err(self.error(other, format!("`{one}` and `{other}` exclude each other"))),
            (one, _) => Ok(one),
        }
    }

    /// An error at a key of this table, or, with an empty name, at the table.
    pub(crate) fn error(&self, name: &str, problem: impl Into<String>) -> SettingError {
        let key = if name.is_empty() { self.key.clone() } else { joined(&self.key, name) };
        SettingError { key, problem: problem.into(), hint: None }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn error(&self, problem: impl Into<String>) -> SettingError {
        SettingError { key: self.key.clone(), problem: problem.into(), hint: None }
    }

    pub(crate) fn must_be(&self, what: &str) -> SettingError {
        self.error(format!("it must be {what}, not {}", self.value))
    }

    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Outcome<i64> {
        let number = match self.value {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        let (low, high) = (range.start(), range.end());
        number.filter(|number| range.contains(number)).ok_or_else(|| match *high {
            i64::MAX => self.must_be(&format!("an integer from {low} on")),
            _ => self.must_be(&format!("an integer from {low} to {high}")),
        })
    }

    /// A finite number.
    pub(crate) fn number(&self) -> Outcome<f64> {
        let number = match self.value {
            Value::Int(_) | Value::Float(_) => self.value.as_f64(),
            _ => None,
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| self.must_be("a number"))
    }

    pub(crate) fn truth(&self) -> Outcome<bool> {
        match self.value {
            Value::Bool(on) => Ok(*on),
            _ => Err(self.must_be("true or false")),
        }
    }

    pub(crate) fn text(&self) -> Outcome<&'a str> {
        self.value.as_str().ok_or_else(|| self.must_be("a text"))
    }

    pub(crate) fn duration(&self) -> Outcome<Duration> {
        let Value::Text(text) = self.value else {
            let mut error = self.must_be("a duration");
            error.hint = Some("write a number and a unit as a text, such as \"500ms\"".to_owned());
            return Err(error);
        };
        parse_duration(text).map_err(|error| SettingError {
            key: self.key.clone(),
            problem: format!("`{}` is not a duration: {}", error.text, error.problem),
            hint: Some("write a number and a unit, such as \"500ms\" (ns, us, ms, s, min, h)".to_owned()),
        })
    }

    /// A duration that is not zero.
    pub(crate) fn period(&self) -> Outcome<Duration> {
        let period = self.duration()?;
        if period.is_zero() { Err(self.error("it must not be zero")) } else { Ok(period) }
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Outcome<T> {
        let text = self.value.as_str();
        if let Some((_, meaning)) = text.and_then(|text| words.iter().find(|(word, _)| *word == text)) {
            return Ok(*meaning);
        }
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let mut error = self.must_be(&format!("one of {}", quoted.join(", ")));
        error.hint = text.and_then(|text| nearest(text, words.iter().map(|(word, _)| *word)));
        Err(error)
    }

    /// The items of a list; something else counts as a list of one.
    pub(crate) fn items(&self) -> Vec<Field<'a>> {
        match self.value {
            Value::List(values) => self.indexed(values),
            _ => vec![self.clone()],
        }
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Outcome<Vec<Field<'a>>> {
        match self.value {
            Value::List(values) => Ok(self.indexed(values)),
            _ => Err(self.must_be("a list")),
        }
    }

    /// Two items, such as the ends of a range.
    pub(crate) fn pair(&self, of: &str) -> Outcome<[Field<'a>; 2]> {
        let items = self.list().unwrap_or_default();
        <[Field<'a>; 2]>::try_from(items).map_err(|_| self.must_be(&format!("a pair of {of}")))
    }

    fn indexed(&self, values: &'a [Value]) -> Vec<Field<'a>> {
        let item = |(index, value)| Field { key: format!("{}.{index}", self.key), value };
        values.iter().enumerate().map(item).collect()
    }

    /// Octets: bytes, a list of integers, or a text of hexadecimal digits (`"83 02"`).
    pub(crate) fn octets(&self) -> Outcome<Vec<u8>> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            Value::List(_) => self.list()?.iter().map(|item| Ok(item.integer(0..=255)? as u8)).collect(),
            Value::Text(text) => {
                let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
                let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
                let bytes: Option<Vec<u8>> =
                    digits.chunks(2).map(|both| pair(both).filter(|_| both.len() == 2)).collect();
                bytes.ok_or_else(|| self.must_be("hexadecimal digits such as \"83 02\""))
            }
            _ => Err(self.must_be("bytes, a list of integers or a text of hexadecimal digits")),
        }
    }
}

/// The key of an entry; that of the outermost table is empty.
fn joined(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// The hint for a word that is none of the known ones: the nearest one, or all of them.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let all = || known.clone().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    nearest(word, known.clone()).or_else(|| known.clone().next().map(|_| format!("known are {}", all())))
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, candidate) = known.map(|known| (distance(word, known), known)).min()?;
    (distance <= 1 + word.chars().count() / 4).then(|| format!("did you mean `{candidate}`?"))
}

/// How many characters have to be changed, added or taken away.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, have) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, want) in to.iter().enumerate() {
            let changed = diagonal + usize::from(have != *want);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered() {
        let known = ["delay", "drop", "duplicate"];
        assert_eq!(did_you_mean("dely", known.into_iter()).as_deref(), Some("did you mean `delay`?"));
        assert_eq!(did_you_mean("x", known.into_iter()).as_deref(), Some("known are `delay`, `drop`, `duplicate`"));
        assert_eq!(did_you_mean("x", [].into_iter()), None);
    }

    #[test]
    fn octets_are_written_as_people_like() {
        let read = |value: &Value| Field { key: "answer".to_owned(), value }.octets();
        assert_eq!(read(&Value::from("83 02")), Ok(vec![0x83, 2]));
        assert_eq!(read(&Value::List(vec![Value::Int(131), Value::Int(2)])), Ok(vec![0x83, 2]));
        let problem = |value: &Value| read(value).map_err(|error| (error.key, error.problem));
        let odd = "it must be hexadecimal digits such as \"83 02\", not \"830\"".to_owned();
        assert_eq!(problem(&Value::from("830")), Err(("answer".to_owned(), odd)));
        let big = "it must be an integer from 0 to 255, not 256".to_owned();
        assert_eq!(problem(&Value::List(vec![Value::Int(256)])), Err(("answer.0".to_owned(), big)));
    }
}
