//! Connections that others make: taken from listeners one by one.
//!
//! ```text
//!   accept one --> ends of older ones of that listener, with the bytes before them --> Opened --> accept the next
//! ```
//!
//! Rules of this file:
//! - Who ends a connection and then makes another one is told of in that order. An endpoint with room for one connection
//!   would refuse the second one otherwise, which no device would that does one thing after the other. A listener, the
//!   last bytes and the end may all be ready at once, and a look that finds bytes does not find the end behind them.
//! - That is looked for after a connection was taken: what came before it is in the kernel by then.

use super::channel::{Channel, Inbound};
use super::gate::Gate;
use super::step::{Driver, Stuck};
use super::sys;
use super::wires::{LISTENER, Wires};
use crate::layer::rfc2217::Rfc2217Port;
use crate::layer::tls::ServerSide;
use crate::port::Port;
use fieldrig_proto::endpoint::{Conn, Endpoint, Peer};
use std::sync::Arc;

/// With more connections than this nobody counts on the room that one of them leaves, and to look at all would take long.
const LOOKED_AT: usize = 256;
/// How often an ended connection is looked at; what its end was behind is in the buffers of the kernel.
const LOOKS: usize = 1024;

/// A connection that was taken and is not told of yet.
pub(super) struct Newcomer {
    port: Box<dyn Port>,
    peer: Peer,
    tls: Option<Arc<ServerSide>>,
}

impl<E: Endpoint> Driver<E> {
    /// Takes the connections that wait at a listener.
    pub(super) fn accept(&mut self, token: u64) -> Result<(), Stuck> {
        while let Some(newcomer) = self.wires.next_waiting(token) {
            self.let_in(newcomer)?;
        }
        Ok(())
    }

    /// Takes the connections that wait at listeners in memory. True if there were any.
    pub(super) fn accept_in_memory(&mut self) -> Result<bool, Stuck> {
        let mut any = false;
        for index in 0..self.wires.memory_listeners.len() {
            while let Some(newcomer) = self.wires.next_waiting_in_memory(index) {
                any = true;
                self.let_in(newcomer)?;
            }
        }
        Ok(any)
    }

    fn let_in(&mut self, newcomer: Newcomer) -> Result<(), Stuck> {
        for (conn, how) in self.wires.ended(&newcomer.peer.via) {
            for _ in 0..LOOKS {
                let before = self.inputs();
                self.take_input(conn, how)?;
                if self.inputs() == before {
                    break;
                }
            }
        }
        self.wires.accepted(newcomer.port, newcomer.peer, newcomer.tls.as_deref());
        self.tell_news()
    }
}

impl Wires {
    /// The next connection that waits at a listener and is let in.
    fn next_waiting(&mut self, token: u64) -> Option<Newcomer> {
        let index = (token & (LISTENER - 1)) as usize;
        loop {
            let listening = self.listeners.get(index).filter(|listening| listening.watched)?;
            match listening.listener.accept() {
                Ok(Some((mut stream, _))) if self.gate_of(&listening.via) == Gate::Refused => stream.reset(),
                Ok(Some((port, address))) => {
                    let peer = Peer { via: listening.via.clone(), address, ..Peer::default() };
                    let tls = listening.tls.clone();
                    return Some(match listening.line {
                        None => Newcomer { port, peer, tls },
                        Some((side, line)) => {
                            let port = Box::new(Rfc2217Port::new(port, side, line));
                            Newcomer { port, peer: Peer { wire: true, ..peer }, tls }
                        }
                    });
                }
                Ok(None) => return None,
                Err(error) => {
                    self.trouble("accept", &error);
                    return None;
                }
            }
        }
    }

    /// The next connection that waits at a listener in memory and is let in.
    fn next_waiting_in_memory(&mut self, index: usize) -> Option<Newcomer> {
        loop {
            let listening = self.memory_listeners.get(index)?;
            match self.gate_of(&listening.via) {
                Gate::Stalled => return None,
                Gate::Open if self.expects_more(&listening.via) => return None,
                Gate::Refused => listening.listener.accept()?.0.reset(),
                Gate::Open => {
                    let (pipe, address) = listening.listener.accept()?;
                    let peer = Peer { via: listening.via.clone(), address, ..Peer::default() };
                    return Some(Newcomer { port: Box::new(pipe), peer, tls: listening.tls.clone() });
                }
            }
        }
    }

    /// Whether something is on its way on a connection of a name, in memory: it was sent before anybody who waits now.
    pub(super) fn expects_more(&self, via: &str) -> bool {
        let now = self.clock.now();
        let some = self.in_memory > 0;
        self.channels.values().filter(|_| some).any(|channel| {
            let expected = channel.inbound == Inbound::Reading && channel.port.fd().is_none();
            expected && is_heard(channel, via) && channel.port.next_arrival().is_some_and(|at| at > now)
        })
    }

    /// The connections of a name that the other side ended and that are still read, and how; in memory, those on which
    /// something has arrived.
    fn ended(&self, via: &str) -> Vec<(Conn, u32)> {
        let heard = self.channels.iter().filter(|(_, channel)| is_heard(channel, via));
        let old: Vec<(Conn, &Channel)> =
            heard.take(LOOKED_AT + 1).map(|(number, channel)| (Conn(*number), channel)).collect();
        if old.is_empty() || old.len() > LOOKED_AT {
            return Vec::new();
        }
        let (memory, real): (Vec<_>, Vec<_>) = old.into_iter().partition(|(_, channel)| channel.port.fd().is_none());
        let told = sys::ended(real.iter().filter_map(|(_, channel)| channel.port.fd()));
        let arrived = memory.into_iter().filter(|(_, channel)| channel.port.next_arrival().is_some());
        let told = told.into_iter().map(|(index, how)| (real[index].0, how));
        arrived.map(|(conn, _)| (conn, sys::IN)).chain(told).collect()
    }
}

/// Whether a connection is one of a name, and may still bring something.
fn is_heard(channel: &Channel, via: &str) -> bool {
    let open = matches!(channel.inbound, Inbound::Reading | Inbound::Held);
    channel.peer.via == via && open && !channel.stalled
}
