//! The monitor: reads along on a wire, sends nothing, and says who asked whom what and what came of it.
//!
//! ```text
//!   bytes, both directions interleaved             Endpoint::handle            cutter    frames of an RTU wire
//!   bytes of a proxied stream, sender known        Monitor::observe            flow      RTU or Modbus/TCP
//!        \                                                                     pairing   which answer is whose
//!         Observation: request, response, unanswered, noise; kept in a bounded inbox and reported
//! ```
//! Rules of this file:
//! - A request ends with its response, or as unanswered: when the next request begins, or after
//!   [`Config::answer_within`], whichever is first. A response that comes after that is still paired, as long as no
//!   other request came.
//! - Nobody answers a broadcast (SL 2.1): it is neither answered nor unanswered.
//! - On a wire nothing but the bytes and the silences tells a request from a response. Where both readings are possible
//!   (the echo of a write, SL 2.4.1: one request at a time), what comes soon is the response; what comes when a client
//!   may have given up is marked as not [`sure`](Observation::sure).
//! - What is no frame is noise, never dropped; what falls out of the inbox is counted.
//!
//! ```
//! use fieldrig_proto::dissect::Sender;
//! use fieldrig_proto::endpoint::Stamps;
//! use fieldrig_proto::modbus::monitor::{Config, Kind, Monitor};
//! use fieldrig_proto::time::{Duration, Stamp, Time};
//!
//! let mut monitor = Monitor::new(Config::tcp());
//! let at = |ms| Stamp::exact(Time::ZERO + Duration::from_millis(ms));
//! monitor.observe(Time::ZERO, 0, Sender::Client, &[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1], Stamps::One(at(1)));
//! monitor.observe(Time::ZERO, 0, Sender::Server, &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7], Stamps::One(at(3)));
//! let kinds: Vec<Kind> = monitor.observations_since(0).map(|seen| seen.kind).collect();
//! assert_eq!(kinds, [Kind::Request, Kind::Response]);
//! ```

mod cutter;
mod flow;
mod observation;
mod pairing;
mod settings;
#[cfg(test)]
mod tests;

pub use observation::{Kind, Observation, Values};
pub(super) use settings::RTU_LISTENER;

use super::client::why_text;
use super::rtu::LineRules;
use crate::dissect::Sender;
use crate::endpoint::{Action, Conn, Endpoint, Input, Stamps};
use crate::line::LineEvent;
use crate::time::{Duration, Stamp, Time};
use flow::Flow;
use std::collections::VecDeque;

/// In which framing the traffic is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Medium {
    /// RTU frames.
    Rtu(LineRules),
    /// MBAP headers. The sender of each byte must be known: [`Monitor::observe`].
    Tcp,
}

/// How a monitor reads.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Framing.
    pub medium: Medium,
    /// A request is unanswered when no response came for so long (SL 2.4.1: clients wait 1 s or more).
    pub answer_within: Duration,
    /// No client asks again sooner than this after a request that was not answered.
    pub retry_after: Duration,
    /// How many observations are kept.
    pub inbox: usize,
}

impl Config {
    /// A wire with these rules.
    #[must_use]
    pub fn rtu(rules: LineRules) -> Config {
        Config {
            medium: Medium::Rtu(rules),
            answer_within: Duration::from_secs(1),
            retry_after: Duration::from_millis(100),
            inbox: 10_000,
        }
    }

    /// Connections of Modbus/TCP.
    #[must_use]
    pub fn tcp() -> Config {
        Config { medium: Medium::Tcp, ..Config::rtu(LineRules::over_tcp()) }
    }
}

/// Reads along. The rules stand at the top of this file.
#[derive(Debug)]
pub struct Monitor {
    config: Config,
    flows: Vec<(Source, Flow)>,
    inbox: Inbox,
    heard: Option<Stamp>,
    gone: Option<String>,
}

/// Where the bytes of a flow come from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Source {
    Wire(Conn),
    Proxied(u32),
}

/// Observations, oldest first; bounded, and what falls out is counted.
#[derive(Debug)]
struct Inbox {
    kept: VecDeque<Observation>,
    fresh: VecDeque<Observation>,
    next: u64,
    most: usize,
}

impl Inbox {
    fn push(&mut self, mut seen: Observation) -> u64 {
        seen.number = self.next;
        self.next += 1;
        if self.kept.len() == self.most {
            self.kept.pop_front();
        }
        self.kept.push_back(seen.clone());
        self.fresh.push_back(seen);
        self.next - 1
    }

    fn lost(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

impl Monitor {
    /// A monitor that has seen nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Monitor {
        let inbox = Inbox { kept: VecDeque::new(), fresh: VecDeque::new(), next: 0, most: config.inbox.max(1) };
        Monitor { config, flows: Vec::new(), inbox, heard: None, gone: None }
    }

    /// How it reads.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number that the next observation gets.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.inbox.next
    }

    /// The observations from this number on, oldest first, as far as they are kept.
    pub fn observations_since(&self, cursor: u64) -> impl Iterator<Item = &Observation> {
        let skip = cursor.saturating_sub(self.inbox.lost());
        self.inbox.kept.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// How many observations fell out of the inbox.
    #[must_use]
    pub fn observations_lost(&self) -> u64 {
        self.inbox.lost()
    }

    /// When the last byte came, of whatever.
    #[must_use]
    pub fn heard(&self) -> Option<Stamp> {
        self.heard
    }

    /// Why it hears nothing any more, or not yet; `None` while it is on a wire.
    #[must_use]
    pub fn deaf(&self) -> Option<&str> {
        match &self.gone {
            Some(why) => Some(why),
            None if self.flows.is_empty() => Some("it is not on a wire yet"),
            None => None,
        }
    }

    /// Takes bytes of the proxied stream `flow` that are known to come from `sender`.
    pub fn observe(&mut self, now: Time, flow: u32, sender: Sender, bytes: &[u8], stamps: Stamps<'_>) {
        let source = Source::Proxied(flow);
        if !self.flows.iter().any(|(known, _)| *known == source) {
            self.flows.push((source, Flow::directed(&self.config)));
        }
        self.take(now, source, Some(sender), bytes, stamps);
    }

    /// The proxied stream `flow` has ended.
    pub fn ended(&mut self, now: Time, flow: u32) {
        self.end(now, Source::Proxied(flow), "the connection ended");
    }

    fn take(&mut self, now: Time, source: Source, sender: Option<Sender>, bytes: &[u8], stamps: Stamps<'_>) {
        let Some((_, flow)) = self.flows.iter_mut().find(|(known, _)| *known == source) else { return };
        if !bytes.is_empty() {
            self.heard = Some(stamps.at(bytes.len() - 1, bytes.len()));
        }
        flow.take(now, sender, bytes, stamps, &mut self.inbox);
    }

    fn end(&mut self, now: Time, source: Source, why: &str) {
        if let Some(index) = self.flows.iter().position(|(known, _)| *known == source) {
            let (_, mut flow) = self.flows.remove(index);
            flow.end(now, why, &mut self.inbox);
        }
    }
}

impl Endpoint for Monitor {
    type Event = Observation;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) => {
                // Without a known sender only a wire can be read.
                if let Medium::Rtu(rules) = &self.config.medium {
                    self.flows.push((Source::Wire(conn), Flow::wire(&self.config, rules)));
                    self.gone = None;
                }
            }
            Input::Bytes(conn, bytes, stamps) => self.take(now, Source::Wire(conn), None, bytes, stamps),
            Input::Line(conn, LineEvent::Parity | LineEvent::Framing | LineEvent::Overrun, _) => {
                if let Some((_, flow)) = self.flows.iter_mut().find(|(known, _)| *known == Source::Wire(conn)) {
                    flow.spoil();
                }
            }
            Input::Closed(conn, why) => {
                if self.flows.iter().any(|(known, _)| *known == Source::Wire(conn)) {
                    self.gone = Some(why_text(&why));
                    self.end(now, Source::Wire(conn), &why_text(&why));
                }
            }
            Input::Datagram(..) | Input::Line(..) | Input::Writable(_) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        for (_, flow) in &mut self.flows {
            flow.expire(now, &mut self.inbox);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.flows.iter().filter_map(|(_, flow)| flow.poll_timeout()).min()
    }

    /// It never sends.
    fn poll_action(&mut self, _out: &mut Vec<u8>) -> Option<Action> {
        None
    }

    fn poll_event(&mut self) -> Option<Observation> {
        self.inbox.fresh.pop_front()
    }
}
