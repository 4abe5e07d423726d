//! What a description must not say, although each key by itself is fine.
//!
//! Rules of this file:
//! - A check that would never look at anything is refused: a checksum over nothing or over itself.
//! - What a correct peer cannot fulfil is refused: answers that only a client sends, repeated fields that differ by
//!   definition.
//! - What can be read in two ways is refused: markers of which one begins another, escapes that do not come back.

use super::definition::Definition;
use super::field::{Kind, Role};
use super::read::Outcome;
use crate::dissect::Sender;
use crate::line::framing::{Cut, Framing, Position};
use crate::reader::Table;

/// Finds what makes a whole description unsound.
pub(super) fn check(definition: &Definition, table: &Table<'_>) -> Outcome<()> {
    let refuse = |(key, problem): (String, String)| Err(table.error(&key, problem));
    let framing = &definition.framing;
    let first = markers(framing)
        .or_else(|| escapes(framing))
        .or_else(|| limit(framing))
        .or_else(|| (0..framing.sums.len()).find_map(|index| sum(framing, index)))
        .or_else(|| roles(definition))
        .or_else(|| answers(definition))
        .or_else(|| repeated(definition));
    first.map_or(Ok(()), refuse)
}

type Found = Option<(String, String)>;

fn markers(framing: &Framing) -> Found {
    for (name, markers) in [("start", &framing.start), ("end", &framing.end)] {
        for (index, one) in markers.iter().enumerate() {
            let begins = |(other, longer): (usize, &Vec<u8>)| other != index && longer.starts_with(one);
            if markers.iter().enumerate().any(begins) {
                return Some((format!("frame.{name}"), "one of them begins with another one: which came?".to_owned()));
            }
        }
    }
    let zero = framing.cut != Cut::Cobs || framing.end == [[0]];
    (!zero)
        .then(|| ("frame.end".to_owned(), "COBS keeps only the zero out of the data: no other end is sure".to_owned()))
}

fn escapes(framing: &Framing) -> Found {
    let escape = framing.escape.as_ref()?;
    let markers = || framing.start.iter().chain(&framing.end);
    let key = || "frame.escape".to_owned();
    for byte in 0..=255 {
        let mut sent = Vec::new();
        escape.write(byte, &mut sent);
        let marker = |byte: u8| markers().any(|marker| *marker == [byte]);
        match sent.as_slice() {
            [_, partner] if marker(*partner) => {
                return Some((
                    key(),
                    format!("{byte:02x} is sent as {:02x} {partner:02x}, and {partner:02x} is a marker", sent[0]),
                ));
            }
            [_, partner] if escape.undo(*partner) != Some(byte) => {
                return Some((key(), format!("{:02x} {partner:02x} stands for two bytes", sent[0])));
            }
            [plain] if *plain == escape.byte || marker(*plain) => {
                return Some((key(), format!("it says not how {byte:02x} is sent")));
            }
            _ => {}
        }
    }
    None
}

fn limit(framing: &Framing) -> Found {
    let short = framing.limit < framing.minimum;
    short.then(|| ("frame.limit".to_owned(), format!("no frame fits: the shortest has {} bytes", framing.minimum)))
}

/// Whether a place surely lies behind another one, or at it, with whatever payload. `None`: that depends.
fn behind(one: Position, other: Position, minimum: usize) -> bool {
    match (one, other) {
        (Position::Start(one), Position::Start(other)) => one >= other,
        (Position::End(one), Position::End(other)) => one <= other,
        (Position::End(end), Position::Start(start)) => minimum >= end + start,
        (Position::Start(_), Position::End(_)) => false,
    }
}

fn sum(framing: &Framing, index: usize) -> Found {
    let field = &framing.sums[index];
    let refuse = |problem: String| Some(("frame".to_owned(), format!("the checksum `{}` {problem}", field.name)));
    let reversed = match (field.from, field.to) {
        (Position::End(from), Position::Start(to)) => from + to <= framing.minimum,
        (from, to) => behind(from, to, framing.minimum),
    };
    if reversed && !(field.with_start && field.from == field.to) {
        return refuse("covers nothing: look at `from` and `to`".to_owned());
    }
    let after = |at: Position, width: usize| match at {
        Position::Start(offset) => Position::Start(offset + width),
        Position::End(offset) => Position::End(offset.saturating_sub(width)),
    };
    for later in &framing.sums[index..] {
        let clear = behind(later.at, field.to, framing.minimum)
            || behind(field.from, after(later.at, later.width), framing.minimum);
        if !clear {
            return refuse(format!("covers `{}`, which is worked out no earlier", later.name));
        }
    }
    match (field.with_start, framing.start.len()) {
        (true, 0) => refuse("covers the start marker, but there is none".to_owned()),
        (true, 2..) => refuse("covers the start marker, but there are several: make it a field".to_owned()),
        _ => None,
    }
}

fn roles(definition: &Definition) -> Found {
    let digits = |kind: &Kind| matches!(kind, Kind::Integer { signed: false, .. } | Kind::Hex(_) | Kind::Decimal(_));
    let mut numbered = false;
    for field in &definition.header.fields {
        let key = format!("frame.header.{}", field.name);
        match field.role {
            Role::Sequence if numbered => return Some((key, "a frame has one sequence number".to_owned())),
            Role::Sequence | Role::Length if !digits(&field.kind) => {
                return Some((key, "only unsigned integers and digits can be that".to_owned()));
            }
            _ => numbered |= field.role == Role::Sequence,
        }
    }
    let elsewhere =
        definition.messages.iter().map(|message| (format!("message.{}.fields", message.name), &message.fields));
    for (key, layout) in elsewhere.chain([("frame.trailer".to_owned(), &definition.trailer)]) {
        if let Some(field) = layout.fields.iter().find(|field| matches!(field.role, Role::Tag | Role::Sequence)) {
            return Some((format!("{key}.{}", field.name), "tags and sequence numbers stand in the header".to_owned()));
        }
    }
    None
}

/// An answer comes from the other side; who asks is the client, if nothing else is said.
fn answers(definition: &Definition) -> Found {
    for message in &definition.messages {
        let asks = message.from.unwrap_or(Sender::Client);
        let same = |name: &&String| definition.message(name).is_some_and(|answer| answer.from == Some(asks));
        if let Some(name) = message.answers.iter().find(same) {
            let problem = format!("`{name}` comes from the same side as `{}`: it cannot answer it", message.name);
            return Some((format!("message.{}.answer", message.name), problem));
        }
    }
    None
}

/// A field that an answer repeats can be the same in it.
fn repeated(definition: &Definition) -> Found {
    let tags: Vec<&str> = definition
        .header
        .fields
        .iter()
        .filter(|field| field.role == Role::Tag)
        .map(|field| field.name.as_str())
        .collect();
    for (index, name) in definition.same.iter().enumerate() {
        let key = format!("client.same.{index}");
        let field = definition.header.fields.iter().find(|field| field.name == *name)?;
        if matches!(field.role, Role::Length | Role::Sum(_)) {
            return Some((key, format!("`{name}` follows from the other bytes: an answer need not repeat it")));
        }
        let Some(place) = tags.iter().position(|tag| tag == name) else { continue };
        for message in &definition.messages {
            let other = |answer: &&String| {
                definition.message(answer).is_some_and(|answer| answer.tag.get(place) != message.tag.get(place))
            };
            if let Some(answer) = message.answers.iter().find(other) {
                return Some((
                    key,
                    format!("`{answer}` has another `{name}` than `{}`, which it answers", message.name),
                ));
            }
        }
    }
    None
}
