//! Faults: deliberate, seeded disturbances.
//!
//! Byte faults live in links (the engine applies them between port and endpoint), protocol faults are patches in
//! endpoints; each name belongs to one. What both share is the decision *when* a fault strikes: [`Schedule`].
//! All chance comes from the seed, so a run can be repeated.

use crate::time::Time;

/// A small, fast, seeded generator (xorshift64*): repeatable, not for secrets.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator; equal seeds give equal sequences.
    #[must_use]
    pub fn seeded(seed: u64) -> Chance {
        // Mixed so that small seeds differ at once (splitmix64); zero would stand still.
        let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Chance((mixed ^ (mixed >> 27)).max(1))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// True with this probability (0 to 1).
    pub fn strikes(&mut self, probability: f64) -> bool {
        ((self.next_u64() >> 11) as f64) / ((1u64 << 53) as f64) < probability
    }
}

/// When a fault strikes, counted over its opportunities.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// Not before this instant.
    pub not_before: Option<Time>,
    /// Leave the first so many opportunities alone.
    pub after: u64,
    /// Then strike every so many-th one; 1 is each.
    pub every: u64,
    /// Strike at most so many times.
    pub count: Option<u64>,
    /// With this probability each.
    pub probability: f64,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { not_before: None, after: 0, every: 1, count: None, probability: 1.0 }
    }
}

/// A schedule at work.
#[derive(Clone, Debug)]
pub struct Trigger {
    schedule: Schedule,
    chance: Chance,
    seen: u64,
    struck: u64,
}

impl Trigger {
    /// A trigger that has seen nothing yet.
    #[must_use]
    pub fn new(schedule: Schedule, seed: u64) -> Trigger {
        Trigger { schedule, chance: Chance::seeded(seed), seen: 0, struck: 0 }
    }

    /// Counts one opportunity and says whether the fault strikes it.
    pub fn strikes(&mut self, now: Time) -> bool {
        if self.schedule.not_before.is_some_and(|start| now < start) {
            return false;
        }
        let index = self.seen;
        self.seen += 1;
        let due =
            index >= self.schedule.after && (index - self.schedule.after).is_multiple_of(self.schedule.every.max(1));
        let left = self.schedule.count.is_none_or(|count| self.struck < count);
        let hit = due && left && (self.schedule.probability >= 1.0 || self.chance.strikes(self.schedule.probability));
        self.struck += u64::from(hit);
        hit
    }

    /// How often it struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_counts_opportunities() {
        let schedule = Schedule { after: 2, every: 3, count: Some(2), ..Schedule::default() };
        let mut trigger = Trigger::new(schedule, 1);
        let hits: Vec<usize> = (0..20).filter(|_| trigger.strikes(Time::ZERO)).collect();
        assert_eq!(hits, [2, 5]);
        assert_eq!(trigger.struck(), 2);
    }

    #[test]
    fn equal_seeds_repeat_and_others_differ() {
        let draw = |seed| {
            let mut trigger = Trigger::new(Schedule { probability: 0.5, ..Schedule::default() }, seed);
            (0..64).map(|_| trigger.strikes(Time::ZERO)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
