//! CONNECT: who may come in, and with which session.

use super::router::Key;
use super::{Alarm, Broker, BrokerEvent};
use crate::endpoint::{Conn, How};
use crate::mqtt::packet::{ConnAck, Connect, Packet, QoS, Version};
use crate::mqtt::property::{Properties, Property};
use crate::time::{Duration, Stamp, Time};
use std::sync::Arc;

/// A refusal: CONNACK code, if one is sent, and why.
type Refusal = (Option<u8>, &'static str);

impl Broker {
    pub(super) fn connect(&mut self, now: Time, conn: Conn, connect: Connect, at: Stamp) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.version = connect.version;
        }
        if let Err((code, why)) = check(&connect) {
            return self.refuse(now, conn, connect.client_id, (code, why), at);
        }
        let assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if assigned { self.assign_id() } else { connect.client_id.as_str().into() };
        self.take_over(now, &client_id);
        let (key, session_present) = self.session_for(now, &client_id, &connect);
        self.bind(now, conn, key, &connect);
        self.send(conn, &Packet::ConnAck(self.connack(&connect, session_present, assigned.then_some(&*client_id))));
        let (version, clean_start, keep_alive) = (connect.version, connect.clean_start, connect.keep_alive);
        let address = self.links.get(&conn).map(|link| link.address.clone()).unwrap_or_default();
        self.events.push_back(BrokerEvent::Connected {
            conn,
            client_id,
            version,
            address,
            clean_start,
            keep_alive,
            session_present,
            at,
        });
        self.resume(now, conn, key);
    }

    /// Refuses with a CONNACK if the version has a code for the reason [MQTT-3.2.2-6], then closes [MQTT-3.2.2-7].
    pub(super) fn refuse(&mut self, now: Time, conn: Conn, client_id: String, (code, why): Refusal, at: Stamp) {
        if let Some(code) = code {
            self.send(conn, &Packet::ConnAck(ConnAck { code, ..ConnAck::default() }));
        }
        self.events.push_back(BrokerEvent::Refused { conn, client_id, code, why: why.to_owned(), at });
        self.lose(now, conn, Some(How::Fin), why.to_owned(), false);
    }

    /// An identifier no session has [MQTT-3.2.2-16].
    fn assign_id(&mut self) -> Arc<str> {
        loop {
            self.assigned += 1;
            let id = format!("fieldrig-{}", self.assigned);
            if self.sessions.find(&id).is_none() {
                return id.into();
            }
        }
    }

    /// The older connection of the same client ends [MQTT-3.1.4-3]. Its will is published unless the session goes on
    /// before the will delay is over (5.0, 3.1.4).
    fn take_over(&mut self, now: Time, client_id: &str) {
        let key = self.sessions.find(client_id);
        let Some(old) = key.and_then(|key| self.sessions.get(key)?.conn) else { return };
        self.say_disconnect(old, 0x8e);
        self.lose(now, old, Some(How::Fin), "another connection took its client id over".to_owned(), false);
    }

    /// The session of a client: the old one, unless it asks for a clean start [MQTT-3.1.2-4] [MQTT-3.1.2-5].
    fn session_for(&mut self, now: Time, client_id: &Arc<str>, connect: &Connect) -> (Key, bool) {
        let old = self.sessions.find(client_id);
        match old {
            Some(key) if !connect.clean_start => (key, true),
            Some(key) => {
                self.end_session(now, key);
                (self.sessions.insert(client_id.clone()), false)
            }
            None => (self.sessions.insert(client_id.clone()), false),
        }
    }

    fn bind(&mut self, now: Time, conn: Conn, key: Key, connect: &Connect) {
        let (Some(link), Some(session)) = (self.links.get_mut(&conn), self.sessions.get_mut(key)) else { return };
        session.conn = Some(conn);
        session.ends = None;
        // The client came back before its will delay was over [MQTT-3.1.3-9].
        session.will = None;
        session.expiry = expiry(connect);
        link.session = Some(key);
        link.will = connect.will.clone();
        link.last_heard = now;
        let imposed = self.config.server_keep_alive.filter(|_| connect.version == Version::V5);
        link.keep_alive = Duration::from_secs(u64::from(imposed.unwrap_or(connect.keep_alive)));
        let announced = connect.properties.receive_maximum().map_or(usize::MAX, |maximum| usize::from(*maximum));
        link.window = self.config.in_flight.clamp(1, 65_000).min(announced);
        link.maximum_packet = connect.properties.maximum_packet_size().map_or(usize::MAX, |size| *size as usize);
        if let Some(due) = link.silent_at() {
            self.alarm(due, Alarm::Silence(conn));
        }
    }

    fn connack(&self, connect: &Connect, session_present: bool, assigned: Option<&str>) -> ConnAck {
        let mut list = Vec::new();
        if connect.version == Version::V5 {
            // What this broker does not do is announced [MQTT-3.2.2-9].
            list.push(Property::MaximumQoS(1));
            list.push(Property::SharedAvailable(0));
            list.extend(assigned.map(|id| Property::AssignedClientId(id.to_owned())));
            list.extend(self.config.server_keep_alive.map(Property::ServerKeepAlive));
            list.extend(u32::try_from(self.config.maximum_packet).ok().map(Property::MaximumPacketSize));
        }
        ConnAck { session_present, code: 0, properties: Properties(list) }
    }
}

fn check(connect: &Connect) -> Result<(), Refusal> {
    let v5 = connect.version == Version::V5;
    if connect.client_id.is_empty() && !connect.clean_start && !v5 {
        return Err((Some(0x02), "an empty client identifier needs a clean session [MQTT-3.1.3-8]"));
    }
    if connect.properties.authentication_method().is_some() {
        return Err((Some(0x8c), "no authentication method is known [MQTT-4.12.0-1]"));
    }
    match &connect.will {
        Some(will) if will.qos == QoS::ExactlyOnce => {
            Err((v5.then_some(0x9b), "a will with QoS 2 is not supported yet [MQTT-3.2.2-12]"))
        }
        _ => Ok(()),
    }
}

/// How long a session outlives its connection: Clean Session 0 keeps it (3.1.1), the Session Expiry Interval says it
/// (5.0, 3.1.2.11.2).
fn expiry(connect: &Connect) -> Option<Duration> {
    let seconds = match connect.version {
        Version::V311 if connect.clean_start => 0,
        Version::V311 => u32::MAX,
        Version::V5 => connect.properties.session_expiry().copied().unwrap_or(0),
    };
    expiry_of(seconds)
}

/// 0xFFFFFFFF is for ever.
pub(super) fn expiry_of(seconds: u32) -> Option<Duration> {
    (seconds != u32::MAX).then(|| Duration::from_secs(u64::from(seconds)))
}
