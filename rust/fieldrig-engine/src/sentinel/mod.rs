//! The sentinel: a thread that notices when the host stood still (SIGSTOP, a paused virtual machine).
//!
//! It sleeps for short times and measures how much later it wakes. A span that contains a stall says nothing about a
//! device; whoever judges spans asks for the stalls since their start.
//!
//! Rules of this file:
//! - The sentinel waits for nobody: what it found it hands over when the list is free, so that its own lateness is only
//!   ever the fault of the host.
//! - Who asks while it is overdue wakes it and waits for its look: only its thread knows why it is late.
//! - Line threads tell themselves when they were late alone (`drive/heartbeat.rs`): who asks hears of it, too.

mod pulse;

use crate::clock::Clock;
use crate::drive::heartbeat;
use crate::drive::ladder;
use crate::drive::watchdog::{Kennel, Watchdog};
use crate::run_delay::RunDelay;
use fieldrig_proto::time::{Duration, Time};
use pulse::{PERIOD, Pulse};
pub(crate) use pulse::{STARVED, STOPPED};
pub use pulse::{Stall, StallKind};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How many stalls are remembered.
const KEPT: usize = 4096;
/// How long who asks waits for a sentinel that is overdue.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often he looks whether it has looked.
const NAP: Duration = Duration::from_micros(200);

/// A running sentinel; dropping it ends its thread.
pub(crate) struct Sentinel {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    kennel: Arc<Kennel>,
}

struct Shared {
    stop: AtomicBool,
    /// Until when (nanoseconds) everything it saw is in the list.
    looked: AtomicU64,
    stalls: Mutex<VecDeque<Stall>>,
}

impl Sentinel {
    /// It watches the line threads in `kennel`, too.
    pub(crate) fn start(kennel: Arc<Kennel>) -> io::Result<Sentinel> {
        // Here, not on its thread: a stall may come before that has run for the first time.
        let begun = Clock::Real.now();
        let looked = AtomicU64::new(begun.as_nanos());
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), looked, stalls: Mutex::default() });
        let (watched, lines) = (Arc::clone(&shared), Arc::clone(&kennel));
        let name = "fieldrig-sentry".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || watched.watch(begun, lines))?;
        Ok(Sentinel { shared, thread: Mutex::new(Some(thread)), kennel })
    }

    /// The stalls that ended after `since`, up to now.
    pub(crate) fn stalls(&self, since: Time) -> Vec<Stall> {
        self.witness().stalls(since)
    }

    /// Who can be asked about stalls as long as one likes.
    pub(crate) fn witness(&self) -> Witness {
        let thread = lock(&self.thread).as_ref().map(|handle| handle.thread().clone());
        Witness { shared: Arc::clone(&self.shared), thread, kennel: Arc::clone(&self.kennel) }
    }

    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // It has nothing in it that panics.
            let _ = thread.join();
        }
    }
}

/// What a sentinel saw; after its end, what it had seen until then.
#[derive(Clone)]
pub(crate) struct Witness {
    shared: Arc<Shared>,
    thread: Option<std::thread::Thread>,
    kennel: Arc<Kennel>,
}

impl Witness {
    /// The stalls that ended after `since`, up to now.
    pub(crate) fn stalls(&self, since: Time) -> Vec<Stall> {
        let of_lines = self.kennel.stalls(since, || std::thread::sleep(NAP));
        let unseen = self.await_look();
        let stalls = lock(&self.shared.stalls);
        let mut seen = stalls.iter().chain(&unseen).filter(|stall| stall.until > since).copied().collect();
        drop(stalls);
        heartbeat::beyond(&mut seen, of_lines);
        seen
    }

    /// Waits for a look if a stall may have ended that it has not seen yet; a sentinel that does not come to look is
    /// itself a stall.
    fn await_look(&self) -> Option<Stall> {
        let asked = Clock::Real.now();
        loop {
            let looked = Time::from_nanos(self.shared.looked.load(Ordering::SeqCst));
            let now = Clock::Real.now();
            if asked.since(looked) <= PERIOD + STOPPED || self.shared.stop.load(Ordering::SeqCst) {
                return None;
            }
            if now.since(asked) > PATIENCE {
                return Some(Stall {
                    from: looked,
                    until: now,
                    kind: StallKind::Starved,
                    run_delay: now.since(looked),
                });
            }
            if let Some(thread) = &self.thread {
                thread.unpark();
            }
            std::thread::sleep(NAP);
        }
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn watch(&self, begun: Time, kennel: Arc<Kennel>) {
        let (mut pulse, mut watchdog) = (Pulse::new(begun), Watchdog::new(kennel, begun));
        ladder::climb_as_sentinel();
        let delay = RunDelay::of_this_thread();
        let mut found = VecDeque::new();
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(PERIOD);
            let now = Clock::Real.now();
            found.extend(pulse.look(now, delay.as_ref().and_then(RunDelay::read).map(|counted| counted.waited)));
            if let Ok(mut stalls) = self.stalls.try_lock() {
                stalls.extend(found.drain(..));
                let surplus = stalls.len().saturating_sub(KEPT);
                stalls.drain(..surplus);
                self.looked.store(now.as_nanos(), Ordering::SeqCst);
            }
            watchdog.look(now);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_thread_ends_when_it_is_stopped() {
        let sentinel = Sentinel::start(Arc::default()).expect("a thread");
        sentinel.stop();
        assert!(lock(&sentinel.thread).is_none());
        sentinel.stop();
        // Nobody waits for one that has ended.
        assert!(sentinel.stalls(Clock::Real.now()).is_empty());
    }
}
