//! Searching bytes that are still coming, each of them once.
//!
//! A regular expression is asked about all that has come. While little has, that is cheap. Where bytes come in many
//! small pieces, looking back 64 KiB for each piece would dominate: then an automaton of the same pattern is led over the
//! new bytes alone and keeps its state from piece to piece; only where it says that a match has ended is the expression
//! asked, about the last 64 KiB. Patterns the automaton cannot follow (Unicode word boundaries in text that is not ASCII,
//! or too many states) go on with the expression alone.

use crate::time::Stamp;
use regex::bytes::Regex;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};
use std::ops::ControlFlow;

/// The longest match that is surely found.
const LOOK_BACK: u64 = 64 * 1024;
/// Bytes looked at again before the automaton is made.
const PATIENCE: u64 = 256 * 1024;

/// A match.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// When its first byte arrived.
    pub first: Stamp,
    /// When its last byte arrived; of an empty match, the byte before it.
    pub at: Stamp,
    /// The groups, in order; group 0 is the whole match. `None`: the group took no part.
    pub groups: Vec<Option<Group>>,
}

/// A group of a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Offset of its first byte.
    pub start: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A search that goes on as bytes come.
pub(super) struct Search {
    pattern: String,
    from: u64,
    /// No match ends before here.
    looked: u64,
    looked_again: u64,
    way: Way,
}

enum Way {
    /// The expression alone, for now.
    Expression,
    Automaton(Box<Automaton>),
    /// The expression alone: the automaton cannot follow.
    ExpressionOnly,
}

impl Search {
    pub(super) fn new(pattern: &Regex, from: u64) -> Search {
        Search { pattern: pattern.as_str().to_owned(), from, looked: from, looked_again: 0, way: Way::Expression }
    }

    pub(super) fn is_for(&self, pattern: &Regex, from: u64) -> bool {
        self.from == from && self.pattern == pattern.as_str()
    }

    /// The offset from which bytes are still needed.
    pub(super) fn needs_from(&self) -> u64 {
        self.looked.saturating_sub(LOOK_BACK).max(self.from)
    }

    /// Looks at what is new; `kept` are the bytes from offset `start` on.
    pub(super) fn go_on(&mut self, pattern: &Regex, start: u64, kept: &[u8]) -> Option<Found> {
        let base = start.max(self.from);
        let bytes = kept.get(index(base - start)..)?;
        let end = base + bytes.len() as u64;
        let again = self.looked - self.needs_from();
        if self.looked_again > PATIENCE && matches!(self.way, Way::Expression) {
            self.begin_automaton(bytes, base);
        }
        let ask = match &mut self.way {
            Way::Automaton(automaton) => match automaton.go_on(bytes, base) {
                Ok(ended) => ended,
                Err(GaveUp) => {
                    self.way = Way::ExpressionOnly;
                    true
                }
            },
            _ => {
                self.looked_again += again;
                true
            }
        };
        let from = self.needs_from().max(base);
        self.looked = end;
        if !ask {
            return None;
        }
        let groups = pattern.captures_at(bytes, index(from - base));
        if groups.is_none()
            && let Way::Automaton(_) = self.way
        {
            // A match longer than the look-back: not one for us, and not one for the automaton any more.
            self.begin_automaton(bytes, base);
        }
        groups.map(|groups| found(pattern, &groups, base))
    }

    /// Makes the automaton and leads it over what lies before `looked` and may belong to a match.
    fn begin_automaton(&mut self, bytes: &[u8], base: u64) {
        let from = index(self.needs_from().max(base) - base);
        let upto = index(self.looked.max(base) - base).min(bytes.len());
        self.way = match Automaton::new(&self.pattern, bytes, from, base, upto) {
            Some(automaton) => Way::Automaton(Box::new(automaton)),
            None => Way::ExpressionOnly,
        };
    }
}

/// What may follow a match: if one of these makes it longer, its end is open.
const FOLLOWERS: &[u8] = b"09afzAFZ .,:;/_-+%#=)\t";
/// Bytes before a match that a boundary may look at: one character of UTF-8.
const CONTEXT: usize = 4;

/// Whether a match at the end of what has come could still grow: `\d+` could, `\d+\s` could not.
pub(super) fn may_grow(pattern: &Regex, bytes: &[u8], match_start: usize) -> bool {
    let from = match_start.saturating_sub(CONTEXT);
    let mut longer = bytes.get(from..).unwrap_or_default().to_vec();
    let end = longer.len();
    longer.push(0);
    FOLLOWERS.iter().any(|follower| {
        longer[end] = *follower;
        pattern.find_at(&longer, match_start - from).is_some_and(|found| found.end() > end)
    })
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn found(pattern: &Regex, captures: &regex::bytes::Captures<'_>, base: u64) -> Found {
    let group = |(name, group): (Option<&str>, Option<regex::bytes::Match<'_>>)| {
        let group = group?;
        let start = base + group.start() as u64;
        Some(Group { name: name.map(str::to_owned), start, bytes: group.as_bytes().to_vec() })
    };
    let groups: Vec<Option<Group>> = pattern.capture_names().zip(captures.iter()).map(group).collect();
    let (start, length) = match groups.first() {
        Some(Some(whole)) => (whole.start, whole.bytes.len() as u64),
        _ => (base, 0),
    };
    Found { start, end: start + length, groups, ..Found::default() }
}

/// The automaton cannot go on.
struct GaveUp;

struct Automaton {
    dfa: DFA,
    cache: Cache,
    state: LazyStateID,
    /// Offset of the next byte.
    next: u64,
}

impl Automaton {
    /// An automaton that has seen `bytes[from..upto]`, in which no match ends.
    fn new(pattern: &str, bytes: &[u8], from: usize, base: u64, upto: usize) -> Option<Automaton> {
        let dfa = DFA::builder()
            .configure(DFA::config().unicode_word_boundary(true))
            .syntax(syntax::Config::new().utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build(pattern)
            .ok()?;
        let mut cache = dfa.create_cache();
        let look_behind = from.checked_sub(1).and_then(|before| bytes.get(before)).copied();
        let state = dfa.start_state(&mut cache, &start::Config::new().look_behind(look_behind)).ok()?;
        let mut automaton = Automaton { dfa, cache, state, next: base + from as u64 };
        // Were there a match after all, the expression would have to say so: stay with it.
        let seen = automaton.lead(bytes.get(from..upto)?).ok()?;
        seen.is_continue().then_some(automaton)
    }

    /// Goes over what is new; says whether a match may have ended in it.
    fn go_on(&mut self, bytes: &[u8], base: u64) -> Result<bool, GaveUp> {
        let fresh = bytes.get(index(self.next.saturating_sub(base))..).unwrap_or_default();
        if self.lead(fresh)?.is_break() {
            return Ok(true);
        }
        // A match is only reported one byte late: ask whether one would end here.
        let end = self.dfa.next_eoi_state(&mut self.cache, self.state).map_err(|_| GaveUp)?;
        Ok(end.is_match())
    }

    fn lead(&mut self, fresh: &[u8]) -> Result<ControlFlow<()>, GaveUp> {
        for byte in fresh {
            self.state = self.dfa.next_state(&mut self.cache, self.state, *byte).map_err(|_| GaveUp)?;
            self.next += 1;
            if self.state.is_tagged() {
                if self.state.is_match() {
                    return Ok(ControlFlow::Break(()));
                }
                if self.state.is_quit() {
                    return Err(GaveUp);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces and gives the first match, and how many bytes were there then.
    fn search(pattern: &str, bytes: &[u8], pieces: &[usize], impatient: bool) -> Option<(u64, u64, usize)> {
        let regex = Regex::new(pattern).expect("a pattern");
        let mut search = Search::new(&regex, 0);
        if impatient {
            search.looked_again = PATIENCE + 1;
        }
        let mut there = 0;
        for piece in pieces.iter().cycle() {
            there = (there + piece).min(bytes.len());
            if let Some(found) = search.go_on(&regex, 0, &bytes[..there]) {
                return Some((found.start, found.end, there));
            }
            if there == bytes.len() {
                break;
            }
        }
        None
    }

    const PATTERNS: [&str; 10] =
        ["ab+c", "^b", "(?m)^b.$", r"a\b", r"a\B", "a|bc|abcd", "(?s)a.*c", "[^a]c?$", r"(?-u)\xff+a", "ä.?b"];

    proptest! {
        #[test]
        fn the_automaton_finds_what_the_expression_finds(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'a'), Just(b'b'), Just(b'c'), Just(b'\n'), Just(0xff), Just(0xc3), Just(0xa4)], 0..60),
            pieces in proptest::collection::vec(1usize..7, 1..8),
            pattern in proptest::sample::select(PATTERNS.to_vec()),
        ) {
            prop_assert_eq!(search(pattern, &bytes, &pieces, true), search(pattern, &bytes, &pieces, false));
        }
    }

    #[test]
    fn only_an_open_end_may_grow() {
        let grows = |pattern: &str, bytes: &str| {
            let regex = Regex::new(pattern).expect("a pattern");
            let found = regex.find(bytes.as_bytes()).expect("a match");
            assert_eq!(found.end(), bytes.len(), "it ends with the bytes");
            may_grow(&regex, bytes.as_bytes(), found.start())
        };
        for (pattern, bytes) in [(r"v\d+\.\d+", "fw v1.4"), (r"\S+", "abc"), ("ok.*", "boot ok"), ("a+", "aa")] {
            assert!(grows(pattern, bytes), "{pattern}");
        }
        for (pattern, bytes) in [("ok", "boot ok"), (r"\d+\s", "12 "), ("login: $", "login: "), (r"\d{2}", "12")] {
            assert!(!grows(pattern, bytes), "{pattern}");
        }
    }

    #[test]
    fn many_small_pieces_lead_to_the_automaton() {
        let regex = Regex::new(r"login: $").expect("a pattern");
        let mut search = Search::new(&regex, 0);
        let bytes = vec![b'.'; 100_000];
        for there in (0..bytes.len()).step_by(10) {
            assert_eq!(search.go_on(&regex, 0, &bytes[..there]), None);
        }
        assert!(matches!(search.way, Way::Automaton(_)));
        assert!(search.looked_again < 2 * PATIENCE);
    }

    #[test]
    fn a_match_longer_than_the_look_back_does_not_hide_a_short_one() {
        let mut bytes = b"<".to_vec();
        bytes.extend(vec![b'.'; 70_000]);
        bytes.extend(b">..<>.");
        let found = search("<[^>]*>", &bytes, &[1000], true).expect("the short one");
        assert_eq!(found.1 - found.0, 2);
    }
}
