//! Timed actions ([`Action::Timed`]): handed out, taken back, done at their instant, and answered (rule 9 of the seam).
//!
//! Rules of this file:
//! - The instants in an answer are those around the call of the port, read from the clock of the run there and then.
//! - What is too late when its turn comes is not done at all, and is answered all the same.
//! - On a wire in memory that others pass on to a real one, the answer waits until they have: it left when it left there.
//!
//! [`Action::Timed`]: fieldrig_proto::endpoint::Action::Timed

use super::channel::{Channel, Segment};
use super::wires::Wires;
use crate::run_delay;
use fieldrig_proto::endpoint::{Conn, Departure, Fate, Timed};
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::time::{Duration, Time};
use std::io;

/// When a timed action may be done.
#[derive(Copy, Clone, Debug)]
pub(super) struct Timing {
    pub(super) not_before: Time,
    pub(super) gap_before: Option<Duration>,
    pub(super) not_after: Option<Time>,
}

impl Wires {
    /// Takes a timed action.
    pub(super) fn send_timed(&mut self, now: Time, conn: Conn, what: Timed, timing: Timing) {
        let sequence = self.next_sequence();
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.closing.is_some() || channel.finished {
            return;
        }
        let (bytes, command) = match what {
            Timed::Send(range) => (self.out.get(range).unwrap_or_default().to_vec(), None),
            Timed::Line(command) => (Vec::new(), Some(command)),
        };
        let segment = Segment {
            command,
            not_before: Some(timing.not_before),
            gap_before: timing.gap_before,
            not_after: timing.not_after,
            answered: true,
            ..Segment::new(bytes, now, sequence)
        };
        channel.output.push_segment(&self.out, now, segment);
        self.clocked = true;
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
    }

    /// Takes back what has not begun.
    pub(super) fn recall(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        let output = &mut channel.output;
        let before = output.queue.len();
        output.queue.retain(|segment| !segment.answered || segment.written > 0);
        for _ in output.queue.len()..before {
            self.fates.push_back((conn, Fate::Recalled));
        }
        output.queued = output.queue.iter().map(|segment| segment.bytes.len() - segment.written).sum();
        // What waited behind it may leave now, and the pass has to tell.
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
    }

    /// Tells what became of timed actions.
    pub(super) fn tell_departures(&mut self) {
        while let Some((conn, fate)) = self.fates.front_mut() {
            if let (Fate::Done(departure), Some(channel)) = (&mut *fate, self.channels.get(&conn.0)) {
                let left = channel.port.left_by();
                if left == Time::FAR {
                    return;
                }
                departure.returned = departure.returned.max(left);
                departure.left = departure.left.max(departure.returned);
            }
            if let Some((conn, fate)) = self.fates.pop_front() {
                self.news.push_back(super::wires::News::Timed(conn, fate));
            }
        }
    }
}

impl Channel {
    /// Does something to the line. A break holds it for its length.
    ///
    /// # Errors
    /// The port's.
    pub(super) fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        self.port.command(now, command)?;
        if let LineCommand::Break(length) = command {
            let until = now + *length;
            self.quiet_since = self.quiet_since.max(until);
            self.sent_until = self.sent_until.max(until);
            if self.port.fd().is_some() {
                self.break_until = Some(until);
            }
        }
        Ok(())
    }
}

/// The answer to what was done.
pub(super) fn done(channel: &Channel, scheduled: Time, issued: Time, returned: Time) -> Fate {
    let (left, run_delay) = (channel.sent_until.max(returned), run_delay::explains(scheduled, issued));
    Fate::Done(Departure { scheduled, issued, returned, left, run_delay })
}
