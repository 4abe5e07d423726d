//! What is due on the ports of a node: timed sends, ends of breaks, closes and attempts that took too long, arrivals on
//! wires in memory.

use super::channel::{Channel, Inbound, Segment};
use super::connect::Attempt;
use super::gate::Gate;
use super::sys::{self, Ready};
use super::wires::{ListeningInMemory, Wires};
use crate::layer::tls::Refusal;
use fieldrig_proto::endpoint::{Conn, Why};
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::time::{Duration, Time};

impl Wires {
    /// When something is due that epoll does not tell.
    pub(super) fn deadline(&self) -> Option<Time> {
        let wanted = |listening: &ListeningInMemory| {
            let lets_in = || match self.gate_of(&listening.via) {
                Gate::Open => !self.expects_more(&listening.via),
                Gate::Refused => true,
                Gate::Stalled => false,
            };
            listening.listener.is_wanted() && lets_in()
        };
        if self.memory_listeners.iter().any(wanted) {
            return Some(Time::ZERO);
        }
        let some = self.clocked || self.in_memory > 0;
        let channels = self.channels.values().filter(|_| some).filter_map(Channel::deadline);
        let wishes = self.wishes.iter().map(|wish| wish.limit);
        channels
            .chain(self.attempts.values().map(Attempt::limit))
            .chain(wishes)
            .chain(self.lingering.iter().map(|(until, _)| *until))
            .min()
    }

    /// Whether a timed send waits, which is the business of the line thread.
    pub(crate) fn has_timed_output(&self) -> bool {
        self.clocked && self.channels.values().any(|channel| channel.output.queue.iter().any(Segment::is_timed))
    }

    /// Does what is due: timed sends, ends of breaks, closes and attempts that took too long.
    pub(super) fn do_due(&mut self) {
        if self.clocked {
            self.do_due_on_channels(self.clock.now());
        }
        if !self.attempts.is_empty() {
            self.give_up_attempts(self.clock.now());
        }
        if !self.lingering.is_empty() {
            self.let_go(self.clock.now());
        }
        if !self.wishes.is_empty() {
            self.give_up_wishes(self.clock.now());
        }
    }

    /// The connection, if it is all there is to wait for.
    pub(super) fn only_stream(&self) -> Option<Conn> {
        let alone = self.channels.len() == 1 && self.listeners.is_empty() && self.attempts.is_empty();
        let (number, channel) = self.channels.first_key_value().filter(|_| alone && !self.has_work(&[]))?;
        let quiet = channel.output.is_empty() && !self.clocked && channel.inbound == Inbound::Reading;
        (quiet && !channel.stalled && channel.port.can_wait()).then_some(Conn(*number))
    }

    fn do_due_on_channels(&mut self, now: Time) {
        let due = |(number, channel): (&u32, &Channel)| {
            channel.deadline().is_some_and(|at| at <= now.max(self.woken_for)).then_some(Conn(*number))
        };
        let conns: Vec<Conn> = self.channels.iter().filter_map(due).collect();
        for conn in conns {
            let Some(channel) = self.channels.get_mut(&conn.0) else { continue };
            if channel.break_until.is_some_and(|at| at <= now) {
                channel.break_until = None;
                // Ending a break cannot fail on a port that began one, unless it is gone; reading will tell.
                let _ = channel.port.command(now, &LineCommand::Break(Duration::ZERO));
            }
            if channel.opening_limit.is_some_and(|at| at <= now) {
                self.refused(conn, &Refusal::new("the handshake was not done in time"));
            } else if channel.closing_limit.is_some_and(|at| at <= now) {
                channel.port.reset();
                self.lose(conn, Why::Local, "the other side did not take the last output");
            } else {
                if channel.port.answer_by().is_some_and(|at| at <= now) {
                    channel.unread = true;
                    self.looked_at = true;
                }
                self.flush_channel(conn);
            }
        }
        self.clocked = self.channels.values().any(Channel::is_clocked);
    }

    /// Bytes in memory that have arrived by now are looked at in this pass.
    pub(super) fn look_for_arrivals(&mut self) {
        if self.in_memory > 0 && !self.looked_at {
            let now = self.clock.now();
            let by_now = |at: Option<Time>| at.is_some_and(|at| at <= now);
            let due = |channel: &Channel| by_now(channel.port.next_arrival()) || by_now(channel.port.next_room());
            self.looked_at = self.channels.values().any(due);
        }
    }

    /// Nothing but `ready` was ready at `before`: everything else was empty then.
    pub(super) fn saw_empty(&mut self, before: Time, ready: &[Ready]) {
        // With many connections the kernel's stamps do; they are all sockets.
        if self.channels.len() > 16 {
            return;
        }
        for (number, channel) in &mut self.channels {
            let quiet = !ready.iter().any(|ready| ready.token == u64::from(*number));
            let told = channel.port.fd().is_some() && !channel.port.hides_input();
            if quiet && channel.inbound == Inbound::Reading && !channel.unread && told {
                channel.since = channel.since.max(before);
            }
        }
    }

    /// Looks whether terminals are empty now: of them it is not enough that nothing was ready ([`crate::port::Port::hides_input`]). On
    /// a busy host that takes as long as the kernel takes to hand a byte on. True if one is not empty.
    pub(super) fn look_into_terminals(&mut self) -> bool {
        let mut found = false;
        for channel in self.channels.values_mut() {
            let looks = channel.port.hides_input() && channel.inbound == Inbound::Reading && !channel.unread;
            let Some(fd) = channel.port.fd().filter(|_| looks) else { continue };
            let before = self.clock.now();
            if sys::has_input(fd) {
                channel.unread = true;
                self.looked_at = true;
                found = true;
            } else {
                channel.since = channel.since.max(before);
            }
        }
        found
    }
}
