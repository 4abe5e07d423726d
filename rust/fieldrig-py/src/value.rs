//! `Value` (settings, points, facts of events) to Python and back.

use crate::error::{Kind, error};
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMapping, PySequence, PyString, PyTuple};

/// How deep tables and lists may be nested.
const DEPTH: usize = 16;

/// A Python value as a setting: bool, int, float, str, bytes, a sequence or a mapping of these.
///
/// # Errors
/// `UsageError` for anything else, for integers beyond 64 bits and for more than 16 levels.
pub(crate) fn from_python(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    convert(given, DEPTH)
}

fn convert(given: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    let py = given.py();
    if depth == 0 {
        return Err(error(py, Kind::Usage, "the value is nested more than 16 levels deep"));
    }
    if let Ok(truth) = given.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if given.is_instance_of::<PyInt>() {
        let too_big = |_| error(py, Kind::Usage, format!("{given} does not fit into 64 bits"));
        let integer = given.extract::<i64>().map(i128::from).or_else(|_| given.extract::<u64>().map(i128::from));
        return integer.map(Value::from_integer).map_err(too_big);
    }
    if let Ok(number) = given.cast::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(Value::Text(text.to_str()?.to_owned()));
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if let Ok(mapping) = given.cast::<PyMapping>() {
        return table(mapping, depth);
    }
    if let Ok(sequence) = given.cast::<PySequence>() {
        let items = sequence.try_iter()?.map(|item| convert(&item?, depth - 1));
        return items.collect::<PyResult<Vec<Value>>>().map(Value::List);
    }
    let message = format!("{} is no bool, number, text, bytes, list or dict of these", given.repr()?);
    Err(error(py, Kind::Usage, message))
}

fn table(mapping: &Bound<'_, PyMapping>, depth: usize) -> PyResult<Value> {
    let mut entries = Vec::new();
    for item in mapping.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        // Registers are written as {0: [1, 2]}: numbers are fine as names.
        entries.push((key.str()?.to_str()?.to_owned(), convert(&value, depth - 1)?));
    }
    Ok(Value::Table(entries))
}

/// A value as Python sees it; lists become tuples.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any(),
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Unsigned(number) => number.into_pyobject(py)?.into_any(),
        Value::Float(number) => PyFloat::new(py, *number).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::List(items) => {
            let items = items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyTuple::new(py, items)?.into_any()
        }
        Value::Table(entries) => {
            let dict = PyDict::new(py);
            for (name, value) in entries {
                dict.set_item(name, to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// A whole number as an argument: what is wrong with it is told with its name, once that is known.
pub(crate) struct Whole {
    /// `None`: no such number.
    number: Option<u64>,
    shown: String,
}

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Whole> {
        let number = given.extract::<u64>().ok().filter(|_| !given.is_instance_of::<PyBool>());
        let shown = if number.is_none() { given.repr()?.to_string_lossy().into_owned() } else { String::new() };
        Ok(Whole { number, shown })
    }
}

impl Whole {
    /// The number, which may be any from 0 on.
    ///
    /// # Errors
    /// `UsageError` with the name of the argument.
    pub(crate) fn named(self, py: Python<'_>, name: &str) -> PyResult<u64> {
        self.from(py, name, 0)
    }

    /// The number, which is at least so high.
    ///
    /// # Errors
    /// `UsageError` with the name of the argument.
    pub(crate) fn from(self, py: Python<'_>, name: &str, least: u64) -> PyResult<u64> {
        let Whole { number, shown } = self;
        number.filter(|number| *number >= least).ok_or_else(|| {
            let shown = number.map_or(shown, |number| number.to_string());
            let message = format!("{name}={shown} is no whole number from {least} to 2^64 - 1");
            error(py, Kind::Usage, message)
        })
    }
}

/// A whole number as an argument, which may be negative.
///
/// # Errors
/// `UsageError` with the name of the argument.
pub(crate) fn signed(given: &Bound<'_, PyAny>, name: &str) -> PyResult<i64> {
    let number = given.extract::<i64>().ok().filter(|_| !given.is_instance_of::<PyBool>());
    number.ok_or_else(|| {
        let shown = given.repr().map_or_else(|_| String::new(), |shown| shown.to_string());
        error(given.py(), Kind::Usage, format!("{name}={shown} is no whole number of 64 bits"))
    })
}

/// Bytes from `bytes` or `bytearray`.
///
/// # Errors
/// `UsageError` for anything else.
pub(crate) fn octets(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Ok(bytes.to_vec());
    }
    Err(error(given.py(), Kind::Usage, format!("{} is no bytes", given.repr()?)))
}
