//! `Device`: an emulated Modbus device with raw tables.

use super::rule::{self, Rule, Site};
use super::{handler, point, url};
use crate::bench::file_error;
use crate::device::{Change, Emulated};
use crate::error::{Kind, Owner, error};
use crate::handle::Handle;
use crate::place;
use crate::rig::Rig;
use crate::time::Stamp;
use crate::value::from_python;
use fieldrig_engine::Thread;
use fieldrig_engine::bench::load_series;
use fieldrig_proto::device::{self, NoModel, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::server::{ServerFace, Table};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::Value;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The name of its one face.
const FACE: &str = "modbus";

/// An emulated Modbus device.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Device {
    emulated: Emulated,
    url: String,
    /// What stands between it and the function that answers in its place.
    handler: Option<Py<PyAny>>,
}

fn table(py: Python<'_>, name: &str) -> PyResult<Table> {
    Table::NAMES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table).ok_or_else(|| {
        let names: Vec<&str> = Table::NAMES.iter().map(|(name, _)| *name).collect();
        error(py, Kind::Usage, format!("there is no table `{name}`; there are {}", names.join(", ")))
    })
}

fn missing(py: Python<'_>, name: &str, address: u16, count: usize) -> PyErr {
    error(py, Kind::Usage, format!("{name}: {count} values from address {address} are not all there"))
}

fn no_unit(py: Python<'_>, unit: Option<u8>) -> PyErr {
    error(py, Kind::Usage, format!("the device has no unit {}", unit.unwrap_or_default()))
}

impl Device {
    pub(crate) fn emulated(&self) -> &Emulated {
        &self.emulated
    }

    /// Whether its handler has broken and nobody was told yet.
    fn told_by_handler(&self, py: Python<'_>) -> PyResult<()> {
        match &self.handler {
            Some(handler) => handler.bind(py).call_method0("tell").map(|_| ()),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Device {
    #[new]
    #[pyo3(signature = (url = "tcp://127.0.0.1:0", *, unit = Some(1), holding = None, input = None, coils = None,
        discrete = None, functions = None, files = None, fifos = None, identification = None, conformity = None,
        server_id = None, exception_status = None, diagnostic_register = None, units = None, roles = None, map = None,
        rules = None, seed = None, handler = None, rig = None))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python constructor
    fn new(
        py: Python<'_>,
        url: &str,
        unit: Option<i64>,
        holding: Given<'_, '_>,
        input: Given<'_, '_>,
        coils: Given<'_, '_>,
        discrete: Given<'_, '_>,
        functions: Given<'_, '_>,
        files: Given<'_, '_>,
        fifos: Given<'_, '_>,
        identification: Given<'_, '_>,
        conformity: Given<'_, '_>,
        server_id: Given<'_, '_>,
        exception_status: Given<'_, '_>,
        diagnostic_register: Given<'_, '_>,
        units: Given<'_, '_>,
        roles: Given<'_, '_>,
        map: Given<'_, '_>,
        rules: Given<'_, '_>,
        seed: Given<'_, '_>,
        handler: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
    ) -> PyResult<Device> {
        let place = url::parse(py, url, rig)?;
        let mut settings = place.settings();
        settings.extend(unit.map(|unit| ("unit".to_owned(), Value::Int(unit))));
        for (key, given) in [
            ("holding", holding),
            ("input", input),
            ("coils", coils),
            ("discrete", discrete),
            ("functions", functions),
            ("files", files),
            ("fifos", fifos),
            ("identification", identification),
            ("conformity", conformity),
            ("server_id", server_id),
            ("exception_status", exception_status),
            ("diagnostic_register", diagnostic_register),
            ("units", units),
            ("roles", roles),
            ("rule", rules),
            ("seed", seed),
        ] {
            if let Some(given) = given {
                settings.push((key.to_owned(), from_python(given)?));
            }
        }
        for (_, rules) in settings.iter_mut().filter(|(key, _)| key == "rule") {
            let Value::List(rules) = rules else { continue };
            let loaded = rules.iter_mut().try_for_each(load_series);
            loaded.map_err(|problem| file_error(py, &problem))?;
        }
        let (points, file) = map.map(|map| point::take_map(map, &mut settings)).transpose()?.unwrap_or_default();
        let refused = |problem| match file.as_ref().and_then(|file| file.refused(&problem)) {
            Some(placed) => file_error(py, &placed),
            None => url::setting_error(py, &problem),
        };
        let constructor = place.protocol.constructor(Role::Device);
        let built = constructor.map(|constructor| (constructor.build)(FACE, &settings)).transpose().map_err(refused)?;
        let Some(Built::Face(face)) = built else {
            return Err(error(py, Kind::Bench, format!("{} has no devices", place.protocol.name)));
        };
        let handler = handler.map(|function| handler::wrapped(function, url)).transpose()?;
        // A device is found where a client would connect to.
        let port = place.port.listening();
        let shown = port.clone();
        let binding = place::binding(FACE, port, Some(place.protocol), Sender::Server);
        let mut device = device::Device::new(FACE, PointStore::new(points), Box::new(NoModel), vec![face]);
        if let (Some(face), Some(wrapped)) = (device.face_as::<ServerFace>(FACE), &handler) {
            face.set_handler(Some(handler::handler(wrapped)?));
        }
        // Python is not called on a thread that others share, or that spins for the sake of deadlines.
        let thread = if handler.is_some() { Thread::Models } else { Thread::Reactor };
        let handle = Handle::open_on(py, rig, thread, url, device, vec![binding], Owner::Bench)?;
        let url = url::reached(place.protocol, &shown, &handle.address(py, FACE)?);
        if let Some(handler) = &handler {
            handler.setattr("device", &url)?;
        }
        let device = Device { emulated: Emulated { handle }, url, handler: handler.map(Bound::unbind) };
        device.power_on(py)?;
        Ok(device)
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[pyo3(signature = (table, address, count = 1, *, unit = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        table: &str,
        address: u16,
        count: usize,
        unit: Option<u8>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let which = self::table(py, table)?;
        let (values, _) = self.emulated.handle.with(py, |device, _| {
            let face = device.face_as::<ServerFace>(FACE)?;
            face.bank_of(unit).map(|bank| bank.raw(which, address, count).map(<[u16]>::to_vec))
        })?;
        let values = values.ok_or_else(|| no_unit(py, unit))?;
        PyTuple::new(py, values.ok_or_else(|| missing(py, table, address, count))?)
    }
    #[pyo3(signature = (table, address, values, *, unit = None))]
    fn set(
        &self,
        py: Python<'_>,
        table: &str,
        address: u16,
        values: &Bound<'_, PyAny>,
        unit: Option<u8>,
    ) -> PyResult<Change> {
        let which = self::table(py, table)?;
        let list: Vec<u16> = match values.extract::<u16>() {
            Ok(one) => vec![one],
            Err(_) => values.extract()?,
        };
        let (at, _) = self.emulated.handle.with(py, |device, now| {
            let bank = device.face_as::<ServerFace>(FACE)?.bank_of(unit)?;
            Some(bank.set_raw(which, address, &list).then_some(now))
        })?;
        let at = at.ok_or_else(|| no_unit(py, unit))?;
        let at = at.ok_or_else(|| missing(py, table, address, list.len()))?;
        let values = Value::List(list.into_iter().map(Value::from).collect());
        Ok(Change::of(format!("{table}[{address}]"), values, self.emulated.handle.stamped(py, at).0))
    }
    /// The value of a point of its map.
    #[pyo3(signature = (point, /))]
    fn value<'py>(&self, py: Python<'py>, point: &str) -> PyResult<Bound<'py, PyAny>> {
        self.emulated.get(py, point)
    }
    /// Sets a point of its map.
    #[pyo3(signature = (point, value, /))]
    fn set_value(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>) -> PyResult<Change> {
        self.emulated.set(py, point, value)
    }
    #[pyo3(signature = (name, value = None))]
    fn habit(&self, py: Python<'_>, name: &str, value: Given<'_, '_>) -> PyResult<()> {
        self.emulated.habit(py, FACE, name, value)
    }
    /// Adds a rule, which comes last and so wins.
    #[pyo3(signature = (**keys))]
    fn rule(slf: Py<Self>, py: Python<'_>, keys: Option<&Bound<'_, PyDict>>) -> PyResult<Rule> {
        rule::add(py, Site::Modbus(slf), FACE, keys)
    }
    /// Its rules by name, in order.
    #[getter]
    fn rules(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        rule::all(py, &Site::Modbus(slf), FACE)
    }
    fn reset_rules(&self, py: Python<'_>) -> PyResult<()> {
        rule::reset(py, &self.emulated)
    }
    fn power_on(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_on(py)
    }
    fn power_off(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_off(py)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.emulated.handle.close(py)?;
        self.told_by_handler(py)
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Given<'_, '_>,
        error: Given<'_, '_>,
        _trace: Given<'_, '_>,
    ) -> PyResult<()> {
        self.emulated.handle.close(py)?;
        // Ctrl-C and the like are not replaced by anything.
        match error.filter(|error| !error.is_none() && !error.is_instance_of::<PyException>()) {
            Some(_) => Ok(()),
            None => self.told_by_handler(py),
        }
    }
    fn __repr__(&self) -> String {
        format!("<modbus.Device {}>", self.url)
    }
}
