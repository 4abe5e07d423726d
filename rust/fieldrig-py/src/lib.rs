//! The binding: conversion, releasing the GIL, exceptions. No logic.
//!
//! - `error`: the exceptions of `fieldrig/errors.py`, raised from here.
//! - `time`: `Stamp`, `Span`, durations.

// What Python sees is documented for Python: in the stubs and in the docstrings below.
#![allow(missing_docs)]

use pyo3::prelude::*;

mod error;
mod time;

/// The native core of fieldrig.
#[pymodule]
mod _core {
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::time::{Span, Stamp, duration, duration_ns};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_sub_interpreters()?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Threads, ports and the classes looked up once belong to one interpreter.
    fn refuse_sub_interpreters() -> PyResult<()> {
        // SAFETY: the calling thread is attached to the interpreter it asks about.
        let interpreter = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
        if interpreter == 0 {
            return Ok(());
        }
        Err(PyImportError::new_err("fieldrig works in the main interpreter only, not in a sub-interpreter"))
    }
}
