//! The server: tables, execution and the face through which a device shows its points.
//!
//! ```text
//!   ServerFace   connections, framing, units, counters           face, connection, *_side
//!       |
//!     answer     serve -> frame -> send, alike on every framing   answer
//!       |        a handler may do it in the server's place         handler
//!       |
//!      Core      function -> value -> address -> execution        execute
//!       |
//!      Bank      raw ranges, and points of the device's store     bank
//! ```
//! [`HABITS`] lists the ways in which it can be made to depart from the standard; without them it does not.

mod answer;
mod bank;
mod behaviour;
mod connection;
mod diagnostics;
mod events;
mod execute;
mod face;
mod files;
mod habits;
mod handler;
mod identification;
mod local;
mod roles;
mod rtu_side;
mod settings;
mod special;
mod tcp_side;
#[cfg(test)]
mod tests;

pub use bank::{Bank, BankError, Table};
pub use behaviour::RuleState;
pub use face::ServerFace;
pub use files::{Fifos, Files};
pub use habits::{AfterMalformed, BeyondMaximum, HABITS, Habit, Habits, OtherUnits, Sample, TransactionIds};
pub use handler::{Handler, Question, Reply};
pub use identification::Identification;
pub use local::Local;
pub use roles::{Roles, role_of};
pub(super) use settings::{
    ASCII_DEVICE, CASE, PAUSE, RTU_DEVICE, TCP_DEVICE, choice, integer, line_rules, number, text,
};
pub use settings::{ascii_rules, local};
pub use special::{Extras, UnitConfig};

use super::rtu::LineRules;
use super::{ascii, serial};

/// Which framing a server speaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// MBAP header on TCP.
    Tcp,
    /// RTU by these rules; on a connection instead of a wire, by length.
    Rtu(LineRules),
    /// ASCII by these rules.
    Ascii(ascii::Rules),
}

impl Transport {
    /// The rules of a line; `None` for Modbus/TCP.
    #[must_use]
    pub fn serial(&self) -> Option<serial::Rules> {
        match self {
            Transport::Tcp => None,
            Transport::Rtu(rules) => Some(serial::Rules::Rtu(*rules)),
            Transport::Ascii(rules) => Some(serial::Rules::Ascii(*rules)),
        }
    }
}

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Framing.
    pub transport: Transport,
    /// Its unit id; `None` answers to all.
    pub unit: Option<u8>,
    /// Tables.
    pub bank: Bank,
    /// Function codes it knows; others get exception 01.
    pub functions: Vec<u8>,
    /// Which role may do what; without rules everybody may do everything.
    pub roles: Option<Roles>,
    /// What it holds besides the tables.
    pub extras: Extras,
    /// Further units behind the same line or port.
    pub units: Vec<UnitConfig>,
}

impl ServerConfig {
    /// A server with these tables, alone, that knows the functions of the tables and those of its transport.
    #[must_use]
    pub fn new(transport: Transport, unit: Option<u8>, bank: Bank) -> ServerConfig {
        let extras = Extras::default();
        let functions = extras.functions(&transport);
        ServerConfig { transport, unit, bank, functions, roles: None, extras, units: Vec::new() }
    }
}

/// What a server has counted since power-on, for the tests of the bench. What functions 08, 11 and 12 say is counted as
/// AP 6.8 wants it, can be cleared by them, and is kept elsewhere.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Messages seen, whole or not, for whomever.
    pub messages: u64,
    /// Messages spoiled on the line or with a wrong CRC.
    pub communication_errors: u64,
    /// Exception responses sent.
    pub exceptions: u64,
    /// Messages for this unit, broadcasts included.
    pub for_us: u64,
    /// Of these, how many got no answer.
    pub unanswered: u64,
    /// Messages thrown away because of what is wrong with them.
    pub discarded: u64,
}
