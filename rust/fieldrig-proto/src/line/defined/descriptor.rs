//! How the engine sees a protocol that is defined by data: a descriptor like any other.
//!
//! A descriptor lives as long as the program, so each definition that is handed to the engine takes a few kilobytes for
//! good; bench files and Python make one for each protocol that they read.

use super::definition::{Definition, Part};
use super::face::DefinedFace;
use super::read::key;
use crate::dissect::{Dissection, Sender, hex};
use crate::endpoint::Stamps;
use crate::line::framing::{Cut, Decoder, Event};
use crate::protocol::{BenchKey, Built, Constructor, Protocol, Role, SettingError, Settings, setting};
use crate::record::Value;
use crate::time::Stamp;
use std::sync::Arc;

/// What a face takes: the engine tells it the names of the points.
const KEYS: &[BenchKey] = &[key("points", "the names of the points of the device; given by the bench")];

/// The descriptor of a definition.
#[must_use]
pub fn protocol(definition: &Arc<Definition>) -> &'static Protocol {
    let name: &'static str = Box::leak(definition.name.clone().into_boxed_str());
    let (dissected, measured, built) = (Arc::clone(definition), Arc::clone(definition), Arc::clone(definition));
    let build = move |name: &str, settings: &Settings| device(&built, name, settings);
    let constructor = Constructor { role: Role::Device, keys: KEYS, inner: &[], build: Box::leak(Box::new(build)) };
    Box::leak(Box::new(Protocol {
        name,
        schemes: &[],
        dissect: Box::leak(Box::new(move |bytes: &[u8], sender| dissect(&dissected, name, bytes, sender))),
        message_length: Box::leak(Box::new(move |bytes: &[u8], _| message_length(&measured, bytes))),
        unasked: true,
        half_duplex: false,
        capture_tag: "data",
        constructors: Box::leak(Box::new([constructor])),
    }))
}

fn device(definition: &Arc<Definition>, name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let points = setting(settings, "points").map(|points| match points {
        Value::List(points) => points.iter().filter_map(|point| point.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    });
    let face = DefinedFace::new(name, Arc::clone(definition), points.as_deref())?;
    Ok(Built::Face(Box::new(face)))
}

/// The first event of a decoder that gets one byte after the other, and how many bytes it took.
fn first(definition: &Definition, bytes: &[u8]) -> Option<(Event, usize)> {
    let mut decoder = Decoder::new(Arc::clone(&definition.framing));
    for (index, byte) in bytes.iter().enumerate() {
        decoder.push(&[*byte], Stamps::One(Stamp::default()));
        if let Some(event) = decoder.poll() {
            return Some((event, index + 1));
        }
    }
    None
}

/// How many bytes the first frame has; garbage in front of it is a message of its own.
fn message_length(definition: &Definition, bytes: &[u8]) -> Option<usize> {
    if matches!(definition.framing.cut, Cut::Silence(_)) {
        return Some(bytes.len()).filter(|length| *length > 0);
    }
    match first(definition, bytes)? {
        (Event::Frame(_), taken) => Some(taken),
        (Event::Garbage { count, .. }, _) => Some(count),
    }
}

/// A frame, field by field. What cannot be read is bytes with a note.
fn dissect(definition: &Definition, name: &'static str, bytes: &[u8], sender: Sender) -> Dissection {
    let mut found = Dissection::new(name);
    let frame = match whole(definition, bytes) {
        Some(frame) => frame,
        None => {
            found.summary = format!("{} bytes that are no frame", bytes.len());
            found.field(0..bytes.len(), "data", hex(bytes)).note = Some("no frame".to_owned());
            return found;
        }
    };
    let message = definition.decode(&frame.body, Some(sender));
    found.summary = message.name.clone().unwrap_or_else(|| "unknown message".to_owned());
    // Where the body stands as it is, fields have their bytes; behind escapes or COBS they have those of the body.
    let at = bytes.windows(frame.body.len().max(1)).position(|window| window == frame.body);
    if let Some(at) = at.filter(|at| *at > 0) {
        found.field(0..at, "start", hex(&bytes[..at]));
    }
    for field in &message.fields {
        let range = at.map_or(0..0, |at| at + field.range.start..at + field.range.end);
        let unit = if field.unit.is_empty() { String::new() } else { format!(" {}", field.unit) };
        let problem =
            frame.problems.iter().chain(&message.problems).find(|problem| problem.offset() == Some(field.range.start));
        let shown = found.field(range, field.name.clone(), format!("{}{unit}", field.value));
        shown.note = problem.map(ToString::to_string).or_else(|| field.note.clone());
        if field.part == Part::Payload {
            found.summary.push_str(&format!(" {}={}{unit}", field.name, field.value));
        }
    }
    if let Some(at) = at {
        let end = at + frame.body.len();
        if end < bytes.len() {
            found.field(end..bytes.len(), "end", hex(&bytes[end..]));
        }
    }
    if let Some(problem) = frame.problems.first().or(message.problems.first()) {
        found.summary = format!("{} [{problem}]", found.summary);
    }
    found
}

/// The one frame that these bytes are, sound or not.
fn whole(definition: &Definition, bytes: &[u8]) -> Option<crate::line::framing::Frame> {
    let mut decoder = Decoder::new(Arc::clone(&definition.framing));
    decoder.push(bytes, Stamps::One(Stamp::default()));
    decoder.finish();
    std::iter::from_fn(|| decoder.poll()).find_map(|event| match event {
        Event::Frame(frame) => Some(frame),
        Event::Garbage { .. } => None,
    })
}
