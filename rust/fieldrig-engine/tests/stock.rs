//! The stock client and server (tokio-modbus) on links of the engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Probe, bind, url};
use fieldrig_engine::stock::modbus::{self, Client, Config, Ended, Framing, Outcome, Response, Server, Table, Tables};
use fieldrig_engine::{ClockKind, EngineError, Node, Rig, RigOptions};
use fieldrig_proto::device::{Device, NoModel, PointStore};
use fieldrig_proto::endpoint::{Conn, Target, Why};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Stamp};
use std::io::{Read, Write};
use std::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

fn sim() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).unwrap()
}

fn over_memory(rig: &Rig) -> Node<Client> {
    let target = Target { via: "modbus".to_owned(), url: "memory://meter".to_owned() };
    let client = Client::new(Config { framing: Framing::Tcp, reconnect: Some(target), wire: false });
    rig.open("stock", client, vec![bind("modbus", url("memory://meter"))]).unwrap()
}

/// One request by its PDU, to unit 1, within a second.
fn ask(client: &Node<Client>, pdu: &[u8]) -> Ended {
    let request = modbus::request(pdu).unwrap();
    let called = client.call(
        |client, now| Ok::<_, ()>(client.ask(now, 1, request, SECOND)),
        Duration::MAX,
        |ticket, _, events, _| {
            let index = events.iter().position(|ended| ended.exchange.ticket == *ticket)?;
            events.remove(index)
        },
        &mut || true,
    );
    called.unwrap().unwrap().outcome.unwrap()
}

/// An emulated meter with three holding registers, listening in memory.
fn meter(rig: &Rig) -> Node<Device> {
    let registers = Value::Table(vec![("0".to_owned(), Value::List(vec![1.into(), 2.into(), 3.into()]))]);
    let settings = [("unit".to_owned(), Value::Int(1)), ("holding".to_owned(), registers)];
    let constructor = fieldrig_proto::modbus::TCP.constructor(Role::Device).unwrap();
    let Ok(Built::Face(face)) = (constructor.build)("modbus", &settings) else { panic!("no face") };
    let device = Device::new("meter", PointStore::new(Vec::new()), Box::new(NoModel), vec![face]);
    let node = rig.open("meter", device, vec![bind("modbus", url("memory-listen://meter"))]).unwrap();
    node.with(|device, now| device.power_on(now)).unwrap();
    node
}

/// A scripted device: waits for a request, then sends this on the connection it came on.
fn play(device: &Node<Probe>, answer: &[u8]) {
    device.look().unwrap();
    let answer = answer.to_vec();
    device.with(|probe, _| probe.send(*probe.conns.last().unwrap(), &answer)).unwrap();
}

#[test]
fn the_stock_client_reads_and_writes_an_emulated_device_in_virtual_time() {
    let rig = sim();
    let _meter = meter(&rig);
    let client = over_memory(&rig);
    let read = ask(&client, &[3, 0, 0, 0, 3]);
    assert_eq!(read.outcome, Outcome::Answered(Response::ReadHoldingRegisters(vec![1, 2, 3])));
    assert_eq!(read.exchange.sent, [0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, 3], "its transaction ids begin at 0");
    assert_eq!(read.exchange.received, [0, 0, 0, 0, 0, 9, 1, 3, 6, 0, 1, 0, 2, 0, 3]);
    assert_eq!(ask(&client, &[6, 0, 1, 0, 77]).outcome, Outcome::Answered(Response::WriteSingleRegister(1, 77)));
    assert_eq!(ask(&client, &[3, 0, 9, 0, 1]).outcome, Outcome::Exception(2));
    // tokio-modbus itself calls this a mismatch of function codes.
    assert_eq!(ask(&client, &[7]).outcome, Outcome::Exception(1));
    rig.stop();
}

#[test]
fn a_silent_device_is_a_time_out_at_its_instant_and_the_next_request_has_a_new_connection() {
    let rig = sim();
    let device = rig.open("device", Probe::default(), vec![bind("modbus", url("memory-listen://meter"))]).unwrap();
    let client = over_memory(&rig);
    let begun = rig.now();
    let ended = ask(&client, &[3, 0, 0, 0, 1]);
    assert_eq!((ended.outcome, ended.exchange.at), (Outcome::TimedOut(SECOND), Stamp::exact(begun + SECOND)));
    let again = ask(&client, &[3, 0, 0, 0, 1]);
    assert_eq!(again.exchange.sent[..2], [0, 0], "a new client of tokio-modbus counts from 0");
    let opened = device.with(|probe, _| probe.received).unwrap().0;
    assert_eq!(opened, 24, "both requests came");
    rig.stop();
}

#[test]
fn what_is_no_answer_is_odd_and_what_is_too_little_is_too() {
    let rig = Rig::start(RigOptions::default()).unwrap();
    let device = rig.open("device", Probe::default(), vec![bind("modbus", url("memory-listen://meter"))]).unwrap();
    let client = over_memory(&rig);
    for (answer, says) in [
        (&[0, 9, 0, 0, 0, 5, 1, 3, 2, 0, 1][..], "mismatching headers"),
        (&[0, 0, 0, 0, 0, 5, 1, 4, 2, 0, 1][..], "mismatching function codes"),
        (&[0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 1][..], "1 registers came, 2 were asked for"),
        (&[0, 0, 0, 0, 0, 0][..], ""),
    ] {
        let before = device.with(|probe, _| probe.received).unwrap().0;
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&client, &[3, 0, 0, 0, 2]));
            let deadline = rig.now() + Duration::from_secs(20);
            let came = device.wait(deadline, |probe, _, _| (probe.received > before).then_some(()), &mut || true);
            assert!(came.unwrap().is_some());
            play(&device, answer);
            asked.join().unwrap()
        });
        match asked.outcome {
            Outcome::Odd(text) if !says.is_empty() => assert!(text.contains(says), "{text}"),
            Outcome::TimedOut(_) if says.is_empty() => assert_eq!(asked.exchange.received, answer),
            other => panic!("{says}: {other:?}"),
        }
    }
    rig.stop();
}

#[test]
fn a_connection_that_ends_under_a_request_is_lost() {
    let rig = Rig::start(RigOptions::default()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let target = Target { via: "modbus".to_owned(), url: address.clone() };
    let client = Client::new(Config { framing: Framing::Tcp, reconnect: Some(target), wire: false });
    let client = rig.open("stock", client, vec![bind("modbus", url(&address))]).unwrap();
    let ended = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&client, &[3, 0, 0, 0, 1]));
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        stream.write_all(&[0, 0, 0, 0]).unwrap();
        drop(stream);
        asked.join().unwrap()
    });
    assert_eq!((ended.outcome, ended.exchange.received), (Outcome::Lost(Why::Finished), vec![0, 0, 0, 0]));
    drop(listener);
    let refused = ask(&client, &[3, 0, 0, 0, 1]);
    assert!(matches!(refused.outcome, Outcome::Lost(Why::Refused { .. })), "{:?}", refused.outcome);
    rig.stop();
}

#[test]
fn a_late_answer_on_a_line_is_not_taken_for_the_next() {
    let rig = sim();
    let (device, client) = on_line(&rig);
    assert_eq!(ask(&client, &[3, 0, 0, 0, 1]).outcome, Outcome::TimedOut(SECOND));
    // It is under way while the next request is made.
    let late = [1, 3, 2, 0, 1, 0x79, 0x84];
    device.with(|probe, _| probe.send_timed(Conn(0), &late, Some(rig.now() + SECOND / 4), None)).unwrap();
    let given_up = rig.now();
    let next = ask(&client, &[3, 0, 5, 0, 1]);
    assert_eq!((next.outcome, next.exchange.received), (Outcome::TimedOut(SECOND), vec![]));
    assert!(next.exchange.handed.unwrap() > given_up + SECOND / 4, "it was sent behind the late answer");
    assert!(next.exchange.handed.unwrap() < given_up + SECOND / 2, "and no longer waited than for it");
    rig.stop();
}

/// A scripted device and the stock client on a line.
fn on_line(rig: &Rig) -> (Node<Probe>, Node<Client>) {
    rig.add_wire("bus", Some("19200 8E1".parse().unwrap())).unwrap();
    let device = rig.open("device", Probe::default(), vec![bind("bus", url("wire://bus"))]).unwrap();
    let framing = Framing::Rtu { gap: Some(Duration::from_micros(2005)) };
    let client = Client::new(Config { framing, reconnect: None, wire: true });
    (device, rig.open("stock", client, vec![bind("modbus", url("wire://bus"))]).unwrap())
}

/// The scripted device sends this so much later.
fn send_later(rig: &Rig, device: &Node<Probe>, bytes: &[u8], later: Duration) {
    device.with(|probe, _| probe.send_timed(Conn(0), bytes, Some(rig.now() + later), None)).unwrap();
}

/// The answers of unit 1 to a read of one register: 1, 2.
const ONE: [u8; 7] = [1, 3, 2, 0, 1, 0x79, 0x84];
const TWO: [u8; 7] = [1, 3, 2, 0, 2, 0x39, 0x85];

#[test]
fn a_glitch_before_a_late_answer_does_not_let_the_next_request_have_it() {
    let rig = sim();
    let (device, client) = on_line(&rig);
    assert_eq!(ask(&client, &[3, 0, 0, 0, 1]).outcome, Outcome::TimedOut(SECOND));
    send_later(&rig, &device, &[0], SECOND / 8);
    send_later(&rig, &device, &ONE, SECOND / 4);
    send_later(&rig, &device, &TWO, SECOND / 2);
    let given_up = rig.now();
    let next = ask(&client, &[3, 0, 5, 0, 1]);
    assert_eq!(next.outcome, Outcome::Answered(Response::ReadHoldingRegisters(vec![2])));
    assert!(next.exchange.handed.unwrap() > given_up + SECOND / 4, "it was sent behind the late answer");
    assert_eq!(next.exchange.dropped, [&[0][..], &ONE].concat());
    assert!(!next.exchange.owed, "it came");
    rig.stop();
}

#[test]
fn when_nothing_came_in_the_rest_it_is_said_that_an_answer_is_still_owed() {
    let rig = sim();
    let (device, client) = on_line(&rig);
    assert_eq!(ask(&client, &[3, 0, 0, 0, 1]).outcome, Outcome::TimedOut(SECOND));
    send_later(&rig, &device, &ONE, SECOND + SECOND / 4);
    let other = ask(&client, &[4, 0, 0, 0, 1]);
    assert!(matches!(other.outcome, Outcome::Odd(_)), "{:?}", other.outcome);
    assert!(other.exchange.owed, "nobody is accused of it");
    // Two are owed now: one of them does not end the rest.
    send_later(&rig, &device, &[1, 4, 2, 0, 1, 0x78, 0xf0], SECOND / 4);
    send_later(&rig, &device, &TWO, SECOND + SECOND / 2);
    let next = ask(&client, &[3, 0, 0, 0, 1]);
    let (sent, given_up) = (next.exchange.handed.unwrap(), other.exchange.at.latest());
    assert!(sent >= given_up + SECOND, "{sent:?} {given_up:?}");
    assert_eq!(next.outcome, Outcome::Answered(Response::ReadHoldingRegisters(vec![2])));
    rig.stop();
}

#[test]
fn an_answer_that_comes_twice_is_not_taken_for_the_next_one_neither_apart_nor_in_one_piece() {
    let rig = sim();
    let (device, client) = on_line(&rig);
    let mut before = Vec::new();
    // Apart, and in one piece: the second one comes while nothing is asked.
    for (answer, value, pause) in [(ONE, 1, SECOND / 8), (TWO, 2, Duration::ZERO), (ONE, 1, SECOND / 8)] {
        send_later(&rig, &device, &answer, SECOND / 8);
        send_later(&rig, &device, &answer, SECOND / 8 + pause);
        let read = ask(&client, &[3, 0, 0, 0, 1]);
        assert_eq!(read.outcome, Outcome::Answered(Response::ReadHoldingRegisters(vec![value])));
        assert_eq!(read.exchange.dropped, before);
        before = answer.to_vec();
        let waited = device.wait(rig.now() + SECOND / 2, |_, _, _| None::<()>, &mut || true);
        assert!(waited.unwrap().is_none());
    }
    rig.stop();
}

#[test]
fn what_is_never_answered_is_told_from_what_is() {
    let rtu = Framing::Rtu { gap: None };
    // Also over a connection: `rtu+tcp` has no silences.
    assert_eq!(modbus::never_answered(rtu, 0, &[6, 0, 0, 0, 9]), Some("a broadcast"));
    assert_eq!(modbus::never_answered(Framing::Tcp, 0, &[6, 0, 0, 0, 9]), None, "on TCP it is a unit id like others");
    for framing in [Framing::Tcp, rtu] {
        let listen = modbus::never_answered(framing, 1, &[8, 0, 4, 0, 0]);
        assert_eq!(listen, Some("Force Listen Only Mode (08/0004)"));
        for pdu in [&[8, 0, 0, 0, 4][..], &[8, 0], &[8], &[3, 0, 4, 0, 1], &[]] {
            assert_eq!(modbus::never_answered(framing, 1, pdu), None, "{pdu:?}");
        }
    }
}

fn server(rig: &Rig) -> (Server, String) {
    let tables = Tables::new(None);
    assert!(tables.declare(Table::Holding, 0, &[10, 20]));
    let binding = bind("modbus", url("tcp-listen://127.0.0.1:0"));
    let server = Server::open(rig, "stock", binding, Framing::Tcp, 1, tables, &mut || true).unwrap();
    let address = server.address("modbus").unwrap();
    (server, address)
}

fn exchange(stream: &mut TcpStream, request: &[u8], most: usize) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut limited = stream.take(most as u64);
    limited.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn the_stock_server_answers_many_and_outlives_what_makes_it_panic() {
    let rig = Rig::start(RigOptions::default()).unwrap();
    let (server, address) = server(&rig);
    let mut one = TcpStream::connect(&address).unwrap();
    let mut other = TcpStream::connect(&address).unwrap();
    let read = [0, 7, 0, 0, 0, 6, 9, 3, 0, 0, 0, 2];
    let right = [0, 7, 0, 0, 0, 7, 9, 3, 4, 0, 10, 0, 20];
    assert_eq!(exchange(&mut one, &read, 13), right);
    // Function 15 with less data than its quantity says: tokio-modbus 0.17 looks behind the end.
    let panics = [0, 1, 0, 0, 0, 8, 1, 15, 0, 0, 0, 100, 1, 0];
    assert_eq!(exchange(&mut other, &panics, 1), b"", "the connection ends");
    // No request at all: a length of 0.
    let mut third = TcpStream::connect(&address).unwrap();
    assert_eq!(exchange(&mut third, &[0, 1, 0, 0, 0, 0, 1], 1), b"", "the connection ends");
    assert_eq!(exchange(&mut one, &read, 13), right);
    assert!(server.tables().set(Table::Holding, 1, &[21]));
    assert_eq!(exchange(&mut one, &read, 13)[12], 21);
    server.close();
    assert_eq!(exchange(&mut one, &[], 1), b"", "closed with the server");
    server.close();
    rig.stop();
}

#[test]
fn a_stock_server_is_refused_on_virtual_time() {
    let rig = sim();
    let binding = bind("modbus", url("memory-listen://meter"));
    let refused = Server::open(&rig, "stock", binding, Framing::Tcp, 1, Tables::new(None), &mut || true);
    assert!(matches!(refused, Err(EngineError::Port { what, .. }) if what.contains("virtual time")));
    rig.stop();
}
