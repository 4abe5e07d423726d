//! `Frame` and `Answer`: what came.

use super::dict;
use crate::error::{Kind, hinted};
use crate::time::{Span, Stamp, span_to};
use crate::value::to_python;
use fieldrig_proto::dissect::{Sender, hex};
use fieldrig_proto::line::defined::{Come, Message};
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// Something that came: a message that answers nothing, a wrong frame, garbage; or the request to a handler.
#[pyclass(frozen, module = "fieldrig.protocol")]
#[derive(Clone)]
pub(crate) struct Frame {
    pub(super) come: Come,
    pub(super) protocol: &'static Protocol,
    pub(super) sender: Sender,
    /// Its number, counted from the first that came.
    pub(super) place: u64,
}

/// The value of a field of a message.
fn item<'py>(py: Python<'py>, message: &Message, name: &str) -> PyResult<Bound<'py, PyAny>> {
    match message.value(name) {
        Some(value) => to_python(py, value),
        None => {
            let names: Vec<&str> = message.fields.iter().map(|field| field.name.as_str()).collect();
            let what = message.name.as_deref().unwrap_or("the message");
            let known = format!("it has {}", names.join(", "));
            Err(hinted(py, Kind::Usage, format!("{what} has no field `{name}`"), Some(&known)))
        }
    }
}

fn fields<'py>(py: Python<'py>, message: &Message) -> PyResult<Bound<'py, PyDict>> {
    dict(py, message.fields.iter().map(|field| (field.name.as_str(), &field.value)))
}

#[pymethods]
impl Frame {
    /// `unsolicited`, `stray`, `late`, `wrong`, `garbage`; `answer` and `request`, too.
    #[getter]
    fn kind(&self) -> &'static str {
        self.come.kind
    }
    /// Its number, counted from 0; of a request to a handler always 0.
    #[getter]
    fn place(&self) -> u64 {
        self.place
    }
    #[getter]
    fn message(&self) -> Option<&str> {
        self.come.message.name.as_deref()
    }
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        fields(py, &self.come.message)
    }
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.come.raw)
    }
    #[getter]
    fn first(&self) -> Stamp {
        Stamp(self.come.first)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.come.last)
    }
    #[getter]
    fn problems<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.come.problems.iter().map(ToString::to_string))
    }
    /// The kinds of its problems, in a word each.
    #[getter]
    fn wrong<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.come.problems.iter().map(|problem| problem.word()))
    }
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        item(py, &self.come.message, name)
    }
    /// One line for a failure text.
    pub(super) fn describe(&self) -> String {
        match self.come.kind {
            "garbage" => format!("garbage {}", hex(&self.come.raw)),
            "unsolicited" => self.summary(),
            kind => format!("{kind}: {}", self.summary()),
        }
    }
    /// Field by field.
    fn dissect(&self) -> crate::dissect::Dissection {
        let inner = (self.protocol.dissect)(&self.come.raw, self.sender);
        crate::dissect::Dissection { inner, bytes: self.come.raw.clone() }
    }
    fn __repr__(&self) -> String {
        format!("<Frame {}>", self.describe())
    }
}

impl Frame {
    fn summary(&self) -> String {
        (self.protocol.dissect)(&self.come.raw, self.sender).summary
    }
}

/// An answer to one request.
#[pyclass(frozen, module = "fieldrig.protocol")]
pub(crate) struct Answer {
    pub(super) frame: Frame,
    pub(super) request: Vec<u8>,
    pub(super) at: time::Stamp,
}

#[pymethods]
impl Answer {
    #[getter]
    fn message(&self) -> Option<&str> {
        self.frame.message()
    }
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.frame.fields(py)
    }
    #[getter]
    fn request<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.request)
    }
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.frame.raw(py)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn first(&self) -> Stamp {
        self.frame.first()
    }
    #[getter]
    fn done(&self) -> Stamp {
        self.frame.at()
    }
    #[getter]
    fn latency(&self) -> Span {
        Span(self.at.until(self.frame.come.last))
    }
    /// The span from the issue of the request to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        item(py, &self.frame.come.message, name)
    }
    /// Field by field.
    fn dissect(&self) -> crate::dissect::Dissection {
        self.frame.dissect()
    }
    fn __repr__(&self) -> String {
        format!("<Answer {}, latency {}>", self.frame.summary(), self.latency().text())
    }
}
