//! Every key that bench and model files may have: what it holds and what it means.
//!
//! Rules of this file:
//! - The reader checks each table against its [`Shape`] ([`super::section::Section::finish`]), and the JSON Schema is
//!   written from the same shapes (`schema.rs`): neither can know a key that the other does not.
//! - The order of the keys is that of hints and documentation.
//! - Keys that a protocol adds (settings of its broker, of its faces) come from its descriptor.

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Truth,
    Integer(i64, i64),
    /// Text with a unit: `500ms`.
    Duration,
    /// Text: `9600 8E1`.
    Line,
    /// One of these words.
    Word(&'static [&'static str]),
    Texts,
    /// A list of these words.
    Words(&'static [&'static str]),
    /// `[low, high]`.
    Range,
    Any,
    /// A list of tables or texts.
    List(&'static Kind),
    Table(&'static Shape),
    /// A table whose keys are names.
    Named(&'static Kind),
    /// One of these.
    Either(&'static [Kind]),
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// One line for the schema.
    pub(crate) what: &'static str,
    pub(crate) required: bool,
}

/// Keys that come from the descriptors of protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extra {
    None,
    /// Settings of an embedded broker.
    Broker,
    /// Settings of a face.
    Face,
    /// How fieldrig asks.
    Tester,
}

/// A kind of table.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) what: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) extra: Extra,
}

impl Shape {
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl Kind {
    /// How the reader asks for it.
    pub(super) fn asked(&self) -> Asked {
        match self {
            Kind::Text => Asked::Text,
            Kind::Truth => Asked::Truth,
            Kind::Integer(..) => Asked::Integer,
            Kind::Duration => Asked::Duration,
            Kind::Line => Asked::Line,
            Kind::Word(_) => Asked::Word,
            Kind::Texts => Asked::Texts,
            Kind::Words(_) => Asked::Words,
            Kind::Table(_) | Kind::Named(_) => Asked::Table,
            Kind::Either(kinds) if kinds.iter().all(|kind| kind.asked() == Asked::Table) => Asked::Table,
            Kind::Range | Kind::Any | Kind::List(_) | Kind::Either(_) => Asked::Node,
        }
    }
}

/// With which method of a section a key was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Text,
    Truth,
    Integer,
    Duration,
    Line,
    Word,
    Texts,
    Words,
    Table,
    Node,
}

pub(super) const fn key(name: &'static str, kind: Kind, what: &'static str) -> Key {
    Key { name, kind, what, required: false }
}

pub(super) const fn required(name: &'static str, kind: Kind, what: &'static str) -> Key {
    Key { name, kind, what, required: true }
}

pub(super) const fn shape(what: &'static str, keys: &'static [Key]) -> Shape {
    Shape { what, keys, extra: Extra::None }
}

use super::switching;
use crate::link::Disturbance;
use Kind::{Any, Either, Integer, Named, Table, Text, Texts, Word};

/// What fieldrig can be on a link.
pub(crate) const LINK_ROLES: [&str; 4] = ["client", "devices", "listen", "proxy"];
/// What a device can be on a link.
pub(crate) const USE_ROLES: [&str; 2] = ["client", "devices"];
pub(crate) const OWNERS: [&str; 2] = ["dut", "bench"];
pub(crate) const SWITCHES: [&str; 3] = ["on", "off", "keep"];
pub(crate) const DIRECTIONS: [&str; 2] = ["requests", "responses"];
pub(crate) const LEVELS: [&str; 2] = ["high", "low"];
pub(crate) const PROFILES: [&str; 2] = ["emulated", "real"];
pub(crate) const CLOCKS: [&str; 2] = ["real", "virtual"];
pub(crate) const ONCE: [&str; 2] = ["session", "test"];
pub(crate) const ALLOWED: [&str; 3] = ["write", "restart", "silence"];
pub(crate) const RESETS: [&str; 1] = ["points"];
pub(crate) const RECOVERIES: [&str; 1] = ["cycle"];
pub(crate) const POINT_KINDS: [&str; 4] = ["bool", "int", "float", "text"];
pub(crate) const ACCESS: [&str; 2] = ["read", "read-write"];

/// The bench file.
pub(crate) static BENCH_FILE: Shape = shape(
    "A bench of fieldrig: the devices under test, the devices they need, and the links between them",
    &[
        required("bench", Table(&BENCH), "the bench as a whole"),
        key("link", Named(&Table(&LINK)), "wires and network paths, by name"),
        key("dut", Named(&Table(&DUT)), "devices that are judged, by name"),
        key("peer", Named(&Table(&PEER)), "devices that are needed, but not judged, by name"),
    ],
);

pub(crate) static BENCH: Shape = shape(
    "the bench as a whole",
    &[
        required("name", Text, "stands in reports"),
        key("profile", Word(&PROFILES), "how DUTs are provided unless --profile says otherwise"),
        key(
            "clock",
            Word(&CLOCKS),
            "`virtual`: nothing waits, every figure is exact; for benches without real devices",
        ),
        key("lock_wait", Kind::Duration, "how long to wait for a real port that another run holds"),
        key("waivers", Text, "file of waivers, beside the bench file"),
        key("requirements", Text, "file of your own requirements (CSV or TOML), beside the bench file"),
        key("secrets", Texts, "names of environment variables whose values are masked in every artefact"),
    ],
);

pub(crate) static LINK: Shape = shape(
    "a wire or a network path",
    &[
        required(
            "protocol",
            Text,
            "what is spoken on it: modbus-tcp, modbus-tls, modbus-udp, modbus-rtu, modbus-ascii, mqtt5, mqtt311, console",
        ),
        key("role", Word(&LINK_ROLES), "what fieldrig is on it"),
        key("line", Kind::Line, "speed and format, such as \"9600 8E1\"; makes the link a wire"),
        key("base", Text, "what stands for {base}, usually a topic prefix that matches no other bench"),
        key("tls", Table(&TLS), "modbus-tls: the certificate that fieldrig, or a peer, shows when it connects"),
        key("client", Table(&TESTER), "modbus, console: how fieldrig asks on it"),
        key("emulated", Either(&[Table(&EMULATED_PORT), Table(&BROKER)]), "how it is provided without real devices"),
        key("real", Either(&[Table(&REAL_PORT), Table(&BROKER)]), "how it is provided with a real device on it"),
    ],
);

pub(crate) static TESTER: Shape = Shape { what: "how fieldrig asks", keys: &[], extra: Extra::Tester };

pub(crate) static EMULATED_PORT: Shape = shape(
    "a link without real devices",
    &[
        key("listen", Text, "where the emulated device, or the proxy, listens"),
        key("tls", Table(&TLS), "modbus-tls: the certificate that the emulated device shows"),
        key(
            "echo",
            Kind::Truth,
            "a wire: who asks hears itself, as an RS-485 adapter does whose receiver is always on",
        ),
        key("driver_on", Kind::Duration, "a wire: a driver is on so long before the first bit"),
        key(
            "driver_off",
            Kind::Duration,
            "a wire: a driver stays on so long after the last bit; who sends then is garbled",
        ),
        key("seed", Integer(0, i64::MAX), "a wire: what its faults are drawn from"),
        key("faults", Kind::List(&Table(&FAULT)), "a wire: what disturbs it from the start, and in every test"),
    ],
);

pub(crate) static FAULT: Shape = shape(
    "a disturbance of a wire",
    &[
        required("fault", Word(&Disturbance::NAMES), "what happens to a byte"),
        key("p", Any, "the probability for each byte, or bit for `bits`, 0 to 1; every one if not given"),
        key("count", Integer(1, i64::MAX), "only so many times"),
        key("after", Integer(0, i64::MAX), "only behind so many bytes"),
        key(
            "direction",
            Word(&DIRECTIONS),
            "only towards the devices that answer, or only from them; both if not given",
        ),
        key("delay", Kind::Duration, "for `delay` and `jitter`: how long"),
    ],
);

pub(crate) static TLS: Shape = shape(
    "TLS of one side of a link; files stand beside the bench file",
    &[
        key("ca", Text, "PEM file: whose signature is believed"),
        key("cert", Text, "PEM file: the certificate that is shown, with what stands between it and the CA"),
        key("key", Text, "PEM file: its private key"),
        key("crl", Text, "PEM file: certificates that are revoked"),
        key(
            "name",
            Text,
            "who connects: the name the other certificate must be for, \"*\" for any; the host if not given",
        ),
        key("min", Text, "the oldest version: \"1.2\" or \"1.3\""),
        key("max", Text, "the newest version"),
        key("suites", Text, "cipher suites by IANA name, in order of preference, separated by commas"),
        key("expired", Text, "\"allow\": show the certificate although it is not valid now"),
        key("resume", Text, "\"off\": sessions are not resumed"),
        key("capture", Text, "\"cipher\": the capture holds the cipher text, too, and the keys to read it"),
    ],
);

pub(crate) static REAL_PORT: Shape = shape(
    "a real port",
    &[
        key(
            "port",
            Text,
            "\"/dev/ttyUSB0\", \"usb:VID:PID[:SERIAL]\", \"usb:1-4.2\", \"tcp://HOST:PORT\" or \"unix:///PATH\"",
        ),
        key("belongs_to", Word(&OWNERS), "who is to blame when the port goes away"),
        DTR,
        RTS,
        LOW_LATENCY,
        RS485_KEY,
        key("other", Text, "role proxy: the port on the side of the client"),
        key("listen", Text, "where peers or the proxy listen for a real client, \"127.0.0.1:0\" by default"),
    ],
);

const DTR: Key = key("dtr", Word(&SWITCHES), "serial port: data-terminal-ready when it is opened; `keep` by default");
const RTS: Key = key("rts", Word(&SWITCHES), "serial port: request-to-send when it is opened; `keep` by default");
const LOW_LATENCY: Key =
    key("low_latency", Word(&SWITCHES), "serial port: its driver hands bytes over at once; set back at the end");
const RS485_KEY: Key = key("rs485", Table(&RS485), "serial port: its driver switches an RS-485 transceiver");

pub(crate) static RS485: Shape = shape(
    "how an RS-485 transceiver is switched",
    &[
        key("rts", Word(&LEVELS), "request-to-send while sending, `high` by default"),
        key("before", Kind::Duration, "from switching to the first bit; whole milliseconds"),
        key("after", Kind::Duration, "from the last bit to switching back; whole milliseconds"),
        key("echo", Kind::Truth, "what is sent is received, too"),
    ],
);

pub(crate) static BROKER: Shape = Shape {
    what: "a meeting point",
    keys: &[
        key("broker", Text, "\"embedded\" or the URL of a broker"),
        key("listen", Text, "where the embedded broker listens for devices, \"127.0.0.1:0\" by default"),
        key("username", Text, "for brokers that ask for it"),
        key("password", Text, "for brokers that ask for it; write \"${NAME}\" and set the environment variable"),
        key(
            "ca",
            Text,
            "file of certificates that are trusted, for mqtts:// (checked by `fieldrig check`; no run can use it yet)",
        ),
    ],
    extra: Extra::Broker,
};

pub(super) const UNIT: Key = key("unit", Integer(0, 255), "unit id");
const TAGS: Key = key("tags", Texts, "words for @pytest.mark.each_dut(tag=..) and needs(\"tag:..\")");
const SETTINGS: Key = key("settings", Named(&Any), "keyword arguments of a model in Python");
const RESET: Key = key("reset", Kind::Words(&RESETS), "what goes back to its initial state when a test begins");
const USED: Kind = Either(const { &[Word(&USE_ROLES), Table(&USE)] });
const LINKS: Key = key("links", Named(&USED), "links by name: a role, or a table");

pub(crate) static DUT: Shape = shape(
    "a device that is judged",
    &[
        key("model", Text, "model file beside the bench file: \"meter.toml\" or \"gateway.py:Gateway\""),
        UNIT,
        LINKS,
        TAGS,
        SETTINGS,
        RESET,
        key("writable", Texts, "what tests may write on the real device: points, or \"holding:100-120\""),
        key("allow", Kind::Words(&ALLOWED), "what else suites may do to the real device"),
        key("power", Either(&switching::POWER), "how it is switched"),
        key("restart", Either(&switching::RESTART), "how it is reset without switching its power"),
        key("run", Table(&RUN), "a program that is the device: it is started for a run, and ended with it"),
        key("identity", Named(&Table(&IDENTITY)), "what tells one device, or one firmware, from another, by name"),
        key("prepare", Table(&PREPARE), "what is done once before the tests"),
        key("recover", Table(&RECOVER), "what is done once after a link was lost"),
    ],
);

pub(crate) static PEER: Shape = shape(
    "a device that is needed, but not judged; it is always emulated",
    &[
        required("model", Text, "model file beside the bench file: \"meter.toml\" or \"sensor.py:Sensor\""),
        UNIT,
        LINKS,
        key("face", Text, "with `link`: the face of the model that is on it"),
        key("link", Text, "the one link it is on"),
        TAGS,
        SETTINGS,
        RESET,
    ],
);

pub(crate) static USE: Shape = shape(
    "how a device uses a link",
    &[
        key("role", Word(&USE_ROLES), "what the device is on it"),
        UNIT,
        key("face", Text, "which face of the model is on it; by default the one named like the link"),
        key("protocol", Text, "for a link of its own that is not named like its protocol"),
        key("line", Kind::Line, "speed and format, such as \"115200 8N1\""),
        key("port", Text, "the real port of this device"),
        key("belongs_to", Word(&OWNERS), "who is to blame when the port goes away"),
        DTR,
        RTS,
        LOW_LATENCY,
        RS485_KEY,
        key("client", Table(&TESTER), "for a link of its own: how fieldrig asks on it"),
    ],
);

pub(crate) static IDENTITY: Shape = shape(
    "one of these ways to ask the device who it is",
    &[
        key("console", Text, "a line to send on its console"),
        key("modbus", Text, "a point to read"),
        key("mqtt", Text, "a topic with a retained message"),
        key("command", Text, "a shell command that prints it"),
        key("match", Text, "a regular expression (Python's); its first group is the identity"),
        key("link", Text, "which of its links, if several fit"),
        key("timeout", Kind::Duration, "how long it may take"),
    ],
);

pub(crate) static PREPARE: Shape = shape(
    "what is done before the tests",
    &[
        required("command", Text, "a shell command; {artifact} stands for the artifact"),
        key("artifact", Text, "what is put on the device, a path beside the bench file"),
        key("verify", Text, "the identity that is read afterwards"),
        key("once", Word(&ONCE), "once a session, or before each test"),
        key("timeout", Kind::Duration, "how long it may take"),
    ],
);

pub(crate) static RECOVER: Shape = shape(
    "what is done once after a link was lost: a command or a power cycle",
    &[
        key("command", Text, "a shell command"),
        key("power", Word(&RECOVERIES), "`cycle`: power off and on"),
        key("timeout", Kind::Duration, "how long it may take"),
    ],
);

pub(crate) static RUN: Shape = shape(
    "a program that is the device",
    &[
        required("command", Text, "the program with its arguments; it stays until it is ended"),
        key("timeout", Kind::Duration, "how long it may take until its unix sockets are there, 10s by default"),
        key("stall", Kind::Duration, "a wait for a CPU that may change what it does, 2ms by default"),
    ],
);

/// The model file.
pub(crate) static MODEL_FILE: Shape = shape(
    "A model of fieldrig: the points and the behaviour of an emulated device",
    &[
        required("model", Table(&MODEL), "the model as a whole"),
        key("points", Named(&Table(&POINT)), "named values, by name"),
        key("boot", Table(&BOOT), "from power-on until the device runs"),
        key("rule", Kind::List(&Table(&RULE)), "what happens when something becomes true"),
        key("command", Kind::List(&Table(&COMMAND)), "answers to lines and messages"),
        key("every", Kind::List(&Table(&EVERY)), "what happens again and again"),
        key("commands", Table(&COMMANDS), "what is true for all commands"),
        key("face", Named(&Table(&FACE)), "protocol sides through which the points are seen, by link name"),
    ],
);

/// What a model in Python says about itself; its behaviour is code.
pub(crate) static CODE_MODEL: Shape = shape(
    "a model in Python",
    &[
        required("model", Table(&MODEL), "the model as a whole"),
        key("points", Named(&Table(&POINT)), "named values, by name"),
        key("face", Named(&Table(&FACE)), "protocol sides through which the points are seen, by link name"),
    ],
);

pub(crate) static MODEL: Shape = shape("the model as a whole", &[required("name", Text, "the name of the model")]);

pub(crate) static POINT: Shape = shape(
    "a named, typed value",
    &[
        required("kind", Word(&POINT_KINDS), "its type"),
        key("unit", Text, "for people and reports"),
        key("range", Kind::Range, "lowest and highest value"),
        key("access", Word(&ACCESS), "what a face may do"),
        key("initial", Any, "after power-on; by default zero, or the nearest value in the range"),
    ],
);

pub(crate) static FACE: Shape = Shape { what: "a protocol side of the device", keys: &[], extra: Extra::Face };

pub(crate) static BOOT: Shape = shape(
    "from power-on until the device runs",
    &[
        key("time", Kind::Duration, "how long it takes"),
        key("face", Text, "on which face the lines come"),
        key("lines", Either(&[BOOT_LINE_KIND, Kind::List(&BOOT_LINE_KIND)]), "lines on the console meanwhile"),
    ],
);

const BOOT_LINE_KIND: Kind = Either(&[Text, Table(&BOOT_LINE)]);

pub(crate) static BOOT_LINE: Shape = shape(
    "a line while booting",
    &[key("at", Kind::Duration, "when, from power-on"), required("text", Text, "the line")],
);

pub(crate) static COMMANDS: Shape =
    shape("what is true for all commands", &[key("unknown", Text, "the answer to a line that no command matches")]);

const SET: Key = key("set", Named(&Any), "points and their new values");
const ADD: Key = key("add", Named(&Any), "points and by how much they change");
const LINE: Key = key("line", Either(const { &[Text, Table(&SAID)] }), "a line on a console");
const PUBLISH: Key = key("publish", Table(&PUBLISHED), "a message");
const AFTER: Key = key("after", Kind::Duration, "how much later");

pub(crate) static RULE: Shape = shape(
    "when something becomes true",
    &[required("when", Text, "a condition such as \"setpoint > 80\""), AFTER, SET, ADD, LINE, PUBLISH],
);

pub(crate) static COMMAND: Shape = shape(
    "a line on a console, or with `topic` a message",
    &[
        key("topic", Text, "a message on this topic, instead of a line"),
        key("match", Text, "a regular expression for the whole line or payload"),
        key("reply", Either(&[Text, Texts]), "what is answered"),
        key("error", Text, "the answer if a point refuses the value"),
        key("face", Text, "only on this face"),
        AFTER,
        SET,
        ADD,
        LINE,
        PUBLISH,
    ],
);

pub(crate) static EVERY: Shape = shape(
    "again and again",
    &[
        required("period", Kind::Duration, "how often"),
        key("first", Kind::Duration, "when for the first time; by default one period after the start"),
        key("when", Text, "only while this is true"),
        AFTER,
        SET,
        ADD,
        LINE,
        PUBLISH,
    ],
);

pub(crate) static SAID: Shape =
    shape("a line on a console", &[AFTER, key("face", Text, "only on this face"), required("text", Text, "the line")]);

pub(crate) static PUBLISHED: Shape = shape(
    "a message",
    &[
        AFTER,
        key("face", Text, "only on this face"),
        required("topic", Text, "where to"),
        key("payload", Text, "the payload as text"),
        key("json", Any, "the payload as JSON"),
        key("qos", Integer(0, 2), "quality of service"),
        key("retain", Kind::Truth, "the broker keeps it"),
    ],
);
