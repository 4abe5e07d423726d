//! The behaviour part of a model file: `[boot]`, `[[rule]]`, `[[command]]`, `[[every]]`, `[commands]`.
//!
//! Texts go into the [`RuleSet`] as they are written; its compilation checks them and names the key at fault.

use super::keys;
use super::place::Outcome;
use super::section::Section;
use super::tree::{Data, Entry, Node};
use fieldrig_proto::device::{BootLine, BootPlan, Command, Payload, Periodic, PlannedAction, Rule, RuleSet, What};
use fieldrig_proto::time::Duration;

/// Reads the behaviour; `file` is the whole model file.
pub(super) fn read(file: &mut Section<'_>) -> Outcome<RuleSet> {
    Ok(RuleSet {
        boot: file.section("boot")?.map(boot).transpose()?.unwrap_or_default(),
        rules: each(file, "rule", rule)?,
        commands: each(file, "command", command)?,
        periodic: each(file, "every", periodic)?,
        unknown_command: file.section("commands")?.map(unknown).transpose()?.flatten(),
        variables: Vec::new(),
    })
}

/// The tables of `[[key]]`, named `[[rule]] 1` and so on in errors.
fn each<T>(file: &mut Section<'_>, key: &'static str, read: impl Fn(Section<'_>) -> Outcome<T>) -> Outcome<Vec<T>> {
    let Some(node) = file.node(key) else { return Ok(Vec::new()) };
    let Data::List(nodes) = &node.data else {
        let message = format!("`{key}` is {}, a list of tables is expected", node.kind());
        return Err(node.place.error(message).hint(format!("write the header [[{key}]]")));
    };
    nodes.iter().map(|node| read(Section::of(node, format!("[[{key}]]"))?)).collect()
}

fn boot(mut section: Section<'_>) -> Outcome<BootPlan> {
    let time = section.duration("time")?.unwrap_or_default();
    let face = text(&mut section, "face")?;
    let lines = list(section.node("lines"), boot_line)?;
    section.finish(&keys::BOOT)?;
    Ok(BootPlan { time, face, lines })
}

fn boot_line(node: &Node) -> Outcome<BootLine> {
    if let Data::Text(text) = &node.data {
        return Ok(BootLine { at: None, text: text.clone() });
    }
    let mut section = Section::of(node, "[boot.lines]")?;
    let at = section.duration("at")?;
    let text = text(&mut section, "text")?;
    let text = section.require("text", text)?;
    section.finish(&keys::BOOT_LINE)?;
    Ok(BootLine { at, text })
}

fn unknown(mut section: Section<'_>) -> Outcome<Option<String>> {
    let unknown = text(&mut section, "unknown")?;
    section.finish(&keys::COMMANDS)?;
    Ok(unknown)
}

fn rule(mut section: Section<'_>) -> Outcome<Rule> {
    let when = text(&mut section, "when")?;
    let when = section.require("when", when)?;
    let actions = actions(&mut section)?;
    section.finish(&keys::RULE)?;
    Ok(Rule { when, actions })
}

fn command(mut section: Section<'_>) -> Outcome<Command> {
    let topic = text(&mut section, "topic")?;
    let pattern = text(&mut section, "match")?;
    let pattern = match (pattern, &topic) {
        (None, Some(_)) => "(?s).*".to_owned(),
        (pattern, _) => section.require("match", pattern)?,
    };
    let reply = list(section.node("reply"), |node| plain_text(node, "reply"))?;
    let error = text(&mut section, "error")?;
    let actions = actions(&mut section)?;
    let after = section.duration("after")?.unwrap_or_default();
    let face = text(&mut section, "face")?;
    section.finish(&keys::COMMAND)?;
    Ok(Command { face, topic, pattern, reply, error, after, actions })
}

fn periodic(mut section: Section<'_>) -> Outcome<Periodic> {
    let place = section.locate("period");
    let period = section.duration("period")?;
    let period = section.require("period", period)?;
    if period.is_zero() {
        return Err(place.error(format!("`period` in {} is zero", section.name)));
    }
    let first = section.duration("first")?;
    let when = text(&mut section, "when")?;
    let actions = actions(&mut section)?;
    section.finish(&keys::EVERY)?;
    Ok(Periodic { period, first, when, actions })
}

/// `set`, `add`, `line`, `publish` of a table, done in this order.
fn actions(section: &mut Section<'_>) -> Outcome<Vec<PlannedAction>> {
    let after = section.duration("after")?.unwrap_or_default();
    let mut actions = Vec::new();
    let mut plan = |after: Option<Duration>, default: Duration, what| {
        actions.push(PlannedAction { after: after.unwrap_or(default), what });
    };
    for entry in table(section, "set")? {
        plan(None, after, What::Set { point: entry.key.clone(), to: entry.node.value() });
    }
    for entry in table(section, "add")? {
        let by = entry.node.value().as_f64().filter(|_| !matches!(entry.node.data, Data::Bool(_)));
        let by = by.ok_or_else(|| {
            let message = format!(
                "`{}` in {} is {}, a number is expected",
                entry.key,
                section.inner_name("add"),
                entry.node.kind()
            );
            entry.node.place.error(message)
        })?;
        plan(None, after, What::Add { point: entry.key.clone(), by });
    }
    if let Some(node) = section.node("line") {
        let (own, what) = line(node, section.inner_name("line"))?;
        plan(own, after, what);
    }
    if let Some(inner) = section.section("publish")? {
        let (own, what) = publish(inner)?;
        plan(own, after, what);
    }
    Ok(actions)
}

fn line(node: &Node, title: String) -> Outcome<(Option<Duration>, What)> {
    if let Data::Text(text) = &node.data {
        return Ok((None, What::Line { face: None, text: text.clone() }));
    }
    let mut section = Section::of(node, title)?;
    let after = section.duration("after")?;
    let face = text(&mut section, "face")?;
    let words = text(&mut section, "text")?;
    let words = section.require("text", words)?;
    section.finish(&keys::SAID)?;
    Ok((after, What::Line { face, text: words }))
}

fn publish(mut section: Section<'_>) -> Outcome<(Option<Duration>, What)> {
    let after = section.duration("after")?;
    let face = text(&mut section, "face")?;
    let topic = text(&mut section, "topic")?;
    let topic = section.require("topic", topic)?;
    let payload = match (section.text("payload")?, section.node("json")) {
        (Some(payload), None) => Payload::Text(payload.value),
        (None, Some(json)) => Payload::Json(json.value()),
        (None, None) => Payload::Text(String::new()),
        (Some(payload), Some(_)) => {
            return Err(payload.place.error(format!("{} has both `payload` and `json`", section.name)));
        }
    };
    // 2 bits on the wire; the face refuses what it cannot do.
    let qos = section.integer("qos", 0, 2)?.unwrap_or(0) as u8;
    let retain = section.truth("retain")?.unwrap_or(false);
    section.finish(&keys::PUBLISHED)?;
    Ok((after, What::Publish { face, topic, payload, qos, retain }))
}

fn text(section: &mut Section<'_>, key: &'static str) -> Outcome<Option<String>> {
    Ok(section.text(key)?.map(|text| text.value))
}

fn table<'a>(section: &mut Section<'a>, key: &'static str) -> Outcome<&'a [Entry]> {
    Ok(section.section(key)?.map_or(&[], |inner| inner.entries()))
}

/// One item, or a list of them.
fn list<T>(node: Option<&Node>, read: impl Fn(&Node) -> Outcome<T>) -> Outcome<Vec<T>> {
    match node {
        None => Ok(Vec::new()),
        Some(Node { data: Data::List(nodes), .. }) => nodes.iter().map(read).collect(),
        Some(node) => Ok(vec![read(node)?]),
    }
}

fn plain_text(node: &Node, key: &str) -> Outcome<String> {
    match &node.data {
        Data::Text(text) => Ok(text.clone()),
        _ => Err(node.place.error(format!("`{key}` is {}, a string or a list of strings is expected", node.kind()))),
    }
}
