//! `Gateway`: an emulated gateway between TCP clients and a line.

use super::client::field;
use super::url;
use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::place;
use crate::rig::Rig;
use crate::time::limit_or;
use crate::value::from_python;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::gateway::{GATEWAY_HABITS, Gateway as Endpoint, GatewayConfig, LINE, Routes};
use fieldrig_proto::modbus::server::{Local, local};
use fieldrig_proto::modbus::{RTU, TCP};
use fieldrig_proto::protocol::SettingError;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::BTreeMap;

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The name of the port for clients.
const CLIENTS: &str = "clients";

/// An emulated gateway.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Gateway {
    handle: Handle<Endpoint>,
    url: String,
    line: String,
}

/// Names and meanings of the habits of a gateway.
///
/// # Errors
/// Those of making the tuple.
pub(super) fn habits(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, GATEWAY_HABITS.iter().map(|habit| (habit.name, habit.what)))
}

/// Unit ids as they are, or a dict from unit on TCP to unit on the line.
fn routes(py: Python<'_>, given: Given<'_, '_>) -> PyResult<Routes> {
    let Some(given) = given else { return Ok(Routes::All) };
    let pairs: Vec<(i64, i64)> = match given.cast::<PyDict>() {
        Ok(dict) => dict.iter().map(|(from, to)| Ok((from.extract()?, to.extract()?))).collect::<PyResult<_>>()?,
        Err(_) => {
            given.try_iter()?.map(|unit| unit?.extract::<i64>().map(|unit| (unit, unit))).collect::<PyResult<_>>()?
        }
    };
    let unit = |unit: i64, most: i64| match field::<u8>(py, "unit", unit)? {
        unit if (1..=most).contains(&i64::from(unit)) => Ok(unit),
        unit => Err(error(py, Kind::Usage, format!("a route leads from 1 to 254 to 1 to 247, not to or from {unit}"))),
    };
    let pairs = pairs.into_iter().map(|(from, to)| Ok((unit(from, 254)?, unit(to, 247)?)));
    Ok(Routes::Some(pairs.collect::<PyResult<BTreeMap<u8, u8>>>()?))
}

fn own_server(py: Python<'_>, given: Given<'_, '_>) -> PyResult<Option<Local>> {
    let Some(given) = given else { return Ok(None) };
    let Value::Table(settings) = from_python(given)? else {
        return Err(error(py, Kind::Usage, "own is a dict such as {\"holding\": {0: [1]}}"));
    };
    let refused = |problem: SettingError| {
        hinted(py, Kind::Usage, format!("own: `{}`: {problem}", problem.key), problem.hint.as_deref())
    };
    local(&settings).map(Some).map_err(refused)
}

#[pymethods]
impl Gateway {
    #[new]
    #[pyo3(signature = (url = "tcp://127.0.0.1:0", *, line, units = None, timeout = None, own = None, rig = None))]
    fn new(
        py: Python<'_>,
        url: &str,
        line: &str,
        units: Given<'_, '_>,
        timeout: Given<'_, '_>,
        own: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
    ) -> PyResult<Gateway> {
        let (clients, wire) = (url::parse(py, url, rig)?, url::parse(py, line, rig)?);
        if clients.protocol.name != TCP.name {
            return Err(error(
                py,
                Kind::Usage,
                format!("clients of a gateway speak Modbus/TCP, not what `{url}` says"),
            ));
        }
        if wire.protocol.name != RTU.name {
            return Err(error(
                py,
                Kind::Usage,
                format!("`{line}` is no line: write it like rtu:///dev/ttyUSB0, wire://bus"),
            ));
        }
        let mut config = wire.config(py)?;
        if let Some(target) = &mut config.reconnect {
            target.via = LINE.to_owned();
        }
        let (timeout, routes) = (limit_or(timeout, Duration::from_secs(1))?, routes(py, units)?);
        let endpoint = Endpoint::new(GatewayConfig { line: config, timeout, routes, own: own_server(py, own)? });
        let port = clients.port.listening();
        let shown = port.clone();
        let bindings = vec![
            place::binding(CLIENTS, port, Some(clients.protocol), Sender::Server),
            place::binding(LINE, wire.port, Some(wire.protocol), Sender::Client),
        ];
        let handle = Handle::open(py, rig, "gateway", endpoint, bindings, Owner::Bench)?;
        let url = url::reached(clients.protocol, &shown, &handle.address(py, CLIENTS)?);
        Ok(Gateway { handle, url, line: line.to_owned() })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[getter]
    fn line(&self) -> &str {
        &self.line
    }
    #[pyo3(signature = (name, value = None))]
    fn habit(&self, py: Python<'_>, name: &str, value: Given<'_, '_>) -> PyResult<()> {
        let value = value.map(from_python).transpose()?.unwrap_or(Value::Bool(true));
        let (set, _) = self.handle.with(py, |gateway, _| gateway.set_habit(name, &value))?;
        set.map_err(|problem| error(py, Kind::Usage, problem))
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, _error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Given<'_, '_>,
        _error: Given<'_, '_>,
        _trace: Given<'_, '_>,
    ) -> PyResult<()> {
        self.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<modbus.Gateway {} to {}>", self.url, self.line)
    }
}
