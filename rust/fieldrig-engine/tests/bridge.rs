//! Bridges: what comes in on one side leaves on the other, disturbed only where a fault says so.

mod common;

use common::{Event, LONG, Probe, bind, folder, rig, take, url};
use fieldrig_engine::link::{Bridge, ByteFault, Disturbance, FaultError, Way};
use fieldrig_engine::{ClockKind, Node, PortSpec, Rig, RigOptions, log};
use fieldrig_proto::endpoint::{Action, Conn, How, Why};
use fieldrig_proto::fault::Schedule;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::time::{Duration, Stamp, Time};

fn sim() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig")
}

fn open(rig: &Rig, name: &str, probe: Probe, port: &str) -> Node<Probe> {
    rig.open(name, probe, vec![bind("", url(port))]).expect("opens")
}

/// Two wires with a tap each, and a bridge between them.
fn two_wires(rig: &Rig, seed: u64) -> (Node<Probe>, Node<Bridge>, Node<Probe>) {
    let line: LineSettings = "9600 8N1".parse().expect("valid");
    rig.add_wire("west", Some(line)).expect("a new wire");
    rig.add_wire("east", None).expect("a new wire");
    let bindings = vec![bind("left", url("wire://west")), bind("right", url("wire://east"))];
    let bridge = rig.open("bridge", Bridge::wires("left", "right", seed), bindings).expect("opens");
    let west = open(rig, "west", Probe::default(), "wire://west");
    let east = open(rig, "east", Probe::default(), "wire://east");
    (west, bridge, east)
}

/// A bridge in front of a server, both listening; gives where to connect to.
fn proxy(rig: &Rig, listen: &str, server: Probe) -> (Node<Probe>, Node<Bridge>, String) {
    let server = rig.open("server", server, vec![bind("", url(listen))]).expect("listens");
    let reached = |address: String| if address.contains("://") { address } else { format!("tcp://{address}") };
    let target = reached(server.address("").expect("bound"));
    let left = if listen.starts_with("memory") { "memory-listen://proxy" } else { listen };
    let bindings = vec![
        bind("left", url(left)),
        bind("right", PortSpec::OnDemand),
        bind("forth", url("memory-listen://forth")),
        bind("back", url("memory-listen://back")),
    ];
    let bridge = Bridge::connections("left", "right", &target, 1).mirrored("forth", "back");
    let bridge = rig.open("bridge", bridge, bindings).expect("opens");
    let place = reached(bridge.address("left").expect("bound"));
    (server, bridge, place)
}

fn collect(rig: &Rig, node: &Node<Probe>, count: usize) -> (Vec<u8>, Vec<Stamp>) {
    let (mut bytes, mut stamps) = (Vec::new(), Vec::new());
    let collected = node.wait(
        rig.now() + LONG,
        |_, events, _| {
            while let Some((more, at)) = take(events, |event| match event {
                Event::Bytes(_, bytes, stamps) => Some((bytes.clone(), stamps.clone())),
                _ => None,
            }) {
                bytes.extend(more);
                stamps.extend(at);
            }
            (bytes.len() >= count).then_some(())
        },
        &mut || true,
    );
    assert_eq!(collected, Ok(Some(())), "{bytes:?}");
    (bytes, stamps)
}

fn ending(rig: &Rig, node: &Node<Probe>) -> Option<Why> {
    let closed = |event: &Event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    };
    node.wait(rig.now() + LONG, |_, events, _| take(events, closed), &mut || true).expect("time moves")
}

fn set(bridge: &Node<Bridge>, way: Way, what: Disturbance, after: u64, count: u64) -> u64 {
    let schedule = Schedule { after, count: Some(count), ..Schedule::default() };
    let fault = ByteFault { what, schedule };
    bridge.with(|bridge, now| bridge.inject(now, way, fault)).expect("works").0.expect("makes sense")
}

#[test]
fn wires_are_joined_both_ways() {
    let rig = sim();
    let (west, _bridge, east) = two_wires(&rig, 1);
    west.with(|probe, _| probe.send(Conn(0), b"question")).expect("works");
    assert_eq!(collect(&rig, &east, 8).0, b"question");
    east.with(|probe, _| probe.send(Conn(0), b"answer")).expect("works");
    assert_eq!(collect(&rig, &west, 6).0, b"answer");
    rig.stop();
}

#[test]
fn faults_disturb_one_direction_and_end_when_they_are_cleared() {
    let rig = sim();
    let (west, bridge, east) = two_wires(&rig, 1);
    let fault = set(&bridge, Way::Forth, Disturbance::Drop, 2, 3);
    west.with(|probe, _| probe.send(Conn(0), b"0123456789")).expect("works");
    assert_eq!(collect(&rig, &east, 7).0, b"0156789");
    east.with(|probe, _| probe.send(Conn(0), b"0123456789")).expect("works");
    assert_eq!(collect(&rig, &west, 10).0, b"0123456789");
    assert_eq!(bridge.with(|bridge, now| bridge.clear(now, fault)).expect("works").0, Some(3));
    set(&bridge, Way::Back, Disturbance::Cut, 1, 1);
    east.with(|probe, _| probe.send(Conn(0), b"abc")).expect("works");
    east.with(|probe, _| probe.send(Conn(0), b"def")).expect("works");
    rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
    bridge.with(|bridge, now| bridge.clear_all(now)).expect("works");
    east.with(|probe, _| probe.send(Conn(0), b"ghi")).expect("works");
    assert_eq!(collect(&rig, &west, 4).0, b"aghi");
    rig.stop();
}

#[test]
fn a_delay_is_exact_and_keeps_the_order() {
    let rig = sim();
    let (west, bridge, east) = two_wires(&rig, 1);
    let length = Duration::from_millis(250);
    set(&bridge, Way::Back, Disturbance::Delay(length), 1, 1);
    let begun = rig.now();
    east.with(|probe, _| probe.send(Conn(0), b"abc")).expect("works");
    let (bytes, stamps) = collect(&rig, &west, 3);
    assert_eq!(bytes, b"abc");
    let character = "9600 8N1".parse::<LineSettings>().expect("valid").character_time();
    let hop = Duration::from_nanos(1);
    assert_eq!(stamps[0], Stamp::exact(begun + hop + character));
    assert_eq!(stamps[1], Stamp::exact(begun + hop + length + character));
    assert_eq!(stamps[2], Stamp::exact(begun + hop + length + character * 2));
    rig.stop();
}

#[test]
fn the_seed_decides_and_the_log_tells() {
    let run = |seed: u64, name: &str| {
        let path = folder(name);
        let options = RigOptions { clock: ClockKind::Virtual, folder: Some(path.clone()), ..RigOptions::default() };
        let rig = Rig::start(options).expect("a rig");
        let (west, bridge, east) = two_wires(&rig, seed);
        let schedule = Schedule { probability: 0.2, ..Schedule::default() };
        let fault = ByteFault { what: Disturbance::Corrupt, schedule };
        bridge.with(|bridge, now| bridge.inject(now, Way::Forth, fault)).expect("works").0.expect("makes sense");
        let sent: Vec<u8> = (0..200).collect();
        west.with(|probe, _| probe.send(Conn(0), &sent)).expect("works");
        let came = collect(&rig, &east, 200).0;
        rig.stop();
        let records = log::read(rig.log().path().expect("a log")).expect("readable");
        let struck = records.iter().filter(|record| record.kind == "link.struck");
        let logged: i64 = struck.filter_map(|record| record.field("count").and_then(|count| count.as_i64())).sum();
        assert_eq!(sent.iter().zip(&came).filter(|(sent, came)| sent != came).count() as i64, logged);
        assert!(records.iter().any(|record| record.kind == "link.fault"));
        std::fs::remove_dir_all(path).expect("removed");
        came
    };
    let first = run(7, "seed-a");
    assert_eq!(first, run(7, "seed-b"));
    assert_ne!(first, run(8, "seed-c"));
}

#[test]
fn each_connection_gets_one_of_its_own_and_its_end() {
    for (rig, listen) in [(sim(), "memory-listen://server"), (rig(), "tcp-listen://127.0.0.1:0")] {
        let (server, bridge, place) = proxy(&rig, listen, Probe::echo());
        let watch = open(&rig, "watch", Probe::default(), "memory://back");
        let clients = ["one", "two", "three"].map(|name| open(&rig, name, Probe::default(), &place));
        for (client, text) in clients.iter().zip([b"1111", b"2222", b"3333"]) {
            client.with(|probe, _| probe.send(Conn(0), text)).expect("works");
            assert_eq!(collect(&rig, client, 4).0, text);
        }
        assert_eq!(bridge.with(|bridge, _| bridge.joined()).expect("works").0, 3);
        let (mut seen, _) = collect(&rig, &watch, 12);
        seen.sort_unstable();
        assert_eq!(seen, b"111122223333");
        // Finished is passed on: the server ends, too, and both directions are over.
        clients[0].with(|probe, _| probe.act(Action::Close(Conn(0), How::HalfOpen))).expect("works");
        assert_eq!(ending(&rig, &server), Some(Why::Finished), "{listen}");
        assert_eq!(ending(&rig, &clients[0]), Some(Why::Finished), "{listen}");
        // Broken off is passed on as broken off.
        clients[1].with(|probe, _| probe.act(Action::Close(Conn(0), How::Rst))).expect("works");
        let reset = server.wait(
            rig.now() + LONG,
            |_, events, _| take(events, |event| matches!(event, Event::Closed(_, Why::Reset)).then_some(())),
            &mut || true,
        );
        assert_eq!(reset, Ok(Some(())), "{listen}");
        clients[2].with(|probe, _| probe.send(Conn(0), b"still")).expect("works");
        assert_eq!(collect(&rig, &clients[2], 5).0, b"still");
        rig.stop();
    }
}

#[test]
fn on_a_connection_loss_is_a_stall_and_a_cut_breaks_it_off() {
    let rig = sim();
    let (_server, bridge, place) = proxy(&rig, "memory-listen://server", Probe::echo());
    let client = open(&rig, "client", Probe::default(), &place);
    set(&bridge, Way::Back, Disturbance::Drop, 4, 1);
    let begun = rig.now();
    client.with(|probe, _| probe.send(Conn(0), b"12345678")).expect("works");
    let (bytes, stamps) = collect(&rig, &client, 8);
    assert_eq!(bytes, b"12345678");
    assert!(stamps[3].latest() < begun + Duration::from_millis(1));
    assert!(stamps[4].earliest() >= begun + Disturbance::RETRANSMISSION);
    let doubles = ByteFault { what: Disturbance::Duplicate, schedule: Schedule::default() };
    let refused = bridge.with(|bridge, now| bridge.inject(now, Way::Back, doubles)).expect("works").0;
    assert_eq!(refused, Err(FaultError::NoDoubles));
    let schedule = Schedule { probability: 1.5, ..Schedule::default() };
    let unlikely = ByteFault { what: Disturbance::Corrupt, schedule };
    let refused = bridge.with(|bridge, now| bridge.inject(now, Way::Back, unlikely)).expect("works").0;
    assert_eq!(refused, Err(FaultError::Probability(1.5)));
    set(&bridge, Way::Forth, Disturbance::Cut, 2, 1);
    client.with(|probe, _| probe.send(Conn(0), b"abcd")).expect("works");
    assert_eq!(ending(&rig, &client), Some(Why::Reset));
    rig.stop();
}

#[test]
fn a_right_side_that_is_not_there_breaks_the_left_one_off() {
    for (rig, listen) in [(sim(), "memory-listen://server"), (rig(), "tcp-listen://127.0.0.1:0")] {
        let (server, _bridge, place) = proxy(&rig, listen, Probe::echo());
        server.close();
        // The kernel may tell of the reset while the connection is being made, or once it is there.
        match rig.open("client", Probe::default(), vec![bind("", url(&place))]) {
            Ok(client) => assert_eq!(ending(&rig, &client), Some(Why::Reset), "{listen}"),
            Err(error) => assert!(error.to_string().contains("reset"), "{listen}: {error}"),
        }
        rig.stop();
    }
}

#[test]
fn what_is_said_before_the_right_side_is_reached_is_not_lost() {
    let rig = sim();
    let (_server, bridge, place) = proxy(&rig, "memory-listen://server", Probe::echo());
    bridge.gate("right", fieldrig_engine::Gate::Stalled).expect("a port");
    let client = open(&rig, "client", Probe::default(), &place);
    client.with(|probe, _| probe.send(Conn(0), b"early")).expect("works");
    rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
    bridge.gate("right", fieldrig_engine::Gate::Open).expect("a port");
    assert_eq!(collect(&rig, &client, 5).0, b"early");
    assert!(rig.now() >= Time::ZERO + Duration::from_secs(1));
    rig.stop();
}

/// A wire in memory that is joined to a pty, with a device and a monitor on it, and the program at the far end.
fn joined_to_a_pty(rig: &Rig) -> (Node<Bridge>, Node<Probe>, [Node<Probe>; 2]) {
    rig.add_wire("bus", None).expect("a new wire");
    let bindings = vec![bind("left", url("pty://?line=115200+8N1")), bind("right", url("wire://bus"))];
    let bridge = rig.open("bridge", Bridge::wires("left", "right", 1), bindings).expect("opens");
    let pty = bridge.address("left").expect("a device node");
    let taps = ["device", "monitor"].map(|name| open(rig, name, Probe::default(), "wire://bus"));
    let program = open(rig, "program", Probe::default(), &format!("serial://{pty}?line=115200+8N1"));
    (bridge, program, taps)
}

fn contains(stamp: Stamp, of: Stamp) -> bool {
    stamp.earliest() <= of.earliest() && stamp.latest() >= of.latest()
}

#[test]
fn what_came_from_a_real_port_is_no_more_exact_on_the_wire_than_it_came() {
    let rig = rig();
    let (_bridge, program, taps) = joined_to_a_pty(&rig);
    for text in [b"one", b"two", b"six"] {
        let (_, sent) = program.with(|probe, _| probe.send(Conn(0), text)).expect("works");
        let sent = sent.and_then(|sent| sent.at()).expect("it was sent");
        for tap in &taps {
            let (bytes, stamps) = collect(&rig, tap, 3);
            assert_eq!(bytes, text);
            for stamp in stamps {
                // It may have come at once; that it was forwarded later must not make it late.
                assert!(stamp.earliest() <= sent.latest(), "{stamp:?} {sent:?}");
                assert!(stamp.latest() >= sent.earliest(), "{stamp:?} {sent:?}");
                assert!(!stamp.uncertainty().is_zero(), "{stamp:?}");
            }
        }
    }
    rig.stop();
}

#[test]
fn what_goes_to_a_real_port_was_on_the_wire_until_it_left() {
    let rig = rig();
    let (_bridge, program, [device, monitor]) = joined_to_a_pty(&rig);
    for text in [b"one", b"two", b"six"] {
        let (_, sent) = device.with(|probe, _| probe.send(Conn(0), text)).expect("works");
        let issued = sent.and_then(|sent| sent.issued).expect("it was sent");
        let (bytes, came) = collect(&rig, &program, 3);
        assert_eq!(bytes, text);
        let (bytes, seen) = collect(&rig, &monitor, 3);
        assert_eq!(bytes, text);
        for (seen, came) in seen.into_iter().zip(came) {
            assert!(seen.earliest() <= issued + Duration::from_nanos(1), "{seen:?}");
            // It cannot have left after it came.
            assert!(seen.earliest() <= came.latest() && seen.latest() > issued, "{seen:?} {came:?}");
            assert!(!seen.uncertainty().is_zero(), "{seen:?}");
        }
    }
    rig.stop();
}

#[test]
fn who_sends_to_a_real_port_learns_when_it_left() {
    let rig = rig();
    let (_bridge, program, [device, monitor]) = joined_to_a_pty(&rig);
    let send = |probe: &mut Probe, _| {
        probe.send(Conn(0), b"one");
        Ok::<(), ()>(())
    };
    let sent = device.send(send, LONG, &mut || true).expect("works").expect("no refusal").expect("a send");
    let (_, seen) = collect(&rig, &monitor, 3);
    let at = sent.at().expect("it has left");
    assert!(contains(at, seen[2]) || at.latest() >= seen[2].latest(), "{at:?} {seen:?}");
    assert_eq!(collect(&rig, &program, 3).0, b"one");
    rig.stop();
}

#[test]
fn what_is_held_up_on_its_way_to_a_real_port_is_on_the_wire_when_it_leaves() {
    let rig = rig();
    let (bridge, program, [device, monitor]) = joined_to_a_pty(&rig);
    let held = Duration::from_millis(50);
    set(&bridge, Way::Back, Disturbance::Delay(held), 0, 1);
    let (_, sent) = device.with(|probe, _| probe.send(Conn(0), b"late")).expect("works");
    let issued = sent.and_then(|sent| sent.issued).expect("it was sent");
    let (_, seen) = collect(&rig, &monitor, 4);
    assert!(seen.iter().all(|seen| seen.latest() >= issued + held), "{seen:?}");
    assert_eq!(collect(&rig, &program, 4).0, b"late");
    // What is lost on the way holds nobody up.
    set(&bridge, Way::Back, Disturbance::Cut, 0, 1);
    device.with(|probe, _| probe.send(Conn(0), b"lost")).expect("works");
    assert_eq!(collect(&rig, &monitor, 4).0, b"lost");
    // Nor does a bridge that is gone.
    bridge.close();
    device.with(|probe, _| probe.send(Conn(0), b"here")).expect("works");
    assert_eq!(collect(&rig, &monitor, 4).0, b"here");
    rig.stop();
}

#[test]
fn a_foreign_program_reaches_a_wire_in_memory_through_a_pty() {
    let rig = rig();
    rig.add_wire("bus", None).expect("a new wire");
    let bindings = vec![bind("left", url("pty://?line=115200+8N1")), bind("right", url("wire://bus"))];
    let bridge = rig.open("bridge", Bridge::wires("left", "right", 1), bindings).expect("opens");
    let device = open(&rig, "device", Probe::echo(), "wire://bus");
    let pty = bridge.address("left").expect("a device node");
    let program = open(&rig, "program", Probe::default(), &format!("serial://{pty}?line=115200+8N1"));
    program.with(|probe, _| probe.send(Conn(0), b"question")).expect("works");
    assert_eq!(collect(&rig, &program, 8).0, b"question");
    device.close();
    rig.stop();
}
