//! Timing verdicts and calibrations, for Python: `fieldrig/timing.py` and `fieldrig/cli/calibrate.py` make use of them.

use crate::error::{Kind, Owner, engine_error, error};
use crate::time::{Span, Stamp, comparable};
use fieldrig_engine::calibration::{self, Adapter};
use fieldrig_engine::{clock_of, origin};
use fieldrig_proto::time::{self, Duration, Limit, Source, Time};
use fieldrig_proto::timing::{self, Facts, Interval, Rule, TOO_FINE};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::path::PathBuf;

/// What was found out about the times of events: a value, its limits, and what becomes of it.
#[pyclass(frozen, module = "fieldrig.timing")]
pub(crate) struct Figure(timing::Figure);

#[pymethods]
impl Figure {
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }
    #[getter]
    fn value(&self) -> Span {
        Span(self.0.value)
    }
    #[getter]
    fn min_ns(&self) -> Option<i64> {
        self.0.limit.min
    }
    #[getter]
    fn max_ns(&self) -> Option<i64> {
        self.0.limit.max
    }
    #[getter]
    fn verdict(&self) -> &'static str {
        self.0.verdict.word()
    }
    #[getter]
    fn reason(&self) -> &str {
        &self.0.reason
    }
    fn __repr__(&self) -> String {
        format!("<Figure {}: {}>", self.0.name, self.0.verdict.word())
    }
}

/// The rule of a name; unused limits are `None`.
fn rule(py: Python<'_>, name: &str, min: Option<i64>, max: Option<i64>, extra: Option<i64>) -> PyResult<Rule> {
    match (name, min, max) {
        ("within", None, Some(max)) => Ok(Rule::Within(max)),
        ("not_before", Some(min), None) => Ok(Rule::NotBefore(min)),
        ("gap", min, max) if min.or(max).is_some() => Ok(Rule::Gap(Limit { min, max })),
        ("period", Some(nominal), Some(tolerance)) => Ok(Rule::Period { nominal, tolerance, drift: extra }),
        ("jitter", None, Some(max)) => Ok(Rule::Jitter(max)),
        _ => Err(error(py, Kind::Usage, format!("{name}() with these limits judges nothing"))),
    }
}

fn length(nanos: Duration) -> i64 {
    i64::try_from(nanos.as_nanos()).unwrap_or(i64::MAX)
}

/// Judges the intervals of a series.
#[pyfunction]
#[pyo3(signature = (name, intervals, *, min_ns = None, max_ns = None, drift_ns = None))]
pub(crate) fn judge_timing<'py>(
    py: Python<'py>,
    name: &str,
    intervals: Vec<(Stamp, Stamp, bool)>,
    min_ns: Option<i64>,
    max_ns: Option<i64>,
    drift_ns: Option<i64>,
) -> PyResult<Bound<'py, PyTuple>> {
    let rule = rule(py, name, min_ns, max_ns, drift_ns)?;
    let interval = |(from, to, caused): (Stamp, Stamp, bool)| Interval { from: from.0, to: to.0, caused };
    let intervals: Vec<Interval> = intervals.into_iter().map(interval).collect();
    let stamps = || intervals.iter().flat_map(|one| [one.from, one.to]);
    if let Some(first) = stamps().find(|stamp| clock_of(stamp.source()).is_some()) {
        stamps().try_for_each(|stamp| comparable(py, first, stamp).map(drop))?;
    }
    let figures = py.detach(|| {
        let stalls = stalls_of(&intervals);
        let port = |source: Source| origin(source).map(|found| (found.port.clone(), length(found.resolution)));
        timing::judge(&rule, &intervals, &Facts { stalls: &stalls, port: &port })
    });
    PyTuple::new(py, figures.into_iter().map(Figure))
}

/// When the host stood still, as far as those saw it who watched when the events were seen.
fn stalls_of(intervals: &[Interval]) -> Vec<(Time, Time)> {
    let stamps = || intervals.iter().flat_map(|one| [one.from, one.to]);
    // A stall that ended before the first event may still have made it late.
    let since = stamps().map(time::Stamp::earliest).min().unwrap_or(Time::ZERO) - Duration::from_secs(10);
    let mut sources: Vec<Source> = stamps().map(time::Stamp::source).collect();
    sources.sort_by_key(|source| source.number());
    sources.dedup();
    let mut stalls: Vec<(Time, Time)> = Vec::new();
    for stall in sources.into_iter().filter_map(origin).flat_map(|found| found.stalls(since)) {
        // Several who watched saw the same one.
        match stalls.iter_mut().find(|(from, until)| *from < stall.until && stall.from < *until) {
            Some((from, until)) => (*from, *until) = ((*from).min(stall.from), (*until).max(stall.until)),
            None => stalls.push((stall.from, stall.until)),
        }
    }
    stalls
}

/// The same for a limit of a span.
#[pyfunction]
#[pyo3(signature = (span, limit_ns, /))]
pub(crate) fn span_too_fine(span: Span, limit_ns: i64) -> Option<(String, i64, String, i64)> {
    coarser(span.0.sources().into_iter(), limit_ns)
}

/// Whether the event that a span begins with was seen, and is nothing that we did.
#[pyfunction]
#[pyo3(signature = (span, /))]
pub(crate) fn span_begins_with_what_was_seen(span: Span) -> bool {
    origin(span.0.sources()[0]).is_some()
}

/// Why a rule is too fine for the ports through which these stamps were seen: the port, its resolution (ns), where that
/// is from, and the limit (ns); `None` if it is not.
#[pyfunction]
#[pyo3(signature = (name, stamps, intervals, *, min_ns = None, max_ns = None, drift_ns = None))]
pub(crate) fn too_fine(
    py: Python<'_>,
    name: &str,
    stamps: Vec<Stamp>,
    intervals: usize,
    min_ns: Option<i64>,
    max_ns: Option<i64>,
    drift_ns: Option<i64>,
) -> PyResult<Option<(String, i64, String, i64)>> {
    let limit = rule(py, name, min_ns, max_ns, drift_ns)?.fineness(intervals);
    Ok(coarser(stamps.iter().map(|stamp| stamp.0.source()), limit))
}

/// The coarsest of these sources, if a limit is too fine for it.
fn coarser(sources: impl Iterator<Item = Source>, limit: i64) -> Option<(String, i64, String, i64)> {
    let found = sources.filter_map(origin).max_by_key(|found| found.resolution)?;
    let resolution = length(found.resolution);
    let fine = resolution > 0 && limit < resolution.saturating_mul(TOO_FINE);
    fine.then(|| (found.port.clone(), resolution, found.note.clone(), limit))
}

/// Through which port an instant was seen: its name, its resolution (ns), and where that is from.
#[pyfunction]
#[pyo3(signature = (stamp, /))]
pub(crate) fn origin_of(stamp: Stamp) -> Option<(String, i64, String)> {
    origin(stamp.0.source()).map(|found| (found.port.clone(), length(found.resolution), found.note.clone()))
}

/// What is kept about how finely a port tells time.
#[pyclass(frozen, get_all, module = "fieldrig.timing")]
pub(crate) struct Calibration {
    port: String,
    resolution_ns: i64,
    delay_ns: i64,
    line: String,
    rounds: i64,
    driver: Option<String>,
    latency_timer: Option<i64>,
    rx_trig_bytes: Option<i64>,
    kernel: String,
    unused: Option<String>,
}

#[pymethods]
impl Calibration {
    fn __repr__(&self) -> String {
        format!("<Calibration {}>", self.port)
    }
}

/// Where calibrations are kept.
#[pyfunction]
pub(crate) fn calibration_file() -> Option<PathBuf> {
    calibration::file()
}

/// All calibrations that are kept.
#[pyfunction]
#[pyo3(signature = (file, /))]
pub(crate) fn calibrations(py: Python<'_>, file: PathBuf) -> PyResult<Bound<'_, PyTuple>> {
    let found = calibration::load(&file).map_err(|problem| engine_error(py, &problem, Owner::Bench))?;
    PyTuple::new(py, found.into_iter().map(|one| shown(&one)))
}

fn shown(one: &calibration::Calibration) -> Calibration {
    Calibration {
        port: one.adapter.name.clone(),
        resolution_ns: length(one.resolution),
        delay_ns: length(one.delay),
        line: one.line.to_string(),
        rounds: one.rounds,
        driver: one.adapter.driver.clone(),
        latency_timer: one.adapter.latency_timer,
        rx_trig_bytes: one.adapter.rx_trig_bytes,
        kernel: one.adapter.kernel.clone(),
        unused: calibration::why_unused(one),
    }
}

/// Keeps what was measured of a port, named as in its URL.
#[pyfunction]
#[pyo3(signature = (file, port, *, resolution_ns, delay_ns, line, rounds))]
pub(crate) fn store_calibration(
    py: Python<'_>,
    file: PathBuf,
    port: &str,
    resolution_ns: u64,
    delay_ns: u64,
    line: &str,
    rounds: i64,
) -> PyResult<Calibration> {
    let failed = |problem: fieldrig_engine::EngineError| engine_error(py, &problem, Owner::Bench);
    let line = line
        .parse()
        .map_err(|problem: fieldrig_proto::line::SettingsError| error(py, Kind::Usage, problem.to_string()))?;
    let measured = calibration::Calibration {
        adapter: Adapter::of(port).map_err(failed)?,
        resolution: Duration::from_nanos(resolution_ns),
        delay: Duration::from_nanos(delay_ns),
        line,
        rounds,
    };
    calibration::store(&file, &measured).map_err(failed)?;
    Ok(shown(&measured))
}
