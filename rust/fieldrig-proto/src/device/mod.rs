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
//!
//! ```
//! use fieldrig_proto::device::*;
//! use fieldrig_proto::record::Value;
//! use fieldrig_proto::time::Time;
//!
//! let setpoint = PointDefinition {
//!     name: "setpoint".into(),
//!     kind: PointKind::Float,
//!     unit: "degC".into(),
//!     initial: Value::Float(20.0),
//!     range: Some((0.0, 120.0)),
//!     access: Access::ReadWrite,
//! };
//! let alarm = What::Line { face: None, text: "ALARM {setpoint}".into() };
//! let rules = RuleSet {
//!     rules: vec![Rule {
//!         when: "setpoint > 80 becomes true".into(),
//!         actions: vec![PlannedAction { after: Default::default(), what: alarm }],
//!     }],
//!     ..RuleSet::default()
//! };
//! let points = vec![setpoint];
//! let model = RuleModel::compile(&rules, &points, &["console"])?;
//! let console = ConsoleFace::new("console", ConsoleSettings::default());
//! let mut meter = Device::new("meter", PointStore::new(points), Box::new(model), vec![Box::new(console)]);
//! meter.power_on(Time::ZERO);
//! let change = meter.set(Time::from_nanos(5), "setpoint", 85.0)?;
//! assert_eq!((change.from, change.at), (Value::Float(20.0), Time::from_nanos(5)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub use model::{Model, ModelContext, NoModel, Said};
pub use plan::{BootLine, BootPlan, Command, Payload, Periodic, PlanError, PlannedAction, Rule, RuleSet, What};
pub use rules::RuleModel;
pub use store::{Access, Change, Origin, PointDefinition, PointError, PointKind, PointStore};
pub use template::{Template, TemplateError};
pub(crate) use template::{write_json, write_value};
