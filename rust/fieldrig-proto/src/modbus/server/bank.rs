//! The four tables of a server: raw ranges of their own, and points of the device's store.
//!
//! Rules of this file:
//! - An address belongs to one thing: a raw range or a mapped point. A point of 32 bits takes two addresses, which are
//!   read from one value: a read of both is never torn (FC03-05).
//! - A write is checked as a whole before anything changes (AP 6.x: exception 02 or 03 means that nothing was written).
//! - Writing half of a 32-bit point keeps its other half. A point that may only be read is no allowable address to
//!   write: exception 02; a value that a point refuses is exception 03.

use crate::device::{Origin, PointError, PointKind, PointStore};
use crate::modbus::map::{Encoding, MOST_REGISTERS, Mapping, PointType, overlap};
use crate::modbus::pdu::Exception;
use crate::record::Value;
use crate::time::Time;

/// A table of the data model (AP 4.3).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Table {
    /// Single bits, read and write.
    Coils,
    /// Single bits, read only.
    DiscreteInputs,
    /// Registers, read and write.
    HoldingRegisters,
    /// Registers, read only.
    InputRegisters,
}

impl Table {
    /// All tables with their names in files.
    pub const NAMES: [(&'static str, Table); 4] = [
        ("coils", Table::Coils),
        ("discrete", Table::DiscreteInputs),
        ("holding", Table::HoldingRegisters),
        ("input", Table::InputRegisters),
    ];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Table::NAMES.iter().find(|(_, table)| *table == self).map_or("", |(name, _)| name)
    }

    /// It holds single bits.
    #[must_use]
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coils | Table::DiscreteInputs)
    }
}

/// Why something cannot be put into a bank.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BankError {
    /// It ends beyond 0xFFFF.
    #[error("{length} items from address {address} end beyond address 65535")]
    BeyondEnd {
        /// First address.
        address: u16,
        /// How many.
        length: usize,
    },
    /// Something else is there.
    #[error("address {address} is taken already by {by}")]
    Taken {
        /// The address.
        address: usize,
        /// What is there.
        by: String,
    },
}

#[derive(Clone, Debug)]
struct RawRange {
    start: usize,
    values: Vec<u16>,
}

impl RawRange {
    fn end(&self) -> usize {
        self.start + self.values.len()
    }
}

#[derive(Clone, Debug)]
struct Mapped {
    mapping: Mapping,
    point: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    raw: Vec<RawRange>,
    mapped: Vec<Mapped>,
}

/// The four tables of a server.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    contents: [Content; 4],
}

/// In whose name and when a write happens.
#[derive(Copy, Clone, Debug)]
pub(super) struct Writer<'a> {
    pub(super) now: Time,
    pub(super) face: &'a str,
}

impl Bank {
    /// Adds a range of raw values; bits are 0 and 1.
    ///
    /// # Errors
    /// It ends beyond 0xFFFF or overlaps something.
    pub fn add_raw(&mut self, table: Table, address: u16, values: Vec<u16>) -> Result<(), BankError> {
        self.check_free(table, address, values.len())?;
        if !values.is_empty() {
            self.contents[table as usize].raw.push(RawRange { start: usize::from(address), values });
        }
        Ok(())
    }

    /// Adds a point.
    ///
    /// # Errors
    /// It ends beyond 0xFFFF or overlaps something.
    pub fn map(&mut self, mut mapping: Mapping) -> Result<(), BankError> {
        if mapping.table.is_bits() {
            mapping.encoding = Encoding::plain(PointType::Bool);
        }
        self.check_map(&mapping)?;
        self.contents[mapping.table as usize].mapped.push(Mapped { mapping, point: None });
        Ok(())
    }

    /// The points it shows.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.contents.iter().flat_map(|content| &content.mapped).map(|mapped| &mapped.mapping)
    }

    /// The values at raw addresses, if all are raw.
    #[must_use]
    pub fn raw(&self, table: Table, address: u16, quantity: usize) -> Option<&[u16]> {
        let start = usize::from(address);
        let range =
            self.contents[table as usize].raw.iter().find(|r| r.start <= start && start + quantity <= r.end())?;
        range.values.get(start - range.start..start - range.start + quantity)
    }

    /// Sets raw addresses; false if one is not raw, and then nothing is set.
    pub fn set_raw(&mut self, table: Table, address: u16, values: &[u16]) -> bool {
        if self.raw(table, address, values.len()).is_none() {
            return false;
        }
        for (index, value) in values.iter().enumerate() {
            self.put_raw(table, usize::from(address) + index, *value);
        }
        true
    }

    fn check_free(&self, table: Table, address: u16, length: usize) -> Result<(), BankError> {
        self.check_raw(table, address, length)?;
        let (start, end) = (usize::from(address), usize::from(address) + length);
        let other = self.contents[table as usize].mapped.iter().map(|mapped| &mapped.mapping);
        if let Some(other) = other.into_iter().find(|other| usize::from(other.address) < end && start < other.end()) {
            let by = format!("point `{}`", other.point);
            return Err(BankError::Taken { address: start.max(usize::from(other.address)), by });
        }
        Ok(())
    }

    fn check_raw(&self, table: Table, address: u16, length: usize) -> Result<(), BankError> {
        let (start, end) = (usize::from(address), usize::from(address) + length);
        if end > 0x1_0000 {
            return Err(BankError::BeyondEnd { address, length });
        }
        let raw = &self.contents[table as usize].raw;
        if let Some(range) = raw.iter().find(|range| range.start < end && start < range.end()) {
            let by = format!("the values from address {}", range.start);
            return Err(BankError::Taken { address: start.max(range.start), by });
        }
        Ok(())
    }

    /// Points may share registers if each has bits of its own.
    fn check_map(&self, mapping: &Mapping) -> Result<(), BankError> {
        self.check_raw(mapping.table, mapping.address, mapping.width())?;
        for mapped in &self.contents[mapping.table as usize].mapped {
            if let Some((_, _, address)) = overlap(&[mapped.mapping.clone(), mapping.clone()]) {
                return Err(BankError::Taken { address, by: format!("point `{}`", mapped.mapping.point) });
            }
        }
        Ok(())
    }

    /// Looks the points up; gives the first that is not there.
    pub(super) fn resolve(&mut self, store: &PointStore) -> Option<String> {
        let mut missing = None;
        for mapped in self.contents.iter_mut().flat_map(|content| &mut content.mapped) {
            mapped.point = store.index(&mapped.mapping.point);
            if mapped.point.is_none() && missing.is_none() {
                missing = Some(mapped.mapping.point.clone());
            }
        }
        missing
    }

    pub(super) fn has(&self, table: Table, address: usize) -> bool {
        let content = &self.contents[table as usize];
        content.raw.iter().any(|range| (range.start..range.end()).contains(&address))
            || self.mapped_at(table, address).is_some()
    }

    /// Every address of the range is there; a range beyond 0xFFFF never is.
    pub(super) fn covers(&self, table: Table, address: usize, quantity: usize) -> bool {
        let whole = |range: &RawRange| range.start <= address && address + quantity <= range.end();
        self.contents[table as usize].raw.iter().any(whole)
            || (address..address + quantity).all(|address| self.has(table, address))
    }

    fn mapped_at(&self, table: Table, address: usize) -> Option<&Mapped> {
        let inside = |mapped: &&Mapped| (usize::from(mapped.mapping.address)..mapped.mapping.end()).contains(&address);
        self.contents[table as usize].mapped.iter().find(inside)
    }

    /// Appends the values of a range; what is not there reads as 0.
    ///
    /// # Errors
    /// The exception code, if a point is not in the store.
    pub(super) fn read(
        &self,
        table: Table,
        address: usize,
        quantity: usize,
        store: &PointStore,
        out: &mut Vec<u16>,
    ) -> Result<(), u8> {
        let whole = |range: &&RawRange| range.start <= address && address + quantity <= range.end();
        if let Some(range) = self.contents[table as usize].raw.iter().find(whole) {
            out.extend_from_slice(&range.values[address - range.start..address - range.start + quantity]);
            return Ok(());
        }
        let (place, end) = (out.len(), address + quantity);
        out.resize(place + quantity, 0);
        let content = &self.contents[table as usize];
        for range in content.raw.iter().filter(|range| range.start < end && address < range.end()) {
            for at in address.max(range.start)..end.min(range.end()) {
                out[place + at - address] = range.values[at - range.start];
            }
        }
        for mapped in content.mapped.iter().filter(|mapped| mapped.touches(address, end)) {
            let mut words = [0; MOST_REGISTERS];
            mapped.words(store, &mut words)?;
            let start = usize::from(mapped.mapping.address);
            for at in address.max(start)..end.min(mapped.mapping.end()) {
                out[place + at - address] |= words[at - start];
            }
        }
        Ok(())
    }

    /// Writes a range, which must be covered, or nothing of it.
    ///
    /// # Errors
    /// The exception code.
    pub(super) fn write(
        &mut self,
        table: Table,
        address: usize,
        values: &[u16],
        store: &mut PointStore,
        writer: Writer<'_>,
    ) -> Result<(), u8> {
        let end = address + values.len();
        let by = Origin::Face(writer.face.to_owned());
        let mut sets = Vec::new();
        for mapped in self.contents[table as usize].mapped.iter().filter(|mapped| mapped.touches(address, end)) {
            if !mapped.mapping.writable {
                return Err(Exception::ILLEGAL_DATA_ADDRESS);
            }
            let start = usize::from(mapped.mapping.address);
            let mut words = [0; MOST_REGISTERS];
            mapped.words(store, &mut words)?;
            let words = &mut words[..mapped.mapping.width()];
            for (index, word) in words.iter_mut().enumerate() {
                if let Some(value) = (start + index).checked_sub(address).and_then(|at| values.get(at)) {
                    *word = *value;
                }
            }
            sets.push((mapped.mapping.point.clone(), mapped.value(words, store, &by)?));
        }
        for (point, value) in sets {
            store.set(writer.now, &point, value, by.clone()).map_err(|error| code_for(&error))?;
        }
        for (index, value) in values.iter().enumerate() {
            self.put_raw(table, address + index, *value);
        }
        Ok(())
    }

    fn put_raw(&mut self, table: Table, address: usize, value: u16) {
        let mut ranges = self.contents[table as usize].raw.iter_mut();
        if let Some(range) = ranges.find(|range| (range.start..range.end()).contains(&address)) {
            range.values[address - range.start] = value;
        }
    }
}

impl Mapped {
    fn touches(&self, start: usize, end: usize) -> bool {
        usize::from(self.mapping.address) < end && start < self.mapping.end()
    }

    /// What stands in its registers now; the bits of others are 0.
    fn words(&self, store: &PointStore, words: &mut [u16; MOST_REGISTERS]) -> Result<(), u8> {
        let point = self.point.ok_or(Exception::SERVER_DEVICE_FAILURE)?;
        let value = store.value_at(point).ok_or(Exception::SERVER_DEVICE_FAILURE)?;
        if self.mapping.table.is_bits() {
            words[0] = (*value == Value::Bool(true) || value.as_f64().is_some_and(|number| number != 0.0)).into();
        } else {
            self.mapping.encoding.put(value, &mut words[..self.mapping.width()]);
        }
        Ok(())
    }

    /// The value that these registers give the point.
    ///
    /// # Errors
    /// The exception code.
    fn value(&self, words: &[u16], store: &PointStore, by: &Origin) -> Result<Value, u8> {
        let point = self.point.ok_or(Exception::SERVER_DEVICE_FAILURE)?;
        let encoding = &self.mapping.encoding;
        let is_text = store.definitions().get(point).is_some_and(|definition| definition.kind == PointKind::Text);
        let value = if is_text { encoding.decode(words) } else { encoding.decode_number(words) };
        let value = value.map_err(|_| Exception::ILLEGAL_DATA_VALUE)?;
        if let (Some((low, high)), Some(number)) = (self.mapping.range, value.as_f64())
            && !(low..=high).contains(&number)
        {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        store.checked(point, value, by).map_err(|error| code_for(&error))
    }
}

fn code_for(error: &PointError) -> u8 {
    match error {
        PointError::ReadOnly(_) => Exception::ILLEGAL_DATA_ADDRESS,
        PointError::Kind { .. } | PointError::Range { .. } => Exception::ILLEGAL_DATA_VALUE,
        PointError::Unknown(_) => Exception::SERVER_DEVICE_FAILURE,
    }
}
