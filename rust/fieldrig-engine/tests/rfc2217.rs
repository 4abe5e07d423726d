//! Serial lines over Telnet (RFC 2217): our client against our server, and against servers that refuse.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::Node;
use fieldrig_proto::endpoint::{Action, Conn, Timed, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

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

/// What our client reads of a line after it was set, and why it ended: a server that confirms 9600 8N1, and says `then`
/// once the client spoke; it ends at once behind it, or with the client.
fn read_to_the_end(then: &'static [u8], ends: bool) -> (Vec<u8>, String) {
    let confirm = |command, value: &[u8]| [&[255, 250, 44, command], value, &[255, 240]].concat();
    let settings = [confirm(101, &[0, 0, 0x25, 0x80]), confirm(102, &[8]), confirm(103, &[1]), confirm(104, &[1])];
    // The last one is asked for again, behind what throws away what came before.
    let answer = [&[255, 253, 44][..], &settings.concat(), &settings[3]].concat();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(&answer).expect("sent");
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            heard.extend(byte);
            if heard.ends_with(b"go") {
                stream.write_all(then).expect("sent");
                if ends {
                    return;
                }
            }
        }
    });
    let rig = rig();
    let target = url(&format!("rfc2217://{address}?line=9600+8N1"));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    client.with(|probe, _| probe.send(Conn(0), b"go, and some more that nobody reads")).expect("the node works");
    let mut bytes = Vec::new();
    while let Some(part) = wait(&client, |event| match event {
        Event::Bytes(_, part, _) => Some(Some(part.clone())),
        Event::Closed(..) => Some(None),
        _ => None,
    }) {
        bytes.extend(part);
    }
    let lost =
        client.faults().expect("the node works").lost.first().map(|lost| lost.reason.clone()).unwrap_or_default();
    rig.stop();
    thread.join().expect("it ended");
    (bytes, lost)
}

#[test]
fn a_server_that_sets_another_speed_later_is_left_and_what_came_before_is_read() {
    let (bytes, reason) = read_to_the_end(b"before\xff\xfa\x2c\x65\0\0\x4b\0\xff\xf0", false);
    assert_eq!(bytes, b"before");
    assert_eq!(reason, "the serial server changed baud=9600: it says 19200 now");
}

#[test]
fn what_came_before_a_connection_broke_is_read_though_answers_to_it_cannot_be_sent() {
    // It asks for an option (ECHO), which has to be answered, and breaks the connection off: it leaves bytes unread.
    let (bytes, _) = read_to_the_end(b"before\xff\xfd\x01behind", true);
    assert_eq!(bytes, b"beforebehind");
}

#[test]
fn settings_that_follow_each_other_at_once_are_confirmed_one_by_one() {
    let rig = rig();
    let listen = url("rfc2217-listen://127.0.0.1:0?line=9600+8N1&mismatch=told");
    let server = rig.open("server", Probe::default(), vec![bind("", listen)]).expect("listens");
    let target = url(&format!("rfc2217://{}?line=9600+8N1", server.address("").expect("an address")));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    let conn = opened(&server);
    let set = |text: &str| Action::SetLine(Conn(0), LineCommand::Settings(text.parse().expect("valid settings")));
    let both = |probe: &mut Probe| ["19200 8N1", "300 8N1"].into_iter().for_each(|text| probe.act(set(text)));
    client.with(|probe, _| both(probe)).expect("the node works");
    line_event(&server, &LineEvent::Settings("300 8N1".parse().expect("valid settings")));
    server.with(|probe, _| probe.send(conn, b"still here")).expect("the node works");
    assert_eq!(receive(&client, 10), b"still here");
    rig.stop();
}

/// A server on a thread that agrees and confirms 9600 8N1, and then says more, each time once something was heard that
/// ends so; it ends when the client does.
fn server_that_confirms(
    first: &'static [u8],
    then: Vec<(&'static [u8], Vec<u8>)>,
) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let confirm = |command, value: &[u8]| [&[255, 250, 44, command], value, &[255, 240]].concat();
    let settings = [confirm(101, &[0, 0, 0x25, 0x80]), confirm(102, &[8]), confirm(103, &[1]), confirm(104, &[1])];
    let answer = [&[255, 253, 44], &settings.concat()[..], b"stale", &settings[3], first].concat();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(&answer).expect("sent");
        let mut then = then.into_iter().peekable();
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            heard.extend(byte);
            if let Some((_, say)) = then.next_if(|(cue, _)| heard.ends_with(cue)) {
                stream.write_all(&say).expect("sent");
            }
        }
    });
    (address, thread)
}

/// What a client says to clear RTS (SET-CONTROL, 12).
const RTS_OFF: [u8; 7] = [255, 250, 44, 5, 12, 255, 240];
const SUSPEND: [u8; 6] = [255, 250, 44, 108, 255, 240];
const RESUME: [u8; 6] = [255, 250, 44, 109, 255, 240];

#[test]
fn what_comes_in_one_piece_with_the_last_confirmation_is_read_and_what_came_before_it_is_not() {
    let (address, thread) = server_that_confirms(b"fresh", vec![]);
    let rig = rig();
    let target = url(&format!("rfc2217://{address}?line=9600+8N1"));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    assert_eq!(receive(&client, 5), b"fresh");
    rig.stop();
    thread.join().expect("it ended");
}

/// CPU time of this thread.
fn worked() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(u64::try_from(time.tv_sec).expect("positive"), u32::try_from(time.tv_nsec).expect("below a second"))
}

#[test]
fn a_client_that_is_suspended_waits_without_work_and_goes_on_when_it_is_resumed() {
    // It suspends the client, and resumes it once it sets RTS: that is no data, and passes.
    let steps = vec![(&b"go"[..], [&SUSPEND[..], b"!"].concat()), (&RTS_OFF[..], [&RESUME[..], b"?"].concat())];
    let (address, thread) = server_that_confirms(b"", steps);
    let rig = rig();
    let target = url(&format!("rfc2217://{address}?line=9600+8N1"));
    let client = rig.open("client", Probe::default(), vec![bind("", target)]).expect("the line is set");
    client.with(|probe, _| probe.send(Conn(0), b"go")).expect("the node works");
    assert_eq!(receive(&client, 1), b"!");
    let (what, not_before) = (Timed::Send(0..0), fieldrig_engine::Clock::Real.now());
    let send = Action::Timed { conn: Conn(0), what, not_before, gap_before: None, not_after: None };
    client.with(|probe, _| probe.act_with(b"behind", send)).expect("the node works");
    let (begin, before) = (Instant::now(), worked());
    let deadline = fieldrig_engine::Clock::Real.now() + Duration::from_millis(100);
    let fate = |event: &Event| matches!(event, Event::Timed(..)).then_some(());
    let sent = client.wait(deadline, |_, events, _| take(events, fate), &mut || true).expect("the node works");
    assert_eq!(sent, None, "it is told as sent before it is");
    assert!(worked() - before < begin.elapsed() / 4, "it spins");
    client.with(|probe, _| probe.act(Action::SetLine(Conn(0), LineCommand::Rts(false)))).expect("the node works");
    assert_eq!(receive(&client, 1), b"?");
    wait(&client, fate);
    rig.stop();
    thread.join().expect("it ended");
}
