//! A server without connections: the one inside a gateway.

use super::bank::Writer;
use super::execute::{Core, Scene};
use super::{ServerConfig, Transport};
use crate::device::PointStore;
use crate::time::Time;

/// A server that is asked directly.
#[derive(Debug)]
pub struct Local {
    core: Core,
    store: PointStore,
}

impl Local {
    /// A server with the tables and functions of this configuration.
    #[must_use]
    pub fn new(config: ServerConfig) -> Local {
        let diagnosis = config.extras.diagnosis(&Transport::Tcp);
        let core = Core::new(config.bank, config.functions, config.extras, diagnosis);
        Local { core, store: PointStore::default() }
    }

    /// Does what a request says and appends the response PDU; false if there is none.
    pub fn answer(&mut self, now: Time, pdu: &[u8], out: &mut Vec<u8>) -> bool {
        let mut scene = Scene { store: &mut self.store, writer: Writer { now, face: "gateway" } };
        self.core.diagnosis.heard();
        self.core.diagnosis.begin(false);
        let start = out.len();
        let answered = self.core.execute(pdu, &mut scene, out);
        self.core.diagnosis.finish(pdu.first().copied().unwrap_or_default(), &out[start..], answered);
        answered
    }
}
