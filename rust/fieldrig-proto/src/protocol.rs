//! The descriptor by which a protocol is known to the engine, which knows none by name.

use crate::device::Face;
use crate::dissect::Dissector;
use crate::endpoint::AnyEndpoint;
use crate::record::Value;

/// A key a link or a face of this protocol may have in a bench or model file.
#[derive(Clone, Copy, Debug)]
pub struct BenchKey {
    /// The key.
    pub name: &'static str,
    /// What it means, one line, for the error hint and the schema.
    pub what: &'static str,
    /// It must be given.
    pub required: bool,
}

/// The keys of tables inside a setting, for the schema; the constructor itself checks them.
#[derive(Clone, Copy, Debug)]
pub struct InnerKeys {
    /// The setting, dots between levels: `rule`, `rule.when`.
    pub under: &'static str,
    /// How the tables stand there.
    pub form: TableForm,
    /// Their keys.
    pub keys: &'static [BenchKey],
}

/// How tables stand in a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableForm {
    /// A list of tables.
    List,
    /// One table.
    One,
    /// One table, or a plain value.
    OrValue,
}

/// Settings of a constructor, from a bench or model file, already checked against the [`BenchKey`]s.
pub type Settings = [(String, Value)];

/// Why a constructor refused its settings; the engine adds file, line and column of the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct SettingError {
    /// The key at fault, dots between levels (`map.voltage.address`).
    pub key: String,
    /// What is wrong, with the value.
    pub problem: String,
    /// A known remedy.
    pub hint: Option<String>,
}

/// What a constructor makes.
pub enum Built {
    /// An endpoint of its own.
    Endpoint(Box<dyn AnyEndpoint>),
    /// The face of a device.
    Face(Box<dyn Face>),
}

/// What a constructor is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// The device asks: makes a [`Built::Face`].
    Client,
    /// fieldrig is a device that is asked, or reports: makes a [`Built::Face`].
    Device,
    /// fieldrig is the broker.
    Broker,
    /// fieldrig asks: makes a [`Built::Endpoint`], by which settings are checked when a file is read.
    Tester,
    /// fieldrig only listens: makes a [`Built::Endpoint`] that never sends.
    Listener,
}

/// Makes what a constructor is for.
pub type Build = &'static (dyn Fn(&str, &Settings) -> Result<Built, SettingError> + Send + Sync);

/// Says how many of the first bytes form one whole message.
pub type MessageLength = &'static (dyn Fn(&[u8], crate::dissect::Sender) -> Option<usize> + Send + Sync);

/// One way to use a protocol.
#[derive(Clone, Copy)]
pub struct Constructor {
    /// For which role.
    pub role: Role,
    /// Keys it understands.
    pub keys: &'static [BenchKey],
    /// Keys of the tables that some of these hold.
    pub inner: &'static [InnerKeys],
    /// Makes it. The first argument is the name it gets: for a face, [`Face::name`].
    pub build: Build,
}

/// A protocol, as the engine sees it.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// Name in bench files: `modbus-rtu`.
    pub name: &'static str,
    /// URL schemes it answers to.
    pub schemes: &'static [&'static str],
    /// Takes messages apart.
    pub dissect: Dissector,
    /// How many of the first bytes form one whole message, for traces: `None` while more bytes are needed.
    pub message_length: MessageLength,
    /// Messages come unasked, several in one segment: the instants of all of them matter, not only of the last. The
    /// driver then finds out, at the price of a system call a read, whether bytes came in one segment.
    pub unasked: bool,
    /// On a line only one side may send at a time (RS-485 with two wires): who sends while another does garbles both.
    pub half_duplex: bool,
    /// Name of the dissector in Wireshark, for exported PDUs: `mbtcp`.
    pub capture_tag: &'static str,
    /// Ways to use it.
    pub constructors: &'static [Constructor],
}

impl std::fmt::Debug for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Protocol").field(&self.name).finish()
    }
}

impl Protocol {
    /// The constructor for a role, if there is one.
    #[must_use]
    pub fn constructor(&self, role: Role) -> Option<&Constructor> {
        self.constructors.iter().find(|constructor| constructor.role == role)
    }
}

/// A setting by name.
#[must_use]
pub fn setting<'a>(settings: &'a Settings, key: &str) -> Option<&'a Value> {
    settings.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
