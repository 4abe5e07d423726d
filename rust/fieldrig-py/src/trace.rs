//! What can be done with a trace: while it is written, and once it is.

use crate::bench::PROTOCOLS;
use crate::error::{Kind, error};
use fieldrig_engine::trace;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Writes the messages of a trace as JSON lines, dissected; gives their number.
#[pyfunction]
#[pyo3(signature = (trace, to, /))]
pub(crate) fn export_trace(py: Python<'_>, trace: PathBuf, to: PathBuf) -> PyResult<u64> {
    crate::life::detached(py, || trace::export(&trace, &to, &PROTOCOLS)).map_err(|problem| {
        error(py, Kind::Bench, format!("the trace cannot be exported to {}: {problem}", to.display()))
    })
}

/// Reads a trace while it is written.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct TraceFollower(Mutex<(trace::Follower, trace::Lines)>);

#[pymethods]
impl TraceFollower {
    #[new]
    #[pyo3(signature = (trace, /))]
    fn new(py: Python<'_>, trace: PathBuf) -> PyResult<TraceFollower> {
        let follower = trace::Follower::open(&trace).map_err(|problem| {
            error(py, Kind::Bench, format!("the trace {} cannot be read: {problem}", trace.display()))
        })?;
        Ok(TraceFollower(Mutex::new((follower, trace::Lines::default()))))
    }
    /// The messages since the last call, as lines of JSON.
    fn lines(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let read = || {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (follower, lines) = &mut *held;
            let entries = follower.read()?;
            Ok(entries.iter().map(|entry| lines.line(entry, &PROTOCOLS)).collect())
        };
        let lines: std::io::Result<Vec<String>> = crate::life::detached(py, read);
        lines.map_err(|problem| error(py, Kind::Bench, format!("the trace cannot be read: {problem}")))
    }
    fn __repr__(&self) -> &'static str {
        "<TraceFollower>"
    }
}
