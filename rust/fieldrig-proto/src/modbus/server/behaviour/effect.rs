//! What a rule does to an answer.
//!
//! Rules of this file:
//! - An effect belongs to one group: what is said (`exception`, `busy`, `answer`, `drop`), its size (`short`, `long`), each
//!   field, its time (`delay`, `late`), its shape (`pieces`, `pace`), copies, the end (`close`, `reset`, `power_loss`).
//! - Of several rules that strike one request the last declared wins in each group; groups add up.
//! - They are applied in the order above: a field is changed in the answer that is said, pieces are cut of what results.

use super::keys::{BUSY, POWER_LOSS};
use crate::endpoint::How;
use crate::modbus::pdu::function as f;
use crate::protocol::SettingError;
use crate::reader::{Field, Table};
use crate::record::Value;
use crate::time::Duration;

type Outcome<T> = Result<T, SettingError>;

/// What becomes of one answer.
#[derive(Clone, PartialEq, Debug, Default)]
pub(in crate::modbus::server) struct Effects {
    pub(super) said: Option<Said>,
    pub(super) size: Option<Size>,
    pub(in crate::modbus::server) fields: Fields,
    pub(super) time: Option<Timing>,
    pub(super) shape: Option<Shape>,
    pub(super) copies: Option<u32>,
    pub(super) end: Option<End>,
}

/// What is said instead of the answer.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Said {
    /// This exception; nothing is done.
    Exception(u8),
    /// This exception so many times, then one answer.
    Busy { times: u64, code: u8 },
    /// This PDU; the request is done.
    Pdu(Vec<u8>),
    /// Nothing, and nothing is done.
    DropRequest,
    /// Nothing, though the request is done.
    DropAnswer,
}

/// How the end of the PDU departs from what it should be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Size {
    longer: bool,
    amount: usize,
    /// The amount counts registers, and the byte count goes with them.
    registers: bool,
}

/// Changes to fields of the answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::modbus::server) struct Fields {
    pub(in crate::modbus::server) function: Option<Patch>,
    pub(in crate::modbus::server) byte_count: Option<Patch>,
    pub(in crate::modbus::server) unit: Option<Patch>,
    pub(in crate::modbus::server) transaction: Option<Patch>,
    pub(in crate::modbus::server) protocol: Option<Patch>,
    pub(in crate::modbus::server) length: Option<Patch>,
    pub(in crate::modbus::server) checksum: Option<Patch>,
}

/// A change to one field.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::modbus::server) enum Patch {
    /// This value.
    Set(u16),
    /// So much more, modulo the width of the field.
    Add(u16),
    /// Surely another one.
    Spoil,
}

/// When an answer leaves, if not at once.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Timing {
    /// So much later, between two durations; what follows waits.
    Delay(Duration, Duration),
    /// So much later; what follows does not wait.
    Late(Duration),
    /// Just before the next request is answered.
    LateNext,
}

/// How an answer is cut up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Pieces of these sizes with a gap between.
    Pieces(Vec<usize>, Duration),
    /// Single bytes with a gap between.
    Pace(Duration),
}

/// An end of the connection, or of the power.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) at: At,
    pub(super) what: Ending,
}

/// What ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Connection(How),
    /// The power, for so long.
    Power(Duration),
}

/// When it ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// Before anything is done.
    Before,
    /// When the request is done, without an answer.
    Instead,
    /// When so many bytes of the answer have left.
    Bytes(usize),
    /// When half of the answer has left.
    Middle,
    /// When the answer has left.
    After,
}

/// Which fields a framing has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::modbus::server) enum Derived {
    /// Transaction id, protocol id, length.
    Header,
    /// CRC or LRC.
    Checksum,
}

/// Names of exceptions (AP 7) for `exception`.
const EXCEPTIONS: [(&str, u8); 10] = [
    ("illegal_function", 1),
    ("illegal_address", 2),
    ("illegal_value", 3),
    ("device_failure", 4),
    ("acknowledge", 5),
    ("busy", 6),
    ("negative_acknowledge", 7),
    ("memory_parity", 8),
    ("gateway_path", 10),
    ("gateway_target", 11),
];

const ATS: [(&str, At); 4] =
    [("before", At::Before), ("instead", At::Instead), ("middle", At::Middle), ("after", At::After)];

impl Effects {
    /// Reads the keys of effects.
    pub(super) fn read(table: &Table<'_>, derived: Derived) -> Outcome<Effects> {
        Ok(Effects {
            said: read_said(table)?,
            size: read_size(table)?,
            fields: Fields::read(table, derived)?,
            time: read_time(table)?,
            shape: read_shape(table)?,
            copies: table.get("duplicate", |field| read_copies(&field))?,
            end: read_end(table)?,
        })
    }

    /// Takes what another has to say about each group.
    pub(super) fn overlay(&mut self, over: &Effects) {
        fn take<T: Clone>(mine: &mut Option<T>, over: &Option<T>) {
            if over.is_some() {
                mine.clone_from(over);
            }
        }
        take(&mut self.said, &over.said);
        take(&mut self.size, &over.size);
        self.fields.overlay(&over.fields);
        take(&mut self.time, &over.time);
        take(&mut self.shape, &over.shape);
        take(&mut self.copies, &over.copies);
        take(&mut self.end, &over.end);
    }

    /// Changes a response PDU.
    pub(super) fn apply(&self, pdu: &mut Vec<u8>) {
        if let Some(size) = self.size {
            size.apply(pdu);
        }
        if let Some(patch) = self.fields.byte_count
            && counts_bytes(pdu)
        {
            pdu[1] = patch.byte(pdu[1]);
        }
        if let (Some(patch), Some(function)) = (self.fields.function, pdu.first_mut()) {
            *function = patch.byte(*function);
        }
    }
}

/// A response with a byte count in its second byte.
fn counts_bytes(pdu: &[u8]) -> bool {
    const COUNTED: [u8; 9] = [
        f::READ_COILS,
        f::READ_DISCRETE_INPUTS,
        f::READ_HOLDING_REGISTERS,
        f::READ_INPUT_REGISTERS,
        0x0c,
        0x11,
        0x14,
        0x15,
        f::READ_WRITE_MULTIPLE_REGISTERS,
    ];
    pdu.len() >= 2 && COUNTED.contains(&pdu[0])
}

impl Size {
    fn apply(self, pdu: &mut Vec<u8>) {
        if !self.registers {
            let length = if self.longer { pdu.len() + self.amount } else { pdu.len().saturating_sub(self.amount) };
            return pdu.resize(length, 0);
        }
        if !counts_bytes(pdu) {
            return;
        }
        let data = pdu.len() - 2;
        let length = if self.longer { data + 2 * self.amount } else { data.saturating_sub(2 * self.amount) };
        pdu.resize(2 + length, 0);
        // More than the byte can say stays modulo 256: the answer is wrong on purpose.
        pdu[1] = (usize::from(pdu[1]) + length).wrapping_sub(data) as u8;
    }
}

impl Fields {
    fn read(table: &Table<'_>, derived: Derived) -> Outcome<Fields> {
        for key in ["transaction", "protocol", "length"] {
            if derived == Derived::Checksum && table.field(key).is_some() {
                return Err(table.error(key, format!("frames on a line have no `{key}`; they have a `checksum`")));
            }
        }
        if derived == Derived::Header && table.field("checksum").is_some() {
            let problem = "ADUs on TCP and UDP have no checksum; they have `transaction`, `protocol` and `length`";
            return Err(table.error("checksum", problem));
        }
        let patch = |name: &str, most: u16| table.get(name, |field| Patch::read(&field, most));
        Ok(Fields {
            function: patch("function", 0xff)?,
            byte_count: patch("byte_count", 0xff)?,
            unit: patch("unit", 0xff)?,
            transaction: patch("transaction", 0xffff)?,
            protocol: patch("protocol", 0xffff)?,
            length: patch("length", 0xffff)?,
            checksum: patch("checksum", 0xffff)?,
        })
    }

    fn overlay(&mut self, over: &Fields) {
        self.function = over.function.or(self.function);
        self.byte_count = over.byte_count.or(self.byte_count);
        self.unit = over.unit.or(self.unit);
        self.transaction = over.transaction.or(self.transaction);
        self.protocol = over.protocol.or(self.protocol);
        self.length = over.length.or(self.length);
        self.checksum = over.checksum.or(self.checksum);
    }
}

impl Patch {
    fn read(field: &Field<'_>, most: u16) -> Outcome<Patch> {
        match field.value {
            Value::Bool(true) if field.key.ends_with(".checksum") => Ok(Patch::Spoil),
            Value::Text(text) if text.starts_with(['+', '-']) => {
                let difference: Option<i32> = text.parse().ok().filter(|by| (-0xffff..=0xffff).contains(by));
                let difference = difference.ok_or_else(|| field.must_be("a difference such as \"+1\" or \"-1\""))?;
                Ok(Patch::Add(difference as u16))
            }
            Value::Int(_) => Ok(Patch::Set(field.integer(0..=i64::from(most))? as u16)),
            _ => Err(field.must_be(&format!("a number from 0 to {most} or a difference such as \"+1\""))),
        }
    }

    /// What a field of 16 bits becomes.
    pub(in crate::modbus::server) fn word(self, value: u16) -> u16 {
        match self {
            Patch::Set(to) => to,
            Patch::Add(by) => value.wrapping_add(by),
            Patch::Spoil => value ^ 1,
        }
    }

    /// What a field of 8 bits becomes.
    pub(in crate::modbus::server) fn byte(self, value: u8) -> u8 {
        self.word(u16::from(value)) as u8
    }
}

/// Changes a field, if it is to be changed.
pub(in crate::modbus::server) trait Patched: Copy {
    fn patched(self, patch: Option<Patch>) -> Self;
}

impl Patched for u16 {
    fn patched(self, patch: Option<Patch>) -> u16 {
        patch.map_or(self, |patch| patch.word(self))
    }
}

impl Patched for u8 {
    fn patched(self, patch: Option<Patch>) -> u8 {
        patch.map_or(self, |patch| patch.byte(self))
    }
}

fn read_said(table: &Table<'_>) -> Outcome<Option<Said>> {
    let Some(kind) = table.one_of(&["exception", "busy", "answer", "drop"])? else { return Ok(None) };
    table.get(kind, |field| match kind {
        "exception" => read_exception(&field).map(Said::Exception),
        "busy" => read_busy(field),
        "answer" => field.octets().map(Said::Pdu),
        _ => match field.value {
            Value::Bool(true) => Ok(Said::DropAnswer),
            _ if field.word(&[("answer", true), ("request", false)])? => Ok(Said::DropAnswer),
            _ => Ok(Said::DropRequest),
        },
    })
}

fn read_exception(field: &Field<'_>) -> Outcome<u8> {
    match field.value {
        Value::Text(_) => field.word(&EXCEPTIONS),
        _ => Ok(field.integer(0..=255)? as u8),
    }
}

fn read_busy(field: Field<'_>) -> Outcome<Said> {
    if !matches!(field.value, Value::Table(_)) {
        return Ok(Said::Busy { times: field.integer(1..=i64::MAX)? as u64, code: 6 });
    }
    let table = Table::read(field, BUSY)?;
    let times = table.get("times", |field| field.integer(1..=i64::MAX))?;
    let times = times.ok_or_else(|| table.error("", "`times` is missing"))?;
    let code = table.get("code", |field| read_exception(&field))?.unwrap_or(6);
    Ok(Said::Busy { times: times as u64, code })
}

fn read_size(table: &Table<'_>) -> Outcome<Option<Size>> {
    let Some(kind) = table.one_of(&["short", "long"])? else { return Ok(None) };
    table.get(kind, |field| {
        let longer = kind == "long";
        let Value::Text(text) = field.value else {
            return Ok(Size { longer, amount: field.integer(1..=1000)? as usize, registers: false });
        };
        let wrong = || field.must_be("a number of bytes such as 3, or a text such as \"2 registers\"");
        let (amount, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let registers = match unit.trim() {
            "register" | "registers" => true,
            "byte" | "bytes" => false,
            _ => return Err(wrong()),
        };
        let amount = amount.parse().ok().filter(|amount| (1..=1000).contains(amount)).ok_or_else(wrong)?;
        Ok(Size { longer, amount, registers })
    })
}

fn read_time(table: &Table<'_>) -> Outcome<Option<Timing>> {
    match table.one_of(&["delay", "late"])? {
        Some("delay") => table.get("delay", |field| {
            if !matches!(field.value, Value::List(_)) {
                return field.duration().map(|delay| Timing::Delay(delay, delay));
            }
            let [low, high] = field.pair("durations")?;
            let (low, high) = (low.duration()?, high.duration()?);
            if low > high { Err(field.error("it begins above its end")) } else { Ok(Timing::Delay(low, high)) }
        }),
        Some(_) => table.get("late", |field| match field.value {
            Value::Text(text) if text == "next" => Ok(Timing::LateNext),
            _ => field.period().map(Timing::Late),
        }),
        None => Ok(None),
    }
}

fn read_shape(table: &Table<'_>) -> Outcome<Option<Shape>> {
    let kind = table.one_of(&["pieces", "pace"])?;
    if kind != Some("pieces") && table.field("gap").is_some() {
        return Err(table.error("gap", "it belongs to `pieces`, which is missing"));
    }
    match kind {
        Some("pieces") => {
            let sizes = table.get("pieces", |field| {
                let sizes = field
                    .list()?
                    .iter()
                    .map(|size| Ok(size.integer(1..=1000)? as usize))
                    .collect::<Outcome<Vec<_>>>()?;
                if sizes.is_empty() { Err(field.error("there is no piece")) } else { Ok(sizes) }
            })?;
            let gap = table.get("gap", |field| field.period())?;
            let gap = gap.ok_or_else(|| table.error("pieces", "`gap`, the silence between them, is missing"))?;
            Ok(sizes.map(|sizes| Shape::Pieces(sizes, gap)))
        }
        Some(_) => table.get("pace", |field| field.period().map(Shape::Pace)),
        None => Ok(None),
    }
}

fn read_copies(field: &Field<'_>) -> Outcome<u32> {
    match field.value {
        Value::Bool(true) => Ok(1),
        _ => Ok(field.integer(1..=100)? as u32),
    }
}

fn read_end(table: &Table<'_>) -> Outcome<Option<End>> {
    let Some(kind) = table.one_of(&["close", "reset", "power_loss"])? else { return Ok(None) };
    table.get(kind, |field| match kind {
        "close" => Ok(End { at: read_at(&field)?, what: Ending::Connection(How::Fin) }),
        "reset" => Ok(End { at: read_at(&field)?, what: Ending::Connection(How::Rst) }),
        _ if matches!(field.value, Value::Table(_)) => {
            let table = Table::read(field, POWER_LOSS)?;
            let off = table.get("off", |field| field.period())?;
            let off = off.ok_or_else(|| table.error("", "`off`, how long it is off, is missing"))?;
            let at = table.get("at", |field| read_at(&field))?.unwrap_or(At::Before);
            Ok(End { at, what: Ending::Power(off) })
        }
        _ => Ok(End { at: At::Before, what: Ending::Power(field.period()?) }),
    })
}

fn read_at(field: &Field<'_>) -> Outcome<At> {
    match field.value {
        Value::Int(_) => Ok(At::Bytes(field.integer(0..=1000)? as usize)),
        _ => field.word(&ATS),
    }
}
