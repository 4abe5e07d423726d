//! A rule: when, schedule, what.

use super::super::bank::{Bank, Table as BankTable};
use super::Banks;
use super::effect::{Derived, Effects, Said};
use super::generator::Generator;
use super::keys::RULE;
use super::schedule::Schedule;
use super::when::{Asked, When};
use crate::modbus::map::{Encoding, encoding_of};
use crate::protocol::SettingError;
use crate::reader::{Field, Table};
use crate::record::Value;
use crate::time::{Duration, Time};

type Outcome<T> = Result<T, SettingError>;

/// Keys that say nothing about what is done.
const NOT_WHAT: [&str; 10] = ["name", "on", "when", "after", "every", "count", "p", "from", "until", "seed"];

/// A rule of a server.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) on: bool,
    /// How it was declared, for a reset.
    pub(super) declared_on: bool,
    pub(super) seed: u64,
    /// What it does, as it was written.
    pub(super) what: String,
    pub(super) schedule: Schedule,
    when: When,
    effects: Effects,
    source: Option<Source>,
}

/// Where values of a rule go.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Source {
    pub(super) to: Destination,
    /// One for all addresses, or one for each.
    pub(super) values: Vec<Generator>,
}

/// A point, or addresses of raw values.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Destination {
    Point(String),
    Raw { table: BankTable, addresses: Vec<u16>, encoding: Encoding },
}

/// What a rule says about a request that it struck.
#[derive(Debug)]
pub(super) struct Struck<'a> {
    pub(super) effects: Effects,
    pub(super) source: Option<&'a Source>,
}

impl Rule {
    /// Reads a rule. `name` and `seed` are those it gets if it says none.
    pub(super) fn read(field: Field<'_>, name: &str, seed: u64, banks: &Banks<'_>, derived: Derived) -> Outcome<Rule> {
        let value = field.value;
        let table = Table::read(field, RULE)?;
        let name = table.get("name", |field| field.text())?.unwrap_or(name).to_owned();
        if name.is_empty() {
            return Err(table.error("name", "it is empty"));
        }
        let seed =
            table.get("seed", |field| field.integer(0..=i64::MAX))?.map_or(mixed(seed, &name), |seed| seed as u64);
        let mut when = table.get("when", |field| When::read(field, banks))?.unwrap_or_default();
        let effects = Effects::read(&table, derived)?;
        let source = read_source(&table, &when, banks)?;
        if source.is_some() {
            when.prefer_reads();
        }
        let schedule = Schedule::read(&table, seed)?;
        let what = what_is_written(value);
        if what.is_empty() {
            let mut error = table.error("", format!("`{name}` does nothing"));
            error.hint = Some("say what it does: exception, delay, drop, value and so on".to_owned());
            return Err(error);
        }
        let on = table.get("on", |field| field.truth())?.unwrap_or(true);
        Ok(Rule { name, on, declared_on: on, seed, what, schedule, when, effects, source })
    }

    /// Counts a request that it is for and says what it does with it, if it strikes.
    pub(super) fn strike(&mut self, now: Time, running: Duration, asked: &Asked<'_>) -> Option<Struck<'_>> {
        if !self.on || !self.when.holds(asked) || !self.schedule.strikes(now, running) {
            return None;
        }
        let mut effects = self.effects.clone();
        if let Some(Said::Busy { times, code }) = effects.said {
            let nth = (self.schedule.struck() - 1) % times.saturating_add(1);
            effects.said = (nth < times).then_some(Said::Exception(code));
        }
        Some(Struck { effects, source: self.source.as_ref() })
    }

    /// Switches it; a rule that is switched on after it was off begins anew.
    pub(super) fn switch(&mut self, on: bool) {
        if on && !self.on {
            self.schedule.restart();
        }
        self.on = on;
    }
}

/// The seed of a rule: no two names of one device have the same.
fn mixed(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn what_is_written(rule: &Value) -> String {
    let Value::Table(entries) = rule else { return String::new() };
    let says = entries.iter().filter(|(key, _)| !NOT_WHAT.contains(&key.as_str()));
    let says: Vec<String> = says.map(|(key, value)| format!("{key} = {}", shortened(value))).collect();
    says.join(", ")
}

/// A value as text; of a long list the first items, and how many more there are.
fn shortened(value: &Value) -> String {
    const SHOWN: usize = 16;
    let joined = |values: &[Value]| values.iter().map(shortened).collect::<Vec<_>>().join(", ");
    match value {
        Value::List(values) if values.len() > SHOWN => {
            format!("[{}, and {} more]", joined(&values[..SHOWN]), values.len() - SHOWN)
        }
        Value::List(values) => format!("[{}]", joined(values)),
        Value::Table(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key} = {}", shortened(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn read_source(table: &Table<'_>, when: &When, banks: &Banks<'_>) -> Outcome<Option<Source>> {
    let Some(value) = table.field("value") else {
        let alone = ["type", "words", "registers"].into_iter().find(|key| table.field(key).is_some());
        return match alone {
            Some(key) => Err(table.error(key, format!("`{key}` belongs to `value`, which is missing"))),
            None => Ok(None),
        };
    };
    let values = value.items().iter().map(Generator::read).collect::<Outcome<Vec<_>>>()?;
    if values.is_empty() {
        return Err(value.error("there is no value"));
    }
    if let Some(point) = &when.point {
        if values.len() > 1 {
            return Err(value.error(format!("the point `{point}` holds one value, {} are given", values.len())));
        }
        return Ok(Some(Source { to: Destination::Point(point.clone()), values }));
    }
    let needs = "`value` needs to know where: give `when` a `point`, or a `table` and an `address`";
    let target = when.table_or_of_functions().ok_or_else(|| value.error(needs))?;
    if when.address.is_any() {
        return Err(value.error(needs));
    }
    let encoding = read_encoding(table, target)?;
    // A rule for every unit takes the addresses of the device's own; units that lack them stay as they are.
    let mut units = when.banks(banks).into_iter().take(if when.names_units() { usize::MAX } else { 1 });
    let mut addresses = None;
    units.try_for_each(|(unit, bank)| {
        let found = addresses_in(bank, when, encoding.registers, values.len(), target);
        let of = unit.map_or_else(String::new, |unit| format!("unit {unit}: "));
        addresses.get_or_insert(found.map_err(|problem| value.error(format!("{of}{problem}")))?);
        Ok(())
    })?;
    let addresses = addresses.ok_or_else(|| value.error("the device has no unit that this is for"))?;
    Ok(Some(Source { to: Destination::Raw { table: target, addresses, encoding }, values }))
}

fn read_encoding(table: &Table<'_>, target: BankTable) -> Outcome<Encoding> {
    let entry = |key: &str| table.field(key).map(|field| (key.to_owned(), field.value.clone()));
    let entries: Vec<(String, Value)> = ["type", "words", "registers"].into_iter().filter_map(entry).collect();
    let encoding = encoding_of(&table.error("", "").key, target, &Value::Table(entries))?;
    if encoding.registers == 0 {
        return Err(table.error("type", "`registers`, how many it takes, is missing"));
    }
    Ok(encoding)
}

/// Where values go: several to successive addresses from the first on, one to every address.
fn addresses_in(bank: &Bank, when: &When, width: usize, count: usize, table: BankTable) -> Result<Vec<u16>, String> {
    let all = when.address.ranges().iter().flat_map(|(low, high)| (*low..=*high).step_by(width));
    let addresses: Vec<u32> = match (count, when.address.ranges().first()) {
        (1, _) | (_, None) => all.collect(),
        (_, Some((first, _))) => (0..count as u32).map(|index| first + index * width as u32).collect(),
    };
    let raw = |address: u32| u16::try_from(address).ok().filter(|address| bank.raw(table, *address, width).is_some());
    let there = |address: &u32| {
        raw(*address).ok_or_else(|| {
            let mapped = bank.mappings().find(|mapping| mapping.table == table && mapping.covers(*address as usize));
            match mapped {
                Some(mapping) => {
                    let point = &mapping.point;
                    format!("address {address} belongs to the point `{point}`; write when = {{ point = \"{point}\" }}")
                }
                None => format!("there is no raw value at address {address} of this table to change"),
            }
        })
    };
    addresses.iter().map(there).collect()
}
