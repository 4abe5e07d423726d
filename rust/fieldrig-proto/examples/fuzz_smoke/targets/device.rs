//! Devices: what model files say, and a device with a console and rules.

use super::{Target, text};
use crate::endpoints::{Driver, Link};
use fieldrig_proto::device::{
    Access, BootLine, BootPlan, Command, Condition, ConsoleFace, ConsoleSettings, Device, Emission, PlannedAction,
    PointDefinition, PointKind, PointStore, Rule, RuleModel, RuleSet, Template, What,
};
use fieldrig_proto::fault::Chance;
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Time};
use std::hint::black_box;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "conditions", samples: CONDITIONS, make: || text(condition) },
        Target { name: "templates", samples: TEMPLATES, make: || text(template) },
        Target {
            name: "device: console and rules",
            samples: CONSOLE,
            make: || Driver::eater(&[Link::wire("console"), Link::connection("console")], device, disturb),
        },
    ]
}

/// What parses must be decidable, whatever the values are.
fn condition(text: &str) {
    if let Ok(condition) = Condition::parse(text, &points()) {
        black_box(condition.holds(&[Value::Float(f64::NAN), Value::Bool(true), Value::Text(text.to_owned())]));
        black_box(condition.holds(&[]));
    }
}

/// What compiles must render.
fn template(text: &str) {
    if let Ok(template) = Template::compile(text, &["voltage", "x"]) {
        black_box(template.render(&|name| (name == "x").then_some(Value::Float(1.5))));
        black_box(template.value(&|_| None));
    }
}

fn points() -> Vec<PointDefinition> {
    let point = |name: &str, kind, initial, range| PointDefinition {
        name: name.to_owned(),
        kind,
        unit: String::new(),
        initial,
        range,
        access: Access::ReadWrite,
    };
    vec![
        point("voltage", PointKind::Float, Value::Float(0.0), Some((-1e6, 1e6))),
        point("alarm", PointKind::Bool, Value::Bool(false), None),
        point("name", PointKind::Text, Value::Text(String::new()), None),
    ]
}

fn device() -> Device {
    let action = |after, what| PlannedAction { after: Duration::from_millis(after), what };
    let set = |point: &str, to: Value| What::Set { point: point.to_owned(), to };
    let rules = RuleSet {
        boot: BootPlan {
            time: Duration::from_millis(2),
            face: None,
            lines: vec![BootLine { at: None, text: "boot ok".to_owned() }],
        },
        rules: vec![
            Rule { when: "voltage > 80".to_owned(), actions: vec![action(0, set("alarm", true.into()))] },
            Rule { when: "alarm == true".to_owned(), actions: vec![action(1, set("voltage", 0.into()))] },
            Rule { when: "voltage == 0".to_owned(), actions: vec![action(0, set("alarm", false.into()))] },
            Rule {
                when: "name changes".to_owned(),
                actions: vec![action(0, What::Add { point: "voltage".to_owned(), by: 7.0 })],
            },
        ],
        commands: vec![Command {
            pattern: r"set (?P<point>voltage|name) (?P<value>.*)".to_owned(),
            reply: vec!["{point} = {value}, {voltage:.2}".to_owned()],
            actions: vec![action(0, set("name", "{value}".into())), action(0, set("voltage", "{value}".into()))],
            ..Command::default()
        }],
        unknown_command: Some("? {line}".to_owned()),
        ..RuleSet::default()
    };
    let model = RuleModel::compile(&rules, &points(), &["console"]).expect("the rules above");
    let console = ConsoleSettings { echo: true, prompt: "> ".to_owned(), limit: 40, ..ConsoleSettings::default() };
    let face = ConsoleFace::new("console", console);
    let mut device = Device::new("fuzzed", PointStore::new(points()), Box::new(model), vec![Box::new(face)]);
    device.power_on(Time::ZERO);
    device
}

fn disturb(device: &mut Device, now: Time, chance: &mut Chance) {
    match chance.below(8) {
        0 => device.power_cycle(now, Duration::from_millis(chance.below(3))),
        1 => device.power_on(now),
        2 => device.reset_points(now),
        3 => device.emit(now, "console", Emission::Ask(Value::Table(vec![("line".to_owned(), "asked".into())]))),
        _ => drop(black_box(device.set(now, "voltage", chance.below(200) as f64))),
    }
}

const CONDITIONS: &[&[u8]] =
    &[b"voltage > 250", b"voltage >= 85.0 and alarm == true becomes true", b"name == 'x'", b"name changes"];
const TEMPLATES: &[&[u8]] = &[b"{voltage}", b"{\"code\": \"{x}\", {{}}", b"V={voltage:.2} A={x}"];
const CONSOLE: &[&[u8]] = &[b"set voltage 85.5\r\n", b"set name x\n", b"\r\n", b"help\r"];
