//! Nodes: threads that share one, interrupts, endpoints that break the rules, what stopping leaves behind.

mod common;

use common::{Event, LONG, Probe, bind, rig, take, url};
use fieldrig_engine::{Clock, EngineError, Node, Rig, Thread};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input};
use fieldrig_proto::time::{Duration, Time};
use std::sync::atomic::{AtomicUsize, Ordering};

fn pair(rig: &Rig, server: Probe) -> (Node<Probe>, Node<Probe>) {
    let server = rig.open("server", server, vec![bind("", url("tcp-listen://127.0.0.1:0"))]).expect("listens");
    let address = server.address("").expect("an address");
    let client =
        rig.open("client", Probe::default(), vec![bind("", url(&format!("tcp://{address}")))]).expect("connects");
    (server, client)
}

fn echo_call(client: &Node<Probe>, payload: &[u8; 8]) {
    let mut received = Vec::new();
    let called = client
        .call(
            |probe, _| -> Result<(), ()> {
                probe.send(Conn(0), payload);
                Ok(())
            },
            LONG,
            |(), _, events, _| {
                while let Some(bytes) = take(events, |event| match event {
                    Event::Bytes(_, bytes, _) => Some(bytes.clone()),
                    _ => None,
                }) {
                    received.extend(bytes);
                }
                (received.len() >= 8).then(|| received.clone())
            },
            &mut || true,
        )
        .expect("the node works")
        .expect("the command is fine");
    assert_eq!(called.outcome.as_deref(), Some(payload.as_slice()));
}

#[test]
fn eight_threads_share_one_client_and_every_answer_finds_its_caller() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let client = client.clone();
            scope.spawn(move || {
                for round in 0..250u32 {
                    let mut payload = [0; 8];
                    payload[..4].copy_from_slice(&thread.to_be_bytes());
                    payload[4..].copy_from_slice(&round.to_be_bytes());
                    echo_call(&client, &payload);
                }
            });
        }
    });
    // The owner has the port again: what comes without a call is read by it.
    client.with(|probe, _| probe.send(Conn(0), b"unasked")).expect("sends");
    let found = client.wait(
        Clock::Real.now() + LONG,
        |_, events, _| take(events, |event| matches!(event, Event::Bytes(..)).then_some(())),
        &mut || true,
    );
    assert_eq!(found, Ok(Some(())));
    rig.stop();
}

#[test]
fn an_end_that_sends_much_reads_on_so_that_two_do_not_wait_for_each_other() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    let bytes = vec![0x55; 16 << 20]; // more than all buffers between the two hold
    client.with(|probe, _| probe.send(Conn(0), &bytes)).expect("the node works");
    let mut back = 0;
    let whole = client.wait(
        Clock::Real.now() + LONG,
        |_, events, _| {
            while let Some(count) = take(events, |event| match event {
                Event::Bytes(_, bytes, _) => Some(bytes.len()),
                _ => None,
            }) {
                back += count;
            }
            (back == bytes.len()).then_some(())
        },
        &mut || true,
    );
    assert!(whole.expect("the node works").is_some(), "not all of it came back");
}

#[test]
fn a_long_wait_lets_other_threads_in() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            client.wait(
                Clock::Real.now() + LONG,
                |probe, _, _| {
                    begun.store(1, Ordering::SeqCst);
                    (probe.period == Some(Duration::from_secs(77))).then_some(())
                },
                &mut || true,
            )
        });
        while begun.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        client.with(|probe, _| probe.period = Some(Duration::from_secs(77))).expect("gets its turn");
        assert_eq!(waiter.join().expect("no panic"), Ok(Some(())));
    });
    rig.stop();
}

#[test]
fn several_threads_wait_for_their_own_events_on_one_node() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let client = client.clone();
            scope.spawn(move || {
                let mine = |event: &Event| match event {
                    Event::Bytes(_, bytes, _) if bytes.contains(&thread) => Some(()),
                    _ => None,
                };
                // An echo may come together with others: whoever finds his byte leaves the event to them.
                let check =
                    |_: &mut Probe, events: &mut std::collections::VecDeque<Event>, _| events.iter().find_map(mine);
                let found = client.wait(Clock::Real.now() + LONG, check, &mut || true);
                assert_eq!(found, Ok(Some(())));
            });
        }
        for thread in 0..4u8 {
            client.with(|probe, _| probe.send(Conn(0), &[thread])).expect("gets its turn");
        }
    });
    rig.stop();
}

#[test]
fn an_endpoint_that_is_late_catches_up_and_is_not_taken_for_stuck() {
    let rig = rig();
    let now = rig.now();
    let late = Probe {
        timeout: Some(Time::ZERO),
        period: Some((now.since(Time::ZERO) / 500).max(Duration::from_micros(20))),
        ..Probe::default()
    };
    let node = rig.open("late", late, vec![]).expect("opens");
    let steps = node.wait(Clock::Real.now() + LONG, |_, events, _| (events.len() > 400).then_some(()), &mut || true);
    assert_eq!(steps, Ok(Some(())));
    rig.stop();
}

#[test]
fn an_interrupted_wait_gives_the_port_back() {
    let rig = rig();
    let (server, client) = pair(&rig, Probe::default());
    let asked = AtomicUsize::new(0);
    let result =
        client.wait(Clock::Real.now() + LONG, |_, _, _| None::<()>, &mut || asked.fetch_add(1, Ordering::SeqCst) < 2);
    assert_eq!(result, Err(EngineError::Interrupted));
    // Nobody waits now: only the owner thread can read this.
    server.with(|probe, _| probe.send(Conn(0), b"to the owner")).expect("sends");
    let mut seen = 0;
    while seen == 0 {
        seen = client.with(|probe, _| probe.received).expect("works").0;
    }
    rig.stop();
}

#[test]
fn a_callback_that_calls_back_is_told_so() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    let inner = client.clone();
    let result = client.with(|_, _| inner.with(|_, _| ()).map(|_| ())).expect("the outer one works").0;
    assert_eq!(result, Err(EngineError::Reentered { node: "client".to_owned() }));
    echo_call(&client, b"still ok");
    rig.stop();
}

#[test]
fn closing_ends_the_wait_of_another_thread() {
    let rig = rig();
    let (_server, client) = pair(&rig, Probe::echo());
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let check = |_: &mut Probe, _: &mut _, _| {
                begun.store(1, Ordering::SeqCst);
                None::<()>
            };
            client.wait(Clock::Real.now() + LONG, check, &mut || true)
        });
        while begun.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        client.close();
        assert_eq!(waiter.join().expect("no panic"), Err(EngineError::Stopped { node: "client".to_owned() }));
    });
    assert!(matches!(client.with(|_, _| ()), Err(EngineError::Stopped { .. })));
    rig.stop();
}

/// Breaks the contract in the way it is told to.
struct Rogue(&'static str);

impl Endpoint for Rogue {
    type Event = fieldrig_proto::record::Record;
    fn handle(&mut self, _now: Time, _input: Input<'_>) {
        assert!(self.0 != "panic", "as told");
    }
    fn handle_timeout(&mut self, _now: Time) {}
    fn poll_timeout(&self) -> Option<Time> {
        (self.0 == "timeout").then_some(Time::ZERO)
    }
    fn poll_action(&mut self, _out: &mut Vec<u8>) -> Option<Action> {
        (self.0 == "actions").then_some(Action::send(Conn(9), 0..0))
    }
    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }
}

#[test]
fn an_endpoint_that_breaks_the_contract_is_reported_and_hangs_nobody() {
    let rig = rig();
    for (how, words) in [("timeout", "does not advance"), ("actions", "have no end"), ("panic", "panicked: as told")] {
        let opened = rig.open(how, Rogue(how), vec![bind("", url("tcp-listen://127.0.0.1:0"))]);
        let error = match opened {
            Err(error) => error,
            Ok(node) => {
                // One that panics does so when a connection comes; others are stuck, and listen no more, before that.
                let _stream = std::net::TcpStream::connect(node.address("").expect("an address"));
                let waited = node.wait(Clock::Real.now() + LONG, |_, _, _| None::<()>, &mut || true);
                waited.expect_err("it is stuck")
            }
        };
        assert!(matches!(&error, EngineError::Stuck { what, .. } if what.contains(words)), "{how}: {error}");
    }
    let (_server, client) = pair(&rig, Probe::echo());
    echo_call(&client, b"unharmed");
    rig.stop();
}

/// Threads and descriptors of this process by name.
fn own_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a list of threads");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.contains("lef7")).collect()
}

#[test]
fn stopping_leaves_no_thread_and_no_port() {
    let options = fieldrig_engine::RigOptions { name: "lef7".to_owned(), ..Default::default() };
    let rig = Rig::start(options).expect("a rig");
    let (server, client) = pair(&rig, Probe::echo());
    let device = rig.open("lef7", Probe::echo(), vec![bind("", url("pty://"))]).expect("a pty");
    let path = device.address("").expect("an address");
    echo_call(&client, b"complete");
    // A thread gives itself its name once it runs.
    let deadline = std::time::Instant::now() + LONG;
    while own_threads().len() < 2 && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(own_threads().len(), 2, "a reactor and a line thread: {:?}", own_threads());
    let address = server.address("").expect("an address");
    rig.stop();
    assert_eq!(own_threads(), Vec::<String>::new());
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
    assert!(!std::path::Path::new(&path).exists(), "the pty is gone");
    assert!(matches!(rig.open("late", Probe::default(), Vec::new()), Err(EngineError::Stopped { .. })));
}

/// Takes its time over every byte: until it is let go on.
struct Slow {
    go_on: std::sync::mpsc::Receiver<()>,
    entered: std::sync::mpsc::Sender<String>,
}

impl Endpoint for Slow {
    type Event = Event;
    fn handle(&mut self, _now: Time, input: Input<'_>) {
        if let Input::Bytes(..) = input {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            self.entered.send(thread).expect("somebody listens");
            self.go_on.recv_timeout(LONG).expect("somebody lets it go on");
        }
    }
    fn handle_timeout(&mut self, _now: Time) {}
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn poll_action(&mut self, _out: &mut Vec<u8>) -> Option<Action> {
        None
    }
    fn poll_event(&mut self) -> Option<Event> {
        None
    }
}

#[test]
fn a_model_that_takes_its_time_holds_up_nobody_else() {
    let rig = rig();
    let (let_go_on, go_on) = std::sync::mpsc::channel();
    let (entered, enters) = std::sync::mpsc::channel();
    let slow = Slow { go_on, entered };
    let _slow =
        rig.open_on(Thread::Models, "slow", slow, vec![bind("", url("memory-listen://slow"))]).expect("listens");
    let caller = rig.open("caller", Probe::default(), vec![bind("", url("memory://slow"))]).expect("connects");
    caller.with(|probe, _| probe.send(Conn(0), b"think")).expect("works");
    assert_eq!(enters.recv_timeout(LONG).as_deref(), Ok("fieldrig-models"));
    let (_server, client) = pair(&rig, Probe::echo());
    echo_call(&client, b"12345678");
    let_go_on.send(()).expect("it waits");
    rig.stop();
}
