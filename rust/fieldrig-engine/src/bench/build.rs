//! An emulated device from its model: points, behaviour, and one face for each link it is on.

use super::place::Outcome;
use super::{DeviceLink, Model};
use fieldrig_proto::device::{Device, Face, PointStore, RuleModel};
use fieldrig_proto::protocol::{Built, Role};

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
    let rules = behaviour(model, links)?;
    let faces = links.iter().map(|link| face(model, link, &url(link))).collect::<Outcome<Vec<_>>>()?;
    Ok(Device::new(name, PointStore::new(model.points().to_vec()), Box::new(rules), faces))
}

/// Builds the face of a model on a link.
///
/// # Errors
/// A protocol without devices, settings that are unknown, missing or refused.
pub(super) fn face(model: &Model, link: &DeviceLink, url: &str) -> Outcome<Box<dyn Face>> {
    let no_devices = || {
        let message = format!("`{}` has no devices, so none can be emulated on it", link.protocol.name);
        link.place.error(message)
    };
    let constructor = link.protocol.constructor(Role::Device).ok_or_else(no_devices)?;
    let settings = model.settings(&link.face, constructor, &link.given(url), &link.place)?;
    match (constructor.build)(&link.face, &settings) {
        Ok(Built::Face(face)) => Ok(face),
        Ok(Built::Endpoint(_)) => Err(no_devices()),
        Err(error) => Err(model.refused(&link.face, error, &link.place)),
    }
}

/// Compiles the rules of a model. They may name every face of the model, on a link or not.
///
/// # Errors
/// The first mistake in a rule, at its key.
pub(super) fn behaviour(model: &Model, links: &[DeviceLink]) -> Outcome<RuleModel> {
    let mut rules = model.behaviour().clone();
    let base = links.iter().find_map(|link| link.base.clone());
    rules.variables.extend(base.map(|base| ("base".to_owned(), base)));
    let mut faces: Vec<&str> = links.iter().map(|link| link.face.as_str()).collect();
    faces.extend(model.faces().filter(|face| !links.iter().any(|link| link.face == *face)));
    RuleModel::compile(&rules, model.points(), &faces).map_err(|error| {
        model.locate(&error.key).error(format!("`{}`: {}", error.key, error.problem)).maybe_hint(error.hint)
    })
}
