//! The server on TCP.
//!
//! Rules of this file (MG 4.4.2):
//! - Every ADU of a segment is answered, in order, with the transaction and unit id of its request.
//! - An ADU whose protocol id is not 0, or without a PDU, is discarded. After a length field that cannot be gone by
//!   the connection is closed, for nobody knows where the next ADU begins.
//! - Over UDP a datagram is one ADU; what is not just that is discarded.
//! - A server with a unit answers to it, to 255 and to 0 (MG 4.4.2.2); without one, to all.

use super::Transport;
use super::answer::{Ask, Service};
use super::connection::Malformed;
use super::diagnostics::Diagnosis;
use super::face::ServerFace;
use super::habits::OtherUnits;
use crate::device::PointStore;
use crate::endpoint::{Conn, How};
use crate::modbus::pdu::Exception;
use crate::modbus::tcp;
use crate::time::Time;

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

    /// A datagram holds one ADU and nothing else, or it is discarded as a whole: what stands behind an ADU, or what is
    /// missing of one, belongs to no other datagram. (MG has no UDP; this is the rule of ours.)
    pub(super) fn datagram(&mut self, now: Time, conn: Conn, bytes: &[u8], store: &mut PointStore) {
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) else { return };
        connection.active = now;
        if self.transport != Transport::Tcp || self.wedged || connection.deaf {
            return;
        }
        if tcp::adu_length(bytes) == Some(bytes.len()) {
            return self.take_adu(now, conn, bytes, 0, store);
        }
        self.counters.messages += 1;
        let problem = tcp::datagram_problem(bytes);
        self.discard(now, conn, bytes, &problem, Malformed::Length);
    }

    fn take_adu(&mut self, now: Time, conn: Conn, adu: &[u8], nth: u32, store: &mut PointStore) {
        let view = tcp::View(adu);
        let (transaction, unit) = (view.transaction().unwrap_or_default(), view.unit().unwrap_or_default());
        self.counters.messages += 1;
        let foreign = view.protocol() != Some(tcp::PROTOCOL);
        if foreign && !self.core.habits.answer_foreign_protocol {
            self.discard(now, conn, adu, "the protocol id is not 0", Malformed::Protocol);
            return;
        }
        self.diagnoses().for_each(Diagnosis::heard);
        if view.pdu().is_empty() {
            if self.core.habits.answer_empty_pdu {
                let service = Service::Refuse(Exception::ILLEGAL_FUNCTION);
                self.answer(now, &Ask { conn, transaction, unit, nth, pdu: &[], service }, store);
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
        if let Some(service) = self.service_for(unit) {
            self.answer(now, &Ask { conn, transaction, unit, nth, pdu, service }, store);
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

    /// What becomes of requests for this unit; `None`: nothing.
    fn service_for(&self, unit: u8) -> Option<Service> {
        let habits = &self.core.habits;
        if unit == 255 && habits.ignore_unit_255 {
            return None;
        }
        let ours = self.is_ours(unit) || unit == 255 || unit == 0;
        match habits.other_units {
            _ if unit == 0 && habits.unit_zero_is_broadcast => Some(Service::Silent),
            _ if ours => Some(Service::Answer),
            OtherUnits::Silent => None,
            OtherUnits::Answer => Some(Service::Answer),
            OtherUnits::PathUnavailable => Some(Service::Refuse(Exception::GATEWAY_PATH_UNAVAILABLE)),
            OtherUnits::TargetFailed => Some(Service::Refuse(Exception::GATEWAY_TARGET_FAILED_TO_RESPOND)),
        }
    }

    fn take_unframable(&mut self, now: Time, conn: Conn, rest: &[u8], store: &mut PointStore) {
        let view = tcp::View(rest);
        let length = view.length().unwrap_or_default();
        self.counters.messages += 1;
        let problem = format!("the length field says {length}, 1 to {} are allowed", tcp::MAX_LENGTH);
        self.discard(now, conn, rest, &problem, Malformed::Length);
        if length == 0 && self.core.habits.answer_length_zero {
            let (transaction, unit) = (view.transaction().unwrap_or_default(), view.unit().unwrap_or_default());
            let pdu = view.pdu();
            let service = if pdu.is_empty() { Service::Refuse(Exception::ILLEGAL_FUNCTION) } else { Service::Answer };
            self.answer(now, &Ask { conn, transaction, unit, nth: 0, pdu, service }, store);
            if let Some(connection) = self.connections.iter_mut().find(|connection| connection.conn == conn) {
                connection.framer.clear();
            }
            return;
        }
        self.wedged |= length > 0x7fff && self.core.habits.wedge_on_huge_length;
        self.drop_connection(conn, How::Fin);
    }
}
