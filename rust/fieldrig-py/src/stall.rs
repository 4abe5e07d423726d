//! An interval in which the host did not let us run, as the sentinel saw it.

use crate::time::{Span, Stamp};
use fieldrig_engine::{Clock, StallKind};
use fieldrig_proto::time::{self, Duration, Time};
use pyo3::prelude::*;

/// An interval in which the host did not let us run.
#[pyclass(frozen, module = "fieldrig")]
pub(crate) struct Stall(pub(crate) fieldrig_engine::Stall);

#[pymethods]
impl Stall {
    #[getter]
    fn start(&self) -> Stamp {
        exact(self.0.from)
    }
    #[getter]
    fn end(&self) -> Stamp {
        exact(self.0.until)
    }
    #[getter]
    fn length(&self) -> Span {
        Span(time::Span::between(nanos(self.0.shortest()), nanos(self.0.length())))
    }
    #[getter]
    fn latest_ns(&self) -> i64 {
        nanos(self.0.length())
    }
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.kind {
            StallKind::Stopped => "stopped",
            StallKind::Starved => "starved",
            StallKind::Program => "program",
            StallKind::Line => "line",
        }
    }
    #[getter]
    fn run_delay(&self) -> Span {
        Span(time::Span::exact(nanos(self.0.run_delay)))
    }
    #[getter]
    fn reason(&self) -> String {
        self.0.reason()
    }
    fn __repr__(&self) -> String {
        format!("Stall({})", self.0.reason())
    }
}

fn exact(time: Time) -> Stamp {
    // Only real time has stalls.
    Stamp(time::Stamp::exact(time).by(Clock::Real.source()))
}

fn nanos(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}
