//! tokio-modbus: its clients, and a service behind its servers.
//!
//! The crate frames, decodes and encodes; what a request means is left to the service, which is ours: it keeps to the
//! Application Protocol, so that whatever is wrong on the wire is the crate's. The client has no time-out of its own: its
//! users put one around each call, and so does this.

use crate::call::{Answer, Call, Failure, Table};
use crate::client::Place;
use crate::memory::{Memory, UNIT};
use std::future::{Ready, ready};
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_modbus::client::{Client as _, Context, Reader as _, Writer as _, rtu, tcp};
use tokio_modbus::prelude::{
    ConformityLevel, DeviceIdObject, ExceptionCode, ReadCode, ReadDeviceIdentificationResponse, Request, Response,
    SlaveRequest,
};
use tokio_modbus::server::Service;
use tokio_modbus::slave::{Slave, SlaveContext as _};

pub struct Client {
    context: Context,
    timeout: Duration,
}

impl Client {
    pub async fn open(place: Place<'_>, timeout: Duration) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| Failure::new("refused", error);
        let slave = Slave(UNIT);
        let context = match place {
            Place::Tcp(address) => tcp::connect_slave(address, slave).await.map_err(refused)?,
            Place::RtuOverTcp(address) => {
                let stream = tokio::net::TcpStream::connect(address).await;
                rtu::attach_slave(stream.map_err(refused)?, slave)
            }
            Place::Rtu(line) => {
                let stream = tokio_serial::SerialStream::open(&line.builder());
                rtu::attach_slave(stream.map_err(|error| refused(error.into()))?, slave)
            }
            Place::Ascii(_) => return Err(Failure::new("unsupported", "no ASCII")),
        };
        Ok(Self { context, timeout })
    }

    pub async fn call(&mut self, unit: u8, call: &Call) -> Result<Answer, Failure> {
        self.context.set_slave(Slave(unit));
        match tokio::time::timeout(self.timeout, make(&mut self.context, call)).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Failure::new("timeout", elapsed)),
        }
    }
}

async fn make(context: &mut Context, call: &Call) -> Result<Answer, Failure> {
    match call {
        Call::Read(table, address, count) => read(context, *table, *address, *count).await,
        Call::WriteCoil(address, value) => {
            let said = context.write_single_coil(*address, *value).await;
            answered(said).map(|()| Answer::Done)
        }
        Call::WriteRegister(address, value) => {
            let said = context.write_single_register(*address, *value).await;
            answered(said).map(|()| Answer::Done)
        }
        Call::WriteCoils(address, values) => {
            let said = context.write_multiple_coils(*address, values).await;
            answered(said).map(|()| Answer::Done)
        }
        Call::WriteRegisters(address, values) => {
            let said = context.write_multiple_registers(*address, values).await;
            answered(said).map(|()| Answer::Done)
        }
        Call::MaskWrite { address, and_mask, or_mask } => {
            let said = context.masked_write_register(*address, *and_mask, *or_mask).await;
            answered(said).map(|()| Answer::Done)
        }
        Call::ReadWrite { read_address, count, write_address, values } => {
            let said = context.read_write_multiple_registers(*read_address, *count, *write_address, values).await;
            answered(said).map(Answer::Values)
        }
        Call::DeviceId { code, object } => device_id(context, *code, *object).await,
        Call::Raw(pdu) => raw(context, pdu).await,
    }
}

async fn read(context: &mut Context, table: Table, address: u16, count: u16) -> Result<Answer, Failure> {
    match table {
        Table::Coils => answered(context.read_coils(address, count).await).map(Answer::of_bits),
        Table::Discrete => answered(context.read_discrete_inputs(address, count).await).map(Answer::of_bits),
        Table::Holding => answered(context.read_holding_registers(address, count).await).map(Answer::Values),
        Table::Input => answered(context.read_input_registers(address, count).await).map(Answer::Values),
    }
}

async fn device_id(context: &mut Context, code: u8, object: u8) -> Result<Answer, Failure> {
    let Some(code) = ReadCode::try_from_value(code) else {
        return Err(Failure::new("unsupported", "its read codes are 1 to 4"));
    };
    let said = answered(context.read_device_identification(code, object).await)?;
    let objects = said.device_id_objects.into_iter();
    Ok(Answer::Objects(objects.map(|object| (object.id, object.value.to_vec())).collect()))
}

async fn raw(context: &mut Context, pdu: &[u8]) -> Result<Answer, Failure> {
    let Some((function, data)) = pdu.split_first() else {
        return Err(Failure::new("unsupported", "an empty PDU"));
    };
    match answered(context.call(Request::Custom(*function, data.into())).await)? {
        Response::Custom(function, data) => Ok(Answer::Pdu([&[function], data.as_ref()].concat())),
        other => Err(Failure::new("other", format!("it gave {other:?}"))),
    }
}

/// What an outcome of the crate means.
fn answered<T>(said: tokio_modbus::Result<T>) -> Result<T, Failure> {
    match said {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(exception)) => Err(Failure::exception(exception.into(), exception)),
        Err(tokio_modbus::Error::Protocol(error)) => Err(Failure::new("malformed", error)),
        Err(tokio_modbus::Error::Transport(error)) => Err(Failure::new(kind(&error), error)),
    }
}

fn kind(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidInput => "refused", // how it says that a request does not fit in a PDU
        ErrorKind::InvalidData => "malformed",
        ErrorKind::UnexpectedEof if error.raw_os_error().is_none() => "malformed", // a PDU that ends too early
        _ => "lost", // also the end of the stream, for which it gives whatever errno holds
    }
}

/// What answers the requests that the crate decoded.
#[derive(Clone)]
pub struct Device {
    memory: Arc<Mutex<Memory>>,
    serial: bool,
}

impl Device {
    /// On a serial line it is unit 1 and hears broadcasts; behind a socket it is whoever is asked for.
    pub fn new(serial: bool) -> Self {
        Self { memory: Arc::new(Mutex::new(Memory::new())), serial }
    }

    fn answer(&self, request: Request<'static>) -> Result<Response, ExceptionCode> {
        let mut memory = self.memory.lock().map_err(|_| ExceptionCode::ServerDeviceFailure)?;
        memory.answer(request)
    }
}

impl Service for Device {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        let for_us = !self.serial || asked.slave == UNIT;
        let broadcast = self.serial && asked.slave == 0;
        if !for_us && !broadcast {
            return ready(Ok(None));
        }
        let answer = self.answer(asked.request);
        ready(if broadcast { Ok(None) } else { answer.map(Some) })
    }
}

/// The elements that a request names: exception 03 if there are none or too many (AP 6), 02 if one does not exist.
fn range(address: u16, count: usize, most: usize, size: usize) -> Result<Range<usize>, ExceptionCode> {
    let first = usize::from(address);
    match count {
        0 => Err(ExceptionCode::IllegalDataValue),
        _ if count > most => Err(ExceptionCode::IllegalDataValue),
        _ if first + count > size => Err(ExceptionCode::IllegalDataAddress),
        _ => Ok(first..first + count),
    }
}

fn read_from<T: Copy>(table: &[T], address: u16, count: u16, most: usize) -> Result<Vec<T>, ExceptionCode> {
    Ok(table[range(address, count.into(), most, table.len())?].to_vec())
}

fn write_to<T: Copy>(table: &mut [T], address: u16, values: &[T], most: usize) -> Result<(), ExceptionCode> {
    let range = range(address, values.len(), most, table.len())?;
    table[range].copy_from_slice(values);
    Ok(())
}

impl Memory {
    fn answer(&mut self, request: Request<'_>) -> Result<Response, ExceptionCode> {
        Ok(match request {
            Request::ReadCoils(address, count) => Response::ReadCoils(read_from(&self.coils, address, count, 2000)?),
            Request::ReadDiscreteInputs(address, count) => {
                Response::ReadDiscreteInputs(read_from(&self.discrete, address, count, 2000)?)
            }
            Request::ReadHoldingRegisters(address, count) => {
                Response::ReadHoldingRegisters(read_from(&self.holding, address, count, 125)?)
            }
            Request::ReadInputRegisters(address, count) => {
                Response::ReadInputRegisters(read_from(&self.input, address, count, 125)?)
            }
            Request::WriteSingleCoil(address, value) => {
                write_to(&mut self.coils, address, &[value], 1)?;
                Response::WriteSingleCoil(address, value)
            }
            Request::WriteSingleRegister(address, value) => {
                write_to(&mut self.holding, address, &[value], 1)?;
                Response::WriteSingleRegister(address, value)
            }
            Request::WriteMultipleCoils(address, values) => {
                write_to(&mut self.coils, address, &values, 1968)?;
                Response::WriteMultipleCoils(address, values.len() as u16)
            }
            Request::WriteMultipleRegisters(address, values) => {
                write_to(&mut self.holding, address, &values, 123)?;
                Response::WriteMultipleRegisters(address, values.len() as u16)
            }
            Request::MaskWriteRegister(address, and_mask, or_mask) => {
                let at = range(address, 1, 1, self.holding.len())?.start;
                self.holding[at] = (self.holding[at] & and_mask) | (or_mask & !and_mask);
                Response::MaskWriteRegister(address, and_mask, or_mask)
            }
            Request::ReadWriteMultipleRegisters(from, count, to, values) => {
                range(from, count.into(), 125, self.holding.len())?; // both are judged before anything is written
                write_to(&mut self.holding, to, &values, 121)?;
                Response::ReadWriteMultipleRegisters(read_from(&self.holding, from, count, 125)?)
            }
            Request::ReportServerId => Response::ReportServerId(1, true, b"tokio-modbus".to_vec()),
            Request::ReadDeviceIdentification(code, object) => identify(code, object)?,
            Request::Custom(..) => return Err(ExceptionCode::IllegalFunction),
        })
    }
}

const IDENTITY: [(u8, &str); 4] = [(0, "tokio-modbus"), (1, "server"), (2, "0.17.0"), (4, "interop")];

/// AP 6.21: a stream that begins at an object that does not exist begins at the first one.
fn identify(code: ReadCode, object: u8) -> Result<Response, ExceptionCode> {
    let known = IDENTITY.iter().any(|(id, _)| *id == object);
    let wanted = match code {
        ReadCode::Basic if object <= 2 => object..=2,
        ReadCode::Basic => 0..=2,
        ReadCode::Specific if known => object..=object,
        ReadCode::Specific => return Err(ExceptionCode::IllegalDataAddress),
        ReadCode::Regular | ReadCode::Extended if known => object..=0xff,
        ReadCode::Regular | ReadCode::Extended => 0..=0xff,
    };
    let objects = IDENTITY.iter().filter(|(id, _)| wanted.contains(id));
    Ok(Response::ReadDeviceIdentification(ReadDeviceIdentificationResponse {
        read_code: code,
        conformity_level: ConformityLevel::RegularIdentification,
        more_follows: false,
        next_object_id: 0,
        device_id_objects: objects
            .map(|(id, text)| DeviceIdObject { id: *id, value: text.as_bytes().to_vec().into() })
            .collect(),
    }))
}
