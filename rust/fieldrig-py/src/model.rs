//! Models in Python: a `Machine` of `fieldrig/model/machine.py` as the model of a device.
//!
//! Rules of this file:
//! - The thread that drives the device calls Python; it attaches for each call and holds no lock that anybody waits for with
//!   the GIL held (see `life.rs`).
//! - During a call the points live in a [`Turn`], which Python works on; afterwards they go back, and the turn is dead.
//! - What a model raises stops its device. What a signal handler raised while a model ran on the thread of a blocking call
//!   (Ctrl-C on virtual time) comes out of that call.
//! - A model cannot make blocking calls itself: it runs inside of one.

use crate::error::{Kind, error};
use crate::life::Call;
use crate::value::{from_python, to_python};
use fieldrig_proto::device::{Change, Emission, Heard, Model, ModelContext, Origin, PointStore, Said};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Stamp, Time};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The Python code of a device that this thread runs now.
    static RUNNING: Cell<Option<Runs>> = const { Cell::new(None) };
    /// How many blocking calls this thread is in.
    static BLOCKING: Cell<usize> = const { Cell::new(0) };
    /// What a signal handler raised while a model ran on this thread.
    static CARRIED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Python code that a device calls.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Runs {
    /// Its model.
    Model,
    /// The handler of its requests.
    Handler,
    /// An endpoint.
    Endpoint,
}

impl Runs {
    /// Does something as this.
    pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let before = RUNNING.replace(Some(self));
        let outcome = work();
        RUNNING.set(before);
        outcome
    }

    /// What this thread runs: then it cannot wait for anything.
    pub(crate) fn here() -> Option<Runs> {
        RUNNING.get()
    }
}

/// A blocking call of this thread: it takes what signal handlers raise in models.
pub(crate) struct Blocking(());

impl Blocking {
    pub(crate) fn begin() -> Blocking {
        BLOCKING.set(BLOCKING.get() + 1);
        Blocking(())
    }

    /// Whether a signal handler raised something in a model.
    pub(crate) fn interrupted() -> bool {
        CARRIED.with_borrow(Option::is_some)
    }

    /// What it raised.
    pub(crate) fn take() -> Option<PyErr> {
        CARRIED.take()
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        BLOCKING.set(BLOCKING.get() - 1);
    }
}

/// What a model may do while its device calls it.
#[pyclass(frozen, module = "fieldrig._core.device")]
pub(crate) struct Turn {
    now: Time,
    open: Mutex<Option<Open>>,
}

/// The device's part of a turn.
struct Open {
    store: PointStore,
    said: Said,
}

impl Turn {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // Only the thread that is attached works on it; a panic leaves nothing half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the device's part. No Python in there: whoever waited for the lock with the GIL would wait for ever.
    fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut Open) -> R) -> PyResult<R> {
        let outcome = self.open().as_mut().map(work);
        outcome.ok_or_else(|| error(py, Kind::Usage, "this turn of the device is over"))
    }

    fn emit(&self, py: Python<'_>, face: &str, emission: Emission) -> PyResult<()> {
        self.with(py, |open| open.said.emissions.push((face.to_owned(), emission)))
    }
}

#[pymethods]
impl Turn {
    #[getter]
    fn now(&self) -> u64 {
        self.now.as_nanos()
    }
    #[pyo3(signature = (point, /))]
    fn get<'py>(&self, py: Python<'py>, point: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = self.with(py, |open| open.store.value(point).cloned())?;
        let value = value.ok_or_else(|| error(py, Kind::Usage, format!("there is no point `{point}`")))?;
        to_python(py, &value)
    }
    #[pyo3(signature = (point, value, /))]
    fn set(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = from_python(value)?;
        let outcome = self.with(py, |open| open.store.set(self.now, point, value, Origin::Model))?;
        outcome.map_err(|problem| error(py, Kind::Usage, problem.to_string()))
    }
    #[pyo3(signature = (face, text, /))]
    fn line(&self, py: Python<'_>, face: &str, text: &str) -> PyResult<()> {
        self.emit(py, face, Emission::Line(text.to_owned()))
    }
    #[pyo3(signature = (face, request, /))]
    fn ask(&self, py: Python<'_>, face: &str, request: &Bound<'_, PyAny>) -> PyResult<()> {
        self.emit(py, face, Emission::Ask(from_python(request)?))
    }
    #[pyo3(signature = (kind, fields, /))]
    fn log(&self, py: Python<'_>, kind: &str, fields: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut record = Record::new(kind.to_owned()).at(Stamp::exact(self.now));
        for (name, value) in fields {
            let name: String = name.extract()?;
            record = record.with(name, from_python(&value)?);
        }
        self.with(py, |open| open.said.reports.push(record))
    }
    #[pyo3(signature = (message, trace, /))]
    fn fail(&self, py: Python<'_>, message: &str, trace: &str) -> PyResult<()> {
        self.with(py, |open| {
            open.said.failure.get_or_insert_with(|| message.to_owned());
            let record = Record::new("model.traceback").at(Stamp::exact(self.now));
            open.said.reports.push(record.with("trace", trace));
        })
    }
}

/// A model in Python.
pub(crate) struct PyModel {
    machine: Result<Py<PyAny>, String>,
    due: Option<Time>,
}

impl PyModel {
    /// The model that this machine runs; without one, a model that fails at power-on for this reason.
    pub(crate) fn new(machine: Result<Py<PyAny>, String>) -> PyModel {
        PyModel { machine, due: None }
    }

    /// One call into Python; `None` if nothing came of it.
    fn call<R>(
        &self,
        context: &mut ModelContext<'_>,
        work: impl for<'py> FnOnce(&Bound<'py, PyAny>, &Bound<'py, Turn>) -> PyResult<R>,
    ) -> Option<R> {
        let machine = match &self.machine {
            Ok(machine) => machine,
            Err(why) => {
                context.fail(why.as_str());
                return None;
            }
        };
        // Without an interpreter, which is going away, models do nothing any more.
        Python::try_attach(|py| {
            let _call = Call::begin();
            let turn = match Bound::new(py, Turn { now: context.now, open: Mutex::new(None) }) {
                Ok(turn) => turn,
                Err(problem) => return refuse(py, context, problem),
            };
            let open = Open { store: std::mem::take(context.store), said: Said::default() };
            *turn.get().open() = Some(open);
            let outcome = Runs::Model.run(|| work(machine.bind(py), &turn));
            if let Some(open) = turn.get().open().take() {
                give_back(context, open);
            }
            outcome.map_or_else(|problem| refuse(py, context, problem), Some)
        })
        .flatten()
    }

    /// A call that gives when the next one is wanted.
    fn step(
        &mut self,
        context: &mut ModelContext<'_>,
        work: impl for<'py> FnOnce(&Bound<'py, PyAny>, &Bound<'py, Turn>) -> PyResult<Bound<'py, PyAny>>,
    ) {
        self.due = self
            .call(context, |machine, turn| work(machine, turn)?.extract::<Option<u64>>())
            .flatten()
            .map(Time::from_nanos);
    }
}

/// The points go back, and what the model said is said.
fn give_back(context: &mut ModelContext<'_>, open: Open) {
    *context.store = open.store;
    for (face, emission) in open.said.emissions {
        context.emit(&face, emission);
    }
    for record in open.said.reports {
        context.report(record);
    }
    if let Some(why) = open.said.failure {
        context.fail(why);
    }
}

/// Something came out of a call. The machine keeps errors of models to itself, so it is what a signal handler raised, or
/// our own mistake.
fn refuse<R>(py: Python<'_>, context: &mut ModelContext<'_>, problem: PyErr) -> Option<R> {
    context.fail(problem.to_string());
    carry(py, problem);
    None
}

/// Keeps what a signal handler raised for the blocking call of this thread; gives back anything else.
pub(crate) fn carry(py: Python<'_>, problem: PyErr) -> Option<PyErr> {
    if BLOCKING.get() > 0 && !problem.is_instance_of::<PyException>(py) {
        CARRIED.set(Some(problem));
        return None;
    }
    Some(problem)
}

impl Model for PyModel {
    fn boot(&mut self, context: &mut ModelContext<'_>) -> Time {
        self.due = None;
        let outcome =
            self.call(context, |machine, turn| machine.call_method1("boot", (turn,))?.extract::<(u64, Option<u64>)>());
        let Some((runs_at, due)) = outcome else { return context.now };
        self.due = due.map(Time::from_nanos);
        Time::from_nanos(runs_at)
    }

    fn run(&mut self, context: &mut ModelContext<'_>) {
        self.step(context, |machine, turn| machine.call_method1("run", (turn,)));
    }

    fn changed(&mut self, context: &mut ModelContext<'_>, change: &Change) {
        let Some(name) = context.store.definitions().get(change.point).map(|point| point.name.clone()) else { return };
        self.step(context, |machine, turn| {
            machine.call_method1("changed", (turn, name, to_python(machine.py(), &change.to)?))
        });
    }

    fn heard(&mut self, context: &mut ModelContext<'_>, face: &str, heard: &Heard) {
        self.step(context, |machine, turn| {
            let (kind, what) = heard_by_python(machine.py(), heard)?;
            machine.call_method1("heard", (turn, face, kind, what))
        });
    }

    fn handle_timeout(&mut self, context: &mut ModelContext<'_>) {
        self.step(context, |machine, turn| machine.call_method1("due", (turn,)));
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    fn power_off(&mut self, context: &mut ModelContext<'_>) {
        self.due = None;
        if self.machine.is_ok() {
            self.call(context, |machine, turn| machine.call_method1("power_off", (turn,)).map(|_| ()));
        }
    }
}

fn heard_by_python<'py>(py: Python<'py>, heard: &Heard) -> PyResult<(&'static str, Bound<'py, PyAny>)> {
    Ok(match heard {
        Heard::Line(line) => ("line", PyString::new(py, line).into_any()),
        Heard::Message { topic, payload } => {
            ("message", (topic.as_str(), PyBytes::new(py, payload)).into_pyobject(py)?.into_any())
        }
        Heard::Ready => ("ready", py.None().into_bound(py)),
        Heard::Gone => ("gone", py.None().into_bound(py)),
        Heard::Answer(table) => ("answer", to_python(py, table)?),
    })
}
