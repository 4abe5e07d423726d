//! From a request to what leaves: one way for all framings, `serve -> frame -> send`.
//!
//! Rules of this file:
//! - A framing says whom a request is for and what is to become of it ([`Ask`]); what leaves for it is decided here.
//! - How a response PDU becomes an ADU is said in one place ([`ServerFace::frame`]), whatever the framing.
//! - Without habits nothing is allocated and nothing is copied twice: buffers stay with the face.

use super::Transport;
use super::bank::Writer;
use super::behaviour::{Fields, Patched};
use super::execute::Scene;
use super::face::{Delayed, Due, ServerFace, Step};
use super::habits::{Habits, TransactionIds};
use crate::checksum::{crc16_modbus, lrc};
use crate::device::PointStore;
use crate::endpoint::Conn;
use crate::modbus::pdu::Exception;
use crate::modbus::{ascii, tcp};
use crate::time::{Duration, Time};

/// How long a client may half-close before its answers are lost, with the habit for that.
const HALF_CLOSE_HABIT_DELAY: Duration = Duration::from_millis(5);

/// A request as its framing hands it over.
#[derive(Copy, Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) conn: Conn,
    /// Transaction id; 0 where the framing has none.
    pub(super) transaction: u16,
    pub(super) unit: u8,
    /// Which one of those that came in one read, from 0.
    pub(super) nth: u32,
    pub(super) pdu: &'a [u8],
    pub(super) service: Service,
}

/// What becomes of a request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Service {
    /// It is done and answered.
    Answer,
    /// It is done in silence.
    Silent,
    /// It is not done: this exception says so.
    Refuse(u8),
}

impl ServerFace {
    /// Serves a request and sends what there is to say, at its time. What is done in silence is for all units.
    pub(super) fn answer(&mut self, now: Time, ask: &Ask<'_>, store: &mut PointStore) {
        self.handling.begin();
        let other = self.others.iter().position(|other| other.unit == ask.unit);
        match other {
            Some(index) => self.answer_as(index, now, ask, store),
            None => self.answer_one(now, ask, store),
        }
        if ask.service == Service::Silent && other.is_none() && !self.handling.taken {
            for index in 0..self.others.len() {
                self.answer_as(index, now, ask, store);
            }
        }
    }

    /// A broadcast that nobody can do: all units have heard it.
    pub(super) fn ignore_broadcast(&mut self) {
        self.counters.for_us += 1;
        self.counters.unanswered += 1;
        for diagnosis in self.diagnoses() {
            diagnosis.begin(true);
            diagnosis.finish(0, &[], false);
        }
    }

    fn answer_as(&mut self, index: usize, now: Time, ask: &Ask<'_>, store: &mut PointStore) {
        std::mem::swap(&mut self.core, &mut self.others[index].core);
        self.answer_one(now, ask, store);
        std::mem::swap(&mut self.core, &mut self.others[index].core);
    }

    fn answer_one(&mut self, now: Time, ask: &Ask<'_>, store: &mut PointStore) {
        let mut pdu = std::mem::take(&mut self.response);
        pdu.clear();
        let ours = !matches!(ask.service, Service::Refuse(_));
        if ours {
            self.core.diagnosis.begin(ask.service == Service::Silent);
        }
        let sent = if self.rules.is_empty() {
            let sent = self.serve(now, ask, store, &mut pdu) && !self.core.habits.no_answer;
            if sent {
                self.dispatch(now, ask, &pdu);
            }
            sent
        } else {
            self.answer_by_rules(now, ask, store, &mut pdu)
        };
        self.counters.unanswered += u64::from(!sent);
        if ours {
            self.core.diagnosis.finish(ask.pdu.first().copied().unwrap_or_default(), &pdu, sent);
        }
        self.response = pdu;
    }

    /// Does what a request says and appends the response PDU; false if nothing is answered.
    pub(super) fn serve(&mut self, now: Time, ask: &Ask<'_>, store: &mut PointStore, out: &mut Vec<u8>) -> bool {
        if let Service::Refuse(code) = ask.service {
            Exception { function: ask.pdu.first().copied().unwrap_or_default(), code }.encode(out);
            return true;
        }
        self.counters.for_us += 1;
        if self.forbids(now, ask) {
            self.counters.exceptions += 1;
            Exception { function: ask.pdu.first().copied().unwrap_or_default(), code: Exception::ILLEGAL_FUNCTION }
                .encode(out);
            return ask.service == Service::Answer;
        }
        let answered = match self.handle_outside(now, ask, out) {
            Some(answered) => answered,
            None => {
                let mut scene = Scene { store, writer: Writer { now, face: &self.name } };
                self.core.execute(ask.pdu, &mut scene, out)
            }
        };
        self.counters.exceptions += u64::from(answered && out.first().is_some_and(|code| code & 0x80 != 0));
        answered && ask.service == Service::Answer
    }

    /// Frames a response and sends it, at its time.
    fn dispatch(&mut self, now: Time, ask: &Ask<'_>, pdu: &[u8]) {
        let mut out = std::mem::take(&mut self.out);
        match self.core.habits.answer_delay(ask.nth) {
            None => {
                let start = out.len();
                self.frame(ask, pdu, &Fields::default(), &mut out);
                self.steps.push_back(Step::Send { conn: ask.conn, start, end: out.len(), gap: self.gap() });
            }
            Some(delay) => {
                let mut bytes = Vec::new();
                self.frame(ask, pdu, &Fields::default(), &mut bytes);
                let what = Due::Bytes { bytes, gap: self.gap() };
                self.delay(Delayed { due: now + delay, conn: ask.conn, what });
            }
        }
        self.out = out;
    }

    /// Appends the ADU of a response, with some of its fields changed.
    pub(super) fn frame(&mut self, ask: &Ask<'_>, pdu: &[u8], fields: &Fields, out: &mut Vec<u8>) {
        let habits = &self.core.habits;
        match self.transport {
            Transport::Tcp => {
                let transaction = match habits.transaction_ids {
                    TransactionIds::Echo => ask.transaction,
                    TransactionIds::FifteenBits => ask.transaction & 0x7fff,
                    TransactionIds::Counter => {
                        self.own_transaction = self.own_transaction.wrapping_add(1);
                        self.own_transaction
                    }
                };
                let length = ((pdu.len() + 1) as i64).wrapping_add(habits.length_delta) as u16;
                let unit = habits.answer_unit.map_or(ask.unit, |unit| unit as u8).patched(fields.unit);
                let protocol = (habits.protocol_id as u16).patched(fields.protocol);
                let (transaction, length) = (transaction.patched(fields.transaction), length.patched(fields.length));
                tcp::put_header(out, transaction, protocol, length, unit);
                out.extend_from_slice(pdu);
            }
            Transport::Rtu(_) => {
                let start = out.len();
                out.push(ask.unit.patched(fields.unit));
                out.extend_from_slice(pdu);
                let crc = crc16_modbus(&out[start..]) ^ u16::from(habits.wrong_crc);
                out.extend_from_slice(&crc.patched(fields.checksum).to_le_bytes());
            }
            Transport::Ascii(_) => {
                let connection = self.connections.iter().find(|connection| connection.conn == ask.conn);
                let delimiter = connection.map_or(ascii::LINE_FEED, |connection| connection.assembler.delimiter());
                let unit = ask.unit.patched(fields.unit);
                let right = lrc(pdu).wrapping_sub(unit) ^ u8::from(habits.wrong_crc);
                ascii::Adu { unit, pdu, lrc: Some(right.patched(fields.checksum)), delimiter }.encode(out);
            }
        }
    }

    /// How long a byte takes on a wire of ours.
    pub(super) fn character(&self) -> Duration {
        match &self.transport {
            Transport::Tcp => Duration::ZERO,
            Transport::Rtu(rules) => rules.timing.character,
            Transport::Ascii(rules) => rules.character,
        }
    }

    /// The silence to keep before an answer.
    pub(super) fn gap(&self) -> Option<Duration> {
        self.transport.serial().and_then(|rules| rules.gap_before())
    }
}

impl Habits {
    /// When the nth answer to one read is due, if not at once.
    pub(super) fn answer_delay(&self, nth: u32) -> Option<Duration> {
        let half_close = self.close_on_half_close.then_some(HALF_CLOSE_HABIT_DELAY);
        let apart = self.answers_apart.filter(|_| nth > 0).map(|apart| apart.saturating_mul(nth));
        [self.delay_answer, self.deaf_while_busy, half_close, apart]
            .into_iter()
            .flatten()
            .reduce(Duration::saturating_add)
    }
}
