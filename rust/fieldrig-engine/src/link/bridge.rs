//! A bridge: an endpoint with two sides that forwards bytes both ways.
//!
//! ```text
//!   wires:        left port <----------> right port             serial, pty, tap of a wire
//!   connections:  left listener <-- c1 --> c1' --> right        each accepted connection gets one of its own
//! ```
//!
//! Rules of this file:
//! - Both sides are wires, or the left one listens and the right one is dialled.
//! - Bytes are forwarded as they come. A real line paces what it sends: the wire in memory that is bridged to one needs no
//!   speed of its own, and has none, so that what a device sends in one go leaves in one go.
//! - What is forwarded keeps its stamps: it is on the other side no more exactly than it came in ([`Action::Forward`]),
//!   and a wire in memory that is joined to a real one has what left there when it left there ([`Action::Join`]).
//! - The end of a connection is passed on: finished as finished, broken off as broken off. The right side that cannot be
//!   reached breaks the left connection off.
//! - A wire may be a connection, too (the socket of an emulator, a serial server): one at a time, and its end is only its
//!   own. What is sent while nobody is there is lost, as on a line.
//! - What happens on a wire besides bytes happens on the other one: a break, the settings of who opened it, and modem lines,
//!   crossed as in a null modem. What the other side cannot do is left out.
//! - Who sends waits for who does not read, if he can wait (sockets, ptys); on a line with a speed nobody can.
//! - Whoever connects to a mirror gets a copy of everything that is sent one way, and is never listened to.

use super::event::BridgeEvent;
use super::faults::{ByteFault, Disturbance, FaultError, Lane, Way};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Target, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use fieldrig_proto::time::{Duration, Time};
use std::collections::VecDeque;

/// So many bytes wait for the right side to be reached.
const PATIENCE: usize = 1 << 20;
/// How long a break is that is passed on: nobody tells how long it was, only that it was longer than a character.
const BREAK: Duration = Duration::from_millis(10);

/// Bytes to be forwarded.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// For how long they are held back.
    held: Duration,
    /// They came not before this, if it is not known exactly when.
    came: Option<Time>,
}

/// Two joined ends, as far as they are there.
#[derive(Debug, Default)]
struct Pair {
    /// Left, right.
    ends: [Option<Conn>; 2],
    /// What came before the right side was reached.
    early: Vec<Piece>,
    /// The left side finished before the right side was reached.
    finished_early: bool,
}

/// A bridge. Its ports are bound under the names of its sides.
#[derive(Debug)]
pub struct Bridge {
    sides: [String; 2],
    /// Where the right side is, if it is dialled for each connection.
    dial: Option<String>,
    mirrors: [Option<String>; 2],
    pairs: Vec<Pair>,
    /// Left ends whose right end is to be dialled; the first is being dialled.
    dialling: VecDeque<Conn>,
    watchers: [Vec<Conn>; 2],
    lanes: [Lane; 2],
    seed: u64,
    next_fault: u64,
    actions: VecDeque<(Vec<u8>, Action)>,
    events: VecDeque<BridgeEvent>,
}

impl Bridge {
    /// A bridge between two wires, bound as `left` and `right`. `seed` decides which bytes faults strike.
    #[must_use]
    pub fn wires(left: &str, right: &str, seed: u64) -> Bridge {
        Bridge {
            sides: [left.to_owned(), right.to_owned()],
            dial: None,
            mirrors: [None, None],
            pairs: vec![Pair::default()],
            dialling: VecDeque::new(),
            watchers: [Vec::new(), Vec::new()],
            lanes: [Lane::default(), Lane::default()],
            seed,
            next_fault: 1,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A bridge for connections: `left` is bound to a listener, `right` to nothing ([`crate::PortSpec::OnDemand`]); each
    /// connection that comes gets one of its own to `url`.
    #[must_use]
    pub fn connections(left: &str, right: &str, url: &str, seed: u64) -> Bridge {
        Bridge { dial: Some(url.to_owned()), pairs: Vec::new(), ..Bridge::wires(left, right, seed) }
    }

    /// The same with mirrors: listeners bound as `forth` and `back` give a copy of what is sent that way.
    #[must_use]
    pub fn mirrored(self, forth: &str, back: &str) -> Bridge {
        Bridge { mirrors: [Some(forth.to_owned()), Some(back.to_owned())], ..self }
    }

    /// Sets a fault in one direction, and gives its number.
    ///
    /// # Errors
    /// The fault makes no sense here.
    pub fn inject(&mut self, now: Time, way: Way, fault: ByteFault) -> Result<u64, FaultError> {
        if self.dial.is_some() && fault.what == Disturbance::Duplicate {
            return Err(FaultError::NoDoubles);
        }
        if fault.what.needs_line() {
            return Err(FaultError::NoLine(fault.what.name()));
        }
        fault.check()?;
        let id = self.next_fault;
        self.next_fault += 1;
        self.events.push_back(BridgeEvent::FaultSet { at: now, fault: id, way, what: fault.what });
        self.lanes[way.index()].add(id, fault, self.seed);
        Ok(id)
    }

    /// Clears a fault; how many bytes it struck. `None`: there is none of this number.
    pub fn clear(&mut self, now: Time, fault: u64) -> Option<u64> {
        let struck = self.lanes.iter_mut().find_map(|lane| lane.clear(fault))?;
        self.events.push_back(BridgeEvent::FaultCleared { at: now, fault, struck });
        Some(struck)
    }

    /// Clears all faults.
    pub fn clear_all(&mut self, now: Time) {
        let all: Vec<u64> = self.lanes.iter().flat_map(Lane::ids).collect();
        for fault in all {
            self.clear(now, fault);
        }
    }

    /// How many pairs of ends are joined now.
    #[must_use]
    pub fn joined(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.ends.iter().all(Option::is_some)).count()
    }

    // ---- ends ----------------------------------------------------------------------------------------------------

    fn opened(&mut self, now: Time, conn: Conn, peer: &Peer) {
        if let Some(way) = Way::BOTH.into_iter().find(|way| self.mirrors[way.index()].as_ref() == Some(&peer.via)) {
            return self.watchers[way.index()].push(conn);
        }
        let Some(side) = self.sides.iter().position(|side| *side == peer.via) else { return };
        match (&self.dial, side) {
            (None, _) if self.pairs[0].ends[side].is_some() => {
                let why = format!("{} is taken: {} has to wait", peer.via, peer.address);
                self.events.push_back(BridgeEvent::Refused { at: now, why });
                self.act(Action::Close(conn, How::Rst));
            }
            (None, _) => {
                self.pairs[0].ends[side] = Some(conn);
                if let [Some(left), Some(right)] = self.pairs[0].ends {
                    self.act(Action::Join(left, right));
                }
                self.announce(now, 0);
            }
            (Some(_), 0) => {
                self.pairs.push(Pair { ends: [Some(conn), None], ..Pair::default() });
                self.dialling.push_back(conn);
                if self.dialling.len() == 1 {
                    self.dial_next();
                }
            }
            (Some(_), _) => self.reached(now, conn),
        }
    }

    fn dial_next(&mut self) {
        if let (Some(url), Some(_)) = (&self.dial, self.dialling.front()) {
            let target = Target { via: self.sides[1].clone(), url: url.clone() };
            self.act(Action::Connect(target));
        }
    }

    /// The right side was reached for the connection that waits longest.
    fn reached(&mut self, now: Time, right: Conn) {
        let left = self.dialling.pop_front();
        self.dial_next();
        let index = self.pairs.iter().position(|pair| pair.ends[1].is_none() && pair.ends[0] == left);
        let Some(index) = index.filter(|_| left.is_some()) else {
            // Who wanted it is gone.
            return self.act(Action::Close(right, How::Rst));
        };
        self.pairs[index].ends[1] = Some(right);
        if let Some(left) = left {
            self.act(Action::Join(left, right));
        }
        self.announce(now, index);
        for piece in std::mem::take(&mut self.pairs[index].early) {
            self.forward(now, right, piece);
        }
        if self.pairs[index].finished_early {
            self.act(Action::Close(right, How::HalfOpen));
        }
    }

    fn announce(&mut self, at: Time, index: usize) {
        if let [Some(left), Some(right)] = self.pairs[index].ends {
            self.events.push_back(BridgeEvent::Joined { at, left, right });
        }
    }

    fn closed(&mut self, now: Time, conn: Conn, why: &Why) {
        if let Why::Refused { via, reason, .. } = why {
            if *via == self.sides[1] {
                self.unreachable(now, reason.clone());
            }
            return;
        }
        for watchers in &mut self.watchers {
            watchers.retain(|known| *known != conn);
        }
        let Some((index, side)) = self.find(conn) else { return };
        let other = self.pairs[index].ends[1 - side];
        if *why == Why::Finished && self.dial.is_none() {
            // A line has no end: who says that it sends nothing more has left it.
            self.act(Action::Close(conn, How::Fin));
        } else if *why == Why::Finished {
            return match other {
                Some(other) => self.act(Action::Close(other, How::HalfOpen)),
                None => self.pairs[index].finished_early = true,
            };
        }
        self.events.push_back(BridgeEvent::Parted { at: now, conn, why: format!("{why:?}") });
        if self.dial.is_none() {
            // A wire has no end that could be passed on.
            self.pairs[index].ends[side] = None;
            return;
        }
        if let Some(other) = other.filter(|_| *why != Why::Local) {
            self.act(Action::Close(other, How::Rst));
        }
        self.pairs[index].ends[side] = None;
        if self.pairs[index].ends == [None, None] || *why != Why::Local {
            self.pairs.remove(index);
        }
    }

    fn unreachable(&mut self, now: Time, why: String) {
        self.events.push_back(BridgeEvent::Refused { at: now, why });
        let left = self.dialling.pop_front();
        self.dial_next();
        if let Some((index, _)) = left.and_then(|left| self.find(left)) {
            self.break_off(index);
        }
    }

    fn break_off(&mut self, index: usize) {
        let pair = self.pairs.remove(index);
        for conn in pair.ends.into_iter().flatten() {
            self.act(Action::Close(conn, How::Rst));
        }
    }

    fn find(&self, conn: Conn) -> Option<(usize, usize)> {
        let of_pair = |(index, pair): (usize, &Pair)| {
            pair.ends.iter().position(|end| *end == Some(conn)).map(|side| (index, side))
        };
        self.pairs.iter().enumerate().find_map(of_pair)
    }

    // ---- bytes ---------------------------------------------------------------------------------------------------

    fn bytes(&mut self, now: Time, conn: Conn, bytes: &[u8], came: Option<Time>) {
        let Some((index, side)) = self.find(conn) else { return };
        let way = Way::BOTH[side];
        let passed = self.lanes[side].pass(now, bytes, self.dial.is_some(), None);
        let pieces = passed.pieces();
        self.events.extend(passed.strikes.into_iter().map(|strike| BridgeEvent::struck(now, way, strike)));
        for (bytes, held) in pieces {
            let piece = Piece { bytes, held, came: came.map(|came| came + held) };
            for watcher in self.watchers[side].clone() {
                self.forward(now, watcher, piece.clone());
            }
            match self.pairs[index].ends[1 - side] {
                Some(other) => self.forward(now, other, piece),
                None if self.dial.is_some() => self.pairs[index].early.push(piece),
                None => {}
            }
        }
        let early: usize = self.pairs[index].early.iter().map(|piece| piece.bytes.len()).sum();
        if (passed.cut && self.dial.is_some()) || early > PATIENCE {
            self.break_off(index);
        }
    }

    fn forward(&mut self, now: Time, conn: Conn, piece: Piece) {
        let Piece { bytes, held, came } = piece;
        let not_before = (!held.is_zero()).then(|| now + held);
        self.actions.push_back((bytes, Action::Forward { conn, range: 0..0, not_before, came }));
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back((Vec::new(), action));
    }
}

/// What has to be done to a line so that the same happens there.
fn commands(event: &LineEvent) -> Vec<LineCommand> {
    match event {
        LineEvent::Break => vec![LineCommand::Break(BREAK)],
        LineEvent::Modem { cts, dsr, .. } => vec![LineCommand::Rts(*cts), LineCommand::Dtr(*dsr)],
        LineEvent::Settings(settings) => vec![LineCommand::Settings(*settings)],
        LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun => Vec::new(),
    }
}

impl Endpoint for Bridge {
    type Event = BridgeEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, peer) => self.opened(now, conn, peer),
            Input::Bytes(conn, bytes, stamps) => {
                self.bytes(now, conn, bytes, stamps.unsure_since(bytes.len()));
            }
            Input::Closed(conn, why) => self.closed(now, conn, &why),
            Input::Line(conn, event, _) => {
                if let Some((index, side)) = self.find(conn) {
                    let (way, what) = (Way::BOTH[side], format!("{event:?}"));
                    self.events.push_back(BridgeEvent::Line { at: now, way, what });
                    if let Some(other) = self.pairs[index].ends[1 - side].filter(|_| self.dial.is_none()) {
                        commands(&event).into_iter().for_each(|command| self.act(Action::SetLine(other, command)));
                    }
                }
            }
            Input::Datagram(..) | Input::Writable(_) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (bytes, mut action) = self.actions.pop_front()?;
        if let Action::Forward { range, .. } = &mut action {
            let start = out.len();
            out.extend_from_slice(&bytes);
            *range = start..out.len();
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }
}
