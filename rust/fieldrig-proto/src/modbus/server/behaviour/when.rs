//! For which requests a rule is: `when`.
//!
//! Rules of this file:
//! - Every condition that is given must hold. `table`, `address`, `quantity` and `access` must hold for one and the same
//!   range that the request touches: function 23 touches two.
//! - Requests without a range (diagnostics, files, unknown functions) match conditions on function, unit and connection only.

use super::super::bank::{Bank, Table};
use super::Banks;
use super::keys::WHEN;
use crate::modbus::pdu::{function as f, word};
use crate::protocol::SettingError;
use crate::reader::{self, Field, did_you_mean};
use crate::record::Value;

type Outcome<T> = Result<T, SettingError>;

/// A set of numbers; `None` is every number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Numbers(Option<Vec<(u32, u32)>>);

impl Numbers {
    /// Reads a number, `"10-19"`, or a list of these.
    fn read(field: &Field<'_>, low: u32, high: u32) -> Outcome<Numbers> {
        let one = |item: &Field<'_>| -> Outcome<(u32, u32)> {
            if let Value::Int(_) = item.value {
                let number = item.integer(i64::from(low)..=i64::from(high))? as u32;
                return Ok((number, number));
            }
            let wrong = || item.must_be(&format!("a number from {low} to {high}, or a range such as \"{low}-{high}\""));
            let (from, to) = item.value.as_str().and_then(|text| text.split_once('-')).ok_or_else(wrong)?;
            match (from.trim().parse(), to.trim().parse()) {
                (Ok(from), Ok(to)) if low <= from && from <= to && to <= high => Ok((from, to)),
                _ => Err(wrong()),
            }
        };
        let ranges = field.items().iter().map(one).collect::<Outcome<Vec<_>>>()?;
        if ranges.is_empty() {
            Err(field.error("the list is empty: it would match nothing"))
        } else {
            Ok(Numbers(Some(ranges)))
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// The ranges, if it is not every number.
    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        self.0.as_deref().unwrap_or_default()
    }

    fn has(&self, number: u32) -> bool {
        self.overlaps(number, number)
    }

    fn overlaps(&self, first: u32, last: u32) -> bool {
        self.0.as_ref().is_none_or(|ranges| ranges.iter().any(|(low, high)| *low <= last && first <= *high))
    }
}

/// A condition on requests.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct When {
    function: Numbers,
    unit: Numbers,
    connection: Numbers,
    pub(super) table: Option<Table>,
    pub(super) address: Numbers,
    pub(super) point: Option<String>,
    quantity: Numbers,
    /// Only ranges that are written, or only those that are read.
    writes: Option<bool>,
}

/// A request, as far as conditions look at it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) unit: u8,
    pub(super) connection: u32,
    pub(super) pdu: &'a [u8],
}

impl When {
    /// Reads `when`; points are looked up in the maps of the units that it is for.
    pub(super) fn read(field: Field<'_>, banks: &Banks<'_>) -> Outcome<When> {
        let table = reader::Table::read(field, WHEN)?;
        let numbers = |name: &str, low, high| {
            table.get(name, |field| Numbers::read(&field, low, high)).map(Option::unwrap_or_default)
        };
        let mut when = When {
            function: numbers("function", 1, 255)?,
            unit: numbers("unit", 0, 255)?,
            connection: numbers("connection", 1, u32::MAX)?,
            table: table.get("table", |field| field.word(&Table::NAMES))?,
            address: numbers("address", 0, 0xffff)?,
            point: None,
            quantity: numbers("quantity", 0, 0xffff)?,
            writes: table.get("access", |field| field.word(&[("read", false), ("write", true)]))?,
        };
        if let Some(point) = table.field("point") {
            if table.field("table").is_some() || table.field("address").is_some() {
                return Err(point.error("`point` stands for `table` and `address`: they exclude each other"));
            }
            when.look_up(&point, banks)?;
        }
        Ok(when)
    }

    /// The tables of the units that it is for.
    pub(super) fn banks<'a>(&self, banks: &Banks<'a>) -> Vec<(Option<u8>, &'a Bank)> {
        banks.of(|unit| self.unit.has(u32::from(unit)))
    }

    /// It is not for every unit.
    pub(super) fn names_units(&self) -> bool {
        !self.unit.is_any()
    }

    fn look_up(&mut self, point: &Field<'_>, banks: &Banks<'_>) -> Outcome<()> {
        let name = point.text()?;
        let units = self.banks(banks);
        let all = || units.iter().flat_map(|(unit, bank)| bank.mappings().map(move |mapping| (*unit, mapping)));
        let Some((unit, mapping)) = all().find(|(_, mapping)| mapping.point == name) else {
            let mut error = point.error(format!("the map has no point `{name}`"));
            let known: Vec<&str> = all().map(|(_, mapping)| mapping.point.as_str()).collect();
            error.hint = did_you_mean(name, known.iter().copied());
            return Err(error);
        };
        if let Some(unit) = unit {
            // Another unit may have something else at its address.
            self.unit = Numbers(Some(vec![(u32::from(unit), u32::from(unit))]));
        }
        let width = mapping.width().max(1);
        let first = u32::from(mapping.address);
        self.point = Some(name.to_owned());
        self.table = Some(mapping.table);
        self.address = Numbers(Some(vec![(first, first + width as u32 - 1)]));
        Ok(())
    }

    /// The table it is about: the one that is named, or that of the only table its functions read.
    pub(super) fn table_or_of_functions(&self) -> Option<Table> {
        let of = |code: u32| u8::try_from(code).ok().and_then(read_table);
        let mut tables = self.function.ranges().iter().flat_map(|(low, high)| *low..=*high).map(of);
        self.table.or_else(|| {
            let first = tables.next().flatten()?;
            tables.all(|other| other == Some(first)).then_some(first)
        })
    }

    /// Narrows it to ranges that are read, unless function or access say something else.
    pub(super) fn prefer_reads(&mut self) {
        if self.function.is_any() && self.writes.is_none() {
            self.writes = Some(false);
        }
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, asked: &Asked<'_>) -> bool {
        let function = asked.pdu.first().copied().unwrap_or_default();
        let plain = self.function.has(u32::from(function))
            && self.unit.has(u32::from(asked.unit))
            && self.connection.has(asked.connection);
        let looks_at_ranges =
            self.table.is_some() || !self.address.is_any() || !self.quantity.is_any() || self.writes.is_some();
        plain && (!looks_at_ranges || ranges(asked.pdu).into_iter().flatten().any(|range| self.holds_for(range)))
    }

    fn holds_for(&self, range: Touched) -> bool {
        let first = u32::from(range.address);
        let last = first + u32::from(range.quantity.max(1)) - 1;
        self.table.is_none_or(|table| table == range.table)
            && self.address.overlaps(first, last)
            && self.quantity.has(u32::from(range.quantity))
            && self.writes.is_none_or(|writes| writes == range.written)
    }
}

/// Addresses that a request reads or writes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Touched {
    table: Table,
    address: u16,
    quantity: u16,
    written: bool,
}

/// The table that a function reads.
fn read_table(function: u8) -> Option<Table> {
    match function {
        f::READ_COILS => Some(Table::Coils),
        f::READ_DISCRETE_INPUTS => Some(Table::DiscreteInputs),
        f::READ_HOLDING_REGISTERS | f::READ_WRITE_MULTIPLE_REGISTERS => Some(Table::HoldingRegisters),
        f::READ_INPUT_REGISTERS => Some(Table::InputRegisters),
        _ => None,
    }
}

/// What a request touches (AP 6.1 to 6.18); fields that are missing count as 0.
fn ranges(pdu: &[u8]) -> [Option<Touched>; 2] {
    const FIFO: u8 = 0x18;
    let function = pdu.first().copied().unwrap_or_default();
    let touched =
        |table, at: usize, quantity, written| Some(Touched { table, address: word(pdu, at), quantity, written });
    let written = |table, quantity| [touched(table, 1, quantity, true), None];
    match function {
        f::WRITE_SINGLE_COIL => written(Table::Coils, 1),
        f::WRITE_SINGLE_REGISTER => written(Table::HoldingRegisters, 1),
        f::WRITE_MULTIPLE_COILS => written(Table::Coils, word(pdu, 3)),
        f::WRITE_MULTIPLE_REGISTERS => written(Table::HoldingRegisters, word(pdu, 3)),
        f::MASK_WRITE_REGISTER => {
            let table = Table::HoldingRegisters;
            [touched(table, 1, 1, false), touched(table, 1, 1, true)]
        }
        f::READ_WRITE_MULTIPLE_REGISTERS => {
            let table = Table::HoldingRegisters;
            [touched(table, 1, word(pdu, 3), false), touched(table, 5, word(pdu, 7), true)]
        }
        FIFO => [touched(Table::HoldingRegisters, 1, 1, false), None],
        _ => [read_table(function).and_then(|table| touched(table, 1, word(pdu, 3), false)), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::map::{Encoding, Mapping, PointType};

    fn when(entries: &[(&str, Value)]) -> Result<When, (String, String, Option<String>)> {
        let mut bank = Bank::default();
        let encoding = Encoding::plain(PointType::U32);
        let mapping = Mapping::new("energy", Table::InputRegisters, 20, encoding);
        bank.map(mapping).expect("room");
        let value = Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect());
        let banks = Banks { own: (None, &bank), others: Vec::new() };
        let read = When::read(Field { key: "rule.0.when".to_owned(), value: &value }, &banks);
        read.map_err(|error| (error.key, error.problem, error.hint))
    }

    fn holds(entries: &[(&str, Value)], pdu: &[u8]) -> bool {
        when(entries).expect("a condition").holds(&Asked { unit: 3, connection: 2, pdu })
    }

    #[test]
    fn each_condition_looks_at_what_its_name_says() {
        let read = [3, 0, 10, 0, 4];
        for (key, yes, no) in [
            ("function", Value::Int(3), Value::Int(4)),
            ("unit", "1-3".into(), "4-9".into()),
            ("connection", Value::Int(2), Value::Int(1)),
            ("table", "holding".into(), "input".into()),
            ("address", Value::Int(13), Value::Int(14)),
            ("address", "0-10".into(), "0-9".into()),
            ("address", Value::List(vec![Value::Int(1), "12-20".into()]), Value::List(vec![Value::Int(1)])),
            ("quantity", "4-125".into(), "5-125".into()),
            ("access", "read".into(), "write".into()),
        ] {
            assert!(holds(&[(key, yes)], &read), "{key}");
            assert!(!holds(&[(key, no)], &read), "{key}");
        }
        assert!(holds(&[], &[0x41]) && holds(&[("function", Value::Int(0x41))], &[0x41]));
        assert!(!holds(&[("address", "0-65535".into())], &[0x41]));
    }

    #[test]
    fn conditions_on_a_range_hold_for_one_range() {
        // Reads 10 to 11, writes 50.
        let both = [23, 0, 10, 0, 2, 0, 50, 0, 1, 2, 0, 0];
        assert!(holds(&[("address", Value::Int(50)), ("access", "write".into())], &both));
        assert!(!holds(&[("address", Value::Int(10)), ("access", "write".into())], &both));
        assert!(!holds(&[("address", Value::Int(50)), ("quantity", Value::Int(2))], &both));
        assert!(holds(&[("access", "write".into())], &[22, 0, 4, 0, 0, 0, 0]));
    }

    #[test]
    fn a_point_stands_for_its_addresses() {
        for (address, yes) in [(19, false), (20, true), (21, true), (22, false)] {
            assert_eq!(holds(&[("point", "energy".into())], &[4, 0, address, 0, 1]), yes);
        }
        let hint = Some("did you mean `energy`?".to_owned());
        let problem = "the map has no point `enregy`".to_owned();
        assert_eq!(when(&[("point", "enregy".into())]), Err(("rule.0.when.point".to_owned(), problem, hint)));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (key, value, problem) in [
            ("unit", Value::Int(256), "it must be an integer from 0 to 255, not 256"),
            ("unit", "9-1".into(), "it must be a number from 0 to 255, or a range such as \"0-255\", not \"9-1\""),
            ("address", Value::List(vec![]), "the list is empty: it would match nothing"),
        ] {
            let told = when(&[(key, value)]).map_err(|(key, problem, _)| (key, problem));
            assert_eq!(told, Err((format!("rule.0.when.{key}"), problem.to_owned())));
        }
    }
}
