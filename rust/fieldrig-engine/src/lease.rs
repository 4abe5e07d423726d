//! The lease: who drives a node now, the owner thread or a caller.
//!
//! ```text
//!            +--------- armed, idle ---------+
//!   owner: try_enter                 caller: enter (in the order of arrival)
//!            |                               |
//!        one pass                  disarm, drive as long as it takes
//!            |                               |
//!            |                release: next in the queue, or tell the owner to come by soon (linger)
//!            +-- release: re-arm, tell the owner the next deadline
//! ```
//!
//! Rules of this file, checked by `tests/loom_lease.rs` on this very code:
//! - At most one driver at a time.
//! - Callers come in order of arrival. The owner never waits: if somebody drives or queues, it stands back, and disarms
//!   itself so that it is not woken for nothing.
//! - A lease that is idle and not closed is armed, or the owner is bound to come by and arm it, on whatever path its last
//!   driver left, panics included; and the owner knows its deadline. Arming is left to the owner because the next call
//!   often follows at once: two system calls less for each.
//! - Closing wakes everybody who queues. The value is shut once, by the closer or by the driver it waits for.

use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, PoisonError, ThreadId, current, fence};
use std::collections::VecDeque;
use std::time::Duration;

/// A caller that queues looks this often whether it shall go on.
pub const SLICE: Duration = Duration::from_millis(20);

/// How the owner thread is told. Called with the queue locked: short, and never back into the lease.
pub trait Gate {
    /// The owner is not to be woken by input any more.
    fn disarm(&self);
    /// The owner is to be woken by input again.
    fn rearm(&self);
    /// The owner is to call at this instant (`u64::MAX`: never), if nothing else comes first.
    fn schedule(&self, deadline: u64);
    /// A caller leaves: the owner is to come by in a moment, or at this instant if that is earlier, and arm itself then.
    fn linger(&self, deadline: u64);
    /// The owner stands back: it is told by [`Gate::linger`] or [`Gate::schedule`] when the others have left.
    fn stand_back(&self);
    /// Somebody queues: the driver may want to know.
    fn nudge(&self);
}

/// What is leased.
pub trait Tenant {
    /// When it wants to be driven at the latest; `u64::MAX` for never.
    fn deadline(&mut self) -> u64;
    /// The lease is closed: give up everything.
    fn shut(&mut self);
}

/// Why a caller does not get in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It was asked to stop while it queued.
    Interrupted,
    /// It drives already.
    Reentered,
    /// The lease is closed.
    Closed,
}

/// A value driven by one thread at a time.
pub struct Lease<T, G> {
    turn: Mutex<Turn>,
    changed: Condvar,
    value: Mutex<T>,
    gate: G,
}

struct Turn {
    driver: Option<ThreadId>,
    queue: VecDeque<u64>,
    next_ticket: u64,
    /// The driver is the owner.
    owner_drives: bool,
    armed: bool,
    closed: bool,
    shut: bool,
}

impl<T: Tenant, G: Gate> Lease<T, G> {
    /// A lease that is armed and idle.
    pub fn new(value: T, gate: G) -> Lease<T, G> {
        let queue = VecDeque::with_capacity(16);
        let turn =
            Turn { driver: None, queue, next_ticket: 0, owner_drives: false, armed: true, closed: false, shut: false };
        Lease { turn: Mutex::new(turn), changed: Condvar::new(), value: Mutex::new(value), gate }
    }

    /// The gate.
    pub fn gate(&self) -> &G {
        &self.gate
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.turn().closed
    }

    /// For callers: waits for its turn, in order of arrival. `go_on` is called every 20 ms while it queues.
    ///
    /// # Errors
    /// The lease is closed, `go_on` said no, or this thread drives already.
    pub fn enter(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held<'_, T, G>, Refusal> {
        let mut turn = self.turn();
        if turn.closed {
            return Err(Refusal::Closed);
        }
        let me = current().id();
        if turn.driver == Some(me) {
            return Err(Refusal::Reentered);
        }
        if turn.driver.is_some() || !turn.queue.is_empty() {
            turn = self.queue_up(turn, go_on)?;
        }
        turn.driver = Some(me);
        drop(turn);
        Ok(self.hold())
    }

    /// For the owner: in if nobody drives or queues. Otherwise the owner is disarmed until the last of them leaves.
    pub fn try_enter(&self) -> Option<Held<'_, T, G>> {
        let mut turn = self.turn();
        if turn.closed {
            return None;
        }
        if turn.driver.is_some() || !turn.queue.is_empty() {
            self.disarm(&mut turn);
            self.gate.stand_back();
            return None;
        }
        turn.driver = Some(current().id());
        turn.owner_drives = true;
        drop(turn);
        Some(self.hold())
    }

    /// Closes it: nobody comes in any more; waits until the value is shut, unless this thread drives it.
    pub fn close(&self) {
        let mut turn = self.turn();
        turn.closed = true;
        self.disarm(&mut turn);
        self.gate.nudge();
        self.changed.notify_all();
        if turn.driver == Some(current().id()) {
            return;
        }
        while turn.driver.is_some() {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if !turn.shut {
            turn.shut = true;
            self.value().shut();
        }
    }

    fn queue_up<'a>(
        &'a self,
        mut turn: MutexGuard<'a, Turn>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<MutexGuard<'a, Turn>, Refusal> {
        let ticket = turn.next_ticket;
        turn.next_ticket += 1;
        turn.queue.push_back(ticket);
        self.gate.nudge();
        loop {
            if turn.closed {
                turn.queue.retain(|waiting| *waiting != ticket);
                return Err(Refusal::Closed);
            }
            if turn.driver.is_none() && turn.queue.front() == Some(&ticket) {
                turn.queue.pop_front();
                return Ok(turn);
            }
            let (woken, _) = self.changed.wait_timeout(turn, SLICE).unwrap_or_else(PoisonError::into_inner);
            // Asked without the lock: the answer may take its time.
            drop(woken);
            let go_on = go_on();
            turn = self.turn();
            if !go_on {
                self.leave_queue(turn, ticket);
                return Err(Refusal::Interrupted);
            }
        }
    }

    /// Gives up a place in the queue. If nobody is left, what a release would have done is done here.
    fn leave_queue(&self, mut turn: MutexGuard<'_, Turn>, ticket: u64) {
        turn.queue.retain(|waiting| *waiting != ticket);
        if turn.driver.is_none() && turn.queue.is_empty() && !turn.closed {
            let deadline = self.value().deadline();
            self.arm(&mut turn, deadline);
        }
        self.changed.notify_all();
    }

    fn release(&self, mut value: MutexGuard<'_, T>) {
        let deadline = value.deadline();
        let mut turn = self.turn();
        let by_owner = std::mem::take(&mut turn.owner_drives);
        if turn.closed {
            if !turn.shut {
                turn.shut = true;
                value.shut();
            }
        } else if turn.queue.is_empty() {
            if turn.armed || by_owner {
                self.arm(&mut turn, deadline);
            } else {
                self.gate.linger(deadline);
            }
        }
        drop(value);
        turn.driver = None;
        if turn.closed || !turn.queue.is_empty() {
            self.changed.notify_all();
        }
    }

    fn arm(&self, turn: &mut Turn, deadline: u64) {
        if !turn.armed {
            turn.armed = true;
            self.gate.rearm();
        }
        self.gate.schedule(deadline);
    }

    fn disarm(&self, turn: &mut Turn) {
        if turn.armed {
            turn.armed = false;
            self.gate.disarm();
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self) -> Held<'_, T, G> {
        // The driver alone locks the value, so this never waits: what no driver would notice, the model check does.
        #[cfg(loom)]
        assert!(self.value.try_lock().is_ok(), "two drivers at a time");
        Held { lease: self, value: Some(self.value()) }
    }
}

/// The right to drive, until it is dropped.
pub struct Held<'a, T: Tenant, G: Gate> {
    lease: &'a Lease<T, G>,
    value: Option<MutexGuard<'a, T>>,
}

impl<T: Tenant, G: Gate> Held<'_, T, G> {
    /// The owner shall not be woken by the input that this driver waits for.
    pub fn disarm(&mut self) {
        let mut turn = self.lease.turn();
        self.lease.disarm(&mut turn);
    }

    /// The owner shall be woken by input as soon as this driver leaves.
    pub fn rearm(&mut self) {
        let mut turn = self.lease.turn();
        if !turn.armed && !turn.closed {
            turn.armed = true;
            self.lease.gate.rearm();
        }
    }

    /// Whether somebody queues.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.lease.turn().queue.is_empty()
    }

    /// Whether the lease was closed meanwhile: the driver should leave soon.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lease.turn().closed
    }
}

impl<T: Tenant, G: Gate> std::ops::Deref for Held<'_, T, G> {
    type Target = T;
    fn deref(&self) -> &T {
        // Only the drop takes the guard out.
        self.value.as_ref().expect("held until dropped")
    }
}

impl<T: Tenant, G: Gate> std::ops::DerefMut for Held<'_, T, G> {
    fn deref_mut(&mut self) -> &mut T {
        // Only the drop takes the guard out.
        self.value.as_mut().expect("held until dropped")
    }
}

impl<T: Tenant, G: Gate> Drop for Held<'_, T, G> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.lease.release(value);
        }
    }
}

/// Until when the owner thread sleeps, so that others wake it only if they have something earlier.
///
/// Both sides write first and look second, with a full fence between: whoever is second sees the other.
#[derive(Debug)]
pub struct Alarm {
    sleeping_until: AtomicU64,
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm::new()
    }
}

impl Alarm {
    /// The owner is awake.
    #[must_use]
    pub fn new() -> Alarm {
        Alarm { sleeping_until: AtomicU64::new(0) }
    }

    /// For the owner: the instant until which it may sleep, as `earliest` says; asked again after it announced it, and
    /// `None` if that became earlier meanwhile.
    pub fn sleep(&self, mut earliest: impl FnMut() -> u64) -> Option<u64> {
        let until = earliest();
        self.sleeping_until.store(until, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if earliest() < until {
            self.awake();
            return None;
        }
        Some(until)
    }

    /// For the owner: it is awake and will ask again before it sleeps.
    pub fn awake(&self) {
        self.sleeping_until.store(0, Ordering::Relaxed);
    }

    /// For others: `deadline` is stored and now in force. True if the owner has to be woken for it.
    #[must_use]
    pub fn is_too_late_for(&self, slot: &AtomicDeadline, deadline: u64) -> bool {
        slot.0.store(deadline, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        deadline < self.sleeping_until.load(Ordering::Relaxed)
    }
}

/// The deadline of one node, written by whoever drove it last, read by the owner.
#[derive(Debug)]
pub struct AtomicDeadline(AtomicU64);

impl Default for AtomicDeadline {
    fn default() -> AtomicDeadline {
        AtomicDeadline::new()
    }
}

impl AtomicDeadline {
    /// None yet.
    #[must_use]
    pub fn new() -> AtomicDeadline {
        AtomicDeadline(AtomicU64::new(u64::MAX))
    }

    /// The deadline; `u64::MAX` for none.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
