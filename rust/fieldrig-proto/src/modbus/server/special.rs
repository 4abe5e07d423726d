//! The functions that touch none of the four tables: what they need to know, and which of them a server has.
//!
//! Functions 07, 08, 11, 12 and 17 are for serial lines only (AP 5.1): on TCP a server has them if it is told to. A server
//! has functions 20, 21, 24 and 43 if it has files, queues or an identification.

use super::diagnostics::Diagnosis;
use super::execute::Core;
use super::files::{Fifos, Files, read_fifo};
use super::identification::{Identification, report_server_id};
use super::{Bank, Transport};
use crate::modbus::pdu::{Exception, function as f};

/// Functions of the four tables.
pub(super) const OF_TABLES: [u8; 10] = [
    f::READ_COILS,
    f::READ_DISCRETE_INPUTS,
    f::READ_HOLDING_REGISTERS,
    f::READ_INPUT_REGISTERS,
    f::WRITE_SINGLE_COIL,
    f::WRITE_SINGLE_REGISTER,
    f::WRITE_MULTIPLE_COILS,
    f::WRITE_MULTIPLE_REGISTERS,
    f::MASK_WRITE_REGISTER,
    f::READ_WRITE_MULTIPLE_REGISTERS,
];

/// Functions of serial lines.
const OF_LINES: [u8; 5] =
    [f::READ_EXCEPTION_STATUS, f::DIAGNOSTICS, f::COMM_EVENT_COUNTER, f::COMM_EVENT_LOG, f::REPORT_SERVER_ID];

/// What a server holds besides its tables.
#[derive(Clone, PartialEq, Debug)]
pub struct Extras {
    /// Function 07.
    pub exception_status: u8,
    /// Function 08, sub-function 0002, when the device is switched on.
    pub diagnostic_register: u16,
    /// Function 17, without the run indicator.
    pub server_id: Vec<u8>,
    /// Functions 20 and 21.
    pub files: Files,
    /// Function 24.
    pub fifos: Fifos,
    /// Function 43/14.
    pub identification: Option<Identification>,
}

impl Default for Extras {
    fn default() -> Extras {
        Extras {
            exception_status: 0,
            diagnostic_register: 0,
            server_id: b"fieldrig".to_vec(),
            files: Files::default(),
            fifos: Fifos::new(),
            identification: None,
        }
    }
}

impl Extras {
    /// The functions that a server with these has unless it is told otherwise.
    #[must_use]
    pub fn functions(&self, transport: &Transport) -> Vec<u8> {
        let mut functions = OF_TABLES.to_vec();
        if *transport != Transport::Tcp {
            functions.extend_from_slice(&OF_LINES);
        }
        if !self.files.is_empty() {
            functions.extend_from_slice(&[f::READ_FILE_RECORD, f::WRITE_FILE_RECORD]);
        }
        if !self.fifos.is_empty() {
            functions.push(f::READ_FIFO_QUEUE);
        }
        if self.identification.is_some() {
            functions.push(f::ENCAPSULATED_INTERFACE);
        }
        functions
    }

    pub(super) fn diagnosis(&self, transport: &Transport) -> Diagnosis {
        let is_ascii = matches!(transport, Transport::Ascii(_));
        Diagnosis::new(self.exception_status, self.diagnostic_register, is_ascii)
    }
}

/// A further unit behind the same line or port.
#[derive(Clone, Debug)]
pub struct UnitConfig {
    /// Its unit id.
    pub unit: u8,
    /// Tables.
    pub bank: Bank,
    /// Function codes it knows.
    pub functions: Vec<u8>,
    /// What it holds besides.
    pub extras: Extras,
}

impl Core {
    /// Does one of these functions and appends its answer; false: there is none.
    ///
    /// # Errors
    /// The exception code.
    pub(super) fn special(&mut self, pdu: &[u8], out: &mut Vec<u8>) -> Result<bool, u8> {
        let extras = &mut self.extras;
        let response = match pdu[0] {
            f::READ_EXCEPTION_STATUS | f::COMM_EVENT_COUNTER | f::COMM_EVENT_LOG => self.diagnosis.report(pdu)?,
            f::DIAGNOSTICS => match self.diagnosis.diagnose(pdu)? {
                Some(response) => response,
                None => return Ok(false),
            },
            f::REPORT_SERVER_ID => report_server_id(&extras.server_id, pdu)?,
            f::READ_FILE_RECORD => extras.files.read(pdu)?,
            f::WRITE_FILE_RECORD => extras.files.write(pdu)?,
            f::READ_FIFO_QUEUE => read_fifo(&extras.fifos, pdu)?,
            f::ENCAPSULATED_INTERFACE => {
                extras.identification.as_ref().ok_or(Exception::ILLEGAL_FUNCTION)?.read(pdu)?
            }
            // A code that is listed as known and is not.
            _ => return Err(Exception::ILLEGAL_FUNCTION),
        };
        response.encode(out);
        Ok(true)
    }
}
