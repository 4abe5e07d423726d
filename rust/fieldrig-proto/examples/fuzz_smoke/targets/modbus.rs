//! Modbus: PDUs, both framings, dissection, client, both faces, monitor.

use super::{Eater, Target, decoder};
use crate::endpoints::{Driver, Link};
use fieldrig_proto::device::{Device, Emission, NoModel, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Conn, Endpoint, How, Input, Peer, Stamps};
use fieldrig_proto::fault::Chance;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::modbus::client::{Client, Config};
use fieldrig_proto::modbus::gateway::{GATEWAY_HABITS, Gateway, GatewayConfig, LINE, Routes};
use fieldrig_proto::modbus::monitor::{self, Monitor};
use fieldrig_proto::modbus::pdu::{Exception, Request, Response};
use fieldrig_proto::modbus::rtu::{self, LineRules, Traffic};
use fieldrig_proto::modbus::server::{HABITS, local};
use fieldrig_proto::modbus::{ASCII as ASCII_PROTOCOL, RTU as RTU_PROTOCOL, TCP as TCP_PROTOCOL, ascii, tcp};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::hint::black_box;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "modbus: request PDU", samples: PDUS, make: || decoder(request) },
        Target { name: "modbus: response PDU", samples: PDUS, make: || decoder(response) },
        Target { name: "modbus: TCP framer", samples: TCP, make: || decoder(tcp_framer()) },
        Target {
            name: "modbus: RTU, exact",
            samples: RTU,
            make: || assembler(LineRules::exact(&line()), Traffic::Responses),
        },
        Target {
            name: "modbus: RTU, tolerant",
            samples: RTU,
            make: || assembler(LineRules::tolerant(&line()), Traffic::Requests { own: Some(1) }),
        },
        Target { name: "modbus: ASCII", samples: ASCII, make: ascii_assembler },
        Target {
            name: "modbus: client, ASCII",
            samples: ASCII,
            make: || Driver::eater(&[Link::wire("modbus")], || Client::new(Config::ascii(ascii_rules())), ask),
        },
        Target {
            name: "modbus: server, ASCII",
            samples: ASCII,
            make: || Driver::eater(&[Link::wire("modbus")], || server(&ASCII_PROTOCOL), disturb),
        },
        Target {
            name: "modbus: client, TCP",
            samples: TCP,
            make: || Driver::eater(&[Link::connection("modbus")], || Client::new(Config::tcp()), ask),
        },
        Target {
            name: "modbus: client, RTU",
            samples: RTU,
            make: || Driver::eater(&[Link::wire("modbus")], || Client::new(Config::rtu_on(&line())), ask),
        },
        Target {
            name: "modbus: server, TCP",
            samples: TCP,
            make: || Driver::eater(&[Link::connection("modbus"); 3], || server(&TCP_PROTOCOL), disturb),
        },
        Target {
            name: "modbus: server, RTU",
            samples: RTU,
            make: || Driver::eater(&[Link::wire("modbus")], || server(&RTU_PROTOCOL), disturb),
        },
        Target {
            name: "modbus: client face, TCP",
            samples: TCP,
            make: || Driver::eater(&[Link::connection("modbus")], || gateway(&TCP_PROTOCOL), ask_as_model),
        },
        Target {
            name: "modbus: client face, RTU",
            samples: RTU,
            make: || Driver::eater(&[Link::wire("modbus")], || gateway(&RTU_PROTOCOL), ask_as_model),
        },
        Target {
            name: "modbus: monitor, tolerant",
            samples: RTU,
            make: || Driver::eater(&[Link::wire("modbus")], || Monitor::new(tolerant()), |_, _, _| {}),
        },
        Target { name: "modbus: gateway", samples: GATEWAY, make: gateways },
        Target { name: "modbus: monitor, exact", samples: RTU, make: monitor_exact },
        Target { name: "modbus: monitor, TCP", samples: TCP, make: monitor_tcp },
        Target { name: "modbus: dissection", samples: TCP, make: || decoder(dissect) },
    ]
}

fn dissect(bytes: &[u8]) {
    for protocol in [&TCP_PROTOCOL, &RTU_PROTOCOL, &ASCII_PROTOCOL] {
        for sender in [Sender::Client, Sender::Server] {
            black_box((protocol.message_length)(bytes, sender));
            black_box((protocol.dissect)(bytes, sender).render(bytes));
        }
    }
}

/// Two clients and a line; the line has the last connection number.
fn gateways() -> Eater {
    let links = [Link::connection("clients"), Link::connection("clients"), Link::wire(LINE)];
    let make = || {
        let own = local(&[("holding".to_owned(), Value::List(vec![Value::Int(1); 20]))]).expect("a server");
        let (line, timeout) = (Config::rtu_on(&line()), Duration::from_millis(20));
        Gateway::new(GatewayConfig { line, timeout, routes: Routes::All, own: Some(own) })
    };
    Driver::eater(&links, make, |gateway, _, chance| {
        if chance.below(16) == 0 {
            let habit = GATEWAY_HABITS[chance.below(GATEWAY_HABITS.len() as u64) as usize];
            drop(gateway.set_habit(habit.name, &Value::Bool(chance.below(2) == 0)));
        }
    })
}

/// A device of unit 1 with a few of everything, running.
fn server(protocol: &Protocol) -> Device {
    let raw = |table: &str| (table.to_owned(), Value::List(vec![Value::Int(1); 20]));
    let mut settings: Vec<_> = ["coils", "discrete", "holding", "input"].map(raw).into();
    settings.push(("unit".to_owned(), Value::Int(1)));
    let table = |key: &str, value: Value| Value::Table(vec![(key.to_owned(), value)]);
    let texts = (0..5).map(|object| (object.to_string(), Value::Text("x".repeat(90))));
    settings.extend([
        ("files".to_owned(), table("4", Value::List(vec![Value::Int(1); 20]))),
        ("fifos".to_owned(), table("7", Value::List(vec![Value::Int(1); 31]))),
        ("identification".to_owned(), Value::Table(texts.collect())),
        ("units".to_owned(), table("2", Value::Table(vec![raw("holding")]))),
        ("functions".to_owned(), Value::List((1..=0x2b).map(Value::Int).collect())),
    ]);
    let build = protocol.constructor(Role::Device).expect("Modbus has devices").build;
    let Ok(Built::Face(face)) = build("modbus", &settings) else { panic!("the settings are right") };
    let mut device = Device::new("fuzz", PointStore::new(Vec::new()), Box::new(NoModel), vec![face]);
    device.power_on(Time::default());
    device
}

/// A device that asks, running.
fn gateway(protocol: &Protocol) -> Device {
    let build = protocol.constructor(Role::Client).expect("Modbus has clients").build;
    let mut settings = vec![("timeout".to_owned(), Value::Text("5ms".to_owned()))];
    if protocol.name == TCP_PROTOCOL.name {
        settings.push(("url".to_owned(), Value::Text("tcp://fuzz".to_owned())));
    }
    let Ok(Built::Face(face)) = build("modbus", &settings) else { panic!("the settings are right") };
    let mut device = Device::new("fuzz", PointStore::new(Vec::new()), Box::new(NoModel), vec![face]);
    device.power_on(Time::default());
    device
}

/// What a model asks, good or not.
fn ask_as_model(device: &mut Device, now: Time, chance: &mut Chance) {
    let mut entry = |key: &str, most: u64| (key.to_owned(), Value::Int(chance.below(most) as i64));
    let mut table = vec![entry("token", 5), entry("unit", 3), entry("address", 3), entry("count", 4)];
    let names = ["read_input", "read_holding", "write_register", "nonsense"];
    let name = names[chance.below(4) as usize];
    table.push(("function".to_owned(), Value::Text(name.to_owned())));
    table.push(("value".to_owned(), Value::Int(3)));
    device.emit(now, "modbus", Emission::Ask(Value::Table(table)));
    if chance.below(32) == 0 {
        device.power_cycle(now, Duration::from_millis(1));
    }
}

fn tolerant() -> monitor::Config {
    monitor::Config { inbox: 50, ..monitor::Config::rtu(LineRules::tolerant(&line())) }
}

/// Bytes with uncertain stamps, in time that jumps.
fn monitor_exact() -> Eater {
    let config = monitor::Config { inbox: 50, ..monitor::Config::rtu(LineRules::exact(&line())) };
    let mut monitor = Monitor::new(config);
    let conn = Conn(0);
    let peer = Peer { via: "modbus".to_owned(), address: "fuzz".to_owned(), wire: true, ..Peer::default() };
    Endpoint::handle(&mut monitor, Time::default(), Input::Opened(conn, &peer));
    let mut now = Time::default();
    Box::new(move |bytes, chance: &mut Chance| {
        now = now + Duration::from_micros(chance.below(12_000));
        let stamp = Stamp::between(now - Duration::from_micros(chance.below(6_000)), now);
        Endpoint::handle(&mut monitor, now, Input::Bytes(conn, bytes, Stamps::One(stamp)));
        if let Some(due) = Endpoint::poll_timeout(&monitor).filter(|_| chance.below(2) == 0) {
            now = now.max(due);
            Endpoint::handle_timeout(&mut monitor, now);
            assert!(Endpoint::poll_timeout(&monitor).is_none_or(|next| next > now), "the monitor makes no progress");
        }
        while let Some(seen) = Endpoint::poll_event(&mut monitor) {
            black_box(seen.describe());
        }
    })
}

/// Both directions of a few connections.
fn monitor_tcp() -> Eater {
    let mut monitor = Monitor::new(monitor::Config { inbox: 50, ..monitor::Config::tcp() });
    let mut now = Time::default();
    Box::new(move |bytes, chance: &mut Chance| {
        now = now + Duration::from_millis(chance.below(300));
        let sender = if chance.below(2) == 0 { Sender::Client } else { Sender::Server };
        let flow = chance.below(3) as u32;
        monitor.observe(now, flow, sender, bytes, Stamps::One(Stamp::exact(now)));
        Endpoint::handle_timeout(&mut monitor, now);
        if chance.below(16) == 0 {
            monitor.ended(now, flow);
        }
        while let Some(seen) = Endpoint::poll_event(&mut monitor) {
            black_box(seen.describe());
        }
    })
}

/// What a test does to a device.
fn disturb(device: &mut Device, now: Time, chance: &mut Chance) {
    match chance.below(16) {
        0 => device.power_cycle(now, Duration::from_millis(1)),
        1..6 => {
            let habit = &HABITS[chance.below(HABITS.len() as u64) as usize];
            let value = match chance.below(3) {
                0 => Value::Bool(true),
                1 => Value::Int(chance.below(300) as i64),
                _ => Value::Text("1ms".to_owned()),
            };
            drop(device.set_habit("modbus", habit.name, &value));
        }
        _ => {}
    }
}

fn line() -> LineSettings {
    "9600 8E1".parse().expect("these settings are right")
}

/// Asks what the samples answer.
fn ask(client: &mut Client, now: Time, chance: &mut Chance) {
    client.set_next_transaction(chance.below(3) as u16);
    let request = match chance.below(3) {
        0 => Request::ReadHoldingRegisters { address: 0, quantity: 1 + chance.below(3) as u16 },
        1 => Request::WriteMultipleRegisters { address: 1, values: vec![10, 258] },
        _ => Request::raw(&[3, 0, 0, 0, 1]),
    };
    let ticket = client.request(now, 1 + chance.below(2) as u8, request, Duration::from_millis(chance.below(50)));
    match chance.below(32) {
        0 => client.close(now, How::Fin),
        1 => drop(ticket.map(|ticket| client.cancel(now, ticket))),
        _ => {}
    }
}

/// What parses, and is written again, parses as the same: only padding bits may be lost.
fn request(pdu: &[u8]) {
    if let Ok(request) = Request::parse(pdu) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(Request::parse(&again).as_ref(), Ok(&request), "not what was written");
        black_box((request.check().is_ok(), request.check_addresses().is_ok()));
        black_box(Response::answering(&request, pdu).is_ok());
    }
}

fn response(pdu: &[u8]) {
    if let Ok(response) = Response::parse(pdu) {
        let mut again = Vec::new();
        response.encode(&mut again);
        assert_eq!(Response::parse(&again).as_ref(), Ok(&response), "not what was written");
    }
    black_box(Exception::parse(pdu).is_ok());
}

/// One stream for all inputs: rests of one meet the beginning of the next.
fn tcp_framer() -> impl FnMut(&[u8]) {
    let mut framer = tcp::Framer::default();
    move |bytes| {
        framer.feed(bytes, |found| {
            black_box(&found);
        });
        if framer.pending().len() > 1000 {
            framer.clear();
        }
    }
}

fn ascii_rules() -> ascii::Rules {
    ascii::Rules::tolerant(&line())
}

fn ascii_assembler() -> Eater {
    let mut assembler = ascii::Assembler::new(ascii_rules());
    let mut now = Time::default();
    Box::new(move |bytes, chance: &mut Chance| {
        now = now + Duration::from_millis(chance.below(1_200));
        match chance.below(16) {
            0 => assembler.spoil(),
            1 => assembler.set_delimiter(b"\n%A:\r"[chance.below(5) as usize], Some(b'\n')),
            _ => {}
        }
        assembler.push(bytes, Stamps::One(Stamp::between(now, now)));
        if let Some(due) = assembler.deadline().filter(|_| chance.below(2) == 0) {
            now = now.max(due);
            assembler.expire(now);
        }
        while let Some(frame) = assembler.pop() {
            assert!(frame.bytes.len() <= ascii::MAX_CHARACTERS, "frames are bounded");
            black_box(assembler.view(&frame.bytes, chance.below(2) == 0).problem());
        }
    })
}

fn assembler(rules: LineRules, traffic: Traffic) -> Eater {
    let mut assembler = rtu::Assembler::new(&rules, traffic);
    let mut now = Time::default();
    Box::new(move |bytes, chance: &mut Chance| {
        now = now + Duration::from_micros(chance.below(4_000));
        if chance.below(16) == 0 {
            assembler.spoil();
        }
        assembler.push(bytes, Stamps::One(Stamp::between(now, now)));
        if let Some(due) = assembler.deadline().filter(|_| chance.below(2) == 0) {
            now = now.max(due);
            assembler.expire(now);
        }
        while let Some(frame) = assembler.pop() {
            black_box(rtu::View(&frame.bytes).problem());
        }
    })
}

const PDUS: &[&[u8]] = &[
    b"\x01\x00\x13\x00\x13",
    b"\x03\x00\x6b\x00\x03",
    b"\x05\x00\xac\xff\x00",
    b"\x06\x00\x01\x00\x03",
    b"\x0f\x00\x13\x00\x0a\x02\xcd\x01",
    b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02",
    b"\x16\x00\x04\x00\xf2\x00\x25",
    b"\x17\x00\x03\x00\x06\x00\x0e\x00\x03\x06\x00\xff\x00\xff\x00\xff",
    b"\x01\x03\xcd\x6b\x05",
    b"\x03\x06\x02\x2b\x00\x00\x00\x64",
    b"\x83\x02",
    b"\x07",
    b"\x07\x6d",
    b"\x08\x00\x00\xa5\x37",
    b"\x08\x00\x01\xff\x00",
    b"\x08\x00\x04\x00\x00",
    b"\x0b\x00\x00\x01\x08",
    b"\x0c\x08\x00\x00\x01\x08\x01\x21\x20\x00",
    b"\x11\x02\x01\xff",
    b"\x14\x0e\x06\x00\x04\x00\x01\x00\x02\x06\x00\x03\x00\x09\x00\x02",
    b"\x14\x0c\x05\x06\x0d\xfe\x00\x20\x05\x06\x33\xcd\x00\x40",
    b"\x15\x0d\x06\x00\x04\x00\x07\x00\x03\x06\xaf\x04\xbe\x10\x0d",
    b"\x18\x00\x07",
    b"\x18\x00\x06\x00\x02\x01\xb8\x12\x84",
    b"\x2b\x0e\x02\x00",
    b"\x2b\x0e\x01\x83\xff\x02\x02\x00\x01a\x01\x02bc",
];
const GATEWAY: &[&[u8]] = &[
    b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01",
    b"\x00\x02\x00\x00\x00\x06\x00\x06\x00\x00\x00\x01",
    b"\x00\x03\x00\x00\x00\x06\xff\x03\x00\x00\x00\x01",
    b"\x00\x04\x00\x00\x00\x02\xfa\x07",
    b"\x01\x03\x02\x00\xe6\x38\x0e",
    b"\x01\x83\x02\xc0\xf1",
];
const TCP: &[&[u8]] = &[
    b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a",
    b"\x00\x01\x00\x00\x00\x07\x01\x03\x04\x00\x0a\x01\x02",
    b"\x00\x02\x00\x00\x00\x03\x01\x83\x02",
    b"\xff\xff\x00\x00\x01\x00\xff\x03\x00\x00\x00\x7d",
];
const ASCII: &[&[u8]] = &[
    b":010300000001FB\r\n",
    b":0103020007F3\r\n",
    b":018302",
    b"7A\r\n:0108000325",
    b":01080003250000CF\r\n",
    b"noise\xff\n",
];
const RTU: &[&[u8]] = &[
    b"\x01\x03\x00\x00\x00\x01\x84\x0a",
    b"\x01\x03\x02\x00\xe6\x38\x0e",
    b"\x01\x83\x02\xc0\xf1",
    b"\x01\x10\x00\x01\x00\x02\x10\x08",
    b"\x02\x06\x00\x01\x00\x03\x98\x38",
];
