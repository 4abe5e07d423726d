//! The server on a line: RTU and ASCII frames.
//!
//! Rules of this file:
//! - A frame with a wrong checksum, or spoiled on the line, is counted and not answered (SL 2.4.2). What stands between
//!   ASCII frames is no frame and is not counted as one (SL 2.5.2.1).
//! - It answers to its own unit, does what broadcasts say without answering, and is silent to all others (SL 2.1, 2.2).
//! - RTU answers wait for t3.5 of silence (SL 2.5.1.1).

use super::Transport;
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
        let message = self.connections[index].assembler.read(frame);
        let between_frames = message.is_noise() && matches!(self.transport, Transport::Ascii(_));
        self.counters.messages += u64::from(!between_frames);
        if let Some(problem) = message.problem() {
            self.counters.communication_errors += u64::from(!between_frames);
            if !between_frames {
                self.diagnoses().for_each(Diagnosis::heard_damaged);
            }
            self.discard(now, conn, &frame.bytes, &problem.to_string(), Malformed::Protocol);
            if !self.core.habits.ignore_crc || message.pdu().is_empty() || between_frames {
                return;
            }
        }
        self.diagnoses().for_each(Diagnosis::heard);
        let unit = message.unit().unwrap_or_default();
        let broadcast = unit == rtu::BROADCAST;
        if !broadcast && (unit > rtu::LAST_UNIT || !self.is_ours(unit)) {
            return;
        }
        if broadcast && !self.core.habits.answer_broadcast && !may_be_broadcast(message.pdu()) {
            self.ignore_broadcast();
            return;
        }
        let quiet = broadcast && !self.core.habits.answer_broadcast;
        let service = if quiet { Service::Silent } else { Service::Answer };
        let ask = Ask { conn, transaction: 0, unit, nth: 0, pdu: message.pdu(), service };
        match self.transport {
            Transport::Ascii(_) => self.answer_ascii(now, index, &ask, store),
            _ => self.answer(now, &ask, store),
        }
    }

    /// The answer to a request that changes the delimiter ends with the old one; what follows ends with the new one, both
    /// ways (AP 6.8.1, 0003: "future messages").
    fn answer_ascii(&mut self, now: Time, index: usize, ask: &Ask<'_>, store: &mut PointStore) {
        let before: Vec<u8> = self.diagnoses().map(|diagnosis| diagnosis.delimiter).collect();
        self.answer(now, ask, store);
        let after = self.diagnoses().map(|diagnosis| diagnosis.delimiter);
        let changed = after.zip(before).find(|(now, before)| now != before);
        if let (Some((delimiter, _)), Some(connection)) = (changed, self.connections.get_mut(index)) {
            connection.assembler.set_delimiter(delimiter, None);
        }
    }
}

/// A broadcast that reads, or that means nothing, is not even looked at (SL 2.1).
fn may_be_broadcast(pdu: &[u8]) -> bool {
    Request::parse(pdu).is_ok_and(|request| request.is_plain_write())
}
