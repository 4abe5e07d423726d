//! `fieldrig.protocol`: protocols that are defined by data. Conversion only; the rules stand in `fieldrig_proto::line`.

mod client;
mod definition;
mod device;
mod frame;

pub(crate) use client::Client;
pub(crate) use definition::Protocol;
pub(crate) use device::{Device, set_handler};
pub(crate) use frame::{Answer, Frame};

use crate::error::{Kind, hinted};
use crate::value::from_python;
use fieldrig_proto::line::defined::{self, Definition, EncodeError, Patch};
use fieldrig_proto::line::framing::sum::Sum;
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

pub(crate) type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A message that cannot be made, as an exception.
fn refused(py: Python<'_>, problem: &EncodeError) -> PyErr {
    hinted(py, Kind::Usage, &problem.problem, problem.hint.as_deref())
}

/// The entries of a mapping.
///
/// # Errors
/// `UsageError`: it is none.
fn entries(given: Given<'_, '_>, what: &str) -> PyResult<Vec<(String, Value)>> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(Vec::new()) };
    match from_python(given)? {
        Value::Table(entries) => Ok(entries),
        other => {
            let message = format!("{what} is a dict of names and values, not {other}");
            Err(crate::error::error(given.py(), Kind::Usage, message))
        }
    }
}

/// A patch from a mapping.
///
/// # Errors
/// `UsageError` with what is wrong.
fn patch(definition: &Definition, given: Given<'_, '_>) -> PyResult<Patch> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(Patch::default()) };
    let entries = entries(Some(given), "a patch")?;
    Patch::read(definition, &entries).map_err(|problem| refused(given.py(), &problem))
}

/// The value of a checksum over bytes.
#[pyfunction]
#[pyo3(signature = (name, data, /))]
pub(crate) fn checksum(py: Python<'_>, name: &str, data: &[u8]) -> PyResult<u64> {
    let sum =
        Sum::named(name).map_err(|problem| hinted(py, Kind::Usage, problem.to_string(), problem.hint.as_deref()))?;
    Ok(sum.of(data))
}

/// The names of all checksums.
#[pyfunction]
pub(crate) fn checksums(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, Sum::names())
}

/// The habits of emulated devices: name and what it takes.
pub(crate) fn add_habits(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("HABITS", PyTuple::new(module.py(), defined::HABITS)?)
}

/// Names and values as a dict.
fn dict<'py, 'a>(py: Python<'py>, entries: impl Iterator<Item = (&'a str, &'a Value)>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in entries {
        dict.set_item(name, crate::value::to_python(py, value)?)?;
    }
    Ok(dict)
}
