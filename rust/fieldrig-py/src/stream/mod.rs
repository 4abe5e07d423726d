//! `Stream`: one raw conversation; consoles and suites of raw bytes are made of it.

mod values;

pub(crate) use values::{Line, Match, Received, Sent};

use crate::error::{Kind, Owner, error, hinted};
use crate::handle::{Handle, issued, returned};
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::time::{Stamp, instant, limit, limit_or};
use crate::value::octets;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{How, Why};
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::line::stream::{self, Found, State, StreamError};
use fieldrig_proto::time::{self, Duration, Order, Time};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};
use regex::bytes::Regex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The name of the one port of a stream.
const VIA: &str = "stream";
/// How long the port may take to take bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// In front of every pattern: lines end with CR LF as well as with LF.
const LINE_ENDS: &str = "(?R)";
/// So long the rest of a match is waited for; longer than adapters and gateways hold bytes back.
const HALF_A_MATCH: Duration = Duration::from_millis(50);

/// One raw conversation. Every byte that comes is kept with its stamp.
#[pyclass(frozen, module = "fieldrig.stream")]
pub(crate) struct Stream {
    handle: Handle<stream::Stream>,
    name: String,
    url: String,
    /// Up to here `receive` has taken.
    cursor: AtomicU64,
    /// The last pattern: the same one is often waited for again.
    pattern: Mutex<Option<Regex>>,
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
            StreamError::Lost { .. } => error(py, Kind::Bench, format!("{}: {problem}", self.name)),
        }
    }

    fn pattern(&self, py: Python<'_>, text: &str) -> PyResult<Regex> {
        let mut last = self.pattern.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = last.as_ref().filter(|known| known.as_str().strip_prefix(LINE_ENDS) == Some(text)) {
            return Ok(known.clone());
        }
        let pattern = Regex::new(&format!("{LINE_ENDS}{text}")).map_err(|problem| {
            let problem = Regex::new(text).err().unwrap_or(problem);
            let hint = "patterns are those of Rust's regex crate: no look-around, no back-references";
            hinted(py, Kind::Usage, format!("the pattern /{text}/ cannot be used: {problem}"), Some(hint))
        })?;
        *last = Some(pattern.clone());
        Ok(pattern)
    }

    /// Waits until more came than up to `seen`, the end, or the deadline; gives how much came in all and the state.
    fn wait_for_more(&self, py: Python<'_>, seen: u64, deadline: Time) -> PyResult<Option<u64>> {
        self.handle.wait(py, deadline, |stream, events, _| {
            events.clear();
            (stream.end() > seen || stream.end_of_data()).then(|| stream.end())
        })
    }

    /// A match that may be half of one is waited for until the rest has come, nothing comes for a while, or the deadline.
    fn whole(&self, py: Python<'_>, pattern: &Regex, found: Found, deadline: Time) -> PyResult<Found> {
        let (mut whole, mut seen) = (found, None);
        loop {
            let look = |stream: &mut stream::Stream, _: Time| {
                // More may have come since it was found.
                let fresh = seen.is_none() && whole.end == stream.end();
                let again = if fresh { None } else { stream.search(pattern, whole.start).ok().flatten() };
                let now = again.unwrap_or_else(|| whole.clone());
                (stream.may_grow(pattern, &now), stream.end(), now)
            };
            let (open, end, now) = self.handle.with(py, look)?.0;
            whole = now;
            if !open || seen == Some(end) {
                return Ok(whole);
            }
            seen = Some(end);
            self.wait_for_more(py, end, deadline.min(self.handle.now(py)? + HALF_A_MATCH))?;
        }
    }

    /// Sends, and waits until the port took it. `extra` is how long it waits by itself.
    fn send_now(
        &self,
        py: Python<'_>,
        data: Vec<u8>,
        extra: Duration,
        command: impl FnOnce(&mut stream::Stream, Time, &[u8]) -> Result<(), StreamError> + Send,
    ) -> PyResult<Sent> {
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
        let at = if extra.is_zero() { time::Stamp::exact(now) } else { issued(sent, now) };
        Ok(Sent { at, done: returned(sent, now), data })
    }

    fn take(&self, py: Python<'_>) -> PyResult<Received> {
        let from = self.cursor.load(Ordering::Relaxed);
        let (outcome, _) = self.handle.with(py, |stream, now| {
            let data = stream.read(from, usize::MAX)?.to_vec();
            let end = from + data.len() as u64;
            let stamps: Vec<_> = stream.stamps(from..end).into_iter().map(|(at, stamp)| (at - from, stamp)).collect();
            let at = stamps.last().map_or(time::Stamp::exact(now), |(_, stamp)| *stamp);
            Ok(Received { data, at, stamps, closed: ending(stream) })
        })?;
        let received: Received = outcome.map_err(|problem| self.failed(py, &problem))?;
        self.cursor.store(from + received.data.len() as u64, Ordering::Relaxed);
        Ok(received)
    }
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (url, *, rig = None, name = None, belongs_to = "bench", protocol = None))]
    fn new(
        py: Python<'_>,
        url: &str,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        belongs_to: &str,
        protocol: Option<&str>,
    ) -> PyResult<Stream> {
        let protocol = protocol.map(|name| place::protocol(py, name)).transpose()?;
        let spec = place::port(py, url)?;
        let owner = Owner::parse(py, belongs_to)?;
        let connects = place::connects(&spec);
        let shown = spec.clone();
        let name = name.unwrap_or_else(|| url.to_owned());
        let binding = place::binding(VIA, spec, protocol, Sender::Client);
        let handle = Handle::open(py, rig, &name, stream::Stream::new(), vec![binding], owner)?;
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
        Ok(Stream { handle, name, url, cursor: AtomicU64::new(0), pattern: Mutex::new(None) })
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
        let mut whole: Option<Sent> = None;
        for (pause, data) in parts {
            let pause = if pause.is_none() { Duration::ZERO } else { limit(&pause)? };
            let data = octets(&data)?;
            let part = match &whole {
                None => self.send_now(py, data, Duration::ZERO, |stream, now, data| stream.send(now, data))?,
                Some(before) => {
                    let due = before.done.latest() + pause;
                    self.send_now(py, data, pause, |stream, now, data| stream.send_at(now, due, data))?
                }
            };
            whole = Some(match whole {
                None => part,
                Some(before) => Sent { at: before.at, done: part.done, data: [before.data, part.data].concat() },
            });
        }
        whole.ok_or_else(|| error(py, Kind::Usage, "send_parts() needs at least one part"))
    }
    #[pyo3(signature = (until = None, *, within = None))]
    fn receive(&self, py: Python<'_>, until: Given<'_, '_>, within: Given<'_, '_>) -> PyResult<Received> {
        let _call = Call::begin();
        let deadline = self.handle.now(py)? + limit_or(within, Duration::from_secs(1))?;
        let from = self.cursor.load(Ordering::Relaxed);
        let count = match until {
            Some(until) if until.is_instance_of::<PyInt>() => Some(until.extract::<u64>()?),
            _ => None,
        };
        let mut seen = count.map_or(from, |count| from + count.saturating_sub(1));
        while let Some(end) = self.wait_for_more(py, seen, deadline)? {
            let content = match until {
                None => false,
                Some(_) if count.is_some() => true,
                Some(function) => {
                    let (bytes, _) =
                        self.handle.with(py, |stream, _| stream.read(from, usize::MAX).map(<[u8]>::to_vec))?;
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
    #[pyo3(signature = (pattern, start, after, deadline_ns, /))]
    fn search(
        &self,
        py: Python<'_>,
        pattern: &str,
        start: u64,
        after: Option<Stamp>,
        deadline_ns: u64,
    ) -> PyResult<Option<Match>> {
        let regex = self.pattern(py, pattern)?;
        let mut from = start;
        let mut placed = after.is_none();
        let found = self.handle.wait(py, Time::from_nanos(deadline_ns), |stream, events, _| {
            events.clear();
            if let (false, Some(after)) = (placed, after) {
                let runs = stream.stamps(from..stream.end());
                let first = runs.iter().find(|(_, stamp)| stamp.order(after.0) == Order::After);
                placed = first.is_some();
                from = first.map_or(stream.end().max(from), |(offset, _)| *offset);
            }
            match stream.search(&regex, from) {
                Ok(Some(found)) => Some(Ok(found)),
                Ok(None) if stream.end_of_data() && deadline_ns > 0 => Some(Err(None)),
                Ok(None) => None,
                Err(problem) => Some(Err(Some(problem))),
            }
        })?;
        match found {
            None => Ok(None),
            Some(Ok(found)) => {
                let found = self.whole(py, &regex, found, Time::from_nanos(deadline_ns))?;
                Ok(Some(Match::new_from(found, &regex)))
            }
            Some(Err(Some(problem))) => Err(self.failed(py, &problem)),
            Some(Err(None)) => {
                let (state, _) = self.handle.with(py, |stream, _| stream.state().clone())?;
                Err(self.over(py, &state))
            }
        }
    }
    #[pyo3(signature = (at, /))]
    fn offset_after(&self, py: Python<'_>, at: Stamp) -> PyResult<(u64, u64)> {
        let (offsets, _) = self.handle.with(py, |stream, _| {
            let (runs, end) = (stream.stamps(stream.start()..stream.end()), stream.end());
            let first = |wanted: &dyn Fn(Order) -> bool| {
                runs.iter().find(|(_, stamp)| wanted(stamp.order(at.0))).map_or(end, |(offset, _)| *offset)
            };
            (first(&|order| order != Order::Before), first(&|order| order == Order::After))
        })?;
        Ok(offsets)
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
            let overrun = stream.line_events().any(|(_, at, event)| *event == LineEvent::Overrun && in_time(*at));
            // What was dropped is older than the oldest byte that is kept.
            let dropped = stream.start() > 0 && stream.stamp(stream.start()).is_none_or(in_time);
            (overrun, dropped.then(|| stream.start()))
        })?;
        Ok(match missed {
            (true, _) => Some("the port was overrun: bytes were lost".to_owned()),
            (false, dropped) => dropped.map(|bytes| format!("{bytes} bytes were dropped: more came than is kept")),
        })
    }
    #[getter]
    fn start(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.with(py, |stream, _| stream.start())?.0)
    }
    #[pyo3(signature = (since = None, /))]
    fn lines<'py>(&self, py: Python<'py>, since: Option<Stamp>) -> PyResult<Bound<'py, PyTuple>> {
        let from = since.map_or(Ok(0), |since| self.offset_after(py, since).map(|(perhaps, _)| perhaps))?;
        let (lines, _) = self.handle.with(py, |stream, _| lines(stream, from))?;
        PyTuple::new(py, lines)
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

/// The lines from an offset on, the last one be it finished or not.
fn lines(stream: &stream::Stream, from: u64) -> Vec<Line> {
    let from = from.max(stream.start());
    let bytes = stream.read(from, usize::MAX).unwrap_or_default();
    let mut offset = from;
    let mut lines = Vec::new();
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        offset += piece.len() as u64;
        let text = String::from_utf8_lossy(piece.trim_ascii_end()).into_owned();
        if !text.is_empty() {
            lines.push(Line { text, at: stream.stamp(offset - 1).unwrap_or_default() });
        }
    }
    lines
}
