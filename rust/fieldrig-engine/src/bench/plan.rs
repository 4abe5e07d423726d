//! The plan: what a bench file means under the chosen profiles. Nothing is opened yet. How it is found stands in
//! `planner.rs`.

use super::code::ModelLoader;
use super::file::{self, LinkRole, Owner, Profile, UseRole};
use super::life::Life;
use super::place::{BenchFileError, Place, did_you_mean};
use super::planner::Planner;
use super::profiles::Profiles;
use super::protocol_file::{self, DefinedProtocol};
use super::tls::LinkTls;
use super::tree::{self, Environment};
use super::wire::WireNature;
use super::{Model, has_broker};
use crate::ClockKind;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A bench under chosen profiles.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the bench.
    pub name: String,
    /// The bench file.
    pub path: PathBuf,
    /// The clock it runs on.
    pub clock: ClockKind,
    /// How long to wait for a real port that another run holds.
    pub lock_wait: Duration,
    /// The file of waivers.
    pub waivers: Option<PathBuf>,
    /// The file of the user's own requirements.
    pub requirements: Option<PathBuf>,
    /// Values that no artefact may show.
    pub secrets: Vec<String>,
    /// Its links; first those of `[link.*]`, in the order of the file.
    pub links: Vec<Link>,
    /// Its DUTs, then its peers, each in the order of the file.
    pub devices: Vec<DevicePlan>,
    /// The protocols that are defined in files of their own.
    pub protocols: Vec<DefinedProtocol>,
}

/// A link of the bench.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The only device that has it, if it has no `[link.*]`.
    pub owner: Option<String>,
    /// What is spoken on it.
    pub protocol: &'static Protocol,
    /// What fieldrig is on it.
    pub role: LinkRole,
    /// A real device is on it.
    pub real: bool,
    /// Speed and format, if it is a wire.
    pub line: Option<LineSettings>,
    /// What stands for `{base}`.
    pub base: Option<String>,
    /// Its embedded broker, if it has one.
    pub broker: Option<BrokerPlan>,
    /// The broker of others, if devices meet there: URL.
    pub outside: Option<String>,
    /// For brokers that ask for it.
    pub username: Option<String>,
    /// For brokers that ask for it.
    pub password: Option<String>,
    /// What is trusted at a broker with TLS.
    pub ca: Option<CaFile>,
    /// Its wires in memory: none, one, or two with a proxy in between (the side of the devices first).
    pub wires: Vec<WirePlan>,
    /// What stands between the two sides, if fieldrig is the proxy of a network path.
    pub proxy: Option<ProxyPlan>,
    /// The real port of the side of the devices, if it has one: URL.
    pub port: Option<String>,
    /// Why it cannot be opened, although the file is sound.
    pub refused: Option<BenchFileError>,
}

/// A file of certificates, which nobody has opened yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaFile {
    /// Where it is: beside the bench file, unless the name is absolute.
    pub path: PathBuf,
    /// Where the bench file names it.
    pub place: Place,
}

/// An embedded broker.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerPlan {
    /// Where it listens for devices: a port URL.
    pub listen: String,
    /// Where it listens for testers.
    pub private: String,
    /// Its settings.
    pub settings: Vec<(String, Value)>,
}

/// A wire in memory.
#[derive(Clone, PartialEq, Debug)]
pub struct WirePlan {
    /// Its name: the URL is `wire://NAME`.
    pub name: String,
    /// Its speed; a real port that is joined to it has its own.
    pub pace: Option<LineSettings>,
    /// The real port that is joined to it: URL.
    pub real: Option<String>,
    /// What else it is like.
    pub nature: WireNature,
}

/// A proxy on a network path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyPlan {
    /// Where it listens for clients: a port URL.
    pub listen: String,
    /// Who answers.
    pub to: Whom,
}

/// Whom a client asks on a network path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// An emulated device.
    Device(String),
    /// Whatever is at this URL.
    Url(String),
    /// The proxy of the link.
    Proxy,
}

/// A DUT or a peer.
#[derive(Clone, Debug)]
pub struct DevicePlan {
    /// Its name.
    pub name: String,
    /// It is a DUT; else it is a peer.
    pub judged: bool,
    /// How it is provided; peers are always emulated.
    pub profile: Profile,
    /// Why it cannot be used under its profile.
    pub not_run: Option<String>,
    /// Its model, if it has one.
    pub model: Option<Arc<Model>>,
    /// What the bench file hands to a model in Python.
    pub settings: Value,
    /// Its tags.
    pub tags: Vec<String>,
    /// What goes back to its initial state when a test begins.
    pub reset: Vec<String>,
    /// What tests may write: points and ranges of addresses.
    pub writable: Vec<String>,
    /// What else suites may do to it.
    pub allow: Vec<String>,
    /// How it is switched, identified, prepared and recovered.
    pub life: Life,
    /// The links it uses.
    pub links: Vec<DeviceLink>,
}

/// How a device uses a link.
#[derive(Clone, Debug)]
pub struct DeviceLink {
    /// Name of the link.
    pub name: String,
    /// What is spoken.
    pub protocol: &'static Protocol,
    /// What the device is there.
    pub role: UseRole,
    /// The tester has an end of its own for this device.
    pub tested: bool,
    /// Speed and format, if it is a wire.
    pub line: Option<LineSettings>,
    /// What stands for `{base}`.
    pub base: Option<String>,
    /// Unit id of the device.
    pub unit: Option<i64>,
    /// The face of the model that is on it.
    pub face: String,
    /// To whom the port belongs.
    pub belongs_to: Owner,
    /// Where it is.
    pub reached: Reached,
    /// For brokers that ask for it.
    pub username: Option<String>,
    /// For brokers that ask for it.
    pub password: Option<String>,
    /// Its certificates, if it stands on TLS.
    pub tls: Option<LinkTls>,
    /// How fieldrig asks on it: settings of the constructor of a tester.
    pub client: Vec<(String, Value)>,
    /// Where the use stands in the bench file.
    pub(super) place: Place,
}

/// Where a device and whoever talks to it meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reached {
    /// At a pty that is made for it.
    Pty,
    /// At a free port of the loopback interface.
    Loopback,
    /// At this address, where the emulated device listens.
    Listen(String),
    /// In memory, where the emulated device listens under this name.
    Memory(String),
    /// On the wire in memory of this name.
    Wire(String),
    /// At this real port: a port URL.
    Port(String),
    /// The emulated device itself connects.
    Asks(Whom),
    /// The real device itself connects; there is nothing to open.
    Elsewhere,
    /// At the embedded broker of the link.
    EmbeddedBroker,
    /// At this broker: URL.
    Broker(String),
}

impl Plan {
    /// The device of this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&DevicePlan> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The devices that are judged.
    pub fn duts(&self) -> impl Iterator<Item = &DevicePlan> {
        self.devices.iter().filter(|device| device.judged)
    }

    /// The link of this name that any device may use.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.owner.is_none() && link.name == name)
    }

    /// The link of this name that a device has: its own, or that of the bench.
    #[must_use]
    pub fn link_of(&self, device: &str, name: &str) -> Option<&Link> {
        let own = |link: &&Link| link.name == name && link.owner.as_deref() == Some(device);
        self.links.iter().find(own).or_else(|| self.link(name))
    }

    /// The real ports of a link, each once: URLs.
    #[must_use]
    pub fn ports_of<'a>(&'a self, link: &'a Link) -> Vec<&'a str> {
        let mut ports: Vec<&'a str> = Vec::new();
        let uses = self.devices.iter().flat_map(|device| device.links.iter().map(move |used| (device, used)));
        let of_devices = uses.filter_map(|(device, used)| match &used.reached {
            Reached::Port(url) if self.link_of(&device.name, &used.name).is_some_and(|of| of.is(link)) => Some(&**url),
            _ => None,
        });
        let joined = link.wires.iter().filter_map(|wire| wire.real.as_deref());
        for port in link.port.as_deref().into_iter().chain(joined).chain(of_devices) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }

    /// Every real port that the bench uses, each once: URLs.
    #[must_use]
    pub fn real_ports(&self) -> Vec<&str> {
        let mut ports: Vec<&str> = Vec::new();
        for port in self.links.iter().flat_map(|link| self.ports_of(link)) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }
}

impl Link {
    /// What it is called where the names of all links must differ.
    #[must_use]
    pub fn full_name(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| format!("{owner}.{}", self.name))
    }

    fn is(&self, other: &Link) -> bool {
        self.name == other.name && self.owner == other.owner
    }
}

impl DevicePlan {
    /// The device is built from its model.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.profile == Profile::Emulated && self.not_run.is_none()
    }

    /// What the model says about the face on a link: with it a client finds the points of a real device by name.
    #[must_use]
    pub fn face_settings(&self, link: &str) -> Option<Value> {
        let face = &self.links.iter().find(|used| used.name == link)?.face;
        self.model.as_ref()?.face_settings(face)
    }
}

impl DeviceLink {
    /// A link for a device without a bench: the face has the name of the link, and nothing else is known.
    #[must_use]
    pub fn new(name: &str, protocol: &'static Protocol, reached: Reached) -> DeviceLink {
        DeviceLink {
            name: name.to_owned(),
            protocol,
            role: UseRole::Devices,
            tested: true,
            line: None,
            base: None,
            unit: None,
            face: name.to_owned(),
            belongs_to: Owner::default(),
            reached,
            username: None,
            password: None,
            tls: None,
            client: Vec::new(),
            place: Place::file(&Arc::from(format!("link `{name}`"))),
        }
    }

    /// The device asks, and nobody stands in between.
    pub(super) fn asks(&self) -> bool {
        self.role == UseRole::Client && !has_broker(self.protocol)
    }

    /// What the bench knows and a face may want to know, by the names of their keys.
    pub(super) fn given(&self, url: &str) -> Vec<(&'static str, Value)> {
        let text = |value: &Option<String>| value.clone().map(Value::Text);
        let given = [
            ("unit", self.unit.map(Value::Int)),
            ("base", text(&self.base)),
            ("url", Some(Value::from(url))),
            ("line", self.line.map(|line| Value::Text(line.to_string()))),
            ("username", text(&self.username)),
            ("password", text(&self.password)),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Reads a bench file with its overlay (`bench.local.toml` beside `bench.toml`) and its model files; `models` loads
/// those that are programs.
///
/// # Errors
/// The first thing that is wrong with any of them, with its place.
pub fn load(
    path: &Path,
    profiles: &Profiles,
    environment: Environment<'_>,
    protocols: &[&'static Protocol],
    models: &dyn ModelLoader,
) -> Result<Plan, BenchFileError> {
    let mut tree = tree::read(path, environment)?;
    let local = path.with_extension("local.toml");
    if local.exists() {
        tree.overlay(tree::read(&local, environment)?);
    }
    // What a link needs with a real device on it may be missing where there is none.
    let spared = |path: &[String]| matches!(path, [link, _, real] if link == "link" && real == "real");
    if let Some(error) = tree.unset(&mut Vec::new(), &spared) {
        return Err(error.clone());
    }
    let defined = protocol_file::take(&mut tree, path, environment, protocols)?;
    let protocols: Vec<&'static Protocol> =
        protocols.iter().copied().chain(defined.iter().map(|defined| defined.protocol)).collect();
    let bench = file::read(&tree, &protocols)?;
    for (name, _) in &profiles.by_device {
        let duts = || bench.devices.iter().filter(|device| device.judged).map(|device| device.name.as_str());
        if !duts().any(|dut| dut == name) {
            let message = format!("a profile is chosen for `{name}`, which is no DUT of this bench");
            return Err(tree::whole_file(path)(message).maybe_hint(did_you_mean(name, duts())));
        }
    }
    let secrets = secrets(&tree, bench.bench.secrets.iter().map(|name| name.value.as_str()), environment);
    let plan = Planner { path, environment, profiles, bench: &bench, models }.plan(secrets)?;
    Ok(Plan { protocols: defined, ..plan })
}

/// What is to be masked: whatever stands under a key that is always secret, and the variables that the file names.
fn secrets<'a>(
    tree: &tree::Node,
    variables: impl Iterator<Item = &'a str>,
    environment: Environment<'_>,
) -> Vec<String> {
    let mut secrets: Vec<String> = variables.filter_map(environment).collect();
    tree.texts_under(&["password", "token", "key", "secret"], &mut secrets);
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort();
    secrets.dedup();
    secrets
}
