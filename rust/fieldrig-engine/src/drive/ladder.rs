//! The ladder: what a thread asks of the host to meet deadlines, each step with what became of it.
//!
//! Locked memory, real-time scheduling (SCHED_FIFO), timer slack of 1 ns, a short scheduler slice. Timing class A:
//! real-time scheduling; B: slack and slice; C: neither.
//!
//! Line threads have one priority, the sentinel the next above: it has to run when a line thread does not stop.

use super::host;
use std::io;

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

/// One step of the ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What was asked for.
    pub name: &'static str,
    /// Whether it was granted.
    pub reached: bool,
    /// What was granted, or why not: `SCHED_FIFO 50`, `Operation not permitted (os error 1)`.
    pub outcome: String,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Step { name, reached, outcome } = self;
        if *reached { write!(f, "{name}: {outcome}") } else { write!(f, "{name}: no ({outcome})") }
    }
}

/// What the ladder reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The class.
    pub class: TimingClass,
    /// The steps, in the order in which they were taken.
    pub steps: Vec<Step>,
}

impl Timing {
    /// Of a thread that runs Python: it would hold up others, and be held up by them, however it is scheduled.
    pub(super) fn of_python() -> Timing {
        let outcome = "not wanted: the thread runs Python".to_owned();
        Timing { class: TimingClass::C, steps: vec![Step { name: REAL_TIME, reached: false, outcome }] }
    }

    /// Of a thread that never came to say.
    pub(crate) fn unknown() -> Timing {
        Timing { class: TimingClass::C, steps: Vec::new() }
    }

    /// Real-time scheduling was taken away again.
    pub(super) fn demote(&mut self, why: String) {
        for step in self.steps.iter_mut().filter(|step| step.name == REAL_TIME) {
            step.reached = false;
            step.outcome.clone_from(&why);
        }
        self.class = self.class.max(TimingClass::C);
    }
}

/// The step that makes class A.
pub(super) const REAL_TIME: &str = "real-time scheduling";
pub(super) const LINE_PRIORITY: libc::c_int = 50;
const SLICE_NANOS: u64 = 100_000;

/// The calling thread becomes a line thread, as far as the host lets it.
pub(super) fn climb() -> Timing {
    let steps = vec![
        step("locked memory", lock_memory()),
        step(REAL_TIME, real_time(0)),
        step("timer slack", timer_slack()),
        step("scheduler slice", short_slice()),
    ];
    let class = match (steps[1].reached, steps[2].reached && steps[3].reached) {
        (true, _) => TimingClass::A,
        (false, true) => TimingClass::B,
        (false, false) => TimingClass::C,
    };
    Timing { class, steps }
}

/// The calling thread becomes the sentinel: above all line threads, if there can be any.
pub(crate) fn climb_as_sentinel() {
    // What cannot be had makes it later: it knows how late it is, and why.
    let _ = (real_time(1), timer_slack(), short_slice());
}

fn step(name: &'static str, result: io::Result<String>) -> Step {
    match result {
        Ok(outcome) => Step { name, reached: true, outcome },
        Err(error) => Step { name, reached: false, outcome: error.to_string() },
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Without the right to lock as much as it likes, a process locks what it has: what it wanted later and could not lock
/// it would not get at all.
fn lock_memory() -> io::Result<String> {
    let all = host::limit(libc::RLIMIT_MEMLOCK).is_none() || host::is_capable(host::CAP_IPC_LOCK);
    let later = if all { libc::MCL_FUTURE } else { 0 };
    // SAFETY: takes no pointers. Pages are locked when they are first used, not all at once.
    check(libc::c_long::from(unsafe { libc::mlockall(libc::MCL_CURRENT | later | libc::MCL_ONFAULT) }))?;
    Ok(if all { "all" } else { "what there was" }.to_owned())
}

/// As a line thread, or so much above one. Who may not have the usual priority may have a lower one (RLIMIT_RTPRIO):
/// both threads stay apart as long as there are two.
fn real_time(above: libc::c_int) -> io::Result<String> {
    let usual = LINE_PRIORITY + above;
    let refused = match fifo(usual) {
        Ok(()) => return Ok(format!("SCHED_FIFO {usual}")),
        Err(error) => error,
    };
    let highest = host::limit(libc::RLIMIT_RTPRIO).and_then(|limit| libc::c_int::try_from(limit).ok());
    let lower = highest.map_or(0, |highest| (highest - 1).clamp(highest.min(1), LINE_PRIORITY) + above);
    let lower = lower.min(highest.unwrap_or(0));
    if lower < 1 {
        return Err(refused);
    }
    fifo(lower).map(|()| format!("SCHED_FIFO {lower}"))
}

fn fifo(priority: libc::c_int) -> io::Result<()> {
    host::schedule(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority)
}

fn timer_slack() -> io::Result<String> {
    // SAFETY: takes no pointers.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) }))?;
    Ok("1 ns".to_owned())
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

fn short_slice() -> io::Result<String> {
    // SAFETY: takes no pointers.
    if unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK != libc::SCHED_OTHER {
        return Ok("not needed".to_owned());
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
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })?;
    Ok("100 us".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_ladder_is_recorded() {
        // On a thread of its own: the ladder changes how the thread is scheduled.
        let timing = std::thread::spawn(climb).join().expect("the ladder does not panic");
        assert_eq!(timing.steps.len(), 4);
        assert_eq!(timing.class == TimingClass::A, timing.steps[1].reached);
        assert!(timing.steps.iter().all(|step| !step.outcome.is_empty()));
    }

    #[test]
    fn a_thread_that_loses_real_time_scheduling_is_in_class_c_and_says_why() {
        let outcome = "SCHED_FIFO 50".to_owned();
        let mut timing =
            Timing { class: TimingClass::A, steps: vec![Step { name: REAL_TIME, reached: true, outcome }] };
        timing.demote("it took all of a CPU".to_owned());
        assert_eq!(timing.class, TimingClass::C);
        assert_eq!(timing.steps[0].to_string(), "real-time scheduling: no (it took all of a CPU)");
    }
}
