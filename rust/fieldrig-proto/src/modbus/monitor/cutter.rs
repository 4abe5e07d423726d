//! Cuts the bytes of a wire into frames, whoever sent them.
//!
//! Rules of this file:
//! - A frame may begin where the buffer begins, and after every silence that was surely t3.5 (SL 2.5.1.1).
//! - It ends where its predicted length ends, if the CRC is right there and the line may have been silent behind it; a
//!   right CRC followed at once by more bytes is chance, unless what follows is a frame, too (a bridge may have lumped
//!   two together). At the end of what there is, t3.5 is waited for.
//! - It also ends at a silence that was surely t3.5, if the CRC is right there: functions of unknown length.
//! - By exact rules no frame goes on over such a silence. By tolerant ones it may, for adapters deliver in lumps; the
//!   pause ends what is left.
//! - What is left is noise.

use crate::endpoint::Stamps;
use crate::line::silence::{Fault, Timing};
use crate::modbus::rtu::{Framing, LineRules, MAX_ADU, View};
use crate::time::{Duration, Stamp, Time};

/// More than this is never looked at together.
const MOST: usize = 2 * MAX_ADU;
/// Nor more places at which a frame may begin.
const MOST_BEGINS: usize = 64;
/// So many silences inside a frame are forgiven to an adapter, if nothing but the CRC says that it is one.
const MOST_SILENCES: usize = 4;

/// How long the frame may be that these bytes begin with, likelier readings first; only what is all there, with a right CRC.
pub(super) type Guess<'a> = &'a dyn Fn(&[u8]) -> [Option<usize>; 3];

/// A frame, or noise.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    /// Why it is no frame.
    pub(super) problem: Option<String>,
}

#[derive(Debug)]
pub(super) struct Cutter {
    timing: Timing,
    pause: Duration,
    exact: bool,
    bytes: Vec<u8>,
    stamps: Vec<Stamp>,
    /// Where the line had surely been silent for t3.5.
    begins: Vec<usize>,
    /// So many of them were looked at already, and ended no frame.
    scanned: usize,
    spoiled: bool,
    wake: Option<Time>,
}

impl Cutter {
    pub(super) fn new(rules: &LineRules) -> Cutter {
        let end = rules.timing.between + rules.timing.character;
        let (pause, exact) = match rules.framing {
            Framing::Exact => (end, true),
            Framing::Tolerant { pause } => (pause.max(end), false),
        };
        Cutter {
            timing: rules.timing,
            pause,
            exact,
            bytes: Vec::new(),
            stamps: Vec::new(),
            begins: Vec::new(),
            scanned: 0,
            spoiled: false,
            wake: None,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = stamps.at(index, bytes.len());
            if let Some(before) = self.stamps.last()
                && self.timing.silence(*before, at) >= self.timing.between
            {
                self.begins.push(self.bytes.len());
            }
            self.bytes.push(*byte);
            self.stamps.push(at);
        }
    }

    /// A byte of what is under way was received with an error.
    pub(super) fn spoil(&mut self) {
        self.spoiled = !self.bytes.is_empty();
    }

    /// When to ask for the next piece again.
    pub(super) fn wake(&self) -> Option<Time> {
        self.wake
    }

    /// The next piece whose end is known at `now`.
    pub(super) fn next(&mut self, now: Time, guess: Guess<'_>) -> Option<Piece> {
        self.wake = None;
        let last = self.stamps.last()?.latest();
        let over = now >= last + self.pause;
        if let Some((start, end)) = self.known(now, over, guess) {
            return Some(if start > 0 { self.noise(start) } else { self.take(end, None) });
        }
        self.scanned = self.begins.len();
        let hopeless = self.exact || self.begins.len() > MOST_BEGINS;
        if let Some(begin) = self.begins.first().copied().filter(|_| hopeless) {
            return Some(self.noise(begin));
        }
        if over || self.bytes.len() > MOST {
            return Some(self.rest());
        }
        let ends_here = |start: usize| guess(&self.bytes[start..]).contains(&Some(self.bytes.len() - start));
        let confirms = self.starts().any(ends_here);
        let wait = if confirms { self.timing.between + self.timing.character } else { self.pause };
        self.wake = Some(last + wait);
        None
    }

    fn starts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.begins.iter().copied())
    }

    /// The first frame that is known to be one. When no more is to come, a frame may also be followed by other bytes.
    fn known(&self, now: Time, over: bool, guess: Guess<'_>) -> Option<(usize, usize)> {
        let ended = |end: usize| self.may_end(end, now, guess);
        let silences = over || self.scanned < self.begins.len();
        let by_silence = |start: usize| silences.then(|| self.by_silence(start, over))?;
        let mut found =
            self.starts().find_map(|start| self.predicted(start, guess, &ended).or_else(|| by_silence(start)));
        if over {
            found = found.or_else(|| self.starts().find_map(|start| self.predicted(start, guess, &|_| true)));
        }
        found
    }

    fn predicted(&self, start: usize, guess: Guess<'_>, ended: &dyn Fn(usize) -> bool) -> Option<(usize, usize)> {
        let ends = guess(&self.bytes[start..]).into_iter().flatten().map(|length| start + length);
        let broken = |end: usize| self.exact && self.begins.iter().any(|begin| start < *begin && *begin < end);
        ends.filter(|end| !broken(*end)).find(|end| ended(*end)).map(|end| (start, end))
    }

    fn by_silence(&self, start: usize, over: bool) -> Option<(usize, usize)> {
        let silences = self.begins.iter().copied().filter(|begin| *begin > start);
        let mut ends = silences.take(MOST_SILENCES).chain(over.then_some(self.bytes.len()));
        ends.find(|end| View(&self.bytes[start..*end]).problem().is_none()).map(|end| (start, end))
    }

    fn may_end(&self, end: usize, now: Time, guess: Guess<'_>) -> bool {
        let Some(before) = end.checked_sub(1).and_then(|last| self.stamps.get(last)) else { return false };
        match self.stamps.get(end) {
            None => now >= before.latest() + self.timing.between + self.timing.character,
            Some(after) => {
                let longest = after.latest().since(before.earliest()).saturating_sub(self.timing.character);
                longest >= self.timing.between || guess(&self.bytes[end..]).iter().any(Option::is_some)
            }
        }
    }

    /// What is left after the pause: a frame of unknown length, or noise.
    fn rest(&mut self) -> Piece {
        let end = self.bytes.len();
        let start = self.starts().find(|start| View(&self.bytes[*start..]).problem().is_none());
        match start {
            Some(0) => self.take(end, None),
            Some(start) => self.noise(start),
            None => self.noise(end),
        }
    }

    fn noise(&mut self, end: usize) -> Piece {
        let problem = View(&self.bytes[..end]).problem().map(|problem| problem.to_string());
        self.take(end, Some(problem.unwrap_or_else(|| "no frame".to_owned())))
    }

    fn take(&mut self, end: usize, problem: Option<String>) -> Piece {
        let spoiled = std::mem::take(&mut self.spoiled).then(|| Fault::Character.to_string());
        // A piece is never empty: `end` is at least 1.
        let (first, last) = (self.stamps[0], self.stamps[end - 1]);
        let bytes: Vec<u8> = self.bytes.drain(..end).collect();
        self.stamps.drain(..end);
        self.scanned = 0;
        self.begins.retain(|begin| *begin > end);
        self.begins.iter_mut().for_each(|begin| *begin -= end);
        Piece { bytes, first, last, problem: spoiled.or(problem) }
    }
}
