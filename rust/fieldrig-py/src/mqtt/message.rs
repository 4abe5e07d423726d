//! `Message` and `Published`: what came in and what went out.

use crate::time::{Span, Stamp, span_to};
use fieldrig_proto::mqtt::client;
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// A message that came in.
#[pyclass(frozen, eq, module = "fieldrig.mqtt")]
#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    topic: Arc<str>,
    payload: Arc<[u8]>,
    qos: u8,
    retained: bool,
    duplicate: bool,
    at: time::Stamp,
}

impl From<&client::Message> for Message {
    fn from(message: &client::Message) -> Message {
        Message {
            topic: Arc::clone(&message.topic),
            payload: Arc::clone(&message.payload),
            qos: message.qos as u8,
            retained: message.retain,
            duplicate: message.dup,
            at: message.at,
        }
    }
}

#[pymethods]
impl Message {
    #[new]
    fn new(topic: &str, payload: &[u8], qos: u8, retained: bool, duplicate: bool, at: Stamp) -> Message {
        Message { topic: topic.into(), payload: payload.into(), qos, retained, duplicate, at: at.0 }
    }
    #[getter]
    fn topic(&self) -> &str {
        &self.topic
    }
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.payload)
    }
    #[getter]
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
    #[getter]
    fn qos(&self) -> u8 {
        self.qos
    }
    #[getter]
    fn retained(&self) -> bool {
        self.retained
    }
    #[getter]
    fn duplicate(&self) -> bool {
        self.duplicate
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    /// The payload as a JSON value.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.payload(py),))
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        let flags = [(self.retained, ", retained"), (self.duplicate, ", duplicate")];
        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, text)| *text).collect();
        format!("{} {} (QoS {}{flags})", self.topic, shortened(&self.text()), self.qos)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (&str, Bound<'py, PyBytes>, u8, bool, bool, Stamp) {
        (&self.topic, self.payload(py), self.qos, self.retained, self.duplicate, Stamp(self.at))
    }
    fn __repr__(&self) -> String {
        format!("<Message {}>", self.describe())
    }
}

/// Text on one line, cut to a length that people read.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut line = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter {
            '"' | '\'' => line.push(letter),
            _ => line.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        line.push_str("..");
    }
    line
}

/// A message that went out.
#[pyclass(frozen, eq, module = "fieldrig.mqtt")]
#[derive(Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) at: time::Stamp,
    pub(crate) done: time::Stamp,
}

#[pymethods]
impl Published {
    #[new]
    fn new(topic: String, at: Stamp, done: Stamp) -> Published {
        Published { topic, at: at.0, done: done.0 }
    }
    #[getter]
    fn topic(&self) -> &str {
        &self.topic
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn done(&self) -> Stamp {
        Stamp(self.done)
    }
    /// The span from the issue to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
    fn __getnewargs__(&self) -> (&str, Stamp, Stamp) {
        (&self.topic, Stamp(self.at), Stamp(self.done))
    }
    fn __repr__(&self) -> String {
        format!("<Published {}>", self.topic)
    }
}
