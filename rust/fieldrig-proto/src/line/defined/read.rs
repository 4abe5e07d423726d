//! A definition from its description.
//!
//! Rules of this file:
//! - Each key is known; what is wrong is told with its key, so that whoever read a file can say where it stands.
//! - Header and trailer are of known size; a payload may have one field that takes what is left, at its end.
//! - What follows from others is worked out here: what a length field counts, which bytes a checksum covers, what is
//!   always the same.

use super::answer;
use super::definition::{Definition, MessageShape};
use super::encode::PATCHES;
use super::field::{Field, Kind, Role, Size};
use super::layout::Layout;
use crate::dissect::Sender;
use crate::line::framing::sum::{OwnCrc, Sum};
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
const FIELD: &[BenchKey] = &[
    key("type", "what the bytes are"),
    key("order", "\"big\" or \"little\""),
    key("is", "\"tag\", \"sequence\" or \"length\""),
    key("counts", "what a length counts: \"payload\" (default), \"rest\", \"body\" or \"frame\""),
    key("adjust", "what is added to a length"),
    key("checksum", "the checksum that it holds"),
    key("from", "the first field that the checksum covers"),
    key("to", "the last field that the checksum covers; \"payload\" is one, too"),
    key("start", "true: the checksum covers the start marker, too"),
    key("value", "what it always holds"),
    key("default", "what it holds if nothing is said"),
    key("scale", "what the number is multiplied with"),
    key("offset", "what is added then"),
    key("unit", "its unit"),
    key("enum", "names of numbers"),
    key("flags", "names of bits, from the lowest one on"),
    key("bits", "names of parts and their bits, from the lowest one on"),
];
const CHECKSUM: &[BenchKey] = &[
    key("name", "the checksum by its name in the catalogue"),
    key("order", "\"big\" or \"little\""),
    key("as", "\"hex\": two digits for each byte"),
    key("from", "the first field that it covers"),
    key("to", "the last field that it covers; \"payload\" is one, too"),
    key("start", "true: it covers the start marker, too"),
];
const OWN: &[BenchKey] = &[
    key("width", "bits"),
    key("poly", "polynomial"),
    key("init", "start value"),
    key("refin", "bytes go in with their lowest bit first"),
    key("refout", "the register is reflected at the end"),
    key("xorout", "what the result is combined with"),
];
const MESSAGE: &[BenchKey] = &[
    key("tag", "what the tag fields hold"),
    key("from", "\"client\" or \"device\": who sends it; both if not given"),
    key("fields", "its fields"),
    key("answer", "the message that answers it, or several"),
];
const CLIENT: &[BenchKey] = &[
    key("timeout", "how long an answer is waited for; default \"1s\""),
    key("same", "header fields that an answer repeats"),
    key("settle", "how long a late answer is waited for before the next request; default as long as the time-out"),
];
const ORDERS: [(&str, bool); 2] = [("big", false), ("little", true)];

/// A checksum field before its place is known.
struct Checksum {
    sum: Sum,
    from: Option<String>,
    to: Option<String>,
    with_start: bool,
    key: String,
}

/// What fields say about the frame.
#[derive(Default)]
struct Wishes {
    /// Counts, adjust, key.
    length: Option<(String, i64, String)>,
    sums: Vec<Checksum>,
}

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

fn layout(given: Option<Given<'_>>, little: bool, wishes: &mut Wishes) -> Outcome<Layout> {
    let Some(given) = given else { return Ok(Layout::default()) };
    let Value::Table(entries) = given.value else { return Err(given.must_be("a table of fields")) };
    let mut layout = Layout::default();
    for (name, value) in entries {
        let given = Given { key: format!("{}.{name}", given.key), value };
        let field = field(&given, name, little, wishes)?;
        if let Some(Size::Counted(by)) = field.kind.varies()
            && !layout.fields.iter().any(|earlier| earlier.name == *by && earlier.scale.is_none())
        {
            return Err(given.error(format!("no field `{by}` stands before `{name}`")));
        }
        if layout.fields.last().is_some_and(|last| last.kind.varies() == Some(&Size::Rest)) {
            return Err(given.error("it stands behind a field that takes all that is left"));
        }
        layout.fields.push(field);
    }
    Ok(layout)
}

fn field(given: &Given<'_>, name: &str, little: bool, wishes: &mut Wishes) -> Outcome<Field> {
    if PATCHES.contains(&name) {
        return Err(given.error(format!("`{name}` cannot be the name of a field: patches call something else so")));
    }
    if given.value.as_str().is_some() {
        let mut field = written(given, name, little)?;
        if field.role == Role::Length {
            wish_length(wishes, "payload", 0, given)?;
        }
        field.name = name.to_owned();
        return Ok(field);
    }
    let table = Table::read(given.clone(), FIELD)?;
    let little = table.get("order", |given| given.word(&ORDERS))?.unwrap_or(little);
    let mut field = written(&needed(&table, "type")?, name, little)?;
    if let Some(role) = table.get("is", |given| given.word(&[("tag", 0), ("sequence", 1), ("length", 2)]))? {
        field.role = [Role::Tag, Role::Sequence, Role::Length][role].clone();
    }
    if field.role == Role::Length {
        let counts = table.get("counts", |given| {
            given.word(&[("payload", "payload"), ("rest", "rest"), ("body", "body"), ("frame", "frame")])
        })?;
        let adjust = table.get("adjust", |given| given.integer(-65_536..=65_536))?.unwrap_or(0);
        wish_length(wishes, counts.unwrap_or("payload"), adjust, given)?;
    }
    if let Some(sum) = table.field("checksum") {
        field.role = Role::Sum(wishes.sums.len());
        let covered = |name: &str| table.get(name, |given| given.text().map(str::to_owned));
        let with_start = table.get("start", |given| given.truth())?.unwrap_or(false);
        let (from, to) = (covered("from")?, covered("to")?);
        wishes.sums.push(Checksum { sum: named_sum(&sum)?, from, to, with_start, key: given.key.clone() });
    }
    meanings(&table, &mut field)?;
    if let Some(value) = table.field("value") {
        field.encode(value.value).map_err(|what| value.error(format!("`{name}` {what}")))?;
        field.role = Role::Constant(value.value.clone());
    }
    if let Some(value) = table.field("default") {
        field.encode(value.value).map_err(|what| value.error(format!("`{name}` {what}")))?;
        field.default = Some(value.value.clone());
    }
    Ok(field)
}

fn wish_length(wishes: &mut Wishes, counts: &str, adjust: i64, given: &Given<'_>) -> Outcome<()> {
    if wishes.length.is_some() {
        return Err(given.error("a frame has one length field"));
    }
    wishes.length = Some((counts.to_owned(), adjust, given.key.clone()));
    Ok(())
}

/// Scale, names, flags and bits of a number.
fn meanings(table: &Table<'_>, field: &mut Field) -> Outcome<()> {
    let number = matches!(field.kind, Kind::Integer { .. } | Kind::Bcd(_) | Kind::Hex(_) | Kind::Decimal(_));
    if let Some(name) = ["scale", "enum", "flags", "bits"].into_iter().find(|name| table.field(name).is_some())
        && !number
    {
        return Err(table.error(name, "only integers have it"));
    }
    table.one_of(&["scale", "enum", "flags", "bits"])?;
    field.unit = table.get("unit", |given| given.text().map(str::to_owned))?.unwrap_or_default();
    field.scale = table.get("scale", |given| match given.number()? {
        0.0 => Err(given.error("it must not be zero")),
        scale => Ok(scale),
    })?;
    if let Some(offset) = table.get("offset", |given| given.number())? {
        field.scale = field.scale.or(Some(1.0));
        field.offset = offset;
    }
    let width = 8 * field.kind.size().unwrap_or(8).min(8) as i64;
    if let Some(given) = table.field("enum") {
        let Value::Table(entries) = given.value else { return Err(given.must_be("a table of names and numbers")) };
        for (name, value) in entries {
            let given = Given { key: format!("{}.{name}", given.key), value };
            field.names.push((name.clone(), i128::from(given.integer(i64::MIN..=i64::MAX)?)));
        }
    }
    if let Some(given) = table.field("flags") {
        field.flags = given.list()?.iter().map(|item| item.text().map(str::to_owned)).collect::<Outcome<_>>()?;
        if field.flags.len() as i64 > width {
            return Err(given.error(format!("the field has {width} bits")));
        }
    }
    if let Some(given) = table.field("bits") {
        let Value::Table(entries) = given.value else { return Err(given.must_be("a table of names and widths")) };
        for (name, value) in entries {
            let given = Given { key: format!("{}.{name}", given.key), value };
            field.bits.push((name.clone(), given.integer(1..=63)? as u32));
        }
        if field.bits.iter().map(|(_, bits)| i64::from(*bits)).sum::<i64>() > width {
            return Err(given.error(format!("the field has {width} bits")));
        }
    }
    Ok(())
}

/// `u16le`, `u8 tag`, `bytes[4]`, `u8 = 7`.
fn written(given: &Given<'_>, name: &str, little: bool) -> Outcome<Field> {
    let text = given.text()?;
    let (text, value) = match text.split_once('=') {
        Some((text, value)) => (text.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    let mut words = text.split_whitespace();
    let what = words.next().unwrap_or_default();
    let (kind, order) = kind(given, what)?;
    let mut field = Field::new(name, kind, order.unwrap_or(little));
    for word in words {
        field.role = match word {
            "tag" => Role::Tag,
            "sequence" => Role::Sequence,
            "length" => Role::Length,
            _ => {
                let mut error = given.error(format!("unknown word `{word}` behind the type"));
                error.hint = did_you_mean(word, ["tag", "sequence", "length"].into_iter());
                return Err(error);
            }
        };
    }
    if let Some(value) = value {
        let number =
            value.strip_prefix("0x").map_or_else(|| value.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok());
        let value = number.ok_or_else(|| given.error(format!("`{value}` is no integer")))?;
        field.encode(&Value::Int(value)).map_err(|what| given.error(format!("`{name}` {what}")))?;
        field.role = Role::Constant(Value::Int(value));
    }
    let counts = matches!(field.kind, Kind::Integer { signed: false, .. } | Kind::Hex(_) | Kind::Decimal(_));
    if matches!(field.role, Role::Length | Role::Sequence) && !counts {
        return Err(given.error("only unsigned integers and digits can be that"));
    }
    Ok(field)
}

/// A type, and its byte order if it says so.
fn kind(given: &Given<'_>, text: &str) -> Outcome<(Kind, Option<bool>)> {
    let unknown = || {
        let mut error = given.error(format!("unknown type `{text}`"));
        let known =
            ["u8", "u16", "u24", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "bool", "bytes", "text"];
        error.hint =
            did_you_mean(text, known.into_iter().chain(["bcd[2]", "hex[2]", "dec[3]", "u16le", "bytes[4]", "u16[3]"]));
        error
    };
    let (base, size) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((base, "")) => (base, Some(Size::Rest)),
        Some((base, size)) => match size.parse::<usize>() {
            Ok(size) if size <= 65_536 => (base, Some(Size::Fixed(size))),
            Ok(_) => return Err(given.error("a field has at most 65536 bytes or items")),
            Err(_) => (base, Some(Size::Counted(size.to_owned()))),
        },
        None => (text, None),
    };
    let digits = |size: &Option<Size>, most: usize| match size {
        Some(Size::Fixed(count)) if (1..=most).contains(count) => Ok(*count),
        _ => Err(given.error(format!("`{base}` needs how many there are, such as {base}[2], at most {most}"))),
    };
    let plain = match base {
        "bytes" => return Ok((Kind::Bytes(size.unwrap_or(Size::Rest)), None)),
        "text" => return Ok((Kind::Text(size.unwrap_or(Size::Rest)), None)),
        "bcd" => return Ok((Kind::Bcd(digits(&size, 9)?), None)),
        "hex" => return Ok((Kind::Hex(digits(&size, 16)?), None)),
        "dec" => return Ok((Kind::Decimal(digits(&size, 18)?), None)),
        "bool" => Some((Kind::Bool, None)),
        _ => number(base),
    };
    let (plain, order) = plain.ok_or_else(unknown)?;
    Ok((size.map_or(plain.clone(), |size| Kind::Array(Box::new(plain), size)), order))
}

/// `u16`, `i32le`, `f64be`.
fn number(text: &str) -> Option<(Kind, Option<bool>)> {
    let (text, order) = match (text.strip_suffix("le"), text.strip_suffix("be")) {
        (Some(text), _) => (text, Some(true)),
        (_, Some(text)) => (text, Some(false)),
        _ => (text, None),
    };
    let (letter, bits) = text.split_at_checked(1)?;
    let bits: usize = bits.parse().ok().filter(|bits| bits % 8 == 0 && (8..=64).contains(bits))?;
    let kind = match letter {
        "u" | "i" => Kind::Integer { width: bits / 8, signed: letter == "i" },
        "f" if bits >= 32 && bits.is_power_of_two() => Kind::Float(bits / 8),
        _ => return None,
    };
    Some((kind, order))
}

/// `checksum = "crc-16/modbus"`, or a table.
fn checksum(given: &Given<'_>, little: bool, wishes: &mut Wishes) -> Outcome<Field> {
    let (mut order, mut hex, mut with_start, mut from, mut to) = (little, false, false, None, None);
    let mut sum = given.clone();
    if matches!(given.value, Value::Table(entries) if entries.iter().any(|(key, _)| key == "name")) {
        let table = Table::read(given.clone(), CHECKSUM)?;
        sum = needed(&table, "name")?;
        order = table.get("order", |given| given.word(&ORDERS))?.unwrap_or(little);
        hex = table.get("as", |given| given.word(&[("hex", true), ("bytes", false)]))?.unwrap_or(false);
        with_start = table.get("start", |given| given.truth())?.unwrap_or(false);
        from = table.get("from", |given| given.text().map(str::to_owned))?;
        to = table.get("to", |given| given.text().map(str::to_owned))?;
    }
    let sum = named_sum(&sum)?;
    let kind = match hex {
        true => Kind::Hex(2 * sum.bytes()),
        false => Kind::Integer { width: sum.bytes(), signed: false },
    };
    let mut field = Field::new("checksum", kind, order);
    field.role = Role::Sum(wishes.sums.len());
    wishes.sums.push(Checksum { sum, from, to, with_start, key: given.key.clone() });
    Ok(field)
}

/// A checksum by name, or a CRC by its parameters.
fn named_sum(given: &Given<'_>) -> Outcome<Sum> {
    if let Value::Table(_) = given.value {
        let table = Table::read(given.clone(), OWN)?;
        let wide = |name: &str| {
            table.get(name, |given| match given.value {
                Value::Unsigned(number) => Ok(*number),
                _ => Ok(given.integer(0..=i64::MAX)? as u64),
            })
        };
        let truth = |name: &str| table.get(name, |given| given.truth());
        return Ok(Sum::own(OwnCrc {
            width: needed(&table, "width")?.integer(3..=64)? as u8,
            polynomial: wide("poly")?.ok_or_else(|| table.error("", "missing key `poly`"))?,
            start: wide("init")?.unwrap_or(0),
            reflect_in: truth("refin")?.unwrap_or(false),
            reflect_out: truth("refout")?.unwrap_or(false),
            xor_out: wide("xorout")?.unwrap_or(0),
        }));
    }
    Sum::named(given.text()?).map_err(|problem| SettingError {
        key: given.key.clone(),
        problem: problem.to_string(),
        hint: problem.hint,
    })
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
        framing.sums.push(SumField {
            name: field.name.clone(),
            at,
            width: field.kind.size().unwrap_or(1),
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
        messages.push(MessageShape { name: name.clone(), tag, from, fields, answers });
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
