//! Output of a node: what leaves at the end of a pass, and what waits.
//!
//! A send that fails ends its connection, but what came in before is still read.

use super::channel::{Channel, Inbound, Sent};
use super::line::spin_until;
use super::timed;
use super::wires::{News, OUTPUT_LIMIT, SENDS_KEPT, Watch, Wires};
use crate::port::{Look, Read};
use crate::run_delay;
use fieldrig_proto::dissect::Direction;
use fieldrig_proto::endpoint::{Conn, Fate, How, Why};
use fieldrig_proto::line::LineCommand;
use fieldrig_proto::time::{Stamp, Time};

impl Wires {
    /// Writes what this pass handed out, and timed sends that are due.
    pub(super) fn flush(&mut self) {
        for index in 0..self.dirty.len() {
            self.flush_channel(self.dirty[index]);
        }
        self.dirty.clear();
    }

    /// Writes what can be written on one connection now.
    pub(super) fn flush_channel(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.stalled {
            channel.output.settle(&self.out, self.clock.now());
            return self.limit_output(conn);
        }
        if channel.port.holds_output()
            && let Err(error) = channel.port.flush(self.clock.now())
        {
            return self.write_failed(conn, &error);
        }
        let failure = if channel.output.queue.is_empty() { self.write_direct(conn) } else { None };
        let failure = failure.or_else(|| self.write_queue(conn));
        if let Some(error) = failure {
            return self.write_failed(conn, &error);
        }
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.output.owes_writable() {
            self.news.push_back(News::Writable(conn));
        }
        channel.regulate();
        self.looked_at |= channel.unread;
        self.regulate_partner(conn);
        self.limit_output(conn);
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        if channel.output.is_empty() && channel.closing.is_some() && !channel.port.holds_output() {
            return self.finish_close(conn);
        }
        self.watch_readiness(conn);
    }

    /// Who sends to a bridge waits for who reads from it, if he can; what cannot wait (a real line) piles up here.
    pub(super) fn regulate_partner(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get(&conn.0) else { return };
        let (Some(partner), waiting) = (channel.partner, channel.output.queued) else { return };
        let joined = |source: &&mut Channel| source.partner == Some(conn) && source.port.waits_for_us();
        let Some(source) = self.channels.get_mut(&partner.0).filter(joined) else { return };
        let before = source.inbound;
        source.hold(waiting);
        if source.inbound != before {
            self.looked_at |= source.inbound == Inbound::Reading;
            self.watch_readiness(partner);
        }
    }

    fn limit_output(&mut self, conn: Conn) {
        if let Some(channel) = self.channels.get_mut(&conn.0)
            && channel.output.queued > OUTPUT_LIMIT
        {
            channel.port.reset();
            self.lose(conn, Why::Reset, "nobody took 64 MiB of output");
        }
    }

    /// The quick way: bytes of this pass go straight from the pass buffer.
    fn write_direct(&mut self, conn: Conn) -> Option<std::io::Error> {
        let channel = self.channels.get_mut(&conn.0)?;
        let range = std::mem::take(&mut channel.output.direct);
        if range.is_empty() {
            return None;
        }
        let sequence = channel.output.direct_sequence;
        let issued = self.clock.now();
        let came = channel.output.direct_came;
        let bytes = &self.out[range.clone()];
        let result = if channel.cut { Ok(range.len()) } else { channel.port.forward(issued, bytes, came) };
        let returned = self.clock.now();
        let (written, failure) = match result {
            Ok(written) => (written, None),
            Err(error) if would_block(&error) => (0, None),
            Err(error) => (0, Some(error)),
        };
        if written > 0 {
            let bytes = &self.out[range.start..range.start + written];
            if !channel.cut {
                self.capture.frame(channel.link, conn, Direction::Out, Stamp::between(issued, returned), bytes);
            }
            channel.wrote(returned, written);
            note_sent(&mut self.watch, sequence, issued, returned);
        }
        if written < range.len() && failure.is_none() {
            channel.output.direct = range.start + written..range.end;
            channel.output.settle(&self.out, issued);
            channel.output.blocked = true;
        }
        failure
    }

    /// The queue: what could not be written before, and timed sends one by one.
    fn write_queue(&mut self, conn: Conn) -> Option<std::io::Error> {
        let channel = self.channels.get_mut(&conn.0)?;
        if !channel.output.direct.is_empty() {
            channel.output.settle(&self.out, self.clock.now());
        }
        loop {
            let front = channel.output.queue.front_mut()?;
            let due = front.due(channel.quiet_since);
            let mut issued = self.clock.now();
            if due > issued {
                if due > self.woken_for {
                    return None;
                }
                issued = spin_until(&self.clock, due);
            }
            let timed = front.is_timed();
            self.timed_done += 1;
            if front.written == 0 && front.not_after.is_some_and(|limit| issued > limit) {
                self.fates.push_back((conn, Fate::TooLate { scheduled: due, now: issued }));
                channel.output.queued -= front.bytes.len();
                channel.output.queue.pop_front();
                continue;
            }
            if let Some(command) = front.command.take() {
                channel.output.queue.pop_front();
                let fate = match channel.command(issued, &command) {
                    Ok(()) => timed::done(channel, due, issued, self.clock.now()),
                    Err(error) => Fate::Refused(refusal(&command, &error)),
                };
                self.clocked |= channel.is_clocked();
                self.fates.push_back((conn, fate));
                continue;
            }
            let rest = &front.bytes[front.written..];
            let result = if channel.cut { Ok(rest.len()) } else { channel.port.forward(issued, rest, front.came) };
            let written = match result {
                Ok(written) => written,
                Err(error) if would_block(&error) => {
                    channel.output.blocked = true;
                    return None;
                }
                Err(error) => return Some(error),
            };
            let returned = self.clock.now();
            if !channel.cut {
                let stamp = Stamp::between(issued, returned);
                self.capture.frame(channel.link, conn, Direction::Out, stamp, &rest[..written]);
            }
            if front.written == 0 {
                if timed {
                    note_scheduled(&mut self.watch, front.sequence, due);
                    if self.sends.len() == SENDS_KEPT {
                        self.sends.pop_front();
                    }
                    let run_delay = run_delay::explains(due, issued);
                    let (issued, returned) = (Some(issued), Some(returned));
                    self.sends.push_back(Sent { scheduled: due, issued, returned, run_delay });
                }
                note_sent(&mut self.watch, front.sequence, issued, returned);
                front.begun = front.answered.then_some((due, issued));
            }
            front.written += written;
            let whole = front.written == front.bytes.len();
            let begun = front.begun;
            channel.output.queued -= written;
            channel.wrote(returned, written);
            if !whole {
                channel.output.blocked = true;
                return None;
            }
            channel.output.queue.pop_front();
            channel.output.blocked = false;
            if let Some((due, issued)) = begun {
                self.fates.push_back((conn, timed::done(channel, due, issued, returned)));
            }
        }
    }

    /// Tells the wires in memory that are joined to real ones what of theirs has left there.
    pub(super) fn settle_joined(&mut self) {
        for index in 0..self.joined.len() {
            let (memory, real) = self.joined[index];
            let until = match self.channels.get(&real.0) {
                Some(channel) if !channel.output.is_empty() => continue,
                Some(channel) => channel.sent_until,
                None => Time::ZERO,
            };
            let now = self.clock.now();
            if let Some(channel) = self.channels.get_mut(&memory.0) {
                channel.port.passed_on(now, until.max(now));
            }
        }
    }

    /// A write failed: what came in before is still read; it ends with the reason.
    fn write_failed(&mut self, conn: Conn, error: &std::io::Error) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        channel.output.clear();
        channel.finished = true;
        if error.kind() == std::io::ErrorKind::ConnectionReset {
            channel.broken_off = Some(error.to_string());
        }
        if channel.inbound == Inbound::Held {
            channel.inbound = Inbound::Reading;
        }
        // Who closed it half goes on reading, too.
        channel.closing = channel.closing.take().filter(|how| *how == How::Fin);
        if channel.closing.is_some() || channel.inbound != Inbound::Reading {
            channel.port.reset();
            return self.lose(conn, Why::Reset, &error.to_string());
        }
        channel.closing_limit = None;
        channel.unread = true;
        self.looked_at = true;
    }

    /// The port takes output again.
    pub(super) fn writable(&mut self, conn: Conn) {
        if let Some(channel) = self.channels.get_mut(&conn.0) {
            channel.output.blocked = false;
            self.flush_channel(conn);
        }
    }

    fn finish_close(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        let how = channel.closing.take();
        channel.closing_limit = None;
        channel.port.finish();
        channel.finished = true;
        if how == Some(How::Fin) || channel.inbound == Inbound::Ended {
            // A socket that is closed with bytes unread sends RST, which may overtake what we sent last.
            let since = channel.since;
            for _ in 0..16 {
                let look =
                    Look { clock: &self.clock, since, wait: false, buffer: &mut self.buffer, stamps: &mut self.stamps };
                if !matches!(channel.port.read(look), Read::Bytes(..)) {
                    break;
                }
            }
            self.drop_channel(conn, Why::Local);
        } else {
            self.watch_readiness(conn);
        }
    }

    /// Tells epoll which conditions matter now, if that changed.
    pub(super) fn watch_readiness(&mut self, conn: Conn) {
        let Some(channel) = self.channels.get_mut(&conn.0).filter(|channel| !channel.stalled) else { return };
        let wanted = channel.wanted();
        if wanted != channel.interest
            && let Some(fd) = channel.port.fd()
            && self.epoll.modify(fd, wanted, u64::from(conn.0)).is_ok()
        {
            channel.interest = wanted;
        }
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

/// Why a port does not do something to its line, for people.
fn refusal(command: &LineCommand, error: &std::io::Error) -> String {
    let what = match command {
        LineCommand::Break(_) => "break".to_owned(),
        LineCommand::Rts(_) => "RTS".to_owned(),
        LineCommand::Dtr(_) => "DTR".to_owned(),
        LineCommand::Settings(settings) => settings.to_string(),
    };
    match error.kind() {
        std::io::ErrorKind::Unsupported if error.get_ref().is_none() => format!("this kind of port has no {what}"),
        _ => format!("{what}: {error}"),
    }
}

fn note_sent(watch: &mut Watch, sequence: u64, issued: Time, returned: Time) {
    if let Watch::On(watched, _, sent) = watch
        && *watched == sequence
    {
        sent.issued = Some(issued);
        sent.returned = Some(returned);
    }
}

fn note_scheduled(watch: &mut Watch, sequence: u64, due: Time) {
    if let Watch::On(watched, _, sent) = watch
        && *watched == sequence
    {
        sent.scheduled = due;
    }
}
