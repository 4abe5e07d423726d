//! Byte faults of one direction: what is lost, changed, doubled, held back, or no byte any more.
//!
//! Rules of this file:
//! - Each byte is one opportunity for each fault (each bit of it for [`Disturbance::Bits`]), in the order in which the
//!   faults were set; how the bytes came in chunks makes no difference, so a run with the same seed and the same bytes is
//!   disturbed in the same places.
//! - Order is kept: what is held back holds up what follows.
//! - What only a line has (parity, framing, overruns, breaks, a short) strikes on wires in memory; what passes a bridge
//!   between two ports is bytes.

use fieldrig_proto::fault::{Chance, Schedule, Trigger};
use fieldrig_proto::line::uart::Character;
use fieldrig_proto::line::{LineSettings, Parity};
use fieldrig_proto::time::{Duration, Time};

/// A direction of a bridge or a wire.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the left side to the right one; on a wire, from who asks.
    Forth,
    /// From the right side to the left one; on a wire, from who answers.
    Back,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::Forth, Way::Back];

    pub(crate) fn index(self) -> usize {
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
    /// A bit of it is turned over: data, parity or stop bit of a line, data elsewhere. Counted in bits.
    Bits,
    /// It comes twice. Not on a connection, where TCP takes doubles out.
    Duplicate,
    /// It comes later, and what follows not before it: a gap between two bytes.
    Delay(Duration),
    /// It comes later by a time of chance up to this, and what follows not before it.
    Jitter(Duration),
    /// It and everything after it is lost until the fault is cleared: an open wire. A connection is broken off.
    Cut,
    /// From it on the line stands low until the fault is cleared: a break, and nothing more.
    Short,
    /// Its parity bit is turned over.
    Parity,
    /// Its stop bit is missing.
    Framing,
    /// It is lost in the receiver, which is told.
    Overrun,
    /// The line is low instead, for as long as a character.
    Break,
}

impl Disturbance {
    /// How long a connection stands still when a segment is lost: the shortest time-out of Linux.
    pub const RETRANSMISSION: Duration = Duration::from_millis(200);

    /// The names there are.
    pub const NAMES: [&str; 12] = [
        "drop",
        "corrupt",
        "bits",
        "duplicate",
        "delay",
        "jitter",
        "cut",
        "short",
        "parity",
        "framing",
        "overrun",
        "break",
    ];

    /// What a name stands for. `length` is that of the two that have one.
    ///
    /// # Errors
    /// There is no such fault; it has no length, or needs one.
    pub fn named(name: &str, length: Option<Duration>) -> Result<Disturbance, FaultError> {
        let known = Disturbance::NAMES.into_iter().find(|known| *known == name);
        match (known.ok_or_else(|| FaultError::Unknown(name.to_owned()))?, length) {
            ("delay", Some(length)) => Ok(Disturbance::Delay(length)),
            ("jitter", Some(length)) => Ok(Disturbance::Jitter(length)),
            (name @ ("delay" | "jitter"), None) => Err(FaultError::NoLength(name)),
            (name, Some(_)) => Err(FaultError::Length(name)),
            ("drop", _) => Ok(Disturbance::Drop),
            ("corrupt", _) => Ok(Disturbance::Corrupt),
            ("bits", _) => Ok(Disturbance::Bits),
            ("duplicate", _) => Ok(Disturbance::Duplicate),
            ("cut", _) => Ok(Disturbance::Cut),
            ("short", _) => Ok(Disturbance::Short),
            ("parity", _) => Ok(Disturbance::Parity),
            ("framing", _) => Ok(Disturbance::Framing),
            ("overrun", _) => Ok(Disturbance::Overrun),
            _ => Ok(Disturbance::Break),
        }
    }

    /// Its name in files and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Disturbance::Drop => "drop",
            Disturbance::Corrupt => "corrupt",
            Disturbance::Bits => "bits",
            Disturbance::Duplicate => "duplicate",
            Disturbance::Delay(_) => "delay",
            Disturbance::Jitter(_) => "jitter",
            Disturbance::Cut => "cut",
            Disturbance::Short => "short",
            Disturbance::Parity => "parity",
            Disturbance::Framing => "framing",
            Disturbance::Overrun => "overrun",
            Disturbance::Break => "break",
        }
    }

    /// Only a line has it.
    #[must_use]
    pub fn needs_line(self) -> bool {
        use Disturbance::{Break, Framing, Overrun, Parity, Short};
        matches!(self, Short | Parity | Framing | Overrun | Break)
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

impl ByteFault {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// A probability that is none.
    pub(crate) fn check(&self) -> Result<(), FaultError> {
        let probability = self.schedule.probability;
        if (0.0..=1.0).contains(&probability) { Ok(()) } else { Err(FaultError::Probability(probability)) }
    }
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
    /// There is no such fault.
    #[error("there is no fault {0:?}: there are {names}", names = Disturbance::NAMES.join(", "))]
    Unknown(String),
    /// It has a length.
    #[error("the fault `{0}` needs delay= : how long")]
    NoLength(&'static str),
    /// It has no length.
    #[error("delay= belongs to the faults `delay` and `jitter`, not to `{0}`")]
    Length(&'static str),
    /// Only a line has it.
    #[error("`{0}` is for wires in memory: what passes here is bytes")]
    NoLine(&'static str),
    /// The line has no parity bit.
    #[error("the line is {0}: it has no parity bit")]
    NoParity(LineSettings),
    /// There is no such wire.
    #[error("there is no wire {0:?} on this rig")]
    NoWire(String),
}

/// What a fault did to one chunk.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Strike {
    pub(crate) fault: u64,
    pub(crate) what: Disturbance,
    /// Where the first of them stands among all bytes of this direction.
    pub(crate) offset: u64,
    /// The bytes as they were.
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a byte.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    /// It is sent, with bits turned over perhaps.
    Character(Character),
    /// Nobody hears it.
    Lost,
    /// Nobody hears it, and every receiver knows.
    Overrun,
    /// The line is low.
    Break,
}

/// What is left of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// What becomes of each byte in order, with the time for which it is held back.
    pub(crate) items: Vec<(Passage, Duration)>,
    pub(crate) strikes: Vec<Strike>,
    /// The direction was cut within this chunk.
    pub(crate) cut: bool,
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
pub(crate) struct Lane {
    faults: Vec<Active>,
    /// Bytes that came so far.
    seen: u64,
    /// The fault that cut it.
    cut_by: Option<u64>,
}

impl Lane {
    pub(crate) fn add(&mut self, id: u64, fault: ByteFault, seed: u64) {
        let ByteFault { what, schedule } = fault;
        let seed = seed.wrapping_add(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (trigger, chance) = (Trigger::new(schedule, seed), Chance::seeded(!seed));
        self.faults.push(Active { id, what, trigger, chance });
    }

    /// Takes a fault away; how often it struck, if it was there.
    pub(crate) fn clear(&mut self, id: u64) -> Option<u64> {
        let index = self.faults.iter().position(|fault| fault.id == id)?;
        if self.cut_by == Some(id) {
            self.cut_by = None;
        }
        Some(self.faults.remove(index).trigger.struck())
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.faults.iter().map(|fault| fault.id).collect()
    }

    /// `connection`: a lost byte is late instead. `line`: what has parity and stop bits.
    pub(crate) fn pass(&mut self, now: Time, bytes: &[u8], connection: bool, line: Option<&LineSettings>) -> Passed {
        let mut passed = Passed::default();
        for byte in bytes {
            if self.faults.is_empty() {
                passed.items.push((Passage::Character(Character::new(*byte)), Duration::ZERO));
                self.seen += 1;
            } else {
                self.pass_byte(now, *byte, (connection, line), &mut passed);
            }
        }
        passed
    }

    fn pass_byte(
        &mut self,
        now: Time,
        byte: u8,
        (connection, line): (bool, Option<&LineSettings>),
        passed: &mut Passed,
    ) {
        let offset = self.seen;
        self.seen += 1;
        if self.cut_by.is_some() {
            return passed.items.push((Passage::Lost, Duration::ZERO));
        }
        let (mut character, mut copies, mut held) = (Character::new(byte), 1, Duration::ZERO);
        let mut instead = None;
        for fault in &mut self.faults {
            if fault.what == Disturbance::Bits {
                let flips = fault.flips(now, line);
                character.flips ^= flips;
                if flips != 0 {
                    passed.note(fault.id, fault.what, offset, byte);
                }
                continue;
            }
            if !fault.trigger.strikes(now) {
                continue;
            }
            passed.note(fault.id, fault.what, offset, byte);
            match fault.what {
                Disturbance::Drop if connection => held = held.max(Disturbance::RETRANSMISSION),
                Disturbance::Drop => instead = Some(Passage::Lost),
                Disturbance::Corrupt => character.value ^= 1 + fault.chance.below(255) as u8,
                Disturbance::Bits => {}
                Disturbance::Duplicate => copies *= 2,
                Disturbance::Delay(length) => held += length,
                Disturbance::Jitter(length) => {
                    let most = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX - 1);
                    held += Duration::from_nanos(fault.chance.below(most + 1));
                }
                Disturbance::Parity => character.flips ^= Character::PARITY,
                Disturbance::Framing => character.flips |= Character::STOP,
                Disturbance::Overrun => instead = Some(Passage::Overrun),
                Disturbance::Break => instead = Some(Passage::Break),
                Disturbance::Cut | Disturbance::Short => {
                    let cut = fault.what == Disturbance::Cut;
                    self.cut_by = Some(fault.id);
                    passed.cut |= cut;
                    return passed.items.push((if cut { Passage::Lost } else { Passage::Break }, held));
                }
            }
        }
        passed.items.push((instead.unwrap_or(Passage::Character(character)), held));
        for _ in 1..copies {
            passed.items.push((instead.unwrap_or(Passage::Character(character)), Duration::ZERO));
        }
    }
}

impl Active {
    /// Which bits of a character are turned over; each is an opportunity.
    fn flips(&mut self, now: Time, line: Option<&LineSettings>) -> u16 {
        let data_bits = line.map_or(8, |line| line.data_bits.min(8));
        let mut flips = 0;
        for bit in 0..data_bits {
            flips |= u16::from(self.trigger.strikes(now)) << bit;
        }
        let Some(line) = line else { return flips };
        if line.parity != Parity::None && self.trigger.strikes(now) {
            flips |= Character::PARITY;
        }
        if self.trigger.strikes(now) {
            flips |= Character::STOP;
        }
        flips
    }
}

impl Passed {
    /// What is left as bytes, in pieces that are held back together.
    pub(crate) fn pieces(&self) -> Vec<(Vec<u8>, Duration)> {
        let mut pieces: Vec<(Vec<u8>, Duration)> = Vec::new();
        for (passage, held) in &self.items {
            let Passage::Character(character) = passage else { continue };
            let value = character.heard(None).value;
            match pieces.last_mut() {
                Some((piece, same)) if same == held => piece.push(value),
                _ => pieces.push((vec![value], *held)),
            }
        }
        pieces
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
        passed.pieces().iter().flat_map(|(piece, _)| piece.clone()).collect()
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
            let passed = lane(&[(what, after(2, 2))]).pass(Time::ZERO, b"012345", false, None);
            assert_eq!(joined(&passed), expected, "{what:?}");
            assert_eq!(passed.strikes[0].offset, 2, "{what:?}");
        }
        let passed = lane(&[(Disturbance::Delay(length), after(2, 2))]).pass(Time::ZERO, b"012345", false, None);
        let expected = [(b"01".to_vec(), Duration::ZERO), (b"23".to_vec(), length), (b"45".to_vec(), Duration::ZERO)];
        assert_eq!(passed.pieces(), expected);
        let passed = lane(&[(Disturbance::Corrupt, after(2, 2))]).pass(Time::ZERO, b"012345", false, None);
        let bytes = joined(&passed);
        assert_eq!((bytes.len(), &bytes[..2], &bytes[4..]), (6, b"01".as_slice(), b"45".as_slice()));
        assert!(bytes[2] != b'2' && bytes[3] != b'3');
    }

    #[test]
    fn chunks_make_no_difference_and_seeds_do() {
        let some = Schedule { probability: 0.3, ..Schedule::default() };
        let faults = [(Disturbance::Drop, some.clone()), (Disturbance::Corrupt, some)];
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = joined(&lane(&faults).pass(Time::ZERO, &bytes, false, None));
        let mut pieces = lane(&faults);
        let parts: Vec<u8> =
            bytes.chunks(7).flat_map(|part| joined(&pieces.pass(Time::ZERO, part, false, None))).collect();
        assert_eq!(whole, parts);
        let mut other = Lane::default();
        for (index, (what, schedule)) in faults.iter().enumerate() {
            other.add(index as u64, ByteFault { what: *what, schedule: schedule.clone() }, 8);
        }
        assert_ne!(joined(&other.pass(Time::ZERO, &bytes, false, None)), whole);
    }

    #[test]
    fn a_cut_ends_when_it_is_cleared() {
        let mut lane = lane(&[(Disturbance::Cut, after(1, 1))]);
        assert_eq!(joined(&lane.pass(Time::ZERO, b"abc", false, None)), b"a");
        assert!(lane.pass(Time::ZERO, b"def", false, None).pieces().is_empty());
        assert_eq!(lane.clear(0), Some(1));
        assert_eq!(joined(&lane.pass(Time::ZERO, b"ghi", false, None)), b"ghi");
        assert_eq!(lane.clear(0), None);
    }

    #[test]
    fn a_connection_loses_time_not_bytes() {
        let passed = lane(&[(Disturbance::Drop, after(2, 1))]).pass(Time::ZERO, b"012345", true, None);
        assert_eq!(joined(&passed), b"012345");
        assert_eq!(passed.pieces()[1], (b"2".to_vec(), Disturbance::RETRANSMISSION));
    }
}
