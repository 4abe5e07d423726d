//! Layers on the connections of a node: put on when a connection begins, and what becomes of their handshakes.

use super::channel::Channel;
use super::wires::{LostPort, News, Wires};
use crate::error::EngineError;
use crate::layer::tls::{ClientSide, Problem, RECORDS, Refusal, ServerSide, Tap, TlsPort, TlsSettings};
use crate::port::{Look, Met, Port, Read};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Conn, Peer, Why};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use rustls::KeyLog;
use std::sync::Arc;

/// How long the other side may take to read an alert before the connection is closed.
const LINGER: Duration = Duration::from_millis(500);

impl Wires {
    /// The TLS of who listens.
    ///
    /// # Errors
    /// What is wrong with the settings or their files.
    pub(crate) fn server_side(&self, url: &str, settings: &TlsSettings) -> Result<Arc<ServerSide>, EngineError> {
        let side = ServerSide::new(settings, self.key_log(settings)).map_err(|problem| at(url, problem))?;
        Ok(Arc::new(side))
    }

    /// The TLS of who connects: made once for the same settings.
    ///
    /// # Errors
    /// What is wrong with the settings or their files.
    pub(crate) fn client_side(&mut self, url: &str, settings: &TlsSettings) -> Result<Arc<ClientSide>, EngineError> {
        if let Some((_, side)) = self.tls.iter().find(|(known, _)| known == settings) {
            return Ok(Arc::clone(side));
        }
        let side = ClientSide::new(settings, self.key_log(settings)).map_err(|problem| at(url, problem))?;
        let side = Arc::new(side);
        self.tls.push((settings.clone(), Arc::clone(&side)));
        Ok(side)
    }

    /// Puts TLS on a connection that we made to `address`.
    ///
    /// # Errors
    /// What is wrong with the settings, their files or the address.
    pub(crate) fn secure(
        &mut self,
        port: Box<dyn Port>,
        via: &str,
        (url, address): (&str, &str),
        settings: &TlsSettings,
    ) -> Result<TlsPort, EngineError> {
        let side = self.client_side(url, settings)?;
        let tap = settings.capture.then(|| self.cipher_tap(via));
        TlsPort::client(port, &side, address, tap).map_err(|problem| at(url, problem))
    }

    /// A connection came in.
    pub(super) fn accepted(&mut self, port: Box<dyn Port>, peer: Peer, tls: Option<&ServerSide>) {
        let port: Box<dyn Port> = match tls {
            None => port,
            Some(side) => {
                let tap = side.capture.then(|| self.cipher_tap(&peer.via));
                match TlsPort::server(port, side, tap) {
                    Ok(port) => Box::new(port),
                    Err((what, _)) => return self.trouble("accept", &std::io::Error::other(what)),
                }
            }
        };
        if let Err(error) = self.attach(port, peer, false) {
            self.trouble("accept", &error);
        }
    }

    /// Where the cipher text of the next connection is captured.
    fn cipher_tap(&mut self, via: &str) -> Tap {
        let we_are = self.kinds.get(via).map_or(Sender::Client, |kind| kind.we_are);
        let name = format!("{} (cipher text)", self.full_name(via));
        let link = match self.cipher_links.get(via) {
            Some(link) => *link,
            None => self.capture.link(&name, Some(&RECORDS), we_are, "TLS records"),
        };
        self.cipher_links.insert(via.to_owned(), link);
        Tap { capture: self.capture.clone(), link, conn: self.next_conn(), clock: self.clock.clone() }
    }

    fn key_log(&self, settings: &TlsSettings) -> Option<Arc<dyn KeyLog>> {
        settings.capture.then(|| Arc::new(Keys(self.capture.clone())) as Arc<dyn KeyLog>)
    }

    /// The handshake of a layer is done: the endpoint hears of the connection.
    pub(super) fn opened(&mut self, conn: Conn, met: Met) {
        let Some(channel) = self.channels.get_mut(&conn.0) else { return };
        channel.opening_limit = None;
        let mut peer = channel.peer.clone();
        if met.version.is_empty() {
            return self.news.push_back(News::Opened(conn));
        }
        self.note_met(&mut peer, met);
        if let Some(channel) = self.channels.get_mut(&conn.0) {
            channel.peer = peer;
        }
        self.news.push_back(News::Opened(conn));
    }

    /// Writes down whom a layer met.
    pub(crate) fn note_met(&self, peer: &mut Peer, met: Met) {
        let Met { certificate, version, suite, resumed } = met;
        let subject = certificate.as_ref().and_then(|certificate| certificate.subject()).unwrap_or_default();
        peer.certificate = certificate;
        let record = Record::new("connection.secured").at(Stamp::exact(self.clock.now()));
        let record = record.with("node", self.node_name()).with("via", peer.via.as_str());
        let record = record.with("peer", peer.address.as_str()).with("subject", subject);
        self.log.write(&record.with("version", version).with("suite", suite).with("resumed", resumed));
    }

    /// A layer refused the connection, or the other side refused it to the layer. Who did so gets to hear of it.
    pub(super) fn refused(&mut self, conn: Conn, refusal: &Refusal) {
        let Some(mut channel) = self.channels.remove(&conn.0) else { return };
        let now = self.clock.now();
        let (via, address) = (channel.peer.via.clone(), channel.peer.address.clone());
        let record = Record::new("connection.refused").at(Stamp::exact(now)).conn(conn).with("node", self.node_name());
        let record = record.with("via", via.as_str()).with("peer", address.as_str());
        self.log.write(&record.with("reason", refusal.reason.as_str()));
        match channel.port.fd() {
            Some(fd) => self.epoll.remove(fd),
            None => self.in_memory -= 1,
        }
        let why = if channel.bound {
            let scheme = match (channel.peer.wire, channel.port.is_datagram()) {
                (true, _) => "rfc2217",
                (false, true) => "udp",
                (false, false) => "tls",
            };
            let (url, reason) = (format!("{scheme}://{address}"), refusal.reason.clone());
            if !channel.port.is_opening() {
                self.lost.push(LostPort { via: via.clone(), url: url.clone(), reason: reason.clone(), at: now });
            }
            Why::Refused { via, reason: format!("{url}: {reason}"), untrusted: refusal.untrusted }
        } else {
            Why::Reset
        };
        if channel.bound || !channel.port.is_opening() {
            self.news.push_back(News::Closed(conn, why));
        }
        channel.port.finish();
        self.lingering.push((now + LINGER, channel.port));
    }

    /// Closes connections that were kept for their alert to be read.
    pub(super) fn let_go(&mut self, now: Time) {
        for (_, mut port) in self.lingering.extract_if(.., |(until, _)| *until <= now) {
            // A socket that is closed with bytes unread sends RST, which may overtake the alert.
            for _ in 0..16 {
                let look = Look {
                    clock: &self.clock,
                    since: now,
                    wait: false,
                    buffer: &mut self.buffer,
                    stamps: &mut self.stamps,
                };
                if !matches!(port.read(look), Read::Bytes(..)) {
                    break;
                }
            }
        }
    }

    /// What an endpoint is told of the end of a connection: nothing of one that it never heard of, unless it asked for it.
    pub(super) fn last_word(conn: Conn, channel: &Channel, why: Why) -> Option<News> {
        let via = channel.peer.via.clone();
        match (channel.port.is_opening(), channel.bound) {
            (false, _) => Some(News::Closed(conn, why)),
            (true, false) => None,
            (true, true) => {
                let reason = format!("{}: it ended before its handshake was done", channel.peer.address);
                Some(News::Closed(conn, Why::Refused { via, reason, untrusted: false }))
            }
        }
    }
}

fn at(url: &str, (what, hint): Problem) -> EngineError {
    EngineError::Port { url: url.to_owned(), what, hint }
}

/// Hands the keys of sessions to the capture.
#[derive(Debug)]
struct Keys(crate::trace::Capture);

impl KeyLog for Keys {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        self.0.session_key(label, client_random, secret);
    }
}
