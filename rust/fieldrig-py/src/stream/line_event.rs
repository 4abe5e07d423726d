//! What happened on a line besides bytes, for tests.

use crate::error::{Kind, error};
use crate::time::Stamp;
use fieldrig_proto::line::{self, LineSettings};
use fieldrig_proto::time::{Order, Stamp as At};
use pyo3::prelude::*;

/// The words for the kinds.
const KINDS: [&str; 6] = ["break", "parity", "framing", "overrun", "modem", "settings"];

/// One of the kinds.
///
/// # Errors
/// `UsageError` for another word.
pub(super) fn kind_of(py: Python<'_>, word: &str) -> PyResult<&'static str> {
    KINDS.into_iter().find(|known| *known == word).ok_or_else(|| {
        error(
            py,
            Kind::Usage,
            format!("a line event is one of {}, not \"{word}\"", KINDS.map(|kind| format!("\"{kind}\"")).join(", ")),
        )
    })
}

/// Something that happened on a line besides bytes.
#[pyclass(frozen, eq, module = "fieldrig.stream")]
#[derive(Clone, PartialEq)]
pub(crate) struct LineEvent {
    event: line::LineEvent,
    offset: u64,
    at: At,
}

impl LineEvent {
    pub(super) fn of((offset, at, event): &(u64, At, line::LineEvent)) -> LineEvent {
        LineEvent { event: event.clone(), offset: *offset, at: *at }
    }

    /// Whether it is of this kind, if one is asked for, and may have come after an instant, if there is one.
    pub(super) fn is_wanted(&self, kind: Option<&str>, after: Option<At>) -> bool {
        let later = after.is_none_or(|after| self.at.order(after) != Order::Before);
        later && kind.is_none_or(|kind| self.kind() == kind)
    }

    fn modem(&self) -> Option<(bool, bool, bool, bool)> {
        match self.event {
            line::LineEvent::Modem { cts, dsr, ri, dcd } => Some((cts, dsr, ri, dcd)),
            _ => None,
        }
    }
}

#[pymethods]
impl LineEvent {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.event {
            line::LineEvent::Break => "break",
            line::LineEvent::Parity => "parity",
            line::LineEvent::Framing => "framing",
            line::LineEvent::Overrun => "overrun",
            line::LineEvent::Modem { .. } => "modem",
            line::LineEvent::Settings(_) => "settings",
        }
    }
    #[getter]
    fn at(&self) -> Stamp {
        Stamp(self.at)
    }
    #[getter]
    fn offset(&self) -> u64 {
        self.offset
    }
    #[getter]
    fn cts(&self) -> Option<bool> {
        self.modem().map(|lines| lines.0)
    }
    #[getter]
    fn dsr(&self) -> Option<bool> {
        self.modem().map(|lines| lines.1)
    }
    #[getter]
    fn ri(&self) -> Option<bool> {
        self.modem().map(|lines| lines.2)
    }
    #[getter]
    fn dcd(&self) -> Option<bool> {
        self.modem().map(|lines| lines.3)
    }
    #[getter]
    fn settings(&self) -> Option<String> {
        match &self.event {
            line::LineEvent::Settings(settings) => Some(LineSettings::to_string(settings)),
            _ => None,
        }
    }
    /// One line for a failure text.
    fn describe(&self) -> String {
        if let Some(settings) = self.settings() {
            return format!("settings {settings}");
        }
        let Some((cts, dsr, ri, dcd)) = self.modem() else { return self.kind().to_owned() };
        let word = |on: bool| if on { "on" } else { "off" };
        format!("modem lines: CTS {}, DSR {}, RI {}, DCD {}", word(cts), word(dsr), word(ri), word(dcd))
    }
    fn __repr__(&self) -> String {
        format!("<LineEvent {}>", self.describe())
    }
}
