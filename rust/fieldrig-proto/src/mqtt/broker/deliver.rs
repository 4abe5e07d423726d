//! From a published message to the connections of those who want it.

use super::router::Key;
use super::session::{Delivery, Message, Session};
use super::{Broker, Link};
use crate::endpoint::Conn;
use crate::mqtt::encode::encode_publish;
use crate::mqtt::packet::{PublishView, QoS, Subscription, Version};
use crate::mqtt::property::{Properties, Property};
use crate::mqtt::topic;
use crate::mqtt::witness::{self, Drops};
use crate::time::{Duration, Time};
use std::borrow::Cow;
use std::sync::Arc;

impl Broker {
    /// A message from what a client published: properties are split into those that travel unchanged
    /// [MQTT-3.3.2-15] [MQTT-3.3.2-17] and the expiry, which counts down.
    pub(super) fn message(
        now: Time,
        topic: Arc<str>,
        payload: Arc<[u8]>,
        qos: QoS,
        retain: bool,
        properties: Properties,
    ) -> Message {
        let expires = properties.message_expiry().map(|seconds| now + Duration::from_secs(u64::from(*seconds)));
        let mut properties = properties.0;
        properties.retain(|property| {
            use Property::{ContentType, CorrelationData, PayloadFormat, ResponseTopic, User};
            matches!(property, PayloadFormat(_) | ContentType(_) | ResponseTopic(_) | CorrelationData(_) | User(..))
        });
        Message { topic, payload, qos, retain, properties, expires }
    }

    /// Gives a message to all who want it and stores it if it is retained. Gives the number of sessions it goes to.
    pub(super) fn route(&mut self, now: Time, message: Arc<Message>, publisher: Option<Key>) -> usize {
        self.retain(&message);
        let mut found = std::mem::take(&mut self.scratch);
        self.router.matching(&message.topic, &mut found);
        let mut sessions = 0;
        for group in found.chunk_by(|one, other| one.session == other.session) {
            let key = group[0].session;
            let wanted = || group.iter().filter(|entry| !(entry.no_local && publisher == Some(key)));
            let Some(granted) = wanted().map(|entry| entry.qos).max() else { continue };
            let retain = message.retain && wanted().any(|entry| entry.retain_as_published);
            let ids = wanted().filter_map(|entry| entry.id).collect();
            let delivery = Delivery { message: message.clone(), qos: granted.min(message.qos), retain, ids };
            self.deliver(now, key, delivery);
            sessions += 1;
        }
        found.clear();
        self.scratch = found;
        sessions
    }

    /// A retained message replaces the one before [MQTT-3.3.1-5]; an empty one removes it [MQTT-3.3.1-6] [MQTT-3.3.1-7].
    fn retain(&mut self, message: &Arc<Message>) {
        if !message.retain {
            return;
        }
        if message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else {
            self.retained.insert(message.topic.clone(), message.clone());
        }
    }

    /// Sends the retained messages a subscription matches, with RETAIN 1 [MQTT-3.3.1-8].
    pub(super) fn send_retained(&mut self, now: Time, key: Key, wanted: &Subscription, qos: QoS, id: Option<u32>) {
        let matching: Vec<Arc<Message>> = if topic::has_wildcard(&wanted.filter) {
            let mut found: Vec<_> = self
                .retained
                .values()
                .filter(|message| topic::matches(&wanted.filter, &message.topic))
                .cloned()
                .collect();
            found.sort_by(|one, other| one.topic.cmp(&other.topic));
            found
        } else {
            self.retained.get(&wanted.filter).cloned().into_iter().collect()
        };
        for message in matching {
            let qos = qos.min(message.qos);
            let ids = id.into_iter().collect();
            self.deliver(now, key, Delivery { message, qos, retain: true, ids });
        }
    }

    fn deliver(&mut self, now: Time, key: Key, delivery: Delivery) {
        let limits = (self.config.queue_messages, self.config.queue_bytes);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let link = session.conn.and_then(|conn| Some((conn, self.links.get_mut(&conn)?)));
        let kept = match (link, delivery.qos) {
            (None, QoS::AtMostOnce) => true,
            (None, _) => session.queue.push(delivery, limits),
            (Some((conn, link)), QoS::AtMostOnce) if !link.is_full() && session.backlog.len() == 0 => {
                let sent = write(link, &delivery, 0, false, (now, session.drops(now)));
                Self::mark_ready(&mut self.ready, conn, link);
                sent
            }
            (Some(_), QoS::AtMostOnce) => session.backlog.push(delivery, limits),
            (Some((conn, link)), _) => {
                let kept = session.queue.push(delivery, limits);
                pump_queue(session, link, now);
                Self::mark_ready(&mut self.ready, conn, link);
                kept
            }
        };
        if !kept {
            session.count_drop(now);
            if session.dropped == 1 {
                self.tell_drops(key);
            }
        }
    }

    /// The output of a connection drained: what waited goes out.
    pub(super) fn writable(&mut self, now: Time, conn: Conn) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.handed = 0;
        if let Some(key) = link.session {
            self.tell_drops(key);
            self.pump(now, conn, key);
        }
    }

    /// Sends what waits, as far as there is room: QoS 0 first, which no window holds back [MQTT-4.9.0-3].
    pub(super) fn pump(&mut self, now: Time, conn: Conn, key: Key) {
        let (Some(link), Some(session)) = (self.links.get_mut(&conn), self.sessions.get_mut(key)) else { return };
        while !link.is_full() {
            let Some(delivery) = session.backlog.pop() else { break };
            if !delivery.is_expired(now) && !write(link, &delivery, 0, false, (now, session.drops(now))) {
                session.count_drop(now);
            }
        }
        pump_queue(session, link, now);
        Self::mark_ready(&mut self.ready, conn, link);
    }

    /// Sends again what was not acknowledged on the connection before, with DUP and the same identifiers, in the
    /// order it was sent [MQTT-4.4.0-1] [MQTT-4.6.0-1], then what waits.
    pub(super) fn resume(&mut self, now: Time, conn: Conn, key: Key) {
        if let (Some(link), Some(session)) = (self.links.get_mut(&conn), self.sessions.get_mut(key)) {
            let drops = session.drops(now);
            for (id, delivery) in &session.in_flight {
                write(link, delivery, *id, true, (now, drops));
            }
            Self::mark_ready(&mut self.ready, conn, link);
        }
        self.pump(now, conn, key);
    }
}

/// QoS 1 messages go out while the window [MQTT-3.3.4-9] and the connection have room.
fn pump_queue(session: &mut Session, link: &mut Link, now: Time) {
    while !link.is_full() && session.in_flight.len() < link.window {
        let Some(delivery) = session.queue.pop() else { return };
        if delivery.is_expired(now) {
            continue;
        }
        let id = session.free_id();
        if write(link, &delivery, id, false, (now, session.drops(now))) {
            session.sent(id, delivery);
        } else {
            // Larger than the client takes: dropped without using up the window [MQTT-3.1.2-25].
            session.count_drop(now);
        }
    }
}

/// Appends a message to the output; `false` if the client does not take packets of that size [MQTT-3.1.2-24]. An empty
/// marker is told what was dropped.
fn write(link: &mut Link, delivery: &Delivery, id: u16, dup: bool, (now, drops): (Time, Drops)) -> bool {
    let message = &delivery.message;
    let properties = match link.version {
        Version::V311 => Cow::Borrowed(&[][..]),
        Version::V5 => properties(delivery, now),
    };
    let is_marker = message.payload.is_empty() && message.topic.starts_with(witness::PREFIX);
    let told = if is_marker { drops.to_string() } else { String::new() };
    let view = PublishView {
        dup,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: &message.topic,
        packet_id: id,
        properties: &properties,
        payload: if is_marker { told.as_bytes() } else { &message.payload },
    };
    let start = link.out.len();
    let encoded = encode_publish(&view, link.version, &mut link.out).is_ok();
    let fits = encoded && link.out.len() - start <= link.maximum_packet;
    if !fits {
        link.out.truncate(start);
    }
    fits
}

fn properties(delivery: &Delivery, now: Time) -> Cow<'_, [Property]> {
    let message = &delivery.message;
    if message.expires.is_none() && delivery.ids.is_empty() {
        return Cow::Borrowed(&message.properties);
    }
    let mut list = message.properties.clone();
    if let Some(end) = message.expires {
        // What is left of the expiry [MQTT-3.3.2-6], in whole seconds.
        let left = u32::try_from(end.since(now).as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        list.push(Property::MessageExpiry(left));
    }
    list.extend(delivery.ids.iter().map(|id| Property::SubscriptionIdentifier(*id)));
    Cow::Owned(list)
}
