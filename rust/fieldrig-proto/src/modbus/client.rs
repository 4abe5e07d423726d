//! The client: asks, and takes for an answer only what answers the question.
//!
//! Rules of this file:
//! - A request ends in exactly one event that carries its ticket. What arrives late, twice or unasked is an event too,
//!   never data (MG 4.4.1.3, SL 2.4.1).
//! - An answer must match the request in transaction and protocol id (TCP), unit, function, amount of data and echoed
//!   fields; else it is `Malformed`, with the reason.
//! - The time-out counts from the moment the request is handed to the driver; without a connection, from the call.
//! - On TCP several requests may be in flight; transaction ids of requests in flight, and of those recently ended, are
//!   not used again. On a line one request is in flight at a time (`rtu_side.rs` has the rules there, `late.rs` those for late answers).

mod config;
mod event;
mod late;
mod rtu_side;
#[cfg(test)]
mod tests;

pub use config::{Config, LateAnswers, Mode, RequestError};
pub use event::{ClientEvent, Exchange, Stray, Ticket, why_text};

use super::pdu::{Request, Response};
use super::tcp::{self, Found};
use crate::checksum::crc16_modbus;
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Stamps, Why};
use crate::line::LineEvent;
use crate::time::{Duration, Stamp, Time};
use rtu_side::RtuSide;
use std::collections::VecDeque;

/// How many ended requests are remembered, to tell late and second answers from unasked ones.
const REMEMBERED: usize = 64;

/// A Modbus client on one connection or line.
#[derive(Debug)]
pub struct Client {
    config: Config,
    link: Link,
    connecting: bool,
    /// Not sent yet.
    waiting: VecDeque<Call>,
    /// Sent and not answered.
    flying: Vec<Call>,
    ended: VecDeque<Ended>,
    /// How many of these were given up: their transaction ids are not free.
    unanswered: usize,
    framer: tcp::Framer,
    rtu: Option<RtuSide>,
    steps: VecDeque<Step>,
    events: VecDeque<ClientEvent>,
    /// What came instead of Modbus, if that is why the connection was given up.
    gibberish: Option<Stray>,
    next_ticket: u64,
    next_transaction: u16,
}

#[derive(Debug)]
enum Link {
    /// The driver is expected to open it.
    Awaited,
    Open(Conn),
    Gone(Why),
}

#[derive(Debug)]
struct Call {
    ticket: Ticket,
    unit: u8,
    request: Request,
    timeout: Duration,
    deadline: Time,
    transaction: u16,
    adu: Vec<u8>,
    sent: Option<Time>,
    /// It was sent before, and what came may have answered an earlier request.
    again: bool,
}

#[derive(Debug)]
struct Ended {
    transaction: u16,
    answered: bool,
}

#[derive(Debug)]
enum Step {
    Send(Ticket),
    /// A broadcast: no call waits for its answer.
    SendBytes(Vec<u8>),
    Close(Conn, How),
    Connect,
}

impl Client {
    /// A client; it asks nothing by itself.
    #[must_use]
    pub fn new(config: Config) -> Client {
        let rtu = match &config.mode {
            Mode::Tcp => None,
            Mode::Rtu(rules) => Some(RtuSide::new(rules)),
        };
        Client {
            config,
            link: Link::Awaited,
            connecting: false,
            waiting: VecDeque::new(),
            flying: Vec::new(),
            ended: VecDeque::new(),
            unanswered: 0,
            framer: tcp::Framer::default(),
            rtu,
            steps: VecDeque::new(),
            events: VecDeque::new(),
            gibberish: None,
            next_ticket: 1,
            next_transaction: 1,
        }
    }

    /// How it talks.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// There is a connection, or the line.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    /// The transaction id the next request will get, if it is free then.
    pub fn set_next_transaction(&mut self, transaction: u16) {
        self.next_transaction = transaction;
    }

    /// Asks. The request ends in one event that carries the ticket.
    ///
    /// # Errors
    /// What the standard does not allow to ask: quantities, addresses, units. Nothing is sent then.
    pub fn request(
        &mut self,
        now: Time,
        unit: u8,
        request: Request,
        timeout: Duration,
    ) -> Result<Ticket, RequestError> {
        self.check(unit, &request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        // A time-out of nothing would be due before it could be asked for.
        let timeout = timeout.max(Duration::from_nanos(1));
        let deadline = now + timeout;
        let call = Call {
            ticket,
            unit,
            request,
            timeout,
            deadline,
            transaction: 0,
            adu: Vec::with_capacity(16),
            sent: None,
            again: false,
        };
        match &self.link {
            Link::Gone(why) if self.config.reconnect.is_none() => {
                let why = why.clone();
                self.end_lost(now, call, &why);
            }
            Link::Gone(_) => {
                self.connect(now);
                self.waiting.push_back(call);
            }
            Link::Awaited | Link::Open(_) => self.waiting.push_back(call),
        }
        self.pump(now);
        Ok(ticket)
    }

    /// Connects now, if there is no connection and [`Config::reconnect`] says where to. A request does so by itself once
    /// a connection was lost.
    pub fn connect(&mut self, _now: Time) {
        if self.config.reconnect.is_some() && !self.is_connected() && !self.connecting {
            self.connecting = true;
            self.link = Link::Awaited;
            self.steps.push_back(Step::Connect);
        }
    }

    /// Gives a request up without an event; an answer that still comes is `Late`.
    pub fn cancel(&mut self, now: Time, ticket: Ticket) {
        self.waiting.retain(|call| call.ticket != ticket);
        if let Some(index) = self.flying.iter().position(|call| call.ticket == ticket) {
            let call = self.flying.swap_remove(index);
            self.give_up(now, &call);
            self.pump(now);
        }
    }

    /// Closes the connection. Pending requests end as `Lost`.
    pub fn close(&mut self, now: Time, how: How) {
        if let Link::Open(conn) = self.link {
            self.steps.push_back(Step::Close(conn, how));
            self.lose(now, Why::Local);
        }
    }

    fn check(&self, unit: u8, request: &Request) -> Result<(), RequestError> {
        request.check()?;
        request.check_addresses()?;
        let raw = matches!(request, Request::Raw { .. });
        if self.rtu.is_some() && !raw {
            if unit == super::rtu::BROADCAST && !request.is_plain_write() {
                return Err(RequestError::BroadcastRead { function: request.function() });
            }
            if unit > super::rtu::LAST_UNIT {
                return Err(RequestError::ReservedUnit { unit });
            }
        }
        Ok(())
    }

    /// Sends what may be sent now.
    fn pump(&mut self, now: Time) {
        if !self.is_connected() {
            return;
        }
        while self.flying.len() < self.limit() {
            let next = match &self.rtu {
                None => self.waiting.pop_front(),
                Some(rtu) => {
                    let free = self.next_on_line(rtu).find(|(_, due)| *due <= now);
                    let index = free.map(|(index, _)| index);
                    index.and_then(|index| self.waiting.remove(index))
                }
            };
            let Some(call) = next else { return };
            self.launch(now, call);
        }
    }

    /// Which requests may be sent next on the line, and when. A unit gets its requests in the order of the calls, but does
    /// not hold up those to others.
    fn next_on_line(&self, rtu: &RtuSide) -> impl Iterator<Item = (usize, Time)> {
        let mut units = [false; 256];
        let is_first_of_unit = move |call: &Call| !std::mem::replace(&mut units[usize::from(call.unit)], true);
        let calls = self.waiting.iter().enumerate();
        let mut is_first_of_unit = is_first_of_unit;
        calls.filter(move |(_, call)| is_first_of_unit(call)).map(move |(index, call)| (index, rtu.free_from(call)))
    }

    fn limit(&self) -> usize {
        if self.rtu.is_some() { 1 } else { self.config.in_flight.max(1) }
    }

    fn launch(&mut self, now: Time, mut call: Call) {
        call.sent = Some(now);
        call.deadline = now + call.timeout;
        if let Some(rtu) = &mut self.rtu {
            call.adu.push(call.unit);
            call.request.encode(&mut call.adu);
            let crc = crc16_modbus(&call.adu);
            call.adu.extend_from_slice(&crc.to_le_bytes());
            let strays = rtu.begin(now, &self.config, &call);
            self.events.extend(strays);
            if rtu_side::is_broadcast(&call) {
                self.steps.push_back(Step::SendBytes(call.adu.clone()));
                self.events.push_back(ClientEvent::Broadcast(call.end(Vec::new(), Stamp::exact(now))));
                return;
            }
        } else {
            self.drop_leftovers(now);
            call.transaction = self.free_transaction();
            tcp::put_header(&mut call.adu, call.transaction, tcp::PROTOCOL, 0, call.unit);
            call.request.encode(&mut call.adu);
            let length = (call.adu.len() - 6) as u16;
            call.adu[4..6].copy_from_slice(&length.to_be_bytes());
        }
        self.steps.push_back(Step::Send(call.ticket));
        self.flying.push(call);
    }

    /// With nothing in flight, bytes of an unfinished ADU cannot become an answer; they would only spoil the next one.
    fn drop_leftovers(&mut self, now: Time) {
        if self.flying.is_empty() && !self.framer.pending().is_empty() {
            let bytes = self.framer.pending().to_vec();
            self.framer.clear();
            let reason = "an unfinished ADU was left over from before this request".to_owned();
            self.events.push_back(ClientEvent::Unsolicited(Stray { bytes, at: Stamp::exact(now), reason }));
        }
    }

    fn free_transaction(&mut self) -> u16 {
        loop {
            let transaction = self.next_transaction;
            self.next_transaction = transaction.wrapping_add(1);
            let taken = self.flying.iter().any(|call| call.transaction == transaction)
                || (self.unanswered > 0
                    && self.ended.iter().any(|ended| ended.transaction == transaction && !ended.answered));
            if !taken {
                return transaction;
            }
        }
    }

    fn remember(&mut self, transaction: u16, answered: bool) {
        if self.rtu.is_none() {
            if self.ended.len() == REMEMBERED
                && let Some(forgotten) = self.ended.pop_front()
            {
                self.unanswered -= usize::from(!forgotten.answered);
            }
            self.unanswered += usize::from(!answered);
            self.ended.push_back(Ended { transaction, answered });
        }
    }

    fn give_up(&mut self, now: Time, call: &Call) {
        self.remember(call.transaction, false);
        if let Some(rtu) = &mut self.rtu {
            rtu.gave_up(now, &self.config, call);
        }
    }

    fn take_tcp(&mut self, now: Time, bytes: &[u8], stamps: Stamps<'_>) {
        let mut framer = std::mem::take(&mut self.framer);
        let mut end = 0usize.wrapping_sub(framer.pending().len());
        let mut lost = false;
        framer.feed(bytes, |found| match found {
            Found::Adu(adu) => {
                end = end.wrapping_add(adu.len());
                self.take_adu(adu, stamps.at(end.wrapping_sub(1), bytes.len()));
            }
            Found::Lost(rest) if !lost => {
                lost = true;
                self.take_unframable(rest, stamps.at(bytes.len().saturating_sub(1), bytes.len()));
            }
            Found::Lost(_) => {}
        });
        self.framer = framer;
        if lost {
            self.close(now, How::Rst);
        }
    }

    fn take_adu(&mut self, adu: &[u8], at: Stamp) {
        let view = tcp::View(adu);
        let Some(index) = self.flying.iter().position(|call| Some(call.transaction) == view.transaction()) else {
            self.take_stray(adu, at);
            return;
        };
        let call = self.flying.swap_remove(index);
        self.remember(call.transaction, true);
        let event = match judge(&call, view) {
            Ok(Response::Exception(exception)) => ClientEvent::Exception(call.end(adu.to_vec(), at), exception),
            Ok(response) => ClientEvent::Answered(call.end(adu.to_vec(), at), response),
            Err(reason) => ClientEvent::Malformed(call.end(adu.to_vec(), at), reason),
        };
        self.events.push_back(event);
    }

    fn take_stray(&mut self, adu: &[u8], at: Stamp) {
        let transaction = tcp::View(adu).transaction().unwrap_or_default();
        let known = self.ended.iter().rev().find(|ended| ended.transaction == transaction);
        let stray = |reason: String| Stray { bytes: adu.to_vec(), at, reason };
        self.events.push_back(match known {
            Some(ended) if ended.answered => {
                ClientEvent::Duplicate(stray(format!("transaction {transaction} was answered before")))
            }
            Some(_) => ClientEvent::Late(stray(format!("transaction {transaction} was given up before"))),
            None => ClientEvent::Unsolicited(stray(format!("no request has transaction {transaction}"))),
        });
    }

    fn take_unframable(&mut self, rest: &[u8], at: Stamp) {
        let view = tcp::View(rest);
        let length = view.length().unwrap_or_default();
        let reason = format!("length at offset 4 is {length}, 1 to {} are allowed", tcp::MAX_LENGTH);
        match self.flying.iter().position(|call| Some(call.transaction) == view.transaction()) {
            Some(index) => {
                let call = self.flying.swap_remove(index);
                self.events.push_back(ClientEvent::Malformed(call.end(rest.to_vec(), at), reason));
            }
            None => {
                let stray = Stray { bytes: rest.to_vec(), at, reason };
                self.gibberish = Some(stray.clone());
                self.events.push_back(ClientEvent::Unsolicited(stray));
            }
        }
    }

    /// Ends a request that has no connection any more. Where the other side spoke something else, that is the answer.
    fn end_lost(&mut self, now: Time, call: Call, why: &Why) {
        self.events.push_back(match &self.gibberish {
            Some(stray) if *why == Why::Local => {
                let reason = format!("what came cannot be read as Modbus/TCP: {}", stray.reason);
                ClientEvent::Malformed(call.end(stray.bytes.clone(), stray.at), reason)
            }
            _ => ClientEvent::Lost(call.end(Vec::new(), Stamp::exact(now)), why.clone()),
        });
    }

    /// The connection is gone: everything pending ends.
    fn lose(&mut self, now: Time, why: Why) {
        let flying = std::mem::take(&mut self.flying);
        if let Some(rtu) = &mut self.rtu {
            rtu.reset();
            // A serial server hands what comes late to the next connection.
            flying.iter().for_each(|call| rtu.gave_up(now, &self.config, call));
        }
        for call in flying.into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.end_lost(now, call, &why);
        }
        self.framer.clear();
        self.steps.retain(|step| !matches!(step, Step::Send(_) | Step::SendBytes(_)));
        self.events.push_back(ClientEvent::Disconnected(now, why.clone()));
        self.link = Link::Gone(why);
        self.connecting = false;
    }

    fn expire_calls(&mut self, now: Time) {
        while let Some(index) = self.flying.iter().position(|call| call.deadline <= now) {
            let call = self.flying.remove(index);
            let doubt = self.rtu.as_mut().and_then(|rtu| rtu.doubt_of_silence(now, call.unit));
            self.give_up(now, &call);
            let timeout = call.timeout;
            let exchange = Exchange { doubt, ..call.end(Vec::new(), Stamp::exact(now)) };
            self.events.push_back(ClientEvent::TimedOut(exchange, timeout));
        }
        if !self.is_connected() {
            while let Some(index) = self.waiting.iter().position(|call| call.deadline <= now) {
                let Some(call) = self.waiting.remove(index) else { return };
                let why = Why::Refused { via: String::new(), reason: "there is no connection yet".into() };
                self.events.push_back(ClientEvent::Lost(call.end(Vec::new(), Stamp::exact(now)), why));
            }
        }
    }
}

impl Call {
    fn end(self, answer: Vec<u8>, at: Stamp) -> Exchange {
        Exchange {
            ticket: self.ticket,
            unit: self.unit,
            asked: self.request,
            request: self.adu,
            sent: self.sent,
            answer,
            at,
            doubt: None,
        }
    }
}

/// Whether an ADU with the right transaction id answers the call.
fn judge(call: &Call, view: tcp::View<'_>) -> Result<Response, String> {
    if let Some(protocol) = view.protocol()
        && protocol != tcp::PROTOCOL
    {
        return Err(format!("protocol id at offset 2 is {protocol:#06x}, 0 is Modbus"));
    }
    if let Some(unit) = view.unit()
        && unit != call.unit
    {
        return Err(format!("unit id at offset 6 is {unit}, {} was asked", call.unit));
    }
    Response::answering(&call.request, view.pdu()).map_err(|error| format!("PDU from offset 7: {error}"))
}

impl Endpoint for Client {
    type Event = ClientEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match (input, &self.link) {
            (Input::Opened(conn, _), Link::Awaited | Link::Gone(_)) => {
                self.link = Link::Open(conn);
                self.connecting = false;
                self.framer.clear();
                self.gibberish = None;
                self.events.push_back(ClientEvent::Connected(now));
            }
            (Input::Bytes(conn, bytes, stamps), Link::Open(open)) if conn == *open => match &self.rtu {
                None => self.take_tcp(now, bytes, stamps),
                Some(_) => self.take_rtu(now, bytes, stamps),
            },
            (Input::Line(conn, LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun), Link::Open(open))
                if conn == *open =>
            {
                if let Some(rtu) = &mut self.rtu {
                    rtu.spoil();
                }
            }
            (Input::Closed(conn, why), Link::Open(open)) if conn == *open => {
                if why == Why::Finished {
                    self.steps.push_back(Step::Close(conn, How::Fin));
                }
                self.lose(now, why);
            }
            (Input::Closed(_, why @ Why::Refused { .. }), Link::Awaited) => self.lose(now, why),
            _ => {}
        }
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.rtu.is_some() {
            self.expire_rtu(now);
        }
        self.expire_calls(now);
        self.pump(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let flying = self.flying.iter().map(|call| call.deadline).min();
        let waiting = if self.is_connected() { None } else { self.waiting.iter().map(|call| call.deadline).min() };
        let line = self.rtu.as_ref().and_then(RtuSide::poll_timeout);
        let idle = self.rtu.as_ref().filter(|_| self.flying.is_empty() && self.is_connected());
        let next = idle.and_then(|rtu| self.next_on_line(rtu).map(|(_, due)| due).min());
        [flying, waiting, line, next].into_iter().flatten().min()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        loop {
            let step = self.steps.pop_front()?;
            let bytes = match &step {
                Step::Close(conn, how) => return Some(Action::Close(*conn, *how)),
                Step::Connect => match &self.config.reconnect {
                    Some(target) => return Some(Action::Connect(target.clone())),
                    None => continue,
                },
                Step::SendBytes(bytes) => bytes,
                Step::Send(ticket) => match self.flying.iter().find(|call| call.ticket == *ticket) {
                    Some(call) => &call.adu,
                    None => continue,
                },
            };
            if let Link::Open(conn) = self.link {
                let start = out.len();
                out.extend_from_slice(bytes);
                let gap_before = match &self.config.mode {
                    Mode::Rtu(rules) => rules.gap_before(),
                    Mode::Tcp => None,
                };
                return Some(Action::Send { conn, range: start..out.len(), not_before: None, gap_before });
            }
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }
}
