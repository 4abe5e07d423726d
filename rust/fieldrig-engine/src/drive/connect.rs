//! Connections that an endpoint asked for, until they are there or refused.

use super::wires::{News, Wires};
use crate::error::EngineError;
use crate::layer::rfc2217::{Rfc2217Port, Side};
use crate::layer::tls::TlsSettings;
use crate::port::stream::{Stream, begin_tcp, begin_unix, connected, resolve};
use crate::port::wire::TapOptions;
use crate::port::{Port, PortSpec, open_error, serial::Serial, udp};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Conn, Peer, Target, Why};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::time::{Duration, Time};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// How long a connection attempt may take.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A connection under way.
pub(super) struct Attempt {
    fd: OwnedFd,
    what: Wanted,
}

/// What it is to become.
struct Wanted {
    via: String,
    url: String,
    unix: bool,
    /// The local address, if one was chosen.
    source: Option<IpAddr>,
    /// It carries a serial line with these settings, and DTR driven so (RFC 2217).
    line: Option<(LineSettings, Side)>,
    /// The TLS on it.
    tls: Option<Box<TlsSettings>>,
    /// Addresses still to be tried.
    rest: Vec<SocketAddr>,
    limit: Time,
}

impl Attempt {
    pub(super) fn limit(&self) -> Time {
        self.what.limit
    }
}

impl Wires {
    /// Begins a connection.
    pub(super) fn connect(&mut self, now: Time, target: &Target) {
        if self.connect_gated(now, target) {
            return;
        }
        let spec = PortSpec::parse(&target.url);
        if self.clock.is_virtual() && !spec.as_ref().is_ok_and(PortSpec::is_in_memory) {
            return self.refuse(&target.via, format!("{}: virtual time has no real ports", target.url));
        }
        let (via, url) = (target.via.clone(), target.url.clone());
        let mut wanted = Wanted {
            via,
            url,
            unix: false,
            source: None,
            line: None,
            tls: None,
            rest: Vec::new(),
            limit: now + CONNECT_LIMIT,
        };
        let spec = match spec {
            Ok(PortSpec::Tls { port, settings }) => {
                wanted.tls = Some(settings);
                Ok(*port)
            }
            other => other,
        };
        match spec {
            Ok(PortSpec::TcpConnect(address)) => self.resolve_and_try(wanted, &address),
            Ok(PortSpec::TcpConnectFrom { address, source }) => {
                wanted.source = Some(source);
                self.resolve_and_try(wanted, &address);
            }
            Ok(PortSpec::Rfc2217Connect { address, settings, drive, holds, .. }) => {
                wanted.line = Some((settings, Side::Client { drive, holds }));
                self.resolve_and_try(wanted, &address);
            }
            Ok(PortSpec::UdpConnect(address)) => match resolve(&address).and_then(|found| udp::connect(&found[0])) {
                Ok(port) => {
                    let peer = Peer { via: wanted.via.clone(), address, ..Peer::default() };
                    if let Err(error) = self.attach(Box::new(port), peer, true) {
                        self.refuse(&wanted.via, error.to_string());
                    }
                }
                Err(error) => self.refuse(&wanted.via, open_error(&wanted.url, &error).to_string()),
            },
            Ok(PortSpec::UnixConnect(path)) => {
                wanted.unix = true;
                match begin_unix(&path) {
                    Ok((fd, done)) => self.begun(Attempt { fd, what: wanted }, done),
                    Err(error) => self.refuse(&wanted.via, open_error(&wanted.url, &error).to_string()),
                }
            }
            Ok(PortSpec::Serial { path, settings, options }) => {
                match Serial::open(&path, settings, &options, &self.lines) {
                    Ok(port) => {
                        let peer = Peer {
                            via: wanted.via.clone(),
                            address: path.display().to_string(),
                            wire: true,
                            ..Peer::default()
                        };
                        if let Err(error) = self.attach(Box::new(port), peer, true) {
                            self.refuse(&wanted.via, error.to_string());
                        }
                    }
                    Err(error) => self.refuse(&wanted.via, error.to_string()),
                }
            }
            Ok(spec @ (PortSpec::Tap { .. } | PortSpec::MemoryConnect(_))) => {
                if let Err(error) = self.join(&wanted.via, &spec, wanted.tls.as_deref()) {
                    self.refuse(&wanted.via, error.to_string());
                }
            }
            Ok(_) => self.refuse(&wanted.via, format!("{}: this is nothing to connect to", wanted.url)),
            Err(error) => self.refuse(&wanted.via, error.to_string()),
        }
    }

    /// Joins something in memory, which takes no time.
    ///
    /// # Errors
    /// Nobody is there.
    pub(crate) fn join(&mut self, via: &str, spec: &PortSpec, tls: Option<&TlsSettings>) -> Result<Conn, EngineError> {
        let who = self.full_name(via);
        let (port, address, wire): (Box<dyn Port>, _, _) = match spec {
            PortSpec::Tap { name, line, echo } => {
                let we_are = self.kinds.get(via).map_or(Sender::Client, |kind| kind.we_are);
                let options = TapOptions { line: *line, echo: *echo, we_are };
                (Box::new(self.switchboard.tap(name, &who, options)?), spec.to_string(), true)
            }
            PortSpec::MemoryConnect(name) => (Box::new(self.switchboard.connect(name, &who)?), name.clone(), false),
            other => {
                let what = "this is nothing in memory to connect to".to_owned();
                return Err(EngineError::Port { url: other.to_string(), what, hint: None });
            }
        };
        let port = match tls {
            None => port,
            Some(settings) => Box::new(self.secure(port, via, (&spec.to_string(), &address), settings)?),
        };
        let peer = Peer { via: via.to_owned(), address, wire, ..Peer::default() };
        self.attach(port, peer, true).map_err(|error| open_error(&spec.to_string(), &error))
    }

    fn resolve_and_try(&mut self, mut wanted: Wanted, address: &str) {
        match resolve(address) {
            Ok(addresses) => {
                wanted.rest = addresses;
                self.try_next(wanted, io::ErrorKind::NotFound.into());
            }
            Err(error) => self.refuse(&wanted.via, open_error(&wanted.url, &error).to_string()),
        }
    }

    /// Tries the addresses that are left, one after the other.
    fn try_next(&mut self, mut wanted: Wanted, mut last: io::Error) {
        while !wanted.rest.is_empty() {
            match begin_tcp(&wanted.rest.remove(0), wanted.source) {
                Ok((fd, done)) => return self.begun(Attempt { fd, what: wanted }, done),
                Err(error) => last = error,
            }
        }
        self.refuse(&wanted.via, open_error(&wanted.url, &last).to_string());
    }

    fn begun(&mut self, attempt: Attempt, done: bool) {
        if done {
            return self.established(attempt);
        }
        let conn = self.new_conn();
        match self.epoll.add(attempt.fd.as_raw_fd(), super::sys::OUT, u64::from(conn.0)) {
            Ok(()) => {
                self.attempts.insert(conn.0, attempt);
            }
            Err(error) => self.refuse(&attempt.what.via, error.to_string()),
        }
    }

    /// A connection under way is decided. False if `token` is none.
    pub(super) fn settle_attempt(&mut self, token: u64) -> bool {
        let Some(attempt) = u32::try_from(token).ok().and_then(|number| self.attempts.remove(&number)) else {
            return false;
        };
        self.epoll.remove(attempt.fd.as_raw_fd());
        match connected(attempt.fd.as_raw_fd()) {
            Ok(()) => self.established(attempt),
            Err(error) => self.try_next(attempt.what, error),
        }
        true
    }

    fn established(&mut self, attempt: Attempt) {
        let Attempt { fd, what } = attempt;
        let stream: Box<dyn Port> = Box::new(if what.unix { Stream::unix(fd) } else { Stream::tcp(fd) });
        let address = what.url.split_once("://").map_or(what.url.as_str(), |(_, address)| address);
        let address = address.split_once('?').map_or(address, |(address, _)| address).to_owned();
        let port = match &what.tls {
            None => Ok(stream),
            Some(settings) => self
                .secure(stream, &what.via, (&what.url, &address), settings)
                .map(|port| Box::new(port) as Box<dyn Port>),
        };
        let port = match port {
            Ok(port) => port,
            Err(error) => return self.refuse(&what.via, error.to_string()),
        };
        let port = match what.line {
            None => port,
            Some((settings, side)) => Box::new(Rfc2217Port::new(port, side, settings)),
        };
        let peer = Peer { via: what.via.clone(), address, wire: what.line.is_some(), ..Peer::default() };
        if let Err(error) = self.attach(port, peer, true) {
            self.refuse(&what.via, error.to_string());
        }
    }

    pub(super) fn refuse(&mut self, via: &str, reason: String) {
        let conn = self.new_conn();
        self.news.push_back(News::Closed(conn, Why::Refused { via: via.to_owned(), reason, untrusted: false }));
    }

    /// Refuses all attempts under a name.
    pub(super) fn refuse_attempts(&mut self, via: &str) {
        let of_it = |(number, attempt): (&u32, &Attempt)| (attempt.what.via == via).then_some(*number);
        let numbers: Vec<u32> = self.attempts.iter().filter_map(of_it).collect();
        for attempt in numbers.iter().filter_map(|number| self.attempts.remove(number)).collect::<Vec<_>>() {
            self.epoll.remove(attempt.fd.as_raw_fd());
            self.refuse(via, format!("{}: the link was taken down", attempt.what.url));
        }
    }

    /// Refuses attempts that took too long.
    pub(super) fn give_up_attempts(&mut self, now: Time) {
        let late = |(number, attempt): (&u32, &Attempt)| (attempt.limit() <= now).then_some(*number);
        let late: Vec<u32> = self.attempts.iter().filter_map(late).collect();
        for number in late {
            if let Some(attempt) = self.attempts.remove(&number) {
                self.epoll.remove(attempt.fd.as_raw_fd());
                self.try_next(attempt.what, io::ErrorKind::TimedOut.into());
            }
        }
    }
}
