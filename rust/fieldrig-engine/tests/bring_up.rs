//! A bench from its file to running devices, with a protocol that the engine has never heard of: gossip, a broker that
//! sends whatever it receives to everybody.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fieldrig_engine::bench::{self, DeviceLink, Model, Profiles, Reached};
use fieldrig_engine::{Binding, Node, PortSpec, Rig, RigOptions};
use fieldrig_proto::device::{Emission, Face, Heard, PointStore};
use fieldrig_proto::dissect::{Dissection, Sender};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input, Target};
use fieldrig_proto::line::CONSOLE;
use fieldrig_proto::line::stream::Stream;
use fieldrig_proto::protocol::{BenchKey, Built, Constructor, Protocol, Role, SettingError, Settings, setting};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Duration, Time};
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

// ---- gossip ----------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct GossipBroker {
    conns: BTreeSet<Conn>,
    waiting: VecDeque<(Conn, Vec<u8>)>,
}

impl Endpoint for GossipBroker {
    type Event = Record;
    fn handle(&mut self, _: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) => drop(self.conns.insert(conn)),
            Input::Closed(conn, _) => drop(self.conns.remove(&conn)),
            Input::Bytes(_, bytes, _) => self.waiting.extend(self.conns.iter().map(|conn| (*conn, bytes.to_vec()))),
            _ => {}
        }
    }
    fn handle_timeout(&mut self, _: Time) {}
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        send(&mut self.waiting, out)
    }
    fn poll_event(&mut self) -> Option<Record> {
        None
    }
}

fn send(waiting: &mut VecDeque<(Conn, Vec<u8>)>, out: &mut Vec<u8>) -> Option<Action> {
    let (conn, bytes) = waiting.pop_front()?;
    let start = out.len();
    out.extend(bytes);
    Some(Action::send(conn, start..out.len()))
}

struct GossipFace {
    name: String,
    url: String,
    connect: bool,
    conn: Option<Conn>,
    waiting: VecDeque<(Conn, Vec<u8>)>,
}

impl Face for GossipFace {
    fn name(&self) -> &str {
        &self.name
    }
    fn handle(&mut self, _: Time, input: Input<'_>, _: &mut PointStore) {
        if let Input::Opened(conn, _) = input {
            self.conn = Some(conn);
            self.waiting.push_back((conn, b"joined\n".to_vec()));
        }
    }
    fn handle_timeout(&mut self, _: Time, _: &mut PointStore) {}
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn store_changed(&mut self, _: Time, _: &PointStore) {}
    fn emit(&mut self, _: Time, emission: &Emission) {
        if let (Emission::Publish { topic, payload, .. }, Some(conn)) = (emission, self.conn) {
            self.waiting.push_back((conn, [topic.as_bytes(), b" ", payload, b"\n"].concat()));
        }
    }
    fn poll_heard(&mut self) -> Option<Heard> {
        None
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if std::mem::take(&mut self.connect) {
            return Some(Action::Connect(Target { via: self.name.clone(), url: self.url.clone() }));
        }
        send(&mut self.waiting, out)
    }
    fn poll_event(&mut self) -> Option<Record> {
        None
    }
    fn power(&mut self, _: Time, on: bool, _: &PointStore) {
        self.connect = on;
        self.conn = None;
    }
    fn set_habit(&mut self, name: &str, _: &Value) -> Result<(), String> {
        Err(format!("gossip has no habit `{name}`"))
    }
}

fn face(name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let url = setting(settings, "url").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (connect, conn, waiting) = Default::default();
    Ok(Built::Face(Box::new(GossipFace { name: name.to_owned(), url, connect, conn, waiting })))
}

fn broker(_: &str, _: &Settings) -> Result<Built, SettingError> {
    Ok(Built::Endpoint(Box::new(GossipBroker::default())))
}

static GOSSIP: Protocol = Protocol {
    name: "gossip",
    schemes: &["gossip"],
    dissect: &|_, _| Dissection::new("gossip"),
    message_length: &|bytes, _| bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
    unasked: false,
    half_duplex: false,
    capture_tag: "data",
    constructors: &[
        Constructor {
            role: Role::Device,
            keys: &[BenchKey { name: "url", what: "where the broker is", required: true }],
            inner: &[],
            build: &face,
        },
        Constructor { role: Role::Broker, keys: &[], inner: &[], build: &broker },
    ],
};

// ---- the bench -------------------------------------------------------------------------------------------------------

const BENCH: &str = r#"
[bench]
name = "rack"
[link.console]
protocol = "console"
line = "115200 8N1"
[link.service]
protocol = "console"
[link.uplink]
protocol = "gossip"
base = "site/a"
[dut.meter]
model = "meter.toml"
links = { console = {}, service = { face = "console2" }, uplink = "client" }
[dut.later]
links = { console = {} }
"#;

const MODEL: &str = r#"
[model]
name = "meter"
[points.setpoint]
kind = "float"
range = [0, 100]
[boot]
face = "console"
lines = ["boot ok v1.4"]
[[rule]]
when = "setpoint > 80"
publish = { topic = "{base}/alarm", payload = "{setpoint:.1}" }
[[command]]
match = 'set (?P<value>\S+)'
set = { setpoint = "{value}" }
reply = "OK {value}"
error = "ERR"
"#;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fieldrig-bring-up-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("bench.toml"), BENCH).unwrap();
        std::fs::write(path.join("meter.toml"), MODEL).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(rig: &Rig, url: &str) -> Node<Stream> {
    let port = PortSpec::parse(&url.replace("gossip://", "tcp://")).unwrap();
    let binding = Binding { via: "test".to_owned(), port, protocol: None, we_are: Sender::Client };
    rig.open("tester", Stream::new(), vec![binding]).unwrap()
}

fn say(node: &Node<Stream>, text: &str) {
    node.with(|stream, now| stream.send(now, text.as_bytes())).unwrap().0.unwrap();
}

/// Waits until the text has arrived.
fn hear(rig: &Rig, node: &Node<Stream>, text: &str) {
    let has = |stream: &mut Stream, _: &mut VecDeque<_>, _| {
        let heard = stream.read(0, usize::MAX).unwrap();
        heard.windows(text.len()).any(|window| window == text.as_bytes()).then_some(())
    };
    let heard = node.wait(rig.now() + Duration::from_secs(20), has, &mut || true).unwrap();
    let all = node.with(|stream, _| String::from_utf8_lossy(&stream.read(0, usize::MAX).unwrap()).into_owned());
    assert!(heard.is_some(), "`{text}` was not heard, but {:?}", all.unwrap().0);
}

#[test]
fn a_bench_file_becomes_a_device_with_three_faces() {
    let folder = Folder::new("whole");
    let plan = bench::load(
        &folder.0.join("bench.toml"),
        &Profiles::default(),
        &|_| None,
        &[&CONSOLE, &GOSSIP],
        &bench::TomlOnly,
    )
    .unwrap();
    let rig = Rig::start(RigOptions { folder: Some(folder.0.clone()), ..RigOptions::default() }).unwrap();
    let running = bench::bring_up(&rig, &plan, &mut || true).unwrap();
    let url = |link: &str| running.resolve("meter", link).unwrap().url.clone();
    assert!(url("console").starts_with("serial:///dev/pts/") && url("console").ends_with("?line=115200+8N1"));
    assert!(url("service").starts_with("tcp://127.0.0.1:"));
    assert!(url("uplink").starts_with("gossip://127.0.0.1:"));
    assert_eq!(running.resolve("meter", "uplink").unwrap().base.as_deref(), Some("site/a"));
    assert!(running.resolve("later", "console").is_none(), "a DUT without a model is not run");

    let (console, uplink) = (open(&rig, &url("console")), open(&rig, &url("uplink")));
    say(&uplink, "hello\n");
    hear(&rig, &uplink, "hello\n");
    let meter = running.device("meter").unwrap();
    meter.with(|device, now| device.power_on(now)).unwrap();
    hear(&rig, &console, "boot ok v1.4");
    hear(&rig, &uplink, "joined\n");
    let service = open(&rig, &url("service"));
    say(&service, "set 85\n");
    hear(&rig, &service, "OK 85");
    hear(&rig, &uplink, "site/a/alarm 85.0\n");
    let setpoint = meter.with(|device, _| device.get("setpoint").cloned()).unwrap().0;
    assert_eq!(setpoint, Some(Value::Float(85.0)), "one store behind all faces");

    rig.stop();
    let entries = fieldrig_engine::trace::read(&folder.0.join("trace.pcapng")).unwrap();
    let alarm = entries.iter().find(|entry| entry.link == "meter/uplink" && entry.bytes.starts_with(b"site/a/alarm"));
    assert_eq!(alarm.map(|entry| entry.protocol.as_str()), Some("gossip"));
}

#[test]
fn a_model_can_be_emulated_without_a_bench() {
    let folder = Folder::new("single");
    let model = Model::load(&folder.0.join("meter.toml"), &|_| None).unwrap();
    let rig = Rig::start(RigOptions::default()).unwrap();
    let mut console = DeviceLink::new("console", &CONSOLE, Reached::Loopback);
    console.base = Some("x".to_owned());
    let node = bench::emulate(&rig, "meter", &model, &[console]).unwrap();
    node.with(|device, now| device.power_on(now)).unwrap();
    let tester = open(&rig, &format!("tcp://{}", node.address("console").unwrap()));
    say(&tester, "set 101\nset 7\n");
    hear(&rig, &tester, "ERR");
    hear(&rig, &tester, "OK 7");
    rig.stop();
}

#[test]
fn a_broker_port_that_is_taken_is_told_and_nothing_stays_open() {
    let folder = Folder::new("taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bench = BENCH.replace("base =", &format!("emulated = {{ listen = \"{address}\" }}\nbase ="));
    std::fs::write(folder.0.join("bench.toml"), bench).unwrap();
    let plan = bench::load(
        &folder.0.join("bench.toml"),
        &Profiles::default(),
        &|_| None,
        &[&CONSOLE, &GOSSIP],
        &bench::TomlOnly,
    )
    .unwrap();
    let rig = Rig::start(RigOptions::default()).unwrap();
    let Err(error) = bench::bring_up(&rig, &plan, &mut || true) else { panic!("the port is taken") };
    let text = error.to_string();
    assert!(text.starts_with("the embedded broker of link `uplink`: tcp-listen://127.0.0.1:"), "{text}");
    rig.stop();
}
