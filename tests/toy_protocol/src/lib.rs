//! `toy`: one octet with the length of what follows, then text. `?voltage` asks for a point, `=230.4` answers, `!why`
//! refuses.
//!
//! - [`frame`]: bytes and messages. - [`Asker`]: the client. - [`ToyFace`]: a device shows its points.
//! - [`TOY`]: the descriptor, which is all that the engine gets.

mod client;
mod face;
pub mod frame;

pub use client::{Answer, Asker};
pub use face::ToyFace;

use fieldrig_proto::protocol::{BenchKey, Built, Constructor, Protocol, Role, SettingError, Settings, setting};

/// The descriptor.
pub static TOY: Protocol = Protocol {
    name: "toy",
    schemes: &["toy"],
    dissect: &frame::dissect,
    message_length: &frame::length,
    unasked: false,
    half_duplex: false,
    capture_tag: "data",
    constructors: &[
        Constructor { role: Role::Client, keys: &[], inner: &[], build: &client },
        Constructor { role: Role::Device, keys: &[GREETING], inner: &[], build: &device },
    ],
};

const GREETING: BenchKey = BenchKey { name: "greeting", what: "what the device says first", required: false };

fn client(_name: &str, _settings: &Settings) -> Result<Built, SettingError> {
    Ok(Built::Endpoint(Box::new(Asker::default())))
}

fn device(name: &str, settings: &Settings) -> Result<Built, SettingError> {
    let greeting = match setting(settings, "greeting") {
        None => String::new(),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| SettingError {
            key: "greeting".to_owned(),
            problem: "the greeting is no text".to_owned(),
            hint: Some("greeting = \"hello\"".to_owned()),
        })?,
    };
    Ok(Built::Face(Box::new(ToyFace::new(name, &greeting))))
}
