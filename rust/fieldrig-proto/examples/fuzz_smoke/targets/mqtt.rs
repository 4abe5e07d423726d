//! MQTT: packets of both versions, the deframer, dissection, topics.

use super::{Eater, Target, decoder, text};
use crate::endpoints::{Driver, Link};
use fieldrig_proto::device::{Device, Emission, NoModel, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::How;
use fieldrig_proto::fault::Chance;
use fieldrig_proto::mqtt::broker::{Broker, BrokerConfig};
use fieldrig_proto::mqtt::client::{Client, ClientConfig};
use fieldrig_proto::mqtt::{
    Deframer, QoS, V5 as V5_PROTOCOL, V311 as V311_PROTOCOL, Version, decode, dissect_v5, dissect_v311, encode,
    message_length, topic,
};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Time};
use std::hint::black_box;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "mqtt: packets, 3.1.1", samples: V311, make: || packets(V311, Version::V311) },
        Target { name: "mqtt: packets, 5.0", samples: V5, make: || packets(V5, Version::V5) },
        Target { name: "mqtt: stream", samples: V5, make: || decoder(stream()) },
        Target { name: "mqtt: dissection", samples: V5, make: || decoder(dissect) },
        Target { name: "mqtt: client, 3.1.1", samples: V311, make: || client(Version::V311) },
        Target { name: "mqtt: client, 5.0", samples: V5, make: || client(Version::V5) },
        Target { name: "mqtt: broker, 3.1.1", samples: V311, make: broker },
        Target { name: "mqtt: broker, 5.0", samples: V5, make: broker },
        Target {
            name: "mqtt: device face, 3.1.1",
            samples: V311,
            make: || Driver::eater(&[Link::connection("mqtt")], || reporter(&V311_PROTOCOL), ask),
        },
        Target {
            name: "mqtt: device face, 5.0",
            samples: V5,
            make: || Driver::eater(&[Link::connection("mqtt")], || reporter(&V5_PROTOCOL), ask),
        },
        Target { name: "mqtt: topics and filters", samples: TOPICS, make: || text(topics) },
    ]
}

fn broker() -> Eater {
    Driver::eater(&[Link::connection("mqtt"); 4], || Broker::new(BrokerConfig::default()), own)
}

/// What the owner of a broker does.
fn own(broker: &mut Broker, now: Time, chance: &mut Chance) {
    match chance.below(8) {
        0 => broker.clear_retained(),
        1 => drop(broker.publish(now, "a/b", b"owner", QoS::AtLeastOnce, chance.below(2) == 0)),
        2 => drop(broker.disconnect(now, "meter", How::Rst, None)),
        _ => {}
    }
}

fn client(version: Version) -> Eater {
    let make = match version {
        Version::V311 => || {
            Client::new(ClientConfig {
                version: Version::V311,
                client_id: "fuzz".to_owned(),
                ..ClientConfig::default()
            })
        },
        Version::V5 => || Client::new(ClientConfig::default()),
    };
    Driver::eater(&[Link::connection("mqtt")], make, command)
}

/// A device with one face, and power.
fn reporter(protocol: &Protocol) -> Device {
    let build = protocol.constructor(Role::Device).expect("MQTT has devices").build;
    let commands = Value::List(vec![Value::Text("site/#".to_owned())]);
    let settings = [("url".to_owned(), Value::Text("tcp://fuzz".to_owned())), ("commands".to_owned(), commands)];
    let Ok(Built::Face(face)) = build("mqtt", &settings) else { panic!("the settings are right") };
    let mut device = Device::new("fuzz", PointStore::new(Vec::new()), Box::new(NoModel), vec![face]);
    device.power_on(Time::default());
    device
}

/// What a model asks of its face, good or not.
fn ask(device: &mut Device, now: Time, chance: &mut Chance) {
    let mut table = vec![("token".to_owned(), Value::Int(chance.below(5) as i64))];
    table.push(("qos".to_owned(), Value::Int(chance.below(4) as i64)));
    if chance.below(8) > 0 {
        let topic = ["a/b", "a/#", ""][chance.below(3) as usize];
        table.push(("topic".to_owned(), Value::Text(topic.to_owned())));
    }
    device.emit(now, "mqtt", Emission::Ask(Value::Table(table)));
    if chance.below(32) == 0 {
        device.power_cycle(now, Duration::from_millis(1));
    }
}

/// What a user of a client does.
fn command(client: &mut Client, now: Time, chance: &mut Chance) {
    match chance.below(64) {
        0..48 => drop(client.subscribe(now, "site/#", QoS::AtLeastOnce)),
        48..60 => drop(client.publish(now, "a/b", b"x", QoS::AtLeastOnce, false)),
        60 => drop(client.unsubscribe(now, "site/#")),
        61 => client.disconnect(now),
        62 => client.abort(),
        _ => client.reset(),
    }
}

/// The samples are good, so that mutations begin behind the first check.
fn packets(samples: &[&[u8]], version: Version) -> Eater {
    for sample in samples {
        assert_eq!(decode(sample, version).err(), None, "a sample is not good");
    }
    decoder(move |bytes| packet(bytes, version))
}

/// What decodes, and is written again, decodes as the same.
fn packet(bytes: &[u8], version: Version) {
    let Ok(packet) = decode(bytes, version) else { return };
    let mut again = Vec::new();
    if encode(&packet, version, &mut again).is_ok() {
        assert_eq!(decode(&again, version).as_ref(), Ok(&packet), "not what was written");
    }
}

/// One stream for all inputs: rests of one meet the beginning of the next.
fn stream() -> impl FnMut(&[u8]) {
    let mut deframer = Deframer::limited(1000);
    move |bytes| {
        let mut packets = 0;
        let outcome = deframer.feed(bytes, Version::V5, |frame| {
            packets += 1;
            black_box(decode(frame.bytes, Version::V5).is_ok());
            assert!(frame.last < bytes.len(), "the last byte of a frame is one that was just fed");
            packets < 7
        });
        black_box(outcome.is_ok());
    }
}

fn dissect(bytes: &[u8]) {
    black_box(message_length(bytes, Sender::Client));
    black_box(dissect_v311(bytes, Sender::Client).render(bytes));
    black_box(dissect_v5(bytes, Sender::Server).render(bytes));
}

fn topics(input: &str) {
    let (filter, name) = input.split_once(' ').unwrap_or((input, "a/b/c"));
    let fine = topic::check_filter(filter).is_ok() && topic::check_topic(name).is_ok();
    assert!(!fine || !topic::matches("#", name) || !name.starts_with('$'), "a wildcard must not match {name}");
    black_box((topic::matches(filter, name), topic::has_wildcard(filter)));
}

const V311: &[&[u8]] = &[
    b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05meter",
    b"\x20\x02\x00\x00",
    b"\x30\x0c\x00\x03a/b{\"v\":1}",
    b"\x32\x0a\x00\x03a/b\x00\x07abc",
    b"\x40\x02\x00\x07",
    b"\x82\x0b\x00\x01\x00\x06site/#\x01",
    b"\x90\x03\x00\x01\x01",
    b"\xa2\x0a\x00\x02\x00\x06site/#",
    b"\xb0\x02\x00\x02",
    b"\xc0\x00",
    b"\xd0\x00",
    b"\xe0\x00",
];
const V5: &[&[u8]] = &[
    b"\x10\x17\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x05meter",
    b"\x10\x25\x00\x04MQTT\x05\xc6\x00\x3c\x00\x00\x05meter\x00\x00\x01w\x00\x01x\x00\x04user\x00\x04pass",
    b"\x20\x06\x00\x00\x03\x21\x00\x14",
    b"\x30\x07\x00\x03a/b\x00x",
    b"\x32\x13\x00\x03a/b\x00\x07\x08\x26\x00\x01k\x00\x02vvabc",
    b"\x40\x04\x00\x07\x10\x00",
    b"\x82\x0c\x00\x01\x00\x00\x06site/#\x01",
    b"\x90\x04\x00\x01\x00\x01",
    b"\xa2\x0b\x00\x02\x00\x00\x06site/#",
    b"\xb0\x04\x00\x02\x00\x11",
    b"\xc0\x00",
    b"\xd0\x00",
    b"\xe0\x02\x04\x00",
    b"\xf0\x02\x18\x00",
];
const TOPICS: &[&[u8]] = &[b"site/+/alarm site/a/alarm", b"# a/b", b"$SYS/# $SYS/x", b"a//b a//b", b"+/+ a/"];
