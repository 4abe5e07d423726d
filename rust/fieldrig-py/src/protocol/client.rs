//! `Client`: asks over a protocol that is defined by data.

use super::definition::Protocol;
use super::frame::{Answer, Frame};
use super::{Given, entries, patch, refused};
use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::stream::Sent;
use crate::time::{Stamp, instant, limit};
use crate::value::octets;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{How, Why};
use fieldrig_proto::line::defined::{self, Ask, Come, Definition, EncodeError, Failure, State};
use fieldrig_proto::protocol;
use fieldrig_proto::time::{self, Duration, Order, Time, human};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::Arc;

/// The name of its one port.
const VIA: &str = "protocol";
/// How long the port may take to take bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A client.
#[pyclass(frozen, module = "fieldrig._core.protocol")]
pub(crate) struct Client {
    handle: Handle<defined::Client>,
    definition: Arc<Definition>,
    protocol: &'static protocol::Protocol,
    name: String,
    url: String,
}

impl Client {
    fn frame(&self, (place, come): &(u64, Come)) -> Frame {
        Frame { come: come.clone(), protocol: self.protocol, sender: Sender::Server, place: *place }
    }

    fn over(&self, py: Python<'_>, why: &Why) -> PyErr {
        let (kind, text) = match why {
            Why::Local => (Kind::Stopped, "it is closed"),
            Why::HungUp => (self.handle.owner.loss(), "the port went away"),
            Why::Reset => (self.handle.owner.loss(), "the other side broke the connection off"),
            _ => (self.handle.owner.loss(), "the other side ended the connection"),
        };
        error(py, kind, format!("{}: {text}", self.name))
    }

    /// Nothing answered a request: what came instead decides whose fault that is.
    fn unanswered(&self, py: Python<'_>, ask: &Ask, since: u64, begun: Time) -> PyErr {
        let over = match self.await_held(py, since) {
            Ok(over) => over,
            Err(problem) => return problem,
        };
        let seen = self.handle.with(py, |client, _| {
            let instead = kept_since(client, since);
            let sound = |(_, come): (u64, &Come)| come.problems.is_empty() && come.kind != "garbage";
            let lost = client.overrun().is_some_and(|at| at.order(time::Stamp::exact(begun)) != Order::Before);
            (instead, client.come_since(0).any(sound) || client.dropped() > 0, lost)
        });
        let stalled = self.handle.stalls(py, time::Stamp::exact(begun)).is_ok_and(|stalls| !stalls.is_empty());
        let ((instead, works, lost), _) = match seen {
            Ok(seen) => seen,
            Err(problem) => return problem,
        };
        let waited = ask.timeout.unwrap_or(self.definition.timeout);
        let waited = human(i64::try_from(waited.as_nanos()).unwrap_or(i64::MAX));
        let mut text = format!("{}: `{}` was not answered within {waited}", self.name, ask.name);
        for come in instead.iter().take(8) {
            text.push_str(&format!("\n  instead came {}", self.frame(come).describe()));
        }
        let held = |(_, come): &(u64, Come)| come.kind == "late" && come.last.earliest() <= over;
        let (kind, hint) = match (works, stalled) {
            _ if instead.iter().any(held) => {
                (Kind::Unanswered, Some("the adapter hands over late: what came late may have been there in time"))
            }
            _ if lost => (Kind::Unanswered, Some("the port was overrun meanwhile: bytes were lost")),
            (true, false) => (Kind::NoAnswer, None),
            (_, true) => (Kind::Unanswered, Some("the host stood still meanwhile: run again on a quieter one")),
            (false, _) => {
                (Kind::Unanswered, Some("is it the right port, line and protocol? nothing was ever understood here"))
            }
        };
        hinted(py, kind, text, hint)
    }

    /// After a time-out, waits for a late answer as long as the adapter may hold one; gives when the time-out was, at most.
    fn await_held(&self, py: Python<'_>, since: u64) -> PyResult<Time> {
        let over = self.handle.now(py)?;
        let held = self.handle.resolution(py)?;
        if !held.is_zero() {
            self.handle.wait(py, over + held, |client, _, _| {
                let late = |(_, come): (u64, &Come)| come.kind == "late";
                (client.come_since(since).any(late) || *client.state() != State::Open).then_some(())
            })?;
        }
        Ok(over)
    }

    /// Sends, and waits until the port took it.
    fn put(
        &self,
        py: Python<'_>,
        command: impl FnOnce(&mut defined::Client) -> Result<Vec<u8>, EncodeError> + Send,
    ) -> PyResult<Sent> {
        let now = self.handle.now(py)?;
        let state = self.handle.with(py, |client, _| client.state().clone())?.0;
        if let State::Closed(why) = state {
            return Err(self.over(py, &why));
        }
        let mut data = Vec::new();
        let kept = &mut data;
        let sent = self.handle.send(
            py,
            move |client, _| {
                *kept = command(client)?;
                Ok::<(), EncodeError>(())
            },
            SEND_TIMEOUT,
        )?;
        let sent = sent.map_err(|problem| refused(py, &problem))?;
        if sent.is_some_and(|sent| sent.returned.is_none()) {
            return Err(error(py, Kind::Unanswered, format!("{}: the other side does not take the bytes", self.name)));
        }
        Ok(Sent { at: self.handle.issued(py, sent, now), done: self.handle.returned(py, sent, now), data })
    }
}

/// What came from a place on, as far as it is kept.
fn kept_since(client: &defined::Client, place: u64) -> Vec<(u64, Come)> {
    client.come_since(place).map(|(place, come)| (place, come.clone())).collect()
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, protocol, *, rig = None, name = None, belongs_to = "bench"))]
    fn new(
        py: Python<'_>,
        url: &str,
        protocol: &Bound<'_, Protocol>,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
    ) -> PyResult<Client> {
        let Protocol { definition, protocol } = protocol.get();
        let spec = place::port(py, url)?;
        let (connects, shown) = (place::connects(&spec), spec.clone());
        let owner = Owner::parse(py, belongs_to)?;
        let name = name.unwrap_or_else(|| url.to_owned());
        let endpoint = defined::Client::new(Arc::clone(definition));
        let binding = place::binding(VIA, spec, Some(protocol), Sender::Client);
        let handle = Handle::open(py, rig, &name, endpoint, vec![binding], owner)?;
        if connects {
            let deadline = handle.now(py)? + place::CONNECT_TIMEOUT;
            let state = handle.wait(py, deadline, |client, _, _| {
                (*client.state() != State::Waiting).then(|| client.state().clone())
            })?;
            match state {
                Some(State::Closed(Why::Refused { reason, .. })) => return Err(place::refused(py, url, &reason)),
                Some(_) => {}
                None => return Err(place::refused(py, url, "the connection was not made in time")),
            }
        }
        let url = place::reached(&shown, &handle.address(py, VIA)?);
        Ok(Client { handle, definition: Arc::clone(definition), protocol, name, url })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    #[getter]
    fn protocol(&self) -> Protocol {
        Protocol::of(&self.definition, self.protocol)
    }
    /// Asks and waits for the answer.
    #[pyo3(signature = (message, fields, *, answer = None, patch = None, timeout = None))]
    fn ask(
        &self,
        py: Python<'_>,
        message: &str,
        fields: Given<'_, '_>,
        answer: Option<Vec<String>>,
        patch: Given<'_, '_>,
        timeout: Given<'_, '_>,
    ) -> PyResult<Answer> {
        let _call = Call::begin();
        let ask = Ask {
            name: message.to_owned(),
            fields: entries(fields, "fields")?,
            patch: self::patch(&self.definition, patch)?,
            answers: answer,
            timeout: timeout.map(limit).transpose()?,
        };
        let begun = self.handle.now(py)?;
        let waited = ask.timeout.unwrap_or(self.definition.timeout);
        let settle = self.definition.settle.unwrap_or(waited.max(self.definition.timeout));
        let within = waited + settle + SEND_TIMEOUT;
        let called = self.handle.call(
            py,
            |client, now| match client.state() {
                State::Closed(why) => Err(Ok(why.clone())),
                _ => client.ask(now, &ask).map_err(Err),
            },
            within,
            |(token, request), client, events, _| {
                events.clear();
                let (outcome, sent) = client.outcome(*token)?;
                let outcome = outcome.map(|place| client.come_at(place).map(|come| (place, come.clone())));
                Some((outcome, sent, request.clone()))
            },
        )?;
        let called = called.map_err(|problem| match problem {
            Ok(why) => self.over(py, &why),
            Err(problem) => refused(py, &problem),
        })?;
        match called.outcome {
            Some((Ok(Some(come)), sent, request)) => {
                let at = self.handle.issued(py, called.sent, if called.sent.is_some() { begun } else { sent });
                Ok(Answer { frame: self.frame(&come), request, at })
            }
            Some((Err(Failure::Ended(why)), ..)) => Err(self.over(py, &why)),
            Some((Err(Failure::NoAnswer(since)), ..)) => Err(self.unanswered(py, &ask, since, begun)),
            // The answer was pushed out by 10 000 others before anybody looked, or the port takes nothing.
            _ => Err(error(py, Kind::Unanswered, format!("{}: `{message}` could not be asked", self.name))),
        }
    }
    /// Sends a message to which no answer is awaited.
    #[pyo3(signature = (message, fields, *, patch = None))]
    fn send(&self, py: Python<'_>, message: &str, fields: Given<'_, '_>, patch: Given<'_, '_>) -> PyResult<Sent> {
        let (fields, patch) = (entries(fields, "fields")?, self::patch(&self.definition, patch)?);
        self.put(py, move |client| client.send(message, &fields, &patch))
    }
    /// Sends bytes as they are.
    #[pyo3(signature = (data, /))]
    fn raw(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Sent> {
        let data = octets(data)?;
        self.put(py, move |client| {
            client.send_raw(&data);
            Ok(data)
        })
    }
    /// What came from a place on; waits for the first of it until the deadline of the run clock.
    #[pyo3(signature = (index, deadline_ns, /))]
    fn wait<'py>(&self, py: Python<'py>, index: u64, deadline_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        let came = self.handle.wait(py, Time::from_nanos(deadline_ns), |client, events, _| {
            events.clear();
            let came = kept_since(client, index);
            match client.state() {
                _ if !came.is_empty() => Some(Ok(came)),
                State::Closed(why) if deadline_ns > 0 => Some(Err(why.clone())),
                _ => None,
            }
        })?;
        let came = came.unwrap_or(Ok(Vec::new())).map_err(|why| self.over(py, &why))?;
        PyTuple::new(py, came.iter().map(|come| self.frame(come)))
    }
    /// What came so far, in order of arrival.
    fn frames<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (came, _) = self.handle.with(py, |client, _| kept_since(client, 0))?;
        PyTuple::new(py, came.iter().map(|come| self.frame(come)))
    }
    #[pyo3(signature = (since, /))]
    fn alive(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let (state, _) = self.handle.with(py, |client, _| client.state().clone())?;
        if state != State::Open {
            return Ok(Some("the port is closed".to_owned()));
        }
        if let Some(missed) = self.missed(py, since)? {
            return Ok(Some(missed));
        }
        Ok(self.handle.with(py, |client, _| client.unread(since.0))?.0.map(str::to_owned))
    }
    #[pyo3(signature = (since, /))]
    fn missed(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let (missed, _) = self.handle.with(py, |client, _| {
            // What was dropped is older than the oldest frame that is kept.
            let dropped = client.dropped();
            let oldest = client.come_since(0).next().map(|(_, come)| come.last);
            let dropped =
                (dropped > 0 && oldest.is_none_or(|at| at.order(since.0) != Order::Before)).then_some(dropped);
            (client.overrun().is_some_and(|at| at.order(since.0) != Order::Before), dropped)
        })?;
        Ok(match missed {
            (true, _) => Some("the port was overrun: bytes were lost".to_owned()),
            (false, dropped) => dropped.map(|count| format!("{count} frames were dropped: more came than is kept")),
        })
    }
    #[getter]
    fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.resolution_ns(py)
    }
    /// Takes what has arrived, without waiting.
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
        self.handle.at_last(py, |client, _| client.close(How::Fin));
        self.handle.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<Client {} on {}>", self.definition.name, self.url)
    }
}
