//! Which role may do what: the rule of Modbus/TCP Security, asked for every request.
//!
//! ```toml
//! roles.Operator = { functions = [3, 6], holding = [[0, 99], 200] }
//! roles.Engineer = "all"
//! roles."" = [3, 4]                  # the NULL role: nobody in particular
//! ```
//! Rules of this file (SEC R-21 to R-31):
//! - The role is the UTF8String of the one extension 1.3.6.1.4.1.50316.802.1 of the client's certificate. Without it,
//!   with two of them, or with another type, there is the NULL role, "". A comma is part of a role (R-65).
//! - There is no role that may do anything unless the rules say so, and none is built in (R-27, R-28).
//! - A request that is not allowed is answered with exception 01; the connection stays (R-31).
//! - A rule without functions is for all of them, one without tables for all addresses. One with tables is for requests
//!   that touch nothing else; functions that touch no table must then be named by another rule.
//! - What cannot be read is left to the server, which refuses it with another exception and touches nothing.

use super::answer::Ask;
use super::bank::Table;
use super::face::ServerFace;
use crate::certificate::{Certificate, utf8_string};
use crate::modbus::pdu::{function as f, word};
use crate::protocol::SettingError;
use crate::record::{Record, Value};
use crate::time::{Stamp, Time};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// 1.3.6.1.4.1.50316.802.1, as DER content (SEC R-22).
const ROLE: [u8; 11] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0x89, 0x0c, 0x86, 0x22, 0x01];

/// The role a certificate gives; "" is the NULL role.
#[must_use]
pub fn role_of(certificate: &Certificate) -> &str {
    match certificate.extensions(&ROLE)[..] {
        [one] => utf8_string(one).unwrap_or_default(),
        _ => "",
    }
}

/// What each role may do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roles(BTreeMap<String, Vec<Rule>>);

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Rule {
    /// `None`: all.
    functions: Option<Vec<u8>>,
    /// `None`: all addresses of all tables, and functions that touch none.
    ranges: Option<Vec<(Table, RangeInclusive<u16>)>>,
}

/// What of the tables a request touches: ends are beyond 0xFFFF where a request says so.
enum Touched {
    Nothing,
    Ranges(Vec<(Table, usize, usize)>),
    Unreadable,
}

impl Roles {
    /// Reads the rules.
    ///
    /// # Errors
    /// What is unknown or out of range, with its key.
    pub fn read(value: &Value) -> Result<Roles, SettingError> {
        let Value::Table(roles) = value else {
            return Err(error("roles", "it is not a table", "write roles = { Operator = [3, 4], Engineer = \"all\" }"));
        };
        let read = |(role, rules): &(String, Value)| {
            let key = format!("roles.{}", if role.is_empty() { "\"\"" } else { role });
            Ok((role.clone(), read_rules(&key, rules)?))
        };
        roles.iter().map(read).collect::<Result<_, _>>().map(Roles)
    }

    /// Whether a role may make this request.
    #[must_use]
    pub fn allow(&self, role: &str, pdu: &[u8]) -> bool {
        let Some(&function) = pdu.first() else { return false };
        let touched = touched(pdu);
        self.0.get(role).is_some_and(|rules| rules.iter().any(|rule| rule.allows(function, &touched)))
    }
}

impl Rule {
    fn allows(&self, function: u8, touched: &Touched) -> bool {
        if self.functions.as_ref().is_some_and(|functions| !functions.contains(&function)) {
            return false;
        }
        let Some(ranges) = &self.ranges else { return true };
        let within = |(table, first, last): &(Table, usize, usize)| {
            let holds = |(own, range): &(Table, RangeInclusive<u16>)| {
                own == table && usize::from(*range.start()) <= *first && *last <= usize::from(*range.end())
            };
            ranges.iter().any(holds)
        };
        match touched {
            Touched::Nothing => false,
            Touched::Ranges(touched) => touched.iter().all(within),
            Touched::Unreadable => true,
        }
    }
}

fn touched(pdu: &[u8]) -> Touched {
    let span = |table, at: usize, quantity: usize| {
        let first = usize::from(word(pdu, at));
        (table, first, first + quantity.saturating_sub(1))
    };
    let many = |table, at: usize| span(table, at, usize::from(word(pdu, at + 2)));
    let (needed, table) = match pdu.first() {
        Some(&(f::READ_COILS | f::WRITE_MULTIPLE_COILS)) => (5, Table::Coils),
        Some(&f::READ_DISCRETE_INPUTS) => (5, Table::DiscreteInputs),
        Some(&(f::READ_HOLDING_REGISTERS | f::WRITE_MULTIPLE_REGISTERS)) => (5, Table::HoldingRegisters),
        Some(&f::READ_INPUT_REGISTERS) => (5, Table::InputRegisters),
        Some(&f::WRITE_SINGLE_COIL) => (3, Table::Coils),
        // 24 (0x18) Read FIFO Queue: the address of its pointer, which is a register (AP 6.18).
        Some(&(f::WRITE_SINGLE_REGISTER | f::MASK_WRITE_REGISTER | 0x18)) => (3, Table::HoldingRegisters),
        Some(&f::READ_WRITE_MULTIPLE_REGISTERS) => (9, Table::HoldingRegisters),
        _ => return Touched::Nothing,
    };
    match needed {
        _ if pdu.len() < needed => Touched::Unreadable,
        3 => Touched::Ranges(vec![span(table, 1, 1)]),
        5 => Touched::Ranges(vec![many(table, 1)]),
        _ => Touched::Ranges(vec![many(table, 1), many(table, 5)]),
    }
}

impl ServerFace {
    /// Whether the rules forbid a request to who asks; if so, that is told.
    pub(super) fn forbids(&mut self, now: Time, ask: &Ask<'_>) -> bool {
        let Some(roles) = &self.roles else { return false };
        let connection = self.connections.iter().find(|connection| connection.conn == ask.conn);
        let role = connection.map_or("", |connection| connection.role.as_str());
        if roles.allow(role, ask.pdu) {
            return false;
        }
        let record = Record::new("modbus.role_refused").at(Stamp::exact(now)).conn(ask.conn).with("role", role);
        self.events.push_back(record.with("function", ask.pdu.first().copied().unwrap_or_default()));
        true
    }
}

fn read_rules(key: &str, value: &Value) -> Result<Vec<Rule>, SettingError> {
    match value {
        Value::Text(all) if all == "all" => Ok(vec![Rule::default()]),
        Value::Table(entries) => Ok(vec![read_rule(key, entries)?]),
        Value::List(items) if items.iter().all(|item| matches!(item, Value::Int(_))) => {
            Ok(vec![Rule { functions: Some(read_functions(key, value)?), ranges: None }])
        }
        Value::List(items) => {
            let read = |(index, item): (usize, &Value)| {
                let key = format!("{key}[{index}]");
                let Value::Table(entries) = item else {
                    return Err(error(key, "it is not a table of `functions` and tables", EXAMPLE));
                };
                read_rule(&key, entries)
            };
            items.iter().enumerate().map(read).collect()
        }
        _ => Err(error(key, "it is not \"all\", a list of functions, or a table", EXAMPLE)),
    }
}

const EXAMPLE: &str = "write \"all\", [3, 4], or { functions = [3, 6], holding = [[0, 99], 200] }";

fn read_rule(key: &str, entries: &[(String, Value)]) -> Result<Rule, SettingError> {
    let mut rule = Rule::default();
    for (name, value) in entries {
        let key = format!("{key}.{name}");
        if name == "functions" {
            rule.functions = Some(read_functions(&key, value)?);
        } else if let Some((_, table)) = Table::NAMES.iter().find(|(known, _)| known == name) {
            let ranges = read_ranges(&key, value)?;
            rule.ranges.get_or_insert_default().extend(ranges.into_iter().map(|range| (*table, range)));
        } else {
            let names: Vec<&str> = Table::NAMES.iter().map(|(name, _)| *name).collect();
            let hint = format!("there are functions, {}", names.join(", "));
            return Err(error(key, format!("unknown key `{name}`"), &hint));
        }
    }
    let tableless = |function: &&u8| matches!(touched(&[**function]), Touched::Nothing);
    let lost = rule.functions.iter().flatten().find(tableless).filter(|_| rule.ranges.is_some());
    match lost {
        None => Ok(rule),
        Some(function) => {
            let what =
                format!("function {function} touches none of the tables, so addresses in the same rule forbid it");
            let hint = format!(
                "name it in a rule of its own: [{{ functions = [3], holding = [0] }}, {{ functions = [{function}] }}]"
            );
            Err(error(format!("{key}.functions"), what, &hint))
        }
    }
}

fn read_functions(key: &str, value: &Value) -> Result<Vec<u8>, SettingError> {
    let problem = || error(key, "it is not a list of function codes, 1 to 127", EXAMPLE);
    let Value::List(items) = value else { return Err(problem()) };
    let code =
        |item: &Value| item.as_i64().and_then(|code| u8::try_from(code).ok()).filter(|code| (1..128).contains(code));
    items.iter().map(|item| code(item).ok_or_else(problem)).collect()
}

fn read_ranges(key: &str, value: &Value) -> Result<Vec<RangeInclusive<u16>>, SettingError> {
    let problem = || {
        let what = "it is not \"all\" or a list of addresses and [first, last], 0 to 65535";
        error(key, what, "write holding = \"all\", or holding = [[0, 99], 200]")
    };
    let address = |item: &Value| item.as_i64().and_then(|address| u16::try_from(address).ok());
    let read = |item: &Value| match item {
        Value::List(ends) => match &ends[..] {
            [first, last] => Some(address(first)?..=address(last)?).filter(|range| !range.is_empty()),
            _ => None,
        },
        other => address(other).map(|address| address..=address),
    };
    match value {
        Value::Text(all) if all == "all" => Ok(vec![0..=u16::MAX]),
        Value::List(items) => items.iter().map(|item| read(item).ok_or_else(problem)).collect(),
        _ => Err(problem()),
    }
}

fn error(key: impl Into<String>, problem: impl Into<String>, hint: &str) -> SettingError {
    SettingError { key: key.into(), problem: problem.into(), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Value {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn list(items: &[i64]) -> Value {
        Value::List(items.iter().copied().map(Value::Int).collect())
    }

    fn rules() -> Roles {
        let operator = table(&[
            ("functions", list(&[3, 6, 16, 23])),
            ("holding", Value::List(vec![list(&[0, 99]), Value::Int(200)])),
        ]);
        let value = table(&[
            ("Operator", operator),
            ("Engineer", "all".into()),
            ("a,b", list(&[4])),
            ("", list(&[43])),
            ("Reader", table(&[("input", "all".into())])),
        ]);
        Roles::read(&value).expect("rules")
    }

    #[test]
    fn a_role_may_do_what_its_rules_say_and_nothing_else() {
        let rules = rules();
        for (role, pdu, allowed) in [
            ("Operator", &[3, 0, 0, 0, 100][..], true),
            ("Operator", &[3, 0, 0, 0, 101], false),
            ("Operator", &[3, 0, 99, 0, 2], false),
            ("Operator", &[3, 0, 200, 0, 1], true),
            ("Operator", &[6, 0, 99, 1, 1], true),
            ("Operator", &[6, 0, 100, 1, 1], false),
            ("Operator", &[4, 0, 0, 0, 1], false),
            ("Operator", &[5, 0, 0, 0xff, 0], false),
            ("Operator", &[16, 0, 99, 0, 2, 4, 0, 0, 0, 0], false),
            ("Operator", &[23, 0, 0, 0, 1, 0, 100, 0, 1, 2, 0, 0], false),
            ("Operator", &[23, 0, 0, 0, 1, 0, 99, 0, 1, 2, 0, 0], true),
            // No wrap from 0xFFFF to 0.
            ("Operator", &[3, 0xff, 0xff, 0, 2], false),
            // A rule with tables is for requests that touch them.
            ("Operator", &[7], false),
            // Nothing can be touched by what is too short: the server refuses it itself.
            ("Operator", &[3, 0], true),
            ("Engineer", &[8, 0, 1, 0, 0], true),
            ("a,b", &[4, 0, 0, 0, 1], true),
            ("a", &[4, 0, 0, 0, 1], false),
            ("", &[43, 14, 1, 0], true),
            ("", &[3, 0, 0, 0, 1], false),
            ("Reader", &[4, 0xff, 0xff, 0, 1], true),
            ("Reader", &[3, 0, 0, 0, 1], false),
            ("operator", &[3, 0, 0, 0, 1], false),
        ] {
            assert_eq!(rules.allow(role, pdu), allowed, "{role} {pdu:?}");
        }
        assert!(!Roles::default().allow("", &[3, 0, 0, 0, 1]), "no role may do anything unless the rules say so");
    }

    #[test]
    fn rules_that_are_none_are_named() {
        for (value, key) in [
            (Value::Int(1), "roles"),
            (table(&[("Operator", Value::Int(3))]), "roles.Operator"),
            (table(&[("Operator", list(&[0]))]), "roles.Operator"),
            (table(&[("", table(&[("holdings", "all".into())]))]), "roles.\"\".holdings"),
            (table(&[("x", table(&[("holding", list(&[70_000]))]))]), "roles.x.holding"),
            (table(&[("x", table(&[("coils", Value::List(vec![list(&[5, 4])]))]))]), "roles.x.coils"),
            (table(&[("x", table(&[("functions", list(&[128]))]))]), "roles.x.functions"),
            (table(&[("x", table(&[("functions", list(&[3, 43])), ("holding", "all".into())]))]), "roles.x.functions"),
        ] {
            assert_eq!(Roles::read(&value).map_err(|error| error.key), Err(key.to_owned()));
        }
    }
}
