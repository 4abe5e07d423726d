//! Raising the exceptions of `fieldrig/errors.py`. They are defined in Python, because exceptions made here could not be
//! pickled; each class is looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// A class of `fieldrig/errors.py`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The call is wrong.
    Usage,
    /// An object from before a fork was used in the child.
    Fork,
}

impl Kind {
    fn class(self, py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
        macro_rules! class {
            ($name:literal) => {{
                static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
                CLASS.import(py, "fieldrig.errors", $name)
            }};
        }
        match self {
            Kind::Usage => class!("UsageError"),
            Kind::Fork => class!("ForkError"),
        }
    }
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
