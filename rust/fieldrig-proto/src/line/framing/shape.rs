//! The description of a framing, and its sending side.
//!
//! Rules of this file:
//! - A position counts from the start of the body or from its end, so that sums can stand behind a payload of any length.
//! - A body is sealed first (lengths, then sums, in the order of their fields, so that a sum may cover a length), then
//!   wrapped (escapes, markers). Both steps can be made wrong on purpose; neither can fail.
//! - A length field says so many bytes less `extra` than the body has.

use super::cobs;
use super::escape::Escape;
use super::problem::Problem;
use super::sum::Sum;
use crate::time::Duration;

/// How the end of a frame is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// By what stands at its end.
    Delimiter,
    /// By a length field in it.
    Length,
    /// The body always has so many bytes.
    Fixed(usize),
    /// By so much silence on the line.
    Silence(Duration),
    /// By a zero behind COBS blocks.
    Cobs,
}

/// A place in a body.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Position {
    /// So many bytes behind its start.
    Start(usize),
    /// So many bytes before its end.
    End(usize),
}

impl Position {
    /// The offset in a body of `length` bytes; `None` if it has none there.
    #[must_use]
    pub fn of(self, length: usize) -> Option<usize> {
        match self {
            Position::Start(offset) => Some(offset).filter(|offset| *offset <= length),
            Position::End(offset) => length.checked_sub(offset),
        }
    }
}

/// How a number stands in its field.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Notation {
    /// Binary, highest byte first.
    Big,
    /// Binary, lowest byte first.
    Little,
    /// Hexadecimal digits, in upper case when sent.
    Hex,
    /// Decimal digits.
    Decimal,
}

impl Notation {
    /// The lowest bits of a number, in `width` bytes.
    #[must_use]
    pub fn write(self, value: u64, width: usize) -> Vec<u8> {
        let digits = |text: String| text.into_bytes()[..].iter().rev().take(width).rev().copied().collect();
        match self {
            Notation::Big => (0..width).rev().map(|index| shifted(value, index)).collect(),
            Notation::Little => (0..width).map(|index| shifted(value, index)).collect(),
            Notation::Hex => digits(format!("{value:0width$X}")),
            Notation::Decimal => digits(format!("{value:0width$}")),
        }
    }

    /// The number; `None` if it is none, or has more than 64 bits.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<u64> {
        let fold = |sum: u64, byte: &u8| sum.checked_mul(256)?.checked_add(u64::from(*byte));
        let text = || std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|b| b.is_ascii_alphanumeric()));
        match self {
            Notation::Big => bytes.iter().try_fold(0, fold),
            Notation::Little => bytes.iter().rev().try_fold(0, fold),
            Notation::Hex => u64::from_str_radix(text()?, 16).ok(),
            Notation::Decimal => text()?.parse().ok(),
        }
    }

    /// The highest number that fits into `width` bytes.
    #[must_use]
    pub fn highest(self, width: usize) -> u64 {
        let power =
            |base: u64| base.checked_pow(u32::try_from(width).unwrap_or(u32::MAX)).map_or(u64::MAX, |all| all - 1);
        match self {
            Notation::Big | Notation::Little => power(256),
            Notation::Hex => power(16),
            Notation::Decimal => power(10),
        }
    }
}

fn shifted(value: u64, index: usize) -> u8 {
    if index < 8 { (value >> (8 * index)) as u8 } else { 0 }
}

/// A field that says how long the body is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LengthField {
    /// Its name.
    pub name: String,
    /// Where it is, from the start of the body.
    pub offset: usize,
    /// Its bytes.
    pub width: usize,
    /// How it is written.
    pub notation: Notation,
    /// The length of the body less what it says.
    pub extra: i64,
}

impl LengthField {
    /// What it says in a body; `None` if the body is too short, inner `None` if it holds no number.
    fn says(&self, body: &[u8]) -> Option<Option<u64>> {
        body.get(self.offset..self.offset + self.width).map(|bytes| self.notation.read(bytes))
    }

    /// The length of the body that it announces; `None` while it is not there.
    pub(super) fn announced(&self, body: &[u8]) -> Option<Result<usize, Problem>> {
        let no_number = || {
            let found = body[self.offset..self.offset + self.width].to_vec();
            Problem::NoNumber { name: self.name.clone(), offset: self.offset, found }
        };
        let length = self.says(body)?.and_then(|says| i64::try_from(says).ok()?.checked_add(self.extra));
        Some(length.map(|length| usize::try_from(length).unwrap_or(0)).ok_or_else(no_number))
    }
}

/// A field that holds a checksum.
#[derive(Clone, PartialEq, Debug)]
pub struct SumField {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: Position,
    /// Its bytes.
    pub width: usize,
    /// How it is written.
    pub notation: Notation,
    /// Which one.
    pub sum: Sum,
    /// The first byte that it covers.
    pub from: Position,
    /// The first byte behind those that it covers.
    pub to: Position,
    /// It covers the start marker, too.
    pub with_start: bool,
}

/// Bytes that are the same in each frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: Position,
    /// What they are.
    pub bytes: Vec<u8>,
}

/// How frames stand in a stream of bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Framing {
    /// How the end is found.
    pub cut: Cut,
    /// What a frame begins with: one of these; nothing if there are none. The first one is sent.
    pub start: Vec<Vec<u8>>,
    /// What a frame ends with: one of these. The first one is sent.
    pub end: Vec<Vec<u8>>,
    /// How bytes that look like markers are sent.
    pub escape: Option<Escape>,
    /// The length, if frames say it.
    pub length: Option<LengthField>,
    /// The checksums.
    pub sums: Vec<SumField>,
    /// What is always the same.
    pub constants: Vec<Constant>,
    /// The shortest body.
    pub minimum: usize,
    /// The longest body.
    pub limit: usize,
    /// An unfinished frame to which nothing was added for so long is cut off.
    pub patience: Option<Duration>,
}

/// What goes around a body, where it is not what the framing says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wrap {
    /// Instead of the start marker.
    pub start: Option<Vec<u8>>,
    /// Instead of the end marker.
    pub end: Option<Vec<u8>>,
    /// Nothing is escaped, nothing stuffed.
    pub plain: bool,
}

impl Framing {
    /// A framing that only has an end.
    #[must_use]
    pub fn delimited(end: &[u8]) -> Framing {
        Framing {
            cut: Cut::Delimiter,
            start: Vec::new(),
            end: vec![end.to_vec()],
            escape: None,
            length: None,
            sums: Vec::new(),
            constants: Vec::new(),
            minimum: 1,
            limit: 4096,
            patience: None,
        }
    }

    /// SLIP (RFC 1055): a frame ends with 0xc0; empty ones, which clear noise from a line, are nothing.
    #[must_use]
    pub fn slip() -> Framing {
        Framing { escape: Some(Escape::slip()), ..Framing::delimited(&[0xc0]) }
    }

    /// COBS with a zero at the end.
    #[must_use]
    pub fn cobs() -> Framing {
        Framing { cut: Cut::Cobs, ..Framing::delimited(&[0]) }
    }

    /// HDLC-like framing on asynchronous lines (RFC 1662 chapter 4): flags of 0x7e, which frames may share.
    #[must_use]
    pub fn hdlc() -> Framing {
        Framing { start: vec![vec![0x7e]], escape: Some(Escape::hdlc()), ..Framing::delimited(&[0x7e]) }
    }

    /// The start marker that is sent.
    #[must_use]
    pub fn start_marker(&self) -> &[u8] {
        self.start.first().map_or(&[], Vec::as_slice)
    }

    /// The end marker that is sent.
    #[must_use]
    pub fn end_marker(&self) -> &[u8] {
        self.end.first().map_or(&[], Vec::as_slice)
    }

    /// One marker serves as the end of a frame and as the start of the next one.
    #[must_use]
    pub fn shares_markers(&self) -> bool {
        !self.start.is_empty() && self.start == self.end
    }

    /// Puts the length into a body.
    pub fn seal_length(&self, body: &mut [u8]) {
        let Some(field) = &self.length else { return };
        let says = i64::try_from(body.len()).unwrap_or(i64::MAX).saturating_sub(field.extra);
        let bytes = field.notation.write(says as u64, field.width);
        if let Some(place) = body.get_mut(field.offset..field.offset + field.width) {
            place.copy_from_slice(&bytes);
        }
    }

    /// Puts one of the checksums into a body.
    pub fn seal_sum(&self, index: usize, body: &mut [u8]) {
        let Some(field) = self.sums.get(index) else { return };
        let Some((at, right)) = self.right_sum(field, body) else { return };
        body[at..at + field.width].copy_from_slice(&right);
    }

    /// Puts length and checksums into a body.
    pub fn seal(&self, body: &mut [u8]) {
        self.seal_length(body);
        (0..self.sums.len()).for_each(|index| self.seal_sum(index, body));
    }

    /// Where a checksum stands in this body, and what it should be; `None` if the body is too short for it.
    fn right_sum(&self, field: &SumField, body: &[u8]) -> Option<(usize, Vec<u8>)> {
        let at = field.at.of(body.len()).filter(|at| at + field.width <= body.len())?;
        let (from, to) = (field.from.of(body.len())?, field.to.of(body.len())?);
        let covered = body.get(from..to)?;
        let value = match field.with_start {
            true => field.sum.of(&[self.start_marker(), covered].concat()),
            false => field.sum.of(covered),
        };
        Some((at, field.notation.write(value, field.width)))
    }

    /// The bytes of a frame.
    #[must_use]
    pub fn wrap(&self, body: &[u8], wrap: &Wrap) -> Vec<u8> {
        let mut bytes = wrap.start.clone().unwrap_or_else(|| self.start_marker().to_vec());
        match (&self.cut, &self.escape) {
            (Cut::Cobs, _) if !wrap.plain => bytes.extend(cobs::encode(body)),
            (_, Some(escape)) if !wrap.plain => body.iter().for_each(|byte| escape.write(*byte, &mut bytes)),
            _ => bytes.extend_from_slice(body),
        }
        bytes.extend_from_slice(wrap.end.as_deref().unwrap_or_else(|| self.end_marker()));
        bytes
    }

    /// What is wrong with a body; its end was found by the cut.
    #[must_use]
    pub fn check(&self, body: &[u8]) -> Vec<Problem> {
        if body.len() < self.minimum {
            return vec![Problem::TooShort { length: body.len(), minimum: self.minimum }];
        }
        let mut problems = Vec::new();
        problems.extend(self.constants.iter().filter_map(|constant| wrong_constant(constant, body)));
        problems.extend(self.length.as_ref().and_then(|field| wrong_length(field, body)));
        problems.extend(self.sums.iter().filter_map(|field| self.wrong_sum(field, body)));
        problems
    }

    fn wrong_sum(&self, field: &SumField, body: &[u8]) -> Option<Problem> {
        let (offset, expected) = self.right_sum(field, body)?;
        let found = &body[offset..offset + field.width];
        // Hexadecimal digits may come in lower case.
        let right = match field.notation {
            Notation::Hex => found.eq_ignore_ascii_case(&expected),
            _ => found == expected,
        };
        (!right).then(|| Problem::Sum { name: field.name.clone(), offset, found: found.to_vec(), expected })
    }
}

fn wrong_constant(constant: &Constant, body: &[u8]) -> Option<Problem> {
    let offset = constant.at.of(body.len())?;
    let found = body.get(offset..offset + constant.bytes.len()).unwrap_or(&body[offset..]);
    let (name, expected) = (constant.name.clone(), constant.bytes.clone());
    (found != expected).then(|| Problem::Constant { name, offset, found: found.to_vec(), expected })
}

fn wrong_length(field: &LengthField, body: &[u8]) -> Option<Problem> {
    let (name, offset, length) = (field.name.clone(), field.offset, body.len());
    match field.announced(body)? {
        Ok(announced) if announced == length => None,
        Ok(_) => {
            let says = field.says(body).flatten().unwrap_or_default();
            let (says, all) = (i64::try_from(says).unwrap_or(i64::MAX), i64::try_from(length).unwrap_or(i64::MAX));
            Some(Problem::Length { name, offset, says, expected: all - field.extra, length })
        }
        Err(problem) => Some(problem),
    }
}
