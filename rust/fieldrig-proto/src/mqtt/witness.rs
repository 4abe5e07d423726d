//! What lets an observer believe its own silence: a marker that it publishes to itself.
//!
//! A marker that comes back proves that messages still arrive. It cannot prove that none was thrown away on the way, so
//! the broker of this crate writes into an empty marker how many messages for that client it has dropped, and how long
//! ago the last one was. A broker that knows nothing of this leaves the marker empty, and cannot be asked.
//!
//! ```
//! use fieldrig_proto::mqtt::witness::Drops;
//! use fieldrig_proto::time::Duration;
//! let drops = Drops { messages: 3, last: Duration::from_millis(2) };
//! assert_eq!(Drops::parse(drops.to_string().as_bytes()), Some(drops));
//! assert_eq!(Drops::parse(b""), None, "a broker of somebody else");
//! ```

use crate::time::Duration;
use std::fmt;

/// Topics of markers begin with this.
pub const PREFIX: &str = "fieldrig/witness/";

/// What a broker has dropped of the messages for one client.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Drops {
    /// How many, since the session began.
    pub messages: u64,
    /// How long ago the last one was dropped, when the marker left the broker.
    pub last: Duration,
}

impl Drops {
    /// Reads the payload of a marker; `None` if the broker wrote nothing into it.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Drops> {
        let text = std::str::from_utf8(payload).ok()?;
        let (messages, last) = text.strip_prefix("dropped=")?.split_once(" last_ns=")?;
        Some(Drops { messages: messages.parse().ok()?, last: Duration::from_nanos(last.parse().ok()?) })
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "dropped={} last_ns={}", self.messages, self.last.as_nanos())
    }
}
