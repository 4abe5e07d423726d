//! Programs that are devices: whether the host let them run.
//!
//! An emulator keeps the time of the device that it emulates by the clock of the host. If the host lets it wait for a CPU,
//! a device that is correct seems to break its own deadlines: between two bytes of a request it sees a silence that
//! nobody sent. The kernel counts how long each thread was in a run queue (`/proc/PID/task/TID/schedstat`); a wait that is
//! longer than the program stands is a stall, and what was late or missing in it is held against nobody.
//!
//! Rules of this file:
//! - Waits are charged to the interval between two looks. Looks are frequent, and whoever asks looks first.
//! - Several threads may hold each other up one after the other: the waits of all count together, and so do those of looks
//!   that follow each other closely.
//! - A wait that has not ended yet is not counted by the kernel: it is found once the program runs again.
//! - Time that a hypervisor takes is in no run queue. It shows in the steal time of the host (`/proc/stat`), or the looks
//!   themselves are later than their own run queue explains: that counts, too.
//! - A program that has ended has no threads, and stalls no more.

use crate::clock::Clock;
use crate::run_delay::{self, RunDelay};
use crate::sentinel::{Stall, StallKind};
use fieldrig_proto::time::{Duration, Time};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(10);
/// Waits that lie no farther apart than this count together.
const TOGETHER: Duration = Duration::from_millis(25);
/// The unit of `/proc/stat` (USER_HZ, 100 on all machines that Linux runs on here).
const TICK: Duration = Duration::from_millis(10);
/// How many stalls are remembered.
const KEPT: usize = 4096;
/// What the looks may be late without a reason that the kernel tells: timers are not exact.
const SLACK: Duration = Duration::from_millis(2);

/// The programs of a rig; its thread begins with the first of them.
#[derive(Default)]
pub(crate) struct Programs {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    programs: Vec<Program>,
    stalls: VecDeque<Stall>,
    /// What the hypervisor has taken, in ticks.
    stolen: u64,
}

/// One program.
struct Program {
    /// `/proc/PID/task`.
    tasks: PathBuf,
    /// A longer wait is a stall.
    stands: Duration,
    looked: Time,
    /// Time in the run queue, by thread.
    waited: HashMap<String, Duration>,
    /// The last intervals between looks, and the waits in them.
    recent: VecDeque<(Time, Time, Duration)>,
}

impl Programs {
    /// Watches a process from now on.
    pub(crate) fn watch(&self, process: u32, stands: Duration) -> io::Result<()> {
        let mut program = Program {
            tasks: PathBuf::from(format!("/proc/{process}/task")),
            stands,
            looked: Clock::Real.now(),
            waited: HashMap::new(),
            recent: VecDeque::new(),
        };
        program.look(Clock::Real.now());
        let mut state = lock(&self.shared.state);
        state.stolen = stolen();
        state.programs.push(program);
        drop(state);
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let watched = Arc::clone(&self.shared);
            *thread =
                Some(std::thread::Builder::new().name("fieldrig-programs".to_owned()).spawn(move || watch(&watched))?);
        }
        Ok(())
    }

    /// The stalls that ended after `since`.
    pub(crate) fn stalls(&self, since: Time) -> Vec<Stall> {
        let mut state = lock(&self.shared.state);
        if state.programs.is_empty() {
            return Vec::new();
        }
        state.look(Duration::ZERO, stolen());
        state.stalls.iter().filter(|stall| stall.until > since).copied().collect()
    }

    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // It has nothing in it that panics.
            let _ = thread.join();
        }
    }
}

impl State {
    /// Looks at all programs; `late` is by how much this look itself is late without a reason of its own, `stolen` the steal time so far.
    fn look(&mut self, late: Duration, stolen: u64) {
        let now = Clock::Real.now();
        let ticks = stolen.saturating_sub(std::mem::replace(&mut self.stolen, stolen));
        let taken = late.max(TICK * u32::try_from(ticks).unwrap_or(u32::MAX));
        for program in &mut self.programs {
            let (from, waited) = program.look(now);
            let run_delay = waited.max(taken);
            if run_delay > program.stands {
                self.stalls.push_back(Stall { from, until: now, kind: StallKind::Program, run_delay });
                program.recent.clear();
            }
        }
        while self.stalls.len() > KEPT {
            self.stalls.pop_front();
        }
    }
}

impl Program {
    /// For how long its threads together were in the run queue lately, and since when that is.
    fn look(&mut self, now: Time) -> (Time, Duration) {
        let from = std::mem::replace(&mut self.looked, now);
        let counted = waited(&self.tasks);
        let grown = counted.iter().filter_map(|(thread, waited)| {
            // What a thread waited before it was seen for the first time belongs to its beginning.
            Some(waited.saturating_sub(*self.waited.get(thread)?))
        });
        let grown = grown.sum();
        self.waited = counted;
        self.recent.push_back((from, now, grown));
        self.recent.retain(|(_, until, _)| now.since(*until) <= TOGETHER);
        // Pushed above, and as recent as can be.
        let since = self.recent.front().map_or(from, |(from, ..)| *from);
        (since, self.recent.iter().map(|(.., waited)| *waited).sum())
    }
}

/// Time in the run queue of each thread; nothing of a program that is gone.
fn waited(tasks: &Path) -> HashMap<String, Duration> {
    let Ok(threads) = std::fs::read_dir(tasks) else { return HashMap::new() };
    let one = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), run_delay::counted(&text)?.waited))
    };
    threads.filter_map(|thread| one(thread.ok()?)).collect()
}

/// The steal time of all CPUs so far, in ticks: the eighth number (proc_stat(5)); 0 where nobody counts it.
fn stolen() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().next().and_then(|all| all.split_ascii_whitespace().nth(8)?.parse().ok()).unwrap_or_default()
}

fn watch(shared: &Shared) {
    let delay = RunDelay::of_this_thread();
    let own_wait = || delay.as_ref().and_then(RunDelay::read).map(|counted| counted.waited);
    let (mut last, mut waited) = (Clock::Real.now(), own_wait());
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(PERIOD);
        // Before the lock: who holds it is no fault of the host.
        let now = Clock::Real.now();
        let own = own_wait();
        let explained = own.zip(waited).map(|(own, before)| own.saturating_sub(before));
        // Where nobody counts, nobody knows why a look is late.
        let late = explained.map_or(Duration::ZERO, |explained| {
            now.since(last).saturating_sub(PERIOD).saturating_sub(explained).saturating_sub(SLACK)
        });
        lock(&shared.state).look(late, stolen());
        (last, waited) = (Clock::Real.now(), own_wait());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is gone when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            Folder(std::env::temp_dir().join(format!("fieldrig-programs-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A program whose threads have waited so long.
    fn program(folder: &Path, threads: &[(&str, u64)]) -> Program {
        wait(folder, threads);
        Program {
            tasks: folder.to_owned(),
            stands: Duration::from_millis(2),
            looked: Time::ZERO,
            waited: HashMap::new(),
            recent: VecDeque::new(),
        }
    }

    fn wait(folder: &Path, threads: &[(&str, u64)]) {
        for (thread, millis) in threads {
            std::fs::create_dir_all(folder.join(thread)).expect("a folder");
            std::fs::write(folder.join(thread).join("schedstat"), format!("5 {} 7\n", millis * 1_000_000))
                .expect("a file");
        }
    }

    #[test]
    fn the_waits_of_all_threads_and_of_looks_close_together_count() {
        let folder = Folder::new("together");
        let mut program = program(&folder.0, &[("1", 70), ("2", 20)]);
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let ms = Duration::from_millis;
        assert_eq!(program.look(at(10)), (at(0), ms(0)), "what was before is its beginning");
        wait(&folder.0, &[("1", 71), ("2", 22), ("3", 90)]);
        assert_eq!(program.look(at(20)), (at(0), ms(3)));
        wait(&folder.0, &[("1", 72)]);
        assert_eq!(program.look(at(30)), (at(0), ms(4)));
        assert_eq!(program.look(at(40)), (at(10), ms(4)));
        assert_eq!(program.look(at(50)), (at(20), ms(1)));
        std::fs::remove_dir_all(&folder.0).expect("it was there");
        assert_eq!(program.look(at(90)), (at(50), ms(0)));
    }

    #[test]
    fn a_wait_or_stolen_time_is_a_stall_once() {
        let folder = Folder::new("stall");
        let mut state = State { programs: vec![program(&folder.0, &[("1", 1)])], ..State::default() };
        let mut stalls = |waited: u64, late: u64, stolen: u64| {
            wait(&folder.0, &[("1", waited)]);
            state.look(Duration::from_millis(late), stolen);
            state.stalls.drain(..).map(|stall| stall.run_delay.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(stalls(1, 0, 0), []);
        assert_eq!(stalls(3, 0, 0), [], "it stands 2 ms");
        assert_eq!(stalls(6, 0, 0), [5], "together with the look before");
        assert_eq!(stalls(6, 0, 0), []);
        assert_eq!(stalls(6, 3, 0), [3], "a look that is late");
        assert_eq!(stalls(6, 0, 2), [20], "two ticks that the hypervisor took");
        assert_eq!(stalls(6, 0, 2), []);
    }

    #[test]
    fn its_thread_ends_when_it_is_stopped() {
        let programs = Programs::default();
        programs.watch(std::process::id(), Duration::from_secs(3600)).expect("a thread");
        assert_eq!(programs.stalls(Time::ZERO), []);
        programs.stop();
        assert!(lock(&programs.thread).is_none());
    }
}
