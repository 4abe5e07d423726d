//! The server as a face of a device: connections, framing, units, time.
//!
//! Rules of this file:
//! - TCP (MG 4.4.2): an ADU whose protocol id is not 0, or without a PDU, is discarded. After a length field that cannot
//!   be gone by the connection is closed. Every ADU of a segment is answered, in order. A client that closes its
//!   direction still gets its answers, then the connection is closed.
//! - Units: on TCP a server with a unit answers to it, to 255 and to 0 (MG 4.4.2.2); without one, to all. On a line it
//!   answers to its own, does what broadcasts say without answering, and is silent to all others (SL 2.1, 2.2).
//! - RTU: a frame with a wrong CRC, or spoiled on the line, is counted and not answered (SL 2.4.2). Answers wait for t3.5.

use super::bank::Writer;
use super::connection::{Connection, Malformed};
use super::execute::{Core, Scene};
use super::habits::{BeyondMaximum, Habits, OtherUnits, TransactionIds};
use super::{Counters, ServerConfig, Transport};
use crate::checksum::crc16_modbus;
use crate::device::{Emission, Face, Heard, PointStore};
use crate::dissect::hex;
use crate::endpoint::{Action, Conn, How, Input, Peer, Stamps, Why};
use crate::line::LineEvent;
use crate::line::silence::Frame;
use crate::modbus::pdu::Exception;
use crate::modbus::{rtu, tcp};
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// How long a client may half-close before its answers are lost, with the habit for that.
const HALF_CLOSE_HABIT_DELAY: Duration = Duration::from_millis(5);
/// Bytes of a discarded message that a record shows.
const SHOWN: usize = 64;

/// The Modbus server of an emulated device.
#[derive(Debug)]
pub struct ServerFace {
    name: String,
    pub(super) transport: Transport,
    unit: Option<u8>,
    core: Core,
    connections: Vec<Connection>,
    /// Answers that wait for their time, in order of it.
    delayed: VecDeque<Delayed>,
    out: Vec<u8>,
    steps: VecDeque<Step>,
    events: VecDeque<Record>,
    counters: Counters,
    unusual: bool,
    wedged: bool,
    resets_inside: i64,
    deaf_to_next: bool,
    own_transaction: u16,
}

#[derive(Debug)]
struct Delayed {
    due: Time,
    conn: Conn,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Step {
    Send { conn: Conn, start: usize, end: usize, gap: Option<Duration> },
    Close(Conn, How),
}

/// An answer under way.
struct Reply {
    transaction: u16,
    unit: u8,
}

impl ServerFace {
    /// A face of this name.
    #[must_use]
    pub fn new(name: &str, config: ServerConfig) -> ServerFace {
        ServerFace {
            name: name.to_owned(),
            transport: config.transport,
            unit: config.unit,
            core: Core::new(config.bank, config.functions),
            connections: Vec::new(),
            delayed: VecDeque::new(),
            out: Vec::new(),
            steps: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            unusual: false,
            wedged: false,
            resets_inside: 0,
            deaf_to_next: false,
            own_transaction: 0,
        }
    }

    /// The tables.
    #[must_use]
    pub fn bank(&self) -> &super::Bank {
        &self.core.bank
    }

    /// The tables, to change raw values.
    pub fn bank_mut(&mut self) -> &mut super::Bank {
        &mut self.core.bank
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many connections are open, the wire included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn open(&mut self, now: Time, conn: Conn, peer: &Peer) {
        let habits = &self.core.habits;
        let list = &habits.access_list;
        let allowed = list.is_empty() || list.split(',').any(|start| peer.address.starts_with(start.trim()));
        if !peer.wire && (self.wedged || (!allowed && !habits.ignore_access_list)) {
            self.steps.push_back(Step::Close(conn, How::Rst));
            return;
        }
        if !peer.wire && !self.make_room(conn) {
            return;
        }
        let mut connection = Connection::new(conn, peer.wire, &self.transport, self.unit, now);
        connection.deaf = std::mem::take(&mut self.deaf_to_next);
        self.connections.push(connection);
        let greeting = self.core.habits.greeting.clone();
        if !greeting.is_empty() {
            self.send(conn, &greeting);
        }
    }

    /// Keeps to the maximum of connections; false if the new one is refused.
    fn make_room(&mut self, conn: Conn) -> bool {
        let most = self.core.habits.max_connections.and_then(|most| usize::try_from(most).ok());
        if most.is_none_or(|most| self.connections.len() < most) {
            return true;
        }
        let victims: Vec<Conn> = match self.core.habits.beyond_maximum {
            BeyondMaximum::Refuse => {
                self.steps.push_back(Step::Close(conn, How::Rst));
                return false;
            }
            BeyondMaximum::CloseAll => self.connections.iter().map(|connection| connection.conn).collect(),
            BeyondMaximum::CloseIdlest => {
                let idlest = self.connections.iter().min_by_key(|connection| connection.active);
                idlest.map(|connection| connection.conn).into_iter().collect()
            }
        };
        for victim in victims {
            self.drop_connection(victim, How::Rst);
        }
        true
    }

    fn drop_connection(&mut self, conn: Conn, how: How) {
        self.connections.retain(|connection| connection.conn != conn);
        self.delayed.retain(|delayed| delayed.conn != conn);
        self.steps.push_back(Step::Close(conn, how));
    }

    fn closed(&mut self, conn: Conn, why: &Why) {
        let Some(index) = self.connections.iter().position(|connection| connection.conn == conn) else { return };
        if *why == Why::Finished {
            if self.core.habits.close_on_half_close {
                self.drop_connection(conn, How::Rst);
            } else if self.delayed.iter().any(|delayed| delayed.conn == conn) {
                self.connections[index].finishing = true;
            } else {
                self.drop_connection(conn, How::Fin);
            }
            return;
        }
        let connection = self.connections.swap_remove(index);
        self.delayed.retain(|delayed| delayed.conn != conn);
        if *why == Why::Reset && connection.is_inside() {
            self.resets_inside += 1;
            self.wedged |= self.core.habits.wedge_after_resets.is_some_and(|most| self.resets_inside >= most);
        }
    }

    fn bytes(&mut self, now: Time, conn: Conn, bytes: &[u8], stamps: Stamps<'_>, store: &mut PointStore) {
        let Some(index) = self.connections.iter().position(|connection| connection.conn == conn) else { return };
        let connection = &mut self.connections[index];
        let before = std::mem::replace(&mut connection.active, now);
        if self.wedged || connection.deaf || connection.finishing {
            return;
        }
        if self.core.habits.deaf_while_busy.is_some() && self.delayed.iter().any(|delayed| delayed.conn == conn) {
            return;
        }
        match &self.transport {
            Transport::Tcp => self.tcp_bytes(now, index, before, bytes, store),
            Transport::Rtu(_) => {
                connection.assembler.push(bytes, stamps);
                self.take_frames(now, index, store);
            }
        }
    }

    fn tcp_bytes(&mut self, now: Time, index: usize, before: Time, bytes: &[u8], store: &mut PointStore) {
        // A copy is made only for a server that departs from the standard: the usual case costs one comparison.
        let habits = self.unusual.then(|| self.core.habits.clone());
        let connection = &mut self.connections[index];
        let conn = connection.conn;
        let joined;
        let mut bytes = bytes;
        if let Some(habits) = &habits {
            if connection.loses(habits, now, before, bytes) {
                return;
            }
            connection.framer.set_most(if habits.accept_long { 2000 } else { tcp::MAX_LENGTH });
            joined = connection.with_misread(bytes);
            bytes = &joined;
        }
        let mut framer = std::mem::take(&mut connection.framer);
        let most = habits.as_ref().map_or(usize::MAX, |habits| habits.adus_per_read(&framer, bytes));
        let mut count = 0;
        let mut lost = None;
        framer.feed(bytes, |found| match found {
            tcp::Found::Adu(adu) => {
                count += 1;
                if count <= most {
                    self.take_adu(now, conn, adu, (count - 1) as u32, store);
                }
            }
            tcp::Found::Lost(rest) if lost.is_none() => lost = Some(rest.to_vec()),
            tcp::Found::Lost(_) => {}
        });
        if habits.is_some_and(|habits| habits.one_read_is_one_adu) {
            framer.clear();
        }
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
            connection.framer = framer;
            if let Some(rest) = lost {
                self.take_unframable(now, conn, &rest, store);
            }
        }
    }

    fn take_adu(&mut self, now: Time, conn: Conn, adu: &[u8], nth: u32, store: &mut PointStore) {
        let view = tcp::View(adu);
        let (transaction, unit) = (view.transaction().unwrap_or_default(), view.unit().unwrap_or_default());
        let reply = Reply { transaction, unit };
        self.counters.messages += 1;
        let foreign = view.protocol() != Some(tcp::PROTOCOL);
        if foreign && !self.core.habits.answer_foreign_protocol {
            self.discard(now, conn, adu, "the protocol id is not 0", Malformed::Protocol);
            return;
        }
        if view.pdu().is_empty() {
            if self.core.habits.answer_empty_pdu {
                self.answer(now, conn, &reply, nth, &[0x80, Exception::ILLEGAL_FUNCTION]);
            }
            self.discard(now, conn, adu, "there is no PDU", Malformed::Length);
            return;
        }
        let mut pdu = view.pdu();
        if let Some(malformed) = Malformed::of_pdu(pdu)
            && (self.core.habits.trailing_as_next || self.core.habits.minds_malformed())
        {
            if self.core.habits.trailing_as_next && malformed == Malformed::Trailing {
                pdu = self.misread_tail(conn, pdu);
            }
            self.after_malformed(conn, malformed);
        }
        let mut response = Vec::with_capacity(260);
        if self.serve_tcp(now, unit, pdu, store, &mut response) {
            self.answer(now, conn, &reply, nth, &response);
        }
    }

    /// The habit that takes what follows the function's PDU for the next ADU.
    fn misread_tail<'a>(&mut self, conn: Conn, pdu: &'a [u8]) -> &'a [u8] {
        let (own, tail) = pdu.split_at(Malformed::own_length(pdu));
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
            connection.misread.extend_from_slice(tail);
        }
        own
    }

    /// Serves a PDU that came for this unit; false if nothing is answered.
    fn serve_tcp(&mut self, now: Time, unit: u8, pdu: &[u8], store: &mut PointStore, out: &mut Vec<u8>) -> bool {
        let habits = &self.core.habits;
        if unit == 255 && habits.ignore_unit_255 {
            return false;
        }
        let quiet = unit == 0 && habits.unit_zero_is_broadcast;
        let ours = self.unit.is_none_or(|own| own == unit || unit == 255 || unit == 0);
        if !ours {
            let code = match habits.other_units {
                OtherUnits::Silent => return false,
                OtherUnits::Answer => None,
                OtherUnits::PathUnavailable => Some(Exception::GATEWAY_PATH_UNAVAILABLE),
                OtherUnits::TargetFailed => Some(Exception::GATEWAY_TARGET_FAILED_TO_RESPOND),
            };
            if let Some(code) = code {
                Exception { function: pdu[0], code }.encode(out);
                return true;
            }
        }
        self.run(now, pdu, store, out) && !quiet
    }

    fn run(&mut self, now: Time, pdu: &[u8], store: &mut PointStore, out: &mut Vec<u8>) -> bool {
        self.counters.for_us += 1;
        let mut scene = Scene { store, writer: Writer { now, face: &self.name } };
        let answered = self.core.execute(pdu, &mut scene, out);
        self.counters.exceptions += u64::from(answered && out.first().is_some_and(|code| code & 0x80 != 0));
        answered
    }

    /// Puts the header before a response PDU and sends it, at its time.
    fn answer(&mut self, now: Time, conn: Conn, reply: &Reply, nth: u32, pdu: &[u8]) {
        let habits = &self.core.habits;
        let transaction = match habits.transaction_ids {
            TransactionIds::Echo => reply.transaction,
            TransactionIds::FifteenBits => reply.transaction & 0x7fff,
            TransactionIds::Counter => {
                self.own_transaction = self.own_transaction.wrapping_add(1);
                self.own_transaction
            }
        };
        let length = ((pdu.len() + 1) as i64 + habits.length_delta) as u16;
        let unit = habits.answer_unit.map_or(reply.unit, |unit| unit as u8);
        let delay = self.core.habits.answer_delay(nth);
        let protocol = self.core.habits.protocol_id as u16;
        match delay {
            None => {
                let start = self.out.len();
                tcp::put_header(&mut self.out, transaction, protocol, length, unit);
                self.out.extend_from_slice(pdu);
                let end = self.out.len();
                self.steps.push_back(Step::Send { conn, start, end, gap: None });
            }
            Some(delay) => {
                let mut bytes = Vec::new();
                tcp::put_header(&mut bytes, transaction, protocol, length, unit);
                bytes.extend_from_slice(pdu);
                self.delay(Delayed { due: now + delay, conn, bytes });
            }
        }
    }

    fn delay(&mut self, delayed: Delayed) {
        let place = self.delayed.partition_point(|other| other.due <= delayed.due);
        self.delayed.insert(place, delayed);
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) {
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        let gap = match &self.transport {
            Transport::Tcp => None,
            Transport::Rtu(rules) => rules.gap_before(),
        };
        self.steps.push_back(Step::Send { conn, start, end: self.out.len(), gap });
    }

    fn take_unframable(&mut self, now: Time, conn: Conn, rest: &[u8], store: &mut PointStore) {
        let view = tcp::View(rest);
        let length = view.length().unwrap_or_default();
        self.counters.messages += 1;
        let problem = format!("the length field says {length}, 1 to {} are allowed", tcp::MAX_LENGTH);
        self.discard(now, conn, rest, &problem, Malformed::Length);
        if length == 0 && self.core.habits.answer_length_zero {
            let reply =
                Reply { transaction: view.transaction().unwrap_or_default(), unit: view.unit().unwrap_or_default() };
            let mut response = Vec::new();
            if !self.run(now, view.pdu(), store, &mut response) {
                response = vec![0x80, Exception::ILLEGAL_FUNCTION];
            }
            self.answer(now, conn, &reply, 0, &response);
            if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
                connection.framer.clear();
            }
            return;
        }
        self.wedged |= length > 0x7fff && self.core.habits.wedge_on_huge_length;
        self.drop_connection(conn, How::Fin);
    }

    fn discard(&mut self, now: Time, conn: Conn, bytes: &[u8], problem: &str, malformed: Malformed) {
        self.counters.discarded += 1;
        let shown = hex(&bytes[..bytes.len().min(SHOWN)]);
        let record = Record::new("modbus.discarded").at(Stamp::exact(now)).conn(conn);
        self.events.push_back(record.with("problem", problem).with("bytes", shown));
        self.after_malformed(conn, malformed);
    }

    fn after_malformed(&mut self, conn: Conn, malformed: Malformed) {
        self.deaf_to_next |= malformed.is_of(self.core.habits.deaf_to_next_connection);
        if malformed.is_of(self.core.habits.deaf_after_malformed)
            && let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn)
        {
            connection.deaf = true;
        }
    }

    fn take_frames(&mut self, now: Time, index: usize, store: &mut PointStore) {
        while let Some(frame) = self.connections.get_mut(index).and_then(|connection| connection.assembler.pop()) {
            self.take_frame(now, index, &frame, store);
        }
    }

    fn take_frame(&mut self, now: Time, index: usize, frame: &Frame, store: &mut PointStore) {
        let conn = self.connections[index].conn;
        let view = rtu::View(&frame.bytes);
        self.counters.messages += 1;
        let problem = frame.fault.as_ref().map(ToString::to_string);
        let problem = problem.or_else(|| view.problem().map(|problem| problem.to_string()));
        if let Some(problem) = problem {
            self.counters.communication_errors += 1;
            self.discard(now, conn, &frame.bytes, &problem, Malformed::Protocol);
            if !self.core.habits.ignore_crc || frame.bytes.len() < rtu::MIN_ADU {
                return;
            }
        }
        let unit = view.unit().unwrap_or_default();
        let broadcast = unit == rtu::BROADCAST;
        if !broadcast && (unit > rtu::LAST_UNIT || self.unit.is_some_and(|own| own != unit)) {
            return;
        }
        if broadcast && !self.core.habits.answer_broadcast && !may_be_broadcast(view.pdu()) {
            self.counters.unanswered += 1;
            return;
        }
        let mut response = vec![unit];
        let mut pdu = Vec::with_capacity(rtu::MAX_ADU);
        let answered = self.run(now, view.pdu(), store, &mut pdu);
        if !answered || (broadcast && !self.core.habits.answer_broadcast) {
            self.counters.unanswered += 1;
            return;
        }
        response.append(&mut pdu);
        let crc = crc16_modbus(&response) ^ u16::from(self.core.habits.wrong_crc);
        response.extend_from_slice(&crc.to_le_bytes());
        match self.core.habits.answer_delay(0) {
            None => self.send(conn, &response),
            Some(delay) => self.delay(Delayed { due: now + delay, conn, bytes: response }),
        }
    }

    fn send_due(&mut self, now: Time) {
        while self.delayed.front().is_some_and(|delayed| delayed.due <= now) {
            let Some(Delayed { conn, bytes, .. }) = self.delayed.pop_front() else { return };
            self.send(conn, &bytes);
            let waits = self.delayed.iter().any(|delayed| delayed.conn == conn);
            let finishing = |connection: &&Connection| connection.conn == conn && connection.finishing;
            if !waits && self.connections.iter().find(finishing).is_some() {
                self.drop_connection(conn, How::Fin);
            }
        }
    }

    fn close_idle(&mut self, now: Time) {
        let Some(limit) = self.core.habits.idle_close else { return };
        let idle = |connection: &&Connection| !connection.wire && connection.active + limit <= now;
        let victims: Vec<Conn> = self.connections.iter().filter(idle).map(|connection| connection.conn).collect();
        for victim in victims {
            self.drop_connection(victim, How::Fin);
        }
    }
}

/// A broadcast that reads, or that means nothing, is not even looked at (SL 2.1).
fn may_be_broadcast(pdu: &[u8]) -> bool {
    crate::modbus::pdu::Request::parse(pdu).is_ok_and(|request| request.is_plain_write())
}

impl Habits {
    /// When the nth answer to one read is due, if not at once.
    fn answer_delay(&self, nth: u32) -> Option<Duration> {
        let half_close = self.close_on_half_close.then_some(HALF_CLOSE_HABIT_DELAY);
        let apart = self.answers_apart.filter(|_| nth > 0).map(|apart| apart * nth);
        [self.delay_answer, self.deaf_while_busy, half_close, apart].into_iter().flatten().reduce(|a, b| a + b)
    }
}

impl Face for ServerFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore) {
        match input {
            Input::Opened(conn, peer) => self.open(now, conn, peer),
            Input::Bytes(conn, bytes, stamps) => self.bytes(now, conn, bytes, stamps, store),
            Input::Closed(conn, why) => self.closed(conn, &why),
            Input::Line(conn, LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun) => {
                if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
                    connection.assembler.spoil();
                }
            }
            Input::Datagram(..) | Input::Line(..) | Input::Writable(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time, store: &mut PointStore) {
        for index in 0..self.connections.len() {
            self.connections[index].assembler.expire(now);
            self.take_frames(now, index, store);
        }
        self.send_due(now);
        self.close_idle(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let frames = self.connections.iter().filter_map(|connection| connection.assembler.deadline()).min();
        let idle = self.core.habits.idle_close.and_then(|limit| {
            let open = self.connections.iter().filter(|connection| !connection.wire);
            open.map(|connection| connection.active + limit).min()
        });
        [frames, self.delayed.front().map(|delayed| delayed.due), idle].into_iter().flatten().min()
    }

    fn store_changed(&mut self, _now: Time, _store: &PointStore) {}

    fn emit(&mut self, _now: Time, _emission: &Emission) {}

    fn poll_heard(&mut self) -> Option<Heard> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let Some(step) = self.steps.pop_front() else {
            self.out.clear();
            return None;
        };
        Some(match step {
            Step::Close(conn, how) => Action::Close(conn, how),
            Step::Send { conn, start, end, gap } => {
                let begin = out.len();
                out.extend_from_slice(&self.out[start..end]);
                Action::Send { conn, range: begin..out.len(), not_before: None, gap_before: gap }
            }
        })
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }

    fn power(&mut self, now: Time, on: bool, store: &PointStore) {
        if on {
            if let Some(point) = self.core.bank.resolve(store) {
                let record = Record::new("modbus.unknown_point").at(Stamp::exact(now)).with("point", point);
                self.events.push_back(record.with("problem", "the map names a point that the device does not have"));
            }
            return;
        }
        self.connections.clear();
        self.delayed.clear();
        self.steps.clear();
        self.out.clear();
        self.wedged = false;
        self.deaf_to_next = false;
        self.resets_inside = 0;
        self.counters = Counters::default();
    }

    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        self.core.habits.set(name, value)?;
        self.unusual = self.core.habits != Habits::default();
        Ok(())
    }
}
