//! A server from the settings of a bench or model file.
//!
//! ```toml
//! [face.modbus]
//! unit = 1
//! holding = [10, 20, 30]                               # from address 0
//! coils = { 0 = [1, 0, 1], 100 = { count = 16 } }      # ranges by first address
//! functions = [3, 6, 8, 43]
//! files = { 4 = [1, 2, 3], 5 = { 100 = [7] } }         # records from 0, or by first record
//! fifos = { 1000 = [440, 308] }
//! identification = { 0 = "Vendor", 1 = "Code", 2 = "1.0" }
//! units = { 2 = { holding = [1] } }                    # further units, with keys of their own
//! map = { voltage = { table = "input", address = 0, type = "u16", scale = 0.1 } }
//! ```

mod special;

use super::bank::{Bank, Table};
use super::behaviour::keys;
use super::face::ServerFace;
use super::roles::Roles;
use super::special::{Extras, UnitConfig};
use super::{Local, ServerConfig, Transport};
use crate::line::LineSettings;
use crate::modbus::ascii;
use crate::modbus::client_face::duration;
use crate::modbus::map::parse_map;
use crate::modbus::rtu::LineRules;
use crate::protocol::{BenchKey, Built, Constructor, InnerKeys, Role, SettingError, Settings, TableForm, setting};
use crate::record::Value;
use special::extras_of;

const UNIT: BenchKey =
    BenchKey { name: "unit", what: "unit id, 1 to 247; without it all are answered", required: false };
const MAP: BenchKey = BenchKey {
    name: "map",
    what: "points: { point = { table = \"holding\", address = 0, type = \"u16\", scale = 1.0, offset = 0.0, order = \"AB\" } }",
    required: false,
};
const HOLDING: BenchKey = BenchKey {
    name: "holding",
    what: "raw holding registers: a list from address 0, or { address = [..] }",
    required: false,
};
const INPUT: BenchKey = BenchKey { name: "input", what: "raw input registers, as `holding`", required: false };
const COILS: BenchKey = BenchKey { name: "coils", what: "raw coils, as `holding`, 0 or 1", required: false };
const DISCRETE: BenchKey = BenchKey { name: "discrete", what: "raw discrete inputs, as `coils`", required: false };
const FUNCTIONS: BenchKey =
    BenchKey { name: "functions", what: "function codes it knows, instead of all", required: false };
const ROLES: BenchKey = BenchKey {
    name: "roles",
    what: "which role of a certificate may do what: { Operator = { functions = [3], holding = [[0, 99]] } }",
    required: false,
};
const FILES: BenchKey = BenchKey {
    name: "files",
    what: "functions 20 and 21: { file = [..] } with records from 0, or { file = { record = [..] } }",
    required: false,
};
const FIFOS: BenchKey =
    BenchKey { name: "fifos", what: "function 24: queues by pointer address, { address = [..] }", required: false };
const IDENTIFICATION: BenchKey = BenchKey {
    name: "identification",
    what: "function 43/14: texts by object, { 0 = \"Vendor\", 1 = \"Code\", 2 = \"1.0\", 128 = \"private\" }",
    required: false,
};
const CONFORMITY: BenchKey = BenchKey {
    name: "conformity",
    what: "function 43/14: conformity level, 1 to 3, with 0x80 if objects can be asked for one by one (default)",
    required: false,
};
const SERVER_ID: BenchKey =
    BenchKey { name: "server_id", what: "function 17: the id, a text; the run indicator follows it", required: false };
const EXCEPTION_STATUS: BenchKey =
    BenchKey { name: "exception_status", what: "function 07: 0 to 255", required: false };
const DIAGNOSTIC_REGISTER: BenchKey =
    BenchKey { name: "diagnostic_register", what: "function 08, sub-function 0002: 0 to 65535", required: false };
const UNITS: BenchKey = BenchKey {
    name: "units",
    what: "further units behind the same line or port, by unit id, each with tables and functions of its own",
    required: false,
};
const LINE: BenchKey = BenchKey { name: "line", what: "speed and format, such as \"9600 8E1\"", required: false };
pub(in crate::modbus) const PAUSE: BenchKey = BenchKey {
    name: "pause",
    what: "the longest pause between two characters of an ASCII frame; \"1s\" by default",
    required: false,
};
pub(in crate::modbus) const CASE: BenchKey = BenchKey {
    name: "case",
    what: "which hexadecimal digits are read: \"upper\" (default, as the standard has them) or \"any\"",
    required: false,
};
const FRAMING: BenchKey =
    BenchKey { name: "framing", what: "\"tolerant\" (default) or \"exact\": frames by silence alone", required: false };

/// The keys of every device, and those of its framing.
macro_rules! device_keys {
    ($($more:ident),*) => {
        &[
            UNIT, MAP, HOLDING, INPUT, COILS, DISCRETE, FUNCTIONS, FILES, FIFOS, IDENTIFICATION, CONFORMITY, SERVER_ID,
            EXCEPTION_STATUS, DIAGNOSTIC_REGISTER, UNITS, RULES, SEED, $($more),*
        ]
    };
}

const RULES: BenchKey = BenchKey {
    name: "rule",
    what: "what it does apart from the standard, per request and per address: a list of tables, [[face.modbus.rule]]",
    required: false,
};
const SEED: BenchKey = BenchKey { name: "seed", what: "of the chance and the noise in its rules", required: false };

/// The keys inside `rule`.
const INNER: &[InnerKeys] = &[
    InnerKeys { under: "rule", form: TableForm::List, keys: keys::RULE },
    InnerKeys { under: "rule.when", form: TableForm::One, keys: keys::WHEN },
    InnerKeys { under: "rule.value", form: TableForm::OrValue, keys: keys::GENERATOR },
    InnerKeys { under: "rule.busy", form: TableForm::OrValue, keys: keys::BUSY },
    InnerKeys { under: "rule.power_loss", form: TableForm::OrValue, keys: keys::POWER_LOSS },
];

/// Makes the face of a Modbus/TCP server.
pub(in crate::modbus) const TCP_DEVICE: Constructor = Constructor {
    role: Role::Device,
    keys: device_keys!(ROLES),
    inner: INNER,
    build: &|name, settings| build(name, settings, Transport::Tcp),
};

/// Makes the face of a Modbus RTU server.
pub(in crate::modbus) const RTU_DEVICE: Constructor = Constructor {
    role: Role::Device,
    keys: device_keys!(LINE, FRAMING),
    inner: INNER,
    build: &|name, settings| build(name, settings, Transport::Rtu(line_rules(settings)?)),
};

/// Makes the face of a Modbus ASCII server.
pub(in crate::modbus) const ASCII_DEVICE: Constructor = Constructor {
    role: Role::Device,
    keys: device_keys!(LINE, FRAMING, PAUSE, CASE),
    inner: INNER,
    build: &|name, settings| build(name, settings, Transport::Ascii(ascii_rules(settings)?)),
};

fn build(name: &str, settings: &Settings, transport: Transport) -> Result<Built, SettingError> {
    let unit = setting(settings, "unit").map(|value| integer("unit", value, 1, 247)).transpose()?;
    let (bank, functions, extras) = unit_of(settings, &transport)?;
    let mut config = ServerConfig::new(transport, unit.map(|unit| unit as u8), bank);
    config.functions = functions;
    config.extras = extras;
    config.roles = setting(settings, "roles").map(Roles::read).transpose()?;
    if let Some(units) = setting(settings, "units") {
        config.units = further_units(units, &config)?;
    }
    let mut face = ServerFace::new(name, config);
    add_rules(&mut face, settings)?;
    Ok(Built::Face(Box::new(face)))
}

fn add_rules(face: &mut ServerFace, settings: &Settings) -> Result<(), SettingError> {
    if let Some(seed) = setting(settings, "seed") {
        face.set_seed(integer("seed", seed, 0, i64::MAX)? as u64);
    }
    match setting(settings, "rule") {
        None => {}
        Some(Value::List(rules)) => {
            for (index, rule) in rules.iter().enumerate() {
                face.add_rule(&format!("rule.{index}"), rule)?;
            }
        }
        Some(other) => {
            let mut error = error("rule", format!("it must be a list of tables, not {}", shown(other)));
            error.hint = Some("write the header [[face.modbus.rule]]".to_owned());
            return Err(error);
        }
    }
    face.declare_rules();
    Ok(())
}

/// The keys of a further unit.
const OF_UNIT: [BenchKey; 13] = [
    MAP,
    HOLDING,
    INPUT,
    COILS,
    DISCRETE,
    FUNCTIONS,
    FILES,
    FIFOS,
    IDENTIFICATION,
    CONFORMITY,
    SERVER_ID,
    EXCEPTION_STATUS,
    DIAGNOSTIC_REGISTER,
];

fn further_units(units: &Value, own: &ServerConfig) -> Result<Vec<UnitConfig>, SettingError> {
    let Value::Table(entries) = units else {
        return Err(error("units", format!("it must be a table of units, not {}", shown(units))));
    };
    let further = |(name, value): &(String, Value)| {
        let key = format!("units.{name}");
        let unit = address(&key, name, 1, 247)? as u8;
        if own.unit == Some(unit) {
            return Err(error(key, format!("{unit} is the unit of the device itself")));
        }
        let Value::Table(settings) = value else {
            return Err(error(key, format!("it must be a table, not {}", shown(value))));
        };
        check_keys(&format!("{key}."), settings)?;
        let built = unit_of(settings, &own.transport);
        let (bank, functions, extras) = built.map_err(|mut error| {
            error.key = format!("{key}.{}", error.key);
            error
        })?;
        Ok(UnitConfig { unit, bank, functions, extras })
    };
    entries.iter().map(further).collect()
}

/// A server without connections, from the settings of a further unit.
///
/// # Errors
/// As of a device; an unknown key.
pub fn local(settings: &Settings) -> Result<Local, SettingError> {
    check_keys("", settings)?;
    let (bank, functions, extras) = unit_of(settings, &Transport::Tcp)?;
    let mut config = ServerConfig::new(Transport::Tcp, None, bank);
    (config.functions, config.extras) = (functions, extras);
    Ok(Local::new(config))
}

/// Only keys of a further unit.
fn check_keys(place: &str, settings: &Settings) -> Result<(), SettingError> {
    match settings.iter().find(|(name, _)| OF_UNIT.iter().all(|known| known.name != *name)) {
        Some((unknown, _)) => {
            let mut error = error(format!("{place}{unknown}"), format!("unknown key `{unknown}`"));
            error.hint = Some(format!("there are {}", OF_UNIT.map(|key| key.name).join(", ")));
            Err(error)
        }
        None => Ok(()),
    }
}

/// What one unit has: its tables, its functions and what it holds besides.
fn unit_of(settings: &Settings, transport: &Transport) -> Result<(Bank, Vec<u8>, Extras), SettingError> {
    let mut bank = Bank::default();
    for (key, table) in Table::NAMES {
        if let Some(value) = setting(settings, key) {
            add_table(&mut bank, key, table, value)?;
        }
    }
    if let Some(map) = setting(settings, "map") {
        for mapping in parse_map(map)? {
            let key = format!("map.{}.address", mapping.point);
            bank.map(mapping).map_err(|problem| error(key, problem.to_string()))?;
        }
    }
    let extras = extras_of(settings)?;
    let functions = match setting(settings, "functions") {
        Some(functions) => integers("functions", functions, 1, 127)?.into_iter().map(|code| code as u8).collect(),
        None => extras.functions(transport),
    };
    Ok((bank, functions, extras))
}

/// Reads `line` and `framing`.
///
/// # Errors
/// A line setting that is none, an unknown framing.
pub(in crate::modbus) fn line_rules(settings: &Settings) -> Result<LineRules, SettingError> {
    let line = line_settings(settings, "19200 8E1")?;
    Ok(if is_exact(settings)? { LineRules::exact(&line) } else { LineRules::tolerant(&line) })
}

/// Reads `line`, `framing`, `pause` and `case` of an ASCII line.
///
/// # Errors
/// A line setting that is none, an unknown framing or case, a pause that is no duration.
pub fn ascii_rules(settings: &Settings) -> Result<ascii::Rules, SettingError> {
    let line = line_settings(settings, "19200 7E1")?;
    let exact = is_exact(settings)?;
    let rules = if exact { ascii::Rules::exact(&line) } else { ascii::Rules::tolerant(&line) };
    let limit = setting(settings, "pause").map(|value| duration("pause", value)).transpose()?.unwrap_or(rules.limit);
    let case = setting(settings, "case").map(|value| choice("case", value, &[("upper", false), ("any", true)]));
    Ok(ascii::Rules { limit, lower_case: case.transpose()?.unwrap_or(false), ..rules })
}

fn line_settings(settings: &Settings, default: &str) -> Result<LineSettings, SettingError> {
    let text = setting(settings, "line").map(|value| text("line", value)).transpose()?.unwrap_or(default);
    text.parse().map_err(|problem: crate::line::SettingsError| error("line", problem.to_string()))
}

fn is_exact(settings: &Settings) -> Result<bool, SettingError> {
    match setting(settings, "framing").map(|value| text("framing", value)).transpose()? {
        None | Some("tolerant") => Ok(false),
        Some("exact") => Ok(true),
        Some(other) => Err(error("framing", format!("`{other}` is neither \"tolerant\" nor \"exact\""))),
    }
}

fn add_table(bank: &mut Bank, key: &str, table: Table, value: &Value) -> Result<(), SettingError> {
    let most = if table.is_bits() { 1 } else { 0xffff };
    let mut add = |key: String, address: i64, value: &Value| {
        let values = range_values(&key, value, most)?.into_iter().map(|value| value as u16).collect();
        bank.add_raw(table, address as u16, values).map_err(|problem| error(key, problem.to_string()))
    };
    match value {
        Value::Table(ranges) => ranges.iter().try_for_each(|(start, value)| {
            let key = format!("{key}.{start}");
            add(key.clone(), address(&key, start, 0, 0xffff)?, value)
        }),
        other => add(key.to_owned(), 0, other),
    }
}

/// The values of one range: a list, or `{ count = 10, value = 0 }`.
fn range_values(key: &str, value: &Value, most: i64) -> Result<Vec<i64>, SettingError> {
    match value {
        Value::Table(_) => {
            let count = value.entry("count").ok_or_else(|| error(key.to_owned(), "`count` is missing".to_owned()))?;
            let count = integer(&format!("{key}.count"), count, 1, 0x1_0000)?;
            let fill =
                value.entry("value").map(|value| integer(&format!("{key}.value"), value, 0, most)).transpose()?;
            Ok(vec![fill.unwrap_or(0); count as usize])
        }
        other => integers(key, other, 0, most),
    }
}

/// A number that stands as a key: decimal, or hexadecimal with `0x`.
fn address(key: &str, text: &str, least: i64, most: i64) -> Result<i64, SettingError> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let what = if least == 1 && most == 247 { "a unit id" } else { "an address" };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| error(key, format!("`{text}` is not {what}: {least} to {most}")))
}

fn error(key: impl Into<String>, problem: String) -> SettingError {
    SettingError { key: key.into(), problem, hint: None }
}

pub(in crate::modbus) fn integer(key: &str, value: &Value, low: i64, high: i64) -> Result<i64, SettingError> {
    let wrong = || error(key, format!("it must be an integer from {low} to {high}, not {}", shown(value)));
    value.as_i64().filter(|number| (low..=high).contains(number)).ok_or_else(wrong)
}

fn integers(key: &str, value: &Value, low: i64, high: i64) -> Result<Vec<i64>, SettingError> {
    let Value::List(values) = value else {
        return Err(error(key, format!("it must be a list of integers, not {}", shown(value))));
    };
    let item = |value: &Value| match value {
        Value::Bool(on) => Ok(i64::from(*on)),
        other => integer(key, other, low, high),
    };
    values.iter().map(item).collect()
}

pub(in crate::modbus) fn number(key: &str, value: &Value) -> Result<f64, SettingError> {
    match value {
        Value::Int(_) | Value::Float(_) => value.as_f64().filter(|number| number.is_finite()),
        _ => None,
    }
    .ok_or_else(|| error(key, format!("it must be a number, not {}", shown(value))))
}

pub(in crate::modbus) fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str, SettingError> {
    value.as_str().ok_or_else(|| error(key, format!("it must be a text, not {}", shown(value))))
}

pub(in crate::modbus) fn choice<T: Copy>(key: &str, value: &Value, choices: &[(&str, T)]) -> Result<T, SettingError> {
    let found = value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        error(key, format!("it must be one of {}, not {}", names.join(", "), shown(value)))
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Unsigned(int) => int.to_string(),
        Value::Float(float) => float.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Bytes(_) => "bytes".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Value {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn refused(entries: &[(&str, Value)]) -> (String, String) {
        let settings: Vec<(String, Value)> =
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        match (RTU_DEVICE.build)("bus", &settings) {
            Ok(_) => panic!("must be refused"),
            Err(error) => (error.key, error.problem),
        }
    }

    #[test]
    fn errors_name_the_key_and_the_value() {
        let point = |entries: &[(&str, Value)]| [("map", table(&[("voltage", table(entries))]))];
        let holding = ("table", Value::from("holding"));
        let address = ("address", Value::Int(3));
        for (entries, key, problem) in [
            (vec![("unit", Value::Int(248))], "unit", "it must be an integer from 1 to 247, not 248"),
            (
                vec![("line", Value::from("9600"))],
                "line",
                "`9600` is not a line setting: the format is missing; write speed and format, such as \"9600 8E1\"",
            ),
            (vec![("framing", Value::from("loose"))], "framing", "`loose` is neither \"tolerant\" nor \"exact\""),
            (vec![("coils", Value::List(vec![Value::Int(2)]))], "coils", "it must be an integer from 0 to 1, not 2"),
            (
                vec![("holding", table(&[("70000", Value::List(vec![]))]))],
                "holding.70000",
                "`70000` is not an address: 0 to 65535",
            ),
            (
                vec![("holding", table(&[("65535", Value::List(vec![Value::Int(1); 2]))]))],
                "holding.65535",
                "2 items from address 65535 end beyond address 65535",
            ),
            (point(std::slice::from_ref(&address)).to_vec(), "map.voltage", "`table` is missing"),
            (
                point(&[holding.clone(), address.clone(), ("type", Value::from("u128"))]).to_vec(),
                "map.voltage.type",
                "it must be one of \"bool\", \"u8\", \"i8\", \"u16\", \"i16\", \"u32\", \"i32\", \"u64\", \"i64\", \"f32\", \"f64\", \"bcd\", \"text\", \"datetime\", not \"u128\"",
            ),
            (
                point(&[holding.clone(), address.clone(), ("scal", Value::Int(1))]).to_vec(),
                "map.voltage.scal",
                "unknown key `scal`",
            ),
            (
                point(&[holding.clone(), address.clone(), ("scale", Value::Int(0))]).to_vec(),
                "map.voltage.scale",
                "a scale of 0 makes all values alike",
            ),
        ] {
            assert_eq!(refused(&entries), (key.to_owned(), problem.to_owned()));
        }
    }

    #[test]
    fn an_address_belongs_to_one_thing() {
        let map = table(&[(
            "energy",
            table(&[("table", "holding".into()), ("address", Value::Int(1)), ("type", "u32".into())]),
        )]);
        let holding = Value::List(vec![Value::Int(0); 3]);
        let (key, problem) = refused(&[("holding", holding), ("map", map)]);
        assert_eq!(
            (key.as_str(), problem.as_str()),
            ("map.energy.address", "address 1 is taken already by the values from address 0")
        );
    }

    #[test]
    fn the_example_at_the_top_is_a_server() {
        let settings = [
            ("unit".to_owned(), Value::Int(1)),
            ("holding".to_owned(), Value::List(vec![Value::Int(10), Value::Int(20)])),
            (
                "coils".to_owned(),
                table(&[("0", Value::List(vec![Value::Int(1)])), ("100", table(&[("count", Value::Int(16))]))]),
            ),
            (
                "map".to_owned(),
                table(&[(
                    "voltage",
                    table(&[("table", "input".into()), ("address", Value::Int(0)), ("scale", Value::Float(0.1))]),
                )]),
            ),
        ];
        let Ok(Built::Face(face)) = (TCP_DEVICE.build)("modbus", &settings) else { panic!("a face") };
        assert_eq!(face.name(), "modbus");
    }
}
