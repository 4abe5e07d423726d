//! What an answer holds, by name: `Answer.fields`.

use fieldrig_proto::modbus::pdu::{DeviceIdentification, FileRecord, Response};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyTuple};

/// The fields of a response.
///
/// # Errors
/// Those of making the dict.
pub(super) fn fields<'py>(py: Python<'py>, response: &Response) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    match response {
        Response::Bits { values, .. } => {
            dict.set_item("values", PyTuple::new(py, values.iter().map(|bit| PyBool::new(py, *bit)))?)?;
        }
        Response::Registers { values, .. } | Response::FifoQueue { values } => {
            dict.set_item("values", PyTuple::new(py, values)?)?;
        }
        Response::WriteSingleCoil { address, on } => {
            dict.set_item("address", address)?;
            dict.set_item("value", on)?;
        }
        Response::WriteSingleRegister { address, value } => numbers(&dict, [("address", *address), ("value", *value)])?,
        Response::Written { address, quantity, .. } => {
            numbers(&dict, [("address", *address), ("quantity", *quantity)])?;
        }
        Response::MaskWriteRegister { address, and, or } => {
            numbers(&dict, [("address", *address), ("and_mask", *and), ("or_mask", *or)])?;
        }
        Response::ExceptionStatus(status) => dict.set_item("status", status)?,
        Response::Diagnostics { sub, data } => {
            dict.set_item("sub", sub)?;
            dict.set_item("data", PyTuple::new(py, data)?)?;
        }
        Response::CommEventCounter { status, events } => numbers(&dict, [("status", *status), ("events", *events)])?,
        Response::CommEventLog { status, events, messages, log } => {
            numbers(&dict, [("status", *status), ("events", *events), ("messages", *messages)])?;
            dict.set_item("log", PyTuple::new(py, log)?)?;
        }
        Response::ServerId { data } => dict.set_item("data", PyBytes::new(py, data))?,
        Response::FileRecords { parts } => {
            let parts = parts.iter().map(|values| PyTuple::new(py, values)).collect::<PyResult<Vec<_>>>()?;
            dict.set_item("records", PyTuple::new(py, parts)?)?;
        }
        Response::WriteFileRecord { parts } => dict.set_item("records", written(py, parts)?)?,
        Response::DeviceIdentification(identification) => identify(py, &dict, identification)?,
        Response::Encapsulated { mei, data } => {
            dict.set_item("mei", mei)?;
            dict.set_item("data", PyBytes::new(py, data))?;
        }
        Response::Raw { data, .. } => dict.set_item("data", PyBytes::new(py, data))?,
        // An exception is raised; no answer holds one.
        Response::Exception(exception) => dict.set_item("exception", exception.code)?,
    }
    Ok(dict)
}

fn numbers<const N: usize>(dict: &Bound<'_, PyDict>, all: [(&str, u16); N]) -> PyResult<()> {
    all.into_iter().try_for_each(|(name, value)| dict.set_item(name, value))
}

fn written<'py>(py: Python<'py>, parts: &[FileRecord]) -> PyResult<Bound<'py, PyTuple>> {
    let part = |part: &FileRecord| Ok((part.file, part.record, PyTuple::new(py, &part.values)?));
    PyTuple::new(py, parts.iter().map(part).collect::<PyResult<Vec<_>>>()?)
}

fn identify(py: Python<'_>, dict: &Bound<'_, PyDict>, identification: &DeviceIdentification) -> PyResult<()> {
    let objects = PyDict::new(py);
    for (object, text) in &identification.objects {
        objects.set_item(object, PyBytes::new(py, text))?;
    }
    dict.set_item("code", identification.code)?;
    dict.set_item("conformity", identification.conformity)?;
    dict.set_item("more", identification.more)?;
    dict.set_item("next", identification.next)?;
    dict.set_item("objects", objects)
}
