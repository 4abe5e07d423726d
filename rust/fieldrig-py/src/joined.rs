//! A port that is joined to a wire in memory.

use crate::error::{Kind, Owner, engine_error, error};
use crate::life::{Alive, Shared, detached};
use crate::place::{port, reached};
use crate::rig::Rig;
use fieldrig_engine::link::{self, Brings};
use pyo3::prelude::*;
use std::sync::Arc;

/// A port on a wire in memory.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct JoinedPort {
    joined: Alive<link::JoinedPort>,
    url: String,
    address: String,
    _shared: Arc<Shared>,
}

#[pymethods]
impl JoinedPort {
    #[new]
    #[pyo3(signature = (rig, wire, url, *, name = None, brings = "clients"))]
    fn new(
        py: Python<'_>,
        rig: &Bound<'_, Rig>,
        wire: &str,
        url: &str,
        name: Option<&str>,
        brings: &str,
    ) -> PyResult<JoinedPort> {
        let brings = match brings {
            "clients" => Brings::Clients,
            "devices" => Brings::Devices,
            _ => return Err(error(py, Kind::Usage, format!("brings= is \"clients\" or \"devices\", not {brings:?}"))),
        };
        let spec = port(py, url)?;
        let name = name.map_or_else(|| format!("{wire}.port"), str::to_owned);
        let engine = rig.get().shared.rig(py)?;
        let opened = detached(py, || link::JoinedPort::open(engine, &name, wire, spec, brings));
        let joined = opened.map_err(|problem| engine_error(py, &problem, Owner::Bench))?;
        let url = reached(joined.spec(), joined.address());
        let address = joined.address().to_owned();
        Ok(JoinedPort { joined: Alive::new(joined), url, address, _shared: Arc::clone(&rig.get().shared) })
    }
    /// The URL under which others find it.
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    /// Where others find it: a device node, `host:port`, a path.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }
    /// Somebody is at the other end, as far as the port knows.
    #[getter]
    fn joined(&self, py: Python<'_>) -> PyResult<bool> {
        let joined = self.joined.get(py)?;
        Ok(detached(py, || joined.is_joined()))
    }
    /// Why it is gone, None if it is there.
    #[getter]
    fn lost(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let joined = self.joined.get(py)?;
        Ok(detached(py, || joined.lost()))
    }
    /// Takes it off the wire and closes it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let joined = self.joined.get(py)?;
        detached(py, || joined.close());
        Ok(())
    }
    fn __repr__(&self) -> String {
        format!("<JoinedPort {}>", self.url)
    }
}
