//! What a client does with what arrives.

use super::event::{ClientEvent, kept};
use super::{Client, CommandError, Limits, Pending, State};
use crate::endpoint::{Conn, How, Stamps, Why};
use crate::mqtt::decode::decode;
use crate::mqtt::deframer::Deframer;
use crate::mqtt::packet::{Ack, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, PublishView, QoS, Version};
use crate::mqtt::property::{Properties, Property};
use crate::mqtt::reason;
use crate::mqtt::rule::{self, Rule, Violation};
use crate::time::{Duration, Stamp, Time};

impl Client {
    pub(super) fn is_live(&self, conn: Conn) -> bool {
        matches!(self.state, State::Connecting(live, _) | State::Connected(live) if live == conn)
    }

    /// When the next PINGREQ is due; the rule stands at the top of `mod.rs`.
    pub(super) fn ping_due(&self) -> Option<Time> {
        let connected = matches!(self.state, State::Connected(_));
        (connected && !self.keep_alive.is_zero()).then(|| self.last_sent + self.keep_alive * 3 / 4)
    }

    pub(super) fn open(&mut self, now: Time, conn: Conn) {
        self.state = State::Connecting(conn, now + self.config.connect_timeout);
        self.keep_alive = Duration::from_secs(u64::from(self.config.keep_alive));
        self.deframer = Deframer::limited(self.config.maximum_packet);
        let connect = self.connect_packet();
        if let Err(error) = self.send(now, &Packet::Connect(Box::new(connect))) {
            self.lose(Some(How::Fin), format!("CONNECT cannot be sent: {error}"), None);
        }
    }

    fn connect_packet(&self) -> Connect {
        let config = &self.config;
        let mut properties = config.properties.clone();
        let limit = u32::try_from(config.maximum_packet).ok();
        if let (Version::V5, Some(limit), None) = (config.version, limit, properties.maximum_packet_size()) {
            properties.0.push(Property::MaximumPacketSize(limit.max(1)));
        }
        Connect {
            version: config.version,
            clean_start: config.clean_start,
            keep_alive: config.keep_alive,
            properties,
            client_id: config.client_id.clone(),
            will: config.will.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
        }
    }

    pub(super) fn closed(&mut self, why: Why) {
        let (how, text) = match why {
            Why::Finished => (Some(How::Fin), "the broker closed the connection".to_owned()),
            Why::Reset => (None, "the broker reset the connection".to_owned()),
            Why::HungUp => (None, "the port went away".to_owned()),
            Why::Local => (None, "the connection was closed on our side".to_owned()),
            Why::Refused { reason, .. } => (None, format!("the connection could not be made: {reason}")),
        };
        self.lose(how, text, None);
    }

    pub(super) fn receive(&mut self, now: Time, bytes: &[u8], stamps: Stamps<'_>) {
        let version = self.config.version;
        let mut deframer = std::mem::take(&mut self.deframer);
        let end = stamps.at(bytes.len().saturating_sub(1), bytes.len());
        let fed = deframer.feed(bytes, version, |frame| {
            let at = stamps.at(frame.last, bytes.len());
            match decode(frame.bytes, version) {
                Ok(packet) => self.packet(now, packet, frame.bytes, at),
                Err(violation) => self.fatal(now, violation, frame.bytes, at),
            }
            self.state != State::Idle
        });
        match fed {
            Err(violation) => self.fatal(now, violation, bytes, end),
            Ok(()) if self.state != State::Idle => self.deframer = deframer,
            Ok(()) => {}
        }
    }

    fn packet(&mut self, now: Time, packet: Packet, bytes: &[u8], at: Stamp) {
        let connected = matches!(self.state, State::Connected(_));
        match packet {
            Packet::ConnAck(connack) if !connected => self.connack(now, connack, bytes, at),
            other if !connected => self.wrong(now, &rule::FIRST_CONNACK, &other, "CONNACK first", (bytes, at)),
            Packet::ConnAck(_) => self.wrong(now, &rule::SECOND_CONNACK, &packet, "one CONNACK only", (bytes, at)),
            Packet::Publish(publish) => self.message(now, publish, bytes, at),
            Packet::PubAck(ack) => self.puback(now, &ack, bytes, at),
            Packet::SubAck(suback) => self.suback(now, suback.packet_id, suback.codes, bytes, at),
            Packet::UnsubAck(unsuback) => self.unsuback(now, unsuback.packet_id, unsuback.codes, bytes, at),
            Packet::PingResp => self.pong_due = None,
            Packet::Disconnect(end) if self.config.version == Version::V5 => {
                self.server_disconnect(now, &end, bytes, at)
            }
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                let expected = "no QoS 2 handshake, since none was begun";
                self.wrong(now, &rule::UNASKED_ACK, &packet, expected, (bytes, at));
            }
            Packet::Auth(_) => self.wrong(now, &rule::AUTH_UNASKED, &packet, "no AUTH unasked", (bytes, at)),
            other => self.wrong(now, &rule::DIRECTION, &other, "a packet that a server sends", (bytes, at)),
        }
    }

    fn connack(&mut self, now: Time, connack: ConnAck, bytes: &[u8], at: Stamp) {
        let (State::Connecting(conn, _), version) = (self.state, self.config.version) else { return };
        if connack.code != 0 {
            self.events.push_back(ClientEvent::Refused { code: connack.code, version, at });
            let why = reason::describe(version, PacketType::ConnAck, connack.code);
            return self.lose(Some(How::Fin), format!("the broker refused the connection: {why}"), Some(connack.code));
        }
        if connack.session_present && self.config.clean_start {
            let place = (2, "session present");
            let rule = &rule::SESSION_PRESENT_WITHOUT;
            let violation = Violation::of(rule, version, place, "1", "0 in answer to a clean start");
            return self.fatal(now, violation, bytes, at);
        }
        self.limits = limits(&connack.properties);
        if let Some(seconds) = connack.properties.server_keep_alive() {
            self.keep_alive = Duration::from_secs(u64::from(*seconds));
        }
        self.assigned_id = connack.properties.assigned_client_id().cloned();
        self.state = State::Connected(conn);
        let ConnAck { session_present, properties, .. } = connack;
        self.events.push_back(ClientEvent::Connected { session_present, at, properties });
    }

    fn message(&mut self, now: Time, publish: Publish, bytes: &[u8], at: Stamp) {
        let version = self.config.version;
        if publish.qos == QoS::ExactlyOnce {
            let expected = "QoS 0 or 1, the most we subscribe with";
            let violation = Violation::of(&rule::QOS_GRANTED, version, (0, "QoS"), "2", expected);
            return self.fatal(now, violation, bytes, at);
        }
        if let Some(alias) = publish.properties.topic_alias() {
            let place = (0, "Topic Alias");
            let rule = &rule::TOPIC_ALIAS_RANGE;
            let violation = Violation::of(rule, version, place, alias.to_string(), "none, since we announced none");
            return self.fatal(now, violation, bytes, at);
        }
        if publish.qos == QoS::AtLeastOnce {
            // A PUBACK of four bytes always encodes; a broker that takes less gets none.
            let _ = self.send(now, &Packet::PubAck(Ack::new(publish.packet_id)));
        }
        let message = self.inbox.push(publish, at);
        self.events.push_back(ClientEvent::Message(message));
    }

    fn puback(&mut self, now: Time, ack: &Ack, bytes: &[u8], at: Stamp) {
        let Some(Pending::Publish(ticket)) = self.pending.get(&ack.packet_id).copied() else {
            return self.unasked("PUBACK", ack.packet_id, bytes, at);
        };
        self.pending.remove(&ack.packet_id);
        self.in_flight -= 1;
        if reason::name(Version::V5, PacketType::PubAck, ack.code).is_none() {
            self.odd_code(PacketType::PubAck, ack.code, bytes, at);
        }
        self.events.push_back(ClientEvent::Published { ticket, at, code: ack.code });
        self.send_waiting(now);
    }

    /// Sends what waited for room below Receive Maximum [MQTT-3.3.4-7].
    fn send_waiting(&mut self, now: Time) {
        while self.in_flight < self.limits.receive_maximum {
            let Some(next) = self.waiting.pop_front() else { return };
            if let Err(error) = self.send_one_waiting(now, &next) {
                self.events.push_back(ClientEvent::Failed { ticket: next.ticket, why: error.to_string() });
            }
        }
    }

    fn send_one_waiting(&mut self, now: Time, next: &super::Waiting) -> Result<(), CommandError> {
        let packet_id = self.free_id()?;
        let view = PublishView {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: next.retain,
            topic: &next.topic,
            packet_id,
            properties: &next.properties.0,
            payload: &next.payload,
        };
        self.write_publish(now, &view)?;
        self.pending.insert(packet_id, Pending::Publish(next.ticket));
        self.in_flight += 1;
        Ok(())
    }

    fn suback(&mut self, now: Time, id: u16, granted: Vec<u8>, bytes: &[u8], at: Stamp) {
        let Some(Pending::Subscribe(ticket, count)) = self.pending.get(&id).copied() else {
            return self.unasked("SUBACK", id, bytes, at);
        };
        if granted.len() != count {
            return self.wrong_count(now, granted.len(), count, bytes, at);
        }
        self.pending.remove(&id);
        let known = |code: &&u8| reason::name(self.config.version, PacketType::SubAck, **code).is_none();
        if let Some(code) = granted.iter().find(known).copied() {
            self.odd_code(PacketType::SubAck, code, bytes, at);
        }
        self.events.push_back(ClientEvent::Subscribed { ticket, granted, at });
    }

    fn unsuback(&mut self, now: Time, id: u16, codes: Vec<u8>, bytes: &[u8], at: Stamp) {
        let Some(Pending::Unsubscribe(ticket, count)) = self.pending.get(&id).copied() else {
            return self.unasked("UNSUBACK", id, bytes, at);
        };
        if self.config.version == Version::V5 && codes.len() != count {
            return self.wrong_count(now, codes.len(), count, bytes, at);
        }
        self.pending.remove(&id);
        self.events.push_back(ClientEvent::Unsubscribed { ticket, codes, at });
    }

    fn wrong_count(&mut self, now: Time, found: usize, count: usize, bytes: &[u8], at: Stamp) {
        let place = (bytes.len() - found, "reason codes");
        let expected = format!("{count}, one for each filter");
        let violation =
            Violation::of(&rule::CODE_COUNT, self.config.version, place, format!("{found} codes"), expected);
        self.fatal(now, violation, bytes, at);
    }

    fn server_disconnect(&mut self, now: Time, end: &Disconnect, bytes: &[u8], at: Stamp) {
        if end.properties.session_expiry().is_some() {
            let place = (0, "Session Expiry Interval");
            let rule = &rule::DISCONNECT_EXPIRY;
            let violation = Violation::of(rule, Version::V5, place, "present", "none in the DISCONNECT of a server");
            return self.fatal(now, violation, bytes, at);
        }
        let reason = reason::describe(Version::V5, PacketType::Disconnect, end.code);
        self.lose(Some(How::Fin), format!("the broker disconnected us: {reason}"), Some(end.code));
    }

    fn wrong(&mut self, now: Time, rule: &Rule, packet: &Packet, expected: &'static str, (bytes, at): (&[u8], Stamp)) {
        let found = packet.packet_type().name();
        let violation = Violation::of(rule, self.config.version, (0, "packet type"), found, expected);
        self.fatal(now, violation, bytes, at);
    }

    fn unasked(&mut self, name: &'static str, id: u16, bytes: &[u8], at: Stamp) {
        let (place, found) = ((2, "packet identifier"), format!("{id} in a {name}"));
        let expected = "that of a request that waits for this answer";
        self.odd(Violation::of(&rule::UNASKED_ACK, self.config.version, place, found, expected), bytes, at);
    }

    fn odd_code(&mut self, packet_type: PacketType, code: u8, bytes: &[u8], at: Stamp) {
        let expected = format!("a code of the table of {}", packet_type.name());
        let place = (bytes.len() - 1, "reason code");
        let violation = Violation::of(&rule::CODE_TABLE, self.config.version, place, format!("0x{code:02x}"), expected);
        self.odd(violation, bytes, at);
    }

    /// A violation that leaves the connection usable.
    fn odd(&mut self, violation: Violation, bytes: &[u8], at: Stamp) {
        let packet = kept(bytes);
        self.events.push_back(ClientEvent::Violation { violation, packet, at, fatal: false });
    }

    /// A violation that ends the connection [MQTT-4.8.0-1]; MQTT 5 says why (4.13.1).
    fn fatal(&mut self, now: Time, violation: Violation, bytes: &[u8], at: Stamp) {
        if self.state == State::Idle {
            return;
        }
        if self.config.version == Version::V5 && self.is_connected() {
            let properties = Properties::none();
            // A DISCONNECT without properties always encodes.
            let _ = self.send(now, &Packet::Disconnect(Disconnect { code: violation.code, properties }));
        }
        let why = format!("the broker broke a rule: {violation}");
        let packet = kept(bytes);
        self.events.push_back(ClientEvent::Violation { violation, packet, at, fatal: true });
        self.lose(Some(How::Fin), why, None);
    }
}

fn limits(properties: &Properties) -> Limits {
    Limits {
        receive_maximum: properties.receive_maximum().map_or(65_535, |maximum| usize::from(*maximum)),
        maximum_qos: properties.maximum_qos().copied().unwrap_or(2),
        retain: properties.retain_available() != Some(&0),
        topic_alias: properties.topic_alias_maximum().copied().unwrap_or(0),
        subscription_ids: properties.subscription_identifier_available() != Some(&0),
        maximum_packet: properties.maximum_packet_size().map_or(usize::MAX, |size| *size as usize),
    }
}
