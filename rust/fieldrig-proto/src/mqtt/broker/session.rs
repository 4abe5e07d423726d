//! What a broker keeps for a client while it is away: subscriptions, messages and a will that waits.

use super::router::Key;
use crate::endpoint::Conn;
use crate::mqtt::packet::{QoS, Will};
use crate::mqtt::property::Property;
use crate::mqtt::witness::Drops;
use crate::time::{Duration, Time};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// A published message, shared by all who get it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Arc<[u8]>,
    pub(super) qos: QoS,
    /// As published.
    pub(super) retain: bool,
    /// Those that are forwarded unchanged (5.0).
    pub(super) properties: Vec<Property>,
    /// Message expiry [MQTT-3.3.2-5].
    pub(super) expires: Option<Time>,
}

/// A message on its way to one session.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Subscription identifiers of all matching filters [MQTT-3.3.4-3].
    pub(super) ids: Vec<u32>,
}

impl Delivery {
    pub(super) fn is_expired(&self, now: Time) -> bool {
        self.message.expires.is_some_and(|end| now >= end)
    }
}

/// A bounded queue of deliveries.
#[derive(Debug, Default)]
pub(super) struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Queue {
    /// Queues a delivery; `false` if there is no room.
    pub(super) fn push(&mut self, delivery: Delivery, limits: (usize, usize)) -> bool {
        let size = delivery.message.payload.len();
        if self.deliveries.len() >= limits.0 || self.bytes.saturating_add(size) > limits.1 {
            return false;
        }
        self.bytes += size;
        self.deliveries.push_back(delivery);
        true
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.message.payload.len();
        Some(delivery)
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }
}

/// The session of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    /// Its connection, while it has one.
    pub(super) conn: Option<Conn>,
    /// How long it outlives its connection; `None` is for ever.
    pub(super) expiry: Option<Duration>,
    /// When it ends, while it has no connection.
    pub(super) ends: Option<Time>,
    /// A will that waits for its delay (5.0, 3.1.3.2.2).
    pub(super) will: Option<(Time, Will)>,
    pub(super) filters: Vec<Arc<str>>,
    /// QoS 1: waits for a connection, for room on it, or for the in-flight window.
    pub(super) queue: Queue,
    /// QoS 0: waits for room on a slow connection.
    pub(super) backlog: Queue,
    /// QoS 1: sent, not acknowledged, in the order they were sent.
    pub(super) in_flight: VecDeque<(u16, Delivery)>,
    /// The identifiers of those.
    used: HashSet<u16>,
    next_id: u16,
    /// Dropped messages that no event has told yet, and in total.
    pub(super) dropped: u64,
    pub(super) dropped_total: u64,
    /// When the last one was dropped.
    dropped_at: Time,
}

impl Session {
    pub(super) fn new(client_id: Arc<str>) -> Session {
        Session {
            client_id,
            conn: None,
            expiry: Some(Duration::ZERO),
            ends: None,
            will: None,
            filters: Vec::new(),
            queue: Queue::default(),
            backlog: Queue::default(),
            in_flight: VecDeque::new(),
            used: HashSet::new(),
            next_id: 1,
            dropped: 0,
            dropped_total: 0,
            dropped_at: Time::ZERO,
        }
    }

    /// A packet identifier nothing waits for [MQTT-2.2.1-4]. The window is smaller than 65535: there always is one.
    pub(super) fn free_id(&mut self) -> u16 {
        loop {
            let id = self.next_id.max(1);
            self.next_id = id.checked_add(1).unwrap_or(1);
            if !self.used.contains(&id) {
                return id;
            }
        }
    }

    /// Keeps a message that was sent until it is acknowledged.
    pub(super) fn sent(&mut self, id: u16, delivery: Delivery) {
        self.used.insert(id);
        self.in_flight.push_back((id, delivery));
    }

    /// Takes the acknowledged message out; `false` if none has this identifier.
    pub(super) fn acknowledge(&mut self, id: u16) -> bool {
        if !self.used.remove(&id) {
            return false;
        }
        let found = self.in_flight.iter().position(|(used, _)| *used == id);
        found.is_some_and(|index| self.in_flight.remove(index).is_some())
    }

    pub(super) fn count_drop(&mut self, now: Time) {
        self.dropped += 1;
        self.dropped_total += 1;
        self.dropped_at = now;
    }

    /// What a marker of this client is told.
    pub(super) fn drops(&self, now: Time) -> Drops {
        match self.dropped_total {
            0 => Drops::default(),
            messages => Drops { messages, last: now.since(self.dropped_at) },
        }
    }
}

/// All sessions, by place and by client identifier.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    free: Vec<Key>,
    by_client: HashMap<Arc<str>, Key>,
}

impl Sessions {
    pub(super) fn find(&self, client_id: &str) -> Option<Key> {
        self.by_client.get(client_id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Session> {
        self.slots.get(key)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Session> {
        self.slots.get_mut(key)?.as_mut()
    }

    pub(super) fn insert(&mut self, client_id: Arc<str>) -> Key {
        let key = self.free.pop().unwrap_or(self.slots.len());
        if key == self.slots.len() {
            self.slots.push(None);
        }
        self.by_client.insert(client_id.clone(), key);
        self.slots[key] = Some(Session::new(client_id));
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Session> {
        let session = self.slots.get_mut(key)?.take()?;
        self.by_client.remove(&session.client_id);
        self.free.push(key);
        Some(session)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }
}
