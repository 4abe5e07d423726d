//! PDUs: function code and data, alike on every framing.
//!
//! Rules of this file:
//! - Multi-byte fields are big-endian (AP 4.2). A PDU has at most [`MAX_PDU`] bytes (AP 4.1).
//! - [`Request`] and [`Response`] know every public function (AP 5.1); user-defined and unknown ones are `Raw` and kept as
//!   they are, as are reserved sub-functions of 08 and MEI types of 43.
//! - [`Request::parse`] and [`Response::parse`] check the structure: lengths and counts that must agree.
//!   [`Request::check`] checks what the standard allows to ask for. Encoding never fails: what may not be sent is
//!   refused by `check`, and sent on purpose as `Raw`.
//! - An error names the place, what was there and what was expected.

mod diagnostics;
mod exception;
mod file;
mod identification;
mod length;
mod request;
mod response;

pub use diagnostics::{sub_function, sub_function_name};
pub use exception::{Exception, exception_name};
pub use file::{FileRange, FileRecord, LAST_RECORD, MAX_READ_FILE_BYTES, MAX_WRITE_FILE_BYTES, REFERENCE_TYPE};
pub use identification::{DeviceIdentification, MAX_OBJECT, MEI_CANOPEN, MEI_DEVICE_IDENTIFICATION, object_name};
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
    /// 07 (0x07) Read Exception Status
    pub const READ_EXCEPTION_STATUS: u8 = 0x07;
    /// 08 (0x08) Diagnostics
    pub const DIAGNOSTICS: u8 = 0x08;
    /// 11 (0x0B) Get Comm Event Counter
    pub const COMM_EVENT_COUNTER: u8 = 0x0b;
    /// 12 (0x0C) Get Comm Event Log
    pub const COMM_EVENT_LOG: u8 = 0x0c;
    /// 15 (0x0F) Write Multiple Coils
    pub const WRITE_MULTIPLE_COILS: u8 = 0x0f;
    /// 16 (0x10) Write Multiple Registers
    pub const WRITE_MULTIPLE_REGISTERS: u8 = 0x10;
    /// 17 (0x11) Report Server ID
    pub const REPORT_SERVER_ID: u8 = 0x11;
    /// 20 (0x14) Read File Record
    pub const READ_FILE_RECORD: u8 = 0x14;
    /// 21 (0x15) Write File Record
    pub const WRITE_FILE_RECORD: u8 = 0x15;
    /// 22 (0x16) Mask Write Register
    pub const MASK_WRITE_REGISTER: u8 = 0x16;
    /// 23 (0x17) Read/Write Multiple Registers
    pub const READ_WRITE_MULTIPLE_REGISTERS: u8 = 0x17;
    /// 24 (0x18) Read FIFO Queue
    pub const READ_FIFO_QUEUE: u8 = 0x18;
    /// 43 (0x2B) Encapsulated Interface Transport
    pub const ENCAPSULATED_INTERFACE: u8 = 0x2b;
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
/// Most registers of a FIFO queue that can be read (AP 6.18).
pub const MAX_FIFO: u16 = 31;
/// Most events of a communication event log (AP 6.10).
pub const MAX_EVENTS: usize = 64;

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
        function::READ_EXCEPTION_STATUS => "Read Exception Status",
        function::DIAGNOSTICS => "Diagnostics",
        function::COMM_EVENT_COUNTER => "Get Comm Event Counter",
        function::COMM_EVENT_LOG => "Get Comm Event Log",
        function::WRITE_MULTIPLE_COILS => "Write Multiple Coils",
        function::WRITE_MULTIPLE_REGISTERS => "Write Multiple Registers",
        function::REPORT_SERVER_ID => "Report Server ID",
        function::READ_FILE_RECORD => "Read File Record",
        function::WRITE_FILE_RECORD => "Write File Record",
        function::MASK_WRITE_REGISTER => "Mask Write Register",
        function::READ_WRITE_MULTIPLE_REGISTERS => "Read/Write Multiple Registers",
        function::READ_FIFO_QUEUE => "Read FIFO Queue",
        function::ENCAPSULATED_INTERFACE => "Encapsulated Interface Transport",
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
    /// A count or length says one thing, and there is another.
    #[error("{what} at offset {offset} has {says} items or bytes, {is} are expected")]
    Count {
        /// Which.
        what: &'static str,
        /// Where it stands.
        offset: usize,
        /// What it says.
        says: usize,
        /// What there is, or must be.
        is: usize,
    },
    /// A field has a value that it may not have.
    #[error("{what} at offset {offset} is {}, {allowed} is allowed", shown(*.is))]
    Value {
        /// Which field.
        what: &'static str,
        /// Where it stands.
        offset: usize,
        /// What it is, if it is there.
        is: Option<u16>,
        /// What it may be.
        allowed: &'static str,
    },
    /// Something that is to be sent is too little or too much.
    #[error("{what} is {is}, {least} to {most} are allowed")]
    Limit {
        /// What.
        what: &'static str,
        /// How much it is.
        is: usize,
        /// Least allowed.
        least: usize,
        /// Most allowed.
        most: usize,
    },
    /// Data of whole registers ends in the middle of one.
    #[error("half a register stands at offset {offset}: registers take two bytes each")]
    HalfRegister {
        /// Where.
        offset: usize,
    },
    /// A part of a file has another reference type than 6 (AP 6.14, 6.15).
    #[error("reference type at offset {offset} is {is}, 6 is the only one")]
    ReferenceType {
        /// Where it stands.
        offset: usize,
        /// What it is.
        is: u8,
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

fn shown(value: Option<u16>) -> String {
    value.map_or_else(|| "missing".to_owned(), |value| format!("{value:#04x}"))
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
