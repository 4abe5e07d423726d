//! Files that define a protocol (docs/protocols.md), and the links of a bench file that speak one of them:
//! `protocol = "acme.toml"`.
//!
//! Rules of this file:
//! - A name that ends with `.toml` is a file beside the bench file. Its protocol is known by the name that stands in it, to
//!   this bench only; no other protocol of the bench may have that name.
//! - What is wrong in such a file is told with its place there.

use super::map_file::found;
use super::place::{BenchFileError, Outcome};
use super::tree::{self, Data, Environment, Node};
use fieldrig_proto::line::defined::{self, Definition};
use fieldrig_proto::protocol::{Protocol, SettingError};
use std::path::Path;
use std::sync::Arc;

/// A protocol that was read.
#[derive(Clone, Debug)]
pub struct DefinedProtocol {
    /// What the file says.
    pub definition: Arc<Definition>,
    /// How the engine sees it.
    pub protocol: &'static Protocol,
}

/// Reads a file that defines a protocol.
///
/// # Errors
/// What cannot be read, and what is wrong with it, with its place.
pub fn load_protocol(path: &Path, environment: Environment<'_>) -> Result<Definition, BenchFileError> {
    let node = tree::read_whole(path, environment)?;
    Definition::read(&node.value()).map_err(|problem| placed(&node, problem))
}

fn placed(node: &Node, problem: SettingError) -> BenchFileError {
    let place = found(node, &problem.key).map_or(&node.place, |node| &node.place);
    let message = match problem.key.as_str() {
        "" => problem.problem,
        key => format!("`{key}`: {}", problem.problem),
    };
    place.error(message).maybe_hint(problem.hint)
}

/// Reads the protocols of a bench file that stand in files of their own, and puts their names in the place of the files.
pub(super) fn take(
    bench: &mut Node,
    path: &Path,
    environment: Environment<'_>,
    known: &[&'static Protocol],
) -> Outcome<Vec<DefinedProtocol>> {
    let mut files: Vec<(String, DefinedProtocol)> = Vec::new();
    let mut named = |node: &mut Node| {
        let Data::Text(name) = &mut node.data else { return Ok(()) };
        if !name.ends_with(".toml") {
            return Ok(());
        }
        if let Some((_, read)) = files.iter().find(|(file, _)| file == name) {
            name.clone_from(&read.definition.name);
            return Ok(());
        }
        let file = path.parent().unwrap_or(Path::new(".")).join(&*name);
        if !file.exists() {
            return Err(node.place.error(format!("there is no file {name} beside the bench file")));
        }
        let definition = Arc::new(load_protocol(&file, environment)?);
        let taken = known.iter().any(|protocol| protocol.name == definition.name)
            || files.iter().any(|(_, other)| other.definition.name == definition.name);
        if taken {
            return Err(node.place.error(format!("there is another protocol `{}`", definition.name)));
        }
        let protocol = defined::protocol(&definition);
        files.push((std::mem::replace(name, definition.name.clone()), DefinedProtocol { definition, protocol }));
        Ok(())
    };
    for (kind, inner) in [("link", None), ("dut", Some("links")), ("peer", Some("links"))] {
        for entry in entries(bench, kind) {
            let mut tables: Vec<&mut Node> = match inner {
                None => vec![&mut entry.node],
                Some(inner) => entries(&mut entry.node, inner).iter_mut().map(|entry| &mut entry.node).collect(),
            };
            for table in &mut tables {
                let Data::Table(keys) = &mut table.data else { continue };
                keys.iter_mut().filter(|key| key.key == "protocol").try_for_each(|key| named(&mut key.node))?;
            }
        }
    }
    Ok(files.into_iter().map(|(_, read)| read).collect())
}

/// The entries of a table in a table; none if there is no such table.
fn entries<'a>(node: &'a mut Node, key: &str) -> &'a mut [tree::Entry] {
    let Data::Table(entries) = &mut node.data else { return &mut [] };
    match entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node.data) {
        Some(Data::Table(entries)) => entries,
        _ => &mut [],
    }
}
