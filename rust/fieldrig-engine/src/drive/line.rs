//! Precision of a line thread: how exactly it meets deadlines, and what the host allows for that.
//!
//! The wait: sleep to `deadline - window`, then spin. The window follows how late sleeps end here, within 10 to 300 us.
//! Spinning needs real-time scheduling: without it, it takes from others the time that makes this thread late.

use super::ladder::{self, Timing, TimingClass};
use super::sys;
use crate::clock::Clock;
use fieldrig_proto::time::{Duration, Time};
use std::sync::{Arc, Mutex, PoisonError};

const MIN_WINDOW: Duration = Duration::from_micros(10);
const MAX_WINDOW: Duration = Duration::from_micros(300);

/// The precision of one line thread.
pub(crate) struct Precision {
    window: Duration,
    spin: bool,
    /// Climb the ladder at all.
    climbs: bool,
    report: Arc<Mutex<Option<Timing>>>,
}

impl Precision {
    /// `report` gets the result of the ladder once the thread runs.
    pub(crate) fn new(report: Arc<Mutex<Option<Timing>>>) -> Precision {
        Precision { window: Duration::from_micros(100), spin: false, climbs: true, report }
    }

    /// Of a thread that runs Python: it would hold up others, and be held up by them, however it is scheduled.
    pub(crate) fn modest(report: Arc<Mutex<Option<Timing>>>) -> Precision {
        Precision { climbs: false, ..Precision::new(report) }
    }

    /// Climbs the ladder, on the thread itself.
    pub(crate) fn set_up(&mut self) {
        let timing = if self.climbs { ladder::climb() } else { Timing::of_python() };
        self.spin = timing.class == TimingClass::A;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(timing);
    }

    /// Waits until `due`. `sleep` sleeps for a while and says whether nothing else came in between; if something did,
    /// the wait ends early.
    pub(crate) fn wait_until(&mut self, due: Time, mut sleep: impl FnMut(Duration) -> bool) {
        let wake = if self.spin { due - self.window } else { due };
        let left = wake.since(Clock::Real.now());
        // Looks at what came in even if nothing is left to sleep.
        if !sleep(left) {
            return;
        }
        let woken = Clock::Real.now();
        if !left.is_zero() {
            self.learn(woken.since(wake));
        }
        if self.spin {
            while Clock::Real.now() < due {
                std::hint::spin_loop();
            }
        } else if woken < due {
            sys::sleep_until_nanos(crate::clock::origin() + due.as_nanos());
        }
    }

    /// The window is a little more than the worst lateness seen of late.
    fn learn(&mut self, late: Duration) {
        let wanted = late + late / 4 + Duration::from_micros(5);
        let decayed = self.window - self.window / 64;
        self.window = wanted.max(decayed).clamp(MIN_WINDOW, MAX_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_lateness_within_its_bounds() {
        let mut precision = Precision::new(Arc::default());
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
    fn a_wait_never_ends_before_its_deadline() {
        for spin in [false, true] {
            let mut precision = Precision::new(Arc::default());
            precision.spin = spin;
            let due = Clock::Real.now() + Duration::from_micros(500);
            precision.wait_until(due, |left| {
                sys::sleep_until_nanos(sys::monotonic_nanos() + left.as_nanos() as u64);
                true
            });
            assert!(Clock::Real.now() >= due);
        }
    }

    #[test]
    fn a_thread_that_runs_python_leaves_the_ladder_alone() {
        let report = Arc::new(Mutex::new(None));
        let mut precision = Precision::modest(Arc::clone(&report));
        std::thread::spawn(move || precision.set_up()).join().expect("it does not panic");
        let timing = report.lock().expect("not poisoned").clone().expect("a report");
        assert_eq!(timing.class, TimingClass::C);
        assert!(timing.steps.iter().all(|step| !step.reached));
    }
}
