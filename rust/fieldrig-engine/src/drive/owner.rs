//! Owner threads: the reactor, which owns all nodes of sockets, and line threads, which own one node with a line each.
//!
//! Every open port is always owned: what arrives while nobody waits is read, stamped, answered and captured here. Both
//! are the same loop; a line thread also looks at least every millisecond and meets deadlines by spinning.

use super::ladder::Timing;
use super::line::Precision;
use super::sys::{self, Epoll, Kick, Ready};
use crate::clock::Clock;
use crate::lease::{Alarm, AtomicDeadline, Gate};
use fieldrig_proto::time::{Duration, Time};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A line is looked at this often, so that arrival intervals stay narrow.
pub(crate) const TICK: Duration = Duration::from_millis(1);

const KICK: u64 = u64::MAX;

/// A node, as its owner sees it.
pub(crate) trait Driven: Send + Sync {
    /// When it wants to be driven; `u64::MAX` for never.
    fn deadline(&self) -> u64;
    /// One pass, if nobody else drives it. What is due by `woken_for`, a moment ahead, is done at its instant in this pass.
    fn drive(&self, woken_for: Time);
    /// When it is due by its own endpoint or output, and not only to be looked at; `u64::MAX` for never.
    fn exact_deadline(&self) -> u64;
    /// How well its line thread meets deadlines, once that is known; `None` without a line.
    fn timing(&self) -> Option<Timing>;
    /// Closes it.
    fn close(&self);
    /// In virtual time: one pass if something is due. Otherwise, when something will be; `u64::MAX` for never.
    fn drive_due(&self, now: Time) -> Due;
}

/// What a node has to do at an instant of virtual time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Something was due, and is done.
    Done,
    /// Nothing until then.
    At(u64),
}

/// What an owner thread shares with those who lease from it.
pub(crate) struct Owner {
    epoll: Epoll,
    kick: Kick,
    alarm: Alarm,
    nodes: Mutex<Vec<(u64, Arc<dyn Driven>)>>,
    generation: AtomicU64,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    /// Starts an owner thread.
    pub(crate) fn start(name: &str, precision: Option<Precision>) -> io::Result<Arc<Owner>> {
        let epoll = Epoll::new()?;
        let kick = Kick::new()?;
        epoll.add(kick.fd(), sys::IN, KICK)?;
        let owner = Arc::new(Owner {
            epoll,
            kick,
            alarm: Alarm::new(),
            nodes: Mutex::default(),
            generation: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let shared = Arc::clone(&owner);
        // The name of a thread is a C string, and the user names what it serves.
        let thread = std::thread::Builder::new().name(name.replace('\0', "?")).spawn(move || shared.run(precision))?;
        *lock(&owner.thread) = Some(thread);
        Ok(owner)
    }

    /// Adds a node whose readiness is that of `fd`.
    pub(crate) fn add(&self, token: u64, fd: RawFd, node: Arc<dyn Driven>) -> io::Result<()> {
        lock(&self.nodes).push((token, node));
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.epoll.add(fd, sys::IN, token)?;
        self.kick.kick();
        Ok(())
    }

    /// Forgets a node.
    pub(crate) fn remove(&self, token: u64, fd: RawFd) {
        self.epoll.remove(fd);
        lock(&self.nodes).retain(|(known, _)| *known != token);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.kick.kick();
    }

    /// Ends the thread and waits for it, unless it is the one that asks.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.kick.kick();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was caught where it matters, in the step; nothing is left to tell here.
            let _ = thread.join();
        }
        lock(&self.nodes).clear();
    }

    fn run(&self, mut precision: Option<Precision>) {
        // First: it may be held while it sets itself up, too.
        let mut beat = precision.as_ref().map(Precision::heartbeat);
        if let Some(precision) = &mut precision {
            precision.set_up();
        }
        let mut nodes: Vec<(u64, Arc<dyn Driven>)> = Vec::new();
        let mut known = 0;
        let mut ready: Vec<Ready> = Vec::with_capacity(64);
        while !self.stop.load(Ordering::SeqCst) {
            let generation = self.generation.load(Ordering::SeqCst);
            if generation != known {
                nodes.clone_from(&lock(&self.nodes));
                known = generation;
            }
            let earliest = || nodes.iter().map(|(_, node)| node.deadline()).min().unwrap_or(u64::MAX);
            let Some(until) = self.alarm.sleep(earliest) else { continue };
            if let Some(beat) = &mut beat {
                let now = Clock::Real.now();
                beat.waits(now, Time::from_nanos(until).clamp(now, now + TICK));
            }
            let woken_for = self.sleep(until, &mut ready, precision.as_mut(), &nodes);
            self.alarm.awake();
            if let Some(beat) = &mut beat {
                beat.works(Clock::Real.now());
            }
            self.serve(&ready, &nodes, precision.is_some(), woken_for);
        }
    }

    /// Gives the deadline that is a moment ahead, to be met by spinning; [`Time::ZERO`] if there is none.
    fn sleep(
        &self,
        until: u64,
        ready: &mut Vec<Ready>,
        precision: Option<&mut Precision>,
        nodes: &[(u64, Arc<dyn Driven>)],
    ) -> Time {
        let now = Clock::Real.now();
        let left = (until != u64::MAX).then(|| Time::from_nanos(until).since(now));
        let Some(precision) = precision else {
            self.epoll.wait(ready, left);
            return Time::ZERO;
        };
        let exact = nodes.iter().any(|(_, node)| node.exact_deadline() == until);
        match left.filter(|left| exact && *left <= TICK) {
            Some(_) => {
                let due = Time::from_nanos(until);
                let approached = precision.approach(due, |left| {
                    self.epoll.wait(ready, Some(left));
                    ready.is_empty()
                });
                if approached { due } else { Time::ZERO }
            }
            None => {
                if exact && left.is_some() {
                    precision.look_at_the_host(now);
                }
                self.epoll.wait(ready, Some(left.map_or(TICK, |left| left.min(TICK))));
                Time::ZERO
            }
        }
    }

    fn serve(&self, ready: &[Ready], nodes: &[(u64, Arc<dyn Driven>)], always: bool, woken_for: Time) {
        for event in ready {
            if event.token == KICK {
                self.kick.take();
            } else if let Some((_, node)) = nodes.iter().find(|(token, _)| *token == event.token) {
                node.drive(Time::ZERO);
            }
        }
        let now = Clock::Real.now().as_nanos();
        for (token, node) in nodes {
            let idle = always && !ready.iter().any(|event| event.token == *token);
            if idle || node.deadline() <= now {
                node.drive(woken_for);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a port stays disarmed after a call, since the next call often follows at once.
const MOMENT: Duration = Duration::from_millis(2);

fn in_a_moment() -> u64 {
    (Clock::Real.now() + MOMENT).as_nanos()
}

/// How a lease tells the owner of its node.
pub(crate) struct OwnerGate {
    owner: Option<Arc<Owner>>,
    token: u64,
    fd: RawFd,
    deadline: AtomicDeadline,
    /// The deadline that the node itself has; the other one may be earlier.
    exact: AtomicU64,
    node_kick: Arc<Kick>,
}

impl OwnerGate {
    /// A gate to `owner`; without one (virtual time) it only keeps the deadline.
    pub(crate) fn new(owner: Option<Arc<Owner>>, token: u64, fd: RawFd, node_kick: Arc<Kick>) -> OwnerGate {
        OwnerGate { owner, token, fd, deadline: AtomicDeadline::new(), exact: AtomicU64::new(u64::MAX), node_kick }
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.read()
    }

    /// The deadline that the node itself has; `u64::MAX` for none, and while a caller drives it.
    pub(crate) fn exact_deadline(&self) -> u64 {
        self.exact.load(Ordering::Relaxed)
    }

    /// The owner comes by at this instant.
    fn come_by(&self, deadline: u64) {
        match &self.owner {
            Some(owner) => {
                if owner.alarm.is_too_late_for(&self.deadline, deadline) {
                    owner.kick.kick();
                }
            }
            None => {
                let _ = Alarm::new().is_too_late_for(&self.deadline, deadline);
            }
        }
    }

    /// The owner forgets the node.
    pub(crate) fn leave(&self) {
        if let Some(owner) = &self.owner {
            owner.remove(self.token, self.fd);
        }
    }
}

impl Gate for OwnerGate {
    fn disarm(&self) {
        if let Some(owner) = &self.owner {
            // Fails only once the node has left its owner.
            let _ = owner.epoll.modify(self.fd, 0, self.token);
        }
    }

    fn rearm(&self) {
        if let Some(owner) = &self.owner {
            // As above.
            let _ = owner.epoll.modify(self.fd, sys::IN, self.token);
        }
    }

    fn schedule(&self, deadline: u64) {
        // A hint on how to wait; when to wake is settled by the alarm.
        self.exact.store(deadline, Ordering::Relaxed);
        self.come_by(deadline);
    }

    fn linger(&self, deadline: u64) {
        // Never later than it was going to come anyhow: callers that come more often than a moment lasts (a test that
        // sets points all the time) would otherwise put it off for ever, and nobody would serve the port.
        self.exact.store(deadline, Ordering::Relaxed);
        self.come_by(deadline.min(in_a_moment()).min(self.deadline.read()));
    }

    fn stand_back(&self) {
        // Looks again in a moment by itself, so that a caller who leaves within that time need not wake it.
        self.exact.store(u64::MAX, Ordering::Relaxed);
        self.come_by(in_a_moment());
    }

    fn nudge(&self) {
        self.node_kick.kick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_come_all_the_time_do_not_put_the_owner_off() {
        let kick = Arc::new(Kick::new().expect("an eventfd"));
        let gate = OwnerGate::new(None, 1, -1, kick);
        gate.linger(u64::MAX);
        let first = gate.deadline();
        for _ in 0..100 {
            gate.linger(u64::MAX);
        }
        assert_eq!(gate.deadline(), first);
        gate.linger(7);
        assert_eq!(gate.deadline(), 7);
    }
}
