//! The server on a line with ASCII frames: section 5 of the requirements, as far as it needs no real line.

use super::bench::{Bench, read};
use crate::device::Face;
use crate::endpoint::{Action, Conn, Input, Stamps};
use crate::line::LineSettings;
use crate::modbus::ascii::{Adu, MAX_CHARACTERS, Rules};
use crate::modbus::server::Transport;
use crate::time::{Duration, Stamp};

const MS: Duration = Duration::from_millis(1);

fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Adu::new(unit, pdu).encode(&mut out);
    out
}

fn line() -> LineSettings {
    "9600 7E1".parse().expect("valid settings")
}

fn bench_by(rules: Rules, wire: bool) -> (Bench, Conn) {
    let mut bench = Bench::new(Transport::Ascii(rules), Some(1));
    let conn = bench.open_from("/dev/pts/1", wire);
    (bench, conn)
}

fn all() -> [(Bench, Conn); 3] {
    let line = line();
    [bench_by(Rules::tolerant(&line), true), bench_by(Rules::exact(&line), true), bench_by(Rules::unpaced(), false)]
}

fn ask(bench: &mut Bench, conn: Conn, characters: &[u8]) -> Vec<u8> {
    bench.send(conn, characters);
    bench.pass(MS * 10);
    bench.take(conn)
}

#[test]
fn a_good_frame_is_answered_at_once_and_a_bad_one_is_not() {
    // ASC-01 to ASC-03, ASC-07, ASC-08
    for (mut bench, conn) in all() {
        let request = frame(1, &read(1));
        assert_eq!(ask(&mut bench, conn, &request), b":0103020003F7\r\n");
        for (index, character) in [(14, b'0'), (13, b'0'), (4, b'G'), (4, b'\0'), (15, b' ')] {
            let mut bad = request.clone();
            assert_ne!(std::mem::replace(&mut bad[index], character), character);
            assert_eq!(ask(&mut bench, conn, &bad), [], "{index}");
        }
        let odd = [&request[..14], b"\r\n"].concat();
        assert_eq!(ask(&mut bench, conn, &odd), []);
        let without_cr = [&request[..15], b"\n"].concat();
        assert_eq!(ask(&mut bench, conn, &without_cr), []);
        assert_eq!(bench.face.counters().communication_errors, 7);
        assert_eq!(ask(&mut bench, conn, &request), b":0103020003F7\r\n");
        assert_eq!(bench.face.counters().messages, 9);
    }
}

#[test]
fn a_frame_is_not_answered_before_it_is_complete() {
    // ASC-05, ASC-08
    for (mut bench, conn) in all() {
        let request = frame(1, &read(1));
        for character in &request[..request.len() - 1] {
            assert_eq!(ask(&mut bench, conn, &[*character]), []);
            bench.pass(MS * 900);
        }
        assert_eq!(ask(&mut bench, conn, b"\n"), b":0103020003F7\r\n");
    }
}

#[test]
fn a_longer_pause_than_a_second_drops_a_frame() {
    // ASC-06
    for (mut bench, conn) in all() {
        let request = frame(1, &read(1));
        assert_eq!(ask(&mut bench, conn, &request[..6]), []);
        bench.pass(MS * 1_100);
        assert_eq!(ask(&mut bench, conn, &request[6..]), []);
        assert_eq!(ask(&mut bench, conn, &request), b":0103020003F7\r\n");
        assert_eq!(bench.face.counters().communication_errors, 1, "the rest is no frame");
    }
    let patient = Rules { limit: Duration::from_secs(5), ..Rules::exact(&line()) };
    let (mut bench, conn) = bench_by(patient, true);
    let request = frame(1, &read(1));
    assert_eq!(ask(&mut bench, conn, &request[..6]), []);
    bench.pass(MS * 4_000);
    assert_eq!(ask(&mut bench, conn, &request[6..]), b":0103020003F7\r\n");
}

#[test]
fn a_pause_of_just_a_second_is_allowed_when_framing_is_exact() {
    for (more, answered) in [(0, true), (1, false)] {
        let (mut bench, conn) = bench_by(Rules::exact(&line()), true);
        let request = frame(1, &read(1));
        for (index, character) in request.iter().enumerate() {
            let pause = if index == 7 { Duration::from_nanos(1_000_000_000 + more) } else { Duration::ZERO };
            bench.pass(line().character_time() + pause);
            bench.send(conn, &[*character]);
        }
        assert_eq!(!bench.take(conn).is_empty(), answered, "{more} ns");
    }
}

#[test]
fn a_colon_begins_anew_and_noise_before_it_is_no_message() {
    // ASC-04, ASC-12
    for (mut bench, conn) in all() {
        let request = frame(1, &read(1));
        assert_eq!(ask(&mut bench, conn, &[b":0103", &request[..]].concat()), b":0103020003F7\r\n");
        assert_eq!(bench.face.counters().communication_errors, 1);
        assert_eq!(ask(&mut bench, conn, &[b"\r\nxyz\xff", &request[..]].concat()), b":0103020003F7\r\n");
        let counters = bench.face.counters();
        assert_eq!((counters.communication_errors, counters.messages, counters.discarded), (1, 3, 2));
    }
}

#[test]
fn digits_in_lower_case_are_read_only_if_asked_for() {
    // ASC-09
    let request = frame(1, &[3, 0, 0x0a, 0, 1]).to_ascii_lowercase();
    for (lower_case, answer) in [(false, &b""[..]), (true, b":010302001EDC\r\n")] {
        let (mut bench, conn) = bench_by(Rules { lower_case, ..Rules::tolerant(&line()) }, true);
        assert_eq!(ask(&mut bench, conn, &request), answer);
    }
}

#[test]
fn the_longest_frame_is_taken_and_a_longer_one_is_not() {
    // ASC-10
    for (mut bench, conn) in all() {
        let mut pdu = vec![16, 0, 0, 0, 123, 246];
        pdu.resize(252, 0);
        assert_eq!(ask(&mut bench, conn, &frame(1, &pdu)), frame(1, &[16, 0, 0, 0, 123]));
        pdu.resize(253, 0x41);
        let longest = frame(1, &pdu);
        assert_eq!(longest.len(), MAX_CHARACTERS);
        assert_eq!(ask(&mut bench, conn, &longest), frame(1, &[0x90, 3]));
        pdu.resize(254, 0x41);
        assert_eq!(ask(&mut bench, conn, &frame(1, &pdu)), []);
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(150))), frame(1, &[3, 2, 1, 0xc2]));
    }
}

#[test]
fn others_are_not_answered_for_and_broadcasts_are_done_in_silence() {
    // ASC-14
    for (mut bench, conn) in all() {
        for unit in [2, 247, 248, 255] {
            assert_eq!(ask(&mut bench, conn, &frame(unit, &[6, 0, 1, 0, 77])), []);
        }
        assert_eq!(ask(&mut bench, conn, &frame(0, &[6, 0, 1, 0, 77])), []);
        assert_eq!(ask(&mut bench, conn, &frame(0, &read(1))), []);
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), frame(1, &[3, 2, 0, 77]));
    }
}

#[test]
fn another_delimiter_holds_from_the_next_message_to_the_next_restart() {
    // ASC-13, FC08-06
    for (mut bench, conn) in all() {
        let ended = |delimiter: u8, pdu: &[u8]| {
            let mut out = Vec::new();
            Adu { delimiter, ..Adu::new(1, pdu) }.encode(&mut out);
            out
        };
        let change = [8, 0, 3, b'%', 0];
        assert_eq!(ask(&mut bench, conn, &frame(1, &change)), frame(1, &change));
        assert_eq!(ask(&mut bench, conn, &ended(b'%', &read(1))), ended(b'%', &[3, 2, 0, 3]));
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), [], "LF ends nothing any more");
        let restart = [8, 0, 1, 0, 0];
        assert_eq!(ask(&mut bench, conn, &ended(b'%', &restart)), ended(b'%', &restart));
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), b":0103020003F7\r\n");
    }
}

#[test]
fn an_answer_needs_no_silence_before_it() {
    let [(mut bench, conn), ..] = all();
    let now = bench.now;
    bench.face.handle(now, Input::Bytes(conn, &frame(1, &read(1)), Stamps::One(Stamp::exact(now))), &mut bench.store);
    let action = bench.face.poll_action(&mut Vec::new());
    assert!(matches!(action, Some(Action::Send { gap_before: None, not_before: None, .. })));
}
