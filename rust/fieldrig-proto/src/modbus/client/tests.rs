//! The client against a scripted server: the requirement rows CLI-01 to CLI-36 that do not need a real machine.

mod asking;
mod echo;
mod judging;

use super::*;
use crate::endpoint::{Peer, Stamps};
use crate::line::LineSettings;
use crate::modbus::pdu::Exception;
use crate::modbus::rtu;

const CONN: Conn = Conn(1);
const SECOND: Duration = Duration::from_secs(1);

/// A client with the other end in the hands of the test.
struct Bench {
    client: Client,
    now: Time,
    sent: Vec<Vec<u8>>,
    actions: Vec<Action>,
}

impl Bench {
    fn new(config: Config) -> Bench {
        let mut bench =
            Bench { client: Client::new(config), now: Time::from_nanos(1), sent: Vec::new(), actions: Vec::new() };
        bench.client.handle(bench.now, Input::Opened(CONN, &Peer::default()));
        assert!(matches!(bench.events()[..], [ClientEvent::Connected(_)]));
        bench
    }

    fn tcp() -> Bench {
        Bench::new(Config::tcp())
    }

    fn rtu() -> Bench {
        let line: LineSettings = "19200 8E1".parse().expect("valid settings");
        Bench::new(Config::rtu_on(&line))
    }

    fn ascii() -> Bench {
        Bench::new(Config::ascii(crate::modbus::ascii::Rules::unpaced()))
    }

    fn ask_with(&mut self, request: Request, options: Options) -> Ticket {
        let asked = self.client.ask(self.now, 1, request, SECOND, Some(Box::new(options)));
        self.collect();
        asked.expect("a request that may be sent")
    }

    fn ask(&mut self, unit: u8, request: Request) -> Ticket {
        let ticket = self.client.request(self.now, unit, request, SECOND).expect("a request that may be sent");
        self.collect();
        ticket
    }

    fn read(&mut self, address: u16, quantity: u16) -> Ticket {
        self.ask(1, Request::ReadHoldingRegisters { address, quantity })
    }

    fn collect(&mut self) {
        let mut out = Vec::new();
        while let Some(action) = self.client.poll_action(&mut out) {
            match action {
                Action::Send { range, .. } => self.sent.push(out[range].to_vec()),
                other => self.actions.push(other),
            }
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.handle(self.now, Input::Bytes(CONN, bytes, Stamps::One(Stamp::exact(self.now))));
        self.collect();
    }

    /// Answers the TCP request `index` with this PDU.
    fn answer(&mut self, index: usize, pdu: &[u8]) {
        let adu = self.adu_for(index, pdu);
        self.receive(&adu);
    }

    fn adu_for(&self, index: usize, pdu: &[u8]) -> Vec<u8> {
        let view = tcp::View(&self.sent[index]);
        let mut adu = Vec::new();
        let (transaction, unit) = (view.transaction().expect("sent"), view.unit().expect("sent"));
        tcp::Adu::new(transaction, unit, pdu).encode(&mut adu);
        adu
    }

    fn receive_frame(&mut self, unit: u8, pdu: &[u8]) {
        let mut frame = Vec::new();
        rtu::Adu::new(unit, pdu).encode(&mut frame);
        self.receive(&frame);
    }

    /// Lets time pass, stopping wherever the client wants to be called.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.client.handle_timeout(self.now);
            self.collect();
            assert!(self.client.poll_timeout().is_none_or(|next| next > self.now), "no progress at {}", self.now);
        }
        self.now = end;
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn one_event(&mut self) -> ClientEvent {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn values(&mut self) -> (Ticket, Vec<u16>) {
        match self.one_event() {
            ClientEvent::Answered(exchange, Response::Registers { values, .. }) => (exchange.ticket, values),
            other => panic!("registers, not {other:?}"),
        }
    }

    fn malformed(&mut self) -> String {
        match self.one_event() {
            ClientEvent::Malformed(_, reason) => reason,
            other => panic!("malformed, not {other:?}"),
        }
    }
}

#[test]
fn an_answer_ends_its_request_with_bytes_and_instants() {
    let mut bench = Bench::tcp();
    let ticket = bench.read(2, 2);
    assert_eq!(bench.sent, [[0, 1, 0, 0, 0, 6, 1, 3, 0, 2, 0, 2]]);
    let sent_at = bench.now;
    bench.pass(Duration::from_millis(5));
    bench.answer(0, &[3, 4, 0, 7, 1, 0]);
    let ClientEvent::Answered(exchange, response) = bench.one_event() else { panic!("answered") };
    assert_eq!(response, Response::Registers { function: 3, values: vec![7, 256] });
    assert_eq!((exchange.ticket, exchange.sent), (ticket, Some(sent_at)));
    assert_eq!(exchange.at, Stamp::exact(bench.now));
    assert_eq!(exchange.request, bench.sent[0]);
    assert_eq!(exchange.answer, [0, 1, 0, 0, 0, 7, 1, 3, 4, 0, 7, 1, 0]);
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn answers_out_of_order_reach_their_own_requests() {
    let mut bench = Bench::tcp();
    let tickets: Vec<Ticket> = (0..3).map(|address| bench.read(address, 1)).collect();
    assert_eq!(bench.sent.len(), 3);
    for index in [2, 0, 1] {
        bench.answer(index, &[3, 2, 0, index as u8]);
        assert_eq!(bench.values(), (tickets[index], vec![index as u16]));
    }
}

#[test]
fn no_more_requests_fly_than_allowed() {
    let mut bench = Bench::new(Config { in_flight: 2, ..Config::tcp() });
    for address in 0..3 {
        bench.read(address, 1);
    }
    assert_eq!((bench.sent.len(), bench.client.pending()), (2, 3));
    bench.answer(0, &[3, 2, 0, 0]);
    assert_eq!((bench.sent.len(), bench.client.pending()), (3, 2));
}

#[test]
fn an_answer_one_byte_at_a_time_is_whole() {
    let mut bench = Bench::tcp();
    bench.read(0, 1);
    for byte in bench.adu_for(0, &[3, 2, 0, 9]) {
        assert_eq!(bench.events(), []);
        bench.receive(&[byte]);
    }
    assert_eq!(bench.values().1, [9]);
}

#[test]
fn unasked_second_and_late_answers_are_events_not_data() {
    let mut bench = Bench::tcp();
    bench.read(0, 1);
    bench.receive(&[0x77, 0x77, 0, 0, 0, 5, 1, 3, 2, 0, 1]);
    assert!(
        matches!(bench.one_event(), ClientEvent::Unsolicited(stray) if stray.reason == "no request has transaction 30583")
    );
    bench.answer(0, &[3, 2, 0, 5]);
    assert_eq!(bench.values().1, [5]);
    bench.answer(0, &[3, 2, 0, 6]);
    assert!(matches!(bench.one_event(), ClientEvent::Duplicate(_)));

    let old = bench.read(0, 1);
    bench.pass(SECOND);
    assert!(matches!(bench.one_event(), ClientEvent::TimedOut(exchange, SECOND) if exchange.ticket == old));
    let new = bench.read(0, 1);
    bench.answer(1, &[3, 2, 0, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
    bench.answer(2, &[3, 2, 0, 2]);
    assert_eq!(bench.values(), (new, vec![2]));
}

#[test]
fn what_is_not_the_answer_is_malformed_and_says_why() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&[u8], Spoil, &str); 9] = [
        (&[3, 4, 0, 1, 0, 2], |adu| adu[3] = 1, "protocol id at offset 2 is 0x0001, 0 is Modbus"),
        (&[3, 4, 0, 1, 0, 2], |adu| adu[6] = 2, "unit id at offset 6 is 2, 1 was asked"),
        (&[4, 4, 0, 1, 0, 2], |_| (), "PDU from offset 7: function at offset 0 is 0x04, 0x03 was asked"),
        (&[0x84, 2], |_| (), "PDU from offset 7: function at offset 0 is 0x84, 0x03 was asked"),
        (&[3, 6, 0, 1, 0, 2], |_| (), "PDU from offset 7: byte count at offset 1 says 6, 4 bytes follow"),
        (&[3, 2, 0, 1], |_| (), "PDU from offset 7: byte count at offset 1 says 2, the 2 items asked for take 4"),
        (
            &[3, 5, 0, 1, 0, 2, 0],
            |_| (),
            "PDU from offset 7: byte count at offset 1 says 5: registers take two bytes each",
        ),
        (&[], |_| (), "PDU from offset 7: the PDU is empty"),
        (&[3, 4, 0, 1, 0, 2], |adu| adu[4] = 9, "length at offset 4 is 2311, 1 to 254 are allowed"),
    ];
    for (pdu, spoil, reason) in cases {
        let mut bench = Bench::tcp();
        bench.read(0, 2);
        let mut adu = bench.adu_for(0, pdu);
        spoil(&mut adu);
        bench.receive(&adu);
        let told = bench.events().into_iter().find_map(|event| match event {
            ClientEvent::Malformed(_, reason) => Some(reason),
            _ => None,
        });
        assert_eq!(told.as_deref(), Some(reason));
    }
}

#[test]
fn after_an_answer_with_a_short_length_the_next_request_works() {
    let mut bench = Bench::tcp();
    bench.read(0, 2);
    let mut adu = bench.adu_for(0, &[3, 4, 0, 1, 0, 2]);
    adu[5] -= 3;
    bench.receive(&adu);
    assert_eq!(bench.malformed(), "PDU from offset 7: byte count at offset 1 says 4, 1 bytes follow");
    bench.read(0, 1);
    assert!(matches!(bench.one_event(), ClientEvent::Unsolicited(stray) if stray.bytes == [1, 0, 2]));
    bench.answer(1, &[3, 2, 0, 3]);
    assert_eq!(bench.values().1, [3]);
}

#[test]
fn exceptions_keep_their_code() {
    for code in [1, 2, 3, 4, 5, 6, 0x0b, 0x63] {
        let mut bench = Bench::tcp();
        bench.read(0, 1);
        bench.answer(0, &[0x83, code]);
        assert!(matches!(bench.one_event(), ClientEvent::Exception(_, e) if e == Exception { function: 3, code }));
    }
}

#[test]
fn a_lost_connection_ends_every_request() {
    let mut bench = Bench::tcp();
    let first = bench.read(0, 1);
    bench.client.handle(bench.now, Input::Closed(CONN, Why::Reset));
    let events = bench.events();
    assert!(
        matches!(&events[..], [ClientEvent::Lost(e, Why::Reset), ClientEvent::Disconnected(..)] if e.ticket == first)
    );
    bench.read(0, 1);
    assert!(matches!(bench.one_event(), ClientEvent::Lost(_, Why::Reset)));
}

#[test]
fn a_server_that_speaks_something_else_is_told_by_its_bytes() {
    let greeting = b"220 mail ready\r\n";
    let mut bench = Bench::tcp();
    bench.read(0, 1);
    bench.receive(greeting);
    let reason = "what came cannot be read as Modbus/TCP: length at offset 4 is 28001, 1 to 254 are allowed";
    let is_told =
        |event: &ClientEvent| matches!(event, ClientEvent::Malformed(e, r) if e.answer == greeting && r == reason);
    assert!(bench.events().iter().any(is_told));
    bench.read(0, 1);
    assert!(is_told(&bench.one_event()));
}

#[test]
fn a_client_that_may_reconnect_does_so_when_asked() {
    let target = crate::endpoint::Target { via: "port".into(), url: "tcp://127.0.0.1:502".into() };
    let mut bench = Bench::new(Config { reconnect: Some(target.clone()), ..Config::tcp() });
    bench.client.handle(bench.now, Input::Closed(CONN, Why::Finished));
    bench.collect();
    assert_eq!(bench.actions, [Action::Close(CONN, How::Fin)]);
    bench.events();
    bench.read(0, 1);
    assert_eq!(bench.actions[1..], [Action::Connect(target)]);
    assert!(bench.sent.is_empty());
    bench.client.handle(
        bench.now,
        Input::Closed(Conn(2), Why::Refused { via: "port".into(), reason: "nobody listens".into(), untrusted: false }),
    );
    let events = bench.events();
    assert!(
        matches!(&events[..], [ClientEvent::Lost(_, Why::Refused { .. }), ClientEvent::Disconnected(..)]),
        "{events:?}"
    );
}

#[test]
fn without_a_connection_the_time_out_counts_from_the_call() {
    let mut client = Client::new(Config::tcp());
    let ticket = client
        .request(Time::ZERO, 1, Request::ReadCoils { address: 0, quantity: 1 }, SECOND)
        .expect("a request that may be sent");
    assert_eq!(client.poll_timeout(), Some(Time::ZERO + SECOND));
    client.handle_timeout(Time::ZERO + SECOND);
    assert!(matches!(client.poll_event(), Some(ClientEvent::Lost(e, _)) if e.ticket == ticket && e.sent.is_none()));
}

#[test]
fn what_may_not_be_asked_is_refused_before_it_is_sent() {
    let mut bench = Bench::tcp();
    let mut refuse =
        |unit, request| bench.client.request(bench.now, unit, request, SECOND).expect_err("refused").to_string();
    assert_eq!(
        refuse(1, Request::ReadHoldingRegisters { address: 0, quantity: 126 }),
        "the quantity is 126, function 0x03 allows 1 to 125; to send it on purpose, send it as a raw PDU"
    );
    assert!(refuse(1, Request::ReadHoldingRegisters { address: 0xffff, quantity: 2 }).contains("end beyond 0xffff"));
    let mut line = Bench::rtu();
    let mut refuse = |unit, request| line.client.request(line.now, unit, request, SECOND);
    let read = Request::ReadCoils { address: 0, quantity: 1 };
    assert_eq!(refuse(0, read.clone()), Err(RequestError::BroadcastRead { function: 1 }));
    assert_eq!(refuse(248, read), Err(RequestError::ReservedUnit { unit: 248 }));
    assert!(refuse(248, Request::raw(&[1, 0, 0, 0, 1])).is_ok());
}

#[test]
fn transaction_ids_wrap_and_avoid_those_that_may_still_be_answered() {
    let mut bench = Bench::tcp();
    bench.client.set_next_transaction(0xffff);
    bench.read(0, 1);
    bench.read(0, 1);
    assert_eq!((bench.sent[0][..2].to_vec(), bench.sent[1][..2].to_vec()), (vec![0xff, 0xff], vec![0, 0]));
    bench.pass(SECOND);
    bench.client.set_next_transaction(0xffff);
    bench.read(0, 1);
    assert_eq!(bench.sent[2][..2], [0, 1]);
}

#[test]
fn a_cancelled_request_is_silent_and_its_answer_late() {
    let mut bench = Bench::tcp();
    let ticket = bench.read(0, 1);
    bench.client.cancel(bench.now, ticket);
    assert_eq!(bench.events(), []);
    bench.answer(0, &[3, 2, 0, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
}

#[test]
fn a_line_has_one_request_at_a_time_and_silence_before_it() {
    let mut bench = Bench::rtu();
    bench.client.request(bench.now, 1, Request::ReadCoils { address: 0, quantity: 1 }, SECOND).expect("allowed");
    let mut out = Vec::new();
    let action = bench.client.poll_action(&mut out).expect("a send");
    assert!(matches!(action, Action::Send { gap_before: Some(gap), .. } if gap == Duration::from_nanos(2_005_208)));
    bench.read(0, 1);
    assert!(bench.sent.is_empty(), "the second request waits");
    bench.receive_frame(1, &[1, 1, 1]);
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn frames_of_others_and_noise_are_stray_and_a_wrong_crc_is_malformed() {
    let mut bench = Bench::rtu();
    let ticket = bench.read(0, 1);
    bench.receive_frame(2, &[3, 2, 0, 1]);
    assert!(
        matches!(bench.one_event(), ClientEvent::Unsolicited(s) if s.reason == "unit id at offset 0 is 2, 1 was asked")
    );
    bench.receive(&[0xff]);
    bench.pass(Duration::from_millis(50));
    assert!(matches!(bench.one_event(), ClientEvent::Unsolicited(_)));
    bench.receive_frame(1, &[3, 2, 0, 4]);
    assert_eq!(bench.values(), (ticket, vec![4]));

    bench.read(0, 1);
    bench.receive(&[1, 3, 2, 0, 4, 0xbe, 0xef]);
    bench.pass(Duration::from_millis(50));
    assert_eq!(bench.malformed(), "CRC at offset 5 is 0xefbe, the bytes before it give 0x87b9");
}

#[test]
fn a_late_answer_on_a_line_is_not_taken_for_the_next() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(SECOND);
    assert!(matches!(bench.one_event(), ClientEvent::TimedOut(..)));
    let ticket = bench.read(1, 1);
    bench.pass(SECOND - Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 1, "the unit may be busy");
    bench.receive_frame(1, &[3, 2, 0, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.sent.len(), 2);
    bench.receive_frame(1, &[3, 2, 0, 2]);
    assert_eq!(bench.values(), (ticket, vec![2]));
}

#[test]
fn a_read_that_meets_what_may_be_a_late_answer_is_asked_again_when_nothing_is_owed() {
    // The late answer, and the one to the read.
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(SECOND);
    let ticket = bench.read(1, 1);
    bench.pass(SECOND + Duration::from_millis(50));
    assert_eq!(bench.sent.len(), 2);
    bench.events();
    for late in [1, 2] {
        bench.receive_frame(1, &[3, 2, 0, late]);
        assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
    }
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.sent.len(), 3, "both came: nothing is owed any more");
    bench.receive_frame(1, &[3, 2, 0, 2]);
    assert_eq!(bench.values(), (ticket, vec![2]));

    // A device that did not hear the first one: a second answer may come as long as it is believed to.
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(SECOND);
    let ticket = bench.read(1, 1);
    bench.pass(SECOND);
    bench.events();
    bench.receive_frame(1, &[3, 2, 0, 2]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
    bench.pass(SECOND * 11 - Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 2);
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.sent[2], bench.sent[1]);
    bench.receive_frame(1, &[3, 2, 0, 3]);
    assert_eq!(bench.values(), (ticket, vec![3]));
}

#[test]
fn what_can_cause_behaviour_waits_for_a_late_answer_instead_of_being_sent_twice() {
    let mut bench = Bench::rtu();
    let write = |value| Request::WriteSingleRegister { address: 1, value };
    bench.ask(1, write(1));
    bench.pass(SECOND);
    bench.events();
    let ticket = bench.ask(1, write(1));
    bench.pass(SECOND * 10 - Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 1);
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 2);
    bench.receive_frame(1, &[6, 0, 1, 0, 1]);
    assert!(matches!(bench.one_event(), ClientEvent::Answered(exchange, _) if exchange.ticket == ticket));
}

#[test]
fn a_late_answer_of_another_function_is_told_by_its_function() {
    let mut bench = Bench::rtu();
    bench.read(0, 2);
    bench.pass(SECOND);
    bench.events();
    let ticket = bench.ask(1, Request::ReadInputRegisters { address: 0, quantity: 2 });
    bench.pass(SECOND - Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 1, "the unit may be busy");
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.sent.len(), 2);
    bench.receive_frame(1, &[0x83, 2]);
    assert!(matches!(bench.one_event(), ClientEvent::Late(_)));
    bench.receive_frame(1, &[4, 4, 0, 2, 0, 3]);
    assert_eq!(bench.values(), (ticket, vec![2, 3]));
}

#[test]
fn a_unit_that_owes_an_answer_does_not_hold_up_the_others() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(SECOND);
    bench.events();
    bench.read(0, 1);
    bench.ask(2, Request::ReadHoldingRegisters { address: 0, quantity: 1 });
    assert_eq!(bench.sent.len(), 1, "after a silence the line is left quiet");
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.sent.last().map(|sent| sent[0]), Some(2));
    bench.receive(&[2, 3, 2, 0, 4, 0xbe, 0xef]);
    bench.pass(Duration::from_millis(50));
    let ClientEvent::Malformed(exchange, _) = bench.one_event() else { panic!("malformed") };
    let doubt =
        "unit 1 did not answer a request of function 0x03 in time before: its late answer may have run into this one";
    assert_eq!(exchange.doubt.as_deref(), Some(doubt));
    bench.ask(2, Request::ReadHoldingRegisters { address: 0, quantity: 1 });
    bench.receive_frame(1, &[3, 2, 0, 1]);
    bench.pass(SECOND);
    let [ClientEvent::Late(_), ClientEvent::TimedOut(exchange, _)] = &bench.events()[..] else { panic!("two events") };
    let doubt = "a late answer of unit 1 to function 0x03 came over this exchange";
    assert_eq!(exchange.doubt.as_deref(), Some(doubt));
}

#[test]
fn a_babbling_line_does_not_stop_the_next_request_for_ever() {
    let mut bench = Bench::rtu();
    bench.read(0, 1);
    bench.pass(SECOND);
    bench.ask(2, Request::ReadCoils { address: 0, quantity: 1 });
    for _ in 0..49 {
        bench.receive_frame(9, &[0x83, 2]);
        bench.pass(Duration::from_millis(10));
    }
    assert_eq!(bench.sent.len(), 1);
    bench.pass(Duration::from_millis(10));
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn a_broadcast_is_not_answered_and_is_followed_by_quiet() {
    let mut bench = Bench::rtu();
    let ticket = bench.ask(0, Request::WriteSingleRegister { address: 1, value: 2 });
    assert!(matches!(bench.one_event(), ClientEvent::Broadcast(e) if e.ticket == ticket));
    bench.read(0, 1);
    assert_eq!(bench.sent.len(), 1);
    // SL 2.4.1: counted from the end of the broadcast: t3.5 before it (2.0 ms), its 8 characters (4.6 ms), then 100 ms.
    bench.pass(Duration::from_millis(106));
    assert_eq!(bench.sent.len(), 1);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn a_local_echo_is_stripped_when_configured_and_told_when_not() {
    let line: LineSettings = "19200 8E1".parse().expect("valid settings");
    let mut bench = Bench::new(Config { local_echo: true, ..Config::rtu_on(&line) });
    bench.ask(1, Request::WriteSingleRegister { address: 1, value: 2 });
    let echo = bench.sent[0].clone();
    bench.receive(&echo[..3]);
    bench.receive(&[&echo[3..], &echo[..]].concat());
    assert!(matches!(bench.one_event(), ClientEvent::Answered(..)));

    let mut bench = Bench::rtu();
    bench.read(0, 1);
    let echo = bench.sent[0].clone();
    bench.receive(&echo);
    bench.pass(Duration::from_millis(50));
    assert!(bench.malformed().contains("local echo"));
}

#[test]
fn a_custom_answer_ends_by_silence() {
    let mut bench = Bench::rtu();
    bench.ask(1, Request::raw(&[0x41, 7]));
    let mut frame = Vec::new();
    rtu::Adu::new(1, &[0x41, 1, 2, 3, 4, 5]).encode(&mut frame);
    bench.receive(&frame[..4]);
    bench.pass(Duration::from_millis(15));
    bench.receive(&frame[4..]);
    assert_eq!(bench.events(), []);
    bench.pass(Duration::from_millis(50));
    let ClientEvent::Answered(_, response) = bench.one_event() else { panic!("answered") };
    assert_eq!(response, Response::Raw { function: 0x41, data: vec![1, 2, 3, 4, 5] });
}

#[test]
fn events_become_records_with_their_bytes() {
    let mut bench = Bench::tcp();
    bench.read(0, 1);
    bench.answer(0, &[0x83, 2]);
    let record = crate::record::Record::from(bench.one_event());
    assert_eq!(record.kind, "modbus.exception");
    assert_eq!(record.field("code").and_then(crate::record::Value::as_i64), Some(2));
}
