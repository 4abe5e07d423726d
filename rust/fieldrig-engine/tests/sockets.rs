//! Endpoints on real sockets: connections, ends, back-pressure, stamps, errors.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::{EngineError, Node};
use fieldrig_proto::endpoint::Conn;

fn go_on() -> impl FnMut() -> bool {
    || true
}

/// Waits for so many bytes on a connection and gives them.
fn receive(node: &Node<Probe>, count: usize) -> Vec<u8> {
    let mut found = Vec::new();
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    node.wait(
        deadline,
        |_, events, _| {
            while let Some(bytes) = take(events, |event| match event {
                Event::Bytes(_, bytes, _) => Some(bytes.clone()),
                _ => None,
            }) {
                found.extend(bytes);
            }
            (found.len() >= count).then_some(())
        },
        &mut go_on(),
    )
    .expect("the node works")
    .expect("the bytes came");
    found
}

#[test]
fn a_caller_drives_a_request_and_its_answer() {
    let rig = rig();
    let server = rig.open("server", Probe::echo(), vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let address = server.address("").expect("an address");
    let client =
        rig.open("client", Probe::default(), vec![bind("", url(&format!("tcp://{address}")))]).expect("connects");
    for round in 0..100u8 {
        let called = client
            .call(
                |probe, _| -> Result<(), ()> {
                    probe.send(Conn(0), &[round; 12]);
                    Ok(())
                },
                LONG,
                |(), _, events, _| {
                    take(events, |event| match event {
                        Event::Bytes(_, bytes, stamps) => Some((bytes.clone(), stamps.clone())),
                        _ => None,
                    })
                },
                &mut go_on(),
            )
            .expect("the node works")
            .expect("the command is fine");
        let (bytes, stamps) = called.outcome.expect("an answer");
        assert_eq!(bytes, [round; 12]);
        let sent = called.sent.and_then(|sent| sent.at()).expect("it was sent");
        assert!(stamps[11].latest() >= sent.earliest(), "an answer does not come before its request");
    }
    rig.stop();
}

#[test]
fn a_refused_connection_says_so_with_a_hint() {
    let rig = rig();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
    let result = rig.open("client", Probe::default(), vec![bind("", url(&format!("tcp://{free}")))]);
    match result {
        Err(EngineError::Port { url, what, hint }) => {
            assert_eq!(url, format!("tcp://{free}"));
            assert_eq!(what, "connection refused");
            assert!(hint.is_some_and(|hint| hint.contains("listens")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_half_closed_connection_still_carries_the_answer() {
    use fieldrig_proto::endpoint::{Action, How};
    let rig = rig();
    let server = Probe { on_finished: None, ..Probe::echo() };
    let server = rig.open("server", server, vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let address = server.address("").expect("an address");
    let client =
        rig.open("client", Probe::default(), vec![bind("", url(&format!("tcp://{address}")))]).expect("connects");
    let big = vec![7u8; 300_000];
    client
        .with(|probe, _| {
            probe.send(Conn(0), &big);
            probe.act(Action::Close(Conn(0), How::HalfOpen));
        })
        .expect("the node works");
    assert_eq!(receive(&client, big.len()), big);
    rig.stop();
}
