//! The searches that go on in a stream, and what of its bytes is text for them.
//!
//! The state of the last few searches is kept, so that expectations that take turns cost each byte once, too. Where control
//! functions of terminals are left out, the state of the stripper is known at the end of what has come and at places before
//! it, so that a search can begin anywhere, in the middle of a sequence as well.

use super::ansi::Stripper;
use super::pattern::Patterns;
use super::search::{Found, Goal, Progress, Search};
use super::spill::{Buffer, index};
use super::stream::StreamError;

/// Searches whose state is kept: that of an expectation, and some beside it.
const SEARCHES: usize = 4;
/// So far apart are the places at which the state of the stripper is known.
const MARKS: u64 = 64 * 1024;

/// What a search has come to.
#[derive(Clone, PartialEq, Debug)]
pub enum Searched {
    /// What was looked for. Of all patterns: a match of each, in their order.
    Found(Vec<Found>),
    /// It has not come; so far these have.
    Pending(Vec<Found>),
    /// Much has come and not all of it was looked at yet: ask again.
    NotYet,
}

/// The searches of a stream.
pub(super) struct Searches {
    /// The last one is the one used last.
    searches: Vec<Search>,
    strip: bool,
    stripped: Stripped,
}

/// The stripper at the end of what has come, and its states at places before.
#[derive(Default)]
struct Stripped {
    now: Stripper,
    marks: Vec<(u64, Stripper)>,
}

impl Searches {
    /// `strip`: control functions of terminals are no text.
    pub(super) fn new(strip: bool) -> Searches {
        Searches { searches: Vec::new(), strip, stripped: Stripped::default() }
    }

    /// Control functions of terminals are text from now on, or not: also those that came before.
    pub(super) fn strip(&mut self, strip: bool) {
        if self.strip != strip {
            self.strip = strip;
            self.searches.clear();
        }
    }

    /// Bytes come, from this offset on.
    pub(super) fn received(&mut self, from: u64, bytes: &[u8]) {
        let stripped = &mut self.stripped;
        if stripped.marks.last().is_none_or(|(last, _)| from >= last + MARKS) {
            stripped.marks.push((from, stripped.now));
        }
        stripped.now.text(bytes, |_| {});
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.stripped.marks.capacity() * size_of::<(u64, Stripper)>()
            + self.searches.iter().map(Search::memory).sum::<usize>()
    }

    /// Bytes that the searches have looked at.
    pub(super) fn looked_at(&self) -> u64 {
        self.searches.iter().map(Search::looked_at).sum()
    }

    /// Goes on with the search for these patterns from this offset on, or begins it.
    pub(super) fn go_on(
        &mut self,
        buffer: &Buffer,
        patterns: &Patterns,
        goal: Goal,
        from: u64,
        budget: usize,
    ) -> Result<Searched, StreamError> {
        let known = self.searches.iter().rposition(|search| search.is_for(patterns, goal));
        let mut search = match known.map(|known| self.searches.remove(known)) {
            Some(search) if search.from() == from => search,
            Some(search) => search.again(from, self.stripper_at(buffer, from)?),
            None => Search::new(patterns, from, goal, self.stripper_at(buffer, from)?),
        };
        if search.needs_from().min(buffer.end()) < buffer.floor() {
            return Err(buffer.lost(search.needs_from()));
        }
        let progress = search.go_on(buffer, budget)?;
        let found: Vec<Found> = search.found().flatten().cloned().collect();
        if self.searches.len() == SEARCHES {
            self.searches.remove(0);
        }
        self.searches.push(search);
        Ok(match progress {
            Progress::Done => Searched::Found(found),
            Progress::NeedsMore => Searched::Pending(found),
            Progress::NotYet => Searched::NotYet,
        })
    }

    /// What the stripper knows at an offset, if there is one.
    pub(super) fn stripper_at(&self, buffer: &Buffer, from: u64) -> Result<Option<Stripper>, StreamError> {
        if !self.strip {
            return Ok(None);
        }
        let stripped = &self.stripped;
        if from >= buffer.end() {
            return Ok(Some(stripped.now));
        }
        let marks = stripped.marks.partition_point(|(at, _)| *at <= from);
        let known = marks.checked_sub(1).and_then(|last| stripped.marks.get(last)).copied();
        let (mut at, mut stripper) = known.unwrap_or_default();
        if at < buffer.floor() {
            (at, stripper) = (buffer.floor(), Stripper::default());
        }
        if at < from {
            stripper.text(&buffer.read(at, index(from - at))?, |_| {});
        }
        Ok(Some(stripper))
    }
}
