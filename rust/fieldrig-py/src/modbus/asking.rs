//! How a client asks, from the keywords of Python.

use super::client::field;
use crate::error::{Kind, error};
use crate::time::limit;
use fieldrig_proto::modbus::client::{Config, LateAnswers, Options, Patch, Strictness};
use pyo3::prelude::*;
use pyo3::types::PyDict;

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The keywords of `Client.asking`.
pub(super) struct Keywords<'a, 'py> {
    pub(super) mode: Option<&'a str>,
    pub(super) retries: Option<i64>,
    pub(super) retry_writes: Option<bool>,
    pub(super) patch: Option<&'a Bound<'py, PyDict>>,
    pub(super) gap_before: Given<'a, 'py>,
    pub(super) split: Option<Vec<(usize, Bound<'py, PyAny>)>>,
}

impl Keywords<'_, '_> {
    /// What was given, over what there was.
    ///
    /// # Errors
    /// `UsageError` that names the keyword.
    pub(super) fn over(self, py: Python<'_>, before: Option<&Options>) -> PyResult<Option<Box<Options>>> {
        let mut options = before.cloned().unwrap_or_default();
        if let Some(mode) = self.mode {
            let strictness = mode.parse::<Strictness>();
            options.strictness = strictness.map_err(|problem| error(py, Kind::Usage, format!("mode: {problem}")))?;
        }
        if let Some(retries) = self.retries {
            let few = u32::try_from(retries).ok().filter(|retries| *retries <= 1000);
            options.retries =
                few.ok_or_else(|| error(py, Kind::Usage, format!("retries is 0 to 1000, not {retries}")))?;
        }
        options.retry_writes = self.retry_writes.unwrap_or(options.retry_writes);
        if let Some(patch) = self.patch {
            options.patch = Some(read_patch(patch)?);
        }
        if let Some(gap) = self.gap_before {
            options.gap_before = Some(limit(gap)?);
        }
        if let Some(split) = self.split {
            let pause = |(offset, pause): (usize, Bound<'_, PyAny>)| Ok((offset, limit(&pause)?));
            options.split = split.into_iter().map(pause).collect::<PyResult<_>>()?;
        }
        Ok((options != Options::default()).then(|| Box::new(options)))
    }
}

fn read_patch(given: &Bound<'_, PyDict>) -> PyResult<Patch> {
    let py = given.py();
    let mut patch = Patch::default();
    for (key, value) in given {
        let (key, value): (String, i64) = (key.extract()?, value.extract()?);
        match key.as_str() {
            "transaction" => patch.transaction = Some(field(py, &key, value)?),
            "protocol" => patch.protocol = Some(field(py, &key, value)?),
            "length" => patch.length = Some(field(py, &key, value)?),
            "unit" => patch.unit = Some(field(py, &key, value)?),
            "crc" => patch.crc = Some(field(py, &key, value)?),
            "lrc" => patch.lrc = Some(field(py, &key, value)?),
            "byte_count" => patch.byte_count = Some(field(py, &key, value)?),
            _ => {
                let message = format!(
                    "a patch of `{key}`: the fields are transaction, protocol, length, unit, crc, lrc, byte_count"
                );
                return Err(error(py, Kind::Usage, message));
            }
        }
    }
    Ok(patch)
}

/// How the connection is used, from the keywords of the constructor.
///
/// # Errors
/// `UsageError` that names the keyword.
pub(super) fn configure(
    py: Python<'_>,
    config: Config,
    pace: Given<'_, '_>,
    transactions: &str,
    late_answers: Given<'_, '_>,
    local_echo: Option<bool>,
) -> PyResult<Config> {
    let pace = pace.map(limit).transpose()?.unwrap_or_default();
    let transactions = transactions.parse().map_err(|problem: String| error(py, Kind::Usage, problem))?;
    let late_answers = late_answers.map(limit).transpose()?.map_or(config.late_answers, LateAnswers::within);
    // Who says that there is none knows better than the clock.
    let paced = config.paced && local_echo.is_none();
    let (local_echo, no_echo) = (local_echo == Some(true), local_echo == Some(false));
    Ok(Config { pace, transactions, late_answers, local_echo, no_echo, paced, ..config })
}
