//! The lease under every interleaving loom can find: `RUSTFLAGS="--cfg loom" cargo test --release --test loom_lease`.
//!
//! The owner thread and its epoll are modelled by a mutex and a condition variable. A lost wake-up shows as a deadlock,
//! which loom reports.
#![cfg(loom)]

use fieldrig_engine::lease::{Alarm, AtomicDeadline, Gate, Lease, Refusal, Tenant};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What the kernel and the owner know.
#[derive(Default)]
struct World {
    armed: bool,
    input: u32,
    deadline: u64,
    stop: bool,
}

struct Kernel {
    world: Mutex<World>,
    changed: Condvar,
}

impl Kernel {
    fn new() -> Arc<Kernel> {
        let world = World { armed: true, deadline: u64::MAX, ..World::default() };
        Arc::new(Kernel { world: Mutex::new(world), changed: Condvar::new() })
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
        self.changed.notify_all();
    }
}

struct Port(Arc<Kernel>);

impl Gate for Port {
    fn disarm(&self) {
        self.0.change(|world| world.armed = false);
    }
    fn rearm(&self) {
        self.0.change(|world| world.armed = true);
    }
    fn schedule(&self, deadline: u64) {
        self.0.change(|world| world.deadline = deadline);
    }
    fn linger(&self, _deadline: u64) {
        // In a moment, which is any time.
        self.schedule(1);
    }
    fn stand_back(&self) {
        self.schedule(u64::MAX);
    }
    fn nudge(&self) {}
}

/// Counts who is in it.
struct Value {
    kernel: Arc<Kernel>,
    drivers: u32,
    handled: u32,
    due: bool,
    shut: u32,
}

impl Value {
    fn new(kernel: &Arc<Kernel>) -> Value {
        Value { kernel: Arc::clone(kernel), drivers: 0, handled: 0, due: false, shut: 0 }
    }

    /// One pass: takes all input.
    fn drive(&mut self) {
        self.drivers += 1;
        assert_eq!(self.drivers, 1, "two drivers at a time");
        let mut world = self.kernel.world.lock().unwrap();
        self.handled += std::mem::take(&mut world.input);
        drop(world);
        thread::yield_now();
        self.drivers -= 1;
    }
}

impl Tenant for Value {
    fn deadline(&mut self) -> u64 {
        if self.due { 1 } else { u64::MAX }
    }
    fn shut(&mut self) {
        self.shut += 1;
    }
}

/// The owner thread: sleeps until input or a deadline, drives if it may; ends when told, once nothing is left to do.
fn own(lease: &Lease<Value, Port>, kernel: &Kernel) {
    loop {
        let mut world = kernel.world.lock().unwrap();
        loop {
            let due = world.deadline != u64::MAX;
            if (world.armed && world.input > 0) || due {
                break;
            }
            if world.stop && world.input == 0 && world.armed {
                return;
            }
            // Stopped but not armed: somebody is bound to tell; if not, this waits for ever and loom says so.
            world = kernel.changed.wait(world).unwrap();
        }
        drop(world);
        if let Some(mut held) = lease.try_enter() {
            held.due = false;
            held.drive();
        }
    }
}

/// Runs an owner, and `callers` beside input that comes at any time; at the end everything was handled.
fn with_owner(callers: Vec<fn(&Lease<Value, Port>)>) {
    let kernel = Kernel::new();
    let lease = Arc::new(Lease::new(Value::new(&kernel), Port(Arc::clone(&kernel))));
    let owner = {
        let (lease, kernel) = (Arc::clone(&lease), Arc::clone(&kernel));
        thread::spawn(move || own(&lease, &kernel))
    };
    let callers: Vec<_> = callers
        .into_iter()
        .map(|caller| {
            let lease = Arc::clone(&lease);
            thread::spawn(move || caller(&lease))
        })
        .collect();
    kernel.change(|world| world.input += 1);
    for caller in callers {
        caller.join().unwrap();
    }
    kernel.change(|world| world.stop = true);
    owner.join().unwrap();
    let held = lease.enter(&mut || true).ok().expect("idle");
    assert_eq!(held.handled, 1, "the input was handled, once");
    assert!(!held.due, "the deadline was met");
    assert!(kernel.world.lock().unwrap().armed, "the port is armed again");
}

/// All interleavings with at most so many preemptions. `LOOM_MAX_PREEMPTIONS=3` looks further everywhere, in minutes.
fn model(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(check);
}

/// A blocking call: disarms and drives.
fn call(lease: &Lease<Value, Port>) {
    let mut held = lease.enter(&mut || true).ok().expect("not closed");
    held.disarm();
    held.drive();
}

/// A command that leaves something due for the owner, without disarming.
fn command(lease: &Lease<Value, Port>) {
    let mut held = lease.enter(&mut || true).ok().expect("not closed");
    held.due = true;
}

/// Gives up if it has to queue.
fn give_up(lease: &Lease<Value, Port>) {
    if let Ok(mut held) = lease.enter(&mut || false) {
        held.disarm();
    }
}

#[test]
fn input_is_handled_once_whoever_drives() {
    model(3, || with_owner(vec![call]));
}

#[test]
fn two_callers_and_the_owner_take_turns() {
    model(2, || with_owner(vec![call, call]));
}

#[test]
fn a_deadline_left_behind_is_met_by_the_owner() {
    model(3, || with_owner(vec![command]));
}

#[test]
fn a_caller_that_gives_up_leaves_the_port_armed() {
    model(2, || with_owner(vec![call, give_up]));
}

#[test]
fn closing_while_leased_shuts_once_and_turns_others_away() {
    model(3, || {
        let kernel = Kernel::new();
        let lease = Arc::new(Lease::new(Value::new(&kernel), Port(Arc::clone(&kernel))));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let lease = Arc::clone(&lease);
                thread::spawn(move || match lease.enter(&mut || true) {
                    Ok(mut held) => {
                        held.disarm();
                        assert_eq!(held.shut, 0, "nobody drives what is shut");
                        held.drive();
                    }
                    Err(refusal) => assert_eq!(refusal, Refusal::Closed),
                })
            })
            .collect();
        lease.close();
        assert!(lease.try_enter().is_none());
        for caller in callers {
            caller.join().unwrap();
        }
        assert!(!kernel.world.lock().unwrap().armed, "a closed port wakes nobody");
        assert!(matches!(lease.enter(&mut || true), Err(Refusal::Closed)));
    });
}

#[test]
fn a_sleeper_is_woken_for_an_earlier_deadline() {
    model(3, || {
        let alarm = Arc::new(Alarm::new());
        let slot = Arc::new(AtomicDeadline::new());
        let kicked = Arc::new((Mutex::new(false), Condvar::new()));
        let other = {
            let (alarm, slot, kicked) = (Arc::clone(&alarm), Arc::clone(&slot), Arc::clone(&kicked));
            thread::spawn(move || {
                if alarm.is_too_late_for(&slot, 5) {
                    *kicked.0.lock().unwrap() = true;
                    kicked.1.notify_all();
                }
            })
        };
        loop {
            match alarm.sleep(|| slot.read()) {
                Some(5) => break,
                Some(_) => {
                    let mut woken = kicked.0.lock().unwrap();
                    while !*woken {
                        woken = kicked.1.wait(woken).unwrap();
                    }
                    alarm.awake();
                }
                None => {}
            }
        }
        other.join().unwrap();
    });
}
