//! What a client reports, and why it refuses a command.

use crate::dissect::hex;
use crate::mqtt::encode::EncodeError;
use crate::mqtt::packet::{PacketType, Publish, QoS, Version};
use crate::mqtt::property::Properties;
use crate::mqtt::reason;
use crate::mqtt::rule::Violation;
use crate::record::{Record, Value};
use crate::time::Stamp;
use std::sync::Arc;

/// Names one command of one client until its outcome is known.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A message that arrived. Clones share topic and payload.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Counts the messages of a client from 0: a cursor for reading on.
    pub sequence: u64,
    /// Topic.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: Arc<[u8]>,
    /// Quality of service it arrived with.
    pub qos: QoS,
    /// It was stored before we subscribed.
    pub retain: bool,
    /// The broker says that it may have sent it before.
    pub dup: bool,
    /// When its last byte arrived.
    pub at: Stamp,
    /// Properties (5.0).
    pub properties: Properties,
}

impl Message {
    pub(super) fn new(sequence: u64, publish: Publish, at: Stamp) -> Message {
        let Publish { dup, qos, retain, topic, properties, payload, .. } = publish;
        Message { sequence, topic, payload, qos, retain, dup, at, properties }
    }
}

/// What a client reports.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientEvent {
    /// The broker accepted the connection.
    Connected {
        /// It kept a session for this client.
        session_present: bool,
        /// When the CONNACK arrived.
        at: Stamp,
        /// Its properties (5.0).
        properties: Properties,
    },
    /// The broker refused the connection.
    Refused {
        /// Return code (3.1.1) or reason code (5.0).
        code: u8,
        /// In which version it speaks.
        version: Version,
        /// When the CONNACK arrived.
        at: Stamp,
    },
    /// A QoS 1 message was acknowledged.
    Published {
        /// The command.
        ticket: Ticket,
        /// When the PUBACK arrived.
        at: Stamp,
        /// Its reason code; below 0x80 is success.
        code: u8,
    },
    /// A subscription was answered.
    Subscribed {
        /// The command.
        ticket: Ticket,
        /// One code for each filter: granted QoS, or 0x80 and above.
        granted: Vec<u8>,
        /// When the SUBACK arrived.
        at: Stamp,
    },
    /// The end of a subscription was answered.
    Unsubscribed {
        /// The command.
        ticket: Ticket,
        /// One code for each filter (5.0).
        codes: Vec<u8>,
        /// When the UNSUBACK arrived.
        at: Stamp,
    },
    /// A message arrived. It stands in the inbox too.
    Message(Message),
    /// A command will never be answered: the connection is gone.
    Failed {
        /// The command.
        ticket: Ticket,
        /// Why.
        why: String,
    },
    /// The broker broke a rule.
    Violation {
        /// Which, where and how.
        violation: Violation,
        /// The first bytes of the packet.
        packet: Vec<u8>,
        /// When the packet arrived.
        at: Stamp,
        /// The connection was closed because of it.
        fatal: bool,
    },
    /// The connection is gone, or could not be made.
    Lost {
        /// Why.
        why: String,
        /// The reason code of the broker's DISCONNECT (5.0), if it sent one.
        code: Option<u8>,
    },
}

fn list(codes: &[u8]) -> Value {
    Value::List(codes.iter().map(|code| Value::from(*code)).collect())
}

impl From<ClientEvent> for Record {
    fn from(event: ClientEvent) -> Record {
        let ticket_of = |ticket: Ticket| Value::Int(ticket.0 as i64);
        match event {
            ClientEvent::Connected { session_present, at, .. } => {
                Record::new("mqtt.connected").at(at).with("session_present", session_present)
            }
            ClientEvent::Refused { code, version, at } => Record::new("mqtt.refused")
                .at(at)
                .with("code", code)
                .with("reason", reason::describe(version, PacketType::ConnAck, code)),
            ClientEvent::Published { ticket, at, code } => {
                Record::new("mqtt.published").at(at).with("ticket", ticket_of(ticket)).with("code", code)
            }
            ClientEvent::Subscribed { ticket, granted, at } => {
                Record::new("mqtt.subscribed").at(at).with("ticket", ticket_of(ticket)).with("granted", list(&granted))
            }
            ClientEvent::Unsubscribed { ticket, codes, at } => {
                Record::new("mqtt.unsubscribed").at(at).with("ticket", ticket_of(ticket)).with("codes", list(&codes))
            }
            ClientEvent::Message(message) => Record::new("mqtt.message")
                .at(message.at)
                .with("topic", &*message.topic)
                .with("qos", message.qos as u8)
                .with("retain", message.retain)
                .with("bytes", Value::Int(message.payload.len() as i64)),
            ClientEvent::Failed { ticket, why } => {
                Record::new("mqtt.failed").with("ticket", ticket_of(ticket)).with("why", why)
            }
            ClientEvent::Violation { violation, packet, at, fatal } => {
                violation_record(&violation, &packet).at(at).with("closed", fatal)
            }
            ClientEvent::Lost { why, code } => {
                let record = Record::new("mqtt.lost").with("why", why);
                match code {
                    Some(code) => record.with("code", code),
                    None => record,
                }
            }
        }
    }
}

/// A violation as a record, alike for client and broker.
pub(in crate::mqtt) fn violation_record(violation: &Violation, packet: &[u8]) -> Record {
    Record::new("mqtt.violation")
        .with("violation", violation.to_string())
        .with("statement", violation.statement)
        .with("offset", Value::Int(violation.offset as i64))
        .with("found", violation.found.as_str())
        .with("expected", &*violation.expected)
        .with("packet", hex(packet))
}

/// The first bytes of an offending packet, for an event. Of a CONNECT only what stands before client id and password.
pub(in crate::mqtt) fn kept(packet: &[u8]) -> Vec<u8> {
    let is_connect = packet.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
    let most = if is_connect { 12 } else { 64 };
    packet[..packet.len().min(most)].to_vec()
}

/// Why a client refuses a command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no connection, or the broker has not accepted it yet.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// QoS 2 is not there yet.
    #[error("QoS 2 is not supported yet; use QoS 0 or 1")]
    ExactlyOnce,
    /// The broker announced less [MQTT-3.2.2-11].
    #[error("the broker announced a maximum QoS of {0}")]
    MaximumQoS(u8),
    /// The broker announced fewer topic aliases [MQTT-3.2.2-17].
    #[error("topic alias {alias} is above the {maximum} the broker announced")]
    TopicAlias {
        /// The alias.
        alias: u16,
        /// What the broker takes.
        maximum: u16,
    },
    /// The broker announced that it retains nothing [MQTT-3.2.2-14].
    #[error("the broker announced that it does not retain messages")]
    RetainUnavailable,
    /// The broker announced a lower maximum packet size [MQTT-3.2.2-15].
    #[error("a packet of {size} bytes is above the {maximum} bytes the broker announced")]
    TooLarge {
        /// Size of the packet.
        size: usize,
        /// What the broker takes.
        maximum: usize,
    },
    /// All 65535 packet identifiers wait for an answer.
    #[error("all packet identifiers are waiting for an answer")]
    NoPacketId,
    /// The packet cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
