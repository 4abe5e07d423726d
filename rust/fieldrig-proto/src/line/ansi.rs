//! What of the bytes of a console is text: control functions of terminals are left out.
//!
//! Rules of this file:
//! - Left out are escape sequences (ECMA-35 13.2: `ESC`, intermediate bytes 02/00-02/15, a final byte 03/00-07/14), control
//!   sequences (ECMA-48 5.4: `ESC [`, parameter bytes 03/00-03/15, intermediate bytes, a final byte 04/00-07/14) and control
//!   strings (ECMA-48 5.6: `ESC P`, `X`, `]`, `^` or `_` up to `ST`, which is `ESC \`; terminals take `BEL` for it, too).
//! - `CAN` and `SUB` end a sequence (ECMA-48 8.3.6, 8.3.148), and so does an `ESC`: it begins another one.
//! - A sequence ends in front of a byte that cannot belong to it, and that byte is text; a control string ends in front of
//!   a CR or LF, although ECMA-48 5.6 admits them there: what a device leaves open when it is reset must not hide all that
//!   it says afterwards.
//! - The 8-bit forms of these functions (ECMA-48 5.3 b) are text: in UTF-8 their codes are parts of characters.
//! - All other control characters (`BS`, `CR`, `BEL`, ..) are text.
//! - The state goes on from piece to piece: where the pieces are cut makes no difference.
//!
//! ```
//! use fieldrig_proto::line::ansi::Stripper;
//!
//! let mut stripper = Stripper::default();
//! assert_eq!(stripper.strip(b"\x1b[1;3"), b"");
//! assert_eq!(stripper.strip(b"2mok\x1b]0;title\x07\r\n"), b"ok\r\n");
//! ```

use std::ops::Range;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

/// Where in a sequence the next byte stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind `ESC`, and perhaps intermediate bytes.
    Escape { intermediate: bool },
    /// Behind `CSI`.
    Control { intermediate: bool },
    /// In a control string.
    String,
    /// Behind an `ESC` in a control string.
    StringEscape,
}

/// What one byte is, and the state behind it.
enum Step {
    Hidden(State),
    Shown,
    /// It does not belong to the sequence: look at it again as at text.
    Again,
}

/// Tells text from control functions; see the top of this file.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Stripper(State);

impl Stripper {
    /// Gives the ranges of `bytes` that are text, in order.
    pub fn text(&mut self, bytes: &[u8], mut give: impl FnMut(Range<usize>)) {
        let mut index = 0;
        while index < bytes.len() {
            if self.0 == State::Text {
                let length = bytes[index..].iter().position(|byte| *byte == ESC).unwrap_or(bytes.len() - index);
                if length > 0 {
                    give(index..index + length);
                }
                index += length;
                if index < bytes.len() {
                    self.0 = State::Escape { intermediate: false };
                    index += 1;
                }
                continue;
            }
            match step(self.0, bytes[index]) {
                Step::Hidden(state) => self.0 = state,
                Step::Shown => {
                    self.0 = State::Text;
                    give(index..index + 1);
                }
                Step::Again => {
                    self.0 = State::Text;
                    continue;
                }
            }
            index += 1;
        }
    }

    /// The text in `bytes`.
    pub fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        self.text(bytes, |range| text.extend_from_slice(&bytes[range]));
        text
    }
}

fn step(state: State, byte: u8) -> Step {
    use State::{Control, Escape, String, StringEscape, Text};
    match (state, byte) {
        (_, CAN | SUB) => Step::Hidden(Text),
        (String, ESC) => Step::Hidden(StringEscape),
        (_, ESC) => Step::Hidden(Escape { intermediate: false }),
        (Escape { intermediate: false }, b'[') => Step::Hidden(Control { intermediate: false }),
        (Escape { intermediate: false }, b'P' | b'X' | b']' | b'^' | b'_') => Step::Hidden(String),
        (Escape { .. }, 0x20..=0x2f) => Step::Hidden(Escape { intermediate: true }),
        (Escape { .. }, 0x30..=0x7e) => Step::Hidden(Text),
        (Control { intermediate: false }, 0x30..=0x3f) => Step::Hidden(state),
        (Control { .. }, 0x20..=0x2f) => Step::Hidden(Control { intermediate: true }),
        (Control { .. }, 0x40..=0x7e) => Step::Hidden(Text),
        (String, BEL) => Step::Hidden(Text),
        (String, b'\r' | b'\n') => Step::Again,
        (String, _) => Step::Hidden(String),
        // `ST`; any other `ESC x` ends the string, too, and is a sequence of its own.
        (StringEscape, b'\\') => Step::Hidden(Text),
        (StringEscape, _) => step(Escape { intermediate: false }, byte),
        _ => Step::Shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strip(bytes: &[u8]) -> Vec<u8> {
        Stripper::default().strip(bytes)
    }

    #[test]
    fn control_functions_are_no_text() {
        for (bytes, text) in [
            (&b"\x1b[31mred\x1b[0m"[..], &b"red"[..]),
            (b"\x1b[?25l\x1b[2J\x1b[1;1Hmenu", b"menu"),
            (b"a\x1b[1 qb", b"ab"),
            (b"\x1b(Bx\x1b=y\x1b>z\x1b#8", b"xyz"),
            (b"\x1b7\x1bcboot", b"boot"),
            (b"\x1b]0;root@box: ~\x07# ", b"# "),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", b"link"),
            (b"\x1bP1$r0m\x1b\\\x1b_app\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\ok", b"ok"),
        ] {
            assert_eq!(strip(bytes), text, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn all_else_is_text() {
        for bytes in [&b"a\x08b\x07\r\n\t"[..], b"\xc2\x9b31m", b"\x9b31m", "\u{fc}ber".as_bytes(), b"[31m", b"\\"] {
            assert_eq!(strip(bytes), bytes, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_left_open_hides_nothing_but_itself() {
        for (bytes, text) in [
            (&b"\x1b[12\x18ok"[..], &b"ok"[..]),
            (b"\x1b]0;title\x1aok", b"ok"),
            (b"\x1b[\r\nok", b"\r\nok"),
            (b"\x1b]0;never closed\r\nU-Boot 2024", b"\r\nU-Boot 2024"),
            (b"\x1b\r\nok", b"\r\nok"),
            (b"\x1b[31\x1b[0mok", b"ok"),
            (b"\x1b]0;a\x1b[31mok", b"ok"),
            (b"\x1b[1\xffok", b"\xffok"),
            (b"\x1b[1 2ok", b"2ok"),
        ] {
            assert_eq!(strip(bytes), text, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_makes_no_difference(
            bytes in proptest::collection::vec(proptest::sample::select(b"\x1b\x1b[]P\\0;mA #\x07\x18\r\n\xc3".to_vec()), 0..80),
            cuts in proptest::collection::vec(1usize..5, 1..10),
        ) {
            let (mut stripper, mut text, mut rest) = (Stripper::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                text.extend(stripper.strip(piece));
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(text, strip(&bytes));
        }
    }
}
