//! Programs on a raw stream: one at a time, with their reports.

use super::Program;
use super::event::{Outcome, ProgramEvent, Report};
use super::running::{Doing, Running, View};
use crate::endpoint::{Action, Conn, Fate, Why};
use crate::line::stream::{State, Stream, StreamError, StreamEvent};
use crate::time::{Duration, Stamp, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many events of one program are kept.
const EVENTS: usize = 1_000_000;
/// For so long what a program does waits for somebody to connect: who has just done so is seen a moment later.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many reports wait for somebody to take them.
const REPORTS: usize = 64;

/// Why a program does not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProgramError {
    /// Nothing can be sent.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// One runs already.
    #[error("a program runs on this stream already; wait for its end, or stop it")]
    Busy,
}

/// The program of a stream, and what became of those before it.
#[derive(Default)]
pub(in crate::line) struct Programs {
    running: Option<Hosted>,
    reports: BTreeMap<u64, Report>,
    started: u64,
    /// So many answers are still to come to what programs that have ended asked for.
    stale: usize,
    /// What those asked for last: to be taken back.
    actions: VecDeque<Running>,
}

struct Hosted {
    id: u64,
    running: Running,
    started: Time,
    events: VecDeque<ProgramEvent>,
    dropped: u64,
    over: Arc<AtomicBool>,
    /// There is nobody to do it to: until then somebody may connect.
    patience: Option<Time>,
}

impl Programs {
    /// When the program wants to go on.
    pub(in crate::line) fn deadline(&self) -> Option<Time> {
        let hosted = self.running.as_ref()?;
        hosted.running.deadline().or(hosted.patience)
    }

    /// Takes back what programs that have ended handed out: before a close, which would wait for it.
    pub(in crate::line) fn poll_recall(&mut self, conn: Conn, out: &mut Vec<u8>) -> Option<Action> {
        while let Some(ended) = self.actions.front_mut() {
            if let Some(action) = ended.poll_action(conn, out) {
                return Some(action);
            }
            self.actions.pop_front();
        }
        None
    }

    /// What the program wants to be done.
    pub(in crate::line) fn poll_action(&mut self, conn: Conn, out: &mut Vec<u8>) -> Option<Action> {
        self.running.as_mut()?.running.poll_action(conn, out)
    }
}

impl Stream {
    /// Starts a program, which begins `start_in` from now. What it does is handed out `lead` before it is due. `over` is
    /// set when it has ended. Gives its number.
    ///
    /// # Errors
    /// Nothing can be sent, or another program runs.
    pub fn start_program(
        &mut self,
        now: Time,
        program: &Program,
        (start_in, lead): (Duration, Duration),
        over: Arc<AtomicBool>,
    ) -> Result<u64, ProgramError> {
        self.check_writable()?;
        if self.state == State::Finished {
            return Err(StreamError::Ended(Why::Finished).into());
        }
        if self.programs.running.is_some() {
            return Err(ProgramError::Busy);
        }
        let started = now + start_in;
        let id = self.programs.started;
        self.programs.started += 1;
        let running = Running::new(program, started, lead, self.end());
        let events = VecDeque::new();
        self.programs.running = Some(Hosted { id, running, started, events, dropped: 0, over, patience: None });
        self.events.push_back(StreamEvent::ProgramStarted { at: Stamp::exact(started) });
        self.with_program(now, |running, view| running.go(now, view));
        Ok(id)
    }

    /// Ends a program, if it runs. What it handed out and has not begun is taken back.
    pub fn stop_program(&mut self, now: Time, id: u64) {
        if self.programs.running.as_ref().is_some_and(|hosted| hosted.id == id) {
            self.end_program(now, Outcome::Stopped);
        }
    }

    /// What became of a program: it is taken once it has ended, and there before only to look at. `None`: there is no such
    /// program, or its report was taken.
    pub fn program_report(&mut self, id: u64) -> Option<Report> {
        match &self.programs.running {
            Some(hosted) if hosted.id == id => {
                let events = hosted.events.iter().cloned().collect();
                Some(Report { started: hosted.started, ended: None, events, dropped: hosted.dropped })
            }
            _ => self.programs.reports.remove(&id),
        }
    }

    /// Bytes came, the last of them at `last`.
    pub(in crate::line) fn program_received(&mut self, now: Time, last: Stamp) {
        self.with_program(now, |running, view| running.received(now, last, view));
    }

    /// It is time for the program to go on.
    pub(in crate::line) fn program_timed_out(&mut self, now: Time) {
        self.with_program(now, |running, view| running.go(now, view));
    }

    /// What the program asked for was answered.
    pub(in crate::line) fn program_answered(&mut self, now: Time, fate: Fate) {
        match self.programs.stale.checked_sub(1) {
            Some(stale) => self.programs.stale = stale,
            None => self.with_program(now, |running, view| running.answered(now, fate, view)),
        }
    }

    /// The port was lost or closed.
    pub(in crate::line) fn program_lost(&mut self, now: Time, why: &Why) {
        self.end_program(now, Outcome::Lost(why.clone()));
        // Nothing of a connection that has ended is answered.
        if matches!(self.state, State::Closed(_)) {
            self.programs.stale = 0;
            self.programs.actions.clear();
        }
    }

    fn end_program(&mut self, now: Time, outcome: Outcome) {
        self.with_program(now, |running, _| running.finish(outcome));
    }

    fn with_program(&mut self, now: Time, work: impl FnOnce(&mut Running, &View<'_>)) {
        let Some(mut hosted) = self.programs.running.take() else { return };
        let asked = matches!(hosted.running.doing, Doing::Asked(_));
        let view = View { buffer: &self.buffer, searches: &self.searches };
        work(&mut hosted.running, &view);
        match hosted.patience {
            _ if self.conn.is_some() || !matches!(hosted.running.doing, Doing::Asked(_)) => hosted.patience = None,
            None => hosted.patience = Some(now + PATIENCE),
            Some(until) if until <= now => {
                hosted.running.answered(now, Fate::Refused("nobody is connected".to_owned()), &view);
            }
            Some(_) => {}
        }
        while let Some(event) = hosted.running.events.pop_front() {
            self.events.push_back(StreamEvent::Program(event.clone()));
            if hosted.events.len() == EVENTS {
                hosted.events.pop_front();
                hosted.dropped += 1;
            }
            hosted.events.push_back(event);
        }
        match hosted.running.outcome.clone() {
            None => self.programs.running = Some(hosted),
            Some(outcome) => self.program_over(now, hosted, outcome, asked),
        }
    }

    fn program_over(&mut self, now: Time, hosted: Hosted, outcome: Outcome, asked: bool) {
        let at = Stamp::exact(now);
        let Hosted { id, running, started, events, dropped, over, .. } = hosted;
        self.events.push_back(StreamEvent::ProgramEnded { outcome: outcome.clone(), at });
        let report = Report { started, ended: Some((now, outcome)), events: events.into(), dropped };
        if self.programs.reports.len() == REPORTS {
            self.programs.reports.pop_first();
        }
        self.programs.reports.insert(id, report);
        if asked && running.owed() {
            self.programs.stale += 1;
            self.programs.actions.push_back(running);
        }
        over.store(true, Ordering::Release);
    }
}
