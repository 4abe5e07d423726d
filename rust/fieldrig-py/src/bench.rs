//! Bench files: read, resolved, brought up.

use crate::device::Device;
use crate::error::{Kind, Owner, build, engine_error, hinted};
use crate::life::{Alive, Shared};
use crate::rig::Rig;
use crate::value::to_python;
use fieldrig_engine::bench::{self, BenchFileError, BringUpError, Profiles};
use fieldrig_engine::{EngineError, Node};
use fieldrig_proto::line::CONSOLE;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;
use fieldrig_proto::{device, modbus, mqtt};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::path::PathBuf;
use std::sync::Arc;

/// Every protocol a bench file may name.
pub(crate) static PROTOCOLS: [&Protocol; 5] = [&modbus::TCP, &modbus::RTU, &mqtt::V311, &mqtt::V5, &CONSOLE];

/// A bench file under chosen profiles.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Plan(Arc<bench::Plan>);

/// Reads a bench file with its overlay and its model files.
#[pyfunction]
#[pyo3(signature = (path, profiles, /))]
pub(crate) fn load(py: Python<'_>, path: PathBuf, profiles: Vec<String>) -> PyResult<Plan> {
    let profiles = Profiles::parse(&profiles)
        .map_err(|problem| hinted(py, Kind::Usage, &problem.message, problem.hint.as_deref()))?;
    let environment = |name: &str| std::env::var(name).ok();
    let plan = crate::life::detached(py, || bench::load(&path, &profiles, &environment, &PROTOCOLS));
    plan.map(|plan| Plan(Arc::new(plan))).map_err(|problem| file_error(py, &problem))
}

fn file_error(py: Python<'_>, problem: &BenchFileError) -> PyErr {
    let message = BenchFileError { hint: None, ..problem.clone() }.to_string();
    let facts = || -> PyResult<Vec<(&str, Bound<'_, PyAny>)>> {
        Ok(vec![
            ("file", problem.file.as_str().into_pyobject(py)?.into_any()),
            ("line", problem.line.into_pyobject(py)?.into_any()),
            ("column", problem.column.into_pyobject(py)?.into_any()),
        ])
    };
    match facts() {
        Ok(facts) => build(py, Kind::BenchFile, &message, problem.hint.as_deref(), &facts),
        Err(problem) => problem,
    }
}

#[pymethods]
impl Plan {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }
    #[getter]
    fn duts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.duts().map(Dut::of).collect::<Vec<_>>())
    }
    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.devices.iter().filter(|device| !device.judged).map(Dut::of).collect::<Vec<_>>())
    }
    /// What must stand in no artefact.
    #[getter]
    fn secrets(&self) -> Vec<String> {
        self.0.secrets()
    }
    fn __repr__(&self) -> String {
        format!("<Plan {}>", self.0.name)
    }
}

/// A device of the bench.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Dut {
    name: String,
    profile: &'static str,
    not_run: Option<String>,
    tags: Vec<String>,
    power: Option<bench::Power>,
    links: Vec<Link>,
}

impl Dut {
    fn of(plan: &bench::DevicePlan) -> Dut {
        let link = |used: &bench::DeviceLink| Link {
            name: used.name.clone(),
            protocol: used.protocol.name,
            url: match &used.reached {
                bench::Reached::Port(url) | bench::Reached::Broker(url) => Some(url.clone()),
                bench::Reached::Pty | bench::Reached::Loopback | bench::Reached::EmbeddedBroker => None,
            },
        };
        Dut {
            name: plan.name.clone(),
            profile: plan.profile.word(),
            not_run: plan.not_run.clone(),
            tags: plan.tags.clone(),
            power: plan.power.clone(),
            links: plan.links.iter().map(link).collect(),
        }
    }
}

/// A duration as people write it in a bench file.
fn duration(length: Duration) -> String {
    format!("{}ns", length.as_nanos())
}

#[pymethods]
impl Dut {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    #[getter]
    fn profile(&self) -> &str {
        self.profile
    }
    #[getter]
    fn not_run(&self) -> Option<&str> {
        self.not_run.as_deref()
    }
    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.tags)
    }
    #[getter]
    fn links<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.links.iter().cloned())
    }
    #[getter]
    fn power_command(&self) -> Option<&str> {
        self.power.as_ref().map(|power| power.command.as_str())
    }
    #[getter]
    fn power_actions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.power.as_ref().map_or(&[][..], |power| &power.actions))
    }
    #[getter]
    fn power_settle(&self) -> Option<String> {
        self.power.as_ref().map(|power| duration(power.settle))
    }
    #[getter]
    fn power_timeout(&self) -> Option<String> {
        self.power.as_ref().map(|power| duration(power.timeout))
    }
    #[getter]
    fn power_safe(&self) -> Option<&str> {
        self.power.as_ref()?.safe.as_deref()
    }
    fn __repr__(&self) -> String {
        format!("<Dut {}, {}>", self.name, self.profile)
    }
}

/// A link of a device.
#[pyclass(frozen, module = "fieldrig._core.bench")]
#[derive(Clone)]
pub(crate) struct Link {
    name: String,
    protocol: &'static str,
    url: Option<String>,
}

#[pymethods]
impl Link {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    #[getter]
    fn protocol(&self) -> &str {
        self.protocol
    }
    /// The real port, or the broker outside, at which it is.
    #[getter]
    fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
    fn __repr__(&self) -> String {
        format!("<Link {}, {}>", self.name, self.protocol)
    }
}

/// A bench that is up: embedded brokers and emulated devices.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Running {
    // Before the rig: dropped first.
    inner: Alive<bench::Running>,
    shared: Arc<Shared>,
    plan: Arc<bench::Plan>,
}

/// Starts what is emulated and finds out where everything is.
#[pyfunction]
#[pyo3(signature = (rig, plan, /))]
pub(crate) fn bring_up(py: Python<'_>, rig: &Bound<'_, Rig>, plan: &Bound<'_, Plan>) -> PyResult<Running> {
    let shared = Arc::clone(&rig.get().shared);
    let plan = Arc::clone(&plan.get().0);
    let engine = shared.rig(py)?;
    let running = crate::life::detached(py, || bench::bring_up(engine, &plan)).map_err(|problem| match problem {
        BringUpError::File(problem) => file_error(py, &problem),
        BringUpError::Engine { what, error } => in_context(py, &what, &error),
    })?;
    Ok(Running { inner: Alive::new(running), shared, plan })
}

/// An error of the engine, with the part of the bench for which it happened.
fn in_context(py: Python<'_>, what: &str, problem: &EngineError) -> PyErr {
    let error = engine_error(py, problem, Owner::Bench);
    // Classes of errors.py have a message; what is no such class stays as it is.
    let _ = error.value(py).setattr("message", format!("{what}: {problem}"));
    error
}

impl Running {
    fn resolved<'a>(&'a self, py: Python<'_>, device: &str, link: &str) -> PyResult<&'a bench::Resolved> {
        self.inner.get(py)?.resolve(device, link).ok_or_else(|| {
            let message = format!("the bench has no link `{link}` of a device `{device}` that can be used");
            crate::error::error(py, Kind::Usage, message)
        })
    }

    /// Where the points of a device are, with their units.
    fn point_map(&self, resolved: &bench::Resolved) -> Option<Value> {
        let map = resolved.face_settings.as_ref()?.entry("map")?;
        let model = self.plan.device(&resolved.device)?.model.as_ref();
        let Value::Table(places) = map else { return None };
        let unit = |point: &str| {
            let found = model?.points().iter().find(|definition| definition.name == point)?;
            Some(("unit".to_owned(), Value::from(found.unit.as_str())))
        };
        let with_unit = |(point, place): &(String, Value)| match place {
            Value::Table(entries) => {
                let all = entries.iter().cloned().chain(unit(point)).collect();
                (point.clone(), Value::Table(all))
            }
            other => (point.clone(), other.clone()),
        };
        Some(Value::Table(places.iter().map(with_unit).collect()))
    }
}

#[pymethods]
impl Running {
    #[pyo3(signature = (name, /))]
    fn device(&self, py: Python<'_>, name: &str) -> PyResult<Option<Device>> {
        let node: Option<&Node<device::Device>> = self.inner.get(py)?.device(name);
        Ok(node.map(|node| Device::adopt(name, node.clone(), &self.shared)))
    }
    #[pyo3(signature = (device, link, /))]
    fn resolve(&self, py: Python<'_>, device: &str, link: &str) -> PyResult<Resolved> {
        let found = self.resolved(py, device, link)?;
        Ok(Resolved { inner: found.clone(), point_map: self.point_map(found) })
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner.get(py)?;
        crate::life::detached(py, || inner.close());
        Ok(())
    }
}

/// Where the tester's end of a link is.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Resolved {
    inner: bench::Resolved,
    point_map: Option<Value>,
}

#[pymethods]
impl Resolved {
    #[getter]
    fn device(&self) -> &str {
        &self.inner.device
    }
    #[getter]
    fn link(&self) -> &str {
        &self.inner.link
    }
    #[getter]
    fn protocol(&self) -> &str {
        self.inner.protocol.name
    }
    #[getter]
    fn url(&self) -> &str {
        &self.inner.url
    }
    #[getter]
    fn line(&self) -> Option<String> {
        self.inner.line.map(|line| line.to_string())
    }
    #[getter]
    fn base(&self) -> &str {
        self.inner.base.as_deref().unwrap_or_default()
    }
    #[getter]
    fn unit(&self) -> i64 {
        self.inner.unit.unwrap_or(1)
    }
    #[getter]
    fn belongs_to(&self) -> &str {
        self.inner.belongs_to.word()
    }
    #[getter]
    fn username(&self) -> Option<&str> {
        self.inner.username.as_deref()
    }
    #[getter]
    fn password(&self) -> Option<&str> {
        self.inner.password.as_deref()
    }
    #[getter]
    fn point_map<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.point_map.as_ref().map(|map| to_python(py, map)).transpose()
    }
    fn __repr__(&self) -> String {
        format!("<Resolved {}.{} at {}>", self.inner.device, self.inner.link, self.inner.url)
    }
}
