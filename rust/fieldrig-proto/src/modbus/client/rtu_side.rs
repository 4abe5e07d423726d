//! The client on a line: one request at a time, and nothing but its bytes to tell answers apart.
//!
//! Rules of this file (SL 2.4.1):
//! - What arrives while nothing is asked is stray; it is dropped before the next request.
//! - A frame of another unit is stray; the request goes on waiting.
//! - After a request that was not answered in time the line is left quiet for a while, and what comes then is `Late`.
//! - The answer may come later still. So the first answer after such a request that would also have answered the old
//!   one is held for the same while: if a second one comes, the first was late; if none does, it was the answer, and
//!   is reported with the instant at which it came.
//! - A frame that began before our request was handed to the driver is late.
//! - After a broadcast the line is left quiet, too: devices need the time to do what it says.

use super::super::pdu::{Request, Response};
use super::super::rtu::{Assembler, BROADCAST, LineRules, MIN_ADU, Traffic, View};
use super::{Call, Client, ClientEvent, Config, Stray};
use crate::endpoint::Stamps;
use crate::line::silence::Frame;
use crate::time::{Duration, Time};

/// How many times the quiet after a time-out is begun again, at most, while bytes still come.
const LONGEST_QUIET: u32 = 5;

/// Nobody answers a write to unit 0 (SL 2.1). A raw request is left to wait: that silence may be what it is sent for.
pub(super) fn is_broadcast(call: &Call) -> bool {
    call.unit == BROADCAST && !matches!(call.request, Request::Raw { .. })
}

#[derive(Debug)]
pub(super) struct RtuSide {
    assembler: Assembler,
    character: Duration,
    quiet_until: Time,
    /// However much still comes: a line that is never quiet must not stop us for ever.
    quiet_limit: Time,
    /// The last request that was given up, as long as its answer may still come.
    stale: Option<Stale>,
    held: Option<Held>,
    /// What we sent and expect to hear ourselves.
    echo: Vec<u8>,
}

#[derive(Debug)]
struct Stale {
    unit: u8,
    request: Request,
}

#[derive(Debug)]
struct Held {
    event: ClientEvent,
    until: Time,
}

impl RtuSide {
    pub(super) fn new(rules: &LineRules) -> RtuSide {
        RtuSide {
            assembler: Assembler::new(rules, Traffic::Responses),
            character: rules.timing.character,
            quiet_until: Time::ZERO,
            quiet_limit: Time::ZERO,
            stale: None,
            held: None,
            echo: Vec::new(),
        }
    }

    pub(super) fn may_send(&self, now: Time) -> bool {
        self.held.is_none() && now >= self.quiet_until
    }

    pub(super) fn poll_timeout(&self, waiting: bool) -> Option<Time> {
        let quiet = (waiting && self.held.is_none() && self.quiet_until > Time::ZERO).then_some(self.quiet_until);
        [self.assembler.deadline(), self.held.as_ref().map(|held| held.until), quiet].into_iter().flatten().min()
    }

    /// A request goes out: what is still pending cannot be its answer.
    pub(super) fn begin(&mut self, now: Time, config: &Config, call: &Call) -> Vec<Stray> {
        self.quiet_until = Time::ZERO;
        if is_broadcast(call) {
            self.quiet_limit = now + self.character * call.adu.len() as u32 + config.turnaround;
            self.quiet_until = self.quiet_limit;
        }
        if config.local_echo {
            self.echo.clone_from(&call.adu);
        }
        self.assembler.expire(Time::FAR);
        let stray = |frame: Frame| Stray {
            bytes: frame.bytes,
            at: frame.last,
            reason: "it came before the request was sent".into(),
        };
        std::iter::from_fn(|| self.assembler.pop()).map(stray).collect()
    }

    pub(super) fn gave_up(&mut self, now: Time, config: &Config, call: &Call) {
        self.quiet_until = now + config.quiet_after_timeout;
        self.quiet_limit = now + config.quiet_after_timeout.saturating_mul(LONGEST_QUIET);
        self.stale = Some(Stale { unit: call.unit, request: call.request.clone() });
    }

    pub(super) fn spoil(&mut self) {
        self.assembler.spoil();
    }

    /// Forgets everything; gives what was held.
    pub(super) fn reset(&mut self) -> Option<ClientEvent> {
        self.assembler.clear();
        self.quiet_until = Time::ZERO;
        self.stale = None;
        self.echo.clear();
        self.held.take().map(|held| held.event)
    }

    fn still_noisy(&mut self, now: Time, config: &Config) {
        if now <= self.quiet_until {
            self.quiet_until = (now + config.quiet_after_timeout).min(self.quiet_limit).max(self.quiet_until);
        }
    }

    fn would_answer_stale(&self, frame: View<'_>) -> bool {
        self.stale.as_ref().is_some_and(|stale| {
            frame.unit() == Some(stale.unit) && Response::answering(&stale.request, frame.pdu()).is_ok()
        })
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
        if let Some(rtu) = &mut self.rtu
            && let Some(held) = rtu.held.take_if(|held| held.until <= now)
        {
            rtu.stale = None;
            self.events.push_back(held.event);
        }
    }

    fn take_frames(&mut self, now: Time) {
        while let Some(frame) = self.rtu.as_mut().and_then(|rtu| rtu.assembler.pop()) {
            if self.rtu.as_ref().is_some_and(|rtu| rtu.held.is_some()) {
                self.take_while_held(frame);
            } else if self.flying.is_empty() {
                self.take_unasked(now, frame);
            } else {
                self.take_frame(now, frame);
            }
        }
    }

    fn take_unasked(&mut self, now: Time, frame: Frame) {
        let Some(rtu) = &mut self.rtu else { return };
        rtu.still_noisy(now, &self.config);
        if rtu.would_answer_stale(View(&frame.bytes)) {
            rtu.stale = None;
            self.stray(frame, "the request it answers was given up before", ClientEvent::Late);
        } else {
            self.stray(frame, "nothing was asked", ClientEvent::Unsolicited);
        }
    }

    fn take_frame(&mut self, now: Time, frame: Frame) {
        let (Some(rtu), Some(call)) = (&mut self.rtu, self.flying.first()) else { return };
        if call.sent.is_some_and(|sent| frame.first.latest() < sent) {
            self.stray(frame, "it began before the request was sent", ClientEvent::Late);
            return;
        }
        let of_stale = rtu.would_answer_stale(View(&frame.bytes));
        match judge(call, &frame) {
            Judged::Answer(response) => self.take_answer(now, frame, response, of_stale),
            Judged::Stray(reason) => self.stray(frame, &reason, ClientEvent::Unsolicited),
            Judged::Wrong(_) if of_stale => {
                rtu.stale = None;
                self.stray(frame, "it answers the request before, which was given up", ClientEvent::Late);
            }
            Judged::Wrong(reason) => {
                let call = self.flying.remove(0);
                self.events.push_back(ClientEvent::Malformed(call.end(frame.bytes, frame.last), reason));
            }
        }
    }

    fn take_answer(&mut self, now: Time, frame: Frame, response: Response, of_stale: bool) {
        let exchange = self.flying.remove(0).end(frame.bytes, frame.last);
        let event = match response {
            Response::Exception(exception) => ClientEvent::Exception(exchange, exception),
            response => ClientEvent::Answered(exchange, response),
        };
        let Some(rtu) = &mut self.rtu else { return };
        if of_stale {
            rtu.held = Some(Held { event, until: now + self.config.quiet_after_timeout });
        } else {
            rtu.stale = None;
            self.events.push_back(event);
        }
    }

    /// An answer is held because it may belong to the request before; if this one answers too, it did.
    fn take_while_held(&mut self, frame: Frame) {
        let Some(Held { event, .. }) = self.rtu.as_mut().and_then(|rtu| rtu.held.take()) else { return };
        if let Some(rtu) = &mut self.rtu {
            rtu.stale = None;
        }
        let (ClientEvent::Answered(mut exchange, _) | ClientEvent::Exception(mut exchange, _)) = event.clone() else {
            self.events.push_back(event);
            return;
        };
        let view = View(&frame.bytes);
        let second = (view.problem().is_none() && frame.fault.is_none() && view.unit() == Some(exchange.unit))
            .then(|| Response::answering(&exchange.asked, view.pdu()).ok())
            .flatten();
        let Some(response) = second else {
            self.events.push_back(event);
            self.stray(frame, "nothing was asked", ClientEvent::Unsolicited);
            return;
        };
        let first = Stray {
            bytes: std::mem::replace(&mut exchange.answer, frame.bytes),
            at: std::mem::replace(&mut exchange.at, frame.last),
            reason: "a second answer followed: this one belongs to the request before, which was given up".into(),
        };
        self.events.push_back(ClientEvent::Late(first));
        self.events.push_back(match response {
            Response::Exception(exception) => ClientEvent::Exception(exchange, exception),
            response => ClientEvent::Answered(exchange, response),
        });
    }

    fn stray(&mut self, frame: Frame, reason: &str, kind: fn(Stray) -> ClientEvent) {
        let problem = frame.fault.map(|fault| fault.to_string());
        let problem = problem.or_else(|| View(&frame.bytes).problem().map(|problem| problem.to_string()));
        let reason = problem.map_or_else(|| reason.to_owned(), |problem| format!("{reason}; {problem}"));
        self.events.push_back(kind(Stray { bytes: frame.bytes, at: frame.last, reason }));
    }
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
