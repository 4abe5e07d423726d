//! `Client`: connect, publish, subscribe; each call waits for its answer.

use super::message::Published;
use super::watch::Watch;
use crate::error::{Kind, Owner, build, error};
use crate::handle::Handle;
use crate::place;
use crate::rig::Rig;
use crate::time::{Stamp, instant, limit_or};
use fieldrig_engine::PortSpec;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::mqtt::client::{self, ClientConfig, ClientEvent, CommandError, Ticket};
use fieldrig_proto::mqtt::{PacketType, QoS, V5, V311, Version, reason};
use fieldrig_proto::time::{self, Duration, Time, human};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a command ended.
pub(super) enum Ended {
    /// Answered with these codes, or (no instant) done when it was sent.
    Answered(Vec<u8>, Option<time::Stamp>),
    /// It will never be answered.
    Failed(String),
}

/// A client with one connection; watches share it.
pub(crate) struct Session {
    pub(super) handle: Handle<client::Client>,
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) timeout: Duration,
    pub(super) filters: Mutex<Filters>,
}

/// The subscriptions of a connection. A broker keeps one for each filter, whoever asked for it, so it lasts as long as
/// somebody watches it.
#[derive(Default)]
pub(super) struct Filters {
    /// Filter, its identifier, how many watch it.
    known: HashMap<String, (u32, usize)>,
    last: u32,
}

impl Filters {
    /// One more watches a filter; gives its subscription identifier.
    pub(super) fn join(&mut self, filter: &str) -> u32 {
        let (id, watchers) = self.known.entry(filter.to_owned()).or_insert_with(|| {
            self.last += 1;
            (self.last, 0)
        });
        *watchers += 1;
        *id
    }

    /// One less watches it; says whether that was the last.
    pub(super) fn leave(&mut self, filter: &str) -> bool {
        let Some((_, watchers)) = self.known.get_mut(filter) else { return false };
        *watchers -= 1;
        let last = *watchers == 0;
        if last {
            self.known.remove(filter);
        }
        last
    }
}

impl Session {
    pub(super) fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command and waits until the event with its ticket says how it ended: codes, instant of the issue, instant
    /// of the answer.
    ///
    /// # Errors
    /// A command that is refused; no answer in time.
    pub(super) fn command(
        &self,
        py: Python<'_>,
        what: &str,
        command: impl FnOnce(&mut client::Client, Time) -> Result<Ticket, CommandError> + Send,
    ) -> PyResult<(Vec<u8>, time::Stamp, time::Stamp)> {
        let mut begun = Time::ZERO;
        let called = self.handle.call(
            py,
            |client, now| {
                begun = now;
                command(client, now).map(|ticket| (ticket, client.is_outstanding(ticket)))
            },
            self.timeout,
            |(ticket, outstanding), _, events, _| {
                if !outstanding {
                    // QoS 0: nothing will answer.
                    return Some(Ended::Answered(Vec::new(), None));
                }
                // Messages stand in the inbox of the client; answers to the commands of other threads stay.
                events.retain(|event| !matches!(event, ClientEvent::Message(_)));
                let index = events.iter().position(|event| ended(event, *ticket).is_some())?;
                events.remove(index).and_then(|event| ended(&event, *ticket))
            },
        )?;
        let called = called.map_err(|problem| self.refused_command(py, &problem))?;
        let (at, left) = (self.handle.issued(py, called.sent, begun), self.handle.returned(py, called.sent, begun));
        match called.outcome {
            Some(Ended::Answered(codes, done)) => Ok((codes, at, done.unwrap_or(left))),
            Some(Ended::Failed(why)) => Err(self.lost(py, &format!("{what} was not answered: {why}"))),
            None => {
                let waited = human(i64::try_from(self.timeout.as_nanos()).unwrap_or(i64::MAX));
                let kind = if self.handle.owner == Owner::Dut { Kind::NoAnswer } else { Kind::Unanswered };
                Err(error(py, kind, format!("{}: {what} was not answered within {waited}", self.name)))
            }
        }
    }

    /// A reason code that says no, as an exception.
    pub(super) fn turned_down(&self, py: Python<'_>, packet: PacketType, what: &str, code: u8) -> PyErr {
        let reason = reason::describe(self.version, packet, code);
        let message = format!("{}: {what} was turned down: {reason}", self.name);
        let kind = if self.handle.owner == Owner::Dut { Kind::Refused } else { Kind::Port };
        match code.into_pyobject(py) {
            Ok(code) => build(py, kind, &message, None, &[("code", code.into_any())]),
            Err(never) => never.into(),
        }
    }

    fn refused_command(&self, py: Python<'_>, problem: &CommandError) -> PyErr {
        match problem {
            CommandError::NotConnected(_) => self.lost(py, &problem.to_string()),
            _ => error(py, Kind::Usage, format!("{}: {problem}", self.name)),
        }
    }

    /// The connection is gone, as an exception.
    pub(super) fn lost(&self, py: Python<'_>, why: &str) -> PyErr {
        let kind = self.handle.owner.loss();
        error(py, kind, format!("{}: {why}", self.name))
    }
}

fn ended(event: &ClientEvent, wanted: Ticket) -> Option<Ended> {
    match event {
        ClientEvent::Published { ticket, at, code } if *ticket == wanted => {
            Some(Ended::Answered(vec![*code], Some(*at)))
        }
        ClientEvent::Subscribed { ticket, granted, at } if *ticket == wanted => {
            Some(Ended::Answered(granted.clone(), Some(*at)))
        }
        ClientEvent::Unsubscribed { ticket, codes, at } if *ticket == wanted => {
            Some(Ended::Answered(codes.clone(), Some(*at)))
        }
        ClientEvent::Failed { ticket, why } if *ticket == wanted => Some(Ended::Failed(why.clone())),
        _ => None,
    }
}

/// A client with one connection to a broker.
#[pyclass(frozen, module = "fieldrig._core.mqtt")]
pub(crate) struct Client {
    session: Arc<Session>,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, *, client_id = None, version = "5", keep_alive = None, username = None, password = None,
        clean = true, timeout = None, rig = None, name = None, belongs_to = "bench"))]
    #[allow(clippy::too_many_arguments)] // the keywords of a Python constructor
    fn new(
        py: Python<'_>,
        url: &str,
        client_id: Option<String>,
        version: &str,
        keep_alive: Option<&Bound<'_, PyAny>>,
        username: Option<String>,
        password: Option<Vec<u8>>,
        clean: bool,
        timeout: Option<&Bound<'_, PyAny>>,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
    ) -> PyResult<Client> {
        let (version, protocol) = match version {
            "5" => (Version::V5, &V5),
            "3.1.1" => (Version::V311, &V311),
            _ => return Err(error(py, Kind::Usage, format!("version is 5 or \"3.1.1\", not {version:?}"))),
        };
        let timeout = limit_or(timeout, Duration::from_secs(5))?;
        let keep_alive = limit_or(keep_alive, Duration::from_secs(30))?.as_secs();
        let config = ClientConfig {
            version,
            client_id: match (client_id, rig) {
                (Some(chosen), _) => chosen,
                (None, Some(rig)) if rig.get().shared.rig(py)?.clock().is_virtual() => {
                    format!("fieldrig{:015x}", rig.get().shared.number())
                }
                (None, _) => unique_id(),
            },
            clean_start: clean,
            keep_alive: u16::try_from(keep_alive)
                .map_err(|_| error(py, Kind::Usage, "keep_alive is at most 65535 s"))?,
            username,
            password,
            connect_timeout: timeout,
            ..ClientConfig::default()
        };
        let port = broker_port(py, url)?;
        let owner = Owner::parse(py, belongs_to)?;
        let binding = place::binding("broker", port, Some(protocol), Sender::Client);
        let name = name.unwrap_or_else(|| url.to_owned());
        let handle = Handle::open(py, rig, &name, client::Client::new(config), vec![binding], owner)?;
        let session = Session { handle, name, version, timeout, filters: Mutex::default() };
        session.connect(py)?;
        Ok(Client { session: Arc::new(session) })
    }
    #[getter]
    fn client_id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.session.handle.with(py, |client, _| client.client_id().to_owned())?.0)
    }
    #[pyo3(signature = (topic, payload, *, qos = 0, retain = false))]
    fn publish(&self, py: Python<'_>, topic: &str, payload: &[u8], qos: u8, retain: bool) -> PyResult<Published> {
        let level = quality(py, qos)?;
        let publish = |client: &mut client::Client, now| client.publish(now, topic, payload, level, retain);
        let (codes, at, done) = self.session.command(py, "a publish", publish)?;
        if let Some(code) = codes.first().filter(|code| **code >= 0x80) {
            return Err(self.session.turned_down(py, PacketType::PubAck, "a publish", *code));
        }
        Ok(Published { topic: topic.to_owned(), at, done })
    }
    #[pyo3(signature = (filter, *, qos = 0))]
    fn watch(&self, py: Python<'_>, filter: &str, qos: u8) -> PyResult<Watch> {
        Watch::subscribe(py, Arc::clone(&self.session), filter, quality(py, qos)?)
    }
    /// Takes what has arrived, without waiting.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        self.session.handle.look(py)
    }
    fn now(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.session.handle.now_stamp(py)
    }
    #[pyo3(signature = (since, /))]
    fn stalls<'py>(&self, py: Python<'py>, since: &Bound<'py, PyAny>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        pyo3::types::PyTuple::new(py, self.session.handle.stalls(py, instant(since)?)?)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        // The broker hears DISCONNECT if it still listens; closing goes on if not.
        self.session.handle.at_last(py, |client, now| client.disconnect(now));
        self.session.handle.close(py)
    }
}

impl Session {
    /// Waits until the broker has accepted us.
    fn connect(&self, py: Python<'_>) -> PyResult<()> {
        // The client itself gives up after its time-out; the rest is for the port.
        let deadline = self.handle.now(py)? + self.timeout + Duration::from_secs(1);
        let outcome = self.handle.wait(py, deadline, |client, events, _| {
            if client.is_connected() {
                return Some(Ok(()));
            }
            events.iter().find_map(|event| match event {
                ClientEvent::Refused { code, .. } => Some(Err((Some(*code), String::new()))),
                ClientEvent::Lost { why, .. } => Some(Err((None, why.clone()))),
                _ => None,
            })
        })?;
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err((Some(code), _))) => Err(self.turned_down(py, PacketType::ConnAck, "the connection", code)),
            Some(Err((None, why))) => Err(error(py, Kind::Port, format!("{}: no connection: {why}", self.name))),
            None => Err(error(py, Kind::Unanswered, format!("{}: the connection was not accepted", self.name))),
        }
    }
}

fn quality(py: Python<'_>, qos: u8) -> PyResult<QoS> {
    QoS::from_bits(qos).ok_or_else(|| error(py, Kind::Usage, format!("QoS is 0 or 1, not {qos}")))
}

/// The port of a broker URL; the port number is 1883 unless given.
fn broker_port(py: Python<'_>, url: &str) -> PyResult<PortSpec> {
    if url.starts_with("memory://") {
        return place::port(py, url);
    }
    let wrong = |problem: &str| {
        error(py, Kind::Usage, format!("`{url}` is no broker: {problem}; write it like mqtt://127.0.0.1:1883"))
    };
    let address =
        url.strip_prefix("mqtt://").or_else(|| url.strip_prefix("tcp://")).ok_or_else(|| wrong("unknown scheme"))?;
    let address = address.trim_end_matches('/');
    let host_only = !address.contains(':') || address.ends_with(']');
    let full = if host_only { format!("{address}:1883") } else { address.to_owned() };
    match PortSpec::parse(&format!("tcp://{full}")) {
        Ok(_) => Ok(PortSpec::TcpConnect(full)),
        Err(problem) => Err(wrong(&problem.problem)),
    }
}

/// A client identifier that every 3.1.1 server must take [MQTT-3.1.3-5] and nobody else has. On virtual time, where no
/// client comes from elsewhere, they are counted: the same run leaves the same trace.
fn unique_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u32(count);
    format!("fieldrig{:015x}", hasher.finish() >> 4)
}
