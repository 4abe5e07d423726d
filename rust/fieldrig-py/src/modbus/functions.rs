//! Requests that take more than one call, or more than numbers.

use super::answer::Answer;
use super::client::{field, registers};
use crate::error::{Kind, error};
use fieldrig_proto::modbus::pdu::{FileRange, FileRecord, PduError, Request, Response};
use pyo3::prelude::*;

/// 20 from file, first record and count of each part.
///
/// # Errors
/// `UsageError` for what does not fit into its field.
pub(super) fn read_file(py: Python<'_>, parts: Vec<(i64, i64, i64)>) -> PyResult<Request> {
    let part = |(file, record, length)| {
        let (file, record) = (field(py, "file", file)?, field(py, "record", record)?);
        Ok(FileRange { file, record, length: field(py, "count", length)? })
    };
    Ok(Request::ReadFileRecord { parts: parts.into_iter().map(part).collect::<PyResult<_>>()? })
}

/// 21 from file, first record and values of each part.
///
/// # Errors
/// `UsageError` for what does not fit into its field.
pub(super) fn write_file(py: Python<'_>, parts: Vec<(i64, i64, Vec<i64>)>) -> PyResult<Request> {
    let part = |(file, record, values): (i64, i64, Vec<i64>)| {
        let (file, record) = (field(py, "file", file)?, field(py, "record", record)?);
        Ok(FileRecord { file, record, values: registers(py, &values)? })
    };
    Ok(Request::WriteFileRecord { parts: parts.into_iter().map(part).collect::<PyResult<_>>()? })
}

/// Asks for an object and for what follows it. That this ends is certain: whatever follows must lie behind what came.
///
/// # Errors
/// Those of asking; `ProtocolError` for what does not.
pub(super) fn follow(py: Python<'_>, first: u8, mut ask: impl FnMut(u8) -> PyResult<Answer>) -> PyResult<Answer> {
    let mut whole = ask(first)?;
    while let Some(next) = more(&whole) {
        let following = ask(next)?;
        let (at, before) = (whole.at, std::mem::replace(&mut whole, following));
        whole.at = at;
        join(before, &mut whole).map_err(|problem| {
            let message = format!("asked for object {next} on, the device did not give a proper answer: {problem}");
            error(py, Kind::Protocol, message)
        })?;
    }
    Ok(whole)
}

fn more(answer: &Answer) -> Option<u8> {
    match &answer.response {
        Response::DeviceIdentification(found) => found.more.then_some(found.next),
        _ => None,
    }
}

/// Puts the objects that came before in front.
fn join(before: Answer, whole: &mut Answer) -> Result<(), PduError> {
    if let (Response::DeviceIdentification(mut all), Response::DeviceIdentification(last)) =
        (before.response, &mut whole.response)
    {
        all.extend(std::mem::take(last))?;
        *last = all;
    }
    Ok(())
}
