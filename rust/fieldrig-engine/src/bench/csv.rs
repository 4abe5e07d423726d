//! CSV texts (RFC 4180), cut into cells that know their place.
//!
//! What separates is seen in the first line ([`separator`]). Empty lines, and those that begin with `#`,
//! are skipped.

use super::place::{Outcome, Place};
use std::sync::Arc;

/// A cell and where it stands.
pub(super) struct Cell {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Semicolons, if the first line has some and no comma; else commas.
pub(super) fn separator(first: &str) -> char {
    if first.contains(';') && !first.contains(',') { ';' } else { ',' }
}

/// The rows of a text; `name` is the file in errors, `separator` says what separates, given the first line.
pub(super) fn rows(name: &Arc<str>, text: &str, separator: fn(&str) -> char) -> Outcome<Vec<Vec<Cell>>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let separator = separator(text.lines().find(|line| !is_skipped(line)).unwrap_or_default());
    let mut cutter = Cutter { name, rest: text, line: 1, column: 1, separator };
    let mut rows = Vec::new();
    while !cutter.rest.is_empty() {
        let line = cutter.rest.lines().next().unwrap_or_default();
        if is_skipped(line) {
            let end = cutter.rest.find('\n').map_or(cutter.rest.len(), |at| at + 1);
            cutter.skip(end);
        } else {
            rows.push(cutter.row()?);
        }
    }
    Ok(rows)
}

fn is_skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// What is left of a text, and where that begins.
struct Cutter<'a> {
    name: &'a Arc<str>,
    rest: &'a str,
    line: u32,
    column: u32,
    separator: char,
}

impl Cutter<'_> {
    fn place(&self) -> Place {
        Place { file: Arc::clone(self.name), line: self.line, column: self.column }
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        let last = skipped.rsplit('\n').next().unwrap_or_default();
        let lines = skipped.matches('\n').count() as u32;
        let before = if lines == 0 { self.column } else { 1 };
        (self.line, self.column) = (self.line + lines, before + last.chars().count() as u32);
        self.rest = rest;
    }

    /// The cells of one row.
    fn row(&mut self) -> Outcome<Vec<Cell>> {
        let mut cells = Vec::new();
        loop {
            let place = self.place();
            let (text, length) = match self.rest.strip_prefix('"') {
                Some(quoted) => unquoted(quoted).ok_or_else(|| place.error("the quotation mark is never closed"))?,
                None => {
                    let length = self.rest.find([self.separator, '\n', '\r']).unwrap_or(self.rest.len());
                    (self.rest[..length].trim().to_owned(), length)
                }
            };
            cells.push(Cell { place, text });
            self.skip(length);
            if self.rest.starts_with(self.separator) {
                self.skip(self.separator.len_utf8());
            } else if self.rest.is_empty() {
                return Ok(cells);
            } else if let Some(end) = ["\r\n", "\n", "\r"].iter().find(|end| self.rest.starts_with(**end)) {
                self.skip(end.len());
                return Ok(cells);
            } else {
                return Err(self.place().error("a cell in quotation marks goes on behind them"));
            }
        }
    }
}

/// The text up to the closing quotation mark, two of which stand for one; and its length with both marks.
fn unquoted(quoted: &str) -> Option<(String, usize)> {
    let (mut content, mut at) = (String::new(), 0);
    loop {
        let end = at + quoted[at..].find('"')?;
        content.push_str(&quoted[at..end]);
        if !quoted[end + 1..].starts_with('"') {
            return Some((content, end + 2));
        }
        content.push('"');
        at = end + 2;
    }
}
