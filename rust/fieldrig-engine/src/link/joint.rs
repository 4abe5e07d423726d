//! A port that is joined to a wire in memory: what comes in at the one goes out at the other.
//!
//! Two ports on one wire are a line between them, with the speed and the faults of the wire:
//!
//! ```text
//!   unix socket of an emulator <--joint--> wire, 9600 8E1 <--joint--> pty that a program opens
//! ```

use super::Bridge;
use crate::{Binding, EngineError, Mismatch, Node, PortSpec, Rig};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::line::LineSettings;

const PORT: &str = "port";
const WIRE: &str = "wire";

/// Which side of a wire a port brings to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Brings {
    /// Who asks is at the port.
    Clients,
    /// Who answers is at the port.
    Devices,
}

/// A port that is joined to a wire in memory.
#[derive(Clone)]
pub struct JoinedPort {
    node: Node<Bridge>,
    spec: PortSpec,
    address: String,
}

impl JoinedPort {
    /// Opens a port and joins it to the wire of this name, under a name of its own. The wire keeps its pace.
    ///
    /// # Errors
    /// There is no such wire; the port cannot be opened; a real port in virtual time.
    pub fn open(rig: &Rig, name: &str, wire: &str, port: PortSpec, brings: Brings) -> Result<JoinedPort, EngineError> {
        let (at_port, at_wire) = match brings {
            Brings::Clients => (Sender::Server, Sender::Client),
            Brings::Devices => (Sender::Client, Sender::Server),
        };
        let port = on_line(port, rig.wire(wire).flatten());
        let binding = |via: &str, port, we_are| Binding { via: via.to_owned(), port, protocol: None, we_are };
        let bindings = vec![binding(WIRE, PortSpec::tap(wire), at_wire), binding(PORT, port.clone(), at_port)];
        let node = rig.open(name, Bridge::wires(WIRE, PORT, 0), bindings)?;
        let address = node.address(PORT).unwrap_or_default();
        Ok(JoinedPort { node, spec: port, address })
    }

    /// What was opened.
    #[must_use]
    pub fn spec(&self) -> &PortSpec {
        &self.spec
    }

    /// Where others find it: a device node, `host:port`, a path.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether somebody is at the other end, as far as the port knows: connected, or a line, which always is.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.node.with(|bridge, _| bridge.joined() > 0).is_ok_and(|(joined, _)| joined)
    }

    /// Why the port is gone, if it is.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        let faults = self.node.faults().ok()?;
        faults.lost.last().map(|lost| format!("{}: {}", lost.url, lost.reason))
    }

    /// Takes the port off the wire and closes it.
    pub fn close(&self) {
        self.node.close();
    }
}

/// A port at which somebody may set another speed tells the wire of it, where that is heard: it stands for the line of the
/// wire, unless it states its own.
fn on_line(port: PortSpec, line: Option<LineSettings>) -> PortSpec {
    match (port, line) {
        (PortSpec::Pty { symlink, mismatch: Mismatch::Unseen, .. }, Some(settings)) => {
            PortSpec::Pty { symlink, settings, mismatch: Mismatch::Told }
        }
        (PortSpec::Rfc2217Listen { address, mismatch: Mismatch::Unseen, modem, .. }, Some(settings)) => {
            PortSpec::Rfc2217Listen { address, settings, mismatch: Mismatch::Told, modem }
        }
        (other, _) => other,
    }
}
