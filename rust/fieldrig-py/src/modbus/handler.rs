//! Handlers of requests in Python: a `Handler` of `fieldrig/handling.py` in the place of a Modbus server.
//!
//! Rules of this file:
//! - The thread that drives the device calls Python, which answers at once; the device waits. A handler cannot make
//!   blocking calls: it runs inside of one, or on the thread that serves everybody.
//! - What it raises, or gives that is no reply, is kept by `handling.py` until somebody is told; the server sees to the
//!   client. What a signal handler raised meanwhile (Ctrl-C on virtual time) comes out of the blocking call.

use crate::attach::attached;
use crate::life::Call;
use crate::model::{Runs, carry};
use crate::time::Stamp;
use fieldrig_proto::modbus::pdu;
use fieldrig_proto::modbus::server::{Handler, Question, Reply};
use fieldrig_proto::time;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyString, PyTuple, PyType};

/// A request that a handler is asked about. What Python sees is made when it looks.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Request {
    at: time::Stamp,
    connection: u32,
    unit: u8,
    transaction: Option<u16>,
    broadcast: bool,
    pdu: Vec<u8>,
    request: pdu::Request,
}

#[pymethods]
impl Request {
    #[getter]
    fn function(&self) -> u8 {
        self.request.function()
    }
    /// The table it is about, None if there is none.
    #[getter]
    fn table(&self) -> Option<&'static str> {
        self.request.read().map(|(table, ..)| table).or_else(|| {
            let (table, ..) = self.request.written()?;
            (table != "files").then_some(table)
        })
    }
    /// The first address that is read, or written if nothing is read.
    #[getter]
    fn address(&self) -> Option<u16> {
        self.request.read().or_else(|| self.written()).map(|(_, address, _)| address)
    }
    /// How many are read, or written if nothing is read.
    #[getter]
    fn count(&self) -> Option<u16> {
        self.request.read().or_else(|| self.written()).map(|(.., count)| count)
    }
    /// The first address that is written.
    #[getter]
    fn write_address(&self) -> Option<u16> {
        self.written().map(|(_, address, _)| address)
    }
    /// What is to be written.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.request {
            pdu::Request::WriteSingleCoil { on, .. } => PyTuple::new(py, [*on]),
            pdu::Request::WriteMultipleCoils { values, .. } => PyTuple::new(py, values),
            pdu::Request::WriteSingleRegister { value, .. } => PyTuple::new(py, [*value]),
            pdu::Request::WriteMultipleRegisters { values, .. }
            | pdu::Request::ReadWriteMultipleRegisters { values, .. } => PyTuple::new(py, values),
            pdu::Request::MaskWriteRegister { and, or, .. } => PyTuple::new(py, [*and, *or]),
            _ => Ok(PyTuple::empty(py)),
        }
    }
    #[getter]
    fn unit(&self) -> u8 {
        self.unit
    }
    #[getter]
    fn transaction(&self) -> Option<u16> {
        self.transaction
    }
    #[getter]
    fn connection(&self) -> u32 {
        self.connection
    }
    #[getter]
    fn broadcast(&self) -> bool {
        self.broadcast
    }
    #[getter]
    fn pdu<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.pdu)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    fn __repr__(&self) -> String {
        format!("<Request {:?} to unit {}>", self.request, self.unit)
    }
}

impl Request {
    fn written(&self) -> Option<(&'static str, u16, u16)> {
        self.request.written().filter(|(table, ..)| *table != "files")
    }

    fn of(question: Question<'_>) -> Request {
        Request {
            at: time::Stamp::exact(question.now),
            connection: question.connection,
            unit: question.unit,
            transaction: question.transaction,
            broadcast: question.broadcast,
            pdu: question.pdu.to_vec(),
            request: question.request,
        }
    }
}

/// A handler in Python.
struct PyHandler {
    name: String,
    handler: Py<PyAny>,
}

/// Makes the object of `handling.py` that stands between a device and the function of the user.
///
/// # Errors
/// `UsageError`: it cannot be called.
pub(crate) fn wrapped<'py>(function: &Bound<'py, PyAny>, device: &str) -> PyResult<Bound<'py, PyAny>> {
    function.py().import("fieldrig.handling")?.getattr("Handler")?.call1((function, device))
}

/// The handler of a face, from an object of `handling.py`.
///
/// # Errors
/// It has no name.
pub(crate) fn handler(wrapped: &Bound<'_, PyAny>) -> PyResult<Box<dyn Handler>> {
    let name = wrapped.getattr("name")?.extract()?;
    Ok(Box::new(PyHandler { name, handler: wrapped.clone().unbind() }))
}

impl Handler for PyHandler {
    fn name(&self) -> &str {
        &self.name
    }

    fn answer(&mut self, question: Question<'_>) -> Reply {
        // Without an interpreter, which is going away, the device is on its own.
        let reply = attached(|py| {
            let _call = Call::begin();
            let asked = || self.handler.bind(py).call_method1(pyo3::intern!(py, "ask"), (Request::of(question),));
            match Runs::Handler.run(asked).and_then(|said| reply(&said)) {
                Ok(reply) => reply,
                // Ctrl-C: whoever waits is told; the client is not.
                Err(problem) => carry(py, problem).map_or(Reply::NoAnswer, |problem| broken(problem.to_string())),
            }
        });
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

fn broken(error: String) -> Reply {
    Reply::Failed { error, trace: String::new() }
}

/// A class of `handling.py`.
fn class<'py>(
    py: Python<'py>,
    known: &'static PyOnceLock<Py<PyType>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    known.import(py, "fieldrig.handling", name)
}

/// What the handler gave.
///
/// # Errors
/// Those of Python's import.
fn reply(said: &Bound<'_, PyAny>) -> PyResult<Reply> {
    static FAILED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static REFUSE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SILENCE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = said.py();
    if said.is_none() {
        return Ok(Reply::Usual);
    }
    if let Ok(bytes) = said.cast::<PyBytes>() {
        return Ok(Reply::Pdu(bytes.as_bytes().to_vec()));
    }
    if let Ok(bytes) = said.cast::<PyByteArray>() {
        return Ok(Reply::Pdu(bytes.to_vec()));
    }
    if said.cast::<PyBool>().is_ok_and(|done| done.is_true()) {
        return Ok(Reply::Done);
    }
    if said.is_instance(class(py, &REFUSE, "Refuse")?)? {
        return Ok(Reply::Exception(said.getattr("code")?.extract()?));
    }
    if said.is_instance(class(py, &SILENCE, "Silence")?)? {
        return Ok(Reply::NoAnswer);
    }
    if said.is_instance(class(py, &FAILED, "Failed")?)? {
        return Ok(Reply::Failed {
            error: said.getattr("error")?.extract()?,
            trace: said.getattr("trace")?.extract()?,
        });
    }
    if !said.is_instance_of::<PyString>()
        && let Ok(values) = said.extract::<Vec<i64>>()
    {
        return Ok(Reply::Values(values));
    }
    let gave = said.repr().map_or_else(|_| said.get_type().to_string(), |text| text.to_string());
    let replies = "None, values, bytes, True, modbus.Refuse(code) and modbus.NO_ANSWER are";
    Ok(broken(format!("it gave {gave}, which is no reply; {replies}")))
}
