//! The priority ceiling: who drives a node whose line thread has a deadline before it does so with that thread's
//! priority.
//!
//! A caller on a busy host may lose its CPU at any moment. If it had the node then, the line thread, which never waits,
//! would have to let its deadline pass. So a caller is raised before it enters and lowered after it has left. One that
//! waits for what arrives is raised for that, too: it stamps in the place of the line thread.

use super::host;
use super::ladder::LINE_PRIORITY;

/// While it lives, the calling thread has the priority of line threads.
#[derive(Debug)]
pub(crate) struct Ceiling(());

impl Ceiling {
    /// `None` if this thread is no ordinary one, or may not be raised.
    pub(crate) fn raise() -> Option<Ceiling> {
        // Without the flag that forked processes are ordinary again: who may not set priorities may not clear it.
        let raised = host::is_ordinary() && host::schedule(0, libc::SCHED_FIFO, LINE_PRIORITY).is_ok();
        raised.then_some(Ceiling(()))
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        // Everybody may lower himself.
        let _ = host::schedule(0, libc::SCHED_OTHER, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_ordinary_again_when_it_has_left() {
        std::thread::spawn(|| {
            let raised = Ceiling::raise();
            assert_eq!(raised.is_none(), host::is_ordinary());
            drop(raised);
            assert!(host::is_ordinary());
        })
        .join()
        .expect("it does not panic");
    }
}
