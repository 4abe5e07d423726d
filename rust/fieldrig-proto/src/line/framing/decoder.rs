//! The receiving side: bytes with stamps in, frames and garbage out.
//!
//! Rules of this file:
//! - Byte by byte, so that the same bytes give the same events however they are cut into pieces.
//! - Frames whose end is counted are found by candidates ([`super::candidates`]), those whose end is marked by markers
//!   ([`super::marked`]), those that end with silence by silence.
//! - Garbage is reported when the next frame begins, when its time is over, or once there is as much as the longest frame;
//!   its first bytes are kept.

use super::candidates::Candidates;
use super::marked::Marked;
use super::problem::Problem;
use super::shape::{Cut, Framing};
use crate::endpoint::Stamps;
use crate::line::silence;
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::sync::Arc;

/// So many bytes of garbage are kept.
pub(super) const SAMPLE: usize = 64;

/// What came.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A frame, sound or not.
    Frame(Frame),
    /// Bytes between frames.
    Garbage {
        /// The first of them.
        bytes: Vec<u8>,
        /// How many there were.
        count: usize,
        /// When the first one came.
        first: Stamp,
        /// When the last one came.
        last: Stamp,
    },
}

/// A frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// As it came over the wire, as far as it was kept.
    pub raw: Vec<u8>,
    /// What stands between the markers, escapes undone.
    pub body: Vec<u8>,
    /// When its first byte came.
    pub first: Stamp,
    /// When its last byte came.
    pub last: Stamp,
    /// What is wrong with it; nothing of a sound one.
    pub problems: Vec<Problem>,
}

/// Bytes that belong to no frame, so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Garbage {
    sample: Vec<u8>,
    count: usize,
    span: Option<(Stamp, Stamp)>,
}

impl Garbage {
    pub(super) fn push(&mut self, byte: u8, at: Stamp, limit: usize, events: &mut VecDeque<Event>) {
        if self.sample.len() < SAMPLE {
            self.sample.push(byte);
        }
        self.count += 1;
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        if self.count >= limit.max(SAMPLE) {
            self.flush(events);
        }
    }

    pub(super) fn flush(&mut self, events: &mut VecDeque<Event>) {
        let Garbage { sample, count, span: Some((first, last)) } = std::mem::take(self) else { return };
        events.push_back(Event::Garbage { bytes: sample, count, first, last });
    }

    /// When the last of them came.
    pub(super) fn last(&self) -> Option<Stamp> {
        self.span.map(|(_, last)| last)
    }
}

enum Way {
    Counted(Candidates),
    Marked(Box<Marked>),
    Silent(silence::Framer),
}

/// Finds frames in a stream of bytes.
pub struct Decoder {
    framing: Arc<Framing>,
    way: Way,
    events: VecDeque<Event>,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new(framing: Arc<Framing>) -> Decoder {
        let way = match (&framing.cut, &framing.escape) {
            (Cut::Silence(silence), _) => Way::Silent(silent(&framing, *silence)),
            (Cut::Fixed(_), _) | (Cut::Length, None) => Way::Counted(Candidates::default()),
            _ => Way::Marked(Box::new(Marked::new(&framing))),
        };
        Decoder { framing, way, events: VecDeque::new() }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = stamps.at(index, bytes.len());
            match &mut self.way {
                Way::Counted(candidates) => candidates.push(&self.framing, *byte, at, &mut self.events),
                Way::Marked(marked) => marked.push(&self.framing, *byte, at, &mut self.events),
                Way::Silent(framer) => framer.push(&[*byte], Stamps::One(at)),
            }
        }
        self.collect();
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Decoder::expire`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let last = match &self.way {
            Way::Silent(framer) => return framer.deadline(),
            Way::Counted(candidates) => candidates.last(),
            Way::Marked(marked) => marked.last(),
        };
        Some(last?.latest() + self.framing.patience?)
    }

    /// When the last byte came of what is neither a frame nor reported as garbage yet. Silence ends frames by itself.
    #[must_use]
    pub fn pending(&self) -> Option<Stamp> {
        match &self.way {
            Way::Silent(_) => None,
            Way::Counted(candidates) => candidates.last(),
            Way::Marked(marked) => marked.last(),
        }
    }

    /// Ends what has waited for too long: an unfinished frame is cut off, garbage is reported.
    pub fn expire(&mut self, now: Time) {
        let due = self.deadline().is_some_and(|deadline| now >= deadline);
        match &mut self.way {
            Way::Silent(framer) => framer.expire(now),
            _ if due => self.finish(),
            _ => {}
        }
        self.collect();
    }

    /// Nothing more comes: ends whatever has begun.
    pub fn finish(&mut self) {
        match &mut self.way {
            Way::Counted(candidates) => candidates.finish(&self.framing, &mut self.events),
            Way::Marked(marked) => marked.finish(&self.framing, &mut self.events),
            Way::Silent(framer) => framer.expire(Time::FAR),
        }
        self.collect();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Decoder::new(Arc::clone(&self.framing));
    }

    /// Frames that silence has ended.
    fn collect(&mut self) {
        let Way::Silent(framer) = &mut self.way else { return };
        while let Some(frame) = framer.pop() {
            let (bytes, first, last) = (frame.bytes, frame.first, frame.last);
            let mut frame = opened(&self.framing, bytes, first, last);
            if let Some(silence::Fault::TooLong { length, limit }) = frame_fault(&frame, &self.framing) {
                frame.problems = vec![Problem::TooLong { length, limit }];
            }
            self.events.push_back(Event::Frame(frame));
        }
    }
}

/// What silence ended holds one byte more than the limit if it was too long.
fn frame_fault(frame: &Frame, framing: &Framing) -> Option<silence::Fault> {
    let limit = framing.limit + framing.start_marker().len() + framing.end_marker().len();
    (frame.raw.len() > limit).then_some(silence::Fault::TooLong { length: frame.raw.len(), limit })
}

fn silent(framing: &Framing, between: Duration) -> silence::Framer {
    let timing = silence::Timing { character: Duration::ZERO, inside: between, between };
    let markers = framing.start_marker().len() + framing.end_marker().len();
    silence::Framer::new(timing, framing.limit + markers + 1)
}

/// The frame that whole bytes make: markers taken away, everything checked.
pub(super) fn opened(framing: &Framing, raw: Vec<u8>, first: Stamp, last: Stamp) -> Frame {
    let mut problems = Vec::new();
    let mut body = raw.as_slice();
    match framing.start.iter().find(|start| body.starts_with(start)) {
        Some(start) => body = &body[start.len()..],
        None if framing.start.is_empty() => {}
        None => {
            let expected = framing.start_marker().to_vec();
            let (found, rest) = body.split_at(expected.len().min(body.len()));
            problems.push(Problem::Start { found: found.to_vec(), expected });
            body = rest;
        }
    }
    match framing.end.iter().find(|end| body.ends_with(end)) {
        Some(end) => body = &body[..body.len() - end.len()],
        None if framing.end.is_empty() => {}
        None => {
            let expected = framing.end_marker().to_vec();
            let (rest, found) = body.split_at(body.len().saturating_sub(expected.len()));
            problems.push(Problem::End { found: found.to_vec(), expected });
            body = rest;
        }
    }
    let body = body.to_vec();
    problems.extend(framing.check(&body));
    Frame { raw, body, first, last, problems }
}
