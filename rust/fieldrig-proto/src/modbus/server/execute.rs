//! What a server does with a PDU: checks it in the order of the standard's state diagrams, does it, answers.
//!
//! The order (AP 6.x): is the function supported (01), are quantity, value and byte count right (03), are the
//! addresses there (02), did it work (04). Nothing is changed before all checks have passed.

use super::bank::{Bank, Table, Writer};
use super::diagnostics::Diagnosis;
use super::habits::Habits;
use super::special::Extras;
use crate::device::PointStore;
use crate::modbus::pdu::{
    Exception, Length, MAX_PDU, PduError, Request, Response, function as f, pack, put, request_length, word,
};
use std::collections::BTreeMap;

/// Not an exception code: there is no response at all.
const SILENT: u8 = 0;

/// A server without its framing.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) bank: Bank,
    pub(super) functions: Vec<u8>,
    pub(super) habits: Habits,
    pub(super) extras: Extras,
    pub(super) diagnosis: Diagnosis,
    /// What each register held when it was last read: only for the habit that tears values.
    seen: BTreeMap<(u8, usize), u16>,
    scratch: Vec<u16>,
}

/// An execution in progress: what it may touch besides the core.
pub(super) struct Scene<'a> {
    pub(super) store: &'a mut PointStore,
    pub(super) writer: Writer<'a>,
}

impl Core {
    pub(super) fn new(bank: Bank, functions: Vec<u8>, extras: Extras, diagnosis: Diagnosis) -> Core {
        let (habits, seen, scratch) = (Habits::default(), BTreeMap::new(), Vec::new());
        Core { bank, functions, habits, extras, diagnosis, seen, scratch }
    }

    /// Executes a request and appends the response PDU; false if there is none.
    pub(super) fn execute(&mut self, pdu: &[u8], scene: &mut Scene<'_>, out: &mut Vec<u8>) -> bool {
        let Some(&function) = pdu.first() else { return false };
        if !self.diagnosis.lets_through(pdu) {
            return false;
        }
        // What only listens does not even say that its restart was malformed (AP 6.8.1, 0004).
        let listens_only = self.diagnosis.listens_only;
        let start = out.len();
        let result = match self.repaired(pdu) {
            Some(repaired) => self.answer(&repaired, scene, out),
            None => self.answer(pdu, scene, out),
        };
        if let Err(code) = result {
            out.truncate(start);
            if code == SILENT {
                return false;
            }
            self.refuse(function, code, out);
        }
        !listens_only
    }

    pub(super) fn refuse(&self, function: u8, code: u8, out: &mut Vec<u8>) {
        let bit = if self.habits.exception_without_bit { 0 } else { f::EXCEPTION_BIT };
        out.extend_from_slice(&[function | bit, code]);
        if self.habits.exception_extra_byte {
            out.push(0);
        }
    }

    /// The PDU as a server would see it that fills up what is missing or overlooks what is too much.
    fn repaired(&self, pdu: &[u8]) -> Option<Vec<u8>> {
        match request_length(pdu) {
            Length::Known(length) if self.habits.answer_truncated && pdu.len() < length => {
                let mut whole = pdu.to_vec();
                whole.resize(length, 0);
                if word(&whole, 3) == 0
                    && let Some(last) = whole.get_mut(4)
                {
                    *last = 1;
                }
                Some(whole)
            }
            Length::Known(length) if self.habits.accept_long && pdu.len() > MAX_PDU => {
                Some(pdu[..length.min(pdu.len())].to_vec())
            }
            _ => None,
        }
    }

    fn answer(&mut self, pdu: &[u8], scene: &mut Scene<'_>, out: &mut Vec<u8>) -> Result<(), u8> {
        let function = pdu[0];
        if !self.functions.contains(&function) {
            return Err(self.unknown_function(pdu));
        }
        match function {
            f::READ_COILS => self.read_bits(pdu, Table::Coils, scene, out),
            f::READ_DISCRETE_INPUTS => self.read_bits(pdu, Table::DiscreteInputs, scene, out),
            f::READ_HOLDING_REGISTERS => self.read_registers(pdu, Table::HoldingRegisters, scene, out),
            f::READ_INPUT_REGISTERS => self.read_registers(pdu, Table::InputRegisters, scene, out),
            f::WRITE_SINGLE_COIL
            | f::WRITE_SINGLE_REGISTER
            | f::WRITE_MULTIPLE_COILS
            | f::WRITE_MULTIPLE_REGISTERS
            | f::MASK_WRITE_REGISTER
            | f::READ_WRITE_MULTIPLE_REGISTERS => self.write(pdu, scene, out),
            _ => self.special(pdu, out).and_then(|answered| if answered { Ok(()) } else { Err(SILENT) }),
        }
    }

    fn unknown_function(&self, pdu: &[u8]) -> u8 {
        let odd_data = pdu.len() != 5 || !(1..=125).contains(&word(pdu, 3));
        if self.habits.unknown_function_silent {
            SILENT
        } else if self.habits.judge_data_first && odd_data {
            Exception::ILLEGAL_DATA_VALUE
        } else {
            Exception::ILLEGAL_FUNCTION
        }
    }

    fn read_bits(&mut self, pdu: &[u8], table: Table, scene: &Scene<'_>, out: &mut Vec<u8>) -> Result<(), u8> {
        let (address, quantity) = self.read_range(pdu, table, self.habits.max_bits)?;
        self.fetch(table, address, quantity, scene.store)?;
        out.extend_from_slice(&[pdu[0], quantity.div_ceil(8) as u8]);
        pack(self.scratch.iter().map(|bit| *bit != 0), out);
        if self.habits.padding_bits
            && !quantity.is_multiple_of(8)
            && let Some(last) = out.last_mut()
        {
            *last |= 0xffu8 << (quantity % 8);
        }
        Ok(())
    }

    fn read_registers(&mut self, pdu: &[u8], table: Table, scene: &Scene<'_>, out: &mut Vec<u8>) -> Result<(), u8> {
        let (address, quantity) = self.read_range(pdu, table, self.habits.max_registers)?;
        self.fetch(table, address, quantity, scene.store)?;
        let swap_function = self.habits.inputs_answered_as_holding && pdu[0] == f::READ_INPUT_REGISTERS;
        out.push(if swap_function { f::READ_HOLDING_REGISTERS } else { pdu[0] });
        let delta = if pdu[0] == f::READ_HOLDING_REGISTERS { self.habits.byte_count_delta } else { 0 };
        // Only with the habit that lets it overflow are there more than 125.
        let count = (quantity * 2) as u8;
        out.push(i64::from(count).wrapping_add(delta) as u8);
        self.put_registers(usize::from(count) / 2, out);
        Ok(())
    }

    fn put_registers(&self, most: usize, out: &mut Vec<u8>) {
        for value in self.scratch.iter().take(most) {
            put(out, if self.habits.little_endian { value.swap_bytes() } else { *value });
        }
    }

    /// The checks of functions 01 to 04 (AP 6.1 to 6.4): length, quantity, addresses.
    fn read_range(&self, pdu: &[u8], table: Table, most: i64) -> Result<(usize, usize), u8> {
        if pdu.len() != 5 {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let (address, quantity) = (self.address(word(pdu, 1)), usize::from(word(pdu, 3)));
        if self.habits.judge_address_first && !self.bank.has(table, address) {
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        let overflows = self.habits.byte_count_overflow && !table.is_bits() && self.bank.has(table, address);
        let nothing = self.habits.accept_quantity_zero && quantity == 0 && self.bank.has(table, address);
        if !nothing && !(1..=most).contains(&(quantity as i64)) {
            let beyond = quantity as i64 > most;
            return if overflows && beyond { Ok((address, quantity)) } else { Err(Exception::ILLEGAL_DATA_VALUE) };
        }
        self.check_readable(table, address, quantity)?;
        Ok((address, quantity))
    }

    fn check_readable(&self, table: Table, address: usize, quantity: usize) -> Result<(), u8> {
        let end = address + quantity;
        let habits = &self.habits;
        let forgiven = (habits.end_off_by_one && quantity > 1 && self.bank.covers(table, address, quantity - 1))
            || (habits.wrap_addresses && end > 0x1_0000)
            || (habits.invent_missing && end <= 0x1_0000 && !self.bank.has(table, address));
        if habits.address_zero_missing && address == 0 && quantity == 1 {
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        if !forgiven && !self.bank.covers(table, address, quantity) {
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        self.check_failure(address, quantity)
    }

    /// The hook for internal failures.
    fn check_failure(&self, address: usize, quantity: usize) -> Result<(), u8> {
        let hit = self.habits.fail_at.and_then(|at| usize::try_from(at).ok());
        if hit.is_some_and(|at| (address..address + quantity).contains(&at)) {
            return Err(self.habits.failure_code as u8);
        }
        Ok(())
    }

    fn address(&self, wire: u16) -> usize {
        if self.habits.address_offset == 0 {
            return usize::from(wire);
        }
        usize::from(i64::from(wire).wrapping_add(self.habits.address_offset) as u16)
    }

    /// Reads into `scratch`. Beyond 0xFFFF (only with a habit) it goes on at 0.
    fn fetch(&mut self, table: Table, address: usize, quantity: usize, store: &PointStore) -> Result<(), u8> {
        self.scratch.clear();
        let first = quantity.min(0x1_0000usize.saturating_sub(address));
        self.bank.read(table, address, first, store, &mut self.scratch)?;
        self.bank.read(table, 0, quantity - first, store, &mut self.scratch)?;
        if self.habits.tear {
            for (index, value) in self.scratch.iter_mut().enumerate() {
                let before = self.seen.insert((table as u8, address + index), *value);
                if index % 2 == 1 {
                    *value = before.unwrap_or(*value);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, pdu: &[u8], scene: &mut Scene<'_>, out: &mut Vec<u8>) -> Result<(), u8> {
        let request = Request::parse(pdu).map_err(|error| value_code(&error))?;
        request.check().map_err(|error| value_code(&error))?;
        match &request {
            Request::WriteSingleCoil { address, on } => {
                self.store(Table::Coils, *address, &[u16::from(*on)], scene)?;
                out.extend_from_slice(&pdu[..5]);
            }
            Request::WriteSingleRegister { address, value } => {
                self.store(Table::HoldingRegisters, *address, &[*value], scene)?;
                out.extend_from_slice(&pdu[..5]);
            }
            Request::WriteMultipleCoils { address, values } => {
                let values: Vec<u16> = values.iter().map(|on| u16::from(*on)).collect();
                self.store(Table::Coils, *address, &values, scene)?;
                out.extend_from_slice(&pdu[..5]);
            }
            Request::WriteMultipleRegisters { address, values } => {
                self.store(Table::HoldingRegisters, *address, values, scene)?;
                out.extend_from_slice(&pdu[..5]);
            }
            Request::MaskWriteRegister { address, and, or } => {
                self.check_readable(Table::HoldingRegisters, self.address(*address), 1)?;
                self.fetch(Table::HoldingRegisters, self.address(*address), 1, scene.store)?;
                let now = self.scratch.first().copied().unwrap_or_default();
                self.store(Table::HoldingRegisters, *address, &[(now & and) | (or & !and)], scene)?;
                out.extend_from_slice(&pdu[..7]);
            }
            Request::ReadWriteMultipleRegisters { read_address, read_quantity, write_address, values } => {
                self.read_write((*read_address, *read_quantity), *write_address, values, scene, out)?;
            }
            // Only the functions of the tables that write come here.
            _ => return Err(Exception::ILLEGAL_FUNCTION),
        }
        Ok(())
    }

    /// 23 (0x17): both ranges are judged first, then the write happens before the read (AP 6.17).
    fn read_write(
        &mut self,
        read: (u16, u16),
        write_address: u16,
        values: &[u16],
        scene: &mut Scene<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), u8> {
        let (address, quantity) = (self.address(read.0), usize::from(read.1));
        self.check_readable(Table::HoldingRegisters, address, quantity)?;
        if self.habits.read_before_write {
            self.fetch(Table::HoldingRegisters, address, quantity, scene.store)?;
            self.store(Table::HoldingRegisters, write_address, values, scene)?;
        } else {
            self.store(Table::HoldingRegisters, write_address, values, scene)?;
            self.fetch(Table::HoldingRegisters, address, quantity, scene.store)?;
        }
        let values = self.scratch.clone();
        let little = self.habits.little_endian;
        let values = values.into_iter().map(|value| if little { value.swap_bytes() } else { value }).collect();
        Response::Registers { function: f::READ_WRITE_MULTIPLE_REGISTERS, values }.encode(out);
        Ok(())
    }

    fn store(&mut self, table: Table, address: u16, values: &[u16], scene: &mut Scene<'_>) -> Result<(), u8> {
        let address = self.address(address);
        let missing = self.habits.address_zero_missing && address == 0 && values.len() == 1;
        if missing || !self.bank.covers(table, address, values.len()) {
            if self.habits.write_before_check {
                let there = (0..values.len()).take_while(|index| self.bank.has(table, address + index)).count();
                self.bank.write(table, address, &values[..there], scene.store, scene.writer)?;
            }
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        self.check_failure(address, values.len())?;
        if self.habits.write_nothing {
            return Ok(());
        }
        self.bank.write(table, address, values, scene.store, scene.writer)
    }
}

/// Whatever is wrong with the data of a function that is supported is exception 03 (AP 6.x).
fn value_code(_error: &PduError) -> u8 {
    Exception::ILLEGAL_DATA_VALUE
}
