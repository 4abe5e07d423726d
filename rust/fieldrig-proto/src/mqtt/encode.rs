//! [`Packet`] -> bytes. Refuses what no receiver may accept; [`RawPacket`](super::RawPacket) makes such packets.

use super::packet::{
    Ack, ConnAck, Connect, Packet, PacketType, PublishView, QoS, Subscribe, Subscription, Unsubscribe, Version,
};
use super::property::{Properties, Property, Scope};
use super::topic;

/// Why a packet cannot be encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field longer than its length field can say, or with U+0000.
    #[error("{field} of {length} bytes: at most 65535, and no U+0000 in strings")]
    Field {
        /// Which.
        field: &'static str,
        /// How long.
        length: usize,
    },
    /// A packet longer than the remaining length can say.
    #[error("a packet of {0} bytes: the remaining length goes up to 268435455")]
    Packet(usize),
    /// A topic that is none.
    #[error("topic {topic:?}: expected {expected} [{statement}]")]
    Topic {
        /// The topic or filter.
        topic: String,
        /// What was expected.
        expected: &'static str,
        /// The statement.
        statement: &'static str,
    },
    /// A packet identifier of 0 where one is needed.
    #[error("{0} needs a packet identifier from 1 on")]
    PacketId(&'static str),
    /// A property where it does not belong, or in a 3.1.1 packet.
    #[error("{property} does not belong in {scope}")]
    Property {
        /// Which.
        property: &'static str,
        /// Where it stood.
        scope: &'static str,
    },
    /// Something the version does not have.
    #[error("{0}")]
    Shape(&'static str),
}

/// The longest remaining length (2.1.4).
pub(super) const LONGEST: usize = 268_435_455;

type Encoded = Result<(), EncodeError>;

/// Appends a packet to `out`; appends nothing if it is refused.
///
/// # Errors
/// What [`EncodeError`] lists.
pub fn encode(packet: &Packet, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    if let Packet::Publish(publish) = packet {
        let publish = &publish.view();
        check_publish(publish, version)?;
        return encode_publish(publish, version, out);
    }
    let mut body = Vec::new();
    write_body(packet, version, &mut body)?;
    let packet_type = packet.packet_type();
    put_frame((packet_type as u8) << 4 | packet_type.flags(), &body, out)
}

fn put_frame(first: u8, body: &[u8], out: &mut Vec<u8>) -> Encoded {
    if body.len() > LONGEST {
        return Err(EncodeError::Packet(body.len()));
    }
    out.push(first);
    put_varint(body.len() as u32, out);
    out.extend_from_slice(body);
    Ok(())
}

pub(super) fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field with a length of two bytes. The caller has checked that it fits.
pub(super) fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_string(field: &'static str, text: &str, out: &mut Vec<u8>) -> Encoded {
    if text.contains('\0') {
        return Err(EncodeError::Field { field, length: text.len() });
    }
    put_binary(field, text.as_bytes(), out)
}

fn put_binary(field: &'static str, bytes: &[u8], out: &mut Vec<u8>) -> Encoded {
    if bytes.len() > 65_535 {
        return Err(EncodeError::Field { field, length: bytes.len() });
    }
    put_sized(bytes, out);
    Ok(())
}

fn put_id(packet_type: PacketType, id: u16, out: &mut Vec<u8>) -> Encoded {
    if id == 0 {
        return Err(EncodeError::PacketId(packet_type.name()));
    }
    out.extend_from_slice(&id.to_be_bytes());
    Ok(())
}

fn put_properties(properties: &[Property], scope: Scope, version: Version, out: &mut Vec<u8>) -> Encoded {
    let misplaced = properties.iter().find(|property| version == Version::V311 || !property.allowed_in(scope));
    if let Some(property) = misplaced {
        let scope = if version == Version::V311 { "an MQTT 3.1.1 packet" } else { scope.name() };
        return Err(EncodeError::Property { property: property.name(), scope });
    }
    if let Some(property) = properties.iter().find(|property| !property.fits()) {
        return Err(EncodeError::Field { field: property.name(), length: 0 });
    }
    if version == Version::V5 {
        put_list(properties, out);
    }
    Ok(())
}

/// The list with its length (2.2.2.1).
fn put_list(properties: &[Property], out: &mut Vec<u8>) {
    if properties.is_empty() {
        return out.push(0);
    }
    let mut list = Vec::new();
    for property in properties {
        property.write(&mut list);
    }
    put_varint(list.len() as u32, out);
    out.extend_from_slice(&list);
}

fn check_topic(text: &str, version: Version) -> Encoded {
    topic::check_topic(text).map_err(|fault| topic_error(text, fault, version))
}

fn topic_error(text: &str, (rule, _, expected): topic::TopicFault, version: Version) -> EncodeError {
    EncodeError::Topic { topic: text.to_owned(), expected, statement: rule.statement(version) }
}

pub(super) fn check_publish(publish: &PublishView<'_>, version: Version) -> Encoded {
    if !(version == Version::V5 && publish.topic.is_empty() && has_alias(publish.properties)) {
        check_topic(publish.topic, version)?;
    }
    if publish.dup && publish.qos == QoS::AtMostOnce {
        return Err(EncodeError::Shape("DUP is 0 with QoS 0 [MQTT-3.3.1-2]"));
    }
    Ok(())
}

fn has_alias(properties: &[Property]) -> bool {
    properties.iter().any(|property| matches!(property, Property::TopicAlias(_)))
}

/// Appends a PUBLISH whose topic was checked before: the hot path of client and broker.
///
/// # Errors
/// Fields that do not fit, an identifier of 0 with QoS 1 or 2, properties that do not belong.
pub fn encode_publish(publish: &PublishView<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let done = write_publish(publish, version, out);
    if done.is_err() {
        out.truncate(start);
    }
    done
}

fn write_publish(publish: &PublishView<'_>, version: Version, out: &mut Vec<u8>) -> Encoded {
    let mut list = Vec::new();
    if version == Version::V5 || !publish.properties.is_empty() {
        put_properties(publish.properties, Scope::Packet(PacketType::Publish), version, &mut list)?;
    }
    let id = if publish.qos == QoS::AtMostOnce { 0 } else { 2 };
    let length = 2 + publish.topic.len() + id + list.len() + publish.payload.len();
    if length > LONGEST {
        return Err(EncodeError::Packet(length));
    }
    let flags = u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    out.reserve(length + 5);
    out.push((PacketType::Publish as u8) << 4 | flags);
    put_varint(length as u32, out);
    put_binary("topic name", publish.topic.as_bytes(), out)?;
    if id != 0 {
        put_id(PacketType::Publish, publish.packet_id, out)?;
    }
    out.extend_from_slice(&list);
    out.extend_from_slice(publish.payload);
    Ok(())
}

fn write_body(packet: &Packet, version: Version, out: &mut Vec<u8>) -> Encoded {
    let scope = Scope::Packet(packet.packet_type());
    match packet {
        Packet::Connect(connect) => write_connect(connect, out),
        Packet::ConnAck(connack) => write_connack(connack, version, out),
        // Handled by `encode`, which writes it without a copy.
        Packet::Publish(publish) => write_publish(&publish.view(), version, out),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            write_ack(ack, packet.packet_type(), version, out)
        }
        Packet::Subscribe(subscribe) => write_subscribe(subscribe, version, out),
        Packet::SubAck(suback) => {
            put_id(PacketType::SubAck, suback.packet_id, out)?;
            put_properties(&suback.properties.0, scope, version, out)?;
            out.extend_from_slice(&suback.codes);
            Ok(())
        }
        Packet::Unsubscribe(unsubscribe) => write_unsubscribe(unsubscribe, version, out),
        Packet::UnsubAck(unsuback) => {
            put_id(PacketType::UnsubAck, unsuback.packet_id, out)?;
            put_properties(&unsuback.properties.0, scope, version, out)?;
            if version == Version::V5 {
                out.extend_from_slice(&unsuback.codes);
            }
            Ok(())
        }
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(end) => write_code(end.code, &end.properties, scope, version, out),
        Packet::Auth(_) if version == Version::V311 => Err(EncodeError::Shape("MQTT 3.1.1 has no AUTH")),
        Packet::Auth(auth) => write_code(auth.code, &auth.properties, scope, version, out),
    }
}

fn write_connect(connect: &Connect, out: &mut Vec<u8>) -> Encoded {
    let version = connect.version;
    if version == Version::V311 && connect.password.is_some() && connect.username.is_none() {
        return Err(EncodeError::Shape("a password needs a user name [MQTT-3.1.2-22]"));
    }
    let will = connect.will.as_ref();
    let will_flags = will.map_or(0, |will| 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
    let flags = u8::from(connect.clean_start) << 1
        | will_flags
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.username.is_some()) << 7;
    put_sized(b"MQTT", out);
    out.extend_from_slice(&[version.level(), flags]);
    out.extend_from_slice(&connect.keep_alive.to_be_bytes());
    put_properties(&connect.properties.0, Scope::Packet(PacketType::Connect), version, out)?;
    put_string("client identifier", &connect.client_id, out)?;
    if let Some(will) = will {
        put_properties(&will.properties.0, Scope::Will, version, out)?;
        check_topic(&will.topic, version)?;
        put_string("will topic", &will.topic, out)?;
        put_binary("will payload", &will.payload, out)?;
    }
    if let Some(username) = &connect.username {
        put_string("user name", username, out)?;
    }
    match &connect.password {
        Some(password) => put_binary("password", password, out),
        None => Ok(()),
    }
}

fn write_connack(connack: &ConnAck, version: Version, out: &mut Vec<u8>) -> Encoded {
    if connack.session_present && connack.code != 0 {
        return Err(EncodeError::Shape("a refusal has session present 0 [MQTT-3.2.2-6]"));
    }
    out.extend_from_slice(&[u8::from(connack.session_present), connack.code]);
    put_properties(&connack.properties.0, Scope::Packet(PacketType::ConnAck), version, out)
}

fn write_ack(ack: &Ack, packet_type: PacketType, version: Version, out: &mut Vec<u8>) -> Encoded {
    put_id(packet_type, ack.packet_id, out)?;
    write_code(ack.code, &ack.properties, Scope::Packet(packet_type), version, out)
}

/// Reason code and properties in the shortest form (3.4.2.1).
fn write_code(code: u8, properties: &Properties, scope: Scope, version: Version, out: &mut Vec<u8>) -> Encoded {
    if version == Version::V311 {
        if code != 0 {
            return Err(EncodeError::Shape("MQTT 3.1.1 has no reason code here"));
        }
        return put_properties(&properties.0, scope, version, out);
    }
    if properties.0.is_empty() {
        if code != 0 {
            out.push(code);
        }
        return Ok(());
    }
    out.push(code);
    put_properties(&properties.0, scope, version, out)
}

fn write_subscribe(subscribe: &Subscribe, version: Version, out: &mut Vec<u8>) -> Encoded {
    if subscribe.subscriptions.is_empty() {
        return Err(EncodeError::Shape("SUBSCRIBE needs a topic filter [MQTT-3.8.3-2]"));
    }
    put_id(PacketType::Subscribe, subscribe.packet_id, out)?;
    put_properties(&subscribe.properties.0, Scope::Packet(PacketType::Subscribe), version, out)?;
    for subscription in &subscribe.subscriptions {
        put_filter(&subscription.filter, version, out)?;
        out.push(options(subscription, version)?);
    }
    Ok(())
}

fn options(subscription: &Subscription, version: Version) -> Result<u8, EncodeError> {
    let Subscription { qos, no_local, retain_as_published, retain_handling, .. } = subscription;
    if *retain_handling > 2 {
        return Err(EncodeError::Shape("retain handling goes from 0 to 2"));
    }
    let v5 = u8::from(*no_local) << 2 | u8::from(*retain_as_published) << 3 | retain_handling << 4;
    if version == Version::V311 && v5 != 0 {
        return Err(EncodeError::Shape("MQTT 3.1.1 has no subscription options besides the QoS"));
    }
    Ok(*qos as u8 | v5)
}

fn put_filter(filter: &str, version: Version, out: &mut Vec<u8>) -> Encoded {
    topic::check_filter(filter).map_err(|fault| topic_error(filter, fault, version))?;
    put_string("topic filter", filter, out)
}

fn write_unsubscribe(unsubscribe: &Unsubscribe, version: Version, out: &mut Vec<u8>) -> Encoded {
    if unsubscribe.filters.is_empty() {
        return Err(EncodeError::Shape("UNSUBSCRIBE needs a topic filter [MQTT-3.10.3-2]"));
    }
    put_id(PacketType::Unsubscribe, unsubscribe.packet_id, out)?;
    put_properties(&unsubscribe.properties.0, Scope::Packet(PacketType::Unsubscribe), version, out)?;
    for filter in &unsubscribe.filters {
        put_filter(filter, version, out)?;
    }
    Ok(())
}
