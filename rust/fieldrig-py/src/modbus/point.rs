//! Points by name, and what reading one gives.

use super::answer::{Answer, same_object};
use crate::error::{Kind, error, hinted};
use crate::time::{Span, Stamp};
use crate::value::{from_python, to_python};
use fieldrig_engine::bench::{MapFile, declared_points, did_you_mean, load_map};
use fieldrig_proto::device::PointDefinition;
use fieldrig_proto::modbus::map::{Mapping, PointWriteError, parse_map};
use fieldrig_proto::modbus::pdu::{Request, Response};
use fieldrig_proto::modbus::{RTU, TCP};
use fieldrig_proto::protocol::Role;
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;

/// Where the named points of a device are.
#[derive(Clone, Default)]
pub(super) struct Points(Vec<Mapping>);

impl Points {
    /// Reads `{"voltage": {"table": "input", "address": 0, "type": "u16", "scale": 0.1, "unit": "V"}}`.
    ///
    /// # Errors
    /// `UsageError` with the key at fault.
    pub(super) fn parse(given: Option<&Bound<'_, PyAny>>) -> PyResult<Points> {
        let Some(given) = given else { return Ok(Points::default()) };
        let py = given.py();
        let file = map_file(given)?;
        let entries = file.as_ref().map_or_else(|| from_python(given), |file| Ok(file.points()))?;
        if !matches!(entries, Value::Table(_)) {
            return Err(error(py, Kind::Usage, "points is a dict of dicts, or the path of a map file"));
        }
        parse_map(&entries).map(Points).map_err(|problem| {
            if let Some(placed) = file.as_ref().and_then(|file| file.refused(&problem)) {
                return crate::bench::file_error(py, &placed);
            }
            let message = format!("points: `{}`: {problem}", problem.key.trim_start_matches("map."));
            hinted(py, Kind::Usage, message, problem.hint.as_deref())
        })
    }

    /// The point of this name.
    ///
    /// # Errors
    /// `UsageError` with the names there are.
    pub(super) fn find(&self, py: Python<'_>, name: &str) -> PyResult<&Mapping> {
        self.0.iter().find(|point| point.point == name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|point| point.point.as_str()).collect();
            let there = if names.is_empty() { "points= was not given".to_owned() } else { names.join(", ") };
            let near = did_you_mean(name, names.iter().copied()).filter(|hint| hint.starts_with("did"));
            hinted(py, Kind::Usage, format!("there is no point `{name}`; there are: {there}"), near.as_deref())
        })
    }
}

/// The content of a map file, if a path is given.
///
/// # Errors
/// `BenchFileError` with the place of what is wrong with the file.
pub(super) fn map_file(given: &Bound<'_, PyAny>) -> PyResult<Option<MapFile>> {
    let path: std::path::PathBuf = match given.extract() {
        Ok(path) => path,
        Err(_) => return Ok(None),
    };
    let environment = |name: &str| std::env::var(name).ok();
    // What stands beside the points is for an emulated device; `fieldrig probe` says in `device` what it found.
    let constructors = [&TCP, &RTU].map(|protocol| protocol.constructor(Role::Device));
    let keys = constructors.iter().flatten().flat_map(|constructor| constructor.keys.iter().map(|key| key.name));
    let known: Vec<&str> = keys.filter(|key| *key != "map").chain(["device"]).collect();
    let loaded = load_map(&path, &environment, &known);
    loaded.map(Some).map_err(|problem| crate::bench::file_error(given.py(), &problem))
}

/// Takes the map of an emulated device, a dict or the path of a file, into its settings: `map`, and the raw values of a
/// file unless they are given. Gives the points, and the file.
///
/// # Errors
/// `UsageError` and `BenchFileError` with the place of what is wrong.
pub(super) fn take_map(
    given: &Bound<'_, PyAny>,
    settings: &mut Vec<(String, Value)>,
) -> PyResult<(Vec<PointDefinition>, Option<MapFile>)> {
    let py = given.py();
    let file = map_file(given)?;
    let map = file.as_ref().map_or_else(|| from_python(given), |file| Ok(file.points()))?;
    for (key, value) in file.as_ref().map(MapFile::further).unwrap_or_default() {
        if key != "device" && !settings.iter().any(|(known, _)| *known == key) {
            settings.push((key, value));
        }
    }
    let points = match &file {
        Some(file) => file.declared(),
        None => declared_points(&given.str()?.to_string(), &map),
    };
    let points = points.map_err(|problem| crate::bench::file_error(py, &problem))?;
    settings.push(("map".to_owned(), map));
    Ok((points, file))
}

/// What a map says about a point, with every key; `initial` is left as it was given.
fn described(mapping: &Mapping) -> Value {
    let encoding = &mapping.encoding;
    let mut entries = vec![
        ("table", Value::from(mapping.table.name())),
        ("address", mapping.address.into()),
        ("registers", Value::Int(mapping.width() as i64)),
        ("type", encoding.kind.name().into()),
        ("unit", mapping.unit.as_str().into()),
        ("scale", encoding.scale.into()),
        ("offset", encoding.offset.into()),
        ("readable", mapping.readable.into()),
        ("writable", mapping.writable.into()),
    ];
    if let Some(bits) = encoding.bits {
        let last = i64::from(bits.lowest) + i64::from(bits.count) - 1;
        entries.push(("bits", Value::List(vec![Value::Int(bits.lowest.into()), Value::Int(last)])));
    }
    if let Some((low, high)) = mapping.range {
        entries.push(("range", Value::List(vec![low.into(), high.into()])));
    }
    if !encoding.labels.is_empty() {
        let label = |(number, name): &(i64, String)| (name.clone(), Value::Int(*number));
        entries.push(("labels", Value::Table(encoding.labels.iter().map(label).collect())));
    }
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The request that reads a point.
///
/// # Errors
/// `UsageError` for a point that can only be written.
pub(super) fn read_request(py: Python<'_>, client: &str, point: &Mapping) -> PyResult<Request> {
    if point.readable {
        return Ok(point.read_request());
    }
    let message = format!("{client}: point `{}` can only be written, the map says", point.point);
    Err(error(py, Kind::Usage, message))
}

/// Writes a point by means of `ask`. A part of registers is written by function 22, which leaves the rest alone; where
/// the device has none (exception 01), or the part goes over several registers, by reading them and writing them back.
///
/// # Errors
/// `UsageError` for what the point cannot hold; those of `ask`.
pub(super) fn write(
    py: Python<'_>,
    client: &str,
    point: &Mapping,
    value: &Bound<'_, PyAny>,
    ask: impl Fn(Request) -> PyResult<Answer>,
) -> PyResult<Answer> {
    let refused = |problem: PointWriteError| error(py, Kind::Usage, format!("{client}: {problem}"));
    let value = value_of(value)?;
    if let Some(request) = point.write_request(&value).map_err(refused)? {
        let masked = matches!(request, Request::MaskWriteRegister { .. });
        match ask(request) {
            Err(problem) if masked && is_illegal_function(py, &problem) => {}
            ended => return ended,
        }
    }
    let now = ask(point.read_request())?;
    let Response::Registers { values, .. } = &now.response else {
        let message = format!("{client}: the answer for point `{}` holds no registers", point.point);
        return Err(error(py, Kind::Protocol, message));
    };
    ask(point.merged_request(&value, values).map_err(refused)?)
}

/// Exception 01: the device does not know the function (AP 7).
fn is_illegal_function(py: Python<'_>, problem: &PyErr) -> bool {
    let value = problem.value(py);
    let is = |name: &str| value.get_type().name().is_ok_and(|found| found == name);
    is("ExceptionAnswer") && value.getattr("code").and_then(|code| code.extract::<u8>()).is_ok_and(|code| code == 1)
}

/// A value to write; a `datetime` becomes its text in UTC.
///
/// # Errors
/// `UsageError` for a `datetime` without a time zone, and for what is no value.
fn value_of(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = given.py();
    if !given.hasattr("isoformat")? {
        return from_python(given);
    }
    let text: String = given.call_method0("isoformat")?.extract()?;
    if given.getattr("tzinfo").map_or(true, |zone| zone.is_none()) {
        let message = format!("{text} has no time zone");
        return Err(hinted(py, Kind::Usage, message, Some("write datetime(.., tzinfo=UTC)")));
    }
    Ok(Value::Text(text))
}

/// Every point of a map as a dict with every key, checked.
///
/// # Errors
/// `UsageError` with the key at fault.
#[pyfunction]
#[pyo3(signature = (points, /))]
pub(crate) fn describe_points<'py>(py: Python<'py>, points: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let points = Points::parse(Some(points))?;
    let entries = points.0.iter().map(|mapping| (mapping.point.clone(), described(mapping))).collect();
    to_python(py, &Value::Table(entries))
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
    pub(super) fn decode(py: Python<'_>, point: &Mapping, answer: Answer) -> PyResult<Reading> {
        let name = point.point.clone();
        let value = point.value(&answer.response).map_err(|problem| {
            error(py, Kind::Protocol, format!("the answer for point `{name}` cannot be read: {problem}"))
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
