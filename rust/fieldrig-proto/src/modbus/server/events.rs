//! The communication event log of function 12 (AP 6.10).
//!
//! Rules of this file:
//! - An event is one byte. A receive event is stored before the message is done, a send event after it, whether or not
//!   anything was sent.
//! - The log holds 64 events; a further one pushes the oldest out.

use crate::modbus::pdu::{Exception, MAX_EVENTS};
use std::collections::VecDeque;

/// An event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Event(u8);

impl Event {
    /// The communication was restarted.
    pub(super) const RESTART: Event = Event(0x00);
    /// The device began to only listen.
    pub(super) const LISTEN_ONLY: Event = Event(0x04);

    /// Bit 7: a message came; bit 5: while the device only listens.
    pub(super) fn received(listens_only: bool) -> Event {
        Event(0x80 | u8::from(listens_only) << 5)
    }

    /// Bit 1: it was damaged.
    pub(super) fn communication_error(self) -> Event {
        Event(self.0 | 1 << 1)
    }

    /// Bit 6: it was for all.
    pub(super) fn broadcast(self) -> Event {
        Event(self.0 | 1 << 6)
    }

    /// Bit 6 without bit 7: a message is done; bits 0 to 3: with this exception; bit 5: the device only listens.
    pub(super) fn sent(exception: Option<u8>, listens_only: bool) -> Event {
        let bit = match exception {
            None => 0,
            Some(Exception::ILLEGAL_FUNCTION..=Exception::ILLEGAL_DATA_VALUE) => 1,
            Some(Exception::SERVER_DEVICE_FAILURE) => 1 << 1,
            Some(Exception::ACKNOWLEDGE | Exception::SERVER_DEVICE_BUSY) => 1 << 2,
            Some(Exception::NEGATIVE_ACKNOWLEDGE) => 1 << 3,
            Some(_) => 0,
        };
        Event(0x40 | bit | u8::from(listens_only) << 5)
    }
}

/// The last events.
#[derive(Clone, Debug, Default)]
pub(super) struct EventLog(VecDeque<u8>);

impl EventLog {
    pub(super) fn push(&mut self, event: Event) {
        if self.0.len() == MAX_EVENTS {
            self.0.pop_back();
        }
        self.0.push_front(event.0);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn newest_first(&self) -> Vec<u8> {
        self.0.iter().copied().collect()
    }
}
