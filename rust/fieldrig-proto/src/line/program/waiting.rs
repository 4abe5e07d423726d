//! Waiting for something to come, or not to come.

use super::event::{Kind, Outcome, ProgramEvent};
use super::running::{Doing, Running, View};
use super::{Until, Wait};
use crate::line::search::Search;
use crate::time::{Stamp, Time};
use std::sync::Arc;

/// A wait.
pub(super) struct Waiting {
    wait: Wait,
    /// It looks from this offset on.
    from: u64,
    since: Time,
    deadline: Option<Time>,
    search: Option<Box<Search>>,
}

impl Waiting {
    /// When it is decided by itself.
    pub(super) fn due(&self, heard: Option<Stamp>) -> Option<Time> {
        let silence = match &self.wait.until {
            Until::Silence(length) => Some(self.quiet_since(heard).latest() + *length),
            Until::Pattern(_) | Until::Count(_) => None,
        };
        [self.deadline, silence].into_iter().flatten().min()
    }

    /// The last byte or, if it is later, the begin.
    fn quiet_since(&self, heard: Option<Stamp>) -> Stamp {
        let begun = Stamp::exact(self.since);
        heard.filter(|heard| heard.latest() > self.since).map_or(begun, |heard| {
            // Not known exactly when, but not before the wait began.
            Stamp::between(heard.earliest().max(self.since), heard.latest())
        })
    }
}

/// What came.
struct Came {
    data: Arc<[u8]>,
    first: Option<Stamp>,
    at: Stamp,
    end: u64,
    kind: Kind,
}

impl Running {
    pub(super) fn begin_wait(&mut self, wait: &Wait, view: &View<'_>) {
        let since = self.reference.0.max(self.acted);
        let search = match &wait.until {
            Until::Pattern(pattern) => Some(view.search(pattern, self.cursor)),
            Until::Count(_) | Until::Silence(_) => None,
        };
        let deadline = wait.within.map(|within| since + within);
        self.doing = Doing::Waiting(Waiting { wait: wait.clone(), from: self.cursor, since, deadline, search });
    }

    /// Looks whether the wait is over; true if it is.
    pub(super) fn look(&mut self, now: Time, view: &View<'_>) -> bool {
        let heard = self.heard;
        let Doing::Waiting(waiting) = &mut self.doing else { return false };
        let deadline = waiting.deadline;
        // What surely came behind the deadline did not come in time.
        let in_time = |came: &Came| deadline.is_none_or(|deadline| came.at.earliest() <= deadline);
        let came = came(waiting, now, heard, view).filter(in_time);
        let over = came.is_none() && deadline.is_some_and(|deadline| deadline <= now);
        if came.is_none() && !over {
            return false;
        }
        let wait = waiting.wait.clone();
        let step = self.step().number;
        match came {
            Some(came) => {
                let event = self.event(came.kind, came.at);
                self.events.push_back(ProgramEvent {
                    scheduled: deadline,
                    data: came.data,
                    first: came.first,
                    ..event
                });
                self.cursor = self.cursor.max(came.end);
                self.pass(came.at.latest(), Some(came.at));
                self.follow(&wait.seen, Outcome::Seen { step });
            }
            None => {
                let event = self.event(Kind::TimedOut, Stamp::exact(now));
                self.events.push_back(ProgramEvent { scheduled: deadline, ..event });
                self.pass(deadline.unwrap_or(now), None);
                self.follow(&wait.missed, Outcome::TimedOut { step });
            }
        }
        !matches!(self.doing, Doing::Over)
    }
}

/// What was waited for, if it has come.
fn came(waiting: &mut Waiting, now: Time, heard: Option<Stamp>, view: &View<'_>) -> Option<Came> {
    let (start, end) = match &waiting.wait.until {
        Until::Pattern(_) => view.find(waiting.search.as_mut()?)?,
        Until::Count(count) => (waiting.from, Some(waiting.from + count).filter(|end| *end <= view.end())?),
        Until::Silence(length) => {
            let since = waiting.quiet_since(heard);
            let at = Stamp::between(since.earliest() + *length, since.latest() + *length);
            let silent = at.latest() <= now;
            return silent.then(|| Came {
                data: Arc::default(),
                first: None,
                at,
                end: view.end(),
                kind: Kind::Silence,
            });
        }
    };
    let at = view.stamp(end.saturating_sub(1).max(start));
    Some(Came { data: view.bytes(start, end), first: Some(view.stamp(start)), at, end, kind: Kind::Seen })
}
