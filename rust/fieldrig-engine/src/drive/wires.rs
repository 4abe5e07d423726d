//! All ports of one node: what the step looks at and writes to. Knows no endpoint.

use super::channel::{Channel, Inbound, Sent};
use super::connect::Attempt;
use super::sys::{Epoll, Kick, Ready};
use crate::clock::Clock;
use crate::log::RunLog;
use crate::port::stream::Listener;
use crate::port::{Look, Port, Read};
use crate::trace::{Capture, LinkId};
use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::endpoint::{Action, Conn, How, Peer, Why};
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How much one look reads at most.
const BUFFER: usize = 64 * 1024;
/// How long a close waits for output to drain.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Output of one connection that nobody takes: beyond this it is broken off.
const OUTPUT_LIMIT: usize = 64 << 20;
/// How many timed sends are remembered.
const SENDS_KEPT: usize = 16_384;

/// Token of the node's own wake-up.
pub(crate) const KICK: u64 = u64::MAX;
const LISTENER: u64 = 1 << 32;

/// A port that went away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostPort {
    /// The name under which it was bound.
    pub via: String,
    /// The place.
    pub url: String,
    /// Why, as far as the machine knows.
    pub reason: String,
    /// When it was noticed.
    pub at: Time,
}

/// What the endpoint is to be told, in order.
#[derive(Debug)]
pub(super) enum News {
    Opened(Conn),
    Closed(Conn, Why),
    Writable(Conn),
}

struct Listening {
    listener: Listener,
    via: String,
}

/// The first send of a command.
#[derive(Copy, Clone, Debug)]
enum Watch {
    Off,
    Armed,
    On(u64, Sent),
}

/// What the capture needs to know about a name under which ports are bound.
#[derive(Clone)]
pub(crate) struct LinkKind {
    pub(crate) protocol: Option<&'static Protocol>,
    pub(crate) we_are: Sender,
    pub(crate) description: String,
    pub(crate) silence: Option<Duration>,
}

pub(crate) struct Wires {
    pub(super) clock: Clock,
    pub(crate) epoll: Epoll,
    pub(crate) kick: Arc<Kick>,
    pub(super) capture: Capture,
    log: RunLog,
    name: String,
    kinds: BTreeMap<String, LinkKind>,
    links: BTreeMap<String, LinkId>,
    pub(super) channels: BTreeMap<u32, Channel>,
    pub(super) attempts: BTreeMap<u32, Attempt>,
    listeners: Vec<Listening>,
    next_conn: u32,
    /// Bytes of the actions of this pass.
    pub(super) out: Vec<u8>,
    dirty: Vec<Conn>,
    pub(super) news: VecDeque<News>,
    pub(super) buffer: Box<[u8]>,
    pub(super) stamps: Vec<Stamp>,
    pub(super) lost: Vec<LostPort>,
    sequence: u64,
    watch: Watch,
    sends: VecDeque<Sent>,
    /// The next pass looks at the connections epoll does not tell of.
    pub(super) looked_at: bool,
    /// How many connections are in memory.
    in_memory: usize,
    /// A connection may have something due (timed output, a close, a break).
    clocked: bool,
}

impl Wires {
    pub(crate) fn new(name: &str, clock: Clock, capture: Capture, log: RunLog) -> std::io::Result<Wires> {
        let epoll = Epoll::new()?;
        let kick = Arc::new(Kick::new()?);
        epoll.add(kick.fd(), super::sys::IN, KICK)?;
        Ok(Wires {
            clock,
            epoll,
            kick,
            capture,
            log,
            name: name.to_owned(),
            kinds: BTreeMap::new(),
            links: BTreeMap::new(),
            channels: BTreeMap::new(),
            attempts: BTreeMap::new(),
            listeners: Vec::new(),
            next_conn: 0,
            out: Vec::with_capacity(4096),
            dirty: Vec::new(),
            news: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            stamps: Vec::new(),
            lost: Vec::new(),
            sequence: 0,
            watch: Watch::Off,
            sends: VecDeque::new(),
            looked_at: false,
            in_memory: 0,
            clocked: false,
        })
    }

    /// Says what the links of a name are.
    pub(crate) fn describe(&mut self, via: &str, kind: LinkKind) {
        self.kinds.insert(via.to_owned(), kind);
    }

    pub(crate) fn listen(&mut self, via: &str, listener: Listener) -> std::io::Result<()> {
        self.epoll.add(listener.fd(), super::sys::IN, LISTENER | self.listeners.len() as u64)?;
        self.listeners.push(Listening { listener, via: via.to_owned() });
        Ok(())
    }

    /// Adds an open port; the endpoint hears of it in the next pass.
    pub(crate) fn attach(&mut self, mut port: Box<dyn Port>, peer: Peer, bound: bool) -> std::io::Result<Conn> {
        let conn = self.new_conn();
        let now = self.clock.now();
        port.attach(Arc::clone(&self.kick));
        let link = self.link(&peer.via);
        let mut channel = Channel::new(port, peer, link, bound, now);
        channel.interest = channel.wanted();
        channel.unread = channel.port.edge();
        self.looked_at |= channel.unread || channel.port.fd().is_none();
        match channel.port.fd() {
            Some(fd) => self.epoll.add(fd, channel.interest, u64::from(conn.0))?,
            None => self.in_memory += 1,
        }
        self.lost.retain(|lost| lost.via != channel.peer.via);
        self.channels.insert(conn.0, channel);
        self.news.push_back(News::Opened(conn));
        Ok(conn)
    }

    pub(super) fn new_conn(&mut self) -> Conn {
        let conn = Conn(self.next_conn);
        self.next_conn = self.next_conn.wrapping_add(1);
        conn
    }

    fn link(&mut self, via: &str) -> LinkId {
        if let Some(link) = self.links.get(via) {
            return *link;
        }
        let plain = LinkKind { protocol: None, we_are: Sender::Client, description: String::new(), silence: None };
        let kind = self.kinds.get(via).cloned().unwrap_or(plain);
        let name = if via.is_empty() { self.name.clone() } else { format!("{}/{via}", self.name) };
        let link = match kind.silence {
            Some(silence) => self.capture.wire(&name, kind.protocol, kind.we_are, kind.description, silence),
            None => self.capture.link(&name, kind.protocol, kind.we_are, kind.description),
        };
        self.links.insert(via.to_owned(), link);
        link
    }

    // ---- what is ready -------------------------------------------------------------------------------------------

    /// Takes the connections that wait at a listener.
    pub(super) fn accept(&mut self, token: u64) {
        let index = (token & (LISTENER - 1)) as usize;
        while let Some(listening) = self.listeners.get(index) {
            match listening.listener.accept() {
                Ok(Some((stream, address))) => {
                    let peer = Peer { via: listening.via.clone(), address, wire: false };
                    if let Err(error) = self.attach(Box::new(stream), peer, false) {
                        self.trouble("accept", &error);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    self.trouble("accept", &error);
                    return;
                }
            }
        }
    }

    pub(super) fn is_listener(token: u64) -> bool {
        token != KICK && token & LISTENER != 0
    }

    // ---- what the endpoint wants ---------------------------------------------------------------------------------

    /// Carries out one action; bytes leave at the end of the pass.
    pub(super) fn apply(&mut self, now: Time, action: Action) {
        match action {
            Action::Send { conn, range, not_before, gap_before } => {
                self.send(now, conn, range, (not_before, gap_before));
            }
            Action::SetLine(conn, command) => self.set_line(now, conn, &command),
            Action::Close(conn, how) => self.close(now, conn, how),
            Action::Connect(target) => self.connect(now, &target),
        }
    }

    fn send(&mut self, now: Time, conn: Conn, range: std::ops::Range<usize>, timing: (Option<Time>, Option<Duration>)) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.closing.is_some() || channel.finished || range.end > self.out.len() || range.start > range.end {
            return;
        }
        self.sequence += 1;
        if matches!(self.watch, Watch::Armed) {
            self.watch = Watch::On(self.sequence, Sent { scheduled: now, issued: None, returned: None });
        }
        match timing {
            (None, None) => channel.output.push(&self.out, range, now, self.sequence),
            timing => {
                self.clocked = true;
                channel.output.push_timed(&self.out, range, now, self.sequence, timing);
            }
        }
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
    }

    fn set_line(&mut self, now: Time, conn: Conn, command: &LineCommand) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        match channel.port.command(now, command) {
            Ok(()) => {
                if let LineCommand::Break(length) = command
                    && channel.port.fd().is_some()
                {
                    channel.break_until = Some(now + *length);
                    self.clocked = true;
                }
            }
            Err(error) => {
                let what = format!("{command:?}: {error}");
                let record = Record::new("line.refused").at(Stamp::exact(now)).conn(conn).with("what", what);
                self.log.write(&record.with("node", self.name.as_str()));
            }
        }
    }

    pub(super) fn close(&mut self, now: Time, conn: Conn, how: How) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        match how {
            How::Rst => {
                channel.port.reset();
                self.drop_channel(conn, Why::Local);
            }
            How::Stall => {
                channel.inbound = Inbound::Ignored;
                channel.output.clear();
                channel.finished = true;
                if let Some(fd) = channel.port.fd() {
                    self.epoll.remove(fd);
                    channel.interest = 0;
                }
            }
            How::Fin | How::HalfOpen => {
                if how == How::Fin {
                    channel.inbound = Inbound::Ignored;
                }
                channel.closing = Some(how);
                channel.closing_limit = Some(now + CLOSE_LIMIT);
                self.clocked = true;
                if !self.dirty.contains(&conn) {
                    self.dirty.push(conn);
                }
            }
        }
    }

    // ---- output --------------------------------------------------------------------------------------------------

    /// Writes what this pass handed out, and timed sends that are due.
    pub(super) fn flush(&mut self) {
        while let Some(conn) = self.dirty.pop() {
            self.flush_channel(conn);
        }
    }

    /// Writes what can be written on one connection now.
    pub(super) fn flush_channel(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        let failure = if channel.output.queue.is_empty() { self.write_direct(conn) } else { None };
        let failure = failure.or_else(|| self.write_queue(conn));
        if let Some(error) = failure {
            return self.write_failed(conn, &error);
        }
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.output.owes_writable() {
            self.news.push_back(News::Writable(conn));
        }
        channel.regulate();
        self.looked_at |= channel.unread;
        if channel.output.queued > OUTPUT_LIMIT {
            channel.port.reset();
            return self.lose(conn, Why::Reset, "nobody took 64 MiB of output");
        }
        if channel.output.is_empty() && channel.closing.is_some() {
            return self.finish_close(conn);
        }
        self.watch_readiness(conn);
    }

    /// The quick way: bytes of this pass go straight from the pass buffer.
    fn write_direct(&mut self, conn: Conn) -> Option<std::io::Error> {
        let channel = self.channels.get_mut(&conn.0)?;
        let range = std::mem::take(&mut channel.output.direct);
        if range.is_empty() {
            return None;
        }
        let sequence = channel.output.direct_sequence;
        let issued = self.clock.now();
        let result = channel.port.write(issued, &self.out[range.clone()]);
        let returned = self.clock.now();
        let (written, failure) = match result {
            Ok(written) => (written, None),
            Err(error) if would_block(&error) => (0, None),
            Err(error) => (0, Some(error)),
        };
        if written > 0 {
            let bytes = &self.out[range.start..range.start + written];
            self.capture.frame(channel.link, conn, Direction::Out, Stamp::between(issued, returned), bytes);
            channel.quiet_since = channel.quiet_since.max(returned + channel.port.wire_time(written));
            note_sent(&mut self.watch, sequence, issued, returned);
        }
        if written < range.len() && failure.is_none() {
            channel.output.direct = range.start + written..range.end;
            channel.output.settle(&self.out, issued);
            channel.output.blocked = true;
        }
        failure
    }

    /// The queue: what could not be written before, and timed sends one by one.
    fn write_queue(&mut self, conn: Conn) -> Option<std::io::Error> {
        let channel = self.channels.get_mut(&conn.0)?;
        if !channel.output.direct.is_empty() {
            channel.output.settle(&self.out, self.clock.now());
        }
        loop {
            let front = channel.output.queue.front_mut()?;
            let issued = self.clock.now();
            let due = front.due(channel.quiet_since);
            if due > issued {
                return None;
            }
            let timed = front.is_timed();
            let rest = &front.bytes[front.written..];
            let written = match channel.port.write(issued, rest) {
                Ok(written) => written,
                Err(error) if would_block(&error) => {
                    channel.output.blocked = true;
                    return None;
                }
                Err(error) => return Some(error),
            };
            let returned = self.clock.now();
            self.capture.frame(channel.link, conn, Direction::Out, Stamp::between(issued, returned), &rest[..written]);
            channel.quiet_since = channel.quiet_since.max(returned + channel.port.wire_time(written));
            if front.written == 0 {
                if timed {
                    note_scheduled(&mut self.watch, front.sequence, due);
                    if self.sends.len() == SENDS_KEPT {
                        self.sends.pop_front();
                    }
                    self.sends.push_back(Sent { scheduled: due, issued: Some(issued), returned: Some(returned) });
                }
                note_sent(&mut self.watch, front.sequence, issued, returned);
            }
            channel.output.queued -= written;
            front.written += written;
            if front.written < front.bytes.len() {
                channel.output.blocked = true;
                return None;
            }
            channel.output.queue.pop_front();
            channel.output.blocked = false;
        }
    }

    /// A write failed: what came in before is still read; it ends with the reason.
    fn write_failed(&mut self, conn: Conn, error: &std::io::Error) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        channel.output.clear();
        channel.finished = true;
        if channel.closing.is_some() || channel.inbound != Inbound::Reading {
            channel.port.reset();
            return self.lose(conn, Why::Reset, &error.to_string());
        }
        channel.unread = true;
        self.looked_at = true;
    }

    /// The port takes output again.
    pub(super) fn writable(&mut self, conn: Conn) {
        if let Some(channel) = self.channels.get_mut(&conn.0) {
            channel.output.blocked = false;
            self.flush_channel(conn);
        }
    }

    fn finish_close(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        let how = channel.closing.take();
        channel.closing_limit = None;
        channel.port.finish();
        channel.finished = true;
        if how == Some(How::Fin) || channel.inbound == Inbound::Ended {
            // A socket that is closed with bytes unread sends RST, which may overtake what we sent last.
            let since = channel.since;
            for _ in 0..16 {
                let look =
                    Look { clock: &self.clock, since, wait: false, buffer: &mut self.buffer, stamps: &mut self.stamps };
                if !matches!(channel.port.read(look), Read::Bytes(..)) {
                    break;
                }
            }
            self.drop_channel(conn, Why::Local);
        } else {
            self.watch_readiness(conn);
        }
    }

    /// Tells epoll which conditions matter now, if that changed.
    pub(super) fn watch_readiness(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        let wanted = channel.wanted();
        if wanted != channel.interest
            && let Some(fd) = channel.port.fd()
            && self.epoll.modify(fd, wanted, u64::from(conn.0)).is_ok()
        {
            channel.interest = wanted;
        }
    }

    // ---- ends ----------------------------------------------------------------------------------------------------

    /// The other side will send nothing more.
    pub(super) fn finished(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        channel.inbound = Inbound::Ended;
        self.news.push_back(News::Closed(conn, Why::Finished));
        if channel.finished {
            self.lose(conn, Why::Local, "both sides ended it");
        } else {
            self.watch_readiness(conn);
        }
    }

    /// The next pass looks at ports whose changes are no events (a pty that was closed and opened again).
    pub(super) fn look_at_edges(&mut self) {
        for channel in self.channels.values_mut().filter(|channel| channel.port.edge()) {
            channel.unread = true;
            self.looked_at = true;
        }
    }

    /// Connections whose bytes epoll does not tell of.
    pub(super) fn unwatched(&self) -> Vec<Conn> {
        let unwatched = self.channels.iter().filter(|(_, channel)| channel.unread || channel.port.fd().is_none());
        unwatched.map(|(number, _)| Conn(*number)).collect()
    }

    /// A connection ended by the other side or by accident.
    pub(super) fn lose(&mut self, conn: Conn, why: Why, reason: &str) {
        let Some(channel) = self.channels.get(&conn.0) else { return };
        if channel.bound {
            let scheme = if channel.peer.wire { "serial" } else { "tcp" };
            let lost = LostPort {
                via: channel.peer.via.clone(),
                url: format!("{scheme}://{}", channel.peer.address),
                reason: reason.to_owned(),
                at: self.clock.now(),
            };
            let record = Record::new("port.lost").at(Stamp::exact(lost.at)).conn(conn).with("node", self.name.as_str());
            self.log.write(&record.with("url", lost.url.as_str()).with("reason", reason));
            self.lost.push(lost);
        }
        self.drop_channel(conn, why);
    }

    fn drop_channel(&mut self, conn: Conn, why: Why) {
        if let Some(channel) = self.channels.remove(&conn.0) {
            match channel.port.fd() {
                Some(fd) => self.epoll.remove(fd),
                None => self.in_memory -= 1,
            }
            self.news.push_back(News::Closed(conn, why));
        }
    }

    /// Closes everything at once; the endpoint is told nothing any more.
    pub(crate) fn shut(&mut self, orderly: bool) {
        for (_, mut channel) in std::mem::take(&mut self.channels) {
            if orderly {
                channel.port.finish();
            } else {
                channel.port.reset();
            }
        }
        self.attempts.clear();
        self.listeners.clear();
        self.news.clear();
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    /// When something is due that epoll does not tell.
    pub(super) fn deadline(&self) -> Option<Time> {
        let some = self.clocked || self.in_memory > 0;
        let channels = self.channels.values().filter(|_| some).filter_map(Channel::deadline);
        channels.chain(self.attempts.values().map(Attempt::limit)).min()
    }

    /// Whether a timed send waits, which is the business of the line thread.
    pub(crate) fn has_timed_output(&self) -> bool {
        self.clocked
            && self.channels.values().any(|channel| channel.output.queue.iter().any(super::channel::Segment::is_timed))
    }

    /// The next timed send, if it is what comes next.
    pub(crate) fn next_timed_send(&self) -> Option<Time> {
        let due = |channel: &Channel| {
            let front = channel.output.queue.front().filter(|front| front.is_timed() && !channel.output.blocked)?;
            Some(front.due(channel.quiet_since))
        };
        self.channels.values().filter(|_| self.clocked).filter_map(due).min()
    }

    /// Does what is due: timed sends, ends of breaks, closes and attempts that took too long.
    pub(super) fn do_due(&mut self) {
        if self.clocked {
            self.do_due_on_channels(self.clock.now());
        }
        if !self.attempts.is_empty() {
            self.give_up_attempts(self.clock.now());
        }
    }

    /// The connection, if it is all there is to wait for.
    pub(super) fn only_stream(&self) -> Option<Conn> {
        let alone = self.channels.len() == 1 && self.listeners.is_empty() && self.attempts.is_empty();
        let (number, channel) = self.channels.first_key_value().filter(|_| alone && !self.has_work(&[]))?;
        let quiet = channel.output.is_empty() && !self.clocked && channel.inbound == Inbound::Reading;
        (quiet && channel.port.can_wait()).then_some(Conn(*number))
    }

    fn do_due_on_channels(&mut self, now: Time) {
        let due = |(number, channel): (&u32, &Channel)| {
            channel.deadline().is_some_and(|at| at <= now).then_some(Conn(*number))
        };
        let conns: Vec<Conn> = self.channels.iter().filter_map(due).collect();
        for conn in conns {
            let Some(channel) = self.channels.get_mut(&conn.0) else { continue };
            if channel.break_until.is_some_and(|at| at <= now) {
                channel.break_until = None;
                // Ending a break cannot fail on a port that began one, unless it is gone; reading will tell.
                let _ = channel.port.command(now, &LineCommand::Break(Duration::ZERO));
            }
            if channel.closing_limit.is_some_and(|at| at <= now) {
                channel.port.reset();
                self.lose(conn, Why::Local, "the other side did not take the last output");
            } else {
                self.flush_channel(conn);
            }
        }
        let clocked = |channel: &Channel| {
            channel.closing_limit.is_some()
                || channel.break_until.is_some()
                || channel.output.queue.iter().any(super::channel::Segment::is_timed)
        };
        self.clocked = self.channels.values().any(clocked);
    }

    /// Bytes in memory that have arrived by now are looked at in this pass.
    pub(super) fn look_for_arrivals(&mut self) {
        if self.in_memory > 0 && !self.looked_at {
            let now = self.clock.now();
            let due = |channel: &Channel| channel.port.next_arrival().is_some_and(|at| at <= now);
            self.looked_at = self.channels.values().any(due);
        }
    }

    /// Nothing but `ready` was ready at `before`: everything else was empty then.
    pub(super) fn saw_empty(&mut self, before: Time, ready: &[Ready]) {
        // With many connections the kernel's stamps do; they are all sockets.
        if self.channels.len() > 16 {
            return;
        }
        for (number, channel) in &mut self.channels {
            let quiet = !ready.iter().any(|ready| ready.token == u64::from(*number));
            if quiet && channel.inbound == Inbound::Reading && !channel.unread && channel.port.fd().is_some() {
                channel.since = channel.since.max(before);
            }
        }
    }

    // ---- what drivers and callers ask ----------------------------------------------------------------------------

    /// Watches for the first send from here on.
    pub(crate) fn watch_sends(&mut self) {
        self.watch = Watch::Armed;
    }

    /// The first send since [`Wires::watch_sends`].
    pub(crate) fn watched_send(&self) -> Option<Sent> {
        match self.watch {
            Watch::On(_, sent) => Some(sent),
            Watch::Off | Watch::Armed => None,
        }
    }

    /// The last timed sends, oldest first.
    pub(crate) fn timed_sends(&self) -> Vec<Sent> {
        self.sends.iter().copied().collect()
    }

    pub(crate) fn lost_ports(&self) -> &[LostPort] {
        &self.lost
    }

    /// The time now.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Whether this node lives on virtual time.
    pub(crate) fn is_virtual(&self) -> bool {
        self.clock.is_virtual()
    }

    /// Whether nothing can come in any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.channels.is_empty() && self.attempts.is_empty() && self.listeners.is_empty() && self.news.is_empty()
    }

    pub(super) fn begin_pass(&mut self) {
        self.out.clear();
    }

    pub(super) fn trouble(&self, what: &str, error: &std::io::Error) {
        let record = Record::new("port.trouble").at(Stamp::exact(self.clock.now())).with("node", self.name.as_str());
        self.log.write(&record.with("what", what).with("error", error.to_string()));
    }

    pub(super) fn has_work(&self, ready: &[Ready]) -> bool {
        !ready.is_empty() || self.looked_at || !self.news.is_empty()
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

fn note_sent(watch: &mut Watch, sequence: u64, issued: Time, returned: Time) {
    if let Watch::On(watched, sent) = watch
        && *watched == sequence
    {
        sent.issued = Some(issued);
        sent.returned = Some(returned);
    }
}

fn note_scheduled(watch: &mut Watch, sequence: u64, due: Time) {
    if let Watch::On(watched, sent) = watch
        && *watched == sequence
    {
        sent.scheduled = due;
    }
}
