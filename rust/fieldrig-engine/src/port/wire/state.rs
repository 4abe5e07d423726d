//! What is on a wire, and who hears it.

use super::slots::Slots;
use super::{CAPACITY, GARBLE, WAITED_FOR, WireOptions};
use crate::drive::sys::Kick;
use crate::link::faults::{Lane, Way};
use fieldrig_proto::line::{LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct State {
    pub(super) taps: Vec<Tap>,
    pub(super) next_tap: u32,
    /// Faults of what is sent by who asks, and by who answers.
    pub(super) lanes: [Lane; 2],
    /// How many faults there were.
    pub(super) faults: u64,
    /// Somebody has heard what was on the wire up to this instant: nobody can begin to send before it.
    pub(super) heard: Time,
    /// The end of the last collision: what goes on until then is part of it.
    pub(super) collision_until: Time,
    /// The tap that passes on what it hears to a real wire.
    pub(super) relay: Option<u32>,
    /// What the relay has not passed on yet, in the order in which it hears it.
    pub(super) held: VecDeque<Item>,
    /// The relay has read everything up to this.
    pub(super) relayed: Time,
}

pub(super) struct Tap {
    pub(super) id: u32,
    pub(super) name: String,
    /// How it is set, on a wire with a speed.
    pub(super) line: Option<LineSettings>,
    pub(super) way: Way,
    /// It hears itself.
    pub(super) echo: bool,
    /// Its RTS and DTR.
    pub(super) modem: (bool, bool),
    /// What this tap will hear, in the order in which it arrives.
    pub(super) lane: VecDeque<Item>,
    /// Until when it sends.
    pub(super) busy_until: Time,
    /// Until when its driver is on.
    pub(super) drives_until: Time,
    /// When what it sent had left on the real wire.
    pub(super) left: Time,
    overrun: bool,
    /// What it reads is passed on to a real port, which may be slow: who sends waits instead of losing bytes.
    pub(super) waited_for: bool,
    pub(super) kick: Option<Arc<Kick>>,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) starts: Time,
    pub(super) due: Time,
    pub(super) from: u32,
    /// When it was on the wire.
    pub(super) stamp: Stamp,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// A byte; what was wrong with it is told before it.
    Byte {
        value: u8,
        spoiled: bool,
        parity: bool,
        framing: bool,
    },
    Line(LineEvent),
}

impl What {
    /// What is to be told before the byte; once.
    pub(super) fn trouble(&mut self) -> Option<LineEvent> {
        let What::Byte { parity, framing, .. } = self else { return None };
        if std::mem::take(framing) {
            Some(LineEvent::Framing)
        } else {
            std::mem::take(parity).then_some(LineEvent::Parity)
        }
    }
}

impl Item {
    pub(super) fn overlaps(&self, starts: Time, ends: Time) -> bool {
        self.starts < ends && starts < self.due && matches!(self.what, What::Byte { .. })
    }

    pub(super) fn spoil(&mut self) {
        if let What::Byte { value, spoiled: spoiled @ false, .. } = &mut self.what {
            *value ^= GARBLE;
            *spoiled = true;
        }
    }
}

/// Keeps them in the order in which they arrive.
fn insert(lane: &mut VecDeque<Item>, item: Item) {
    // Mostly the last one; not if two send at the same time.
    let place = lane.iter().rposition(|known| known.due <= item.due).map_or(0, |index| index + 1);
    lane.insert(place, item);
}

impl Tap {
    pub(super) fn new(id: u32, name: &str, line: Option<LineSettings>, way: Way, echo: bool) -> Tap {
        Tap {
            id,
            name: name.to_owned(),
            line,
            way,
            echo,
            modem: (true, true),
            lane: VecDeque::new(),
            busy_until: Time::ZERO,
            drives_until: Time::ZERO,
            left: Time::ZERO,
            overrun: false,
            waited_for: false,
            kick: None,
        }
    }

    pub(super) fn hear(&mut self, item: Item) {
        if self.lane.len() >= CAPACITY {
            if !self.overrun {
                self.overrun = true;
                self.lane.push_back(Item { what: What::Line(LineEvent::Overrun), ..item });
            }
            return;
        }
        self.overrun = false;
        insert(&mut self.lane, item);
    }

    pub(super) fn told(&self) {
        if let Some(kick) = &self.kick {
            kick.kick();
        }
    }
}

impl State {
    /// Whether somebody at the other end of a bridge has not taken what was sent to him.
    pub(super) fn is_full_beyond(&self, sender: u32) -> bool {
        self.taps.iter().any(|tap| tap.id != sender && tap.waited_for && tap.lane.len() >= WAITED_FOR)
    }

    pub(super) fn tap(&self, id: u32) -> Option<&Tap> {
        self.taps.iter().find(|tap| tap.id == id)
    }

    pub(super) fn tap_mut(&mut self, id: u32) -> Option<&mut Tap> {
        self.taps.iter_mut().find(|tap| tap.id == id)
    }

    pub(super) fn heard_by(&mut self, id: u32, heard: Time) {
        self.heard = self.heard.max(heard);
        if self.relay == Some(id) {
            self.relayed = self.relayed.max(heard);
        }
    }

    /// When tap `id` can begin to send, and since when its driver is on then.
    pub(super) fn start(&self, id: u32, now: Time, options: &WireOptions) -> (Time, Time) {
        let tap = self.tap(id);
        let free = tap.map_or(now, |tap| tap.busy_until).max(now).max(self.heard);
        let driving = tap.is_some_and(|tap| tap.drives_until >= free && tap.busy_until > Time::ZERO);
        let lead = if driving { Duration::ZERO } else { options.driver_on };
        (free + lead, free)
    }

    /// What others have on the wire between two instants, in order: begin, end, and who. A driver that is still on has, too.
    pub(super) fn others(&self, id: u32, starts: Time, ends: Time) -> Vec<(Time, Time, u32)> {
        let Some(tap) = self.tap(id) else { return Vec::new() };
        let recent = tap.lane.iter().rev().take_while(|item| item.due > starts);
        let recent = recent.filter(|item| item.from != id && item.overlaps(starts, ends));
        let mut found: Vec<_> = recent.map(|item| (item.starts, item.due, item.from)).collect();
        found.reverse();
        let drives = |tap: &&Tap| tap.id != id && tap.busy_until < ends && starts < tap.drives_until;
        let drives = self.taps.iter().filter(drives).filter(|tap| tap.busy_until < tap.drives_until);
        found.extend(drives.map(|tap| (tap.busy_until, tap.drives_until, tap.id)));
        found.sort_by_key(|(starts, ..)| *starts);
        found
    }

    /// Spoils what others than `id` send between two instants.
    pub(super) fn spoil(&mut self, id: u32, starts: Time, ends: Time) {
        for tap in &mut self.taps {
            let recent = tap.lane.iter_mut().rev().take_while(|item| item.due > starts);
            recent.filter(|item| item.from != id && item.overlaps(starts, ends)).for_each(Item::spoil);
        }
    }

    /// Puts bytes on the wire for everybody, each as it is set; `spoils` says which of them are spoiled.
    pub(super) fn spread_slots(&mut self, id: u32, slots: &Slots, spoils: impl Fn(&Item) -> bool) {
        let line = self.tap(id).and_then(|tap| tap.line);
        let spoiled = |mut item: Item| {
            if spoils(&item) {
                item.spoil();
            }
            item
        };
        for item in slots.plain().into_iter().map(spoiled) {
            self.spread(&item, line);
        }
        let others = self.taps.iter_mut().filter(|tap| tap.id != id && tap.line != line);
        for (tap, settings) in others.filter_map(|tap| tap.line.map(|line| (tap, line))) {
            slots.heard_at(&settings).into_iter().map(spoiled).for_each(|item| tap.hear(item));
        }
    }

    /// Puts an item on the wire that everybody hears alike, however it is set.
    pub(super) fn spread_alike(&mut self, item: &Item) {
        let mut lines: Vec<_> = self.taps.iter().map(|tap| tap.line).collect();
        lines.dedup();
        let mut done = Vec::new();
        for line in lines {
            if !done.contains(&line) {
                self.spread(item, line);
                done.push(line);
            }
        }
    }

    /// Puts an item on the wire for everybody who is set to `line`, but for its sender, unless that has an echo; for the
    /// relay alone, if somebody else sends.
    pub(super) fn spread(&mut self, item: &Item, line: Option<LineSettings>) {
        let first = self.relay.filter(|relay| *relay != item.from);
        if first.is_some() {
            insert(&mut self.held, item.clone());
        }
        let hears = |tap: &&mut Tap| {
            let others = tap.id != item.from && first.is_none_or(|first| tap.id == first);
            tap.line == line && (others || (tap.id == item.from && tap.echo))
        };
        for tap in self.taps.iter_mut().filter(hears) {
            tap.hear(item.clone());
        }
    }

    /// Gives everybody what the relay has read and passed on by `now`, and what has left by `until`.
    pub(super) fn release(&mut self, now: Time, until: Time) -> bool {
        let Some(relay) = self.relay else { return false };
        let unread = self.tap(relay).and_then(|tap| tap.lane.front()).map(|item| item.due);
        let ready = |item: &Item| item.due <= self.relayed && unread.is_none_or(|unread| item.due < unread);
        let count = self.held.iter().take_while(|item| ready(item)).count();
        let ready: Vec<Item> = self.held.drain(..count).collect();
        for item in ready {
            let due = item.due.max(now);
            let stamp = Stamp::between(item.stamp.earliest(), until.max(due));
            if let Some(sender) = self.tap_mut(item.from) {
                sender.left = sender.left.max(stamp.latest());
            }
            for tap in self.taps.iter_mut().filter(|tap| tap.id != item.from && tap.id != relay) {
                tap.hear(Item { due, stamp, ..item.clone() });
            }
        }
        count > 0
    }

    /// Nobody passes on anything any more.
    pub(super) fn end_relay(&mut self) {
        self.relayed = Time::FAR;
        if let Some(tap) = self.relay.and_then(|relay| self.tap_mut(relay)) {
            tap.lane.clear();
        }
        self.release(Time::ZERO, Time::ZERO);
        (self.relay, self.relayed) = (None, Time::ZERO);
    }

    /// Wakes who hears what tap `id` has sent.
    pub(super) fn tell_all(&self, id: u32) {
        self.taps.iter().filter(|tap| tap.id != id || tap.echo).for_each(Tap::told);
    }

    pub(super) fn tell_others(&self, id: u32) {
        self.taps.iter().filter(|tap| tap.id != id).for_each(Tap::told);
    }
}
