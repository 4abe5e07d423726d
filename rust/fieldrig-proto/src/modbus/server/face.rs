//! The server as a face of a device: connections, half-open closes, answers that wait for their time.
//!
//! Rules of this file:
//! - A client that closes its direction still gets its answers, then the connection is closed (MG 4.2.2).
//! - Power-off forgets connections, waiting answers and counts; raw tables keep their values, habits stay.
//! - What is discarded is a record with the reason and the first bytes.

use super::behaviour::{Banks, Derived, RuleState, Rules};
use super::connection::{Connection, Malformed};
use super::diagnostics::Diagnosis;
use super::execute::Core;
use super::habits::{BeyondMaximum, Habits};
use super::handler::Handling;
use super::roles::{Roles, role_of};
use super::special::Extras;
use super::{Bank, Counters, ServerConfig, Transport};
use crate::device::{Emission, Face, Heard, PointStore};
use crate::dissect::hex;
use crate::endpoint::{Action, Conn, How, Input, Peer, Stamps, Why};
use crate::line::LineEvent;
use crate::protocol::SettingError;
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// Bytes of a discarded message that a record shows.
const SHOWN: usize = 64;

/// The Modbus server of an emulated device.
#[derive(Debug)]
pub struct ServerFace {
    pub(super) name: String,
    pub(super) transport: Transport,
    pub(super) unit: Option<u8>,
    pub(super) core: Core,
    pub(super) roles: Option<Roles>,
    /// Further units.
    pub(super) others: Vec<Other>,
    pub(super) connections: Vec<Connection>,
    /// Answers that wait for their time, in order of it.
    pub(super) delayed: VecDeque<Delayed>,
    pub(super) out: Vec<u8>,
    /// The response PDU that is being made; empty between requests.
    pub(super) response: Vec<u8>,
    pub(super) steps: VecDeque<Step>,
    pub(super) events: VecDeque<Record>,
    pub(super) counters: Counters,
    pub(super) unusual: bool,
    pub(super) wedged: bool,
    pub(super) resets_inside: i64,
    pub(super) deaf_to_next: bool,
    pub(super) own_transaction: u16,
    pub(super) rules: Rules,
    pub(super) handling: Handling,
    /// Connections opened since power-on.
    opened: u32,
    /// A rule wants the power to go for so long.
    power_loss: Option<Duration>,
}

/// A further unit behind the same line or port.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) unit: u8,
    pub(super) core: Core,
}

#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) due: Time,
    pub(super) conn: Conn,
    pub(super) what: Due,
}

/// What waits for its time.
#[derive(Debug)]
pub(super) enum Due {
    /// Bytes, on a wire not before it was silent for so long.
    Bytes { bytes: Vec<u8>, gap: Option<Duration> },
    /// The end of the connection.
    Close(How),
    /// The end of the power, for so long.
    PowerLoss(Duration),
}

#[derive(Debug)]
pub(super) enum Step {
    Send { conn: Conn, start: usize, end: usize, gap: Option<Duration> },
    Close(Conn, How),
}

impl ServerFace {
    /// A face of this name.
    #[must_use]
    pub fn new(name: &str, config: ServerConfig) -> ServerFace {
        let transport = config.transport;
        let core = |bank, functions, extras: Extras| {
            let diagnosis = extras.diagnosis(&transport);
            Core::new(bank, functions, extras, diagnosis)
        };
        let others = config.units.into_iter();
        let others =
            others.map(|other| Other { unit: other.unit, core: core(other.bank, other.functions, other.extras) });
        ServerFace {
            name: name.to_owned(),
            transport: config.transport,
            unit: config.unit,
            roles: config.roles,
            core: core(config.bank, config.functions, config.extras),
            others: others.collect(),
            connections: Vec::new(),
            delayed: VecDeque::new(),
            out: Vec::new(),
            response: Vec::new(),
            steps: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            unusual: false,
            wedged: false,
            resets_inside: 0,
            deaf_to_next: false,
            own_transaction: 0,
            rules: Rules::default(),
            handling: Handling::default(),
            opened: 0,
            power_loss: None,
        }
    }

    /// The seed of rules that are added from now on.
    pub fn set_seed(&mut self, seed: u64) {
        self.rules.seed = seed;
    }

    /// Adds a rule, which comes last and so wins; gives its name. `key` is what errors name.
    ///
    /// # Errors
    /// What is wrong with it, with its key.
    pub fn add_rule(&mut self, key: &str, rule: &Value) -> Result<String, SettingError> {
        let derived = match self.transport {
            Transport::Tcp => Derived::Header,
            Transport::Rtu(_) | Transport::Ascii(_) => Derived::Checksum,
        };
        let others = self.others.iter().map(|other| (other.unit, &other.core.bank)).collect();
        let banks = Banks { own: (self.unit, &self.core.bank), others };
        self.rules.add(key, rule, &banks, derived)
    }

    /// The rules so far are those of the device itself: [`ServerFace::reset_rules`] goes back to them.
    pub fn declare_rules(&mut self) {
        self.rules.declare();
    }

    /// Only the rules of the device are left, switched as they were declared, and begin anew.
    pub fn reset_rules(&mut self) {
        self.rules.reset();
    }

    /// Takes a rule away; false if there is none of this name.
    pub fn remove_rule(&mut self, name: &str) -> bool {
        self.rules.remove(name)
    }

    /// Switches a rule; one that is switched on after it was off begins anew. False if there is none of this name.
    pub fn switch_rule(&mut self, name: &str, on: bool) -> bool {
        self.rules.switch(name, on)
    }

    /// All rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = RuleState> {
        self.rules.states()
    }

    /// The tables.
    #[must_use]
    pub fn bank(&self) -> &Bank {
        &self.core.bank
    }

    /// The tables of a further unit, or of the device's own; `None` if there is no such unit.
    pub fn bank_of(&mut self, unit: Option<u8>) -> Option<&mut Bank> {
        self.core_of(unit).map(|core| &mut core.bank)
    }

    /// What a unit holds besides its tables.
    pub fn extras_of(&mut self, unit: Option<u8>) -> Option<&mut Extras> {
        self.core_of(unit).map(|core| &mut core.extras)
    }

    fn core_of(&mut self, unit: Option<u8>) -> Option<&mut Core> {
        match unit {
            Some(unit) if self.unit != Some(unit) => {
                self.others.iter_mut().find(|other| other.unit == unit).map(|other| &mut other.core)
            }
            _ => Some(&mut self.core),
        }
    }

    /// It answers for this unit.
    pub(super) fn is_ours(&self, unit: u8) -> bool {
        self.unit.is_none_or(|own| own == unit) || self.others.iter().any(|other| other.unit == unit)
    }

    /// What each unit keeps of its communication.
    pub(super) fn diagnoses(&mut self) -> impl Iterator<Item = &mut Diagnosis> {
        let others = self.others.iter_mut().map(|other| &mut other.core.diagnosis);
        std::iter::once(&mut self.core.diagnosis).chain(others)
    }

    /// The tables, to change raw values.
    pub fn bank_mut(&mut self) -> &mut Bank {
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
        connection.role = peer.certificate.as_ref().map(role_of).unwrap_or_default().to_owned();
        self.opened = self.opened.saturating_add(1);
        connection.number = self.opened;
        self.connections.push(connection);
        let greeting = self.core.habits.greeting.clone();
        if !greeting.is_empty() {
            self.send(conn, &greeting, self.gap());
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

    pub(super) fn drop_connection(&mut self, conn: Conn, how: How) {
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
            Transport::Rtu(_) | Transport::Ascii(_) => {
                connection.assembler.push(bytes, stamps);
                self.take_frames(now, index, store);
            }
        }
    }

    pub(super) fn delay(&mut self, delayed: Delayed) {
        let place = self.delayed.partition_point(|other| other.due <= delayed.due);
        self.delayed.insert(place, delayed);
    }

    pub(super) fn send(&mut self, conn: Conn, bytes: &[u8], gap: Option<Duration>) {
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        self.steps.push_back(Step::Send { conn, start, end: self.out.len(), gap });
    }

    /// Does what was due.
    pub(super) fn carry_out(&mut self, conn: Conn, what: Due) {
        match what {
            Due::Bytes { bytes, gap } => self.send(conn, &bytes, gap),
            Due::Close(how) => self.drop_connection(conn, how),
            Due::PowerLoss(off) => self.power_loss = Some(off),
        }
    }

    pub(super) fn connection(&mut self, conn: Conn) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.conn == conn)
    }

    pub(super) fn discard(&mut self, now: Time, conn: Conn, bytes: &[u8], problem: &str, malformed: Malformed) {
        self.counters.discarded += 1;
        let shown = hex(&bytes[..bytes.len().min(SHOWN)]);
        let record = Record::new("modbus.discarded").at(Stamp::exact(now)).conn(conn);
        self.events.push_back(record.with("problem", problem).with("bytes", shown));
        self.after_malformed(conn, malformed);
    }

    pub(super) fn after_malformed(&mut self, conn: Conn, malformed: Malformed) {
        self.deaf_to_next |= malformed.is_of(self.core.habits.deaf_to_next_connection);
        if malformed.is_of(self.core.habits.deaf_after_malformed)
            && let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn)
        {
            connection.deaf = true;
        }
    }

    fn send_due(&mut self, now: Time) {
        while self.delayed.front().is_some_and(|delayed| delayed.due <= now) {
            let Some(Delayed { conn, what, .. }) = self.delayed.pop_front() else { return };
            self.carry_out(conn, what);
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

impl Face for ServerFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore) {
        match input {
            Input::Opened(conn, peer) => self.open(now, conn, peer),
            Input::Bytes(conn, bytes, stamps) => self.bytes(now, conn, bytes, stamps, store),
            Input::Datagram(conn, _, bytes, _) => self.datagram(now, conn, bytes, store),
            Input::Closed(conn, why) => self.closed(conn, &why),
            Input::Line(conn, event @ (LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun), _) => {
                if event == LineEvent::Overrun {
                    self.diagnoses().for_each(Diagnosis::overran);
                }
                if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
                    connection.assembler.spoil();
                }
            }
            Input::Line(..) | Input::Writable(_) | Input::Timed(..) => {}
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
        self.opened = 0;
        if on {
            self.rules.run(now);
            let others = self.others.iter_mut().map(|other| &mut other.core.bank);
            for bank in std::iter::once(&mut self.core.bank).chain(others) {
                let Some(point) = bank.resolve(store) else { continue };
                let record = Record::new("modbus.unknown_point").at(Stamp::exact(now)).with("point", point);
                self.events.push_back(record.with("problem", "the map names a point that the device does not have"));
            }
            return;
        }
        self.power_loss = None;
        self.connections.clear();
        self.delayed.clear();
        self.steps.clear();
        self.out.clear();
        self.wedged = false;
        self.deaf_to_next = false;
        self.resets_inside = 0;
        self.counters = Counters::default();
        self.diagnoses().for_each(Diagnosis::power_off);
    }

    fn poll_power_loss(&mut self) -> Option<Duration> {
        self.power_loss.take()
    }

    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        self.core.habits.set(name, value)?;
        for other in &mut self.others {
            other.core.habits.clone_from(&self.core.habits);
        }
        self.unusual = self.core.habits != Habits::default();
        Ok(())
    }
}
