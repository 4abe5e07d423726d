//! The sentinel: a thread that notices when the host stood still (SIGSTOP, a paused virtual machine).
//!
//! It sleeps for short times and measures how much later it wakes. A span that contains a stall says nothing about a
//! device; whoever judges spans asks for the stalls since their start.

use crate::clock::Clock;
use fieldrig_proto::time::{Duration, Time};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(10);
/// A wake-up later than this is a stall; ordinary scheduling on a busy host stays below it.
const THRESHOLD: Duration = Duration::from_millis(50);
/// How many stalls are remembered.
const KEPT: usize = 4096;

/// An interval in which the host did not let us run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Stall {
    /// The last instant at which everything was in order.
    pub from: Time,
    /// The first instant at which we ran again.
    pub until: Time,
}

impl Stall {
    /// How long it lasted, at most.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// A running sentinel; dropping it ends its thread.
pub(crate) struct Sentinel {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    stalls: VecDeque<Stall>,
    last: Option<Time>,
}

impl State {
    /// Looks at the clock; the time since the last look decides.
    fn look(&mut self, now: Time) {
        if let Some(last) = self.last.replace(now)
            && now.since(last) > PERIOD + THRESHOLD
        {
            if self.stalls.len() == KEPT {
                self.stalls.pop_front();
            }
            self.stalls.push_back(Stall { from: last, until: now });
        }
    }
}

impl Sentinel {
    pub(crate) fn start() -> io::Result<Sentinel> {
        let shared = Arc::new(Shared::default());
        // Here, not on its thread: a stall may come before that has run for the first time.
        lock(&shared.state).look(Clock::Real.now());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fieldrig-sentry".to_owned()).spawn(move || watch(&watched))?;
        Ok(Sentinel { shared, thread: Mutex::new(Some(thread)) })
    }

    /// The stalls that ended after `since`. A stall that has only just ended may not have been noticed by its thread
    /// yet, so the clock is looked at here, too.
    pub(crate) fn stalls(&self, since: Time) -> Vec<Stall> {
        let mut state = lock(&self.shared.state);
        state.look(Clock::Real.now());
        state.stalls.iter().filter(|stall| stall.until > since).copied().collect()
    }

    pub(crate) fn stop(&self) {
        lock(&self.shared.state).stop = true;
        self.shared.stopped.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // It has nothing in it that panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.stop();
    }
}

fn watch(shared: &Shared) {
    let mut state = lock(&shared.state);
    while !state.stop {
        state.look(Clock::Real.now());
        (state, _) = shared.stopped.wait_timeout(state, PERIOD).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_late_look_is_a_stall_and_an_ordinary_one_is_not() {
        let mut state = State::default();
        for millis in [0, 10, 25, 325, 335] {
            state.look(at(millis));
        }
        assert_eq!(state.stalls, [Stall { from: at(25), until: at(325) }]);
        assert_eq!(state.stalls[0].length(), Duration::from_millis(300));
    }

    #[test]
    fn its_thread_ends_when_it_is_stopped() {
        let sentinel = Sentinel::start().expect("a thread");
        sentinel.stop();
        assert!(lock(&sentinel.thread).is_none());
        sentinel.stop();
    }
}
