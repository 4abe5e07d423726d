//! Ports and brokers as they stand in a bench file.

use super::file::Provided;
use super::keys;
use super::place::{BenchFileError, Outcome};
use super::section::{Located, Section};
use crate::PortSpec;
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::protocol::Protocol;

/// Where devices meet.
pub(super) enum Meeting {
    /// At a broker of ours.
    Embedded,
    /// At the broker of others.
    Outside {
        /// Where.
        url: String,
        /// Why we cannot go there.
        refused: Option<BenchFileError>,
    },
}

/// The embedded broker unless another one is named.
pub(super) fn meeting(protocol: &Protocol, provided: &Provided) -> Outcome<Meeting> {
    let Some(broker) = provided.broker.as_ref().filter(|broker| broker.value != "embedded") else {
        return Ok(Meeting::Embedded);
    };
    let example = format!("write \"embedded\" or \"{}://HOST:PORT\"", protocol.schemes.first().unwrap_or(&"tcp"));
    let error = |problem: String| {
        Err(broker.place.error(format!("`{}` is no broker: {problem}", broker.value)).hint(&*example))
    };
    let Some((scheme, address)) = broker.value.split_once("://") else { return error("it has no scheme".to_owned()) };
    let plain = scheme.strip_suffix('s').filter(|plain| protocol.schemes.contains(plain));
    if plain.is_none() && !protocol.schemes.contains(&scheme) {
        return error(format!("{} has no scheme `{scheme}`", protocol.name));
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {}
        _ => return error("it has no port".to_owned()),
    }
    let no_tls = || {
        let message = format!("TLS is not there yet, and `{}` needs it", broker.value);
        broker.place.error(message).hint(format!("use a broker without it: {}://HOST:PORT", plain.unwrap_or(scheme)))
    };
    let refused = (plain.is_some() || provided.ca.is_some()).then(no_tls);
    Ok(Meeting::Outside { url: broker.value.clone(), refused })
}

/// The address at which something of ours listens.
pub(super) fn check_listen(listen: &Located<String>) -> Outcome<&str> {
    match PortSpec::parse(&format!("tcp-listen://{}", listen.value)) {
        Ok(_) => Ok(&listen.value),
        Err(error) => {
            let message = format!("`{}` is no address to listen at: {}", listen.value, error.problem);
            Err(listen.place.error(message).hint("write \"127.0.0.1:0\" (a free port), or \"0.0.0.0:502\""))
        }
    }
}

/// The port URL of what stands in a bench file: a device node, a USB name, or a URL already.
pub(super) fn port_url(port: &str, line: Option<LineSettings>) -> Result<String, (String, String)> {
    let query = line.map(|line| format!("line={}", line.to_string().replace(' ', "+")));
    if port.starts_with("usb:") {
        check_usb(port)?;
    }
    let url = if port.starts_with('/') || port.starts_with("usb:") {
        let Some(query) = query else {
            let problem = format!("`{port}` is a serial port, and its link has no `line`");
            return Err((problem, "write line = \"9600 8E1\" into the link".to_owned()));
        };
        format!("serial://{port}?{query}")
    } else {
        match query {
            Some(query) if is_line_url(port) && !port.contains("line=") && !port.contains("baud=") => {
                format!("{port}{}{query}", if port.contains('?') { '&' } else { '?' })
            }
            _ => port.to_owned(),
        }
    };
    check_url(&url).map(|()| url)
}

/// What is done to a serial port when it is opened, as the end of its URL: `dtr=off&rts=on`.
pub(super) fn port_options(section: &mut Section<'_>) -> Outcome<Option<Located<String>>> {
    const WORDS: [(&str, &str); 3] = [("on", "on"), ("off", "off"), ("keep", "keep")];
    let place = ["dtr", "rts", "low_latency", "rs485"].into_iter().find(|key| section.has(key));
    let place = section.locate(place.unwrap_or("port"));
    let mut options = Vec::new();
    for key in ["dtr", "rts", "low_latency"] {
        options.extend(section.word(key, &WORDS)?.map(|word| format!("{key}={word}")));
    }
    if let Some(mut rs485) = section.section("rs485")? {
        options.push("rs485=on".to_owned());
        options
            .extend(rs485.word("rts", &[("high", "high"), ("low", "low")])?.map(|level| format!("rs485_rts={level}")));
        for (key, name) in [("before", "rs485_before"), ("after", "rs485_after")] {
            options.extend(rs485.duration(key)?.map(|delay| format!("{name}={}us", delay.as_micros())));
        }
        options.extend(rs485.truth("echo")?.filter(|echo| *echo).map(|_| "rs485_echo=on".to_owned()));
        rs485.finish(&keys::RS485)?;
    }
    Ok((!options.is_empty()).then(|| Located { value: options.join("&"), place }))
}

/// Puts them behind the URL of a port.
pub(super) fn with_options(url: String, options: &str) -> Result<String, (String, String)> {
    if !is_line_url(&url) {
        let problem =
            format!("`{url}` is no serial port, and has no {}", options.split('=').next().unwrap_or_default());
        return Err((problem, "leave it out, or name a serial port".to_owned()));
    }
    let key_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let query: Vec<String> = url.split_once('?').map_or("", |(_, query)| query).split('&').map(key_of).collect();
    if let Some(key) = options.split('&').map(key_of).find(|key| query.contains(key)) {
        return Err((format!("`{key}` is there twice"), format!("`{url}` says it already")));
    }
    let url = format!("{url}{}{options}", if url.contains('?') { '&' } else { '?' });
    check_url(&url).map(|()| url)
}

/// The URL of a port that has a speed and a format.
fn is_line_url(port: &str) -> bool {
    port.starts_with("serial://") || port.starts_with("rfc2217://")
}

/// `usb:VID:PID`, `usb:VID:PID:SERIAL` or `usb:1-4.2`.
fn check_usb(port: &str) -> Result<(), (String, String)> {
    if crate::port::usb::is_usb_name(port) {
        return Ok(());
    }
    let problem = format!("`{port}` is no USB name");
    Err((problem, "write \"usb:VID:PID\" or \"usb:VID:PID:SERIAL\", such as \"usb:0403:6001:FT4XK2\"".to_owned()))
}

/// What a real port can be: the rest of what the engine can open is for ends that are made, not found.
fn check_url(url: &str) -> Result<(), (String, String)> {
    const EXAMPLES: &str = "write \"/dev/ttyUSB0\", \"tcp://HOST:PORT\" or \"unix:///PATH\"";
    // What TLS needs stands in a table of its own.
    let plain = url.strip_prefix("tls://").map(|address| format!("tcp://{address}"));
    match PortSpec::parse(plain.as_deref().unwrap_or(url)) {
        Ok(PortSpec::TcpConnectFrom { .. }) if plain.is_some() => {
            Err((format!("`{url}` says more than an address"), "write \"tls://HOST:PORT\"".to_owned()))
        }
        Ok(
            PortSpec::TcpConnect(_)
            | PortSpec::TcpConnectFrom { .. }
            | PortSpec::UdpConnect(_)
            | PortSpec::UnixConnect(_)
            | PortSpec::Rfc2217Connect { .. }
            | PortSpec::Serial { .. },
        ) => Ok(()),
        Ok(_) => Err((format!("`{url}` is no port of a real device"), EXAMPLES.to_owned())),
        Err(error) => Err((error.to_string(), EXAMPLES.to_owned())),
    }
}
