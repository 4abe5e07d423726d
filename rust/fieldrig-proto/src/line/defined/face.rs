//! The face of an emulated device whose protocol is defined by data.
//!
//! Rules of this file:
//! - A sound request of a known message is answered by the handler, else by the first rule that fits, else not at all;
//!   whatever is wrong is an event and is not answered.
//! - Answers leave in the order of their instants; a delay holds back only its own answer, and is gone with its connection.
//! - Habits are faults of the protocol: they concern answers to requests, not what is sent unasked.

use super::answer::{self, Handler, On, Question, Reply};
use super::definition::{Definition, Message};
use super::encode::{EncodeError, Encoded, Patch};
use super::field::Role;
use crate::device::{Emission, Face, Heard, Origin, PointStore};
use crate::dissect::Sender;
use crate::endpoint::{Action, Conn, How, Input, Why};
use crate::line::framing::{Decoder, Event, Frame};
use crate::protocol::SettingError;
use crate::record::{Record, Value};
use crate::time::{Duration, Time, parse_duration};
use std::collections::VecDeque;
use std::sync::Arc;

/// What an emulated device can do wrong: names, and what they take.
pub const HABITS: [(&str, &str); 5] = [
    ("no_answer", "true, or how many requests are not answered"),
    ("delay", "a duration by which answers are late"),
    ("wrong_checksum", "true, or how many answers have a wrong checksum"),
    ("truncate", "how many bytes are missing at the end of answers"),
    ("noise", "bytes that are sent in front of answers"),
];

/// So many events wait at most to be taken.
const EVENTS: usize = 10_000;

#[derive(Clone, PartialEq, Debug, Default)]
struct Habits {
    no_answer: u64,
    delay: Duration,
    wrong_checksum: u64,
    truncate: u64,
    noise: Vec<u8>,
}

/// The face.
pub struct DefinedFace {
    name: String,
    definition: Arc<Definition>,
    open: Vec<(Conn, Decoder)>,
    /// What leaves now.
    ready: VecDeque<(Conn, Vec<u8>)>,
    /// What leaves later, soonest first.
    held: VecDeque<(Time, Conn, Vec<u8>)>,
    closing: VecDeque<Conn>,
    heard: VecDeque<Heard>,
    events: VecDeque<Record>,
    habits: Habits,
    handler: Option<Box<dyn Handler>>,
    /// When each rule that speaks again and again speaks next.
    periods: Vec<(usize, Time)>,
    seen: u64,
    sequence: u64,
}

impl DefinedFace {
    /// A face; `points` are the points of its device, if they are known.
    ///
    /// # Errors
    /// A rule that names what is not there.
    pub fn new(
        name: &str,
        definition: Arc<Definition>,
        points: Option<&[String]>,
    ) -> Result<DefinedFace, SettingError> {
        if let Some(points) = points {
            definition.answers.iter().try_for_each(|rule| rule.check(&definition, points))?;
        }
        Ok(DefinedFace {
            name: name.to_owned(),
            definition,
            open: Vec::new(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
            closing: VecDeque::new(),
            heard: VecDeque::new(),
            events: VecDeque::new(),
            habits: Habits::default(),
            handler: None,
            periods: Vec::new(),
            seen: 0,
            sequence: 0,
        })
    }

    /// What it speaks.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Gives it a handler, or takes it away.
    pub fn set_handler(&mut self, handler: Option<Box<dyn Handler>>) {
        self.handler = handler;
    }

    /// Sends a message unasked, to whoever is connected; gives its bytes and to how many it went.
    ///
    /// # Errors
    /// An unknown message or field, a missing or impossible value.
    pub fn send(
        &mut self,
        now: Time,
        name: &str,
        fields: &[(String, Value)],
        patch: &Patch,
        store: &PointStore,
    ) -> Result<(Vec<u8>, usize), EncodeError> {
        let encoded = self.encode(name, fields, None, patch, store)?;
        self.speak_to_all(now, &encoded.bytes);
        Ok((encoded.bytes, self.open.len()))
    }

    /// Sends bytes as they are, to whoever is connected.
    pub fn send_raw(&mut self, now: Time, bytes: &[u8]) -> usize {
        self.speak_to_all(now, bytes);
        self.open.len()
    }

    fn speak_to_all(&mut self, now: Time, bytes: &[u8]) {
        for index in 0..self.open.len() {
            let conn = self.open[index].0;
            self.queue(now, Duration::ZERO, conn, bytes.to_vec());
        }
    }

    fn queue(&mut self, now: Time, delay: Duration, conn: Conn, bytes: Vec<u8>) {
        if delay.is_zero() {
            return self.ready.push_back((conn, bytes));
        }
        let at = now + delay;
        let place = self.held.partition_point(|(due, ..)| *due <= at);
        self.held.insert(place, (at, conn, bytes));
    }

    fn report(&mut self, record: Record) {
        if self.events.len() < EVENTS {
            self.events.push_back(record);
        }
    }

    fn encode(
        &mut self,
        name: &str,
        fields: &[(String, Value)],
        request: Option<&Message>,
        patch: &Patch,
        store: &PointStore,
    ) -> Result<Encoded, EncodeError> {
        let definition = Arc::clone(&self.definition);
        let values = match definition.message(name) {
            // A name that the message does not have is told by the encoder.
            Some(message) => {
                let mut values = answer::filled(&definition, message, fields, request, store);
                let known = |name: &String| values.iter().any(|(known, _)| known == name);
                let further: Vec<_> = fields.iter().filter(|(name, _)| !known(name)).cloned().collect();
                values.extend(further);
                values
            }
            None => fields.to_vec(),
        };
        self.sequence += 1;
        definition.encode(name, &values, self.sequence, patch)
    }

    fn drain(&mut self, now: Time, conn: Conn, store: &mut PointStore) {
        while let Some((_, decoder)) = self.open.iter_mut().find(|(open, _)| *open == conn) {
            let Some(event) = decoder.poll() else { return };
            match event {
                Event::Frame(frame) => self.take(now, conn, frame, store),
                Event::Garbage { bytes, count, last, .. } => {
                    let record = Record::new("frame.garbage").at(last).conn(conn);
                    self.report(record.with("count", Value::Int(count as i64)).with("data", bytes));
                }
            }
        }
    }

    fn take(&mut self, now: Time, conn: Conn, frame: Frame, store: &mut PointStore) {
        let message = self.definition.decode(&frame.body, Some(Sender::Client));
        let problem = frame.problems.first().or(message.problems.first());
        let name = message.name.clone().unwrap_or_else(|| "unknown".to_owned());
        let record = |kind: &'static str| Record::new(kind).at(frame.last).conn(conn).with("message", name.as_str());
        if let Some(problem) = problem {
            let record = record("frame.wrong").with("problem", problem.to_string()).with("data", frame.raw.as_slice());
            return self.report(record);
        }
        self.report(record("frame.request"));
        if message.name.is_some() {
            self.answer(now, conn, &message, frame.raw, store);
        }
    }

    fn answer(&mut self, now: Time, conn: Conn, message: &Message, raw: Vec<u8>, store: &mut PointStore) {
        let reply = match &mut self.handler {
            Some(handler) => handler.answer(Question { now, message: message.clone(), raw }),
            None => Reply::Usual,
        };
        let made = match reply {
            Reply::Usual => return self.by_rules(now, conn, message, store),
            Reply::NoAnswer => return,
            Reply::Raw(bytes) => return self.reply(now, conn, bytes, Duration::ZERO),
            Reply::Failed { error, trace } => Err((error, trace)),
            Reply::Message { name, fields, patch } => self
                .habitual(&patch)
                .and_then(|patch| self.encode(&name, &fields, Some(message), &patch, store))
                .map_err(|problem| (problem.to_string(), String::new())),
        };
        match made {
            Ok(encoded) => self.reply(now, conn, encoded.bytes, Duration::ZERO),
            Err((error, trace)) => {
                if let Some(handler) = &mut self.handler {
                    handler.failed(&error, &trace);
                }
                self.report(Record::new("frame.handler_failed").conn(conn).with("error", error).with("trace", trace));
            }
        }
    }

    fn by_rules(&mut self, now: Time, conn: Conn, message: &Message, store: &mut PointStore) {
        let definition = Arc::clone(&self.definition);
        let Some(rule) = definition.answers.iter().find(|rule| rule.answers(message)) else { return };
        for (point, value) in &rule.set {
            let value = answer::source(value, Some(message), store);
            if let Err(problem) = store.set(now, point, value, Origin::Model) {
                self.report(Record::new("frame.rule_failed").conn(conn).with("error", problem.to_string()));
            }
        }
        let Some(name) = &rule.with else { return };
        let made =
            self.habitual(&rule.patch).and_then(|patch| self.encode(name, &rule.fields, Some(message), &patch, store));
        match made {
            Ok(encoded) => self.reply(now, conn, encoded.bytes, rule.delay),
            Err(problem) => {
                self.report(Record::new("frame.rule_failed").conn(conn).with("error", problem.to_string()));
            }
        }
    }

    /// The patch of an answer, with what habits do to it.
    fn habitual(&mut self, patch: &[(String, Value)]) -> Result<Patch, EncodeError> {
        let mut entries = patch.to_vec();
        if take_one(&mut self.habits.wrong_checksum) {
            let fields = self.definition.header.fields.iter().chain(&self.definition.trailer.fields);
            let sums = fields.filter(|field| matches!(field.role, Role::Sum(_)));
            entries.extend(sums.map(|field| (field.name.clone(), Value::from("wrong"))));
        }
        Patch::read(&self.definition, &entries)
    }

    fn reply(&mut self, now: Time, conn: Conn, mut bytes: Vec<u8>, delay: Duration) {
        if take_one(&mut self.habits.no_answer) {
            return;
        }
        bytes.truncate(bytes.len().saturating_sub(usize::try_from(self.habits.truncate).unwrap_or(usize::MAX)));
        let bytes = [self.habits.noise.as_slice(), &bytes].concat();
        self.queue(now, delay + self.habits.delay, conn, bytes);
    }

    fn speak(&mut self, now: Time, index: usize, store: &PointStore) {
        let definition = Arc::clone(&self.definition);
        let Some(rule) = definition.answers.get(index) else { return };
        let Some(name) = &rule.with else { return };
        let made = Patch::read(&definition, &rule.patch)
            .and_then(|patch| self.encode(name, &rule.fields, None, &patch, store));
        match made {
            Ok(encoded) => {
                for index in 0..self.open.len() {
                    let conn = self.open[index].0;
                    self.queue(now, rule.delay, conn, encoded.bytes.clone());
                }
            }
            Err(problem) => self.report(Record::new("frame.rule_failed").with("error", problem.to_string())),
        }
    }
}

/// `u64::MAX` is always; else one less is left.
fn take_one(left: &mut u64) -> bool {
    let strikes = *left > 0;
    if strikes && *left != u64::MAX {
        *left -= 1;
    }
    strikes
}

fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(on) => Some(if *on { u64::MAX } else { 0 }),
        Value::Int(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}

impl Face for DefinedFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore) {
        match input {
            Input::Opened(conn, _) => self.open.push((conn, Decoder::new(Arc::clone(&self.definition.framing)))),
            Input::Bytes(conn, bytes, stamps) | Input::Datagram(conn, _, bytes, stamps) => {
                let Some((_, decoder)) = self.open.iter_mut().find(|(open, _)| *open == conn) else { return };
                decoder.push(bytes, stamps);
                self.drain(now, conn, store);
            }
            Input::Closed(conn, why) => {
                if let Some((_, decoder)) = self.open.iter_mut().find(|(open, _)| *open == conn) {
                    decoder.finish();
                }
                self.drain(now, conn, store);
                match why {
                    Why::Finished => self.closing.push_back(conn),
                    _ => self.ready.retain(|(to, _)| *to != conn),
                }
                self.held.retain(|(_, to, _)| *to != conn);
                self.open.retain(|(open, _)| *open != conn);
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time, store: &mut PointStore) {
        let due = self.held.partition_point(|(at, ..)| *at <= now);
        self.ready.extend(self.held.drain(..due).map(|(_, conn, bytes)| (conn, bytes)));
        for index in 0..self.open.len() {
            self.open[index].1.expire(now);
            let conn = self.open[index].0;
            self.drain(now, conn, store);
        }
        let definition = Arc::clone(&self.definition);
        for place in 0..self.periods.len() {
            let (rule, due) = self.periods[place];
            let On::Every(period) = definition.answers[rule].on else { continue };
            if due <= now {
                self.periods[place].1 = (due + period).max(now + Duration::from_nanos(1));
                self.speak(now, rule, store);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let frames = self.open.iter().filter_map(|(_, decoder)| decoder.deadline());
        let periods = self.periods.iter().map(|(_, due)| *due);
        frames.chain(periods).chain(self.held.front().map(|(at, ..)| *at)).min()
    }

    fn store_changed(&mut self, now: Time, store: &PointStore) {
        let changed: Vec<usize> = store
            .changes_since(self.seen)
            .filter(|change| change.from != change.to)
            .map(|change| change.point)
            .collect();
        self.seen = store.cursor();
        let definition = Arc::clone(&self.definition);
        for (index, rule) in definition.answers.iter().enumerate() {
            if let On::Changed(point) = &rule.on
                && changed.iter().any(|changed| store.index(point) == Some(*changed))
            {
                self.speak(now, index, store);
            }
        }
    }

    fn emit(&mut self, now: Time, emission: &Emission) {
        let Emission::Ask(ask) = emission else { return };
        let token = Emission::token(ask);
        let name = ask.entry("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = match ask.entry("fields") {
            Some(Value::Table(fields)) => fields.clone(),
            _ => Vec::new(),
        };
        let made = self.encode(&name, &fields, None, &Patch::default(), &PointStore::default());
        let heard = match made {
            Ok(encoded) => {
                self.speak_to_all(now, &encoded.bytes);
                Emission::answered(token)
            }
            Err(problem) => Emission::failed(token, "refused", &problem.to_string()),
        };
        self.heard.push_back(heard);
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if let Some((conn, bytes)) = self.ready.pop_front() {
            let start = out.len();
            out.extend_from_slice(&bytes);
            return Some(Action::send(conn, start..out.len()));
        }
        self.closing.pop_front().map(|conn| Action::Close(conn, How::Fin))
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }

    fn power(&mut self, now: Time, on: bool, store: &PointStore) {
        self.periods.clear();
        self.ready.clear();
        self.held.clear();
        if !on {
            self.open.clear();
            self.closing.clear();
            return;
        }
        self.seen = store.cursor();
        let rules = self.definition.answers.iter().enumerate();
        self.periods = rules
            .filter_map(|(index, rule)| match rule.on {
                On::Every(period) => Some((index, now + period)),
                _ => None,
            })
            .collect();
    }

    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let (defaults, default) = (Habits::default(), value.as_str() == Some("default"));
        let what = HABITS.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
        let Some(what) = what else {
            let names = HABITS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(format!("there is no habit `{name}`; there are {names}"));
        };
        let wrong = || format!("`{name}` takes {what}, not {value}");
        match name {
            "no_answer" => self.habits.no_answer = if default { 0 } else { count(value).ok_or_else(wrong)? },
            "wrong_checksum" => {
                self.habits.wrong_checksum = if default { 0 } else { count(value).ok_or_else(wrong)? }
            }
            "truncate" => {
                let bytes = value.as_i64().and_then(|bytes| u64::try_from(bytes).ok());
                self.habits.truncate = if default { 0 } else { bytes.ok_or_else(wrong)? };
            }
            "delay" => {
                let delay = value.as_str().and_then(|text| parse_duration(text).ok());
                self.habits.delay = if default { defaults.delay } else { delay.ok_or_else(wrong)? };
            }
            _ => match value {
                Value::Bytes(bytes) => self.habits.noise.clone_from(bytes),
                _ if default => self.habits.noise.clear(),
                _ => return Err(wrong()),
            },
        }
        Ok(())
    }
}
