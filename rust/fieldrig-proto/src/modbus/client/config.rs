//! How a client talks.

use super::super::rtu::LineRules;
use super::super::{ascii, serial};
use crate::endpoint::Target;
use crate::line::LineSettings;
use crate::time::Duration;
use std::str::FromStr;

/// Which framing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// MBAP header on a TCP connection.
    Tcp,
    /// RTU frames, on a line or inside a TCP connection.
    Rtu(LineRules),
    /// ASCII frames, on a line or inside a TCP connection.
    Ascii(ascii::Rules),
}

impl Mode {
    /// The rules of a line; `None` for Modbus/TCP.
    #[must_use]
    pub fn serial(&self) -> Option<serial::Rules> {
        match self {
            Mode::Tcp => None,
            Mode::Rtu(rules) => Some(serial::Rules::Rtu(*rules)),
            Mode::Ascii(rules) => Some(serial::Rules::Ascii(*rules)),
        }
    }
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

/// Which transaction ids requests get.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Transactions {
    /// One after the other from here on, without those that may still be answered (MG 4.4.1.2).
    Sequential(u16),
    /// Always the same one, whatever is in flight.
    Fixed(u16),
    /// On purpose that of a request in flight, if there is one; else one after the other from 1 on.
    Colliding,
}

impl Default for Transactions {
    fn default() -> Self {
        Transactions::Sequential(1)
    }
}

impl FromStr for Transactions {
    type Err = String;

    /// `sequential`, `sequential:500`, `fixed:7`, `colliding`.
    fn from_str(text: &str) -> Result<Transactions, String> {
        let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
        let number = number.map(str::parse::<u16>);
        match (word, number) {
            ("sequential", None) => Ok(Transactions::default()),
            ("sequential", Some(Ok(first))) => Ok(Transactions::Sequential(first)),
            ("fixed", Some(Ok(id))) => Ok(Transactions::Fixed(id)),
            ("colliding", None) => Ok(Transactions::Colliding),
            _ => Err(format!(
                "transactions are \"sequential\", \"sequential:500\" (the first id), \"fixed:7\" or \"colliding\", with ids \
                 from 0 to 65535, not \"{text}\""
            )),
        }
    }
}

/// How a client talks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Framing.
    pub mode: Mode,
    /// How many requests may be without answer at a time; further ones wait. A line knows one only (SL 2.4.1).
    pub in_flight: usize,
    /// Which transaction ids requests on TCP get.
    pub transactions: Transactions,
    /// At least so long after a request or an answer comes the next request.
    pub pace: Duration,
    /// On a line: silence after a broadcast, in which the devices do what it says (SL 2.4.1: 100 to 200 ms at 9600 baud),
    /// and after a request that was not answered in time.
    pub turnaround: Duration,
    /// On a line: how long after its time-out a request may still be answered. So long no answer of the same unit and
    /// function is data, since the late one could not be told from it.
    pub late_answers: LateAnswers,
    /// On a line: we hear what we send (2-wire adapters); strip it.
    pub local_echo: bool,
    /// On a line: it is said that we do not hear what we send. What looks like an echo is held against the device.
    pub no_echo: bool,
    /// On a line: bytes really take the time that its speed says (no pty, no serial server, no emulated UART). What is
    /// whole sooner than request and answer can have been on the wire is our own echo then, also where the answer would
    /// look the same (functions 05, 06, 08).
    pub paced: bool,
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
            transactions: Transactions::default(),
            pace: Duration::ZERO,
            turnaround: Duration::ZERO,
            late_answers: LateAnswers::default(),
            local_echo: false,
            no_echo: false,
            paced: false,
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

    /// Modbus ASCII by these rules.
    #[must_use]
    pub fn ascii(rules: ascii::Rules) -> Config {
        Config { mode: Mode::Ascii(rules), ..Config::rtu(LineRules::over_tcp()) }
    }
}
