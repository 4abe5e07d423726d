//! Emulated devices: one [`Device`] owns its store, its model and all its faces, and steps them at one `now`.
//!
//! ```text
//!   Modbus   console   MQTT        faces: protocol sides, each with its own connections
//!      \        |       /
//!       PointStore (points)         one store: a value written through one face is seen through the others
//!               |
//!             Model                 behaviour: boots, reacts to changes and to what faces heard, speaks through faces
//! ```
//! A behaviour needs no code: a [`RuleSet`] is plain data (a model file), compiled into a [`RuleModel`].

mod compile;
mod condition;
mod console;
#[expect(clippy::module_inception, reason = "the device is one of the parts of a device")]
mod device;
mod face;
mod model;
mod plan;
mod rules;
mod store;
mod template;

pub use condition::{Condition, ConditionError, Trigger};
pub use console::{CONSOLE_HABITS, ConsoleFace, ConsoleSettings};
pub use device::{Device, Power};
pub use face::{Emission, Face, Heard};
pub use model::{Model, ModelContext, NoModel};
pub use plan::{BootLine, BootPlan, Command, Payload, Periodic, PlanError, PlannedAction, Rule, RuleSet, What};
pub use rules::RuleModel;
pub use store::{Access, Change, Origin, PointDefinition, PointError, PointKind, PointStore};
pub use template::{Template, TemplateError};
pub(crate) use template::{write_json, write_value};
