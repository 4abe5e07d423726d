//! Dissections: what the bytes of one message mean.

use fieldrig_proto::dissect;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// A message, taken apart.
#[pyclass(frozen, eq, module = "fieldrig._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Dissection {
    pub(crate) inner: dissect::Dissection,
    pub(crate) bytes: Vec<u8>,
}

#[pymethods]
impl Dissection {
    #[getter]
    fn protocol(&self) -> &str {
        self.inner.protocol
    }
    #[getter]
    fn summary(&self) -> &str {
        &self.inner.summary
    }
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.fields.iter().map(|field| Field(field.clone())))
    }
    /// Lines for people: offset, bytes, name, value, note.
    fn render(&self) -> String {
        self.inner.render(&self.bytes)
    }
    fn __repr__(&self) -> String {
        format!("Dissection({})", self.inner.summary)
    }
}

/// One field of a message.
#[pyclass(frozen, eq, module = "fieldrig._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Field(dissect::Field);

#[pymethods]
impl Field {
    #[getter]
    fn offset(&self) -> usize {
        self.0.range.start
    }
    #[getter]
    fn length(&self) -> usize {
        self.0.range.len()
    }
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }
    #[getter]
    fn value(&self) -> &str {
        &self.0.value
    }
    /// What is wrong with it, if something is.
    #[getter]
    fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }
    fn __repr__(&self) -> String {
        format!("Field({}: {})", self.0.name, self.0.value)
    }
}
