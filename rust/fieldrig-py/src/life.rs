//! How long native things live: forks, interpreter exit, private and shared rigs.
//!
//! Rules of this file:
//! - What was made before an `os.fork()` is dead in the child: its threads do not exist there and its locks may be held
//!   by nobody. [`Alive`] gives it out only in the process that made it and never drops it anywhere else.
//! - Closing waits for whoever drives a node, and that may be a thread on its way into a model in Python: nothing is
//!   closed or dropped with the GIL held.
//! - Every rig is stopped at interpreter exit, before Python goes away; stopping joins all its threads. Python code of a
//!   device that hangs is ended by its watchdog; where that cannot be done (a call of C code), exit goes on without it, and
//!   nothing of ours is dropped any more: that would wait for it.
//! - No call is under way without the GIL when Python goes away ([`detached`], [`Call`]): a thread that then wants the GIL
//!   back is unwound through our frames, which aborts the process.
//! - A rig is shared by reference: the last object that uses it stops it.

use crate::error::{Kind, Owner, engine_error, error, hinted};
use fieldrig_engine::{Rig, RigOptions};
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

/// Counts the forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Something with threads or ports behind it, usable only in the process that made it.
pub(crate) struct Alive<T: Send> {
    inner: ManuallyDrop<T>,
    generation: u32,
}

impl<T: Send> Alive<T> {
    pub(crate) fn new(inner: T) -> Alive<T> {
        Alive { inner: ManuallyDrop::new(inner), generation: GENERATION.load(Ordering::Relaxed) }
    }

    fn here(&self) -> bool {
        self.generation == GENERATION.load(Ordering::Relaxed)
    }

    /// The thing itself.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    #[inline]
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&T> {
        if self.here() {
            return Ok(&self.inner);
        }
        Err(hinted(
            py,
            Kind::Fork,
            "this object was made before os.fork(); its ports and threads belong to the parent process",
            Some("make the object in the child, or start the process with the spawn method"),
        ))
    }
}

impl<T: Send> Drop for Alive<T> {
    fn drop(&mut self) {
        if self.here() && !GIVEN_UP.load(Ordering::SeqCst) {
            // SAFETY: taken only here, once, and never used again.
            let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
            let mut inner = Some(inner);
            // Without an interpreter it is dropped as it stands.
            Python::try_attach(|py| detached(py, || drop(inner.take())));
        }
    }
}

/// Calls that are under way.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// The interpreter is about to go away: everything is being stopped.
static EXITING: AtomicBool = AtomicBool::new(false);
/// Everything is stopped.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// Something did not stop in time.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);
/// How long interpreter exit waits for calls of other threads. They end within 20 ms; only Python code called from one can
/// take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call that gives up the GIL, or calls Python: interpreter exit waits for its end.
pub(crate) struct Call(());

impl Call {
    pub(crate) fn begin() -> Call {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Call(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the interpreter is about to go away: calls end, and no new ones begin.
pub(crate) fn exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

/// Does something with the GIL released; with the GIL kept once everything is stopped, when nothing can block any more.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let _call = Call::begin();
    if STOPPED.load(Ordering::SeqCst) { work() } else { py.detach(work) }
}

/// A rig that is stopped with its last user.
pub(crate) struct Shared {
    rig: Alive<Rig>,
    numbers: AtomicU64,
}

impl Shared {
    /// Starts a rig and sees to it that it is stopped at interpreter exit.
    ///
    /// # Errors
    /// Those of [`Rig::start`], as Python exceptions.
    pub(crate) fn start(py: Python<'_>, options: RigOptions) -> PyResult<Arc<Shared>> {
        if exiting() {
            return Err(error(py, Kind::Stopped, "the interpreter is going away"));
        }
        let rig = detached(py, || Rig::start(options)).map_err(|problem| engine_error(py, &problem, Owner::Bench))?;
        let shared = Arc::new(Shared { rig: Alive::new(rig), numbers: AtomicU64::new(0) });
        let mut all = RIGS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        Ok(shared)
    }

    /// A number that was not given out before on this rig, counting from 0.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The rig.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn rig(&self, py: Python<'_>) -> PyResult<&Rig> {
        self.rig.get(py)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.rig.here() && !GIVEN_UP.load(Ordering::SeqCst) {
            let rig = &self.rig.inner;
            // Stopping joins threads; other Python threads may go on meanwhile.
            if Python::try_attach(|py| detached(py, || rig.stop())).is_none() {
                rig.stop();
            }
        }
    }
}

static RIGS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Stops every rig of this process, and waits until every call has ended; registered with `atexit`.
#[pyfunction]
pub(crate) fn _stop_all(py: Python<'_>) {
    let all: Vec<Arc<Shared>> = {
        let mut rigs = RIGS.lock().unwrap_or_else(PoisonError::into_inner);
        rigs.drain(..).filter_map(|known| known.upgrade()).collect()
    };
    EXITING.store(true, Ordering::SeqCst);
    if !all.is_empty() && !stop(py, all) {
        GIVEN_UP.store(true, Ordering::SeqCst);
        return;
    }
    let end = Instant::now() + PATIENCE;
    // Looked at with the GIL held: without it no other thread begins a call.
    while CALLS.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        py.detach(|| std::thread::sleep(Duration::from_millis(1)));
    }
    STOPPED.store(true, Ordering::SeqCst);
}

/// Stops rigs, on a thread of its own; false if that takes longer than anything that ends takes.
fn stop(py: Python<'_>, all: Vec<Arc<Shared>>) -> bool {
    let (tell, told) = mpsc::channel();
    let work = move || {
        for shared in all.iter().filter(|shared| shared.rig.here()) {
            shared.rig.inner.stop();
        }
        // Dropped by the one who waits: here nobody is attached. If he has given up, it is not dropped at all.
        if let Err(mpsc::SendError(all)) = tell.send(all) {
            std::mem::forget(all);
        }
    };
    let limit = PATIENCE + patience_with_code(py);
    match std::thread::Builder::new().name("fieldrig-exit".to_owned()).spawn(work) {
        // What is told is dropped here, attached.
        Ok(_) => py.detach(move || told.recv_timeout(limit)).is_ok(),
        Err(_) => false,
    }
}

/// How long Python code of a device may run before its watchdog ends it.
fn patience_with_code(py: Python<'_>) -> Duration {
    let seconds = || -> PyResult<f64> {
        let modules = py.import("sys")?.getattr("modules")?;
        let watchdog = modules.get_item("fieldrig.model.watchdog")?;
        Ok(watchdog.getattr("PATIENCE")?.extract::<f64>()? * watchdog.getattr("TICK")?.extract::<f64>()?)
    };
    // Without a watchdog there was no such code.
    Duration::from_secs_f64(seconds().unwrap_or_default().clamp(0.0, 60.0) * 1.5)
}

/// Runs in the child of `os.fork()`.
#[pyfunction]
pub(crate) fn _after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Those of threads that do not exist here.
    CALLS.store(0, Ordering::SeqCst);
    // The list's lock may have been held by another thread of the parent: then the list is lost, which is harmless,
    // because what it holds is dead here anyway.
    if let Ok(mut rigs) = RIGS.try_lock() {
        rigs.clear();
    }
}

/// Registers both hooks.
///
/// # Errors
/// Those of Python's import.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let stop = pyo3::wrap_pyfunction!(_stop_all, module)?;
    py.import("atexit")?.call_method1("register", (stop,))?;
    let forked = pyo3::wrap_pyfunction!(_after_fork_in_child, module)?;
    let hooks = pyo3::types::PyDict::new(py);
    hooks.set_item("after_in_child", forked)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
