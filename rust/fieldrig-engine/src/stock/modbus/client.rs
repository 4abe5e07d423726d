//! A client of tokio-modbus as an endpoint: one request at a time.
//!
//! ```text
//!   ask --> connecting --> (quiet) --> running: the future of the call is polled --> ended
//! ```
//!
//! Rules of this file:
//! - tokio-modbus writes the request, reads the answer and judges it. When it is called, how long it may take and what
//!   becomes of the connection afterwards is up to whoever uses it, and that is this file.
//! - A request that failed otherwise than by an exception ends the connection; the next request makes another, with a new
//!   client of tokio-modbus. A line stays, and its client is new as well.
//! - tokio-modbus takes what comes next in RTU for the answer. So after a failure the line (also one behind a connection) is
//!   left alone for one more time-out, or until the answer that is owed came (`quiet.rs`): a later one is not told apart.
//! - What comes in RTU while nothing is asked is no answer: it is dropped, and the next exchange says so. On TCP it waits
//!   for the next request, as it would in a socket: tokio-modbus compares transaction ids.

use super::quiet::{Owed, keep};
use super::{Framing, Request, Response};
use crate::stock::transport::{self, Far};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Target, Why};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio_modbus::client::{Client as _, Context as Theirs};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{Error, ProtocolError};

/// What a client is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// How frames look.
    pub framing: Framing,
    /// Where to connect again after a connection ended; `None` for a port that is opened once.
    pub reconnect: Option<Target>,
    /// It is a line: it is not given up with a request.
    pub wire: bool,
}

/// A request that is under way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ticket(pub u64);

/// What went over the link for one request.
#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    /// Which request.
    pub ticket: Ticket,
    /// Its unit id.
    pub unit: u8,
    /// Its function code.
    pub function: u8,
    /// The bytes that tokio-modbus sent; empty if it sent none.
    pub sent: Vec<u8>,
    /// When it handed them out; the silence before a frame on a line follows.
    pub handed: Option<Time>,
    /// The bytes that came meanwhile, all of them.
    pub received: Vec<u8>,
    /// RTU: what had come before it, unasked or too late, and was dropped; the last 256 bytes of that.
    pub dropped: Vec<u8>,
    /// RTU: an earlier request was given up and its answer never came. What came now may be that.
    pub owed: bool,
    /// When it ended: for an answer, the arrival of its last byte.
    pub at: Stamp,
}

/// What a request came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// An answer, as tokio-modbus read it; bits as many as were asked for.
    Answered(Response),
    /// An exception, with its code.
    Exception(u8),
    /// tokio-modbus makes nothing of what came, and says this.
    Odd(String),
    /// tokio-modbus did not send the request, and says this.
    NotSent(String),
    /// Nothing that it could take for an answer came in this time.
    TimedOut(Duration),
    /// The connection ended, or could not be made.
    Lost(Why),
    /// tokio-modbus panicked, with this text.
    Panicked(String),
}

/// A request ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// What went over the link.
    pub exchange: Exchange,
    /// What it came to.
    pub outcome: Outcome,
}

type Result = tokio_modbus::Result<Response>;
/// A call of tokio-modbus that has its client with it, and gives it back.
type Call = Pin<Box<dyn Future<Output = (Theirs, Result)> + Send>>;

enum Stage {
    /// The connection is being made.
    Connecting,
    /// The line is left alone until then.
    Quiet(Time),
    Running(Call),
}

struct Pending {
    exchange: Exchange,
    request: Request<'static>,
    stage: Stage,
    timeout: Duration,
    deadline: Time,
}

/// A client of tokio-modbus for one connection or line.
pub struct Client {
    config: Config,
    conn: Option<Conn>,
    dialling: bool,
    /// The client of tokio-modbus of this connection, while no call has it.
    theirs: Option<Theirs>,
    /// The far end of its transport.
    far: Option<Far>,
    pending: Option<Pending>,
    /// Until then something may come on the line that belongs to a request that was given up.
    quiet_until: Option<Time>,
    /// The answer to a request that was given up has not come.
    owed: Option<Owed>,
    /// What came in RTU while nothing was asked.
    dropped: Vec<u8>,
    next_ticket: u64,
    actions: VecDeque<(Vec<u8>, Action)>,
    events: VecDeque<Ended>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has no connection yet.
    #[must_use]
    pub fn new(config: Config) -> Client {
        Client {
            config,
            conn: None,
            dialling: false,
            theirs: None,
            far: None,
            pending: None,
            quiet_until: None,
            owed: None,
            dropped: Vec::new(),
            next_ticket: 1,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks; [`Ended`] follows, at the latest `timeout` after the request was sent. A request that nobody waits for any
    /// more is given up.
    pub fn ask(&mut self, now: Time, unit: u8, request: Request<'static>, timeout: Duration) -> Ticket {
        if let Some(before) = &self.pending {
            let before = before.exchange.ticket;
            self.cancel(now, before);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let function = request.function_code().value();
        let exchange = Exchange {
            ticket,
            unit,
            function,
            sent: Vec::new(),
            handed: None,
            received: Vec::new(),
            dropped: Vec::new(),
            owed: false,
            at: Stamp::exact(now),
        };
        let deadline = now + timeout;
        self.pending = Some(Pending { exchange, request, stage: Stage::Connecting, timeout, deadline });
        match self.conn {
            None => self.connect(now),
            Some(_) => self.begin(now),
        }
        ticket
    }

    /// Gives a request up; no event follows.
    pub fn cancel(&mut self, now: Time, ticket: Ticket) {
        if let Some(pending) = self.pending.take_if(|pending| pending.exchange.ticket == ticket) {
            self.give_up(now, pending.timeout, &pending.exchange);
        }
    }

    // ---- stages --------------------------------------------------------------------------------------------------

    fn connect(&mut self, now: Time) {
        match &self.config.reconnect {
            Some(_) if self.dialling => {}
            Some(target) => {
                self.dialling = true;
                let target = target.clone();
                self.actions.push_back((Vec::new(), Action::Connect(target)));
            }
            None => self.end(Stamp::exact(now), Outcome::Lost(Why::HungUp)),
        }
    }

    /// There is a connection: calls tokio-modbus, now or when it is quiet.
    fn begin(&mut self, now: Time) {
        match (self.quiet_until.filter(|until| *until > now), &mut self.pending) {
            (Some(until), Some(pending)) => pending.stage = Stage::Quiet(until),
            _ => self.run(now),
        }
    }

    /// Calls tokio-modbus.
    fn run(&mut self, now: Time) {
        self.quiet_until = None;
        if let (Some(far), true) = (&self.far, self.config.framing != Framing::Tcp) {
            // What came in one piece with the answer before, behind it.
            keep(&mut self.dropped, &far.drop_unread());
        }
        let (Some(pending), Some(mut theirs)) = (&mut self.pending, self.theirs.take()) else { return };
        pending.exchange.dropped = std::mem::take(&mut self.dropped);
        pending.exchange.owed = self.owed.is_some();
        theirs.set_slave(Slave(pending.exchange.unit));
        let request = pending.request.clone();
        pending.deadline = now + pending.timeout;
        pending.stage = Stage::Running(Box::pin(async move {
            let result = theirs.call(request).await;
            (theirs, result)
        }));
        self.poll(now, Stamp::exact(now));
    }

    /// Lets the call go on, if there is one. `at`: when that happened which lets it.
    fn poll(&mut self, now: Time, at: Stamp) {
        let Some(Pending { stage: Stage::Running(call), .. }) = &mut self.pending else { return };
        let context = &mut Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        self.hand_out(now);
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready((theirs, result))) => {
                self.theirs = Some(theirs);
                self.conclude(at, result);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                self.end(at, Outcome::Panicked(text.unwrap_or_default()));
            }
        }
    }

    fn hand_out(&mut self, now: Time) {
        let (Some(far), Some(conn)) = (&self.far, self.conn) else { return };
        let bytes = far.take();
        if bytes.is_empty() {
            return;
        }
        if let Some(pending) = &mut self.pending {
            pending.exchange.handed.get_or_insert(now);
            pending.exchange.sent.extend_from_slice(&bytes);
        }
        let gap_before = self.config.framing.gap();
        self.actions.push_back((bytes, Action::Send { conn, range: 0..0, not_before: None, gap_before }));
    }

    fn conclude(&mut self, at: Stamp, result: Result) {
        let Some(pending) = &self.pending else { return };
        let outcome = match result {
            Ok(Ok(response)) => match fitting(&pending.request, response) {
                Ok(response) => Outcome::Answered(response),
                Err(text) => Outcome::Odd(text),
            },
            Ok(Err(exception)) => Outcome::Exception(exception.into()),
            // To tokio-modbus 07 is `Custom(7)` in a request and `ReadExceptionStatus` in an exception.
            Err(Error::Protocol(ProtocolError::FunctionCodeMismatch { request, result: Err(response) }))
                if response.function.value() == request.value() =>
            {
                Outcome::Exception(response.exception.into())
            }
            Err(error) if pending.exchange.sent.is_empty() => Outcome::NotSent(error.to_string()),
            Err(error) => Outcome::Odd(error.to_string()),
        };
        self.end(at, outcome);
    }

    fn end(&mut self, at: Stamp, outcome: Outcome) {
        let Some(Pending { mut exchange, timeout, .. }) = self.pending.take() else { return };
        exchange.at = at;
        match &outcome {
            Outcome::Answered(_) | Outcome::Exception(_) => self.owed = None,
            Outcome::NotSent(_) => {}
            _ => self.give_up(at.latest(), timeout, &exchange),
        }
        self.events.push_back(Ended { exchange, outcome });
    }

    /// What is there of this connection is not gone on with.
    fn give_up(&mut self, now: Time, timeout: Duration, exchange: &Exchange) {
        if self.config.framing != Framing::Tcp && !exchange.sent.is_empty() {
            self.quiet_until = Some(now + timeout);
            self.owed = Some(Owed::new(exchange.unit, exchange.function, &exchange.received, self.owed.as_ref()));
        }
        match self.conn {
            Some(_) if self.config.wire => self.renew(),
            Some(conn) => {
                self.actions.push_back((Vec::new(), Action::Close(conn, How::Fin)));
                self.forget();
            }
            None => {}
        }
    }

    /// A new client of tokio-modbus for the connection that is there.
    fn renew(&mut self) {
        let (transport, far) = transport::pair(None);
        self.theirs = Some(match self.config.framing {
            Framing::Tcp => tokio_modbus::client::tcp::attach(transport),
            Framing::Rtu { .. } => tokio_modbus::client::rtu::attach(transport),
        });
        self.far = Some(far);
    }

    fn forget(&mut self) {
        (self.conn, self.theirs, self.far) = (None, None, None);
    }

    // ---- inputs --------------------------------------------------------------------------------------------------

    fn opened(&mut self, now: Time, conn: Conn) {
        self.dialling = false;
        self.conn = Some(conn);
        self.renew();
        if matches!(self.pending, Some(Pending { stage: Stage::Connecting, .. })) {
            self.begin(now);
        }
    }

    fn bytes(&mut self, now: Time, bytes: &[u8], at: Stamp) {
        match &mut self.pending {
            Some(pending @ Pending { stage: Stage::Running(_), .. }) => {
                pending.exchange.received.extend_from_slice(bytes);
            }
            _ if self.config.framing != Framing::Tcp => return self.unasked(now, bytes),
            _ => {}
        }
        if let Some(far) = &self.far {
            far.feed(bytes);
        }
        self.poll(now, at);
    }

    /// Drops what nobody asked for; with the answer that is owed the rest is over.
    fn unasked(&mut self, now: Time, bytes: &[u8]) {
        keep(&mut self.dropped, bytes);
        if !self.owed.as_mut().is_some_and(|owed| owed.is_paid(bytes)) {
            return;
        }
        self.owed = None;
        let Some(until) = &mut self.quiet_until else { return };
        *until = (now + self.config.framing.gap().unwrap_or(Duration::ZERO)).min(*until);
        if let Some(Pending { stage: Stage::Quiet(end), .. }) = &mut self.pending {
            *end = *until;
        }
    }

    fn closed(&mut self, now: Time, conn: Conn, why: Why) {
        if let Why::Refused { .. } = why {
            self.dialling = false;
            return self.end(Stamp::exact(now), Outcome::Lost(why));
        }
        if self.conn != Some(conn) {
            return;
        }
        if why == Why::Finished {
            self.actions.push_back((Vec::new(), Action::Close(conn, How::Fin)));
        }
        // What came before the end has been read already.
        self.forget();
        if matches!(self.pending, Some(Pending { stage: Stage::Running(_) | Stage::Quiet(_), .. })) {
            self.end(Stamp::exact(now), Outcome::Lost(why));
        }
    }
}

/// Whether the response has what was asked for. tokio-modbus leaves that to assertions of debug builds.
fn fitting(request: &Request<'_>, response: Response) -> std::result::Result<Response, String> {
    use Response as Is;
    let amount = |are: usize, asked: u16, what: &str| {
        (are == usize::from(asked)).then_some(()).ok_or(format!("{are} {what} came, {asked} were asked for"))
    };
    match (request, response) {
        (Request::ReadCoils(_, asked), Is::ReadCoils(bits)) => enough(bits, *asked).map(Is::ReadCoils),
        (Request::ReadDiscreteInputs(_, asked), Is::ReadDiscreteInputs(bits)) => {
            enough(bits, *asked).map(Is::ReadDiscreteInputs)
        }
        (Request::ReadHoldingRegisters(_, asked), Is::ReadHoldingRegisters(words)) => {
            amount(words.len(), *asked, "registers").map(|()| Is::ReadHoldingRegisters(words))
        }
        (Request::ReadInputRegisters(_, asked), Is::ReadInputRegisters(words)) => {
            amount(words.len(), *asked, "registers").map(|()| Is::ReadInputRegisters(words))
        }
        (Request::ReadWriteMultipleRegisters(_, asked, ..), Is::ReadWriteMultipleRegisters(words)) => {
            amount(words.len(), *asked, "registers").map(|()| Is::ReadWriteMultipleRegisters(words))
        }
        (request, response) => match echo(request).filter(|echo| *echo != response) {
            Some(echo) => Err(format!("{response:?} came, {echo:?} is what was asked for")),
            None => Ok(response),
        },
    }
}

fn enough(mut bits: Vec<bool>, asked: u16) -> std::result::Result<Vec<bool>, String> {
    if bits.len() < usize::from(asked) {
        return Err(format!("{} bits came, {asked} were asked for", bits.len()));
    }
    bits.truncate(usize::from(asked));
    Ok(bits)
}

/// What the response to a write has to be.
fn echo(request: &Request<'_>) -> Option<Response> {
    let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    Some(match request {
        Request::WriteSingleCoil(address, on) => Response::WriteSingleCoil(*address, *on),
        Request::WriteSingleRegister(address, value) => Response::WriteSingleRegister(*address, *value),
        Request::WriteMultipleCoils(address, coils) => Response::WriteMultipleCoils(*address, count(coils.len())),
        Request::WriteMultipleRegisters(address, words) => {
            Response::WriteMultipleRegisters(*address, count(words.len()))
        }
        Request::MaskWriteRegister(address, and, or) => Response::MaskWriteRegister(*address, *and, *or),
        _ => return None,
    })
}

impl Endpoint for Client {
    type Event = Ended;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) => self.opened(now, conn),
            Input::Bytes(conn, bytes, stamps) if self.conn == Some(conn) => {
                self.bytes(now, bytes, stamps.at(bytes.len().saturating_sub(1), bytes.len()));
            }
            Input::Closed(conn, why) => self.closed(now, conn, why),
            Input::Bytes(..) | Input::Datagram(..) | Input::Line(..) | Input::Writable(_) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        let Some(pending) = &self.pending else { return };
        match pending.stage {
            Stage::Quiet(until) if until <= now => self.run(now),
            Stage::Connecting | Stage::Running(_) if pending.deadline <= now => {
                let after = pending.timeout;
                self.end(Stamp::exact(now), Outcome::TimedOut(after));
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.pending.as_ref().map(|pending| match pending.stage {
            Stage::Quiet(until) => until,
            Stage::Connecting | Stage::Running(_) => pending.deadline,
        })
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (bytes, mut action) = self.actions.pop_front()?;
        if let Action::Send { range, .. } = &mut action {
            let start = out.len();
            out.extend_from_slice(&bytes);
            *range = start..out.len();
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<Ended> {
        self.events.pop_front()
    }
}

impl From<Ended> for Record {
    fn from(ended: Ended) -> Record {
        let Ended { exchange, outcome } = ended;
        let (kind, text) = match outcome {
            Outcome::Answered(_) => ("stock.answer", None),
            Outcome::Exception(code) => ("stock.exception", Some(format!("{code:#04x}"))),
            Outcome::Odd(text) => ("stock.odd", Some(text)),
            Outcome::NotSent(text) => ("stock.not_sent", Some(text)),
            Outcome::TimedOut(_) => ("stock.timeout", None),
            Outcome::Lost(why) => ("stock.lost", Some(format!("{why:?}"))),
            Outcome::Panicked(text) => ("stock.panicked", Some(text)),
        };
        let record = Record::new(kind).at(exchange.at).with("unit", exchange.unit).with("function", exchange.function);
        let record = record.with("request", exchange.sent).with("answer", exchange.received);
        let record = match exchange.dropped.is_empty() {
            true => record,
            false => record.with("dropped", exchange.dropped),
        };
        text.into_iter().fold(record, |record, text| record.with("text", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldrig_proto::endpoint::{Peer, Stamps};

    const LINK: Conn = Conn(3);

    fn client(wire: bool) -> Client {
        let target = Target { via: String::new(), url: String::new() };
        let framing = if wire { Framing::Rtu { gap: None } } else { Framing::Tcp };
        let mut client = Client::new(Config { framing, reconnect: (!wire).then_some(target), wire });
        client.handle(Time::ZERO, Input::Opened(LINK, &Peer::default()));
        client
    }

    fn asked(client: &mut Client) -> Vec<u8> {
        client.ask(Time::ZERO, 1, Request::ReadHoldingRegisters(0, 1), Duration::from_secs(1));
        let mut sent = Vec::new();
        while client.poll_action(&mut sent).is_some() {}
        sent
    }

    #[test]
    fn a_panic_of_tokio_modbus_ends_the_request_and_the_connection_and_nothing_else() {
        let mut client = client(false);
        asked(&mut client);
        let Some(pending) = &mut client.pending else { panic!("it was asked") };
        pending.stage = Stage::Running(Box::pin(async { panic!("off by {}", 1) }));
        client.handle(Time::ZERO, Input::Bytes(LINK, &[0], Stamps::One(Stamp::exact(Time::ZERO))));
        let ended = client.poll_event().unwrap();
        assert_eq!((ended.outcome, ended.exchange.received), (Outcome::Panicked("off by 1".to_owned()), vec![0]));
        assert_eq!(client.poll_action(&mut Vec::new()), Some(Action::Close(LINK, How::Fin)));
        assert!(asked(&mut client).is_empty(), "it connects first");
        client.handle(Time::ZERO, Input::Opened(Conn(4), &Peer::default()));
        let mut sent = Vec::new();
        assert!(matches!(client.poll_action(&mut sent), Some(Action::Send { conn: Conn(4), .. })));
        assert_eq!(sent[..2], [0, 0]);
    }

    #[test]
    fn on_a_line_a_request_given_up_is_followed_by_a_rest() {
        let mut client = client(true);
        assert_eq!(asked(&mut client).len(), 8);
        let second = Time::ZERO + Duration::from_secs(1);
        client.handle_timeout(second);
        assert!(matches!(client.poll_event().map(|ended| ended.outcome), Some(Outcome::TimedOut(_))));
        client.ask(second, 1, Request::ReadHoldingRegisters(0, 1), Duration::from_secs(1));
        assert_eq!(client.poll_action(&mut Vec::new()), None);
        assert_eq!(client.poll_timeout(), Some(second + Duration::from_secs(1)));
        // A glitch, a piece of the answer, another unit's frame: the rest is as long as it was.
        let later = second + Duration::from_millis(10);
        for piece in [&[0][..], &[2, 3, 2, 0, 1, 0x3d, 0x84], &[0, 1, 3, 2, 0, 1]] {
            client.handle(later, Input::Bytes(LINK, piece, Stamps::One(Stamp::exact(later))));
            assert_eq!(client.poll_timeout(), Some(second + Duration::from_secs(1)), "{piece:02x?}");
        }
        client.handle(later, Input::Bytes(LINK, &[0x79, 0x84], Stamps::One(Stamp::exact(later))));
        assert_eq!(client.poll_timeout(), Some(later), "the answer came, whole");
        client.handle_timeout(later);
        let mut sent = Vec::new();
        assert!(client.poll_action(&mut sent).is_some());
        assert_eq!(sent, [1, 3, 0, 0, 0, 1, 0x84, 0x0a]);
        assert!(client.pending.is_some_and(|pending| pending.exchange.dropped.len() == 16 && !pending.exchange.owed));
    }
}
