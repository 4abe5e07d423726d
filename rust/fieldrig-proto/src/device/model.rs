//! A model: the behaviour of an emulated device.

use super::face::{Emission, Heard};
use super::store::{Change, Origin, PointError, PointStore};
use crate::record::{Record, Value};
use crate::time::Time;

/// What a model may do while it is called.
pub struct ModelContext<'a> {
    /// The instant of the call.
    pub now: Time,
    /// The points.
    pub store: &'a mut PointStore,
    said: &'a mut Said,
}

/// What a model said in one call, or several.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Said {
    /// Through which face, and what.
    pub emissions: Vec<(String, Emission)>,
    /// For the run log.
    pub reports: Vec<Record>,
    /// The model is broken, and why.
    pub failure: Option<String>,
}

impl<'a> ModelContext<'a> {
    /// Made by the device for each call.
    pub fn new(now: Time, store: &'a mut PointStore, said: &'a mut Said) -> Self {
        ModelContext { now, store, said }
    }

    /// The model is broken and cannot go on: the device loses power, and [`Device::failure`](super::Device::failure)
    /// says why until somebody takes note of it. The first failure counts.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.said.failure.get_or_insert_with(|| why.into());
    }

    /// Reports something for the run log.
    pub fn report(&mut self, record: Record) {
        self.said.reports.push(record);
    }

    /// Speaks through the face of this name; an empty name means every face that can carry it.
    pub fn emit(&mut self, face: &str, emission: Emission) {
        self.said.emissions.push((face.to_owned(), emission));
    }

    /// Sets a point in the name of the model.
    ///
    /// # Errors
    /// Those of [`PointStore::set`].
    pub fn set(&mut self, point: &str, value: impl Into<Value>) -> Result<(), PointError> {
        self.store.set(self.now, point, value, Origin::Model)
    }
}

/// The behaviour of a device. All methods do nothing unless a model says otherwise.
pub trait Model: Send {
    /// Power came on; the device boots. Gives the instant at which it runs (faces open then). Until then the model may
    /// speak only through wires.
    fn boot(&mut self, context: &mut ModelContext<'_>) -> Time {
        context.now
    }
    /// The device runs now.
    fn run(&mut self, _context: &mut ModelContext<'_>) {}
    /// A point was written or changed by anyone but the model itself, while the device runs.
    fn changed(&mut self, _context: &mut ModelContext<'_>, _change: &Change) {}
    /// A face heard something.
    fn heard(&mut self, _context: &mut ModelContext<'_>, _face: &str, _heard: &Heard) {}
    /// Does what is due.
    fn handle_timeout(&mut self, _context: &mut ModelContext<'_>) {}
    /// When `handle_timeout` is wanted.
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    /// Power is lost: forget everything. What it says through faces now is lost; reports are not.
    fn power_off(&mut self, _context: &mut ModelContext<'_>) {}
}

/// A device without behaviour: points and faces only; it boots in no time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModel;

impl Model for NoModel {}
