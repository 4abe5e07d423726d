//! How it is asked: modes, patches, raw frames, gaps, pace, transaction ids, retries.

use super::*;

fn read(address: u16, quantity: u16) -> Request {
    Request::ReadHoldingRegisters { address, quantity }
}

fn patched(patch: Patch) -> Options {
    Options { patch: Some(patch), ..Options::default() }
}

fn retried(retries: u32) -> Options {
    Options { retries, ..Options::default() }
}

#[test]
fn raw_asks_what_the_standard_forbids() {
    let raw = || Options { strictness: Strictness::Raw, ..Options::default() };
    let mut bench = Bench::tcp();
    bench.ask_with(read(0xffff, 200), raw());
    assert_eq!(bench.sent[0][7..], [3, 0xff, 0xff, 0, 200]);
    let mut line = Bench::rtu();
    line.client.ask(line.now, 250, read(0, 0), SECOND, Some(Box::new(raw()))).expect("anything goes");
    line.collect();
    assert_eq!(line.sent[0][..6], [250, 3, 0, 0, 0, 0]);
}

#[test]
fn every_derived_field_can_be_patched() {
    let write = || Request::WriteMultipleRegisters { address: 1, values: vec![7] };
    let mut bench = Bench::tcp();
    let patch = Patch {
        transaction: Some(0x1234),
        protocol: Some(5),
        length: Some(99),
        unit: Some(9),
        byte_count: Some(40),
        ..Patch::default()
    };
    bench.ask_with(write(), patched(patch));
    assert_eq!(bench.sent[0], [0x12, 0x34, 0, 5, 0, 99, 9, 16, 0, 1, 0, 1, 40, 0, 7]);
    // What was patched is what is asked: the answer has the same transaction and unit.
    bench.receive(&[0x12, 0x34, 0, 0, 0, 6, 9, 16, 0, 1, 0, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Answered(..)));

    let mut line = Bench::rtu();
    line.ask_with(read(0, 1), patched(Patch { crc: Some(0xbeef), ..Patch::default() }));
    assert_eq!(line.sent[0], [1, 3, 0, 0, 0, 1, 0xef, 0xbe]);
    let mut ascii = Bench::ascii();
    ascii.ask_with(read(0, 1), patched(Patch { lrc: Some(0), ..Patch::default() }));
    assert_eq!(ascii.sent[0], b":01030000000100\r\n");
}

#[test]
fn a_field_that_is_not_there_cannot_be_patched() {
    let refuse = |bench: &mut Bench, patch| {
        let asked = bench.client.ask(bench.now, 1, read(0, 1), SECOND, Some(Box::new(patched(patch))));
        asked.expect_err("refused").to_string()
    };
    let crc = Patch { crc: Some(1), ..Patch::default() };
    assert_eq!(refuse(&mut Bench::tcp(), crc), "a patch of `crc`: Modbus/TCP has no such field");
    assert_eq!(refuse(&mut Bench::ascii(), crc), "a patch of `crc`: an ASCII frame has no such field");
    let length = Patch { length: Some(1), ..Patch::default() };
    assert_eq!(refuse(&mut Bench::rtu(), length), "a patch of `length`: an RTU frame has no such field");
    let count = Patch { byte_count: Some(1), ..Patch::default() };
    assert_eq!(
        refuse(&mut Bench::tcp(), count),
        "a patch of `byte_count`: a request of function 0x03 has no such field"
    );
}

#[test]
fn a_raw_frame_is_sent_as_it_is_and_its_answer_is_read_off_it() {
    let mut bench = Bench::tcp();
    let frame = [0xab, 0xcd, 0, 0, 0, 3, 1, 0x41, 7];
    bench.client.raw_frame(bench.now, &frame, SECOND, Options::default()).expect("anything goes");
    bench.collect();
    assert_eq!(bench.sent[0], frame);
    bench.receive(&[0xab, 0xcd, 0, 0, 0, 3, 1, 0x41, 8]);
    assert!(
        matches!(bench.one_event(), ClientEvent::Answered(_, Response::Raw { function: 0x41, data }) if data == [8])
    );
    for mut bench in [Bench::tcp(), Bench::rtu(), Bench::ascii()] {
        for frame in [&b""[..], b"x", b":01", &[0; 300]] {
            let asked = bench.client.raw_frame(bench.now, frame, SECOND, Options::default());
            let ticket = asked.expect("anything goes");
            bench.pass(SECOND * 30);
            assert!(bench.events().iter().any(|event| event.ticket() == Some(ticket)), "{frame:?}");
        }
    }
}

#[test]
fn what_a_raw_frame_does_to_a_device_is_read_off_it() {
    let client = |bench: Bench| bench.client;
    let tcp = client(Bench::tcp());
    assert_eq!(tcp.frame_action(&[0, 1, 0, 0, 0, 6, 1, 8, 0, 1, 0, 0]), "restart");
    assert_eq!(tcp.frame_action(&[0, 1, 0, 0, 0, 6, 1, 8, 0, 4, 0, 0]), "silence");
    assert_eq!(tcp.frame_action(&[0, 1, 0, 0, 0, 6, 1, 8, 0, 0]), "write");
    assert_eq!(client(Bench::rtu()).frame_action(&[1, 8, 0, 1, 0, 0, 0xb1, 0xcb]), "restart");
    assert_eq!(client(Bench::ascii()).frame_action(b":010800040000F3\r\n"), "silence");
}

#[test]
fn a_device_that_is_told_to_listen_only_owes_no_answer_on_tcp_either_but_may_refuse() {
    let mut bench = Bench::tcp();
    let request = Request::Diagnostics { sub: 4, data: vec![0] };
    bench.client.ask(bench.now, 1, request.clone(), SECOND, None).expect("allowed");
    bench.collect();
    bench.pass(SECOND);
    assert!(matches!(bench.one_event(), ClientEvent::Broadcast(_)));
    bench.client.ask(bench.now, 1, request, SECOND, None).expect("allowed");
    bench.collect();
    let transaction = bench.sent[1][1];
    bench.receive(&[0, transaction, 0, 0, 0, 3, 1, 0x88, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Exception(_, refused) if refused.code == 1));
}

#[test]
fn a_patch_of_a_raw_frame_is_refused_and_not_forgotten() {
    let mut bench = Bench::tcp();
    let options = patched(Patch { length: Some(99), ..Patch::default() });
    let refused = bench.client.raw_frame(bench.now, &[0, 1, 0, 0, 0, 2, 1, 7], SECOND, options);
    assert_eq!(refused, Err(RequestError::PatchedFrame));
    bench.collect();
    assert!(bench.sent.is_empty());
}

#[test]
fn a_frame_can_have_any_silence_before_and_inside_it() {
    let ms = Duration::from_millis;
    let options = Options { gap_before: Some(ms(9)), split: vec![(4, ms(2)), (6, ms(3))], ..Options::default() };
    let mut bench = Bench::rtu();
    bench.client.ask(bench.now, 1, read(0, 1), SECOND, Some(Box::new(options))).expect("allowed");
    let mut out = Vec::new();
    let mut gaps = Vec::new();
    while let Some(Action::Send { range, gap_before, .. }) = bench.client.poll_action(&mut out) {
        gaps.push((range, gap_before));
    }
    assert_eq!(gaps, [(0..4, Some(ms(9))), (4..6, Some(ms(2))), (6..8, Some(ms(3)))]);
    bench.receive_frame(1, &[3, 2, 0, 4]);
    assert_eq!(bench.values().1, [4]);
    let outside = Options { split: vec![(8, ms(1))], ..Options::default() };
    let asked = bench.client.ask(bench.now, 1, read(0, 1), SECOND, Some(Box::new(outside)));
    assert_eq!(
        asked.expect_err("refused").to_string(),
        "a pause before byte 8 lies outside the frame, which has 8 bytes: 1 to 7 are inside"
    );
}

#[test]
fn requests_are_paced() {
    let pace = Duration::from_millis(50);
    for config in [Config::tcp(), Config::rtu_on(&"19200 8E1".parse().expect("valid settings"))] {
        let mut bench = Bench::new(Config { pace, ..config });
        bench.read(0, 1);
        bench.pass(Duration::from_millis(10));
        match bench.sent[0].len() {
            8 => bench.receive_frame(1, &[3, 2, 0, 1]),
            _ => bench.answer(0, &[3, 2, 0, 1]),
        }
        bench.read(0, 1);
        bench.pass(pace - Duration::from_nanos(1));
        assert_eq!(bench.sent.len(), 1);
        bench.pass(Duration::from_nanos(1));
        assert_eq!(bench.sent.len(), 2);
    }
}

#[test]
fn transaction_ids_follow_their_policy() {
    let ids = |transactions: &str| {
        let transactions = transactions.parse().expect("a policy");
        let mut bench = Bench::new(Config { transactions, ..Config::tcp() });
        for address in 0..3 {
            bench.read(address, 1);
        }
        bench.sent.iter().map(|sent| u16::from_be_bytes([sent[0], sent[1]])).collect::<Vec<u16>>()
    };
    assert_eq!(ids("sequential"), [1, 2, 3]);
    assert_eq!(ids("sequential:65535"), [65535, 0, 1]);
    assert_eq!(ids("fixed:7"), [7, 7, 7]);
    assert_eq!(ids("colliding"), [1, 1, 1]);
    for wrong in ["random", "fixed", "fixed:x", "fixed:65536", "colliding:1", "sequential:-1"] {
        let told = wrong.parse::<Transactions>().expect_err("refused");
        assert!(told.starts_with("transactions are \"sequential\"") && told.ends_with(&format!("not \"{wrong}\"")));
    }
}

#[test]
fn an_answer_to_several_requests_of_one_id_is_nobodys() {
    let mut bench = Bench::new(Config { transactions: Transactions::Colliding, ..Config::tcp() });
    let first = bench.read(0, 1);
    let second = bench.read(1, 1);
    let other = bench.read(2, 2);
    bench.answer(0, &[3, 4, 0, 1, 0, 2]);
    assert_eq!(bench.values(), (other, vec![1, 2]), "its amount of data tells it");
    for ticket in [first, second] {
        bench.answer(0, &[3, 2, 0, 9]);
        let ClientEvent::Malformed(exchange, reason) = bench.one_event() else { panic!("no data") };
        assert_eq!((exchange.ticket, reason.as_str()), (ticket, "it cannot be told which request it answers"));
        assert_eq!(exchange.doubt.as_deref(), Some("several requests in flight had the same transaction id 1"));
    }
}

#[test]
fn a_late_answer_of_a_fixed_id_is_no_data_of_the_next_request() {
    for answers in [1, 2] {
        let mut bench = Bench::new(Config { transactions: Transactions::Fixed(7), ..Config::tcp() });
        bench.read(0, 1);
        bench.pass(SECOND);
        bench.events();
        let ticket = bench.read(1, 1);
        (0..answers).for_each(|_| bench.answer(0, &[3, 2, 0, 9]));
        bench.pass(SECOND);
        let events = bench.events();
        let [ClientEvent::Late(_), ClientEvent::Malformed(exchange, _) | ClientEvent::TimedOut(exchange, _)] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert!(exchange.ticket == ticket && exchange.doubt.is_some());
    }
}

#[test]
fn retries_are_counted_shown_and_bounded() {
    for mut bench in [Bench::tcp(), Bench::rtu()] {
        let ticket = bench.ask_with(read(0, 1), retried(2));
        bench.pass(SECOND * 60);
        let events = bench.events();
        assert_eq!(bench.sent.len(), 3);
        let [ClientEvent::Retried(one), ClientEvent::Retried(two), ClientEvent::TimedOut(exchange, _)] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(one.reason, "attempt 1 of 3: it was not answered in time");
        assert_eq!(two.reason, "attempt 2 of 3: it was not answered in time");
        assert_eq!((exchange.ticket, exchange.attempts.len()), (ticket, 2));
        assert!(exchange.attempts[1].sent > exchange.attempts[0].sent && exchange.sent > exchange.attempts[1].sent);
    }
    let mut bench = Bench::rtu();
    bench.ask_with(read(0, 1), retried(1));
    bench.receive(&[1, 3, 2, 0, 4, 0xbe, 0xef]);
    bench.pass(Duration::from_millis(50));
    bench.receive_frame(1, &[3, 2, 0, 4]);
    let events = bench.events();
    let [ClientEvent::Retried(_), ClientEvent::Answered(exchange, _)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(exchange.attempts[0].answer, [1, 3, 2, 0, 4, 0xbe, 0xef]);
    assert!(exchange.attempts[0].problem.starts_with("CRC at offset 5"));
}

#[test]
fn exceptions_and_writes_are_not_asked_again() {
    let mut bench = Bench::tcp();
    bench.ask_with(read(0, 1), retried(2));
    bench.answer(0, &[0x83, 6]);
    assert!(matches!(bench.one_event(), ClientEvent::Exception(..)));
    let write = || Request::WriteSingleRegister { address: 1, value: 2 };
    bench.ask_with(write(), retried(2));
    bench.pass(SECOND * 3);
    assert!(matches!(bench.one_event(), ClientEvent::TimedOut(..)));
    bench.ask_with(write(), Options { retry_writes: true, ..retried(2) });
    bench.pass(SECOND * 3);
    assert_eq!(bench.events().len(), 3);
}
