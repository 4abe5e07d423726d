//! Bringing a bench up: embedded brokers first, then emulated devices, each with a port for every link it is on.
//!
//! Real ports are not opened here: whoever tests opens its end with the URL in [`Resolved`]. DUTs are left without power,
//! so that a test can be listening before they boot; peers are switched on.

use super::build;
use super::{BenchFileError, BrokerPlan, DeviceLink, DevicePlan, Link, Model, Owner, Plan, Reached};
use crate::{Binding, EngineError, Node, PortSpec, Rig};
use fieldrig_proto::device::Device;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::AnyEndpoint;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::Value;

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
    /// What the model says about the face on this link; its `map` says where each point is.
    pub face_settings: Option<Value>,
}

/// A bench that is up.
#[derive(Clone, Default)]
pub struct Running {
    brokers: Vec<(String, BrokerNode)>,
    devices: Vec<(String, Node<Device>)>,
    resolved: Vec<Resolved>,
}

/// Starts what is emulated and finds out where everything is.
///
/// # Errors
/// A port cannot be opened; then everything that was started is closed again.
pub fn bring_up(rig: &Rig, plan: &Plan) -> Result<Running, BringUpError> {
    let mut running = Running::default();
    match running.start(rig, plan) {
        Ok(()) => Ok(running),
        Err(error) => {
            running.close();
            Err(error)
        }
    }
}

/// Starts a single emulated device, without a bench; it has no power yet.
///
/// # Errors
/// The model does not fit the links, or a port cannot be opened.
pub fn emulate(rig: &Rig, name: &str, model: &Model, links: &[DeviceLink]) -> Result<Node<Device>, BringUpError> {
    start_device(rig, name, model, links, &|_| None)
}

impl Running {
    /// The emulated device of this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Node<Device>> {
        self.devices.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// The embedded broker of a link.
    #[must_use]
    pub fn broker(&self, link: &str) -> Option<&BrokerNode> {
        self.brokers.iter().find(|(known, _)| known == link).map(|(_, node)| node)
    }

    /// Where the tester's end of a link of a device is; `None` if there is no such link, if the device is not run, or if
    /// the device is the client there and peers answer it.
    #[must_use]
    pub fn resolve(&self, device: &str, link: &str) -> Option<&Resolved> {
        self.resolved.iter().find(|resolved| resolved.device == device && resolved.link == link)
    }

    /// Closes every device and broker. The rig goes on.
    pub fn close(&self) {
        self.devices.iter().for_each(|(_, node)| node.close());
        self.brokers.iter().for_each(|(_, node)| node.close());
    }

    fn start(&mut self, rig: &Rig, plan: &Plan) -> Result<(), BringUpError> {
        for link in &plan.links {
            if let Some(broker) = &link.broker {
                self.brokers.push((link.name.clone(), start_broker(rig, link, broker)?));
            }
        }
        for device in &plan.devices {
            if let Some(model) = device.model.as_ref().filter(|_| device.is_emulated()) {
                let node = start_device(rig, &device.name, model, &device.links, &|link| self.broker_address(link))?;
                self.devices.push((device.name.clone(), node));
            }
            self.resolve_links(device);
        }
        for peer in plan.devices.iter().filter(|device| !device.judged) {
            if let Some(node) = self.device(&peer.name) {
                node.with(|device, now| device.power_on(now)).map_err(failed(&peer.name))?;
            }
        }
        Ok(())
    }

    fn broker_address(&self, link: &str) -> Option<String> {
        self.broker(link)?.address(link)
    }

    fn resolve_links(&mut self, device: &DevicePlan) {
        for used in device.links.iter().filter(|used| used.is_tested_directly()) {
            let node = self.device(&device.name);
            let url = match &used.reached {
                Reached::Port(url) | Reached::Broker(url) => Some(url.clone()),
                Reached::EmbeddedBroker => {
                    let scheme = used.protocol.schemes.first().unwrap_or(&"tcp");
                    self.broker_address(&used.name).map(|address| format!("{scheme}://{address}"))
                }
                Reached::Loopback => node.and_then(|node| node.address(&used.face)).map(|at| format!("tcp://{at}")),
                Reached::Pty => node.and_then(|node| node.address(&used.face)).map(|path| serial_url(&path, used.line)),
            };
            let Some(url) = url else { continue };
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
                face_settings: device.face_settings(&used.name),
            });
        }
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

fn start_broker(rig: &Rig, link: &Link, broker: &BrokerPlan) -> Result<BrokerNode, BringUpError> {
    let what = || format!("the embedded broker of link `{}`", link.name);
    let failed = |error| BringUpError::Engine { what: what(), error };
    let refused = |problem: String| {
        failed(EngineError::Machine { what: format!("`{}` gives no broker: {problem}", link.protocol.name) })
    };
    let constructor =
        link.protocol.constructor(Role::Broker).ok_or_else(|| refused("it has no constructor for one".to_owned()))?;
    let endpoint = match (constructor.build)(&link.name, &broker.settings) {
        Ok(Built::Endpoint(endpoint)) => endpoint,
        Ok(Built::Face(_)) => return Err(refused("its constructor makes a face".to_owned())),
        Err(error) => return Err(refused(error.to_string())),
    };
    let binding = Binding {
        via: link.name.clone(),
        port: PortSpec::TcpListen(broker.listen.clone()),
        protocol: Some(link.protocol),
        we_are: Sender::Server,
    };
    rig.open(&format!("{}.broker", link.name), endpoint, vec![binding]).map_err(failed)
}

/// `broker` gives the address of the embedded broker of a link.
fn start_device(
    rig: &Rig,
    name: &str,
    model: &Model,
    links: &[DeviceLink],
    broker: &dyn Fn(&str) -> Option<String>,
) -> Result<Node<Device>, BringUpError> {
    let url = |link: &DeviceLink| match &link.reached {
        Reached::Broker(url) => {
            url.split_once("://").map_or_else(String::new, |(_, address)| format!("tcp://{address}"))
        }
        _ => broker(&link.name).map(|address| format!("tcp://{address}")).unwrap_or_default(),
    };
    let device = build::device(name, model, links, &url)?;
    let bindings = links.iter().map(|link| binding(name, link)).collect::<Result<Vec<_>, _>>()?;
    rig.open(name, device, bindings).map_err(failed(name))
}

/// The port of a device on a link.
fn binding(device: &str, link: &DeviceLink) -> Result<Binding, BringUpError> {
    let (port, we_are) = match &link.reached {
        Reached::Pty => {
            let query = link.line.map(|line| format!("line={}", line.to_string().replace(' ', "+")));
            (port(device, &format!("pty://?{}", query.unwrap_or_default()))?, Sender::Server)
        }
        Reached::Loopback => (PortSpec::TcpListen("127.0.0.1:0".to_owned()), Sender::Server),
        Reached::Port(url) => (port(device, url)?, Sender::Server),
        Reached::EmbeddedBroker | Reached::Broker(_) => (PortSpec::OnDemand, Sender::Client),
    };
    Ok(Binding { via: link.face.clone(), port, protocol: Some(link.protocol), we_are })
}

fn port(device: &str, url: &str) -> Result<PortSpec, BringUpError> {
    PortSpec::parse(url).map_err(|error| {
        failed(device)(EngineError::Port { url: error.url, what: error.problem, hint: Some(error.hint) })
    })
}
