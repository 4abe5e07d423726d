//! What comes: strict, lenient, raw.

use super::*;

const STRICTNESSES: [Strictness; 3] = [Strictness::Strict, Strictness::Lenient, Strictness::Raw];

/// Values and names of deviations, or what is wrong.
type Outcome = Result<(Vec<u16>, Vec<&'static str>), String>;

/// What each strictness makes of an answer to a read of two holding registers.
fn judged(pdu: &[u8], spoil: fn(&mut Vec<u8>)) -> [Outcome; 3] {
    STRICTNESSES.map(|strictness| {
        let mut bench = Bench::tcp();
        let options = Options { strictness, ..Options::default() };
        bench.ask_with(Request::ReadHoldingRegisters { address: 0, quantity: 2 }, options);
        let mut adu = bench.adu_for(0, pdu);
        spoil(&mut adu);
        bench.receive(&adu);
        let mut events = bench.events();
        match events.pop() {
            Some(ClientEvent::Answered(exchange, response)) => {
                let names: Vec<&str> = exchange.deviations.iter().map(|deviation| deviation.name).collect();
                let told = events.iter().filter(|event| matches!(event, ClientEvent::Deviated(_))).count();
                assert_eq!(told, names.len(), "each deviation is an event");
                let values = match response {
                    Response::Registers { values, .. } => values,
                    _ => Vec::new(),
                };
                Ok((values, names))
            }
            Some(ClientEvent::Malformed(_, reason)) => Err(reason),
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn a_right_answer_is_right_in_every_mode() {
    for outcome in judged(&[3, 4, 0, 1, 0, 2], |_| ()) {
        assert_eq!(outcome, Ok((vec![1, 2], vec![])));
    }
}

#[test]
fn lenient_tolerates_what_it_names_and_strict_does_not() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&[u8], Spoil, &str); 5] = [
        (&[3, 4, 0, 1, 0, 2], |adu| adu[3] = 1, "protocol"),
        (&[3, 4, 0, 1, 0, 2], |adu| adu[6] = 9, "unit"),
        (&[3, 4, 0, 1, 0, 2, 9], |_| (), "trailing"),
        (&[3, 2, 0, 1, 0, 2], |_| (), "byte_count"),
        (&[3, 6, 0, 1, 0, 2, 0, 3], |_| (), "amount"),
    ];
    for (pdu, spoil, name) in cases {
        let [strict, lenient, raw] = judged(pdu, spoil);
        assert!(strict.is_err(), "{name}");
        assert_eq!(lenient, Ok((vec![1, 2], vec![name])));
        assert!(raw.is_ok_and(|(_, names)| names.len() == 1), "{name}");
    }
}

#[test]
fn too_little_data_or_another_function_is_no_answer_unless_raw() {
    for pdu in [&[3, 2, 0, 1][..], &[3, 4, 0, 1], &[4, 4, 0, 1, 0, 2], &[], &[0x83], &[0x84, 2], &[3]] {
        let [strict, lenient, raw] = judged(pdu, |_| ());
        assert!(strict.is_err() && lenient.is_err(), "{pdu:?}");
        assert_eq!(raw.map(|(_, names)| names), Ok(vec!["malformed"]), "{pdu:?}");
    }
}

#[test]
fn an_echo_may_be_followed_by_bytes_but_not_differ() {
    for (pdu, tolerated) in [(&[6, 0, 1, 0, 2, 0xff][..], true), (&[6, 0, 1, 0, 3], false), (&[0x86, 2, 0], true)] {
        let mut bench = Bench::tcp();
        let options = Options { strictness: Strictness::Lenient, ..Options::default() };
        bench.ask_with(Request::WriteSingleRegister { address: 1, value: 2 }, options);
        bench.answer(0, pdu);
        let ended = bench.events().pop().expect("an event");
        assert_eq!(!matches!(ended, ClientEvent::Malformed(..)), tolerated, "{pdu:?}");
    }
}

#[test]
fn on_a_line_raw_gives_back_even_what_the_crc_does_not_cover() {
    for strictness in STRICTNESSES {
        let mut bench = Bench::rtu();
        let options = Options { strictness, ..Options::default() };
        bench.ask_with(Request::ReadHoldingRegisters { address: 0, quantity: 1 }, options);
        bench.receive(&[1, 3, 2, 0, 4, 0xbe, 0xef]);
        bench.pass(Duration::from_millis(50));
        match bench.events().pop() {
            Some(ClientEvent::Answered(exchange, Response::Registers { values, .. })) => {
                assert_eq!((strictness, values), (Strictness::Raw, vec![4]));
                assert_eq!(exchange.deviations[0].text, "CRC at offset 5 is 0xefbe, the bytes before it give 0x87b9");
            }
            Some(ClientEvent::Malformed(..)) => assert_ne!(strictness, Strictness::Raw),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ascii_frames_are_asked_and_answered() {
    let mut bench = Bench::ascii();
    let ticket = bench.read(0, 1);
    assert_eq!(bench.sent[0], b":010300000001FB\r\n");
    bench.receive(b":0103020009F1\r\n");
    assert_eq!(bench.values(), (ticket, vec![9]));
    bench.read(0, 1);
    bench.receive(b":0103020009F2\r\n");
    assert!(bench.malformed().starts_with("LRC at offset 11"));
}

const NOISE: [u8; 6] = [0xaa, 0x55, 0x13, 0x37, 0x42, 0x99];

#[test]
fn an_answer_behind_noise_is_not_taken_for_the_answer_to_the_next_request() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(Duration::from_millis(10));
    bench.receive(&NOISE);
    bench.pass(Duration::from_millis(300));
    let heard = bench.events();
    bench.read(10, 1);
    bench.pass(Duration::from_millis(10));
    // This is what stands at address 0.
    bench.receive_frame(1, &[3, 2, 0, 100]);
    let events = bench.events();
    let [ClientEvent::Answered(exchange, _)] = &events[..] else { panic!("{heard:?} {events:?}") };
    assert_eq!(exchange.asked, Request::ReadHoldingRegisters { address: 0, quantity: 1 }, "{heard:?}");
    assert!(matches!(&heard[..], [ClientEvent::Unsolicited(stray)] if stray.bytes == NOISE), "{heard:?}");
}

#[test]
fn what_was_heard_instead_of_an_answer_is_the_end_of_a_request() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(Duration::from_millis(10));
    bench.receive(&NOISE);
    bench.pass(SECOND);
    let events = bench.events();
    let [ClientEvent::Unsolicited(_), ClientEvent::Malformed(exchange, reason)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(exchange.answer, NOISE);
    assert!(reason.contains("CRC"), "{reason}");
    assert!(exchange.doubt.as_deref().is_some_and(|doubt| doubt.starts_with("noise")), "{:?}", exchange.doubt);
}

#[test]
fn the_answer_behind_our_own_echo_is_not_taken_for_the_answer_to_the_next_request() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    let echo = bench.sent[0].clone();
    bench.receive(&echo);
    bench.pass(Duration::from_millis(100));
    bench.events();
    bench.read(10, 1);
    bench.receive_frame(1, &[3, 2, 0, 100]);
    bench.pass(Duration::from_millis(100));
    let events = bench.events();
    assert!(events.iter().all(|event| !matches!(event, ClientEvent::Answered(..))), "{events:?}");
}

#[test]
fn noise_that_may_be_part_of_a_late_answer_accuses_nobody() {
    let mut bench = Bench::rtu();
    bench.ask(2, Request::ReadHoldingRegisters { address: 0, quantity: 1 });
    bench.pass(SECOND + Duration::from_millis(200));
    bench.read(0, 1);
    bench.receive(&NOISE);
    bench.pass(SECOND);
    let malformed = |event: &ClientEvent| matches!(event, ClientEvent::Malformed(end, _) if end.doubt.is_some());
    let events = bench.events();
    assert!(events.last().is_some_and(malformed), "{events:?}");
}
