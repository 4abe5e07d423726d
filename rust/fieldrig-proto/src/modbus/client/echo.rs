//! What we hear of ourselves: adapters of 2-wire lines repeat what we send.
//!
//! Rules of this file:
//! - A declared echo is stripped as a whole or not at all: answers begin like requests. Where none was heard, silence
//!   proves nothing: the request may not have left, or what was stripped was the answer (05, 06, 08 look the same).
//! - An echo that nobody declared is the adapter's doing and accuses nobody, unless it is said that there is none.
//! - Where the answer looks like the request, one of both is taken for the answer. The other one is no answer to what is
//!   asked then, and tells of the echo.
//! - A request that came back tells of an echo as long as its answer may follow, and beyond if one does: a device may have
//!   sent it, and cables are swapped.

use super::super::pdu::Response;
use super::{Call, Config};
use crate::endpoint::Stamps;
use crate::line::silence::Frame;
use crate::time::{Duration, Stamp, Time, human};

/// How many answers that may have been echoes are remembered.
const REMEMBERED: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Echo {
    /// What we sent and expect to hear ourselves.
    expected: Vec<u8>,
    /// What came of it, as long as it may be.
    held: Vec<(u8, Stamp)>,
    /// The echo of the last request was stripped.
    stripped: bool,
    /// The answer to the last request may have the same bytes.
    ambiguous: bool,
    /// There surely is a declared echo: what was stripped was no answer.
    proven: bool,
    came_back: Option<CameBack>,
    /// Answers with the bytes of their requests, and until when the same bytes may come again.
    taken: Vec<(Vec<u8>, Time)>,
}

/// A request that came back, although we expect no echo.
#[derive(Debug)]
struct CameBack {
    unit: u8,
    function: u8,
    /// `None`: the answer followed.
    until: Option<Time>,
}

impl Echo {
    /// A request goes out. What was held back of the echo of the one before, which did not come as a whole.
    pub(super) fn begin(&mut self, now: Time, config: &Config, call: &Call) -> Vec<(u8, Stamp)> {
        self.came_back.take_if(|back| back.until.is_some_and(|until| until <= now));
        self.taken.retain(|(_, until)| *until > now);
        (self.stripped, self.ambiguous) = (false, looks_like_its_answer(call));
        self.expected.clear();
        if config.local_echo {
            self.expected.clone_from(&call.adu);
        }
        std::mem::take(&mut self.held)
    }

    /// Takes bytes out that may be our echo. What follows from that: bytes that were held back and are none, and how many
    /// of the bytes were looked at.
    pub(super) fn strip(&mut self, bytes: &[u8], stamps: Stamps<'_>) -> (Vec<(u8, Stamp)>, usize) {
        for (index, byte) in bytes.iter().enumerate() {
            let Some(expected) = self.expected.get(self.held.len()) else { return (Vec::new(), index) };
            let same = expected == byte;
            self.held.push((*byte, stamps.at(index, bytes.len())));
            if !same {
                self.expected.clear();
                return (std::mem::take(&mut self.held), index + 1);
            }
            if self.held.len() == self.expected.len() {
                self.expected.clear();
                self.held.clear();
                self.stripped = true;
                self.proven |= !self.ambiguous;
            }
        }
        (Vec::new(), bytes.len())
    }

    /// Why silence after a request proves nothing.
    pub(super) fn doubt_of_silence(&self, config: &Config) -> Option<String> {
        let doubt = match (config.local_echo, self.stripped) {
            (true, false) => "no echo was heard: either there is none (`local_echo`), or the request did not leave",
            (true, true) if self.ambiguous && !self.proven => {
                "what was stripped as our echo looks like the answer, and no echo was ever heard for sure: is there one \
                 (`local_echo`)? read something first"
            }
            _ => return None,
        };
        Some(doubt.to_owned())
    }

    /// Why a frame with the bytes of the request is no answer, but its echo.
    pub(super) fn own(&self, config: &Config, character: Duration, call: &Call, frame: &Frame) -> Option<String> {
        let sent = call.sent.filter(|_| frame.bytes == call.adu && !config.no_echo)?;
        let least = least(character, call);
        let took = frame.last.latest().since(sent);
        if config.paced && took < least {
            let (took, least) = (in_words(took), in_words(least));
            return Some(format!(
                "it was here {took} after the request began to leave, and request and answer take at least {least} (local_echo=False: there is no echo, and this port is quicker than its \
                 speed)"
            ));
        }
        self.came_back.is_some().then(|| "the request before came back, too".to_owned())
    }

    /// Our own request came back, and nothing proper.
    pub(super) fn returned(&mut self, now: Time, call: &Call) {
        let until = Some(call.sent.map_or(now, |sent| sent + call.timeout));
        self.came_back = Some(CameBack { unit: call.unit, function: call.request.function(), until });
    }

    /// A proper answer. Whether it may have been our echo all the same.
    pub(super) fn answered(&mut self, config: &Config, character: Duration, call: &Call, frame: &Frame) -> bool {
        self.proven |= self.stripped;
        if frame.bytes != call.adu {
            self.came_back = None;
            return false;
        }
        let soon = |sent: Time| frame.last.earliest().since(sent) < least(character, call);
        let may_be = !config.local_echo && !config.no_echo && (!config.paced || call.sent.is_none_or(soon));
        if may_be {
            let due = call.sent.unwrap_or(frame.last.latest()) + call.timeout;
            self.taken.retain(|(bytes, _)| *bytes != frame.bytes);
            self.taken.truncate(REMEMBERED - 1);
            self.taken.insert(0, (frame.bytes.clone(), due + config.late_answers.behind(call.timeout)));
        }
        may_be
    }

    /// An answer came that was owed: if what came in its place was our request, that was an echo.
    pub(super) fn paid(&mut self, unit: u8, function: u8) {
        if let Some(back) = self.came_back.as_mut().filter(|back| back.unit == unit && back.function == function) {
            back.until = None;
        }
    }

    /// Whether these bytes were taken for an answer before, and answer nothing that is asked now: there is an echo.
    pub(super) fn is_second(
        &mut self,
        now: Time,
        call: Option<&Call>,
        message: (Option<u8>, u8),
        frame: &Frame,
    ) -> bool {
        let asked = call.is_some_and(|call| call.adu == frame.bytes);
        let taken = self.taken.iter().position(|(bytes, until)| !asked && *until > now && *bytes == frame.bytes);
        let Some(index) = taken else { return false };
        self.taken.remove(index);
        let (unit, function) = (message.0.unwrap_or_default(), message.1);
        self.came_back = Some(CameBack { unit, function, until: None });
        true
    }

    /// The connection is gone, and with it what was known about its adapter.
    pub(super) fn reset(&mut self) {
        // A serial server hands what comes late to the next connection.
        *self = Echo { taken: std::mem::take(&mut self.taken), ..Echo::default() };
    }
}

/// The least time from the first byte of a request to the last of an answer as long as it: 5 % faster than its nominal
/// speed is more than any UART is.
fn least(character: Duration, call: &Call) -> Duration {
    character * (2 * call.adu.len()) as u32 / 20 * 19
}

fn looks_like_its_answer(call: &Call) -> bool {
    let mut pdu = Vec::new();
    call.request.encode(&mut pdu);
    Response::answering(&call.request, &pdu).is_ok()
}

fn in_words(time: Duration) -> String {
    human(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}
