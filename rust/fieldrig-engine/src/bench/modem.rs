//! A modem line (RTS or DTR) that switches the power of a real device, or resets it: `power` and `restart` with `line`.
//!
//! Rules of this file:
//! - The line is that of a console of the device (`link`), or of a port that nothing else is done with (`port`).
//! - Such a port is a serial one or an RFC 2217 server: nothing else carries modem lines.
//! - A line is clear once nobody has its port open. So the safe state can only be the one in which the line is clear,
//!   and a device that lives from its console's line cannot be prepared, since its links are closed meanwhile.

use super::keys::Kind::{self, Text, Truth, Word};
use super::keys::{Key, Shape, key, required, shape};
use super::life::{Need, completed, default};
use super::place::{Outcome, Place};
use super::plan::{DeviceLink, Reached};
use super::ports;
use super::section::Section;
use super::switching::{self, SAFE, SETTLE, TIMEOUT};
use crate::PortSpec;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::record::Value;

const LINES: [&str; 2] = ["rts", "dtr"];
const LINE_WORDS: [(&str, ()); 2] = [("rts", ()), ("dtr", ())];
const REMEDY: &str =
    "modem lines are there on a serial port (\"/dev/ttyUSB0\") and on a serial server (\"rfc2217://HOST:PORT\")";

const LINK: Key = key("link", Text, "the console of the device whose port has the line; the only one if not given");
const PORT: Key =
    key("port", Text, "instead: a port that is there for this alone, \"/dev/ttyUSB3\" or \"rfc2217://HOST:PORT\"");

pub(super) static POWER_LINE: Shape = shape(
    "power by a modem line",
    &[
        required("line", Word(&LINES), "which line switches"),
        LINK,
        PORT,
        key("inverted", Truth, "power is on while the line is clear, and not while it is set"),
        SETTLE,
        TIMEOUT,
        SAFE,
    ],
);

pub(super) static RESTART_LINE: Shape = shape(
    "reset by a modem line",
    &[
        required("line", Word(&LINES), "which line resets"),
        LINK,
        PORT,
        key("pulse", Kind::Duration, "how long the device is held in reset, 100 ms by default"),
        key("inverted", Truth, "the device is held in reset while the line is clear, and not while it is set"),
        TIMEOUT,
    ],
);

/// Reads `power = { line = .. }`.
pub(super) fn power(mut section: Section<'_>, needs: &mut Vec<Need>) -> Outcome<Value> {
    let (port, inverted) = read(&mut section, needs)?;
    let safe = section.text("safe")?;
    switching::common(&mut section, &POWER_LINE, &switching::states())?;
    let clear = if inverted { "on" } else { "off" };
    if let Some(safe) = safe.filter(|safe| safe.value != clear) {
        let message = format!("`safe` in {} can only be `{clear}`", section.name);
        let hint = "a modem line is clear once nobody has its port open; with `inverted` a clear line is `on`";
        return Err(safe.place.error(message).hint(hint));
    }
    Ok(table(&section, port, inverted, &[("settle", "0s"), ("timeout", super::life::ACTION_LIMIT)]))
}

/// Reads `restart = { line = .. }`.
pub(super) fn restart(mut section: Section<'_>, needs: &mut Vec<Need>) -> Outcome<Value> {
    let (port, inverted) = read(&mut section, needs)?;
    if section.duration("pulse")?.is_some_and(|pulse| pulse.is_zero()) {
        let message = format!("`pulse` in {} is no time at all", section.name);
        return Err(section.locate("pulse").error(message).hint("write for example pulse = \"100ms\""));
    }
    section.duration("timeout")?;
    section.finish(&RESTART_LINE)?;
    Ok(table(&section, port, inverted, &[("pulse", "100ms"), ("timeout", super::life::ACTION_LIMIT)]))
}

/// What both have: the port, if it is there for this alone, and whether a clear line does it.
fn read(section: &mut Section<'_>, needs: &mut Vec<Need>) -> Outcome<(Option<String>, bool)> {
    section.word("line", &LINE_WORDS)?;
    let (link, port) = (section.text("link")?, section.text("port")?);
    let inverted = section.truth("inverted")?.unwrap_or(false);
    let Some(port) = port else {
        let place = link.as_ref().map_or_else(|| section.locate("line"), |link| link.place.clone());
        needs.push(Need { family: "console", link: link.map(|link| link.value), place, own: true, lines: true });
        return Ok((None, inverted));
    };
    if link.is_some() {
        let message = format!("{} says two places: `link` and `port`", section.name);
        return Err(port.place.error(message));
    }
    // Nothing is said on it: any speed does.
    let url = ports::port_url(&port.value, "9600 8N1".parse::<LineSettings>().ok());
    let url = url.map_err(|(problem, hint)| port.place.error(problem).hint(hint))?;
    check_port(&url, &port.place)?;
    Ok((Some(url), inverted))
}

fn table(section: &Section<'_>, port: Option<String>, inverted: bool, defaults: &[(&str, &str)]) -> Value {
    let mut table = completed(section, "line", defaults);
    if let (Some(port), Some((_, slot))) = (port, table.iter_mut().find(|(key, _)| key == "port")) {
        *slot = Value::Text(port);
    }
    default(&mut table, "inverted", Value::Bool(inverted));
    Value::Table(table)
}

/// Refuses a port that has no modem lines.
fn check_port(url: &str, place: &Place) -> Outcome<()> {
    match PortSpec::parse(url) {
        Ok(PortSpec::Serial { .. } | PortSpec::Rfc2217Connect { .. }) => Ok(()),
        _ => Err(place.error(format!("`{url}` has no modem lines")).hint(REMEDY)),
    }
}

/// Refuses a link of a real device whose port has no modem lines.
pub(super) fn check_link(need: &Need, links: &[DeviceLink]) -> Outcome<()> {
    let found = links.iter().find(|link| match &need.link {
        Some(name) => link.name == *name,
        None => link.protocol.name.starts_with(need.family),
    });
    match found.map(|link| &link.reached) {
        Some(Reached::Port(url)) => check_port(url, &need.place),
        Some(Reached::Wire(name)) => {
            let message = format!("its port is joined to the wire `{name}`, which others are on, too: no modem lines");
            Err(need.place.error(message).hint("write port = \"..\" with a port that is there for this alone"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_that_are_read_are_those_that_are_described() {
        assert!(is_described_by(&LINE_WORDS, &Word(&LINES)));
    }
}
