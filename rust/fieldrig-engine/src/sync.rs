//! The few synchronisation tools of the lease: those of the standard library, or those of loom when the lease is
//! model-checked (`--cfg loom`). What is checked is the real code.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::thread::{ThreadId, current};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering, fence},
    },
    thread::{ThreadId, current},
};
#[cfg(loom)]
pub(crate) use std::sync::PoisonError;
