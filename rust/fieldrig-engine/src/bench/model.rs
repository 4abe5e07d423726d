//! The model file: `[model]`, `[points.*]`, `[face.*]` and the behaviour (`behaviour.rs`).
//!
//! One file serves both profiles: it builds the emulated device, and its face settings tell a client of a real device
//! where each point is (`Model::face_settings`).

use super::code::{LoadedModel, MakeModel, ModelLoader};
use super::keys;
use super::place::{Outcome, Place, did_you_mean};
use super::section::Section;
use super::series::take_series;
use super::tree::{self, Data, Entry, Environment, Node};
use super::{BenchFileError, behaviour, map_file};
use fieldrig_proto::device::{Access, Origin, PointDefinition, PointError, PointKind, PointStore, RuleSet};
use fieldrig_proto::protocol::{Constructor, SettingError};
use fieldrig_proto::record::Value;
use std::path::Path;

/// A model file.
#[derive(Clone, Debug)]
pub struct Model {
    name: String,
    points: Vec<PointDefinition>,
    behaviour: Behaviour,
    tree: Node,
}

/// What a model does.
#[derive(Clone)]
pub(super) enum Behaviour {
    /// What the file says.
    Rules(Box<RuleSet>),
    /// What a program says.
    Code(MakeModel),
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Behaviour::Rules(rules) => rules.fmt(f),
            Behaviour::Code(_) => f.write_str("Code"),
        }
    }
}

const KINDS: [(&str, PointKind); 4] =
    [("bool", PointKind::Bool), ("int", PointKind::Int), ("float", PointKind::Float), ("text", PointKind::Text)];
const ACCESS: [(&str, Access); 2] = [("read", Access::Read), ("read-write", Access::ReadWrite)];

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its place.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Model, BenchFileError> {
        let mut tree = tree::read_whole(path, environment)?;
        take_files(&mut tree, path, environment)?;
        Model::read(tree)
    }

    /// Loads a model that is a program; `settings` is a table.
    ///
    /// # Errors
    /// It cannot be loaded, or what it says about itself is wrong; the place is the file as a whole.
    pub fn load_code(
        path: &Path,
        class: &str,
        settings: &Value,
        loader: &dyn ModelLoader,
    ) -> Result<Model, BenchFileError> {
        let loaded = loader
            .load(path, class, settings)
            .map_err(|problem| tree::whole_file(path)(problem.message).maybe_hint(problem.hint))?;
        let LoadedModel { definition, make } = loaded;
        let mut tree = Node::from_value(&Place::file(&path.display().to_string().into()), &definition);
        take_files(&mut tree, path, &|_| None)?;
        let mut file = Section::of(&tree, format!("the definition of `{class}`"))?;
        let (name, points) = header(&mut file)?;
        file.finish(&keys::CODE_MODEL)?;
        Ok(Model { name, points, behaviour: Behaviour::Code(make), tree })
    }

    pub(super) fn read(tree: Node) -> Outcome<Model> {
        let mut file = Section::of(&tree, "the file")?;
        let (name, points) = header(&mut file)?;
        let behaviour = Behaviour::Rules(Box::new(behaviour::read(&mut file)?));
        file.finish(&keys::MODEL_FILE)?;
        Ok(Model { name, points, behaviour, tree })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its points, in the order of the file.
    #[must_use]
    pub fn points(&self) -> &[PointDefinition] {
        &self.points
    }

    /// What it does.
    pub(super) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// It is a program: it can ask, and it does not run on the threads that drive ports.
    #[must_use]
    pub fn is_code(&self) -> bool {
        matches!(self.behaviour, Behaviour::Code(_))
    }

    /// The names of its faces, in the order of the file.
    pub fn faces(&self) -> impl Iterator<Item = &str> {
        self.face_entries().iter().map(|entry| entry.key.as_str())
    }

    /// The settings of a face as they are in the file: for a Modbus face a table with the key `map`.
    #[must_use]
    pub fn face_settings(&self, face: &str) -> Option<Value> {
        self.face(face).map(Node::value)
    }

    fn face(&self, name: &str) -> Option<&Node> {
        self.face_entries().iter().find(|entry| entry.key == name).map(|entry| &entry.node)
    }

    fn face_entries(&self) -> &[Entry] {
        match self.tree.entry("face").map(|entry| &entry.node.data) {
            Some(Data::Table(entries)) => entries,
            _ => &[],
        }
    }

    /// The settings for a constructor: those of the file, with `{base}` replaced, and for the keys that the constructor
    /// knows and the file leaves open those of `given`. `user` is where the face is asked for.
    pub(super) fn settings(
        &self,
        face: &str,
        constructor: &Constructor,
        given: &[(&str, Value)],
        user: &Place,
    ) -> Outcome<Vec<(String, Value)>> {
        let known = || constructor.keys.iter().map(|key| key.name);
        let mut settings = Vec::new();
        let mut node = self.face(face).cloned();
        if let Some(node) = &mut node {
            replace_base(node, given)?;
        }
        let entries = match node.as_ref().map(|node| &node.data) {
            Some(Data::Table(entries)) => entries.as_slice(),
            _ => &[],
        };
        for entry in entries {
            if !known().any(|key| key == entry.key) {
                let message = format!("unknown key `{}` in [face.{face}]", entry.key);
                return Err(entry.place.error(message).maybe_hint(did_you_mean(&entry.key, known())));
            }
            settings.push((entry.key.clone(), entry.node.value()));
        }
        for (key, value) in given {
            if known().any(|known| known == *key) && !settings.iter().any(|(present, _)| present == key) {
                settings.push(((*key).to_owned(), value.clone()));
            }
        }
        let missing = constructor.keys.iter().find(|key| key.required && !settings.iter().any(|(k, _)| k == key.name));
        if let Some(key) = missing {
            let place = node.as_ref().map_or(user, |node| &node.place);
            let message = format!("missing key `{}` in [face.{face}] of the model `{}`", key.name, self.name);
            return Err(place.error(message).hint(key.what));
        }
        Ok(settings)
    }

    /// The place of what a constructor refused.
    pub(super) fn refused(&self, face: &str, error: SettingError, user: &Place) -> BenchFileError {
        let first = error.key.split('.').next().unwrap_or_default();
        let place = match self.face(face).and_then(|node| node.entry(first)) {
            Some(_) => self.tree.locate(&format!("face.{face}.{}", error.key)),
            // It came from the bench file.
            None => user.clone(),
        };
        place.error(format!("`{}` in [face.{face}]: {}", error.key, error.problem)).maybe_hint(error.hint)
    }

    /// The place of a key of the behaviour: `rule[1].when`.
    pub(super) fn locate(&self, key: &str) -> Place {
        self.tree.locate(&key.replace('[', ".").replace(']', ""))
    }
}

/// The name and the points, and whether the faces name only these.
fn header(file: &mut Section<'_>) -> Outcome<(String, Vec<PointDefinition>)> {
    let header = file.section("model")?;
    let mut header = file.require("model", header)?;
    let name = header.text("name")?;
    let name = header.require("name", name)?.value;
    header.finish(&keys::MODEL)?;
    let points = points(file)?;
    for entry in file.section("face")?.map_or(&[][..], |faces| faces.entries()) {
        check_map(entry, &points)?;
    }
    Ok((name, points))
}

/// Puts the content of map files and recordings, named beside the model file, where a face names them; the points that the
/// model does not declare are declared by the map.
fn take_files(tree: &mut Node, path: &Path, environment: Environment<'_>) -> Outcome<()> {
    let Data::Table(entries) = &mut tree.data else { return Ok(()) };
    let mut found = Vec::new();
    let faces = entries.iter_mut().find(|entry| entry.key == "face");
    let Some(Data::Table(faces)) = faces.map(|entry| &mut entry.node.data) else { return Ok(()) };
    let folder = path.parent().unwrap_or(Path::new("."));
    for face in faces {
        take_series(&mut face.node, folder)?;
        let Data::Table(keys) = &mut face.node.data else { continue };
        let Some(map) = keys.iter_mut().find(|entry| entry.key == "map") else { continue };
        let Data::Text(name) = &map.node.data else { continue };
        let mut content = map_file::read(&folder.join(name), environment)?;
        let Data::Table(sections) = &mut content.data else { continue };
        let points = sections.iter().position(|entry| entry.key == "points").map(|index| sections.remove(index).node);
        map.node = points.ok_or_else(|| {
            let near =
                sections.iter().find(|entry| did_you_mean(&entry.key, ["points"]).is_some_and(|it| it.ends_with('?')));
            let place = near.map_or(&content.place, |entry| &entry.place);
            let error = place.error("there is no [points.NAME] in this map file");
            error.maybe_hint(near.map(|entry| format!("`{}` is `points`?", entry.key)))
        })?;
        found.push(map.node.clone());
        let Data::Table(further) = content.data else { continue };
        let further = further.into_iter().filter(|entry| entry.key != "device");
        let new: Vec<Entry> = further.filter(|entry| !keys.iter().any(|key| key.key == entry.key)).collect();
        keys.extend(new);
    }
    for points in found {
        declare(entries, &points);
    }
    Ok(())
}

fn declare(entries: &mut Vec<Entry>, map: &Node) {
    let Data::Table(points) = &map.data else { return };
    if !entries.iter().any(|entry| entry.key == "points") {
        let node = Node { place: map.place.clone(), data: Data::Table(Vec::new()) };
        entries.push(Entry { key: "points".to_owned(), place: map.place.clone(), node });
    }
    let declared = entries.iter_mut().find(|entry| entry.key == "points");
    if let Some(Data::Table(declared)) = declared.map(|entry| &mut entry.node.data) {
        let new = map_file::declarations(points, declared);
        declared.extend(new);
    }
}

fn replace_base(node: &mut Node, given: &[(&str, Value)]) -> Outcome<()> {
    let base = given.iter().find(|(key, _)| *key == "base").and_then(|(_, value)| value.as_str());
    node.each_text(&mut |text| {
        if text.contains("{base}") {
            let base = base.ok_or("`{base}` stands for nothing: the link has no `base`")?;
            *text = text.replace("{base}", base);
        }
        Ok(())
    })
}

fn points(file: &mut Section<'_>) -> Outcome<Vec<PointDefinition>> {
    let Some(section) = file.section("points")? else { return Ok(Vec::new()) };
    section.entries().iter().map(point).collect()
}

fn point(entry: &Entry) -> Outcome<PointDefinition> {
    let title = format!("[points.{}]", entry.key);
    let mut section = Section::of(&entry.node, &*title)?;
    let kind = section.word("kind", &KINDS)?;
    let Some(kind) = kind else { return Err(entry.place.error(format!("missing key `kind` in {title}"))) };
    let unit = section.text("unit")?.map(|unit| unit.value).unwrap_or_default();
    let range = range(&mut section)?;
    let access = section.word("access", &ACCESS)?.unwrap_or(Access::Read);
    let (place, initial) = (section.locate("initial"), section.node("initial").map(Node::value));
    section.finish(&keys::POINT)?;
    let initial = initial.unwrap_or_else(|| default_value(kind, range));
    let name = entry.key.clone();
    let definition = PointDefinition { name, kind, unit, initial: initial.clone(), range, access };
    let stored = PointStore::new(vec![definition.clone()]).checked(0, initial, &Origin::Reset);
    let initial = stored.map_err(|error| match error {
        PointError::Kind { .. } => {
            place.error(format!("`initial` in {title} is no value of the kind `{}`", word(kind)))
        }
        error => place.error(format!("`initial` in {title} does not fit: {error}")),
    })?;
    Ok(PointDefinition { initial, ..definition })
}

/// The points that a map declares, for an emulated device that is made of nothing else.
///
/// # Errors
/// What does not fit together: an initial value outside the range, or of another kind. `name` stands for the file.
pub fn declared_points(name: &str, map: &Value) -> Result<Vec<PointDefinition>, BenchFileError> {
    let place = Place::file(&name.into());
    declared(&Node::from_value(&place, map))
}

/// The points of a map, as declarations.
pub(super) fn declared(map: &Node) -> Outcome<Vec<PointDefinition>> {
    let mut entries = Vec::new();
    declare(&mut entries, map);
    let tree = Node { place: map.place.clone(), data: Data::Table(entries) };
    points(&mut Section::of(&tree, "the map")?)
}

fn word(kind: PointKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
}

/// The key `map` of a face says, for whatever protocol, where each point is: it can only name points that there are.
fn check_map(face: &Entry, points: &[PointDefinition]) -> Outcome<()> {
    let mut section = Section::of(&face.node, format!("[face.{}]", face.key))?;
    let Some(map) = section.section("map")? else { return Ok(()) };
    let names = || points.iter().map(|point| point.name.as_str());
    match map.entries().iter().find(|entry| !names().any(|name| name == entry.key)) {
        None => Ok(()),
        Some(entry) => {
            let message = format!("{} maps `{}`, which is no point of this model", map.name, entry.key);
            Err(entry.place.error(message).maybe_hint(did_you_mean(&entry.key, names())))
        }
    }
}

/// Zero, or the nearest value in the range.
fn default_value(kind: PointKind, range: Option<(f64, f64)>) -> Value {
    let zero = range.map_or(0.0, |(low, high)| 0f64.clamp(low, high));
    match kind {
        PointKind::Bool => Value::Bool(false),
        PointKind::Int => Value::Int(zero as i64),
        PointKind::Float => Value::Float(zero),
        PointKind::Text => Value::Text(String::new()),
    }
}

fn range(section: &mut Section<'_>) -> Outcome<Option<(f64, f64)>> {
    let name = section.name.clone();
    let Some(node) = section.node("range") else { return Ok(None) };
    let numbers: Option<Vec<f64>> = match node.value() {
        Value::List(values) => values.iter().map(Value::as_f64).collect(),
        _ => None,
    };
    match numbers.as_deref() {
        Some([low, high]) if low <= high => Ok(Some((*low, *high))),
        Some([low, high]) => Err(node.place.error(format!("`range` in {name} begins above its end: {low} to {high}"))),
        _ => Err(node.place.error(format!("`range` in {name} is not a pair of numbers")).hint("write [0, 100]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::Kind;
    use crate::bench::section::is_described_by;
    use std::sync::Arc;

    fn model(text: &str) -> Outcome<Model> {
        Model::read(tree::parse(&Arc::from("m.toml"), text, &|_| None)?)
    }

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&KINDS, &Kind::Word(&keys::POINT_KINDS)));
        assert!(is_described_by(&ACCESS, &Kind::Word(&keys::ACCESS)));
    }

    #[test]
    fn points_have_sensible_defaults() {
        let text =
            "[model]\nname = 'm'\n[points.a]\nkind = 'float'\nrange = [5, 9]\n[points.b]\nkind = 'bool'\ninitial = 1\n";
        let model = model(text).unwrap();
        assert_eq!(model.points()[0].initial, Value::Float(5.0));
        assert_eq!(model.points()[1].initial, Value::Bool(true));
        assert_eq!(model.points()[0].access, Access::Read);
    }

    #[test]
    fn face_settings_are_those_of_the_file() {
        let model =
            model("[model]\nname = 'm'\n[points.v]\nkind = 'int'\n[face.modbus.map]\nv = { address = 1 }\n").unwrap();
        let settings = model.face_settings("modbus").unwrap();
        let address = settings.entry("map").and_then(|map| map.entry("v")).and_then(|v| v.entry("address"));
        assert_eq!(address, Some(&Value::Int(1)));
        assert_eq!((model.faces().collect::<Vec<_>>(), model.face_settings("mqtt")), (vec!["modbus"], None));
    }
}
