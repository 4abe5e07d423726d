//! `StockServer`: a server of tokio-modbus with four tables.

use super::super::url;
use super::framing;
use crate::error::{Kind, Owner, engine_error, error};
use crate::life::{Alive, Shared, detached};
use crate::place;
use crate::rig::{Rig, shared_or_private};
use crate::value::octets;
use crate::wait::blocking;
use fieldrig_engine::stock::modbus::{self as stock, Table, Tables};
use fieldrig_proto::dissect::Sender;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::Arc;

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

const TABLES: [(&str, Table); 4] =
    [("holding", Table::Holding), ("input", Table::Input), ("coils", Table::Coils), ("discrete", Table::Discrete)];

/// A server of tokio-modbus.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct StockServer {
    // Before the rig: dropped first.
    server: Alive<stock::Server>,
    shared: Arc<Shared>,
    /// The rig is this object's own and ends with it.
    private: bool,
    url: String,
}

fn table(py: Python<'_>, name: &str) -> PyResult<Table> {
    TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table).ok_or_else(|| {
        let names = TABLES.map(|(name, _)| name).join(", ");
        error(py, Kind::Usage, format!("there is no table `{name}`; there are {names}"))
    })
}

/// One value, or several.
fn cells(py: Python<'_>, name: &str, which: Table, given: &Bound<'_, PyAny>) -> PyResult<Vec<u16>> {
    let most = if matches!(which, Table::Coils | Table::Discrete) { 1 } else { 0xffff };
    let values: Vec<i64> = match given.extract::<i64>() {
        Ok(one) => vec![one],
        Err(_) => given.extract().map_err(|_| {
            error(py, Kind::Usage, format!("{name}: a value is a number or a list of numbers, not {given}"))
        })?,
    };
    let fits = |value: &i64| u16::try_from(*value).ok().filter(|value| *value <= most);
    let cell = |value: &i64| {
        fits(value).ok_or_else(|| error(py, Kind::Usage, format!("{name}: a value is 0 to {most}, not {value}")))
    };
    values.iter().map(cell).collect()
}

fn declare(py: Python<'_>, tables: &Tables, name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    let which = table(py, name)?;
    let Ok(given) = given.cast::<PyDict>() else {
        return Err(error(py, Kind::Usage, format!("{name}: write it like {{0: [1, 2], 100: 7}}, not {given}")));
    };
    for (address, values) in given {
        let values = cells(py, name, which, &values)?;
        let at: Option<u16> = address.extract::<i64>().ok().and_then(|address| u16::try_from(address).ok());
        if !at.is_some_and(|at| tables.declare(which, at, &values)) {
            let message = format!("{name}: {} values from address {address} do not fit into 0 to 65535", values.len());
            return Err(error(py, Kind::Usage, message));
        }
    }
    Ok(())
}

fn missing(py: Python<'_>, name: &str, address: u16, count: usize) -> PyErr {
    error(py, Kind::Usage, format!("{name}: {count} values from address {address} are not all there"))
}

/// Says that this machine failed the server. What a test makes of it would be wrong.
fn sound(py: Python<'_>, server: &stock::Server) -> PyResult<()> {
    server.fault().map_or(Ok(()), |fault| Err(engine_error(py, &fault, Owner::Bench)))
}

#[pymethods]
impl StockServer {
    #[new]
    #[pyo3(signature = (url = "tcp://127.0.0.1:0", *, unit = 1, holding = None, input = None, coils = None,
        discrete = None, server_id = None, rig = None))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python constructor
    fn new(
        py: Python<'_>,
        url: &str,
        unit: i64,
        holding: Given<'_, '_>,
        input: Given<'_, '_>,
        coils: Given<'_, '_>,
        discrete: Given<'_, '_>,
        server_id: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
    ) -> PyResult<StockServer> {
        let place = url::parse(py, url, rig)?;
        let framing = framing(py, url, &place, &place.config(py)?)?;
        let unit = u8::try_from(unit).ok().filter(|unit| (1..=247).contains(unit));
        let unit = unit.ok_or_else(|| error(py, Kind::Usage, "the unit of a server is 1 to 247"))?;
        let server_id = server_id.map(octets).transpose()?;
        let tables = Tables::new(server_id.as_deref());
        for (name, given) in [("holding", holding), ("input", input), ("coils", coils), ("discrete", discrete)] {
            if let Some(given) = given {
                declare(py, &tables, name, given)?;
            }
        }
        let (shared, private) = (shared_or_private(py, rig)?, rig.is_none());
        let engine = shared.rig(py)?.clone();
        // A server is found where a client would connect to.
        let port = place.port.listening();
        let shown = port.clone();
        let binding = place::binding(url::VIA, port, Some(place.protocol), Sender::Server);
        let name = format!("stock server at {}", url::shown(url));
        let server = blocking(py, Owner::Bench, move |go_on| {
            stock::Server::open(&engine, &name, binding, framing, unit, tables, go_on)
        })?;
        let address = server.address(url::VIA).unwrap_or_default();
        let url = url::reached(place.protocol, &shown, &address);
        Ok(StockServer { server: Alive::new(server), shared, private, url })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[pyo3(signature = (table, address, count = 1))]
    fn get<'py>(&self, py: Python<'py>, table: &str, address: u16, count: usize) -> PyResult<Bound<'py, PyTuple>> {
        let which = self::table(py, table)?;
        let server = self.server.get(py)?;
        sound(py, server)?;
        let values = server.tables().get(which, address, count);
        PyTuple::new(py, values.ok_or_else(|| missing(py, table, address, count))?)
    }
    #[pyo3(signature = (table, address, values))]
    fn set(&self, py: Python<'_>, table: &str, address: u16, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let which = self::table(py, table)?;
        let values = cells(py, table, which, values)?;
        let server = self.server.get(py)?;
        sound(py, server)?;
        let done = server.tables().set(which, address, &values);
        done.then_some(()).ok_or_else(|| missing(py, table, address, values.len()))
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let (server, rig) = (self.server.get(py)?, self.shared.rig(py)?);
        detached(py, || {
            server.close();
            if self.private {
                rig.stop();
            }
        });
        sound(py, server)
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
        format!("<modbus.StockServer {}>", self.url)
    }
}
