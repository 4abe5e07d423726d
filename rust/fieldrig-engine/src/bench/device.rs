//! `[dut.NAME]` and `[peer.NAME]` as they are written.

use super::file::{OWNERS, Owner, UseRole, missing};
use super::keys;
use super::life::{self, Life};
use super::place::{Outcome, Place, did_you_mean};
use super::ports::port_options;
use super::section::{Located, Section};
use super::tree::{Data, Entry, Node};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::record::Value;

/// `[dut.NAME]` or `[peer.NAME]`.
pub(super) struct DeviceEntry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) judged: bool,
    pub(super) model: Option<Located<String>>,
    /// For a model in Python; where they stand.
    pub(super) settings: Option<Located<Value>>,
    pub(super) tags: Vec<String>,
    pub(super) reset: Vec<String>,
    pub(super) writable: Vec<Located<String>>,
    pub(super) allow: Vec<String>,
    pub(super) life: Life,
    pub(super) links: Vec<Use>,
}

/// How a device uses a link.
pub(super) struct Use {
    pub(super) link: String,
    pub(super) place: Place,
    pub(super) role: Option<UseRole>,
    pub(super) unit: Option<i64>,
    pub(super) face: Option<String>,
    pub(super) protocol: Option<Located<String>>,
    pub(super) line: Option<LineSettings>,
    pub(super) port: Option<Located<String>>,
    pub(super) belongs_to: Option<Owner>,
    /// What is done to the port when it is opened.
    pub(super) options: Option<Located<String>>,
    /// How fieldrig asks on a link of its own: a table, by its name, that only the protocol can check.
    pub(super) client: Option<(String, Node)>,
}

const USE_ROLES: [(&str, UseRole); 2] = [("client", UseRole::Client), ("devices", UseRole::Devices)];

pub(super) fn read(entry: &Entry, title: String, judged: bool) -> Outcome<DeviceEntry> {
    let mut section = Section::of(&entry.node, title)?;
    let model = section.text("model")?;
    if model.is_none() && !judged {
        return Err(missing(entry, "model", &section.name));
    }
    let unit = section.integer("unit", 0, 255)?;
    let mut links = uses(&mut section)?;
    if !judged {
        links.extend(single_use(&mut section)?);
    }
    links.iter_mut().for_each(|link| link.unit = link.unit.or(unit));
    let mut device = DeviceEntry {
        name: entry.key.clone(),
        place: entry.place.clone(),
        judged,
        model,
        settings: settings(&mut section)?,
        tags: section.texts("tags")?.into_iter().map(|tag| tag.value).collect(),
        reset: section.words("reset", &keys::RESETS)?,
        writable: Vec::new(),
        allow: Vec::new(),
        life: Life::default(),
        links,
    };
    if judged {
        device.writable = section.texts("writable")?;
        device.writable.iter().try_for_each(check_range)?;
        device.allow = section.words("allow", &keys::ALLOWED)?;
        device.life = life::read(&mut section)?;
    }
    section.finish(if judged { &keys::DUT } else { &keys::PEER })?;
    if device.links.is_empty() {
        return Err(missing(entry, if judged { "links" } else { "link" }, &section.name));
    }
    Ok(device)
}

fn settings(section: &mut Section<'_>) -> Outcome<Option<Located<Value>>> {
    let place = section.locate("settings");
    let Some(table) = section.section("settings")? else { return Ok(None) };
    let entries = table.entries().iter().map(|entry| (entry.key.clone(), entry.node.value())).collect();
    Ok(Some(Located { value: Value::Table(entries), place }))
}

/// `holding:100-120`; what has no colon is the name of a point, which only the model can check.
fn check_range(text: &Located<String>) -> Outcome<()> {
    let Some((table, range)) = text.value.split_once(':') else { return Ok(()) };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last && !table.is_empty() => Ok(()),
        _ => {
            let message = format!("`{}` is no range of addresses", text.value);
            Err(text.place.error(message).hint("write \"holding:100-120\", or the name of a point"))
        }
    }
}

/// `links = { modbus = "devices", console = { belongs_to = "dut" } }`.
fn uses(section: &mut Section<'_>) -> Outcome<Vec<Use>> {
    let Some(links) = section.section("links")? else { return Ok(Vec::new()) };
    let read = |entry: &Entry| {
        let mut link = Use::of(&entry.key, &entry.place);
        if let Data::Text(_) = entry.node.data {
            link.role = Some(role_of(&links, entry)?);
            return Ok(link);
        }
        let mut section = Section::of(&entry.node, links.inner_name(&entry.key))?;
        link.role = section.word("role", &USE_ROLES)?;
        link.unit = section.integer("unit", 0, 255)?;
        link.face = section.text("face")?.map(|face| face.value);
        link.protocol = section.text("protocol")?;
        link.line = section.line("line")?;
        link.port = section.text("port")?;
        link.belongs_to = section.word("belongs_to", &OWNERS)?;
        link.options = port_options(&mut section)?;
        link.client = client(&mut section)?;
        section.finish(&keys::USE)?;
        Ok(link)
    };
    links.entries().iter().map(read).collect()
}

fn client(section: &mut Section<'_>) -> Outcome<Option<(String, Node)>> {
    Ok(section.section("client")?.map(|table| (table.name.clone(), table.as_node())))
}

/// The role in `links = { modbus = "devices" }`.
fn role_of(links: &Section<'_>, entry: &Entry) -> Outcome<UseRole> {
    let word = Node::value(&entry.node);
    let word = word.as_str().unwrap_or_default();
    USE_ROLES.iter().find(|(name, _)| *name == word).map(|(_, role)| *role).ok_or_else(|| {
        let message = format!("`{}` in {} cannot be `{word}`", entry.key, links.name);
        entry.node.place.error(message).maybe_hint(did_you_mean(word, USE_ROLES.iter().map(|(name, _)| *name)))
    })
}

/// A peer has `link = "bus485"` and `face = "modbus"` instead of a table.
fn single_use(section: &mut Section<'_>) -> Outcome<Option<Use>> {
    let face = section.text("face")?;
    let Some(link) = section.text("link")? else {
        return match face {
            Some(face) => {
                Err(face.place.error(format!("`face` in {} belongs to `link`, which is missing", section.name)))
            }
            None => Ok(None),
        };
    };
    Ok(Some(Use { face: face.map(|face| face.value), ..Use::of(&link.value, &link.place) }))
}

impl Use {
    fn of(link: &str, place: &Place) -> Use {
        Use {
            link: link.to_owned(),
            place: place.clone(),
            role: None,
            unit: None,
            face: None,
            protocol: None,
            line: None,
            port: None,
            belongs_to: None,
            options: None,
            client: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::Kind;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&USE_ROLES, &Kind::Word(&keys::USE_ROLES)));
    }
}
