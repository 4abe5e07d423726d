//! A wire in memory that other programs can open.

use crate::error::{Kind, Owner, engine_error, error};
use crate::life::{Alive, detached};
use crate::rig::Rig;
use fieldrig_engine::link;
use fieldrig_proto::line::LineSettings;
use pyo3::prelude::*;

/// A pty on a wire in memory.
#[pyclass(frozen, module = "fieldrig._core")]
pub(crate) struct ExposedWire {
    wire: Alive<link::ExposedWire>,
    path: String,
}

#[pymethods]
impl ExposedWire {
    #[new]
    #[pyo3(signature = (rig, wire, line = None))]
    fn new(py: Python<'_>, rig: &Bound<'_, Rig>, wire: &str, line: Option<&str>) -> PyResult<ExposedWire> {
        let settings = line.map(str::parse::<LineSettings>).transpose();
        let settings = settings.map_err(|problem| error(py, Kind::Usage, problem.to_string()))?;
        let engine = rig.get().shared.rig(py)?;
        let opened = detached(py, || link::ExposedWire::open(engine, wire, settings));
        let wire = opened.map_err(|problem| engine_error(py, &problem, Owner::Bench))?;
        let path = wire.path().to_owned();
        Ok(ExposedWire { wire: Alive::new(wire), path })
    }
    /// The device node that others open.
    #[getter]
    fn path(&self) -> &str {
        &self.path
    }
    /// Takes the pty away.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let wire = self.wire.get(py)?;
        detached(py, || wire.close());
        Ok(())
    }
    fn __repr__(&self) -> String {
        format!("<ExposedWire {}>", self.path)
    }
}
