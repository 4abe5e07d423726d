//! Attaching threads of ours to Python, cheaply.
//!
//! Rules of this file:
//! - A thread that Python did not make gets a thread state when it attaches, and loses it when it lets go: 8 us each time.
//!   Whoever attaches here keeps it until the thread ends; from the second time on that costs 0.1 us.
//! - The GIL itself is let go each time: a thread that waits for bytes holds up nobody.
//! - Threads of ours end before Python does (`life.rs`), so there is an interpreter to give the state back to; if there
//!   is none any more, nothing is given back.

use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// The state of a thread that Python did not make.
struct Kept(ffi::PyGILState_STATE);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: undoes the `PyGILState_Ensure` of `attached` on the same thread, attached as it was then.
        Python::try_attach(|_| unsafe { ffi::PyGILState_Release(self.0) });
    }
}

/// Does something with Python; `None` without an interpreter, or with one that is going away.
pub(crate) fn attached<R>(work: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
    // SAFETY: may be called on any thread, attached or not; it only looks.
    let foreign = unsafe { ffi::PyGILState_GetThisThreadState() }.is_null();
    Python::try_attach(|py| {
        if foreign {
            // SAFETY: this thread is attached; one level more keeps its state when the level of `try_attach` ends.
            let state = unsafe { ffi::PyGILState_Ensure() };
            KEPT.set(Some(Kept(state)));
        }
        work(py)
    })
}
