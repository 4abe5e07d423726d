//! What is asked, how it is put into bytes, and why it is refused.
//!
//! Rules of this file:
//! - What the standard does not allow to ask is refused before anything is sent, unless [`Strictness::Raw`], a raw PDU or a
//!   raw frame asks for it on purpose.
//! - A patch replaces one field after all others were derived: a patched length does not change the CRC's place, a patched
//!   byte count is what the CRC covers. A field that the framing or the function does not have is refused.
//! - What was patched is what an answer is held against: a patched unit or transaction is the one that was asked.
//! - A raw frame is sent as it is. Transaction, unit and function of the answer to expect are read from it.

use super::super::pdu::{PduError, Request, function as f};
use super::super::{ascii, rtu, serial, tcp};
use super::Mode;
use crate::time::Duration;
use std::str::FromStr;

/// How closely requests and answers are held to the standard.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub enum Strictness {
    /// To the letter.
    #[default]
    Strict,
    /// Requests to the letter; known deviations of answers are tolerated and reported (`judge.rs` lists them).
    Lenient,
    /// Anything may be asked, and whatever comes is an answer; what is wrong with it is reported.
    Raw,
}

impl FromStr for Strictness {
    type Err = String;

    /// `strict`, `lenient`, `raw`.
    fn from_str(text: &str) -> Result<Strictness, String> {
        match text {
            "strict" => Ok(Strictness::Strict),
            "lenient" => Ok(Strictness::Lenient),
            "raw" => Ok(Strictness::Raw),
            _ => Err(format!("it is \"strict\", \"lenient\" or \"raw\", not \"{text}\"")),
        }
    }
}

/// Values of derived fields that are to be sent instead of the right ones.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Patch {
    /// TCP.
    pub transaction: Option<u16>,
    /// TCP.
    pub protocol: Option<u16>,
    /// TCP.
    pub length: Option<u16>,
    /// The unit in the frame.
    pub unit: Option<u8>,
    /// RTU.
    pub crc: Option<u16>,
    /// ASCII.
    pub lrc: Option<u8>,
    /// Of the functions whose requests have one.
    pub byte_count: Option<u8>,
}

/// How a request is asked, where it differs from a plain one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// How closely the standard is kept.
    pub strictness: Strictness,
    /// How often it is asked again if it is not, or not properly, answered; never after an exception.
    pub retries: u32,
    /// Ask again also what can cause behaviour.
    pub retry_writes: bool,
    /// Fields that are to be wrong.
    pub patch: Option<Patch>,
    /// The whole frame, as it is.
    pub frame: Option<Vec<u8>>,
    /// Silence before it, instead of the one that the standard asks for.
    pub gap_before: Option<Duration>,
    /// Silences inside it: before the byte at this offset.
    pub split: Vec<(usize, Duration)>,
}

/// Why a request was not even sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The standard does not allow to ask this.
    #[error("{problem}; to send it on purpose, send it as a raw PDU")]
    Refused {
        /// What is wrong with it.
        #[from]
        problem: PduError,
    },
    /// Only plain writes may be broadcast on a serial line (SL 2.1).
    #[error("function {function:#04x} reads something back and cannot be a broadcast (unit 0); only writes can")]
    BroadcastRead {
        /// Function code.
        function: u8,
    },
    /// Unit ids above 247 are reserved on a serial line (SL 2.2).
    #[error("unit {unit} is reserved on a serial line, devices have 1 to 247; to send it on purpose, send a raw PDU")]
    ReservedUnit {
        /// Unit id.
        unit: u8,
    },
    /// There is no such field to patch.
    #[error("a patch of `{field}`: {framing} has no such field")]
    NoField {
        /// The field.
        field: &'static str,
        /// What has none.
        framing: String,
    },
    /// A frame that is sent as it is, and a patch of it.
    #[error("a raw frame is sent as it is, and there is a patch: change the bytes, or send a request or a raw PDU")]
    PatchedFrame,
    /// A pause that does not lie inside the frame.
    #[error("a pause before byte {offset} lies outside the frame, which has {length} bytes: 1 to {last} are inside", last = .length.saturating_sub(1))]
    Split {
        /// Where it should be.
        offset: usize,
        /// How long the frame is.
        length: usize,
    },
}

/// Whether this may be asked.
///
/// # Errors
/// Why not.
pub(super) fn check(mode: &Mode, unit: u8, request: &Request, options: Option<&Options>) -> Result<(), RequestError> {
    if let Some(patch) = options.and_then(|options| options.patch) {
        check_patch(mode, request, patch)?;
    }
    if options.is_some_and(|options| options.strictness == Strictness::Raw || options.frame.is_some()) {
        return Ok(());
    }
    request.check()?;
    request.check_addresses()?;
    if *mode != Mode::Tcp && !matches!(request, Request::Raw { .. }) {
        if unit == rtu::BROADCAST && !request.is_plain_write() {
            return Err(RequestError::BroadcastRead { function: request.function() });
        }
        if unit > rtu::LAST_UNIT {
            return Err(RequestError::ReservedUnit { unit });
        }
    }
    Ok(())
}

fn check_patch(mode: &Mode, request: &Request, patch: Patch) -> Result<(), RequestError> {
    let (tcp, rtu, ascii) = match mode {
        Mode::Tcp => (true, false, false),
        Mode::Rtu(_) => (false, true, false),
        Mode::Ascii(_) => (false, false, true),
    };
    let framing = ["Modbus/TCP", "an RTU frame", "an ASCII frame"][usize::from(rtu) + 2 * usize::from(ascii)];
    for (field, given, has) in [
        ("transaction", patch.transaction.is_some(), tcp),
        ("protocol", patch.protocol.is_some(), tcp),
        ("length", patch.length.is_some(), tcp),
        ("crc", patch.crc.is_some(), rtu),
        ("lrc", patch.lrc.is_some(), ascii),
    ] {
        if given && !has {
            return Err(RequestError::NoField { field, framing: framing.to_owned() });
        }
    }
    if patch.byte_count.is_some() && byte_count_offset(request.function()).is_none() {
        let framing = format!("a request of function {:#04x}", request.function());
        return Err(RequestError::NoField { field: "byte_count", framing });
    }
    Ok(())
}

/// Where the byte count of a request stands in its PDU (AP 6.11, 6.12, 6.14, 6.15, 6.17).
fn byte_count_offset(function: u8) -> Option<usize> {
    match function {
        f::WRITE_MULTIPLE_COILS | f::WRITE_MULTIPLE_REGISTERS => Some(5),
        f::READ_WRITE_MULTIPLE_REGISTERS => Some(9),
        f::READ_FILE_RECORD | f::WRITE_FILE_RECORD => Some(1),
        _ => None,
    }
}

/// The bytes of a request.
pub(super) fn encode(
    out: &mut Vec<u8>,
    mode: &Mode,
    (transaction, unit): (u16, u8),
    request: &Request,
    options: Option<&Options>,
    delimiter: u8,
) {
    if let Some(frame) = options.and_then(|options| options.frame.as_ref()) {
        out.extend_from_slice(frame);
        return;
    }
    let patch = options.and_then(|options| options.patch).unwrap_or_default();
    if *mode == Mode::Tcp {
        let start = out.len();
        tcp::put_header(out, transaction, patch.protocol.unwrap_or(tcp::PROTOCOL), 0, unit);
        let pdu = out.len();
        request.encode(out);
        patch_byte_count(&mut out[pdu..], patch);
        let length = patch.length.unwrap_or((1 + out.len() - pdu) as u16);
        out[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
        return;
    }
    let mut pdu = Vec::new();
    request.encode(&mut pdu);
    patch_byte_count(&mut pdu, patch);
    match mode {
        Mode::Ascii(_) => {
            ascii::Adu { lrc: patch.lrc, delimiter, ..ascii::Adu::new(unit, &pdu) }.encode(out);
        }
        _ => rtu::Adu { crc: patch.crc, ..rtu::Adu::new(unit, &pdu) }.encode(out),
    }
}

fn patch_byte_count(pdu: &mut [u8], patch: Patch) {
    if let Some(count) = patch.byte_count
        && let Some(offset) = pdu.first().and_then(|function| byte_count_offset(*function))
        && let Some(byte) = pdu.get_mut(offset)
    {
        *byte = count;
    }
}

/// What a raw frame asks, as far as that can be read: transaction, unit and request.
pub(super) fn read_frame(mode: &Mode, frame: &[u8]) -> (Option<u16>, u8, Request) {
    let message = match mode {
        Mode::Tcp => {
            let view = tcp::View(frame);
            return (view.transaction(), view.unit().unwrap_or_default(), Request::raw(view.pdu()));
        }
        Mode::Rtu(_) => serial::Message::rtu(frame),
        Mode::Ascii(_) => serial::Message::ascii(ascii::View { lower_case: true, ..ascii::View::new(frame) }),
    };
    (None, message.unit().unwrap_or_default(), Request::raw(message.pdu()))
}
