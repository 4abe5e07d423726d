//! `Watch`: the messages of one subscription, and the proof that they still arrive.

use super::client::Session;
use super::message::Message;
use crate::error::Owner;
use crate::time::instant;
use fieldrig_proto::mqtt::witness::{self, Drops};
use fieldrig_proto::mqtt::{PacketType, Property, QoS};
use fieldrig_proto::mqtt::{client, topic};
use fieldrig_proto::time::{self, Time};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of the markers that a client published to itself.
enum Witness {
    /// They are back; what the broker said about messages it dropped, if it says such things.
    Back { drops: Option<Drops>, arrived: Time },
    /// They did not come back in time.
    Gone,
    /// The broker does not let us publish to ourselves.
    TurnedDown,
}

impl Witness {
    /// What is wrong with messages that came from `since` on, as far as the broker knows.
    fn dropped_since(&self, since: time::Stamp) -> Option<String> {
        let Witness::Back { drops: Some(drops), arrived } = self else { return None };
        // The marker left the broker before it arrived here: the last drop was not later than this.
        let latest = Time::from_nanos(arrived.as_nanos().saturating_sub(nanos(drops.last)));
        (drops.messages > 0 && latest >= since.earliest()).then(|| {
            format!("the broker has dropped messages for this client (its queue was full): {} so far", drops.messages)
        })
    }
}

fn nanos(length: time::Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// What a watch has taken out of the inbox of its client.
struct Taken {
    messages: Vec<Message>,
    /// Sequence number of the first message of the client not looked at.
    next: u64,
    /// Messages of the client that fell out of its inbox before they were looked at.
    missed: u64,
}

/// The messages of one subscription, numbered from 0.
#[pyclass(frozen, module = "fieldrig._core.mqtt")]
pub(crate) struct Watch {
    session: Arc<Session>,
    filter: String,
    /// Identifier of the subscription, if the broker puts it into messages.
    id: u32,
    granted: u8,
    taken: Mutex<Taken>,
    closed: AtomicBool,
}

impl Watch {
    /// Subscribes and waits for the answer.
    ///
    /// # Errors
    /// A filter that is none, a subscription that is not granted, no answer.
    pub(super) fn subscribe(py: Python<'_>, session: Arc<Session>, filter: &str, qos: QoS) -> PyResult<Watch> {
        let mut next = 0;
        let id = session.filters().join(filter);
        let answered = session.command(py, "a subscription", |client, now| {
            // Retained messages may come before the SUBACK.
            next = client.cursor();
            client.subscribe_as(now, filter, qos, id)
        });
        let granted = answered.as_ref().map_or(0x80, |(codes, ..)| codes.first().copied().unwrap_or(0x80));
        if granted >= 0x80 {
            session.filters().leave(filter);
            answered?;
            let what = format!("the subscription to `{filter}`");
            return Err(session.turned_down(py, PacketType::SubAck, &what, granted));
        }
        let taken = Mutex::new(Taken { messages: Vec::new(), next, missed: 0 });
        Ok(Watch { session, filter: filter.to_owned(), id, granted, taken, closed: AtomicBool::new(false) })
    }

    /// Takes what is new out of the inbox; gives what stands at number `index` and behind.
    fn look(&self, client: &client::Client, index: usize) -> Option<Vec<Message>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.missed += client.messages_lost().saturating_sub(taken.next);
        for message in client.messages_since(taken.next) {
            if self.is_ours(message) && !message.topic.starts_with(witness::PREFIX) {
                taken.messages.push(message.into());
            }
        }
        taken.next = client.cursor();
        taken.messages.get(index..).filter(|new| !new.is_empty()).map(<[Message]>::to_vec)
    }

    /// Whether a message came because of this subscription. A broker may send one copy for each that matches
    /// [MQTT-3.3.4-2]: the identifiers say whose copy it is. Without any, the topic decides.
    fn is_ours(&self, message: &client::Message) -> bool {
        let mut ids = message.properties.0.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(*id),
            _ => None,
        });
        let copies = ids.next().is_none_or(|first| first == self.id || ids.any(|id| id == self.id));
        copies && topic::matches(&self.filter, &message.topic)
    }

    /// Subscribes to a topic of our own, publishes to it and waits for it to come back: at QoS 0 and, if it is granted,
    /// at QoS 1, because the order is kept within one QoS only [MQTT-4.6.0-6].
    fn witness(&self, py: Python<'_>) -> PyResult<Witness> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let session = &self.session;
        let id = session.handle.with(py, |client, _| client.client_id().to_owned())?.0;
        let marker = format!("{}{id}/{}", witness::PREFIX, COUNT.fetch_add(1, Ordering::Relaxed));
        let mut from = 0;
        let (codes, ..) = session.command(py, "the subscription of the witness", |client, now| {
            from = client.cursor();
            client.subscribe(now, &marker, QoS::AtLeastOnce)
        })?;
        let levels: &[QoS] = match codes.first() {
            Some(0) => &[QoS::AtMostOnce],
            Some(1 | 2) => &[QoS::AtMostOnce, QoS::AtLeastOnce],
            _ => return Ok(Witness::TurnedDown),
        };
        for qos in levels {
            let (codes, ..) =
                session.command(py, "the witness", |client, now| client.publish(now, &marker, b"", *qos, false))?;
            if codes.first().is_some_and(|code| *code >= 0x80) {
                return Ok(Witness::TurnedDown);
            }
        }
        let deadline = session.handle.now(py)? + session.timeout;
        let back = session.handle.wait(py, deadline, |client, _, _| {
            let ours = || client.messages_since(from).filter(|message| *message.topic == *marker);
            let all = levels.iter().all(|qos| ours().any(|message| message.qos == *qos));
            let last = ours().last().filter(|_| all)?;
            Some(Witness::Back { drops: Drops::parse(&last.payload), arrived: last.at.latest() })
        })?;
        session.command(py, "the end of the witness", |client, now| client.unsubscribe(now, &marker))?;
        Ok(back.unwrap_or(Witness::Gone))
    }

    /// What this client lost by itself.
    fn fallen_out(&self) -> Option<String> {
        let missed = self.taken.lock().unwrap_or_else(PoisonError::into_inner).missed;
        (missed > 0).then(|| format!("{missed} messages fell out of the inbox before anybody looked"))
    }
}

#[pymethods]
impl Watch {
    #[getter]
    fn filter(&self) -> &str {
        &self.filter
    }
    #[getter]
    fn granted(&self) -> u8 {
        self.granted
    }
    #[getter]
    fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.session.handle.resolution_ns(py)
    }
    #[pyo3(signature = (index, deadline_ns, /))]
    fn wait<'py>(&self, py: Python<'py>, index: usize, deadline_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        let deadline = Time::from_nanos(deadline_ns);
        let handle = &self.session.handle;
        let found = handle.wait(py, deadline, |client, _, _| {
            self.look(client, index).or_else(|| (!client.is_connected()).then(Vec::new))
        })?;
        if let Some(messages) = found.filter(|messages| !messages.is_empty()) {
            return PyTuple::new(py, messages);
        }
        // The deadline, or the end of the connection: what has arrived is read once more.
        let (last, connected) = handle.with(py, |client, _| (self.look(client, index), client.is_connected()))?.0;
        match last {
            Some(messages) => PyTuple::new(py, messages),
            None if connected => Ok(PyTuple::empty(py)),
            None => Err(self.session.lost(py, "the connection is gone")),
        }
    }
    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let all = self.session.handle.with(py, |client, _| self.look(client, 0))?.0;
        PyTuple::new(py, all.unwrap_or_default())
    }
    #[pyo3(signature = (since, /))]
    fn alive(&self, py: Python<'_>, since: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let since = instant(since)?;
        match self.witness(py) {
            Ok(Witness::Gone) => Ok(Some("a marker message did not come back".to_owned())),
            Ok(Witness::TurnedDown) => Ok(Some("the broker turned the marker message down".to_owned())),
            Ok(back) => Ok(back.dropped_since(since).or_else(|| self.fallen_out())),
            Err(problem) if problem.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) => Err(problem),
            Err(problem) => Ok(Some(problem.value(py).str()?.to_str()?.to_owned())),
        }
    }
    #[pyo3(signature = (since, /))]
    fn missed(&self, py: Python<'_>, since: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let since = instant(since)?;
        if let Some(lost) = self.fallen_out() {
            return Ok(Some(lost));
        }
        if self.session.handle.owner == Owner::Dut {
            // The broker is what is judged: what it drops is its own fault.
            return Ok(None);
        }
        match self.witness(py) {
            Ok(Witness::Gone) => {
                Ok(Some("nothing arrives here: a marker message did not come back, either".to_owned()))
            }
            Ok(Witness::TurnedDown) => Ok(None),
            Ok(back) => Ok(back.dropped_since(since)),
            Err(problem) if problem.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) => Err(problem),
            Err(problem) => Ok(Some(format!("no marker message can be sent: {}", problem.value(py).str()?.to_str()?))),
        }
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if !self.session.filters().leave(&self.filter) {
            return Ok(());
        }
        let connected = self.session.handle.with(py, |client, _| client.is_connected());
        if connected.is_ok_and(|(connected, _)| connected) {
            self.session
                .command(py, "the end of a subscription", |client, now| client.unsubscribe(now, &self.filter))?;
        }
        Ok(())
    }
}
