//! The server on a line.
//!
//! Rules of this file:
//! - A frame with a wrong CRC, or spoiled on the line, is counted and not answered (SL 2.4.2).
//! - It answers to its own unit, does what broadcasts say without answering, and is silent to all others (SL 2.1, 2.2).
//! - Answers wait for t3.5 of silence (SL 2.5.1.1).

use super::connection::Malformed;
use super::face::{Delayed, ServerFace};
use crate::checksum::crc16_modbus;
use crate::device::PointStore;
use crate::line::silence::Frame;
use crate::modbus::pdu::Request;
use crate::modbus::rtu;
use crate::time::Time;

impl ServerFace {
    pub(super) fn take_frames(&mut self, now: Time, index: usize, store: &mut PointStore) {
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
        if !answered || self.core.habits.no_answer || (broadcast && !self.core.habits.answer_broadcast) {
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
}

/// A broadcast that reads, or that means nothing, is not even looked at (SL 2.1).
fn may_be_broadcast(pdu: &[u8]) -> bool {
    Request::parse(pdu).is_ok_and(|request| request.is_plain_write())
}
