//! The settings of an MQTT face, from the tables of a bench and a model file.

use super::MqttFace;
use crate::device::{PointStore, write_json, write_value};
use crate::mqtt::client::ClientConfig;
use crate::mqtt::packet::{QoS, Subscription, Version, Will};
use crate::mqtt::property::Properties;
use crate::mqtt::topic::{check_filter, check_topic};
use crate::protocol::{BenchKey, Built, SettingError, Settings, setting};
use crate::record::Value;
use crate::time::{Duration, parse_duration};
use std::collections::HashSet;

/// How long a face waits before it connects again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Before the first new attempt.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

/// A message a face publishes about itself: its birth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: QoS,
    /// Retained.
    pub retain: bool,
}

/// Points that are published on a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Topic.
    pub topic: String,
    /// Which points.
    pub points: Vec<String>,
    /// As a JSON object by point name; else the plain value of the one point.
    pub json: bool,
    /// When a point changes its value.
    pub on_change: bool,
    /// And every so often.
    pub period: Option<Duration>,
    /// Quality of service.
    pub qos: QoS,
    /// Retained.
    pub retain: bool,
}

impl Publication {
    /// The payload for the present values; `None` if there is none of the points.
    pub(super) fn payload(&self, store: &PointStore) -> Option<String> {
        let mut text = String::new();
        if self.json {
            let value_of = |point: &String| Some((point.clone(), store.value(point)?.clone()));
            let values: Vec<(String, Value)> = self.points.iter().filter_map(value_of).collect();
            if values.is_empty() {
                return None;
            }
            write_json(&mut text, &Value::Table(values));
        } else {
            write_value(&mut text, store.value(self.points.first()?)?, None);
        }
        Some(text)
    }
}

/// How an MQTT face is.
#[derive(Clone, PartialEq, Debug)]
pub struct FaceSettings {
    /// Where the broker is, as a port: `tcp://127.0.0.1:1883`.
    pub url: String,
    /// What `{base}` stands for in topics.
    pub base: String,
    /// How its client introduces itself.
    pub client: ClientConfig,
    /// What it publishes of the points.
    pub publications: Vec<Publication>,
    /// What it hears.
    pub commands: Vec<Subscription>,
    /// What it says after each connect.
    pub birth: Option<Announcement>,
    /// How it comes back.
    pub backoff: Backoff,
    /// Seed of the chance in its delays.
    pub seed: u64,
}

impl FaceSettings {
    /// A face that only connects.
    #[must_use]
    pub fn new(url: &str, client: ClientConfig) -> FaceSettings {
        FaceSettings {
            url: url.to_owned(),
            base: String::new(),
            client,
            publications: Vec::new(),
            commands: Vec::new(),
            birth: None,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) },
            seed: 0,
        }
    }

    /// Replaces `{base}` and `{client_id}` in a topic.
    #[must_use]
    pub fn expand(&self, topic: &str) -> String {
        if !topic.contains('{') {
            return topic.to_owned();
        }
        topic.replace("{base}", &self.base).replace("{client_id}", &self.client.client_id)
    }
}

const fn key(name: &'static str, what: &'static str, required: bool) -> BenchKey {
    BenchKey { name, what, required }
}

/// The keys of an MQTT face.
pub(in crate::mqtt) const KEYS: &[BenchKey] = &[
    key("url", "the broker: \"mqtt://127.0.0.1:1883\"", true),
    key("base", "what {base} stands for in topics", false),
    key("client_id", "client identifier; without one the broker assigns it", false),
    key("username", "user name", false),
    key("password", "password", false),
    key("keep_alive", "keep alive, \"30s\"; whole seconds, \"0s\" is none", false),
    key("clean_start", "begin without an old session; true unless given", false),
    key(
        "publish",
        "topics and what is published on them: { \"{base}/v\" = { points = [\"voltage\"], period = \"1s\" } }",
        false,
    ),
    key("commands", "topic filters it listens to: [\"{base}/cmd/#\"]", false),
    key("will", "message the broker publishes when the device is lost: { topic, payload, qos, retain }", false),
    key("birth", "message it publishes after each connect: { topic, payload, qos, retain }", false),
    key("reconnect", "delays before it connects again: { first = \"1s\", longest = \"60s\" }", false),
    key("seed", "seed of the chance in those delays", false),
];

pub(in crate::mqtt) fn build_v311(name: &str, settings: &Settings) -> Result<Built, SettingError> {
    read(settings, Version::V311).map(|settings| Built::Face(Box::new(MqttFace::new(name, settings))))
}

pub(in crate::mqtt) fn build_v5(name: &str, settings: &Settings) -> Result<Built, SettingError> {
    read(settings, Version::V5).map(|settings| Built::Face(Box::new(MqttFace::new(name, settings))))
}

type Read<T> = Result<T, SettingError>;

fn wrong<T>(key: &str, problem: impl Into<String>) -> Read<T> {
    Err(SettingError { key: key.to_owned(), problem: problem.into(), hint: None })
}

fn read(settings: &Settings, version: Version) -> Read<FaceSettings> {
    let url = port_url(text(settings, "url")?.unwrap_or_default())?;
    let mut client = ClientConfig { version, ..ClientConfig::default() };
    client.client_id = text(settings, "client_id")?.unwrap_or_default().to_owned();
    client.username = text(settings, "username")?.map(str::to_owned);
    client.password = text(settings, "password")?.map(|password| password.as_bytes().to_vec());
    if let Some(value) = setting(settings, "keep_alive") {
        client.keep_alive = whole_seconds("keep_alive", value)?;
    }
    if let Some(value) = setting(settings, "clean_start") {
        client.clean_start = truth("clean_start", value)?;
    }
    if client.password.is_some() && client.username.is_none() && version == Version::V311 {
        return wrong("password", "MQTT 3.1.1 has no password without a user name");
    }
    let mut face = FaceSettings::new(&url, client);
    face.base = text(settings, "base")?.unwrap_or_default().to_owned();
    face.client.will = announcement(&face, settings, "will")?.map(|will| Will {
        topic: will.topic.into(),
        payload: will.payload.into(),
        qos: will.qos,
        retain: will.retain,
        properties: Properties::none(),
    });
    face.birth = announcement(&face, settings, "birth")?;
    face.publications = publications(&face, settings)?;
    face.commands = commands(&face, settings)?;
    if let Some(value) = setting(settings, "reconnect") {
        face.backoff = backoff(face.backoff, value)?;
    }
    if let Some(value) = setting(settings, "seed") {
        face.seed = number("seed", value, 0, i64::MAX)? as u64;
    }
    Ok(face)
}

/// `mqtt://host:port` as a port of the engine; 1883 unless given.
fn port_url(url: &str) -> Read<String> {
    let Some((scheme, host)) = url.split_once("://") else {
        return wrong("url", format!("`{url}` is no URL of a broker such as \"mqtt://127.0.0.1:1883\""));
    };
    match scheme {
        "mqtt" | "tcp" => {
            let host = host.trim_end_matches('/');
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            Ok(if has_port { format!("tcp://{host}") } else { format!("tcp://{host}:1883") })
        }
        "mqtts" => wrong("url", "TLS is not supported yet"),
        _ => Ok(url.to_owned()),
    }
}

fn text<'a>(settings: &'a Settings, key: &str) -> Read<Option<&'a str>> {
    match setting(settings, key) {
        None => Ok(None),
        Some(value) => as_text(key, value).map(Some),
    }
}

fn as_text<'a>(key: &str, value: &'a Value) -> Read<&'a str> {
    value.as_str().map_or_else(|| wrong(key, format!("{value} is no text")), Ok)
}

fn truth(key: &str, value: &Value) -> Read<bool> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => wrong(key, format!("{other:?} is neither true nor false")),
    }
}

/// A whole number within bounds.
pub(in crate::mqtt) fn number(key: &str, value: &Value, low: i64, high: i64) -> Read<i64> {
    match value {
        Value::Int(number) if (low..=high).contains(number) => Ok(*number),
        other => wrong(key, format!("{other:?} is no whole number from {low} to {high}")),
    }
}

fn duration(key: &str, value: &Value) -> Read<Duration> {
    let text = as_text(key, value)?;
    parse_duration(text).or_else(|error| wrong(key, error.to_string()))
}

fn whole_seconds(key: &str, value: &Value) -> Read<u16> {
    let duration = duration(key, value)?;
    match u16::try_from(duration.as_secs()) {
        Ok(seconds) if duration.subsec_nanos() == 0 => Ok(seconds),
        _ => wrong(key, format!("{duration:?} is not a whole number of seconds up to 65535")),
    }
}

/// QoS 0 or 1.
fn qos(key: &str, value: &Value) -> Read<QoS> {
    match number(key, value, 0, 2)? {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        _ => wrong(key, "QoS 2 is not supported yet; use 0 or 1"),
    }
}

/// The entries of a table, all of them known.
fn table<'a>(key: &str, value: &'a Value, known: &[&str]) -> Read<&'a [(String, Value)]> {
    let Value::Table(entries) = value else { return wrong(key, format!("{value} is no table")) };
    match entries.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => {
            let hint = Some(format!("known are {}", known.join(", ")));
            Err(SettingError { key: format!("{key}.{name}"), problem: format!("unknown key `{name}`"), hint })
        }
        None => Ok(entries),
    }
}

fn topic(face: &FaceSettings, key: &str, text: &str) -> Read<String> {
    let topic = face.expand(text);
    match check_topic(&topic) {
        Ok(()) => Ok(topic),
        Err((rule, _, expected)) => wrong(key, format!("topic `{topic}`: expected {expected} [{}]", rule.v5)),
    }
}

fn announcement(face: &FaceSettings, settings: &Settings, key: &str) -> Read<Option<Announcement>> {
    let Some(value) = setting(settings, key) else { return Ok(None) };
    let entries = table(key, value, &["topic", "payload", "qos", "retain"])?;
    let mut made = Announcement { topic: String::new(), payload: Vec::new(), qos: QoS::AtMostOnce, retain: false };
    for (name, value) in entries {
        let key = format!("{key}.{name}");
        match name.as_str() {
            "topic" => made.topic = topic(face, &key, as_text(&key, value)?)?,
            "payload" => made.payload = as_text(&key, value)?.as_bytes().to_vec(),
            "qos" => made.qos = qos(&key, value)?,
            _ => made.retain = truth(&key, value)?,
        }
    }
    if made.topic.is_empty() {
        return wrong(key, "`topic` is missing");
    }
    Ok(Some(made))
}

fn publications(face: &FaceSettings, settings: &Settings) -> Read<Vec<Publication>> {
    let Some(value) = setting(settings, "publish") else { return Ok(Vec::new()) };
    let Value::Table(entries) = value else { return wrong("publish", "no table of topics") };
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for (name, value) in entries {
        let key = format!("publish.{name}");
        let made = publication(topic(face, &key, name)?, &key, value)?;
        if !seen.insert(made.topic.clone()) {
            return wrong(&key, format!("topic `{}` stands twice", made.topic));
        }
        list.push(made);
    }
    Ok(list)
}

/// `"voltage"`, or a table.
fn publication(topic: String, key: &str, value: &Value) -> Read<Publication> {
    let (qos_0, retain) = (QoS::AtMostOnce, false);
    let mut made =
        Publication { topic, points: Vec::new(), json: false, on_change: true, period: None, qos: qos_0, retain };
    if let Value::Text(point) = value {
        made.points.push(point.clone());
        return Ok(made);
    }
    let mut on_change = None;
    let mut json = None;
    for (name, value) in table(key, value, &["point", "points", "json", "on_change", "period", "qos", "retain"])? {
        let key = format!("{key}.{name}");
        match name.as_str() {
            "point" => made.points.push(as_text(&key, value)?.to_owned()),
            "points" => {
                made.points.extend(texts(&key, value)?);
                json = json.or(Some(true));
            }
            "json" => json = Some(truth(&key, value)?),
            "on_change" => on_change = Some(truth(&key, value)?),
            "period" => made.period = Some(period(&key, value)?),
            "qos" => made.qos = qos(&key, value)?,
            _ => made.retain = truth(&key, value)?,
        }
    }
    made.json = json.unwrap_or(false);
    made.on_change = on_change.unwrap_or(made.period.is_none());
    if made.points.is_empty() {
        return wrong(key, "`point` or `points` is missing");
    }
    if !made.json && made.points.len() > 1 {
        return wrong(key, "several points need `json = true`");
    }
    Ok(made)
}

fn period(key: &str, value: &Value) -> Read<Duration> {
    match duration(key, value)? {
        Duration::ZERO => wrong(key, "a period of 0"),
        period => Ok(period),
    }
}

fn texts(key: &str, value: &Value) -> Read<Vec<String>> {
    let Value::List(items) = value else { return wrong(key, format!("{value} is no list of texts")) };
    items.iter().map(|item| as_text(key, item).map(str::to_owned)).collect()
}

fn commands(face: &FaceSettings, settings: &Settings) -> Read<Vec<Subscription>> {
    let Some(value) = setting(settings, "commands") else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    for text in texts("commands", value)? {
        let filter = face.expand(&text);
        if let Err((rule, _, expected)) = check_filter(&filter) {
            return wrong("commands", format!("filter `{filter}`: expected {expected} [{}]", rule.v5));
        }
        list.push(Subscription::new(&filter, QoS::AtLeastOnce));
    }
    Ok(list)
}

fn backoff(usual: Backoff, value: &Value) -> Read<Backoff> {
    let mut made = usual;
    for (name, value) in table("reconnect", value, &["first", "longest"])? {
        let key = format!("reconnect.{name}");
        let duration = period(&key, value)?;
        match name.as_str() {
            "first" => made.first = duration,
            _ => made.longest = duration,
        }
    }
    made.longest = made.longest.max(made.first);
    Ok(made)
}
