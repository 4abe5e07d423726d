//! What a bridge reports.

use super::faults::{Disturbance, Strike, Way};
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::{Stamp, Time};

/// What a bridge reports; in the run log the kinds begin with `link.`.
#[derive(Clone, PartialEq, Debug)]
pub enum BridgeEvent {
    /// Both ends are there.
    Joined {
        /// When.
        at: Time,
        /// The left end.
        left: Conn,
        /// The right end.
        right: Conn,
    },
    /// An end went away, and the other was closed.
    Parted {
        /// When.
        at: Time,
        /// Which end.
        conn: Conn,
        /// Why, for people.
        why: String,
    },
    /// The right side could not be reached.
    Refused {
        /// When.
        at: Time,
        /// Why, for people.
        why: String,
    },
    /// A fault was set.
    FaultSet {
        /// When.
        at: Time,
        /// Its number.
        fault: u64,
        /// In which direction.
        way: Way,
        /// What it does.
        what: Disturbance,
    },
    /// A fault was cleared.
    FaultCleared {
        /// When.
        at: Time,
        /// Its number.
        fault: u64,
        /// How many bytes it struck.
        struck: u64,
    },
    /// A fault struck.
    Struck {
        /// When.
        at: Time,
        /// Its number.
        fault: u64,
        /// In which direction.
        way: Way,
        /// What it did.
        what: Disturbance,
        /// Where the first byte stands among all of this direction.
        offset: u64,
        /// The bytes as they were.
        bytes: Vec<u8>,
    },
    /// Something other than bytes came on a wire; it is not forwarded.
    Line {
        /// When.
        at: Time,
        /// In which direction.
        way: Way,
        /// What.
        what: String,
    },
}

impl BridgeEvent {
    pub(crate) fn struck(at: Time, way: Way, strike: Strike) -> BridgeEvent {
        let Strike { fault, what, offset, bytes } = strike;
        BridgeEvent::Struck { at, fault, way, what, offset, bytes }
    }
}

impl From<BridgeEvent> for Record {
    fn from(event: BridgeEvent) -> Record {
        let record = |kind: &'static str, at: Time| Record::new(kind).at(Stamp::exact(at));
        match event {
            BridgeEvent::Joined { at, left, right } => {
                record("link.joined", at).conn(left).with("right", i64::from(right.0))
            }
            BridgeEvent::Parted { at, conn, why } => record("link.parted", at).conn(conn).with("why", why),
            BridgeEvent::Refused { at, why } => record("link.refused", at).with("why", why),
            BridgeEvent::FaultSet { at, fault, way, what } => {
                described(record("link.fault", at).with("fault", fault as i64), way, what)
            }
            BridgeEvent::FaultCleared { at, fault, struck } => {
                record("link.fault_cleared", at).with("fault", fault as i64).with("struck", struck as i64)
            }
            BridgeEvent::Struck { at, fault, way, what, offset, bytes } => {
                let record = described(record("link.struck", at).with("fault", fault as i64), way, what);
                let record = record.with("offset", offset as i64).with("count", bytes.len() as i64);
                record.with("bytes", Value::Bytes(bytes))
            }
            BridgeEvent::Line { at, way, what } => record("link.line", at).with("way", way.name()).with("what", what),
        }
    }
}

fn described(record: Record, way: Way, what: Disturbance) -> Record {
    let record = record.with("way", way.name()).with("what", what.name());
    match what {
        Disturbance::Delay(length) | Disturbance::Jitter(length) => {
            record.with("delay_ns", i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
        }
        _ => record,
    }
}
