//! 20 (0x14) Read File Record, 21 (0x15) Write File Record (AP 6.14, 6.15).
//!
//! Rules of this file:
//! - A file is a sequence of records of 16 bits. Requests and answers are lists of parts, each with reference type 6.
//! - The byte counts are judged before the reference types: a count that is wrong is a bad value (03), a reference type
//!   that is not 6 a bad address (02).

use super::{PduError, Request, Response, at_least, counted, put, word, words};

/// The only reference type (AP 6.14).
pub const REFERENCE_TYPE: u8 = 6;
/// The last record of a file (AP 6.14).
pub const LAST_RECORD: u16 = 0x270f;
/// The largest byte count of a request and of an answer of function 20 (AP 6.14).
pub const MAX_READ_FILE_BYTES: usize = 0xf5;
/// The largest byte count of a request and of an answer of function 21 (AP 6.15).
pub const MAX_WRITE_FILE_BYTES: usize = 0xfb;

/// A range of records that is asked for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileRange {
    /// File number, 1 to 0xFFFF.
    pub file: u16,
    /// First record, 0 to 0x270F.
    pub record: u16,
    /// How many records.
    pub length: u16,
}

/// Records of a file, with what is or was written there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileRecord {
    /// File number, 1 to 0xFFFF.
    pub file: u16,
    /// First record, 0 to 0x270F.
    pub record: u16,
    /// One value for each record.
    pub values: Vec<u16>,
}

pub(super) fn encode_read(parts: &[FileRange], out: &mut Vec<u8>) {
    out.push((parts.len() * 7) as u8);
    for part in parts {
        out.push(REFERENCE_TYPE);
        put(out, part.file);
        put(out, part.record);
        put(out, part.length);
    }
}

pub(super) fn encode_written(parts: &[FileRecord], out: &mut Vec<u8>) {
    out.push(parts.iter().map(|part| 7 + part.values.len() * 2).sum::<usize>() as u8);
    for part in parts {
        out.push(REFERENCE_TYPE);
        put(out, part.file);
        put(out, part.record);
        put(out, part.values.len() as u16);
        part.values.iter().for_each(|value| put(out, *value));
    }
}

pub(super) fn encode_records(parts: &[Vec<u16>], out: &mut Vec<u8>) {
    out.push(parts.iter().map(|values| 2 + values.len() * 2).sum::<usize>() as u8);
    for values in parts {
        out.push((1 + values.len() * 2) as u8);
        out.push(REFERENCE_TYPE);
        values.iter().for_each(|value| put(out, *value));
    }
}

/// 20: the byte count is that of one or more parts of 7 bytes (AP 6.14).
pub(super) fn parse_read(pdu: &[u8]) -> Result<Request, PduError> {
    let bytes = counted(pdu, 1)?;
    if !(7..=MAX_READ_FILE_BYTES).contains(&bytes.len()) || !bytes.len().is_multiple_of(7) {
        let is = Some(bytes.len() as u16);
        return Err(PduError::Value {
            what: "the byte count",
            offset: 1,
            is,
            allowed: "a multiple of 7 from 7 to 245",
        });
    }
    let part = |(index, part): (usize, &[u8])| {
        reference_type(part[0], 2 + 7 * index)?;
        Ok(FileRange { file: word(part, 1), record: word(part, 3), length: word(part, 5) })
    };
    let parts: Result<Vec<FileRange>, PduError> = bytes.chunks_exact(7).enumerate().map(part).collect();
    Ok(Request::ReadFileRecord { parts: parts? })
}

/// 21, request and answer alike: the byte count is that of the parts, whose lengths it must agree with (AP 6.15).
pub(super) fn parse_written(pdu: &[u8]) -> Result<Vec<FileRecord>, PduError> {
    let bytes = counted(pdu, 1)?;
    if !(9..=MAX_WRITE_FILE_BYTES).contains(&bytes.len()) {
        let is = Some(bytes.len() as u16);
        return Err(PduError::Value { what: "the byte count", offset: 1, is, allowed: "9 to 251" });
    }
    let mut parts = Vec::new();
    let mut references = Vec::new();
    let mut at = 2;
    while at < pdu.len() {
        at_least(pdu, at + 7)?;
        let (length, left) = (usize::from(word(pdu, at + 5)), pdu.len() - at - 7);
        if length * 2 > left {
            return Err(PduError::Count { what: "the record length", offset: at + 5, says: length * 2, is: left });
        }
        let values = words(&pdu[at + 7..at + 7 + length * 2]);
        references.push((pdu[at], at));
        parts.push(FileRecord { file: word(pdu, at + 1), record: word(pdu, at + 3), values });
        at += 7 + length * 2;
    }
    for (reference, offset) in references {
        reference_type(reference, offset)?;
    }
    Ok(parts)
}

/// 20: each part is its length (of what follows it), the reference type and the data (AP 6.14).
pub(super) fn parse_records(pdu: &[u8]) -> Result<Response, PduError> {
    counted(pdu, 1)?;
    let mut parts = Vec::new();
    let mut at = 2;
    while at < pdu.len() {
        let (length, left) = (usize::from(pdu[at]), pdu.len() - at - 1);
        if length > left {
            return Err(PduError::Count { what: "the length of a part", offset: at, says: length, is: left });
        }
        if length.is_multiple_of(2) {
            let is = Some(length as u16);
            return Err(PduError::Value {
                what: "the length of a part",
                offset: at,
                is,
                allowed: "one and whole words",
            });
        }
        reference_type(pdu[at + 1], at + 1)?;
        parts.push(words(&pdu[at + 2..at + 1 + length]));
        at += 1 + length;
    }
    Ok(Response::FileRecords { parts })
}

fn reference_type(is: u8, offset: usize) -> Result<(), PduError> {
    if is == REFERENCE_TYPE { Ok(()) } else { Err(PduError::ReferenceType { offset, is }) }
}

/// The byte counts of a request and of the answer it would get stay in their limits (AP 6.14, 6.15); every part has
/// a length.
pub(super) fn check_read(parts: &[FileRange]) -> Result<(), PduError> {
    let answer: usize = parts.iter().map(|part| 2 + usize::from(part.length) * 2).sum();
    within("the byte count of the request", parts.len() * 7, 7, MAX_READ_FILE_BYTES)?;
    lengths(parts.iter().map(|part| usize::from(part.length)))?;
    within("the byte count of the answer", answer, 4, MAX_READ_FILE_BYTES)
}

pub(super) fn check_write(parts: &[FileRecord]) -> Result<(), PduError> {
    lengths(parts.iter().map(|part| part.values.len()))?;
    let bytes = parts.iter().map(|part| 7 + part.values.len() * 2).sum();
    within("the byte count of the request", bytes, 9, MAX_WRITE_FILE_BYTES)
}

fn lengths(mut all: impl Iterator<Item = usize>) -> Result<(), PduError> {
    match all.find(|length| *length == 0) {
        Some(is) => within("the record length", is, 1, MAX_WRITE_FILE_BYTES / 2),
        None => Ok(()),
    }
}

fn within(what: &'static str, is: usize, least: usize, most: usize) -> Result<(), PduError> {
    if (least..=most).contains(&is) { Ok(()) } else { Err(PduError::Limit { what, is, least, most }) }
}

/// Files are numbered from 1, records up to 0x270F (AP 6.14).
pub(super) fn check_place(file: u16, record: u16, length: usize) -> Result<(), PduError> {
    if file == 0 {
        return Err(PduError::Limit { what: "the file number", is: 0, least: 1, most: 0xffff });
    }
    within("the last record", usize::from(record) + length.max(1) - 1, 0, usize::from(LAST_RECORD))
}

/// An answer has as many parts as were asked for, each as long as asked for (AP 6.14).
pub(super) fn answers(asked: &[FileRange], is: &[Vec<u16>]) -> Result<(), PduError> {
    if asked.len() != is.len() {
        return Err(PduError::Count { what: "the answer", offset: 1, says: is.len(), is: asked.len() });
    }
    let mut offset = 2;
    for (asked, values) in asked.iter().zip(is) {
        if values.len() != usize::from(asked.length) {
            let (says, is) = (1 + values.len() * 2, 1 + usize::from(asked.length) * 2);
            return Err(PduError::Count { what: "the length of a part", offset, says, is });
        }
        offset += 2 + values.len() * 2;
    }
    Ok(())
}
