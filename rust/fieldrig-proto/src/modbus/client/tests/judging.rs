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
