//! The step: one pass over everything that is ready or due, the same for all ways to wait.
//!
//! ```text
//!  ready ports --read--> Input --handle--+
//!  due time-outs ----------------------- +--> poll_action until None --> sends gathered, the rest done at once
//!                                        +--> poll_event until None  --> queue of the node
//!  end of the pass: one write for each connection; timed sends that are due one by one
//! ```
//!
//! Rules of this file:
//! - An endpoint that breaks the calling contract, or panics, is stuck: its ports are broken off, it is never called
//!   again, and everybody who asks is told why. It never hangs or poisons the process.
//! - Every byte that is read gets its arrival interval here: not before the port was last seen empty, not after the read.

use super::channel::Inbound;
use super::gate::Gate;
use super::line::spin_until;
use super::sys::{self, Ready};
use super::wires::{KICK, News, Wires};
use crate::log::RunLog;
use crate::port::stream::STREAM_WAIT;
use crate::port::{Arrival, Look, Read};
use fieldrig_proto::dissect::Direction;
use fieldrig_proto::endpoint::{Conn, Endpoint, Input, Stamps, Why};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Stamp, Time};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// More actions or events than this after one input are without end.
const ENDLESS: usize = 1_000_000;
/// More bytes than this after one input are without end.
const ENDLESS_BYTES: usize = 256 << 20;
/// How often a time-out may be due again at the same instant.
const SAME_INSTANT: usize = 64;
/// How many steps of catching up one pass does.
const CATCH_UP: usize = 1000;
/// How many events wait for somebody to take them.
const EVENTS_KEPT: usize = 65_536;
/// How often one connection is read in one pass.
const READS: usize = 16;
/// How much news (opened, closed, writable) one pass deals with.
const NEWS: usize = 4096;

/// Looks among the events of an endpoint for what a caller waits for.
pub(crate) type Check<'a, E, R> = &'a mut dyn FnMut(&mut E, &mut VecDeque<<E as Endpoint>::Event>, Time) -> Option<R>;

/// An endpoint and its ports.
pub(crate) struct Driver<E: Endpoint> {
    pub(crate) endpoint: E,
    pub(crate) events: VecDeque<E::Event>,
    /// How many of the newest events are not in the run log.
    pub(crate) unlogged: usize,
    /// Events that nobody took in time.
    pub(crate) overflowed: u64,
    pub(crate) wires: Wires,
    pub(crate) stuck: Option<String>,
    ready: Vec<Ready>,
    /// The connection that was the only one ready last time.
    favourite: Option<u64>,
    in_a_row: u32,
    /// How many inputs with bytes there were.
    inputs: u64,
    /// When the last look at all ports began.
    looked: Time,
}

/// What an endpoint that is code of the user unwinds with (`std::panic::resume_unwind`) to say itself why it is stuck.
#[derive(Debug)]
pub struct GivesUp(pub String);

/// Why a pass ended early.
pub(super) type Stuck = String;

impl<E: Endpoint> Driver<E> {
    pub(crate) fn new(endpoint: E, wires: Wires) -> Driver<E> {
        let (events, ready) = (VecDeque::new(), Vec::with_capacity(64));
        Driver {
            endpoint,
            events,
            unlogged: 0,
            overflowed: 0,
            wires,
            stuck: None,
            ready,
            favourite: None,
            in_a_row: 0,
            inputs: 0,
            looked: Time::ZERO,
        }
    }

    /// Waits at most `limit` until something is ready and does one pass. True if the endpoint was called.
    pub(crate) fn wait_and_pass(&mut self, limit: std::time::Duration) -> bool {
        if self.stuck.is_some() {
            return false;
        }
        if limit.is_zero() && self.favourite_has_bytes() {
            return true;
        }
        let mut ready = std::mem::take(&mut self.ready);
        let limit = if self.wires.look_into_terminals() { std::time::Duration::ZERO } else { limit };
        let before = self.wires.clock.now();
        self.looked = before;
        self.wires.epoll.wait(&mut ready, Some(limit));
        self.wires.saw_empty(before, &ready);
        self.favourite = match ready[..] {
            [Ready { token, events: sys::IN }] if token < u64::from(u32::MAX) => Some(token),
            _ => None,
        };
        self.in_a_row = 0;
        let busy = self.pass(&ready);
        self.ready = ready;
        busy
    }

    /// How many inputs with bytes there were.
    pub(crate) fn inputs(&self) -> u64 {
        self.inputs
    }

    /// One look at everything, for an owner that looks every so often. True if anything came of it. What is due by
    /// `woken_for`, if that is still ahead, is waited for.
    pub(crate) fn tick(&mut self, woken_for: Time) -> bool {
        let before = self.wires.timed_done;
        // Timed sends come first: the thread woke up for them, and everything else can wait a microsecond.
        self.wires.woken_for = woken_for;
        self.guarded(|driver| {
            driver.wires.begin_pass();
            driver.finish_pass()
        });
        self.wires.woken_for = Time::ZERO;
        if woken_for > Time::ZERO
            && let Some(due) = self.deadline().filter(|due| *due <= woken_for)
        {
            spin_until(&self.wires.clock, due);
        }
        self.wires.look_at_edges();
        let called = self.wait_and_pass(std::time::Duration::ZERO);
        called || self.wires.timed_done != before || self.stuck.is_some()
    }

    /// A port that is found empty now shows that what comes next came after it: else the arrival of a quick answer could
    /// reach back to before the send. What is there is left for the pass behind the send.
    fn look_before_a_send(&mut self) {
        if !self.wires.has_timed_output() || self.wires.is_virtual() {
            return;
        }
        self.wires.look_into_terminals();
        let before = self.wires.clock.now();
        self.wires.epoll.wait(&mut self.ready, Some(std::time::Duration::ZERO));
        self.wires.saw_empty(before, &self.ready);
    }

    /// [`Driver::wait_and_pass`] for a caller that waits for an answer. With one connection alone, waiting and reading are
    /// one system call; who queues meanwhile is noticed after it.
    pub(crate) fn wait_for_answer(&mut self, limit: std::time::Duration) {
        let alone = self.wires.only_stream().filter(|_| limit >= STREAM_WAIT && self.stuck.is_none());
        let Some(conn) = alone else {
            self.wait_and_pass(limit);
            return;
        };
        self.guarded(|driver| {
            driver.wires.begin_pass();
            driver.read(conn, true)?;
            driver.time_out()?;
            driver.finish_pass()
        });
    }

    /// The connection that spoke last often speaks next: one read finds out, without asking epoll which one it is.
    /// Now and then epoll is asked all the same, so that others are not kept waiting.
    fn favourite_has_bytes(&mut self) -> bool {
        const IN_A_ROW: u32 = 8;
        let Some(token) = self.favourite.filter(|_| self.in_a_row < IN_A_ROW && !self.wires.looked_at) else {
            return false;
        };
        self.in_a_row += 1;
        let before = self.inputs;
        self.pass(&[Ready { token, events: sys::IN }]);
        self.inputs != before
    }

    /// One pass over what is ready and what is due. True if the endpoint was called.
    pub(crate) fn pass(&mut self, ready: &[Ready]) -> bool {
        if self.stuck.is_some() {
            return false;
        }
        self.guarded(|driver| driver.pass_inner(ready)).unwrap_or(true)
    }

    /// Runs a command of the owner and the pass that follows it.
    pub(crate) fn command<R>(&mut self, command: impl FnOnce(&mut E, Time) -> R) -> Option<R> {
        if self.stuck.is_some() {
            return None;
        }
        self.wires.watch_sends();
        self.guarded(|driver| {
            let now = driver.wires.clock.now();
            driver.wires.begin_pass();
            let result = command(&mut driver.endpoint, now);
            driver.wires.commanded = true;
            let pumped = driver.pump(now);
            driver.wires.commanded = false;
            pumped?;
            driver.finish_pass()?;
            Ok(result)
        })
    }

    /// Opens or closes the gate of a name, and tells the endpoint what it notices: the instant, or `None` if no port is
    /// bound under the name.
    pub(crate) fn gate(&mut self, via: &str, gate: Gate) -> Option<Option<Time>> {
        if self.stuck.is_some() {
            return None;
        }
        self.guarded(|driver| {
            let now = driver.wires.clock.now();
            driver.wires.begin_pass();
            let known = driver.wires.set_gate(now, via, gate);
            driver.tell_news()?;
            driver.finish_pass()?;
            Ok(known.then_some(now))
        })
    }

    /// When the next pass is due at the latest.
    pub(crate) fn deadline(&mut self) -> Option<Time> {
        if self.stuck.is_some() {
            return None;
        }
        if self.wires.has_work(&[]) {
            return Some(Time::ZERO);
        }
        let timeout = self.guarded(|driver| Ok(driver.endpoint.poll_timeout())).flatten();
        [timeout, self.wires.deadline()].into_iter().flatten().min()
    }

    /// Looks whether somebody finds what he waits for among the events.
    pub(crate) fn check<R>(&mut self, check: Check<'_, E, R>) -> Option<R> {
        let before = self.events.len();
        let now = self.wires.clock.now();
        let found = self.guarded(|driver| Ok(check(&mut driver.endpoint, &mut driver.events, now))).flatten();
        // What was taken is known to who took it; mostly it is the newest.
        self.unlogged = self.unlogged.saturating_sub(before.saturating_sub(self.events.len()));
        found
    }

    /// Whether the endpoint waits for an instant, so that it may yet act.
    pub(crate) fn endpoint_waits(&mut self) -> bool {
        self.guarded(|driver| Ok(driver.endpoint.poll_timeout().is_some())).unwrap_or(false)
    }

    /// Writes events that are new into the run log.
    pub(crate) fn log_events(&mut self, log: &RunLog, node: &str)
    where
        E::Event: Clone,
    {
        let new = std::mem::take(&mut self.unlogged).min(self.events.len());
        for event in self.events.range(self.events.len() - new..) {
            let record: Record = event.clone().into();
            log.write(&record.with("node", node));
        }
    }

    fn guarded<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, Stuck>) -> Option<R> {
        // A panic may leave the endpoint in any state: it is not called again.
        let stuck = match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(stuck)) => stuck,
            Err(panic) => match panic.downcast::<GivesUp>() {
                Ok(why) => why.0,
                Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
            },
        };
        self.wires.shut(false);
        self.stuck = Some(stuck);
        None
    }

    fn pass_inner(&mut self, ready: &[Ready]) -> Result<bool, Stuck> {
        self.wires.begin_pass();
        self.wires.look_for_arrivals();
        let mut busy = self.wires.has_work(ready);
        // A port that was opened before this pass may have bytes already: `Opened` comes before them.
        self.tell_news()?;
        busy |= self.accept_in_memory()?;
        for ready in ready {
            self.take_ready(*ready)?;
        }
        if self.wires.looked_at {
            self.look_at_unwatched()?;
        }
        busy |= self.time_out()?;
        self.finish_pass()?;
        Ok(busy)
    }

    fn take_ready(&mut self, ready: Ready) -> Result<(), Stuck> {
        if ready.token == KICK {
            self.wires.kick.take();
            self.wires.looked_at = true;
            return Ok(());
        }
        if Wires::is_listener(ready.token) {
            return self.accept(ready.token);
        }
        if self.wires.settle_attempt(ready.token) {
            return self.tell_news();
        }
        let conn = Conn(u32::try_from(ready.token).unwrap_or(u32::MAX));
        if ready.events & sys::OUT != 0 {
            self.wires.writable(conn);
            self.tell_news()?;
        }
        if ready.events & (sys::IN | sys::HUP | sys::ERR) != 0 {
            self.take_input(conn, ready.events)?;
        }
        Ok(())
    }

    pub(super) fn take_input(&mut self, conn: Conn, events: u32) -> Result<(), Stuck> {
        let Some(channel) = self.wires.channels.get_mut(&conn.0) else { return Ok(()) };
        let hung_up = events & (sys::HUP | sys::ERR) != 0;
        if hung_up && channel.inbound == Inbound::Held {
            // The other side is gone: what it sent is still read, output is of no use any more.
            channel.inbound = Inbound::Reading;
        }
        match channel.inbound {
            Inbound::Reading => self.read(conn, false),
            Inbound::Ended if hung_up && !channel.port.edge() => {
                self.wires.lose(conn, Why::Reset, "the other side broke it off");
                self.tell_news()
            }
            Inbound::Ignored if hung_up && !channel.port.edge() => {
                self.wires.lose(conn, Why::Reset, "the other side broke it off");
                self.tell_news()
            }
            _ => Ok(()),
        }
    }

    /// Connections in memory and such that were not read until they were empty.
    fn look_at_unwatched(&mut self) -> Result<(), Stuck> {
        self.wires.looked_at = false;
        let unwatched: Vec<Conn> = self.wires.unwatched();
        for conn in unwatched {
            if let Some(channel) = self.wires.channels.get_mut(&conn.0) {
                channel.unread = false;
                let reading = channel.inbound == Inbound::Reading;
                let blocked = channel.output.blocked && channel.port.fd().is_none();
                if blocked {
                    self.wires.writable(conn);
                }
                if reading {
                    self.read(conn, false)?;
                }
            }
        }
        Ok(())
    }

    /// Reads one connection until it is empty, or often enough for this pass.
    /// With `wait`, waits for its first bytes, at most [`STREAM_WAIT`].
    fn read(&mut self, conn: Conn, wait: bool) -> Result<(), Stuck> {
        let mut buffer = std::mem::take(&mut self.wires.buffer);
        let mut stamps = std::mem::take(&mut self.wires.stamps);
        let result = self.read_into(conn, wait, &mut buffer, &mut stamps);
        self.wires.buffer = buffer;
        self.wires.stamps = stamps;
        result
    }

    fn read_into(
        &mut self,
        conn: Conn,
        mut wait: bool,
        buffer: &mut [u8],
        stamps: &mut Vec<Stamp>,
    ) -> Result<(), Stuck> {
        for _ in 0..READS {
            let wires = &mut self.wires;
            let Some(channel) = wires.channels.get_mut(&conn.0) else { return Ok(()) };
            if channel.inbound != Inbound::Reading || channel.stalled {
                return Ok(());
            }
            stamps.clear();
            let before = wires.clock.now();
            let found = channel.port.read(Look {
                clock: &wires.clock,
                since: channel.since,
                wait: std::mem::take(&mut wait),
                buffer: &mut *buffer,
                stamps,
            });
            let now = wires.clock.now();
            match found {
                Read::Nothing => {
                    channel.since = before;
                    if channel.finished && channel.closing.is_none() && !channel.output.is_empty() {
                        wires.lose(conn, Why::Reset, "it takes no output any more");
                        return self.tell_news();
                    }
                    if channel.wanted() != channel.interest {
                        wires.watch_readiness(conn);
                    }
                    return Ok(());
                }
                Read::Opened(met) => {
                    wires.opened(conn, *met);
                    self.tell_news()?;
                }
                Read::Bytes(..) | Read::Line(..) if channel.cut => channel.since = before,
                Read::Bytes(count, arrival) => {
                    let whole =
                        Stamp::between(channel.since - channel.port.resolution(), now).seen_through(channel.source);
                    let last = match arrival {
                        Arrival::Unstamped => whole,
                        Arrival::Last(stamp) | Arrival::Together(stamp) => {
                            channel.through(stamp).seen_through(channel.source)
                        }
                        Arrival::PerByte => {
                            stamps.iter_mut().for_each(|stamp| *stamp = stamp.seen_through(channel.source));
                            stamps.last().copied().unwrap_or(whole)
                        }
                    };
                    channel.quiet_since = channel.quiet_since.max(last.latest());
                    let drained = count < buffer.len() && channel.port.short_read_drains();
                    channel.since = if drained { before.max(last.earliest()) } else { channel.since };
                    let (link, bytes) = (channel.link, &buffer[..count]);
                    wires.capture.frame(link, conn, Direction::In, last, bytes);
                    let stamps = match arrival {
                        Arrival::Unstamped => Stamps::One(whole),
                        Arrival::Together(_) => Stamps::One(last),
                        Arrival::Last(_) => {
                            let from = Stamp::between(whole.earliest(), last.latest()).seen_through(channel.source);
                            Stamps::Chunk { whole: from, last }
                        }
                        Arrival::PerByte => Stamps::PerByte(stamps),
                    };
                    self.inputs += 1;
                    let input = match channel.port.is_datagram() {
                        true => Input::Datagram(conn, &channel.peer, bytes, stamps),
                        false => Input::Bytes(conn, bytes, stamps),
                    };
                    self.endpoint.handle(now, input);
                    self.pump(now)?;
                    if drained {
                        return Ok(());
                    }
                }
                Read::Line(event, arrival) => {
                    let stamp = match arrival {
                        Arrival::Last(stamp) | Arrival::Together(stamp) => channel.through(stamp),
                        Arrival::Unstamped | Arrival::PerByte => {
                            Stamp::between(channel.since - channel.port.resolution(), now)
                        }
                    };
                    let stamp = stamp.seen_through(channel.source);
                    self.endpoint.handle(now, Input::Line(conn, event, stamp));
                    self.pump(now)?;
                }
                end => {
                    self.ended(conn, end);
                    return self.tell_news();
                }
            }
        }
        // More may be there, but others wait too.
        if let Some(channel) = self.wires.channels.get_mut(&conn.0)
            && (channel.port.edge() || channel.port.holds_input() || channel.port.fd().is_none())
        {
            channel.unread = true;
            self.wires.looked_at = true;
        }
        Ok(())
    }

    fn ended(&mut self, conn: Conn, end: Read) {
        match end {
            Read::Finished => self.wires.finished(conn),
            Read::Reset(reason) => self.wires.lose(conn, Why::Reset, &reason),
            Read::HungUp(reason) => self.wires.lose(conn, Why::HungUp, &reason),
            Read::Refused(refusal) => self.wires.refused(conn, &refusal),
            Read::Nothing | Read::Bytes(..) | Read::Line(..) | Read::Opened(_) => {}
        }
    }

    /// Tells the endpoint what became of its connections.
    pub(super) fn tell_news(&mut self) -> Result<(), Stuck> {
        for _ in 0..NEWS {
            let Some(news) = self.wires.news.pop_front() else { return Ok(()) };
            let now = self.wires.clock.now();
            match news {
                News::Opened(conn) => {
                    let Some(channel) = self.wires.channels.get(&conn.0) else { continue };
                    self.endpoint.handle(now, Input::Opened(conn, &channel.peer));
                }
                News::Closed(conn, why) => self.endpoint.handle(now, Input::Closed(conn, why)),
                News::Writable(conn) => self.endpoint.handle(now, Input::Writable(conn)),
                News::Timed(conn, fate) => self.endpoint.handle(now, Input::Timed(conn, fate)),
            }
            self.pump(now)?;
        }
        Ok(())
    }

    /// What was there when a time-out became due is read before it, however late we are: who stopped us since the last
    /// look (which SIGCONT ends, with nothing found) must not make it look as if nothing had come.
    fn look_before_a_time_out(&mut self) -> Result<(), Stuck> {
        if self.wires.is_virtual() {
            return Ok(());
        }
        let now = self.wires.clock.now();
        if self.endpoint.poll_timeout().is_none_or(|due| due > now || self.looked >= due) {
            return Ok(());
        }
        let mut ready = std::mem::take(&mut self.ready);
        self.looked = now;
        let found = self.wires.look_into_terminals();
        self.wires.epoll.wait(&mut ready, Some(std::time::Duration::ZERO));
        self.wires.saw_empty(now, &ready);
        let taken = ready.iter().try_for_each(|ready| self.take_ready(*ready));
        self.ready = ready;
        taken?;
        if found { self.look_at_unwatched() } else { Ok(()) }
    }

    /// Time-outs that are due. True if there were any.
    fn time_out(&mut self) -> Result<bool, Stuck> {
        self.look_before_a_time_out()?;
        let mut standing = 0;
        for round in 0..CATCH_UP {
            let Some(due) = self.endpoint.poll_timeout() else { return Ok(round > 0) };
            let now = self.wires.clock.now();
            if due > now {
                return Ok(round > 0);
            }
            self.endpoint.handle_timeout(now);
            self.pump(now)?;
            // After a stall of the host an endpoint may have to catch up, step by step; not moving at all is a fault.
            standing = if self.endpoint.poll_timeout() > Some(due) { 0 } else { standing + 1 };
            if standing > SAME_INSTANT && self.endpoint.poll_timeout().is_some() {
                return Err(
                    "its time-out does not advance: it asks for one that is due already, again and again".to_owned()
                );
            }
        }
        // The rest waits for the next pass, so that ports are looked at in between.
        Ok(true)
    }

    /// Writes, and tells what came of it, until nothing is left to tell.
    fn finish_pass(&mut self) -> Result<(), Stuck> {
        self.look_before_a_send();
        self.wires.do_due();
        for _ in 0..NEWS {
            self.wires.flush();
            self.wires.settle_joined();
            self.wires.tell_departures();
            if self.wires.news.is_empty() {
                return Ok(());
            }
            self.tell_news()?;
        }
        // The rest waits for the next pass, so that an endpoint that connects again at once cannot hold the thread.
        Ok(())
    }

    fn pump(&mut self, now: Time) -> Result<(), Stuck> {
        let mut count = 0;
        while let Some(action) = self.endpoint.poll_action(&mut self.wires.out) {
            self.wires.apply(now, action);
            count += 1;
            if count > ENDLESS || self.wires.out.len() > ENDLESS_BYTES {
                return Err("its actions have no end".to_owned());
            }
        }
        count = 0;
        while let Some(event) = self.endpoint.poll_event() {
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
                self.overflowed += 1;
            }
            self.events.push_back(event);
            self.unlogged += 1;
            count += 1;
            if count > ENDLESS {
                return Err("its events have no end".to_owned());
            }
        }
        Ok(())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
