//! Stimulus programs through the whole engine: exact to the nanosecond on virtual time, and in order on real time.

mod common;

use common::{LONG, bind, folder, url};
use fieldrig_engine::{ClockKind, Node, PortSpec, Rig, RigOptions, memory_pair};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::line::program::{
    Late, Outcome, Program, ProgramEvent, Repeat, Report, Step, Then, Until, Wait, What, When,
};
use fieldrig_proto::line::stream::Stream;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn virtual_rig() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig")
}

fn open(rig: &Rig, name: &str, port: PortSpec) -> Node<Stream> {
    rig.open(name, Stream::new(), vec![bind("", port)]).expect("opens")
}

fn send(bytes: &[u8], when: When) -> What {
    What::Send { pieces: vec![(Duration::ZERO, bytes.into())], when }
}

fn wait(count: u64) -> What {
    let until = Until::Count(count);
    What::Wait(Wait { until, within: None, seen: Then::GoOn(Arc::default()), missed: Then::Abort })
}

fn steps(all: Vec<What>) -> Vec<Step> {
    (1..).zip(all).map(|(number, what)| Step { number, name: None, what }).collect()
}

fn every(period: Duration, count: u64, late: Late, body: Vec<What>) -> What {
    let (until, within, missed) = (None, None, Then::Abort);
    let steps = steps(body).into();
    What::Repeat(Repeat { steps, every: period, count: Some(count), until, within, missed, late, tolerance: period })
}

struct Running<'a> {
    node: &'a Node<Stream>,
    id: u64,
    over: Arc<AtomicBool>,
}

fn start(node: &Node<Stream>, program: Vec<What>) -> Running<'_> {
    let (over, program) = (Arc::<AtomicBool>::default(), Program::new(steps(program)));
    let shared = Arc::clone(&over);
    let begin = |stream: &mut Stream, now| stream.start_program(now, &program, Default::default(), shared);
    Running { node, id: node.with(begin).expect("the node works").0.expect("it starts"), over }
}

impl Running<'_> {
    fn ended(self, rig: &Rig) -> Report {
        let over = |_: &mut Stream, events: &mut std::collections::VecDeque<_>, _| {
            events.clear();
            self.over.load(Ordering::Acquire).then_some(())
        };
        self.node.wait(rig.now() + Duration::from_secs(100), over, &mut || true).expect("time moves").expect("it ends");
        self.node.with(|stream, _| stream.program_report(self.id)).expect("the node works").0.expect("a report")
    }
}

fn completed(report: &Report) -> &[ProgramEvent] {
    assert_eq!(report.ended.as_ref().map(|(_, outcome)| outcome), Some(&Outcome::Completed));
    &report.events
}

#[test]
fn a_thousand_sends_on_virtual_time_leave_at_their_instants() {
    let rig = virtual_rig();
    let (one, other) = memory_pair(None);
    let (us, device) = (open(&rig, "us", PortSpec::Memory(one)), open(&rig, "device", PortSpec::Memory(other)));
    let period = Duration::from_millis(1);
    let report =
        start(&us, vec![every(period, 1000, Late::Abort, vec![send(b"x", When::After(Duration::ZERO))])]).ended(&rig);
    let expected: Vec<Stamp> = (0..1000).map(|slot| Stamp::exact(report.started + period * slot)).collect();
    assert_eq!(completed(&report).iter().map(|event| event.at).collect::<Vec<_>>(), expected);
    assert!(report.events.iter().all(|event| event.late() == Some(Duration::ZERO)));
    rig.sleep(Duration::from_millis(1), &mut || true).expect("time moves");
    assert_eq!(device.with(|stream, _| stream.end()).expect("the node works").0, 1000);
    rig.stop();
}

#[test]
fn a_program_and_a_scripted_device_take_turns_exactly() {
    let rig = virtual_rig();
    let (one, other) = memory_pair(Some(line()));
    let (us, device) = (open(&rig, "us", PortSpec::Memory(one)), open(&rig, "device", PortSpec::Memory(other)));
    let ms = Duration::from_millis;
    let answers = start(&device, vec![wait(4), send(b"pong", When::After(ms(2)))]);
    let asks = start(&us, vec![send(b"ping", When::At(ms(5))), wait(4), send(b"!", When::After(ms(3)))]);
    let report = asks.ended(&rig);
    let events = completed(&report);
    let begun = report.started + ms(5);
    let word = line().time_of(4);
    let character = line().character_time();
    // Each byte is stamped when its last bit has come; the fourth is complete after four characters, each rounded down.
    let heard = begun + character * 4;
    assert!(word - character * 4 < Duration::from_nanos(4));
    assert_eq!((events[0].issued, events[0].left), (Some(begun), Some(heard)));
    let came = heard + ms(2) + character * 4;
    assert_eq!(events[1].at, Stamp::exact(came));
    assert_eq!((events[2].issued, events[2].from), (Some(came + ms(3)), Some(Stamp::exact(came))));
    assert_eq!(completed(&answers.ended(&rig))[1].issued, Some(heard + ms(2)));
    rig.stop();
}

#[test]
fn gaps_of_a_burst_are_heard_exactly_as_they_were_asked() {
    let rig = virtual_rig();
    let (one, other) = memory_pair(Some(line()));
    let (us, device) = (open(&rig, "us", PortSpec::Memory(one)), open(&rig, "device", PortSpec::Memory(other)));
    let gap = Duration::from_micros(1719);
    let piece = |bytes: &[u8]| (gap, Arc::from(bytes));
    let burst = What::Send { pieces: vec![piece(b"\x01\x03"), piece(b"\x00"), piece(b"\x07")], when: When::Quiet(gap) };
    let report = start(&us, vec![burst]).ended(&rig);
    assert_eq!(completed(&report).len(), 3);
    rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
    let stamps = device.with(|stream, _| stream.stamps(0..4)).expect("the node works").0;
    let apart: Vec<Duration> = stamps.windows(2).map(|pair| pair[1].1.latest().since(pair[0].1.latest())).collect();
    let character = line().character_time();
    assert_eq!(apart, [character, gap + character, gap + character]);
    rig.stop();
}

#[test]
fn others_may_send_while_a_program_waits_and_stopping_it_leaves_nothing_behind() {
    let rig = virtual_rig();
    let (one, other) = memory_pair(None);
    let (us, device) = (open(&rig, "us", PortSpec::Memory(one)), open(&rig, "device", PortSpec::Memory(other)));
    let program = start(&us, vec![send(b"later", When::At(Duration::from_secs(9)))]);
    us.with(|stream, now| stream.send(now, b"now")).expect("the node works").0.expect("it is open");
    us.with(|stream, now| stream.stop_program(now, program.id)).expect("the node works");
    let report = program.ended(&rig);
    assert_eq!(report.ended.map(|(_, outcome)| outcome), Some(Outcome::Stopped));
    rig.sleep(Duration::from_secs(20), &mut || true).expect("time moves");
    let heard = device.with(|stream, _| stream.read(0, 100).map(|bytes| bytes.into_owned())).expect("the node works").0;
    assert_eq!(heard, Ok(b"now".to_vec()));
    rig.stop();
}

#[test]
fn on_a_pty_the_line_thread_does_it_alone() {
    let rig = common::rig();
    let place = folder("program");
    let us = open(&rig, "us", url(&format!("pty://?link={}", place.join("line").display())));
    let path = us.address("").expect("a node");
    let device = open(&rig, "device", url(&format!("serial://{path}?line=9600+8E1")));
    assert!(us.is_timed());
    let period = Duration::from_millis(2);
    let program = start(&us, vec![every(period, 20, Late::CatchUp, vec![send(b"x", When::After(Duration::ZERO))])]);
    us.stand_by(&program.over, rig.now() + LONG, &mut || true).expect("nobody interrupts");
    let report = program.ended(&rig);
    let events = completed(&report);
    assert_eq!(events.len(), 20);
    let mut before = Time::ZERO;
    for (slot, event) in (0..).zip(events) {
        assert_eq!(event.scheduled, Some(report.started + period * slot));
        assert!(event.issued >= event.scheduled && event.returned >= event.issued && event.issued > Some(before));
        before = event.returned.expect("it was sent");
    }
    let all = |stream: &mut Stream, _: &mut _, _| (stream.end() == 20).then_some(());
    assert!(device.wait(rig.now() + LONG, all, &mut || true).expect("nobody interrupts").is_some());
    rig.stop();
    std::fs::remove_dir_all(place).expect("removed");
}
