//! What the looks of the sentinel mean: how late each was, and why.
//!
//! The kernel tells how long the sentinel was in the run queue. Lateness that this does not explain means that the
//! process was stopped, or its whole machine was: everything stood still, and nothing of ours was late alone. Lateness in
//! the run queue means that this host is busy. Threads with real-time scheduling may have run all the time.

use fieldrig_proto::time::{Duration, Time, human};

/// How often it looks.
pub(super) const PERIOD: Duration = Duration::from_millis(5);
/// Lateness beyond this that the run queue does not explain is a stall: half of the shortest stall that is always caught.
/// A hypervisor that shares CPUs takes up to 7 ms in the ordinary course of things.
pub(crate) const STOPPED: Duration = Duration::from_millis(10);
/// Lateness beyond this is a stall whatever explains it.
pub(crate) const STARVED: Duration = Duration::from_millis(50);

/// Why it was late.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StallKind {
    /// Nothing of this process ran: it was stopped, or its machine was.
    Stopped,
    /// It waited for a CPU.
    Starved,
    /// Another process that is a device of the run waited for a CPU.
    Program,
    /// A line thread did not run while others did: somebody held it, or the host gave it no CPU.
    Line,
}

impl StallKind {
    /// What it is to be late by so much, `waited` of it in the run queue (`None`: nobody tells); `None` if nothing.
    pub(crate) fn of(late: Duration, waited: Option<Duration>) -> Option<StallKind> {
        match waited {
            _ if late <= STOPPED => None,
            // Nobody tells why: only what no busy host does is a stop.
            None if late <= STARVED => None,
            Some(waited) if late.saturating_sub(waited) <= STOPPED => Some(StallKind::Starved),
            _ => Some(StallKind::Stopped),
        }
    }
}

/// An interval in which the host did not let us run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Stall {
    /// The last instant at which everything was in order.
    pub from: Time,
    /// The first instant at which we ran again.
    pub until: Time,
    /// Why.
    pub kind: StallKind,
    /// How long the sentinel was in the run queue meanwhile.
    pub run_delay: Duration,
}

impl Stall {
    /// How long it lasted, at most.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.until.since(self.from)
    }

    /// How long it lasted, at least.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        match self.kind {
            StallKind::Stopped => self.length().saturating_sub(PERIOD).saturating_sub(self.run_delay),
            StallKind::Starved | StallKind::Program => self.run_delay.min(self.length()),
            StallKind::Line => self.length().saturating_sub(self.run_delay),
        }
    }

    /// Whether it stands against every verdict on time: a stop always, a busy host from 50 ms on, and what held up a
    /// device.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        self.kind != StallKind::Starved || self.length() > PERIOD + STARVED
    }

    /// What happened, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = |length: Duration| human(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX));
        let (least, most) = (text(self.shortest()), text(self.length()));
        match self.kind {
            StallKind::Stopped => {
                format!("this process stood still for {least} to {most}: it was stopped, or its machine was")
            }
            StallKind::Starved => format!("the host was busy: run queue {least} of {most}"),
            StallKind::Program => {
                format!("the program that is the device had to wait for a CPU: {least} in {most}")
            }
            StallKind::Line => {
                format!("a line thread stood still for {least} to {most}: it was held, or got no CPU")
            }
        }
    }
}

/// The looks so far.
pub(super) struct Pulse {
    last: Time,
    /// Time in the run queue until then; `None` before the first look and where nobody counts it.
    waited: Option<Duration>,
}

impl Pulse {
    pub(super) fn new(begun: Time) -> Pulse {
        Pulse { last: begun, waited: None }
    }

    /// A look at `now`, after `waited` in the run queue altogether.
    pub(super) fn look(&mut self, now: Time, waited: Option<Duration>) -> Option<Stall> {
        let from = std::mem::replace(&mut self.last, now);
        let before = std::mem::replace(&mut self.waited, waited);
        let late = now.since(from).saturating_sub(PERIOD);
        let explained = waited.zip(before).map(|(waited, before)| waited.saturating_sub(before));
        let kind = StallKind::of(late, explained)?;
        Some(Stall { from, until: now, kind, run_delay: explained.unwrap_or_default() })
    }
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

    /// The stalls that looks (instant, time in the run queue so far; milliseconds) come to.
    fn stalls(looks: &[(u64, Option<u64>)]) -> Vec<Stall> {
        let mut pulse = Pulse::new(at(0));
        looks.iter().filter_map(|(now, waited)| pulse.look(at(*now), waited.map(ms))).collect()
    }

    #[test]
    fn a_stop_of_20_ms_is_caught_whenever_it_begins() {
        // It lasts from `begun` to `begun + 20`; the sentinel would have looked at 10.
        for begun in 5..=10 {
            let found = stalls(&[(5, Some(0)), (begun + 20, Some(0)), (begun + 25, Some(0))]);
            assert_eq!(found.len(), 1, "begun at {begun}");
            assert_eq!(found[0].kind, StallKind::Stopped);
            assert!(found[0].is_grave());
            assert!(found[0].shortest() <= ms(20) && ms(20) <= found[0].length());
        }
    }

    #[test]
    fn a_busy_host_is_no_stop_however_long_it_lasts() {
        let found = stalls(&[(5, Some(0)), (40, Some(30)), (140, Some(124))]);
        assert_eq!(found.iter().map(|stall| stall.kind).collect::<Vec<_>>(), [StallKind::Starved; 2]);
        assert_eq!(found.iter().map(Stall::is_grave).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found[0].reason(), "the host was busy: run queue 30 ms of 35 ms");
    }

    #[test]
    fn a_stop_on_a_busy_host_is_a_stop() {
        let found = stalls(&[(5, Some(0)), (45, Some(15))]);
        assert_eq!((found[0].kind, found[0].shortest(), found[0].length()), (StallKind::Stopped, ms(20), ms(40)));
        assert_eq!(
            found[0].reason(),
            "this process stood still for 20 ms to 40 ms: it was stopped, or its machine was"
        );
    }

    #[test]
    fn ordinary_lateness_and_early_looks_are_nothing() {
        assert_eq!(stalls(&[(5, Some(0)), (6, Some(0)), (20, Some(0)), (35, Some(9))]), []);
    }

    #[test]
    fn where_nobody_counts_the_run_queue_only_a_long_one_is_a_stop() {
        let found = stalls(&[(5, None), (50, None), (350, None)]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].length()), (StallKind::Stopped, ms(300)));
    }
}
