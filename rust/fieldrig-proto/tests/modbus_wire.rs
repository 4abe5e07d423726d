//! One wire that several devices share: three meters, a gateway that asks them through the client face of its device, and
//! a monitor that reads along.

mod common;

use common::{Node, Path, World, ms, secs};
use fieldrig_proto::device::{
    Access, Device, Emission, Heard, Model, ModelContext, NoModel, PointDefinition, PointKind, PointStore,
};
use fieldrig_proto::modbus::client_face::ClientFace;
use fieldrig_proto::modbus::monitor::{Config, Kind, Monitor, Observation, Values};
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::modbus::server::ServerFace;
use fieldrig_proto::modbus::{RTU, TCP};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Time};
use std::sync::{Arc, Mutex};

const LINE: &str = "9600 8E1";
const FRAMINGS: [&str; 2] = ["tolerant", "exact"];

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn build(
    protocol: &Protocol,
    role: Role,
    name: &str,
    settings: &[(&str, Value)],
) -> Vec<Box<dyn fieldrig_proto::device::Face>> {
    let settings: Vec<(String, Value)> = settings.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
    match (protocol.constructor(role).expect("Modbus has this role").build)(name, &settings) {
        Ok(Built::Face(face)) => vec![face],
        Ok(Built::Endpoint(_)) => panic!("a face, not an endpoint"),
        Err(error) => panic!("{}: {error}", error.key),
    }
}

/// A meter: input register 0 holds 2300 + unit, holding registers 0 to 9 can be written.
fn meter(unit: i64, framing: &str) -> Device {
    let settings = [
        ("unit", Value::Int(unit)),
        ("input", Value::List(vec![Value::Int(2300 + unit)])),
        ("holding", Value::List(vec![Value::Int(0); 10])),
        ("line", LINE.into()),
        ("framing", framing.into()),
    ];
    Device::new("meter", PointStore::default(), Box::new(NoModel), build(&RTU, Role::Device, "bus", &settings))
}

/// A model that asks what the test puts into its list, and keeps what it hears, with the instant.
#[derive(Clone, Default)]
struct Asker {
    heard: Arc<Mutex<Vec<(Time, Heard)>>>,
}

impl Model for Asker {
    fn heard(&mut self, context: &mut ModelContext<'_>, _face: &str, heard: &Heard) {
        self.heard.lock().expect("one thread").push((context.now, heard.clone()));
    }
}

struct Gateway {
    node: Node<Device>,
    asker: Asker,
}

impl Gateway {
    fn new(world: &World, protocol: &Protocol, settings: &[(&str, Value)]) -> Gateway {
        let asker = Asker::default();
        let points = vec![PointDefinition {
            name: "polls".into(),
            kind: PointKind::Int,
            unit: String::new(),
            initial: Value::Int(0),
            range: None,
            access: Access::Read,
        }];
        let faces = build(protocol, Role::Client, "bus", settings);
        let device = Device::new("gateway", PointStore::new(points), Box::new(asker.clone()), faces);
        Gateway { node: world.add("gateway", device), asker }
    }

    fn on_wire(world: &World, framing: &str) -> Gateway {
        Gateway::new(world, &RTU, &[("line", LINE.into()), ("framing", framing.into())])
    }

    /// Asks; the answer comes later.
    fn ask(&self, token: i64, unit: i64, function: &str, more: &[(&str, Value)]) {
        let mut entries = vec![
            ("token", Value::Int(token)),
            ("unit", Value::Int(unit)),
            ("function", function.into()),
            ("timeout", Value::Int(300_000_000)),
        ];
        entries.extend_from_slice(more);
        self.node.with(|device, now| device.emit(now, "bus", Emission::Ask(table(&entries))));
    }

    fn read(&self, token: i64, unit: i64) {
        self.ask(token, unit, "read_input", &[("address", Value::Int(0))]);
    }

    /// Waits for the answer to this token.
    fn answer(&self, token: i64) -> Value {
        let asker = self.asker.clone();
        self.node.wait(secs(5), move |_, _| {
            let heard = asker.heard.lock().expect("one thread");
            heard.iter().find_map(|(_, heard)| match heard {
                Heard::Answer(table) if table.entry("token") == Some(&Value::Int(token)) => Some(table.clone()),
                _ => None,
            })
        })
    }

    fn values(&self, token: i64) -> Vec<i64> {
        match self.answer(token).entry("values") {
            Some(Value::List(values)) => values.iter().filter_map(Value::as_i64).collect(),
            other => panic!("values, not {other:?}"),
        }
    }

    fn error(&self, token: i64) -> (String, String) {
        let answer = self.answer(token);
        let text = |key: &str| answer.entry(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("error"), text("text"))
    }

    fn count(&self, wanted: &Heard) -> usize {
        self.asker.heard.lock().expect("one thread").iter().filter(|(_, heard)| heard == wanted).count()
    }
}

struct Wire {
    world: World,
    gateway: Gateway,
    meters: Vec<Node<Device>>,
    monitor: Node<Monitor>,
}

impl Wire {
    fn new(framing: &str) -> Wire {
        let world = World::new();
        let gateway = Gateway::on_wire(&world, framing);
        let meters: Vec<Node<Device>> = (1..=3).map(|unit| world.add("meter", meter(unit, framing))).collect();
        let mut taps = vec![gateway.node.tap("bus")];
        taps.extend(meters.iter().map(|meter| meter.tap("bus")));
        let line = LINE.parse().expect("valid settings");
        let rules = if framing == "exact" { LineRules::exact(&line) } else { LineRules::tolerant(&line) };
        let monitor = world.add("monitor", Monitor::new(Config::rtu(rules)));
        taps.push(monitor.tap("bus"));
        world.share(&taps, &Path::wire(LINE));
        for meter in &meters {
            meter.with(|meter, now| meter.power_on(now));
        }
        gateway.node.with(|device, now| device.power_on(now));
        world.run_for(ms(10));
        Wire { world, gateway, meters, monitor }
    }

    /// What the monitor has seen.
    fn seen(&self) -> Vec<Observation> {
        self.world.run_for(ms(50));
        self.monitor.with(|monitor, _| monitor.observations_since(0).cloned().collect())
    }

    fn errors(&self) -> Vec<u64> {
        let counted = |meter: &Node<Device>| {
            meter.with(|meter, _| meter.face_as::<ServerFace>("bus").map(|face| face.counters().communication_errors))
        };
        self.meters.iter().filter_map(counted).collect()
    }
}

/// All orders of three units.
const ORDERS: [[i64; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];

#[test]
fn every_unit_answers_for_itself_in_every_order() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        for (round, order) in ORDERS.iter().enumerate() {
            for unit in order {
                wire.gateway.read(100 * round as i64 + unit, *unit);
            }
            for unit in order {
                assert_eq!(wire.gateway.values(100 * round as i64 + unit), [2300 + unit], "{framing} {order:?}");
            }
        }
        assert_eq!(wire.errors(), [0, 0, 0], "{framing}: nobody mistook what was for others");
    }
}

#[test]
fn answers_and_requests_of_others_confuse_nobody() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        let number = |value: i64| Value::Int(value);
        for unit in [2, 1, 3] {
            let base = unit * 100;
            let at = |address: i64| ("address", number(address));
            wire.gateway.ask(
                base,
                unit,
                "write_registers",
                &[at(0), ("values", Value::List((0..10).map(|index| number(unit * 1000 + index)).collect()))],
            );
            wire.gateway.ask(base + 1, unit, "write_register", &[at(3), ("value", number(7))]);
            wire.gateway.ask(base + 2, unit, "read_holding", &[at(0), ("count", number(10))]);
            wire.gateway.ask(base + 3, unit, "read_holding", &[at(9), ("count", number(2))]);
            wire.gateway.ask(base + 4, unit, "raw", &[("pdu", Value::Bytes(vec![0x41, 1, 2, 3]))]);
            wire.gateway.read(base + 5, unit);
        }
        for unit in [2, 1, 3] {
            let base = unit * 100;
            assert_eq!(wire.gateway.values(base), []);
            let mut expected: Vec<i64> = (0..10).map(|index| unit * 1000 + index).collect();
            expected[3] = 7;
            assert_eq!(wire.gateway.values(base + 2), expected, "{framing} unit {unit}");
            let refused = wire.gateway.answer(base + 3);
            assert_eq!(refused.entry("code"), Some(&Value::Int(2)));
            assert_eq!(wire.gateway.error(base + 4).1, "exception 01 (illegal function)");
            assert_eq!(wire.gateway.values(base + 5), [2300 + unit], "{framing} unit {unit}");
        }
        assert_eq!(wire.errors()[0], wire.errors()[1]);
    }
}

#[test]
fn a_broadcast_reaches_all_and_nobody_answers_it() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        wire.gateway.ask(1, 0, "write_register", &[("address", Value::Int(4)), ("value", Value::Int(99))]);
        assert_eq!(wire.gateway.values(1), []);
        for unit in 1..=3 {
            wire.gateway.ask(10 + unit, unit, "read_holding", &[("address", Value::Int(4))]);
            assert_eq!(wire.gateway.values(10 + unit), [99], "{framing} unit {unit}");
        }
        wire.gateway.ask(20, 0, "read_input", &[("address", Value::Int(0))]);
        let (error, text) = wire.gateway.error(20);
        assert_eq!(error, "refused");
        assert_eq!(text, "function 0x04 reads something back and cannot be a broadcast (unit 0); only writes can");
    }
}

#[test]
fn a_unit_that_gives_no_answer_costs_its_timeout_and_nothing_more() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        let dead = &wire.meters[1];
        dead.with(|meter, _| meter.set_habit("bus", "no_answer", &Value::Bool(true))).expect("a habit that exists");
        let begin = wire.world.now();
        for unit in 1..=3 {
            wire.gateway.read(unit, unit);
        }
        assert_eq!(wire.gateway.values(1), [2301]);
        let (error, text) = wire.gateway.error(2);
        assert_eq!((error.as_str(), text.as_str()), ("no_answer", "unit 2 did not answer within 300 ms"));
        assert_eq!(wire.gateway.values(3), [2303]);
        assert!(wire.world.now() < begin + ms(500), "{framing}: {}", wire.world.now());
        dead.with(|meter, _| meter.set_habit("bus", "no_answer", &"default".into())).expect("a habit that exists");
        wire.gateway.read(12, 2);
        assert_eq!(wire.gateway.values(12), [2302]);
    }
}

#[test]
fn a_unit_without_answer_does_what_it_is_told() {
    let wire = Wire::new("tolerant");
    let meter = &wire.meters[0];
    meter.with(|meter, _| meter.set_habit("bus", "no_answer", &Value::Bool(true))).expect("a habit that exists");
    wire.gateway.ask(1, 1, "write_register", &[("address", Value::Int(0)), ("value", Value::Int(5))]);
    assert_eq!(wire.gateway.error(1).0, "no_answer");
    meter.with(|meter, _| meter.set_habit("bus", "no_answer", &"default".into())).expect("a habit that exists");
    wire.gateway.ask(2, 1, "read_holding", &[("address", Value::Int(0))]);
    assert_eq!(wire.gateway.values(2), [5]);
}

#[test]
fn requests_keep_the_silence_between_frames() {
    let wire = Wire::new("exact");
    let begin = wire.world.now();
    (0..10).for_each(|token| wire.gateway.read(token, 1 + token % 3));
    (0..10).for_each(|token| drop(wire.gateway.values(token)));
    // 8 characters, t3.5, 7 characters, t3.5 and the character that ends the frame, at 9600 baud of 11 bits, twice.
    let character = Duration::from_nanos(11_000_000_000 / 9600);
    let exchange = character * 15 + Duration::from_nanos(4_010_416) * 2;
    assert!(wire.world.now().since(begin) >= exchange * 10, "{}", wire.world.now());
}

#[test]
fn power_off_forgets_what_was_asked() {
    let wire = Wire::new("tolerant");
    wire.gateway.read(1, 1);
    wire.world.run_for(ms(2));
    wire.gateway.node.with(|device, now| device.power_cycle(now, ms(50)));
    wire.world.run_for(secs(1));
    let answered =
        wire.gateway.asker.heard.lock().expect("one thread").iter().any(|(_, h)| matches!(h, Heard::Answer(_)));
    assert!(!answered, "nobody is there to be told");
    assert_eq!(wire.gateway.count(&Heard::Ready), 2);
    wire.gateway.read(2, 1);
    assert_eq!(wire.gateway.values(2), [2301]);
}

const URL: &str = "tcp://meter:502";

/// A meter and a gateway on TCP.
fn on_tcp() -> (World, Gateway, Node<Device>) {
    let world = World::new();
    let settings = [("input", Value::List(vec![Value::Int(2301)]))];
    let faces = build(&TCP, Role::Device, "lan", &settings);
    let meter = world.add("meter", Device::new("meter", PointStore::default(), Box::new(NoModel), faces));
    meter.with(|meter, now| meter.power_on(now));
    world.listen(URL, &meter, "lan", &Path::stream().delay(ms(1)));
    let gateway = Gateway::new(&world, &TCP, &[("url", URL.into()), ("retry", "500ms".into())]);
    gateway.node.with(|device, now| device.power_on(now));
    world.run_for(ms(10));
    (world, gateway, meter)
}

#[test]
fn on_tcp_several_asks_are_in_flight_and_each_gets_its_answer() {
    let (world, gateway, _meter) = on_tcp();
    assert_eq!(gateway.count(&Heard::Ready), 1);
    let begin = world.now();
    (0..8).for_each(|token| gateway.read(token, 1));
    (0..8).for_each(|token| assert_eq!(gateway.values(token), [2301]));
    assert_eq!(world.now().since(begin), ms(2));
}

#[test]
fn a_lost_connection_is_told_and_made_again_by_itself() {
    let (world, gateway, meter) = on_tcp();
    meter.with(|meter, _| meter.set_habit("lan", "no_answer", &Value::Bool(true))).expect("a habit that exists");
    gateway.read(1, 1);
    meter.with(|meter, now| meter.power_off(now));
    let (error, text) = gateway.error(1);
    assert_eq!((error.as_str(), text.as_str()), ("lost", "the other side reset the connection"));
    assert_eq!(gateway.count(&Heard::Gone), 1);
    world.unlisten(URL);
    gateway.read(2, 1);
    assert_eq!(gateway.error(2), ("lost".to_owned(), format!("nothing listens at {URL}")));
    world.listen(URL, &meter, "lan", &Path::stream());
    meter
        .with(|meter, now| {
            meter.power_on(now);
            meter.set_habit("lan", "no_answer", &"default".into())
        })
        .expect("a habit that exists");
    world.run_for(ms(600));
    assert_eq!((gateway.count(&Heard::Ready), gateway.count(&Heard::Gone)), (2, 1));
    let connected = gateway
        .node
        .with(|device, _| device.face_as::<ClientFace>("bus").is_some_and(|face| face.client().is_connected()));
    assert!(connected);
    gateway.read(3, 1);
    assert_eq!(gateway.values(3), [2301]);
}

#[test]
fn an_ask_without_sense_is_refused_and_one_without_a_token_is_told_to_the_log() {
    let wire = Wire::new("tolerant");
    wire.gateway.ask(1, 1, "peek", &[]);
    assert_eq!(wire.gateway.error(1).0, "refused");
    wire.gateway.ask(2, 248, "read_input", &[("address", Value::Int(0))]);
    assert_eq!(
        wire.gateway.error(2).1,
        "unit 248 is reserved on a serial line, devices have 1 to 247; to send it on purpose, send a raw PDU"
    );
    wire.gateway.node.with(|device, now| device.emit(now, "bus", Emission::Ask(table(&[("unit", Value::Int(1))]))));
    let refused = wire.gateway.node.events().iter().filter(|record| record.kind == "modbus.refused").count();
    assert_eq!(refused, 3);
    for token in 0..1100 {
        wire.gateway.read(1000 + token, 1);
    }
    assert_eq!(wire.gateway.error(2024), ("refused".to_owned(), "1024 requests wait already".to_owned()));
    let habit = wire.gateway.node.with(|device, _| device.set_habit("bus", "mute", &Value::Bool(true)));
    assert_eq!(habit, Err("the Modbus client of a device has no habits, so no `mute`; its server has".to_owned()));
}

#[test]
fn a_monitor_sees_every_exchange_with_its_values_and_says_nothing() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        let units: Vec<i64> = ORDERS.into_iter().flatten().collect();
        for (token, unit) in units.iter().enumerate() {
            wire.gateway.read(token as i64, *unit);
        }
        for (token, unit) in units.iter().enumerate() {
            assert_eq!(wire.gateway.values(token as i64), [2300 + unit]);
        }
        let seen = wire.seen();
        assert_eq!(seen.len(), 2 * units.len(), "{framing}");
        for (unit, pair) in units.iter().zip(seen.chunks(2)) {
            let [request, response] = pair else { panic!("two of each") };
            assert_eq!((request.kind, response.kind), (Kind::Request, Kind::Response));
            assert_eq!((request.unit, response.unit), (Some(*unit as u8), Some(*unit as u8)));
            assert_eq!(response.values, Values::Registers(vec![2300 + *unit as u16]));
            assert_eq!(response.request, Some(request.number));
            assert!(request.sure && response.sure && request.problem.is_none() && response.problem.is_none());
            // t3.5 and seven characters of 11 bits at 9600 baud, to the nanosecond.
            let span = response.at.latest().since(request.at.latest());
            let seven = Duration::from_nanos(7 * 11_000_000_000 / 9600);
            let wait = span - seven;
            assert!((4_010_416..6_000_000).contains(&wait.as_nanos()), "{framing}: {wait:?}");
        }
    }
}

#[test]
fn a_monitor_sees_who_does_not_answer() {
    for framing in FRAMINGS {
        let wire = Wire::new(framing);
        let dead = &wire.meters[2];
        dead.with(|meter, _| meter.set_habit("bus", "no_answer", &Value::Bool(true))).expect("a habit that exists");
        for token in 0..6 {
            wire.gateway.read(token, 1 + token % 3);
        }
        (0..6).for_each(|token| drop(wire.gateway.answer(token)));
        wire.world.run_for(secs(2));
        let unanswered: Vec<(Option<u8>, Option<u64>)> = wire
            .seen()
            .iter()
            .filter(|seen| seen.kind == Kind::Unanswered)
            .map(|seen| (seen.unit, seen.request))
            .collect();
        assert_eq!(unanswered, [(Some(3), Some(4)), (Some(3), Some(10))], "{framing}");
        let others = wire.seen().iter().filter(|seen| matches!(seen.kind, Kind::Response)).count();
        assert_eq!(others, 4);
    }
}
