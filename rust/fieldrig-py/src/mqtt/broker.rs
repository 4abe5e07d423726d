//! `Broker`: the embedded broker.

use crate::error::Owner;
use crate::handle::Handle;
use crate::place;
use crate::rig::Rig;
use fieldrig_engine::PortSpec;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::mqtt::{V5, broker};
use pyo3::prelude::*;

/// The name of its one port.
const VIA: &str = "broker";

/// An embedded broker.
#[pyclass(frozen, module = "fieldrig.mqtt")]
pub(crate) struct Broker {
    handle: Handle<broker::Broker>,
    url: String,
}

#[pymethods]
impl Broker {
    #[new]
    #[pyo3(signature = (port = 0, *, host = "127.0.0.1", rig = None))]
    fn new(py: Python<'_>, port: u16, host: &str, rig: Option<&Bound<'_, Rig>>) -> PyResult<Broker> {
        let endpoint = broker::Broker::new(broker::BrokerConfig::default());
        let spec = PortSpec::TcpListen(format!("{host}:{port}"));
        let binding = place::binding(VIA, spec, Some(&V5), Sender::Server);
        let handle = Handle::open(py, rig, VIA, endpoint, vec![binding], Owner::Bench)?;
        let url = format!("mqtt://{}", handle.address(py, VIA)?);
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
