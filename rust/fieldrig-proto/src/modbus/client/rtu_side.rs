//! The client on a line: one request at a time, and nothing but its bytes to tell answers apart.
//!
//! Rules of this file (SL 2.4.1):
//! - What arrives while nothing is asked is stray. A request waits for the end of a frame that is under way, whose rest
//!   would be taken for its answer.
//! - A frame of another unit is stray; the request goes on waiting.
//! - After a request that was not answered in time the line is left quiet for the turnaround delay, begun again while
//!   bytes still come. `late.rs` says which requests wait longer; those to other units overtake them.
//! - A frame of a unit and function that still owes an answer is `Late`.
//! - A frame that began before our request was handed to the driver is late.
//! - After a broadcast the line is left quiet, too: devices need the time to do what it says.

use super::super::pdu::function::EXCEPTION_BIT;
use super::super::pdu::{Request, Response};
use super::super::rtu::{Assembler, BROADCAST, LineRules, MIN_ADU, Traffic, View};
use super::late::{Debts, GivenUp, GivenUps};
use super::{Call, Client, ClientEvent, Config, Stray};
use crate::endpoint::Stamps;
use crate::line::silence::Frame;
use crate::time::{Duration, Time};

/// How many times the quiet after a time-out is begun again, at most, while bytes still come.
const LONGEST_QUIET: u32 = 5;

/// Nobody answers a write to unit 0 (SL 2.1), or being told to only listen (AP 6.8.1, 0004). A raw request is left to wait:
/// that silence may be what it is sent for.
pub(super) fn is_broadcast(call: &Call) -> bool {
    (call.unit == BROADCAST && !matches!(call.request, Request::Raw { .. })) || !call.request.is_answered()
}

#[derive(Debug)]
pub(super) struct RtuSide {
    assembler: Assembler,
    character: Duration,
    quiet_until: Time,
    /// However much still comes: a line that is never quiet must not stop us for ever.
    quiet_limit: Time,
    /// How long at most a frame under way is let pass before the next request.
    frame_limit: Time,
    given_up: GivenUps,
    /// Unit and function of what was heard late since the request under way was sent.
    late_heard: Option<(u8, u8)>,
    /// What we sent and expect to hear ourselves.
    echo: Vec<u8>,
}

impl RtuSide {
    pub(super) fn new(rules: &LineRules) -> RtuSide {
        RtuSide {
            assembler: Assembler::new(rules, Traffic::Responses),
            character: rules.timing.character,
            quiet_until: Time::ZERO,
            quiet_limit: Time::ZERO,
            frame_limit: Time::ZERO,
            given_up: GivenUps::default(),
            late_heard: None,
            echo: Vec::new(),
        }
    }

    /// When this call may be sent.
    pub(super) fn free_from(&self, call: &Call) -> Time {
        let frame = self.assembler.deadline().map_or(Time::ZERO, |end| end.min(self.frame_limit));
        let once = call.request.is_stimulus() || matches!(call.request, Request::Raw { .. });
        let debts = if call.again || once { Debts::WaitFor } else { Debts::Risk };
        self.quiet_until.max(frame).max(self.given_up.free_from(call.unit, call.request.function(), debts))
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.assembler.deadline()
    }

    /// A request goes out: what is still pending cannot be its answer.
    pub(super) fn begin(&mut self, now: Time, config: &Config, call: &Call) -> Vec<ClientEvent> {
        self.late_heard = None;
        if is_broadcast(call) {
            self.quiet_limit = now + self.character * call.adu.len() as u32 + config.turnaround;
            self.quiet_until = self.quiet_limit;
        }
        if config.local_echo {
            self.echo.clone_from(&call.adu);
        }
        self.assembler.expire(Time::FAR);
        let mut strays = Vec::new();
        while let Some(frame) = self.assembler.pop() {
            let kind = if self.late(now, &frame) { ClientEvent::Late } else { ClientEvent::Unsolicited };
            strays.push(stray(frame, "it came before the request was sent", kind));
        }
        strays
    }

    pub(super) fn gave_up(&mut self, now: Time, config: &Config, call: &Call) {
        self.quiet_until = now + config.turnaround;
        self.quiet_limit = now + config.turnaround.saturating_mul(LONGEST_QUIET);
        let due = call.deadline.max(now);
        let until = due + config.late_answers.behind(call.timeout);
        let busy_until = until.min(due + call.timeout);
        let function = call.request.function();
        self.given_up.add(now, GivenUp { unit: call.unit, function, busy_until, until, excused: false });
    }

    /// What may have spoiled an exchange that ends without a proper answer.
    pub(super) fn doubt(&mut self, now: Time) -> Option<String> {
        let heard = self.late_heard.map(|(unit, function)| {
            format!("a late answer of unit {unit} to function {function:#04x} came over this exchange")
        });
        heard.or_else(|| self.given_up.doubt(now))
    }

    /// What may have spoiled an exchange that ends in silence: only what was heard, and not of that unit itself.
    pub(super) fn doubt_of_silence(&mut self, now: Time, unit: u8) -> Option<String> {
        self.late_heard.filter(|(late, _)| *late != unit).and_then(|_| self.doubt(now))
    }

    pub(super) fn spoil(&mut self) {
        self.assembler.spoil();
    }

    /// Forgets the bytes of a connection that is no more, but not who owes an answer.
    pub(super) fn reset(&mut self) {
        self.assembler.clear();
        self.quiet_until = Time::ZERO;
        self.echo.clear();
    }

    fn still_noisy(&mut self, now: Time, config: &Config) {
        if now <= self.quiet_until {
            self.quiet_until = (now + config.turnaround).min(self.quiet_limit).max(self.quiet_until);
        }
    }

    /// Whether a frame is owed by a unit that did not answer a request of the same function before.
    fn late(&mut self, now: Time, frame: &Frame) -> bool {
        let view = View(&frame.bytes);
        let (Some(unit), Some(&function)) = (view.unit(), view.pdu().first()) else { return false };
        let whole = view.problem().is_none() && frame.fault.is_none();
        let late = whole && self.given_up.pay(now, unit, function);
        if late {
            self.late_heard = Some((unit, function));
        }
        late
    }

    fn strip_echo<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let common = self.echo.iter().zip(bytes).take_while(|(sent, heard)| sent == heard).count();
        if common < self.echo.len() && common < bytes.len() {
            self.echo.clear();
        } else {
            self.echo.drain(..common);
        }
        &bytes[common..]
    }
}

impl Client {
    pub(super) fn take_rtu(&mut self, now: Time, bytes: &[u8], stamps: Stamps<'_>) {
        let Some(rtu) = &mut self.rtu else { return };
        if rtu.assembler.is_idle() {
            rtu.frame_limit = now + self.config.turnaround.saturating_mul(LONGEST_QUIET);
        }
        let heard = rtu.strip_echo(bytes);
        let skipped = bytes.len() - heard.len();
        match stamps {
            Stamps::PerByte(all) => rtu.assembler.push(heard, Stamps::PerByte(all.get(skipped..).unwrap_or_default())),
            other => rtu.assembler.push(heard, other),
        }
        self.take_frames(now);
    }

    pub(super) fn expire_rtu(&mut self, now: Time) {
        if let Some(rtu) = &mut self.rtu {
            rtu.assembler.expire(now);
        }
        self.take_frames(now);
    }

    fn take_frames(&mut self, now: Time) {
        while let Some(rtu) = &mut self.rtu
            && let Some(frame) = rtu.assembler.pop()
        {
            let began_before =
                || self.flying.first().and_then(|call| call.sent).is_some_and(|sent| frame.first.latest() < sent);
            if rtu.late(now, &frame) {
                self.take_late(now, frame);
            } else if self.flying.is_empty() {
                rtu.still_noisy(now, &self.config);
                self.events.push_back(stray(frame, "nothing was asked", ClientEvent::Unsolicited));
            } else if began_before() {
                self.events.push_back(stray(frame, "it began before the request was sent", ClientEvent::Late));
            } else {
                self.take_frame(now, frame);
            }
        }
    }

    /// An answer that is owed, or may be: the request under way is asked again if this may have been its answer.
    fn take_late(&mut self, now: Time, frame: Frame) {
        let Some(rtu) = &mut self.rtu else { return };
        let view = View(&frame.bytes);
        let confused = self.flying.pop_if(|call| {
            let function = view.pdu().first().map(|function| function & !EXCEPTION_BIT);
            view.unit() == Some(call.unit) && function == Some(call.request.function() & !EXCEPTION_BIT)
        });
        let Some(mut call) = confused else {
            rtu.still_noisy(now, &self.config);
            self.events.push_back(stray(frame, "the request it answers was given up before", ClientEvent::Late));
            return;
        };
        rtu.gave_up(now, &self.config, &call);
        call.again = true;
        call.adu.clear();
        self.waiting.push_front(call);
        let reason = "it may answer a request that was given up before: what is asked now is asked again later";
        self.events.push_back(stray(frame, reason, ClientEvent::Late));
    }

    fn take_frame(&mut self, now: Time, frame: Frame) {
        let (Some(rtu), Some(call)) = (&mut self.rtu, self.flying.first()) else { return };
        let event = match judge(call, &frame) {
            Judged::Stray(reason) => stray(frame, &reason, ClientEvent::Unsolicited),
            Judged::Answer(response) => {
                let exchange = self.flying.remove(0).end(frame.bytes, frame.last);
                match response {
                    Response::Exception(exception) => ClientEvent::Exception(exchange, exception),
                    response => ClientEvent::Answered(exchange, response),
                }
            }
            Judged::Wrong(reason) => {
                let mut exchange = self.flying.remove(0).end(frame.bytes, frame.last);
                exchange.doubt = rtu.doubt(now);
                ClientEvent::Malformed(exchange, reason)
            }
        };
        self.events.push_back(event);
    }
}

fn stray(frame: Frame, reason: &str, kind: fn(Stray) -> ClientEvent) -> ClientEvent {
    let problem = frame.fault.map(|fault| fault.to_string());
    let problem = problem.or_else(|| View(&frame.bytes).problem().map(|problem| problem.to_string()));
    let reason = problem.map_or_else(|| reason.to_owned(), |problem| format!("{reason}; {problem}"));
    kind(Stray { bytes: frame.bytes, at: frame.last, reason })
}

enum Judged {
    Answer(Response),
    /// It is not for us; go on waiting.
    Stray(String),
    /// It came instead of the answer.
    Wrong(String),
}

fn judge(call: &Call, frame: &Frame) -> Judged {
    let view = View(&frame.bytes);
    if let Some(fault) = &frame.fault {
        return Judged::Wrong(fault.to_string());
    }
    match view.problem() {
        Some(_) if frame.bytes.len() < MIN_ADU => return Judged::Stray("noise".into()),
        Some(problem) => return Judged::Wrong(problem.to_string()),
        None => {}
    }
    if let Some(unit) = view.unit()
        && unit != call.unit
    {
        return Judged::Stray(format!("unit id at offset 0 is {unit}, {} was asked", call.unit));
    }
    match Response::answering(&call.request, view.pdu()) {
        Ok(response) => Judged::Answer(response),
        Err(_) if frame.bytes == call.adu => {
            Judged::Wrong("our own request came back: the adapter has a local echo, which `local_echo` strips".into())
        }
        Err(error) => Judged::Wrong(format!("PDU from offset 1: {error}")),
    }
}
