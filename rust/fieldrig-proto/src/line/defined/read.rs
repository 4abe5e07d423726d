//! A definition from its description.
//!
//! Rules of this file:
//! - Each key is known; what is wrong is told with its key, so that whoever read a file can say where it stands.
//! - Header and trailer are of known size; a payload may have one field that takes what is left, at its end.
//! - What follows from others is worked out here: what a length field counts, which bytes a checksum covers, what is
//!   always the same.

use super::answer;
use super::definition::{Definition, MessageShape, Need};
use super::field::{Field, Kind, Role};
use super::layout::Layout;
use super::read_fields::{Wishes, checksum, layout};
use super::sound;
use crate::dissect::Sender;
use crate::line::framing::sum::Sum;
use crate::line::framing::{Constant, Cut, Escape, Framing, LengthField, Position, SumField};
use crate::protocol::{BenchKey, SettingError};
use crate::reader::{Field as Given, Table, did_you_mean};
use crate::record::Value;
use crate::time::Duration;
use std::sync::Arc;

pub(super) type Outcome<T> = Result<T, SettingError>;

pub(super) const fn key(name: &'static str, what: &'static str) -> BenchKey {
    BenchKey { name, what, required: false }
}

const DEFINITION: &[BenchKey] = &[
    key("name", "the name of the protocol"),
    key("order", "\"big\" (default) or \"little\": the byte order of fields that do not say it"),
    key("frame", "how a frame is found and what stands around a message"),
    key("message", "the messages by name"),
    key("client", "how a client asks"),
    key("answer", "what an emulated device answers"),
];
const FRAME: &[BenchKey] = &[
    key("by", "how its end is found"),
    key("start", "what it begins with, in hexadecimal digits; or several of which it begins with one"),
    key("end", "what it ends with, likewise"),
    key("escape", "how bytes that look like markers are sent"),
    key("header", "the fields in front of each message"),
    key("trailer", "the fields behind each message"),
    key("checksum", "the checksum behind each message"),
    key("size", "the bytes between the markers, where that is always the same"),
    key("silence", "the silence that ends a frame"),
    key("limit", "the most bytes between the markers; default 4096"),
    key("patience", "an unfinished frame to which nothing is added for so long is cut off"),
];
const ESCAPE: &[BenchKey] = &[
    key("byte", "the byte that stands in front"),
    key("xor", "what the escaped byte is combined with"),
    key("map", "bytes and what stands for them behind the escape byte"),
    key("also", "further bytes that are escaped"),
];
const MESSAGE: &[BenchKey] = &[
    key("tag", "what the tag fields hold"),
    key("from", "\"client\" or \"device\": who sends it; both if not given"),
    key("fields", "its fields"),
    key("answer", "the message that answers it, or several"),
    key("unasked", "true: it comes by itself, too, and not only as an answer"),
    key("needs", "what a bench must allow to send it: \"nothing\", \"write\" (default), \"restart\" or \"silence\""),
];
const CLIENT: &[BenchKey] = &[
    key("timeout", "how long an answer is waited for; default \"1s\""),
    key("same", "header fields that an answer repeats"),
    key("settle", "how long a late answer is waited for before the next request; default as long as the time-out"),
];
pub(super) const ORDERS: [(&str, bool); 2] = [("big", false), ("little", true)];

impl Definition {
    /// Reads a description: a table.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key (dots between levels).
    pub fn read(description: &Value) -> Outcome<Definition> {
        let table = Table::read(Given { key: String::new(), value: description }, DEFINITION)?;
        let name = needed(&table, "name")?.text()?.to_owned();
        let little = table.get("order", |given| given.word(&ORDERS))?.unwrap_or(false);
        let frame = Table::read(needed(&table, "frame")?, FRAME)?;
        let mut wishes = Wishes::default();
        let header = layout(frame.field("header"), little, &mut wishes)?;
        let mut trailer = layout(frame.field("trailer"), little, &mut wishes)?;
        if let Some(given) = frame.field("checksum") {
            trailer.fields.push(checksum(&given, little, &mut wishes)?);
        }
        for (layout, name) in [(&header, "header"), (&trailer, "trailer")] {
            if layout.size().is_none() {
                return Err(frame.error(name, format!("the fields of a {name} have known sizes")));
            }
        }
        let mut framing = framing(&frame)?;
        place(&mut framing, &header, &trailer, wishes, &frame)?;
        let messages = messages(&table, &header, little)?;
        let client = table.field("client").map(|given| Table::read(given, CLIENT)).transpose()?;
        let mut definition = Definition {
            name,
            framing: Arc::new(framing),
            header,
            trailer,
            messages,
            timeout: Duration::from_secs(1),
            same: Vec::new(),
            settle: None,
            answers: Vec::new(),
        };
        check_names(&definition, &table)?;
        if let Some(client) = client {
            definition.read_client(&client)?;
        }
        sound::check(&definition, &table)?;
        if let Some(given) = table.field("answer") {
            definition.answers = answer::read(&definition, &given)?;
        }
        Ok(definition)
    }

    fn read_client(&mut self, client: &Table<'_>) -> Outcome<()> {
        self.timeout = client.get("timeout", |given| given.period())?.unwrap_or(self.timeout);
        self.settle = client.get("settle", |given| given.duration())?;
        for given in client.field("same").map(|given| given.items()).unwrap_or_default() {
            let name = given.text()?;
            let names = || self.header.fields.iter().map(|field| field.name.as_str());
            if !names().any(|known| known == name) {
                let mut error = given.error(format!("the header has no field `{name}`"));
                error.hint = did_you_mean(name, names());
                return Err(error);
            }
            self.same.push(name.to_owned());
        }
        Ok(())
    }
}

pub(super) fn needed<'a>(table: &Table<'a>, name: &str) -> Outcome<Given<'a>> {
    table.field(name).ok_or_else(|| table.error("", format!("missing key `{name}`")))
}

fn framing(frame: &Table<'_>) -> Outcome<Framing> {
    let by = needed(frame, "by")?.word(&[
        ("delimiter", "delimiter"),
        ("length", "length"),
        ("fixed", "fixed"),
        ("silence", "silence"),
        ("slip", "slip"),
        ("cobs", "cobs"),
        ("hdlc", "hdlc"),
    ])?;
    let mut framing = match by {
        "slip" => Framing::slip(),
        "cobs" => Framing::cobs(),
        "hdlc" => Framing::hdlc(),
        _ => Framing { end: Vec::new(), ..Framing::delimited(&[]) },
    };
    match by {
        "length" => framing.cut = Cut::Length,
        "fixed" => framing.cut = Cut::Fixed(needed(frame, "size")?.integer(1..=65_536)? as usize),
        "silence" => framing.cut = Cut::Silence(needed(frame, "silence")?.period()?),
        _ => {}
    }
    if let Some(start) = markers(frame, "start")? {
        framing.start = start;
    }
    if let Some(end) = markers(frame, "end")? {
        framing.end = end;
    }
    if framing.cut == Cut::Delimiter && framing.end.is_empty() {
        return Err(needed(frame, "end").err().unwrap_or_else(|| frame.error("end", "it is empty")));
    }
    if let Some(given) = frame.field("escape") {
        framing.escape = Some(escape(&given, &framing)?);
    }
    let equal = framing.end.iter().all(|end| end.len() == framing.end[0].len());
    if !equal && matches!(framing.cut, Cut::Length | Cut::Fixed(_)) {
        return Err(frame.error("end", "behind frames that are counted all ends are equally long"));
    }
    framing.limit = frame.get("limit", |given| given.integer(1..=1_048_576))?.unwrap_or(4096) as usize;
    if let Cut::Fixed(size) = framing.cut {
        framing.limit = framing.limit.max(size);
    }
    framing.patience = frame.get("patience", |given| given.period())?;
    for (name, used) in [("size", "fixed"), ("silence", "silence")] {
        if by != used && frame.field(name).is_some() {
            return Err(frame.error(name, format!("`{name}` goes with by = \"{used}\"")));
        }
    }
    let escapes = matches!(framing.cut, Cut::Delimiter | Cut::Length);
    if framing.escape.is_some() && !escapes {
        return Err(frame.error("escape", format!("by = \"{by}\" has no escapes")));
    }
    if framing.escape.is_some() && framing.cut == Cut::Length && framing.start.is_empty() {
        return Err(frame.error("escape", "with a length, escapes need a `start` to be found by"));
    }
    Ok(framing)
}

/// One marker, or several.
fn markers(frame: &Table<'_>, name: &str) -> Outcome<Option<Vec<Vec<u8>>>> {
    let Some(given) = frame.field(name) else { return Ok(None) };
    let one = |given: &Given<'_>| match given.octets()? {
        bytes if bytes.is_empty() => Err(given.error("a marker has at least one byte")),
        bytes => Ok(bytes),
    };
    match given.value {
        Value::List(items) if !items.iter().all(|item| matches!(item, Value::Int(_))) => {
            given.list()?.iter().map(one).collect::<Outcome<_>>().map(Some)
        }
        _ => Ok(Some(vec![one(&given)?])),
    }
}

fn octet(given: &Given<'_>) -> Outcome<u8> {
    match given.value {
        Value::Int(_) => Ok(given.integer(0..=255)? as u8),
        _ => match given.octets()?.as_slice() {
            [byte] => Ok(*byte),
            _ => Err(given.must_be("one byte")),
        },
    }
}

fn escape(given: &Given<'_>, framing: &Framing) -> Outcome<Escape> {
    match given.value.as_str() {
        Some("hdlc") => return Ok(Escape::hdlc()),
        Some("slip") => return Ok(Escape::slip()),
        _ => {}
    }
    let table = Table::read(given.clone(), ESCAPE)?;
    let byte = octet(&needed(&table, "byte")?)?;
    let mut escape = Escape { byte, map: Vec::new(), xor: None, also: Vec::new() };
    escape.xor = table.get("xor", |given| octet(&given))?;
    if let Some(map) = table.field("map") {
        let Value::Table(entries) = map.value else { return Err(map.must_be("a table")) };
        for (from, to) in entries {
            let name = Value::from(from.as_str());
            let from = octet(&Given { key: format!("{}.{from}", map.key), value: &name })?;
            escape.map.push((from, octet(&Given { key: map.key.clone(), value: to })?));
        }
    }
    let also = table.get("also", |given| given.octets())?.unwrap_or_default();
    if escape.xor.is_some() {
        let markers = framing.start.iter().chain(&framing.end).flatten();
        escape.also = markers.copied().chain([byte]).chain(also).collect();
        escape.also.sort_unstable();
        escape.also.dedup();
    } else if let Some(problem) = unprotected(&escape, framing) {
        return Err(given.error(problem));
    }
    let alone = framing.start.iter().chain(&framing.end).any(|marker| *marker == [byte]);
    if alone { Err(given.error("the escape byte is a marker")) } else { Ok(escape) }
}

/// A map says for the escape byte and each marker of one byte what is sent.
fn unprotected(escape: &Escape, framing: &Framing) -> Option<String> {
    let markers = framing.start.iter().chain(&framing.end);
    let single = markers.filter(|marker| marker.len() == 1).map(|marker| marker[0]);
    let byte = single.chain([escape.byte]).find(|byte| !escape.protects(*byte))?;
    Some(format!("it says not how {byte:02x} is sent: write `xor`, or put it into `map`"))
}

/// Works out where everything stands.
fn place(framing: &mut Framing, header: &Layout, trailer: &Layout, wishes: Wishes, frame: &Table<'_>) -> Outcome<()> {
    let (front, back) = (header.minimum(), trailer.minimum());
    framing.minimum = front + back;
    if framing.minimum == 0 && framing.start.is_empty() {
        framing.minimum = 1;
    }
    if let (Some((counts, adjust, key)), Some(field)) =
        (wishes.length, header.fields.iter().find(|field| field.role == Role::Length))
    {
        let (offset, width) = (header.offset(&field.name).unwrap_or(0), field.kind.size().unwrap_or(1));
        let markers = framing.start_marker().len() + framing.end_marker().len();
        let uncounted = match counts.as_str() {
            "payload" => (front + back) as i64,
            "rest" => (offset + width) as i64,
            "body" => 0,
            _ => -(markers as i64),
        };
        let unequal = |markers: &[Vec<u8>]| markers.iter().any(|marker| marker.len() != markers[0].len());
        if counts == "frame" && (unequal(&framing.start) || unequal(&framing.end)) {
            let problem = "a length of the whole frame needs markers that are equally long".into();
            return Err(SettingError { key, problem, hint: None });
        }
        let notation = field.kind.notation(field.little);
        framing.length =
            Some(LengthField { name: field.name.clone(), offset, width, notation, extra: uncounted - adjust });
        if matches!(framing.cut, Cut::Fixed(_)) {
            return Err(SettingError { key, problem: "a frame of fixed size needs no length".into(), hint: None });
        }
    }
    if trailer.fields.iter().any(|field| field.role == Role::Length) {
        return Err(frame.error("trailer", "a length stands in the header"));
    }
    if framing.cut == Cut::Length && framing.length.is_none() {
        let mut error = frame.error("", "by = \"length\" needs a length field in the header");
        error.hint = Some("write header = { length = \"u16 length\" }".to_owned());
        return Err(error);
    }
    if let Cut::Fixed(size) = framing.cut
        && size < framing.minimum
    {
        return Err(frame.error("size", format!("header and trailer have {} bytes", framing.minimum)));
    }
    let fields = || header.fields.iter().chain(&trailer.fields);
    let position = |name: &str, behind: bool| -> Option<Position> {
        if name == "payload" {
            return Some(if behind { Position::End(back) } else { Position::Start(front) });
        }
        let field = fields().find(|field| field.name == name)?;
        let add = if behind { field.kind.size()? } else { 0 };
        match header.offset(name) {
            Some(offset) => Some(Position::Start(offset + add)),
            None => Some(Position::End(back - trailer.offset(name)? - add)),
        }
    };
    for (index, wish) in wishes.sums.into_iter().enumerate() {
        let Some(field) = fields().find(|field| field.role == Role::Sum(index)) else { continue };
        let at = position(&field.name, false).unwrap_or(Position::End(back));
        let find = |name: &Option<String>, behind: bool, default: Position| match name {
            None => Ok(default),
            Some(name) => position(name, behind).ok_or_else(|| SettingError {
                key: wish.key.clone(),
                problem: format!("there is no field `{name}` in front of or behind the payload"),
                hint: did_you_mean(name, fields().map(|field| field.name.as_str()).chain(["payload"])),
            }),
        };
        let width = holds_sum(field, &wish.sum, &wish.key)?;
        framing.sums.push(SumField {
            name: field.name.clone(),
            at,
            width,
            notation: field.kind.notation(field.little),
            from: find(&wish.from, false, Position::Start(0))?,
            to: find(&wish.to, true, at)?,
            sum: wish.sum,
            with_start: wish.with_start,
        });
    }
    for field in fields() {
        if let (Role::Constant(value), Some(at)) = (&field.role, position(&field.name, false)) {
            let bytes = field.encode(value).unwrap_or_default();
            framing.constants.push(Constant { name: field.name.clone(), at, bytes });
        }
    }
    Ok(())
}

/// How wide a field is that holds a checksum; one that does not hold all of it would check only a part.
fn holds_sum(field: &Field, sum: &Sum, key: &str) -> Outcome<usize> {
    let (name, width, bits) = (&field.name, field.kind.size().unwrap_or(0), sum.bits());
    let refuse = |problem: String| {
        let hint = format!("write type = \"u{}\", or \"hex[{}]\" for digits", 8 * sum.bytes(), 2 * sum.bytes());
        Err(SettingError { key: key.to_owned(), problem, hint: Some(hint) })
    };
    match field.kind {
        Kind::Float(_) | Kind::Bool | Kind::Text(_) | Kind::Bcd(_) => {
            refuse(format!("`{name}` cannot hold a checksum: that takes an integer, digits or bytes"))
        }
        _ if field.kind.notation(field.little).highest(width) < u64::MAX >> (64 - bits) => {
            refuse(format!("`{name}` is too small for {}, which has {bits} bits", sum.name()))
        }
        _ => Ok(width),
    }
}

fn messages(table: &Table<'_>, header: &Layout, little: bool) -> Outcome<Vec<MessageShape>> {
    let given = needed(table, "message")?;
    let Value::Table(entries) = given.value else { return Err(given.must_be("a table of messages")) };
    let tags: Vec<&Field> = header.fields.iter().filter(|field| field.role == Role::Tag).collect();
    let mut messages: Vec<MessageShape> = Vec::new();
    for (name, value) in entries {
        let given = Given { key: format!("{}.{name}", given.key), value };
        let table = Table::read(given.clone(), MESSAGE)?;
        let mut wishes = Wishes::default();
        let fields = layout(table.field("fields"), little, &mut wishes)?;
        if wishes.length.is_some() || !wishes.sums.is_empty() {
            return Err(table.error("fields", "lengths and checksums stand in the header or the trailer"));
        }
        let items = table.field("tag").map(|given| given.items()).unwrap_or_default();
        if items.len() != tags.len() {
            return Err(
                table.error("tag", format!("the header has {} tag fields, {} are given", tags.len(), items.len()))
            );
        }
        let mut tag = Vec::new();
        for (field, item) in tags.iter().zip(&items) {
            let bytes = field.encode(item.value).map_err(|what| item.error(format!("`{}` {what}", field.name)))?;
            tag.push(field.decode(&bytes).0);
        }
        let from = table.get("from", |given| {
            given.word(&[("client", Some(Sender::Client)), ("device", Some(Sender::Server)), ("both", None)])
        })?;
        let from = from.flatten();
        let clash =
            |other: &&MessageShape| other.tag == tag && (other.from == from || other.from.is_none() || from.is_none());
        if let Some(other) = messages.iter().find(clash) {
            let mut error = given.error(format!("`{}` has the same tag", other.name));
            error.hint = Some("say from = \"client\" in one and from = \"device\" in the other".to_owned());
            return Err(error);
        }
        let answers = table.field("answer").map(|given| given.items()).unwrap_or_default();
        let answers = answers.iter().map(|item| item.text().map(str::to_owned)).collect::<Outcome<_>>()?;
        let unasked = table.get("unasked", |given| given.truth())?.unwrap_or(false);
        let needs = table.get("needs", |given| given.word(&Need::WORDS))?.unwrap_or_default();
        messages.push(MessageShape { name: name.clone(), tag, from, fields, answers, unasked, needs });
    }
    for (name, value) in entries {
        let key = format!("{}.{name}.answer", given.key);
        let Some(answer) = value.entry("answer") else { continue };
        for item in (Given { key, value: answer }).items() {
            let name = item.text()?;
            let names = || messages.iter().map(|message| message.name.as_str());
            if !names().any(|known| known == name) {
                let mut error = item.error(format!("there is no message `{name}`"));
                error.hint = did_you_mean(name, names());
                return Err(error);
            }
        }
    }
    Ok(messages)
}

/// No name stands for two things in one frame.
fn check_names(definition: &Definition, table: &Table<'_>) -> Outcome<()> {
    for message in &definition.messages {
        let layouts = [&definition.header, &message.fields, &definition.trailer];
        let names: Vec<&str> =
            layouts.iter().flat_map(|layout| &layout.fields).map(|field| field.name.as_str()).collect();
        if let Some((_, name)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
            let key = format!("message.{}.fields.{name}", message.name);
            return Err(table.error(&key, format!("`{name}` is the name of two fields of one frame")));
        }
    }
    Ok(())
}
