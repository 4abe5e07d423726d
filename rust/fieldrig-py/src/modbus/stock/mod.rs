//! `StockClient` and `StockServer`: tokio-modbus, the Modbus of the field, on the ports of fieldrig.

mod client;
mod dialogue;
mod outcome;
mod server;

pub(crate) use client::StockClient;
pub(crate) use dialogue::StockDialogue;
pub(crate) use server::StockServer;

use super::url::Place;
use crate::error::{Kind, hinted};
use fieldrig_engine::PortSpec;
use fieldrig_engine::stock::modbus::Framing;
use fieldrig_proto::modbus::client::Config;
use fieldrig_proto::modbus::{ASCII, RTU};
use pyo3::prelude::*;

/// How tokio-modbus frames what is spoken there, with the silence that a line needs.
///
/// # Errors
/// `UsageError` for what it does not speak.
fn framing(py: Python<'_>, url: &str, place: &Place, config: &Config) -> PyResult<Framing> {
    let cannot = |what: &str, hint: &str| {
        let message = format!("`{url}`: tokio-modbus, the stock Modbus, speaks no {what}");
        Err(hinted(py, Kind::Usage, message, Some(hint)))
    };
    if place.protocol.name == ASCII.name {
        return cannot("ASCII", "modbus.Client and modbus.Device do");
    }
    if matches!(place.port, PortSpec::UdpConnect(_) | PortSpec::UdpListen(_)) {
        return cannot("Modbus over UDP", "modbus.Client and modbus.Device do");
    }
    Ok(match place.protocol.name == RTU.name {
        true => Framing::Rtu { gap: config.mode.serial().and_then(|rules| rules.gap_before()) },
        false => Framing::Tcp,
    })
}
