//! Links that are taken down and come up again: refused, stalled, cut.

mod common;

use common::{Event, LONG, Probe, bind, folder, rig, take, url};
use fieldrig_engine::{ClockKind, EngineError, Gate, Node, PortSpec, Rig, RigOptions, log};
use fieldrig_proto::endpoint::{Action, Conn, How, Why};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::time::{Duration, Stamp, Time};

fn sim() -> Rig {
    Rig::start(RigOptions { clock: ClockKind::Virtual, ..RigOptions::default() }).expect("a rig")
}

/// Both clocks: connections in memory, and TCP.
fn worlds() -> [(Rig, &'static str); 3] {
    [(sim(), "memory-listen://door"), (rig(), "memory-listen://door"), (rig(), "tcp-listen://127.0.0.1:0")]
}

fn listen(rig: &Rig, at: &str, probe: Probe) -> (Node<Probe>, PortSpec) {
    let server = rig.open("server", probe, vec![bind("door", url(at))]).expect("opens");
    let address = server.address("door").expect("bound");
    let place = if address.contains("://") { address } else { format!("tcp://{address}") };
    (server, url(&place))
}

fn open(rig: &Rig, name: &str, port: PortSpec) -> Node<Probe> {
    rig.open(name, Probe::default(), vec![bind("", port)]).expect("opens")
}

fn wait_for<R>(rig: &Rig, node: &Node<Probe>, mut pick: impl FnMut(&Event) -> Option<R>) -> Option<R> {
    node.wait(rig.now() + LONG, |_, events, _| take(events, &mut pick), &mut || true).expect("time moves")
}

fn closed(event: &Event) -> Option<Why> {
    match event {
        Event::Closed(_, why) => Some(why.clone()),
        _ => None,
    }
}

fn bytes(event: &Event) -> Option<(Vec<u8>, Vec<Stamp>)> {
    match event {
        Event::Bytes(_, bytes, stamps) => Some((bytes.clone(), stamps.clone())),
        _ => None,
    }
}

#[test]
fn a_refused_link_breaks_connections_off_and_takes_no_new_ones() {
    for (rig, at) in worlds() {
        let (server, place) = listen(&rig, at, Probe::echo());
        let client = open(&rig, "client", place.clone());
        wait_for(&rig, &server, |event| matches!(event, Event::Opened(..)).then_some(())).expect("accepted");
        server.gate("door", Gate::Refused).expect("a port");
        assert_eq!(wait_for(&rig, &client, closed), Some(Why::Reset), "{at}");
        assert_eq!(wait_for(&rig, &server, closed), Some(Why::Reset), "{at}");
        // The kernel may tell of the reset while the connection is being made, or once it is there.
        match rig.open("second", Probe::default(), vec![bind("", place.clone())]) {
            Ok(second) => assert_eq!(wait_for(&rig, &second, closed), Some(Why::Reset), "{at}"),
            Err(error) => assert!(error.to_string().contains("reset"), "{at}: {error}"),
        }
        server.gate("door", Gate::Open).expect("a port");
        let third = open(&rig, "third", place);
        third.with(|probe, _| probe.send(Conn(0), b"hello")).expect("works");
        assert_eq!(wait_for(&rig, &third, bytes).map(|(bytes, _)| bytes), Some(b"hello".to_vec()), "{at}");
        let accepted = server.with(|probe, _| probe.conns.len()).expect("works").0;
        assert_eq!(accepted, 1, "{at}: the server never heard of the second");
        rig.stop();
    }
}

#[test]
fn on_a_stalled_link_nothing_moves_until_it_opens() {
    for (rig, at) in worlds() {
        let (server, place) = listen(&rig, at, Probe::default());
        let client = open(&rig, "client", place.clone());
        wait_for(&rig, &server, |event| matches!(event, Event::Opened(..)).then_some(())).expect("accepted");
        server.gate("door", Gate::Stalled).expect("a port");
        client.with(|probe, _| probe.send(Conn(0), b"question")).expect("works");
        server.with(|probe, _| probe.send(Conn(0), b"notice")).expect("works");
        let late = open(&rig, "late", place);
        rig.sleep(Duration::from_millis(50), &mut || true).expect("time moves");
        for node in [&client, &late] {
            let heard = node.wait(Time::ZERO, |_, events, _| take(events, bytes), &mut || true);
            assert_eq!(heard, Ok(None), "{at}");
        }
        let (heard, accepted) = server.with(|probe, _| (probe.received, probe.conns.len())).expect("works").0;
        assert_eq!((heard, accepted), (0, 1), "{at}");
        let opened = server.gate("door", Gate::Open).expect("a port");
        let (question, stamps) = wait_for(&rig, &server, bytes).expect("it comes now");
        assert_eq!(question, b"question");
        assert!(stamps.iter().all(|stamp| stamp.earliest() >= opened), "{at}: it came through only now");
        assert_eq!(wait_for(&rig, &client, bytes).map(|(bytes, _)| bytes), Some(b"notice".to_vec()));
        wait_for(&rig, &server, |event| matches!(event, Event::Opened(Conn(conn), _) if *conn > 0).then_some(()))
            .expect("the late one");
        rig.stop();
    }
}

#[test]
fn what_a_node_does_on_a_stalled_link_happens_when_it_opens() {
    for (rig, at) in worlds() {
        let (server, place) = listen(&rig, at, Probe::echo());
        let caller = rig.open("caller", Probe::default(), vec![bind("uplink", PortSpec::OnDemand)]).expect("opens");
        caller.gate("uplink", Gate::Stalled).expect("a port");
        let target = place.to_string();
        caller.with(|probe, _| probe.connect("uplink", &target)).expect("works");
        rig.sleep(Duration::from_millis(50), &mut || true).expect("time moves");
        assert_eq!(caller.with(|probe, _| probe.conns.len()).expect("works").0, 0, "{at}");
        caller.gate("uplink", Gate::Open).expect("a port");
        let conn = wait_for(&rig, &caller, |event| match event {
            Event::Opened(conn, _) => Some(*conn),
            _ => None,
        });
        let conn = conn.expect("connected");
        wait_for(&rig, &server, |event| matches!(event, Event::Opened(..)).then_some(())).expect("accepted");
        // Breaking off is told to the endpoint at once, to the other side when the link goes on.
        caller.gate("uplink", Gate::Stalled).expect("a port");
        caller.with(|probe, _| probe.act(Action::Close(conn, How::Rst))).expect("works");
        assert_eq!(wait_for(&rig, &caller, closed), Some(Why::Local), "{at}");
        assert_eq!(server.with(|probe, _| probe.conns.len()).expect("works").0, 1, "{at}");
        caller.gate("uplink", Gate::Open).expect("a port");
        assert_eq!(wait_for(&rig, &server, closed), Some(Why::Reset), "{at}");
        rig.stop();
    }
}

#[test]
fn connections_asked_for_on_a_link_that_is_down_are_refused() {
    let rig = sim();
    let (_server, _) = listen(&rig, "memory-listen://door", Probe::default());
    let caller = rig.open("caller", Probe::default(), vec![bind("uplink", PortSpec::OnDemand)]).expect("opens");
    let refusal = |event: &Event| match event {
        Event::Closed(_, Why::Refused { reason, .. }) => Some(reason.clone()),
        _ => None,
    };
    caller.gate("uplink", Gate::Refused).expect("a port");
    caller.with(|probe, _| probe.connect("uplink", "memory://door")).expect("works");
    assert_eq!(wait_for(&rig, &caller, refusal).as_deref(), Some("memory://door: the link was taken down"));
    caller.gate("uplink", Gate::Stalled).expect("a port");
    let begun = rig.now();
    caller.with(|probe, _| probe.connect("uplink", "memory://door")).expect("works");
    assert_eq!(wait_for(&rig, &caller, refusal).as_deref(), Some("memory://door: timed out"));
    assert_eq!(rig.now().since(begun), Duration::from_secs(10));
    caller.with(|probe, _| probe.connect("uplink", "memory://door")).expect("works");
    caller.gate("uplink", Gate::Refused).expect("a port");
    assert_eq!(wait_for(&rig, &caller, refusal).as_deref(), Some("memory://door: the link was taken down"));
    rig.stop();
}

#[test]
fn a_wire_is_cut_either_way() {
    let line: LineSettings = "9600 8E1".parse().expect("valid");
    for gate in [Gate::Refused, Gate::Stalled] {
        let rig = sim();
        rig.add_wire("bus", Some(line)).expect("a new wire");
        let device = rig.open("device", Probe::default(), vec![bind("modbus", url("wire://bus"))]).expect("opens");
        let client = open(&rig, "client", url("wire://bus"));
        device.gate("modbus", gate).expect("a port");
        client.with(|probe, _| probe.send(Conn(0), b"lost")).expect("works");
        rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
        device.with(|probe, _| probe.send(Conn(0), b"lost too")).expect("works");
        rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
        device.gate("modbus", Gate::Open).expect("a port");
        client.with(|probe, _| probe.send(Conn(0), b"heard")).expect("works");
        rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
        device.with(|probe, _| probe.send(Conn(0), b"H")).expect("works");
        rig.sleep(Duration::from_secs(1), &mut || true).expect("time moves");
        assert_eq!(device.with(|probe, _| probe.received).expect("works").0, 5);
        assert_eq!(client.with(|probe, _| probe.received).expect("works").0, 1);
        rig.stop();
    }
}

#[test]
fn gates_are_in_the_log_and_only_for_ports_that_exist() {
    let path = folder("gate");
    let rig = Rig::start(RigOptions { folder: Some(path.clone()), ..RigOptions::default() }).expect("a rig");
    let (server, _) = listen(&rig, "memory-listen://door", Probe::default());
    let missing = server.gate("dor", Gate::Refused);
    assert_eq!(missing, Err(EngineError::Machine { what: "server: there is no port `dor`".to_owned() }));
    server.gate("door", Gate::Stalled).expect("a port");
    server.gate("door", Gate::Open).expect("a port");
    rig.stop();
    let records = log::read(rig.log().path().expect("a log")).expect("readable");
    let gates = records.iter().filter(|record| record.kind == "link.gate");
    let gates: Vec<_> =
        gates.map(|record| record.field("gate").and_then(|gate| gate.as_str().map(str::to_owned))).collect();
    assert_eq!(gates, [Some("stalled".to_owned()), Some("open".to_owned())]);
    std::fs::remove_dir_all(path).expect("removed");
}
