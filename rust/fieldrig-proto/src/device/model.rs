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
    emissions: &'a mut Vec<(String, Emission)>,
    reports: &'a mut Vec<Record>,
}

impl<'a> ModelContext<'a> {
    /// Made by the device for each call.
    pub fn new(
        now: Time,
        store: &'a mut PointStore,
        emissions: &'a mut Vec<(String, Emission)>,
        reports: &'a mut Vec<Record>,
    ) -> Self {
        ModelContext { now, store, emissions, reports }
    }

    /// Reports something for the run log.
    pub fn report(&mut self, record: Record) {
        self.reports.push(record);
    }

    /// Speaks through the face of this name; an empty name means every face that can carry it.
    pub fn emit(&mut self, face: &str, emission: Emission) {
        self.emissions.push((face.to_owned(), emission));
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
    /// Power is lost: forget everything.
    fn power_off(&mut self) {}
}

/// A device without behaviour: points and faces only; it boots in no time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModel;

impl Model for NoModel {}
