//! The client: asks, and takes for an answer only what answers the question.
//!
//! Rules of this file:
//! - A request ends in exactly one event that carries its ticket. What arrives late, twice or unasked is an event too,
//!   never data (MG 4.4.1.3, SL 2.4.1).
//! - An answer must match the request in transaction and protocol id (TCP), unit, function, amount of data and echoed
//!   fields; else it is `Malformed`, with the reason.
//! - A request is asked once, unless [`Options::retries`] says otherwise; each attempt stands in the exchange and is an
//!   event. An exception is an answer and never asked again (AP 7: 05 and 06 say "later", and later is the caller's to say).
//! - The time-out counts from the moment the request is handed to the driver; without a connection, from the call.
//! - On TCP several requests may be in flight; transaction ids of requests in flight, and of those recently ended, are
//!   not used again. On a line one request is in flight at a time (`line_side.rs` has the rules there, `late.rs` those for late answers).

mod ask;
mod call;
mod config;
mod echo;
mod event;
mod judge;
mod late;
mod line_side;
mod settings;
mod tcp_side;
#[cfg(test)]
mod tests;

pub use ask::{Options, Patch, RequestError, Strictness};
pub use config::{Config, LateAnswers, Mode, Transactions};
pub use event::{Attempt, ClientEvent, Exchange, Stray, Ticket, why_text};
pub use judge::Deviation;
pub(super) use settings::{LINE_TESTER, TESTER};

use super::pdu::{Request, Response};
use super::tcp;
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Why};
use crate::line::LineEvent;
use crate::time::{Duration, Stamp, Time};
use call::Call;
use line_side::LineSide;
use std::collections::VecDeque;

/// How many ended requests are remembered, to tell late and second answers from unasked ones.
const REMEMBERED: usize = 64;

/// Why what was heard instead of an answer accuses nobody.
const NOISE: &str = "noise, which may have cost the request or its answer, is nobody's for sure: it does not begin like the \
                     answer";

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
    line: Option<LineSide>,
    /// The next request waits until then: [`Config::pace`].
    paced_until: Time,
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
struct Ended {
    transaction: u16,
    answered: bool,
}

#[derive(Debug)]
enum Step {
    Send(Ticket),
    /// Part of a request, or one for whose answer no call waits; the silence before it, if it is not the usual one.
    SendBytes(Vec<u8>, Option<Duration>),
    Close(Conn, How),
    Connect,
}

impl Client {
    /// A client; it asks nothing by itself.
    #[must_use]
    pub fn new(config: Config) -> Client {
        let line = config.mode.serial().map(|rules| LineSide::new(&rules));
        let next_transaction = match config.transactions {
            Transactions::Sequential(first) => first,
            Transactions::Fixed(_) | Transactions::Colliding => 1,
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
            line,
            paced_until: Time::ZERO,
            steps: VecDeque::new(),
            events: VecDeque::new(),
            gibberish: None,
            next_ticket: 1,
            next_transaction,
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

    /// A request is on its way, or was, and has not ended.
    #[must_use]
    pub fn is_sent(&self, ticket: Ticket) -> bool {
        self.flying.iter().any(|call| call.ticket == ticket)
    }

    /// The transaction id the next request will get, if it is free then.
    pub fn set_next_transaction(&mut self, transaction: u16) {
        self.next_transaction = transaction;
    }

    /// How many requests may be in flight from now on; a line has one at a time.
    pub fn set_in_flight(&mut self, in_flight: usize) {
        self.config.in_flight = in_flight;
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
        self.ask(now, unit, request, timeout, None)
    }

    /// Whether this may be asked at all.
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub fn check(&self, unit: u8, request: &Request, options: Option<&Options>) -> Result<(), RequestError> {
        ask::check(&self.config.mode, unit, request, options)
    }

    /// Asks in another way than plainly.
    ///
    /// # Errors
    /// Those of [`Client::request`], unless they are asked for; a patch of a field that is not there; a pause outside the
    /// frame.
    pub fn ask(
        &mut self,
        now: Time,
        unit: u8,
        request: Request,
        timeout: Duration,
        options: Option<Box<Options>>,
    ) -> Result<Ticket, RequestError> {
        ask::check(&self.config.mode, unit, &request, options.as_deref())?;
        let ticket = Ticket(self.next_ticket);
        let call = Call::new(ticket, now, unit, request, timeout, options);
        call.check_split(&self.config.mode)?;
        self.next_ticket += 1;
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

    /// Sends these bytes as a frame; what is to answer them is read from them.
    ///
    /// # Errors
    /// Those of [`Client::ask`]; there is a patch, which a frame that is sent as it is has no use for.
    pub fn raw_frame(
        &mut self,
        now: Time,
        frame: &[u8],
        timeout: Duration,
        options: Options,
    ) -> Result<Ticket, RequestError> {
        if options.patch.is_some() {
            return Err(RequestError::PatchedFrame);
        }
        let (transaction, unit, request) = ask::read_frame(&self.config.mode, frame);
        let patch = transaction.map(|_| Patch { transaction, ..Patch::default() });
        let frame = Some(frame.to_vec());
        self.ask(now, unit, request, timeout, Some(Box::new(Options { patch, frame, ..options })))
    }

    /// What a raw frame does to a device, see [`Request::action`].
    #[must_use]
    pub fn frame_action(&self, frame: &[u8]) -> &'static str {
        ask::read_frame(&self.config.mode, frame).2.action()
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

    /// Sends what may be sent now.
    fn pump(&mut self, now: Time) {
        if !self.is_connected() {
            return;
        }
        while self.flying.len() < self.limit() && now >= self.paced_until {
            let next = match &self.line {
                None => self.waiting.pop_front(),
                Some(line) => {
                    let free = self.next_on_line(line).find(|(_, due)| *due <= now);
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
    fn next_on_line(&self, line: &LineSide) -> impl Iterator<Item = (usize, Time)> {
        let mut units = [false; 256];
        let is_first_of_unit = move |call: &Call| !std::mem::replace(&mut units[usize::from(call.unit)], true);
        let calls = self.waiting.iter().enumerate();
        let mut is_first_of_unit = is_first_of_unit;
        calls.filter(move |(_, call)| is_first_of_unit(call)).map(move |(index, call)| (index, line.free_from(call)))
    }

    fn limit(&self) -> usize {
        if self.line.is_some() { 1 } else { self.config.in_flight.max(1) }
    }

    fn launch(&mut self, now: Time, mut call: Call) {
        call.sent = Some(now);
        call.deadline = now + call.timeout;
        self.paced_until = now + self.config.pace;
        if self.line.is_none() {
            self.drop_leftovers(now);
            call.transaction = call.patch().transaction.unwrap_or_else(|| self.free_transaction());
        }
        call.encode(&self.config.mode, self.line.as_ref().map_or(b'\n', LineSide::delimiter));
        if let Some(line) = &mut self.line {
            let strays = line.begin(now, &self.config, &call);
            self.events.extend(strays);
            if line_side::is_broadcast(&call) {
                self.steps.extend(call.steps(Step::SendBytes));
                self.events.push_back(ClientEvent::Broadcast(call.end(Vec::new(), Stamp::exact(now))));
                return;
            }
        }
        match call.is_plain() {
            true => self.steps.push_back(Step::Send(call.ticket)),
            false => self.steps.extend(call.steps(Step::SendBytes)),
        }
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
        match self.config.transactions {
            Transactions::Fixed(transaction) => return transaction,
            Transactions::Colliding if !self.flying.is_empty() => return self.flying[0].transaction,
            _ => {}
        }
        loop {
            let transaction = self.next_transaction;
            self.next_transaction = transaction.wrapping_add(1);
            let taken = self.flying.iter().any(|call| call.transaction == transaction) || self.is_owed(transaction);
            if !taken {
                return transaction;
            }
        }
    }

    /// A request with this transaction id was given up and may still be answered.
    fn is_owed(&self, transaction: u16) -> bool {
        self.unanswered > 0 && self.ended.iter().any(|ended| ended.transaction == transaction && !ended.answered)
    }

    fn remember(&mut self, transaction: u16, answered: bool) {
        if self.line.is_none() {
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
        if let Some(line) = &mut self.line {
            line.gave_up(now, &self.config, call);
        }
    }

    /// Something came that ends this request, unless it is to be asked again.
    fn settle(&mut self, now: Time, call: Call, bytes: &[u8], at: Stamp, judgement: judge::Judgement) {
        self.paced_until = now + self.config.pace;
        match judgement {
            Ok((response, deviations)) if call.doubt.is_none() => {
                for deviation in &deviations {
                    let reason = format!("{}: {}", deviation.name, deviation.text);
                    self.events.push_back(ClientEvent::Deviated(Stray { bytes: bytes.to_vec(), at, reason }));
                }
                let exchange = Exchange { deviations, ..call.end(bytes.to_vec(), at) };
                self.events.push_back(match response {
                    Response::Exception(exception) => ClientEvent::Exception(exchange, exception),
                    response => ClientEvent::Answered(exchange, response),
                });
            }
            Ok(_) => {
                let reason = "it cannot be told which request it answers".to_owned();
                self.events.push_back(ClientEvent::Malformed(call.end(bytes.to_vec(), at), reason));
            }
            Err(reason) => self.fail(call, bytes, at, Some(reason)),
        }
    }

    /// A request was not answered in time (`reason: None`), or not properly: asks again if that is wanted.
    fn fail(&mut self, mut call: Call, bytes: &[u8], at: Stamp, reason: Option<String>) {
        if call.may_be_retried() && self.is_connected() {
            let problem = reason.unwrap_or_else(|| "it was not answered in time".to_owned());
            let attempt = format!("attempt {} of {}: {problem}", call.attempts.len() + 1, call.most_attempts());
            self.events.push_back(ClientEvent::Retried(Stray { bytes: bytes.to_vec(), at, reason: attempt }));
            call.retry(bytes, at, problem);
            self.waiting.push_front(call);
            return;
        }
        let timeout = call.timeout;
        let exchange = call.end(bytes.to_vec(), at);
        self.events.push_back(match reason {
            Some(reason) => ClientEvent::Malformed(exchange, reason),
            None => ClientEvent::TimedOut(exchange, timeout),
        });
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
        if let Some(line) = &mut self.line {
            line.reset();
            // A serial server hands what comes late to the next connection.
            flying.iter().for_each(|call| line.gave_up(now, &self.config, call));
        }
        for call in flying.into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.end_lost(now, call, &why);
        }
        self.framer.clear();
        self.steps.retain(|step| !matches!(step, Step::Send(_) | Step::SendBytes(..)));
        self.events.push_back(ClientEvent::Disconnected(now, why.clone()));
        self.link = Link::Gone(why);
        self.connecting = false;
    }

    fn expire_calls(&mut self, now: Time) {
        while let Some(index) = self.flying.iter().position(|call| call.deadline <= now) {
            let mut call = self.flying.remove(index);
            let doubt = self.line.as_mut().and_then(|line| line.doubt_of_silence(now, &self.config, call.unit));
            call.doubt = call.doubt.or(doubt);
            self.give_up(now, &call);
            match call.heard.take() {
                Some(heard) => {
                    call.doubt = call.doubt.or(heard.doubt).or_else(|| Some(NOISE.to_owned()));
                    self.fail(call, &heard.bytes, heard.at, Some(heard.problem));
                }
                // Not on a line, where nothing is waited for: a refusal would have come by now (AP 6.8.1, 0004).
                None if !call.request.is_answered() => {
                    self.events.push_back(ClientEvent::Broadcast(call.end(Vec::new(), Stamp::exact(now))));
                }
                None => self.fail(call, &[], Stamp::exact(now), None),
            }
        }
        if !self.is_connected() {
            while let Some(index) = self.waiting.iter().position(|call| call.deadline <= now) {
                let Some(call) = self.waiting.remove(index) else { return };
                let why =
                    Why::Refused { via: String::new(), reason: "there is no connection yet".into(), untrusted: false };
                self.events.push_back(ClientEvent::Lost(call.end(Vec::new(), Stamp::exact(now)), why));
            }
        }
    }
}

impl Endpoint for Client {
    type Event = ClientEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match (input, &self.link) {
            (Input::Opened(conn, _), Link::Awaited | Link::Gone(_)) => {
                self.link = Link::Open(conn);
                self.connecting = false;
                self.framer.clear();
                // What was asked on another connection is not answered on this one.
                self.ended.clear();
                self.unanswered = 0;
                self.gibberish = None;
                self.events.push_back(ClientEvent::Connected(now));
            }
            (Input::Bytes(conn, bytes, stamps), Link::Open(open)) if conn == *open => match &self.line {
                None => self.take_tcp(now, bytes, stamps),
                Some(_) => self.take_line(now, bytes, stamps),
            },
            (Input::Datagram(conn, _, bytes, stamps), Link::Open(open)) if conn == *open && self.line.is_none() => {
                self.take_datagram(now, bytes, stamps.at(bytes.len().saturating_sub(1), bytes.len()));
            }
            (Input::Line(conn, LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun, _), Link::Open(open))
                if conn == *open =>
            {
                if let Some(line) = &mut self.line {
                    line.spoil();
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
        if self.line.is_some() {
            self.expire_line(now);
        }
        self.expire_calls(now);
        self.pump(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let flying = self.flying.iter().map(|call| call.deadline).min();
        let waiting = if self.is_connected() { None } else { self.waiting.iter().map(|call| call.deadline).min() };
        let line = self.line.as_ref().and_then(LineSide::poll_timeout);
        let may_send = self.is_connected() && self.flying.len() < self.limit() && !self.waiting.is_empty();
        let next = may_send.then(|| {
            let free = self.line.as_ref().and_then(|line| self.next_on_line(line).map(|(_, due)| due).min());
            self.paced_until.max(free.unwrap_or(Time::ZERO))
        });
        [flying, waiting, line, next].into_iter().flatten().min()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        loop {
            let step = self.steps.pop_front()?;
            let (bytes, gap) = match &step {
                Step::Close(conn, how) => return Some(Action::Close(*conn, *how)),
                Step::Connect => match &self.config.reconnect {
                    Some(target) => return Some(Action::Connect(target.clone())),
                    None => continue,
                },
                Step::SendBytes(bytes, gap) => (bytes, *gap),
                Step::Send(ticket) => match self.flying.iter().find(|call| call.ticket == *ticket) {
                    Some(call) => (&call.adu, None),
                    None => continue,
                },
            };
            if let Link::Open(conn) = self.link {
                let start = out.len();
                out.extend_from_slice(bytes);
                let gap_before = gap.or_else(|| match &self.config.mode {
                    Mode::Rtu(rules) => rules.gap_before(),
                    Mode::Tcp | Mode::Ascii(_) => None,
                });
                return Some(Action::Send { conn, range: start..out.len(), not_before: None, gap_before });
            }
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }
}
