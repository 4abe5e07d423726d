//! What a monitor makes of traffic, to the nanosecond.

use super::*;
use crate::endpoint::{Peer, Why};
use crate::line::LineSettings;
use crate::modbus::pdu::{Request, Response};
use crate::modbus::rtu::{Adu, View};
use crate::modbus::tcp;
use crate::record::Record;

const CONN: Conn = Conn(0);
const MS: Duration = Duration::from_millis(1);

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Adu::new(unit, pdu).encode(&mut out);
    out
}

/// Read `quantity` input registers from address 0.
fn ask(unit: u8, quantity: u8) -> Vec<u8> {
    frame(unit, &[4, 0, 0, 0, quantity])
}

/// One register, as the answer to that.
fn answer(unit: u8, value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    frame(unit, &[4, 2, high, low])
}

/// A wire with a monitor on it, and a clock.
struct Wire {
    monitor: Monitor,
    now: Time,
    /// Bytes arrive in lumps with stamps as wide as this, instead of one by one with exact ones.
    lump: Option<Duration>,
}

impl Wire {
    fn new(rules: LineRules) -> Wire {
        let mut monitor = Monitor::new(Config::rtu(rules));
        let peer = Peer { via: "bus".into(), address: "wire".into(), wire: true, ..Peer::default() };
        monitor.handle(Time::ZERO, Input::Opened(CONN, &peer));
        Wire { monitor, now: Time::ZERO + MS * 100, lump: None }
    }

    /// By both rules.
    fn both() -> [Wire; 2] {
        [Wire::new(LineRules::exact(&line())), Wire::new(LineRules::tolerant(&line()))]
    }

    /// Lets time pass, stopping wherever the monitor wants to be called.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.monitor.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.monitor.handle_timeout(self.now);
            assert!(self.monitor.poll_timeout().is_none_or(|next| next > self.now), "no progress at {}", self.now);
        }
        self.now = end;
        assert!(self.monitor.poll_action(&mut Vec::new()).is_none(), "a monitor sends nothing");
    }

    /// After a silence somebody sends these bytes.
    fn say(&mut self, silence: Duration, bytes: &[u8]) {
        self.pass(silence);
        let character = line().character_time();
        let Some(width) = self.lump else {
            for byte in bytes {
                self.pass(character);
                self.give(&[*byte], Stamp::exact(self.now));
            }
            return;
        };
        self.pass(character * bytes.len() as u32);
        self.give(bytes, Stamp::between(self.now - width, self.now));
    }

    fn give(&mut self, bytes: &[u8], stamp: Stamp) {
        self.monitor.handle(self.now, Input::Bytes(CONN, bytes, Stamps::One(stamp)));
    }

    /// Everything seen so far, in words.
    fn told(&mut self) -> Vec<String> {
        self.pass(MS * 50);
        self.monitor.observations_since(0).map(Observation::describe).collect()
    }

    fn kinds(&mut self) -> Vec<(Kind, bool)> {
        self.pass(MS * 50);
        self.monitor.observations_since(0).map(|seen| (seen.kind, seen.sure)).collect()
    }
}

#[test]
fn requests_and_responses_are_paired_with_values_and_instants() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &ask(2, 1));
        let asked_at = wire.now;
        wire.say(MS * 8, &answer(2, 2302));
        let answered_at = wire.now;
        wire.say(MS * 8, &frame(2, &[16, 0, 4, 0, 2, 4, 0, 7, 0, 8]));
        wire.say(MS * 8, &frame(2, &[16, 0, 4, 0, 2]));
        wire.say(MS * 8, &frame(3, &[1, 0, 0, 0, 10]));
        wire.say(MS * 8, &frame(3, &[1, 2, 0xff, 0x01]));
        wire.say(MS * 8, &frame(1, &[3, 0, 9, 0, 1]));
        wire.say(MS * 8, &frame(1, &[0x83, 2]));
        assert_eq!(
            wire.told(),
            [
                "request to unit 2: 04 Read Input Registers, 0",
                "response of unit 2: 04 Read Input Registers, 0 = [2302]",
                "request to unit 2: 16 Write Multiple Registers, 2 from 4 = [7, 8]",
                "response of unit 2: 16 Write Multiple Registers, 2 from 4",
                "request to unit 3: 01 Read Coils, 10 from 0",
                "response of unit 3: 01 Read Coils, 10 from 0 = [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]",
                "request to unit 1: 03 Read Holding Registers, 9",
                "response of unit 1: 03 Read Holding Registers, 9, exception 02 (illegal data address)",
            ]
        );
        let seen: Vec<&Observation> = wire.monitor.observations_since(0).collect();
        assert_eq!((seen[0].at, seen[1].at), (Stamp::exact(asked_at), Stamp::exact(answered_at)));
        let length = line().character_time() * 6;
        assert_eq!(seen[1].begins, Stamp::exact(answered_at - length), "the first of seven bytes");
        assert_eq!((seen[1].number, seen[1].request, seen[1].exception), (1, Some(0), None));
        assert_eq!((seen[7].request, seen[7].exception), (Some(6), Some(2)));
    }
}

#[test]
fn a_request_without_response_is_unanswered_when_the_next_begins_or_when_time_is_up() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &ask(2, 1));
        wire.say(MS * 300, &ask(3, 1));
        wire.say(MS * 8, &answer(3, 2303));
        wire.say(MS * 8, &ask(2, 1));
        let asked_at = wire.now;
        wire.pass(MS * 1100);
        wire.say(MS * 8, &answer(2, 2302));
        assert_eq!(
            wire.told(),
            [
                "request to unit 2: 04 Read Input Registers, 0",
                "no answer of unit 2 to 04 Read Input Registers, 0",
                "request to unit 3: 04 Read Input Registers, 0",
                "response of unit 3: 04 Read Input Registers, 0 = [2303]",
                "request to unit 2: 04 Read Input Registers, 0",
                "no answer of unit 2 to 04 Read Input Registers, 0",
                "response of unit 2: 04 Read Input Registers, 0 = [2302]",
            ]
        );
        let seen: Vec<&Observation> = wire.monitor.observations_since(0).collect();
        assert_eq!((seen[1].at, seen[1].request), (seen[2].begins, Some(0)));
        assert_eq!(seen[5].at, Stamp::exact(asked_at + Duration::from_secs(1)));
        assert_eq!((seen[5].request, seen[6].request), (Some(4), Some(4)), "late, but its response");
    }
}

#[test]
fn a_request_repeated_to_a_dead_device_is_no_response() {
    for mut wire in Wire::both() {
        for _ in 0..3 {
            wire.say(MS * 300, &ask(2, 1));
        }
        let (request, unanswered) = ((Kind::Request, true), (Kind::Unanswered, true));
        assert_eq!(wire.kinds(), [request, unanswered, request, unanswered, request]);
    }
}

#[test]
fn the_echo_of_a_write_is_a_response_if_it_comes_soon_and_unsure_if_not() {
    for mut wire in Wire::both() {
        let write = frame(2, &[6, 0, 1, 0, 5]);
        wire.say(MS * 10, &write);
        wire.say(MS * 20, &write);
        let (request, response) = ((Kind::Request, true), (Kind::Response, true));
        assert_eq!(wire.kinds(), [request, response]);
        // Asked again after 300 ms, or answered late: nobody can tell, and what follows is in doubt as long as it repeats.
        wire.say(MS * 300, &write);
        wire.say(MS * 300, &write);
        wire.say(MS * 20, &write);
        let (unsure_request, unsure) = ((Kind::Request, false), (Kind::Response, false));
        assert_eq!(wire.kinds()[2..], [request, unsure, unsure_request]);
        wire.say(MS * 20, &ask(3, 1));
        wire.say(MS * 20, &answer(3, 1));
        assert_eq!(wire.kinds()[5..], [(Kind::Unanswered, false), request, response]);
        let unsure = wire.monitor.observations_since(3).next().map(Observation::describe);
        let text = "response of unit 2: 06 Write Single Register, 1 (a request repeated and its echo look alike)";
        assert_eq!(unsure.as_deref(), Some(text));
    }
}

#[test]
fn coils_that_look_like_a_request_are_told_by_when_they_come() {
    // 24 coils from 0x0300: the answer has as many bytes as the request, and this one reads as a request, too.
    let request = frame(2, &[1, 3, 0, 0, 24]);
    let twin = frame(2, &[1, 3, 1, 0, 20]);
    for mut wire in Wire::both() {
        wire.say(MS * 10, &request);
        wire.say(MS * 20, &twin);
        wire.say(MS * 20, &request);
        wire.say(MS * 300, &request);
        wire.say(MS * 300, &twin);
        let request = (Kind::Request, true);
        assert_eq!(
            wire.kinds(),
            [request, (Kind::Response, true), request, (Kind::Unanswered, true), request, (Kind::Response, false)]
        );
    }
}

#[test]
fn nobody_answers_a_broadcast() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &frame(0, &[6, 0, 1, 0, 5]));
        wire.pass(MS * 2000);
        wire.say(MS * 10, &ask(1, 1));
        wire.say(MS * 10, &answer(1, 7));
        assert_eq!(wire.told()[0], "broadcast: 06 Write Single Register, 1 = [5]");
        let kinds: Vec<Kind> = wire.kinds().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::Response]);
    }
}

#[test]
fn functions_of_unknown_length_end_at_the_silence() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &frame(5, &[0x41, 1, 2, 3]));
        wire.say(MS * 6, &frame(5, &[0x41, 9, 9]));
        wire.say(MS * 6, &ask(1, 1));
        wire.say(MS * 6, &answer(1, 7));
        wire.say(MS * 6, &frame(5, &[0x41, 4]));
        wire.say(MS * 6, &frame(5, &[0xc1, 1]));
        assert_eq!(
            wire.told(),
            [
                "request to unit 5: 65 unknown function",
                "response of unit 5: 65 unknown function",
                "request to unit 1: 04 Read Input Registers, 0",
                "response of unit 1: 04 Read Input Registers, 0 = [7]",
                "request to unit 5: 65 unknown function",
                "response of unit 5: 65 unknown function, exception 01 (illegal function)",
            ]
        );
    }
}

#[test]
fn what_is_no_frame_is_noise_and_what_follows_is_read_again() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &answer(9, 1)[3..]);
        wire.say(MS * 40, &ask(1, 1));
        let mut broken = answer(1, 7);
        broken[3] ^= 1;
        wire.say(MS * 6, &broken);
        wire.say(MS * 6, &ask(2, 1));
        wire.say(MS * 6, &answer(2, 8));
        wire.say(MS * 6, &[0x55; 300]);
        wire.say(MS * 40, &ask(3, 1));
        wire.say(MS * 6, &answer(3, 9));
        let told = wire.told();
        let kinds: Vec<Kind> = wire.kinds().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(told[0], "noise, 4 bytes: 00 01 99 31 (CRC at offset 2 is 0x3199, the bytes before it give 0x70c0)");
        assert!(told[2].starts_with("noise, 7 bytes: 01 04 02 01 07"), "{}", told[2]);
        use Kind::{Noise, Request, Response, Unanswered};
        assert_eq!(
            kinds,
            [Noise, Request, Noise, Unanswered, Request, Response, Noise, Request, Response],
            "{told:#?}"
        );
        assert!(told[6].starts_with("noise, 300 bytes: 55 55"), "{}", told[6]);
    }
}

#[test]
fn a_response_that_does_not_answer_is_told_with_the_reason() {
    for mut wire in Wire::both() {
        wire.say(MS * 10, &ask(1, 2));
        wire.say(MS * 6, &answer(1, 7));
        wire.say(MS * 6, &ask(1, 1));
        wire.say(MS * 6, &frame(2, &[3, 2, 0, 1]));
        wire.say(MS * 6, &frame(1, &[0x84, 6]));
        wire.say(MS * 6, &frame(1, &[16, 0, 0, 0, 2, 3, 1, 2, 3]));
        assert_eq!(
            wire.told()[1..],
            [
                "response of unit 1: 04 Read Input Registers, 2 from 0 \
                 (byte count at offset 1 says 2, the 2 items asked for take 4)",
                "request to unit 1: 04 Read Input Registers, 0",
                "response of unit 2: 03 Read Holding Registers = [1] (no request was seen that it answers)",
                "response of unit 1: 04 Read Input Registers, 0, exception 06 (server device busy)",
                "request to unit 1: 16 Write Multiple Registers \
                 (byte count at offset 5 says 3, a quantity of 2 takes 4)",
            ]
        );
    }
}

#[test]
fn a_crc_that_is_right_by_chance_in_the_middle_of_a_request_ends_nothing() {
    // Eight coils from 0x01nn: the first six bytes of the request are a whole answer of one byte, for one pair in 65536.
    let chance = (1..=247).flat_map(|unit| (0..=255).map(move |low| (unit, low))).find_map(|(unit, low)| {
        let request = (1..=8).map(|quantity| frame(unit, &[1, 1, low, 0, quantity]));
        request.into_iter().find(|request| View(&request[..6]).problem().is_none())
    });
    let request = chance.expect("there is one");
    for mut wire in Wire::both() {
        wire.say(MS * 10, &request);
        wire.say(MS * 300, &request);
        wire.say(MS * 10, &frame(request[0], &[1, 1, 0x0f]));
        let kinds: Vec<Kind> = wire.kinds().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Request, Kind::Unanswered, Kind::Request, Kind::Response]);
    }
}

#[test]
fn lumps_of_an_adapter_are_taken_apart() {
    let mut wire = Wire::new(LineRules::tolerant(&line()));
    wire.lump = Some(MS * 16);
    wire.say(MS * 10, &ask(1, 1));
    wire.say(MS * 5, &answer(1, 7));
    // The answer and the next request came in one lump; then a bridge sends two frames without a silence.
    wire.say(MS * 5, &ask(2, 1));
    wire.say(MS * 5, &[answer(2, 8), ask(3, 1)].concat());
    wire.say(MS * 5, &answer(3, 9));
    wire.lump = None;
    wire.say(MS * 40, &[ask(4, 1), answer(4, 10), ask(5, 1)].concat());
    wire.say(MS * 40, &answer(5, 11));
    let values: Vec<Values> = wire
        .told()
        .iter()
        .zip(wire.monitor.observations_since(0))
        .filter(|(_, seen)| seen.kind == Kind::Response)
        .map(|(_, seen)| seen.values.clone())
        .collect();
    let expected: Vec<Values> = (7..=11).map(|value| Values::Registers(vec![value])).collect();
    assert_eq!(values, expected, "{:#?}", wire.told());
    assert!(wire.kinds().iter().all(|(kind, _)| matches!(kind, Kind::Request | Kind::Response)));
}

#[test]
fn any_cut_into_reads_gives_the_same_observations() {
    let (request, response) = (ask(1, 1), answer(1, 7));
    for split in 0..=response.len() {
        let mut wire = Wire::new(LineRules::tolerant(&line()));
        wire.lump = Some(MS * 2);
        wire.say(MS * 10, &request[..split]);
        wire.say(MS * 2, &request[split..]);
        wire.say(MS * 10, &response[..split]);
        wire.say(MS * 2, &response[split..]);
        let kinds = wire.kinds();
        assert_eq!(kinds, [(Kind::Request, true), (Kind::Response, true)], "split at {split}: {:#?}", wire.told());
    }
}

#[test]
fn a_character_with_an_error_makes_noise() {
    for mut wire in Wire::both() {
        let request = ask(1, 1);
        wire.say(MS * 10, &request[..4]);
        let now = wire.now;
        wire.monitor.handle(now, Input::Line(CONN, LineEvent::Parity, Stamp::exact(now)));
        wire.say(Duration::ZERO, &request[4..]);
        let told = wire.told();
        let hex = crate::dissect::hex(&request);
        assert_eq!(told, [format!("noise, 8 bytes: {hex} (a character was received with an error)")]);
    }
}

#[test]
fn a_wire_that_goes_away_leaves_the_monitor_deaf_and_says_so() {
    let [_, mut wire] = Wire::both();
    assert_eq!(Monitor::new(Config::tcp()).deaf(), Some("it is not on a wire yet"));
    assert_eq!(wire.monitor.deaf(), None);
    wire.say(MS * 10, &ask(1, 1));
    let heard = Stamp::exact(wire.now);
    wire.say(MS * 10, &answer(1, 1)[..3]);
    wire.monitor.handle(wire.now, Input::Closed(CONN, Why::HungUp));
    assert_eq!(wire.monitor.deaf(), Some("the port went away"));
    assert!(wire.monitor.heard().is_some_and(|last| last.earliest() > heard.latest()));
    let told = wire.told();
    assert_eq!(told[1], "noise, 3 bytes: 01 04 02 (the frame has 3 bytes, 4 to 256 are allowed)");
    assert_eq!(told[2], "no answer of unit 1 to 04 Read Input Registers, 0 (the port went away)");
    let peer = Peer { via: "bus".into(), address: "wire".into(), wire: true, ..Peer::default() };
    wire.monitor.handle(wire.now, Input::Opened(CONN, &peer));
    assert_eq!(wire.monitor.deaf(), None);
}

#[test]
fn the_inbox_is_bounded_and_counts_what_falls_out() {
    let mut monitor = Monitor::new(Config { inbox: 4, ..Config::tcp() });
    for transaction in 0..6 {
        talk(&mut monitor, u64::from(transaction), Sender::Client, transaction, &[3, 0, 0, 0, 1]);
    }
    assert_eq!((monitor.cursor(), monitor.observations_lost()), (6, 2));
    let numbers = |from| monitor.observations_since(from).map(|seen| seen.number).collect::<Vec<u64>>();
    assert_eq!((numbers(0), numbers(4)), (vec![2, 3, 4, 5], vec![4, 5]));
}

/// At so many milliseconds one side sends this.
fn talk(monitor: &mut Monitor, ms: u64, sender: Sender, transaction: u16, pdu: &[u8]) {
    let mut adu = Vec::new();
    tcp::Adu::new(transaction, 1, pdu).encode(&mut adu);
    let now = Time::ZERO + Duration::from_millis(ms);
    monitor.observe(now, 7, sender, &adu, Stamps::One(Stamp::exact(now)));
}

fn words(monitor: &Monitor) -> Vec<(Kind, Option<u64>, Option<String>)> {
    monitor.observations_since(0).map(|seen| (seen.kind, seen.request, seen.problem.clone())).collect()
}

#[test]
fn on_tcp_the_transaction_id_pairs() {
    let mut monitor = Monitor::new(Config::tcp());
    let read = [3, 0, 0, 0, 1];
    talk(&mut monitor, 0, Sender::Client, 1, &read);
    talk(&mut monitor, 1, Sender::Client, 2, &read);
    talk(&mut monitor, 2, Sender::Server, 2, &[3, 2, 0, 5]);
    talk(&mut monitor, 3, Sender::Server, 1, &[0x83, 2]);
    talk(&mut monitor, 4, Sender::Server, 1, &[3, 2, 0, 5]);
    talk(&mut monitor, 5, Sender::Client, 3, &read);
    talk(&mut monitor, 6, Sender::Client, 3, &read);
    talk(&mut monitor, 7, Sender::Client, 4, &read);
    monitor.handle_timeout(Time::ZERO + MS * 1006);
    monitor.ended(Time::ZERO + MS * 1006, 7);
    assert_eq!(
        words(&monitor),
        [
            (Kind::Request, None, None),
            (Kind::Request, None, None),
            (Kind::Response, Some(1), None),
            (Kind::Response, Some(0), None),
            (Kind::Response, None, Some("no request has transaction 1".to_owned())),
            (Kind::Request, None, None),
            (Kind::Unanswered, Some(5), Some("its transaction id was used again".to_owned())),
            (Kind::Request, None, None),
            (Kind::Request, None, None),
            (Kind::Unanswered, Some(7), None),
            (Kind::Unanswered, Some(8), Some("the connection ended".to_owned())),
        ]
    );
    let values: Vec<Values> = monitor.observations_since(2).take(1).map(|seen| seen.values.clone()).collect();
    assert_eq!(values, [Values::Registers(vec![5])]);
}

#[test]
fn on_tcp_what_is_wrong_is_told() {
    let mut monitor = Monitor::new(Config::tcp());
    talk(&mut monitor, 0, Sender::Client, 1, &[3, 0, 0, 0, 1]);
    let mut other = Vec::new();
    tcp::Adu::new(1, 9, &[3, 2, 0, 5]).encode(&mut other);
    monitor.observe(Time::ZERO, 7, Sender::Server, &other, Stamps::One(Stamp::default()));
    let mut foreign = Vec::new();
    tcp::Adu { protocol: 5, ..tcp::Adu::new(2, 1, &[3, 0, 0, 0, 1]) }.encode(&mut foreign);
    monitor.observe(Time::ZERO, 7, Sender::Client, &foreign, Stamps::One(Stamp::default()));
    monitor.observe(Time::ZERO, 7, Sender::Server, b"HTTP/1.1 400", Stamps::One(Stamp::default()));
    let problems: Vec<Option<String>> = words(&monitor).into_iter().map(|(_, _, problem)| problem).collect();
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(
        problems,
        [
            None,
            told("unit 1 was asked"),
            told("protocol id at offset 2 is 0x0005, 0 is Modbus"),
            told("it cannot be read as Modbus/TCP"),
        ]
    );
}

#[test]
fn in_a_stream_of_rtu_frames_the_sender_decides() {
    let mut monitor = Monitor::new(Config::rtu(LineRules::over_tcp()));
    let write = frame(2, &[6, 0, 1, 0, 5]);
    let mut now = Time::ZERO;
    for sender in [Sender::Client, Sender::Client, Sender::Server, Sender::Server] {
        now = now + MS * 300;
        monitor.observe(now, 1, sender, &write, Stamps::One(Stamp::exact(now)));
        while let Some(due) = monitor.poll_timeout().filter(|due| *due < now + MS * 300) {
            monitor.handle_timeout(due);
        }
    }
    let seen: Vec<(Kind, bool)> = monitor.observations_since(0).map(|seen| (seen.kind, seen.sure)).collect();
    use Kind::{Request, Response, Unanswered};
    assert_eq!(seen, [(Request, true), (Unanswered, true), (Request, true), (Response, true), (Response, true)]);
}

#[test]
fn an_observation_is_a_record_with_what_is_known() {
    let [_, mut wire] = Wire::both();
    wire.say(MS * 10, &ask(1, 1));
    wire.say(MS * 10, &answer(1, 7));
    wire.pass(MS * 10);
    let records: Vec<Record> = std::iter::from_fn(|| wire.monitor.poll_event()).map(Record::from).collect();
    let names = |record: &Record| record.fields.iter().map(|(name, _)| name.to_string()).collect::<Vec<String>>();
    assert_eq!(records[0].kind, "modbus.seen_request");
    assert_eq!(names(&records[0]), ["number", "unit", "function", "address", "quantity", "bytes"]);
    assert_eq!(names(&records[1]), ["number", "request", "unit", "function", "address", "quantity", "values", "bytes"]);
}

#[test]
fn whatever_is_asked_the_length_of_its_answer_is_known() {
    let requests = [
        (Request::ReadCoils { address: 0, quantity: 9 }, Response::Bits { function: 1, values: vec![true; 9] }),
        (
            Request::ReadDiscreteInputs { address: 0, quantity: 8 },
            Response::Bits { function: 2, values: vec![true; 8] },
        ),
        (
            Request::ReadHoldingRegisters { address: 0, quantity: 125 },
            Response::Registers { function: 3, values: vec![1; 125] },
        ),
        (Request::WriteSingleCoil { address: 1, on: true }, Response::WriteSingleCoil { address: 1, on: true }),
        (
            Request::WriteMultipleCoils { address: 0, values: vec![true; 9] },
            Response::Written { function: 15, address: 0, quantity: 9 },
        ),
        (
            Request::MaskWriteRegister { address: 4, and: 1, or: 2 },
            Response::MaskWriteRegister { address: 4, and: 1, or: 2 },
        ),
        (
            Request::ReadWriteMultipleRegisters {
                read_address: 0,
                read_quantity: 3,
                write_address: 9,
                values: vec![1, 2],
            },
            Response::Registers { function: 23, values: vec![1, 2, 3] },
        ),
    ];
    for (request, response) in requests {
        let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
            let mut pdu = Vec::new();
            encode(&mut pdu);
            frame(3, &pdu)
        };
        // Uncertain stamps: only the length can end the response before the pause.
        let mut wire = Wire::new(LineRules::tolerant(&line()));
        wire.lump = Some(MS * 16);
        wire.say(MS * 10, &encoded(&|out| request.encode(out)));
        wire.say(MS * 10, &encoded(&|out| response.encode(out)));
        wire.pass(MS * 6);
        let seen: Vec<(Kind, bool, &Option<String>)> =
            wire.monitor.observations_since(0).map(|seen| (seen.kind, seen.sure, &seen.problem)).collect();
        assert_eq!(seen, [(Kind::Request, true, &None), (Kind::Response, true, &None)], "{request:?}");
    }
}
