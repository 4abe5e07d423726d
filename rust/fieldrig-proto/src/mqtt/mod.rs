//! MQTT 3.1.1 and 5.0: one set of types with a [`Version`], not two protocols.
//!
//! ```text
//!   bytes -> Deframer -> decode -> Packet -> Client | Broker | MqttFace -> Packet -> encode -> bytes
//!                          |                                                          |
//!                      Violation (offset, found, expected, statement)           RawPacket, Patch (anything)
//! ```
//!
//! Rules of this folder:
//! - `decode` is total. A violation is a value that names the place, what was there, what was expected and the
//!   statement of the standard that says so. Unknown reason codes are kept; [`reason::name`] says which are known.
//! - `encode` refuses what no receiver may accept. Malformed packets are made on purpose with [`RawPacket`].
//! - Statements are cited without a prefix for the version where both versions number them alike; see [`rule`].
//! - Quality of service 0 and 1 work end to end. The codec knows QoS 2; client and broker say clearly that they do not
//!   yet, and neither resends after a reconnect (both belong to the MQTT issue).
//!
//! ```
//! use fieldrig_proto::mqtt::{Packet, Version, decode, encode};
//! let mut bytes = Vec::new();
//! encode(&Packet::PingReq, Version::V5, &mut bytes)?;
//! assert_eq!(bytes, [0xc0, 0x00]);
//! assert_eq!(decode(&bytes, Version::V5), Ok(Packet::PingReq));
//! # Ok::<(), fieldrig_proto::mqtt::EncodeError>(())
//! ```

pub mod broker;
pub mod client;
mod decode;
mod deframer;
mod descriptor;
pub mod device;
mod dissect;
mod encode;
pub mod packet;
mod property;
mod raw;
mod reader;
pub mod reason;
pub mod rule;
pub mod topic;
pub mod witness;

pub use decode::decode;
pub use deframer::{Deframer, Frame, frame_length};
pub use descriptor::{V5, V311};
pub use dissect::{dissect_v5, dissect_v311, message_length};
pub use encode::{EncodeError, encode, encode_publish};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, PublishView, QoS, SubAck, Subscribe,
    Subscription, UnsubAck, Unsubscribe, Version, Will,
};
pub use property::{Properties, Property, Scope};
pub use raw::{Patch, RawPacket};
pub use rule::{Rule, Violation};
