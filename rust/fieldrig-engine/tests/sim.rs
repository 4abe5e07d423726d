//! The simulation: virtual time is exact, repeatable and quick, and says so when it cannot move.

mod common;

use common::{Event, Probe, bind, take, url};
use fieldrig_engine::{ClockKind, EngineError, Node, PortSpec, Rig, RigOptions, memory_pair};
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::time::{Duration, Stamp, Time};

fn sim() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig")
}

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn wire(rig: &Rig, device: Probe) -> (Node<Probe>, Node<Probe>) {
    let (one, other) = memory_pair(Some(line()));
    let client = rig.open("client", Probe::default(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let device = rig.open("device", device, vec![bind("", PortSpec::Memory(other))]).expect("opens");
    (client, device)
}

/// One request of eight bytes and its echo; gives the stamps of all answered bytes.
fn poll(client: &Node<Probe>) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    let called = client
        .call(
            |probe, _| -> Result<(), ()> {
                probe.send(Conn(0), b"\x01\x03\0\0\0\x0a\xc5\xcd");
                Ok(())
            },
            Duration::from_secs(1),
            |(), _, events, _| {
                while let Some(more) = take(events, |event| match event {
                    Event::Bytes(_, _, stamps) => Some(stamps.clone()),
                    _ => None,
                }) {
                    stamps.extend(more);
                }
                (stamps.len() == 8).then_some(())
            },
            &mut || true,
        )
        .expect("time moves")
        .expect("the command is fine");
    assert!(called.outcome.is_some(), "the answer came");
    stamps
}

#[test]
fn an_exchange_takes_exactly_as_long_as_on_the_wire() {
    let rig = sim();
    let (client, _device) = wire(&rig, Probe::echo());
    let stamps = poll(&client);
    // Each byte is echoed when it arrives: the first answered byte ends two characters after the start.
    assert_eq!(stamps[0], Stamp::exact(Time::ZERO + line().character_time() * 2));
    assert_eq!(stamps[7], Stamp::exact(Time::ZERO + line().character_time() * 9));
    assert_eq!(rig.now(), stamps[7].latest());
    rig.stop();
}

#[test]
fn an_hour_of_polling_is_quick_and_the_same_every_time() {
    let run = || {
        let rig = sim();
        let (client, _device) = wire(&rig, Probe::echo());
        let mut stamps = Vec::new();
        while rig.now() < Time::ZERO + Duration::from_secs(3600) {
            stamps.extend(poll(&client).last().copied());
            rig.sleep(Duration::from_millis(990), &mut || true).expect("time moves");
        }
        rig.stop();
        stamps
    };
    let first = run();
    assert!(first.len() > 3500);
    assert_eq!(first, run());
}

#[test]
fn time_outs_happen_at_their_instant() {
    let rig = sim();
    let probe = Probe {
        timeout: Some(Time::ZERO + Duration::from_secs(7)),
        period: Some(Duration::from_secs(86_400)),
        ..Probe::default()
    };
    let (one, _other) = memory_pair(None);
    let node = rig.open("node", probe, vec![bind("", PortSpec::Memory(one))]).expect("opens");
    for day in 0..3 {
        let at = node
            .wait(
                Time::FAR,
                |_, events, _| {
                    take(events, |event| match event {
                        Event::Timeout(at) => Some(*at),
                        _ => None,
                    })
                },
                &mut || true,
            )
            .expect("time moves");
        assert_eq!(at, Some(Time::ZERO + Duration::from_secs(7 + 86_400 * day)));
    }
    rig.stop();
}

#[test]
fn a_wait_for_nothing_is_reported_not_endless() {
    let rig = sim();
    let (client, _device) = wire(&rig, Probe::default());
    let waited = client.wait(Time::FAR, |_, _, _| None::<()>, &mut || true);
    assert_eq!(waited, Err(EngineError::NoProgress { at: Time::ZERO }));
    // With a limit, time moves to it.
    let limit = Time::ZERO + Duration::from_secs(5);
    assert_eq!(client.wait(limit, |_, _, _| None::<()>, &mut || true), Ok(None));
    assert_eq!(rig.now(), limit);
    rig.stop();
}

#[test]
fn nodes_that_keep_each_other_busy_without_end_are_reported() {
    let rig = sim();
    let (one, other) = memory_pair(None);
    let left = rig.open("left", Probe::echo(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let _right = rig.open("right", Probe::echo(), vec![bind("", PortSpec::Memory(other))]).expect("opens");
    let result = left.with(|probe, _| probe.send(Conn(0), b"ball"));
    assert!(matches!(&result, Err(EngineError::Stuck { what, .. }) if what.contains("busy")), "{result:?}");
    rig.stop();
}

#[test]
fn timed_sends_are_exact() {
    let rig = sim();
    let (client, device) = wire(&rig, Probe::default());
    let due = Time::ZERO + Duration::from_millis(100);
    client
        .with(|probe, _| {
            probe.send_timed(Conn(0), b"a", Some(due), None);
            probe.send_timed(Conn(0), b"b", None, Some(Duration::from_millis(4)));
        })
        .expect("works");
    let mut seen = Vec::new();
    let found = device.wait(
        Time::ZERO + Duration::from_secs(1),
        |_, events, _| {
            while let Some(stamps) = take(events, |event| match event {
                Event::Bytes(_, _, stamps) => Some(stamps.clone()),
                _ => None,
            }) {
                seen.extend(stamps);
            }
            (seen.len() == 2).then_some(())
        },
        &mut || true,
    );
    assert_eq!(found, Ok(Some(())));
    let character = line().character_time();
    assert_eq!(seen[0], Stamp::exact(due + character));
    // The gap begins when the last bit of the first byte has left.
    assert_eq!(seen[1], Stamp::exact(due + character + Duration::from_millis(4) + character));
    rig.stop();
}

#[test]
fn what_a_caller_does_comes_surely_after_what_happened() {
    let rig = sim();
    let (client, _device) = wire(&rig, Probe::echo());
    let heard = *poll(&client).last().expect("an answer");
    assert_eq!(rig.now(), heard.latest());
    let at = client.with(|_, now| now).expect("works").0;
    assert_eq!(at, heard.latest() + Duration::from_nanos(1));
    // Nothing happened since: time stands still.
    assert_eq!(client.with(|_, now| now).expect("works").0, at);
    assert_eq!(rig.instant(), at);
    rig.stop();
}

#[test]
fn much_output_on_a_wire_waits_for_room() {
    let rig = sim();
    let (one, other) = memory_pair(None);
    let writer = rig.open("writer", Probe::default(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let reader = Probe { quiet: true, ..Probe::default() };
    let reader = rig.open("reader", reader, vec![bind("", PortSpec::Memory(other))]).expect("opens");
    let much = vec![7; (1 << 20) + 1000];
    writer.with(|probe, _| probe.send(Conn(0), &much)).expect("works");
    let deadline = rig.now() + Duration::from_secs(1);
    let all = reader.wait(deadline, |probe, _, _| (probe.received == much.len()).then_some(()), &mut || true);
    assert_eq!(all, Ok(Some(())));
    rig.stop();
}

#[test]
fn real_ports_are_refused() {
    let rig = sim();
    let opened = rig.open("client", Probe::default(), vec![bind("", url("tcp://127.0.0.1:502"))]);
    assert!(matches!(opened, Err(EngineError::Port { what, .. }) if what == "virtual time has no real ports"));
}
