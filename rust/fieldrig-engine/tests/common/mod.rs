//! Endpoints that the engine's tests drive: small, but whole.
#![allow(dead_code, reason = "each test file uses its part")]

use fieldrig_engine::{Binding, PortSpec, Rig, RigOptions};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Fate, How, Input, Target, Timed, Why};
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::path::PathBuf;

/// What an endpoint of these tests reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Opened(Conn, String),
    Bytes(Conn, Vec<u8>, Vec<Stamp>),
    Line(Conn, LineEvent),
    Closed(Conn, Why),
    Writable(Conn),
    Timed(Conn, Fate),
    Timeout(Time),
}

impl From<Event> for Record {
    fn from(event: Event) -> Record {
        Record::new("test.event").with("what", format!("{event:?}"))
    }
}

/// Reports everything, echoes if asked, and does what commands queue.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) echo: bool,
    /// Close with this when the other side has finished.
    pub(crate) on_finished: Option<How>,
    pub(crate) actions: VecDeque<(Vec<u8>, Action)>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) timeout: Option<Time>,
    /// Ask again this much later after each time-out.
    pub(crate) period: Option<Duration>,
    pub(crate) conns: Vec<Conn>,
    /// Do not report bytes, only count them.
    pub(crate) quiet: bool,
    pub(crate) received: usize,
}

impl Probe {
    pub(crate) fn echo() -> Probe {
        Probe { echo: true, on_finished: Some(How::Fin), ..Probe::default() }
    }

    pub(crate) fn send(&mut self, conn: Conn, bytes: &[u8]) {
        self.actions.push_back((bytes.to_vec(), Action::send(conn, 0..0)));
    }

    pub(crate) fn send_timed(
        &mut self,
        conn: Conn,
        bytes: &[u8],
        not_before: Option<Time>,
        gap_before: Option<Duration>,
    ) {
        self.actions.push_back((bytes.to_vec(), Action::Send { conn, range: 0..0, not_before, gap_before }));
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.act_with(b"", action);
    }

    pub(crate) fn act_with(&mut self, bytes: &[u8], action: Action) {
        self.actions.push_back((bytes.to_vec(), action));
    }

    pub(crate) fn connect(&mut self, via: &str, url: &str) {
        self.act(Action::Connect(Target { via: via.to_owned(), url: url.to_owned() }));
    }
}

impl Endpoint for Probe {
    type Event = Event;

    fn handle(&mut self, _now: Time, input: Input<'_>) {
        let event = match input {
            Input::Opened(conn, peer) => {
                self.conns.push(conn);
                Event::Opened(conn, peer.via.clone())
            }
            Input::Bytes(conn, bytes, stamps) | Input::Datagram(conn, _, bytes, stamps) => {
                self.received += bytes.len();
                if self.echo {
                    self.send(conn, bytes);
                }
                if self.quiet || self.echo {
                    return;
                }
                let stamps = (0..bytes.len()).map(|index| stamps.at(index, bytes.len())).collect();
                Event::Bytes(conn, bytes.to_vec(), stamps)
            }
            Input::Line(conn, event, _) => Event::Line(conn, event),
            Input::Closed(conn, why) => {
                if why == Why::Finished
                    && let Some(how) = self.on_finished
                {
                    self.act(Action::Close(conn, how));
                }
                if why != Why::Finished {
                    self.conns.retain(|known| *known != conn);
                }
                Event::Closed(conn, why)
            }
            Input::Writable(conn) => Event::Writable(conn),
            Input::Timed(conn, fate) => Event::Timed(conn, fate),
        };
        self.events.push_back(event);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.timeout.is_some_and(|at| at <= now) {
            self.timeout = self.timeout.zip(self.period).map(|(at, period)| at + period);
            self.events.push_back(Event::Timeout(now));
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timeout
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (bytes, mut action) = self.actions.pop_front()?;
        if let Action::Send { range, .. } | Action::Timed { what: Timed::Send(range), .. } = &mut action {
            let start = out.len();
            out.extend_from_slice(&bytes);
            *range = start..out.len();
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

pub(crate) fn rig() -> Rig {
    Rig::start(RigOptions::default()).expect("a rig")
}

pub(crate) fn bind(via: &str, port: PortSpec) -> Binding {
    Binding { via: via.to_owned(), port, protocol: None, we_are: Sender::Client }
}

pub(crate) fn url(text: &str) -> PortSpec {
    PortSpec::parse(text).expect("a port URL")
}

/// Long enough for a busy host; tests that need it have failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Takes the first event that `pick` wants.
pub(crate) fn take<R>(events: &mut VecDeque<Event>, mut pick: impl FnMut(&Event) -> Option<R>) -> Option<R> {
    let index = events.iter().position(|event| pick(event).is_some())?;
    events.remove(index).and_then(|event| pick(&event))
}

/// A folder of its own for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fieldrig-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}
