//! Points from the client's side: which request reads one, which writes one, what an answer says.
//!
//! The same [`Mapping`] that shows a point of an emulated device finds the point of a real one.

use super::pdu::{Request, Response};
use super::server::{Mapping, Table};
use crate::record::Value;

/// Why a value cannot be written to a point.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum PointWriteError {
    /// Discrete inputs and input registers cannot be written (AP 4.3).
    #[error("point `{0}` stands in a table that can only be read")]
    ReadOnly(String),
    /// It is no number.
    #[error("point `{point}` takes a number, not {value}")]
    NoNumber {
        /// Name of the point.
        point: String,
        /// What was to be written.
        value: Value,
    },
    /// The registers cannot hold it.
    #[error("point `{point}` cannot hold {value}; the nearest is {nearest}")]
    DoesNotFit {
        /// Name of the point.
        point: String,
        /// What was to be written.
        value: f64,
        /// What would have been written.
        nearest: f64,
    },
}

impl Mapping {
    /// The request that reads the point.
    #[must_use]
    pub fn read_request(&self) -> Request {
        let (address, quantity) = (self.address, self.encoding.kind.registers() as u16);
        match self.table {
            Table::Coils => Request::ReadCoils { address, quantity: 1 },
            Table::DiscreteInputs => Request::ReadDiscreteInputs { address, quantity: 1 },
            Table::HoldingRegisters => Request::ReadHoldingRegisters { address, quantity },
            Table::InputRegisters => Request::ReadInputRegisters { address, quantity },
        }
    }

    /// The request that writes a value to the point: 06 for one register, 16 for two, 05 for a coil.
    ///
    /// # Errors
    /// A table that can only be read, no number, a number that the registers cannot hold. A number between two that
    /// they can hold is rounded.
    pub fn write_request(&self, value: &Value) -> Result<Request, PointWriteError> {
        let point = || self.point.clone();
        let number =
            value.as_f64().ok_or_else(|| PointWriteError::NoNumber { point: point(), value: value.clone() })?;
        let address = self.address;
        match self.table {
            Table::DiscreteInputs | Table::InputRegisters => Err(PointWriteError::ReadOnly(point())),
            Table::Coils if number == 0.0 || number == 1.0 => {
                Ok(Request::WriteSingleCoil { address, on: number != 0.0 })
            }
            Table::Coils => Err(PointWriteError::DoesNotFit { point: point(), value: number, nearest: 1.0 }),
            Table::HoldingRegisters => {
                let values = self.encoding.registers(value);
                let nearest = self.encoding.value(&values).as_f64().unwrap_or_default();
                if !self.fits(number, nearest) {
                    return Err(PointWriteError::DoesNotFit { point: point(), value: number, nearest });
                }
                Ok(match values[..] {
                    [value] => Request::WriteSingleRegister { address, value },
                    _ => Request::WriteMultipleRegisters { address, values },
                })
            }
        }
    }

    /// The value of the point in the answer to [`Mapping::read_request`]; `None` if the answer is to something else.
    #[must_use]
    pub fn value(&self, response: &Response) -> Option<Value> {
        match response {
            Response::Bits { values, .. } if self.table.is_bits() => values.first().copied().map(Value::Bool),
            Response::Registers { values, .. }
                if !self.table.is_bits() && values.len() == self.encoding.kind.registers() =>
            {
                Some(self.encoding.value(values))
            }
            _ => None,
        }
    }

    /// Rounding moves a number by half a step at most; 32-bit floats by their precision.
    fn fits(&self, number: f64, nearest: f64) -> bool {
        let step = self.encoding.scale.abs();
        (number - nearest).abs() <= step * 0.5 + number.abs() * 1e-6
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Encoding, PointType};
    use super::*;

    fn mapping(table: Table, kind: PointType, scale: f64) -> Mapping {
        let encoding = Encoding { scale, ..Encoding::plain(kind) };
        Mapping { point: "p".into(), table, address: 7, encoding }
    }

    #[test]
    fn a_point_is_read_by_the_function_of_its_table() {
        let input = mapping(Table::InputRegisters, PointType::U32, 1.0);
        assert_eq!(input.read_request(), Request::ReadInputRegisters { address: 7, quantity: 2 });
        let answer = Response::Registers { function: 4, values: vec![1, 0] };
        assert_eq!(input.value(&answer), Some(Value::Int(65536)));
        assert_eq!(input.value(&Response::Registers { function: 4, values: vec![1] }), None);
        let coil = mapping(Table::Coils, PointType::Bool, 1.0);
        assert_eq!(coil.read_request(), Request::ReadCoils { address: 7, quantity: 1 });
        assert_eq!(coil.value(&Response::Bits { function: 1, values: vec![true] }), Some(Value::Bool(true)));
    }

    #[test]
    fn a_point_is_written_by_the_smallest_function() {
        let tenth = mapping(Table::HoldingRegisters, PointType::I16, 0.1);
        let request = tenth.write_request(&Value::Float(-8.54));
        assert_eq!(request, Ok(Request::WriteSingleRegister { address: 7, value: (-85i16) as u16 }));
        let wide = mapping(Table::HoldingRegisters, PointType::F32, 1.0);
        let request = wide.write_request(&Value::Float(1.5));
        assert_eq!(request, Ok(Request::WriteMultipleRegisters { address: 7, values: vec![0x3fc0, 0] }));
        let coil = mapping(Table::Coils, PointType::Bool, 1.0);
        assert_eq!(coil.write_request(&Value::Bool(true)), Ok(Request::WriteSingleCoil { address: 7, on: true }));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let input = mapping(Table::InputRegisters, PointType::U16, 1.0);
        assert_eq!(input.write_request(&Value::Int(1)), Err(PointWriteError::ReadOnly("p".into())));
        let byte = mapping(Table::HoldingRegisters, PointType::U16, 0.1);
        let error = byte.write_request(&Value::Float(6553.7)).expect_err("one step above the largest");
        assert_eq!(error.to_string(), "point `p` cannot hold 6553.7; the nearest is 6553.5");
        assert!(byte.write_request(&Value::Text("hot".into())).is_err());
        let coil = mapping(Table::Coils, PointType::Bool, 1.0);
        assert!(coil.write_request(&Value::Int(2)).is_err());
    }
}
