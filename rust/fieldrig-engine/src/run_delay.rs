//! Run delay: how long a thread was ready to run and no CPU ran it, as the kernel counts it.
//!
//! `/proc/self/task/TID/schedstat` has three numbers: time on a CPU and time in a run queue (nanoseconds), and how
//! often it ran (Documentation/scheduler/sched-stats.rst of the kernel). It explains lateness and decides nothing.
//! A thread that is stopped, or whose virtual machine is paused while it sleeps, is in no run queue.

use fieldrig_proto::time::{Duration, Time};
use std::cell::RefCell;
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
pub(crate) fn counted(text: &str) -> Option<Counted> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (ran, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let runs = numbers.next()?.ok()?;
    (ran > 0 || runs > 0).then(|| Counted { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) })
}

struct Mark {
    delay: Option<RunDelay>,
    at: Time,
    waited: Option<Duration>,
}

/// A mark explains what was due no later than this after it.
const FRESH: Duration = Duration::from_millis(5);
/// Less than this is the price of waking up; asking why would take as long.
const ON_TIME: Duration = Duration::from_micros(20);

thread_local! {
    static MARK: RefCell<Option<Mark>> = const { RefCell::new(None) };
}

/// The calling thread is about to wait for an instant: what it spends in the run queue from here on is counted.
pub(crate) fn mark(now: Time) {
    MARK.with_borrow_mut(|mark| {
        let mark = mark.get_or_insert_with(|| Mark { delay: RunDelay::of_this_thread(), at: now, waited: None });
        mark.at = now;
        mark.waited = mark.delay.as_ref().and_then(RunDelay::read).map(|counted| counted.waited);
    });
}

/// How long the calling thread was in the run queue since its mark; `None` without a mark, or if nobody counts.
pub(crate) fn since_mark() -> Option<Duration> {
    MARK.with_borrow(|mark| {
        let mark = mark.as_ref()?;
        let now = mark.delay.as_ref()?.read()?.waited;
        Some(now.saturating_sub(mark.waited?))
    })
}

/// For how much of the time from `due` to `done` the calling thread was in the run queue; `None` if that is not known.
pub(crate) fn explains(due: Time, done: Time) -> Option<Duration> {
    let late = done.since(due);
    if late < ON_TIME {
        return Some(Duration::ZERO);
    }
    let marked = MARK.with_borrow(|mark| mark.as_ref().map(|mark| mark.at))?;
    if due.since(marked) > FRESH {
        return None;
    }
    since_mark().map(|waited| waited.min(late))
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

    #[test]
    fn a_thread_that_only_sleeps_waits_in_no_run_queue_for_longer_than_it_was_away() {
        let begun = std::time::Instant::now();
        mark(Time::ZERO);
        std::thread::sleep(std::time::Duration::from_millis(2));
        if let Some(waited) = since_mark() {
            assert!(waited <= begun.elapsed());
        }
    }

    #[test]
    fn the_run_queue_explains_no_more_than_the_lateness_and_nothing_long_after_the_mark() {
        let at = |micros: u64| Time::from_nanos(micros * 1000);
        std::thread::spawn(move || {
            assert_eq!(explains(at(100), at(110)), Some(Duration::ZERO));
            assert_eq!(explains(at(100), at(200)), None, "no mark");
            mark(at(0));
            assert!(explains(at(100), at(200)).is_none_or(|waited| waited <= Duration::from_micros(100)));
            assert_eq!(explains(at(6000), at(7000)), None, "an old mark");
        })
        .join()
        .expect("it does not panic");
    }
}
