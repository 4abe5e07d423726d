//! The packets, typed. A value of these types may still break a rule of the standard (a wildcard in a topic);
//! [`encode`](super::encode) refuses that, [`RawPacket`](super::RawPacket) does not.

use super::property::{Properties, Property};
use std::sync::Arc;

/// The protocol version.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Version {
    /// 3.1.1, protocol level 4.
    V311,
    /// 5.0, protocol level 5.
    #[default]
    V5,
}

impl Version {
    /// The protocol level in CONNECT.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Version::V311 => 4,
            Version::V5 => 5,
        }
    }

    /// The version in the words of people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        }
    }
}

/// Quality of service.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum QoS {
    /// 0: at most once.
    #[default]
    AtMostOnce = 0,
    /// 1: at least once.
    AtLeastOnce = 1,
    /// 2: exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The quality of service with this number.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}

macro_rules! packet_types {
    ($($(#[$doc:meta])* $name:ident $code:literal $spec:literal $flags:literal;)*) => {
        /// The packet types, with their code in the upper half of the first byte.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        pub enum PacketType { $($(#[$doc])* $name = $code,)* }

        impl PacketType {
            /// The type with this code; 0 does not exist.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<PacketType> {
                match code { $($code => Some(PacketType::$name),)* _ => None }
            }
            /// Its name in the standard.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(PacketType::$name => $spec,)* }
            }
            /// The lower half of the first byte that the standard prescribes; PUBLISH has flags of its own.
            #[must_use]
            pub const fn flags(self) -> u8 {
                match self { $(PacketType::$name => $flags,)* }
            }
        }
    };
}

packet_types! {
    /// 1: client asks for a connection.
    Connect 1 "CONNECT" 0;
    /// 2: its answer.
    ConnAck 2 "CONNACK" 0;
    /// 3: a message.
    Publish 3 "PUBLISH" 0;
    /// 4: acknowledges QoS 1.
    PubAck 4 "PUBACK" 0;
    /// 5: first answer of QoS 2.
    PubRec 5 "PUBREC" 0;
    /// 6: second step of QoS 2.
    PubRel 6 "PUBREL" 2;
    /// 7: last step of QoS 2.
    PubComp 7 "PUBCOMP" 0;
    /// 8: asks for messages.
    Subscribe 8 "SUBSCRIBE" 2;
    /// 9: its answer.
    SubAck 9 "SUBACK" 0;
    /// 10: wants no more messages.
    Unsubscribe 10 "UNSUBSCRIBE" 2;
    /// 11: its answer.
    UnsubAck 11 "UNSUBACK" 0;
    /// 12: are you there.
    PingReq 12 "PINGREQ" 0;
    /// 13: its answer.
    PingResp 13 "PINGRESP" 0;
    /// 14: the end.
    Disconnect 14 "DISCONNECT" 0;
    /// 15: authentication (MQTT 5).
    Auth 15 "AUTH" 0;
}

/// A control packet.
#[derive(Clone, PartialEq, Debug)]
pub enum Packet {
    /// CONNECT.
    Connect(Box<Connect>),
    /// CONNACK.
    ConnAck(ConnAck),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK.
    PubAck(Ack),
    /// PUBREC.
    PubRec(Ack),
    /// PUBREL.
    PubRel(Ack),
    /// PUBCOMP.
    PubComp(Ack),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// SUBACK.
    SubAck(SubAck),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe),
    /// UNSUBACK.
    UnsubAck(UnsubAck),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect),
    /// AUTH.
    Auth(Auth),
}

impl Packet {
    /// Its type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT (3.1).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Connect {
    /// Protocol level.
    pub version: Version,
    /// Clean Session (3.1.1) or Clean Start (5.0).
    pub clean_start: bool,
    /// Keep alive in seconds; 0 is none.
    pub keep_alive: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// Client identifier; may be empty.
    pub client_id: String,
    /// The message to publish when the client is lost.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
}

/// The will of a client.
#[derive(Clone, PartialEq, Debug)]
pub struct Will {
    /// Topic.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: Arc<[u8]>,
    /// Quality of service.
    pub qos: QoS,
    /// Retained.
    pub retain: bool,
    /// Properties (5.0).
    pub properties: Properties,
}

/// CONNACK (3.2).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConnAck {
    /// The server had a session for this client.
    pub session_present: bool,
    /// Return code (3.1.1) or reason code (5.0).
    pub code: u8,
    /// Properties (5.0).
    pub properties: Properties,
}

/// PUBLISH (3.3).
#[derive(Clone, PartialEq, Debug)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retained.
    pub retain: bool,
    /// Topic; empty only with a topic alias.
    pub topic: Arc<str>,
    /// Packet identifier; 0 for QoS 0, which has none on the wire.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// Payload.
    pub payload: Arc<[u8]>,
}

impl Publish {
    /// The same, borrowed.
    #[must_use]
    pub fn view(&self) -> PublishView<'_> {
        let Publish { dup, qos, retain, topic, packet_id, properties, payload } = self;
        PublishView {
            dup: *dup,
            qos: *qos,
            retain: *retain,
            topic,
            packet_id: *packet_id,
            properties: &properties.0,
            payload,
        }
    }
}

/// A PUBLISH made of borrowed parts: what is encoded without being copied first.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct PublishView<'a> {
    /// Sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retained.
    pub retain: bool,
    /// Topic; empty only with a topic alias.
    pub topic: &'a str,
    /// Packet identifier; 0 for QoS 0.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: &'a [Property],
    /// Payload.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ack {
    /// Packet identifier.
    pub packet_id: u16,
    /// Reason code (5.0); 0 in 3.1.1.
    pub code: u8,
    /// Properties (5.0).
    pub properties: Properties,
}

impl Ack {
    /// A plain success.
    #[must_use]
    pub fn new(packet_id: u16) -> Ack {
        Ack { packet_id, ..Ack::default() }
    }
}

/// One filter of a SUBSCRIBE with its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Topic filter.
    pub filter: Arc<str>,
    /// Highest quality of service wanted.
    pub qos: QoS,
    /// Not the own messages (5.0).
    pub no_local: bool,
    /// Leave RETAIN as it was published (5.0).
    pub retain_as_published: bool,
    /// When to send retained messages (5.0): 0 at each subscribe, 1 if new, 2 never.
    pub retain_handling: u8,
}

impl Subscription {
    /// A subscription with default options.
    #[must_use]
    pub fn new(filter: &str, qos: QoS) -> Subscription {
        let filter = Arc::from(filter);
        Subscription { filter, qos, no_local: false, retain_as_published: false, retain_handling: 0 }
    }
}

/// SUBSCRIBE (3.8).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// What is asked for, at least one.
    pub subscriptions: Vec<Subscription>,
}

/// SUBACK (3.9).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SubAck {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// One code for each filter: granted QoS, or 0x80 and above.
    pub codes: Vec<u8>,
}

/// UNSUBSCRIBE (3.10).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Unsubscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// Topic filters, at least one.
    pub filters: Vec<Arc<str>>,
}

/// UNSUBACK (3.11).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct UnsubAck {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// One code for each filter (5.0); empty in 3.1.1.
    pub codes: Vec<u8>,
}

/// DISCONNECT (3.14).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Disconnect {
    /// Reason code (5.0); 0 in 3.1.1.
    pub code: u8,
    /// Properties (5.0).
    pub properties: Properties,
}

/// AUTH (3.15, MQTT 5 only).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Auth {
    /// Reason code.
    pub code: u8,
    /// Properties.
    pub properties: Properties,
}
