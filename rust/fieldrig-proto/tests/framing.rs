//! The framing toolkit: every framing gives back what it was given, however the bytes are cut, and finds its way back
//! after garbage.

use fieldrig_proto::endpoint::Stamps;
use fieldrig_proto::line::framing::sum::Sum;
use fieldrig_proto::line::framing::{
    Constant, Cut, Decoder, Escape, Event, Frame, Framing, LengthField, Notation, Position, Problem, SumField, Wrap,
};
use fieldrig_proto::time::{Duration, Stamp, Time};
use proptest::prelude::*;
use std::sync::Arc;

fn sum(name: &str, notation: Notation) -> SumField {
    let sum = Sum::named(name).expect("it is in the catalogue");
    let width = sum.bytes() * if notation == Notation::Hex { 2 } else { 1 };
    let (from, to) = (Position::Start(0), Position::End(width));
    SumField { name: "checksum".into(), at: Position::End(width), width, notation, sum, from, to, with_start: false }
}

fn length(offset: usize, width: usize, notation: Notation, extra: i64) -> Option<LengthField> {
    Some(LengthField { name: "length".into(), offset, width, notation, extra })
}

/// Name, framing, bytes of its header, bytes of its trailer.
fn framings() -> Vec<(&'static str, Framing, usize, usize)> {
    let crc16 = || vec![sum("crc-16/modbus", Notation::Little)];
    let counted = Framing {
        cut: Cut::Length,
        end: Vec::new(),
        length: length(0, 1, Notation::Big, 1),
        ..Framing::delimited(&[])
    };
    let dle = Escape { byte: 0x10, map: vec![(0x10, 0x10)], xor: None, also: Vec::new() };
    vec![
        ("slip", Framing::slip(), 0, 0),
        ("cobs with a CRC", Framing { sums: vec![sum("crc-32", Notation::Big)], minimum: 4, ..Framing::cobs() }, 0, 4),
        ("hdlc, FCS-16", Framing { sums: vec![sum("fcs-16", Notation::Little)], minimum: 2, ..Framing::hdlc() }, 0, 2),
        ("hdlc, FCS-32", Framing { sums: vec![sum("fcs-32", Notation::Little)], minimum: 4, ..Framing::hdlc() }, 0, 4),
        (
            "length",
            Framing { sums: crc16(), minimum: 3, length: length(0, 1, Notation::Big, 3), ..counted.clone() },
            1,
            2,
        ),
        (
            "start, length of two bytes, sum",
            Framing {
                start: vec![vec![0xaa, 0x55]],
                length: length(1, 2, Notation::Little, 0),
                sums: vec![sum("sum8", Notation::Big)],
                minimum: 4,
                ..counted.clone()
            },
            3,
            1,
        ),
        (
            "start, decimal length, end, sum in hexadecimal digits",
            Framing {
                start: vec![b"$".to_vec()],
                end: vec![b"\r\n".to_vec()],
                length: length(0, 3, Notation::Decimal, 0),
                sums: vec![sum("xor8", Notation::Hex)],
                minimum: 5,
                ..counted.clone()
            },
            3,
            2,
        ),
        (
            "start, escapes, length, CRC",
            Framing {
                start: vec![vec![0x7e]],
                escape: Some(Escape::hdlc()),
                length: length(0, 1, Notation::Big, 3),
                sums: crc16(),
                minimum: 3,
                ..counted.clone()
            },
            1,
            2,
        ),
        (
            "two markers of two bytes, doubled escape",
            Framing {
                start: vec![vec![0x10, 0x02]],
                escape: Some(dle),
                sums: crc16(),
                minimum: 2,
                ..Framing::delimited(&[0x10, 0x03])
            },
            0,
            2,
        ),
        (
            "fixed",
            Framing { cut: Cut::Fixed(12), sums: crc16(), minimum: 12, end: Vec::new(), ..counted.clone() },
            0,
            2,
        ),
    ]
}

/// A body with this payload, sealed; `None` if the framing cannot carry it.
fn body(framing: &Framing, header: usize, trailer: usize, payload: &[u8]) -> Option<Vec<u8>> {
    let mut payload = payload.to_vec();
    if let Cut::Fixed(length) = framing.cut {
        payload.resize(length - header - trailer, 0x5a);
    }
    let mut body = [vec![0; header], payload, vec![0; trailer]].concat();
    if body.is_empty() {
        return None;
    }
    framing.seal(&mut body);
    Some(body)
}

fn at(nanos: u64) -> Stamp {
    Stamp::exact(Time::from_nanos(nanos))
}

/// All events of these bytes, in pieces of these sizes; each byte has its own stamp.
fn decode(framing: &Framing, bytes: &[u8], pieces: &[usize]) -> Vec<Event> {
    let mut decoder = Decoder::new(Arc::new(framing.clone()));
    let (mut taken, mut events) = (0, Vec::new());
    for piece in pieces.iter().cycle() {
        let end = (taken + piece).min(bytes.len());
        let stamps: Vec<Stamp> = (taken..end).map(|index| at(index as u64)).collect();
        decoder.push(&bytes[taken..end], Stamps::PerByte(&stamps));
        events.extend(std::iter::from_fn(|| decoder.poll()));
        taken = end;
        if taken == bytes.len() {
            break;
        }
    }
    decoder.finish();
    events.extend(std::iter::from_fn(|| decoder.poll()));
    events
}

fn sound(events: &[Event]) -> Vec<&Frame> {
    fn frame(event: &Event) -> Option<&Frame> {
        match event {
            Event::Frame(frame) if frame.problems.is_empty() => Some(frame),
            _ => None,
        }
    }
    events.iter().filter_map(frame).collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![any::<u8>(), Just(0), Just(0x7e), Just(0x7d), Just(0xc0), Just(0xdb), Just(0x10), Just(0xaa)];
    proptest::collection::vec(byte, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_framed_comes_back(payloads in proptest::collection::vec(bytes(), 1..5), pieces in proptest::collection::vec(1usize..9, 1..5)) {
        for (name, framing, header, trailer) in framings() {
            let bodies: Vec<Vec<u8>> =
                payloads.iter().filter_map(|payload| body(&framing, header, trailer, payload)).collect();
            let wire: Vec<u8> = bodies.iter().flat_map(|body| framing.wrap(body, &Wrap::default())).collect();
            let events = decode(&framing, &wire, &pieces);
            let back: Vec<Vec<u8>> = sound(&events).into_iter().map(|frame| frame.body.clone()).collect();
            prop_assert_eq!(&back, &bodies, "{}", name);
            prop_assert_eq!(events.len(), bodies.len(), "{}: nothing else", name);
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_events_however_they_are_cut(
        noise in proptest::collection::vec(bytes(), 1..6),
        pieces in proptest::collection::vec(1usize..40, 1..6),
    ) {
        for (name, framing, header, trailer) in framings() {
            let mut wire = Vec::new();
            for (index, noise) in noise.iter().enumerate() {
                match index % 2 {
                    0 => wire.extend_from_slice(noise),
                    _ => wire.extend(body(&framing, header, trailer, noise).map_or(Vec::new(), |body| framing.wrap(&body, &Wrap::default()))),
                }
            }
            let whole = decode(&framing, &wire, &[wire.len().max(1)]);
            prop_assert_eq!(&decode(&framing, &wire, &pieces), &whole, "{}", name);
            prop_assert_eq!(decode(&framing, &wire, &[1]), whole, "{}", name);
        }
    }

    #[test]
    fn a_byte_that_is_changed_is_told_and_the_frames_behind_are_found(
        payload in bytes(), place in any::<prop::sample::Index>(), mask in 1u8..=255,
    ) {
        for (name, framing, header, trailer) in framings() {
            // A frame that is changed may swallow what follows, as far as its longest length. The frames behind it differ:
            // of equal ones a CRC that fits by chance across two of them would fit across all.
            let frame = |number: u8| body(&framing, header, trailer, &[&[number], payload.as_slice()].concat());
            let good: Option<Vec<Vec<u8>>> = (0..80).map(|number| Some(framing.wrap(&frame(number)?, &Wrap::default()))).collect();
            let Some(good) = good else { continue };
            let mut wrong = good[0].clone();
            let place = place.index(wrong.len());
            wrong[place] ^= mask;
            let events = decode(&framing, &[wrong.clone(), good.concat()].concat(), &[7]);
            if !framing.sums.is_empty() {
                let meant = |frame: &&&Frame| good.iter().any(|good| frame.raw == *good || good.ends_with(&frame.raw));
                let kept = sound(&events).iter().filter(meant).count();
                prop_assert!(kept >= 30, "{name}: {kept} of 80 frames found behind {wrong:02x?}");
            }
        }
    }
}

#[test]
fn a_wrong_checksum_says_where_what_was_there_and_what_was_expected() {
    let (_, framing, ..) = framings().remove(4);
    let events = decode(&framing, &[0x02, 0x10, 0x20, 0x00, 0x00], &[5]);
    let [Event::Frame(frame)] = events.as_slice() else { panic!("{events:?}") };
    let texts: Vec<String> = frame.problems.iter().map(Problem::to_string).collect();
    assert_eq!(texts, ["checksum at offset 3 is 00 00, dc 18 would be right"]);
    assert_eq!((frame.first, frame.last), (at(0), at(4)));
}

#[test]
fn garbage_before_a_frame_is_counted_and_the_frame_is_found() {
    let (_, framing, header, trailer) = framings().remove(5);
    let good = framing.wrap(&body(&framing, header, trailer, b"hello").expect("a body"), &Wrap::default());
    let wire = [&[0xaa, 1, 2, 0xaa][..], &good].concat();
    let events = decode(&framing, &wire, &[3]);
    let [Event::Garbage { bytes, count, first, last }, Event::Frame(frame)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((bytes.as_slice(), *count, *first, *last), (&[0xaa, 1, 2, 0xaa][..], 4, at(0), at(3)));
    assert_eq!(frame.raw, good);
}

#[test]
fn a_frame_cut_off_by_the_next_one_is_told_and_the_next_one_is_found() {
    for (name, framing, header, trailer) in framings() {
        if framing.sums.is_empty() || framing.start.is_empty() {
            continue;
        }
        let good = framing.wrap(&body(&framing, header, trailer, b"hello").expect("a body"), &Wrap::default());
        let wire = [&good[..good.len() - 4], &good, &good].concat();
        let events = decode(&framing, &wire, &[1]);
        assert!(matches!(&events[0], Event::Frame(frame) if !frame.problems.is_empty()), "{name}: {events:?}");
        assert_eq!(sound(&events).len(), 2, "{name}: {events:?}");
    }
}

#[test]
fn sound_frames_behind_a_wrong_length_are_found_when_what_it_announced_never_comes() {
    let (_, framing, header, trailer) = framings().remove(5);
    let good = framing.wrap(&body(&framing, header, trailer, &[0; 6]).expect("a body"), &Wrap::default());
    // One bit of the length: 0x040a bytes instead of 0x000a, more than all that comes.
    let mut wrong = good.clone();
    wrong[4] ^= 0x04;
    let wire = [wrong, good.repeat(80)].concat();
    let events = decode(&framing, &wire, &[7]);
    let Event::Frame(cut) = &events[0] else { panic!("{events:?}") };
    assert_eq!(cut.problems, [Problem::Truncated { length: wire.len(), expected: Some(0x40a + 2) }]);
    assert_eq!(sound(&events).len(), 80, "{events:?}");
    assert_eq!(events.len(), 81);
    assert_eq!(sound(&events)[0].first, at(12));
}

#[test]
fn content_of_an_unfinished_frame_is_no_frame_where_no_checksum_tells_it_from_one() {
    let framing = Framing {
        cut: Cut::Length,
        end: Vec::new(),
        minimum: 1,
        length: length(0, 1, Notation::Big, 1),
        ..Framing::delimited(&[])
    };
    // Five bytes are announced, two come; by themselves they would read as a frame.
    let events = decode(&framing, &[5, 1, 0x41], &[1]);
    let [Event::Frame(cut)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(cut.problems, [Problem::Truncated { length: 3, expected: Some(6) }]);
}

#[test]
fn a_frame_that_is_too_long_is_told_and_takes_no_memory() {
    for (name, framing, header, trailer) in framings() {
        let framing = Framing { limit: 16, ..framing };
        if matches!(framing.cut, Cut::Fixed(_)) {
            continue;
        }
        let good = framing.wrap(&body(&framing, header, trailer, b"hello").expect("a body"), &Wrap::default());
        let long = body(&framing, header, trailer, &[0x33; 200]).expect("a body");
        let wire = [framing.wrap(&long, &Wrap::default()), good.clone(), good].concat();
        let events = decode(&framing, &wire, &[50]);
        let told = events.iter().any(|event| {
            matches!(event, Event::Frame(frame)
            if frame.problems.iter().any(|problem| matches!(problem, Problem::TooLong { .. })))
        });
        assert!(told, "{name}: {events:?}");
        assert!(!sound(&events).is_empty(), "{name}: {events:?}");
    }
}

#[test]
fn an_unfinished_frame_ends_when_its_time_is_over() {
    for (name, framing, header, trailer) in framings() {
        let framing = Framing { patience: Some(Duration::from_millis(1)), ..framing };
        let good = framing.wrap(&body(&framing, header, trailer, b"hello").expect("a body"), &Wrap::default());
        let mut decoder = Decoder::new(Arc::new(framing));
        decoder.push(&good[..good.len() - 2], Stamps::One(at(500)));
        assert_eq!(decoder.deadline(), Some(Time::from_nanos(1_000_500)), "{name}");
        decoder.expire(Time::from_nanos(1_000_499));
        assert_eq!(decoder.poll(), None, "{name}");
        decoder.expire(Time::from_nanos(1_000_500));
        let Some(Event::Frame(frame)) = decoder.poll() else { panic!("{name}: nothing was told") };
        assert!(matches!(frame.problems[0], Problem::Truncated { .. }), "{name}: {:?}", frame.problems);
        assert_eq!(decoder.deadline(), None, "{name}");
        decoder.push(&good, Stamps::One(at(2_000_000)));
        assert!(
            matches!(decoder.poll(), Some(Event::Frame(frame)) if frame.raw == good || good.ends_with(&frame.raw)),
            "{name}"
        );
    }
}

#[test]
fn silence_ends_frames_and_what_is_always_the_same_is_checked() {
    let constant = Constant { name: "version".into(), at: Position::Start(0), bytes: vec![1] };
    let framing = Framing {
        cut: Cut::Silence(Duration::from_nanos(100)),
        constants: vec![constant],
        end: Vec::new(),
        ..Framing::delimited(&[])
    };
    let mut decoder = Decoder::new(Arc::new(framing));
    for (byte, nanos) in [(1, 0), (2, 50), (2, 400), (3, 420)] {
        decoder.push(&[byte], Stamps::One(at(nanos)));
    }
    let Some(Event::Frame(frame)) = decoder.poll() else { panic!("no frame") };
    assert_eq!((frame.body.as_slice(), frame.problems.as_slice()), (&[1, 2][..], &[][..]));
    assert_eq!(decoder.deadline(), Some(Time::from_nanos(520)));
    decoder.expire(Time::from_nanos(520));
    let Some(Event::Frame(frame)) = decoder.poll() else { panic!("no frame") };
    assert_eq!(frame.problems[0].to_string(), "version at offset 0 is 02, it is always 01");
}

#[test]
fn rules_of_the_standards_hold() {
    // RFC 1055: an end and an escape in the data go as two bytes each; an end may stand in front.
    let slip = Framing::slip().wrap(&[1, 0xc0, 0xdb, 2], &Wrap::default());
    assert_eq!(slip, [1, 0xdb, 0xdc, 0xdb, 0xdd, 2, 0xc0]);
    assert_eq!(sound(&decode(&Framing::slip(), &[&[0xc0, 0xc0][..], &slip].concat(), &[1])).len(), 1);
    // RFC 1662 4.3: an escape byte before the flag aborts the frame; the flag serves the next one, too.
    let hdlc = Framing { sums: vec![sum("fcs-16", Notation::Little)], minimum: 2, ..Framing::hdlc() };
    let good = hdlc.wrap(&body(&hdlc, 0, 2, &[0xff, 0x03, 0x7e]).expect("a body"), &Wrap::default());
    let wire = [&[0x7e, 1, 2, 3, 0x7d][..], &good, &good[1..]].concat();
    let events = decode(&hdlc, &wire, &[1]);
    let Event::Frame(aborted) = &events[0] else { panic!("{events:?}") };
    assert_eq!(aborted.problems[0].to_string(), "the escape before offset 3 stands before 7e");
    assert_eq!(sound(&events).len(), 2, "{events:?}");
}
