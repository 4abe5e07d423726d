//! The fields of a description.
//!
//! Rules of this file:
//! - A field is a text (`"u16le length"`) or a table; both say the same where they say the same.
//! - What a field wants to know about the frame (what a length counts, what a checksum covers) is noted, and worked out in
//!   `read.rs` once everything has its place.

use super::encode::PATCHES;
use super::field::{Field, Kind, Role, Size};
use super::layout::Layout;
use super::read::{ORDERS, Outcome, key, needed};
use crate::line::framing::sum::{OwnCrc, Sum};
use crate::protocol::{BenchKey, SettingError};
use crate::reader::{Field as Given, Table, did_you_mean};
use crate::record::Value;

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

/// A checksum field before its place is known.
pub(super) struct Checksum {
    pub(super) sum: Sum,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) with_start: bool,
    pub(super) key: String,
}

/// What fields say about the frame.
#[derive(Default)]
pub(super) struct Wishes {
    /// Counts, adjust, key.
    pub(super) length: Option<(String, i64, String)>,
    pub(super) sums: Vec<Checksum>,
}

pub(super) fn layout(given: Option<Given<'_>>, little: bool, wishes: &mut Wishes) -> Outcome<Layout> {
    let Some(given) = given else { return Ok(Layout::default()) };
    let Value::Table(entries) = given.value else { return Err(given.must_be("a table of fields")) };
    let mut layout = Layout::default();
    for (name, value) in entries {
        let given = Given { key: format!("{}.{name}", given.key), value };
        let field = field(&given, name, little, wishes)?;
        if let Some(Size::Counted(by)) = field.kind.varies()
            && !layout.fields.iter().any(|earlier| earlier.name == *by && earlier.counts())
        {
            return Err(given.error(match layout.fields.iter().any(|earlier| earlier.name == *by) {
                true => format!("`{by}` is no count: that is an integer without scale, names, flags or bits"),
                false => format!("no field `{by}` stands before `{name}`"),
            }));
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
    one_role(&table, &field)?;
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

/// A field is for one thing, and says nothing that goes with another.
fn one_role(table: &Table<'_>, field: &Field) -> Outcome<()> {
    let role = table.one_of(&["is", "checksum", "value"])?;
    if let (Some(name), false) = (role, field.role == Role::Plain) {
        return Err(table.error(name, "its type says already what the field is for"));
    }
    let sum = role == Some("checksum");
    let length = field.role == Role::Length || table.field("is").is_some_and(|is| is.value.as_str() == Some("length"));
    let belongs = |(names, is, with): (&'static [&'static str], bool, &'static str)| {
        names.iter().filter(move |_| !is).map(move |name| (*name, with))
    };
    let keys = [(&["from", "to", "start"][..], sum, "checksum"), (&["counts", "adjust"][..], length, "length")];
    match keys.into_iter().flat_map(belongs).find(|(name, _)| table.field(name).is_some()) {
        Some((name, with)) => Err(table.error(name, format!("`{name}` goes with a {with}"))),
        None => Ok(()),
    }
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
    if let Some(name) =
        ["scale", "offset", "enum", "flags", "bits"].into_iter().find(|name| table.field(name).is_some())
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
            let number = i128::from(given.integer(i64::MIN..=i64::MAX)?);
            if let Some((other, _)) = field.names.iter().find(|(_, known)| *known == number) {
                return Err(given.error(format!("{number} is `{other}` already")));
            }
            field.encode(&Value::from_integer(number)).map_err(|what| given.error(format!("the field {what}")))?;
            field.names.push((name.clone(), number));
        }
    }
    if let Some(given) = table.field("flags") {
        field.flags = given.list()?.iter().map(|item| item.text().map(str::to_owned)).collect::<Outcome<_>>()?;
        let named = |index: usize| !field.flags[index].is_empty() && field.flags[..index].contains(&field.flags[index]);
        if let Some(index) = (0..field.flags.len()).find(|index| named(*index)) {
            return Err(given.error(format!("`{}` is the name of two bits", field.flags[index])));
        }
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
        if field.role != Role::Plain {
            return Err(given.error("what is always the same can be no tag, number or length"));
        }
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
pub(super) fn checksum(given: &Given<'_>, little: bool, wishes: &mut Wishes) -> Outcome<Field> {
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
        return own_crc(&Table::read(given.clone(), OWN)?).map(Sum::own);
    }
    Sum::named(given.text()?).map_err(|problem| SettingError {
        key: given.key.clone(),
        problem: problem.to_string(),
        hint: problem.hint,
    })
}

/// The parameters of a CRC; each of them has at most as many bits as the CRC.
fn own_crc(table: &Table<'_>) -> Outcome<OwnCrc> {
    let width = needed(table, "width")?.integer(3..=64)? as u8;
    let highest = u64::MAX >> (64 - width);
    let wide = |name: &str| {
        table.get(name, |given| {
            let number = match given.value {
                Value::Unsigned(number) => *number,
                _ => given.integer(0..=i64::MAX)? as u64,
            };
            if number <= highest {
                return Ok(number);
            }
            let mut error = given.error(format!("{number:#x} has more than the {width} bits of the CRC"));
            // Other books write the polynomial with its highest bit, which is always there.
            let with_highest = name == "poly" && width < 64 && number >> width == 1;
            error.hint = Some(match with_highest {
                true => format!("write it without its highest bit: {:#x}", number & highest),
                false => format!("write 0 to {highest:#x}, or another width"),
            });
            Err(error)
        })
    };
    let truth = |name: &str| table.get(name, |given| given.truth());
    let polynomial = wide("poly")?.ok_or_else(|| table.error("", "missing key `poly`"))?;
    if polynomial == 0 {
        return Err(table.error("poly", "with the polynomial 0 all bytes have the same CRC"));
    }
    Ok(OwnCrc {
        width,
        polynomial,
        start: wide("init")?.unwrap_or(0),
        reflect_in: truth("refin")?.unwrap_or(false),
        reflect_out: truth("refout")?.unwrap_or(false),
        xor_out: wide("xorout")?.unwrap_or(0),
    })
}
