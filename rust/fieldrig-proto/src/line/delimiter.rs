//! Framing by delimiter: a frame ends with certain bytes (lines of a console, and many proprietary protocols).
//!
//! Rules of this file:
//! - [`Ending::Line`] takes CR, LF and CRLF, mixed at will: CRLF is one ending, also when it arrives in two parts.
//! - Bytes beyond the limit are dropped and counted; the frame that lost them says so.
//! - A frame carries the stamps of its first byte and of the last byte of its delimiter.

use crate::endpoint::Stamps;
use crate::time::Stamp;
use std::collections::VecDeque;

/// What ends a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// CR, LF or CRLF.
    Line,
    /// Exactly these bytes. No bytes: nothing ends a frame.
    Bytes(Vec<u8>),
}

/// What came before one delimiter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The bytes, without the delimiter, as far as the limit allows.
    pub bytes: Vec<u8>,
    /// When its first byte arrived (of an empty frame: its delimiter).
    pub first: Stamp,
    /// When the last byte of its delimiter arrived.
    pub last: Stamp,
    /// Bytes that were dropped because the frame was longer than the limit.
    pub dropped: usize,
}

/// Cuts a stream of bytes into frames.
#[derive(Clone, Debug)]
pub struct Framer {
    ending: Ending,
    limit: usize,
    /// The frame so far: at most `limit` bytes, then at most as many as the delimiter has.
    buffer: Vec<u8>,
    /// Bytes missing between the two.
    dropped: usize,
    first: Option<Stamp>,
    /// The last byte was a CR that ended a line; an LF now belongs to it.
    after_cr: bool,
    frames: VecDeque<Frame>,
}

impl Framer {
    /// A framer for frames of at most `limit` bytes.
    #[must_use]
    pub fn new(ending: Ending, limit: usize) -> Framer {
        let (buffer, frames) = (Vec::new(), VecDeque::new());
        Framer { ending, limit, buffer, dropped: 0, first: None, after_cr: false, frames }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            self.push_byte(*byte, stamps.at(index, bytes.len()));
        }
    }

    /// The next whole frame.
    pub fn poll(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The bytes of the frame that has no end yet.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        &self.buffer[..self.buffer.len().min(self.limit)]
    }

    /// Forgets the frame that has no end yet, and frames nobody took.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.frames.clear();
        self.dropped = 0;
        self.first = None;
        self.after_cr = false;
    }

    fn push_byte(&mut self, byte: u8, stamp: Stamp) {
        if let Ending::Line = self.ending {
            let second_of_crlf = self.after_cr && byte == b'\n';
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if second_of_crlf => {}
                b'\r' | b'\n' => self.finish(0, stamp),
                _ => self.keep(byte, 0, stamp),
            }
            return;
        }
        let Ending::Bytes(delimiter) = &self.ending else { return };
        let length = delimiter.len();
        self.keep(byte, length, stamp);
        let Ending::Bytes(delimiter) = &self.ending else { return };
        if length > 0 && self.buffer.ends_with(delimiter) {
            self.finish(length, stamp);
        }
    }

    /// Appends a byte; beyond the limit only the newest `tail` bytes are kept, in which the delimiter is looked for.
    fn keep(&mut self, byte: u8, tail: usize, stamp: Stamp) {
        self.first.get_or_insert(stamp);
        if self.buffer.len() >= self.limit.saturating_add(tail) {
            self.dropped += 1;
            if tail == 0 {
                return;
            }
            self.buffer.remove(self.limit);
        }
        self.buffer.push(byte);
    }

    fn finish(&mut self, delimiter: usize, last: Stamp) {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.truncate(bytes.len().saturating_sub(delimiter));
        // The tail after the limit held frame bytes, not only the delimiter.
        let beyond = bytes.len().saturating_sub(self.limit);
        bytes.truncate(self.limit);
        let dropped = std::mem::take(&mut self.dropped) + beyond;
        let first = self.first.take().unwrap_or(last);
        self.frames.push_back(Frame { bytes, first, last, dropped });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;
    use proptest::prelude::*;

    fn frames(framer: &mut Framer, bytes: &[u8]) -> Vec<Vec<u8>> {
        framer.push(bytes, Stamps::One(Stamp::exact(Time::ZERO)));
        std::iter::from_fn(|| framer.poll()).map(|frame| frame.bytes).collect()
    }

    #[test]
    fn lines_end_with_cr_lf_or_both() {
        let mut framer = Framer::new(Ending::Line, 80);
        assert_eq!(frames(&mut framer, b"a\nb\rc\r\nd\n\ne\r"), [&b"a"[..], b"b", b"c", b"d", b"", b"e"]);
        assert_eq!(frames(&mut framer, b"\nf\r\r"), [&b"f"[..], b""]);
        assert_eq!(framer.unfinished(), b"");
    }

    #[test]
    fn a_delimiter_may_arrive_in_parts() {
        let mut framer = Framer::new(Ending::Bytes(b"##".to_vec()), 80);
        assert_eq!(frames(&mut framer, b"one#").len(), 0);
        assert_eq!(frames(&mut framer, b"#two#x###"), [&b"one"[..], b"two#x"]);
        assert_eq!(framer.unfinished(), b"#");
    }

    #[test]
    fn a_frame_longer_than_the_limit_says_what_it_lost() {
        for (ending, bytes) in [(Ending::Line, &b"0123456789\n"[..]), (Ending::Bytes(b"<>".into()), b"0123456789<>")] {
            let mut framer = Framer::new(ending, 4);
            framer.push(bytes, Stamps::One(Stamp::default()));
            let frame = framer.poll().expect("a frame");
            assert_eq!((frame.bytes.as_slice(), frame.dropped), (&b"0123"[..], 6));
        }
    }

    #[test]
    fn a_frame_has_the_stamps_of_its_first_byte_and_of_its_end() {
        let stamps: Vec<Stamp> = (10..14).map(|nanos| Stamp::exact(Time::from_nanos(nanos))).collect();
        let mut framer = Framer::new(Ending::Line, 80);
        framer.push(b"\nab\n", Stamps::PerByte(&stamps));
        let empty = framer.poll().expect("the empty line");
        assert_eq!((empty.first, empty.last), (stamps[0], stamps[0]));
        let line = framer.poll().expect("the line");
        assert_eq!((line.first, line.last), (stamps[1], stamps[3]));
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_uncounted_however_the_bytes_are_cut(
            bytes in proptest::collection::vec(prop_oneof![Just(b'#'), Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1usize..20, 1..20),
            limit in 0usize..40,
            delimiter in proptest::collection::vec(prop_oneof![Just(b'#'), Just(b'\n')], 1..4),
        ) {
            let length = delimiter.len();
            let mut framer = Framer::new(Ending::Bytes(delimiter.clone()), limit);
            let mut whole = Framer::new(Ending::Bytes(delimiter), limit);
            whole.push(&bytes, Stamps::One(Stamp::default()));
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (part, more) = rest.split_at((*cut).min(rest.len()));
                framer.push(part, Stamps::One(Stamp::default()));
                rest = more;
            }
            let mut counted = 0;
            while let Some(frame) = framer.poll() {
                counted += frame.bytes.len() + frame.dropped + length;
                prop_assert_eq!(Some(frame), whole.poll());
            }
            prop_assert_eq!(whole.poll(), None);
            prop_assert_eq!(counted + framer.buffer.len() + framer.dropped, bytes.len());
        }
    }
}
