//! voltage_modbus: its clients, and a service in front of its register bank.
//!
//! The bank has every address, so nothing would ever be refused for its address: `Bounded` ends it where the other
//! servers of the conversation end. What is judged is the bank as it is.

use crate::call::{Answer, Call, Failure, Table};
use crate::client::Place;
use crate::memory::{COILS, REGISTERS, coil, register};
use std::sync::Arc;
use std::time::Duration;
use voltage_modbus::server::{ModbusService, ServiceFuture};
use voltage_modbus::transport::ModbusTransport;
use voltage_modbus::{
    AsciiTransport, GenericModbusClient, ModbusClient, ModbusError, ModbusFunction, ModbusRegisterBank, ModbusRequest,
    ModbusResult, ModbusTcpClient, RtuOverTcpTransport, RtuTransport,
};

pub enum Client {
    Tcp(ModbusTcpClient, Duration),
    RtuOverTcp(GenericModbusClient<RtuOverTcpTransport>),
    Rtu(GenericModbusClient<RtuTransport>),
    Ascii(GenericModbusClient<AsciiTransport>),
}

impl Client {
    pub async fn open(place: Place<'_>, timeout: Duration) -> Result<Self, Failure> {
        let refused = |error: ModbusError| Failure::new("refused", error);
        match place {
            Place::Tcp(address) => {
                ModbusTcpClient::new(address, timeout).await.map(|client| Self::Tcp(client, timeout))
            }
            Place::RtuOverTcp(address) => RtuOverTcpTransport::new(address, timeout)
                .await
                .map(|transport| Self::RtuOverTcp(GenericModbusClient::new(transport))),
            Place::Rtu(line) => RtuTransport::new_with_config(
                line.path,
                line.speed,
                line.data_bits(),
                line.stop_bits(),
                line.parity(),
                timeout,
            )
            .map(|transport| Self::Rtu(GenericModbusClient::new(transport))),
            Place::Ascii(line) => AsciiTransport::new_with_config(
                line.path,
                line.speed,
                line.data_bits(),
                line.stop_bits(),
                line.parity(),
                timeout,
                timeout,
            )
            .map(|transport| Self::Ascii(GenericModbusClient::new(transport))),
        }
        .map_err(refused)
    }

    pub async fn call(&mut self, unit: u8, call: &Call) -> Result<Answer, Failure> {
        let said = match self {
            Self::Tcp(client, _) => make(client.generic_mut(), unit, call).await,
            Self::RtuOverTcp(client) => make(client, unit, call).await,
            Self::Rtu(client) => make(client, unit, call).await,
            Self::Ascii(client) => make(client, unit, call).await,
        };
        said.map_err(failure)?.ok_or_else(|| Failure::new("unsupported", "it has no such function"))
    }

    /// A pipeline of reads, on TCP.
    pub async fn together(&mut self, calls: &[(u8, Call)]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let Self::Tcp(client, timeout) = self else {
            return Err(Failure::new("unsupported", "it pipelines on TCP only"));
        };
        let requests: Option<Vec<ModbusRequest>> = calls.iter().map(|(unit, call)| reading(*unit, call)).collect();
        let requests = requests.ok_or_else(|| Failure::new("unsupported", "this pipelines reads of registers only"))?;
        let said = client.pipeline(requests, *timeout).await.map_err(failure)?;
        let values = |answer: ModbusResult<voltage_modbus::ModbusResponse>| {
            answer.and_then(|answer| answer.parse_registers()).map(Answer::Values).map_err(failure)
        };
        Ok(said.into_iter().map(values).collect())
    }
}

fn reading(unit: u8, call: &Call) -> Option<ModbusRequest> {
    let (function, address, count) = match call {
        Call::Read(Table::Holding, address, count) => (ModbusFunction::ReadHoldingRegisters, *address, *count),
        Call::Read(Table::Input, address, count) => (ModbusFunction::ReadInputRegisters, *address, *count),
        _ => return None,
    };
    Some(ModbusRequest::new_read(unit, function, address, count))
}

/// Makes a call; none if the crate cannot.
async fn make<T>(client: &mut GenericModbusClient<T>, unit: u8, call: &Call) -> ModbusResult<Option<Answer>>
where
    T: ModbusTransport + Send + Sync,
{
    Ok(Some(match call {
        Call::Read(Table::Coils, address, count) => Answer::of_bits(client.read_01(unit, *address, *count).await?),
        Call::Read(Table::Discrete, address, count) => Answer::of_bits(client.read_02(unit, *address, *count).await?),
        Call::Read(Table::Holding, address, count) => Answer::Values(client.read_03(unit, *address, *count).await?),
        Call::Read(Table::Input, address, count) => Answer::Values(client.read_04(unit, *address, *count).await?),
        Call::WriteCoil(address, value) => done(client.write_05(unit, *address, *value).await?),
        Call::WriteRegister(address, value) => done(client.write_06(unit, *address, *value).await?),
        Call::WriteCoils(address, values) => done(client.write_0f(unit, *address, values).await?),
        Call::WriteRegisters(address, values) => done(client.write_10(unit, *address, values).await?),
        Call::MaskWrite { address, and_mask, or_mask } => {
            done(client.mask_write_register(unit, *address, *and_mask, *or_mask).await?)
        }
        Call::ReadWrite { read_address, count, write_address, values } => {
            let said = client.read_write_17(unit, *read_address, *count, *write_address, values).await?;
            Answer::Values(said)
        }
        Call::DeviceId { code, object } => {
            let said = client.read_device_identification(unit, *code, *object).await?;
            Answer::Objects(said.objects.into_iter().map(|object| (object.id, object.value)).collect())
        }
        Call::Raw(_) => return Ok(None),
    }))
}

fn done((): ()) -> Answer {
    Answer::Done
}

/// What an error of the crate means.
fn failure(error: ModbusError) -> Failure {
    let kind = match &error {
        ModbusError::Exception { code, .. } => return Failure::exception(*code, &error),
        ModbusError::Timeout { .. } | ModbusError::DeviceNotResponding { .. } => "timeout",
        ModbusError::Io { .. } | ModbusError::Connection { .. } => "lost",
        ModbusError::InvalidAddress { .. } | ModbusError::InvalidData { .. } | ModbusError::Configuration { .. } => {
            "refused"
        }
        ModbusError::Internal { .. } => "other",
        _ => "malformed",
    };
    Failure::new(kind, error)
}

/// The crate's bank, filled as the other servers are.
pub fn bank() -> Arc<ModbusRegisterBank> {
    let bank = ModbusRegisterBank::new();
    for address in 0..COILS as u16 {
        // The only error is a poisoned lock, and nobody else has the bank yet.
        let _ = bank.write_05(address, coil(address));
        let _ = bank.set_discrete_input(address, coil(address));
    }
    for address in 0..REGISTERS as u16 {
        let _ = bank.write_06(address, register(address));
        let _ = bank.set_input_register(address, register(address));
    }
    Arc::new(bank)
}

/// The bank up to the last address that the conversation may use.
pub struct Bounded(pub Arc<ModbusRegisterBank>);

impl ModbusService for Bounded {
    fn handle_pdu<'a>(&'a self, function: u8, data: &'a [u8]) -> ServiceFuture<'a> {
        match past_the_end(function, data) {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.0.handle_pdu(function, data),
        }
    }
}

fn past_the_end(function: u8, data: &[u8]) -> Option<ModbusError> {
    let field = |at: usize| data.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let size = if matches!(function, 1 | 2 | 5 | 15) { COILS } else { REGISTERS };
    let (address, count) = match function {
        1..=4 | 15 | 16 => (field(0)?, field(2)?),
        5 | 6 | 22 => (field(0)?, 1),
        _ => return None,
    };
    (usize::from(address) + usize::from(count) > size).then(|| ModbusError::invalid_address(address, count))
}
