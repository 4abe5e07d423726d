//! What a client reports.

use super::super::pdu::{Exception, Request, Response};
use super::judge::Deviation;
use crate::endpoint::Why;
use crate::record::Record;
use crate::time::{Duration, Stamp, Time};

/// A request, as long as it lives.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A request and how it ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    /// The ticket [`Client::request`](super::Client::request) gave.
    pub ticket: Ticket,
    /// Unit asked.
    pub unit: u8,
    /// What was asked.
    pub asked: Request,
    /// The bytes sent; empty if it was never sent.
    pub request: Vec<u8>,
    /// When it was handed to the driver.
    pub sent: Option<Time>,
    /// The bytes received, if any.
    pub answer: Vec<u8>,
    /// When the last byte of the answer arrived, or when the end was decided.
    pub at: Stamp,
    /// What was tried before and failed, if it was asked again: [`Options::retries`](super::Options::retries).
    pub attempts: Vec<Attempt>,
    /// What about the answer was tolerated.
    pub deviations: Vec<Deviation>,
    /// Why the end may be the fault of another device, or of an earlier request: on a line, late answers garble others.
    pub doubt: Option<String>,
    /// On a line: the answer has the bytes of the request and may be our own echo, so it shows nobody to be there.
    pub may_be_echo: bool,
}

/// One time that a request was asked in vain, and then again.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// When it was handed to the driver.
    pub sent: Option<Time>,
    /// When it was given up.
    pub at: Stamp,
    /// The bytes sent.
    pub request: Vec<u8>,
    /// The bytes received, if any.
    pub answer: Vec<u8>,
    /// What was wrong.
    pub problem: String,
}

/// Bytes that are not the answer to anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When the last one arrived.
    pub at: Stamp,
    /// Why they are not taken for an answer.
    pub reason: String,
}

/// What a client reports.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientEvent {
    /// There is a connection, or the line.
    Connected(Time),
    /// The answer came, and is the answer to what was asked.
    Answered(Exchange, Response),
    /// An exception response came.
    Exception(Exchange, Exception),
    /// A broadcast was sent; no answer follows.
    Broadcast(Exchange),
    /// No answer came in time.
    TimedOut(Exchange, Duration),
    /// Something came instead of the answer: why it is none.
    Malformed(Exchange, String),
    /// The connection ended before the answer came, or there is none.
    Lost(Exchange, Why),
    /// An answer to a request that was given up already.
    Late(Stray),
    /// A second answer to the same request.
    Duplicate(Stray),
    /// Bytes that answer nothing.
    Unsolicited(Stray),
    /// An answer that is not quite one, and was tolerated: it follows.
    Deviated(Stray),
    /// A request was not, or not properly, answered, and is asked again.
    Retried(Stray),
    /// The connection ended.
    Disconnected(Time, Why),
}

impl ClientEvent {
    /// The request that this event ends, and how.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        match self {
            ClientEvent::Answered(exchange, _)
            | ClientEvent::Exception(exchange, _)
            | ClientEvent::Broadcast(exchange)
            | ClientEvent::TimedOut(exchange, _)
            | ClientEvent::Malformed(exchange, _)
            | ClientEvent::Lost(exchange, _) => Some(exchange),
            _ => None,
        }
    }

    /// The ticket of the request that this event ends.
    #[must_use]
    pub fn ticket(&self) -> Option<Ticket> {
        self.exchange().map(|exchange| exchange.ticket)
    }

    /// What kind of remark it is, in a word, if it ends no request: bytes with an instant and a reason.
    #[must_use]
    pub fn remark(&self) -> Option<(&'static str, &Stray)> {
        match self {
            ClientEvent::Late(stray) => Some(("late", stray)),
            ClientEvent::Duplicate(stray) => Some(("duplicate", stray)),
            ClientEvent::Unsolicited(stray) => Some(("unsolicited", stray)),
            ClientEvent::Deviated(stray) => Some(("deviation", stray)),
            ClientEvent::Retried(stray) => Some(("retry", stray)),
            _ => None,
        }
    }
}

/// Says in words why a connection ended.
#[must_use]
pub fn why_text(why: &Why) -> String {
    match why {
        Why::Finished => "the other side closed the connection".into(),
        Why::Reset => "the other side reset the connection".into(),
        Why::HungUp => "the port went away".into(),
        Why::Local => "we closed it".into(),
        Why::Refused { reason, .. } => reason.clone(),
    }
}

impl From<ClientEvent> for Record {
    fn from(event: ClientEvent) -> Record {
        match event {
            ClientEvent::Connected(at) => Record::new("modbus.connected").at(Stamp::exact(at)),
            ClientEvent::Disconnected(at, why) => {
                Record::new("modbus.disconnected").at(Stamp::exact(at)).with("why", why_text(&why))
            }
            ClientEvent::Answered(exchange, _) => of_exchange("modbus.answer", exchange),
            ClientEvent::Exception(exchange, exception) => {
                of_exchange("modbus.exception", exchange).with("code", exception.code)
            }
            ClientEvent::Broadcast(exchange) => of_exchange("modbus.broadcast", exchange),
            ClientEvent::TimedOut(exchange, after) => {
                of_exchange("modbus.timeout", exchange).with("after_s", after.as_secs_f64())
            }
            ClientEvent::Malformed(exchange, reason) => {
                of_exchange("modbus.malformed", exchange).with("reason", reason)
            }
            ClientEvent::Lost(exchange, why) => of_exchange("modbus.lost", exchange).with("why", why_text(&why)),
            ClientEvent::Late(stray) => of_stray("modbus.late", stray),
            ClientEvent::Duplicate(stray) => of_stray("modbus.duplicate", stray),
            ClientEvent::Unsolicited(stray) => of_stray("modbus.unsolicited", stray),
            ClientEvent::Deviated(stray) => of_stray("modbus.deviation", stray),
            ClientEvent::Retried(stray) => of_stray("modbus.retry", stray),
        }
    }
}

fn of_exchange(kind: &'static str, exchange: Exchange) -> Record {
    let record = Record::new(kind)
        .at(exchange.at)
        .with("unit", exchange.unit)
        .with("function", exchange.asked.function())
        .with("request", exchange.request)
        .with("answer", exchange.answer);
    match exchange.attempts.len() {
        0 => record,
        before => record.with("attempts", 1 + before as i64),
    }
}

fn of_stray(kind: &'static str, stray: Stray) -> Record {
    Record::new(kind).at(stray.at).with("reason", stray.reason).with("bytes", stray.bytes)
}
