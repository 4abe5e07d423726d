//! Where stamps come from: the port through which something was seen, what it can tell apart, and who watched the host.
//!
//! Rules of this file:
//! - A stamp carries a number ([`Source`]); what it means stands in one table of the process, since stamps outlive rigs.
//! - What is seen on virtual time has no origin: nothing there is late. It carries the number of its clock, as what we do
//!   does on any clock; ports are all on real time ([`clock_of`]).

use crate::sentinel::{Stall, Witness};
use fieldrig_proto::time::{Duration, Source, Time};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static ORIGINS: Mutex<Vec<Arc<Origin>>> = Mutex::new(Vec::new());

/// A port through which something was seen.
#[derive(Debug)]
pub struct Origin {
    /// Its name, for people.
    pub port: String,
    /// So long may bytes have waited in the machinery before anybody could see them.
    pub resolution: Duration,
    /// Where the resolution is from: measured, assumed, and why a measured one is not used.
    pub note: String,
    witness: Option<Witness>,
}

impl Origin {
    /// The times after an instant in which the host stood still.
    #[must_use]
    pub fn stalls(&self, since: Time) -> Vec<Stall> {
        self.witness.as_ref().map_or_else(Vec::new, |witness| witness.stalls(since))
    }
}

/// What a source means; `None` if it is [`Source::NONE`].
#[must_use]
pub fn origin(source: Source) -> Option<Arc<Origin>> {
    let index = usize::try_from(source.number()).ok()?.checked_sub(1)?;
    known().get(index).cloned()
}

/// Enters a port into the table.
pub(crate) fn enter(port: String, resolution: Duration, note: String, witness: Option<Witness>) -> Source {
    let mut known = known();
    known.push(Arc::new(Origin { port, resolution, note, witness }));
    u32::try_from(known.len()).map_or(Source::NONE, Source::new)
}

/// The number of the clock by which something was seen or done (0 is real time); `None` if nobody said.
#[must_use]
pub fn clock_of(source: Source) -> Option<u32> {
    match source {
        Source::NONE => None,
        source => Some(source.clock().unwrap_or(0)),
    }
}

fn known() -> MutexGuard<'static, Vec<Arc<Origin>>> {
    ORIGINS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_says_which_port_it_was() {
        let source = enter("/dev/ttyUSB0".to_owned(), Duration::from_millis(1), "calibrated".to_owned(), None);
        let found = origin(source).expect("it was entered");
        assert_eq!((found.port.as_str(), found.resolution), ("/dev/ttyUSB0", Duration::from_millis(1)));
        assert!(found.stalls(Time::ZERO).is_empty());
        assert!(origin(Source::NONE).is_none() && origin(Source::new(u32::MAX)).is_none());
        assert_eq!((clock_of(source), clock_of(Source::of_clock(3)), clock_of(Source::NONE)), (Some(0), Some(3), None));
    }
}
