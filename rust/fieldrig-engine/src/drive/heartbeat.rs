//! The heartbeat of a line thread: how late it was, alone.
//!
//! The sentinel measures its own lateness. A line thread can be late while the sentinel is not: held by a debugger, alone
//! on a CPU that somebody else takes. What a device of ours did not do meanwhile is held against nobody.
//!
//! Rules of this file:
//! - A line thread plans when it wakes, at most a tick ahead. Later than that is late; so is a pass that lasts longer than
//!   it ran on a CPU.
//! - What counts as a stall is what counts for the sentinel ([`StallKind::of`]).
//! - The thread says what it found before it says that it goes on, and waits for nobody.
//! - Who asks while it is overdue waits until it goes on, or until it is a stall whatever the reason.
//! - A thread that runs Python takes its time in a pass: only its waits are measured, and a busy host is a stall of it no
//!   earlier than against every verdict.

use super::watchdog::Watched;
use crate::clock::Clock;
use crate::run_delay::{Counted, RunDelay};
use crate::sentinel::{STARVED, STOPPED, Stall, StallKind};
use fieldrig_proto::time::{Duration, Time};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many stalls are remembered of all line threads together.
const KEPT: usize = 4096;
/// What the kernel counts is read this often, so that it is known what was before a stall.
const REFRESH: Duration = Duration::from_millis(5);

/// The stalls of all line threads of a rig; those of threads that have ended, too.
pub(crate) type Found = Arc<Mutex<VecDeque<Stall>>>;

/// What a line thread is at.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// It has not begun, or has ended.
    Off,
    /// It waits, until this at the latest.
    Waits(Time),
    /// It works, since then.
    Works(Time),
}

impl Phase {
    fn word(self) -> u64 {
        match self {
            Phase::Off => u64::MAX,
            Phase::Waits(until) => until.as_nanos() << 1,
            Phase::Works(since) => since.as_nanos() << 1 | 1,
        }
    }

    fn of(word: u64) -> Phase {
        match (word, word & 1) {
            (u64::MAX, _) => Phase::Off,
            (_, 0) => Phase::Waits(Time::from_nanos(word >> 1)),
            _ => Phase::Works(Time::from_nanos(word >> 1)),
        }
    }
}

/// What others know of a line thread while it runs.
#[derive(Debug)]
pub(super) struct Pulse {
    phase: AtomicU64,
    /// How long it had run on a CPU when that was read last.
    ran: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { phase: AtomicU64::new(Phase::Off.word()), ran: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// Since when the thread is overdue at `now`, and for how long it is at least; `ran` is its time on a CPU so far.
    pub(super) fn overdue(&self, now: Time, ran: impl FnOnce() -> Option<Duration>) -> Option<(Time, Duration)> {
        let (since, late) = match Phase::of(self.phase.load(Ordering::SeqCst)) {
            Phase::Off => return None,
            Phase::Waits(until) => (until, now.since(until)),
            Phase::Works(since) if now.since(since) <= STOPPED => return None,
            Phase::Works(since) => {
                let before = Duration::from_nanos(self.ran.load(Ordering::SeqCst));
                (since, now.since(since).saturating_sub(ran()?.saturating_sub(before)))
            }
        };
        (late > STOPPED).then_some((since, late))
    }
}

/// The thread's own side.
pub(crate) struct Heartbeat {
    watched: Arc<Watched>,
    found: Found,
    delay: Option<RunDelay>,
    counted: Option<Counted>,
    read: Time,
    runs_python: bool,
    phase: Phase,
}

impl Heartbeat {
    /// Of the calling thread, which works now.
    pub(super) fn begin(watched: Arc<Watched>, found: Found, runs_python: bool) -> Heartbeat {
        let delay = RunDelay::of_this_thread();
        watched.count_this_thread();
        let mut beat =
            Heartbeat { watched, found, delay, counted: None, read: Time::ZERO, runs_python, phase: Phase::Off };
        let now = Clock::Real.now();
        beat.refresh(now);
        beat.enter(Phase::Works(now));
        beat
    }

    /// It is about to wait until `until` at the latest.
    pub(super) fn waits(&mut self, now: Time, until: Time) {
        if let Phase::Works(since) = self.phase
            && now.since(since) > STOPPED
            && !self.runs_python
        {
            let counted = self.count();
            let ran = counted.zip(self.counted).map(|(after, before)| after.ran.saturating_sub(before.ran));
            // Nobody counts: nobody knows whether it worked all the time.
            if let Some(ran) = ran {
                self.judge(since, now, now.since(since).saturating_sub(ran), counted);
            }
            self.keep(now, counted);
        } else if now.since(self.read) >= REFRESH {
            self.refresh(now);
        }
        self.enter(Phase::Waits(until));
    }

    /// It waits no longer.
    pub(super) fn works(&mut self, now: Time) {
        if let Phase::Waits(until) = self.phase
            && now.since(until) > STOPPED
        {
            let counted = self.count();
            self.judge(until, now, now.since(until), counted);
            self.keep(now, counted);
        }
        self.enter(if self.runs_python { Phase::Off } else { Phase::Works(now) });
    }

    fn judge(&self, from: Time, until: Time, late: Duration, counted: Option<Counted>) {
        let waited = counted.zip(self.counted).map(|(after, before)| after.waited.saturating_sub(before.waited));
        let kind = match StallKind::of(late, waited) {
            Some(StallKind::Stopped) => StallKind::Line,
            Some(StallKind::Starved) if self.runs_python && late <= STARVED => return,
            Some(kind) => kind,
            None => return,
        };
        let run_delay = waited.unwrap_or_default().min(until.since(from));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push_back(Stall { from, until, kind, run_delay });
        let surplus = found.len().saturating_sub(KEPT);
        found.drain(..surplus);
    }

    fn count(&self) -> Option<Counted> {
        self.delay.as_ref().and_then(RunDelay::read)
    }

    fn refresh(&mut self, now: Time) {
        let counted = self.count();
        self.keep(now, counted);
    }

    fn keep(&mut self, now: Time, counted: Option<Counted>) {
        (self.read, self.counted) = (now, counted);
        let ran = counted.map_or(0, |counted| u64::try_from(counted.ran.as_nanos()).unwrap_or(u64::MAX));
        self.watched.pulse.ran.store(ran, Ordering::SeqCst);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.watched.pulse.phase.store(phase.word(), Ordering::SeqCst);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.enter(Phase::Off);
    }
}

/// The stalls in `more` as far as none of `known` covers them: several who watched saw the same one.
pub(crate) fn beyond(known: &mut Vec<Stall>, more: impl IntoIterator<Item = Stall>) {
    for mut stall in more {
        for other in known.iter().filter(|other| other.kind != StallKind::Program) {
            let (before, after) = (other.from.since(stall.from), stall.until.since(other.until));
            if other.until <= stall.from || stall.until <= other.from {
                continue;
            }
            match before > after {
                true => stall.until = other.from,
                false => stall.from = stall.until.min(other.until.max(stall.from)),
            }
        }
        if stall.length() > STOPPED {
            stall.run_delay = stall.run_delay.min(stall.length());
            known.push(stall);
        }
    }
}

/// What was found so far, behind `since`.
pub(super) fn since(found: &Found, since: Time) -> Vec<Stall> {
    let found: MutexGuard<'_, VecDeque<Stall>> = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.iter().filter(|stall| stall.until > since).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn stall(from: u64, until: u64, kind: StallKind) -> Stall {
        Stall { from: at(from), until: at(until), kind, run_delay: Duration::ZERO }
    }

    #[test]
    fn a_thread_is_overdue_by_what_it_neither_planned_nor_ran() {
        let pulse = Pulse::default();
        assert_eq!(pulse.overdue(at(900), || None), None, "it has not begun");
        pulse.phase.store(Phase::Waits(at(100)).word(), Ordering::SeqCst);
        assert_eq!(pulse.overdue(at(110), || None), None);
        assert_eq!(pulse.overdue(at(111), || None), Some((at(100), ms(11))));
        pulse.phase.store(Phase::Works(at(100)).word(), Ordering::SeqCst);
        pulse.ran.store(5_000_000, Ordering::SeqCst);
        assert_eq!(pulse.overdue(at(200), || Some(ms(95))), None, "it ran all but 10 ms");
        assert_eq!(pulse.overdue(at(200), || Some(ms(25))), Some((at(100), ms(80))));
        assert_eq!(pulse.overdue(at(200), || None), None, "nobody counts what it ran");
    }

    #[test]
    fn a_wait_that_ends_late_is_a_stall_of_the_line_and_one_in_time_is_none() {
        let (watched, found) = (Arc::<Watched>::default(), Found::default());
        let mut beat = Heartbeat::begin(Arc::clone(&watched), Arc::clone(&found), false);
        let now = Clock::Real.now();
        beat.waits(now, now + ms(1));
        beat.works(now + ms(11));
        assert_eq!(since(&found, Time::ZERO), []);
        beat.waits(now + ms(11), now + ms(12));
        beat.works(now + ms(400));
        let stalls = since(&found, Time::ZERO);
        assert_eq!(stalls.iter().map(|stall| stall.until).collect::<Vec<_>>(), [now + ms(400)]);
        assert!(stalls[0].is_grave());
        assert_eq!(since(&found, now + ms(400)), []);
        drop(beat);
        assert_eq!(watched.pulse.overdue(Time::FAR, || None), None, "who has ended is never overdue");
    }

    #[test]
    fn a_stall_that_several_saw_counts_once() {
        use StallKind::{Line, Program, Stopped};
        let mut known = vec![stall(100, 200, Stopped), stall(500, 600, Program)];
        beyond(&mut known, [stall(101, 201, Line), stall(150, 260, Line), stall(510, 590, Line), stall(60, 150, Line)]);
        let lines: Vec<Stall> = known.into_iter().filter(|stall| stall.kind == Line).collect();
        assert_eq!(lines, [stall(200, 260, Line), stall(510, 590, Line), stall(60, 100, Line)]);
    }
}
