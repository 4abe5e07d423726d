//! What comes back on a line and is not the answer: our own echo, and frames of other functions.

use super::*;

/// A UART at 19200 8E1, which nobody said to have an echo: t3.5 is 2.005 ms, a character 573 us.
fn uart() -> Bench {
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    Bench::new(Config { paced: true, ..Config::rtu_on(&line) })
}

const WRITE: Request = Request::WriteSingleRegister { address: 1, value: 2 };
const WRITTEN: [u8; 5] = [6, 0, 1, 0, 2];

#[test]
fn the_echo_of_a_write_is_no_success_where_the_answer_cannot_be_there_yet() {
    let mut bench = uart();
    let ticket = bench.ask(1, WRITE);
    // t3.5 before it, its 8 characters, and a USB adapter that hands over after a millisecond.
    bench.pass(Duration::from_micros(2_005 + 8 * 573 + 1_000));
    bench.receive_frame(1, &WRITTEN);
    let ClientEvent::Malformed(exchange, reason) = bench.one_event() else { panic!("malformed") };
    assert_eq!(exchange.ticket, ticket);
    assert_eq!(reason, "our own request came back: the adapter has a local echo, which `local_echo` strips");
    let doubt = "it was here 7.589 ms after the request began to leave, and request and answer take at least 8.708 ms";
    assert!(exchange.doubt.is_some_and(|told| told.starts_with(doubt)), "it accuses nobody");
    bench.pass(Duration::from_millis(20));
    bench.receive_frame(1, &WRITTEN);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)), "the answer itself is no answer to what comes next");
}

#[test]
fn the_answer_of_a_quick_device_is_no_echo() {
    for request in [WRITE, Request::Diagnostics { sub: 0, data: vec![0x1234] }] {
        let mut bench = uart();
        bench.ask(1, request);
        let answer = bench.sent[0].clone();
        // It waits for no silence, and its clock is 4 % fast; so is ours for what we sent.
        bench.pass(Duration::from_micros(16 * 573 * 96 / 100));
        bench.receive(&answer);
        assert!(matches!(bench.one_event(), ClientEvent::Answered(..)));
    }
}

#[test]
fn without_a_speed_only_a_read_that_came_back_tells_of_an_echo() {
    let mut bench = Bench::rtu();
    bench.ask(1, WRITE);
    bench.receive_frame(1, &WRITTEN);
    assert!(matches!(bench.one_event(), ClientEvent::Answered(..)), "a pty has no speed: devices answer at once there");

    bench.read(0, 1);
    let echo = bench.sent[1].clone();
    bench.receive(&echo);
    bench.pass(Duration::from_millis(50));
    assert!(bench.malformed().contains("local echo"));
    bench.pass(SECOND);
    bench.ask(1, WRITE);
    bench.receive_frame(1, &WRITTEN);
    let ClientEvent::Malformed(exchange, _) = bench.one_event() else { panic!("malformed") };
    assert_eq!(exchange.doubt.as_deref(), Some("the request before came back, too"));

    bench.pass(SECOND * 20);
    bench.read(0, 1);
    bench.receive_frame(1, &[3, 2, 0, 7]);
    assert_eq!(bench.values().1, [7], "there is no echo");
    bench.ask(1, WRITE);
    bench.receive_frame(1, &WRITTEN);
    assert!(matches!(bench.one_event(), ClientEvent::Answered(..)));
}

#[test]
fn the_answer_behind_one_of_another_function_is_not_taken_for_the_answer_to_the_next_request() {
    for strictness in [Strictness::Strict, Strictness::Lenient, Strictness::Raw] {
        let mut bench = Bench::rtu();
        let first = Request::ReadHoldingRegisters { address: 0, quantity: 1 };
        bench.ask_with(first, Options { strictness, ..Options::default() });
        bench.receive_frame(1, &[4, 2, 0, 9]);
        match bench.events().pop() {
            Some(ClientEvent::Malformed(exchange, _)) => assert_eq!(exchange.doubt, None),
            Some(ClientEvent::Answered(..)) if strictness == Strictness::Raw => {}
            other => panic!("{strictness:?}: {other:?}"),
        }
        let ticket = bench.read(10, 1);
        bench.pass(Duration::from_millis(500));
        // This is what stands at address 0, and then at address 10.
        bench.receive_frame(1, &[3, 2, 0, 100]);
        assert!(matches!(bench.one_event(), ClientEvent::Late(_)), "{strictness:?}");
        while bench.sent.len() < 3 {
            // It is asked again.
            bench.pass(Duration::from_millis(100));
        }
        assert!(bench.now < Time::ZERO + SECOND * 12);
        bench.receive_frame(1, &[3, 2, 0, 7]);
        assert_eq!(bench.values(), (ticket, vec![7]));
    }
}

#[test]
fn a_device_that_always_answers_with_another_function_is_accused_each_time() {
    let mut bench = Bench::rtu();
    for _ in 0..5 {
        bench.read(0, 1);
        bench.pass(Duration::from_millis(400));
        bench.receive_frame(1, &[4, 2, 0, 9]);
        let ClientEvent::Malformed(exchange, reason) = bench.one_event() else { panic!("malformed") };
        assert_eq!(reason, "PDU from offset 1: function at offset 0 is 0x04, 0x03 was asked");
        assert_eq!(exchange.doubt, None);
    }
}
