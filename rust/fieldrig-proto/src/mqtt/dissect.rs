//! Dissection: the decoder notes the fields it reads; what it could not accept becomes a note on the last field.

use super::decode::decode_noting;
use super::deframer::frame_length;
use super::packet::{Packet, PacketType, Publish, Version};
use super::reason;
use crate::dissect::{Dissection, Sender};
use std::fmt::Write as _;

/// Takes an MQTT 5.0 packet apart.
#[must_use]
pub fn dissect_v5(bytes: &[u8], _sender: Sender) -> Dissection {
    dissect(bytes, Version::V5)
}

/// Takes an MQTT 3.1.1 packet apart.
#[must_use]
pub fn dissect_v311(bytes: &[u8], _sender: Sender) -> Dissection {
    dissect(bytes, Version::V311)
}

/// How many of the first bytes form one packet; all of them if no length can be read.
#[must_use]
pub fn message_length(bytes: &[u8], _sender: Sender) -> Option<usize> {
    match frame_length(bytes, Version::V5) {
        Ok(Some(length)) => (bytes.len() >= length).then_some(length),
        Ok(None) => None,
        Err(_) => Some(bytes.len()),
    }
}

fn dissect(bytes: &[u8], version: Version) -> Dissection {
    let mut dissection = Dissection::new("MQTT");
    match decode_noting(bytes, version, Some(&mut dissection.fields)) {
        Ok(packet) => {
            dissection.summary = summary(&packet, version);
            if let Packet::Connect(connect) = &packet {
                dissection.speaks = Some(match connect.version {
                    Version::V311 => super::V311.name,
                    Version::V5 => super::V5.name,
                });
            }
        }
        Err(violation) => {
            let name = bytes.first().and_then(|first| PacketType::from_code(first >> 4)).map(PacketType::name);
            dissection.summary = format!("{}: {violation}", name.unwrap_or("MQTT"));
            let start = violation.offset.min(bytes.len());
            let found = violation.found.clone();
            let blamed = dissection.fields.iter_mut().rev().find(|field| field.range.contains(&start));
            let note = format!("expected {} [{}]", violation.expected, violation.statement);
            match blamed {
                Some(field) => field.note = Some(note),
                None => dissection.field(start..bytes.len(), violation.field, found).note = Some(note),
            }
        }
    }
    dissection
}

/// A packet in one line.
fn summary(packet: &Packet, version: Version) -> String {
    let packet_type = packet.packet_type();
    let mut text = packet_type.name().to_owned();
    let code = |code| reason::describe(version, packet_type, code);
    let _ = match packet {
        Packet::Connect(connect) => write!(
            text,
            " {} {:?} clean {} keep alive {} s",
            connect.version.name(),
            connect.client_id,
            u8::from(connect.clean_start),
            connect.keep_alive
        ),
        Packet::ConnAck(connack) => {
            write!(text, " {} session present {}", code(connack.code), u8::from(connack.session_present))
        }
        Packet::Publish(publish) => write!(text, " {}", publish_summary(publish)),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => match ack.code {
            0 => write!(text, " id {}", ack.packet_id),
            other => write!(text, " id {} {}", ack.packet_id, code(other)),
        },
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> =
                subscribe.subscriptions.iter().map(|s| format!("{} qos {}", s.filter, s.qos as u8)).collect();
            write!(text, " id {} {}", subscribe.packet_id, filters.join(", "))
        }
        Packet::SubAck(suback) => write!(text, " id {} {:02x?}", suback.packet_id, suback.codes),
        Packet::Unsubscribe(unsubscribe) => {
            write!(text, " id {} {}", unsubscribe.packet_id, unsubscribe.filters.join(", "))
        }
        Packet::UnsubAck(unsuback) => write!(text, " id {} {:02x?}", unsuback.packet_id, unsuback.codes),
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(end) if version == Version::V5 => write!(text, " {}", code(end.code)),
        Packet::Disconnect(_) => Ok(()),
        Packet::Auth(auth) => write!(text, " {}", code(auth.code)),
    };
    text
}

fn publish_summary(publish: &Publish) -> String {
    let mut text = format!("{} qos {}", publish.topic, publish.qos as u8);
    if publish.packet_id != 0 {
        let _ = write!(text, " id {}", publish.packet_id);
    }
    if publish.retain {
        text.push_str(" retain");
    }
    if publish.dup {
        text.push_str(" dup");
    }
    let _ = write!(text, ", {} bytes", publish.payload.len());
    text
}
