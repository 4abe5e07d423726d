//! A connection with TLS on it, as a port.
//!
//! Rules of this file:
//! - Records go to rustls one by one: bytes of a record arrived when its last byte did, whatever came in the same read.
//! - What came is captured once rustls has seen it, and before anything is sent about it: the keys stand first then.
//! - Bytes that the port below did not take wait here, and nothing more is taken meanwhile; they leave with
//!   [`Port::flush`]. Until then nothing has left, as [`Port::left_by`] says.
//! - After a fatal alert, either way, nothing is read or written any more but what is thrown away; its sessions are
//!   forgotten.

use super::record::Cutter;
use super::session::{Own, Sessions};
use super::side::{ClientSide, Problem, Seen, ServerSide};
use super::words::Refusal;
use crate::clock::Clock;
use crate::drive::sys::Kick;
use crate::port::{Arrival, Look, Met, Port, Read};
use crate::trace::{Capture, LinkId};
use fieldrig_proto::certificate::Certificate;
use fieldrig_proto::dissect::Direction;
use fieldrig_proto::endpoint::{Conn, Why};
use fieldrig_proto::time::{Duration, Stamp, Time};
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;

/// How much cipher text one look at the port below takes: one full record and a header fit.
const CIPHER: usize = 18 * 1024;
/// How much plain text is taken at once.
const PLAIN: usize = 64 * 1024;
/// How often one read looks at the port below. Who fills all of that without saying anything has no good intentions, and
/// others wait for their turn.
const LOOKS: usize = 256;

/// Where cipher text is captured.
pub(crate) struct Tap {
    pub(crate) capture: Capture,
    pub(crate) link: LinkId,
    pub(crate) conn: Conn,
    pub(crate) clock: Clock,
}

impl Tap {
    fn frame(&self, direction: Direction, stamp: Stamp, bytes: &[u8]) {
        self.capture.frame(self.link, self.conn, direction, stamp, bytes);
    }
}

/// A connection with TLS on it.
pub(crate) struct TlsPort {
    below: Box<dyn Port>,
    session: Connection,
    seen: Arc<Seen>,
    /// What is forgotten when the connection fails; without resumption there is nothing.
    sessions: Option<Own>,
    tap: Option<Tap>,
    opening: bool,
    failed: bool,
    refusal: Option<Refusal>,
    /// Cipher text that was read, and how much of it rustls has not seen.
    cipher: Box<[u8]>,
    unseen: Range<usize>,
    /// The stamp of that cipher text in the capture.
    came: Stamp,
    records: Cutter,
    /// When the cipher text arrived.
    arrival: Arrival,
    stamps: Vec<Stamp>,
    since: Time,
    /// When the last record was whole.
    completed: Arrival,
    /// Cipher text that the port below has not taken.
    outgoing: Vec<u8>,
    written: usize,
}

impl TlsPort {
    /// A connection that we made to `address`.
    ///
    /// # Errors
    /// The address holds no name that a certificate could be for.
    pub(crate) fn client(
        below: Box<dyn Port>,
        side: &ClientSide,
        address: &str,
        tap: Option<Tap>,
    ) -> Result<TlsPort, Problem> {
        let name = side.name_for(address)?;
        let sessions = side.sessions.as_ref().map(|store| Own::With(name.clone(), Arc::clone(store)));
        let session = ClientConnection::new(Arc::clone(&side.config), name);
        let session = session.map_err(|error| (error.to_string(), None))?;
        Ok(TlsPort::new(below, session.into(), &side.seen, sessions, tap))
    }

    /// A connection that somebody made to us.
    ///
    /// # Errors
    /// What rustls does not like about the settings.
    pub(crate) fn server(below: Box<dyn Port>, side: &ServerSide, tap: Option<Tap>) -> Result<TlsPort, Problem> {
        let sessions = side.sessions.as_ref().map(Sessions::new);
        let mut config = side.config.clone();
        if let Some(sessions) = &sessions {
            config.session_storage = Arc::clone(sessions) as _;
        }
        let session = ServerConnection::new(Arc::new(config)).map_err(|error| (error.to_string(), None))?;
        Ok(TlsPort::new(below, session.into(), &side.seen, sessions.map(Own::Served), tap))
    }

    fn new(
        below: Box<dyn Port>,
        mut session: Connection,
        seen: &Arc<Seen>,
        sessions: Option<Own>,
        tap: Option<Tap>,
    ) -> TlsPort {
        // What it hands out is taken at once, so that it never refuses any.
        session.set_buffer_limit(None);
        TlsPort {
            below,
            session,
            seen: Arc::clone(seen),
            sessions,
            tap,
            opening: true,
            failed: false,
            refusal: None,
            cipher: vec![0; CIPHER].into_boxed_slice(),
            unseen: 0..0,
            came: Stamp::default(),
            records: Cutter::default(),
            arrival: Arrival::Unstamped,
            stamps: Vec::new(),
            since: Time::ZERO,
            completed: Arrival::Unstamped,
            outgoing: Vec::new(),
            written: 0,
        }
    }

    /// Takes what rustls wants to send.
    fn collect(&mut self) {
        while self.session.wants_write() {
            if self.session.write_tls(&mut self.outgoing).is_err() {
                // A vector takes everything.
                return;
            }
        }
    }

    /// Writes what waits, as far as the port below takes it.
    fn push(&mut self, now: Time) -> io::Result<()> {
        self.collect();
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            let issued = self.tap.as_ref().map(|tap| tap.clock.now());
            let count = match self.below.write(now, rest) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let (Some(tap), Some(issued)) = (&self.tap, issued) {
                tap.frame(Direction::Out, Stamp::between(issued, tap.clock.now()), &rest[..count]);
            }
            self.written += count;
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    /// Gives rustls the next record, or what there is of it.
    fn feed(&mut self, now: Time) {
        let (taken, whole) = self.records.next(&self.cipher[self.unseen.clone()]);
        let part = self.unseen.start..self.unseen.start + taken;
        self.unseen.start = part.end;
        if whole {
            self.completed = self.arrival_of(part.end);
        }
        let mut bytes = &self.cipher[part.clone()];
        while !bytes.is_empty() {
            // An error here means that plain text waits, which is taken after each record; nothing is lost by going on.
            if !matches!(self.session.read_tls(&mut bytes), Ok(1..)) {
                break;
            }
            if let Err(error) = self.session.process_new_packets() {
                let seen = self.seen.take();
                self.refusal = Some(Refusal::of(&error, seen.as_ref()));
                if let Some(sessions) = &self.sessions {
                    sessions.forget();
                }
                break;
            }
        }
        self.capture(part);
        // What cannot be written is noticed when the port below is read.
        let _ = self.push(now);
    }

    /// Keeps cipher text that came.
    fn capture(&self, part: Range<usize>) {
        if let Some(tap) = self.tap.as_ref().filter(|_| !part.is_empty()) {
            tap.frame(Direction::In, self.came, &self.cipher[part]);
        }
    }

    /// Nobody will look at the rest.
    fn throw_away(&mut self) {
        let rest = std::mem::take(&mut self.unseen);
        self.capture(rest);
    }

    /// When the first `end` bytes of the cipher text had arrived.
    fn arrival_of(&self, end: usize) -> Arrival {
        match self.arrival {
            // The kernel knows when the last byte came; of the others only that they came before it.
            Arrival::Last(stamp) if end < self.cipher_end() => {
                Arrival::Together(Stamp::between(self.since.min(stamp.earliest()), stamp.latest()))
            }
            Arrival::PerByte => self.stamps.get(end - 1).map_or(Arrival::Unstamped, |stamp| Arrival::Together(*stamp)),
            other => other,
        }
    }

    fn cipher_end(&self) -> usize {
        self.unseen.end
    }

    /// Looks at the port below; `None` if there is cipher text now.
    fn look_below(&mut self, look: &mut Look<'_>, wait: bool) -> Option<Read> {
        self.stamps.clear();
        let (clock, since) = (look.clock, look.since);
        let below = Look { clock, since, wait, buffer: &mut self.cipher, stamps: &mut self.stamps };
        match self.below.read(below) {
            Read::Bytes(count, arrival) => {
                self.unseen = 0..count;
                self.arrival = arrival;
                self.since = since;
                self.came = match arrival {
                    Arrival::Last(stamp) | Arrival::Together(stamp) => stamp,
                    Arrival::PerByte => self.stamps.last().copied().unwrap_or_default(),
                    Arrival::Unstamped => Stamp::between(since, clock.now()),
                };
                None
            }
            Read::Nothing => Some(Read::Nothing),
            end if self.opening => Some(Read::Refused(Refusal::new(match end {
                Read::Reset(reason) | Read::HungUp(reason) => {
                    format!("it broke off during the TLS handshake: {reason}")
                }
                _ => "the other side closed the connection during the TLS handshake, without an alert".to_owned(),
            }))),
            end => Some(end),
        }
    }

    /// Who the other side is, and in which way the connection is secured.
    fn met(&self) -> Met {
        let version = self.session.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
        let suite = self.session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let resumed = self.session.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = self.session.peer_certificates().and_then(<[_]>::first);
        Met {
            certificate: certificate.map(|der| Certificate::new(der)),
            version: version.replace("TLSv1_", "TLS 1."),
            suite: suite.unwrap_or_default().replace("TLS13_", "TLS_"),
            resumed,
        }
    }
}

impl Drop for TlsPort {
    fn drop(&mut self) {
        self.throw_away();
    }
}

impl Port for TlsPort {
    fn fd(&self) -> Option<RawFd> {
        self.below.fd()
    }

    fn read(&mut self, mut look: Look<'_>) -> Read {
        let now = look.clock.now();
        // What cannot be written is noticed when the port below is read.
        let _ = self.push(now);
        let mut wait = look.wait && !self.opening && !self.holds_output();
        for _ in 0..LOOKS {
            if self.failed {
                self.throw_away();
            } else if self.opening && !self.session.is_handshaking() {
                self.opening = false;
                return Read::Opened(Box::new(self.met()));
            } else {
                match self.session.reader().read(look.buffer) {
                    Ok(0) => return Read::Finished,
                    Ok(count) => return Read::Bytes(count, self.completed),
                    // There is none yet; the end of the port below is never told to rustls.
                    Err(_) => {}
                }
                if let Some(refusal) = self.refusal.take() {
                    self.failed = true;
                    return Read::Refused(refusal);
                }
            }
            if self.unseen.is_empty()
                && let Some(end) = self.look_below(&mut look, std::mem::take(&mut wait))
            {
                return end;
            }
            if !self.failed {
                self.feed(look.clock.now());
            }
        }
        if std::mem::replace(&mut self.failed, true) {
            return Read::Nothing;
        }
        Read::Refused(Refusal::new("we refused it: it sends and sends, and says nothing"))
    }

    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize> {
        self.push(now)?;
        if self.failed || self.opening || self.holds_output() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.session.writer().write(&bytes[..bytes.len().min(PLAIN)])?;
        self.push(now).map(|()| count)
    }

    fn flush(&mut self, now: Time) -> io::Result<()> {
        self.push(now)
    }

    fn is_opening(&self) -> bool {
        self.opening
    }

    fn holds_input(&self) -> bool {
        !self.unseen.is_empty() || self.refusal.is_some()
    }

    fn holds_output(&self) -> bool {
        self.written < self.outgoing.len() || self.session.wants_write()
    }

    fn left_by(&self) -> Time {
        if self.holds_output() { Time::FAR } else { self.below.left_by() }
    }

    fn finish(&mut self) {
        if !self.failed {
            self.session.send_close_notify();
        }
        // Who does not take it will not miss it.
        let _ = self.push(Time::ZERO);
        self.below.finish();
    }

    fn reset(&mut self) {
        self.below.reset();
    }

    fn resolution(&self) -> Duration {
        self.below.resolution()
    }

    fn resolution_note(&self) -> String {
        self.below.resolution_note()
    }

    fn next_arrival(&self) -> Option<Time> {
        self.below.next_arrival()
    }

    fn next_room(&self) -> Option<Time> {
        self.below.next_room()
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        self.below.wire_time(bytes)
    }

    fn edge(&self) -> bool {
        self.below.edge()
    }

    fn can_wait(&self) -> bool {
        self.below.can_wait() && !self.opening && !self.holds_output() && !self.holds_input()
    }

    fn count_segments(&mut self) {
        self.below.count_segments();
    }

    fn attach(&mut self, kick: Arc<Kick>) {
        self.below.attach(kick);
    }

    fn close_with(&mut self, why: Why) {
        self.below.close_with(why);
    }
}
