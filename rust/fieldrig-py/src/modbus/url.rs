//! URLs of Modbus: the scheme says which framing.

use crate::error::{Kind, error};
use crate::place;
use crate::rig::Rig;
use fieldrig_engine::PortSpec;
use fieldrig_proto::endpoint::Target;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::modbus::client::Config;
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::modbus::{RTU, TCP, TLS};
use fieldrig_proto::protocol::Protocol;
use pyo3::prelude::*;

/// Where, and in which framing.
pub(super) struct Place {
    pub(super) port: PortSpec,
    pub(super) protocol: &'static Protocol,
    /// The line, if it is one.
    pub(super) line: Option<LineSettings>,
    /// URL of the port, to connect again after a connection was lost.
    again: String,
}

/// The name of a client's port.
pub(super) const VIA: &str = "modbus";

impl Place {
    /// How a client talks there. A device that was switched off and on has closed its connections: the next request
    /// makes a new one.
    pub(super) fn config(&self) -> Config {
        let config = match (&self.line, self.protocol.name == RTU.name) {
            // A wire in memory stamps each byte exactly.
            (Some(line), _) if self.is_tap() => Config::rtu(LineRules::exact(line)),
            (Some(line), _) => Config::rtu_on(line),
            (None, true) => Config::rtu(LineRules::over_tcp()),
            (None, false) => Config::tcp(),
        };
        let target = || Target { via: VIA.to_owned(), url: self.again.clone() };
        Config { reconnect: place::connects(&self.port).then(target), ..config }
    }

    /// Whether it is a wire in memory.
    pub(super) fn is_tap(&self) -> bool {
        matches!(self.port, PortSpec::Tap(_))
    }
}

/// Reads `tcp://`, `rtu://` (also `serial://`), `rtu+tcp://`, `pty://`; `memory://` (Modbus/TCP) and `wire://` (RTU) in the
/// memory of the rig.
///
/// # Errors
/// `UsageError` with what it should look like.
pub(super) fn parse(py: Python<'_>, url: &str, rig: Option<&Bound<'_, Rig>>) -> PyResult<Place> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (protocol, port) = match scheme {
        "tcp" | "tcp-listen" | "memory" | "memory-listen" => (&TCP, url.to_owned()),
        "tls" | "tls-listen" => (&TLS, with_default_port(url)),
        "rtu+tcp" => (&RTU, format!("tcp://{rest}")),
        "rtu" => (&RTU, format!("serial://{rest}")),
        "serial" | "pty" | "wire" => (&RTU, url.to_owned()),
        _ => {
            let examples = "tcp://127.0.0.1:502, rtu:///dev/ttyUSB0?line=9600+8E1, rtu+tcp://127.0.0.1:4001";
            let message = format!("`{url}` is no place for Modbus: write it like {examples}");
            return Err(error(py, Kind::Usage, message));
        }
    };
    let again = port;
    let port = place::port(py, &again)?;
    let line = match rig {
        Some(rig) => rig.get().shared.rig(py)?.line_of(&port),
        None => port.line(),
    };
    Ok(Place { port, protocol, line, again })
}

/// 802 is the port of Modbus/TCP Security (SEC 4, appendix A).
fn with_default_port(url: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
    let host = place.split_once("://").map_or(place, |(_, host)| host);
    let bare = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if host.is_empty() || bare.contains(':') {
        return url.to_owned();
    }
    format!("{place}:802{}", query.map(|query| format!("?{query}")).unwrap_or_default())
}

/// The URL under which a client finds a device in this framing.
pub(super) fn reached(protocol: &Protocol, port: &PortSpec, address: &str) -> String {
    let url = place::reached(port, address);
    match url.strip_prefix("tcp://") {
        Some(rest) if protocol.name == RTU.name => format!("rtu+tcp://{rest}"),
        _ => url,
    }
}
