//! One raw conversation with a memory: what a console, or a test of raw bytes, is made of.
//!
//! Rules of this file:
//! - Every byte received has an offset, counted from the first one over the life of the stream, also across re-openings.
//! - The newest bytes are kept in memory (16 MiB unless said otherwise), with their stamps. Older ones go to a spill, if
//!   there is one; else they are dropped and counted, and who asks for them is told (`spill.rs`).
//! - Reading consumes nothing: readers keep offsets of their own.
//! - [`Stream::search`] is incremental: waiting for a match costs each byte once, however small the pieces are in which
//!   they come, and however many patterns are waited for (`search.rs`).
//! - Where it is told to, the search leaves out control functions of terminals (`ansi.rs`); what is read is as it came.
//! - One connection at a time: another that comes while one is open is broken off. After an end a new one may come.
//! - What is sent before the stream is open leaves when it opens.
//! - A stimulus program (`program/`) runs inside, beside whatever else is sent and searched for.
//!
//! ```
//! use fieldrig_proto::endpoint::{Conn, Endpoint, Input, Peer, Stamps};
//! use fieldrig_proto::line::stream::{Patterns, Stream};
//! use fieldrig_proto::time::{Stamp, Time};
//!
//! let mut stream = Stream::new();
//! stream.handle(Time::ZERO, Input::Opened(Conn(0), &Peer::default()));
//! let arrival = Stamp::exact(Time::from_nanos(7));
//! stream.handle(Time::from_nanos(7), Input::Bytes(Conn(0), b"boot ok v1.2\r\n", Stamps::One(arrival)));
//! let found = stream.search(&Patterns::new(&[r"ok v(?P<version>[\d.]+)\s"])?, 0)?.expect("it has come");
//! assert_eq!((found.start, found.end, found.at), (5, 13, arrival));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::ansi::Stripper;
use super::program::{Outcome, ProgramEvent, Programs};
use super::searches::Searches;
use super::spill::Buffer;
use super::{LineCommand, LineEvent};
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Stamps, Why};
use crate::record::Record;
use crate::time::{Duration, Stamp, Time};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

pub use super::pattern::{PatternError, Patterns};
pub use super::search::{Found, Goal, Group};
pub use super::searches::Searched;
pub use super::spill::{Spill, Spills};

/// Bytes kept in memory unless said otherwise.
pub const CAPACITY: usize = 16 * 1024 * 1024;
/// Line events that are kept.
const LINE_EVENTS: usize = 4096;

/// Whether bytes can come and go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Not opened yet.
    Waiting,
    /// Open both ways.
    Open,
    /// The other side sends nothing more; we still may.
    Finished,
    /// Ended, for this reason.
    Closed(Why),
}

/// What happened on a stream.
#[derive(Clone, PartialEq, Debug)]
pub enum StreamEvent {
    /// It is open.
    Opened {
        /// To whom.
        peer: Peer,
        /// When.
        at: Stamp,
    },
    /// Bytes came.
    Bytes {
        /// Their offsets.
        range: Range<u64>,
        /// When the last of them arrived.
        at: Stamp,
    },
    /// Something else happened on the line.
    Line {
        /// What.
        event: LineEvent,
        /// Offset of the next byte then.
        offset: u64,
        /// When.
        at: Stamp,
    },
    /// Another connection came while one was open, and was broken off.
    Refused {
        /// From whom.
        peer: Peer,
        /// When.
        at: Stamp,
    },
    /// It ended, wholly or (`Finished`) one way.
    Closed {
        /// Why.
        why: Why,
        /// When.
        at: Stamp,
    },
    /// A program was started.
    ProgramStarted {
        /// When it begins.
        at: Stamp,
    },
    /// A step of a program was done.
    Program(ProgramEvent),
    /// A program ended.
    ProgramEnded {
        /// How.
        outcome: Outcome,
        /// When.
        at: Stamp,
    },
}

/// Something is wanted of a stream that it cannot do any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// Sending on an ended stream.
    #[error("the stream has ended ({0:?}), nothing can be sent")]
    Ended(Why),
    /// We have closed our direction.
    #[error("our direction of the stream was closed, nothing can be sent")]
    WriteClosed,
    /// Reading bytes that were dropped.
    #[error("{lost} bytes from offset {from} on were dropped: the stream keeps the newest {capacity} bytes{why}")]
    Lost {
        /// From where the reader wanted to read.
        from: u64,
        /// How many of them are gone.
        lost: u64,
        /// How many bytes are kept.
        capacity: usize,
        /// Why no more are kept, if more were to be: the end of a sentence.
        why: String,
    },
    /// Reading bytes that were spilled.
    #[error("the file with the older bytes cannot be read: {0}")]
    Spill(String),
}

/// A stream that is told how many bytes to keep in memory keeps at least so many: a match may be as long.
pub const LEAST_KEPT: usize = 64 * 1024;

/// What a stream keeps, and how it is searched.
#[derive(Default)]
pub struct Keeping {
    /// Bytes kept in memory; `None`: [`CAPACITY`].
    pub capacity: Option<usize>,
    /// Where older bytes go; without it they are dropped.
    pub spills: Option<Spills>,
    /// Searches leave out control functions of terminals.
    pub strip: bool,
}

/// A raw conversation; see the top of this file.
pub struct Stream {
    pub(super) state: State,
    pub(super) conn: Option<Conn>,
    can_write: bool,
    opened_at: Stamp,
    closed_at: Option<Stamp>,
    ended: Option<Why>,
    /// What came, with stamps. (Opening, closing and line events have no stamps of their own in the seam: theirs is the
    /// instant at which the driver told.)
    pub(super) buffer: Buffer,
    line_events: VecDeque<(u64, Stamp, LineEvent)>,
    pub(super) searches: Searches,
    actions: VecDeque<Queued>,
    refused: VecDeque<Conn>,
    pub(super) events: VecDeque<StreamEvent>,
    pub(super) programs: Programs,
}

enum Queued {
    Send { bytes: Vec<u8>, not_before: Option<Time>, gap_before: Option<Duration> },
    SetLine(LineCommand),
    Close(How),
}

impl Default for Stream {
    fn default() -> Stream {
        Stream::new()
    }
}

impl Stream {
    /// A stream that keeps [`CAPACITY`] bytes.
    #[must_use]
    pub fn new() -> Stream {
        Stream::with_capacity(CAPACITY)
    }

    /// A stream that keeps so many bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Stream {
        Stream::keeping(Keeping { capacity: Some(capacity), ..Keeping::default() })
    }

    /// A stream that keeps what it is told to keep.
    #[must_use]
    pub fn keeping(keeping: Keeping) -> Stream {
        Stream {
            state: State::Waiting,
            conn: None,
            can_write: true,
            opened_at: Stamp::default(),
            closed_at: None,
            ended: None,
            buffer: Buffer::new(keeping.capacity.unwrap_or(CAPACITY), keeping.spills),
            line_events: VecDeque::new(),
            searches: Searches::new(keeping.strip),
            actions: VecDeque::new(),
            refused: VecDeque::new(),
            events: VecDeque::new(),
            programs: Programs::default(),
        }
    }

    /// Whether bytes can come and go.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Nothing more will come (unless the stream is opened again).
    #[must_use]
    pub fn end_of_data(&self) -> bool {
        matches!(self.state, State::Finished | State::Closed(_))
    }

    /// When the other side ended its direction or all ended, whichever was first.
    #[must_use]
    pub fn closed_at(&self) -> Option<Stamp> {
        self.closed_at
    }

    /// How it ended: of an end in two steps (the other side finished, then we closed), the first.
    #[must_use]
    pub fn ended(&self) -> Option<&Why> {
        self.ended.as_ref()
    }

    /// Offset of the oldest byte that can be had: so many were dropped.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.buffer.floor()
    }

    /// Offset of the next byte: so many were received.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.buffer.end()
    }

    /// The bytes from `from` on, at most `limit`; empty if there are none yet.
    ///
    /// # Errors
    /// [`StreamError::Lost`] if bytes from `from` on were dropped, [`StreamError::Spill`] if they cannot be read again.
    pub fn read(&self, from: u64, limit: usize) -> Result<Cow<'_, [u8]>, StreamError> {
        self.buffer.read(from, limit)
    }

    /// Searches leave out control functions of terminals from now on, or not.
    pub fn strip(&mut self, strip: bool) {
        self.searches.strip(strip);
    }

    /// The text among the bytes from `from` on, at most `limit` of them: without control functions of terminals, if
    /// those are left out here.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn read_text(&self, from: u64, limit: usize) -> Result<Vec<u8>, StreamError> {
        let bytes = self.read(from, limit)?;
        Ok(match self.stripper(from)? {
            Some(mut stripper) => stripper.strip(&bytes),
            None => bytes.into_owned(),
        })
    }

    /// What tells text from control functions in the bytes from `from` on, if those are left out.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn stripper(&self, from: u64) -> Result<Option<Stripper>, StreamError> {
        self.searches.stripper_at(&self.buffer, from)
    }

    /// When the byte at this offset arrived, if it can be had.
    #[must_use]
    pub fn stamp(&self, offset: u64) -> Option<Stamp> {
        self.buffer.stamp(offset)
    }

    /// Stamps of the bytes in `range`: each holds from its offset up to the next one's.
    #[must_use]
    pub fn stamps(&self, range: Range<u64>) -> Vec<(u64, Stamp)> {
        self.buffer.stamps(range)
    }

    /// The offset of the first byte that may have come after an instant, and of the first that surely did; where there
    /// is none yet, the offset of the next byte.
    #[must_use]
    pub fn after(&self, instant: Stamp) -> (u64, u64) {
        self.buffer.after(instant)
    }

    /// Bytes of memory that what came takes; what was spilled takes none.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.memory() + self.searches.memory()
    }

    /// Bytes that searches have looked at, in all.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.searches.looked_at()
    }

    /// What happened on the line besides bytes, the newest 4096: offset of the next byte then, instant, event.
    pub fn line_events(&self) -> impl Iterator<Item = &(u64, Stamp, LineEvent)> {
        self.line_events.iter()
    }

    /// Looks for the match of any of the patterns that is complete first, at or after `from`, in what has come so far;
    /// `None` if there is none yet. A match spans at most 64 KiB. Asking again with the same patterns and `from` looks only
    /// at what is new. A match may end at the end of what has come so far; [`Found::open`] tells whether it is perhaps only
    /// half of one, and asking again gives all of it.
    ///
    /// # Errors
    /// [`StreamError::Lost`] if bytes from `from` on were dropped before they were looked at.
    pub fn search(&mut self, patterns: &Patterns, from: u64) -> Result<Option<Found>, StreamError> {
        match self.look_for(patterns, Goal::Any, from, usize::MAX)? {
            Searched::Found(found) => Ok(found.into_iter().next()),
            Searched::Pending(_) | Searched::NotYet => Ok(None),
        }
    }

    /// Looks for any or all of the patterns, in at most about `budget` bytes at once; see [`Stream::search`].
    ///
    /// # Errors
    /// As [`Stream::search`].
    pub fn look_for(
        &mut self,
        patterns: &Patterns,
        goal: Goal,
        from: u64,
        budget: usize,
    ) -> Result<Searched, StreamError> {
        let mut searched = self.searches.go_on(&self.buffer, patterns, goal, from, budget)?;
        if let Searched::Found(found) | Searched::Pending(found) = &mut searched {
            for found in found {
                let stamp = |offset: u64| self.stamp(offset).unwrap_or(self.opened_at);
                let last = found.end.saturating_sub(1);
                (found.first, found.at) = (stamp(found.start.min(last)), stamp(last));
            }
        }
        Ok(searched)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The stream has ended, or our direction was closed.
    pub fn send(&mut self, _now: Time, bytes: &[u8]) -> Result<(), StreamError> {
        self.queue_send(bytes, None, None)
    }

    /// Sends bytes after the line was silent for `gap`.
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub fn send_after(&mut self, _now: Time, gap: Duration, bytes: &[u8]) -> Result<(), StreamError> {
        self.queue_send(bytes, None, Some(gap))
    }

    /// Sends bytes not before `instant`.
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub fn send_at(&mut self, _now: Time, instant: Time, bytes: &[u8]) -> Result<(), StreamError> {
        self.queue_send(bytes, Some(instant), None)
    }

    /// Does something to the line.
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub fn set_line(&mut self, _now: Time, command: LineCommand) -> Result<(), StreamError> {
        self.check_writable()?;
        self.actions.push_back(Queued::SetLine(command));
        Ok(())
    }

    /// Ends the stream. Closing an ended one does nothing.
    pub fn close(&mut self, now: Time, how: How) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.program_lost(now, &Why::Local);
        self.can_write = false;
        self.actions.push_back(Queued::Close(how));
    }

    pub(super) fn check_writable(&self) -> Result<(), StreamError> {
        match &self.state {
            State::Closed(why) => Err(StreamError::Ended(why.clone())),
            _ if !self.can_write => Err(StreamError::WriteClosed),
            _ => Ok(()),
        }
    }

    fn queue_send(
        &mut self,
        bytes: &[u8],
        not_before: Option<Time>,
        gap_before: Option<Duration>,
    ) -> Result<(), StreamError> {
        self.check_writable()?;
        self.actions.push_back(Queued::Send { bytes: bytes.to_vec(), not_before, gap_before });
        Ok(())
    }

    fn opened(&mut self, now: Time, conn: Conn, peer: &Peer) {
        let (peer, at) = (peer.clone(), Stamp::exact(now));
        if self.conn.is_some() {
            self.refused.push_back(conn);
            self.events.push_back(StreamEvent::Refused { peer, at });
            return;
        }
        self.conn = Some(conn);
        // Closed before it was open: the close is still to be sent.
        self.can_write = self.can_write || matches!(self.state, State::Closed(_));
        self.state = State::Open;
        self.opened_at = at;
        self.closed_at = None;
        self.ended = None;
        self.events.push_back(StreamEvent::Opened { peer, at });
    }

    fn received(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        let from = self.end();
        for index in stamp_changes(bytes.len(), stamps) {
            self.buffer.stamp_next(from + index as u64, stamps.at(index, bytes.len()));
        }
        self.searches.received(from, bytes);
        self.buffer.append(bytes);
        if let Some(last) = bytes.len().checked_sub(1) {
            let range = from..from + bytes.len() as u64;
            self.events.push_back(StreamEvent::Bytes { range, at: stamps.at(last, bytes.len()) });
        }
    }

    fn closed(&mut self, now: Time, why: Why) {
        let at = Stamp::exact(now);
        self.closed_at.get_or_insert(at);
        self.ended.get_or_insert_with(|| why.clone());
        if why == Why::Finished {
            self.state = State::Finished;
        } else {
            self.conn = None;
            self.actions.clear();
            self.state = State::Closed(why.clone());
        }
        self.events.push_back(StreamEvent::Closed { why: why.clone(), at });
        self.program_lost(now, &why);
    }
}

/// The indices at which another stamp may begin.
fn stamp_changes(length: usize, stamps: Stamps<'_>) -> Vec<usize> {
    match stamps {
        _ if length == 0 => Vec::new(),
        Stamps::One(_) => vec![0],
        Stamps::Chunk { .. } if length == 1 => vec![0],
        Stamps::Chunk { .. } => vec![0, length - 1],
        Stamps::PerByte(_) => (0..length).collect(),
    }
}

impl Endpoint for Stream {
    type Event = StreamEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, peer) => self.opened(now, conn, peer),
            Input::Bytes(conn, bytes, stamps) if self.conn == Some(conn) => {
                self.received(bytes, stamps);
                self.program_received(now, stamps.at(bytes.len().saturating_sub(1), bytes.len()));
            }
            Input::Timed(conn, fate) if self.conn == Some(conn) => self.program_answered(now, fate),
            Input::Line(conn, event, at) if self.conn == Some(conn) => {
                let offset = self.end();
                if self.line_events.len() == LINE_EVENTS {
                    self.line_events.pop_front();
                }
                self.line_events.push_back((offset, at, event.clone()));
                self.events.push_back(StreamEvent::Line { event, offset, at });
            }
            Input::Closed(conn, why) if self.conn == Some(conn) => self.closed(now, why),
            Input::Closed(_, why @ Why::Refused { .. }) if self.conn.is_none() => self.closed(now, why),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.program_timed_out(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.programs.deadline()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if let Some(conn) = self.refused.pop_front() {
            return Some(Action::Close(conn, How::Rst));
        }
        let conn = self.conn?;
        if let Some(recall) = self.programs.poll_recall(conn, out) {
            return Some(recall);
        }
        let Some(queued) = self.actions.pop_front() else { return self.programs.poll_action(conn, out) };
        Some(match queued {
            Queued::Send { bytes, not_before, gap_before } => {
                let from = out.len();
                out.extend_from_slice(&bytes);
                Action::Send { conn, range: from..out.len(), not_before, gap_before }
            }
            Queued::SetLine(command) => Action::SetLine(conn, command),
            Queued::Close(how) => Action::Close(conn, how),
        })
    }

    fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }
}

impl From<StreamEvent> for Record {
    fn from(event: StreamEvent) -> Record {
        let offset = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        match event {
            StreamEvent::Opened { peer, at } => Record::new("stream.opened").at(at).with("peer", peer.address),
            StreamEvent::Bytes { range, at } => {
                let record = Record::new("stream.bytes").at(at).with("from", offset(range.start));
                record.with("to", offset(range.end))
            }
            StreamEvent::Line { event, offset: position, at } => {
                let record = Record::new("stream.line").at(at).with("event", format!("{event:?}"));
                record.with("offset", offset(position))
            }
            StreamEvent::Refused { peer, at } => Record::new("stream.refused").at(at).with("peer", peer.address),
            StreamEvent::Closed { why, at } => Record::new("stream.closed").at(at).with("why", format!("{why:?}")),
            StreamEvent::ProgramStarted { at } => Record::new("program.started").at(at),
            StreamEvent::Program(event) => event.into(),
            StreamEvent::ProgramEnded { outcome, at } => {
                let record = Record::new("program.ended").at(at).with("how", outcome.word());
                outcome.step().into_iter().fold(record, |record, step| record.with("step", i64::from(step)))
            }
        }
    }
}
