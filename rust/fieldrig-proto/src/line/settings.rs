//! Speed and character format of a serial line, written `9600 8E1`.

use crate::time::Duration;
use std::fmt;
use std::str::FromStr;

/// Parity bit.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even number of ones.
    Even,
    /// Odd number of ones.
    Odd,
    /// Always 1: the ninth bit of an address on a multidrop line, or a second stop bit.
    Mark,
    /// Always 0.
    Space,
}

/// Stop bits.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// Speed and character format.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct LineSettings {
    /// Bits per second on the wire.
    pub baud: u32,
    /// Data bits, 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits.
    pub stop_bits: StopBits,
}

impl LineSettings {
    /// Time of one character on the wire: start bit, data bits, parity bit, stop bits.
    #[must_use]
    pub fn character_time(&self) -> Duration {
        self.time_of(1)
    }

    /// Time of so many characters without a pause between them, rounded once: at 9600 8E1 three characters take
    /// 3 437 500 ns, one nanosecond more than three times [`LineSettings::character_time`].
    #[must_use]
    pub fn time_of(&self, characters: usize) -> Duration {
        let parity = u128::from(self.parity != Parity::None);
        let stop = if self.stop_bits == StopBits::Two { 2 } else { 1 };
        let bits = (1 + u128::from(self.data_bits) + parity + stop) * characters as u128;
        let nanos = bits * 1_000_000_000 / u128::from(self.baud.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for LineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
            Parity::Mark => 'M',
            Parity::Space => 'S',
        };
        let stop = if self.stop_bits == StopBits::Two { 2 } else { 1 };
        write!(f, "{} {}{parity}{stop}", self.baud, self.data_bits)
    }
}

/// Why a text is not the settings of a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a line setting: {problem}; write speed and format, such as \"9600 8E1\"")]
pub struct SettingsError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl FromStr for LineSettings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<LineSettings, SettingsError> {
        let error = |problem| SettingsError { text: text.to_owned(), problem };
        if text.trim().is_empty() {
            return Err(error("it is empty"));
        }
        let (baud, format) =
            text.trim().split_once(char::is_whitespace).ok_or_else(|| error("the format is missing"))?;
        let baud = baud.parse().ok().filter(|b| *b > 0).ok_or_else(|| error("the speed is not 1 to 4294967295"))?;
        let [data, parity, stop] = format.trim().as_bytes() else {
            return Err(error("the format is not three characters"));
        };
        let data_bits = match data {
            b'5'..=b'8' => data - b'0',
            _ => return Err(error("the data bits are not 5 to 8")),
        };
        let parity = match parity.to_ascii_uppercase() {
            b'N' => Parity::None,
            b'E' => Parity::Even,
            b'O' => Parity::Odd,
            b'M' => Parity::Mark,
            b'S' => Parity::Space,
            _ => return Err(error("the parity is not N, E, O, M or S")),
        };
        let stop_bits = match stop {
            b'1' => StopBits::One,
            b'2' => StopBits::Two,
            _ => return Err(error("the stop bits are not 1 or 2")),
        };
        Ok(LineSettings { baud, data_bits, parity, stop_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_written() {
        let settings: LineSettings = "9600 8E1".parse().expect("valid settings");
        assert_eq!(settings.to_string(), "9600 8E1");
        assert_eq!(settings.character_time(), Duration::from_nanos(1_145_833));
        assert_eq!(settings.time_of(3), Duration::from_nanos(3_437_500));
        for (text, parity) in [("300 8M1", Parity::Mark), ("300 8S1", Parity::Space)] {
            let settings: LineSettings = text.parse().expect("valid settings");
            assert_eq!((settings.parity, settings.to_string().as_str()), (parity, text));
            assert_eq!(settings.time_of(3), Duration::from_millis(110), "eleven bits each");
        }
        for (text, problem) in [
            ("9600", "the format is missing"),
            (" ", "it is empty"),
            ("fast 8E1", "the speed is not 1 to 4294967295"),
            ("0 8E1", "the speed is not 1 to 4294967295"),
            ("4294967296 8E1", "the speed is not 1 to 4294967295"),
            ("9600 9E1", "the data bits are not 5 to 8"),
            ("9600 8X1", "the parity is not N, E, O, M or S"),
            ("9600 8E3", "the stop bits are not 1 or 2"),
        ] {
            assert_eq!(text.parse::<LineSettings>().map_err(|e| e.problem), Err(problem));
        }
    }
}
