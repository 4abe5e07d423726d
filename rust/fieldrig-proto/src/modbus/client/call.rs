//! A request under way, from the call to its end.

use super::super::pdu::Request;
use super::ask::{self, Options, Patch, RequestError, Strictness};
use super::event::{Attempt, Exchange, Ticket};
use super::{Mode, Step};
use crate::time::{Duration, Stamp, Time};

#[derive(Debug)]
pub(super) struct Call {
    pub(super) ticket: Ticket,
    /// The one in the frame.
    pub(super) unit: u8,
    pub(super) request: Request,
    pub(super) timeout: Duration,
    pub(super) deadline: Time,
    pub(super) transaction: u16,
    pub(super) adu: Vec<u8>,
    pub(super) sent: Option<Time>,
    /// It was sent before, and what came may have answered an earlier request.
    pub(super) again: bool,
    pub(super) options: Option<Box<Options>>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) doubt: Option<String>,
    /// On a line: what came that cannot be read and does not begin like the answer, which may still come.
    pub(super) heard: Option<Heard>,
    /// On a line: what is taken for its answer may be its echo.
    pub(super) may_be_echo: bool,
}

/// What came instead of an answer, if none follows.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) at: Stamp,
    pub(super) problem: String,
    /// Whose late answer it may be a part of.
    pub(super) doubt: Option<String>,
}

impl Call {
    pub(super) fn new(
        ticket: Ticket,
        now: Time,
        unit: u8,
        request: Request,
        timeout: Duration,
        options: Option<Box<Options>>,
    ) -> Call {
        // A time-out of nothing would be due before it could be asked for.
        let timeout = timeout.max(Duration::from_nanos(1));
        let unit = options.as_ref().and_then(|options| options.patch?.unit).unwrap_or(unit);
        Call {
            ticket,
            unit,
            request,
            timeout,
            deadline: now + timeout,
            transaction: 0,
            adu: Vec::with_capacity(16),
            sent: None,
            again: false,
            options,
            attempts: Vec::new(),
            doubt: None,
            heard: None,
            may_be_echo: false,
        }
    }

    pub(super) fn strictness(&self) -> Strictness {
        self.options.as_ref().map_or(Strictness::Strict, |options| options.strictness)
    }

    pub(super) fn patch(&self) -> Patch {
        self.options.as_ref().and_then(|options| options.patch).unwrap_or_default()
    }

    /// It can cause behaviour, or is anything but what the standard has.
    pub(super) fn is_stimulus(&self) -> bool {
        let odd = |options: &Options| options.patch.is_some() || options.frame.is_some();
        self.request.is_stimulus() || self.options.as_deref().is_some_and(odd)
    }

    /// It leaves in one piece, after the usual silence.
    pub(super) fn is_plain(&self) -> bool {
        self.options.as_ref().is_none_or(|options| options.gap_before.is_none() && options.split.is_empty())
    }

    /// How often it is asked at most.
    pub(super) fn most_attempts(&self) -> u32 {
        let retries = |options: &Options| match self.is_stimulus() && !options.retry_writes {
            true => 0,
            false => options.retries,
        };
        1 + self.options.as_deref().map_or(0, retries)
    }

    pub(super) fn may_be_retried(&self) -> bool {
        self.attempts.len() + 1 < self.most_attempts() as usize
    }

    pub(super) fn retry(&mut self, answer: &[u8], at: Stamp, problem: String) {
        let request = std::mem::take(&mut self.adu);
        self.doubt = None;
        self.heard = None;
        self.attempts.push(Attempt { sent: self.sent.take(), at, request, answer: answer.to_vec(), problem });
    }

    pub(super) fn encode(&mut self, mode: &Mode, delimiter: u8) {
        self.adu.clear();
        let place = (self.transaction, self.unit);
        ask::encode(&mut self.adu, mode, place, &self.request, self.options.as_deref(), delimiter);
    }

    /// Pauses lie inside the frame.
    pub(super) fn check_split(&self, mode: &Mode) -> Result<(), RequestError> {
        let Some(options) = self.options.as_ref().filter(|options| !options.split.is_empty()) else { return Ok(()) };
        let mut frame = Vec::new();
        ask::encode(&mut frame, mode, (0, self.unit), &self.request, Some(options), b'\n');
        let outside = options.split.iter().find(|(offset, _)| !(1..frame.len()).contains(offset));
        outside.map_or(Ok(()), |(offset, _)| Err(RequestError::Split { offset: *offset, length: frame.len() }))
    }

    /// Its parts, with the silence before each.
    pub(super) fn steps(&self, step: fn(Vec<u8>, Option<Duration>) -> Step) -> Vec<Step> {
        let (mut gap, mut cuts) = match &self.options {
            Some(options) => (options.gap_before, options.split.clone()),
            None => (None, Vec::new()),
        };
        cuts.sort_unstable();
        let mut steps = Vec::new();
        let mut begin = 0;
        for (offset, pause) in cuts {
            if offset > begin && offset < self.adu.len() {
                steps.push(step(self.adu[begin..offset].to_vec(), gap));
                (begin, gap) = (offset, Some(pause));
            }
        }
        steps.push(step(self.adu[begin..].to_vec(), gap));
        steps
    }

    pub(super) fn end(self, answer: Vec<u8>, at: Stamp) -> Exchange {
        Exchange {
            ticket: self.ticket,
            unit: self.unit,
            asked: self.request,
            request: self.adu,
            sent: self.sent,
            answer,
            at,
            attempts: self.attempts,
            deviations: Vec::new(),
            doubt: self.doubt,
            may_be_echo: self.may_be_echo,
        }
    }
}
