//! The bench file as it is written: `[bench]` and `[link.*]`; `[dut.*]` and `[peer.*]` are read in `device.rs`. What it
//! means under a profile is decided in `plan.rs`.

use super::device::{self, DeviceEntry};
use super::keys;
use super::place::{BenchFileError, Outcome, Place, did_you_mean};
use super::ports::port_options;
use super::section::{Located, Section};
use super::tls::{self, TlsTable};
use super::tree::{Entry, Node};
use super::wire::{self, WireNature};
use crate::ClockKind;
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

/// What fieldrig is on a link.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum LinkRole {
    /// It asks, or connects.
    #[default]
    Client,
    /// It answers as one or more devices.
    Devices,
    /// It only hears what others say to each other.
    Listen,
    /// It stands between two halves of the link and hands on what they say, or does not.
    Proxy,
}

impl LinkRole {
    /// The word used in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        LINK_ROLES.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }
}

/// What a device is on a link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum UseRole {
    /// It asks, or connects.
    Client,
    /// It answers.
    Devices,
}

impl UseRole {
    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            UseRole::Client => "client",
            UseRole::Devices => "devices",
        }
    }
}

pub(super) const LINK_ROLES: [(&str, LinkRole); 4] = [
    ("client", LinkRole::Client),
    ("devices", LinkRole::Devices),
    ("listen", LinkRole::Listen),
    ("proxy", LinkRole::Proxy),
];
pub(super) const OWNERS: [(&str, Owner); 2] = [("dut", Owner::Dut), ("bench", Owner::Bench)];
pub(super) const CLOCKS: [(&str, ClockKind); 2] = [("real", ClockKind::Real), ("virtual", ClockKind::Virtual)];

/// A whole bench file.
pub(super) struct BenchFile {
    pub(super) bench: Bench,
    pub(super) links: Vec<LinkEntry>,
    pub(super) devices: Vec<DeviceEntry>,
}

/// `[bench]`.
pub(super) struct Bench {
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) clock: ClockKind,
    /// Where the clock was chosen.
    pub(super) clock_place: Place,
    pub(super) lock_wait: Duration,
    pub(super) waivers: Option<Located<String>>,
    pub(super) requirements: Option<Located<String>>,
    pub(super) secrets: Vec<Located<String>>,
}

/// `[link.NAME]`.
pub(super) struct LinkEntry {
    pub(super) name: String,
    pub(super) place: Place,
    /// The only device that has it, if it has no `[link.*]`.
    pub(super) owner: Option<String>,
    pub(super) protocol: &'static Protocol,
    pub(super) role: LinkRole,
    /// Where its role stands.
    pub(super) role_place: Place,
    pub(super) line: Option<LineSettings>,
    pub(super) base: Option<String>,
    /// What who connects shows.
    pub(super) tls: Option<TlsTable>,
    /// How fieldrig asks.
    pub(super) client: Vec<(String, Value)>,
    pub(super) emulated: Provided,
    pub(super) real: Option<Provided>,
}

/// `emulated = {..}` or `real = {..}` of a link.
#[derive(Clone, Default)]
pub(super) struct Provided {
    pub(super) port: Option<Located<String>>,
    pub(super) belongs_to: Option<Owner>,
    /// What is done to the port when it is opened.
    pub(super) options: Option<Located<String>>,
    /// The second port of a proxy.
    pub(super) other: Option<Located<String>>,
    pub(super) broker: Option<Located<String>>,
    pub(super) listen: Option<Located<String>>,
    /// What the emulated device shows.
    pub(super) tls: Option<TlsTable>,
    /// What the wire in memory is like.
    pub(super) wire: Option<Located<WireNature>>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// Certificates that are trusted.
    pub(super) ca: Option<Located<String>>,
    /// The first variable that is not set: an error once the link is provided this way.
    pub(super) unset: Option<BenchFileError>,
    /// Settings of the embedded broker, by the keys of its constructor.
    pub(super) settings: Vec<(String, Value)>,
}

/// Reads the tree of a bench file.
pub(super) fn read(tree: &Node, protocols: &[&'static Protocol]) -> Outcome<BenchFile> {
    let mut file = Section::of(tree, "the file")?;
    let bench = file.section("bench")?;
    let bench = bench_table(file.require("bench", bench)?)?;
    let mut links = named(&mut file, "link", |entry, name| link(entry, name, protocols))?;
    let mut devices = named(&mut file, "dut", |entry, name| device::read(entry, name, true))?;
    devices.extend(named(&mut file, "peer", |entry, name| device::read(entry, name, false))?);
    file.finish(&keys::BENCH_FILE)?;
    check_names(&devices)?;
    links.extend(private_links(&devices, &links, protocols)?);
    Ok(BenchFile { bench, links, devices })
}

fn bench_table(mut section: Section<'_>) -> Outcome<Bench> {
    let name = section.text("name")?;
    let bench = Bench {
        name: section.require("name", name)?.value,
        profile: profile(&mut section)?,
        clock: section.word("clock", &CLOCKS)?.unwrap_or_default(),
        clock_place: section.locate("clock"),
        lock_wait: section.duration("lock_wait")?.unwrap_or_default(),
        waivers: section.text("waivers")?,
        requirements: section.text("requirements")?,
        secrets: section.texts("secrets")?,
    };
    section.finish(&keys::BENCH)?;
    Ok(bench)
}

fn profile(bench: &mut Section<'_>) -> Outcome<Profile> {
    let Some(word) = bench.word_as_written("profile")? else { return Ok(Profile::default()) };
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
        owner: None,
        protocol,
        role: section.word("role", &LINK_ROLES)?.unwrap_or_default(),
        role_place: section.locate("role"),
        line: section.line("line")?,
        base: section.text("base")?.map(|base| base.value),
        tls: tls::read(&mut section, protocol)?,
        client: section.section("client")?.map_or_else(|| Ok(Vec::new()), |client| tester(client, protocol))?,
        emulated: provided(&mut section, "emulated", protocol)?.unwrap_or_default(),
        real: provided(&mut section, "real", protocol)?,
    };
    section.finish(&keys::LINK)?;
    if !link.client.is_empty() && link.role != LinkRole::Client {
        let message = format!("`client` says how fieldrig asks, and on [link.{}] it asks nobody", link.name);
        return Err(link.role_place.error(message).hint("write role = \"client\", or leave `client` out"));
    }
    Ok(link)
}

/// How fieldrig asks: what the constructor of a tester understands.
fn tester(mut section: Section<'_>, protocol: &Protocol) -> Outcome<Vec<(String, Value)>> {
    let Some(constructor) = protocol.constructor(Role::Tester) else {
        let message = format!("nothing can be said about how fieldrig asks over {}", protocol.name);
        return Err(section.place.error(message).hint("leave `client` out"));
    };
    let settings = constructed(&mut section, constructor)?;
    let names: Vec<&str> = constructor.keys.iter().map(|key| key.name).collect();
    section.finish_with(&keys::TESTER, &names)?;
    Ok(settings)
}

/// A header `[link.x]` has no place of its own that people look at; its name has.
pub(super) fn missing(entry: &Entry, key: &str, title: &str) -> BenchFileError {
    entry.place.error(format!("missing key `{key}` in {title}"))
}

fn find_protocol(name: &Located<String>, protocols: &[&'static Protocol]) -> Outcome<&'static Protocol> {
    protocols.iter().copied().find(|protocol| protocol.name == name.value).ok_or_else(|| {
        let hint = did_you_mean(&name.value, protocols.iter().map(|protocol| protocol.name));
        name.place.error(format!("unknown protocol `{}`", name.value)).maybe_hint(hint)
    })
}

/// Which keys there are depends on whether devices meet at a broker or at a port.
fn provided(outer: &mut Section<'_>, key: &'static str, protocol: &Protocol) -> Outcome<Option<Provided>> {
    let Some(section) = outer.section(key)? else { return Ok(None) };
    let mut node = section.as_node();
    let unset = node.take_unset();
    let mut section = Section::of(&node, section.name)?;
    let mut provided = Provided { listen: section.text("listen")?, unset, ..Provided::default() };
    if let Some(constructor) = protocol.constructor(Role::Broker) {
        provided.broker = section.text("broker")?;
        provided.username = section.text("username")?.map(|text| text.value);
        provided.password = section.text("password")?.map(|text| text.value);
        provided.ca = section.text("ca")?;
        provided.settings = constructed(&mut section, constructor)?;
        let settings: Vec<&str> = constructor.keys.iter().map(|key| key.name).collect();
        section.finish_with(&keys::BROKER, &settings)?;
    } else if key == "real" {
        provided.port = section.text("port")?;
        provided.belongs_to = section.word("belongs_to", &OWNERS)?;
        provided.options = port_options(&mut section)?;
        provided.other = section.text("other")?;
        section.finish(&keys::REAL_PORT)?;
    } else {
        provided.tls = tls::read(&mut section, protocol)?;
        provided.wire = wire::read(&mut section)?;
        section.finish(&keys::EMULATED_PORT)?;
    }
    Ok(Some(provided))
}

/// What a constructor understands. It is tried at once, so that what it refuses is told at its place.
fn constructed(section: &mut Section<'_>, constructor: &Constructor) -> Outcome<Vec<(String, Value)>> {
    let mut settings = Vec::new();
    for key in constructor.keys {
        settings.extend(section.node(key.name).map(|node| (key.name.to_owned(), node.value())));
    }
    match (constructor.build)("link", &settings) {
        Ok(_) => Ok(settings),
        Err(error) => {
            let place = section.locate(error.key.split('.').next().unwrap_or_default());
            Err(place.error(format!("`{}` in {}: {}", error.key, section.name, error.problem)).maybe_hint(error.hint))
        }
    }
}

/// A link that only one device names, with a port or a line of its own, needs no `[link.*]`: its name is that of its
/// protocol, or the protocol stands with it.
fn private_links(
    devices: &[DeviceEntry],
    links: &[LinkEntry],
    protocols: &[&'static Protocol],
) -> Outcome<Vec<LinkEntry>> {
    let mut found: Vec<LinkEntry> = Vec::new();
    for device in devices {
        for used in &device.links {
            let known = links.iter().any(|link| link.name == used.link);
            match &used.protocol {
                Some(protocol) if known => {
                    let message = format!("[link.{}] says which protocol is spoken there", used.link);
                    return Err(protocol
                        .place
                        .error(message)
                        .hint("give this link another name, or leave `protocol` out"));
                }
                None if known => {
                    let Some((_, client)) = &used.client else { continue };
                    let error = client.place.error(format!("[link.{}] says how fieldrig asks there", used.link));
                    return Err(error.hint(format!("write `client` into [link.{}]", used.link)));
                }
                _ => {}
            }
            let own = used.port.is_some() || used.line.is_some() || used.protocol.is_some();
            let protocol = match &used.protocol {
                Some(protocol) => Some(find_protocol(protocol, protocols)?),
                None => protocols.iter().copied().find(|protocol| protocol.name == used.link),
            };
            let Some(protocol) = protocol.filter(|_| own) else {
                let hint = did_you_mean(&used.link, links.iter().map(|link| link.name.as_str()));
                return Err(used.place.error(format!("there is no [link.{}]", used.link)).maybe_hint(hint));
            };
            let client = used.client.as_ref().map(|(name, table)| tester(Section::of(table, name.as_str())?, protocol));
            let client = client.transpose()?.unwrap_or_default();
            if let Some((name, table)) = used.client.as_ref().filter(|_| used.role == Some(UseRole::Client)) {
                let message = format!("{name} says how fieldrig asks, and there it is the device that asks");
                return Err(table.place.error(message).hint("leave `client` out"));
            }
            found.push(LinkEntry {
                name: used.link.clone(),
                place: used.place.clone(),
                owner: Some(device.name.clone()),
                protocol,
                role: LinkRole::Client,
                role_place: used.place.clone(),
                line: used.line,
                base: None,
                tls: None,
                client,
                emulated: Provided::default(),
                real: None,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::Kind;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&LINK_ROLES, &Kind::Word(&keys::LINK_ROLES)));
        assert!(is_described_by(&OWNERS, &Kind::Word(&keys::OWNERS)));
        assert!(is_described_by(&CLOCKS, &Kind::Word(&keys::CLOCKS)));
        assert!(keys::PROFILES.iter().all(|word| Profile::parse(word).is_ok_and(|profile| profile.word() == *word)));
    }
}
