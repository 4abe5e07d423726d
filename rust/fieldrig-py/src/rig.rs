//! `Rig`: the clock, the threads, the run log and the capture that objects share.

use crate::bench::byte_fault;
use crate::error::{Kind, Owner, engine_error, error};
use crate::life::{Shared, detached};
use crate::ports::LineCounts;
use crate::stall::Stall;
use crate::time::{Stamp, instant, limit};
use crate::value::{Whole, from_python};
use crate::wait::blocking;
use fieldrig_engine::secrets::Secrets;
use fieldrig_engine::trace::Level;
use fieldrig_engine::{ClockKind, RigOptions, WireOptions};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::record::Record;
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::path::PathBuf;
use std::sync::Arc;

/// How much of the traffic `trace="ring"` keeps.
const RING: usize = 16 << 20;

/// What objects share: one clock, one reactor, one run log, one capture.
#[pyclass(frozen, module = "fieldrig")]
pub(crate) struct Rig {
    pub(crate) shared: Arc<Shared>,
    name: String,
}

/// Texts to mask: some, or those that others know, too.
#[derive(FromPyObject)]
enum Hidden {
    Shared(Py<crate::secrets::Secrets>),
    Texts(Vec<String>),
}

impl Hidden {
    fn secrets(self) -> Secrets {
        match self {
            Hidden::Shared(secrets) => secrets.get().0.clone(),
            Hidden::Texts(texts) => Secrets::new(texts),
        }
    }
}

/// The rig that was given, or a private one.
///
/// # Errors
/// Those of starting one.
pub(crate) fn shared_or_private(py: Python<'_>, given: Option<&Bound<'_, Rig>>) -> PyResult<Arc<Shared>> {
    match given {
        Some(rig) => Ok(Arc::clone(&rig.get().shared)),
        None => Shared::start(py, RigOptions { level: Level::Counts, ..RigOptions::default() }),
    }
}

/// The stalls of the host since an instant that stand against every verdict on time.
pub(crate) fn stalls(rig: &fieldrig_engine::Rig, since: time::Stamp) -> Vec<Stall> {
    rig.sentinel_stalls(since.earliest()).into_iter().map(Stall).collect()
}

#[pymethods]
impl Rig {
    #[new]
    #[pyo3(signature = (*, folder = None, trace = "full", name = "", clock = "real", secrets = None))]
    fn new(
        py: Python<'_>,
        folder: Option<PathBuf>,
        trace: &str,
        name: &str,
        clock: &str,
        secrets: Option<Hidden>,
    ) -> PyResult<Rig> {
        let level = match trace {
            "full" => Level::Full,
            "ring" => Level::Ring { bytes: RING },
            "counts" => Level::Counts,
            _ => {
                let message = format!("trace is \"full\", \"ring\" or \"counts\", not {trace:?}");
                return Err(error(py, Kind::Usage, message));
            }
        };
        let clock = match clock {
            "real" => ClockKind::Real,
            "virtual" => ClockKind::Virtual,
            _ => return Err(error(py, Kind::Usage, format!("clock is \"real\" or \"virtual\", not {clock:?}"))),
        };
        let secrets = secrets.map_or_else(Secrets::default, Hidden::secrets);
        let options = RigOptions { folder, level, clock, name: name.to_owned(), secrets };
        Ok(Rig { shared: Shared::start(py, options)?, name: name.to_owned() })
    }
    /// Which clock it has: "real" or "virtual".
    #[getter]
    fn clock(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(if self.shared.rig(py)?.clock().is_virtual() { "virtual" } else { "real" })
    }
    /// Adds a multi-drop wire in memory.
    #[pyo3(
        signature = (name, line = None, *, duplex = "half", echo = false, driver_on = None, driver_off = None, seed = None),
        text_signature = "($self, name, line=None, *, duplex='half', echo=False, driver_on=None, driver_off=None, seed=0)"
    )]
    #[allow(clippy::too_many_arguments)] // what a wire may have
    fn add_wire(
        &self,
        py: Python<'_>,
        name: &str,
        line: Option<&str>,
        duplex: &str,
        echo: bool,
        driver_on: Option<&Bound<'_, PyAny>>,
        driver_off: Option<&Bound<'_, PyAny>>,
        seed: Option<Whole>,
    ) -> PyResult<()> {
        let seed = seed.map_or(Ok(0), |seed| seed.named(py, "seed"))?;
        let line = line.map(str::parse::<LineSettings>).transpose();
        let line = line.map_err(|problem| error(py, Kind::Usage, problem.to_string()))?;
        let full_duplex = match duplex {
            "half" => false,
            "full" => true,
            _ => return Err(error(py, Kind::Usage, format!("duplex= is \"half\" or \"full\", not {duplex:?}"))),
        };
        let length = |given: Option<&Bound<'_, PyAny>>| given.map_or(Ok(time::Duration::ZERO), limit);
        let (driver_on, driver_off) = (length(driver_on)?, length(driver_off)?);
        let options = WireOptions { line, full_duplex, echo, driver_on, driver_off, seed };
        let added = self.shared.rig(py)?.add_wire_with(name, options);
        added.map_err(|problem| engine_error(py, &problem, Owner::Bench))
    }
    /// Disturbs what is sent on a wire in memory.
    #[pyo3(signature = (wire, name, *, p = None, count = None, after = None, direction = None, delay = None))]
    #[allow(clippy::too_many_arguments)] // what a fault may have
    fn fault_wire(
        &self,
        py: Python<'_>,
        wire: &str,
        name: &str,
        p: Option<f64>,
        count: Option<Whole>,
        after: Option<Whole>,
        direction: Option<&str>,
        delay: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let whole = |given: Option<Whole>, name| given.map(|given| given.named(py, name)).transpose();
        let (count, after) = (whole(count, "count")?, whole(after, "after")?);
        let (ways, fault) = byte_fault(py, name, (p, count, after), direction, delay)?;
        let disturbed = self.shared.rig(py)?.disturb_wire(wire, &ways, &fault);
        disturbed.map_err(|problem| error(py, Kind::Usage, problem.to_string()))
    }
    /// Ends every disturbance of a wire in memory.
    #[pyo3(signature = (wire, /))]
    fn clear_wire_faults(&self, py: Python<'_>, wire: &str) -> PyResult<()> {
        let cleared = self.shared.rig(py)?.calm_wire(wire);
        cleared.map_err(|problem| error(py, Kind::Usage, problem.to_string()))
    }
    /// The current instant.
    fn now(&self, py: Python<'_>) -> PyResult<Stamp> {
        let rig = self.shared.rig(py)?;
        Ok(Stamp(time::Stamp::exact(rig.instant()).by(rig.clock().source())))
    }
    /// Writes a line into the run log.
    #[pyo3(signature = (kind, /, **fields))]
    fn log(&self, py: Python<'_>, kind: String, fields: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let rig = self.shared.rig(py)?;
        let mut record = Record::new(kind).at(time::Stamp::exact(rig.now()));
        for (name, value) in fields.into_iter().flatten() {
            record.fields.push((name.extract::<String>()?.into(), from_python(&value)?));
        }
        rig.log().write(&record);
        Ok(())
    }
    /// Masks a text from now on, wherever the rig writes.
    #[pyo3(signature = (text, /))]
    fn hide(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.shared.rig(py)?.secrets().hide(text);
        Ok(())
    }
    /// The stalls of the host since an instant.
    #[pyo3(signature = (since, /))]
    fn stalls<'py>(&self, py: Python<'py>, since: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, stalls(self.shared.rig(py)?, instant(since)?))
    }
    /// All intervals of more than 10 ms in which the host did not let us run.
    #[pyo3(signature = (since, /))]
    fn hiccups<'py>(&self, py: Python<'py>, since: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let hiccups = self.shared.rig(py)?.hiccups(instant(since)?.earliest());
        PyTuple::new(py, hiccups.into_iter().map(Stall))
    }
    /// A process is a device of this run.
    #[pyo3(signature = (process, /, stands))]
    fn watch_program(&self, py: Python<'_>, process: u32, stands: &Bound<'_, PyAny>) -> PyResult<()> {
        let watched = self.shared.rig(py)?.watch_program(process, limit(stands)?);
        watched.map_err(|problem| engine_error(py, &problem, Owner::Bench))
    }
    /// Waits; on virtual time, moves it.
    #[pyo3(signature = (duration, /))]
    fn sleep(&self, py: Python<'_>, duration: &Bound<'_, PyAny>) -> PyResult<()> {
        let duration = limit(duration)?;
        let rig = self.shared.rig(py)?;
        blocking(py, Owner::Bench, |go_on| rig.sleep(duration, go_on))
    }
    /// What the run leaves behind: kind and path.
    fn files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rig = self.shared.rig(py)?;
        let files = PyDict::new(py);
        for (kind, path) in [("log", rig.log().path()), ("trace", rig.capture().path())] {
            if let Some(path) = path {
                files.set_item(kind, path.to_string_lossy())?;
            }
        }
        Ok(files)
    }
    /// The timing class of its lines, None if it has none.
    #[getter]
    fn timing_class(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.shared.rig(py)?.timing_class().map(|class| format!("{class:?}")))
    }
    /// What its lines asked of the host to meet deadlines, and what became of it.
    #[getter]
    fn timing_steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let timing = self.shared.rig(py)?.timing();
        PyTuple::new(py, timing.map_or_else(Vec::new, |timing| timing.steps).iter().map(ToString::to_string))
    }
    /// What the drivers of the real ports have counted.
    fn line_counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let reports = self.shared.rig(py)?.line_reports();
        PyTuple::new(py, reports.into_iter().map(LineCounts::from).collect::<Vec<_>>())
    }
    /// Closes everything that runs on it, ends every thread, completes the files.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let rig = self.shared.rig(py)?;
        detached(py, || rig.stop());
        Ok(())
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, _error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _trace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.stop(py)
    }
    fn __repr__(&self) -> String {
        format!("<Rig {}>", self.name)
    }
}
