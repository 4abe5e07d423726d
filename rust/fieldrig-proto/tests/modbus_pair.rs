//! The Modbus client and the emulated device against each other on virtual time: every instant is exact.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs};
use fieldrig_proto::device::{Access, Device, NoModel, PointDefinition, PointKind, PointStore};
use fieldrig_proto::endpoint::{Target, Why};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::modbus::client::{Client, ClientEvent, Config, Exchange, Ticket};
use fieldrig_proto::modbus::pdu::{Exception, Request, Response};
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::modbus::server::{HABITS, ServerFace};
use fieldrig_proto::modbus::{ASCII, RTU, TCP, ascii};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Span, Stamp};

/// On which path a test runs: one body, several routes.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Route {
    Tcp,
    RtuTolerant,
    RtuExact,
    AsciiTolerant,
    AsciiExact,
    AsciiInTcp,
}

const ROUTES: [Route; 6] =
    [Route::Tcp, Route::RtuTolerant, Route::RtuExact, Route::AsciiTolerant, Route::AsciiExact, Route::AsciiInTcp];
const LINE: &str = "19200 8E1";

struct Pair {
    world: World,
    client: Node<Client>,
    device: Node<Device>,
}

fn line() -> LineSettings {
    LINE.parse().expect("valid settings")
}

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

/// A meter: a scaled voltage to read, a limit to write, 100 registers that are 0.
fn device(protocol: &Protocol, framing: &str) -> Device {
    let map = table(&[
        ("voltage", table(&[("table", "input".into()), ("address", Value::Int(0)), ("scale", Value::Float(0.1))])),
        ("limit", table(&[("table", "holding".into()), ("address", Value::Int(200)), ("type", "f32".into())])),
    ]);
    let mut settings = vec![
        ("unit".to_owned(), Value::Int(1)),
        ("holding".to_owned(), table(&[("0", table(&[("count", Value::Int(100))]))])),
        ("map".to_owned(), map),
    ];
    if protocol.name != "modbus-tcp" {
        settings.push(("line".to_owned(), LINE.into()));
        settings.push(("framing".to_owned(), framing.into()));
    }
    let constructor = protocol.constructor(Role::Device).expect("Modbus has devices");
    let Ok(Built::Face(face)) = (constructor.build)("modbus", &settings) else { panic!("these settings make a face") };
    let point = |name: &str, initial: f64, access| PointDefinition {
        name: name.to_owned(),
        kind: PointKind::Float,
        unit: "V".to_owned(),
        initial: Value::Float(initial),
        range: Some((0.0, 400.0)),
        access,
    };
    let points = vec![point("voltage", 230.1, Access::Read), point("limit", 250.0, Access::ReadWrite)];
    Device::new("meter", PointStore::new(points), Box::new(NoModel), vec![face])
}

impl Pair {
    fn new(route: Route) -> Pair {
        let (config, device, path) = match route {
            Route::Tcp => (Config::tcp(), device(&TCP, ""), Path::stream().delay(ms(2))),
            Route::RtuTolerant => (Config::rtu_on(&line()), device(&RTU, "tolerant"), Path::wire(LINE)),
            Route::RtuExact => (Config::rtu(LineRules::exact(&line())), device(&RTU, "exact"), Path::wire(LINE)),
            Route::AsciiTolerant => {
                (Config::ascii(ascii::Rules::tolerant(&line())), device(&ASCII, "tolerant"), Path::wire(LINE))
            }
            Route::AsciiExact => {
                (Config::ascii(ascii::Rules::exact(&line())), device(&ASCII, "exact"), Path::wire(LINE))
            }
            Route::AsciiInTcp => {
                let path = Path::stream().delay(ms(2)).segments(3);
                (Config::ascii(ascii::Rules::unpaced()), device(&ASCII, "tolerant"), path)
            }
        };
        let world = World::new();
        let device = world.add("meter", device);
        device.with(|device, now| device.power_on(now));
        let client = world.add("client", Client::new(config));
        world.join(&client, "modbus", &device, "modbus", &path);
        world.run_for(ms(10));
        client.events();
        Pair { world, client, device }
    }

    fn ask(&self, request: Request) -> Ticket {
        self.client.with(|client, now| client.request(now, 1, request, secs(1))).expect("a request that may be sent")
    }

    fn end(&self, ticket: Ticket) -> ClientEvent {
        // A request of the same function waits ten time-outs for a late answer.
        self.client.wait(secs(15), |_, events| {
            let index = events.iter().position(|event| event.ticket() == Some(ticket))?;
            events.remove(index)
        })
    }

    fn answer(&self, request: Request) -> (Exchange, Response) {
        match self.end(self.ask(request)) {
            ClientEvent::Answered(exchange, response) => (exchange, response),
            other => panic!("an answer, not {other:?}; on the links:\n{}", self.world.journal()),
        }
    }

    fn habit(&self, name: &str, value: &Value) {
        self.device.with(|device, _| device.set_habit("modbus", name, value)).expect("a habit that exists");
    }
}

fn registers(response: Response) -> Vec<u16> {
    match response {
        Response::Registers { values, .. } => values,
        other => panic!("registers, not {other:?}"),
    }
}

#[test]
fn every_function_goes_there_and_back() {
    for route in ROUTES {
        let pair = Pair::new(route);
        let holding = |address, quantity| Request::ReadHoldingRegisters { address, quantity };
        pair.answer(Request::WriteMultipleRegisters { address: 3, values: vec![7, 8, 9] });
        pair.answer(Request::WriteSingleRegister { address: 4, value: 0x12 });
        pair.answer(Request::MaskWriteRegister { address: 4, and: 0xf2, or: 0x25 });
        assert_eq!(registers(pair.answer(holding(3, 3)).1), [7, 0x17, 9], "{route:?}");
        let both = Request::ReadWriteMultipleRegisters {
            read_address: 3,
            read_quantity: 2,
            write_address: 3,
            values: vec![1],
        };
        assert_eq!(registers(pair.answer(both).1), [1, 0x17]);
        assert_eq!(registers(pair.answer(Request::ReadInputRegisters { address: 0, quantity: 1 }).1), [2301]);
        let event = pair.end(pair.ask(holding(99, 2)));
        let refused = Exception { function: 3, code: Exception::ILLEGAL_DATA_ADDRESS };
        assert!(matches!(event, ClientEvent::Exception(_, exception) if exception == refused), "{event:?}");
        let event = pair.end(pair.ask(Request::raw(&[0x41, 1])));
        assert!(matches!(event, ClientEvent::Exception(_, Exception { function: 0x41, code: 1 })), "{event:?}");
    }
}

#[test]
fn a_written_point_is_in_the_store_at_the_instant_the_request_came_in() {
    let pair = Pair::new(Route::Tcp);
    // 300.5 is 0x43964000 in IEEE 754.
    let (exchange, _) = pair.answer(Request::WriteMultipleRegisters { address: 200, values: vec![0x4396, 0x4000] });
    let change = pair.device.with(|device, _| device.changes(0).last().cloned()).expect("a change");
    assert_eq!(change.to, Value::Float(300.5));
    let sent = exchange.sent.expect("it was sent");
    assert_eq!((change.at, exchange.at), (sent + ms(2), Stamp::exact(sent + ms(4))));
    let event = pair.end(pair.ask(Request::WriteMultipleRegisters { address: 200, values: vec![0x7f80, 0] }));
    assert!(matches!(event, ClientEvent::Exception(_, Exception { code: 3, .. })), "infinity is out of range");
}

#[test]
fn on_a_wire_every_instant_follows_from_the_baud_rate() {
    let pair = Pair::new(Route::RtuTolerant);
    pair.world.run_for(ms(100));
    let (exchange, _) = pair.answer(Request::ReadHoldingRegisters { address: 0, quantity: 2 });
    // 8 characters of 11 bits there, t3.5 of silence, 9 characters back, at 19200 baud, in nanoseconds.
    let expected = 8 * 11_000_000_000 / 19_200 + 2_005_208 + 9 * 11_000_000_000 / 19_200;
    let sent = Stamp::exact(exchange.sent.expect("it was sent"));
    assert_eq!(sent.until(exchange.at), Span::exact(expected));
}

#[test]
fn sixteen_requests_are_in_flight_at_once_and_all_are_answered() {
    let pair = Pair::new(Route::Tcp);
    let before = pair.world.now();
    let tickets: Vec<Ticket> =
        (0..32).map(|address| pair.ask(Request::WriteSingleRegister { address, value: address })).collect();
    for ticket in tickets {
        assert!(matches!(pair.end(ticket), ClientEvent::Answered(..)));
    }
    // Two rounds of 16, 4 ms each.
    assert_eq!(pair.world.now(), before + ms(8));
}

#[test]
fn a_slow_device_is_late_not_wrong() {
    for route in [Route::Tcp, Route::RtuTolerant, Route::AsciiTolerant] {
        let pair = Pair::new(route);
        let write = |value| Request::WriteSingleRegister { address: 1, value };
        let read = Request::ReadHoldingRegisters { address: 1, quantity: 1 };
        pair.answer(write(1));
        pair.habit("delay_answer", &"1050ms".into());
        assert!(matches!(pair.end(pair.ask(read.clone())), ClientEvent::TimedOut(..)));
        pair.habit("delay_answer", &"default".into());
        pair.answer(write(2));
        assert_eq!(registers(pair.answer(read).1), [2], "{route:?}");
        pair.world.run_for(secs(2));
        let late = pair.client.events().into_iter().filter(|event| matches!(event, ClientEvent::Late(_))).count();
        assert_eq!(late, 1, "{route:?}");
    }
}

#[test]
fn what_the_habits_make_of_answers_is_malformed_or_ignored() {
    for (habit, value, reason) in [
        ("protocol_id", Value::Int(1), "protocol id at offset 2 is 0x0001, 0 is Modbus"),
        ("answer_unit", Value::Int(9), "unit id at offset 6 is 9, 1 was asked"),
        ("byte_count_delta", Value::Int(2), "PDU from offset 7: byte count at offset 1 says 4, 2 bytes follow"),
        ("length_delta", Value::Int(-1), "PDU from offset 7: byte count at offset 1 says 2, 1 bytes follow"),
    ] {
        let pair = Pair::new(Route::Tcp);
        pair.habit(habit, &value);
        match pair.end(pair.ask(Request::ReadHoldingRegisters { address: 0, quantity: 1 })) {
            ClientEvent::Malformed(_, told) => assert_eq!(told, reason),
            other => panic!("{habit}: malformed, not {other:?}"),
        }
    }
    let pair = Pair::new(Route::Tcp);
    pair.habit("transaction_ids", &"counter".into());
    pair.client.with(|client, _| client.set_next_transaction(500));
    assert!(matches!(
        pair.end(pair.ask(Request::ReadHoldingRegisters { address: 0, quantity: 1 })),
        ClientEvent::TimedOut(..)
    ));
    let strays = pair.client.events();
    assert!(matches!(&strays[..], [ClientEvent::Unsolicited(stray)] if stray.reason == "no request has transaction 1"));
}

#[test]
fn power_off_ends_what_is_pending_and_power_on_is_a_fresh_start() {
    let pair = Pair::new(Route::Tcp);
    pair.habit("delay_answer", &"500ms".into());
    let ticket = pair.ask(Request::ReadHoldingRegisters { address: 0, quantity: 1 });
    pair.world.run_for(ms(10));
    pair.device.with(|device, now| device.power_off(now));
    assert!(matches!(pair.end(ticket), ClientEvent::Lost(_, Why::Reset)));
    assert_eq!(
        pair.device.with(|device, _| device.face_as::<ServerFace>("modbus").map(|face| face.connections())),
        Some(0)
    );
}

#[test]
fn a_device_on_a_wire_is_silent_without_power_and_answers_again_with_it() {
    let pair = Pair::new(Route::RtuTolerant);
    let read = Request::ReadInputRegisters { address: 0, quantity: 1 };
    pair.device.with(|device, now| device.power_off(now));
    assert!(matches!(pair.end(pair.ask(read.clone())), ClientEvent::TimedOut(..)));
    pair.device.with(|device, now| device.power_on(now));
    assert_eq!(registers(pair.answer(read).1), [2301]);
}

#[test]
fn a_client_that_may_reconnects_by_itself() {
    let world = World::new();
    let url = "tcp://meter:502";
    let meter = world.add("meter", device(&TCP, ""));
    meter.with(|device, now| device.power_on(now));
    world.listen(url, &meter, "modbus", &Path::stream());
    let target = Target { via: "modbus".into(), url: url.into() };
    let client = world.add("client", Client::new(Config { reconnect: Some(target), ..Config::tcp() }));
    let pair = Pair { world, client, device: meter };
    let read = Request::ReadInputRegisters { address: 0, quantity: 1 };
    pair.client.with(|client, now| client.connect(now));
    assert_eq!(registers(pair.answer(read.clone()).1), [2301]);
    pair.device.with(|device, now| device.power_cycle(now, ms(100)));
    pair.world.run_for(ms(200));
    assert_eq!(registers(pair.answer(read).1), [2301]);
}

#[test]
fn two_units_share_a_wire_and_the_client_hears_both_apart() {
    let world = World::new();
    let client = world.add("client", Client::new(Config::rtu_on(&line())));
    let peer = world.peer("two devices");
    peer.join(&client, "modbus", &Path::wire(LINE));
    world.run_for(ms(10));
    let read = Request::ReadHoldingRegisters { address: 0, quantity: 1 };
    let ticket = client.with(|client, now| client.request(now, 1, read, secs(1))).expect("a request that may be sent");
    peer.receive(8);
    peer.send(framed(2, &[3, 2, 0, 2]));
    peer.send_timed(framed(1, &[3, 2, 0, 1]), None, Some(ms(5)));
    let event = client.wait(secs(1), |_, events| {
        let index = events.iter().position(|event| event.ticket() == Some(ticket))?;
        events.remove(index)
    });
    assert!(matches!(event, ClientEvent::Answered(_, Response::Registers { values, .. }) if values == [1]));
    assert!(client.events().iter().any(|event| matches!(event, ClientEvent::Unsolicited(_))));
}

fn framed(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    fieldrig_proto::modbus::rtu::Adu::new(unit, pdu).encode(&mut out);
    out
}

/// A scripted client on a wire of real speed: `gap` of silence inside the request, after four bytes.
fn answered_after_gap(gap: Duration) -> bool {
    let world = World::new();
    let meter = world.add("meter", device(&RTU, "exact"));
    meter.with(|device, now| device.power_on(now));
    let peer: Peer = world.peer("client");
    peer.join(&meter, "modbus", &Path::wire(LINE));
    world.run_until(at(ms(100)));
    let request = framed(1, &[3, 0, 0, 0, 1]);
    peer.send(&request[..4]);
    peer.send_timed(&request[4..], None, Some(gap));
    world.run_for(secs(1));
    !peer.take().is_empty()
}

#[test]
fn t15_and_t35_are_exact_on_a_simulated_wire() {
    // t1.5 is 859.375 us, t3.5 is 2005.208 us at 19200 baud.
    assert!(answered_after_gap(Duration::ZERO));
    assert!(answered_after_gap(Duration::from_nanos(859_375)));
    assert!(!answered_after_gap(Duration::from_nanos(859_376)));
    assert!(!answered_after_gap(Duration::from_nanos(2_005_207)));
    assert!(!answered_after_gap(Duration::from_nanos(2_005_209)), "the second half is no frame");
}

#[test]
fn habits_reach_the_face_through_the_device() {
    let pair = Pair::new(Route::Tcp);
    for habit in HABITS {
        pair.habit(habit.name, &habit.sample.value());
        pair.habit(habit.name, &"default".into());
    }
    let error = pair.device.with(|device, _| device.set_habit("modbus", "nonsense", &Value::Bool(true)));
    assert!(error.is_err_and(|text| text.contains("transaction_ids")));
    assert_eq!(registers(pair.answer(Request::ReadInputRegisters { address: 0, quantity: 1 }).1), [2301]);
}
