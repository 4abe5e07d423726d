//! Rules: how an emulated server behaves per request and per address, apart from the standard.
//!
//! ```text
//!   when      function, unit, table, address, point, quantity, access, connection     when
//!   schedule  after, every, count, p, from, until                                     schedule
//!   what      value, exception, delay, short, transaction, pieces, close, ..          effect, generator
//! ```
//!
//! Rules of this file:
//! - Every rule that matches a request and whose schedule strikes applies, in declared order; what several say about the
//!   same thing is decided by the last of them (`effect.rs` lists the groups). Rules added later come last, and so win.
//! - Rules belong to the test, not to the device: they and their counts outlive a loss of power. `from`, `until` and
//!   sources of values count from the instant the device runs.
//! - Each application is a record `modbus.rule` with name, count, what it does, and the request.
//! - A device without rules pays one comparison for each request.

mod apply;
mod effect;
mod generator;
pub(super) mod keys;
mod rule;
mod schedule;
mod when;

pub(super) use apply::Held;
pub(super) use effect::{Derived, Fields, Patched};

use super::bank::Bank;
use crate::protocol::SettingError;
use crate::reader::Field;
use crate::record::Value;
use crate::time::Time;
use rule::Rule;

/// The rules of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    all: Vec<Rule>,
    /// How many of them belong to the device; the others were added later.
    declared: usize,
    pub(super) seed: u64,
    /// The device runs from here.
    running_since: Time,
}

/// What there is to know about a rule at work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleState {
    /// Its name.
    pub name: String,
    /// It is switched on.
    pub on: bool,
    /// How many requests matched since it was switched on.
    pub matched: u64,
    /// How many of these it applied to.
    pub applied: u64,
    /// What it does, as it was written.
    pub what: String,
}

/// The tables of every unit of a server; `own`: `None` is every unit that is no other.
#[derive(Clone, Debug)]
pub(super) struct Banks<'a> {
    pub(super) own: (Option<u8>, &'a Bank),
    pub(super) others: Vec<(u8, &'a Bank)>,
}

impl<'a> Banks<'a> {
    /// Those of the units that `has` has, each with its unit if it is a further one; the device's own come first.
    fn of(&self, has: impl Fn(u8) -> bool) -> Vec<(Option<u8>, &'a Bank)> {
        let mut rest = (0..=u8::MAX).filter(|unit| self.others.iter().all(|(other, _)| other != unit));
        // What is sent to all units (0) is for the device's own, too.
        let own = self.own.0.map_or_else(|| rest.any(&has), |own| has(own) || has(0)).then_some((None, self.own.1));
        let others = self.others.iter().filter(|(unit, _)| has(*unit));
        own.into_iter().chain(others.map(|(unit, bank)| (Some(*unit), *bank))).collect()
    }
}

impl Rules {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The device runs from now on.
    pub(super) fn run(&mut self, now: Time) {
        self.running_since = now;
    }

    /// Adds a rule; `key` is where it stands. Gives its name.
    ///
    /// # Errors
    /// What is wrong with it, with its key.
    pub(super) fn add(
        &mut self,
        key: &str,
        rule: &Value,
        banks: &Banks<'_>,
        derived: Derived,
    ) -> Result<String, SettingError> {
        let mut number = self.all.len() + 1;
        let mut name = format!("rule {number}");
        while self.position(&name).is_some() {
            number += 1;
            name = format!("rule {number}");
        }
        let field = Field { key: key.to_owned(), value: rule };
        let rule = Rule::read(field, &name, self.seed, banks, derived)?;
        if self.position(&rule.name).is_some() {
            let problem = format!("there is a rule `{}` already", rule.name);
            return Err(SettingError { key: format!("{key}.name"), problem, hint: None });
        }
        let name = rule.name.clone();
        self.all.push(rule);
        Ok(name)
    }

    /// The rules so far are those of the device itself.
    pub(super) fn declare(&mut self) {
        self.declared = self.all.len();
    }

    /// Only the rules of the device are left, as they were declared, and begin anew.
    pub(super) fn reset(&mut self) {
        self.all.truncate(self.declared);
        for rule in &mut self.all {
            rule.on = rule.declared_on;
            rule.schedule.restart();
        }
    }

    /// Takes a rule away; false if there is none of this name.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(index) = self.position(name) else { return false };
        self.all.remove(index);
        self.declared -= usize::from(index < self.declared);
        true
    }

    /// Switches a rule; false if there is none of this name.
    pub(super) fn switch(&mut self, name: &str, on: bool) -> bool {
        let found = self.all.iter_mut().find(|rule| rule.name == name);
        found.map(|rule| rule.switch(on)).is_some()
    }

    /// All rules, in order.
    pub(super) fn states(&self) -> impl Iterator<Item = RuleState> {
        self.all.iter().map(|rule| RuleState {
            name: rule.name.clone(),
            on: rule.on,
            matched: rule.schedule.matched(),
            applied: rule.schedule.struck(),
            what: rule.what.clone(),
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|rule| rule.name == name)
    }
}
