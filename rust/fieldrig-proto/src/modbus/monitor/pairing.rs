//! Which frame asks and which answers, on a wire and in a stream of RTU frames: one request at a time (SL 2.4.1).

use super::cutter::Piece;
use super::observation::{Kind, Observation};
use super::{Config, Inbox};
use crate::dissect::Sender;
use crate::modbus::pdu::{Length, Request, Response, function as f, request_length, response_length, sub_function};
use crate::modbus::rtu::{BROADCAST, View};
use crate::time::{Duration, Stamp, Time};

/// A request that was seen and not answered yet.
#[derive(Debug)]
pub(super) struct Open {
    number: u64,
    unit: u8,
    request: Request,
    seen: Observation,
    /// Told as unanswered already.
    told: bool,
}

impl Open {
    /// How long the PDU of its answer is, if that is what begins here: function and amount are the request's.
    fn answer_length(&self, pdu: &[u8]) -> Option<usize> {
        let function = self.request.function();
        let code = *pdu.first()?;
        if code == function | f::EXCEPTION_BIT {
            return Some(2);
        }
        let counted = |bytes: usize| pdu.get(1).is_some_and(|count| usize::from(*count) == bytes).then_some(2 + bytes);
        match &self.request {
            _ if code != function => None,
            Request::ReadCoils { quantity, .. } | Request::ReadDiscreteInputs { quantity, .. } => {
                counted(usize::from(*quantity).div_ceil(8))
            }
            Request::ReadHoldingRegisters { quantity, .. }
            | Request::ReadInputRegisters { quantity, .. }
            | Request::ReadWriteMultipleRegisters { read_quantity: quantity, .. } => {
                counted(usize::from(*quantity) * 2)
            }
            Request::MaskWriteRegister { .. } => Some(7),
            Request::WriteSingleCoil { .. }
            | Request::WriteSingleRegister { .. }
            | Request::WriteMultipleCoils { .. }
            | Request::WriteMultipleRegisters { .. } => Some(5),
            Request::Diagnostics { sub: sub_function::RETURN_QUERY_DATA, data } => Some(3 + data.len() * 2),
            _ => match response_length(pdu) {
                Length::Known(length) | Length::Usually(length) => Some(length),
                Length::Needs(_) | Length::Unknown => None,
            },
        }
    }
}

/// What a frame is taken for.
enum Reading {
    Request { sure: bool },
    Response { sure: bool },
}

/// The exchange under way.
#[derive(Debug)]
pub(super) struct Pairing {
    open: Option<Open>,
    retry_after: Duration,
    answer_within: Duration,
    /// Bytes that were a request repeated or its echo: as long as they repeat, nothing is sure.
    doubtful: Option<Vec<u8>>,
}

impl Pairing {
    pub(super) fn new(config: &Config) -> Pairing {
        let (retry_after, answer_within) = (config.retry_after, config.answer_within);
        Pairing { open: None, retry_after, answer_within, doubtful: None }
    }

    /// How long the frame may be that these bytes begin with, likelier readings first; only what is all there, with a
    /// right CRC.
    pub(super) fn guess(&self, sender: Option<Sender>, bytes: &[u8]) -> [Option<usize>; 3] {
        let Some((unit, pdu)) = bytes.split_first() else { return [None; 3] };
        let whole = |length: usize| {
            let frame = bytes.get(..length + 3)?;
            View(frame).problem().is_none().then_some(length + 3)
        };
        let by = |length: Length| match length {
            Length::Known(length) | Length::Usually(length) => whole(length),
            Length::Needs(_) | Length::Unknown => None,
        };
        let awaited = || self.open.as_ref().filter(|open| open.unit == *unit)?.answer_length(pdu);
        match sender {
            Some(Sender::Client) => [by(request_length(pdu)), None, None],
            Some(Sender::Server) => [by(response_length(pdu)), None, None],
            None => {
                let request = request_length(pdu);
                // What nobody awaits is a response only once it can be no request any more.
                let undecided = match request {
                    Length::Known(length) | Length::Usually(length) => bytes.len() < length + 3,
                    Length::Needs(_) => true,
                    Length::Unknown => false,
                };
                let other = if undecided { None } else { by(response_length(pdu)) };
                [awaited().and_then(whole), by(request), other]
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let open = self.open.as_ref().filter(|open| !open.told)?;
        Some(open.seen.at.latest() + self.answer_within)
    }

    pub(super) fn expire(&mut self, now: Time, inbox: &mut Inbox) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.unanswered(Stamp::exact(now), None, inbox);
        }
    }

    /// The wire is gone: what is open stays unanswered.
    pub(super) fn end(&mut self, now: Time, why: &str, inbox: &mut Inbox) {
        self.unanswered(Stamp::exact(now), Some(why), inbox);
        self.open = None;
    }

    pub(super) fn take(&mut self, sender: Option<Sender>, piece: &Piece, inbox: &mut Inbox) {
        let seen = |kind| Observation::new(kind, &piece.bytes, piece.first, piece.last);
        let view = View(&piece.bytes);
        let (Some(unit), None) = (view.unit(), &piece.problem) else {
            let noise = Observation { problem: piece.problem.clone(), ..seen(Kind::Noise) };
            inbox.push(noise);
            return;
        };
        match self.read(sender, unit, piece) {
            Reading::Request { sure } => {
                // One request at a time: the one before was given up.
                self.unanswered(piece.first, None, inbox);
                let seen = Observation { sure, ..seen(Kind::Request).of_request(unit, view.pdu()) };
                let number = inbox.push(seen.clone());
                let request = Request::parse(view.pdu()).unwrap_or_else(|_| Request::raw(view.pdu()));
                let open = Open { number, unit, request, seen, told: false };
                self.open = (unit != BROADCAST).then_some(open);
            }
            Reading::Response { sure } => {
                let open = self.open.take_if(|open| open.unit == unit);
                let asked = open.as_ref().map(|open| (open.number, &open.request));
                let mut seen = Observation { sure, ..seen(Kind::Response).of_response(unit, view.pdu(), asked) };
                if open.is_none() && seen.problem.is_none() {
                    seen.problem = Some("no request was seen that it answers".to_owned());
                }
                inbox.push(seen);
            }
        }
    }

    fn read(&mut self, sender: Option<Sender>, unit: u8, piece: &Piece) -> Reading {
        if let Some(sender) = sender {
            return match sender {
                Sender::Client => Reading::Request { sure: true },
                Sender::Server => Reading::Response { sure: true },
            };
        }
        self.doubtful.take_if(|bytes| *bytes != piece.bytes);
        let pdu = View(&piece.bytes).pdu();
        let exception = pdu.first().is_some_and(|code| code & f::EXCEPTION_BIT != 0);
        let asks = if exception { None } else { Request::parse(pdu).ok() };
        let open = self.open.as_ref().filter(|open| open.unit == unit);
        let answers = open.filter(|open| Response::answering(&open.request, pdu).is_ok());
        let sure = self.doubtful.is_none();
        match (answers, asks) {
            (Some(open), Some(request)) if request.check().is_ok() && !self.is_early(open, piece) => {
                let repeated = *open.seen.bytes == *piece.bytes;
                if repeated && !is_echoed(&open.request) {
                    return Reading::Request { sure };
                }
                self.doubtful = Some(piece.bytes.clone());
                Reading::Response { sure: false }
            }
            (Some(_), _) => Reading::Response { sure },
            (None, Some(_)) => Reading::Request { sure },
            (None, None) if open.is_none() && !exception && Response::parse(pdu).is_err() => Reading::Request { sure },
            (None, None) => Reading::Response { sure },
        }
    }

    /// It came so soon after the request that nobody has given up yet.
    fn is_early(&self, open: &Open, piece: &Piece) -> bool {
        piece.first.latest().since(open.seen.at.earliest()) < self.retry_after
    }

    fn unanswered(&mut self, at: Stamp, why: Option<&str>, inbox: &mut Inbox) {
        let Some(open) = self.open.as_mut().filter(|open| !open.told) else { return };
        open.told = true;
        inbox.push(Observation {
            kind: Kind::Unanswered,
            begins: at,
            at,
            request: Some(open.number),
            problem: why.map(str::to_owned),
            ..open.seen.clone()
        });
    }
}

/// The answer repeats the request (AP 6.5, 6.6, 6.8, 6.15, 6.16); of functions that are not known, it may.
fn is_echoed(request: &Request) -> bool {
    matches!(
        request,
        Request::WriteSingleCoil { .. }
            | Request::WriteSingleRegister { .. }
            | Request::MaskWriteRegister { .. }
            | Request::Diagnostics { .. }
            | Request::WriteFileRecord { .. }
            | Request::Encapsulated { .. }
            | Request::Raw { .. }
    )
}
