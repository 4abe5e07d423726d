//! What `fieldrig calibrate` measured: how finely a serial port tells time, kept for the next time it is opened.
//!
//! Rules of this file:
//! - One file for each user of a machine: `$FIELDRIG_CALIBRATION`, else `fieldrig/calibration.toml` in
//!   `$XDG_CONFIG_HOME` or `~/.config`. Not beside the bench file: what it says holds for this machine alone.
//! - A measurement is used only if everything that it depends on is as it was: the adapter, its driver, its
//!   `latency_timer` (FTDI) or `rx_trig_bytes` (8250), the kernel, and a line that is not slower. If not, that is said,
//!   and the port counts as if it had never been measured.
//! - The file is strict TOML; one that is wrong is used for nothing, and that is said, too.

use super::usb;
use crate::bench::BenchFileError;
use crate::bench::tree::{self, Data, Entry, Node};
use crate::error::EngineError;
use fieldrig_proto::line::{LineSettings, SettingsError};
use fieldrig_proto::time::{Duration, human, parse_duration};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEYS: [&str; 8] = ["resolution", "delay", "line", "rounds", "driver", "latency_timer", "rx_trig_bytes", "kernel"];
const HINT: &str = "`fieldrig calibrate` writes it: mend it, or remove it and calibrate again";
const HEAD: &str = "# How finely serial ports of this machine tell time. Written by `fieldrig calibrate PORT`.\n";

/// What a measurement depends on, beside the line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adapter {
    /// Its stable name: `usb:0403:6001:FT4XK2`, or the device node.
    pub name: String,
    /// The driver of the kernel.
    pub driver: Option<String>,
    /// For how long an FTDI adapter collects bytes, in ms.
    pub latency_timer: Option<i64>,
    /// How many bytes an 8250 collects.
    pub rx_trig_bytes: Option<i64>,
    /// The release of the kernel.
    pub kernel: String,
}

/// A measurement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calibration {
    /// Of what.
    pub adapter: Adapter,
    /// So long may a byte have waited before anybody could see it, and so short a gap can still be told from none.
    pub resolution: Duration,
    /// From the end of a byte on the line until it could be seen, in the middle of all rounds.
    pub delay: Duration,
    /// On which line.
    pub line: LineSettings,
    /// From how many rounds.
    pub rounds: i64,
}

impl Adapter {
    /// That of a port, named as in a URL: a device node, a link to one, `usb:0403:6001`.
    ///
    /// # Errors
    /// A USB name that fits nothing, or several.
    pub fn of(port: &str) -> Result<Adapter, EngineError> {
        Adapter::within(Path::new("/"), port)
    }

    fn within(root: &Path, port: &str) -> Result<Adapter, EngineError> {
        let found = usb::device_of(root, port).transpose()?;
        let path = found.unwrap_or_else(|| PathBuf::from(port));
        let node = path.canonicalize().unwrap_or_else(|_| path.clone());
        let name = node.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let device = root.join("sys/class/tty").join(&name);
        let driver = std::fs::read_link(device.join("device/driver")).ok();
        Ok(Adapter {
            // A link that stays is a better name than a number that does not.
            name: usb::stable_name(root, &device).unwrap_or_else(|| path.display().to_string()),
            driver: driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())),
            latency_timer: number(&device.join("device/latency_timer")),
            rx_trig_bytes: number(&device.join("rx_trig_bytes")),
            kernel: text(&root.join("proc/sys/kernel/osrelease")).unwrap_or_default(),
        })
    }

    /// What is not as it was when this was measured; `None` if everything is.
    fn differs(&self, was: &Adapter) -> Option<String> {
        let number = |value: Option<i64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let facts = [
            ("driver", word(&was.driver), word(&self.driver)),
            ("latency_timer", number(was.latency_timer), number(self.latency_timer)),
            ("rx_trig_bytes", number(was.rx_trig_bytes), number(self.rx_trig_bytes)),
            ("kernel", was.kernel.clone(), self.kernel.clone()),
        ];
        let changed = facts.into_iter().find(|(_, before, now)| before != now)?;
        Some(format!("its {} was {}, it is {} now", changed.0, changed.1, changed.2))
    }
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

/// What is known about an open port.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    stored: Result<Calibration, String>,
}

impl Known {
    /// Looks a port up; it is named as in its URL.
    pub(crate) fn of(port: &Path) -> Known {
        let looked_up = || -> Result<Calibration, String> {
            let adapter = Adapter::of(&port.to_string_lossy()).map_err(|error| error.to_string())?;
            let never = || "it was never calibrated".to_owned();
            let file = file().ok_or_else(never)?;
            let all = load(&file).map_err(|error| format!("its calibration is not used: {error}"))?;
            let found = all.into_iter().find(|one| one.adapter.name == adapter.name).ok_or_else(never)?;
            match adapter.differs(&found.adapter) {
                Some(difference) => Err(format!("its calibration is not used: {difference}")),
                None => Ok(found),
            }
        };
        Known { stored: looked_up() }
    }

    /// The resolution on a line, if it was measured and everything is as it was.
    pub(crate) fn resolution(&self, line: &LineSettings) -> Option<Duration> {
        self.usable(line).ok().map(|found| found.resolution)
    }

    /// Where the resolution is from, for people.
    pub(crate) fn note(&self, line: &LineSettings, assumed: Duration) -> String {
        let assumed = human(i64::try_from(assumed.as_nanos()).unwrap_or(i64::MAX));
        match self.usable(line) {
            Ok(found) => format!("calibrated at {} in {} rounds", found.line, found.rounds),
            Err(why) => format!("{why}, so {assumed} is assumed"),
        }
    }

    fn usable(&self, line: &LineSettings) -> Result<&Calibration, String> {
        let found = self.stored.as_ref().map_err(Clone::clone)?;
        if line.character_time() > found.line.character_time() {
            return Err(format!("its calibration is not used: it was made at {}, {line} is slower", found.line));
        }
        Ok(found)
    }
}

/// Why a measurement is not used now, whatever the line; `None` if it is, or if its port is not there to be asked.
#[must_use]
pub fn why_unused(one: &Calibration) -> Option<String> {
    Adapter::of(one.adapter.name.split('@').next()?).ok()?.differs(&one.adapter)
}

/// The file, if this user has a place for it.
#[must_use]
pub fn file() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("FIELDRIG_CALIBRATION").or_else(|| {
        let folder = named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")))?;
        Some(folder.join("fieldrig/calibration.toml"))
    })
}

/// Reads all measurements; there are none if there is no file.
///
/// # Errors
/// The file cannot be read, or is wrong.
pub fn load(file: &Path) -> Result<Vec<Calibration>, EngineError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(file, error.to_string())),
    };
    let name: Arc<str> = Arc::from(file.display().to_string());
    let tree = tree::parse(&name, &text, &|_| None).map_err(told)?;
    let mut found = Vec::new();
    for table in entries(&tree, "the file").map_err(told)? {
        if table.key != "port" {
            let what = format!("unknown key `{}`: it holds [port.\"NAME\"] only", table.key);
            return Err(told(table.place.error(what)));
        }
        for port in entries(&table.node, "`port`").map_err(told)? {
            found.push(read(&port.key, &port.node).map_err(told)?);
        }
    }
    Ok(found)
}

/// Keeps a measurement, in the place of an earlier one of the same port.
///
/// # Errors
/// The file is wrong, or cannot be written.
pub fn store(file: &Path, new: &Calibration) -> Result<(), EngineError> {
    let mut all = load(file)?;
    all.retain(|one| one.adapter.name != new.adapter.name);
    all.push(new.clone());
    let text: String = std::iter::once(HEAD.to_owned()).chain(all.iter().map(written)).collect();
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let folder = file.parent().unwrap_or(Path::new("."));
    let put = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, file)
    };
    put().map_err(|error| wrong(file, error.to_string()))
}

fn wrong(file: &Path, what: String) -> EngineError {
    EngineError::Port { url: file.display().to_string(), what, hint: Some(HINT.to_owned()) }
}

fn told(error: BenchFileError) -> EngineError {
    let url = format!("{}:{}:{}", error.file, error.line, error.column);
    EngineError::Port { url, what: error.message, hint: Some(HINT.to_owned()) }
}

fn entries<'a>(node: &'a Node, what: &str) -> Result<&'a [Entry], BenchFileError> {
    match &node.data {
        Data::Table(entries) => Ok(entries),
        _ => Err(node.place.error(format!("{what} is {}, a table is expected", node.kind()))),
    }
}

fn read(name: &str, node: &Node) -> Result<Calibration, BenchFileError> {
    let entries = entries(node, &format!("[port.\"{name}\"]"))?;
    if let Some(unknown) = entries.iter().find(|entry| !KEYS.contains(&&*entry.key)) {
        return Err(unknown.place.error(format!("unknown key `{}`; known are {}", unknown.key, KEYS.join(", "))));
    }
    let text = |key: &str| match node.entry(key).map(|entry| &entry.node) {
        None => Ok(None),
        Some(Node { data: Data::Text(text), .. }) => Ok(Some(text.clone())),
        Some(other) => Err(other.place.error(format!("`{key}` is {}, a string is expected", other.kind()))),
    };
    let number = |key: &str| match node.entry(key).map(|entry| &entry.node) {
        None => Ok(None),
        Some(Node { data: Data::Int(number), .. }) => Ok(Some(*number)),
        Some(other) => Err(other.place.error(format!("`{key}` is {}, an integer is expected", other.kind()))),
    };
    let missing = |key: &str| node.place.error(format!("missing key `{key}`"));
    let needed = |key: &str| text(key)?.ok_or_else(|| missing(key));
    let length = |key: &str| parse_duration(&needed(key)?).map_err(|error| node.locate(key).error(error.to_string()));
    let line =
        |key: &str| needed(key)?.parse().map_err(|error: SettingsError| node.locate(key).error(error.to_string()));
    let resolution = length("resolution")?;
    if resolution.is_zero() {
        return Err(node.locate("resolution").error("`resolution` is 0: no port tells time exactly"));
    }
    Ok(Calibration {
        resolution,
        delay: length("delay")?,
        line: line("line")?,
        rounds: number("rounds")?.ok_or_else(|| missing("rounds"))?,
        adapter: Adapter {
            name: name.to_owned(),
            driver: text("driver")?,
            latency_timer: number("latency_timer")?,
            rx_trig_bytes: number("rx_trig_bytes")?,
            kernel: needed("kernel")?,
        },
    })
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out + "\""
}

fn written(one: &Calibration) -> String {
    // Rounded up: never finer than it was measured.
    let micros = |length: Duration| format!("\"{}us\"", length.as_nanos().div_ceil(1000));
    let adapter = &one.adapter;
    let mut lines = vec![
        format!("\n[port.{}]", quoted(&adapter.name)),
        format!("resolution = {}", micros(one.resolution)),
        format!("delay = {}", micros(one.delay)),
        format!("line = {}", quoted(&one.line.to_string())),
        format!("rounds = {}", one.rounds),
    ];
    lines.extend(adapter.driver.as_deref().map(|driver| format!("driver = {}", quoted(driver))));
    lines.extend(adapter.latency_timer.map(|number| format!("latency_timer = {number}")));
    lines.extend(adapter.rx_trig_bytes.map(|number| format!("rx_trig_bytes = {number}")));
    lines.push(format!("kernel = {}\n", quoted(&adapter.kernel)));
    lines.join("\n")
}

#[cfg(test)]
mod tests;
