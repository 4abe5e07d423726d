//! Precision of a line thread: how exactly it meets deadlines, and what the host allows for that.
//!
//! The ladder, each step recorded with what became of it: locked memory, real-time scheduling (SCHED_FIFO), timer slack
//! of 1 ns, a short scheduler slice. Timing class A: real-time scheduling; B: slack and slice; C: neither.
//!
//! The wait: sleep to `deadline - window`, then spin. The window follows how late sleeps end here, within 10 to 300 us.
//! Spinning needs real-time scheduling: without it, it takes from others the time that makes this thread late.

use super::sys;
use crate::clock::Clock;
use fieldrig_proto::time::{Duration, Time};
use std::sync::{Arc, Mutex, PoisonError};

/// How well the host lets a line thread meet deadlines; the best first.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TimingClass {
    /// Real-time scheduling.
    A,
    /// Timer slack and a short slice.
    B,
    /// Nothing could be had.
    C,
    /// Virtual time: exact.
    V,
}

/// What the ladder reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The class.
    pub class: TimingClass,
    /// Each step with what became of it: `ok`, or why not.
    pub steps: Vec<(&'static str, String)>,
}

const FIFO_PRIORITY: libc::c_int = 50;
const SLICE_NANOS: u64 = 100_000;
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
        if !self.climbs {
            let steps = vec![("real-time scheduling", "not wanted: the thread runs Python".to_owned())];
            *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(Timing { class: TimingClass::C, steps });
            return;
        }
        let steps = vec![
            ("locked memory", lock_memory()),
            ("real-time scheduling", real_time()),
            ("timer slack", timer_slack()),
            ("scheduler slice", short_slice()),
        ];
        let is_ok = |index: usize| steps[index].1 == "ok";
        let class = match (is_ok(1), is_ok(2) && is_ok(3)) {
            (true, _) => TimingClass::A,
            (false, true) => TimingClass::B,
            (false, false) => TimingClass::C,
        };
        self.spin = class == TimingClass::A;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(Timing { class, steps });
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

fn outcome(result: libc::c_long) -> String {
    if result == 0 { "ok".to_owned() } else { std::io::Error::last_os_error().to_string() }
}

fn lock_memory() -> String {
    // SAFETY: takes no pointers. Pages are locked when they are first used, not all at once.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    outcome(libc::c_long::from(result))
}

fn real_time() -> String {
    // SAFETY: an all-zero sched_param is valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = FIFO_PRIORITY;
    // SAFETY: reads a live sched_param; 0 is the calling thread.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    outcome(libc::c_long::from(result))
}

fn timer_slack() -> String {
    // SAFETY: takes no pointers.
    outcome(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) }))
}

/// The attributes of `sched_setattr`, which the C library does not declare everywhere.
#[repr(C)]
struct SchedulerAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn short_slice() -> String {
    // SAFETY: takes no pointers.
    if unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK != libc::SCHED_OTHER {
        return "not needed".to_owned();
    }
    let attributes = SchedulerAttributes {
        size: size_of::<SchedulerAttributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: SLICE_NANOS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: reads a live structure whose size is stated in it; 0 is the calling thread.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
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
        assert!(timing.steps.iter().all(|(_, outcome)| outcome != "ok"));
    }

    #[test]
    fn every_step_of_the_ladder_is_recorded() {
        let report = Arc::new(Mutex::new(None));
        let mut precision = Precision::new(Arc::clone(&report));
        // On a thread of its own: the ladder changes how the thread is scheduled.
        std::thread::spawn(move || precision.set_up()).join().expect("the ladder does not panic");
        let timing = report.lock().expect("not poisoned").clone().expect("a report");
        assert_eq!(timing.steps.len(), 4);
        assert_eq!(timing.class == TimingClass::A, timing.steps[1].1 == "ok");
    }
}
