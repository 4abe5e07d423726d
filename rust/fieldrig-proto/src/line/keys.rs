//! The settings of a line from the keys of a URL: `line=9600+8E1`, or `baud=`, `data=`, `parity=` and `stop=`.

use super::{LineSettings, Parity, StopBits};

/// The keys of a URL that say how a line is set.
pub const LINE_KEYS: [&str; 5] = ["line", "baud", "data", "parity", "stop"];

impl LineSettings {
    /// Reads the keys of a URL; what they do not say is as in `default`. Other keys are left alone.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn from_keys(keys: &[(&str, &str)], default: LineSettings) -> Result<LineSettings, String> {
        let value = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        if let Some(line) = value("line") {
            if let Some(other) = LINE_KEYS[1..].iter().find(|name| value(name).is_some()) {
                return Err(format!("`line` says it all; leave `{other}` out"));
            }
            return line.parse().map_err(|problem: super::SettingsError| problem.to_string());
        }
        let mut settings = default;
        if let Some(baud) = value("baud") {
            let speed = baud.parse().ok().filter(|speed| *speed > 0);
            settings.baud = speed.ok_or_else(|| format!("`baud={baud}` is not 1 to 4294967295, such as baud=19200"))?;
        }
        if let Some(data) = value("data") {
            let bits = data.parse().ok().filter(|bits| (5..=8).contains(bits));
            settings.data_bits = bits.ok_or_else(|| format!("`data={data}` is not 5, 6, 7 or 8"))?;
        }
        if let Some(parity) = value("parity") {
            settings.parity =
                parity_of(parity).ok_or_else(|| format!("`parity={parity}` is not none, even, odd, mark or space"))?;
        }
        if let Some(stop) = value("stop") {
            settings.stop_bits = match stop {
                "1" => StopBits::One,
                "2" => StopBits::Two,
                _ => return Err(format!("`stop={stop}` is not 1 or 2")),
            };
        }
        Ok(settings)
    }
}

fn parity_of(word: &str) -> Option<Parity> {
    match word.to_ascii_lowercase().as_str() {
        "none" | "n" => Some(Parity::None),
        "even" | "e" => Some(Parity::Even),
        "odd" | "o" => Some(Parity::Odd),
        "mark" | "m" => Some(Parity::Mark),
        "space" | "s" => Some(Parity::Space),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &[(&str, &str)]) -> Result<String, String> {
        let default = "9600 8N1".parse().expect("valid settings");
        LineSettings::from_keys(keys, default).map(|settings| settings.to_string())
    }

    #[test]
    fn keys_say_what_differs_from_the_default() {
        for (keys, settings) in [
            (&[][..], "9600 8N1"),
            (&[("line", "19200 8E1"), ("dtr", "on")], "19200 8E1"),
            (&[("baud", "19200"), ("parity", "even")], "19200 8E1"),
            (&[("data", "7"), ("parity", "O"), ("stop", "2")], "9600 7O2"),
            (&[("parity", "mark")], "9600 8M1"),
            (&[("parity", "S")], "9600 8S1"),
        ] {
            assert_eq!(read(keys).as_deref(), Ok(settings));
        }
    }

    #[test]
    fn a_wrong_key_is_told_with_its_value() {
        for (keys, problem) in [
            (&[("baud", "fast")][..], "`baud=fast` is not 1 to 4294967295, such as baud=19200"),
            (&[("baud", "0")], "`baud=0` is not 1 to 4294967295, such as baud=19200"),
            (&[("data", "9")], "`data=9` is not 5, 6, 7 or 8"),
            (&[("parity", "high")], "`parity=high` is not none, even, odd, mark or space"),
            (&[("stop", "1.5")], "`stop=1.5` is not 1 or 2"),
            (&[("line", "9600 8E1"), ("stop", "2")], "`line` says it all; leave `stop` out"),
        ] {
            assert_eq!(read(keys).unwrap_err(), problem);
        }
    }
}
