//! The client on a line: one request at a time, and nothing but its bytes to tell answers apart.
//!
//! Rules of this file (SL 2.4.1):
//! - What arrives while nothing is asked is stray. A request waits for the end of a frame that is under way, whose rest
//!   would be taken for its answer.
//! - A frame of another unit is stray; the request goes on waiting. So it does after one that cannot be read, unless it
//!   has the unit and function of the answer: the answer behind noise must not meet the next request. If no answer
//!   follows, the request ends with what was heard, and accuses nobody: what spoils frames may have cost the request.
//! - A whole frame of the unit with another function ends the request, which is still owed its answer.
//! - Our own echo is told from an answer by not being one; where both look the same (05, 06, 08), by coming sooner than
//!   an answer can on a wire with a speed (SL 2.5.1: characters one after the other, one sender at a time), or by the
//!   request before having come back, too. It accuses nobody; `echo.rs` has the rules.
//! - Silence accuses nobody while bytes wait that are no frame, and no answer that is under way.
//! - After a request that was not answered in time the line is left quiet for the turnaround delay, begun again while
//!   bytes still come. `late.rs` says which requests wait longer; those to other units overtake them.
//! - A frame of a unit and function that still owes an answer is `Late`.
//! - A frame that began before our request was handed to the driver is late.
//! - After a broadcast the line is left quiet, too: devices need the time to do what it says.
//! - What stands between ASCII frames, and a frame that another one begins in, is stray (SL 2.5.2.1). The delimiter of
//!   ASCII frames follows the requests that change it or restart the device (AP 6.8.1).

use super::super::ascii;
use super::super::pdu::function::{DIAGNOSTICS, EXCEPTION_BIT};
use super::super::pdu::{Request, Response, sub_function as s, word};
use super::super::rtu::{BROADCAST, Traffic};
use super::super::serial::{Assembler, Message, Rules};
use super::call::Heard;
use super::echo::Echo;
use super::judge::{self, OnLine};
use super::late::{Debts, GivenUp, GivenUps};
use super::{Call, Client, ClientEvent, Config, Stray};
use crate::endpoint::Stamps;
use crate::line::silence::Frame;
use crate::time::{Duration, Stamp, Time};

/// How many times the quiet after a time-out is begun again, at most, while bytes still come.
const LONGEST_QUIET: u32 = 5;

/// Why a request that came back accuses nobody.
const OWN_ECHO: &str = "our own request came back: that is the adapter's doing (local_echo=True strips it; \
                        local_echo=False says that there is none)";
/// What is wrong with it where it was said that there is none.
const NO_ECHO: &str = "our own request came back (local_echo=False: there is no echo)";
/// What is wrong with the second one of an answer and its echo, and why it accuses nobody.
const SECOND: (&str, &str) = (
    "what came has the bytes of an earlier request and its answer",
    "what was taken for the answer to an earlier request was our own echo, or came twice: is there one (`local_echo`)?",
);

/// Nobody answers a write to unit 0 (SL 2.1), or being told to only listen (AP 6.8.1, 0004). A raw request is left to wait:
/// that silence may be what it is sent for.
pub(super) fn is_broadcast(call: &Call) -> bool {
    (call.unit == BROADCAST && !matches!(call.request, Request::Raw { .. })) || !call.request.is_answered()
}

#[derive(Debug)]
pub(super) struct LineSide {
    assembler: Assembler,
    character: Duration,
    /// Silence that a request waits for before its first byte.
    gap: Duration,
    quiet_until: Time,
    /// However much still comes: a line that is never quiet must not stop us for ever.
    quiet_limit: Time,
    /// How long at most a frame under way is let pass before the next request.
    frame_limit: Time,
    given_up: GivenUps,
    /// Unit and function of what was heard late since the request under way was sent.
    late_heard: Option<(u8, u8)>,
    echo: Echo,
}

impl LineSide {
    pub(super) fn new(rules: &Rules) -> LineSide {
        LineSide {
            assembler: Assembler::new(rules, Traffic::Responses),
            character: rules.character(),
            gap: rules.gap_before().unwrap_or(Duration::ZERO),
            quiet_until: Time::ZERO,
            quiet_limit: Time::ZERO,
            frame_limit: Time::ZERO,
            given_up: GivenUps::default(),
            late_heard: None,
            echo: Echo::default(),
        }
    }

    /// When this call may be sent.
    pub(super) fn free_from(&self, call: &Call) -> Time {
        let frame = self.assembler.frame_deadline().map_or(Time::ZERO, |end| end.min(self.frame_limit));
        let debts = if call.again || call.is_stimulus() || matches!(call.request, Request::Raw { .. }) {
            Debts::WaitFor
        } else {
            Debts::Risk
        };
        self.quiet_until.max(frame).max(self.given_up.free_from(call.unit, call.request.function(), debts))
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.assembler.deadline()
    }

    /// A request goes out: what is still pending cannot be its answer.
    pub(super) fn begin(&mut self, now: Time, config: &Config, call: &Call) -> Vec<ClientEvent> {
        if let Some(next) = next_delimiter(&call.request) {
            // It is not said which one ends the answer to a request that changes it.
            self.assembler.set_delimiter(self.assembler.delimiter(), Some(next));
        }
        self.late_heard = None;
        if is_broadcast(call) {
            let gap = call.options.as_ref().and_then(|options| options.gap_before).unwrap_or(self.gap);
            self.quiet_limit = now + gap + self.character * call.adu.len() as u32 + config.turnaround;
            self.quiet_until = self.quiet_limit;
        }
        let held = self.echo.begin(now, config, call);
        self.push_held(&held);
        self.assembler.expire(Time::FAR);
        self.assembler.set_own(if config.local_echo { &[] } else { &call.adu });
        let mut strays = Vec::new();
        while let Some(frame) = self.assembler.pop() {
            let kind = if self.late(now, &frame).is_some() { ClientEvent::Late } else { ClientEvent::Unsolicited };
            strays.push(self.stray(frame, "it came before the request was sent", kind));
        }
        strays
    }

    pub(super) fn gave_up(&mut self, now: Time, config: &Config, call: &Call) {
        self.quiet_after(now, config);
        // Who did not wait until the time-out said so by giving up: the time it had counts then.
        let had = call.sent.map_or(call.timeout, |sent| now.since(sent)).min(call.timeout);
        self.owes(now, config, call, now, had);
    }

    fn quiet_after(&mut self, now: Time, config: &Config) {
        self.quiet_until = now + config.turnaround;
        self.quiet_limit = now + config.turnaround.saturating_mul(LONGEST_QUIET);
    }

    /// What came ended this call, and was not its answer, which may still come as if nothing had.
    fn answered_otherwise(&mut self, now: Time, config: &Config, call: &Call) {
        self.gave_up(now, config, call);
        let due = call.sent.map_or(now, |sent| sent + call.timeout);
        if let Some(owing) = self.given_up.last_mut() {
            owing.until = owing.until.max(due);
            // What came was whole: it broke nothing.
            owing.excused = true;
        }
    }

    /// The answer to this call, which was due at `due` after `timeout`, may still come.
    fn owes(&mut self, now: Time, config: &Config, call: &Call, due: Time, timeout: Duration) {
        let until = due + config.late_answers.behind(timeout);
        let (busy_until, function) = (until.min(due + timeout), call.request.function());
        // Where its answer met a late one and both broke, it has done its harm.
        let excused = call.heard.as_ref().is_some_and(|heard| heard.doubt.is_some());
        self.given_up.add(now, GivenUp { unit: call.unit, function, busy_until, until, timeout, excused });
    }

    /// What may have spoiled an exchange that ends without a proper answer.
    pub(super) fn doubt(&mut self, now: Time) -> Option<String> {
        let heard = self.late_heard.map(|(unit, function)| {
            format!("a late answer of unit {unit} to function {function:#04x} came over this exchange")
        });
        heard.or_else(|| self.given_up.doubt(now))
    }

    /// What may have spoiled an exchange that ends in silence: only what was heard, and not of that unit itself; and our
    /// own echo.
    pub(super) fn doubt_of_silence(&mut self, now: Time, config: &Config, unit: u8) -> Option<String> {
        let late = self.late_heard.filter(|(late, _)| *late != unit).and_then(|_| self.doubt(now));
        let unread = || self.assembler.is_stuck().then(|| "bytes came that are no frame".to_owned());
        late.or_else(unread).or_else(|| self.echo.doubt_of_silence(config))
    }

    fn push_held(&mut self, held: &[(u8, Stamp)]) {
        let (bytes, stamps): (Vec<u8>, Vec<Stamp>) = held.iter().copied().unzip();
        if !bytes.is_empty() {
            self.assembler.push(&bytes, Stamps::PerByte(&stamps));
        }
    }

    /// Whether a frame was taken for the answer to an earlier request, as its echo or its answer. If nothing else comes,
    /// the request under way ends with it, and accuses nobody.
    fn is_second(&mut self, now: Time, call: Option<&mut Call>, frame: &Frame) -> bool {
        let message = self.assembler.read(frame);
        let place = (message.unit(), message.pdu().first().copied().unwrap_or_default());
        if message.problem().is_some() || !self.echo.is_second(now, call.as_deref(), place, frame) {
            return false;
        }
        if let Some(call) = call {
            let (bytes, at, problem) = (frame.bytes.clone(), frame.last, SECOND.0.to_owned());
            call.heard.get_or_insert(Heard { bytes, at, problem, doubt: Some(SECOND.1.to_owned()) });
        }
        true
    }

    pub(super) fn spoil(&mut self) {
        self.assembler.spoil();
    }

    /// Forgets the bytes of a connection that is no more, but not who owes an answer.
    pub(super) fn reset(&mut self) {
        self.assembler.clear();
        self.quiet_until = Time::ZERO;
        self.echo.reset();
    }

    fn still_noisy(&mut self, now: Time, config: &Config) {
        if now <= self.quiet_until {
            self.quiet_until = (now + config.turnaround).min(self.quiet_limit).max(self.quiet_until);
        }
    }

    /// The debt that a frame pays, if its unit owes an answer to a request of the same function.
    fn late(&mut self, now: Time, frame: &Frame) -> Option<GivenUp> {
        let message = self.assembler.read(frame);
        let (unit, function) = (message.unit()?, *message.pdu().first()?);
        if message.problem().is_some() {
            return None;
        }
        let paid = self.given_up.pay(now, unit, function)?;
        self.late_heard = Some((unit, function));
        self.echo.paid(unit, function);
        Some(paid)
    }

    fn stray(&self, frame: Frame, reason: &str, kind: fn(Stray) -> ClientEvent) -> ClientEvent {
        let problem = self.assembler.read(&frame).problem().map(ToString::to_string);
        let reason = problem.map_or_else(|| reason.to_owned(), |problem| format!("{reason}; {problem}"));
        kind(Stray { bytes: frame.bytes, at: frame.last, reason })
    }

    /// The character that ends ASCII frames after CR.
    pub(super) fn delimiter(&self) -> u8 {
        self.assembler.delimiter()
    }

    /// A request was answered: it may have changed the delimiter.
    fn follow(&mut self, asked: &Request, response: &Response) {
        if let Some(next) = next_delimiter(asked).filter(|_| !matches!(response, Response::Exception(_))) {
            self.assembler.set_delimiter(next, None);
        }
    }
}

/// What ends ASCII frames after a request is done, if it says so: function 08, sub-functions 0003 (change) and 0001
/// (restart) (AP 6.8.1).
fn next_delimiter(request: &Request) -> Option<u8> {
    if request.function() != DIAGNOSTICS {
        return None;
    }
    let mut pdu = Vec::new();
    request.encode(&mut pdu);
    match (word(&pdu, 1), &pdu[..]) {
        (s::CHANGE_ASCII_DELIMITER, [_, _, _, delimiter, 0]) => Some(*delimiter),
        (s::RESTART_COMMUNICATIONS, [_, _, _, ..]) => Some(ascii::LINE_FEED),
        _ => None,
    }
}

impl Client {
    pub(super) fn take_line(&mut self, now: Time, bytes: &[u8], stamps: Stamps<'_>) {
        let Some(line) = &mut self.line else { return };
        if line.assembler.is_idle() {
            line.frame_limit = now + self.config.turnaround.saturating_mul(LONGEST_QUIET);
        }
        let (released, skipped) = line.echo.strip(bytes, stamps);
        line.push_held(&released);
        match stamps {
            _ if skipped == bytes.len() => {}
            Stamps::PerByte(all) => {
                line.assembler.push(&bytes[skipped..], Stamps::PerByte(all.get(skipped..).unwrap_or_default()));
            }
            other => line.assembler.push(&bytes[skipped..], other),
        }
        self.take_frames(now);
    }

    pub(super) fn expire_line(&mut self, now: Time) {
        if let Some(line) = &mut self.line {
            line.assembler.expire(now);
        }
        self.take_frames(now);
    }

    fn take_frames(&mut self, now: Time) {
        while let Some(line) = &mut self.line
            && let Some(frame) = line.assembler.pop()
        {
            let sent = self.flying.first().and_then(|call| call.sent);
            let began_before = sent.is_some_and(|sent| frame.first.latest() < sent);
            if let Some(paid) = line.late(now, &frame) {
                self.take_late(now, frame, &paid);
            } else if line.is_second(now, self.flying.first_mut(), &frame) {
                let reason = "these bytes were taken for the answer to an earlier request: our own echo is one of both";
                self.events.push_back(line.stray(frame, reason, ClientEvent::Unsolicited));
            } else if self.flying.is_empty() {
                line.still_noisy(now, &self.config);
                self.events.push_back(line.stray(frame, "nothing was asked", ClientEvent::Unsolicited));
            } else if began_before {
                self.events.push_back(line.stray(frame, "it began before the request was sent", ClientEvent::Late));
            } else {
                self.take_frame(now, frame);
            }
        }
    }

    /// An answer that is owed, or may be: the request under way is asked again if this may have been its answer.
    fn take_late(&mut self, now: Time, frame: Frame, paid: &GivenUp) {
        let Some(line) = &mut self.line else { return };
        let message: Message<'_> = line.assembler.read(&frame);
        let confused = self.flying.pop_if(|call| {
            let function = message.pdu().first().map(|function| function & !EXCEPTION_BIT);
            message.unit() == Some(call.unit) && function == Some(call.request.function() & !EXCEPTION_BIT)
        });
        let Some(mut call) = confused else {
            line.still_noisy(now, &self.config);
            self.events.push_back(line.stray(frame, "the request it answers was given up before", ClientEvent::Late));
            return;
        };
        line.quiet_after(now, &self.config);
        let due = (call.sent.unwrap_or(now) + paid.timeout).max(now);
        line.owes(now, &self.config, &call, due, paid.timeout);
        call.again = true;
        call.adu.clear();
        self.waiting.push_front(call);
        let reason = "it may answer a request that was given up before: what is asked now is asked again later";
        self.events.push_back(line.stray(frame, reason, ClientEvent::Late));
    }

    fn take_frame(&mut self, now: Time, frame: Frame) {
        let (Some(line), Some(call)) = (&mut self.line, self.flying.first()) else { return };
        let own = line.echo.own(&self.config, line.character, call, &frame);
        let message = line.assembler.read(&frame);
        let mut judged = judge::on_line(call, &frame, &message, own.is_some());
        if let OnLine::Is(Err(reason)) = &mut judged
            && self.config.no_echo
            && frame.bytes == call.adu
        {
            NO_ECHO.clone_into(reason);
        }
        let is_answer = judge::begins_like_answer(call, &message);
        if let OnLine::Is(Ok((response, _))) = &judged {
            line.follow(&call.request, response);
        }
        match judged {
            OnLine::Stray(reason) => self.events.push_back(line.stray(frame, &reason, ClientEvent::Unsolicited)),
            OnLine::Unreadable(problem) => {
                let doubt = line.doubt(now);
                if let Some(call) = self.flying.first_mut() {
                    let (bytes, at) = (frame.bytes.clone(), frame.last);
                    call.heard.get_or_insert(Heard { bytes, at, problem, doubt });
                }
                let reason = "it does not begin like the answer, which may still come";
                self.events.push_back(line.stray(frame, reason, ClientEvent::Unsolicited));
            }
            OnLine::Is(judgement) => {
                let doubt = if judgement.is_err() { line.doubt(now) } else { None };
                let echoed = judgement.is_err() && frame.bytes == call.adu && !self.config.no_echo;
                if echoed || !is_answer {
                    line.answered_otherwise(now, &self.config, call);
                }
                let mut call = self.flying.remove(0);
                if echoed {
                    line.echo.returned(now, &call);
                } else if judgement.is_ok() {
                    call.may_be_echo = line.echo.answered(&self.config, line.character, &call, &frame);
                }
                call.doubt = call.doubt.or(own).or(doubt).or_else(|| echoed.then(|| OWN_ECHO.to_owned()));
                self.settle(now, call, &frame.bytes, frame.last, judgement);
            }
        }
    }
}
