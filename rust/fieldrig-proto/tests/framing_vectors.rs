//! Frames and checksums that other people's packages made: `fixtures/framing`.

use fieldrig_proto::endpoint::Stamps;
use fieldrig_proto::line::framing::sum::Sum;
use fieldrig_proto::line::framing::{Decoder, Event, Framing, Notation, Position, SumField, Wrap};
use fieldrig_proto::time::Stamp;
use std::sync::Arc;

const VECTORS: &str = include_str!("../../../fixtures/framing/vectors.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex")).collect()
}

fn hdlc(name: &str, width: usize) -> Framing {
    let field = SumField {
        name: "fcs".into(),
        at: Position::End(width),
        width,
        notation: Notation::Little,
        sum: Sum::named(name).expect("it is in the catalogue"),
        from: Position::Start(0),
        to: Position::End(width),
        with_start: false,
    };
    Framing { sums: vec![field], minimum: width, ..Framing::hdlc() }
}

#[test]
fn frames_of_other_packages_are_made_and_read_alike() {
    let mut seen = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with(['#', 'c']) || line.starts_with("cobs")) {
        let [kind, payload, wire] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (framing, trailer) = match kind {
            "slip" => (Framing::slip(), 0),
            "cobs" => (Framing::cobs(), 0),
            "fcs16" => (hdlc("fcs-16", 2), 2),
            _ => (hdlc("fcs-32", 4), 4),
        };
        let (payload, wire) = (bytes(payload), bytes(wire));
        let mut body = [payload.clone(), vec![0; trailer]].concat();
        framing.seal(&mut body);
        assert_eq!(framing.wrap(&body, &Wrap::default()), wire, "{line}");
        let mut decoder = Decoder::new(Arc::new(framing));
        decoder.push(&wire, Stamps::One(Stamp::default()));
        let Some(Event::Frame(frame)) = decoder.poll() else { panic!("no frame: {line}") };
        assert_eq!((frame.body, frame.problems), (body, Vec::new()), "{line}");
        seen += 1;
    }
    assert!(seen >= 50, "{seen} frames");
}

#[test]
fn checksums_of_another_package_are_the_same() {
    let mut seen = 0;
    for line in VECTORS.lines().filter(|line| line.starts_with("crc ")) {
        let [_, name, payload, value] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        // A value has at most 64 bits here.
        if name == "crc-82/darc" {
            continue;
        }
        let sum = Sum::named(name).unwrap_or_else(|problem| panic!("{problem}: {line}"));
        assert_eq!(sum.of(&bytes(payload)), u64::from_str_radix(value, 16).expect("hex"), "{line}");
        seen += 1;
    }
    assert!(seen >= 200, "{seen} checksums");
}
