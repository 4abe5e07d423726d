//! What a model asks an MQTT face for: one message, and to be told what became of it.
//!
//! The table: `token`, `topic` (with `{base}`), `payload` (text, bytes; any other value as JSON; nothing if it is left
//! out), `qos` (0 or 1; 0), `retain` (false). The answer has the `token` alone, or
//! - `error = "lost"`: there is no connection, or it went before the acknowledgement;
//! - `error = "refused"`: the message cannot be sent, or the broker turned it down (`code`, MQTT 5).

use super::MqttFace;
use crate::device::{Emission, Heard, write_json};
use crate::mqtt::client::{CommandError, Ticket};
use crate::mqtt::packet::{PacketType, QoS};
use crate::mqtt::reason;
use crate::record::Value;
use crate::time::Time;

/// A message to be published, as asked for.
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
}

impl Message {
    fn read(ask: &Value) -> Result<Message, String> {
        let topic = ask.entry("topic").and_then(Value::as_str).ok_or("an MQTT face takes `topic`, a text")?;
        let payload = match ask.entry("payload") {
            None => Vec::new(),
            Some(Value::Text(text)) => text.clone().into_bytes(),
            Some(Value::Bytes(bytes)) => bytes.clone(),
            Some(other) => {
                let mut text = String::new();
                write_json(&mut text, other);
                text.into_bytes()
            }
        };
        let qos = match ask.entry("qos").map(Value::as_i64) {
            None | Some(Some(0)) => QoS::AtMostOnce,
            Some(Some(1)) => QoS::AtLeastOnce,
            Some(_) => return Err("`qos` is 0 or 1".to_owned()),
        };
        let retain = ask.entry("retain").and_then(Value::as_i64) == Some(1);
        Ok(Message { topic: topic.to_owned(), payload, qos, retain })
    }
}

impl MqttFace {
    /// Does what the model asks for.
    pub(super) fn ask(&mut self, now: Time, ask: &Value) {
        let token = Emission::token(ask);
        let message = match Message::read(ask) {
            Ok(message) => message,
            Err(problem) => return self.heard.push_back(Emission::failed(token, "refused", &problem)),
        };
        let topic = self.settings.expand(&message.topic);
        match self.try_publish(now, &topic, &message.payload, message.qos, message.retain) {
            Ok(Some(ticket)) if message.qos == QoS::AtLeastOnce => {
                self.asked.insert(ticket, token);
            }
            Ok(_) => self.heard.push_back(Emission::answered(token)),
            Err(error) => {
                let word = if matches!(error, CommandError::NotConnected(_)) { "lost" } else { "refused" };
                self.complain(&topic, &error.to_string());
                self.heard.push_back(Emission::failed(token, word, &error.to_string()));
            }
        }
    }

    /// The broker has acknowledged a message.
    pub(super) fn acknowledged(&mut self, ticket: Ticket) {
        if let Some(token) = self.asked.remove(&ticket) {
            self.heard.push_back(Emission::answered(token));
        }
    }

    /// The broker has acknowledged a message, but will not have it.
    pub(super) fn turned_down(&mut self, ticket: Ticket, code: u8) {
        if let Some(token) = self.asked.remove(&ticket) {
            let text = reason::describe(self.settings.client.version, PacketType::PubAck, code);
            let Heard::Answer(Value::Table(mut entries)) = Emission::failed(token, "refused", &text) else { return };
            entries.push(("code".to_owned(), Value::from(code)));
            self.heard.push_back(Heard::Answer(Value::Table(entries)));
        }
    }

    /// No acknowledgement will come any more.
    pub(super) fn gave_up(&mut self, ticket: Ticket, why: &str) {
        let word = if self.client.is_connected() { "refused" } else { "lost" };
        if word == "lost" {
            self.tell_gone();
        }
        if let Some(token) = self.asked.remove(&ticket) {
            self.heard.push_back(Emission::failed(token, word, why));
        }
    }

    /// The connection is gone; the model hears it once.
    pub(super) fn tell_gone(&mut self) {
        if std::mem::take(&mut self.told_ready) {
            self.heard.push_back(Heard::Gone);
        }
    }
}
