//! The bytes that a stream keeps: the newest in memory, older ones where a [`Spill`] puts them, or nowhere.
//!
//! Rules of this file:
//! - Bytes have offsets that never change. Memory holds the newest of them; older ones move to the spill in large blocks.
//! - Without a spill, or when it fails, older bytes are dropped, and whoever asks for them is told how many, and why.
//! - Stamps go the same way as the bytes that they belong to: a run of equal stamps is one entry.

use super::stream::StreamError;
use crate::time::{Stamp, Time};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

/// Stretches of equal stamps that are kept in memory; where every byte has its own, this is a limit on bytes.
const RUNS: usize = 1024 * 1024;
/// So much more than may be kept comes before the oldest bytes are moved to the spill.
const BLOCK: usize = 256 * 1024;
/// A run in the spill: offset, earliest, latest.
const RECORD: usize = 24;

/// A place for what does not fit into memory: bytes are appended, and read again where they stand.
pub trait Spill: Send {
    /// Appends bytes behind all that were appended before.
    ///
    /// # Errors
    /// Why it cannot: the disk is full, for example. Nothing is appended any more then.
    fn append(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Fills `into` with the bytes from position `at` on; they were all appended before.
    ///
    /// # Errors
    /// Why it cannot.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), String>;
}

/// The two places that a stream spills into.
pub struct Spills {
    /// For bytes.
    pub bytes: Box<dyn Spill>,
    /// For stamps.
    pub stamps: Box<dyn Spill>,
}

/// The bytes that were received, with their stamps.
pub(super) struct Buffer {
    capacity: usize,
    /// Bytes in memory are `memory[head..]`; what lies before is dropped when it is worth the copy.
    memory: Vec<u8>,
    head: usize,
    /// Offset of `memory[head]`.
    start: u64,
    /// From this offset on, bytes have this stamp.
    runs: VecDeque<(u64, Stamp)>,
    spilled_runs: u64,
    spills: Option<Spills>,
    /// Offset of the oldest byte that can be had.
    floor: u64,
    why_lost: Option<String>,
}

impl Buffer {
    pub(super) fn new(capacity: usize, spills: Option<Spills>) -> Buffer {
        Buffer {
            capacity,
            memory: Vec::new(),
            head: 0,
            start: 0,
            runs: VecDeque::new(),
            spilled_runs: 0,
            spills,
            floor: 0,
            why_lost: None,
        }
    }

    /// Offset of the oldest byte that can be had.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Offset of the next byte.
    pub(super) fn end(&self) -> u64 {
        self.start + (self.memory.len() - self.head) as u64
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.memory.capacity() + self.runs.capacity() * size_of::<(u64, Stamp)>()
    }

    /// A byte that comes next has this stamp.
    pub(super) fn stamp_next(&mut self, offset: u64, stamp: Stamp) {
        if self.runs.back().is_none_or(|(_, last)| *last != stamp) {
            self.runs.push_back((offset, stamp));
        }
    }

    /// Takes bytes whose stamps were told before.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
        self.trim();
    }

    /// The bytes from `from` on, at most `limit`; empty if there are none yet.
    pub(super) fn read(&self, from: u64, limit: usize) -> Result<Cow<'_, [u8]>, StreamError> {
        if from < self.floor {
            return Err(self.lost(from));
        }
        let kept = &self.memory[self.head..];
        if from >= self.start {
            let kept = kept.get(index(from - self.start)..).unwrap_or_default();
            return Ok(Cow::Borrowed(&kept[..kept.len().min(limit)]));
        }
        let spilled = index(self.start - from).min(limit);
        let mut bytes = vec![0; spilled];
        let read = |spills: &Spills| spills.bytes.read(from, &mut bytes);
        self.spills.as_ref().map_or(Ok(()), read).map_err(StreamError::Spill)?;
        bytes.extend_from_slice(&kept[..kept.len().min(limit - spilled)]);
        Ok(Cow::Owned(bytes))
    }

    /// When the byte at this offset arrived, if it can be had.
    pub(super) fn stamp(&self, offset: u64) -> Option<Stamp> {
        if offset < self.floor || offset >= self.end() {
            return None;
        }
        let after = self.first_run(|(from, _)| from > offset);
        self.run(after.checked_sub(1)?).map(|(_, stamp)| stamp)
    }

    /// Stamps of the bytes in `range`: each holds from its offset up to the next one's.
    pub(super) fn stamps(&self, range: Range<u64>) -> Vec<(u64, Stamp)> {
        let from = range.start.max(self.floor);
        let first = self.first_run(|(start, _)| start > from).saturating_sub(1);
        let runs = (first..self.run_count()).map_while(|number| self.run(number));
        runs.take_while(|(start, _)| *start < range.end).map(|(start, stamp)| (start.max(from), stamp)).collect()
    }

    /// The offset of the first byte that may have come after an instant, and of the first that surely did; where there
    /// is none yet, the offset of the next byte.
    pub(super) fn after(&self, instant: Stamp) -> (u64, u64) {
        let offset = |number: u64| self.run(number).map_or(self.end(), |(offset, _)| offset.max(self.floor));
        let perhaps = self.first_run(|(_, stamp)| stamp.latest() >= instant.earliest());
        let surely = self.first_run(|(_, stamp)| stamp.earliest() > instant.latest());
        (offset(perhaps), offset(surely))
    }

    pub(super) fn lost(&self, from: u64) -> StreamError {
        let why = self.why_lost.as_ref().map_or_else(String::new, |why| format!("; {why}"));
        StreamError::Lost { from, lost: self.floor - from, capacity: self.capacity, why }
    }

    fn run_count(&self) -> u64 {
        self.spilled_runs + self.runs.len() as u64
    }

    fn run(&self, number: u64) -> Option<(u64, Stamp)> {
        if let Some(kept) = number.checked_sub(self.spilled_runs) {
            return self.runs.get(index(kept)).copied();
        }
        let mut record = [0; RECORD];
        self.spills.as_ref()?.stamps.read(number * RECORD as u64, &mut record).ok()?;
        let mut words = record.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let (offset, earliest, latest) = (words.next()?, words.next()?, words.next()?);
        Some((offset, Stamp::between(Time::from_nanos(earliest), Time::from_nanos(latest))))
    }

    /// The number of the first run of which `is_behind` holds; it holds of all runs behind that one, too.
    fn first_run(&self, is_behind: impl Fn((u64, Stamp)) -> bool) -> u64 {
        // Mostly it is among those in memory.
        let kept = self.runs.partition_point(|run| !is_behind(*run)) as u64;
        let (mut low, mut high) = (0, if kept == 0 { self.spilled_runs } else { 0 });
        while low < high {
            let middle = low + (high - low) / 2;
            if self.run(middle).is_none_or(&is_behind) { high = middle } else { low = middle + 1 }
        }
        if kept == 0 { low } else { self.spilled_runs + kept }
    }

    /// Moves or drops what is more than may be kept in memory.
    fn trim(&mut self) {
        let slack = if self.spills.is_some() { BLOCK.min(self.capacity) } else { 0 };
        let kept = self.memory.len() - self.head;
        let too_many = if kept > self.capacity + slack { kept - self.capacity } else { 0 };
        let mut start = self.start + too_many as u64;
        if let Some(first_kept) = self.runs.len().checked_sub(RUNS).filter(|over| *over > 0) {
            // Half of them at once, so that this is rare.
            start = start.max(self.runs[first_kept + RUNS / 2].0);
        }
        let count = index(start - self.start);
        if count == 0 {
            return;
        }
        let runs = self.runs.iter().skip(1).take_while(|(next, _)| *next <= start).count();
        if let Err(why) = self.spill(count, runs) {
            self.why_lost = Some(format!("those before went to a file until that failed: {why}"));
            self.spills = None;
            self.spilled_runs = 0;
        }
        self.head += count;
        self.start = start;
        self.runs.drain(..runs);
        if self.spills.is_none() {
            self.floor = start;
        }
        // Copies at most as much as was dropped since the last time: constant cost for each byte.
        if self.head > self.memory.len() / 2 && self.head >= 4096 {
            self.memory.drain(..self.head);
            self.head = 0;
        }
    }

    fn spill(&mut self, bytes: usize, runs: usize) -> Result<(), String> {
        let Some(spills) = &mut self.spills else { return Ok(()) };
        let mut records = Vec::with_capacity(runs * RECORD);
        for (offset, stamp) in self.runs.iter().take(runs) {
            for word in [*offset, stamp.earliest().as_nanos(), stamp.latest().as_nanos()] {
                records.extend_from_slice(&word.to_le_bytes());
            }
        }
        spills.stamps.append(&records)?;
        spills.bytes.append(&self.memory[self.head..self.head + bytes])?;
        self.spilled_runs += runs as u64;
        Ok(())
    }
}

pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
