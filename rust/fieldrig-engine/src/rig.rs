//! A rig: the clock, the log, the capture and the threads that the nodes of one run share.

use crate::clock::{Clock, ClockKind};
use crate::drive::ladder::{Timing, TimingClass};
use crate::drive::line::{Budget, Precision};
use crate::drive::owner::{Driven, Owner, OwnerGate};
use crate::drive::sim::Sim;
use crate::drive::step::Driver;
use crate::drive::watchdog::{Kennel, Watched};
use crate::drive::wires::{LinkKind, Surroundings, Wires};
use crate::error::EngineError;
use crate::lease::Lease;
use crate::link::{ByteFault, FaultError, Way};
use crate::log::RunLog;
use crate::node::{Inner, Node};
use crate::port::switchboard::Switchboard;
use crate::port::wire::{Wire, WireOptions};
use crate::port::{self, LineLedger, LineReport, PortSpec};
use crate::programs::Programs;
use crate::secrets::Secrets;
use crate::sentinel::{Sentinel, Stall};
use crate::spill;
use crate::trace::{Capture, Level};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::Endpoint;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::line::stream::Spills;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::time::{Duration, Time};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What a rig is to be.
#[derive(Clone, Debug, Default)]
pub struct RigOptions {
    /// Where capture and run log go; without one they are not written.
    pub folder: Option<PathBuf>,
    /// How much of the traffic is kept.
    pub level: Level,
    /// Which clock.
    pub clock: ClockKind,
    /// A name for people.
    pub name: String,
    /// What is masked in capture and run log.
    pub secrets: Secrets,
}

/// A port for an endpoint.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The name of the port within the node: `Peer::via`.
    pub via: String,
    /// Which port.
    pub port: PortSpec,
    /// The protocol on it, for the capture.
    pub protocol: Option<&'static Protocol>,
    /// Who fieldrig is on it, for the capture.
    pub we_are: Sender,
}

/// Which thread drives a node while no caller does. On virtual time there is none.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Thread {
    /// The reactor, which all nodes share that run no code of the user; a node with a line has one of its own.
    #[default]
    Reactor,
    /// The one for nodes that run code of the user (models in Python), which may take its time.
    Models,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").field("name", &self.shared.options.name).finish_non_exhaustive()
    }
}

/// A rig. Clones are the same rig; when the last is dropped it stops.
#[derive(Clone)]
pub struct Rig {
    shared: Arc<Shared>,
}

struct Shared {
    options: RigOptions,
    clock: Clock,
    log: RunLog,
    capture: Capture,
    sentinel: Option<Sentinel>,
    /// The line threads, as the sentinel watches them.
    kennel: Arc<Kennel>,
    /// How much line threads may spin.
    budget: Arc<Budget>,
    programs: Programs,
    sim: Option<Arc<Sim>>,
    switchboard: Arc<Switchboard>,
    lines: Arc<LineLedger>,
    reactor: Mutex<Option<Arc<Owner>>>,
    models: Mutex<Option<Arc<Owner>>>,
    nodes: Mutex<Vec<Weak<dyn Driven>>>,
    next_token: AtomicU64,
    stopped: AtomicBool,
}

impl Rig {
    /// Starts a rig.
    ///
    /// # Errors
    /// The folder cannot be written, or a thread cannot be started.
    pub fn start(options: RigOptions) -> Result<Rig, EngineError> {
        let clock = Clock::new(options.clock);
        let folder = options.folder.as_deref();
        let log = RunLog::start_masked(folder, options.secrets.clone())
            .map_err(|error| EngineError::machine("the run log", &error))?;
        let capture = Capture::start_masked(folder, options.level, options.secrets.clone())
            .map_err(|error| EngineError::machine("the capture", &error))?;
        let sim = clock.is_virtual().then(|| Arc::new(Sim::new(clock.clone())));
        let kennel: Arc<Kennel> = Arc::default();
        let sentinel = match &sim {
            Some(_) => None,
            None => Some(
                Sentinel::start(Arc::clone(&kennel))
                    .map_err(|error| EngineError::machine("the sentinel thread", &error))?,
            ),
        };
        let shared = Shared {
            options,
            clock,
            log,
            capture,
            sentinel,
            kennel,
            budget: Arc::new(Budget::new()),
            programs: Programs::default(),
            sim,
            switchboard: Arc::default(),
            lines: Arc::default(),
            reactor: Mutex::default(),
            models: Mutex::default(),
            nodes: Mutex::default(),
            next_token: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        Ok(Rig { shared: Arc::new(shared) })
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// An instant for something that the caller does or begins now: on virtual time, surely after everything that has
    /// arrived; time moves on by a nanosecond for that if need be.
    #[must_use]
    pub fn instant(&self) -> Time {
        self.shared.sim.as_ref().map_or_else(|| self.now(), |sim| sim.instant())
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// How well this run can meet deadlines on lines: the worst of its line threads, V in virtual time; `None` if it has
    /// no line, or none whose thread is ready.
    #[must_use]
    pub fn timing_class(&self) -> Option<TimingClass> {
        match self.shared.sim {
            Some(_) => Some(TimingClass::V),
            None => self.timing().map(|timing| timing.class),
        }
    }

    /// What the worst of its line threads asked of the host, and what became of it; `None` as [`Rig::timing_class`], and
    /// in virtual time.
    #[must_use]
    pub fn timing(&self) -> Option<Timing> {
        let nodes = lock(&self.shared.nodes);
        nodes.iter().filter_map(Weak::upgrade).filter_map(|node| node.timing()).max_by_key(|timing| timing.class)
    }

    /// The run log.
    #[must_use]
    pub fn log(&self) -> &RunLog {
        &self.shared.log
    }

    /// The capture.
    #[must_use]
    pub fn capture(&self) -> &Capture {
        &self.shared.capture
    }

    /// What is masked in capture and run log.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.shared.options.secrets
    }

    /// Files for what does not fit into the memory of a stream, in the folder of this rig if it has one.
    #[must_use]
    pub fn spills(&self, limit: u64) -> Spills {
        spill::spills(self.shared.options.folder.as_deref(), limit)
    }

    /// The intervals since `since` in which the host did not let us run, and which stand against every verdict on time:
    /// those of [`Rig::hiccups`] that are [`Stall::is_grave`], and the waits of programs that are devices.
    #[must_use]
    pub fn sentinel_stalls(&self, since: Time) -> Vec<Stall> {
        let mut stalls = self.hiccups(since);
        stalls.retain(Stall::is_grave);
        stalls.extend(self.shared.programs.stalls(since));
        stalls
    }

    /// All intervals since `since` of more than 10 ms in which the host did not let us run; a busy one has many.
    #[must_use]
    pub fn hiccups(&self, since: Time) -> Vec<Stall> {
        self.shared.sentinel.as_ref().map_or_else(Vec::new, |sentinel| sentinel.stalls(since))
    }

    /// What the drivers of the real ports have counted, of each since it was opened first.
    #[must_use]
    pub fn line_reports(&self) -> Vec<LineReport> {
        self.shared.lines.report()
    }

    /// A process is a device of this run: a wait for a CPU that is longer than it stands is a stall from now on.
    ///
    /// # Errors
    /// A thread cannot be started, or the clock is virtual.
    pub fn watch_program(&self, process: u32, stands: Duration) -> Result<(), EngineError> {
        let watched = match &self.shared.sim {
            Some(_) => Err(std::io::Error::other("a program knows no virtual time")),
            None => self.shared.programs.watch(process, stands),
        };
        watched.map_err(|error| EngineError::machine("the watch on a program", &error))
    }

    /// Adds a multi-drop wire in memory, whose taps are `wire://NAME`. With settings, bytes take the time they would take
    /// on a line, and who sends while another does garbles both. Adding it again with the same settings does nothing.
    ///
    /// # Errors
    /// There is a wire of this name with other settings.
    pub fn add_wire(&self, name: &str, line: Option<LineSettings>) -> Result<(), EngineError> {
        self.add_wire_with(name, WireOptions { line, ..WireOptions::default() })
    }

    /// [`Rig::add_wire`] with a conductor for each direction, as a console has: both sides may send at a time.
    ///
    /// # Errors
    /// There is a wire of this name with other settings.
    pub fn add_full_duplex_wire(&self, name: &str, line: Option<LineSettings>) -> Result<(), EngineError> {
        self.add_wire_with(name, WireOptions { line, full_duplex: true, ..WireOptions::default() })
    }

    /// [`Rig::add_wire`] with everything a wire may have.
    ///
    /// # Errors
    /// There is another wire of this name.
    pub fn add_wire_with(&self, name: &str, options: WireOptions) -> Result<(), EngineError> {
        self.shared.switchboard.add_wire(name, options, &self.shared.log)
    }

    /// Disturbs what is sent on a wire on these ways: by who asks ([`Way::Forth`]), by who answers ([`Way::Back`]).
    ///
    /// # Errors
    /// There is no such wire; the fault makes no sense there.
    pub fn disturb_wire(&self, name: &str, ways: &[Way], fault: &ByteFault) -> Result<(), FaultError> {
        let now = self.now();
        let inject = |wire: &Wire| ways.iter().try_for_each(|way| wire.inject(now, *way, fault.clone()).map(drop));
        let injected = self.shared.switchboard.with_wire(name, inject);
        injected.unwrap_or_else(|| Err(FaultError::NoWire(name.to_owned())))
    }

    /// Ends every disturbance of a wire.
    ///
    /// # Errors
    /// There is no such wire.
    pub fn calm_wire(&self, name: &str) -> Result<(), FaultError> {
        self.calm_wire_but(name, 0)
    }

    /// [`Rig::calm_wire`], but leaves alone the first so many that were ever set.
    ///
    /// # Errors
    /// There is no such wire.
    pub(crate) fn calm_wire_but(&self, name: &str, standing: u64) -> Result<(), FaultError> {
        let now = self.now();
        let cleared = self.shared.switchboard.with_wire(name, |wire| wire.clear_faults(now, standing));
        cleared.ok_or_else(|| FaultError::NoWire(name.to_owned()))
    }

    /// Forgets a wire in memory, so that its name can be used again. Taps that are open stay joined.
    pub fn remove_wire(&self, name: &str) {
        self.shared.switchboard.remove_wire(name);
    }

    /// The wire of this name, if there is one: its settings, if it has a speed.
    #[must_use]
    pub fn wire(&self, name: &str) -> Option<Option<LineSettings>> {
        self.shared.switchboard.wire(name)
    }

    /// The settings of the line behind a port, if it is one; for a tap those of the wire.
    #[must_use]
    pub fn line_of(&self, port: &PortSpec) -> Option<LineSettings> {
        match port {
            PortSpec::Tap { name, line, .. } => self.wire(name).flatten().map(|wire| line.unwrap_or(wire)),
            other => other.line(),
        }
    }

    /// Opens ports for an endpoint. Ports that connect are connected when this returns.
    ///
    /// # Errors
    /// A port cannot be opened; in virtual time, a port that is not in memory; the rig is stopped.
    pub fn open<E>(&self, name: &str, endpoint: E, bindings: Vec<Binding>) -> Result<Node<E>, EngineError>
    where
        E: Endpoint + Send + 'static,
        E::Event: Clone + Send,
    {
        self.open_with(name, endpoint, bindings, &mut || true)
    }

    /// [`Rig::open`] on a thread of choice.
    ///
    /// # Errors
    /// Those of [`Rig::open`].
    pub fn open_on<E>(
        &self,
        thread: Thread,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
    ) -> Result<Node<E>, EngineError>
    where
        E: Endpoint + Send + 'static,
        E::Event: Clone + Send,
    {
        self.open_on_with(thread, name, endpoint, bindings, &mut || true)
    }

    /// [`Rig::open`] that can be interrupted: `go_on` is asked at least every 20 ms while a connection is under way.
    ///
    /// # Errors
    /// Those of [`Rig::open`]; `go_on` said no.
    pub fn open_with<E>(
        &self,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Node<E>, EngineError>
    where
        E: Endpoint + Send + 'static,
        E::Event: Clone + Send,
    {
        self.open_on_with(Thread::Reactor, name, endpoint, bindings, go_on)
    }

    /// [`Rig::open_on`] that can be interrupted, as [`Rig::open_with`].
    ///
    /// # Errors
    /// Those of [`Rig::open_with`].
    pub fn open_on_with<E>(
        &self,
        thread: Thread,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Node<E>, EngineError>
    where
        E: Endpoint + Send + 'static,
        E::Event: Clone + Send,
    {
        let shared = &self.shared;
        if shared.stopped.load(Ordering::SeqCst) {
            return Err(EngineError::Stopped { node: name.to_owned() });
        }
        let machine = |error: std::io::Error| EngineError::machine(name, &error);
        let mut wires = Wires::new(name, shared.surroundings()).map_err(machine)?;
        let mut addresses = std::collections::BTreeMap::new();
        let mut timed = false;
        for binding in bindings {
            timed |= binding.port.is_timed();
            wires.describe(&binding.via, kind_of(&binding, self.line_of(&binding.port)));
            let address = port::open::open(&mut wires, &binding.via, binding.port, go_on)?;
            addresses.insert(binding.via, address);
        }
        let timed = timed && shared.sim.is_none();
        let watched = Arc::default();
        let owner = shared.owner(thread, timed, name, &watched).map_err(machine)?;
        let line_thread = owner.clone().filter(|_| timed);
        let token = shared.next_token.fetch_add(1, Ordering::Relaxed);
        let fd = wires.epoll.fd();
        let gate = OwnerGate::new(owner.clone(), token, fd, Arc::clone(&wires.kick));
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            lease: Lease::new(Driver::new(endpoint, wires), gate),
            acting: Lease::new(crate::acting::Acting, crate::acting::NobodysGate),
            addresses,
            log: shared.log.clone(),
            sim: shared.sim.clone(),
            timed,
            watched,
            line_thread: Mutex::new(line_thread),
            progress: crate::node::Progress::default(),
            left: AtomicBool::new(false),
        });
        let driven: Arc<dyn Driven> = Arc::clone(&inner) as Arc<dyn Driven>;
        lock(&shared.nodes).push(Arc::downgrade(&driven));
        if let Some(sim) = &shared.sim {
            sim.add(&driven, thread == Thread::Models);
        }
        let node = Node::new(inner);
        if let Some(owner) = owner {
            owner.add(token, fd, driven).map_err(machine)?;
        }
        // The endpoint hears of its ports before anybody can use it.
        node.with(|_, _| ())?;
        Ok(node)
    }

    /// Closes every node, ends every thread, completes the files. Calling it again does nothing.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// In virtual time, moves on by `duration`; everything that is due meanwhile happens. In real time, sleeps.
    ///
    /// # Errors
    /// `go_on` said no; a simulation that makes no progress.
    pub fn sleep(&self, duration: Duration, go_on: &mut dyn FnMut() -> bool) -> Result<(), EngineError> {
        let until = self.now() + duration;
        let mut asked = None;
        while self.now() < until {
            let real = Clock::Real.now();
            let ran_code = self.shared.sim.as_ref().is_some_and(|sim| sim.ran_code());
            if ran_code || asked.is_none_or(|asked| real.since(asked) >= crate::lease::SLICE) {
                asked = Some(real);
                if !go_on() {
                    return Err(EngineError::Interrupted);
                }
            }
            match &self.shared.sim {
                Some(sim) => {
                    sim.move_on(until)?;
                }
                None => std::thread::sleep(until.since(self.now()).min(crate::lease::SLICE)),
            }
        }
        Ok(())
    }
}

impl Shared {
    fn surroundings(&self) -> Surroundings {
        let (clock, capture, log) = (self.clock.clone(), self.capture.clone(), self.log.clone());
        let witness = self.sentinel.as_ref().map(Sentinel::witness);
        let (switchboard, lines) = (Arc::clone(&self.switchboard), Arc::clone(&self.lines));
        Surroundings { clock, capture, log, switchboard, witness, lines }
    }

    /// The thread that is to own a node; none on virtual time.
    fn owner(
        &self,
        thread: Thread,
        timed: bool,
        node: &str,
        watched: &Arc<Watched>,
    ) -> std::io::Result<Option<Arc<Owner>>> {
        if self.sim.is_some() {
            return Ok(None);
        }
        if timed {
            let budget = Arc::clone(&self.budget);
            let precision = match thread {
                Thread::Reactor => Precision::new(Arc::clone(watched), budget),
                Thread::Models => Precision::modest(Arc::clone(watched), budget),
            };
            self.kennel.add(watched);
            let precision = precision.telling(&self.kennel.found);
            return Owner::start(&thread_name("line", node), Some(precision)).map(Some);
        }
        let (slot, kind) = match thread {
            Thread::Reactor => (&self.reactor, "reactor"),
            Thread::Models => (&self.models, "models"),
        };
        let mut slot = lock(slot);
        if slot.is_none() {
            *slot = Some(Owner::start(&thread_name(kind, &self.options.name), None)?);
        }
        Ok(slot.clone())
    }

    fn stop(&self) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        let nodes = std::mem::take(&mut *lock(&self.nodes));
        for node in nodes.iter().filter_map(Weak::upgrade) {
            node.close();
        }
        for slot in [&self.models, &self.reactor] {
            // Taken out first: a thread that is about to end may be opening a node.
            let owner = lock(slot).take();
            if let Some(owner) = owner {
                owner.stop();
            }
        }
        if let Some(sentinel) = &self.sentinel {
            sentinel.stop();
        }
        self.programs.stop();
        if let Err(error) = self.capture.stop() {
            self.log.note("capture.incomplete", &[("error", error.to_string().into())]);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Threads have names of at most 15 bytes.
fn thread_name(kind: &str, name: &str) -> String {
    let full = if name.is_empty() { format!("fieldrig-{kind}") } else { format!("fr-{kind}-{name}") };
    full.chars().filter(char::is_ascii).take(15).collect()
}

fn kind_of(binding: &Binding, line: Option<LineSettings>) -> LinkKind {
    let description = match &line {
        Some(settings) => format!("{} {settings}", binding.port),
        None => binding.port.to_string(),
    };
    // Silence that surely ends a message on a wire. USB adapters hand over every 16 ms and a busy host adds its own, so it
    // is long: all it does is keep one disturbed message from spoiling how the trace cuts the next ones.
    let silence = line.filter(|_| binding.protocol.is_some());
    let silence = silence.map(|settings| (settings.character_time() * 4).max(Duration::from_millis(100)));
    LinkKind { protocol: binding.protocol, we_are: binding.we_are, description, silence }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
