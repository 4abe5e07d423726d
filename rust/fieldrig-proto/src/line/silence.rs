//! Framing by silence: a frame ends where the line was silent for long enough (Modbus RTU and its kin).
//!
//! Rules of this file:
//! - A stamp says when the last bit of its byte had arrived. The silence between two bytes is the difference of their
//!   stamps less one character time; on a carrier that delivers bytes in no time ([`Timing::unpaced`]) it is the difference.
//! - Silence of t3.5 or more ends a frame; silence longer than t1.5 inside a frame spoils it (V1.02 2.5.1.1).
//! - A gap counts only if it is sure: of uncertain stamps the shortest silence they allow is taken.
//! - A frame also ends when t3.5 passes with nothing after it: [`Framer::deadline`]. One character time is added, because
//!   a byte whose start bit came in time is complete only then.

use crate::endpoint::Stamps;
use crate::line::LineSettings;
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// The silences of a line.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Time of one character on the wire; zero where the carrier has none.
    pub character: Duration,
    /// t1.5: the longest silence inside a frame.
    pub inside: Duration,
    /// t3.5: the shortest silence between frames.
    pub between: Duration,
}

impl Timing {
    /// The silences of Modbus RTU on a line: 1.5 and 3.5 characters of 11 bits up to 19200 baud, above that fixed
    /// 750 us and 1.75 ms (V1.02 2.5.1.1).
    #[must_use]
    pub fn modbus(line: &LineSettings) -> Timing {
        let character = line.character_time();
        if line.baud > 19_200 {
            return Timing { character, inside: Duration::from_micros(750), between: Duration::from_micros(1_750) };
        }
        let tenths = |count: u64| Duration::from_nanos(count * 11 * 100_000_000 / u64::from(line.baud.max(1)));
        Timing { character, inside: tenths(15), between: tenths(35) }
    }

    /// The same silences on a carrier on which bytes take no time (a pty, memory).
    #[must_use]
    pub fn unpaced(self) -> Timing {
        Timing { character: Duration::ZERO, ..self }
    }

    /// The shortest silence that two stamps of neighbouring bytes allow.
    #[must_use]
    pub fn silence(&self, before: Stamp, after: Stamp) -> Duration {
        after.earliest().since(before.latest()).saturating_sub(self.character)
    }
}

/// What came between two silences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When the first byte was complete.
    pub first: Stamp,
    /// When the last byte was complete.
    pub last: Stamp,
    /// What is wrong with it, as far as the line can tell.
    pub fault: Option<Fault>,
}

/// What can be wrong with a frame as a frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A silence inside the frame was longer than t1.5 and shorter than t3.5.
    #[error("{} of silence before offset {offset}, at most {} are allowed inside a frame", human(.silence), human(.allowed))]
    Gap {
        /// The byte after the silence.
        offset: usize,
        /// How long it was, at least.
        silence: Duration,
        /// t1.5.
        allowed: Duration,
    },
    /// The frame is longer than any frame may be; bytes beyond the limit were dropped.
    #[error("{length} bytes in one frame, at most {limit} are allowed")]
    TooLong {
        /// How many bytes came.
        length: usize,
        /// How many may come.
        limit: usize,
    },
    /// A byte was received with an error (parity, stop bit, overrun).
    #[error("a character was received with an error")]
    Character,
}

fn human(duration: &Duration) -> String {
    crate::time::human(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// Cuts bytes into frames by silence.
#[derive(Clone, Debug)]
pub struct Framer {
    timing: Timing,
    limit: usize,
    open: Option<Frame>,
    length: usize,
    done: VecDeque<Frame>,
}

impl Framer {
    /// A framer for frames of at most `limit` bytes.
    #[must_use]
    pub fn new(timing: Timing, limit: usize) -> Framer {
        Framer { timing, limit, open: None, length: 0, done: VecDeque::new() }
    }

    /// The silences it goes by.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            self.push_byte(*byte, stamps.at(index, bytes.len()));
        }
    }

    fn push_byte(&mut self, byte: u8, at: Stamp) {
        if let Some(open) = &self.open
            && self.timing.silence(open.last, at) >= self.timing.between
        {
            self.end();
        }
        let open = self.open.get_or_insert_with(|| Frame { bytes: Vec::new(), first: at, last: at, fault: None });
        let silence = self.timing.silence(open.last, at);
        if silence > self.timing.inside && self.length > 0 && open.fault.is_none() {
            open.fault = Some(Fault::Gap { offset: self.length, silence, allowed: self.timing.inside });
        }
        self.length += 1;
        open.last = at;
        if self.length <= self.limit {
            open.bytes.push(byte);
        } else {
            open.fault = Some(Fault::TooLong { length: self.length, limit: self.limit });
        }
    }

    /// A byte of the frame under way was received with an error.
    pub fn spoil(&mut self) {
        if let Some(open) = &mut self.open {
            open.fault.get_or_insert(Fault::Character);
        }
    }

    /// When the frame under way ends unless more bytes come.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.open.as_ref().map(|open| open.last.latest() + self.timing.between + self.timing.character)
    }

    /// Ends the frame under way if its time has come.
    pub fn expire(&mut self, now: Time) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.end();
        }
    }

    /// The next whole frame.
    pub fn pop(&mut self) -> Option<Frame> {
        self.done.pop_front()
    }

    /// Bytes of the frame under way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.length
    }

    /// Forgets the frame under way and all whole ones.
    pub fn clear(&mut self) {
        self.open = None;
        self.length = 0;
        self.done.clear();
    }

    fn end(&mut self) {
        self.length = 0;
        self.done.extend(self.open.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(text: &str) -> Timing {
        Timing::modbus(&text.parse().expect("valid settings"))
    }

    /// Bytes 0, 1, 2.. with the given silences (ns) before them, on a paced line.
    fn framer_after(silences: &[u64]) -> Framer {
        let timing = timing("9600 8E1");
        let mut framer = Framer::new(timing, 8);
        let mut at = Time::from_nanos(1_000_000_000);
        for (index, silence) in silences.iter().enumerate() {
            at = at + timing.character + Duration::from_nanos(*silence);
            framer.push(&[index as u8], Stamps::One(Stamp::exact(at)));
        }
        framer
    }

    #[test]
    fn times_scale_with_the_speed_up_to_19200_baud() {
        let nanos = |text| {
            let t = timing(text);
            (t.inside.as_nanos(), t.between.as_nanos())
        };
        assert_eq!(nanos("9600 8E1"), (1_718_750, 4_010_416));
        assert_eq!(nanos("19200 8E1"), (859_375, 2_005_208));
        assert_eq!(nanos("38400 8E1"), (750_000, 1_750_000));
        // A format with fewer bits does not shorten the silences: they are counted in characters of 11 bits.
        assert_eq!(timing("9600 8N1").between, timing("9600 8E1").between);
        assert!(timing("9600 8N1").character < timing("9600 8E1").character);
    }

    #[test]
    fn silence_decides_to_the_nanosecond() {
        let mut exactly_t15 = framer_after(&[0, 1_718_750]);
        assert_eq!(exactly_t15.pop(), None);
        exactly_t15.expire(Time::FAR);
        assert_eq!(exactly_t15.pop().map(|frame| (frame.bytes, frame.fault)), Some((vec![0, 1], None)));

        let mut longer = framer_after(&[0, 1_718_751]);
        longer.expire(Time::FAR);
        let fault = longer.pop().and_then(|frame| frame.fault);
        assert!(matches!(fault, Some(Fault::Gap { offset: 1, .. })), "{fault:?}");

        let mut just_short = framer_after(&[0, 4_010_415]);
        assert_eq!(just_short.pop(), None);
        just_short.expire(Time::FAR);
        assert!(just_short.pop().is_some_and(|frame| frame.bytes == [0, 1] && frame.fault.is_some()));

        let mut exactly_t35 = framer_after(&[0, 4_010_416]);
        assert_eq!(exactly_t35.pop().map(|frame| (frame.bytes, frame.fault)), Some((vec![0], None)));
    }

    #[test]
    fn the_last_frame_ends_by_time() {
        let mut framer = framer_after(&[0, 0]);
        let deadline = framer.deadline().expect("a frame is under way");
        framer.expire(deadline - Duration::from_nanos(1));
        assert_eq!(framer.pop(), None);
        framer.expire(deadline);
        assert_eq!(framer.pop().map(|frame| frame.bytes), Some(vec![0, 1]));
        assert_eq!(framer.deadline(), None);
    }

    #[test]
    fn an_unsure_gap_does_not_count() {
        let mut framer = Framer::new(timing("9600 8E1").unpaced(), 8);
        let wide = Stamp::between(Time::ZERO, Time::from_nanos(9_000_000));
        framer.push(&[1], Stamps::One(wide));
        framer.push(&[2], Stamps::One(Stamp::exact(Time::from_nanos(10_000_000))));
        framer.expire(Time::FAR);
        assert_eq!(framer.pop().map(|frame| (frame.bytes, frame.fault)), Some((vec![1, 2], None)));
    }

    #[test]
    fn too_many_bytes_are_dropped_and_told() {
        let mut framer = framer_after(&[0; 10]);
        framer.expire(Time::FAR);
        let frame = framer.pop().expect("one frame");
        assert_eq!(frame.bytes.len(), 8);
        assert_eq!(frame.fault, Some(Fault::TooLong { length: 10, limit: 8 }));
        assert_eq!(
            Fault::Gap { offset: 3, silence: Duration::from_millis(2), allowed: Duration::from_micros(1719) }
                .to_string(),
            "2 ms of silence before offset 3, at most 1.719 ms are allowed inside a frame"
        );
    }

    #[test]
    fn a_character_error_spoils_its_frame_only() {
        let mut framer = framer_after(&[0, 0]);
        framer.spoil();
        framer.expire(Time::FAR);
        assert_eq!(framer.pop().and_then(|frame| frame.fault), Some(Fault::Character));
        framer.spoil();
        assert_eq!(framer.pop(), None);
    }
}
