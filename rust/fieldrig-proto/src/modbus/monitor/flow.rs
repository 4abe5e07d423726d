//! One wire, or one proxied stream.
//!
//! Rules of the Modbus/TCP side:
//! - A response belongs to the request with its transaction id (MG 3.1.3); several may be open. A transaction id that is
//!   used again ends the request that had it.
//! - After a length field that cannot be gone by everything in that direction is noise.

use super::cutter::Cutter;
use super::observation::{Kind, Observation};
use super::pairing::Pairing;
use super::{Config, Inbox, Medium};
use crate::dissect::Sender;
use crate::endpoint::Stamps;
use crate::modbus::pdu::Request;
use crate::modbus::rtu::LineRules;
use crate::modbus::tcp::{self, Found};
use crate::time::{Duration, Stamp, Time};

/// So many requests may be open on one connection; the oldest is then unanswered.
const MOST_OPEN: usize = 256;

#[derive(Debug)]
pub(super) enum Flow {
    /// Both directions interleaved.
    Wire(Cutter, Pairing),
    /// RTU frames, the sender of each byte is known.
    Directed(Directed, Pairing),
    Tcp(Stream),
}

/// What comes from the client, and what from the server.
#[derive(Debug)]
pub(super) struct Directed {
    client: Cutter,
    server: Cutter,
}

#[derive(Debug)]
pub(super) struct Stream {
    client: tcp::Framer,
    server: tcp::Framer,
    open: Vec<OpenTcp>,
    answer_within: Duration,
}

#[derive(Debug)]
struct OpenTcp {
    transaction: u16,
    number: u64,
    request: Request,
    seen: Observation,
}

impl Flow {
    pub(super) fn wire(config: &Config, rules: &LineRules) -> Flow {
        Flow::Wire(Cutter::new(rules), Pairing::new(config))
    }

    pub(super) fn directed(config: &Config) -> Flow {
        match &config.medium {
            Medium::Rtu(rules) => {
                let directed = Directed { client: Cutter::new(rules), server: Cutter::new(rules) };
                Flow::Directed(directed, Pairing::new(config))
            }
            Medium::Tcp => Flow::Tcp(Stream {
                client: tcp::Framer::default(),
                server: tcp::Framer::default(),
                open: Vec::new(),
                answer_within: config.answer_within,
            }),
        }
    }

    pub(super) fn take(
        &mut self,
        now: Time,
        sender: Option<Sender>,
        bytes: &[u8],
        stamps: Stamps<'_>,
        inbox: &mut Inbox,
    ) {
        match (&mut *self, sender) {
            (Flow::Wire(cutter, _), _) => cutter.push(bytes, stamps),
            (Flow::Directed(directed, _), Some(Sender::Client)) => directed.client.push(bytes, stamps),
            (Flow::Directed(directed, _), Some(Sender::Server)) => directed.server.push(bytes, stamps),
            (Flow::Tcp(stream), Some(sender)) => stream.take(sender, bytes, stamps, inbox),
            (Flow::Directed(..) | Flow::Tcp(_), None) => {}
        }
        self.cut(now, inbox);
    }

    pub(super) fn spoil(&mut self) {
        if let Flow::Wire(cutter, _) = self {
            cutter.spoil();
        }
    }

    pub(super) fn expire(&mut self, now: Time, inbox: &mut Inbox) {
        self.cut(now, inbox);
        match self {
            Flow::Wire(_, pairing) | Flow::Directed(_, pairing) => pairing.expire(now, inbox),
            Flow::Tcp(stream) => stream.expire(now, inbox),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self {
            Flow::Wire(cutter, pairing) => [cutter.wake(), pairing.deadline()].into_iter().flatten().min(),
            Flow::Directed(Directed { client, server }, pairing) => {
                [client.wake(), server.wake(), pairing.deadline()].into_iter().flatten().min()
            }
            Flow::Tcp(stream) => stream.open.iter().map(|open| open.seen.at.latest() + stream.answer_within).min(),
        }
    }

    /// It ends: what is under way is taken as it is.
    pub(super) fn end(&mut self, now: Time, why: &str, inbox: &mut Inbox) {
        self.cut(Time::FAR, inbox);
        match self {
            Flow::Wire(_, pairing) | Flow::Directed(_, pairing) => pairing.end(now, why, inbox),
            Flow::Tcp(stream) => {
                for open in std::mem::take(&mut stream.open) {
                    inbox.push(open.unanswered(Stamp::exact(now), Some(why)));
                }
            }
        }
    }

    fn cut(&mut self, now: Time, inbox: &mut Inbox) {
        match self {
            Flow::Wire(cutter, pairing) => {
                while let Some(piece) = cutter.next(now, &|bytes| pairing.guess(None, bytes)) {
                    pairing.take(None, &piece, inbox);
                }
            }
            Flow::Directed(Directed { client, server }, pairing) => {
                for (cutter, sender) in [(client, Sender::Client), (server, Sender::Server)] {
                    while let Some(piece) = cutter.next(now, &|bytes| pairing.guess(Some(sender), bytes)) {
                        pairing.take(Some(sender), &piece, inbox);
                    }
                }
            }
            Flow::Tcp(_) => {}
        }
    }
}

impl OpenTcp {
    fn unanswered(self, at: Stamp, why: Option<&str>) -> Observation {
        let problem = why.map(str::to_owned);
        Observation { kind: Kind::Unanswered, begins: at, at, request: Some(self.number), problem, ..self.seen }
    }
}

impl Stream {
    fn take(&mut self, sender: Sender, bytes: &[u8], stamps: Stamps<'_>, inbox: &mut Inbox) {
        let framer = match sender {
            Sender::Client => &mut self.client,
            Sender::Server => &mut self.server,
        };
        let mut framer = std::mem::take(framer);
        let mut end = 0usize.wrapping_sub(framer.pending().len());
        framer.feed(bytes, |found| match found {
            Found::Adu(adu) => {
                end = end.wrapping_add(adu.len());
                let begin = end.wrapping_sub(adu.len());
                // An ADU that began in an earlier read: its first byte came not after the first of this one.
                let begins = stamps.at(if begin < bytes.len() { begin } else { 0 }, bytes.len());
                let at = stamps.at(end.wrapping_sub(1), bytes.len());
                self.take_adu(sender, adu, begins, at, inbox);
            }
            Found::Lost(rest) => {
                let at = stamps.at(bytes.len().saturating_sub(1), bytes.len());
                let mut noise = Observation::new(Kind::Noise, rest, at, at);
                noise.problem = Some("it cannot be read as Modbus/TCP".to_owned());
                inbox.push(noise);
            }
        });
        match sender {
            Sender::Client => self.client = framer,
            Sender::Server => self.server = framer,
        }
    }

    fn take_adu(&mut self, sender: Sender, adu: &[u8], begins: Stamp, at: Stamp, inbox: &mut Inbox) {
        let view = tcp::View(adu);
        let (transaction, unit) = (view.transaction().unwrap_or_default(), view.unit().unwrap_or_default());
        let seen = |kind| Observation::new(kind, adu, begins, at);
        let place = self.open.iter().position(|open| open.transaction == transaction);
        let open = place.map(|place| self.open.remove(place));
        let seen = match sender {
            Sender::Client => {
                if let Some(open) = open {
                    inbox.push(open.unanswered(begins, Some("its transaction id was used again")));
                }
                seen(Kind::Request).of_request(unit, view.pdu())
            }
            Sender::Server => {
                let asked = open.as_ref().map(|open| (open.number, &open.request));
                let mut seen = seen(Kind::Response).of_response(unit, view.pdu(), asked);
                let other = open.as_ref().and_then(|open| open.seen.unit).filter(|asked| *asked != unit);
                let problem = match (&open, other) {
                    (None, _) => Some(format!("no request has transaction {transaction}")),
                    (_, Some(asked)) => Some(format!("unit {asked} was asked")),
                    _ => None,
                };
                seen.problem = seen.problem.or(problem);
                seen
            }
        };
        let problem = view.protocol().filter(|protocol| *protocol != tcp::PROTOCOL);
        let problem = problem.map(|protocol| format!("protocol id at offset 2 is {protocol:#06x}, 0 is Modbus"));
        let seen = Observation { problem: problem.or(seen.problem.clone()), ..seen };
        let number = inbox.push(seen.clone());
        if sender == Sender::Client {
            self.begin(OpenTcp { transaction, number, request: Request::raw(view.pdu()), seen }, view.pdu(), inbox);
        }
    }

    fn begin(&mut self, mut open: OpenTcp, pdu: &[u8], inbox: &mut Inbox) {
        if let Ok(request) = Request::parse(pdu) {
            open.request = request;
        }
        if self.open.len() == MOST_OPEN {
            let oldest = self.open.remove(0);
            inbox.push(oldest.unanswered(open.seen.begins, Some("too many requests are open")));
        }
        self.open.push(open);
    }

    fn expire(&mut self, now: Time, inbox: &mut Inbox) {
        let due = |open: &OpenTcp| open.seen.at.latest() + self.answer_within <= now;
        while let Some(index) = self.open.iter().position(due) {
            let open = self.open.remove(index);
            inbox.push(open.unanswered(Stamp::exact(now), None));
        }
    }
}
