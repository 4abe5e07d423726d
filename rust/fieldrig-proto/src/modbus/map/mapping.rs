//! Where a point stands, and from the client's side: which request reads it, which writes it, what an answer says.

use super::{Encoding, ValueProblem};
use crate::modbus::pdu::{Request, Response};
use crate::modbus::server::Table;
use crate::record::Value;

/// A point of a device in a table.
#[derive(Clone, PartialEq, Debug)]
pub struct Mapping {
    /// Name of the point.
    pub point: String,
    /// Table.
    pub table: Table,
    /// First address.
    pub address: u16,
    /// How its value stands there.
    pub encoding: Encoding,
    /// Unit of the value, for people; empty if it has none.
    pub unit: String,
    /// The lowest and the highest value that may be written.
    pub range: Option<(f64, f64)>,
    /// It can be read.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
}

/// Why a value cannot be written to a point.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("point `{point}` {problem}")]
pub struct PointWriteError {
    /// Name of the point.
    pub point: String,
    /// What is wrong.
    pub problem: ValueProblem,
}

impl Mapping {
    /// A point that can be read, and written if its table can.
    #[must_use]
    pub fn new(point: &str, table: Table, address: u16, encoding: Encoding) -> Mapping {
        let writable = matches!(table, Table::Coils | Table::HoldingRegisters);
        let (point, unit) = (point.to_owned(), String::new());
        Mapping { point, table, address, encoding, unit, range: None, readable: true, writable }
    }

    /// How many addresses it takes.
    #[must_use]
    pub fn width(&self) -> usize {
        if self.table.is_bits() { 1 } else { self.encoding.registers }
    }

    /// The address behind its last one.
    #[must_use]
    pub fn end(&self) -> usize {
        usize::from(self.address) + self.width()
    }

    /// Whether it takes this address.
    #[must_use]
    pub fn covers(&self, address: usize) -> bool {
        (usize::from(self.address)..self.end()).contains(&address)
    }

    /// The request that reads the point.
    #[must_use]
    pub fn read_request(&self) -> Request {
        let (address, quantity) = (self.address, self.width() as u16);
        match self.table {
            Table::Coils => Request::ReadCoils { address, quantity: 1 },
            Table::DiscreteInputs => Request::ReadDiscreteInputs { address, quantity: 1 },
            Table::HoldingRegisters => Request::ReadHoldingRegisters { address, quantity },
            Table::InputRegisters => Request::ReadInputRegisters { address, quantity },
        }
    }

    /// The request that writes a value to the point: 05 for a coil, 06 for one register, 16 for several, 22 for a part
    /// of one register, which leaves the rest as it is (AP 6.16). `None` for a part of several registers: only
    /// [`Mapping::merged_request`] can write it.
    ///
    /// # Errors
    /// A point that can only be read, a value that does not fit. A number between two that fit is rounded.
    pub fn write_request(&self, value: &Value) -> Result<Option<Request>, PointWriteError> {
        let values = self.checked(value)?;
        let address = self.address;
        if self.table == Table::Coils {
            return Ok(Some(Request::WriteSingleCoil { address, on: values[0] != 0 }));
        }
        Ok(match (&values[..], self.encoding.is_part()) {
            ([value], false) => Some(Request::WriteSingleRegister { address, value: *value }),
            (_, false) => Some(Request::WriteMultipleRegisters { address, values }),
            ([value], true) => {
                let mask = self.encoding.masks()[0];
                Some(Request::MaskWriteRegister { address, and: !mask, or: *value })
            }
            (_, true) => None,
        })
    }

    /// The request that writes a part into what the registers hold now: for devices without function 22. What changes
    /// between the read and the write is lost.
    ///
    /// # Errors
    /// Those of [`Mapping::write_request`].
    pub fn merged_request(&self, value: &Value, now: &[u16]) -> Result<Request, PointWriteError> {
        let values = self.checked(value)?;
        let merge = |(index, (value, mask)): (usize, (u16, u16))| now.get(index).copied().unwrap_or(0) & !mask | value;
        let values: Vec<u16> = values.into_iter().zip(self.encoding.masks()).enumerate().map(merge).collect();
        let address = self.address;
        Ok(match values[..] {
            [value] => Request::WriteSingleRegister { address, value },
            _ => Request::WriteMultipleRegisters { address, values },
        })
    }

    /// The registers of a value that may be written here; a coil has one.
    fn checked(&self, value: &Value) -> Result<Vec<u16>, PointWriteError> {
        let failed = |problem| PointWriteError { point: self.point.clone(), problem };
        if !matches!(self.table, Table::Coils | Table::HoldingRegisters) {
            return Err(failed(ValueProblem::ReadOnly("stands in a table that can only be read")));
        }
        if !self.writable {
            return Err(failed(ValueProblem::ReadOnly("can only be read, the map says")));
        }
        let values = self.encoding.encode(value).map_err(failed)?;
        match (self.range, self.encoding.decode_number(&values).ok().and_then(|value| value.as_f64())) {
            (Some((low, high)), Some(number)) if !(low..=high).contains(&value.as_f64().unwrap_or(number)) => {
                Err(failed(ValueProblem::Range { low, high, value: value.clone() }))
            }
            _ => Ok(values),
        }
    }

    /// The value of the point in the answer to [`Mapping::read_request`].
    ///
    /// # Errors
    /// The answer is to something else, or holds what is no value of the point.
    pub fn value(&self, response: &Response) -> Result<Value, String> {
        match response {
            Response::Bits { values, .. } if self.table.is_bits() && !values.is_empty() => {
                self.encoding.decode(&[u16::from(values[0])])
            }
            Response::Registers { values, .. } if !self.table.is_bits() && values.len() == self.width() => {
                self.encoding.decode(values)
            }
            other => Err(format!("it holds something else: {other:?}")),
        }
    }

    /// The first address where both points want the same bits.
    fn collides(&self, other: &Mapping) -> Option<usize> {
        let (start, end) = (self.address.max(other.address).into(), self.end().min(other.end()));
        if self.table != other.table || start >= end {
            return None;
        }
        let (ours, theirs) = (self.owned(), other.owned());
        let mask =
            |masks: &[u16], of: &Mapping, at: usize| masks.get(at - usize::from(of.address)).copied().unwrap_or(0);
        (start..end).find(|at| mask(&ours, self, *at) & mask(&theirs, other, *at) != 0)
    }

    /// The bits of each address that belong to it.
    fn owned(&self) -> Vec<u16> {
        if self.table.is_bits() { vec![1] } else { self.encoding.masks() }
    }
}

/// Two points of a map that want the same bits: which, and the address.
#[must_use]
pub fn overlap(points: &[Mapping]) -> Option<(&Mapping, &Mapping, usize)> {
    let mut sorted: Vec<&Mapping> = points.iter().collect();
    sorted.sort_by_key(|point| (point.table as u8, point.address));
    sorted.iter().enumerate().find_map(|(index, first)| {
        let near = sorted[index + 1..].iter().take_while(|next| next.table == first.table);
        let near = near.take_while(|next| usize::from(next.address) < first.end());
        near.into_iter().find_map(|next| first.collides(next).map(|at| (*first, *next, at)))
    })
}
