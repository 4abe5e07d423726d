//! A TOML file as a tree in which every key and value knows its place; `${NAME}` in strings is already replaced,
//! by the default in `${NAME:-default}` if the variable is not set.

use super::place::{BenchFileError, Outcome, Place, start};
use fieldrig_proto::record::Value;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) data: Data,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A string with a variable that is not set: an error as soon as anybody needs it.
    Unset(Box<BenchFileError>),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// Reads a file in which every variable must be set.
pub(crate) fn read_whole(path: &Path, environment: Environment<'_>) -> Outcome<Node> {
    let tree = read(path, environment)?;
    match tree.unset(&mut Vec::new(), &|_| false) {
        Some(error) => Err(error.clone()),
        None => Ok(tree),
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path, environment: Environment<'_>) -> Outcome<Node> {
    let (name, text) = read_text(path)?;
    parse(&name, &text, environment)
}

/// The text of a file, and its name in errors.
pub(crate) fn read_text(path: &Path) -> Outcome<(Arc<str>, String)> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => format!("it cannot be read: {error}"),
        };
        Place::file(&name).error(problem)
    })?;
    Ok((name, text))
}

/// Reads a text; `name` is the file in errors.
pub(crate) fn parse(name: &Arc<str>, text: &str, environment: Environment<'_>) -> Outcome<Node> {
    let table = DeTable::parse(text).map_err(|error| {
        let mut message = error.message().lines().collect::<Vec<_>>().join(", ");
        if let ("duplicate key", Some(key)) = (&*message, error.span().and_then(|span| text.get(span))) {
            message = format!("duplicate key `{key}`");
        }
        Place::at(name, text, start(error.span())).error(format!("not TOML: {message}"))
    })?;
    let reader = Reader { name, text, environment };
    let place = Place { file: Arc::clone(name), line: 1, column: 1 };
    Ok(Node { place, data: Data::Table(reader.entries(table.get_ref())?) })
}

struct Reader<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    environment: Environment<'a>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        Place::at(self.name, self.text, offset)
    }

    /// The entries in the order in which they stand in the file.
    fn entries(&self, table: &DeTable<'_>) -> Outcome<Vec<Entry>> {
        let mut sorted: Vec<_> = table.iter().collect();
        sorted.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key_text: &std::borrow::Cow<'_, str> = key.get_ref();
            Ok(Entry { key: key_text.to_string(), place: self.place(key.span().start), node: self.node(value)? })
        };
        sorted.into_iter().map(entry).collect()
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Outcome<Node> {
        let place = self.place(value.span().start);
        let data = match value.get_ref() {
            DeValue::Boolean(value) => Data::Bool(*value),
            DeValue::Integer(value) => {
                let digits = value.as_str().replace('_', "");
                let number = i64::from_str_radix(&digits, value.radix());
                Data::Int(number.map_err(|_| place.error(format!("`{digits}` is too large for an integer")))?)
            }
            DeValue::Float(value) => {
                let digits = value.as_str().replace('_', "");
                Data::Float(digits.parse().map_err(|_| place.error(format!("`{digits}` is not a number")))?)
            }
            DeValue::String(text) => self.substitute(text, value.span())?,
            DeValue::Array(values) => Data::List(values.iter().map(|value| self.node(value)).collect::<Outcome<_>>()?),
            DeValue::Table(table) => Data::Table(self.entries(table)?),
            DeValue::Datetime(_) => return Err(place.error("dates and times have no meaning here")),
        };
        Ok(Node { place, data })
    }

    /// Replaces each `${NAME}`; `$${` stands for `${` itself.
    fn substitute(&self, text: &str, span: std::ops::Range<usize>) -> Outcome<Data> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                result.push_str(&rest[..at]);
                result.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            result.push_str(&rest[..at]);
            let (name, after) = rest[at + 2..].split_once('}').ok_or_else(|| {
                self.inside(&span, "${")
                    .error("`${` without a closing brace")
                    .hint("write `$${` for the characters `${`")
            })?;
            let (name, default) = name.split_once(":-").map_or((name, None), |(name, text)| (name, Some(text)));
            // As in a shell: an empty variable counts as one that is not set where a default stands beside it.
            let value = (self.environment)(name).filter(|value| default.is_none() || !value.is_empty());
            let Some(value) = value.or_else(|| default.map(str::to_owned)) else {
                let place = self.inside(&span, &format!("${{{name}}}"));
                return Ok(Data::Unset(Box::new(place.error(format!("the environment variable `{name}` is not set")))));
            };
            result.push_str(&value);
            rest = after;
        }
        result.push_str(rest);
        Ok(Data::Text(result))
    }

    /// The place of some text within a span; the start of the span if it is written with escapes.
    fn inside(&self, span: &std::ops::Range<usize>, text: &str) -> Place {
        let offset = self.text.get(span.clone()).and_then(|raw| raw.find(text)).unwrap_or(0);
        self.place(span.start + offset)
    }
}

impl Node {
    /// The first variable that is not set, but for values at paths that `spared` spares.
    pub(crate) fn unset(&self, path: &mut Vec<String>, spared: &dyn Fn(&[String]) -> bool) -> Option<&BenchFileError> {
        if spared(path) {
            return None;
        }
        match &self.data {
            Data::Unset(error) => Some(error),
            Data::List(nodes) => nodes.iter().find_map(|node| node.unset(path, spared)),
            Data::Table(entries) => entries.iter().find_map(|entry| {
                path.push(entry.key.clone());
                let found = entry.node.unset(path, spared);
                path.pop();
                found
            }),
            Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) => None,
        }
    }

    /// Makes every string with a variable that is not set an empty one; gives the error of the first.
    pub(crate) fn take_unset(&mut self) -> Option<BenchFileError> {
        match &mut self.data {
            Data::Unset(error) => {
                let error = (**error).clone();
                self.data = Data::Text(String::new());
                Some(error)
            }
            // All of them are taken, so no search that ends with the first.
            Data::List(nodes) => nodes.iter_mut().filter_map(Node::take_unset).reduce(|first, _| first),
            Data::Table(entries) => {
                entries.iter_mut().filter_map(|entry| entry.node.take_unset()).reduce(|first, _| first)
            }
            Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) => None,
        }
    }

    /// Lays `over` on top: tables are merged entry by entry, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: Node) {
        match (&mut self.data, over.data) {
            (Data::Table(entries), Data::Table(new)) => {
                for entry in new {
                    match entries.iter_mut().find(|old| old.key == entry.key) {
                        Some(old) => old.node.overlay(entry.node),
                        None => entries.push(entry),
                    }
                }
            }
            (data, new) => {
                *data = new;
                self.place = over.place;
            }
        }
    }

    /// What kind of value it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Bool(_) => "a truth value",
            Data::Int(_) => "an integer",
            Data::Float(_) => "a number",
            Data::Text(_) | Data::Unset(_) => "a string",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    /// The entry `key` of a table.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The place of the entry with this dotted path, or of the deepest part of it that exists.
    pub(crate) fn locate(&self, path: &str) -> Place {
        let (mut node, mut place) = (self, &self.place);
        for key in path.split('.') {
            let next = match &node.data {
                Data::List(nodes) => {
                    key.parse::<usize>().ok().and_then(|index| nodes.get(index)).map(|n| (n, &n.place))
                }
                _ => node.entry(key).map(|entry| (&entry.node, &entry.node.place)),
            };
            let Some((deeper, found)) = next else { break };
            (node, place) = (deeper, found);
        }
        place.clone()
    }

    /// A value that did not come from a text: all of it stands at one place.
    pub(crate) fn from_value(place: &Place, value: &Value) -> Node {
        let inner = |value: &Value| Node::from_value(place, value);
        let data = match value {
            Value::Bool(value) => Data::Bool(*value),
            Value::Int(value) => Data::Int(*value),
            // A file cannot hold it either.
            Value::Unsigned(value) => Data::Float(*value as f64),
            Value::Float(value) => Data::Float(*value),
            Value::Text(text) => Data::Text(text.clone()),
            Value::Bytes(bytes) => Data::Text(String::from_utf8_lossy(bytes).into_owned()),
            Value::List(values) => Data::List(values.iter().map(inner).collect()),
            Value::Table(entries) => {
                let entry = |(key, value): &(String, Value)| Entry {
                    key: key.clone(),
                    place: place.clone(),
                    node: Node::from_value(place, value),
                };
                Data::Table(entries.iter().map(entry).collect())
            }
        };
        Node { place: place.clone(), data }
    }

    /// The value without its places.
    pub(crate) fn value(&self) -> Value {
        match &self.data {
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::Int(*value),
            Data::Float(value) => Value::Float(*value),
            Data::Text(value) => Value::Text(value.clone()),
            Data::Unset(_) => Value::Text(String::new()),
            Data::List(nodes) => Value::List(nodes.iter().map(Node::value).collect()),
            Data::Table(entries) => {
                Value::Table(entries.iter().map(|entry| (entry.key.clone(), entry.node.value())).collect())
            }
        }
    }

    /// Collects every text that stands under one of these keys, at any depth.
    pub(crate) fn texts_under(&self, keys: &[&str], found: &mut Vec<String>) {
        match &self.data {
            Data::Table(entries) => entries.iter().for_each(|entry| match &entry.node.data {
                Data::Text(text) if keys.contains(&entry.key.as_str()) => found.push(text.clone()),
                _ => entry.node.texts_under(keys, found),
            }),
            Data::List(nodes) => nodes.iter().for_each(|node| node.texts_under(keys, found)),
            _ => {}
        }
    }

    /// Changes every string in place; an error stands at the string.
    pub(crate) fn each_text(&mut self, change: &mut dyn FnMut(&mut String) -> Result<(), String>) -> Outcome<()> {
        match &mut self.data {
            Data::Text(text) => change(text).map_err(|problem| self.place.error(problem)),
            Data::List(nodes) => nodes.iter_mut().try_for_each(|node| node.each_text(change)),
            Data::Table(entries) => entries.iter_mut().try_for_each(|entry| entry.node.each_text(change)),
            Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Unset(_) => Ok(()),
        }
    }
}

/// For errors that belong to no place: the file itself.
pub(crate) fn whole_file(path: &Path) -> impl Fn(String) -> BenchFileError {
    let name: Arc<str> = Arc::from(path.display().to_string());
    move |message| Place::file(&name).error(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Outcome<Node> {
        parse(&Arc::from("f.toml"), text, &|name| (name == "SITE").then(|| "north".to_owned()))
    }

    #[test]
    fn keys_keep_their_order_and_places() {
        let node = tree("[b]\nz = 1\na = [true, 2.5]\n[a]\n").unwrap();
        let Data::Table(entries) = &node.data else { panic!("a table") };
        assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let at = |path: &str| (node.locate(path).line, node.locate(path).column);
        assert_eq!((at("b.z"), at("b.a.1"), at("b.a.7"), at("nothing")), ((2, 5), (3, 12), (3, 5), (1, 1)));
        assert_eq!(node.value().entry("b").and_then(|b| b.entry("z")), Some(&Value::Int(1)));
    }

    #[test]
    fn variables_are_replaced_once() {
        let node = tree("a = 'x/${SITE}/${SITE}'\nb = '$${SITE}'").unwrap();
        assert_eq!(node.value().entry("a"), Some(&Value::from("x/north/north")));
        assert_eq!(node.value().entry("b"), Some(&Value::from("${SITE}")));
        let node = tree("a = '${SITE:-south}/${NOPE:-a-b}/${NOPE:-}'").unwrap();
        assert_eq!(node.value().entry("a"), Some(&Value::from("north/a-b/")));
        let unset = tree("a = \"x/${NOPE}\"").unwrap();
        let error = unset.unset(&mut Vec::new(), &|_| false).unwrap().to_string();
        assert_eq!(error, "f.toml:1:8: the environment variable `NOPE` is not set");
    }

    #[test]
    fn an_overlay_merges_tables_and_replaces_the_rest() {
        let mut node = tree("[a]\nx = 1\ny = { p = 1, q = 2 }").unwrap();
        node.overlay(tree("[a]\ny = { q = 3 }\nz = 'new'").unwrap());
        let expected = tree("[a]\nx = 1\ny = { p = 1, q = 3 }\nz = 'new'").unwrap();
        assert_eq!(node.value(), expected.value());
    }
}
