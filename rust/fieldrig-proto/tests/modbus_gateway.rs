//! The gateway between scripted TCP clients and a scripted line, on virtual time: GW-01 to GW-09 of the requirements.

mod common;

use common::{Node, Path, Peer, World, ms, secs};
use fieldrig_proto::endpoint::How;
use fieldrig_proto::modbus::client::Config;
use fieldrig_proto::modbus::gateway::{GATEWAY_HABITS, Gateway, GatewayConfig, LINE, MOST_WAITING, Routes};
use fieldrig_proto::modbus::rtu::{self, LineRules};
use fieldrig_proto::modbus::{server, tcp};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;

const SPEED: &str = "19200 8E1";
const READ: [u8; 5] = [3, 0, 0, 0, 1];
const TIMEOUT: Duration = ms(300);
const TURNAROUND: Duration = ms(100);

struct Set {
    world: World,
    gateway: Node<Gateway>,
    bus: Peer,
    one: Peer,
    two: Peer,
}

fn set_up(routes: Routes, own: bool) -> Set {
    let rules = LineRules::exact(&SPEED.parse().expect("valid settings"));
    let holding = Value::List(vec![Value::Int(77)]);
    let own = own.then(|| server::local(&[("holding".to_owned(), holding)]).expect("a server"));
    let line = Config { turnaround: TURNAROUND, ..Config::rtu(rules) };
    let world = World::new();
    let gateway = world.add("gateway", Gateway::new(GatewayConfig { line, timeout: TIMEOUT, routes, own }));
    let [bus, one, two] = ["bus", "one", "two"].map(|name| world.peer(name));
    bus.join(&gateway, LINE, &Path::wire(SPEED));
    one.connect(&gateway, "clients");
    two.connect(&gateway, "clients");
    world.run_for(ms(20));
    Set { world, gateway, bus, one, two }
}

fn gateway() -> Set {
    set_up(Routes::All, true)
}

fn adu(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    tcp::Adu::new(transaction, unit, pdu).encode(&mut out);
    out
}

fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rtu::Adu::new(unit, pdu).encode(&mut out);
    out
}

/// The answer of a unit whose register 0 holds this.
fn holds(value: u8) -> [u8; 4] {
    [3, 2, 0, value]
}

#[test]
fn a_unit_without_a_route_is_0a_and_units_can_be_renumbered() {
    // GW-01
    let set = set_up(Routes::Some([(5, 50)].into()), false);
    set.one.send(adu(1, 6, &READ));
    set.one.expect(adu(1, 6, &[0x83, 0x0a]));
    set.one.send(adu(2, 5, &READ));
    set.bus.expect(frame(50, &READ));
    set.bus.send(frame(50, &holds(9)));
    set.one.expect(adu(2, 5, &holds(9)));
    let set = gateway();
    for unit in [248, 254] {
        set.one.send(adu(3, unit, &READ));
        set.one.expect(adu(3, unit, &[0x83, 0x0a]));
    }
    set.bus.expect_silence(secs(1));
}

#[test]
fn a_silent_unit_is_0b_after_the_time_out_and_not_later() {
    // GW-02
    let set = gateway();
    set.one.send(adu(1, 9, &READ));
    let asked = set.bus.expect(frame(9, &READ));
    let told = set.one.expect(adu(1, 9, &[0x83, 0x0b]));
    let waited = told.latest().since(asked.latest());
    // The time-out counts from when the request was handed to the line: its eight characters have passed by then.
    assert!(waited <= TIMEOUT && waited + ms(10) > TIMEOUT, "{waited:?}\n{}", set.world.journal());
}

#[test]
fn answers_go_to_who_asked_with_transaction_and_unit_as_they_were() {
    // GW-03
    let set = gateway();
    set.one.send(adu(0x1111, 1, &READ));
    set.two.send(adu(0x2222, 2, &READ));
    set.bus.expect(frame(1, &READ));
    set.bus.send(frame(1, &holds(1)));
    set.bus.expect(frame(2, &READ));
    set.bus.send(frame(2, &holds(2)));
    set.one.expect(adu(0x1111, 1, &holds(1)));
    set.two.expect(adu(0x2222, 2, &holds(2)));
}

#[test]
fn on_the_line_there_is_one_request_at_a_time_and_connections_take_turns() {
    // GW-04
    let set = gateway();
    set.one.send([adu(1, 1, &READ), adu(2, 2, &READ), adu(3, 3, &READ)].concat());
    set.two.send(adu(9, 9, &READ));
    for unit in [1, 9, 2, 3] {
        set.bus.expect(frame(unit, &READ));
        set.bus.expect_silence(ms(50));
        set.bus.send(frame(unit, &holds(unit)));
    }
    set.one.expect([adu(1, 1, &holds(1)), adu(2, 2, &holds(2)), adu(3, 3, &holds(3))].concat());
    set.two.expect(adu(9, 9, &holds(9)));
}

#[test]
fn a_broadcast_is_sent_once_and_answered_by_nobody_and_the_line_has_its_turnaround() {
    // GW-05
    let set = gateway();
    let write = [6, 0, 1, 0, 7];
    set.one.send([adu(1, 0, &write), adu(2, 1, &READ)].concat());
    let sent = set.bus.expect(frame(0, &write));
    let next = set.bus.expect(frame(1, &READ));
    assert!(next.earliest().since(sent.latest()) >= TURNAROUND);
    set.bus.send(frame(1, &holds(1)));
    set.one.expect(adu(2, 1, &holds(1)));
    set.one.send(adu(3, 0, &READ));
    set.one.expect(adu(3, 0, &[0x83, 0x0a]));
    set.one.expect_silence(secs(1));
}

#[test]
fn the_answer_to_a_client_that_is_gone_is_nobody_elses() {
    // GW-06
    let set = gateway();
    set.one.send([adu(1, 1, &READ), adu(2, 2, &[6, 0, 0, 0, 1])].concat());
    set.bus.expect(frame(1, &READ));
    set.one.close(How::Rst);
    set.two.send(adu(1, 1, &READ));
    set.bus.send(frame(1, &holds(11)));
    // What it asked and was not on the line yet is not asked any more.
    set.bus.expect(frame(1, &READ));
    set.two.expect_silence(ms(50));
    set.bus.send(frame(1, &holds(22)));
    set.two.expect(adu(1, 1, &holds(22)));
    set.bus.expect_silence(secs(1));
    assert_eq!(set.gateway.with(|gateway, _| gateway.connections()), 1);
}

#[test]
fn an_answer_behind_the_time_out_is_nobodys() {
    // GW-06
    let set = gateway();
    set.one.send(adu(1, 1, &READ));
    set.bus.expect(frame(1, &READ));
    set.one.expect(adu(1, 1, &[0x83, 0x0b]));
    set.two.send(adu(7, 1, &[3, 0, 5, 0, 1]));
    set.bus.send(frame(1, &holds(11)));
    set.bus.expect(frame(1, &[3, 0, 5, 0, 1]));
    set.bus.send(frame(1, &holds(22)));
    set.two.expect(adu(7, 1, &holds(22)));
    set.one.expect_silence(secs(1));
}

#[test]
fn unit_255_is_the_gateway_itself() {
    // GW-07
    let set = gateway();
    set.one.send(adu(1, 255, &READ));
    set.one.expect(adu(1, 255, &holds(77)));
    set.bus.expect_silence(ms(100));
    let without = set_up(Routes::All, false);
    without.one.send(adu(1, 255, &READ));
    without.one.expect(adu(1, 255, &[0x83, 0x0a]));
}

#[test]
fn exceptions_and_whatever_else_is_whole_are_passed_on() {
    // GW-08
    let set = gateway();
    for (request, answer) in [
        (&READ[..], &[0x83, 2][..]),
        (&READ, &[0x83, 0x63]),
        (&READ, &[3, 4, 0, 1, 0, 2]),
        (&[0x41, 1, 2], &[0x41, 7, 8, 9]),
        (&[0x2b, 14, 1, 0], &[0x2b, 14, 1, 1, 0, 0, 0]),
    ] {
        set.one.send(adu(1, 1, request));
        set.bus.expect(frame(1, request));
        set.bus.send(frame(1, answer));
        set.one.expect(adu(1, 1, answer));
        set.world.run_for(ms(10));
    }
}

#[test]
fn a_damaged_answer_or_that_of_another_function_is_0b() {
    // GW-09
    let set = gateway();
    let mut damaged = frame(1, &holds(1));
    damaged[4] ^= 1;
    for answer in [damaged, frame(1, &[4, 2, 0, 1])] {
        set.one.send(adu(1, 1, &READ));
        set.bus.expect(frame(1, &READ));
        set.bus.send(&answer);
        set.one.expect(adu(1, 1, &[0x83, 0x0b]));
        set.world.run_for(secs(5));
    }
    // Of another unit is noise: the time-out decides.
    set.one.send(adu(2, 1, &READ));
    set.bus.expect(frame(1, &READ));
    set.bus.send(frame(2, &holds(1)));
    set.one.expect(adu(2, 1, &[0x83, 0x0b]));
}

#[test]
fn more_than_may_wait_is_busy_and_what_is_no_modbus_is_discarded() {
    let set = gateway();
    let all: Vec<u8> = (0..=MOST_WAITING as u16).flat_map(|transaction| adu(transaction, 1, &READ)).collect();
    set.one.send(all);
    set.one.expect(adu(MOST_WAITING as u16, 1, &[0x83, 6]));
    let mut foreign = adu(1, 1, &READ);
    foreign[3] = 1;
    set.two.send([foreign, adu(1, 1, &[]), adu(2, 255, &READ)].concat());
    set.two.expect(adu(2, 255, &holds(77)));
    set.two.send([0, 1, 0, 0, 0, 0, 1]);
    set.two.expect_closed(&fieldrig_proto::endpoint::Why::Finished);
}

#[test]
fn a_client_that_says_no_more_gets_what_it_asked_for() {
    let set = gateway();
    set.one.send([adu(1, 1, &READ), adu(2, 1, &READ)].concat());
    set.one.close(How::HalfOpen);
    for value in [1, 2] {
        set.bus.expect(frame(1, &READ));
        set.bus.send(frame(1, &holds(value)));
    }
    set.one.expect([adu(1, 1, &holds(1)), adu(2, 1, &holds(2))].concat());
    set.one.expect_closed(&fieldrig_proto::endpoint::Why::Finished);
}

/// What both clients and the line hear of a few requests of every kind.
fn transcript(habit: Option<&str>) -> Vec<Vec<u8>> {
    let set = gateway();
    if let Some(name) = habit {
        set.gateway.with(|gateway, _| gateway.set_habit(name, &Value::Bool(true))).expect("a habit");
    }
    let mut damaged = frame(3, &holds(3));
    damaged[4] ^= 1;
    set.one.send(adu(1, 254, &READ));
    set.one.send(adu(2, 255, &READ));
    set.world.run_for(ms(100));
    for (unit, answer) in [(1, frame(1, &holds(1))), (2, frame(2, &[0x83, 2])), (3, damaged), (4, vec![])] {
        set.one.send(adu(10 + u16::from(unit), unit, &READ));
        set.world.run_for(ms(10));
        set.bus.send(answer);
        set.world.run_for(secs(2));
    }
    set.one.send(adu(20, 0, &[6, 0, 1, 0, 7]));
    set.world.run_for(secs(1));
    set.one.send(adu(30, 1, &READ));
    set.two.send(adu(31, 5, &READ));
    set.world.run_for(ms(20));
    set.one.close(How::Rst);
    set.bus.send(frame(1, &holds(66)));
    set.world.run_for(secs(2));
    [&set.one, &set.two, &set.bus].map(|peer| peer.take()).into()
}

#[test]
fn every_habit_changes_what_is_heard() {
    let proper = transcript(None);
    for habit in GATEWAY_HABITS {
        assert_ne!(transcript(Some(habit.name)), proper, "{}", habit.name);
    }
}
