//! Assembly of ASCII frames from characters.
//!
//! Rules of this file:
//! - What begins with `:` is a frame; what stands between frames is noise, given out as a frame that does not begin.
//! - A frame ends at CR and its delimiter, at a delimiter alone (then its end is wrong), at the next `:`, or after a pause
//!   longer than the limit. A pause counts only if it is sure: of uncertain stamps the shortest one is taken.

use super::{CARRIAGE_RETURN, LINE_FEED, MAX_CHARACTERS, Rules, START, View};
use crate::endpoint::Stamps;
use crate::line::silence::{Fault, Frame};
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// Assembles frames from characters. What it gives still has to be judged with [`View::problem`](super::View::problem).
#[derive(Clone, Debug)]
pub struct Assembler {
    rules: Rules,
    delimiter: u8,
    /// Ends a frame, too: while it is not known which one the other side uses.
    also: Option<u8>,
    open: Option<Frame>,
    /// How many characters the open frame has, those that were dropped included.
    length: usize,
    done: VecDeque<Frame>,
}

impl Assembler {
    /// An assembler that waits for CR LF.
    #[must_use]
    pub fn new(rules: Rules) -> Assembler {
        Assembler { rules, delimiter: LINE_FEED, also: None, open: None, length: 0, done: VecDeque::new() }
    }

    /// The character that ends a frame after CR.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// From the next character on frames end with this after CR, or with `also` (AP 6.8.1, 08 sub-function 0003).
    pub fn set_delimiter(&mut self, delimiter: u8, also: Option<u8>) {
        self.delimiter = delimiter;
        self.also = also;
    }

    /// A look at what [`Assembler::pop`] gave.
    #[must_use]
    pub fn view<'a>(&self, characters: &'a [u8], lower_case: bool) -> View<'a> {
        let ended = characters.last().copied();
        let delimiter = self.also.filter(|also| ended == Some(*also)).unwrap_or(self.delimiter);
        View { characters, delimiter, lower_case }
    }

    /// Takes characters.
    pub fn push(&mut self, characters: &[u8], stamps: Stamps<'_>) {
        for (index, character) in characters.iter().enumerate() {
            self.push_character(*character, stamps.at(index, characters.len()));
        }
    }

    fn push_character(&mut self, character: u8, at: Stamp) {
        if let Some(open) = &self.open {
            let pause = at.earliest().since(open.last.latest()).saturating_sub(self.rules.character);
            if pause > self.rules.limit {
                self.end_by_pause(pause);
            }
        }
        if character == START {
            self.end();
        }
        let open = self.open.get_or_insert_with(|| Frame { bytes: Vec::new(), first: at, last: at, fault: None });
        let before = open.bytes.last().copied();
        self.length += 1;
        open.last = at;
        if self.length <= MAX_CHARACTERS {
            open.bytes.push(character);
        }
        let in_frame = open.bytes.first() == Some(&START);
        if in_frame && self.ends(before, character) {
            self.end();
        }
    }

    /// Whether a frame ends with this character.
    fn ends(&self, before: Option<u8>, character: u8) -> bool {
        let is_delimiter = character == self.delimiter || Some(character) == self.also;
        // A delimiter that is a digit ends a frame only after CR.
        is_delimiter && (before == Some(CARRIAGE_RETURN) || !character.is_ascii_hexdigit())
    }

    fn end_by_pause(&mut self, silence: Duration) {
        let (offset, allowed) = (self.length, self.rules.limit);
        if let Some(open) = self.open.as_mut().filter(|open| open.bytes.first() == Some(&START)) {
            open.fault.get_or_insert(Fault::Gap { offset, silence, allowed });
        }
        self.end();
    }

    fn end(&mut self) {
        let length = std::mem::take(&mut self.length);
        if let Some(mut frame) = self.open.take() {
            if length > MAX_CHARACTERS && frame.bytes.first() == Some(&START) {
                frame.fault = Some(Fault::TooLong { length, limit: MAX_CHARACTERS });
            }
            self.done.push_back(frame);
        }
    }

    /// A character of the frame under way was received with an error.
    pub fn spoil(&mut self) {
        if let Some(open) = &mut self.open {
            open.fault = Some(Fault::Character);
        }
    }

    /// When to call [`Assembler::expire`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let Rules { character, limit, slack, .. } = self.rules;
        // A pause of exactly the limit is allowed, and the character after it is complete only then.
        let patience = limit.saturating_add(character).saturating_add(slack).saturating_add(Duration::from_nanos(1));
        self.open.as_ref().map(|open| open.last.latest() + patience)
    }

    /// Ends what is due.
    pub fn expire(&mut self, now: Time) {
        if self.deadline().is_some_and(|deadline| now >= deadline)
            && let Some(open) = &self.open
        {
            let silence = now.since(open.last.latest()).saturating_sub(self.rules.character);
            self.end_by_pause(silence);
        }
    }

    /// The next frame, or what stood between frames.
    pub fn pop(&mut self) -> Option<Frame> {
        self.done.pop_front()
    }

    /// When a frame that is under way is over at the latest; what stands between frames harms none.
    #[must_use]
    pub fn frame_deadline(&self) -> Option<Time> {
        let in_frame = self.open.as_ref().is_some_and(|open| open.bytes.first() == Some(&START));
        self.deadline().filter(|_| in_frame)
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_none()
    }

    /// Forgets everything but the delimiter.
    pub fn clear(&mut self) {
        self.open = None;
        self.length = 0;
        self.done.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Adu;
    use super::*;

    const FRAME: &[u8] = b":010300000001FB\r\n";

    fn assembler() -> Assembler {
        Assembler::new(Rules::exact(&"9600 7E1".parse().expect("valid settings")))
    }

    fn at(millis: u64) -> Stamp {
        Stamp::exact(Time::from_nanos(millis * 1_000_000))
    }

    fn frames(assembler: &mut Assembler) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| assembler.pop()).map(|frame| frame.bytes).collect()
    }

    #[test]
    fn a_frame_is_ready_at_its_last_character() {
        let mut assembler = assembler();
        for (index, character) in FRAME.iter().enumerate() {
            assert_eq!(frames(&mut assembler).len(), 0);
            assembler.push(&[*character], Stamps::One(at(900 * index as u64)));
        }
        assert_eq!(frames(&mut assembler), [FRAME]);
        assert!(assembler.is_idle() && assembler.deadline().is_none());
    }

    #[test]
    fn a_colon_begins_anew_and_noise_stands_alone() {
        let mut assembler = assembler();
        assembler.push(b"xyz\r\n:0103", Stamps::One(at(0)));
        assembler.push(FRAME, Stamps::One(at(5)));
        assert_eq!(frames(&mut assembler), [&b"xyz\r\n"[..], b":0103", FRAME]);
    }

    #[test]
    fn a_pause_longer_than_the_limit_drops_a_frame() {
        let mut late = assembler();
        late.push(b":0103", Stamps::One(at(0)));
        late.push(b"00000001FB\r\n", Stamps::One(at(1_100)));
        let frame = late.pop().expect("a broken frame");
        assert_eq!(frame.bytes, b":0103");
        let fault = frame.fault.expect("a pause").to_string();
        assert!(fault.ends_with("of silence before offset 5, at most 1 s are allowed inside a frame"), "{fault}");
        late.expire(Time::FAR);
        let noise = late.pop().expect("the rest is noise");
        assert_eq!((noise.bytes.as_slice(), noise.fault), (&b"00000001FB\r\n"[..], None));

        let mut over = assembler();
        over.push(b":0103", Stamps::One(at(0)));
        let deadline = over.deadline().expect("a frame is under way");
        over.expire(deadline - Duration::from_nanos(1));
        assert!(!over.is_idle());
        over.expire(deadline);
        assert!(over.is_idle() && over.pop().is_some_and(|frame| frame.fault.is_some()));
    }

    #[test]
    fn a_pause_that_is_not_sure_drops_nothing() {
        let mut assembler = assembler();
        assembler.push(b":0103", Stamps::One(at(0)));
        assembler.push(b"00000001FB\r\n", Stamps::One(Stamp::between(at(900).latest(), at(1_200).latest())));
        assert_eq!(frames(&mut assembler), [FRAME]);
    }

    #[test]
    fn a_line_feed_alone_ends_a_frame_that_is_wrong() {
        let mut assembler = assembler();
        assembler.push(b":010300000001FB\n", Stamps::One(at(0)));
        assembler.push(FRAME, Stamps::One(at(9)));
        let all = frames(&mut assembler);
        assert_eq!(all, [&b":010300000001FB\n"[..], FRAME]);
        assert!(View::new(&all[0]).problem().is_some());
    }

    #[test]
    fn endless_characters_are_bounded() {
        let mut assembler = assembler();
        assembler.push(b":", Stamps::One(at(0)));
        for _ in 0..100 {
            assembler.push(&[b'0'; 100], Stamps::One(at(0)));
        }
        assembler.push(b"\r\n", Stamps::One(at(0)));
        let frame = assembler.pop().expect("one frame");
        assert_eq!(frame.bytes.len(), MAX_CHARACTERS);
        assert_eq!(frame.fault, Some(Fault::TooLong { length: 10_003, limit: MAX_CHARACTERS }));
        assert!(assembler.is_idle());
        assembler.push(FRAME, Stamps::One(at(0)));
        assert_eq!(frames(&mut assembler), [FRAME]);
    }

    #[test]
    fn another_delimiter_ends_frames_and_may_be_a_digit() {
        for delimiter in [b'%', b'A', b'\n'] {
            let mut assembler = assembler();
            assembler.set_delimiter(delimiter, None);
            let mut frame = Vec::new();
            Adu { delimiter, ..Adu::new(0xaa, &[0xaa, 1]) }.encode(&mut frame);
            assembler.push(&frame, Stamps::One(at(0)));
            assert_eq!(frames(&mut assembler), [frame]);
        }
        let mut both = assembler();
        both.set_delimiter(b'%', Some(b'\n'));
        both.push(b":0107F8\r\n:0107F8\r%", Stamps::One(at(0)));
        assert_eq!(frames(&mut both).len(), 2);
    }
}
