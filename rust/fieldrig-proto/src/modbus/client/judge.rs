//! What comes, held against what was asked.
//!
//! Rules of this file:
//! - Strict: an answer matches the request in protocol id and unit (TCP: MG 4.4.1.3), function, amount of data and echoed
//!   fields (AP 6); anything else is none.
//! - Lenient: these deviations are tolerated, each with its name, because devices in the field have them and the data is
//!   whole all the same:
//!
//! ```text
//!   protocol     a protocol id that is not 0                                        (TCP)
//!   unit         another unit id than the one asked, as gateways answer             (TCP)
//!   trailing     bytes behind the end of the PDU; they are dropped
//!   byte_count   a byte count that is wrong, with as much data as was asked for
//!   amount       more data than was asked for; the rest is dropped
//!   unasked      something came before the request, and was dropped                 (RTU, the stock client alone)
//! ```
//! - Raw: whatever comes is given back; what is wrong with it is a deviation of the name `malformed`, `frame` or `unit`.
//! - Whatever the rules, less data than was asked for is no answer, unless raw.

use super::super::pdu::{Request, Response, function as f};
use super::super::{serial, tcp};
use super::{Call, Strictness};
use crate::line::silence::Frame;

/// Something about an answer that the standard does not allow, and that was tolerated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// Its name; the list stands at the top of `judge.rs`.
    pub name: &'static str,
    /// What it is, with place and values.
    pub text: String,
}

pub(super) type Judgement = Result<(Response, Vec<Deviation>), String>;

pub(super) enum OnLine {
    Is(Judgement),
    /// It is not for us; go on waiting.
    Stray(String),
    /// It cannot be read, and does not begin like the answer, which may still come; go on waiting.
    Unreadable(String),
}

/// Whether an ADU with the right transaction id answers the call.
pub(super) fn tcp(call: &Call, view: tcp::View<'_>) -> Judgement {
    let strictness = call.strictness();
    let mut deviations = Vec::new();
    let mut differs = |name, text: String| {
        if strictness == Strictness::Strict {
            return Err(text);
        }
        deviations.push(Deviation { name, text });
        Ok(())
    };
    if let Some(protocol) = view.protocol()
        && protocol != tcp::PROTOCOL
    {
        differs("protocol", format!("protocol id at offset 2 is {protocol:#06x}, 0 is Modbus"))?;
    }
    if let Some(unit) = view.unit()
        && unit != call.unit
    {
        differs("unit", format!("unit id at offset 6 is {unit}, {} was asked", call.unit))?;
    }
    let (response, more) = pdu(strictness, &call.request, view.pdu(), 7)?;
    deviations.extend(more);
    Ok((response, deviations))
}

/// Whether a frame answers the call.
///
/// `own`: the same bytes as those of the request are surely its echo.
pub(super) fn on_line(call: &Call, frame: &Frame, message: &serial::Message<'_>, own: bool) -> OnLine {
    let raw = call.strictness() == Strictness::Raw;
    if let Some(problem) = message.problem() {
        return match raw {
            true => {
                OnLine::Is(Ok((as_it_is(message.pdu()), vec![Deviation { name: "frame", text: problem.to_string() }])))
            }
            false if message.is_noise() && frame.fault.is_none() => OnLine::Stray("noise".into()),
            false if message.is_interrupted() => OnLine::Stray("another frame began inside it".into()),
            false if !begins_like_answer(call, message) => OnLine::Unreadable(problem.to_string()),
            false => OnLine::Is(Err(problem.to_string())),
        };
    }
    let (unit_at, pdu_at) = message.offsets();
    let mut deviations = Vec::new();
    if let Some(unit) = message.unit()
        && unit != call.unit
    {
        let text = format!("unit id at offset {unit_at} is {unit}, {} was asked", call.unit);
        if !raw {
            return OnLine::Stray(text);
        }
        deviations.push(Deviation { name: "unit", text });
    }
    if frame.bytes == call.adu && (own || Response::answering(&call.request, message.pdu()).is_err()) {
        let echo = "our own request came back: the adapter has a local echo, which `local_echo` strips";
        return OnLine::Is(Err(echo.into()));
    }
    OnLine::Is(pdu(call.strictness(), &call.request, message.pdu(), pdu_at).map(|(response, more)| {
        deviations.extend(more);
        (response, deviations)
    }))
}

/// Whether a frame has the unit and function that the answer has: then no other one is to be expected.
pub(super) fn begins_like_answer(call: &Call, message: &serial::Message<'_>) -> bool {
    let function = message.pdu().first().map(|function| function & !f::EXCEPTION_BIT);
    message.unit() == Some(call.unit) && function == Some(call.request.function() & !f::EXCEPTION_BIT)
}

fn pdu(strictness: Strictness, request: &Request, pdu: &[u8], offset: usize) -> Judgement {
    let problem = match Response::answering(request, pdu) {
        Ok(response) => return Ok((response, Vec::new())),
        Err(problem) => format!("PDU from offset {offset}: {problem}"),
    };
    let tolerated = match strictness {
        Strictness::Strict => None,
        Strictness::Lenient => mended(request, pdu),
        Strictness::Raw => Some((as_it_is(pdu), "malformed")),
    };
    match tolerated {
        Some((response, name)) => Ok((response, vec![Deviation { name, text: problem }])),
        None => Err(problem),
    }
}

/// The answer that a PDU would be without its one deviation, and the name of that.
fn mended(request: &Request, pdu: &[u8]) -> Option<(Response, &'static str)> {
    let (function, data) = pdu.split_first()?;
    let cut = |length: usize| {
        let whole = pdu.get(..length).filter(|whole| whole.len() < pdu.len())?;
        Some((Response::answering(request, whole).ok()?, "trailing"))
    };
    if function & f::EXCEPTION_BIT != 0 {
        return cut(2);
    }
    let Some(asked) = bytes_asked(request) else {
        return match function {
            &f::MASK_WRITE_REGISTER => cut(7),
            _ => cut(5),
        };
    };
    let (count, data) = data.split_first()?;
    let count = usize::from(*count);
    let name = match data.len() {
        has if has == asked => "byte_count",
        has if has > asked && count == asked => "trailing",
        has if has > asked && count == has => "amount",
        _ => return None,
    };
    let whole: Vec<u8> = [*function, asked as u8].into_iter().chain(data[..asked].iter().copied()).collect();
    Some((Response::answering(request, &whole).ok()?, name))
}

/// How many bytes of data a read asks for.
fn bytes_asked(request: &Request) -> Option<usize> {
    match request {
        Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. } => {
            Some(usize::from(*quantity).div_ceil(8))
        }
        Request::ReadHoldingRegisters { quantity, .. }
        | Request::ReadInputRegisters { quantity, .. }
        | Request::ReadWriteMultipleRegisters { read_quantity: quantity, .. } => Some(usize::from(*quantity) * 2),
        _ => None,
    }
}

/// What is no proper answer to this is no exception of it, either.
fn as_it_is(pdu: &[u8]) -> Response {
    let (function, data) = pdu.split_first().map_or((0, &[][..]), |(function, data)| (*function, data));
    match Response::parse(pdu) {
        Ok(response) if function & f::EXCEPTION_BIT == 0 => response,
        _ => Response::Raw { function, data: data.to_vec() },
    }
}
