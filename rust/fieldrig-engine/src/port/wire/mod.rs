//! A multi-drop wire in memory: what one tap sends, every other tap hears.
//!
//! Rules of this folder:
//! - With line settings, a byte arrives when its last bit would have, and the bytes of one tap follow each other without a
//!   pause; without, everything arrives one nanosecond after it was written: surely after what caused it.
//! - A tap does not hear itself, unless it has an echo. A wire with a conductor for each direction has modem lines, crossed
//!   as in a null modem; one with a single pair has none, as RS-485.
//! - Two taps that send at the same time spoil each other: every byte that overlaps one of another tap arrives garbled, for
//!   everybody, and the run log has one `wire.collision` for it. So does who sends while the driver of another is still on.
//! - A tap may be set otherwise than the wire: it sends at its own speed, and hears what a UART set like this makes of what
//!   the others send ([`fieldrig_proto::line::uart`]).
//! - A byte with a wrong parity bit or without a stop bit is heard, and the event comes before it.
//! - Faults ([`crate::link::ByteFault`]) strike what is sent, before anybody hears it, and everybody alike; seeded, logged.
//! - What arrives is known as soon as it is written ([`Port::next_arrival`](super::Port::next_arrival)), so both real and
//!   virtual time deliver it at the instant it is due.
//! - Bytes that were forwarded from elsewhere came no later than they are forwarded, and no more exactly than they were
//!   stamped there: they are stamped from then until now.
//! - If a tap passes on what it reads to a real wire, the others hear a byte only once it was passed on, stamped from when
//!   it was put on this wire until it has left on the real one. Only on a wire without speed: the real one has it.
//! - Who sends on a wire without speed waits for a tap that passes on to a real port what it reads, as that port does.
//! - Any other tap that does not read loses bytes beyond [`CAPACITY`], and is told
//!   ([`LineEvent::Overrun`](fieldrig_proto::line::LineEvent::Overrun)).

mod slots;
mod state;
mod tap;
#[cfg(test)]
mod tests;

pub(crate) use tap::TapPort;

use crate::link::BridgeEvent;
use crate::link::faults::{ByteFault, Disturbance, FaultError, Strike, Way};
use crate::log::RunLog;
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::line::{LineSettings, Parity};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use state::{State, Tap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes wait for a tap that does not read.
const CAPACITY: usize = 1 << 20;
/// How many of them wait for one that passes them on to a real port, before who sends has to wait.
const WAITED_FOR: usize = 1 << 16;
/// How many characters a tap may have ahead of the wire before it has to wait.
const AHEAD: u32 = 4096;
/// On a wire without speed.
const AT_ONCE: Duration = Duration::from_nanos(1);
/// What a collision does to a byte; whatever the byte was, it is another one afterwards.
const GARBLE: u8 = 0xa5;

/// What a wire is like.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct WireOptions {
    /// Speed and format; without, bytes take no time.
    pub line: Option<LineSettings>,
    /// A conductor for each direction: both sides may send at a time.
    pub full_duplex: bool,
    /// Who asks hears itself, as an adapter for RS-485 does whose receiver is always on.
    pub echo: bool,
    /// So long a driver is on before the first start bit.
    pub driver_on: Duration,
    /// So long a driver stays on after the last stop bit; who sends meanwhile is spoiled.
    pub driver_off: Duration,
    /// What the faults of this wire are drawn from.
    pub seed: u64,
}

/// What a tap is like.
#[derive(Copy, Clone, Debug)]
pub(crate) struct TapOptions {
    /// Its own settings, if they are not those of the wire.
    pub(crate) line: Option<LineSettings>,
    /// It hears itself; `None`: if the wire says so and it asks.
    pub(crate) echo: Option<bool>,
    /// Who it is.
    pub(crate) we_are: Sender,
}

impl Default for TapOptions {
    fn default() -> TapOptions {
        TapOptions { line: None, echo: None, we_are: Sender::Client }
    }
}

/// A wire.
pub(crate) struct Wire {
    name: String,
    options: WireOptions,
    log: RunLog,
    state: Mutex<State>,
}

impl Wire {
    pub(crate) fn new(name: &str, options: WireOptions, log: RunLog) -> Wire {
        Wire { name: name.to_owned(), options, log, state: Mutex::default() }
    }

    /// What it is like.
    pub(crate) fn options(&self) -> WireOptions {
        self.options
    }

    /// Joins it. `name` is for the run log.
    pub(crate) fn tap(self: &Arc<Wire>, name: &str, options: TapOptions) -> TapPort {
        let mut state = self.state();
        let id = state.next_tap;
        state.next_tap += 1;
        let way = if options.we_are == Sender::Client { Way::Forth } else { Way::Back };
        let echo = options.echo.unwrap_or(self.options.echo && way == Way::Forth);
        // On a wire without speed nothing has one.
        let line = self.options.line.map(|line| options.line.unwrap_or(line));
        state.taps.push(Tap::new(id, name, line, way, echo));
        drop(state);
        TapPort::new(Arc::clone(self), id)
    }

    /// Sets a fault on what is sent one way, and gives its number.
    ///
    /// # Errors
    /// The fault makes no sense here.
    pub(crate) fn inject(&self, now: Time, way: Way, fault: ByteFault) -> Result<u64, FaultError> {
        fault.check()?;
        if let (Disturbance::Parity, Some(line)) = (fault.what, self.options.line.filter(|l| l.parity == Parity::None))
        {
            return Err(FaultError::NoParity(line));
        }
        let mut state = self.state();
        state.faults += 1;
        let id = state.faults;
        self.note(BridgeEvent::FaultSet { at: now, fault: id, way, what: fault.what });
        state.lanes[way.index()].add(id, fault, self.options.seed);
        Ok(id)
    }

    /// Clears all faults but the first so many that were ever set.
    pub(crate) fn clear_faults(&self, now: Time, standing: u64) {
        let mut state = self.state();
        for lane in &mut state.lanes {
            for fault in lane.ids().into_iter().filter(|fault| *fault > standing) {
                if let Some(struck) = lane.clear(fault) {
                    self.note(BridgeEvent::FaultCleared { at: now, fault, struck });
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: BridgeEvent) {
        self.log.write(&Record::from(event).with("wire", self.name.as_str()));
    }

    fn note_strikes(&self, at: Time, way: Way, strikes: Vec<Strike>) {
        strikes.into_iter().for_each(|strike| self.note(BridgeEvent::struck(at, way, strike)));
    }

    fn note_collision(&self, at: Time, names: &[&str]) {
        let record = Record::new("wire.collision").at(Stamp::exact(at)).with("wire", self.name.as_str());
        self.log.write(&record.with("taps", names.join(", ")));
    }
}
