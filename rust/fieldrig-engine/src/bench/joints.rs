//! Where a bench has its hand on a link: bridges to real ports, proxies, and what cuts or disturbs them.
//!
//! A real port is joined to the wire in memory on which the emulated devices are; a proxy stands between two wires, or
//! between the clients and the device of a network path. The way `forth` of every bridge leads to the devices that answer.

use super::bring_up::{BringUpError, BrokerNode, failed_link, spec};
use super::{Link, LinkRole, ProxyPlan, WirePlan};
use crate::link::{Bridge, ByteFault, FaultError, Way};
use crate::{Binding, EngineError, Gate, Node, PortSpec, Rig};
use fieldrig_proto::device::Device;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::time::Time;

/// What faults of all bridges are drawn from: the same run has the same faults.
const SEED: u64 = 1;
/// The side of a bridge where requests come from.
const ASKING: &str = "asking";
/// The side of a bridge where devices answer.
const ANSWERING: &str = "answering";

/// A node that has a port on a link, and the name of the port.
#[derive(Clone)]
pub(super) enum Hand {
    Device(Node<Device>, String),
    Broker(BrokerNode, String),
    Bridge(Node<Bridge>, String),
}

impl Hand {
    fn gate(&self, gate: Gate) -> Result<Time, EngineError> {
        match self {
            Hand::Device(node, via) => node.gate(via, gate),
            Hand::Broker(node, via) => node.gate(via, gate),
            Hand::Bridge(node, via) => node.gate(via, gate),
        }
    }
}

/// What the bench can do to a link.
#[derive(Clone, Default)]
pub struct Controls {
    pub(super) gates: Vec<Hand>,
    pub(super) bridge: Option<Node<Bridge>>,
    /// The wire in memory on which the devices are that answer.
    pub(super) wire: Option<(Rig, String)>,
    /// So many faults of the wire are those of the bench file: the first ones.
    pub(super) standing: u64,
}

/// Why nothing was done to a link.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing on this link is ours.
    #[error("the bench has no hand on this link: both its ends are outside")]
    Outside,
    /// Its bytes go past us.
    #[error("the bytes of this link do not pass through a bridge")]
    NoBridge,
    /// The fault makes no sense.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A node is closed or stuck.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Controls {
    /// The bench has a hand on the link.
    #[must_use]
    pub fn has_gates(&self) -> bool {
        !self.gates.is_empty()
    }

    /// The bytes of the link pass through the bench.
    #[must_use]
    pub fn has_bridge(&self) -> bool {
        self.bridge.is_some() || self.wire.is_some()
    }

    /// The bench file disturbs the link.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.standing > 0
    }

    /// Looks at the real ports that are joined to the link: found empty, they show that what comes next comes after it.
    /// A bridge that is gone shows nothing.
    pub fn look(&self) {
        for hand in &self.gates {
            if let Hand::Bridge(bridge, _) = hand {
                let _ = bridge.look();
            }
        }
    }

    /// Takes the link down, or up again, for everybody on it but the tester's own ends; gives the instant at which all of
    /// it was done.
    ///
    /// # Errors
    /// The bench has no hand on this link; a node of it is closed.
    pub fn gate(&self, gate: Gate) -> Result<Time, ControlError> {
        let mut done = None;
        for hand in &self.gates {
            done = Some(hand.gate(gate)?);
        }
        done.ok_or(ControlError::Outside)
    }

    /// Disturbs the bytes that pass, on these ways: where a bridge or a proxy forwards them, else on the wire. What only a
    /// line has strikes on the wire.
    ///
    /// # Errors
    /// No bytes pass through the bench; the fault makes no sense here.
    pub fn fault(&self, ways: &[Way], fault: &ByteFault) -> Result<(), ControlError> {
        if let (Some((rig, wire)), true) = (&self.wire, self.bridge.is_none() || fault.what.needs_line()) {
            return Ok(rig.disturb_wire(wire, ways, fault)?);
        }
        let bridge = self.bridge.as_ref().ok_or(ControlError::NoBridge)?;
        let inject = |bridge: &mut Bridge, now: Time| {
            ways.iter().try_for_each(|way| bridge.inject(now, *way, fault.clone()).map(drop))
        };
        Ok(bridge.with(inject)?.0?)
    }

    /// Ends every disturbance but those of the bench file.
    ///
    /// # Errors
    /// A node is closed or stuck.
    pub fn clear_faults(&self) -> Result<(), ControlError> {
        if let Some(bridge) = &self.bridge {
            bridge.with(|bridge, now| bridge.clear_all(now))?;
        }
        if let Some((rig, wire)) = &self.wire {
            rig.calm_wire_but(wire, self.standing)?;
        }
        Ok(())
    }
}

/// The bridges of a link that is made of wires: one to each real port, and the proxy, if it is one.
pub(super) struct Bridges {
    pub(super) joined: Vec<Node<Bridge>>,
    pub(super) proxy: Option<Node<Bridge>>,
}

/// Starts the bridges of the wires of a link.
///
/// # Errors
/// A real port cannot be opened.
pub(super) fn start(rig: &Rig, link: &Link) -> Result<Bridges, BringUpError> {
    let joined = link.wires.iter().enumerate();
    let joined = joined.filter_map(|(side, wire)| Some((side, wire, wire.real.as_deref()?)));
    let joined = joined.map(|(side, wire, real)| join(rig, link, side, wire, real)).collect::<Result<Vec<_>, _>>()?;
    let proxy = match link.wires.as_slice() {
        [answering, asking] => {
            let bindings = vec![
                binding(link, ASKING, PortSpec::tap(&asking.name), Sender::Server),
                binding(link, ANSWERING, PortSpec::tap(&answering.name), Sender::Client),
            ];
            Some(open(rig, link, "proxy", Bridge::wires(ASKING, ANSWERING, SEED), bindings)?)
        }
        _ => None,
    };
    Ok(Bridges { joined, proxy })
}

/// Joins a real port to a wire. `side` 0 is that of the devices that answer, 1 that of the client of a proxy.
fn join(rig: &Rig, link: &Link, side: usize, wire: &WirePlan, real: &str) -> Result<Node<Bridge>, BringUpError> {
    let real = spec(real).map_err(|error| failed_link(link, error))?;
    // Where a client of ours or the proxy asks, the real devices answer; else they ask.
    let real_answers = match link.role {
        LinkRole::Client => true,
        LinkRole::Devices | LinkRole::Listen => false,
        LinkRole::Proxy => side == 0,
    };
    let (real_side, tap_side) = if real_answers { (ANSWERING, ASKING) } else { (ASKING, ANSWERING) };
    let (to_real, to_tap) =
        if real_answers { (Sender::Client, Sender::Server) } else { (Sender::Server, Sender::Client) };
    let bindings =
        vec![binding(link, real_side, real, to_real), binding(link, tap_side, PortSpec::tap(&wire.name), to_tap)];
    let name = if side == 0 { "bridge" } else { "other.bridge" };
    open(rig, link, name, Bridge::wires(ASKING, ANSWERING, SEED), bindings)
}

/// Starts the proxy of a network path; `to` is where the device is.
///
/// # Errors
/// It cannot listen.
pub(super) fn start_proxy(rig: &Rig, link: &Link, proxy: &ProxyPlan, to: &str) -> Result<Node<Bridge>, BringUpError> {
    let listen = spec(&proxy.listen).map_err(|error| failed_link(link, error))?;
    let bindings = vec![
        binding(link, ASKING, listen, Sender::Server),
        binding(link, ANSWERING, PortSpec::OnDemand, Sender::Client),
    ];
    open(rig, link, "proxy", Bridge::connections(ASKING, ANSWERING, to, SEED), bindings)
}

/// Where the proxy of a network path is found.
pub(super) fn proxy_address(proxy: &Node<Bridge>) -> Option<String> {
    proxy.address(ASKING)
}

/// What cuts a bridge: both ways stop at the side where requests come from.
pub(super) fn hand(bridge: &Node<Bridge>) -> Hand {
    Hand::Bridge(bridge.clone(), ASKING.to_owned())
}

fn binding(link: &Link, via: &str, port: PortSpec, we_are: Sender) -> Binding {
    Binding { via: via.to_owned(), port, protocol: Some(link.protocol), we_are }
}

fn open(rig: &Rig, link: &Link, name: &str, bridge: Bridge, ports: Vec<Binding>) -> Result<Node<Bridge>, BringUpError> {
    rig.open(&format!("{}.{name}", link.full_name()), bridge, ports).map_err(|error| failed_link(link, error))
}
