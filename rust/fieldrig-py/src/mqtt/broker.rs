//! `Broker`: the embedded broker.

use crate::error::{Kind, Owner, error};
use crate::handle::Handle;
use crate::place;
use crate::rig::Rig;
use fieldrig_engine::PortSpec;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::mqtt::{V5, broker};
use pyo3::prelude::*;

/// The name of its one port.
const VIA: &str = "broker";

/// A URL to listen on.
fn listening(py: Python<'_>, url: &str) -> PyResult<PortSpec> {
    match place::port(py, url)? {
        spec @ (PortSpec::TcpListen(_) | PortSpec::MemoryListen(_)) => Ok(spec),
        _ => {
            let examples = "tcp-listen://127.0.0.1:0, memory-listen://broker";
            Err(error(py, Kind::Usage, format!("`{url}` is nothing to listen on: write it like {examples}")))
        }
    }
}

/// An embedded broker.
#[pyclass(frozen, module = "fieldrig.mqtt")]
pub(crate) struct Broker {
    handle: Handle<broker::Broker>,
    url: String,
}

#[pymethods]
impl Broker {
    #[new]
    #[pyo3(signature = (port = 0, *, host = "127.0.0.1", url = None, rig = None))]
    fn new(py: Python<'_>, port: u16, host: &str, url: Option<&str>, rig: Option<&Bound<'_, Rig>>) -> PyResult<Broker> {
        let endpoint = broker::Broker::new(broker::BrokerConfig::default());
        let spec = match url {
            None => PortSpec::TcpListen(format!("{host}:{port}")),
            Some(url) => listening(py, url)?,
        };
        let shown = spec.clone();
        let binding = place::binding(VIA, spec, Some(&V5), Sender::Server);
        let handle = Handle::open(py, rig, VIA, endpoint, vec![binding], Owner::Bench)?;
        let url = place::reached(&shown, &handle.address(py, VIA)?);
        let url = url.strip_prefix("tcp://").map_or(url.clone(), |address| format!("mqtt://{address}"));
        Ok(Broker { handle, url })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
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
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _trace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<mqtt.Broker {}>", self.url)
    }
}
