//! A handler in the place of the server.

use super::bench::{Bench, adu, bank, frame, read};
use crate::device::Face;
use crate::line::LineSettings;
use crate::modbus::rtu::LineRules;
use crate::modbus::server::{Extras, Handler, Question, Reply, ServerConfig, Transport, UnitConfig};
use crate::record::Value;
use crate::time::Duration;
use std::sync::{Arc, Mutex};

/// What it was asked, and what it was told.
type Seen = Arc<Mutex<Vec<String>>>;

struct Scripted {
    seen: Seen,
    says: fn(&Question<'_>) -> Reply,
}

impl Handler for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    fn answer(&mut self, question: Question<'_>) -> Reply {
        let Question { unit, transaction, broadcast, pdu, .. } = &question;
        self.note(format!("{unit} {transaction:?} {broadcast} {pdu:?}"));
        (self.says)(&question)
    }
    fn failed(&mut self, error: &str, trace: &str) {
        self.note(format!("failed: {error} / {trace}"));
    }
}

impl Scripted {
    fn note(&self, text: String) {
        self.seen.lock().expect("nobody panics").push(text);
    }
}

fn handled(mut bench: Bench, says: fn(&Question<'_>) -> Reply) -> (Bench, Seen) {
    let seen = Seen::default();
    bench.face.set_handler(Some(Box::new(Scripted { seen: Arc::clone(&seen), says })));
    (bench, seen)
}

fn records(bench: &mut Bench) -> Vec<String> {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let events = std::iter::from_fn(|| bench.face.poll_event());
    let line = |record: crate::record::Record| {
        let fact = record.fields.iter().find(|(name, _)| name == "what" || name == "error");
        format!("{}: {}", record.kind, fact.map(|(_, value)| shown(value)).unwrap_or_default())
    };
    events.map(line).collect()
}

fn all(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut *seen.lock().expect("nobody panics"))
}

#[test]
fn each_reply_becomes_its_answer() {
    for (pdu, says, answer, record) in [
        (&[3, 0, 1, 0, 2][..], Reply::Values(vec![7, 0xffff]), &[3, 4, 0, 7, 0xff, 0xff][..], "values [7, 65535]"),
        (&[1, 0, 0, 0, 3], Reply::Values(vec![1, 0, 1]), &[1, 1, 5], "values [1, 0, 1]"),
        (&[6, 0x20, 0, 0, 9], Reply::Done, &[6, 0x20, 0, 0, 9], "done"),
        (&[16, 0x20, 0, 0, 1, 2, 0, 9], Reply::Done, &[16, 0x20, 0, 0, 1], "done"),
        (&[3, 0, 1, 0, 2], Reply::Exception(2), &[0x83, 2], "exception 02"),
        (&[3, 0, 1, 0, 2], Reply::Pdu(vec![3, 9]), &[3, 9], "answer 03 09"),
        (&[0x41, 1, 2], Reply::Pdu(vec![0x41, 3]), &[0x41, 3], "answer 41 03"),
        (&[3, 0, 1, 0, 2], Reply::NoAnswer, &[], "no answer"),
    ] {
        let mut bench = Bench::tcp();
        bench.face.set_handler(Some(Box::new(Fixed(says.clone()))));
        assert_eq!(bench.ask(pdu), answer, "{says:?}");
        assert_eq!(records(&mut bench), [format!("modbus.handled: {record}")]);
    }
}

struct Fixed(Reply);

impl Handler for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }
    fn answer(&mut self, _: Question<'_>) -> Reply {
        self.0.clone()
    }
    fn failed(&mut self, error: &str, _: &str) {
        panic!("{error}");
    }
}

#[test]
fn what_it_leaves_to_the_server_is_done_as_without_it_and_is_no_record() {
    let (mut bench, seen) = handled(Bench::tcp(), |_| Reply::Usual);
    assert_eq!(bench.ask(&read(2)), [3, 2, 0, 6]);
    assert_eq!(bench.ask(&[6, 0, 2, 0, 9]), [6, 0, 2, 0, 9]);
    assert_eq!(bench.ask(&read(2)), [3, 2, 0, 9]);
    assert!(records(&mut bench).is_empty());
    assert_eq!(all(&seen)[0], "1 Some(1) false [3, 0, 2, 0, 1]");
}

#[test]
fn what_the_standard_says_about_malformed_requests_holds_without_it() {
    let (mut bench, seen) = handled(Bench::tcp(), |_| Reply::Exception(9));
    for (pdu, answer) in [
        (&[3, 0, 0, 0, 0][..], [0x83, 3]),
        (&[3, 0, 0, 0, 126], [0x83, 3]),
        (&[3, 0, 0, 0], [0x83, 3]),
        (&[5, 0, 0, 1, 0], [0x85, 3]),
        (&[16, 0, 0, 0, 2, 2, 0, 1], [0x90, 3]),
    ] {
        assert_eq!(bench.ask(pdu), answer, "{pdu:?}");
    }
    assert!(all(&seen).is_empty());
    assert_eq!(bench.ask(&read(0)), [0x83, 9]);
}

#[test]
fn a_reply_that_cannot_be_an_answer_is_a_failure_and_exception_04() {
    for (pdu, says, error) in [
        (&[3, 0, 0, 0, 2][..], Reply::Values(vec![1]), "it gave 1 values to a request for 2"),
        (&[3, 0, 0, 0, 1], Reply::Values(vec![65536]), "it gave 65536 for a register, which holds 0 to 65535"),
        (&[1, 0, 0, 0, 1], Reply::Values(vec![2]), "it gave 2 for a bit, which holds 0 to 1"),
        (
            &[6, 0, 0, 0, 1],
            Reply::Values(vec![1]),
            "it gave values for function 6, which reads neither registers nor bits",
        ),
        (&[3, 0, 0, 0, 1], Reply::Done, "it says that function 3 is done, which writes nothing"),
        (&[3, 0, 0, 0, 1], Reply::Pdu(vec![]), "it gave no bytes at all for a PDU"),
        (&[3, 0, 0, 0, 1], Reply::Failed { error: "oh".into(), trace: "deep".into() }, "oh"),
    ] {
        let seen = Seen::default();
        let mut bench = Bench::tcp();
        bench.face.set_handler(Some(Box::new(Told(Arc::clone(&seen), says.clone()))));
        assert_eq!(bench.ask(pdu), [pdu[0] | 0x80, 4], "{says:?}");
        assert_eq!(all(&seen), [error]);
        assert_eq!(records(&mut bench), [format!("modbus.handler_failed: {error}")]);
    }
}

struct Told(Seen, Reply);

impl Handler for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn answer(&mut self, _: Question<'_>) -> Reply {
        self.1.clone()
    }
    fn failed(&mut self, error: &str, _: &str) {
        self.0.lock().expect("nobody panics").push(error.to_owned());
    }
}

#[test]
fn a_broadcast_is_asked_about_once_and_never_answered() {
    let line: LineSettings = "9600 8E1".parse().expect("valid settings");
    let two = || {
        let mut config = ServerConfig::new(Transport::Rtu(LineRules::tolerant(&line)), Some(1), bank());
        let functions = config.functions.clone();
        config.units = vec![UnitConfig { unit: 2, bank: bank(), functions, extras: Extras::default() }];
        Bench::with(config)
    };
    for (says, written) in [((|_| Reply::Usual) as fn(&Question<'_>) -> Reply, 5), (|_| Reply::Done, 6)] {
        let (mut bench, seen) = handled(two(), says);
        let wire = bench.open_from("wire", true);
        bench.send(wire, &frame(0, &[6, 0, 2, 0, 5]));
        bench.pass(Duration::from_millis(50));
        assert!(bench.take(wire).is_empty());
        assert_eq!(all(&seen), ["0 None true [6, 0, 2, 0, 5]"]);
        for unit in [None, Some(2)] {
            let table = crate::modbus::server::Table::HoldingRegisters;
            assert_eq!(bench.face.bank_of(unit).and_then(|bank| bank.raw(table, 2, 1)), Some(&[written][..]));
        }
    }
}

#[test]
fn rules_apply_to_what_it_answers_and_keep_requests_from_it() {
    let table = |entries: &[(&str, Value)]| {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let (mut bench, seen) = handled(Bench::tcp(), |_| Reply::Values(vec![0x1234]));
    let first = table(&[("when", table(&[("address", Value::Int(1))])), ("exception", Value::Int(5))]);
    let second = table(&[("when", table(&[("address", Value::Int(2))])), ("short", Value::Int(1))]);
    for rule in [first, second] {
        bench.face.add_rule("rule", &rule).expect("a rule");
    }
    assert_eq!(bench.ask(&read(1)), [0x83, 5]);
    assert!(all(&seen).is_empty());
    assert_eq!(bench.ask(&read(2)), [3, 2, 0x12]);
    assert_eq!(bench.ask(&read(3)), [3, 2, 0x12, 0x34]);
    assert_eq!(all(&seen).len(), 2);
}

#[test]
fn pipelined_requests_are_asked_about_one_after_the_other() {
    let (mut bench, seen) = handled(Bench::tcp(), |question| Reply::Values(vec![i64::from(question.pdu[2])]));
    let conn = bench.open();
    let requests: Vec<u8> = (0..5).flat_map(|n| adu(100 + u16::from(n), 1, &read(n))).collect();
    bench.send(conn, &requests);
    let answers: Vec<u8> = (0..5).flat_map(|n| adu(100 + u16::from(n), 1, &[3, 2, 0, n])).collect();
    assert_eq!(bench.take(conn), answers);
    assert_eq!(all(&seen).len(), 5);
    bench.face.set_handler(None);
    bench.send(conn, &adu(1, 1, &read(2)));
    assert_eq!(bench.take(conn), adu(1, 1, &[3, 2, 0, 6]));
}
