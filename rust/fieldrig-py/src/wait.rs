//! Waiting without the GIL, and without making Ctrl-C wait.

use crate::error::{Kind, Owner, engine_error, error, hinted};
use crate::life::{detached, exiting};
use crate::model::{Blocking, Runs};
use fieldrig_engine::EngineError;
use pyo3::prelude::*;

/// Runs a blocking engine call with the GIL released. The engine asks `go_on` at least every 20 ms; there the signal
/// handlers of Python run (only the main thread has any), and what they raise ends the call on a way on which the
/// engine re-arms the port. So does what they raise in a model that runs on this thread.
///
/// # Errors
/// `UsageError` in a model or handler; what a signal handler raised; else the engine's error as an exception.
pub(crate) fn blocking<T: Send>(
    py: Python<'_>,
    owner: Owner,
    call: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<T, EngineError> + Send,
) -> PyResult<T> {
    if exiting() {
        return Err(error(py, Kind::Stopped, "the interpreter is going away"));
    }
    let (message, hint) = match Runs::here() {
        None => ("", ""),
        Some(Runs::Model) => ("a model cannot wait for the bench it is part of", "use its links, and await self.sleep"),
        Some(Runs::Handler) => (
            "a handler cannot wait for the device that asks it, nor for anything else of a bench",
            "keep what it needs in Python; for what the device holds, return None",
        ),
        Some(Runs::Endpoint) => (
            "an endpoint cannot wait: it is called when there is something to do",
            "give what is to be done in poll_action(), and say in poll_timeout() when to be called again",
        ),
    };
    if !message.is_empty() {
        return Err(hinted(py, Kind::Usage, message, Some(hint)));
    }
    let blocking = Blocking::begin();
    let mut raised: Option<PyErr> = None;
    let outcome = detached(py, || {
        let mut go_on = || match Python::try_attach(|py| py.check_signals()) {
            Some(Ok(())) => !exiting() && !Blocking::interrupted(),
            Some(Err(error)) => {
                raised = Some(error);
                false
            }
            // The interpreter is going away.
            None => false,
        };
        call(&mut go_on)
    });
    drop(blocking);
    // A model ran on this thread, and a signal handler with it.
    let raised = Blocking::take().or(raised);
    match raised {
        Some(error) => Err(error),
        None => outcome.map_err(|problem| engine_error(py, &problem, owner)),
    }
}
