//! What can be done with a trace once it is written.

use crate::bench::PROTOCOLS;
use crate::error::{Kind, error};
use fieldrig_engine::trace;
use pyo3::prelude::*;
use std::path::PathBuf;

/// Writes the messages of a trace as JSON lines, dissected; gives their number.
#[pyfunction]
#[pyo3(signature = (trace, to, /))]
pub(crate) fn export_trace(py: Python<'_>, trace: PathBuf, to: PathBuf) -> PyResult<u64> {
    crate::life::detached(py, || trace::export(&trace, &to, &PROTOCOLS)).map_err(|problem| {
        error(py, Kind::Bench, format!("the trace cannot be exported to {}: {problem}", to.display()))
    })
}
