//! How fieldrig asks, from the table `client` of a link in a bench file: the keywords of the client in Python.

use super::{Client, Config, LateAnswers, Strictness, Transactions};
use crate::modbus::client_face::duration;
use crate::modbus::rtu::LineRules;
use crate::protocol::{BenchKey, Built, Constructor, Role, SettingError, Settings};
use crate::record::Value;

const fn key(name: &'static str, what: &'static str) -> BenchKey {
    BenchKey { name, what, required: false }
}

const KEYS: &[BenchKey] = &[
    key("timeout", "how long an answer may take, unless a call says otherwise; \"1s\" by default"),
    key("mode", "\"strict\" (default), \"lenient\" or \"raw\": how closely answers are held to the standard"),
    key("retries", "how often a request is asked again that was not, or not properly, answered; 0 by default"),
    key("retry_writes", "true: ask again also what can cause behaviour"),
    key("pace", "the least time between a request or an answer and the next request"),
    key("late_answers", "on a line: how long after its time-out a request may still be answered"),
    key("local_echo", "on a line: true if the adapter repeats what we send, false if it surely does not"),
    key("transactions", "ids on TCP: \"sequential\", \"sequential:500\", \"fixed:7\" or \"colliding\""),
];

/// A client of ours, on TCP. Who opens a port gives it the same settings there.
pub(in crate::modbus) const TESTER: Constructor = tester();
/// A client of ours, on a line.
pub(in crate::modbus) const LINE_TESTER: Constructor =
    Constructor { build: &|_, settings| build(settings, Config::rtu(LineRules::over_tcp())), ..TESTER };

const fn tester() -> Constructor {
    Constructor { role: Role::Tester, keys: KEYS, inner: &[], build: &|_, settings| build(settings, Config::tcp()) }
}

fn build(settings: &Settings, mut config: Config) -> Result<Built, SettingError> {
    let line = config.mode.serial().is_some();
    for (name, value) in settings {
        match name.as_str() {
            "late_answers" | "local_echo" if !line => {
                return Err(error(name, "it is for lines, and this link is none".to_owned()));
            }
            "transactions" if line => return Err(error(name, "frames on a line have no transaction id".to_owned())),
            "timeout" => drop(duration(name, value)?),
            "pace" => config.pace = duration(name, value)?,
            "late_answers" => config.late_answers = LateAnswers::within(duration(name, value)?),
            "local_echo" => {
                config.local_echo = truth(name, value)?;
                config.no_echo = !config.local_echo;
            }
            "retry_writes" => drop(truth(name, value)?),
            "mode" => drop(text(name, value)?.parse::<Strictness>().map_err(|problem| error(name, problem))?),
            "retries" => check_retries(name, value)?,
            "transactions" => {
                config.transactions = text(name, value)?.parse::<Transactions>().map_err(|p| error(name, p))?;
            }
            _ => return Err(error(name, "there is no such key".to_owned())),
        }
    }
    Ok(Built::Endpoint(Box::new(Client::new(config))))
}

fn check_retries(name: &str, value: &Value) -> Result<(), SettingError> {
    match value {
        Value::Int(0..=1000) => Ok(()),
        other => Err(error(name, format!("it is a number from 0 to 1000, not {other}"))),
    }
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, SettingError> {
    value.as_str().ok_or_else(|| error(name, format!("it must be a text, not {value}")))
}

fn truth(name: &str, value: &Value) -> Result<bool, SettingError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => Err(error(name, format!("it must be true or false, not {other}"))),
    }
}

fn error(key: &str, problem: String) -> SettingError {
    SettingError { key: key.to_owned(), problem, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_setting_is_told_with_its_key() {
        let told = |constructor: &Constructor, key: &str, value: Value| {
            let built = (constructor.build)("bus", &[(key.to_owned(), value)]);
            built.err().map(|error| format!("{}: {error}", error.key))
        };
        for (key, value) in [
            ("timeout", Value::from("2s")),
            ("mode", Value::from("lenient")),
            ("retries", Value::Int(2)),
            ("retry_writes", Value::Bool(true)),
            ("pace", Value::from("50ms")),
            ("late_answers", Value::from("30s")),
            ("local_echo", Value::Bool(false)),
        ] {
            assert_eq!(told(&LINE_TESTER, key, value), None);
        }
        assert_eq!(told(&TESTER, "transactions", "fixed:7".into()), None);
        for (key, value, problem) in [
            ("timeout", Value::Int(1), "timeout: it must be a duration such as \"1s\", not 1"),
            ("mode", "loose".into(), "mode: it is \"strict\", \"lenient\" or \"raw\", not \"loose\""),
            ("retries", Value::Int(-1), "retries: it is a number from 0 to 1000, not -1"),
            ("retry_writes", Value::Int(1), "retry_writes: it must be true or false, not 1"),
            ("transactions", "fixed:7".into(), "transactions: frames on a line have no transaction id"),
        ] {
            assert_eq!(told(&LINE_TESTER, key, value).as_deref(), Some(problem));
        }
        let problem = told(&TESTER, "local_echo", Value::Bool(true));
        assert_eq!(problem.as_deref(), Some("local_echo: it is for lines, and this link is none"));
    }
}
