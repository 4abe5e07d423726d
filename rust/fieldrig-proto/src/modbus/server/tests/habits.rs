//! Every habit breaks the rows it is for, seen from outside: a scene for each row, with and without the habit.

use super::bench::{Bench, Did, adu, frame, lying, read};
use crate::endpoint::{How, Why};
use crate::line::LineSettings;
use crate::modbus::rtu::LineRules;
use crate::modbus::server::{HABITS, Habit, Sample, Transport};
use crate::record::Value;
use crate::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// What happens in the scene of a row.
type Scene = fn(&mut Bench);

fn pdu(bench: &mut Bench, pdu: &[u8]) {
    bench.ask(pdu);
}

fn on_one_connection(bench: &mut Bench, parts: &[&[u8]], apart: Duration) {
    let conn = bench.open();
    for part in parts {
        bench.send(conn, part);
        bench.pass(apart);
    }
    bench.pass(MS * 300);
}

fn malformed_then_good_on(bench: &mut Bench, malformed: &[u8], new_connection: bool) {
    let conn = bench.open();
    bench.send(conn, malformed);
    bench.pass(MS * 300);
    let next = if new_connection { bench.open() } else { conn };
    bench.send(next, &adu(2, 1, &read(1)));
    bench.pass(MS * 300);
}

fn foreign_protocol() -> Vec<u8> {
    let mut foreign = adu(1, 1, &read(1));
    foreign[3] = 1;
    foreign
}

const SCENES: &[(&str, Scene)] = &[
    ("MBAP-01", |b| on_one_connection(b, &[&adu(0xffff, 1, &read(1))], MS)),
    ("MBAP-02", |b| on_one_connection(b, &[&adu(1, 1, &read(1))], MS)),
    ("MBAP-03", |b| on_one_connection(b, &[&adu(1, 1, &read(1))], MS)),
    ("MBAP-04", |b| on_one_connection(b, &[&adu(1, 1, &read(1)), &adu(1, 247, &read(1))], MS)),
    ("MBAP-05", |b| on_one_connection(b, &[&foreign_protocol()], MS)),
    ("MBAP-06", |b| {
        let request = adu(1, 1, &read(1));
        on_one_connection(b, &request.chunks(1).collect::<Vec<_>>(), MS * 10);
    }),
    ("MBAP-07", |b| {
        for split in [3, 6, 7, 9] {
            let request = adu(1, 1, &read(1));
            on_one_connection(b, &[&request[..split], &request[split..]], MS * 20);
        }
    }),
    ("MBAP-08", |b| {
        on_one_connection(b, &[&[adu(1, 1, &read(1)), adu(2, 1, &read(2)), adu(3, 1, &read(3))].concat()], MS)
    }),
    ("MBAP-09", |b| on_one_connection(b, &[&adu(1, 1, &read(1)), &adu(2, 1, &read(2))], MS)),
    ("MBAP-10", |b| on_one_connection(b, &[&(0..32).flat_map(|n| adu(n, 1, &read(1))).collect::<Vec<_>>()], MS)),
    ("MBAP-11", |b| on_one_connection(b, &[&[adu(1, 1, &read(1)), adu(2, 1, &read(2))].concat()], MS)),
    ("MBAP-12", |b| on_one_connection(b, &[&lying(1, 0, &read(1))], MS)),
    ("MBAP-13", |b| on_one_connection(b, &[&adu(1, 1, &[])], MS)),
    ("MBAP-14", |b| {
        let mut long = read(1).to_vec();
        long.resize(270, 0);
        on_one_connection(b, &[&adu(1, 1, &long)], MS);
    }),
    ("MBAP-15", |b| malformed_then_good_on(b, &lying(1, 0xffff, &read(1)), true)),
    ("MBAP-16", |b| {
        let request = adu(1, 1, &read(1));
        on_one_connection(b, &[&request[..10], &request[10..]], MS * 100);
    }),
    ("MBAP-17", |b| malformed_then_good_on(b, &adu(1, 1, &[3, 0, 0, 0, 1, 9, 9]), false)),
    ("MBAP-18", |b| on_one_connection(b, &[&adu(1, 1, &[3, 0, 0])], MS)),
    ("MBAP-19", |b| malformed_then_good_on(b, &adu(1, 1, &[3, 0, 0]), true)),
    ("MBAP-20", |b| malformed_then_good_on(b, &adu(1, 1, &[3, 0, 0]), false)),
    ("MBAP-21", |b| on_one_connection(b, &[], MS)),
    ("MBAP-22", |b| {
        let conns = [b.open(), b.open()];
        for conn in conns {
            b.send(conn, &adu(1, 1, &read(1)));
        }
    }),
    ("MBAP-23", |b| {
        let conns: Vec<_> = (0..5).map(|_| b.open()).collect();
        b.send(conns[0], &adu(1, 1, &read(1)));
    }),
    ("MBAP-24", |b| {
        let conn = b.open();
        b.send(conn, &adu(1, 1, &read(1)));
        b.closed(conn, Why::Finished);
        b.pass(MS * 100);
    }),
    ("MBAP-25", |b| {
        for _ in 0..100 {
            let conn = b.open();
            b.send(conn, &adu(1, 1, &read(1))[..8]);
            b.closed(conn, Why::Reset);
        }
        on_one_connection(b, &[&adu(1, 1, &read(1))], MS);
    }),
    ("MBAP-26", |b| {
        b.open();
        b.pass(MS * 2000);
    }),
    ("MBAP-27", |b| on_one_connection(b, &[&adu(1, 1, &read(1))], MS)),
    ("MBAP-28", |b| {
        let conn = b.open();
        b.send(conn, &adu(1, 1, &read(1)));
    }),
    ("MBAP-29", |b| on_one_connection(b, &[&adu(1, 9, &read(1))], MS)),
    ("MBAP-30", |b| on_one_connection(b, &[&adu(1, 255, &read(1))], MS)),
    ("MBAP-31", |b| on_one_connection(b, &[&adu(1, 0, &read(1))], MS)),
    ("PDU-01", |b| pdu(b, &[4, 0, 1, 0, 1])),
    ("PDU-02", |b| pdu(b, &[3, 1, 0, 0, 1])),
    ("PDU-03", |b| pdu(b, &read(1))),
    ("PDU-04", |b| {
        pdu(b, &[3, 0, 0, 0, 125]);
        pdu(b, &[1, 0, 0, 0x07, 0xd0]);
    }),
    ("PDU-05", |b| {
        pdu(b, &read(0));
        pdu(b, &read(199));
    }),
    ("PDU-06", |b| {
        pdu(b, &read(199));
        pdu(b, &[3, 0, 199, 0, 2]);
    }),
    ("PDU-07", |b| pdu(b, &[3, 0xff, 0xff, 0, 2])),
    ("PDU-08", |b| pdu(b, &[3, 0xff, 0, 0, 0])),
    ("PDU-09", |b| pdu(b, &[0x41, 0xff])),
    ("PDU-10", |b| pdu(b, &read(7))),
    ("EXC-01", |b| pdu(b, &[0x2a, 0, 0, 0, 1])),
    ("EXC-02", |b| pdu(b, &[0x41, 0, 0, 0, 1])),
    ("EXC-09", |b| {
        pdu(b, &[16, 0, 199, 0, 2, 4, 0, 9, 0, 9]);
        pdu(b, &read(199));
    }),
    ("FC01-01", |b| pdu(b, &[1, 0, 0, 0x07, 0xd0])),
    ("FC01-02", |b| pdu(b, &[1, 0, 0, 0, 3])),
    ("FC01-03", |b| pdu(b, &[1, 0, 0, 0, 0])),
    ("FC01-05", |b| pdu(b, &[1, 0xff, 0, 0, 1])),
    ("FC02-01", |b| pdu(b, &[2, 0, 0, 0x07, 0xd0])),
    ("FC02-02", |b| pdu(b, &[2, 0, 0, 0, 3])),
    ("FC02-03", |b| pdu(b, &[2, 0, 0, 0, 0])),
    ("FC02-05", |b| pdu(b, &[2, 0xff, 0, 0, 1])),
    ("FC03-01", |b| pdu(b, &[3, 0, 0, 0, 125])),
    ("FC03-02", |b| pdu(b, &[3, 0, 0, 0, 0])),
    ("FC03-03", |b| {
        for quantity in [126u16, 127, 128, 0x8001, 0xffff] {
            let [high, low] = quantity.to_be_bytes();
            pdu(b, &[3, 0, 0, high, low]);
        }
    }),
    ("FC03-04", |b| pdu(b, &[3, 1, 0, 0, 1])),
    ("FC03-05", |b| {
        pdu(b, &[3, 1, 44, 0, 2]);
        let now = b.now;
        b.store.set(now, "energy", Value::Int(0x0005_0006), crate::device::Origin::Test).expect("a value it takes");
        pdu(b, &[3, 1, 44, 0, 2]);
    }),
    ("FC04-02", |b| pdu(b, &[4, 0, 0, 0, 0])),
    ("FC04-03", |b| pdu(b, &[4, 0, 0, 0, 126])),
    ("FC04-04", |b| pdu(b, &[4, 1, 0, 0, 1])),
    ("FC05-01", |b| {
        pdu(b, &[5, 0, 1, 0xff, 0]);
        pdu(b, &[1, 0, 1, 0, 1]);
    }),
    ("FC06-01", |b| {
        pdu(b, &[6, 0, 1, 0, 77]);
        pdu(b, &read(1));
    }),
    ("FC15-01", |b| {
        pdu(b, &[15, 0, 0, 0, 3, 1, 7]);
        pdu(b, &[1, 0, 0, 0, 3]);
    }),
    ("FC15-05", |b| {
        pdu(b, &[15, 0x08, 0x97, 0, 2, 1, 0]);
        pdu(b, &[1, 0x08, 0x97, 0, 1]);
    }),
    ("FC16-01", |b| {
        pdu(b, &[16, 0, 1, 0, 1, 2, 0, 77]);
        pdu(b, &read(1));
    }),
    ("FC16-06", |b| {
        pdu(b, &[16, 0, 199, 0, 2, 4, 0, 9, 0, 9]);
        pdu(b, &read(199));
    }),
    ("FC22-01", |b| {
        pdu(b, &[22, 0, 4, 0, 0, 0, 77]);
        pdu(b, &read(4));
    }),
    ("FC23-01", |b| pdu(b, &[23, 0, 4, 0, 2, 0, 5, 0, 1, 2, 0, 9])),
    ("RTU-01", |b| on_the_line(b, &frame(1, &read(1)))),
    ("RTU-02", |b| {
        let mut bad = frame(1, &read(1));
        bad[7] ^= 1;
        on_the_line(b, &bad);
    }),
    ("RTU-03", |b| {
        let mut bad = frame(1, &read(1));
        bad.swap(6, 7);
        on_the_line(b, &bad);
    }),
    ("RTU-05", |b| on_the_line(b, &frame(0, &[6, 0, 1, 0, 1]))),
    ("RTU-06", |b| on_the_line(b, &frame(0, &read(1)))),
];

fn on_the_line(bench: &mut Bench, bytes: &[u8]) {
    let conn = bench.open_from("/dev/pts/1", true);
    bench.send(conn, bytes);
    bench.pass(MS * 300);
}

/// What the server does in a scene.
fn play(row: &str, scene: Scene, habits: &[(&str, Sample)]) -> Vec<Did> {
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    let transport = if row.starts_with("RTU") { Transport::Rtu(LineRules::tolerant(&line)) } else { Transport::Tcp };
    let unit = if row == "MBAP-29" { Some(1) } else { None };
    let mut bench = Bench::new(transport, unit);
    for (name, sample) in habits {
        bench.habit(name, &sample.value());
    }
    scene(&mut bench);
    bench.did
}

fn with(habit: &Habit) -> Vec<(&'static str, Sample)> {
    habit.needs.iter().copied().chain([(habit.name, habit.sample)]).collect()
}

#[test]
fn every_habit_changes_what_happens_in_the_scenes_of_its_rows() {
    for habit in HABITS {
        for row in habit.breaks {
            let (_, scene) =
                SCENES.iter().find(|(name, _)| name == row).unwrap_or_else(|| panic!("no scene for {row}"));
            let (right, broken) = (play(row, *scene, habit.needs), play(row, *scene, &with(habit)));
            assert_ne!(right, broken, "`{}` does not break {row}", habit.name);
        }
    }
}

#[test]
fn habits_that_only_set_the_scene_change_something_too() {
    for habit in HABITS.iter().filter(|habit| habit.breaks.is_empty()) {
        let scene: Scene = |bench| {
            let conn = bench.open_from("10.0.0.1:1", false);
            bench.send(conn, &adu(1, 1, &read(7)));
        };
        assert_ne!(play("any", scene, &[]), play("any", scene, &with(habit)), "`{}`", habit.name);
    }
}

/// The rows that a habit for one row of section 1, PDU or FC03 breaks besides those it names: nobody should be
/// surprised by the kill matrix of the suite.
#[test]
fn habits_break_few_rows_besides_their_own() {
    // They change every answer of their kind, or the time of every answer.
    const WIDE: [&str; 17] = [
        "protocol_id",
        "length_delta",
        "greeting",
        "delay_answer",
        "deaf_while_busy",
        "close_on_half_close",
        "little_endian",
        "address_offset",
        "byte_count_delta",
        "exception_extra_byte",
        "exception_without_bit",
        "write_nothing",
        "max_connections",
        "ignore_access_list",
        "one_read_is_one_adu",
        "idle_close",
        "failure_code",
    ];
    let mut wide = Vec::new();
    for habit in HABITS.iter().filter(|habit| !habit.breaks.is_empty() && !WIDE.contains(&habit.name)) {
        let hit = SCENES.iter().filter(|(row, scene)| {
            !habit.breaks.contains(row) && play(row, *scene, habit.needs) != play(row, *scene, &with(habit))
        });
        let hit: Vec<&str> = hit.map(|(row, _)| *row).collect();
        if hit.len() > 3 {
            wide.push((habit.name, hit));
        }
    }
    assert_eq!(wide, [], "these break more than they say");
}

#[test]
fn connections_beyond_the_maximum_end_as_the_habit_says() {
    let ends = |choice: &str| -> Vec<Did> {
        let mut bench = Bench::tcp();
        bench.habit("max_connections", &Value::Int(2));
        bench.habit("beyond_maximum", &Value::from(choice));
        for _ in 0..3 {
            bench.open();
            bench.pass(MS);
        }
        bench.did
    };
    let closed = |did: &Did| matches!(did, Did::Closed(_, conn, How::Rst) if conn.0 == 2);
    assert!(matches!(&ends("refuse")[..], [did] if closed(did)));
    assert!(matches!(&ends("close_idlest")[..], [Did::Closed(_, conn, _)] if conn.0 == 0));
    assert_eq!(ends("close_all").len(), 2);
}
