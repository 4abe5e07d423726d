//! What a program tells: one event for each thing that was done, came, did not come or was left out; and how it ended.

use super::super::LineCommand;
use crate::endpoint::Why;
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};
use std::sync::Arc;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes left.
    Sent,
    /// Something was done to the line.
    Line(LineCommand),
    /// The instant of a pause came.
    Pause,
    /// What was waited for came, or the end of a repeat.
    Seen,
    /// The line was silent for as long as was waited for.
    Silence,
    /// What was waited for did not come in time.
    TimedOut,
    /// A slot was too late, and left out.
    Skipped,
}

impl Kind {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Sent => "sent",
            Kind::Line(_) => "line",
            Kind::Pause => "pause",
            Kind::Seen => "seen",
            Kind::Silence => "silence",
            Kind::TimedOut => "timed out",
            Kind::Skipped => "skipped",
        }
    }
}

/// One thing that happened while a program ran.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramEvent {
    /// What.
    pub kind: Kind,
    /// The step.
    pub step: u32,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Which piece of a burst, from 0.
    pub piece: usize,
    /// Which slot of the innermost repeat, from 0.
    pub slot: Option<u64>,
    /// What was sent, or what came.
    pub data: Arc<[u8]>,
    /// When it was due; of a wait, its deadline.
    pub scheduled: Option<Time>,
    /// Right before the port was given it.
    pub issued: Option<Time>,
    /// Right after the port had taken it.
    pub returned: Option<Time>,
    /// When its last bit has left, as far as the port knows.
    pub left: Option<Time>,
    /// Of what was late: for how much of that the thread waited for a CPU, as far as the kernel counts it.
    pub run_delay: Option<Duration>,
    /// The instant: between `issued` and `returned`, or the arrival of the last byte.
    pub at: Stamp,
    /// Of what came, the arrival of the first byte.
    pub first: Option<Stamp>,
    /// The arrival from which it was due.
    pub from: Option<Stamp>,
}

impl ProgramEvent {
    /// How long after it was due it was done; `None` if it was not ours to do, or was not done.
    #[must_use]
    pub fn late(&self) -> Option<Duration> {
        Some(self.issued?.since(self.scheduled?))
    }
}

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it was done.
    Completed,
    /// What this step waited for did not come in time.
    TimedOut {
        /// The step.
        step: u32,
    },
    /// What this step waited for came, and that ends it.
    Seen {
        /// The step.
        step: u32,
    },
    /// This slot of a repeat was too late.
    TooLate {
        /// The repeat.
        step: u32,
        /// The slot, from 0.
        slot: u64,
    },
    /// This step cannot be done.
    Refused {
        /// The step.
        step: u32,
        /// Why.
        reason: String,
    },
    /// The port was lost or closed.
    Lost(Why),
    /// It was stopped.
    Stopped,
}

impl Outcome {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::TimedOut { .. } => "timed out",
            Outcome::Seen { .. } => "seen",
            Outcome::TooLate { .. } => "too late",
            Outcome::Refused { .. } => "refused",
            Outcome::Lost(_) => "lost",
            Outcome::Stopped => "stopped",
        }
    }

    /// The step that ended it.
    #[must_use]
    pub fn step(&self) -> Option<u32> {
        match self {
            Outcome::TimedOut { step } | Outcome::Seen { step } => Some(*step),
            Outcome::TooLate { step, .. } | Outcome::Refused { step, .. } => Some(*step),
            Outcome::Completed | Outcome::Lost(_) | Outcome::Stopped => None,
        }
    }
}

/// What became of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// When it began: what `at` counts from.
    pub started: Time,
    /// When it ended, and how; `None` while it runs.
    pub ended: Option<(Time, Outcome)>,
    /// What happened, the newest million.
    pub events: Vec<ProgramEvent>,
    /// How many events before those were dropped.
    pub dropped: u64,
}

impl From<ProgramEvent> for Record {
    fn from(event: ProgramEvent) -> Record {
        let nanos = |time: Time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let mut record = Record::new("program.step").at(event.at).with("step", i64::from(event.step));
        record = record.with("what", event.kind.word());
        if let Some(name) = &event.name {
            record = record.with("name", &**name);
        }
        if let Kind::Line(command) = &event.kind {
            record = record.with("line", format!("{command:?}"));
        }
        let slot = event.slot.map(|slot| i64::try_from(slot).unwrap_or(i64::MAX));
        let late = event.late().map(|late| i64::try_from(late.as_nanos()).unwrap_or(i64::MAX));
        let waited = event.run_delay.map(|wait| i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        let times = [("scheduled_ns", event.scheduled), ("issued_ns", event.issued), ("returned_ns", event.returned)];
        let numbers = times.map(|(key, time)| (key, time.map(nanos)));
        for (key, number) in [("slot", slot), ("late_ns", late), ("run_delay_ns", waited)].into_iter().chain(numbers) {
            if let Some(number) = number {
                record = record.with(key, number);
            }
        }
        if event.data.is_empty() { record } else { record.with("data", Value::Bytes(event.data.to_vec())) }
    }
}
