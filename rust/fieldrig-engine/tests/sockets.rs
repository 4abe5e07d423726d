//! Endpoints on real sockets: connections, ends, back-pressure, stamps, errors.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::{EngineError, Node};
use fieldrig_proto::endpoint::{Action, Conn, HIGH_WATER, How, Why};
use std::io::{Read, Write};
use std::net::TcpStream;

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

fn first<R>(node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    let found = node.wait(deadline, |_, events, _| take(events, &mut pick), &mut go_on());
    found.expect("the node works").expect("it happened")
}

#[test]
fn a_slow_reader_stops_its_own_connection_only_and_is_told_when_it_may_go_on() {
    let rig = rig();
    let server = rig.open("server", Probe::echo(), vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let address = server.address("").expect("an address");
    let mut slow = TcpStream::connect(&address).expect("connects");
    let mut quick = TcpStream::connect(&address).expect("connects");
    // The slow one sends and does not read, until the server does not read it any more either.
    slow.set_nonblocking(true).expect("a socket option");
    let block = vec![3u8; 65_536];
    let mut written = 0;
    let mut full = 0;
    while full < 50 {
        match slow.write(&block) {
            Ok(count) => {
                written += count;
                full = 0;
            }
            // Full for now: the other one is served all the same, and that gives the server time to read more.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                full += 1;
                quick.write_all(b"ping").expect("sends");
                let mut answer = [0; 4];
                quick.read_exact(&mut answer).expect("answers");
                assert_eq!(&answer, b"ping");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written > HIGH_WATER, "the server took what it may hold");
    slow.set_nonblocking(false).expect("a socket option");
    slow.shutdown(std::net::Shutdown::Write).expect("half-closes");
    let mut back = Vec::new();
    slow.read_to_end(&mut back).expect("everything comes back");
    assert_eq!(back.len(), written);
    assert!(back.iter().all(|byte| *byte == 3));
    first(&server, |event| matches!(event, Event::Writable(_)).then_some(()));
    rig.stop();
}

#[test]
fn ends_are_told_apart() {
    let rig = rig();
    let server =
        rig.open("server", Probe::default(), vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let address = server.address("").expect("an address");
    let client = rig.open("client", Probe::default(), vec![]).expect("opens");
    let closed = |node: &Node<Probe>| {
        first(node, |event| match event {
            Event::Closed(_, why) => Some(why.clone()),
            _ => None,
        })
    };
    for (how, theirs) in [(How::Fin, Why::Finished), (How::Rst, Why::Reset)] {
        client.with(|probe, _| probe.connect("up", &format!("tcp://{address}"))).expect("works");
        let (conn, via) = first(&client, |event| match event {
            Event::Opened(conn, via) => Some((*conn, via.clone())),
            _ => None,
        });
        assert_eq!(via, "up");
        client
            .with(|probe, _| {
                probe.send(conn, b"bye");
                probe.act(Action::Close(conn, how));
            })
            .expect("works");
        assert_eq!(closed(&client), Why::Local);
        assert_eq!(closed(&server), theirs);
    }
    rig.stop();
}

/// The order of beginnings and ends that a node is told of, until it knows of so many beginnings.
fn order(server: &Node<Probe>, beginnings: usize) -> Vec<String> {
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    let look = |_: &mut Probe, events: &mut std::collections::VecDeque<Event>, _| {
        let told = events.iter().filter_map(|event| match event {
            Event::Opened(conn, _) => Some(format!("opened {}", conn.0)),
            Event::Bytes(conn, bytes, _) => Some(format!("{} bytes on {}", bytes.len(), conn.0)),
            Event::Closed(conn, why) => Some(format!("{why:?} on {}", conn.0)),
            _ => None,
        });
        let told: Vec<String> = told.collect();
        (told.iter().filter(|line| line.starts_with("opened")).count() == beginnings).then_some(told)
    };
    server.wait(deadline, look, &mut go_on()).expect("the node works").expect("connections came")
}

#[test]
fn the_end_of_a_connection_is_told_before_the_beginning_of_one_that_was_made_after_it() {
    for (how, end) in [(How::Rst, &["Reset on 0"][..]), (How::Fin, &["9 bytes on 0", "Finished on 0"])] {
        for known in [false, true] {
            let rig = rig();
            let listen = vec![bind("", url("tcp-listen://127.0.0.1:0"))];
            let server = rig.open("server", Probe::default(), listen).expect("listens");
            let address = format!("tcp://{}", server.address("").expect("an address"));
            let client = rig.open("client", Probe::default(), vec![]).expect("opens");
            let connect = || {
                client.with(|probe, _| probe.connect("up", &address)).expect("works");
                first(&client, |event| match event {
                    Event::Opened(conn, _) => Some(*conn),
                    _ => None,
                })
            };
            let early = known.then(|| {
                let conn = connect();
                order(&server, 1);
                conn
            });
            // The server is held meanwhile: it finds everything at once.
            let all_at_once = || {
                let conn = early.unwrap_or_else(connect);
                let leave = |probe: &mut Probe, _| {
                    probe.send(conn, b"nine byte");
                    probe.act(Action::Close(conn, how));
                };
                client.with(leave).expect("works");
                connect();
            };
            server.with(|_, _| all_at_once()).expect("works");
            let mut told = order(&server, 2);
            // A kernel may throw away what a reset finds unread.
            told.retain(|line| how == How::Fin || !line.contains("bytes"));
            assert_eq!(told, [&["opened 0"], end, &["opened 1"]].concat(), "known before: {known}");
            rig.stop();
        }
    }
}

#[test]
fn a_connection_an_endpoint_asks_for_may_be_refused() {
    let rig = rig();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
    let client = rig.open("client", Probe::default(), vec![]).expect("opens");
    for (target, words) in
        [(format!("tcp://{free}"), "connection refused"), ("tcp://nowhere".to_owned(), "port number")]
    {
        client.with(|probe, _| probe.connect("up", &target)).expect("works");
        let (via, reason) = first(&client, |event| match event {
            Event::Closed(_, Why::Refused { via, reason, .. }) => Some((via.clone(), reason.clone())),
            _ => None,
        });
        assert_eq!(via, "up");
        assert!(reason.contains(words), "{reason}");
    }
    rig.stop();
}

#[test]
fn a_stalled_connection_stays_open_and_says_nothing() {
    let rig = rig();
    let server =
        rig.open("server", Probe::default(), vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let mut peer = TcpStream::connect(server.address("").expect("an address")).expect("connects");
    let conn = first(&server, |event| match event {
        Event::Opened(conn, _) => Some(*conn),
        _ => None,
    });
    server
        .with(|probe, _| {
            probe.act(Action::Close(conn, How::Stall));
            probe.send(conn, b"never");
        })
        .expect("works");
    peer.write_all(b"hello?").expect("sends");
    peer.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("a socket option");
    let mut answer = [0; 8];
    let error = peer.read(&mut answer).expect_err("neither bytes nor an end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    server.with(|probe, _| probe.act(Action::Close(conn, How::Rst))).expect("works");
    let error = peer.read(&mut answer).expect_err("broken off");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    rig.stop();
}

#[test]
fn kernel_stamps_tell_when_bytes_came_not_when_they_were_read() {
    let rig = rig();
    let clock = fieldrig_engine::Clock::Real;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    let client =
        rig.open("client", Probe::default(), vec![bind("", url(&format!("tcp://{address}")))]).expect("connects");
    let (mut peer, _) = listener.accept().expect("a connection");
    // The node is held, so that nobody reads, while the byte arrives and grows old.
    let mut held = || {
        let (sent_by, _) = client
            .with(|_, _| {
                peer.write_all(b"x").expect("sends");
                let sent_by = clock.now();
                while clock.now().since(sent_by) < std::time::Duration::from_millis(30) {
                    std::hint::spin_loop();
                }
                sent_by
            })
            .expect("works");
        let stamp = first(&client, |event| match event {
            Event::Bytes(_, _, stamps) => Some(stamps[0]),
            _ => None,
        });
        assert!(stamp.earliest() <= sent_by + std::time::Duration::from_millis(15), "{stamp:?}, sent by {sent_by}");
        (stamp, sent_by)
    };
    // The kernel begins to stamp a while after the first socket asks for it; until then the interval is wide, and true.
    let stamped =
        (0..20).map(|_| held()).any(|(stamp, sent_by)| stamp.latest() < sent_by + std::time::Duration::from_millis(30));
    assert!(stamped, "no stamp is older than the moment at which it could be read");
    rig.stop();
}

#[test]
fn unix_sockets_carry_the_same_and_leave_no_file() {
    let path = common::folder("unix").join("port");
    let rig = rig();
    let listen = url(&format!("unix-listen://{}", path.display()));
    let server = rig.open("server", Probe::echo(), vec![bind("", listen)]).expect("listens");
    let client = url(&format!("unix://{}", path.display()));
    let client = rig.open("client", Probe::default(), vec![bind("", client)]).expect("connects");
    client.with(|probe, _| probe.send(Conn(0), b"over a path")).expect("sends");
    assert_eq!(receive(&client, 11), b"over a path");
    server.close();
    assert!(!path.exists());
    rig.stop();
}
