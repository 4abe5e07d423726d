//! Slots of a fixed period. The n-th is due n periods after the first, whatever became of those before it.

use super::event::{Kind, Outcome, ProgramEvent};
use super::running::{Doing, Frame, Running, View};
use super::{Late, Repeat};
use crate::line::search::Search;
use crate::time::{Duration, Stamp, Time};
use std::sync::Arc;

/// A repeat that is at one of its slots.
pub(super) struct Loop {
    repeat: Arc<Repeat>,
    /// The number of the step, and its name.
    step: (u32, Option<Arc<str>>),
    begun: Time,
    pub(super) slot: u64,
    /// Something of this slot was done: it is not left out any more.
    touched: bool,
    search: Option<Box<Search>>,
    /// What ends it has come.
    seen: bool,
}

impl Loop {
    /// When a slot is due.
    fn instant(&self, slot: u64) -> Time {
        let nanos = self.repeat.every.as_nanos() * u128::from(slot);
        self.begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Until when the current slot may begin.
    fn latest(&self) -> Option<Time> {
        (self.repeat.late != Late::CatchUp).then(|| self.instant(self.slot) + self.repeat.tolerance)
    }
}

impl Running {
    pub(super) fn begin_rounds(&mut self, now: Time, repeat: &Repeat, view: &View<'_>) {
        let begun = self.reference.0;
        let search = repeat.until.as_ref().map(|pattern| view.search(pattern, self.cursor));
        let step = (self.step().number, self.step().name.clone());
        let repeat = Arc::new(repeat.clone());
        let steps = Arc::clone(&repeat.steps);
        let round = Loop { repeat, step, begun, slot: 0, touched: false, search, seen: false };
        self.frames.push(Frame { steps, next: 0, base: begun, round: Some(round) });
        self.look_for_ends(view);
        self.begin_slot(now, 0);
    }

    /// The slot is done: on to the next.
    pub(super) fn next_slot(&mut self, now: Time) {
        if let Some(slot) = self.round().map(|round| round.slot + 1) {
            self.begin_slot(now, slot);
        }
    }

    /// Begins a slot, or the first behind it that is not too late.
    fn begin_slot(&mut self, now: Time, mut slot: u64) {
        loop {
            let Some(round) = self.round() else { return };
            let (repeat, instant) = (Arc::clone(&round.repeat), round.instant(slot));
            if round.seen || repeat.count.is_some_and(|count| slot >= count) {
                return self.end_round();
            }
            if repeat.within.is_some_and(|within| instant > round.begun + within) {
                return self.miss_end(now, &repeat);
            }
            (round.slot, round.touched) = (slot, false);
            if round.latest().is_some_and(|latest| now > latest) {
                self.leave_out(now);
                if matches!(self.doing, Doing::Over) {
                    return;
                }
                slot += 1;
                continue;
            }
            if let Some(frame) = self.frames.last_mut() {
                (frame.next, frame.base) = (0, instant);
            }
            self.reference = (instant, None);
            self.doing = Doing::Next;
            return;
        }
    }

    /// The driver found the current slot too late.
    pub(super) fn too_late(&mut self, now: Time) {
        while self.frames.last().is_some_and(|frame| frame.round.is_none()) {
            self.frames.pop();
        }
        self.leave_out(now);
        if !matches!(self.doing, Doing::Over) {
            self.next_slot(now);
        }
    }

    /// Reports the current slot as left out, or ends the program for it.
    fn leave_out(&mut self, now: Time) {
        let Some(round) = self.round() else { return };
        let (late, slot, scheduled) = (round.repeat.late, round.slot, round.instant(round.slot));
        let (step, name) = round.step.clone();
        let event =
            ProgramEvent { step, name, scheduled: Some(scheduled), ..self.event(Kind::Skipped, Stamp::exact(now)) };
        self.events.push_back(event);
        if late == Late::Abort {
            // Nothing is on its way: it was refused, or not asked for.
            self.doing = Doing::Next;
            self.finish(Outcome::TooLate { step, slot });
        }
    }

    /// The current repeat is over.
    pub(super) fn end_round(&mut self) {
        while let Some(frame) = self.frames.pop() {
            if let Some(round) = frame.round {
                if let Some(name) = round.step.1 {
                    self.name(name);
                }
                break;
            }
        }
        self.doing = Doing::Next;
    }

    /// What should have ended it did not come.
    fn miss_end(&mut self, now: Time, repeat: &Repeat) {
        let Some(round) = self.round() else { return };
        let (step, name) = round.step.clone();
        let scheduled = repeat.within.map(|within| round.begun + within);
        let event = ProgramEvent { step, name, scheduled, ..self.event(Kind::TimedOut, Stamp::exact(now)) };
        self.events.push_back(event);
        self.end_round();
        self.follow(&repeat.missed, Outcome::TimedOut { step });
    }

    /// Looks whether what ends a repeat has come.
    pub(super) fn look_for_ends(&mut self, view: &View<'_>) {
        let mut seen = Vec::new();
        for frame in &mut self.frames {
            let Some(round) = frame.round.as_mut().filter(|round| !round.seen) else { continue };
            let Some(search) = round.search.as_mut() else { continue };
            if let Some((start, end)) = view.find(search) {
                round.seen = true;
                seen.push((round.step.clone(), round.slot, start, end));
            }
        }
        for ((step, name), slot, start, end) in seen {
            let data = view.bytes(start, end);
            let (first, at) = (view.stamp(start), view.stamp(end.saturating_sub(1).max(start)));
            let event = self.event(Kind::Seen, at);
            self.events.push_back(ProgramEvent { step, name, slot: Some(slot), data, first: Some(first), ..event });
        }
        self.begin_no_more();
    }

    /// A slot that has not begun does not begin once what ends the repeat has come.
    fn begin_no_more(&mut self) {
        if !self
            .frames
            .iter()
            .rev()
            .find_map(|frame| frame.round.as_ref())
            .is_some_and(|round| round.seen && !round.touched)
        {
            return;
        }
        match self.doing {
            Doing::Asked(_) => self.recall(),
            Doing::Until(_) => self.end_round(),
            Doing::Next | Doing::Waiting(_) | Doing::Over => {}
        }
    }

    /// Something of the current slots was done.
    pub(super) fn touch(&mut self) {
        self.frames.iter_mut().filter_map(|frame| frame.round.as_mut()).for_each(|round| round.touched = true);
    }

    /// The latest instant for what is handed out now, if it begins a slot.
    pub(super) fn latest_begin(&self) -> Option<Time> {
        let round = self.frames.iter().rev().find_map(|frame| frame.round.as_ref())?;
        round.latest().filter(|_| !round.touched)
    }

    /// The innermost repeat, if it is what is being done.
    fn round(&mut self) -> Option<&mut Loop> {
        self.frames.last_mut()?.round.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Then;
    use super::*;

    #[test]
    fn slots_are_multiples_of_the_period_without_rounding() {
        let every = Duration::from_nanos(333_333);
        let repeat = Repeat {
            steps: Arc::default(),
            every,
            count: None,
            until: None,
            within: None,
            missed: Then::Abort,
            late: Late::Skip,
            tolerance: every,
        };
        let begun = Time::from_nanos(5);
        let round = Loop {
            repeat: Arc::new(repeat),
            step: (1, None),
            begun,
            slot: 3,
            touched: false,
            search: None,
            seen: false,
        };
        assert_eq!(round.instant(3_000_000), Time::from_nanos(5 + 333_333 * 3_000_000));
        assert_eq!(round.latest(), Some(Time::from_nanos(5 + 4 * 333_333)));
    }
}
