//! `Protocol`: a description that was read.

use super::{Given, entries, patch, refused};
use crate::bench::file_error;
use crate::dissect::Dissection;
use crate::error::{Kind, error, hinted};
use crate::value::{Whole, from_python};
use fieldrig_engine::bench::load_protocol;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::line::defined::{self, Definition};
use fieldrig_proto::protocol;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::path::PathBuf;
use std::sync::Arc;

/// A protocol that is defined by data.
#[pyclass(frozen, module = "fieldrig.protocol")]
pub(crate) struct Protocol {
    pub(crate) definition: Arc<Definition>,
    pub(crate) protocol: &'static protocol::Protocol,
}

impl Protocol {
    pub(crate) fn of(definition: &Arc<Definition>, protocol: &'static protocol::Protocol) -> Protocol {
        Protocol { definition: Arc::clone(definition), protocol }
    }

    fn new_from(definition: Definition) -> Protocol {
        let definition = Arc::new(definition);
        let protocol = defined::protocol(&definition);
        Protocol { definition, protocol }
    }
}

#[pymethods]
impl Protocol {
    #[new]
    #[pyo3(signature = (description, /))]
    fn new(description: &Bound<'_, PyAny>) -> PyResult<Protocol> {
        let read = Definition::read(&from_python(description)?).map_err(|problem| {
            let place = if problem.key.is_empty() { String::new() } else { format!("`{}`: ", problem.key) };
            hinted(description.py(), Kind::Usage, format!("{place}{}", problem.problem), problem.hint.as_deref())
        })?;
        Ok(Protocol::new_from(read))
    }
    /// Reads a file.
    #[staticmethod]
    #[pyo3(signature = (path, /))]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Protocol> {
        let read = load_protocol(&path, &|name| std::env::var(name).ok());
        read.map(Protocol::new_from).map_err(|problem| file_error(py, &problem))
    }
    #[getter]
    fn name(&self) -> &str {
        &self.definition.name
    }
    #[getter]
    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.definition.messages.iter().map(|message| message.name.as_str()))
    }
    /// The field that numbers requests.
    #[getter]
    fn sequence(&self) -> Option<&str> {
        self.definition.sequence().map(|field| field.name.as_str())
    }
    /// What a bench must allow before a message is sent to a real device.
    #[pyo3(signature = (message, /))]
    fn needs(&self, message: &str) -> &'static str {
        self.definition.message(message).map(|message| message.needs).unwrap_or_default().word()
    }
    /// The bytes of a message.
    #[pyo3(
        signature = (message, /, fields = None, *, patch = None, sequence = None),
        text_signature = "($self, message, /, fields=None, *, patch=None, sequence=0)"
    )]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        message: &str,
        fields: Given<'_, '_>,
        patch: Given<'_, '_>,
        sequence: Option<Whole>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (fields, patch) = (entries(fields, "fields")?, self::patch(&self.definition, patch)?);
        let sequence = sequence.map_or(Ok(0), |sequence| sequence.named(py, "sequence"))?;
        let encoded = self.definition.encode(message, &fields, sequence, &patch);
        encoded.map(|encoded| PyBytes::new(py, &encoded.bytes)).map_err(|problem| refused(py, &problem))
    }
    /// Refuses what a field could never hold.
    #[pyo3(signature = (message, fields, /))]
    fn expects(&self, py: Python<'_>, message: Option<&str>, fields: Given<'_, '_>) -> PyResult<()> {
        for (name, value) in entries(fields, "fields")? {
            self.definition.expects(message, &name, &value).map_err(|problem| refused(py, &problem))?;
        }
        Ok(())
    }
    /// Whether what came in a field is what was expected there.
    #[pyo3(signature = (message, name, expected, found, /))]
    fn holds(
        &self,
        message: Option<&str>,
        name: &str,
        expected: &Bound<'_, PyAny>,
        found: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        Ok(self.definition.holds(message, name, &from_python(expected)?, &from_python(found)?))
    }
    /// What the bytes of a frame mean, field by field.
    #[pyo3(signature = (data, /, sender = "client"))]
    fn dissect(&self, py: Python<'_>, data: Vec<u8>, sender: &str) -> PyResult<Dissection> {
        let sender = match sender {
            "client" => Sender::Client,
            "device" => Sender::Server,
            _ => return Err(error(py, Kind::Usage, format!("sender is \"client\" or \"device\", not {sender:?}"))),
        };
        Ok(Dissection { inner: (self.protocol.dissect)(&data, sender), bytes: data })
    }
    fn __repr__(&self) -> String {
        format!("<Protocol {}>", self.definition.name)
    }
}
