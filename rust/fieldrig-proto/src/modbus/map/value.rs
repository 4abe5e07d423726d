//! Why a value cannot stand in a point.

use crate::record::Value;

/// Why a value cannot stand in a point.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ValueProblem {
    /// The table, or its access, allows reading only (AP 4.3).
    #[error("{0}")]
    ReadOnly(&'static str),
    /// It is no number.
    #[error("takes a number, not {0}")]
    NoNumber(Value),
    /// It is NaN or infinite, and the point holds integers.
    #[error("holds integers and cannot hold {0}")]
    NotFinite(f64),
    /// It is no text.
    #[error("takes a text, not {0}")]
    NoText(Value),
    /// The registers cannot hold it.
    #[error("cannot hold {value}; the nearest is {nearest}")]
    DoesNotFit {
        /// What was to be written.
        value: Value,
        /// What would have been written.
        nearest: Value,
    },
    /// It is outside the range that the map gives.
    #[error("takes {low} to {high}, not {value}")]
    Range {
        /// Lowest.
        low: f64,
        /// Highest.
        high: f64,
        /// What was to be written.
        value: Value,
    },
    /// It is none of the names of an enumeration.
    #[error("knows no {value}; it has {there}")]
    Label {
        /// What was to be written.
        value: Value,
        /// The names there are.
        there: String,
    },
    /// The text has too many bytes.
    #[error("has room for {room} bytes, {value} takes {takes}")]
    TooLong {
        /// What was to be written.
        value: Value,
        /// Bytes in the registers.
        room: usize,
        /// Bytes of the text.
        takes: usize,
    },
    /// It is no date and time, or one that the registers cannot hold.
    #[error("takes a date and time such as \"2026-11-22T14:30:00Z\", not {0}")]
    NoInstant(Value),
}
