//! The simulation: all nodes of a rig on virtual time.
//!
//! Rules of this file:
//! - Time moves only inside blocking calls, to the next thing that is due. Code of the user takes no time.
//! - What is due at one instant runs in the order in which the nodes were opened, until nothing is due any more.
//! - What the caller does comes surely after everything that has arrived: if anything arrived at this very instant, it is
//!   done one nanosecond later ([`Sim::instant`]). Otherwise a message that came before an action, at the same instant,
//!   might as well have come after it.
//! - Code of the user may have met a Ctrl-C: who waits asks right after it ([`Sim::ran_code`]), so that it comes out at that
//!   instant. Otherwise he asks in slices of real time: to ask takes longer than most of what happens at one instant.
//! - Nodes that keep each other busy at one instant without end are reported, and so is time that cannot move on.

use super::owner::{Driven, Due};
use crate::clock::Clock;
use crate::error::EngineError;
use fieldrig_proto::time::{Duration, Time};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// More rounds than this at one instant are no progress.
const ROUNDS: usize = 100_000;

/// What came of moving on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Moved {
    /// Something happened, at the time that the clock shows now.
    On,
    /// Nothing is due before the limit, and the clock shows the limit.
    ToLimit,
}

/// Nothing is due any more.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Settled {
    /// Something was.
    busy: bool,
    /// When something will be; `u64::MAX` for never.
    next: u64,
}

/// A node in declared order.
struct Member<N> {
    node: N,
    /// It runs code of the user.
    runs_code: bool,
}

/// The nodes of a rig on virtual time.
pub(crate) struct Sim {
    clock: Clock,
    nodes: Mutex<Vec<Member<Weak<dyn Driven>>>>,
    /// Code of the user ran since somebody asked.
    ran_code: AtomicBool,
    /// The last instant at which bytes arrived somewhere.
    heard_at: AtomicU64,
}

impl Sim {
    pub(crate) fn new(clock: Clock) -> Sim {
        Sim { clock, nodes: Mutex::default(), ran_code: AtomicBool::new(false), heard_at: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn add(&self, node: &Arc<dyn Driven>, runs_code: bool) {
        self.nodes().push(Member { node: Arc::downgrade(node), runs_code });
    }

    /// Whether code of the user ran since the last call.
    pub(crate) fn ran_code(&self) -> bool {
        self.ran_code.swap(false, Ordering::Relaxed)
    }

    /// An instant for something that the caller does.
    pub(crate) fn instant(&self) -> Time {
        let now = self.clock.now();
        if self.heard_at.load(Ordering::SeqCst) == now.as_nanos() {
            self.clock.advance(now + Duration::from_nanos(1));
        }
        self.clock.now()
    }

    /// Bytes arrived now.
    pub(crate) fn heard(&self) {
        self.heard_at.store(self.clock.now().as_nanos(), Ordering::SeqCst);
    }

    /// Runs everything that is due now, in declared order.
    pub(crate) fn settle(&self) -> Result<Settled, EngineError> {
        let now = self.clock.now();
        for round in 0..ROUNDS {
            let mut settled = Settled { busy: round > 0, next: u64::MAX };
            let mut any = false;
            for Member { node, runs_code } in &self.alive() {
                match node.drive_due(now) {
                    Due::Done => {
                        any = true;
                        self.ran_code.fetch_or(*runs_code, Ordering::Relaxed);
                    }
                    Due::At(at) => settled.next = settled.next.min(at),
                }
            }
            if !any {
                return Ok(settled);
            }
        }
        Err(EngineError::Stuck {
            node: "the simulation".to_owned(),
            what: format!("its nodes keep each other busy at {now} s without end"),
        })
    }

    /// Moves to the next thing that is due, at most to `limit`, and runs it.
    ///
    /// # Errors
    /// Nothing is due at all and the limit is never; nodes that keep each other busy for ever.
    pub(crate) fn move_on(&self, limit: Time) -> Result<Moved, EngineError> {
        let Settled { busy, next } = self.settle()?;
        if busy {
            return Ok(Moved::On);
        }
        if next == u64::MAX && limit == Time::FAR {
            return Err(EngineError::NoProgress { at: self.clock.now() });
        }
        if Time::from_nanos(next) > limit {
            self.clock.advance(limit);
            return Ok(Moved::ToLimit);
        }
        self.clock.advance(Time::from_nanos(next));
        self.settle()?;
        Ok(Moved::On)
    }

    fn alive(&self) -> Vec<Member<Arc<dyn Driven>>> {
        let mut nodes = self.nodes();
        nodes.retain(|member| member.node.strong_count() > 0);
        let alive = |member: &Member<Weak<dyn Driven>>| {
            member.node.upgrade().map(|node| Member { node, runs_code: member.runs_code })
        };
        nodes.iter().filter_map(alive).collect()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Member<Weak<dyn Driven>>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
