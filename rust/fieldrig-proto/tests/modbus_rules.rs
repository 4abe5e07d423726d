//! Emulated Modbus servers under rules, on virtual time: what leaves, byte for byte and to the nanosecond.
//!
//! Each effect is one test that runs on a TCP-like connection and on a wire of 19200 baud. Times count from the end of the
//! request; on the wire an answer waits for t3.5 of silence and each byte takes its character time.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs, us};
use fieldrig_proto::device::{Access, Device, NoModel, PointDefinition, PointKind, PointStore, Power};
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::modbus::server::ServerFace;
use fieldrig_proto::modbus::{RTU, TCP, rtu, tcp};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Time};
use proptest::prelude::*;

const LINE: &str = "19200 8E1";
/// So many characters of 11 bits at 19200 baud.
const fn characters(count: usize) -> Duration {
    Duration::from_nanos(count as u64 * 11_000_000_000 / 19_200)
}
const T35: Duration = Duration::from_nanos(2_005_208);

#[derive(Copy, Clone, PartialEq, Debug)]
enum Route {
    Tcp,
    Rtu,
}

const ROUTES: [Route; 2] = [Route::Tcp, Route::Rtu];

type Entries<'a> = &'a [(&'a str, Value)];

fn table(entries: Entries<'_>) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn when(entries: Entries<'_>) -> (&'static str, Value) {
    ("when", table(entries))
}

fn ints(numbers: &[i64]) -> Value {
    Value::List(numbers.iter().map(|number| Value::Int(*number)).collect())
}

struct Scene {
    route: Route,
    world: World,
    device: Node<Device>,
    peer: Peer,
    next: u16,
}

/// Holding registers 0 to 9 hold 100 to 109, coils 0 to 15 are clear; point `level` is an f32 in input registers 0 and 1,
/// `count` an integer in holding register 50.
fn device(route: Route, rules: &[Entries<'_>]) -> Device {
    let protocol = if route == Route::Tcp { &TCP } else { &RTU };
    let float = [("table", "input".into()), ("address", Value::Int(0)), ("type", "f32".into())];
    let count = [("table", "holding".into()), ("address", Value::Int(50))];
    let mut settings = vec![
        ("unit", Value::Int(1)),
        ("holding", ints(&(100..110).collect::<Vec<_>>())),
        ("coils", ints(&[0; 16])),
        ("map", table(&[("level", table(&float)), ("count", table(&count))])),
        ("rule", Value::List(rules.iter().map(|rule| table(rule)).collect())),
        ("seed", Value::Int(7)),
    ];
    if route == Route::Rtu {
        settings.push(("line", LINE.into()));
    }
    let settings: Vec<(String, Value)> = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let built = (protocol.constructor(Role::Device).expect("Modbus has devices").build)("modbus", &settings);
    let face = match built {
        Ok(Built::Face(face)) => face,
        Ok(Built::Endpoint(_)) => panic!("a face"),
        Err(error) => panic!("{}: {error}", error.key),
    };
    let point = |name: &str, kind, initial| PointDefinition {
        name: name.to_owned(),
        kind,
        unit: String::new(),
        initial,
        range: Some((0.0, 1000.0)),
        access: Access::Read,
    };
    let points =
        vec![point("level", PointKind::Float, Value::Float(0.0)), point("count", PointKind::Int, Value::Int(0))];
    Device::new("meter", PointStore::new(points), Box::new(NoModel), vec![face])
}

impl Scene {
    fn new(route: Route, rules: &[Entries<'_>]) -> Scene {
        let world = World::new();
        let device = world.add("meter", device(route, rules));
        device.with(|device, now| device.power_on(now));
        let peer = world.peer("master");
        let path = if route == Route::Tcp { Path::stream() } else { Path::wire(LINE) };
        peer.join(&device, "modbus", &path);
        world.run_for(ms(10));
        Scene { route, world, device, peer, next: 0 }
    }

    fn frame(&self, transaction: u16, pdu: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match self.route {
            Route::Tcp => tcp::Adu::new(transaction, 1, pdu).encode(&mut out),
            Route::Rtu => rtu::Adu::new(1, pdu).encode(&mut out),
        }
        out
    }

    /// Sends a request; gives the instant at which its last byte has arrived.
    fn ask(&mut self, pdu: &[u8]) -> Time {
        self.next += 1;
        let request = self.frame(self.next, pdu);
        self.peer.send(&request);
        let length = if self.route == Route::Tcp { 0 } else { request.len() };
        self.world.now() + characters(length)
    }

    /// What comes within a second after a request: each byte with its time since the end of the request.
    fn heard(&mut self, pdu: &[u8]) -> Vec<(Duration, u8)> {
        let before = self.peer.stamps().len();
        let end = self.ask(pdu);
        self.world.run_for(secs(1));
        let bytes = self.peer.take();
        let stamps = self.peer.stamps();
        stamps[before..].iter().zip(bytes).map(|(stamp, byte)| (stamp.latest().since(end), byte)).collect()
    }

    fn bytes(&mut self, pdu: &[u8]) -> Vec<u8> {
        self.heard(pdu).into_iter().map(|(_, byte)| byte).collect()
    }

    /// The PDU of the answer, empty if none comes.
    fn pdu(&mut self, pdu: &[u8]) -> Vec<u8> {
        let answer = self.bytes(pdu);
        match self.route {
            Route::Tcp => tcp::View(&answer).pdu().to_vec(),
            Route::Rtu if answer.is_empty() => Vec::new(),
            Route::Rtu => rtu::View(&answer).pdu().to_vec(),
        }
    }

    /// The framed answer to the last request.
    fn answer(&self, pdu: &[u8]) -> Vec<u8> {
        self.frame(self.next, pdu)
    }

    /// When the bytes of pieces come that the device lets go so long after a request, with this gap between.
    fn timed(&self, delay: Duration, pieces: &[&[u8]], gap: Duration) -> Vec<(Duration, u8)> {
        let mut all = Vec::new();
        let mut start = if self.route == Route::Tcp { delay } else { delay.max(T35) };
        for piece in pieces {
            let time = |count: usize| if self.route == Route::Tcp { Duration::ZERO } else { characters(count) };
            all.extend(piece.iter().enumerate().map(|(index, byte)| (start + time(index + 1), *byte)));
            start += time(piece.len()) + gap;
        }
        all
    }

    fn records(&self) -> Vec<Record> {
        self.device.events().into_iter().filter(|record| record.kind == "modbus.rule").collect()
    }

    fn with_face<R>(&self, act: impl FnOnce(&mut ServerFace) -> R) -> R {
        self.device.with(|device, _| act(device.face_as::<ServerFace>("modbus").expect("a server")))
    }
}

/// Read `quantity` holding registers from `address` on.
fn read(address: u8, quantity: u8) -> [u8; 5] {
    [3, 0, address, 0, quantity]
}

#[test]
fn an_exception_is_forced_for_its_addresses_only() {
    for route in ROUTES {
        let rule: Entries<'_> = &[when(&[("address", "3-4".into())]), ("exception", Value::Int(0x55))];
        let mut scene = Scene::new(route, &[rule]);
        assert_eq!(scene.pdu(&read(2, 1)), [3, 2, 0, 102]);
        assert_eq!(scene.pdu(&read(2, 2)), [0x83, 0x55]);
        assert_eq!(scene.pdu(&[6, 0, 4, 0, 9]), [0x86, 0x55]);
        assert_eq!(scene.pdu(&[6, 0, 5, 0, 9]), [6, 0, 5, 0, 9]);
        scene.with_face(|face| assert!(face.switch_rule("rule 1", false)));
        assert_eq!(scene.pdu(&read(4, 1)), [3, 2, 0, 104], "the exception kept the write from being done");
    }
}

#[test]
fn a_delay_is_exact_and_what_follows_waits() {
    for route in ROUTES {
        let rule: Entries<'_> = &[when(&[("address", Value::Int(0))]), ("delay", "40ms".into())];
        let mut scene = Scene::new(route, &[rule]);
        let heard = scene.heard(&read(0, 1));
        assert_eq!(heard, scene.timed(ms(40), &[&scene.answer(&[3, 2, 0, 100])], ms(0)));
        let heard = scene.heard(&read(1, 1));
        assert_eq!(heard, scene.timed(ms(0), &[&scene.answer(&[3, 2, 0, 101])], ms(0)));
    }
    let rule: Entries<'_> = &[when(&[("address", Value::Int(0))]), ("delay", "40ms".into())];
    let mut scene = Scene::new(Route::Tcp, &[rule]);
    scene.ask(&read(0, 1));
    let heard = scene.heard(&read(1, 1));
    let both = [scene.frame(1, &[3, 2, 0, 100]), scene.frame(2, &[3, 2, 0, 101])].concat();
    assert_eq!(heard, both.into_iter().map(|byte| (ms(40), byte)).collect::<Vec<_>>());
}

#[test]
fn a_delay_between_two_limits_comes_from_the_seed() {
    let rule: Entries<'_> = &[("delay", Value::List(vec!["10ms".into(), "50ms".into()]))];
    let delays = || {
        let mut scene = Scene::new(Route::Tcp, &[rule]);
        (0..20).map(|_| scene.heard(&read(0, 1))[0].0).collect::<Vec<_>>()
    };
    let first = delays();
    assert_eq!(first, delays());
    assert!(first.iter().all(|delay| (ms(10)..=ms(50)).contains(delay)), "{first:?}");
    assert!(first.iter().min() < first.iter().max());
}

#[test]
fn a_late_answer_comes_behind_others_or_before_the_next() {
    for route in ROUTES {
        let late: Entries<'_> = &[when(&[("address", Value::Int(0))]), ("late", "300ms".into())];
        let mut scene = Scene::new(route, &[late]);
        let end = scene.ask(&read(0, 1));
        scene.world.run_until(end);
        assert_eq!(
            scene.bytes(&read(1, 1))[..],
            [scene.answer(&[3, 2, 0, 101]), scene.frame(1, &[3, 2, 0, 100])].concat()
        );
        let next: Entries<'_> = &[("late", "next".into()), ("count", Value::Int(1))];
        let mut scene = Scene::new(route, &[next]);
        assert_eq!(scene.bytes(&read(0, 1)), []);
        let heard = scene.heard(&read(1, 1));
        let gap = if route == Route::Tcp { ms(0) } else { T35 };
        let pieces = [scene.frame(1, &[3, 2, 0, 100]), scene.frame(2, &[3, 2, 0, 101])];
        assert_eq!(heard, scene.timed(ms(0), &[&pieces[0], &pieces[1]], gap));
    }
}

#[test]
fn an_answer_that_is_kept_leaves_with_its_shape_its_copies_and_its_end() {
    let once = [("late", Value::from("next")), ("count", Value::Int(1))];
    for route in ROUTES {
        let twice: Entries<'_> = &[once[0].clone(), once[1].clone(), ("duplicate", Value::Int(1))];
        let mut scene = Scene::new(route, &[twice]);
        assert_eq!(scene.bytes(&read(0, 1)), []);
        let [kept, own] = [scene.frame(1, &[3, 2, 0, 100]), scene.frame(2, &[3, 2, 0, 101])];
        assert_eq!(scene.bytes(&read(1, 1)), [&kept[..], &kept, &own].concat());

        let ends: Entries<'_> = &[once[0].clone(), once[1].clone(), ("close", "middle".into())];
        let mut scene = Scene::new(route, &[ends]);
        assert_eq!(scene.bytes(&read(0, 1)), []);
        let half = &kept[..kept.len() / 2];
        let write = [6, 0, 1, 0, 7];
        if route == Route::Tcp {
            assert_eq!(scene.bytes(&write), half);
            scene.peer.expect_closed(&Why::Finished);
            scene.peer.connect(&scene.device, "modbus");
            assert_eq!(scene.pdu(&read(1, 1)), [3, 2, 0, 101], "the request behind the end is not looked at");
        } else {
            let answer = scene.frame(2, &write);
            assert_eq!(scene.bytes(&write), [half, &answer].concat(), "a wire has no end");
        }
    }
}

#[test]
fn what_is_dropped_was_done_or_was_not() {
    for route in ROUTES {
        for (what, done) in [(Value::Bool(true), true), ("answer".into(), true), ("request".into(), false)] {
            let mut scene = Scene::new(route, &[&[("drop", what), ("count", Value::Int(1))]]);
            assert_eq!(scene.bytes(&[6, 0, 0, 0, 9]), []);
            assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, if done { 9 } else { 100 }]);
            assert_eq!(scene.with_face(|face| face.counters().unanswered), 1);
        }
    }
}

#[test]
fn answers_are_short_or_long_by_bytes_or_registers() {
    for route in ROUTES {
        for (key, amount, answer) in [
            ("short", Value::Int(1), vec![3, 4, 0, 100, 0]),
            ("short", "1 register".into(), vec![3, 2, 0, 100]),
            ("short", Value::Int(1000), vec![]),
            ("short", "9 registers".into(), vec![3, 0]),
            ("long", Value::Int(2), vec![3, 4, 0, 100, 0, 101, 0, 0]),
            ("long", "1 registers".into(), vec![3, 6, 0, 100, 0, 101, 0, 0]),
        ] {
            let mut scene = Scene::new(route, &[&[when(&[("quantity", Value::Int(2))]), (key, amount.clone())]]);
            let heard = scene.bytes(&read(0, 2));
            assert_eq!(heard, scene.answer(&answer), "{key} {amount}");
            assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, 100]);
        }
    }
}

#[test]
fn every_field_can_be_another() {
    let good = [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 100];
    for (key, patch, offset, field) in [
        ("transaction", Value::Int(0xabcd), 0, vec![0xab, 0xcd]),
        ("transaction", "-2".into(), 0, vec![0xff, 0xff]),
        ("protocol", Value::Int(1), 2, vec![0, 1]),
        ("length", "+1".into(), 4, vec![0, 6]),
        ("unit", Value::Int(9), 6, vec![9]),
        ("function", "+1".into(), 7, vec![4]),
        ("byte_count", "-1".into(), 8, vec![1]),
        ("answer", "83 02 ff".into(), 5, vec![4, 1, 0x83, 2, 0xff]),
    ] {
        let mut scene = Scene::new(Route::Tcp, &[&[(key, patch)]]);
        let mut expected = good.to_vec();
        expected.splice(offset.., field.iter().copied().chain(good.iter().skip(offset + field.len()).copied()));
        if key == "answer" {
            expected.truncate(offset + field.len());
        }
        assert_eq!(scene.bytes(&read(0, 1)), expected, "{key}");
    }
    let right = Scene::new(Route::Rtu, &[]).bytes(&read(0, 1));
    for (patch, crc) in [(Value::Int(0x1234), [0x34, 0x12]), (Value::Bool(true), [right[5] ^ 1, right[6]])] {
        let mut scene = Scene::new(Route::Rtu, &[&[("checksum", patch)]]);
        assert_eq!(scene.bytes(&read(0, 1)), [&right[..5], &crc].concat());
    }
    for (key, patch, pdu) in [
        ("unit", Value::Int(2), [2, 3, 2, 0, 100]),
        ("function", Value::Int(4), [1, 4, 2, 0, 100]),
        ("byte_count", Value::Int(7), [1, 3, 7, 0, 100]),
    ] {
        let mut scene = Scene::new(Route::Rtu, &[&[(key, patch)]]);
        let mut frame = Vec::new();
        rtu::Adu::new(pdu[0], &pdu[1..]).encode(&mut frame);
        assert_eq!(scene.bytes(&read(0, 1)), frame, "{key}: the CRC is that of what is sent");
    }
}

#[test]
fn pieces_and_paces_keep_their_gaps() {
    for route in ROUTES {
        let pieces: Entries<'_> = &[("pieces", ints(&[1, 3])), ("gap", "5ms".into())];
        let mut scene = Scene::new(route, &[pieces]);
        for _ in 0..2 {
            let heard = scene.heard(&read(0, 1));
            let answer = scene.answer(&[3, 2, 0, 100]);
            assert_eq!(heard, scene.timed(ms(0), &[&answer[..1], &answer[1..4], &answer[4..]], ms(5)));
        }
        let pace: Entries<'_> = &[("pace", "700us".into()), ("delay", "20ms".into())];
        let mut scene = Scene::new(route, &[pace]);
        let heard = scene.heard(&read(0, 1));
        let answer = scene.answer(&[3, 2, 0, 100]);
        assert_eq!(heard, scene.timed(ms(20), &answer.chunks(1).collect::<Vec<_>>(), us(700)));
    }
}

#[test]
fn a_duplicate_is_the_same_again() {
    for route in ROUTES {
        let mut scene = Scene::new(route, &[&[("duplicate", Value::Int(2))]]);
        let heard = scene.heard(&read(0, 1));
        let answer = scene.answer(&[3, 2, 0, 100]);
        let gap = if route == Route::Tcp { ms(0) } else { T35 };
        assert_eq!(heard, scene.timed(ms(0), &[&answer, &answer, &answer], gap));
    }
}

#[test]
fn a_connection_ends_before_instead_in_the_middle_or_after() {
    for (key, why) in [("close", Why::Finished), ("reset", Why::Reset)] {
        for (when, sent, done) in [
            (Value::from("before"), 0, false),
            ("instead".into(), 0, true),
            (Value::Int(3), 3, true),
            ("middle".into(), 6, true),
            ("after".into(), 12, true),
        ] {
            let mut scene = Scene::new(Route::Tcp, &[&[(key, when.clone()), ("count", Value::Int(1))]]);
            let answer = scene.frame(1, &[6, 0, 0, 0, 9]);
            assert_eq!(scene.bytes(&[6, 0, 0, 0, 9]), answer[..sent], "{key} {when}");
            scene.peer.expect_closed(&why);
            scene.peer.connect(&scene.device, "modbus");
            assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, if done { 9 } else { 100 }], "{key} {when}");
        }
    }
    let mut scene = Scene::new(Route::Rtu, &[&[("close", Value::Int(3)), ("count", Value::Int(1))]]);
    assert_eq!(scene.bytes(&read(0, 1)), [1, 3, 2], "a wire stays");
    assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, 100]);
}

#[test]
fn power_goes_and_comes_back() {
    for route in ROUTES {
        let loss = table(&[("off", "2s".into()), ("at", Value::Int(2))]);
        let mut scene = Scene::new(route, &[&[("power_loss", loss), ("count", Value::Int(1))]]);
        scene.pdu(&[6, 0, 0, 0, 9]);
        assert_eq!(scene.device.with(|device, _| device.power()), Power::Off);
        scene.world.run_for(ms(999));
        assert_eq!(scene.device.with(|device, _| device.power()), Power::Off);
        scene.world.run_for(ms(20));
        assert_eq!(scene.device.with(|device, _| (device.power(), device.boots())), (Power::Run, 2));
        if route == Route::Tcp {
            scene.peer.expect_closed(&Why::Reset);
            scene.peer.connect(&scene.device, "modbus");
        }
        assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, 9], "the rule has had its turn");
    }
}

#[test]
fn busy_then_ok() {
    for route in ROUTES {
        let mut scene = Scene::new(route, &[&[("busy", Value::Int(2))]]);
        let codes: Vec<_> = (0..6).map(|_| scene.pdu(&read(0, 1))).collect();
        let (busy, good) = (vec![0x83, 6], vec![3, 2, 0, 100]);
        assert_eq!(codes, [&busy, &busy, &good, &busy, &busy, &good].map(Clone::clone));
        let acknowledge = table(&[("times", Value::Int(1)), ("code", "acknowledge".into())]);
        let mut scene = Scene::new(route, &[&[("busy", acknowledge), ("count", Value::Int(1))]]);
        assert_eq!((scene.pdu(&read(0, 1)), scene.pdu(&read(0, 1))), (vec![0x83, 5], good));
    }
}

#[test]
fn values_change_by_count_and_by_time() {
    for route in ROUTES {
        let place = when(&[("table", "holding".into()), ("address", "2-4".into())]);
        let changed: Entries<'_> = &[place, ("after", Value::Int(2)), ("value", ints(&[7, 8, 9]))];
        let ramp = table(&[("ramp", ints(&[0, 100])), ("over", "10s".into())]);
        let level: Entries<'_> = &[when(&[("point", "level".into())]), ("value", ramp)];
        let mut scene = Scene::new(route, &[changed, level]);
        let plain = [3, 6, 0, 102, 0, 103, 0, 104];
        assert_eq!(scene.pdu(&read(2, 3)), plain);
        assert_eq!(scene.pdu(&[6, 0, 2, 0, 102]), [6, 0, 2, 0, 102], "a write is no read: it is not counted");
        assert_eq!(scene.pdu(&read(2, 3)), plain);
        assert_eq!(scene.pdu(&read(2, 3)), [3, 6, 0, 7, 0, 8, 0, 9]);
        scene.world.run_until(at(ms(2_500)));
        let end = scene.ask(&[4, 0, 0, 0, 2]);
        scene.world.run_for(secs(1));
        let shown = ((end.as_nanos() as f64) / 1e10 * 100.0) as f32;
        let answer = scene.peer.take();
        let data = if route == Route::Tcp { &answer[9..13] } else { &answer[3..7] };
        assert_eq!(data, shown.to_be_bytes(), "the ramp at the instant of the request");
        let stored = scene.device.with(|device, _| device.get("level").and_then(Value::as_f64));
        assert_eq!(stored.map(|level| level as f32), Some(shown), "one store behind all faces");
    }
}

#[test]
fn values_take_the_type_of_their_place() {
    let raw = |kind: &str, value: f64| {
        let place = when(&[("table", "holding".into()), ("address", Value::Int(0))]);
        let rule: Entries<'_> =
            &[place, ("value", Value::Float(value)), ("type", kind.into()), ("words", "little".into())];
        Scene::new(Route::Tcp, &[rule]).pdu(&read(0, 2))
    };
    assert_eq!(raw("f32", 1.5), [3, 4, 0, 0, 0x3f, 0xc0]);
    assert_eq!(raw("i16", -2.0), [3, 4, 0xff, 0xfe, 0, 101]);
    let rule: Entries<'_> = &[when(&[("point", "count".into())]), ("value", Value::Float(2.6))];
    assert_eq!(Scene::new(Route::Tcp, &[rule]).pdu(&read(50, 1)), [3, 2, 0, 3]);
    let beyond: Entries<'_> = &[when(&[("point", "count".into())]), ("value", Value::Int(5000))];
    let mut scene = Scene::new(Route::Tcp, &[beyond]);
    assert_eq!(scene.pdu(&read(50, 1)), [3, 2, 0, 0]);
    let refused = scene.device.events().into_iter().find(|record| record.kind == "modbus.rule_refused").expect("told");
    assert_eq!(refused.field("problem"), Some(&"point `count` takes 0 to 1000, not 5000".into()));
}

#[test]
fn the_last_rule_wins_in_its_group_and_groups_add_up() {
    for route in ROUTES {
        let all: [Entries<'_>; 3] = [
            &[("exception", Value::Int(1)), ("delay", "10ms".into())],
            &[when(&[("address", Value::Int(1))]), ("exception", Value::Int(2))],
            &[("unit", Value::Int(9)), ("p", Value::Float(0.0))],
        ];
        let mut scene = Scene::new(route, &all);
        let heard = scene.heard(&read(1, 1));
        assert_eq!(heard, scene.timed(ms(10), &[&scene.answer(&[0x83, 2])], ms(0)));
        assert_eq!(scene.pdu(&read(0, 1)), [0x83, 1]);
        let spec = table(&[("name", "mine".into()), ("exception", Value::Int(3))]);
        assert_eq!(scene.with_face(|face| face.add_rule("rule", &spec)).as_deref(), Ok("mine"));
        assert_eq!(scene.pdu(&read(1, 1)), [0x83, 3], "what is added later wins");
        scene.with_face(ServerFace::reset_rules);
        assert_eq!(scene.pdu(&read(1, 1)), [0x83, 2]);
    }
}

#[test]
fn every_application_is_a_record_and_rules_are_switched_by_name() {
    for route in ROUTES {
        let rule: Entries<'_> = &[("name", "slow".into()), ("delay", "1ms".into()), ("every", Value::Int(2))];
        let mut scene = Scene::new(route, &[rule]);
        scene.records();
        for address in 0..4 {
            scene.pdu(&read(address, 1));
        }
        let told: Vec<_> = scene
            .records()
            .iter()
            .map(|record| {
                (record.field("rule").cloned(), record.field("count").cloned(), record.field("request").cloned())
            })
            .collect();
        let expected = |count, request: &str| (Some("slow".into()), Some(Value::Int(count)), Some(request.into()));
        assert_eq!(told, [expected(1, "03 00 00 00 01"), expected(2, "03 00 02 00 01")]);
        let state = scene.with_face(|face| face.rules().next()).expect("a rule");
        assert_eq!((state.on, state.matched, state.applied), (true, 4, 2));
        assert_eq!(state.what, "delay = \"1ms\"");
        scene.with_face(|face| assert!(face.switch_rule("slow", false) && !face.switch_rule("fast", true)));
        scene.pdu(&read(0, 1));
        assert_eq!(scene.records().len(), 0);
        scene.with_face(|face| assert!(face.switch_rule("slow", true)));
        scene.pdu(&read(0, 1));
        assert_eq!(scene.records().len(), 1, "switched on, it begins anew");
        scene.with_face(|face| assert!(face.remove_rule("slow") && !face.remove_rule("slow")));
    }
}

#[test]
fn connections_are_counted_from_power_on() {
    let rule: Entries<'_> = &[when(&[("connection", Value::Int(2))]), ("exception", "busy".into())];
    let mut scene = Scene::new(Route::Tcp, &[rule]);
    assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, 100]);
    scene.peer.connect(&scene.device, "modbus");
    assert_eq!(scene.pdu(&read(0, 1)), [0x83, 6]);
    scene.peer.connect(&scene.device, "modbus");
    assert_eq!(scene.pdu(&read(0, 1)), [3, 2, 0, 100]);
    scene.device.with(|device, now| device.power_cycle(now, ms(1)));
    scene.world.run_for(ms(2));
    for answer in [vec![3, 2, 0, 100], vec![0x83, 6]] {
        scene.peer.connect(&scene.device, "modbus");
        assert_eq!(scene.pdu(&read(0, 1)), answer);
    }
}

#[test]
fn windows_count_from_power_on() {
    let rule: Entries<'_> = &[("from", "5s".into()), ("until", "6s".into()), ("exception", Value::Int(4))];
    let mut scene = Scene::new(Route::Tcp, &[rule]);
    let asks = |scene: &mut Scene| (0..7).map(|_| scene.pdu(&read(0, 1)).len()).collect::<Vec<_>>();
    // One request each second, the first 10 ms after power-on.
    assert_eq!(asks(&mut scene), [4, 4, 4, 4, 4, 2, 4]);
    scene.device.with(|device, now| device.power_cycle(now, ms(1)));
    scene.world.run_for(ms(10));
    scene.peer.connect(&scene.device, "modbus");
    assert_eq!(asks(&mut scene), [4, 4, 4, 4, 4, 2, 4]);
}

/// A server with unit 1 (holding 0 and 1; point `own` at 5) and unit 2 (holding 7; point `far` at 1).
fn two_units(rule: Entries<'_>) -> Result<(), (String, String)> {
    let point = |name: &str, address| (name.to_owned(), table(&[("table", "holding".into()), ("address", address)]));
    let map = |name: &str, address| Value::Table(vec![point(name, Value::Int(address))]);
    let at_7 = Value::Table(vec![("7".to_owned(), ints(&[0]))]);
    let further = table(&[("holding", at_7), ("map", map("far", 1))]);
    let settings = [
        ("unit", Value::Int(1)),
        ("holding", ints(&[0, 0])),
        ("map", map("own", 5)),
        ("units", Value::Table(vec![("2".to_owned(), further)])),
        ("rule", Value::List(vec![table(rule)])),
    ];
    let settings: Vec<(String, Value)> = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let built = (TCP.constructor(Role::Device).expect("Modbus has devices").build)("modbus", &settings);
    built.map(|_| ()).map_err(|error| (error.key, error.problem))
}

#[test]
fn a_rule_is_held_against_the_tables_of_the_unit_that_it_is_for() {
    let value = |unit: Option<i64>, address| {
        let mut conditions = vec![("table", "holding".into()), ("address", Value::Int(address))];
        conditions.extend(unit.map(|unit| ("unit", Value::Int(unit))));
        two_units(&[when(&conditions), ("value", Value::Int(9))])
    };
    let missing = |text: &str| Err(("rule.0.value".to_owned(), text.to_owned()));
    assert_eq!(value(None, 1), Ok(()));
    assert_eq!(value(Some(1), 1), Ok(()));
    assert_eq!(value(Some(2), 7), Ok(()));
    let there_is_none = "there is no raw value at address 7 of this table to change";
    assert_eq!(value(Some(1), 7), missing(there_is_none));
    let of_the_point = "unit 2: address 1 belongs to the point `far`; write when = { point = \"far\" }";
    assert_eq!(value(Some(2), 1), missing(of_the_point));
    assert_eq!(value(Some(3), 1), missing("the device has no unit that this is for"));
    for (unit, point, right) in [(1, "own", true), (1, "far", false), (2, "far", true), (2, "own", false)] {
        let rule = [when(&[("unit", Value::Int(unit)), ("point", point.into())]), ("delay", "1s".into())];
        assert_eq!(two_units(&rule).is_ok(), right, "point {point} of unit {unit}");
    }
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_key() {
    let refused = |route: Route, rule: Entries<'_>| {
        let mut plain = device(route, &[]);
        let face = plain.face_as::<ServerFace>("modbus").expect("a server");
        let error = face.add_rule("rule.0", &table(rule)).expect_err("refused");
        (error.key, error.problem, error.hint)
    };
    let holding = |address: i64| when(&[("table", "holding".into()), ("address", Value::Int(address))]);
    for (rule, key, problem, hint) in [
        (
            &[("exeption", Value::Int(2))][..],
            "rule.0.exeption",
            "unknown key `exeption`",
            Some("did you mean `exception`?"),
        ),
        (
            &[("name", "a".into())],
            "rule.0",
            "`a` does nothing",
            Some("say what it does: exception, delay, drop, value and so on"),
        ),
        (
            &[("checksum", Value::Bool(true))],
            "rule.0.checksum",
            "ADUs on TCP and UDP have no checksum; they have `transaction`, `protocol` and `length`",
            None,
        ),
        (
            &[("exception", "bussy".into())],
            "rule.0.exception",
            "it must be one of \"illegal_function\", \"illegal_address\", \"illegal_value\", \"device_failure\", \"acknowledge\", \"busy\", \"negative_acknowledge\", \"memory_parity\", \"gateway_path\", \"gateway_target\", not \"bussy\"",
            Some("did you mean `busy`?"),
        ),
        (
            &[("delay", Value::Int(5))],
            "rule.0.delay",
            "it must be a duration, not 5",
            Some("write a number and a unit as a text, such as \"500ms\""),
        ),
        (
            &[("delay", "1s".into()), ("late", "1s".into())],
            "rule.0.late",
            "`delay` and `late` exclude each other",
            None,
        ),
        (&[("pieces", ints(&[2]))], "rule.0.pieces", "`gap`, the silence between them, is missing", None),
        (
            &[("gap", "1s".into()), ("exception", Value::Int(1))],
            "rule.0.gap",
            "it belongs to `pieces`, which is missing",
            None,
        ),
        (
            &[("value", Value::Int(1))],
            "rule.0.value",
            "`value` needs to know where: give `when` a `point`, or a `table` and an `address`",
            None,
        ),
        (
            &[holding(50), ("value", Value::Int(1))],
            "rule.0.value",
            "address 50 belongs to the point `count`; write when = { point = \"count\" }",
            None,
        ),
        (
            &[holding(10), ("value", Value::Int(1))],
            "rule.0.value",
            "there is no raw value at address 10 of this table to change",
            None,
        ),
        (&[when(&[("pont", "x".into())])], "rule.0.when.pont", "unknown key `pont`", Some("did you mean `point`?")),
        (
            &[("transaction", "one".into())],
            "rule.0.transaction",
            "it must be a number from 0 to 65535 or a difference such as \"+1\", not \"one\"",
            None,
        ),
    ] {
        assert_eq!(refused(Route::Tcp, rule), (key.to_owned(), problem.to_owned(), hint.map(str::to_owned)));
    }
    let told = refused(Route::Rtu, &[("transaction", Value::Int(1))]);
    assert_eq!(told.1, "frames on a line have no `transaction`; they have a `checksum`");
}

fn any_rule() -> impl Strategy<Value = Value> {
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(Value::from);
    let small = || (0..12i64).prop_map(Value::Int);
    let time = || prop::sample::select(&["1ns", "1ms", "30ms", "500ms", "2s", "5000000h"][..]).prop_map(Value::from);
    let patch = || prop_oneof![small(), word(&["+1", "-1", "-65535", "+255"]), Just(Value::Bool(true))];
    let amount = || prop_oneof![small(), (1..=1000i64).prop_map(Value::Int), word(&["1 register", "999 registers"])];
    let end = || prop_oneof![small(), word(&["before", "instead", "middle", "after"])];
    let source = || {
        let pair = (-9e9..9e9f64, -9e9..9e9f64).prop_map(|(one, other)| Value::List(vec![one.into(), other.into()]));
        (prop::sample::select(&["ramp", "sine", "noise", "gaussian"][..]), pair, time()).prop_map(
            |(kind, pair, time)| {
                let period = match kind {
                    "ramp" => "over",
                    "sine" => "period",
                    _ => "every",
                };
                table(&[(kind, pair), (period, time)])
            },
        )
    };
    let condition = prop_oneof![
        (0..12i64).prop_map(|address| table(&[("table", "holding".into()), ("address", Value::Int(address))])),
        word(&["level", "count"]).prop_map(|point| table(&[("point", point)])),
        small().prop_map(|function| table(&[("function", function)])),
        word(&["read", "write"]).prop_map(|access| table(&[("access", access)])),
    ];
    let key =
        |key: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |value| (key.to_owned(), value)).boxed();
    let entry = prop_oneof![
        4 => key("when", condition.boxed()),
        1 => key("after", prop_oneof![small(), time()].boxed()),
        1 => key("every", small().boxed()),
        1 => key("count", small().boxed()),
        1 => key("p", (0.0..=1.0f64).prop_map(Value::Float).boxed()),
        1 => key("from", time().boxed()),
        3 => key("value", prop_oneof![small(), source()].boxed()),
        2 => key("exception", (0..=255i64).prop_map(Value::Int).boxed()),
        2 => key("busy", small().boxed()),
        2 => key("answer", prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes).boxed()),
        2 => key("drop", word(&["answer", "request"]).boxed()),
        2 => key("short", amount().boxed()),
        2 => key("long", amount().boxed()),
        1 => key("function", patch().boxed()),
        1 => key("byte_count", patch().boxed()),
        1 => key("unit", patch().boxed()),
        1 => key("transaction", patch().boxed()),
        1 => key("length", patch().boxed()),
        1 => key("checksum", patch().boxed()),
        2 => key("delay", time().boxed()),
        2 => key("late", prop_oneof![time(), Just(Value::from("next"))].boxed()),
        2 => key("pieces", prop::collection::vec(1..300i64, 1..4).prop_map(|sizes| ints(&sizes)).boxed()),
        2 => key("gap", time().boxed()),
        2 => key("pace", time().boxed()),
        1 => key("duplicate", small().boxed()),
        1 => key("close", end().boxed()),
        1 => key("reset", end().boxed()),
        1 => key("power_loss", time().boxed()),
    ];
    prop::collection::vec(entry, 1..6).prop_map(|mut entries| {
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|one, other| one.0 == other.0);
        Value::Table(entries)
    })
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (1..=24u8, 0..60u8, 0..20u8).prop_map(|(function, address, quantity)| vec![function, 0, address, 0, quantity]),
        (0..12u8).prop_map(|address| vec![16, 0, address, 0, 2, 4, 0, 1, 0, 2]),
        (0..12u8).prop_map(|address| vec![23, 0, address, 0, 2, 0, 1, 0, 1, 2, 0, 1]),
        prop::collection::vec(any::<u8>(), 1..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the rules and the requests: nothing panics, time goes on, and without its rules it is a sound device again.
    #[test]
    fn no_rule_and_no_request_breaks_the_device(
        tcp in any::<bool>(),
        rules in prop::collection::vec(any_rule(), 1..6),
        requests in prop::collection::vec(any_request(), 1..12),
    ) {
        let route = if tcp { Route::Tcp } else { Route::Rtu };
        let mut scene = Scene::new(route, &[]);
        for rule in &rules {
            let _ = scene.with_face(|face| face.add_rule("rule", rule));
        }
        for request in &requests {
            scene.ask(request);
            scene.world.run_for(ms(100));
        }
        scene.with_face(ServerFace::reset_rules);
        scene.device.with(|device, now| {
            device.power_off(now);
            device.power_on(now);
        });
        // On the wire what had left the device is still under way.
        scene.world.run_for(secs(5));
        if tcp {
            scene.peer.connect(&scene.device, "modbus");
        }
        scene.peer.take();
        let answer = scene.pdu(&[3, 0, 2, 0, 1]);
        prop_assert_eq!(answer.len(), 4, "{:?}", answer);
    }
}
