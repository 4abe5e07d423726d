//! The raw stream on virtual time: stamps, search, timed sends, line events, ends and back-pressure.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs, us};
use fieldrig_proto::endpoint::{Conn, Endpoint, How, Input, Peer as Other, Stamps, Why};
use fieldrig_proto::line::stream::{Keeping, Patterns, Spill, Spills, State, Stream, StreamError, StreamEvent};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings, Parity, StopBits};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use proptest::prelude::*;

fn pair(path: &Path) -> (World, Node<Stream>, Peer) {
    let world = World::new();
    let stream = world.add("stream", Stream::new());
    let peer = world.peer("peer");
    peer.join(&stream, "dut", path);
    (world, stream, peer)
}

fn regex(pattern: &str) -> Patterns {
    Patterns::new(&[pattern]).expect("a pattern")
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
    let lost = |from, lost| StreamError::Lost { from, lost, capacity: 1000, why: String::new() };
    let error = lost(13_990, 10);
    assert_eq!(stream.read(13_990, 20), Err(error.clone()));
    assert_eq!(error.to_string(), "10 bytes from offset 13990 on were dropped: the stream keeps the newest 1000 bytes");
    assert_eq!(stream.search(&pattern, 0), Err(lost(0, 14_000)));
    assert_eq!(stream.search(&pattern, 14_000), Ok(None));
    assert_eq!(stream.read(14_000, 2).as_deref(), Ok(&[46, 46][..]));
    assert_eq!(stream.stamps(0..u64::MAX)[0], (14_000, exact(46)));
    assert_eq!((stream.stamp(13_999), stream.stamp(14_999)), (None, Some(exact(49))));
}

/// A spill in memory that is full after so many bytes.
struct Full(Vec<u8>, usize);

impl Spill for Full {
    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.0.len() + bytes.len() > self.1 {
            return Err("no space left on the device".to_owned());
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), String> {
        let at = usize::try_from(at).expect("small");
        into.copy_from_slice(&self.0[at..at + into.len()]);
        Ok(())
    }
}

fn spilling(capacity: usize, room: usize, strip: bool) -> Stream {
    let spill = || Box::new(Full(Vec::new(), room));
    let spills = Some(Spills { bytes: spill(), stamps: spill() });
    let mut stream = Stream::keeping(Keeping { capacity: Some(capacity), spills, strip });
    opened(&mut stream, Conn(0));
    stream
}

#[test]
fn what_does_not_fit_into_memory_is_found_in_the_spill() {
    let mut stream = spilling(100_000, usize::MAX, false);
    let line = b"[    1.234567] some driver: probed device 17, nothing else\r\n";
    let mut sent = b"U-Boot 2024.01\r\n".to_vec();
    sent.extend(line.repeat(300_000));
    for (index, piece) in sent.chunks(4096).enumerate() {
        stream.handle(Time::ZERO, Input::Bytes(Conn(0), piece, Stamps::One(exact(index as u64))));
        while stream.poll_event().is_some() {}
    }
    assert!(sent.len() > 16_000_000);
    assert!(stream.memory() < 1_000_000, "{} bytes of memory", stream.memory());
    assert_eq!((stream.start(), stream.end()), (0, sent.len() as u64));
    let found = stream.search(&regex(r"U-Boot (\S+)"), 0).expect("nothing is lost").expect("it came first");
    assert_eq!((found.start, found.end, found.at), (0, 14, exact(0)));
    let last = stream.search(&regex(r"(?-u)\A\[[^\n]*\n\z"), sent.len() as u64 - line.len() as u64);
    assert_eq!(last.expect("kept").expect("the last line").at, exact((sent.len() as u64 - 1) / 4096));
    let (from, length) = (sent.len() - 250_000, 200_000);
    assert_eq!(stream.read(from as u64, length).as_deref(), Ok(&sent[from..from + length]));
    let middle = exact(2000);
    assert_eq!(stream.after(middle), (2000 * 4096, 2001 * 4096));
    assert_eq!(stream.stamp(2000 * 4096 + 17), Some(middle));
    assert!(stream.memory() < 1_500_000, "{} bytes of memory", stream.memory());
}

#[test]
fn a_spill_that_fails_drops_the_oldest_and_says_why() {
    let mut stream = spilling(1000, 5000, false);
    for round in 0..50u8 {
        stream.handle(Time::ZERO, Input::Bytes(Conn(0), &[round; 300], Stamps::One(exact(u64::from(round)))));
    }
    let (start, end) = (stream.start(), stream.end());
    assert!(start > 5000 && end - start <= 2000 && end == 15_000, "{start} to {end}");
    let error = stream.read(10, 1).expect_err("lost").to_string();
    let why = "the stream keeps the newest 1000 bytes; those before went to a file until that failed: no space left";
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_search_may_begin_in_the_middle_of_a_control_function() {
    let mut stream = spilling(1000, usize::MAX, true);
    let hidden = b"\x1b[1;31m";
    for index in 0..30_000u64 {
        let text = if index == 20_000 { &b"ok"[..] } else { &b"0"[..] };
        stream.handle(Time::ZERO, Input::Bytes(Conn(0), &[hidden, text].concat(), Stamps::One(exact(index))));
        while stream.poll_event().is_some() {}
    }
    for (from, at) in [(0, 7), (3, 7), (8 * 10_000 + 2, 8 * 10_000 + 7)] {
        let found = stream.search(&regex("^0"), from).expect("kept").expect("text");
        assert_eq!((found.start, found.end), (at, at + 1), "from {from}");
    }
    let found = stream.search(&regex("(?m)0ok0"), 0).expect("kept").expect("text");
    assert_eq!((found.start, found.end, found.at), (8 * 19_999 + 7, 8 * 20_000 + 7 + 2 + 8, exact(20_001)));
    assert_eq!(stream.read_text(8 * 20_000 + 2, 15).as_deref(), Ok(&b"ok0"[..]));
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
    // Pieces as a slow line gives them; how long that takes is the subject of the benchmark.
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
    assert!(stream.looked_at() <= flood.len() as u64 + 64 * 1024 + 100, "{} bytes", stream.looked_at());
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
        let mut spilled = spilling(capacity, usize::MAX, false);
        for (index, piece) in pieces.iter().enumerate() {
            spilled.handle(Time::ZERO, Input::Bytes(Conn(0), piece, Stamps::One(exact(index as u64))));
        }
        for (offset, (byte, when)) in (0..).zip(&all) {
            prop_assert_eq!(spilled.read(offset, 1).map(|read| read.to_vec()), Ok(vec![*byte]));
            prop_assert_eq!(spilled.stamp(offset), Some(exact(*when)));
        }
        prop_assert_eq!(spilled.stamps(0..u64::MAX).len(), pieces.iter().filter(|piece| !piece.is_empty()).count());
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
