//! One connection of a server, and the habits that concern how its bytes become ADUs.

use super::Transport;
use super::behaviour::Held;
use super::habits::{AfterMalformed, Habits};
use crate::endpoint::Conn;
use crate::modbus::pdu::{Length, request_length};
use crate::modbus::rtu::{LineRules, Traffic};
use crate::modbus::serial::{self, Assembler};
use crate::modbus::tcp::{self, Framer};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) conn: Conn,
    pub(super) wire: bool,
    pub(super) framer: Framer,
    pub(super) assembler: Assembler,
    /// When something last came.
    pub(super) active: Time,
    pub(super) deaf: bool,
    /// What the certificate of the client gives; "" is the NULL role.
    pub(super) role: String,
    /// The client will send nothing more; answers are still due.
    pub(super) finishing: bool,
    /// Bytes that a habit takes for the beginning of the next ADU.
    pub(super) misread: Vec<u8>,
    /// Which one it is since power-on, from 1.
    pub(super) number: u32,
    /// An answer that a rule keeps until the next request is answered.
    pub(super) held: Option<Held>,
    /// The last answer leaves at this instant: later ones do not overtake it.
    pub(super) busy_until: Time,
}

impl Connection {
    pub(super) fn new(conn: Conn, wire: bool, transport: &Transport, unit: Option<u8>, now: Time) -> Connection {
        // Inside a TCP connection there are no silences to go by; on Modbus/TCP the assembler stays idle.
        let rules = transport.serial().unwrap_or(serial::Rules::Rtu(LineRules::over_tcp()));
        let rules = if wire { rules } else { rules.over_tcp() };
        Connection {
            conn,
            wire,
            framer: Framer::default(),
            assembler: Assembler::new(&rules, Traffic::Requests { own: unit }),
            active: now,
            deaf: false,
            role: String::new(),
            finishing: false,
            misread: Vec::new(),
            number: 0,
            held: None,
            busy_until: Time::ZERO,
        }
    }

    /// An ADU has begun and is not whole.
    pub(super) fn is_inside(&self) -> bool {
        !self.framer.pending().is_empty() || !self.assembler.is_idle()
    }

    /// A habit loses these bytes, or those before them.
    pub(super) fn loses(&mut self, habits: &Habits, now: Time, before: Time, bytes: &[u8]) -> bool {
        if habits.impatient.is_some_and(|limit| now.since(before) > limit) {
            self.framer.clear();
        }
        let fresh = self.framer.pending().is_empty();
        (fresh && habits.lose_lone_first_byte && bytes.len() == 1)
            || (fresh && habits.lose_short_first_read && (2..=7).contains(&bytes.len()))
    }

    pub(super) fn with_misread(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.misread);
        all.extend_from_slice(bytes);
        all
    }
}

impl Habits {
    /// How many ADUs of one read are looked at.
    pub(super) fn adus_per_read(&self, framer: &Framer, bytes: &[u8]) -> usize {
        let mut most = self.drop_beyond.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
        let several = framer.pending().is_empty() && tcp::adu_length(bytes).is_some_and(|first| first < bytes.len());
        if self.one_read_is_one_adu || (self.answer_only_first_of_segment && several) {
            most = most.min(1);
        }
        most
    }

    pub(super) fn minds_malformed(&self) -> bool {
        self.deaf_to_next_connection != AfterMalformed::Never || self.deaf_after_malformed != AfterMalformed::Never
    }
}

/// In which way an ADU is malformed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Malformed {
    Protocol,
    Truncated,
    Trailing,
    Length,
}

impl Malformed {
    /// How the length of a request PDU disagrees with its function, if it does.
    pub(super) fn of_pdu(pdu: &[u8]) -> Option<Malformed> {
        match request_length(pdu) {
            Length::Known(length) if pdu.len() > length => Some(Malformed::Trailing),
            Length::Known(length) if pdu.len() < length => Some(Malformed::Truncated),
            Length::Needs(_) => Some(Malformed::Truncated),
            _ => None,
        }
    }

    /// How many bytes of a PDU belong to its function.
    pub(super) fn own_length(pdu: &[u8]) -> usize {
        match request_length(pdu) {
            Length::Known(length) => length.min(pdu.len()),
            _ => pdu.len(),
        }
    }

    pub(super) fn is_of(self, after: AfterMalformed) -> bool {
        match after {
            AfterMalformed::Never => false,
            AfterMalformed::Any => true,
            AfterMalformed::Protocol => self == Malformed::Protocol,
            AfterMalformed::Truncated => self == Malformed::Truncated,
            AfterMalformed::Trailing => self == Malformed::Trailing,
            AfterMalformed::Length => self == Malformed::Length,
        }
    }
}
