//! The seam: every codec user (client, device, broker, proxy) is an [`Endpoint`].
//!
//! The calling contract, kept by every driver and relied on by every endpoint:
//! 1. Whoever drives passes `now`; it never goes back. An endpoint reads no clock.
//! 2. After every `handle`, `handle_timeout` or command, the driver calls `poll_action` until it gives `None`,
//!    then `poll_event` until it gives `None`, then `poll_timeout` once.
//! 3. `poll_action(out)` appends the bytes of a `Send` to `out` and names them by range. The driver clears `out`
//!    between passes, never within one, so ranges of one pass stay valid together.
//! 4. `poll_timeout` says when `handle_timeout` is wanted; after `handle_timeout(now)` it must be later than `now`
//!    or `None`, else the driver reports `EndpointStuck`.
//! 5. A `Conn` is unknown before its `Opened` and dead after its last `Closed`. `Closed(conn, Why::Finished)` means the
//!    other side will send nothing more; we still may, until we `Close`. Every other reason ends both directions.
//!    `Closed(conn, Why::Local)` is the last word after our `Fin` or `Rst`, and after both sides have ended theirs.
//! 6. Input for an unknown connection is ignored; no input makes an endpoint panic.
//! 7. Commands (`client.read(..)`) are inherent methods that queue actions; they enter only through the driver.
//! 8. Flow control is counting, so that both sides know the same without asking: driver and endpoint count the bytes
//!    handed out for a connection since its `Opened` or its last `Writable`. Once they reach [`HIGH_WATER`], the driver
//!    gives `Writable(conn)` as soon as all of them have left, and both count from zero again. An endpoint with many
//!    peers (a broker) hands out no more than that to a slow one and keeps the rest in its own bounded queues; others
//!    may ignore it: the driver stops reading a connection while more than [`HIGH_WATER`] bytes of its output wait.
//! 9. Every [`Action::Timed`] is answered by one [`Input::Timed`], in the order in which they were handed out, unless the
//!    connection is closed or its end comes first. Nothing else is answered, so that whoever asks for no instants pays
//!    nothing for them.

use crate::certificate::Certificate;
use crate::line::{LineCommand, LineEvent};
use crate::record::Record;
use crate::time::{Duration, Stamp, Time};
use std::ops::Range;

/// Bytes handed out for one connection after which the driver owes a `Writable` (rule 8 of the calling contract).
pub const HIGH_WATER: usize = 256 * 1024;

/// A connection of an endpoint, numbered by its driver; never used again within the life of the endpoint.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Conn(pub u32);

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    /// The name under which the port was bound or [`Target::via`]: for a device, the name of a face.
    pub via: String,
    /// Address for people: `127.0.0.1:40312`, a device node, `memory`.
    pub address: String,
    /// A wire (serial line, pty) has no beginning and no end; a connection (TCP) has both.
    pub wire: bool,
    /// The certificate by which the other side proved who it is, if the connection has a layer that asks for one (TLS).
    pub certificate: Option<Certificate>,
}

/// When the bytes of one input arrived.
#[derive(Copy, Clone, Debug)]
pub enum Stamps<'a> {
    /// One interval for all bytes.
    One(Stamp),
    /// Several segments in one read: only the instant of the last byte is known well.
    Chunk {
        /// All bytes arrived within this.
        whole: Stamp,
        /// The last byte arrived within this.
        last: Stamp,
    },
    /// One stamp for each byte.
    PerByte(&'a [Stamp]),
}

impl Stamps<'_> {
    /// Not before this any of `length` bytes arrived; `None` if each instant is known exactly.
    #[must_use]
    pub fn unsure_since(&self, length: usize) -> Option<Time> {
        let unsure = |stamp: &Stamp| !stamp.uncertainty().is_zero();
        let unsure: Option<Stamp> = match self {
            Stamps::One(stamp) => Some(*stamp).filter(unsure),
            Stamps::Chunk { whole, .. } => Some(*whole).filter(unsure),
            Stamps::PerByte(all) => {
                let all = &all[..all.len().min(length)];
                return all.iter().find(|stamp| unsure(stamp)).and(all.iter().map(|stamp| stamp.earliest()).min());
            }
        };
        unsure.map(Stamp::earliest)
    }

    /// When byte `index` of `length` bytes arrived.
    #[must_use]
    pub fn at(&self, index: usize, length: usize) -> Stamp {
        match self {
            Stamps::One(stamp) => *stamp,
            Stamps::Chunk { last, .. } if index + 1 >= length => *last,
            Stamps::Chunk { whole, .. } => *whole,
            Stamps::PerByte(stamps) => stamps.get(index).or(stamps.last()).copied().unwrap_or_default(),
        }
    }
}

/// Why a connection ended, or could not begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// The other side will send nothing more (TCP FIN); our direction is still open.
    Finished,
    /// The other side broke it off (TCP RST).
    Reset,
    /// A serial port or pty went away.
    HungUp,
    /// We closed it.
    Local,
    /// A `Connect` did not succeed.
    Refused {
        /// [`Target::via`] of the attempt, so that a device knows which face it was.
        via: String,
        /// Why, for people.
        reason: String,
        /// Who was met there presented a certificate that is not believed.
        untrusted: bool,
    },
}

/// What comes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection exists: accepted, connected, or a wire was attached.
    Opened(Conn, &'a Peer),
    /// Bytes of a stream arrived.
    Bytes(Conn, &'a [u8], Stamps<'a>),
    /// A datagram arrived, whole; it may be empty. Whoever sends datagrams to us for the first time is `Opened` before; what
    /// we send on that connection goes back there, one datagram for each [`Action::Send`].
    Datagram(Conn, &'a Peer, &'a [u8], Stamps<'a>),
    /// Something happened on the line besides bytes, at this instant. What concerns a byte (parity, framing) comes after it.
    Line(Conn, LineEvent, Stamp),
    /// A connection ended.
    Closed(Conn, Why),
    /// At least [`HIGH_WATER`] bytes were handed out since `Opened` or the last `Writable`, and all of them have left.
    Writable(Conn),
    /// What became of an [`Action::Timed`].
    Timed(Conn, Fate),
}

/// When something timed was done, on the clock of the driver.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Departure {
    /// When it was due: the instant asked for, also if that was over already; or when the line had been silent for as
    /// long as was asked.
    pub scheduled: Time,
    /// Right before the port was given it.
    pub issued: Time,
    /// Right after the port had taken all of it.
    pub returned: Time,
    /// When its last bit has left, as far as the port knows the speed of the line; else `returned`.
    pub left: Time,
    /// For how much of the time from `scheduled` to `issued` its thread waited for a CPU; `None` if the host does not tell.
    /// It explains, and decides nothing.
    pub run_delay: Option<Duration>,
}

/// What became of an [`Action::Timed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It was done.
    Done(Departure),
    /// Its latest instant was over: nothing was done.
    TooLate {
        /// When it was due.
        scheduled: Time,
        /// When it could have been done.
        now: Time,
    },
    /// [`Action::Recall`] took it back: nothing was done.
    Recalled,
    /// The port cannot do this to its line: nothing was done.
    Refused(String),
}

/// How to end a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// Send what is queued, then close both directions.
    Fin,
    /// Break it off at once (TCP RST).
    Rst,
    /// Send what is queued, then say that nothing more follows; go on reading.
    HalfOpen,
    /// Stop reading and writing but leave it open.
    Stall,
}

/// Where to connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Comes back as [`Peer::via`].
    pub via: String,
    /// URL of the port, e.g. `tcp://127.0.0.1:1883`.
    pub url: String,
}

/// What goes out.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Send `out[range]`.
    Send {
        /// On which connection.
        conn: Conn,
        /// Which bytes of the `out` given to `poll_action`.
        range: Range<usize>,
        /// Not earlier than this.
        not_before: Option<Time>,
        /// Not before the line was silent for this long.
        gap_before: Option<Duration>,
    },
    /// Send `out[range]`, which came in on another connection of this endpoint: a port that keeps stamps keeps those of
    /// the bytes, as far as they are less exact than its own.
    Forward {
        /// On which connection.
        conn: Conn,
        /// Which bytes of the `out` given to `poll_action`.
        range: Range<usize>,
        /// Not earlier than this.
        not_before: Option<Time>,
        /// They came not before this; `None` if it is known exactly when, so that they begin anew here.
        came: Option<Time>,
    },
    /// What comes in on one of the two wires leaves on the other: who hears it on the one learns when it left.
    Join(Conn, Conn),
    /// Do something to the line besides sending bytes.
    SetLine(Conn, LineCommand),
    /// Do something at an instant, and be told when that was: [`Input::Timed`].
    Timed {
        /// On which connection.
        conn: Conn,
        /// What to do.
        what: Timed,
        /// Not earlier than this.
        not_before: Time,
        /// Not before the line was silent for this long.
        gap_before: Option<Duration>,
        /// Not at all, once this is over.
        not_after: Option<Time>,
    },
    /// Take back what is timed on a connection and has not begun.
    Recall(Conn),
    /// End a connection.
    Close(Conn, How),
    /// Begin a connection; answered by `Opened`, or by `Closed(_, Why::Refused)` with a new connection number.
    Connect(Target),
}

/// What an [`Action::Timed`] does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Timed {
    /// Sends these bytes of the `out` given to `poll_action`.
    Send(Range<usize>),
    /// Does something to the line.
    Line(LineCommand),
}

impl Action {
    /// An untimed send.
    #[must_use]
    pub fn send(conn: Conn, range: Range<usize>) -> Action {
        Action::Send { conn, range, not_before: None, gap_before: None }
    }
}

/// A sans-I/O state machine. The calling contract stands at the top of this file.
pub trait Endpoint {
    /// What it reports.
    type Event: Into<Record>;
    /// Takes one input.
    fn handle(&mut self, now: Time, input: Input<'_>);
    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Time);
    /// When `handle_timeout` is wanted.
    fn poll_timeout(&self) -> Option<Time>;
    /// The next thing to do; bytes of a send are appended to `out`.
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action>;
    /// The next thing to report.
    fn poll_event(&mut self) -> Option<Self::Event>;
}

/// An endpoint whose event type is forgotten: what a driver that knows no protocol holds.
pub trait AnyEndpoint: Send {
    /// See [`Endpoint::handle`].
    fn handle(&mut self, now: Time, input: Input<'_>);
    /// See [`Endpoint::handle_timeout`].
    fn handle_timeout(&mut self, now: Time);
    /// See [`Endpoint::poll_timeout`].
    fn poll_timeout(&self) -> Option<Time>;
    /// See [`Endpoint::poll_action`].
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action>;
    /// The next event as a record.
    fn poll_record(&mut self) -> Option<Record>;
}

impl<E: Endpoint + Send> AnyEndpoint for E {
    fn handle(&mut self, now: Time, input: Input<'_>) {
        Endpoint::handle(self, now, input);
    }
    fn handle_timeout(&mut self, now: Time) {
        Endpoint::handle_timeout(self, now);
    }
    fn poll_timeout(&self) -> Option<Time> {
        Endpoint::poll_timeout(self)
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        Endpoint::poll_action(self, out)
    }
    fn poll_record(&mut self) -> Option<Record> {
        self.poll_event().map(Into::into)
    }
}

/// A boxed endpoint is an endpoint whose events are records.
impl Endpoint for Box<dyn AnyEndpoint> {
    type Event = Record;
    fn handle(&mut self, now: Time, input: Input<'_>) {
        (**self).handle(now, input);
    }
    fn handle_timeout(&mut self, now: Time) {
        (**self).handle_timeout(now);
    }
    fn poll_timeout(&self) -> Option<Time> {
        (**self).poll_timeout()
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        (**self).poll_action(out)
    }
    fn poll_event(&mut self) -> Option<Record> {
        (**self).poll_record()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_unsure_since_the_first_of_them_may_have_come() {
        let (early, late) = (Time::from_nanos(10), Time::from_nanos(20));
        let (exact, wide) = (Stamp::exact(late), Stamp::between(early, late));
        assert_eq!(Stamps::One(exact).unsure_since(3), None);
        assert_eq!(Stamps::One(wide).unsure_since(3), Some(early));
        assert_eq!(Stamps::Chunk { whole: wide, last: exact }.unsure_since(3), Some(early));
        assert_eq!(Stamps::PerByte(&[exact, exact]).unsure_since(2), None);
        assert_eq!(Stamps::PerByte(&[Stamp::exact(early), wide, exact]).unsure_since(3), Some(early));
        assert_eq!(Stamps::PerByte(&[]).unsure_since(0), None);
    }
}
