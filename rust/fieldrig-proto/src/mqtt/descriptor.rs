//! MQTT as the engine knows it: two protocols, since a link says which version it speaks.

use super::broker::{Broker, BrokerConfig};
use super::device::{KEYS, build_v5, build_v311, number};
use super::dissect::{dissect_v5, dissect_v311, message_length};
use crate::protocol::{BenchKey, Built, Constructor, Protocol, Role, SettingError, Settings, setting};

const BROKER: Constructor = Constructor {
    role: Role::Broker,
    keys: &[
        BenchKey {
            name: "server_keep_alive",
            what: "keep alive in seconds that is imposed on MQTT 5 clients",
            required: false,
        },
        BenchKey { name: "maximum_packet", what: "largest packet the broker takes, in bytes", required: false },
        BenchKey { name: "queue_messages", what: "most messages queued for one session", required: false },
    ],
    inner: &[],
    build: &build_broker,
};

/// MQTT 3.1.1. Its broker takes clients of both versions.
pub static V311: Protocol = Protocol {
    name: "mqtt311",
    schemes: &["mqtt"],
    dissect: &dissect_v311,
    message_length: &message_length,
    unasked: true,
    half_duplex: false,
    capture_tag: "mqtt",
    constructors: &[Constructor { role: Role::Device, keys: KEYS, inner: &[], build: &build_v311 }, BROKER],
};

/// MQTT 5.0. Its broker takes clients of both versions.
pub static V5: Protocol = Protocol {
    name: "mqtt5",
    schemes: &["mqtt"],
    dissect: &dissect_v5,
    message_length: &message_length,
    unasked: true,
    half_duplex: false,
    capture_tag: "mqtt",
    constructors: &[Constructor { role: Role::Device, keys: KEYS, inner: &[], build: &build_v5 }, BROKER],
};

fn build_broker(_name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let mut config = BrokerConfig::default();
    if let Some(value) = setting(settings, "server_keep_alive") {
        config.server_keep_alive = u16::try_from(number("server_keep_alive", value, 0, 65_535)?).ok();
    }
    if let Some(value) = setting(settings, "maximum_packet") {
        config.maximum_packet = number("maximum_packet", value, 16, 268_435_460)? as usize;
    }
    if let Some(value) = setting(settings, "queue_messages") {
        config.queue_messages = number("queue_messages", value, 1, 10_000_000)? as usize;
    }
    Ok(Built::Endpoint(Box::new(Broker::new(config))))
}
