//! A wire in memory that other programs can open: a pty that is bridged to it.

use super::Bridge;
use crate::{Binding, EngineError, Node, PortSpec, Rig};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::line::LineSettings;

const WIRE: &str = "wire";
const PTY: &str = "pty";

/// A pty on a wire in memory, for programs that know nothing of fieldrig.
#[derive(Clone)]
pub struct ExposedWire {
    node: Node<Bridge>,
    path: String,
}

impl ExposedWire {
    /// Makes a pty for the wire of this name. The wire keeps its pace; `line` is only how the pty presents itself.
    ///
    /// # Errors
    /// There is no such wire; no pty can be had; in virtual time.
    pub fn open(rig: &Rig, wire: &str, line: Option<LineSettings>) -> Result<ExposedWire, EngineError> {
        let query = line.map(|line| format!("line={}", line.to_string().replace(' ', "+"))).unwrap_or_default();
        let binding = |via: &str, url: String| {
            let port = PortSpec::parse(&url).map_err(|error| EngineError::Port {
                url: error.url,
                what: error.problem,
                hint: Some(error.hint),
            })?;
            Ok(Binding { via: via.to_owned(), port, protocol: None, we_are: Sender::Client })
        };
        let bindings = vec![binding(WIRE, format!("wire://{wire}"))?, binding(PTY, format!("pty://?{query}"))?];
        let node = rig.open(&format!("{wire}.pty"), Bridge::wires(WIRE, PTY, 0), bindings)?;
        let path = node.address(PTY).unwrap_or_default();
        Ok(ExposedWire { node, path })
    }

    /// The device node that others open.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes the pty away.
    pub fn close(&self) {
        self.node.close();
    }
}
