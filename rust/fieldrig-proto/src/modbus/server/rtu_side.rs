//! The server on a line.
//!
//! Rules of this file:
//! - A frame with a wrong CRC, or spoiled on the line, is counted and not answered (SL 2.4.2).
//! - It answers to its own unit, does what broadcasts say without answering, and is silent to all others (SL 2.1, 2.2).
//! - Answers wait for t3.5 of silence (SL 2.5.1.1).

use super::answer::{Ask, Service};
use super::connection::Malformed;
use super::diagnostics::Diagnosis;
use super::face::ServerFace;
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
            self.diagnoses().for_each(Diagnosis::heard_damaged);
            self.discard(now, conn, &frame.bytes, &problem, Malformed::Protocol);
            if !self.core.habits.ignore_crc || frame.bytes.len() < rtu::MIN_ADU {
                return;
            }
        }
        self.diagnoses().for_each(Diagnosis::heard);
        let unit = view.unit().unwrap_or_default();
        let broadcast = unit == rtu::BROADCAST;
        if !broadcast && (unit > rtu::LAST_UNIT || !self.is_ours(unit)) {
            return;
        }
        if broadcast && !self.core.habits.answer_broadcast && !may_be_broadcast(view.pdu()) {
            self.ignore_broadcast();
            return;
        }
        let quiet = broadcast && !self.core.habits.answer_broadcast;
        let service = if quiet { Service::Silent } else { Service::Answer };
        self.answer(now, &Ask { conn, transaction: 0, unit, nth: 0, pdu: view.pdu(), service }, store);
    }
}

/// A broadcast that reads, or that means nothing, is not even looked at (SL 2.1).
fn may_be_broadcast(pdu: &[u8]) -> bool {
    Request::parse(pdu).is_ok_and(|request| request.is_plain_write())
}
