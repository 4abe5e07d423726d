//! Sending in parts: with pauses between them, or each after the echo of the one before.

use super::values::Sent;
use super::{Stream, Swept};
use crate::error::{Kind, error, hinted};
use fieldrig_proto::time::Duration;
use pyo3::prelude::*;

/// A part of what is sent, so long after the one before it.
pub(super) struct Part {
    pub(super) pause: Duration,
    pub(super) data: Vec<u8>,
}

/// How a text is cut into parts.
pub(super) struct Pace {
    pause: Duration,
    by_line: bool,
}

impl Pace {
    /// From what Python says.
    ///
    /// # Errors
    /// `UsageError`.
    pub(super) fn parse(py: Python<'_>, per: &str, pause: Duration) -> PyResult<Pace> {
        let by_line = match per {
            "byte" => false,
            "line" => true,
            _ => return Err(error(py, Kind::Usage, format!("per is \"byte\" or \"line\", not {per:?}"))),
        };
        Ok(Pace { pause, by_line })
    }

    /// The parts of a text: its bytes, or its lines with what ends them (LF, CR or CR LF).
    pub(super) fn parts(&self, data: &[u8]) -> Vec<Part> {
        let ends = |index: usize| {
            !self.by_line || data[index] == b'\n' || (data[index] == b'\r' && data.get(index + 1) != Some(&b'\n'))
        };
        let mut begin = 0;
        let mut parts = Vec::new();
        for index in 0..data.len() {
            if ends(index) || index + 1 == data.len() {
                let pause = if parts.is_empty() { Duration::ZERO } else { self.pause };
                parts.push(Part { pause, data: data[begin..=index].to_vec() });
                begin = index + 1;
            }
        }
        parts
    }
}

impl Stream {
    /// Sends parts one after the other; with `echo_within`, each once the one before has come back.
    pub(super) fn send_each(&self, py: Python<'_>, parts: Vec<Part>, echo_within: Option<Duration>) -> PyResult<Sent> {
        let mut whole: Option<Sent> = None;
        let mut echoed = self.handle.with(py, |stream, _| stream.end())?.0;
        for Part { pause, data } in parts {
            // The wait for a short pause ends before it looks for Ctrl-C.
            py.check_signals()?;
            let expected = data.clone();
            let part = match &whole {
                None => self.send_now(py, data, Duration::ZERO, |stream, now, data| stream.send(now, data))?,
                Some(before) => {
                    let due = before.done.latest() + pause;
                    self.send_now(py, data, pause, |stream, now, data| stream.send_at(now, due, data))?
                }
            };
            if let Some(patience) = echo_within {
                echoed = self.wait_for_echo(py, &expected, echoed, patience)?;
            }
            whole = Some(match whole {
                None => part,
                Some(before) => Sent { at: before.at, done: part.done, data: [before.data, part.data].concat() },
            });
        }
        whole.ok_or_else(|| error(py, Kind::Usage, "there is nothing to send"))
    }

    /// Waits until bytes have come back, whatever comes between them; gives the offset behind them.
    fn wait_for_echo(&self, py: Python<'_>, sent: &[u8], from: u64, patience: Duration) -> PyResult<u64> {
        let deadline = self.handle.now(py)? + patience;
        let (mut missing, mut offset) = (sent, from);
        // Of CR LF one may come back.
        let enough = usize::from(sent.ends_with(b"\r\n"));
        let mut swept = Swept::default();
        let came = self.handle.wait(py, deadline, |stream, events, _| {
            swept.sweep(events);
            let Ok(bytes) = stream.read(offset, usize::MAX) else { return Some(None) };
            for byte in bytes.iter() {
                offset += 1;
                missing = match missing.split_first() {
                    Some((next, rest)) if next == byte || (is_line_end(*next) && is_line_end(*byte)) => rest,
                    _ => missing,
                };
                if missing.len() <= enough {
                    return Some(Some(offset));
                }
            }
            stream.end_of_data().then_some(None)
        })?;
        came.flatten().ok_or_else(|| {
            let shown = sent.escape_ascii();
            let message = format!("{}: the echo of \"{shown}\" did not come", self.name);
            let message = self.handle.secrets(py).map_or(message.clone(), |known| known.text(&message).into_owned());
            let hint = "does this console send back what it receives? If not, pace by time: pace=\"2ms\"";
            hinted(py, Kind::Unanswered, message, Some(hint))
        })
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
