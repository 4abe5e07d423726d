//! A gateway: a server for many clients on TCP, a client on one line.
//!
//! ```text
//!   TCP clients ---- guests (connections, queues) ---- routes ---- Client on the line
//!                                    \                    \
//!                                     answers             own server (unit 255)
//! ```
//! Rules of this file:
//! - A unit without a route is exception 0A; one that does not answer within the time-out, or whose answer is damaged, is 0B
//!   (AP 7). An exception of a unit is passed on as it is, and so is whatever else arrived whole, from that unit, of that
//!   function.
//! - On the line there is one request at a time (SL 2.4.1). Each connection has one request there or waiting for it; its
//!   further ones wait in its own queue. So connections take turns, and a dead unit delays others by its time-out only.
//! - An answer goes to the connection that asked, with the transaction and unit id of its request (MG 3.1.3). If that
//!   connection is gone, a request that is not on the line yet is dropped, and the answer to one that is, discarded.
//! - Unit 0 is a broadcast on the line, which nobody answers, on TCP neither (SL 2.1); what cannot be a broadcast is 0A.
//! - Unit 255 is the gateway's own server (MG 4.4.2.2), or 0A if it has none.
//! - A connection that has [`MOST_WAITING`] requests waiting gets exception 06 for further ones (MG 4.4.2.1).

mod guests;
mod habits;
mod line;

pub use habits::{GATEWAY_HABITS, GatewayHabit, GatewayHabits};

use super::client::{Client, Config, LateAnswers, Ticket};
use super::server::Local;
use crate::endpoint::{Action, Conn, Endpoint, How, Input};
use crate::record::{Record, Value};
use crate::time::{Duration, Time};
use guests::Guest;
use std::collections::{BTreeMap, VecDeque};

/// Under which name the line of a gateway is bound; all other ports are for clients.
pub const LINE: &str = "line";
/// How many requests of one connection may wait (MG 4.2.1: 1 to 16 transactions).
pub const MOST_WAITING: usize = 16;

/// Which unit on TCP is which on the line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Routes {
    /// 1 to 247, each as it is.
    #[default]
    All,
    /// These: unit on TCP to unit on the line.
    Some(BTreeMap<u8, u8>),
}

impl Routes {
    fn unit_on_line(&self, unit: u8) -> Option<u8> {
        match self {
            Routes::All => (1..=super::rtu::LAST_UNIT).contains(&unit).then_some(unit),
            Routes::Some(routes) => routes.get(&unit).copied(),
        }
    }
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct GatewayConfig {
    /// How it talks on the line.
    pub line: Config,
    /// How long a unit may take to answer.
    pub timeout: Duration,
    /// Which units there are.
    pub routes: Routes,
    /// The server that answers for unit 255.
    pub own: Option<Local>,
}

/// A gateway between clients on TCP and one line.
#[derive(Debug)]
pub struct Gateway {
    line: Client,
    line_conn: Option<Conn>,
    timeout: Duration,
    routes: Routes,
    own: Option<Local>,
    habits: GatewayHabits,
    guests: Vec<Guest>,
    /// Requests that the line has.
    flights: Vec<Flight>,
    /// A late answer that a habit keeps for somebody else.
    stashed: Option<Vec<u8>>,
    own_transaction: u16,
    steps: VecDeque<Step>,
    events: VecDeque<Record>,
}

/// A request of a client.
#[derive(Clone, Debug)]
struct Job {
    transaction: u16,
    unit: u8,
    on_line: u8,
    pdu: Vec<u8>,
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    /// Who asked; `None`: it is gone.
    conn: Option<Conn>,
    job: Job,
}

#[derive(Debug)]
enum Step {
    Send(Conn, Vec<u8>),
    Close(Conn, How),
}

impl Gateway {
    /// A gateway; the line is bound as [`LINE`].
    #[must_use]
    pub fn new(config: GatewayConfig) -> Gateway {
        // A unit that was silent is asked again once its answer cannot come any more: after as long as it had.
        let line = Config { late_answers: LateAnswers::within(config.timeout), ..config.line };
        Gateway {
            line: Client::new(line),
            line_conn: None,
            timeout: config.timeout,
            routes: config.routes,
            own: config.own,
            habits: GatewayHabits::default(),
            guests: Vec::new(),
            flights: Vec::new(),
            stashed: None,
            own_transaction: 0,
            steps: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Makes it depart from the rules above.
    ///
    /// # Errors
    /// An unknown name (the text lists all), a value that is neither true nor false.
    pub fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        self.habits.set(name, value)
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.guests.len()
    }

    fn guest(&mut self, conn: Conn) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| guest.conn == conn)
    }

    fn report(&mut self, kind: &'static str, unit: u8, text: impl Into<String>) {
        self.events.push_back(Record::new(kind).with("unit", unit).with("text", text.into()));
    }
}

impl Endpoint for Gateway {
    type Event = Record;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, peer) if peer.via == LINE => {
                self.line_conn = Some(conn);
                Endpoint::handle(&mut self.line, now, Input::Opened(conn, peer));
            }
            Input::Opened(conn, _) => self.guests.push(Guest::new(conn)),
            Input::Bytes(conn, bytes, _) if self.guest(conn).is_some() => self.take_bytes(now, conn, bytes),
            Input::Closed(conn, why) if self.guest(conn).is_some() => self.guest_closed(now, conn, &why),
            other => Endpoint::handle(&mut self.line, now, other),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        Endpoint::handle_timeout(&mut self.line, now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        Endpoint::poll_timeout(&self.line)
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        match self.steps.pop_front() {
            Some(Step::Send(conn, bytes)) => {
                let start = out.len();
                out.extend_from_slice(&bytes);
                Some(Action::send(conn, start..out.len()))
            }
            Some(Step::Close(conn, how)) => Some(Action::Close(conn, how)),
            None => Endpoint::poll_action(&mut self.line, out),
        }
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }
}
