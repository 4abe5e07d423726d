//! Frames whose end is counted: by a length field, or because all are equally long.
//!
//! Rules of this file:
//! - In step, the next frame begins with the next byte. A frame that is wrong puts the decoder out of step, and it may be
//!   wrong because its length is: then every byte behind its first one may begin the next sound frame.
//! - Out of step, every place that may begin a frame is a candidate until its bytes show that it does not. The first
//!   candidate that is whole and sound puts the decoder into step again.
//! - A start marker in front of a wrong frame shows that it was meant as one: it is reported, out of step, too.
//! - A frame that never came to its end is wrong as well: its length may be, and sound frames stand in what was waited for.
//!   Only a checksum can tell them from its content: without one, it is not looked through.
//! - Bytes that were reported in a wrong frame are not reported as garbage once more.

use super::decoder::{Event, Frame, Garbage, opened};
use super::problem::Problem;
use super::shape::{Cut, Framing};
use crate::time::Stamp;
use std::collections::VecDeque;

/// What stands at a place.
enum Look {
    /// It may begin a frame; more bytes are needed.
    More,
    /// A frame of so many bytes.
    Whole(usize),
    /// No frame, and why.
    Never(Problem),
}

/// The bytes that belong to no finished frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    data: Vec<u8>,
    stamps: Vec<Stamp>,
    /// Places that may begin a frame, out of step; `None` in step.
    places: Option<Vec<usize>>,
    /// So many bytes at the front were reported in a wrong frame.
    told: usize,
    garbage: Garbage,
}

impl Candidates {
    pub(super) fn push(&mut self, framing: &Framing, byte: u8, at: Stamp, events: &mut VecDeque<Event>) {
        self.take(VecDeque::from([(byte, at)]), framing, events);
    }

    fn take(&mut self, mut waiting: VecDeque<(u8, Stamp)>, framing: &Framing, events: &mut VecDeque<Event>) {
        while let Some((byte, at)) = waiting.pop_front() {
            self.data.push(byte);
            self.stamps.push(at);
            if self.places.is_none() {
                self.in_step(framing, events);
            } else if let Some(places) = &mut self.places {
                places.push(self.data.len() - 1);
            }
            // What stood behind a frame that was found begins anew.
            for again in self.out_of_step(framing, events).into_iter().rev() {
                waiting.push_front(again);
            }
        }
    }

    /// When the last byte came that belongs to no frame.
    pub(super) fn last(&self) -> Option<Stamp> {
        self.stamps.last().copied().or(self.garbage.last())
    }

    /// Whatever has begun ends here. What was taken for the rest of a frame may hold sound ones: its length may be wrong.
    pub(super) fn finish(&mut self, framing: &Framing, events: &mut VecDeque<Event>) {
        while self.places.is_none() && !self.data.is_empty() {
            let expected = match look_for_length(framing, &self.data) {
                Some(Ok(total)) => Some(total),
                _ => None,
            };
            let problem = Problem::Truncated { length: self.data.len(), expected };
            self.report(framing, self.data.len(), Some(problem), events);
            self.told = self.data.len();
            if framing.sums.is_empty() {
                break;
            }
            self.places = Some((1..self.data.len()).collect());
            let behind = self.out_of_step(framing, events);
            self.take(behind.into(), framing, events);
        }
        self.drop_front(self.data.len(), framing, events);
        self.garbage.flush(events);
        *self = Candidates::default();
    }

    fn in_step(&mut self, framing: &Framing, events: &mut VecDeque<Event>) {
        match look(framing, &self.data) {
            Look::More => return,
            Look::Whole(total) => {
                let frame = self.report(framing, total, None, events);
                if frame {
                    self.data.clear();
                    self.stamps.clear();
                    return;
                }
                self.told = self.data.len();
            }
            Look::Never(Problem::Start { .. }) => self.told = 0,
            Look::Never(problem) => {
                self.report(framing, self.data.len(), Some(problem), events);
                self.told = self.data.len();
            }
        }
        self.places = Some((1..self.data.len()).collect());
    }

    /// Looks at every candidate; gives the bytes behind a frame that was found.
    fn out_of_step(&mut self, framing: &Framing, events: &mut VecDeque<Event>) -> Vec<(u8, Stamp)> {
        let Some(mut places) = self.places.take() else { return Vec::new() };
        let (mut found, mut wrong, earliest) = (None, None, places.first().copied());
        places.retain(|place| match look(framing, &self.data[*place..]) {
            Look::More => true,
            Look::Whole(total) if found.is_none() => {
                if self.frame(framing, *place, total).problems.is_empty() {
                    found = Some((*place, total));
                } else if Some(*place) == earliest && *place >= self.told && !framing.start.is_empty() {
                    wrong = Some((*place, total));
                }
                false
            }
            _ => false,
        });
        if let Some((place, total)) = found {
            self.drop_front(place, framing, events);
            self.garbage.flush(events);
            events.push_back(Event::Frame(self.frame(framing, 0, total)));
            let rest = self.data.drain(..).zip(self.stamps.drain(..)).skip(total).collect();
            self.told = 0;
            return rest;
        }
        if let Some((place, total)) = wrong {
            self.drop_front(place, framing, events);
            self.garbage.flush(events);
            self.report(framing, total, None, events);
            self.told = total;
            places.iter_mut().for_each(|other| *other -= place);
        }
        // Nothing that waits: the next byte may begin a frame like any other.
        let front = places.first().copied().unwrap_or(self.data.len());
        if front == self.data.len() || front > self.data.len() / 2 {
            self.drop_front(front, framing, events);
            places.iter_mut().for_each(|place| *place -= front);
        }
        self.places = Some(places);
        Vec::new()
    }

    fn frame(&self, framing: &Framing, place: usize, total: usize) -> Frame {
        let (first, last) = (self.stamps[place], self.stamps[place + total - 1]);
        opened(framing, self.data[place..place + total].to_vec(), first, last)
    }

    /// Reports the first bytes as a frame, with a problem or what is found to be wrong; says whether it is sound.
    fn report(&self, framing: &Framing, total: usize, problem: Option<Problem>, events: &mut VecDeque<Event>) -> bool {
        let frame = match problem {
            None => self.frame(framing, 0, total),
            Some(problem) => {
                let (raw, start) = (self.data[..total].to_vec(), start_of(framing, &self.data).unwrap_or(0));
                let body = raw[start.min(raw.len())..].to_vec();
                Frame { raw, body, first: self.stamps[0], last: self.stamps[total - 1], problems: vec![problem] }
            }
        };
        let sound = frame.problems.is_empty();
        events.push_back(Event::Frame(frame));
        sound
    }

    /// Gives up the first bytes.
    fn drop_front(&mut self, count: usize, framing: &Framing, events: &mut VecDeque<Event>) {
        for index in self.told..count {
            self.garbage.push(self.data[index], self.stamps[index], framing.limit, events);
        }
        self.told = self.told.saturating_sub(count);
        self.data.drain(..count);
        self.stamps.drain(..count);
    }
}

/// How long the start marker is; `None` if there is none here.
fn start_of(framing: &Framing, bytes: &[u8]) -> Option<usize> {
    match framing.start.is_empty() {
        true => Some(0),
        false => framing.start.iter().find(|start| bytes.starts_with(start)).map(Vec::len),
    }
}

/// How long the frame is that begins here; `None` while that is not known.
fn look_for_length(framing: &Framing, bytes: &[u8]) -> Option<Result<usize, Problem>> {
    let start = start_of(framing, bytes)?;
    let body = match (&framing.cut, &framing.length) {
        (Cut::Fixed(length), _) => *length,
        (_, Some(field)) => match field.announced(&bytes[start..])? {
            Ok(length) => length,
            Err(problem) => return Some(Err(problem)),
        },
        // Checked where the framing is read: a frame that is counted has a length.
        _ => 0,
    };
    Some(match body {
        length if length < framing.minimum => Err(Problem::TooShort { length, minimum: framing.minimum }),
        length if length > framing.limit => Err(Problem::TooLong { length, limit: framing.limit }),
        // A frame has at least one byte.
        length => Ok((start + length + framing.end_marker().len()).max(1)),
    })
}

fn look(framing: &Framing, bytes: &[u8]) -> Look {
    if start_of(framing, bytes).is_none() {
        if framing.start.iter().any(|start| start.starts_with(bytes)) {
            return Look::More;
        }
        let expected = framing.start_marker().to_vec();
        let found = bytes[..expected.len().min(bytes.len())].to_vec();
        return Look::Never(Problem::Start { found, expected });
    }
    match look_for_length(framing, bytes) {
        None => Look::More,
        Some(Err(problem)) => Look::Never(problem),
        Some(Ok(total)) if total > bytes.len() => Look::More,
        Some(Ok(total)) => Look::Whole(total),
    }
}
