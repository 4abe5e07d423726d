//! What a model asks, and what it is told.
//!
//! ```text
//! { token = 7, unit = 1, function = "read_input", address = 0, count = 2, timeout = 300_000_000 }     (ns)
//!   read_holding, read_input, read_coils, read_discrete_inputs:  address, count (1)
//!   write_register, write_coil:                                  address, value
//!   write_registers, write_coils:                                address, values
//!   raw:                                                         pdu, octets
//!
//! { token = 7, values = [2300, 2301] }
//! { token = 7, error = "exception", code = 2, text = ".." }      or no_answer, malformed, lost, refused
//! ```
//! The answer to a raw request has its `pdu`, too.

use crate::modbus::client::{ClientEvent, why_text};
use crate::modbus::pdu::{Request, Response, exception_name};
use crate::record::Value;
use crate::time::{Duration, human};

pub(super) struct Ask {
    pub(super) unit: u8,
    pub(super) request: Request,
    pub(super) timeout: Duration,
}

/// Reads an ask.
///
/// # Errors
/// What is missing, unknown or does not fit, in words.
pub(super) fn parse(table: &Value, unit: u8, timeout: Duration) -> Result<Ask, String> {
    let unit = table.entry("unit").map_or(Ok(unit), |value| number("unit", value, 0xff).map(|unit| unit as u8))?;
    let timeout = match table.entry("timeout").map(Value::as_i64) {
        None => timeout,
        Some(Some(nanos @ 1..)) => Duration::from_nanos(nanos.unsigned_abs()),
        Some(_) => return Err("`timeout` is a positive number of nanoseconds".to_owned()),
    };
    let function = table.entry("function").and_then(Value::as_str).ok_or("`function` is missing")?;
    Ok(Ask { unit, request: request(function, table)?, timeout })
}

fn request(function: &str, table: &Value) -> Result<Request, String> {
    let word = |key: &str| field(table, key).and_then(|value| number(key, value, 0xffff)).map(|number| number as u16);
    let words = |key: &str| each(table, key, 0xffff).map(|all| all.into_iter().map(|value| value as u16).collect());
    let bits = |key: &str| each(table, key, 1).map(|all| all.into_iter().map(|value| value == 1).collect());
    let quantity = || if table.entry("count").is_some() { word("count") } else { Ok(1) };
    Ok(match function {
        "read_coils" => Request::ReadCoils { address: word("address")?, quantity: quantity()? },
        "read_discrete_inputs" => Request::ReadDiscreteInputs { address: word("address")?, quantity: quantity()? },
        "read_holding" => Request::ReadHoldingRegisters { address: word("address")?, quantity: quantity()? },
        "read_input" => Request::ReadInputRegisters { address: word("address")?, quantity: quantity()? },
        "write_coil" => {
            let on = field(table, "value").and_then(|value| number("value", value, 1))? == 1;
            Request::WriteSingleCoil { address: word("address")?, on }
        }
        "write_register" => Request::WriteSingleRegister { address: word("address")?, value: word("value")? },
        "write_coils" => Request::WriteMultipleCoils { address: word("address")?, values: bits("values")? },
        "write_registers" => Request::WriteMultipleRegisters { address: word("address")?, values: words("values")? },
        "raw" => match field(table, "pdu")? {
            Value::Bytes(pdu) => Request::raw(pdu),
            _ => Request::raw(&each(table, "pdu", 0xff)?.into_iter().map(|octet| octet as u8).collect::<Vec<u8>>()),
        },
        other => {
            return Err(format!(
                "function `{other}` is none of read_holding, read_input, read_coils, read_discrete_inputs, \
                 write_register, write_registers, write_coil, write_coils, raw"
            ));
        }
    })
}

fn field<'a>(table: &'a Value, key: &str) -> Result<&'a Value, String> {
    table.entry(key).ok_or_else(|| format!("`{key}` is missing"))
}

/// An integer from 0 to `most`; a truth value counts as 0 or 1.
fn number(key: &str, value: &Value, most: i64) -> Result<i64, String> {
    let number = match value {
        Value::Bool(on) => Some(i64::from(*on)),
        other => other.as_i64(),
    };
    number
        .filter(|number| (0..=most).contains(number))
        .ok_or_else(|| format!("`{key}` is an integer from 0 to {most}, not {value}"))
}

fn each(table: &Value, key: &str, most: i64) -> Result<Vec<i64>, String> {
    match field(table, key)? {
        Value::List(values) => values.iter().map(|value| number(key, value, most)).collect(),
        other => Err(format!("`{key}` is a list, not {other}")),
    }
}

/// What the model is told about an ask that has ended with this event.
pub(super) fn outcome(token: i64, event: &ClientEvent) -> Value {
    match event {
        ClientEvent::Answered(exchange, response) => {
            let raw = matches!(exchange.asked, Request::Raw { .. }).then_some(response);
            answered(token, response, raw)
        }
        ClientEvent::Exception(_, exception) => {
            let text = format!("exception {:02x} ({})", exception.code, exception_name(exception.code));
            failed(token, "exception", &text, Some(exception.code))
        }
        ClientEvent::TimedOut(exchange, after) => {
            let after = human(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
            failed(token, "no_answer", &format!("unit {} did not answer within {after}", exchange.unit), None)
        }
        ClientEvent::Malformed(_, reason) => failed(token, "malformed", reason, None),
        ClientEvent::Lost(_, why) => failed(token, "lost", &why_text(why), None),
        // A broadcast, which nobody answers (SL 2.1).
        _ => table(token, [("values", Value::List(Vec::new()))]),
    }
}

fn answered(token: i64, response: &Response, raw: Option<&Response>) -> Value {
    let values = match response {
        Response::Registers { values, .. } => values.iter().map(|value| Value::from(*value)).collect(),
        Response::Bits { values, .. } => values.iter().map(|bit| Value::from(*bit)).collect(),
        _ => Vec::new(),
    };
    let pdu = raw.map(|response| {
        let mut pdu = Vec::new();
        response.encode(&mut pdu);
        ("pdu", Value::Bytes(pdu))
    });
    table(token, std::iter::once(("values", Value::List(values))).chain(pdu))
}

/// What the model is told about an ask that failed.
pub(super) fn failed(token: i64, error: &str, text: &str, code: Option<u8>) -> Value {
    let code = code.map(|code| ("code", Value::from(code)));
    table(token, std::iter::once(("error", Value::from(error))).chain(code).chain([("text", Value::from(text))]))
}

fn table<'a>(token: i64, entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let token = std::iter::once(("token", Value::Int(token)));
    Value::Table(token.chain(entries).map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(entries: &[(&str, Value)]) -> Result<(u8, Request, Duration), String> {
        let table = Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect());
        parse(&table, 7, Duration::from_secs(1)).map(|ask| (ask.unit, ask.request, ask.timeout))
    }

    #[test]
    fn every_function_can_be_asked_for() {
        let address = ("address", Value::Int(4));
        let list = |values: &[i64]| ("values", Value::List(values.iter().map(|value| Value::Int(*value)).collect()));
        for (function, more, expected) in [
            ("read_coils", None, Request::ReadCoils { address: 4, quantity: 1 }),
            (
                "read_discrete_inputs",
                Some(("count", 9.into())),
                Request::ReadDiscreteInputs { address: 4, quantity: 9 },
            ),
            ("read_holding", Some(("count", 2.into())), Request::ReadHoldingRegisters { address: 4, quantity: 2 }),
            ("read_input", None, Request::ReadInputRegisters { address: 4, quantity: 1 }),
            ("write_coil", Some(("value", true.into())), Request::WriteSingleCoil { address: 4, on: true }),
            ("write_register", Some(("value", 5.into())), Request::WriteSingleRegister { address: 4, value: 5 }),
            ("write_coils", Some(list(&[1, 0])), Request::WriteMultipleCoils { address: 4, values: vec![true, false] }),
            ("write_registers", Some(list(&[8])), Request::WriteMultipleRegisters { address: 4, values: vec![8] }),
            ("raw", Some(("pdu", Value::Bytes(vec![0x41, 9]))), Request::raw(&[0x41, 9])),
        ] {
            let mut entries = vec![("function", Value::from(function)), address.clone()];
            entries.extend(more);
            assert_eq!(ask(&entries), Ok((7, expected, Duration::from_secs(1))), "{function}");
        }
        let entries =
            [("function", "read_input".into()), address, ("unit", Value::Int(3)), ("timeout", Value::Int(300_000_000))];
        let (unit, _, timeout) = ask(&entries).expect("a good ask");
        assert_eq!((unit, timeout), (3, Duration::from_millis(300)));
    }

    #[test]
    fn what_cannot_be_asked_is_told_in_words() {
        let read = ("function", Value::from("read_input"));
        for (entries, problem) in [
            (vec![], "`function` is missing"),
            (vec![read.clone()], "`address` is missing"),
            (vec![read.clone(), ("address", Value::Int(-1))], "`address` is an integer from 0 to 65535, not -1"),
            (vec![read.clone(), ("unit", Value::from("x"))], "`unit` is an integer from 0 to 255, not \"x\""),
            (vec![read, ("timeout", Value::Int(0))], "`timeout` is a positive number of nanoseconds"),
            (vec![("function", "write_coils".into()), ("address", 1.into())], "`values` is missing"),
            (vec![("function", "raw".into()), ("pdu", 1.into())], "`pdu` is a list, not 1"),
        ] {
            assert_eq!(ask(&entries).expect_err("must be refused"), problem);
        }
        let unknown = ask(&[("function", "peek".into())]).expect_err("must be refused");
        assert!(unknown.starts_with("function `peek` is none of read_holding"), "{unknown}");
    }
}
