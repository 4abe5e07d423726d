//! Links: what lies between two ports and can disturb what passes.
//!
//! A [`Bridge`] joins two ports and forwards bytes both ways; byte faults are injected there, seeded, one direction at a
//! time. Protocol faults (a wrong answer, a late one) belong to the endpoints; each name belongs to one of both.

mod bridge;
mod event;
pub(crate) mod faults;
mod joint;

pub use bridge::Bridge;
pub use event::BridgeEvent;
pub use faults::{ByteFault, Disturbance, FaultError, Way};
pub use joint::{Brings, JoinedPort};
