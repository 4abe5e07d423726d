//! Bringing a bench up: wires and embedded brokers first, then emulated devices, each with a port for every link it is
//! on. Who asks another one over a network path is started after it, so that its address is known.
//!
//! Real ports are not opened here: whoever tests opens its end with the URL in [`Resolved`]. DUTs are left without power,
//! so that a test can be listening before they boot; peers are switched on.

use super::build;
use super::joints::{self, Controls, Hand};
use super::{
    BenchFileError, BrokerPlan, DeviceLink, DevicePlan, Link, LinkRole, Model, Owner, Plan, Profile, Reached, UseRole,
    Whom,
};
use crate::link::{Bridge, FaultError};
use crate::{Binding, EngineError, Node, PortSpec, Rig, Thread, WireLock};
use fieldrig_proto::device::Device;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::AnyEndpoint;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A broker of the bench: only its protocol knows what it is.
pub type BrokerNode = Node<Box<dyn AnyEndpoint>>;

/// Why a bench could not be brought up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BringUpError {
    /// A port could not be opened.
    #[error("{what}: {error}")]
    Engine {
        /// For what: ``device `meter` ``.
        what: String,
        /// What went wrong.
        error: EngineError,
    },
    /// The bench or model file is at fault.
    #[error(transparent)]
    File(#[from] BenchFileError),
}

/// Where one end of a link is, ready to be opened by whoever tests.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The device at the other end.
    pub device: String,
    /// The link.
    pub link: String,
    /// What is spoken.
    pub protocol: &'static Protocol,
    /// Where: a port URL (`tcp://127.0.0.1:40233`, `serial:///dev/pts/7?line=9600+8E1`), or the URL of a broker.
    pub url: String,
    /// Speed and format, if it is a wire.
    pub line: Option<LineSettings>,
    /// What stands for `{base}`.
    pub base: Option<String>,
    /// Unit id of the device.
    pub unit: Option<i64>,
    /// To whom the port belongs.
    pub belongs_to: Owner,
    /// For brokers that ask for it.
    pub username: Option<String>,
    /// For brokers that ask for it.
    pub password: Option<String>,
    /// How fieldrig asks there: settings of the constructor of a tester.
    pub client: Vec<(String, Value)>,
    /// What the model says about the face on this link; its `map` says where each point is.
    pub face_settings: Option<Value>,
    /// Other devices are at the same URL: one client serves all of them.
    pub shared: bool,
}

/// A link of the bench that is up.
#[derive(Clone)]
pub struct LinkEnd {
    /// Its name.
    pub name: String,
    /// Where a client of ours finds it, if there is one place: a port URL, or the URL of a broker.
    pub url: Option<String>,
    /// Where an observer can hear everything that is said on it: a port URL.
    pub monitor: Option<String>,
    /// Where others find what is emulated on it: the address of a broker or a proxy for devices.
    pub address: Option<String>,
    /// What the bench can do to it.
    pub controls: Controls,
}

/// A bench that is up.
#[derive(Clone, Default)]
pub struct Running {
    brokers: Vec<(String, BrokerNode)>,
    devices: Vec<(String, Node<Device>)>,
    /// Real ports that are joined to wires, by link.
    bridges: Vec<(String, Node<Bridge>)>,
    proxies: Vec<(String, Node<Bridge>)>,
    wires: Vec<(Rig, String)>,
    locks: Arc<Mutex<Vec<WireLock>>>,
    links: Vec<LinkEnd>,
    resolved: Vec<Resolved>,
}

/// Starts what is emulated and finds out where everything is. Every real port of the bench is locked first, until the bench
/// is closed; `go_on` is asked while somebody else has one.
///
/// # Errors
/// A real port is in use, or a port cannot be opened; then everything that was started is closed again.
pub fn bring_up(rig: &Rig, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> Result<Running, BringUpError> {
    let mut running = Running::default();
    match running.start(rig, plan, go_on) {
        Ok(()) => Ok(running),
        Err(error) => {
            running.close();
            Err(error)
        }
    }
}

/// Where real devices and the brokers of others are: as much of a bench as is there before it is brought up. Nothing is
/// started, nothing is opened.
#[must_use]
pub fn survey(plan: &Plan) -> Running {
    let mut running = Running::default();
    for device in plan.devices.iter().filter(|device| device.profile == Profile::Real && device.not_run.is_none()) {
        running.resolve_links(plan, device);
    }
    running.find_shared();
    running
}

/// Starts a single emulated device, without a bench; it has no power yet.
///
/// # Errors
/// The model does not fit the links, or a port cannot be opened.
pub fn emulate(rig: &Rig, name: &str, model: &Model, links: &[DeviceLink]) -> Result<Node<Device>, BringUpError> {
    start_device(rig, name, model, links, &|link| match &link.reached {
        Reached::Broker(url) => with_scheme(url.split_once("://").map_or(url, |(_, address)| address), "tcp"),
        Reached::Asks(Whom::Url(url)) => url.clone(),
        _ => String::new(),
    })
}

impl Running {
    /// The emulated device of this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Node<Device>> {
        self.devices.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// The names of the emulated devices, in the order in which they were started.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|(name, _)| name.as_str())
    }

    /// The embedded broker of a link.
    #[must_use]
    pub fn broker(&self, link: &str) -> Option<&BrokerNode> {
        self.brokers.iter().find(|(known, _)| known == link).map(|(_, node)| node)
    }

    /// A link of the bench.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&LinkEnd> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Where the tester's end of a link of a device is; `None` if there is no such link, if the device is not run, or if
    /// the tester has no end there.
    #[must_use]
    pub fn resolve(&self, device: &str, link: &str) -> Option<&Resolved> {
        self.resolved.iter().find(|resolved| resolved.device == device && resolved.link == link)
    }

    /// Closes every device and broker. The rig goes on.
    pub fn close(&self) {
        self.devices.iter().for_each(|(_, node)| node.close());
        self.proxies.iter().chain(&self.bridges).for_each(|(_, node)| node.close());
        self.brokers.iter().for_each(|(_, node)| node.close());
        self.wires.iter().for_each(|(rig, name)| rig.remove_wire(name));
        self.locks().clear();
    }

    fn lock(&self, lock: WireLock) {
        self.locks().push(lock);
    }

    fn locks(&self) -> MutexGuard<'_, Vec<WireLock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&mut self, rig: &Rig, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> Result<(), BringUpError> {
        if let Some(refused) = plan.links.iter().find_map(|link| link.refused.clone()) {
            return Err(refused.into());
        }
        for port in plan.real_ports() {
            let lock = WireLock::acquire(&lock_name(port), &plan.name, plan.lock_wait, go_on);
            let lock =
                lock.map_err(|error| BringUpError::Engine { what: format!("the bench `{}`", plan.name), error })?;
            self.lock(lock);
        }
        for link in &plan.links {
            for wire in &link.wires {
                let options = wire.nature.options(wire.pace, !link.protocol.half_duplex);
                rig.add_wire_with(&wire.name, options).map_err(|error| failed_link(link, error))?;
                self.wires.push((rig.clone(), wire.name.clone()));
                for (ways, fault) in &wire.nature.faults {
                    let disturbed = rig.disturb_wire(&wire.name, ways, fault);
                    disturbed.map_err(|error| failed_link(link, no_fault(&wire.name, &error)))?;
                }
            }
            let bridges = joints::start(rig, link)?;
            let name = link.full_name();
            self.bridges.extend(bridges.joined.into_iter().map(|node| (name.clone(), node)));
            self.proxies.extend(bridges.proxy.map(|node| (name, node)));
            if let Some(broker) = &link.broker {
                self.brokers.push((link.full_name(), start_broker(rig, link, broker)?));
            }
        }
        self.start_devices(rig, plan)?;
        plan.devices.iter().for_each(|device| self.resolve_links(plan, device));
        self.find_shared();
        self.links =
            plan.links.iter().filter(|link| link.owner.is_none()).map(|link| self.end_of(plan, link)).collect();
        for peer in plan.devices.iter().filter(|device| !device.judged) {
            if let Some(node) = self.device(&peer.name) {
                node.with(|device, now| device.power_on(now)).map_err(failed(&peer.name))?;
            }
        }
        Ok(())
    }

    /// Starts every emulated device and every proxy of a network path, in the order of the file as far as addresses
    /// allow.
    fn start_devices(&mut self, rig: &Rig, plan: &Plan) -> Result<(), BringUpError> {
        let mut waiting: Vec<&DevicePlan> = plan.devices.iter().filter(|device| device.is_emulated()).collect();
        loop {
            self.start_proxies(rig, plan)?;
            let Some(next) = waiting.iter().position(|device| self.unknown_address(plan, device).is_none()) else {
                break;
            };
            let device = waiting.remove(next);
            let Some(model) = &device.model else { continue };
            let url = |link: &DeviceLink| self.asked(plan, &device.name, link).unwrap_or_default();
            let node = start_device(rig, &device.name, model, &device.links, &url)?;
            self.devices.push((device.name.clone(), node));
        }
        match waiting.first() {
            None => Ok(()),
            Some(device) => {
                let link = self.unknown_address(plan, device).unwrap_or_default();
                let what =
                    format!("`{}` asks on `{link}` a device that asks it in turn: neither can be first", device.name);
                Err(failed(&device.name)(EngineError::Machine { what }))
            }
        }
    }

    /// Starts the proxies that can be: the address of the device behind them is known.
    fn start_proxies(&mut self, rig: &Rig, plan: &Plan) -> Result<(), BringUpError> {
        for link in &plan.links {
            let Some(proxy) = link.proxy.as_ref().filter(|_| self.proxy(&link.full_name()).is_none()) else { continue };
            if let Some(to) = self.address_of(plan, &proxy.to, &link.name) {
                let node = joints::start_proxy(rig, link, proxy, &to)?;
                self.proxies.push((link.full_name(), node));
            }
        }
        Ok(())
    }

    fn proxy(&self, link: &str) -> Option<&Node<Bridge>> {
        self.proxies.iter().find(|(known, _)| known == link).map(|(_, node)| node)
    }

    /// The first link on which the device would ask somebody who is not up yet.
    fn unknown_address<'a>(&self, plan: &Plan, device: &'a DevicePlan) -> Option<&'a str> {
        let unknown = |link: &&DeviceLink| self.asked(plan, &device.name, link).is_none();
        device.links.iter().find(unknown).map(|link| link.name.as_str())
    }

    /// The URL to which a device connects on a link; empty if it does not.
    fn asked(&self, plan: &Plan, device: &str, link: &DeviceLink) -> Option<String> {
        match &link.reached {
            Reached::Broker(url) => Some(with_scheme(url.split_once("://").map_or(url, |(_, address)| address), "tcp")),
            Reached::EmbeddedBroker => {
                let name = plan.link_of(device, &link.name)?.full_name();
                self.broker(&name)?.address(&name).map(|address| with_scheme(&address, "tcp"))
            }
            Reached::Asks(whom) => self.address_of(plan, whom, &link.name),
            _ => Some(String::new()),
        }
    }

    /// Where somebody is who is asked on a link, if he is up.
    fn address_of(&self, plan: &Plan, whom: &Whom, link: &str) -> Option<String> {
        match whom {
            Whom::Url(url) => Some(url.clone()),
            Whom::Device(name) => self.address(plan.device(name)?, link),
            Whom::Proxy => {
                let address = joints::proxy_address(self.proxy(link)?)?;
                Some(with_scheme(&reachable(&address), "tcp"))
            }
        }
    }

    /// Where an emulated device is reached on a link of its own.
    fn address(&self, device: &DevicePlan, link: &str) -> Option<String> {
        let used = device.links.iter().find(|used| used.name == link)?;
        let address = reachable(&self.device(&device.name)?.address(&used.face)?);
        Some(match used.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
            Some(query) => format!("{}?{query}", with_scheme(&address, "tls")),
            None => with_scheme(&address, if has_datagrams(used.protocol) { "udp" } else { "tcp" }),
        })
    }

    /// Where the tester's end is.
    fn tester_url(&self, plan: &Plan, device: &DevicePlan, used: &DeviceLink) -> Option<String> {
        let link = plan.link_of(&device.name, &used.name)?;
        match &used.reached {
            Reached::Port(url) | Reached::Broker(url) => Some(url.clone()),
            Reached::EmbeddedBroker => self.private_broker(link),
            Reached::Wire(name) => Some(format!("wire://{name}")),
            Reached::Pty => self.device(&device.name)?.address(&used.face).map(|path| serial_url(&path, used.line)),
            Reached::Loopback | Reached::Listen(_) | Reached::Memory(_) => self.address(device, &used.name),
            Reached::Asks(_) | Reached::Elsewhere => None,
        }
    }

    /// The URL of the listener of an embedded broker that only testers know.
    fn private_broker(&self, link: &Link) -> Option<String> {
        let name = link.full_name();
        let scheme = link.protocol.schemes.first().unwrap_or(&"tcp");
        self.broker(&name)?.address(&private_via(&name)).map(|address| with_scheme(&address, scheme))
    }

    fn resolve_links(&mut self, plan: &Plan, device: &DevicePlan) {
        for used in device.links.iter().filter(|used| used.tested) {
            let Some(url) = self.tester_url(plan, device, used) else { continue };
            self.resolved.push(Resolved {
                device: device.name.clone(),
                link: used.name.clone(),
                protocol: used.protocol,
                url,
                line: used.line,
                base: used.base.clone(),
                unit: used.unit,
                belongs_to: used.belongs_to,
                username: used.username.clone(),
                password: used.password.clone(),
                client: used.client.clone(),
                face_settings: device.face_settings(&used.name),
                shared: false,
            });
        }
    }

    fn find_shared(&mut self) {
        let places: Vec<(String, bool)> =
            self.resolved.iter().map(|resolved| (resolved.url.clone(), super::has_broker(resolved.protocol))).collect();
        for resolved in &mut self.resolved {
            let count = places.iter().filter(|(url, meeting)| *url == resolved.url && !meeting).count();
            resolved.shared = count > 1;
        }
    }

    fn end_of(&self, plan: &Plan, link: &Link) -> LinkEnd {
        let wire = link.wires.first().map(|wire| format!("wire://{}", wire.name));
        let answering = |device: &&DevicePlan| {
            device.links.iter().any(|used| used.name == link.name && used.role == UseRole::Devices)
        };
        let mut answers = plan.devices.iter().filter(answering).filter_map(|device| self.address(device, &link.name));
        let only = answers.next().filter(|_| answers.next().is_none() && link.line.is_none());
        let url = match &link.broker {
            Some(_) => self.private_broker(link),
            None => wire.clone().or_else(|| link.port.clone()).or_else(|| link.outside.clone()).or(only),
        };
        let heard = link.line.is_some() && link.role != LinkRole::Client;
        let name = link.full_name();
        let of_proxy = self.proxy(&name).filter(|_| link.proxy.is_some()).and_then(joints::proxy_address);
        LinkEnd {
            name: link.name.clone(),
            url,
            monitor: wire.or_else(|| link.port.clone().filter(|_| heard)),
            address: self.broker(&name).and_then(|node| node.address(&name)).or(of_proxy),
            controls: self.controls(plan, link),
        }
    }

    /// What can be done to a link: at its broker, at its bridges, or at each emulated device on it.
    fn controls(&self, plan: &Plan, link: &Link) -> Controls {
        let name = link.full_name();
        let joined: Vec<_> = self.bridges.iter().filter(|(known, _)| *known == name).map(|(_, node)| node).collect();
        let bridge = self.proxy(&name).or(joined.first().copied()).cloned();
        let mut gates: Vec<Hand> = Vec::new();
        gates.extend(self.broker(&name).map(|node| Hand::Broker(node.clone(), name.clone())));
        gates.extend(joined.into_iter().chain(self.proxy(&name)).map(joints::hand));
        // On a wire, emulated devices hear each other, too.
        if gates.is_empty() || !link.wires.is_empty() {
            gates.extend(self.hands_of_devices(plan, link));
        }
        let wire = link.wires.first().map(|wire| wire.name.clone());
        let wire = wire.and_then(|name| self.wires.iter().find(|(_, known)| *known == name)).cloned();
        let nature = link.wires.first().map(|wire| &wire.nature);
        let standing = nature.map_or(0, |nature| nature.faults.iter().map(|(ways, _)| ways.len() as u64).sum());
        Controls { gates, bridge, wire, standing }
    }

    /// The emulated devices on a link, each with its port there.
    fn hands_of_devices(&self, plan: &Plan, link: &Link) -> Vec<Hand> {
        let own = |device: &DevicePlan| plan.link_of(&device.name, &link.name).is_some_and(|of| of.owner == link.owner);
        let hand = |device: &DevicePlan| {
            let used = device.links.iter().find(|used| used.name == link.name)?;
            Some(Hand::Device(self.device(&device.name)?.clone(), used.face.clone()))
        };
        plan.devices.iter().filter(|device| own(device)).filter_map(hand).collect()
    }
}

/// What a real port is called where ports are locked: the device node, the USB name, or `host:port`.
fn lock_name(url: &str) -> String {
    let name = url.split_once("://").map_or(url, |(_, name)| name);
    name.split_once('?').map_or(name, |(name, _)| name).to_owned()
}

/// The name of the listener of a broker that only testers use.
fn private_via(link: &str) -> String {
    format!("{link}.tester")
}

/// A URL: addresses in memory are one already.
fn with_scheme(address: &str, scheme: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") }
}

/// Whether a protocol is carried by datagrams: it answers to that scheme.
fn has_datagrams(protocol: &Protocol) -> bool {
    protocol.schemes.contains(&"udp")
}

/// What listens everywhere is found here, too.
fn reachable(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => address.to_owned(),
    }
}

fn serial_url(path: &str, line: Option<LineSettings>) -> String {
    let query = line.map(|line| format!("?line={}", line.to_string().replace(' ', "+")));
    format!("serial://{path}{}", query.unwrap_or_default())
}

fn failed(device: &str) -> impl Fn(EngineError) -> BringUpError {
    let what = format!("device `{device}`");
    move |error| BringUpError::Engine { what: what.clone(), error }
}

pub(super) fn failed_link(link: &Link, error: EngineError) -> BringUpError {
    BringUpError::Engine { what: format!("link `{}`", link.full_name()), error }
}

/// Why a wire cannot have the fault that the bench file wants.
fn no_fault(wire: &str, error: &FaultError) -> EngineError {
    EngineError::Port { url: format!("wire://{wire}"), what: error.to_string(), hint: None }
}

/// A broker has a listener for devices, which faults of the link cut off, and one for testers, which they do not.
fn start_broker(rig: &Rig, link: &Link, broker: &BrokerPlan) -> Result<BrokerNode, BringUpError> {
    let name = link.full_name();
    let failed = |error| BringUpError::Engine { what: format!("the embedded broker of link `{name}`"), error };
    let refused = |problem: String| {
        failed(EngineError::Machine { what: format!("`{}` gives no broker: {problem}", link.protocol.name) })
    };
    let constructor =
        link.protocol.constructor(Role::Broker).ok_or_else(|| refused("it has no constructor for one".to_owned()))?;
    let endpoint = match (constructor.build)(&name, &broker.settings) {
        Ok(Built::Endpoint(endpoint)) => endpoint,
        Ok(Built::Face(_)) => return Err(refused("its constructor makes a face".to_owned())),
        Err(error) => return Err(refused(error.to_string())),
    };
    let binding = |via: String, url: &str| {
        let port = spec(url).map_err(failed)?;
        Ok::<Binding, BringUpError>(Binding { via, port, protocol: Some(link.protocol), we_are: Sender::Server })
    };
    let bindings = vec![binding(name.clone(), &broker.listen)?, binding(private_via(&name), &broker.private)?];
    rig.open(&format!("{name}.broker"), endpoint, bindings).map_err(failed)
}

/// `url` gives where the device connects to on a link.
fn start_device(
    rig: &Rig,
    name: &str,
    model: &Model,
    links: &[DeviceLink],
    url: &dyn Fn(&DeviceLink) -> String,
) -> Result<Node<Device>, BringUpError> {
    let device = build::device(name, model, links, url)?;
    let bindings = links.iter().map(|link| binding(name, link)).collect::<Result<Vec<_>, _>>()?;
    let thread = if model.is_code() { Thread::Models } else { Thread::Reactor };
    rig.open_on(thread, name, device, bindings).map_err(failed(name))
}

/// The port of a device on a link.
fn binding(device: &str, link: &DeviceLink) -> Result<Binding, BringUpError> {
    let port = match &link.reached {
        Reached::Pty => {
            let query = link.line.map(|line| format!("line={}", line.to_string().replace(' ', "+")));
            spec(&format!("pty://?{}", query.unwrap_or_default())).map_err(failed(device))?
        }
        Reached::Loopback | Reached::Listen(_) => {
            let address = if let Reached::Listen(address) = &link.reached { address } else { "127.0.0.1:0" };
            match link.tls.as_ref().and_then(|tls| tls.device.as_ref()) {
                Some(query) => spec(&format!("tls-listen://{address}?{query}")).map_err(failed(device))?,
                None if has_datagrams(link.protocol) => PortSpec::UdpListen(address.to_owned()),
                None => PortSpec::TcpListen(address.to_owned()),
            }
        }
        Reached::Memory(name) => PortSpec::MemoryListen(name.clone()),
        Reached::Wire(name) => PortSpec::tap(name),
        Reached::Port(url) => spec(url).map_err(failed(device))?,
        Reached::Asks(_) | Reached::Elsewhere | Reached::EmbeddedBroker | Reached::Broker(_) => PortSpec::OnDemand,
    };
    let we_are = if link.role == UseRole::Client { Sender::Client } else { Sender::Server };
    Ok(Binding { via: link.face.clone(), port, protocol: Some(link.protocol), we_are })
}

pub(super) fn spec(url: &str) -> Result<PortSpec, EngineError> {
    PortSpec::parse(url).map_err(|error| EngineError::Port {
        url: error.url,
        what: error.problem,
        hint: Some(error.hint),
    })
}
