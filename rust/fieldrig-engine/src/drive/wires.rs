//! All ports of one node: what the step looks at and writes to. Knows no endpoint.

use super::channel::{Channel, Inbound, Segment, Sent};
use super::connect::{Attempt, CONNECT_LIMIT};
use super::gate::{Gate, Wish};
use super::sys::{Epoll, Kick, Ready};
use super::timed::Timing;
use crate::clock::Clock;
use crate::error::EngineError;
use crate::layer::rfc2217::Side;
use crate::layer::tls::{ClientSide, ServerSide, TlsSettings};
use crate::log::RunLog;
use crate::origin;
use crate::port::stream::Listener;
use crate::port::switchboard::{MemoryListener, Switchboard};
use crate::port::{LineLedger, Port};
use crate::sentinel::Witness;
use crate::trace::{Capture, LinkId};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Fate, How, Peer, Why};
use fieldrig_proto::line::{LineCommand, LineSettings};
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Source, Stamp, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How much one look reads at most.
const BUFFER: usize = 64 * 1024;
/// How long a close waits for output to drain.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Output of one connection that nobody takes: beyond this it is broken off.
pub(super) const OUTPUT_LIMIT: usize = 64 << 20;
/// How many timed sends are remembered.
pub(super) const SENDS_KEPT: usize = 16_384;

/// Token of the node's own wake-up.
pub(crate) const KICK: u64 = u64::MAX;
pub(super) const LISTENER: u64 = 1 << 32;

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
    Timed(Conn, Fate),
}

pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) via: String,
    /// The TLS on its connections.
    pub(super) tls: Option<Arc<ServerSide>>,
    /// Its connections carry a serial line with these settings (RFC 2217).
    pub(super) line: Option<(Side, LineSettings)>,
    /// Epoll tells of its connections.
    pub(super) watched: bool,
}

pub(super) struct ListeningInMemory {
    pub(super) listener: MemoryListener,
    pub(super) via: String,
    /// The TLS on its connections.
    pub(super) tls: Option<Arc<ServerSide>>,
}

/// The first send of a command.
#[derive(Copy, Clone, Debug)]
pub(super) enum Watch {
    Off,
    Armed,
    /// Its number, on which connection, and what became of it.
    On(u64, Conn, Sent),
}

/// What the capture needs to know about a name under which ports are bound.
#[derive(Clone)]
pub(crate) struct LinkKind {
    pub(crate) protocol: Option<&'static Protocol>,
    pub(crate) we_are: Sender,
    pub(crate) description: String,
    pub(crate) silence: Option<Duration>,
}

/// What all nodes of a rig share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) capture: Capture,
    pub(crate) log: RunLog,
    pub(crate) switchboard: Arc<Switchboard>,
    /// Who watches the host; nobody on virtual time.
    pub(crate) witness: Option<Witness>,
    pub(crate) lines: Arc<LineLedger>,
}

pub(crate) struct Wires {
    pub(super) clock: Clock,
    pub(crate) epoll: Epoll,
    pub(crate) kick: Arc<Kick>,
    pub(super) capture: Capture,
    pub(super) log: RunLog,
    pub(super) switchboard: Arc<Switchboard>,
    witness: Option<Witness>,
    /// The last origin that was entered for a name, and its port and resolution.
    origins: BTreeMap<String, (String, Duration, Source)>,
    /// What the drivers of real ports count.
    pub(super) lines: Arc<LineLedger>,
    name: String,
    pub(super) kinds: BTreeMap<String, LinkKind>,
    pub(super) gates: BTreeMap<String, Gate>,
    /// Connections to be begun when their link goes on.
    pub(super) wishes: Vec<Wish>,
    /// Connections that were broken off while their link stalled: the other side learns of it when it goes on.
    pub(super) limbo: Vec<(String, Box<dyn Port>)>,
    /// Connections that a layer refused: the other side gets to read the alert before they are closed.
    pub(super) lingering: Vec<(Time, Box<dyn Port>)>,
    /// The TLS of those that connect, made once, so that sessions can be resumed.
    pub(super) tls: Vec<(TlsSettings, Arc<ClientSide>)>,
    links: BTreeMap<String, LinkId>,
    /// Where the cipher text of a name is captured.
    pub(super) cipher_links: BTreeMap<String, LinkId>,
    pub(super) channels: BTreeMap<u32, Channel>,
    /// Wires in memory, each with the real one that it is joined to.
    pub(super) joined: Vec<(Conn, Conn)>,
    /// What is sent now was asked for by the owner.
    pub(super) commanded: bool,
    pub(super) attempts: BTreeMap<u32, Attempt>,
    pub(super) listeners: Vec<Listening>,
    pub(super) memory_listeners: Vec<ListeningInMemory>,
    next_conn: u32,
    /// Bytes of the actions of this pass.
    pub(super) out: Vec<u8>,
    pub(super) dirty: Vec<Conn>,
    pub(super) news: VecDeque<News>,
    pub(super) buffer: Box<[u8]>,
    pub(super) stamps: Vec<Stamp>,
    pub(super) lost: Vec<LostPort>,
    sequence: u64,
    pub(super) watch: Watch,
    pub(super) sends: VecDeque<Sent>,
    /// How much that was timed, or waited, has been done.
    pub(super) timed_done: u64,
    /// What became of timed actions; told once what was sent has left, as far as others on the way know.
    pub(super) fates: VecDeque<(Conn, Fate)>,
    /// The next pass looks at the connections epoll does not tell of.
    pub(super) looked_at: bool,
    /// How many connections are in memory.
    pub(super) in_memory: usize,
    /// A connection may have something due (timed output, a close, a break).
    pub(super) clocked: bool,
    /// What is due by this instant, a moment ahead, is waited for where it is sent.
    pub(super) woken_for: Time,
}

impl Wires {
    pub(crate) fn new(name: &str, around: Surroundings) -> std::io::Result<Wires> {
        let Surroundings { clock, capture, log, switchboard, witness, lines } = around;
        let epoll = Epoll::new()?;
        let kick = Arc::new(Kick::new()?);
        epoll.add(kick.fd(), super::sys::IN, KICK)?;
        Ok(Wires {
            clock,
            epoll,
            kick,
            capture,
            log,
            switchboard,
            witness,
            origins: BTreeMap::new(),
            lines,
            name: name.to_owned(),
            kinds: BTreeMap::new(),
            gates: BTreeMap::new(),
            wishes: Vec::new(),
            limbo: Vec::new(),
            lingering: Vec::new(),
            tls: Vec::new(),
            links: BTreeMap::new(),
            cipher_links: BTreeMap::new(),
            channels: BTreeMap::new(),
            joined: Vec::new(),
            commanded: false,
            attempts: BTreeMap::new(),
            listeners: Vec::new(),
            memory_listeners: Vec::new(),
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
            timed_done: 0,
            fates: VecDeque::new(),
            looked_at: false,
            in_memory: 0,
            clocked: false,
            woken_for: Time::ZERO,
        })
    }

    /// Says what the links of a name are.
    pub(crate) fn describe(&mut self, via: &str, kind: LinkKind) {
        self.kinds.insert(via.to_owned(), kind);
    }

    pub(crate) fn listen(
        &mut self,
        via: &str,
        listener: Listener,
        tls: Option<Arc<ServerSide>>,
    ) -> std::io::Result<()> {
        self.epoll.add(listener.fd(), super::sys::IN, Wires::listener_token(self.listeners.len()))?;
        self.listeners.push(Listening { listener, via: via.to_owned(), tls, line: None, watched: true });
        Ok(())
    }

    /// Listens for connections that carry a serial line.
    pub(crate) fn listen_for_lines(
        &mut self,
        via: &str,
        listener: Listener,
        side: Side,
        line: LineSettings,
    ) -> std::io::Result<()> {
        self.listen(via, listener, None)?;
        if let Some(listening) = self.listeners.last_mut() {
            listening.line = Some((side, line));
        }
        Ok(())
    }

    /// Listens in the memory of the rig.
    pub(crate) fn listen_in_memory(
        &mut self,
        via: &str,
        name: &str,
        tls: Option<Arc<ServerSide>>,
    ) -> Result<(), EngineError> {
        let listener = self.switchboard.listen(name, Arc::clone(&self.kick))?;
        self.memory_listeners.push(ListeningInMemory { listener, via: via.to_owned(), tls });
        Ok(())
    }

    /// Adds an open port; the endpoint hears of it in the next pass.
    pub(crate) fn attach(&mut self, mut port: Box<dyn Port>, peer: Peer, bound: bool) -> std::io::Result<Conn> {
        let conn = self.new_conn();
        let now = self.clock.now();
        port.attach(Arc::clone(&self.kick));
        if self.kinds.get(&peer.via).is_some_and(|kind| kind.protocol.is_some_and(|protocol| protocol.unasked)) {
            port.count_segments();
        }
        let link = self.link(&peer.via);
        let mut channel = Channel::new(port, peer, link, bound, now);
        channel.source = self.source(&channel);
        channel.interest = channel.wanted();
        let opening = channel.port.is_opening();
        if opening {
            channel.opening_limit = Some(now + CONNECT_LIMIT);
            self.clocked = true;
        }
        channel.unread = channel.port.edge() || opening || channel.port.holds_input();
        self.looked_at |= channel.unread || channel.port.fd().is_none();
        match channel.port.fd() {
            Some(fd) => self.epoll.add(fd, channel.interest, u64::from(conn.0))?,
            None => self.in_memory += 1,
        }
        self.lost.retain(|lost| lost.via != channel.peer.via);
        let gate = self.gate_of(&channel.peer.via);
        self.channels.insert(conn.0, channel);
        if !opening {
            self.news.push_back(News::Opened(conn));
        }
        if gate != Gate::Open {
            self.gate_channel(now, conn, gate);
        }
        Ok(conn)
    }

    /// The origin of what is seen on a channel; on virtual time the clock.
    pub(super) fn source(&mut self, channel: &Channel) -> Source {
        if self.clock.is_virtual() {
            return self.clock.source();
        }
        let (peer, resolution) = (&channel.peer, channel.port.resolution());
        let port = if peer.wire { peer.address.clone() } else { self.full_name(&peer.via) };
        match self.origins.get(&peer.via) {
            Some((known, its, source)) if *known == port && *its == resolution => *source,
            _ => {
                let note = channel.port.resolution_note();
                if !note.is_empty() {
                    let nanos = i64::try_from(resolution.as_nanos()).unwrap_or(i64::MAX);
                    let record = Record::new("port.resolution").at(Stamp::exact(self.clock.now()));
                    let record = record.with("port", port.clone()).with("resolution_ns", nanos);
                    self.log.write(&record.with("why", note.clone()));
                }
                let source = origin::enter(port.clone(), resolution, note, self.witness.clone());
                self.origins.insert(peer.via.clone(), (port, resolution, source));
                source
            }
        }
    }

    /// So long may bytes have waited in the machinery of a port before a look could find them; zero on virtual time.
    pub(crate) fn resolution(&self) -> Duration {
        let held = self.channels.values().map(|channel| channel.port.resolution());
        if self.clock.is_virtual() { Duration::ZERO } else { held.max().unwrap_or_default() }
    }

    pub(super) fn node_name(&self) -> &str {
        &self.name
    }

    pub(super) fn listener_token(index: usize) -> u64 {
        LISTENER | index as u64
    }

    pub(super) fn new_conn(&mut self) -> Conn {
        let conn = Conn(self.next_conn);
        self.next_conn = self.next_conn.wrapping_add(1);
        conn
    }

    /// The number the next connection gets.
    pub(super) fn next_conn(&self) -> Conn {
        Conn(self.next_conn)
    }

    /// The name of a port within the rig.
    pub(super) fn full_name(&self, via: &str) -> String {
        if via.is_empty() { self.name.clone() } else { format!("{}/{via}", self.name) }
    }

    fn link(&mut self, via: &str) -> LinkId {
        if let Some(link) = self.links.get(via) {
            return *link;
        }
        let plain = LinkKind { protocol: None, we_are: Sender::Client, description: String::new(), silence: None };
        let kind = self.kinds.get(via).cloned().unwrap_or(plain);
        let name = self.full_name(via);
        let link = match kind.silence {
            Some(silence) => self.capture.wire(&name, kind.protocol, kind.we_are, kind.description, silence),
            None => self.capture.link(&name, kind.protocol, kind.we_are, kind.description),
        };
        self.links.insert(via.to_owned(), link);
        link
    }

    // ---- what is ready -------------------------------------------------------------------------------------------

    pub(super) fn is_listener(token: u64) -> bool {
        token != KICK && token & LISTENER != 0
    }

    // ---- what the endpoint wants ---------------------------------------------------------------------------------

    /// Carries out one action; bytes leave at the end of the pass.
    pub(super) fn apply(&mut self, now: Time, action: Action) {
        match action {
            Action::Send { conn, range, not_before, gap_before } => {
                self.send(now, conn, range, (not_before, gap_before), None);
            }
            Action::Forward { conn, range, not_before, came } => self.send(now, conn, range, (not_before, None), came),
            Action::Join(one, other) => self.join_wires(one, other),
            Action::SetLine(conn, command) => self.set_line(now, conn, &command),
            Action::Timed { conn, what, not_before, gap_before, not_after } => {
                self.send_timed(now, conn, what, Timing { not_before, gap_before, not_after });
            }
            Action::Recall(conn) => self.recall(conn),
            Action::Close(conn, how) => self.close(now, conn, how),
            Action::Connect(target) => self.connect(now, &target),
        }
    }

    /// Only a wire in memory can tell later what it was given now: two of them are two wires.
    fn join_wires(&mut self, one: Conn, other: Conn) {
        for (conn, partner) in [(one, other), (other, one)] {
            if let Some(channel) = self.channels.get_mut(&conn.0) {
                channel.partner = Some(partner);
            }
        }
        let in_memory = |conn: Conn| self.channels.get(&conn.0).map(|channel| channel.port.fd().is_none());
        let (memory, real) = match (in_memory(one), in_memory(other)) {
            (Some(true), Some(false)) => (one, other),
            (Some(false), Some(true)) => (other, one),
            _ => return,
        };
        if let Some(channel) = self.channels.get_mut(&memory.0) {
            channel.port.pass_on();
            self.joined.push((memory, real));
        }
    }

    fn send(
        &mut self,
        now: Time,
        conn: Conn,
        range: std::ops::Range<usize>,
        timing: (Option<Time>, Option<Duration>),
        came: Option<Time>,
    ) {
        let sequence = self.next_sequence();
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.closing.is_some() || channel.finished || range.end > self.out.len() || range.start > range.end {
            return;
        }
        if matches!(self.watch, Watch::Armed) {
            self.watch = Watch::On(
                sequence,
                conn,
                Sent { scheduled: timing.0.unwrap_or(now).max(now), issued: None, returned: None, run_delay: None },
            );
        }
        if self.commanded {
            channel.output.commanded += range.len();
        }
        let (not_before, gap_before) = timing;
        let segment = |out: &[u8]| Segment {
            not_before,
            gap_before,
            came,
            ..Segment::new(out[range.clone()].to_vec(), now, sequence)
        };
        match timing {
            // Each send is a datagram of its own.
            (None, None) if channel.port.is_datagram() => {
                let segment = segment(&self.out);
                channel.output.push_segment(&self.out, now, segment);
            }
            (None, None) => channel.output.push(&self.out, range, now, sequence, came),
            _ => {
                let segment = segment(&self.out);
                self.clocked = true;
                channel.output.push_segment(&self.out, now, segment);
            }
        }
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
    }

    /// A number for something that is handed out.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn set_line(&mut self, now: Time, conn: Conn, command: &LineCommand) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if let Err(error) = channel.command(now, command) {
            let what = format!("{command:?}: {error}");
            let record = Record::new("line.refused").at(Stamp::exact(now)).conn(conn).with("what", what);
            return self.log.write(&record.with("node", self.name.as_str()));
        }
        self.clocked |= channel.is_clocked();
    }

    pub(super) fn close(&mut self, now: Time, conn: Conn, how: How) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        match how {
            How::Rst if channel.stalled => self.send_to_limbo(conn),
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

    /// The endpoint breaks off a connection whose link stalls: the other side hears nothing of it yet.
    fn send_to_limbo(&mut self, conn: Conn) {
        if let Some(channel) = self.channels.remove(&conn.0) {
            if channel.port.fd().is_none() {
                self.in_memory -= 1;
            }
            self.limbo.push((channel.peer.via, channel.port));
            self.news.push_back(News::Closed(conn, Why::Local));
        }
    }

    // ---- ends ----------------------------------------------------------------------------------------------------

    /// The other side will send nothing more.
    pub(super) fn finished(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if let Some(reason) = channel.broken_off.take() {
            return self.lose(conn, Why::Reset, &reason);
        }
        channel.inbound = Inbound::Ended;
        self.news.push_back(News::Closed(conn, Why::Finished));
        if channel.finished {
            self.lose(conn, Why::Local, "both sides ended it");
        } else {
            self.watch_readiness(conn);
        }
    }

    /// The next pass looks at ports whose changes are no events (a pty that was closed and opened again, modem lines).
    pub(super) fn look_at_edges(&mut self) {
        let untold = |channel: &&mut Channel| channel.port.edge() || channel.port.watches_line();
        for channel in self.channels.values_mut().filter(untold) {
            channel.unread = true;
            self.looked_at = true;
        }
    }

    /// Connections whose bytes epoll does not tell of.
    pub(super) fn unwatched(&self) -> Vec<Conn> {
        let unwatched = self
            .channels
            .iter()
            .filter(|(_, channel)| !channel.stalled && (channel.unread || channel.port.fd().is_none()));
        unwatched.map(|(number, _)| Conn(*number)).collect()
    }

    /// A connection ended by the other side or by accident.
    pub(super) fn lose(&mut self, conn: Conn, why: Why, reason: &str) {
        let Some(channel) = self.channels.get(&conn.0) else { return };
        if channel.bound {
            let address = &channel.peer.address;
            let scheme = match (channel.peer.wire, channel.port.is_datagram()) {
                _ if address.contains("://") => "",
                (true, _) => "serial://",
                (false, true) => "udp://",
                (false, false) if address.starts_with('/') => "unix://",
                (false, false) => "tcp://",
            };
            let lost = LostPort {
                via: channel.peer.via.clone(),
                url: format!("{scheme}{address}"),
                reason: reason.to_owned(),
                at: self.clock.now(),
            };
            let record = Record::new("port.lost").at(Stamp::exact(lost.at)).conn(conn).with("node", self.name.as_str());
            self.log.write(&record.with("url", lost.url.as_str()).with("reason", reason));
            self.lost.push(lost);
        }
        self.drop_channel(conn, why);
    }

    pub(super) fn drop_channel(&mut self, conn: Conn, why: Why) {
        if let Some(channel) = self.channels.remove(&conn.0) {
            self.part(conn, channel.partner);
            self.joined.retain(|(memory, _)| *memory != conn);
            match channel.port.fd() {
                Some(fd) => self.epoll.remove(fd),
                None => self.in_memory -= 1,
            }
            self.news.extend(Wires::last_word(conn, &channel, why));
        }
    }

    /// What comes in at the other end of a bridge leaves nowhere any more, and is waited for no longer.
    fn part(&mut self, conn: Conn, partner: Option<Conn>) {
        let Some(partner) = partner else { return };
        if let Some(channel) = self.channels.get_mut(&partner.0).filter(|channel| channel.partner == Some(conn)) {
            channel.partner = None;
            channel.regulate();
            self.looked_at = true;
            self.watch_readiness(partner);
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
        self.in_memory = 0;
        self.joined.clear();
        self.attempts.clear();
        self.listeners.clear();
        self.memory_listeners.clear();
        self.wishes.clear();
        for (_, mut port) in std::mem::take(&mut self.limbo) {
            port.reset();
        }
        self.lingering.clear();
        self.news.clear();
    }

    // ---- what drivers and callers ask ----------------------------------------------------------------------------

    /// Watches for the first send from here on.
    pub(crate) fn watch_sends(&mut self) {
        self.watch = Watch::Armed;
    }

    /// The first send since [`Wires::watch_sends`]. It waits as long as others on the way have not passed it on.
    pub(crate) fn watched_send(&self) -> Option<Sent> {
        match self.watch {
            Watch::On(_, conn, sent) => {
                let left = self.channels.get(&conn.0).map_or(Time::ZERO, |channel| channel.port.left_by());
                let returned = sent.returned.filter(|_| left < Time::FAR).map(|returned| returned.max(left));
                Some(Sent { returned, ..sent })
            }
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

    /// What the drivers of real ports count.
    pub(crate) fn lines(&self) -> Arc<LineLedger> {
        Arc::clone(&self.lines)
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
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
        let listens = !self.listeners.is_empty() || !self.memory_listeners.is_empty();
        let begins = !self.attempts.is_empty() || !self.wishes.is_empty();
        self.channels.is_empty() && !begins && !listens && self.news.is_empty()
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
