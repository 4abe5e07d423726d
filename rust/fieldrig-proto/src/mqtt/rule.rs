//! The rules a received packet is held against, as data: the statement of each version and the MQTT 5 reason code.
//!
//! `""` as a statement means that the version has no such rule. Rules of MQTT 5 that carry no number are cited by
//! section (`MQTT5 2.2.2.2`).

use super::packet::Version;
use std::borrow::Cow;
use std::fmt;

/// One rule of the standard.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Statement of MQTT 3.1.1.
    pub v311: &'static str,
    /// Statement of MQTT 5.0.
    pub v5: &'static str,
    /// Reason code with which MQTT 5 answers a violation.
    pub code: u8,
}

impl Rule {
    /// The statement in the numbering of a version; that of the other version where this one has none.
    #[must_use]
    pub const fn statement(&self, version: Version) -> &'static str {
        match version {
            Version::V311 if !self.v311.is_empty() => self.v311,
            Version::V5 if self.v5.is_empty() => self.v311,
            _ => self.v5,
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident $v311:literal $v5:literal $code:literal;)*) => {
        $($(#[$doc])* pub const $name: Rule = Rule { v311: $v311, v5: $v5, code: $code };)*
    };
}

rules! {
    /// A packet type that the version does not have.
    PACKET_TYPE "MQTT-4.8.0-1" "MQTT-4.13.1-1" 0x81;
    /// A remaining length of more than four bytes.
    LENGTH_TOO_LONG "MQTT311 2.2.3" "MQTT5 1.5.5" 0x81;
    /// A variable byte integer in a longer form than needed.
    LENGTH_NOT_MINIMAL "" "MQTT-1.5.5-1" 0x81;
    /// A packet larger than the receiver takes.
    TOO_LARGE "MQTT-4.8.0-2" "MQTT-3.1.2-24" 0x95;
    /// The packet ends inside a field.
    TRUNCATED "MQTT-4.8.0-1" "MQTT-4.13.1-1" 0x81;
    /// Bytes follow the last field.
    TRAILING "MQTT-4.8.0-1" "MQTT-4.13.1-1" 0x81;
    /// Reserved bits of the fixed header.
    FLAGS "MQTT-2.2.2-2" "MQTT-2.1.3-1" 0x81;
    /// Reserved bits of PUBREL.
    FLAGS_PUBREL "MQTT-3.6.1-1" "MQTT-3.6.1-1" 0x81;
    /// Reserved bits of SUBSCRIBE.
    FLAGS_SUBSCRIBE "MQTT-3.8.1-1" "MQTT-3.8.1-1" 0x81;
    /// Reserved bits of UNSUBSCRIBE.
    FLAGS_UNSUBSCRIBE "MQTT-3.10.1-1" "MQTT-3.10.1-1" 0x81;
    /// Reserved bits of DISCONNECT.
    FLAGS_DISCONNECT "MQTT-3.14.1-1" "MQTT-3.14.1-1" 0x81;
    /// Reserved bits of AUTH.
    FLAGS_AUTH "" "MQTT-3.15.1-1" 0x81;
    /// QoS bits 11.
    QOS_BITS "MQTT-3.3.1-4" "MQTT-3.3.1-4" 0x81;
    /// DUP with QoS 0.
    DUP_QOS0 "MQTT-3.3.1-2" "MQTT-3.3.1-2" 0x81;
    /// Ill-formed UTF-8.
    UTF8 "MQTT-1.5.3-1" "MQTT-1.5.4-1" 0x81;
    /// U+0000 in a string.
    NUL "MQTT-1.5.3-2" "MQTT-1.5.4-2" 0x81;
    /// Packet identifier 0.
    PACKET_ID_ZERO "MQTT-2.3.1-1" "MQTT-2.2.1-3" 0x82;
    /// A wildcard in the topic of PUBLISH.
    TOPIC_WILDCARD "MQTT-3.3.2-2" "MQTT-3.3.2-2" 0x90;
    /// An empty topic.
    TOPIC_EMPTY "MQTT-4.7.3-1" "MQTT-4.7.3-1" 0x82;
    /// A wildcard in a response topic.
    RESPONSE_TOPIC "" "MQTT-3.3.2-14" 0x82;
    /// An empty topic filter.
    FILTER_EMPTY "MQTT-4.7.3-1" "MQTT-4.7.3-1" 0x82;
    /// A multi-level wildcard that is not the last level of its own.
    FILTER_HASH "MQTT-4.7.1-2" "MQTT-4.7.1-1" 0x8f;
    /// A single-level wildcard that does not fill its level.
    FILTER_PLUS "MQTT-4.7.1-3" "MQTT-4.7.1-2" 0x8f;
    /// SUBSCRIBE without a filter.
    NO_SUBSCRIPTION "MQTT-3.8.3-3" "MQTT-3.8.3-2" 0x82;
    /// Subscription options that do not exist.
    SUBSCRIPTION_OPTIONS "MQTT-3.8.3-4" "MQTT-3.8.3-5" 0x81;
    /// No Local on a shared subscription.
    NO_LOCAL_SHARED "" "MQTT-3.8.3-4" 0x82;
    /// UNSUBSCRIBE without a filter.
    NO_UNSUBSCRIPTION "MQTT-3.10.3-2" "MQTT-3.10.3-2" 0x82;
    /// The protocol name.
    PROTOCOL_NAME "MQTT-3.1.2-1" "MQTT-3.1.2-1" 0x84;
    /// The protocol level.
    PROTOCOL_LEVEL "MQTT-3.1.2-2" "MQTT-3.1.2-2" 0x84;
    /// The reserved connect flag.
    CONNECT_RESERVED "MQTT-3.1.2-3" "MQTT-3.1.2-3" 0x81;
    /// Will QoS without a will.
    WILL_QOS_WITHOUT "MQTT-3.1.2-13" "MQTT-3.1.2-11" 0x81;
    /// Will QoS 3.
    WILL_QOS "MQTT-3.1.2-14" "MQTT-3.1.2-12" 0x81;
    /// Will retain without a will.
    WILL_RETAIN_WITHOUT "MQTT-3.1.2-15" "MQTT-3.1.2-13" 0x81;
    /// A password without a user name.
    PASSWORD_WITHOUT_USER "MQTT-3.1.2-22" "" 0x81;
    /// Reserved flags of CONNACK.
    CONNACK_FLAGS "MQTT311 3.2.2.1" "MQTT-3.2.2-1" 0x81;
    /// Session present in a refusal.
    SESSION_PRESENT_REFUSED "MQTT-3.2.2-4" "MQTT-3.2.2-6" 0x82;
    /// Session present although the client has no session.
    SESSION_PRESENT_WITHOUT "MQTT-3.2.2-1" "MQTT-3.2.2-4" 0x82;
    /// A property identifier that does not exist.
    PROPERTY_UNKNOWN "" "MQTT5 2.2.2.2" 0x81;
    /// A property that does not belong in this packet.
    PROPERTY_FOREIGN "" "MQTT5 2.2.2.2" 0x82;
    /// A property that stands twice.
    PROPERTY_TWICE "" "MQTT5 2.2.2.2" 0x82;
    /// A property with a value it cannot have.
    PROPERTY_VALUE "" "MQTT5 2.2.2.2" 0x82;
    /// Authentication data without a method.
    AUTH_DATA_ALONE "" "MQTT5 3.1.2.11.10" 0x82;
    /// Topic alias 0.
    TOPIC_ALIAS_ZERO "" "MQTT-3.3.2-8" 0x94;
    /// A topic alias above the announced maximum.
    TOPIC_ALIAS_RANGE "" "MQTT-3.3.2-9" 0x94;
    /// A subscription identifier from a client.
    SUBSCRIPTION_ID_FROM_CLIENT "" "MQTT-3.3.4-6" 0x82;
    /// The first packet is not CONNECT.
    FIRST_CONNECT "MQTT-3.1.0-1" "MQTT-3.1.0-1" 0x82;
    /// A second CONNECT.
    SECOND_CONNECT "MQTT-3.1.0-2" "MQTT-3.1.0-2" 0x82;
    /// The server's first packet is not CONNACK.
    FIRST_CONNACK "MQTT-3.2.0-1" "MQTT-3.2.0-1" 0x82;
    /// A second CONNACK.
    SECOND_CONNACK "MQTT311 3.2" "MQTT-3.2.0-2" 0x82;
    /// A packet that this side never receives.
    DIRECTION "MQTT-4.8.0-1" "MQTT-4.13.1-1" 0x82;
    /// An acknowledgement nobody waits for.
    UNASKED_ACK "MQTT-4.3.2-1" "MQTT-4.3.2-3" 0x82;
    /// A number of return codes that is not the number of filters.
    CODE_COUNT "MQTT-3.8.4-5" "MQTT-3.8.4-6" 0x82;
    /// A reason code that is not in the table of the packet.
    CODE_TABLE "MQTT-3.9.3-2" "MQTT5 2.4" 0x82;
    /// A message above the granted QoS.
    QOS_GRANTED "MQTT-3.8.4-6" "MQTT-3.8.4-8" 0x9b;
    /// A packet from a client above the announced maximum QoS.
    QOS_MAXIMUM "" "MQTT-3.2.2-11" 0x9b;
    /// More unacknowledged messages than announced.
    RECEIVE_MAXIMUM "" "MQTT-3.3.4-7" 0x93;
    /// AUTH that nobody asked for.
    AUTH_UNASKED "" "MQTT-4.12.0-7" 0x82;
    /// Session expiry raised from 0 in the DISCONNECT of a client.
    DISCONNECT_EXPIRY_RAISED "" "MQTT5 3.14.2.2.2" 0x82;
    /// Session expiry in a DISCONNECT of a server.
    DISCONNECT_EXPIRY "" "MQTT-3.14.2-2" 0x82;
    /// Silence of more than one and a half times the keep alive.
    KEEP_ALIVE "MQTT-3.1.2-24" "MQTT-3.1.2-22" 0x8d;
}

/// What is wrong with a received packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Where, counted in bytes from the start of the packet.
    pub offset: usize,
    /// The field, in the words of the standard.
    pub field: &'static str,
    /// What was there.
    pub found: String,
    /// What was expected.
    pub expected: Cow<'static, str>,
    /// The statement, in the numbering of the version in use.
    pub statement: &'static str,
    /// The MQTT 5 reason code for it.
    pub code: u8,
}

impl Violation {
    /// A violation of `rule`.
    pub(crate) fn of(
        rule: &Rule,
        version: Version,
        (offset, field): (usize, &'static str),
        found: impl Into<String>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Violation {
        let statement = rule.statement(version);
        Violation { offset, field, found: found.into(), expected: expected.into(), statement, code: rule.code }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { offset, field, found, expected, statement, .. } = self;
        write!(f, "{field} at offset {offset} is {found}, expected {expected} [{statement}]")
    }
}

impl std::error::Error for Violation {}
