//! The framing toolkit, and protocols that are defined by data.

use super::{Target, decoder};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::Stamps;
use fieldrig_proto::line::defined::{Definition, Patch, protocol};
use fieldrig_proto::line::framing::sum::Sum;
use fieldrig_proto::line::framing::{Cut, Decoder, Event, Framing, LengthField, Notation, Position, SumField};
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::hint::black_box;
use std::sync::Arc;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "framing: every framing, in pieces",
            samples: FRAMES,
            make: || {
                let (framings, mut turn) = (framings(), 0);
                decoder(move |bytes| {
                    turn += 1;
                    frames(&framings[turn % framings.len()], bytes);
                })
            },
        },
        Target {
            name: "framing: messages that are defined by data",
            samples: FRAMES,
            make: || {
                let (definition, protocol) = described();
                decoder(move |bytes| messages(&definition, protocol, bytes))
            },
        },
    ]
}

fn framings() -> Vec<Arc<Framing>> {
    let sum = |name: &str| SumField {
        name: "checksum".into(),
        at: Position::End(2),
        width: 2,
        notation: Notation::Little,
        sum: Sum::named(name).expect("it is in the catalogue"),
        from: Position::Start(0),
        to: Position::End(2),
        with_start: false,
    };
    let length = Some(LengthField { name: "length".into(), offset: 0, width: 1, notation: Notation::Big, extra: 3 });
    let counted =
        Framing { cut: Cut::Length, end: Vec::new(), length, minimum: 3, limit: 64, ..Framing::delimited(&[]) };
    let all = [
        Framing { limit: 64, ..Framing::slip() },
        Framing { limit: 64, ..Framing::cobs() },
        Framing { sums: vec![sum("fcs-16")], minimum: 2, limit: 64, ..Framing::hdlc() },
        Framing { sums: vec![sum("crc-16/modbus")], ..counted.clone() },
        Framing { start: vec![vec![0xaa, 0x55]], ..counted.clone() },
        Framing { cut: Cut::Fixed(7), length: None, sums: vec![sum("sum16")], minimum: 7, ..counted.clone() },
        Framing { cut: Cut::Silence(Duration::from_millis(1)), length: None, ..counted },
        Framing { start: vec![b"$".to_vec()], limit: 64, ..Framing::delimited(b"\r\n") },
    ];
    all.into_iter().map(Arc::new).collect()
}

/// The same bytes give the same events in one piece and byte by byte; nothing is longer than allowed.
fn frames(framing: &Arc<Framing>, bytes: &[u8]) {
    let (mut whole, mut pieces) = (Decoder::new(Arc::clone(framing)), Decoder::new(Arc::clone(framing)));
    whole.push(bytes, Stamps::One(Stamp::default()));
    bytes.iter().for_each(|byte| pieces.push(&[*byte], Stamps::One(Stamp::default())));
    whole.expire(Time::from_nanos(2_000_000));
    pieces.expire(Time::from_nanos(2_000_000));
    whole.finish();
    pieces.finish();
    while let Some(event) = whole.poll() {
        if let Event::Frame(frame) = &event {
            assert!(frame.raw.len() <= 2 * framing.limit + 80, "a frame of {} bytes", frame.raw.len());
        }
        assert_eq!(Some(event), pieces.poll());
    }
    assert_eq!(pieces.poll(), None);
}

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn described() -> (Arc<Definition>, &'static Protocol) {
    let header = table(&[("kind", "u8 tag".into()), ("size", "u8 length".into())]);
    let frame = table(&[
        ("by", "length".into()),
        ("start", "7e".into()),
        ("escape", "hdlc".into()),
        ("header", header),
        ("checksum", "crc-16/modbus".into()),
    ]);
    let scaled = table(&[("type", "i16".into()), ("scale", Value::Float(0.1))]);
    let fields =
        [("level", scaled), ("digits", "bcd[2]".into()), ("count", "u8".into()), ("items", "u16[count]".into())];
    let fields = table(&[fields.as_slice(), &[("name", "text".into())]].concat());
    let message = table(&[("state", table(&[("tag", Value::Int(1)), ("fields", fields)]))]);
    let description = table(&[("name", "fuzzed".into()), ("frame", frame), ("message", message)]);
    let definition = Arc::new(Definition::read(&description).expect("a sound description"));
    let protocol = protocol(&definition);
    (definition, protocol)
}

/// What can be read can be written, and is read as the same again.
fn messages(definition: &Definition, protocol: &Protocol, bytes: &[u8]) {
    for sender in [Sender::Client, Sender::Server] {
        black_box((protocol.dissect)(bytes, sender).render(bytes));
        black_box((protocol.message_length)(bytes, sender));
    }
    let message = definition.decode(bytes, None);
    let sound = message.problems.is_empty() && message.fields.iter().all(|field| field.note.is_none());
    let Some(name) = message.name.as_ref().filter(|_| sound) else { return };
    let plain = |name: &str| ["level", "digits", "count", "items", "name"].contains(&name);
    let fields = message.fields.iter().filter(|field| plain(&field.name));
    let fields: Vec<_> = fields.map(|field| (field.name.clone(), field.value.clone())).collect();
    let again = definition.encode(name, &fields, 0, &Patch::default()).expect("what was read can be written");
    let again = definition.decode(&again.body, None);
    let values = |message: &fieldrig_proto::line::defined::Message| {
        let plain = message.fields.iter().filter(|field| plain(&field.name));
        plain.map(|field| format!("{}", field.value)).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&message));
}

const FRAMES: &[&[u8]] = &[
    &[0xc0, 1, 0xdb, 0xdc, 2, 0xc0],
    &[3, 0x11, 0x22, 2, 0x33, 0],
    &[0x7e, 0xff, 0x7d, 0x23, 0xc0, 0x21, 0x7d, 0x5e, 0x7e],
    &[2, 0x10, 0x20, 0xdc, 0x18, 2, 0x10, 0x20, 0xdc, 0x18],
    &[0xaa, 0x55, 1, 9, 9, 9, 0xaa, 0x55],
    &[1, 6, 0, 10, 0x12, 0x34, 0, b'x', 0, 0],
    b"$hello\r\n$$x\r\n",
];
