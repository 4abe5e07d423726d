//! URLs of Modbus to ports of the engine and back; `fieldrig_proto::modbus::url` reads them.

use crate::error::{Kind, hinted};
use crate::place;
use crate::rig::Rig;
use fieldrig_engine::PortSpec;
use fieldrig_proto::endpoint::Target;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::modbus::client::Config;
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::modbus::server::ascii_rules;
use fieldrig_proto::modbus::url::{self, UrlError};
use fieldrig_proto::modbus::{ASCII, RTU};
use fieldrig_proto::protocol::{Protocol, SettingError};
use fieldrig_proto::record::Value;
use pyo3::prelude::*;

/// Where, and in which framing.
pub(super) struct Place {
    pub(super) port: PortSpec,
    pub(super) protocol: &'static Protocol,
    /// The line, if it is one.
    pub(super) line: Option<LineSettings>,
    /// What else the URL says about the framing.
    settings: Vec<(String, Value)>,
    /// URL of the port, to connect again after a connection was lost.
    again: String,
}

/// The name of a client's port.
pub(super) const VIA: &str = "modbus";

impl Place {
    /// How a client talks there. A device that was switched off and on has closed its connections: the next request
    /// makes a new one.
    ///
    /// # Errors
    /// `UsageError` for a setting in the URL that is none.
    pub(super) fn config(&self, py: Python<'_>) -> PyResult<Config> {
        let config = match &self.line {
            _ if self.protocol.name == ASCII.name => {
                let rules = ascii_rules(&self.settings());
                let rules = rules.map_err(|problem| setting_error(py, &problem))?;
                Config::ascii(if self.line.is_some() { rules } else { rules.without_speed() })
            }
            // A wire in memory stamps each byte exactly.
            Some(line) if self.is_tap() => Config::rtu(LineRules::exact(line)),
            Some(line) => Config::rtu_on(line),
            None if self.protocol.name == RTU.name => Config::rtu(LineRules::over_tcp()),
            None => Config::tcp(),
        };
        let target = || Target { via: VIA.to_owned(), url: self.again.clone() };
        let paced = self.line.is_some() && self.port.is_paced();
        Ok(Config { reconnect: place::connects(&self.port).then(target), paced, ..config })
    }

    /// What the URL and the port say, as settings of a constructor of the protocol.
    pub(super) fn settings(&self) -> Vec<(String, Value)> {
        let mut settings = self.settings.clone();
        if let Some(line) = self.line {
            settings.push(("line".to_owned(), Value::Text(line.to_string())));
            if self.is_tap() {
                settings.push(("framing".to_owned(), Value::Text("exact".to_owned())));
            }
        }
        settings
    }

    /// Whether it is a wire in memory.
    pub(super) fn is_tap(&self) -> bool {
        matches!(self.port, PortSpec::Tap { .. })
    }
}

/// A setting that its constructor refused, as an exception.
pub(super) fn setting_error(py: Python<'_>, problem: &SettingError) -> PyErr {
    hinted(py, Kind::Usage, format!("`{}`: {problem}", problem.key), problem.hint.as_deref())
}

/// Reads a URL.
///
/// # Errors
/// `UsageError` with what it should look like.
pub(super) fn parse(py: Python<'_>, text: &str, rig: Option<&Bound<'_, Rig>>) -> PyResult<Place> {
    let usage = |problem: UrlError| hinted(py, Kind::Usage, problem.to_string(), Some(&problem.hint));
    let read = url::parse(text).map_err(usage)?;
    let port = PortSpec::parse(&read.port).map_err(|error| usage(UrlError::about(text, error.problem)))?;
    let line = match rig {
        Some(rig) => rig.get().shared.rig(py)?.line_of(&port),
        None => port.line(),
    };
    Ok(Place { port, protocol: read.protocol, line, settings: read.settings, again: read.port })
}

/// A URL as texts show it: what follows the address of one with TLS are names of files.
pub(super) fn shown(url: &str) -> &str {
    url.split_once('?').map_or(url, |(place, _)| if url.starts_with("tls://") { place } else { url })
}

/// What a URL of Modbus says: the name of the protocol, the URL of the port, and speed and format of the line if it
/// has them.
#[pyfunction]
#[pyo3(signature = (url, /))]
pub(crate) fn read_url(py: Python<'_>, url: &str) -> PyResult<(&'static str, String, Option<String>)> {
    let place = parse(py, url, None)?;
    Ok((place.protocol.name, place.again, place.line.map(|line| line.to_string())))
}

/// The URL under which a client finds a device in this framing.
pub(super) fn reached(protocol: &Protocol, port: &PortSpec, address: &str) -> String {
    url::shown(protocol, &place::reached(port, address))
}
