//! Run delay: how long a thread was ready to run and no CPU ran it, as the kernel counts it.
//!
//! `/proc/self/task/TID/schedstat` has three numbers: time on a CPU and time in a run queue (nanoseconds), and how
//! often it ran (Documentation/scheduler/sched-stats.rst of the kernel). It explains lateness and decides nothing.
//! A thread that is stopped, or whose virtual machine is paused while it sleeps, is in no run queue.

use fieldrig_proto::time::Duration;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What the kernel has counted for one thread.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counted {
    /// Time on a CPU.
    pub(crate) ran: Duration,
    /// Time in a run queue.
    pub(crate) waited: Duration,
}

/// Reads what the kernel counts for one thread.
#[derive(Debug)]
pub(crate) struct RunDelay {
    file: File,
}

impl RunDelay {
    /// That of the calling thread; `None` if this kernel does not tell.
    pub(crate) fn of_this_thread() -> Option<RunDelay> {
        let delay = RunDelay { file: File::open("/proc/thread-self/schedstat").ok()? };
        delay.read().map(|_| delay)
    }

    /// What was counted so far; any thread may ask.
    pub(crate) fn read(&self) -> Option<Counted> {
        let mut text = [0; 96];
        let length = self.file.read_at(&mut text, 0).ok()?;
        counted(std::str::from_utf8(&text[..length]).ok()?)
    }
}

/// The first two numbers; a kernel that does not count writes zeros, and a thread that asks has run.
fn counted(text: &str) -> Option<Counted> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (ran, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let runs = numbers.next()?.ok()?;
    (ran > 0 || runs > 0).then(|| Counted { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_schedstat_is_read_and_one_of_a_kernel_that_does_not_count_is_not() {
        let both = Counted { ran: Duration::from_nanos(330_271), waited: Duration::from_nanos(404_293) };
        assert_eq!(counted("330271 404293 2\n"), Some(both));
        for text in ["0 0 0\n", "", "12", "12 x 1"] {
            assert_eq!(counted(text), None, "{text:?}");
        }
    }
}
