//! A connection in memory: two joined ends of a stream, with exact stamps, or those of bytes that were forwarded.
//!
//! Rules of this file:
//! - What is written arrives one nanosecond later: in no time that anybody could measure, and yet surely after what caused
//!   it and before what it causes. On virtual time every order is therefore known.
//! - It ends as TCP does: an end that is finished can still be read from, one that is dropped without being finished breaks
//!   the connection off, and writing to an end that is gone fails.
//! - An end holds [`CAPACITY`] bytes for a reader; then the writer waits ([`Port::next_room`]).

use super::{Arrival, Look, Port, Read};
use crate::drive::sys::Kick;
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes one direction holds before the writer has to wait.
const CAPACITY: usize = 1 << 20;
const AT_ONCE: Duration = Duration::from_nanos(1);

/// Two joined ends.
pub(crate) fn pipe() -> (Pipe, Pipe) {
    let lanes: Arc<[Mutex<Lane>; 2]> = Arc::default();
    let end = |side| Pipe { lanes: Arc::clone(&lanes), side, blocked: false, over: false };
    (end(0), end(1))
}

/// One end.
pub(crate) struct Pipe {
    /// `lanes[side]` is what that side will read.
    lanes: Arc<[Mutex<Lane>; 2]>,
    side: usize,
    /// The other end had no room for what we wrote last.
    blocked: bool,
    /// We said that nothing more follows.
    over: bool,
}

#[derive(Default)]
struct Lane {
    chunks: VecDeque<(Stamp, Vec<u8>)>,
    /// How much of the first chunk was read.
    read: usize,
    /// Bytes that wait.
    size: usize,
    /// When the last chunk arrives.
    last: Time,
    /// Nothing follows what waits.
    ended: Option<Why>,
    reader: Option<Arc<Kick>>,
    reader_gone: bool,
}

impl Lane {
    fn tell_reader(&self) {
        if let Some(kick) = &self.reader {
            kick.kick();
        }
    }

    /// Takes what has arrived by `now` from the first chunk.
    fn take(&mut self, now: Time, buffer: &mut [u8]) -> Option<(usize, Stamp)> {
        let (stamp, chunk) = self.chunks.front()?;
        let stamp = *stamp;
        if stamp.latest() > now {
            return None;
        }
        let rest = &chunk[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.size -= count;
        self.read += count;
        if self.read == chunk.len() {
            self.chunks.pop_front();
            self.read = 0;
        }
        Some((count, stamp))
    }
}

impl Pipe {
    fn lane(&self, side: usize) -> MutexGuard<'_, Lane> {
        self.lanes[side].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn incoming(&self) -> MutexGuard<'_, Lane> {
        self.lane(self.side)
    }

    fn outgoing(&self) -> MutexGuard<'_, Lane> {
        self.lane(1 - self.side)
    }

    fn end(&mut self, why: Why) {
        self.over = true;
        let mut lane = self.outgoing();
        if why == Why::Reset {
            lane.chunks.clear();
            lane.read = 0;
            lane.size = 0;
            lane.ended = Some(why);
        } else {
            lane.ended.get_or_insert(why);
        }
        lane.tell_reader();
    }
}

impl Port for Pipe {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let mut lane = self.incoming();
        let full = lane.size >= CAPACITY;
        if let Some((count, stamp)) = lane.take(look.clock.now(), look.buffer) {
            drop(lane);
            if full {
                // The writer may be waiting for room: its own reader's kick wakes it.
                self.outgoing().tell_reader();
            }
            return Read::Bytes(count, Arrival::Together(stamp));
        }
        match lane.ended.as_ref().filter(|_| lane.chunks.is_empty()) {
            None => Read::Nothing,
            Some(Why::Finished) => Read::Finished,
            Some(_) => Read::Reset("the other side broke it off".to_owned()),
        }
    }

    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize> {
        self.forward(now, bytes, None)
    }

    fn forward(&mut self, now: Time, bytes: &[u8], came: Option<Time>) -> io::Result<usize> {
        let mut lane = self.outgoing();
        if lane.reader_gone || self.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = CAPACITY.saturating_sub(lane.size).min(bytes.len());
        let due = lane.last.max(now + AT_ONCE);
        if count > 0 {
            lane.last = due;
            lane.size += count;
            let stamp = Stamp::between(came.unwrap_or(due).min(due), due);
            lane.chunks.push_back((stamp, bytes[..count].to_vec()));
            lane.tell_reader();
        }
        drop(lane);
        self.blocked = count < bytes.len();
        if count == 0 && self.blocked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn finish(&mut self) {
        self.end(Why::Finished);
    }

    fn reset(&mut self) {
        self.end(Why::Reset);
    }

    fn next_arrival(&self) -> Option<Time> {
        let lane = self.incoming();
        let first = lane.chunks.front().map(|(stamp, _)| stamp.latest());
        first.or_else(|| lane.ended.as_ref().map(|_| lane.last))
    }

    fn next_room(&self) -> Option<Time> {
        let roomy = |lane: MutexGuard<'_, Lane>| lane.size <= CAPACITY / 2 || lane.reader_gone;
        (self.blocked && roomy(self.outgoing())).then_some(Time::ZERO)
    }

    fn attach(&mut self, kick: Arc<Kick>) {
        kick.kick();
        self.incoming().reader = Some(kick);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if !self.over {
            self.end(Why::Reset);
        }
        let mut lane = self.incoming();
        lane.reader = None;
        lane.reader_gone = true;
        lane.chunks.clear();
        lane.size = 0;
        drop(lane);
        // Who waits for room learns that there is nobody.
        self.outgoing().tell_reader();
    }
}
