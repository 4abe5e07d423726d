//! The MQTT side of an emulated device: it connects to a broker by itself, publishes points and emissions, and hears
//! commands.
//!
//! Rules of this file:
//! - It connects when the device runs, and again after every loss: the first delay is doubled with each attempt up to
//!   the longest, and each is made longer by up to a half at random (seeded), so that a fleet does not come back at
//!   once. A connection that lasted as long as the longest delay ends the growth. After a take-over (0x8E) it waits the
//!   longest delay at once: two devices of one name must not fight.
//! - After every connect: subscriptions, the birth message, then every publication with the present values. `Ready` is
//!   heard when the broker has accepted.
//! - Publications go out when a point changes its value, or with a period, or both.
//! - What a model asks for (`ask.rs`) goes out at once or not at all, and is answered: with QoS 0 when it is handed to the
//!   connection, with QoS 1 when the broker has acknowledged it.
//! - `Gone` is heard once for each `Ready`, before the answers to what was under way.
//! - Emissions with QoS 1 wait for a connection (the newest 256); those with QoS 0 are lost without one, as telemetry
//!   is. What is lost is counted in an event.
//!
//! ```
//! use fieldrig_proto::device::{Face, PointStore};
//! use fieldrig_proto::endpoint::Action;
//! use fieldrig_proto::mqtt::{client::ClientConfig, device::{FaceSettings, MqttFace}};
//! use fieldrig_proto::time::Time;
//! let mut face = MqttFace::new("uplink", FaceSettings::new("tcp://127.0.0.1:1883", ClientConfig::default()));
//! face.power(Time::ZERO, true, &PointStore::default());
//! assert!(matches!(face.poll_action(&mut Vec::new()), Some(Action::Connect(target)) if target.via == "uplink"));
//! ```

mod ask;
mod settings;

pub use settings::{Announcement, Backoff, FaceSettings, Publication};
pub(in crate::mqtt) use settings::{KEYS, build_v5, build_v311, number};

use super::client::{Client, ClientEvent, CommandError, Ticket};
use super::packet::QoS;
use super::packet::Subscription;
use crate::device::{Emission, Face, Heard, PointStore};
use crate::endpoint::{Action, Endpoint, Input, Target};
use crate::fault::Chance;
use crate::record::{Record, Value};
use crate::time::{Duration, Time};
use std::collections::{BTreeMap, VecDeque};

/// The habits of an MQTT face, with what each does.
pub const HABITS: &[(&str, &str)] = &[
    ("mute", "true: it publishes nothing any more"),
    ("deaf", "true: commands that arrive are not heard"),
    ("twice", "true: it publishes each message two times"),
];

/// How many emissions wait for a connection.
const BACKLOG: usize = 256;

/// The code with which MQTT 5 says that another connection took the session over.
const TAKEN_OVER: u8 = 0x8e;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Habits {
    mute: bool,
    deaf: bool,
    twice: bool,
}

/// The MQTT face of a device. The rules stand at the top of this file.
#[derive(Debug)]
pub struct MqttFace {
    name: String,
    settings: FaceSettings,
    habits: Habits,
    client: Client,
    on: bool,
    /// Ask for a connection with the next action.
    dial: bool,
    retry_at: Option<Time>,
    attempts: u32,
    connected_at: Option<Time>,
    chance: Chance,
    /// When each publication with a period is due.
    due: Vec<Option<Time>>,
    /// Which changes of the store were seen.
    cursor: u64,
    backlog: VecDeque<Emission>,
    lost: u64,
    /// The tokens of asks that wait for an acknowledgement.
    asked: BTreeMap<Ticket, Value>,
    /// The model heard `Ready`, and no `Gone` since.
    told_ready: bool,
    heard: VecDeque<Heard>,
    events: VecDeque<Record>,
}

impl MqttFace {
    /// A face that connects once its device runs.
    #[must_use]
    pub fn new(name: &str, settings: FaceSettings) -> MqttFace {
        MqttFace {
            name: name.to_owned(),
            habits: Habits::default(),
            client: Client::new(settings.client.clone()),
            on: false,
            dial: false,
            retry_at: None,
            attempts: 0,
            connected_at: None,
            chance: Chance::seeded(settings.seed),
            due: vec![None; settings.publications.len()],
            cursor: 0,
            backlog: VecDeque::new(),
            lost: 0,
            asked: BTreeMap::new(),
            told_ready: false,
            heard: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        }
    }

    /// Its client, for looking.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Does what the events of the client ask for.
    fn digest(&mut self, now: Time, store: &PointStore) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Connected { .. } => {
                    self.events.push_back(event.into());
                    self.welcome(now, store);
                }
                ClientEvent::Message(message) => {
                    if !self.habits.deaf {
                        let (topic, payload) = (message.topic.to_string(), message.payload.to_vec());
                        self.heard.push_back(Heard::Message { topic, payload });
                    }
                }
                ClientEvent::Lost { code, .. } => {
                    self.tell_gone();
                    self.events.push_back(event.into());
                    self.plan_retry(now, code);
                }
                ClientEvent::Published { ticket, code, .. } if code < 0x80 => self.acknowledged(ticket),
                ClientEvent::Published { ticket, code, .. } => {
                    self.turned_down(ticket, code);
                    self.events.push_back(event.into());
                }
                ClientEvent::Failed { ticket, ref why } => {
                    self.gave_up(ticket, why);
                    self.events.push_back(event.into());
                }
                ClientEvent::Subscribed { ref granted, .. } if granted.iter().all(|code| *code < 0x80) => {}
                other => self.events.push_back(other.into()),
            }
        }
    }

    fn plan_retry(&mut self, now: Time, code: Option<u8>) {
        let Backoff { first, longest } = self.settings.backoff;
        let lasted = self.connected_at.take().map(|since| now.since(since));
        if lasted.is_some_and(|lasted| lasted >= longest) {
            self.attempts = 0;
        }
        self.due.fill(None);
        if !self.on {
            return;
        }
        let grown = first.saturating_mul(1u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(longest);
        let delay = if code == Some(TAKEN_OVER) { longest } else { grown };
        self.attempts = (self.attempts + 1).min(31);
        let half = u64::try_from(delay.as_nanos() / 2).unwrap_or(u64::MAX);
        let delay = delay + Duration::from_nanos(self.chance.below(half.saturating_add(1)));
        self.retry_at = Some(now + delay);
        let wait = Value::Int(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        self.events.push_back(Record::new("mqtt.retry").with("in_ms", wait).with("attempt", self.attempts));
    }

    fn welcome(&mut self, now: Time, store: &PointStore) {
        self.connected_at = Some(now);
        self.tell_lost();
        let wanted: Vec<Subscription> = self.settings.commands.clone();
        if !wanted.is_empty()
            && let Err(error) = self.client.subscribe_all(now, wanted)
        {
            self.complain("commands", &error.to_string());
        }
        if let Some(birth) = self.settings.birth.clone() {
            self.publish(now, &birth.topic, &birth.payload, birth.qos, birth.retain);
        }
        self.cursor = store.cursor();
        for index in 0..self.settings.publications.len() {
            self.publish_points(now, index, store);
        }
        for emission in std::mem::take(&mut self.backlog) {
            self.emit(now, &emission);
        }
        self.told_ready = true;
        self.heard.push_back(Heard::Ready);
    }

    /// Publishes the present values of publication `index` and plans its next period.
    fn publish_points(&mut self, now: Time, index: usize, store: &PointStore) {
        let Some(publication) = self.settings.publications.get(index) else { return };
        self.due[index] = publication.period.map(|period| now + period);
        let Some(payload) = publication.payload(store) else { return };
        let (topic, qos, retain) = (publication.topic.clone(), publication.qos, publication.retain);
        self.publish(now, &topic, payload.as_bytes(), qos, retain);
    }

    fn publish(&mut self, now: Time, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        if let Err(error) = self.try_publish(now, topic, payload, qos, retain) {
            self.complain(topic, &error.to_string());
        }
    }

    /// Publishes as the habits will have it; gives the last message's ticket, or none if it was kept back.
    fn try_publish(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Option<Ticket>, CommandError> {
        if self.habits.mute {
            return Ok(None);
        }
        if self.habits.twice {
            self.client.publish(now, topic, payload, qos, retain)?;
        }
        self.client.publish(now, topic, payload, qos, retain).map(Some)
    }

    fn complain(&mut self, topic: &str, why: &str) {
        self.events.push_back(Record::new("mqtt.not_published").with("topic", topic).with("why", why));
    }

    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let count = Value::Int(i64::try_from(lost).unwrap_or(i64::MAX));
            self.events.push_back(Record::new("mqtt.emissions_lost").with("messages", count));
        }
    }

    fn keep(&mut self, emission: &Emission) {
        if matches!(emission, Emission::Publish { qos: 0, .. }) {
            self.lost += 1;
            return;
        }
        if self.backlog.len() == BACKLOG {
            self.backlog.pop_front();
            self.lost += 1;
        }
        self.backlog.push_back(emission.clone());
    }
}

impl Face for MqttFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore) {
        if !self.on {
            return;
        }
        Endpoint::handle(&mut self.client, now, input);
        self.digest(now, store);
    }

    fn handle_timeout(&mut self, now: Time, store: &mut PointStore) {
        if self.client.poll_timeout().is_some_and(|due| now >= due) {
            Endpoint::handle_timeout(&mut self.client, now);
            self.digest(now, store);
        }
        if self.retry_at.is_some_and(|due| now >= due) {
            self.retry_at = None;
            self.dial = true;
        }
        for index in 0..self.due.len() {
            if self.due[index].is_some_and(|due| now >= due) {
                self.publish_points(now, index, store);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let periods = self.due.iter().flatten().copied();
        periods.chain(self.retry_at).chain(self.client.poll_timeout()).min()
    }

    fn store_changed(&mut self, now: Time, store: &PointStore) {
        let cursor = std::mem::replace(&mut self.cursor, store.cursor());
        if !self.client.is_connected() {
            // All values go out after the next connect.
            return;
        }
        let names: Vec<&str> = store
            .changes_since(cursor)
            .filter(|change| change.from != change.to)
            .filter_map(|change| store.definitions().get(change.point).map(|point| point.name.as_str()))
            .collect();
        for index in 0..self.settings.publications.len() {
            let publication = &self.settings.publications[index];
            if publication.on_change && publication.points.iter().any(|point| names.contains(&point.as_str())) {
                self.publish_points(now, index, store);
            }
        }
    }

    fn emit(&mut self, now: Time, emission: &Emission) {
        if let Emission::Ask(ask) = emission {
            return self.ask(now, ask);
        }
        let Emission::Publish { topic, payload, qos, retain } = emission else { return };
        if !self.client.is_connected() {
            return self.keep(emission);
        }
        match QoS::from_bits(*qos) {
            Some(qos) => {
                let topic = self.settings.expand(topic);
                self.publish(now, &topic, payload, qos, *retain);
            }
            None => self.complain(topic, &format!("QoS {qos} does not exist")),
        }
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if std::mem::take(&mut self.dial) {
            return Some(Action::Connect(Target { via: self.name.clone(), url: self.settings.url.clone() }));
        }
        self.client.poll_action(out)
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }

    fn power(&mut self, now: Time, on: bool, store: &PointStore) {
        self.on = on;
        self.dial = on;
        self.client.reset();
        self.retry_at = None;
        self.attempts = 0;
        self.connected_at = None;
        self.due.fill(None);
        self.backlog.clear();
        self.lost = 0;
        self.asked.clear();
        self.told_ready = false;
        self.heard.clear();
        self.cursor = store.cursor();
        if !on {
            return;
        }
        for publication in &self.settings.publications {
            for point in publication.points.iter().filter(|point| store.index(point).is_none()) {
                let why = format!("there is no point `{point}`");
                let record = Record::new("mqtt.not_published").with("topic", publication.topic.as_str());
                self.events.push_back(record.with("why", why).at(crate::time::Stamp::exact(now)));
            }
        }
    }

    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let habit = match name {
            "mute" => &mut self.habits.mute,
            "deaf" => &mut self.habits.deaf,
            "twice" => &mut self.habits.twice,
            _ => {
                let names: Vec<&str> = HABITS.iter().map(|(name, _)| *name).collect();
                return Err(format!("an MQTT face has no habit `{name}`; it has: {}", names.join(", ")));
            }
        };
        match value.as_i64() {
            Some(truth @ (0 | 1)) => *habit = truth == 1,
            _ if value.as_str() == Some("default") => *habit = false,
            _ => return Err(format!("habit `{name}` takes true or false, {value} is none")),
        }
        Ok(())
    }
}
