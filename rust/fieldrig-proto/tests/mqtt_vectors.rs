//! The MQTT codec against packets of paho-mqtt and mosquitto, and against what tshark reads in them.

#![allow(clippy::unwrap_used, reason = "the helpers of these tests fail by panicking")]

use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input, Peer, Stamps};
use fieldrig_proto::mqtt::broker::{Broker, BrokerEvent};
use fieldrig_proto::mqtt::{Deframer, Packet, QoS, Version, decode, encode};
use fieldrig_proto::time::{Stamp, Time};
use std::path::Path;

struct Line {
    from_client: bool,
    bytes: Vec<u8>,
    /// Type, identifier, topic, QoS, DUP, RETAIN.
    tshark: Vec<String>,
}

fn conversation(name: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/mqtt").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .map(|line| {
            let mut parts = line.split(' ');
            let from_client = parts.next() == Some(">");
            let hex = parts.next().unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            Line { from_client, bytes, tshark: parts.map(str::to_owned).collect() }
        })
        .collect()
}

const CONVERSATIONS: [(&str, Version); 2] =
    [("paho-mosquitto-311.txt", Version::V311), ("paho-mosquitto-5.txt", Version::V5)];

/// The columns of tshark, from our packet.
fn columns(packet: &Packet) -> Vec<String> {
    let mut columns = vec![(packet.packet_type() as u8).to_string()];
    let flag = |truth: bool| u8::from(truth).to_string();
    let (id, rest) = match packet {
        Packet::Publish(publish) => {
            let id = (publish.packet_id != 0).then_some(publish.packet_id);
            let qos = (publish.qos as u8).to_string();
            (id, vec![publish.topic.to_string(), qos, flag(publish.dup), flag(publish.retain)])
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<&str> = subscribe.subscriptions.iter().map(|wanted| &*wanted.filter).collect();
            (Some(subscribe.packet_id), vec![filters.join(",")])
        }
        Packet::Unsubscribe(unsubscribe) => (Some(unsubscribe.packet_id), vec![unsubscribe.filters.join(",")]),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            (Some(ack.packet_id), Vec::new())
        }
        Packet::SubAck(suback) => (Some(suback.packet_id), Vec::new()),
        Packet::UnsubAck(unsuback) => (Some(unsuback.packet_id), Vec::new()),
        _ => (None, Vec::new()),
    };
    columns.push(id.map_or("-".to_owned(), |id| id.to_string()));
    columns.extend(rest);
    columns.resize(6, "-".to_owned());
    columns
}

#[test]
fn foreign_packets_are_read_as_tshark_reads_them_and_written_back_byte_for_byte() {
    for (name, version) in CONVERSATIONS {
        let mut kinds = std::collections::BTreeSet::new();
        for (index, line) in conversation(name).iter().enumerate() {
            let place = format!("{name}:{}", index + 1);
            let packet = decode(&line.bytes, version).unwrap_or_else(|violation| panic!("{place}: {violation}"));
            assert_eq!(columns(&packet), line.tshark, "{place}");
            let mut again = Vec::new();
            encode(&packet, version, &mut again).unwrap();
            assert_eq!(again, line.bytes, "{place}");
            kinds.insert(packet.packet_type() as u8);
        }
        assert_eq!(kinds, (1..=14).collect(), "{name} has every packet type but AUTH");
    }
}

#[test]
fn a_foreign_connect_is_read_field_by_field() {
    let first = |name| conversation(name).remove(0).bytes;
    for (name, version) in CONVERSATIONS {
        let Packet::Connect(connect) = decode(&first(name), version).unwrap() else { panic!("{name}") };
        assert_eq!((connect.version, connect.keep_alive, connect.clean_start), (version, 1, true));
        assert_eq!((&*connect.client_id, connect.username.as_deref()), ("golden", Some("bench")));
        assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
        let will = connect.will.unwrap();
        assert_eq!(
            (&*will.topic, &*will.payload, will.qos, will.retain),
            ("golden/will", &b"gone"[..], QoS::AtLeastOnce, true)
        );
        if version == Version::V5 {
            assert_eq!(connect.properties.session_expiry(), Some(&60));
            assert_eq!(connect.properties.receive_maximum(), Some(&20));
            assert_eq!(connect.properties.user(), Some(&("rig".to_owned(), "one".to_owned())));
            assert_eq!(will.properties.will_delay(), Some(&3));
            assert_eq!(will.properties.content_type().map(String::as_str), Some("text/plain"));
        }
    }
}

#[test]
fn foreign_packets_dissect_without_a_note() {
    for (name, version) in CONVERSATIONS {
        let dissect = match version {
            Version::V311 => fieldrig_proto::mqtt::dissect_v311,
            Version::V5 => fieldrig_proto::mqtt::dissect_v5,
        };
        for line in conversation(name) {
            let sender = if line.from_client { Sender::Client } else { Sender::Server };
            let dissection = dissect(&line.bytes, sender);
            assert!(dissection.fields.iter().all(|field| field.note.is_none()), "{}", dissection.render(&line.bytes));
            let shown = dissection.render(&line.bytes);
            assert!(!shown.contains("secret") && !shown.contains("73 65 63 72 65 74"), "{shown}");
        }
    }
}

/// What the embedded broker answers to the packets paho sent to mosquitto, however the stream is cut.
fn answers(name: &str, version: Version, cut: usize) -> (Vec<Packet>, Vec<BrokerEvent>) {
    let conn = Conn(7);
    let mut broker = Broker::default();
    broker.handle(Time::ZERO, Input::Opened(conn, &Peer::default()));
    let lines = conversation(name);
    let sent = lines.iter().filter(|line| line.from_client && !exactly_once(&line.bytes));
    let stream: Vec<u8> = sent.flat_map(|line| line.bytes.clone()).collect();
    let (mut out, mut answered) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(cut) {
        broker.handle(Time::ZERO, Input::Bytes(conn, chunk, Stamps::One(Stamp::exact(Time::ZERO))));
        while let Some(action) = broker.poll_action(&mut out) {
            if let Action::Send { range, .. } = action {
                answered.extend_from_slice(&out[range]);
            }
        }
    }
    let mut packets = Vec::new();
    let mut deframer = Deframer::default();
    deframer
        .feed(&answered, version, |frame| {
            packets.push(decode(frame.bytes, version).unwrap());
            true
        })
        .unwrap();
    (packets, std::iter::from_fn(|| broker.poll_event()).collect())
}

/// A packet of a QoS 2 handshake.
fn exactly_once(bytes: &[u8]) -> bool {
    bytes[0] >> 4 == 3 && bytes[0] & 6 == 4 || matches!(bytes[0] >> 4, 5..=7)
}

#[test]
fn the_broker_serves_what_paho_asks_however_the_stream_is_cut() {
    for (name, version) in CONVERSATIONS {
        let whole = answers(name, version, usize::MAX);
        let kinds: Vec<&str> = whole.0.iter().map(|packet| packet.packet_type().name()).collect();
        for expected in ["CONNACK", "SUBACK", "PUBLISH", "PUBACK", "UNSUBACK", "PINGRESP"] {
            assert!(kinds.contains(&expected), "{name}: {kinds:?}");
        }
        assert!(whole.1.iter().any(|event| matches!(event, BrokerEvent::Disconnected { graceful: true, .. })));
        for cut in [1, 2, 3, 7, 64] {
            assert_eq!(answers(name, version, cut), whole, "{name} cut by {cut}");
        }
    }
}
