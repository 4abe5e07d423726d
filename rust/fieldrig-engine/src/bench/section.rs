//! Typed reading of a table: every key that is asked for is known, every other one is an error.

#[cfg(test)]
use super::keys::Kind;
use super::keys::{Asked, Shape};
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
    asked: Vec<(&'static str, Asked)>,
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
            Data::Table(entries) => Ok(Section { name, place: &node.place, entries, asked: Vec::new() }),
            _ => Err(node.place.error(format!("{name} is {}, a table is expected", node.kind()))),
        }
    }

    /// The entries of a table whose keys are names.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// The value under `key`.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.ask(key, Asked::Node)
    }

    fn ask(&mut self, key: &'static str, how: Asked) -> Option<&'a Node> {
        self.asked.push((key, how));
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The table itself.
    pub(crate) fn as_node(&self) -> Node {
        Node { place: self.place.clone(), data: Data::Table(self.entries.to_vec()) }
    }

    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the key is there; that alone does not make it a known one.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Where the value under `key` stands; the table if it is not there.
    pub(crate) fn locate(&self, key: &str) -> Place {
        let found = self.entries.iter().find(|entry| entry.key == key);
        found.map_or(self.place, |entry| &entry.node.place).clone()
    }

    /// The table under `key`, as a section of its own.
    pub(crate) fn section(&mut self, key: &'static str) -> Outcome<Option<Section<'a>>> {
        let name = self.inner_name(key);
        self.ask(key, Asked::Table).map(|node| Section::of(node, name)).transpose()
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
        how: Asked,
        expected: &str,
        convert: impl FnOnce(&'a Data) -> Option<T>,
    ) -> Outcome<Option<Located<T>>> {
        let name = self.name.clone();
        let Some(node) = self.ask(key, how) else { return Ok(None) };
        match convert(&node.data) {
            Some(value) => Ok(Some(Located { value, place: node.place.clone() })),
            None => Err(node.place.error(format!("`{key}` in {name} is {}, {expected} is expected", node.kind()))),
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Outcome<Option<Located<String>>> {
        self.text_for(key, Asked::Text)
    }

    fn text_for(&mut self, key: &'static str, how: Asked) -> Outcome<Option<Located<String>>> {
        self.typed(key, how, "a string", |data| match data {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A truth value.
    pub(crate) fn truth(&mut self, key: &'static str) -> Outcome<Option<bool>> {
        let found = self.typed(key, Asked::Truth, "a truth value", |data| match data {
            Data::Bool(value) => Some(*value),
            _ => None,
        })?;
        Ok(found.map(|found| found.value))
    }

    /// An integer from `low` to `high`.
    pub(crate) fn integer(&mut self, key: &'static str, low: i64, high: i64) -> Outcome<Option<i64>> {
        let found = self.typed(key, Asked::Integer, "an integer", |data| match data {
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
        self.texts_for(key, Asked::Texts)
    }

    /// A list of some of these words.
    pub(crate) fn words(&mut self, key: &'static str, words: &[&str]) -> Outcome<Vec<String>> {
        let name = self.name.clone();
        let known = |text: Located<String>| match words.contains(&&*text.value) {
            true => Ok(text.value),
            false => {
                let message = format!("`{key}` in {name} cannot hold `{}`", text.value);
                Err(text.place.error(message).maybe_hint(did_you_mean(&text.value, words.iter().copied())))
            }
        };
        self.texts_for(key, Asked::Words)?.into_iter().map(known).collect()
    }

    fn texts_for(&mut self, key: &'static str, how: Asked) -> Outcome<Vec<Located<String>>> {
        let (name, Some(node)) = (self.name.clone(), self.ask(key, how)) else { return Ok(Vec::new()) };
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
        let Some(node) = self.ask(key, Asked::Duration) else { return Ok(None) };
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
        let Some(text) = self.text_for(key, Asked::Line)? else { return Ok(None) };
        text.value.parse::<LineSettings>().map(Some).map_err(|error| {
            let message = format!("`{}` is not a line setting: {}", error.text, error.problem);
            text.place.error(message).hint("write speed and format, such as \"9600 8E1\"")
        })
    }

    /// A word whose meaning the caller knows.
    pub(crate) fn word_as_written(&mut self, key: &'static str) -> Outcome<Option<Located<String>>> {
        self.text_for(key, Asked::Word)
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Outcome<Option<T>> {
        let Some(text) = self.text_for(key, Asked::Word)? else { return Ok(None) };
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

    /// Fails at the first key that this kind of table does not have.
    pub(crate) fn finish(&self, shape: &Shape) -> Outcome<()> {
        self.finish_with(shape, &[])
    }

    /// [`Section::finish`] for tables that have keys of a protocol, too.
    pub(crate) fn finish_with(&self, shape: &Shape, extra: &[&'static str]) -> Outcome<()> {
        debug_assert_eq!(self.unlike(shape, extra), None, "{} is not read as it is described", self.name);
        let known = || shape.names().chain(extra.iter().copied());
        match self.entries.iter().find(|entry| !known().any(|name| name == entry.key)) {
            None => Ok(()),
            Some(entry) => {
                let message = format!("unknown key `{}` in {}", entry.key, self.name);
                Err(entry.place.error(message).maybe_hint(did_you_mean(&entry.key, known())))
            }
        }
    }

    /// The first key that was not read as its shape says.
    fn unlike(&self, shape: &Shape, extra: &[&'static str]) -> Option<&'static str> {
        let how = |name: &str| self.asked.iter().find(|(asked, _)| *asked == name).map(|(_, how)| *how);
        let unread = shape.keys.iter().find(|key| how(key.name) != Some(key.kind.asked())).map(|key| key.name);
        let undescribed =
            |(name, _): &&(&'static str, Asked)| !shape.names().any(|n| n == *name) && !extra.contains(name);
        unread.or_else(|| self.asked.iter().find(undescribed).map(|(name, _)| *name))
    }
}

/// The words of a table of words and their meanings, for its [`Kind::Word`].
#[cfg(test)]
pub(crate) fn is_described_by<T>(words: &[(&str, T)], kind: &Kind) -> bool {
    matches!(kind, Kind::Word(known) if known.iter().eq(words.iter().map(|(word, _)| word)))
}
