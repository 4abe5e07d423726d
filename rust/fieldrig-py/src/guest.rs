//! `Driver`: drives an endpoint that is written in Python, like every other one.
//!
//! Rules of this file:
//! - Conversion only. Whom Python talks to is `_Guide` of `endpoint.py`: it calls the five methods, and gives what came of
//!   it in one piece, so that an input costs one call.
//! - Python is called on the thread for code of users, or on that of whoever waits; never on a thread with deadlines.
//! - What the guide gives up with (a method raised, never returned, has no end) makes the endpoint stuck.

use crate::attach::attached;
use crate::error::{Kind, Owner, error};
use crate::handle::Handle;
use crate::life::Call;
use crate::model::{Runs, carry};
use crate::place;
use crate::rig::Rig;
use crate::time::{Span, Stamp, instant, span_to};
use crate::value::{from_python, to_python};
use fieldrig_engine::{GivesUp, Thread};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Stamps, Why};
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{self, Duration, Order, Time};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::collections::VecDeque;

/// The name of its one port.
const VIA: &str = "endpoint";
/// So many events are kept.
const KEPT: usize = 10_000;

/// What an endpoint wants: a word, a connection, bytes, not before, after so much silence.
type Wanted = (String, u32, Vec<u8>, Option<u64>, Option<u64>);
/// What an endpoint told: a word, fields, an instant if it said one.
type Said<'py> = (String, Bound<'py, PyAny>, Option<Bound<'py, Stamp>>);
/// What came of a call: actions, events, when the next time-out is wanted.
type Outcome<'py> = (Vec<Wanted>, Vec<Said<'py>>, Option<u64>);

/// Something that an endpoint told.
#[derive(Clone)]
struct Told {
    kind: String,
    fields: Vec<(String, Value)>,
    at: time::Stamp,
}

impl From<Told> for Record {
    fn from(told: Told) -> Record {
        let mut record = Record::new(format!("endpoint.{}", told.kind)).at(told.at);
        record.fields.extend(told.fields.into_iter().map(|(name, value)| (name.into(), value)));
        record
    }
}

/// An endpoint in Python.
struct Guest {
    guide: Py<PyAny>,
    actions: VecDeque<Wanted>,
    events: VecDeque<Told>,
    timeout: Option<Time>,
    told: VecDeque<Told>,
    dropped: u64,
    opened: bool,
    refused: Option<String>,
    /// Connections come and go.
    listens: bool,
    /// Bytes have come.
    heard: bool,
    /// How the line, or the one connection that was made, came to an end.
    ended: Option<Why>,
    overrun: Option<time::Stamp>,
}

impl Guest {
    fn new(guide: Py<PyAny>, listens: bool) -> Guest {
        let (actions, events, told) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (timeout, refused, ended, overrun) = (None, None, None, None);
        let (dropped, opened, heard) = (0, false, false);
        Guest { guide, actions, events, timeout, told, dropped, opened, refused, listens, heard, ended, overrun }
    }

    /// Calls the guide; what comes of it is done and told. `at` is when what it is called for happened.
    fn call(&mut self, at: time::Stamp, work: impl for<'py> FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>) {
        let outcome = attached(|py| -> Result<Option<_>, String> {
            let _call = Call::begin();
            let given = Runs::Endpoint.run(|| work(self.guide.bind(py)));
            match given.and_then(|given| taken(&given, at)) {
                Ok(outcome) => outcome.map(Some),
                // Ctrl-C: whoever waits is told.
                Err(problem) => carry(py, problem).map_or(Ok(None), |problem| {
                    let why = format!("what it gave cannot be taken: {problem}");
                    // It only puts a text into a list.
                    let _ = self.guide.bind(py).call_method1("failed", (&why, ""));
                    Err(why)
                }),
            }
        });
        // Without an interpreter, which is going away, nothing is done any more.
        match outcome.unwrap_or(Ok(None)) {
            Ok(Some((actions, events, timeout))) => {
                self.actions.extend(actions);
                self.events.extend(events);
                self.timeout = timeout;
            }
            Ok(None) => {}
            Err(why) => std::panic::resume_unwind(Box::new(GivesUp(why))),
        }
    }

    fn since(&self, place: u64) -> impl Iterator<Item = (u64, &Told)> {
        let skipped = usize::try_from(place.saturating_sub(self.dropped)).unwrap_or(usize::MAX).min(self.told.len());
        (self.dropped + skipped as u64..).zip(self.told.range(skipped..))
    }
}

/// What the guide gave: what came of the call, or why the endpoint gives up.
#[allow(clippy::type_complexity)] // it is said where it is taken
fn taken(
    given: &Bound<'_, PyAny>,
    at: time::Stamp,
) -> PyResult<Result<(Vec<Wanted>, Vec<Told>, Option<Time>), String>> {
    if let Ok(why) = given.extract::<String>() {
        return Ok(Err(why));
    }
    let (actions, said, timeout): Outcome<'_> = given.extract()?;
    let told = said.into_iter().map(|(kind, fields, own)| {
        let Value::Table(fields) = from_python(&fields)? else { return Ok(Told { kind, fields: Vec::new(), at }) };
        Ok(Told { kind, fields, at: own.map_or(at, |own| own.get().0) })
    });
    Ok(Ok((actions, told.collect::<PyResult<_>>()?, timeout.map(Time::from_nanos))))
}

fn words(why: &Why) -> (&'static str, String) {
    match why {
        Why::Finished => ("finished", String::new()),
        Why::Reset => ("reset", String::new()),
        Why::HungUp => ("hung up", String::new()),
        Why::Local => ("local", String::new()),
        Why::Refused { reason, .. } => ("refused", reason.clone()),
    }
}

fn happened(event: &LineEvent) -> String {
    match event {
        LineEvent::Break => "break".to_owned(),
        LineEvent::Parity => "parity".to_owned(),
        LineEvent::Framing => "framing".to_owned(),
        LineEvent::Overrun => "overrun".to_owned(),
        LineEvent::Modem { cts, dsr, ri, dcd } => format!("modem cts={cts} dsr={dsr} ri={ri} dcd={dcd}"),
        LineEvent::Settings(settings) => settings.to_string(),
    }
}

/// All bytes arrived within this.
fn whole(stamps: Stamps<'_>, length: usize) -> time::Stamp {
    let (first, last) = (stamps.at(0, length), stamps.at(length.saturating_sub(1), length));
    time::Stamp::between(first.earliest(), last.latest())
}

impl Endpoint for Guest {
    type Event = Told;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        let at = time::Stamp::exact(now);
        let now = now.as_nanos();
        match input {
            Input::Opened(conn, peer) => {
                self.opened = true;
                self.listens &= !peer.wire;
                let (via, address, wire) = (peer.via.clone(), peer.address.clone(), peer.wire);
                self.call(at, |guide| guide.call_method1("opened", (now, conn.0, via, address, wire)));
            }
            Input::Bytes(conn, bytes, stamps) | Input::Datagram(conn, _, bytes, stamps) => {
                let at = whole(stamps, bytes.len());
                self.heard = true;
                self.call(at, |guide| {
                    guide.call_method1("bytes", (now, conn.0, PyBytes::new(guide.py(), bytes), Stamp(at)))
                });
            }
            Input::Line(conn, event, at) => {
                if event == LineEvent::Overrun {
                    self.overrun = Some(at);
                }
                self.call(at, |guide| guide.call_method1("line", (now, conn.0, happened(&event), Stamp(at))));
            }
            Input::Closed(conn, why) => {
                let (word, reason) = words(&why);
                if let Why::Refused { reason, .. } = &why {
                    self.refused = Some(reason.clone());
                }
                if !self.listens {
                    self.ended = Some(why);
                }
                self.call(at, |guide| guide.call_method1("closed", (now, conn.0, word, reason)));
            }
            Input::Writable(conn) => self.call(at, |guide| guide.call_method1("writable", (now, conn.0))),
            // It asks for no instants.
            Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        // Asked for once more only if it says so again.
        self.call(time::Stamp::exact(now), |guide| guide.call_method1("timeout", (now.as_nanos(),)));
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timeout
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (word, conn, bytes, not_before, gap) = self.actions.pop_front()?;
        let conn = Conn(conn);
        let how = match word.as_str() {
            "send" => {
                let start = out.len();
                out.extend_from_slice(&bytes);
                let (not_before, gap_before) = (not_before.map(Time::from_nanos), gap.map(Duration::from_nanos));
                return Some(Action::Send { conn, range: start..out.len(), not_before, gap_before });
            }
            "rst" => How::Rst,
            "half open" => How::HalfOpen,
            "stall" => How::Stall,
            _ => How::Fin,
        };
        Some(Action::Close(conn, how))
    }

    fn poll_event(&mut self) -> Option<Told> {
        let told = self.events.pop_front()?;
        if self.told.len() == KEPT {
            self.told.pop_front();
            self.dropped += 1;
        }
        self.told.push_back(told.clone());
        Some(told)
    }
}

/// Something that an endpoint told.
#[pyclass(frozen, module = "fieldrig.endpoint")]
pub(crate) struct Report {
    told: Told,
    place: u64,
}

#[pymethods]
impl Report {
    #[getter]
    fn kind(&self) -> &str {
        &self.told.kind
    }
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in &self.told.fields {
            dict.set_item(name, to_python(py, value)?)?;
        }
        Ok(dict)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.told.at)
    }
    #[getter]
    fn place(&self) -> u64 {
        self.place
    }
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let found = self.told.fields.iter().find(|(known, _)| known == name);
        to_python(py, &found.ok_or_else(|| PyKeyError::new_err(name.to_owned()))?.1)
    }
    /// The span from it to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.told.at, later)
    }
    fn describe(&self) -> String {
        let fields: Vec<String> = self.told.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}{}", self.told.kind, fields.concat())
    }
    fn __repr__(&self) -> String {
        format!("<Report {}>", self.describe())
    }
}

/// Drives an endpoint.
#[pyclass(frozen, module = "fieldrig._core.endpoint")]
pub(crate) struct Driver {
    handle: Handle<Guest>,
    name: String,
    url: String,
}

#[pymethods]
impl Driver {
    #[new]
    #[pyo3(signature = (url, guide, *, listen, rig = None, name = None, belongs_to = "bench"))]
    fn new(
        py: Python<'_>,
        url: &str,
        guide: Py<PyAny>,
        listen: bool,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
    ) -> PyResult<Driver> {
        let spec = place::port(py, url)?;
        let spec = if listen { spec.listening() } else { spec };
        let (connects, shown) = (place::connects(&spec), spec.clone());
        let owner = Owner::parse(py, belongs_to)?;
        let name = name.unwrap_or_else(|| url.to_owned());
        let binding = place::binding(VIA, spec, None, if listen { Sender::Server } else { Sender::Client });
        let handle = Handle::open_on(py, rig, Thread::Models, &name, Guest::new(guide, listen), vec![binding], owner)?;
        if connects {
            let deadline = handle.now(py)? + place::CONNECT_TIMEOUT;
            let state = handle.wait(py, deadline, |guest, _, _| {
                (guest.opened || guest.refused.is_some()).then(|| guest.refused.clone())
            })?;
            match state {
                Some(Some(reason)) => return Err(place::refused(py, url, &reason)),
                Some(None) => {}
                None => return Err(place::refused(py, url, "the connection was not made in time")),
            }
        }
        let url = place::reached(&shown, &handle.address(py, VIA)?);
        Ok(Driver { handle, name, url })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    /// Calls a function with the endpoint and the instant; gives what it gave, and when what came of it was sent.
    #[pyo3(signature = (function, /))]
    fn call(&self, py: Python<'_>, function: Py<PyAny>) -> PyResult<(Py<PyAny>, Stamp, Stamp)> {
        let begun = self.handle.now(py)?;
        let (given, sent) = self.handle.with(py, move |guest, now| {
            let mut given: Option<PyResult<Py<PyAny>>> = None;
            let kept = &mut given;
            guest.call(time::Stamp::exact(now), |guide| {
                let (given, outcome): (Py<PyAny>, Bound<'_, PyAny>) =
                    match guide.call_method1("command", (now.as_nanos(), &function)).and_then(|both| both.extract()) {
                        Ok(both) => both,
                        Err(problem) => {
                            *kept = Some(Err(problem.clone_ref(guide.py())));
                            return guide.call_method0("drained");
                        }
                    };
                *kept = Some(Ok(given));
                Ok(outcome)
            });
            given
        })?;
        let given = given.ok_or_else(|| error(py, Kind::Stopped, "the interpreter is going away"))??;
        let done = self.handle.returned(py, sent, begun);
        let issued = self.handle.issued(py, sent, begun);
        Ok((given, Stamp(time::Stamp::between(begun, issued.latest()).by(issued.source())), Stamp(done)))
    }
    /// What the endpoint told from a place on; waits for the first of it until the deadline of the run clock.
    #[pyo3(signature = (index, deadline_ns, /))]
    fn wait<'py>(&self, py: Python<'py>, index: u64, deadline_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        let told = self.handle.wait(py, Time::from_nanos(deadline_ns), |guest, events, _| {
            events.clear();
            let told: Vec<(u64, Told)> = guest.since(index).map(|(place, told)| (place, told.clone())).collect();
            (!told.is_empty()).then_some(told)
        })?;
        // What it tells by itself may come behind the end of the port; who waited in vain is told of that.
        if told.is_none() && deadline_ns > 0 {
            let ended = self.handle.with(py, |guest, _| guest.ended.clone())?.0;
            if let Some(why) = ended.filter(|why| *why != Why::Local) {
                let message = format!("{}: the port has ended: {}", self.name, words(&why).0);
                return Err(error(py, self.handle.owner.loss(), message));
            }
        }
        PyTuple::new(py, told.unwrap_or_default().into_iter().map(|(place, told)| Report { told, place }))
    }
    /// Whether bytes have ever come.
    #[getter]
    fn heard(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.handle.with(py, |guest, _| guest.heard)?.0)
    }
    #[pyo3(signature = (since, /))]
    fn alive(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let ended = self.handle.with(py, |guest, _| guest.ended.clone())?.0;
        match ended {
            Some(why) => Ok(Some(format!("the port has ended: {}", words(&why).0))),
            None => self.missed(py, since),
        }
    }
    #[pyo3(signature = (since, /))]
    fn missed(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let counts = move |at: time::Stamp| at.order(since.0) != Order::Before;
        let (overrun, dropped, oldest) =
            self.handle.with(py, |guest, _| (guest.overrun, guest.dropped, guest.told.front().map(|told| told.at)))?.0;
        if overrun.is_some_and(counts) {
            return Ok(Some("the port was overrun: bytes were lost".to_owned()));
        }
        let lost = dropped > 0 && oldest.is_none_or(counts);
        Ok(lost.then(|| format!("{dropped} events were dropped: more came than is kept")))
    }
    #[getter]
    fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.resolution_ns(py)
    }
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.look(py)
    }
    fn now(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.handle.now_stamp(py)
    }
    #[pyo3(signature = (since, /))]
    fn stalls<'py>(&self, py: Python<'py>, since: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.handle.stalls(py, instant(since)?)?)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<Driver {} at {}>", self.name, self.url)
    }
}
