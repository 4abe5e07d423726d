//! How the plan is found: which profile each device has, what each link is then, and where everybody meets.
//!
//! Rules of this file:
//! - A link is real as soon as one real device is on it, or as the power of a real one is switched through it.
//! - A wire with one emulated device, asked by fieldrig in real time, is a pty. Any other wire with emulated devices is a
//!   wire in memory; if a real device is on it, too, the real port is joined to it.
//! - On virtual time everything is in memory.
//! - Every mistake stands at the word in the file that can mend it.

use super::code::{self, ModelLoader};
use super::device::{DeviceEntry, Use};
use super::file::{BenchFile, LinkEntry, LinkRole, Profile, Provided, UseRole};
use super::place::{Outcome, Place, did_you_mean};
use super::plan::{BrokerPlan, CaFile, DeviceLink, DevicePlan, Link, Plan, ProxyPlan, Reached, Whom, WirePlan};
use super::ports::{Meeting, check_listen, meeting, port_url, with_options};
use super::profiles::Profiles;
use super::section::Located;
use super::tls::{self, LinkTls};
use super::tree::Environment;
use super::wire;
use super::{Model, build, has_broker};
use crate::ClockKind;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::Role;
use fieldrig_proto::record::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where something listens if nobody says.
const LOOPBACK: &str = "127.0.0.1:0";

pub(super) struct Planner<'a> {
    pub(super) path: &'a Path,
    pub(super) environment: Environment<'a>,
    pub(super) profiles: &'a Profiles,
    pub(super) bench: &'a BenchFile,
    pub(super) models: &'a dyn ModelLoader,
}

impl Planner<'_> {
    pub(super) fn plan(&self, secrets: Vec<String>) -> Outcome<Plan> {
        self.bench.links.iter().try_for_each(|link| self.check_role(link))?;
        let unset = self.bench.links.iter().find_map(|link| self.provided(link).unset.as_ref());
        if let Some(error) = unset {
            return Err(error.clone());
        }
        let devices = self.bench.devices.iter().map(|device| self.device(device)).collect::<Outcome<Vec<_>>>()?;
        let links = self.bench.links.iter().map(|link| self.link(link)).collect::<Outcome<Vec<_>>>()?;
        check_units(&devices)?;
        check_listeners(&devices)?;
        let head = &self.bench.bench;
        Ok(Plan {
            name: head.name.clone(),
            path: self.path.to_owned(),
            clock: head.clock,
            lock_wait: head.lock_wait,
            waivers: self.file(head.waivers.as_ref())?,
            requirements: self.file(head.requirements.as_ref())?,
            secrets,
            links,
            devices,
            protocols: Vec::new(),
        })
    }

    fn is_virtual(&self) -> bool {
        self.bench.bench.clock == ClockKind::Virtual
    }

    /// A file that lies beside the bench file.
    fn file(&self, name: Option<&Located<String>>) -> Outcome<Option<PathBuf>> {
        let Some(name) = name else { return Ok(None) };
        let path = self.beside(&name.value);
        match path.exists() {
            true => Ok(Some(path)),
            false => {
                let message = format!("there is no file `{}`", name.value);
                Err(name.place.error(message).hint("it is looked for beside the bench file"))
            }
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    // ---- profiles ----------------------------------------------------------------------------------------------------

    fn profile(&self, device: &DeviceEntry) -> Profile {
        if device.judged { self.profiles.of(&device.name, self.bench.bench.profile) } else { Profile::Emulated }
    }

    fn is_emulated(&self, device: &DeviceEntry) -> bool {
        self.profile(device) == Profile::Emulated && device.model.is_some()
    }

    fn is_real(&self, link: &LinkEntry) -> bool {
        let through = |device: &DeviceEntry| link.owner.is_none() && device.life.is_switched_through(&link.name);
        let on_it = |device: &DeviceEntry| device.links.iter().any(|used| self.is_use_of(device, used, link));
        let real = |device: &&DeviceEntry| self.profile(device) == Profile::Real;
        self.bench.devices.iter().filter(real).any(|device| on_it(device) || through(device))
    }

    // ---- links -------------------------------------------------------------------------------------------------------

    /// The link that a use names: one of the device's own, or one of the bench. `private_links` has made sure of it.
    fn entry(&self, device: &DeviceEntry, used: &Use) -> Outcome<&LinkEntry> {
        let found = self.bench.links.iter().find(|link| self.is_use_of(device, used, link));
        found.ok_or_else(|| used.place.error(format!("there is no [link.{}]", used.link)))
    }

    fn is_use_of(&self, device: &DeviceEntry, used: &Use, link: &LinkEntry) -> bool {
        link.name == used.link && link.owner.as_ref().is_none_or(|owner| *owner == device.name)
    }

    /// Everybody on a link who is there under these profiles.
    fn users<'b>(&'b self, link: &'b LinkEntry) -> impl Iterator<Item = (&'b DeviceEntry, &'b Use)> {
        let uses = self.bench.devices.iter().flat_map(|device| device.links.iter().map(move |used| (device, used)));
        uses.filter(|(device, used)| self.is_use_of(device, used, link))
            .filter(|(device, _)| self.is_emulated(device) || self.profile(device) == Profile::Real)
    }

    /// The half of the link that is in force.
    fn provided<'b>(&self, link: &'b LinkEntry) -> &'b Provided {
        match &link.real {
            Some(real) if self.is_real(link) => real,
            _ => &link.emulated,
        }
    }

    fn check_role(&self, link: &LinkEntry) -> Outcome<()> {
        let word = link.role.word();
        if has_broker(link.protocol) && link.role != LinkRole::Client {
            let message = format!("devices meet at a broker on [link.{}]; its role cannot be `{word}`", link.name);
            return Err(link.role_place.error(message).hint("leave `role` out: fieldrig is a client there"));
        }
        if link.role == LinkRole::Listen && link.line.is_none() {
            let message = format!("[link.{}] is no wire, so nobody can listen there", link.name);
            return Err(link.role_place.error(message).hint("write role = \"proxy\", or give the link a `line`"));
        }
        let unused = [(LinkRole::Proxy, &link.real.as_ref().and_then(|real| real.other.clone()), "other")];
        for (role, key, name) in unused {
            if let Some(key) = key.as_ref().filter(|_| link.role != role) {
                let message = format!("`{name}` of [link.{}] belongs to the role `{}`", link.name, role.word());
                return Err(key.place.error(message));
            }
        }
        Ok(())
    }

    fn link(&self, entry: &LinkEntry) -> Outcome<Link> {
        let real = self.is_real(entry);
        let provided = self.provided(entry);
        let full_name = full_name(entry);
        let mut link = Link {
            name: entry.name.clone(),
            owner: entry.owner.clone(),
            protocol: entry.protocol,
            role: entry.role,
            real,
            line: entry.line,
            base: entry.base.clone(),
            broker: None,
            outside: None,
            username: provided.username.clone(),
            password: provided.password.clone(),
            ca: provided.ca.as_ref().map(|ca| CaFile { path: self.beside(&ca.value), place: ca.place.clone() }),
            wires: self.wires(entry)?,
            proxy: None,
            port: None,
            refused: None,
        };
        if has_broker(entry.protocol) {
            match meeting(entry.protocol, provided)? {
                Meeting::Embedded => {
                    if self.users(entry).next().is_some() || real {
                        link.broker = Some(self.broker(&full_name, provided)?);
                    }
                }
                Meeting::Outside { url, refused } => {
                    if let Some(place) =
                        provided.broker.as_ref().map(|broker| &broker.place).filter(|_| self.is_virtual())
                    {
                        let message = format!("the clock is virtual, and `{url}` is not in it");
                        return Err(place.error(message).hint("write broker = \"embedded\", or clock = \"real\""));
                    }
                    (link.outside, link.refused) = (Some(url), refused);
                }
            }
            return Ok(link);
        }
        if real && link.wires.is_empty() {
            let port = self.real_url(entry, UseRole::Devices, None)?;
            link.port = port.map(|url| self.secured(entry, url)).transpose()?;
        }
        if entry.role == LinkRole::Proxy && entry.line.is_none() {
            let listen = self.listen(provided, &full_name)?;
            link.proxy = Some(ProxyPlan { listen, to: self.server(entry, None)? });
        }
        Ok(link)
    }

    fn broker(&self, name: &str, provided: &Provided) -> Outcome<BrokerPlan> {
        let private = match self.is_virtual() {
            true => format!("memory-listen://{name}.tester"),
            false => format!("tcp-listen://{LOOPBACK}"),
        };
        Ok(BrokerPlan { listen: self.listen(provided, name)?, private, settings: provided.settings.clone() })
    }

    /// Where somebody of ours listens.
    fn listen(&self, provided: &Provided, name: &str) -> Outcome<String> {
        if self.is_virtual() {
            return Ok(format!("memory-listen://{name}"));
        }
        let address = provided.listen.as_ref().map(check_listen).transpose()?;
        Ok(format!("tcp-listen://{}", address.unwrap_or(LOOPBACK)))
    }

    // ---- wires -------------------------------------------------------------------------------------------------------

    /// The wires in memory of a link.
    fn wires(&self, link: &LinkEntry) -> Outcome<Vec<WirePlan>> {
        if !self.is_in_memory(link) {
            let is_line = self.users(link).any(|(_, used)| used.line.or(link.line).is_some()) || link.line.is_some();
            return match &link.emulated.wire {
                Some(nature) if !is_line => {
                    let message = format!("[link.{}] has no line, and this is what a line has", link.name);
                    Err(nature.place.error(message).hint("write line = \"9600 8E1\", or leave it out"))
                }
                _ => Ok(Vec::new()),
            };
        }
        let mut wires = vec![self.wire(link, UseRole::Devices)?];
        if link.role == LinkRole::Proxy {
            wires.push(self.wire(link, UseRole::Client)?);
        }
        Ok(wires)
    }

    /// One wire; `side` tells the two of a proxy apart.
    fn wire(&self, link: &LinkEntry, side: UseRole) -> Outcome<WirePlan> {
        let real = self.real_url(link, side, None)?;
        let line = self.users(link).find_map(|(_, used)| used.line).or(link.line);
        // A real port that is joined to a wire has the speed already.
        let pace = if real.is_some() { None } else { line };
        // Of the two wires of a proxy it is that of the devices; what is real has a nature of its own.
        let nature = link.emulated.wire.as_ref().filter(|_| side == UseRole::Devices && !self.is_real(link));
        if let (Some(nature), Some(line)) = (nature, &line) {
            wire::check(nature, line)?;
        }
        let nature = nature.map(|nature| nature.value.clone()).unwrap_or_default();
        Ok(WirePlan { name: wire_name(link, side), pace, real, nature })
    }

    fn is_in_memory(&self, link: &LinkEntry) -> bool {
        let is_wire = !has_broker(link.protocol) && self.users(link).any(|(_, used)| used.line.or(link.line).is_some());
        if !is_wire {
            return false;
        }
        if link.role == LinkRole::Proxy {
            return true;
        }
        let emulated: Vec<_> = self.users(link).filter(|(device, _)| self.is_emulated(device)).collect();
        let asks = |(device, used): &(&DeviceEntry, &Use)| self.role(device, used, link) == UseRole::Client;
        let shared = emulated.len() > 1 || emulated.iter().any(asks) || link.role != LinkRole::Client;
        let has_nature = link.emulated.wire.is_some();
        !emulated.is_empty() && (shared || has_nature || self.is_virtual() || self.is_real(link))
    }

    /// The real port on one side of a link: `None` if no real device is there.
    fn real_url(&self, link: &LinkEntry, side: UseRole, user: Option<(&DeviceEntry, &Use)>) -> Outcome<Option<String>> {
        let proxy = link.role == LinkRole::Proxy;
        let on_side = |(device, used): &(&DeviceEntry, &Use)| !proxy || self.role(device, used, link) == side;
        let is_real = |(device, _): &(&DeviceEntry, &Use)| self.profile(device) == Profile::Real;
        let user = user.or_else(|| self.users(link).filter(is_real).find(on_side));
        let (client_side, real) = (proxy && side == UseRole::Client, link.real.as_ref());
        let of_link = real.and_then(|real| if client_side { real.other.as_ref() } else { real.port.as_ref() });
        let Some((device, used)) = user else {
            // Only the power of a real device is switched through it, or who is at this end of a proxy is no device of
            // the bench.
            let only_power = !self.users(link).any(|user| is_real(&user));
            let stranger = proxy && !self.users(link).any(|user| on_side(&user));
            let port = of_link.filter(|_| self.is_real(link) && (only_power || stranger));
            let options = real.and_then(|real| real.options.as_ref()).filter(|_| !client_side);
            return port.map(|port| located_url(port, link.line, options)).transpose();
        };
        let Some(port) = used.port.as_ref().or(of_link) else {
            let (what, key) = if client_side { ("second real port", "other") } else { ("real port", "port") };
            let message =
                format!("[link.{}] has no {what}, which `{}` needs under the profile `real`", link.name, device.name);
            let hint = match client_side {
                true => "write real = { port = .., other = \"/dev/ttyUSB1\" }: the port on the side of the client"
                    .to_owned(),
                false => {
                    format!("write real = {{ {key} = \"/dev/ttyUSB0\" }} or real = {{ {key} = \"tcp://HOST:PORT\" }}")
                }
            };
            return Err(link.place.error(message).hint(hint));
        };
        let of_link = real.and_then(|real| real.options.as_ref()).filter(|_| !client_side && used.port.is_none());
        located_url(port, used.line.or(link.line), used.options.as_ref().or(of_link)).map(Some)
    }

    // ---- devices -----------------------------------------------------------------------------------------------------

    fn device(&self, entry: &DeviceEntry) -> Outcome<DevicePlan> {
        let profile = self.profile(entry);
        if profile == Profile::Real && self.is_virtual() {
            let message = format!("the clock is virtual, and `{}` is real", entry.name);
            let hint = "write clock = \"real\" (bench.local.toml can), or choose the profile `emulated`";
            return Err(self.bench.bench.clock_place.error(message).hint(hint));
        }
        let own: Vec<&LinkEntry> =
            entry.links.iter().map(|used| self.entry(entry, used)).collect::<Outcome<Vec<_>>>()?;
        entry.life.check(&own, &self.bench.links)?;
        let model = entry.model.as_ref().map(|model| self.model(model, entry)).transpose()?;
        let not_run = (profile == Profile::Emulated && model.is_none()).then(|| "it has no model".to_owned());
        let mut links = Vec::new();
        for used in entry.links.iter().filter(|_| not_run.is_none()) {
            let link = self.use_of(entry, used, profile)?;
            if let Some(model) = &model {
                check_face(model, &link, profile)?;
            }
            links.push(link);
        }
        if profile == Profile::Real {
            entry.life.check_lines(&links)?;
        }
        let device = DevicePlan {
            name: entry.name.clone(),
            judged: entry.judged,
            profile,
            not_run,
            model,
            settings: entry.settings.as_ref().map_or_else(|| Value::Table(Vec::new()), |table| table.value.clone()),
            tags: entry.tags.clone(),
            reset: entry.reset.clone(),
            writable: entry.writable.iter().map(|text| text.value.clone()).collect(),
            allow: entry.allow.clone(),
            life: entry.life.clone(),
            links,
        };
        if let Some(model) = &device.model {
            check_writable(&entry.writable, model)?;
            if device.is_emulated() {
                build::check(model, &device.links)?;
            }
        }
        Ok(device)
    }

    fn model(&self, model: &Located<String>, entry: &DeviceEntry) -> Outcome<Arc<Model>> {
        let (file, class) = code::parts(&model.value);
        let path = self.beside(file);
        if class.is_none() && file.ends_with(".py") {
            let message = format!("`{file}` is a Python file, and which class of it is the model?");
            return Err(model.place.error(message).hint(format!("write \"{file}:NAME\"")));
        }
        if !path.exists() {
            let message = format!("there is no model file `{file}`");
            return Err(model.place.error(message).hint("it is looked for beside the bench file"));
        }
        match (class, &entry.settings) {
            (Some(class), settings) => {
                let none = Value::Table(Vec::new());
                let settings = settings.as_ref().map_or(&none, |settings| &settings.value);
                Model::load_code(&path, class, settings, self.models).map(Arc::new)
            }
            (None, Some(settings)) => {
                let message = format!("`settings` are for models in Python, and `{file}` is none");
                Err(settings.place.error(message))
            }
            (None, None) => Model::load(&path, self.environment).map(Arc::new),
        }
    }

    /// What a device is on a link.
    fn role(&self, device: &DeviceEntry, used: &Use, link: &LinkEntry) -> UseRole {
        let asked_by_us = device.judged && link.role == LinkRole::Devices;
        let default = if has_broker(link.protocol) || asked_by_us { UseRole::Client } else { UseRole::Devices };
        used.role.unwrap_or(default)
    }

    fn use_of(&self, device: &DeviceEntry, used: &Use, profile: Profile) -> Outcome<DeviceLink> {
        let link = self.entry(device, used)?;
        if device.judged && used.role.is_none() && matches!(link.role, LinkRole::Listen | LinkRole::Proxy) {
            let message = format!("nobody says what `{}` is on [link.{}]", device.name, link.name);
            return Err(used.place.error(message).hint("write \"client\" if it asks there, \"devices\" if it answers"));
        }
        let role = self.role(device, used, link);
        let provided = self.provided(link);
        let tested = has_broker(link.protocol) || (role == UseRole::Devices && link.role == LinkRole::Client);
        let tls = self.tls(link, role, profile)?;
        let reached = match self.reached(device, used, link, profile)? {
            Reached::Port(url) => Reached::Port(self.secured(link, url)?),
            Reached::Asks(Whom::Url(url)) => Reached::Asks(Whom::Url(self.secured(link, url)?)),
            reached => reached,
        };
        Ok(DeviceLink {
            name: link.name.clone(),
            protocol: link.protocol,
            role,
            tested,
            line: used.line.or(link.line),
            base: link.base.clone(),
            unit: used.unit,
            face: used.face.clone().unwrap_or_else(|| link.name.clone()),
            belongs_to: used.belongs_to.or(provided.belongs_to).unwrap_or_default(),
            reached,
            username: provided.username.clone(),
            password: provided.password.clone(),
            tls,
            client: link.client.clone(),
            place: used.place.clone(),
        })
    }

    /// The URL of a real port, with what is shown there if its link stands on TLS.
    fn secured(&self, link: &LinkEntry, url: String) -> Outcome<String> {
        if !tls::has_tls(link.protocol) {
            return Ok(url);
        }
        if !url.starts_with("tls://") {
            let message = format!("`{url}` has no TLS, and [link.{}] speaks {}", link.name, link.protocol.name);
            return Err(link
                .place
                .error(message)
                .hint("write port = \"tls://HOST:802\", or protocol = \"modbus-tcp\""));
        }
        let table = link.tls.as_ref().ok_or_else(|| tls::missing(&link.place, &link.name, false))?;
        Ok(format!("{url}?{}", table.query(false, &|name| self.beside(name))?))
    }

    /// Which certificates are shown on a link with TLS.
    fn tls(&self, link: &LinkEntry, role: UseRole, profile: Profile) -> Outcome<Option<LinkTls>> {
        if !tls::has_tls(link.protocol) {
            return Ok(None);
        }
        if self.is_virtual() {
            let message = format!("the clock is virtual, and [link.{}] stands on TLS", link.name);
            return Err(self.bench.bench.clock_place.error(message).hint("write clock = \"real\", or use modbus-tcp"));
        }
        if link.role == LinkRole::Proxy {
            let message = format!("a proxy on [link.{}] could not read what is said there", link.name);
            return Err(link.role_place.error(message).hint("use modbus-tcp where faults are to be made"));
        }
        let beside = |name: &str| self.beside(name);
        let client = || link.tls.as_ref().ok_or_else(|| tls::missing(&link.place, &link.name, false));
        let device = || link.emulated.tls.as_ref().ok_or_else(|| tls::missing(&link.place, &link.name, true));
        let (connects, listens) = match (role, profile) {
            (UseRole::Devices, Profile::Emulated) => (true, true),
            (UseRole::Client, Profile::Real) => (false, false),
            _ => (true, false),
        };
        let client = connects.then(|| client()?.query(false, &beside)).transpose()?;
        let device = listens.then(|| device()?.query(true, &beside)).transpose()?;
        Ok(Some(LinkTls { client, device }))
    }

    fn reached(&self, device: &DeviceEntry, used: &Use, link: &LinkEntry, profile: Profile) -> Outcome<Reached> {
        let (role, provided) = (self.role(device, used, link), self.provided(link));
        if has_broker(link.protocol) {
            return Ok(match meeting(link.protocol, provided)? {
                Meeting::Embedded => Reached::EmbeddedBroker,
                Meeting::Outside { url, .. } => Reached::Broker(url),
            });
        }
        if role == UseRole::Client && profile == Profile::Emulated {
            self.check_client(device, used, link)?;
        }
        if self.is_in_memory(link) {
            let side = if link.role == LinkRole::Proxy { role } else { UseRole::Devices };
            // Whoever is real needs the port that is joined to the wire.
            self.real_url(link, side, (profile == Profile::Real).then_some((device, used)))?;
            return Ok(Reached::Wire(wire_name(link, side)));
        }
        let is_wire = used.line.or(link.line).is_some();
        match (profile, role) {
            (Profile::Real, UseRole::Client) if !is_wire => Ok(Reached::Elsewhere),
            (Profile::Real, _) => {
                // A user is named, so there is a port or an error.
                let url = self.real_url(link, role, Some((device, used)))?;
                Ok(url.map_or(Reached::Elsewhere, Reached::Port))
            }
            (Profile::Emulated, UseRole::Client) => self.server(link, Some(used)).map(Reached::Asks),
            (Profile::Emulated, UseRole::Devices) if is_wire => Ok(Reached::Pty),
            (Profile::Emulated, UseRole::Devices) => self.listener(device, link, provided),
        }
    }

    /// Where an emulated device on a network path listens.
    fn listener(&self, device: &DeviceEntry, link: &LinkEntry, provided: &Provided) -> Outcome<Reached> {
        if self.is_virtual() {
            return Ok(Reached::Memory(format!("{}.{}", device.name, link.name)));
        }
        // The address of a proxy is its own.
        let listen = provided.listen.as_ref().filter(|_| link.role != LinkRole::Proxy);
        Ok(match listen.map(check_listen).transpose()? {
            Some(address) => Reached::Listen(address.to_owned()),
            None => Reached::Loopback,
        })
    }

    /// Only a program knows what to ask.
    fn check_client(&self, device: &DeviceEntry, used: &Use, link: &LinkEntry) -> Outcome<()> {
        let Some(model) = &device.model else { return Ok(()) };
        if link.protocol.constructor(Role::Client).is_some() && code::parts(&model.value).1.is_none() {
            let message = format!(
                "`{}` cannot be a client of `{}`: a model file answers, it never asks",
                model.value, link.protocol.name
            );
            let hint = "write \"devices\", a model in Python (\"gateway.py:Gateway\"), or choose the profile `real`";
            return Err(used.place.error(message).hint(hint));
        }
        Ok(())
    }

    /// Whom the clients of a network path ask; `asker` is a client, none if it is the proxy.
    fn server(&self, link: &LinkEntry, asker: Option<&Use>) -> Outcome<Whom> {
        if asker.is_some() && link.role == LinkRole::Proxy {
            return Ok(Whom::Proxy);
        }
        let place = asker.map_or(&link.place, |used| &used.place);
        let mut servers = self.users(link).filter(|(device, used)| self.role(device, used, link) == UseRole::Devices);
        let Some((device, used)) = servers.next() else {
            let message = format!("nobody answers on [link.{}]", link.name);
            return Err(place.error(message).hint("put a device with the role `devices` on it"));
        };
        if let Some((other, _)) = servers.next() {
            let message =
                format!("`{}` and `{}` both answer on the network path [link.{}]", device.name, other.name, link.name);
            return Err(place.error(message).hint("give each a link of its own"));
        }
        match self.profile(device) {
            Profile::Emulated => Ok(Whom::Device(device.name.clone())),
            Profile::Real => {
                let url = self.real_url(link, UseRole::Devices, Some((device, used)))?;
                Ok(url.map_or_else(|| Whom::Device(device.name.clone()), Whom::Url))
            }
        }
    }
}

fn full_name(link: &LinkEntry) -> String {
    link.owner.as_ref().map_or_else(|| link.name.clone(), |owner| format!("{owner}.{}", link.name))
}

/// The wire of a link, or that of one side of a proxy.
fn wire_name(link: &LinkEntry, side: UseRole) -> String {
    match side {
        UseRole::Devices => full_name(link),
        UseRole::Client => format!("{}.other", full_name(link)),
    }
}

fn located_url(
    port: &Located<String>,
    line: Option<LineSettings>,
    options: Option<&Located<String>>,
) -> Outcome<String> {
    let located = |place: &Place, (problem, hint): (String, String)| place.error(problem).hint(hint);
    let url = port_url(&port.value, line).map_err(|wrong| located(&port.place, wrong))?;
    match options {
        None => Ok(url),
        Some(options) => with_options(url, &options.value).map_err(|wrong| located(&options.place, wrong)),
    }
}

/// Builds the face once, so that what is wrong with its settings is found now. A real device needs none.
fn check_face(model: &Model, link: &DeviceLink, profile: Profile) -> Outcome<()> {
    if profile == Profile::Real && (link.asks() || model.face_settings(&link.face).is_none()) {
        return Ok(());
    }
    build::face(model, link, "tcp://127.0.0.1:1").map(drop)
}

/// Points that are writable must be there.
fn check_writable(writable: &[Located<String>], model: &Model) -> Outcome<()> {
    let points = || model.points().iter().map(|point| point.name.as_str());
    let unknown = |text: &&Located<String>| !text.value.contains(':') && !points().any(|point| point == text.value);
    match writable.iter().find(unknown) {
        None => Ok(()),
        Some(text) => {
            let message = format!("`{}` is no point of the model `{}`", text.value, model.name());
            Err(text.place.error(message).maybe_hint(did_you_mean(&text.value, points())))
        }
    }
}

/// Devices that share a wire have different unit ids.
fn check_units(devices: &[DevicePlan]) -> Outcome<()> {
    let mut taken: Vec<(&str, Option<i64>, &str)> = Vec::new();
    for device in devices {
        for used in device.links.iter().filter(|used| used.role == UseRole::Devices) {
            let Reached::Wire(wire) = &used.reached else { continue };
            let has_units =
                used.protocol.constructor(Role::Device).is_some_and(|c| c.keys.iter().any(|key| key.name == "unit"));
            let others = || taken.iter().filter(|(name, ..)| name == wire);
            let Some((_, _, other)) = others().next() else {
                taken.push((wire, used.unit, &device.name));
                continue;
            };
            if !has_units {
                let message =
                    format!("`{other}` is on the wire `{wire}` already, and {} has no unit ids", used.protocol.name);
                return Err(used.place.error(message).hint("give each device a link of its own"));
            }
            if used.unit.is_none() || others().any(|(_, unit, _)| unit.is_none()) {
                let message =
                    format!("`{other}` and `{}` share the wire `{wire}`, so each needs a unit id", device.name);
                return Err(used.place.error(message).hint("write unit = 1 into the table of the device"));
            }
            if let Some((_, unit, other)) = others().find(|(_, unit, _)| *unit == used.unit) {
                let message =
                    format!("`{other}` has the unit id {} on the wire `{wire}` already", unit.unwrap_or_default());
                return Err(used.place.error(message));
            }
            taken.push((wire, used.unit, &device.name));
        }
    }
    Ok(())
}

/// No two devices listen at one address.
fn check_listeners(devices: &[DevicePlan]) -> Outcome<()> {
    let mut taken: Vec<(&str, &str)> = Vec::new();
    for (device, used) in devices.iter().flat_map(|device| device.links.iter().map(move |used| (device, used))) {
        let Reached::Listen(address) = &used.reached else { continue };
        if let Some((_, other)) = taken.iter().find(|(known, _)| known == address && !address.ends_with(":0")) {
            let message = format!("`{other}` and `{}` cannot both listen at {address}", device.name);
            return Err(used.place.error(message).hint("give each a link of its own"));
        }
        taken.push((address, &device.name));
    }
    Ok(())
}
