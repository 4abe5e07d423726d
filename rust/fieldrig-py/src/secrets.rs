//! `Secrets`: what must stand in no artefact, for texts that are made in Python.

use fieldrig_engine::secrets;
use pyo3::prelude::*;
use std::borrow::Cow;

/// Texts that must stand in no artefact.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct Secrets(pub(crate) secrets::Secrets);

#[pymethods]
impl Secrets {
    #[new]
    #[pyo3(signature = (values, /))]
    fn new(values: &Bound<'_, PyAny>) -> PyResult<Secrets> {
        let values = values.try_iter()?.map(|value| value?.extract::<String>()).collect::<PyResult<Vec<_>>>()?;
        Ok(Secrets(secrets::Secrets::new(values)))
    }
    /// The text without secrets.
    #[pyo3(signature = (text, /))]
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.text(text)
    }
    /// Masks one more text from now on.
    #[pyo3(signature = (text, /))]
    fn hide(&self, text: &str) {
        self.0.hide(text);
    }
    /// How many are too short to be masked.
    #[getter]
    fn too_short(&self) -> usize {
        self.0.too_short()
    }
    fn __bool__(&self) -> bool {
        !self.0.is_empty()
    }
    fn __repr__(&self) -> String {
        format!("<{:?}>", self.0)
    }
}
