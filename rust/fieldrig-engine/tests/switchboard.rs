//! Wires and connections in memory: exact and repeatable on virtual time, the same on real time.

mod common;

use common::{Event, LONG, Probe, bind, folder, rig, take, url};
use fieldrig_engine::{ClockKind, EngineError, Node, Rig, RigOptions, log};
use fieldrig_proto::endpoint::{Action, Conn, How, Why};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};

fn sim() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig")
}

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn open(rig: &Rig, name: &str, probe: Probe, port: &str) -> Node<Probe> {
    rig.open(name, probe, vec![bind("", url(port))]).expect("opens")
}

fn bus(rig: &Rig, speed: Option<LineSettings>) -> [Node<Probe>; 3] {
    rig.add_wire("bus", speed).expect("a new wire");
    ["a", "b", "c"].map(|name| open(rig, name, Probe::default(), "wire://bus"))
}

/// What comes to a node until `count` bytes are there or the time is over, and when.
fn collect(node: &Node<Probe>, count: usize, deadline: Time) -> (Vec<u8>, Vec<Stamp>) {
    let (mut bytes, mut stamps) = (Vec::new(), Vec::new());
    node.wait(
        deadline,
        |_, events, _| {
            events.retain(|event| match event {
                Event::Bytes(_, more, at) => {
                    bytes.extend(more);
                    stamps.extend(at);
                    false
                }
                _ => true,
            });
            (bytes.len() >= count).then_some(())
        },
        &mut || true,
    )
    .expect("time moves");
    (bytes, stamps)
}

/// What has come to a node by now.
fn heard(node: &Node<Probe>) -> (Vec<u8>, Vec<Stamp>) {
    collect(node, 0, Time::ZERO)
}

fn wait_for<R>(node: &Node<Probe>, deadline: Time, mut pick: impl FnMut(&Event) -> Option<R>) -> Option<R> {
    node.wait(deadline, |_, events, _| take(events, &mut pick), &mut || true).expect("time moves")
}

fn pass_time(rig: &Rig, duration: Duration) {
    rig.sleep(duration, &mut || true).expect("time moves");
}

#[test]
fn a_tap_hears_what_every_other_tap_sends_and_not_itself() {
    let rig = sim();
    let [a, b, c] = bus(&rig, Some(line()));
    a.with(|probe, _| probe.send(Conn(0), b"question")).expect("works");
    pass_time(&rig, Duration::from_millis(20));
    let expected: Vec<Stamp> =
        (1..=8).map(|count| Stamp::exact(Time::ZERO + line().character_time() * count)).collect();
    assert_eq!(heard(&b), (b"question".to_vec(), expected.clone()));
    assert_eq!(heard(&c), (b"question".to_vec(), expected));
    assert_eq!(heard(&a), (Vec::new(), Vec::new()));
    c.with(|probe, _| probe.send(Conn(0), b"answer")).expect("works");
    pass_time(&rig, Duration::from_millis(20));
    assert_eq!(heard(&a).0, b"answer");
    assert_eq!(heard(&b).0, b"answer");
    rig.stop();
}

#[test]
fn what_one_tap_sends_follows_its_own_bytes_without_a_pause() {
    let rig = sim();
    let [a, b, _] = bus(&rig, Some(line()));
    a.with(|probe, _| probe.send(Conn(0), b"ab")).expect("works");
    pass_time(&rig, line().character_time());
    a.with(|probe, _| probe.send(Conn(0), b"cd")).expect("works");
    pass_time(&rig, Duration::from_millis(20));
    let expected: Vec<Stamp> =
        (1..=4).map(|count| Stamp::exact(Time::ZERO + line().character_time() * count)).collect();
    assert_eq!(heard(&b), (b"abcd".to_vec(), expected));
    rig.stop();
}

#[test]
fn two_that_send_at_the_same_time_spoil_each_other_and_the_log_says_so_once() {
    let path = folder("collision");
    let options = RigOptions { clock: ClockKind::Virtual, folder: Some(path.clone()), ..RigOptions::default() };
    let rig = Rig::start(options).expect("a rig");
    let [a, b, c] = bus(&rig, Some(line()));
    a.with(|probe, _| probe.send(Conn(0), b"AAAA")).expect("works");
    // In the middle of the second byte.
    pass_time(&rig, line().character_time() * 3 / 2);
    b.with(|probe, _| probe.send(Conn(0), b"BBBB")).expect("works");
    pass_time(&rig, Duration::from_millis(20));
    let (bytes, stamps) = heard(&c);
    let (clean, spoiled): (Vec<u8>, Vec<u8>) = bytes.iter().partition(|byte| b"AB".contains(*byte));
    // Clean: the first of A, which nothing overlapped, and the last of B; everything else arrives, but wrong.
    assert_eq!(clean, b"AB");
    assert_eq!(spoiled.len(), 6);
    assert!(stamps.windows(2).all(|pair| pair[0].latest() <= pair[1].earliest()));
    let garbled = heard(&b).0;
    assert_eq!((garbled[0], garbled.len()), (b'A', 4));
    assert!(garbled[1..].iter().all(|byte| *byte != b'A'));
    rig.stop();
    let records = log::read(rig.log().path().expect("a log")).expect("readable");
    let collisions: Vec<_> = records.iter().filter(|record| record.kind == "wire.collision").collect();
    assert_eq!(collisions.len(), 1);
    assert_eq!(collisions[0].field("taps").and_then(|taps| taps.as_str()), Some("a, b"));
    std::fs::remove_dir_all(path).expect("removed");
}

#[test]
fn on_a_full_duplex_wire_both_sides_send_at_a_time() {
    let rig = Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig");
    rig.add_full_duplex_wire("bus", Some(line())).expect("a wire");
    let [a, b] = ["a", "b"].map(|name| open(&rig, name, Probe::default(), "wire://bus"));
    a.with(|probe, _| probe.send(Conn(0), b"AAAA")).expect("works");
    pass_time(&rig, line().character_time() * 3 / 2);
    b.with(|probe, _| probe.send(Conn(0), b"BBBB")).expect("works");
    pass_time(&rig, Duration::from_millis(20));
    assert_eq!(heard(&b).0, b"AAAA");
    assert_eq!(heard(&a).0, b"BBBB");
    rig.stop();
}

#[test]
fn a_wire_without_speed_delivers_at_once_but_surely_later() {
    let rig = sim();
    let [a, b, _] = bus(&rig, None);
    a.with(|probe, _| probe.send(Conn(0), b"now")).expect("works");
    pass_time(&rig, Duration::from_millis(1));
    let (bytes, stamps) = heard(&b);
    assert_eq!(bytes, b"now");
    assert_eq!(stamps, vec![Stamp::exact(Time::from_nanos(1)); 3]);
    rig.stop();
}

#[test]
fn a_long_send_keeps_the_speed_of_the_wire() {
    let rig = sim();
    let [a, b, c] = bus(&rig, Some(line()));
    let long = vec![0x55; 20_000];
    a.with(|probe, _| probe.send(Conn(0), &long)).expect("works");
    pass_time(&rig, line().character_time() * 20_000);
    let (bytes, stamps) = heard(&b);
    assert_eq!(bytes, long);
    assert_eq!(stamps.last(), Some(&Stamp::exact(Time::ZERO + line().character_time() * 20_000)));
    assert_eq!(heard(&c).0.len(), 20_000);
    rig.stop();
}

#[test]
fn a_break_is_a_break_at_every_speed_and_a_wire_keeps_its_settings() {
    let rig = sim();
    let [a, b, _] = bus(&rig, Some(line()));
    let length = Duration::from_millis(3);
    a.with(|probe, _| {
        probe.act(Action::SetLine(Conn(0), LineCommand::Settings("19200 8N1".parse().expect("valid"))));
        probe.act(Action::SetLine(Conn(0), LineCommand::Break(length)));
    })
    .expect("works");
    let event = wait_for(&b, Time::ZERO + Duration::from_secs(1), |event| match event {
        Event::Line(_, event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!((event, rig.now()), (Some(LineEvent::Break), Time::ZERO + length));
    rig.stop();
}

#[test]
fn wires_have_names() {
    let rig = sim();
    let missing = rig.open("x", Probe::default(), vec![bind("", url("wire://bus"))]).map(|_| ());
    match missing {
        Err(EngineError::Port { url, what, hint: Some(hint) }) => {
            assert_eq!((url.as_str(), what.as_str()), ("wire://bus", "there is no such wire on this rig"));
            assert_eq!(hint, "add it first: rig.add_wire(..)");
        }
        other => panic!("{other:?}"),
    }
    rig.add_wire("bus", Some(line())).expect("a new wire");
    rig.add_wire("bus", Some(line())).expect("the same wire");
    let other = rig.add_wire("bus", None).map_err(|error| error.to_string());
    assert_eq!(other, Err("wire://bus: there is a wire of this name already, with 9600 8E1".to_owned()));
    let other = rig.add_full_duplex_wire("bus", Some(line())).map_err(|error| error.to_string());
    assert!(other.is_err_and(|text| text.contains("already, with 9600 8E1 and with another echo, driver, duplex")));
    assert_eq!(rig.wire("bus"), Some(Some(line())));
    assert_eq!(rig.line_of(&url("wire://bus")), Some(line()));
    let hint = rig.open("x", Probe::default(), vec![bind("", url("wire://buss"))]).map(|_| ());
    assert_eq!(hint.err().and_then(|error| error.hint().map(str::to_owned)), Some("there are bus".to_owned()));
    rig.remove_wire("bus");
    assert_eq!(rig.wire("bus"), None);
}

fn connected(rig: &Rig, server: Probe) -> (Node<Probe>, Node<Probe>) {
    let server = open(rig, "server", server, "memory-listen://door");
    assert_eq!(server.address("").as_deref(), Some("memory://door"));
    let client = open(rig, "client", Probe::default(), "memory://door");
    (server, client)
}

#[test]
fn connections_in_memory_are_made_spoken_on_and_ended() {
    for rig in [sim(), rig()] {
        let (server, client) = connected(&rig, Probe::echo());
        client.with(|probe, _| probe.send(Conn(0), b"hello")).expect("works");
        let deadline = rig.now() + LONG;
        assert_eq!(collect(&client, 5, deadline).0, b"hello");
        client.with(|probe, _| probe.act(Action::Close(Conn(0), How::HalfOpen))).expect("works");
        let finished = wait_for(&server, deadline, |event| match event {
            Event::Closed(_, why) => Some(why.clone()),
            _ => None,
        });
        assert_eq!(finished, Some(Why::Finished));
        // The echo closes in turn: both directions are over.
        let why = wait_for(&client, deadline, |event| match event {
            Event::Closed(_, why) if *why != Why::Finished => Some(why.clone()),
            _ => None,
        });
        assert_eq!(why, Some(Why::Local));
        rig.stop();
    }
}

#[test]
fn on_virtual_time_an_answer_is_surely_after_its_question() {
    let rig = sim();
    let (_server, client) = connected(&rig, Probe::echo());
    pass_time(&rig, Duration::from_secs(5));
    let asked = rig.now();
    client.with(|probe, _| probe.send(Conn(0), b"hello")).expect("works");
    let stamp = wait_for(&client, asked + LONG, |event| match event {
        Event::Bytes(_, _, stamps) => stamps.first().copied(),
        _ => None,
    });
    assert_eq!(stamp, Some(Stamp::exact(asked + Duration::from_nanos(2))));
    rig.stop();
}

#[test]
fn a_reset_is_a_reset() {
    let rig = sim();
    let (server, client) = connected(&rig, Probe::default());
    server.with(|probe, _| probe.act(Action::Close(Conn(0), How::Rst))).expect("works");
    let why = wait_for(&client, rig.now() + LONG, |event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why, Some(Why::Reset));
    let faults = client.faults().expect("open");
    assert_eq!(faults.lost.len(), 1);
    rig.stop();
}

#[test]
fn in_memory_an_end_is_told_before_the_beginning_of_what_was_made_after_it() {
    for (how, why) in [(How::Rst, Why::Reset), (How::Fin, Why::Finished)] {
        let rig = sim();
        let (server, client) = connected(&rig, Probe::default());
        let leave_and_come_back = |probe: &mut Probe, _| {
            probe.send(Conn(0), b"nine byte");
            probe.act(Action::Close(Conn(0), how));
            probe.connect("again", "memory://door");
        };
        client.with(leave_and_come_back).expect("works");
        let ends = |event: &Event| match event {
            Event::Closed(_, _) | Event::Opened(Conn(1), _) => Some(event.clone()),
            _ => None,
        };
        let deadline = rig.now() + LONG;
        assert_eq!(wait_for(&server, deadline, ends), Some(Event::Closed(Conn(0), why)));
        assert_eq!(wait_for(&server, deadline, ends), Some(Event::Opened(Conn(1), String::new())));
        rig.stop();
    }
}

#[test]
fn nobody_there_is_a_refusal() {
    let rig = sim();
    let refused = rig.open("client", Probe::default(), vec![bind("", url("memory://door"))]).map(|_| ());
    let error = refused.expect_err("nobody listens");
    assert_eq!(error.to_string(), "memory://door: connection refused");
    let server = open(&rig, "server", Probe::default(), "memory-listen://door");
    let twice = rig.open("other", Probe::default(), vec![bind("", url("memory-listen://door"))]).map(|_| ());
    let error = twice.expect_err("taken").to_string();
    assert_eq!(error, "memory-listen://door: somebody on this rig listens there already");
    // An endpoint that connects by itself is told.
    let client = open(&rig, "client", Probe::default(), "memory://door");
    server.close();
    client.with(|probe, _| probe.connect("again", "memory://door")).expect("works");
    let why = wait_for(&client, rig.now() + LONG, |event| match event {
        Event::Closed(_, Why::Refused { via, reason, .. }) => Some((via.clone(), reason.clone())),
        _ => None,
    });
    assert_eq!(why, Some(("again".to_owned(), "memory://door: connection refused".to_owned())));
    // The name is free again.
    let _server = open(&rig, "server", Probe::default(), "memory-listen://door");
    client.with(|probe, _| probe.connect("again", "memory://door")).expect("works");
    let via = wait_for(&client, rig.now() + LONG, |event| match event {
        Event::Opened(_, via) if via == "again" => Some(via.clone()),
        _ => None,
    });
    assert_eq!(via.as_deref(), Some("again"));
    rig.stop();
}

#[test]
fn much_output_waits_for_room_on_both_clocks() {
    for rig in [sim(), rig()] {
        let server = open(&rig, "server", Probe { quiet: true, ..Probe::default() }, "memory-listen://door");
        let client = open(&rig, "client", Probe::default(), "memory://door");
        let much = vec![7; 5 << 20];
        client.with(|probe, _| probe.send(Conn(0), &much)).expect("works");
        let deadline = rig.now() + LONG;
        let all = server.wait(deadline, |probe, _, _| (probe.received == much.len()).then_some(()), &mut || true);
        assert_eq!(all, Ok(Some(())));
        rig.stop();
    }
}

#[test]
fn a_wire_works_on_real_time() {
    let rig = rig();
    let [a, b, c] = bus(&rig, Some(line()));
    let begun = rig.now();
    a.with(|probe, _| probe.send(Conn(0), b"question")).expect("works");
    for node in [&b, &c] {
        let (bytes, stamps) = collect(node, 8, rig.now() + LONG);
        assert_eq!(bytes, b"question");
        let first = stamps[0].earliest();
        assert!(first >= begun + line().character_time());
        assert_eq!(stamps[7].earliest().since(first), line().character_time() * 7);
    }
    rig.stop();
}
