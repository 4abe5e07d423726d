//! `StockClient`: one blocking call for each request, as `Client` has them.

use super::super::answer::Answer;
use super::super::client::{field, registers};
use super::super::functions;
use super::super::outcome::{Asked, outcome};
use super::super::url;
use super::framing;
use super::outcome;
use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::time::limit_or;
use crate::value::octets;
use fieldrig_engine::stock::modbus as stock;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::client;
use fieldrig_proto::modbus::pdu::Request;
use fieldrig_proto::time::{self, Duration, Time};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A client of tokio-modbus with one connection or line.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct StockClient {
    handle: Handle<stock::Client>,
    /// Says what may be asked; it never asks.
    rules: client::Client,
    url: String,
    name: String,
    unit: u8,
    timeout: Duration,
    framing: stock::Framing,
    /// It is a wire, whose speed and format may be wrong.
    wire: bool,
    /// The device answered: the path works, and silence is its fault from then on.
    answered: AtomicBool,
}

impl StockClient {
    /// One request and its answer.
    fn ask(&self, py: Python<'_>, request: Request, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        let _call = Call::begin();
        let unit = unit.map_or(Ok(self.unit), |unit| field(py, "unit", unit))?;
        let timeout = limit_or(timeout, self.timeout)?;
        let theirs = self.theirs(py, unit, &request)?;
        let mut begun = (None, Time::ZERO);
        let called = self.handle.call(
            py,
            |client, now| {
                let ticket = client.ask(now, unit, theirs, timeout);
                begun = (Some(ticket), now);
                Ok::<_, std::convert::Infallible>(ticket)
            },
            // The client itself ends every request.
            Duration::MAX,
            |ticket, _, events, _| {
                let index = events.iter().position(|ended| ended.exchange.ticket == *ticket)?;
                let ended = events.remove(index);
                events.clear();
                ended
            },
        );
        let called = match called {
            Ok(Ok(called)) => called,
            Ok(Err(never)) => match never {},
            Err(interrupted) => {
                if let Some(ticket) = begun.0 {
                    self.handle.at_last(py, |client, now| client.cancel(now, ticket));
                }
                return Err(interrupted);
            }
        };
        let Some(ended) = called.outcome else {
            return Err(error(py, Kind::Bench, format!("{}: the request never ended", self.name)));
        };
        // What waited for a connection was issued when it was handed out, or after the silence behind it.
        let gap = match self.framing {
            stock::Framing::Tcp => Duration::ZERO,
            stock::Framing::Rtu { gap } => gap.unwrap_or_default(),
        };
        let at = match ended.exchange.handed {
            Some(later) if later > begun.1 => time::Stamp::between(later, later + gap).by(self.handle.clock(py)),
            _ => self.handle.issued(py, called.sent, begun.1),
        };
        self.outcome(py, request, ended, at)
    }

    /// The request as tokio-modbus has it.
    fn theirs(&self, py: Python<'_>, unit: u8, request: &Request) -> PyResult<stock::Request<'static>> {
        if let Err(problem) = self.rules.check(unit, request, None) {
            return Err(error(py, Kind::Usage, format!("{}: {problem}", self.name)));
        }
        let mut pdu = Vec::new();
        request.encode(&mut pdu);
        if let Some(what) = stock::never_answered(self.framing, unit, &pdu) {
            let message = format!("{}: tokio-modbus waits for an answer to {what}, and there is none", self.name);
            return Err(hinted(py, Kind::Usage, message, Some("modbus.Client does not")));
        }
        stock::request(&pdu).map_err(|problem| {
            error(py, Kind::Usage, format!("{}: tokio-modbus has no such request: {problem}", self.name))
        })
    }

    fn outcome(&self, py: Python<'_>, request: Request, ended: stock::Ended, at: time::Stamp) -> PyResult<Answer> {
        if let stock::Outcome::NotSent(problem) = &ended.outcome {
            return Err(error(py, Kind::Usage, format!("{}: tokio-modbus did not send it: {problem}", self.name)));
        }
        let path_works = self.answered.load(Ordering::Relaxed);
        if outcome::proves_path(&ended) {
            self.answered.store(true, Ordering::Relaxed);
        }
        let stalled = match ended.outcome {
            stock::Outcome::TimedOut(_) => !self.handle.stalls(py, at)?.is_empty(),
            _ => false,
        };
        let event = outcome::event(self.framing, request, ended);
        let (name, owner, wire) = (&self.name, self.handle.owner, self.wire);
        outcome(py, event, &Asked { name, owner, wire, path_works, doubt: None, stalled, at })
    }
}

#[pymethods]
impl StockClient {
    #[new]
    #[pyo3(signature = (url, *, unit = 1, timeout = None, rig = None, name = None, belongs_to = "bench"))]
    fn new(
        py: Python<'_>,
        url: &str,
        unit: i64,
        timeout: Given<'_, '_>,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
    ) -> PyResult<StockClient> {
        let unit = field(py, "unit", unit)?;
        let timeout = limit_or(timeout, Duration::from_secs(1))?;
        let place = url::parse(py, url, rig)?;
        let owner = Owner::parse(py, belongs_to)?;
        let config = place.config(py)?;
        let framing = framing(py, url, &place, &config)?;
        let (reconnect, wire) = (config.reconnect.clone(), place.line.is_some());
        let name = name.unwrap_or_else(|| format!("stock client of {}", url::shown(url)));
        let endpoint = stock::Client::new(stock::Config { framing, reconnect, wire: place.port.is_wire() });
        let binding = place::binding(url::VIA, place.port, Some(place.protocol), Sender::Client);
        let handle = Handle::open(py, rig, &name, endpoint, vec![binding], owner)?;
        let (rules, url, answered) = (client::Client::new(config), url::shown(url).to_owned(), AtomicBool::new(false));
        Ok(StockClient { handle, rules, url, name, unit, timeout, framing, wire, answered })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
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
        self.ask(py, Request::ReadCoils { address, quantity }, unit, timeout)
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
        self.ask(py, Request::ReadDiscreteInputs { address, quantity }, unit, timeout)
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
        self.ask(py, Request::ReadHoldingRegisters { address, quantity }, unit, timeout)
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
        self.ask(py, Request::ReadInputRegisters { address, quantity }, unit, timeout)
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
        self.ask(py, Request::WriteSingleRegister { address, value }, unit, timeout)
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
        self.ask(py, Request::WriteMultipleRegisters { address, values }, unit, timeout)
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
    fn report_server_id(&self, py: Python<'_>, unit: Option<i64>, timeout: Given<'_, '_>) -> PyResult<Answer> {
        self.ask(py, Request::ReportServerId, unit, timeout)
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
    /// Closes the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
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
        format!("<modbus.StockClient {}>", self.url)
    }
}
