//! Where something stands in a file, and errors that say so.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A place in a file; line and column count from 1, in characters. Line 0 means the file as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn file(name: &Arc<str>) -> Place {
        Place { file: Arc::clone(name), line: 0, column: 0 }
    }

    /// The place of a byte offset in a text.
    #[must_use]
    pub fn at(name: &Arc<str>, text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: Arc::clone(name),
            line: 1 + before.matches('\n').count() as u32,
            column: 1 + before[line_start..].chars().count() as u32,
        }
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> BenchFileError {
        BenchFileError {
            file: self.file.to_string(),
            line: self.line,
            column: self.column,
            message: message.into(),
            hint: None,
        }
    }
}

/// What is wrong with a bench or model file, and where. Shown as `bench.toml:12:5: message; hint`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BenchFileError {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1; 0 if the file as a whole is at fault.
    pub line: u32,
    /// Column in characters, from 1; 0 if the file as a whole is at fault.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// A known remedy.
    pub hint: Option<String>,
}

impl BenchFileError {
    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> BenchFileError {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a remedy if there is one.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> BenchFileError {
        self.hint = hint;
        self
    }
}

impl fmt::Display for BenchFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for BenchFileError {}

/// What most functions of this folder give.
pub(crate) type Outcome<T> = Result<T, BenchFileError>;

/// The hint for a word that is none of the known ones: the nearest one, or all of them.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + word.chars().count() / 4 => {
            Some(format!("did you mean `{candidate}`?"))
        }
        Some(_) => Some(format!("known are {}", quoted(known))),
        None => None,
    }
}

/// `a`, `b`, `c`.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// How many characters have to be changed, added or taken away (Levenshtein); a swap of neighbours counts as one.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// The first offset of a span, or the start of the file.
pub(crate) fn start(span: Option<Range<usize>>) -> usize {
    span.map_or(0, |span| span.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered() {
        let known = ["base", "line", "protocol", "role"];
        assert_eq!(did_you_mean("basee", known).as_deref(), Some("did you mean `base`?"));
        assert_eq!(did_you_mean("protcool", known).as_deref(), Some("did you mean `protocol`?"));
        assert_eq!(did_you_mean("zebra", known).as_deref(), Some("known are `base`, `line`, `protocol`, `role`"));
        assert_eq!(did_you_mean("zebra", []), None);
    }

    #[test]
    fn columns_count_characters() {
        let name = Arc::from("f");
        let text = "a\n\u{e9}\u{e9}x";
        assert_eq!(Place::at(&name, text, 6), Place { file: Arc::clone(&name), line: 2, column: 3 });
        assert_eq!(Place::at(&name, text, 0).error("m").to_string(), "f:1:1: m");
        assert_eq!(Place::file(&name).error("m").hint("h").to_string(), "f: m; h");
    }
}
