//! `Device`: an emulated device, its points and its power.

use crate::error::{Kind, error};
use crate::handle::Handle;
use crate::life::Shared;
use crate::modbus::Rule;
use crate::modbus::handler;
use crate::modbus::rule::{self, Site};
use crate::protocol;
use crate::time::{Span, Stamp, span_to};
use crate::value::{from_python, to_python};
use fieldrig_engine::Node;
use fieldrig_proto::device::{self, Power};
use fieldrig_proto::record::Value;
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// A value that was set.
#[pyclass(frozen, eq, module = "fieldrig.device")]
#[derive(Clone, PartialEq)]
pub(crate) struct Change {
    point: String,
    value: Value,
    at: time::Stamp,
}

impl Change {
    pub(crate) fn of(point: String, value: Value, at: time::Stamp) -> Change {
        Change { point, value, at }
    }
}

#[pymethods]
impl Change {
    #[new]
    fn new(point: String, value: &Bound<'_, PyAny>, at: Stamp) -> PyResult<Change> {
        Ok(Change { point, value: from_python(value)?, at: at.0 })
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
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    /// The span from the change to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(&str, Bound<'py, PyAny>, Stamp)> {
        Ok((&self.point, self.value(py)?, Stamp(self.at)))
    }
    fn __repr__(&self) -> String {
        format!("<Change {} = {:?}>", self.point, self.value)
    }
}

/// An emulated device of a bench.
#[pyclass(frozen, module = "fieldrig.device")]
pub(crate) struct Device {
    emulated: Emulated,
    name: String,
}

impl Device {
    /// A device that runs already.
    pub(crate) fn adopt(name: &str, node: Node<device::Device>, shared: &Arc<Shared>) -> Device {
        Device { emulated: Emulated { handle: Handle::adopt(node, shared) }, name: name.to_owned() }
    }

    pub(crate) fn emulated(&self) -> &Emulated {
        &self.emulated
    }
}

#[pymethods]
impl Device {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    #[getter]
    fn power(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.emulated.power(py)
    }
    #[pyo3(signature = (point, value))]
    fn set(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>) -> PyResult<Change> {
        self.emulated.set(py, point, value)
    }
    #[pyo3(signature = (point))]
    fn get<'py>(&self, py: Python<'py>, point: &str) -> PyResult<Bound<'py, PyAny>> {
        self.emulated.get(py, point)
    }
    fn power_on(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_on(py)
    }
    fn power_off(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_off(py)
    }
    #[pyo3(signature = (face, name, value = None))]
    fn habit(&self, py: Python<'_>, face: &str, name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.emulated.habit(py, face, name, value)
    }
    /// Adds a rule to a Modbus face, which comes last and so wins.
    #[pyo3(signature = (face, /, **keys))]
    fn rule(slf: Py<Self>, py: Python<'_>, face: &str, keys: Option<&Bound<'_, PyDict>>) -> PyResult<Rule> {
        rule::add(py, Site::Bench(slf), face, keys)
    }
    /// The rules of a Modbus face by name, in order.
    #[pyo3(signature = (face, /))]
    fn rules<'py>(slf: Py<Self>, py: Python<'py>, face: &str) -> PyResult<Bound<'py, PyDict>> {
        rule::all(py, &Site::Bench(slf), face)
    }
    /// Has a function answer the requests to a face; None: the device does again.
    #[pyo3(signature = (face, function, /))]
    fn handle(&self, py: Python<'_>, face: &str, function: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        if protocol::set_handler(py, &self.emulated, face, function)? {
            return Ok(());
        }
        let wrapped = function.map(|function| handler::wrapped(function, &self.name)).transpose()?;
        let handler = wrapped.as_ref().map(handler::handler).transpose()?;
        rule::with_face(py, &self.emulated, face, |face| face.set_handler(handler))
    }
    fn reset_rules(&self, py: Python<'_>) -> PyResult<()> {
        rule::reset(py, &self.emulated)
    }
    /// Why the model of the device failed, until `clear_raised`.
    #[getter]
    fn raised(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let (failure, _) = self.emulated.handle.with(py, |device, _| device.failure().map(str::to_owned))?;
        Ok(failure)
    }
    fn clear_raised(&self, py: Python<'_>) -> PyResult<()> {
        self.emulated.handle.with(py, |device, _| device.take_failure()).map(|_| ())
    }
    fn reset_points(&self, py: Python<'_>) -> PyResult<Stamp> {
        let (at, _) = self.emulated.handle.with(py, |device, now| {
            device.reset_points(now);
            now
        })?;
        Ok(self.emulated.handle.stamped(py, at))
    }
    /// Where a face is found: `127.0.0.1:40233`, `/dev/pts/7`.
    #[pyo3(signature = (face, /))]
    fn address(&self, py: Python<'_>, face: &str) -> PyResult<String> {
        self.emulated.handle.address(py, face)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.emulated.handle.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<Device {}>", self.name)
    }
}

/// What every emulated device can do, whatever its faces are.
pub(crate) struct Emulated {
    pub(crate) handle: Handle<device::Device>,
}

impl Emulated {
    /// Sets a point in the name of the test.
    ///
    /// # Errors
    /// `UsageError` for an unknown point and a value that does not fit.
    pub(crate) fn set(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>) -> PyResult<Change> {
        let value = from_python(value)?;
        let wanted = value.clone();
        let (outcome, _) = self.handle.with(py, |device, now| device.set(now, point, wanted))?;
        let change = outcome.map_err(|problem| error(py, Kind::Usage, problem.to_string()))?;
        Ok(Change { point: point.to_owned(), value: change.to, at: self.handle.stamped(py, change.at).0 })
    }

    /// The value of a point.
    ///
    /// # Errors
    /// `UsageError` for an unknown point.
    pub(crate) fn get<'py>(&self, py: Python<'py>, point: &str) -> PyResult<Bound<'py, PyAny>> {
        let (value, _) = self.handle.with(py, |device, _| device.get(point).cloned())?;
        match value {
            Some(value) => to_python(py, &value),
            None => Err(error(py, Kind::Usage, format!("there is no point `{point}`"))),
        }
    }

    /// Switches it on; gives the instant.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn power_on(&self, py: Python<'_>) -> PyResult<Stamp> {
        let (at, _) = self.handle.with(py, |device, now| {
            device.power_on(now);
            now
        })?;
        Ok(self.handle.stamped(py, at))
    }

    /// Switches it off; gives the instant.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn power_off(&self, py: Python<'_>) -> PyResult<Stamp> {
        let (at, _) = self.handle.with(py, |device, now| {
            device.power_off(now);
            now
        })?;
        Ok(self.handle.stamped(py, at))
    }

    /// "off", "boot" or "run".
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn power(&self, py: Python<'_>) -> PyResult<&'static str> {
        let (power, _) = self.handle.with(py, |device, _| device.power())?;
        Ok(match power {
            Power::Off => "off",
            Power::Boot => "boot",
            Power::Run => "run",
        })
    }

    /// Changes how a face behaves.
    ///
    /// # Errors
    /// `UsageError` with the names there are.
    pub(crate) fn habit(
        &self,
        py: Python<'_>,
        face: &str,
        name: &str,
        value: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let value = value.map_or(Ok(Value::Bool(true)), from_python)?;
        let (outcome, _) = self.handle.with(py, |device, _| device.set_habit(face, name, &value))?;
        outcome.map_err(|problem| error(py, Kind::Usage, problem))
    }
}
