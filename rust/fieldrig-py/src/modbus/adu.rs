//! ADUs as bytes: built with any field wrong, and taken apart.

use crate::dissect::Dissection;
use crate::error::{Kind, error};
use crate::value::octets;
use fieldrig_proto::checksum;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::{ASCII, RTU, TCP, rtu, tcp};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An ADU of Modbus/TCP; `length` is the right one unless given.
#[pyfunction]
#[pyo3(signature = (transaction, unit, pdu, *, protocol = 0, length = None))]
pub(crate) fn adu_tcp<'py>(
    py: Python<'py>,
    transaction: u16,
    unit: u8,
    pdu: &Bound<'py, PyAny>,
    protocol: u16,
    length: Option<u16>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    tcp::Adu { transaction, protocol, length, unit, pdu: &octets(pdu)? }.encode(&mut out);
    Ok(PyBytes::new(py, &out))
}

/// An ADU of Modbus RTU; `crc` is the right one unless given.
#[pyfunction]
#[pyo3(signature = (unit, pdu, *, crc = None))]
pub(crate) fn adu_rtu<'py>(
    py: Python<'py>,
    unit: u8,
    pdu: &Bound<'py, PyAny>,
    crc: Option<u16>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    rtu::Adu { unit, pdu: &octets(pdu)?, crc }.encode(&mut out);
    Ok(PyBytes::new(py, &out))
}

/// The CRC of Modbus RTU; on the wire its low byte comes first.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn crc16(data: &Bound<'_, PyAny>) -> PyResult<u16> {
    Ok(checksum::crc16_modbus(&octets(data)?))
}

/// Takes an ADU of Modbus/TCP apart; any bytes will do.
#[pyfunction]
#[pyo3(signature = (adu, /, sender = "client"))]
pub(crate) fn dissect_tcp(adu: &Bound<'_, PyAny>, sender: &str) -> PyResult<Dissection> {
    let bytes = octets(adu)?;
    let inner = (TCP.dissect)(&bytes, parse_sender(adu.py(), sender)?);
    Ok(Dissection { inner, bytes })
}

/// Takes an ADU of Modbus RTU apart; any bytes will do.
#[pyfunction]
#[pyo3(signature = (adu, /, sender = "client"))]
pub(crate) fn dissect_rtu(adu: &Bound<'_, PyAny>, sender: &str) -> PyResult<Dissection> {
    let bytes = octets(adu)?;
    let inner = (RTU.dissect)(&bytes, parse_sender(adu.py(), sender)?);
    Ok(Dissection { inner, bytes })
}

/// Takes an ADU of Modbus ASCII apart; any characters will do.
#[pyfunction]
#[pyo3(signature = (adu, /, sender = "client"))]
pub(crate) fn dissect_ascii(adu: &Bound<'_, PyAny>, sender: &str) -> PyResult<Dissection> {
    let bytes = octets(adu)?;
    let inner = (ASCII.dissect)(&bytes, parse_sender(adu.py(), sender)?);
    Ok(Dissection { inner, bytes })
}

fn parse_sender(py: Python<'_>, text: &str) -> PyResult<Sender> {
    match text {
        "client" => Ok(Sender::Client),
        "server" => Ok(Sender::Server),
        _ => Err(error(py, Kind::Usage, format!("sender is \"client\" or \"server\", not {text:?}"))),
    }
}
