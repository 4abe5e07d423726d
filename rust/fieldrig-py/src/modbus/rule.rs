//! Rules of emulated Modbus servers: `Device.rule(..)`, `Device.rules`.

use crate::bench::file_error;
use crate::device::{self, Emulated};
use crate::error::{Kind, error, hinted};
use crate::value::from_python;
use fieldrig_engine::bench::load_series;
use fieldrig_proto::modbus::server::{RuleState, ServerFace};
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Where a rule is at work.
pub(crate) enum Site {
    /// A Modbus device by itself.
    Modbus(Py<super::Device>),
    /// A device of a bench.
    Bench(Py<device::Device>),
}

impl Site {
    fn emulated(&self) -> &Emulated {
        match self {
            Site::Modbus(device) => device.get().emulated(),
            Site::Bench(device) => device.get().emulated(),
        }
    }

    fn again(&self, py: Python<'_>) -> Site {
        match self {
            Site::Modbus(device) => Site::Modbus(device.clone_ref(py)),
            Site::Bench(device) => Site::Bench(device.clone_ref(py)),
        }
    }
}

/// A rule of an emulated Modbus server.
#[pyclass(frozen, module = "fieldrig.modbus")]
pub(crate) struct Rule {
    site: Site,
    face: String,
    name: String,
}

impl Rule {
    fn state(&self, py: Python<'_>) -> PyResult<RuleState> {
        let name = self.name.clone();
        let found =
            with_face(py, self.site.emulated(), &self.face, |face| face.rules().find(|rule| rule.name == name))?;
        found.ok_or_else(|| gone(py, &self.name))
    }

    fn switch(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        let done = with_face(py, self.site.emulated(), &self.face, |face| face.switch_rule(&self.name, on))?;
        if done { Ok(()) } else { Err(gone(py, &self.name)) }
    }
}

#[pymethods]
impl Rule {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
    #[getter]
    fn what(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.state(py)?.what)
    }
    #[getter]
    fn is_on(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.on)
    }
    #[getter]
    fn matched(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.matched)
    }
    #[getter]
    fn applied(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.applied)
    }
    fn on(&self, py: Python<'_>) -> PyResult<()> {
        self.switch(py, true)
    }
    fn off(&self, py: Python<'_>) -> PyResult<()> {
        self.switch(py, false)
    }
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        let done = with_face(py, self.site.emulated(), &self.face, |face| face.remove_rule(&self.name))?;
        if done { Ok(()) } else { Err(gone(py, &self.name)) }
    }
    fn __repr__(&self) -> String {
        format!("<Rule {}>", self.name)
    }
}

/// Adds a rule to a face; `keys` are its keys, one that is a word of Python with a `_` behind it (`from_`).
///
/// # Errors
/// `UsageError`: what is wrong with it; the face is no Modbus server.
pub(crate) fn add(py: Python<'_>, site: Site, face: &str, keys: Option<&Bound<'_, PyDict>>) -> PyResult<Rule> {
    let given = keys.map(|keys| from_python(keys.as_any())).transpose()?;
    let mut rule = given.unwrap_or(Value::Table(Vec::new()));
    if let Value::Table(entries) = &mut rule {
        for (key, _) in entries {
            if let Some(plain) = key.strip_suffix('_') {
                *key = plain.to_owned();
            }
        }
    }
    load_series(&mut rule).map_err(|problem| file_error(py, &problem))?;
    let added = with_face(py, site.emulated(), face, |face| face.add_rule("rule", &rule))?;
    let name = added.map_err(|problem| {
        let key = problem.key.strip_prefix("rule.").unwrap_or(&problem.key);
        hinted(py, Kind::Usage, format!("`{key}`: {problem}"), problem.hint.as_deref())
    })?;
    Ok(Rule { site, face: face.to_owned(), name })
}

/// The rules of a face by name, in order.
///
/// # Errors
/// `UsageError`: the face is no Modbus server.
pub(crate) fn all<'py>(py: Python<'py>, site: &Site, face: &str) -> PyResult<Bound<'py, PyDict>> {
    let names: Vec<String> = with_face(py, site.emulated(), face, |face| face.rules().map(|rule| rule.name).collect())?;
    let rules = PyDict::new(py);
    for name in names {
        let rule = Rule { site: site.again(py), face: face.to_owned(), name: name.clone() };
        rules.set_item(name, Py::new(py, rule)?)?;
    }
    Ok(rules)
}

/// Puts the rules of every Modbus face back to those that were declared; they begin anew.
///
/// # Errors
/// The engine's.
pub(crate) fn reset(py: Python<'_>, emulated: &Emulated) -> PyResult<()> {
    let reset = |device: &mut fieldrig_proto::device::Device, _| {
        let names: Vec<String> = device.faces().map(str::to_owned).collect();
        for name in names {
            if let Some(face) = device.face_as::<ServerFace>(&name) {
                face.reset_rules();
            }
        }
    };
    emulated.handle.with(py, reset).map(|_| ())
}

/// Works on a Modbus face.
///
/// # Errors
/// `UsageError`: the face is no Modbus server; the engine's.
pub(crate) fn with_face<R: Send>(
    py: Python<'_>,
    emulated: &Emulated,
    name: &str,
    act: impl FnOnce(&mut ServerFace) -> R + Send,
) -> PyResult<R> {
    let (done, _) = emulated.handle.with(py, |device, _| device.face_as::<ServerFace>(name).map(act))?;
    done.ok_or_else(|| {
        error(py, Kind::Usage, format!("`{name}` is no Modbus server of the device: it has no rules and no handler"))
    })
}

fn gone(py: Python<'_>, name: &str) -> PyErr {
    error(py, Kind::Usage, format!("there is no rule `{name}` any more"))
}
