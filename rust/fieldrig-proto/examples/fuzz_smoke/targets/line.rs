//! Texts that people write, and the framing toolkit.

use super::{Target, text};
use fieldrig_proto::device::{Condition, Template};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::parse_duration;
use std::hint::black_box;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "durations", samples: DURATIONS, make: || text(|text| drop(black_box(parse_duration(text)))) },
        Target {
            name: "line settings",
            samples: LINES,
            make: || text(|text| drop(black_box(text.parse::<LineSettings>()))),
        },
        Target {
            name: "conditions",
            samples: CONDITIONS,
            make: || text(|text| drop(black_box(Condition::parse(text, &[])))),
        },
        Target { name: "templates", samples: TEMPLATES, make: || text(template) },
    ]
}

/// What compiles must render.
fn template(text: &str) {
    if let Ok(template) = Template::compile(text, &["voltage", "x"]) {
        black_box(template.render(&|name| (name == "x").then_some(Value::Float(1.5))));
        black_box(template.value(&|_| None));
    }
}

const DURATIONS: &[&[u8]] = &[b"500ms", b"1.5 s", b"2min", b"999999999999999h", b"0us"];
const LINES: &[&[u8]] = &[b"9600 8E1", b"115200 8N1", b"19200 7O2"];
const CONDITIONS: &[&[u8]] = &[b"voltage > 250", b"temperature >= 85.0 becomes true", b"x == -1e300"];
const TEMPLATES: &[&[u8]] = &[b"{voltage}", b"{\"code\": \"{x}\", {{}}", b"V={voltage} A={x}"];
