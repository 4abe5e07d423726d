//! What a monitor reports.

use crate::dissect::hex;
use crate::modbus::pdu::{PduError, Request, Response, exception_name, function_name};
use crate::record::{Record, Value};
use crate::time::Stamp;
use std::fmt;
use std::sync::Arc;

/// What was seen.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A client asked.
    Request,
    /// A device answered.
    Response,
    /// Nothing came of a request.
    Unanswered,
    /// Bytes that are no frame.
    Noise,
}

impl Kind {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Response => "response",
            Kind::Unanswered => "unanswered",
            Kind::Noise => "noise",
        }
    }
}

/// The values that a request writes, or a response brings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Values {
    /// None, or none that can be read.
    #[default]
    None,
    /// Registers.
    Registers(Vec<u16>),
    /// Coils or discrete inputs.
    Bits(Vec<bool>),
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::None => f.write_str("none"),
            Values::Registers(values) => write!(f, "{values:?}"),
            Values::Bits(values) => write!(f, "{:?}", values.iter().map(|bit| u8::from(*bit)).collect::<Vec<u8>>()),
        }
    }
}

/// Something that was seen on a wire. What does not apply, or cannot be read, is `None`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// Its number, from 0 on.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// When the first byte was complete; of an unanswered request, as `at`.
    pub begins: Stamp,
    /// When the last byte was complete; of an unanswered request, when it was given up.
    pub at: Stamp,
    /// Who was asked, or answers.
    pub unit: Option<u8>,
    /// Function code, without the exception bit.
    pub function: Option<u8>,
    /// First address; of a response, that of its request.
    pub address: Option<u16>,
    /// How many; of a response, what its request asked for.
    pub quantity: Option<u16>,
    /// What was written, or read.
    pub values: Values,
    /// Exception code of a response.
    pub exception: Option<u8>,
    /// The bytes; of an unanswered request, those of the request.
    pub bytes: Arc<[u8]>,
    /// Of a response and an unanswered request: the number of the request.
    pub request: Option<u64>,
    /// The bytes can be read in one way only, or their timing decides.
    pub sure: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl Observation {
    /// One of this kind, without anything known about it.
    pub(super) fn new(kind: Kind, bytes: &[u8], begins: Stamp, at: Stamp) -> Observation {
        Observation {
            number: 0,
            kind,
            begins,
            at,
            unit: None,
            function: None,
            address: None,
            quantity: None,
            values: Values::None,
            exception: None,
            bytes: bytes.into(),
            request: None,
            sure: true,
            problem: None,
        }
    }

    /// Fills in what a request says.
    pub(super) fn of_request(mut self, unit: u8, pdu: &[u8]) -> Observation {
        self.unit = Some(unit);
        self.function = pdu.first().copied();
        match Request::parse(pdu) {
            Ok(request) => {
                (self.address, self.quantity) = range(&request);
                self.values = written(request);
            }
            Err(problem) => self.problem = Some(problem.to_string()),
        }
        self
    }

    /// Fills in what a response says, read as the answer to a request if there is one.
    pub(super) fn of_response(mut self, unit: u8, pdu: &[u8], asked: Option<(u64, &Request)>) -> Observation {
        self.unit = Some(unit);
        self.function = pdu.first().map(|code| code & 0x7f);
        let read: Result<Response, PduError> = match asked {
            Some((number, request)) => {
                self.request = Some(number);
                (self.address, self.quantity) = range(request);
                Response::answering(request, pdu)
            }
            None => Response::parse(pdu),
        };
        match read {
            Ok(Response::Registers { values, .. } | Response::FifoQueue { values }) => {
                self.values = Values::Registers(values)
            }
            Ok(Response::Bits { values, .. }) => self.values = Values::Bits(values),
            Ok(Response::Exception(exception)) => self.exception = Some(exception.code),
            Ok(_) => {}
            Err(problem) => self.problem = Some(problem.to_string()),
        }
        self
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = match (self.kind, self.unit) {
            (Kind::Noise, _) => return self.describe_noise(),
            (Kind::Request, Some(0)) => format!("broadcast: {}", self.what()),
            (Kind::Request, unit) => format!("request to unit {}: {}", unit.unwrap_or_default(), self.what()),
            (Kind::Response, unit) => format!("response of unit {}: {}", unit.unwrap_or_default(), self.what()),
            (Kind::Unanswered, unit) => format!("no answer of unit {} to {}", unit.unwrap_or_default(), self.what()),
        };
        if self.values != Values::None {
            text.push_str(&format!(" = {}", self.values));
        }
        if let Some(code) = self.exception {
            text.push_str(&format!(", exception {code:02x} ({})", exception_name(code)));
        }
        if !self.sure {
            text.push_str(" (a request repeated and its echo look alike)");
        }
        if let Some(problem) = &self.problem {
            text.push_str(&format!(" ({problem})"));
        }
        text
    }

    fn what(&self) -> String {
        let code = self.function.unwrap_or_default();
        let name = function_name(code);
        match (self.address, self.quantity) {
            (Some(address), Some(1)) => format!("{code:02} {name}, {address}"),
            (Some(address), Some(quantity)) => format!("{code:02} {name}, {quantity} from {address}"),
            _ => format!("{code:02} {name}"),
        }
    }

    fn describe_noise(&self) -> String {
        let shown = hex(&self.bytes[..self.bytes.len().min(16)]);
        let more = if self.bytes.len() > 16 { " .." } else { "" };
        let problem = self.problem.as_deref().unwrap_or("no frame");
        format!("noise, {} bytes: {shown}{more} ({problem})", self.bytes.len())
    }
}

/// First address and quantity of a request.
fn range(request: &Request) -> (Option<u16>, Option<u16>) {
    let (address, quantity) = match request {
        Request::ReadCoils { address, quantity }
        | Request::ReadDiscreteInputs { address, quantity }
        | Request::ReadHoldingRegisters { address, quantity }
        | Request::ReadInputRegisters { address, quantity } => (*address, *quantity),
        Request::WriteSingleCoil { address, .. }
        | Request::WriteSingleRegister { address, .. }
        | Request::MaskWriteRegister { address, .. } => (*address, 1),
        // A PDU has no room for more than 2000 of anything.
        Request::WriteMultipleCoils { address, values } => (*address, values.len() as u16),
        Request::WriteMultipleRegisters { address, values } => (*address, values.len() as u16),
        Request::ReadWriteMultipleRegisters { read_address, read_quantity, .. } => (*read_address, *read_quantity),
        Request::ReadFifoQueue { address } => return (Some(*address), None),
        _ => return (None, None),
    };
    (Some(address), Some(quantity))
}

fn written(request: Request) -> Values {
    match request {
        Request::WriteSingleCoil { on, .. } => Values::Bits(vec![on]),
        Request::WriteMultipleCoils { values, .. } => Values::Bits(values),
        Request::WriteSingleRegister { value, .. } => Values::Registers(vec![value]),
        Request::WriteMultipleRegisters { values, .. } | Request::ReadWriteMultipleRegisters { values, .. } => {
            Values::Registers(values)
        }
        _ => Values::None,
    }
}

impl From<Observation> for Record {
    fn from(seen: Observation) -> Record {
        let kind = match seen.kind {
            Kind::Request => "modbus.seen_request",
            Kind::Response => "modbus.seen_response",
            Kind::Unanswered => "modbus.seen_unanswered",
            Kind::Noise => "modbus.seen_noise",
        };
        let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let values = match seen.values {
            Values::None => None,
            Values::Registers(values) => Some(Value::List(values.into_iter().map(Value::from).collect())),
            Values::Bits(values) => Some(Value::List(values.into_iter().map(Value::from).collect())),
        };
        let mut record = Record::new(kind).at(seen.at).with("number", int(seen.number));
        let facts = [
            ("request", seen.request.map(int)),
            ("unit", seen.unit.map(Value::from)),
            ("function", seen.function.map(Value::from)),
            ("address", seen.address.map(Value::from)),
            ("quantity", seen.quantity.map(Value::from)),
            ("values", values),
            ("exception", seen.exception.map(Value::from)),
            ("problem", seen.problem.map(Value::from)),
            ("sure", (!seen.sure).then_some(Value::Bool(false))),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                record = record.with(name, value);
            }
        }
        record.with("bytes", Value::Bytes(seen.bytes.to_vec()))
    }
}
