//! Drives an endpoint as an engine would, with inputs in any order and time that jumps.

use crate::targets::Eater;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Stamps, Why};
use fieldrig_proto::fault::Chance;
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};

/// More than this after one input is production without end.
const MOST: usize = 10_000;
/// An endpoint is replaced after so many inputs, so that early states are met often.
const LIFE: u64 = 200;

/// A way to connect to an endpoint.
#[derive(Copy, Clone)]
pub(crate) struct Link {
    via: &'static str,
    wire: bool,
}

impl Link {
    /// A connection, such as TCP.
    pub(crate) const fn connection(via: &'static str) -> Link {
        Link { via, wire: false }
    }

    /// A wire, such as a serial line.
    pub(crate) const fn wire(via: &'static str) -> Link {
        Link { via, wire: true }
    }
}

/// What the owner of an endpoint may do to it between inputs.
pub(crate) type Poke<E> = fn(&mut E, Time, &mut Chance);

/// Makes fresh endpoints and feeds them.
pub(crate) struct Driver<E> {
    make: fn() -> E,
    poke: Poke<E>,
    endpoint: E,
    peers: Vec<Peer>,
    open: Vec<Conn>,
    most: usize,
    next: u32,
    fed: u64,
    now: Time,
    out: Vec<u8>,
}

impl<E: Endpoint + 'static> Driver<E> {
    /// Feeds endpoints that `make` gives, on the connections of `links`, which are open at the same time.
    pub(crate) fn eater(links: &[Link], make: fn() -> E, poke: Poke<E>) -> Eater {
        let mut driver = Driver::new(links, make, poke);
        Box::new(move |bytes, chance| driver.feed(bytes, chance))
    }

    fn new(links: &[Link], make: fn() -> E, poke: Poke<E>) -> Driver<E> {
        let peer = |link: &Link| Peer {
            via: link.via.to_owned(),
            address: "fuzz".to_owned(),
            wire: link.wire,
            ..Peer::default()
        };
        Driver {
            make,
            poke,
            endpoint: make(),
            peers: links.iter().map(peer).collect(),
            open: Vec::new(),
            most: links.len(),
            next: 0,
            fed: 0,
            now: Time::default(),
            out: Vec::new(),
        }
    }

    /// Feeds `bytes` and whatever else chance brings.
    fn feed(&mut self, bytes: &[u8], chance: &mut Chance) {
        self.fed += 1;
        if self.fed.is_multiple_of(LIFE) {
            self.endpoint = (self.make)();
            self.open.clear();
            self.drain();
        }
        if self.open.is_empty() || (self.open.len() < self.most && chance.below(20) == 0) {
            self.opened(chance);
        }
        let Some(conn) = self.any_open(chance) else { return };
        match chance.below(128) {
            0 => self.closed(conn, chance),
            1 => self.handle(Input::Writable(conn)),
            2 => self.handle(Input::Line(conn, LineEvent::Break, Stamp::exact(self.now))),
            3 => self.handle(Input::Bytes(Conn(u32::MAX), bytes, Stamps::One(Stamp::default()))),
            4..20 => self.wait(chance),
            20..50 => {
                (self.poke)(&mut self.endpoint, self.now, chance);
                self.drain();
            }
            _ => {}
        }
        let Some(conn) = self.any_open(chance) else { return };
        let cut = chance.below(bytes.len() as u64 + 1) as usize;
        let parts = if chance.below(2) == 0 { [bytes, &[]] } else { [&bytes[..cut], &bytes[cut..]] };
        for part in parts {
            if !part.is_empty() {
                self.handle(Input::Bytes(conn, part, Stamps::One(Stamp::default())));
            }
        }
    }

    /// One of the open connections; none if the endpoint closed them all.
    fn any_open(&self, chance: &mut Chance) -> Option<Conn> {
        self.open.get(chance.below(self.open.len().max(1) as u64) as usize).copied()
    }

    fn opened(&mut self, chance: &mut Chance) {
        let conn = Conn(self.next);
        self.next += 1;
        self.open.push(conn);
        let peer = self.peers[chance.below(self.peers.len() as u64) as usize].clone();
        self.handle(Input::Opened(conn, &peer));
    }

    fn closed(&mut self, conn: Conn, chance: &mut Chance) {
        let why = match chance.below(5) {
            0 => Why::Finished,
            1 => Why::Reset,
            2 => Why::HungUp,
            3 => Why::Local,
            _ => Why::Refused { via: self.peers[0].via.clone(), reason: "fuzz".to_owned(), untrusted: false },
        };
        if why != Why::Finished {
            self.open.retain(|open| *open != conn);
        }
        self.handle(Input::Closed(conn, why));
        if self.open.is_empty() {
            self.opened(chance);
        }
    }

    /// Lets time pass, up to the next time-out or a little.
    fn wait(&mut self, chance: &mut Chance) {
        if let Some(due) = self.endpoint.poll_timeout().filter(|_| chance.below(2) == 0) {
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now);
            self.drain();
            let next = self.endpoint.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "stuck: the time-out {next:?} is not after {:?}",
                self.now
            );
        } else {
            self.now = self.now + Duration::from_micros(chance.below(3_000));
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.endpoint.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        self.out.clear();
        let mut left = MOST;
        let mut ended = Vec::new();
        while let Some(action) = self.endpoint.poll_action(&mut self.out) {
            match action {
                Action::Close(conn, How::Fin | How::Rst) => ended.push(conn),
                Action::Send { range, .. } => {
                    assert!(range.end <= self.out.len(), "a send of bytes that are not there")
                }
                _ => {}
            }
            left = left.checked_sub(1).expect("an endpoint gives actions without end");
        }
        while let Some(event) = self.endpoint.poll_event() {
            std::hint::black_box::<Record>(event.into());
            left = left.checked_sub(1).expect("an endpoint gives events without end");
        }
        for conn in ended {
            if self.open.contains(&conn) {
                self.open.retain(|open| *open != conn);
                self.handle(Input::Closed(conn, Why::Local));
            }
        }
    }
}
