//! `Device`: an emulated device whose protocol is defined by data, and handlers in Python.

use super::definition::Protocol;
use super::frame::Frame;
use super::{Given, entries, patch, refused};
use crate::attach::attached;
use crate::device::{Change, Emulated};
use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::life::Call;
use crate::model::{Runs, carry};
use crate::place;
use crate::rig::Rig;
use crate::time::Stamp;
use crate::value::{from_python, octets};
use fieldrig_engine::Thread;
use fieldrig_proto::device::{self, Access, NoModel, PointDefinition, PointKind, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::line::defined::{self, Come, DefinedFace, Definition, Handler, Question, Reply};
use fieldrig_proto::protocol;
use fieldrig_proto::record::Value;
use fieldrig_proto::time;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use std::sync::Arc;

/// The name of its one face.
const FACE: &str = "protocol";

/// An emulated device.
#[pyclass(frozen, module = "fieldrig.protocol")]
pub(crate) struct Device {
    emulated: Emulated,
    definition: Arc<Definition>,
    url: String,
    handler: Option<Py<PyAny>>,
}

/// Points from names and their values.
fn points(py: Python<'_>, given: Vec<(String, Value)>) -> PyResult<Vec<PointDefinition>> {
    let point = |(name, initial): (String, Value)| {
        let kind = match &initial {
            Value::Bool(_) => PointKind::Bool,
            Value::Int(_) | Value::Unsigned(_) => PointKind::Int,
            Value::Float(_) => PointKind::Float,
            Value::Text(_) => PointKind::Text,
            other => {
                let message = format!("the point `{name}` holds a number, a text or a truth value, not {other}");
                return Err(error(py, Kind::Usage, message));
            }
        };
        Ok(PointDefinition { name, kind, unit: String::new(), initial, range: None, access: Access::ReadWrite })
    };
    given.into_iter().map(point).collect()
}

impl Device {
    fn told_by_handler(&self, py: Python<'_>) -> PyResult<()> {
        match &self.handler {
            Some(handler) => handler.bind(py).call_method0("tell").map(|_| ()),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Device {
    #[new]
    #[pyo3(signature = (url, protocol, *, points = None, handler = None, rig = None))]
    fn new(
        py: Python<'_>,
        url: &str,
        protocol: &Bound<'_, Protocol>,
        points: Given<'_, '_>,
        handler: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
    ) -> PyResult<Device> {
        let Protocol { definition, protocol } = protocol.get();
        let points = self::points(py, entries(points, "points")?)?;
        let names: Vec<String> = points.iter().map(|point| point.name.clone()).collect();
        // With a handler rules may be half a story: what is missing is told when it is missed.
        let known = handler.is_none().then_some(names.as_slice());
        if let Some((point, hint)) = known.and_then(|known| definition.useless_point(known)) {
            let problem =
                format!("{url}: no message and no rule of {} has a use for the point `{point}`", definition.name);
            return Err(hinted(py, Kind::Usage, problem, hint.as_deref()));
        }
        let mut face = DefinedFace::new(FACE, Arc::clone(definition), known).map_err(|problem| {
            hinted(py, Kind::Usage, format!("`{}`: {}", problem.key, problem.problem), problem.hint.as_deref())
        })?;
        let wrapped = handler.map(|function| wrapped(function, url)).transpose()?;
        if let Some(wrapped) = &wrapped {
            face.set_handler(Some(self::handler(wrapped, protocol)));
        }
        let port = place::port(py, url)?.listening();
        let shown = port.clone();
        let binding = place::binding(FACE, port, Some(protocol), Sender::Server);
        let device = device::Device::new(FACE, PointStore::new(points), Box::new(NoModel), vec![Box::new(face)]);
        // Python is not called on a thread that others share, or that spins for the sake of deadlines.
        let thread = if wrapped.is_some() { Thread::Models } else { Thread::Reactor };
        let handle = Handle::open_on(py, rig, thread, url, device, vec![binding], Owner::Bench)?;
        let url = place::reached(&shown, &handle.address(py, FACE)?);
        if let Some(wrapped) = &wrapped {
            wrapped.setattr("device", &url)?;
        }
        let handler = wrapped.map(Bound::unbind);
        let device = Device { emulated: Emulated { handle }, definition: Arc::clone(definition), url, handler };
        device.emulated.power_on(py)?;
        Ok(device)
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[pyo3(signature = (point, /))]
    fn get<'py>(&self, py: Python<'py>, point: &str) -> PyResult<Bound<'py, PyAny>> {
        self.emulated.get(py, point)
    }
    #[pyo3(signature = (point, value, /))]
    fn set(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>) -> PyResult<Change> {
        self.emulated.set(py, point, value)
    }
    #[pyo3(signature = (name, value = None))]
    fn habit(&self, py: Python<'_>, name: &str, value: Given<'_, '_>) -> PyResult<()> {
        self.emulated.habit(py, FACE, name, value)
    }
    /// Sends a message unasked; says to how many connections it went.
    #[pyo3(signature = (message, /, fields = None, *, patch = None))]
    fn send(&self, py: Python<'_>, message: &str, fields: Given<'_, '_>, patch: Given<'_, '_>) -> PyResult<usize> {
        let (fields, patch) = (entries(fields, "fields")?, self::patch(&self.definition, patch)?);
        let (sent, _) = self.emulated.handle.with(py, |device, now| {
            let store = device.store().clone();
            device.face_as::<DefinedFace>(FACE).map(|face| face.send(now, message, &fields, &patch, &store))
        })?;
        let sent = sent.ok_or_else(|| error(py, Kind::Bench, "the device has lost its face"))?;
        sent.map(|(_, count)| count).map_err(|problem| refused(py, &problem))
    }
    /// Sends bytes as they are; says to how many connections they went.
    #[pyo3(signature = (data, /))]
    fn raw(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let data = octets(data)?;
        let (sent, _) = self
            .emulated
            .handle
            .with(py, |device, now| device.face_as::<DefinedFace>(FACE).map(|face| face.send_raw(now, &data)))?;
        sent.ok_or_else(|| error(py, Kind::Bench, "the device has lost its face"))
    }
    fn power_on(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_on(py)
    }
    fn power_off(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.emulated.power_off(py)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.emulated.handle.close(py)?;
        self.told_by_handler(py)
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Given<'_, '_>,
        error: Given<'_, '_>,
        _trace: Given<'_, '_>,
    ) -> PyResult<()> {
        self.emulated.handle.close(py)?;
        // Ctrl-C and the like are not replaced by anything.
        match error.filter(|error| !error.is_none() && !error.is_instance_of::<PyException>()) {
            Some(_) => Ok(()),
            None => self.told_by_handler(py),
        }
    }
    fn __repr__(&self) -> String {
        format!("<protocol.Device {} at {}>", self.definition.name, self.url)
    }
}

/// The object of `protocol.py` that stands between a device and the function of the user.
///
/// # Errors
/// `UsageError`: it cannot be called.
fn wrapped<'py>(function: &Bound<'py, PyAny>, device: &str) -> PyResult<Bound<'py, PyAny>> {
    function.py().import("fieldrig.protocol")?.getattr("FrameHandler")?.call1((function, device))
}

fn handler(wrapped: &Bound<'_, PyAny>, protocol: &'static protocol::Protocol) -> Box<dyn Handler> {
    Box::new(PyHandler { handler: wrapped.clone().unbind(), protocol })
}

/// Gives the face of a device a function that answers in its place; `Ok(false)`: its protocol is not defined by data.
///
/// # Errors
/// `UsageError`: it cannot be called; the engine's.
pub(crate) fn set_handler(py: Python<'_>, emulated: &Emulated, face: &str, function: Given<'_, '_>) -> PyResult<bool> {
    let (definition, _) = emulated
        .handle
        .with(py, |device, _| device.face_as::<DefinedFace>(face).map(|face| Arc::clone(face.definition())))?;
    let Some(definition) = definition else { return Ok(false) };
    let wrapped = function.map(|function| wrapped(function, face)).transpose()?;
    let handler = wrapped.as_ref().map(|wrapped| handler(wrapped, defined::protocol(&definition)));
    emulated.handle.with(py, |device, _| {
        if let Some(face) = device.face_as::<DefinedFace>(face) {
            face.set_handler(handler);
        }
    })?;
    Ok(true)
}

/// A handler in Python.
struct PyHandler {
    handler: Py<PyAny>,
    protocol: &'static protocol::Protocol,
}

impl Handler for PyHandler {
    fn answer(&mut self, question: Question) -> Reply {
        let at = time::Stamp::exact(question.now);
        let come = Come {
            kind: "request",
            message: question.message,
            raw: question.raw,
            first: at,
            last: at,
            problems: Vec::new(),
        };
        let frame = Frame { come, protocol: self.protocol, sender: Sender::Client, place: 0 };
        let reply = attached(|py| {
            let _call = Call::begin();
            let asked = || self.handler.bind(py).call_method1(pyo3::intern!(py, "ask"), (frame,));
            match Runs::Handler.run(asked).and_then(|said| reply(&said)) {
                Ok(reply) => reply,
                // Ctrl-C: whoever waits is told; the client is not.
                Err(problem) => carry(py, problem).map_or(Reply::NoAnswer, |problem| Reply::Failed {
                    error: problem.to_string(),
                    trace: String::new(),
                }),
            }
        });
        // Without an interpreter, which is going away, the device is on its own.
        reply.unwrap_or(Reply::Usual)
    }

    fn failed(&mut self, error: &str, trace: &str) {
        attached(|py| {
            let _call = Call::begin();
            // It only puts two texts into a list.
            let _ = self.handler.bind(py).call_method1("failed", (error, trace));
        });
    }
}

/// What the handler gave, as `protocol.py` hands it on: None, bytes, or a tuple of a word and what belongs to it.
///
/// # Errors
/// What Python raises.
fn reply(said: &Bound<'_, PyAny>) -> PyResult<Reply> {
    if said.is_none() {
        return Ok(Reply::Usual);
    }
    if let Ok(bytes) = said.cast::<PyBytes>() {
        return Ok(Reply::Raw(bytes.as_bytes().to_vec()));
    }
    let parts = said.cast::<PyTuple>()?;
    let word = parts.get_item(0)?.cast::<PyString>()?.to_str()?.to_owned();
    let text = |index: usize| -> PyResult<String> { parts.get_item(index)?.extract() };
    let table = |index: usize| -> PyResult<Vec<(String, Value)>> {
        match from_python(&parts.get_item(index)?)? {
            Value::Table(entries) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    };
    Ok(match word.as_str() {
        "message" => Reply::Message { name: text(1)?, fields: table(2)?, patch: table(3)? },
        "silence" => Reply::NoAnswer,
        _ => Reply::Failed { error: text(1)?, trace: text(2)? },
    })
}
