//! A serial line. The serialport crate opens and configures it; reading and writing are ours, on its descriptor.
//!
//! Rules of this file:
//! - Data-terminal-ready is left as it is unless asked for: driving it resets many boards.
//! - The port is locked for the life of the descriptor. A port that is taken names who has it, as far as can be seen.
//! - What was measured (`calibration.rs`) says for how long a byte may have waited. An adapter on USB that nobody measured
//!   counts as [`USB_ADAPTER`], a UART as long as its buffer takes to fill. A pty hands over at once.
//! - Bytes that arrived before a hang-up are read before it is reported.

use super::calibration::Known;
use super::{Arrival, Look, Port, Read, open_error, termios, usb};
use crate::drive::sys::{check, check_size};
use crate::error::EngineError;
use fieldrig_proto::line::{LineCommand, LineSettings, Parity, StopBits};
use fieldrig_proto::time::{Duration, Time};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

/// What an adapter on USB holds back, until somebody measures it: more than the 16 ms that common ones collect for.
const USB_ADAPTER: Duration = Duration::from_millis(20);
/// How many characters a UART collects before it tells.
const UART_BUFFER: u32 = 16;

/// An open serial line.
#[derive(Debug)]
pub(crate) struct Serial {
    fd: OwnedFd,
    settings: LineSettings,
    machinery: Machinery,
    known: Known,
}

/// What is between the line and us.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Machinery {
    Uart,
    Usb,
    Pty,
}

impl Machinery {
    /// By the name of the device node behind all links.
    fn of(path: &Path) -> Machinery {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match name.as_str() {
            _ if path.starts_with("/dev/pts") => Machinery::Pty,
            name if name.starts_with("ttyS") || name.starts_with("ttyAMA") => Machinery::Uart,
            _ => Machinery::Usb,
        }
    }

    fn resolution(self, settings: &LineSettings) -> Duration {
        match self {
            Machinery::Uart => settings.character_time() * UART_BUFFER,
            Machinery::Usb => USB_ADAPTER,
            Machinery::Pty => Duration::ZERO,
        }
    }
}

/// Whether bytes take the time on the line that its speed says, as far as the name of the device node tells: a UART, also
/// one on USB. Not so a pty, a board that is its own USB port (`ttyACM`), or what has another name.
pub(super) fn is_paced(path: &Path) -> bool {
    let found = usb::device_of(Path::new("/"), &path.to_string_lossy()).and_then(Result::ok);
    let path = found.as_deref().unwrap_or(path);
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ["ttyS", "ttyAMA", "ttyUSB"].iter().any(|uart| name.starts_with(uart))
}

impl Serial {
    pub(crate) fn open(path: &Path, settings: LineSettings, dtr: Option<bool>) -> Result<Serial, EngineError> {
        let known = Known::of(path);
        let found = usb::device_of(Path::new("/"), &path.to_string_lossy()).transpose()?;
        let path = found.as_deref().unwrap_or(path);
        let url = format!("serial://{}", path.display());
        // Looked at first: the crate reports a missing device, a taken one and a wrong kind of file alike.
        let found = std::fs::metadata(path).map_err(|error| open_error(&url, &error))?;
        let builder = serialport::new(path.to_string_lossy(), settings.baud)
            .data_bits(match settings.data_bits {
                5 => serialport::DataBits::Five,
                6 => serialport::DataBits::Six,
                7 => serialport::DataBits::Seven,
                _ => serialport::DataBits::Eight,
            })
            .parity(match settings.parity {
                // Mark and space are unknown to the crate, and set by `termios`.
                Parity::None | Parity::Mark | Parity::Space => serialport::Parity::None,
                Parity::Even => serialport::Parity::Even,
                Parity::Odd => serialport::Parity::Odd,
            })
            .stop_bits(match settings.stop_bits {
                StopBits::One => serialport::StopBits::One,
                StopBits::Two => serialport::StopBits::Two,
            });
        let builder = match dtr {
            Some(on) => builder.dtr_on_open(on),
            None => builder.preserve_dtr_on_open(),
        };
        let opened = serialport::TTYPort::open(&builder);
        let fd = opened.map_err(|error| refused(&url, path, &found, &error))?.into_raw_fd();
        // SAFETY: `into_raw_fd` gave up ownership.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set_nonblocking(fd.as_raw_fd()).map_err(|error| open_error(&url, &error))?;
        // What arrived before we opened it, with whatever settings, is not for us.
        termios::flush_input(fd.as_raw_fd());
        Ok(Serial { fd, settings, machinery: Machinery::of(path), known })
    }
}

impl Port for Serial {
    fn fd(&self) -> Option<RawFd> {
        Some(self.fd.as_raw_fd())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        // SAFETY: reads into a live buffer of the stated length.
        let result =
            check_size(unsafe { libc::read(self.fd.as_raw_fd(), look.buffer.as_mut_ptr().cast(), look.buffer.len()) });
        match result {
            Ok(0) => hung_up(self.fd.as_raw_fd()).map_or(Read::Nothing, Read::HungUp),
            Ok(count) => Read::Bytes(count, Arrival::Unstamped),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Read::Nothing
            }
            Err(error) => Read::HungUp(error.to_string()),
        }
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: writes from a live slice of the stated length.
        check_size(unsafe { libc::write(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    }

    fn command(&mut self, _now: Time, command: &LineCommand) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        match command {
            LineCommand::Settings(settings) => {
                termios::configure(fd, settings)?;
                self.settings = *settings;
                Ok(())
            }
            LineCommand::Rts(on) => modem_line(fd, libc::TIOCM_RTS, *on),
            LineCommand::Dtr(on) => modem_line(fd, libc::TIOCM_DTR, *on),
            // SAFETY: takes no pointers. The driver ends the break when its time is over.
            LineCommand::Break(length) if length.is_zero() => {
                check(unsafe { libc::ioctl(fd, libc::TIOCCBRK) }).map(|_| ())
            }
            // SAFETY: takes no pointers.
            LineCommand::Break(_) => check(unsafe { libc::ioctl(fd, libc::TIOCSBRK) }).map(|_| ()),
        }
    }

    fn resolution(&self) -> Duration {
        self.known.resolution(&self.settings).unwrap_or_else(|| self.machinery.resolution(&self.settings))
    }

    fn resolution_note(&self) -> String {
        self.known.note(&self.settings, self.machinery.resolution(&self.settings))
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        self.settings.character_time() * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

fn modem_line(fd: RawFd, line: libc::c_int, on: bool) -> io::Result<()> {
    let request = if on { libc::TIOCMBIS } else { libc::TIOCMBIC };
    // SAFETY: the kernel reads a live int.
    check(unsafe { libc::ioctl(fd, request, &raw const line) }).map(|_| ())
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(|_| ())
}

/// `read` gives 0 both for a line without bytes (VMIN 0) and for one that is gone; only `poll` tells.
fn hung_up(fd: RawFd) -> Option<String> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd, no waiting.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    (poll.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0).then(|| "the device went away".to_owned())
}

fn refused(url: &str, path: &Path, found: &std::fs::Metadata, error: &serialport::Error) -> EngineError {
    use std::os::unix::fs::FileTypeExt;
    let port = |what: String, hint: Option<String>| EngineError::Port { url: url.to_owned(), what, hint };
    if !found.file_type().is_char_device() {
        return port(
            "this is no serial port".to_owned(),
            Some("give the device node, such as /dev/ttyUSB0".to_owned()),
        );
    }
    let holders = holders(path);
    match error.kind {
        serialport::ErrorKind::NoDevice if !holders.is_empty() => {
            port(format!("the port is in use by {}", holders.join(", ")), Some("close it there first".to_owned()))
        }
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => port(
            "permission denied".to_owned(),
            Some(format!("the device belongs to group {}; become a member of it", group_of(found))),
        ),
        serialport::ErrorKind::Io(kind) => open_error(url, &io::Error::from(kind)),
        _ => port(error.to_string(), None),
    }
}

/// Who has the device open: `name (pid 123)`, as far as this user may see.
pub(super) fn holders(path: &Path) -> Vec<String> {
    let Ok(device) = path.canonicalize() else { return Vec::new() };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == device));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let us = if pid == std::process::id() { ", this process" } else { "" };
            found.push(format!("{} (pid {pid}{us})", name.trim()));
        }
    }
    found
}

/// The name of the group of a file, or its number.
fn group_of(found: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let gid = found.gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, number) = (parts.next()?, parts.nth(1)?);
        (number.parse() == Ok(gid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| gid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uart_keeps_the_time_of_its_speed() {
        for (path, paced) in [
            ("/dev/no-such/ttyS7", true),
            ("/dev/no-such/ttyUSB0", true),
            ("/dev/no-such/ttyACM0", false),
            ("/dev/pts/0", false),
            ("/dev/no-such/some-name", false),
        ] {
            assert_eq!(is_paced(Path::new(path)), paced, "{path}");
        }
        let link = std::env::temp_dir().join(format!("fieldrig-test-{}-ttyUSB0", std::process::id()));
        std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
        assert!(!is_paced(&link), "what it is called does not count, but what it is");
        std::fs::remove_file(&link).expect("it was made");
    }

    #[test]
    fn what_is_between_the_line_and_us_holds_bytes_back() {
        let line: LineSettings = "9600 8N1".parse().expect("valid");
        let held = |path: &str| Machinery::of(Path::new(path)).resolution(&line);
        assert_eq!(held("/dev/pts/no-such"), Duration::ZERO);
        assert_eq!(held("/dev/no-such/ttyS7"), line.character_time() * 16);
        for usb in ["/dev/no-such/ttyUSB0", "/dev/no-such/ttyACM0", "/dev/no-such/some-name"] {
            assert_eq!(held(usb), Duration::from_millis(20), "{usb}");
        }
    }
}
