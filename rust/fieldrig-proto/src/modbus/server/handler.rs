//! A handler: somebody outside who answers requests in the place of the server, or leaves them to it.
//!
//! Rules of this file:
//! - It is asked once for each request that is for the device, after roles and rules have had their say and before
//!   anything is done. It is not asked in listen-only mode, nor about a request that is malformed or asks for a quantity
//!   that its function does not have: what the standard says about these holds without it.
//! - What it answers is an answer like any other: rules and habits apply, a broadcast stays unanswered.
//! - What it takes from the server is a record `modbus.handled`. A handler that breaks, or whose answer cannot be one to
//!   the request, is the fault of the bench: it is told so, the record is `modbus.handler_failed`, and the client gets
//!   exception 04 (AP 7: an unrecoverable error occurred while the server was attempting to perform the action).

use super::answer::{Ask, Service};
use super::face::ServerFace;
use crate::dissect::hex;
use crate::modbus::pdu::{Exception, Request, Response};
use crate::record::Record;
use crate::time::{Stamp, Time};
use std::fmt;

/// A request, as a handler sees it.
#[derive(Debug)]
pub struct Question<'a> {
    /// When the device took it up.
    pub now: Time,
    /// The number of its connection since power-on, from 1; a wire has one, too.
    pub connection: u32,
    /// The unit it is for; 0 for a broadcast on a line.
    pub unit: u8,
    /// The transaction id; `None` on a line.
    pub transaction: Option<u16>,
    /// Nobody answers it.
    pub broadcast: bool,
    /// Its bytes.
    pub pdu: &'a [u8],
    /// What they say.
    pub request: Request,
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The server does it.
    Usual,
    /// What a request that reads asked for: registers, or bits as 0 and 1.
    Values(Vec<i64>),
    /// A request that writes has been done by the handler.
    Done,
    /// This exception.
    Exception(u8),
    /// This PDU, whatever it is.
    Pdu(Vec<u8>),
    /// Nothing.
    NoAnswer,
    /// The handler is broken: why, and how it came to that.
    Failed {
        /// In one line.
        error: String,
        /// In many.
        trace: String,
    },
}

/// Answers requests in the place of a server. Called by whoever drives the device; the device waits for it.
pub trait Handler: Send {
    /// Its name in the run log and in errors.
    fn name(&self) -> &str;
    /// What becomes of a request.
    fn answer(&mut self, question: Question<'_>) -> Reply;
    /// It has failed: `error` in one line, with its name.
    fn failed(&mut self, error: &str, trace: &str);
}

/// The handler of a server, and what it did with the request at hand.
#[derive(Default)]
pub(super) struct Handling {
    handler: Option<Box<dyn Handler>>,
    /// It was asked about this request.
    asked: bool,
    /// It has taken this request from the server.
    pub(super) taken: bool,
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handling").field("handler", &self.handler.as_ref().map(|handler| handler.name())).finish()
    }
}

impl Handling {
    /// The next request comes.
    pub(super) fn begin(&mut self) {
        (self.asked, self.taken) = (false, false);
    }
}

impl ServerFace {
    /// Gives it a handler, or takes it away.
    pub fn set_handler(&mut self, handler: Option<Box<dyn Handler>>) {
        self.handling.handler = handler;
    }

    /// Asks the handler. `None`: the server does the request itself; else whether there is an answer, which stands in `out`.
    pub(super) fn handle_outside(&mut self, now: Time, ask: &Ask<'_>, out: &mut Vec<u8>) -> Option<bool> {
        let mut handler = self.handling.handler.take_if(|_| !self.handling.asked)?;
        self.handling.asked = true;
        let outcome = self.ask_handler(now, ask, handler.as_mut(), out);
        self.handling.handler = Some(handler);
        self.handling.taken = outcome.is_some();
        outcome
    }

    fn ask_handler(&mut self, now: Time, ask: &Ask<'_>, handler: &mut dyn Handler, out: &mut Vec<u8>) -> Option<bool> {
        if self.core.diagnosis.listens_only {
            return None;
        }
        let request = Request::parse(ask.pdu).ok().filter(|request| request.check().is_ok())?;
        let question = Question {
            now,
            connection: self.connection(ask.conn).map_or(0, |connection| connection.number),
            unit: ask.unit,
            transaction: self.transport.serial().is_none().then_some(ask.transaction),
            broadcast: ask.service == Service::Silent,
            pdu: ask.pdu,
            request,
        };
        let reply = handler.answer(question);
        let what = shown(&reply);
        let failure = match reply {
            Reply::Usual => return None,
            Reply::NoAnswer => None,
            Reply::Exception(code) => {
                self.core.refuse(ask.pdu[0], code, out);
                None
            }
            Reply::Failed { error, trace } => Some((error, trace)),
            said => put(said, ask.pdu, out).err().map(|error| (error, String::new())),
        };
        let record = Record::new(if failure.is_none() { "modbus.handled" } else { "modbus.handler_failed" });
        let record = record.at(Stamp::exact(now)).conn(ask.conn).with("handler", handler.name());
        let record = match &failure {
            None => record.with("what", what),
            Some((error, trace)) => record.with("error", error.as_str()).with("trace", trace.as_str()),
        };
        let record = record.with("unit", ask.unit).with("transaction", ask.transaction);
        self.events.push_back(record.with("request", hex(ask.pdu)));
        if let Some((error, trace)) = failure {
            handler.failed(&error, &trace);
            self.core.refuse(ask.pdu[0], Exception::SERVER_DEVICE_FAILURE, out);
        }
        Some(!out.is_empty())
    }
}

/// Appends the PDU of what a handler said.
///
/// # Errors
/// It cannot be an answer to this request.
fn put(reply: Reply, pdu: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let request = Request::parse(pdu).map_err(|problem| problem.to_string())?;
    match reply {
        Reply::Values(values) => response(&request, &values)?.encode(out),
        Reply::Done => match &request {
            Request::WriteMultipleCoils { .. } | Request::WriteMultipleRegisters { .. } => {
                out.extend_from_slice(&pdu[..5]);
            }
            other if other.is_plain_write() => out.extend_from_slice(pdu),
            other => return Err(format!("it says that function {} is done, which writes nothing", other.function())),
        },
        Reply::Pdu(bytes) if bytes.is_empty() => return Err("it gave no bytes at all for a PDU".to_owned()),
        Reply::Pdu(bytes) => out.extend_from_slice(&bytes),
        _ => {}
    }
    Ok(())
}

/// The response to a request that reads.
fn response(request: &Request, values: &[i64]) -> Result<Response, String> {
    let function = request.function();
    let quantity = match request {
        Request::ReadCoils { quantity, .. }
        | Request::ReadDiscreteInputs { quantity, .. }
        | Request::ReadHoldingRegisters { quantity, .. }
        | Request::ReadInputRegisters { quantity, .. }
        | Request::ReadWriteMultipleRegisters { read_quantity: quantity, .. } => usize::from(*quantity),
        _ => return Err(format!("it gave values for function {function}, which reads neither registers nor bits")),
    };
    if values.len() != quantity {
        return Err(format!("it gave {} values to a request for {quantity}", values.len()));
    }
    let bits = matches!(request, Request::ReadCoils { .. } | Request::ReadDiscreteInputs { .. });
    let most = if bits { 1 } else { 0xffff };
    if let Some(wrong) = values.iter().find(|value| !(0..=most).contains(*value)) {
        let what = if bits { "a bit" } else { "a register" };
        return Err(format!("it gave {wrong} for {what}, which holds 0 to {most}"));
    }
    Ok(match bits {
        true => Response::Bits { function, values: values.iter().map(|value| *value != 0).collect() },
        false => Response::Registers { function, values: values.iter().map(|value| *value as u16).collect() },
    })
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Usual | Reply::Failed { .. } => String::new(),
        Reply::Values(values) => format!("values {values:?}"),
        Reply::Done => "done".to_owned(),
        Reply::Exception(code) => format!("exception {code:02x}"),
        Reply::Pdu(bytes) => format!("answer {}", hex(bytes)),
        Reply::NoAnswer => "no answer".to_owned(),
    }
}
