//! How long a PDU is, told from its first bytes: what framing without a length field goes by.

use super::function as f;

/// What the first bytes tell about the length of a PDU.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// It has this many bytes.
    Known(usize),
    /// At least this many bytes must be there to tell.
    Needs(usize),
    /// Nothing is known of this function.
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
        Some(_) => Length::Unknown,
    }
}

/// A PDU that ends with as many bytes as the byte count at `offset` says.
fn counted(pdu: &[u8], offset: usize) -> Length {
    pdu.get(offset).map_or(Length::Needs(offset + 1), |count| Length::Known(offset + 1 + usize::from(*count)))
}
