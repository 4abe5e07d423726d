//! One field: what it holds, and how it stands in bytes.
//!
//! Rules of this file:
//! - What a field cannot say is kept as it came: an unknown number of an enumeration, a flag without a name, text that is
//!   no UTF-8, digits that are none (as bytes, with a note).
//! - What cannot stand in a field is an error that says what can.
//! - A scaled number is `number * scale + offset`; it is rounded to the nearest step when written.
//! - What a field holds is what is expected of it if both are the same bytes: 23.4 is what a binary number of 4 bytes makes
//!   of it, and a name is its number. What could never come cannot be expected (`expected.rs`).

use crate::line::framing::Notation;
use crate::record::Value;

/// How many bytes or items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Size {
    /// So many.
    Fixed(usize),
    /// As many as an earlier field says.
    Counted(String),
    /// All that is left.
    Rest,
}

/// What the bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An integer of so many bytes, at most 8.
    Integer {
        /// Bytes.
        width: usize,
        /// Two's complement.
        signed: bool,
    },
    /// IEEE 754, 4 or 8 bytes.
    Float(usize),
    /// One byte, zero or not.
    Bool,
    /// Octets.
    Bytes(Size),
    /// UTF-8; a fixed size is filled with zeros.
    Text(Size),
    /// Binary coded decimal, two digits in a byte, so many bytes.
    Bcd(usize),
    /// So many hexadecimal digits.
    Hex(usize),
    /// So many decimal digits.
    Decimal(usize),
    /// Several of a kind of known size.
    Array(Box<Kind>, Size),
}

/// What the field is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Role {
    /// Content.
    Plain,
    /// It always holds this.
    Constant(Value),
    /// It says which message it is.
    Tag,
    /// It numbers requests; answers repeat it.
    Sequence,
    /// It says how long the frame is.
    Length,
    /// A checksum: index among those of the framing.
    Sum(usize),
}

/// A field.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What the bytes are.
    pub kind: Kind,
    /// Lowest byte first.
    pub little: bool,
    /// What it is for.
    pub role: Role,
    /// What the number is multiplied with.
    pub scale: Option<f64>,
    /// What is added then.
    pub offset: f64,
    /// Unit, empty if it has none.
    pub unit: String,
    /// Names of numbers.
    pub names: Vec<(String, i128)>,
    /// Names of bits, from the lowest one on; an empty name is none.
    pub flags: Vec<String>,
    /// Parts and their bits, from the lowest one on.
    pub bits: Vec<(String, u32)>,
    /// What it holds if nothing is said.
    pub default: Option<Value>,
}

impl Kind {
    /// How many bytes it always has.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        match self {
            Kind::Integer { width, .. } | Kind::Float(width) => Some(*width),
            Kind::Bool => Some(1),
            Kind::Bcd(size) | Kind::Hex(size) | Kind::Decimal(size) => Some(*size),
            Kind::Bytes(Size::Fixed(size)) | Kind::Text(Size::Fixed(size)) => Some(*size),
            Kind::Array(item, Size::Fixed(count)) => Some(item.size()? * count),
            Kind::Bytes(_) | Kind::Text(_) | Kind::Array(..) => None,
        }
    }

    /// How many there are, if that is not fixed.
    #[must_use]
    pub fn varies(&self) -> Option<&Size> {
        match self {
            Kind::Bytes(size) | Kind::Text(size) | Kind::Array(_, size) => {
                Some(size).filter(|size| !matches!(size, Size::Fixed(_)))
            }
            _ => None,
        }
    }

    /// The bytes of one item.
    #[must_use]
    pub fn item(&self) -> usize {
        match self {
            Kind::Array(item, _) => item.size().unwrap_or(1),
            _ => 1,
        }
    }

    /// How a number stands in it.
    #[must_use]
    pub fn notation(&self, little: bool) -> Notation {
        match self {
            Kind::Hex(_) => Notation::Hex,
            Kind::Decimal(_) => Notation::Decimal,
            _ if little => Notation::Little,
            _ => Notation::Big,
        }
    }
}

impl Field {
    /// A field that holds this, with nothing special.
    #[must_use]
    pub fn new(name: &str, kind: Kind, little: bool) -> Field {
        Field {
            name: name.to_owned(),
            kind,
            little,
            role: Role::Plain,
            scale: None,
            offset: 0.0,
            unit: String::new(),
            names: Vec::new(),
            flags: Vec::new(),
            bits: Vec::new(),
            default: None,
        }
    }

    /// What its bytes say, and what is wrong with them.
    #[must_use]
    pub fn decode(&self, bytes: &[u8]) -> (Value, Option<String>) {
        let (value, note) = self.decode_kind(&self.kind, bytes);
        match value.as_i128().filter(|_| note.is_none()) {
            Some(number) if self.is_number() => self.meaning(number),
            _ => (value, note),
        }
    }

    /// It can say how many items another field has.
    pub(super) fn counts(&self) -> bool {
        let plain = self.scale.is_none() && self.names.is_empty() && self.flags.is_empty() && self.bits.is_empty();
        plain && self.is_number()
    }

    fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer { .. } | Kind::Bcd(_) | Kind::Hex(_) | Kind::Decimal(_))
    }

    fn decode_kind(&self, kind: &Kind, bytes: &[u8]) -> (Value, Option<String>) {
        let kept = |what: &str| (Value::from(bytes), Some(format!("is no {what}")));
        match kind {
            Kind::Integer { width, signed } => {
                let number = kind.notation(self.little).read(bytes).unwrap_or_default();
                let shift = 64 - 8 * (*width).clamp(1, 8) as u32;
                match signed {
                    true => (Value::Int(((number << shift) as i64) >> shift), None),
                    false => (Value::from_integer(i128::from(number)), None),
                }
            }
            Kind::Float(width) => {
                let number = kind.notation(self.little).read(bytes).unwrap_or_default();
                let float = if *width == 4 { f64::from(f32::from_bits(number as u32)) } else { f64::from_bits(number) };
                (Value::Float(float), None)
            }
            Kind::Bool => {
                let byte = bytes.first().copied().unwrap_or_default();
                (Value::Bool(byte != 0), (byte > 1).then(|| format!("is {byte}, neither 0 nor 1")))
            }
            Kind::Bytes(_) => (Value::from(bytes), None),
            Kind::Text(size) => {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let bytes = if matches!(size, Size::Fixed(_)) { &bytes[..end] } else { bytes };
                std::str::from_utf8(bytes).map_or_else(|_| kept("UTF-8"), |text| (Value::from(text), None))
            }
            Kind::Bcd(_) => bcd(bytes).map_or_else(|| kept("BCD"), |number| (Value::from_integer(number), None)),
            Kind::Hex(_) | Kind::Decimal(_) => match kind.notation(self.little).read(bytes) {
                Some(number) => (Value::from_integer(i128::from(number)), None),
                None => kept("number"),
            },
            Kind::Array(item, _) => {
                let all = bytes.chunks_exact(kind.item().max(1)).map(|bytes| self.decode_kind(item, bytes).0);
                (Value::List(all.collect()), None)
            }
        }
    }

    /// What a number means in this field.
    fn meaning(&self, number: i128) -> (Value, Option<String>) {
        if let Some(scale) = self.scale {
            return (Value::Float(decimal(number, scale, self.offset)), None);
        }
        if !self.names.is_empty() {
            return match self.names.iter().find(|(_, known)| *known == number) {
                Some((name, _)) => (Value::from(name.as_str()), None),
                None => (Value::from_integer(number), Some("has no name".to_owned())),
            };
        }
        if !self.flags.is_empty() {
            return (Value::List(set_flags(&self.flags, number)), None);
        }
        if self.bits.is_empty() {
            return (Value::from_integer(number), None);
        }
        let mut from = 0;
        let part = |(name, width): &(String, u32)| {
            let value = number >> from & ((1i128 << width) - 1);
            from += width;
            (name.clone(), Value::from_integer(value))
        };
        (Value::Table(self.bits.iter().map(part).collect()), None)
    }

    /// The bytes that say this.
    ///
    /// # Errors
    /// What can stand here, and what was given.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, String> {
        let number = if self.is_number() { Some(self.number(value)?) } else { None };
        self.encode_kind(&self.kind, number, value)
    }

    fn encode_kind(&self, kind: &Kind, number: Option<i128>, value: &Value) -> Result<Vec<u8>, String> {
        let not = |what: &str| format!("takes {what}, not {value}");
        match kind {
            Kind::Integer { .. } | Kind::Bcd(_) | Kind::Hex(_) | Kind::Decimal(_) => {
                let number = number.or(value.as_i128()).ok_or_else(|| not("an integer"))?;
                integer(kind, self.little, number).map_err(|range| format!("takes {range}, not {value}"))
            }
            Kind::Float(width) => {
                let number = value.as_f64().ok_or_else(|| not("a number"))?;
                if *width == 4 && number.is_finite() && (number as f32).is_infinite() {
                    return Err(not("a number of 4 bytes"));
                }
                let bits = if *width == 4 { u64::from((number as f32).to_bits()) } else { number.to_bits() };
                Ok(kind.notation(self.little).write(bits, *width))
            }
            Kind::Bool => match value.as_i64() {
                Some(truth @ (0 | 1)) => Ok(vec![truth as u8]),
                _ => Err(not("true or false")),
            },
            Kind::Bytes(size) => match (value, size) {
                (Value::Bytes(bytes), Size::Fixed(size)) if bytes.len() != *size => {
                    Err(format!("takes {size} bytes, not {}", bytes.len()))
                }
                (Value::Bytes(bytes), _) => Ok(bytes.clone()),
                (Value::Text(text), _) if text.is_empty() && *size != Size::Fixed(0) => Ok(Vec::new()),
                _ => Err(not("bytes")),
            },
            Kind::Text(size) => {
                let mut bytes = match value {
                    Value::Bytes(bytes) => bytes.clone(),
                    _ => value.as_str().ok_or_else(|| not("a text"))?.as_bytes().to_vec(),
                };
                if let Size::Fixed(size) = size {
                    if bytes.len() > *size {
                        return Err(format!("takes a text of {size} bytes, {value} has {}", bytes.len()));
                    }
                    bytes.resize(*size, 0);
                }
                Ok(bytes)
            }
            Kind::Array(item, size) => {
                let Value::List(items) = value else { return Err(not("a list")) };
                if let Size::Fixed(count) = size
                    && items.len() != *count
                {
                    return Err(format!("takes {count} items, not {}", items.len()));
                }
                let all = items.iter().map(|value| self.encode_kind(item, None, value));
                all.collect::<Result<Vec<_>, _>>().map(|all| all.concat())
            }
        }
    }

    /// The number that stands for a value.
    fn number(&self, value: &Value) -> Result<i128, String> {
        if let Some(scale) = self.scale {
            let real = value.as_f64().ok_or_else(|| format!("takes a number, not {value}"))?;
            let steps = ((real - self.offset) / scale).round();
            let near = steps.is_finite() && steps.abs() < 1e19;
            return if near { Ok(steps as i128) } else { Err(format!("cannot hold {value}")) };
        }
        if let (Some(name), false) = (value.as_str(), self.names.is_empty()) {
            let known = || self.names.iter().map(|(name, _)| name.as_str());
            let found = self.names.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
            let all = || known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return found.ok_or_else(|| format!("takes {} or a number, not {value}", all()));
        }
        match value {
            Value::List(set) if !self.flags.is_empty() => set.iter().try_fold(0, |all, flag| {
                let index = flag.as_str().and_then(|name| flag_index(&self.flags, name));
                let all_names = self.flags.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>();
                index
                    .map(|index| all | 1 << index)
                    .ok_or_else(|| format!("has no flag {flag}; it has {}", all_names.join(", ")))
            }),
            Value::Table(parts) if !self.bits.is_empty() => self.parts(parts),
            _ => value.as_i128().ok_or_else(|| format!("takes an integer, not {value}")),
        }
    }

    fn parts(&self, parts: &[(String, Value)]) -> Result<i128, String> {
        if let Some((unknown, _)) = parts.iter().find(|(name, _)| !self.bits.iter().any(|(known, _)| known == name)) {
            return Err(format!("has no bits `{unknown}`"));
        }
        let (mut number, mut from) = (0, 0);
        for (name, width) in &self.bits {
            let value = parts.iter().find(|(part, _)| part == name).map(|(_, value)| value);
            let value = value.ok_or_else(|| format!("misses its bits `{name}`"))?;
            let part = value.as_i128().filter(|part| (0..1i128 << width).contains(part));
            number |=
                part.ok_or_else(|| format!("takes 0 to {} as `{name}`, not {value}", (1i128 << width) - 1))? << from;
            from += width;
        }
        Ok(number)
    }
}

/// A number, scaled: three tenths are 0.3, where the product of the binary fractions is 0.30000000000000004.
fn decimal(number: i128, scale: f64, offset: f64) -> f64 {
    let plain = number as f64 * scale + offset;
    let places = |part: f64| part.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
    // It has no more decimal places than scale and offset; beyond 14 digits binary fractions are no longer sure.
    let places = places(scale).max(places(offset));
    let sure = |part: f64| places <= 12 && part.abs() * 10f64.powi(places as i32) < 1e14;
    match sure(plain) && sure(plain - offset) {
        true => format!("{plain:.places$}").parse().unwrap_or(plain),
        false => plain,
    }
}

/// The names of the bits that are set; one without a name is `bit5`.
fn set_flags(flags: &[String], number: i128) -> Vec<Value> {
    let name = |index: usize| match flags.get(index) {
        Some(name) if !name.is_empty() => Value::from(name.as_str()),
        _ => Value::from(format!("bit{index}")),
    };
    (0..64).filter(|index| number >> index & 1 == 1).map(name).collect()
}

fn flag_index(flags: &[String], name: &str) -> Option<usize> {
    let by_number = || name.strip_prefix("bit")?.parse().ok().filter(|index| *index < 64);
    flags.iter().position(|known| known == name).or_else(by_number)
}

/// Two digits in a byte; `None` if there are others, or too many.
fn bcd(bytes: &[u8]) -> Option<i128> {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.into_iter().try_fold(0i128, |number, digit| {
        (digit < 10).then(|| number.checked_mul(10)?.checked_add(i128::from(digit)))?
    })
}

/// The bytes of an integer; else the range that fits.
fn integer(kind: &Kind, little: bool, number: i128) -> Result<Vec<u8>, String> {
    let (low, high, width) = match kind {
        Kind::Integer { width, signed: true } => (-(1i128 << (8 * width - 1)), (1i128 << (8 * width - 1)) - 1, *width),
        Kind::Bcd(size) => (0, 10i128.saturating_pow(2 * *size as u32) - 1, *size),
        Kind::Hex(size) | Kind::Decimal(size) | Kind::Integer { width: size, .. } => {
            (0, i128::from(kind.notation(little).highest(*size)), *size)
        }
        _ => (0, 0, 0),
    };
    if !(low..=high).contains(&number) {
        return Err(format!("{low} to {high}"));
    }
    if let Kind::Bcd(size) = kind {
        let digits = format!("{number:0width$}", width = 2 * size);
        let pairs = digits.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0'));
        return Ok(pairs.collect());
    }
    Ok(kind.notation(little).write(number as u64, width))
}
