//! Opening the ports of a node before its endpoint runs.

use super::stream::{Listener, Stream, await_events, await_writable, begin_tcp, begin_unix, connected, resolve};
use super::{Look, Met, Port, PortSpec, Read, open_error, pty::Pty, serial::Serial, udp};
use crate::drive::wires::Wires;
use crate::error::EngineError;
use crate::layer::rfc2217::{Rfc2217Port, Side};
use crate::layer::tls::Refusal;
use fieldrig_proto::endpoint::Peer;
use fieldrig_proto::time::Duration;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

/// How long opening waits for a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// Opens `spec` under the name `via` and says where it can be reached.
pub(crate) fn open(
    wires: &mut Wires,
    via: &str,
    spec: PortSpec,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<String, EngineError> {
    let url = spec.to_string();
    if wires.is_virtual() && !spec.is_in_memory() {
        let hint = "use wires and connections in memory (wire://, memory://), or a rig on real time".to_owned();
        return Err(EngineError::Port { url, what: "virtual time has no real ports".to_owned(), hint: Some(hint) });
    }
    let failed = |error: io::Error| open_error(&url, &error);
    let (spec, tls) = match spec {
        PortSpec::Tls { port, settings } => (*port, Some(settings)),
        other => (other, None),
    };
    let listens = matches!(spec, PortSpec::TcpListen(_) | PortSpec::UnixListen(_) | PortSpec::MemoryListen(_));
    let side = tls.as_deref().filter(|_| listens).map(|settings| wires.server_side(&url, settings)).transpose()?;
    let (port, address, wire): (Box<dyn Port>, String, bool) = match spec {
        PortSpec::Tls { .. } => {
            let what = "there is TLS on TLS, which nobody needs".to_owned();
            return Err(EngineError::Port { url, what, hint: None });
        }
        PortSpec::OnDemand => return Ok(String::new()),
        PortSpec::TcpListen(address) => {
            let listener = resolve(&address).and_then(|found| Listener::tcp(&found[0])).map_err(failed)?;
            let address = listener.address().to_owned();
            wires.listen(via, listener, side).map_err(failed)?;
            return Ok(address);
        }
        PortSpec::Rfc2217Listen { address, settings, mismatch, modem } => {
            let listener = resolve(&address).and_then(|found| Listener::tcp(&found[0])).map_err(failed)?;
            let address = listener.address().to_owned();
            wires.listen_for_lines(via, listener, Side::Server { mismatch, modem }, settings).map_err(failed)?;
            return Ok(address);
        }
        PortSpec::Rfc2217Connect { address, settings, drive, holds, .. } => {
            let stream = Box::new(connect_tcp(&url, &address, None, go_on)?);
            let mut port = Rfc2217Port::new(stream, Side::Client { drive, holds }, settings);
            let hint = "does a serial server speak RFC 2217 on this port?";
            shake_hands(wires, &mut port, &url, ("setting of the line", hint), go_on)?;
            (Box::new(port), address, true)
        }
        PortSpec::UdpListen(address) => {
            let listener = resolve(&address).and_then(|found| Listener::udp(&found[0])).map_err(failed)?;
            let address = listener.address().to_owned();
            wires.listen(via, listener, None).map_err(failed)?;
            return Ok(address);
        }
        PortSpec::UdpConnect(address) => {
            let stream = resolve(&address).and_then(|found| udp::connect(&found[0])).map_err(failed)?;
            (Box::new(stream), address, false)
        }
        PortSpec::UnixListen(path) => {
            wires.listen(via, Listener::unix(&path).map_err(failed)?, side).map_err(failed)?;
            return Ok(path.display().to_string());
        }
        PortSpec::TcpConnect(address) => {
            let stream = connect_tcp(&url, &address, None, go_on)?;
            (Box::new(stream), address, false)
        }
        PortSpec::TcpConnectFrom { address, source } => {
            let stream = connect_tcp(&url, &address, Some(source), go_on)?;
            (Box::new(stream), address, false)
        }
        PortSpec::UnixConnect(path) => {
            let begun = begin_unix(&path).map_err(failed)?;
            let fd = finish(&url, begun, Instant::now() + LIMIT, go_on)?.map_err(failed)?;
            (Box::new(Stream::unix(fd)), path.display().to_string(), false)
        }
        PortSpec::Serial { path, settings, options } => {
            let lines = wires.lines();
            (Box::new(Serial::open(&path, settings, &options, &lines)?), path.display().to_string(), true)
        }
        PortSpec::Pty { symlink, settings, mismatch } => {
            let pty = Pty::open(symlink.as_deref(), settings, mismatch).map_err(failed)?;
            let address = pty.address();
            (Box::new(pty), address, true)
        }
        PortSpec::Memory(end) => (Box::new(end.open()), "memory".to_owned(), true),
        PortSpec::MemoryListen(name) => {
            wires.listen_in_memory(via, &name, side)?;
            return Ok(format!("memory://{name}"));
        }
        PortSpec::Tap { .. } | PortSpec::MemoryConnect(_) => {
            wires.join(via, &spec, tls.as_deref())?;
            return Ok(url);
        }
    };
    let mut peer = Peer { via: via.to_owned(), address: address.clone(), wire, ..Peer::default() };
    let port = match tls {
        None => port,
        Some(settings) => {
            let mut port = wires.secure(port, via, (&url, &address), &settings)?;
            let words = ("TLS handshake", "does it speak TLS on this port?");
            let met = shake_hands(wires, &mut port, &url, words, go_on)?;
            wires.note_met(&mut peer, met);
            Box::new(port)
        }
    };
    wires.attach(port, peer, true).map_err(failed)?;
    Ok(address)
}

/// Waits until a layer has done its handshake.
fn shake_hands(
    wires: &Wires,
    port: &mut dyn Port,
    url: &str,
    (what, hint): (&str, &str),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Met, EngineError> {
    let limit = Instant::now() + LIMIT;
    let broken = |what: String| EngineError::Port { url: url.to_owned(), what, hint: None };
    loop {
        let clock = wires.clock();
        // Nothing comes up before the handshake is done.
        let look = Look { clock, since: clock.now(), wait: false, buffer: &mut [0], stamps: &mut Vec::new() };
        match port.read(look) {
            Read::Opened(met) => return Ok(*met),
            Read::Refused(refusal) => {
                // The other side is told why before the connection ends.
                port.finish();
                let Refusal { reason, untrusted } = refusal;
                return Err(if untrusted {
                    EngineError::Untrusted { url: url.to_owned(), what: reason }
                } else {
                    broken(reason)
                });
            }
            Read::Nothing => {}
            _ => return Err(broken(format!("it ended during the {what}"))),
        }
        if Instant::now() >= limit {
            let what = format!("no answer to the {what}");
            return Err(EngineError::Port { url: url.to_owned(), what, hint: Some(hint.to_owned()) });
        }
        if !go_on() {
            return Err(EngineError::Interrupted);
        }
        if let Some(fd) = port.fd() {
            let events = if port.holds_output() { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            await_events(fd, events, crate::lease::SLICE);
        }
    }
}

fn connect_tcp(
    url: &str,
    address: &str,
    source: Option<IpAddr>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Stream, EngineError> {
    let limit = Instant::now() + LIMIT;
    let addresses = resolve(address).map_err(|error| EngineError::Port {
        url: url.to_owned(),
        what: format!("the host is not known: {error}"),
        hint: Some("is the name right? an address of digits needs no name service".to_owned()),
    })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let begun = match begin_tcp(&address, source) {
            Ok(begun) => begun,
            Err(error) => {
                last = error;
                continue;
            }
        };
        match finish(url, begun, limit, go_on)? {
            Ok(fd) => return Ok(Stream::tcp(fd)),
            Err(error) => last = error,
        }
    }
    Err(open_error(url, &last))
}

/// Waits for a connection that was begun.
fn finish(
    url: &str,
    (fd, done): (OwnedFd, bool),
    limit: Instant,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<io::Result<OwnedFd>, EngineError> {
    if done {
        return Ok(Ok(fd));
    }
    loop {
        match await_writable(fd.as_raw_fd(), crate::lease::SLICE) {
            Ok(()) => return Ok(connected(fd.as_raw_fd()).map(|()| fd)),
            Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(open_error(url, &error)),
            Err(error) if Instant::now() >= limit => return Ok(Err(error)),
            Err(_) if !go_on() => return Err(EngineError::Interrupted),
            Err(_) => {}
        }
    }
}
