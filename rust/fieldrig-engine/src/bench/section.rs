//! Typed reading of a table: every key that is asked for is known, every other one is an error.

use super::place::{Outcome, Place, did_you_mean};
use super::tree::{Data, Entry, Node};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::time::{Duration, parse_duration};

/// A table that is being read. Ask for all keys, then call [`Section::finish`].
pub(crate) struct Section<'a> {
    /// Its name in errors: `[link.uplink]`.
    pub(crate) name: String,
    pub(crate) place: &'a Place,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<'a> Section<'a> {
    /// The table under `name`; `what` it is stands in the error if it is no table.
    pub(crate) fn of(node: &'a Node, name: impl Into<String>) -> Outcome<Section<'a>> {
        let name = name.into();
        match &node.data {
            Data::Table(entries) => Ok(Section { name, place: &node.place, entries, known: Vec::new() }),
            _ => Err(node.place.error(format!("{name} is {}, a table is expected", node.kind()))),
        }
    }

    /// The entries of a table whose keys are names.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// The value under `key`.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Where the value under `key` stands; the table if it is not there.
    pub(crate) fn locate(&self, key: &str) -> Place {
        let found = self.entries.iter().find(|entry| entry.key == key);
        found.map_or(self.place, |entry| &entry.node.place).clone()
    }

    /// The table under `key`, as a section of its own.
    pub(crate) fn section(&mut self, key: &'static str) -> Outcome<Option<Section<'a>>> {
        let name = self.inner_name(key);
        self.node(key).map(|node| Section::of(node, name)).transpose()
    }

    /// `[link.uplink]` and `real` make `[link.uplink.real]`, `[[rule]]` and `publish` make `[[rule]].publish`; the file as
    /// a whole and `link` make `[link]`.
    pub(crate) fn inner_name(&self, key: &str) -> String {
        match self.name.strip_suffix(']') {
            Some(outer) if outer.ends_with(']') => format!("{}.{key}", self.name),
            Some(outer) => format!("{outer}.{key}]"),
            None if self.name.starts_with("[[") => format!("{}.{key}", self.name),
            None => format!("[{key}]"),
        }
    }

    /// Fails if the key was not there.
    pub(crate) fn require<T>(&self, key: &str, value: Option<T>) -> Outcome<T> {
        value.ok_or_else(|| self.place.error(format!("missing key `{key}` in {}", self.name)))
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'a Data) -> Option<T>,
    ) -> Outcome<Option<Located<T>>> {
        let name = self.name.clone();
        let Some(node) = self.node(key) else { return Ok(None) };
        match convert(&node.data) {
            Some(value) => Ok(Some(Located { value, place: node.place.clone() })),
            None => Err(node.place.error(format!("`{key}` in {name} is {}, {expected} is expected", node.kind()))),
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Outcome<Option<Located<String>>> {
        self.typed(key, "a string", |data| match data {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A truth value.
    pub(crate) fn truth(&mut self, key: &'static str) -> Outcome<Option<bool>> {
        let found = self.typed(key, "a truth value", |data| match data {
            Data::Bool(value) => Some(*value),
            _ => None,
        })?;
        Ok(found.map(|found| found.value))
    }

    /// An integer from `low` to `high`.
    pub(crate) fn integer(&mut self, key: &'static str, low: i64, high: i64) -> Outcome<Option<i64>> {
        let found = self.typed(key, "an integer", |data| match data {
            Data::Int(value) => Some(*value),
            _ => None,
        })?;
        let Some(Located { value, place }) = found else { return Ok(None) };
        if !(low..=high).contains(&value) {
            let message = format!("`{key}` in {} is {value}, {low} to {high} is expected", self.name);
            return Err(place.error(message));
        }
        Ok(Some(value))
    }

    /// A list of strings.
    pub(crate) fn texts(&mut self, key: &'static str) -> Outcome<Vec<Located<String>>> {
        let (name, Some(node)) = (self.name.clone(), self.node(key)) else { return Ok(Vec::new()) };
        let Data::List(nodes) = &node.data else {
            return Err(node
                .place
                .error(format!("`{key}` in {name} is {}, a list of strings is expected", node.kind())));
        };
        let text = |node: &Node| match &node.data {
            Data::Text(text) => Ok(Located { value: text.clone(), place: node.place.clone() }),
            _ => Err(node.place.error(format!("`{key}` in {name} holds {}, only strings are expected", node.kind()))),
        };
        nodes.iter().map(text).collect()
    }

    /// A duration: text with a unit.
    pub(crate) fn duration(&mut self, key: &'static str) -> Outcome<Option<Duration>> {
        let name = self.name.clone();
        let Some(node) = self.node(key) else { return Ok(None) };
        let Data::Text(text) = &node.data else {
            let message = format!("`{key}` in {name} is {}, a duration is expected", node.kind());
            return Err(node.place.error(message).hint("write a number and a unit as a string, such as \"500ms\""));
        };
        parse_duration(text).map(Some).map_err(|error| {
            let message = format!("`{}` is not a duration: {}", error.text, error.problem);
            node.place.error(message).hint("write a number and a unit, such as \"500ms\" (ns, us, ms, s, min, h)")
        })
    }

    /// Line settings: `9600 8E1`.
    pub(crate) fn line(&mut self, key: &'static str) -> Outcome<Option<LineSettings>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.value.parse::<LineSettings>().map(Some).map_err(|error| {
            let message = format!("`{}` is not a line setting: {}", error.text, error.problem);
            text.place.error(message).hint("write speed and format, such as \"9600 8E1\"")
        })
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Outcome<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let message = format!("`{key}` in {} cannot be `{}`", self.name, text.value);
                Err(text
                    .place
                    .error(message)
                    .maybe_hint(did_you_mean(&text.value, words.iter().map(|(word, _)| *word))))
            }
        }
    }

    /// Fails at the first key that nobody asked for.
    pub(crate) fn finish(&self) -> Outcome<()> {
        match self.entries.iter().find(|entry| !self.known.contains(&entry.key.as_str())) {
            None => Ok(()),
            Some(entry) => {
                let message = format!("unknown key `{}` in {}", entry.key, self.name);
                Err(entry.place.error(message).maybe_hint(did_you_mean(&entry.key, self.known.iter().copied())))
            }
        }
    }
}
