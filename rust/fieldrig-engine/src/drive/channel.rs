//! One connection of a node: its port, and the output that waits for it.
//!
//! Rules of this file:
//! - Order is kept: what was handed out first is written first, also behind a timed send that is not due yet.
//! - Untimed bytes of one pass that no other output waits before are written straight from the pass buffer, in one write.
//! - Flow control is counting, as rule 8 of the seam says; the driver stops reading while too much output waits.

use super::sys;
use crate::port::Port;
use crate::trace::LinkId;
use fieldrig_proto::endpoint::{Conn, HIGH_WATER, How, Peer};
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::time::{Duration, Source, Stamp, Time};
use std::collections::VecDeque;
use std::ops::Range;

/// When one send was wanted and when it happened.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// When it was due: when it was handed out, or later if it is timed.
    pub scheduled: Time,
    /// Before the write; `None` while it waits.
    pub issued: Option<Time>,
    /// After the write; `None` while it waits.
    pub returned: Option<Time>,
    /// Of a timed send that was late: for how much of that the thread waited for a CPU, as far as the kernel counts it.
    pub run_delay: Option<Duration>,
}

impl Sent {
    /// The instant of sending: somewhere between issued and returned. `None` while it waits.
    #[must_use]
    pub fn at(&self) -> Option<Stamp> {
        Some(Stamp::between(self.issued?, self.returned?))
    }
}

/// Whether bytes are read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Inbound {
    Reading,
    /// Too much output waits.
    Held,
    /// The other side will send nothing more.
    Ended,
    /// We want nothing more: stalled, or closing.
    Ignored,
}

/// One send, or the rest of it, that could not be written at once.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
    pub(super) not_before: Option<Time>,
    pub(super) gap_before: Option<Duration>,
    pub(super) handed_out: Time,
    pub(super) sequence: u64,
    /// The earliest instant at which any of it came in elsewhere, if that is not known exactly.
    pub(super) came: Option<Time>,
    /// It is no bytes, but this.
    pub(super) command: Option<LineCommand>,
    /// Not done at all once this is over.
    pub(super) not_after: Option<Time>,
    /// The endpoint is told what became of it.
    pub(super) answered: bool,
    /// Of what is answered: when it was due and when its first byte was issued.
    pub(super) begun: Option<(Time, Time)>,
}

impl Segment {
    /// Bytes that leave at once.
    pub(super) fn new(bytes: Vec<u8>, handed_out: Time, sequence: u64) -> Segment {
        Segment {
            bytes,
            written: 0,
            not_before: None,
            gap_before: None,
            handed_out,
            sequence,
            came: None,
            command: None,
            not_after: None,
            answered: false,
            begun: None,
        }
    }

    pub(super) fn is_timed(&self) -> bool {
        self.written == 0 && (self.not_before.is_some() || self.gap_before.is_some())
    }

    /// When it is due on a line that has been quiet since `quiet_since`.
    pub(super) fn due(&self, quiet_since: Time) -> Time {
        if !self.is_timed() {
            return self.handed_out;
        }
        let after_gap = self.gap_before.map_or(Time::ZERO, |gap| quiet_since + gap);
        // A slot that is over when it is handed out stays what it was: it is late, and that shows.
        self.not_before.unwrap_or(self.handed_out).max(after_gap)
    }
}

/// Output that waits.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Untimed bytes of this pass, in the pass buffer.
    pub(super) direct: Range<usize>,
    pub(super) direct_sequence: u64,
    /// As [`Segment::came`].
    pub(super) direct_came: Option<Time>,
    pub(super) queue: VecDeque<Segment>,
    /// Bytes in `queue`.
    pub(super) queued: usize,
    /// Bytes in `queue`, at most, that the owner asked for: no other side makes them more.
    pub(super) commanded: usize,
    /// Bytes handed out since the beginning or the last `Writable`.
    pub(super) handed_out: usize,
    /// The port took less than it was given.
    pub(super) blocked: bool,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.queue.is_empty()
    }

    /// Takes an untimed send: bytes `range` of the pass buffer `out`.
    pub(super) fn push(&mut self, out: &[u8], range: Range<usize>, now: Time, sequence: u64, came: Option<Time>) {
        self.handed_out += range.len();
        if range.is_empty() {
            return;
        }
        if !self.queue.is_empty() {
            self.append(&out[range], now, sequence, came);
        } else if self.direct.is_empty() {
            self.direct = range;
            self.direct_sequence = sequence;
            self.direct_came = came;
        } else if self.direct.end == range.start {
            self.direct.end = range.end;
            self.direct_came = earlier(self.direct_came, came);
        } else {
            self.settle(out, now);
            self.append(&out[range], now, sequence, came);
        }
    }

    /// Takes a send that is timed, or a datagram.
    pub(super) fn push_segment(&mut self, out: &[u8], now: Time, segment: Segment) {
        self.settle(out, now);
        self.handed_out += segment.bytes.len();
        self.queued += segment.bytes.len();
        self.queue.push_back(segment);
    }

    /// Moves what lies in the pass buffer into the queue.
    pub(super) fn settle(&mut self, out: &[u8], now: Time) {
        let direct = std::mem::take(&mut self.direct);
        if !direct.is_empty() {
            self.append(&out[direct], now, self.direct_sequence, self.direct_came);
        }
    }

    fn append(&mut self, bytes: &[u8], now: Time, sequence: u64, came: Option<Time>) {
        self.queued += bytes.len();
        match self.queue.back_mut() {
            Some(last) if !last.is_timed() && last.written == 0 => {
                last.bytes.extend_from_slice(bytes);
                last.came = earlier(last.came, came);
            }
            _ => self.queue.push_back(Segment { came, ..Segment::new(bytes.to_vec(), now, sequence) }),
        }
    }

    pub(super) fn clear(&mut self) {
        self.direct = 0..0;
        self.queue.clear();
        self.queued = 0;
        self.commanded = 0;
        self.blocked = false;
    }

    /// Whether a `Writable` is owed now; counting begins anew if so.
    pub(super) fn owes_writable(&mut self) -> bool {
        let owed = self.handed_out >= HIGH_WATER && self.is_empty();
        if owed {
            self.handed_out = 0;
        }
        owed
    }
}

/// Bytes that leave together are as unsure as the one that may have come first.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    [one, other].into_iter().flatten().min()
}

/// One connection.
pub(super) struct Channel {
    pub(super) port: Box<dyn Port>,
    pub(super) peer: Peer,
    pub(super) link: LinkId,
    /// Where the stamps of what is seen on it come from.
    pub(super) source: Source,
    /// The loss of this connection is the loss of a port of the node.
    pub(super) bound: bool,
    pub(super) output: Output,
    pub(super) inbound: Inbound,
    /// The last instant at which the port was seen empty.
    pub(super) since: Time,
    /// The last byte on the line, either way.
    pub(super) quiet_since: Time,
    /// When the last byte that was written has left, as far as the port knows.
    pub(super) sent_until: Time,
    pub(super) closing: Option<How>,
    /// When to give up on a close that waits for output to drain.
    pub(super) closing_limit: Option<Time>,
    /// When to give up on a layer's handshake.
    pub(super) opening_limit: Option<Time>,
    /// When to end a break.
    pub(super) break_until: Option<Time>,
    /// Edge-triggered, and not read until it was empty.
    pub(super) unread: bool,
    /// The conditions epoll watches now.
    pub(super) interest: u32,
    /// Where what comes in here leaves: the other end of a bridge.
    pub(super) partner: Option<Conn>,
    /// Nothing is sent any more.
    pub(super) finished: bool,
    /// The other side broke it off, as a write was told; a read after it would find an orderly end.
    pub(super) broken_off: Option<String>,
    /// The link stalls: nothing is read or written.
    pub(super) stalled: bool,
    /// The wire is cut: bytes are lost both ways.
    pub(super) cut: bool,
    /// What is read now arrived no earlier than this, whatever its stamp says: the link stalled until then.
    pub(super) not_before: Time,
}

impl Channel {
    pub(super) fn new(port: Box<dyn Port>, peer: Peer, link: LinkId, bound: bool, now: Time) -> Channel {
        Channel {
            port,
            peer,
            link,
            source: Source::NONE,
            bound,
            output: Output::default(),
            inbound: Inbound::Reading,
            since: now,
            quiet_since: now,
            sent_until: now,
            closing: None,
            closing_limit: None,
            opening_limit: None,
            break_until: None,
            unread: false,
            interest: 0,
            partner: None,
            finished: false,
            broken_off: None,
            stalled: false,
            cut: false,
            not_before: Time::ZERO,
        }
    }

    /// A stamp of the port, no earlier than the link let it through.
    pub(super) fn through(&self, stamp: Stamp) -> Stamp {
        Stamp::between(stamp.earliest().max(self.not_before), stamp.latest().max(self.not_before))
    }

    /// So many bytes were written by now.
    pub(super) fn wrote(&mut self, returned: Time, count: usize) {
        let length = self.port.wire_time(count);
        self.quiet_since = self.quiet_since.max(returned + length);
        self.sent_until = self.sent_until.max(returned) + length;
    }

    /// The conditions epoll should watch.
    pub(super) fn wanted(&self) -> u32 {
        if self.port.edge() {
            return sys::IN | sys::OUT | sys::EDGE;
        }
        let read = if self.inbound == Inbound::Reading { sys::IN } else { 0 };
        let blocked = self.output.blocked && !self.port.holds_back();
        let write = if blocked || self.port.holds_output() { sys::OUT } else { 0 };
        read | write
    }

    /// Stops or resumes reading as the waiting output demands.
    ///
    /// Only answers count. What the owner asked for grows no longer by reading; and two ends that do not read while
    /// they wait for each other to read would wait for ever. The output of a bridge grows by reading at its other end.
    pub(super) fn regulate(&mut self) {
        self.output.commanded = self.output.commanded.min(self.output.queued);
        if self.partner.is_none() {
            self.hold(self.output.queued - self.output.commanded);
        }
    }

    /// Stops or resumes reading as so many bytes wait that came in here.
    pub(super) fn hold(&mut self, waiting: usize) {
        if self.inbound == Inbound::Reading && waiting > HIGH_WATER {
            self.inbound = Inbound::Held;
        } else if self.inbound == Inbound::Held && waiting <= HIGH_WATER / 4 {
            self.inbound = Inbound::Reading;
            self.unread = self.port.edge();
        }
    }

    /// Whether a clock has to be looked at for it, besides what is in memory.
    pub(super) fn is_clocked(&self) -> bool {
        self.closing_limit.is_some()
            || self.opening_limit.is_some()
            || self.break_until.is_some()
            || self.port.answer_by().is_some()
            || self.output.queue.iter().any(Segment::is_timed)
    }

    /// The next instant at which something is due here.
    pub(super) fn deadline(&self) -> Option<Time> {
        if self.stalled {
            return None;
        }
        let timed = self.output.queue.front().filter(|front| front.is_timed() && !self.output.blocked);
        let timed = timed.map(|front| front.due(self.quiet_since));
        let arrival = if self.inbound == Inbound::Reading { self.port.next_arrival() } else { None };
        let room = if self.output.blocked || self.port.holds_output() { self.port.next_room() } else { None };
        let answer = self.port.answer_by().filter(|_| self.inbound == Inbound::Reading);
        let limits = [self.closing_limit, self.opening_limit, self.break_until, answer];
        [timed, arrival, room].into_iter().chain(limits).flatten().min()
    }
}
