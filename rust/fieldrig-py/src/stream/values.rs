//! What a stream gives: `Sent`, `Received`, `Match`, `Line`.

use crate::mqtt::shortened;
use crate::time::{Span, Stamp, span_to};
use fieldrig_proto::line::stream::Found;
use fieldrig_proto::time;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// Something that was sent.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) at: time::Stamp,
    pub(crate) done: time::Stamp,
    pub(crate) data: Vec<u8>,
}

#[pymethods]
impl Sent {
    #[new]
    fn new(at: Stamp, done: Stamp, data: Vec<u8>) -> Sent {
        Sent { at: at.0, done: done.0, data }
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn done(&self) -> Stamp {
        Stamp(self.done)
    }
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.data)
    }
    /// The span from the issue to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Stamp, Stamp, Bound<'py, PyBytes>) {
        (self.at(), self.done(), self.data(py))
    }
    fn __repr__(&self) -> String {
        format!("<Sent {} bytes>", self.data.len())
    }
}

/// What a `receive` took.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) data: Vec<u8>,
    pub(crate) at: time::Stamp,
    pub(crate) stamps: Vec<(u64, time::Stamp)>,
    pub(crate) closed: Option<&'static str>,
}

#[pymethods]
impl Received {
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.data)
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn stamps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.stamps.iter().map(|(offset, stamp)| (*offset, Stamp(*stamp))))
    }
    #[getter]
    fn closed(&self) -> Option<&'static str> {
        self.closed
    }
    fn __repr__(&self) -> String {
        format!("<Received {} bytes, closed: {}>", self.data.len(), self.closed.unwrap_or("no"))
    }
}

/// The groups of a match by number, and their names by number.
type Groups = Vec<Option<Vec<u8>>>;
type Names = Vec<Option<String>>;
/// What a match is made of again.
type MatchParts<'py> = (u64, Stamp, Vec<Option<Bound<'py, PyBytes>>>, Names, Option<u64>, String, usize);

/// Where a pattern was found.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Match {
    start: u64,
    end: u64,
    at: time::Stamp,
    groups: Groups,
    names: Names,
    pattern: String,
    index: usize,
}

impl Match {
    pub(crate) fn new_from(found: &Found, pattern: &str) -> Match {
        let groups = found.groups.iter().map(|group| group.as_ref().map(|group| group.bytes.clone())).collect();
        let names = found.names.clone();
        let Found { start, end, at, pattern: index, .. } = *found;
        Match { start, end, at, groups, names, pattern: pattern.to_owned(), index }
    }
    fn whole(&self) -> &[u8] {
        self.groups.first().and_then(Option::as_deref).unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[pymethods]
impl Match {
    #[new]
    #[pyo3(signature = (start, at, groups, names, end = None, pattern = "", index = 0))]
    fn new(
        start: u64,
        at: Stamp,
        groups: Groups,
        names: Names,
        end: Option<u64>,
        pattern: &str,
        index: usize,
    ) -> Match {
        let mut new = Match { start, end: start, at: at.0, groups, names, pattern: pattern.to_owned(), index };
        new.end = end.unwrap_or(start + new.whole().len() as u64);
        new
    }
    #[getter]
    fn start(&self) -> u64 {
        self.start
    }
    #[getter]
    fn end(&self) -> u64 {
        self.end
    }
    /// The pattern that matched.
    #[getter]
    fn pattern(&self) -> &str {
        &self.pattern
    }
    /// Which of several patterns it is.
    #[getter]
    fn index(&self) -> usize {
        self.index
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn text(&self) -> String {
        text(self.whole())
    }
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.whole())
    }
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.groups.iter().skip(1).map(|group| group.as_deref().map(text)).collect::<Vec<_>>())
    }
    #[getter]
    fn named<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, group) in self.names.iter().zip(&self.groups) {
            if let Some(name) = name {
                dict.set_item(name, group.as_deref().map(text))?;
            }
        }
        Ok(dict)
    }
    /// A group by number (0 is the whole match) or name; None if it took no part in the match.
    #[pyo3(signature = (group = None, /))]
    fn group(&self, group: Option<&Bound<'_, PyAny>>) -> PyResult<Option<String>> {
        group.map_or_else(|| Ok(Some(self.text())), |group| self.__getitem__(group))
    }
    fn __getitem__(&self, group: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let number = match group.extract::<&str>() {
            Ok(name) => {
                let named = |known: &Option<String>| known.as_deref() == Some(name);
                self.names.iter().position(named).ok_or_else(|| PyKeyError::new_err(name.to_owned()))?
            }
            Err(_) => group.extract::<usize>()?,
        };
        let found = self.groups.get(number).ok_or_else(|| PyIndexError::new_err(format!("no group {number}")))?;
        Ok(found.as_deref().map(text))
    }
    /// The span from the match to a later event.
    #[pyo3(signature = (later, /))]
    fn until(&self, later: &Bound<'_, PyAny>) -> PyResult<Span> {
        span_to(self.at, later)
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        shortened(&self.text())
    }
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> MatchParts<'py> {
        let groups = self.groups.iter().map(|group| group.as_deref().map(|bytes| PyBytes::new(py, bytes)));
        let (at, names, pattern) = (self.at(), self.names.clone(), self.pattern.clone());
        (self.start, at, groups.collect(), names, Some(self.end), pattern, self.index)
    }
    fn __repr__(&self) -> String {
        format!("<Match {}>", self.describe())
    }
}

/// A line of text that came in.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) at: time::Stamp,
}

#[pymethods]
impl Line {
    #[new]
    fn new(text: String, at: Stamp) -> Line {
        Line { text, at: at.0 }
    }
    #[getter]
    fn text(&self) -> &str {
        &self.text
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        shortened(&self.text)
    }
    fn __getnewargs__(&self) -> (&str, Stamp) {
        (&self.text, self.at())
    }
    fn __repr__(&self) -> String {
        format!("<Line {}>", self.describe())
    }
}
