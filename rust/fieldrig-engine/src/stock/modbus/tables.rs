//! What a stock server serves: four tables of cells, and the service that tokio-modbus calls for each request.
//!
//! Rules of this file:
//! - tokio-modbus reads requests and writes answers; what a request means is left to its user, and so is done here:
//!   quantities (exception 03, V1.1b3 6), addresses (02), functions that are not served (01).
//! - On a line only its unit answers, and nobody answers a broadcast, which is done if it writes (V1.02 2.1). On TCP the
//!   server is found by its address, and answers for every unit (V1.0b 4.4.1.2).
//! - Function 17 is served on lines only, as the standard has it (V1.1b3 6.13); besides, tokio-modbus 0.17 states a length
//!   there on TCP that is one byte short, and so would spoil the connection for whoever asks.

use super::{Request, Response};
use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_modbus::server::Service;
use tokio_modbus::{ExceptionCode, SlaveRequest};

/// One of the four tables.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Table {
    /// Coils.
    Coils,
    /// Discrete inputs.
    Discrete,
    /// Input registers.
    Input,
    /// Holding registers.
    Holding,
}

/// The cells of a stock server. Clones are the same cells.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    cells: Arc<Mutex<[BTreeMap<u16, u16>; 4]>>,
    server_id: Option<Arc<[u8]>>,
}

type Done<T> = Result<T, ExceptionCode>;

impl Tables {
    /// Tables without cells. With a server id, function 17 is served: what follows its run indicator is empty.
    #[must_use]
    pub fn new(server_id: Option<&[u8]>) -> Tables {
        Tables { cells: Arc::default(), server_id: server_id.map(Arc::from) }
    }

    /// Makes cells, or sets those that are there. `false`: an address past 65535; nothing was done.
    pub fn declare(&self, table: Table, address: u16, values: &[u16]) -> bool {
        let fits = usize::from(address) + values.len() <= 1 << 16;
        if fits {
            let cells = &mut self.lock()[table as usize];
            cells.extend((address..=u16::MAX).zip(values.iter().copied()));
        }
        fits
    }

    /// The values of cells; `None` if they are not all there.
    #[must_use]
    pub fn get(&self, table: Table, address: u16, count: usize) -> Option<Vec<u16>> {
        let cells = &self.lock()[table as usize];
        let found: Vec<u16> = (address..=u16::MAX).take(count).map_while(|at| cells.get(&at).copied()).collect();
        (found.len() == count).then_some(found)
    }

    /// Sets cells. `false`: they are not all there; nothing was done.
    pub fn set(&self, table: Table, address: u16, values: &[u16]) -> bool {
        let cells = &mut self.lock()[table as usize];
        let there = values.len() <= usize::from(u16::MAX - address) + 1
            && (address..=u16::MAX).take(values.len()).all(|at| cells.contains_key(&at));
        if there {
            cells.extend((address..=u16::MAX).zip(values.iter().copied()));
        }
        there
    }

    fn lock(&self) -> MutexGuard<'_, [BTreeMap<u16, u16>; 4]> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- requests ------------------------------------------------------------------------------------------------

    fn answer(&self, request: &Request<'_>) -> Done<Response> {
        Ok(match request {
            Request::ReadCoils(at, count) => Response::ReadCoils(self.bits(Table::Coils, *at, *count)?),
            Request::ReadDiscreteInputs(at, count) => {
                Response::ReadDiscreteInputs(self.bits(Table::Discrete, *at, *count)?)
            }
            Request::ReadHoldingRegisters(at, count) => {
                Response::ReadHoldingRegisters(self.read(Table::Holding, *at, *count, 1..=125)?)
            }
            Request::ReadInputRegisters(at, count) => {
                Response::ReadInputRegisters(self.read(Table::Input, *at, *count, 1..=125)?)
            }
            Request::WriteSingleCoil(at, on) => {
                self.write(Table::Coils, *at, &[u16::from(*on)], 1..=1)?;
                Response::WriteSingleCoil(*at, *on)
            }
            Request::WriteSingleRegister(at, value) => {
                self.write(Table::Holding, *at, &[*value], 1..=1)?;
                Response::WriteSingleRegister(*at, *value)
            }
            Request::WriteMultipleCoils(at, coils) => {
                let values: Vec<u16> = coils.iter().map(|on| u16::from(*on)).collect();
                Response::WriteMultipleCoils(*at, self.write(Table::Coils, *at, &values, 1..=1968)?)
            }
            Request::WriteMultipleRegisters(at, values) => {
                Response::WriteMultipleRegisters(*at, self.write(Table::Holding, *at, values, 1..=123)?)
            }
            Request::MaskWriteRegister(at, and, or) => {
                let old = self.read(Table::Holding, *at, 1, 1..=1)?[0];
                // V1.1b3 6.16
                self.write(Table::Holding, *at, &[(old & and) | (or & !and)], 1..=1)?;
                Response::MaskWriteRegister(*at, *and, *or)
            }
            Request::ReadWriteMultipleRegisters(at, count, write_at, values) => {
                // Both ranges are looked at before anything is written.
                self.read(Table::Holding, *at, *count, 1..=125)?;
                self.write(Table::Holding, *write_at, values, 1..=121)?;
                Response::ReadWriteMultipleRegisters(self.read(Table::Holding, *at, *count, 1..=125)?)
            }
            Request::ReportServerId => match self.server_id.as_deref() {
                Some([id, more @ ..]) => Response::ReportServerId(*id, true, more.to_vec()),
                _ => return Err(ExceptionCode::IllegalFunction),
            },
            Request::ReadDeviceIdentification(..) | Request::Custom(..) => return Err(ExceptionCode::IllegalFunction),
        })
    }

    fn read(&self, table: Table, at: u16, count: u16, allowed: RangeInclusive<u16>) -> Done<Vec<u16>> {
        if !allowed.contains(&count) {
            return Err(ExceptionCode::IllegalDataValue);
        }
        self.get(table, at, usize::from(count)).ok_or(ExceptionCode::IllegalDataAddress)
    }

    fn bits(&self, table: Table, at: u16, count: u16) -> Done<Vec<bool>> {
        Ok(self.read(table, at, count, 1..=2000)?.into_iter().map(|value| value != 0).collect())
    }

    fn write(&self, table: Table, at: u16, values: &[u16], allowed: RangeInclusive<u16>) -> Done<u16> {
        let count = u16::try_from(values.len()).ok().filter(|count| allowed.contains(count));
        let count = count.ok_or(ExceptionCode::IllegalDataValue)?;
        self.set(table, at, values).then_some(count).ok_or(ExceptionCode::IllegalDataAddress)
    }
}

/// What tokio-modbus calls for each request.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) tables: Tables,
    /// The unit that answers on a line; `None` on TCP.
    pub(super) unit: Option<u8>,
}

impl Service for Served {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Self::Response, Self::Exception>>;

    fn call(&self, asked: SlaveRequest<'static>) -> Self::Future {
        let broadcast = self.unit.is_some() && asked.slave == 0;
        if self.unit.is_some_and(|unit| unit != asked.slave) && !broadcast {
            return ready(Ok(None));
        }
        let answer = match asked.request {
            Request::ReportServerId if self.unit.is_none() => Err(ExceptionCode::IllegalFunction),
            request => self.tables.answer(&request),
        };
        ready(if broadcast { Ok(None) } else { answer.map(Some) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        let tables = Tables::new(Some(b"\x07pump"));
        assert!(tables.declare(Table::Holding, 10, &[1, 2, 3]) && tables.declare(Table::Coils, 0, &[1, 0]));
        tables
    }

    #[test]
    fn what_is_there_is_read_and_written_as_asked() {
        let tables = tables();
        let ask = |request| tables.answer(&request);
        assert_eq!(ask(Request::ReadHoldingRegisters(11, 2)), Ok(Response::ReadHoldingRegisters(vec![2, 3])));
        assert_eq!(ask(Request::ReadCoils(0, 2)), Ok(Response::ReadCoils(vec![true, false])));
        assert_eq!(
            ask(Request::MaskWriteRegister(10, 0xfffe, 0x10)),
            Ok(Response::MaskWriteRegister(10, 0xfffe, 0x10))
        );
        assert_eq!(tables.get(Table::Holding, 10, 1), Some(vec![0]), "the OR mask counts where the AND mask is 0");
        let both = Request::ReadWriteMultipleRegisters(10, 2, 11, vec![9].into());
        assert_eq!(ask(both), Ok(Response::ReadWriteMultipleRegisters(vec![0, 9])));
        assert_eq!(ask(Request::ReportServerId), Ok(Response::ReportServerId(7, true, b"pump".to_vec())));
    }

    #[test]
    fn what_cannot_be_done_is_the_exception_of_the_standard() {
        let tables = tables();
        let ask = |request| tables.answer(&request).unwrap_err();
        assert_eq!(ask(Request::ReadHoldingRegisters(12, 2)), ExceptionCode::IllegalDataAddress);
        assert_eq!(ask(Request::ReadHoldingRegisters(10, 0)), ExceptionCode::IllegalDataValue);
        assert_eq!(ask(Request::ReadHoldingRegisters(10, 126)), ExceptionCode::IllegalDataValue);
        assert_eq!(ask(Request::Custom(99, vec![].into())), ExceptionCode::IllegalFunction);
        let half = Request::WriteMultipleRegisters(12, vec![8, 8].into());
        assert_eq!(ask(half), ExceptionCode::IllegalDataAddress);
        assert_eq!(tables.get(Table::Holding, 12, 1), Some(vec![3]), "nothing was written");
        assert!(!tables.declare(Table::Input, 65535, &[1, 2]) && tables.declare(Table::Input, 65535, &[1]));
        assert_eq!(tables.get(Table::Input, 65535, 2), None);
    }

    #[test]
    fn on_a_line_only_its_unit_answers_and_nobody_a_broadcast() {
        let (tables, write) = (tables(), |value| Request::WriteSingleRegister(10, value));
        let on_line = Served { tables: tables.clone(), unit: Some(5) };
        let call = |slave, request| on_line.call(SlaveRequest { slave, request }).into_inner();
        assert_eq!(call(4, write(44)), Ok(None));
        assert_eq!(tables.get(Table::Holding, 10, 1), Some(vec![1]));
        assert_eq!(call(0, write(55)), Ok(None));
        assert_eq!(tables.get(Table::Holding, 10, 1), Some(vec![55]));
        assert_eq!(call(5, write(66)), Ok(Some(Response::WriteSingleRegister(10, 66))));
        let on_tcp = Served { tables, unit: None };
        let answer = on_tcp.call(SlaveRequest { slave: 0, request: write(77) }).into_inner();
        assert_eq!(answer, Ok(Some(Response::WriteSingleRegister(10, 77))));
        let id =
            |served: &Served| served.call(SlaveRequest { slave: 5, request: Request::ReportServerId }).into_inner();
        assert_eq!(id(&on_line), Ok(Some(Response::ReportServerId(7, true, b"pump".to_vec()))));
        assert_eq!(id(&on_tcp), Err(ExceptionCode::IllegalFunction));
    }
}
