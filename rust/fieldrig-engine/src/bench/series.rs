//! Series of values from CSV files: `value = { series = "recording.csv" }` in a rule of an emulated device.
//!
//! ```csv
//! time,value
//! 0,230.1
//! 0.5,229.8
//! 1min,231
//! ```
//! Rules of this file:
//! - Two columns: time since the device runs, in seconds or with a unit, and value. A first row without numbers names them.
//! - Everything is judged here, where the line is known: times that go up, values that are numbers.
//! - A file stands beside the file that names it; in Python, in the working directory.

use super::csv::{self, Cell};
use super::place::Outcome;
use super::tree::{self, Data, Entry, Node};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, parse_duration};
use std::path::Path;

/// A time above this is no time since the device runs, but a point in time: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Puts the rows of the file in the place of each file name in the rules of a face.
///
/// # Errors
/// What is wrong with a file, with its place.
pub(super) fn take_series(face: &mut Node, folder: &Path) -> Outcome<()> {
    let Some(Data::List(rules)) = entry(face, "rule").map(|rules| &mut rules.data) else { return Ok(()) };
    for rule in rules {
        let Some(value) = entry(rule, "value") else { continue };
        let values = match &mut value.data {
            Data::List(values) => values.iter_mut().collect(),
            _ => vec![value],
        };
        for series in values.into_iter().filter_map(|value| entry(value, "series")) {
            if let Data::Text(name) = &series.data {
                *series = read(&folder.join(name))?;
            }
        }
    }
    Ok(())
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.data {
        Data::Table(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|Entry { node, .. }| node),
        _ => None,
    }
}

/// The same in a rule that is given in code; paths count from the working directory.
///
/// # Errors
/// What is wrong with a file, with its place.
pub fn load_series(rule: &mut Value) -> Outcome<()> {
    let Some(value) = value_entry(rule, "value") else { return Ok(()) };
    let values = match value {
        Value::List(values) => values.iter_mut().collect(),
        other => vec![other],
    };
    for series in values.into_iter().filter_map(|value| value_entry(value, "series")) {
        if let Value::Text(name) = &series {
            *series = read(Path::new(name))?.value();
        }
    }
    Ok(())
}

fn value_entry<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Table(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    }
}

fn read(path: &Path) -> Outcome<Node> {
    let (name, text) = tree::read_text(path)?;
    // A comma beside semicolons stands for the decimal point: that is told where it stands.
    let rows = csv::rows(&name, &text, |first| if first.contains(';') { ';' } else { ',' })?;
    // A name does not begin like a number: `23o` in a first row is a slip, and is told.
    let is_name =
        |cell: &Cell| !cell.text.trim().starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let is_header = |row: &[Cell]| row.iter().all(|cell| is_name(cell) && cell.text.parse::<f64>().is_err());
    let rows = match rows.split_first() {
        Some((first, rest)) if is_header(first) => rest,
        _ => &rows[..],
    };
    let whole = tree::whole_file(path);
    if rows.is_empty() {
        return Err(whole("there is no row of time and value".to_owned()).hint("write `0,230.1`: seconds, value"));
    }
    let mut before = None;
    let nodes = rows.iter().map(|row| {
        let (node, at) = point(row)?;
        if let Some((earlier, text)) = before.replace((at, row[0].text.clone()))
            && at <= earlier
        {
            let message = format!("the times must go up: `{}` does not come after `{text}`", row[0].text);
            return Err(row[0].place.error(message).hint("sort the rows, and leave one of those with the same time"));
        }
        Ok(node)
    });
    let nodes = nodes.collect::<Outcome<Vec<Node>>>()?;
    Ok(Node { place: rows[0][0].place.clone(), data: Data::List(nodes) })
}

/// One row, and its time.
fn point(row: &[Cell]) -> Outcome<(Node, Duration)> {
    let [when, what] = row else {
        let place = &row.get(2).or(row.last()).unwrap_or(&row[0]).place;
        let message = format!("the row has {} cells; a series has two columns, time and value", row.len());
        return Err(place.error(message).hint("leave the column of the times and one more"));
    };
    let (at, exact) = time(when)?;
    if at > LONGEST {
        let message = format!("`{}` is no time since the device runs: it is more than ten years", when.text);
        return Err(when.place.error(message).hint("subtract the time of the first row"));
    }
    let node = |cell: &Cell, data| Node { place: cell.place.clone(), data };
    let both = vec![node(when, Data::Text(exact)), node(what, Data::Float(number(what)?))];
    Ok((node(when, Data::List(both)), at))
}

/// A time, and how it is written with its unit.
fn time(cell: &Cell) -> Outcome<(Duration, String)> {
    let text = cell.text.trim();
    // As other programs write numbers: 1.5e-01.
    let decimal = text.parse::<f64>().ok().filter(|at| at.is_finite() && text.contains(['e', 'E']));
    let decimal = decimal.map(|at| format!("{at:.9}"));
    let text = decimal.as_deref().unwrap_or(text);
    let exact = if text.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    match parse_duration(&exact) {
        Ok(at) => Ok((at, exact)),
        Err(_) => {
            let mut error = cell.place.error(format!("`{}` is no time since the device runs", cell.text));
            error.hint = Some(match text.contains(',') {
                true => "write a decimal point: 0.5".to_owned(),
                false => "write seconds from 0 on, or a number and a unit: 0.5, 500ms".to_owned(),
            });
            Err(error)
        }
    }
}

fn number(cell: &Cell) -> Outcome<f64> {
    let number = cell.text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| {
        let error = cell.place.error(format!("`{}` is not a number", cell.text));
        if cell.text.contains(',') { error.hint("write a decimal point: 0.5") } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<Value, String> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fieldrig-series-{}-{number}.csv", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        let name = path.display().to_string();
        let source = Value::Table(vec![("series".to_owned(), Value::Text(name.clone()))]);
        let mut rule = Value::Table(vec![("value".to_owned(), source)]);
        let outcome = load_series(&mut rule).map_err(|error| error.to_string().replace(&name, "s.csv"));
        std::fs::remove_file(&path).expect("it is there");
        outcome.map(|()| rule.entry("value").and_then(|value| value.entry("series")).expect("a series").clone())
    }

    fn rows(all: &[(&str, f64)]) -> Value {
        Value::List(all.iter().map(|(at, value)| Value::List(vec![(*at).into(), Value::Float(*value)])).collect())
    }

    #[test]
    fn a_file_becomes_rows_of_time_and_value() {
        let expected = rows(&[("0s", 230.1), ("0.5s", -2.0), ("1min", 1e3)]);
        for text in [
            "time,value\n0,230.1\n0.5,-2\n1min,1e3\n",
            "0,230.1\r\n0.5,-2\r\n\r\n# a comment\r\n1min,1e3",
            "\u{feff}t;v\n0;230.1\n0.5;-2\n1min;1e3\n",
        ] {
            assert_eq!(loaded(text).as_ref(), Ok(&expected), "{text:?}");
        }
        let exponents = loaded("0.0e+00,2.301e+02\n5.0e-01,-2\n");
        assert_eq!(exponents, Ok(rows(&[("0.000000000s", 230.1), ("0.500000000s", -2.0)])));
    }

    #[test]
    fn what_is_wrong_is_told_with_line_value_and_remedy() {
        for (text, told) in [
            ("", "s.csv: there is no row of time and value; write `0,230.1`: seconds, value"),
            ("time,value\n", "s.csv: there is no row of time and value; write `0,230.1`: seconds, value"),
            (
                "time,value\n0,1\n1,2\n1,3\n",
                "s.csv:4:1: the times must go up: `1` does not come after `1`; sort the rows, and leave one of those with the same time",
            ),
            ("0,1\n1,x\n", "s.csv:2:3: `x` is not a number"),
            (
                "o,23o\n",
                "s.csv:1:1: `o` is no time since the device runs; write seconds from 0 on, or a number and a unit: 0.5, 500ms",
            ),
            ("0,nan\n", "s.csv:1:3: `nan` is not a number"),
            ("0;1,5\n1;2\n", "s.csv:1:3: `1,5` is not a number; write a decimal point: 0.5"),
            ("t;v\n0;1,5\n", "s.csv:2:3: `1,5` is not a number; write a decimal point: 0.5"),
            (
                "0,1\n1,2,3\n",
                "s.csv:2:5: the row has 3 cells; a series has two columns, time and value; leave the column of the times and one more",
            ),
            (
                "-1,1\n",
                "s.csv:1:1: `-1` is no time since the device runs; write seconds from 0 on, or a number and a unit: 0.5, 500ms",
            ),
            (
                "time,value\n2026-11-22T10:00:00Z,1\n",
                "s.csv:2:1: `2026-11-22T10:00:00Z` is no time since the device runs; write seconds from 0 on, or a number and a unit: 0.5, 500ms",
            ),
            (
                "1795341600,1\n",
                "s.csv:1:1: `1795341600` is no time since the device runs: it is more than ten years; subtract the time of the first row",
            ),
        ] {
            assert_eq!(loaded(text).unwrap_err(), told, "{text:?}");
        }
    }
}
