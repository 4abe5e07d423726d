//! The side of the line: which request goes there, and what becomes of what comes back.

use super::{Flight, Gateway, Job, Step};
use crate::endpoint::{Conn, Endpoint, How};
use crate::modbus::client::{ClientEvent, Exchange, Mode};
use crate::modbus::pdu::{Exception, Request, Response, function as f};
use crate::modbus::rtu::{self, BROADCAST};
use crate::record::Record;
use crate::time::Time;

/// How a request on the line ended.
enum Ended {
    Answer(Vec<u8>),
    Refused(u8),
    /// A broadcast.
    Nothing,
}

impl Gateway {
    /// Takes what the line says and gives it what it may have, until neither changes anything.
    pub(super) fn settle(&mut self, now: Time) {
        loop {
            while let Some(event) = Endpoint::poll_event(&mut self.line) {
                self.line_event(event);
            }
            if !self.hand_over(now) {
                break;
            }
        }
        let left: Vec<Conn> = self.guests.iter().filter(|guest| guest.has_left()).map(|guest| guest.conn).collect();
        for conn in left {
            self.guests.retain(|guest| guest.conn != conn);
            self.steps.push_back(Step::Close(conn, How::Fin));
        }
    }

    /// Gives the line one request of each connection that has none there; false if there was none.
    fn hand_over(&mut self, now: Time) -> bool {
        let mut any = false;
        for index in 0..self.guests.len() {
            let guest = &mut self.guests[index];
            if guest.active.is_some() {
                continue;
            }
            let Some(job) = guest.queue.pop_front() else { continue };
            let conn = guest.conn;
            any = true;
            if self.habits.parallel_on_wire && !self.flights.is_empty() {
                self.blurt(&job);
            }
            match self.line.request(now, job.on_line, request_of(&job), self.timeout) {
                Ok(ticket) => {
                    self.guests[index].active = Some(ticket);
                    self.flights.push(Flight { ticket, conn: Some(conn), job });
                }
                Err(problem) => {
                    self.report("modbus.gateway.refused", job.unit, problem.to_string());
                    self.refuse(conn, &job, Exception::GATEWAY_PATH_UNAVAILABLE);
                }
            }
        }
        any
    }

    /// The habit that does not wait for its turn on the line.
    fn blurt(&mut self, job: &Job) {
        if let Some(conn) = self.line_conn {
            let mut frame = Vec::new();
            rtu::Adu::new(job.on_line, &job.pdu).encode(&mut frame);
            self.steps.push_back(Step::Send(conn, frame));
        }
    }

    fn line_event(&mut self, event: ClientEvent) {
        let flight = event.ticket().and_then(|ticket| self.flights.iter().position(|flight| flight.ticket == ticket));
        let Some(flight) = flight.map(|index| self.flights.remove(index)) else {
            self.events.push_back(Record::from(event));
            return;
        };
        for guest in self.guests.iter_mut().filter(|guest| guest.active == Some(flight.ticket)) {
            guest.active = None;
        }
        let ended = self.ended(&flight.job, &event);
        if !matches!(event, ClientEvent::Answered(..) | ClientEvent::Broadcast(..)) {
            self.events.push_back(Record::from(event));
        }
        match flight.conn {
            Some(conn) => self.deliver(conn, &flight.job, ended),
            None => self.discard_late(&flight.job, ended),
        }
    }

    fn ended(&self, job: &Job, event: &ClientEvent) -> Ended {
        match event {
            ClientEvent::Answered(exchange, response) => Ended::Answer(self.pdu_of(exchange, Some(response))),
            ClientEvent::Exception(_, _) if self.habits.swallow_exceptions => {
                Ended::Refused(Exception::GATEWAY_TARGET_FAILED_TO_RESPOND)
            }
            ClientEvent::Exception(exchange, exception) => {
                Ended::Answer(self.pdu_of(exchange, Some(&Response::Exception(*exception))))
            }
            ClientEvent::Broadcast(_) => Ended::Nothing,
            ClientEvent::Malformed(exchange, _) if self.habits.pass_damaged => {
                Ended::Answer(self.pdu_of(exchange, None))
            }
            ClientEvent::Malformed(exchange, _) if self.is_whole(job, exchange) => {
                Ended::Answer(self.pdu_of(exchange, None))
            }
            ClientEvent::Lost(..) => Ended::Refused(Exception::GATEWAY_PATH_UNAVAILABLE),
            _ => Ended::Refused(Exception::GATEWAY_TARGET_FAILED_TO_RESPOND),
        }
    }

    /// It came undamaged from that unit and is of that function: what it says is for the client to judge.
    fn is_whole(&self, job: &Job, exchange: &Exchange) -> bool {
        let view = rtu::View(&exchange.answer);
        let function = view.pdu().first().map(|code| code & !f::EXCEPTION_BIT);
        matches!(self.line.config().mode, Mode::Rtu(_))
            && exchange.doubt.is_none()
            && view.problem().is_none()
            && view.unit() == Some(job.on_line)
            && function == Some(job.pdu[0] & !f::EXCEPTION_BIT)
    }

    fn pdu_of(&self, exchange: &Exchange, response: Option<&Response>) -> Vec<u8> {
        match (&self.line.config().mode, response) {
            (Mode::Rtu(_), _) | (_, None) => rtu::View(&exchange.answer).pdu().to_vec(),
            (_, Some(response)) => {
                let mut pdu = Vec::new();
                response.encode(&mut pdu);
                pdu
            }
        }
    }

    fn deliver(&mut self, conn: Conn, job: &Job, ended: Ended) {
        match ended {
            Ended::Answer(pdu) if !pdu.is_empty() => self.answer(conn, job, &pdu),
            Ended::Refused(_) if self.habits.silent_on_failure => {}
            Ended::Answer(_) => self.refuse(conn, job, Exception::GATEWAY_TARGET_FAILED_TO_RESPOND),
            Ended::Refused(code) => self.refuse(conn, job, code),
            Ended::Nothing => {}
        }
    }

    /// Whoever asked is gone.
    fn discard_late(&mut self, job: &Job, ended: Ended) {
        self.report("modbus.gateway.discarded", job.unit, "the client that asked is gone");
        let Ended::Answer(pdu) = ended else { return };
        if !self.habits.late_to_next {
            return;
        }
        match self.flights.iter_mut().find(|flight| flight.conn.is_some()) {
            Some(next) => {
                let (conn, job) = (next.conn.take(), next.job.clone());
                if let Some(conn) = conn {
                    self.answer(conn, &job, &pdu);
                }
            }
            None => self.stashed = Some(pdu),
        }
    }
}

/// What the line is asked: by name where it can be, so that its answer is told from that to another request; else as it is.
/// What is never answered is asked as it is, too: to the client that is a time-out, as of any silent unit.
fn request_of(job: &Job) -> Request {
    match Request::parse(&job.pdu) {
        Ok(request)
            if request.check().is_ok()
                && request.check_addresses().is_ok()
                && (request.is_answered() || job.on_line == BROADCAST) =>
        {
            request
        }
        _ => Request::raw(&job.pdu),
    }
}
