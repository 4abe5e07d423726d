//! Requests.

use super::{
    FileRange, FileRecord, MAX_PDU, MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_REGISTERS, MAX_WRITE_COILS,
    MAX_WRITE_REGISTERS, MEI_DEVICE_IDENTIFICATION, PduError, at_least, counted, diagnostics, exactly, file,
    function as f, identification, pack, put, sub_function, unpack, word, words,
};

/// A request. Coils and registers are numbered as on the wire: address 0 is the first (AP 4.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// 01 (0x01) Read Coils
    ReadCoils {
        /// First address.
        address: u16,
        /// How many.
        quantity: u16,
    },
    /// 02 (0x02) Read Discrete Inputs
    ReadDiscreteInputs {
        /// First address.
        address: u16,
        /// How many.
        quantity: u16,
    },
    /// 03 (0x03) Read Holding Registers
    ReadHoldingRegisters {
        /// First address.
        address: u16,
        /// How many.
        quantity: u16,
    },
    /// 04 (0x04) Read Input Registers
    ReadInputRegisters {
        /// First address.
        address: u16,
        /// How many.
        quantity: u16,
    },
    /// 05 (0x05) Write Single Coil
    WriteSingleCoil {
        /// Address.
        address: u16,
        /// FF00 on the wire if true, 0000 if not.
        on: bool,
    },
    /// 06 (0x06) Write Single Register
    WriteSingleRegister {
        /// Address.
        address: u16,
        /// Value.
        value: u16,
    },
    /// 07 (0x07) Read Exception Status
    ReadExceptionStatus,
    /// 08 (0x08) Diagnostics
    Diagnostics {
        /// Sub-function; see [`sub_function`].
        sub: u16,
        /// Words behind it.
        data: Vec<u16>,
    },
    /// 11 (0x0B) Get Comm Event Counter
    CommEventCounter,
    /// 12 (0x0C) Get Comm Event Log
    CommEventLog,
    /// 15 (0x0F) Write Multiple Coils
    WriteMultipleCoils {
        /// First address.
        address: u16,
        /// Values.
        values: Vec<bool>,
    },
    /// 16 (0x10) Write Multiple Registers
    WriteMultipleRegisters {
        /// First address.
        address: u16,
        /// Values.
        values: Vec<u16>,
    },
    /// 17 (0x11) Report Server ID
    ReportServerId,
    /// 20 (0x14) Read File Record
    ReadFileRecord {
        /// What is read, in this order.
        parts: Vec<FileRange>,
    },
    /// 21 (0x15) Write File Record
    WriteFileRecord {
        /// What is written.
        parts: Vec<FileRecord>,
    },
    /// 22 (0x16) Mask Write Register: value = (value AND and) OR (or AND NOT and)
    MaskWriteRegister {
        /// Address.
        address: u16,
        /// AND mask.
        and: u16,
        /// OR mask.
        or: u16,
    },
    /// 23 (0x17) Read/Write Multiple Registers: the write happens before the read
    ReadWriteMultipleRegisters {
        /// First address to read.
        read_address: u16,
        /// How many to read.
        read_quantity: u16,
        /// First address to write.
        write_address: u16,
        /// Values to write.
        values: Vec<u16>,
    },
    /// 24 (0x18) Read FIFO Queue
    ReadFifoQueue {
        /// Address of the queue's count.
        address: u16,
    },
    /// 43 / 14 (0x2B / 0x0E) Read Device Identification
    ReadDeviceIdentification {
        /// 1 basic, 2 regular, 3 extended, 4 one object.
        code: u8,
        /// The object to begin with, or the one asked for.
        object: u8,
    },
    /// 43 (0x2B) Encapsulated Interface Transport of another MEI type
    Encapsulated {
        /// MEI type; 13 is CANopen.
        mei: u8,
        /// What follows it.
        data: Vec<u8>,
    },
    /// Any function code and any data.
    Raw {
        /// Function code.
        function: u8,
        /// What follows it.
        data: Vec<u8>,
    },
}

impl Request {
    /// A request from the bytes of a PDU, sent as they are; an empty PDU becomes function 0 without data.
    #[must_use]
    pub fn raw(pdu: &[u8]) -> Request {
        let (function, data) = pdu.split_first().map_or((0, &[][..]), |(function, data)| (*function, data));
        Request::Raw { function, data: data.to_vec() }
    }

    /// Its function code.
    #[must_use]
    pub fn function(&self) -> u8 {
        match self {
            Request::ReadCoils { .. } => f::READ_COILS,
            Request::ReadDiscreteInputs { .. } => f::READ_DISCRETE_INPUTS,
            Request::ReadHoldingRegisters { .. } => f::READ_HOLDING_REGISTERS,
            Request::ReadInputRegisters { .. } => f::READ_INPUT_REGISTERS,
            Request::WriteSingleCoil { .. } => f::WRITE_SINGLE_COIL,
            Request::WriteSingleRegister { .. } => f::WRITE_SINGLE_REGISTER,
            Request::WriteMultipleCoils { .. } => f::WRITE_MULTIPLE_COILS,
            Request::WriteMultipleRegisters { .. } => f::WRITE_MULTIPLE_REGISTERS,
            Request::MaskWriteRegister { .. } => f::MASK_WRITE_REGISTER,
            Request::ReadWriteMultipleRegisters { .. } => f::READ_WRITE_MULTIPLE_REGISTERS,
            Request::ReadExceptionStatus => f::READ_EXCEPTION_STATUS,
            Request::Diagnostics { .. } => f::DIAGNOSTICS,
            Request::CommEventCounter => f::COMM_EVENT_COUNTER,
            Request::CommEventLog => f::COMM_EVENT_LOG,
            Request::ReportServerId => f::REPORT_SERVER_ID,
            Request::ReadFileRecord { .. } => f::READ_FILE_RECORD,
            Request::WriteFileRecord { .. } => f::WRITE_FILE_RECORD,
            Request::ReadFifoQueue { .. } => f::READ_FIFO_QUEUE,
            Request::ReadDeviceIdentification { .. } | Request::Encapsulated { .. } => f::ENCAPSULATED_INTERFACE,
            Request::Raw { function, .. } => *function,
        }
    }

    /// It writes and reads nothing back: what may be broadcast on a serial line (SL 2.1).
    #[must_use]
    pub fn is_plain_write(&self) -> bool {
        matches!(
            self.function(),
            f::WRITE_SINGLE_COIL
                | f::WRITE_SINGLE_REGISTER
                | f::WRITE_MULTIPLE_COILS
                | f::WRITE_MULTIPLE_REGISTERS
                | f::MASK_WRITE_REGISTER
                | f::WRITE_FILE_RECORD
        )
    }

    /// It gets an answer, if it is sent to one unit. Force Listen Only Mode never does (AP 6.8.1, 0004).
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, Request::Diagnostics { sub: sub_function::FORCE_LISTEN_ONLY, .. })
    }

    /// What it reads of a table: `"coils"`, `"discrete"`, `"holding"` or `"input"`, the first address, how many. `None` if
    /// it reads none of these.
    #[must_use]
    pub fn read(&self) -> Option<(&'static str, u16, u16)> {
        match self {
            Request::ReadCoils { address, quantity } => Some(("coils", *address, *quantity)),
            Request::ReadDiscreteInputs { address, quantity } => Some(("discrete", *address, *quantity)),
            Request::ReadInputRegisters { address, quantity } => Some(("input", *address, *quantity)),
            Request::ReadHoldingRegisters { address, quantity }
            | Request::ReadWriteMultipleRegisters { read_address: address, read_quantity: quantity, .. } => {
                Some(("holding", *address, *quantity))
            }
            _ => None,
        }
    }

    /// What it writes: `"coils"`, `"holding"` or, by number, `"files"`; the first address, how many. `None` if it writes
    /// nothing or nobody knows.
    #[must_use]
    pub fn written(&self) -> Option<(&'static str, u16, u16)> {
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        match self {
            Request::WriteSingleCoil { address, .. } => Some(("coils", *address, 1)),
            Request::WriteMultipleCoils { address, values } => Some(("coils", *address, count(values.len()))),
            Request::WriteSingleRegister { address, .. } | Request::MaskWriteRegister { address, .. } => {
                Some(("holding", *address, 1))
            }
            Request::WriteMultipleRegisters { address, values } => Some(("holding", *address, count(values.len()))),
            Request::ReadWriteMultipleRegisters { write_address, values, .. } => {
                Some(("holding", *write_address, count(values.len())))
            }
            Request::WriteFileRecord { parts } => {
                let first = parts.iter().map(|part| part.file).min()?;
                let last = parts.iter().map(|part| part.file).max()?;
                Some(("files", first, (last - first).saturating_add(1)))
            }
            _ => None,
        }
    }

    /// It can cause behaviour: everything but what only asks. What restarts, silences, clears or writes does, and so does
    /// what nobody knows; raw bytes are judged by what they say.
    #[must_use]
    pub fn is_stimulus(&self) -> bool {
        match self {
            Request::ReadCoils { .. }
            | Request::ReadDiscreteInputs { .. }
            | Request::ReadHoldingRegisters { .. }
            | Request::ReadInputRegisters { .. }
            | Request::ReadExceptionStatus
            | Request::CommEventCounter
            | Request::CommEventLog
            | Request::ReportServerId
            | Request::ReadFileRecord { .. }
            | Request::ReadFifoQueue { .. }
            | Request::ReadDeviceIdentification { .. } => false,
            Request::Diagnostics { sub, .. } => !diagnostics::only_asks(*sub),
            Request::Raw { function: f::READ_COILS..=f::READ_INPUT_REGISTERS, .. } => false,
            Request::Raw { function, data } => {
                let mut pdu = vec![*function];
                pdu.extend_from_slice(data);
                !matches!(Request::parse(&pdu), Ok(read) if !matches!(read, Request::Raw { .. }) && !read.is_stimulus())
            }
            _ => true,
        }
    }

    /// What it does to a device that nobody may do it to without being asked: `"restart"` (function 08, sub-function 1),
    /// `"silence"` (sub-function 4: it only listens), else `"write"`. For what is a stimulus.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Request::Diagnostics { sub: sub_function::RESTART_COMMUNICATIONS, .. } => "restart",
            Request::Diagnostics { sub: sub_function::FORCE_LISTEN_ONLY, .. } => "silence",
            Request::Raw { function: f::DIAGNOSTICS, data } => match word(data, 0) {
                sub_function::RESTART_COMMUNICATIONS if data.len() > 1 => "restart",
                sub_function::FORCE_LISTEN_ONLY if data.len() > 1 => "silence",
                _ => "write",
            },
            _ => "write",
        }
    }

    /// Appends the PDU. Counts are cut to their fields; what [`Request::check`] accepts is encoded without loss.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.function());
        match self {
            Request::ReadCoils { address, quantity }
            | Request::ReadDiscreteInputs { address, quantity }
            | Request::ReadHoldingRegisters { address, quantity }
            | Request::ReadInputRegisters { address, quantity } => {
                put(out, *address);
                put(out, *quantity);
            }
            Request::WriteSingleCoil { address, on } => {
                put(out, *address);
                put(out, if *on { 0xff00 } else { 0 });
            }
            Request::WriteSingleRegister { address, value } => {
                put(out, *address);
                put(out, *value);
            }
            Request::WriteMultipleCoils { address, values } => {
                put(out, *address);
                put(out, values.len() as u16);
                out.push(values.len().div_ceil(8) as u8);
                pack(values.iter().copied(), out);
            }
            Request::WriteMultipleRegisters { address, values } => put_registers(out, *address, values),
            Request::MaskWriteRegister { address, and, or } => {
                put(out, *address);
                put(out, *and);
                put(out, *or);
            }
            Request::ReadWriteMultipleRegisters { read_address, read_quantity, write_address, values } => {
                put(out, *read_address);
                put(out, *read_quantity);
                put_registers(out, *write_address, values);
            }
            Request::Diagnostics { sub, data } => diagnostics::encode(*sub, data, out),
            Request::ReadFileRecord { parts } => file::encode_read(parts, out),
            Request::WriteFileRecord { parts } => file::encode_written(parts, out),
            Request::ReadFifoQueue { address } => put(out, *address),
            Request::ReadDeviceIdentification { code, object } => {
                out.extend_from_slice(&[MEI_DEVICE_IDENTIFICATION, *code, *object]);
            }
            Request::Encapsulated { mei, data } => {
                out.push(*mei);
                out.extend_from_slice(data);
            }
            Request::Raw { data, .. } => out.extend_from_slice(data),
            Request::ReadExceptionStatus
            | Request::CommEventCounter
            | Request::CommEventLog
            | Request::ReportServerId => {}
        }
    }

    /// Reads a request PDU. Quantities are not judged: see [`Request::check`].
    ///
    /// # Errors
    /// An empty PDU; for a known function: too few or too many bytes, counts that disagree, a coil value that is none.
    pub fn parse(pdu: &[u8]) -> Result<Request, PduError> {
        let code = *pdu.first().ok_or(PduError::Empty)?;
        match code {
            f::READ_COILS..=f::WRITE_SINGLE_REGISTER => {
                exactly(pdu, 5)?;
                parse_pair(code, word(pdu, 1), word(pdu, 3))
            }
            f::WRITE_MULTIPLE_COILS => {
                at_least(pdu, 6)?;
                let quantity = word(pdu, 3);
                let bytes = counted_for(pdu, 5, quantity, usize::from(quantity).div_ceil(8))?;
                let values = unpack(bytes, usize::from(quantity));
                Ok(Request::WriteMultipleCoils { address: word(pdu, 1), values })
            }
            f::WRITE_MULTIPLE_REGISTERS => {
                at_least(pdu, 6)?;
                let bytes = counted_for(pdu, 5, word(pdu, 3), usize::from(word(pdu, 3)) * 2)?;
                Ok(Request::WriteMultipleRegisters { address: word(pdu, 1), values: words(bytes) })
            }
            f::MASK_WRITE_REGISTER => {
                exactly(pdu, 7)?;
                Ok(Request::MaskWriteRegister { address: word(pdu, 1), and: word(pdu, 3), or: word(pdu, 5) })
            }
            f::READ_WRITE_MULTIPLE_REGISTERS => {
                at_least(pdu, 10)?;
                let bytes = counted_for(pdu, 9, word(pdu, 7), usize::from(word(pdu, 7)) * 2)?;
                Ok(Request::ReadWriteMultipleRegisters {
                    read_address: word(pdu, 1),
                    read_quantity: word(pdu, 3),
                    write_address: word(pdu, 5),
                    values: words(bytes),
                })
            }
            f::READ_EXCEPTION_STATUS | f::COMM_EVENT_COUNTER | f::COMM_EVENT_LOG | f::REPORT_SERVER_ID => {
                exactly(pdu, 1)?;
                Ok(parse_bare(code))
            }
            f::DIAGNOSTICS => diagnostics::parse_request(pdu),
            f::READ_FILE_RECORD => file::parse_read(pdu),
            f::WRITE_FILE_RECORD => file::parse_written(pdu).map(|parts| Request::WriteFileRecord { parts }),
            f::READ_FIFO_QUEUE => {
                exactly(pdu, 3)?;
                Ok(Request::ReadFifoQueue { address: word(pdu, 1) })
            }
            f::ENCAPSULATED_INTERFACE => identification::parse_request(pdu),
            _ => Ok(Request::raw(pdu)),
        }
    }

    /// Says whether the standard allows to ask this: quantities, sub-functions' data and codes of the function (AP 6.x).
    /// `Raw` may be anything that fits into a PDU.
    ///
    /// # Errors
    /// A quantity outside the function's range; a raw PDU that is too long.
    pub fn check(&self) -> Result<(), PduError> {
        let function = self.function();
        let within = |what, quantity: usize, most: u16| {
            if (1..=usize::from(most)).contains(&quantity) {
                Ok(())
            } else {
                Err(PduError::Quantity { what, function, quantity, most })
            }
        };
        match self {
            Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. } => {
                within("the quantity", usize::from(*quantity), MAX_READ_BITS)
            }
            Request::ReadHoldingRegisters { quantity, .. } | Request::ReadInputRegisters { quantity, .. } => {
                within("the quantity", usize::from(*quantity), MAX_READ_REGISTERS)
            }
            Request::WriteMultipleCoils { values, .. } => within("the quantity", values.len(), MAX_WRITE_COILS),
            Request::WriteMultipleRegisters { values, .. } => within("the quantity", values.len(), MAX_WRITE_REGISTERS),
            Request::ReadWriteMultipleRegisters { read_quantity, values, .. } => {
                within("the read quantity", usize::from(*read_quantity), MAX_READ_REGISTERS)?;
                within("the write quantity", values.len(), MAX_READ_WRITE_REGISTERS)
            }
            Request::Raw { data, .. } if data.len() >= MAX_PDU => Err(PduError::TooLong { length: data.len() + 1 }),
            Request::Encapsulated { data, .. } if data.len() + 2 > MAX_PDU => {
                Err(PduError::TooLong { length: data.len() + 2 })
            }
            Request::Diagnostics { sub, data } => diagnostics::check(*sub, data),
            Request::ReadFileRecord { parts } => file::check_read(parts),
            Request::WriteFileRecord { parts } => file::check_write(parts),
            Request::ReadDeviceIdentification { code, .. } if !(1..=4).contains(code) => {
                let is = Some(u16::from(*code));
                Err(PduError::Value { what: "the code", offset: 2, is, allowed: "1 to 4" })
            }
            _ => Ok(()),
        }
    }

    /// Says whether the addresses asked for exist at all: the last one is at most 0xFFFF (AP 4.4); of files, the number is
    /// not 0 and the last record at most 0x270F (AP 6.14).
    ///
    /// # Errors
    /// A range that ends beyond 0xFFFF; a file or record that cannot be.
    pub fn check_addresses(&self) -> Result<(), PduError> {
        let fits = |address: u16, quantity: usize| {
            if usize::from(address) + quantity <= 0x1_0000 {
                Ok(())
            } else {
                Err(PduError::Wraps { address, quantity })
            }
        };
        match self {
            Request::ReadCoils { address, quantity }
            | Request::ReadDiscreteInputs { address, quantity }
            | Request::ReadHoldingRegisters { address, quantity }
            | Request::ReadInputRegisters { address, quantity } => fits(*address, usize::from(*quantity)),
            Request::WriteMultipleCoils { address, values } => fits(*address, values.len()),
            Request::WriteMultipleRegisters { address, values } => fits(*address, values.len()),
            Request::ReadWriteMultipleRegisters { read_address, read_quantity, write_address, values } => {
                fits(*read_address, usize::from(*read_quantity))?;
                fits(*write_address, values.len())
            }
            Request::ReadFileRecord { parts } => {
                parts.iter().try_for_each(|part| file::check_place(part.file, part.record, part.length.into()))
            }
            Request::WriteFileRecord { parts } => {
                parts.iter().try_for_each(|part| file::check_place(part.file, part.record, part.values.len()))
            }
            _ => Ok(()),
        }
    }
}

fn parse_pair(code: u8, address: u16, second: u16) -> Result<Request, PduError> {
    Ok(match code {
        f::READ_COILS => Request::ReadCoils { address, quantity: second },
        f::READ_DISCRETE_INPUTS => Request::ReadDiscreteInputs { address, quantity: second },
        f::READ_HOLDING_REGISTERS => Request::ReadHoldingRegisters { address, quantity: second },
        f::READ_INPUT_REGISTERS => Request::ReadInputRegisters { address, quantity: second },
        f::WRITE_SINGLE_COIL => match second {
            0xff00 => Request::WriteSingleCoil { address, on: true },
            0 => Request::WriteSingleCoil { address, on: false },
            value => return Err(PduError::CoilValue { offset: 3, value }),
        },
        _ => Request::WriteSingleRegister { address, value: second },
    })
}

fn counted_for(pdu: &[u8], offset: usize, quantity: u16, takes: usize) -> Result<&[u8], PduError> {
    let bytes = counted(pdu, offset)?;
    if bytes.len() != takes {
        return Err(PduError::ByteCountForQuantity { offset, says: pdu[offset], quantity, takes });
    }
    Ok(bytes)
}

/// Functions without any data.
fn parse_bare(code: u8) -> Request {
    match code {
        f::READ_EXCEPTION_STATUS => Request::ReadExceptionStatus,
        f::COMM_EVENT_COUNTER => Request::CommEventCounter,
        f::COMM_EVENT_LOG => Request::CommEventLog,
        _ => Request::ReportServerId,
    }
}

fn put_registers(out: &mut Vec<u8>, address: u16, values: &[u16]) {
    put(out, address);
    put(out, values.len() as u16);
    out.push((values.len() * 2) as u8);
    for value in values {
        put(out, *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(request: &Request) {
        let mut pdu = Vec::new();
        request.encode(&mut pdu);
        assert_eq!(Request::parse(&pdu).as_ref(), Ok(request));
        assert_eq!(super::super::request_length(&pdu), super::super::Length::Known(pdu.len()));
    }

    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        // The example tables of AP 6.1 to 6.17.
        for (hex, request) in [
            ("01 0013 0013", Request::ReadCoils { address: 19, quantity: 19 }),
            ("02 00c4 0016", Request::ReadDiscreteInputs { address: 196, quantity: 22 }),
            ("03 006b 0003", Request::ReadHoldingRegisters { address: 107, quantity: 3 }),
            ("04 0008 0001", Request::ReadInputRegisters { address: 8, quantity: 1 }),
            ("05 00ac ff00", Request::WriteSingleCoil { address: 172, on: true }),
            ("06 0001 0003", Request::WriteSingleRegister { address: 1, value: 3 }),
            (
                "0f 0013 000a 02 cd01",
                Request::WriteMultipleCoils {
                    address: 19,
                    values: [1, 0, 1, 1, 0, 0, 1, 1, 1, 0].map(|bit| bit == 1).to_vec(),
                },
            ),
            ("10 0001 0002 04 000a 0102", Request::WriteMultipleRegisters { address: 1, values: vec![10, 0x102] }),
            ("16 0004 00f2 0025", Request::MaskWriteRegister { address: 4, and: 0xf2, or: 0x25 }),
            (
                "17 0003 0006 000e 0003 06 00ff 00ff 00ff",
                Request::ReadWriteMultipleRegisters {
                    read_address: 3,
                    read_quantity: 6,
                    write_address: 14,
                    values: vec![255; 3],
                },
            ),
        ] {
            let mut pdu = Vec::new();
            request.encode(&mut pdu);
            assert_eq!(crate::dissect::hex(&pdu).replace(' ', ""), hex.replace(' ', ""));
            assert_eq!(request.check(), Ok(()));
            round_trip(&request);
        }
    }

    #[test]
    fn errors_name_place_found_and_expected() {
        let error = |bytes: &[u8]| Request::parse(bytes).expect_err("must be refused").to_string();
        assert_eq!(error(&[]), "the PDU is empty");
        assert_eq!(error(&[3, 0, 0, 0]), "the PDU has 4 bytes, function 0x03 needs 5");
        assert_eq!(error(&[3, 0, 0, 0, 1, 9, 9]), "2 bytes follow the end of function 0x03 at offset 5");
        assert_eq!(error(&[16, 0, 0, 0, 2, 6, 1, 2, 3, 4]), "byte count at offset 5 says 6, 4 bytes follow");
        assert_eq!(
            error(&[16, 0x80, 0, 0x80, 1, 2, 1, 2]),
            "byte count at offset 5 says 2, a quantity of 32769 takes 65538"
        );
        assert_eq!(error(&[5, 0, 0, 0, 1]), "coil value at offset 3 is 0x0001, only 0xff00 and 0x0000 are allowed");
    }

    #[test]
    fn quantities_are_limited_as_each_function_says() {
        let refused = |request: Request| request.check().is_err();
        for quantity in [0, 126, 0xffff] {
            assert!(refused(Request::ReadHoldingRegisters { address: 0, quantity }), "{quantity}");
        }
        for quantity in [0, 2001] {
            assert!(refused(Request::ReadCoils { address: 0, quantity }));
        }
        assert!(refused(Request::WriteMultipleRegisters { address: 0, values: vec![0; 124] }));
        assert!(refused(Request::WriteMultipleCoils { address: 0, values: vec![] }));
        assert!(refused(Request::Raw { function: 1, data: vec![0; 253] }));
        assert!(!refused(Request::Raw { function: 1, data: vec![0; 252] }));
        let largest = Request::ReadWriteMultipleRegisters {
            read_address: 0,
            read_quantity: 125,
            write_address: 0,
            values: vec![7; 121],
        };
        assert_eq!(largest.check(), Ok(()));
        round_trip(&largest);
        let beyond = Request::ReadHoldingRegisters { address: 0xffff, quantity: 2 };
        assert_eq!(beyond.check_addresses(), Err(PduError::Wraps { address: 0xffff, quantity: 2 }));
    }
}
