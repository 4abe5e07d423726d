//! Bytes of a terminal whose driver marks those that were received with an error (termios: PARMRK and INPCK).
//!
//! Rules of this file:
//! - `FF 00 c` is the byte `c` with wrong parity or without a stop bit, and `FF 00 00` is also a break; `FF FF` is the
//!   byte FF; everything else stands for itself (termios(3), PARMRK).
//! - A sequence may be cut anywhere by the end of a read: what is missing comes with the next one.

use std::ops::Range;

/// What a stretch of raw input is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// Good bytes: this range of the output.
    Bytes(Range<usize>),
    /// A byte that was received with an error; 0 may be a break instead.
    Marked(u8),
}

#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Plain,
    /// After FF.
    Escape,
    /// After FF 00.
    Marked,
}

/// The reader of marks, which remembers where the last read was cut.
#[derive(Clone, Default, Debug)]
pub(super) struct Marks {
    state: State,
}

impl Marks {
    /// Whether the last read was cut within a sequence.
    pub(super) fn is_within(&self) -> bool {
        self.state != State::Plain
    }

    /// Whether these bytes are what they seem to be.
    pub(super) fn is_plain(&self, raw: &[u8]) -> bool {
        !self.is_within() && !raw.contains(&0xff)
    }

    /// Puts the bytes of `raw` into `bytes` and says what they are, in order.
    pub(super) fn read(&mut self, raw: &[u8], bytes: &mut Vec<u8>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut from = bytes.len();
        for byte in raw {
            self.state = match (self.state, byte) {
                (State::Plain, 0xff) => State::Escape,
                (State::Escape, 0x00) => State::Marked,
                (State::Marked, byte) => {
                    if from < bytes.len() {
                        pieces.push(Piece::Bytes(from..bytes.len()));
                    }
                    pieces.push(Piece::Marked(*byte));
                    from = bytes.len();
                    State::Plain
                }
                (State::Plain | State::Escape, byte) => {
                    // A driver writes no other byte behind FF; should one do it, nothing is lost.
                    if self.state == State::Escape && *byte != 0xff {
                        bytes.push(0xff);
                    }
                    bytes.push(*byte);
                    State::Plain
                }
            };
        }
        if from < bytes.len() {
            pieces.push(Piece::Bytes(from..bytes.len()));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Good bytes in hexadecimal, marked ones with an exclamation mark.
    fn read(chunks: &[&[u8]]) -> String {
        let mut marks = Marks::default();
        let mut words = Vec::new();
        for chunk in chunks {
            let mut bytes = Vec::new();
            for piece in marks.read(chunk, &mut bytes) {
                match piece {
                    Piece::Bytes(range) => words.extend(bytes[range].iter().map(|byte| format!("{byte:02x}"))),
                    Piece::Marked(byte) => words.push(format!("{byte:02x}!")),
                }
            }
        }
        words.join(" ")
    }

    #[test]
    fn marked_bytes_stand_where_they_were_received() {
        for (raw, wanted) in [
            (&b"ab"[..], "61 62"),
            (b"\xff\xff", "ff"),
            (b"a\xff\xff\xff\xffb", "61 ff ff 62"),
            (b"a\xff\x00Zb", "61 5a! 62"),
            (b"\xff\x00\x00", "00!"),
            (b"\xff\x00\xff\xff\xff", "ff! ff"),
            (b"\xff\xff\x00\x00", "ff 00 00"),
            (b"\xff\x01", "ff 01"),
        ] {
            assert_eq!(read(&[raw]), wanted, "{raw:02x?}");
            let single: Vec<&[u8]> = raw.chunks(1).collect();
            assert_eq!(read(&single), wanted, "{raw:02x?} byte by byte");
        }
    }

    /// What a driver writes for good bytes and marked ones (termios(3), PARMRK), and what is to be read from it.
    fn written(received: &[(u8, bool)]) -> (Vec<u8>, String) {
        let (mut raw, mut words) = (Vec::new(), Vec::new());
        for (byte, good) in received {
            match (byte, good) {
                (0xff, true) => raw.extend([0xff, 0xff]),
                (byte, true) => raw.push(*byte),
                (byte, false) => raw.extend([0xff, 0x00, *byte]),
            }
            words.push(format!("{byte:02x}{}", if *good { "" } else { "!" }));
        }
        (raw, words.join(" "))
    }

    #[test]
    fn whatever_was_received_is_read_wherever_the_reads_are_cut() {
        // All sequences of up to four of the bytes that mean something, good and marked, and each place for two cuts.
        let kinds: Vec<(u8, bool)> =
            [0xff, 0x00, 0x41].into_iter().flat_map(|byte| [(byte, true), (byte, false)]).collect();
        for number in 0..kinds.len().pow(4) {
            let digit = |place: u32| kinds[number / kinds.len().pow(place) % kinds.len()];
            let (raw, wanted) = written(&[digit(0), digit(1), digit(2), digit(3)]);
            for second in 0..=raw.len() {
                for first in 0..=second {
                    let chunks = [&raw[..first], &raw[first..second], &raw[second..]];
                    assert_eq!(read(&chunks), wanted, "{raw:02x?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn only_a_doubled_byte_or_the_rest_of_a_sequence_needs_reading() {
        let mut marks = Marks::default();
        assert!(marks.is_plain(b"\x00\xfe"));
        assert!(!marks.is_plain(b"\xff"));
        assert_eq!(marks.read(b"x\xff", &mut Vec::new()), [Piece::Bytes(0..1)]);
        assert!(marks.is_within() && !marks.is_plain(b"a"));
        assert_eq!(marks.read(b"\xff", &mut Vec::new()), [Piece::Bytes(0..1)]);
        assert!(!marks.is_within());
    }
}
