//! Searching bytes that are still coming, for several patterns at once, each byte once.
//!
//! Rules of this file:
//! - One automaton of all patterns is led over the bytes and keeps its state from piece to piece. Where it says that a
//!   match ends, the expression of that pattern is asked about the last 64 KiB: so long may a match be.
//! - Of several patterns the first is the one whose match is complete first; if one byte completes several, the one that
//!   stands first in the list.
//! - A match goes on as long as its expression wants within what has come (`\d+` takes all digits that are there). One that
//!   ends where the bytes end may be only half of one, or none (`ok$` before more, `on\b` before a letter): [`Found::open`]
//!   says so, and asking again takes what came since.
//! - Where control functions of terminals are left out, patterns see the text; offsets are those of the bytes.

use super::ansi::Stripper;
use super::pattern::Patterns;
use super::spill::{Buffer, index};
use super::stream::StreamError;
use crate::time::Stamp;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::Cache;
use regex_automata::util::start;
use regex_automata::{Anchored, Input};
use std::collections::VecDeque;
use std::ops::Range;

/// The longest match that is surely found.
const LOOK_BACK: u64 = 64 * 1024;
/// Bytes before the look-back that a boundary may look at.
const CONTEXT: u64 = 4;
/// Bytes taken from the buffer at once.
const PIECE: usize = 16 * 1024;

/// A match.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Which of the patterns it is.
    pub pattern: usize,
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
    /// The names of the groups, of those that took no part, too.
    pub names: Vec<Option<String>>,
    /// What comes next could make it longer, or show that it is none.
    pub open: bool,
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

/// When a search has found what it looks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Goal {
    /// One of the patterns.
    Any,
    /// Each of them.
    All,
}

/// A search that goes on as bytes come.
pub(super) struct Search {
    patterns: Patterns,
    from: u64,
    goal: Goal,
    stripper: Option<Stripper>,
    text: Text,
    /// Offset of the next byte to take from the buffer.
    fed: u64,
    cache: Cache,
    state: LazyStateID,
    /// Place in the text of the next byte for the automaton.
    led: u64,
    hits: Vec<Option<Hit>>,
    /// The states of [`Patterns::preferring`], by pattern.
    preferring: Vec<Option<Cache>>,
    /// Bytes that the automaton or an expression has looked at.
    looked_at: u64,
}

/// A match that was found, and where in the text its expression was asked.
struct Hit {
    window: u64,
    found: Found,
}

/// The text that may still belong to a match.
struct Text {
    bytes: Vec<u8>,
    /// Place of `bytes[0]`, counted from the beginning of the search.
    at: u64,
    /// From this place on, bytes have offsets from this one on.
    offsets: VecDeque<(u64, u64)>,
}

impl Text {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    fn push(&mut self, offset: u64, bytes: &[u8]) {
        let end = self.end();
        if self.offset(end) != offset {
            self.offsets.push_back((end, offset));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The offset of the byte at a place.
    fn offset(&self, place: u64) -> u64 {
        let after = self.offsets.partition_point(|(from, _)| *from <= place);
        let (from, offset) = self.offsets.get(after.saturating_sub(1)).copied().unwrap_or_default();
        offset + place.saturating_sub(from)
    }

    /// Forgets what no match can reach any more.
    fn trim(&mut self, led: u64) {
        let keep = led.saturating_sub(LOOK_BACK + CONTEXT);
        if keep.saturating_sub(self.at) < LOOK_BACK {
            return;
        }
        self.bytes.drain(..index(keep - self.at));
        self.at = keep;
        while self.offsets.get(1).is_some_and(|(from, _)| *from <= keep) {
            self.offsets.pop_front();
        }
    }
}

/// What has become of a search.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It is found.
    Done,
    /// More bytes must come.
    NeedsMore,
    /// There are bytes that were not looked at yet.
    NotYet,
}

impl Search {
    /// A search from an offset on. `stripper`: what is text there, if not everything.
    pub(super) fn new(patterns: &Patterns, from: u64, goal: Goal, stripper: Option<Stripper>) -> Search {
        let mut cache = patterns.automaton().create_cache();
        let state = start_state(patterns, &mut cache, None);
        Search {
            patterns: patterns.clone(),
            from,
            goal,
            stripper,
            text: Text { bytes: Vec::new(), at: 0, offsets: VecDeque::from([(0, from)]) },
            fed: from,
            cache,
            state,
            led: 0,
            hits: patterns.texts().iter().map(|_| None).collect(),
            preferring: patterns.texts().iter().map(|_| None).collect(),
            looked_at: 0,
        }
    }

    /// The same search from elsewhere; what the automaton has learnt is kept.
    pub(super) fn again(self, from: u64, stripper: Option<Stripper>) -> Search {
        let Search { patterns, goal, mut cache, mut hits, preferring, looked_at, mut text, .. } = self;
        let state = start_state(&patterns, &mut cache, None);
        hits.fill_with(|| None);
        text.bytes.clear();
        text = Text { bytes: text.bytes, at: 0, offsets: VecDeque::from([(0, from)]) };
        Search { patterns, from, goal, stripper, text, fed: from, cache, state, led: 0, hits, preferring, looked_at }
    }

    pub(super) fn is_for(&self, patterns: &Patterns, goal: Goal) -> bool {
        self.goal == goal && self.patterns == *patterns
    }

    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// The offset from which bytes are still needed.
    pub(super) fn needs_from(&self) -> u64 {
        self.fed
    }

    /// Bytes of memory in use, without the patterns.
    pub(super) fn memory(&self) -> usize {
        let offsets = self.text.offsets.capacity() * size_of::<(u64, u64)>();
        let preferring: usize = self.preferring.iter().flatten().map(Cache::memory_usage).sum();
        self.text.bytes.capacity() + offsets + self.cache.memory_usage() + preferring
    }

    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// The matches so far, by pattern.
    pub(super) fn found(&self) -> impl Iterator<Item = Option<&Found>> {
        self.hits.iter().map(|hit| hit.as_ref().map(|hit| &hit.found))
    }

    fn is_done(&self) -> bool {
        match self.goal {
            Goal::Any => self.hits.iter().any(Option::is_some),
            Goal::All => self.hits.iter().all(Option::is_some),
        }
    }

    /// Looks at what is new, at most about `budget` bytes of it.
    pub(super) fn go_on(&mut self, buffer: &Buffer, budget: usize) -> Result<Progress, StreamError> {
        let until = self.fed.saturating_add(budget as u64);
        self.take_rest_of_open(buffer)?;
        loop {
            if !self.is_done() {
                self.lead(buffer)?;
            }
            if self.is_done() {
                return Ok(Progress::Done);
            }
            if self.fed >= buffer.end() {
                break;
            }
            if self.fed >= until {
                return Ok(Progress::NotYet);
            }
            self.feed(buffer)?;
        }
        self.at_the_end(buffer)?;
        Ok(if self.is_done() { Progress::Done } else { Progress::NeedsMore })
    }

    /// Takes a piece from the buffer.
    fn feed(&mut self, buffer: &Buffer) -> Result<(), StreamError> {
        let piece = buffer.read(self.fed, PIECE)?;
        let (fed, text) = (self.fed, &mut self.text);
        match &mut self.stripper {
            None => text.push(fed, &piece),
            Some(stripper) => stripper.text(&piece, |part| text.push(fed + part.start as u64, &piece[part])),
        }
        self.fed += piece.len() as u64;
        Ok(())
    }

    /// Leads the automaton over the text, to the first match or to its end.
    fn lead(&mut self, buffer: &Buffer) -> Result<(), StreamError> {
        let patterns = self.patterns.clone();
        let automaton = patterns.automaton();
        while self.led < self.text.end() {
            let mut ended = false;
            let begun = self.led;
            for byte in &self.text.bytes[index(self.led - self.text.at)..] {
                // It fails only where it was told to give up, which it was not.
                let Ok(state) = automaton.next_state(&mut self.cache, self.state, *byte) else { break };
                self.state = state;
                self.led += 1;
                if state.is_tagged() && state.is_match() {
                    ended = true;
                    break;
                }
            }
            self.looked_at += self.led - begun;
            if ended {
                // The automaton tells of a match one byte late.
                self.matched(buffer, self.state, self.led - 1)?;
                if self.is_done() {
                    return Ok(());
                }
            }
            if self.led == begun {
                self.led = self.text.end();
            }
        }
        self.text.trim(self.led);
        Ok(())
    }

    /// Whether matches end where the bytes end.
    fn at_the_end(&mut self, buffer: &Buffer) -> Result<(), StreamError> {
        let end = self.patterns.automaton().next_eoi_state(&mut self.cache, self.state);
        match end {
            Ok(state) if state.is_match() => self.matched(buffer, state, self.led),
            _ => Ok(()),
        }
    }

    /// Matches of some patterns end at a place in the text: asks their expressions.
    fn matched(&mut self, buffer: &Buffer, state: LazyStateID, end: u64) -> Result<(), StreamError> {
        let automaton = self.patterns.automaton();
        let matched = (0..automaton.match_len(&self.cache, state))
            .map(|number| automaton.match_pattern(&self.cache, state, number).as_usize());
        let mut fresh: Vec<usize> = matched.filter(|pattern| self.hits[*pattern].is_none()).collect();
        fresh.sort_unstable();
        let window = end.saturating_sub(LOOK_BACK);
        let mut too_long = false;
        for pattern in fresh {
            match self.ask(buffer, pattern, window)? {
                Some(found) => {
                    self.hits[pattern] = Some(Hit { window, found });
                    if self.goal == Goal::Any {
                        return Ok(());
                    }
                }
                None => too_long = true,
            }
        }
        if too_long {
            self.forget_before(window);
        }
        Ok(())
    }

    /// A match that began before the window is none for us: leads the automaton again from the window on.
    fn forget_before(&mut self, window: u64) {
        let before = window.checked_sub(self.text.at + 1).and_then(|before| self.text.bytes.get(index(before)));
        self.state = start_state(&self.patterns, &mut self.cache, before.copied());
        let end = self.led;
        self.led = window;
        let patterns = self.patterns.clone();
        let from = index(window.max(self.text.at) - self.text.at);
        for byte in &self.text.bytes[from..index(end - self.text.at)] {
            let Ok(state) = patterns.automaton().next_state(&mut self.cache, self.state, *byte) else { break };
            self.state = state;
        }
        self.looked_at += end - self.led;
        self.led = end;
    }

    /// Asks the expression of a pattern about the text from a place on.
    fn ask(&mut self, buffer: &Buffer, pattern: usize, window: u64) -> Result<Option<Found>, StreamError> {
        let patterns = self.patterns.clone();
        let expression = &patterns.expressions()[pattern];
        let mut captures = expression.create_captures();
        let from = index(window.max(self.text.at) - self.text.at);
        let longest = window + 2 * LOOK_BACK;
        loop {
            expression.search_captures(&Input::new(&self.text.bytes).range(from..), &mut captures);
            let Some(whole) = captures.get_match() else {
                self.looked_at += (self.text.bytes.len() - from) as u64;
                return Ok(None);
            };
            self.looked_at += (whole.end() - from) as u64;
            let open = self.text.end() < longest && self.may_change(pattern, whole.range());
            if open && self.fed < buffer.end() {
                self.feed(buffer)?;
                continue;
            }
            return Ok(Some(self.text.found(pattern, patterns.names(pattern), &captures, open)));
        }
    }

    /// Whether a match in a range of the text could still become another one (`\d+` at the end of what has come could,
    /// `\d+\s` could not), or none (`ok$` there could). The automaton of the pattern, led over the match and what stands
    /// behind it, says whether anything is left that the expression prefers to what was found, and what bytes end it.
    fn may_change(&mut self, pattern: usize, found: Range<usize>) -> bool {
        let Some(automaton) = self.patterns.preferring(pattern) else { return true };
        let cache = self.preferring[pattern].get_or_insert_with(|| automaton.create_cache());
        let before = found.start.checked_sub(1).and_then(|before| self.text.bytes.get(before)).copied();
        let config = start::Config::new().look_behind(before).anchored(Anchored::Yes);
        let Ok(mut state) = automaton.start_state(cache, &config) else { return true };
        for byte in &self.text.bytes[found.start..] {
            let Ok(next) = automaton.next_state(cache, state, *byte) else { return true };
            if next.is_dead() {
                return false;
            }
            state = next;
        }
        // It tells of a match one byte late: what is left behind any next byte is what was preferred.
        let ends_the_text = found.end == self.text.bytes.len();
        let any: Vec<u8> = automaton.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8()).collect();
        let mut seen = Vec::new();
        any.iter().any(|byte| {
            let Ok(behind) = automaton.next_state(cache, state, *byte) else { return true };
            if seen.contains(&behind) {
                return false;
            }
            seen.push(behind);
            if ends_the_text && !behind.is_match() {
                return true;
            }
            let is_left = |next: Result<LazyStateID, _>| next.map_or(true, |state| !state.is_dead());
            let at_the_end = is_left(automaton.next_eoi_state(cache, behind));
            at_the_end || any.iter().any(|byte| is_left(automaton.next_state(cache, behind, *byte)))
        })
    }

    /// Matches that ended where the bytes ended take what belongs to them of what came since.
    fn take_rest_of_open(&mut self, buffer: &Buffer) -> Result<(), StreamError> {
        if self.fed >= buffer.end() {
            return Ok(());
        }
        for pattern in 0..self.hits.len() {
            let Some(Hit { window, found }) = &self.hits[pattern] else { continue };
            if !found.open || *window < self.text.at {
                continue;
            }
            let (window, start) = (*window, found.start);
            // What came behind it may also show that it was none: `ok$` in front of more. One that begins elsewhere is
            // found where it ends: a match of another pattern may be complete before.
            let again = self.ask(buffer, pattern, window)?.filter(|found| found.start == start);
            self.hits[pattern] = again.map(|found| Hit { window, found });
        }
        Ok(())
    }
}

impl Text {
    fn found(
        &self,
        pattern: usize,
        names: Vec<Option<String>>,
        captures: &regex_automata::util::captures::Captures,
        open: bool,
    ) -> Found {
        let mut groups = Vec::with_capacity(names.len());
        for (span, name) in captures.iter().zip(&names) {
            groups.push(span.map(|span| Group {
                name: name.clone(),
                start: self.offset(self.at + span.start as u64),
                bytes: self.bytes[span.range()].to_vec(),
            }));
        }
        let whole = captures.get_match().map(|whole| (self.at + whole.start() as u64, self.at + whole.end() as u64));
        let (start, end) = whole.unwrap_or_default();
        // Behind the last byte, which is not where the next one of the text stands.
        let last = if end > start { self.offset(end - 1) + 1 } else { self.offset(start) };
        Found { pattern, start: self.offset(start), end: last, groups, names, open, ..Found::default() }
    }
}

fn start_state(patterns: &Patterns, cache: &mut Cache, before: Option<u8>) -> LazyStateID {
    let config = start::Config::new().look_behind(before).anchored(Anchored::No);
    let automaton = patterns.automaton();
    automaton.start_state(cache, &config).unwrap_or_else(|_| {
        // It fails only behind a byte at which it was told to give up; there is none.
        cache.reset(automaton);
        automaton.start_state(cache, &start::Config::new()).unwrap_or_default()
    })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
