//! Modbus ASCII: ":" and hexadecimal digits, two for each octet of unit, PDU and LRC, then CR LF (SL 2.5.2).
//!
//! Rules of this file:
//! - A frame has 9 to 513 characters: `:`, unit, PDU, LRC, CR, LF (SL 2.5.2). The digits are 0-9 and A-F; lower-case ones
//!   are read only where [`Rules::lower_case`] says so.
//! - A `:` begins a frame wherever it stands; what came before it is dropped (SL 2.5.2.1).
//! - More than a second between two characters of a frame is an error; the limit can be set (SL 2.5.2.1).
//! - The LF at the end can be replaced by another character with function 08 sub-function 0003 (AP 6.8).
//!
//! [`View`] looks at any characters; [`Adu`] is what gets sent, with every derived field open to patching.
//!
//! ```
//! use fieldrig_proto::modbus::ascii::{Adu, View};
//!
//! let mut frame = Vec::new();
//! Adu::new(1, &[3, 0, 0, 0, 1]).encode(&mut frame);
//! assert_eq!(frame, b":010300000001FB\r\n");
//! assert_eq!(View::new(&frame).problem(), None);
//! assert_eq!(View::new(b":0103\r\n").problem().unwrap().to_string(), "the frame has 7 characters, 9 to 513 are allowed");
//! ```

mod assembler;

pub use assembler::Assembler;

use super::pdu::MAX_PDU;
use crate::checksum::lrc;
use crate::line::LineSettings;
use crate::time::Duration;

/// The character every frame begins with.
pub const START: u8 = b':';
/// The last character of a frame but one.
pub const CARRIAGE_RETURN: u8 = b'\r';
/// The last character of a frame, unless it was changed.
pub const LINE_FEED: u8 = b'\n';
/// The longest frame, in characters (SL 2.5.2).
pub const MAX_CHARACTERS: usize = 1 + 2 * (1 + MAX_PDU + 1) + 2;
/// The shortest frame, in characters: unit, function, LRC.
pub const MIN_CHARACTERS: usize = 1 + 2 * 3 + 2;
/// The longest pause inside a frame, unless another one is set (SL 2.5.2.1).
pub const PAUSE_LIMIT: Duration = Duration::from_secs(1);
/// What real adapters and a busy host add to a pause before it is seen.
const SLACK: Duration = Duration::from_millis(30);

/// How frames are read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Time of one character on the wire; zero where the carrier has none.
    pub character: Duration,
    /// The longest pause between two characters of a frame.
    pub limit: Duration,
    /// How much later than at [`Rules::limit`] a frame that does not go on is given up: what the carrier may hide.
    pub slack: Duration,
    /// Also read digits in lower case, which the standard does not have.
    pub lower_case: bool,
}

impl Rules {
    /// For real adapters and ptys.
    #[must_use]
    pub fn tolerant(line: &LineSettings) -> Rules {
        Rules { slack: SLACK, ..Rules::exact(line) }
    }

    /// For lines with a stamp for each character.
    #[must_use]
    pub fn exact(line: &LineSettings) -> Rules {
        Rules { character: line.character_time(), limit: PAUSE_LIMIT, slack: Duration::ZERO, lower_case: false }
    }

    /// The same on a carrier on which characters take no time.
    #[must_use]
    pub fn without_speed(self) -> Rules {
        Rules { character: Duration::ZERO, slack: SLACK, ..self }
    }

    /// For carriers on which characters take no time: a wire in memory without a speed, a TCP connection.
    #[must_use]
    pub fn unpaced() -> Rules {
        Rules { character: Duration::ZERO, limit: PAUSE_LIMIT, slack: SLACK, lower_case: false }
    }
}

/// A look at characters that may be a frame, or anything.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct View<'a> {
    /// The characters.
    pub characters: &'a [u8],
    /// The character that ends it after CR.
    pub delimiter: u8,
    /// Digits may be in lower case.
    pub lower_case: bool,
}

impl<'a> View<'a> {
    /// By the letter of the standard.
    #[must_use]
    pub fn new(characters: &'a [u8]) -> View<'a> {
        View { characters, delimiter: LINE_FEED, lower_case: false }
    }

    /// Whether it begins as a frame does; all else is noise between frames.
    #[must_use]
    pub fn begins(self) -> bool {
        self.characters.first() == Some(&START)
    }

    /// What stands between the start and the end, as far as both are there.
    #[must_use]
    pub fn digits(self) -> &'a [u8] {
        let rest = self.characters.strip_prefix(&[START]).unwrap_or(self.characters);
        let rest = rest.strip_suffix(&[self.delimiter]).unwrap_or(rest);
        rest.strip_suffix(&[CARRIAGE_RETURN]).unwrap_or(rest)
    }

    /// The octets of the digits, LRC included: as many as can be read from the beginning.
    #[must_use]
    pub fn octets(self) -> Vec<u8> {
        let value = |pair: &[u8]| Some(self.value(pair[0])? << 4 | self.value(pair[1])?);
        self.digits().chunks_exact(2).map_while(value).collect()
    }

    fn value(self, digit: u8) -> Option<u8> {
        match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'A'..=b'F' => Some(digit - b'A' + 10),
            b'a'..=b'f' if self.lower_case => Some(digit - b'a' + 10),
            _ => None,
        }
    }

    /// Unit, PDU and LRC of a frame that is right.
    ///
    /// # Errors
    /// What is wrong with it as a frame.
    pub fn read(self) -> Result<Message, FrameProblem> {
        if !self.begins() {
            return Err(FrameProblem::Start { is: self.characters.first().copied().unwrap_or_default() });
        }
        if !self.characters.ends_with(&[CARRIAGE_RETURN, self.delimiter]) {
            return Err(FrameProblem::End { delimiter: self.delimiter });
        }
        let digits = self.digits();
        if let Some(index) = digits.iter().position(|digit| self.value(*digit).is_none()) {
            let (offset, is) = (1 + index, digits[index]);
            let lower = matches!(is, b'a'..=b'f');
            return Err(if lower {
                FrameProblem::LowerCase { offset, is }
            } else {
                FrameProblem::Digit { offset, is }
            });
        }
        let length = self.characters.len();
        if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&length) {
            return Err(FrameProblem::Length { length });
        }
        if digits.len() % 2 == 1 {
            return Err(FrameProblem::Odd { digits: digits.len() });
        }
        let octets = self.octets();
        match octets.split_last() {
            Some((is, rest)) if *is == lrc(rest) => Ok(Message { octets: rest.to_vec() }),
            Some((is, rest)) => Err(FrameProblem::Lrc { offset: length - 4, is: *is, right: lrc(rest) }),
            None => Err(FrameProblem::Length { length }),
        }
    }

    /// What is wrong with it as a frame: `None` if all of it is right.
    #[must_use]
    pub fn problem(self) -> Option<FrameProblem> {
        self.read().err()
    }
}

/// Unit and PDU of a frame that is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    octets: Vec<u8>,
}

impl Message {
    /// Unit id.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.octets.first().copied().unwrap_or_default()
    }

    /// PDU, with one byte at least.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        self.octets.get(1..).unwrap_or_default()
    }
}

/// Why characters are not an ASCII frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameProblem {
    /// It does not begin with a colon.
    #[error("character at offset 0 is {}, a frame begins with `:`", shown(*.is))]
    Start {
        /// What it begins with.
        is: u8,
    },
    /// It does not end as it should.
    #[error("the end is missing: CR (0d) and {}", shown(*.delimiter))]
    End {
        /// The character that ends it after CR.
        delimiter: u8,
    },
    /// A character that is no digit.
    #[error("character at offset {offset} is {}, 0 to 9 and A to F are allowed", shown(*.is))]
    Digit {
        /// Where it stands.
        offset: usize,
        /// The character.
        is: u8,
    },
    /// A digit in lower case.
    #[error("digit at offset {offset} is {}, in lower case; the standard has 0 to 9 and A to F", shown(*.is))]
    LowerCase {
        /// Where it stands.
        offset: usize,
        /// The character.
        is: u8,
    },
    /// An octet with one digit only.
    #[error("{digits} digits between `:` and CR, two make an octet")]
    Odd {
        /// How many there are.
        digits: usize,
    },
    /// Too short or too long.
    #[error("the frame has {length} characters, {MIN_CHARACTERS} to {MAX_CHARACTERS} are allowed")]
    Length {
        /// Its length.
        length: usize,
    },
    /// The LRC is wrong.
    #[error("LRC at offset {offset} is {is:#04x}, the octets before it give {right:#04x}")]
    Lrc {
        /// Where it stands.
        offset: usize,
        /// What it is.
        is: u8,
        /// What it should be.
        right: u8,
    },
}

/// A character for people: its code, and itself if it can be printed.
fn shown(character: u8) -> String {
    match character {
        LINE_FEED => "LF (0a)".to_owned(),
        CARRIAGE_RETURN => "CR (0d)".to_owned(),
        0x21..=0x7e => format!("`{}` ({character:02x})", char::from(character)),
        _ => format!("{character:02x}"),
    }
}

/// A frame to be sent. `lrc: None` is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adu<'a> {
    /// Unit id.
    pub unit: u8,
    /// PDU.
    pub pdu: &'a [u8],
    /// LRC, if it is not to be the right one.
    pub lrc: Option<u8>,
    /// The character that ends it after CR.
    pub delimiter: u8,
}

impl<'a> Adu<'a> {
    /// A frame that is right in every field.
    #[must_use]
    pub fn new(unit: u8, pdu: &'a [u8]) -> Adu<'a> {
        Adu { unit, pdu, lrc: None, delimiter: LINE_FEED }
    }

    /// Appends its characters.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(2 * self.pdu.len() + MIN_CHARACTERS);
        out.push(START);
        let right = lrc(self.pdu).wrapping_sub(self.unit);
        put_octet(out, self.unit);
        self.pdu.iter().for_each(|octet| put_octet(out, *octet));
        put_octet(out, self.lrc.unwrap_or(right));
        out.extend_from_slice(&[CARRIAGE_RETURN, self.delimiter]);
    }
}

/// Appends the two digits of an octet, the high one first (SL 2.5.2).
fn put_octet(out: &mut Vec<u8>, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(DIGITS[usize::from(octet >> 4)]);
    out.push(DIGITS[usize::from(octet & 0xf)]);
}

/// How many of the first characters form one message, for traces: up to LF, or up to the `:` of the next frame, or what
/// stands before the first `:`. `None` while more may belong to it.
#[must_use]
pub fn adu_length(characters: &[u8]) -> Option<usize> {
    let end = characters.iter().position(|character| *character == LINE_FEED).map(|index| index + 1);
    let next = characters.iter().skip(1).position(|character| *character == START).map(|index| index + 1);
    let most = (characters.len() > MAX_CHARACTERS).then_some(characters.len());
    [end, next].into_iter().flatten().min().or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(adu: &Adu<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        adu.encode(&mut out);
        out
    }

    #[test]
    fn a_frame_is_upper_case_digits_between_colon_and_cr_lf() {
        assert_eq!(encoded(&Adu::new(0x11, &[3, 0, 0x6b, 0, 3])), b":1103006B00037E\r\n");
        let longest = encoded(&Adu::new(247, &[0x41; MAX_PDU]));
        assert_eq!(longest.len(), 513);
        let message = View::new(&longest).read().expect("the longest frame is right");
        assert_eq!((message.unit(), message.pdu().len()), (247, MAX_PDU));
    }

    #[test]
    fn every_derived_field_can_be_patched() {
        let patched = Adu { lrc: Some(0x12), delimiter: b'%', ..Adu::new(1, &[7]) };
        assert_eq!(encoded(&patched), b":010712\r%");
        let view = View { delimiter: b'%', ..View::new(b":010712\r%") };
        assert_eq!(view.problem(), Some(FrameProblem::Lrc { offset: 5, is: 0x12, right: 0xf8 }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (characters, problem) in [
            (&b"010300000001FB\r\n"[..], "character at offset 0 is `0` (30), a frame begins with `:`"),
            (b":010300000001FB\n", "the end is missing: CR (0d) and LF (0a)"),
            (b":010300000001FB\r", "the end is missing: CR (0d) and LF (0a)"),
            (b":010300000001FB", "the end is missing: CR (0d) and LF (0a)"),
            (b":01030000000GFB\r\n", "character at offset 12 is `G` (47), 0 to 9 and A to F are allowed"),
            (
                b":01030000000afb\r\n",
                "digit at offset 12 is `a` (61), in lower case; the standard has 0 to 9 and A to F",
            ),
            (b":010300000001F\r\n", "13 digits between `:` and CR, two make an octet"),
            (b":010300000001FC\r\n", "LRC at offset 13 is 0xfc, the octets before it give 0xfb"),
            (b":01FF\r\n", "the frame has 7 characters, 9 to 513 are allowed"),
            (b"", "character at offset 0 is 00, a frame begins with `:`"),
        ] {
            let told = View::new(characters).problem().expect("it is wrong").to_string();
            assert_eq!(told, problem);
        }
        let lower = View { lower_case: true, ..View::new(b":01030000000af2\r\n") };
        assert_eq!(lower.problem(), None);
    }

    #[test]
    fn a_trace_cuts_at_line_feeds_and_colons() {
        for (characters, length) in [
            (&b":0107F8\r\n:01"[..], Some(9)),
            (b":0107", None),
            (b":0107:0107F8\r\n", Some(5)),
            (b"noise:01", Some(5)),
            (b"", None),
        ] {
            assert_eq!(adu_length(characters), length, "{}", String::from_utf8_lossy(characters));
        }
        assert_eq!(adu_length(&[b'0'; 600]), Some(600));
    }
}
