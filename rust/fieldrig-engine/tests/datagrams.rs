//! Endpoints on UDP: each send a datagram, each datagram an input, whoever sends a connection.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::Node;
use fieldrig_proto::endpoint::{Action, Conn, How, Why};
use std::net::UdpSocket;

fn wait<R>(node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    let found = node.wait(deadline, |_, events, _| take(events, &mut pick), &mut || true);
    found.expect("the node works").expect("it happens")
}

fn datagram(node: &Node<Probe>) -> (Conn, Vec<u8>) {
    wait(node, |event| match event {
        Event::Bytes(conn, bytes, stamps) => {
            assert!(stamps.iter().all(|stamp| stamp.uncertainty() < LONG), "a stamp of its own");
            Some((*conn, bytes.clone()))
        }
        _ => None,
    })
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("an option");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 100];
    let count = socket.recv(&mut buffer).expect("a datagram");
    buffer[..count].to_vec()
}

#[test]
fn each_send_of_a_pass_is_a_datagram_of_its_own_and_so_is_each_input() {
    let rig = rig();
    let server = rig.open("server", Probe::default(), vec![bind("", url("udp-listen://127.0.0.1:0"))]).expect("bound");
    let target = url(&format!("udp://{}", server.address("").expect("an address")));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("bound");
    let send = |node: &Node<Probe>, conn: Conn| {
        node.with(|probe, _| [&b"one"[..], b"", b"three"].iter().for_each(|bytes| probe.send(conn, bytes)))
    };
    send(&client, Conn(0)).expect("the node works");
    let (conn, bytes) = datagram(&server);
    assert_eq!(bytes, b"one");
    assert_eq!(datagram(&server), (conn, b"".to_vec()));
    assert_eq!(datagram(&server), (conn, b"three".to_vec()));
    send(&server, conn).expect("the node works");
    for bytes in [&b"one"[..], b"", b"three"] {
        assert_eq!(datagram(&client).1, bytes);
    }
    rig.stop();
}

#[test]
fn whoever_sends_is_a_connection_and_gets_what_is_sent_there() {
    let rig = rig();
    let server = rig.open("server", Probe::default(), vec![bind("", url("udp-listen://127.0.0.1:0"))]).expect("bound");
    let address = server.address("").expect("an address");
    let (one, other) = (socket(), socket());
    let mut conns = Vec::new();
    for (socket, bytes) in [(&one, &b"a"[..]), (&other, b""), (&one, b"c")] {
        socket.send_to(bytes, &address).expect("sent");
        let (conn, heard) = datagram(&server);
        assert_eq!(heard, bytes);
        conns.push(conn);
    }
    assert!(conns[0] == conns[2] && conns[0] != conns[1]);
    server.with(|probe, _| probe.send(conns[1], b"to the other")).expect("the node works");
    assert_eq!(receive(&other), b"to the other");
    // A connection that was closed begins anew.
    server.with(|probe, _| probe.act(Action::Close(conns[0], How::Fin))).expect("the node works");
    one.send_to(b"again", &address).expect("sent");
    let (conn, heard) = datagram(&server);
    assert!(heard == b"again" && conn != conns[0]);
    rig.stop();
}

#[test]
fn where_nobody_hears_is_told() {
    let rig = rig();
    let free = socket().local_addr().expect("an address");
    let client = rig.open("client", Probe::default(), vec![bind("", url(&format!("udp://{free}")))]).expect("bound");
    client.with(|probe, _| probe.send(Conn(0), b"hello")).expect("the node works");
    let why = wait(&client, |event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    });
    assert!(matches!(why, Why::Refused { reason, .. } if reason.contains("nobody takes datagrams there")));
    rig.stop();
}

#[test]
fn two_cannot_be_bound_to_one_address() {
    let rig = rig();
    let server = rig.open("server", Probe::default(), vec![bind("", url("udp-listen://127.0.0.1:0"))]).expect("bound");
    let taken = url(&format!("udp-listen://{}", server.address("").expect("an address")));
    let error = rig.open("other", Probe::default(), vec![bind("", taken)]).expect_err("refused").to_string();
    assert!(error.contains("the address is in use"), "{error}");
    rig.stop();
}
