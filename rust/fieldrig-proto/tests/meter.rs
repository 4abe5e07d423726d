//! All protocols at once on virtual time: a meter with one store behind a Modbus RTU line, a console and MQTT, its faces
//! made by the protocols' own descriptors, against our Modbus client, broker and MQTT client.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs};
use fieldrig_proto::device::{
    Access, BootLine, BootPlan, Device, Face, Payload, PlannedAction, PointDefinition, PointKind, PointStore, Power,
    Rule, RuleModel, RuleSet, What,
};
use fieldrig_proto::endpoint::{Conn, Input, Peer as Other, Why};
use fieldrig_proto::line::{CONSOLE, LineSettings};
use fieldrig_proto::modbus::client::{Client as ModbusClient, ClientEvent as ModbusEvent, Config};
use fieldrig_proto::modbus::pdu::Request;
use fieldrig_proto::mqtt::broker::{Broker, BrokerConfig, BrokerEvent};
use fieldrig_proto::mqtt::client::{Client as MqttClient, ClientConfig, ClientEvent};
use fieldrig_proto::mqtt::{QoS, V5};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Stamp, Time};

const BROKER: &str = "tcp://broker:1883";

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn face(protocol: &Protocol, name: &str, settings: &[(&str, Value)]) -> Box<dyn Face> {
    let settings: Vec<(String, Value)> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    match (protocol.constructor(Role::Device).expect("a device").build)(name, &settings) {
        Ok(Built::Face(face)) => face,
        Ok(Built::Endpoint(_)) => panic!("`{}` makes no face", protocol.name),
        Err(error) => panic!("`{}`: {}: {}", protocol.name, error.key, error.problem),
    }
}

fn faces() -> Vec<Box<dyn Face>> {
    let setpoint = [("table", "holding".into()), ("address", 0.into()), ("type", "u16".into()), ("scale", 0.1.into())];
    let changes = table(&[("point", "setpoint".into()), ("on_change", true.into()), ("qos", 1.into())]);
    vec![
        face(
            &fieldrig_proto::modbus::RTU,
            "modbus",
            &[("unit", 1.into()), ("map", table(&[("setpoint", table(&setpoint))]))],
        ),
        face(&CONSOLE, "console", &[]),
        face(
            &V5,
            "mqtt",
            &[
                ("url", "mqtt://broker:1883".into()),
                ("client_id", "meter".into()),
                ("publish", table(&[("site/setpoint", changes)])),
            ],
        ),
    ]
}

fn rules() -> RuleSet {
    let json = table(&[("code", "OVERTEMP".into()), ("value", "{setpoint}".into())]);
    let publish =
        What::Publish { face: None, topic: "site/alarm".into(), payload: Payload::Json(json), qos: 1, retain: false };
    let line = What::Line { face: None, text: "ALARM {setpoint}".into() };
    RuleSet {
        boot: BootPlan { time: ms(300), face: None, lines: vec![BootLine { at: None, text: "boot ok v1.2".into() }] },
        rules: vec![Rule {
            when: "setpoint > 80 becomes true".into(),
            actions: vec![
                PlannedAction { after: Duration::ZERO, what: publish },
                PlannedAction { after: ms(50), what: line },
            ],
        }],
        ..RuleSet::default()
    }
}

fn points() -> Vec<PointDefinition> {
    vec![PointDefinition {
        name: "setpoint".into(),
        kind: PointKind::Float,
        unit: "degC".into(),
        initial: Value::Float(20.0),
        range: Some((0.0, 200.0)),
        access: Access::ReadWrite,
    }]
}

struct Bench {
    world: World,
    meter: Node<Device>,
    modbus: Node<ModbusClient>,
    broker: Node<Broker>,
    watcher: Node<MqttClient>,
    console: Peer,
}

/// The meter runs, its MQTT face is connected, and the watcher has subscribed to everything.
fn bench() -> Bench {
    let world = World::new();
    let model = RuleModel::compile(&rules(), &points(), &["modbus", "console", "mqtt"]).expect("rules");
    let meter = world.add("meter", Device::new("meter", PointStore::new(points()), Box::new(model), faces()));
    let line: LineSettings = "9600 8E1".parse().expect("settings");
    let modbus = world.add("modbus client", ModbusClient::new(Config::rtu_on(&line)));
    world.join(&modbus, "dut", &meter, "modbus", &Path::wire("9600 8E1"));
    let console = world.peer("console");
    console.join(&meter, "console", &Path::wire("115200 8N1"));
    let broker = world.add("broker", Broker::new(BrokerConfig::default()));
    world.listen(BROKER, &broker, "listener", &Path::stream().delay(ms(2)));
    let watcher = world.add("watcher", MqttClient::new(ClientConfig::default()));
    world.join(&watcher, "broker", &broker, "listener", &Path::stream().delay(ms(2)));
    watcher.wait(secs(1), |client, _| client.is_connected().then_some(()));
    watcher.with(|client, now| client.subscribe(now, "site/#", QoS::AtLeastOnce)).expect("a filter");
    meter.with(|meter, now| meter.power_on(now));
    wait_for_meter(&broker, secs(2));
    world.run_for(ms(100));
    console.expect("boot ok v1.2\r\n");
    // On connecting it publishes the values as they are.
    assert_eq!(message(&watcher).1, "20.0");
    Bench { world, meter, modbus, broker, watcher, console }
}

fn wait_for_meter(broker: &Node<Broker>, within: Duration) {
    broker.wait(within, |broker, _| broker.clients().any(|client| &*client.client_id == "meter").then_some(()));
}

fn write(setpoint: u16) -> Request {
    Request::WriteSingleRegister { address: 0, value: setpoint }
}

fn message(watcher: &Node<MqttClient>) -> (String, String, Stamp) {
    let message = watcher.wait(secs(1), |_, events| {
        std::iter::from_fn(|| events.pop_front()).find_map(|event| match event {
            ClientEvent::Message(message) => Some(message),
            _ => None,
        })
    });
    let payload = String::from_utf8(message.payload.to_vec()).expect("text");
    (message.topic.to_string(), payload, message.at)
}

/// The exchange of the request as the client reports it: when it was sent, and when the answer was there.
fn exchange(modbus: &Node<ModbusClient>, request: Request) -> (Time, Stamp) {
    modbus.with(|client, now| client.request(now, 1, request, secs(1)).map(|_| ())).expect("allowed");
    let answered = modbus.wait(secs(2), |_, events| events.pop_front().filter(|event| event.ticket().is_some()));
    match answered {
        ModbusEvent::Answered(exchange, _) => (exchange.sent.expect("sent"), exchange.at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_written_on_modbus_is_seen_on_mqtt_and_on_the_console_at_exact_instants() {
    let Bench { world: _, meter, modbus, broker: _, watcher, console } = bench();
    meter.events();
    let (sent, answered) = exchange(&modbus, write(850));
    let line: LineSettings = "9600 8E1".parse().expect("settings");
    // The request is whole with its eighth character; store, rule and publication follow at the same instant.
    let written = sent + line.time_of(8);
    let changes = meter.events();
    let change = changes.iter().find(|record| record.kind == "device.change").expect("a change");
    assert_eq!((change.at, change.field("by")), (Some(Stamp::exact(written)), Some(&Value::Text("modbus".into()))));
    let through_broker = Stamp::exact(written + ms(4));
    let seen = [message(&watcher), message(&watcher)];
    assert_eq!(seen[0], ("site/setpoint".into(), "85.0".into(), through_broker));
    assert_eq!(seen[1], ("site/alarm".into(), r#"{"code": "OVERTEMP", "value": 85.0}"#.into(), through_broker));
    let fast: LineSettings = "115200 8N1".parse().expect("settings");
    assert_eq!(console.expect("ALARM 85.0\r\n"), Stamp::exact(written + ms(50) + fast.time_of(12)));
    // The answer leaves after t3.5 of silence (3.5 * 11 / 9600 s, cut to nanoseconds) and takes eight characters.
    let silence = answered.latest().since(written).saturating_sub(line.time_of(8));
    assert!(silence <= Duration::from_nanos(4_010_417), "{silence:?}");
}

#[test]
fn a_value_set_by_the_test_is_read_on_modbus() {
    let Bench { meter, modbus, .. } = bench();
    let change = meter.with(|meter, now| meter.set(now, "setpoint", 33.3)).expect("in range");
    assert_eq!(change.from, Value::Float(20.0));
    modbus
        .with(|client, now| client.request(now, 1, Request::ReadHoldingRegisters { address: 0, quantity: 1 }, secs(1)))
        .map(|_| ())
        .expect("allowed");
    let event = modbus.wait(secs(1), |_, events| events.pop_front().filter(|event| event.ticket().is_some()));
    let ModbusEvent::Answered(exchange, _) = event else { panic!("{event:?}") };
    assert_eq!(exchange.answer[..5], [1, 3, 2, 0x01, 0x4d]);
}

#[test]
fn power_off_takes_all_faces_away_and_power_on_brings_them_back() {
    let Bench { world, meter, modbus, broker, watcher, console } = bench();
    broker.events();
    let off = world.now();
    meter.with(|meter, now| meter.power_cycle(now, ms(700)));
    let lost = broker.wait(secs(1), |_, events| {
        events.pop_front().filter(|event| matches!(event, BrokerEvent::Disconnected { .. }))
    });
    assert!(matches!(lost, BrokerEvent::Disconnected { .. }));
    assert_eq!(world.now(), off + ms(2));
    modbus.with(|client, now| client.request(now, 1, write(850), ms(200)).map(|_| ())).expect("allowed");
    let event = modbus.wait(secs(1), |_, events| events.pop_front().filter(|event| event.ticket().is_some()));
    assert!(matches!(event, ModbusEvent::TimedOut(..)), "{event:?}");
    meter.wait(secs(2), |meter, _| (meter.power() == Power::Run).then_some(()));
    assert_eq!(world.now(), off + ms(1000));
    console.expect("boot ok v1.2\r\n");
    wait_for_meter(&broker, secs(2));
    assert_eq!(message(&watcher).1, "20.0");
    let (sent, _) = exchange(&modbus, write(500));
    let line: LineSettings = "9600 8E1".parse().expect("settings");
    let seen = message(&watcher);
    assert_eq!(seen, ("site/setpoint".into(), "50.0".into(), Stamp::exact(sent + line.time_of(8) + ms(4))));
}

#[test]
fn a_broker_that_is_not_there_is_tried_again() {
    let world = World::new();
    let model = RuleModel::compile(&RuleSet::default(), &points(), &[]).expect("no rules");
    let meter = world.add("meter", Device::new("meter", PointStore::new(points()), Box::new(model), faces()));
    meter.with(|meter, now| meter.power_on(now));
    world.run_for(secs(10));
    let broker = world.add("broker", Broker::new(BrokerConfig::default()));
    world.listen(BROKER, &broker, "listener", &Path::stream());
    wait_for_meter(&broker, secs(120));
    assert!(world.now() > at(secs(10)));
}

#[test]
fn a_refused_connection_is_told_to_its_own_face_only() {
    let mut device =
        Device::new("meter", PointStore::new(points()), Box::new(fieldrig_proto::device::NoModel), faces());
    device.power_on(Time::ZERO);
    let why = Why::Refused { via: "nobody".into(), reason: "test".into(), untrusted: false };
    fieldrig_proto::endpoint::Endpoint::handle(&mut device, Time::ZERO, Input::Closed(Conn(9), why));
    fieldrig_proto::endpoint::Endpoint::handle(&mut device, Time::ZERO, Input::Opened(Conn(9), &Other::default()));
    let mut out = Vec::new();
    let mut events: Vec<Record> = Vec::new();
    while fieldrig_proto::endpoint::Endpoint::poll_action(&mut device, &mut out).is_some() {}
    events.extend(std::iter::from_fn(|| fieldrig_proto::endpoint::Endpoint::poll_event(&mut device)));
    assert!(events.iter().any(|record| record.kind == "device.no_face"));
    assert!(!events.iter().any(|record| record.kind.contains("refused")), "{events:?}");
}
