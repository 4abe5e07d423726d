//! How a request ended, as an answer or an exception.

use super::answer::Answer;
use super::remark::Attempt;
use crate::error::{Kind, Owner, build};
use crate::time::Span;
use fieldrig_engine::EngineError;
use fieldrig_proto::dissect::hex;
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::modbus::client::{ClientEvent, Exchange, why_text};
use fieldrig_proto::modbus::pdu::{Response, exception_name, function_name};
use fieldrig_proto::time::{Stamp, human};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What the texts of exceptions need to know beside the event.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) owner: Owner,
    /// Speed and format of a line may be wrong.
    pub(crate) wire: bool,
    /// An earlier request was answered: the path is known to work.
    pub(crate) path_works: bool,
    /// The bench itself has taken the link down, or disturbs it: why nothing proves anything.
    pub(crate) doubt: Option<String>,
    /// The host stood still while the answer was waited for.
    pub(crate) stalled: bool,
    /// When the request was issued.
    pub(crate) at: Stamp,
}

/// The answer, or the exception that says why there is none.
///
/// # Errors
/// Everything but an answer.
pub(crate) fn outcome(py: Python<'_>, event: ClientEvent, asked: &Asked<'_>) -> PyResult<Answer> {
    match event {
        ClientEvent::Answered(exchange, response) => Ok(answer(exchange, response, asked.at)),
        ClientEvent::Broadcast(exchange) => {
            let function = exchange.asked.function();
            Ok(answer(exchange, Response::Raw { function, data: Vec::new() }, asked.at))
        }
        ClientEvent::Exception(exchange, exception) => {
            let code = exception.code;
            let what = format!("answered with exception {code:#04x} ({})", exception_name(code));
            Err(failure(py, Kind::ExceptionAnswer, &what, None, &exchange, asked, Some(code)))
        }
        ClientEvent::Malformed(exchange, reason) => {
            let what = format!("did not get a proper answer: {reason}; it got {}", shortened(&exchange.answer));
            let doubt = asked.doubt.as_deref().or(exchange.doubt.as_deref());
            let (kind, hint) = match asked.wire && !asked.path_works {
                _ if doubt.is_some() => (Kind::Inconclusive, doubt),
                true => {
                    (Kind::Inconclusive, Some("are speed and format of the line right? nothing was understood yet"))
                }
                false => (Kind::Protocol, None),
            };
            Err(failure(py, kind, &what, hint, &exchange, asked, None))
        }
        ClientEvent::TimedOut(exchange, after) => {
            let doubt = asked.doubt.as_deref().or(exchange.doubt.as_deref());
            let (kind, hint) = match (asked.path_works, asked.stalled) {
                _ if doubt.is_some() => (Kind::Unanswered, doubt),
                (true, false) => (Kind::NoAnswer, None),
                (true, true) => (Kind::Unanswered, Some("the host stood still meanwhile: run again on a quieter one")),
                (false, _) => {
                    (Kind::Unanswered, Some("is it the right unit, line and address? nothing was ever answered here"))
                }
            };
            let waited = human(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
            Err(failure(py, kind, &format!("was not answered within {waited}"), hint, &exchange, asked, None))
        }
        ClientEvent::Lost(exchange, why) => {
            let kind = match &why {
                Why::Finished | Why::Reset | Why::HungUp | Why::Refused { .. } if asked.doubt.is_some() => {
                    Kind::Inconclusive
                }
                Why::Finished | Why::Reset | Why::HungUp => asked.owner.loss(),
                Why::Refused { untrusted: true, .. } => Kind::Untrusted,
                Why::Refused { .. } => Kind::Port,
                Why::Local => Kind::Stopped,
            };
            let hint = (kind == Kind::Untrusted).then_some(EngineError::UNTRUSTED);
            Err(failure(
                py,
                kind,
                &format!("was not answered: {}", why_text(&why)),
                asked.doubt.as_deref().or(hint),
                &exchange,
                asked,
                None,
            ))
        }
        other => {
            // `ClientEvent::ticket` gave a ticket for it, so it is one of the above.
            debug_assert!(false, "{other:?} ends no request");
            Err(crate::error::error(py, Kind::Bench, format!("{}: {other:?} ends no request", asked.name)))
        }
    }
}

/// Bytes as hex for a failure text: the first of them, if they are many.
fn shortened(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    let more = if bytes.len() > SHOWN { format!(" .. ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", hex(&bytes[..bytes.len().min(SHOWN)]))
}

fn answer(exchange: Exchange, response: Response, at: Stamp) -> Answer {
    let (attempts, deviations) = (exchange.attempts, exchange.deviations);
    Answer {
        response,
        at,
        done: exchange.at,
        request: exchange.request,
        raw: exchange.answer,
        attempts: attempts.into_iter().map(Attempt::from).collect(),
        deviations: deviations.into_iter().map(|deviation| (deviation.name.to_owned(), deviation.text)).collect(),
    }
}

fn failure(
    py: Python<'_>,
    kind: Kind,
    what: &str,
    hint: Option<&str>,
    exchange: &Exchange,
    asked: &Asked<'_>,
    code: Option<u8>,
) -> PyErr {
    let function = exchange.asked.function();
    let tries = match exchange.attempts.len() {
        0 => String::new(),
        before => format!(" ({} attempts)", 1 + before),
    };
    let message = format!(
        "{}: {} ({function:#04x}) to unit {} {what}{tries}",
        asked.name,
        function_name(function),
        exchange.unit
    );
    let made = || -> PyResult<PyErr> {
        let mut facts = vec![
            ("unit", exchange.unit.into_pyobject(py)?.into_any()),
            ("function", function.into_pyobject(py)?.into_any()),
            ("request", PyBytes::new(py, &exchange.request).into_any()),
            ("received", PyBytes::new(py, &exchange.answer).into_any()),
            ("waited", Span(asked.at.until(exchange.at)).into_pyobject(py)?.into_any()),
        ];
        if let Some(code) = code {
            facts.push(("code", code.into_pyobject(py)?.into_any()));
        }
        Ok(build(py, kind, &message, hint, &facts))
    };
    made().unwrap_or_else(|problem| problem)
}
