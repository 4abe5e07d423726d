//! The client: asks, and tells what comes.
//!
//! Rules of this file:
//! - One request is under way at a time; others wait in order. It is answered by the first sound frame that is one of its
//!   answers, has its sequence number (if the protocol has one) and repeats the fields that answers repeat (`same`).
//! - An answer that comes after its time-out is late: an event, never data. Where neither a sequence number nor a repeated
//!   field would tell it from the answer to the next request, that one waits until the late one has come or `settle` is over.
//! - Everything else is an event: unsolicited messages, strays (while an answer is awaited, one with another number or
//!   other repeated fields; a message that is said to come by itself is none), wrong frames, garbage.
//! - What came is kept, oldest first out, 10 000 at most.

use super::definition::{Definition, Message};
use super::encode::{EncodeError, Patch};
use crate::dissect::Sender;
use crate::endpoint::{Action, Conn, Endpoint, How, Input, Why};
use crate::line::LineEvent;
use crate::line::framing::{Decoder, Event, Problem};
use crate::reader::did_you_mean;
use crate::record::{Record, Value};
use crate::time::{Duration, Order, Stamp, Time};
use std::collections::VecDeque;
use std::sync::Arc;

/// So much of what came is kept.
const KEPT: usize = 10_000;
/// So many requests whose answers may come late are remembered.
const LATE: usize = 64;

/// A request.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ask {
    /// The message.
    pub name: String,
    /// Its fields.
    pub fields: Vec<(String, Value)>,
    /// What is wrong with it.
    pub patch: Patch,
    /// The messages that answer it; those of its description if not given.
    pub answers: Option<Vec<String>>,
    /// How long an answer is waited for; as the protocol says if not given.
    pub timeout: Option<Duration>,
}

/// What came over the wire.
#[derive(Clone, PartialEq, Debug)]
pub struct Come {
    /// `answer`, `unsolicited`, `stray`, `late`, `wrong` or `garbage`.
    pub kind: &'static str,
    /// What it says, as far as it can be read.
    pub message: Message,
    /// As it came.
    pub raw: Vec<u8>,
    /// When its first byte came.
    pub first: Stamp,
    /// When its last byte came.
    pub last: Stamp,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Why a request got no answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Failure {
    /// None came in time; what came from this place on instead.
    NoAnswer(u64),
    /// The connection ended.
    Ended(Why),
}

/// How a connection stands.
#[derive(Clone, PartialEq, Debug)]
pub enum State {
    /// Not open yet.
    Waiting,
    /// Open.
    Open,
    /// Over.
    Closed(Why),
}

/// For the run log.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientEvent(Record);

impl From<ClientEvent> for Record {
    fn from(event: ClientEvent) -> Record {
        event.0
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Pending {
    token: u64,
    name: String,
    bytes: Vec<u8>,
    /// What the request itself says, as it was sent.
    said: Message,
    answers: Vec<String>,
    timeout: Duration,
    deadline: Option<Time>,
    /// Where what came began when it was sent.
    since: u64,
    sent: Time,
}

/// A client of a protocol that is defined by data.
pub struct Client {
    definition: Arc<Definition>,
    decoder: Decoder,
    conn: Option<Conn>,
    state: State,
    waiting: VecDeque<Pending>,
    current: Option<Pending>,
    late: VecDeque<Pending>,
    hold_until: Option<Time>,
    outcomes: VecDeque<(u64, Result<u64, Failure>, Time)>,
    token: u64,
    sequence: u64,
    out: VecDeque<Vec<u8>>,
    closing: Option<How>,
    come: VecDeque<Come>,
    dropped: u64,
    overrun: Option<Stamp>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(definition: Arc<Definition>) -> Client {
        Client {
            decoder: Decoder::new(Arc::clone(&definition.framing)),
            definition,
            conn: None,
            state: State::Waiting,
            waiting: VecDeque::new(),
            current: None,
            late: VecDeque::new(),
            hold_until: None,
            outcomes: VecDeque::new(),
            token: 0,
            sequence: 0,
            out: VecDeque::new(),
            closing: None,
            come: VecDeque::new(),
            dropped: 0,
            overrun: None,
            events: VecDeque::new(),
        }
    }

    /// Its protocol.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// How its connection stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Asks; gives a token for [`Client::outcome`] and the bytes of the request.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn ask(&mut self, now: Time, ask: &Ask) -> Result<(u64, Vec<u8>), EncodeError> {
        let encoded = self.encode(&ask.name, &ask.fields, &ask.patch)?;
        let answers = match &ask.answers {
            Some(answers) => answers.clone(),
            None => self.definition.message(&ask.name).map(|message| message.answers.clone()).unwrap_or_default(),
        };
        if let Some(unknown) = answers.iter().find(|name| self.definition.message(name).is_none()) {
            let names = self.definition.messages.iter().map(|message| message.name.as_str());
            let problem = format!("{} has no message `{unknown}` that could answer", self.definition.name);
            return Err(EncodeError { problem, hint: did_you_mean(unknown, names) });
        }
        if answers.is_empty() {
            let mut error = EncodeError::new(format!("nothing answers `{}`", ask.name));
            error.hint = Some(format!("write answer = \"..\" in [message.{}], or send() it", ask.name));
            return Err(error);
        }
        self.token += 1;
        let (bytes, token) = (encoded.bytes, self.token);
        let said = self.definition.decode(&encoded.body, Some(Sender::Client));
        let timeout = ask.timeout.unwrap_or(self.definition.timeout);
        let name = ask.name.clone();
        let pending =
            Pending { token, name, bytes: bytes.clone(), said, answers, timeout, deadline: None, since: 0, sent: now };
        self.waiting.push_back(pending);
        self.next(now);
        Ok((token, bytes))
    }

    /// What came of a request, and when it was sent: the place of its answer. It is told once.
    pub fn outcome(&mut self, token: u64) -> Option<(Result<u64, Failure>, Time)> {
        let index = self.outcomes.iter().position(|(known, ..)| *known == token)?;
        self.outcomes.remove(index).map(|(_, outcome, sent)| (outcome, sent))
    }

    /// Nobody waits for a request any more.
    pub fn give_up(&mut self, now: Time, token: u64) {
        self.waiting.retain(|pending| pending.token != token);
        self.outcomes.retain(|(known, ..)| *known != token);
        if self.current.as_ref().is_some_and(|current| current.token == token) {
            self.time_out(now);
            self.outcomes.retain(|(known, ..)| *known != token);
            self.next(now);
        }
    }

    /// Sends a message to which no answer is awaited; gives its bytes.
    ///
    /// # Errors
    /// What is wrong with it, or the connection is over.
    pub fn send(&mut self, name: &str, fields: &[(String, Value)], patch: &Patch) -> Result<Vec<u8>, EncodeError> {
        let encoded = self.encode(name, fields, patch)?;
        self.out.push_back(encoded.bytes.clone());
        Ok(encoded.bytes)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.out.push_back(bytes.to_vec());
    }

    /// Ends the connection.
    pub fn close(&mut self, how: How) {
        self.closing = Some(how);
    }

    /// What came, from a place on.
    pub fn come_since(&self, place: u64) -> impl Iterator<Item = (u64, &Come)> {
        let skipped = usize::try_from(place.saturating_sub(self.dropped)).unwrap_or(usize::MAX).min(self.come.len());
        let from = self.dropped + skipped as u64;
        (from..).zip(self.come.range(skipped..))
    }

    /// What came at a place.
    #[must_use]
    pub fn come_at(&self, place: u64) -> Option<&Come> {
        self.come.get(usize::try_from(place.checked_sub(self.dropped)?).ok()?)
    }

    /// The place of what comes next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.dropped + self.come.len() as u64
    }

    /// How much of what came is not kept any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When the port was overrun last: bytes were lost.
    #[must_use]
    pub fn overrun(&self) -> Option<Stamp> {
        self.overrun
    }

    /// Why what came from an instant on may have been anything: it cannot be read, or is not whole yet.
    #[must_use]
    pub fn unread(&self, since: Stamp) -> Option<&'static str> {
        let counts = |at: Stamp| at.order(since) != Order::Before;
        let wrong = |come: &Come| matches!(come.kind, "wrong" | "garbage") && counts(come.last);
        if self.come.iter().any(wrong) {
            return Some("something came that cannot be read: it may have been that");
        }
        self.decoder.pending().filter(|at| counts(*at)).map(|_| "bytes came that are no whole frame yet")
    }

    fn encode(
        &mut self,
        name: &str,
        fields: &[(String, Value)],
        patch: &Patch,
    ) -> Result<super::encode::Encoded, EncodeError> {
        if let State::Closed(_) = self.state {
            return Err(EncodeError::new("the connection is over"));
        }
        let encoded = self.definition.encode(name, fields, self.sequence, patch)?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(encoded)
    }

    /// Sends the next request, if nothing is in its way.
    fn next(&mut self, now: Time) {
        if self.current.is_some() || self.state != State::Open {
            return;
        }
        let Some(first) = self.waiting.front() else { return };
        if let Some(until) = self.hold_until {
            let confused = self.late.iter().any(|late| self.could_answer(late, first));
            if confused && now < until {
                return;
            }
            self.hold_until = None;
        }
        if self.definition.sequence().is_none() {
            // What comes from now on cannot be told from an answer to this one.
            let late = std::mem::take(&mut self.late);
            self.late = late.into_iter().filter(|late| !self.could_answer(late, first)).collect();
        }
        let Some(mut pending) = self.waiting.pop_front() else { return };
        pending.deadline = Some(now + pending.timeout);
        pending.since = self.end();
        pending.sent = now;
        self.out.push_back(pending.bytes.clone());
        self.current = Some(pending);
    }

    /// Whether an answer to one request would pass for an answer to another one.
    fn could_answer(&self, one: &Pending, other: &Pending) -> bool {
        self.definition.sequence().is_none()
            && one.answers.iter().any(|answer| other.answers.contains(answer))
            && self.definition.same.iter().all(|field| one.said.value(field) == other.said.value(field))
    }

    /// Whether a message answers a request.
    fn answers(&self, pending: &Pending, message: &Message) -> bool {
        let repeats = |field: &str| message.value(field) == pending.said.value(field);
        message.name.as_ref().is_some_and(|name| pending.answers.contains(name))
            && self.definition.sequence().is_none_or(|field| repeats(&field.name))
            && self.definition.same.iter().all(|field| repeats(field))
    }

    fn time_out(&mut self, now: Time) {
        let Some(current) = self.current.take() else { return };
        let record = Record::new("frame.no_answer").at(Stamp::exact(now)).with("message", current.name.as_str());
        self.events.push_back(ClientEvent(record));
        self.outcomes.push_back((current.token, Err(Failure::NoAnswer(current.since)), current.sent));
        self.hold_until = Some(now + self.definition.settle.unwrap_or(current.timeout));
        if self.late.len() == LATE {
            self.late.pop_front();
        }
        self.late.push_back(current);
    }

    fn drain(&mut self, now: Time) {
        while let Some(event) = self.decoder.poll() {
            let come = match event {
                Event::Frame(frame) => {
                    let message = self.definition.decode(&frame.body, Some(Sender::Server));
                    let problems =
                        frame.problems.into_iter().chain(message.problems.iter().cloned()).collect::<Vec<_>>();
                    let kind = if problems.is_empty() { self.kind(&message) } else { "wrong" };
                    Come { kind, message, raw: frame.raw, first: frame.first, last: frame.last, problems }
                }
                Event::Garbage { bytes, first, last, .. } => {
                    Come { kind: "garbage", message: Message::default(), raw: bytes, first, last, problems: Vec::new() }
                }
            };
            self.keep(come);
        }
        self.next(now);
    }

    fn kind(&mut self, message: &Message) -> &'static str {
        if let Some(current) = self.current.take() {
            if self.answers(&current, message) {
                self.outcomes.push_back((current.token, Ok(self.end()), current.sent));
                return "answer";
            }
            let shape = message.name.as_ref().and_then(|name| self.definition.message(name));
            let expected = shape.is_some_and(|shape| !shape.unasked && current.answers.contains(&shape.name));
            self.current = Some(current);
            if let Some(late) = self.take_late(message) {
                return late;
            }
            return if expected { "stray" } else { "unsolicited" };
        }
        self.take_late(message).unwrap_or("unsolicited")
    }

    fn take_late(&mut self, message: &Message) -> Option<&'static str> {
        let index = self.late.iter().position(|late| self.answers(late, message))?;
        self.late.remove(index);
        if self.late.is_empty() {
            self.hold_until = None;
        }
        Some("late")
    }

    fn keep(&mut self, come: Come) {
        let mut record = Record::new(format!("frame.{}", come.kind.replace(' ', "_"))).at(come.last);
        if let Some(name) = &come.message.name {
            record = record.with("message", name.as_str());
        }
        if let Some(problem) = come.problems.first() {
            record = record.with("problem", problem.to_string());
        }
        if come.kind == "garbage" || come.kind == "wrong" {
            record = record.with("data", come.raw.as_slice());
        }
        self.events.push_back(ClientEvent(record));
        if self.come.len() == KEPT {
            self.come.pop_front();
            self.dropped += 1;
        }
        self.come.push_back(come);
    }

    fn ended(&mut self, now: Time, why: &Why) {
        self.decoder.finish();
        self.drain(now);
        self.state = State::Closed(why.clone());
        for pending in self.current.take().into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.outcomes.push_back((pending.token, Err(Failure::Ended(why.clone())), pending.sent));
        }
    }
}

impl Endpoint for Client {
    type Event = ClientEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) if self.conn.is_none() => {
                self.conn = Some(conn);
                self.state = State::Open;
                self.next(now);
            }
            Input::Bytes(conn, bytes, stamps) | Input::Datagram(conn, _, bytes, stamps) if self.conn == Some(conn) => {
                self.decoder.push(bytes, stamps);
                self.drain(now);
            }
            Input::Line(conn, LineEvent::Overrun, at) if self.conn == Some(conn) => self.overrun = Some(at),
            Input::Closed(conn, why) if self.conn == Some(conn) || matches!(why, Why::Refused { .. }) => {
                self.ended(now, &why);
                if why == Why::Finished {
                    self.closing = Some(How::Fin);
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.decoder.expire(now);
        self.drain(now);
        if self.current.as_ref().and_then(|current| current.deadline).is_some_and(|deadline| now >= deadline) {
            self.time_out(now);
        }
        self.next(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let answer = self.current.as_ref().and_then(|current| current.deadline);
        let held = self.hold_until.filter(|_| self.current.is_none() && !self.waiting.is_empty());
        [answer, held, self.decoder.deadline()].into_iter().flatten().min()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let conn = self.conn?;
        if let Some(bytes) = self.out.pop_front() {
            let start = out.len();
            out.extend_from_slice(&bytes);
            return Some(Action::send(conn, start..out.len()));
        }
        self.closing.take().map(|how| Action::Close(conn, how))
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }
}
