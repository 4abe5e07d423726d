//! A face: the protocol side through which a device shows its points.

use super::store::PointStore;
use crate::endpoint::{Action, Input};
use crate::record::{Record, Value};
use crate::time::{Duration, Time};
use std::any::Any;

/// What a model says through a face. A face takes what its protocol can carry and ignores the rest.
#[derive(Clone, PartialEq, Debug)]
pub enum Emission {
    /// A line of text (console faces).
    Line(String),
    /// A message on a topic (MQTT faces).
    Publish {
        /// Topic, complete.
        topic: String,
        /// Payload.
        payload: Vec<u8>,
        /// Quality of service, 0 to 2.
        qos: u8,
        /// Retained.
        retain: bool,
    },
    /// A request whose outcome the model wants to know: a table with `token` and what the protocol of the face asks
    /// for. Every ask is answered by exactly one [`Heard::Answer`] with that token, unless power is lost first.
    /// MQTT faces take `topic`, `payload` (text, bytes, or any other value as JSON), `qos`, `retain` and answer when the
    /// broker has acknowledged the message (QoS 1) or it is sent (QoS 0); consoles take `line` and answer when it is said.
    Ask(Value),
}

impl Emission {
    /// The answer to an ask that was carried out: its `token`.
    #[must_use]
    pub fn answered(token: Value) -> Heard {
        Heard::Answer(Value::Table(vec![("token".to_owned(), token)]))
    }

    /// The answer to an ask of which nothing came: `error` is a short word (`lost`, `refused`), `text` is for people.
    #[must_use]
    pub fn failed(token: Value, error: &str, text: &str) -> Heard {
        let entries = [("token", token), ("error", Value::from(error)), ("text", Value::from(text))];
        Heard::Answer(Value::Table(entries.map(|(key, value)| (key.to_owned(), value)).to_vec()))
    }

    /// The `token` of an ask; 0 if it has none.
    #[must_use]
    pub fn token(ask: &Value) -> Value {
        ask.entry("token").cloned().unwrap_or(Value::Int(0))
    }
}

/// What a face heard that is no plain access to a point, and that the model decides about.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// A line came in on a console.
    Line(String),
    /// A message came in on a topic.
    Message {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Vec<u8>,
    },
    /// The face is ready to carry emissions (an MQTT face is connected).
    Ready,
    /// The face is not ready any more (its connection was lost).
    Gone,
    /// What came of an [`Emission::Ask`]: a table with its `token`, and the result or an `error` (a short word) with
    /// `text` for people.
    Answer(Value),
}

/// The protocol side of a device. A face sees only inputs of its own connections and follows the same calling
/// contract as an endpoint (top of `endpoint.rs`), with the store in hand. The [`Device`](super::Device) calls it; it is
/// called only while the device is running, but for `power` and `set_habit`, and for its wires: these are opened anew
/// at each power-on, when the boot begins, so that a console can speak while the device boots (`emit`); their bytes
/// come only once the device runs. `Closed` comes at any time while the device has power.
/// A face with a type of its own is reached through [`Device::face_as`](super::Device::face_as).
pub trait Face: Any + Send {
    /// Its name: the name of the bench link, and of the ports and targets bound to it (`Peer::via`).
    fn name(&self) -> &str;
    /// Takes one input.
    fn handle(&mut self, now: Time, input: Input<'_>, store: &mut PointStore);
    /// Does what is due.
    fn handle_timeout(&mut self, now: Time, store: &mut PointStore);
    /// When `handle_timeout` is wanted.
    fn poll_timeout(&self) -> Option<Time>;
    /// Something in the store changed; read it with [`PointStore::changes_since`] and an own cursor.
    fn store_changed(&mut self, now: Time, store: &PointStore);
    /// The model speaks. Faces that cannot carry it ignore it.
    fn emit(&mut self, now: Time, emission: &Emission);
    /// What it heard for the model.
    fn poll_heard(&mut self) -> Option<Heard>;
    /// The next thing to do; bytes are appended to `out`.
    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action>;
    /// The next thing to report.
    fn poll_event(&mut self) -> Option<Record>;
    /// The device starts to run (`true`: connections may be opened now) or loses power (`false`: forget all
    /// connections and timers; the device closes them).
    fn power(&mut self, now: Time, on: bool, store: &PointStore);
    /// What the face has been asked for takes the power of the device for so long; then it boots again. Asked for after
    /// everything that face does.
    fn poll_power_loss(&mut self) -> Option<Duration> {
        None
    }
    /// Changes how the face behaves, by name: a protocol fault or a habit. The names belong to the protocol; the value
    /// `"default"` undoes any of them.
    ///
    /// # Errors
    /// The text says which names there are, or what is wrong with the value.
    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String>;
}
