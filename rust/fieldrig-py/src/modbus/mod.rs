//! Modbus: client, emulated device, monitor, ADUs as bytes.

mod adu;
mod answer;
mod asking;
mod batch;
mod client;
mod device;
mod fields;
mod functions;
mod gateway;
pub(crate) mod handler;
mod monitor;
mod outcome;
mod point;
mod remark;
pub(crate) mod rule;
mod stock;
mod url;

pub(crate) use adu::{adu_rtu, adu_tcp, crc16, dissect_ascii, dissect_rtu, dissect_tcp};
pub(crate) use answer::Answer;
pub(crate) use batch::Answers;
pub(crate) use client::Client;
pub(crate) use device::Device;
pub(crate) use gateway::Gateway;
pub(crate) use handler::Request;
pub(crate) use monitor::{Monitor, Observation};
pub(crate) use point::{Reading, describe_points};
pub(crate) use remark::{Attempt, ClientRemark};
pub(crate) use rule::Rule;
pub(crate) use stock::{StockClient, StockDialogue, StockServer};
pub(crate) use url::read_url;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Puts the names and meanings of the habits into the module.
///
/// # Errors
/// Those of making the tuple.
pub(crate) fn add_habits(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let habits = fieldrig_proto::modbus::server::HABITS.iter().map(|habit| (habit.name, habit.what));
    module.add("HABITS", PyTuple::new(module.py(), habits)?)?;
    module.add("GATEWAY_HABITS", gateway::habits(module.py())?)
}
