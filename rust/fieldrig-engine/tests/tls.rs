//! TLS on real sockets and in memory: handshakes, refusals, back-pressure, resumption, files that are wrong.

mod common;

use common::{Event, LONG, Probe, bind, folder, take};
use fieldrig_engine::{ClockKind, EngineError, Node, PortSpec, Rig, RigOptions};
use fieldrig_proto::endpoint::{Conn, How, Why};
use fieldrig_proto::time::Time;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// A works with its own CA, and files in a folder.
struct Works {
    folder: PathBuf,
    ca: Issuer<'static, KeyPair>,
}

impl Works {
    fn new(name: &str) -> Works {
        let folder = folder(&format!("tls-{name}"));
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("the {name} works"));
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.pem"), certificate.pem()).expect("a file");
        let works = Works { folder, ca: Issuer::new(params, key) };
        works.make("device", false);
        works.make("client", false);
        works
    }

    fn make(&self, name: &str, expired: bool) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        std::fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).expect("a file");
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    fn query(&self, who: &str) -> String {
        let at = |file: &str| self.folder.join(file).display().to_string();
        format!("ca={}&cert={}&key={}", at("ca.pem"), at(&format!("{who}.pem")), at(&format!("{who}.key")))
    }

    fn ca(&self) -> String {
        format!("ca={}", self.folder.join("ca.pem").display())
    }
}

fn rig_in(folder: &Path) -> Rig {
    Rig::start(RigOptions { folder: Some(folder.to_owned()), ..RigOptions::default() }).expect("a rig")
}

fn url(text: &str) -> PortSpec {
    PortSpec::parse(text).expect("a port URL")
}

fn device(rig: &Rig, works: &Works, more: &str) -> (Node<Probe>, String) {
    let port = url(&format!("tls-listen://127.0.0.1:0?{}{more}", works.query("device")));
    let node = rig.open("device", Probe::echo(), vec![bind("", port)]).expect("listens");
    let address = node.address("").expect("an address");
    (node, address)
}

fn client(rig: &Rig, address: &str, query: &str) -> Result<Node<Probe>, EngineError> {
    rig.open("client", Probe::default(), vec![bind("", url(&format!("tls://{address}?{query}")))])
}

fn wait_for<R>(node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    let deadline = fieldrig_engine::Clock::Real.now() + LONG;
    let found = node.wait(deadline, |_, events, _| take(events, &mut pick), &mut || true);
    found.expect("the node works").expect("it happens")
}

fn echoed(node: &Node<Probe>, conn: Conn, bytes: &[u8]) -> Vec<u8> {
    node.with(|probe, _| probe.send(conn, bytes)).expect("the node works");
    let mut found = Vec::new();
    while found.len() < bytes.len() {
        found.extend(wait_for(node, |event| match event {
            Event::Bytes(_, bytes, _) => Some(bytes.clone()),
            _ => None,
        }));
    }
    found
}

fn run_log(rig: &Rig, folder: &Path) -> String {
    rig.stop();
    let text = std::fs::read_to_string(folder.join("run.jsonl")).expect("a run log");
    std::fs::remove_dir_all(folder).expect("ours");
    text
}

#[test]
fn both_versions_carry_more_than_any_buffer_holds() {
    let works = Works::new("both");
    for version in ["1.2", "1.3"] {
        let folder = works.folder.join(version);
        let rig = rig_in(&folder);
        let (_device, address) = device(&rig, &works, "");
        let query = format!("{}&min={version}&max={version}", works.query("client"));
        let client = client(&rig, &address, &query).expect("connects");
        let bytes: Vec<u8> = (0..600_000u32).map(|index| (index >> 4) as u8).collect();
        assert!(echoed(&client, Conn(0), &bytes) == bytes, "{version}");
        assert_eq!(echoed(&client, Conn(0), b"and a short one"), b"and a short one");
        let log = run_log(&rig, &folder);
        let secured: Vec<&str> = log.lines().filter(|line| line.contains("connection.secured")).collect();
        assert_eq!(secured.len(), 2, "{log}");
        assert!(secured.iter().all(|line| line.contains(&format!("TLS {version}"))), "{log}");
        assert!(secured.iter().any(|line| line.contains("CN=client")), "the device knows who asks: {log}");
        assert!(secured.iter().any(|line| line.contains("CN=device")), "{log}");
    }
}

#[test]
fn ends_are_those_of_tcp() {
    let works = Works::new("ends");
    let rig = common::rig();
    let (_device, address) = device(&rig, &works, "");
    let client = client(&rig, &address, &works.query("client")).expect("connects");
    assert_eq!(echoed(&client, Conn(0), b"x"), b"x");
    client.with(|probe, _| probe.act(fieldrig_proto::endpoint::Action::Close(Conn(0), How::HalfOpen))).expect("works");
    let why = wait_for(&client, |event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why, Why::Finished, "the device ends its direction when we have ended ours");
    rig.stop();
}

#[test]
fn a_session_is_resumed_and_keeps_who_asks() {
    let works = Works::new("resumed");
    for version in ["1.2", "1.3"] {
        let folder = works.folder.join(version);
        let rig = rig_in(&folder);
        let (_device, address) = device(&rig, &works, "");
        let target = format!("tls://{address}?{}&max={version}&min={version}", works.query("client"));
        let client = rig.open("client", Probe::default(), vec![bind("", PortSpec::OnDemand)]).expect("opens");
        for number in 0..2 {
            client.with(|probe, _| probe.connect("", &target)).expect("works");
            let conn = wait_for(&client, |event| match event {
                Event::Opened(conn, _) => Some(*conn),
                _ => None,
            });
            // Tickets of TLS 1.3 come after the handshake: with the answer at the latest.
            assert_eq!(echoed(&client, conn, b"hello"), b"hello", "connection {number}");
            client.with(|probe, _| probe.act(fieldrig_proto::endpoint::Action::Close(conn, How::Fin))).expect("works");
        }
        let log = run_log(&rig, &folder);
        let of_device = |line: &&str| line.contains("connection.secured") && line.contains("\"node\":\"device\"");
        let secured: Vec<&str> = log.lines().filter(of_device).collect();
        assert_eq!(secured.len(), 2, "{log}");
        assert!(secured[0].contains("\"resumed\":false") && secured[1].contains("\"resumed\":true"), "{log}");
        assert!(secured[1].contains("CN=client"), "the certificate of the first handshake: {log}");
    }
}

#[test]
fn a_client_without_a_certificate_is_told_why_it_is_refused() {
    let works = Works::new("bare");
    let rig = common::rig();
    let (_device, address) = device(&rig, &works, "");
    // TLS 1.2: within the handshake.
    match client(&rig, &address, &format!("{}&max=1.2", works.ca())) {
        Err(EngineError::Port { what, .. }) => {
            assert!(what.starts_with("the other side refused us: alert 116 certificate_required"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    // TLS 1.3: after the client's part of the handshake is done.
    let client = client(&rig, &address, &works.ca()).expect("the handshake is done for the client");
    let why = wait_for(&client, |event| match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    });
    match why {
        Why::Refused { reason, .. } => {
            assert!(reason.contains("refused us: alert 116 certificate_required"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    rig.stop();
}

#[test]
fn a_certificate_that_is_not_believed_is_shown() {
    let (works, others) = (Works::new("own"), Works::new("other"));
    let folder = works.folder.join("run");
    let rig = rig_in(&folder);
    let (_device, address) = device(&rig, &others, "");
    match client(&rig, &address, &works.query("client")) {
        Err(EngineError::Untrusted { what, .. }) => assert_eq!(
            what,
            "we refused its certificate (CN=device; signed by CN=the other works): nobody of our `ca` signed it; \
             alert 48 unknown_ca sent"
        ),
        other => panic!("{other:?}"),
    }
    others.make("old", true);
    let port = url(&format!("tls-listen://127.0.0.1:0?{}&expired=allow", others.query("old")));
    let old = rig.open("old", Probe::echo(), vec![bind("", port)]).expect("listens");
    match client(&rig, &old.address("").expect("an address"), &others.query("client")) {
        Err(EngineError::Untrusted { what, .. }) => {
            assert!(what.contains("(CN=old; signed by CN=the other works): it has expired"), "{what}")
        }
        other => panic!("{other:?}"),
    }
    // The name of the address must stand in the certificate, unless another one is given, or any will do.
    let (_device, address) = device(&rig, &works, "");
    match client(&rig, &address, &format!("{}&name=elsewhere", works.query("client"))) {
        Err(EngineError::Untrusted { what, .. }) => assert!(what.contains("elsewhere"), "{what}"),
        other => panic!("{other:?}"),
    }
    client(&rig, &address, &format!("{}&name=*", works.query("client"))).expect("any name will do");
    let log = run_log(&rig, &folder);
    let told = log.lines().any(|line| line.contains("connection.refused") && line.contains("alert 48 unknown_ca"));
    assert!(told, "the device says who refused it: {log}");
}

#[test]
fn files_that_are_wrong_are_named_before_anything_is_sent() {
    let works = Works::new("files");
    works.make("old", true);
    std::fs::write(works.folder.join("empty.pem"), "").expect("a file");
    let rig = common::rig();
    let (_device, address) = device(&rig, &works, "");
    let at = |name: &str| works.folder.join(name).display().to_string();
    for (query, problem, remedy) in [
        (format!("ca={}", at("gone.pem")), "gone.pem` (ca) cannot be read: No such file", "is the path right?"),
        (format!("ca={}", at("empty.pem")), "empty.pem` (ca) holds no certificate", "it must be PEM"),
        (
            format!("{}&cert={}&key={}", works.ca(), at("client.pem"), at("device.key")),
            "client.pem` (CN=client)",
            "must print the same",
        ),
        (works.query("old"), "(CN=old) expired", "expired=allow"),
        (format!("{}&suites=TLS_MAGIC", works.ca()), "there is no cipher suite `TLS_MAGIC`", "TLS_AES_128_GCM_SHA256"),
        (format!("{}&suites=TLS_AES_128_GCM_SHA256&max=1.2", works.ca()), "no cipher suite is of a version", "suites"),
    ] {
        match client(&rig, &address, &query) {
            Err(EngineError::Port { what, hint, .. }) => {
                assert!(what.contains(problem), "{what}");
                assert!(hint.as_deref().is_some_and(|hint| hint.contains(remedy)), "{hint:?}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    rig.stop();
}

#[test]
fn who_does_not_finish_a_handshake_keeps_nobody_waiting() {
    let works = Works::new("slow");
    let folder = works.folder.join("run");
    let rig = rig_in(&folder);
    let (device, address) = device(&rig, &works, "");
    let mut silent = TcpStream::connect(&address).expect("connects");
    silent.write_all(&[22, 3, 1]).expect("sent");
    let mut plain = TcpStream::connect(&address).expect("connects");
    plain.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]).expect("sent");
    let mut answer = Vec::new();
    // An alert, and the end.
    plain.read_to_end(&mut answer).expect("an end in order");
    assert_eq!(answer.first(), Some(&21), "an alert record: {answer:?}");
    let client = client(&rig, &address, &works.query("client")).expect("connects");
    assert_eq!(echoed(&client, Conn(0), b"served"), b"served");
    assert_eq!(
        device.with(|probe, _| probe.conns.len()).expect("works").0,
        1,
        "the endpoint heard of one of the three"
    );
    drop(silent);
    let log = run_log(&rig, &folder);
    assert!(log.contains("its bytes are no TLS"), "{log}");
}

#[test]
fn a_broken_off_handshake_is_refused_with_the_reason() {
    let works = Works::new("broken");
    let rig = common::rig();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || drop(listener.accept().expect("a connection")));
    match client(&rig, &address, &works.query("client")) {
        Err(EngineError::Port { what, .. }) => assert!(what.contains("during the TLS handshake"), "{what}"),
        other => panic!("{other:?}"),
    }
    thread.join().expect("it ends");
    rig.stop();
}

#[test]
fn a_handshake_in_memory_takes_no_virtual_time() {
    let works = Works::new("memory");
    let rig = Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig");
    let tls = |port: PortSpec, query: &str| match url(query) {
        PortSpec::Tls { settings, .. } => PortSpec::Tls { port: Box::new(port), settings },
        other => panic!("{other:?}"),
    };
    let listen = tls(PortSpec::MemoryListen("x".into()), &format!("tls-listen://h:1?{}", works.query("device")));
    let _device = rig.open("device", Probe::echo(), vec![bind("", listen)]).expect("listens");
    let query = format!("tls://h:1?{}&name=127.0.0.1", works.query("client"));
    let connect = tls(PortSpec::MemoryConnect("x".into()), &query);
    let client = rig.open("client", Probe::default(), vec![bind("", connect)]).expect("connects");
    let deadline = Time::from_nanos(1_000_000);
    let opened = |event: &Event| matches!(event, Event::Opened(..)).then_some(());
    let found = client.wait(deadline, |_, events, _| take(events, opened), &mut || true).expect("time moves");
    assert!(found.is_some(), "within a millisecond of virtual time");
    client.with(|probe, _| probe.send(Conn(0), b"hello")).expect("works");
    let bytes = |event: &Event| match event {
        Event::Bytes(_, bytes, stamps) => Some((bytes.clone(), stamps.clone())),
        _ => None,
    };
    let found = client.wait(deadline, |_, events, _| take(events, bytes), &mut || true).expect("time moves");
    let (bytes, stamps) = found.expect("an echo");
    assert_eq!(bytes, b"hello");
    assert!(stamps.iter().all(|stamp| stamp.uncertainty().is_zero()), "exact, as everything in memory: {stamps:?}");
    rig.stop();
}
