//! Secrets: texts that must stand in no artefact. The run log, the capture and whoever prints ask [`Secrets`].
//!
//! - In a text every occurrence becomes `***`, however the text spells it: plain, escaped (with any number of
//!   backslashes: what quotes JSON is escaped again), as hex with or without spaces, percent-encoded; and the beginning of one that a shortened text (`abc..`) ends with. Of a
//!   secret of several lines, such as a key in PEM, each long line is one too: texts indent lines, and leave some out.
//! - In octets every occurrence becomes as many `*`, so that lengths and offsets stay what they were.
//! - More of them may be told of at any time ([`Secrets::hide`]); whoever shares them masks those from then on.
//! - Texts shorter than [`SHORTEST`] octets are not masked: they would be found everywhere, and what is masked everywhere
//!   is told. [`Secrets::too_short`] counts them, so that somebody can say so.
//!
//! ```
//! use fieldrig_engine::secrets::Secrets;
//!
//! let secrets = Secrets::new(["open sesame"]);
//! assert_eq!(secrets.text("the login said \"open sesame\""), "the login said \"***\"");
//! assert_eq!(secrets.octets(b"\x00\x0bopen sesame").as_ref(), b"\x00\x0b***********");
//! ```

use fieldrig_proto::record::{Record, Value};
use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

/// Shorter secrets are not masked.
pub const SHORTEST: usize = 4;

/// What stands for a secret in a text.
const MASK: &str = "***";

/// A line of a secret of several lines is masked by itself if it is at least so long.
const LONG_LINE: usize = 8;

/// How texts say that they were shortened.
const CUTS: [&str; 2] = ["..", "…"];

/// What of a spelling must stand before a cut to be taken for the beginning of a secret.
const SHORTEST_BEGINNING: usize = 2;

/// Texts that must stand in no artefact. Clones share them; `Debug` shows only their number.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Arc<Known>>>);

#[derive(Default)]
struct Known {
    /// Every way to spell one, the longest first.
    spellings: Vec<String>,
    texts: Vec<String>,
    too_short: usize,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.known().texts.len())
    }
}

impl Known {
    fn new<T: AsRef<str>>(given: impl IntoIterator<Item = T>) -> Known {
        let mut known = Known::default();
        for text in given {
            match text.as_ref() {
                "" => {}
                short if short.len() < SHORTEST => known.too_short += 1,
                text => {
                    known.spellings.extend(spellings_of(text));
                    let lines = text.lines().map(str::trim).filter(|line| line.len() >= LONG_LINE && *line != text);
                    known.spellings.extend(lines.flat_map(spellings_of));
                    known.texts.push(text.to_owned());
                }
            }
        }
        known.spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        known.spellings.dedup();
        known
    }
}

impl Secrets {
    /// Takes the texts; empty ones are no secrets.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Secrets {
        Secrets(Arc::new(RwLock::new(Arc::new(Known::new(texts)))))
    }

    /// Takes one more; what was written before stays as it is.
    pub fn hide(&self, text: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.texts.iter().all(|secret| secret != text) {
            let mut more = Known::new(known.texts.iter().map(String::as_str).chain([text]));
            more.too_short += known.too_short;
            *known = Arc::new(more);
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known().spellings.is_empty()
    }

    /// How many were given that are too short to be masked.
    #[must_use]
    pub fn too_short(&self) -> usize {
        self.known().too_short
    }

    /// A text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for spelling in &self.known().spellings {
            let mut from = 0;
            while let Some((start, end)) = find_escaped(&masked[from..], spelling) {
                masked.to_mut().replace_range(from + start..from + end, MASK);
                from += start + MASK.len();
            }
        }
        self.cut_off(masked)
    }

    /// Masks the beginnings of secrets before the places at which a text was shortened.
    fn cut_off<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        if self.is_empty() {
            return text;
        }
        for cut in CUTS {
            let mut from = 0;
            while let Some(found) = text[from..].find(cut) {
                let end = from + found;
                let length = self.beginning_before(&text[..end]);
                if length > 0 {
                    text.to_mut().replace_range(end - length..end, MASK);
                }
                from = (if length > 0 { end - length + MASK.len() } else { end }) + cut.len();
            }
        }
        text
    }

    /// The length of the longest beginning of a secret that a text ends with.
    fn beginning_before(&self, text: &str) -> usize {
        let beginning = |spelling: &String| {
            let ends = spelling.char_indices().map(|(index, _)| index).filter(|end| *end >= SHORTEST_BEGINNING);
            ends.filter_map(|end| escaped_end(text, &spelling[..end])).max().unwrap_or(0)
        };
        self.known().spellings.iter().map(beginning).max().unwrap_or(0)
    }

    /// Octets without secrets, of the same length.
    #[must_use]
    pub fn octets<'a>(&self, octets: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = Cow::Borrowed(octets);
        for spelling in self.known().spellings.iter().map(String::as_bytes) {
            let mut from = 0;
            while let Some(found) = find(&masked[from..], spelling) {
                let range = from + found..from + found + spelling.len();
                from = range.end;
                masked.to_mut()[range].fill(b'*');
            }
        }
        masked
    }

    /// How many octets at the end of these may be the beginning of a secret that goes on in the next ones.
    pub(crate) fn open_end(&self, octets: &[u8]) -> usize {
        let begins = |spelling: &String| {
            let longest = octets.len().min(spelling.len() - 1);
            (1..=longest).rev().find(|length| octets.ends_with(&spelling.as_bytes()[..*length])).unwrap_or(0)
        };
        self.known().spellings.iter().map(begins).max().unwrap_or(0)
    }

    /// A record without secrets: its values are masked, its kind and the names of its fields are ours.
    #[must_use]
    pub fn record<'a>(&self, record: &'a Record) -> Cow<'a, Record> {
        if self.is_empty() {
            return Cow::Borrowed(record);
        }
        let mut masked = record.clone();
        for (_, value) in &mut masked.fields {
            self.mask(value);
        }
        Cow::Owned(masked)
    }

    fn mask(&self, value: &mut Value) {
        match value {
            Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => {}
            Value::Text(text) => *text = self.text(text).into_owned(),
            Value::Bytes(octets) => *octets = self.octets(octets).into_owned(),
            Value::List(values) => values.iter_mut().for_each(|value| self.mask(value)),
            Value::Table(entries) => {
                for (key, value) in entries {
                    *key = self.text(key).into_owned();
                    self.mask(value);
                }
            }
        }
    }
}

/// The ways in which texts and messages spell a secret.
fn spellings_of(secret: &str) -> Vec<String> {
    let json = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let debug = |text: &str| text.escape_debug().to_string();
    let each =
        |spell: &dyn Fn(u8) -> String, between: &str| secret.bytes().map(spell).collect::<Vec<_>>().join(between);
    let percent = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let (lower, upper) = (|byte: u8| format!("{byte:02x}"), |byte: u8| format!("{byte:02X}"));
    let mut spellings = vec![
        secret.to_owned(),
        json(secret),
        debug(secret),
        // A text that holds JSON is itself escaped where it is shown on one line, or stands in JSON again.
        debug(&json(secret)),
        json(&json(secret)),
        json(&debug(secret)),
        secret.escape_default().to_string(),
        each(&percent, ""),
        each(&lower, ""),
        each(&lower, " "),
        each(&upper, ""),
        each(&upper, " "),
    ];
    spellings.sort();
    spellings.dedup();
    spellings
}

/// The first place at which a text has the wanted one, with any number of backslashes within.
fn find_escaped(text: &str, wanted: &str) -> Option<(usize, usize)> {
    let first = wanted.chars().find(|char| *char != '\\')?;
    let starts = text.match_indices(first).map(|(start, _)| start);
    starts.filter_map(|start| Some((start, start + escaped_length(&text[start..], wanted)?))).next()
}

/// How many bytes of a text the wanted one takes at its beginning; backslashes do not count.
fn escaped_length(text: &str, wanted: &str) -> Option<usize> {
    let mut wanted = wanted.chars().filter(|char| *char != '\\').peekable();
    for (index, char) in text.char_indices() {
        match wanted.peek() {
            None => return Some(index),
            Some(next) if *next == char => drop(wanted.next()),
            Some(_) if char == '\\' => {}
            Some(_) => return None,
        }
    }
    wanted.peek().is_none().then_some(text.len())
}

/// How many bytes the wanted text takes at the end of another one; backslashes do not count.
fn escaped_end(text: &str, wanted: &str) -> Option<usize> {
    let mut wanted = wanted.chars().rev().filter(|char| *char != '\\').peekable();
    for (index, char) in text.char_indices().rev() {
        match wanted.peek() {
            None => return Some(text.len() - index - char.len_utf8()),
            Some(next) if *next == char => drop(wanted.next()),
            Some(_) if char == '\\' => {}
            Some(_) => return None,
        }
    }
    wanted.peek().is_none().then_some(text.len())
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_in_a_text_is_masked() {
        let secrets = Secrets::new(["pa\"ss word"]);
        for text in [
            "pa\"ss word",
            "pa\\\"ss word",
            r#"pa\\\"ss word"#,
            r#"pa\\"ss word"#,
            r#"pa\\\\\"ss word"#,
            "pa%22ss%20word",
            "7061227373 20776f7264".replace(' ', "").as_str(),
            "70 61 22 73 73 20 77 6F 72 64",
        ] {
            assert_eq!(secrets.text(&format!("<{text}> and <{text}>")), "<***> and <***>", "{text}");
        }
        assert!(matches!(secrets.text("nothing of it"), Cow::Borrowed("nothing of it")));
    }

    #[test]
    fn what_is_told_later_is_hidden_by_all_who_share_it() {
        let secrets = Secrets::new(["swordfish", "abc"]);
        let shared = secrets.clone();
        assert_eq!(shared.text("open sesame"), "open sesame");
        for _ in 0..2 {
            secrets.hide("open sesame");
        }
        assert_eq!(shared.text("swordfish, open sesame"), "***, ***");
        assert_eq!((shared.too_short(), format!("{shared:?}").as_str()), (1, "Secrets(2)"));
    }

    #[test]
    fn a_shortened_text_does_not_keep_half_a_secret() {
        let secrets = Secrets::new(["swordfish", "swordsman"]);
        assert_eq!(secrets.text("login swordf.. failed"), "login ***.. failed");
        assert_eq!(secrets.text("73 77 6f 7.., swords…"), "***.., ***…");
        assert_eq!(secrets.text("a range 1..9, s..w"), "a range 1..9, s..w");
    }

    #[test]
    fn a_secret_within_a_longer_one_leaves_nothing_of_it() {
        let secrets = Secrets::new(["word", "swordfish"]);
        assert_eq!(secrets.text("swordfish word"), "*** ***");
        assert_eq!(secrets.octets(b"swordfish word").as_ref(), b"********* ****");
    }

    #[test]
    fn octets_keep_their_length() {
        let secrets = Secrets::new(["abab", "geheimnis-ä"]);
        assert_eq!(secrets.octets(b"\x00ababab\xff").as_ref(), b"\x00****ab\xff");
        assert_eq!(secrets.octets("geheimnis-ä!".as_bytes()).as_ref(), b"************!");
        assert_eq!(secrets.octets(b"61 62 61 62").as_ref(), b"***********");
    }

    #[test]
    fn each_line_of_a_key_is_masked() {
        let secrets = Secrets::new(["-----BEGIN KEY-----\nMIIEvQIBADAN\nab\n-----END KEY-----\n"]);
        assert_eq!(secrets.text("    MIIEvQIBADAN\n    ab\n"), "    ***\n    ab\n");
        assert_eq!(secrets.octets(b"x MIIEvQIBADAN").as_ref(), b"x ************");
    }

    #[test]
    fn an_end_that_may_go_on_is_seen() {
        let secrets = Secrets::new(["hunter22", "hush money"]);
        let open =
            ["", "x", "h", "say hun", "hush ", "hunter2", "hunter22"].map(|text| secrets.open_end(text.as_bytes()));
        assert_eq!(open, [0, 0, 1, 3, 5, 7, 0]);
    }

    #[test]
    fn a_record_keeps_its_shape() {
        let secrets = Secrets::new(["kind", "swordfish"]);
        let nested =
            Value::Table(vec![("swordfish".to_owned(), Value::List(vec!["is swordfish".into(), Value::Int(7)]))]);
        let mut record = Record::new("kind").with("kind", &b"swordfish"[..]);
        record.fields.push(("nested".into(), nested));
        let masked = secrets.record(&record);
        let shown = Value::Table(vec![("***".to_owned(), Value::List(vec!["is ***".into(), Value::Int(7)]))]);
        assert_eq!((&*masked.kind, masked.field("kind")), ("kind", Some(&Value::Bytes(b"*********".to_vec()))));
        assert_eq!(masked.field("nested"), Some(&shown));
    }

    #[test]
    fn what_is_too_short_is_counted_and_left() {
        let secrets = Secrets::new(["", "abc", "abcd"]);
        assert_eq!((secrets.too_short(), secrets.is_empty()), (1, false));
        assert_eq!(secrets.text("abc abcd"), "abc ***");
        assert_eq!(format!("{secrets:?}"), "Secrets(1)");
    }
}
