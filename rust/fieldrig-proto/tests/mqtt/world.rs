//! A world on virtual time: one broker, many clients, wires without delay.

use fieldrig_proto::endpoint::{Action, Conn, Endpoint, HIGH_WATER, How, Input, Peer, Stamps, Why};
use fieldrig_proto::mqtt::broker::{Broker, BrokerConfig, BrokerEvent};
use fieldrig_proto::mqtt::client::{Client, ClientConfig, ClientEvent};
use fieldrig_proto::mqtt::{ConnAck, Deframer, Packet, Properties, Publish, QoS, Version, Will, decode, encode};
use fieldrig_proto::time::{Duration, Stamp, Time};

pub(crate) fn config(client_id: &str, version: Version) -> ClientConfig {
    ClientConfig { client_id: client_id.to_owned(), version, ..ClientConfig::default() }
}

pub(crate) fn will(topic: &str, retain: bool) -> Will {
    let qos = QoS::AtLeastOnce;
    Will { topic: topic.into(), payload: (*b"gone").into(), qos, retain, properties: Properties::none() }
}

pub(crate) fn packet_id(packet: &Packet) -> u16 {
    match packet {
        Packet::Publish(publish) => publish.packet_id,
        Packet::Subscribe(subscribe) => subscribe.packet_id,
        other => panic!("no identifier in {other:?}"),
    }
}

/// The far end of one connection of the broker.
struct End {
    client: Option<Client>,
    /// Bytes for a raw peer, or held back by a stalled one.
    received: Vec<u8>,
    /// First byte of each write of the client, with its instant.
    writes: Vec<(u8, Time)>,
    handed: usize,
    stalled: bool,
    /// The network swallows everything.
    cut: bool,
    closed: bool,
    seen: u64,
    events: Vec<ClientEvent>,
    connack: Properties,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) broker: Broker,
    ends: Vec<End>,
    broker_events: Vec<BrokerEvent>,
}

/// On its own side, every client has this connection.
const OWN: Conn = Conn(1);

impl World {
    pub(crate) fn new() -> World {
        World::with(BrokerConfig::default())
    }

    pub(crate) fn with(config: BrokerConfig) -> World {
        World { now: Time::ZERO, broker: Broker::new(config), ends: Vec::new(), broker_events: Vec::new() }
    }

    fn add(&mut self, client: Option<Client>) -> usize {
        let end = End {
            client,
            received: Vec::new(),
            writes: Vec::new(),
            handed: 0,
            stalled: false,
            cut: false,
            closed: false,
            seen: 0,
            events: Vec::new(),
            connack: Properties::none(),
        };
        self.ends.push(end);
        let index = self.ends.len() - 1;
        let peer = Peer { address: format!("memory-{index}"), ..Peer::default() };
        self.broker.handle(self.now, Input::Opened(Conn(index as u32), &peer));
        index
    }

    pub(crate) fn connect(&mut self, config: ClientConfig) -> usize {
        let mut client = Client::new(config);
        client.handle(self.now, Input::Opened(OWN, &Peer::default()));
        let index = self.add(Some(client));
        self.settle();
        assert!(self.client(index).is_connected(), "{:?}", self.ends[index].events);
        index
    }

    pub(crate) fn raw(&mut self) -> Raw {
        let raw = Raw { index: self.add(None), deframer: Deframer::default() };
        self.settle();
        raw
    }

    pub(crate) fn client(&self, index: usize) -> &Client {
        self.ends[index].client.as_ref().unwrap()
    }

    pub(crate) fn command<R>(&mut self, index: usize, command: impl FnOnce(&mut Client, Time) -> R) -> R {
        let now = self.now;
        let result = command(self.ends[index].client.as_mut().unwrap(), now);
        self.settle();
        result
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        self.broker.publish(self.now, topic, payload, QoS::AtLeastOnce, retain).unwrap();
        self.settle();
    }

    pub(crate) fn broker_publish(&mut self, topic: &str, payload: &[u8], qos: QoS) {
        self.broker.publish(self.now, topic, payload, qos, false).unwrap();
        self.settle();
    }

    pub(crate) fn input_to_broker(&mut self, index: usize, input: impl FnOnce(Conn) -> Input<'static>) {
        self.broker.handle(self.now, input(Conn(index as u32)));
        self.settle();
    }

    /// Moves bytes until nothing moves.
    pub(crate) fn settle(&mut self) {
        while self.step_broker() | self.step_clients() {}
    }

    fn step_broker(&mut self) -> bool {
        let (mut out, mut actions) = (Vec::new(), Vec::new());
        while let Some(action) = self.broker.poll_action(&mut out) {
            actions.push(action);
        }
        while let Some(event) = self.broker.poll_event() {
            self.broker_events.push(event);
        }
        let moved = !actions.is_empty();
        for action in actions {
            match action {
                Action::Send { conn, range, .. } => self.give_end(conn, &out[range]),
                Action::Close(conn, how) => self.close_end(conn, how),
                other => panic!("{other:?}"),
            }
        }
        moved
    }

    fn give_end(&mut self, conn: Conn, bytes: &[u8]) {
        let end = &mut self.ends[conn.0 as usize];
        end.handed += bytes.len();
        if end.stalled || end.client.is_none() {
            end.received.extend_from_slice(bytes);
        } else if !end.cut {
            deliver(end, self.now, bytes);
        }
        if !end.stalled && end.handed >= HIGH_WATER {
            end.handed = 0;
            self.broker.handle(self.now, Input::Writable(conn));
        }
    }

    fn close_end(&mut self, conn: Conn, how: How) {
        let end = &mut self.ends[conn.0 as usize];
        end.closed = true;
        let why = if how == How::Rst { Why::Reset } else { Why::Finished };
        if let (Some(client), false) = (&mut end.client, end.cut) {
            client.handle(self.now, Input::Closed(OWN, why));
        }
    }

    fn step_clients(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.ends.len() {
            let end = &mut self.ends[index];
            let Some(client) = &mut end.client else { continue };
            let (mut out, mut actions) = (Vec::new(), Vec::new());
            while let Some(action) = client.poll_action(&mut out) {
                actions.push(action);
            }
            while let Some(event) = client.poll_event() {
                if let ClientEvent::Connected { properties, .. } = &event {
                    end.connack = properties.clone();
                }
                end.events.push(event);
            }
            moved |= !actions.is_empty();
            let cut = end.cut;
            for action in actions {
                match action {
                    Action::Send { range, .. } => {
                        self.ends[index].writes.push((out[range.start], self.now));
                        if !cut {
                            self.give_broker(index, &out[range]);
                        }
                    }
                    Action::Close(_, how) if !cut => {
                        let why = if how == How::Rst { Why::Reset } else { Why::Finished };
                        self.broker.handle(self.now, Input::Closed(Conn(index as u32), why));
                    }
                    _ => {}
                }
            }
        }
        moved
    }

    fn give_broker(&mut self, index: usize, bytes: &[u8]) {
        let stamps = Stamps::One(Stamp::exact(self.now));
        self.broker.handle(self.now, Input::Bytes(Conn(index as u32), bytes, stamps));
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        let clients = self.ends.iter().filter_map(|end| end.client.as_ref()?.poll_timeout());
        clients.chain(self.broker.poll_timeout()).min()
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            if self.broker.poll_timeout().is_some_and(|due| due <= self.now) {
                self.broker.handle_timeout(self.now);
            }
            for end in &mut self.ends {
                if let Some(client) = &mut end.client
                    && client.poll_timeout().is_some_and(|due| due <= self.now)
                {
                    client.handle_timeout(self.now);
                }
            }
            self.settle();
            assert!(self.next_due().is_none_or(|due| due > self.now), "a time-out stands still");
        }
        self.now = end;
    }

    /// From now on nothing passes between this client and the broker, and neither learns it.
    pub(crate) fn cut_silently(&mut self, index: usize) {
        self.ends[index].cut = true;
    }

    pub(crate) fn stall(&mut self, index: usize) {
        let end = &mut self.ends[index];
        end.stalled = true;
    }

    pub(crate) fn stalled_bytes(&self, index: usize) -> usize {
        self.ends[index].received.len()
    }

    pub(crate) fn release(&mut self, index: usize) {
        let end = &mut self.ends[index];
        end.stalled = false;
        let bytes = std::mem::take(&mut end.received);
        deliver(end, self.now, &bytes);
        if end.handed >= HIGH_WATER {
            end.handed = 0;
            self.broker.handle(self.now, Input::Writable(Conn(index as u32)));
        }
        self.settle();
    }

    pub(crate) fn events(&mut self, index: usize) -> Vec<ClientEvent> {
        std::mem::take(&mut self.ends[index].events)
    }

    pub(crate) fn broker_events(&mut self) -> Vec<BrokerEvent> {
        std::mem::take(&mut self.broker_events)
    }

    pub(crate) fn session_present(&self, index: usize) -> bool {
        let connected = |event: &ClientEvent| match event {
            ClientEvent::Connected { session_present, .. } => Some(*session_present),
            _ => None,
        };
        self.ends[index].events.iter().find_map(connected).unwrap()
    }

    pub(crate) fn connack_properties(&self, index: usize) -> Properties {
        self.ends[index].connack.clone()
    }

    /// The new messages of a client: topic, QoS, payload, and `retain` if it is set.
    pub(crate) fn messages(&mut self, index: usize) -> Vec<String> {
        let end = &mut self.ends[index];
        let client = end.client.as_ref().unwrap();
        let text = client
            .messages_since(end.seen)
            .map(|message| {
                let payload = String::from_utf8_lossy(&message.payload);
                let retain = if message.retain { " retain" } else { "" };
                format!("{} {} {payload}{retain}", message.topic, message.qos as u8)
            })
            .collect();
        end.seen = client.cursor();
        text
    }

    /// When this client wrote packets beginning with `first`.
    pub(crate) fn sent(&self, index: usize, first: u8) -> Vec<Time> {
        self.ends[index].writes.iter().filter(|(byte, _)| *byte == first).map(|(_, at)| *at).collect()
    }
}

fn deliver(end: &mut End, now: Time, bytes: &[u8]) {
    if let Some(client) = &mut end.client {
        client.handle(now, Input::Bytes(OWN, bytes, Stamps::One(Stamp::exact(now))));
    }
}

/// A peer of the broker that is no client, only bytes.
pub(crate) struct Raw {
    index: usize,
    deframer: Deframer,
}

impl Raw {
    pub(crate) fn send(&mut self, world: &mut World, version: Version, packets: &[Packet]) {
        let mut bytes = Vec::new();
        for packet in packets {
            encode(packet, version, &mut bytes).unwrap();
        }
        self.send_bytes(world, &bytes);
    }

    pub(crate) fn send_bytes(&mut self, world: &mut World, bytes: &[u8]) {
        world.give_broker(self.index, bytes);
        world.settle();
    }

    pub(crate) fn close(&mut self, world: &mut World, why: Why) {
        world.broker.handle(world.now, Input::Closed(Conn(self.index as u32), why));
        world.settle();
    }

    pub(crate) fn bytes(&mut self, world: &mut World) -> Vec<u8> {
        std::mem::take(&mut world.ends[self.index].received)
    }

    pub(crate) fn is_closed(&self, world: &World) -> bool {
        world.ends[self.index].closed
    }

    /// The messages that came, in the version this peer connected with.
    pub(crate) fn publishes(&mut self, world: &mut World) -> Vec<Publish> {
        let bytes = self.bytes(world);
        let mut found = Vec::new();
        self.deframer
            .feed(&bytes, Version::V5, |frame| {
                let packet = decode(frame.bytes, Version::V5).or_else(|_| decode(frame.bytes, Version::V311));
                if let Ok(Packet::Publish(publish)) = packet {
                    found.push(publish);
                }
                true
            })
            .unwrap();
        found
    }
}

/// A client whose broker is the test.
pub(crate) struct ScriptedBroker {
    pub(crate) client: Client,
    pub(crate) now: Time,
    pub(crate) closed: Option<How>,
    version: Version,
    sent: Vec<u8>,
}

impl ScriptedBroker {
    pub(crate) fn new(config: ClientConfig) -> ScriptedBroker {
        let version = config.version;
        let mut client = Client::new(config);
        client.handle(Time::ZERO, Input::Opened(OWN, &Peer::default()));
        let mut peer = ScriptedBroker { client, now: Time::ZERO, closed: None, version, sent: Vec::new() };
        assert!(matches!(&peer.packets()[..], [Packet::Connect(_)]));
        peer
    }

    pub(crate) fn accept(config: ClientConfig, properties: Properties) -> ScriptedBroker {
        let mut peer = ScriptedBroker::new(config);
        peer.answer(&Packet::ConnAck(ConnAck { properties, ..ConnAck::default() }));
        assert!(peer.client.is_connected());
        peer
    }

    pub(crate) fn answer(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes).unwrap();
        self.client.handle(self.now, Input::Bytes(OWN, &bytes, Stamps::One(Stamp::exact(self.now))));
        self.pump();
    }

    pub(crate) fn close(&mut self, why: Why) {
        self.client.handle(self.now, Input::Closed(OWN, why));
        self.pump();
    }

    fn pump(&mut self) {
        let mut out = Vec::new();
        while let Some(action) = self.client.poll_action(&mut out) {
            match action {
                Action::Send { range, .. } => self.sent.extend_from_slice(&out[range]),
                Action::Close(_, how) => self.closed = Some(how),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn packets(&mut self) -> Vec<Packet> {
        self.pump();
        let (bytes, mut found) = (std::mem::take(&mut self.sent), Vec::new());
        Deframer::default()
            .feed(&bytes, self.version, |frame| {
                found.push(decode(frame.bytes, self.version).unwrap());
                true
            })
            .unwrap();
        found
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}
