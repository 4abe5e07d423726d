//! Requests on a line that were given up: their answers may still come, and name no transaction.
//!
//! Rules of this file:
//! - An answer on a line says which unit sends it and which function it answers (AP 4.1, SL 2.2), and nothing more: the
//!   late answer to one read looks like the prompt answer to the next, and an exception like any other. So as long as a
//!   unit owes an answer to a function, what it says to that function is `Late` and never data.
//! - A read that meets such an answer is sent again, once nothing is owed any more. Everything that can cause behaviour
//!   and every raw request is sent once only: it waits from the start until nothing is owed.
//! - The request that is to be sent again is owed an answer, too, as if it had had the time-out of the one whose debt was
//!   paid: its own may be much longer, and says nothing about how slow the unit is.
//! - Each answer pays one debt: a unit answers a request once. A debt that is never paid is over
//!   [`Config::late_answers`] after the time-out of the request: ten times its time-out, and a second at least, unless set
//!   otherwise. This bound is what we believe, not what the standard says; a device that is slower is not told apart.
//! - A request that was interrupted (Ctrl-C), or lost with its connection, counts as one whose time-out was the time it had.
//! - A request that something else was taken for the answer of (our own echo, a whole frame of another function) is owed
//!   its answer at least as long as its time-out says.
//! - Every other request to this unit waits as long as the time-out was: it may be busy with the request before.
//!   Requests to other units wait for the turnaround delay. Their answers cannot be confused with the late one, which
//!   may still run into one of them: an exchange in which that may have happened says so ([`Exchange::doubt`]).
//!
//! [`Config::late_answers`]: super::Config::late_answers
//! [`Exchange::doubt`]: super::Exchange::doubt

use crate::modbus::pdu::function::EXCEPTION_BIT;
use crate::time::{Duration, Time};

/// A request that was given up.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    pub(super) unit: u8,
    pub(super) function: u8,
    /// The unit may be busy with it until then.
    pub(super) busy_until: Time,
    /// Its answer may come until then.
    pub(super) until: Time,
    /// What its time-out was.
    pub(super) timeout: Duration,
    /// An exchange that broke was put down to it.
    pub(super) excused: bool,
}

/// What a request does about an answer that is owed to an earlier one of the same unit and function.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Debts {
    /// It is sent, and sent again if an answer comes.
    Risk,
    /// It waits.
    WaitFor,
}

/// Those requests of a line whose answers may still come.
#[derive(Debug, Default)]
pub(super) struct GivenUps(Vec<GivenUp>);

impl GivenUps {
    pub(super) fn add(&mut self, now: Time, given_up: GivenUp) {
        self.forget(now);
        self.0.push(given_up);
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut GivenUp> {
        self.0.last_mut()
    }

    /// When a request to this unit with this function may be sent: once nothing is owed, or at least once the unit cannot
    /// be busy any more.
    pub(super) fn free_from(&self, unit: u8, function: u8, debts: Debts) -> Time {
        let bars = self.0.iter().filter(|given_up| given_up.unit == unit).map(|given_up| {
            let waits = debts == Debts::WaitFor && same(given_up.function, function);
            if waits { given_up.until.max(given_up.busy_until) } else { given_up.busy_until }
        });
        bars.max().unwrap_or(Time::ZERO)
    }

    /// A frame of this unit and function: the debt that it pays, if there is one.
    pub(super) fn pay(&mut self, now: Time, unit: u8, function: u8) -> Option<GivenUp> {
        self.forget(now);
        let paid = self.0.iter().position(|given_up| given_up.unit == unit && same(given_up.function, function));
        paid.map(|index| self.0.remove(index))
    }

    /// Whose late answer may have broken this exchange. One answer breaks one exchange.
    pub(super) fn doubt(&mut self, now: Time) -> Option<String> {
        let owing = self.0.iter_mut().rev().find(|given_up| given_up.until > now && !given_up.excused)?;
        owing.excused = true;
        let GivenUp { unit, function, .. } = owing;
        Some(format!(
            "unit {unit} did not answer a request of function {function:#04x} in time before: its late answer may have \
             run into this one"
        ))
    }

    fn forget(&mut self, now: Time) {
        self.0.retain(|given_up| given_up.until.max(given_up.busy_until) > now);
    }
}

/// A function, its exception included.
fn same(one: u8, other: u8) -> bool {
    one & !EXCEPTION_BIT == other & !EXCEPTION_BIT
}
