//! `Client`: one blocking call for each request; the hot path of the binding.

use super::answer::Answer;
use super::asking::{self, Keywords};
use super::batch::{self, Answers};
use super::functions;
use super::outcome::{Asked, outcome};
use super::point::{self, Points, Reading};
use super::remark::{ClientRemark, Remarks};
use super::url;
use crate::error::{Kind, Owner, error, is_over};
use crate::handle::Handle;
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::time::{Stamp, instant, limit_or};
use crate::value::octets;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::client::{self, ClientEvent, Options, RequestError, Ticket};
use fieldrig_proto::modbus::map::Mapping;
use fieldrig_proto::modbus::pdu::Request;
use fieldrig_proto::time::{self, Duration, Time};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
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
    /// How it asks, if not plainly.
    options: Option<Box<Options>>,
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
    remarks: Remarks,
    /// The silence before a request.
    gap: Duration,
}

impl Path {
    fn doubt(&self) -> Option<String> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a time-out, waits for a late answer as long as the adapter may hold one: why it may have been there in time.
    fn held_back(&self, py: Python<'_>, event: &ClientEvent, asked: time::Stamp) -> PyResult<Option<String>> {
        let over = self.handle.now(py)?;
        let held = self.handle.resolution(py)?;
        if held.is_zero() || !matches!(event, ClientEvent::TimedOut(..)) {
            return Ok(None);
        }
        let late = || self.remarks.after(Some(asked), true).into_iter().find(|remark| remark.is_late());
        let came = self.handle.wait(py, over + held, |_, events, _| {
            self.remarks.drop_taken(events);
            self.remarks.take(events);
            late()
        })?;
        let in_time = came.filter(|remark| remark.came().earliest() <= over);
        Ok(in_time.map(|_| "the adapter hands over late: what came late may have been there in time".to_owned()))
    }

    /// Whether the path was known to work before this event; afterwards it may be.
    fn works_after(&self, event: &ClientEvent) -> bool {
        let works = self.answered.load(Ordering::Relaxed);
        if !works && proves_path(event) {
            self.answered.store(true, Ordering::Relaxed);
        }
        works
    }
}

/// What is asked.
enum Asking {
    Request(u8, Request),
    Frame(Vec<u8>),
}

impl Asking {
    /// Nobody knows what a frame that is made by hand does.
    fn is_stimulus(&self) -> bool {
        match self {
            Asking::Request(_, request) => request.is_stimulus(),
            Asking::Frame(_) => true,
        }
    }
}

impl Client {
    /// One request and its answer.
    fn ask(&self, py: Python<'_>, request: Request, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        let unit = unit.map_or(Ok(self.unit), |unit| field(py, "unit", unit))?;
        self.ask_as(py, Asking::Request(unit, request), timeout)
    }

    /// One request or frame, and its answer.
    fn ask_as(&self, py: Python<'_>, asking: Asking, timeout: Given<'_, '_>) -> PyResult<Answer> {
        let _call = Call::begin();
        let timeout = limit_or(timeout, self.timeout)?;
        let is_stimulus = asking.is_stimulus() || self.options.as_ref().is_some_and(|options| options.patch.is_some());
        if let Some(guard) = self.guard.as_ref().filter(|_| is_stimulus) {
            match &asking {
                Asking::Request(_, request) => {
                    guard.call1(py, (request.function(), request.written(), request.action()))?
                }
                Asking::Frame(frame) => {
                    let (action, _) = self.path.handle.with(py, |client, _| client.frame_action(frame))?;
                    guard.call1(py, (0, None::<(&str, u16, u16)>, action))?
                }
            };
        }
        let path = &*self.path;
        let stimulus = self.timeline.as_ref().filter(|_| is_stimulus);
        let options = self.options.clone();
        let before = match stimulus {
            Some(timeline) => timeline.call_method0(py, intern!(py, "approach"))?.extract::<Option<Stamp>>(py)?,
            None => None,
        };
        let mut begun = (None, Time::ZERO);
        let called = path.handle.call(
            py,
            |client, now| {
                let ticket = match asking {
                    Asking::Request(unit, request) => client.ask(now, unit, request, timeout, options)?,
                    Asking::Frame(frame) => {
                        client.raw_frame(now, &frame, timeout, options.map_or_else(Options::default, |given| *given))?
                    }
                };
                begun = (Some(ticket), now);
                Ok::<Ticket, RequestError>(ticket)
            },
            // The client itself ends every request; on a line, others may come first.
            Duration::MAX,
            |ticket, _, events, _| {
                path.remarks.drop_taken(events);
                let index = events.iter().position(|event| event.ticket() == Some(*ticket))?;
                let ended = events.remove(index);
                path.remarks.take(events);
                ended
            },
        );
        let called = match called {
            Ok(outcome) => outcome.map_err(|problem| error(py, Kind::Usage, format!("{}: {problem}", self.name)))?,
            Err(interrupted) => {
                self.forget(py, begun.0);
                return Err(interrupted);
            }
        };
        let Some(event) = called.outcome else {
            return Err(error(py, Kind::Bench, format!("{}: the request never ended", self.name)));
        };
        // What waited first, or was sent again, was issued when it was handed to the driver, or after the silence behind it.
        let sent = match event.exchange().and_then(|exchange| exchange.sent) {
            Some(later) if later > begun.1 => time::Stamp::between(later, later + path.gap).by(path.handle.clock(py)),
            _ => path.handle.issued(py, called.sent, begun.1),
        };
        let at =
            before.map_or(sent, |before| time::Stamp::between(before.0.earliest(), sent.latest()).by(sent.source()));
        if let Some(timeline) = stimulus {
            timeline.call_method1(py, intern!(py, "stimulus"), (Stamp(at),))?;
        }
        let doubt = match path.doubt() {
            None => path.held_back(py, &event, at)?,
            known => known,
        };
        let path_works = path.works_after(&event);
        let stalled = match event {
            ClientEvent::TimedOut(..) => !path.handle.stalls(py, at)?.is_empty(),
            _ => false,
        };
        let (name, owner, wire) = (&self.name, path.handle.owner, path.wire);
        outcome(py, event, &Asked { name, owner, wire, path_works, doubt, stalled, at })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn point(&self, py: Python<'_>, name: &str) -> PyResult<&Mapping> {
        self.points.find(py, name)
    }

    /// What became of one of many requests; it counts from when it was handed to the driver.
    pub(super) fn ended(
        &self,
        py: Python<'_>,
        event: ClientEvent,
        doubt: Option<String>,
        stalled: bool,
    ) -> PyResult<Answer> {
        let path = &*self.path;
        let path_works = path.works_after(&event);
        let at = event
            .exchange()
            .map_or(time::Stamp::exact(Time::ZERO), |exchange| exchange.sent.map_or(exchange.at, time::Stamp::exact))
            .by(path.handle.clock(py));
        let (name, owner, wire) = (&self.name, path.handle.owner, path.wire);
        outcome(py, event, &Asked { name, owner, wire, path_works, doubt, stalled, at })
    }

    /// Asks all of them and waits for all of them.
    fn ask_many(
        &self,
        py: Python<'_>,
        requests: Vec<Request>,
        unit: u8,
        timeout: Duration,
        in_flight: usize,
    ) -> PyResult<Vec<ClientEvent>> {
        let _call = Call::begin();
        let (path, wanted, options) = (&*self.path, requests.len(), self.options.as_ref());
        let mut tickets: Vec<Ticket> = Vec::with_capacity(wanted);
        let mut ended: Vec<Option<ClientEvent>> = (0..wanted).map(|_| None).collect();
        let mut left = wanted;
        let called = path.handle.call(
            py,
            |client, now| {
                for (index, request) in requests.iter().enumerate() {
                    client
                        .check(unit, request, options.map(|options| &**options))
                        .map_err(|problem| (index, problem))?;
                }
                client.set_in_flight(in_flight);
                for (index, request) in requests.into_iter().enumerate() {
                    let asked = client.ask(now, unit, request, timeout, options.cloned());
                    tickets.push(asked.map_err(|problem| (index, problem))?);
                }
                Ok::<Option<Ticket>, (usize, RequestError)>(tickets.first().copied())
            },
            Duration::MAX,
            |first, _, events, _| {
                let Some(first) = first else { return Some(()) };
                // Tickets count up, and nobody else asks meanwhile.
                path.remarks.drop_taken(events);
                for event in std::mem::take(events) {
                    let index = event.ticket().and_then(|ticket| ticket.0.checked_sub(first.0));
                    match index.and_then(|index| ended.get_mut(index as usize)) {
                        Some(place) => {
                            left -= usize::from(place.is_none());
                            *place = Some(event);
                        }
                        None => events.push_back(event),
                    }
                }
                (left == 0).then(|| path.remarks.take(events))
            },
        );
        match called {
            Ok(Ok(_)) => Ok(ended.into_iter().flatten().collect()),
            Ok(Err((index, problem))) => {
                Err(error(py, Kind::Usage, format!("{}: item {index} of read_many: {problem}", self.name)))
            }
            Err(interrupted) => {
                tickets.iter().for_each(|ticket| self.forget(py, Some(*ticket)));
                Err(interrupted)
            }
        }
    }

    /// What was noticed, what arrives now included.
    fn noticed(&self, py: Python<'_>, after: Given<'_, '_>, strays_only: bool) -> PyResult<Vec<ClientRemark>> {
        let after = after.map(instant).transpose()?;
        let looked = self.path.handle.wait(py, Time::ZERO, |_, events, _| {
            self.path.remarks.take(events);
            None::<()>
        });
        if let Err(problem) = looked
            && !is_over(py, &problem)
        {
            return Err(problem);
        }
        Ok(self.path.remarks.after(after, strays_only))
    }

    /// Nobody waits for the answer any more; the node may be gone, too.
    fn forget(&self, py: Python<'_>, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.path.handle.at_last(py, |client, now| client.cancel(now, ticket));
        }
    }
}

/// Whether an event shows that the device can be reached. What a gateway says about a device behind it (V1.1b3 7:
/// 0x0A path unavailable, 0x0B target failed to respond) shows the contrary; an answer that may be our own echo, nothing.
fn proves_path(event: &ClientEvent) -> bool {
    match event {
        ClientEvent::Answered(exchange, _) => !exchange.may_be_echo,
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
        belongs_to = "bench", guard = None, mode = "strict", retries = 0, retry_writes = false, pace = None,
        transactions = "sequential", late_answers = None, local_echo = None))]
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
        mode: &str,
        retries: i64,
        retry_writes: bool,
        pace: Given<'_, '_>,
        transactions: &str,
        late_answers: Given<'_, '_>,
        local_echo: Option<bool>,
    ) -> PyResult<Client> {
        let unit = field(py, "unit", unit)?;
        let timeout = limit_or(timeout, Duration::from_secs(1))?;
        let points = Points::parse(points)?;
        let place = url::parse(py, url, rig)?;
        let owner = Owner::parse(py, belongs_to)?;
        let wire = place.line.is_some();
        let name = name.unwrap_or_else(|| url::shown(url).to_owned());
        let config = asking::configure(py, place.config(py)?, pace, transactions, late_answers, local_echo)?;
        let (retries, retry_writes) = (Some(retries), Some(retry_writes));
        let keywords = Keywords { mode: Some(mode), retries, retry_writes, patch: None, gap_before: None, split: None };
        let options = keywords.over(py, None)?;
        let gap = config.mode.serial().and_then(|rules| rules.gap_before()).unwrap_or_default();
        let endpoint = client::Client::new(config);
        let binding = place::binding(url::VIA, place.port, Some(place.protocol), Sender::Client);
        let handle = Handle::open(py, rig, &name, endpoint, vec![binding], owner)?;
        let (answered, doubt, remarks) = (AtomicBool::new(false), Mutex::default(), Remarks::default());
        let path = Arc::new(Path { handle, url: url.to_owned(), wire, answered, doubt, remarks, gap });
        Ok(Client { path, name, unit, timeout, points, timeline, guard, options, guest: false })
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
        let options = self.options.clone();
        Ok(Client { path, name, unit, timeout, points, timeline, guard, options, guest: true })
    }

    /// This client, asking in another way.
    #[pyo3(signature = (*, mode = None, retries = None, retry_writes = None, patch = None, gap_before = None,
        split = None))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python method
    fn asking(
        &self,
        py: Python<'_>,
        mode: Option<&str>,
        retries: Option<i64>,
        retry_writes: Option<bool>,
        patch: Option<&Bound<'_, PyDict>>,
        gap_before: Given<'_, '_>,
        split: Option<Vec<(usize, Bound<'_, PyAny>)>>,
    ) -> PyResult<Client> {
        let keywords = Keywords { mode, retries, retry_writes, patch, gap_before, split };
        let held = |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
        Ok(Client {
            path: Arc::clone(&self.path),
            name: self.name.clone(),
            unit: self.unit,
            timeout: self.timeout,
            points: self.points.clone(),
            timeline: held(&self.timeline),
            guard: held(&self.guard),
            options: keywords.over(py, self.options.as_deref())?,
            guest: true,
        })
    }

    /// Sends bytes as they are.
    #[pyo3(signature = (frame, *, timeout = None))]
    fn raw_frame(&self, py: Python<'_>, frame: &Bound<'_, PyAny>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask_as(py, Asking::Frame(octets(frame)?), timeout)
    }

    /// Many reads in one call.
    #[pyo3(signature = (items, *, unit = None, timeout = None, in_flight = 16, raise_first = true))]
    fn read_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        unit: Option<i64>,
        timeout: Given<'_, '_>,
        in_flight: usize,
        raise_first: bool,
    ) -> PyResult<Answers> {
        let (py, client) = (slf.py(), slf.get());
        if !(1..=1024).contains(&in_flight) {
            return Err(error(py, Kind::Usage, format!("in_flight is 1 to 1024, not {in_flight}")));
        }
        let unit = unit.map_or(Ok(client.unit), |unit| field(py, "unit", unit))?;
        let timeout = limit_or(timeout, client.timeout)?;
        let (mut requests, mut points) = (Vec::new(), Vec::new());
        for (index, given) in items.try_iter()?.enumerate() {
            let item = batch::item(client, index, &given?)?;
            requests.push(item.request);
            points.push(item.point);
        }
        let begun = client.path.handle.now_stamp(py)?.0;
        let events = client.ask_many(py, requests, unit, timeout, in_flight)?;
        let silent = events.iter().any(|event| matches!(event, ClientEvent::TimedOut(..)));
        let stalled = silent && !client.path.handle.stalls(py, begun)?.is_empty();
        for event in &events {
            client.path.works_after(event);
        }
        let answers = Answers::new(slf.clone().unbind(), events, points, client.path.doubt(), stalled);
        if raise_first {
            answers.raise_first(py)?;
        }
        Ok(answers)
    }

    /// What came that is no answer to anything: late, twice, unasked.
    #[pyo3(signature = (*, after = None))]
    fn strays(&self, py: Python<'_>, after: Given<'_, '_>) -> PyResult<Vec<ClientRemark>> {
        self.noticed(py, after, true)
    }

    /// Everything that was noticed and ended no request.
    #[pyo3(signature = (*, after = None))]
    fn events(&self, py: Python<'_>, after: Given<'_, '_>) -> PyResult<Vec<ClientRemark>> {
        self.noticed(py, after, false)
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
