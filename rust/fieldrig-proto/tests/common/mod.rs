//! Pair tests on virtual time: endpoints joined by simulated connections and wires, driven deterministically.
//!
//! ```text
//!   let world = World::new();
//!   let server = world.add("server", server);              // any Endpoint; the handle gives typed access
//!   let client = world.add("client", client);
//!   world.join(&client, "dut", &server, "modbus", &Path::stream().delay(ms(2)));       // a TCP-like connection
//!   world.join(&client, "dut", &server, "bus", &Path::wire("9600 8E1"));               // a serial wire, byte by byte
//!   world.share(&[client.tap("bus"), one.tap("bus"), two.tap("bus")], &Path::wire("9600 8E1"));    // and a shared one
//!   world.listen("tcp://broker:1883", &broker, "listener", &Path::stream());           // where `Action::Connect` leads
//!   let ticket = client.with(|client, now| client.request(..));
//!   let event = client.wait(secs(1), |_, events| events.pop_front());
//!
//!   let peer = world.peer("peer");                         // a scripted peer reads like a sequence chart
//!   peer.connect(&server, "modbus");
//!   peer.send([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]);
//!   peer.expect([0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7]);
//! ```
//!
//! Rules: time moves only inside `run_*`, `wait` and the peer's `expect*`, always to the next thing due. At one instant
//! arrivals come before timers, each in the order in which they were caused, timers in the order in which endpoints
//! were added. The calling contract of `endpoint.rs` is kept to the letter, and an endpoint that asks for a time-out that
//! is not in the future fails the test, as does a world that does not get past an instant. A failing wait prints what
//! went over all links.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of the harness")]

mod link;
mod peer;

pub use link::{Link, Path};
pub use peer::Peer;

use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Target, Why};
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::time::{Duration, Time};
use link::{Arrival, Joint, Out};
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;

/// Steps a world may take at one instant, and actions an endpoint may ask for in one pass.
const STEPS_AT_ONE_INSTANT: usize = 200_000;
const JOURNAL_SHOWN: usize = 60;

/// Milliseconds.
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Microseconds.
pub const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// Seconds.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The instant so long after the start.
pub fn at(after_start: Duration) -> Time {
    Time::ZERO + after_start
}

/// All endpoints of a test, their connections and the one clock.
#[derive(Clone)]
pub struct World(Rc<RefCell<Inner>>);

/// An endpoint in a world.
pub struct Node<E> {
    world: World,
    index: usize,
    kind: PhantomData<fn() -> E>,
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        Node { world: self.world.clone(), index: self.index, kind: PhantomData }
    }
}

impl World {
    /// An empty world at time zero.
    pub fn new() -> World {
        World(Rc::new(RefCell::new(Inner::default())))
    }

    /// Puts an endpoint into the world.
    pub fn add<E: Endpoint + 'static>(&self, name: &str, endpoint: E) -> Node<E> {
        let mut inner = self.0.borrow_mut();
        let held = Held { endpoint, events: VecDeque::new() };
        inner.ends.push(End { name: name.to_owned(), slot: Box::new(held), next_conn: 0, conns: HashMap::new() });
        let index = inner.ends.len() - 1;
        inner.drain(index);
        drop(inner);
        Node { world: self.clone(), index, kind: PhantomData }
    }

    /// A scripted peer.
    pub fn peer(&self, name: &str) -> Peer {
        Peer::new(self, name)
    }

    /// Joins two endpoints by a connection that `a` opens, or by a wire. Each sees the other under its own `via`.
    /// `Opened` arrives when the world runs: at `b` after one delay, at `a` after two (wires: at once).
    pub fn join<A, B>(&self, a: &Node<A>, via_a: &str, b: &Node<B>, via_b: &str, path: &Path) -> Link {
        self.0.borrow_mut().join((a.index, via_a, "simulated"), (b.index, via_b, "simulated"), path)
    }

    /// Joins any number of endpoints by one wire, which each sees under its `via` and on which all hear what one sends.
    pub fn share(&self, taps: &[(usize, &str)], path: &Path) -> Link {
        self.0.borrow_mut().share(taps, path)
    }

    /// `Action::Connect` to this URL leads to the endpoint, which sees the connection under `via`.
    pub fn listen<E>(&self, url: &str, node: &Node<E>, via: &str, path: &Path) {
        let listener = Listener { end: node.index, via: via.to_owned(), path: path.clone() };
        self.0.borrow_mut().listeners.insert(url.to_owned(), listener);
    }

    /// Nothing listens at this URL any more.
    pub fn unlisten(&self, url: &str) {
        self.0.borrow_mut().listeners.remove(url);
    }

    /// The instant.
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// Runs until this instant, all that is due at it included.
    pub fn run_until(&self, until: Time) {
        let mut inner = self.0.borrow_mut();
        while inner.step(until) {}
        inner.now = inner.now.max(until);
    }

    /// Runs for so long.
    pub fn run_for(&self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    /// Runs all that is due at this very instant.
    pub fn settle(&self) {
        self.run_until(self.now());
    }

    /// The node stops (`true`) or goes on (`false`) reading this connection.
    pub fn pause_reading<E>(&self, link: Link, node: &Node<E>, pause: bool) {
        let mut inner = self.0.borrow_mut();
        let side = inner.side_of(link, node.index);
        inner.links[link.0].sides[side].paused = pause;
        inner.read_inbox(link.0, side);
    }

    /// Something happens on the wire besides bytes, seen by this node.
    pub fn line_event<E>(&self, link: Link, node: &Node<E>, event: LineEvent) {
        let mut inner = self.0.borrow_mut();
        let side = inner.side_of(link, node.index);
        let now = inner.now;
        inner.after(now, Event::Arrive(link.0, side, Arrival::Line(event)));
    }

    /// The wire or connection breaks under this node, for this reason (an unplugged adapter: `HungUp`).
    pub fn break_off<E>(&self, link: Link, node: &Node<E>, why: Why) {
        let mut inner = self.0.borrow_mut();
        let side = inner.side_of(link, node.index);
        let now = inner.now;
        inner.links[link.0].sides[side].cut();
        inner.after(now, Event::Arrive(link.0, side, Arrival::Closed(why)));
    }

    /// What went over all links, the newest lines.
    pub fn journal(&self) -> String {
        self.0.borrow().journal_tail()
    }
}

impl<E> Node<E> {
    /// A tap for [`World::share`].
    pub fn tap<'a>(&self, via: &'a str) -> (usize, &'a str) {
        (self.index, via)
    }
}

impl<E: Endpoint + 'static> Node<E> {
    /// Gives a command to the endpoint, or looks at it; then does what it asks for, at the same instant.
    pub fn with<R>(&self, command: impl FnOnce(&mut E, Time) -> R) -> R {
        let mut inner = self.world.0.borrow_mut();
        let now = inner.now;
        let result = command(&mut inner.held::<E>(self.index).endpoint, now);
        inner.drain(self.index);
        result
    }

    /// Takes all events so far.
    pub fn events(&self) -> Vec<E::Event> {
        self.world.0.borrow_mut().held::<E>(self.index).events.drain(..).collect()
    }

    /// Runs until `check` gives something; fails the test after `within`.
    #[track_caller]
    pub fn wait<R>(&self, within: Duration, check: impl FnMut(&mut E, &mut VecDeque<E::Event>) -> Option<R>) -> R {
        match self.try_wait(within, check) {
            Some(result) => result,
            None => {
                let name = self.world.0.borrow().ends[self.index].name.clone();
                panic!("`{name}`: nothing came within {within:?}; on the links:\n{}", self.world.journal());
            }
        }
    }

    /// Runs until `check` gives something, or `None` after `within`.
    pub fn try_wait<R>(
        &self,
        within: Duration,
        mut check: impl FnMut(&mut E, &mut VecDeque<E::Event>) -> Option<R>,
    ) -> Option<R> {
        let mut inner = self.world.0.borrow_mut();
        let deadline = inner.now + within;
        loop {
            let held = inner.held::<E>(self.index);
            if let Some(result) = check(&mut held.endpoint, &mut held.events) {
                inner.drain(self.index);
                return Some(result);
            }
            if !inner.step(deadline) {
                inner.now = deadline;
                return None;
            }
        }
    }
}

/// An endpoint whose type is forgotten.
trait Slot {
    fn handle(&mut self, now: Time, input: Input<'_>);
    fn handle_timeout(&mut self, now: Time);
    fn poll_timeout(&self) -> Option<Time>;
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action>;
    fn keep_events(&mut self);
    fn any(&mut self) -> &mut dyn Any;
}

struct Held<E: Endpoint> {
    endpoint: E,
    events: VecDeque<E::Event>,
}

impl<E: Endpoint + 'static> Slot for Held<E> {
    fn handle(&mut self, now: Time, input: Input<'_>) {
        self.endpoint.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Time) {
        self.endpoint.handle_timeout(now);
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.endpoint.poll_timeout()
    }
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        self.endpoint.poll_action(out)
    }
    fn keep_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            self.events.push_back(event);
        }
    }
    fn any(&mut self) -> &mut dyn Any {
        self
    }
}

struct End {
    name: String,
    slot: Box<dyn Slot>,
    next_conn: u32,
    conns: HashMap<Conn, (usize, usize)>,
}

struct Listener {
    end: usize,
    via: String,
    path: Path,
}

/// Something that will happen.
enum Event {
    Arrive(usize, usize, Arrival),
    Pump(usize, usize),
    Drained(usize, usize),
    Refuse(usize, Conn, Why),
}

#[derive(Default)]
struct Inner {
    now: Time,
    ends: Vec<End>,
    links: Vec<Joint>,
    listeners: HashMap<String, Listener>,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    at_this_instant: usize,
    journal: VecDeque<String>,
}

impl Inner {
    fn held<E: Endpoint + 'static>(&mut self, index: usize) -> &mut Held<E> {
        self.ends[index].slot.any().downcast_mut::<Held<E>>().expect("a handle names an endpoint of its own type")
    }

    fn after(&mut self, when: Time, event: Event) {
        self.sequence += 1;
        self.queue.insert((when.max(self.now), self.sequence), event);
    }

    fn note(&mut self, text: String) {
        if self.journal.len() == 1000 {
            self.journal.pop_front();
        }
        self.journal.push_back(format!("{} {text}", self.now));
    }

    fn journal_tail(&self) -> String {
        let skipped = self.journal.len().saturating_sub(JOURNAL_SHOWN);
        self.journal.iter().skip(skipped).map(|line| format!("  {line}\n")).collect()
    }

    fn side_of(&self, link: Link, end: usize) -> usize {
        self.links[link.0].sides.iter().position(|side| side.end == end).expect("the node is on this link")
    }

    fn new_conn(&mut self, end: usize) -> Conn {
        let conn = Conn(self.ends[end].next_conn);
        self.ends[end].next_conn += 1;
        conn
    }

    fn join(&mut self, a: (usize, &str, &str), b: (usize, &str, &str), path: &Path) -> Link {
        let link = self.links.len();
        let conns = [self.new_conn(a.0), self.new_conn(b.0)];
        self.links.push(Joint::new(path, &[(a.0, conns[0]), (b.0, conns[1])]));
        self.ends[a.0].conns.insert(conns[0], (link, 0));
        self.ends[b.0].conns.insert(conns[1], (link, 1));
        let (now, delay) = (self.now, path.opening_delay());
        self.after(now + delay, Event::Arrive(link, 1, Arrival::opened(b.1, b.2, path)));
        self.after(now + delay * 2, Event::Arrive(link, 0, Arrival::opened(a.1, a.2, path)));
        Link(link)
    }

    fn share(&mut self, taps: &[(usize, &str)], path: &Path) -> Link {
        let link = self.links.len();
        let ends: Vec<(usize, Conn)> = taps.iter().map(|(end, _)| (*end, self.new_conn(*end))).collect();
        self.links.push(Joint::new(path, &ends));
        for (side, ((end, conn), (_, via))) in ends.iter().zip(taps).enumerate() {
            self.ends[*end].conns.insert(*conn, (link, side));
            self.after(self.now, Event::Arrive(link, side, Arrival::opened(via, "wire", path)));
        }
        Link(link)
    }

    /// Does the next thing that is due not later than `until`; false if there is none.
    fn step(&mut self, until: Time) -> bool {
        let queued = self.queue.first_key_value().map(|((when, _), _)| *when);
        let timer = self.ends.iter().filter_map(|end| end.slot.poll_timeout()).min();
        let Some(next) = [queued, timer].into_iter().flatten().min().filter(|next| *next <= until) else {
            return false;
        };
        self.advance(next);
        if queued.is_some_and(|when| when <= self.now) {
            if let Some((_, event)) = self.queue.pop_first() {
                self.happen(event);
            }
        } else {
            self.fire_timer();
        }
        true
    }

    fn advance(&mut self, next: Time) {
        if next > self.now {
            self.now = next;
            self.at_this_instant = 0;
        }
        self.at_this_instant += 1;
        let stuck = self.at_this_instant > STEPS_AT_ONE_INSTANT;
        assert!(!stuck, "the world does not get past {}; on the links:\n{}", self.now, self.journal_tail());
    }

    fn fire_timer(&mut self) {
        let now = self.now;
        let due = |end: &End| end.slot.poll_timeout().is_some_and(|when| when <= now);
        let Some(index) = self.ends.iter().position(due) else { return };
        self.ends[index].slot.handle_timeout(now);
        self.drain(index);
        let end = &self.ends[index];
        assert!(!due(end), "EndpointStuck: `{}` wants a time-out that is not in the future at {now}", end.name);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(link, side, arrival) => self.arrive(link, side, arrival),
            Event::Pump(link, side) => self.pump_as_planned(link, side),
            Event::Drained(link, side) => self.drained(link, side),
            Event::Refuse(end, conn, why) => self.give(end, Input::Closed(conn, why)),
        }
    }

    /// Hands an input to an endpoint and does what it asks for.
    fn give(&mut self, end: usize, input: Input<'_>) {
        let now = self.now;
        self.ends[end].slot.handle(now, input);
        self.drain(end);
    }

    /// One pass: all actions, then all events. Untimed sends of the pass to one connection leave as one.
    fn drain(&mut self, end: usize) {
        let mut out = Vec::new();
        let mut actions = Vec::new();
        while let Some(action) = self.ends[end].slot.poll_action(&mut out) {
            actions.push(action);
            assert!(actions.len() < STEPS_AT_ONE_INSTANT, "`{}` never stops asking for actions", self.ends[end].name);
        }
        self.ends[end].slot.keep_events();
        let mut touched = Vec::new();
        for action in actions {
            self.perform(end, action, &out, &mut touched);
        }
        for (link, side) in touched {
            self.pump(link, side);
        }
    }

    fn perform(&mut self, end: usize, action: Action, out: &[u8], touched: &mut Vec<(usize, usize)>) {
        let (conn, item) = match action {
            Action::Connect(target) => return self.connect(end, &target),
            Action::Send { conn, range, not_before, gap_before } => {
                (conn, Out::Bytes { bytes: out[range].to_vec(), not_before, gap_before })
            }
            Action::Forward { conn, range, not_before, .. } => {
                (conn, Out::Bytes { bytes: out[range].to_vec(), not_before, gap_before: None })
            }
            // Every link here is as exact as every other.
            Action::Join(..) => return,
            Action::Timed { .. } | Action::Recall(_) => panic!("nothing here asks when it left"),
            Action::SetLine(conn, command) => (conn, Out::Line(command)),
            Action::Close(conn, How::HalfOpen) => (conn, Out::Finish { both: false }),
            Action::Close(conn, How::Fin) => (conn, Out::Finish { both: true }),
            Action::Close(conn, How::Rst) => return self.reset(end, conn),
            Action::Close(conn, How::Stall) => {
                if let Some((link, side)) = self.ends[end].conns.get(&conn) {
                    self.links[*link].sides[*side].stalled = true;
                }
                return;
            }
        };
        let Some(&(link, side)) = self.ends[end].conns.get(&conn) else {
            let name = self.ends[end].name.clone();
            return self.note(format!("{name} acts on {conn:?}, which is gone"));
        };
        self.links[link].sides[side].queue(item);
        if !touched.contains(&(link, side)) {
            touched.push((link, side));
        }
    }

    fn connect(&mut self, end: usize, target: &Target) {
        match self.listeners.get(&target.url) {
            Some(listener) => {
                let (other, via, path) = (listener.end, listener.via.clone(), listener.path.clone());
                self.join((end, &target.via, &target.url), (other, &via, "simulated"), &path);
            }
            None => {
                let conn = self.new_conn(end);
                let reason = format!("nothing listens at {}", target.url);
                let why = Why::Refused { via: target.via.clone(), reason, untrusted: false };
                let now = self.now;
                self.after(now, Event::Refuse(end, conn, why));
            }
        }
    }
}
