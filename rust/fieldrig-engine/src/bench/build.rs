//! An emulated device from its model: points, behaviour, and one face for each link it is on.

use super::code::{LinkSide, Surroundings};
use super::file::UseRole;
use super::model::Behaviour;
use super::place::Outcome;
use super::{DeviceLink, Model, has_broker};
use fieldrig_proto::device::{self, Device, Face, PointStore, RuleModel, RuleSet};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::Value;

/// Builds the device; it is off. `url` gives, for the name of a link, the port URL at which a face finds its broker.
///
/// # Errors
/// What is wrong with the model on these links, with its place.
pub(super) fn device(
    name: &str,
    model: &Model,
    links: &[DeviceLink],
    url: &dyn Fn(&DeviceLink) -> String,
) -> Outcome<Device> {
    let behaviour = behaviour(name, model, links)?;
    let faces = links.iter().map(|link| face(model, link, &url(link))).collect::<Outcome<Vec<_>>>()?;
    Ok(Device::new(name, PointStore::new(model.points().to_vec()), behaviour, faces))
}

/// The behaviour of a model on these links.
///
/// # Errors
/// The first mistake in a rule, at its key.
fn behaviour(name: &str, model: &Model, links: &[DeviceLink]) -> Outcome<Box<dyn device::Model>> {
    match model.behaviour() {
        Behaviour::Rules(rules) => Ok(Box::new(compile(model, rules, links)?)),
        Behaviour::Code(make) => Ok(make(&Surroundings { device: name, links: links.iter().map(side).collect() })),
    }
}

fn side(link: &DeviceLink) -> LinkSide<'_> {
    LinkSide {
        name: &link.name,
        face: &link.face,
        protocol: link.protocol,
        role: link.role,
        base: link.base.as_deref(),
        unit: link.unit,
    }
}

/// Finds mistakes in the rules of a model. A program can only be tried.
///
/// # Errors
/// The first mistake in a rule, at its key.
pub(super) fn check(model: &Model, links: &[DeviceLink]) -> Outcome<()> {
    match model.behaviour() {
        Behaviour::Rules(rules) => compile(model, rules, links).map(drop),
        Behaviour::Code(_) => Ok(()),
    }
}

/// Builds the face of a model on a link.
///
/// # Errors
/// A protocol without devices, settings that are unknown, missing or refused.
pub(super) fn face(model: &Model, link: &DeviceLink, url: &str) -> Outcome<Box<dyn Face>> {
    let asks = link.role == UseRole::Client && !has_broker(link.protocol);
    let no_devices = || {
        let message = match asks {
            true => format!("an emulated device cannot be a client of `{}`", link.protocol.name),
            false => format!("`{}` has no devices, so none can be emulated on it", link.protocol.name),
        };
        link.place.error(message)
    };
    let role = if asks { Role::Client } else { Role::Device };
    let constructor = link.protocol.constructor(role).ok_or_else(no_devices)?;
    let mut given = link.given(url);
    let points = model.points().iter().map(|point| Value::from(point.name.as_str())).collect();
    given.push(("points", Value::List(points)));
    let settings = model.settings(&link.face, constructor, &given, &link.place)?;
    match (constructor.build)(&link.face, &settings) {
        Ok(Built::Face(face)) => Ok(face),
        Ok(Built::Endpoint(_)) => Err(no_devices()),
        Err(error) => Err(model.refused(&link.face, error, &link.place)),
    }
}

/// Compiles the rules of a model. They may name every face of the model, on a link or not.
fn compile(model: &Model, rules: &RuleSet, links: &[DeviceLink]) -> Outcome<RuleModel> {
    let mut rules = rules.clone();
    let base = links.iter().find_map(|link| link.base.clone());
    rules.variables.extend(base.map(|base| ("base".to_owned(), base)));
    let mut faces: Vec<&str> = links.iter().map(|link| link.face.as_str()).collect();
    faces.extend(model.faces().filter(|face| !links.iter().any(|link| link.face == *face)));
    RuleModel::compile(&rules, model.points(), &faces).map_err(|error| {
        model.locate(&error.key).error(format!("`{}`: {}", error.key, error.problem)).maybe_hint(error.hint)
    })
}
