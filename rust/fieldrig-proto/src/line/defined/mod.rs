//! Protocols that are defined by data: a description in TOML or of Python dicts gets a client, an emulated device, raw and
//! malformed frames, and dissection.
//!
//! ```text
//!   Value --Definition::read--> Definition --+-- encode: names and values, patches -> bytes
//!   (a table)                                +-- decode: body -> Message (fields with ranges)
//!                                            +-- Client (asks)   DefinedFace (answers)   dissect
//!                                            +-- protocol(): the descriptor for the engine
//! ```
//!
//! - `field.rs`, `layout.rs`: typed fields and their order. - `read.rs`, `read_fields.rs`: the frame from
//!   its description.
//! - `sound.rs`: what a description must not say. - `definition.rs`: messages by tag. - `encode.rs`: messages to bytes, right or wrong on purpose.
//! - `expected.rs`: what a test may expect of a field, and whether that came.
//! - `client.rs`: requests and their answers. - `face.rs`, `answer.rs`: the emulated device and its rules.
//! - `descriptor.rs`: how the engine sees it.
//!
//! docs/protocols.md describes each key.

mod answer;
mod client;
mod definition;
mod descriptor;
mod encode;
mod expected;
mod face;
mod field;
mod layout;
mod read;
mod read_fields;
mod sound;

pub use answer::{AnswerRule, Handler, Question, Reply};
pub use client::{Ask, Client, ClientEvent, Come, Failure, State};
pub use definition::{Definition, Message, MessageShape, Need, Part};
pub use descriptor::protocol;
pub use encode::{EncodeError, Encoded, Patch};
pub use face::{DefinedFace, HABITS};
pub use field::{Field, Kind, Role, Size};
pub use layout::Layout;
