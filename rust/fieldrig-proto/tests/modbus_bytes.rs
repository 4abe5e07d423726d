//! Any bytes, and round trips: properties of the Modbus codecs.

#[path = "modbus/torture.rs"]
mod torture;

use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::Stamps;
use fieldrig_proto::modbus::pdu::{
    DeviceIdentification, Exception, FileRange, FileRecord, Length, Request, Response, request_length, response_length,
};
use fieldrig_proto::modbus::rtu::{self, Assembler, LineRules, Traffic};
use fieldrig_proto::modbus::tcp::{self, Found, Framer};
use fieldrig_proto::modbus::{dissect_rtu, dissect_tcp};
use fieldrig_proto::time::{Stamp, Time};
use proptest::prelude::*;
use torture::torture;

/// A request that the standard allows.
fn request() -> impl Strategy<Value = Request> {
    let registers = |most| prop::collection::vec(any::<u16>(), 1..=most);
    prop_oneof![
        (any::<u16>(), 1..=2000u16).prop_map(|(address, quantity)| Request::ReadCoils { address, quantity }),
        (any::<u16>(), 1..=2000u16).prop_map(|(address, quantity)| Request::ReadDiscreteInputs { address, quantity }),
        (any::<u16>(), 1..=125u16).prop_map(|(address, quantity)| Request::ReadHoldingRegisters { address, quantity }),
        (any::<u16>(), 1..=125u16).prop_map(|(address, quantity)| Request::ReadInputRegisters { address, quantity }),
        (any::<u16>(), any::<bool>()).prop_map(|(address, on)| Request::WriteSingleCoil { address, on }),
        (any::<u16>(), any::<u16>()).prop_map(|(address, value)| Request::WriteSingleRegister { address, value }),
        (any::<u16>(), prop::collection::vec(any::<bool>(), 1..=1968))
            .prop_map(|(address, values)| Request::WriteMultipleCoils { address, values }),
        (any::<u16>(), registers(123))
            .prop_map(|(address, values)| Request::WriteMultipleRegisters { address, values }),
        (any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(address, and, or)| Request::MaskWriteRegister {
            address,
            and,
            or
        }),
        (any::<u16>(), 1..=125u16, any::<u16>(), registers(121)).prop_map(
            |(read_address, read_quantity, write_address, values)| Request::ReadWriteMultipleRegisters {
                read_address,
                read_quantity,
                write_address,
                values,
            }
        ),
        special_request(),
    ]
}

/// One of the functions that touch none of the four tables.
fn special_request() -> impl Strategy<Value = Request> {
    let place = || (1..=u16::MAX, 0..0x2600u16);
    let range = (place(), 1..20u16).prop_map(|((file, record), length)| FileRange { file, record, length });
    let written = (place(), prop::collection::vec(any::<u16>(), 1..20))
        .prop_map(|((file, record), values)| FileRecord { file, record, values });
    prop_oneof![
        Just(Request::ReadExceptionStatus),
        Just(Request::CommEventCounter),
        Just(Request::CommEventLog),
        Just(Request::ReportServerId),
        any::<u16>().prop_map(|word| Request::Diagnostics { sub: 0, data: vec![word] }),
        prop::sample::select(vec![2, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20])
            .prop_map(|sub| Request::Diagnostics { sub, data: vec![0] }),
        prop::collection::vec(range, 1..=6).prop_map(|parts| Request::ReadFileRecord { parts }),
        prop::collection::vec(written, 1..=5).prop_map(|parts| Request::WriteFileRecord { parts }),
        any::<u16>().prop_map(|address| Request::ReadFifoQueue { address }),
        (1..=4u8, any::<u8>()).prop_map(|(code, object)| Request::ReadDeviceIdentification { code, object }),
    ]
}

/// The right answer to a request.
fn answer(request: &Request) -> Response {
    let function = request.function();
    match request {
        Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. } => {
            Response::Bits { function, values: (0..*quantity).map(|index| index % 3 == 0).collect() }
        }
        Request::ReadHoldingRegisters { quantity, .. }
        | Request::ReadInputRegisters { quantity, .. }
        | Request::ReadWriteMultipleRegisters { read_quantity: quantity, .. } => {
            Response::Registers { function, values: (0..*quantity).collect() }
        }
        Request::WriteSingleCoil { address, on } => Response::WriteSingleCoil { address: *address, on: *on },
        Request::WriteSingleRegister { address, value } => {
            Response::WriteSingleRegister { address: *address, value: *value }
        }
        Request::WriteMultipleCoils { address, values } => {
            Response::Written { function, address: *address, quantity: values.len() as u16 }
        }
        Request::WriteMultipleRegisters { address, values } => {
            Response::Written { function, address: *address, quantity: values.len() as u16 }
        }
        Request::MaskWriteRegister { address, and, or } => {
            Response::MaskWriteRegister { address: *address, and: *and, or: *or }
        }
        Request::Raw { data, .. } => Response::Raw { function, data: data.clone() },
        special => special_answer(special),
    }
}

fn special_answer(request: &Request) -> Response {
    match request {
        Request::ReadExceptionStatus => Response::ExceptionStatus(0x5a),
        Request::CommEventCounter => Response::CommEventCounter { status: 0, events: 7 },
        Request::CommEventLog => Response::CommEventLog { status: 0, events: 7, messages: 9, log: vec![0x80, 0x40] },
        Request::ReportServerId => Response::ServerId { data: vec![1, 0xff] },
        Request::Diagnostics { sub, data } => Response::Diagnostics { sub: *sub, data: data.clone() },
        Request::ReadFileRecord { parts } => {
            Response::FileRecords { parts: parts.iter().map(|part| vec![part.record; part.length.into()]).collect() }
        }
        Request::WriteFileRecord { parts } => Response::WriteFileRecord { parts: parts.clone() },
        Request::ReadFifoQueue { address } => Response::FifoQueue { values: vec![*address; 31] },
        Request::ReadDeviceIdentification { code, object } => {
            let (code, objects) = (*code, vec![(*object, b"a text".to_vec())]);
            Response::DeviceIdentification(DeviceIdentification {
                code,
                conformity: 0x83,
                more: false,
                next: 0,
                objects,
            })
        }
        Request::Encapsulated { mei, data } => Response::Encapsulated { mei: *mei, data: data.clone() },
        other => panic!("{other:?} has its answer elsewhere"),
    }
}

fn is_length(predicted: Length, is: usize) -> bool {
    matches!(predicted, Length::Known(length) | Length::Usually(length) if length == is)
}

fn pdu(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut pdu = Vec::new();
    encode(&mut pdu);
    pdu
}

/// Valid messages, cut, spliced and with single bits turned: they reach deeper than random bytes do.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let message = (request(), any::<bool>(), any::<u8>()).prop_map(|(request, is_tcp, unit)| {
        let pdu = pdu(|out| request.encode(out));
        let mut out = Vec::new();
        if is_tcp {
            tcp::Adu::new(u16::from(unit), unit, &pdu).encode(&mut out);
        } else {
            rtu::Adu::new(unit % 3, &pdu).encode(&mut out);
        }
        out
    });
    let turns = prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..4);
    (prop::collection::vec(message, 1..4), turns, any::<prop::sample::Index>()).prop_map(|(messages, turns, cut)| {
        let mut bytes = messages.concat();
        for (index, bit) in turns {
            let index = index.index(bytes.len());
            bytes[index] ^= 1 << bit;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        bytes
    })
}

proptest! {
    #[test]
    fn no_bytes_make_anything_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        torture(&bytes);
    }

    #[test]
    fn no_mutated_message_makes_anything_panic(bytes in mutated()) {
        torture(&bytes);
    }

    #[test]
    fn requests_come_back_as_they_were(request in request()) {
        let bytes = pdu(|out| request.encode(out));
        prop_assert_eq!(request.check(), Ok(()));
        prop_assert_eq!(Request::parse(&bytes), Ok(request.clone()));
        prop_assert!(is_length(request_length(&bytes), bytes.len()));
        let mut adu = Vec::new();
        tcp::Adu::new(7, 1, &bytes).encode(&mut adu);
        let dissection = dissect_tcp(&adu, Sender::Client);
        prop_assert!(dissection.fields.iter().all(|field| field.note.is_none() || request.check_addresses().is_err()));
    }

    #[test]
    fn the_right_answer_is_taken_and_another_is_not(request in request(), other in request()) {
        let right = answer(&request);
        let bytes = pdu(|out| right.encode(out));
        prop_assert_eq!(Response::answering(&request, &bytes), Ok(right));
        prop_assert!(is_length(response_length(&bytes), bytes.len()));
        if request.function() != other.function() {
            let foreign = pdu(|out| answer(&other).encode(out));
            prop_assert!(Response::answering(&request, &foreign).is_err());
        }
        let refused = pdu(|out| Exception { function: request.function(), code: 2 }.encode(out));
        prop_assert!(matches!(Response::answering(&request, &refused), Ok(Response::Exception(_))));
    }

    #[test]
    fn any_cut_of_a_stream_gives_the_same_adus(requests in prop::collection::vec(request(), 1..5), sizes in prop::collection::vec(1..40usize, 1..20)) {
        let adus: Vec<Vec<u8>> = requests.iter().enumerate().map(|(index, request)| {
            let mut adu = Vec::new();
            tcp::Adu::new(index as u16, 1, &pdu(|out| request.encode(out))).encode(&mut adu);
            adu
        }).collect();
        let stream = adus.concat();
        let mut framer = Framer::default();
        let mut found = Vec::new();
        let mut rest = &stream[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            framer.feed(piece, |adu| if let Found::Adu(adu) = adu { found.push(adu.to_vec()) });
            rest = more;
        }
        prop_assert_eq!(found, adus);
    }

    #[test]
    fn frames_on_a_line_are_found_by_their_length(requests in prop::collection::vec(request(), 1..4), size in 1..30usize) {
        let frames: Vec<Vec<u8>> = requests.iter().map(|request| {
            let mut frame = Vec::new();
            rtu::Adu::new(1, &pdu(|out| request.encode(out))).encode(&mut frame);
            frame
        }).collect();
        let rules = LineRules::over_tcp();
        let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
        for piece in frames.concat().chunks(size) {
            assembler.push(piece, Stamps::One(Stamp::exact(Time::ZERO)));
        }
        let found: Vec<Vec<u8>> = std::iter::from_fn(|| assembler.pop()).map(|frame| frame.bytes).collect();
        prop_assert_eq!(&found, &frames);
        for frame in &frames {
            let mut notes = dissect_rtu(frame, Sender::Client).fields.into_iter().filter_map(|field| field.note);
            prop_assert!(notes.all(|note| note.starts_with("ends beyond")));
        }
    }
}
