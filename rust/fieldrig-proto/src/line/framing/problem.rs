//! What can be wrong with a frame. Offsets count bytes of the body, but for those of markers and COBS (bytes of the wire).

use crate::dissect::hex;

/// One thing that is wrong with a frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// It does not begin as frames do.
    #[error("it begins with {}, not with {}", hex(.found), hex(.expected))]
    Start {
        /// What was there.
        found: Vec<u8>,
        /// What was expected.
        expected: Vec<u8>,
    },
    /// It does not end as frames do.
    #[error("it ends with {}, not with {}", hex(.found), hex(.expected))]
    End {
        /// What was there.
        found: Vec<u8>,
        /// What was expected.
        expected: Vec<u8>,
    },
    /// A length field says something else than what follows.
    #[error("{name} at offset {offset} says {says}, {expected} would be right: the body has {length} bytes")]
    Length {
        /// The field.
        name: String,
        /// Where it is.
        offset: usize,
        /// What it says.
        says: i64,
        /// What would be right.
        expected: i64,
        /// How long the body is.
        length: usize,
    },
    /// A length field holds no number.
    #[error("{name} at offset {offset} is {}, which is no number", hex(.found))]
    NoNumber {
        /// The field.
        name: String,
        /// Where it is.
        offset: usize,
        /// What was there.
        found: Vec<u8>,
    },
    /// A checksum is wrong.
    #[error("{name} at offset {offset} is {}, {} would be right", hex(.found), hex(.expected))]
    Sum {
        /// The field.
        name: String,
        /// Where it is.
        offset: usize,
        /// What was there.
        found: Vec<u8>,
        /// What was expected.
        expected: Vec<u8>,
    },
    /// A field that is always the same is not.
    #[error("{name} at offset {offset} is {}, it is always {}", hex(.found), hex(.expected))]
    Constant {
        /// The field.
        name: String,
        /// Where it is.
        offset: usize,
        /// What was there.
        found: Vec<u8>,
        /// What was expected.
        expected: Vec<u8>,
    },
    /// An escape byte stands before something that is never escaped, or before the end.
    #[error("the escape before offset {offset} stands before {}", .found.map_or("the end".to_owned(), |b| format!("{b:02x}")))]
    Escape {
        /// Where the byte would be.
        offset: usize,
        /// What stands behind the escape byte.
        found: Option<u8>,
    },
    /// A COBS block is cut off.
    #[error("the COBS block at offset {offset} is {says} bytes long, {follow} follow")]
    Cobs {
        /// Where its code is, on the wire.
        offset: usize,
        /// How many bytes it says.
        says: usize,
        /// How many are there.
        follow: usize,
    },
    /// It is longer than a frame may be; the rest was dropped.
    #[error("{length} bytes, at most {limit} are allowed")]
    TooLong {
        /// How many bytes came or were announced.
        length: usize,
        /// How many may come.
        limit: usize,
    },
    /// It is shorter than a frame can be.
    #[error("{length} bytes, at least {minimum} are needed")]
    TooShort {
        /// How many bytes came.
        length: usize,
        /// How many are needed.
        minimum: usize,
    },
    /// The content is not what its message says.
    #[error("at offset {offset}: {what}")]
    Content {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// It stopped before its end.
    #[error("it stopped after {length} bytes{}", .expected.map_or(String::new(), |all| format!(" of {all}")))]
    Truncated {
        /// How many bytes came.
        length: usize,
        /// How many were announced, if it got so far.
        expected: Option<usize>,
    },
}

impl Problem {
    /// A short word for it, for records and for Python.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Problem::Start { .. } => "start",
            Problem::End { .. } => "end",
            Problem::Length { .. } | Problem::NoNumber { .. } => "length",
            Problem::Sum { .. } => "checksum",
            Problem::Constant { .. } => "constant",
            Problem::Escape { .. } => "escape",
            Problem::Cobs { .. } => "cobs",
            Problem::TooLong { .. } => "too long",
            Problem::TooShort { .. } => "too short",
            Problem::Content { .. } => "content",
            Problem::Truncated { .. } => "truncated",
        }
    }

    /// Where it is, if it is at one place.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Problem::Length { offset, .. }
            | Problem::NoNumber { offset, .. }
            | Problem::Sum { offset, .. }
            | Problem::Constant { offset, .. }
            | Problem::Escape { offset, .. }
            | Problem::Content { offset, .. }
            | Problem::Cobs { offset, .. } => Some(*offset),
            Problem::Start { .. } => Some(0),
            _ => None,
        }
    }
}
