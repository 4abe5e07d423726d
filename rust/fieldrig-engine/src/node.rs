//! A node: an endpoint with its ports, as its user sees it.
//!
//! Rules of this file:
//! - Commands enter only through [`Node::with`], [`Node::wait`] and [`Node::call`]; each leases the node to the calling
//!   thread, and the owner thread has it back on every way out.
//! - Events are drained by whoever drives; they wait in the queue of the node, bounded, for whoever takes them.
//! - A blocking call asks `go_on` at least every 20 ms of real time, on virtual time also at first and after
//!   code of the user, and drives timed ports at least every millisecond.
//! - Who waits at a line for longer than a millisecond does so with the priority of its line thread, and that thread has
//!   the port while he is asked whether he goes on: a busy host, or Python, keeps nobody from stamping what arrives.
//! - Timed sends are left to the line thread, and a node that somebody else queues for is left to him: the caller then
//!   looks on, and is told of every pass.

use crate::acting::{Acting, NobodysGate, Right};
use crate::clock::Clock;
use crate::drive::ceiling::Ceiling;
use crate::drive::owner::{Driven, Due, OwnerGate, TICK};
use crate::drive::sim::{Moved, Sim};
use crate::drive::step::{Check, Driver};
use crate::drive::sys;
use crate::drive::watchdog::Watched;
use crate::drive::wires::LostPort;
use crate::drive::{Gate, Sent, Timing};
use crate::error::EngineError;
use crate::lease::{Held, Lease, Refusal, SLICE, Tenant};
use crate::log::RunLog;
use fieldrig_proto::endpoint::Endpoint;
use fieldrig_proto::time::{Duration, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who stands by looks this often whether the node is stuck.
const LOOKS: Duration = Duration::from_secs(1);

/// What a blocking request came to.
#[derive(Clone, Debug)]
pub struct Called<R> {
    /// What `check` gave; `None`: the time was over.
    pub outcome: Option<R>,
    /// The first send that the command caused, if it caused one.
    pub sent: Option<Sent>,
}

/// Why a node is down, as far as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Ports that went away and have not come back.
    pub lost: Vec<LostPort>,
    /// Why its endpoint is not called any more.
    pub stuck: Option<String>,
    /// Events that nobody took before the queue was full.
    pub overflowed: u64,
}

impl<E: Endpoint> Tenant for Driver<E> {
    /// Nobody waits for it on virtual time: the simulation asks each node itself.
    fn deadline(&mut self) -> u64 {
        if self.wires.is_virtual() { u64::MAX } else { self.next() }
    }

    fn shut(&mut self) {
        self.wires.shut(true);
    }
}

/// Everything of a node that clones share.
pub(crate) struct Inner<E: Endpoint> {
    pub(crate) name: String,
    pub(crate) lease: Lease<Driver<E>, OwnerGate>,
    pub(crate) acting: Lease<Acting, NobodysGate>,
    pub(crate) addresses: BTreeMap<String, String>,
    pub(crate) log: RunLog,
    pub(crate) sim: Option<Arc<Sim>>,
    pub(crate) timed: bool,
    /// What is known of its line thread.
    pub(crate) watched: Arc<Watched>,
    pub(crate) line_thread: Mutex<Option<Arc<crate::drive::owner::Owner>>>,
    pub(crate) progress: Progress,
    pub(crate) left: AtomicBool,
}

/// Tells callers that look on that somebody did something. No lock: a line thread must not wait for them.
#[derive(Default)]
pub(crate) struct Progress {
    count: AtomicU32,
    watchers: AtomicUsize,
}

impl Progress {
    fn bump(&self) {
        if self.watchers.load(Ordering::SeqCst) > 0 {
            self.count.fetch_add(1, Ordering::SeqCst);
            sys::wake_all_at(&self.count);
        }
    }
}

/// A node that a caller has, with the priority that he needs for that; the node goes first.
struct Lent<'a, E: Endpoint> {
    held: Held<'a, Driver<E>, OwnerGate>,
    ceiling: Option<Ceiling>,
}

impl<'a, E: Endpoint> Deref for Lent<'a, E> {
    type Target = Held<'a, Driver<E>, OwnerGate>;
    fn deref(&self) -> &Self::Target {
        &self.held
    }
}

impl<E: Endpoint> DerefMut for Lent<'_, E> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.held
    }
}

/// With a deadline nearer than this, who enters has the priority of the line thread.
const NEAR: Duration = Duration::from_millis(20);

/// An endpoint with its ports. Clones are the same node; when the last is dropped it closes.
pub struct Node<E: Endpoint + Send + 'static>
where
    E::Event: Clone + Send,
{
    shared: Arc<Handle<E>>,
}

/// Closes the node when the last handle is gone; the owner thread has the inner part only.
struct Handle<E: Endpoint + Send + 'static>
where
    E::Event: Clone + Send,
{
    inner: Arc<Inner<E>>,
}

impl<E: Endpoint + Send + 'static> Drop for Handle<E>
where
    E::Event: Clone + Send,
{
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl<E: Endpoint + Send + 'static> Clone for Node<E>
where
    E::Event: Clone + Send,
{
    fn clone(&self) -> Self {
        Node { shared: Arc::clone(&self.shared) }
    }
}

impl<E: Endpoint + Send + 'static> std::fmt::Debug for Node<E>
where
    E::Event: Clone + Send,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.shared.inner.name).finish_non_exhaustive()
    }
}

impl<E: Endpoint + Send + 'static> Node<E>
where
    E::Event: Clone + Send,
{
    pub(crate) fn new(inner: Arc<Inner<E>>) -> Node<E> {
        Node { shared: Arc::new(Handle { inner }) }
    }

    fn inner(&self) -> &Inner<E> {
        &self.shared.inner
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner().name
    }

    /// Where the port bound as `via` can be reached: `127.0.0.1:40233`, `/dev/pts/7`.
    #[must_use]
    pub fn address(&self, via: &str) -> Option<String> {
        self.inner().addresses.get(via).cloned()
    }

    /// Runs a command and the pass that carries it out.
    ///
    /// # Errors
    /// The node is closed or stuck, or this thread drives it already.
    pub fn with<R>(&self, command: impl FnOnce(&mut E, Time) -> R) -> Result<(R, Option<Sent>), EngineError> {
        self.with_while(command, &mut || true)
    }

    /// [`Node::with`] that can be given up: `go_on` is asked every 20 ms while others have the node.
    ///
    /// # Errors
    /// Those of [`Node::with`]; `go_on` said no.
    pub fn with_while<R>(
        &self,
        command: impl FnOnce(&mut E, Time) -> R,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(R, Option<Sent>), EngineError> {
        let inner = self.inner();
        let (_right, mut held) = inner.enter_to_act(go_on)?;
        let result = held.command(command);
        held.log_events(&inner.log, &inner.name);
        let result = result.ok_or_else(|| inner.stuck(&held))?;
        let sent = held.wires.watched_send();
        inner.leave(held);
        inner.settle_virtual()?;
        Ok((result, sent))
    }

    /// Takes what has arrived by now. On virtual time everything has been taken already.
    ///
    /// # Errors
    /// The node is closed or stuck; this thread drives it already.
    pub fn look(&self) -> Result<(), EngineError> {
        let inner = self.inner();
        let mut held = inner.enter(&mut || true)?;
        inner.look(&mut held);
        held.log_events(&inner.log, &inner.name);
        inner.leave(held);
        Ok(())
    }

    /// Drives the node until `check` gives something (`Some`) or `deadline` is over (`None`); what has arrived by then is
    /// taken first, also if it was over before. Whoever queues for the
    /// node meanwhile gets a turn; `check` must leave the events of others in the queue.
    ///
    /// # Errors
    /// `go_on` said no; the node is closed, stuck, or has lost all its ports; this thread drives it already.
    pub fn wait<R>(
        &self,
        deadline: Time,
        mut check: impl FnMut(&mut E, &mut VecDeque<E::Event>, Time) -> Option<R>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<R>, EngineError> {
        let inner = self.inner();
        let mut held = inner.enter(go_on)?;
        // `check` may drop what it has no use for.
        held.log_events(&inner.log, &inner.name);
        if held.wires_now() >= deadline {
            inner.look(&mut held);
            held.log_events(&inner.log, &inner.name);
        }
        inner.drive(held, Until { deadline, polite: true, sent: false }, &mut check, go_on)
    }

    /// A command and the wait for what comes of it: the quick way of a blocking request. `within` counts from the command.
    /// Others who command queue until it is done.
    ///
    /// # Errors
    /// Those of the command (inner), and those of [`Node::wait`].
    pub fn call<T, X, R>(
        &self,
        command: impl FnOnce(&mut E, Time) -> Result<T, X>,
        within: Duration,
        mut check: impl FnMut(&T, &mut E, &mut VecDeque<E::Event>, Time) -> Option<R>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Result<Called<R>, X>, EngineError> {
        let inner = self.inner();
        let (_right, mut held) = inner.enter_to_act(go_on)?;
        if inner.sim.is_none() {
            held.disarm();
        }
        let begun = held.wires_now();
        let ticket = match held.command(command).ok_or_else(|| inner.stuck(&held))? {
            Ok(ticket) => ticket,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut sent = held.wires.watched_send();
        let deadline = begun + within;
        let mut check =
            |endpoint: &mut E, events: &mut VecDeque<E::Event>, now: Time| check(&ticket, endpoint, events, now);
        let outcome =
            inner.drive_watching(held, Until { deadline, polite: false, sent: false }, &mut check, go_on, &mut sent)?;
        Ok(Ok(Called { outcome, sent }))
    }

    /// A command and the wait until the first send that it causes has happened; others who command queue. `within` counts from the
    /// command; when it is over, the send still waits (`returned` is `None`). `None`: the command caused no send.
    /// The ports are looked at right before the command, so that what answers it surely came after this call.
    ///
    /// # Errors
    /// Those of the command (inner), and those of [`Node::wait`].
    pub fn send<X>(
        &self,
        command: impl FnOnce(&mut E, Time) -> Result<(), X>,
        within: Duration,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Result<Option<Sent>, X>, EngineError> {
        let inner = self.inner();
        let (_right, mut held) = inner.enter_to_act(go_on)?;
        inner.look(&mut held);
        let begun = held.wires_now();
        if let Err(refused) = held.command(command).ok_or_else(|| inner.stuck(&held))? {
            return Ok(Err(refused));
        }
        let mut sent = held.wires.watched_send();
        let until = Until { deadline: begun + within, polite: false, sent: true };
        inner.drive_watching(held, until, &mut |_, _, _| None::<()>, go_on, &mut sent)?;
        Ok(Ok(sent))
    }

    /// Takes the link of the port bound as `via` down ([`Gate::Refused`], [`Gate::Stalled`]), or up again
    /// ([`Gate::Open`]); gives the instant. Links of other names go on. It is in the run log as `link.gate`.
    ///
    /// # Errors
    /// No port is bound under this name; the node is closed or stuck, or this thread drives it already.
    pub fn gate(&self, via: &str, gate: Gate) -> Result<Time, EngineError> {
        let inner = self.inner();
        let (_right, mut held) = inner.enter_to_act(&mut || true)?;
        let done = held.gate(via, gate);
        held.log_events(&inner.log, &inner.name);
        let at = done.ok_or_else(|| inner.stuck(&held))?;
        inner.leave(held);
        inner.settle_virtual()?;
        at.ok_or_else(|| EngineError::Machine { what: format!("{}: there is no port `{via}`", inner.name) })
    }

    /// Waits until `over` is set or `deadline` is over, without taking part: for what the owner thread does alone, so that
    /// nobody who was interrupted in the middle of a look keeps it from its port. Only a node with a line on real time has
    /// a thread for that; others are to be driven, with [`Node::wait`].
    ///
    /// # Errors
    /// Those of [`Node::wait`].
    pub fn stand_by(
        &self,
        over: &AtomicBool,
        deadline: Time,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), EngineError> {
        let inner = self.inner();
        let clock = crate::clock::Clock::Real;
        let (mut asked, mut looked) = (clock.now(), clock.now());
        while !over.load(Ordering::Acquire) {
            let now = clock.now();
            if now >= deadline {
                return Ok(());
            }
            if inner.lease.is_closed() {
                return Err(inner.stopped());
            }
            if now.since(asked) >= SLICE {
                asked = now;
                if !go_on() {
                    return Err(EngineError::Interrupted);
                }
            }
            if now.since(looked) >= LOOKS {
                looked = now;
                self.wait(Time::ZERO, |_, _, _| Some(()), go_on)?;
            }
            std::thread::sleep(deadline.since(now).min(TICK));
        }
        Ok(())
    }

    /// Whether a line thread drives it.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.inner().timed && self.inner().sim.is_none()
    }

    /// So long may bytes have waited in the machinery of its ports before a look could find them; zero on virtual time.
    ///
    /// # Errors
    /// The node is closed, or this thread drives it.
    pub fn resolution(&self) -> Result<Duration, EngineError> {
        let inner = self.inner();
        let held = inner.enter(&mut || true)?;
        let found = held.wires.resolution();
        inner.leave(held);
        Ok(found)
    }

    /// The last timed sends, oldest first: when each was due and when it happened.
    ///
    /// # Errors
    /// The node is closed, or this thread drives it.
    pub fn timed_sends(&self) -> Result<Vec<Sent>, EngineError> {
        Ok(self.inner().enter(&mut || true)?.wires.timed_sends())
    }

    /// How well the host lets the line thread of this node meet deadlines; `None` for nodes without a line.
    #[must_use]
    pub fn timing(&self) -> Option<Timing> {
        self.inner().watched.timing()
    }

    /// Lost ports and such: why this node is down, if it is.
    ///
    /// # Errors
    /// The node is closed, or this thread drives it.
    pub fn faults(&self) -> Result<Faults, EngineError> {
        let held = self.inner().enter(&mut || true)?;
        Ok(Faults { lost: held.wires.lost_ports().to_vec(), stuck: held.stuck.clone(), overflowed: held.overflowed })
    }

    /// Closes its ports and ends its thread. Whoever waits for it is told. Calling it again does nothing.
    pub fn close(&self) {
        self.inner().close();
    }
}

/// When a wait ends, and whether it lets others in.
#[derive(Copy, Clone)]
struct Until {
    deadline: Time,
    polite: bool,
    /// It ends with the send that is watched.
    sent: bool,
}

impl<E: Endpoint> Driver<E> {
    fn wires_now(&self) -> Time {
        self.wires.now()
    }

    /// When it wants to be driven; `u64::MAX` for never.
    fn next(&mut self) -> u64 {
        Driver::deadline(self).map_or(u64::MAX, Time::as_nanos)
    }
}

impl<E: Endpoint + Send + 'static> Inner<E>
where
    E::Event: Clone + Send,
{
    fn enter(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Lent<'_, E>, EngineError> {
        let ceiling = self.deadline_is_near().then(Ceiling::raise).flatten();
        let held = self.lease.enter(go_on).map_err(|refusal| self.refused(refusal))?;
        Ok(Lent { held, ceiling })
    }

    fn refused(&self, refusal: Refusal) -> EngineError {
        match refusal {
            Refusal::Interrupted => EngineError::Interrupted,
            Refusal::Reentered => EngineError::Reentered { node: self.name.clone() },
            Refusal::Closed => EngineError::Stopped { node: self.name.clone() },
        }
    }

    /// Whether its line thread, with real-time scheduling, has something to do soon.
    fn deadline_is_near(&self) -> bool {
        let near = || self.lease.gate().exact_deadline() <= (Clock::Real.now() + NEAR).as_nanos();
        self.has_real_time() && near()
    }

    fn has_real_time(&self) -> bool {
        self.timed && self.watched.is_real_time()
    }

    /// [`Inner::enter`] for something that the caller does: on virtual time it comes surely after everything that arrived.
    /// Who comes after him waits until he gives the right back, in order of arrival.
    fn enter_to_act(&self, go_on: &mut dyn FnMut() -> bool) -> Result<(Right<'_>, Lent<'_, E>), EngineError> {
        let Some(sim) = &self.sim else {
            let right = self.acting.enter(go_on).map_err(|refusal| self.refused(refusal))?;
            return Ok((Some(right), self.enter(go_on)?));
        };
        let held = self.enter(go_on)?;
        sim.instant();
        Ok((None, held))
    }

    /// Takes what has arrived, without waiting; from here on the ports are known to be empty. Virtual time has nothing to
    /// look at: there, everything has arrived when its instant comes.
    fn look(&self, held: &mut Lent<'_, E>) {
        if self.sim.is_none() {
            held.wait_and_pass(Duration::ZERO);
        }
    }

    fn stuck(&self, held: &Lent<'_, E>) -> EngineError {
        let what = held.stuck.clone().unwrap_or_default();
        EngineError::Stuck { node: self.name.clone(), what }
    }

    fn stopped(&self) -> EngineError {
        EngineError::Stopped { node: self.name.clone() }
    }

    /// In virtual time, what a command caused at this instant happens before it returns.
    fn settle_virtual(&self) -> Result<(), EngineError> {
        self.sim.as_ref().map_or(Ok(()), |sim| sim.settle().map(drop))
    }

    fn drive<R>(
        &self,
        held: Lent<'_, E>,
        until: Until,
        check: Check<'_, E, R>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<R>, EngineError> {
        self.drive_watching(held, until, check, go_on, &mut None)
    }

    /// Drives until `check` gives something. `sent`, if it is a send that waits, is completed when it happens.
    fn drive_watching<'a, R>(
        &'a self,
        mut held: Lent<'a, E>,
        until: Until,
        check: Check<'_, E, R>,
        go_on: &mut dyn FnMut() -> bool,
        sent: &mut Option<Sent>,
    ) -> Result<Option<R>, EngineError> {
        let begun = held.wires_now();
        let mut asked = self.sim.is_none().then_some(begun);
        // Whoever comes with a deadline that is over has looked already.
        let mut looked_at_the_end = self.sim.is_some() || begun >= until.deadline;
        loop {
            let found = held.check(check);
            // When something came of it, it is known when it left.
            if sent.is_some_and(|sent| sent.returned.is_none() || found.is_some()) {
                *sent = held.wires.watched_send();
            }
            if held.stuck.is_some() {
                return Err(self.stuck(&held));
            }
            let now = held.wires_now();
            let left = until.sent && sent.is_none_or(|sent| sent.returned.is_some());
            // A stop ends a wait with nothing found, and may be longer than what is left: what came in it is there.
            if found.is_none() && !left && now >= until.deadline && !looked_at_the_end {
                looked_at_the_end = true;
                self.look(&mut held);
                continue;
            }
            if found.is_some() || left || now >= until.deadline {
                held.log_events(&self.log, &self.name);
                self.leave(held);
                return Ok(found);
            }
            if let Some(error) = self.hopeless(&mut held) {
                return Err(error);
            }
            // Who may stop it waits in real time.
            let (real, ran_code) = self.sim.as_ref().map_or((now, false), |sim| (Clock::Real.now(), sim.ran_code()));
            if ran_code || asked.is_none_or(|asked| real.since(asked) >= SLICE) {
                asked = Some(real);
                held.log_events(&self.log, &self.name);
                if self.timed && self.sim.is_none() {
                    held = self.ask(held, go_on)?;
                    // What came meanwhile is here already.
                    continue;
                }
                if !go_on() {
                    return Err(EngineError::Interrupted);
                }
            }
            // Not for an answer that comes at once: to be raised costs more than a round trip has to spare.
            if held.ceiling.is_none() && now.since(begun) >= TICK && self.has_real_time() {
                held.ceiling = Ceiling::raise();
            }
            held = self.advance(held, until, go_on)?;
        }
    }

    /// Asks whether the caller goes on. To answer may take its time (the GIL), which a line has not: its thread has it
    /// meanwhile.
    fn ask<'a>(&'a self, mut held: Lent<'a, E>, go_on: &mut dyn FnMut() -> bool) -> Result<Lent<'a, E>, EngineError> {
        held.rearm();
        drop(held);
        if go_on() { self.enter(go_on) } else { Err(EngineError::Interrupted) }
    }

    /// Why waiting has no sense any more.
    fn hopeless(&self, held: &mut Lent<'_, E>) -> Option<EngineError> {
        if held.is_closed() {
            return Some(self.stopped());
        }
        if !held.wires.is_dead() || held.endpoint_waits() {
            return None;
        }
        let lost = held.wires.lost_ports().last().cloned();
        lost.map(|lost| EngineError::Lost { url: lost.url, reason: lost.reason, at: lost.at })
    }

    /// Lets time pass: drives on this thread, or looks on, or moves virtual time.
    fn advance<'a>(
        &'a self,
        mut held: Lent<'a, E>,
        until: Until,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Lent<'a, E>, EngineError> {
        if let Some(sim) = &self.sim {
            held.log_events(&self.log, &self.name);
            drop(held);
            if sim.move_on(until.deadline)? == Moved::ToLimit {
                sim.settle()?;
            }
            return self.enter(go_on);
        }
        let left_to_owner = self.timed && held.wires.has_timed_output();
        if left_to_owner || (until.polite && held.is_wanted()) {
            held.log_events(&self.log, &self.name);
            self.look_on(held, until.deadline);
            return self.enter(go_on);
        }
        held.disarm();
        let now = held.wires_now();
        let due = Driver::deadline(&mut held).unwrap_or(Time::FAR).min(until.deadline);
        let slice = if self.timed { TICK } else { SLICE };
        let limit = due.since(now).min(slice);
        if until.polite {
            if held.wait_and_pass(limit) {
                self.progress.bump();
            }
        } else {
            held.wait_for_answer(limit);
        }
        Ok(held)
    }

    /// Lets go of the node, and waits until others did something with it, at most one slice.
    fn look_on(&self, held: Lent<'_, E>, deadline: Time) {
        let progress = &self.progress;
        progress.watchers.fetch_add(1, Ordering::SeqCst);
        let seen = progress.count.load(Ordering::SeqCst);
        drop(held);
        let left = deadline.since(Clock::Real.now()).min(SLICE);
        // Whether it was told or the time is over makes no difference: the caller looks either way.
        sys::wait_at(&progress.count, seen, left);
        progress.watchers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Lets go of the node, and tells those who look on.
    fn leave(&self, held: Lent<'_, E>) {
        drop(held);
        self.progress.bump();
    }

    pub(crate) fn close(&self) {
        self.lease.close();
        if !self.left.swap(true, Ordering::SeqCst) {
            self.lease.gate().leave();
            let line = self.line_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(line) = line {
                line.stop();
            }
            self.progress.bump();
        }
    }
}

impl<E: Endpoint + Send + 'static> Driven for Inner<E>
where
    E::Event: Clone + Send,
{
    fn deadline(&self) -> u64 {
        match (&self.sim, self.lease.gate().deadline()) {
            // Other nodes may have put something on a wire in memory since.
            (Some(_), _) => self.lease.try_enter().map_or(u64::MAX, |mut held| held.next()),
            (None, deadline) => deadline,
        }
    }

    fn drive(&self, woken_for: Time) {
        if let Some(mut held) = self.lease.try_enter() {
            // Who looks on at a line need not look again each millisecond: he would be in the way.
            let news = if self.timed {
                held.tick(woken_for)
            } else {
                held.wait_and_pass(Duration::ZERO);
                true
            };
            held.log_events(&self.log, &self.name);
            drop(held);
            if news {
                self.progress.bump();
            }
        }
    }

    fn timing(&self) -> Option<Timing> {
        self.watched.timing()
    }

    fn exact_deadline(&self) -> u64 {
        self.lease.gate().exact_deadline()
    }

    fn close(&self) {
        Inner::close(self);
    }

    fn drive_due(&self, now: Time) -> Due {
        let Some(mut held) = self.lease.try_enter() else { return Due::At(u64::MAX) };
        let next = held.next();
        if next > now.as_nanos() {
            return Due::At(next);
        }
        let before = held.inputs();
        held.pass(&[]);
        if let Some(sim) = self.sim.as_ref().filter(|_| held.inputs() != before) {
            sim.heard();
        }
        held.log_events(&self.log, &self.name);
        Due::Done
    }
}
