//! Models that are programs: `model = "models/gateway.py:Gateway"`. The engine runs no program; whoever can hands in a
//! [`ModelLoader`].

use super::file::UseRole;
use fieldrig_proto::device::Model;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::record::Value;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Loads models that are programs.
pub trait ModelLoader: Sync {
    /// Loads `class` of `file`; `settings` is a table: what the bench file hands to it.
    ///
    /// # Errors
    /// What is wrong, for people; the place is added by the caller.
    fn load(&self, file: &Path, class: &str, settings: &Value) -> Result<LoadedModel, ModelProblem>;
}

/// A model that was loaded.
#[derive(Clone)]
pub struct LoadedModel {
    /// What it says about itself: a table with the keys `model` (with `name`), `points` and `face` of a model file.
    pub definition: Value,
    /// Makes the behaviour of one device; it is asked once for each device.
    pub make: MakeModel,
}

/// Makes the behaviour of a device.
pub type MakeModel = Arc<dyn Fn(&Surroundings<'_>) -> Box<dyn Model> + Send + Sync>;

impl fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedModel").field("definition", &self.definition).finish_non_exhaustive()
    }
}

/// What a model is told about the place of its device in the bench.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The name of the device.
    pub device: &'a str,
    /// The links it is on, in the order of the bench file.
    pub links: Vec<LinkSide<'a>>,
}

/// A link, as the model of a device on it sees it.
#[derive(Clone, Debug)]
pub struct LinkSide<'a> {
    /// The name of the link.
    pub name: &'a str,
    /// The face that is on it: emissions and what is heard go by this name.
    pub face: &'a str,
    /// What is spoken.
    pub protocol: &'static Protocol,
    /// What the device is there.
    pub role: UseRole,
    /// What stands for `{base}`.
    pub base: Option<&'a str>,
    /// Unit id of the device.
    pub unit: Option<i64>,
}

/// Why a model cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ModelProblem {
    /// What is wrong.
    pub message: String,
    /// A known remedy.
    pub hint: Option<String>,
}

/// For programs without an interpreter: model files in TOML only.
#[derive(Clone, Copy, Debug, Default)]
pub struct TomlOnly;

impl ModelLoader for TomlOnly {
    fn load(&self, _: &Path, class: &str, _: &Value) -> Result<LoadedModel, ModelProblem> {
        let message = format!("`{class}` is a model in Python, and there is no Python here");
        Err(ModelProblem { message, hint: Some("load the bench from Python".to_owned()) })
    }
}

/// What stands under `model`: a file, and for programs the class in it.
pub(super) fn parts(model: &str) -> (&str, Option<&str>) {
    match model.rsplit_once(':') {
        Some((file, class)) if file.ends_with(".py") => (file, Some(class)),
        _ => (model, None),
    }
}
