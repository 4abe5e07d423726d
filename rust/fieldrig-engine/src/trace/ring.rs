//! The ring between the threads that see traffic and the writer: one per link, bounded, blocking, never dropping.
//!
//! It is a pair of buffers: senders append to one under a lock that is nearly always free, the writer swaps it for an
//! empty one. A frame is a header of 24 octets (earliest, latest, connection, length with the direction in its top bit)
//! followed by its bytes.

use fieldrig_proto::dissect::Direction;
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::time::{Stamp, Time};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const HEADER: usize = 24;
const OUT: u32 = 1 << 31;
/// Longer chunks are cut; no port reads or writes so much at once.
const LONGEST: usize = 1 << 30;

/// One chunk.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) conn: Conn,
    pub(super) direction: Direction,
    pub(super) stamp: Stamp,
    pub(super) bytes: &'a [u8],
}

/// What became of a push.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// The ring was empty: the writer may be asleep.
    First,
    /// The ring had frames already.
    More,
    /// The ring is closed; the frame was not taken.
    Closed,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    closed: bool,
}

pub(super) struct Ring {
    state: Mutex<State>,
    space: Condvar,
    capacity: usize,
    waits: AtomicU64,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Ring {
        Ring { state: Mutex::default(), space: Condvar::new(), capacity, waits: AtomicU64::new(0) }
    }

    /// Whether a frame of this length could be pushed at this moment without waiting.
    pub(super) fn fits(&self, length: usize) -> bool {
        !self.is_full(&self.lock(), length)
    }

    /// Appends a frame; waits while there is no room, having called `hurry` once. A frame larger than the whole ring
    /// is taken when the ring is empty.
    pub(super) fn push(&self, frame: &Frame<'_>, hurry: impl FnOnce()) -> Pushed {
        let bytes = &frame.bytes[..frame.bytes.len().min(LONGEST)];
        let mut state = self.lock();
        if self.is_full(&state, bytes.len()) {
            self.waits.fetch_add(1, Ordering::Relaxed);
            hurry();
            while self.is_full(&state, bytes.len()) {
                state = self.space.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.closed {
            return Pushed::Closed;
        }
        let first = state.buffer.is_empty();
        state.buffer.reserve(HEADER + bytes.len());
        state.buffer.extend_from_slice(&header(frame, bytes.len()));
        state.buffer.extend_from_slice(bytes);
        if first { Pushed::First } else { Pushed::More }
    }

    /// Swaps all frames into `into`, which must be empty, and lets waiting senders go on.
    pub(super) fn drain(&self, into: &mut Vec<u8>) {
        std::mem::swap(&mut self.lock().buffer, into);
        self.space.notify_all();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().buffer.is_empty()
    }

    /// Takes no more frames; senders that wait go on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.space.notify_all();
    }

    /// How often a sender had to wait.
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    fn is_full(&self, state: &State, length: usize) -> bool {
        let used = state.buffer.len();
        !state.closed && used > 0 && used + HEADER + length > self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn header(frame: &Frame<'_>, length: usize) -> [u8; HEADER] {
    let out = if frame.direction == Direction::Out { OUT } else { 0 };
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&frame.stamp.earliest().as_nanos().to_le_bytes());
    header[8..16].copy_from_slice(&frame.stamp.latest().as_nanos().to_le_bytes());
    header[16..20].copy_from_slice(&frame.conn.0.to_le_bytes());
    header[20..].copy_from_slice(&(length as u32 | out).to_le_bytes());
    header
}

/// The frames of a drained buffer, oldest first.
pub(super) fn frames(mut buffer: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let (earliest, rest) = buffer.split_first_chunk::<8>()?;
        let (latest, rest) = rest.split_first_chunk::<8>()?;
        let (conn, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        let (bytes, rest) = rest.split_at_checked((length & !OUT) as usize)?;
        buffer = rest;
        let time = |octets: &[u8; 8]| Time::from_nanos(u64::from_le_bytes(*octets));
        Some(Frame {
            conn: Conn(u32::from_le_bytes(*conn)),
            direction: if length & OUT == 0 { Direction::In } else { Direction::Out },
            stamp: Stamp::between(time(earliest), time(latest)),
            bytes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn frame(number: u32, bytes: &[u8]) -> Frame<'_> {
        let stamp = Stamp::between(Time::from_nanos(u64::from(number)), Time::from_nanos(u64::from(number) + 5));
        Frame { conn: Conn(number), direction: Direction::Out, stamp, bytes }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let ring = Ring::new(1000);
        let received = Frame { direction: Direction::In, ..frame(2, b"") };
        assert_eq!(ring.push(&frame(1, b"abc"), || ()), Pushed::First);
        assert_eq!(ring.push(&received, || ()), Pushed::More);
        let mut buffer = Vec::new();
        ring.drain(&mut buffer);
        assert_eq!(frames(&buffer).collect::<Vec<_>>(), [frame(1, b"abc"), received]);
        assert!(ring.is_empty());
    }

    #[test]
    fn a_full_ring_blocks_its_sender_and_counts_the_wait() {
        let ring = Ring::new(64);
        let (hurried, sender_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                ring.push(&frame(1, &[1; 30]), || ());
                ring.push(&frame(2, &[2; 30]), move || hurried.send(()).unwrap())
            });
            sender_waits.recv().unwrap();
            let mut buffer = Vec::new();
            ring.drain(&mut buffer);
            assert_eq!(frames(&buffer).map(|frame| frame.conn.0).collect::<Vec<_>>(), [1]);
            assert_eq!(sender.join().unwrap(), Pushed::First);
        });
        assert_eq!(ring.waits(), 1);
        let mut buffer = Vec::new();
        ring.drain(&mut buffer);
        assert_eq!(frames(&buffer).map(|frame| frame.conn.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_closed_ring_refuses_and_frees_its_senders() {
        let ring = Ring::new(64);
        let (hurried, sender_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                ring.push(&frame(1, &[1; 60]), || ());
                ring.push(&frame(2, &[2; 60]), move || hurried.send(()).unwrap())
            });
            sender_waits.recv().unwrap();
            ring.close();
            assert_eq!(sender.join().unwrap(), Pushed::Closed);
        });
    }

    #[test]
    fn a_torn_buffer_ends_the_frames() {
        assert_eq!(frames(&[1; 23]).count(), 0);
        assert_eq!(frames(&[0xff; 30]).count(), 0);
    }
}
