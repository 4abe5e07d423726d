//! Serial lines over Telnet (RFC 2217): our client against our server, and against servers that refuse.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::Node;
use fieldrig_proto::endpoint::{Action, Conn, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn wait<R>(node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    let found = node.wait(deadline, |_, events, _| take(events, &mut pick), &mut || true);
    found.expect("the node works").expect("it happens")
}

fn line_event(node: &Node<Probe>, wanted: &LineEvent) {
    wait(node, |event| matches!(event, Event::Line(_, found) if found == wanted).then_some(()));
}

fn opened(node: &Node<Probe>) -> Conn {
    wait(node, |event| match event {
        Event::Opened(conn, _) => Some(*conn),
        _ => None,
    })
}

fn receive(node: &Node<Probe>, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let part = wait(node, |event| match event {
            Event::Bytes(_, bytes, stamps) => {
                assert!(stamps.iter().all(|stamp| stamp.earliest() <= stamp.latest()));
                Some(bytes.clone())
            }
            _ => None,
        });
        all.extend(part);
    }
    all
}

#[test]
fn bytes_settings_breaks_and_modem_lines_go_both_ways() {
    let rig = rig();
    let listen = url("rfc2217-listen://127.0.0.1:0?line=9600+8N1&mismatch=told");
    let server = rig.open("server", Probe::default(), vec![bind("", listen)]).expect("listens");
    let target = url(&format!("rfc2217://{}?line=19200+7E1", server.address("").expect("an address")));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    let conn = opened(&server);
    // Speed, data bits and parity differ, one after the other.
    line_event(&server, &LineEvent::Settings("19200 7E1".parse().expect("valid settings")));
    let all: Vec<u8> = (0..=255).chain([0xff; 3]).collect();
    client.with(|probe, _| probe.send(Conn(0), &all)).expect("the node works");
    assert_eq!(receive(&server, all.len()), all);
    server.with(|probe, _| probe.send(conn, &all)).expect("the node works");
    assert_eq!(receive(&client, all.len()), all);
    let act = |node: &Node<Probe>, conn, command| {
        node.with(|probe, _| probe.act(Action::SetLine(conn, command))).expect("the node works");
    };
    act(&client, Conn(0), LineCommand::Break(common::LONG / 1000));
    line_event(&server, &LineEvent::Break);
    act(&client, Conn(0), LineCommand::Rts(false));
    line_event(&server, &LineEvent::Modem { cts: false, dsr: true, ri: false, dcd: true });
    act(&server, conn, LineCommand::Break(common::LONG / 1000));
    line_event(&client, &LineEvent::Break);
    act(&server, conn, LineCommand::Dtr(false));
    line_event(&client, &LineEvent::Modem { cts: true, dsr: false, ri: false, dcd: false });
    act(&client, Conn(0), LineCommand::Settings("300 8O2".parse().expect("valid settings")));
    line_event(&server, &LineEvent::Settings("300 8O2".parse().expect("valid settings")));
    client.close();
    let why = wait(&server, |event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why, Why::HungUp);
    rig.stop();
}

#[test]
fn a_client_is_told_how_the_modem_lines_stand() {
    let rig = rig();
    let listen = url("rfc2217-listen://127.0.0.1:0");
    let server = rig.open("server", Probe::default(), vec![bind("", listen)]).expect("listens");
    let mut client = TcpStream::connect(server.address("").expect("an address")).expect("a connection");
    client.set_read_timeout(Some(LONG)).expect("an option");
    client.write_all(&[255, 251, 44]).expect("sent");
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(&[255, 250, 44, 107, 0xb0, 255, 240]) {
        client.read_exact(&mut byte).expect("it comes");
        heard.extend(byte);
    }
    rig.stop();
}

#[test]
fn a_client_at_another_speed_gets_and_gives_garbage_until_it_is_set_right() {
    let rig = rig();
    let listen = url("rfc2217-listen://127.0.0.1:0?line=9600+8E1&modem=loop");
    let server = rig.open("server", Probe::default(), vec![bind("", listen)]).expect("listens");
    let target = url(&format!("rfc2217://{}?line=9600+8O1", server.address("").expect("an address")));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    let conn = opened(&server);
    // Each byte comes with the wrong parity: it is told before it.
    client.with(|probe, _| probe.send(Conn(0), b"a")).expect("the node works");
    line_event(&server, &LineEvent::Parity);
    assert_eq!(receive(&server, 1), b"a");
    server.with(|probe, _| probe.send(conn, b"b")).expect("the node works");
    line_event(&client, &LineEvent::Parity);
    assert_eq!(receive(&client, 1), b"b");
    let act = |node: &Node<Probe>, conn, command| {
        node.with(|probe, _| probe.act(Action::SetLine(conn, command))).expect("the node works");
    };
    let set = |text: &str| LineCommand::Settings(text.parse().expect("valid settings"));
    act(&client, Conn(0), set("115200 8E1"));
    line_event(&server, &LineEvent::Settings("115200 8E1".parse().expect("valid settings")));
    server.with(|probe, _| probe.send(conn, b"hello")).expect("the node works");
    assert_ne!(receive(&client, 1), b"h");
    act(&client, Conn(0), set("9600 8E1"));
    line_event(&server, &LineEvent::Settings("9600 8E1".parse().expect("valid settings")));
    client.with(|probe, _| probe.send(Conn(0), b"hello")).expect("the node works");
    assert_eq!(receive(&server, 5), b"hello");
    // Its RTS is looped to its CTS.
    act(&client, Conn(0), LineCommand::Rts(false));
    line_event(&client, &LineEvent::Modem { cts: false, dsr: true, ri: false, dcd: true });
    act(&client, Conn(0), LineCommand::Dtr(false));
    line_event(&client, &LineEvent::Modem { cts: false, dsr: false, ri: false, dcd: false });
    rig.stop();
}

/// A server on a thread that says this to whoever connects, once something was heard, and reads until the other side ends.
fn server_that_says(answer: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut buffer = [0; 1024];
        let mut answer = Some(answer);
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            if let Some(answer) = answer.take() {
                stream.write_all(&answer).expect("sent");
            }
        }
    });
    (address, thread)
}

#[test]
fn what_a_server_refuses_is_named() {
    let rig = rig();
    for (answer, told) in [
        (vec![255, 254, 44], "it does not do COM-PORT-OPTION (RFC 2217)"),
        (
            [&[255, 253, 44][..], &[255, 250, 44, 101, 0, 0, 0x25, 0x80, 255, 240]].concat(),
            "the serial server refused baud=19200: it says 9600",
        ),
        (
            [&[255, 253, 44][..], &[255, 250, 44, 103, 1, 255, 240]].concat(),
            "the serial server refused parity=even: it says none",
        ),
    ] {
        let (address, thread) = server_that_says(answer);
        let target = url(&format!("rfc2217://{address}?line=19200+8E1"));
        let error = rig.open("client", Probe::default(), vec![bind("", target)]).expect_err("refused").to_string();
        assert!(error.contains(told) && error.contains(&address), "{error}");
        thread.join().expect("it ended");
    }
    rig.stop();
}
