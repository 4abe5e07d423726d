//! Reason codes: names, and which packets may carry them. Codes outside the tables are kept, not rejected.

use super::packet::{PacketType, Version};

use PacketType::{Auth, ConnAck, Disconnect, PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};

/// Code, name, packets that may carry it (MQTT 5, 2.4).
const V5: &[(u8, &str, &[PacketType])] = &[
    (0x00, "Success", &[ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Auth, Disconnect]),
    (0x01, "Granted QoS 1", &[SubAck]),
    (0x02, "Granted QoS 2", &[SubAck]),
    (0x04, "Disconnect with Will Message", &[Disconnect]),
    (0x10, "No matching subscribers", &[PubAck, PubRec]),
    (0x11, "No subscription existed", &[UnsubAck]),
    (0x18, "Continue authentication", &[Auth]),
    (0x19, "Re-authenticate", &[Auth]),
    (0x80, "Unspecified error", &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x81, "Malformed Packet", &[ConnAck, Disconnect]),
    (0x82, "Protocol Error", &[ConnAck, Disconnect]),
    (0x83, "Implementation specific error", &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x84, "Unsupported Protocol Version", &[ConnAck]),
    (0x85, "Client Identifier not valid", &[ConnAck]),
    (0x86, "Bad User Name or Password", &[ConnAck]),
    (0x87, "Not authorized", &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x88, "Server unavailable", &[ConnAck]),
    (0x89, "Server busy", &[ConnAck, Disconnect]),
    (0x8a, "Banned", &[ConnAck]),
    (0x8b, "Server shutting down", &[Disconnect]),
    (0x8c, "Bad authentication method", &[ConnAck, Disconnect]),
    (0x8d, "Keep Alive timeout", &[Disconnect]),
    (0x8e, "Session taken over", &[Disconnect]),
    (0x8f, "Topic Filter invalid", &[SubAck, UnsubAck, Disconnect]),
    (0x90, "Topic Name invalid", &[ConnAck, PubAck, PubRec, Disconnect]),
    (0x91, "Packet Identifier in use", &[PubAck, PubRec, SubAck, UnsubAck]),
    (0x92, "Packet Identifier not found", &[PubRel, PubComp]),
    (0x93, "Receive Maximum exceeded", &[Disconnect]),
    (0x94, "Topic Alias invalid", &[Disconnect]),
    (0x95, "Packet too large", &[ConnAck, Disconnect]),
    (0x96, "Message rate too high", &[Disconnect]),
    (0x97, "Quota exceeded", &[ConnAck, PubAck, PubRec, SubAck, Disconnect]),
    (0x98, "Administrative action", &[Disconnect]),
    (0x99, "Payload format invalid", &[ConnAck, PubAck, PubRec, Disconnect]),
    (0x9a, "Retain not supported", &[ConnAck, Disconnect]),
    (0x9b, "QoS not supported", &[ConnAck, Disconnect]),
    (0x9c, "Use another server", &[ConnAck, Disconnect]),
    (0x9d, "Server moved", &[ConnAck, Disconnect]),
    (0x9e, "Shared Subscriptions not supported", &[SubAck, Disconnect]),
    (0x9f, "Connection rate exceeded", &[ConnAck, Disconnect]),
    (0xa0, "Maximum connect time", &[Disconnect]),
    (0xa1, "Subscription Identifiers not supported", &[SubAck, Disconnect]),
    (0xa2, "Wildcard Subscriptions not supported", &[SubAck, Disconnect]),
];

/// Return codes of MQTT 3.1.1 (3.2.2.3, 3.9.3).
const V311: &[(u8, &str, &[PacketType])] = &[
    (0x00, "Accepted", &[ConnAck]),
    (0x01, "unacceptable protocol version", &[ConnAck]),
    (0x02, "identifier rejected", &[ConnAck]),
    (0x03, "Server unavailable", &[ConnAck]),
    (0x04, "bad user name or password", &[ConnAck]),
    (0x05, "not authorized", &[ConnAck]),
    (0x00, "Success - Maximum QoS 0", &[SubAck]),
    (0x01, "Success - Maximum QoS 1", &[SubAck]),
    (0x02, "Success - Maximum QoS 2", &[SubAck]),
    (0x80, "Failure", &[SubAck]),
];

fn find(version: Version, packet: PacketType, code: u8) -> Option<&'static str> {
    let table = match version {
        Version::V311 => V311,
        Version::V5 => V5,
    };
    let row = table.iter().find(|(value, _, packets)| *value == code && packets.contains(&packet));
    row.map(|(_, name, _)| *name)
}

/// The name of a code in a packet; `None` if the table of that packet does not list it.
#[must_use]
pub fn name(version: Version, packet: PacketType, code: u8) -> Option<&'static str> {
    match (packet, code) {
        (Disconnect, 0) if version == Version::V5 => Some("Normal disconnection"),
        (SubAck, 0) if version == Version::V5 => Some("Granted QoS 0"),
        _ => find(version, packet, code),
    }
}

/// A code for people: `0x8e Session taken over`, `0x42 (not in the table)`.
#[must_use]
pub fn describe(version: Version, packet: PacketType, code: u8) -> String {
    match name(version, packet, code) {
        Some(name) => format!("0x{code:02x} {name}"),
        None => format!("0x{code:02x} (not in the table)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_belong_to_packets() {
        assert_eq!(name(Version::V5, Disconnect, 0), Some("Normal disconnection"));
        assert_eq!(name(Version::V5, PubAck, 0x8e), None);
        assert_eq!(name(Version::V311, ConnAck, 5), Some("not authorized"));
        assert_eq!(describe(Version::V5, PubAck, 0x05), "0x05 (not in the table)");
    }
}
