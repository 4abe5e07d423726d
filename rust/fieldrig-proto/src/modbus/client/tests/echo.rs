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
    bench.receive_frame(1, &[3, 2, 0, 7]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)), "the answer behind its echo");
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

/// On a pty, on a serial server: nobody said whether there is an echo.
fn unpaced() -> [Bench; 2] {
    [Bench::rtu(), converter()]
}

fn converter() -> Bench {
    Bench::new(Config::rtu(rtu::LineRules::over_tcp()))
}

/// The end of the one request that ended, which accuses nobody.
fn doubted(bench: &mut Bench) -> (String, String) {
    let ended = bench.events().into_iter().filter(|event| event.ticket().is_some()).collect::<Vec<_>>();
    match &ended[..] {
        [ClientEvent::Malformed(exchange, reason)] => {
            (reason.clone(), exchange.doubt.clone().expect("it accuses nobody"))
        }
        other => panic!("one malformed answer, not {other:?}"),
    }
}

fn taken_from_its_echo(bench: &mut Bench) {
    bench.ask(1, WRITE);
    bench.receive_frame(1, &WRITTEN);
    let ClientEvent::Answered(exchange, _) = bench.one_event() else { panic!("it looks like the answer") };
    assert!(exchange.may_be_echo, "it shows nobody to be there");
}

#[test]
fn the_answer_to_a_write_that_was_taken_from_its_echo_accuses_nobody_in_the_next_exchange() {
    for mut bench in unpaced() {
        taken_from_its_echo(&mut bench);
        bench.read(0, 1);
        bench.pass(Duration::from_millis(20));
        bench.receive_frame(1, &WRITTEN);
        let told = bench.events();
        assert!(matches!(&told[..], [ClientEvent::Unsolicited(stray)] if stray.reason.contains("echo")), "{told:?}");
        bench.receive_frame(1, &[3, 2, 0, 7]);
        assert_eq!(bench.values().1, [7], "it goes on waiting");

        taken_from_its_echo(&mut bench);
        bench.read(0, 1);
        bench.receive_frame(1, &WRITTEN);
        bench.pass(SECOND * 2);
        let (reason, doubt) = doubted(&mut bench);
        assert_eq!(reason, "what came has the bytes of an earlier request and its answer");
        assert!(doubt.contains("our own echo"), "{doubt}");
    }
}

#[test]
fn the_answer_to_one_write_is_no_wrong_answer_to_the_next() {
    let next = Request::WriteSingleRegister { address: 1, value: 3 };
    for mut bench in unpaced() {
        taken_from_its_echo(&mut bench);
        bench.ask(1, next.clone());
        bench.receive_frame(1, &WRITTEN);
        bench.receive_frame(1, &[6, 0, 1, 0, 3]);
        assert_eq!(doubted(&mut bench).1, "the request before came back, too");
    }
    for mut bench in unpaced() {
        taken_from_its_echo(&mut bench);
        bench.ask(1, next.clone());
        // Both echoes, and then both answers.
        bench.receive_frame(1, &[6, 0, 1, 0, 3]);
        assert!(matches!(bench.one_event(), ClientEvent::Answered(..)));
        bench.ask(1, Request::WriteSingleRegister { address: 1, value: 4 });
        bench.receive_frame(1, &WRITTEN);
        bench.receive_frame(1, &[6, 0, 1, 0, 3]);
        bench.pass(SECOND * 2);
        doubted(&mut bench);
    }
}

#[test]
fn a_read_that_came_back_is_no_verdict_unless_there_is_no_echo_for_sure() {
    for mut bench in unpaced() {
        taken_from_its_echo(&mut bench);
        bench.pass(Duration::from_millis(200));
        bench.read(0, 1);
        let echo = bench.sent[1].clone();
        bench.receive(&echo);
        bench.pass(SECOND);
        let (reason, doubt) = doubted(&mut bench);
        assert!(reason.contains("local echo") && doubt.contains("the adapter's doing"), "{reason}: {doubt}");
    }
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    let mut bench = Bench::new(Config { no_echo: true, ..Config::rtu_on(&line) });
    bench.read(0, 1);
    let echo = bench.sent[0].clone();
    bench.receive(&echo);
    bench.pass(Duration::from_millis(50));
    let ClientEvent::Malformed(exchange, reason) = bench.one_event() else { panic!("malformed") };
    assert_eq!(
        (exchange.doubt, reason.as_str()),
        (None, "our own request came back (local_echo=False: there is no echo)")
    );
    bench.pass(SECOND);
    for _ in 0..2 {
        bench.ask(1, WRITE);
        bench.receive_frame(1, &WRITTEN);
        assert!(matches!(bench.one_event(), ClientEvent::Answered(exchange, _) if !exchange.may_be_echo));
    }
}

#[test]
fn an_answer_that_cannot_be_an_echo_is_held_against_the_device_when_it_comes_again() {
    let mut bench = uart();
    bench.ask(1, WRITE);
    bench.pass(Duration::from_micros(2_005 + 16 * 573 + 1_750));
    bench.receive_frame(1, &WRITTEN);
    assert!(matches!(bench.one_event(), ClientEvent::Answered(exchange, _) if !exchange.may_be_echo));
    bench.ask(1, Request::WriteSingleRegister { address: 1, value: 3 });
    bench.pass(Duration::from_millis(20));
    bench.receive_frame(1, &WRITTEN);
    let ClientEvent::Malformed(exchange, reason) = bench.one_event() else { panic!("malformed") };
    assert_eq!(reason, "PDU from offset 1: value at offset 3 is 0x0002, 0x0003 was sent");
    assert_eq!(exchange.doubt, None);
}

#[test]
fn the_echo_of_a_serial_server_does_not_hide_the_answer() {
    for gap in [0, 2, 30, 100] {
        for (address, quantity) in [(0, 1), (0x1000, 1), (0x1000, 8), (0x0200, 1)] {
            let mut bench = converter();
            taken_from_its_echo(&mut bench);
            bench.read(address, quantity);
            let echo = bench.sent[1].clone();
            let mut answer = Vec::new();
            let data = vec![9; 2 * usize::from(quantity)];
            rtu::Adu::new(1, &[&[3, data.len() as u8][..], &data].concat()).encode(&mut answer);
            match gap {
                0 => bench.receive(&[&echo[..], &answer].concat()),
                gap => {
                    bench.receive(&echo);
                    bench.pass(Duration::from_millis(gap));
                    bench.receive(&answer);
                }
            }
            bench.pass(SECOND * 2);
            let events = bench.events();
            let ended = events.iter().find(|event| event.ticket().is_some());
            let Some(ClientEvent::Malformed(exchange, reason)) = ended else { panic!("{gap} ms: {events:?}") };
            assert!(reason.contains("local echo") && exchange.doubt.is_some(), "{gap} ms: {reason}");
            let late = events.iter().any(|event| matches!(event, ClientEvent::Late(stray) if stray.bytes == answer));
            assert!(late, "{gap} ms, {quantity} at {address:#x}: {events:?}");
        }
    }
}

#[test]
fn silence_behind_bytes_that_are_no_frame_accuses_nobody() {
    let mut bench = converter();
    let no_frame = Some("bytes came that are no frame");
    for (bytes, doubt) in [
        (&[1, 3, 0, 0xaa, 0x55, 0x13][..], no_frame),
        (&[0xaa, 0x55], no_frame),
        // Its answer, too late.
        (&[1, 3, 2], None),
        (&[], None),
    ] {
        bench.read(0, 1);
        bench.pass(Duration::from_millis(800));
        bench.receive(bytes);
        bench.pass(Duration::from_millis(300));
        let ClientEvent::TimedOut(exchange, _) = bench.one_event() else { panic!("timed out") };
        assert_eq!(exchange.doubt.as_deref(), doubt, "{bytes:?}");
        bench.pass(SECOND * 20);
        bench.events();
    }
}

#[test]
fn one_read_that_came_back_spoils_no_writes_for_ever() {
    for lost in [false, true] {
        let mut bench = Bench::rtu();
        bench.read(0, 1);
        let echo = bench.sent[0].clone();
        bench.receive(&echo);
        bench.pass(Duration::from_millis(50));
        doubted(&mut bench);
        match lost {
            // Nothing followed: a boot loader that repeats all it hears.
            false => bench.pass(SECOND),
            true => {
                bench.receive_frame(1, &[3, 2, 0, 7]);
                bench.client.handle(bench.now, Input::Closed(CONN, Why::HungUp));
                bench.client.handle(bench.now, Input::Opened(CONN, &Peer::default()));
            }
        }
        bench.events();
        bench.pass(Duration::from_millis(100));
        for _ in 0..2 {
            taken_from_its_echo(&mut bench);
        }
    }
}

#[test]
fn a_confirmed_echo_is_over_with_the_first_write_that_is_answered_once() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    let echo = bench.sent[0].clone();
    bench.receive(&[&echo[..], &[]].concat());
    bench.pass(Duration::from_millis(50));
    bench.receive_frame(1, &[3, 2, 0, 7]);
    bench.pass(SECOND);
    bench.events();
    // The cable is another one now.
    bench.ask(1, WRITE);
    bench.receive_frame(1, &WRITTEN);
    doubted(&mut bench);
    bench.pass(SECOND * 20);
    taken_from_its_echo(&mut bench);
}

fn declared() -> Bench {
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    Bench::new(Config { local_echo: true, ..Config::rtu_on(&line) })
}

#[test]
fn a_declared_echo_that_does_not_come_costs_no_good_answer() {
    let mut bench = declared();
    for piece in 1..7 {
        bench.read(0, 1);
        let mut answer = Vec::new();
        rtu::Adu::new(1, &[3, 2, 0, 7]).encode(&mut answer);
        for part in answer.chunks(piece) {
            bench.receive(part);
            bench.pass(Duration::from_millis(1));
        }
        assert_eq!(bench.values().1, [7], "pieces of {piece}");
        bench.pass(Duration::from_millis(10));
    }
}

#[test]
fn silence_accuses_nobody_where_a_declared_echo_is_not_heard_or_may_have_been_the_answer() {
    let mut bench = declared();
    bench.read(0, 1);
    bench.receive(&[1, 3]);
    bench.pass(SECOND * 2);
    let ClientEvent::TimedOut(exchange, _) = bench.one_event() else { panic!("timed out") };
    assert!(exchange.doubt.is_some_and(|doubt| doubt.starts_with("no echo was heard")));

    let mut bench = declared();
    for proven in [false, true] {
        if proven {
            bench.read(0, 1);
            let echo = bench.sent.last().expect("sent").clone();
            bench.receive(&echo);
            bench.receive_frame(1, &[3, 2, 0, 7]);
            assert_eq!(bench.values().1, [7]);
        }
        bench.ask(1, WRITE);
        bench.receive_frame(1, &WRITTEN);
        bench.pass(SECOND * 20);
        let ClientEvent::TimedOut(exchange, _) = bench.one_event() else { panic!("timed out") };
        assert_eq!(exchange.doubt.is_none(), proven, "{:?}", exchange.doubt);
    }
}
