//! The bench file as it is written: `[bench]`, `[link.*]`, `[dut.*]`, `[peer.*]`. What it means under a profile is
//! decided in `plan.rs`.

use super::place::{Outcome, Place, did_you_mean};
use super::section::{Located, Section};
use super::tree::{Data, Entry, Node};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::{Constructor, Protocol, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;

/// How a DUT is provided.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Built from its model.
    #[default]
    Emulated,
    /// Reached through real ports.
    Real,
}

impl Profile {
    /// The word used in files, options and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Profile::Emulated => "emulated",
            Profile::Real => "real",
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// What is wrong with it, and what could stand there.
    pub fn parse(word: &str) -> Result<Profile, (String, Option<String>)> {
        match word {
            "emulated" => Ok(Profile::Emulated),
            "real" => Ok(Profile::Real),
            "replay" => {
                let hint = Some("use `emulated` or `real`".to_owned());
                Err(("the profile `replay` is not there yet".to_owned(), hint))
            }
            _ => Err((format!("unknown profile `{word}`"), did_you_mean(word, ["emulated", "real"]))),
        }
    }
}

/// To whom a port belongs: who is to blame when it goes away.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// The device: its loss is expected after a reset we commanded, else the device's error.
    Dut,
    /// The bench: its loss is ours.
    #[default]
    Bench,
}

impl Owner {
    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Owner::Dut => "dut",
            Owner::Bench => "bench",
        }
    }
}

/// What somebody is on a link.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum LinkRole {
    /// It asks, or connects.
    #[default]
    Client,
    /// It answers as one or more devices.
    Devices,
}

const ROLES: [(&str, LinkRole); 2] = [("client", LinkRole::Client), ("devices", LinkRole::Devices)];
const OWNERS: [(&str, Owner); 2] = [("dut", Owner::Dut), ("bench", Owner::Bench)];

/// A whole bench file.
pub(super) struct BenchFile {
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) links: Vec<LinkEntry>,
    pub(super) devices: Vec<DeviceEntry>,
}

/// `[link.NAME]`.
pub(super) struct LinkEntry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) protocol: &'static Protocol,
    pub(super) role: LinkRole,
    pub(super) line: Option<LineSettings>,
    pub(super) base: Option<String>,
    pub(super) emulated: Provided,
    pub(super) real: Option<Provided>,
}

/// `emulated = {..}` or `real = {..}` of a link.
#[derive(Clone, Default)]
pub(super) struct Provided {
    pub(super) port: Option<Located<String>>,
    pub(super) belongs_to: Option<Owner>,
    pub(super) broker: Option<Located<String>>,
    pub(super) listen: Option<Located<String>>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// Settings of the embedded broker, by the keys of its constructor.
    pub(super) settings: Vec<(String, Value)>,
}

/// `[dut.NAME]` or `[peer.NAME]`.
pub(super) struct DeviceEntry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) judged: bool,
    pub(super) model: Option<Located<String>>,
    pub(super) tags: Vec<String>,
    pub(super) power: Option<Power>,
    pub(super) links: Vec<Use>,
}

/// How a device uses a link.
pub(super) struct Use {
    pub(super) link: String,
    pub(super) place: Place,
    pub(super) role: Option<LinkRole>,
    pub(super) unit: Option<i64>,
    pub(super) face: Option<String>,
    pub(super) line: Option<LineSettings>,
    pub(super) port: Option<Located<String>>,
    pub(super) belongs_to: Option<Owner>,
}

/// How a real device is switched on and off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Power {
    /// The command; `{action}` stands for what is to be done.
    pub command: String,
    /// What the command can do.
    pub actions: Vec<String>,
    /// How long the device needs until it can be used again.
    pub settle: Duration,
    /// How long the command may take.
    pub timeout: Duration,
    /// What is done at the end of a run.
    pub safe: Option<String>,
}

/// Reads the tree of a bench file.
pub(super) fn read(tree: &Node, protocols: &[&'static Protocol]) -> Outcome<BenchFile> {
    let mut file = Section::of(tree, "the file")?;
    let bench = file.section("bench")?;
    let mut bench = file.require("bench", bench)?;
    let name = bench.text("name")?;
    let name = bench.require("name", name)?.value;
    let profile = profile(&mut bench)?;
    bench.finish()?;
    let mut links = named(&mut file, "link", |entry, name| link(entry, name, protocols))?;
    let mut devices = named(&mut file, "dut", |entry, name| device(entry, name, true))?;
    devices.extend(named(&mut file, "peer", |entry, name| device(entry, name, false))?);
    file.finish()?;
    check_names(&devices)?;
    links.extend(private_links(&devices, &links, protocols)?);
    Ok(BenchFile { name, profile, links, devices })
}

fn profile(bench: &mut Section<'_>) -> Outcome<Profile> {
    let Some(word) = bench.text("profile")? else { return Ok(Profile::default()) };
    Profile::parse(&word.value).map_err(|(problem, hint)| word.place.error(problem).maybe_hint(hint))
}

/// The entries of `[kind.*]`, each under a name that Python can use.
fn named<T>(
    file: &mut Section<'_>,
    kind: &'static str,
    mut read: impl FnMut(&Entry, String) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let Some(section) = file.section(kind)? else { return Ok(Vec::new()) };
    let read = |entry: &Entry| {
        let letters = entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !letters || entry.key.is_empty() || entry.key.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` cannot be the name of a {kind}: tests use it as a name in Python", entry.key);
            return Err(entry.place.error(message).hint("write letters, digits and `_`, not beginning with a digit"));
        }
        read(entry, format!("[{kind}.{}]", entry.key))
    };
    section.entries().iter().map(read).collect()
}

fn check_names(devices: &[DeviceEntry]) -> Outcome<()> {
    for (index, device) in devices.iter().enumerate() {
        if devices[..index].iter().any(|other| other.name == device.name) {
            return Err(device.place.error(format!("`{}` is the name of a dut and of a peer", device.name)));
        }
    }
    Ok(())
}

fn link(entry: &Entry, title: String, protocols: &[&'static Protocol]) -> Outcome<LinkEntry> {
    let mut section = Section::of(&entry.node, title)?;
    let protocol = section.text("protocol")?;
    let Some(protocol) = protocol else { return Err(missing(entry, "protocol", &section.name)) };
    let protocol = find_protocol(&protocol, protocols)?;
    let link = LinkEntry {
        name: entry.key.clone(),
        place: entry.place.clone(),
        protocol,
        role: role(&mut section)?.unwrap_or_default(),
        line: section.line("line")?,
        base: section.text("base")?.map(|base| base.value),
        emulated: provided(&mut section, "emulated", protocol)?.unwrap_or_default(),
        real: provided(&mut section, "real", protocol)?,
    };
    section.finish()?;
    Ok(link)
}

/// A header `[link.x]` has no place of its own that people look at; its name has.
fn missing(entry: &Entry, key: &str, title: &str) -> super::BenchFileError {
    entry.place.error(format!("missing key `{key}` in {title}"))
}

fn find_protocol(name: &Located<String>, protocols: &[&'static Protocol]) -> Outcome<&'static Protocol> {
    protocols.iter().copied().find(|protocol| protocol.name == name.value).ok_or_else(|| {
        let hint = did_you_mean(&name.value, protocols.iter().map(|protocol| protocol.name));
        name.place.error(format!("unknown protocol `{}`", name.value)).maybe_hint(hint)
    })
}

fn role(section: &mut Section<'_>) -> Outcome<Option<LinkRole>> {
    match section.node("role") {
        Some(Node { data: Data::Text(word), place }) if word == "listen" || word == "proxy" => {
            let message = format!("the role `{word}` is not there yet");
            Err(place.error(message).hint("use `client` or `devices`"))
        }
        _ => section.word("role", &ROLES),
    }
}

/// Which keys there are depends on whether devices meet at a broker or at a port.
fn provided(outer: &mut Section<'_>, key: &'static str, protocol: &Protocol) -> Outcome<Option<Provided>> {
    let Some(mut section) = outer.section(key)? else { return Ok(None) };
    let mut provided = Provided::default();
    if let Some(constructor) = protocol.constructor(Role::Broker) {
        provided.broker = section.text("broker")?;
        provided.listen = section.text("listen")?;
        provided.username = section.text("username")?.map(|text| text.value);
        provided.password = section.text("password")?.map(|text| text.value);
        provided.settings = broker_settings(&mut section, constructor)?;
    } else if key == "real" {
        provided.port = section.text("port")?;
        provided.belongs_to = section.word("belongs_to", &OWNERS)?;
    }
    section.finish()?;
    Ok(Some(provided))
}

/// What the constructor of the broker understands. It is tried at once, so that what it refuses is told at its place.
fn broker_settings(section: &mut Section<'_>, constructor: &Constructor) -> Outcome<Vec<(String, Value)>> {
    let mut settings = Vec::new();
    for key in constructor.keys {
        settings.extend(section.node(key.name).map(|node| (key.name.to_owned(), node.value())));
    }
    match (constructor.build)("broker", &settings) {
        Ok(_) => Ok(settings),
        Err(error) => {
            let place = section.locate(error.key.split('.').next().unwrap_or_default());
            Err(place.error(format!("`{}` in {}: {}", error.key, section.name, error.problem)).maybe_hint(error.hint))
        }
    }
}

fn device(entry: &Entry, title: String, judged: bool) -> Outcome<DeviceEntry> {
    let mut section = Section::of(&entry.node, title)?;
    let model = section.text("model")?;
    if model.is_none() && !judged {
        return Err(missing(entry, "model", &section.name));
    }
    let unit = section.integer("unit", 0, 255)?;
    let mut links = uses(&mut section)?;
    if !judged {
        links.extend(single_use(&mut section)?);
    }
    links.iter_mut().for_each(|link| link.unit = link.unit.or(unit));
    let tags = section.texts("tags")?.into_iter().map(|tag| tag.value).collect();
    let power = if judged { power(&mut section)? } else { None };
    section.finish()?;
    if links.is_empty() {
        return Err(missing(entry, if judged { "links" } else { "link" }, &section.name));
    }
    let (name, place) = (entry.key.clone(), entry.place.clone());
    Ok(DeviceEntry { name, place, judged, model, tags, power, links })
}

/// `links = { modbus = "devices", console = { belongs_to = "dut" } }`.
fn uses(section: &mut Section<'_>) -> Outcome<Vec<Use>> {
    let Some(links) = section.section("links")? else { return Ok(Vec::new()) };
    let read = |entry: &Entry| {
        let mut link = Use::of(&entry.key, &entry.place);
        if let Data::Text(_) = entry.node.data {
            link.role = Some(links.role_of(entry)?);
            return Ok(link);
        }
        let mut section = Section::of(&entry.node, links.inner_name(&entry.key))?;
        link.role = role(&mut section)?;
        link.unit = section.integer("unit", 0, 255)?;
        link.face = section.text("face")?.map(|face| face.value);
        link.line = section.line("line")?;
        link.port = section.text("port")?;
        link.belongs_to = section.word("belongs_to", &OWNERS)?;
        section.finish()?;
        Ok(link)
    };
    links.entries().iter().map(read).collect()
}

impl Section<'_> {
    /// The role in `links = { modbus = "devices" }`.
    fn role_of(&self, entry: &Entry) -> Outcome<LinkRole> {
        let word = entry.node.value();
        let word = word.as_str().unwrap_or_default();
        ROLES.iter().find(|(name, _)| *name == word).map(|(_, role)| *role).ok_or_else(|| {
            let message = format!("`{}` in {} cannot be `{word}`", entry.key, self.name);
            entry.node.place.error(message).maybe_hint(did_you_mean(word, ROLES.iter().map(|(name, _)| *name)))
        })
    }
}

/// A peer has `link = "bus485"` and `face = "modbus"` instead of a table.
fn single_use(section: &mut Section<'_>) -> Outcome<Option<Use>> {
    let face = section.text("face")?.map(|face| face.value);
    let Some(link) = section.text("link")? else { return Ok(None) };
    Ok(Some(Use { face, ..Use::of(&link.value, &link.place) }))
}

impl Use {
    fn of(link: &str, place: &Place) -> Use {
        let (link, place) = (link.to_owned(), place.clone());
        Use { link, place, role: None, unit: None, face: None, line: None, port: None, belongs_to: None }
    }
}

fn power(section: &mut Section<'_>) -> Outcome<Option<Power>> {
    let Some(mut power) = section.section("power")? else { return Ok(None) };
    let command = power.text("command")?;
    let command = power.require("command", command)?;
    if !command.value.contains("{action}") {
        let message = format!("`command` in {} has no `{{action}}`", power.name);
        return Err(command.place.error(message).hint("write it where `on` or `off` goes: \"relay.sh {action} 7\""));
    }
    let actions = power.texts("actions")?.into_iter().map(|action| action.value).collect();
    let settle = power.duration("settle")?.unwrap_or_default();
    let timeout = power.duration("timeout")?.unwrap_or(Duration::from_secs(30));
    let safe = power.text("safe")?.map(|safe| safe.value);
    power.finish()?;
    Ok(Some(Power { command: command.value, actions, settle, timeout, safe }))
}

/// A link that only one device names, with a port of its own, needs no `[link.*]`: its name is that of its protocol.
fn private_links(
    devices: &[DeviceEntry],
    links: &[LinkEntry],
    protocols: &[&'static Protocol],
) -> Outcome<Vec<LinkEntry>> {
    let mut found: Vec<LinkEntry> = Vec::new();
    for link in devices.iter().flat_map(|device| &device.links) {
        if links.iter().chain(&found).any(|known| known.name == link.link) {
            continue;
        }
        let protocol = protocols.iter().copied().find(|protocol| protocol.name == link.link);
        let Some(protocol) = protocol.filter(|_| link.port.is_some() || link.line.is_some()) else {
            let hint = did_you_mean(&link.link, links.iter().map(|link| link.name.as_str()));
            return Err(link.place.error(format!("there is no [link.{}]", link.link)).maybe_hint(hint));
        };
        found.push(LinkEntry {
            name: link.link.clone(),
            place: link.place.clone(),
            protocol,
            role: LinkRole::Client,
            line: link.line,
            base: None,
            emulated: Provided::default(),
            real: None,
        });
    }
    Ok(found)
}
