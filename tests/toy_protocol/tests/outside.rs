//! A protocol that the engine has never heard of runs on it as it is.

use fieldrig_engine::bench::{self, Profiles};
use fieldrig_engine::trace::Level;
use fieldrig_engine::{Binding, Node, PortSpec, Rig, RigOptions};
use fieldrig_proto::device::{Access, Device, NoModel, PointDefinition, PointKind, PointStore};
use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::Duration;
use std::path::PathBuf;
use toy_protocol::{Answer, Asker, TOY, ToyFace};

const LONG: Duration = Duration::from_secs(20);

fn binding(url: &str, we_are: Sender) -> Binding {
    Binding { via: "toy".to_owned(), port: PortSpec::parse(url).expect("a URL"), protocol: Some(&TOY), we_are }
}

fn meter() -> Device {
    let voltage = PointDefinition {
        name: "voltage".to_owned(),
        kind: PointKind::Float,
        unit: "V".to_owned(),
        initial: Value::Float(230.4),
        range: None,
        access: Access::Read,
    };
    let face = ToyFace::new("toy", "hello");
    Device::new("meter", PointStore::new(vec![voltage]), Box::new(NoModel), vec![Box::new(face)])
}

fn next(node: &Node<Asker>, rig: &Rig) -> Answer {
    let found = node.wait(rig.now() + LONG, |_, events, _| events.pop_front(), &mut || true);
    found.expect("the node works").expect("an answer")
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fieldrig-toy-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a temporary folder");
    path
}

#[test]
fn an_emulated_device_answers_and_its_frames_are_captured() {
    let folder = folder("device");
    let options = RigOptions { folder: Some(folder.clone()), level: Level::Full, ..RigOptions::default() };
    let rig = Rig::start(options).expect("a rig");
    let device =
        rig.open("meter", meter(), vec![binding("tcp-listen://127.0.0.1:0", Sender::Server)]).expect("listens");
    device.with(|device, now| device.power_on(now)).expect("the device works");
    let address = device.address("toy").expect("an address");
    let asker = binding(&format!("tcp://{address}"), Sender::Client);
    let client = rig.open("tester", Asker::default(), vec![asker]).expect("connects");

    assert_eq!(next(&client, &rig).text, "hello");
    client.with(|asker, _| ["voltage", "current"].map(|point| asker.ask(point))).expect("the client works");
    assert_eq!(next(&client, &rig).text, "=230.4");
    assert_eq!(next(&client, &rig).text, "!no such point");

    rig.stop();
    let trace = std::fs::read_dir(&folder).expect("the folder").filter_map(Result::ok).map(|entry| entry.path());
    let trace = trace.into_iter().find(|path| path.extension().is_some_and(|end| end == "pcapng")).expect("a capture");
    let entries = fieldrig_engine::trace::read(&trace).expect("a capture that can be read");
    let sent = |text: &str| {
        let mut message = Vec::new();
        toy_protocol::frame::write(text, &mut message);
        entries.iter().filter(|entry| entry.bytes == message && entry.direction == Direction::Out).count()
    };
    assert_eq!((sent("?voltage"), sent("?current"), sent("=230.4")), (1, 1, 1), "each message once, cut where it ends");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[test]
fn a_bench_file_names_it_and_its_mistakes_have_places() {
    let file = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench").join(name);
    let plan = bench::load(&file("bench.toml"), &Profiles::default(), &|_| None, &[&TOY], &bench::TomlOnly).expect("a good bench");
    let rig = Rig::start(RigOptions::default()).expect("a rig");
    let running = bench::bring_up(&rig, &plan, &mut || true).expect("the bench comes up");
    running.device("meter").expect("the meter").with(|device, now| device.power_on(now)).expect("the device works");
    let url = &running.resolve("meter", "toy").expect("the link").url;
    let client = rig.open("tester", Asker::default(), vec![binding(url, Sender::Client)]).expect("connects");
    assert_eq!(next(&client, &rig).text, "hello");
    rig.stop();

    let error = bench::load(&file("bench.toml"), &Profiles::default(), &|_| None, &[], &bench::TomlOnly).expect_err("nobody knows it");
    assert!(error.to_string().contains("bench.toml:5:12"), "{error}");
}
