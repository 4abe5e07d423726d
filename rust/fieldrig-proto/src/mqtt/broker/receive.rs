//! What a broker does with the packets of its clients.

use super::connect::expiry_of;
use super::router::{Entry, Key};
use super::{Broker, BrokerEvent};
use crate::endpoint::{Conn, How, Stamps};
use crate::mqtt::client::kept;
use crate::mqtt::decode::decode;
use crate::mqtt::packet::{
    Ack, Disconnect, Packet, Publish, QoS, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe, Version,
};
use crate::mqtt::property::Properties;
use crate::mqtt::rule::{self, Rule, Violation};
use crate::mqtt::topic;
use crate::time::{Duration, Stamp, Time};
use std::sync::Arc;

/// Where a packet came from.
#[derive(Copy, Clone)]
struct From<'a> {
    conn: Conn,
    key: Key,
    version: Version,
    bytes: &'a [u8],
    at: Stamp,
}

impl Broker {
    pub(super) fn receive(&mut self, now: Time, conn: Conn, bytes: &[u8], stamps: Stamps<'_>) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let version = link.version;
        let mut deframer = std::mem::take(&mut link.deframer);
        let end = stamps.at(bytes.len().saturating_sub(1), bytes.len());
        let fed = deframer.feed(bytes, version, |frame| {
            self.frame(now, conn, frame.bytes, stamps.at(frame.last, bytes.len()));
            self.links.contains_key(&conn)
        });
        match (fed, self.links.get_mut(&conn)) {
            (Ok(()), Some(link)) => link.deframer = deframer,
            (Err(violation), Some(_)) => self.fatal(now, conn, violation, bytes, end),
            (_, None) => {}
        }
    }

    fn frame(&mut self, now: Time, conn: Conn, bytes: &[u8], at: Stamp) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let (version, session) = (link.version, link.session);
        if session.is_some() {
            link.last_heard = now;
        }
        match (decode(bytes, version), session) {
            (Ok(packet), Some(key)) => self.packet(now, packet, From { conn, key, version, bytes, at }),
            (Ok(Packet::Connect(connect)), None) => self.connect(now, conn, *connect, at),
            (Ok(other), None) => {
                let found = other.packet_type().name();
                let place = (0, "packet type");
                let violation = Violation::of(&rule::FIRST_CONNECT, version, place, found, "CONNECT first");
                self.fatal(now, conn, violation, bytes, at);
            }
            (Err(violation), None) if violation.field == "protocol level" => {
                // The answer has the form of 3.1.1, which every client can read [MQTT-3.1.2-2].
                self.note(conn, violation, bytes, at, true);
                self.refuse(now, conn, String::new(), (Some(0x01), "its protocol level is not known"), at);
            }
            (Err(violation), _) => self.fatal(now, conn, violation, bytes, at),
        }
    }

    fn packet(&mut self, now: Time, packet: Packet, from: From<'_>) {
        match packet {
            Packet::Publish(publish) => self.publication(now, publish, from),
            Packet::PubAck(ack) => self.puback(now, &ack, from),
            Packet::Subscribe(subscribe) => self.subscribe(now, subscribe, from),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, from),
            Packet::PingReq => self.send(from.conn, &Packet::PingResp),
            Packet::Disconnect(end) => self.goodbye(now, &end, from),
            Packet::PubRel(ack) => {
                // An identifier we do not know [MQTT-3.7.2-1].
                let code = if from.version == Version::V5 { 0x92 } else { 0 };
                let answer = Ack { code, ..Ack::new(ack.packet_id) };
                self.send(from.conn, &Packet::PubComp(answer));
            }
            Packet::PubRec(ack) | Packet::PubComp(ack) => self.unasked(ack.packet_id, from),
            Packet::Connect(_) => self.wrong(now, &rule::SECOND_CONNECT, "CONNECT", "one CONNECT only", from),
            Packet::Auth(_) => self.wrong(now, &rule::AUTH_UNASKED, "AUTH", "no AUTH unasked", from),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                let name = packet.packet_type().name();
                self.wrong(now, &rule::DIRECTION, name, "a packet that a client sends", from);
            }
        }
    }

    fn publication(&mut self, now: Time, publish: Publish, from: From<'_>) {
        if publish.qos == QoS::ExactlyOnce {
            return self.refuse_exactly_once(now, from);
        }
        if let Some(alias) = publish.properties.topic_alias() {
            let (place, found) = ((0, "Topic Alias"), alias.to_string());
            let expected = "none, since the CONNACK announced none";
            let violation = Violation::of(&rule::TOPIC_ALIAS_RANGE, from.version, place, found, expected);
            return self.fatal(now, from.conn, violation, from.bytes, from.at);
        }
        if publish.properties.subscription_identifier().is_some() {
            let expected = "no Subscription Identifier from a client";
            return self.wrong(now, &rule::SUBSCRIPTION_ID_FROM_CLIENT, "a PUBLISH with one", expected, from);
        }
        let Publish { qos, retain, topic, packet_id, properties, payload, .. } = publish;
        let message = Self::message(now, topic, payload, qos, retain, properties);
        self.route(now, Arc::new(message), Some(from.key));
        if qos == QoS::AtLeastOnce {
            self.send(from.conn, &Packet::PubAck(Ack::new(packet_id)));
        }
    }

    /// MQTT 5 clients were told and broke a rule [MQTT-3.2.2-11]; 3.1.1 has no way to say it.
    fn refuse_exactly_once(&mut self, now: Time, from: From<'_>) {
        if from.version == Version::V5 {
            return self.wrong(now, &rule::QOS_MAXIMUM, "QoS 2", "at most the announced Maximum QoS 1", from);
        }
        let what = "PUBLISH with QoS 2: this broker supports QoS 0 and 1";
        let client_id = self.client_id(from.key);
        self.events.push_back(BrokerEvent::Unsupported { conn: from.conn, client_id, what, at: from.at });
        self.lose(now, from.conn, Some(How::Fin), what.to_owned(), false);
    }

    fn puback(&mut self, now: Time, ack: &Ack, from: From<'_>) {
        let Some(session) = self.sessions.get_mut(from.key) else { return };
        if session.acknowledge(ack.packet_id) {
            self.pump(now, from.conn, from.key);
        } else {
            self.unasked(ack.packet_id, from);
        }
    }

    /// One SUBACK with a code for each filter, in their order [MQTT-3.8.4-6]; the retained messages follow it.
    fn subscribe(&mut self, now: Time, subscribe: Subscribe, from: From<'_>) {
        let id = subscribe.properties.subscription_identifier().copied();
        let mut codes = Vec::with_capacity(subscribe.subscriptions.len());
        let mut retained = Vec::new();
        let client_id = self.client_id(from.key);
        for wanted in subscribe.subscriptions {
            let code = match refusal(&wanted, from.version) {
                Some(code) => code,
                None => {
                    let qos = wanted.qos.min(QoS::AtLeastOnce);
                    let new = self.add_subscription(&wanted, qos, id, from.key);
                    if wanted.retain_handling == 0 || (wanted.retain_handling == 1 && new) {
                        retained.push((wanted.clone(), qos));
                    }
                    qos as u8
                }
            };
            codes.push(code);
            let (conn, client_id, at) = (from.conn, client_id.clone(), from.at);
            self.events.push_back(BrokerEvent::Subscribed { conn, client_id, filter: wanted.filter, code, at });
        }
        let (packet_id, properties) = (subscribe.packet_id, Properties::none());
        self.send(from.conn, &Packet::SubAck(SubAck { packet_id, properties, codes }));
        for (wanted, qos) in retained {
            self.send_retained(now, from.key, &wanted, qos, id);
        }
    }

    fn add_subscription(&mut self, wanted: &Subscription, qos: QoS, id: Option<u32>, key: Key) -> bool {
        let new = self.router.subscribe(&wanted.filter, Entry::new(key, wanted, qos, id));
        if let (true, Some(session)) = (new, self.sessions.get_mut(key)) {
            session.filters.push(wanted.filter.clone());
        }
        new
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, from: From<'_>) {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let found = self.router.unsubscribe(filter, from.key);
            if let (true, Some(session)) = (found, self.sessions.get_mut(from.key)) {
                session.filters.retain(|known| known != filter);
            }
            codes.push(if found { 0x00 } else { 0x11 });
        }
        let (packet_id, properties) = (unsubscribe.packet_id, Properties::none());
        self.send(from.conn, &Packet::UnsubAck(UnsubAck { packet_id, properties, codes }));
    }

    /// DISCONNECT discards the will [MQTT-3.14.4-3], but for code 0x04.
    fn goodbye(&mut self, now: Time, end: &Disconnect, from: From<'_>) {
        if let (Some(seconds), Some(session)) =
            (end.properties.session_expiry().copied(), self.sessions.get_mut(from.key))
        {
            if session.expiry == Some(Duration::ZERO) && seconds != 0 {
                let expected = "no Session Expiry Interval above 0 where CONNECT had 0 (5.0, 3.14.2.2.2)";
                let found = format!("DISCONNECT with {seconds}");
                return self.wrong(now, &rule::DISCONNECT_EXPIRY_RAISED, found, expected, from);
            }
            session.expiry = expiry_of(seconds);
        }
        let graceful = end.code != 0x04;
        self.lose(now, from.conn, Some(How::Fin), "it said DISCONNECT".to_owned(), graceful);
    }

    fn client_id(&self, key: Key) -> Arc<str> {
        self.sessions.get(key).map_or_else(|| Arc::from(""), |session| session.client_id.clone())
    }

    fn wrong(&mut self, now: Time, rule: &Rule, found: impl Into<String>, expected: &'static str, from: From<'_>) {
        let violation = Violation::of(rule, from.version, (0, "packet"), found, expected);
        self.fatal(now, from.conn, violation, from.bytes, from.at);
    }

    fn unasked(&mut self, id: u16, from: From<'_>) {
        let place = (2, "packet identifier");
        let expected = "that of a message that waits for this answer";
        let violation = Violation::of(&rule::UNASKED_ACK, from.version, place, id.to_string(), expected);
        self.note(from.conn, violation, from.bytes, from.at, false);
    }

    fn note(&mut self, conn: Conn, violation: Violation, bytes: &[u8], at: Stamp, fatal: bool) {
        let session = self.links.get(&conn).and_then(|link| link.session);
        let client_id = session.map(|key| self.client_id(key));
        let packet = kept(bytes);
        self.events.push_back(BrokerEvent::Violation { conn, client_id, violation, packet, at, fatal });
    }

    /// A violation ends this connection only [MQTT-4.8.0-1]; MQTT 5 clients are told why (4.13.1).
    fn fatal(&mut self, now: Time, conn: Conn, violation: Violation, bytes: &[u8], at: Stamp) {
        let why = format!("it broke a rule: {violation}");
        let code = violation.code;
        self.note(conn, violation, bytes, at, true);
        self.say_disconnect(conn, code);
        self.lose(now, conn, Some(How::Fin), why, false);
    }
}

/// The code for a filter that is refused, if it is.
fn refusal(wanted: &Subscription, version: Version) -> Option<u8> {
    let v5 = version == Version::V5;
    if topic::check_filter(&wanted.filter).is_err() {
        return Some(if v5 { 0x8f } else { 0x80 });
    }
    let shared = wanted.filter.starts_with("$share/") || &*wanted.filter == "$share";
    (v5 && shared).then_some(0x9e)
}
