//! Serial ports of the machine, and locks of real wires.

use crate::error::Owner;
use crate::life::Alive;
use crate::time::limit_or;
use crate::wait::blocking;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A serial port of this machine.
#[pyclass(frozen, get_all, module = "fieldrig._core")]
pub(crate) struct SerialPort {
    path: String,
    kind: &'static str,
    name: Option<String>,
    vendor: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    interface: Option<String>,
    words: String,
    by_id: Option<String>,
    location: Option<String>,
    latency_timer: Option<u32>,
    rx_trigger: Option<u32>,
    held_by: Vec<String>,
}

#[pymethods]
impl SerialPort {
    fn __repr__(&self) -> String {
        format!("<SerialPort {}>", self.path)
    }
}

/// The serial ports that are plugged in or built in.
#[pyfunction]
pub(crate) fn ports(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let found = py.detach(fieldrig_engine::ports);
    let shown = found.into_iter().map(|port| {
        let name = port.usb.as_ref().map(fieldrig_engine::UsbPort::name);
        let usb = port.usb.clone().unwrap_or_default();
        let on_usb = |text: String| port.usb.as_ref().map(|_| text);
        SerialPort {
            path: port.path.display().to_string(),
            kind: port.kind,
            name,
            vendor: on_usb(usb.vendor),
            product: on_usb(usb.product),
            serial: usb.serial,
            interface: usb.interface,
            words: usb.words,
            location: usb.location,
            latency_timer: port.latency_millis,
            rx_trigger: port.rx_trigger,
            by_id: port.by_id.map(|path| path.display().to_string()),
            held_by: port.held_by,
        }
    });
    PyTuple::new(py, shown.collect::<Vec<_>>())
}

/// What the driver of a serial port has counted.
#[pyclass(frozen, get_all, module = "fieldrig._core")]
pub(crate) struct LineCounts {
    port: String,
    framing: u32,
    parity: u32,
    overrun: u32,
    breaks: u32,
    buffer_overrun: u32,
    unknown: Option<String>,
}

#[pymethods]
impl LineCounts {
    fn __repr__(&self) -> String {
        match &self.unknown {
            Some(reason) => format!("<LineCounts {}: unknown: {reason}>", self.port),
            None => format!(
                "<LineCounts {}: framing={}, parity={}, overrun={}, breaks={}, buffer_overrun={}>",
                self.port, self.framing, self.parity, self.overrun, self.breaks, self.buffer_overrun
            ),
        }
    }
}

impl From<fieldrig_engine::LineReport> for LineCounts {
    fn from(report: fieldrig_engine::LineReport) -> LineCounts {
        let unknown = report.counts.as_ref().err().cloned();
        let counts = report.counts.unwrap_or_default();
        LineCounts {
            port: report.port,
            framing: counts.framing,
            parity: counts.parity,
            overrun: counts.overrun,
            breaks: counts.breaks,
            buffer_overrun: counts.buffer_overrun,
            unknown,
        }
    }
}

/// A real wire that is ours until it is released.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct WireLock {
    lock: Alive<Mutex<Option<fieldrig_engine::WireLock>>>,
    name: String,
}

#[pymethods]
impl WireLock {
    #[new]
    #[pyo3(signature = (name, what = "", *, wait = None))]
    fn new(py: Python<'_>, name: &str, what: &str, wait: Option<&Bound<'_, PyAny>>) -> PyResult<WireLock> {
        let wait = limit_or(wait, Duration::ZERO)?;
        let lock = blocking(py, Owner::Bench, |go_on| fieldrig_engine::WireLock::acquire(name, what, wait, go_on))?;
        let name = lock.name().to_owned();
        Ok(WireLock { lock: Alive::new(Mutex::new(Some(lock))), name })
    }
    /// The wire.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    /// Who has a wire.
    #[staticmethod]
    #[pyo3(signature = (name, /))]
    fn holder(name: &str) -> Option<String> {
        fieldrig_engine::WireLock::holder(name).map(|holder| holder.to_string())
    }
    /// Gives it up.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let lock = self.lock.get(py)?.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lock);
        Ok(())
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
        self.release(py)
    }
    fn __repr__(&self) -> String {
        format!("<WireLock {}>", self.name)
    }
}
