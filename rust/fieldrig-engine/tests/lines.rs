//! Lines: ptys, serial ports on them, wires in memory; line events, timed sends, ports that go away.

mod common;

use common::{Event, LONG, Probe, bind, folder, rig, take, url};
use fieldrig_engine::{Clock, EngineError, Mismatch, Node, PortSpec, TimingClass, memory_pair};
use fieldrig_proto::endpoint::{Action, Conn, Why};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp};

fn line() -> LineSettings {
    "9600 8E1".parse().expect("valid settings")
}

/// Waits until an event that `pick` wants is there.
fn expect<R>(node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    let found = node.wait(Clock::Real.now() + LONG, |_, events, _| take(events, &mut pick), &mut || true);
    found.expect("the node works").expect("it happened")
}

/// Waits for exactly these bytes, in however many pieces.
fn expect_bytes(node: &Node<Probe>, wanted: &[u8]) {
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        found.extend(expect(node, |event| match event {
            Event::Bytes(_, bytes, _) => Some(bytes.clone()),
            _ => None,
        }));
    }
    assert_eq!(found, wanted);
}

fn serial(path: &str) -> PortSpec {
    PortSpec::parse(&format!("serial://{path}?line=9600+8E1")).expect("a port URL")
}

#[test]
fn a_serial_port_talks_to_a_pty_and_can_be_opened_again_with_even_parity() {
    let rig = rig();
    let device = rig.open("device", Probe::echo(), vec![bind("", url("pty://?line=9600+8E1"))]).expect("a pty");
    let path = device.address("").expect("an address");
    for round in 0..5u8 {
        let client = rig.open("client", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
        client.with(|probe, _| probe.send(Conn(0), &[round; 9])).expect("sends");
        expect_bytes(&client, &[round; 9]);
        client.close();
    }
    rig.stop();
}

#[test]
fn an_opener_finds_neither_bytes_nor_modes_of_the_one_before() {
    let rig = rig();
    let device = rig.open("device", Probe::default(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let first = rig.open("first", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    first.with(|probe, _| probe.send(Conn(0), b"hello")).expect("sends");
    expect_bytes(&device, b"hello");
    // Never read: the first opener goes away with these in its port.
    device.with(|probe, _| probe.send(Conn(0), b"stale")).expect("sends");
    first.close();
    // What is said while nobody is there is lost, as on a real line.
    device.with(|probe, _| probe.send(Conn(0), b"nobody hears")).expect("sends");
    let second = rig.open("second", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    second.with(|probe, _| probe.send(Conn(0), b"again")).expect("sends");
    expect_bytes(&device, b"again");
    device.with(|probe, _| probe.send(Conn(0), b"fresh")).expect("sends");
    expect_bytes(&second, b"fresh");
    rig.stop();
}

/// A program that opens a device node raw and does nothing else to it: it flushes nothing.
fn plain(path: &str) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = 0o400 | 0o4000; // O_NOCTTY, O_NONBLOCK
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("opens")
}

#[test]
fn an_opener_that_flushes_nothing_finds_no_byte_that_was_meant_for_another_and_last_words_are_heard() {
    use std::io::{Read, Write};
    for spec in ["pty://", "pty://?line=9600+8E1"] {
        let rig = rig();
        let device = rig.open("device", Probe::default(), vec![bind("", url(spec))]).expect("a pty");
        let path = device.address("").expect("an address");
        for round in 0..5u8 {
            let mut program = plain(&path);
            program.write_all(b"hello").expect("written");
            expect_bytes(&device, b"hello");
            device.with(|probe, _| probe.send(Conn(0), b"stale")).expect("sends");
            program.write_all(&[round]).expect("written");
            drop(program);
            // Written just before it closed: not lost.
            expect_bytes(&device, &[round]);
            device.with(|probe, _| probe.send(Conn(0), b"nobody hears")).expect("sends");
            let mut next = plain(&path);
            let mut buffer = [0; 16];
            next.write_all(b"!").expect("written");
            expect_bytes(&device, b"!");
            let found = next.read(&mut buffer).map_err(|error| error.kind());
            assert_eq!(found, Err(std::io::ErrorKind::WouldBlock), "{spec} {round}: {:?}", &buffer[..8]);
            drop(next);
        }
        rig.stop();
    }
}

#[test]
fn a_serial_port_at_another_speed_and_a_pty_that_states_its_own_exchange_garbage() {
    let rig = rig();
    let device = rig.open("device", Probe::default(), vec![bind("", url("pty://?line=9600+8E1"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let open = |line: &str| {
        let port = PortSpec::parse(&format!("serial://{path}?line={line}")).expect("a port URL");
        rig.open("client", Probe::default(), vec![bind("", port)]).expect("opens")
    };
    let wrong = open("19200+8E1");
    let theirs = expect(&device, |event| match event {
        Event::Line(_, LineEvent::Settings(settings)) => Some(settings.to_string()),
        _ => None,
    });
    assert_eq!(theirs, "19200 8E1");
    wrong.with(|probe, _| probe.send(Conn(0), b"question")).expect("sends");
    let came = expect(&device, |event| match event {
        Event::Bytes(_, bytes, _) => Some(bytes.clone()),
        Event::Line(_, event) => Some(format!("{event:?}").into_bytes()),
        _ => None,
    });
    assert_ne!(came, b"question");
    device.with(|probe, _| probe.send(Conn(0), b"answer")).expect("sends");
    let came = expect(&wrong, |event| match event {
        Event::Bytes(_, bytes, _) => Some(bytes.clone()),
        _ => None,
    });
    assert_ne!(came, b"answer");
    wrong.close();
    // The next one is set right, and a pty cannot tell even parity from none.
    for line in ["9600+8E1", "9600+8N1"] {
        let right = open(line);
        right.with(|probe, _| probe.send(Conn(0), line.as_bytes())).expect("sends");
        let found = expect(&device, |event| match event {
            Event::Bytes(_, bytes, _) if bytes.ends_with(b"1") => Some(bytes.clone()),
            _ => None,
        });
        assert_eq!(found, line.as_bytes());
        device.with(|probe, _| probe.send(Conn(0), b"answer")).expect("sends");
        expect_bytes(&right, b"answer");
        right.close();
    }
    rig.stop();
}

#[test]
fn bytes_before_a_hang_up_are_read_and_the_loss_is_recorded() {
    let rig = rig();
    let device = rig.open("device", Probe::default(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let client = rig.open("client", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    device.with(|probe, _| probe.send(Conn(0), b"last words")).expect("sends");
    expect_bytes(&client, b"last words");
    device.close();
    expect(&client, |event| matches!(event, Event::Closed(_, Why::HungUp)).then_some(()));
    let faults = client.faults().expect("the node works");
    assert_eq!(faults.lost.len(), 1);
    assert_eq!(faults.lost[0].url, format!("serial://{path}"));
    let waited = client.wait(Clock::Real.now() + LONG, |_, _, _| None::<()>, &mut || true);
    assert!(matches!(waited, Err(EngineError::Lost { .. })), "nobody waits for a port that is gone: {waited:?}");
    rig.stop();
}

#[test]
fn a_taken_port_names_who_has_it() {
    let rig = rig();
    let device = rig.open("device", Probe::default(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let _first = rig.open("first", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    match rig.open("second", Probe::default(), vec![bind("", serial(&path))]) {
        Err(EngineError::Port { what, .. }) => {
            assert!(what.contains("in use by") && what.contains(&std::process::id().to_string()), "{what}");
        }
        other => panic!("{other:?}"),
    }
    rig.stop();
}

#[test]
fn a_missing_device_and_a_file_that_is_none_are_told_apart() {
    let rig = rig();
    let error = |path: &str| match rig.open("client", Probe::default(), vec![bind("", serial(path))]) {
        Err(EngineError::Port { what, hint, .. }) => (what, hint.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(error("/nowhere/ttyUSB7"), ("no such device or file".to_owned(), true));
    assert_eq!(error("/etc/hostname"), ("this is no serial port".to_owned(), true));
}

#[test]
fn a_pty_has_a_stable_name_that_goes_with_it() {
    let link = folder("link").join("meter");
    let rig = rig();
    let spec = PortSpec::Pty { symlink: Some(link.clone()), settings: line(), mismatch: Mismatch::Garbled };
    let device = rig.open("device", Probe::echo(), vec![bind("", spec)]).expect("a pty");
    assert_eq!(device.address(""), Some(link.display().to_string()));
    let client =
        rig.open("client", Probe::default(), vec![bind("", serial(&link.display().to_string()))]).expect("opens");
    client.with(|probe, _| probe.send(Conn(0), b"by name")).expect("sends");
    expect_bytes(&client, b"by name");
    rig.stop();
    assert!(std::fs::symlink_metadata(&link).is_err(), "the link is gone");
}

#[test]
fn a_wire_in_memory_stamps_every_byte_as_a_real_line_would() {
    let rig = rig();
    let (one, other) = memory_pair(Some(line()));
    let sender = rig.open("sender", Probe::default(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let receiver = rig.open("receiver", Probe::default(), vec![bind("", PortSpec::Memory(other))]).expect("opens");
    let (_, sent) = sender.with(|probe, _| probe.send(Conn(0), b"12345")).expect("sends");
    let issued = sent.and_then(|sent| sent.issued).expect("it was sent");
    let mut stamps: Vec<Stamp> = Vec::new();
    while stamps.len() < 5 {
        stamps.extend(expect(&receiver, |event| match event {
            Event::Bytes(_, _, stamps) => Some(stamps.clone()),
            _ => None,
        }));
    }
    let character = line().character_time();
    for (index, stamp) in stamps.iter().enumerate() {
        assert_eq!(*stamp, Stamp::exact(issued + character * (index as u32 + 1)));
    }
    rig.stop();
}

#[test]
fn line_events_cross_a_wire_in_order_with_the_bytes() {
    let rig = rig();
    let (one, other) = memory_pair(None);
    let sender = rig.open("sender", Probe::default(), vec![bind("", PortSpec::Memory(one))]).expect("opens");
    let receiver = rig.open("receiver", Probe::default(), vec![bind("", PortSpec::Memory(other))]).expect("opens");
    let commands = [LineCommand::Break(Duration::from_millis(1)), LineCommand::Rts(true)];
    sender
        .with(|probe, _| {
            for command in commands {
                probe.act(Action::SetLine(Conn(0), command));
            }
        })
        .expect("works");
    let first = expect(&receiver, |event| match event {
        Event::Line(_, event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(first, LineEvent::Break);
    let second = expect(&receiver, |event| match event {
        Event::Line(_, event) => Some(event.clone()),
        _ => None,
    });
    assert!(matches!(second, LineEvent::Modem { cts: true, .. }));
    rig.stop();
}

#[test]
fn timed_sends_leave_one_by_one_and_never_early() {
    let rig = rig();
    let device = rig.open("device", Probe::default(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let client = rig.open("client", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    let gap = Duration::from_millis(3);
    let called = client
        .call(
            |probe, now| -> Result<(), ()> {
                probe.send_timed(Conn(0), b"one", Some(now + Duration::from_millis(5)), None);
                probe.send_timed(Conn(0), b"two", None, Some(gap));
                probe.send(Conn(0), b"three");
                Ok(())
            },
            Duration::from_millis(1),
            |(), _, _, _| None::<()>,
            &mut || true,
        )
        .expect("the node works")
        .expect("the command is fine");
    let sent = called.sent.expect("the command caused a send");
    assert!(sent.issued.is_none_or(|issued| issued >= sent.scheduled), "not sent, or not early: {sent:?}");
    expect_bytes(&device, b"onetwothree");
    let sends = client.timed_sends().expect("the node works");
    assert_eq!(sends.len(), 2, "the third is not timed");
    for sent in &sends {
        assert!(sent.issued.is_some_and(|issued| issued >= sent.scheduled), "{sent:?}");
    }
    assert!(sends[1].scheduled.since(sends[0].returned.expect("sent")) >= gap, "the gap is kept");
    let timing = client.timing().expect("a line thread reports what the host allows");
    assert_ne!(timing.class, TimingClass::V);
    rig.stop();
}

#[test]
fn a_call_that_waits_for_its_timed_send_gives_its_stamps() {
    let rig = rig();
    let device = rig.open("device", Probe::echo(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let client = rig.open("client", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    let called = client
        .call(
            |probe, now| -> Result<(), ()> {
                probe.send_timed(Conn(0), b"later", Some(now + Duration::from_millis(4)), None);
                Ok(())
            },
            LONG,
            |(), _, events, _| take(events, |event| matches!(event, Event::Bytes(..)).then_some(())),
            &mut || true,
        )
        .expect("the node works")
        .expect("the command is fine");
    let sent = called.sent.expect("it was sent");
    assert!(called.outcome.is_some());
    assert!(sent.issued.is_some_and(|issued| issued >= sent.scheduled));
    rig.stop();
}

/// The owner of the line sends alone what is timed; who commands meanwhile must not get between.
#[test]
fn a_command_waits_until_the_timed_send_of_another_caller_is_done() {
    let rig = rig();
    let device = rig.open("device", Probe::echo(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    let client = rig.open("client", Probe::default(), vec![bind("", serial(&path))]).expect("opens");
    let (begun, told) = std::sync::mpsc::channel();
    let first = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let command = |probe: &mut Probe, now| -> Result<(), ()> {
                probe.send_timed(Conn(0), b"later", Some(now + Duration::from_millis(30)), None);
                begun.send(()).expect("the other one waits for it");
                Ok(())
            };
            client.send(command, LONG, &mut || true).expect("the node works").expect("the command is fine")
        });
        told.recv().expect("it begins");
        let (at, _) = client.with(|_, now| now).expect("the node works");
        let sent = caller.join().expect("it ends").expect("it was sent");
        assert!(Some(at) >= sent.returned, "commanded before the send of the other one had left");
        sent
    });
    let sends = client.timed_sends().expect("the node works");
    assert_eq!((sends.len(), sends[0].issued), (1, first.issued), "its stamps are those of its own send");
    rig.stop();
}

#[test]
fn a_byte_whose_write_has_returned_is_not_stamped_later() {
    // The kernel hands what is written to a terminal on in a thread of its own, and epoll tells only when that is done.
    let rig = rig();
    let ours = rig.open("ours", Probe::default(), vec![bind("", url("pty://"))]).expect("a pty");
    let mut theirs = plain(&ours.address("").expect("an address"));
    for _ in 0..300 {
        std::io::Write::write_all(&mut theirs, b"x").expect("written");
        let written = Clock::Real.now();
        ours.look().expect("the node works");
        let stamp = expect(&ours, |event| match event {
            Event::Bytes(_, _, stamps) => stamps.first().copied(),
            _ => None,
        });
        assert!(stamp.earliest() <= written, "{stamp:?} of what was written by {written:?}");
    }
    rig.stop();
}
