//! `LinkEnd`: a link of a bench that is up, and what the bench can do to it.

use crate::error::{Kind, Owner, engine_error, hinted};
use crate::life::{Alive, Shared};
use crate::time::Stamp;
use fieldrig_engine::Gate;
use fieldrig_engine::bench::{self, ControlError};
use fieldrig_engine::link::{ByteFault, Disturbance, Way};
use fieldrig_proto::fault::Schedule;
use pyo3::prelude::*;
use std::sync::Arc;

/// A link of the bench that is up.
#[pyclass(frozen, module = "fieldrig._core.bench")]
pub(crate) struct LinkEnd {
    end: Alive<bench::LinkEnd>,
    shared: Arc<Shared>,
}

impl LinkEnd {
    pub(super) fn new(end: bench::LinkEnd, shared: &Arc<Shared>) -> LinkEnd {
        LinkEnd { end: Alive::new(end), shared: Arc::clone(shared) }
    }

    fn end(&self, py: Python<'_>) -> PyResult<&bench::LinkEnd> {
        self.end.get(py)
    }
}

#[pymethods]
impl LinkEnd {
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.end(py)?.name)
    }
    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<Option<&str>> {
        Ok(self.end(py)?.url.as_deref())
    }
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Option<&str>> {
        Ok(self.end(py)?.address.as_deref())
    }
    #[getter]
    fn monitor_url(&self, py: Python<'_>) -> PyResult<Option<&str>> {
        Ok(self.end(py)?.monitor.as_deref())
    }
    #[getter]
    fn gated(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.end(py)?.controls.has_gates())
    }
    #[getter]
    fn bridged(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.end(py)?.controls.has_bridge())
    }
    #[getter]
    fn disturbed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.end(py)?.controls.is_disturbed())
    }
    #[pyo3(signature = (state, /))]
    fn gate(&self, py: Python<'_>, state: &str) -> PyResult<Stamp> {
        let gate = match state {
            "open" => Gate::Open,
            "refused" => Gate::Refused,
            "stalled" => Gate::Stalled,
            _ => {
                let message = format!("a link is \"open\", \"refused\" or \"stalled\", not {state:?}");
                return Err(crate::error::error(py, Kind::Usage, message));
            }
        };
        let controls = &self.end(py)?.controls;
        let done = crate::life::detached(py, || controls.gate(gate)).map_err(|problem| control_error(py, &problem))?;
        let clock = self.shared.rig(py)?.clock().source();
        Ok(Stamp(fieldrig_proto::time::Stamp::exact(done).by(clock)))
    }
    #[pyo3(signature = (name, *, p = None, count = None, after = None, direction = None, delay = None))]
    #[allow(clippy::too_many_arguments)] // what a fault may have
    fn fault(
        &self,
        py: Python<'_>,
        name: &str,
        p: Option<f64>,
        count: Option<u64>,
        after: Option<u64>,
        direction: Option<&str>,
        delay: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (ways, fault) = byte_fault(py, name, (p, count, after), direction, delay)?;
        let controls = &self.end(py)?.controls;
        crate::life::detached(py, || controls.fault(&ways, &fault)).map_err(|problem| control_error(py, &problem))
    }
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        let controls = &self.end(py)?.controls;
        crate::life::detached(py, || controls.look());
        Ok(())
    }
    fn clear_faults(&self, py: Python<'_>) -> PyResult<()> {
        let controls = &self.end(py)?.controls;
        crate::life::detached(py, || controls.clear_faults()).map_err(|problem| control_error(py, &problem))
    }
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<LinkEnd {}>", self.end(py)?.name))
    }
}

/// A fault, and on which ways it strikes.
///
/// # Errors
/// `UsageError`: there is no such fault or direction, a length that is missing or too much.
pub(crate) fn byte_fault(
    py: Python<'_>,
    name: &str,
    (p, count, after): (Option<f64>, Option<u64>, Option<u64>),
    direction: Option<&str>,
    delay: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Vec<Way>, ByteFault)> {
    let usage = |message: String| crate::error::error(py, Kind::Usage, message);
    let length = delay.map(|delay| crate::time::limit(delay)).transpose()?;
    let what = Disturbance::named(name, length).map_err(|problem| usage(problem.to_string()))?;
    let ways = match direction {
        None => Way::BOTH.to_vec(),
        Some("requests") => vec![Way::Forth],
        Some("responses") => vec![Way::Back],
        Some(other) => {
            let message = format!("direction= is \"requests\" (to the devices) or \"responses\", not {other:?}");
            return Err(usage(message));
        }
    };
    let schedule = Schedule { after: after.unwrap_or(0), count, probability: p.unwrap_or(1.0), ..Schedule::default() };
    Ok((ways, ByteFault { what, schedule }))
}

fn control_error(py: Python<'_>, problem: &ControlError) -> PyErr {
    match problem {
        ControlError::Engine(problem) => engine_error(py, problem, Owner::Bench),
        ControlError::NoBridge => {
            let hint = "give the link role = \"proxy\": faults strike what passes through the bench";
            hinted(py, Kind::Usage, problem.to_string(), Some(hint))
        }
        ControlError::Outside | ControlError::Fault(_) => crate::error::error(py, Kind::Usage, problem.to_string()),
    }
}
