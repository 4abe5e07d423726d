//! What an emulated device says: rules of the description, and a handler in their place.
//!
//! Rules of this file:
//! - The first rule whose message and conditions fit answers a request; what fits no rule is not answered.
//! - A field of an answer comes from the rule, else from the point of the same name, else from the field of the same name of
//!   the request, else from its default. A text in a rule is a template: `"{voltage}"` is the value of a point or of a field
//!   of the request.
//! - All sources are checked when the device is made, as far as its points are known.

use super::definition::{Definition, Message, MessageShape};
use super::field::Role;
use super::read::{Outcome, key, needed};
use crate::device::{PointStore, Template};
use crate::protocol::{BenchKey, SettingError};
use crate::reader::{Field as Given, Table, did_you_mean};
use crate::record::Value;
use crate::time::{Duration, Time};

/// The keys of a rule.
pub(super) const ANSWER: &[BenchKey] = &[
    key("on", "the request that it answers"),
    key("when", "fields of the request and what they hold"),
    key("every", "the period with which it is sent unasked"),
    key("changed", "the point with whose changes it is sent unasked"),
    key("with", "the message that is sent; without it nothing is"),
    key("fields", "the fields of the message"),
    key("set", "points and what they become"),
    key("delay", "how long the answer takes"),
    key("patch", "what is wrong with the answer"),
];

/// When a rule speaks.
#[derive(Clone, PartialEq, Debug)]
pub enum On {
    /// Such a request comes, with these values.
    Request(String, Vec<(String, Value)>),
    /// Again and again.
    Every(Duration),
    /// A point changes.
    Changed(String),
}

/// A rule of an emulated device.
#[derive(Clone, PartialEq, Debug)]
pub struct AnswerRule {
    /// Where it stands: `answer.0`.
    pub key: String,
    /// When it speaks.
    pub on: On,
    /// What it says; nothing: silence.
    pub with: Option<String>,
    /// Fields of the answer.
    pub fields: Vec<(String, Value)>,
    /// Points that are set.
    pub set: Vec<(String, Value)>,
    /// How long it takes.
    pub delay: Duration,
    /// What is wrong with it.
    pub patch: Vec<(String, Value)>,
}

/// A request, as a handler sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// When the device took it up.
    pub now: Time,
    /// What it says.
    pub message: Message,
    /// As it came over the wire.
    pub raw: Vec<u8>,
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The rules answer it.
    Usual,
    /// This message; fields that are missing come from where they come in rules.
    Message {
        /// Its name.
        name: String,
        /// Its fields.
        fields: Vec<(String, Value)>,
        /// What is wrong with it.
        patch: Vec<(String, Value)>,
    },
    /// These bytes, as they are.
    Raw(Vec<u8>),
    /// Nothing.
    NoAnswer,
    /// The handler is broken.
    Failed {
        /// In one line.
        error: String,
        /// In many.
        trace: String,
    },
}

/// Answers requests in the place of the rules. The device waits for it.
pub trait Handler: Send {
    /// What becomes of a request.
    fn answer(&mut self, question: Question) -> Reply;
    /// It has failed.
    fn failed(&mut self, error: &str, trace: &str);
}

/// Reads `[[answer]]`.
pub(super) fn read(definition: &Definition, given: &Given<'_>) -> Outcome<Vec<AnswerRule>> {
    given.items().into_iter().map(|item| rule(definition, item)).collect()
}

fn rule(definition: &Definition, given: Given<'_>) -> Outcome<AnswerRule> {
    let table = Table::read(given.clone(), ANSWER)?;
    let message = |given: &Given<'_>| match definition.message(given.text()?) {
        Some(message) => Ok(message),
        None => {
            let mut error = given.error(format!("there is no message {}", given.value));
            error.hint = did_you_mean(given.text()?, definition.messages.iter().map(|message| message.name.as_str()));
            Err(error)
        }
    };
    table.one_of(&["on", "every"])?;
    table.one_of(&["on", "changed"])?;
    table.one_of(&["every", "changed"])?;
    let on = match (table.field("every"), table.field("changed")) {
        (Some(every), _) => On::Every(every.period()?),
        (_, Some(changed)) => On::Changed(changed.text()?.to_owned()),
        _ => {
            let given = needed(&table, "on")?;
            let request = message(&given)?;
            On::Request(request.name.clone(), conditions(definition, request, &table)?)
        }
    };
    if !matches!(on, On::Request(..)) && table.field("when").is_some() {
        return Err(table.error("when", "it goes with `on`"));
    }
    let with = table.get("with", |given| message(&given))?;
    if let (None, false) = (with, matches!(on, On::Request(..))) {
        return Err(table.error("", "missing key `with`"));
    }
    let fields = entries(&table, "fields")?;
    for (name, _) in &fields {
        let known = || all_fields(definition, with).filter(|field| matches!(field.role, Role::Plain | Role::Sequence));
        if !known().any(|field| field.name == *name) {
            let mut error =
                table.error(&format!("fields.{name}"), format!("the message has no field `{name}` to be filled"));
            error.hint = did_you_mean(name, known().map(|field| field.name.as_str()).collect::<Vec<_>>().into_iter());
            return Err(error);
        }
    }
    Ok(AnswerRule {
        key: given.key.clone(),
        on,
        with: with.map(|message| message.name.clone()),
        fields,
        set: entries(&table, "set")?,
        delay: table.get("delay", |given| given.duration())?.unwrap_or_default(),
        patch: entries(&table, "patch")?,
    })
}

fn all_fields<'a>(
    definition: &'a Definition,
    message: Option<&'a MessageShape>,
) -> impl Iterator<Item = &'a super::field::Field> {
    let payload = message.map(|message| message.fields.fields.as_slice()).unwrap_or_default();
    definition.header.fields.iter().chain(payload).chain(&definition.trailer.fields)
}

fn entries(table: &Table<'_>, name: &str) -> Outcome<Vec<(String, Value)>> {
    match table.field(name).map(|given| given.value) {
        None => Ok(Vec::new()),
        Some(Value::Table(entries)) => Ok(entries.clone()),
        Some(_) => Err(table.error(name, "it must be a table")),
    }
}

fn conditions(definition: &Definition, request: &MessageShape, table: &Table<'_>) -> Outcome<Vec<(String, Value)>> {
    let wanted = entries(table, "when")?;
    for (name, _) in &wanted {
        if !all_fields(definition, Some(request)).any(|field| field.name == *name) {
            let mut error = table.error(&format!("when.{name}"), format!("`{}` has no field `{name}`", request.name));
            let names: Vec<&str> = all_fields(definition, Some(request)).map(|field| field.name.as_str()).collect();
            error.hint = did_you_mean(name, names.into_iter());
            return Err(error);
        }
    }
    Ok(wanted)
}

impl AnswerRule {
    /// Whether it answers a request.
    pub(super) fn answers(&self, message: &Message) -> bool {
        let On::Request(name, when) = &self.on else { return false };
        let holds = |(field, wanted): &(String, Value)| message.value(field).is_some_and(|value| equal(value, wanted));
        message.name.as_deref() == Some(name) && when.iter().all(holds)
    }

    /// Whether one of its templates names a point.
    fn speaks_of(&self, point: &str) -> bool {
        let named = |value: &Value| matches!(value, Value::Text(text) if text.contains(&format!("{{{point}")));
        self.fields.iter().chain(&self.set).any(|(_, value)| named(value))
    }

    /// Finds sources that stand for nothing, of a device with these points.
    ///
    /// # Errors
    /// The first one, with its key.
    pub(super) fn check(&self, definition: &Definition, points: &[String]) -> Outcome<()> {
        let request = match &self.on {
            On::Request(name, _) => definition.message(name),
            _ => None,
        };
        let from_request = request.is_some().then(|| all_fields(definition, request)).into_iter().flatten();
        let from_request: Vec<&str> = from_request.map(|field| field.name.as_str()).collect();
        let names: Vec<&str> = from_request.iter().copied().chain(points.iter().map(String::as_str)).collect();
        let error =
            |at: String, problem: String, hint| SettingError { key: format!("{}.{at}", self.key), problem, hint };
        for (table, entries) in [("fields", &self.fields), ("set", &self.set)] {
            for (name, value) in entries {
                if let Value::Text(text) = value {
                    Template::compile(text, &names)
                        .map_err(|problem| error(format!("{table}.{name}"), problem.to_string(), None))?;
                }
                if table == "set" && !points.contains(name) {
                    let hint = did_you_mean(name, points.iter().map(String::as_str));
                    return Err(error(format!("set.{name}"), format!("there is no point `{name}`"), hint));
                }
            }
        }
        if let On::Changed(point) = &self.on
            && !points.contains(point)
        {
            let hint = did_you_mean(point, points.iter().map(String::as_str));
            return Err(error("changed".into(), format!("there is no point `{point}`"), hint));
        }
        let Some(message) = self.with.as_deref().and_then(|name| definition.message(name)) else { return Ok(()) };
        let counted =
            |name: &str| [&definition.header, &message.fields].iter().any(|layout| layout.counted_by(name).is_some());
        let filled = |field: &&super::field::Field| {
            let given = self.fields.iter().any(|(name, _)| *name == field.name);
            given || field.default.is_some() || names.contains(&field.name.as_str()) || counted(&field.name)
        };
        let mut plain = all_fields(definition, Some(message)).filter(|field| field.role == Role::Plain);
        match plain.find(|field| !filled(field)) {
            None => Ok(()),
            Some(field) => {
                let problem = format!("nothing says what `{}` of `{}` holds", field.name, message.name);
                let hint = format!("add a point `{}`, or write fields = {{ {} = .. }}", field.name, field.name);
                Err(error("with".into(), problem, Some(hint)))
            }
        }
    }
}

impl Definition {
    /// The first of these points that no message and no rule has a use for: it would be set for nothing.
    #[must_use]
    pub fn useless_point(&self, points: &[String]) -> Option<(String, Option<String>)> {
        let layouts = self.messages.iter().map(|message| &message.fields).chain([&self.header, &self.trailer]);
        let fields = layouts.flat_map(|layout| &layout.fields).filter(|field| field.role == Role::Plain);
        let changed = |rule: &'_ AnswerRule| match &rule.on {
            On::Changed(point) => Some(point.clone()),
            _ => None,
        };
        let rules = self.answers.iter().flat_map(|rule| rule.set.iter().map(|(name, _)| name.clone()));
        let mut known: Vec<String> = fields.map(|field| field.name.clone()).chain(rules).collect();
        known.extend(self.answers.iter().filter_map(changed));
        known.sort();
        known.dedup();
        let said = |name: &String| self.answers.iter().any(|rule| rule.speaks_of(name));
        let useless = points.iter().find(|name| !known.contains(name) && !said(name))?;
        Some((useless.clone(), did_you_mean(useless, known.iter().map(String::as_str))))
    }
}

/// Numbers are equal as numbers; everything else as it is.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// The fields of a message to be sent: given ones, points, fields of the request.
pub(super) fn filled(
    definition: &Definition,
    message: &MessageShape,
    given: &[(String, Value)],
    request: Option<&Message>,
    store: &PointStore,
) -> Vec<(String, Value)> {
    let counted =
        |name: &str| [&definition.header, &message.fields].iter().any(|layout| layout.counted_by(name).is_some());
    let value = |name: &str, sequence: bool| {
        let of_request = || request.and_then(|request| request.value(name)).cloned();
        let named = given.iter().find(|(known, _)| known == name).map(|(_, value)| source(value, request, store));
        match sequence {
            true => named.or_else(of_request),
            false => named.or_else(|| store.value(name).cloned()).or_else(of_request),
        }
    };
    all_fields(definition, Some(message))
        .filter(|field| matches!(field.role, Role::Plain | Role::Sequence))
        .filter(|field| !counted(&field.name) || given.iter().any(|(name, _)| *name == field.name))
        .filter_map(|field| Some((field.name.clone(), value(&field.name, field.role == Role::Sequence)?)))
        .collect()
}

/// What a source says now: texts are templates.
pub(super) fn source(value: &Value, request: Option<&Message>, store: &PointStore) -> Value {
    let Value::Text(text) = value else { return value.clone() };
    let look = |name: &str| request.and_then(|request| request.value(name)).or_else(|| store.value(name)).cloned();
    let fields =
        request.map(|request| request.fields.as_slice()).unwrap_or_default().iter().map(|field| field.name.as_str());
    let points = store.definitions().iter().map(|point| point.name.as_str());
    let names: Vec<&str> = fields.chain(points).collect();
    // What is no template after all is a text.
    Template::compile(text, &names).map_or_else(|_| value.clone(), |template| template.value(&look))
}
