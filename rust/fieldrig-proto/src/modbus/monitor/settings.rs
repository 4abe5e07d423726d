//! A monitor from the settings of a bench file.

use super::{Config, Monitor};
use crate::modbus::client_face::duration;
use crate::modbus::server::line_rules;
use crate::protocol::{BenchKey, Built, Constructor, Role, setting};

const LINE: BenchKey = BenchKey { name: "line", what: "speed and format, such as \"9600 8E1\"", required: false };
const FRAMING: BenchKey =
    BenchKey { name: "framing", what: "\"tolerant\" (default) or \"exact\": frames by silence alone", required: false };
const ANSWER_WITHIN: BenchKey = BenchKey {
    name: "answer_within",
    what: "how long without a response makes a request unanswered; \"1s\" by default",
    required: false,
};

/// Makes a monitor of an RTU wire.
pub(in crate::modbus) const RTU_LISTENER: Constructor = Constructor {
    role: Role::Listener,
    keys: &[LINE, FRAMING, ANSWER_WITHIN],
    inner: &[],
    build: &|_, settings| {
        let mut config = Config::rtu(line_rules(settings)?);
        if let Some(value) = setting(settings, "answer_within") {
            config.answer_within = duration("answer_within", value)?;
        }
        Ok(Built::Endpoint(Box::new(Monitor::new(config))))
    },
};
