//! A small MQTT broker: 3.1.1 and 5.0 clients side by side.
//!
//! ```text
//!   Link (a connection)  --CONNECT-->  Session (a client)  <--Router--  Message (shared, never copied)
//!     deframer, output, keep alive       queues, in flight      filters        retained messages
//! ```
//!
//! Rules of this file:
//! - QoS 0 and 1. MQTT 5 clients are told (Maximum QoS 1); a 3.1.1 client that publishes at QoS 2 is disconnected with
//!   the event `Unsupported`. A subscription asking for QoS 2 is granted 1. QoS 2 belongs to the MQTT issue.
//! - A client that matches with several filters gets one copy, at the highest QoS among them [MQTT-3.3.4-2].
//! - A connection to which [`HIGH_WATER`] bytes were handed out gets no further messages until `Writable`; meanwhile they
//!   wait in the bounded queues of its session. What finds no room is dropped and counted (`Dropped`). Answers
//!   (PUBACK, PINGRESP ..) never wait.
//! - Sessions are thin: subscriptions, queued and unacknowledged QoS 1 messages; these are sent again, with DUP and in
//!   their order, when the session goes on [MQTT-4.4.0-1]. They live as long as the broker does.
//! - Shared subscriptions and topic aliases are not offered, and MQTT 5 clients are told so.
//!
//! ```
//! use fieldrig_proto::mqtt::{QoS, broker::Broker};
//! use fieldrig_proto::time::Time;
//! let mut broker = Broker::default();
//! let sessions = broker.publish(Time::ZERO, "site/mode", b"test", QoS::AtMostOnce, true)?;
//! assert_eq!(sessions, 0, "nobody has subscribed yet");
//! assert_eq!(broker.retained("site/mode").as_deref(), Some(&b"test"[..]));
//! # Ok::<(), fieldrig_proto::mqtt::broker::PublishError>(())
//! ```

mod connect;
mod deliver;
mod event;
mod receive;
mod router;
mod session;

pub use event::BrokerEvent;

use super::deframer::Deframer;
use super::encode::{EncodeError, encode};
use super::packet::{Disconnect, Packet, QoS, Version, Will};
use super::property::Properties;
use super::topic;
use crate::endpoint::{Action, Conn, Endpoint, HIGH_WATER, How, Input, Peer, Why};
use crate::time::{Duration, Time};
use router::{Entry, Key, Router};
use session::{Message, Sessions};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

/// What a broker allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerConfig {
    /// Largest packet it takes.
    pub maximum_packet: usize,
    /// Most messages it queues for one session and QoS.
    pub queue_messages: usize,
    /// Most payload bytes it queues for one session and QoS.
    pub queue_bytes: usize,
    /// Most unacknowledged messages towards one client.
    pub in_flight: usize,
    /// How long a connection may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// Keep alive it imposes on MQTT 5 clients (seconds).
    pub server_keep_alive: Option<u16>,
}

impl Default for BrokerConfig {
    /// 16 MiB packets, queues of 10000 messages or 16 MiB, 1000 in flight, 10 s for CONNECT.
    fn default() -> BrokerConfig {
        BrokerConfig {
            maximum_packet: 16 << 20,
            queue_messages: 10_000,
            queue_bytes: 16 << 20,
            in_flight: 1_000,
            connect_timeout: Duration::from_secs(10),
            server_keep_alive: None,
        }
    }
}

/// A connection.
#[derive(Debug)]
struct Link {
    address: String,
    version: Version,
    deframer: Deframer,
    out: Vec<u8>,
    /// Stands in the list of connections with output.
    ready: bool,
    /// Bytes handed out since the last `Writable` (rule 8 of the calling contract).
    handed: usize,
    /// Whose connection, once CONNECT was accepted.
    session: Option<Key>,
    will: Option<Will>,
    /// Zero for none.
    keep_alive: Duration,
    last_heard: Time,
    /// What the client takes.
    maximum_packet: usize,
    window: usize,
}

impl Link {
    /// No further messages until `Writable`.
    fn is_full(&self) -> bool {
        self.handed + self.out.len() >= HIGH_WATER
    }

    /// One and a half times the keep alive after the last packet [MQTT-3.1.2-24].
    fn silent_at(&self) -> Option<Time> {
        (!self.keep_alive.is_zero()).then(|| self.last_heard + self.keep_alive * 3 / 2)
    }
}

#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Alarm {
    /// The CONNECT is due.
    Connect(Conn),
    /// The client may have been silent for too long.
    Silence(Conn),
    /// A session or the delay of its will may be over.
    Session(Key),
}

/// A client, for people and tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// Client identifier.
    pub client_id: Arc<str>,
    /// Its connection, if it has one.
    pub conn: Option<Conn>,
    /// Its subscriptions.
    pub filters: Vec<Arc<str>>,
    /// Messages queued for it.
    pub queued: usize,
    /// Messages sent to it and not acknowledged.
    pub in_flight: usize,
    /// Messages for it that were dropped.
    pub dropped: u64,
}

/// Why the broker refuses to publish in its own name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// QoS 2 is not there yet.
    #[error("QoS 2 is not supported yet; use QoS 0 or 1")]
    ExactlyOnce,
    /// The topic is none.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// An MQTT broker. The rules stand at the top of this file.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    links: HashMap<Conn, Link>,
    sessions: Sessions,
    router: Router,
    retained: HashMap<Arc<str>, Arc<Message>>,
    alarms: BinaryHeap<Reverse<(Time, Alarm)>>,
    /// Connections with output.
    ready: VecDeque<Conn>,
    /// Connections to close, each with what is still to be sent on it.
    closing: VecDeque<(Conn, Vec<u8>, How)>,
    events: VecDeque<BrokerEvent>,
    scratch: Vec<Entry>,
    assigned: u64,
}

impl Default for Broker {
    fn default() -> Broker {
        Broker::new(BrokerConfig::default())
    }
}

impl Broker {
    /// A broker without clients.
    #[must_use]
    pub fn new(config: BrokerConfig) -> Broker {
        Broker {
            config,
            links: HashMap::new(),
            sessions: Sessions::default(),
            router: Router::default(),
            retained: HashMap::new(),
            alarms: BinaryHeap::new(),
            ready: VecDeque::new(),
            closing: VecDeque::new(),
            events: VecDeque::new(),
            scratch: Vec::new(),
            assigned: 0,
        }
    }

    /// Publishes a message in the name of the broker's owner. Gives the number of sessions it goes to.
    ///
    /// # Errors
    /// QoS 2, or a topic that is none.
    pub fn publish(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<usize, PublishError> {
        if qos == QoS::ExactlyOnce {
            return Err(PublishError::ExactlyOnce);
        }
        topic::check_topic(topic).map_err(|(rule, _, expected)| EncodeError::Topic {
            topic: topic.to_owned(),
            expected,
            statement: rule.statement(Version::V5),
        })?;
        let message = Message {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain,
            properties: Vec::new(),
            expires: None,
        };
        Ok(self.route(now, Arc::new(message), None))
    }

    /// Ends the connection of a client; `false` if it has none. With a reason code, an MQTT 5 client is told first.
    pub fn disconnect(&mut self, now: Time, client_id: &str, how: How, code: Option<u8>) -> bool {
        let conn = self.sessions.find(client_id).and_then(|key| self.sessions.get(key)?.conn);
        let Some(conn) = conn else { return false };
        if let Some(code) = code {
            self.say_disconnect(conn, code);
        }
        self.lose(now, conn, Some(how), "the test disconnected it".to_owned(), false);
        true
    }

    /// The clients that have a session.
    pub fn clients(&self) -> impl Iterator<Item = ClientInfo> {
        self.sessions.iter().map(|session| ClientInfo {
            client_id: session.client_id.clone(),
            conn: session.conn,
            filters: session.filters.clone(),
            queued: session.queue.len() + session.backlog.len(),
            in_flight: session.in_flight.len(),
            dropped: session.dropped_total,
        })
    }

    /// The retained message of a topic.
    #[must_use]
    pub fn retained(&self, topic: &str) -> Option<Arc<[u8]>> {
        self.retained.get(topic).map(|message| message.payload.clone())
    }

    /// Forgets every retained message.
    pub fn clear_retained(&mut self) {
        self.retained.clear();
    }

    fn open(&mut self, now: Time, conn: Conn, peer: &Peer) {
        let link = Link {
            address: peer.address.clone(),
            version: Version::V311,
            deframer: Deframer::limited(self.config.maximum_packet),
            out: Vec::new(),
            ready: false,
            handed: 0,
            session: None,
            will: None,
            keep_alive: Duration::ZERO,
            last_heard: now,
            maximum_packet: usize::MAX,
            window: self.config.in_flight,
        };
        self.links.insert(conn, link);
        self.alarm(now + self.config.connect_timeout, Alarm::Connect(conn));
    }

    fn alarm(&mut self, at: Time, alarm: Alarm) {
        // Alarms of connections long gone must not pile up.
        if self.alarms.len() > 4 * self.links.len() + 4096 {
            let (links, sessions) = (&self.links, &self.sessions);
            self.alarms.retain(|Reverse((_, alarm))| match alarm {
                Alarm::Connect(conn) | Alarm::Silence(conn) => links.contains_key(conn),
                Alarm::Session(key) => sessions.get(*key).is_some(),
            });
        }
        self.alarms.push(Reverse((at, alarm)));
    }

    /// Appends a packet to the output of a connection.
    fn send(&mut self, conn: Conn, packet: &Packet) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let start = link.out.len();
        // What the broker builds itself always encodes; what is larger than the client takes is not sent.
        if encode(packet, link.version, &mut link.out).is_err() || link.out.len() - start > link.maximum_packet {
            link.out.truncate(start);
        }
        Self::mark_ready(&mut self.ready, conn, link);
    }

    fn mark_ready(ready: &mut VecDeque<Conn>, conn: Conn, link: &mut Link) {
        if !link.ready && !link.out.is_empty() {
            link.ready = true;
            ready.push_back(conn);
        }
    }

    /// Says DISCONNECT with a reason, which only MQTT 5 can.
    fn say_disconnect(&mut self, conn: Conn, code: u8) {
        if self.links.get(&conn).is_some_and(|link| link.version == Version::V5 && link.session.is_some()) {
            self.send(conn, &Packet::Disconnect(Disconnect { code, properties: Properties::none() }));
        }
    }

    /// Ends a connection. Unless it ended gracefully, the will is published or begins to wait.
    fn lose(&mut self, now: Time, conn: Conn, how: Option<How>, why: String, graceful: bool) {
        let Some(link) = self.links.remove(&conn) else { return };
        match how {
            Some(How::Rst) => self.closing.push_back((conn, Vec::new(), How::Rst)),
            Some(how) => self.closing.push_back((conn, link.out, how)),
            None => {}
        }
        let Some(key) = link.session else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.conn = None;
        // QoS 0 is not kept for clients that are away.
        session.backlog.clear();
        let (client_id, expiry) = (session.client_id.clone(), session.expiry);
        self.tell_drops(key);
        self.events.push_back(BrokerEvent::Disconnected { conn, client_id, why, graceful });
        if let (Some(will), false) = (link.will, graceful) {
            self.begin_will(now, key, will, expiry);
        }
        match expiry {
            Some(Duration::ZERO) => self.end_session(now, key),
            Some(expiry) => {
                let ends = now + expiry;
                if let Some(session) = self.sessions.get_mut(key) {
                    session.ends = Some(ends);
                }
                self.alarm(ends, Alarm::Session(key));
            }
            None => {}
        }
    }

    /// A will waits for its delay or the end of the session, whichever is first (5.0, 3.1.3.2.2).
    fn begin_will(&mut self, now: Time, key: Key, will: Will, expiry: Option<Duration>) {
        let delay = Duration::from_secs(u64::from(will.properties.will_delay().copied().unwrap_or(0)));
        let delay = expiry.map_or(delay, |expiry| delay.min(expiry));
        if delay.is_zero() {
            return self.publish_will(now, key, will);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.will = Some((now + delay, will));
            self.alarm(now + delay, Alarm::Session(key));
        }
    }

    fn publish_will(&mut self, now: Time, key: Key, will: Will) {
        let Some(session) = self.sessions.get(key) else { return };
        let client_id = session.client_id.clone();
        self.events.push_back(BrokerEvent::Will { client_id, topic: will.topic.clone() });
        let Will { topic, payload, qos, retain, properties } = will;
        let message = Self::message(now, topic, payload, qos, retain, properties);
        self.route(now, Arc::new(message), Some(key));
    }

    fn end_session(&mut self, now: Time, key: Key) {
        let will = self.sessions.get_mut(key).and_then(|session| session.will.take());
        if let Some((_, will)) = will {
            self.publish_will(now, key, will);
        }
        let Some(session) = self.sessions.remove(key) else { return };
        for filter in &session.filters {
            self.router.unsubscribe(filter, key);
        }
    }

    fn connect_alarm(&mut self, now: Time, conn: Conn) {
        if self.links.get(&conn).is_some_and(|link| link.session.is_none()) {
            self.lose(now, conn, Some(How::Rst), "no CONNECT came".to_owned(), false);
        }
    }

    fn silence_alarm(&mut self, now: Time, conn: Conn) {
        let Some(link) = self.links.get(&conn) else { return };
        let Some(due) = link.silent_at() else { return };
        if now < due {
            return self.alarm(due, Alarm::Silence(conn));
        }
        let silence = now.since(link.last_heard);
        self.say_disconnect(conn, 0x8d);
        let why = format!("silent for {silence:?}, one and a half times its keep alive [MQTT-3.1.2-24]");
        self.lose(now, conn, Some(How::Fin), why, false);
    }

    fn session_alarm(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.conn.is_some() {
            return;
        }
        let ends = session.ends.is_some_and(|end| now >= end);
        if let Some((_, will)) = session.will.take_if(|(due, _)| now >= *due) {
            self.publish_will(now, key, will);
        }
        if ends {
            self.end_session(now, key);
        }
    }

    fn tell_drops(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let messages = std::mem::take(&mut session.dropped);
        if messages > 0 {
            let client_id = session.client_id.clone();
            self.events.push_back(BrokerEvent::Dropped { client_id, messages });
        }
    }
}

impl Endpoint for Broker {
    type Event = BrokerEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, peer) => self.open(now, conn, peer),
            Input::Bytes(conn, bytes, stamps) => self.receive(now, conn, bytes, stamps),
            Input::Writable(conn) => self.writable(now, conn),
            Input::Closed(conn, why) => {
                let (how, why) = match why {
                    Why::Finished => (Some(How::Fin), "it closed the connection without DISCONNECT"),
                    Why::Reset => (None, "it reset the connection"),
                    Why::HungUp => (None, "the port went away"),
                    Why::Local | Why::Refused { .. } => (None, "the connection was closed on our side"),
                };
                self.lose(now, conn, how, why.to_owned(), false);
            }
            Input::Datagram(..) | Input::Line(..) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some(Reverse((due, alarm))) = self.alarms.peek().copied() {
            if due > now {
                return;
            }
            self.alarms.pop();
            match alarm {
                Alarm::Connect(conn) => self.connect_alarm(now, conn),
                Alarm::Silence(conn) => self.silence_alarm(now, conn),
                Alarm::Session(key) => self.session_alarm(now, key),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.alarms.peek().map(|Reverse((due, _))| *due)
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let start = out.len();
        while let Some(conn) = self.ready.pop_front() {
            let Some(link) = self.links.get_mut(&conn) else { continue };
            link.ready = false;
            link.handed += link.out.len();
            out.append(&mut link.out);
            if out.len() > start {
                return Some(Action::send(conn, start..out.len()));
            }
        }
        let (conn, last_words, how) = self.closing.front_mut()?;
        if last_words.is_empty() {
            let action = Action::Close(*conn, *how);
            self.closing.pop_front();
            return Some(action);
        }
        out.append(last_words);
        Some(Action::send(*conn, start..out.len()))
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }
}
