//! The doctor: how well this host lets line threads meet deadlines.

use crate::error::Owner;
use crate::stall::Stall;
use crate::time::limit;
use crate::wait::blocking;
use fieldrig_engine::doctor::{self, Examination};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// How late many deadlines were met.
#[pyclass(frozen, get_all, module = "fieldrig._core")]
#[derive(Clone)]
pub(crate) struct Lateness {
    count: usize,
    p50: f64,
    p99: f64,
    p999: Option<f64>,
    max: f64,
    missed: usize,
    histogram: Vec<(Option<f64>, usize)>,
}

impl Lateness {
    fn new(lateness: &doctor::Lateness) -> Lateness {
        let bars = lateness.histogram.iter();
        Lateness {
            count: lateness.count,
            p50: lateness.p50.as_secs_f64(),
            p99: lateness.p99.as_secs_f64(),
            p999: lateness.p999.map(|late| late.as_secs_f64()),
            max: lateness.max.as_secs_f64(),
            missed: lateness.missed,
            histogram: bars.map(|(bound, count)| (bound.map(|bound| bound.as_secs_f64()), *count)).collect(),
        }
    }
}

/// What the doctor found.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct Checkup(doctor::Checkup);

#[pymethods]
impl Checkup {
    #[getter]
    fn timing_class(&self) -> String {
        format!("{:?}", self.0.timing.class)
    }
    #[getter]
    fn steps(&self) -> Vec<(&'static str, bool, String)> {
        self.0.timing.steps.iter().map(|step| (step.name, step.reached, step.outcome.clone())).collect()
    }
    #[getter]
    fn wakes(&self) -> Lateness {
        Lateness::new(&self.0.wakes)
    }
    #[getter]
    fn deadlines(&self) -> Lateness {
        Lateness::new(&self.0.deadlines)
    }
    #[getter]
    fn explained(&self) -> Option<f64> {
        self.0.explained
    }
    #[getter]
    fn stalls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.stalls.iter().copied().map(Stall))
    }
    #[getter]
    fn facts(&self) -> Vec<(&'static str, String, Option<&'static str>)> {
        self.0.facts.iter().map(|fact| (fact.name, fact.what.clone(), fact.but)).collect()
    }
}

/// Measures how well this host lets line threads meet deadlines.
#[pyfunction]
#[pyo3(signature = (period, length, *, cpu = None))]
pub(crate) fn examine(
    py: Python<'_>,
    period: &Bound<'_, PyAny>,
    length: &Bound<'_, PyAny>,
    cpu: Option<usize>,
) -> PyResult<Checkup> {
    let examination = Examination { period: limit(period)?, length: limit(length)?, cpu };
    blocking(py, Owner::Bench, |go_on| doctor::examine(examination, go_on)).map(Checkup)
}
