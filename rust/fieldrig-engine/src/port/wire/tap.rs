//! One tap of a wire, as a port.

use super::slots::Slots;
use super::state::{Item, What};
use super::{AHEAD, AT_ONCE, Wire};
use crate::drive::sys::Kick;
use crate::port::{Arrival, Look, Port, Read};
use fieldrig_proto::line::{LineCommand, LineEvent};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// How often who sends looks whether there is room again, on a wire without speed.
const ROOM_LOOK: Duration = Duration::from_millis(1);

/// One tap of a wire.
pub(crate) struct TapPort {
    wire: Arc<Wire>,
    id: u32,
    /// When the wire takes bytes again, if it took less than it was given.
    room_at: Option<Time>,
}

impl TapPort {
    pub(super) fn new(wire: Arc<Wire>, id: u32) -> TapPort {
        TapPort { wire, id, room_at: None }
    }

    /// How long a character of this tap takes; nothing on a wire without speed.
    fn step(&self) -> Duration {
        let line = self.wire.state().tap(self.id).and_then(|tap| tap.line);
        line.map_or(Duration::ZERO, |line| line.character_time())
    }

    /// Drives modem lines, crossed as in a null modem: RTS is CTS of the others, DTR their DSR and DCD. A wire with one pair
    /// of conductors for all has none.
    fn drive(&self, now: Time, rts: Option<bool>, dtr: Option<bool>) -> io::Result<()> {
        let mut state = self.wire.state();
        let Some(tap) = state.tap_mut(self.id) else { return Ok(()) };
        tap.modem = (rts.unwrap_or(tap.modem.0), dtr.unwrap_or(tap.modem.1));
        let (cts, dsr) = tap.modem;
        drop(state);
        self.tell(now, LineEvent::Modem { cts, dsr, ri: false, dcd: dsr })
    }

    /// Tells the others what they see besides bytes, if the wire has conductors for that.
    fn tell(&self, now: Time, event: LineEvent) -> io::Result<()> {
        if self.wire.options.full_duplex {
            let mut state = self.wire.state();
            let (starts, due) = (now, now + AT_ONCE);
            let item = Item { starts, due, from: self.id, stamp: Stamp::exact(due), what: What::Line(event) };
            state.spread_alike(&item);
            state.tell_all(self.id);
        }
        Ok(())
    }

    /// One record for a collision, however many writes go on while it lasts.
    fn collided(&self, begins: Time, ends: Time, others: &[(Time, Time, u32)]) {
        let mut state = self.wire.state();
        let Some((first, _, other)) = others.first() else { return };
        let again = *first < state.collision_until;
        let last = others.iter().map(|(_, last, _)| *last).max().unwrap_or(ends);
        state.collision_until = ends.max(last).max(state.collision_until);
        if !again {
            let name = |id| state.tap(id).map_or_else(String::new, |tap| tap.name.clone());
            let (ours, theirs) = (name(self.id), name(*other));
            drop(state);
            self.wire.note_collision((*first).max(begins), &[&theirs, &ours]);
        }
    }
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
            match tap.lane.front_mut() {
                Some(Item { due, stamp, what: what @ What::Byte { .. }, .. }) if *due <= now => {
                    // What is wrong with a byte is told alone, before it.
                    let troubled = matches!(what, What::Byte { parity: true, .. } | What::Byte { framing: true, .. });
                    if troubled && count > 0 {
                        break;
                    }
                    if let Some(event) = what.trouble() {
                        return Read::Line(event, Arrival::Together(*stamp));
                    }
                    let What::Byte { value, .. } = what else { break };
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
        let step = self.step();
        let mut state = self.wire.state();
        let (starts, driven) = state.start(self.id, now, &self.wire.options);
        let limit = step * AHEAD;
        self.room_at = None;
        if !step.is_zero() && starts.since(now) >= limit {
            self.room_at = Some(starts - limit / 2);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if step.is_zero() && state.is_full_beyond(self.id) {
            self.room_at = Some(now + ROOM_LOOK);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = if step.is_zero() { bytes.len() } else { bytes.len().min(AHEAD as usize) };
        let Some((line, way)) = state.tap(self.id).map(|tap| (tap.line, tap.way)) else { return Ok(count) };
        let passed = state.lanes[way.index()].pass(now, &bytes[..count], false, line.as_ref());
        let slots = Slots::lay_out(self.id, starts, came, line, &passed.items);
        let ends = slots.ends;
        let apart = step.is_zero() || self.wire.options.full_duplex;
        let others = if apart { Vec::new() } else { state.others(self.id, driven, ends) };
        if !others.is_empty() {
            state.spoil(self.id, driven, ends);
        }
        state
            .spread_slots(self.id, &slots, |item| others.iter().any(|(starts, ends, _)| item.overlaps(*starts, *ends)));
        if let Some(tap) = state.tap_mut(self.id).filter(|_| !step.is_zero()) {
            tap.busy_until = ends;
            tap.drives_until = ends + self.wire.options.driver_off;
        }
        state.tell_all(self.id);
        drop(state);
        if count < bytes.len() {
            self.room_at = Some(ends - limit / 2);
        }
        self.wire.note_strikes(now, way, passed.strikes);
        self.collided(driven, ends, &others);
        Ok(count)
    }

    fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        let (event, length) = match command {
            LineCommand::Break(length) if length.is_zero() => return Ok(()),
            LineCommand::Break(length) => (LineEvent::Break, *length),
            LineCommand::Rts(on) => return self.drive(now, Some(*on), None),
            LineCommand::Dtr(on) => return self.drive(now, None, Some(*on)),
            LineCommand::Settings(settings) => {
                if self.wire.options.line.is_none() {
                    // It has no speed that a tap could differ from: who passes it on to a real line wants to know.
                    return self.tell(now, LineEvent::Settings(*settings));
                }
                if let Some(tap) = self.wire.state().tap_mut(self.id).filter(|tap| tap.line.is_some()) {
                    tap.line = Some(*settings);
                }
                return Ok(());
            }
        };
        let mut state = self.wire.state();
        let (starts, driven) = state.start(self.id, now, &self.wire.options);
        // What a real line said is over on it, and holds up nothing that comes behind it.
        let length = if state.relay == Some(self.id) { AT_ONCE } else { length };
        let due = starts + length.max(AT_ONCE);
        if let Some(tap) = state.tap_mut(self.id) {
            tap.busy_until = due;
            tap.drives_until = due + self.wire.options.driver_off;
        }
        if !self.wire.options.full_duplex {
            state.spoil(self.id, driven, due);
        }
        let item = Item { starts, due, from: self.id, stamp: Stamp::exact(due), what: What::Line(event) };
        // A break is a break at every speed.
        state.spread_alike(&item);
        state.tell_all(self.id);
        Ok(())
    }

    fn pass_on(&mut self) {
        if self.wire.options.line.is_none() {
            let mut state = self.wire.state();
            state.relay.get_or_insert(self.id);
            if let Some(tap) = state.tap_mut(self.id) {
                tap.waited_for = true;
            }
        }
    }

    fn waits_for_us(&self) -> bool {
        self.wire.state().tap(self.id).is_some_and(|tap| tap.waited_for)
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
        self.step() * u32::try_from(bytes).unwrap_or(u32::MAX)
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
