//! A device as a whole, on virtual time: power, one store behind several faces, rules, the console on its wire.

mod common;

use common::{Node, Path, Peer, World, at, ms, secs, us};
use fieldrig_proto::device::{
    Access, BootLine, BootPlan, Change, Command, ConsoleFace, ConsoleSettings, Device, Emission, Face, Heard, Model,
    ModelContext, Origin, Payload, Periodic, PlannedAction, PointDefinition, PointKind, PointStore, Power, Rule,
    RuleModel, RuleSet, Said, What,
};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Stamp, Time};
use proptest::prelude::*;
use std::collections::VecDeque;

/// A face of three bytes: `[b'W', value, _]` writes `setpoint`, every change is told to all as `[b'C', value]`, what the
/// model publishes as its payload.
#[derive(Default)]
struct ToyFace {
    conns: Vec<Conn>,
    output: VecDeque<(Conn, Vec<u8>)>,
    cursor: u64,
    running: bool,
}

impl ToyFace {
    fn tell(&mut self, bytes: &[u8]) {
        self.output.extend(self.conns.iter().map(|conn| (*conn, bytes.to_vec())));
    }
}

impl Face for ToyFace {
    fn name(&self) -> &str {
        "toy"
    }
    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore) {
        assert!(self.running, "called while the device does not run");
        match input {
            Input::Opened(conn, _) => self.conns.push(conn),
            Input::Bytes(_, [b'W', value, ..], _) => {
                let by = Origin::Face("toy".into());
                store.set(now, "setpoint", f64::from(*value), by).expect("a value in range");
            }
            Input::Closed(conn, _) => self.conns.retain(|known| *known != conn),
            _ => {}
        }
    }
    fn handle_timeout(&mut self, _now: Time, _store: &mut PointStore) {}
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn store_changed(&mut self, _now: Time, store: &PointStore) {
        let changes: Vec<u8> = store
            .changes_since(self.cursor)
            .filter(|change| change.point == 0)
            .filter_map(|change| change.to.as_f64().map(|value| value as u8))
            .collect();
        self.cursor = store.cursor();
        for value in changes {
            self.tell(&[b'C', value]);
        }
    }
    fn emit(&mut self, _now: Time, emission: &Emission) {
        if let Emission::Publish { payload, .. } = emission {
            self.tell(payload);
        }
    }
    fn poll_heard(&mut self) -> Option<Heard> {
        None
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (conn, bytes) = self.output.pop_front()?;
        let from = out.len();
        out.extend(bytes);
        Some(Action::send(conn, from..out.len()))
    }
    fn poll_event(&mut self) -> Option<Record> {
        None
    }
    fn power(&mut self, _now: Time, on: bool, store: &PointStore) {
        self.running = on;
        self.conns.clear();
        self.cursor = store.cursor();
    }
    fn set_habit(&mut self, name: &str, _value: &Value) -> Result<(), String> {
        Err(format!("no habit `{name}`"))
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
        point("setpoint", PointKind::Float, Value::Float(20.0), Some((0.0, 200.0))),
        point("alarm", PointKind::Bool, Value::Bool(false), None),
        point("count", PointKind::Int, Value::Int(0), Some((0.0, 2.0))),
        point("serial", PointKind::Text, Value::Text("A1".into()), None),
    ]
}

fn now(what: What) -> PlannedAction {
    PlannedAction { after: Duration::ZERO, what }
}

fn later(after: Duration, what: What) -> PlannedAction {
    PlannedAction { after, what }
}

fn line(text: &str) -> What {
    What::Line { face: Some("console".into()), text: text.into() }
}

fn set(point: &str, to: impl Into<Value>) -> What {
    What::Set { point: point.into(), to: to.into() }
}

fn command(pattern: &str, reply: &str, actions: Vec<PlannedAction>) -> Command {
    Command { pattern: pattern.into(), reply: vec![reply.into()], actions, ..Command::default() }
}

fn rules() -> RuleSet {
    let boot = |at, text: &str| BootLine { at, text: text.into() };
    RuleSet {
        boot: BootPlan {
            time: ms(300),
            face: Some("console".into()),
            lines: vec![boot(None, "rom"), boot(Some(ms(120)), "ram ok"), boot(None, "boot ok v{version} {serial}")],
        },
        rules: vec![Rule {
            when: "setpoint > 80 becomes true".into(),
            actions: vec![
                now(set("alarm", true)),
                later(ms(50), line("ALARM {setpoint:.1} {alarm}")),
                now(What::Publish {
                    face: None,
                    topic: "t".into(),
                    payload: Payload::Json(Value::Table(vec![("v".into(), "{setpoint}".into())])),
                    qos: 1,
                    retain: false,
                }),
            ],
        }],
        commands: vec![
            command("ver", "fw {version}", vec![]),
            command(r"set (?P<value>\S+)", "OK {setpoint}", vec![now(set("setpoint", "{value}"))]),
            Command { after: ms(5), ..command("slow", "done {0}", vec![]) },
        ],
        periodic: vec![],
        unknown_command: Some("unknown: {line}".into()),
        variables: vec![("version".into(), "1.2".into())],
    }
}

fn device(rules: &RuleSet) -> Device {
    device_with(rules, ConsoleSettings::default())
}

fn device_with(rules: &RuleSet, console: ConsoleSettings) -> Device {
    let model = RuleModel::compile(rules, &points(), &["console", "toy"]).expect("rules");
    let faces: Vec<Box<dyn Face>> = vec![Box::new(ConsoleFace::new("console", console)), Box::<ToyFace>::default()];
    Device::new("meter", PointStore::new(points()), Box::new(model), faces)
}

/// A device with its console on a wire that is so fast that it takes no time worth mentioning (10 us a byte).
fn bench(rules: &RuleSet) -> (World, Node<Device>, Peer) {
    let world = World::new();
    let device = world.add("meter", device(rules));
    let console = world.peer("console");
    console.join(&device, "console", &Path::wire("1000000 8N1"));
    (world, device, console)
}

fn running(rules: &RuleSet) -> (World, Node<Device>, Peer) {
    let (world, device, console) = bench(rules);
    device.with(|device, now| device.power_on(now));
    device.wait(secs(1), |device, _| (device.power() == Power::Run).then_some(()));
    world.run_for(ms(1));
    console.take();
    device.events();
    (world, device, console)
}

fn exact(after_start: Duration) -> Stamp {
    Stamp::exact(at(after_start))
}

fn kinds(events: &[Record]) -> Vec<&str> {
    events.iter().map(|record| record.kind.as_ref()).collect()
}

#[test]
fn boot_lines_come_at_their_instants_and_then_the_device_runs() {
    let (world, device, console) = bench(&rules());
    world.run_until(at(ms(10)));
    device.with(|device, now| device.power_on(now));
    // Lines without `at` share the boot time: the first of three after a third of it, the last at its end.
    assert_eq!(console.expect("rom\r\n"), exact(ms(110) + us(50)));
    assert_eq!(console.expect("ram ok\r\n"), exact(ms(130) + us(80)));
    world.run_until(Time::from_nanos(309_999_999));
    assert_eq!(device.with(|device, _| device.power()), Power::Boot);
    world.run_until(at(ms(310)));
    assert_eq!(device.with(|device, _| device.power()), Power::Run);
    assert_eq!(console.expect("boot ok v1.2 A1\r\n"), exact(ms(310) + us(170)));
    let states: Vec<Record> = device.events();
    assert_eq!(kinds(&states), ["device.power", "device.power"]);
    assert_eq!(states[1].at, Some(exact(ms(310))));
    assert_eq!(device.with(|device, _| device.boots()), 1);
}

#[test]
fn a_value_written_on_one_face_is_seen_on_the_others_at_the_same_instant() {
    let (world, device, console) = running(&rules());
    let (writer, watcher) = (world.peer("writer"), world.peer("watcher"));
    writer.join(&device, "toy", &Path::stream().delay(ms(2)));
    watcher.join(&device, "toy", &Path::stream().delay(ms(7)));
    let start = world.now();
    writer.send([b'W', 85, 0]);
    let change = writer.expect([b'C', 85]);
    assert_eq!(change, Stamp::exact(start + ms(4)));
    assert_eq!(watcher.expect([b'C', 85]), Stamp::exact(start + ms(9)));
    watcher.expect(r#"{"v": 85.0}"#);
    let text = "ALARM 85.0 true\r\n";
    assert_eq!(console.expect(text), Stamp::exact(start + ms(52) + us(10) * text.len() as u32));
    console.send("set 20\n");
    console.expect("OK 20.0\r\n");
    watcher.expect([b'C', 20]);
    let changed = device.events();
    let by: Vec<_> = changed.iter().filter_map(|record| record.field("by").and_then(Value::as_str)).collect();
    assert_eq!(by, ["toy", "model", "model"]);
}

#[test]
fn power_off_closes_every_connection_of_every_face_and_wires_fall_silent() {
    let world = World::new();
    let device = world.add("meter", device(&rules()));
    let (wire, tcp_console, toy) = (world.peer("wire"), world.peer("tcp console"), world.peer("toy"));
    wire.join(&device, "console", &Path::wire("1000000 8N1"));
    device.with(|device, now| device.power_on(now));
    device.wait(secs(1), |device, _| (device.power() == Power::Run).then_some(()));
    tcp_console.connect(&device, "console");
    toy.connect(&device, "toy");
    toy.send([b'W', 85, 0]);
    world.run_for(ms(10));
    wire.take();
    let off = world.now();
    device.with(|device, now| device.power_cycle(now, ms(500)));
    tcp_console.expect_closed(&Why::Reset);
    toy.expect_closed(&Why::Reset);
    assert_eq!(world.now(), off);
    // The alarm line that was to come after 50 ms is lost with the power; a connection is broken off, a wire is deaf.
    wire.send("ver\n");
    wire.expect_silence(ms(400));
    toy.connect(&device, "toy");
    toy.expect_closed(&Why::Reset);
    assert_eq!(wire.expect("rom\r\n"), Stamp::exact(off + ms(600) + us(50)));
    wire.send("ver\n");
    toy.connect(&device, "toy");
    toy.expect_closed(&Why::Reset);
    wire.expect("ram ok\r\nboot ok v1.2 A1\r\n");
    wire.expect_silence(ms(10));
    assert_eq!(device.with(|device, _| device.get("setpoint").cloned()), Some(Value::Float(20.0)));
    wire.send("ver\n");
    wire.expect("fw 1.2\r\n");
    assert_eq!(device.with(|device, _| device.boots()), 2);
}

#[test]
fn a_console_answers_commands_and_says_what_it_refuses() {
    let (world, device, console) = running(&rules());
    for (sent, answer) in [
        ("ver\r\n", "fw 1.2\r\n"),
        ("  ver \r", "fw 1.2\r\n"),
        ("verx\n", "unknown: verx\r\n"),
        ("\n\r\n", ""),
        ("set 81.5\n", "OK 81.5\r\n"),
        ("set 201\n", "error: point `setpoint` takes 0 to 200, not 201\r\n"),
        ("set hot\n", "error: point `setpoint` holds Float values, `hot` is none\r\n"),
        ("set NaN\n", "error: point `setpoint` holds Float values, `NaN` is none\r\n"),
    ] {
        console.send(sent);
        console.expect(answer);
    }
    world.run_for(ms(60));
    console.expect("ALARM 81.5 true\r\n");
    let start = world.now();
    console.send("slow\n");
    assert_eq!(console.expect("done slow\r\n"), Stamp::exact(start + us(50) + ms(5) + us(110)));
    let refused = device.events().into_iter().filter(|record| record.kind == "rule.refused").count();
    assert_eq!(refused, 3);
}

#[test]
fn a_prompt_follows_every_answer_and_comes_again_after_a_late_line() {
    let world = World::new();
    let settings = ConsoleSettings { echo: true, prompt: "> ".into(), limit: 8, ..ConsoleSettings::default() };
    let device = world.add("meter", device_with(&rules(), settings));
    let console = world.peer("console");
    console.join(&device, "console", &Path::wire("1000000 8N1"));
    device.with(|device, now| device.power_on(now));
    console.expect("rom\r\nram ok\r\nboot ok v1.2 A1\r\n> ");
    console.send("ver\r\n");
    console.expect("ver\r\nfw 1.2\r\n> ");
    device.with(|device, now| device.emit(now, "console", Emission::Line("late\nlines".into())));
    console.expect("\r\nlate\r\nlines\r\n> ");
    console.send("too long a line\n");
    console.expect("too long a line\r\n> ");
    let events = device.events();
    let long = events.iter().find(|record| record.kind == "console.too_long").expect("an event");
    assert_eq!(long.field("length"), Some(&Value::Int(15)));
    assert_eq!(long.field("face"), Some(&Value::Text("console".into())));
}

#[test]
fn habits_break_the_console_by_name() {
    let (_world, device, console) = running(&rules());
    let habit = |name: &str, value: Value| device.with(|device, _| device.set_habit("console", name, &value));
    habit("ending", "lf".into()).expect("a habit");
    console.send("ver\n");
    console.expect("fw 1.2\n");
    habit("mute", true.into()).expect("a habit");
    console.send("set 30\n");
    console.expect_silence(ms(20));
    assert_eq!(device.with(|device, _| device.get("setpoint").cloned()), Some(Value::Float(30.0)));
    habit("mute", false.into()).expect("a habit");
    habit("deaf", true.into()).expect("a habit");
    console.send("ver\n");
    console.expect_silence(ms(20));
    habit("deaf", "default".into()).expect("undone");
    habit("ending", "default".into()).expect("undone");
    console.send("ver\n");
    console.expect("fw 1.2\r\n");
    let error = habit("shy", true.into()).expect_err("no such habit");
    assert_eq!(error, "a console has no habit `shy`; it has: mute, deaf, echo, prompt, ending");
    let error = device.with(|device, _| device.set_habit("uart", "mute", &true.into())).expect_err("no such face");
    assert_eq!(error, "`meter` has no face `uart`; it has: console, toy");
}

#[test]
fn conditions_see_every_change_and_fire_at_the_edge() {
    let (world, device, console) = running(&rules());
    let toy = world.peer("toy");
    toy.connect(&device, "toy");
    let set = |value: f64| device.with(|device, now| device.set(now, "setpoint", value).expect("in range"));
    assert_eq!(set(80.0).to, Value::Float(80.0));
    set(80.5);
    set(90.0);
    world.run_for(ms(60));
    assert_eq!(console.take(), b"ALARM 90.0 true\r\n");
    // Up and down again at one instant: the edge counts, the late line shows the value of its own instant.
    set(10.0);
    set(100.0);
    set(10.0);
    world.run_for(ms(60));
    assert_eq!(console.take(), b"ALARM 10.0 true\r\n");
    toy.expect([b'C', 80, b'C', 80]);
    toy.expect(br#"{"v": 80.5}"#);
}

#[test]
fn a_loop_of_rules_is_an_event_not_a_hang() {
    let rule = |when: &str, to: i64| Rule { when: when.into(), actions: vec![now(set("count", to))] };
    let rules = RuleSet { rules: vec![rule("count == 1", 2), rule("count == 2", 1)], ..RuleSet::default() };
    let (_world, device, _console) = running(&rules);
    device.with(|device, now| device.set(now, "count", 1i64).map(|_| ())).expect("in range");
    let events = device.events();
    let found = events.iter().find(|record| record.kind == "rule.loop").expect("an event");
    assert_eq!(found.field("rules"), Some(&Value::List(vec![Value::Int(0), Value::Int(1)])));
    // It goes on as if nothing had happened.
    device.with(|device, now| device.set(now, "setpoint", 5.0).map(|_| ())).expect("in range");
}

/// Answers every change by another one, in the name of the test, so that it hears of it again.
struct Restless;

impl Model for Restless {
    fn changed(&mut self, context: &mut ModelContext<'_>, change: &Change) {
        let next = if change.to == Value::Float(1.0) { 2.0 } else { 1.0 };
        context.store.set(context.now, "setpoint", next, Origin::Test).expect("in range");
    }
}

#[test]
fn a_model_that_never_rests_is_an_event_not_a_hang() {
    let console = ConsoleFace::new("console", ConsoleSettings::default());
    let mut device = Device::new("meter", PointStore::new(points()), Box::new(Restless), vec![Box::new(console)]);
    device.power_on(Time::ZERO);
    device.set(at(ms(1)), "setpoint", 1.0).expect("in range");
    let events: Vec<Record> = std::iter::from_fn(|| device.poll_event()).collect();
    let found = events.iter().find(|record| record.kind == "device.loop").expect("an event");
    assert_eq!(found.at, Some(exact(ms(1))));
    assert!(device.face_as::<ConsoleFace>("console").is_some());
    assert!(device.face_as::<ToyFace>("console").is_none());
}

/// Fails when the setpoint is 13, and reports when its power goes.
struct Superstitious;

impl Model for Superstitious {
    fn boot(&mut self, context: &mut ModelContext<'_>) -> Time {
        context.now
    }
    fn changed(&mut self, context: &mut ModelContext<'_>, change: &Change) {
        if change.to == Value::Float(13.0) {
            context.emit("console", Emission::Line("never said".into()));
            context.fail("13 is no setpoint");
            context.fail("a second failure");
        }
    }
    fn power_off(&mut self, context: &mut ModelContext<'_>) {
        context.report(Record::new("superstitious.off"));
    }
}

#[test]
fn a_model_that_fails_takes_the_power_of_its_device_and_says_why() {
    let face = ConsoleFace::new("console", ConsoleSettings::default());
    let mut device = Device::new("meter", PointStore::new(points()), Box::new(Superstitious), vec![Box::new(face)]);
    device.power_on(Time::ZERO);
    device.set(Time::from_nanos(5), "setpoint", 13.0).expect("a point");
    assert_eq!((device.power(), device.failure()), (Power::Off, Some("13 is no setpoint")));
    let events: Vec<Record> = std::iter::from_fn(|| device.poll_event()).collect();
    let found = kinds(&events);
    assert_eq!(found[found.len() - 3..], ["model.raised", "superstitious.off", "device.power"]);
    assert_eq!(events[found.len() - 3].field("error"), Some(&Value::from("13 is no setpoint")));
    device.power_on(Time::from_nanos(6));
    assert_eq!(
        (device.power(), device.failure()),
        (Power::Run, Some("13 is no setpoint")),
        "until somebody takes note"
    );
    assert_eq!(device.take_failure().as_deref(), Some("13 is no setpoint"));
    assert_eq!(device.failure(), None);
}

#[test]
fn points_go_back_to_their_initial_values_before_the_eyes_of_rules_and_faces() {
    let mut device = device(&rules());
    device.power_on(Time::ZERO);
    while device.poll_timeout().is_some_and(|due| due <= Time::from_nanos(1_000_000_000))
        && device.power() != Power::Run
    {
        let due = device.poll_timeout().expect("looked at above");
        device.handle_timeout(due);
    }
    let later = Time::from_nanos(2_000_000_000);
    device.set(later, "setpoint", 90.0).expect("a point");
    let before = device.store().cursor();
    device.reset_points(later);
    let back: Vec<&Change> = device.changes(before).filter(|change| change.by == Origin::Test).collect();
    assert!(back.iter().any(|change| change.from == Value::Float(90.0)), "{back:?}");
    for point in points() {
        assert_eq!(device.get(&point.name), Some(&point.initial), "{}", point.name);
    }
    device.power_off(later);
    let quiet = device.store().cursor();
    device.reset_points(later);
    assert_eq!(device.store().cursor(), quiet, "without power there is nothing to do");
}

#[test]
fn a_console_answers_what_it_is_asked() {
    let ask = |entries: &[(&str, Value)]| {
        let table = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Emission::Ask(Value::Table(table))
    };
    let mut face = ConsoleFace::new("console", ConsoleSettings::default());
    face.power(Time::ZERO, true, &PointStore::default());
    face.emit(Time::ZERO, &ask(&[("token", Value::Int(1)), ("line", "hello".into())]));
    face.emit(Time::ZERO, &ask(&[("token", Value::Int(2))]));
    let (mut store, peer) = (PointStore::default(), fieldrig_proto::endpoint::Peer::default());
    face.handle(Time::ZERO, Input::Opened(Conn(4), &peer), &mut store);
    face.emit(Time::ZERO, &ask(&[("token", Value::Int(3)), ("line", "hello".into())]));
    let answers: Vec<String> = std::iter::from_fn(|| face.poll_heard())
        .map(|heard| if let Heard::Answer(table) = heard { table.to_string() } else { format!("{heard:?}") })
        .collect();
    let expected = [
        "{ token = 1, error = \"lost\", text = \"nobody is connected to the console\" }",
        "{ token = 2, error = \"refused\", text = \"a console takes `line`, a text\" }",
        "{ token = 3 }",
    ];
    assert_eq!(answers, expected);
    let mut out = Vec::new();
    assert!(face.poll_action(&mut out).is_some());
    assert_eq!(out, b"hello\r\n");
}

#[test]
fn periodic_actions_keep_their_slots_while_their_condition_holds() {
    let periodic = |when: Option<&str>, first, what| Periodic {
        period: ms(100),
        first,
        when: when.map(str::to_owned),
        actions: vec![now(what)],
    };
    let rules = RuleSet {
        periodic: vec![
            periodic(None, None, What::Add { point: "count".into(), by: 1.0 }),
            periodic(Some("alarm == true"), Some(ms(10)), line("count {count}")),
        ],
        ..RuleSet::default()
    };
    let (world, device, console) = running(&rules);
    let start = Time::ZERO;
    assert_eq!(device.with(|device, _| device.power()), Power::Run);
    world.run_until(start + ms(205));
    device.with(|device, now| device.set(now, "alarm", true).map(|_| ())).expect("a point");
    assert_eq!(console.expect("count 2\r\n"), Stamp::exact(start + ms(210) + us(90)));
    // The range of the counter ends at 2.
    assert_eq!(console.expect("count 0\r\n"), Stamp::exact(start + ms(310) + us(90)));
    device.with(|device, now| device.set(now, "alarm", false).map(|_| ())).expect("a point");
    console.expect_silence(ms(500));
}

#[test]
fn what_holds_from_the_start_fires_when_the_device_starts() {
    let rules = RuleSet {
        rules: vec![
            Rule { when: "serial == 'A1' and setpoint >= 20".into(), actions: vec![now(line("cold start"))] },
            Rule { when: "setpoint < 20 becomes false".into(), actions: vec![now(line("warm"))] },
            Rule { when: "count is written".into(), actions: vec![now(line("written {count}"))] },
            Rule { when: "count changes".into(), actions: vec![now(line("changed {count}"))] },
        ],
        ..RuleSet::default()
    };
    let (_world, device, console) = bench(&rules);
    device.with(|device, now| device.power_on(now));
    console.expect("cold start\r\n");
    let set = |point: &str, value: Value| device.with(|device, now| device.set(now, point, value).map(|_| ()));
    set("count", Value::Int(0)).expect("in range");
    console.expect("written 0\r\n");
    set("count", Value::Int(1)).expect("in range");
    console.expect("written 1\r\nchanged 1\r\n");
    set("setpoint", Value::Float(10.0)).expect("in range");
    set("setpoint", Value::Float(20.0)).expect("in range");
    console.expect("cold start\r\nwarm\r\n");
    assert_eq!(
        set("setpoint", Value::Float(-1.0)).expect_err("range").to_string(),
        "point `setpoint` takes 0 to 200, not -1"
    );
}

#[test]
fn messages_are_commands_too() {
    let rules = RuleSet {
        commands: vec![Command {
            topic: Some("{base}/set".into()),
            pattern: r#"\{"setpoint": *(?P<value>[0-9.]+)\}"#.into(),
            actions: vec![now(set("setpoint", "{value}")), now(line("{topic} {value}"))],
            ..Command::default()
        }],
        variables: vec![("base".into(), "site/7".into())],
        ..RuleSet::default()
    };
    let mut model = RuleModel::compile(&rules, &points(), &["console"]).expect("rules");
    let (mut store, mut said) = (PointStore::new(points()), Said::default());
    let mut context = ModelContext::new(Time::ZERO, &mut store, &mut said);
    for (topic, payload) in
        [("site/8/set", "{\"setpoint\": 1}"), ("site/7/set", "1"), ("site/7/set", "{\"setpoint\": 42}")]
    {
        let heard = Heard::Message { topic: topic.into(), payload: payload.into() };
        Model::heard(&mut model, &mut context, "mqtt", &heard);
    }
    assert_eq!(store.value("setpoint"), Some(&Value::Float(42.0)));
    assert_eq!(said.emissions, [("console".to_owned(), Emission::Line("site/7/set 42".into()))]);
}

#[test]
fn mistakes_in_a_plan_are_named_with_key_and_place() {
    let rule = |when: &str, what| RuleSet {
        rules: vec![Rule { when: when.into(), actions: vec![now(what)] }],
        ..RuleSet::default()
    };
    let with_command = |command| RuleSet { commands: vec![command], ..RuleSet::default() };
    let publish = |topic: &str, qos| What::Publish {
        face: None,
        topic: topic.into(),
        payload: Payload::Text(String::new()),
        qos,
        retain: false,
    };
    let never = || Periodic { period: Duration::ZERO, first: None, when: None, actions: vec![] };
    let cases = [
        (
            rule("setpoint > ", line("x")),
            "rule[0].when",
            Some(11),
            "at offset 11 there is the end, expected a number, true, false, a 'text' or a point",
        ),
        (
            rule("alarm == 1", line("{volts}")),
            "rule[0].line",
            Some(0),
            "`{volts}` at offset 0 stands for nothing: known are setpoint, alarm, count, serial",
        ),
        (
            rule("alarm == 1", set("volts", 1i64)),
            "rule[0].set.volts",
            None,
            "there is no point `volts`; there are: setpoint, alarm, count, serial",
        ),
        (rule("alarm == 1", set("count", 9i64)), "rule[0].set.count", None, "point `count` takes 0 to 2, not 9"),
        (
            rule("alarm == 1", What::Add { point: "serial".into(), by: 1.0 }),
            "rule[0].add.serial",
            None,
            "point `serial` is no number, nothing can be added to it",
        ),
        (
            rule("alarm == 1", publish("{x}", 1)),
            "rule[0].publish.topic",
            Some(0),
            "`{x}` at offset 0 stands for nothing: known are setpoint, alarm, count, serial",
        ),
        (
            rule("alarm == 1", publish("t", 3)),
            "rule[0].publish.qos",
            None,
            "quality of service is 3, expected 0, 1 or 2",
        ),
        (
            rule("alarm == 1", What::Line { face: Some("uart".into()), text: "x".into() }),
            "rule[0].line.face",
            None,
            "there is no face `uart`; there are: console, toy",
        ),
        (
            with_command(command("a)(b", "", vec![])),
            "command[0].match",
            None,
            "`a)(b` is no regular expression: unopened group",
        ),
        (
            with_command(command("(?P<v>.)", "{w}", vec![])),
            "command[0].reply[0]",
            Some(0),
            "`{w}` at offset 0 stands for nothing: known are setpoint, alarm, count, serial, 0, 1, v, line, topic",
        ),
        (
            RuleSet { periodic: vec![never()], ..RuleSet::default() },
            "every[0].period",
            None,
            "the period is 0, expected a duration such as \"1s\"",
        ),
        (
            RuleSet {
                periodic: vec![Periodic { when: Some("alarm changes".into()), period: ms(1), ..never() }],
                ..RuleSet::default()
            },
            "every[0].when",
            None,
            "a period asks whether something holds, it cannot wait for an event",
        ),
    ];
    for (rules, key, offset, problem) in cases {
        let error = RuleModel::compile(&rules, &points(), &["console", "toy"]).err().expect("a mistake");
        assert_eq!((error.key.as_str(), error.offset, error.problem.as_str()), (key, offset, problem));
    }
}

#[test]
fn what_happens_on_the_line_reaches_the_console() {
    let (world, device, _) = running(&RuleSet::default());
    let console = world.peer("second");
    let link = console.join(&device, "console", &Path::wire("9600 8E1"));
    console.send("garbage");
    console.set_line(LineCommand::Break(ms(30)));
    console.send("\n");
    world.line_event(link, &device, LineEvent::Parity);
    world.run_for(ms(100));
    let events = device.events();
    let lines: Vec<_> = events.iter().filter(|record| record.kind == "console.line").collect();
    let texts: Vec<_> = lines.iter().filter_map(|record| record.field("event").and_then(Value::as_str)).collect();
    assert_eq!(texts, ["Parity", "Break"]);
    // Seven characters of 11 bits, then the break of 30 ms.
    assert_eq!(lines[1].at, Some(exact(ms(1) + Duration::from_nanos(8_020_833) + ms(30))));
}

#[test]
fn a_console_that_nobody_reads_loses_lines_not_memory() {
    let (world, device, _) = running(&rules());
    let slow = world.peer("slow");
    let link = slow.join(&device, "console", &Path::stream());
    world.pause_reading(link, &slow.node, true);
    let text = "x".repeat(998);
    for _ in 0..400 {
        device.with(|device, now| device.emit(now, "console", Emission::Line(text.clone())));
    }
    world.settle();
    world.pause_reading(link, &slow.node, false);
    world.run_for(ms(1));
    let got = slow.take().len();
    assert_eq!(got % 1000, 0);
    assert_eq!(got, 263_000, "the first thousand bytes at or above the high-water mark are the last");
    let lost = device.events().into_iter().find(|record| record.kind == "console.lost").expect("an event");
    assert_eq!(lost.field("lines"), Some(&Value::Int(400 - 263)));
    device.with(|device, now| device.emit(now, "console", Emission::Line("again".into())));
    slow.expect("again\r\n");
}

#[test]
fn a_half_closed_console_connection_is_answered_and_closed() {
    let (world, device, _) = running(&rules());
    let peer = world.peer("tcp");
    peer.connect(&device, "console");
    peer.send("ver\n");
    peer.close(How::HalfOpen);
    peer.expect("fw 1.2\r\n");
    peer.expect_closed(&Why::Finished);
}

#[test]
fn a_connection_for_a_face_that_is_not_there_is_broken_off() {
    let (world, device, _) = running(&rules());
    let peer = world.peer("stray");
    peer.connect(&device, "nowhere");
    peer.expect_closed(&Why::Reset);
    assert!(kinds(&device.events()).contains(&"device.no_face"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_input_makes_a_device_panic(
        inputs in proptest::collection::vec((0u8..8, proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let (world, device, console) = bench(&rules());
        let toy = world.peer("toy");
        for (kind, bytes) in inputs {
            match kind {
                0 => device.with(|device, now| device.power_on(now)),
                1 => device.with(|device, now| device.power_cycle(now, ms(3))),
                2 => toy.join(&device, if bytes.len() % 2 == 0 { "toy" } else { "console" }, &Path::stream()).ignore(),
                3 => console.set_line(LineCommand::Break(us(50))),
                4 => console.send([b"set ", bytes.as_slice(), b"\r"].concat()),
                5 => world.run_for(ms(100)),
                _ => console.send(bytes),
            }
        }
        world.run_for(secs(1));
        prop_assert!(device.with(|device, _| device.boots()) <= 60);
    }
}

/// Lets a match arm give nothing.
trait Ignore {
    fn ignore(&self) {}
}

impl<T> Ignore for T {}
