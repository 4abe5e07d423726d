//! What is asked and answered: right, and then spoilt.

use super::{Framing, ours};
use fieldrig_proto::modbus::pdu::{DeviceIdentification, Exception, Response, function as f};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::borrow::Cow;
use tokio_modbus::Request;
use tokio_modbus::prelude::ReadCode;

/// From here on no request allowed by its quantity ends beyond FFFF.
const LAST_ADDRESS: u16 = 0xf000;
/// Functions that tokio-modbus hands to its user as they are: those of AP 6 that it does not know, and others.
const RAW: [u8; 10] = [0x07, 0x08, 0x0b, 0x0c, 0x14, 0x15, 0x18, 0x41, 0x48, 0x64];

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) framing: Framing,
    pub(crate) unit: u8,
    pub(crate) request: Request<'static>,
    /// What the device has: registers, bits of registers, or bytes of them.
    pub(crate) values: Vec<u16>,
    pub(crate) kind: Kind,
    pub(crate) pdu: Vec<Spoilt>,
    pub(crate) frame: Vec<Spoilt>,
    /// The answer to somebody else comes first.
    pub(crate) stranger: bool,
}

/// What kind of answer it is, before anything is done to its bytes.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Kind {
    Right,
    Exception(u8),
    /// Consistent, but with so many items.
    Items(u16),
}

/// What is done to bytes.
#[derive(Clone, Debug)]
pub(crate) enum Spoilt {
    /// The one at this place, counted round the end, becomes another.
    Byte(usize, u8),
    /// From this place on they are gone.
    Cut(usize),
    More(Vec<u8>),
    Before(Vec<u8>),
    Instead(Vec<u8>),
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let framing = select(vec![Framing::Tcp, Framing::Rtu]);
    let pdu = prop_oneof![2 => Just(vec![]), 3 => vec(spoilt(), 1..3)];
    let kind = prop_oneof![
        8 => Just(Kind::Right),
        1 => any::<u8>().prop_map(Kind::Exception),
        1 => (0..=125u16).prop_map(Kind::Items),
    ];
    let frame = prop_oneof![3 => Just(vec![]), 1 => vec(spoilt(), 1)];
    let stranger = prop_oneof![9 => Just(false), 1 => Just(true)];
    let spoilt = (pdu, frame, stranger);
    (framing, 1..=247u8, request(), vec(any::<u16>(), 125), kind, spoilt).prop_map(
        |(framing, unit, request, values, kind, (pdu, frame, stranger))| Case {
            framing,
            unit,
            request,
            values,
            kind,
            pdu,
            frame,
            stranger,
        },
    )
}

fn spoilt() -> impl Strategy<Value = Spoilt> {
    let byte = || prop_oneof![select(vec![0, 1, 2, 3, 4, 0x0e, 0x7f, 0x80, 0x83, 0xff]), any::<u8>()];
    // The fields that everything else hangs on come first.
    let place = prop_oneof![0..8usize, any::<usize>()];
    prop_oneof![
        6 => (place, byte()).prop_map(|(at, byte)| Spoilt::Byte(at, byte)),
        2 => any::<usize>().prop_map(Spoilt::Cut),
        2 => vec(byte(), 1..6).prop_map(Spoilt::More),
        1 => vec(byte(), 1..4).prop_map(Spoilt::Before),
        1 => vec(byte(), 0..260).prop_map(Spoilt::Instead),
    ]
}

impl Spoilt {
    pub(crate) fn spoil(all: &[Spoilt], bytes: &mut Vec<u8>) {
        for one in all {
            match one {
                Spoilt::Byte(_, _) if bytes.is_empty() => {}
                Spoilt::Byte(at, byte) => {
                    let at = at % bytes.len();
                    bytes[at] = *byte;
                }
                Spoilt::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
                Spoilt::More(more) => bytes.extend_from_slice(more),
                Spoilt::Before(before) => *bytes = [before, &bytes[..]].concat(),
                Spoilt::Instead(instead) => bytes.clone_from(instead),
            }
        }
    }
}

/// A request that the standard allows.
fn request() -> impl Strategy<Value = Request<'static>> {
    let address = || 0..=LAST_ADDRESS;
    let registers = |most| vec(any::<u16>(), 1..=most);
    let code = select(vec![ReadCode::Basic, ReadCode::Regular, ReadCode::Extended, ReadCode::Specific]);
    prop_oneof![
        2 => (address(), 1..=2000u16).prop_map(|(address, count)| Request::ReadCoils(address, count)),
        2 => (address(), 1..=2000u16).prop_map(|(address, count)| Request::ReadDiscreteInputs(address, count)),
        2 => (address(), 1..=125u16).prop_map(|(address, count)| Request::ReadHoldingRegisters(address, count)),
        2 => (address(), 1..=125u16).prop_map(|(address, count)| Request::ReadInputRegisters(address, count)),
        2 => (address(), any::<bool>()).prop_map(|(address, on)| Request::WriteSingleCoil(address, on)),
        2 => (address(), any::<u16>()).prop_map(|(address, value)| Request::WriteSingleRegister(address, value)),
        4 => (address(), prop_oneof![vec(any::<bool>(), 1..=1968), vec(any::<bool>(), 1960..=1968)])
            .prop_map(|(address, values)| Request::WriteMultipleCoils(address, Cow::Owned(values))),
        2 => (address(), registers(123))
            .prop_map(|(address, values)| Request::WriteMultipleRegisters(address, Cow::Owned(values))),
        4 => Just(Request::ReportServerId),
        2 => (address(), any::<u16>(), any::<u16>())
            .prop_map(|(address, and, or)| Request::MaskWriteRegister(address, and, or)),
        2 => (address(), 1..=125u16, address(), registers(121)).prop_map(|(from, count, to, values)| {
            Request::ReadWriteMultipleRegisters(from, count, to, Cow::Owned(values))
        }),
        6 => (code, 0..=8u8).prop_map(|(code, object)| Request::ReadDeviceIdentification(code, object)),
        2 => (select(RAW.to_vec()), vec(any::<u8>(), 0..8)).prop_map(|(function, data)| raw_request(function, data)),
        2 => (0..4u8, 0..4usize).prop_map(|(field, which)| file_request(field, which)),
    ]
}

fn raw_request(function: u8, data: Vec<u8>) -> Request<'static> {
    Request::Custom(function, Cow::Owned(data))
}

/// Parts of files, with a field that is right only by chance.
fn file_request(field: u8, which: usize) -> Request<'static> {
    match which {
        0 => raw_request(f::READ_FILE_RECORD, vec![field]),
        1 => raw_request(f::READ_FILE_RECORD, vec![7, 3 + field, 0, 1, 0, 0, 0, 1]),
        2 => raw_request(f::WRITE_FILE_RECORD, vec![9, 6, 0, 1, 0, 0, 0, field, 0x5a, 0x5a]),
        _ => raw_request(f::WRITE_FILE_RECORD, vec![field, 6, 0, 1, 0, 0, 0, 1, 0x5a, 0x5a]),
    }
}

/// The answer to the case's request, before anything is done to its bytes.
fn answer(case: &Case) -> Response {
    if let Kind::Exception(code) = case.kind {
        return Response::Exception(Exception { function: ours::request_of(&case.request).function(), code });
    }
    let items = |asked: u16| if let Kind::Items(items) = case.kind { items } else { asked };
    let bytes: Vec<u8> = case.values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let bits = |count: u16| {
        (0..usize::from(count)).map(|at| bytes[at / 8 % bytes.len()] >> (at % 8) & 1 == 1).collect::<Vec<bool>>()
    };
    let registers =
        |function, count: u16| Response::Registers { function, values: case.values[..usize::from(count)].to_vec() };
    let written = |function, address: &u16, count: usize| Response::Written {
        function,
        address: *address,
        quantity: count as u16,
    };
    match &case.request {
        Request::ReadCoils(_, count) => Response::Bits { function: f::READ_COILS, values: bits(items(*count)) },
        Request::ReadDiscreteInputs(_, count) => {
            Response::Bits { function: f::READ_DISCRETE_INPUTS, values: bits(items(*count)) }
        }
        Request::ReadHoldingRegisters(_, count) => registers(f::READ_HOLDING_REGISTERS, items(*count)),
        Request::ReadInputRegisters(_, count) => registers(f::READ_INPUT_REGISTERS, items(*count)),
        Request::ReadWriteMultipleRegisters(_, count, ..) => registers(f::READ_WRITE_MULTIPLE_REGISTERS, items(*count)),
        Request::WriteSingleCoil(address, on) => Response::WriteSingleCoil { address: *address, on: *on },
        Request::WriteSingleRegister(address, value) => {
            Response::WriteSingleRegister { address: *address, value: *value }
        }
        Request::WriteMultipleCoils(address, values) => written(f::WRITE_MULTIPLE_COILS, address, values.len()),
        Request::WriteMultipleRegisters(address, values) => written(f::WRITE_MULTIPLE_REGISTERS, address, values.len()),
        Request::MaskWriteRegister(address, and, or) => {
            Response::MaskWriteRegister { address: *address, and: *and, or: *or }
        }
        Request::ReportServerId => {
            Response::ServerId { data: [&[7, 0xff], &bytes[..9]].concat()[..usize::from(items(11)) % 12].to_vec() }
        }
        Request::ReadDeviceIdentification(code, object) => identification(case, code.value(), *object, &bytes),
        Request::Custom(..) => raw(case, &bytes),
    }
}

/// One object if one was asked for, else two and more to come.
fn identification(case: &Case, code: u8, asked: u8, bytes: &[u8]) -> Response {
    let specific = code == ReadCode::Specific.value();
    let (one, object) = match case.kind {
        Kind::Items(items) if specific => (items % 2 == 1, asked + (items % 2) as u8),
        _ => (specific, asked),
    };
    let mut objects = vec![(object, bytes[..12].to_vec())];
    if !one {
        objects.push((object + 1, bytes[12..20].to_vec()));
    }
    let next = if one { 0 } else { object + 2 };
    Response::DeviceIdentification(DeviceIdentification { code, conformity: 0x82, more: !specific, next, objects })
}

/// What has a structure that framing goes by, has it.
fn raw(case: &Case, bytes: &[u8]) -> Response {
    let Request::Custom(function, asked) = &case.request else { unreachable!("only asked of raw ones") };
    let data = match *function {
        0x07 => bytes[..1].to_vec(),
        0x08 | 0x0b => bytes[..4].to_vec(),
        0x0c | 0x14 | 0x15 => [&[8], &bytes[..8]].concat(),
        0x18 => [&[0, 6, 0, 2], &bytes[..4]].concat(),
        _ => [&asked[..], &bytes[..6]].concat(),
    };
    Response::Raw { function: *function, data }
}

/// The request as it goes over the wire: right but for what was done to it.
pub(crate) fn asked(case: &Case) -> Vec<u8> {
    on_wire(case, ours::pdu(|out| ours::request_of(&case.request).encode(out)))
}

/// The answer as it goes over the wire.
pub(crate) fn answered(case: &Case) -> Vec<u8> {
    let frame = on_wire(case, ours::pdu(|out| answer(case).encode(out)));
    match (case.stranger, case.framing) {
        (false, _) => frame,
        (true, Framing::Tcp) => [&[0, 9, 0, 0, 0, 5, case.unit, 3, 2, 0x5a, 0x5a], &frame[..]].concat(),
        (true, Framing::Rtu) => [ours::framed(Framing::Rtu, case.unit % 247 + 1, &[3, 2, 0x5a, 0x5a]), frame].concat(),
    }
}

fn on_wire(case: &Case, mut pdu: Vec<u8>) -> Vec<u8> {
    Spoilt::spoil(&case.pdu, &mut pdu);
    let mut frame = ours::framed(case.framing, case.unit, &pdu);
    Spoilt::spoil(&case.frame, &mut frame);
    frame
}
