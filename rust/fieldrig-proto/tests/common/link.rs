//! The simulated connections and wires of a world.
//!
//! A connection has a delay, a window (bytes sent and not yet read) and may cut what is sent into segments; it closes
//! like TCP. A wire carries one byte after the other at the speed of its settings and has no beginning and no end. A wire
//! that several share (RS-485) carries each byte to all others; two that send at once fail the test.

use super::{Event, Inner};
use fieldrig_proto::dissect::hex;
use fieldrig_proto::endpoint::{Conn, HIGH_WATER, Input, Peer, Stamps, Why};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// A connection or wire of a world.
#[derive(Copy, Clone, Debug)]
pub struct Link(pub(super) usize);

/// What a connection or wire is like.
#[derive(Clone, Debug)]
pub struct Path {
    delay: Duration,
    window: usize,
    high_water: usize,
    segment: usize,
    line: Option<LineSettings>,
    whole: bool,
}

impl Path {
    /// A TCP-like connection without delay.
    pub fn stream() -> Path {
        Path {
            delay: Duration::ZERO,
            window: 64 * 1024,
            high_water: HIGH_WATER,
            segment: usize::MAX,
            line: None,
            whole: false,
        }
    }

    /// A serial wire, `"9600 8E1"`: each byte arrives when its last bit has.
    pub fn wire(settings: &str) -> Path {
        Path { line: Some(settings.parse().expect("line settings")), ..Path::stream() }
    }

    /// Everything arrives so much later.
    pub fn delay(self, delay: Duration) -> Path {
        Path { delay, ..self }
    }

    /// So many bytes may be under way and unread; the rest waits at the sender.
    pub fn window(self, window: usize) -> Path {
        Path { window, ..self }
    }

    /// Another high-water mark than [`HIGH_WATER`] (rule 8 of the calling contract), so that a test needs fewer bytes.
    pub fn high_water(self, high_water: usize) -> Path {
        Path { high_water, ..self }
    }

    /// Bytes of a connection arrive in pieces of at most so many.
    pub fn segments(self, segment: usize) -> Path {
        Path { segment: segment.max(1), ..self }
    }

    /// The bytes of one send on a wire are handed over together, when the last is there, with a stamp for each
    /// (a driver that reads a FIFO), instead of one by one.
    pub fn whole_sends(self) -> Path {
        Path { whole: true, ..self }
    }

    pub(super) fn opening_delay(&self) -> Duration {
        if self.line.is_some() { Duration::ZERO } else { self.delay }
    }
}

/// What arrives at a side.
pub(super) enum Arrival {
    Opened(Peer),
    Bytes(Vec<u8>, Vec<Stamp>),
    Line(LineEvent),
    Closed(Why),
}

impl Arrival {
    pub(super) fn opened(via: &str, address: &str, path: &Path) -> Arrival {
        Arrival::Opened(Peer {
            via: via.to_owned(),
            address: address.to_owned(),
            wire: path.line.is_some(),
            ..Peer::default()
        })
    }
}

/// What waits to leave.
pub(super) enum Out {
    Bytes { bytes: Vec<u8>, not_before: Option<Time>, gap_before: Option<Duration> },
    Line(LineCommand),
    Finish { both: bool },
}

/// One side of a link.
pub(super) struct Side {
    pub(super) end: usize,
    conn: Conn,
    line: Option<LineSettings>,
    out: VecDeque<Out>,
    /// Bytes that wait to leave.
    queued: usize,
    high_water: usize,
    /// Bytes handed out since `Opened` or the last `Writable`.
    handed_out: usize,
    pump_at: Option<Time>,
    /// Bytes on a wire that leave `queued` when the wire is free again.
    leaving: usize,
    busy_until: Time,
    last_activity: Option<Time>,
    inbox: VecDeque<Arrival>,
    /// Bytes under way to this side or in its inbox.
    unread: usize,
    pub(super) paused: bool,
    pub(super) stalled: bool,
    can_read: bool,
    can_write: bool,
}

impl Side {
    pub(super) fn address(&self) -> (usize, Conn) {
        (self.end, self.conn)
    }

    /// Ends both directions at once.
    pub(super) fn cut(&mut self) {
        self.can_read = false;
        self.can_write = false;
        self.out.clear();
        self.inbox.clear();
        self.queued = 0;
        self.leaving = 0;
    }

    pub(super) fn queue(&mut self, item: Out) {
        if !self.can_write && !matches!(item, Out::Finish { both: true }) {
            return;
        }
        if let Out::Bytes { bytes, .. } = &item {
            self.queued += bytes.len();
            self.handed_out += bytes.len();
        }
        let untimed = matches!(item, Out::Bytes { not_before: None, gap_before: None, .. });
        match (self.out.back_mut(), item) {
            (
                Some(Out::Bytes { bytes: waiting, not_before: None, gap_before: None }),
                Out::Bytes { bytes: more, .. },
            ) if untimed => waiting.extend(more),
            (_, item) => self.out.push_back(item),
        }
    }

    /// When the first waiting item may leave.
    fn ready(&self) -> Option<Time> {
        let earliest = match self.out.front()? {
            Out::Bytes { not_before, gap_before, .. } => {
                let quiet = match (gap_before, self.last_activity) {
                    (Some(gap), Some(last)) => last + *gap,
                    _ => Time::ZERO,
                };
                quiet.max(not_before.unwrap_or(Time::ZERO))
            }
            _ => Time::ZERO,
        };
        Some(earliest.max(self.busy_until))
    }

    fn reads_nothing(&self) -> bool {
        self.paused || self.stalled || self.queued > self.high_water
    }

    fn is_owed_writable(&self) -> bool {
        self.handed_out >= self.high_water && self.queued == 0 && self.can_write
    }
}

/// The sides, two but for a shared wire, and what lies between.
pub(super) struct Joint {
    path: Path,
    pub(super) sides: Vec<Side>,
}

impl Joint {
    pub(super) fn new(path: &Path, ends: &[(usize, Conn)]) -> Joint {
        let side = |&(end, conn): &(usize, Conn)| Side {
            end,
            conn,
            line: path.line,
            out: VecDeque::new(),
            queued: 0,
            high_water: path.high_water,
            handed_out: 0,
            pump_at: None,
            leaving: 0,
            busy_until: Time::ZERO,
            last_activity: None,
            inbox: VecDeque::new(),
            unread: 0,
            paused: false,
            stalled: false,
            can_read: true,
            can_write: true,
        };
        Joint { path: path.clone(), sides: ends.iter().map(side).collect() }
    }
}

impl Inner {
    /// Sends what may leave now.
    pub(super) fn pump(&mut self, link: usize, from: usize) {
        let now = self.now;
        self.links[link].sides[from].pump_at = None;
        loop {
            let side = &mut self.links[link].sides[from];
            if side.busy_until <= now {
                side.queued -= std::mem::take(&mut side.leaving);
            }
            if side.stalled {
                return;
            }
            let Some(ready) = side.ready() else { break };
            if ready > now {
                self.pump_later(link, from, ready);
                break;
            }
            if !self.send_first(link, from) {
                break;
            }
        }
        let side = &mut self.links[link].sides[from];
        let busy_until = side.busy_until;
        if side.leaving > 0 {
            self.pump_later(link, from, busy_until);
        }
        let side = &self.links[link].sides[from];
        if side.is_owed_writable() || !side.inbox.is_empty() {
            self.after(now, Event::Drained(link, from));
        }
    }

    /// Output has left: says so if it is owed, and reads on.
    pub(super) fn drained(&mut self, link: usize, from: usize) {
        let side = &mut self.links[link].sides[from];
        if side.is_owed_writable() {
            side.handed_out = 0;
            let (end, conn) = side.address();
            self.give(end, Input::Writable(conn));
        }
        self.read_inbox(link, from);
    }

    /// Pumps, if no earlier pump has planned anew since this one was planned.
    pub(super) fn pump_as_planned(&mut self, link: usize, from: usize) {
        if self.links[link].sides[from].pump_at == Some(self.now) {
            self.pump(link, from);
        }
    }

    fn pump_later(&mut self, link: usize, from: usize, when: Time) {
        let side = &mut self.links[link].sides[from];
        if side.pump_at.is_none_or(|planned| when < planned) {
            side.pump_at = Some(when);
            self.after(when, Event::Pump(link, from));
        }
    }

    /// Sends the first waiting item, or as much of it as the window lets through; false if nothing could leave.
    fn send_first(&mut self, link: usize, from: usize) -> bool {
        let Some(item) = self.links[link].sides[from].out.pop_front() else { return false };
        match item {
            Out::Line(command) => self.command_line(link, from, command),
            Out::Finish { both } => self.finish(link, from, both),
            Out::Bytes { bytes, .. } if self.links[link].sides[from].line.is_some() => {
                self.send_on_wire(link, from, bytes);
            }
            Out::Bytes { bytes, not_before, gap_before } => {
                let joint = &mut self.links[link];
                let room = joint.path.window.saturating_sub(joint.sides[1 - from].unread).min(bytes.len());
                if room < bytes.len() {
                    let rest = bytes[room..].to_vec();
                    // What was begun goes on without waiting again.
                    let (not_before, gap_before) = if room == 0 { (not_before, gap_before) } else { (None, None) };
                    joint.sides[from].out.push_front(Out::Bytes { bytes: rest, not_before, gap_before });
                }
                if room == 0 && !bytes.is_empty() {
                    return false;
                }
                self.send_on_stream(link, from, &bytes[..room]);
            }
        }
        true
    }

    fn send_on_stream(&mut self, link: usize, from: usize, bytes: &[u8]) {
        self.write_journal(link, from, bytes);
        let when = self.now + self.links[link].path.delay;
        let joint = &mut self.links[link];
        joint.sides[from].queued -= bytes.len();
        joint.sides[from].last_activity = Some(self.now);
        joint.sides[1 - from].unread += bytes.len();
        let segment = joint.path.segment;
        for piece in bytes.chunks(segment) {
            self.after(when, Event::Arrive(link, 1 - from, Arrival::Bytes(piece.to_vec(), vec![Stamp::exact(when)])));
        }
    }

    fn send_on_wire(&mut self, link: usize, from: usize, bytes: Vec<u8>) {
        self.write_journal(link, from, &bytes);
        let start = self.now;
        let others = self.others(link, from);
        if others.len() > 1
            && let Some(talker) = others.iter().find(|other| self.links[link].sides[**other].busy_until > start)
        {
            let name = |side: usize| self.ends[self.links[link].sides[side].end].name.clone();
            panic!("`{}` and `{}` talk at once at {start}:\n{}", name(*talker), name(from), self.journal_tail());
        }
        let joint = &mut self.links[link];
        let (delay, whole) = (joint.path.delay, joint.path.whole);
        let side = &mut joint.sides[from];
        let Some(line) = side.line else { return };
        side.busy_until = start + line.time_of(bytes.len());
        side.last_activity = Some(side.busy_until);
        side.leaving += bytes.len();
        others.iter().for_each(|other| joint.sides[*other].unread += bytes.len());
        let stamps: Vec<Stamp> =
            (1..=bytes.len()).map(|count| Stamp::exact(start + line.time_of(count) + delay)).collect();
        if whole {
            let when = stamps.last().map_or(start, |stamp| stamp.latest());
            for other in others {
                self.after(when, Event::Arrive(link, other, Arrival::Bytes(bytes.clone(), stamps.clone())));
            }
            return;
        }
        for (byte, stamp) in bytes.into_iter().zip(stamps) {
            for other in &others {
                self.after(stamp.latest(), Event::Arrive(link, *other, Arrival::Bytes(vec![byte], vec![stamp])));
            }
        }
    }

    /// Who hears what a side sends.
    fn others(&self, link: usize, from: usize) -> Vec<usize> {
        (0..self.links[link].sides.len()).filter(|side| *side != from).collect()
    }

    /// A break is seen at its end; a null modem crosses RTS to CTS and DTR to DSR and DCD; settings are seen by the
    /// other side as on a pty and hold for what this side sends from now on.
    fn command_line(&mut self, link: usize, from: usize, command: LineCommand) {
        let now = self.now;
        let joint = &mut self.links[link];
        let side = &mut joint.sides[from];
        let mut when = now + joint.path.delay;
        let event = match command {
            LineCommand::Break(duration) => {
                side.busy_until = now + duration;
                side.last_activity = Some(side.busy_until);
                when = when + duration;
                LineEvent::Break
            }
            LineCommand::Rts(cts) => LineEvent::Modem { cts, dsr: false, ri: false, dcd: false },
            LineCommand::Dtr(dsr) => LineEvent::Modem { cts: false, dsr, ri: false, dcd: dsr },
            LineCommand::Settings(settings) => {
                side.line = side.line.map(|_| settings);
                LineEvent::Settings(settings)
            }
        };
        for other in self.others(link, from) {
            self.after(when, Event::Arrive(link, other, Arrival::Line(event.clone())));
        }
    }

    /// Ends the direction from `from`; `both`: it reads nothing more either.
    fn finish(&mut self, link: usize, from: usize, both: bool) {
        let now = self.now;
        let joint = &mut self.links[link];
        let when = now + joint.path.delay;
        let wire = joint.path.line.is_some();
        let said_before = !joint.sides[from].can_write;
        joint.sides[from].can_write = false;
        if both || !joint.sides[from].can_read {
            joint.sides[from].cut();
            self.after(now, Event::Arrive(link, from, Arrival::Closed(Why::Local)));
        }
        if !wire && !said_before {
            self.after(when, Event::Arrive(link, 1 - from, Arrival::Closed(Why::Finished)));
        }
    }

    /// Breaks a connection off.
    pub(super) fn reset(&mut self, end: usize, conn: Conn) {
        let Some(&(link, from)) = self.ends[end].conns.get(&conn) else { return };
        let now = self.now;
        let joint = &mut self.links[link];
        let when = now + joint.path.delay;
        let wire = joint.path.line.is_some();
        joint.sides[from].cut();
        self.after(now, Event::Arrive(link, from, Arrival::Closed(Why::Local)));
        if !wire {
            self.after(when, Event::Arrive(link, 1 - from, Arrival::Closed(Why::Reset)));
        }
    }

    /// Something reaches a side: an ended one answers bytes with a reset, a living one takes it when it reads.
    pub(super) fn arrive(&mut self, link: usize, to: usize, arrival: Arrival) {
        let now = self.now;
        let joint = &mut self.links[link];
        let (wire, delay) = (joint.path.line.is_some(), joint.path.delay);
        let side = &mut joint.sides[to];
        match arrival {
            Arrival::Closed(why) if why != Why::Finished => self.end_connection(link, to, why),
            Arrival::Bytes(bytes, _) if !side.can_read => {
                side.unread -= bytes.len();
                if !wire && joint.sides.get(1 - to).is_some_and(|other| other.can_read || other.can_write) {
                    self.after(now + delay, Event::Arrive(link, 1 - to, Arrival::Closed(Why::Reset)));
                }
            }
            arrival if side.can_read => {
                if matches!(arrival, Arrival::Bytes(..)) {
                    side.last_activity = side.last_activity.max(Some(now));
                }
                side.inbox.push_back(arrival);
                self.read_inbox(link, to);
            }
            _ => {}
        }
    }

    /// Ends both directions of a side and says so once.
    fn end_connection(&mut self, link: usize, to: usize, why: Why) {
        let side = &mut self.links[link].sides[to];
        side.cut();
        let (end, conn) = side.address();
        if self.ends[end].conns.remove(&conn).is_some() {
            let name = self.ends[end].name.clone();
            self.note(format!("{name} {conn:?} closed: {why:?}"));
            self.give(end, Input::Closed(conn, why));
        }
    }

    /// Hands over what a side has in its inbox, as long as it reads.
    pub(super) fn read_inbox(&mut self, link: usize, to: usize) {
        loop {
            let side = &mut self.links[link].sides[to];
            if side.reads_nothing() {
                return;
            }
            let Some(arrival) = side.inbox.pop_front() else { return };
            let (end, conn) = side.address();
            match arrival {
                Arrival::Opened(peer) => self.give(end, Input::Opened(conn, &peer)),
                Arrival::Line(event) => self.give(end, Input::Line(conn, event, Stamp::exact(self.now))),
                Arrival::Closed(why) => {
                    let dead = !side.can_write;
                    side.can_read = false;
                    self.give(end, Input::Closed(conn, why));
                    if dead {
                        self.end_connection(link, to, Why::Local);
                    }
                }
                Arrival::Bytes(bytes, stamps) => {
                    side.unread -= bytes.len();
                    self.give(end, Input::Bytes(conn, &bytes, stamps_of(&stamps)));
                    if let [_, _] = self.links[link].sides[..] {
                        self.pump(link, 1 - to);
                    }
                }
            }
        }
    }

    fn write_journal(&mut self, link: usize, from: usize, bytes: &[u8]) {
        let name = |side: usize| self.ends[self.links[link].sides[side].end].name.as_str();
        let receivers: Vec<&str> = self.others(link, from).into_iter().map(name).collect();
        let (sender, receiver) = (name(from), receivers.join(", "));
        let shown = &bytes[..bytes.len().min(64)];
        let more = if shown.len() < bytes.len() { format!(" .. {} bytes", bytes.len()) } else { String::new() };
        let text: String = String::from_utf8_lossy(shown).escape_debug().collect();
        self.note(format!("{sender} -> {receiver}: {}{more}  \"{text}\"", hex(shown)));
    }
}

fn stamps_of(stamps: &[Stamp]) -> Stamps<'_> {
    match stamps {
        [one] => Stamps::One(*one),
        many => Stamps::PerByte(many),
    }
}
