//! Bytes of one whole packet -> [`Packet`] or [`Violation`]. Total: no bytes make it panic.

use super::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, QoS, SubAck, Subscribe, Subscription,
    UnsubAck, Unsubscribe, Version, Will,
};
use super::property::{Properties, Scope};
use super::reader::Reader;
use super::reason;
use super::rule::{self, Violation};
use super::topic;
use crate::dissect::Field;
use std::sync::Arc;

type Decoded<T> = Result<T, Violation>;

/// Decodes one packet. `version` is that of the connection; CONNECT brings its own.
///
/// # Errors
/// The first violation, by place in the packet. Bytes after the packet are one too.
pub fn decode(bytes: &[u8], version: Version) -> Result<Packet, Violation> {
    decode_noting(bytes, version, None)
}

/// Decodes and notes every field that was read, up to the violation.
pub(super) fn decode_noting(bytes: &[u8], version: Version, fields: Option<&mut Vec<Field>>) -> Decoded<Packet> {
    let mut reader = Reader::new(bytes, version, fields);
    let reader = &mut reader;
    let (packet_type, flags) = first_byte(reader)?;
    if packet_type == PacketType::Connect {
        // The version of a CONNECT is known only after its level: its length is judged then.
        reader.version = Version::V311;
    }
    remaining_length(reader)?;
    let packet = body(reader, packet_type, flags)?;
    reader.finish()?;
    Ok(packet)
}

/// Type and flags [MQTT-2.1.3-1].
fn first_byte(reader: &mut Reader<'_>) -> Decoded<(PacketType, u8)> {
    let byte = reader.code("fixed header", |byte| match PacketType::from_code(byte >> 4) {
        Some(packet_type) => format!("{}, flags {:04b}", packet_type.name(), byte & 0x0f),
        None => format!("0x{byte:02x}"),
    })?;
    let place = (0, "packet type");
    let packet_type = match PacketType::from_code(byte >> 4) {
        Some(PacketType::Auth) if reader.version == Version::V311 => {
            return reader.fail(&rule::PACKET_TYPE, place, "15", "1 to 14, the packet types of MQTT 3.1.1");
        }
        Some(packet_type) => packet_type,
        None => return reader.fail(&rule::PACKET_TYPE, place, "0", "a packet type from 1 on"),
    };
    let flags = byte & 0x0f;
    let rule = match packet_type {
        PacketType::Publish => return Ok((packet_type, flags)),
        PacketType::PubRel => &rule::FLAGS_PUBREL,
        PacketType::Subscribe => &rule::FLAGS_SUBSCRIBE,
        PacketType::Unsubscribe => &rule::FLAGS_UNSUBSCRIBE,
        PacketType::Disconnect => &rule::FLAGS_DISCONNECT,
        PacketType::Auth => &rule::FLAGS_AUTH,
        _ => &rule::FLAGS,
    };
    if flags != packet_type.flags() {
        let expected = format!("{:04b} for {}", packet_type.flags(), packet_type.name());
        return reader.fail(rule, (0, "flags"), format!("{flags:04b}"), expected);
    }
    Ok((packet_type, flags))
}

fn remaining_length(reader: &mut Reader<'_>) -> Decoded<()> {
    let length = reader.varint("remaining length")? as usize;
    let place = (1, "remaining length");
    let found = || format!("{length} while {} bytes follow", reader.left());
    match length.cmp(&reader.left()) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => reader.fail(&rule::TRUNCATED, place, found(), "as many bytes as it says"),
        std::cmp::Ordering::Less => reader.fail(&rule::TRAILING, place, found(), "as many bytes as it says"),
    }
}

fn body(reader: &mut Reader<'_>, packet_type: PacketType, flags: u8) -> Decoded<Packet> {
    Ok(match packet_type {
        PacketType::Connect => Packet::Connect(Box::new(connect(reader)?)),
        PacketType::ConnAck => Packet::ConnAck(connack(reader)?),
        PacketType::Publish => Packet::Publish(publish(reader, flags)?),
        PacketType::PubAck => Packet::PubAck(ack(reader, packet_type)?),
        PacketType::PubRec => Packet::PubRec(ack(reader, packet_type)?),
        PacketType::PubRel => Packet::PubRel(ack(reader, packet_type)?),
        PacketType::PubComp => Packet::PubComp(ack(reader, packet_type)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe(reader)?),
        PacketType::SubAck => Packet::SubAck(suback(reader)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe(reader)?),
        PacketType::UnsubAck => Packet::UnsubAck(unsuback(reader)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => {
            let (code, properties) = code_and_properties(reader, packet_type)?;
            Packet::Disconnect(Disconnect { code, properties })
        }
        PacketType::Auth => {
            let (code, properties) = code_and_properties(reader, packet_type)?;
            Packet::Auth(Auth { code, properties })
        }
    })
}

fn properties(reader: &mut Reader<'_>, scope: Scope) -> Decoded<Properties> {
    match reader.version {
        Version::V311 => Ok(Properties::none()),
        Version::V5 => Properties::read(reader, scope),
    }
}

/// 3.1. The order of the payload is fixed [MQTT-3.1.3-1].
fn connect(reader: &mut Reader<'_>) -> Decoded<Connect> {
    connect_head(reader)?;
    let flags = connect_flags(reader)?;
    let keep_alive = reader.u16("keep alive")?;
    let own = properties(reader, Scope::Packet(PacketType::Connect))?;
    let client_id = reader.string("client identifier")?.to_owned();
    let will = if flags & 0x04 != 0 { Some(will(reader, flags)?) } else { None };
    let username = if flags & 0x80 != 0 { Some(reader.string("user name")?.to_owned()) } else { None };
    let password = if flags & 0x40 != 0 { Some(reader.secret("password")?.to_vec()) } else { None };
    let version = reader.version;
    let clean_start = flags & 0x02 != 0;
    Ok(Connect { version, clean_start, keep_alive, properties: own, client_id, will, username, password })
}

/// Protocol name [MQTT-3.1.2-1] and level [MQTT-3.1.2-2].
fn connect_head(reader: &mut Reader<'_>) -> Decoded<()> {
    let length_bytes = reader.at - 1;
    let start = reader.at;
    let name = reader.string("protocol name")?;
    if name != "MQTT" {
        return reader.fail(&rule::PROTOCOL_NAME, (start, "protocol name"), format!("{name:?}"), "\"MQTT\"");
    }
    let level_at = reader.at;
    match reader.u8("protocol level")? {
        4 => {}
        5 => reader.version = Version::V5,
        other => {
            let place = (level_at, "protocol level");
            return reader.fail(&rule::PROTOCOL_LEVEL, place, other.to_string(), "4 (3.1.1) or 5 (5.0)");
        }
    }
    if reader.version == Version::V5 && length_bytes > 1 && reader.bytes[length_bytes] == 0 {
        let place = (1, "remaining length");
        return reader.fail(
            &rule::LENGTH_NOT_MINIMAL,
            place,
            format!("{length_bytes} bytes long"),
            "the shortest form",
        );
    }
    Ok(())
}

fn connect_flags(reader: &mut Reader<'_>) -> Decoded<u8> {
    let start = reader.at;
    let flags = reader.code("connect flags", |flags| format!("{flags:08b}"))?;
    let place = (start, "connect flags");
    let found = format!("{flags:08b}");
    let (will, will_qos) = (flags & 0x04 != 0, flags >> 3 & 3);
    if flags & 1 != 0 {
        return reader.fail(&rule::CONNECT_RESERVED, place, found, "the reserved bit 0 at 0");
    }
    if !will && will_qos != 0 {
        return reader.fail(&rule::WILL_QOS_WITHOUT, place, found, "will QoS 0 where the will flag is 0");
    }
    if will_qos == 3 {
        return reader.fail(&rule::WILL_QOS, place, found, "a will QoS of 0, 1 or 2");
    }
    if !will && flags & 0x20 != 0 {
        return reader.fail(&rule::WILL_RETAIN_WITHOUT, place, found, "will retain 0 where the will flag is 0");
    }
    if reader.version == Version::V311 && flags & 0xc0 == 0x40 {
        return reader.fail(&rule::PASSWORD_WITHOUT_USER, place, found, "no password without a user name");
    }
    Ok(flags)
}

fn will(reader: &mut Reader<'_>, flags: u8) -> Decoded<Will> {
    let properties = properties(reader, Scope::Will)?;
    let start = reader.at;
    let topic = reader.string("will topic")?;
    check_topic(reader, start, "will topic", topic)?;
    check_response_topic(reader, &properties)?;
    let payload = reader.binary("will payload")?;
    let qos = QoS::from_bits(flags >> 3 & 3).unwrap_or_default();
    Ok(Will { topic: topic.into(), payload: payload.into(), qos, retain: flags & 0x20 != 0, properties })
}

fn check_topic(reader: &Reader<'_>, start: usize, field: &'static str, text: &str) -> Decoded<()> {
    match topic::check_topic(text) {
        Ok(()) => Ok(()),
        Err((rule, at, expected)) => reader.fail(rule, (start + 2 + at, field), format!("{text:?}"), expected),
    }
}

/// A response topic has no wildcard [MQTT-3.3.2-14].
fn check_response_topic(reader: &Reader<'_>, properties: &Properties) -> Decoded<()> {
    match properties.response_topic() {
        Some(text) if topic::has_wildcard(text) => {
            let place = (reader.at, "Response Topic");
            reader.fail(&rule::RESPONSE_TOPIC, place, format!("{text:?}"), "a topic without wildcards")
        }
        _ => Ok(()),
    }
}

/// 3.2.
fn connack(reader: &mut Reader<'_>) -> Decoded<ConnAck> {
    let start = reader.at;
    let flags = reader.code("acknowledge flags", |flags| format!("{flags:08b}"))?;
    if flags & 0xfe != 0 {
        let place = (start, "acknowledge flags");
        return reader.fail(&rule::CONNACK_FLAGS, place, format!("{flags:08b}"), "0 in bits 7 to 1");
    }
    let code = code(reader, PacketType::ConnAck)?;
    if flags != 0 && code != 0 {
        let place = (start, "session present");
        return reader.fail(&rule::SESSION_PRESENT_REFUSED, place, "1", "0 where the code is a refusal");
    }
    let properties = properties(reader, Scope::Packet(PacketType::ConnAck))?;
    Ok(ConnAck { session_present: flags == 1, code, properties })
}

fn code(reader: &mut Reader<'_>, packet_type: PacketType) -> Decoded<u8> {
    let version = reader.version;
    reader.code("reason code", |code| reason::describe(version, packet_type, code))
}

fn packet_id(reader: &mut Reader<'_>) -> Decoded<u16> {
    let start = reader.at;
    match reader.u16("packet identifier")? {
        0 => reader.fail(&rule::PACKET_ID_ZERO, (start, "packet identifier"), "0", "1 to 65535"),
        id => Ok(id),
    }
}

/// 3.3.
fn publish(reader: &mut Reader<'_>, flags: u8) -> Decoded<Publish> {
    let Some(qos) = QoS::from_bits(flags >> 1 & 3) else {
        return reader.fail(&rule::QOS_BITS, (0, "QoS"), "3", "0, 1 or 2");
    };
    let dup = flags & 8 != 0;
    if dup && qos == QoS::AtMostOnce {
        return reader.fail(&rule::DUP_QOS0, (0, "DUP"), "1 with QoS 0", "DUP 0 with QoS 0");
    }
    let start = reader.at;
    let topic = reader.string("topic name")?;
    if !topic.is_empty() || reader.version == Version::V311 {
        check_topic(reader, start, "topic name", topic)?;
    }
    let packet_id = if qos == QoS::AtMostOnce { 0 } else { packet_id(reader)? };
    let properties = properties(reader, Scope::Packet(PacketType::Publish))?;
    check_alias(reader, start, topic, &properties)?;
    check_response_topic(reader, &properties)?;
    let payload = reader.rest("payload").into();
    Ok(Publish { dup, qos, retain: flags & 1 != 0, topic: topic.into(), packet_id, properties, payload })
}

/// An empty topic needs an alias (3.3.2.1); alias 0 does not exist [MQTT-3.3.2-8].
fn check_alias(reader: &Reader<'_>, start: usize, topic: &str, properties: &Properties) -> Decoded<()> {
    match properties.topic_alias() {
        Some(0) => reader.fail(&rule::TOPIC_ALIAS_ZERO, (reader.at, "Topic Alias"), "0", "at least 1"),
        None if topic.is_empty() => {
            let place = (start, "topic name");
            reader.fail(&rule::TOPIC_EMPTY, place, "empty without a topic alias", "at least one character")
        }
        _ => Ok(()),
    }
}

/// 3.4 to 3.7. MQTT 5 leaves out code and properties of a plain success.
fn ack(reader: &mut Reader<'_>, packet_type: PacketType) -> Decoded<Ack> {
    let packet_id = packet_id(reader)?;
    let (code, properties) = code_and_properties(reader, packet_type)?;
    Ok(Ack { packet_id, code, properties })
}

/// Reason code and properties, both of which may be left out from the end (3.4.2.1, 3.14.2.1, 3.15.2.1).
fn code_and_properties(reader: &mut Reader<'_>, packet_type: PacketType) -> Decoded<(u8, Properties)> {
    if reader.version == Version::V311 || reader.left() == 0 {
        return Ok((0, Properties::none()));
    }
    let code = code(reader, packet_type)?;
    if reader.left() == 0 {
        return Ok((code, Properties::none()));
    }
    Ok((code, properties(reader, Scope::Packet(packet_type))?))
}

/// 3.8.
fn subscribe(reader: &mut Reader<'_>) -> Decoded<Subscribe> {
    let packet_id = packet_id(reader)?;
    let properties = properties(reader, Scope::Packet(PacketType::Subscribe))?;
    if reader.left() == 0 {
        return reader.fail(&rule::NO_SUBSCRIPTION, (reader.at, "payload"), "empty", "at least one topic filter");
    }
    let mut subscriptions = Vec::new();
    while reader.left() > 0 {
        subscriptions.push(subscription(reader)?);
    }
    Ok(Subscribe { packet_id, properties, subscriptions })
}

fn subscription(reader: &mut Reader<'_>) -> Decoded<Subscription> {
    let filter = filter(reader)?;
    let start = reader.at;
    let options = reader.code("subscription options", |options| format!("{options:08b}"))?;
    let reserved = if reader.version == Version::V5 { 0xc0 } else { 0xfc };
    let (qos, retain_handling) = (QoS::from_bits(options & 3), options >> 4 & 3);
    let (Some(qos), true, true) = (qos, options & reserved == 0, retain_handling < 3) else {
        let place = (start, "subscription options");
        let expected = "QoS 0 to 2, retain handling 0 to 2, reserved bits 0";
        return reader.fail(&rule::SUBSCRIPTION_OPTIONS, place, format!("{options:08b}"), expected);
    };
    let no_local = options & 4 != 0;
    if no_local && filter.starts_with("$share/") {
        let place = (start, "no local");
        return reader.fail(&rule::NO_LOCAL_SHARED, place, "1 on a shared subscription", "0 on a shared subscription");
    }
    Ok(Subscription { filter, qos, no_local, retain_as_published: options & 8 != 0, retain_handling })
}

/// A filter; only its being a string is judged here. Its wildcards are answered in SUBACK by MQTT 5.
fn filter(reader: &mut Reader<'_>) -> Decoded<Arc<str>> {
    let start = reader.at;
    match reader.string("topic filter")? {
        "" => reader.fail(&rule::FILTER_EMPTY, (start, "topic filter"), "empty", "at least one character"),
        filter => Ok(filter.into()),
    }
}

/// 3.9.
fn suback(reader: &mut Reader<'_>) -> Decoded<SubAck> {
    let packet_id = packet_id(reader)?;
    let properties = properties(reader, Scope::Packet(PacketType::SubAck))?;
    Ok(SubAck { packet_id, properties, codes: codes(reader, PacketType::SubAck)? })
}

fn codes(reader: &mut Reader<'_>, packet_type: PacketType) -> Decoded<Vec<u8>> {
    let mut codes = Vec::with_capacity(reader.left());
    while reader.left() > 0 {
        codes.push(code(reader, packet_type)?);
    }
    Ok(codes)
}

/// 3.10.
fn unsubscribe(reader: &mut Reader<'_>) -> Decoded<Unsubscribe> {
    let packet_id = packet_id(reader)?;
    let properties = properties(reader, Scope::Packet(PacketType::Unsubscribe))?;
    if reader.left() == 0 {
        return reader.fail(&rule::NO_UNSUBSCRIPTION, (reader.at, "payload"), "empty", "at least one topic filter");
    }
    let mut filters = Vec::new();
    while reader.left() > 0 {
        filters.push(filter(reader)?);
    }
    Ok(Unsubscribe { packet_id, properties, filters })
}

/// 3.11; MQTT 3.1.1 has no codes.
fn unsuback(reader: &mut Reader<'_>) -> Decoded<UnsubAck> {
    let packet_id = packet_id(reader)?;
    if reader.version == Version::V311 {
        return Ok(UnsubAck { packet_id, ..UnsubAck::default() });
    }
    let properties = properties(reader, Scope::Packet(PacketType::UnsubAck))?;
    Ok(UnsubAck { packet_id, properties, codes: codes(reader, PacketType::UnsubAck)? })
}
