//! The server on TCP.
//!
//! Rules of this file (MG 4.4.2):
//! - Every ADU of a segment is answered, in order, with the transaction and unit id of its request.
//! - An ADU whose protocol id is not 0, or without a PDU, is discarded. After a length field that cannot be gone by
//!   the connection is closed, for nobody knows where the next ADU begins.
//! - A server with a unit answers to it, to 255 and to 0 (MG 4.4.2.2); without one, to all.

use super::connection::Malformed;
use super::face::{Delayed, ServerFace, Step};
use super::habits::{OtherUnits, TransactionIds};
use crate::device::PointStore;
use crate::endpoint::{Conn, How};
use crate::modbus::pdu::Exception;
use crate::modbus::tcp;
use crate::time::Time;

/// An answer under way.
struct Reply {
    transaction: u16,
    unit: u8,
}

impl ServerFace {
    pub(super) fn tcp_bytes(&mut self, now: Time, index: usize, before: Time, bytes: &[u8], store: &mut PointStore) {
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

    /// Puts the header before a response PDU and sends it, at its time.
    fn answer(&mut self, now: Time, conn: Conn, reply: &Reply, nth: u32, pdu: &[u8]) {
        let habits = &self.core.habits;
        if habits.no_answer {
            self.counters.unanswered += 1;
            return;
        }
        let transaction = match habits.transaction_ids {
            TransactionIds::Echo => reply.transaction,
            TransactionIds::FifteenBits => reply.transaction & 0x7fff,
            TransactionIds::Counter => {
                self.own_transaction = self.own_transaction.wrapping_add(1);
                self.own_transaction
            }
        };
        let length = ((pdu.len() + 1) as i64).wrapping_add(habits.length_delta) as u16;
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
}
