//! How a real device gets and loses its power, and how it is reset: the tables `power` and `restart`.
//!
//! Rules of this file:
//! - A way to switch is named by the key that only it has; a new way is one shape, one reader and one line in [`WAYS`] or
//!   [`RESTARTS`].
//! - What a table leaves open is filled in here, so that whoever switches sees whole tables. `kind` is its way.

use super::keys::Kind::{self, Any, Integer, Named, Table, Text, Texts, Word};
use super::keys::{Key, Shape, UNIT, key, required, shape};
use super::life::{ACTION_LIMIT, Need, completed, default, entries};
use super::modem;
use super::place::{Outcome, did_you_mean, quoted};
use super::section::{Located, Section};
use crate::PortSpec;
use fieldrig_proto::record::Value;

/// A reader of one way.
type Reader = fn(Section<'_>, &mut Vec<Need>) -> Outcome<Value>;

/// Ways to switch the power, by the key that names each.
const WAYS: [(&str, Reader); 7] = [
    ("command", command),
    ("modbus", relay),
    ("mqtt", plug),
    ("scpi", scpi),
    ("line", modem::power),
    ("qmp", qmp),
    ("plugin", power_plugin),
];
/// Ways to reset.
const RESTARTS: [(&str, Reader); 4] =
    [("command", reset_command), ("line", modem::restart), ("power", reset_power), ("plugin", reset_plugin)];

pub(super) const POWER: [Kind; 7] = [
    Table(&POWER_COMMAND),
    Table(&POWER_MODBUS),
    Table(&POWER_MQTT),
    Table(&POWER_SCPI),
    Table(&modem::POWER_LINE),
    Table(&POWER_QMP),
    Table(&POWER_PLUGIN),
];
pub(super) const RESTART: [Kind; 4] =
    [Table(&RESTART_COMMAND), Table(&modem::RESTART_LINE), Table(&RESTART_POWER), Table(&RESTART_PLUGIN)];

pub(super) const SETTLE: Key = key("settle", Kind::Duration, "how long the device needs until it can be used again");
pub(super) const TIMEOUT: Key = key("timeout", Kind::Duration, "how long one action may take");
pub(super) const SAFE: Key = key("safe", Text, "the action that is surely done at the end of a run");
const OPTIONS: Key = key("options", Named(&Any), "what the plug-in wants to know, by name");

static POWER_COMMAND: Shape = shape(
    "power by a shell command",
    &[
        required("command", Text, "a shell command; {action} stands for what is to be done"),
        key("actions", Texts, "what the command can do"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

static POWER_MODBUS: Shape = shape(
    "power by a Modbus relay",
    &[
        required("modbus", Text, "the link to the relay"),
        UNIT,
        key("coil", Integer(0, 65535), "the coil that switches"),
        key("register", Integer(0, 65535), "the holding register that switches"),
        key("on", Integer(0, 65535), "what is written to switch on, 1 by default"),
        key("off", Integer(0, 65535), "what is written to switch off, 0 by default"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

static POWER_MQTT: Shape = shape(
    "power by an MQTT plug",
    &[
        required("mqtt", Text, "the link to the broker of the plug"),
        key("tasmota", Text, "a plug with Tasmota: its topic"),
        key("shelly", Text, "a plug of Shelly: its topic prefix, or the id of one of the first generation"),
        key("generation", Integer(1, 4), "of the Shelly, 2 by default"),
        key("relay", Integer(0, 32), "which relay of it; Shelly counts from 0, Tasmota from 1"),
        key("topic", Text, "where commands go, if it is neither"),
        key("on", Text, "the payload that switches on, \"ON\" by default"),
        key("off", Text, "the payload that switches off, \"OFF\" by default"),
        key("status", Table(&PLUG_STATUS), "where the plug says what it did"),
        key("ask", Table(&PLUG_ASK), "what makes the plug say its state, if it is silent"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

static PLUG_STATUS: Shape = shape(
    "the answer of a plug",
    &[
        required("topic", Text, "where it comes"),
        key("on", Text, "the payload that says on, \"ON\" by default"),
        key("off", Text, "the payload that says off, \"OFF\" by default"),
    ],
);

static PLUG_ASK: Shape = shape(
    "a question to a plug",
    &[required("topic", Text, "where the plug is asked"), key("payload", Text, "what is asked, nothing by default")],
);

static POWER_SCPI: Shape = shape(
    "power by a supply that speaks SCPI",
    &[
        required("scpi", Text, "where it is: \"tcp://10.0.0.9:5025\" or \"serial:///dev/ttyUSB3?line=9600+8N1\""),
        key("on", Text, "what switches on, \"OUTP ON\" by default"),
        key("off", Text, "what switches off, \"OUTP OFF\" by default"),
        key("status", Text, "what asks for the state, \"OUTP?\" by default; \"\" if it cannot be asked"),
        key("errors", Text, "what asks for the oldest error, \"SYST:ERR?\" by default; \"\" if it cannot be asked"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

static POWER_QMP: Shape = shape(
    "power by the monitor of QEMU, which also resets the device, makes it hang and looks into its memory",
    &[required("qmp", Text, "the QMP socket of QEMU, \"unix:///PATH\" or \"tcp://HOST:PORT\""), SETTLE, TIMEOUT, SAFE],
);

/// What the monitor of QEMU can do.
const QMP_ACTIONS: [&str; 5] = ["on", "off", "reset", "hang", "resume"];

static POWER_PLUGIN: Shape = shape(
    "power by a plug-in",
    &[
        required("plugin", Text, "its name in the entry points `fieldrig.switch`"),
        OPTIONS,
        key("actions", Texts, "what it can do, `on` and `off` by default"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

static RESTART_COMMAND: Shape =
    shape("reset by a shell command", &[required("command", Text, "a shell command that resets the device"), TIMEOUT]);

static RESTART_POWER: Shape = shape(
    "reset by a power cycle",
    &[
        required("power", Word(&super::keys::RECOVERIES), "`cycle`: power off and on"),
        key("off", Kind::Duration, "how long it stays off, 1 s by default"),
    ],
);

static RESTART_PLUGIN: Shape = shape(
    "reset by a plug-in",
    &[required("plugin", Text, "its name in the entry points `fieldrig.restart`"), OPTIONS, TIMEOUT],
);

const CYCLE: [(&str, ()); 1] = [("cycle", ())];

/// Reads a `power` table.
pub(super) fn power(section: Section<'_>, needs: &mut Vec<Need>) -> Outcome<Value> {
    read(section, &WAYS, "switch", needs)
}

/// Reads a `restart` table.
pub(super) fn restart(section: Section<'_>, has_power: bool, needs: &mut Vec<Need>) -> Outcome<Value> {
    if section.has("power") && !has_power {
        let message = format!("{} needs power = {{ .. }} beside it", section.name);
        return Err(section.locate("power").error(message));
    }
    read(section, &RESTARTS, "reset", needs)
}

fn read(section: Section<'_>, ways: &[(&str, Reader)], what: &str, needs: &mut Vec<Need>) -> Outcome<Value> {
    let given: Vec<_> = ways.iter().filter(|(way, _)| section.has(way)).collect();
    match given.as_slice() {
        [(_, reader)] => reader(section, needs),
        [] if !section.is_empty() && ways[0].0 == "command" => command(section, needs),
        [] => {
            let message = format!("{} says no way to {what}", section.name);
            let known = quoted(ways.iter().map(|(way, _)| *way));
            Err(section.place.error(message).hint(format!("write one of {known}")))
        }
        [(one, _), (other, _), ..] => {
            let message = format!("{} says two ways to {what}: `{one}` and `{other}`", section.name);
            Err(section.locate(other).error(message))
        }
    }
}

fn command(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    let command = section.text("command")?;
    let command = section.require("command", command)?;
    if !command.value.contains("{action}") {
        let message = format!("`command` in {} has no `{{action}}`", section.name);
        return Err(command.place.error(message).hint("write it where `on` or `off` goes: \"relay.sh {action} 7\""));
    }
    let actions = actions(&mut section)?;
    common(&mut section, &POWER_COMMAND, &actions)?;
    let mut table = completed(&section, "command", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    default(&mut table, "actions", Value::List(actions.into_iter().map(Value::Text).collect()));
    Ok(Value::Table(table))
}

fn relay(mut section: Section<'_>, needs: &mut Vec<Need>) -> Outcome<Value> {
    let link = section.text("modbus")?;
    let link = section.require("modbus", link)?;
    let unit = section.integer("unit", 0, 255)?.unwrap_or(1);
    let (coil, register) = (section.integer("coil", 0, 65535)?, section.integer("register", 0, 65535)?);
    let (on, off) = (section.integer("on", 0, 65535)?.unwrap_or(1), section.integer("off", 0, 65535)?.unwrap_or(0));
    if coil.is_some() == register.is_some() {
        let message = format!("{} must have one of `coil` and `register`", section.name);
        return Err(section.place.error(message));
    }
    if coil.is_some() && (on > 1 || off > 1) {
        let key = if on > 1 { "on" } else { "off" };
        let message = format!("`{key}` in {} is {}, and a coil holds 0 or 1", section.name, on.max(off));
        return Err(section.locate(key).error(message));
    }
    common(&mut section, &POWER_MODBUS, &states())?;
    needs.push(Need { family: "modbus", link: Some(link.value), place: link.place, own: false, lines: false });
    let mut table = completed(&section, "modbus", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    for (key, value) in [("unit", unit), ("on", on), ("off", off)] {
        default(&mut table, key, Value::Int(value));
    }
    Ok(Value::Table(table))
}

fn qmp(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    let socket = section.text("qmp")?;
    let socket = section.require("qmp", socket)?;
    if !matches!(PortSpec::parse(&socket.value), Ok(PortSpec::UnixConnect(_) | PortSpec::TcpConnect(_))) {
        let message = format!("`{}` is no QMP socket", socket.value);
        return Err(socket.place.error(message).hint("write \"unix:///PATH\" or \"tcp://HOST:PORT\""));
    }
    let actions = QMP_ACTIONS.map(str::to_owned);
    common(&mut section, &POWER_QMP, &actions)?;
    let mut table = completed(&section, "qmp", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    default(&mut table, "actions", Value::List(actions.into_iter().map(Value::Text).collect()));
    Ok(Value::Table(table))
}

fn plug(mut section: Section<'_>, needs: &mut Vec<Need>) -> Outcome<Value> {
    let link = section.text("mqtt")?;
    let link = section.require("mqtt", link)?;
    let known = known_plug(&mut section)?;
    let topic = section.text("topic")?;
    if known.is_some() == topic.is_some() {
        let message = format!("{} must have one of `topic`, `tasmota` and `shelly`", section.name);
        return Err(section.place.error(message));
    }
    let words = [section.text("on")?, section.text("off")?];
    let status = section.section("status")?.map(status).transpose()?;
    let ask = section.section("ask")?.map(|section| (section.place.clone(), section));
    let ask = match ask {
        Some((place, _)) if status.is_none() && known.is_none() => {
            return Err(place.error(format!("`ask` in {} has no use without `status`", section.name)));
        }
        ask => ask.map(|(_, section)| question(section)).transpose()?,
    };
    common(&mut section, &POWER_MQTT, &states())?;
    needs.push(Need { family: "mqtt", link: Some(link.value), place: link.place, own: false, lines: false });
    let mut table = completed(&section, "mqtt", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    for (key, value) in known.into_iter().flatten() {
        default(&mut table, key, value);
    }
    for (key, word) in ["on", "off"].into_iter().zip(words) {
        default(&mut table, key, Value::Text(word.map_or_else(|| key.to_uppercase(), |word| word.value)));
    }
    for (name, given) in [("status", status), ("ask", ask)] {
        if let (Some(given), Some((_, slot))) = (given, table.iter_mut().find(|(key, _)| key == name)) {
            *slot = given;
        }
    }
    Ok(Value::Table(table))
}

/// Topics and payloads of a plug whose make is named.
fn known_plug(section: &mut Section<'_>) -> Outcome<Option<Vec<(&'static str, Value)>>> {
    let (tasmota, shelly) = (section.text("tasmota")?, section.text("shelly")?);
    let generation = section.integer("generation", 1, 4)?;
    let relay = section.integer("relay", 0, 32)?;
    let stray = [("generation", generation.is_some() && shelly.is_none()), ("relay", relay.is_some())];
    match (tasmota, shelly) {
        (Some(_), Some(shelly)) => {
            Err(shelly.place.error(format!("{} is a Tasmota plug or a Shelly, not both", section.name)))
        }
        (Some(_), None) if stray[0].1 => {
            Err(section.locate("generation").error(format!("`generation` in {} is for a Shelly", section.name)))
        }
        (Some(plug), None) => {
            let relay = relay.map_or(String::new(), |relay| relay.to_string());
            let topics = ["cmnd", "stat"].map(|prefix| format!("{prefix}/{}/POWER{relay}", plug.value));
            let ask = (topics[0].clone(), "");
            Ok(Some(plug_table(topics, ["ON", "OFF"], ["ON", "OFF"], ask)))
        }
        (None, Some(plug)) => Ok(Some(shelly_plug(&plug.value, generation.unwrap_or(2), relay.unwrap_or(0)))),
        (None, None) => match stray.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                let message = format!("`{key}` in {} is for `tasmota` or `shelly`", section.name);
                Err(section.locate(key).error(message))
            }
            None => Ok(None),
        },
    }
}

/// The first generation has topics of its own; later ones obey where control over MQTT is enabled in their settings.
fn shelly_plug(name: &str, generation: i64, relay: i64) -> Vec<(&'static str, Value)> {
    if generation == 1 {
        let topics = [format!("shellies/{name}/relay/{relay}/command"), format!("shellies/{name}/relay/{relay}")];
        return plug_table(topics, ["on", "off"], ["on", "off"], (format!("shellies/{name}/command"), "update"));
    }
    let topics = [format!("{name}/command/switch:{relay}"), format!("{name}/status/switch:{relay}")];
    let ask = (topics[0].clone(), "status_update");
    plug_table(topics, ["on", "off"], [r#"{"output": true}"#, r#"{"output": false}"#], ask)
}

/// Where a plug is told and where it says its state, with the words, and what makes it say its state.
fn plug_table(
    topics: [String; 2],
    told: [&str; 2],
    says: [&str; 2],
    (asked, question): (String, &str),
) -> Vec<(&'static str, Value)> {
    let [command, status] = topics;
    let ask = vec![("topic".to_owned(), Value::Text(asked)), ("payload".to_owned(), Value::from(question))];
    let status = [("topic", Value::Text(status)), ("on", Value::from(says[0])), ("off", Value::from(says[1]))];
    let status = status.map(|(key, value)| (key.to_owned(), value)).to_vec();
    vec![
        ("topic", Value::Text(command)),
        ("on", Value::from(told[0])),
        ("off", Value::from(told[1])),
        ("status", Value::Table(status)),
        ("ask", Value::Table(ask)),
    ]
}

fn question(mut section: Section<'_>) -> Outcome<Value> {
    let topic = section.text("topic")?;
    section.require("topic", topic)?;
    section.text("payload")?;
    section.finish(&PLUG_ASK)?;
    let mut table = entries(&section);
    default(&mut table, "payload", Value::from(""));
    Ok(Value::Table(table))
}

fn status(mut section: Section<'_>) -> Outcome<Value> {
    let topic = section.text("topic")?;
    section.require("topic", topic)?;
    let words = [section.text("on")?, section.text("off")?];
    section.finish(&PLUG_STATUS)?;
    let mut table = entries(&section);
    for (key, word) in ["on", "off"].into_iter().zip(words) {
        default(&mut table, key, Value::Text(word.map_or_else(|| key.to_uppercase(), |word| word.value)));
    }
    Ok(Value::Table(table))
}

fn scpi(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    let port = section.text("scpi")?;
    port_url(&section, "scpi", port)?;
    for key in ["on", "off", "status", "errors"] {
        section.text(key)?;
    }
    common(&mut section, &POWER_SCPI, &states())?;
    let open = [("on", "OUTP ON"), ("off", "OUTP OFF"), ("status", "OUTP?"), ("errors", "SYST:ERR?")];
    let mut table = completed(&section, "scpi", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    for (key, text) in open {
        default(&mut table, key, Value::from(text));
    }
    Ok(Value::Table(table))
}

/// A URL of a port that can be connected to.
fn port_url(section: &Section<'_>, key: &'static str, given: Option<Located<String>>) -> Outcome<()> {
    let given = section.require(key, given)?;
    match crate::port::PortSpec::parse(&given.value) {
        Ok(_) => Ok(()),
        Err(problem) => Err(given.place.error(format!("`{key}` in {}: {problem}", section.name))),
    }
}

fn power_plugin(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    plugin_name(&mut section)?;
    let actions = actions(&mut section)?;
    common(&mut section, &POWER_PLUGIN, &actions)?;
    let mut table = completed(&section, "plugin", &[("settle", "0s"), ("timeout", ACTION_LIMIT)]);
    default(&mut table, "actions", Value::List(actions.into_iter().map(Value::Text).collect()));
    default(&mut table, "options", Value::Table(Vec::new()));
    Ok(Value::Table(table))
}

fn plugin_name(section: &mut Section<'_>) -> Outcome<()> {
    let name = section.text("plugin")?;
    section.require("plugin", name)?;
    section.section("options")?;
    Ok(())
}

fn reset_command(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    let command = section.text("command")?;
    section.require("command", command)?;
    section.duration("timeout")?;
    section.finish(&RESTART_COMMAND)?;
    Ok(Value::Table(completed(&section, "command", &[("timeout", ACTION_LIMIT)])))
}

fn reset_power(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    section.word("power", &CYCLE)?;
    section.duration("off")?;
    section.finish(&RESTART_POWER)?;
    Ok(Value::Table(completed(&section, "power", &[("off", "1s")])))
}

fn reset_plugin(mut section: Section<'_>, _needs: &mut Vec<Need>) -> Outcome<Value> {
    plugin_name(&mut section)?;
    section.duration("timeout")?;
    section.finish(&RESTART_PLUGIN)?;
    let mut table = completed(&section, "plugin", &[("timeout", ACTION_LIMIT)]);
    default(&mut table, "options", Value::Table(Vec::new()));
    Ok(Value::Table(table))
}

pub(super) fn states() -> Vec<String> {
    vec!["on".to_owned(), "off".to_owned()]
}

fn actions(section: &mut Section<'_>) -> Outcome<Vec<String>> {
    let actions: Vec<String> = section.texts("actions")?.into_iter().map(|action| action.value).collect();
    Ok(if actions.is_empty() { states() } else { actions })
}

/// `settle`, `timeout` and `safe`, which every kind of power has; ends the table.
pub(super) fn common(section: &mut Section<'_>, shape: &Shape, actions: &[String]) -> Outcome<()> {
    section.duration("settle")?;
    section.duration("timeout")?;
    let safe = section.text("safe")?;
    section.finish(shape)?;
    match safe {
        Some(Located { value, place }) if !actions.contains(&value) => {
            let message = format!("`safe` in {} cannot be `{value}`", section.name);
            Err(place.error(message).maybe_hint(did_you_mean(&value, actions.iter().map(String::as_str))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&CYCLE, &Word(&super::super::keys::RECOVERIES)));
    }

    #[test]
    fn a_plug_whose_make_is_known_has_its_topics() {
        let shown = |table: Vec<(&str, Value)>| table.iter().map(|(_, value)| format!("{value:?}")).collect::<String>();
        assert!(shown(shelly_plug("rack", 2, 1)).contains("rack/command/switch:1"));
        assert!(shown(shelly_plug("rack", 2, 1)).contains("rack/status/switch:1"));
        assert!(shown(shelly_plug("shelly1-A1", 1, 0)).contains("shellies/shelly1-A1/relay/0/command"));
    }
}
