//! The Modbus client on a line with ASCII frames, against a scripted device and the emulated one, on virtual time.

mod common;

use common::{Node, Path, Peer, World, ms, secs};
use fieldrig_proto::device::{Device, NoModel, PointStore};
use fieldrig_proto::modbus::client::{Client, ClientEvent, Config, Ticket};
use fieldrig_proto::modbus::pdu::{Request, Response};
use fieldrig_proto::modbus::{ASCII, ascii};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::Value;

const LINE: &str = "9600 7E1";
const ANSWER: &[u8] = b":0103020007F3\r\n";

fn rules() -> ascii::Rules {
    ascii::Rules::tolerant(&LINE.parse().expect("valid settings"))
}

fn ask(client: &Node<Client>, request: Request) -> Ticket {
    client.with(|client, now| client.request(now, 1, request, secs(3))).expect("a request that may be sent")
}

fn read() -> Request {
    Request::ReadHoldingRegisters { address: 0, quantity: 1 }
}

fn end(client: &Node<Client>, ticket: Ticket) -> ClientEvent {
    client.wait(secs(30), |_, events| {
        let index = events.iter().position(|event| event.ticket() == Some(ticket))?;
        events.remove(index)
    })
}

fn with_peer(rules: ascii::Rules) -> (World, Node<Client>, Peer) {
    let world = World::new();
    let client = world.add("client", Client::new(Config::ascii(rules)));
    let peer = world.peer("device");
    peer.join(&client, "modbus", &Path::wire(LINE));
    world.run_for(ms(10));
    client.events();
    (world, client, peer)
}

#[test]
fn a_frame_that_another_one_begins_in_is_dropped_and_the_other_one_counts() {
    let (_world, client, peer) = with_peer(rules());
    let ticket = ask(&client, read());
    assert_eq!(peer.receive(17), b":010300000001FB\r\n");
    peer.send([b"\xff#:0103", ANSWER].concat());
    let event = end(&client, ticket);
    assert!(
        matches!(&event, ClientEvent::Answered(exchange, Response::Registers { values, .. })
            if values == &[7] && exchange.answer == ANSWER),
        "{event:?}"
    );
    let told: Vec<String> = client
        .events()
        .into_iter()
        .map(|event| match event {
            ClientEvent::Unsolicited(stray) => stray.reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("noise; character at offset 0 is ff"), "{told:?}");
    assert!(told[1].starts_with("another frame began inside it; the end is missing"), "{told:?}");
}

#[test]
fn what_comes_instead_of_the_answer_is_told_with_its_place() {
    for (answer, reason) in [
        (&b":0103020007F4\r\n"[..], "LRC at offset 11 is 0xf4, the octets before it give 0xf3"),
        (b":0103020007F3\n", "the end is missing: CR (0d) and LF (0a)"),
        (b":01030200a7F3\r\n", "digit at offset 9 is `a` (61), in lower case"),
        (b":01030200 7F3\r\n", "character at offset 9 is 20, 0 to 9 and A to F are allowed"),
        (b":0103020007F\r\n", "11 digits between `:` and CR, two make an octet"),
        (b":010304000707EA\r\n", "PDU from offset 3: "),
    ] {
        let (_world, client, peer) = with_peer(rules());
        let ticket = ask(&client, read());
        peer.receive(17);
        peer.send(answer);
        match end(&client, ticket) {
            ClientEvent::Malformed(_, told) => assert!(told.starts_with(reason), "{told}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    // Units of others are stray; digits in lower case are read where that is wanted.
    let (_world, client, peer) = with_peer(ascii::Rules { lower_case: true, ..rules() });
    let ticket = ask(&client, read());
    peer.receive(17);
    peer.send([b":0203020007F2\r\n", &ANSWER.to_ascii_lowercase()[..]].concat());
    assert!(matches!(end(&client, ticket), ClientEvent::Answered(..)));
    assert!(matches!(&client.events()[..], [ClientEvent::Unsolicited(stray)]
        if stray.reason == "unit id at offset 1 is 2, 1 was asked"));
}

#[test]
fn an_answer_may_take_a_second_between_two_characters_and_no_longer() {
    for (pause, answered) in [(ms(990), true), (ms(1_200), false)] {
        let (_world, client, peer) = with_peer(rules());
        let ticket = ask(&client, read());
        peer.receive(17);
        peer.send(&ANSWER[..6]);
        peer.send_timed(&ANSWER[6..], None, Some(pause));
        let event = end(&client, ticket);
        assert_eq!(matches!(event, ClientEvent::Answered(..)), answered, "{event:?}");
        assert!(answered || matches!(event, ClientEvent::Malformed(_, reason) if reason.contains("of silence before")));
    }
}

#[test]
fn the_delimiter_follows_the_requests_that_change_it() {
    let world = World::new();
    let settings: Vec<(String, Value)> = vec![
        ("unit".into(), Value::Int(1)),
        ("holding".into(), Value::List(vec![Value::Int(7)])),
        ("line".into(), LINE.into()),
    ];
    let constructor = ASCII.constructor(Role::Device).expect("Modbus has devices");
    let Ok(Built::Face(face)) = (constructor.build)("bus", &settings) else { panic!("these settings make a face") };
    let device = world.add("meter", Device::new("meter", PointStore::default(), Box::new(NoModel), vec![face]));
    device.with(|device, now| device.power_on(now));
    let client = world.add("client", Client::new(Config::ascii(rules())));
    world.join(&client, "modbus", &device, "bus", &Path::wire(LINE));
    world.run_for(ms(10));
    let answer = |request: Request| match end(&client, ask(&client, request)) {
        ClientEvent::Answered(exchange, _) => exchange,
        other => panic!("{other:?}\n{}", world.journal()),
    };
    answer(Request::raw(&[8, 0, 3, b'%', 0]));
    let exchange = answer(read());
    assert_eq!((exchange.request.last(), exchange.answer.last()), (Some(&b'%'), Some(&b'%')));
    answer(Request::raw(&[8, 0, 1, 0, 0]));
    assert_eq!(answer(read()).answer, ANSWER);
}
