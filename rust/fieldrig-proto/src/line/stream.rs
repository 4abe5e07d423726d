//! One raw conversation with a memory: what a console, or a test of raw bytes, is made of.
//!
//! Rules of this file:
//! - Every byte received has an offset, counted from the first one over the life of the stream, also across re-openings.
//! - The newest bytes are kept (16 MiB unless said otherwise), with their stamps; older ones are dropped and counted, and
//!   who asks for them is told.
//! - Reading consumes nothing: readers keep offsets of their own.
//! - [`Stream::search`] is incremental: waiting for a match costs each byte once, however small the pieces are in which
//!   they come (`search.rs`).
//! - One connection at a time: another that comes while one is open is broken off. After an end a new one may come.
//! - What is sent before the stream is open leaves when it opens.
//!
//! ```
//! use fieldrig_proto::endpoint::{Conn, Endpoint, Input, Peer, Stamps};
//! use fieldrig_proto::line::stream::Stream;
//! use fieldrig_proto::time::{Stamp, Time};
//! use regex::bytes::Regex;
//!
//! let mut stream = Stream::new();
//! stream.handle(Time::ZERO, Input::Opened(Conn(0), &Peer::default()));
//! let arrival = Stamp::exact(Time::from_nanos(7));
//! stream.handle(Time::from_nanos(7), Input::Bytes(Conn(0), b"boot ok v1.2\r\n", Stamps::One(arrival)));
//! let found = stream.search(&Regex::new(r"ok v(?P<version>[\d.]+)\s")?, 0)?.expect("it has come");
//! assert_eq!((found.start, found.end, found.at), (5, 13, arrival));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::search::{Search, may_grow};
use super::{LineCommand, LineEvent};
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Stamps, Why};
use crate::record::Record;
use crate::time::{Duration, Stamp, Time};
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::ops::Range;

pub use super::search::{Found, Group};

/// Bytes kept unless said otherwise.
pub const CAPACITY: usize = 16 * 1024 * 1024;
/// Stretches of equal stamps that are kept; where every byte has its own, this is a limit on bytes.
const RUNS: usize = 4 * 1024 * 1024;
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
    #[error("{lost} bytes from offset {from} on were dropped: the stream keeps the newest {capacity} bytes")]
    Lost {
        /// From where the reader wanted to read.
        from: u64,
        /// How many of them are gone.
        lost: u64,
        /// How many bytes are kept.
        capacity: usize,
    },
}

/// A raw conversation; see the top of this file.
pub struct Stream {
    capacity: usize,
    state: State,
    conn: Option<Conn>,
    can_write: bool,
    opened_at: Stamp,
    closed_at: Option<Stamp>,
    ended: Option<Why>,
    /// Kept bytes are `buffer[head..]`; what lies before is dropped when it is worth the copy.
    buffer: Vec<u8>,
    head: usize,
    /// Offset of `buffer[head]`.
    start: u64,
    /// From this offset on, bytes have this stamp. (Opening, closing and line events have no stamps of their own in the
    /// seam: theirs is the instant at which the driver told.)
    runs: VecDeque<(u64, Stamp)>,
    line_events: VecDeque<(u64, Stamp, LineEvent)>,
    search: Option<Search>,
    actions: VecDeque<Queued>,
    refused: VecDeque<Conn>,
    events: VecDeque<StreamEvent>,
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
        Stream {
            capacity,
            state: State::Waiting,
            conn: None,
            can_write: true,
            opened_at: Stamp::default(),
            closed_at: None,
            ended: None,
            buffer: Vec::new(),
            head: 0,
            start: 0,
            runs: VecDeque::new(),
            line_events: VecDeque::new(),
            search: None,
            actions: VecDeque::new(),
            refused: VecDeque::new(),
            events: VecDeque::new(),
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

    /// Offset of the oldest byte that is kept: so many were dropped.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset of the next byte: so many were received.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.kept().len() as u64
    }

    /// The bytes from `from` on, at most `limit`; empty if there are none yet.
    ///
    /// # Errors
    /// [`StreamError::Lost`] if bytes from `from` on were dropped.
    pub fn read(&self, from: u64, limit: usize) -> Result<&[u8], StreamError> {
        let kept = self.kept_from(from)?;
        Ok(&kept[..kept.len().min(limit)])
    }

    /// When the byte at this offset arrived, if it is kept.
    #[must_use]
    pub fn stamp(&self, offset: u64) -> Option<Stamp> {
        if offset < self.start || offset >= self.end() {
            return None;
        }
        let after = self.runs.partition_point(|(from, _)| *from <= offset);
        self.runs.get(after.checked_sub(1)?).map(|(_, stamp)| *stamp)
    }

    /// Stamps of the bytes in `range`: each holds from its offset up to the next one's.
    #[must_use]
    pub fn stamps(&self, range: Range<u64>) -> Vec<(u64, Stamp)> {
        let from = range.start.max(self.start);
        let first = self.runs.partition_point(|(start, _)| *start <= from).saturating_sub(1);
        let within = self.runs.range(first.min(self.runs.len())..).take_while(|(start, _)| *start < range.end);
        within.map(|(start, stamp)| ((*start).max(from), *stamp)).collect()
    }

    /// What happened on the line besides bytes, the newest 4096: offset of the next byte then, instant, event.
    pub fn line_events(&self) -> impl Iterator<Item = &(u64, Stamp, LineEvent)> {
        self.line_events.iter()
    }

    /// Looks for the first match at or after `from` in what has come so far; `None` if there is none yet. A match
    /// spans at most 64 KiB. Asking again with the same pattern and `from` looks only at what is new. Flags of the
    /// pattern must stand in the pattern (`(?i)`), not in its builder. A match may end at the end of what has come so
    /// far; [`Stream::may_grow`] tells whether it is perhaps only half of one.
    ///
    /// # Errors
    /// [`StreamError::Lost`] if bytes from `from` on were dropped before they were looked at.
    pub fn search(&mut self, pattern: &Regex, from: u64) -> Result<Option<Found>, StreamError> {
        let mut search = match self.search.take() {
            Some(search) if search.is_for(pattern, from) => search,
            _ => Search::new(pattern, from),
        };
        let wanted = search.needs_from().min(self.end());
        if wanted < self.start {
            let lost = self.start - wanted;
            return Err(StreamError::Lost { from: wanted, lost, capacity: self.capacity });
        }
        let Some(found) = search.go_on(pattern, self.start, self.kept()) else {
            self.search = Some(search);
            return Ok(None);
        };
        let stamp = |offset: u64| self.stamp(offset).unwrap_or(self.opened_at);
        let last = found.end.saturating_sub(1);
        Ok(Some(Found { first: stamp(found.start.min(last)), at: stamp(last), ..found }))
    }

    /// Whether a match ends where the bytes end and the next ones may belong to it, as with `\d+` on half a number.
    #[must_use]
    pub fn may_grow(&self, pattern: &Regex, found: &Found) -> bool {
        let start = found.start.checked_sub(self.start).and_then(|start| usize::try_from(start).ok());
        found.end == self.end() && start.is_some_and(|start| may_grow(pattern, self.kept(), start))
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
    pub fn close(&mut self, _now: Time, how: How) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.can_write = false;
        self.actions.push_back(Queued::Close(how));
    }

    fn check_writable(&self) -> Result<(), StreamError> {
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

    fn kept(&self) -> &[u8] {
        &self.buffer[self.head..]
    }

    fn kept_from(&self, from: u64) -> Result<&[u8], StreamError> {
        if from < self.start {
            return Err(StreamError::Lost { from, lost: self.start - from, capacity: self.capacity });
        }
        let skipped = usize::try_from(from - self.start).unwrap_or(usize::MAX);
        Ok(self.kept().get(skipped..).unwrap_or_default())
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
            let stamp = stamps.at(index, bytes.len());
            if self.runs.back().is_none_or(|(_, last)| *last != stamp) {
                self.runs.push_back((from + index as u64, stamp));
            }
        }
        self.buffer.extend_from_slice(bytes);
        self.trim();
        if let Some(last) = bytes.len().checked_sub(1) {
            let range = from..from + bytes.len() as u64;
            self.events.push_back(StreamEvent::Bytes { range, at: stamps.at(last, bytes.len()) });
        }
    }

    /// Drops what is more than may be kept.
    fn trim(&mut self) {
        let too_many = self.kept().len().saturating_sub(self.capacity);
        let mut start = self.start + too_many as u64;
        if let Some(first_kept) = self.runs.len().checked_sub(RUNS) {
            start = start.max(self.runs[first_kept].0);
        }
        self.head += usize::try_from(start - self.start).unwrap_or(too_many);
        self.start = start;
        while self.runs.get(1).is_some_and(|(next, _)| *next <= start) {
            self.runs.pop_front();
        }
        // Copies at most as much as was dropped since the last time: constant cost for each byte.
        if self.head > self.buffer.len() / 2 && self.head >= 4096 {
            self.buffer.drain(..self.head);
            self.head = 0;
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
        self.events.push_back(StreamEvent::Closed { why, at });
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
            Input::Bytes(conn, bytes, stamps) if self.conn == Some(conn) => self.received(bytes, stamps),
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

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if let Some(conn) = self.refused.pop_front() {
            return Some(Action::Close(conn, How::Rst));
        }
        let conn = self.conn?;
        Some(match self.actions.pop_front()? {
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
        }
    }
}
