//! The properties of MQTT 5 (2.2.2.2), from one table: identifier, name, kind of value, packets that may carry it.

use super::packet::PacketType;
use super::reader::Reader;
use super::rule::{self, Violation};
use std::fmt;

/// Where a property list stands: in a packet of this type or in the payload of CONNECT, for the will.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// In the variable header.
    Packet(PacketType),
    /// In the payload of CONNECT.
    Will,
}

impl Scope {
    const fn bit(self) -> u32 {
        match self {
            Scope::Packet(packet_type) => 1 << packet_type as u32,
            Scope::Will => WILL,
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Packet(packet_type) => packet_type.name(),
            Scope::Will => "will",
        }
    }
}

const CONNECT: u32 = 1 << 1;
const CONNACK: u32 = 1 << 2;
const PUBLISH: u32 = 1 << 3;
/// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
const ACKS: u32 = 0b1010_1111_0000;
const SUBSCRIBE: u32 = 1 << 8;
const UNSUBSCRIBE: u32 = 1 << 10;
const DISCONNECT: u32 = 1 << 14;
const AUTH: u32 = 1 << 15;
const WILL: u32 = 1 << 16;

macro_rules! kind {
    (byte) => { u8 }; (flag) => { u8 }; (two) => { u16 }; (two_nonzero) => { u16 }; (four) => { u32 };
    (four_nonzero) => { u32 }; (varint_nonzero) => { u32 }; (text) => { String }; (binary) => { Vec<u8> };
    (pair) => { (String, String) };
}

macro_rules! properties {
    ($($id:literal $name:ident $accessor:ident $kind:ident $spec:literal $scopes:expr;)*) => {
        /// One property. Flags are bytes, so that a wrong value can be made on purpose.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Property { $(#[doc = $spec] $name(kind!($kind)),)* }

        impl Property {
            /// Its identifier on the wire.
            #[must_use]
            pub const fn id(&self) -> u8 {
                match self { $(Property::$name(_) => $id,)* }
            }
            /// Its name in the standard.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Property::$name(_) => $spec,)* }
            }
            /// Whether it may stand in this scope.
            #[must_use]
            pub const fn allowed_in(&self, scope: Scope) -> bool {
                match self { $(Property::$name(_) => ($scopes) & scope.bit() != 0,)* }
            }
            fn read(reader: &mut Reader<'_>, id: u32) -> Result<Option<Property>, Violation> {
                Ok(Some(match id {
                    $($id => Property::$name(read::$kind(reader, $spec)?),)*
                    _ => return Ok(None),
                }))
            }
            /// Appends identifier and value. The value must fit; see [`Property::fits`].
            pub(super) fn write(&self, out: &mut Vec<u8>) {
                out.push(self.id());
                match self { $(Property::$name(value) => write::$kind(value, out),)* }
            }
            /// Whether every string and binary value fits its length field.
            pub(super) fn fits(&self) -> bool {
                match self { $(Property::$name(value) => fits::$kind(value),)* }
            }
        }

        impl Properties {
            $(#[doc = concat!("The first `", $spec, "`.")]
            #[must_use]
            pub fn $accessor(&self) -> Option<&kind!($kind)> {
                self.0.iter().find_map(|property| match property {
                    Property::$name(value) => Some(value),
                    _ => None,
                })
            })*
        }
    };
}

properties! {
    0x01 PayloadFormat payload_format flag "Payload Format Indicator" PUBLISH | WILL;
    0x02 MessageExpiry message_expiry four "Message Expiry Interval" PUBLISH | WILL;
    0x03 ContentType content_type text "Content Type" PUBLISH | WILL;
    0x08 ResponseTopic response_topic text "Response Topic" PUBLISH | WILL;
    0x09 CorrelationData correlation_data binary "Correlation Data" PUBLISH | WILL;
    0x0b SubscriptionIdentifier subscription_identifier varint_nonzero "Subscription Identifier" PUBLISH | SUBSCRIBE;
    0x11 SessionExpiry session_expiry four "Session Expiry Interval" CONNECT | CONNACK | DISCONNECT;
    0x12 AssignedClientId assigned_client_id text "Assigned Client Identifier" CONNACK;
    0x13 ServerKeepAlive server_keep_alive two "Server Keep Alive" CONNACK;
    0x15 AuthenticationMethod authentication_method text "Authentication Method" CONNECT | CONNACK | AUTH;
    0x16 AuthenticationData authentication_data binary "Authentication Data" CONNECT | CONNACK | AUTH;
    0x17 RequestProblemInformation request_problem_information flag "Request Problem Information" CONNECT;
    0x18 WillDelay will_delay four "Will Delay Interval" WILL;
    0x19 RequestResponseInformation request_response_information flag "Request Response Information" CONNECT;
    0x1a ResponseInformation response_information text "Response Information" CONNACK;
    0x1c ServerReference server_reference text "Server Reference" CONNACK | DISCONNECT;
    0x1f ReasonString reason_string text "Reason String" CONNACK | ACKS | DISCONNECT | AUTH;
    0x21 ReceiveMaximum receive_maximum two_nonzero "Receive Maximum" CONNECT | CONNACK;
    0x22 TopicAliasMaximum topic_alias_maximum two "Topic Alias Maximum" CONNECT | CONNACK;
    0x23 TopicAlias topic_alias two "Topic Alias" PUBLISH;
    0x24 MaximumQoS maximum_qos flag "Maximum QoS" CONNACK;
    0x25 RetainAvailable retain_available flag "Retain Available" CONNACK;
    0x26 User user pair "User Property" CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH | WILL;
    0x27 MaximumPacketSize maximum_packet_size four_nonzero "Maximum Packet Size" CONNECT | CONNACK;
    0x28 WildcardAvailable wildcard_available flag "Wildcard Subscription Available" CONNACK;
    0x29 SubscriptionIdentifierAvailable subscription_identifier_available flag "Subscription Identifiers Available" CONNACK;
    0x2a SharedAvailable shared_available flag "Shared Subscription Available" CONNACK;
}

/// A property list, in the order of the wire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// No properties.
    #[must_use]
    pub const fn none() -> Properties {
        Properties(Vec::new())
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, property: Property) -> Properties {
        self.0.push(property);
        self
    }

    /// Reads a list with its length: each property allowed here, none twice but where the standard says so (2.2.2.2).
    pub(super) fn read(reader: &mut Reader<'_>, scope: Scope) -> Result<Properties, Violation> {
        let start = reader.at;
        let length = reader.varint("property length")? as usize;
        if length > reader.left() {
            let found = format!("{length} while {} bytes follow", reader.left());
            return reader.fail(&rule::TRUNCATED, (start, "property length"), found, "as many bytes as it says");
        }
        let outer = std::mem::replace(&mut reader.end, reader.at + length);
        let list = read_list(reader, scope);
        reader.end = outer;
        list
    }
}

fn read_list(reader: &mut Reader<'_>, scope: Scope) -> Result<Properties, Violation> {
    let mut list = Properties::none();
    let mut seen = 0u64;
    while reader.left() > 0 {
        let start = reader.at;
        let id = reader.varint("property identifier")?;
        let place = (start, "property identifier");
        let Some(property) = Property::read(reader, id)? else {
            return reader.fail(&rule::PROPERTY_UNKNOWN, place, format!("0x{id:02x}"), "an identifier of 2.2.2.2");
        };
        if !property.allowed_in(scope) {
            let expected = format!("a property that belongs in {}", scope.name());
            return reader.fail(&rule::PROPERTY_FOREIGN, place, property.name(), expected);
        }
        let repeatable = matches!(property, Property::User(_))
            || (matches!(property, Property::SubscriptionIdentifier(_)) && scope == Scope::Packet(PacketType::Publish));
        if seen & (1 << property.id()) != 0 && !repeatable {
            let found = format!("a second {}", property.name());
            return reader.fail(&rule::PROPERTY_TWICE, place, found, "each property once");
        }
        seen |= 1 << property.id();
        list.0.push(property);
    }
    if list.authentication_data().is_some() && list.authentication_method().is_none() {
        let place = (reader.at, "Authentication Data");
        return reader.fail(&rule::AUTH_DATA_ALONE, place, "without a method", "an Authentication Method");
    }
    Ok(list)
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, property) in self.0.iter().enumerate() {
            write!(f, "{}{property:?}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// How each kind of value is read.
mod read {
    use super::{Reader, Violation, rule};

    fn nonzero(reader: &Reader<'_>, width: usize, field: &'static str, value: u32) -> Result<u32, Violation> {
        match value {
            0 => reader.fail(&rule::PROPERTY_VALUE, (reader.at - width, field), "0", "at least 1"),
            _ => Ok(value),
        }
    }
    pub(super) fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<u8, Violation> {
        match reader.u8(field)? {
            value @ (0 | 1) => Ok(value),
            other => reader.fail(&rule::PROPERTY_VALUE, (reader.at - 1, field), other.to_string(), "0 or 1"),
        }
    }
    pub(super) fn two(reader: &mut Reader<'_>, field: &'static str) -> Result<u16, Violation> {
        reader.u16(field)
    }
    pub(super) fn two_nonzero(reader: &mut Reader<'_>, field: &'static str) -> Result<u16, Violation> {
        let value = reader.u16(field)?;
        nonzero(reader, 2, field, u32::from(value)).map(|_| value)
    }
    pub(super) fn four(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, Violation> {
        reader.u32(field)
    }
    pub(super) fn four_nonzero(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, Violation> {
        let value = reader.u32(field)?;
        nonzero(reader, 4, field, value)
    }
    pub(super) fn varint_nonzero(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, Violation> {
        let value = reader.varint(field)?;
        nonzero(reader, 1, field, value)
    }
    pub(super) fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, Violation> {
        reader.string(field).map(str::to_owned)
    }
    pub(super) fn binary(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, Violation> {
        reader.binary(field).map(<[u8]>::to_vec)
    }
    pub(super) fn pair(reader: &mut Reader<'_>, field: &'static str) -> Result<(String, String), Violation> {
        Ok((text(reader, field)?, text(reader, field)?))
    }
}

/// How each kind of value is written.
mod write {
    use super::super::encode::{put_sized, put_varint};

    pub(super) fn flag(value: &u8, out: &mut Vec<u8>) {
        out.push(*value);
    }
    pub(super) fn two(value: &u16, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_be_bytes());
    }
    pub(super) use two as two_nonzero;
    pub(super) fn four(value: &u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_be_bytes());
    }
    pub(super) use four as four_nonzero;
    pub(super) fn varint_nonzero(value: &u32, out: &mut Vec<u8>) {
        put_varint(*value, out);
    }
    pub(super) fn text(value: &str, out: &mut Vec<u8>) {
        put_sized(value.as_bytes(), out);
    }
    pub(super) fn binary(value: &[u8], out: &mut Vec<u8>) {
        put_sized(value, out);
    }
    pub(super) fn pair((key, value): &(String, String), out: &mut Vec<u8>) {
        text(key, out);
        text(value, out);
    }
}

/// Whether each kind of value can be written.
mod fits {
    const LONGEST: usize = 65_535;
    pub(super) fn flag(_: &u8) -> bool {
        true
    }
    pub(super) fn two(_: &u16) -> bool {
        true
    }
    pub(super) use two as two_nonzero;
    pub(super) fn four(_: &u32) -> bool {
        true
    }
    pub(super) use four as four_nonzero;
    pub(super) fn varint_nonzero(value: &u32) -> bool {
        *value <= 268_435_455
    }
    pub(super) fn text(value: &str) -> bool {
        value.len() <= LONGEST && !value.contains('\0')
    }
    pub(super) fn binary(value: &[u8]) -> bool {
        value.len() <= LONGEST
    }
    pub(super) fn pair((key, value): &(String, String)) -> bool {
        text(key) && text(value)
    }
}
