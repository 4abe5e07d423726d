//! Responses, and whether one answers a request.

use super::{
    DeviceIdentification, Exception, FileRecord, MAX_EVENTS, MAX_FIFO, PduError, Request, at_least, counted,
    diagnostics, exactly, file, function as f, identification, pack, put, unpack, word, words,
};

/// A response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// 01 (0x01) Read Coils, 02 (0x02) Read Discrete Inputs. Read from a PDU alone, it has eight bits for each byte;
    /// [`Response::answering`] leaves as many as were asked for.
    Bits {
        /// Function code.
        function: u8,
        /// Values.
        values: Vec<bool>,
    },
    /// 03 (0x03) Read Holding Registers, 04 (0x04) Read Input Registers, 23 (0x17) Read/Write Multiple Registers
    Registers {
        /// Function code.
        function: u8,
        /// Values.
        values: Vec<u16>,
    },
    /// 05 (0x05) Write Single Coil
    WriteSingleCoil {
        /// Address.
        address: u16,
        /// New value.
        on: bool,
    },
    /// 06 (0x06) Write Single Register
    WriteSingleRegister {
        /// Address.
        address: u16,
        /// New value.
        value: u16,
    },
    /// 07 (0x07) Read Exception Status
    ExceptionStatus(u8),
    /// 08 (0x08) Diagnostics
    Diagnostics {
        /// Sub-function.
        sub: u16,
        /// Words behind it.
        data: Vec<u16>,
    },
    /// 11 (0x0B) Get Comm Event Counter
    CommEventCounter {
        /// FFFF while a program command is still being done, else 0000.
        status: u16,
        /// Messages completed.
        events: u16,
    },
    /// 12 (0x0C) Get Comm Event Log
    CommEventLog {
        /// FFFF while a program command is still being done, else 0000.
        status: u16,
        /// Messages completed.
        events: u16,
        /// Messages on the line.
        messages: u16,
        /// Events, the newest first, 64 at most.
        log: Vec<u8>,
    },
    /// 17 (0x11) Report Server ID: the id, the run indicator and what else there is, as the device has them
    ServerId {
        /// What follows the byte count.
        data: Vec<u8>,
    },
    /// 20 (0x14) Read File Record
    FileRecords {
        /// What was read, one for each part asked for.
        parts: Vec<Vec<u16>>,
    },
    /// 21 (0x15) Write File Record
    WriteFileRecord {
        /// What was written.
        parts: Vec<FileRecord>,
    },
    /// 24 (0x18) Read FIFO Queue
    FifoQueue {
        /// What stands in the queue, 31 at most.
        values: Vec<u16>,
    },
    /// 43 / 14 (0x2B / 0x0E) Read Device Identification
    DeviceIdentification(DeviceIdentification),
    /// 43 (0x2B) Encapsulated Interface Transport of another MEI type
    Encapsulated {
        /// MEI type.
        mei: u8,
        /// What follows it.
        data: Vec<u8>,
    },
    /// 15 (0x0F) Write Multiple Coils, 16 (0x10) Write Multiple Registers
    Written {
        /// Function code.
        function: u8,
        /// First address.
        address: u16,
        /// How many.
        quantity: u16,
    },
    /// 22 (0x16) Mask Write Register
    MaskWriteRegister {
        /// Address.
        address: u16,
        /// AND mask.
        and: u16,
        /// OR mask.
        or: u16,
    },
    /// Function code with bit 7 set.
    Exception(Exception),
    /// Any other function code and any data.
    Raw {
        /// Function code.
        function: u8,
        /// What follows it.
        data: Vec<u8>,
    },
}

impl Response {
    /// Its function code, for exceptions that of the request.
    #[must_use]
    pub fn function(&self) -> u8 {
        match self {
            Response::Bits { function, .. }
            | Response::Registers { function, .. }
            | Response::Written { function, .. }
            | Response::Raw { function, .. } => *function,
            Response::WriteSingleCoil { .. } => f::WRITE_SINGLE_COIL,
            Response::WriteSingleRegister { .. } => f::WRITE_SINGLE_REGISTER,
            Response::MaskWriteRegister { .. } => f::MASK_WRITE_REGISTER,
            Response::ExceptionStatus(_) => f::READ_EXCEPTION_STATUS,
            Response::Diagnostics { .. } => f::DIAGNOSTICS,
            Response::CommEventCounter { .. } => f::COMM_EVENT_COUNTER,
            Response::CommEventLog { .. } => f::COMM_EVENT_LOG,
            Response::ServerId { .. } => f::REPORT_SERVER_ID,
            Response::FileRecords { .. } => f::READ_FILE_RECORD,
            Response::WriteFileRecord { .. } => f::WRITE_FILE_RECORD,
            Response::FifoQueue { .. } => f::READ_FIFO_QUEUE,
            Response::DeviceIdentification(_) | Response::Encapsulated { .. } => f::ENCAPSULATED_INTERFACE,
            Response::Exception(exception) => exception.function,
        }
    }

    /// Appends the PDU. Counts are cut to their fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Response::Exception(exception) => return exception.encode(out),
            other => out.push(other.function()),
        }
        match self {
            Response::Bits { values, .. } => {
                out.push(values.len().div_ceil(8) as u8);
                pack(values.iter().copied(), out);
            }
            Response::Registers { values, .. } => {
                out.push((values.len() * 2) as u8);
                values.iter().for_each(|value| put(out, *value));
            }
            Response::WriteSingleCoil { address, on } => {
                put(out, *address);
                put(out, if *on { 0xff00 } else { 0 });
            }
            Response::WriteSingleRegister { address, value: second }
            | Response::Written { address, quantity: second, .. } => {
                put(out, *address);
                put(out, *second);
            }
            Response::MaskWriteRegister { address, and, or } => {
                put(out, *address);
                put(out, *and);
                put(out, *or);
            }
            Response::ExceptionStatus(status) => out.push(*status),
            Response::Diagnostics { sub, data } => diagnostics::encode(*sub, data, out),
            Response::CommEventCounter { status, events } => {
                put(out, *status);
                put(out, *events);
            }
            Response::CommEventLog { status, events, messages, log } => {
                out.push((6 + log.len()) as u8);
                [status, events, messages].into_iter().for_each(|value| put(out, *value));
                out.extend_from_slice(log);
            }
            Response::ServerId { data } => {
                out.push(data.len() as u8);
                out.extend_from_slice(data);
            }
            Response::FileRecords { parts } => file::encode_records(parts, out),
            Response::WriteFileRecord { parts } => file::encode_written(parts, out),
            Response::FifoQueue { values } => {
                put(out, (2 + values.len() * 2) as u16);
                put(out, values.len() as u16);
                values.iter().for_each(|value| put(out, *value));
            }
            Response::DeviceIdentification(identification) => identification.encode(out),
            Response::Encapsulated { mei, data } => {
                out.push(*mei);
                out.extend_from_slice(data);
            }
            Response::Raw { data, .. } => out.extend_from_slice(data),
            Response::Exception(_) => {}
        }
    }

    /// Reads a response PDU.
    ///
    /// # Errors
    /// An empty PDU; for a known function or an exception: a length or count that is wrong, a coil value that is none.
    pub fn parse(pdu: &[u8]) -> Result<Response, PduError> {
        let function = *pdu.first().ok_or(PduError::Empty)?;
        if function & f::EXCEPTION_BIT != 0 {
            return Exception::parse(pdu).map(Response::Exception);
        }
        match function {
            f::READ_COILS | f::READ_DISCRETE_INPUTS => {
                let bytes = counted(pdu, 1)?;
                Ok(Response::Bits { function, values: unpack(bytes, bytes.len() * 8) })
            }
            f::READ_HOLDING_REGISTERS | f::READ_INPUT_REGISTERS | f::READ_WRITE_MULTIPLE_REGISTERS => {
                let bytes = counted(pdu, 1)?;
                if bytes.len() % 2 == 1 {
                    return Err(PduError::OddByteCount { offset: 1, says: pdu[1] });
                }
                Ok(Response::Registers { function, values: words(bytes) })
            }
            f::WRITE_SINGLE_COIL | f::WRITE_SINGLE_REGISTER | f::WRITE_MULTIPLE_COILS | f::WRITE_MULTIPLE_REGISTERS => {
                exactly(pdu, 5)?;
                parse_pair(function, word(pdu, 1), word(pdu, 3))
            }
            f::MASK_WRITE_REGISTER => {
                exactly(pdu, 7)?;
                Ok(Response::MaskWriteRegister { address: word(pdu, 1), and: word(pdu, 3), or: word(pdu, 5) })
            }
            _ => parse_special(pdu, function),
        }
    }

    /// Reads a response PDU as the answer to a request: function, amount of data and echoed fields must be the request's.
    /// Bits beyond the quantity asked for are dropped. A raw request takes any response of its function.
    ///
    /// # Errors
    /// Those of [`Response::parse`]; an answer to something else.
    pub fn answering(request: &Request, pdu: &[u8]) -> Result<Response, PduError> {
        let is = pdu.first().ok_or(PduError::Empty)? & !f::EXCEPTION_BIT;
        let asked = request.function();
        if is != asked & !f::EXCEPTION_BIT {
            return Err(PduError::Function { is: pdu[0], asked });
        }
        if let Request::Raw { .. } = request {
            return raw_answer(pdu);
        }
        let response = Response::parse(pdu)?;
        match (request, response) {
            (_, exception @ Response::Exception(_)) => Ok(exception),
            (
                Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. },
                Response::Bits { function, mut values },
            ) => {
                amount(values.len() / 8, *quantity, usize::from(*quantity).div_ceil(8))?;
                values.truncate(usize::from(*quantity));
                Ok(Response::Bits { function, values })
            }
            (
                Request::ReadHoldingRegisters { quantity, .. }
                | Request::ReadInputRegisters { quantity, .. }
                | Request::ReadWriteMultipleRegisters { read_quantity: quantity, .. },
                Response::Registers { function, values },
            ) => {
                amount(values.len() * 2, *quantity, usize::from(*quantity) * 2)?;
                Ok(Response::Registers { function, values })
            }
            (request, response) => {
                special_answers(request, &response)?;
                echo(request, pdu).map(|()| response)
            }
        }
    }
}

/// The functions that touch none of the four tables.
fn parse_special(pdu: &[u8], function: u8) -> Result<Response, PduError> {
    match function {
        f::READ_EXCEPTION_STATUS => {
            exactly(pdu, 2)?;
            Ok(Response::ExceptionStatus(pdu[1]))
        }
        f::DIAGNOSTICS => diagnostics::parse_response(pdu),
        f::COMM_EVENT_COUNTER => {
            exactly(pdu, 5)?;
            Ok(Response::CommEventCounter { status: word(pdu, 1), events: word(pdu, 3) })
        }
        f::COMM_EVENT_LOG => {
            let log = counted(pdu, 1)?.get(6..);
            let log = log.filter(|log| log.len() <= MAX_EVENTS).ok_or_else(|| {
                let is = Some(u16::from(pdu[1]));
                PduError::Value { what: "the byte count", offset: 1, is, allowed: "6 to 70" }
            })?;
            let (status, events, messages) = (word(pdu, 2), word(pdu, 4), word(pdu, 6));
            Ok(Response::CommEventLog { status, events, messages, log: log.to_vec() })
        }
        f::REPORT_SERVER_ID => Ok(Response::ServerId { data: counted(pdu, 1)?.to_vec() }),
        f::READ_FILE_RECORD => file::parse_records(pdu),
        f::WRITE_FILE_RECORD => file::parse_written(pdu).map(|parts| Response::WriteFileRecord { parts }),
        f::READ_FIFO_QUEUE => parse_fifo(pdu),
        f::ENCAPSULATED_INTERFACE => identification::parse_response(pdu),
        _ => Ok(Response::Raw { function, data: pdu[1..].to_vec() }),
    }
}

/// The byte count has 16 bits and counts the FIFO count as well; there are 31 registers at most (AP 6.18).
fn parse_fifo(pdu: &[u8]) -> Result<Response, PduError> {
    at_least(pdu, 5)?;
    let (bytes, count) = (usize::from(word(pdu, 1)), word(pdu, 3));
    if count > MAX_FIFO {
        return Err(PduError::Value { what: "the FIFO count", offset: 3, is: Some(count), allowed: "0 to 31" });
    }
    if bytes != pdu.len() - 3 {
        return Err(PduError::Count { what: "the byte count", offset: 1, says: bytes, is: pdu.len() - 3 });
    }
    if bytes != 2 + usize::from(count) * 2 {
        return Err(PduError::Count { what: "the byte count", offset: 1, says: bytes, is: 2 + usize::from(count) * 2 });
    }
    Ok(Response::FifoQueue { values: words(&pdu[5..]) })
}

/// What an answer of these functions must repeat or contain (AP 6.8, 6.14, 6.15, 6.19 to 6.21).
fn special_answers(request: &Request, response: &Response) -> Result<(), PduError> {
    match (request, response) {
        (Request::Diagnostics { sub, data }, Response::Diagnostics { sub: is, data: got }) => {
            diagnostics::answers((*sub, data), (*is, got))
        }
        (Request::ReadFileRecord { parts: asked }, Response::FileRecords { parts }) => file::answers(asked, parts),
        (Request::WriteFileRecord { parts: asked }, Response::WriteFileRecord { parts }) => same_parts(asked, parts),
        (Request::ReadDeviceIdentification { code, object }, Response::DeviceIdentification(identification)) => {
            identification.answers(*code, *object)
        }
        (Request::ReadDeviceIdentification { .. }, Response::Encapsulated { mei, .. }) => {
            mei_echo(identification::MEI_DEVICE_IDENTIFICATION, *mei)
        }
        (Request::Encapsulated { mei, .. }, Response::Encapsulated { mei: is, .. }) => mei_echo(*mei, *is),
        (Request::Encapsulated { mei, .. }, Response::DeviceIdentification(_)) => {
            mei_echo(*mei, identification::MEI_DEVICE_IDENTIFICATION)
        }
        _ => Ok(()),
    }
}

fn mei_echo(asked: u8, is: u8) -> Result<(), PduError> {
    let error = || PduError::Echo { field: "MEI type", offset: 1, is: is.into(), asked: asked.into() };
    if asked == is { Ok(()) } else { Err(error()) }
}

/// The answer of function 21 is its request again (AP 6.15).
fn same_parts(asked: &[FileRecord], is: &[FileRecord]) -> Result<(), PduError> {
    let mut pdus = [Vec::new(), Vec::new()];
    for (pdu, parts) in pdus.iter_mut().zip([asked, is]) {
        pdu.push(f::WRITE_FILE_RECORD);
        file::encode_written(parts, pdu);
    }
    let [asked, is] = pdus;
    let different = asked.iter().zip(&is).position(|(asked, is)| asked != is);
    match different {
        Some(at) => Err(PduError::Echo { field: "byte", offset: at, is: is[at].into(), asked: asked[at].into() }),
        None => Ok(()),
    }
}

/// What a raw request gets back: a reading where one is possible, else the bytes as they are.
fn raw_answer(pdu: &[u8]) -> Result<Response, PduError> {
    if pdu[0] & f::EXCEPTION_BIT != 0 {
        return Exception::parse(pdu).map(Response::Exception);
    }
    Ok(Response::parse(pdu).unwrap_or_else(|_| Response::Raw { function: pdu[0], data: pdu[1..].to_vec() }))
}

fn parse_pair(function: u8, address: u16, second: u16) -> Result<Response, PduError> {
    Ok(match (function, second) {
        (f::WRITE_SINGLE_COIL, 0 | 0xff00) => Response::WriteSingleCoil { address, on: second != 0 },
        (f::WRITE_SINGLE_COIL, value) => return Err(PduError::CoilValue { offset: 3, value }),
        (f::WRITE_SINGLE_REGISTER, value) => Response::WriteSingleRegister { address, value },
        (_, quantity) => Response::Written { function, address, quantity },
    })
}

fn amount(says: usize, quantity: u16, takes: usize) -> Result<(), PduError> {
    if says == takes { Ok(()) } else { Err(PduError::Amount { says, quantity, takes }) }
}

/// The answer of a write repeats the first fields of the request (AP 6.5, 6.6, 6.11, 6.12, 6.16).
fn echo(request: &Request, pdu: &[u8]) -> Result<(), PduError> {
    let fields: &[(&'static str, u16)] = match request {
        Request::WriteSingleCoil { address, on } => &[("address", *address), ("value", if *on { 0xff00 } else { 0 })],
        Request::WriteSingleRegister { address, value } => &[("address", *address), ("value", *value)],
        Request::WriteMultipleCoils { address, values } => &[("address", *address), ("quantity", values.len() as u16)],
        Request::WriteMultipleRegisters { address, values } => {
            &[("address", *address), ("quantity", values.len() as u16)]
        }
        Request::MaskWriteRegister { address, and, or } => {
            &[("address", *address), ("AND mask", *and), ("OR mask", *or)]
        }
        _ => &[],
    };
    for (index, (field, asked)) in fields.iter().enumerate() {
        let offset = 1 + 2 * index;
        let is = word(pdu, offset);
        if is != *asked {
            return Err(PduError::Echo { field, offset, is, asked: *asked });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        // The example tables of AP 6.1 to 6.17.
        let read = Request::ReadCoils { address: 19, quantity: 19 };
        let answer = Response::answering(&read, &[1, 3, 0xcd, 0x6b, 0x05]).expect("the standard's example");
        let Response::Bits { values, .. } = &answer else { panic!("bits, not {answer:?}") };
        assert_eq!(values.len(), 19);
        assert_eq!(values[..8], [true, false, true, true, false, false, true, true]);

        let read = Request::ReadHoldingRegisters { address: 107, quantity: 3 };
        let pdu = [3, 6, 0x02, 0x2b, 0, 0, 0, 0x64];
        let answer = Response::answering(&read, &pdu);
        assert_eq!(answer, Ok(Response::Registers { function: 3, values: vec![0x22b, 0, 100] }));

        for pdu in [&[0x0f, 0, 0x13, 0, 0x0a][..], &[0x10, 0, 1, 0, 2], &[0x16, 0, 4, 0, 0xf2, 0, 0x25], &[0x83, 2]] {
            let response = Response::parse(pdu).expect("the standard's example");
            let mut out = Vec::new();
            response.encode(&mut out);
            assert_eq!(out, pdu);
        }
    }

    #[test]
    fn an_answer_to_something_else_is_told_apart() {
        let read = Request::ReadHoldingRegisters { address: 0, quantity: 3 };
        let error = |request: &Request, pdu: &[u8]| Response::answering(request, pdu).expect_err("refused").to_string();
        assert_eq!(error(&read, &[4, 6, 0, 0, 0, 0, 0, 0]), "function at offset 0 is 0x04, 0x03 was asked");
        assert_eq!(error(&read, &[3, 6, 0, 0, 0, 0]), "byte count at offset 1 says 6, 4 bytes follow");
        assert_eq!(error(&read, &[3, 4, 0, 0, 0, 0]), "byte count at offset 1 says 4, the 3 items asked for take 6");
        assert_eq!(
            error(&read, &[3, 5, 0, 0, 0, 0, 0]),
            "byte count at offset 1 says 5: registers take two bytes each"
        );
        assert_eq!(error(&read, &[0x84, 2]), "function at offset 0 is 0x84, 0x03 was asked");
        assert_eq!(error(&read, &[0x83]), "the PDU has 1 bytes, function 0x83 needs 2");
        let write = Request::WriteSingleRegister { address: 1, value: 3 };
        assert_eq!(error(&write, &[6, 0, 1, 0, 4]), "value at offset 3 is 0x0004, 0x0003 was sent");
        let mask = Request::MaskWriteRegister { address: 4, and: 1, or: 2 };
        assert_eq!(error(&mask, &[0x16, 0, 5, 0, 1, 0, 2]), "address at offset 1 is 0x0005, 0x0004 was sent");
    }

    #[test]
    fn unknown_codes_are_kept() {
        let raw = Request::Raw { function: 0x41, data: vec![1] };
        let answer = Response::answering(&raw, &[0x41, 9, 9]);
        assert_eq!(answer, Ok(Response::Raw { function: 0x41, data: vec![9, 9] }));
        let answer = Response::answering(&raw, &[0xc1, 0x63]);
        assert_eq!(answer, Ok(Response::Exception(Exception { function: 0x41, code: 0x63 })));
    }
}
