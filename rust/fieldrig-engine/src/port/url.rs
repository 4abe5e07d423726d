//! Port URLs.

use super::{Drive, Mismatch, ModemLines, PortSpec, Rs485, SerialOptions};
use crate::bench::did_you_mean;
use crate::layer::tls::{KEYS, TlsSettings};
use fieldrig_proto::line::{LINE_KEYS, LineSettings, Parity, StopBits};
use fieldrig_proto::time::{Duration, parse_duration};
use std::net::IpAddr;
use std::path::PathBuf;

/// Why a text is not the URL of a port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{url}` is not a port: {problem}")]
pub struct UrlError {
    /// The text as given.
    pub url: String,
    /// What is wrong with it.
    pub problem: String,
    /// What it should look like.
    pub hint: String,
}

/// Every scheme with an example; the order is that of the hint.
const SCHEMES: &[(&str, &str)] = &[
    ("tcp", "tcp://192.168.1.5:502"),
    ("tcp-listen", "tcp-listen://127.0.0.1:0"),
    ("socket", "socket://192.168.1.5:4001"),
    ("tls", "tls://192.168.1.5:802?ca=ca.pem&cert=client.pem&key=client.key"),
    ("tls-listen", "tls-listen://127.0.0.1:0?ca=ca.pem&cert=device.pem&key=device.key"),
    ("udp", "udp://192.168.1.5:502"),
    ("udp-listen", "udp-listen://127.0.0.1:0"),
    ("rfc2217", "rfc2217://192.168.1.7:4001?line=9600+8E1"),
    ("rfc2217-listen", "rfc2217-listen://127.0.0.1:0?line=9600+8E1"),
    ("serial", "serial:///dev/ttyUSB0?line=9600+8E1"),
    ("pty", "pty://?line=9600+8E1"),
    ("unix", "unix:///run/device.sock"),
    ("unix-listen", "unix-listen:///run/device.sock"),
    ("wire", "wire://bus485"),
    ("memory", "memory://broker"),
    ("memory-listen", "memory-listen://broker"),
];

/// The keys of a serial port.
const SERIAL_KEYS: [&str; 13] = [
    "line",
    "baud",
    "data",
    "parity",
    "stop",
    "dtr",
    "rts",
    "low_latency",
    "rs485",
    "rs485_rts",
    "rs485_before",
    "rs485_after",
    "rs485_echo",
];

/// What a serial line is set to if its URL does not say.
const DEFAULT_LINE: LineSettings =
    LineSettings { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: StopBits::One };

pub(super) fn parse(url: &str) -> Result<PortSpec, UrlError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(error(url, "it has no scheme".to_owned(), with_scheme(url)));
    };
    let Some((_, example)) = SCHEMES.iter().find(|(name, _)| *name == scheme) else {
        return Err(error(url, format!("the scheme `{scheme}` is unknown"), like_scheme(scheme)));
    };
    let parts = Parts::new(url, rest, example)?;
    match scheme {
        "tcp" => {
            let parts = parts.known(&["source"])?;
            let address = parts.address()?;
            Ok(match parts.source()? {
                None => PortSpec::TcpConnect(address),
                Some(source) => PortSpec::TcpConnectFrom { address, source },
            })
        }
        "tls" | "tls-listen" => {
            let parts = parts.known(&KEYS)?;
            let (address, listens) = (parts.address()?, scheme == "tls-listen");
            let settings =
                TlsSettings::read(|key| parts.value(key), listens).map_err(|problem| parts.error(problem))?;
            let port = if listens { PortSpec::TcpListen(address) } else { PortSpec::TcpConnect(address) };
            Ok(PortSpec::Tls { port: Box::new(port), settings: Box::new(settings) })
        }
        // What pySerial calls a TCP connection that carries the bytes of a line.
        "socket" => parts.known(&[]).and_then(|p| p.address()).map(PortSpec::TcpConnect),
        "tcp-listen" => parts.known(&[]).and_then(|p| p.address()).map(PortSpec::TcpListen),
        "udp" => parts.known(&[]).and_then(|p| p.address()).map(PortSpec::UdpConnect),
        "udp-listen" => parts.known(&[]).and_then(|p| p.address()).map(PortSpec::UdpListen),
        "unix" => parts.known(&[]).and_then(|p| p.path()).map(PortSpec::UnixConnect),
        "unix-listen" => parts.known(&[]).and_then(|p| p.path()).map(PortSpec::UnixListen),
        "wire" => {
            let parts = parts.known(&["line", "baud", "data", "parity", "stop", "echo"])?;
            let line = parts.says_line().then(|| parts.line()).transpose()?;
            Ok(PortSpec::Tap { name: parts.name()?, line, echo: parts.switch("echo")? })
        }
        "memory" => parts.known(&[]).and_then(|p| p.name()).map(PortSpec::MemoryConnect),
        "memory-listen" => parts.known(&[]).and_then(|p| p.name()).map(PortSpec::MemoryListen),
        "rfc2217" => {
            let parts =
                parts.known(&["line", "baud", "data", "parity", "stop", "dtr", "rts", "holds", "mismatch", "modem"])?;
            let (address, settings) = (parts.address()?, parts.line()?);
            // The last two are for who listens there.
            let (mismatch, modem) = (parts.mismatch()?, parts.modem()?);
            let drive = Drive { dtr: parts.switch("dtr")?, rts: parts.switch("rts")? };
            let holds = parts.holds()?;
            Ok(PortSpec::Rfc2217Connect { address, settings, drive, holds, mismatch, modem })
        }
        "rfc2217-listen" => {
            let parts = parts.known(&["line", "baud", "data", "parity", "stop", "modem", "mismatch"])?;
            let (address, settings) = (parts.address()?, parts.line()?);
            Ok(PortSpec::Rfc2217Listen { address, settings, mismatch: parts.mismatch()?, modem: parts.modem()? })
        }
        "serial" => {
            let parts = parts.known(&SERIAL_KEYS)?;
            Ok(PortSpec::Serial { path: parts.path()?, settings: parts.line()?, options: parts.serial_options()? })
        }
        _ => {
            let parts = parts.known(&["line", "baud", "data", "parity", "stop", "link", "mismatch"])?;
            if !parts.body.is_empty() {
                let hint = format!(
                    "to open one that is there write serial://{}; to name a new one pty://?link=PATH",
                    parts.body
                );
                return Err(error(url, "a pty is a new one, which has no name yet".to_owned(), hint));
            }
            let (symlink, settings) = (parts.value("link").map(PathBuf::from), parts.line()?);
            Ok(PortSpec::Pty { symlink, settings, mismatch: parts.mismatch()? })
        }
    }
}

fn error(url: &str, problem: String, hint: String) -> UrlError {
    UrlError { url: url.to_owned(), problem, hint }
}

/// What somebody meant who wrote no scheme: a device node and a USB name are serial ports, digits behind a colon are TCP.
fn with_scheme(text: &str) -> String {
    let name = text.strip_prefix("serial:").unwrap_or(text);
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    if name.starts_with('/') || name.starts_with("usb:") {
        format!("for a serial port write serial://{name}")
    } else if text.starts_with("tty") {
        format!("for a serial port write serial:///dev/{text}")
    } else if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) {
        format!("for TCP write tcp://{text}")
    } else {
        all_schemes()
    }
}

/// The scheme that somebody meant who wrote another one.
fn like_scheme(word: &str) -> String {
    match did_you_mean(word, SCHEMES.iter().map(|(name, _)| *name)) {
        Some(hint) if hint.starts_with("did") => hint,
        _ => all_schemes(),
    }
}

fn all_schemes() -> String {
    let examples: Vec<&str> = SCHEMES.iter().map(|(_, example)| *example).collect();
    format!("write one of {}", examples.join(", "))
}

/// `%20` and the like as what they stand for (RFC 3986 2.1); a `%` without two digits behind it, or one that would not
/// be text, stands for itself.
fn decoded(text: &str) -> String {
    let (mut octets, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                octets.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(octets).unwrap_or_else(|_| text.to_owned())
}

struct Parts<'a> {
    url: &'a str,
    body: &'a str,
    query: Vec<(&'a str, String)>,
    example: &'a str,
}

impl<'a> Parts<'a> {
    fn new(url: &'a str, rest: &'a str, example: &'a str) -> Result<Parts<'a>, UrlError> {
        let (body, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parts = Parts { url, body, query: Vec::new(), example };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(parts.error(format!("`{pair}` has no value")));
            };
            // A plus is a space in a line (`line=9600+8E1`), and nowhere else: files are named `a+b.pem`, too.
            let value = if key == "line" { value.replace('+', " ") } else { value.to_owned() };
            parts.query.push((key, decoded(&value)));
        }
        Ok(parts)
    }

    fn error(&self, problem: String) -> UrlError {
        error(self.url, problem, format!("write it like {}", self.example))
    }

    fn known(self, keys: &[&str]) -> Result<Parts<'a>, UrlError> {
        match self.query.iter().find(|(key, _)| !keys.contains(key)) {
            None => Ok(self),
            Some((key, _)) if keys.is_empty() => Err(self.error(format!("unknown key `{key}`; this scheme has none"))),
            Some((key, _)) => Err(self.error(format!("unknown key `{key}`; there are {}", keys.join(", ")))),
        }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// `host:port`; the host of an IPv6 address stands in brackets.
    fn address(&self) -> Result<String, UrlError> {
        let body = self.body.trim_end_matches('/');
        let Some((host, port)) = body.rsplit_once(':') else {
            return Err(self.error("the port number is missing".to_owned()));
        };
        if host.is_empty() {
            return Err(self.error("the host is missing".to_owned()));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(self.error("an IPv6 address stands in brackets".to_owned()));
        }
        match port.parse::<u16>() {
            Ok(_) => Ok(body.to_owned()),
            Err(_) => Err(self.error(format!("the port number `{port}` is not 0 to 65535"))),
        }
    }

    fn source(&self) -> Result<Option<IpAddr>, UrlError> {
        let Some(text) = self.value("source") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.error(format!("`source={text}` is no IP address")))
    }

    fn path(&self) -> Result<PathBuf, UrlError> {
        if self.body.is_empty() {
            return Err(self.error("the path is missing".to_owned()));
        }
        Ok(PathBuf::from(self.body))
    }

    /// The name of something in memory.
    fn name(&self) -> Result<String, UrlError> {
        let name = self.body.trim_end_matches('/');
        if name.is_empty() {
            return Err(self.error("the name is missing".to_owned()));
        }
        Ok(name.to_owned())
    }

    /// Who states a line understands only who is set alike, unless it says otherwise.
    fn mismatch(&self) -> Result<Mismatch, UrlError> {
        match self.value("mismatch") {
            None if self.says_line() => Ok(Mismatch::Garbled),
            None | Some("unseen") => Ok(Mismatch::Unseen),
            Some("told") => Ok(Mismatch::Told),
            Some("garbled") => Ok(Mismatch::Garbled),
            Some(other) => Err(self.error(format!("`mismatch={other}` is not unseen, told or garbled"))),
        }
    }

    fn modem(&self) -> Result<ModemLines, UrlError> {
        ModemLines::named(self.value("modem").unwrap_or("ready")).map_err(|problem| self.error(problem))
    }

    /// Whether anything is said of how the line is set.
    fn says_line(&self) -> bool {
        self.query.iter().any(|(key, _)| LINE_KEYS.contains(key))
    }

    fn line(&self) -> Result<LineSettings, UrlError> {
        let keys: Vec<(&str, &str)> = self.query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        LineSettings::from_keys(&keys, DEFAULT_LINE).map_err(|problem| self.error(problem))
    }

    fn serial_options(&self) -> Result<SerialOptions, UrlError> {
        Ok(SerialOptions {
            dtr: self.switch("dtr")?,
            rts: self.switch("rts")?,
            low_latency: self.switch("low_latency")?,
            rs485: self.rs485()?,
        })
    }

    fn rs485(&self) -> Result<Option<Rs485>, UrlError> {
        let enabled = self.switch("rs485")?;
        let detail = SERIAL_KEYS[9..].iter().find(|key| self.value(key).is_some());
        if let (Some(key), None | Some(false)) = (detail, enabled) {
            return Err(self.error(format!("`{key}` needs `rs485=on`")));
        }
        let Some(enabled) = enabled else { return Ok(None) };
        let rts_while_sending = match self.value("rs485_rts") {
            None | Some("high") => true,
            Some("low") => false,
            Some(other) => return Err(self.error(format!("`rs485_rts={other}` is not high or low"))),
        };
        let (before, after) = (self.delay("rs485_before")?, self.delay("rs485_after")?);
        let echo = self.switch("rs485_echo")?.unwrap_or(false);
        Ok(Some(Rs485 { enabled, rts_while_sending, before, after, echo }))
    }

    /// A time in whole milliseconds, as the kernel takes it.
    fn delay(&self, key: &str) -> Result<Duration, UrlError> {
        let Some(text) = self.value(key) else { return Ok(Duration::ZERO) };
        let delay = parse_duration(text).map_err(|problem| self.error(format!("`{key}`: {problem}")))?;
        if delay > Duration::from_secs(1) || delay.subsec_nanos() % 1_000_000 != 0 {
            return Err(self.error(format!("`{key}={text}` is not 0 to 1000 whole milliseconds")));
        }
        Ok(delay)
    }

    /// For how long a serial server may hold a byte back.
    fn holds(&self) -> Result<Option<Duration>, UrlError> {
        let Some(text) = self.value("holds") else { return Ok(None) };
        let holds = parse_duration(text).map_err(|problem| self.error(format!("`holds`: {problem}")))?;
        if holds > Duration::from_secs(1) {
            return Err(self.error(format!("`holds={text}` is not 0 to 1 s")));
        }
        Ok(Some(holds))
    }

    fn switch(&self, key: &str) -> Result<Option<bool>, UrlError> {
        match self.value(key) {
            None | Some("keep") => Ok(None),
            Some("on") => Ok(Some(true)),
            Some("off") => Ok(Some(false)),
            Some(other) => Err(self.error(format!("`{key}={other}` is not on, off or keep"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert!(matches!(parse("tcp://10.0.0.5:502"), Ok(PortSpec::TcpConnect(a)) if a == "10.0.0.5:502"));
        match parse("tcp://10.0.0.5:502?source=10.0.0.9") {
            Ok(PortSpec::TcpConnectFrom { address, source }) => {
                assert_eq!((address.as_str(), source.to_string().as_str()), ("10.0.0.5:502", "10.0.0.9"));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(parse("tcp-listen://[::1]:0"), Ok(PortSpec::TcpListen(a)) if a == "[::1]:0"));
        match parse("serial:///dev/ttyS3?line=19200+8E1&dtr=off") {
            Ok(PortSpec::Serial { path, settings, options }) => {
                assert_eq!(path, PathBuf::from("/dev/ttyS3"));
                assert_eq!(settings.to_string(), "19200 8E1");
                assert_eq!(options, SerialOptions { dtr: Some(false), ..SerialOptions::default() });
            }
            other => panic!("{other:?}"),
        }
        match parse("serial://usb:0403:6001?rts=on&low_latency=on&rs485=on&rs485_rts=low&rs485_after=2ms") {
            Ok(PortSpec::Serial { options, .. }) => {
                assert_eq!((options.dtr, options.rts, options.low_latency), (None, Some(true), Some(true)));
                let rs485 = options.rs485.expect("it is asked for");
                assert!(rs485.enabled && !rs485.rts_while_sending && !rs485.echo);
                assert_eq!((rs485.before, rs485.after), (Duration::ZERO, Duration::from_millis(2)));
            }
            other => panic!("{other:?}"),
        }
        assert!(
            matches!(parse("pty://?link=meter"), Ok(PortSpec::Pty { symlink: Some(link), .. }) if link.as_os_str() == "meter")
        );
        for (link, name) in [("a+b", "a+b"), ("a%20b", "a b"), ("100%", "100%"), ("%26%2525", "&%25"), ("%ff", "%ff")] {
            let parsed = parse(&format!("pty://?link={link}&line=9600+8E1"));
            assert!(
                matches!(&parsed, Ok(PortSpec::Pty { symlink: Some(link), .. }) if link.as_os_str() == name),
                "{parsed:?}"
            );
        }
        let parsed = parse("unix:///run/a+b");
        assert!(matches!(&parsed, Ok(PortSpec::UnixConnect(path)) if path.as_os_str() == "/run/a+b"), "{parsed:?}");
        assert!(
            matches!(parse("wire://bus485"), Ok(PortSpec::Tap { name, line: None, echo: None }) if name == "bus485")
        );
        for (url, wanted) in [
            ("pty://", Mismatch::Unseen),
            ("pty://?baud=9600", Mismatch::Garbled),
            ("pty://?line=9600+8E1&mismatch=told", Mismatch::Told),
        ] {
            assert!(matches!(parse(url), Ok(PortSpec::Pty { mismatch, .. }) if mismatch == wanted), "{url}");
        }
        match parse("rfc2217://h:1?dtr=off&rts=on&holds=2ms") {
            Ok(PortSpec::Rfc2217Connect { drive, holds, .. }) => {
                assert_eq!(drive, Drive { dtr: Some(false), rts: Some(true) });
                assert_eq!(holds, Some(Duration::from_millis(2)));
            }
            other => panic!("{other:?}"),
        }
        let listening = parse("rfc2217://h:1?line=9600+8E1&modem=loop").map(PortSpec::listening);
        let wanted = (Mismatch::Garbled, ModemLines::Loop);
        assert!(matches!(
            listening,
            Ok(PortSpec::Rfc2217Listen { mismatch, modem, .. }) if (mismatch, modem) == wanted
        ));
        assert!(matches!(parse("socket://10.0.0.5:4001"), Ok(PortSpec::TcpConnect(_))));
        let tap = parse("wire://bus485?line=19200+8N1&echo=on");
        assert!(matches!(tap, Ok(PortSpec::Tap { line: Some(line), echo: Some(true), .. }) if line.baud == 19200));
        assert!(matches!(parse("memory://broker"), Ok(PortSpec::MemoryConnect(name)) if name == "broker"));
        assert!(matches!(parse("memory-listen://broker"), Ok(PortSpec::MemoryListen(name)) if name == "broker"));
    }

    #[test]
    fn what_was_meant_is_the_hint() {
        for (url, hint) in [
            ("/dev/ttyUSB0", "for a serial port write serial:///dev/ttyUSB0"),
            ("serial:/dev/ttyUSB0", "for a serial port write serial:///dev/ttyUSB0"),
            ("ttyUSB0", "for a serial port write serial:///dev/ttyUSB0"),
            ("usb:0403:6001", "for a serial port write serial://usb:0403:6001"),
            ("10.0.0.5:502", "for TCP write tcp://10.0.0.5:502"),
            ("seriall:///dev/ttyUSB0", "did you mean `serial`?"),
            ("meter", all_schemes().as_str()),
            ("sctp://10.0.0.5:1", "did you mean `tcp`?"),
            ("pty://meter", "to open one that is there write serial://meter; to name a new one pty://?link=PATH"),
            ("modbus://10.0.0.5:1", all_schemes().as_str()),
        ] {
            assert_eq!(parse(url).map(|_| ()).map_err(|e| e.hint), Err(hint.to_owned()), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, problem) in [
            ("10.0.0.5:502", "it has no scheme"),
            ("sctp://10.0.0.5:1", "the scheme `sctp` is unknown"),
            ("udp://10.0.0.5", "the port number is missing"),
            ("tcp://10.0.0.5", "the port number is missing"),
            ("tcp://:502", "the host is missing"),
            ("tcp://::1:502", "an IPv6 address stands in brackets"),
            ("tcp://h:70000", "the port number `70000` is not 0 to 65535"),
            ("tcp://h:1?line=9600", "unknown key `line`; there are source"),
            ("tcp://h:1?source=there", "`source=there` is no IP address"),
            ("unix-listen:///x?line=9600", "unknown key `line`; this scheme has none"),
            (
                "serial:///dev/ttyS0?speed=1",
                "unknown key `speed`; there are line, baud, data, parity, stop, dtr, rts, low_latency, rs485, rs485_rts, rs485_before, rs485_after, rs485_echo",
            ),
            ("serial:///dev/ttyS0?dtr=maybe", "`dtr=maybe` is not on, off or keep"),
            ("serial:///dev/ttyS0?rs485_rts=low", "`rs485_rts` needs `rs485=on`"),
            ("serial:///dev/ttyS0?rs485=on&rs485_rts=up", "`rs485_rts=up` is not high or low"),
            (
                "serial:///dev/ttyS0?rs485=on&rs485_after=1500us",
                "`rs485_after=1500us` is not 0 to 1000 whole milliseconds",
            ),
            ("pty:///dev/pts/3", "a pty is a new one, which has no name yet"),
            ("pty://?mismatch=loud", "`mismatch=loud` is not unseen, told or garbled"),
            ("rfc2217://h:1?holds=2s", "`holds=2s` is not 0 to 1 s"),
            ("rfc2217-listen://h:0?modem=on", "`modem=on` is not ready, loop or off"),
            ("wire://bus?echo=loud", "`echo=loud` is not on, off or keep"),
            ("serial://", "the path is missing"),
            ("wire://", "the name is missing"),
            ("memory://x?line=9600", "unknown key `line`; this scheme has none"),
            ("pty://?link", "`link` has no value"),
        ] {
            let found = parse(url).map(|_| ()).map_err(|e| e.problem);
            assert_eq!(found, Err(problem.to_owned()), "{url}");
        }
    }
}
