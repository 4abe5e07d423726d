//! What bench and model files mean, and every mistake in `fixtures/bench-errors` with its exact message.

use super::*;
use crate::trace::tests::Folder;
use fieldrig_proto::line::CONSOLE;
use fieldrig_proto::record::Value;
use fieldrig_proto::{modbus, mqtt};
use std::path::{Path, PathBuf};

static PROTOCOLS: [&Protocol; 8] =
    [&modbus::TCP, &modbus::TLS, &modbus::UDP, &modbus::RTU, &modbus::ASCII, &mqtt::V311, &mqtt::V5, &CONSOLE];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The message of the mistake in a folder, with paths relative to it.
fn mistake(folder: &Path) -> String {
    let words = std::fs::read_to_string(folder.join("profile.txt")).unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    let profiles = Profiles::parse(&words).unwrap();
    match load(&folder.join("bench.toml"), &profiles, &|_| None, &PROTOCOLS, &Programs) {
        Ok(_) => "no mistake was found".to_owned(),
        Err(error) => error.to_string().replace(&format!("{}/", folder.display()), ""),
    }
}

#[test]
fn every_mistake_of_the_corpus_is_told_with_its_place() {
    let corpus = fixtures().join("bench-errors");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    assert!(folders.len() >= 116, "the corpus is not complete: {} cases", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap_or_default();
        let told = mistake(&folder);
        if told != expected.trim_end() {
            wrong.push(format!("{}\n  expected {expected}  told     {told}\n", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// A folder with these files; they are gone when it is dropped.
fn folder(name: &str, files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(name);
    std::fs::create_dir_all(&folder.0).unwrap();
    for (name, text) in files {
        std::fs::write(folder.0.join(name), text).unwrap();
    }
    folder
}

const MODEL: &str =
    "[model]\nname = 'm'\n[points.v]\nkind = 'int'\n[face.bus.map]\nv = { table = 'input', address = 1 }\n";

const BENCH: &str = r#"
[bench]
name = "rack"
[link.bus]
protocol = "modbus-rtu"
line = "9600 8E1"
real = { port = "/dev/ttyS7", belongs_to = "bench" }
[link.net]
protocol = "modbus-rtu"
real = { port = "tcp://10.0.0.5:502" }
[link.uplink]
protocol = "mqtt5"
base = "site/${SITE}"
real = { broker = "mqtt://10.0.0.9:1883", username = "bench", password = "${PASSWORD}" }
[dut.meter]
model = "m.toml"
unit = 7
tags = ["meter", "a"]
links = { bus = "devices", uplink = "client" }
power = { command = "relay {action} 7", settle = "3s", safe = "on" }
[dut.gateway]
links = { net = { face = "bus", unit = 3, belongs_to = "dut" } }
"#;

fn plan(folder: &Folder, profiles: &[&str]) -> Result<Plan, BenchFileError> {
    let environment = |name: &str| match name {
        "SITE" => Some("north".to_owned()),
        "PASSWORD" => Some("secret".to_owned()),
        _ => None,
    };
    load(&folder.0.join("bench.toml"), &Profiles::parse(profiles).unwrap(), &environment, &PROTOCOLS, &TomlOnly)
}

fn reached(plan: &Plan, device: &str) -> Vec<Reached> {
    plan.device(device).unwrap().links.iter().map(|link| link.reached.clone()).collect()
}

#[test]
fn an_emulated_bench_has_ptys_and_an_embedded_broker() {
    let folder = folder("plan-emulated", &[("bench.toml", BENCH), ("m.toml", MODEL)]);
    let plan = plan(&folder, &[]).unwrap();
    assert_eq!(reached(&plan, "meter"), [Reached::Pty, Reached::EmbeddedBroker]);
    let meter = plan.device("meter").unwrap();
    assert_eq!((meter.profile, meter.links[0].unit, meter.is_emulated()), (Profile::Emulated, Some(7), true));
    assert_eq!(meter.links[1].base.as_deref(), Some("site/north"));
    assert_eq!(
        (meter.tags.as_slice(), meter.life.power.as_ref().unwrap().entry("settle")),
        (&["meter".to_owned(), "a".to_owned()][..], Some(&Value::from("3s")))
    );
    let gateway = plan.device("gateway").unwrap();
    assert_eq!((gateway.not_run.as_deref(), gateway.is_emulated()), (Some("it has no model"), false));
    let broker = plan.link("uplink").unwrap().broker.clone().unwrap();
    assert_eq!((broker.listen.as_str(), broker.settings.len()), ("tcp-listen://127.0.0.1:0", 0));
    assert_eq!(plan.duts().count(), 2);
}

#[test]
fn a_real_bench_has_the_ports_of_the_file() {
    let folder = folder("plan-real", &[("bench.toml", BENCH), ("m.toml", MODEL)]);
    let plan = plan(&folder, &["real"]).unwrap();
    let serial = Reached::Port("serial:///dev/ttyS7?line=9600+8E1".to_owned());
    assert_eq!(reached(&plan, "meter"), [serial, Reached::Broker("mqtt://10.0.0.9:1883".to_owned())]);
    assert_eq!(reached(&plan, "gateway"), [Reached::Port("tcp://10.0.0.5:502".to_owned())]);
    let net = &plan.device("gateway").unwrap().links[0];
    assert_eq!((net.belongs_to, net.unit, net.face.as_str()), (Owner::Dut, Some(3), "bus"));
    let meter = plan.device("meter").unwrap();
    assert_eq!(meter.links[1].password.as_deref(), Some("secret"));
    let map = meter.face_settings("bus").unwrap();
    assert!(map.entry("map").and_then(|map| map.entry("v")).is_some(), "one model drives a real DUT by name too");
}

#[test]
fn profiles_can_be_mixed_and_a_link_is_real_with_one_real_device() {
    let folder = folder("plan-mixed", &[("bench.toml", BENCH), ("m.toml", MODEL)]);
    let plan = plan(&folder, &["gateway=real"]).unwrap();
    assert_eq!((plan.link("net").unwrap().real, plan.link("bus").unwrap().real), (true, false));
    assert_eq!(reached(&plan, "meter")[0], Reached::Pty);
    assert_eq!(plan.device("gateway").unwrap().profile, Profile::Real);
}

#[test]
fn later_choices_of_a_profile_win() {
    let profiles = Profiles::parse(&["real,meter=emulated", "meter=real"]).unwrap();
    let folder = folder("plan-later", &[("bench.toml", BENCH), ("m.toml", MODEL)]);
    let plan = load(&folder.0.join("bench.toml"), &profiles, &|_| Some("x".to_owned()), &PROTOCOLS, &TomlOnly).unwrap();
    assert!(plan.devices.iter().all(|device| device.profile == Profile::Real));
    let error = Profiles::parse(&["meter=replay"]).unwrap_err();
    assert_eq!(error.to_string(), "the profile `replay` is not there yet");
    let error = Profiles::parse(&["reel"]).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `real`?"));
}

#[test]
fn the_local_file_is_laid_over_the_bench_file() {
    let local = "[link.bus]\nreal = { port = '/dev/ttyS1' }\n[bench]\nprofile = 'real'\n";
    let folder = folder("plan-local", &[("bench.toml", BENCH), ("m.toml", MODEL), ("bench.local.toml", local)]);
    let plan = plan(&folder, &[]).unwrap();
    assert_eq!(reached(&plan, "meter")[0], Reached::Port("serial:///dev/ttyS1?line=9600+8E1".to_owned()));
    assert_eq!(plan.device("meter").unwrap().links[0].belongs_to, Owner::Bench);
}

#[test]
fn a_bench_file_that_is_not_there_is_told_plainly() {
    let folder = folder("plan-none", &[]);
    let error = plan(&folder, &[]).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (0, "there is no such file"));
}

/// Stands for an interpreter: every model is there, and none does anything.
struct Programs;

impl ModelLoader for Programs {
    fn load(&self, _: &Path, class: &str, settings: &Value) -> Result<LoadedModel, ModelProblem> {
        if class == "Broken" {
            return Err(ModelProblem { message: format!("no `{class}` there"), hint: Some("try another".to_owned()) });
        }
        let table = |entries: &[(&str, Value)]| {
            Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        let points = match settings.entry("point") {
            Some(point) => table(&[(point.as_str().unwrap_or_default(), table(&[("kind", "int".into())]))]),
            None => table(&[]),
        };
        let definition = table(&[("model", table(&[("name", class.into())])), ("points", points)]);
        Ok(LoadedModel { definition, make: std::sync::Arc::new(|_| Box::new(fieldrig_proto::device::NoModel)) })
    }
}

fn bench_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The bench of `toy_protocol` has a protocol from outside and is loaded there.
        let skipped = ["target", "bench-errors", "toy_protocol"].contains(&&*name) || name.starts_with('.');
        if path.is_dir() && !skipped {
            bench_files(&path, found);
        } else if name == "bench.toml" {
            found.push(path);
        }
    }
}

#[test]
fn every_bench_file_of_this_repository_can_be_loaded() {
    let root = fixtures().join("..");
    let mut found = Vec::new();
    for folder in ["tests", "examples", "python", "fixtures"] {
        bench_files(&root.join(folder), &mut found);
    }
    assert!(!found.is_empty());
    for path in found {
        // The variables of fieldrig itself have defaults, or are made by it; those of users get a value.
        let environment = |name: &str| match name.starts_with("FIELDRIG_") {
            true => variable(name),
            false => Some(name.to_lowercase()),
        };
        let loaded = load(&path, &Profiles::default(), &environment, &PROTOCOLS, &Programs);
        assert!(loaded.is_ok(), "{}", loaded.err().map(|error| error.to_string()).unwrap_or_default());
    }
}

#[test]
fn a_peer_answers_on_the_real_wire_and_a_dut_may_have_a_port_of_its_own() {
    let bench = r#"
[bench]
name = "gateway"
profile = "real"
[link.bus]
protocol = "modbus-rtu"
line = "9600 8E1"
role = "devices"
real = { port = "/dev/ttyUSB0" }
[link.uplink]
protocol = "mqtt5"
emulated = { server_keep_alive = 5 }
real = { broker = "embedded", listen = "127.0.0.1:18830", server_keep_alive = 7 }
[dut.gateway]
links = { bus = "client", uplink = "client", console = { port = "/dev/ttyACM0", line = "115200 8N1", belongs_to = "dut" } }
[peer.meter]
model = "m.toml"
link = "bus"
unit = 2
"#;
    let folder = folder("plan-peer", &[("bench.toml", bench), ("m.toml", MODEL)]);
    let plan = plan(&folder, &[]).unwrap();
    assert_eq!(reached(&plan, "meter"), [Reached::Wire("bus".to_owned())]);
    let joined = Some("serial:///dev/ttyUSB0?line=9600+8E1".to_owned());
    assert_eq!(
        plan.link("bus").unwrap().wires,
        [WirePlan { name: "bus".to_owned(), pace: None, real: joined, nature: WireNature::default() }]
    );
    let meter = plan.device("meter").unwrap();
    assert_eq!((meter.judged, meter.is_emulated(), meter.links[0].unit), (false, true, Some(2)));
    let console = &plan.device("gateway").unwrap().links[2];
    assert_eq!(console.reached, Reached::Port("serial:///dev/ttyACM0?line=115200+8N1".to_owned()));
    assert_eq!((console.belongs_to, console.protocol.name), (Owner::Dut, "console"));
    let broker = plan.link("uplink").unwrap().broker.clone().unwrap();
    assert_eq!(broker.listen, "tcp-listen://127.0.0.1:18830");
    assert_eq!(broker.settings, [("server_keep_alive".to_owned(), Value::Int(7))]);
    assert_eq!(plan.link("bus").unwrap().role, LinkRole::Devices);
}

proptest::proptest! {
    /// Whatever a file holds: it is read, or the error stands at a place within it.
    #[test]
    fn no_text_is_feared(at in 0usize..900, cut in 0usize..40, put in "[\\[\\]{}=\"'$#.a-z0-9\n -]{0,12}") {
        for whole in [BENCH, MODEL] {
            let whole: Vec<char> = whole.chars().collect();
            let at = at % whole.len();
            let rest = &whole[(at + cut).min(whole.len())..];
            let text: String = whole[..at].iter().copied().chain(put.chars()).chain(rest.iter().copied()).collect();
            let name: std::sync::Arc<str> = std::sync::Arc::from("f");
            let lines = text.matches('\n').count() as u32 + 1;
            let tree = tree::parse(&name, &text, &|_| None);
            let errors = [
                tree.clone().and_then(|tree| file::read(&tree, &PROTOCOLS).map(drop)).err(),
                tree.and_then(|tree| model::Model::read(tree).map(drop)).err(),
            ];
            for error in errors.into_iter().flatten() {
                proptest::prop_assert!((1..=lines).contains(&error.line), "{error}");
            }
        }
    }
}

// ---- shared links ----------------------------------------------------------------------------------------------------

fn rack2(profiles: &[&str], environment: Environment<'_>) -> Result<Plan, BenchFileError> {
    let file = fixtures().join("benches/rack2/bench.toml");
    load(&file, &Profiles::parse(profiles).unwrap(), environment, &PROTOCOLS, &Programs)
}

#[test]
fn meters_on_one_wire_are_in_memory_and_the_gateway_asks_them() {
    let plan = rack2(&[], &|name| (name == "BENCH_SITE").then(|| "north".to_owned())).unwrap();
    let bus = plan.link("bus485").unwrap();
    let pace = "9600 8E1".parse().ok();
    assert_eq!(bus.wires, [WirePlan { name: "bus485".to_owned(), pace, real: None, nature: WireNature::default() }]);
    assert_eq!((bus.role, bus.real, plan.real_ports()), (LinkRole::Devices, false, vec![]));
    let on_bus = Reached::Wire("bus485".to_owned());
    for meter in ["meter1", "meter2", "meter3"] {
        assert_eq!(reached(&plan, meter), std::slice::from_ref(&on_bus));
    }
    assert_eq!(reached(&plan, "gateway"), [on_bus, Reached::EmbeddedBroker, Reached::Pty]);
    let gateway = plan.device("gateway").unwrap();
    assert_eq!(gateway.links.iter().map(|used| used.tested).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(gateway.links[0].role, UseRole::Client);
    assert_eq!(gateway.life.identity[0].1.entry("kind"), Some(&Value::from("console")));
    assert_eq!(gateway.life.prepare.as_ref().unwrap().entry("timeout"), Some(&Value::from("5min")));
}

#[test]
fn a_real_gateway_finds_emulated_meters_on_the_real_wire() {
    let set = |name: &str| Some(name.to_lowercase());
    let plan = rack2(&["gateway=real"], &set).unwrap();
    let bus = plan.link("bus485").unwrap();
    let port = "serial://usb:0403:6001:FT4XK2?line=9600+8E1".to_owned();
    assert_eq!(
        bus.wires,
        [WirePlan { name: "bus485".to_owned(), pace: None, real: Some(port.clone()), nature: WireNature::default() }]
    );
    assert_eq!(plan.real_ports(), [port.as_str(), "serial://usb:10C4:EA60:0042?line=115200+8N1"]);
    assert_eq!(reached(&plan, "gateway")[1], Reached::Broker("mqtts://broker.example:8883".to_owned()));
    let refused = plan.link("uplink").unwrap().refused.clone().unwrap();
    assert!(refused.message.starts_with("TLS is not there yet"), "{refused}");
    let ca = plan.link("uplink").unwrap().ca.clone().unwrap();
    assert!(ca.path.ends_with("rack2/ca.pem") && ca.place.line == 17, "{ca:?}");
    assert_eq!(plan.secrets, ["broker_password"]);
}

#[test]
fn variables_of_real_links_are_needed_only_with_a_real_device() {
    let only_site = |name: &str| (name == "BENCH_SITE").then(|| "north".to_owned());
    assert!(rack2(&[], &only_site).is_ok());
    let error = rack2(&["gateway=real"], &only_site).unwrap_err();
    assert_eq!(error.message, "the environment variable `BROKER_PASSWORD` is not set");
}

#[test]
fn everything_is_in_memory_on_virtual_time() {
    let text = BENCH.replace("name = \"rack\"", "name = \"rack\"\nclock = \"virtual\"\nlock_wait = \"5s\"");
    let folder = folder("plan-virtual", &[("bench.toml", &text), ("m.toml", MODEL)]);
    let plan = plan(&folder, &[]).unwrap();
    assert_eq!(reached(&plan, "meter"), [Reached::Wire("bus".to_owned()), Reached::EmbeddedBroker]);
    let broker = plan.link("uplink").unwrap().broker.clone().unwrap();
    assert_eq!((&*broker.listen, &*broker.private), ("memory-listen://uplink", "memory-listen://uplink.tester"));
    assert_eq!((plan.clock, plan.lock_wait.as_secs()), (crate::ClockKind::Virtual, 5));
}

#[test]
fn two_devices_may_have_a_console_each_under_one_name() {
    let bench = r#"
[bench]
name = "two"
[dut.a]
model = "m.toml"
links = { console = { line = "9600 8N1" }, service = { protocol = "console", line = "9600 8N1" } }
[dut.b]
model = "m.toml"
links = { console = { line = "115200 8N1" } }
"#;
    let folder = folder("plan-private", &[("bench.toml", bench), ("m.toml", MODEL)]);
    let plan = plan(&folder, &[]).unwrap();
    assert_eq!(reached(&plan, "a"), [Reached::Pty, Reached::Pty]);
    assert_eq!(plan.link_of("b", "console").unwrap().line.unwrap().to_string(), "115200 8N1");
    assert!(plan.link("console").is_none(), "it is no link of the bench");
}

#[test]
fn a_proxy_has_two_wires_or_one_listener() {
    let bench = r#"
[bench]
name = "between"
[link.bus]
protocol = "modbus-rtu"
line = "9600 8E1"
role = "proxy"
real = { port = "/dev/ttyS1", other = "/dev/ttyS2" }
[link.net]
protocol = "modbus-tcp"
role = "proxy"
emulated = { listen = "127.0.0.1:1502" }
[dut.master]
model = "m.py:Master"
links = { bus = "client", net = "client" }
[peer.slave]
model = "m.toml"
unit = 1
links = { bus = {}, net = { face = "bus" } }
"#;
    let folder = folder("plan-proxy", &[("bench.toml", bench), ("m.toml", MODEL), ("m.py", "")]);
    let load = |profiles: &[&str]| {
        let profiles = Profiles::parse(profiles).unwrap();
        load(&folder.0.join("bench.toml"), &profiles, &|_| None, &PROTOCOLS, &Programs).unwrap()
    };
    let plan = load(&[]);
    assert_eq!(reached(&plan, "slave"), [Reached::Wire("bus".to_owned()), Reached::Loopback]);
    assert_eq!(reached(&plan, "master"), [Reached::Wire("bus.other".to_owned()), Reached::Asks(Whom::Proxy)]);
    let proxy = plan.link("net").unwrap().proxy.clone().unwrap();
    let to = Whom::Device("slave".to_owned());
    assert_eq!(proxy, ProxyPlan { listen: "tcp-listen://127.0.0.1:1502".to_owned(), to });
    let wires = load(&["real"]).link("bus").unwrap().wires.clone();
    let real: Vec<_> = wires.iter().map(|wire| wire.real.as_deref()).collect();
    assert_eq!(real, [None, Some("serial:///dev/ttyS2?line=9600+8E1")], "only the master is real");
}

#[test]
fn what_is_done_to_a_serial_port_when_it_is_opened_stands_in_its_url() {
    let bench = |options: &str, port: &str| {
        format!(
            "[bench]\nname = \"rack\"\nprofile = \"real\"\n\
             [link.bus]\nprotocol = \"modbus-rtu\"\nline = \"9600 8M1\"\nreal = {{ port = \"{port}\", {options} }}\n\
             [dut.meter]\nunit = 1\nlinks = {{ bus = \"devices\" }}\n"
        )
    };
    let url = |options: &str, port: &str| {
        let folder = folder("plan-options", &[("bench.toml", &bench(options, port))]);
        let plan = load(&folder.0.join("bench.toml"), &Profiles::default(), &|_| None, &PROTOCOLS, &Programs);
        plan.map(|plan| plan.real_ports().concat())
    };
    let rs485 =
        r#"dtr = "off", rts = "keep", low_latency = "on", rs485 = { rts = "low", before = "1ms", echo = true }"#;
    assert_eq!(
        url(rs485, "usb:1-4.2").as_deref(),
        Ok("serial://usb:1-4.2?line=9600+8M1&dtr=off&rts=keep&low_latency=on&rs485=on&rs485_rts=low\
            &rs485_before=1000us&rs485_echo=on")
    );
    let lines = url(r#"dtr = "off", rts = "on""#, "rfc2217://h:1");
    assert_eq!(lines.as_deref(), Ok("rfc2217://h:1?line=9600+8M1&dtr=off&rts=on"));
    let said = |options: &str, port: &str| url(options, port).map_err(|error| error.message).expect_err("refused");
    assert_eq!(said(r#"dtr = "off""#, "tcp://h:502"), "`tcp://h:502` is no serial port, and has no dtr");
    assert!(said(r#"rs485 = { before = "1500us" }"#, "/dev/ttyS1").contains("whole milliseconds"));
    assert!(said(r#"dtr = "off""#, "serial:///dev/ttyS1?dtr=on").contains("`dtr` is there twice"));
}

#[test]
fn who_is_no_device_of_the_bench_is_found_at_the_other_end_of_a_proxy() {
    let bench = r#"
[bench]
name = "between"
profile = "real"
[link.bus]
protocol = "modbus-rtu"
line = "9600 8E1"
role = "proxy"
real = { port = "/dev/ttyS1", other = "/dev/ttyS2" }
[dut.device]
unit = 1
links = { bus = "ROLE" }
"#;
    for role in ["devices", "client"] {
        let folder = folder(&format!("plan-stranger-{role}"), &[("bench.toml", &bench.replace("ROLE", role))]);
        let path = folder.0.join("bench.toml");
        let plan = load(&path, &Profiles::default(), &|_| None, &PROTOCOLS, &Programs).unwrap();
        let wires = &plan.link("bus").unwrap().wires;
        let real: Vec<_> = wires.iter().filter_map(|wire| wire.real.as_deref()).collect();
        assert_eq!(real, ["serial:///dev/ttyS1?line=9600+8E1", "serial:///dev/ttyS2?line=9600+8E1"], "{role}");
    }
}

#[test]
fn the_schemas_of_the_package_are_those_of_the_reader() {
    let folder = fixtures().join("../python/fieldrig/schema");
    for (name, schema) in [("bench", bench_schema(&PROTOCOLS)), ("model", model_schema(&PROTOCOLS))] {
        let file = folder.join(format!("{name}.schema.json"));
        if std::env::var_os("FIELDRIG_WRITE_SCHEMA").is_some() {
            std::fs::write(&file, &schema).unwrap();
        }
        let shipped = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(shipped == schema, "{name}.schema.json is old: run this test with FIELDRIG_WRITE_SCHEMA=1");
    }
}
