//! `Monitor` and `Observation`: what goes over a wire that others use.

use super::url;
use crate::error::{Kind, Owner, error, hinted};
use crate::handle::Handle;
use crate::life::Call;
use crate::place;
use crate::rig::Rig;
use crate::time::{Span, Stamp, limit_or, span_to};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::RTU;
use fieldrig_proto::modbus::monitor::{self, Kind as Seen, Values};
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::time::{Duration, Time};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyTuple};
use std::sync::{Mutex, PoisonError};

/// So many observations may wait for somebody to look; an hour of dense polling has fewer.
const MOST: usize = 100_000;

/// Something that was seen on a wire.
#[pyclass(frozen, eq, module = "fieldrig.modbus")]
#[derive(Clone, PartialEq)]
pub(crate) struct Observation(monitor::Observation);

/// What an observation is pickled as: the arguments of its constructor.
type Parts<'py> = (
    (&'static str, u64, Option<u64>, Option<u8>, Option<u8>, Option<u16>, Option<u16>),
    (Bound<'py, PyTuple>, Option<u8>, Bound<'py, PyBytes>, Stamp, Stamp, bool, Option<String>),
);

impl Observation {
    fn kind_of(py: Python<'_>, word: &str) -> PyResult<Seen> {
        [Seen::Request, Seen::Response, Seen::Unanswered, Seen::Noise]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| error(py, Kind::Usage, format!("there is no kind {word:?} of observation")))
    }

    fn values_of(values: &Bound<'_, PyTuple>) -> PyResult<Values> {
        Ok(match values.iter().next() {
            None => Values::None,
            Some(first) if first.is_instance_of::<PyBool>() => Values::Bits(values.extract()?),
            Some(_) => Values::Registers(values.extract()?),
        })
    }
}

#[pymethods]
impl Observation {
    #[new]
    #[pyo3(signature = (kind, number, request, unit, function, address, quantity, values, exception, bytes, begins, at,
        sure = true, problem = None))]
    #[allow(clippy::too_many_arguments)] // the fields of a value
    fn new(
        py: Python<'_>,
        kind: &str,
        number: u64,
        request: Option<u64>,
        unit: Option<u8>,
        function: Option<u8>,
        address: Option<u16>,
        quantity: Option<u16>,
        values: &Bound<'_, PyTuple>,
        exception: Option<u8>,
        bytes: &[u8],
        begins: Stamp,
        at: Stamp,
        sure: bool,
        problem: Option<String>,
    ) -> PyResult<Observation> {
        Ok(Observation(monitor::Observation {
            number,
            kind: Observation::kind_of(py, kind)?,
            begins: begins.0,
            at: at.0,
            unit,
            function,
            address,
            quantity,
            values: Observation::values_of(values)?,
            exception,
            bytes: bytes.into(),
            request,
            sure,
            problem,
        }))
    }
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.word()
    }
    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }
    #[getter]
    fn request(&self) -> Option<u64> {
        self.0.request
    }
    #[getter]
    fn unit(&self) -> Option<u8> {
        self.0.unit
    }
    #[getter]
    fn function(&self) -> Option<u8> {
        self.0.function
    }
    #[getter]
    fn address(&self) -> Option<u16> {
        self.0.address
    }
    #[getter]
    fn quantity(&self) -> Option<u16> {
        self.0.quantity
    }
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.0.values {
            Values::None => Ok(PyTuple::empty(py)),
            Values::Registers(values) => PyTuple::new(py, values),
            Values::Bits(values) => PyTuple::new(py, values.iter().map(|bit| PyBool::new(py, *bit))),
        }
    }
    #[getter]
    fn exception(&self) -> Option<u8> {
        self.0.exception
    }
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.bytes)
    }
    #[getter]
    fn begins(&self) -> Stamp {
        Stamp(self.0.begins)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.0.at)
    }
    #[getter]
    fn sure(&self) -> bool {
        self.0.sure
    }
    #[getter]
    fn problem(&self) -> Option<&str> {
        self.0.problem.as_deref()
    }
    /// The span from this to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.0.at, later)
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let seen = &self.0;
        let (first, second): Parts<'py> = (
            (seen.kind.word(), seen.number, seen.request, seen.unit, seen.function, seen.address, seen.quantity),
            (
                self.values(py)?,
                seen.exception,
                self.bytes(py),
                self.begins(),
                self.at(),
                seen.sure,
                seen.problem.clone(),
            ),
        );
        first.into_pyobject(py)?.as_sequence().concat(second.into_pyobject(py)?.as_sequence())?.to_tuple()
    }
    fn __repr__(&self) -> String {
        format!("<Observation {}: {}>", self.0.number, self.0.describe())
    }
}

/// What has been taken out of the inbox of a monitor.
#[derive(Default)]
struct Taken {
    seen: Vec<Observation>,
    /// Number of the first observation not looked at.
    next: u64,
    /// Observations that fell out of the inbox before they were looked at.
    missed: u64,
}

/// Reads along on a wire, and sends nothing.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Monitor {
    handle: Handle<monitor::Monitor>,
    name: String,
    url: String,
    taken: Mutex<Taken>,
}

impl Monitor {
    /// Takes what is new; gives what stands at place `index` and behind.
    fn take(&self, monitor: &monitor::Monitor, index: usize) -> Option<Vec<Observation>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.missed += monitor.observations_lost().saturating_sub(taken.next);
        let next = taken.next;
        taken.seen.extend(monitor.observations_since(next).cloned().map(Observation));
        taken.next = monitor.cursor();
        taken.seen.get(index..).filter(|new| !new.is_empty()).map(<[Observation]>::to_vec)
    }
}

#[pymethods]
impl Monitor {
    #[new]
    #[pyo3(signature = (url, *, rig = None, name = None, answer_within = None, belongs_to = "bench"))]
    fn new(
        py: Python<'_>,
        url: &str,
        rig: Option<&Bound<'_, Rig>>,
        name: Option<String>,
        answer_within: Option<&Bound<'_, PyAny>>,
        belongs_to: &str,
    ) -> PyResult<Monitor> {
        let place = url::parse(py, url, rig)?;
        let owner = Owner::parse(py, belongs_to)?;
        let rules = match place.line.filter(|_| place.protocol.name == RTU.name) {
            Some(line) => LineRules::tolerant(&line),
            None if place.is_tap() && place.protocol.name == RTU.name => LineRules::unpaced(),
            None => {
                let hint = "write it like wire://bus485, rtu:///dev/ttyUSB0?line=9600+8E1";
                return Err(hinted(py, Kind::Usage, format!("`{url}` is no wire to read along on"), Some(hint)));
            }
        };
        let usual = monitor::Config::rtu(rules);
        let answer_within = limit_or(answer_within, usual.answer_within)?.max(Duration::from_nanos(1));
        let endpoint = monitor::Monitor::new(monitor::Config { answer_within, inbox: MOST, ..usual });
        let name = name.unwrap_or_else(|| url.to_owned());
        // As a device on the wire it hears requests, and the answers of others.
        let binding = place::binding(url::VIA, place.port.clone(), Some(place.protocol), Sender::Server);
        let handle = Handle::open(py, rig, &name, endpoint, vec![binding], owner)?;
        let url = url::reached(place.protocol, &place.port, &handle.address(py, url::VIA)?);
        Ok(Monitor { handle, name, url, taken: Mutex::default() })
    }
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }
    #[getter]
    fn heard(&self, py: Python<'_>) -> PyResult<Option<Stamp>> {
        Ok(self.handle.with(py, |monitor, _| monitor.heard())?.0.map(Stamp))
    }
    #[pyo3(signature = (index, deadline_ns, /))]
    fn wait<'py>(&self, py: Python<'py>, index: usize, deadline_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        let _call = Call::begin();
        let found = self.handle.wait(py, Time::from_nanos(deadline_ns), |monitor, events, _| {
            events.clear();
            self.take(monitor, index).or_else(|| monitor.deaf().map(|_| Vec::new()))
        })?;
        if let Some(seen) = found.filter(|seen| !seen.is_empty()) {
            return PyTuple::new(py, seen);
        }
        // The deadline, or the end of the wire: what has arrived is read once more.
        let look = |monitor: &mut monitor::Monitor, _: Time| {
            (self.take(monitor, index), monitor.deaf().map(|why| format!("{}: {why}", self.name)))
        };
        match self.handle.with(py, look)?.0 {
            (Some(seen), _) => PyTuple::new(py, seen),
            (None, None) => Ok(PyTuple::empty(py)),
            (None, Some(why)) => Err(error(py, self.handle.owner.loss(), why)),
        }
    }
    fn observations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.handle.look(py)?;
        let all = self.handle.with(py, |monitor, _| self.take(monitor, 0))?.0;
        PyTuple::new(py, all.unwrap_or_default())
    }
    #[getter]
    fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.resolution_ns(py)
    }
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.look(py)
    }
    fn now(&self, py: Python<'_>) -> PyResult<Stamp> {
        self.handle.now_stamp(py)
    }
    #[pyo3(signature = (since, /))]
    fn stalls<'py>(&self, py: Python<'py>, since: Stamp) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.handle.stalls(py, since.0)?)
    }
    fn alive(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.handle.look(py)?;
        let deaf = self.handle.with(py, |monitor, _| {
            self.take(monitor, usize::MAX);
            monitor.deaf().map(str::to_owned)
        });
        match deaf {
            Ok((Some(why), _)) => Ok(Some(why)),
            Ok((None, _)) => Ok(self.missed()),
            Err(problem) if crate::error::is_over(py, &problem) => Ok(Some(problem.value(py).str()?.to_string())),
            Err(problem) => Err(problem),
        }
    }
    fn missed(&self) -> Option<String> {
        let missed = self.taken.lock().unwrap_or_else(PoisonError::into_inner).missed;
        (missed > 0).then(|| format!("{missed} observations fell out of the inbox before anybody looked"))
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
    }
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }
    #[pyo3(signature = (_kind, _error, _trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _trace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.close(py)
    }
    fn __repr__(&self) -> String {
        format!("<modbus.Monitor {}>", self.url)
    }
}
