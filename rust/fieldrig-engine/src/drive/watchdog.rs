//! The watchdog: a line thread that takes a whole CPU loses real-time scheduling.
//!
//! A real-time thread that does not stop leaves the others of its CPU 5 % of the time (sched_rt_runtime_us), and on a
//! machine with one CPU nobody could even stop it in comfort. The sentinel, which has the higher priority, looks at how
//! much each line thread ran, and makes one that ran all the time an ordinary thread. That is in its report: the timing
//! class of the run says what was had, not what was asked for.

use super::heartbeat::{self, Found, Pulse};
use super::host;
use super::ladder::Timing;
use crate::clock::Clock;
use crate::run_delay::RunDelay;
use crate::sentinel::{STARVED, STOPPED, Stall, StallKind};
use fieldrig_proto::time::{Duration, Time};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Who runs more than this part of a period (percent) does not stop: the kernel throttles from 95 on.
const TOO_MUCH: u128 = 90;

/// So much of a stall of a line thread that has not ended is told.
const OPEN: Duration = Duration::from_secs(1);

/// What is known of one line thread.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    timing: Mutex<Option<Timing>>,
    real_time: AtomicBool,
    thread: AtomicI32,
    delay: Mutex<Option<RunDelay>>,
    /// What it says of itself all the time.
    pub(super) pulse: Pulse,
}

impl Watched {
    /// The calling thread is the line thread: what it runs can be read from now on.
    pub(super) fn count_this_thread(&self) {
        *lock(&self.delay) = RunDelay::of_this_thread();
    }

    /// The calling thread is the line thread, and this is what the ladder reached.
    pub(super) fn begin(&self, timing: Timing) {
        self.thread.store(host::this_thread(), Ordering::SeqCst);
        self.count_this_thread();
        self.real_time.store(timing.class == super::TimingClass::A, Ordering::SeqCst);
        *lock(&self.timing) = Some(timing);
    }

    /// Whether it has real-time scheduling now.
    pub(crate) fn is_real_time(&self) -> bool {
        self.real_time.load(Ordering::Relaxed)
    }

    /// How well it meets deadlines; `None` until its thread runs.
    pub(crate) fn timing(&self) -> Option<Timing> {
        lock(&self.timing).clone()
    }

    /// Real-time scheduling was taken away.
    pub(super) fn demote(&self, why: &str) {
        self.real_time.store(false, Ordering::SeqCst);
        if let Some(timing) = &mut *lock(&self.timing) {
            timing.demote(why.to_owned());
        }
    }

    fn ran(&self) -> Option<Duration> {
        lock(&self.delay).as_ref()?.read().map(|counted| counted.ran)
    }
}

/// All line threads of a rig.
#[derive(Debug, Default)]
pub(crate) struct Kennel {
    threads: Mutex<Vec<(Weak<Watched>, Option<Duration>)>>,
    /// What the line threads found out about their own lateness.
    pub(crate) found: Found,
}

impl Kennel {
    pub(crate) fn add(&self, watched: &Arc<Watched>) {
        lock(&self.threads).push((Arc::downgrade(watched), None));
    }

    /// The stalls of line threads alone that ended after `since`, up to now. Where one is overdue it waits with `nap`,
    /// until that goes on or is a stall whatever the reason.
    pub(crate) fn stalls(&self, since: Time, nap: impl Fn()) -> Vec<Stall> {
        let asked = Clock::Real.now();
        loop {
            let now = Clock::Real.now();
            let overdue = |watched: &Arc<Watched>| watched.pulse.overdue(asked, || watched.ran()).is_some();
            let threads: Vec<Arc<Watched>> =
                lock(&self.threads).iter().filter_map(|(watched, _)| watched.upgrade()).filter(overdue).collect();
            let held: Vec<(Time, Duration)> =
                threads.iter().filter_map(|watched| watched.pulse.overdue(now, || watched.ran())).collect();
            // One that works meanwhile is late by no more, however long it is waited for.
            let patient = now.since(asked) <= STARVED + STOPPED;
            if patient && held.iter().any(|(_, late)| *late <= STARVED + STOPPED) {
                nap();
                continue;
            }
            let mut stalls = heartbeat::since(&self.found, since);
            // The length of one that has not ended is what others wait for in addition: never for long.
            stalls.extend(held.into_iter().map(|(from, _)| Stall {
                from: from.max(now - OPEN),
                until: now,
                kind: StallKind::Line,
                run_delay: Duration::ZERO,
            }));
            return stalls;
        }
    }
}

/// The sentinel's side of it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    kennel: Arc<Kennel>,
    period: Duration,
    looked: Time,
}

impl Watchdog {
    pub(crate) fn new(kennel: Arc<Kennel>, now: Time) -> Watchdog {
        Watchdog { kennel, period: PERIOD, looked: now }
    }

    /// A look, if it is time for one. Waits for nobody.
    pub(crate) fn look(&mut self, now: Time) {
        let elapsed = now.since(self.looked);
        if elapsed < self.period {
            return;
        }
        let Ok(mut threads) = self.kennel.threads.try_lock() else { return };
        self.looked = now;
        threads.retain_mut(|(watched, before)| {
            let Some(watched) = watched.upgrade() else { return false };
            let ran = watched.ran();
            let last = std::mem::replace(before, ran);
            if watched.is_real_time()
                && let Some((ran, last)) = ran.zip(last)
                && takes_too_much(ran.saturating_sub(last), elapsed)
            {
                bring_down(&watched, elapsed);
            }
            true
        });
    }
}

fn takes_too_much(ran: Duration, elapsed: Duration) -> bool {
    ran.as_nanos() * 100 > elapsed.as_nanos() * TOO_MUCH
}

fn bring_down(watched: &Watched, elapsed: Duration) {
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    // It fails for a thread that has ended meanwhile, which is as good.
    if host::schedule(watched.thread.load(Ordering::SeqCst), policy, 0).is_ok() {
        watched.demote(&format!("taken away: it ran all of {:.1} s", elapsed.as_secs_f64()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::TimingClass;
    use super::*;

    #[test]
    fn who_runs_nearly_all_the_time_takes_too_much() {
        let second = Duration::from_secs(1);
        assert!(!takes_too_much(Duration::from_millis(900), second));
        assert!(takes_too_much(Duration::from_millis(901), second));
    }

    #[test]
    fn a_line_thread_that_does_not_stop_loses_real_time_scheduling() {
        let kennel: Arc<Kennel> = Arc::default();
        let watched: Arc<Watched> = Arc::default();
        kennel.add(&watched);
        // This thread, which may well be ordinary already: it is the look that is tested.
        watched.begin(Timing { class: TimingClass::A, steps: Vec::new() });
        let period = Duration::from_millis(10);
        let mut watchdog = Watchdog { kennel, period, looked: Time::ZERO };
        watchdog.look(Time::ZERO + period);
        assert!(watched.is_real_time(), "one look does not know how much it ran");
        let Some(before) = watched.ran() else { return };
        while watched.ran().is_some_and(|ran| ran < before + period) {
            std::hint::spin_loop();
        }
        watchdog.look(Time::ZERO + period + period);
        assert!(!watched.is_real_time());
        let timing = watched.timing().expect("a report");
        assert_eq!(timing.class, TimingClass::C);
        watchdog.look(Time::ZERO + period * 3);
        drop(watched);
        watchdog.look(Time::ZERO + period * 4);
        assert!(lock(&watchdog.kennel.threads).is_empty(), "who is gone is watched no more");
    }
}
