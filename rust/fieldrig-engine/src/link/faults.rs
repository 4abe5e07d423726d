//! Byte faults of one direction: what is lost, changed, doubled, held back.
//!
//! Rules of this file:
//! - Each byte is one opportunity for each fault, in the order in which the faults were set; how the bytes came in chunks
//!   makes no difference, so a run with the same seed and the same bytes is disturbed in the same places.
//! - Order is kept: what is held back holds up what follows.

use fieldrig_proto::fault::{Chance, Schedule, Trigger};
use fieldrig_proto::time::{Duration, Time};

/// A direction of a bridge.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the left side to the right one.
    Forth,
    /// From the right side to the left one.
    Back,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::Forth, Way::Back];

    pub(super) fn index(self) -> usize {
        match self {
            Way::Forth => 0,
            Way::Back => 1,
        }
    }

    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Way::Forth => "forth",
            Way::Back => "back",
        }
    }
}

/// What happens to a byte.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Disturbance {
    /// It is lost. On a connection TCP sends it again: what follows waits for [`Disturbance::RETRANSMISSION`].
    Drop,
    /// It becomes another byte.
    Corrupt,
    /// It comes twice. Not on a connection, where TCP takes doubles out.
    Duplicate,
    /// It comes later, and what follows not before it.
    Delay(Duration),
    /// It and everything after it is lost until the fault is cleared. A connection is broken off.
    Cut,
}

impl Disturbance {
    /// How long a connection stands still when a segment is lost: the shortest time-out of Linux.
    pub const RETRANSMISSION: Duration = Duration::from_millis(200);

    /// Its name in files and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Disturbance::Drop => "drop",
            Disturbance::Corrupt => "corrupt",
            Disturbance::Duplicate => "duplicate",
            Disturbance::Delay(_) => "delay",
            Disturbance::Cut => "cut",
        }
    }
}

/// A fault: what, and when it strikes, counted in bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct ByteFault {
    /// What happens.
    pub what: Disturbance,
    /// To which bytes.
    pub schedule: Schedule,
}

/// Why a fault cannot be set.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum FaultError {
    /// A connection has none.
    #[error("`duplicate` is for wires: on a connection TCP takes doubles out")]
    NoDoubles,
    /// A probability is 0 to 1.
    #[error("p is 0 to 1, not {0}")]
    Probability(f64),
}

/// What a fault did to one chunk.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Strike {
    pub(super) fault: u64,
    pub(super) what: Disturbance,
    /// Where the first of them stands among all bytes of this direction.
    pub(super) offset: u64,
    /// The bytes as they were.
    pub(super) bytes: Vec<u8>,
}

/// What is left of a chunk.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Pieces in order, each with the time for which it is held back.
    pub(super) pieces: Vec<(Vec<u8>, Duration)>,
    pub(super) strikes: Vec<Strike>,
    /// The direction was cut within this chunk.
    pub(super) cut: bool,
}

#[derive(Debug)]
struct Active {
    id: u64,
    what: Disturbance,
    trigger: Trigger,
    chance: Chance,
}

/// The faults of one direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    faults: Vec<Active>,
    /// Bytes that came so far.
    seen: u64,
    /// The fault that cut it.
    cut_by: Option<u64>,
}

impl Lane {
    pub(super) fn add(&mut self, id: u64, fault: ByteFault, seed: u64) {
        let ByteFault { what, schedule } = fault;
        let seed = seed.wrapping_add(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (trigger, chance) = (Trigger::new(schedule, seed), Chance::seeded(!seed));
        self.faults.push(Active { id, what, trigger, chance });
    }

    /// Takes a fault away; how often it struck, if it was there.
    pub(super) fn clear(&mut self, id: u64) -> Option<u64> {
        let index = self.faults.iter().position(|fault| fault.id == id)?;
        if self.cut_by == Some(id) {
            self.cut_by = None;
        }
        Some(self.faults.remove(index).trigger.struck())
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.faults.iter().map(|fault| fault.id).collect()
    }

    /// `connection`: a lost byte is late instead.
    pub(super) fn pass(&mut self, now: Time, bytes: &[u8], connection: bool) -> Passed {
        let mut passed = Passed::default();
        if self.faults.is_empty() {
            passed.pieces.push((bytes.to_vec(), Duration::ZERO));
            self.seen += bytes.len() as u64;
            return passed;
        }
        for byte in bytes {
            self.pass_byte(now, *byte, connection, &mut passed);
        }
        passed
    }

    fn pass_byte(&mut self, now: Time, byte: u8, connection: bool, passed: &mut Passed) {
        let offset = self.seen;
        self.seen += 1;
        if self.cut_by.is_some() {
            return;
        }
        let (mut value, mut copies, mut held) = (byte, 1, Duration::ZERO);
        for fault in &mut self.faults {
            if !fault.trigger.strikes(now) {
                continue;
            }
            passed.note(fault.id, fault.what, offset, byte);
            match fault.what {
                Disturbance::Drop if connection => held = held.max(Disturbance::RETRANSMISSION),
                Disturbance::Drop => copies = 0,
                Disturbance::Corrupt => value ^= 1 + fault.chance.below(255) as u8,
                Disturbance::Duplicate => copies *= 2,
                Disturbance::Delay(length) => held += length,
                Disturbance::Cut => {
                    self.cut_by = Some(fault.id);
                    passed.cut = true;
                    return;
                }
            }
        }
        for _ in 0..copies {
            passed.push(value, held);
        }
    }
}

impl Passed {
    fn push(&mut self, byte: u8, held: Duration) {
        match self.pieces.last_mut() {
            Some((piece, same)) if *same == held => piece.push(byte),
            _ => self.pieces.push((vec![byte], held)),
        }
    }

    fn note(&mut self, fault: u64, what: Disturbance, offset: u64, byte: u8) {
        match self.strikes.iter_mut().find(|strike| strike.fault == fault) {
            Some(strike) => strike.bytes.push(byte),
            None => self.strikes.push(Strike { fault, what, offset, bytes: vec![byte] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(faults: &[(Disturbance, Schedule)]) -> Lane {
        let mut lane = Lane::default();
        for (index, (what, schedule)) in faults.iter().enumerate() {
            lane.add(index as u64, ByteFault { what: *what, schedule: schedule.clone() }, 7);
        }
        lane
    }

    fn after(after: u64, count: u64) -> Schedule {
        Schedule { after, count: Some(count), ..Schedule::default() }
    }

    fn joined(passed: &Passed) -> Vec<u8> {
        passed.pieces.iter().flat_map(|(piece, _)| piece.clone()).collect()
    }

    #[test]
    fn each_does_what_its_name_says() {
        let length = Duration::from_millis(5);
        for (what, expected) in [
            (Disturbance::Drop, b"0145".as_slice()),
            (Disturbance::Duplicate, b"01223345"),
            (Disturbance::Delay(length), b"012345"),
            (Disturbance::Cut, b"01"),
        ] {
            let passed = lane(&[(what, after(2, 2))]).pass(Time::ZERO, b"012345", false);
            assert_eq!(joined(&passed), expected, "{what:?}");
            assert_eq!(passed.strikes[0].offset, 2, "{what:?}");
        }
        let passed = lane(&[(Disturbance::Delay(length), after(2, 2))]).pass(Time::ZERO, b"012345", false);
        let expected = [(b"01".to_vec(), Duration::ZERO), (b"23".to_vec(), length), (b"45".to_vec(), Duration::ZERO)];
        assert_eq!(passed.pieces, expected);
        let passed = lane(&[(Disturbance::Corrupt, after(2, 2))]).pass(Time::ZERO, b"012345", false);
        let bytes = joined(&passed);
        assert_eq!((bytes.len(), &bytes[..2], &bytes[4..]), (6, b"01".as_slice(), b"45".as_slice()));
        assert!(bytes[2] != b'2' && bytes[3] != b'3');
    }

    #[test]
    fn chunks_make_no_difference_and_seeds_do() {
        let some = Schedule { probability: 0.3, ..Schedule::default() };
        let faults = [(Disturbance::Drop, some.clone()), (Disturbance::Corrupt, some)];
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = joined(&lane(&faults).pass(Time::ZERO, &bytes, false));
        let mut pieces = lane(&faults);
        let parts: Vec<u8> = bytes.chunks(7).flat_map(|part| joined(&pieces.pass(Time::ZERO, part, false))).collect();
        assert_eq!(whole, parts);
        let mut other = Lane::default();
        for (index, (what, schedule)) in faults.iter().enumerate() {
            other.add(index as u64, ByteFault { what: *what, schedule: schedule.clone() }, 8);
        }
        assert_ne!(joined(&other.pass(Time::ZERO, &bytes, false)), whole);
    }

    #[test]
    fn a_cut_ends_when_it_is_cleared() {
        let mut lane = lane(&[(Disturbance::Cut, after(1, 1))]);
        assert_eq!(joined(&lane.pass(Time::ZERO, b"abc", false)), b"a");
        assert!(lane.pass(Time::ZERO, b"def", false).pieces.is_empty());
        assert_eq!(lane.clear(0), Some(1));
        assert_eq!(joined(&lane.pass(Time::ZERO, b"ghi", false)), b"ghi");
        assert_eq!(lane.clear(0), None);
    }

    #[test]
    fn a_connection_loses_time_not_bytes() {
        let passed = lane(&[(Disturbance::Drop, after(2, 1))]).pass(Time::ZERO, b"012345", true);
        assert_eq!(joined(&passed), b"012345");
        assert_eq!(passed.pieces[1], (b"2".to_vec(), Disturbance::RETRANSMISSION));
    }
}
