//! Our codec and our strict client, and their values in our words.

use super::Framing;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint as _, Input, Peer, Stamps, Why};
use fieldrig_proto::modbus::client::{Client, ClientEvent, Config, Transactions};
use fieldrig_proto::modbus::pdu::{DeviceIdentification, Request, Response, function as f};
use fieldrig_proto::modbus::rtu::{self, LineRules};
use fieldrig_proto::modbus::tcp::{self, Found, Framer};
use fieldrig_proto::time::{Duration, Stamp, Time};
use tokio_modbus::{Request as TheirRequest, Response as TheirResponse};

const CONN: Conn = Conn(0);
/// Their clients begin with it, too.
const TRANSACTION: u16 = 0;

/// What our client made of an answer.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Response),
    Exception(u8),
    Refused(String),
}

/// A whole frame.
pub(crate) fn framed(framing: Framing, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match framing {
        Framing::Tcp => tcp::Adu::new(TRANSACTION, unit, pdu).encode(&mut out),
        Framing::Rtu => rtu::Adu::new(unit, pdu).encode(&mut out),
    }
    out
}

/// The first frame of a stream that ends behind it: unit and PDU.
pub(crate) fn cut(framing: Framing, bytes: &[u8]) -> Result<(u8, Vec<u8>), String> {
    match framing {
        Framing::Tcp => {
            let mut first = None;
            Framer::default().feed(bytes, |found| {
                first.get_or_insert_with(|| match found {
                    Found::Adu(adu) => Ok(adu.to_vec()),
                    Found::Lost(rest) => Err(format!("length is {:?}", tcp::View(rest).length())),
                });
            });
            let adu = first.ok_or("the ADU is not whole")??;
            let view = tcp::View(&adu);
            match (view.protocol(), view.unit()) {
                (Some(tcp::PROTOCOL), Some(unit)) => Ok((unit, view.pdu().to_vec())),
                (protocol, _) => Err(format!("protocol id is {protocol:?}")),
            }
        }
        Framing::Rtu => match (rtu::View(bytes).problem(), bytes.first()) {
            (None, Some(unit)) => Ok((*unit, rtu::View(bytes).pdu().to_vec())),
            (problem, _) => Err(problem.map_or_else(String::new, |problem| problem.to_string())),
        },
    }
}

/// Our strict client asks, gets this answer, and then the end of the stream. Gives what it sent, too.
pub(crate) fn ask(
    framing: Framing,
    unit: u8,
    request: Request,
    answer: impl FnOnce(&[u8]) -> Vec<u8>,
) -> (Vec<u8>, Outcome) {
    let config = match framing {
        Framing::Tcp => Config { transactions: Transactions::Sequential(TRANSACTION), ..Config::tcp() },
        Framing::Rtu => Config::rtu(LineRules::over_tcp()),
    };
    let mut client = Client::new(config);
    let mut sent = Vec::new();
    client.handle(Time::ZERO, Input::Opened(CONN, &Peer::default()));
    client.request(Time::ZERO, unit, request, Duration::from_secs(2)).expect("it may be asked");
    let mut out = Vec::new();
    while let Some(action) = client.poll_action(&mut out) {
        if let Action::Send { range, .. } = action {
            sent.extend_from_slice(&out[range]);
        }
    }
    let now = Time::ZERO + Duration::from_millis(1);
    client.handle(now, Input::Bytes(CONN, &answer(&sent), Stamps::One(Stamp::exact(now))));
    let pause = now + Duration::from_secs(1); // longer than the silence that ends a frame, shorter than the time-out
    while let Some(due) = client.poll_timeout().filter(|due| *due <= pause) {
        client.handle_timeout(due);
    }
    client.handle(pause, Input::Closed(CONN, Why::Finished));
    (sent, outcome(&mut client))
}

fn outcome(client: &mut Client) -> Outcome {
    let mut remarks = Vec::new();
    while let Some(event) = client.poll_event() {
        match event {
            ClientEvent::Answered(_, response) => return Outcome::Answer(response),
            ClientEvent::Exception(_, exception) => return Outcome::Exception(exception.code),
            ClientEvent::Malformed(_, problem) => return Outcome::Refused(problem),
            event => remarks.extend(event.remark().map(|(_, stray)| stray.reason.clone())),
        }
    }
    Outcome::Refused(format!("no answer came; {}", remarks.join("; ")))
}

/// What their request says, in our words; what they do not know they keep as it is, and so it is read by ours.
pub(crate) fn request_of(theirs: &TheirRequest<'_>) -> Request {
    match theirs {
        TheirRequest::ReadCoils(address, quantity) => Request::ReadCoils { address: *address, quantity: *quantity },
        TheirRequest::ReadDiscreteInputs(address, quantity) => {
            Request::ReadDiscreteInputs { address: *address, quantity: *quantity }
        }
        TheirRequest::ReadHoldingRegisters(address, quantity) => {
            Request::ReadHoldingRegisters { address: *address, quantity: *quantity }
        }
        TheirRequest::ReadInputRegisters(address, quantity) => {
            Request::ReadInputRegisters { address: *address, quantity: *quantity }
        }
        TheirRequest::WriteSingleCoil(address, on) => Request::WriteSingleCoil { address: *address, on: *on },
        TheirRequest::WriteSingleRegister(address, value) => {
            Request::WriteSingleRegister { address: *address, value: *value }
        }
        TheirRequest::WriteMultipleCoils(address, values) => {
            Request::WriteMultipleCoils { address: *address, values: values.to_vec() }
        }
        TheirRequest::WriteMultipleRegisters(address, values) => {
            Request::WriteMultipleRegisters { address: *address, values: values.to_vec() }
        }
        TheirRequest::ReportServerId => Request::ReportServerId,
        TheirRequest::MaskWriteRegister(address, and, or) => {
            Request::MaskWriteRegister { address: *address, and: *and, or: *or }
        }
        TheirRequest::ReadWriteMultipleRegisters(read_address, read_quantity, write_address, values) => {
            Request::ReadWriteMultipleRegisters {
                read_address: *read_address,
                read_quantity: *read_quantity,
                write_address: *write_address,
                values: values.to_vec(),
            }
        }
        TheirRequest::ReadDeviceIdentification(code, object) => {
            Request::ReadDeviceIdentification { code: code.value(), object: *object }
        }
        TheirRequest::Custom(function, data) => Request::Raw { function: *function, data: data.to_vec() },
    }
}

/// What their response says, in our words, as the answer to this.
pub(crate) fn response_of(request: &Request, theirs: &TheirResponse) -> Response {
    let registers = |function, values: &[u16]| Response::Registers { function, values: values.to_vec() };
    let written = |function, address, quantity| Response::Written { function, address, quantity };
    match theirs {
        TheirResponse::ReadCoils(values) => bits(request, f::READ_COILS, values),
        TheirResponse::ReadDiscreteInputs(values) => bits(request, f::READ_DISCRETE_INPUTS, values),
        TheirResponse::ReadHoldingRegisters(values) => registers(f::READ_HOLDING_REGISTERS, values),
        TheirResponse::ReadInputRegisters(values) => registers(f::READ_INPUT_REGISTERS, values),
        TheirResponse::ReadWriteMultipleRegisters(values) => registers(f::READ_WRITE_MULTIPLE_REGISTERS, values),
        TheirResponse::WriteSingleCoil(address, on) => Response::WriteSingleCoil { address: *address, on: *on },
        TheirResponse::WriteSingleRegister(address, value) => {
            Response::WriteSingleRegister { address: *address, value: *value }
        }
        TheirResponse::WriteMultipleCoils(address, quantity) => written(f::WRITE_MULTIPLE_COILS, *address, *quantity),
        TheirResponse::WriteMultipleRegisters(address, quantity) => {
            written(f::WRITE_MULTIPLE_REGISTERS, *address, *quantity)
        }
        TheirResponse::MaskWriteRegister(address, and, or) => {
            Response::MaskWriteRegister { address: *address, and: *and, or: *or }
        }
        TheirResponse::ReportServerId(id, running, more) => {
            Response::ServerId { data: [&[*id, if *running { 0xff } else { 0 }], &more[..]].concat() }
        }
        TheirResponse::ReadDeviceIdentification(said) => Response::DeviceIdentification(DeviceIdentification {
            code: said.read_code.value(),
            conformity: said.conformity_level.value(),
            more: said.more_follows,
            next: said.next_object_id,
            objects: said.device_id_objects.iter().map(|object| (object.id, object.value.to_vec())).collect(),
        }),
        TheirResponse::Custom(function, data) => Response::Raw { function: *function, data: data.to_vec() },
    }
}

/// They give eight bits for each byte.
fn bits(request: &Request, function: u8, values: &[bool]) -> Response {
    let asked = match request {
        Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. } => usize::from(*quantity),
        _ => values.len(),
    };
    Response::Bits { function, values: values[..asked.min(values.len())].to_vec() }
}

/// The PDU of a request or response that keeps to its fields.
pub(crate) fn pdu(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}
