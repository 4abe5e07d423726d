//! 08 (0x08) Diagnostics: the sub-functions (AP 6.8).
//!
//! Rules of this file:
//! - Behind the sub-function stand whole words: any number of them for 0000, one for all others that are assigned.
//! - Reserved sub-functions are kept with whatever words they carry.

use super::{PduError, Request, Response, at_least, put, word, words};

/// Sub-functions of function 08 (AP 6.8.1).
pub mod sub_function {
    /// 0000 Return Query Data
    pub const RETURN_QUERY_DATA: u16 = 0x00;
    /// 0001 Restart Communications Option
    pub const RESTART_COMMUNICATIONS: u16 = 0x01;
    /// 0002 Return Diagnostic Register
    pub const RETURN_DIAGNOSTIC_REGISTER: u16 = 0x02;
    /// 0003 Change ASCII Input Delimiter
    pub const CHANGE_ASCII_DELIMITER: u16 = 0x03;
    /// 0004 Force Listen Only Mode
    pub const FORCE_LISTEN_ONLY: u16 = 0x04;
    /// 000A Clear Counters and Diagnostic Register
    pub const CLEAR_COUNTERS: u16 = 0x0a;
    /// 000B Return Bus Message Count
    pub const BUS_MESSAGES: u16 = 0x0b;
    /// 000C Return Bus Communication Error Count
    pub const BUS_COMMUNICATION_ERRORS: u16 = 0x0c;
    /// 000D Return Bus Exception Error Count
    pub const EXCEPTIONS: u16 = 0x0d;
    /// 000E Return Server Message Count
    pub const SERVER_MESSAGES: u16 = 0x0e;
    /// 000F Return Server No Response Count
    pub const NO_RESPONSES: u16 = 0x0f;
    /// 0010 Return Server NAK Count
    pub const NEGATIVE_ACKNOWLEDGES: u16 = 0x10;
    /// 0011 Return Server Busy Count
    pub const BUSY: u16 = 0x11;
    /// 0012 Return Bus Character Overrun Count
    pub const CHARACTER_OVERRUNS: u16 = 0x12;
    /// 0014 Clear Overrun Counter and Flag
    pub const CLEAR_OVERRUN: u16 = 0x14;
}

use sub_function as s;

/// Name of a sub-function of function 08, as the standard gives it (AP 6.8.1).
#[must_use]
pub fn sub_function_name(sub: u16) -> &'static str {
    match sub {
        s::RETURN_QUERY_DATA => "Return Query Data",
        s::RESTART_COMMUNICATIONS => "Restart Communications Option",
        s::RETURN_DIAGNOSTIC_REGISTER => "Return Diagnostic Register",
        s::CHANGE_ASCII_DELIMITER => "Change ASCII Input Delimiter",
        s::FORCE_LISTEN_ONLY => "Force Listen Only Mode",
        s::CLEAR_COUNTERS => "Clear Counters and Diagnostic Register",
        s::BUS_MESSAGES => "Return Bus Message Count",
        s::BUS_COMMUNICATION_ERRORS => "Return Bus Communication Error Count",
        s::EXCEPTIONS => "Return Bus Exception Error Count",
        s::SERVER_MESSAGES => "Return Server Message Count",
        s::NO_RESPONSES => "Return Server No Response Count",
        s::NEGATIVE_ACKNOWLEDGES => "Return Server NAK Count",
        s::BUSY => "Return Server Busy Count",
        s::CHARACTER_OVERRUNS => "Return Bus Character Overrun Count",
        s::CLEAR_OVERRUN => "Clear Overrun Counter and Flag",
        _ => "reserved",
    }
}

/// It asks for something and changes nothing: the loop-back, the register and the counters (AP 6.8.1).
pub(super) fn only_asks(sub: u16) -> bool {
    matches!(sub, s::RETURN_QUERY_DATA | s::RETURN_DIAGNOSTIC_REGISTER | s::BUS_MESSAGES..=s::CHARACTER_OVERRUNS)
}

/// What the standard allows as data: any words for the loop-back, 0000 or FF00 for a restart, a character and 00 for a
/// delimiter, 0000 for the others (AP 6.8.1). Reserved sub-functions may carry anything.
pub(super) fn check(sub: u16, data: &[u16]) -> Result<(), PduError> {
    let value = |allowed| Err(PduError::Value { what: "the data", offset: 3, is: data.first().copied(), allowed });
    match (sub, data) {
        (s::RETURN_QUERY_DATA, words) if words.len() > MOST_WORDS => {
            Err(PduError::TooLong { length: 3 + words.len() * 2 })
        }
        (s::RETURN_QUERY_DATA, _) | (s::RESTART_COMMUNICATIONS, [0 | 0xff00]) => Ok(()),
        (s::RESTART_COMMUNICATIONS, _) => value("one word, 0x0000 or 0xff00,"),
        (s::CHANGE_ASCII_DELIMITER, [word]) if word & 0xff == 0 => Ok(()),
        (s::CHANGE_ASCII_DELIMITER, _) => value("one word, a character and 0x00,"),
        (sub, [0]) if sub_function_name(sub) != "reserved" => Ok(()),
        (sub, _) if sub_function_name(sub) != "reserved" => value("one word, 0x0000,"),
        (_, words) if words.len() > MOST_WORDS => Err(PduError::TooLong { length: 3 + words.len() * 2 }),
        _ => Ok(()),
    }
}

/// Words that fit behind function and sub-function (AP 4.1).
const MOST_WORDS: usize = (super::MAX_PDU - 3) / 2;

fn parts(pdu: &[u8]) -> Result<(u16, Vec<u16>), PduError> {
    at_least(pdu, 3)?;
    if pdu.len().is_multiple_of(2) {
        return Err(PduError::HalfRegister { offset: pdu.len() - 1 });
    }
    Ok((word(pdu, 1), words(&pdu[3..])))
}

pub(super) fn parse_request(pdu: &[u8]) -> Result<Request, PduError> {
    parts(pdu).map(|(sub, data)| Request::Diagnostics { sub, data })
}

pub(super) fn parse_response(pdu: &[u8]) -> Result<Response, PduError> {
    parts(pdu).map(|(sub, data)| Response::Diagnostics { sub, data })
}

pub(super) fn encode(sub: u16, data: &[u16], out: &mut Vec<u8>) {
    put(out, sub);
    data.iter().for_each(|value| put(out, *value));
}

/// The answer repeats the sub-function; that of everything but a counter or the register repeats the data as well, and
/// that of those has one word (AP 6.8.1).
pub(super) fn answers(asked: (u16, &[u16]), is: (u16, &[u16])) -> Result<(), PduError> {
    if asked.0 != is.0 {
        return Err(PduError::Echo { field: "sub-function", offset: 1, is: is.0, asked: asked.0 });
    }
    let counted = asked.0 != s::RETURN_QUERY_DATA && only_asks(asked.0);
    let words = if counted { 1 } else { asked.1.len() };
    if sub_function_name(asked.0) == "reserved" {
        return Ok(());
    }
    if is.1.len() != words {
        return Err(PduError::Count { what: "the data", offset: 3, says: is.1.len() * 2, is: words * 2 });
    }
    let different = asked.1.iter().zip(is.1).position(|(asked, is)| asked != is);
    match different.filter(|_| !counted) {
        Some(index) => {
            let (is, asked) = (is.1[index], asked.1[index]);
            Err(PduError::Echo { field: "data", offset: 3 + 2 * index, is, asked })
        }
        None => Ok(()),
    }
}
