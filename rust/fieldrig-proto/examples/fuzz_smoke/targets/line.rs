//! Texts that people write, and the framing toolkit.

use super::{Target, decoder, text};
use crate::endpoints::{Driver, Link};
use fieldrig_proto::endpoint::{How, Stamps};
use fieldrig_proto::fault::Chance;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::line::delimiter::{Ending, Framer};
use fieldrig_proto::line::stream::{Keeping, Patterns, Stream};
use fieldrig_proto::time::{Duration, Stamp, Time, parse_duration};
use std::hint::black_box;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "durations", samples: DURATIONS, make: || text(|text| drop(black_box(parse_duration(text)))) },
        Target {
            name: "line settings",
            samples: LINES,
            make: || text(|text| drop(black_box(text.parse::<LineSettings>()))),
        },
        Target { name: "line: frames by delimiter", samples: CONSOLE, make: || decoder(frames) },
        Target {
            name: "line: stream",
            samples: CONSOLE,
            make: || {
                let stream = || Stream::keeping(Keeping { capacity: Some(500), strip: true, ..Keeping::default() });
                Driver::eater(&[Link::wire("dut"), Link::connection("dut")], stream, use_it)
            },
        },
    ]
}

/// No frame is longer than the limit.
fn frames(bytes: &[u8]) {
    for ending in [Ending::Line, Ending::Bytes(b"\r\n".to_vec()), Ending::Bytes(Vec::new())] {
        let mut framer = Framer::new(ending, 7);
        framer.push(bytes, Stamps::PerByte(&[Stamp::default()]));
        while let Some(frame) = framer.poll() {
            assert!(frame.bytes.len() <= 7, "a frame of {} bytes", frame.bytes.len());
        }
    }
}

/// What the owner of a stream does: looks for something, sends, closes.
fn use_it(stream: &mut Stream, now: Time, chance: &mut Chance) {
    // A cursor that only moves on, as that of a reader.
    let from = stream.end().saturating_sub(chance.below(600));
    match chance.below(8) {
        0 => drop(black_box(stream.send_after(now, Duration::from_millis(1), b"x"))),
        1 if chance.below(20) == 0 => stream.close(now, How::HalfOpen),
        2 => drop(black_box(stream.read(from, 100))),
        3 => drop(black_box(stream.stamps(from..from + 100))),
        _ => PATTERNS.with(|patterns| {
            let pattern = &patterns[chance.below(patterns.len() as u64) as usize];
            if let Ok(Some(found)) = stream.search(pattern, from) {
                assert!(found.start >= from && found.end <= stream.end(), "{found:?} from {from}");
            }
        }),
    }
}

thread_local! {
    static PATTERNS: Vec<Patterns> = [r"boot ok v(?P<v>\d+)", r"(?m)^\w+ .*$", r"\bok\b", r"(?s-u)\xff.*\n", ""]
        .iter()
        .filter_map(|pattern| Patterns::new(&[pattern]).ok())
        .collect();
}

const DURATIONS: &[&[u8]] = &[b"500ms", b"1.5 s", b"2min", b"999999999999999h", b"0us"];
const LINES: &[&[u8]] = &[b"9600 8E1", b"115200 8N1", b"19200 7O2"];
const CONSOLE: &[&[u8]] = &[b"boot ok v12\r\n", b"login: ", b"set 85.5\r", b"\r\n\r\n> ", b"\xff\xfe\n"];
