//! What clients are asked to do, and what comes of it, for both stacks alike.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
pub enum Table {
    Coils,
    Discrete,
    Holding,
    Input,
}

#[derive(Clone, Debug)]
pub enum Call {
    Read(Table, u16, u16),
    WriteCoil(u16, bool),
    WriteRegister(u16, u16),
    WriteCoils(u16, Vec<bool>),
    WriteRegisters(u16, Vec<u16>),
    MaskWrite { address: u16, and_mask: u16, or_mask: u16 },
    ReadWrite { read_address: u16, count: u16, write_address: u16, values: Vec<u16> },
    DeviceId { code: u8, object: u8 },
    Raw(Vec<u8>),
}

#[derive(Debug)]
pub enum Answer {
    Done,
    Values(Vec<u16>),
    Objects(BTreeMap<u8, Vec<u8>>),
    Pdu(Vec<u8>),
}

impl Answer {
    pub fn of_bits(bits: impl IntoIterator<Item = bool>) -> Self {
        Self::Values(bits.into_iter().map(u16::from).collect())
    }
}

/// An error in the words of the driver protocol: exception, timeout, malformed, lost, refused, unsupported, other.
#[derive(Debug)]
pub struct Failure {
    pub kind: &'static str,
    pub text: String,
    pub code: Option<u8>,
}

impl Failure {
    pub fn new(kind: &'static str, text: impl ToString) -> Self {
        Self { kind, text: text.to_string(), code: None }
    }

    pub fn exception(code: u8, text: impl ToString) -> Self {
        Self { code: Some(code), ..Self::new("exception", text) }
    }
}
