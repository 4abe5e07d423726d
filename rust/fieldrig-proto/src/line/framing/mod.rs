//! The framing toolkit: how a proprietary protocol finds its messages in a stream of bytes, as data.
//!
//! ```text
//!   wire:  start | escaped( header payload sums ) | end        body = header payload sums, escapes undone
//!            |              |                        |
//!          Decoder (bytes + stamps -> Event)      Framing::seal + Framing::wrap (body -> bytes)
//! ```
//!
//! - [`sum`]: checksums by name. - [`Framing`]: the description. - [`Decoder`]: the streaming side.
//! - [`cobs`]: consistent overhead byte stuffing. - [`Problem`]: what can be wrong with a frame, with offsets.
//!
//! What holds everywhere: any bytes in any pieces give the same events; a frame that is wrong is an event with what was
//! there and what was expected, never data; after garbage the next sound frame is found; memory is bounded by the limit.

mod candidates;
pub mod cobs;
mod decoder;
mod escape;
mod marked;
mod problem;
mod shape;
pub mod sum;

pub use decoder::{Decoder, Event, Frame};
pub use escape::Escape;
pub use problem::Problem;
pub use shape::{Constant, Cut, Framing, LengthField, Notation, Position, SumField, Wrap};
