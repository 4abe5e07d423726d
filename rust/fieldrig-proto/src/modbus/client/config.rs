//! How a client talks, and why it refuses to ask.

use super::super::pdu::PduError;
use super::super::rtu::LineRules;
use crate::endpoint::Target;
use crate::line::LineSettings;
use crate::time::Duration;

/// Which framing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// MBAP header on a TCP connection.
    Tcp,
    /// RTU frames, on a line or inside a TCP connection.
    Rtu(LineRules),
}

/// How long after its time-out a request on a line may still be answered: so many times the time-out, and so long at
/// least.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct LateAnswers {
    /// Times the time-out.
    pub times: u32,
    /// At least.
    pub at_least: Duration,
}

impl Default for LateAnswers {
    /// Ten times the time-out, and a second at least (SL 2.4.1: a time-out is "1 s to several seconds at 9600 baud").
    fn default() -> Self {
        LateAnswers { times: 10, at_least: Duration::from_secs(1) }
    }
}

impl LateAnswers {
    /// So long, whatever the time-out.
    #[must_use]
    pub fn within(limit: Duration) -> LateAnswers {
        LateAnswers { times: 0, at_least: limit }
    }

    /// How long behind a time-out.
    #[must_use]
    pub fn behind(self, timeout: Duration) -> Duration {
        timeout.saturating_mul(self.times).max(self.at_least)
    }
}

/// How a client talks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Framing.
    pub mode: Mode,
    /// How many requests may be without answer at a time; further ones wait. RTU knows one only (SL 2.4.1).
    pub in_flight: usize,
    /// RTU: silence after a broadcast, in which the devices do what it says (SL 2.4.1: 100 to 200 ms at 9600 baud), and
    /// after a request that was not answered in time.
    pub turnaround: Duration,
    /// RTU: how long after its time-out a request may still be answered. So long no answer of the same unit and function
    /// is data, since the late one could not be told from it.
    pub late_answers: LateAnswers,
    /// RTU: we hear what we send (2-wire adapters); strip it.
    pub local_echo: bool,
    /// Connect to this when a request comes while there is no connection.
    pub reconnect: Option<Target>,
}

impl Config {
    /// Modbus/TCP with up to 16 requests in flight (MG 4.4.1.2: 1 to 16).
    #[must_use]
    pub fn tcp() -> Config {
        Config {
            mode: Mode::Tcp,
            in_flight: 16,
            turnaround: Duration::ZERO,
            late_answers: LateAnswers::default(),
            local_echo: false,
            reconnect: None,
        }
    }

    /// Modbus RTU by these rules.
    #[must_use]
    pub fn rtu(rules: LineRules) -> Config {
        Config { mode: Mode::Rtu(rules), in_flight: 1, turnaround: Duration::from_millis(100), ..Config::tcp() }
    }

    /// Modbus RTU on a real line or a pty.
    #[must_use]
    pub fn rtu_on(line: &LineSettings) -> Config {
        Config::rtu(LineRules::tolerant(line))
    }
}

/// Why a request was not even sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The standard does not allow to ask this.
    #[error("{problem}; to send it on purpose, send it as a raw PDU")]
    Refused {
        /// What is wrong with it.
        #[from]
        problem: PduError,
    },
    /// Only plain writes may be broadcast on a serial line (SL 2.1).
    #[error("function {function:#04x} reads something back and cannot be a broadcast (unit 0); only writes can")]
    BroadcastRead {
        /// Function code.
        function: u8,
    },
    /// Unit ids above 247 are reserved on a serial line (SL 2.2).
    #[error("unit {unit} is reserved on a serial line, devices have 1 to 247; to send it on purpose, send a raw PDU")]
    ReservedUnit {
        /// Unit id.
        unit: u8,
    },
}
