//! How long a PDU is, told from its first bytes: what framing without a length field goes by.

use super::{MAX_PDU, function as f, identification, sub_function};

/// What the first bytes tell about the length of a PDU.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// It has this many bytes.
    Known(usize),
    /// As a rule this many bytes, but it may be more or fewer: only a check sum, or silence, tells.
    Usually(usize),
    /// At least this many bytes must be there to tell.
    Needs(usize),
    /// Nothing is known of this function: it ends by silence.
    Unknown,
}

/// The length of a request that begins with these bytes.
#[must_use]
pub fn request_length(pdu: &[u8]) -> Length {
    match pdu.first() {
        None => Length::Needs(1),
        Some(&(f::READ_COILS..=f::WRITE_SINGLE_REGISTER)) => Length::Known(5),
        Some(&f::MASK_WRITE_REGISTER) => Length::Known(7),
        Some(&(f::WRITE_MULTIPLE_COILS | f::WRITE_MULTIPLE_REGISTERS)) => counted(pdu, 5),
        Some(&f::READ_WRITE_MULTIPLE_REGISTERS) => counted(pdu, 9),
        Some(&(f::READ_EXCEPTION_STATUS | f::COMM_EVENT_COUNTER | f::COMM_EVENT_LOG | f::REPORT_SERVER_ID)) => {
            Length::Known(1)
        }
        Some(&f::DIAGNOSTICS) => diagnostics(pdu),
        Some(&(f::READ_FILE_RECORD | f::WRITE_FILE_RECORD)) => counted(pdu, 1),
        Some(&f::READ_FIFO_QUEUE) => Length::Known(3),
        Some(&f::ENCAPSULATED_INTERFACE) => match pdu.get(1) {
            None => Length::Needs(2),
            Some(&identification::MEI_DEVICE_IDENTIFICATION) => Length::Known(4),
            Some(_) => Length::Unknown,
        },
        Some(_) => Length::Unknown,
    }
}

/// The length of a response that begins with these bytes.
#[must_use]
pub fn response_length(pdu: &[u8]) -> Length {
    match pdu.first() {
        None => Length::Needs(1),
        Some(&code) if code & f::EXCEPTION_BIT != 0 => Length::Known(2),
        Some(&(f::READ_COILS..=f::READ_INPUT_REGISTERS | f::READ_WRITE_MULTIPLE_REGISTERS)) => counted(pdu, 1),
        Some(
            &(f::WRITE_SINGLE_COIL | f::WRITE_SINGLE_REGISTER | f::WRITE_MULTIPLE_COILS | f::WRITE_MULTIPLE_REGISTERS),
        ) => Length::Known(5),
        Some(&f::MASK_WRITE_REGISTER) => Length::Known(7),
        Some(&f::READ_EXCEPTION_STATUS) => Length::Known(2),
        Some(&f::DIAGNOSTICS) => diagnostics(pdu),
        Some(&f::COMM_EVENT_COUNTER) => Length::Known(5),
        Some(&(f::COMM_EVENT_LOG | f::REPORT_SERVER_ID | f::READ_FILE_RECORD | f::WRITE_FILE_RECORD)) => {
            counted(pdu, 1)
        }
        Some(&f::READ_FIFO_QUEUE) => match pdu.get(1..3) {
            None => Length::Needs(3),
            Some(count) => within(3 + usize::from(u16::from_be_bytes([count[0], count[1]]))),
        },
        Some(&f::ENCAPSULATED_INTERFACE) => identification::response_length(pdu),
        Some(_) => Length::Unknown,
    }
}

/// One word of data behind all sub-functions but the loop-back, which has as many as it likes (AP 6.8); of the reserved
/// ones nobody knows.
fn diagnostics(pdu: &[u8]) -> Length {
    match pdu.get(1..3) {
        None => Length::Needs(3),
        Some(sub) if sub == sub_function::RETURN_QUERY_DATA.to_be_bytes() => Length::Usually(5),
        Some(sub) => {
            let sub = u16::from_be_bytes([sub[0], sub[1]]);
            if super::sub_function_name(sub) == "reserved" { Length::Usually(5) } else { Length::Known(5) }
        }
    }
}

/// A length that a PDU can have; a count that says more is no help.
fn within(length: usize) -> Length {
    if length <= MAX_PDU { Length::Known(length) } else { Length::Unknown }
}

/// A PDU that ends with as many bytes as the byte count at `offset` says.
fn counted(pdu: &[u8], offset: usize) -> Length {
    pdu.get(offset).map_or(Length::Needs(offset + 1), |count| Length::Known(offset + 1 + usize::from(*count)))
}
