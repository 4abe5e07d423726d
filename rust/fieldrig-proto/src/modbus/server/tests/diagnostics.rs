//! What a device on a line keeps of its communication: rows FC07, FC08, FC11 and FC12 of the requirements.

use super::bench::{Bench, bank, frame, read};
use crate::device::Face;
use crate::endpoint::{Conn, Input};
use crate::line::{LineEvent, LineSettings};
use crate::modbus::rtu::LineRules;
use crate::modbus::server::{ServerConfig, Transport};
use crate::record::Value;
use crate::time::{Duration, Stamp};

struct Line {
    bench: Bench,
    conn: Conn,
}

impl Line {
    fn new() -> Line {
        let line: LineSettings = "19200 8E1".parse().expect("valid settings");
        let mut config = ServerConfig::new(Transport::Rtu(LineRules::exact(&line)), Some(1), bank());
        config.extras.exception_status = 0x5a;
        config.extras.diagnostic_register = 0x1234;
        let mut bench = Bench::with(config);
        let conn = bench.open_from("/dev/pts/1", true);
        Line { bench, conn }
    }

    /// Sends a frame and gives what comes back.
    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.bench.send(self.conn, bytes);
        self.bench.pass(Duration::from_millis(100));
        self.bench.take(self.conn)
    }

    /// The response PDU; empty if there is none.
    fn ask(&mut self, pdu: &[u8]) -> Vec<u8> {
        let answer = self.send(&frame(1, pdu));
        answer.get(1..answer.len().saturating_sub(2)).unwrap_or_default().to_vec()
    }

    fn diagnose(&mut self, sub: u16, data: u16) -> Vec<u8> {
        self.ask(&[&[8][..], &sub.to_be_bytes(), &data.to_be_bytes()].concat())
    }

    fn counter(&mut self, sub: u16) -> u16 {
        let answer = self.diagnose(sub, 0);
        assert_eq!(answer[..3], [&[8][..], &sub.to_be_bytes()].concat());
        u16::from_be_bytes([answer[3], answer[4]])
    }

    fn events(&mut self) -> u16 {
        let answer = self.ask(&[0x0b]);
        assert_eq!(answer[..3], [0x0b, 0, 0]);
        u16::from_be_bytes([answer[3], answer[4]])
    }

    /// Status, events, messages and log.
    fn log(&mut self) -> ([u8; 6], Vec<u8>) {
        let answer = self.ask(&[0x0c]);
        assert_eq!(usize::from(answer[1]), answer.len() - 2);
        (answer[2..8].try_into().expect("six bytes"), answer[8..].to_vec())
    }
}

#[test]
fn the_exception_status_and_the_register_are_what_was_set() {
    // FC07-01, FC08-05
    let mut line = Line::new();
    assert_eq!(line.ask(&[7]), [7, 0x5a]);
    assert_eq!(line.ask(&[7, 0]), [0x87, 3]);
    assert_eq!(line.diagnose(2, 0), [8, 0, 2, 0x12, 0x34]);
}

#[test]
fn the_loop_back_repeats_any_words_and_no_halves() {
    // FC08-00
    let mut line = Line::new();
    for pdu in [&[8, 0, 0, 0xa5, 0x37][..], &[8, 0, 0], &[8, 0, 0, 1, 2, 3, 4]] {
        assert_eq!(line.ask(pdu), pdu);
    }
    let longest = [&[8, 0, 0][..], &[0x5a; 250]].concat();
    assert_eq!(line.ask(&longest), longest);
    for cut in [&[8, 0, 0, 1][..], &[8, 0], &[8]] {
        assert_eq!(line.ask(cut), [0x88, 3]);
    }
}

#[test]
fn sub_functions_are_judged_before_their_data() {
    // FC08-03, FC08-06 (RTU), FC08-17, FC08-18
    let mut line = Line::new();
    for sub in [3, 5, 9, 0x13, 0x15, 0xffff] {
        assert_eq!(line.diagnose(sub, 0xcc00), [0x88, 1], "{sub:#x}");
        assert_eq!(line.ask(&[&[8][..], &sub.to_be_bytes(), &[1]].concat()), [0x88, 1], "{sub:#x}");
    }
    for sub in [1, 2, 4, 0x0a, 0x0b, 0x12, 0x14] {
        assert_eq!(line.diagnose(sub, 1), [0x88, 3], "{sub:#x}");
        assert_eq!(line.ask(&[&[8][..], &sub.to_be_bytes(), &[0; 4]].concat()), [0x88, 3], "{sub:#x}");
    }
    assert_eq!(line.ask(&read(1)), [3, 2, 0, 3], "it listens to all still");
}

#[test]
fn counters_count_what_the_standard_says() {
    // FC08-10 to FC08-14
    let mut line = Line::new();
    line.send(&frame(2, &read(1)));
    line.send(&frame(2, &[3, 2, 0, 3]));
    let mut damaged = frame(1, &read(1));
    damaged[6] ^= 1;
    line.send(&damaged);
    line.send(&[1, 2]);
    line.ask(&read(1));
    line.ask(&[3, 0xf0, 0, 0, 1]);
    line.send(&frame(0, &[6, 0, 1, 0, 7]));
    line.send(&frame(0, &read(1)));
    // Two for another unit, four for this one, and the request itself; damaged ones are no messages.
    assert_eq!(line.counter(0x0b), 7);
    assert_eq!(line.counter(0x0c), 2);
    assert_eq!(line.counter(0x0d), 1);
    // Four, and four requests for counters.
    assert_eq!(line.counter(0x0e), 8);
    assert_eq!(line.counter(0x0f), 2);
    assert_eq!((line.counter(0x10), line.counter(0x11), line.counter(0x12)), (0, 0, 0));
}

#[test]
fn a_busy_answer_and_a_refusal_have_counters_of_their_own() {
    // FC08-15
    let mut line = Line::new();
    line.bench.habit("fail_at", &Value::Int(7));
    for (code, times) in [(6, 2), (7, 3), (4, 1)] {
        line.bench.habit("failure_code", &Value::Int(code));
        for _ in 0..times {
            assert_eq!(line.ask(&read(7)), [0x83, code as u8]);
        }
    }
    assert_eq!((line.counter(0x0d), line.counter(0x11), line.counter(0x10)), (6, 2, 3));
    let (_, log) = line.log();
    let sent: Vec<u8> = log.into_iter().filter(|event| event & 0xc0 == 0x40).collect();
    assert_eq!(sent, [0x40, 0x40, 0x40, 0x42, 0x48, 0x48, 0x48, 0x44, 0x44]);
}

#[test]
fn overruns_are_counted_until_they_are_cleared() {
    // FC08-15, FC08-16
    let mut line = Line::new();
    for _ in 0..3 {
        let now = line.bench.now;
        line.bench.face.handle(
            now,
            Input::Line(line.conn, LineEvent::Overrun, Stamp::exact(now)),
            &mut line.bench.store,
        );
        line.send(&[0xff]);
    }
    assert_eq!(line.counter(0x12), 3);
    assert_eq!(line.diagnose(0x14, 0), [8, 0, 0x14, 0, 0]);
    assert_eq!(line.counter(0x12), 0);
    assert_eq!(line.counter(0x0c), 3);
}

#[test]
fn clearing_leaves_nothing_but_the_question_itself() {
    // FC08-09
    let mut line = Line::new();
    line.ask(&[3, 0xf0, 0, 0, 1]);
    line.send(&[1, 2]);
    assert_eq!(line.diagnose(0x0a, 0), [8, 0, 0x0a, 0, 0]);
    assert_eq!(line.events(), 0);
    assert_eq!(line.counter(0x0b), 2);
    assert_eq!(line.counter(0x0e), 3);
    for sub in [0x02, 0x0c, 0x0d, 0x0f, 0x12] {
        assert_eq!(line.counter(sub), 0, "{sub:#x}");
    }
}

#[test]
fn in_listen_only_mode_it_is_silent_and_counts_until_it_is_restarted() {
    // FC08-04, FC08-07, FC08-08
    let mut line = Line::new();
    assert_eq!(line.diagnose(4, 0), []);
    for pdu in [&read(1)[..], &[6, 0, 1, 0, 77], &[8, 0, 0, 0, 1], &[8, 0, 4, 0, 0], &[0x41]] {
        assert_eq!(line.ask(pdu), []);
    }
    line.send(&frame(0, &[6, 0, 1, 0, 77]));
    // A restart that is malformed is not answered either, and is none.
    assert_eq!(line.diagnose(1, 5), []);
    assert_eq!(line.ask(&read(1)), []);
    let log = |line: &mut Line| line.log().1;
    assert_eq!(line.diagnose(1, 0), []);
    assert_eq!(line.ask(&read(1)), [3, 2, 0, 3], "nothing was written meanwhile");
    // Newest first: this question, the read, the restart (in listen-only mode), the read and the malformed restart.
    assert_eq!(log(&mut line)[..10], [0x80, 0x40, 0x80, 0x00, 0x60, 0xa0, 0x60, 0xa0, 0x60, 0xa0]);
    assert!(
        log(&mut line)
            .ends_with(&[0x60, 0xe0, 0x60, 0xa0, 0x60, 0xa0, 0x60, 0xa0, 0x60, 0xa0, 0x60, 0xa0, 0x60, 4, 0x80])
    );
    // Everything was counted until then, and the counters begin anew with the restart.
    assert_eq!(line.counter(0x0f), 0);
}

#[test]
fn a_restart_is_answered_and_clears_counters_and_the_log_if_it_is_to() {
    // FC08-01, FC08-02
    let mut line = Line::new();
    line.ask(&read(1));
    line.ask(&[3, 0xf0, 0, 0, 1]);
    assert_eq!(line.diagnose(1, 0), [8, 0, 1, 0, 0]);
    assert_eq!(line.log(), ([0, 0, 0, 0, 0, 1], vec![0x80, 0x00, 0x40, 0x80, 0x41, 0x80, 0x40, 0x80]));
    assert_eq!(line.counter(0x0d), 0);
    assert_eq!(line.diagnose(1, 0xff00), [8, 0, 1, 0xff, 0]);
    assert_eq!(line.log(), ([0, 0, 0, 0, 0, 1], vec![0x80, 0x00]));
    assert_eq!(line.diagnose(2, 0), [8, 0, 2, 0x12, 0x34], "the register is not cleared");
}

#[test]
fn the_event_counter_counts_what_was_completed_but_not_itself() {
    // FC11-01 to FC11-03
    let mut line = Line::new();
    assert_eq!((line.events(), line.events()), (0, 0));
    line.ask(&read(1));
    assert_eq!(line.events(), 1);
    line.ask(&[3, 0xf0, 0, 0, 1]);
    line.send(&frame(2, &read(1)));
    assert_eq!(line.events(), 1);
    line.send(&frame(0, &[6, 0, 1, 0, 7]));
    assert_eq!(line.events(), 2);
    assert_eq!(line.ask(&[0x0b, 0]), [0x8b, 3]);
}

#[test]
fn the_log_keeps_the_newest_64_events() {
    // FC12-01 to FC12-04
    let mut line = Line::new();
    assert_eq!(line.log(), ([0, 0, 0, 0, 0, 1], vec![0x80]));
    line.send(&frame(0, &[6, 0, 1, 0, 7]));
    let mut damaged = frame(1, &read(1));
    damaged[6] ^= 1;
    line.send(&damaged);
    let (counts, log) = line.log();
    // Two completed (the log itself and the broadcast), three messages.
    assert_eq!((counts, log), ([0, 0, 0, 2, 0, 3], vec![0x80, 0x82, 0x40, 0xc0, 0x40, 0x80]));
    assert_eq!(line.events(), 3);
    for _ in 0..40 {
        line.ask(&read(1));
    }
    let (_, log) = line.log();
    assert_eq!(log.len(), 64);
    assert_eq!(log[..3], [0x80, 0x40, 0x80]);
}

#[test]
fn sixteen_bits_go_on_at_zero() {
    // FC08-19
    let mut line = Line::new();
    for _ in 0..0xffff {
        line.bench.face.core.diagnosis.heard();
    }
    assert_eq!(line.counter(0x0b), 0, "the question is the 65536th");
    assert_eq!(line.counter(0x0b), 1);
}

#[test]
fn power_off_forgets_it_all() {
    let mut line = Line::new();
    line.ask(&read(1));
    line.diagnose(4, 0);
    let now = line.bench.now;
    line.bench.face.power(now, false, &line.bench.store);
    line.bench.face.power(now, true, &line.bench.store);
    line.conn = line.bench.open_from("/dev/pts/1", true);
    assert_eq!(line.log(), ([0, 0, 0, 0, 0, 1], vec![0x80]));
    assert_eq!(line.diagnose(2, 0), [8, 0, 2, 0x12, 0x34]);
}
