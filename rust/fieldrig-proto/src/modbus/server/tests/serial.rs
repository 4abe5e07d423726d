//! The server on a line: section 4 of the requirements, as far as it needs no real line.

use super::bench::{Bench, frame, read};
use crate::device::Face;
use crate::endpoint::{Action, Conn, Input, Stamps};
use crate::line::{LineEvent, LineSettings};
use crate::modbus::rtu::LineRules;
use crate::modbus::server::Transport;
use crate::time::{Duration, Stamp};

const MS: Duration = Duration::from_millis(1);

fn line() -> LineSettings {
    "19200 8E1".parse().expect("valid settings")
}

fn both() -> [(Bench, Conn); 2] {
    [LineRules::tolerant(&line()), LineRules::exact(&line())].map(|rules| {
        let mut bench = Bench::new(Transport::Rtu(rules), Some(1));
        let conn = bench.open_from("/dev/pts/1", true);
        (bench, conn)
    })
}

/// Sends a frame and lets the line be silent after it.
fn ask(bench: &mut Bench, conn: Conn, bytes: &[u8]) -> Vec<u8> {
    bench.send(conn, bytes);
    bench.pass(MS * 100);
    bench.take(conn)
}

#[test]
fn a_good_frame_is_answered_and_a_bad_one_is_not() {
    // RTU-01 to RTU-03
    for (mut bench, conn) in both() {
        let request = frame(1, &read(1));
        assert_eq!(ask(&mut bench, conn, &request), frame(1, &[3, 2, 0, 3]));
        for bit in 0..16 {
            let mut bad = request.clone();
            bad[6 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ask(&mut bench, conn, &bad), []);
        }
        let mut swapped = request.clone();
        swapped.swap(6, 7);
        assert_eq!(ask(&mut bench, conn, &swapped), []);
        assert_eq!(bench.face.counters().communication_errors, 17);
        assert_eq!(ask(&mut bench, conn, &request), frame(1, &[3, 2, 0, 3]));
    }
}

#[test]
fn others_are_not_answered_for_and_broadcasts_are_done_in_silence() {
    // RTU-04 to RTU-07
    for (mut bench, conn) in both() {
        for unit in [2, 247, 248, 255] {
            assert_eq!(ask(&mut bench, conn, &frame(unit, &[6, 0, 1, 0, 77])), []);
        }
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), frame(1, &[3, 2, 0, 3]));
        assert_eq!(ask(&mut bench, conn, &frame(0, &[6, 0, 1, 0, 77])), []);
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), frame(1, &[3, 2, 0, 77]));
        assert_eq!(ask(&mut bench, conn, &frame(0, &read(1))), []);
        assert_eq!(ask(&mut bench, conn, &frame(0, &[6, 0, 1])), []);
        assert_eq!(bench.face.counters().unanswered, 3);
    }
}

#[test]
fn noise_and_cut_frames_are_left_behind_at_a_silence() {
    // RTU-11 to RTU-13, RTU-18, RTU-19
    for (mut bench, conn) in both() {
        let request = frame(1, &read(1));
        let noises = [&request[..5], &[0xff], &[1, 2, 3], &[0x55; 64], &[1; 300], &request[..3]];
        for noise in noises {
            assert_eq!(ask(&mut bench, conn, noise), []);
            assert_eq!(ask(&mut bench, conn, &request), frame(1, &[3, 2, 0, 3]));
        }
        assert_eq!(ask(&mut bench, conn, &[&[0xff, 0xff][..], &request].concat()), []);
    }
}

#[test]
fn what_only_silence_can_frame_is_framed_by_it() {
    // RTU-20, RTU-21
    for (mut bench, conn) in both() {
        let wrong_count = frame(1, &[16, 0, 0, 0, 3, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(ask(&mut bench, conn, &wrong_count), frame(1, &[0x90, 3]));
        assert_eq!(ask(&mut bench, conn, &frame(1, &[0x41, 9, 9, 9])), frame(1, &[0xc1, 1]));
    }
}

#[test]
fn another_units_answer_is_not_taken_for_a_request() {
    // RTU-22
    for (mut bench, conn) in both() {
        bench.send(conn, &frame(2, &read(1)));
        bench.pass(MS * 10);
        bench.send(conn, &frame(2, &[3, 2, 0, 3]));
        bench.pass(MS * 10);
        assert_eq!(ask(&mut bench, conn, &frame(1, &read(1))), frame(1, &[3, 2, 0, 3]));
    }
}

#[test]
fn a_parity_error_spoils_the_frame() {
    // RTU-23
    for (mut bench, conn) in both() {
        let request = frame(1, &[0x41, 1, 2]);
        bench.send(conn, &request[..2]);
        let now = bench.now;
        bench.face.handle(now, Input::Line(conn, LineEvent::Parity, Stamp::exact(now)), &mut bench.store);
        assert_eq!(ask(&mut bench, conn, &request[2..]), []);
        assert_eq!(bench.face.counters().communication_errors, 1);
    }
}

#[test]
fn silences_inside_a_frame_decide_when_framing_is_exact() {
    // RTU-08 to RTU-10: t1.5 is 859 us, t3.5 2005 us at 19200 baud
    for (gap, answered) in [(859, true), (860, false), (2004, false), (2100, false)] {
        let [_, (mut bench, conn)] = both();
        let request = frame(1, &read(1));
        let character = line().character_time();
        let mut now = bench.now;
        for (index, byte) in request.iter().enumerate() {
            now = now + character + if index == 4 { Duration::from_micros(gap) } else { Duration::ZERO };
            bench.face.handle(now, Input::Bytes(conn, &[*byte], Stamps::One(Stamp::exact(now))), &mut bench.store);
        }
        bench.now = now;
        bench.pass(MS * 100);
        assert_eq!(!bench.take(conn).is_empty(), answered, "{gap} us");
    }
}

#[test]
fn an_answer_waits_for_silence() {
    // RTU-16
    let [(mut bench, conn), _] = both();
    let request = frame(1, &read(1));
    let now = bench.now;
    bench.face.handle(now, Input::Bytes(conn, &request, Stamps::One(Stamp::exact(now))), &mut bench.store);
    let action = bench.face.poll_action(&mut Vec::new());
    assert!(matches!(action, Some(Action::Send { gap_before: Some(gap), .. }) if gap.as_nanos() == 2_005_208));
}

#[test]
fn inside_tcp_frames_are_found_by_length() {
    // RTU-28
    let mut bench = Bench::new(Transport::Rtu(LineRules::over_tcp()), Some(1));
    let conn = bench.open();
    let request = frame(1, &read(1));
    bench.send(conn, &request[..4]);
    bench.pass(MS * 200);
    bench.send(conn, &[&request[4..], &request[..]].concat());
    assert_eq!(bench.take(conn), [frame(1, &[3, 2, 0, 3]), frame(1, &[3, 2, 0, 3])].concat());
}
