//! Exception responses (AP 7).

use super::{PduError, exactly, function};
use std::fmt;

/// An exception response: the function that failed, and why.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Exception {
    /// Function code of the request, without the exception bit.
    pub function: u8,
    /// Exception code; unknown ones are kept.
    pub code: u8,
}

impl Exception {
    /// 01 ILLEGAL FUNCTION
    pub const ILLEGAL_FUNCTION: u8 = 0x01;
    /// 02 ILLEGAL DATA ADDRESS
    pub const ILLEGAL_DATA_ADDRESS: u8 = 0x02;
    /// 03 ILLEGAL DATA VALUE
    pub const ILLEGAL_DATA_VALUE: u8 = 0x03;
    /// 04 SERVER DEVICE FAILURE
    pub const SERVER_DEVICE_FAILURE: u8 = 0x04;
    /// 05 ACKNOWLEDGE
    pub const ACKNOWLEDGE: u8 = 0x05;
    /// 06 SERVER DEVICE BUSY
    pub const SERVER_DEVICE_BUSY: u8 = 0x06;
    /// 07 NEGATIVE ACKNOWLEDGE: of older devices
    pub const NEGATIVE_ACKNOWLEDGE: u8 = 0x07;
    /// 08 MEMORY PARITY ERROR
    pub const MEMORY_PARITY_ERROR: u8 = 0x08;
    /// 0B GATEWAY TARGET DEVICE FAILED TO RESPOND
    pub const GATEWAY_TARGET_FAILED_TO_RESPOND: u8 = 0x0b;
    /// 0A GATEWAY PATH UNAVAILABLE
    pub const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0a;

    /// Reads an exception response: function code with bit 7 set and one byte (AP 7).
    ///
    /// # Errors
    /// Another length than two bytes.
    pub fn parse(pdu: &[u8]) -> Result<Exception, PduError> {
        exactly(pdu, 2)?;
        Ok(Exception { function: pdu[0] & !function::EXCEPTION_BIT, code: pdu[1] })
    }

    /// Appends the PDU.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.function | function::EXCEPTION_BIT, self.code]);
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exception {:02x} ({}) to function {:02x}", self.code, exception_name(self.code), self.function)
    }
}

/// Name of an exception code (AP 7).
#[must_use]
pub fn exception_name(code: u8) -> &'static str {
    match code {
        0x01 => "illegal function",
        0x02 => "illegal data address",
        0x03 => "illegal data value",
        0x04 => "server device failure",
        0x05 => "acknowledge",
        0x06 => "server device busy",
        0x07 => "negative acknowledge",
        0x08 => "memory parity error",
        0x0a => "gateway path unavailable",
        0x0b => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}
