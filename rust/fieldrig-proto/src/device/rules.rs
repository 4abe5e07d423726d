//! A model made of rules: boot lines, conditions, commands and periodic actions, all plain data ([`RuleSet`]).
//!
//! Rules of this file:
//! - Conditions are judged after every single change, in the order of the store's log: a value that was too high for a
//!   moment has been too high, even if it was put right within the same request.
//! - What a rule sets may fire other rules. More than [`FIRINGS`] from one cause are a loop: it is reported as
//!   `rule.loop` with the rules that took part, and stopped.
//! - A delayed action and a delayed reply show the values of the instant at which they are done.
//! - Periodic actions keep their slots: the n-th is at `first + n * period`, and a slot that was missed is left out.
//! - An action that a point refuses is reported as `rule.refused`; a command answers with its error text.

use super::compile::{Compiled, CompiledCommand, CompiledWhat, Tree, compile};
use super::condition::Trigger;
use super::face::{Emission, Heard};
use super::model::{Model, ModelContext};
use super::plan::{PlanError, RuleSet};
use super::store::{Change, PointDefinition, PointKind};
use super::template::{write_json, write_value};
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many rules may fire from one cause.
const FIRINGS: usize = 256;
/// Delayed actions and replies that may wait; more are refused, so that a burst of commands cannot fill the memory.
const WAITING: usize = 65_536;

/// Names that only one cause knows: the groups of the command that was matched.
type Captures = Arc<Vec<(String, Value)>>;

/// The behaviour of a device, from plain data.
pub struct RuleModel {
    plan: Arc<Compiled>,
    points: Arc<Vec<PointDefinition>>,
    running: bool,
    /// The values as of the change that is being judged.
    judged: Vec<Value>,
    /// The same with what actions have set since: what templates show.
    values: Vec<Value>,
    /// Whether the condition of each rule held when it was judged last.
    held: Vec<bool>,
    /// Changes below this number were judged.
    cursor: u64,
    waiting: BTreeMap<(Time, u64), Due>,
    sequence: u64,
}

/// What waits for its instant.
#[derive(Clone)]
enum Due {
    BootLine(usize),
    Action(usize, Captures),
    Reply { command: usize, face: String, captures: Captures },
    Periodic(usize),
}

impl RuleModel {
    /// Compiles a behaviour for a device with these points and faces.
    ///
    /// # Errors
    /// The first mistake, with its key.
    pub fn compile(rules: &RuleSet, points: &[PointDefinition], faces: &[&str]) -> Result<RuleModel, PlanError> {
        let plan = compile(rules, points, faces)?;
        Ok(RuleModel {
            held: vec![false; plan.rules.len()],
            judged: points.iter().map(|point| point.initial.clone()).collect(),
            values: points.iter().map(|point| point.initial.clone()).collect(),
            plan: Arc::new(plan),
            points: Arc::new(points.to_vec()),
            running: false,
            cursor: 0,
            waiting: BTreeMap::new(),
            sequence: 0,
        })
    }

    fn wait(&mut self, until: Time, due: Due) -> Result<(), String> {
        if self.waiting.len() >= WAITING {
            return Err(format!("{WAITING} actions wait already"));
        }
        self.sequence += 1;
        self.waiting.insert((until, self.sequence), due);
        Ok(())
    }

    /// Takes the values as they are now, and all changes so far as judged.
    fn synchronise(&mut self, context: &ModelContext<'_>) {
        let store = &context.store;
        self.judged = (0..self.points.len()).filter_map(|index| store.value_at(index).cloned()).collect();
        self.values.clone_from(&self.judged);
        self.cursor = store.cursor();
    }

    fn next_change(&self, context: &ModelContext<'_>) -> Option<Change> {
        context.store.changes_since(self.cursor).next().cloned()
    }

    /// Judges every change that was not judged yet, and those that follow from it.
    fn judge_changes(&mut self, context: &mut ModelContext<'_>) {
        let mut fired = Vec::new();
        while let Some(change) = self.next_change(context) {
            if change.sequence > self.cursor {
                // The log was too short: what lies between is not known any more.
                self.synchronise(context);
            } else {
                self.cursor = change.sequence + 1;
                for values in [&mut self.judged, &mut self.values] {
                    if let Some(value) = values.get_mut(change.point) {
                        *value = change.to.clone();
                    }
                }
            }
            if !self.fire_rules(context, Some(&change), &mut fired) {
                return;
            }
        }
    }

    /// Fires the rules whose condition asks for it; false if that has become a loop.
    fn fire_rules(&mut self, context: &mut ModelContext<'_>, change: Option<&Change>, fired: &mut Vec<usize>) -> bool {
        let plan = Arc::clone(&self.plan);
        let before = fired.len();
        for (index, rule) in plan.rules.iter().enumerate() {
            let holds = rule.condition.holds(&self.judged);
            let held = std::mem::replace(&mut self.held[index], holds);
            let fires = match rule.condition.trigger() {
                Trigger::BecomesTrue => holds && !held,
                Trigger::BecomesFalse => held && !holds,
                Trigger::Changes(point) => change.is_some_and(|c| c.point == point && c.from != c.to),
                Trigger::Written(point) => change.is_some_and(|c| c.point == point),
            };
            if fires {
                fired.push(index);
            }
        }
        if fired.len() > FIRINGS {
            self.give_up(context, fired);
            return false;
        }
        // All are judged before the first acts.
        for action in fired[before..].iter().flat_map(|rule| plan.rules[*rule].actions.clone()) {
            self.report_refusal(context, action, Captures::default());
        }
        true
    }

    fn give_up(&mut self, context: &mut ModelContext<'_>, fired: &[usize]) {
        self.synchronise(context);
        for (index, rule) in self.plan.rules.iter().enumerate() {
            self.held[index] = rule.condition.holds(&self.judged);
        }
        let mut rules: Vec<i64> = fired.iter().filter_map(|index| i64::try_from(*index).ok()).collect();
        rules.sort_unstable();
        rules.dedup();
        let rules: Vec<Value> = rules.into_iter().map(Value::Int).collect();
        let record = Record::new("rule.loop").at(Stamp::exact(context.now)).with("rules", rules);
        let problem = format!("more than {FIRINGS} rules fired from one cause; stopped");
        context.report(record.with("problem", problem));
    }

    fn report_refusal(&mut self, context: &mut ModelContext<'_>, action: usize, captures: Captures) {
        if let Err(problem) = self.begin(context, action, captures) {
            let record = Record::new("rule.refused").at(Stamp::exact(context.now));
            context.report(record.with("key", self.plan.actions[action].key.as_str()).with("problem", problem));
        }
    }

    /// Does an action, or lets it wait for its delay.
    fn begin(&mut self, context: &mut ModelContext<'_>, action: usize, captures: Captures) -> Result<(), String> {
        let after = self.plan.actions[action].after;
        if after.is_zero() {
            self.perform(context, action, &captures)
        } else {
            self.wait(context.now + after, Due::Action(action, captures))
        }
    }

    fn perform(&mut self, context: &mut ModelContext<'_>, action: usize, captures: &Captures) -> Result<(), String> {
        let plan = Arc::clone(&self.plan);
        match &plan.actions[action].what {
            CompiledWhat::Publish { face, topic, payload, qos, retain } => {
                let lookup = |name: &str| self.lookup(name, captures);
                let payload = match payload {
                    Tree::Text(template) => template.render(&lookup),
                    tree => {
                        let mut text = String::new();
                        write_json(&mut text, &self.grow(tree, captures));
                        text
                    }
                };
                let (topic, payload) = (topic.render(&lookup), payload.into_bytes());
                context.emit(face, Emission::Publish { topic, payload, qos: *qos, retain: *retain });
                Ok(())
            }
            CompiledWhat::Line { face, text } => {
                context.emit(face, Emission::Line(text.render(&|name| self.lookup(name, captures))));
                Ok(())
            }
            CompiledWhat::Set { point, to } => {
                let value = self.grow(to, captures);
                self.set(context, *point, value)
            }
            CompiledWhat::Add { point, by } => {
                let value = self.sum(context, *point, *by);
                self.set(context, *point, value)
            }
        }
    }

    fn set(&mut self, context: &mut ModelContext<'_>, point: usize, value: Value) -> Result<(), String> {
        let definition = &self.points[point];
        let value = fitted(definition, value)?;
        context.set(&definition.name, value).map_err(|refused| refused.to_string())?;
        // Seen at once by the actions that follow; judged when its turn in the log comes.
        if let (Some(seen), Some(stored)) = (self.values.get_mut(point), context.store.value_at(point)) {
            *seen = stored.clone();
        }
        Ok(())
    }

    /// The sum, begun again at the other end of the range where it leaves it.
    fn sum(&self, context: &ModelContext<'_>, point: usize, by: f64) -> Value {
        let definition = &self.points[point];
        let sum = context.store.value_at(point).and_then(Value::as_f64).unwrap_or_default() + by;
        let sum = match definition.range {
            Some((low, high)) if sum > high => low,
            Some((low, high)) if sum < low => high,
            _ => sum,
        };
        if definition.kind == PointKind::Int { Value::Int(sum.round() as i64) } else { Value::Float(sum) }
    }

    fn lookup(&self, name: &str, captures: &Captures) -> Option<Value> {
        let captured = captures.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        captured.or_else(|| {
            let variable = self.plan.variables.iter().find(|(known, _)| known == name);
            variable.map(|(_, text)| Value::Text(text.clone())).or_else(|| {
                let index = self.points.iter().position(|point| point.name == name)?;
                self.values.get(index).cloned()
            })
        })
    }

    /// The value a tree of templates stands for.
    fn grow(&self, tree: &Tree, captures: &Captures) -> Value {
        match tree {
            Tree::Constant(value) => value.clone(),
            Tree::Text(template) => Value::Text(template.render(&|name| self.lookup(name, captures))),
            Tree::Template(template) => template.value(&|name| self.lookup(name, captures)),
            Tree::List(items) => Value::List(items.iter().map(|item| self.grow(item, captures)).collect()),
            Tree::Table(entries) => {
                Value::Table(entries.iter().map(|(key, item)| (key.clone(), self.grow(item, captures))).collect())
            }
        }
    }

    /// Does a command that was matched: its actions, then its reply, or the error text.
    fn command(&mut self, context: &mut ModelContext<'_>, face: &str, command: usize, captures: Captures) {
        let plan = Arc::clone(&self.plan);
        let planned = &plan.commands[command];
        for action in planned.actions.clone() {
            if let Err(problem) = self.begin(context, action, Arc::clone(&captures)) {
                return self.refuse(context, face, planned, action, (problem, captures));
            }
        }
        let reply = Due::Reply { command, face: face.to_owned(), captures: Arc::clone(&captures) };
        if planned.after.is_zero() {
            self.do_due(context, reply, context.now);
        } else if let Err(problem) = self.wait(context.now + planned.after, reply) {
            context.report(Record::new("rule.refused").at(Stamp::exact(context.now)).with("problem", problem));
        }
    }

    fn refuse(
        &self,
        context: &mut ModelContext<'_>,
        face: &str,
        command: &CompiledCommand,
        action: usize,
        (problem, captures): (String, Captures),
    ) {
        let record = Record::new("rule.refused").at(Stamp::exact(context.now));
        context.report(record.with("key", self.plan.actions[action].key.as_str()).with("problem", problem.as_str()));
        if command.topic.is_none() {
            let mut known = captures.to_vec();
            known.push(("error".to_owned(), Value::Text(problem)));
            let known = Arc::new(known);
            context.emit(face, Emission::Line(command.error.render(&|name| self.lookup(name, &known))));
        }
    }

    /// Finds the command for what was heard: the first that matches, with its groups.
    fn find(&self, face: &str, topic: Option<&str>, text: &str) -> Option<(usize, Captures)> {
        let nothing = Captures::default();
        self.plan.commands.iter().enumerate().find_map(|(index, command)| {
            let expected = command.topic.as_ref().map(|topic| topic.render(&|name| self.lookup(name, &nothing)));
            if expected.as_deref() != topic || command.face.as_deref().is_some_and(|only| only != face) {
                return None;
            }
            let groups = command.pattern.captures(text)?;
            let mut known = vec![("line".to_owned(), Value::Text(text.to_owned()))];
            known.extend(topic.map(|topic| ("topic".to_owned(), Value::Text(topic.to_owned()))));
            for (number, name) in command.pattern.capture_names().enumerate() {
                let Some(group) = groups.get(number) else { continue };
                known.push((number.to_string(), Value::Text(group.as_str().to_owned())));
                known.extend(name.map(|name| (name.to_owned(), Value::Text(group.as_str().to_owned()))));
            }
            Some((index, Arc::new(known)))
        })
    }

    fn hear_line(&mut self, context: &mut ModelContext<'_>, face: &str, line: &str) {
        let text = line.trim();
        match (self.find(face, None, text), &self.plan.unknown_command) {
            (Some((index, captures)), _) => self.command(context, face, index, captures),
            (None, Some(unknown)) if !text.is_empty() => {
                let captures = Arc::new(vec![("line".to_owned(), Value::Text(text.to_owned()))]);
                context.emit(face, Emission::Line(unknown.render(&|name| self.lookup(name, &captures))));
            }
            _ => {}
        }
    }

    fn do_due(&mut self, context: &mut ModelContext<'_>, due: Due, planned: Time) {
        let plan = Arc::clone(&self.plan);
        match due {
            Due::BootLine(index) => {
                let nothing = Captures::default();
                let text = plan.boot_lines[index].1.render(&|name| self.lookup(name, &nothing));
                context.emit(&plan.boot_face, Emission::Line(text));
            }
            Due::Action(action, captures) => {
                if let Err(problem) = self.perform(context, action, &captures) {
                    let record = Record::new("rule.refused").at(Stamp::exact(context.now));
                    context.report(record.with("key", plan.actions[action].key.as_str()).with("problem", problem));
                }
            }
            Due::Reply { command, face, captures } => {
                for template in &plan.commands[command].reply {
                    let text = template.render(&|name| self.lookup(name, &captures));
                    context.emit(&face, Emission::Line(text));
                }
            }
            Due::Periodic(index) => self.do_periodic(context, index, planned),
        }
    }

    fn do_periodic(&mut self, context: &mut ModelContext<'_>, index: usize, planned: Time) {
        let plan = Arc::clone(&self.plan);
        let periodic = &plan.periodic[index];
        if periodic.when.as_ref().is_none_or(|condition| condition.holds(&self.values)) {
            for action in periodic.actions.clone() {
                self.report_refusal(context, action, Captures::default());
            }
        }
        let missed = context.now.since(planned).as_nanos() / periodic.period.as_nanos().max(1);
        let slots = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        let next = planned + periodic.period.checked_mul(slots).unwrap_or(Duration::MAX);
        self.sequence += 1;
        self.waiting.insert((next, self.sequence), Due::Periodic(index));
    }
}

/// A text for a point of another kind is read as such a value.
fn fitted(definition: &PointDefinition, value: Value) -> Result<Value, String> {
    let Value::Text(text) = &value else {
        if definition.kind == PointKind::Text {
            let mut text = String::new();
            write_value(&mut text, &value, None);
            return Ok(Value::Text(text));
        }
        return Ok(value);
    };
    let word = text.trim();
    let read = match definition.kind {
        PointKind::Text => return Ok(value),
        PointKind::Bool => match word {
            "true" | "1" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "off" => Some(Value::Bool(false)),
            _ => None,
        },
        PointKind::Int => word.parse().ok().map(Value::Int),
        PointKind::Float => word.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
    };
    read.ok_or_else(|| format!("point `{}` holds {:?} values, `{word}` is none", definition.name, definition.kind))
}

impl Model for RuleModel {
    fn boot(&mut self, context: &mut ModelContext<'_>) -> Time {
        self.running = false;
        self.synchronise(context);
        self.waiting.clear();
        self.held.fill(false);
        let plan = Arc::clone(&self.plan);
        for (index, (after, _)) in plan.boot_lines.iter().enumerate() {
            self.sequence += 1;
            self.waiting.insert((context.now + *after, self.sequence), Due::BootLine(index));
        }
        self.handle_timeout(context);
        context.now + plan.boot_time
    }

    fn run(&mut self, context: &mut ModelContext<'_>) {
        self.running = true;
        self.synchronise(context);
        let plan = Arc::clone(&self.plan);
        for (index, periodic) in plan.periodic.iter().enumerate() {
            self.sequence += 1;
            self.waiting.insert((context.now + periodic.first, self.sequence), Due::Periodic(index));
        }
        if self.fire_rules(context, None, &mut Vec::new()) {
            self.judge_changes(context);
        }
        self.handle_timeout(context);
    }

    fn changed(&mut self, context: &mut ModelContext<'_>, _change: &Change) {
        self.judge_changes(context);
    }

    fn heard(&mut self, context: &mut ModelContext<'_>, face: &str, heard: &Heard) {
        match heard {
            Heard::Line(line) => self.hear_line(context, face, line),
            Heard::Message { topic, payload } => {
                let text = String::from_utf8_lossy(payload);
                if let Some((index, captures)) = self.find(face, Some(topic), text.trim()) {
                    self.command(context, face, index, captures);
                }
            }
            Heard::Ready | Heard::Gone | Heard::Answer(_) => {}
        }
        self.judge_changes(context);
    }

    fn handle_timeout(&mut self, context: &mut ModelContext<'_>) {
        while let Some(first) = self.waiting.first_entry().filter(|entry| entry.key().0 <= context.now) {
            let ((planned, _), due) = first.remove_entry();
            self.do_due(context, due, planned);
            if self.running {
                self.judge_changes(context);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((when, _), _)| *when)
    }

    fn power_off(&mut self, _context: &mut ModelContext<'_>) {
        self.running = false;
        self.waiting.clear();
    }
}
