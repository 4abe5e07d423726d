//! `Answer`: what one request got.

use super::fields::fields;
use super::remark::Attempt;
use crate::error::{Kind, error, hinted};
use crate::time::{Span, Stamp, span_to};
use fieldrig_proto::modbus::pdu::Response;
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// An answer to one request. What Python sees is made when it looks.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) at: time::Stamp,
    pub(crate) done: time::Stamp,
    pub(crate) request: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    pub(crate) attempts: Vec<Attempt>,
    /// Names and texts.
    pub(crate) deviations: Vec<(String, String)>,
}

/// What an answer is pickled as: PDU, how many bits, issue, arrival, request, response, attempts, deviations.
type AnswerParts<'py> = (
    Bound<'py, PyBytes>,
    usize,
    Stamp,
    Stamp,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Vec<Attempt>,
    Vec<(String, String)>,
);

impl Answer {
    /// The span from the issue of the request to a later event.
    ///
    /// # Errors
    /// `UsageError` if the other is no event.
    pub(super) fn until_event(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
}

#[pymethods]
impl Answer {
    #[new]
    #[pyo3(signature = (pdu, quantity, at, done, request, response, attempts = Vec::new(), deviations = Vec::new()),
        text_signature = "(pdu, quantity, at, done, request, response, attempts=..., deviations=...)")]
    #[allow(clippy::too_many_arguments)] // what an answer is pickled as
    fn new(
        py: Python<'_>,
        pdu: &[u8],
        quantity: usize,
        at: Stamp,
        done: Stamp,
        request: Vec<u8>,
        response: Vec<u8>,
        attempts: Vec<Attempt>,
        deviations: Vec<(String, String)>,
    ) -> PyResult<Answer> {
        let Some((function, data)) = pdu.split_first() else {
            return Err(error(py, Kind::Usage, "the PDU is empty"));
        };
        // After a broadcast and of a raw request there may be less than an answer, or something else.
        let parsed =
            Response::parse(pdu).unwrap_or_else(|_| Response::Raw { function: *function, data: data.to_vec() });
        let parsed = match parsed {
            Response::Bits { function, mut values } => {
                values.truncate(quantity);
                Response::Bits { function, values }
            }
            other => other,
        };
        Ok(Answer { response: parsed, at: at.0, done: done.0, request, raw: response, attempts, deviations })
    }
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.response {
            Response::Registers { values, .. } | Response::FifoQueue { values } => PyTuple::new(py, values),
            Response::Bits { values, .. } => PyTuple::new(py, values.iter().map(|bit| PyBool::new(py, *bit))),
            _ => Ok(PyTuple::empty(py)),
        }
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
    fn latency(&self) -> Span {
        Span(self.at.until(self.done))
    }
    #[getter]
    fn function(&self) -> u8 {
        self.response.function()
    }
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        fields(py, &self.response)
    }
    #[getter]
    fn pdu<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut pdu = Vec::new();
        self.response.encode(&mut pdu);
        PyBytes::new(py, &pdu)
    }
    #[getter]
    fn request<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.request)
    }
    #[getter]
    fn response<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.raw)
    }
    #[getter]
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.attempts.iter().cloned())
    }
    #[getter]
    fn deviations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.deviations)
    }
    /// The span from the issue of the request to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        self.until_event(later)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> AnswerParts<'py> {
        let quantity = match &self.response {
            Response::Bits { values, .. } => values.len(),
            _ => 0,
        };
        let (attempts, deviations) = (self.attempts.clone(), self.deviations.clone());
        (self.pdu(py), quantity, self.at(), self.done(), self.request(py), self.response(py), attempts, deviations)
    }
    fn __repr__(&self) -> String {
        format!("Answer({:?}, latency {})", self.response, self.latency().text())
    }
    /// Two answers are equal if they are the same one. A comparison with values is a mistake of the test.
    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        same_object(slf.as_any(), other, op, || "an answer is compared with".to_owned())
    }
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize
    }
}

/// Compares by identity, as Python does without being told; refuses what has values, such as numbers and tuples.
///
/// # Errors
/// `UsageError` that names what was forgotten.
pub(super) fn same_object(
    this: &Bound<'_, PyAny>,
    other: &Bound<'_, PyAny>,
    op: CompareOp,
    what: impl FnOnce() -> String,
) -> PyResult<Py<PyAny>> {
    let py = this.py();
    let plain = other.is_instance_of::<PyInt>() || other.is_instance_of::<PyFloat>();
    let several = other.is_instance_of::<PyTuple>() || other.is_instance_of::<PyList>();
    if plain || several || other.is_instance_of::<PyString>() {
        let message = format!("{} {}, not its value", what(), other.repr()?);
        let behind = if this.is_instance_of::<Answer>() { ".values" } else { ".value" };
        return Err(hinted(py, Kind::Usage, message, Some(&format!("write `{behind}` behind it"))));
    }
    Ok(match op {
        CompareOp::Eq if this.is(other) => PyBool::new(py, true).to_owned().into_any().unbind(),
        CompareOp::Ne if this.is(other) => PyBool::new(py, false).to_owned().into_any().unbind(),
        _ => py.NotImplemented(),
    })
}
