//! A multi-drop wire in memory: what one tap sends, every other tap hears.
//!
//! Rules of this file:
//! - With line settings, a byte arrives when its last bit would have, and the bytes of one tap follow each other without a
//!   pause; without, everything arrives one nanosecond after it was written: surely after what caused it.
//! - A tap does not hear itself. There are no modem lines and no echo, as on RS-485.
//! - Two taps that send at the same time spoil each other: every byte that overlaps one of another tap arrives garbled, for
//!   everybody, and the run log has one `wire.collision` for it.
//! - What arrives is known as soon as it is written ([`Port::next_arrival`]), so both real and virtual time deliver it at the
//!   instant it is due.
//! - Bytes that were forwarded from elsewhere came no later than they are forwarded, and no more exactly than they were
//!   stamped there: they are stamped from then until now.
//! - If a tap passes on what it reads to a real wire, the others hear a byte only once it was passed on, stamped from when
//!   it was put on this wire until it has left on the real one. Only on a wire without speed: the real one has it.
//! - A tap that does not read loses bytes beyond [`CAPACITY`], and is told ([`LineEvent::Overrun`]).

use super::{Arrival, Look, Port, Read};
use crate::drive::sys::Kick;
use crate::log::RunLog;
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes wait for a tap that does not read.
const CAPACITY: usize = 1 << 20;
/// How many characters a tap may have ahead of the wire before it has to wait.
const AHEAD: u32 = 4096;
/// On a wire without speed.
const AT_ONCE: Duration = Duration::from_nanos(1);
/// What a collision does to a byte; whatever the byte was, it is another one afterwards.
const GARBLE: u8 = 0xa5;

/// A wire.
pub(crate) struct Wire {
    name: String,
    settings: Option<LineSettings>,
    half_duplex: bool,
    log: RunLog,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taps: Vec<Tap>,
    next_tap: u32,
    /// Somebody has heard what was on the wire up to this instant: nobody can begin to send before it.
    heard: Time,
    /// The end of the last collision: what goes on until then is part of it.
    collision_until: Time,
    /// The tap that passes on what it hears to a real wire.
    relay: Option<u32>,
    /// What the relay has not passed on yet, in the order in which it hears it.
    held: VecDeque<Item>,
    /// The relay has read everything up to this.
    relayed: Time,
}

struct Tap {
    id: u32,
    name: String,
    /// What this tap will hear, in the order in which it arrives.
    lane: VecDeque<Item>,
    /// Until when it sends.
    busy_until: Time,
    /// When what it sent had left on the real wire.
    left: Time,
    overrun: bool,
    kick: Option<Arc<Kick>>,
}

#[derive(Clone, Debug)]
struct Item {
    starts: Time,
    due: Time,
    from: u32,
    /// When it was on the wire.
    stamp: Stamp,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Byte { value: u8, spoiled: bool },
    Line(LineEvent),
}

impl Item {
    fn overlaps(&self, starts: Time, ends: Time) -> bool {
        self.starts < ends && starts < self.due && matches!(self.what, What::Byte { .. })
    }

    fn spoil(&mut self) {
        if let What::Byte { value, spoiled: spoiled @ false } = &mut self.what {
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
    fn hear(&mut self, item: Item) {
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

    fn told(&self) {
        if let Some(kick) = &self.kick {
            kick.kick();
        }
    }
}

impl Wire {
    pub(crate) fn new(name: &str, settings: Option<LineSettings>, half_duplex: bool, log: RunLog) -> Wire {
        Wire { name: name.to_owned(), settings, half_duplex, log, state: Mutex::default() }
    }

    /// Speed and format, if it has a speed.
    pub(crate) fn settings(&self) -> Option<LineSettings> {
        self.settings
    }

    /// Joins it. `name` is for the run log.
    pub(crate) fn tap(self: &Arc<Wire>, name: &str) -> TapPort {
        let mut state = self.state();
        let id = state.next_tap;
        state.next_tap += 1;
        let tap = Tap {
            id,
            name: name.to_owned(),
            lane: VecDeque::new(),
            busy_until: Time::ZERO,
            left: Time::ZERO,
            overrun: false,
            kick: None,
        };
        state.taps.push(tap);
        drop(state);
        TapPort { wire: Arc::clone(self), id, room_at: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn character_time(&self) -> Duration {
        self.settings.map_or(Duration::ZERO, |settings| settings.character_time())
    }

    fn note_collision(&self, at: Time, names: &[&str]) {
        let record = Record::new("wire.collision").at(Stamp::exact(at)).with("wire", self.name.as_str());
        self.log.write(&record.with("taps", names.join(", ")));
    }
}

impl State {
    fn tap(&self, id: u32) -> Option<&Tap> {
        self.taps.iter().find(|tap| tap.id == id)
    }

    fn tap_mut(&mut self, id: u32) -> Option<&mut Tap> {
        self.taps.iter_mut().find(|tap| tap.id == id)
    }

    fn heard_by(&mut self, id: u32, heard: Time) {
        self.heard = self.heard.max(heard);
        if self.relay == Some(id) {
            self.relayed = self.relayed.max(heard);
        }
    }

    /// When tap `id` can begin to send.
    fn start(&self, id: u32, now: Time) -> Time {
        self.tap(id).map_or(now, |tap| tap.busy_until).max(now).max(self.heard)
    }

    /// What others have on the wire between two instants, in order: begin, end, and who.
    fn others(&self, id: u32, starts: Time, ends: Time) -> Vec<(Time, Time, u32)> {
        let Some(tap) = self.tap(id) else { return Vec::new() };
        let recent = tap.lane.iter().rev().take_while(|item| item.due > starts);
        let mut found: Vec<_> =
            recent.filter(|item| item.overlaps(starts, ends)).map(|item| (item.starts, item.due, item.from)).collect();
        found.reverse();
        found
    }

    /// Spoils what others than `id` send between two instants.
    fn spoil(&mut self, id: u32, starts: Time, ends: Time) {
        for tap in &mut self.taps {
            let recent = tap.lane.iter_mut().rev().take_while(|item| item.due > starts);
            recent.filter(|item| item.from != id && item.overlaps(starts, ends)).for_each(Item::spoil);
        }
    }

    /// Puts an item on the wire for everybody but its sender; for the relay alone, if somebody else sends.
    fn spread(&mut self, item: &Item) {
        let first = self.relay.filter(|relay| *relay != item.from);
        if first.is_some() {
            insert(&mut self.held, item.clone());
        }
        let hears = |tap: &&mut Tap| tap.id != item.from && first.is_none_or(|first| tap.id == first);
        for tap in self.taps.iter_mut().filter(hears) {
            tap.hear(item.clone());
        }
    }

    /// Gives everybody what the relay has read and passed on by `now`, and what has left by `until`.
    fn release(&mut self, now: Time, until: Time) -> bool {
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
    fn end_relay(&mut self) {
        self.relayed = Time::FAR;
        if let Some(tap) = self.relay.and_then(|relay| self.tap_mut(relay)) {
            tap.lane.clear();
        }
        self.release(Time::ZERO, Time::ZERO);
        (self.relay, self.relayed) = (None, Time::ZERO);
    }

    fn tell_others(&self, id: u32) {
        self.taps.iter().filter(|tap| tap.id != id).for_each(Tap::told);
    }
}

/// One tap of a wire.
pub(crate) struct TapPort {
    wire: Arc<Wire>,
    id: u32,
    /// When the wire takes bytes again, if it took less than it was given.
    room_at: Option<Time>,
}

impl Port for TapPort {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let now = look.clock.now();
        let mut state = self.wire.state();
        let Some(tap) = state.tap_mut(self.id) else { return Read::Nothing };
        let mut count = 0;
        let mut heard = Time::ZERO;
        while count < look.buffer.len() {
            match tap.lane.front() {
                Some(Item { due, stamp, what: What::Byte { value, .. }, .. }) if *due <= now => {
                    look.buffer[count] = *value;
                    look.stamps.push(*stamp);
                    heard = *due;
                    count += 1;
                    tap.lane.pop_front();
                }
                Some(Item { due, what: What::Line(_), .. }) if *due <= now && count == 0 => {
                    let Some(Item { due, stamp, what: What::Line(event), .. }) = tap.lane.pop_front() else { break };
                    state.heard_by(self.id, due);
                    return Read::Line(event, Arrival::Together(stamp));
                }
                _ => break,
            }
        }
        state.heard_by(self.id, heard);
        if count > 0 { Read::Bytes(count, Arrival::PerByte) } else { Read::Nothing }
    }

    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize> {
        self.forward(now, bytes, None)
    }

    fn forward(&mut self, now: Time, bytes: &[u8], came: Option<Time>) -> io::Result<usize> {
        let step = self.wire.character_time();
        let mut state = self.wire.state();
        let starts = state.start(self.id, now);
        let limit = step * AHEAD;
        self.room_at = None;
        if !step.is_zero() && starts.since(now) >= limit {
            self.room_at = Some(starts - limit / 2);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = if step.is_zero() { bytes.len() } else { bytes.len().min(AHEAD as usize) };
        let length = if step.is_zero() { AT_ONCE } else { step * u32::try_from(count).unwrap_or(u32::MAX) };
        let ends = starts + length;
        let apart = step.is_zero() || !self.wire.half_duplex;
        let others = if apart { Vec::new() } else { state.others(self.id, starts, ends) };
        if !others.is_empty() {
            state.spoil(self.id, starts, ends);
        }
        let mut from = starts;
        for value in &bytes[..count] {
            let due = if step.is_zero() { ends } else { from + step };
            let stamp = Stamp::between(came.unwrap_or(due).min(due), due);
            let what = What::Byte { value: *value, spoiled: false };
            let mut item = Item { starts: from, due, from: self.id, stamp, what };
            if others.iter().any(|(starts, ends, _)| item.overlaps(*starts, *ends)) {
                item.spoil();
            }
            state.spread(&item);
            from = if step.is_zero() { starts } else { due };
        }
        if let Some(tap) = state.tap_mut(self.id).filter(|_| !step.is_zero()) {
            tap.busy_until = ends;
        }
        state.tell_others(self.id);
        if count < bytes.len() {
            self.room_at = Some(ends - limit / 2);
        }
        let again = others.first().is_some_and(|(at, _, _)| *at < state.collision_until);
        if let Some((_, last, _)) = others.last() {
            state.collision_until = ends.max(*last).max(state.collision_until);
        }
        if let Some((at, _, other)) = others.first().filter(|_| !again) {
            let name = |id| state.tap(id).map_or_else(String::new, |tap| tap.name.clone());
            let (ours, theirs) = (name(self.id), name(*other));
            let at = (*at).max(starts);
            drop(state);
            self.wire.note_collision(at, &[&theirs, &ours]);
        }
        Ok(count)
    }

    fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        let (event, length) = match command {
            LineCommand::Break(length) if length.is_zero() => return Ok(()),
            LineCommand::Break(length) => (LineEvent::Break, *length),
            // A wire of two conductors has no modem lines.
            LineCommand::Rts(_) | LineCommand::Dtr(_) => return Ok(()),
            LineCommand::Settings(settings) if self.wire.settings.is_none_or(|own| own == *settings) => return Ok(()),
            LineCommand::Settings(_) => {
                let text = "a wire in memory keeps its speed and format";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        let mut state = self.wire.state();
        let starts = state.start(self.id, now);
        let due = starts + length.max(AT_ONCE);
        if let Some(tap) = state.tap_mut(self.id) {
            tap.busy_until = due;
        }
        if self.wire.half_duplex {
            state.spoil(self.id, starts, due);
        }
        state.spread(&Item { starts, due, from: self.id, stamp: Stamp::exact(due), what: What::Line(event) });
        state.tell_others(self.id);
        Ok(())
    }

    fn pass_on(&mut self) {
        if self.wire.settings.is_none() {
            self.wire.state().relay.get_or_insert(self.id);
        }
    }

    fn passed_on(&mut self, now: Time, until: Time) {
        let mut state = self.wire.state();
        if state.relay == Some(self.id) && !state.held.is_empty() && state.release(now, until) {
            state.tell_others(self.id);
        }
    }

    fn left_by(&self) -> Time {
        let state = self.wire.state();
        let waits = state.held.iter().any(|item| item.from == self.id);
        if waits { Time::FAR } else { state.tap(self.id).map_or(Time::ZERO, |tap| tap.left) }
    }

    fn next_arrival(&self) -> Option<Time> {
        let state = self.wire.state();
        state.tap(self.id)?.lane.front().map(|item| item.due)
    }

    fn next_room(&self) -> Option<Time> {
        self.room_at
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        self.wire.character_time() * u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn attach(&mut self, kick: Arc<Kick>) {
        if let Some(tap) = self.wire.state().tap_mut(self.id) {
            tap.kick = Some(kick);
        }
    }
}

impl Drop for TapPort {
    fn drop(&mut self) {
        let id = self.id;
        let mut state = self.wire.state();
        if state.relay == Some(id) {
            state.end_relay();
            state.tell_others(id);
        }
        state.taps.retain(|tap| tap.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ClockKind};
    use fieldrig_proto::time::Limit;
    use fieldrig_proto::verdict::Verdict;

    /// Three taps on a wire without speed, the first of which passes on to a real wire; and the clock.
    fn joined() -> (Clock, [TapPort; 3]) {
        let wire = Arc::new(Wire::new("bus", None, true, RunLog::start(None).expect("no file is needed")));
        let mut taps = ["bridge", "device", "monitor"].map(|name| wire.tap(name));
        taps[0].pass_on();
        (Clock::new(ClockKind::Virtual), taps)
    }

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1000)
    }

    fn read(tap: &mut TapPort, clock: &Clock, micros: u64) -> (Vec<u8>, Vec<Stamp>) {
        clock.advance(at(micros));
        let (mut buffer, mut stamps) = ([0; 64], Vec::new());
        let look = Look { clock, since: Time::ZERO, wait: false, buffer: &mut buffer, stamps: &mut stamps };
        match tap.read(look) {
            Read::Bytes(count, Arrival::PerByte) => (buffer[..count].to_vec(), stamps),
            _ => (Vec::new(), stamps),
        }
    }

    #[test]
    fn what_was_forwarded_came_between_then_and_now() {
        let (clock, [mut bridge, mut device, mut monitor]) = joined();
        bridge.forward(at(5000), b"ab", Some(at(1000))).expect("room");
        for tap in [&mut device, &mut monitor] {
            assert!(tap.next_arrival().is_some_and(|due| due > at(5000)));
            let (bytes, stamps) = read(tap, &clock, 5001);
            assert_eq!(bytes, b"ab");
            let wide = Stamp::between(at(1000), at(5000) + AT_ONCE);
            assert_eq!(stamps, [wide, wide]);
        }
    }

    #[test]
    fn a_limit_that_only_the_forwarding_would_decide_is_left_open() {
        let (clock, [mut bridge, _device, mut monitor]) = joined();
        let asked = Stamp::exact(Time::ZERO);
        bridge.forward(at(5000), b"a", Some(at(1000))).expect("room");
        let took = asked.until(read(&mut monitor, &clock, 5001).1[0]);
        let within = |micros: i64| took.judge(Limit { min: None, max: Some(micros * 1000) });
        assert_eq!([within(999), within(3000), within(5001)], [Verdict::Fail, Verdict::Inconclusive, Verdict::Pass]);
    }

    #[test]
    fn what_is_passed_on_is_heard_once_it_was_and_stamped_until_it_has_left() {
        let (clock, [mut bridge, mut device, mut monitor]) = joined();
        device.write(at(1000), b"ab").expect("room");
        assert_eq!(device.left_by(), Time::FAR);
        // Nobody hears what the bridge has not read.
        bridge.passed_on(at(1500), at(1500));
        assert_eq!(monitor.next_arrival(), None);
        assert_eq!(read(&mut bridge, &clock, 2000).0, b"ab");
        // What comes meanwhile waits for its own turn.
        device.write(at(2500), b"c").expect("room");
        bridge.passed_on(at(3000), at(4000));
        let (bytes, stamps) = read(&mut monitor, &clock, 3000);
        assert_eq!(bytes, b"ab");
        let wide = Stamp::between(at(1000) + AT_ONCE, at(4000));
        assert_eq!(stamps, [wide, wide]);
        assert_eq!(device.left_by(), Time::FAR);
        assert_eq!(read(&mut bridge, &clock, 5000).0, b"c");
        bridge.passed_on(at(6000), at(7000));
        assert_eq!(read(&mut monitor, &clock, 6000).1, [Stamp::between(at(2500) + AT_ONCE, at(7000))]);
        assert_eq!(device.left_by(), at(7000));
    }

    #[test]
    fn who_passes_on_takes_nothing_along_when_it_goes() {
        let (clock, [bridge, mut device, mut monitor]) = joined();
        device.write(at(1000), b"a").expect("room");
        drop(bridge);
        assert_eq!(read(&mut monitor, &clock, 2000).0, b"a");
        device.write(at(3000), b"b").expect("room");
        assert_eq!(read(&mut monitor, &clock, 4000), (b"b".to_vec(), vec![Stamp::exact(at(3000) + AT_ONCE)]));
    }
}
