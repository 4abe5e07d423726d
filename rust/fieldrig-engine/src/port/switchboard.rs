//! The switchboard of a rig: wires and listeners in memory, by name.
//!
//! `wire://NAME` is a tap on a wire, `memory-listen://NAME` a listener, `memory://NAME` a connection to it. All of them work
//! on real and on virtual time, and only within their rig.

use super::pipe::{Pipe, pipe};
use super::wire::{TapOptions, TapPort, Wire, WireOptions};
use crate::drive::sys::Kick;
use crate::error::EngineError;
use crate::log::RunLog;
use fieldrig_proto::line::LineSettings;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is in memory, by name.
#[derive(Default)]
pub(crate) struct Switchboard {
    wires: Mutex<BTreeMap<String, Arc<Wire>>>,
    listeners: Mutex<BTreeMap<String, Arc<Waiting>>>,
}

/// Connections that wait to be accepted.
struct Waiting {
    queue: Mutex<VecDeque<(Pipe, String)>>,
    kick: Arc<Kick>,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, VecDeque<(Pipe, String)>> {
        lock(&self.queue)
    }
}

impl Switchboard {
    /// Adds a wire. One that is there already stays if it is the same.
    pub(crate) fn add_wire(&self, name: &str, options: WireOptions, log: &RunLog) -> Result<(), EngineError> {
        let mut wires = lock(&self.wires);
        match wires.get(name).map(|wire| wire.options()) {
            Some(known) if known == options => return Ok(()),
            Some(known) => {
                let line = known.line.map_or_else(|| "without speed".to_owned(), |line| format!("with {line}"));
                let other =
                    if known.line == options.line { " and with another echo, driver, duplex or seed" } else { "" };
                let what = format!("there is a wire of this name already, {line}{other}");
                return Err(EngineError::Port { url: format!("wire://{name}"), what, hint: None });
            }
            None => {}
        }
        wires.insert(name.to_owned(), Arc::new(Wire::new(name, options, log.clone())));
        Ok(())
    }

    /// Forgets a wire. Taps that are open stay joined.
    pub(crate) fn remove_wire(&self, name: &str) {
        lock(&self.wires).remove(name);
    }

    /// The wire of a name: its settings.
    pub(crate) fn wire(&self, name: &str) -> Option<Option<LineSettings>> {
        lock(&self.wires).get(name).map(|wire| wire.options().line)
    }

    /// Does something to the faults of a wire; `None` if there is no such wire.
    pub(crate) fn with_wire<R>(&self, name: &str, act: impl FnOnce(&Wire) -> R) -> Option<R> {
        let wire = lock(&self.wires).get(name).cloned()?;
        Some(act(&wire))
    }

    /// Joins a wire.
    pub(crate) fn tap(&self, name: &str, who: &str, options: TapOptions) -> Result<TapPort, EngineError> {
        let wires = lock(&self.wires);
        let missing = || EngineError::Port {
            url: format!("wire://{name}"),
            what: "there is no such wire on this rig".to_owned(),
            hint: Some(match wires.keys().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => "add it first: rig.add_wire(..)".to_owned(),
                ref names => format!("there are {}", names.join(", ")),
            }),
        };
        wires.get(name).map(|wire| wire.tap(who, options)).ok_or_else(missing)
    }

    /// Listens under a name.
    pub(crate) fn listen(self: &Arc<Self>, name: &str, kick: Arc<Kick>) -> Result<MemoryListener, EngineError> {
        let mut listeners = lock(&self.listeners);
        if listeners.contains_key(name) {
            let what = "somebody on this rig listens there already".to_owned();
            return Err(EngineError::Port { url: format!("memory-listen://{name}"), what, hint: None });
        }
        let waiting = Arc::new(Waiting { queue: Mutex::default(), kick });
        listeners.insert(name.to_owned(), Arc::clone(&waiting));
        Ok(MemoryListener { name: name.to_owned(), waiting, switchboard: Arc::clone(self) })
    }

    /// Connects to who listens under a name. `who` is for the other side.
    pub(crate) fn connect(&self, name: &str, who: &str) -> Result<Pipe, EngineError> {
        let listeners = lock(&self.listeners);
        let Some(waiting) = listeners.get(name) else {
            let hint = match listeners.keys().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => "nobody listens in the memory of this rig; does the other side have the same rig?".to_owned(),
                ref names => format!("listeners of this rig: {}", names.join(", ")),
            };
            let what = "connection refused".to_owned();
            return Err(EngineError::Port { url: format!("memory://{name}"), what, hint: Some(hint) });
        };
        let (ours, theirs) = pipe();
        waiting.queue().push_back((theirs, who.to_owned()));
        waiting.kick.kick();
        Ok(ours)
    }
}

/// A listener in memory; it ends when it is dropped, and with it the connections that nobody accepted.
pub(crate) struct MemoryListener {
    name: String,
    waiting: Arc<Waiting>,
    switchboard: Arc<Switchboard>,
}

impl MemoryListener {
    /// The next connection that waits, and who it is.
    pub(crate) fn accept(&self) -> Option<(Pipe, String)> {
        self.waiting.queue().pop_front()
    }

    /// Whether somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.waiting.queue().is_empty()
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        lock(&self.switchboard.listeners).remove(&self.name);
        // Dropped without a lock: each tells its other end.
        let left = std::mem::take(&mut *self.waiting.queue());
        drop(left);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
