//! The life of a device that is judged: `run`, `power`, `restart`, `identity`, `prepare`, `recover`.
//!
//! These tables are carried out elsewhere. Here they are checked, completed with their defaults and handed on.

use super::file::LinkEntry;
use super::keys;
use super::modem;
use super::place::{Outcome, Place, did_you_mean};
use super::plan::DeviceLink;
use super::section::Section;
use super::switching;
use super::tree::{Entry, Node};
use fieldrig_proto::record::Value;

/// Checked tables; durations are texts with a unit.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// What tells one device or firmware from another, by name: each a table.
    pub identity: Vec<(String, Value)>,
    /// What is done before the tests.
    pub prepare: Option<Value>,
    /// What is done after a link was lost.
    pub recover: Option<Value>,
    /// The program that is the device.
    pub run: Option<Value>,
    /// How it is switched; the key `kind` is `command`, `modbus`, `mqtt`, `scpi`, `line`, `qmp` or `plugin`.
    pub power: Option<Value>,
    /// How it is reset; the key `kind` is `command`, `line`, `power` or `plugin`.
    pub restart: Option<Value>,
    /// The links that these tables name, or need one of.
    needs: Vec<Need>,
}

/// A link that must be there.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// How the names of its protocols begin.
    pub(super) family: &'static str,
    /// Its name, if it is given.
    pub(super) link: Option<String>,
    pub(super) place: Place,
    /// It must be one of the device's own; else any of the bench.
    pub(super) own: bool,
    /// Its port must have modem lines, if it is real.
    pub(super) lines: bool,
}

/// How long an action may take if the file does not say.
pub(super) const ACTION_LIMIT: &str = "30s";
const IDENTITY_LIMIT: &str = "10s";
/// How long a program may take until its sockets are there.
const START_LIMIT: &str = "10s";
/// A wait for a CPU that may change what a program does: half of the silence that ends a Modbus frame at 9600 baud.
const STALL: &str = "2ms";
const PREPARE_LIMIT: &str = "5min";
const RECOVER_LIMIT: &str = "1min";

/// Reads the tables of a DUT.
pub(super) fn read(dut: &mut Section<'_>) -> Outcome<Life> {
    let mut life = Life { run: dut.section("run")?.map(run).transpose()?, ..Life::default() };
    if let Some(section) = dut.section("power")? {
        life.power = Some(switching::power(section, &mut life.needs)?);
    }
    let lives_from_a_link = life.needs.iter().any(|need| need.lines);
    if let Some(section) = dut.section("restart")? {
        life.restart = Some(switching::restart(section, life.power.is_some(), &mut life.needs)?);
    }
    if let Some(section) = dut.section("identity")? {
        for entry in section.entries() {
            let table = identity(entry, section.inner_name(&entry.key), &mut life.needs)?;
            life.identity.push((entry.key.clone(), table));
        }
    }
    life.prepare = dut.section("prepare")?.map(|section| prepare(section, &life.identity)).transpose()?;
    if lives_from_a_link && life.prepare.is_some() {
        let message = "the device lives from a modem line of its console, which is closed while it is prepared";
        let hint = "write port = \"..\" under `power`, with a port that is there for this alone";
        return Err(dut.locate("prepare").error(message).hint(hint));
    }
    life.recover = dut.section("recover")?.map(|section| recover(section, life.power.is_some())).transpose()?;
    Ok(life)
}

impl Life {
    /// Whether the power of the device is switched through this link.
    pub(super) fn is_switched_through(&self, link: &str) -> bool {
        self.needs.iter().any(|need| !need.own && need.link.as_deref() == Some(link))
    }

    /// Checks that the links that the tables name are there and fit. `own` are those of the device.
    pub(super) fn check(&self, own: &[&LinkEntry], links: &[LinkEntry]) -> Outcome<()> {
        for need in &self.needs {
            let all: Vec<&LinkEntry> = links.iter().filter(|link| link.owner.is_none()).collect();
            need.check(if need.own { own } else { &all })?;
        }
        Ok(())
    }

    /// Checks that the links of a real device whose modem lines are used have such.
    pub(super) fn check_lines(&self, links: &[DeviceLink]) -> Outcome<()> {
        self.needs.iter().filter(|need| need.lines).try_for_each(|need| modem::check_link(need, links))
    }
}

impl Need {
    fn check(&self, links: &[&LinkEntry]) -> Outcome<()> {
        let fits = |link: &&&LinkEntry| link.protocol.name.starts_with(self.family);
        let Some(name) = &self.link else {
            let fitting: Vec<&str> = links.iter().filter(fits).map(|link| link.name.as_str()).collect();
            return match fitting.as_slice() {
                [_] => Ok(()),
                [] => Err(self.place.error(format!("the device has no {} link", self.family))),
                _ => {
                    let message = format!("the device has several {} links", self.family);
                    Err(self.place.error(message).hint(format!("write link = \"{}\" beside it", fitting[0])))
                }
            };
        };
        let Some(link) = links.iter().find(|link| link.name == *name) else {
            let whose = if self.own { "the device" } else { "the bench" };
            let hint = did_you_mean(name, links.iter().map(|link| link.name.as_str()));
            return Err(self.place.error(format!("{whose} has no link `{name}`")).maybe_hint(hint));
        };
        match fits(&link) {
            true => Ok(()),
            false => {
                Err(self.place.error(format!("the link `{name}` speaks {}, not {}", link.protocol.name, self.family)))
            }
        }
    }
}

fn run(mut section: Section<'_>) -> Outcome<Value> {
    let command = section.text("command")?;
    section.require("command", command)?;
    section.duration("timeout")?;
    section.duration("stall")?;
    section.finish(&keys::RUN)?;
    Ok(Value::Table(completed(&section, "", &[("timeout", START_LIMIT), ("stall", STALL)])))
}

fn identity(entry: &Entry, title: String, needs: &mut Vec<Need>) -> Outcome<Value> {
    let mut section = Section::of(&entry.node, title)?;
    let ways = [
        ("console", section.text("console")?),
        ("modbus", section.text("modbus")?),
        ("mqtt", section.text("mqtt")?),
        ("command", section.text("command")?),
    ];
    section.text("match")?;
    let link = section.text("link")?;
    section.duration("timeout")?;
    section.finish(&keys::IDENTITY)?;
    let mut given = ways.into_iter().filter_map(|(way, text)| Some((way, text?)));
    let (Some((way, asked)), None) = (given.next(), given.next()) else {
        let message = format!("{} must have one of `console`, `modbus`, `mqtt` and `command`", section.name);
        return Err(entry.place.error(message));
    };
    if way != "command" {
        let place = link.as_ref().map_or(asked.place, |link| link.place.clone());
        needs.push(Need { family: way, link: link.map(|link| link.value), place, own: true, lines: false });
    }
    Ok(Value::Table(completed(&section, way, &[("timeout", IDENTITY_LIMIT)])))
}

fn prepare(mut section: Section<'_>, identity: &[(String, Value)]) -> Outcome<Value> {
    let command = section.text("command")?;
    section.require("command", command)?;
    section.text("artifact")?;
    let verify = section.text("verify")?;
    section.word("once", &ONCE)?;
    section.duration("timeout")?;
    section.finish(&keys::PREPARE)?;
    if let Some(verify) = verify.filter(|verify| !identity.iter().any(|(name, _)| *name == verify.value)) {
        let hint = match identity {
            [] => Some("declare it: identity = { firmware = { console = \"ver\", match = 'fw (\\S+)' } }".to_owned()),
            _ => did_you_mean(&verify.value, identity.iter().map(|(name, _)| name.as_str())),
        };
        return Err(verify.place.error(format!("there is no identity `{}`", verify.value)).maybe_hint(hint));
    }
    Ok(Value::Table(completed(&section, "", &[("once", "session"), ("timeout", PREPARE_LIMIT)])))
}

const ONCE: [(&str, ()); 2] = [("session", ()), ("test", ())];
const RECOVERIES: [(&str, ()); 1] = [("cycle", ())];

fn recover(mut section: Section<'_>, has_power: bool) -> Outcome<Value> {
    let (command, power) = (section.text("command")?, section.word("power", &RECOVERIES)?);
    section.duration("timeout")?;
    section.finish(&keys::RECOVER)?;
    if command.is_some() == power.is_some() {
        let message = format!("{} must have one of `command` and `power`", section.name);
        return Err(section.place.error(message));
    }
    if power.is_some() && !has_power {
        let message = format!("{} needs power = {{ .. }} beside it", section.name);
        return Err(section.locate("power").error(message));
    }
    Ok(Value::Table(completed(&section, "", &[("timeout", RECOVER_LIMIT)])))
}

/// The table as it is written, with its kind (if there are several) and what it leaves open.
pub(super) fn completed(section: &Section<'_>, kind: &str, defaults: &[(&str, &str)]) -> Vec<(String, Value)> {
    let mut table = entries(section);
    if !kind.is_empty() {
        default(&mut table, "kind", Value::from(kind));
    }
    for (key, value) in defaults {
        default(&mut table, key, Value::from(*value));
    }
    table
}

pub(super) fn entries(section: &Section<'_>) -> Vec<(String, Value)> {
    section.entries().iter().map(|entry| (entry.key.clone(), Node::value(&entry.node))).collect()
}

pub(super) fn default(table: &mut Vec<(String, Value)>, key: &str, value: Value) {
    if !table.iter().any(|(known, _)| known == key) {
        table.push((key.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::Kind;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&ONCE, &Kind::Word(&keys::ONCE)));
        assert!(is_described_by(&RECOVERIES, &Kind::Word(&keys::RECOVERIES)));
    }
}
