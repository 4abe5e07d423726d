//! `Client.read_many`: many reads in one call, as many of them in flight as wanted.

use super::client::{Client, field};
use super::point;
use crate::error::{Kind, error};
use fieldrig_proto::modbus::client::ClientEvent;
use fieldrig_proto::modbus::map::Mapping;
use fieldrig_proto::modbus::pdu::Request;
use pyo3::exceptions::{PyBaseException, PyIndexError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyString, PyTuple};

/// What one of them asks: a request, and the point it is for.
pub(super) struct Item {
    pub(super) request: Request,
    pub(super) point: Option<Mapping>,
}

/// Reads `("holding", 0, 10)` or the name of a point.
///
/// # Errors
/// `UsageError` with the number of the item.
pub(super) fn item(client: &Client, index: usize, given: &Bound<'_, PyAny>) -> PyResult<Item> {
    let py = given.py();
    if let Ok(name) = given.cast::<PyString>() {
        let point = client.point(py, &name.to_cow()?)?;
        let request = point::read_request(py, client.name(), point)?;
        return Ok(Item { request, point: Some(point.clone()) });
    }
    let wrong = || {
        let message = format!(
            "item {index} of read_many is {}: write the name of a point, or (\"holding\", address, count) with \
             \"holding\", \"input\", \"coils\" or \"discrete\"",
            given.repr().map_or_else(|_| "something".to_owned(), |text| text.to_string())
        );
        error(py, Kind::Usage, message)
    };
    let (table, address, count): (String, i64, i64) = match given.extract::<(String, i64, i64)>() {
        Ok(three) => three,
        Err(_) => given.extract::<(String, i64)>().map(|(table, address)| (table, address, 1)).map_err(|_| wrong())?,
    };
    let address = field(py, &format!("address of item {index}"), address)?;
    let quantity = field(py, &format!("count of item {index}"), count)?;
    let request = match table.as_str() {
        "holding" => Request::ReadHoldingRegisters { address, quantity },
        "input" => Request::ReadInputRegisters { address, quantity },
        "coils" => Request::ReadCoils { address, quantity },
        "discrete" => Request::ReadDiscreteInputs { address, quantity },
        _ => return Err(wrong()),
    };
    Ok(Item { request, point: None })
}

/// How many reads ended, one by one, in the order in which they were asked. What Python sees of each is made when it looks.
#[pyclass(frozen, sequence, module = "fieldrig.modbus")]
pub(crate) struct Answers {
    client: Py<Client>,
    events: Vec<ClientEvent>,
    points: Vec<Option<Mapping>>,
    made: Vec<PyOnceLock<Py<PyAny>>>,
    doubt: Option<String>,
    stalled: bool,
}

impl Answers {
    pub(super) fn new(
        client: Py<Client>,
        events: Vec<ClientEvent>,
        points: Vec<Option<Mapping>>,
        doubt: Option<String>,
        stalled: bool,
    ) -> Answers {
        let made = events.iter().map(|_| PyOnceLock::new()).collect();
        Answers { client, events, points, made, doubt, stalled }
    }

    /// The first one that is no answer, as an exception.
    ///
    /// # Errors
    /// It.
    pub(super) fn raise_first(&self, py: Python<'_>) -> PyResult<()> {
        match self.failures(py)?.first() {
            Some(index) => Err(PyErr::from_value(self.at(py, *index)?.into_bound(py))),
            None => Ok(()),
        }
    }

    /// Indexes of those that are no answers, or hold what is no value of their point.
    fn failures(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        let mut failures = Vec::new();
        for (index, (event, point)) in self.events.iter().zip(&self.points).enumerate() {
            let failed = match (event, point) {
                (ClientEvent::Answered(..), None) => false,
                (ClientEvent::Answered(..), Some(_)) => {
                    self.at(py, index)?.bind(py).is_instance_of::<PyBaseException>()
                }
                _ => true,
            };
            if failed {
                failures.push(index);
            }
        }
        Ok(failures)
    }

    /// An answer, a reading, or the exception it ended with.
    fn at(&self, py: Python<'_>, index: usize) -> PyResult<Py<PyAny>> {
        let made = self.made[index].get_or_try_init(py, || {
            let client = self.client.get();
            let ended = client.ended(py, self.events[index].clone(), self.doubt.clone(), self.stalled);
            match (ended, &self.points[index]) {
                (Ok(answer), Some(point)) => match point::Reading::decode(py, point, answer) {
                    Ok(reading) => Ok(Py::new(py, reading)?.into_any()),
                    Err(problem) => Ok(problem.into_value(py).into_any()),
                },
                (Ok(answer), None) => Ok(Py::new(py, answer)?.into_any()),
                (Err(problem), _) => Ok(problem.into_value(py).into_any()),
            }
        });
        made.map(|made: &Py<PyAny>| made.clone_ref(py))
    }
}

#[pymethods]
impl Answers {
    fn __len__(&self) -> usize {
        self.events.len()
    }
    fn __getitem__(&self, py: Python<'_>, index: isize) -> PyResult<Py<PyAny>> {
        let length = self.events.len();
        let place = if index < 0 { index + length as isize } else { index };
        match usize::try_from(place).ok().filter(|place| *place < length) {
            Some(place) => self.at(py, place),
            None => Err(PyIndexError::new_err(format!("there are {length} answers, none has index {index}"))),
        }
    }
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let (py, this) = (slf.py(), slf.get());
        let all = (0..this.events.len()).map(|index| this.at(py, index)).collect::<PyResult<Vec<Py<PyAny>>>>()?;
        PyTuple::new(py, all)?.try_iter()
    }
    /// Indexes of those that are no answers.
    #[getter]
    fn failed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.failures(py)?)
    }
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Answers: {}, {} failed>", self.events.len(), self.failures(py)?.len()))
    }
}
