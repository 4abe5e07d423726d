//! The doctor: measures how well this host lets a line thread meet deadlines, as cyclictest does.
//!
//! The thread that is measured is set up and waits as line threads do. Deadlines are absolute: one that is late does not
//! move the next, so a stall of 250 ms is 250 late deadlines at a period of 1 ms.

pub(crate) mod facts;
mod lateness;

pub use facts::Fact;
pub use lateness::Lateness;

use crate::clock::Clock;
use crate::drive::host;
use crate::drive::ladder::Timing;
use crate::drive::line::{Budget, Precision};
use crate::drive::sys::{self, Epoll};
use crate::drive::watchdog::Watched;
use crate::error::EngineError;
use crate::lease::SLICE;
use crate::rig::{Rig, RigOptions};
use crate::run_delay;
use crate::sentinel::Stall;
use facts::Pressure;
use fieldrig_proto::time::{Duration, Time};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is measured.
#[derive(Copy, Clone, Debug)]
pub struct Examination {
    /// From deadline to deadline.
    pub period: Duration,
    /// How long.
    pub length: Duration,
    /// The CPU to which the thread is bound.
    pub cpu: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Checkup {
    /// What the ladder reached.
    pub timing: Timing,
    /// How late sleeps ended: what cyclictest measures.
    pub wakes: Lateness,
    /// How late deadlines were met, after the spin.
    pub deadlines: Lateness,
    /// Of all lateness beyond 100 us, the part that the thread waited for a CPU (0 to 1); `None` if there was none, or
    /// if the kernel does not count.
    pub explained: Option<f64>,
    /// When the host did not let us run.
    pub stalls: Vec<Stall>,
    /// What is known of the host.
    pub facts: Vec<Fact>,
}

/// Shorter periods are not measured: that would be all the time of a CPU.
const SHORTEST: Duration = Duration::from_micros(50);
/// More deadlines are not remembered.
const MOST: usize = 10_000_000;
/// Later than this is worth an explanation.
const LATE: Duration = Duration::from_micros(100);

/// Measures. `go_on` is asked every 20 ms.
///
/// # Errors
/// A thread cannot be started or bound to the CPU; `go_on` said no.
pub fn examine(examination: Examination, go_on: &mut dyn FnMut() -> bool) -> Result<Checkup, EngineError> {
    let rig = Rig::start(RigOptions::default())?;
    let (begun, before) = (rig.now(), Pressure::now());
    let stop = Arc::new(AtomicBool::new(false));
    let watched: Arc<Watched> = Arc::default();
    let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&watched));
    let builder = std::thread::Builder::new().name("fieldrig-doctor".to_owned());
    let machine = |error: io::Error| EngineError::machine("the thread that measures", &error);
    let thread = builder.spawn(move || run(examination, seen, &stopped)).map_err(machine)?;
    let mut goes_on = true;
    while goes_on && !thread.is_finished() {
        std::thread::sleep(SLICE);
        goes_on = go_on();
    }
    stop.store(!goes_on, Ordering::SeqCst);
    let panicked = || EngineError::Machine { what: "the thread that measures panicked".to_owned() };
    let samples = thread.join().map_err(|_| panicked())?.map_err(machine)?;
    if !goes_on {
        return Err(EngineError::Interrupted);
    }
    let stalls = rig.hiccups(begun);
    let facts = facts::of_this_host(&before);
    rig.stop();
    Ok(Checkup {
        timing: watched.timing().unwrap_or_else(Timing::unknown),
        explained: samples.explained(),
        wakes: Lateness::of(samples.wakes, examination.period),
        deadlines: Lateness::of(samples.deadlines, examination.period),
        stalls,
        facts,
    })
}

/// What one run gave.
#[derive(Default)]
struct Samples {
    wakes: Vec<Duration>,
    deadlines: Vec<Duration>,
    late: Duration,
    waited: Option<Duration>,
}

impl Samples {
    fn add(&mut self, due: Time, done: Time) {
        let late = done.since(due);
        self.deadlines.push(late);
        if late > LATE
            && let Some(waited) = run_delay::explains(due, done)
        {
            self.late += late;
            self.waited = Some(self.waited.unwrap_or_default() + waited);
        }
    }

    fn explained(&self) -> Option<f64> {
        self.waited.map(|waited| waited.as_secs_f64() / self.late.as_secs_f64())
    }
}

fn run(examination: Examination, watched: Arc<Watched>, stop: &AtomicBool) -> io::Result<Samples> {
    if let Some(cpu) = examination.cpu {
        host::bind(cpu)?;
    }
    let mut precision = Precision::new(watched, Arc::new(Budget::new()));
    precision.set_up();
    let (epoll, mut ready) = (Epoll::new()?, Vec::new());
    let period = examination.period.max(SHORTEST);
    let count = usize::try_from(examination.length.as_nanos() / period.as_nanos()).unwrap_or(MOST).min(MOST);
    let mut samples = Samples::default();
    samples.wakes.reserve(count);
    samples.deadlines.reserve(count);
    // Deadlines lie in the middle of nothing: not where this thread was started.
    let mut due = Clock::Real.now() + Duration::from_millis(10);
    sys::sleep_until_nanos(crate::clock::origin() + (due - period).as_nanos());
    for _ in 0..count {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        precision.wait_until(due, |left| {
            epoll.wait(&mut ready, Some(left));
            true
        });
        samples.add(due, Clock::Real.now());
        samples.wakes.extend(precision.woke_late());
        due = due + period;
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_is_counted_and_none_is_met_early() {
        let examination =
            Examination { period: Duration::from_millis(1), length: Duration::from_millis(40), cpu: None };
        let checkup = examine(examination, &mut || true).expect("it can be measured");
        assert_eq!(checkup.deadlines.count, 40);
        assert!(checkup.deadlines.p999.is_none(), "40 are too few for that");
        assert!(checkup.deadlines.p50 <= checkup.deadlines.p99 && checkup.deadlines.p99 <= checkup.deadlines.max);
        assert_eq!(checkup.timing.steps.len(), 4);
        assert!(checkup.facts.iter().any(|fact| fact.name == "kernel"));
    }

    #[test]
    fn it_can_be_interrupted_and_says_when_there_is_no_such_cpu() {
        let long = Examination { period: Duration::from_millis(1), length: Duration::from_secs(60), cpu: None };
        assert!(matches!(examine(long, &mut || false), Err(EngineError::Interrupted)));
        let nowhere = Examination { cpu: Some(1023), ..long };
        assert!(examine(nowhere, &mut || true).is_err());
    }
}
