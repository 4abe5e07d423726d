//! The plan: what a bench file means under the chosen profiles. Nothing is opened yet.

use super::file::{self, BenchFile, DeviceEntry, LinkEntry, LinkRole, Owner, Power, Profile, Provided, Use};
use super::place::{BenchFileError, Outcome, Place, did_you_mean};
use super::tree::{self, Environment};
use super::{Model, build, has_broker};
use crate::PortSpec;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which profile each DUT is to have, as chosen outside the bench file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profiles {
    default: Option<Profile>,
    by_device: Vec<(String, Profile)>,
}

/// Why a text chooses no profile.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// What is wrong.
    pub message: String,
    /// A known remedy.
    pub hint: Option<String>,
}

impl Profiles {
    /// Reads choices: `real` for all DUTs, `gateway=real` for one; later ones win. An empty list leaves the choice to
    /// the bench file.
    ///
    /// # Errors
    /// A word that is no profile.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Profiles, ProfileError> {
        let mut profiles = Profiles::default();
        for word in words.iter().flat_map(|words| words.as_ref().split(',')) {
            let (device, word) = word.trim().split_once('=').map_or((None, word.trim()), |(d, w)| (Some(d), w));
            let profile = Profile::parse(word).map_err(|(message, hint)| ProfileError { message, hint })?;
            match device {
                Some(device) => profiles.by_device.push((device.trim().to_owned(), profile)),
                None => profiles.default = Some(profile),
            }
        }
        Ok(profiles)
    }

    fn of(&self, device: &str, file: Profile) -> Profile {
        let own = self.by_device.iter().rev().find(|(name, _)| name == device);
        own.map(|(_, profile)| *profile).or(self.default).unwrap_or(file)
    }
}

/// A bench under chosen profiles.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the bench.
    pub name: String,
    /// The bench file.
    pub path: PathBuf,
    /// Its links.
    pub links: Vec<Link>,
    /// Its DUTs, then its peers, each in the order of the file.
    pub devices: Vec<DevicePlan>,
}

/// A link of the bench.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What is spoken on it.
    pub protocol: &'static Protocol,
    /// What fieldrig is on it.
    pub role: LinkRole,
    /// A real device is on it.
    pub real: bool,
    /// Its embedded broker, if it has one.
    pub broker: Option<BrokerPlan>,
}

/// An embedded broker.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerPlan {
    /// Where it listens: `127.0.0.1:0`.
    pub listen: String,
    /// Its settings.
    pub settings: Vec<(String, Value)>,
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
    /// Its tags.
    pub tags: Vec<String>,
    /// How it is switched, if it is real.
    pub power: Option<Power>,
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
    pub role: LinkRole,
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
    /// Where the use stands in the bench file.
    pub(super) place: Place,
}

/// Where a device and its testers meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reached {
    /// At a pty that is made for it.
    Pty,
    /// At a free port of the loopback interface.
    Loopback,
    /// At this real port: a port URL.
    Port(String),
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

    /// What must stand in no artefact.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let passwords = self.devices.iter().flat_map(|device| &device.links).filter_map(|used| used.password.clone());
        let mut secrets: Vec<String> = passwords.collect();
        secrets.sort();
        secrets.dedup();
        secrets
    }

    /// The link of this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
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
    /// The tester is at the other end: not so where the device is the one that asks, without a broker in between.
    #[must_use]
    pub fn is_tested_directly(&self) -> bool {
        self.role == LinkRole::Devices || has_broker(self.protocol)
    }

    /// A link for a device without a bench: the face has the name of the link, and nothing else is known.
    #[must_use]
    pub fn new(name: &str, protocol: &'static Protocol, reached: Reached) -> DeviceLink {
        DeviceLink {
            name: name.to_owned(),
            protocol,
            role: LinkRole::Devices,
            line: None,
            base: None,
            unit: None,
            face: name.to_owned(),
            belongs_to: Owner::default(),
            reached,
            username: None,
            password: None,
            place: Place::file(&Arc::from(format!("link `{name}`"))),
        }
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

/// Reads a bench file with its overlay (`bench.local.toml` beside `bench.toml`) and its model files.
///
/// # Errors
/// The first thing that is wrong with any of them, with its place.
pub fn load(
    path: &Path,
    profiles: &Profiles,
    environment: Environment<'_>,
    protocols: &[&'static Protocol],
) -> Result<Plan, BenchFileError> {
    let mut tree = tree::read(path, environment)?;
    let local = path.with_extension("local.toml");
    if local.exists() {
        tree.overlay(tree::read(&local, environment)?);
    }
    let bench = file::read(&tree, protocols)?;
    for (name, _) in &profiles.by_device {
        let duts = || bench.devices.iter().filter(|device| device.judged).map(|device| device.name.as_str());
        if !duts().any(|dut| dut == name) {
            let message = format!("a profile is chosen for `{name}`, which is no DUT of this bench");
            return Err(tree::whole_file(path)(message).maybe_hint(did_you_mean(name, duts())));
        }
    }
    Planner { path, environment, profiles, bench: &bench }.plan()
}

struct Planner<'a> {
    path: &'a Path,
    environment: Environment<'a>,
    profiles: &'a Profiles,
    bench: &'a BenchFile,
}

impl Planner<'_> {
    fn plan(&self) -> Outcome<Plan> {
        let devices = self.bench.devices.iter().map(|device| self.device(device)).collect::<Outcome<Vec<_>>>()?;
        self.check_wires(&devices)?;
        let links = self.bench.links.iter().map(|link| self.link(link, &devices)).collect();
        Ok(Plan { name: self.bench.name.clone(), path: self.path.to_owned(), links, devices })
    }

    fn link(&self, link: &LinkEntry, devices: &[DevicePlan]) -> Link {
        let mut uses = devices.iter().flat_map(|device| &device.links).filter(|used| used.name == link.name);
        let embedded = uses.any(|used| used.reached == Reached::EmbeddedBroker);
        let real = self.is_real(link);
        let provided = self.provided(link);
        let listen = provided.listen.as_ref().map_or("127.0.0.1:0", |listen| &listen.value).to_owned();
        let broker = embedded.then(|| BrokerPlan { listen, settings: provided.settings.clone() });
        Link { name: link.name.clone(), protocol: link.protocol, role: link.role, real, broker }
    }

    fn profile(&self, device: &DeviceEntry) -> Profile {
        if device.judged { self.profiles.of(&device.name, self.bench.profile) } else { Profile::Emulated }
    }

    /// A link is real as soon as one real device is on it.
    fn is_real(&self, link: &LinkEntry) -> bool {
        let on_it = |device: &&DeviceEntry| device.links.iter().any(|used| used.link == link.name);
        self.bench.devices.iter().filter(on_it).any(|device| self.profile(device) == Profile::Real)
    }

    /// The half of the link that is in force.
    fn provided<'b>(&self, link: &'b LinkEntry) -> &'b Provided {
        match &link.real {
            Some(real) if self.is_real(link) => real,
            _ => &link.emulated,
        }
    }

    fn device(&self, entry: &DeviceEntry) -> Outcome<DevicePlan> {
        let profile = self.profile(entry);
        let model = entry.model.as_ref().map(|model| self.model(&model.value, &model.place)).transpose()?;
        let not_run = (profile == Profile::Emulated && model.is_none()).then(|| "it has no model".to_owned());
        let mut links = Vec::new();
        for used in entry.links.iter().filter(|_| not_run.is_none()) {
            let link = self.use_of(entry, used, profile)?;
            if let Some(model) = &model {
                check_face(model, &link, profile)?;
            }
            links.push(link);
        }
        let device = DevicePlan {
            name: entry.name.clone(),
            judged: entry.judged,
            profile,
            not_run,
            model,
            tags: entry.tags.clone(),
            power: entry.power.clone(),
            links,
        };
        if let Some(model) = device.model.as_ref().filter(|_| device.is_emulated()) {
            build::behaviour(model, &device.links)?;
        }
        Ok(device)
    }

    fn model(&self, file: &str, place: &Place) -> Outcome<Arc<Model>> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(file);
        if !path.exists() {
            return Err(place
                .error(format!("there is no model file `{file}`"))
                .hint("it is looked for beside the bench file"));
        }
        Model::load(&path, self.environment).map(Arc::new)
    }

    fn use_of(&self, device: &DeviceEntry, used: &Use, profile: Profile) -> Outcome<DeviceLink> {
        // `private_links` has made sure that each link that is used exists.
        let Some(link) = self.bench.links.iter().find(|link| link.name == used.link) else {
            return Err(used.place.error(format!("there is no [link.{}]", used.link)));
        };
        let fieldrig_answers = device.judged && link.role == LinkRole::Devices;
        let asks = has_broker(link.protocol) || fieldrig_answers;
        let role = used.role.unwrap_or(if asks { LinkRole::Client } else { LinkRole::Devices });
        if role == LinkRole::Client && profile == Profile::Emulated && !has_broker(link.protocol) {
            let message = format!("an emulated device cannot be a client of `{}` yet", link.protocol.name);
            return Err(used.place.error(message).hint("write \"devices\", or give the DUT the profile `real`"));
        }
        let line = used.line.or(link.line);
        let provided = self.provided(link);
        let reached = if has_broker(link.protocol) {
            broker(link.protocol, provided)?
        } else if self.uses_real_port(device, used, link, profile) {
            Reached::Port(self.real_port(device, used, link, line)?)
        } else if line.is_some() {
            Reached::Pty
        } else {
            Reached::Loopback
        };
        let belongs_to = used.belongs_to.or(provided.belongs_to).unwrap_or_default();
        Ok(DeviceLink {
            name: link.name.clone(),
            protocol: link.protocol,
            role,
            line,
            base: link.base.clone(),
            unit: used.unit,
            face: used.face.clone().unwrap_or_else(|| link.name.clone()),
            belongs_to,
            reached,
            username: provided.username.clone(),
            password: provided.password.clone(),
            place: used.place.clone(),
        })
    }

    /// A real DUT is at its real port; a peer answers on the real wire of the others.
    fn uses_real_port(&self, device: &DeviceEntry, used: &Use, link: &LinkEntry, profile: Profile) -> bool {
        let is_wire = used.line.or(link.line).is_some();
        profile == Profile::Real || (!device.judged && is_wire && self.is_real(link))
    }

    fn real_port(
        &self,
        device: &DeviceEntry,
        used: &Use,
        link: &LinkEntry,
        line: Option<LineSettings>,
    ) -> Outcome<String> {
        let port = used.port.as_ref().or(link.real.as_ref().and_then(|real| real.port.as_ref())).ok_or_else(|| {
            let message = format!(
                "[link.{}] has no real port, which `{}` needs under the profile `real`",
                link.name, device.name
            );
            link.place
                .error(message)
                .hint("write real = { port = \"/dev/ttyUSB0\" } or real = { port = \"tcp://HOST:PORT\" }")
        })?;
        port_url(&port.value, line).map_err(|(problem, hint)| port.place.error(problem).hint(hint))
    }

    /// One wire has one end here, and one device at the other: several emulated ones would need a shared scheduler.
    fn check_wires(&self, devices: &[DevicePlan]) -> Outcome<()> {
        let mut taken: Vec<(&str, &DevicePlan)> = Vec::new();
        for device in devices {
            let answers = |used: &&DeviceLink| used.line.is_some() && used.role == LinkRole::Devices;
            for used in device.links.iter().filter(answers) {
                let other = taken
                    .iter()
                    .find(|(name, other)| *name == used.name && (device.is_emulated() || other.is_emulated()));
                if let Some((name, other)) = other {
                    let message = format!(
                        "`{}` is on the wire `{name}` already; a wire carries one emulated device so far",
                        other.name
                    );
                    return Err(used.place.error(message).hint("give each emulated device a link of its own"));
                }
                taken.push((&used.name, device));
            }
        }
        Ok(())
    }
}

/// Where devices meet: the embedded broker unless another one is named.
fn broker(protocol: &Protocol, provided: &Provided) -> Outcome<Reached> {
    let Some(broker) = provided.broker.as_ref().filter(|broker| broker.value != "embedded") else {
        return Ok(Reached::EmbeddedBroker);
    };
    let example = format!("write \"embedded\" or \"{}://HOST:PORT\"", protocol.schemes.first().unwrap_or(&"tcp"));
    let error = |problem: String| {
        Err(broker.place.error(format!("`{}` is no broker: {problem}", broker.value)).hint(&*example))
    };
    let Some((scheme, address)) = broker.value.split_once("://") else { return error("it has no scheme".to_owned()) };
    if !protocol.schemes.contains(&scheme) {
        return error(format!("{} has no scheme `{scheme}`", protocol.name));
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(Reached::Broker(broker.value.clone()))
        }
        _ => error("it has no port".to_owned()),
    }
}

/// The port URL of what stands in a bench file: a device node, or a URL already.
fn port_url(port: &str, line: Option<LineSettings>) -> Result<String, (String, String)> {
    let query = line.map(|line| format!("line={}", line.to_string().replace(' ', "+")));
    let url = if port.starts_with('/') {
        let Some(query) = query else {
            let problem = format!("`{port}` is a serial port, and its link has no `line`");
            return Err((problem, "write line = \"9600 8E1\" into the link".to_owned()));
        };
        format!("serial://{port}?{query}")
    } else if let Some(name) = port.strip_prefix("usb:") {
        let problem = format!("ports by their USB name (`usb:{name}`) are not there yet");
        return Err((problem, "write the path of the port below /dev/serial/by-id".to_owned()));
    } else {
        match query {
            Some(query) if port.starts_with("serial://") && !port.contains("line=") => {
                format!("{port}{}{query}", if port.contains('?') { '&' } else { '?' })
            }
            _ => port.to_owned(),
        }
    };
    check_url(&url).map(|()| url)
}

/// Builds the face once, so that what is wrong with its settings is found now. A real device needs none.
fn check_face(model: &Model, link: &DeviceLink, profile: Profile) -> Outcome<()> {
    if profile == Profile::Real && model.face_settings(&link.face).is_none() {
        return Ok(());
    }
    build::face(model, link, "tcp://127.0.0.1:1").map(drop)
}

/// What a real port can be: the rest of what the engine can open is for ends that are made, not found.
fn check_url(url: &str) -> Result<(), (String, String)> {
    const EXAMPLES: &str = "write \"/dev/ttyUSB0\", \"tcp://HOST:PORT\" or \"unix:///PATH\"";
    match PortSpec::parse(url) {
        Ok(
            PortSpec::TcpConnect(_)
            | PortSpec::TcpConnectFrom { .. }
            | PortSpec::UnixConnect(_)
            | PortSpec::Serial { .. },
        ) => Ok(()),
        Ok(_) => Err((format!("`{url}` is no port of a real device"), EXAMPLES.to_owned())),
        Err(error) => Err((error.to_string(), EXAMPLES.to_owned())),
    }
}
