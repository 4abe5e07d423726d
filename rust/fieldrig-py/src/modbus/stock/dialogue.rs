//! `StockDialogue`: tokio-modbus' client with somebody else's link: it says what to send, and is told what came.

use super::super::client::field;
use super::outcome::converted;
use crate::error::{Kind, error};
use crate::value::octets;
use fieldrig_engine::stock::modbus as stock;
use fieldrig_proto::endpoint::{Conn, Endpoint, Input, Peer, Stamps};
use fieldrig_proto::modbus::pdu::{Request, Response};
use fieldrig_proto::time::{Duration, Stamp, Time};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The only connection that it ever has.
const LINK: Conn = Conn(0);
/// It keeps no time.
const NOW: Time = Time::ZERO;

/// A client of tokio-modbus without a link.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct StockDialogue {
    client: Mutex<(stock::Client, Option<Request>)>,
}

/// What a request came to: a word, and values, a code or a text.
type Outcome<'py> = (&'static str, Bound<'py, PyAny>);

impl StockDialogue {
    fn lock(&self) -> MutexGuard<'_, (stock::Client, Option<Request>)> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl StockDialogue {
    #[new]
    fn new(py: Python<'_>, framing: &str) -> PyResult<StockDialogue> {
        let framing = match framing {
            "tcp" => stock::Framing::Tcp,
            "rtu" => stock::Framing::Rtu { gap: None },
            _ => return Err(error(py, Kind::Usage, format!("framing is \"tcp\" or \"rtu\", not {framing:?}"))),
        };
        let mut client = stock::Client::new(stock::Config { framing, reconnect: None, wire: true });
        client.handle(NOW, Input::Opened(LINK, &Peer::default()));
        Ok(StockDialogue { client: Mutex::new((client, None)) })
    }
    #[pyo3(signature = (pdu, *, unit))]
    fn ask<'py>(&self, py: Python<'py>, pdu: &Bound<'py, PyAny>, unit: i64) -> PyResult<Bound<'py, PyBytes>> {
        let (pdu, unit) = (octets(pdu)?, field(py, "unit", unit)?);
        let cannot = |text: &str| error(py, Kind::Usage, format!("tokio-modbus has no such request: {text}"));
        let request = stock::request(&pdu).map_err(|text| cannot(&text))?;
        let mut held = self.lock();
        let (client, asked) = &mut *held;
        *asked = Some(Request::parse(&pdu).unwrap_or_else(|_| Request::raw(&pdu)));
        client.ask(NOW, unit, request, Duration::MAX);
        let mut bytes = Vec::new();
        while client.poll_action(&mut bytes).is_some() {}
        if bytes.is_empty() {
            return Err(cannot("it sends nothing"));
        }
        Ok(PyBytes::new(py, &bytes))
    }
    #[pyo3(signature = (data, /))]
    fn take<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Option<Outcome<'py>>> {
        let data = octets(data)?;
        let mut held = self.lock();
        let (client, asked) = &mut *held;
        client.handle(NOW, Input::Bytes(LINK, &data, Stamps::One(Stamp::exact(NOW))));
        let (Some(ended), Some(asked)) = (client.poll_event(), asked.as_ref()) else { return Ok(None) };
        let text = |text: String| Ok::<_, PyErr>(text.into_pyobject(py)?.into_any());
        Ok(Some(match ended.outcome {
            stock::Outcome::Answered(response) => ("answer", values(py, &converted(response, asked))?.into_any()),
            stock::Outcome::Exception(code) => ("exception", code.into_pyobject(py)?.into_any()),
            stock::Outcome::Panicked(says) => ("panic", text(says)?),
            stock::Outcome::Odd(says) | stock::Outcome::NotSent(says) => ("odd", text(says)?),
            // It has no time, and no connection that could end.
            other @ (stock::Outcome::TimedOut(_) | stock::Outcome::Lost(_)) => ("odd", text(format!("{other:?}"))?),
        }))
    }
}

/// Registers and bits as numbers; nothing of what has none.
fn values<'py>(py: Python<'py>, response: &Response) -> PyResult<Bound<'py, PyTuple>> {
    match response {
        Response::Registers { values, .. } => PyTuple::new(py, values),
        Response::Bits { values, .. } => PyTuple::new(py, values.iter().map(|on| u8::from(*on))),
        _ => Ok(PyTuple::empty(py)),
    }
}
