//! The device itself: power, routing, and the propagation of what happens between faces, store and model.
//!
//! Rules of this file:
//! - Off: connections that are opened are broken off at once; wires are remembered, their bytes are lost.
//! - Boot (from power-on until the instant the model names): as off, but wires are opened at the faces that own them,
//!   and what the model says goes out through those. Then Run: everything reaches its face by `Peer::via`.
//! - Whatever the cause (bytes, a timer, the test), its consequences are followed until nothing changes any more, at
//!   the same `now`: the model hears what faces heard, faces and model see what changed in the store, faces say what the
//!   model says. Faces come in declared order. What does not come to rest in [`ROUNDS`] rounds is reported as
//!   `device.loop` and left there.
//! - A model that fails ([`ModelContext::fail`]) takes the power of its device with it: `model.raised` says why.
//! - Power-off breaks off every connection of every face; what faces still had to say is lost, wires fall silent.

use super::face::{Emission, Face, Heard};
use super::model::{Model, ModelContext, Said};
use super::store::{Change, Origin, PointDefinition, PointError, PointStore};
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Why};
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

/// Rounds after which consequences that still cause consequences are given up. A model that asks, is answered at once
/// and asks again takes one for each ask; models have limits of their own below this one.
const ROUNDS: usize = 16_384;

/// Whether a device has power and runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Power {
    /// No power.
    Off,
    /// Power came on; it does not run yet.
    Boot,
    /// It runs.
    Run,
}

/// An emulated device: an endpoint made of one store, one model and any number of faces. New devices are off.
pub struct Device {
    name: String,
    store: PointStore,
    model: Box<dyn Model>,
    faces: Vec<Box<dyn Face>>,
    power: Power,
    /// The device runs from here (boot), or power comes back here (off, after a cycle).
    wake: Option<Time>,
    boots: u64,
    conns: BTreeMap<Conn, Attached>,
    closes: VecDeque<Conn>,
    events: VecDeque<Record>,
    emissions: Vec<(String, Emission)>,
    failure: Option<String>,
    /// The model has failed just now: power is to go.
    failing: bool,
    /// Changes below this number were handed on.
    seen: u64,
}

struct Attached {
    face: usize,
    peer: Peer,
    /// Somebody has closed it already; only its `Closed` is to come.
    closing: bool,
}

impl Device {
    /// A device without power.
    #[must_use]
    pub fn new(name: &str, store: PointStore, model: Box<dyn Model>, faces: Vec<Box<dyn Face>>) -> Device {
        Device {
            name: name.to_owned(),
            seen: store.cursor(),
            store,
            model,
            faces,
            power: Power::Off,
            wake: None,
            boots: 0,
            conns: BTreeMap::new(),
            closes: VecDeque::new(),
            events: VecDeque::new(),
            emissions: Vec::new(),
            failure: None,
            failing: false,
        }
    }

    /// Why its model failed, if it did since somebody took note of it ([`Device::take_failure`]).
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The same, and forgets it.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has power and runs.
    #[must_use]
    pub fn power(&self) -> Power {
        self.power
    }

    /// How often power came on.
    #[must_use]
    pub fn boots(&self) -> u64 {
        self.boots
    }

    /// Its points.
    #[must_use]
    pub fn store(&self) -> &PointStore {
        &self.store
    }

    /// The names of its faces, in declared order.
    pub fn faces(&self) -> impl Iterator<Item = &str> {
        self.faces.iter().map(|face| face.name())
    }

    /// The face of this name, if it is of this type.
    pub fn face_as<F: Face>(&mut self, name: &str) -> Option<&mut F> {
        let face = self.faces.iter_mut().find(|face| face.name() == name)?;
        (&mut **face as &mut dyn Any).downcast_mut()
    }

    /// Gives it power: points take their initial values, the model boots. No effect on a device that has power.
    pub fn power_on(&mut self, now: Time) {
        if self.power != Power::Off {
            return;
        }
        self.power = Power::Boot;
        self.boots += 1;
        self.store.reset(now);
        self.seen = self.store.cursor();
        self.tell_power(now, "boot");
        for (conn, attached) in &self.conns {
            self.faces[attached.face].handle(now, Input::Opened(*conn, &attached.peer), &mut self.store);
        }
        let runs_at = self.with_model(now, |model, context| model.boot(context));
        self.wake = Some(runs_at);
        self.propagate(now);
        if runs_at <= now && self.power == Power::Boot {
            self.run(now);
        }
    }

    /// Takes its power away: every connection of every face is broken off. No effect on a device without power, but
    /// that power does not come back by itself after a cycle.
    pub fn power_off(&mut self, now: Time) {
        self.wake = None;
        if self.power == Power::Off {
            return;
        }
        self.power = Power::Off;
        self.with_model(now, |model, context| model.power_off(context));
        self.failing = false;
        self.emissions.clear();
        let mut lost = Vec::new();
        for face in &mut self.faces {
            face.power(now, false, &self.store);
            while face.poll_heard().is_some() {}
            while face.poll_action(&mut lost).is_some() {}
            report_events(face.as_mut(), &mut self.events);
        }
        self.conns.retain(|conn, attached| {
            if !attached.peer.wire && !attached.closing {
                self.closes.push_back(*conn);
            }
            attached.peer.wire && !attached.closing
        });
        self.seen = self.store.cursor();
        self.tell_power(now, "off");
    }

    /// Takes its power away and gives it back after `off`.
    pub fn power_cycle(&mut self, now: Time, off: Duration) {
        self.power_off(now);
        self.wake = Some(now + off);
    }

    /// Sets a point in the name of the test. Without power the value lasts until power-on.
    ///
    /// # Errors
    /// Those of [`PointStore::set`].
    pub fn set(&mut self, now: Time, point: &str, value: impl Into<Value>) -> Result<Change, PointError> {
        let number = self.store.cursor();
        self.store.set(now, point, value, Origin::Test)?;
        let change = self.store.changes_since(number).next().cloned();
        self.propagate(now);
        change.ok_or_else(|| PointError::Unknown(point.to_owned()))
    }

    /// The value of a point.
    #[must_use]
    pub fn get(&self, point: &str) -> Option<&Value> {
        self.store.value(point)
    }

    /// The changes from this number on ([`PointStore::cursor`]), oldest first.
    pub fn changes(&self, cursor: u64) -> impl Iterator<Item = &Change> {
        self.store.changes_since(cursor)
    }

    /// Puts every point that has another value back to its initial one, in the name of the test: model and faces see
    /// it as they see [`Device::set`]. Without power there is nothing to do: power-on does the same.
    pub fn reset_points(&mut self, now: Time) {
        if self.power == Power::Off {
            return;
        }
        let initial = |(index, definition): (usize, &PointDefinition)| {
            let moved = self.store.value_at(index) != Some(&definition.initial);
            moved.then(|| (definition.name.clone(), definition.initial.clone()))
        };
        let moved: Vec<_> = self.store.definitions().iter().enumerate().filter_map(initial).collect();
        for (name, value) in moved {
            // Definitions made in code may have an initial value that does not fit.
            if let Err(problem) = self.store.set(now, &name, value, Origin::Test) {
                let record = Record::new("device.not_reset").at(Stamp::exact(now)).with("point", name);
                self.events.push_back(record.with("problem", problem.to_string()));
            }
        }
        self.propagate(now);
    }

    /// Makes it say something through a face (an empty name: through every face that can carry it), in the name of the
    /// test. A device without power says nothing.
    pub fn emit(&mut self, now: Time, face: &str, emission: Emission) {
        if self.power != Power::Off {
            self.emissions.push((face.to_owned(), emission));
            self.propagate(now);
        }
    }

    /// Changes how a face behaves.
    ///
    /// # Errors
    /// The text names the faces there are, or says what the face has against it.
    pub fn set_habit(&mut self, face: &str, name: &str, value: &Value) -> Result<(), String> {
        match self.faces.iter_mut().find(|candidate| candidate.name() == face) {
            Some(found) => found.set_habit(name, value),
            None => {
                let names: Vec<&str> = self.faces().collect();
                Err(format!("`{}` has no face `{face}`; it has: {}", self.name, names.join(", ")))
            }
        }
    }

    fn run(&mut self, now: Time) {
        self.power = Power::Run;
        self.wake = None;
        self.seen = self.store.cursor();
        self.tell_power(now, "run");
        for face in &mut self.faces {
            face.power(now, true, &self.store);
        }
        self.with_model(now, |model, context| model.run(context));
        self.propagate(now);
    }

    fn tell_power(&mut self, now: Time, state: &str) {
        let record = Record::new("device.power").at(Stamp::exact(now)).with("state", state);
        self.events.push_back(record.with("boots", i64::try_from(self.boots).unwrap_or(i64::MAX)));
    }

    fn with_model<R>(&mut self, now: Time, call: impl FnOnce(&mut dyn Model, &mut ModelContext<'_>) -> R) -> R {
        let mut said = Said::default();
        let result = call(self.model.as_mut(), &mut ModelContext::new(now, &mut self.store, &mut said));
        self.take(now, said);
        result
    }

    /// Takes what the model said.
    fn take(&mut self, now: Time, said: Said) {
        self.emissions.extend(said.emissions);
        self.events.extend(said.reports);
        if let Some(why) = said.failure {
            let record = Record::new("model.raised").at(Stamp::exact(now)).with("device", self.name.as_str());
            self.events.push_back(record.with("error", why.as_str()));
            self.failure.get_or_insert(why);
            self.failing = true;
        }
    }

    /// Follows the consequences of what happened, at the same instant, until there are none.
    fn propagate(&mut self, now: Time) {
        for _ in 0..ROUNDS {
            if self.failing {
                return self.power_off(now);
            }
            let mut quiet = true;
            if self.power == Power::Run {
                quiet &= !self.hear(now);
                quiet &= !self.hand_on_changes(now);
            }
            quiet &= !self.speak(now);
            if quiet {
                return;
            }
        }
        self.emissions.clear();
        self.seen = self.store.cursor();
        let record = Record::new("device.loop").at(Stamp::exact(now));
        self.events.push_back(record.with("problem", format!("consequences do not come to rest in {ROUNDS} rounds")));
    }

    /// Power goes where a face says so.
    fn lose_power(&mut self, now: Time) {
        if self.power == Power::Run
            && let Some(off) = self.faces.iter_mut().find_map(|face| face.poll_power_loss())
        {
            self.power_cycle(now, off);
        }
    }

    /// The model hears what the faces heard.
    fn hear(&mut self, now: Time) -> bool {
        let mut heard_any = false;
        for index in 0..self.faces.len() {
            while !self.failing
                && let Some(heard) = self.faces[index].poll_heard()
            {
                heard_any = true;
                self.tell_model(now, index, &heard);
            }
        }
        heard_any
    }

    fn tell_model(&mut self, now: Time, face: usize, heard: &Heard) {
        let mut said = Said::default();
        let mut context = ModelContext::new(now, &mut self.store, &mut said);
        self.model.heard(&mut context, self.faces[face].name(), heard);
        self.take(now, said);
    }

    /// Faces and model see what changed in the store.
    fn hand_on_changes(&mut self, now: Time) -> bool {
        if self.store.cursor() == self.seen {
            return false;
        }
        let changes: Vec<Change> = self.store.changes_since(self.seen).cloned().collect();
        self.seen = self.store.cursor();
        for change in &changes {
            self.report_change(change);
            if !self.failing && !matches!(change.by, Origin::Model | Origin::Reset) {
                self.with_model(now, |model, context| model.changed(context, change));
            }
        }
        for face in &mut self.faces {
            face.store_changed(now, &self.store);
        }
        true
    }

    fn report_change(&mut self, change: &Change) {
        let (true, Some(definition)) = (change.from != change.to, self.store.definitions().get(change.point)) else {
            return;
        };
        let by = match &change.by {
            Origin::Reset => "reset",
            Origin::Test => "test",
            Origin::Model => "model",
            Origin::Face(face) => face,
        };
        let record = Record::new("device.change").at(Stamp::exact(change.at)).with("point", definition.name.as_str());
        let record = record.with("from", change.from.clone()).with("to", change.to.clone()).with("by", by);
        self.events.push_back(record);
    }

    /// Faces say what the model says: while the device boots, only those with a wire.
    fn speak(&mut self, now: Time) -> bool {
        let emissions = std::mem::take(&mut self.emissions);
        for (name, emission) in &emissions {
            let mut found = name.is_empty();
            for (index, face) in self.faces.iter_mut().enumerate() {
                if !name.is_empty() && face.name() != name {
                    continue;
                }
                found = true;
                let has_wire = || self.conns.values().any(|attached| attached.face == index && attached.peer.wire);
                if self.power == Power::Run || has_wire() {
                    face.emit(now, emission);
                }
            }
            if !found {
                let record = Record::new("device.no_face").at(Stamp::exact(now)).with("face", name.as_str());
                self.events.push_back(record.with("problem", "the model speaks through a face that is not there"));
            }
        }
        !emissions.is_empty()
    }

    /// A connection or wire begins.
    fn attach(&mut self, now: Time, conn: Conn, peer: &Peer) {
        let Some(face) = self.faces.iter().position(|face| face.name() == peer.via) else {
            let record = Record::new("device.no_face").at(Stamp::exact(now)).conn(conn).with("face", peer.via.as_str());
            self.events.push_back(record.with("problem", "a connection came for a face that is not there"));
            self.closes.push_back(conn);
            return;
        };
        if self.power != Power::Run && !peer.wire {
            self.closes.push_back(conn);
            return;
        }
        self.conns.insert(conn, Attached { face, peer: peer.clone(), closing: false });
        if self.power != Power::Off {
            self.faces[face].handle(now, Input::Opened(conn, peer), &mut self.store);
        }
    }

    /// A connection ends, wholly or one way; gives the face that is told.
    fn detach(&mut self, conn: Conn, why: &Why) -> Option<usize> {
        if let Why::Refused { via, .. } = why {
            return self.faces.iter().position(|face| face.name() == via);
        }
        let face = self.conns.get(&conn)?.face;
        if *why != Why::Finished {
            self.conns.remove(&conn);
        }
        Some(face)
    }
}

fn report_events(face: &mut dyn Face, events: &mut VecDeque<Record>) {
    while let Some(record) = face.poll_event() {
        events.push_back(record.with("face", face.name()));
    }
}

impl Endpoint for Device {
    type Event = Record;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        let (face, input) = match input {
            Input::Opened(conn, peer) => {
                self.attach(now, conn, peer);
                return self.propagate(now);
            }
            Input::Closed(conn, why) => match self.detach(conn, &why) {
                Some(face) if self.power != Power::Off => (face, Input::Closed(conn, why)),
                _ => return,
            },
            Input::Bytes(conn, ..)
            | Input::Datagram(conn, ..)
            | Input::Line(conn, ..)
            | Input::Writable(conn)
            | Input::Timed(conn, _) => match self.conns.get(&conn) {
                Some(attached) if self.power == Power::Run => (attached.face, input),
                _ => return,
            },
        };
        self.faces[face].handle(now, input, &mut self.store);
        self.propagate(now);
        self.lose_power(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        let due = |when: Option<Time>| when.is_some_and(|when| when <= now);
        if self.power == Power::Off {
            if due(self.wake) {
                self.power_on(now);
            }
            return;
        }
        if self.power == Power::Run {
            for face in &mut self.faces {
                if due(face.poll_timeout()) {
                    face.handle_timeout(now, &mut self.store);
                }
            }
        }
        if due(self.model.poll_timeout()) {
            self.with_model(now, |model, context| model.handle_timeout(context));
        }
        self.propagate(now);
        self.lose_power(now);
        if self.power == Power::Boot && due(self.wake) {
            self.run(now);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let model = if self.power == Power::Off { None } else { self.model.poll_timeout() };
        let faces = self.faces.iter().filter(|_| self.power == Power::Run).filter_map(|face| face.poll_timeout());
        faces.chain(model).chain(self.wake).min()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if let Some(conn) = self.closes.pop_front() {
            return Some(Action::Close(conn, How::Rst));
        }
        if self.power == Power::Off {
            return None;
        }
        let action = self.faces.iter_mut().find_map(|face| face.poll_action(out))?;
        if let Action::Close(conn, How::Fin | How::Rst) = action
            && let Some(attached) = self.conns.get_mut(&conn)
        {
            attached.closing = true;
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<Record> {
        for face in &mut self.faces {
            report_events(face.as_mut(), &mut self.events);
        }
        self.events.pop_front()
    }
}
