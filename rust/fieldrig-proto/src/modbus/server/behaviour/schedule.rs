//! When a rule strikes, counted over the requests that match it.
//!
//! Rules of this file:
//! - A request outside `from` .. `until`, or while the rule is off, is no match: it is not counted.
//! - `after` comes first, then `every`, then `count`, then chance: `after = 2, every = 3, count = 2` strikes the matches
//!   3 and 6.
//! - A rule that is switched on after it was off begins anew.

use crate::fault::{Schedule as Counted, Trigger};
use crate::protocol::SettingError;
use crate::reader::Table;
use crate::record::Value;
use crate::time::{Duration, Time};

/// A schedule at work.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    counted: Counted,
    /// Matches that come so soon after the first are left alone.
    quiet: Duration,
    from: Duration,
    until: Option<Duration>,
    seed: u64,
    trigger: Trigger,
    first: Option<Time>,
    matched: u64,
}

impl Schedule {
    /// Reads the keys of a schedule.
    pub(super) fn read(table: &Table<'_>, seed: u64) -> Result<Schedule, SettingError> {
        let mut counted = Counted::default();
        let mut quiet = Duration::ZERO;
        if let Some(after) = table.field("after") {
            match after.value {
                Value::Text(_) => quiet = after.duration()?,
                _ => counted.after = after.integer(0..=i64::MAX)? as u64,
            }
        }
        if let Some(every) = table.get("every", |field| field.integer(1..=i64::MAX))? {
            counted.every = every as u64;
        }
        counted.count = table.get("count", |field| field.integer(0..=i64::MAX))?.map(|count| count as u64);
        if let Some(p) = table.field("p") {
            counted.probability = p.number()?;
            if !(0.0..=1.0).contains(&counted.probability) {
                return Err(p.must_be("a probability from 0 to 1"));
            }
        }
        let from = table.get("from", |field| field.duration())?.unwrap_or_default();
        let until = table.get("until", |field| field.duration())?;
        if until.is_some_and(|until| until <= from) {
            return Err(table.error("until", "it ends before it begins: `until` does not come after `from`"));
        }
        let trigger = Trigger::new(counted.clone(), seed);
        Ok(Schedule { counted, quiet, from, until, seed, trigger, first: None, matched: 0 })
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) {
        self.trigger = Trigger::new(self.counted.clone(), self.seed);
        self.first = None;
        self.matched = 0;
    }

    /// Counts a matching request and says whether the rule strikes; `running` is how long the device has been running.
    pub(super) fn strikes(&mut self, now: Time, running: Duration) -> bool {
        if running < self.from || self.until.is_some_and(|until| running >= until) {
            return false;
        }
        self.matched += 1;
        let first = *self.first.get_or_insert(now);
        now.since(first) >= self.quiet && self.trigger.strikes(now)
    }

    /// How many requests matched.
    pub(super) fn matched(&self) -> u64 {
        self.matched
    }

    /// How often it struck.
    pub(super) fn struck(&self) -> u64 {
        self.trigger.struck()
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::RULE;
    use super::*;
    use crate::reader::Field;

    fn schedule(entries: &[(&str, Value)]) -> Result<Schedule, (String, String)> {
        let value = Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect());
        let table = Table::read(Field { key: "rule.0".to_owned(), value: &value }, RULE).expect("known keys");
        Schedule::read(&table, 1).map_err(|error| (error.key, error.problem))
    }

    /// Which of 12 requests, one a second from the first second on, are struck.
    fn struck(entries: &[(&str, Value)]) -> Vec<u64> {
        let mut schedule = schedule(entries).expect("a schedule");
        let second = |n| Duration::from_secs(n);
        (1..=12).filter(|n| schedule.strikes(Time::ZERO + second(100 + n), second(*n))).collect()
    }

    #[test]
    fn each_key_counts_as_its_name_says() {
        assert_eq!(struck(&[]), (1..=12).collect::<Vec<_>>());
        assert_eq!(struck(&[("after", Value::Int(9))]), [10, 11, 12]);
        assert_eq!(struck(&[("after", "9s".into())]), [10, 11, 12]);
        assert_eq!(struck(&[("every", Value::Int(5))]), [1, 6, 11]);
        assert_eq!(struck(&[("count", Value::Int(2))]), [1, 2]);
        assert_eq!(struck(&[("from", "5s".into()), ("until", "7s".into())]), [5, 6]);
        assert_eq!(struck(&[("from", "5s".into()), ("after", Value::Int(6))]), [11, 12]);
        let all = [("after", Value::Int(2)), ("every", Value::Int(3)), ("count", Value::Int(2))];
        assert_eq!(struck(&all), [3, 6]);
        assert_eq!(struck(&[("p", Value::Int(0))]), []);
        let half = struck(&[("p", Value::Float(0.5))]);
        assert!(!half.is_empty() && half.len() < 12 && half == struck(&[("p", Value::Float(0.5))]));
    }

    #[test]
    fn a_restart_begins_anew() {
        let mut schedule = schedule(&[("count", Value::Int(1))]).expect("a schedule");
        let mut strikes = || schedule.strikes(Time::ZERO, Duration::ZERO);
        assert_eq!((strikes(), strikes()), (true, false));
        assert_eq!((schedule.matched(), schedule.struck()), (2, 1));
        schedule.restart();
        assert!(schedule.strikes(Time::ZERO, Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (entries, key, problem) in [
            (vec![("p", Value::Int(2))], "rule.0.p", "it must be a probability from 0 to 1, not 2"),
            (vec![("every", Value::Int(0))], "rule.0.every", "it must be an integer from 1 on, not 0"),
            (vec![("after", "soon".into())], "rule.0.after", "`soon` is not a duration: the number is missing"),
            (
                vec![("from", "5s".into()), ("until", "5s".into())],
                "rule.0.until",
                "it ends before it begins: `until` does not come after `from`",
            ),
        ] {
            assert_eq!(schedule(&entries).map(|_| ()), Err((key.to_owned(), problem.to_owned())));
        }
    }
}
