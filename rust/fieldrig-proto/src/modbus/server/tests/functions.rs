//! Files, queues, the identification, several units: rows FC17, FC20, FC21, FC24 and FC43 of the requirements.

use super::bench::{Bench, adu, bank, frame, read};
use crate::endpoint::Conn;
use crate::line::LineSettings;
use crate::modbus::pdu::function as f;
use crate::modbus::rtu::LineRules;
use crate::modbus::server::{Extras, Identification, ServerConfig, Table, Transport, UnitConfig};
use crate::modbus::tcp;
use crate::time::Duration;
use std::collections::BTreeMap;

fn objects() -> BTreeMap<u8, Vec<u8>> {
    let texts =
        [(0, "Vendor".into()), (1, "Code".into()), (2, "1.0".into()), (3, "x".repeat(120)), (6, "y".repeat(120))];
    let texts = texts.into_iter().chain([(0x80, "z".repeat(244)), (0x90, "end".into())]);
    texts.map(|(object, text): (u8, String)| (object, text.into_bytes())).collect()
}

fn extras() -> Extras {
    let mut extras = Extras::default();
    extras.files.put(4, 0, &[1, 2, 3]).expect("a file");
    extras.files.put(4, 0x270f, &[9]).expect("its last record");
    extras.files.put(0xffff, 100, &[7; 124]).expect("another");
    extras.fifos = [(1000, vec![0x1b8, 0x1284]), (5, vec![0; 31]), (6, vec![0; 32]), (7, vec![])].into();
    extras.identification = Some(Identification::new(objects(), None).expect("objects"));
    extras
}

fn config(transport: Transport) -> ServerConfig {
    let mut config = ServerConfig::new(transport, Some(1), bank());
    config.extras = extras();
    config.functions = config.extras.functions(&config.transport);
    config
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
    digits.chunks(2).map(byte).collect()
}

/// Each request gets exactly this answer.
fn answers(bench: &mut Bench, cases: &[(&str, &str)]) {
    for (request, answer) in cases {
        assert_eq!(crate::dissect::hex(&bench.ask(&hex(request))), crate::dissect::hex(&hex(answer)), "to {request}");
    }
}

#[test]
fn records_are_read_by_parts_and_judged_before_that() {
    // FC20-01 to FC20-05
    let mut bench = Bench::with(config(Transport::Tcp));
    answers(
        &mut bench,
        &[
            ("14 07 06 0004 0000 0003", "14 08 07 06 0001 0002 0003"),
            ("14 0e 06 0004 0001 0001 06 ffff 0064 0002", "14 0a 03 06 0002 05 06 0007 0007"),
            ("14 00", "94 03"),
            ("14 06 06 0004 0000 00", "94 03"),
            ("14 08 06 0004 0000 0003 00", "94 03"),
            ("14 07 06 0004 0000 00", "94 03"),
            ("14 07 06 0004 0000 0000", "94 03"),
            ("14 07 05 0004 0000 0003", "94 02"),
            ("14 07 06 0000 0000 0001", "94 02"),
            ("14 07 06 0005 0000 0001", "94 02"),
            ("14 07 06 0004 2710 0001", "94 02"),
            ("14 07 06 0004 270f 0001", "14 04 03 06 0009"),
            ("14 07 06 0004 270f 0002", "94 02"),
            ("14 07 06 0004 0002 0002", "94 02"),
            // 121 registers fill the largest byte count, F5; 122 do not fit.
            ("14 07 06 ffff 0064 007a", "94 03"),
            ("14 0e 06 ffff 0064 0040 06 ffff 0064 0040", "94 03"),
        ],
    );
    let longest = bench.ask(&hex("14 07 06 ffff 0064 0079"));
    assert_eq!(longest[..4], [0x14, 244, 243, 6]);
    assert_eq!(longest.len(), 246);
    let many = [&[0x14, 0xf6][..], &hex("06 0004 0000 0001").repeat(36)[..0xf6]].concat();
    assert_eq!(bench.ask(&many), [0x94, 3]);
}

#[test]
fn records_are_written_all_or_none() {
    // FC21-01 to FC21-03
    let mut bench = Bench::with(config(Transport::Tcp));
    let two = "15 14 06 0004 0000 0001 00aa 06 ffff 0064 0002 00bb 00cc";
    answers(
        &mut bench,
        &[
            (two, two),
            ("14 0e 06 0004 0000 0002 06 ffff 0064 0003", "14 0e 05 06 00aa 0002 07 06 00bb 00cc 0007"),
            // The first part is good, the second is not: nothing is written.
            ("15 12 06 0004 0000 0001 0055 06 0009 0000 0001 0055", "95 02"),
            ("15 12 06 0004 0000 0001 0055 05 0004 0001 0001 0055", "95 02"),
            ("15 12 06 0004 0000 0001 0055 06 0004 2710 0001 0055", "95 02"),
            ("15 12 06 0004 0000 0001 0055 06 0000 0000 0001 0055", "95 02"),
            ("15 08 06 0004 0000 0001 00", "95 03"),
            ("15 07 06 0004 0000 0000", "95 03"),
            ("15 09 06 0004 0000 0002 0055", "95 03"),
            ("15 0b 06 0004 0000 0001 0055 0001", "95 03"),
            ("15 0a 06 0004 0000 0001 0055", "95 03"),
            ("14 07 06 0004 0000 0001", "14 04 03 06 00aa"),
        ],
    );
    let longest = [&hex("15 fb 06 ffff 0064 007a")[..], &[1; 244]].concat();
    assert_eq!(bench.ask(&longest), longest);
}

#[test]
fn a_queue_is_read_and_stays_as_it_is() {
    // FC24-01 to FC24-04
    let mut bench = Bench::with(config(Transport::Tcp));
    let queue = ("18 03e8", "18 0006 0002 01b8 1284");
    answers(&mut bench, &[queue, queue, ("18 0007", "18 0002 0000"), ("18 0006", "98 03"), ("18 0008", "98 02")]);
    assert_eq!(bench.ask(&hex("18 0005"))[..5], hex("18 0040 001f"));
    answers(&mut bench, &[("18 00", "98 03"), ("18 0005 00", "98 03")]);
}

#[test]
fn the_identification_is_a_stream_in_which_no_object_is_split() {
    // FC43-01 to FC43-11
    let mut bench = Bench::with(config(Transport::Tcp));
    let basic = "2b 0e 01 83 00 00 03 00 06 56656e646f72 01 04 436f6465 02 03 312e30";
    answers(
        &mut bench,
        &[
            ("2b 0e 01 00", basic),
            ("2b 0e 01 03", basic),
            ("2b 0e 01 7f", basic),
            ("2b 0e 01 02", "2b 0e 01 83 00 00 01 02 03 312e30"),
            ("2b 0e 04 01", "2b 0e 04 83 00 00 01 01 04 436f6465"),
            ("2b 0e 04 90", "2b 0e 04 83 00 00 01 90 03 656e64"),
            ("2b 0e 04 07", "ab 02"),
            ("2b 0e 00 00", "ab 03"),
            ("2b 0e 05 00", "ab 03"),
            ("2b 0e ff 00", "ab 03"),
            ("2b 0d 00 00", "ab 01"),
            ("2b 00", "ab 01"),
            ("2b", "ab 03"),
            ("2b 0e 01", "ab 03"),
        ],
    );
    // Each fragment: more follows, next object, the objects in it.
    let mut fragment = |code: u8, from: u8| {
        let answer = bench.ask(&[0x2b, 0x0e, code, from]);
        assert_eq!((answer[2], answer[3]), (code, 0x83));
        let (mut at, mut found) = (7, Vec::new());
        for _ in 0..answer[6] {
            found.push(answer[at]);
            at += 2 + usize::from(answer[at + 1]);
        }
        assert_eq!(at, answer.len());
        (answer[4], answer[5], found)
    };
    assert_eq!(fragment(2, 0), (0xff, 6, vec![0, 1, 2, 3]));
    assert_eq!(fragment(2, 6), (0, 0, vec![6]));
    assert_eq!(fragment(3, 6), (0xff, 0x80, vec![6]));
    assert_eq!(fragment(3, 0x80), (0xff, 0x90, vec![0x80]));
    assert_eq!(fragment(3, 0x90), (0, 0, vec![0x90]));
}

#[test]
fn a_device_asked_beyond_its_level_gives_what_it_shows() {
    // FC43-03, FC43-07
    let mut config = config(Transport::Tcp);
    config.extras.identification = Some(Identification::new(objects(), Some(1)).expect("a level"));
    let mut bench = Bench::with(config);
    let basic = "01 00 00 03 00 06 56656e646f72 01 04 436f6465 02 03 312e30";
    let regular = format!("2b 0e 02 {basic}");
    let extended = format!("2b 0e 03 {basic}");
    answers(&mut bench, &[("2b 0e 02 00", &regular), ("2b 0e 03 80", &extended), ("2b 0e 04 00", "ab 03")]);
    for (objects, level) in
        [(BTreeMap::from([(0, vec![]), (1, vec![])]), None), (objects(), Some(4)), (objects(), Some(0))]
    {
        assert!(Identification::new(objects, level).is_err());
    }
}

#[test]
fn the_server_id_is_followed_by_the_run_indicator() {
    // FC17-01, FC17-02
    let mut bench = Bench::tcp();
    assert_eq!(bench.ask(&[0x11]), [0x91, 1]);
    let mut config = config(Transport::Tcp);
    config.functions.push(f::REPORT_SERVER_ID);
    let mut bench = Bench::with(config);
    assert_eq!(bench.ask(&[0x11]), [&[0x11, 9][..], b"fieldrig", &[0xff]].concat());
    assert_eq!(bench.ask(&[0x11, 0]), [0x91, 3]);
}

#[test]
fn functions_of_serial_lines_are_unknown_on_tcp() {
    let mut bench = Bench::with(config(Transport::Tcp));
    for function in [7, 8, 0x0b, 0x0c, 0x11] {
        assert_eq!(bench.ask(&[function, 0, 0, 0, 0]), [function | 0x80, 1]);
    }
    let mut plain = Bench::tcp();
    for function in [0x14, 0x15, 0x18, 0x2b] {
        assert_eq!(plain.ask(&[function, 14, 1, 0]), [function | 0x80, 1]);
    }
}

fn several(transport: Transport) -> Bench {
    let mut config = config(transport);
    let unit = |unit: u8| {
        let mut config = ServerConfig::new(transport, None, super::super::Bank::default());
        config.bank.add_raw(Table::HoldingRegisters, 0, vec![100 + u16::from(unit); 5]).expect("room");
        UnitConfig { unit, bank: config.bank, functions: config.functions, extras: Extras::default() }
    };
    config.units = vec![unit(2), unit(3)];
    Bench::with(config)
}

#[test]
fn several_units_behind_one_port_have_tables_of_their_own() {
    let mut bench = several(Transport::Tcp);
    let mut ask = |unit: u8, pdu: &[u8]| {
        let conn = bench.open();
        bench.send(conn, &adu(9, unit, pdu));
        tcp::View(&bench.take(conn)).pdu().to_vec()
    };
    assert_eq!(ask(1, &read(1)), [3, 2, 0, 3]);
    assert_eq!(ask(2, &read(1)), [3, 2, 0, 102]);
    assert_eq!(ask(3, &read(1)), [3, 2, 0, 103]);
    assert_eq!(ask(3, &[6, 0, 1, 0, 7]), [6, 0, 1, 0, 7]);
    assert_eq!(ask(3, &read(1)), [3, 2, 0, 7]);
    assert_eq!(ask(2, &read(1)), [3, 2, 0, 102]);
    assert_eq!(ask(4, &read(1)), []);
    assert_eq!(ask(255, &read(1)), [3, 2, 0, 3]);
    assert_eq!(ask(2, &[0x2b, 14, 1, 0]), [0xab, 1]);
}

#[test]
fn a_broadcast_reaches_every_unit_on_the_line() {
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    let mut bench = several(Transport::Rtu(LineRules::exact(&line)));
    let conn = bench.open_from("/dev/pts/1", true);
    let ask = |bench: &mut Bench, conn: Conn, unit: u8, pdu: &[u8]| {
        bench.send(conn, &frame(unit, pdu));
        bench.pass(Duration::from_millis(100));
        bench.take(conn)
    };
    assert_eq!(ask(&mut bench, conn, 0, &[6, 0, 1, 0, 7]), []);
    for unit in 1..=3 {
        assert_eq!(ask(&mut bench, conn, unit, &read(1)), frame(unit, &[3, 2, 0, 7]));
    }
    assert_eq!(ask(&mut bench, conn, 4, &read(1)), []);
}
