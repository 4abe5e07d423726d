//! Raising the exceptions of `fieldrig/errors.py`. They are defined in Python, because exceptions made here could not be
//! pickled; each class is looked up once.

use fieldrig_engine::EngineError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

macro_rules! kinds {
    ($($kind:ident = $class:literal),* $(,)?) => {
        /// A class of `fieldrig/errors.py`.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            fn class(self, py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
                match self {
                    $(Kind::$kind => {
                        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
                        CLASS.import(py, "fieldrig.errors", $class)
                    })*
                }
            }
        }
    };
}
kinds! {
    Bench = "BenchError", BenchFile = "BenchFileError", ConnectionLost = "ConnectionLost", Stuck = "EndpointStuck",
    ExceptionAnswer = "ExceptionAnswer", Fork = "ForkError", Inconclusive = "InconclusiveError", NoAnswer = "NoAnswer", Port = "PortError",
    PortLost = "PortLost", Protocol = "ProtocolError", Reentered = "Reentered", Refused = "Refused",
    Stopped = "Stopped", Unanswered = "Unanswered", Untrusted = "Untrusted", Usage = "UsageError",
}

/// Whose port it is: decides who is to blame when it goes away.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Our adapter, our network.
    Bench,
    /// The device's own (its USB port, its console).
    Dut,
}

impl Owner {
    /// What it is called when a port of this owner goes away, or the connection through it ends.
    pub(crate) fn loss(self) -> Kind {
        match self {
            Owner::Bench => Kind::PortLost,
            Owner::Dut => Kind::ConnectionLost,
        }
    }

    /// From `"bench"` or `"dut"`.
    ///
    /// # Errors
    /// `UsageError` for anything else.
    pub(crate) fn parse(py: Python<'_>, text: &str) -> PyResult<Owner> {
        match text {
            "bench" => Ok(Owner::Bench),
            "dut" => Ok(Owner::Dut),
            _ => Err(error(py, Kind::Usage, format!("belongs_to is \"bench\" or \"dut\", not {text:?}"))),
        }
    }
}

/// What the engine could not do on a port of this owner, as an exception.
pub(crate) fn engine_error(py: Python<'_>, problem: &EngineError, owner: Owner) -> PyErr {
    let kind = match problem {
        EngineError::Port { .. } => Kind::Port,
        // What it presents is its own doing; what was presented, and whom we believe, stands in the text.
        EngineError::Untrusted { .. } => Kind::Untrusted,
        EngineError::Lost { .. } => owner.loss(),
        EngineError::Stuck { .. } => Kind::Stuck,
        EngineError::Reentered { .. } => Kind::Reentered,
        EngineError::Stopped { .. } => Kind::Stopped,
        // Nobody raised in `go_on`, so the interpreter is going away.
        EngineError::Interrupted => Kind::Stopped,
        EngineError::NoProgress { .. } | EngineError::Machine { .. } => Kind::Bench,
    };
    hinted(py, kind, problem.to_string(), problem.hint())
}

/// An exception with its message.
pub(crate) fn error(py: Python<'_>, kind: Kind, message: impl AsRef<str>) -> PyErr {
    build(py, kind, message.as_ref(), None, &[])
}

/// An exception with its message and a known remedy.
pub(crate) fn hinted(py: Python<'_>, kind: Kind, message: impl AsRef<str>, hint: Option<&str>) -> PyErr {
    build(py, kind, message.as_ref(), hint, &[])
}

/// An exception with everything.
pub(crate) fn build(
    py: Python<'_>,
    kind: Kind,
    message: &str,
    hint: Option<&str>,
    facts: &[(&str, Bound<'_, PyAny>)],
) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let class = kind.class(py)?;
        let keywords = PyDict::new(py);
        if let Some(hint) = hint {
            keywords.set_item("hint", hint)?;
        }
        for (name, value) in facts {
            keywords.set_item(name, value)?;
        }
        Ok(PyErr::from_value(class.call((message,), Some(&keywords))?))
    };
    made().unwrap_or_else(|problem| problem)
}

/// The object, or its port, has ended before.
pub(crate) fn is_over(py: Python<'_>, problem: &PyErr) -> bool {
    let kinds = [Kind::Stopped, Kind::PortLost, Kind::ConnectionLost];
    kinds.iter().any(|kind| kind.class(py).is_ok_and(|class| problem.is_instance(py, class)))
}
