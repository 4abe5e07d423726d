//! Map files: where the points of a device are, as a table of their own (TOML) or as a spreadsheet saves it (CSV).
//!
//! ```csv
//! name,table,address,type,scale,unit,range,labels
//! voltage,input,0,u16,0.1,V,0..300,
//! mode,holding,8,u16,,,,off=0;heat=1
//! ```
//! ```toml
//! [points.voltage]
//! table = "input"
//! address = 0
//!
//! [holding]                    # further values, by first address, as the face of a device takes them
//! 100 = [0, 1, 2]
//! ```
//! Rules of this file:
//! - What a row means is the protocol's business; here it becomes a table, and every cell keeps its place.
//! - A model file takes one with `map = "meter.csv"` in a face. Points that it does not declare itself are declared by
//!   the map: kind, unit, range, access and initial value.

use super::csv::{self, Cell};
use super::place::{BenchFileError, Outcome, Place, did_you_mean};
use super::series::take_series;
use super::tree::{self, Data, Entry, Environment, Node};
use fieldrig_proto::device::PointDefinition;
use fieldrig_proto::protocol::SettingError;
use fieldrig_proto::record::Value;
use std::path::Path;
use std::sync::Arc;

/// Columns whose cells are texts, whatever they look like.
const TEXTS: [&str; 11] =
    ["name", "table", "type", "words", "bytes", "order", "byte", "epoch", "unit", "access", "description"];
/// Columns whose cells are numbers, or pairs or lists of them.
const OTHERS: [&str; 9] = ["address", "registers", "bit", "bits", "scale", "offset", "labels", "range", "initial"];

/// A map file that was read: a table with `points` and whatever else a TOML file has.
#[derive(Clone, Debug)]
pub struct MapFile(Node);

/// Reads a map file; `known` are the tables and values that it may have beside `points`.
///
/// # Errors
/// What cannot be read, and what nobody would read, with its place.
pub fn load_map(path: &Path, environment: Environment<'_>, known: &[&str]) -> Outcome<MapFile> {
    let node = read(path, environment)?;
    let Data::Table(entries) = &node.data else { return Err(node.place.error("it is no table")) };
    let names = || std::iter::once("points").chain(known.iter().copied());
    match entries.iter().find(|entry| !names().any(|name| name == entry.key)) {
        None => Ok(MapFile(node)),
        Some(unknown) => {
            let message = format!("there is no `{}` in a map file", unknown.key);
            Err(unknown.place.error(message).maybe_hint(did_you_mean(&unknown.key, names())))
        }
    }
}

impl MapFile {
    /// Its points; an empty table if it has none.
    #[must_use]
    pub fn points(&self) -> Value {
        self.0.entry("points").map_or_else(|| Value::Table(Vec::new()), |points| points.node.value())
    }

    /// What else it has.
    #[must_use]
    pub fn further(&self) -> Vec<(String, Value)> {
        let Data::Table(entries) = &self.0.data else { return Vec::new() };
        let further = entries.iter().filter(|entry| entry.key != "points");
        further.map(|entry| (entry.key.clone(), entry.node.value())).collect()
    }

    /// The points as declarations of a store: kind, unit, range, access and initial value.
    ///
    /// # Errors
    /// What does not fit together: an initial value outside the range, or of another kind.
    pub fn declared(&self) -> Outcome<Vec<PointDefinition>> {
        self.0.entry("points").map_or_else(|| Ok(Vec::new()), |points| super::model::declared(&points.node))
    }

    /// What a protocol refused, with the place of it: keys count from `map`, which is `points` here. `None` if it is
    /// about nothing in this file.
    #[must_use]
    pub fn refused(&self, problem: &SettingError) -> Option<BenchFileError> {
        let inside = match problem.key.strip_prefix("map") {
            Some(inside) => format!("points{inside}"),
            None => problem.key.clone(),
        };
        let node = found(&self.0, &inside)?;
        let error = node.place.error(format!("`{inside}`: {}", problem.problem));
        Some(error.maybe_hint(problem.hint.clone()))
    }
}

/// What stands under a key with dots between levels, or the last level of it that is there. Names may have dots, too: the
/// longest name that fits is meant.
pub(super) fn found<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    if let Data::List(items) = &node.data {
        let (index, rest) = key.split_once('.').unwrap_or((key, ""));
        let item = items.get(index.parse::<usize>().ok()?)?;
        return Some(found(item, rest).unwrap_or(item));
    }
    let Data::Table(entries) = &node.data else { return None };
    let fitting = entries.iter().filter_map(|entry| match key.strip_prefix(entry.key.as_str())? {
        "" => Some((entry, &entry.node)),
        rest => rest.strip_prefix('.').map(|rest| (entry, found(&entry.node, rest).unwrap_or(&entry.node))),
    });
    fitting.max_by_key(|(entry, _)| entry.key.len()).map(|(_, node)| node)
}

pub(super) fn read(path: &Path, environment: Environment<'_>) -> Outcome<Node> {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("csv")) {
        let mut whole = tree::read_whole(path, environment)?;
        take_series(&mut whole, path.parent().unwrap_or(Path::new(".")))?;
        return Ok(whole);
    }
    let (name, text) = tree::read_text(path)?;
    let rows = csv::rows(&name, &text, csv::separator)?;
    let place = Place { file: Arc::clone(&name), line: 1, column: 1 };
    let points = Entry { key: "points".to_owned(), place: place.clone(), node: points(&place, &rows)? };
    Ok(Node { place, data: Data::Table(vec![points]) })
}

/// Declares the points of a map that `declared` does not: `[points.NAME]` of a model file.
pub(super) fn declarations(points: &[Entry], declared: &[Entry]) -> Vec<Entry> {
    let missing = points.iter().filter(|point| !declared.iter().any(|known| known.key == point.key));
    missing.map(|point| Entry { node: declaration(&point.node), ..point.clone() }).collect()
}

fn declaration(point: &Node) -> Node {
    let entry = |key: &str, text: &str| Entry {
        key: key.to_owned(),
        place: point.place.clone(),
        node: Node { place: point.place.clone(), data: Data::Text(text.to_owned()) },
    };
    let text_of = |key: &str| match point.entry(key).map(|entry| &entry.node.data) {
        Some(Data::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let bits = text_of("table").is_some_and(|table| matches!(table, "coils" | "discrete"));
    let read_only = text_of("table").is_some_and(|table| matches!(table, "input" | "discrete"));
    let access = text_of("access").unwrap_or(if read_only { "read" } else { "read-write" });
    let kind = match text_of("type") {
        Some("bool") => "bool",
        None if bits || point.entry("bit").is_some() => "bool",
        Some("text" | "datetime") => "text",
        _ if point.entry("labels").is_some() || point.entry("epoch").is_some() => "text",
        Some("f32" | "f64") => "float",
        _ if point.entry("scale").is_some() || point.entry("offset").is_some() => "float",
        _ => "int",
    };
    let mut entries = vec![entry("kind", kind), entry("access", if access == "write" { "read-write" } else { access })];
    let numeric = kind != "text" && kind != "bool";
    let kept = ["unit", "initial", "range"].into_iter().filter(|key| *key != "range" || numeric);
    entries.extend(kept.filter_map(|key| point.entry(key).cloned()));
    Node { place: point.place.clone(), data: Data::Table(entries) }
}

fn points(whole: &Place, rows: &[Vec<Cell>]) -> Outcome<Node> {
    let mut rows = rows.iter();
    let Some(header) = rows.next() else { return Err(whole.error("there is not even a row of column names")) };
    let known = || TEXTS.into_iter().chain(OTHERS);
    if let Some(unknown) = header.iter().find(|cell| !known().any(|name| name == cell.text)) {
        let message = format!("unknown column `{}`", unknown.text);
        return Err(unknown.place.error(message).maybe_hint(did_you_mean(&unknown.text, known())));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows {
        let entry = point(header, row)?;
        if let Some(twin) = entries.iter().find(|known| known.key == entry.key) {
            let message = format!("point `{}` stands in line {} already", entry.key, twin.place.line);
            return Err(entry.place.error(message));
        }
        entries.push(entry);
    }
    Ok(Node { place: whole.clone(), data: Data::Table(entries) })
}

fn point(header: &[Cell], row: &[Cell]) -> Outcome<Entry> {
    if let Some(extra) = row.get(header.len()) {
        return Err(extra.place.error(format!("the row has {} cells, there are {} columns", row.len(), header.len())));
    }
    let (mut name, mut entries) = (None, Vec::new());
    for (column, cell) in header.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty()) {
        let node = Node { place: cell.place.clone(), data: data(&column.text, cell)? };
        match column.text.as_str() {
            "name" => name = Some(cell),
            key => entries.push(Entry { key: key.to_owned(), place: cell.place.clone(), node }),
        }
    }
    let place = row.first().map_or(&header[0].place, |cell| &cell.place);
    let name = name.ok_or_else(|| place.error("the row names no point: its cell in the column `name` is empty"))?;
    let node = Node { place: name.place.clone(), data: Data::Table(entries) };
    Ok(Entry { key: name.text.clone(), place: name.place.clone(), node })
}

fn data(column: &str, cell: &Cell) -> Outcome<Data> {
    let list = |separator: &str| -> Outcome<Data> {
        let numbers = cell.text.split(separator).map(|part| number(cell, part.trim()));
        let node = |data: Outcome<Data>| data.map(|data| Node { place: cell.place.clone(), data });
        numbers.map(node).collect::<Outcome<Vec<Node>>>().map(Data::List)
    };
    match column {
        column if TEXTS.contains(&column) => Ok(Data::Text(cell.text.clone())),
        "range" => list(".."),
        "bits" => list("-"),
        "labels" => labels(cell),
        "initial" => Ok(number(cell, &cell.text).unwrap_or_else(|_| Data::Text(cell.text.clone()))),
        _ => number(cell, &cell.text),
    }
}

fn labels(cell: &Cell) -> Outcome<Data> {
    let label = |pair: &str| {
        let wrong = || cell.place.error(format!("`{pair}` is no name with a number")).hint("write off=0;on=1");
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let node = Node { place: cell.place.clone(), data: number(cell, value.trim()).map_err(|_| wrong())? };
        Ok(Entry { key: name.trim().to_owned(), place: cell.place.clone(), node })
    };
    cell.text.split(';').filter(|pair| !pair.trim().is_empty()).map(label).collect::<Outcome<_>>().map(Data::Table)
}

fn number(cell: &Cell, text: &str) -> Outcome<Data> {
    let hex = text.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16).ok());
    match (hex, text.parse::<i64>(), text.parse::<f64>()) {
        (Some(Some(integer)), ..) | (None, Ok(integer), _) => Ok(Data::Int(integer)),
        (None, _, Ok(number)) if number.is_finite() => Ok(Data::Float(number)),
        _ => Err(cell.place.error(format!("`{text}` is not a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::Folder;

    fn parsed(text: &str) -> Outcome<Value> {
        let name: Arc<str> = Arc::from("m.csv");
        points(&Place::file(&name), &csv::rows(&name, text, csv::separator)?).map(|node| node.value())
    }

    #[test]
    fn rows_become_points() {
        let text = "\u{feff}# a meter\nname,table,address,scale,range,labels,bits,description\r\n\
                    v,input,0x10,0.1,-5..300,,,\"volts, \"\"RMS\"\"\"\r\n\nm,holding,8,,,off=0; on=1,4-7,\n";
        let found = parsed(text).unwrap();
        let of = |point: &str, key: &str| found.entry(point).and_then(|point| point.entry(key)).cloned();
        assert_eq!(of("v", "address"), Some(Value::Int(16)));
        assert_eq!(of("v", "range"), Some(Value::List(vec![Value::Int(-5), Value::Int(300)])));
        assert_eq!(of("v", "description"), Some("volts, \"RMS\"".into()));
        assert_eq!(of("m", "bits"), Some(Value::List(vec![Value::Int(4), Value::Int(7)])));
        assert_eq!(of("m", "labels").and_then(|labels| labels.entry("on").cloned()), Some(Value::Int(1)));
        assert_eq!(of("m", "scale"), None);
        let semicolons = parsed("name;table;address\nv;input;3").unwrap();
        assert_eq!(semicolons.entry("v").and_then(|v| v.entry("address")), Some(&Value::Int(3)));
    }

    #[test]
    fn what_a_protocol_refuses_is_told_with_its_place() {
        let folder = Folder::new("map-places");
        std::fs::create_dir_all(&folder.0).unwrap();
        let load = |name: &str, text: &str| {
            let path = folder.0.join(name);
            std::fs::write(&path, text).unwrap();
            load_map(&path, &|_| None, &["holding", "device"])
        };
        let told = |error: BenchFileError| error.to_string().replace(&format!("{}/", folder.0.display()), "");
        let toml =
            load("m.toml", "[points.\"a.b\"]\ntable = 'input'\naddress = 70000\n[points.a]\ntable = 'x'\n").unwrap();
        let longer = load("n.toml", "[points.a]\ntable = 'x'\n[points.\"a.b\"]\naddress = 70000\n").unwrap();
        let csv = load("m.csv", "name,table,address\nv,input,1\nw,input,70000\n").unwrap();
        for (file, key, place) in [
            (&longer, "map.a.b.address", "n.toml:4:11: `points.a.b.address`: no"),
            (&toml, "map.a.b.address", "m.toml:3:11: `points.a.b.address`: no"),
            (&toml, "map.a.table", "m.toml:5:9: `points.a.table`: no"),
            (&toml, "map.a.address", "m.toml:4:1: `points.a.address`: no"),
            (&csv, "map.w.address", "m.csv:3:9: `points.w.address`: no"),
        ] {
            let problem = SettingError { key: key.to_owned(), problem: "no".to_owned(), hint: None };
            assert_eq!(file.refused(&problem).map(told).as_deref(), Some(place));
        }
        let elsewhere = SettingError { key: "unit".to_owned(), problem: "no".to_owned(), hint: None };
        assert_eq!(toml.refused(&elsewhere), None);
        let misspelt = load("p.toml", "[point.v]\ntable = 'input'\n").map(|_| ()).map_err(told);
        assert_eq!(misspelt, Err("p.toml:1:2: there is no `point` in a map file; did you mean `points`?".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            ("", "m.csv: there is not even a row of column names"),
            ("name,adress\n", "m.csv:1:6: unknown column `adress`; did you mean `address`?"),
            ("name,address\nv,ten\n", "m.csv:2:3: `ten` is not a number"),
            ("name,address\n,1\n", "m.csv:2:1: the row names no point: its cell in the column `name` is empty"),
            ("name,address\nv,1\nv,2\n", "m.csv:3:1: point `v` stands in line 2 already"),
            ("name,address\nv,1,2\n", "m.csv:2:5: the row has 3 cells, there are 2 columns"),
            ("name,unit\nv,\"V\n", "m.csv:2:3: the quotation mark is never closed"),
            ("name,unit\nv,\"V\"x\n", "m.csv:2:6: a cell in quotation marks goes on behind them"),
            ("name,labels\nv,off\n", "m.csv:2:3: `off` is no name with a number; write off=0;on=1"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), told);
        }
    }
}
