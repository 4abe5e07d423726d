//! The line errors that the drivers of all real ports of a rig have counted: what they counted before and after a test
//! tells whether the bench was fit to judge.
//!
//! Rules of this file:
//! - A port is known by the name it was opened by (`usb:0403:6001:FT4XK2`), so it stays itself when it is plugged in again.
//! - Only what was counted while the rig had it open counts; closing it and opening it again loses nothing.
//! - A port whose driver does not count is listed with the reason: it is unknown, not clean.

use super::driver::{self, LineCounts};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is known of one port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineReport {
    /// The name by which it was opened.
    pub port: String,
    /// What its driver counted since the rig opened it first, or why it cannot tell.
    pub counts: Result<LineCounts, String>,
}

/// The ports of one rig.
#[derive(Default, Debug)]
pub(crate) struct LineLedger {
    ports: Mutex<BTreeMap<String, Account>>,
}

#[derive(Default, Debug)]
struct Account {
    /// What was counted until the last close.
    settled: LineCounts,
    /// Open now: where, and what it had counted when it was opened.
    open: Option<(Weak<OwnedFd>, LineCounts)>,
    /// Why its driver cannot tell.
    silent: Option<String>,
}

impl LineLedger {
    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, Account>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port was opened.
    pub(super) fn open(&self, name: &str, fd: &Arc<OwnedFd>) {
        let mut ports = self.ports();
        let account = ports.entry(name.to_owned()).or_default();
        match driver::counts(fd.as_raw_fd()) {
            Ok((counts, _)) => {
                account.open = Some((Arc::downgrade(fd), counts));
                account.silent = None;
            }
            Err(error) => account.silent = Some(error.to_string()),
        }
    }

    /// A port is about to be closed; `last` is what its driver counted last.
    pub(super) fn close(&self, name: &str, last: Option<LineCounts>) {
        if let Some(account) = self.ports().get_mut(name)
            && let Some((_, before)) = account.open.take()
            && let Some(last) = last
        {
            account.settled = account.settled.and(&last.since(&before));
        }
    }

    /// What is known now, in order of the names.
    pub(crate) fn report(&self) -> Vec<LineReport> {
        let ports = self.ports();
        let told = |(name, account): (&String, &Account)| {
            let counts = match (&account.silent, &account.open) {
                (Some(reason), _) => Err(reason.clone()),
                (None, None) => Ok(account.settled),
                (None, Some((fd, before))) => match fd.upgrade().map(|fd| driver::counts(fd.as_raw_fd())) {
                    Some(Ok((now, _))) => Ok(account.settled.and(&now.since(before))),
                    Some(Err(error)) => Err(error.to_string()),
                    None => Ok(account.settled),
                },
            };
            LineReport { port: name.clone(), counts }
        };
        ports.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_count_is_unknown_and_not_clean() {
        let ledger = LineLedger::default();
        let file = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").expect("it is always there")));
        ledger.open("/dev/null", &file);
        let report = ledger.report();
        assert_eq!(report[0].port, "/dev/null");
        assert!(report[0].counts.as_ref().is_err_and(|why| why.contains("ioctl")), "{report:?}");
        ledger.close("/dev/null", None);
        assert!(ledger.report()[0].counts.is_err(), "closing it does not make it known");
    }

    #[test]
    fn what_was_counted_stays_known_when_the_port_is_closed() {
        let ledger = LineLedger::default();
        let counted = |framing| LineCounts { framing, ..LineCounts::default() };
        let open = |before| Some((Weak::new(), counted(before)));
        ledger.ports().insert("port".to_owned(), Account { open: open(5), ..Account::default() });
        ledger.close("port", Some(counted(7)));
        assert_eq!(ledger.report()[0].counts, Ok(counted(2)));
        ledger.ports().get_mut("port").expect("known").open = open(0);
        ledger.close("port", Some(counted(1)));
        assert_eq!(ledger.report()[0].counts, Ok(counted(3)), "an adapter that was plugged in again counts from zero");
    }
}
