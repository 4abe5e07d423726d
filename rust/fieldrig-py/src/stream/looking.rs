//! How a stream is searched from Python: in parts, so that nobody waits long for a big backlog, and to the end of a match.

use super::values::Match;
use super::{Stream, Swept, stream};
use crate::error::{Kind, error, hinted};
use crate::time::Stamp;
use crate::value::Whole;
use fieldrig_proto::line::stream::{Found, Group, Patterns, Searched, StreamError};
use fieldrig_proto::time::{Duration, Time};
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Bytes looked at before others get a turn.
const BUDGET: usize = 1024 * 1024;
/// Sets of patterns that stay prepared.
const KNOWN: usize = 32;
/// So long the rest of a match is waited for; longer than adapters and gateways hold bytes back.
const HALF_A_MATCH: Duration = Duration::from_millis(50);

pub(super) use fieldrig_proto::line::stream::Goal;

/// One pattern or several.
#[derive(FromPyObject)]
pub(super) enum Wanted {
    One(String),
    Several(Vec<String>),
}

impl Wanted {
    pub(super) fn texts(self) -> Vec<String> {
        match self {
            Wanted::One(text) => vec![text],
            Wanted::Several(texts) => texts,
        }
    }
}

/// Patterns that were prepared, the last used ones last.
#[derive(Default)]
pub(super) struct Known(Mutex<Vec<Patterns>>);

impl Known {
    /// The patterns, prepared.
    ///
    /// # Errors
    /// `UsageError` if there is none, or one is malformed.
    pub(super) fn patterns(&self, py: Python<'_>, texts: &[String]) -> PyResult<Patterns> {
        if texts.is_empty() {
            return Err(error(py, Kind::Usage, "there is no pattern to look for"));
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().rposition(|patterns| patterns.texts() == texts) {
            let patterns = known.remove(found);
            known.push(patterns.clone());
            return Ok(patterns);
        }
        let patterns = prepared(py, texts)?;
        if known.len() == KNOWN {
            known.remove(0);
        }
        known.push(patterns.clone());
        Ok(patterns)
    }
}

fn prepared(py: Python<'_>, texts: &[String]) -> PyResult<Patterns> {
    Patterns::new(texts).map_err(|problem| {
        let hint = "patterns are those of Rust's regex crate: no look-around, no back-references";
        hinted(py, Kind::Usage, problem.to_string(), Some(hint))
    })
}

/// Refuses a pattern for which there is something to be found where nothing is.
fn not_nothing(py: Python<'_>, patterns: &Patterns) -> PyResult<()> {
    let Some(empty) = patterns.matches_nothing() else { return Ok(()) };
    let message = format!("the pattern /{empty}/ matches nothing at all, so it is there at once");
    let hint = "write + for one or more, where it says * for any number";
    Err(hinted(py, Kind::Usage, message, Some(hint)))
}

/// Refuses what no search could look for.
#[pyfunction]
#[pyo3(signature = (pattern, /))]
pub(crate) fn check_pattern(py: Python<'_>, pattern: String) -> PyResult<()> {
    not_nothing(py, &prepared(py, &[pattern])?)
}

/// Where something is looked for, and until when.
#[derive(Copy, Clone)]
pub(super) struct Look {
    /// At this offset or behind it.
    pub(super) start: u64,
    /// At a byte that surely came after this.
    pub(super) after: Option<Stamp>,
    /// 0: only in what is there.
    pub(super) deadline: Time,
}

impl Look {
    /// From what Python says.
    ///
    /// # Errors
    /// `UsageError`.
    pub(super) fn parse(py: Python<'_>, start: Whole, after: Option<Stamp>, deadline_ns: Whole) -> PyResult<Look> {
        let deadline = Time::from_nanos(deadline_ns.named(py, "deadline_ns")?);
        Ok(Look { start: start.named(py, "start")?, after, deadline })
    }

    /// The offset from which on it is looked for now; `None`: nothing has come that is surely after the instant.
    fn from(&self, stream: &stream::Stream) -> Option<u64> {
        let surely = self.after.map_or(0, |after| stream.after(after.0).1);
        (self.after.is_none() || surely < stream.end()).then_some(surely.max(self.start))
    }
}

/// How a part of a search ended.
enum Part {
    /// From where on it was looked for, what was found, and how far.
    Found(u64, Vec<Found>, u64),
    NotYet,
    Over,
    Failed(StreamError),
}

impl Stream {
    /// Looks for patterns until they have come or the deadline is over; a match or nothing for each, or for any of them.
    pub(super) fn look_for(
        &self,
        py: Python<'_>,
        patterns: &Patterns,
        goal: Goal,
        look: Look,
    ) -> PyResult<Vec<Option<Match>>> {
        not_nothing(py, patterns)?;
        let mut so_far = Vec::new();
        loop {
            let mut swept = Swept::default();
            let part = self.handle.wait(py, look.deadline, |stream, events, _| {
                swept.sweep(events);
                let from = look.from(stream).unwrap_or_else(|| stream.end().max(look.start));
                match stream.look_for(patterns, goal, from, BUDGET) {
                    Ok(Searched::Found(found)) => return Some(Part::Found(from, found, stream.end())),
                    Ok(Searched::NotYet) => return Some(Part::NotYet),
                    Ok(Searched::Pending(found)) => so_far = found,
                    Err(problem) => return Some(Part::Failed(problem)),
                }
                (stream.end_of_data() && look.deadline > Time::ZERO).then_some(Part::Over)
            })?;
            match part {
                Some(Part::NotYet) => {}
                Some(Part::Found(from, found, seen)) => {
                    if let Some(found) = self.whole(py, patterns, goal, from, (found, seen), look.deadline)? {
                        return Ok(matches(patterns, goal, &found));
                    }
                }
                Some(Part::Failed(problem)) => return Err(self.failed(py, &problem)),
                Some(Part::Over) => return Err(self.is_over(py)?),
                None => return Ok(matches(patterns, goal, &so_far)),
            }
        }
    }

    /// The first so many bytes, once they have come.
    pub(super) fn take_count(&self, py: Python<'_>, count: u64, look: Look) -> PyResult<Option<Match>> {
        let mut swept = Swept::default();
        let found = self.handle.wait(py, look.deadline, |stream, events, _| {
            swept.sweep(events);
            let from = look.from(stream).filter(|from| stream.end() >= from + count);
            match from {
                Some(from) => Some(Ok(from)),
                None => (stream.end_of_data() && look.deadline > Time::ZERO).then_some(Err(())),
            }
        })?;
        let from = match found {
            None => return Ok(None),
            Some(Err(())) => return Err(self.is_over(py)?),
            Some(Ok(from)) => from,
        };
        let received = self.received(py, from, from + count)?;
        let group = Group { name: None, start: from, bytes: received.data };
        let found =
            Found { start: from, end: from + count, at: received.at, groups: vec![Some(group)], ..Found::default() };
        Ok(Some(Match::new_from(&found, "")))
    }

    /// What stands in the way of anything more, as an exception.
    fn is_over(&self, py: Python<'_>) -> PyResult<PyErr> {
        let (state, _) = self.handle.with(py, |stream, _| stream.state().clone())?;
        Ok(self.over(py, &state))
    }

    /// A match that may be half of one is waited for until the rest has come, nothing comes for a while, or the deadline;
    /// `None`: the rest shows that it is none.
    fn whole(
        &self,
        py: Python<'_>,
        patterns: &Patterns,
        goal: Goal,
        from: u64,
        (found, seen): (Vec<Found>, u64),
        deadline: Time,
    ) -> PyResult<Option<Vec<Found>>> {
        let (mut found, mut seen) = (found, seen);
        while found.iter().any(|found| found.open) {
            let until = deadline.min(self.handle.now(py)? + HALF_A_MATCH);
            let more = self.wait_for_more(py, seen, until)?;
            let look = |stream: &mut stream::Stream, _: Time| {
                (stream.look_for(patterns, goal, from, usize::MAX), stream.end())
            };
            let (again, end) = self.handle.with(py, look)?.0;
            match again {
                Ok(Searched::Found(again)) => found = again,
                Ok(Searched::Pending(_) | Searched::NotYet) => return Ok(None),
                Err(_) => {}
            }
            // The end of the conversation wakes the wait, too.
            if more.is_none() || end == seen {
                break;
            }
            seen = end;
        }
        Ok(Some(found))
    }
}

/// What was found, as Python has it: one match of any, or a place for each pattern.
fn matches(patterns: &Patterns, goal: Goal, found: &[Found]) -> Vec<Option<Match>> {
    let converted = |found: &Found| Match::new_from(found, &patterns.texts()[found.pattern]);
    match goal {
        Goal::Any => vec![found.first().map(converted)],
        Goal::All => {
            let of = |pattern: usize| found.iter().find(|found| found.pattern == pattern).map(converted);
            (0..patterns.texts().len()).map(of).collect()
        }
    }
}
