//! URLs of the Python side to ports of the engine and back.

use crate::bench::PROTOCOLS;
use crate::error::{Kind, error, hinted};
use fieldrig_engine::{Binding, PortSpec};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::time::Duration;
use pyo3::prelude::*;

/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The port of a URL.
///
/// # Errors
/// `UsageError` with what it should look like.
pub(crate) fn port(py: Python<'_>, url: &str) -> PyResult<PortSpec> {
    PortSpec::parse(url).map_err(|problem| hinted(py, Kind::Usage, problem.to_string(), Some(&problem.hint)))
}

/// Opening it means that somebody must be there.
pub(crate) fn connects(spec: &PortSpec) -> bool {
    use PortSpec::{MemoryConnect, Rfc2217Connect, TcpConnect, TcpConnectFrom, UdpConnect, UnixConnect};
    if let PortSpec::Tls { port, .. } = spec {
        return connects(port);
    }
    matches!(
        spec,
        TcpConnect(_)
            | TcpConnectFrom { .. }
            | Rfc2217Connect { .. }
            | UdpConnect(_)
            | UnixConnect(_)
            | MemoryConnect(_)
    )
}

/// A port under a name.
pub(crate) fn binding(via: &str, port: PortSpec, protocol: Option<&'static Protocol>, we_are: Sender) -> Binding {
    Binding { via: via.to_owned(), port, protocol, we_are }
}

/// The protocol of a name.
///
/// # Errors
/// `UsageError` with the names there are.
pub(crate) fn protocol(py: Python<'_>, name: &str) -> PyResult<&'static Protocol> {
    PROTOCOLS.into_iter().find(|protocol| protocol.name == name).ok_or_else(|| {
        let names: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
        error(py, Kind::Usage, format!("there is no protocol {name:?}; there are {}", names.join(", ")))
    })
}

/// Nobody is there, as an exception.
pub(crate) fn refused(py: Python<'_>, url: &str, why: &str) -> PyErr {
    error(py, Kind::Port, format!("{url}: {why}"))
}

/// The URL under which the other side finds an open port.
pub(crate) fn reached(spec: &PortSpec, address: &str) -> String {
    match spec {
        PortSpec::Serial { settings, .. } | PortSpec::Pty { settings, .. } => {
            format!("serial://{address}?line={}", settings.to_string().replace(' ', "+"))
        }
        PortSpec::Rfc2217Listen { settings, .. } | PortSpec::Rfc2217Connect { settings, .. } => {
            format!("rfc2217://{address}?line={}", settings.to_string().replace(' ', "+"))
        }
        PortSpec::UdpListen(_) | PortSpec::UdpConnect(_) => format!("udp://{address}"),
        PortSpec::UnixListen(_) | PortSpec::UnixConnect(_) => format!("unix://{address}"),
        PortSpec::Tap { name, .. } => format!("wire://{name}"),
        PortSpec::MemoryListen(name) | PortSpec::MemoryConnect(name) => format!("memory://{name}"),
        PortSpec::Tls { .. } => format!("tls://{address}"),
        _ => format!("tcp://{address}"),
    }
}
