//! A program that runs: one step after the other, each at its instant.
//!
//! Rules of this file:
//! - One thing at a time: what was handed out is answered before the next is, so that what is late, or too late, is known.
//! - An action is handed out `lead` before it is due: enough for the thread that does it to be ready, little enough that
//!   what others send meanwhile is not held up for long.
//! - [`Running::go`] goes on until it has to wait; [`Running::deadline`] is then later than `now`.

use super::event::{Kind, Outcome, ProgramEvent};
use super::repeat::Loop;
use super::waiting::Waiting;
use super::{Program, Step, Steps, Then, What, When};
use crate::endpoint::{Action, Conn, Departure, Fate, Timed};
use crate::line::LineCommand;
use crate::line::pattern::Patterns;
use crate::line::search::{Goal, Search};
use crate::line::searches::Searches;
use crate::line::spill::{Buffer, index};
use crate::time::{Duration, Stamp, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What has come in on the stream.
pub(super) struct View<'a> {
    pub(super) buffer: &'a Buffer,
    /// What knows which of it is text.
    pub(super) searches: &'a Searches,
}

impl View<'_> {
    pub(super) fn end(&self) -> u64 {
        self.buffer.end()
    }

    /// When the byte at an offset came.
    pub(super) fn stamp(&self, offset: u64) -> Stamp {
        self.buffer.stamp(offset).unwrap_or_default()
    }

    pub(super) fn bytes(&self, start: u64, end: u64) -> Arc<[u8]> {
        // What has just come is kept.
        self.buffer
            .read(start, index(end.saturating_sub(start)))
            .map_or_else(|_| Arc::default(), |bytes| (*bytes).into())
    }

    /// A search for a pattern from an offset on, in what is text to all searches of the stream.
    pub(super) fn search(&self, pattern: &Patterns, from: u64) -> Box<Search> {
        // What has just come is kept, so that this does not fail.
        let stripper = self.searches.stripper_at(self.buffer, from).ok().flatten();
        Box::new(Search::new(pattern, from, Goal::Any, stripper))
    }

    /// Looks at what is new; where a match begins and ends.
    pub(super) fn find(&self, search: &mut Search) -> Option<(u64, u64)> {
        // What has just come is kept, so that the search does not fail.
        search.go_on(self.buffer, usize::MAX).ok()?;
        search.found().flatten().next().map(|found| (found.start, found.end))
    }
}

/// Steps that are being done.
pub(super) struct Frame {
    pub(super) steps: Steps,
    pub(super) next: usize,
    /// What `at` counts from.
    pub(super) base: Time,
    pub(super) round: Option<Loop>,
}

/// What the program is at.
pub(super) enum Doing {
    /// The next step.
    Next,
    /// The current step is due then.
    Until(Due),
    /// It was handed out, and will be answered.
    Asked(Due),
    Waiting(Waiting),
    Over,
}

/// When the current step, or a piece of it, is due.
#[derive(Copy, Clone)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) gap: Option<Duration>,
    /// The arrival that it counts from.
    pub(super) from: Option<Stamp>,
    pub(super) piece: usize,
}

/// A program that runs.
pub(super) struct Running {
    pub(super) lead: Duration,
    pub(super) frames: Vec<Frame>,
    /// The steps that the current one belongs to, and which of them it is.
    current: (Steps, usize),
    pub(super) doing: Doing,
    /// What `after` counts from, and the arrival that it is, if it is one.
    pub(super) reference: (Time, Option<Stamp>),
    /// When the last thing was really done.
    pub(super) acted: Time,
    names: BTreeMap<Arc<str>, (Time, Option<Stamp>)>,
    /// Waits look from here on.
    pub(super) cursor: u64,
    /// When the last byte came.
    pub(super) heard: Option<Stamp>,
    /// When our last bit left.
    left: Time,
    /// What is to be handed out: bytes and the action.
    actions: VecDeque<Out>,
    pub(super) events: VecDeque<ProgramEvent>,
    pub(super) outcome: Option<Outcome>,
    owed: bool,
}

enum Out {
    Timed { bytes: Option<Arc<[u8]>>, command: Option<LineCommand>, due: Due, not_after: Option<Time> },
    Recall,
}

impl Running {
    /// A program that begins at `start`; waits look from offset `end` on.
    pub(super) fn new(program: &Program, start: Time, lead: Duration, end: u64) -> Running {
        let frame = Frame { steps: Arc::clone(&program.steps), next: 0, base: start, round: None };
        Running {
            lead,
            current: (Arc::clone(&program.steps), 0),
            frames: vec![frame],
            doing: Doing::Next,
            reference: (start, None),
            acted: Time::ZERO,
            names: BTreeMap::new(),
            cursor: end,
            heard: None,
            left: start,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            outcome: None,
            owed: false,
        }
    }

    /// The current step.
    pub(super) fn step(&self) -> &Step {
        &self.current.0[self.current.1]
    }

    /// Goes on until it has to wait.
    pub(super) fn go(&mut self, now: Time, view: &View<'_>) {
        loop {
            let on = match &self.doing {
                Doing::Next => self.begin_next(now, view),
                Doing::Until(due) => {
                    let due = *due;
                    self.arrive(now, due, view)
                }
                Doing::Waiting(_) => self.look(now, view),
                Doing::Asked(_) | Doing::Over => false,
            };
            if !on {
                return;
            }
        }
    }

    /// When it wants to go on by itself.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.doing {
            Doing::Until(due) if self.is_action() => Some(due.at - self.lead),
            Doing::Until(due) => Some(due.at),
            Doing::Waiting(waiting) => waiting.due(self.heard),
            Doing::Next | Doing::Asked(_) | Doing::Over => None,
        }
    }

    /// Bytes came, the last of them at `last`.
    pub(super) fn received(&mut self, now: Time, last: Stamp, view: &View<'_>) {
        self.heard = Some(last);
        self.look_for_ends(view);
        self.go(now, view);
    }

    /// What was handed out was answered.
    pub(super) fn answered(&mut self, now: Time, fate: Fate, view: &View<'_>) {
        let Doing::Asked(due) = self.doing else { return };
        match fate {
            Fate::Done(departure) => self.done(due, departure, view),
            Fate::TooLate { .. } => self.too_late(now),
            Fate::Recalled => self.end_round(),
            Fate::Refused(reason) => {
                let step = self.step().number;
                // It is answered: nothing is on its way that could be taken back.
                self.doing = Doing::Next;
                self.finish(Outcome::Refused { step, reason });
            }
        }
        self.go(now, view);
    }

    /// It ends here.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if self.outcome.is_none() {
            // What nobody took, since nobody is connected, is not on its way.
            let taken = !self.actions.iter().any(|out| matches!(out, Out::Timed { .. }));
            self.actions.clear();
            self.owed = taken && matches!(self.doing, Doing::Asked(_));
            if self.owed {
                self.actions.push_back(Out::Recall);
            }
            self.frames.clear();
            self.doing = Doing::Over;
            self.outcome = Some(outcome);
        }
    }

    /// It ended while an answer was to come.
    pub(super) fn owed(&self) -> bool {
        self.owed
    }

    /// A repeat is over: others count from its last step.
    pub(super) fn name(&mut self, name: Arc<str>) {
        self.names.insert(name, self.reference);
    }

    /// What was handed out is to be taken back.
    pub(super) fn recall(&mut self) {
        self.actions.push_back(Out::Recall);
    }

    pub(super) fn poll_action(&mut self, conn: Conn, out: &mut Vec<u8>) -> Option<Action> {
        Some(match self.actions.pop_front()? {
            Out::Recall => Action::Recall(conn),
            Out::Timed { bytes, command, due, not_after } => {
                let from = out.len();
                out.extend_from_slice(bytes.as_deref().unwrap_or_default());
                let what = command.map_or(Timed::Send(from..out.len()), Timed::Line);
                Action::Timed { conn, what, not_before: due.at, gap_before: due.gap, not_after }
            }
        })
    }

    /// The bare event of the current step.
    pub(super) fn event(&self, kind: Kind, at: Stamp) -> ProgramEvent {
        let step = self.step();
        let slot = self.frames.iter().rev().find_map(|frame| frame.round.as_ref()).map(|round| round.slot);
        ProgramEvent {
            kind,
            step: step.number,
            name: step.name.clone(),
            piece: 0,
            slot,
            data: Arc::default(),
            scheduled: None,
            issued: None,
            returned: None,
            left: None,
            run_delay: None,
            at,
            first: None,
            from: None,
        }
    }

    /// The current step is behind us: others count from here.
    pub(super) fn pass(&mut self, reference: Time, arrival: Option<Stamp>) {
        self.reference = (reference, arrival);
        if let Some(name) = self.step().name.clone() {
            self.names.insert(name, self.reference);
        }
        self.doing = Doing::Next;
    }

    /// Does what follows a condition.
    pub(super) fn follow(&mut self, then: &Then, ended: Outcome) {
        match then {
            Then::Abort => self.finish(ended),
            Then::GoOn(steps) if steps.is_empty() => {}
            Then::GoOn(steps) => {
                let base = self.frames.last().map_or(self.reference.0, |frame| frame.base);
                self.frames.push(Frame { steps: Arc::clone(steps), next: 0, base, round: None });
            }
        }
    }

    fn is_action(&self) -> bool {
        matches!(self.step().what, What::Send { .. } | What::Line { .. })
    }

    fn begin_next(&mut self, now: Time, view: &View<'_>) -> bool {
        let Some(frame) = self.frames.last_mut() else {
            self.finish(Outcome::Completed);
            return false;
        };
        if frame.next < frame.steps.len() {
            self.current = (Arc::clone(&frame.steps), frame.next);
            frame.next += 1;
            self.begin(now, view);
        } else if frame.round.is_some() {
            self.next_slot(now);
        } else {
            self.frames.pop();
        }
        !matches!(self.doing, Doing::Over)
    }

    fn begin(&mut self, now: Time, view: &View<'_>) {
        let steps = Arc::clone(&self.current.0);
        let due = match &steps[self.current.1].what {
            What::Send { when, .. } | What::Line { when, .. } | What::Pause(when) => self.due(when),
            What::Wait(_) => self.due(&When::After(Duration::ZERO)),
            What::Repeat(repeat) => return self.begin_rounds(now, repeat, view),
        };
        match due {
            Ok(due) => self.doing = Doing::Until(due),
            Err(reason) => {
                let step = self.step().number;
                self.finish(Outcome::Refused { step, reason });
            }
        }
    }

    fn due(&self, when: &When) -> Result<Due, String> {
        let (reference, arrival) = self.reference;
        let plain = |at, from| Due { at, gap: None, from, piece: 0 };
        Ok(match when {
            When::After(delay) => plain(reference + *delay, arrival),
            When::At(delay) => plain(self.frames.last().map_or(reference, |frame| frame.base) + *delay, None),
            When::Of(name, delay) => {
                let (at, from) = self.names.get(name).copied().ok_or_else(|| format!("`{name}` has not happened"))?;
                plain(at + *delay, from)
            }
            When::Quiet(gap) => Due { gap: Some(*gap), ..plain(reference, None) },
            When::Received(delay) => plain(self.heard.map_or(reference, Stamp::latest) + *delay, self.heard),
            When::Left(delay) => plain(self.left + *delay, None),
        })
    }

    /// The instant of the current step is near, or has come.
    fn arrive(&mut self, now: Time, due: Due, view: &View<'_>) -> bool {
        let early = if self.is_action() { self.lead } else { Duration::ZERO };
        if due.at > now + early {
            return false;
        }
        let not_after = self.latest_begin();
        let steps = Arc::clone(&self.current.0);
        let (bytes, command) = match &steps[self.current.1].what {
            What::Send { pieces, .. } => (pieces.get(due.piece).map(|(_, bytes)| Arc::clone(bytes)), None),
            What::Line { command, .. } => (None, Some(command.clone())),
            What::Wait(wait) => {
                self.touch();
                self.begin_wait(wait, view);
                return true;
            }
            What::Pause(_) | What::Repeat(_) => {
                let event = ProgramEvent { scheduled: Some(due.at), ..self.event(Kind::Pause, Stamp::exact(now)) };
                self.events.push_back(event);
                self.touch();
                self.pass(due.at, due.from);
                return true;
            }
        };
        self.actions.push_back(Out::Timed { bytes, command, due, not_after });
        self.doing = Doing::Asked(due);
        false
    }

    /// What was handed out was done.
    fn done(&mut self, due: Due, departure: Departure, view: &View<'_>) {
        self.touch();
        let steps = Arc::clone(&self.current.0);
        let step = &steps[self.current.1];
        // Of a gap, the driver alone knows when it was over.
        let scheduled = if due.gap.is_some() { departure.scheduled } else { due.at };
        let Departure { issued, returned, left, run_delay, .. } = departure;
        (self.acted, self.left) = (returned, self.left.max(left));
        self.cursor = self.cursor.max(view.end());
        let (kind, data, pieces) = match &step.what {
            What::Send { pieces, .. } => {
                (Kind::Sent, pieces.get(due.piece).map(|(_, data)| Arc::clone(data)), &pieces[..])
            }
            What::Line { command, .. } => (Kind::Line(command.clone()), None, &[][..]),
            What::Pause(_) | What::Wait(_) | What::Repeat(_) => return,
        };
        self.events.push_back(ProgramEvent {
            piece: due.piece,
            data: data.unwrap_or_default(),
            scheduled: Some(scheduled),
            issued: Some(issued),
            returned: Some(returned),
            left: Some(left),
            run_delay,
            from: due.from,
            ..self.event(kind, Stamp::between(issued, returned))
        });
        if let Some((gap, _)) = pieces.get(due.piece + 1) {
            let next = Due { at: left + *gap, gap: None, from: None, piece: due.piece + 1 };
            self.doing = Doing::Until(next);
            return;
        }
        let held = match &step.what {
            What::Line { command: LineCommand::Break(length), .. } => *length,
            _ => Duration::ZERO,
        };
        self.pass(scheduled + held, None);
    }
}
