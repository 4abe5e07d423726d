//! What a broker reports.

use crate::endpoint::Conn;
use crate::mqtt::client::violation_record;
use crate::mqtt::packet::Version;
use crate::mqtt::rule::Violation;
use crate::record::{Record, Value};
use crate::time::Stamp;
use std::sync::Arc;

/// What a broker reports. Messages are not events: they are in the trace, and clients see them.
#[derive(Clone, PartialEq, Debug)]
pub enum BrokerEvent {
    /// A client was accepted.
    Connected {
        /// On which connection.
        conn: Conn,
        /// Who; the assigned identifier if it had none.
        client_id: Arc<str>,
        /// Protocol version.
        version: Version,
        /// Where from.
        address: String,
        /// It asked for a clean start.
        clean_start: bool,
        /// Keep alive in seconds, as asked for.
        keep_alive: u16,
        /// A session was there.
        session_present: bool,
        /// When the CONNECT arrived.
        at: Stamp,
    },
    /// A client was refused.
    Refused {
        /// On which connection.
        conn: Conn,
        /// Who, as far as known.
        client_id: String,
        /// Code of the CONNACK; none if the connection was closed without one.
        code: Option<u8>,
        /// Why, for people.
        why: String,
        /// When the CONNECT arrived.
        at: Stamp,
    },
    /// A client is gone.
    Disconnected {
        /// On which connection.
        conn: Conn,
        /// Who.
        client_id: Arc<str>,
        /// Why, for people.
        why: String,
        /// It said DISCONNECT (without asking for its will).
        graceful: bool,
    },
    /// A client subscribed.
    Subscribed {
        /// On which connection.
        conn: Conn,
        /// Who.
        client_id: Arc<str>,
        /// To what.
        filter: Arc<str>,
        /// Granted QoS, or a code from 0x80 on.
        code: u8,
        /// When the SUBSCRIBE arrived.
        at: Stamp,
    },
    /// A will was published.
    Will {
        /// Whose.
        client_id: Arc<str>,
        /// On which topic.
        topic: Arc<str>,
    },
    /// A client broke a rule.
    Violation {
        /// On which connection.
        conn: Conn,
        /// Who, once it is known.
        client_id: Option<Arc<str>>,
        /// Which rule, where and how.
        violation: Violation,
        /// The first bytes of the packet.
        packet: Vec<u8>,
        /// When it arrived.
        at: Stamp,
        /// The connection was closed because of it.
        fatal: bool,
    },
    /// A client did something legal that this broker cannot do; the connection was closed because of it.
    Unsupported {
        /// On which connection.
        conn: Conn,
        /// Who.
        client_id: Arc<str>,
        /// What.
        what: &'static str,
        /// When it arrived.
        at: Stamp,
    },
    /// Messages for a client were dropped: it is too slow, away for too long, or does not take packets of that size.
    Dropped {
        /// Whose.
        client_id: Arc<str>,
        /// How many since the last such event.
        messages: u64,
    },
}

impl From<BrokerEvent> for Record {
    fn from(event: BrokerEvent) -> Record {
        match event {
            BrokerEvent::Connected {
                conn,
                client_id,
                version,
                address,
                clean_start,
                keep_alive,
                session_present,
                at,
            } => Record::new("mqtt.client_connected")
                .at(at)
                .conn(conn)
                .with("client_id", &*client_id)
                .with("version", version.name())
                .with("address", address)
                .with("clean_start", clean_start)
                .with("keep_alive", keep_alive)
                .with("session_present", session_present),
            BrokerEvent::Refused { conn, client_id, code, why, at } => {
                let record = Record::new("mqtt.client_refused").at(at).conn(conn).with("client_id", client_id);
                let record = match code {
                    Some(code) => record.with("code", code),
                    None => record,
                };
                record.with("why", why)
            }
            BrokerEvent::Disconnected { conn, client_id, why, graceful } => Record::new("mqtt.client_disconnected")
                .conn(conn)
                .with("client_id", &*client_id)
                .with("why", why)
                .with("graceful", graceful),
            BrokerEvent::Subscribed { conn, client_id, filter, code, at } => Record::new("mqtt.client_subscribed")
                .at(at)
                .conn(conn)
                .with("client_id", &*client_id)
                .with("filter", &*filter)
                .with("code", code),
            BrokerEvent::Will { client_id, topic } => {
                Record::new("mqtt.will").with("client_id", &*client_id).with("topic", &*topic)
            }
            BrokerEvent::Violation { conn, client_id, violation, packet, at, fatal } => {
                let record = violation_record(&violation, &packet).at(at).conn(conn).with("closed", fatal);
                match client_id {
                    Some(client_id) => record.with("client_id", &*client_id),
                    None => record,
                }
            }
            BrokerEvent::Unsupported { conn, client_id, what, at } => {
                Record::new("mqtt.unsupported").at(at).conn(conn).with("client_id", &*client_id).with("what", what)
            }
            BrokerEvent::Dropped { client_id, messages } => Record::new("mqtt.dropped")
                .with("client_id", &*client_id)
                .with("messages", Value::Int(i64::try_from(messages).unwrap_or(i64::MAX))),
        }
    }
}
