//! Frames whose end is marked.
//!
//! Rules of this file:
//! - Between frames everything is garbage until a start marker, if there are any.
//! - At each place markers come first, then escapes, then bytes as they are; what may become a marker waits.
//! - Where escapes keep markers out of the data, a start marker inside a frame begins another one, and the first is cut
//!   off. Where nothing does, a wrong frame is looked through for a sound one at its end; the longest one counts. So that
//!   the work grows only with the bytes that come, whatever they are, [`LOOKS`] times the bytes of the frame are looked
//!   at: half of that from its begin on, the rest from its end.
//! - An escape byte before a marker of one byte stands before the end (RFC 1662 4.3: so a sender aborts a frame).
//! - Frames without content are nothing where an end may stand alone (RFC 1055: an end clears the noise of a line;
//!   RFC 1662 4.4: flags may stand between frames).

use super::cobs;
use super::decoder::{Event, Frame, Garbage};
use super::problem::Problem;
use super::shape::{Cut, Framing};
use crate::time::Stamp;
use std::collections::VecDeque;

/// So often are the bytes of a wrong frame looked at for a sound one among them; sound content has one of 256 bytes that
/// looks like a start marker.
const LOOKS: usize = 256;

/// The bytes that belong to no finished frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Marked {
    /// A start marker came, or none is needed.
    inside: bool,
    /// Bytes that may become a marker or an escape.
    unit: Vec<(u8, Stamp)>,
    raw: Vec<u8>,
    stamps: Vec<Stamp>,
    body: Vec<u8>,
    dropped: usize,
    problems: Vec<Problem>,
    garbage: Garbage,
}

impl Marked {
    pub(super) fn new(framing: &Framing) -> Marked {
        Marked { inside: framing.start.is_empty(), ..Marked::default() }
    }

    pub(super) fn push(&mut self, framing: &Framing, byte: u8, at: Stamp, events: &mut VecDeque<Event>) {
        self.unit.push((byte, at));
        while !self.unit.is_empty() && self.step(framing, events) {}
    }

    /// When the last byte came that belongs to no frame.
    pub(super) fn last(&self) -> Option<Stamp> {
        let pending = !self.unit.is_empty() || !self.body.is_empty() || !self.problems.is_empty();
        let last = self.unit.last().map(|(_, at)| *at).or(self.stamps.last().copied().filter(|_| pending));
        last.or(self.garbage.last())
    }

    /// Whatever has begun ends here.
    pub(super) fn finish(&mut self, framing: &Framing, events: &mut VecDeque<Event>) {
        let unit: Vec<(u8, Stamp)> = self.unit.drain(..).collect();
        for (byte, at) in unit {
            match self.inside {
                true => self.keep(framing, &[(byte, at)], Some(byte)),
                false => self.garbage.push(byte, at, framing.limit, events),
            }
        }
        if self.inside && (!self.body.is_empty() || !self.problems.is_empty()) {
            self.cut_off(events);
        }
        self.garbage.flush(events);
        *self = Marked::new(framing);
    }

    /// Takes one thing from the front of what waits; `false` if more bytes are needed to know what it is.
    fn step(&mut self, framing: &Framing, events: &mut VecDeque<Event>) -> bool {
        let unit: Vec<u8> = self.unit.iter().map(|(byte, _)| *byte).collect();
        let is = |markers: &[Vec<u8>]| markers.contains(&unit);
        let may_be = |markers: &[Vec<u8>]| markers.iter().any(|marker| marker.starts_with(&unit));
        if !self.inside {
            match (is(&framing.start), may_be(&framing.start)) {
                (true, _) => self.begin(events),
                (_, true) => return false,
                _ => {
                    let (byte, at) = self.unit.remove(0);
                    self.garbage.push(byte, at, framing.limit, events);
                }
            }
            return true;
        }
        let restarts = framing.escape.is_some() && !framing.shares_markers();
        if is(&framing.end) {
            self.end(framing, events);
        } else if restarts && is(&framing.start) {
            self.cut_off(events);
            self.begin(events);
        } else if may_be(&framing.end) || (restarts && may_be(&framing.start)) {
            return false;
        } else {
            return self.content(framing, &unit, events);
        }
        true
    }

    fn content(&mut self, framing: &Framing, unit: &[u8], events: &mut VecDeque<Event>) -> bool {
        let escape = framing.escape.as_ref().filter(|escape| escape.byte == unit[0]);
        let (taken, byte) = match (escape, unit.get(1)) {
            (Some(_), None) => return false,
            (Some(escape), Some(partner)) => {
                let markers = framing.start.iter().chain(&framing.end);
                let cut = markers.into_iter().any(|marker| *marker == [*partner]);
                let meant = escape.undo(*partner).filter(|_| !cut);
                if meant.is_none() {
                    self.problems.push(Problem::Escape { offset: self.body.len(), found: Some(*partner) });
                }
                match meant {
                    Some(byte) => (2, Some(byte)),
                    None => (1, None),
                }
            }
            (None, _) => (1, Some(unit[0])),
        };
        let bytes: Vec<(u8, Stamp)> = self.unit.drain(..taken).collect();
        self.keep(framing, &bytes, byte);
        if framing.cut == Cut::Length && framing.end.is_empty() && self.is_whole(framing) {
            self.end(framing, events);
        }
        true
    }

    /// Whether as many bytes are there as the length field says; a length that cannot be is a whole frame, too.
    fn is_whole(&self, framing: &Framing) -> bool {
        let announced = framing.length.as_ref().and_then(|field| field.announced(&self.body));
        announced.is_some_and(|length| {
            length.map_or(true, |length| self.body.len() + self.dropped >= length || length > framing.limit)
        })
    }

    /// Appends to the frame, within the limit.
    fn keep(&mut self, framing: &Framing, bytes: &[(u8, Stamp)], byte: Option<u8>) {
        let room = match framing.cut {
            Cut::Cobs => framing.limit + framing.limit / 254 + 1,
            _ => framing.limit,
        };
        if self.body.len() >= room || self.raw.len() >= 2 * room + 64 {
            self.dropped += usize::from(byte.is_some());
            return;
        }
        self.raw.extend(bytes.iter().map(|(byte, _)| *byte));
        self.stamps.extend(bytes.iter().map(|(_, at)| *at));
        self.body.extend(byte);
        // Only the first few are worth telling.
        self.problems.truncate(8);
    }

    /// A start marker waits in the unit: a frame begins.
    fn begin(&mut self, events: &mut VecDeque<Event>) {
        self.garbage.flush(events);
        self.forget();
        self.inside = true;
        self.raw.extend(self.unit.iter().map(|(byte, _)| *byte));
        self.stamps.extend(self.unit.iter().map(|(_, at)| *at));
        self.unit.clear();
    }

    fn forget(&mut self) {
        self.raw.clear();
        self.stamps.clear();
        self.body.clear();
        self.problems.clear();
        self.dropped = 0;
    }

    /// The frame stops without an end.
    fn cut_off(&mut self, events: &mut VecDeque<Event>) {
        let length = self.body.len() + self.dropped;
        self.problems.push(Problem::Truncated { length, expected: None });
        let frame = self.take(Vec::new());
        events.push_back(Event::Frame(frame));
    }

    fn take(&mut self, further: Vec<Problem>) -> Frame {
        let (first, last) = (self.stamps.first().copied(), self.stamps.last().copied());
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(further);
        let frame = Frame {
            raw: std::mem::take(&mut self.raw),
            body: std::mem::take(&mut self.body),
            first: first.unwrap_or_default(),
            last: last.unwrap_or_default(),
            problems,
        };
        self.forget();
        frame
    }

    /// The frame ends, with the marker in the unit if there is one.
    fn end(&mut self, framing: &Framing, events: &mut VecDeque<Event>) {
        let marker: Vec<(u8, Stamp)> = self.unit.drain(..).collect();
        let alone = framing.start.is_empty() || framing.shares_markers();
        if self.body.is_empty() && self.dropped == 0 && self.problems.is_empty() && alone {
            self.forget();
        } else {
            self.raw.extend(marker.iter().map(|(byte, _)| *byte));
            self.stamps.extend(marker.iter().map(|(_, at)| *at));
            self.report(framing, marker.len(), events);
        }
        self.inside = framing.start.is_empty() || framing.shares_markers();
        if framing.shares_markers() {
            self.raw.extend(marker.iter().map(|(byte, _)| *byte));
            self.stamps.extend(marker.iter().map(|(_, at)| *at));
        }
    }

    fn report(&mut self, framing: &Framing, marker: usize, events: &mut VecDeque<Event>) {
        let length = self.body.len() + self.dropped;
        let stamps = self.stamps.clone();
        let further = match self.dropped {
            0 => {
                let (body, problems) = judged(framing, std::mem::take(&mut self.body), &self.problems);
                self.body = body;
                problems
            }
            _ => vec![Problem::TooLong { length, limit: framing.limit }],
        };
        let too_long = self.dropped > 0;
        let frame = self.take(further);
        let wrong = !too_long && !frame.problems.is_empty();
        let hidden = wrong.then(|| hidden(framing, &frame.raw, frame.raw.len() - marker)).flatten();
        let Some((at, body)) = hidden else { return events.push_back(Event::Frame(frame)) };
        let (raw, last) = (frame.raw[at..].to_vec(), frame.last);
        let sound = Frame { raw, body, first: stamps[at], last, problems: Vec::new() };
        let body = frame.body[..at.saturating_sub(framing.start_marker().len()).min(frame.body.len())].to_vec();
        let problems = vec![Problem::Truncated { length: body.len(), expected: None }];
        let raw = frame.raw[..at].to_vec();
        events.push_back(Event::Frame(Frame { raw, body, first: frame.first, last: stamps[at - 1], problems }));
        events.push_back(Event::Frame(sound));
    }
}

/// The body of what stands between the markers, and what is wrong with it beside what is known already.
fn judged(framing: &Framing, body: Vec<u8>, known: &[Problem]) -> (Vec<u8>, Vec<Problem>) {
    let (body, problem) = match framing.cut {
        Cut::Cobs => cobs::decode(&body),
        _ => (body, None),
    };
    let announced = framing.length.as_ref().and_then(|field| field.announced(&body)?.ok());
    let mut problems: Vec<Problem> = problem.into_iter().collect();
    match announced {
        Some(length) if length > framing.limit => problems.push(Problem::TooLong { length, limit: framing.limit }),
        _ if known.is_empty() && problems.is_empty() => problems = framing.check(&body),
        _ => {}
    }
    (body, problems)
}

/// Where in a wrong frame a sound one begins that goes on to its end, and its body. `end` is where the end marker stands.
fn hidden(framing: &Framing, raw: &[u8], end: usize) -> Option<(usize, Vec<u8>)> {
    if framing.start.is_empty() || framing.escape.is_some() || framing.shares_markers() {
        return None;
    }
    let sound = |at: usize| {
        let start = framing.start.iter().find(|start| raw[at..].starts_with(start))?;
        let body = raw.get(at + start.len()..end)?;
        let (body, problems) = judged(framing, body.to_vec(), &[]);
        Some(problems.is_empty().then_some((at, body)))
    };
    let (mut front, mut back) = (1, end);
    let mut budget = LOOKS / 2 * raw.len();
    while front < back && budget > 0 {
        if let Some(looked) = sound(front) {
            budget = budget.saturating_sub(end - front);
            if looked.is_some() {
                return looked;
            }
        }
        front += 1;
    }
    budget = LOOKS / 2 * raw.len();
    let mut longest = None;
    while front < back && budget > 0 {
        back -= 1;
        if let Some(looked) = sound(back) {
            budget = budget.saturating_sub(end - back);
            longest = looked.or(longest);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::super::shape::{Notation, Position, SumField, Wrap};
    use super::super::sum::Sum;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Frames from `aa` to `0a` with a CRC, and over how many bytes it was computed.
    fn delimited() -> (Framing, Arc<AtomicUsize>) {
        let looked = Arc::new(AtomicUsize::new(0));
        let sum = SumField {
            name: "sum".into(),
            at: Position::End(4),
            width: 4,
            notation: Notation::Big,
            sum: Sum::named("crc-32").expect("it is in the catalogue").counting(Arc::clone(&looked)),
            from: Position::Start(0),
            to: Position::End(4),
            with_start: false,
        };
        let start = vec![vec![0xaa]];
        let framing = Framing { start, sums: vec![sum], minimum: 4, limit: 1 << 20, ..Framing::delimited(&[0x0a]) };
        (framing, looked)
    }

    fn decode(framing: &Framing, bytes: &[u8]) -> Vec<Event> {
        let (mut marked, mut events) = (Marked::new(framing), VecDeque::new());
        bytes.iter().for_each(|byte| marked.push(framing, *byte, Stamp::default(), &mut events));
        events.into()
    }

    #[test]
    fn what_a_wrong_frame_of_start_markers_costs_grows_with_its_length_and_no_faster() {
        let cost = |length: usize| {
            let (framing, looked) = delimited();
            let wire = [&vec![0xaa; length][..], &[0x01, 0x0a]].concat();
            let events = decode(&framing, &wire);
            assert!(matches!(events.as_slice(), [Event::Frame(frame)] if !frame.problems.is_empty()), "{events:?}");
            looked.load(Ordering::Relaxed)
        };
        let (short, long) = (cost(2_000), cost(16_000));
        assert!(long <= 9 * short, "8 times the bytes cost {long} instead of {short}");
    }

    #[test]
    fn a_sound_frame_at_the_end_of_a_wrong_one_is_found_behind_any_number_of_start_markers() {
        let (framing, _) = delimited();
        let mut body = [0x10, 0x21, 0, 0, 0, 0];
        framing.seal(&mut body);
        let sound = framing.wrap(&body, &Wrap::default());
        for length in [1, 40, 1_000, 20_000] {
            let events = decode(&framing, &[&vec![0xaa; length][..], &sound].concat());
            let [Event::Frame(cut), Event::Frame(frame)] = events.as_slice() else { panic!("{length}: {events:?}") };
            assert_eq!(cut.problems, [Problem::Truncated { length: length - 1, expected: None }]);
            assert_eq!((frame.raw.as_slice(), frame.body.as_slice()), (&sound[..], &body[..]), "{length}");
        }
    }
}
