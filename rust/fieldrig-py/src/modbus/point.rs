//! Points by name, and what reading one gives.

use super::answer::{Answer, same_object};
use crate::error::{Kind, error, hinted};
use crate::time::{Span, Stamp};
use crate::value::{from_python, to_python};
use fieldrig_proto::modbus::server::{Mapping, parse_map};
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;

/// Where the named points of a device are.
#[derive(Default)]
pub(super) struct Points(Vec<Point>);

/// Where one point is.
pub(super) struct Point {
    pub(super) mapping: Mapping,
    unit: String,
}

impl Points {
    /// Reads `{"voltage": {"table": "input", "address": 0, "type": "u16", "scale": 0.1, "unit": "V"}}`.
    ///
    /// # Errors
    /// `UsageError` with the key at fault.
    pub(super) fn parse(given: Option<&Bound<'_, PyAny>>) -> PyResult<Points> {
        let Some(given) = given else { return Ok(Points::default()) };
        let py = given.py();
        let Value::Table(entries) = from_python(given)? else {
            return Err(error(py, Kind::Usage, "points is a dict of dicts"));
        };
        let (places, units): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .map(|(name, value)| {
                let (place, unit) = without_unit(value);
                ((name, place), unit)
            })
            .unzip();
        let mappings = parse_map(&Value::Table(places)).map_err(|problem| {
            let message = format!("points: `{}`: {problem}", problem.key.trim_start_matches("map."));
            hinted(py, Kind::Usage, message, problem.hint.as_deref())
        })?;
        Ok(Points(mappings.into_iter().zip(units).map(|(mapping, unit)| Point { mapping, unit }).collect()))
    }

    /// The point of this name.
    ///
    /// # Errors
    /// `UsageError` with the names there are.
    pub(super) fn find(&self, py: Python<'_>, name: &str) -> PyResult<&Point> {
        self.0.iter().find(|point| point.mapping.point == name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|point| point.mapping.point.as_str()).collect();
            let there = if names.is_empty() { "points= was not given".to_owned() } else { names.join(", ") };
            error(py, Kind::Usage, format!("there is no point `{name}`; there are: {there}"))
        })
    }
}

/// The unit of the value is for people; where the value stands does not depend on it.
fn without_unit(value: Value) -> (Value, String) {
    let Value::Table(mut entries) = value else { return (value, String::new()) };
    let unit = entries.iter().position(|(key, _)| key == "unit").map(|index| entries.remove(index).1);
    let text = unit.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    (Value::Table(entries), text)
}

/// The value of a point, as read from the device.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Reading {
    point: String,
    value: Value,
    unit: String,
    answer: Py<Answer>,
}

impl Reading {
    /// What the answer says about the point.
    ///
    /// # Errors
    /// Those of making the objects.
    pub(super) fn decode(py: Python<'_>, point: &Point, answer: Answer) -> PyResult<Reading> {
        let name = point.mapping.point.clone();
        let value = point.mapping.value(&answer.response).ok_or_else(|| {
            error(
                py,
                Kind::Protocol,
                format!("the answer for point `{name}` holds something else: {:?}", answer.response),
            )
        })?;
        Ok(Reading { point: name, value, unit: point.unit.clone(), answer: Py::new(py, answer)? })
    }
}

#[pymethods]
impl Reading {
    #[new]
    fn new(point: String, value: &Bound<'_, PyAny>, unit: String, answer: Py<Answer>) -> PyResult<Reading> {
        Ok(Reading { point, value: from_python(value)?, unit, answer })
    }
    #[getter]
    fn point(&self) -> &str {
        &self.point
    }
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.value)
    }
    #[getter]
    fn unit(&self) -> &str {
        &self.unit
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.answer.get().at)
    }
    #[getter]
    fn done(&self) -> Stamp {
        Stamp(self.answer.get().done)
    }
    #[getter]
    fn answer(&self, py: Python<'_>) -> Py<Answer> {
        self.answer.clone_ref(py)
    }
    /// The span from the issue of the request to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        self.answer.get().until_event(later)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(&str, Bound<'py, PyAny>, &str, Py<Answer>)> {
        Ok((&self.point, self.value(py)?, &self.unit, self.answer(py)))
    }
    fn __repr__(&self) -> String {
        format!("<Reading {}>", format!("{} = {} {}", self.point, self.value, self.unit).trim_end())
    }
    /// Two readings are equal if they are the same one. A comparison with a value would tell nothing about the device:
    /// it is a mistake of the test, and said to be one.
    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let name = &slf.get().point;
        same_object(slf.as_any(), other, op, || format!("the reading of `{name}` is compared with"))
    }
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize
    }
    /// A reading of 0 or false is there, too: it would always be true.
    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        let message = format!("a reading of `{}` is neither true nor false; its value may be", self.point);
        Err(hinted(py, Kind::Usage, message, Some("write `.value` behind it")))
    }
}
