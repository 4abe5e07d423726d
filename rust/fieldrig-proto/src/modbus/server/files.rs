//! Files and FIFO queues: functions 20, 21 and 24 (AP 6.14, 6.15, 6.18).
//!
//! Rules of this file:
//! - Byte counts and lengths are judged first (03), then reference types, files and records (02). All parts are judged
//!   before the first of them is written.
//! - A record that was not given to the device does not exist; writing does not make a file longer.
//! - Reading a queue leaves it as it is; a queue of more than 31 registers cannot be read (03).

use crate::modbus::pdu::{Exception, FileRange, FileRecord, LAST_RECORD, MAX_FIFO, PduError, Request, Response};
use std::collections::BTreeMap;

/// Files by number, each with the records it has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files(BTreeMap<u16, BTreeMap<u16, u16>>);

impl Files {
    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds or replaces records of a file from `record` on.
    ///
    /// # Errors
    /// File 0, a record beyond 0x270F (AP 6.14).
    pub fn put(&mut self, file: u16, record: u16, values: &[u16]) -> Result<(), String> {
        if file == 0 {
            return Err("files are numbered from 1 to 65535".to_owned());
        }
        if usize::from(record) + values.len() > usize::from(LAST_RECORD) + 1 {
            return Err(format!("{} records from {record} end beyond record {LAST_RECORD}", values.len()));
        }
        self.0.entry(file).or_default().extend((record..).zip(values.iter().copied()));
        Ok(())
    }

    /// Records of a file; `None` if one is not there.
    #[must_use]
    pub fn get(&self, file: u16, record: u16, length: u16) -> Option<Vec<u16>> {
        let records = self.0.get(&file)?;
        let end = u32::from(record) + u32::from(length);
        (u32::from(record)..end).map(|record| records.get(&u16::try_from(record).ok()?).copied()).collect()
    }

    pub(super) fn read(&self, pdu: &[u8]) -> Result<Response, u8> {
        let parts = match judged(pdu)? {
            Request::ReadFileRecord { parts } => parts,
            _ => return Err(Exception::ILLEGAL_FUNCTION),
        };
        let read = |part: &FileRange| self.get(part.file, part.record, part.length);
        let parts: Option<Vec<Vec<u16>>> = parts.iter().map(read).collect();
        parts.map(|parts| Response::FileRecords { parts }).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
    }

    pub(super) fn write(&mut self, pdu: &[u8]) -> Result<Response, u8> {
        let parts = match judged(pdu)? {
            Request::WriteFileRecord { parts } => parts,
            _ => return Err(Exception::ILLEGAL_FUNCTION),
        };
        let there = |part: &FileRecord| self.get(part.file, part.record, part.values.len() as u16).is_some();
        if !parts.iter().all(there) {
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        for part in &parts {
            self.put(part.file, part.record, &part.values).map_err(|_| Exception::ILLEGAL_DATA_ADDRESS)?;
        }
        Ok(Response::WriteFileRecord { parts })
    }
}

/// Counts and lengths before reference types.
fn judged(pdu: &[u8]) -> Result<Request, u8> {
    let request = Request::parse(pdu).map_err(|problem| match problem {
        PduError::ReferenceType { .. } => Exception::ILLEGAL_DATA_ADDRESS,
        _ => Exception::ILLEGAL_DATA_VALUE,
    })?;
    request.check().map_err(|_| Exception::ILLEGAL_DATA_VALUE)?;
    request.check_addresses().map_err(|_| Exception::ILLEGAL_DATA_ADDRESS)?;
    Ok(request)
}

/// FIFO queues by the address of their count.
pub type Fifos = BTreeMap<u16, Vec<u16>>;

pub(super) fn read_fifo(fifos: &Fifos, pdu: &[u8]) -> Result<Response, u8> {
    let Ok(Request::ReadFifoQueue { address }) = Request::parse(pdu) else {
        return Err(Exception::ILLEGAL_DATA_VALUE);
    };
    let values = fifos.get(&address).ok_or(Exception::ILLEGAL_DATA_ADDRESS)?;
    if values.len() > usize::from(MAX_FIFO) {
        return Err(Exception::ILLEGAL_DATA_VALUE);
    }
    Ok(Response::FifoQueue { values: values.clone() })
}
