//! One device behind three faces on real ports: what power-off does to them, and a broker with several connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fieldrig_engine::{Binding, Clock, Node, PortSpec, Rig, RigOptions};
use fieldrig_proto::device::{Access, Device, Face, NoModel, PointDefinition, PointKind, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::Endpoint;
use fieldrig_proto::line::CONSOLE;
use fieldrig_proto::modbus;
use fieldrig_proto::mqtt::broker::{Broker, BrokerConfig};
use fieldrig_proto::mqtt::client::{Client, ClientConfig, ClientEvent};
use fieldrig_proto::mqtt::{self, QoS};
use fieldrig_proto::protocol::{Built, Protocol, Role, Settings};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;

const LONG: Duration = Duration::from_secs(20);

fn face(protocol: &Protocol, name: &str, settings: &Settings) -> Box<dyn Face> {
    match (protocol.constructor(Role::Device).unwrap().build)(name, settings) {
        Ok(Built::Face(face)) => face,
        Ok(Built::Endpoint(_)) => panic!("not a face"),
        Err(error) => panic!("{}: {error}", error.key),
    }
}

fn text(value: &str) -> Value {
    Value::from(value)
}

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn bind(via: &str, port: PortSpec) -> Binding {
    Binding { via: via.to_owned(), port, protocol: None, we_are: Sender::Server }
}

fn url(text: &str) -> PortSpec {
    PortSpec::parse(text).unwrap()
}

fn await_event<E>(node: &Node<E>, what: &str, is_it: impl Fn(&E::Event) -> bool)
where
    E: Endpoint + Send + 'static,
    E::Event: Clone + Send,
{
    let check = |_: &mut E, events: &mut std::collections::VecDeque<E::Event>, _| {
        events.drain(..).any(|event| is_it(&event)).then_some(())
    };
    assert!(node.wait(Clock::Real.now() + LONG, check, &mut || true).unwrap().is_some(), "{what} did not happen");
}

fn mqtt_client(rig: &Rig, address: &str, id: &str) -> Node<Client> {
    let client = Client::new(ClientConfig { client_id: id.into(), ..Default::default() });
    let node = rig.open(id, client, vec![bind("", url(&format!("tcp://{address}")))]).unwrap();
    await_event(&node, "the connection", |event| matches!(event, ClientEvent::Connected { .. }));
    node
}

fn subscribe(node: &Node<Client>, filter: &str) {
    node.with(|client, now| client.subscribe(now, filter, QoS::AtLeastOnce)).unwrap().0.unwrap();
    await_event(node, "the subscription", |event| matches!(event, ClientEvent::Subscribed { .. }));
}

fn meter(broker: &str) -> Device {
    let point = PointDefinition {
        name: "voltage".to_owned(),
        kind: PointKind::Float,
        unit: "V".to_owned(),
        initial: Value::Float(230.0),
        range: None,
        access: Access::Read,
    };
    let place = table(&[("table", text("input")), ("address", Value::Int(0)), ("type", text("u16"))]);
    let modbus = face(&modbus::TCP, "modbus", &[("map".to_owned(), table(&[("voltage", place)]))]);
    let console = face(&CONSOLE, "console", &[]);
    let uplink = [("url".to_owned(), text(&format!("tcp://{broker}"))), ("client_id".to_owned(), text("meter"))];
    let uplink = face(&mqtt::V5, "uplink", &uplink);
    Device::new("meter", PointStore::new(vec![point]), Box::new(NoModel), vec![modbus, console, uplink])
}

#[test]
fn a_broker_serves_many_connections_and_each_hears_what_it_asked_for() {
    let rig = Rig::start(RigOptions::default()).unwrap();
    let broker = Broker::new(BrokerConfig::default());
    let broker = rig.open("broker", broker, vec![bind("", url("tcp-listen://127.0.0.1:0"))]).unwrap();
    let address = broker.address("").unwrap();
    let listeners: Vec<_> = (0..5)
        .map(|index| {
            let node = mqtt_client(&rig, &address, &format!("listener{index}"));
            subscribe(&node, &format!("site/{index}/#"));
            node
        })
        .collect();
    let speaker = mqtt_client(&rig, &address, "speaker");
    for index in 0..5 {
        let topic = format!("site/{index}/alarm");
        speaker.with(|client, now| client.publish(now, &topic, b"hot", QoS::AtLeastOnce, false)).unwrap().0.unwrap();
        await_event(&speaker, "the acknowledgement", |event| matches!(event, ClientEvent::Published { .. }));
    }
    for (index, node) in listeners.iter().enumerate() {
        await_event(node, "the message", |event| match event {
            ClientEvent::Message(message) => *message.topic == format!("site/{index}/alarm"),
            _ => false,
        });
    }
    rig.stop();
}

#[test]
fn power_off_closes_every_face() {
    let rig = Rig::start(RigOptions::default()).unwrap();
    let broker = Broker::new(BrokerConfig::default());
    let broker = rig.open("broker", broker, vec![bind("", url("tcp-listen://127.0.0.1:0"))]).unwrap();
    let broker_address = broker.address("").unwrap();
    let ports = vec![
        bind("modbus", url("tcp-listen://127.0.0.1:0")),
        bind("console", url("pty://?line=115200+8N1")),
        bind("uplink", PortSpec::OnDemand),
    ];
    let device = rig.open("meter", meter(&broker_address), ports).unwrap();
    let connected = |broker: &mut Broker, _: &mut _, _| (broker.clients().count() == 1).then_some(());
    let gone = |broker: &mut Broker, _: &mut _, _| (broker.clients().count() == 0).then_some(());
    let wait = |check: &dyn Fn(&mut Broker, &mut std::collections::VecDeque<_>, _) -> Option<()>| {
        broker.wait(Clock::Real.now() + LONG, |broker, events, now| check(broker, events, now), &mut || true).unwrap()
    };
    for _ in 0..3 {
        device.with(|device, now| device.power_on(now)).unwrap();
        assert!(wait(&connected).is_some(), "the meter connects to the broker");
        let mut client = TcpStream::connect(device.address("modbus").unwrap()).unwrap();
        client.write_all(&[0, 1, 0, 0, 0, 6, 1, 4, 0, 0, 0, 1]).unwrap();
        let mut answer = [0; 11];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0, 1, 0, 0, 0, 5, 1, 4, 2, 0, 230]);
        device.with(|device, now| device.power_off(now)).unwrap();
        let error = client.read(&mut answer).expect_err("a device without power does not say goodbye");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(wait(&gone).is_some(), "the broker lost the meter");
    }
    rig.stop();
}
