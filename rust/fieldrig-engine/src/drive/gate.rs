//! Gates: a link that is down, as everybody on it sees it.
//!
//! ```text
//!              connections                                        wires (taps, serial lines, ptys)
//!   Open       as ever                                            as ever
//!   Refused    broken off; new ones too, as soon as they come     cut: bytes are lost both ways
//!   Stalled    nothing is read, written, accepted or begun        cut
//! ```
//!
//! Rules of this file:
//! - A gate is a state of a name under which ports are bound, not of a connection: those that come later are under it, too.
//! - What waits while a link is stalled happens when it opens: sends, closes, connections, and bytes that came meanwhile,
//!   which have arrived only then.
//! - The endpoint is not told of the gate, only of what it would notice on a real link.

use super::channel::Inbound;
use super::connect::CONNECT_LIMIT;
use super::wires::Wires;
use fieldrig_proto::endpoint::{Conn, Target, Why};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Stamp, Time};

/// Whether a link lets anything through.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Gate {
    /// It does.
    #[default]
    Open,
    /// Connections are broken off and refused; a wire is cut.
    Refused,
    /// Nothing moves, and nobody is told; a wire is cut.
    Stalled,
}

impl Gate {
    /// Each with its name.
    pub const NAMES: [(&'static str, Gate); 3] =
        [("open", Gate::Open), ("refused", Gate::Refused), ("stalled", Gate::Stalled)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Gate::NAMES.iter().find(|(_, gate)| *gate == self).map_or("open", |(name, _)| name)
    }
}

/// A connection that was asked for while the link was stalled.
pub(super) struct Wish {
    pub(super) target: Target,
    pub(super) limit: Time,
}

impl Wires {
    pub(super) fn gate_of(&self, via: &str) -> Gate {
        self.gates.get(via).copied().unwrap_or_default()
    }

    /// Sets the gate of a name. False if no port is bound under it.
    pub(super) fn set_gate(&mut self, now: Time, via: &str, gate: Gate) -> bool {
        if !self.kinds.contains_key(via) {
            return false;
        }
        let before = self.gate_of(via);
        self.gates.insert(via.to_owned(), gate);
        let record = Record::new("link.gate").at(Stamp::exact(now)).with("node", self.node_name());
        self.log.write(&record.with("via", via).with("gate", gate.name()));
        let conns: Vec<Conn> =
            self.channels.iter().filter(|(_, channel)| channel.peer.via == via).map(|(conn, _)| Conn(*conn)).collect();
        for conn in conns {
            self.gate_channel(now, conn, gate);
        }
        self.gate_listeners(via, gate);
        match gate {
            Gate::Open if before == Gate::Stalled => self.grant_wishes(now, via),
            Gate::Refused => self.refuse_under_way(via),
            Gate::Open | Gate::Stalled => {}
        }
        if gate != Gate::Stalled {
            for (_, mut port) in self.limbo.extract_if(.., |(known, _)| known == via) {
                port.reset();
            }
        }
        true
    }

    /// Puts a connection under the gate of its name.
    pub(super) fn gate_channel(&mut self, now: Time, conn: Conn, gate: Gate) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.peer.wire {
            channel.cut = gate != Gate::Open;
            return;
        }
        match gate {
            Gate::Refused => {
                channel.stalled = false;
                channel.port.reset();
                self.lose(conn, Why::Reset, "the link was taken down");
            }
            Gate::Stalled if !channel.stalled => {
                channel.stalled = true;
                channel.unread = true;
                if let Some(fd) = channel.port.fd() {
                    self.epoll.remove(fd);
                    channel.interest = 0;
                }
            }
            Gate::Open if channel.stalled => self.release(now, conn),
            Gate::Stalled | Gate::Open => {}
        }
    }

    /// A connection that was stalled goes on.
    fn release(&mut self, now: Time, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        channel.stalled = false;
        channel.since = now;
        channel.not_before = now;
        channel.unread = channel.inbound == Inbound::Reading;
        self.looked_at |= channel.unread;
        channel.interest = channel.wanted();
        // One that the endpoint itself stalled stays unwatched.
        let watched = !(channel.finished && channel.inbound == Inbound::Ignored);
        if let Some(fd) = channel.port.fd().filter(|_| watched)
            && let Err(error) = self.epoll.add(fd, channel.interest, u64::from(conn.0))
        {
            self.trouble("a link that goes on", &error);
        }
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
        self.clocked = true;
    }

    fn gate_listeners(&mut self, via: &str, gate: Gate) {
        for index in 0..self.listeners.len() {
            let listening = &mut self.listeners[index];
            let wanted = gate != Gate::Stalled;
            if listening.via != via || listening.watched == wanted {
                continue;
            }
            listening.watched = wanted;
            let fd = listening.listener.fd();
            if !wanted {
                self.epoll.remove(fd);
            } else if let Err(error) = self.epoll.add(fd, super::sys::IN, Wires::listener_token(index)) {
                self.trouble("a listener that goes on", &error);
            }
        }
    }

    /// A connection is asked for under a gate that is closed. False if the gate is open.
    pub(super) fn connect_gated(&mut self, now: Time, target: &Target) -> bool {
        match self.gate_of(&target.via) {
            Gate::Open => return false,
            Gate::Refused => self.refuse(&target.via, format!("{}: the link was taken down", target.url)),
            Gate::Stalled => self.wishes.push(Wish { target: target.clone(), limit: now + CONNECT_LIMIT }),
        }
        true
    }

    fn grant_wishes(&mut self, now: Time, via: &str) {
        let wishes: Vec<Wish> = self.wishes.extract_if(.., |wish| wish.target.via == via).collect();
        for wish in wishes {
            self.connect(now, &wish.target);
        }
    }

    /// Connections that were not made yet.
    fn refuse_under_way(&mut self, via: &str) {
        let wishes: Vec<Wish> = self.wishes.extract_if(.., |wish| wish.target.via == via).collect();
        for wish in wishes {
            self.refuse(via, format!("{}: the link was taken down", wish.target.url));
        }
        self.refuse_attempts(via);
    }

    /// Refuses connections that waited too long for a link that stalls.
    pub(super) fn give_up_wishes(&mut self, now: Time) {
        let late: Vec<Wish> = self.wishes.extract_if(.., |wish| wish.limit <= now).collect();
        for wish in late {
            self.refuse(&wish.target.via, format!("{}: timed out", wish.target.url));
        }
    }
}
