//! Stimulus programs: from the steps that `fieldrig/stimulus.py` writes down, and back as a `Played` with its events.

use super::Stream;
use crate::error::{Kind, error, hinted};
use crate::life::Call;
use crate::time::{Span, Stamp, clock_like, limit, span_to};
use fieldrig_engine::TimingClass;
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::line::program::{
    self, Late, Outcome, Program, ProgramError, ProgramEvent, Repeat, Report, Step, Then, Until, Wait, What, When,
};
use fieldrig_proto::line::stream::{self, Patterns};
use fieldrig_proto::time::{self, Duration, Source, Time};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So long before it is due the line thread has an action in hand.
const LEAD: Duration = Duration::from_millis(3);
/// So long after the call a program begins on a line thread, which has to take the port over first.
const START_IN: Duration = Duration::from_millis(2);

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

// ---- from Python ---------------------------------------------------------------------------------------------------

fn item<'py>(step: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    step.as_any().get_item(key)
}

fn nanos(step: &Bound<'_, PyDict>, key: &str) -> PyResult<Option<Duration>> {
    Ok(item(step, key)?.extract::<Option<u64>>()?.map(Duration::from_nanos))
}

fn when(step: &Bound<'_, PyDict>) -> PyResult<When> {
    let (kind, delay, name): (String, u64, Option<String>) = item(step, "when")?.extract()?;
    let delay = Duration::from_nanos(delay);
    Ok(match kind.as_str() {
        "at" => name.map_or(When::At(delay), |name| When::Of(name.into(), delay)),
        "quiet" => When::Quiet(delay),
        "received" => When::Received(delay),
        "left" => When::Left(delay),
        _ => When::After(delay),
    })
}

fn command(step: &Bound<'_, PyDict>) -> PyResult<LineCommand> {
    let (kind, value): (String, Bound<'_, PyAny>) = item(step, "command")?.extract()?;
    Ok(match kind.as_str() {
        "break" => LineCommand::Break(Duration::from_nanos(value.extract()?)),
        "rts" => LineCommand::Rts(value.extract()?),
        "dtr" => LineCommand::Dtr(value.extract()?),
        _ => LineCommand::Settings(value.extract::<String>()?.parse().map_err(
            |problem: fieldrig_proto::line::SettingsError| error(step.py(), Kind::Usage, problem.to_string()),
        )?),
    })
}

/// Reads steps, as `Program.lowered` writes them.
struct Reader<'a> {
    stream: &'a Stream,
    /// The steps that were read, those of all branches.
    known: RefCell<Vec<(u32, Option<String>)>>,
}

impl Reader<'_> {
    fn steps(&self, given: &Bound<'_, PyAny>) -> PyResult<program::Steps> {
        let steps: PyResult<Vec<Step>> = given.try_iter()?.map(|step| self.step(step?.cast::<PyDict>()?)).collect();
        Ok(steps?.into())
    }

    fn step(&self, step: &Bound<'_, PyDict>) -> PyResult<Step> {
        let name: Option<String> = item(step, "name")?.extract()?;
        self.known.borrow_mut().push((item(step, "number")?.extract()?, name.clone()));
        let what: String = item(step, "what")?.extract()?;
        let what = match what.as_str() {
            "send" => {
                let pieces: Vec<(u64, Vec<u8>)> = item(step, "pieces")?.extract()?;
                let piece = |(gap, bytes): (u64, Vec<u8>)| (Duration::from_nanos(gap), bytes.into());
                What::Send { pieces: pieces.into_iter().map(piece).collect(), when: when(step)? }
            }
            "line" => What::Line { command: command(step)?, when: when(step)? },
            "pause" => What::Pause(when(step)?),
            "wait" => What::Wait(self.wait(step)?),
            _ => What::Repeat(self.repeat(step)?),
        };
        Ok(Step { number: item(step, "number")?.extract()?, name: name.map(Into::into), what })
    }

    fn wait(&self, step: &Bound<'_, PyDict>) -> PyResult<Wait> {
        let (kind, value): (String, Bound<'_, PyAny>) = item(step, "until")?.extract()?;
        let until = match kind.as_str() {
            "pattern" => Until::Pattern(self.pattern(step, &value.extract::<String>()?)?),
            "count" => Until::Count(value.extract()?),
            _ => Until::Silence(Duration::from_nanos(value.extract()?)),
        };
        let (seen, missed) = (self.then(step, "seen")?, self.then(step, "missed")?);
        Ok(Wait { until, within: nanos(step, "within")?, seen, missed })
    }

    fn repeat(&self, step: &Bound<'_, PyDict>) -> PyResult<Repeat> {
        let until: Option<String> = item(step, "until")?.extract()?;
        let every = nanos(step, "every")?.unwrap_or_default();
        Ok(Repeat {
            steps: self.steps(&item(step, "steps")?)?,
            every,
            count: item(step, "count")?.extract()?,
            until: until.map(|text| self.pattern(step, &text)).transpose()?,
            within: nanos(step, "within")?,
            missed: self.then(step, "missed")?,
            late: match item(step, "late")?.extract::<String>()?.as_str() {
                "skip" => Late::Skip,
                "abort" => Late::Abort,
                _ => Late::CatchUp,
            },
            tolerance: nanos(step, "tolerance")?.unwrap_or(every),
        })
    }

    /// A pattern that is not there before anything has come.
    fn pattern(&self, step: &Bound<'_, PyDict>, text: &str) -> PyResult<Patterns> {
        let pattern = self.stream.known.patterns(step.py(), &[text.to_owned()])?;
        if pattern.matches_nothing().is_none() {
            return Ok(pattern);
        }
        let number: u32 = item(step, "number")?.extract()?;
        let message =
            format!("Program, step {number}: the pattern /{text}/ matches nothing at all, so it is there at once");
        Err(hinted(step.py(), Kind::Usage, message, Some("write + for one or more, where it says * for any number")))
    }

    /// None: the program ends.
    fn then(&self, step: &Bound<'_, PyDict>, key: &str) -> PyResult<Then> {
        let given = item(step, key)?;
        if given.is_none() { Ok(Then::Abort) } else { Ok(Then::GoOn(self.steps(&given)?)) }
    }
}

// ---- while it runs -------------------------------------------------------------------------------------------------

/// A program that was begun.
#[pyclass(frozen, module = "fieldrig.stream")]
pub(crate) struct Playing {
    stream: Py<Stream>,
    id: u64,
    started: Time,
    endless: bool,
    over: Arc<AtomicBool>,
    played: Mutex<Option<Played>>,
    steps: Arc<[(u32, Option<String>)]>,
}

impl Playing {
    /// Begins a program of `fieldrig.stimulus`; with `waits`, one that has an end.
    pub(super) fn begin(stream: &Bound<'_, Stream>, program: &Bound<'_, PyAny>, waits: bool) -> PyResult<Playing> {
        let py = stream.py();
        let (steps, endless): (Bound<'_, PyAny>, bool) = match program.getattr_opt("lowered")? {
            Some(lowered) => lowered.call0()?.extract()?,
            None => {
                let message = format!("{} is no program: write fieldrig.stimulus.Program().send(..)", program.repr()?);
                return Err(error(py, Kind::Usage, message));
            }
        };
        if waits && endless {
            let hint = "begin() it, and stop() it when it has done enough; or give repeat() a count= or until=";
            return Err(hinted(py, Kind::Usage, "play(): this program has no end", Some(hint)));
        }
        let this = stream.get();
        let reader = Reader { stream: this, known: RefCell::default() };
        let program = Program { steps: reader.steps(&steps)? };
        let steps = reader.known.into_inner().into();
        let timed = this.handle.node(py)?.is_timed();
        let begin = if timed { (START_IN, LEAD) } else { (Duration::ZERO, Duration::ZERO) };
        let over = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&over);
        let (begun, _) = this.handle.with(py, |stream: &mut stream::Stream, now| {
            stream.start_program(now, &program, begin, shared).map(|id| (id, now + begin.0))
        })?;
        let (id, started) = begun.map_err(|problem| match problem {
            ProgramError::Stream(problem) => this.failed(py, &problem),
            ProgramError::Busy => error(py, Kind::Usage, format!("{}: {problem}", this.name)),
        })?;
        let played = Mutex::new(None);
        Ok(Playing { stream: stream.clone().unbind(), id, started, endless, over, played, steps })
    }

    /// Waits until it has ended, or the deadline; true if it has.
    fn ended(&self, py: Python<'_>, deadline: Time) -> PyResult<bool> {
        let handle = &self.stream.get().handle;
        let over = &self.over;
        if handle.node(py)?.is_timed() {
            handle.stand_by(py, over, deadline)?;
        } else {
            // The events stay where they are: what is taken here would not stand in the run log.
            handle.wait(py, deadline, |_, _, _| over.load(Ordering::Acquire).then_some(()))?;
        }
        Ok(over.load(Ordering::Acquire))
    }

    pub(super) fn stop_now(&self, py: Python<'_>) -> PyResult<()> {
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let id = self.id;
        self.stream.get().handle.with(py, |stream, now| stream.stop_program(now, id)).map(|_| ())
    }

    fn timing_class(&self, py: Python<'_>) -> PyResult<String> {
        let handle = &self.stream.get().handle;
        let node = handle.node(py)?;
        Ok(match (handle.is_virtual(py)?, node.is_timed()) {
            (true, _) => format!("{:?}", TimingClass::V),
            // Not known yet is as good as nothing reached.
            (false, true) => format!("{:?}", node.timing().map_or(TimingClass::C, |timing| timing.class)),
            (false, false) => "net".to_owned(),
        })
    }

    /// What it came to so far; kept once it has ended.
    fn report(&self, py: Python<'_>) -> PyResult<Played> {
        let known = || self.played.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(played) = known() {
            return Ok(played);
        }
        let id = self.id;
        let (report, _) = self.stream.get().handle.with(py, |stream, now| (stream.program_report(id), now))?;
        let (Some(report), now) = report else {
            // Another thread has taken it, or too many programs have ended since.
            let lost = || error(py, Kind::Usage, "the report of this program was dropped: 64 others ended after it");
            return known().ok_or_else(lost);
        };
        let ended = report.ended.is_some();
        let clock = self.stream.get().handle.clock(py);
        let played = Played::new(report, now, clock, self.timing_class(py)?, Arc::clone(&self.steps));
        if ended {
            *self.played.lock().unwrap_or_else(PoisonError::into_inner) = Some(played.clone());
        }
        Ok(played)
    }

    /// Waits for the end; on the way out of an interrupted wait the program is stopped.
    pub(super) fn finish(&self, py: Python<'_>) -> PyResult<Played> {
        match self.ended(py, Time::FAR) {
            Ok(_) => self.report(py),
            Err(problem) => {
                // The problem is what matters; a stream that is gone has no program to stop.
                let _ = self.stop_now(py);
                Err(problem)
            }
        }
    }
}

#[pymethods]
impl Playing {
    #[getter]
    fn at(&self, py: Python<'_>) -> Stamp {
        self.stream.get().handle.stamped(py, self.started)
    }
    #[getter]
    fn running(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }
    #[getter]
    fn endless(&self) -> bool {
        self.endless
    }
    #[getter]
    fn so_far(&self, py: Python<'_>) -> PyResult<Played> {
        self.report(py)
    }
    #[pyo3(signature = (*, within = None))]
    fn wait(&self, py: Python<'_>, within: Given<'_, '_>) -> PyResult<Played> {
        let _call = Call::begin();
        let within = within.map(limit).transpose()?;
        if within.is_none() && self.endless {
            let hint = "write wait(within=..), or stop() it";
            return Err(hinted(py, Kind::Usage, "wait(): this program has no end", Some(hint)));
        }
        let deadline = match within {
            Some(within) => self.stream.get().handle.now(py)? + within,
            None => Time::FAR,
        };
        self.ended(py, deadline)?;
        self.report(py)
    }
    fn stop(&self, py: Python<'_>) -> PyResult<Played> {
        self.stop_now(py)?;
        self.report(py)
    }
    fn __repr__(&self) -> String {
        format!("<Playing, {}>", if self.running() { "running" } else { "ended" })
    }
}

// ---- to Python -----------------------------------------------------------------------------------------------------

/// What became of a program.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Played {
    report: Arc<Report>,
    until: Time,
    /// The clock of all that.
    clock: Source,
    timing: String,
    /// All steps of the program, also those that were not reached.
    steps: Arc<[(u32, Option<String>)]>,
}

impl Played {
    fn new(
        mut report: Report,
        now: Time,
        clock: Source,
        timing: String,
        steps: Arc<[(u32, Option<String>)]>,
    ) -> Played {
        let until = report.ended.as_ref().map_or(now, |(at, _)| *at);
        report.events.iter_mut().for_each(|event| event.at = event.at.by(clock));
        Played { report: Arc::new(report), until, clock, timing, steps }
    }

    /// What is asked about a step that is not there would hold for all of its events.
    fn unknown(&self, py: Python<'_>, asked: &str) -> PyErr {
        let names: Vec<String> =
            self.steps.iter().filter_map(|(_, name)| Some(format!("\"{}\"", name.as_ref()?))).collect();
        let last = self.steps.iter().map(|(number, _)| *number).max().unwrap_or_default();
        let names =
            if names.is_empty() { "none has a name".to_owned() } else { format!("names: {}", names.join(", ")) };
        error(py, Kind::Usage, format!("of({asked}): the program has no such step; it has 1 to {last}, {names}"))
    }

    fn ending(&self) -> Option<&Outcome> {
        self.report.ended.as_ref().map(|(_, outcome)| outcome)
    }

    fn events_that(&self, wanted: impl Fn(&ProgramEvent) -> bool) -> Vec<Event> {
        self.report.events.iter().filter(|event| wanted(event)).cloned().map(Event).collect()
    }
}

#[pymethods]
impl Played {
    #[getter]
    fn outcome(&self) -> &'static str {
        self.ending().map_or("running", Outcome::word)
    }
    #[getter]
    fn step(&self) -> Option<u32> {
        self.ending()?.step()
    }
    #[getter]
    fn reason(&self) -> Option<String> {
        Some(match self.ending()? {
            Outcome::Completed => return None,
            Outcome::TimedOut { step } => format!("step {step}: what was waited for did not come in time"),
            Outcome::Seen { step } => format!("step {step}: what should not come came"),
            Outcome::TooLate { step, slot } => format!("step {step}: slot {slot} was too late"),
            Outcome::Refused { step, reason } => format!("step {step}: {reason}"),
            Outcome::Lost(why) => match why {
                Why::Finished => "the other side ended the connection",
                Why::Reset => "the other side broke the connection off",
                Why::HungUp => "the port went away",
                Why::Local | Why::Refused { .. } => "it is closed",
            }
            .to_owned(),
            Outcome::Stopped => "it was stopped".to_owned(),
        })
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(time::Stamp::exact(self.report.started).by(self.clock))
    }
    #[getter]
    fn done(&self) -> Stamp {
        Stamp(time::Stamp::exact(self.until).by(self.clock))
    }
    #[getter]
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.events_that(|_| true))
    }
    #[getter]
    fn sent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.events_that(|event| event.issued.is_some()))
    }
    #[getter]
    fn seen<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.events_that(|event| matches!(event.kind, program::Kind::Seen | program::Kind::Silence)))
    }
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.events_that(|event| event.kind == program::Kind::Skipped))
    }
    #[getter]
    fn dropped(&self) -> u64 {
        self.report.dropped
    }
    #[getter]
    fn timing_class(&self) -> &str {
        &self.timing
    }
    /// The events of a step, by number or name.
    #[pyo3(signature = (step, /))]
    fn of<'py>(&self, py: Python<'py>, step: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let events = match step.extract::<u32>() {
            Ok(number) if self.steps.iter().any(|(known, _)| *known == number) => {
                self.events_that(|event| event.step == number)
            }
            Ok(number) => return Err(self.unknown(py, &number.to_string())),
            Err(_) => {
                let name: String = step.extract()?;
                if !self.steps.iter().any(|(_, known)| known.as_deref() == Some(&name)) {
                    return Err(self.unknown(py, &format!("\"{name}\"")));
                }
                self.events_that(|event| event.name.as_deref() == Some(&name))
            }
        };
        PyTuple::new(py, events)
    }
    /// The span from the start to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at().0, later)
    }
    fn __repr__(&self) -> String {
        format!("<Played, {}, {} events, timing class {}>", self.outcome(), self.report.events.len(), self.timing)
    }
}

/// One thing that happened while a program ran.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Event(ProgramEvent);

impl Event {
    /// Another instant of its clock.
    fn exact(&self, at: Option<Time>) -> Option<Stamp> {
        at.map(|at| Stamp(time::Stamp::exact(at).by(clock_like(self.0.at))))
    }
}

#[pymethods]
impl Event {
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.word()
    }
    #[getter]
    fn step(&self) -> u32 {
        self.0.step
    }
    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }
    #[getter]
    fn piece(&self) -> usize {
        self.0.piece
    }
    #[getter]
    fn slot(&self) -> Option<u64> {
        self.0.slot
    }
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.data)
    }
    #[getter]
    fn line(&self) -> Option<String> {
        match &self.0.kind {
            program::Kind::Line(LineCommand::Break(length)) => {
                Some(format!("break {}", time::human(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))))
            }
            program::Kind::Line(LineCommand::Rts(on)) => Some(format!("rts {}", if *on { "on" } else { "off" })),
            program::Kind::Line(LineCommand::Dtr(on)) => Some(format!("dtr {}", if *on { "on" } else { "off" })),
            program::Kind::Line(LineCommand::Settings(settings)) => Some(settings.to_string()),
            _ => None,
        }
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.0.at)
    }
    #[getter]
    fn done(&self) -> Stamp {
        self.returned().unwrap_or(Stamp(self.0.at))
    }
    #[getter]
    fn scheduled(&self) -> Option<Stamp> {
        self.exact(self.0.scheduled)
    }
    #[getter]
    fn issued(&self) -> Option<Stamp> {
        self.exact(self.0.issued)
    }
    #[getter]
    fn returned(&self) -> Option<Stamp> {
        self.exact(self.0.returned)
    }
    #[getter]
    fn left(&self) -> Option<Stamp> {
        self.exact(self.0.left)
    }
    #[getter]
    fn first(&self) -> Option<Stamp> {
        self.0.first.map(Stamp)
    }
    #[getter]
    fn late(&self) -> Option<Span> {
        let nanos = i64::try_from(self.0.late()?.as_nanos()).unwrap_or(i64::MAX);
        Some(Span(time::Span::exact(nanos)))
    }
    #[getter]
    fn run_delay(&self) -> Option<Span> {
        let nanos = i64::try_from(self.0.run_delay?.as_nanos()).unwrap_or(i64::MAX);
        Some(Span(time::Span::exact(nanos)))
    }
    #[getter]
    fn delay(&self) -> Option<Span> {
        Some(Span(self.0.from?.until(self.0.at)))
    }
    /// The span from the event to a later one.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.0.at, later)
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        let what = match self.line() {
            Some(line) => line,
            None if self.0.data.is_empty() => String::new(),
            None => crate::mqtt::shortened(&String::from_utf8_lossy(&self.0.data)),
        };
        let slot = self.0.slot.map_or_else(String::new, |slot| format!(", slot {slot}"));
        let late = self.late().map_or_else(String::new, |late| format!(", late by {}", late.text()));
        format!("{} {what} (step {}{slot}{late})", self.kind(), self.0.step)
    }
    fn __repr__(&self) -> String {
        format!("<Event {}>", self.describe())
    }
}
