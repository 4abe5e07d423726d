//! A map of points from a bench, model or map file.
//!
//! ```toml
//! voltage = { table = "input", address = 0, type = "u16", scale = 0.1, unit = "V" }
//! energy = { table = "input", address = 2, type = "u64", order = "GHEFCDAB" }
//! mode = { table = "holding", address = 8, bits = [4, 6], labels = { off = 0, heat = 1, cool = 2 } }
//! ```

use super::{Bits, Encoding, Epoch, MOST_REGISTERS, Mapping, Order, PointType};
use crate::modbus::server::{Table, choice, integer, number, text};
use crate::protocol::SettingError;
use crate::record::Value;

const KNOWN: [&str; 19] = [
    "table",
    "address",
    "type",
    "words",
    "bytes",
    "order",
    "registers",
    "bit",
    "bits",
    "byte",
    "scale",
    "offset",
    "labels",
    "epoch",
    "unit",
    "range",
    "access",
    "initial",
    "description",
];

/// Reads a map of points: a table of tables.
///
/// # Errors
/// What is missing, unknown or out of range, with the key from `map` on; two points that want the same bits.
pub fn parse_map(map: &Value) -> Result<Vec<Mapping>, SettingError> {
    let Value::Table(points) = map else {
        return Err(error("map", "it is not a table of points"));
    };
    let points: Vec<Mapping> =
        points.iter().map(|(point, value)| parse_mapping(point, value)).collect::<Result<_, _>>()?;
    match super::overlap(&points) {
        None => Ok(points),
        Some((first, second, at)) => {
            let problem = format!("address {at} is taken already by point `{}`", first.point);
            Err(error(format!("map.{}.address", second.point), problem))
        }
    }
}

fn parse_mapping(point: &str, value: &Value) -> Result<Mapping, SettingError> {
    let key = format!("map.{point}");
    let Value::Table(entries) = value else {
        return Err(error(key, "it is not a table; write { table = \"holding\", address = 0, type = \"u16\" }"));
    };
    if let Some((unknown, _)) = entries.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let mut error = error(format!("{key}.{unknown}"), format!("unknown key `{unknown}`"));
        error.hint = Some(format!("there are {}", KNOWN.join(", ")));
        return Err(error);
    }
    let missing = |name: &str| error(key.clone(), format!("`{name}` is missing"));
    let table = value.entry("table").ok_or_else(|| missing("table"))?;
    let table = choice(&format!("{key}.table"), table, &Table::NAMES)?;
    let address = value.entry("address").ok_or_else(|| missing("address"))?;
    let address = integer(&format!("{key}.address"), address, 0, 0xffff)? as u16;
    let encoding = encoding_of(&key, table, value)?;
    let mut mapping = Mapping::new(point, table, address, encoding);
    if mapping.end() > 0x1_0000 {
        let problem = format!("{} registers from address {address} end beyond address 65535", mapping.width());
        return Err(error(format!("{key}.address"), problem));
    }
    if let Some(unit) = value.entry("unit") {
        mapping.unit = text(&format!("{key}.unit"), unit)?.to_owned();
    }
    mapping.range = value.entry("range").map(|range| parse_range(&format!("{key}.range"), range)).transpose()?;
    parse_access(&format!("{key}.access"), value, &mut mapping)?;
    Ok(mapping)
}

fn parse_access(key: &str, value: &Value, mapping: &mut Mapping) -> Result<(), SettingError> {
    const ACCESS: [(&str, (bool, bool)); 3] =
        [("read", (true, false)), ("write", (false, true)), ("read-write", (true, true))];
    let Some(access) = value.entry("access") else { return Ok(()) };
    let (readable, writable) = choice(key, access, &ACCESS)?;
    if writable && !mapping.writable {
        return Err(error(key, "the table can only be read"));
    }
    (mapping.readable, mapping.writable) = (readable, writable);
    Ok(())
}

fn parse_range(key: &str, value: &Value) -> Result<(f64, f64), SettingError> {
    let Value::List(ends) = value else {
        return Err(error(key, "it must be a pair of numbers, such as [0, 100]"));
    };
    match ends.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>().as_deref() {
        Some([low, high]) if low <= high => Ok((*low, *high)),
        Some([low, high]) => Err(error(key, format!("it begins above its end: {low} to {high}"))),
        _ => Err(error(key, "it must be a pair of numbers, such as [0, 100]")),
    }
}

/// Reads what a map says about the value of a point; `key` is where it stands.
///
/// # Errors
/// What is unknown or out of range, with its key.
pub fn encoding_of(key: &str, table: Table, value: &Value) -> Result<Encoding, SettingError> {
    let at = |name: &str| format!("{key}.{name}");
    let default = if table.is_bits() || value.entry("bit").is_some() { PointType::Bool } else { PointType::U16 };
    let kind = value.entry("type").map(|value| choice(&at("type"), value, &PointType::NAMES)).transpose()?;
    let kind = kind.unwrap_or(default);
    if table.is_bits() && kind != PointType::Bool {
        return Err(error(at("type"), "a single bit holds type \"bool\" only"));
    }
    let mut encoding = Encoding::plain(kind);
    if let Some(registers) = value.entry("registers") {
        encoding.registers = parse_registers(&at("registers"), kind, registers)?;
    }
    encoding.order = parse_order(key, &encoding, value)?;
    encoding.bits = parse_bits(key, table, &encoding, value)?;
    let number_of = |name: &str| value.entry(name).map(|value| number(&at(name), value)).transpose();
    encoding.scale = number_of("scale")?.unwrap_or(1.0);
    if encoding.scale == 0.0 {
        return Err(error(at("scale"), "a scale of 0 makes all values alike"));
    }
    encoding.offset = number_of("offset")?.unwrap_or(0.0);
    if let Some(labels) = value.entry("labels") {
        encoding.labels = parse_labels(&at("labels"), kind, labels)?;
    }
    const EPOCHS: [(&str, Epoch); 2] = [("seconds", Epoch::Seconds), ("milliseconds", Epoch::Milliseconds)];
    encoding.epoch = value.entry("epoch").map(|value| choice(&at("epoch"), value, &EPOCHS)).transpose()?;
    let odd =
        [("epoch", encoding.epoch.is_some()), ("scale", encoding.scale != 1.0), ("offset", encoding.offset != 0.0)];
    match odd.iter().find(|(_, there)| *there) {
        Some(("epoch", _)) if !kind.is_integer() => Err(error(at("epoch"), "only an integer counts seconds")),
        Some((name, _)) if matches!(kind, PointType::Text | PointType::DateTime | PointType::Bool) => {
            Err(error(at(name), format!("type \"{}\" holds no number", kind.name())))
        }
        _ => Ok(encoding),
    }
}

fn parse_registers(key: &str, kind: PointType, value: &Value) -> Result<usize, SettingError> {
    let most = match kind {
        PointType::Text => MOST_REGISTERS as i64,
        PointType::Bcd => 4,
        _ => kind.registers() as i64,
    };
    let registers = integer(key, value, kind.registers() as i64, most)?;
    if kind == PointType::Bcd && registers == 3 {
        return Err(error(key, "4, 8 or 16 digits take 1, 2 or 4 registers, not 3"));
    }
    Ok(registers as usize)
}

fn parse_order(key: &str, encoding: &Encoding, value: &Value) -> Result<Order, SettingError> {
    const ENDS: [(&str, bool); 2] = [("big", false), ("little", true)];
    let end_of = |name: &str| {
        let little = value.entry(name).map(|value| choice(&format!("{key}.{name}"), value, &ENDS)).transpose();
        little.map(|little| little.unwrap_or(false))
    };
    let turned = Order::Turned { low_word_first: end_of("words")?, low_byte_first: end_of("bytes")? };
    let Some(order) = value.entry("order") else { return Ok(turned) };
    let key = format!("{key}.order");
    if turned != Order::BIG {
        return Err(error(key, "`order` says all: leave `words` and `bytes` out"));
    }
    Order::from_letters(text(&key, order)?, encoding.registers * 2).map_err(|problem| error(key, problem))
}

fn parse_bits(key: &str, table: Table, encoding: &Encoding, value: &Value) -> Result<Option<Bits>, SettingError> {
    let there: Vec<&str> = ["bit", "bits", "byte"].into_iter().filter(|name| value.entry(name).is_some()).collect();
    let (name, given) = match there[..] {
        [] => return Ok(encoding.bits),
        [name] => (name, value.entry(name).unwrap_or(value)),
        _ => return Err(error(key, format!("of {} only one can be given", there.join(", ")))),
    };
    let key = format!("{key}.{name}");
    if table.is_bits() || !encoding.kind.may_be_part() {
        return Err(error(key, format!("a point of type \"{}\" in this table has no parts", encoding.kind.name())));
    }
    let last = encoding.registers as i64 * 16 - 1;
    let (low, high) = match (name, given) {
        ("bit", bit) => integer(&key, bit, 0, last).map(|bit| (bit, bit))?,
        ("byte", half) => choice(&key, half, &[("low", (0, 7)), ("high", (8, 15))])?,
        (_, Value::List(ends)) if ends.len() == 2 => {
            (integer(&key, &ends[0], 0, last)?, integer(&key, &ends[1], 0, last)?)
        }
        _ => return Err(error(key, "it must be the first and the last bit, such as [4, 7]; bit 0 is the lowest")),
    };
    if low > high {
        return Err(error(key, format!("it begins above its end: {low} to {high}; bit 0 is the lowest")));
    }
    let count = (high - low + 1) as u8;
    match encoding.kind {
        PointType::Bool if count > 1 => Err(error(key, "type \"bool\" is one bit")),
        PointType::U8 | PointType::I8 if count != 8 => Err(error(key, "8 bits are 8 bits")),
        _ => Ok(Some(Bits { lowest: low as u8, count })),
    }
}

fn parse_labels(key: &str, kind: PointType, value: &Value) -> Result<Vec<(i64, String)>, SettingError> {
    let Value::Table(entries) = value else {
        return Err(error(key, "it must be a table of names and numbers, such as { off = 0, on = 1 }"));
    };
    if !kind.is_integer() {
        return Err(error(key, format!("type \"{}\" has no names for numbers", kind.name())));
    }
    let mut labels: Vec<(i64, String)> = Vec::new();
    for (name, number) in entries {
        let key = format!("{key}.{name}");
        let number = integer(&key, number, i64::MIN, i64::MAX)?;
        if let Some((_, other)) = labels.iter().find(|(known, _)| *known == number) {
            return Err(error(key, format!("{number} is `{other}` already")));
        }
        labels.push((number, name.clone()));
    }
    Ok(labels)
}

fn error(key: impl Into<String>, problem: impl Into<String>) -> SettingError {
    SettingError { key: key.into(), problem: problem.into(), hint: None }
}
