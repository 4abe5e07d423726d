//! Timed actions: done at their instant, answered with what became of them, exact on virtual time.

mod common;

use common::{Event, LONG, Probe, bind, folder, rig, take, url};
use fieldrig_engine::{ClockKind, Node, PortSpec, Rig, RigOptions, SerialOptions, memory_pair};
use fieldrig_proto::endpoint::{Action, Conn, Departure, Fate, Timed};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Time};

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn pair(clock: ClockKind, settings: Option<LineSettings>) -> (Rig, Node<Probe>, Node<Probe>) {
    let rig = Rig::start(RigOptions { clock, ..RigOptions::default() }).expect("a rig");
    let (one, other) = memory_pair(settings);
    let client = rig.open("client", Probe::default(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let device = rig.open("device", Probe::default(), vec![bind("", PortSpec::Memory(other))]).expect("opens");
    (rig, client, device)
}

fn at(micros: u64) -> Time {
    Time::ZERO + Duration::from_micros(micros)
}

fn send(probe: &mut Probe, bytes: &[u8], not_before: Time, not_after: Option<Time>) {
    let what = Timed::Send(0..0);
    probe.act_with(bytes, Action::Timed { conn: Conn(0), what, not_before, gap_before: None, not_after });
}

fn command(probe: &mut Probe, command: LineCommand, not_before: Time) {
    let what = Timed::Line(command);
    probe.act(Action::Timed { conn: Conn(0), what, not_before, gap_before: None, not_after: None });
}

/// What became of the next timed action.
fn fate(rig: &Rig, node: &Node<Probe>) -> Fate {
    let pick = |event: &Event| match event {
        Event::Timed(_, fate) => Some(fate.clone()),
        _ => None,
    };
    let found = node.wait(rig.now() + LONG, |_, events, _| take(events, pick), &mut || true);
    found.expect("time moves").expect("an answer")
}

fn exactly(due: Time, length: Duration) -> Fate {
    Fate::Done(Departure {
        scheduled: due,
        issued: due,
        returned: due,
        left: due + length,
        run_delay: Some(Duration::ZERO),
    })
}

#[test]
fn what_is_timed_is_done_at_its_instant_and_answered_in_order() {
    let (rig, client, device) = pair(ClockKind::Virtual, Some(line()));
    let ask = |probe: &mut Probe, _| {
        send(probe, b"ab", at(5000), None);
        command(probe, LineCommand::Break(Duration::from_millis(3)), at(20_000));
    };
    client.with(ask).expect("the node works");
    assert_eq!(fate(&rig, &client), exactly(at(5000), line().time_of(1) * 2));
    assert_eq!(fate(&rig, &client), exactly(at(20_000), Duration::from_millis(3)));
    let heard = |_: &mut Probe, events: &mut _, _| {
        take(events, |event| matches!(event, Event::Line(_, LineEvent::Break)).then_some(()))
    };
    assert!(device.wait(rig.now() + LONG, heard, &mut || true).expect("time moves").is_some());
    rig.stop();
}

#[test]
fn a_gap_counts_from_the_last_bit_on_the_line() {
    let (rig, client, _device) = pair(ClockKind::Virtual, Some(line()));
    client
        .with(|probe, now| {
            probe.send(Conn(0), b"abc");
            let (what, gap_before) = (Timed::Send(0..0), Some(Duration::from_millis(4)));
            probe.act_with(b"d", Action::Timed { conn: Conn(0), what, not_before: now, gap_before, not_after: None });
        })
        .expect("the node works");
    let due = Time::ZERO + line().character_time() * 3 + Duration::from_millis(4);
    assert_eq!(fate(&rig, &client), exactly(due, line().time_of(1)));
    rig.stop();
}

#[test]
fn what_is_too_late_is_not_done_and_what_was_taken_back_neither() {
    let (rig, client, device) = pair(ClockKind::Virtual, None);
    rig.sleep(Duration::from_millis(10), &mut || true).expect("time moves");
    let ask = |probe: &mut Probe, _| {
        send(probe, b"late", at(4000), Some(at(9999)));
        send(probe, b"in time", at(4000), Some(at(10_000)));
        send(probe, b"never", at(50_000), None);
    };
    client.with(ask).expect("the node works");
    assert_eq!(fate(&rig, &client), Fate::TooLate { scheduled: at(4000), now: at(10_000) });
    let (scheduled, issued) = (at(4000), at(10_000));
    let late = Departure { scheduled, issued, returned: issued, left: issued, run_delay: None };
    assert_eq!(fate(&rig, &client), Fate::Done(late), "it keeps its slot");
    client.with(|probe, _| probe.act(Action::Recall(Conn(0)))).expect("the node works");
    assert_eq!(fate(&rig, &client), Fate::Recalled);
    client.with(|probe, _| probe.send(Conn(0), b"!")).expect("the node works");
    let mut heard = Vec::new();
    let all = |_: &mut Probe, events: &mut _, _| {
        while let Some(bytes) = take(events, |event| match event {
            Event::Bytes(_, bytes, _) => Some(bytes.clone()),
            _ => None,
        }) {
            heard.extend(bytes);
        }
        (heard == b"in time!").then_some(())
    };
    assert!(device.wait(rig.now() + LONG, all, &mut || true).expect("time moves").is_some(), "{heard:?}");
    rig.stop();
}

#[test]
fn a_port_without_modem_lines_says_so() {
    let rig = rig();
    let place = folder("timed");
    let port = url(&format!("pty://?link={}", place.join("line").display()));
    let node = rig.open("pty", Probe::default(), vec![bind("", port)]).expect("a pty");
    node.with(|probe, now| command(probe, LineCommand::Rts(true), now)).expect("the node works");
    assert_eq!(fate(&rig, &node), Fate::Refused("this kind of port has no RTS".to_owned()));
    rig.stop();
    std::fs::remove_dir_all(place).expect("removed");
}

#[test]
fn on_real_time_nothing_leaves_early_and_the_instants_are_in_order() {
    let rig = rig();
    let place = folder("timed-real");
    let pty = url(&format!("pty://?link={}", place.join("line").display()));
    let client = rig.open("client", Probe::default(), vec![bind("", pty)]).expect("a pty");
    let path = client.address("").expect("a node");
    let serial = PortSpec::Serial { path: path.into(), settings: line(), options: SerialOptions::default() };
    let _device = rig.open("device", Probe::echo(), vec![bind("", serial)]).expect("opens");
    let begun = rig.now();
    let ask = |probe: &mut Probe, _| {
        (1..=5).for_each(|slot| send(probe, b"x", begun + Duration::from_millis(slot), None));
    };
    client.with(ask).expect("the node works");
    let mut before = begun;
    for slot in 1..=5 {
        let Fate::Done(done) = fate(&rig, &client) else { panic!("it was done") };
        assert!(done.scheduled >= begun + Duration::from_millis(slot));
        assert!(before <= done.issued && done.scheduled <= done.issued && done.issued <= done.returned);
        before = done.returned;
    }
    rig.stop();
    std::fs::remove_dir_all(place).expect("removed");
}
