//! Driving endpoints: one shared step, three ways to wait.
//!
//! ```text
//!   reactor thread (all nodes of sockets)  --+
//!   models thread (nodes with users' code) --+
//!   line thread (one node with a line)     --+--> lease --> Driver: step() over Wires (channels, listeners) --> ports
//!   caller's thread (leases one node)      --+
//!   simulation (all nodes, virtual time)   --+
//! ```
//!
//! `unsafe` lives here and in `port/` only: system calls.

mod accept;
pub(crate) mod ceiling;
mod channel;
mod connect;
mod due;
pub(crate) mod gate;
pub(crate) mod heartbeat;
pub(crate) mod host;
pub(crate) mod ladder;
mod layers;
pub(crate) mod line;
mod output;
pub(crate) mod owner;
pub(crate) mod sim;
pub(crate) mod step;
pub(crate) mod sys;
mod timed;
pub(crate) mod watchdog;
pub(crate) mod wires;

pub use channel::Sent;
pub use gate::Gate;
pub use ladder::{Step, Timing, TimingClass};
pub use step::GivesUp;
pub use wires::LostPort;
