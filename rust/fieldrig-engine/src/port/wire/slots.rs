//! When the bytes of one write are on the wire, and what a receiver makes of them.

use super::AT_ONCE;
use super::state::{Item, What};
use crate::link::faults::Passage;
use fieldrig_proto::line::uart::{self, Character, Heard};
use fieldrig_proto::line::{LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};

/// The place of one byte on the wire.
#[derive(Copy, Clone, Debug)]
struct Slot {
    starts: Time,
    due: Time,
    passage: Passage,
}

/// The bytes of one write.
#[derive(Debug)]
pub(super) struct Slots {
    from: u32,
    /// They came in elsewhere not before this.
    came: Option<Time>,
    line: Option<LineSettings>,
    slots: Vec<Slot>,
    pub(super) ends: Time,
}

impl Slots {
    /// Lays them out from `starts` on: each for one character, or all at once on a wire without speed.
    pub(super) fn lay_out(
        from: u32,
        starts: Time,
        came: Option<Time>,
        line: Option<LineSettings>,
        passed: &[(Passage, Duration)],
    ) -> Slots {
        let mut next = starts;
        let slots = passed.iter().map(|(passage, held)| {
            next = next + *held;
            let due = next + line.map_or(AT_ONCE, |line| line.character_time());
            let slot = Slot { starts: next, due, passage: *passage };
            next = if line.is_some() { due } else { next };
            slot
        });
        let slots: Vec<Slot> = slots.collect();
        let ends = slots.last().map_or(starts, |slot| slot.due);
        Slots { from, came, line, slots, ends }
    }

    /// What is heard by who is set as the sender is.
    pub(super) fn plain(&self) -> Vec<Item> {
        self.slots.iter().filter_map(|slot| self.item(slot)).collect()
    }

    fn item(&self, slot: &Slot) -> Option<Item> {
        let what = match slot.passage {
            Passage::Character(character) => What::byte(character.heard(self.line.as_ref())),
            Passage::Lost => return None,
            Passage::Overrun => What::Line(LineEvent::Overrun),
            Passage::Break => What::Line(LineEvent::Break),
        };
        Some(self.at(slot.starts, slot.due, what))
    }

    fn at(&self, starts: Time, due: Time, what: What) -> Item {
        let stamp = Stamp::between(self.came.unwrap_or(due).min(due), due);
        Item { starts, due, from: self.from, stamp, what }
    }

    /// What is heard by who is set to `receiver`: each run of bytes without a pause as a UART makes it out.
    pub(super) fn heard_at(&self, receiver: &LineSettings) -> Vec<Item> {
        let Some(sender) = self.line else { return self.plain() };
        let mut items = Vec::new();
        let mut run: Vec<Character> = Vec::new();
        let (mut begins, mut ends) = (Time::ZERO, Time::ZERO);
        for slot in &self.slots {
            let Passage::Character(character) = slot.passage else {
                self.hear_run(&mut run, begins, (&sender, receiver), &mut items);
                items.extend(self.item(slot));
                continue;
            };
            if slot.starts != ends {
                self.hear_run(&mut run, begins, (&sender, receiver), &mut items);
            }
            if run.is_empty() {
                begins = slot.starts;
            }
            run.push(character);
            ends = slot.due;
        }
        self.hear_run(&mut run, begins, (&sender, receiver), &mut items);
        items
    }

    fn hear_run(
        &self,
        run: &mut Vec<Character>,
        begins: Time,
        (sender, receiver): (&LineSettings, &LineSettings),
        items: &mut Vec<Item>,
    ) {
        for (heard, after) in uart::hear(run, sender, receiver) {
            let due = begins + after;
            let what = if heard.is_break { What::Line(LineEvent::Break) } else { What::byte(heard) };
            items.push(self.at((due - receiver.character_time()).max(begins), due, what));
        }
        run.clear();
    }
}

impl What {
    fn byte(heard: Heard) -> What {
        let Heard { value, parity, framing, .. } = heard;
        What::Byte { value, spoiled: false, parity, framing }
    }
}
