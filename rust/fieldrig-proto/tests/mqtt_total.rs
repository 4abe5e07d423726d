//! Nothing that arrives makes client, broker or face panic, stand still, or send what they must not.

#![allow(clippy::unwrap_used, reason = "the helpers of these tests fail by panicking")]

use fieldrig_proto::device::{Device, NoModel, PointStore};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input, Peer, Stamps, Why};
use fieldrig_proto::mqtt::broker::{Broker, BrokerConfig};
use fieldrig_proto::mqtt::client::{Client, ClientConfig};
use fieldrig_proto::mqtt::device::{FaceSettings, MqttFace};
use fieldrig_proto::mqtt::{Deframer, Version, decode};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Bytes(u32, Vec<u8>),
    Close(u32, bool),
    Writable(u32),
    Wait(u64),
}

/// Packets that get an endpoint somewhere.
const GOOD: &[&[u8]] = &[
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01a",
    b"\x10\x15\x00\x04MQTT\x04\x06\x00\x0a\x00\x01b\x00\x01w\x00\x03end",
    b"\x10\x13\x00\x04MQTT\x05\x00\x00\x02\x05\x11\x00\x00\x00\x05\x00\x01c",
    b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00",
    b"\x20\x02\x00\x00",
    b"\x20\x03\x00\x00\x00",
    b"\x30\x04\x00\x01tx",
    b"\x31\x05\x00\x01t\x00x",
    b"\x32\x06\x00\x01t\x00\x01x",
    b"\x34\x06\x00\x01t\x00\x02x",
    b"\x40\x02\x00\x01",
    b"\x40\x02\x00\x02",
    b"\x62\x02\x00\x02",
    b"\x82\x06\x00\x01\x00\x01#\x01",
    b"\x82\x07\x00\x01\x00\x00\x01+\x01",
    b"\x90\x03\x00\x01\x01",
    b"\xa2\x05\x00\x03\x00\x01#",
    b"\xc0\x00",
    b"\xd0\x00",
    b"\xe0\x00",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let good = vec(select(GOOD), 1..4).prop_map(|packets| packets.concat());
    let bent = (select(GOOD), any::<usize>(), any::<u8>()).prop_map(|(packet, at, byte)| {
        let mut packet = packet.to_vec();
        let at = at % packet.len();
        packet[at] = byte;
        packet
    });
    let cut = (select(GOOD), any::<usize>()).prop_map(|(packet, at)| packet[..at % packet.len()].to_vec());
    prop_oneof![5 => good, 2 => bent, 2 => cut, 1 => vec(any::<u8>(), 0..40)]
}

fn step() -> impl Strategy<Value = Step> {
    let conn = 0u32..5;
    prop_oneof![
        3 => conn.clone().prop_map(Step::Open),
        9 => (conn.clone(), bytes()).prop_map(|(conn, bytes)| Step::Bytes(conn, bytes)),
        1 => (conn.clone(), any::<bool>()).prop_map(|(conn, half)| Step::Close(conn, half)),
        1 => conn.prop_map(Step::Writable),
        2 => (0u64..20_000).prop_map(Step::Wait),
    ]
}

/// Drives an endpoint by the calling contract and holds it to its side of it. Connections are numbered anew each time
/// they open, as a driver does.
struct Driver<E: Endpoint> {
    endpoint: E,
    now: Time,
    live: BTreeMap<u32, Conn>,
    ever: BTreeSet<Conn>,
    sent: BTreeMap<Conn, Vec<u8>>,
}

impl<E: Endpoint> Driver<E> {
    fn new(endpoint: E) -> Driver<E> {
        Driver { endpoint, now: Time::ZERO, live: BTreeMap::new(), ever: BTreeSet::new(), sent: BTreeMap::new() }
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            self.pump();
        }
    }

    fn step(&mut self, step: &Step) {
        let peer = Peer { via: "uplink".to_owned(), ..Peer::default() };
        let stamps = Stamps::One(Stamp::exact(self.now));
        match step {
            Step::Open(slot) => {
                let conn = Conn(u32::try_from(self.ever.len()).unwrap());
                self.ever.insert(conn);
                self.live.insert(*slot, conn);
                self.endpoint.handle(self.now, Input::Opened(conn, &peer));
            }
            // An unknown connection is input too.
            Step::Bytes(slot, bytes) => self.endpoint.handle(self.now, Input::Bytes(self.conn(*slot), bytes, stamps)),
            Step::Close(slot, half) => {
                let why = if *half { Why::Finished } else { Why::Reset };
                self.endpoint.handle(self.now, Input::Closed(self.conn(*slot), why));
            }
            Step::Writable(slot) => self.endpoint.handle(self.now, Input::Writable(self.conn(*slot))),
            Step::Wait(millis) => self.wait(Duration::from_millis(*millis)),
        }
    }

    fn conn(&self, slot: u32) -> Conn {
        self.live.get(&slot).copied().unwrap_or(Conn(999))
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now);
            self.pump();
            assert!(self.endpoint.poll_timeout().is_none_or(|due| due > self.now), "it stands still");
        }
        self.now = end;
    }

    fn pump(&mut self) {
        let mut out = Vec::new();
        while let Some(action) = self.endpoint.poll_action(&mut out) {
            if let Action::Send { conn, range, .. } = &action {
                assert!(self.ever.contains(conn), "a send on a connection that never was");
                self.sent.entry(*conn).or_default().extend_from_slice(&out[range.clone()]);
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            let record: Record = event.into();
            assert!(!record.kind.is_empty());
        }
    }

    /// Everything that was sent is made of whole packets that a strict receiver of either version takes.
    fn check_sent(&self) {
        for sent in self.sent.values() {
            let mut whole = 0;
            let mut deframer = Deframer::default();
            deframer
                .feed(sent, Version::V5, |frame| {
                    whole += frame.bytes.len();
                    let read = decode(frame.bytes, Version::V5).or_else(|_| decode(frame.bytes, Version::V311));
                    assert!(read.is_ok(), "{read:?}: {:02x?}", frame.bytes);
                    true
                })
                .unwrap();
            assert_eq!(whole, sent.len(), "a torn packet");
        }
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

proptest! {
    #[test]
    fn the_broker_survives_everything(steps in vec(step(), 1..60)) {
        let config = BrokerConfig { queue_messages: 3, in_flight: 2, maximum_packet: 4096, ..BrokerConfig::default() };
        let mut driver = Driver::new(Broker::new(config));
        driver.run(&steps);
        driver.check_sent();
    }

    #[test]
    fn the_client_survives_everything(steps in vec(step(), 1..60), version in version()) {
        let config = ClientConfig { version, keep_alive: 3, inbox_messages: 2, ..ClientConfig::default() };
        let mut driver = Driver::new(Client::new(config));
        driver.run(&steps);
        driver.check_sent();
    }

    #[test]
    fn the_face_survives_everything(steps in vec(step(), 1..60), version in version()) {
        let client = ClientConfig { version, keep_alive: 3, ..ClientConfig::default() };
        let face = MqttFace::new("uplink", FaceSettings::new("tcp://h:1", client));
        let mut device = Device::new("meter", PointStore::new(Vec::new()), Box::new(NoModel), vec![Box::new(face)]);
        device.power_on(Time::ZERO);
        let mut driver = Driver::new(device);
        driver.run(&steps);
        driver.check_sent();
    }

    #[test]
    fn a_broker_answers_the_same_however_its_input_is_cut(
        packets in vec(bytes(), 1..8),
        cuts in vec(1usize..30, 1..20),
    ) {
        let whole = {
            let mut driver = Driver::new(Broker::default());
            driver.run(&[Step::Open(0), Step::Bytes(0, packets.concat())]);
            driver.sent
        };
        let mut steps = vec![Step::Open(0)];
        let (stream, mut at, mut cuts) = (packets.concat(), 0, cuts.into_iter().cycle());
        while at < stream.len() {
            let end = (at + cuts.next().unwrap()).min(stream.len());
            steps.push(Step::Bytes(0, stream[at..end].to_vec()));
            at = end;
        }
        let mut driver = Driver::new(Broker::default());
        driver.run(&steps);
        prop_assert_eq!(driver.sent, whole);
    }
}
