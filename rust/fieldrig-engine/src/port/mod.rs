//! Ports: where bytes enter and leave.
//!
//! Rules of this folder:
//! - [`PortSpec`] says which port; [`Port`] is one that is open. A new kind of port is one new file and one arm here.
//! - Ports never block and never wait; drivers do. They read no clock but to map the stamps of the kernel.
//! - What ends a port is a value ([`Read::Finished`], [`Read::Reset`], [`Read::HungUp`]), never an error that is lost,
//!   and bytes that came before the end are read before it.

pub mod calibration;
mod driver;
mod ledger;
pub(crate) mod lock;
mod marks;
pub(crate) mod memory;
pub(crate) mod mismatch;
pub(crate) mod open;
mod pipe;
pub(crate) mod pty;
mod refusal;
mod segments;
pub(crate) mod serial;
pub(crate) mod stream;
pub(crate) mod switchboard;
mod termios;
pub(crate) mod udp;
mod url;
pub(crate) mod usb;
pub(crate) mod wire;

pub use crate::layer::rfc2217::{Drive, ModemLines};
pub use driver::{LineCounts, Rs485};
pub(crate) use ledger::LineLedger;
pub use ledger::LineReport;
pub use lock::{Holder, WireLock};
pub use memory::{MemoryEnd, memory_pair};
pub use mismatch::Mismatch;
pub use serial::SerialOptions;
pub use url::UrlError;
pub use usb::{SerialPort, UsbPort, ports, ports_in};
pub use wire::WireOptions;

use crate::clock::Clock;
use crate::drive::sys::Kick;
use crate::error::EngineError;
use crate::layer::tls::{Refusal, TlsSettings};
use fieldrig_proto::certificate::Certificate;
use fieldrig_proto::endpoint::Why;
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Stamp, Time};
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Which port.
#[derive(Clone, Debug)]
pub enum PortSpec {
    /// Listen on TCP: `127.0.0.1:0` (port 0 takes a free one).
    TcpListen(String),
    /// Connect over TCP to `host:port`.
    TcpConnect(String),
    /// Connect over TCP from a chosen address of this machine: what devices with an access list look at.
    TcpConnectFrom {
        /// `host:port`.
        address: String,
        /// The local address.
        source: IpAddr,
    },
    /// Wait for datagrams over UDP at `host:port`.
    UdpListen(String),
    /// Send datagrams over UDP to `host:port`, and hear those from there.
    UdpConnect(String),
    /// The serial line of a serial server at `host:port` (RFC 2217).
    Rfc2217Connect {
        /// `host:port`.
        address: String,
        /// Speed and format.
        settings: LineSettings,
        /// What is done to its modem lines on opening.
        drive: Drive,
        /// So long may the server have held a byte back, if that was said.
        holds: Option<std::time::Duration>,
        /// For who listens there ([`PortSpec::listening`]).
        mismatch: Mismatch,
        /// For who listens there.
        modem: ModemLines,
    },
    /// Be a serial server at `host:port` (RFC 2217), behind which an emulated device answers.
    Rfc2217Listen {
        /// `host:port`.
        address: String,
        /// Speed and format of the device behind it, and until a client sets others.
        settings: LineSettings,
        /// What happens if a client sets others.
        mismatch: Mismatch,
        /// How its modem lines stand.
        modem: ModemLines,
    },
    /// A serial line.
    Serial {
        /// Device node, or a stable USB name (`usb:0403:6001:FT4XK2`), which is looked up when the port is opened.
        path: PathBuf,
        /// Speed and format.
        settings: LineSettings,
        /// What is done to it when it is opened.
        options: SerialOptions,
    },
    /// A pseudo terminal that others open as a serial line.
    Pty {
        /// A symbolic link to the device node, for a stable name.
        symlink: Option<PathBuf>,
        /// The settings it stands for; a pty has no speed.
        settings: LineSettings,
        /// What happens if others open it with another speed.
        mismatch: Mismatch,
    },
    /// Listen on a unix socket.
    UnixListen(PathBuf),
    /// Connect to a unix socket.
    UnixConnect(PathBuf),
    /// One end of a wire in memory.
    Memory(MemoryEnd),
    /// A tap on a multi-drop wire of the rig.
    Tap {
        /// The name of the wire.
        name: String,
        /// How this tap is set, if not as the wire is: it sends and hears at its own speed.
        line: Option<LineSettings>,
        /// It hears itself; `None`: as the wire says.
        echo: Option<bool>,
    },
    /// Listen in the memory of the rig, under a name.
    MemoryListen(String),
    /// Connect to who listens in the memory of the rig, under a name.
    MemoryConnect(String),
    /// TLS on a connection, or on each that comes to a listener.
    Tls {
        /// What it stands on.
        port: Box<PortSpec>,
        /// Its settings.
        settings: Box<TlsSettings>,
    },
    /// Nothing is opened: connections that the endpoint itself begins under this name are of this kind.
    OnDemand,
}

impl PortSpec {
    /// Reads a port URL: `tcp://host:port` (`?source=IP` chooses the local address), `tcp-listen://host:port`, `socket://host:port`, `serial:///dev/ttyUSB0?line=9600+8E1&dtr=off`, `serial://usb:0403:6001:FT4XK2`,
    /// `pty://?line=9600+8E1&link=PATH`, `unix:///PATH`, `unix-listen:///PATH`, `wire://NAME`, `memory-listen://NAME`,
    /// `memory://NAME`.
    ///
    /// # Errors
    /// What is wrong with the text and what it should look like.
    pub fn parse(url: &str) -> Result<PortSpec, UrlError> {
        url::parse(url)
    }

    /// A tap on a wire of the rig, set as the wire is.
    #[must_use]
    pub fn tap(name: &str) -> PortSpec {
        PortSpec::Tap { name: name.to_owned(), line: None, echo: None }
    }

    /// Whether bytes take the time on it that its speed says, as far as its name tells: a wire in memory, a UART.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        match self {
            PortSpec::Tap { .. } => true,
            PortSpec::Serial { path, .. } => serial::is_paced(path),
            _ => false,
        }
    }

    /// The port at which somebody listens for who connects to this one; others stay what they are.
    #[must_use]
    pub fn listening(self) -> PortSpec {
        match self {
            PortSpec::TcpConnect(address) => PortSpec::TcpListen(address),
            PortSpec::UdpConnect(address) => PortSpec::UdpListen(address),
            PortSpec::Rfc2217Connect { address, settings, mismatch, modem, .. } => {
                PortSpec::Rfc2217Listen { address, settings, mismatch, modem }
            }
            PortSpec::UnixConnect(path) => PortSpec::UnixListen(path),
            PortSpec::MemoryConnect(name) => PortSpec::MemoryListen(name),
            PortSpec::Tls { port, settings } => PortSpec::Tls { port: Box::new(port.listening()), settings },
            other => other,
        }
    }

    /// Whether the port is a wire (without beginning and end) rather than a connection.
    #[must_use]
    pub fn is_wire(&self) -> bool {
        use PortSpec::{Memory, Pty, Rfc2217Connect, Rfc2217Listen, Serial, Tap};
        matches!(
            self,
            Serial { .. } | Pty { .. } | Memory(_) | Tap { .. } | Rfc2217Connect { .. } | Rfc2217Listen { .. }
        )
    }

    /// Whether its line thread polls it, since the kernel stamps nothing on it.
    pub(crate) fn is_timed(&self) -> bool {
        matches!(self, PortSpec::Serial { .. } | PortSpec::Pty { .. })
    }

    /// Whether it is in memory, so that it works on virtual time, too.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        use PortSpec::{Memory, MemoryConnect, MemoryListen, OnDemand, Tap};
        match self {
            PortSpec::Tls { port, .. } => port.is_in_memory(),
            other => matches!(other, Memory(_) | Tap { .. } | MemoryListen(_) | MemoryConnect(_) | OnDemand),
        }
    }

    /// The settings of the line, if it is one. For a tap only its rig knows them: [`crate::Rig::line_of`].
    #[must_use]
    pub fn line(&self) -> Option<LineSettings> {
        match self {
            PortSpec::Serial { settings, .. } | PortSpec::Pty { settings, .. } => Some(*settings),
            PortSpec::Rfc2217Connect { settings, .. } | PortSpec::Rfc2217Listen { settings, .. } => Some(*settings),
            PortSpec::Memory(end) => end.settings(),
            _ => None,
        }
    }
}

impl std::fmt::Display for PortSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortSpec::TcpListen(address) => write!(f, "tcp-listen://{address}"),
            PortSpec::TcpConnect(address) => write!(f, "tcp://{address}"),
            PortSpec::TcpConnectFrom { address, source } => write!(f, "tcp://{address}?source={source}"),
            PortSpec::UdpListen(address) => write!(f, "udp-listen://{address}"),
            PortSpec::UdpConnect(address) => write!(f, "udp://{address}"),
            PortSpec::Rfc2217Connect { address, .. } => write!(f, "rfc2217://{address}"),
            PortSpec::Rfc2217Listen { address, .. } => write!(f, "rfc2217-listen://{address}"),
            PortSpec::Serial { path, .. } => write!(f, "serial://{}", path.display()),
            PortSpec::Pty { symlink: Some(link), .. } => write!(f, "pty://?link={}", link.display()),
            PortSpec::Pty { symlink: None, .. } => write!(f, "pty://"),
            PortSpec::UnixListen(path) => write!(f, "unix-listen://{}", path.display()),
            PortSpec::UnixConnect(path) => write!(f, "unix://{}", path.display()),
            PortSpec::Memory(_) => write!(f, "memory://"),
            PortSpec::Tap { name, .. } => write!(f, "wire://{name}"),
            PortSpec::MemoryListen(name) => write!(f, "memory-listen://{name}"),
            PortSpec::MemoryConnect(name) => write!(f, "memory://{name}"),
            PortSpec::Tls { port, .. } => {
                // Files are nobody's business but the user's.
                let port = port.to_string();
                write!(f, "{}", port.replacen("tcp", "tls", 1))
            }
            PortSpec::OnDemand => write!(f, "on demand"),
        }
    }
}

/// When the bytes of one read arrived, as far as the port knows.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Arrival {
    /// Between the last look that found nothing and now.
    Unstamped,
    /// The kernel stamped the last byte.
    Last(Stamp),
    /// All bytes came within this: in one segment, which the kernel stamped, or in one record.
    Together(Stamp),
    /// The port put one stamp for each byte into the list it was given.
    PerByte,
}

/// What one look at a port found.
#[derive(Debug)]
pub(crate) enum Read {
    /// Nothing.
    Nothing,
    /// So many bytes are in the buffer.
    Bytes(usize, Arrival),
    /// Something happened on the line.
    Line(LineEvent, Arrival),
    /// The other side will send nothing more.
    Finished,
    /// The other side broke it off.
    Reset(String),
    /// The port went away.
    HungUp(String),
    /// The handshake of a layer is done: bytes of the endpoint go through from now on.
    Opened(Box<Met>),
    /// A layer refused the connection, or the other side refused it to the layer.
    Refused(Refusal),
}

/// Whom a layer met at the other end, and how the connection is secured; the default is not at all.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// The certificate by which the other side proved who it is.
    pub(crate) certificate: Option<Certificate>,
    /// `TLS 1.3`.
    pub(crate) version: String,
    /// The cipher suite, by its IANA name.
    pub(crate) suite: String,
    /// An earlier session goes on.
    pub(crate) resumed: bool,
}

/// What a port needs for a look.
pub(crate) struct Look<'a> {
    /// The clock of the rig.
    pub(crate) clock: &'a Clock,
    /// The last instant at which the port was seen empty.
    pub(crate) since: Time,
    /// Wait for bytes, if [`Port::can_wait`].
    pub(crate) wait: bool,
    /// Where the bytes go.
    pub(crate) buffer: &'a mut [u8],
    /// Where stamps go, one for each byte, if the port has them.
    pub(crate) stamps: &'a mut Vec<Stamp>,
}

/// An open port. Calling contract: one owner at a time; nothing blocks but a [`Look`] that asks to wait; after [`Read::Reset`] or [`Read::HungUp`] it is only dropped.
pub(crate) trait Port: Send {
    /// The descriptor to wait on; `None` for ports in memory, which kick their owner.
    fn fd(&self) -> Option<RawFd>;
    /// One look.
    fn read(&mut self, look: Look<'_>) -> Read;
    /// Writes what can be written now; never blocks, `WouldBlock` when nothing can.
    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize>;
    /// Writes bytes that came in elsewhere, not before `came`; `None` if they begin here.
    fn forward(&mut self, now: Time, bytes: &[u8], _came: Option<Time>) -> io::Result<usize> {
        self.write(now, bytes)
    }
    /// From now on what is read here is passed on to a real wire: others hear it once [`Port::passed_on`] says so.
    fn pass_on(&mut self) {}
    /// All that was read here was passed on by `now`, and has left by `until`.
    fn passed_on(&mut self, _now: Time, _until: Time) {}
    /// Whether who sends here waits while nobody reads: then a bridge reads no more than it gets rid of. What is not read
    /// from a real line in time is lost.
    fn waits_for_us(&self) -> bool {
        false
    }
    /// When what was written has left, where that is later than the write returned; [`Time::FAR`] while it has not.
    fn left_by(&self) -> Time {
        Time::ZERO
    }
    /// So long may bytes have waited in the machinery before a look could find them.
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    /// Where that is from: measured, assumed, and why a measured one is not used; empty if there is nothing to say.
    fn resolution_note(&self) -> String {
        String::new()
    }
    /// A layer has a handshake to finish before bytes of the endpoint go through; [`Read::Opened`] ends it.
    fn is_opening(&self) -> bool {
        false
    }
    /// It takes no output for now, and its descriptor does not tell when it will; looking at it does.
    fn holds_back(&self) -> bool {
        false
    }
    /// By when the other side has to have answered the port, if it has to; a look says what became of it.
    fn answer_by(&self) -> Option<Time> {
        None
    }
    /// Whether epoll may call it empty though bytes are on their way to it: a terminal hands them on in a thread of the
    /// kernel, for which `poll` and `read` wait, and epoll does not.
    fn hides_input(&self) -> bool {
        false
    }
    /// Bytes wait inside of which the descriptor does not tell.
    fn holds_input(&self) -> bool {
        false
    }
    /// Bytes that were taken, or are a layer's own, wait inside for [`Port::flush`].
    fn holds_output(&self) -> bool {
        false
    }
    /// Writes what waits inside, as far as it can be written now.
    fn flush(&mut self, _now: Time) -> io::Result<()> {
        Ok(())
    }
    /// Says that nothing more will be sent.
    fn finish(&mut self) {}
    /// Makes the drop that follows break the connection off instead of ending it.
    fn reset(&mut self) {}
    /// Does something to the line; `Unsupported` on ports that are none.
    fn command(&mut self, _now: Time, _command: &LineCommand) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// When the next byte on the way arrives, for ports that know the future (wires in memory).
    fn next_arrival(&self) -> Option<Time> {
        None
    }
    /// When it takes bytes again after it took less than it was given, for ports in memory.
    fn next_room(&self) -> Option<Time> {
        None
    }
    /// How long sent bytes stay on the wire after the write returned.
    fn wire_time(&self, _bytes: usize) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    /// Whether a look finds out things of which the descriptor does not tell: modem lines, lost bytes.
    fn watches_line(&self) -> bool {
        false
    }
    /// Whether its readiness must be watched edge-triggered (a pty master shows a hang-up as long as nobody opens it).
    fn edge(&self) -> bool {
        false
    }
    /// Whether a look can wait for bytes, for at most [`stream::STREAM_WAIT`].
    fn can_wait(&self) -> bool {
        false
    }
    /// Whether each read gives one datagram and each write sends one.
    fn is_datagram(&self) -> bool {
        false
    }
    /// Whether a read that did not fill the buffer leaves the port empty.
    fn short_read_drains(&self) -> bool {
        false
    }
    /// From now on the port tells, where it can, whether bytes came together.
    fn count_segments(&mut self) {}
    /// Gives the port what wakes its owner; only ports in memory need it.
    fn attach(&mut self, _kick: Arc<Kick>) {}
    /// For ports in memory: why the other end went away is told by this.
    fn close_with(&mut self, _why: Why) {}
}

/// The error for a port that could not be opened, with the usual remedies.
pub(crate) fn open_error(url: &str, error: &io::Error) -> EngineError {
    let (what, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            ("connection refused", Some("nothing listens there: is the device on, and is this its port?"))
        }
        io::ErrorKind::NotFound if url.starts_with("unix://") => (
            "no such socket",
            Some("does the program that makes it run, and is the path right? An absolute one has three slashes"),
        ),
        io::ErrorKind::NotFound if url.contains("link=") || url.starts_with("unix-listen://") => {
            ("no such folder", Some("the folder must be there already; only what is in it is made"))
        }
        io::ErrorKind::NotFound => ("no such device or file", Some("is it plugged in, and is the name right?")),
        io::ErrorKind::PermissionDenied => ("permission denied", Some(permission_hint(url))),
        io::ErrorKind::AddrInUse => {
            ("the address is in use", Some("another program listens there; port 0 takes a free one"))
        }
        io::ErrorKind::TimedOut => {
            ("no answer to the connection request", Some("is the address right, and the device reachable?"))
        }
        io::ErrorKind::ResourceBusy => ("the port is in use", Some("another program has it open")),
        _ => return EngineError::Port { url: url.to_owned(), what: error.to_string(), hint: None },
    };
    EngineError::Port { url: url.to_owned(), what: what.to_owned(), hint: hint.map(str::to_owned) }
}

/// What to do about a port that this user may not open.
fn permission_hint(url: &str) -> &'static str {
    if url.contains("link=") || url.starts_with("unix-listen://") {
        "who may write in the folder? see `ls -ld` of it"
    } else if url.starts_with("unix://") {
        "who may use the socket and its folder? see `ls -l` of both"
    } else if url.contains("-listen://") {
        "ports below 1024 are for root; port 0 takes a free one"
    } else {
        "who may open it? see `ls -l` of the device"
    }
}
