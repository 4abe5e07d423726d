//! The raw stream on virtual time: stamps, search, timed sends, line events, ends and back-pressure.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs, us};
use fieldrig_proto::endpoint::{Conn, Endpoint, How, Input, Peer as Other, Stamps, Why};
use fieldrig_proto::line::stream::{State, Stream, StreamError, StreamEvent};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings, Parity, StopBits};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use proptest::prelude::*;
use regex::bytes::Regex;

fn pair(path: &Path) -> (World, Node<Stream>, Peer) {
    let world = World::new();
    let stream = world.add("stream", Stream::new());
    let peer = world.peer("peer");
    peer.join(&stream, "dut", path);
    (world, stream, peer)
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

fn exact(nanos: u64) -> Stamp {
    Stamp::exact(Time::from_nanos(nanos))
}

fn opened(stream: &mut Stream, conn: Conn) {
    stream.handle(Time::ZERO, Input::Opened(conn, &Other::default()));
}

#[test]
fn every_byte_has_its_stamp_to_the_nanosecond() {
    for path in [Path::wire("9600 8E1"), Path::wire("9600 8E1").whole_sends()] {
        let (world, stream, peer) = pair(&path);
        peer.send(b"boot ok\n");
        let pattern = regex(r"(?P<word>ok)\n");
        let found = stream.wait(secs(1), |stream, _| stream.search(&pattern, 0).expect("kept"));
        // 11 bits at 9600 baud: the n-th byte is complete after n * 11 / 9600 s.
        let complete = |count: u64| exact(count * 11 * 1_000_000_000 / 9600);
        assert_eq!((found.start, found.end, found.first, found.at), (5, 8, complete(6), complete(8)));
        assert_eq!(world.now(), at(Duration::from_nanos(9_166_666)));
        let word = found.groups[1].as_ref().expect("the group took part");
        assert_eq!((word.name.as_deref(), word.start, word.bytes.as_slice()), (Some("word"), 5, &b"ok"[..]));
        let all: Vec<(u64, Stamp)> = (0..8).map(|offset| (offset, complete(offset + 1))).collect();
        assert_eq!(stream.with(|stream, _| stream.stamps(0..8)), all);
        assert_eq!(stream.with(|stream, _| stream.stamp(8)), None);
    }
}

#[test]
fn equal_stamps_are_kept_as_one_run() {
    let (_world, stream, peer) = pair(&Path::stream());
    peer.send(b"abc");
    peer.send(b"def");
    let runs = stream.with(|stream, _| stream.stamps(1..6));
    assert_eq!(runs, [(1, exact(0))]);
    let whole = Stamp::between(Time::from_nanos(5), Time::from_nanos(9));
    stream
        .with(|stream, now| stream.handle(now, Input::Bytes(Conn(0), b"xyz", Stamps::Chunk { whole, last: exact(9) })));
    assert_eq!(stream.with(|stream, _| stream.stamps(0..9)), [(0, exact(0)), (6, whole), (8, exact(9))]);
}

#[test]
fn sends_wait_for_their_instant_and_for_silence() {
    let (_world, stream, peer) = pair(&Path::wire("1000000 8N1"));
    stream.with(|stream, now| {
        stream.send(now, b"a").expect("open");
        stream.send_at(now, at(ms(5)), b"b").expect("open");
        stream.send_after(now, ms(2), b"c").expect("open");
    });
    peer.expect("abc");
    let expected = [us(10), ms(5) + us(10), ms(7) + us(20)].map(|after| Stamp::exact(at(after)));
    assert_eq!(peer.stamps(), expected);
}

#[test]
fn what_is_sent_before_the_stream_is_open_leaves_when_it_opens() {
    let world = World::new();
    let stream = world.add("stream", Stream::new());
    stream.with(|stream, now| stream.send(now, b"early")).expect("not ended");
    world.run_for(ms(3));
    let peer = world.peer("peer");
    peer.connect(&stream, "dut");
    assert_eq!(peer.expect("early"), Stamp::exact(at(ms(3))));
}

#[test]
fn line_events_are_kept_with_their_place() {
    let (world, stream, peer) = pair(&Path::wire("9600 8E1"));
    peer.send("ab");
    peer.set_line(LineCommand::Break(ms(20)));
    peer.send("c");
    stream.wait(secs(1), |stream, _| (stream.end() == 3).then_some(()));
    let broken = stream.with(|stream, _| stream.line_events().cloned().collect::<Vec<_>>());
    assert_eq!(broken, [(2, exact(2_291_666 + 20_000_000), LineEvent::Break)]);
    let settings = LineSettings { baud: 19_200, data_bits: 8, parity: Parity::None, stop_bits: StopBits::One };
    peer.set_line(LineCommand::Settings(settings));
    world.run_for(ms(1));
    let last = stream.with(|stream, _| stream.line_events().last().cloned()).expect("an event");
    assert_eq!((last.0, last.2), (3, LineEvent::Settings(settings)));
    stream.with(|stream, now| stream.set_line(now, LineCommand::Rts(true))).expect("open");
    peer.expect_line(&LineEvent::Modem { cts: true, dsr: false, ri: false, dcd: false });
}

#[test]
fn a_second_connection_is_broken_off_and_the_first_goes_on() {
    let (world, stream, peer) = pair(&Path::stream());
    let other = world.peer("other");
    other.connect(&stream, "dut");
    other.expect_closed(&Why::Reset);
    peer.send("on");
    stream.wait(secs(1), |stream, _| (stream.end() == 2).then_some(()));
    assert!(stream.events().iter().any(|event| matches!(event, StreamEvent::Refused { .. })));
}

#[test]
fn a_parity_error_is_an_event() {
    let world = World::new();
    let stream = world.add("stream", Stream::new());
    let peer = world.peer("peer");
    let link = peer.join(&stream, "dut", &Path::wire("9600 8E1"));
    world.line_event(link, &stream, LineEvent::Parity);
    world.settle();
    let event = stream.wait(secs(1), |_, events| events.pop_back());
    assert_eq!(event, StreamEvent::Line { event: LineEvent::Parity, offset: 0, at: exact(0) });
    let record = Record::from(event);
    assert_eq!((record.kind.as_ref(), record.at), ("stream.line", Some(exact(0))));
}

#[test]
fn a_half_closed_stream_can_still_send() {
    let (world, stream, peer) = pair(&Path::stream().delay(ms(1)));
    peer.send("bye");
    peer.close(How::HalfOpen);
    stream.wait(secs(1), |stream, _| stream.end_of_data().then_some(()));
    assert_eq!(
        stream.with(|stream, _| (stream.state().clone(), stream.closed_at())),
        (State::Finished, Some(Stamp::exact(world.now())))
    );
    stream.with(|stream, now| stream.send(now, b"answer")).expect("our direction is open");
    peer.expect("answer");
    stream.with(|stream, now| stream.close(now, How::Fin));
    peer.expect_closed(&Why::Finished);
    stream.wait(secs(1), |stream, _| (*stream.state() == State::Closed(Why::Local)).then_some(()));
    assert_eq!(stream.with(|stream, now| stream.send(now, b"x")), Err(StreamError::Ended(Why::Local)));
}

#[test]
fn after_our_half_close_bytes_still_come() {
    let (_world, stream, peer) = pair(&Path::stream());
    stream.with(|stream, now| stream.close(now, How::HalfOpen));
    peer.expect_closed(&Why::Finished);
    assert_eq!(stream.with(|stream, now| stream.send(now, b"x")), Err(StreamError::WriteClosed));
    peer.send("still here");
    let pattern = regex("still here");
    stream.wait(secs(1), |stream, _| stream.search(&pattern, 0).expect("kept"));
    peer.close(How::HalfOpen);
    stream.wait(secs(1), |stream, _| (*stream.state() == State::Closed(Why::Local)).then_some(()));
}

#[test]
fn offsets_go_on_over_a_reset_and_a_new_connection() {
    let (world, stream, peer) = pair(&Path::stream());
    peer.send("one");
    peer.close(How::Rst);
    stream.wait(secs(1), |stream, _| (*stream.state() == State::Closed(Why::Reset)).then_some(()));
    world.run_for(ms(1));
    peer.connect(&stream, "dut");
    peer.send("two");
    let found = stream.wait(secs(1), |stream, _| stream.search(&regex("t.o$"), 0).expect("kept"));
    assert_eq!((found.start, found.at), (3, Stamp::exact(world.now())));
    assert_eq!(stream.with(|stream, _| stream.closed_at()), None);
    stream.with(|stream, now| stream.send(now, b"three")).expect("open again");
    peer.expect("three");
}

#[test]
fn a_refused_connection_ends_the_stream() {
    let mut stream = Stream::new();
    let why = Why::Refused { via: "dut".into(), reason: "nobody there".into(), untrusted: false };
    stream.handle(Time::ZERO, Input::Closed(Conn(0), why.clone()));
    assert_eq!(stream.state(), &State::Closed(why));
}

#[test]
fn a_full_memory_drops_the_oldest_and_says_so() {
    let mut stream = Stream::with_capacity(1000);
    opened(&mut stream, Conn(0));
    let pattern = regex("never");
    assert_eq!(stream.search(&pattern, 0), Ok(None));
    for round in 0..50u8 {
        stream.handle(Time::ZERO, Input::Bytes(Conn(0), &[round; 300], Stamps::One(exact(u64::from(round)))));
    }
    assert_eq!((stream.start(), stream.end()), (14_000, 15_000));
    let error = StreamError::Lost { from: 13_990, lost: 10, capacity: 1000 };
    assert_eq!(stream.read(13_990, 20), Err(error.clone()));
    assert_eq!(error.to_string(), "10 bytes from offset 13990 on were dropped: the stream keeps the newest 1000 bytes");
    assert_eq!(stream.search(&pattern, 0), Err(StreamError::Lost { from: 0, lost: 14_000, capacity: 1000 }));
    assert_eq!(stream.search(&pattern, 14_000), Ok(None));
    assert_eq!(stream.read(14_000, 2), Ok(&[46, 46][..]));
    assert_eq!(stream.stamps(0..u64::MAX)[0], (14_000, exact(46)));
    assert_eq!((stream.stamp(13_999), stream.stamp(14_999)), (None, Some(exact(49))));
}

#[test]
fn a_flood_is_searched_once() {
    let mut stream = Stream::new();
    opened(&mut stream, Conn(0));
    let pattern = regex(r"login (?P<n>\d+): ");
    let line = b"[    1.234567] some driver: probed device 17, login not yet possible\r\n";
    let mut flood = line.repeat(33_000);
    flood.extend_from_slice(b"login 42: ");
    let mut found = None;
    // Pieces as a pty gives them; the time this takes is the subject of the benchmark, its end that of this test.
    for (index, piece) in flood.chunks(64).enumerate() {
        stream.handle(Time::ZERO, Input::Bytes(Conn(0), piece, Stamps::One(exact(index as u64))));
        found = stream.search(&pattern, 0).expect("all is kept");
        if found.is_some() {
            break;
        }
    }
    let found = found.expect("a match");
    assert_eq!((found.start, found.end), (flood.len() as u64 - 10, flood.len() as u64));
    assert_eq!(found.at, exact((flood.len() as u64 - 1) / 64));
}

#[test]
fn a_peer_that_does_not_read_holds_the_stream_back() {
    let world = World::new();
    let stream = world.add("stream", Stream::new());
    let peer = world.peer("peer");
    let link = peer.join(&stream, "dut", &Path::stream().window(1000).high_water(5000));
    world.pause_reading(link, &peer.node, true);
    stream.with(|stream, now| stream.send(now, &[7; 20_000])).expect("open");
    peer.send("not read while so much waits");
    world.run_for(ms(1));
    assert_eq!(stream.with(|stream, _| stream.end()), 0);
    world.pause_reading(link, &peer.node, false);
    assert_eq!(peer.receive(20_000), [7; 20_000]);
    stream.wait(secs(1), |stream, _| (stream.end() == 28).then_some(()));
}

proptest! {
    #[test]
    fn what_is_kept_is_what_came(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40),
        capacity in 1usize..2000,
    ) {
        let mut stream = Stream::with_capacity(capacity);
        opened(&mut stream, Conn(0));
        let mut all = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            stream.handle(Time::ZERO, Input::Bytes(Conn(0), piece, Stamps::One(exact(index as u64))));
            all.extend(piece.iter().map(|byte| (*byte, index as u64)));
        }
        prop_assert_eq!(stream.end(), all.len() as u64);
        prop_assert_eq!(stream.start(), all.len().saturating_sub(capacity) as u64);
        let start = stream.start();
        let kept = stream.read(start, usize::MAX).expect("kept").to_vec();
        for (offset, byte) in (start..).zip(kept) {
            let (expected, when) = all[usize::try_from(offset).expect("small")];
            prop_assert_eq!((byte, stream.stamp(offset)), (expected, Some(exact(when))));
        }
    }

    #[test]
    fn no_input_makes_a_stream_panic(
        inputs in proptest::collection::vec((0u8..7, 0u32..3, any::<u16>()), 0..80),
    ) {
        let mut stream = Stream::with_capacity(64);
        for (kind, conn, number) in inputs {
            let (now, conn) = (Time::from_nanos(u64::from(number)), Conn(conn));
            match kind {
                0 => stream.handle(now, Input::Opened(conn, &Other::default())),
                1 => stream.handle(now, Input::Bytes(conn, &number.to_be_bytes(), Stamps::PerByte(&[]))),
                2 => stream.handle(now, Input::Closed(conn, if number % 2 == 0 { Why::Finished } else { Why::Reset })),
                3 => stream.handle(now, Input::Line(conn, LineEvent::Overrun, Stamp::exact(now))),
                4 => stream.close(now, How::Fin),
                5 => drop(stream.search(&regex("a.b"), u64::from(number % 100))),
                _ => drop(stream.send(now, b"x")),
            }
            let mut out = Vec::new();
            while stream.poll_action(&mut out).is_some() {}
            while stream.poll_event().is_some() {}
            prop_assert!(stream.read(u64::from(number % 200), 10).is_ok() || u64::from(number % 200) < stream.start());
        }
    }
}
