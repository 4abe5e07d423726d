//! Stimulus programs: what a test has the core do to a line, and when, without anybody else taking part while it runs.
//!
//! ```text
//!   Program (steps)  -->  Running, inside a raw stream  --Action::Timed-->  driver (line thread, reactor, simulation)
//!                              ^   |                                           |
//!              bytes, time-outs|   +--> ProgramEvent, one for each thing done  |
//!                              +---- Input::Timed: when it was done -----------+
//! ```
//!
//! Rules of this folder:
//! - Schedules are absolute: what is late keeps its slot, and the next one is where it always was. A step that counts from
//!   another one counts from when that one was due, or from when what it waited for had arrived.
//! - A gap (within a burst, or before a send that wants a quiet line) is the one thing that counts from what really
//!   happened, so that it is never shorter than asked.
//! - A wait looks behind the later of the last match and the last send of the program.
//! - Decisions are made where the bytes come in, by the thread that drives the stream.
//! - Instants of what was done are those of the driver, around the call of the port; nothing here makes one up.
//!
//! ```
//! use fieldrig_proto::line::program::{Program, Step, What, When};
//! use fieldrig_proto::time::Duration;
//!
//! let hello = What::Send { pieces: vec![(Duration::ZERO, b"hello".as_slice().into())], when: When::At(Duration::from_millis(1)) };
//! let program = Program::new(vec![Step { number: 1, name: None, what: hello }]);
//! assert_eq!(program.steps.len(), 1);
//! ```

mod event;
mod hosted;
mod repeat;
mod running;
mod waiting;

pub use event::{Kind, Outcome, ProgramEvent, Report};
pub use hosted::ProgramError;
pub(super) use hosted::Programs;

use super::LineCommand;
use super::pattern::Patterns;
use crate::time::Duration;
use std::sync::Arc;

/// Steps in order.
pub type Steps = Arc<[Step]>;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its steps.
    pub steps: Steps,
}

impl Program {
    /// A program of these steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Program {
        Program { steps: steps.into() }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, for people: counted from 1 over the whole program, those inside others included.
    pub number: u32,
    /// Its name, if others refer to it.
    pub name: Option<Arc<str>>,
    /// What it does.
    pub what: What,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum What {
    /// Sends bytes, in one piece or several.
    Send {
        /// The pieces, each with the silence between the last bit of the piece before it and its own first; that of the
        /// first piece counts for nothing.
        pieces: Vec<(Duration, Arc<[u8]>)>,
        /// When the first one leaves.
        when: When,
    },
    /// Does something to the line.
    Line {
        /// What.
        command: LineCommand,
        /// When.
        when: When,
    },
    /// Does nothing, so that others can count from here.
    Pause(When),
    /// Waits.
    Wait(Wait),
    /// Does its steps again and again.
    Repeat(Repeat),
}

/// When a step is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// So long after the step before it: after it was due; after the arrival, if it waited for one; after the end of a
    /// break.
    After(Duration),
    /// So long after the start of the program; within a repeat, of the slot.
    At(Duration),
    /// So long after the last time that a named step was due or its wait was over.
    Of(Arc<str>, Duration),
    /// After the step before it, once nothing was on the line for so long, either way.
    Quiet(Duration),
    /// So long after the last byte that had come when the step was reached.
    Received(Duration),
    /// So long after the last bit of ours had left.
    Left(Duration),
}

/// What is done after a condition was decided.
#[derive(Clone, Debug)]
pub enum Then {
    /// The program ends.
    Abort,
    /// These steps, then the one behind the condition.
    GoOn(Steps),
}

/// Waits for something to come.
#[derive(Clone, Debug)]
pub struct Wait {
    /// For what.
    pub until: Until,
    /// At most so long after the step before it: after that was due or, if that was later, done.
    pub within: Option<Duration>,
    /// What follows if it came.
    pub seen: Then,
    /// What follows if it did not.
    pub missed: Then,
}

/// What a wait waits for.
#[derive(Clone, Debug)]
pub enum Until {
    /// Bytes that match. The first match counts as soon as it is there, also if it could grow.
    Pattern(Patterns),
    /// So many bytes.
    Count(u64),
    /// Nothing, for so long after the last byte or, if that was later, the step before it.
    Silence(Duration),
}

/// Does steps in slots of a fixed period.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// What is done in each slot.
    pub steps: Steps,
    /// The period.
    pub every: Duration,
    /// How many slots; without end if `None`.
    pub count: Option<u64>,
    /// No slot begins after this came.
    pub until: Option<Patterns>,
    /// No slot begins later than this after the first; if `until` was not seen then, it was missed.
    pub within: Option<Duration>,
    /// What follows if it was missed.
    pub missed: Then,
    /// What becomes of a slot that is late.
    pub late: Late,
    /// A slot is late once this is over.
    pub tolerance: Duration,
}

/// What becomes of a slot whose first step could not be done within the tolerance.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Late {
    /// It is done at once.
    CatchUp,
    /// It is left out, and reported.
    Skip,
    /// The program ends.
    Abort,
}
