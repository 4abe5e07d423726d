//! What a client noticed beside answers: events, and attempts that failed.

use crate::time::Stamp;
use fieldrig_proto::modbus::client::{self, ClientEvent, why_text};
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One time that a request was asked in vain, and then again.
#[pyclass(frozen, from_py_object, module = "fieldrig.modbus")]
#[derive(Clone)]
pub(crate) struct Attempt {
    at: time::Stamp,
    done: time::Stamp,
    #[pyo3(get)]
    problem: String,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl From<client::Attempt> for Attempt {
    fn from(attempt: client::Attempt) -> Attempt {
        let client::Attempt { sent, at: done, request, answer: received, problem } = attempt;
        Attempt { at: sent.map_or(done, time::Stamp::exact), done, problem, request, received }
    }
}

#[pymethods]
impl Attempt {
    #[new]
    fn new(at: Stamp, done: Stamp, problem: String, request: Vec<u8>, received: Vec<u8>) -> Attempt {
        Attempt { at: at.0, done: done.0, problem, request, received }
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn done(&self) -> Stamp {
        Stamp(self.done)
    }
    #[getter]
    fn request<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.request)
    }
    #[getter]
    fn received<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.received)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Stamp, Stamp, &str, Bound<'py, PyBytes>, Bound<'py, PyBytes>) {
        (self.at(), self.done(), &self.problem, self.request(py), self.received(py))
    }
    fn __repr__(&self) -> String {
        format!("<Attempt: {}>", self.problem)
    }
}

/// Something a client noticed that ends no request.
#[pyclass(frozen, module = "fieldrig.modbus")]
#[derive(Clone)]
pub(crate) struct ClientRemark {
    #[pyo3(get)]
    kind: &'static str,
    #[pyo3(get)]
    reason: String,
    bytes: Vec<u8>,
    at: time::Stamp,
}

#[pymethods]
impl ClientRemark {
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    fn __repr__(&self) -> String {
        format!("<{}: {}>", self.kind, self.reason)
    }
}

impl ClientRemark {
    fn of(event: ClientEvent) -> Option<ClientRemark> {
        match event {
            ClientEvent::Connected(at) => Some(ClientRemark::bare("connected", String::new(), at)),
            ClientEvent::Disconnected(at, why) => Some(ClientRemark::bare("disconnected", why_text(&why), at)),
            event => {
                let (kind, stray) = event.remark()?;
                Some(ClientRemark { kind, reason: stray.reason.clone(), bytes: stray.bytes.clone(), at: stray.at })
            }
        }
    }

    fn bare(kind: &'static str, reason: String, at: time::Time) -> ClientRemark {
        ClientRemark { kind, reason, bytes: Vec::new(), at: time::Stamp::exact(at) }
    }

    pub(super) fn came(&self) -> time::Stamp {
        self.at
    }

    pub(super) fn is_late(&self) -> bool {
        self.kind == "late"
    }

    fn is_stray(&self) -> bool {
        matches!(self.kind, "late" | "duplicate" | "unsolicited")
    }
}

/// So many are kept; the oldest go first.
const KEPT: usize = 10_000;

/// What was noticed on a connection, for whoever asks.
#[derive(Default)]
pub(super) struct Remarks {
    kept: Mutex<VecDeque<ClientRemark>>,
    /// So many events at the front of the node's were taken before. They stayed there until the node had logged them.
    taken: AtomicUsize,
}

impl Remarks {
    /// Drops the events that were taken in an earlier call: they stand in the run log by now. What ends a request stays
    /// for the thread that waits for it.
    pub(super) fn drop_taken(&self, events: &mut VecDeque<ClientEvent>) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        let mut index = 0;
        events.retain(|event| {
            index += 1;
            index > taken || event.ticket().is_some()
        });
    }

    /// Takes the events that end no request. They stay where they are: the node logs them when the call ends.
    pub(super) fn take(&self, events: &VecDeque<ClientEvent>) {
        let before = self.taken.swap(events.len(), Ordering::Relaxed).min(events.len());
        if before == events.len() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(events.range(before..).cloned().filter_map(ClientRemark::of));
        let most = kept.len().saturating_sub(KEPT);
        kept.drain(..most);
    }

    /// Those that came surely after an instant.
    pub(super) fn after(&self, after: Option<time::Stamp>, strays_only: bool) -> Vec<ClientRemark> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |remark: &&ClientRemark| {
            (!strays_only || remark.is_stray()) && after.is_none_or(|after| remark.at.latest() > after.earliest())
        };
        kept.iter().filter(wanted).cloned().collect()
    }
}
