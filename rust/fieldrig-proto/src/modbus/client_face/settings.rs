//! A client face from the settings of a bench or model file.
//!
//! ```toml
//! [face.meters]
//! line = "9600 8E1"          # RTU; on TCP: url = "tcp://192.0.2.7:502"
//! timeout = "500ms"          # for an answer, unless an ask says otherwise
//! ```

use super::ClientFace;
use crate::endpoint::Target;
use crate::modbus::client::{Config, LateAnswers};
use crate::modbus::server::{CASE, PAUSE, ascii_rules, line_rules};
use crate::protocol::{BenchKey, Built, Constructor, Role, SettingError, Settings, setting};
use crate::record::Value;
use crate::time::{Duration, parse_duration};

/// What a client face is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaceSettings {
    /// How the client talks; [`Config::reconnect`] says where to, on TCP.
    pub config: Config,
    /// The unit of asks that name none.
    pub unit: u8,
    /// How long an answer may take, unless an ask says otherwise.
    pub timeout: Duration,
    /// How long after a loss it connects again.
    pub retry: Duration,
}

impl FaceSettings {
    /// A client of this kind that asks unit 1 and waits a second for answers (SL 2.4.1).
    #[must_use]
    pub fn new(config: Config) -> FaceSettings {
        FaceSettings { config, unit: 1, timeout: Duration::from_secs(1), retry: Duration::from_secs(1) }
    }
}

const URL: BenchKey = BenchKey { name: "url", what: "where it connects to: tcp://host:port", required: true };
const UNIT: BenchKey =
    BenchKey { name: "unit", what: "unit id of requests that name none, 0 to 255; 1 by default", required: false };
const TIMEOUT: BenchKey = BenchKey {
    name: "timeout",
    what: "how long an answer may take, unless a request says otherwise; \"1s\" by default",
    required: false,
};
const RETRY: BenchKey =
    BenchKey { name: "retry", what: "how long after a loss it connects again; \"1s\" by default", required: false };
const LINE: BenchKey = BenchKey { name: "line", what: "speed and format, such as \"9600 8E1\"", required: false };
const FRAMING: BenchKey =
    BenchKey { name: "framing", what: "\"tolerant\" (default) or \"exact\": frames by silence alone", required: false };

/// Makes the face of a device that is a Modbus/TCP client.
pub(in crate::modbus) const TCP_CLIENT: Constructor = Constructor {
    role: Role::Client,
    keys: &[URL, UNIT, TIMEOUT, RETRY],
    inner: &[],
    build: &|name, settings| {
        let url = match setting(settings, "url") {
            Some(Value::Text(url)) => url.clone(),
            Some(other) => return Err(error("url", format!("it must be a text, not {other}"))),
            None => return Err(error("url", "it is missing".to_owned())),
        };
        let target = Target { via: name.to_owned(), url };
        build(name, settings, Config { reconnect: Some(target), ..Config::tcp() })
    },
};

/// A gateway that polls goes on sooner than a test that must not err.
const SOON: LateAnswers = LateAnswers { times: 1, at_least: Duration::ZERO };

/// Makes the face of a device that is the Modbus RTU client of a line.
pub(in crate::modbus) const RTU_CLIENT: Constructor = Constructor {
    role: Role::Client,
    keys: &[UNIT, TIMEOUT, LINE, FRAMING],
    inner: &[],
    build: &|name, settings| build(name, settings, Config { late_answers: SOON, ..Config::rtu(line_rules(settings)?) }),
};

/// Makes the face of a device that is the Modbus ASCII client of a line.
pub(in crate::modbus) const ASCII_CLIENT: Constructor = Constructor {
    role: Role::Client,
    keys: &[UNIT, TIMEOUT, LINE, FRAMING, PAUSE, CASE],
    inner: &[],
    build: &|name, settings| {
        let config = Config { late_answers: SOON, ..Config::ascii(ascii_rules(settings)?) };
        build(name, settings, config)
    },
};

fn build(name: &str, settings: &Settings, config: Config) -> Result<Built, SettingError> {
    let mut made = FaceSettings::new(config);
    if let Some(unit) = setting(settings, "unit") {
        let fits = unit.as_i64().and_then(|unit| u8::try_from(unit).ok());
        made.unit = fits.ok_or_else(|| error("unit", format!("it must be an integer from 0 to 255, not {unit}")))?;
    }
    for (key, place) in [("timeout", &mut made.timeout), ("retry", &mut made.retry)] {
        if let Some(value) = setting(settings, key) {
            *place = duration(key, value)?;
        }
    }
    Ok(Built::Face(Box::new(ClientFace::new(name, made))))
}

/// A duration that is longer than nothing.
///
/// # Errors
/// Anything else.
pub(in crate::modbus) fn duration(key: &str, value: &Value) -> Result<Duration, SettingError> {
    let text =
        value.as_str().ok_or_else(|| error(key, format!("it must be a duration such as \"1s\", not {value}")))?;
    let duration = parse_duration(text).map_err(|problem| error(key, problem.to_string()))?;
    if duration.is_zero() {
        return Err(error(key, "it must be longer than nothing".to_owned()));
    }
    Ok(duration)
}

fn error(key: &str, problem: String) -> SettingError {
    SettingError { key: key.to_owned(), problem, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(constructor: &Constructor, settings: &[(&str, Value)]) -> Option<String> {
        let settings: Vec<(String, Value)> =
            settings.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        (constructor.build)("bus", &settings).err().map(|error| format!("{}: {error}", error.key))
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_told_with_its_key() {
        let url = ("url", Value::from("tcp://127.0.0.1:502"));
        assert_eq!(problem(&TCP_CLIENT, std::slice::from_ref(&url)), None);
        assert_eq!(problem(&RTU_CLIENT, &[]), None);
        for (setting, told) in [
            (("unit", Value::Int(256)), "unit: it must be an integer from 0 to 255, not 256"),
            (("timeout", Value::Int(1)), "timeout: it must be a duration such as \"1s\", not 1"),
            (("retry", Value::from("0s")), "retry: it must be longer than nothing"),
        ] {
            assert_eq!(problem(&TCP_CLIENT, &[url.clone(), setting]).as_deref(), Some(told));
        }
        assert_eq!(problem(&TCP_CLIENT, &[]).as_deref(), Some("url: it is missing"));
        assert_eq!(problem(&TCP_CLIENT, &[("url", 5.into())]).as_deref(), Some("url: it must be a text, not 5"));
        let framing = problem(&RTU_CLIENT, &[("framing", "loose".into())]);
        assert_eq!(framing.as_deref(), Some("framing: `loose` is neither \"tolerant\" nor \"exact\""));
    }
}
