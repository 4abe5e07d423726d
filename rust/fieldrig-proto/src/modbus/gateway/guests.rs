//! The side of the clients: connections, their requests, their answers.

use super::{Flight, Gateway, Job, MOST_WAITING, Step};
use crate::dissect::hex;
use crate::endpoint::{Conn, How, Why};
use crate::modbus::client::Ticket;
use crate::modbus::pdu::{Exception, Request};
use crate::modbus::rtu::BROADCAST;
use crate::modbus::tcp::{self, Found, Framer};
use crate::time::Time;
use std::collections::VecDeque;

/// The unit id of the gateway itself (MG 4.4.2.2).
const ITSELF: u8 = 255;

/// A connected client.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) conn: Conn,
    framer: Framer,
    /// Requests that the line does not have yet.
    pub(super) queue: VecDeque<Job>,
    /// The one that the line has.
    pub(super) active: Option<Ticket>,
    /// It will send nothing more; answers are still due.
    finishing: bool,
}

impl Guest {
    pub(super) fn new(conn: Conn) -> Guest {
        Guest { conn, framer: Framer::default(), queue: VecDeque::new(), active: None, finishing: false }
    }

    pub(super) fn has_left(&self) -> bool {
        self.finishing && self.active.is_none() && self.queue.is_empty()
    }
}

impl Gateway {
    pub(super) fn take_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) {
        let Some(guest) = self.guest(conn) else { return };
        let mut framer = std::mem::take(&mut guest.framer);
        let mut lost = false;
        framer.feed(bytes, |found| match found {
            Found::Adu(adu) => self.take_adu(now, conn, adu),
            Found::Lost(_) => lost = true,
        });
        if let Some(guest) = self.guest(conn) {
            guest.framer = framer;
        }
        if lost {
            self.report("modbus.gateway.discarded", 0, "a length field that cannot be gone by");
            self.steps.push_back(Step::Close(conn, How::Fin));
            self.forget(now, conn);
        }
    }

    fn take_adu(&mut self, now: Time, conn: Conn, adu: &[u8]) {
        let view = tcp::View(adu);
        let (transaction, unit) = (view.transaction().unwrap_or_default(), view.unit().unwrap_or_default());
        if view.protocol() != Some(tcp::PROTOCOL) || view.pdu().is_empty() {
            self.report("modbus.gateway.discarded", unit, hex(&adu[..adu.len().min(64)]));
            return;
        }
        let job = Job { transaction, unit, on_line: unit, pdu: view.pdu().to_vec() };
        if let Some(late) = self.stashed.take() {
            self.answer(conn, &job, &late);
            return;
        }
        match unit {
            ITSELF => self.serve_own(now, conn, &job),
            BROADCAST => self.take_broadcast(conn, job),
            _ => match self.routes.unit_on_line(unit) {
                Some(on_line) => self.enqueue(conn, Job { on_line, ..job }),
                None if self.habits.silent_on_missing => {}
                None => self.refuse(conn, &job, Exception::GATEWAY_PATH_UNAVAILABLE),
            },
        }
    }

    fn serve_own(&mut self, now: Time, conn: Conn, job: &Job) {
        if self.habits.ignore_own_unit {
            return;
        }
        let mut pdu = Vec::new();
        match self.own.as_mut().map(|own| own.answer(now, &job.pdu, &mut pdu)) {
            Some(true) => self.answer(conn, job, &pdu),
            Some(false) => {}
            None => self.refuse(conn, job, Exception::GATEWAY_PATH_UNAVAILABLE),
        }
    }

    fn take_broadcast(&mut self, conn: Conn, job: Job) {
        let may_be = Request::parse(&job.pdu).is_ok_and(|request| request.is_plain_write() && request.check().is_ok());
        if may_be && !self.habits.refuse_broadcasts {
            self.enqueue(conn, job);
        } else {
            self.refuse(conn, &job, Exception::GATEWAY_PATH_UNAVAILABLE);
        }
    }

    fn enqueue(&mut self, conn: Conn, job: Job) {
        let Some(guest) = self.guest(conn) else { return };
        if guest.queue.len() < MOST_WAITING {
            guest.queue.push_back(job);
        } else {
            self.refuse(conn, &job, Exception::SERVER_DEVICE_BUSY);
        }
    }

    pub(super) fn refuse(&mut self, conn: Conn, job: &Job, code: u8) {
        let mut pdu = Vec::new();
        Exception { function: job.pdu[0], code }.encode(&mut pdu);
        self.answer(conn, job, &pdu);
    }

    /// Sends a response with the transaction and unit id of its request.
    pub(super) fn answer(&mut self, conn: Conn, job: &Job, pdu: &[u8]) {
        let (mut transaction, mut unit, mut conn) = (job.transaction, job.unit, conn);
        if self.habits.wrong_transaction {
            self.own_transaction = self.own_transaction.wrapping_add(1);
            transaction = self.own_transaction;
        }
        if self.habits.wrong_unit {
            unit = unit.wrapping_add(1);
        }
        if self.habits.wrong_client
            && let Some(other) = self.guests.iter().rev().find(|guest| guest.conn != conn)
        {
            conn = other.conn;
        }
        let mut adu = Vec::new();
        tcp::Adu::new(transaction, unit, pdu).encode(&mut adu);
        self.steps.push_back(Step::Send(conn, adu));
    }

    pub(super) fn guest_closed(&mut self, now: Time, conn: Conn, why: &Why) {
        if *why != Why::Finished {
            self.forget(now, conn);
        } else if let Some(guest) = self.guest(conn) {
            guest.finishing = true;
        }
    }

    /// A client is gone: what it asked and the line has not begun, is dropped.
    fn forget(&mut self, now: Time, conn: Conn) {
        self.guests.retain(|guest| guest.conn != conn);
        for flight in &mut self.flights {
            if flight.conn == Some(conn) {
                flight.conn = None;
            }
        }
        let (gone, kept): (Vec<Flight>, Vec<Flight>) = std::mem::take(&mut self.flights)
            .into_iter()
            .partition(|flight| flight.conn.is_none() && !self.line.is_sent(flight.ticket));
        self.flights = kept;
        for flight in gone {
            self.line.cancel(now, flight.ticket);
        }
    }
}
