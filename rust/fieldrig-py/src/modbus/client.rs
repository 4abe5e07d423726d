//! `Client`: one blocking call for each request; the hot path of the binding.

use super::answer::Answer;
use super::functions;
use super::outcome::{Asked, outcome};
use super::point::{self, Points, Reading};
use super::url;
use crate::error::{Kind, Owner, error};
use crate::handle::{Handle, issued};
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::time::{Stamp, limit_or};
use crate::value::octets;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::client::{self, ClientEvent, RequestError, Ticket};
use fieldrig_proto::modbus::pdu::Request;
use fieldrig_proto::time::{self, Duration, Time};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A Modbus client with one connection or line.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Client {
    path: Arc<Path>,
    name: String,
    unit: u8,
    timeout: Duration,
    points: Points,
    timeline: Option<Py<PyAny>>,
    /// Asked before everything that can cause behaviour; raises what must not be sent.
    guard: Option<Py<PyAny>>,
    /// It was made by `share`: the connection is somebody else's to close.
    guest: bool,
}

/// What the clients of several devices behind one connection or wire have in common.
struct Path {
    handle: Handle<client::Client>,
    url: String,
    /// It is a wire, whose speed and format may be wrong.
    wire: bool,
    /// Somebody behind it answered: the path works, and silence is the device's fault from then on.
    answered: AtomicBool,
    /// Why silence proves nothing for now: the bench itself has taken the link down, or disturbs it.
    doubt: Mutex<Option<String>>,
}

impl Client {
    /// One request and its answer.
    fn ask(&self, py: Python<'_>, request: Request, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        let _call = Call::begin();
        let unit = unit.map_or(Ok(self.unit), |unit| field(py, "unit", unit))?;
        let timeout = limit_or(timeout, self.timeout)?;
        if let Some(guard) = self.guard.as_ref().filter(|_| request.is_stimulus()) {
            guard.call1(py, (request.function(), request.written()))?;
        }
        let path = &*self.path;
        let stimulus = self.timeline.as_ref().filter(|_| request.is_stimulus());
        let before = match stimulus {
            Some(timeline) => timeline.call_method0(py, intern!(py, "approach"))?.extract::<Option<Stamp>>(py)?,
            None => None,
        };
        let mut begun = (None, Time::ZERO);
        let called = path.handle.call(
            py,
            |client, now| {
                let ticket = client.request(now, unit, request, timeout)?;
                begun = (Some(ticket), now);
                Ok::<Ticket, RequestError>(ticket)
            },
            // The client itself ends every request; on a line, others may come first.
            Duration::MAX,
            |ticket, _, events, _| {
                let index = events.iter().position(|event| event.ticket() == Some(*ticket))?;
                events.remove(index)
            },
        );
        let called = match called {
            Ok(outcome) => outcome.map_err(|problem| error(py, Kind::Usage, format!("{}: {problem}", self.name)))?,
            Err(interrupted) => {
                self.forget(py, begun.0);
                return Err(interrupted);
            }
        };
        let sent = issued(called.sent, begun.1);
        let at = before.map_or(sent, |before| time::Stamp::between(before.0.earliest(), sent.latest()));
        if let Some(timeline) = stimulus {
            timeline.call_method1(py, intern!(py, "stimulus"), (Stamp(at),))?;
        }
        let Some(event) = called.outcome else {
            return Err(error(py, Kind::Bench, format!("{}: the request never ended", self.name)));
        };
        let doubt = path.doubt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path_works = path.answered.load(Ordering::Relaxed);
        if !path_works && proves_path(&event) {
            path.answered.store(true, Ordering::Relaxed);
        }
        let stalled = match event {
            ClientEvent::TimedOut(..) => !path.handle.stalls(py, at)?.is_empty(),
            _ => false,
        };
        let (name, owner, wire) = (&self.name, path.handle.owner, path.wire);
        outcome(py, event, &Asked { name, owner, wire, path_works, doubt, stalled, at })
    }

    /// Nobody waits for the answer any more; the node may be gone, too.
    fn forget(&self, py: Python<'_>, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.path.handle.at_last(py, |client, now| client.cancel(now, ticket));
        }
    }
}

/// Whether an event shows that the device can be reached. What a gateway says about a device behind it (V1.1b3 7:
/// 0x0A path unavailable, 0x0B target failed to respond) shows the contrary.
fn proves_path(event: &ClientEvent) -> bool {
    match event {
        ClientEvent::Answered(..) => true,
        ClientEvent::Exception(_, exception) => !matches!(exception.code, 0x0a | 0x0b),
        _ => false,
    }
}

/// A field of a request.
///
/// # Errors
/// `UsageError` for what does not fit.
pub(super) fn field<T: TryFrom<i64>>(py: Python<'_>, name: &str, value: i64) -> PyResult<T> {
    T::try_from(value).map_err(|_| {
        let most = if size_of::<T>() == 1 { 0xff } else { 0xffff };
        error(py, Kind::Usage, format!("{name} is 0 to {most}, not {value}"))
    })
}

pub(super) fn registers(py: Python<'_>, values: &[i64]) -> PyResult<Vec<u16>> {
    values.iter().map(|value| field(py, "a register value", *value)).collect()
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, *, unit = 1, timeout = None, points = None, rig = None, timeline = None, name = None,
        belongs_to = "bench", guard = None))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python constructor
    fn new(
        py: Python<'_>,
        url: &str,
        unit: i64,
        timeout: Given<'_, '_>,
        points: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
        timeline: Option<Py<PyAny>>,
        name: Option<String>,
        belongs_to: &str,
        guard: Option<Py<PyAny>>,
    ) -> PyResult<Client> {
        let unit = field(py, "unit", unit)?;
        let timeout = limit_or(timeout, Duration::from_secs(1))?;
        let points = Points::parse(points)?;
        let place = url::parse(py, url, rig)?;
        let owner = Owner::parse(py, belongs_to)?;
        let wire = place.line.is_some();
        let name = name.unwrap_or_else(|| url.to_owned());
        let endpoint = client::Client::new(place.config(py)?);
        let binding = place::binding(url::VIA, place.port, Some(place.protocol), Sender::Client);
        let handle = Handle::open(py, rig, &name, endpoint, vec![binding], owner)?;
        let path =
            Path { handle, url: url.to_owned(), wire, answered: AtomicBool::new(false), doubt: Mutex::default() };
        Ok(Client { path: Arc::new(path), name, unit, timeout, points, timeline, guard, guest: false })
    }

    /// A client of another device behind the same connection or wire.
    #[pyo3(signature = (*, unit = 1, timeout = None, points = None, timeline = None, name = None, guard = None))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python constructor
    fn share(
        &self,
        unit: i64,
        timeout: Given<'_, '_>,
        points: Given<'_, '_>,
        timeline: Option<Py<PyAny>>,
        name: Option<String>,
        guard: Option<Py<PyAny>>,
        py: Python<'_>,
    ) -> PyResult<Client> {
        let (unit, timeout) = (field(py, "unit", unit)?, limit_or(timeout, self.timeout)?);
        let (points, path) = (Points::parse(points)?, Arc::clone(&self.path));
        let name = name.unwrap_or_else(|| format!("{}?unit={unit}", path.url));
        Ok(Client { path, name, unit, timeout, points, timeline, guard, guest: true })
    }

    #[getter]
    fn url(&self) -> &str {
        &self.path.url
    }
    /// Says why silence proves nothing for now, or that it does again.
    #[pyo3(signature = (reason, /))]
    fn doubt(&self, reason: Option<String>) {
        *self.path.doubt.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
    #[getter]
    fn unit(&self) -> u8 {
        self.unit
    }

    #[pyo3(signature = (address, count = 1, *, unit = None, timeout = None))]
    fn read_coils(
        &self,
        py: Python<'_>,
        address: i64,
        count: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, quantity) = (field(py, "address", address)?, field(py, "count", count)?);
        let request = Request::ReadCoils { address, quantity };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, count = 1, *, unit = None, timeout = None))]
    fn read_discrete_inputs(
        &self,
        py: Python<'_>,
        address: i64,
        count: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, quantity) = (field(py, "address", address)?, field(py, "count", count)?);
        let request = Request::ReadDiscreteInputs { address, quantity };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, count = 1, *, unit = None, timeout = None))]
    fn read_holding(
        &self,
        py: Python<'_>,
        address: i64,
        count: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, quantity) = (field(py, "address", address)?, field(py, "count", count)?);
        let request = Request::ReadHoldingRegisters { address, quantity };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, count = 1, *, unit = None, timeout = None))]
    fn read_input(
        &self,
        py: Python<'_>,
        address: i64,
        count: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, quantity) = (field(py, "address", address)?, field(py, "count", count)?);
        let request = Request::ReadInputRegisters { address, quantity };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, value, *, unit = None, timeout = None))]
    fn write_coil(
        &self,
        py: Python<'_>,
        address: i64,
        value: bool,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let request = Request::WriteSingleCoil { address: field(py, "address", address)?, on: value };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, value, *, unit = None, timeout = None))]
    fn write_register(
        &self,
        py: Python<'_>,
        address: i64,
        value: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, value) = (field(py, "address", address)?, field(py, "value", value)?);
        let request = Request::WriteSingleRegister { address, value };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, values, *, unit = None, timeout = None))]
    fn write_coils(
        &self,
        py: Python<'_>,
        address: i64,
        values: Vec<bool>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let request = Request::WriteMultipleCoils { address: field(py, "address", address)?, values };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, values, *, unit = None, timeout = None))]
    fn write_registers(
        &self,
        py: Python<'_>,
        address: i64,
        values: Vec<i64>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (address, values) = (field(py, "address", address)?, registers(py, &values)?);
        let request = Request::WriteMultipleRegisters { address, values };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (address, *, and_mask, or_mask, unit = None, timeout = None))]
    #[allow(clippy::too_many_arguments)] // the fields of function 22
    fn mask_write(
        &self,
        py: Python<'_>,
        address: i64,
        and_mask: i64,
        or_mask: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (and, or) = (field(py, "and_mask", and_mask)?, field(py, "or_mask", or_mask)?);
        let request = Request::MaskWriteRegister { address: field(py, "address", address)?, and, or };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (read_address, count, write_address, values, *, unit = None, timeout = None))]
    #[allow(clippy::too_many_arguments)] // the fields of function 23
    fn read_write_registers(
        &self,
        py: Python<'_>,
        read_address: i64,
        count: i64,
        write_address: i64,
        values: Vec<i64>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let request = Request::ReadWriteMultipleRegisters {
            read_address: field(py, "read_address", read_address)?,
            read_quantity: field(py, "count", count)?,
            write_address: field(py, "write_address", write_address)?,
            values: registers(py, &values)?,
        };
        self.ask(py, request, unit, timeout)
    }
    #[pyo3(signature = (*, unit = None, timeout = None))]
    fn read_exception_status(&self, py: Python<'_>, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::ReadExceptionStatus, unit, timeout)
    }
    #[pyo3(signature = (sub, data = None, *, unit = None, timeout = None))]
    fn diagnostics(
        &self,
        py: Python<'_>,
        sub: i64,
        data: Option<Vec<i64>>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let data = registers(py, &data.unwrap_or_else(|| vec![0]))?;
        self.ask(py, Request::Diagnostics { sub: field(py, "sub", sub)?, data }, unit, timeout)
    }
    #[pyo3(signature = (*, unit = None, timeout = None))]
    fn comm_event_counter(&self, py: Python<'_>, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::CommEventCounter, unit, timeout)
    }
    #[pyo3(signature = (*, unit = None, timeout = None))]
    fn comm_event_log(&self, py: Python<'_>, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::CommEventLog, unit, timeout)
    }
    #[pyo3(signature = (*, unit = None, timeout = None))]
    fn report_server_id(&self, py: Python<'_>, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::ReportServerId, unit, timeout)
    }
    #[pyo3(signature = (parts, *, unit = None, timeout = None))]
    fn read_file(
        &self,
        py: Python<'_>,
        parts: Vec<(i64, i64, i64)>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        self.ask(py, functions::read_file(py, parts)?, unit, timeout)
    }
    #[pyo3(signature = (parts, *, unit = None, timeout = None))]
    fn write_file(
        &self,
        py: Python<'_>,
        parts: Vec<(i64, i64, Vec<i64>)>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        self.ask(py, functions::write_file(py, parts)?, unit, timeout)
    }
    #[pyo3(signature = (address, *, unit = None, timeout = None))]
    fn read_fifo(&self, py: Python<'_>, address: i64, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::ReadFifoQueue { address: field(py, "address", address)? }, unit, timeout)
    }
    #[pyo3(signature = (code = 1, object = 0, *, unit = None, timeout = None))]
    fn read_device_id(
        &self,
        py: Python<'_>,
        code: i64,
        object: i64,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let code = field(py, "code", code)?;
        functions::follow(py, field(py, "object", object)?, |object| {
            self.ask(py, Request::ReadDeviceIdentification { code, object }, unit, timeout)
        })
    }
    #[pyo3(signature = (mei, data, *, unit = None, timeout = None))]
    fn encapsulated(
        &self,
        py: Python<'_>,
        mei: i64,
        data: &Bound<'_, PyAny>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let (mei, data) = (field(py, "mei", mei)?, octets(data)?);
        self.ask(py, Request::Encapsulated { mei, data }, unit, timeout)
    }
    #[pyo3(signature = (pdu, *, unit = None, timeout = None))]
    fn raw_pdu(
        &self,
        py: Python<'_>,
        pdu: &Bound<'_, PyAny>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        self.ask(py, Request::raw(&octets(pdu)?), unit, timeout)
    }

    /// Reads a point by name.
    #[pyo3(signature = (point, *, timeout = None))]
    fn read(&self, py: Python<'_>, point: &str, timeout: Given<'_, '_>) -> PyResult<Reading> {
        let point = self.points.find(py, point)?;
        let answer = self.ask(py, point::read_request(py, &self.name, point)?, None, timeout)?;
        Reading::decode(py, point, answer)
    }

    /// Writes a point by name.
    #[pyo3(signature = (point, value, *, timeout = None))]
    fn write(&self, py: Python<'_>, point: &str, value: &Bound<'_, PyAny>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        let point = self.points.find(py, point)?;
        point::write(py, &self.name, point, value, |request| self.ask(py, request, None, timeout))
    }

    /// Closes the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.guest { Ok(()) } else { self.path.handle.close(py) }
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, _error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Given<'_, '_>,
        _error: Given<'_, '_>,
        _trace: Given<'_, '_>,
    ) -> PyResult<()> {
        self.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<modbus.Client {}>", self.path.url)
    }
}
