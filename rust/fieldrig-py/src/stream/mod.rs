//! `Stream`: one raw conversation; consoles and suites of raw bytes are made of it.

mod line_event;
mod looking;
mod pacing;
mod program;
mod values;

pub(crate) use line_event::LineEvent;
pub(crate) use looking::check_pattern;
pub(crate) use program::{Event, Played, Playing};
pub(crate) use values::{Line, Match, Received, Sent};

use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::life::Call;
use crate::place;
use crate::rig::{Rig, shared_or_private};
use crate::time::{Stamp, instant, limit, limit_or};
use crate::value::{Whole, octets};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{How, Why};
use fieldrig_proto::line::stream::{self, Keeping, LEAST_KEPT, State, StreamError, StreamEvent};
use fieldrig_proto::time::{self, Duration, Order, Time};
use looking::{Goal, Known, Look, Wanted};
use pacing::{Pace, Part};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The name of the one port of a stream.
const VIA: &str = "stream";
/// Bytes that are kept in a file, unless somebody says otherwise.
const SPILL: u64 = 1 << 30;
/// How long the port may take to take bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// One raw conversation. Every byte that comes is kept with its stamp.
#[pyclass(frozen, module = "fieldrig.stream")]
pub(crate) struct Stream {
    handle: Handle<stream::Stream>,
    name: String,
    url: String,
    /// Up to here `receive` has taken.
    cursor: AtomicU64,
    /// Patterns that were prepared: the same ones are often waited for again.
    known: Known,
}

/// Drops events while somebody waits, so that they do not pile up. Those from before the wait are in the run log by now;
/// of the others, those that are no bytes stay until they are, at the end of the wait. Bytes are in the trace.
#[derive(Default)]
struct Swept {
    before: bool,
}

impl Swept {
    fn sweep(&mut self, events: &mut VecDeque<StreamEvent>) {
        let again = std::mem::replace(&mut self.before, true);
        events.retain(|event| again && !matches!(event, StreamEvent::Bytes { .. }));
    }
}

/// How a conversation ended, in a word.
fn ending(stream: &stream::Stream) -> Option<&'static str> {
    Some(match stream.ended()? {
        Why::Finished => "finished",
        Why::Reset => "reset",
        Why::HungUp => "hung up",
        Why::Local => "local",
        Why::Refused { .. } => "refused",
    })
}

impl Stream {
    /// The conversation is over, as an exception.
    fn over(&self, py: Python<'_>, state: &State) -> PyErr {
        let (kind, why) = match state {
            State::Closed(Why::Local) => (Kind::Stopped, "it is closed"),
            State::Closed(Why::HungUp) => (self.handle.owner.loss(), "the port went away"),
            State::Closed(Why::Reset) => (self.handle.owner.loss(), "the other side broke the connection off"),
            _ => (self.handle.owner.loss(), "the other side ended the connection"),
        };
        error(py, kind, format!("{}: {why}", self.name))
    }

    fn failed(&self, py: Python<'_>, problem: &StreamError) -> PyErr {
        match problem {
            StreamError::Ended(why) => self.over(py, &State::Closed(why.clone())),
            StreamError::WriteClosed => error(py, Kind::Usage, format!("{}: {problem}", self.name)),
            StreamError::Lost { .. } | StreamError::Spill(_) => {
                error(py, Kind::Bench, format!("{}: {problem}", self.name))
            }
        }
    }

    /// Waits until more came than up to `seen`, the end, or the deadline; gives how much came in all and the state.
    fn wait_for_more(&self, py: Python<'_>, seen: u64, deadline: Time) -> PyResult<Option<u64>> {
        let mut swept = Swept::default();
        self.handle.wait(py, deadline, |stream, events, _| {
            swept.sweep(events);
            (stream.end() > seen || stream.end_of_data()).then(|| stream.end())
        })
    }

    /// Sends, and waits until the port took it. `extra` is how long it waits by itself.
    fn send_now(
        &self,
        py: Python<'_>,
        data: Vec<u8>,
        extra: Duration,
        command: impl FnOnce(&mut stream::Stream, Time, &[u8]) -> Result<(), StreamError> + Send,
    ) -> PyResult<Sent> {
        if data.is_empty() {
            return Err(error(py, Kind::Usage, "there is nothing to send"));
        }
        let now = self.handle.now(py)?;
        let octets = &data;
        let sent = self.handle.send(py, |stream, now| command(stream, now, octets), extra + SEND_TIMEOUT)?;
        let sent = sent.map_err(|problem| self.failed(py, &problem))?;
        if sent.is_some_and(|sent| sent.returned.is_none()) {
            let message = format!("{}: the other side does not take the bytes", self.name);
            return Err(error(py, Kind::Unanswered, message));
        }
        // The call itself is the issue: the port is looked at after it and before the write, so that nothing that came
        // before can pass for an answer, and no answer for something that came before.
        let at = if extra.is_zero() { self.handle.stamped(py, now).0 } else { self.handle.issued(py, sent, now) };
        Ok(Sent { at, done: self.handle.returned(py, sent, now), data })
    }

    fn take(&self, py: Python<'_>) -> PyResult<Received> {
        let from = self.cursor.load(Ordering::Relaxed);
        let received = self.received(py, from, u64::MAX)?;
        self.cursor.store(from + received.data.len() as u64, Ordering::Relaxed);
        Ok(received)
    }

    /// The bytes from an offset up to another one, as far as they have come.
    fn received(&self, py: Python<'_>, from: u64, to: u64) -> PyResult<Received> {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let clock = self.handle.clock(py);
        let (outcome, _) = self.handle.with(py, |stream, now| {
            let data = stream.read(from, length)?.into_owned();
            let end = from + data.len() as u64;
            let stamps: Vec<_> = stream.stamps(from..end).into_iter().map(|(at, stamp)| (at - from, stamp)).collect();
            let at = stamps.last().map_or(time::Stamp::exact(now), |(_, stamp)| *stamp).by(clock);
            Ok(Received { data, at, stamps, closed: ending(stream) })
        })?;
        outcome.map_err(|problem: StreamError| self.failed(py, &problem))
    }
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(
        signature = (url, *, rig = None, name = None, belongs_to = "bench", protocol = None, keep = None, spill = None, ansi = "keep"),
        text_signature = "(url, *, rig=None, name=None, belongs_to='bench', protocol=None, keep=None, spill=1073741824, ansi='keep')"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        url: &str,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
        protocol: Option<&str>,
        keep: Option<Whole>,
        spill: Option<Whole>,
        ansi: &str,
    ) -> PyResult<Stream> {
        let strip = strips(py, ansi)?;
        let keep = keep.map(|keep| keep.from(py, "keep", LEAST_KEPT as u64)).transpose()?;
        let keep = keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX));
        let spill = spill.map_or(Ok(SPILL), |spill| spill.named(py, "spill"))?;
        let protocol = protocol.map(|name| place::protocol(py, name)).transpose()?;
        let spec = place::port(py, url)?;
        let owner = Owner::parse(py, belongs_to)?;
        let connects = place::connects(&spec);
        let shown = spec.clone();
        let name = name.unwrap_or_else(|| url.to_owned());
        let binding = place::binding(VIA, spec, protocol, Sender::Client);
        let shared = shared_or_private(py, rig)?;
        let spills = (spill > 0).then(|| shared.rig(py).map(|rig| rig.spills(spill))).transpose()?;
        let endpoint = stream::Stream::keeping(Keeping { capacity: keep, spills, strip });
        let handle = Handle::open_in(py, shared, rig.is_none(), &name, endpoint, vec![binding], owner)?;
        if connects {
            let deadline = handle.now(py)? + place::CONNECT_TIMEOUT;
            let state = handle.wait(py, deadline, |stream, _, _| {
                (*stream.state() != State::Waiting).then(|| stream.state().clone())
            })?;
            match state {
                Some(State::Closed(Why::Refused { reason, .. })) => return Err(place::refused(py, url, &reason)),
                Some(_) => {}
                None => return Err(place::refused(py, url, "the connection was not made in time")),
            }
        }
        let url = place::reached(&shown, &handle.address(py, VIA)?);
        Ok(Stream { handle, name, url, cursor: AtomicU64::new(0), known: Known::default() })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        Ok(self.handle.with(py, |stream, _| ending(stream))?.0)
    }
    #[getter]
    fn length(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.with(py, |stream, _| stream.end())?.0)
    }
    #[pyo3(signature = (data, /, *, gap = None))]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, gap: Given<'_, '_>) -> PyResult<Sent> {
        let data = octets(data)?;
        let gap = gap.map(limit).transpose()?;
        self.send_now(py, data, gap.unwrap_or_default(), |stream, now, data| match gap {
            Some(gap) => stream.send_after(now, gap, data),
            None => stream.send(now, data),
        })
    }
    #[pyo3(signature = (parts, /))]
    fn send_parts(&self, py: Python<'_>, parts: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>) -> PyResult<Sent> {
        let parts = parts.iter().map(|(pause, data)| {
            let pause = if pause.is_none() { Duration::ZERO } else { limit(pause)? };
            Ok(Part { pause, data: octets(data)? })
        });
        self.send_each(py, parts.collect::<PyResult<_>>()?, None)
    }
    #[pyo3(signature = (data, /, pace = None, *, per = "byte", echo_within = None))]
    fn send_paced(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        pace: Given<'_, '_>,
        per: &str,
        echo_within: Given<'_, '_>,
    ) -> PyResult<Sent> {
        let pace = Pace::parse(py, per, pace.map(limit).transpose()?.unwrap_or_default())?;
        self.send_each(py, pace.parts(&octets(data)?), echo_within.map(limit).transpose()?)
    }
    #[pyo3(signature = (program, /))]
    fn begin(slf: &Bound<'_, Self>, program: &Bound<'_, PyAny>) -> PyResult<Playing> {
        Playing::begin(slf, program, false)
    }
    #[pyo3(signature = (program, /))]
    fn play(slf: &Bound<'_, Self>, program: &Bound<'_, PyAny>) -> PyResult<Played> {
        let _call = Call::begin();
        Playing::begin(slf, program, true)?.finish(slf.py())
    }
    #[pyo3(signature = (until = None, *, within = None))]
    fn receive(&self, py: Python<'_>, until: Given<'_, '_>, within: Given<'_, '_>) -> PyResult<Received> {
        let _call = Call::begin();
        let deadline = self.handle.now(py)? + limit_or(within, Duration::from_secs(1))?;
        let from = self.cursor.load(Ordering::Relaxed);
        let until = until.filter(|until| !until.is_none());
        let count = match until {
            Some(until) if until.is_callable() => None,
            Some(until) if until.is_instance_of::<PyInt>() => Some(until.extract::<Whole>()?.named(py, "until")?),
            Some(until) => {
                let message = format!("until={} is neither a number of bytes nor a function", until.repr()?);
                let hint =
                    "write receive(9), receive(lambda data: data.endswith(b'\\n')), or receive() for all that comes";
                return Err(hinted(py, Kind::Usage, message, Some(hint)));
            }
            None => None,
        };
        let mut seen = count.map_or(from, |count| from + count.saturating_sub(1));
        while let Some(end) = self.wait_for_more(py, seen, deadline)? {
            let content = match until {
                None => false,
                Some(_) if count.is_some() => true,
                Some(function) => {
                    let (bytes, _) = self
                        .handle
                        .with(py, |stream, _| stream.read(from, usize::MAX).map(std::borrow::Cow::into_owned))?;
                    let bytes = bytes.map_err(|problem| self.failed(py, &problem))?;
                    function.call1((PyBytes::new(py, &bytes),))?.is_truthy()?
                }
            };
            // The same end again: the conversation is over and nothing more comes.
            if content || end <= seen {
                break;
            }
            seen = end;
        }
        self.take(py)
    }
    #[pyo3(signature = (kind = None, *, after = None, within = None))]
    fn line_events<'py>(
        &self,
        py: Python<'py>,
        kind: Option<&str>,
        after: Given<'_, '_>,
        within: Given<'_, '_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _call = Call::begin();
        let kind = kind.map(|word| line_event::kind_of(py, word)).transpose()?;
        let after = after.map(instant).transpose()?;
        let found = |stream: &stream::Stream| -> Vec<LineEvent> {
            stream.line_events().map(LineEvent::of).filter(|event| event.is_wanted(kind, after)).collect()
        };
        if let Some(within) = within {
            let deadline = self.handle.now(py)? + limit(within)?;
            let over = |stream: &stream::Stream| matches!(stream.state(), State::Closed(_));
            self.handle.wait(py, deadline, |stream, _, _| (over(stream) || !found(stream).is_empty()).then_some(()))?;
        } else {
            self.handle.look(py)?;
        }
        PyTuple::new(py, self.handle.with(py, |stream, _| found(stream))?.0)
    }
    #[pyo3(signature = (pattern, start, after, deadline_ns, /))]
    fn search(
        &self,
        py: Python<'_>,
        pattern: Wanted,
        start: Whole,
        after: Option<Stamp>,
        deadline_ns: Whole,
    ) -> PyResult<Option<Match>> {
        let look = Look::parse(py, start, after, deadline_ns)?;
        let patterns = self.known.patterns(py, &pattern.texts())?;
        Ok(self.look_for(py, &patterns, Goal::Any, look)?.into_iter().flatten().next())
    }
    #[pyo3(signature = (patterns, start, after, deadline_ns, /))]
    fn search_all(
        &self,
        py: Python<'_>,
        patterns: Vec<String>,
        start: Whole,
        after: Option<Stamp>,
        deadline_ns: Whole,
    ) -> PyResult<Vec<Option<Match>>> {
        let look = Look::parse(py, start, after, deadline_ns)?;
        let patterns = self.known.patterns(py, &patterns)?;
        self.look_for(py, &patterns, Goal::All, look)
    }
    #[pyo3(signature = (count, start, after, deadline_ns, /))]
    fn take_exactly(
        &self,
        py: Python<'_>,
        count: Whole,
        start: Whole,
        after: Option<Stamp>,
        deadline_ns: Whole,
    ) -> PyResult<Option<Match>> {
        let look = Look::parse(py, start, after, deadline_ns)?;
        self.take_count(py, count.named(py, "count")?, look)
    }
    #[pyo3(signature = (start, end, /))]
    fn read(&self, py: Python<'_>, start: Whole, end: Whole) -> PyResult<Received> {
        self.received(py, start.named(py, "start")?, end.named(py, "end")?)
    }
    #[pyo3(signature = (start, end, /))]
    fn read_text(&self, py: Python<'_>, start: Whole, end: Whole) -> PyResult<String> {
        let (start, end) = (start.named(py, "start")?, end.named(py, "end")?);
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let text = self.handle.with(py, |stream, _| stream.read_text(start, length))?.0;
        let text = text.map_err(|problem| self.failed(py, &problem))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
    #[pyo3(signature = (at, /))]
    fn offset_after(&self, py: Python<'_>, at: Stamp) -> PyResult<(u64, u64)> {
        Ok(self.handle.with(py, |stream, _| stream.after(at.0))?.0)
    }
    #[pyo3(signature = (since, /))]
    fn alive(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let (ended, _) = self.handle.with(py, |stream, _| stream.end_of_data().then(|| ending(stream)))?;
        match ended {
            Some(how) => Ok(Some(format!("the port is closed ({})", how.unwrap_or("not open")))),
            None => self.missed(py, since),
        }
    }
    #[pyo3(signature = (since, /))]
    fn missed(&self, py: Python<'_>, since: Stamp) -> PyResult<Option<String>> {
        let (missed, _) = self.handle.with(py, |stream, _| {
            let in_time = |at: time::Stamp| at.order(since.0) != Order::Before;
            let overrun = stream
                .line_events()
                .any(|(_, at, event)| *event == fieldrig_proto::line::LineEvent::Overrun && in_time(*at));
            // What was dropped is older than the oldest byte that is kept.
            let dropped = stream.start() > 0 && stream.stamp(stream.start()).is_none_or(in_time);
            (overrun, dropped.then(|| stream.start()))
        })?;
        Ok(match missed {
            (true, _) => Some("the port was overrun: bytes were lost".to_owned()),
            (false, dropped) => dropped.map(|bytes| format!("{bytes} bytes were dropped: more came than is kept")),
        })
    }
    /// Searches leave out control functions of terminals from now on ("strip"), or not ("keep").
    #[pyo3(signature = (ansi, /))]
    fn show(&self, py: Python<'_>, ansi: &str) -> PyResult<()> {
        let strip = strips(py, ansi)?;
        self.handle.with(py, |stream, _| stream.strip(strip)).map(|_| ())
    }
    /// Bytes of memory that what came takes.
    #[getter]
    fn memory(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle.with(py, |stream, _| stream.memory())?.0)
    }
    /// Masks a text from now on, wherever the rig writes.
    #[pyo3(signature = (text, /))]
    fn hide(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.handle.secrets(py)?.hide(text);
        Ok(())
    }
    /// A text without secrets.
    #[pyo3(signature = (text, /))]
    fn mask(&self, py: Python<'_>, text: &str) -> PyResult<String> {
        Ok(self.handle.secrets(py)?.text(text).into_owned())
    }
    #[getter]
    fn start(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.with(py, |stream, _| stream.start())?.0)
    }
    #[pyo3(signature = (since = None, start = None, /), text_signature = "($self, since=None, start=0, /)")]
    fn lines<'py>(&self, py: Python<'py>, since: Option<Stamp>, start: Option<Whole>) -> PyResult<Bound<'py, PyTuple>> {
        let start = start.map_or(Ok(0), |start| start.named(py, "start"))?;
        let from = since.map_or(Ok(0), |since| self.offset_after(py, since).map(|(perhaps, _)| perhaps))?.max(start);
        let lines = self.handle.with(py, |stream, _| lines(stream, from))?.0;
        PyTuple::new(py, lines.map_err(|problem| self.failed(py, &problem))?)
    }
    #[getter]
    fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.resolution_ns(py)
    }
    /// Takes what has arrived, without waiting.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.look(py)
    }
    fn now(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.handle.now_stamp(py)
    }
    #[pyo3(signature = (since, /))]
    fn stalls<'py>(&self, py: Python<'py>, since: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.handle.stalls(py, instant(since)?)?)
    }
    #[pyo3(signature = (how = "fin"))]
    fn close(&self, py: Python<'_>, how: &str) -> PyResult<()> {
        let how = match how {
            "fin" => How::Fin,
            "rst" => How::Rst,
            "half" => How::HalfOpen,
            _ => return Err(error(py, Kind::Usage, format!("how is \"fin\", \"rst\" or \"half\", not {how:?}"))),
        };
        if how == How::HalfOpen {
            return self.handle.with(py, |stream, now| stream.close(now, how)).map(|_| ());
        }
        self.handle.at_last(py, |stream, now| stream.close(now, how));
        self.handle.close(py)
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, _error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Given<'_, '_>,
        _error: Given<'_, '_>,
        _trace: Given<'_, '_>,
    ) -> PyResult<()> {
        self.close(py, "fin")
    }
    fn __repr__(&self) -> String {
        format!("<Stream {}>", self.url)
    }
}

/// Whether control functions of terminals are left out.
///
/// # Errors
/// `UsageError` for what is neither "keep" nor "strip".
fn strips(py: Python<'_>, ansi: &str) -> PyResult<bool> {
    match ansi {
        "keep" => Ok(false),
        "strip" => Ok(true),
        _ => Err(error(py, Kind::Usage, format!("ansi is \"keep\" or \"strip\", not {ansi:?}"))),
    }
}

/// The lines from an offset on, the last one be it finished or not; of very much, the newest.
fn lines(stream: &stream::Stream, from: u64) -> Result<Vec<Line>, StreamError> {
    let mut offset = from.max(stream.start()).max(stream.end().saturating_sub(stream::CAPACITY as u64));
    let bytes = stream.read(offset, usize::MAX)?;
    let mut stripper = stream.stripper(offset)?;
    let mut lines = Vec::new();
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = stripper.as_mut().map_or_else(|| piece.to_vec(), |stripper| stripper.strip(piece));
        offset += piece.len() as u64;
        let text = String::from_utf8_lossy(text.trim_ascii_end()).into_owned();
        if !text.is_empty() {
            lines.push(Line { text, at: stream.stamp(offset - 1).unwrap_or_default() });
        }
    }
    Ok(lines)
}
