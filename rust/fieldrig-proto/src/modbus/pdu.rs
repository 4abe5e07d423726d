//! PDUs: function code and data, alike on every framing.
//!
//! Rules of this file:
//! - Multi-byte fields are big-endian (AP 4.2). A PDU has at most [`MAX_PDU`] bytes (AP 4.1).
//! - [`Request`] and [`Response`] know functions 1-6, 15, 16, 22 and 23; anything else is `Raw` and kept as it is.
//! - [`Request::parse`] and [`Response::parse`] check the structure: lengths and counts that must agree.
//!   [`Request::check`] checks what the standard allows to ask for. Encoding never fails: what may not be sent is
//!   refused by `check`, and sent on purpose as `Raw`.
//! - An error names the place, what was there and what was expected.

mod exception;
mod length;
mod request;
mod response;

pub use exception::{Exception, exception_name};
pub use length::{Length, request_length, response_length};
pub use request::Request;
pub use response::Response;

/// The longest PDU: 256 bytes of an RTU frame less unit and CRC (AP 4.1).
pub const MAX_PDU: usize = 253;

/// Function codes (AP 5.1).
pub mod function {
    /// 01 (0x01) Read Coils
    pub const READ_COILS: u8 = 0x01;
    /// 02 (0x02) Read Discrete Inputs
    pub const READ_DISCRETE_INPUTS: u8 = 0x02;
    /// 03 (0x03) Read Holding Registers
    pub const READ_HOLDING_REGISTERS: u8 = 0x03;
    /// 04 (0x04) Read Input Registers
    pub const READ_INPUT_REGISTERS: u8 = 0x04;
    /// 05 (0x05) Write Single Coil
    pub const WRITE_SINGLE_COIL: u8 = 0x05;
    /// 06 (0x06) Write Single Register
    pub const WRITE_SINGLE_REGISTER: u8 = 0x06;
    /// 15 (0x0F) Write Multiple Coils
    pub const WRITE_MULTIPLE_COILS: u8 = 0x0f;
    /// 16 (0x10) Write Multiple Registers
    pub const WRITE_MULTIPLE_REGISTERS: u8 = 0x10;
    /// 22 (0x16) Mask Write Register
    pub const MASK_WRITE_REGISTER: u8 = 0x16;
    /// 23 (0x17) Read/Write Multiple Registers
    pub const READ_WRITE_MULTIPLE_REGISTERS: u8 = 0x17;
    /// Set in the function code of an exception response (AP 4.1).
    pub const EXCEPTION_BIT: u8 = 0x80;
}

/// Most coils or discrete inputs of one read (AP 6.1, 6.2).
pub const MAX_READ_BITS: u16 = 2000;
/// Most registers of one read (AP 6.3, 6.4, 6.17).
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most coils of one write (AP 6.11).
pub const MAX_WRITE_COILS: u16 = 1968;
/// Most registers of one write (AP 6.12).
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Most registers written by one function 23 (AP 6.17).
pub const MAX_READ_WRITE_REGISTERS: u16 = 121;

/// Name of a function code, as the standard gives it.
#[must_use]
pub fn function_name(code: u8) -> &'static str {
    match code & !function::EXCEPTION_BIT {
        function::READ_COILS => "Read Coils",
        function::READ_DISCRETE_INPUTS => "Read Discrete Inputs",
        function::READ_HOLDING_REGISTERS => "Read Holding Registers",
        function::READ_INPUT_REGISTERS => "Read Input Registers",
        function::WRITE_SINGLE_COIL => "Write Single Coil",
        function::WRITE_SINGLE_REGISTER => "Write Single Register",
        0x07 => "Read Exception Status",
        0x08 => "Diagnostics",
        0x0b => "Get Comm Event Counter",
        0x0c => "Get Comm Event Log",
        function::WRITE_MULTIPLE_COILS => "Write Multiple Coils",
        function::WRITE_MULTIPLE_REGISTERS => "Write Multiple Registers",
        0x11 => "Report Server ID",
        0x14 => "Read File Record",
        0x15 => "Write File Record",
        function::MASK_WRITE_REGISTER => "Mask Write Register",
        function::READ_WRITE_MULTIPLE_REGISTERS => "Read/Write Multiple Registers",
        0x18 => "Read FIFO Queue",
        0x2b => "Encapsulated Interface Transport",
        _ => "unknown function",
    }
}

/// What is wrong with a PDU.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PduError {
    /// There is not even a function code.
    #[error("the PDU is empty")]
    Empty,
    /// The function needs more bytes.
    #[error("the PDU has {has} bytes, function {function:#04x} needs {needs}")]
    TooShort {
        /// Function code.
        function: u8,
        /// Bytes needed.
        needs: usize,
        /// Bytes there.
        has: usize,
    },
    /// Bytes follow the end of the function's data.
    #[error("{extra} bytes follow the end of function {function:#04x} at offset {end}")]
    Trailing {
        /// Function code.
        function: u8,
        /// Where it ends.
        end: usize,
        /// Bytes behind.
        extra: usize,
    },
    /// A byte count disagrees with the bytes that follow it.
    #[error("byte count at offset {offset} says {says}, {follow} bytes follow")]
    ByteCount {
        /// Where the count stands.
        offset: usize,
        /// What it says.
        says: u8,
        /// How many bytes follow.
        follow: usize,
    },
    /// A byte count disagrees with the quantity.
    #[error("byte count at offset {offset} says {says}, a quantity of {quantity} takes {takes}")]
    ByteCountForQuantity {
        /// Where the count stands.
        offset: usize,
        /// What it says.
        says: u8,
        /// Quantity of items.
        quantity: u16,
        /// Bytes that the quantity takes.
        takes: usize,
    },
    /// A byte count of registers is odd.
    #[error("byte count at offset {offset} says {says}: registers take two bytes each")]
    OddByteCount {
        /// Where the count stands.
        offset: usize,
        /// What it says.
        says: u8,
    },
    /// The value of a single coil is neither FF00 nor 0000 (AP 6.5).
    #[error("coil value at offset {offset} is {value:#06x}, only 0xff00 and 0x0000 are allowed")]
    CoilValue {
        /// Where it stands.
        offset: usize,
        /// What it is.
        value: u16,
    },
    /// A quantity outside what the function allows.
    #[error("{what} is {quantity}, function {function:#04x} allows 1 to {most}")]
    Quantity {
        /// Which quantity.
        what: &'static str,
        /// Function code.
        function: u8,
        /// What it is.
        quantity: usize,
        /// Largest allowed.
        most: u16,
    },
    /// The last address of the request would be beyond 0xFFFF.
    #[error("{quantity} items from address {address:#06x} end beyond 0xffff")]
    Wraps {
        /// First address.
        address: u16,
        /// Quantity.
        quantity: usize,
    },
    /// A raw PDU is longer than a PDU may be.
    #[error("the PDU has {length} bytes, at most {MAX_PDU} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The answer is for another function than the one asked.
    #[error("function at offset 0 is {is:#04x}, {asked:#04x} was asked")]
    Function {
        /// Function in the answer.
        is: u8,
        /// Function of the request.
        asked: u8,
    },
    /// The answer has another amount of data than was asked for.
    #[error("byte count at offset 1 says {says}, the {quantity} items asked for take {takes}")]
    Amount {
        /// Bytes in the answer.
        says: usize,
        /// Items asked for.
        quantity: u16,
        /// Bytes they take.
        takes: usize,
    },
    /// A field that must be the request's differs.
    #[error("{field} at offset {offset} is {is:#06x}, {asked:#06x} was sent")]
    Echo {
        /// Which field.
        field: &'static str,
        /// Where it stands.
        offset: usize,
        /// Value in the answer.
        is: u16,
        /// Value in the request.
        asked: u16,
    },
}

/// The 16-bit field at `offset`; callers have checked the length, missing bytes read as zero.
pub(crate) fn word(pdu: &[u8], offset: usize) -> u16 {
    match pdu.get(offset..offset + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

pub(crate) fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

pub(crate) fn put(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Coils packed eight to a byte, the first in bit 0 of the first byte, unused high bits zero (AP 6.1).
pub(crate) fn pack(bits: impl Iterator<Item = bool>, out: &mut Vec<u8>) {
    for (index, bit) in bits.enumerate() {
        if index % 8 == 0 {
            out.push(0);
        }
        if let Some(last) = out.last_mut() {
            *last |= u8::from(bit) << (index % 8);
        }
    }
}

pub(crate) fn unpack(bytes: &[u8], quantity: usize) -> Vec<bool> {
    (0..quantity).map(|index| bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)).collect()
}

/// The PDU has exactly this length.
pub(crate) fn exactly(pdu: &[u8], needs: usize) -> Result<(), PduError> {
    at_least(pdu, needs)?;
    if pdu.len() > needs {
        return Err(PduError::Trailing { function: pdu[0], end: needs, extra: pdu.len() - needs });
    }
    Ok(())
}

/// The PDU has at least this length; `needs` is positive.
pub(crate) fn at_least(pdu: &[u8], needs: usize) -> Result<(), PduError> {
    match pdu.first() {
        None => Err(PduError::Empty),
        Some(&function) if pdu.len() < needs => Err(PduError::TooShort { function, needs, has: pdu.len() }),
        Some(_) => Ok(()),
    }
}

/// The byte count at `offset` agrees with what follows; gives the bytes it counts.
pub(crate) fn counted(pdu: &[u8], offset: usize) -> Result<&[u8], PduError> {
    at_least(pdu, offset + 1)?;
    let (says, follow) = (pdu[offset], &pdu[offset + 1..]);
    if usize::from(says) != follow.len() {
        return Err(PduError::ByteCount { offset, says, follow: follow.len() });
    }
    Ok(follow)
}
