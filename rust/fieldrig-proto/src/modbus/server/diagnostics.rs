//! What a device on a serial line keeps of its communication, and functions 07, 08, 11 and 12 (AP 6.7 to 6.10).
//!
//! Rules of this file:
//! - The counters have 16 bits and go on at 0 after 0xFFFF. What they count is said in AP 6.8.1 and SL Appendix A; a
//!   request for a counter has been counted itself when it is answered.
//! - In listen-only mode nothing is done and nothing answered but a restart; everything is counted (AP 6.8.1, 0004).
//! - A restart is answered first, unless the device only listens; then all counters are 0, the device listens and answers
//!   again, ASCII frames end with LF, and the event log holds a restart event, or nothing else than that (AP 6.8.1, 0001).
//! - The event counter counts messages that were completed without an exception, but no requests for itself (AP 6.9).

use super::events::{Event, EventLog};
use crate::modbus::pdu::{Exception, Response, function as f, sub_function as s, word};

/// The character that ends an ASCII frame after CR (SL 2.5.2.1).
pub(super) const LINE_FEED: u8 = b'\n';

/// The counters of function 08, by the sub-function that asks for them, from 000B on (AP 6.8.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Counts([u16; 8]);

impl Counts {
    fn count(&mut self, sub: u16) {
        if let Some(count) = self.0.get_mut(usize::from(sub - s::BUS_MESSAGES)) {
            *count = count.wrapping_add(1);
        }
    }

    fn of(&self, sub: u16) -> u16 {
        self.0.get(usize::from(sub - s::BUS_MESSAGES)).copied().unwrap_or_default()
    }
}

/// What a device keeps of its communication since it was switched on.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    /// Set by the maker: eight bits of function 07.
    pub(super) exception_status: u8,
    /// Cleared by 000A and by switching off.
    pub(super) register: u16,
    initial_register: u16,
    /// Frames are ASCII: only then is there a delimiter to change (AP 6.8.1, 0003).
    pub(super) is_ascii: bool,
    /// What ends an ASCII frame after CR.
    pub(super) delimiter: u8,
    pub(super) listens_only: bool,
    counts: Counts,
    /// Messages completed (AP 6.9).
    completed: u16,
    log: EventLog,
    /// The counters were cleared by the message under way, which is counted no more.
    cleared: bool,
    /// To be done once the answer has been made; true: the event log is cleared, too.
    restart: Option<bool>,
}

impl Diagnosis {
    pub(super) fn new(exception_status: u8, register: u16, is_ascii: bool) -> Diagnosis {
        Diagnosis {
            exception_status,
            register,
            initial_register: register,
            is_ascii,
            delimiter: LINE_FEED,
            listens_only: false,
            counts: Counts::default(),
            completed: 0,
            log: EventLog::default(),
            cleared: false,
            restart: None,
        }
    }

    /// Switching off forgets it all.
    pub(super) fn power_off(&mut self) {
        *self = Diagnosis::new(self.exception_status, self.initial_register, self.is_ascii);
    }

    /// A message passed on the line, for whomever.
    pub(super) fn heard(&mut self) {
        self.counts.count(s::BUS_MESSAGES);
    }

    /// Something came that cannot be read: its check sum is wrong, it is too short, or characters were damaged. It is no
    /// message to the bus message counter (SL Appendix A).
    pub(super) fn heard_damaged(&mut self) {
        self.counts.count(s::BUS_COMMUNICATION_ERRORS);
        self.log.push(Event::received(self.listens_only).communication_error());
    }

    /// A character was lost because the one before it had not been taken yet.
    pub(super) fn overran(&mut self) {
        self.counts.count(s::CHARACTER_OVERRUNS);
    }

    /// A message for this unit is about to be done.
    pub(super) fn begin(&mut self, broadcast: bool) {
        self.counts.count(s::SERVER_MESSAGES);
        let event = Event::received(self.listens_only);
        self.log.push(if broadcast { event.broadcast() } else { event });
    }

    /// It is done, with this response PDU (empty: there is none), which is sent or not.
    pub(super) fn finish(&mut self, function: u8, response: &[u8], sent: bool) {
        let exception = match response {
            [code, exception, ..] if code & f::EXCEPTION_BIT != 0 => Some(*exception),
            _ => None,
        };
        if !sent {
            self.counts.count(s::NO_RESPONSES);
        }
        match exception {
            Some(code) => self.count_exception(code),
            None if std::mem::take(&mut self.cleared) => {}
            None if !response.is_empty() && function != f::COMM_EVENT_COUNTER => {
                self.completed = self.completed.wrapping_add(1);
            }
            None => {}
        }
        self.log.push(Event::sent(exception.filter(|_| sent), self.listens_only));
        if let Some(clear_log) = self.restart.take() {
            self.restart_now(clear_log);
        }
    }

    fn count_exception(&mut self, code: u8) {
        self.counts.count(s::EXCEPTIONS);
        match code {
            Exception::NEGATIVE_ACKNOWLEDGE => self.counts.count(s::NEGATIVE_ACKNOWLEDGES),
            Exception::SERVER_DEVICE_BUSY => self.counts.count(s::BUSY),
            _ => {}
        }
    }

    fn restart_now(&mut self, clear_log: bool) {
        self.counts = Counts::default();
        self.completed = 0;
        self.listens_only = false;
        self.delimiter = LINE_FEED;
        if clear_log {
            self.log.clear();
        }
        self.log.push(Event::RESTART);
    }

    /// Whether a message is done at all: of a device that only listens, only a restart (AP 6.8.1, 0004).
    pub(super) fn lets_through(&self, pdu: &[u8]) -> bool {
        !self.listens_only
            || (pdu.first() == Some(&f::DIAGNOSTICS) && word(pdu, 1) == s::RESTART_COMMUNICATIONS && pdu.len() >= 3)
    }

    /// 07, 11, 12: functions without data.
    ///
    /// # Errors
    /// The exception code.
    pub(super) fn report(&self, pdu: &[u8]) -> Result<Response, u8> {
        if pdu.len() != 1 {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let (status, events) = (0, self.completed);
        Ok(match pdu[0] {
            f::READ_EXCEPTION_STATUS => Response::ExceptionStatus(self.exception_status),
            f::COMM_EVENT_COUNTER => Response::CommEventCounter { status, events },
            _ => {
                let messages = self.counts.of(s::BUS_MESSAGES);
                Response::CommEventLog { status, events, messages, log: self.log.newest_first() }
            }
        })
    }

    /// 08: sub-function, then its data, then what it does (AP 6.8). `None`: it is done and not answered.
    ///
    /// # Errors
    /// The exception code.
    pub(super) fn diagnose(&mut self, pdu: &[u8]) -> Result<Option<Response>, u8> {
        if pdu.len() < 3 {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let sub = word(pdu, 1);
        if !self.has(sub) {
            return Err(Exception::ILLEGAL_FUNCTION);
        }
        let data: Vec<u16> = crate::modbus::pdu::words(&pdu[3..]);
        if pdu.len().is_multiple_of(2) || !is_allowed(sub, &data) {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let counted = |value: u16| Ok(Some(Response::Diagnostics { sub, data: vec![value] }));
        match sub {
            s::RESTART_COMMUNICATIONS => {
                self.restart = Some(data == [0xff00]);
                if self.listens_only {
                    return Ok(None);
                }
            }
            s::RETURN_DIAGNOSTIC_REGISTER => return counted(self.register),
            s::CHANGE_ASCII_DELIMITER => self.delimiter = pdu[3],
            s::FORCE_LISTEN_ONLY => {
                self.listens_only = true;
                self.log.push(Event::LISTEN_ONLY);
                return Ok(None);
            }
            s::CLEAR_COUNTERS => {
                self.counts = Counts::default();
                self.completed = 0;
                self.register = 0;
                self.cleared = true;
            }
            s::BUS_MESSAGES..=s::CHARACTER_OVERRUNS => return counted(self.counts.of(sub)),
            s::CLEAR_OVERRUN => self.counts.0[usize::from(s::CHARACTER_OVERRUNS - s::BUS_MESSAGES)] = 0,
            _ => {}
        }
        Ok(Some(Response::Diagnostics { sub, data }))
    }

    /// The sub-functions of AP 6.8.1; the delimiter only where frames have one.
    fn has(&self, sub: u16) -> bool {
        match sub {
            s::CHANGE_ASCII_DELIMITER => self.is_ascii,
            s::RETURN_QUERY_DATA..=s::FORCE_LISTEN_ONLY
            | s::CLEAR_COUNTERS..=s::CHARACTER_OVERRUNS
            | s::CLEAR_OVERRUN => true,
            _ => false,
        }
    }
}

/// The data that a sub-function takes (AP 6.8.1).
fn is_allowed(sub: u16, data: &[u16]) -> bool {
    match (sub, data) {
        (s::RETURN_QUERY_DATA, _) | (s::RESTART_COMMUNICATIONS, [0 | 0xff00]) => true,
        (s::CHANGE_ASCII_DELIMITER, [word]) => word & 0xff == 0,
        (s::RESTART_COMMUNICATIONS | s::CHANGE_ASCII_DELIMITER, _) => false,
        (_, data) => data == [0],
    }
}
