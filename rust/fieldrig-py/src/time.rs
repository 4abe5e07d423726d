//! `Stamp`, `Span` and durations.

use crate::error::{Kind, error, hinted};
use crate::value::{Whole, signed};
use fieldrig_engine::clock_of;
use fieldrig_proto::time::{self, Duration, Limit, Order, Source};
use pyo3::prelude::*;
use pyo3::types::PyString;

fn seconds(nanos: f64) -> f64 {
    nanos / 1e9
}

/// An instant of a run, known to lie between `earliest` and `latest` (seconds since the run's clock began).
#[pyclass(frozen, eq, hash, from_py_object, module = "fieldrig")]
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stamp(pub(crate) time::Stamp);

#[pymethods]
impl Stamp {
    #[new]
    #[pyo3(signature = (earliest_ns, latest_ns = None))]
    fn new(py: Python<'_>, earliest_ns: Whole, latest_ns: Option<Whole>) -> PyResult<Stamp> {
        let earliest = time::Time::from_nanos(earliest_ns.named(py, "earliest_ns")?);
        let latest = latest_ns.map(|latest| latest.named(py, "latest_ns").map(time::Time::from_nanos)).transpose()?;
        Ok(Stamp(time::Stamp::between(earliest, latest.unwrap_or(earliest))))
    }
    #[getter]
    fn earliest(&self) -> f64 {
        seconds(self.0.earliest().as_nanos() as f64)
    }
    #[getter]
    fn latest(&self) -> f64 {
        seconds(self.0.latest().as_nanos() as f64)
    }
    #[getter]
    fn earliest_ns(&self) -> u64 {
        self.0.earliest().as_nanos()
    }
    #[getter]
    fn latest_ns(&self) -> u64 {
        self.0.latest().as_nanos()
    }
    /// The instant itself, so that a stamp can stand wherever an event can.
    #[getter]
    fn at(&self) -> Stamp {
        *self
    }
    /// "before", "after" or "unknown": what the two intervals say about the order of the instants.
    fn order(&self, other: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        let other = comparable(other.py(), self.0, instant(other)?)?;
        Ok(match self.0.order(other) {
            Order::Before => "before",
            Order::After => "after",
            Order::Unknown => "unknown",
        })
    }
    /// The span from this instant to a later one: a stamp, or anything with `.at`.
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.0, later)
    }
    fn __sub__(&self, py: Python<'_>, from: Stamp) -> PyResult<Span> {
        Ok(Span(self.0 - comparable(py, self.0, from.0)?))
    }
    /// Another instant of the same clock.
    #[pyo3(signature = (earliest_ns, latest_ns = None))]
    fn on_same_clock(&self, py: Python<'_>, earliest_ns: Whole, latest_ns: Option<Whole>) -> PyResult<Stamp> {
        Ok(Stamp(Stamp::new(py, earliest_ns, latest_ns)?.0.by(clock_like(self.0))))
    }
    fn __getnewargs__(&self) -> (u64, u64) {
        (self.earliest_ns(), self.latest_ns())
    }
    fn __repr__(&self) -> String {
        let width = i64::try_from(self.0.uncertainty().as_nanos()).unwrap_or(i64::MAX);
        format!("Stamp({} s, within {})", self.0.latest(), time::human(width))
    }
}

/// The stamp of an event: a `Stamp`, or the `.at` of anything else.
pub(crate) fn instant(event: &Bound<'_, PyAny>) -> PyResult<time::Stamp> {
    if let Ok(stamp) = event.cast::<Stamp>() {
        return Ok(stamp.get().0);
    }
    let found = event.getattr_opt("at")?;
    match found.as_ref().and_then(|at| at.cast::<Stamp>().ok()) {
        Some(stamp) => Ok(stamp.get().0),
        None => {
            let message = format!("{} is no event: it has no `.at` stamp", event.repr()?);
            Err(error(event.py(), Kind::Usage, message))
        }
    }
}

/// The span from an instant to that of a later event, for Python.
///
/// # Errors
/// `UsageError` for what is no event, and for one of another clock.
pub(crate) fn span_to(from: time::Stamp, later: &Bound<'_, PyAny>) -> PyResult<Span> {
    Ok(Span(from.until(comparable(later.py(), from, instant(later)?)?)))
}

/// The clock of a stamp, for others.
pub(crate) fn clock_like(stamp: time::Stamp) -> Source {
    clock_of(stamp.source()).map_or(Source::NONE, Source::of_clock)
}

/// The second of two stamps, if they are of one clock, as far as that is known.
///
/// # Errors
/// `UsageError` if they are not.
pub(crate) fn comparable(py: Python<'_>, one: time::Stamp, other: time::Stamp) -> PyResult<time::Stamp> {
    let (Some(its), Some(theirs)) = (clock_of(one.source()), clock_of(other.source())) else { return Ok(other) };
    if its == theirs {
        return Ok(other);
    }
    let named = |clock: u32| if clock == 0 { "on real time".to_owned() } else { format!("on virtual clock {clock}") };
    let message = format!(
        "one instant is {} and the other {}: these clocks have nothing to do with each other",
        named(its),
        named(theirs)
    );
    Err(hinted(py, Kind::Usage, message, Some("compare events of one rig, or of several that are all on real time")))
}

/// The time between two instants (seconds), as uncertain as they are.
#[pyclass(frozen, eq, hash, from_py_object, module = "fieldrig")]
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Span(pub(crate) time::Span);

#[pymethods]
impl Span {
    #[new]
    #[pyo3(signature = (earliest_ns, latest_ns = None))]
    fn new(earliest_ns: &Bound<'_, PyAny>, latest_ns: Option<&Bound<'_, PyAny>>) -> PyResult<Span> {
        let earliest = signed(earliest_ns, "earliest_ns")?;
        let latest = latest_ns.map_or(Ok(earliest), |latest| signed(latest, "latest_ns"))?;
        Ok(Span(time::Span::between(earliest, latest)))
    }
    #[getter]
    fn earliest(&self) -> f64 {
        seconds(self.0.earliest as f64)
    }
    #[getter]
    fn latest(&self) -> f64 {
        seconds(self.0.latest as f64)
    }
    #[getter]
    fn earliest_ns(&self) -> i64 {
        self.0.earliest
    }
    #[getter]
    fn latest_ns(&self) -> i64 {
        self.0.latest
    }
    /// "pass" if the span lies surely inside the limits, "fail" if surely outside, else "inconclusive".
    #[pyo3(signature = (*, min = None, max = None))]
    fn judge(&self, min: Option<&Bound<'_, PyAny>>, max: Option<&Bound<'_, PyAny>>) -> PyResult<&'static str> {
        // A limit that is itself uncertain counts with the end that is harder to meet.
        let min = min.map(|limit| span(limit).map(|s| s.latest)).transpose()?;
        let max = max.map(|limit| span(limit).map(|s| s.earliest)).transpose()?;
        Ok(self.0.judge(Limit { min, max }).word())
    }
    fn __getnewargs__(&self) -> (i64, i64) {
        (self.0.earliest, self.0.latest)
    }
    fn __str__(&self) -> String {
        self.text()
    }
    fn __repr__(&self) -> String {
        format!("Span({})", self.text())
    }
}

impl Span {
    pub(crate) fn text(&self) -> String {
        if self.0.earliest == self.0.latest {
            return time::human(self.0.latest);
        }
        format!("{} to {}", time::human(self.0.earliest), time::human(self.0.latest))
    }
}

/// A duration as a span: a `Span`, or text such as `"500ms"`.
fn span(given: &Bound<'_, PyAny>) -> PyResult<time::Span> {
    if let Ok(span) = given.cast::<Span>() {
        return Ok(span.get().0);
    }
    let length = limit(given)?;
    Ok(time::Span::exact(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)))
}

/// A time limit: text such as `"500ms"`, or a `Span` (its longer end).
///
/// # Errors
/// `UsageError` for a bare number and for text that is no duration.
pub(crate) fn limit(given: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let py = given.py();
    if let Ok(text) = given.cast::<PyString>() {
        return time::parse_duration(&text.to_string_lossy())
            .map_err(|problem| error(py, Kind::Usage, problem.to_string()));
    }
    if let Ok(span) = given.cast::<Span>() {
        let nanos = u64::try_from(span.get().0.latest);
        return nanos.map(Duration::from_nanos).map_err(|_| error(py, Kind::Usage, "a time limit cannot be negative"));
    }
    let message = format!("{} is not a duration: write text with a unit, such as \"500ms\", or a Span", given.repr()?);
    Err(error(py, Kind::Usage, message))
}

/// A time limit that may be left out.
pub(crate) fn limit_or(given: Option<&Bound<'_, PyAny>>, default: Duration) -> PyResult<Duration> {
    given.map_or(Ok(default), limit)
}

/// Reads a duration with its unit (`"500ms"`; ns, us, ms, s, min, h) and gives seconds.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(crate) fn duration(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    Ok(limit(value)?.as_secs_f64())
}

/// Reads a duration with its unit and gives nanoseconds.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(crate) fn duration_ns(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    Ok(u64::try_from(limit(value)?.as_nanos()).unwrap_or(u64::MAX))
}
