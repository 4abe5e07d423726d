//! A wire in memory: two ends, exact stamps, optionally the speed of a real line.
//!
//! With line settings each byte arrives when its last bit would have, one character time after the one before it;
//! without, all bytes arrive at the instant they were written. What arrives is known as soon as it is written
//! ([`Port::next_arrival`]), so both real and virtual time deliver it at the instant it is due.

use super::{Arrival, Look, Port, Read};
use crate::drive::sys::Kick;
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes one direction holds before the writer has to wait.
const CAPACITY: usize = 1 << 20;

/// Two joined ends. With `settings`, bytes take the time they would take on a line.
#[must_use]
pub fn memory_pair(settings: Option<LineSettings>) -> (MemoryEnd, MemoryEnd) {
    let wire = Arc::new(Wire { settings, lanes: Default::default() });
    (MemoryEnd { wire: Arc::clone(&wire), side: 0 }, MemoryEnd { wire, side: 1 })
}

/// One end of a wire in memory. It is opened by binding it to a node; clones are the same end.
#[derive(Clone)]
pub struct MemoryEnd {
    wire: Arc<Wire>,
    side: usize,
}

impl MemoryEnd {
    /// The line it stands for, if it has a speed.
    #[must_use]
    pub fn settings(&self) -> Option<LineSettings> {
        self.wire.settings
    }

    pub(crate) fn open(self) -> MemoryPort {
        self.wire.lane(self.side).reader_open = true;
        MemoryPort { end: self, failed: None, blocked: false }
    }
}

impl std::fmt::Debug for MemoryEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryEnd").field("side", &self.side).finish_non_exhaustive()
    }
}

struct Wire {
    settings: Option<LineSettings>,
    /// `lanes[side]` is what that side will read.
    lanes: [Mutex<Lane>; 2],
}

impl Wire {
    fn lane(&self, side: usize) -> MutexGuard<'_, Lane> {
        self.lanes[side].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Lane {
    items: VecDeque<(Time, Item)>,
    busy_until: Time,
    reader: Option<Arc<Kick>>,
    reader_open: bool,
    /// The writer went away; nothing follows what is queued.
    ended: Option<Why>,
}

enum Item {
    Byte(u8),
    Line(LineEvent),
}

/// An open end.
pub(crate) struct MemoryPort {
    end: MemoryEnd,
    failed: Option<Why>,
    /// The other end had no room for what we wrote last.
    blocked: bool,
}

impl MemoryPort {
    fn incoming(&self) -> MutexGuard<'_, Lane> {
        self.end.wire.lane(self.end.side)
    }

    fn outgoing(&self) -> MutexGuard<'_, Lane> {
        self.end.wire.lane(1 - self.end.side)
    }

    fn character_time(&self) -> Duration {
        self.end.wire.settings.map_or(Duration::ZERO, |settings| settings.character_time())
    }
}

impl Port for MemoryPort {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let now = look.clock.now();
        let mut lane = self.incoming();
        let mut count = 0;
        while count < look.buffer.len() {
            match lane.items.front() {
                Some((due, Item::Byte(byte))) if *due <= now => {
                    look.buffer[count] = *byte;
                    look.stamps.push(Stamp::exact(*due));
                    count += 1;
                    lane.items.pop_front();
                }
                Some((due, Item::Line(_))) if *due <= now && count == 0 => {
                    let Some((due, Item::Line(event))) = lane.items.pop_front() else { break };
                    return Read::Line(event, Arrival::Together(Stamp::exact(due)));
                }
                _ => break,
            }
        }
        if count > 0 {
            let full = lane.items.len() + count >= CAPACITY;
            drop(lane);
            if full {
                // The writer may be waiting for room.
                if let Some(kick) = &self.outgoing().reader {
                    kick.kick();
                }
            }
            return Read::Bytes(count, Arrival::PerByte);
        }
        match lane.ended.as_ref().filter(|_| lane.items.is_empty()) {
            None => Read::Nothing,
            Some(Why::Reset) => Read::Reset("the other end broke it off".to_owned()),
            Some(Why::Finished) => Read::Finished,
            Some(_) => Read::HungUp("the other end was closed".to_owned()),
        }
    }

    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Ok(bytes.len());
        }
        let step = self.character_time();
        let mut lane = self.outgoing();
        let room = CAPACITY.saturating_sub(lane.items.len());
        if room == 0 {
            drop(lane);
            self.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = room.min(bytes.len());
        let mut due = lane.busy_until.max(now);
        for byte in &bytes[..count] {
            due = due + step;
            lane.items.push_back((due, Item::Byte(*byte)));
        }
        lane.busy_until = due;
        if let Some(kick) = &lane.reader {
            kick.kick();
        }
        drop(lane);
        self.blocked = count < bytes.len();
        Ok(count)
    }

    fn next_room(&self) -> Option<Time> {
        (self.blocked && self.outgoing().items.len() <= CAPACITY / 2).then_some(Time::ZERO)
    }

    fn finish(&mut self) {
        self.close_with(Why::Finished);
    }

    fn reset(&mut self) {
        self.close_with(Why::Reset);
    }

    fn close_with(&mut self, why: Why) {
        self.failed = Some(why.clone());
        let mut lane = self.outgoing();
        lane.ended.get_or_insert(why);
        if let Some(kick) = &lane.reader {
            kick.kick();
        }
    }

    fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        let event = match command {
            LineCommand::Break(_) => LineEvent::Break,
            LineCommand::Settings(settings) => LineEvent::Settings(*settings),
            // Crossed as in a null modem: our RTS is their CTS, our DTR their DSR and DCD.
            LineCommand::Rts(on) => LineEvent::Modem { cts: *on, dsr: true, ri: false, dcd: true },
            LineCommand::Dtr(on) => LineEvent::Modem { cts: true, dsr: *on, ri: false, dcd: *on },
        };
        let mut lane = self.outgoing();
        let mut due = lane.busy_until.max(now);
        if let LineCommand::Break(length) = command {
            due = due + *length;
            lane.busy_until = due;
        }
        lane.items.push_back((due, Item::Line(event)));
        if let Some(kick) = &lane.reader {
            kick.kick();
        }
        Ok(())
    }

    fn next_arrival(&self) -> Option<Time> {
        let lane = self.incoming();
        lane.items.front().map(|(due, _)| *due).or_else(|| lane.ended.as_ref().map(|_| lane.busy_until))
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        self.character_time() * u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn attach(&mut self, kick: Arc<Kick>) {
        // Also wakes this end when the other makes room: a writer watches its own reader's kick.
        kick.kick();
        self.incoming().reader = Some(kick);
    }
}

impl Drop for MemoryPort {
    fn drop(&mut self) {
        self.close_with(Why::HungUp);
        self.incoming().reader = None;
    }
}
