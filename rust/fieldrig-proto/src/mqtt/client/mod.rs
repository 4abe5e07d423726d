//! An MQTT client: one connection, many commands in flight.
//!
//! Rules of this file:
//! - CONNECT leaves on `Opened`; commands are refused until the broker accepted (`Connected`).
//! - A QoS 1 publish, a subscribe and an unsubscribe each end in exactly one event with their ticket: the answer, or
//!   `Failed`. A QoS 0 publish ends when it is handed out; its ticket is never outstanding and has no event.
//! - Packet identifiers are not 0 and unused among all outstanding requests [MQTT-2.2.1-3].
//! - Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2].
//! - PINGREQ leaves after three quarters of the keep alive without another packet, so that the gap between packets
//!   stays below the keep alive [MQTT-3.1.2-23] whatever the driver needs to send it. No PINGRESP in time: lost.
//! - The limits the broker announces are kept: Receive Maximum (further publishes wait), Maximum QoS, Retain Available,
//!   Maximum Packet Size, Server Keep Alive.
//! - Nothing is resent after a reconnect yet: what was outstanding fails with the connection. Resending with DUP
//!   [MQTT-4.4.0-1] and QoS 2 belong to the MQTT issue.
//!
//! ```
//! use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input, Peer};
//! use fieldrig_proto::mqtt::client::{Client, ClientConfig};
//! use fieldrig_proto::time::Time;
//! let mut client = Client::new(ClientConfig { client_id: "bench".into(), ..ClientConfig::default() });
//! client.handle(Time::ZERO, Input::Opened(Conn(0), &Peer::default()));
//! let mut out = Vec::new();
//! assert!(matches!(client.poll_action(&mut out), Some(Action::Send { .. })));
//! assert_eq!(out[0], 0x10, "CONNECT is the first packet");
//! assert!(client.publish(Time::ZERO, "a", b"x", Default::default(), false).is_err(), "not accepted yet");
//! ```

mod event;
mod inbox;
mod receive;

pub use event::{ClientEvent, CommandError, Message, Ticket};

pub(in crate::mqtt) use event::{kept, violation_record};

use super::deframer::Deframer;
use super::encode::{check_publish, encode, encode_publish};
use super::packet::{Disconnect, Packet, PublishView, QoS, Subscribe, Subscription, Unsubscribe, Version, Will};
use super::property::{Properties, Property};
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Why};
use crate::time::{Duration, Time};
use inbox::Inbox;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How a client introduces itself and what it waits for.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientConfig {
    /// Protocol version.
    pub version: Version,
    /// Client identifier.
    pub client_id: String,
    /// Begin without an old session.
    pub clean_start: bool,
    /// Keep alive in seconds; 0 is none.
    pub keep_alive: u16,
    /// The message to publish when we are lost.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Properties of CONNECT (5.0).
    pub properties: Properties,
    /// How long the CONNACK may take.
    pub connect_timeout: Duration,
    /// How long a PINGRESP may take.
    pub ping_timeout: Duration,
    /// Largest packet we take; announced in MQTT 5 if it is below the largest possible.
    pub maximum_packet: usize,
    /// How many messages the inbox keeps.
    pub inbox_messages: usize,
    /// How many bytes of payload the inbox keeps.
    pub inbox_bytes: usize,
}

impl Default for ClientConfig {
    /// MQTT 5, clean start, 30 s keep alive, 10 s for CONNACK and PINGRESP, an inbox of 65536 messages and 64 MiB.
    fn default() -> ClientConfig {
        ClientConfig {
            version: Version::V5,
            client_id: String::new(),
            clean_start: true,
            keep_alive: 30,
            will: None,
            username: None,
            password: None,
            properties: Properties::none(),
            connect_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            maximum_packet: usize::MAX,
            inbox_messages: 65_536,
            inbox_bytes: 64 << 20,
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Idle,
    /// CONNECT is out; CONNACK is due.
    Connecting(Conn, Time),
    Connected(Conn),
}

/// A request that waits for its answer, by packet identifier.
#[derive(Copy, Clone, Debug)]
enum Pending {
    Publish(Ticket),
    Subscribe(Ticket, usize),
    Unsubscribe(Ticket, usize),
}

impl Pending {
    fn ticket(self) -> Ticket {
        match self {
            Pending::Publish(ticket) | Pending::Subscribe(ticket, _) | Pending::Unsubscribe(ticket, _) => ticket,
        }
    }
}

/// A QoS 1 message that waits for room below Receive Maximum [MQTT-3.3.4-7].
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    topic: Arc<str>,
    payload: Arc<[u8]>,
    retain: bool,
    properties: Properties,
}

/// What the broker takes.
#[derive(Copy, Clone, Debug)]
struct Limits {
    receive_maximum: usize,
    maximum_qos: u8,
    retain: bool,
    maximum_packet: usize,
    topic_alias: u16,
    subscription_ids: bool,
}

impl Limits {
    const NONE: Limits = Limits {
        receive_maximum: 65_535,
        maximum_qos: 2,
        retain: true,
        maximum_packet: usize::MAX,
        topic_alias: 0,
        subscription_ids: true,
    };
}

/// An MQTT client. The rules stand at the top of this file.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    /// Why there is no connection.
    down: String,
    limits: Limits,
    keep_alive: Duration,
    last_sent: Time,
    pong_due: Option<Time>,
    deframer: Deframer,
    out: Vec<u8>,
    /// Connections to close, each with what is still to be sent on it.
    closing: VecDeque<(Conn, Vec<u8>, How)>,
    events: VecDeque<ClientEvent>,
    pending: HashMap<u16, Pending>,
    in_flight: usize,
    waiting: VecDeque<Waiting>,
    next_id: u16,
    next_ticket: u64,
    inbox: Inbox,
    assigned_id: Option<String>,
}

impl Client {
    /// A client that connects when it is given a connection.
    #[must_use]
    pub fn new(config: ClientConfig) -> Client {
        Client {
            state: State::Idle,
            down: "no connection was opened yet".to_owned(),
            limits: Limits::NONE,
            keep_alive: Duration::from_secs(u64::from(config.keep_alive)),
            last_sent: Time::ZERO,
            pong_due: None,
            deframer: Deframer::limited(config.maximum_packet),
            out: Vec::new(),
            closing: VecDeque::new(),
            events: VecDeque::new(),
            pending: HashMap::new(),
            in_flight: 0,
            waiting: VecDeque::new(),
            next_id: 1,
            next_ticket: 0,
            inbox: Inbox::new(config.inbox_messages, config.inbox_bytes),
            assigned_id: None,
            config,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The client identifier in use: the one the broker assigned (5.0), or the configured one.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.assigned_id.as_deref().unwrap_or(&self.config.client_id)
    }

    /// Whether the broker has accepted us.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether a command still waits for its answer.
    #[must_use]
    pub fn is_outstanding(&self, ticket: Ticket) -> bool {
        self.pending.values().any(|pending| pending.ticket() == ticket)
            || self.waiting.iter().any(|waiting| waiting.ticket == ticket)
    }

    /// How many commands wait for their answer.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len() + self.waiting.len()
    }

    /// The sequence number the next message will have: a cursor for [`Client::messages_since`].
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.inbox.next()
    }

    /// The received messages from `cursor` on, oldest first.
    pub fn messages_since(&self, cursor: u64) -> impl Iterator<Item = &Message> {
        self.inbox.since(cursor)
    }

    /// How many messages fell out of the inbox unread or read.
    #[must_use]
    pub fn messages_lost(&self) -> u64 {
        self.inbox.lost()
    }

    /// Publishes a message. See the top of this file for what follows at each QoS.
    ///
    /// # Errors
    /// No connection, QoS 2, a limit the broker announced, a topic or size that cannot be encoded.
    pub fn publish(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Ticket, CommandError> {
        self.publish_with(now, topic, payload, qos, retain, &Properties::none())
    }

    /// Publishes a message with properties (5.0).
    ///
    /// # Errors
    /// Those of [`Client::publish`].
    pub fn publish_with(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        properties: &Properties,
    ) -> Result<Ticket, CommandError> {
        self.connected()?;
        let mut view = PublishView { dup: false, qos, retain, topic, packet_id: 0, properties: &properties.0, payload };
        self.check_limits(&view)?;
        check_publish(&view, self.config.version)?;
        if qos == QoS::AtLeastOnce && self.in_flight >= self.limits.receive_maximum {
            let ticket = self.ticket();
            let (topic, payload) = (Arc::from(topic), Arc::from(payload));
            self.waiting.push_back(Waiting { ticket, topic, payload, retain, properties: properties.clone() });
            return Ok(ticket);
        }
        if qos == QoS::AtLeastOnce {
            view.packet_id = self.free_id()?;
        }
        self.write_publish(now, &view)?;
        let ticket = self.ticket();
        if view.packet_id != 0 {
            self.pending.insert(view.packet_id, Pending::Publish(ticket));
            self.in_flight += 1;
        }
        Ok(ticket)
    }

    /// Subscribes to a filter. The answer is `Subscribed`.
    ///
    /// # Errors
    /// No connection, QoS 2, a filter that is none.
    pub fn subscribe(&mut self, now: Time, filter: &str, qos: QoS) -> Result<Ticket, CommandError> {
        self.subscribe_all(now, vec![Subscription::new(filter, qos)])
    }

    /// Subscribes to several filters in one packet.
    ///
    /// # Errors
    /// Those of [`Client::subscribe`].
    pub fn subscribe_all(&mut self, now: Time, subscriptions: Vec<Subscription>) -> Result<Ticket, CommandError> {
        self.subscribe_with(now, subscriptions, Properties::none())
    }

    /// Subscribes to a filter under an identifier, which then stands in every message that comes because of it: two
    /// subscriptions that overlap can be told apart. On 3.1.1, and if the broker knows no identifiers
    /// [MQTT-3.2.2-25], without one.
    ///
    /// # Errors
    /// Those of [`Client::subscribe`].
    pub fn subscribe_as(&mut self, now: Time, filter: &str, qos: QoS, identifier: u32) -> Result<Ticket, CommandError> {
        let known = self.config.version == Version::V5 && self.limits.subscription_ids;
        let properties = known.then_some(Property::SubscriptionIdentifier(identifier)).into_iter().collect();
        self.subscribe_with(now, vec![Subscription::new(filter, qos)], Properties(properties))
    }

    fn subscribe_with(
        &mut self,
        now: Time,
        subscriptions: Vec<Subscription>,
        properties: Properties,
    ) -> Result<Ticket, CommandError> {
        self.connected()?;
        if subscriptions.iter().any(|subscription| subscription.qos == QoS::ExactlyOnce) {
            return Err(CommandError::ExactlyOnce);
        }
        let (packet_id, count) = (self.free_id()?, subscriptions.len());
        self.send(now, &Packet::Subscribe(Subscribe { packet_id, properties, subscriptions }))?;
        let ticket = self.ticket();
        self.pending.insert(packet_id, Pending::Subscribe(ticket, count));
        Ok(ticket)
    }

    /// Ends the subscription to a filter. The answer is `Unsubscribed`.
    ///
    /// # Errors
    /// No connection, a filter that is none.
    pub fn unsubscribe(&mut self, now: Time, filter: &str) -> Result<Ticket, CommandError> {
        self.connected()?;
        let packet_id = self.free_id()?;
        let filters = vec![Arc::from(filter)];
        self.send(now, &Packet::Unsubscribe(Unsubscribe { packet_id, properties: Properties::none(), filters }))?;
        let ticket = self.ticket();
        self.pending.insert(packet_id, Pending::Unsubscribe(ticket, 1));
        Ok(ticket)
    }

    /// Says DISCONNECT and closes. What is outstanding fails.
    pub fn disconnect(&mut self, now: Time) {
        if self.is_connected() {
            // A DISCONNECT without properties always encodes.
            let _ = self.send(now, &Packet::Disconnect(Disconnect::default()));
        }
        self.lose(Some(How::Fin), "we disconnected".to_owned(), None);
    }

    /// Breaks the connection off without a word (TCP RST): the broker publishes the will.
    pub fn abort(&mut self) {
        self.lose(Some(How::Rst), "we broke the connection off".to_owned(), None);
    }

    /// Sends bytes as they are, e.g. those of a [`RawPacket`](super::RawPacket).
    ///
    /// # Errors
    /// No connection. It need not be accepted yet.
    pub fn send_raw(&mut self, now: Time, bytes: &[u8]) -> Result<(), CommandError> {
        if self.state == State::Idle {
            return Err(CommandError::NotConnected(self.down.clone()));
        }
        self.out.extend_from_slice(bytes);
        self.last_sent = now;
        Ok(())
    }

    /// Forgets connection, timers and outstanding commands without events: the power is gone.
    pub fn reset(&mut self) {
        self.forget("the device has no power".to_owned());
        self.out.clear();
        self.closing.clear();
    }

    fn connected(&self) -> Result<(), CommandError> {
        match self.state {
            State::Connected(_) => Ok(()),
            State::Connecting(..) => Err(CommandError::NotConnected("the broker has not accepted us yet".to_owned())),
            State::Idle => Err(CommandError::NotConnected(self.down.clone())),
        }
    }

    fn check_limits(&self, publish: &PublishView<'_>) -> Result<(), CommandError> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(CommandError::ExactlyOnce);
        }
        if publish.qos as u8 > self.limits.maximum_qos {
            return Err(CommandError::MaximumQoS(self.limits.maximum_qos));
        }
        if publish.retain && !self.limits.retain {
            return Err(CommandError::RetainUnavailable);
        }
        let maximum = self.limits.topic_alias;
        match publish.properties.iter().find(|property| matches!(property, Property::TopicAlias(_))) {
            Some(Property::TopicAlias(alias)) if *alias > maximum => {
                Err(CommandError::TopicAlias { alias: *alias, maximum })
            }
            _ => Ok(()),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// A packet identifier that nothing waits for [MQTT-2.2.1-3].
    fn free_id(&mut self) -> Result<u16, CommandError> {
        for _ in 0..=u16::MAX {
            let id = self.next_id;
            self.next_id = id.checked_add(1).unwrap_or(1);
            if id != 0 && !self.pending.contains_key(&id) {
                return Ok(id);
            }
        }
        Err(CommandError::NoPacketId)
    }

    fn write_publish(&mut self, now: Time, publish: &PublishView<'_>) -> Result<(), CommandError> {
        let start = self.out.len();
        encode_publish(publish, self.config.version, &mut self.out)?;
        self.check_size(start)?;
        self.last_sent = now;
        Ok(())
    }

    fn send(&mut self, now: Time, packet: &Packet) -> Result<(), CommandError> {
        let start = self.out.len();
        encode(packet, self.config.version, &mut self.out)?;
        self.check_size(start)?;
        self.last_sent = now;
        Ok(())
    }

    /// Takes a packet back that is larger than the broker takes [MQTT-3.2.2-15].
    fn check_size(&mut self, start: usize) -> Result<(), CommandError> {
        let (size, maximum) = (self.out.len() - start, self.limits.maximum_packet);
        if size > maximum {
            self.out.truncate(start);
            return Err(CommandError::TooLarge { size, maximum });
        }
        Ok(())
    }

    /// Ends the connection: everything outstanding fails, then `Lost`.
    fn lose(&mut self, how: Option<How>, why: String, code: Option<u8>) {
        let (State::Connecting(conn, _) | State::Connected(conn)) = self.state else { return };
        let mut tickets: Vec<Ticket> = self.pending.values().map(|pending| pending.ticket()).collect();
        tickets.extend(self.waiting.iter().map(|waiting| waiting.ticket));
        tickets.sort_unstable();
        for ticket in tickets {
            self.events.push_back(ClientEvent::Failed { ticket, why: why.clone() });
        }
        let last_words = std::mem::take(&mut self.out);
        match how {
            Some(How::Rst) => self.closing.push_back((conn, Vec::new(), How::Rst)),
            Some(how) => self.closing.push_back((conn, last_words, how)),
            None => {}
        }
        self.events.push_back(ClientEvent::Lost { why: why.clone(), code });
        self.forget(why);
    }

    fn forget(&mut self, why: String) {
        self.state = State::Idle;
        self.down = why;
        self.limits = Limits::NONE;
        self.pong_due = None;
        self.deframer = Deframer::limited(self.config.maximum_packet);
        self.pending.clear();
        self.waiting.clear();
        self.in_flight = 0;
        self.assigned_id = None;
    }
}

impl Endpoint for Client {
    type Event = ClientEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) if self.state == State::Idle => self.open(now, conn),
            // One connection at a time: a second one is turned away.
            Input::Opened(conn, _) => self.closing.push_back((conn, Vec::new(), How::Rst)),
            Input::Bytes(conn, bytes, stamps) if self.is_live(conn) => self.receive(now, bytes, stamps),
            Input::Closed(conn, why) if self.is_live(conn) => self.closed(why),
            Input::Closed(_, Why::Refused { reason, .. }) if self.state == State::Idle => {
                self.down = format!("the connection could not be made: {reason}");
                self.events.push_back(ClientEvent::Lost { why: self.down.clone(), code: None });
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let State::Connecting(_, due) = self.state
            && now >= due
        {
            let limit = self.config.connect_timeout;
            self.lose(Some(How::Rst), format!("no CONNACK within {limit:?}"), None);
        }
        if self.pong_due.is_some_and(|due| now >= due) {
            let limit = self.config.ping_timeout;
            self.lose(Some(How::Rst), format!("no PINGRESP within {limit:?}"), None);
        }
        if self.ping_due().is_some_and(|due| now >= due) {
            // A PINGREQ always encodes and fits.
            let _ = self.send(now, &Packet::PingReq);
            self.pong_due.get_or_insert(now + self.config.ping_timeout);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self.state {
            State::Idle => None,
            State::Connecting(_, due) => Some(due),
            State::Connected(_) => self.ping_due().into_iter().chain(self.pong_due).min(),
        }
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let start = out.len();
        if let Some((conn, last_words, how)) = self.closing.front_mut() {
            if last_words.is_empty() {
                let action = Action::Close(*conn, *how);
                self.closing.pop_front();
                return Some(action);
            }
            out.append(last_words);
            return Some(Action::send(*conn, start..out.len()));
        }
        let (State::Connecting(conn, _) | State::Connected(conn)) = self.state else { return None };
        if self.out.is_empty() {
            return None;
        }
        out.append(&mut self.out);
        Some(Action::send(conn, start..out.len()))
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }
}
