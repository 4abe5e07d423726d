//! Compilation of a [`RuleSet`]: every text is checked here, so that running it cannot fail on a mistake in the file.
//!
//! An error names the key as the model file has it (`rule[1].publish.topic`) and, where it is at one place of a text,
//! the offset in it; the reader of the file knows the line.

use super::condition::{Condition, Trigger};
use super::plan::{BootPlan, Command, Payload, Periodic, PlanError, PlannedAction, Rule, RuleSet, What};
use super::store::{Origin, PointDefinition, PointKind, PointStore};
use super::template::{Template, TemplateError};
use crate::record::Value;
use crate::time::Duration;
use regex::Regex;

/// Everything a [`RuleModel`](super::RuleModel) runs on.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) boot_time: Duration,
    pub(super) boot_face: String,
    pub(super) boot_lines: Vec<(Duration, Template)>,
    pub(super) rules: Vec<CompiledRule>,
    pub(super) commands: Vec<CompiledCommand>,
    pub(super) periodic: Vec<CompiledPeriodic>,
    pub(super) unknown_command: Option<Template>,
    pub(super) actions: Vec<CompiledAction>,
    pub(super) variables: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    pub(super) condition: Condition,
    pub(super) actions: std::ops::Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct CompiledCommand {
    pub(super) face: Option<String>,
    pub(super) topic: Option<Template>,
    pub(super) pattern: Regex,
    pub(super) reply: Vec<Template>,
    pub(super) error: Template,
    pub(super) after: Duration,
    pub(super) actions: std::ops::Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct CompiledPeriodic {
    pub(super) period: Duration,
    pub(super) first: Duration,
    pub(super) when: Option<Condition>,
    pub(super) actions: std::ops::Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct CompiledAction {
    /// The key it came from, for reports.
    pub(super) key: String,
    pub(super) after: Duration,
    pub(super) what: CompiledWhat,
}

#[derive(Clone, Debug)]
pub(super) enum CompiledWhat {
    Publish { face: String, topic: Template, payload: Tree, qos: u8, retain: bool },
    Line { face: String, text: Template },
    Set { point: usize, to: Tree },
    Add { point: usize, by: f64 },
}

/// A value whose texts are templates.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Payload of text, not JSON.
    Text(Template),
    Constant(Value),
    Template(Template),
    List(Vec<Tree>),
    Table(Vec<(String, Tree)>),
}

struct Compiler<'a> {
    points: &'a [PointDefinition],
    store: PointStore,
    faces: &'a [&'a str],
    names: Vec<&'a str>,
    actions: Vec<CompiledAction>,
}

fn error(key: &str, problem: impl Into<String>) -> PlanError {
    PlanError { key: key.to_owned(), offset: None, problem: problem.into(), hint: None }
}

pub(super) fn compile(rules: &RuleSet, points: &[PointDefinition], faces: &[&str]) -> Result<Compiled, PlanError> {
    let variables = rules.variables.iter().map(|(name, _)| name.as_str());
    let names = points.iter().map(|point| point.name.as_str()).chain(variables).collect();
    let store = PointStore::new(points.to_vec());
    let mut compiler = Compiler { points, store, faces, names, actions: Vec::new() };
    let boot_lines = compiler.boot_lines(&rules.boot)?;
    let compiled_rules = each(&rules.rules, |index, rule| compiler.rule(index, rule))?;
    let commands = each(&rules.commands, |index, command| compiler.command(index, command))?;
    let periodic = each(&rules.periodic, |index, periodic| compiler.periodic(index, periodic))?;
    let unknown = rules.unknown_command.as_deref();
    let unknown_command = unknown.map(|text| compiler.template("commands.unknown", text, &["line"])).transpose()?;
    Ok(Compiled {
        boot_time: rules.boot.time,
        boot_face: rules.boot.face.clone().unwrap_or_default(),
        boot_lines,
        rules: compiled_rules,
        commands,
        periodic,
        unknown_command,
        actions: compiler.actions,
        variables: rules.variables.clone(),
    })
}

fn each<T, C>(items: &[T], mut compile: impl FnMut(usize, &T) -> Result<C, PlanError>) -> Result<Vec<C>, PlanError> {
    items.iter().enumerate().map(|(index, item)| compile(index, item)).collect()
}

impl Compiler<'_> {
    fn boot_lines(&self, boot: &BootPlan) -> Result<Vec<(Duration, Template)>, PlanError> {
        self.check_face("boot.face", boot.face.as_deref())?;
        let count = u32::try_from(boot.lines.len()).unwrap_or(u32::MAX);
        let mut lines = Vec::new();
        for (number, line) in (1u32..).zip(&boot.lines) {
            let template = self.template(&format!("boot.lines[{}]", number - 1), &line.text, &[])?;
            lines.push((line.at.unwrap_or_else(|| share(boot.time, number, count)), template));
        }
        Ok(lines)
    }

    fn rule(&mut self, index: usize, rule: &Rule) -> Result<CompiledRule, PlanError> {
        let key = format!("rule[{index}]");
        let condition = self.condition(&format!("{key}.when"), &rule.when)?;
        Ok(CompiledRule { condition, actions: self.actions(&key, &rule.actions, &[])? })
    }

    fn command(&mut self, index: usize, command: &Command) -> Result<CompiledCommand, PlanError> {
        let key = format!("command[{index}]");
        self.check_face(&format!("{key}.face"), command.face.as_deref())?;
        let pattern = whole(&format!("{key}.match"), &command.pattern)?;
        let topic =
            command.topic.as_deref().map(|text| self.template(&format!("{key}.topic"), text, &[])).transpose()?;
        let groups = group_names(&pattern);
        let mut names: Vec<&str> = groups.iter().map(String::as_str).collect();
        names.extend(["line", "topic"]);
        let reply = each(&command.reply, |line, text| self.template(&format!("{key}.reply[{line}]"), text, &names))?;
        let actions = self.actions(&key, &command.actions, &names)?;
        names.push("error");
        let text = command.error.as_deref().unwrap_or("error: {error}");
        let error = self.template(&format!("{key}.error"), text, &names)?;
        Ok(CompiledCommand { face: command.face.clone(), topic, pattern, reply, error, after: command.after, actions })
    }

    fn periodic(&mut self, index: usize, periodic: &Periodic) -> Result<CompiledPeriodic, PlanError> {
        let key = format!("every[{index}]");
        if periodic.period.is_zero() {
            return Err(error(&format!("{key}.period"), "the period is 0, expected a duration such as \"1s\""));
        }
        let when_key = format!("{key}.when");
        let when = periodic.when.as_deref().map(|text| self.condition(&when_key, text)).transpose()?;
        if when.as_ref().is_some_and(|condition| condition.trigger() != Trigger::BecomesTrue) {
            let problem = "a period asks whether something holds, it cannot wait for an event";
            return Err(error(&when_key, problem));
        }
        let first = periodic.first.unwrap_or(periodic.period);
        let actions = self.actions(&key, &periodic.actions, &[])?;
        Ok(CompiledPeriodic { period: periodic.period, first, when, actions })
    }

    fn actions(
        &mut self,
        key: &str,
        planned: &[PlannedAction],
        names: &[&str],
    ) -> Result<std::ops::Range<usize>, PlanError> {
        let from = self.actions.len();
        for action in planned {
            let compiled = self.action(key, action, names)?;
            self.actions.push(compiled);
        }
        Ok(from..self.actions.len())
    }

    fn action(&self, key: &str, action: &PlannedAction, names: &[&str]) -> Result<CompiledAction, PlanError> {
        let (key, what) = match &action.what {
            What::Publish { face, topic, payload, qos, retain } => {
                let key = format!("{key}.publish");
                let what = self.publish(&key, face.as_deref(), topic, payload, (*qos, *retain), names)?;
                (key, what)
            }
            What::Line { face, text } => {
                let key = format!("{key}.line");
                self.check_face(&format!("{key}.face"), face.as_deref())?;
                let text = self.template(&key, text, names)?;
                (key, CompiledWhat::Line { face: face.clone().unwrap_or_default(), text })
            }
            What::Set { point, to } => {
                let key = format!("{key}.set.{point}");
                let index = self.point(&key, point)?;
                let to = self.tree(&key, to, names)?;
                if let Tree::Constant(value) = &to {
                    let checked = self.store.checked(index, value.clone(), &Origin::Model);
                    checked.map_err(|refused| error(&key, refused.to_string()))?;
                }
                (key, CompiledWhat::Set { point: index, to })
            }
            What::Add { point, by } => {
                let key = format!("{key}.add.{point}");
                let index = self.point(&key, point)?;
                if !matches!(self.points[index].kind, PointKind::Int | PointKind::Float) {
                    return Err(error(&key, format!("point `{point}` is no number, nothing can be added to it")));
                }
                (key, CompiledWhat::Add { point: index, by: *by })
            }
        };
        Ok(CompiledAction { key, after: action.after, what })
    }

    fn publish(
        &self,
        key: &str,
        face: Option<&str>,
        topic: &str,
        payload: &Payload,
        (qos, retain): (u8, bool),
        names: &[&str],
    ) -> Result<CompiledWhat, PlanError> {
        self.check_face(&format!("{key}.face"), face)?;
        if qos > 2 {
            return Err(error(&format!("{key}.qos"), format!("quality of service is {qos}, expected 0, 1 or 2")));
        }
        let topic = self.template(&format!("{key}.topic"), topic, names)?;
        let payload = match payload {
            Payload::Text(text) => Tree::Text(self.template(&format!("{key}.payload"), text, names)?),
            Payload::Json(value) => self.tree(&format!("{key}.json"), value, names)?,
        };
        Ok(CompiledWhat::Publish { face: face.unwrap_or_default().to_owned(), topic, payload, qos, retain })
    }

    fn tree(&self, key: &str, value: &Value, names: &[&str]) -> Result<Tree, PlanError> {
        Ok(match value {
            Value::Text(text) if text.contains('{') => Tree::Template(self.template(key, text, names)?),
            Value::List(items) => {
                Tree::List(each(items, |index, item| self.tree(&format!("{key}[{index}]"), item, names))?)
            }
            Value::Table(entries) => Tree::Table(each(entries, |_, (name, item)| {
                Ok((name.clone(), self.tree(&format!("{key}.{name}"), item, names)?))
            })?),
            constant => Tree::Constant(constant.clone()),
        })
    }

    fn template(&self, key: &str, text: &str, more_names: &[&str]) -> Result<Template, PlanError> {
        let names: Vec<&str> = self.names.iter().chain(more_names).copied().collect();
        Template::compile(text, &names).map_err(|wrong: TemplateError| PlanError {
            offset: Some(wrong.offset),
            hint: Some("`{name}` stands for a point, a variable or a group of the matched command".to_owned()),
            ..error(key, wrong.to_string())
        })
    }

    fn condition(&self, key: &str, text: &str) -> Result<Condition, PlanError> {
        Condition::parse(text, self.points).map_err(|wrong| PlanError {
            offset: Some(wrong.offset),
            hint: Some("conditions look like `setpoint > 80 and enabled == true becomes true`".to_owned()),
            ..error(key, wrong.to_string())
        })
    }

    fn point(&self, key: &str, name: &str) -> Result<usize, PlanError> {
        self.store.index(name).ok_or_else(|| {
            let known: Vec<&str> = self.points.iter().map(|point| point.name.as_str()).collect();
            error(key, format!("there is no point `{name}`; there are: {}", known.join(", ")))
        })
    }

    fn check_face(&self, key: &str, face: Option<&str>) -> Result<(), PlanError> {
        match face {
            Some(name) if !self.faces.contains(&name) => {
                Err(error(key, format!("there is no face `{name}`; there are: {}", self.faces.join(", "))))
            }
            _ => Ok(()),
        }
    }
}

/// `time * number / count`, rounded down once.
fn share(time: Duration, number: u32, count: u32) -> Duration {
    let nanos = time.as_nanos() * u128::from(number) / u128::from(count.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The pattern for a whole text.
fn whole(key: &str, pattern: &str) -> Result<Regex, PlanError> {
    // Checked alone first: `a)(b` must not become valid by the parentheses put around it.
    let wrong = |problem: regex::Error| {
        let text = problem.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        error(key, format!("`{pattern}` is no regular expression: {last}"))
    };
    Regex::new(pattern).map_err(wrong)?;
    Regex::new(&format!("^(?:{pattern})$")).map_err(wrong)
}

/// Names and numbers of the groups.
fn group_names(pattern: &Regex) -> Vec<String> {
    let named = pattern.capture_names().flatten().map(str::to_owned);
    (0..pattern.captures_len()).map(|number| number.to_string()).chain(named).collect()
}
