//! The MQTT face of a device against the broker, on virtual time.

#![allow(clippy::unwrap_used, reason = "the helpers of these tests fail by panicking")]

use fieldrig_proto::device::{
    Access, Device, Emission, Face, Heard, Model, ModelContext, NoModel, PointDefinition, PointKind, PointStore,
};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Stamps, Why};
use fieldrig_proto::mqtt::broker::Broker;
use fieldrig_proto::mqtt::client::{Client, ClientConfig};
use fieldrig_proto::mqtt::{QoS, V5, V311};
use fieldrig_proto::protocol::{Built, Protocol, Role};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::sync::{Arc, Mutex};

/// A device and a watcher, both clients of one broker. The broker knows connection 0 (watcher) and those of the device.
struct Bench {
    now: Time,
    broker: Broker,
    device: Device,
    watcher: Client,
    next_conn: u32,
    /// The live connection of the device.
    live: Option<Conn>,
    /// When the device asked for a connection.
    dials: Vec<Time>,
    refuse: bool,
    seen: u64,
    records: Vec<Record>,
}

const WATCHER: Conn = Conn(0);

impl Bench {
    fn new(face: Box<dyn Face>, model: Box<dyn Model>) -> Bench {
        let point = |name: &str, initial: f64| PointDefinition {
            name: name.to_owned(),
            kind: PointKind::Float,
            unit: String::new(),
            initial: Value::Float(initial),
            range: None,
            access: Access::ReadWrite,
        };
        let store = PointStore::new(vec![point("voltage", 230.0), point("current", 4.5)]);
        let watcher =
            Client::new(ClientConfig { client_id: "watcher".into(), keep_alive: 0, ..ClientConfig::default() });
        let mut bench = Bench {
            now: Time::ZERO,
            broker: Broker::default(),
            device: Device::new("meter", store, model, vec![face]),
            watcher,
            next_conn: 1,
            live: None,
            dials: Vec::new(),
            refuse: false,
            seen: 0,
            records: Vec::new(),
        };
        bench.broker.handle(Time::ZERO, Input::Opened(WATCHER, &Peer::default()));
        bench.watcher.handle(Time::ZERO, Input::Opened(WATCHER, &Peer::default()));
        bench.settle();
        bench.watcher.subscribe(Time::ZERO, "#", QoS::AtLeastOnce).unwrap();
        bench.settle();
        bench
    }

    fn on(settings: &[(&str, Value)], model: Box<dyn Model>) -> Bench {
        let mut bench = Bench::new(face(&V5, settings).unwrap(), model);
        bench.device.power_on(bench.now);
        bench.settle();
        bench
    }

    fn settle(&mut self) {
        while self.step_broker() | self.step_watcher() | self.step_device() {}
    }

    fn step_broker(&mut self) -> bool {
        let (mut out, mut moved) = (Vec::new(), false);
        while let Some(action) = self.broker.poll_action(&mut out) {
            moved = true;
            match action {
                Action::Send { conn: WATCHER, range, .. } => {
                    self.watcher
                        .handle(self.now, Input::Bytes(WATCHER, &out[range], Stamps::One(Stamp::exact(self.now))));
                }
                Action::Send { conn, range, .. } => {
                    self.device.handle(self.now, Input::Bytes(conn, &out[range], Stamps::One(Stamp::exact(self.now))));
                }
                Action::Close(conn, how) => {
                    let why = if how == How::Rst { Why::Reset } else { Why::Finished };
                    self.device.handle(self.now, Input::Closed(conn, why));
                    self.live = None;
                }
                other => panic!("{other:?}"),
            }
        }
        while self.broker.poll_event().is_some() {}
        moved
    }

    fn step_watcher(&mut self) -> bool {
        let (mut out, mut moved) = (Vec::new(), false);
        while let Some(action) = self.watcher.poll_action(&mut out) {
            moved = true;
            let Action::Send { range, .. } = action else { panic!("{action:?}") };
            self.broker.handle(self.now, Input::Bytes(WATCHER, &out[range], Stamps::One(Stamp::exact(self.now))));
        }
        moved
    }

    fn step_device(&mut self) -> bool {
        let (mut out, mut actions) = (Vec::new(), Vec::new());
        while let Some(action) = self.device.poll_action(&mut out) {
            actions.push(action);
        }
        while let Some(record) = self.device.poll_event() {
            self.records.push(record);
        }
        let moved = !actions.is_empty();
        for action in actions {
            match action {
                Action::Connect(target) => self.dial(&target.via, &target.url),
                Action::Send { conn, range, .. } => {
                    self.broker.handle(self.now, Input::Bytes(conn, &out[range], Stamps::One(Stamp::exact(self.now))));
                }
                Action::Close(conn, how) => {
                    let why = if how == How::Rst { Why::Reset } else { Why::Finished };
                    self.broker.handle(self.now, Input::Closed(conn, why));
                    self.device.handle(self.now, Input::Closed(conn, Why::Local));
                    self.live = None;
                }
                other => panic!("{other:?}"),
            }
        }
        moved
    }

    fn dial(&mut self, via: &str, url: &str) {
        assert_eq!(url, "tcp://127.0.0.1:1883");
        self.dials.push(self.now);
        let conn = Conn(self.next_conn);
        self.next_conn += 1;
        if self.refuse {
            let why = Why::Refused { via: via.to_owned(), reason: "nobody listens".into(), untrusted: false };
            return self.device.handle(self.now, Input::Closed(conn, why));
        }
        self.live = Some(conn);
        let peer = Peer { via: via.to_owned(), ..Peer::default() };
        self.broker.handle(self.now, Input::Opened(conn, &peer));
        self.device.handle(self.now, Input::Opened(conn, &peer));
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let due = |bench: &Bench| bench.device.poll_timeout().into_iter().chain(bench.broker.poll_timeout()).min();
        while let Some(next) = due(self).filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.device.handle_timeout(self.now);
            self.broker.handle_timeout(self.now);
            self.settle();
            assert!(due(self).is_none_or(|next| next > self.now), "a time-out stands still");
        }
        self.now = end;
    }

    fn cut(&mut self) {
        let conn = self.live.take().unwrap();
        self.device.handle(self.now, Input::Closed(conn, Why::Reset));
        self.broker.handle(self.now, Input::Closed(conn, Why::Reset));
        self.settle();
    }

    fn set(&mut self, point: &str, value: f64) {
        self.device.set(self.now, point, Value::Float(value)).unwrap();
        self.settle();
    }

    fn messages(&mut self) -> Vec<String> {
        let show = |topic: &str, payload: &[u8]| format!("{topic} {}", String::from_utf8_lossy(payload));
        let text = self.watcher.messages_since(self.seen).map(|m| show(&m.topic, &m.payload)).collect();
        self.seen = self.watcher.cursor();
        text
    }
}

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn face(
    protocol: &Protocol,
    settings: &[(&str, Value)],
) -> Result<Box<dyn Face>, fieldrig_proto::protocol::SettingError> {
    let mut all = vec![("url".to_owned(), Value::from("mqtt://127.0.0.1"))];
    all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    match (protocol.constructor(Role::Device).unwrap().build)("uplink", &all)? {
        Built::Face(face) => Ok(face),
        Built::Endpoint(_) => panic!("a device is a face"),
    }
}

#[test]
fn points_are_published_after_connect_and_on_change() {
    for protocol in [&V311, &V5] {
        let settings = [
            ("base", Value::from("site")),
            ("publish", table(&[("{base}/v", Value::from("voltage"))])),
            ("birth", table(&[("topic", Value::from("{base}/state")), ("payload", Value::from("online"))])),
        ];
        let mut bench = Bench::new(face(protocol, &settings).unwrap(), Box::new(NoModel));
        assert_eq!(bench.messages(), [""; 0], "a device without power says nothing");
        bench.device.power_on(bench.now);
        bench.settle();
        assert_eq!(bench.messages(), ["site/state online", "site/v 230.0"]);
        bench.set("voltage", 231.5);
        bench.set("voltage", 231.5);
        bench.set("current", 1.0);
        assert_eq!(bench.messages(), ["site/v 231.5"], "only what changed");
    }
}

#[test]
fn periods_are_exact() {
    let publication = table(&[
        ("points", Value::List(vec!["voltage".into(), "current".into()])),
        ("period", "250ms".into()),
        ("qos", Value::Int(1)),
    ]);
    let mut bench = Bench::on(&[("publish", table(&[("t", publication)]))], Box::new(NoModel));
    assert_eq!(bench.messages(), ["t {\"voltage\": 230.0, \"current\": 4.5}"]);
    bench.set("voltage", 1.0);
    bench.run_for(Duration::from_millis(249));
    assert_eq!(bench.messages(), [""; 0]);
    bench.run_for(Duration::from_millis(1));
    assert_eq!(bench.messages(), ["t {\"voltage\": 1.0, \"current\": 4.5}"]);
    bench.run_for(Duration::from_secs(1));
    assert_eq!(bench.messages().len(), 4);
}

#[test]
fn refused_connections_are_tried_again_with_growing_delays() {
    let delays = |seed: i64| {
        let reconnect = table(&[("first", "1s".into()), ("longest", "8s".into())]);
        let settings = [("reconnect", reconnect), ("seed", Value::Int(seed))];
        let mut bench = Bench::new(face(&V5, &settings).unwrap(), Box::new(NoModel));
        bench.refuse = true;
        bench.device.power_on(bench.now);
        bench.settle();
        bench.run_for(Duration::from_secs(60));
        let delays: Vec<u128> = bench.dials.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
        for (delay, least) in delays.iter().zip([1000, 2000, 4000, 8000, 8000, 8000]) {
            assert!((least..=least * 3 / 2).contains(delay), "{delays:?}");
        }
        bench.refuse = false;
        bench.run_for(Duration::from_secs(13));
        assert!(bench.live.is_some(), "it connects as soon as it can");
        delays
    };
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2), "two devices do not come back together");
}

#[test]
fn a_lost_connection_comes_back_and_says_everything_again() {
    let settings = [("publish", table(&[("v", Value::from("voltage"))])), ("seed", Value::Int(3))];
    let mut bench = Bench::on(&settings, Box::new(NoModel));
    bench.messages();
    bench.cut();
    bench.set("voltage", 1.0);
    assert_eq!(bench.messages(), [""; 0]);
    bench.run_for(Duration::from_millis(1_500));
    assert_eq!(bench.messages(), ["v 1.0"]);
    assert_eq!(bench.dials.len(), 2);
    let kinds: Vec<&str> = bench.records.iter().map(|record| &*record.kind).collect();
    assert!(kinds.contains(&"mqtt.lost") && kinds.contains(&"mqtt.retry"), "{kinds:?}");
}

/// Says what it hears, and two things as soon as it runs.
struct Parrot;

impl Model for Parrot {
    fn run(&mut self, context: &mut ModelContext<'_>) {
        for (qos, payload) in [(0u8, b"telemetry"), (1, b"important")] {
            let topic = "{base}/said".to_owned();
            context.emit("uplink", Emission::Publish { topic, payload: payload.to_vec(), qos, retain: false });
        }
    }

    fn heard(&mut self, context: &mut ModelContext<'_>, face: &str, heard: &Heard) {
        if let Heard::Message { topic, payload } = heard {
            let payload = [topic.as_bytes(), b"=", payload].concat();
            context.emit(face, Emission::Publish { topic: "echo".into(), payload, qos: 1, retain: false });
        }
    }
}

#[test]
fn commands_are_heard_and_important_emissions_wait_for_the_connection() {
    let settings = [("base", Value::from("site")), ("commands", Value::List(vec!["{base}/cmd/#".into()]))];
    let mut bench = Bench::on(&settings, Box::new(Parrot));
    assert_eq!(bench.messages(), ["site/said important"]);
    let lost = bench.records.iter().find(|record| record.kind == "mqtt.emissions_lost").unwrap();
    assert_eq!(lost.field("messages"), Some(&Value::Int(1)), "what is lost is counted");
    bench.broker.publish(bench.now, "site/cmd/set", b"42", QoS::AtLeastOnce, false).unwrap();
    bench.settle();
    assert_eq!(bench.messages(), ["site/cmd/set 42", "echo site/cmd/set=42"]);
}

/// Writes down what it hears that is no message.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Model for Listener {
    fn heard(&mut self, _context: &mut ModelContext<'_>, _face: &str, heard: &Heard) {
        let text = match heard {
            Heard::Answer(table) => table.to_string(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

/// A device that asks, and what its model heard.
fn asking(settings: &[(&str, Value)]) -> (Bench, impl Fn() -> Vec<String> + use<>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let bench = Bench::on(settings, Box::new(Listener(Arc::clone(&heard))));
    (bench, move || std::mem::take(&mut *heard.lock().unwrap()))
}

fn ask(token: i64, topic: &str, more: &[(&str, Value)]) -> Emission {
    let entries = [("token", Value::Int(token)), ("topic", Value::from(topic))];
    Emission::Ask(table(&[&entries, more].concat()))
}

#[test]
fn an_ask_is_answered_when_the_message_is_sent_or_acknowledged() {
    let (mut bench, heard) = asking(&[("base", Value::from("site"))]);
    assert_eq!(heard(), ["Ready"]);
    let json = table(&[("v", Value::Float(1.5))]);
    bench.device.emit(bench.now, "uplink", ask(1, "{base}/a", &[("payload", json)]));
    assert_eq!(heard(), ["{ token = 1 }"], "QoS 0: sent");
    bench.device.emit(bench.now, "uplink", ask(2, "b", &[("payload", "x".into()), ("qos", Value::Int(1))]));
    assert_eq!(heard(), [""; 0], "QoS 1: the acknowledgement is still to come");
    bench.settle();
    assert_eq!(heard(), ["{ token = 2 }"]);
    bench.device.emit(bench.now, "uplink", ask(3, "c", &[("payload", Value::Bytes(vec![65]))]));
    bench.settle();
    assert_eq!(bench.messages(), ["site/a {\"v\": 1.5}", "b x", "c A"]);
}

#[test]
fn an_ask_fails_with_its_connection_and_the_model_hears_that_it_is_gone_first() {
    let (mut bench, heard) = asking(&[]);
    bench.device.emit(bench.now, "uplink", ask(1, "a", &[("qos", Value::Int(1))]));
    assert_eq!(heard(), ["Ready"]);
    bench.cut();
    let answers = heard();
    assert_eq!(answers[0], "Gone");
    assert!(answers[1].starts_with("{ token = 1, error = \"lost\", text = "), "{answers:?}");
    bench.device.emit(bench.now, "uplink", ask(2, "a", &[]));
    let answers = heard();
    assert!(answers[0].starts_with("{ token = 2, error = \"lost\", text = \"not connected"), "{answers:?}");
    bench.run_for(Duration::from_secs(5));
    assert_eq!(heard(), ["Ready"]);
    bench.device.emit(bench.now, "uplink", ask(3, "a", &[("qos", Value::Int(1))]));
    bench.device.power_off(bench.now);
    bench.device.power_on(bench.now);
    bench.settle();
    assert_eq!(heard(), ["Ready"], "what was under way when power was lost is never answered");
}

#[test]
fn an_ask_that_cannot_be_is_refused() {
    let (mut bench, heard) = asking(&[]);
    heard();
    bench.device.emit(bench.now, "uplink", Emission::Ask(table(&[("token", Value::Int(1))])));
    bench.device.emit(bench.now, "uplink", ask(2, "a", &[("qos", Value::Int(2))]));
    bench.device.emit(bench.now, "uplink", ask(3, "a/#", &[]));
    let answers = heard();
    assert_eq!(answers[0], "{ token = 1, error = \"refused\", text = \"an MQTT face takes `topic`, a text\" }");
    assert_eq!(answers[1], "{ token = 2, error = \"refused\", text = \"`qos` is 0 or 1\" }");
    assert!(answers[2].starts_with("{ token = 3, error = \"refused\", text = "), "{answers:?}");
}

#[test]
fn a_message_that_the_broker_turns_down_is_refused_with_its_code() {
    let (mut bench, heard) = asking(&[]);
    heard();
    bench.device.emit(bench.now, "uplink", ask(1, "a", &[("qos", Value::Int(1))]));
    let mut out = Vec::new();
    while bench.device.poll_action(&mut out).is_some() {}
    // PUBACK of packet 1 with 0x87: not authorized [MQTT-3.4.2.1].
    let puback = [0x40, 3, 0, 1, 0x87];
    let conn = bench.live.unwrap();
    bench.device.handle(bench.now, Input::Bytes(conn, &puback, Stamps::One(Stamp::exact(bench.now))));
    let answers = heard();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains("error = \"refused\"") && answers[0].ends_with("code = 135 }"), "{answers:?}");
}

#[test]
fn losing_power_closes_the_connection_and_the_broker_publishes_the_will() {
    let will = table(&[("topic", "state".into()), ("payload", "offline".into()), ("retain", Value::Bool(true))]);
    let mut bench = Bench::on(&[("will", will)], Box::new(NoModel));
    assert!(bench.live.is_some());
    bench.device.power_off(bench.now);
    bench.settle();
    assert_eq!(bench.messages(), ["state offline"]);
    assert!(bench.live.is_none());
    bench.run_for(Duration::from_secs(600));
    assert_eq!(bench.dials.len(), 1, "without power it does not come back");
    bench.device.power_on(bench.now);
    bench.settle();
    assert!(bench.live.is_some());
}

#[test]
fn a_take_over_is_not_fought() {
    let reconnect = table(&[("first", "1s".into()), ("longest", "20s".into())]);
    let mut bench = Bench::on(&[("client_id", "meter".into()), ("reconnect", reconnect)], Box::new(NoModel));
    let now = bench.now;
    assert!(bench.broker.disconnect(now, "meter", How::Fin, Some(0x8e)));
    bench.settle();
    bench.run_for(Duration::from_millis(19_999));
    assert_eq!(bench.dials.len(), 1);
    bench.run_for(Duration::from_secs(11));
    assert_eq!(bench.dials.len(), 2);
}

#[test]
fn habits_disturb_and_unknown_ones_are_named() {
    let settings = [("publish", table(&[("v", Value::from("voltage"))]))];
    let mut bench = Bench::on(&settings, Box::new(NoModel));
    bench.messages();
    bench.device.set_habit("uplink", "twice", &Value::Bool(true)).unwrap();
    bench.set("voltage", 1.0);
    assert_eq!(bench.messages(), ["v 1.0", "v 1.0"]);
    bench.device.set_habit("uplink", "mute", &Value::Bool(true)).unwrap();
    bench.set("voltage", 2.0);
    assert_eq!(bench.messages(), [""; 0]);
    let error = bench.device.set_habit("uplink", "loud", &Value::Bool(true)).unwrap_err().to_string();
    assert!(error.contains("mute, deaf, twice"), "{error}");
}

#[test]
fn an_unknown_point_is_an_event() {
    let settings = [("publish", table(&[("v", Value::from("volts"))]))];
    let bench = Bench::on(&settings, Box::new(NoModel));
    let told = bench.records.iter().find(|record| record.kind == "mqtt.not_published").unwrap();
    assert_eq!(told.field("why"), Some(&Value::from("there is no point `volts`")));
}

#[test]
fn wrong_settings_are_refused_with_key_and_problem() {
    let one = |value: Value| ("publish", table(&[("t", value)]));
    for (setting, key, problem) in [
        (("url", Value::from("127.0.0.1")), "url", "no URL of a broker"),
        (("url", Value::from("mqtts://x")), "url", "TLS is not supported yet"),
        (("keep_alive", Value::from("1500ms")), "keep_alive", "whole number of seconds"),
        (("keep_alive", Value::Int(5)), "keep_alive", "is no text"),
        (("publish", table(&[("a/+", "voltage".into())])), "publish.a/+", "without wildcards [MQTT-3.3.2-2]"),
        (one(table(&[("pint", "voltage".into())])), "publish.t.pint", "unknown key `pint`"),
        (one(table(&[("period", "1s".into())])), "publish.t", "`point` or `points` is missing"),
        (one(table(&[("point", "v".into()), ("period", "0s".into())])), "publish.t.period", "a period of 0"),
        (one(table(&[("point", "v".into()), ("qos", Value::Int(2))])), "publish.t.qos", "QoS 2 is not supported yet"),
        (("commands", Value::List(vec!["a/#/b".into()])), "commands", "[MQTT-4.7.1-1]"),
        (("will", table(&[("payload", "x".into())])), "will", "`topic` is missing"),
        (("password", Value::from("x")), "password", "without a user name"),
        (("seed", Value::Int(-1)), "seed", "no whole number from 0"),
    ] {
        // The last one of two equal keys is never looked at: put the one under test first.
        let all = [(setting.0.to_owned(), setting.1.clone()), ("url".to_owned(), Value::from("mqtt://h"))];
        let error = (V311.constructor(Role::Device).unwrap().build)("uplink", &all).err().unwrap();
        assert_eq!(error.key, key);
        assert!(error.problem.contains(problem), "{}", error.problem);
    }
}
