//! Bench files: read, resolved, brought up.

mod end;

pub(crate) use end::{LinkEnd, byte_fault};

use crate::device::Device;
use crate::error::{Kind, Owner, build, engine_error, hinted};
use crate::life::{Alive, Shared};
use crate::rig::Rig;
use crate::value::to_python;
use fieldrig_engine::bench::{self, BenchFileError, BringUpError, Profiles, Reached};
use fieldrig_engine::{ClockKind, EngineError, Node};
use fieldrig_proto::line::CONSOLE;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use fieldrig_proto::{device, modbus, mqtt};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::path::PathBuf;
use std::sync::Arc;

/// Every protocol a bench file may name.
pub(crate) static PROTOCOLS: [&Protocol; 8] =
    [&modbus::TCP, &modbus::TLS, &modbus::UDP, &modbus::RTU, &modbus::ASCII, &mqtt::V311, &mqtt::V5, &CONSOLE];

/// The JSON Schema of bench files (`"bench"`) or model files (`"model"`).
#[pyfunction]
#[pyo3(signature = (kind, /))]
pub(crate) fn schema(py: Python<'_>, kind: &str) -> PyResult<String> {
    match kind {
        "bench" => Ok(bench::bench_schema(&PROTOCOLS)),
        "model" => Ok(bench::model_schema(&PROTOCOLS)),
        _ => Err(crate::error::error(
            py,
            Kind::Usage,
            format!("there are schemas of \"bench\" and \"model\", not {kind:?}"),
        )),
    }
}

/// A bench file under chosen profiles.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Plan(Arc<bench::Plan>);

/// Reads a bench file with its overlay and its model files.
#[pyfunction]
#[pyo3(signature = (path, profiles, /))]
pub(crate) fn load(py: Python<'_>, path: PathBuf, profiles: Vec<String>) -> PyResult<Plan> {
    let profiles = Profiles::parse(&profiles)
        .map_err(|problem| hinted(py, Kind::Usage, &problem.message, problem.hint.as_deref()))?;
    let plan = crate::life::detached(py, || {
        bench::load(&path, &profiles, &bench::variable, &PROTOCOLS, &crate::loader::PythonModels)
    });
    plan.map(|plan| Plan(Arc::new(plan))).map_err(|problem| file_error(py, &problem))
}

pub(crate) fn file_error(py: Python<'_>, problem: &BenchFileError) -> PyErr {
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
    fn clock(&self) -> &'static str {
        match self.0.clock {
            ClockKind::Real => "real",
            ClockKind::Virtual => "virtual",
        }
    }
    #[getter]
    fn lock_wait(&self) -> String {
        format!("{}ns", self.0.lock_wait.as_nanos())
    }
    #[getter]
    fn waivers(&self) -> Option<PathBuf> {
        self.0.waivers.clone()
    }
    #[getter]
    fn requirements(&self) -> Option<PathBuf> {
        self.0.requirements.clone()
    }
    #[getter]
    fn secrets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.secrets)
    }
    #[getter]
    fn real_ports<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.real_ports())
    }
    #[getter]
    fn links<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let links = self.0.links.iter().enumerate().filter(|(_, link)| link.owner.is_none());
        PyTuple::new(py, links.map(|(index, _)| Link { plan: Arc::clone(&self.0), index }).collect::<Vec<_>>())
    }
    #[getter]
    fn duts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.devices(true))
    }
    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.devices(false))
    }
    fn __repr__(&self) -> String {
        format!("<Plan {}>", self.0.name)
    }
}

impl Plan {
    fn devices(&self, judged: bool) -> Vec<Dut> {
        let devices = self.0.devices.iter().enumerate().filter(|(_, device)| device.judged == judged);
        devices.map(|(index, _)| Dut { plan: Arc::clone(&self.0), index }).collect()
    }
}

/// A link of the bench.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Link {
    plan: Arc<bench::Plan>,
    index: usize,
}

impl Link {
    fn plan(&self) -> &bench::Link {
        &self.plan.links[self.index]
    }
}

#[pymethods]
impl Link {
    #[getter]
    fn name(&self) -> &str {
        &self.plan().name
    }
    #[getter]
    fn protocol(&self) -> &str {
        self.plan().protocol.name
    }
    #[getter]
    fn role(&self) -> &str {
        self.plan().role.word()
    }
    #[getter]
    fn real(&self) -> bool {
        self.plan().real
    }
    #[getter]
    fn wire(&self) -> bool {
        self.plan().line.is_some()
    }
    #[getter]
    fn line(&self) -> Option<String> {
        self.plan().line.map(|line| line.to_string())
    }
    #[getter]
    fn base(&self) -> &str {
        self.plan().base.as_deref().unwrap_or_default()
    }
    #[getter]
    fn lock<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.plan.ports_of(self.plan()))
    }
    /// Devices meet at a broker that ends with the run.
    #[getter]
    fn embedded(&self) -> bool {
        self.plan().broker.is_some()
    }
    #[getter]
    fn username(&self) -> Option<&str> {
        self.plan().username.as_deref()
    }
    #[getter]
    fn password(&self) -> Option<&str> {
        self.plan().password.as_deref()
    }
    #[getter]
    fn outside(&self) -> Option<&str> {
        self.plan().outside.as_deref()
    }
    #[getter]
    fn refused(&self) -> Option<(String, Option<String>)> {
        let problem = self.plan().refused.clone()?;
        let hint = problem.hint.clone();
        Some((BenchFileError { hint: None, ..problem }.to_string(), hint))
    }
    #[getter]
    fn ca(&self) -> Option<PathBuf> {
        self.plan().ca.as_ref().map(|ca| ca.path.clone())
    }
    #[getter]
    fn ca_place(&self) -> Option<String> {
        let place = &self.plan().ca.as_ref()?.place;
        Some(format!("{}:{}:{}", place.file, place.line, place.column))
    }
    fn __repr__(&self) -> String {
        format!("<Link {}, {}>", self.plan().name, self.plan().protocol.name)
    }
}

/// A device of the bench.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct Dut {
    plan: Arc<bench::Plan>,
    index: usize,
}

impl Dut {
    fn plan(&self) -> &bench::DevicePlan {
        &self.plan.devices[self.index]
    }

    /// A text in the table of its power, if that is a command.
    fn power(&self, key: &str) -> Option<&str> {
        let power = self.plan().life.power.as_ref()?;
        power.entry("command")?;
        power.entry(key)?.as_str()
    }
}

#[pymethods]
impl Dut {
    #[getter]
    fn name(&self) -> &str {
        &self.plan().name
    }
    #[getter]
    fn profile(&self) -> &str {
        self.plan().profile.word()
    }
    #[getter]
    fn not_run(&self) -> Option<&str> {
        self.plan().not_run.as_deref()
    }
    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.plan().tags)
    }
    #[getter]
    fn links<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let used = |use_index| DeviceLink { plan: Arc::clone(&self.plan), device: self.index, index: use_index };
        PyTuple::new(py, (0..self.plan().links.len()).map(used).collect::<Vec<_>>())
    }
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.plan().settings)
    }
    #[getter]
    fn reset<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.plan().reset)
    }
    #[getter]
    fn writable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.plan().writable)
    }
    #[getter]
    fn allow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.plan().allow)
    }
    #[getter]
    fn life<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (life, tables) = (&self.plan().life, PyDict::new(py));
        let found = [
            ("prepare", &life.prepare),
            ("recover", &life.recover),
            ("power", &life.power),
            ("restart", &life.restart),
            ("run", &life.run),
        ];
        for (name, table) in found {
            if let Some(table) = table {
                tables.set_item(name, to_python(py, table)?)?;
            }
        }
        if !life.identity.is_empty() {
            tables.set_item("identity", to_python(py, &Value::Table(life.identity.clone()))?)?;
        }
        Ok(tables)
    }
    #[getter]
    fn power_command(&self) -> Option<&str> {
        self.power("command")
    }
    #[getter]
    fn power_actions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let actions = self.plan().life.power.as_ref().and_then(|power| power.entry("actions"));
        to_python(py, actions.unwrap_or(&Value::List(Vec::new())))
    }
    #[getter]
    fn power_settle(&self) -> Option<&str> {
        self.power("settle")
    }
    #[getter]
    fn power_timeout(&self) -> Option<&str> {
        self.power("timeout")
    }
    #[getter]
    fn power_safe(&self) -> Option<&str> {
        self.power("safe")
    }
    fn __repr__(&self) -> String {
        format!("<Dut {}, {}>", self.plan().name, self.plan().profile.word())
    }
}

/// How a device uses a link.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct DeviceLink {
    plan: Arc<bench::Plan>,
    device: usize,
    index: usize,
}

impl DeviceLink {
    fn used(&self) -> &bench::DeviceLink {
        &self.plan.devices[self.device].links[self.index]
    }
}

#[pymethods]
impl DeviceLink {
    #[getter]
    fn name(&self) -> &str {
        &self.used().name
    }
    #[getter]
    fn protocol(&self) -> &str {
        self.used().protocol.name
    }
    #[getter]
    fn role(&self) -> &str {
        self.used().role.word()
    }
    #[getter]
    fn unit(&self) -> Option<i64> {
        self.used().unit
    }
    #[getter]
    fn face(&self) -> &str {
        &self.used().face
    }
    #[getter]
    fn tested(&self) -> bool {
        self.used().tested
    }
    #[getter]
    fn private(&self) -> bool {
        let device = &self.plan.devices[self.device].name;
        self.plan.link_of(device, &self.used().name).is_some_and(|link| link.owner.is_some())
    }
    #[getter]
    fn url(&self) -> Option<&str> {
        match &self.used().reached {
            Reached::Port(url) | Reached::Broker(url) => Some(url),
            _ => None,
        }
    }
    fn __repr__(&self) -> String {
        format!("<DeviceLink {}, {}>", self.used().name, self.used().protocol.name)
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
    let running = crate::wait::blocking(py, Owner::Bench, |go_on| match bench::bring_up(engine, &plan, go_on) {
        Err(BringUpError::Engine { error: EngineError::Interrupted, .. }) => Err(EngineError::Interrupted),
        outcome => Ok(outcome),
    })?;
    let running = running.map_err(|problem| match problem {
        BringUpError::File(problem) => file_error(py, &problem),
        BringUpError::Engine { what, error } => in_context(py, &what, &error),
    })?;
    Ok(Running { inner: Alive::new(running), shared, plan })
}

/// Where real devices and the brokers of others are; nothing is started or opened.
#[pyfunction]
#[pyo3(signature = (rig, plan, /))]
pub(crate) fn survey(rig: &Bound<'_, Rig>, plan: &Bound<'_, Plan>) -> Running {
    let plan = Arc::clone(&plan.get().0);
    Running { inner: Alive::new(bench::survey(&plan)), shared: Arc::clone(&rig.get().shared), plan }
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
    /// The protocol of a name, if a file of the bench defines it.
    #[pyo3(signature = (name, /))]
    fn protocol(&self, name: &str) -> Option<crate::protocol::Protocol> {
        let found = self.plan.protocols.iter().find(|defined| defined.definition.name == name)?;
        Some(crate::protocol::Protocol::of(&found.definition, found.protocol))
    }
    #[getter]
    fn devices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.get(py)?.devices().collect::<Vec<_>>())
    }
    #[pyo3(signature = (name, /))]
    fn link(&self, py: Python<'_>, name: &str) -> PyResult<LinkEnd> {
        match self.inner.get(py)?.link(name) {
            Some(end) => Ok(LinkEnd::new(end.clone(), &self.shared)),
            None => Err(crate::error::error(py, Kind::Usage, format!("the bench has no link `{name}`"))),
        }
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
    fn url(&self) -> String {
        // The port alone does not say which framing of Modbus is spoken there.
        match self.inner.protocol.name.starts_with("modbus-") {
            true => modbus::url::shown(self.inner.protocol, &self.inner.url),
            false => self.inner.url.clone(),
        }
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
    fn shared(&self) -> bool {
        self.inner.shared
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
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &Value::Table(self.inner.client.clone()))
    }
    #[getter]
    fn point_map<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.point_map.as_ref().map(|map| to_python(py, map)).transpose()
    }
    fn __repr__(&self) -> String {
        format!("<Resolved {}.{} at {}>", self.inner.device, self.inner.link, self.inner.url)
    }
}
