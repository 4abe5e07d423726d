//! The clock of a run.
//!
//! Rules of this file:
//! - Real time is `CLOCK_MONOTONIC`, counted from one origin for the whole process, so that stamps of all rigs of a
//!   process can be compared.
//! - Virtual time is a number that only the simulation moves. Each virtual clock has a number of its own, and real time is
//!   number 0: instants of two clocks have nothing to do with each other ([`Clock::source`]).
//! - Kernel receive stamps are wall-clock time (`SO_TIMESTAMPNS`). They become run time through their age: both clocks
//!   are read together after the read. A wall clock that was set meanwhile is noticed, and the stamp is not used.

use crate::drive::sys;
use fieldrig_proto::time::{Duration, Source, Stamp, Time};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

static ORIGIN: OnceLock<u64> = OnceLock::new();
/// So many virtual clocks a process makes before a number comes twice.
const MOST_CLOCKS: u32 = (1 << 31) - 2;
static VIRTUAL_CLOCKS: AtomicU32 = AtomicU32::new(0);

/// Which clock a rig has.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ClockKind {
    /// Real time.
    #[default]
    Real,
    /// Virtual time: it moves only inside blocking calls, to the next thing that is due.
    Virtual,
}

/// A clock; clones show the same time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`.
    Real,
    /// Nanoseconds, moved by the simulation.
    Virtual(Arc<VirtualTime>),
}

/// A virtual clock.
#[derive(Debug)]
pub struct VirtualTime {
    nanos: AtomicU64,
    number: u32,
}

impl Clock {
    /// A clock of this kind; a virtual one starts at zero.
    #[must_use]
    pub fn new(kind: ClockKind) -> Clock {
        match kind {
            ClockKind::Real => {
                origin();
                Clock::Real
            }
            ClockKind::Virtual => {
                let number = VIRTUAL_CLOCKS.fetch_add(1, Ordering::Relaxed) % MOST_CLOCKS + 1;
                Clock::Virtual(Arc::new(VirtualTime { nanos: AtomicU64::new(0), number }))
            }
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        match self {
            Clock::Real => Time::from_nanos(sys::monotonic_nanos().saturating_sub(origin())),
            Clock::Virtual(virtual_time) => Time::from_nanos(virtual_time.nanos.load(Ordering::SeqCst)),
        }
    }

    /// Whether this is virtual time.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// What stamps by this clock carry.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Clock::Real => Source::of_clock(0),
            Clock::Virtual(virtual_time) => Source::of_clock(virtual_time.number),
        }
    }

    /// Moves virtual time forward to `time`; real time moves by itself.
    pub(crate) fn advance(&self, time: Time) {
        if let Clock::Virtual(virtual_time) = self {
            virtual_time.nanos.fetch_max(time.as_nanos(), Ordering::SeqCst);
        }
    }
}

/// `CLOCK_MONOTONIC` at the origin of run time.
pub(crate) fn origin() -> u64 {
    *ORIGIN.get_or_init(sys::monotonic_nanos)
}

/// Turns kernel receive stamps (wall clock) into run time.
#[derive(Debug, Default)]
pub(crate) struct KernelStamps {
    /// Wall clock minus run time at the last mapping, to notice that the wall clock was set.
    offset: Option<(i128, Time)>,
}

/// A wall clock under NTP is slewed by at most 500 ppm; more than that plus the reading error is a step.
const SLEW_PPM: i128 = 500;
const READING_ERROR: i128 = 2_000;

impl KernelStamps {
    /// When a kernel stamp was taken, as an interval within [`since`, now]; `None` if the stamp cannot be trusted.
    pub(crate) fn map(&mut self, kernel: u64, since: Time) -> Option<Stamp> {
        let before = Clock::Real.now();
        let wall = sys::realtime_nanos();
        let after = Clock::Real.now();
        self.map_with(kernel, since, before, wall, after)
    }

    fn map_with(&mut self, kernel: u64, since: Time, before: Time, wall: u64, after: Time) -> Option<Stamp> {
        let offset = i128::from(wall) - i128::from(before.as_nanos());
        let stepped = self.offset.replace((offset, before)).is_some_and(|(last, at)| {
            let elapsed = i128::from(before.since(at).as_nanos() as u64);
            let reading = READING_ERROR + i128::from(after.since(before).as_nanos() as u64);
            (offset - last).abs() > elapsed * SLEW_PPM / 1_000_000 + reading
        });
        let age = wall.checked_sub(kernel)?;
        let slew = Duration::from_nanos(age / 2_000 + 1);
        let earliest = (before - Duration::from_nanos(age)) - slew;
        let latest = (after - Duration::from_nanos(age)) + slew;
        if stepped || latest < since || earliest > after {
            return None;
        }
        Some(Stamp::between(earliest.max(since), latest.min(after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1_000)
    }

    #[test]
    fn a_kernel_stamp_becomes_run_time_through_its_age() {
        let mut stamps = KernelStamps::default();
        let wall = 5_000_000_000_000;
        let stamp = stamps.map_with(wall - 300_000, at(100), at(1000), wall, at(1001)).expect("the clock stands");
        assert!(stamp.earliest() <= at(700) && stamp.latest() >= at(701));
        assert!(stamp.uncertainty() < Duration::from_micros(2));
    }

    #[test]
    fn a_wall_clock_that_was_set_is_noticed() {
        let mut stamps = KernelStamps::default();
        let wall = 5_000_000_000_000;
        assert!(stamps.map_with(wall, at(0), at(1000), wall, at(1000)).is_some());
        // One second later the wall clock went on by three.
        let stepped = wall + 3_000_000_000;
        assert_eq!(stamps.map_with(stepped - 1_000, at(1000), at(1_001_000), stepped, at(1_001_000)), None);
    }

    #[test]
    fn a_stamp_outside_what_is_possible_is_not_used() {
        let mut stamps = KernelStamps::default();
        let wall = 5_000_000_000_000;
        assert_eq!(stamps.map_with(wall - 900_000, at(500), at(1000), wall, at(1000)), None, "before it was empty");
        assert_eq!(stamps.map_with(wall + 1, at(500), at(1000), wall, at(1000)), None, "from the future");
    }

    #[test]
    fn each_virtual_clock_and_real_time_are_told_apart() {
        let (one, other) = (Clock::new(ClockKind::Virtual), Clock::new(ClockKind::Virtual));
        assert_eq!(one.source(), one.clone().source());
        assert_ne!(one.source(), other.source());
        assert_ne!(one.source(), Clock::Real.source());
        assert_eq!(Clock::Real.source(), Clock::new(ClockKind::Real).source());
    }

    #[test]
    fn virtual_time_moves_only_when_it_is_moved() {
        let clock = Clock::new(ClockKind::Virtual);
        assert_eq!(clock.now(), Time::ZERO);
        clock.advance(at(5));
        clock.advance(at(3));
        assert_eq!(clock.now(), at(5));
    }
}
