//! A request under rules: value -> end before -> serve -> what is said -> size and fields -> frame -> time, shape, copies, end.
//!
//! Rules of this file:
//! - Answers of one connection leave in the order of their requests, whatever their delays, but for those that are late.
//! - Between the pieces of an answer a wire is silent for exactly the gap; on a connection they leave that far apart.
//! - On a wire there is no connection to end: `close` and `reset` only keep back what is left of the answer.
//! - An answer that is kept until the next request leaves with everything that rules said about it: its shape, its copies,
//!   and the end behind it, before which the next request is not even looked at.
//! - What ends behind bytes ends one nanosecond after them, so that they leave first.

use super::super::answer::{Ask, Service};
use super::super::face::{Delayed, Due, ServerFace};
use super::effect::{At, Effects, Ending, Said, Shape, Timing};
use super::generator::Generator;
use super::rule::{Destination, Source};
use super::when::Asked;
use crate::device::{Origin, PointKind, PointStore};
use crate::dissect::hex;
use crate::endpoint::Conn;
use crate::fault::Chance;
use crate::modbus::pdu::Exception;
use crate::record::{Record, Value};
use crate::time::{Duration, Stamp, Time};

/// An answer as rules left it.
#[derive(Clone, Debug)]
pub(in crate::modbus::server) struct Held {
    adu: Vec<u8>,
    copies: u32,
    shape: Option<Shape>,
    ends: Option<Ending>,
}

const NEXT: Duration = Duration::from_nanos(1);

impl ServerFace {
    /// Serves a request as [`ServerFace::answer`] does, under rules; false if there is no answer.
    pub(in crate::modbus::server) fn answer_by_rules(
        &mut self,
        now: Time,
        ask: &Ask<'_>,
        store: &mut PointStore,
        pdu: &mut Vec<u8>,
    ) -> bool {
        let Some(connection) = self.connection(ask.conn) else { return false };
        let (wire, number) = (connection.wire, connection.number);
        if let Some(held) = connection.held.take()
            && self.release(now, ask.conn, wire, &held)
        {
            return false;
        }
        let effects = self.judge(now, ask, number, store);
        let before = effects.end.is_some_and(|end| end.at == At::Before);
        if before || !self.say(now, ask, &effects, store, pdu) {
            if let Some(end) = effects.end {
                self.end(now, now, ask.conn, wire, end.what);
            }
            return false;
        }
        effects.apply(pdu);
        let mut adu = Vec::new();
        self.frame(ask, pdu, &effects.fields, &mut adu);
        self.send_shaped(now, ask, wire, adu, &effects);
        true
    }

    /// Asks every rule; sets the values of sources; gives what becomes of the answer.
    fn judge(&mut self, now: Time, ask: &Ask<'_>, connection: u32, store: &mut PointStore) -> Effects {
        let running = now.since(self.rules.running_since);
        let asked = Asked { unit: ask.unit, connection, pdu: ask.pdu };
        let mut effects = Effects::default();
        let mut rules = std::mem::take(&mut self.rules);
        for rule in &mut rules.all {
            let seed = rule.seed;
            let Some(struck) = rule.strike(now, running, &asked) else { continue };
            effects.overlay(&struck.effects);
            if let Some(source) = struck.source {
                self.set_values(now, running, seed, source, store);
            }
            if let Some(Timing::Delay(low, high)) = struck.effects.time {
                effects.time = Some(drawn(low, high, seed, rule.schedule.struck()));
            }
            let record =
                Record::new("modbus.rule").at(Stamp::exact(now)).conn(ask.conn).with("rule", rule.name.as_str());
            let count = i64::try_from(rule.schedule.struck()).unwrap_or(i64::MAX);
            let record = record.with("count", count).with("what", rule.what.as_str()).with("unit", ask.unit);
            let record = record.with("transaction", ask.transaction).with("request", hex(ask.pdu));
            self.events.push_back(record);
        }
        self.rules = rules;
        effects
    }

    fn set_values(&mut self, now: Time, running: Duration, seed: u64, source: &Source, store: &mut PointStore) {
        let value = |generator: Option<&Generator>, index: usize| match generator {
            Some(generator) => generator.at(seed, index as u64, running),
            None => Value::Int(0),
        };
        match &source.to {
            Destination::Point(point) => {
                let value = value(source.values.first(), 0);
                if let Err(problem) = set_point(now, store, point, value) {
                    let record = Record::new("modbus.rule_refused").at(Stamp::exact(now)).with("point", point.as_str());
                    self.events.push_back(record.with("problem", problem));
                }
            }
            Destination::Raw { table, addresses, encoding } => {
                for (index, address) in addresses.iter().enumerate() {
                    let generator =
                        if source.values.len() == 1 { source.values.first() } else { source.values.get(index) };
                    // They were there when the rule was read and are never taken away; another unit may lack them.
                    let bank = &mut self.core.bank;
                    let raw = bank.raw(*table, *address, encoding.registers).map(<[u16]>::to_vec);
                    let Some(mut registers) = raw else { continue };
                    encoding.put(&value(generator, index), &mut registers);
                    bank.set_raw(*table, *address, &registers);
                }
            }
        }
    }

    /// Serves the request; false if nothing is answered.
    fn say(&mut self, now: Time, ask: &Ask<'_>, effects: &Effects, store: &mut PointStore, pdu: &mut Vec<u8>) -> bool {
        let silent = ask.service == Service::Silent || self.core.habits.no_answer;
        match &effects.said {
            Some(Said::DropRequest) => return false,
            Some(Said::Exception(code)) => {
                self.counters.for_us += 1;
                self.counters.exceptions += u64::from(!silent);
                Exception { function: ask.pdu.first().copied().unwrap_or_default(), code: *code }.encode(pdu);
            }
            said => {
                let answered = self.serve(now, ask, store, pdu);
                match said {
                    Some(Said::Pdu(bytes)) => pdu.clone_from(bytes),
                    Some(Said::DropAnswer) => return false,
                    _ if !answered => return false,
                    _ => {}
                }
            }
        }
        !silent && effects.end.is_none_or(|end| end.at != At::Instead)
    }

    /// Sends an ADU at its time, in its shape, so many times, and ends what is to end.
    fn send_shaped(&mut self, now: Time, ask: &Ask<'_>, wire: bool, mut adu: Vec<u8>, effects: &Effects) {
        let busy_until = self.connection(ask.conn).map_or(Time::ZERO, |connection| connection.busy_until);
        let own = self.core.habits.answer_delay(ask.nth).unwrap_or_default();
        let late = matches!(effects.time, Some(Timing::Late(_)));
        let due = match effects.time {
            Some(Timing::Late(by)) => now + own + by,
            Some(Timing::Delay(by, _)) => busy_until.max(now + own + by),
            _ => busy_until.max(now + own),
        };
        let length = adu.len();
        let cut = effects.end.map(|end| match end.at {
            At::Bytes(bytes) => bytes.min(length),
            At::Middle => length / 2,
            _ => length,
        });
        adu.truncate(cut.unwrap_or(length));
        let copies = if effects.end.is_some() { 0 } else { effects.copies.unwrap_or_default() };
        let ends = effects.end.map(|end| end.what);
        let held = Held { adu, copies, shape: effects.shape.clone(), ends };
        if effects.time == Some(Timing::LateNext) {
            if let Some(connection) = self.connection(ask.conn) {
                connection.held = Some(held);
            }
            return;
        }
        let at = self.put_held(now, due, ask.conn, wire, &held);
        if !late && let Some(connection) = self.connection(ask.conn) {
            connection.busy_until = at;
        }
    }

    /// Sends an answer that was kept; says whether the connection, or the power, ends with it.
    fn release(&mut self, now: Time, conn: Conn, wire: bool, held: &Held) -> bool {
        let busy_until = self.connection(conn).map_or(Time::ZERO, |connection| connection.busy_until);
        let at = self.put_held(now, busy_until.max(now), conn, wire, held);
        if let Some(connection) = self.connection(conn) {
            connection.busy_until = at;
        }
        held.ends.is_some_and(|what| !wire || matches!(what, Ending::Power(_)))
    }

    /// Sends an ADU with its copies from `at` on, and ends what is to end behind it; gives when the last piece leaves.
    fn put_held(&mut self, now: Time, mut at: Time, conn: Conn, wire: bool, held: &Held) -> Time {
        for _ in 0..=held.copies {
            at = self.put_shaped(now, at, conn, wire, &held.adu, held.shape.as_ref());
        }
        if let Some(what) = held.ends {
            self.end(now, at + NEXT, conn, wire, what);
        }
        at
    }

    /// Sends an ADU in its shape from `at` on; gives when its last piece leaves, on a wire when it has left.
    fn put_shaped(&mut self, now: Time, at: Time, conn: Conn, wire: bool, adu: &[u8], shape: Option<&Shape>) -> Time {
        let (sizes, gap) = match shape {
            Some(Shape::Pieces(sizes, gap)) => (sizes.clone(), *gap),
            Some(Shape::Pace(gap)) => (vec![1; adu.len()], *gap),
            None => (Vec::new(), Duration::ZERO),
        };
        let character = if wire { self.character() } else { Duration::ZERO };
        let (mut rest, mut due, mut silence) = (adu, at, self.gap());
        let mut sizes = sizes.into_iter();
        loop {
            let (piece, others) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            if !piece.is_empty() {
                self.put(now, due, conn, Due::Bytes { bytes: piece.to_vec(), gap: silence });
                due = due + character.saturating_mul(piece.len() as u32);
            }
            if others.is_empty() {
                return due;
            }
            rest = others;
            due = due + gap;
            silence = wire.then_some(gap);
        }
    }

    /// Ends the connection or the power at `at`.
    fn end(&mut self, now: Time, at: Time, conn: Conn, wire: bool, what: Ending) {
        match what {
            Ending::Connection(_) if wire => {}
            Ending::Connection(how) => self.put(now, at, conn, Due::Close(how)),
            Ending::Power(off) => self.put(now, at, conn, Due::PowerLoss(off)),
        }
    }

    /// Does it at once if it is due and nothing of the connection waits before it.
    fn put(&mut self, now: Time, due: Time, conn: Conn, what: Due) {
        let waits = |delayed: &Delayed| delayed.conn == conn && delayed.due <= due;
        if due <= now && !self.delayed.iter().any(waits) {
            self.carry_out(conn, what);
        } else {
            self.delay(Delayed { due, conn, what });
        }
    }
}

/// The delay of one application: anything between two, by the seed and the count.
fn drawn(low: Duration, high: Duration, seed: u64, count: u64) -> Timing {
    let width = u64::try_from((high - low).as_nanos()).unwrap_or(u64::MAX);
    let more = Chance::seeded(seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)).below(width.saturating_add(1));
    let delay = low + Duration::from_nanos(more);
    Timing::Delay(delay, delay)
}

/// Sets a point in the name of the device; numbers are rounded for points that hold integers.
fn set_point(now: Time, store: &mut PointStore, point: &str, value: Value) -> Result<(), String> {
    let index = store.index(point).ok_or_else(|| format!("there is no point `{point}`"))?;
    let kind = store.definitions().get(index).map(|definition| definition.kind);
    let value = match (kind, &value) {
        (Some(PointKind::Int), Value::Float(number)) => Value::Int(number.round() as i64),
        (Some(PointKind::Bool), Value::Int(_) | Value::Float(_)) => Value::Bool(value.as_f64() != Some(0.0)),
        _ => value,
    };
    store.set(now, point, value, Origin::Model).map_err(|problem| problem.to_string())
}
