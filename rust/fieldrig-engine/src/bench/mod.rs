//! Benches: from a TOML file to running brokers and emulated devices.
//!
//! ```text
//!  bench.toml + bench.local.toml --tree.rs--> located tree --file.rs--> as written --+
//!  models/*.toml ----------------tree.rs--> located tree --model.rs--> Model --------+--plan.rs--> Plan --bring_up.rs--> Running
//!                                                                     --profile -----+
//! ```
//!
//! Rules of this folder:
//! - Every error about a file names file, line and column, says what is wrong, and has a hint where a remedy is known.
//! - Everything that can be known to be wrong is found by [`load`]; bringing up fails only for ports.
//! - No protocol is named here: what a link is follows from the descriptor. A link whose protocol has a broker is a
//!   meeting point; one with `line` is a wire; any other is a network path (loopback when emulated).
//!
//! ```
//! use fieldrig_engine::bench::{Profiles, TomlOnly, load};
//!
//! let profiles = Profiles::default();
//! let error = load("no/bench.toml".as_ref(), &profiles, &|_| None, &[], &TomlOnly).expect_err("there is none");
//! assert_eq!(error.to_string(), "no/bench.toml: there is no such file");
//! ```

mod behaviour;
mod bring_up;
mod build;
mod code;
mod csv;
mod device;
mod file;
mod joints;
mod keys;
mod life;
mod map_file;
mod model;
mod modem;
mod place;
mod plan;
mod planner;
mod ports;
mod profiles;
mod protocol_file;
mod schema;
mod section;
mod series;
mod switching;
mod tls;
pub(crate) mod tree;
mod variables;
mod wire;

pub use bring_up::{BringUpError, BrokerNode, LinkEnd, Resolved, Running, bring_up, emulate, survey};
pub use code::{LinkSide, LoadedModel, MakeModel, ModelLoader, ModelProblem, Surroundings, TomlOnly};
pub use file::{LinkRole, Owner, Profile, UseRole};
pub use joints::{ControlError, Controls};
pub use life::Life;
pub use map_file::{MapFile, load_map};
pub use model::{Model, declared_points};
pub use place::{BenchFileError, Place, did_you_mean};
pub use plan::{BrokerPlan, CaFile, DeviceLink, DevicePlan, Link, Plan, ProxyPlan, Reached, Whom, WirePlan, load};
pub use profiles::{ProfileError, Profiles};
pub use protocol_file::{DefinedProtocol, load_protocol};
pub use schema::{bench_schema, model_schema};
pub use series::load_series;
pub use tls::LinkTls;
pub use tree::Environment;
pub use variables::variable;
pub use wire::WireNature;

use fieldrig_proto::protocol::{Protocol, Role};

/// Whether devices of this protocol meet at a broker.
pub(crate) fn has_broker(protocol: &Protocol) -> bool {
    protocol.constructor(Role::Broker).is_some()
}

#[cfg(test)]
mod tests;
