//! URLs of Modbus: which framing, on which port. The only place where they are read.
//!
//! ```text
//!   [FRAMING+]CARRIER://PLACE?KEY=VALUE&..
//!
//!   tcp://192.168.1.5:502                             Modbus/TCP
//!   rtu:///dev/ttyUSB0?baud=19200&parity=even         RTU on a serial line
//!   ascii+rfc2217://10.0.0.7:4001?line=9600+7E1       ASCII on the serial line of a terminal server
//! ```
//! Rules of this file:
//! - The scheme decides: each carrier has a framing of its own unless another one stands before it ([`FORMS`]).
//! - What is no key of the framing belongs to the port, whose URL is made here and read by whoever opens it.
//! - A line that is not described is set as the standard has it: 19200 baud, even parity, 8 bits for RTU, 7 for ASCII
//!   (SL 2.5.1, 2.5.2, 3.3).
//! - Every mistake is told with what to write instead.

use super::{ASCII, RTU, TCP, TLS, UDP};
use crate::line::{LINE_KEYS, LineSettings, Parity, StopBits};
use crate::protocol::Protocol;
use crate::record::Value;

/// One form of a URL, for people.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Form {
    /// The scheme.
    pub scheme: &'static str,
    /// A URL of this form.
    pub example: &'static str,
    /// What it means.
    pub what: &'static str,
}

const fn form(scheme: &'static str, example: &'static str, what: &'static str) -> Form {
    Form { scheme, example, what }
}

/// Every form that is worth a line; `rtu+` and `ascii+` go with every carrier of bytes.
pub const FORMS: &[Form] = &[
    form("tcp", "tcp://192.168.1.5:502", "Modbus/TCP"),
    form("tls", "tls://192.168.1.5:802?ca=ca.pem&cert=client.pem&key=client.key", "Modbus/TCP Security"),
    form("udp", "udp://192.168.1.5:502", "the ADUs of Modbus/TCP as datagrams, one in each"),
    form("rtu", "rtu:///dev/ttyUSB0?baud=19200&parity=even", "RTU on a serial line"),
    form("ascii", "ascii:///dev/ttyUSB0?line=9600+7E1", "ASCII on a serial line"),
    form("rtu+tcp", "rtu+tcp://192.168.1.7:4001", "RTU frames inside a TCP connection"),
    form("ascii+tcp", "ascii+tcp://192.168.1.7:4001", "ASCII frames inside a TCP connection"),
    form(
        "rtu+rfc2217",
        "rtu+rfc2217://192.168.1.7:4001?line=9600+8E1",
        "RTU on the serial line of a serial server (RFC 2217); `ascii+rfc2217` is ASCII",
    ),
    form("pty", "pty://?line=9600+8E1", "RTU on a pseudo terminal; `rtu+pty` is the same, `ascii+pty` is ASCII"),
    form("memory", "memory://meter", "Modbus/TCP in the memory of a rig"),
    form("wire", "wire://bus485", "RTU on a wire in memory; `ascii+wire` is ASCII"),
];

/// Carriers of bytes: what stands alone or after `rtu+` and `ascii+`, and the framing it has alone.
const CARRIERS: &[(&str, Option<Framing>)] = &[
    ("tcp", Some(Framing::Tcp)),
    ("tcp-listen", Some(Framing::Tcp)),
    ("tls", Some(Framing::Tls)),
    ("tls-listen", Some(Framing::Tls)),
    ("udp", Some(Framing::Udp)),
    ("udp-listen", Some(Framing::Udp)),
    ("memory", Some(Framing::Tcp)),
    ("memory-listen", Some(Framing::Tcp)),
    ("serial", Some(Framing::Rtu)),
    ("pty", Some(Framing::Rtu)),
    ("wire", Some(Framing::Rtu)),
    ("rfc2217", Some(Framing::Rtu)),
    ("rfc2217-listen", Some(Framing::Rtu)),
    ("unix", None),
    ("unix-listen", None),
];

/// Carriers with a speed and a format.
const LINES: [&str; 4] = ["serial", "pty", "rfc2217", "rfc2217-listen"];

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Framing {
    Tcp,
    Tls,
    Udp,
    Rtu,
    Ascii,
}

impl Framing {
    fn protocol(self) -> &'static Protocol {
        match self {
            Framing::Tcp => &TCP,
            Framing::Tls => &TLS,
            Framing::Udp => &UDP,
            Framing::Rtu => &RTU,
            Framing::Ascii => &ASCII,
        }
    }

    /// The line of the standard.
    fn line(self) -> LineSettings {
        let data_bits = if self == Framing::Ascii { 7 } else { 8 };
        LineSettings { baud: 19_200, data_bits, parity: Parity::Even, stop_bits: StopBits::One }
    }

    /// Keys of its own, which are settings of its constructors.
    fn keys(self) -> &'static [&'static str] {
        if self == Framing::Ascii { &["case", "pause"] } else { &[] }
    }
}

/// What a URL says.
#[derive(Clone, Debug)]
pub struct Url {
    /// What is spoken.
    pub protocol: &'static Protocol,
    /// URL of the port.
    pub port: String,
    /// Settings for the constructors of the protocol.
    pub settings: Vec<(String, Value)>,
}

/// Why a text is no URL of Modbus.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{url}` is no place for Modbus: {problem}")]
pub struct UrlError {
    /// The text as given.
    pub url: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

impl UrlError {
    /// An error about a URL, with the example of its scheme.
    #[must_use]
    pub fn about(url: &str, problem: impl Into<String>) -> UrlError {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let hint = match FORMS.iter().find(|form| form.scheme == scheme) {
            Some(form) => format!("write it like {}", form.example),
            None => every_form(),
        };
        UrlError { url: url.to_owned(), problem: problem.into(), hint }
    }
}

fn every_form() -> String {
    let examples: Vec<&str> = FORMS.iter().map(|form| form.example).collect();
    format!("write it like one of {}", examples.join(", "))
}

/// Reads a URL.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn parse(url: &str) -> Result<Url, UrlError> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err(without_scheme(url)) };
    let (framing, carrier) = split(scheme).ok_or_else(|| unknown_scheme(url, scheme))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if carrier == "serial" {
        check_serial(url, scheme, place)?;
    }
    let port = if framing == Framing::Tls { secure_port(place) } else { "" };
    let pairs = pairs(url, query)?;
    let is_line = LINES.contains(&carrier);
    let (mut settings, mut lines, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in pairs {
        let spaced = if key == "line" { value.replace('+', " ") } else { value.to_owned() };
        let plain = spaced.replace("%20", " ");
        if framing.keys().contains(&key) {
            settings.push((key.to_owned(), Value::Text(plain)));
        } else if is_line && LINE_KEYS.contains(&key) {
            lines.push((key, plain));
        } else {
            others.push(format!("{key}={value}"));
        }
    }
    if is_line {
        let keys: Vec<(&str, &str)> = lines.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let line = LineSettings::from_keys(&keys, framing.line()).map_err(|problem| UrlError::about(url, problem))?;
        others.insert(0, format!("line={}", line.to_string().replace(' ', "+")));
        // Who does not say how the line is set understands everybody, where that can be seen at all.
        if carrier != "serial" && lines.is_empty() && !others.iter().any(|other| other.starts_with("mismatch=")) {
            others.push("mismatch=unseen".to_owned());
        }
    }
    let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    Ok(Url { protocol: framing.protocol(), port: format!("{carrier}://{place}{port}{query}"), settings })
}

/// 802 is the port of Modbus/TCP Security unless another one is named (SEC 4, appendix A).
fn secure_port(place: &str) -> &'static str {
    let bare = place.rsplit_once(']').map_or(place, |(_, after)| after);
    if place.is_empty() || bare.contains(':') { "" } else { ":802" }
}

/// The keys of a query with their values.
fn pairs<'a>(url: &str, query: &'a str) -> Result<Vec<(&'a str, &'a str)>, UrlError> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(UrlError::about(url, format!("`{pair}` has no value")));
        };
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(UrlError::about(url, format!("`{key}` is there twice")));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Framing and carrier of a scheme.
fn split(scheme: &str) -> Option<(Framing, &str)> {
    let (framing, carrier) = match scheme.split_once('+') {
        Some(("rtu", carrier)) => (Some(Framing::Rtu), carrier),
        Some(("ascii", carrier)) => (Some(Framing::Ascii), carrier),
        Some(_) => return None,
        None => match scheme {
            "rtu" => (Some(Framing::Rtu), "serial"),
            "ascii" => (Some(Framing::Ascii), "serial"),
            carrier => (None, carrier),
        },
    };
    let (carrier, own) = CARRIERS.iter().find(|(name, _)| *name == carrier)?;
    // A datagram has an end of its own; frames inside datagrams are nobody's habit.
    if framing.is_some() && matches!(own, Some(Framing::Udp | Framing::Tls)) {
        return None;
    }
    Some((framing.or(*own)?, carrier))
}

/// The URL under which a client finds what is at this port and speaks this protocol.
#[must_use]
pub fn shown(protocol: &Protocol, port: &str) -> String {
    let (carrier, _) = port.split_once("://").unwrap_or((port, ""));
    let own = CARRIERS.iter().find(|(name, _)| *name == carrier).and_then(|(_, own)| own.map(Framing::protocol));
    let prefix = match own {
        Some(own) if own.name == protocol.name => "",
        _ if protocol.name == RTU.name => "rtu+",
        _ if protocol.name == ASCII.name => "ascii+",
        _ => "",
    };
    match (prefix, port.strip_prefix("serial://")) {
        ("ascii+", Some(rest)) => format!("ascii://{rest}"),
        _ => format!("{prefix}{port}"),
    }
}

fn without_scheme(url: &str) -> UrlError {
    let hint = if url.starts_with('/') || url.starts_with("usb:") {
        format!("for a serial line write rtu://{url}?line=19200+8E1 or ascii://{url}?line=19200+7E1")
    } else if url.contains(':') && !url.contains('/') {
        format!("for Modbus/TCP write tcp://{url}")
    } else {
        every_form()
    };
    UrlError { url: url.to_owned(), problem: "it has no scheme".to_owned(), hint }
}

fn unknown_scheme(url: &str, scheme: &str) -> UrlError {
    let problem = format!("there is no scheme `{scheme}`");
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let hint = match scheme {
        "modbus" | "modbus+tcp" | "modbustcp" | "modbus-tcp" | "mbap" => format!("for Modbus/TCP write tcp://{rest}"),
        "socket" | "rtuovertcp" | "rtu-over-tcp" | "rtu-tcp" | "tcp+rtu" | "modbus+rtu" => {
            format!("for RTU frames inside a TCP connection write rtu+tcp://{rest}")
        }
        "unix" | "unix-listen" => format!("say which framing: rtu+{scheme}://{rest} or ascii+{scheme}://{rest}"),
        _ => every_form(),
    };
    UrlError { url: url.to_owned(), problem, hint }
}

/// Two usual mistakes about serial ports.
fn check_serial(url: &str, scheme: &str, place: &str) -> Result<(), UrlError> {
    let problem = |problem: String, hint: String| Err(UrlError { url: url.to_owned(), problem, hint });
    if place.starts_with("dev/") {
        let hint = format!("a path begins with a slash: {scheme}:///{place}");
        return problem(format!("`{place}` is no absolute path"), hint);
    }
    let is_address =
        |(host, port): (&str, &str)| !host.is_empty() && !host.contains(['/', ':']) && port.parse::<u16>().is_ok();
    if place.rsplit_once(':').is_some_and(is_address) {
        let framing = if scheme == "ascii" { "ascii" } else { "rtu" };
        let hint = format!("for frames inside a TCP connection write {framing}+tcp://{place}");
        return problem(format!("`{place}` is an address, not a serial port"), hint);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;

    #[test]
    fn every_form_is_read_and_shown_again() {
        for (url, name, port) in [
            ("tcp://192.168.1.5:502", "modbus-tcp", "tcp://192.168.1.5:502"),
            ("tcp://h:1?source=10.0.0.1", "modbus-tcp", "tcp://h:1?source=10.0.0.1"),
            ("tls://h?ca=ca.pem", "modbus-tls", "tls://h:802?ca=ca.pem"),
            ("tls://[::1]", "modbus-tls", "tls://[::1]:802"),
            ("tls-listen://h:0?key=k.pem", "modbus-tls", "tls-listen://h:0?key=k.pem"),
            ("udp://h:502", "modbus-udp", "udp://h:502"),
            ("udp-listen://127.0.0.1:0", "modbus-udp", "udp-listen://127.0.0.1:0"),
            ("rfc2217://h:1", "modbus-rtu", "rfc2217://h:1?line=19200+8E1&mismatch=unseen"),
            ("ascii+rfc2217-listen://h:0?baud=9600", "modbus-ascii", "rfc2217-listen://h:0?line=9600+7E1"),
            ("rtu:///dev/ttyUSB0", "modbus-rtu", "serial:///dev/ttyUSB0?line=19200+8E1"),
            (
                "rtu:///dev/ttyUSB0?baud=9600&parity=none&dtr=off",
                "modbus-rtu",
                "serial:///dev/ttyUSB0?line=9600+8N1&dtr=off",
            ),
            ("rtu://usb:0403:6001:FT4XK2?line=9600+8E1", "modbus-rtu", "serial://usb:0403:6001:FT4XK2?line=9600+8E1"),
            ("serial:///dev/ttyS0?line=9600+8N2", "modbus-rtu", "serial:///dev/ttyS0?line=9600+8N2"),
            ("ascii:///dev/ttyUSB0", "modbus-ascii", "serial:///dev/ttyUSB0?line=19200+7E1"),
            ("rtu+tcp://h:4001", "modbus-rtu", "tcp://h:4001"),
            ("ascii+tcp://h:4001", "modbus-ascii", "tcp://h:4001"),
            ("ascii+tcp-listen://h:0", "modbus-ascii", "tcp-listen://h:0"),
            ("pty://", "modbus-rtu", "pty://?line=19200+8E1&mismatch=unseen"),
            ("ascii+pty://?link=meter", "modbus-ascii", "pty://?line=19200+7E1&link=meter&mismatch=unseen"),
            ("wire://bus", "modbus-rtu", "wire://bus"),
            ("ascii+wire://bus", "modbus-ascii", "wire://bus"),
            ("memory://meter", "modbus-tcp", "memory://meter"),
            ("rtu+memory://meter", "modbus-rtu", "memory://meter"),
            ("rtu+unix:///run/meter", "modbus-rtu", "unix:///run/meter"),
        ] {
            let read = parse(url).unwrap_or_else(|error| panic!("{error}; {}", error.hint));
            assert_eq!((read.protocol.name, read.port.as_str()), (name, port), "{url}");
            let again = parse(&shown(read.protocol, &read.port)).expect("what is shown can be read");
            assert_eq!((again.protocol.name, again.port), (name, read.port));
        }
        for form in FORMS {
            assert!(parse(form.example).is_ok(), "{}", form.example);
            assert!(form.example.starts_with(form.scheme));
        }
    }

    #[test]
    fn keys_of_the_framing_are_settings_of_its_constructors() {
        let url = parse("ascii:///dev/ttyS0?case=any&pause=5s").expect("a URL");
        assert_eq!(url.port, "serial:///dev/ttyS0?line=19200+7E1");
        let names: Vec<&str> = url.settings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["case", "pause"]);
        for constructor in ASCII.constructors.iter().filter(|constructor| constructor.role != Role::Tester) {
            for name in &names {
                assert!(constructor.keys.iter().any(|key| key.name == *name), "{name}");
            }
        }
    }

    #[test]
    fn every_mistake_is_told_with_what_to_write_instead() {
        for (url, problem, hint) in [
            ("/dev/ttyUSB0", "it has no scheme", "rtu:///dev/ttyUSB0?line=19200+8E1"),
            ("10.0.0.5:502", "it has no scheme", "tcp://10.0.0.5:502"),
            ("meter", "it has no scheme", "tcp://192.168.1.5:502"),
            ("modbus://h:502", "there is no scheme `modbus`", "tcp://h:502"),
            ("socket://h:4001", "there is no scheme `socket`", "rtu+tcp://h:4001"),
            ("unix:///run/x", "there is no scheme `unix`", "rtu+unix:///run/x"),
            ("rtu+udp://h:1", "there is no scheme `rtu+udp`", "udp://192.168.1.5:502"),
            ("tcp+tcp://h:1", "there is no scheme `tcp+tcp`", "tcp://192.168.1.5:502"),
            ("rtu+rtu://h:1", "there is no scheme `rtu+rtu`", "tcp://192.168.1.5:502"),
            ("rtu://dev/ttyUSB0", "`dev/ttyUSB0` is no absolute path", "rtu:///dev/ttyUSB0"),
            ("rtu://10.0.0.5:4001", "`10.0.0.5:4001` is an address, not a serial port", "rtu+tcp://10.0.0.5:4001"),
            ("ascii://host:4001", "`host:4001` is an address, not a serial port", "ascii+tcp://host:4001"),
            (
                "rtu:///dev/ttyS0?parity=on",
                "`parity=on` is not none, even, odd, mark or space",
                "baud=19200&parity=even",
            ),
            ("rtu:///dev/ttyS0?baud", "`baud` has no value", "baud=19200"),
            ("rtu:///dev/ttyS0?baud=1&baud=2", "`baud` is there twice", "baud=19200"),
            ("rtu:///dev/ttyS0?line=9600+8E1&stop=2", "`line` says it all; leave `stop` out", "baud=19200"),
        ] {
            let error = parse(url).expect_err(url);
            assert_eq!(error.problem, problem, "{url}");
            assert!(error.hint.contains(hint), "{url}: {}", error.hint);
        }
    }
}
