//! The behaviour of a device as plain data: what a model file says, and what a [`RuleModel`](super::RuleModel) is
//! compiled from. Texts are kept as written here; the compilation checks them and names the key at fault.
//!
//! The keys of a model file that fill these structs (`[model]`, `[points.*]` and `[face.*]` are read elsewhere):
//! ```toml
//! [boot]
//! time = "300ms"                        # from power-on until the device runs; default: no time
//! face = "console"                      # which console speaks the lines; default: every face that is a wire
//! lines = ["boot rom", { at = "50ms", text = "ram ok" }, "boot ok v1.2"]
//!                                       # line i of n without `at` is spoken at time * i / n: the last when it runs
//! [[rule]]
//! when = "setpoint > 80 and enabled == true becomes true"     # grammar: `condition.rs`
//! publish = { topic = "{base}/alarm", json = { code = "OVERTEMP", value = "{setpoint}" }, qos = 1, retain = false }
//! line = "ALARM {setpoint:.1}"          # or { text = "..", face = "console", after = "10ms" }
//! set = { alarm = true, mirror = "{setpoint}" }
//! add = { alarm_count = 1 }
//! after = "50ms"                        # default for the actions of this table that have no `after` of their own
//!                                       # order of the actions: set, add, line, publish
//! [[command]]                           # a console line
//! match = 'set (?P<value>\S+)'          # regular expression for the whole line, without blanks at its ends
//! reply = "OK {value}"                  # or a list of lines; groups are {name} or {1}
//! error = "ERR {error}"                 # spoken instead if an action of the command is refused
//! set = { setpoint = "{value}" }        # as in a rule: line, set, add, publish, after
//! face = "console"                      # default: any console
//! [[command]]                           # a message: `topic` makes the difference; `match` is for the payload
//! topic = "{base}/set/setpoint"
//! match = '(?P<value>[0-9.]+)'
//! set = { setpoint = "{value}" }
//! [[every]]
//! period = "1s"
//! first = "1s"                          # from the start of running; default: the period
//! when = "enabled == true"              # default: always
//! publish = { topic = "{base}/telemetry", json = { voltage = "{voltage}" } }
//!
//! [commands]
//! unknown = "unknown command: {line}"   # spoken for a console line that no command matches; default: nothing
//! ```
//! Every action table takes `face` and `after`. Templates: `template.rs`. In `json` and `set`, a text that is one
//! placeholder and nothing else stands for the value itself, not for its text.

use crate::record::Value;
use crate::time::Duration;

/// The whole behaviour.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RuleSet {
    /// `[boot]`.
    pub boot: BootPlan,
    /// `[[rule]]`.
    pub rules: Vec<Rule>,
    /// `[[command]]`.
    pub commands: Vec<Command>,
    /// `[[every]]`.
    pub periodic: Vec<Periodic>,
    /// `[commands] unknown`: template, with the placeholder `{line}`.
    pub unknown_command: Option<String>,
    /// Fixed texts that templates may use beside points, such as `base`.
    pub variables: Vec<(String, String)>,
}

/// How the device boots.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BootPlan {
    /// From power-on until it runs.
    pub time: Duration,
    /// The face that speaks the lines; `None`: every face with a wire.
    pub face: Option<String>,
    /// What it says.
    pub lines: Vec<BootLine>,
}

/// One line of a boot.
#[derive(Clone, PartialEq, Debug)]
pub struct BootLine {
    /// After power-on; `None`: line i of n at `time * i / n`.
    pub at: Option<Duration>,
    /// Template.
    pub text: String,
}

/// What happens when something becomes true.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// The condition, in the grammar of `condition.rs`.
    pub when: String,
    /// In order.
    pub actions: Vec<PlannedAction>,
}

/// What a console line or a message does.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Command {
    /// Only through this face; `None`: any.
    pub face: Option<String>,
    /// `Some`: messages on this topic (a template), else console lines.
    pub topic: Option<String>,
    /// Regular expression for the whole line or payload.
    pub pattern: String,
    /// Templates of the lines spoken on the same console.
    pub reply: Vec<String>,
    /// Template of the line spoken instead if an action is refused, with the placeholder `{error}`.
    pub error: Option<String>,
    /// The reply comes so much later.
    pub after: Duration,
    /// In order, before the reply.
    pub actions: Vec<PlannedAction>,
}

/// What happens again and again while the device runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Periodic {
    /// From one time to the next.
    pub period: Duration,
    /// From the start of running to the first time; `None`: one period.
    pub first: Option<Duration>,
    /// Only while this holds.
    pub when: Option<String>,
    /// In order.
    pub actions: Vec<PlannedAction>,
}

/// An action with its delay.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannedAction {
    /// So long after its cause; values are those of the instant at which it is done.
    pub after: Duration,
    /// What is done.
    pub what: What,
}

/// What an action does.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// Publishes a message.
    Publish {
        /// Through this face; `None`: through all that can.
        face: Option<String>,
        /// Template.
        topic: String,
        /// Payload.
        payload: Payload,
        /// Quality of service, 0 to 2.
        qos: u8,
        /// Retained.
        retain: bool,
    },
    /// Speaks a line.
    Line {
        /// On this console; `None`: on all.
        face: Option<String>,
        /// Template.
        text: String,
    },
    /// Sets a point.
    Set {
        /// Point.
        point: String,
        /// Value; a text is a template, one lone placeholder is the value it stands for.
        to: Value,
    },
    /// Adds to a number; beyond the end of the point's range it starts again at the other end.
    Add {
        /// Point.
        point: String,
        /// How much.
        by: f64,
    },
}

/// The payload of a message.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    /// A template.
    Text(String),
    /// JSON; texts in it are templates, one lone placeholder is the value it stands for.
    Json(Value),
}

/// Why a plan cannot be compiled.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct PlanError {
    /// The key at fault, as in the model file, counting from 0: `rule[1].when`, `boot.lines[0]`, `every[0].publish.topic`.
    pub key: String,
    /// Where in the text of the key (bytes), if at one place.
    pub offset: Option<usize>,
    /// What is wrong, with what was there and what was expected.
    pub problem: String,
    /// A known remedy.
    pub hint: Option<String>,
}
