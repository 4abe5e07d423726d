//! MQTT: client, watches, embedded broker.

mod broker;
mod client;
mod message;
mod watch;

pub(crate) use broker::Broker;
pub(crate) use client::Client;
pub(crate) use message::{Message, Published, shortened};
pub(crate) use watch::Watch;
