//! The virtual line: what each fault does to a wire in memory, to the nanosecond, and what taps hear that are set otherwise.

mod common;

use common::{Event, Probe, bind, folder, take, url};
use fieldrig_engine::link::{ByteFault, Disturbance, FaultError, Way};
use fieldrig_engine::{ClockKind, Node, Rig, RigOptions, WireOptions, log};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn};
use fieldrig_proto::fault::Schedule;
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Time};

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn character() -> Duration {
    line().character_time()
}

/// The client, the device, and a monitor on a wire.
struct Bus {
    rig: Rig,
    client: Node<Probe>,
    device: Node<Probe>,
    monitor: Node<Probe>,
}

/// One thing that was heard, and when.
#[derive(PartialEq, Debug, Clone)]
enum Heard {
    Byte(u8, Time),
    Line(LineEvent),
}

impl Bus {
    fn new(options: WireOptions) -> Bus {
        Bus::on(Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig"), options)
    }

    fn on(rig: Rig, options: WireOptions) -> Bus {
        rig.add_wire_with("bus", options).expect("a new wire");
        let [client, device, monitor] = ["client", "device", "monitor"].map(|name| tap(&rig, name, "wire://bus"));
        Bus { rig, client, device, monitor }
    }

    fn disturb(&self, way: Way, what: Disturbance, after: u64, count: u64) {
        let schedule = Schedule { after, count: Some(count), ..Schedule::default() };
        self.rig.disturb_wire("bus", &[way], &ByteFault { what, schedule }).expect("it makes sense");
    }

    fn pass_time(&self, duration: Duration) {
        self.rig.sleep(duration, &mut || true).expect("time moves");
    }
}

fn tap(rig: &Rig, name: &str, port: &str) -> Node<Probe> {
    let mut binding = bind("", url(port));
    binding.we_are = if name == "device" { Sender::Server } else { Sender::Client };
    rig.open(name, Probe::default(), vec![binding]).expect("opens")
}

fn send(node: &Node<Probe>, bytes: &[u8]) {
    node.with(|probe, _| probe.send(Conn(0), bytes)).expect("works");
}

/// What has come by now.
fn heard(node: &Node<Probe>) -> Vec<Heard> {
    let mut found = Vec::new();
    let pick = |event: &Event| match event {
        Event::Bytes(_, bytes, stamps) => {
            Some(bytes.iter().zip(stamps).map(|(byte, stamp)| Heard::Byte(*byte, stamp.latest())).collect::<Vec<_>>())
        }
        Event::Line(_, event) => Some(vec![Heard::Line(event.clone())]),
        _ => None,
    };
    node.wait(
        Time::ZERO,
        |_, events, _| {
            while let Some(more) = take(events, pick) {
                found.extend(more);
            }
            Some(())
        },
        &mut || true,
    )
    .expect("works");
    found
}

fn values(heard: &[Heard]) -> Vec<u8> {
    heard.iter().filter_map(|heard| if let Heard::Byte(value, _) = heard { Some(*value) } else { None }).collect()
}

fn byte(value: u8, characters: u32, later: Duration) -> Heard {
    Heard::Byte(value, Time::ZERO + character() * characters + later)
}

const NOW: Duration = Duration::ZERO;

fn options() -> WireOptions {
    WireOptions { line: Some(line()), seed: 5, ..WireOptions::default() }
}

/// What the device hears of `0123` when this strikes the third byte.
fn struck(what: Disturbance) -> Vec<Heard> {
    let bus = Bus::new(options());
    bus.disturb(Way::Forth, what, 2, 1);
    send(&bus.client, b"0123");
    bus.pass_time(Duration::from_secs(1));
    let found = heard(&bus.device);
    assert_eq!(heard(&bus.monitor), found, "everybody hears the same");
    bus.rig.stop();
    found
}

#[test]
fn each_fault_does_what_its_name_says_at_its_instant() {
    let clean = [byte(b'0', 1, NOW), byte(b'1', 2, NOW)];
    let with = |rest: &[Heard]| [&clean[..], rest].concat();
    let last = byte(b'3', 4, NOW);
    assert_eq!(struck(Disturbance::Drop), with(std::slice::from_ref(&last)));
    assert_eq!(struck(Disturbance::Cut), clean);
    assert_eq!(struck(Disturbance::Short), with(&[Heard::Line(LineEvent::Break)]));
    assert_eq!(struck(Disturbance::Break), with(&[Heard::Line(LineEvent::Break), last.clone()]));
    assert_eq!(struck(Disturbance::Overrun), with(&[Heard::Line(LineEvent::Overrun), last.clone()]));
    let event = |event| with(&[Heard::Line(event), byte(b'2', 3, NOW), last.clone()]);
    assert_eq!(struck(Disturbance::Parity), event(LineEvent::Parity));
    assert_eq!(struck(Disturbance::Framing), event(LineEvent::Framing));
    let doubled = with(&[byte(b'2', 3, NOW), byte(b'2', 4, NOW), byte(b'3', 5, NOW)]);
    assert_eq!(struck(Disturbance::Duplicate), doubled);
    let gap = Duration::from_micros(1719);
    assert_eq!(struck(Disturbance::Delay(gap)), with(&[byte(b'2', 3, gap), byte(b'3', 4, gap)]));
    let corrupt = struck(Disturbance::Corrupt);
    assert_eq!((corrupt.len(), &corrupt[..2], &corrupt[3]), (4, &clean[..], &last));
    assert!(matches!(corrupt[2], Heard::Byte(value, at) if value != b'2' && at == Time::ZERO + character() * 3));
}

#[test]
fn jitter_is_some_time_up_to_its_length() {
    let most = Duration::from_millis(3);
    let found = struck(Disturbance::Jitter(most));
    let Heard::Byte(b'2', at) = found[2] else { panic!("{found:?}") };
    let earliest = Time::ZERO + character() * 3;
    assert!(at > earliest && at <= earliest + most, "{at:?}");
    assert_eq!(found[3], Heard::Byte(b'3', at + character()));
}

#[test]
fn a_bit_is_turned_over_and_parity_tells() {
    let bus = Bus::new(options());
    // Eight data bits, parity, stop: the bits of a character. Bit 3 of the second one; parity and stop of the third.
    for after in [13, 28, 29] {
        bus.disturb(Way::Back, Disturbance::Bits, after, 1);
    }
    send(&bus.device, &[0, 0, 0]);
    bus.pass_time(Duration::from_secs(1));
    let found = heard(&bus.monitor);
    let events: Vec<&Heard> = found.iter().filter(|heard| matches!(heard, Heard::Line(_))).collect();
    let parity = Heard::Line(LineEvent::Parity);
    assert_eq!(events, [&parity, &Heard::Line(LineEvent::Framing), &parity], "{found:?}");
    assert_eq!(values(&heard(&bus.client)), [0, 8, 0]);
    bus.rig.stop();
}

#[test]
fn faults_end_when_they_are_cleared_and_are_on_record() {
    let path = folder("wire-faults");
    let plain = RigOptions { clock: ClockKind::Virtual, folder: Some(path.clone()), ..RigOptions::default() };
    let bus = Bus::on(Rig::start(plain).expect("a rig"), options());
    bus.disturb(Way::Back, Disturbance::Cut, 1, 1);
    send(&bus.device, b"abc");
    bus.pass_time(Duration::from_millis(50));
    bus.rig.calm_wire("bus").expect("a wire");
    send(&bus.device, b"d");
    bus.pass_time(Duration::from_millis(50));
    assert_eq!(values(&heard(&bus.client)), b"ad");
    bus.rig.stop();
    let records = log::read(bus.rig.log().path().expect("a log")).expect("readable");
    let kinds: Vec<&str> =
        records.iter().map(|record| &*record.kind).filter(|kind| kind.starts_with("link.")).collect();
    assert_eq!(kinds, ["link.fault", "link.struck", "link.fault_cleared"]);
    let struck = records.iter().find(|record| record.kind == "link.struck").expect("it was there");
    let text = |name: &str| struck.field(name).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!([text("wire"), text("way"), text("what")].map(Option::unwrap), ["bus", "back", "cut"]);
    std::fs::remove_dir_all(path).expect("removed");
}

#[test]
fn the_same_seed_is_the_same_noise() {
    let run = |seed| {
        let bus = Bus::new(WireOptions { seed, ..options() });
        let schedule = Schedule { probability: 0.02, ..Schedule::default() };
        let noise = ByteFault { what: Disturbance::Bits, schedule };
        bus.rig.disturb_wire("bus", &Way::BOTH, &noise).expect("it makes sense");
        send(&bus.client, &[0x55; 200]);
        bus.pass_time(Duration::from_secs(1));
        let found = heard(&bus.device);
        bus.rig.stop();
        found
    };
    let first = run(1);
    assert_eq!(run(1), first);
    assert_ne!(run(2), first);
    let troubled = first.iter().filter(|heard| matches!(heard, Heard::Line(_))).count();
    assert!((10..80).contains(&troubled), "2 % of ten bits of 200 characters: {troubled}");
}

#[test]
fn who_has_an_echo_hears_itself_once_the_bits_are_there() {
    let bus = Bus::new(WireOptions { echo: true, ..options() });
    send(&bus.client, b"ab");
    bus.pass_time(Duration::from_millis(50));
    let expected = [byte(b'a', 1, NOW), byte(b'b', 2, NOW)];
    assert_eq!(heard(&bus.client), expected);
    assert_eq!(heard(&bus.device), expected);
    send(&bus.device, b"c");
    bus.pass_time(Duration::from_millis(50));
    assert_eq!(heard(&bus.device), [], "who answers has a receiver that is off meanwhile");
    assert_eq!(values(&heard(&bus.client)), b"c");
    let deaf = tap(&bus.rig, "deaf", "wire://bus?echo=off");
    send(&deaf, b"d");
    bus.pass_time(Duration::from_millis(50));
    assert_eq!(heard(&deaf), []);
    bus.rig.stop();
}

#[test]
fn a_driver_takes_its_time_and_spoils_who_answers_while_it_is_on() {
    let (on, off) = (Duration::from_micros(200), Duration::from_millis(2));
    let bus = Bus::new(WireOptions { driver_on: on, driver_off: off, ..options() });
    send(&bus.client, b"ab");
    bus.pass_time(character() * 2 + on);
    assert_eq!(heard(&bus.device), [byte(b'a', 1, on), byte(b'b', 2, on)]);
    // Its answer begins while the driver of the client is on for another 2 ms: two characters are lost to that.
    send(&bus.device, b"1234");
    bus.pass_time(Duration::from_millis(20));
    let found = values(&heard(&bus.client));
    assert_eq!((found.len(), &found[2..]), (4, b"34".as_slice()));
    assert!(found[0] != b'1' && found[1] != b'2');
    // Who waits is heard.
    send(&bus.client, b"c");
    bus.pass_time(character() + on + off);
    send(&bus.device, b"56");
    bus.pass_time(Duration::from_millis(20));
    assert_eq!(values(&heard(&bus.client)), b"56");
    bus.rig.stop();
}

#[test]
fn a_tap_at_another_speed_hears_and_says_garbage() {
    let bus = Bus::new(options());
    let wrong = tap(&bus.rig, "wrong", "wire://bus?line=19200+8E1");
    send(&bus.client, b"question");
    bus.pass_time(Duration::from_millis(50));
    assert_eq!(values(&heard(&bus.device)), b"question");
    let found = heard(&wrong);
    assert_ne!(values(&found), b"question");
    assert!(!found.is_empty());
    send(&wrong, b"answer");
    bus.pass_time(Duration::from_millis(50));
    assert_ne!(values(&heard(&bus.device)), b"answer");
    // It is set right, as its user would.
    let set = LineCommand::Settings(line());
    wrong.with(|probe, _| probe.act(Action::SetLine(Conn(0), set))).expect("works");
    send(&wrong, b"again");
    bus.pass_time(Duration::from_millis(50));
    assert!(values(&heard(&bus.device)).ends_with(b"again"));
    bus.rig.stop();
}

#[test]
fn what_makes_no_sense_on_a_wire_is_refused() {
    let bus = Bus::new(WireOptions { line: Some("9600 8N1".parse().expect("valid")), ..WireOptions::default() });
    let set = |name: &str, what: Disturbance, probability: f64| {
        let schedule = Schedule { probability, ..Schedule::default() };
        bus.rig.disturb_wire(name, &[Way::Forth], &ByteFault { what, schedule }).map_err(|error| error.to_string())
    };
    let refused = |text: &str| Err(text.to_owned());
    assert_eq!(set("bus", Disturbance::Parity, 1.0), refused("the line is 9600 8N1: it has no parity bit"));
    assert_eq!(set("bus", Disturbance::Drop, 1.5), refused("p is 0 to 1, not 1.5"));
    assert_eq!(set("buss", Disturbance::Drop, 1.0), refused("there is no wire \"buss\" on this rig"));
    assert_eq!(bus.rig.calm_wire("buss"), Err(FaultError::NoWire("buss".to_owned())));
    let named = |name, length| Disturbance::named(name, length).map_err(|error| error.to_string());
    assert_eq!(named("parity", None), Ok(Disturbance::Parity));
    assert_eq!(named("jitter", None).map(drop), refused("the fault `jitter` needs delay= : how long"));
    assert!(named("sparks", None).is_err_and(|text| text.contains("there are drop, corrupt, bits")));
    for name in Disturbance::NAMES {
        let length = Some(Duration::from_millis(1)).filter(|_| ["delay", "jitter"].contains(&name));
        assert_eq!(Disturbance::named(name, length).map(Disturbance::name), Ok(name));
    }
    bus.rig.stop();
}

#[test]
fn a_wire_with_two_conductors_has_modem_lines_and_one_with_a_pair_has_none() {
    for full_duplex in [true, false] {
        let bus = Bus::new(WireOptions { full_duplex, ..options() });
        for command in [LineCommand::Rts(false), LineCommand::Dtr(false), LineCommand::Rts(true)] {
            bus.client.with(|probe, _| probe.act(Action::SetLine(Conn(0), command))).expect("works");
        }
        bus.pass_time(Duration::from_millis(1));
        let seen = |cts, dsr| Heard::Line(LineEvent::Modem { cts, dsr, ri: false, dcd: dsr });
        let expected =
            if full_duplex { vec![seen(false, true), seen(false, false), seen(true, false)] } else { vec![] };
        assert_eq!(heard(&bus.device), expected);
        assert_eq!(heard(&bus.client), []);
        bus.rig.stop();
    }
}
