//! Loading models in Python for a bench: `model = "models/gateway.py:Gateway"`.

use crate::model::PyModel;
use crate::value::{from_python, to_python};
use fieldrig_engine::bench::{LoadedModel, ModelLoader, ModelProblem, Surroundings};
use fieldrig_proto::record::Value;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::Path;
use std::sync::Arc;

/// Loads classes that derive from `fieldrig.model.Model`.
pub(crate) struct PythonModels;

impl ModelLoader for PythonModels {
    fn load(&self, file: &Path, class: &str, settings: &Value) -> Result<LoadedModel, ModelProblem> {
        let loaded = Python::try_attach(|py| load(py, file, class, settings).map_err(|error| problem(py, &error)));
        let gone = || Err(ModelProblem { message: "the interpreter is going away".to_owned(), hint: None });
        loaded.unwrap_or_else(gone).map_err(|problem| without_place(problem, file))
    }
}

fn load(py: Python<'_>, file: &Path, class: &str, settings: &Value) -> PyResult<LoadedModel> {
    let settings = match settings {
        Value::Table(_) => to_python(py, settings)?,
        _ => PyDict::new(py).into_any(),
    };
    let loaded = py.import("fieldrig.model")?.call_method1("load", (file, class, settings))?;
    let definition = from_python(&loaded.getattr("definition")?)?;
    let loaded = loaded.unbind();
    let make = move |place: &Surroundings<'_>| -> Box<dyn fieldrig_proto::device::Model> {
        let machine = Python::try_attach(|py| machine(py, &loaded, place).map_err(|error| problem(py, &error).message));
        Box::new(PyModel::new(machine.unwrap_or_else(|| Err("the interpreter is going away".to_owned()))))
    };
    Ok(LoadedModel { definition, make: Arc::new(make) })
}

fn machine(py: Python<'_>, loaded: &Py<PyAny>, place: &Surroundings<'_>) -> PyResult<Py<PyAny>> {
    let link = |side: &fieldrig_engine::bench::LinkSide<'_>| {
        (side.name.to_owned(), side.protocol.name, side.role.word(), side.face.to_owned())
    };
    let links: Vec<_> = place.links.iter().map(link).collect();
    loaded.bind(py).call_method1("machine", (place.device, links)).map(Bound::unbind)
}

/// The file is said by the place of the error.
fn without_place(problem: ModelProblem, file: &Path) -> ModelProblem {
    let place = format!("{}: ", file.display());
    let ModelProblem { message, hint } = problem;
    ModelProblem { message: message.strip_prefix(&place).unwrap_or(&message).to_owned(), hint }
}

/// What was raised, for a located error: the classes of `errors.py` have a message and a hint of their own.
fn problem(py: Python<'_>, error: &PyErr) -> ModelProblem {
    let own = |name: &str| error.value(py).getattr(name).ok()?.extract::<String>().ok();
    ModelProblem { message: own("message").unwrap_or_else(|| error.to_string()), hint: own("hint") }
}
