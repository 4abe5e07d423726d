//! Precision of a line thread: how it waits for deadlines.
//!
//! The wait: sleep to `deadline - window`, then spin. The window follows how late sleeps end here, within 10 to 300 us.
//! The last of it, [`APPROACH`], is spun by who acts, right before he does: to get there takes some microseconds.
//!
//! Rules of this file:
//! - A deadline is an instant and stays one: however late a wait ends, the next deadline is where it was.
//! - Without real-time scheduling, spinning takes from others the time that makes this thread late: it does not spin
//!   while it had to wait for a CPU within the last second.
//! - With it, all line threads of a rig together spin at most half of the time of the CPUs, so that neither the kernel's
//!   throttling of real-time threads nor a machine with one CPU comes to feel it. A deadline that finds nothing left is
//!   slept for.

use super::heartbeat::{Found, Heartbeat};
use super::ladder::{self, Timing, TimingClass};
use super::sys;
use super::watchdog::Watched;
use crate::clock::Clock;
use crate::run_delay;
use fieldrig_proto::time::{Duration, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIN_WINDOW: Duration = Duration::from_micros(10);
const MAX_WINDOW: Duration = Duration::from_micros(300);
/// More than this in the run queue before a deadline is a busy host: a switch between threads takes less.
const BUSY: Duration = Duration::from_micros(100);
/// For how long a host counts as busy.
const REST: Duration = Duration::from_secs(1);

/// So long before a deadline an approach ends: more than it takes from there to the system call that acts.
pub(crate) const APPROACH: Duration = MIN_WINDOW;

/// The precision of one line thread.
pub(crate) struct Precision {
    window: Duration,
    class: TimingClass,
    /// Climb the ladder at all, and spin.
    climbs: bool,
    /// The host was busy less than a second before.
    busy_until: Time,
    /// How much later than asked for the last sleep ended; `None` if there was nothing to sleep.
    woke_late: Option<Duration>,
    budget: Arc<Budget>,
    watched: Arc<Watched>,
    /// Where it tells of its own lateness.
    found: Found,
}

impl Precision {
    /// `watched` gets the result of the ladder once the thread runs.
    pub(crate) fn new(watched: Arc<Watched>, budget: Arc<Budget>) -> Precision {
        let (window, class) = (Duration::from_micros(100), TimingClass::C);
        Precision {
            window,
            class,
            climbs: true,
            busy_until: Time::ZERO,
            woke_late: None,
            budget,
            watched,
            found: Found::default(),
        }
    }

    /// Of a thread that runs Python: it would hold up others, and be held up by them, however it is scheduled.
    pub(crate) fn modest(watched: Arc<Watched>, budget: Arc<Budget>) -> Precision {
        Precision { climbs: false, ..Precision::new(watched, budget) }
    }

    /// Its own lateness goes there.
    pub(crate) fn telling(self, found: &Found) -> Precision {
        Precision { found: Arc::clone(found), ..self }
    }

    /// The heartbeat of the thread, begun on the thread itself.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat::begin(Arc::clone(&self.watched), Arc::clone(&self.found), !self.climbs)
    }

    /// Climbs the ladder, on the thread itself.
    pub(crate) fn set_up(&mut self) {
        let timing = if self.climbs { ladder::climb() } else { Timing::of_python() };
        self.class = timing.class;
        self.watched.begin(timing);
    }

    /// Waits until `due`. `sleep` sleeps for a while and says whether nothing else came in between; if something did,
    /// the wait ends early.
    pub(crate) fn wait_until(&mut self, due: Time, sleep: impl FnMut(Duration) -> bool) {
        if self.approach(due, sleep) {
            spin_until(&Clock::Real, due);
        }
    }

    /// [`Precision::wait_until`] that ends [`APPROACH`] before the deadline, where it spins at all. True if the rest is to
    /// be spun; false if the wait is over.
    pub(crate) fn approach(&mut self, due: Time, mut sleep: impl FnMut(Duration) -> bool) -> bool {
        let begun = Clock::Real.now();
        let window = self.window_at(begun);
        let wake = due - window;
        // With no time to sleep there is none to look, either: a mark is good for a while.
        if wake > begun {
            self.look_at_the_host(begun);
        }
        let left = wake.since(Clock::Real.now());
        // Looks at what came in even if nothing is left to sleep.
        if !sleep(left) {
            return false;
        }
        let woken = Clock::Real.now();
        self.woke_late = (!left.is_zero()).then(|| woken.since(wake));
        if let Some(late) = self.woke_late {
            self.learn(late);
        }
        if window.is_zero() {
            if woken < due {
                sys::sleep_until_nanos(crate::clock::origin() + due.as_nanos());
            }
            return false;
        }
        spin_until(&Clock::Real, due - APPROACH);
        self.budget.spend(woken, due.since(woken));
        true
    }

    /// How much later than asked for the last sleep ended, as cyclictest measures it; `None` if there was none.
    pub(crate) fn woke_late(&self) -> Option<Duration> {
        self.woke_late
    }

    /// How long before a deadline it stops sleeping.
    fn window_at(&self, now: Time) -> Duration {
        let real_time = self.class == TimingClass::A && self.watched.is_real_time();
        let may_spin = self.climbs && (real_time || now >= self.busy_until);
        let window = self.window.min(self.budget.left(now));
        if may_spin && window >= MIN_WINDOW { window } else { Duration::ZERO }
    }

    /// Looks how long it waited for a CPU since it looked last, and begins to count anew.
    pub(super) fn look_at_the_host(&mut self, now: Time) {
        if run_delay::since_mark().is_some_and(|waited| waited > BUSY) {
            self.busy_until = now + REST;
        }
        run_delay::mark(now);
    }

    /// The window is a little more than the worst lateness seen of late.
    fn learn(&mut self, late: Duration) {
        let wanted = late + late / 4 + Duration::from_micros(5);
        let decayed = self.window - self.window / 64;
        self.window = wanted.max(decayed).clamp(MIN_WINDOW, MAX_WINDOW);
    }
}

/// Spins until `due` and gives the instant at which it ended.
pub(super) fn spin_until(clock: &Clock, due: Time) -> Time {
    loop {
        let now = clock.now();
        if now >= due {
            return now;
        }
        std::hint::spin_loop();
    }
}

/// How much the line threads of a rig may spin: half of the time of its CPUs, and at most so much at a stretch.
///
/// It is kept as the instant at which all that was spent will have been earned.
#[derive(Debug)]
pub(crate) struct Budget {
    earned_at: AtomicU64,
    cpus: u64,
}

/// What may be spent at a stretch.
const STRETCH: Duration = Duration::from_millis(50);

impl Budget {
    pub(crate) fn new() -> Budget {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        Budget { earned_at: AtomicU64::new(0), cpus }
    }

    /// How long spinning may last now.
    fn left(&self, now: Time) -> Duration {
        let owed = self.earned_at.load(Ordering::Relaxed).saturating_sub(now.as_nanos());
        STRETCH.saturating_sub(Duration::from_nanos(owed * self.cpus / 2))
    }

    fn spend(&self, now: Time, spun: Duration) {
        let cost = u64::try_from(spun.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2) / self.cpus;
        let earned = |at: u64| Some(at.max(now.as_nanos()).saturating_add(cost));
        // It always gives something.
        let _ = self.earned_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precision() -> Precision {
        Precision::new(Arc::default(), Arc::new(Budget { earned_at: AtomicU64::new(0), cpus: 1 }))
    }

    #[test]
    fn the_window_follows_lateness_within_its_bounds() {
        let mut precision = precision();
        precision.learn(Duration::from_micros(200));
        assert_eq!(precision.window, Duration::from_micros(255));
        precision.learn(Duration::from_millis(50));
        assert_eq!(precision.window, MAX_WINDOW);
        for _ in 0..1000 {
            precision.learn(Duration::ZERO);
        }
        assert_eq!(precision.window, MIN_WINDOW);
    }

    #[test]
    fn without_real_time_scheduling_it_does_not_spin_on_a_busy_host() {
        let mut precision = precision();
        let now = Time::ZERO + REST;
        assert_eq!(precision.window_at(now), Duration::from_micros(100));
        precision.busy_until = now + REST;
        assert_eq!(precision.window_at(now), Duration::ZERO);
        assert_eq!(precision.window_at(now + REST), Duration::from_micros(100));
        precision.class = TimingClass::A;
        precision.watched.begin(Timing { class: TimingClass::A, steps: Vec::new() });
        assert_eq!(precision.window_at(now), Duration::from_micros(100));
        precision.watched.demote("it took all of a CPU");
        assert_eq!(precision.window_at(now), Duration::ZERO);
    }

    #[test]
    fn all_that_spin_spin_half_of_the_time_at_most() {
        let budget = Budget { earned_at: AtomicU64::new(0), cpus: 1 };
        let (mut now, mut spun) = (Time::ZERO, Duration::ZERO);
        for _ in 0..20_000 {
            let spin = budget.left(now).min(MAX_WINDOW);
            now = now + spin;
            budget.spend(now, spin);
            spun += spin;
            now = now + Duration::from_micros(50);
        }
        assert!(spun <= now.since(Time::ZERO) / 2 + STRETCH, "{spun:?} of {now:?}");
        assert!(spun >= now.since(Time::ZERO) / 3, "{spun:?} of {now:?}");
        assert_eq!(budget.left(now + Duration::from_secs(1)), STRETCH);
    }

    #[test]
    fn a_wait_never_ends_before_its_deadline() {
        for busy_until in [Time::ZERO, Time::FAR] {
            let mut precision = precision();
            precision.busy_until = busy_until;
            let due = Clock::Real.now() + Duration::from_micros(500);
            precision.wait_until(due, |left| {
                sys::sleep_until_nanos(sys::monotonic_nanos() + left.as_nanos() as u64);
                true
            });
            assert!(Clock::Real.now() >= due);
        }
    }

    #[test]
    fn an_approach_leaves_the_rest_only_where_it_may_spin() {
        for (busy_until, rest) in [(Time::ZERO, true), (Time::FAR, false)] {
            let mut precision = precision();
            precision.busy_until = busy_until;
            let due = Clock::Real.now() + Duration::from_micros(500);
            let approached = precision.approach(due, |left| {
                sys::sleep_until_nanos(sys::monotonic_nanos() + left.as_nanos() as u64);
                true
            });
            assert_eq!(approached, rest);
            assert!(Clock::Real.now() >= if rest { due - APPROACH } else { due });
            // Something came in: nothing is left to spin for.
            assert!(!precision.approach(Clock::Real.now() + Duration::from_micros(500), |_| false));
        }
    }

    #[test]
    fn a_thread_that_runs_python_leaves_the_ladder_alone() {
        let watched: Arc<Watched> = Arc::default();
        let mut modest = Precision::modest(Arc::clone(&watched), Arc::new(Budget::new()));
        assert_eq!(modest.window_at(Time::ZERO), Duration::ZERO);
        std::thread::spawn(move || modest.set_up()).join().expect("it does not panic");
        let timing = watched.timing().expect("a report");
        assert_eq!(timing.class, TimingClass::C);
        assert!(timing.steps.iter().all(|step| !step.reached));
    }
}
