//! A serial line. The serialport crate opens and configures it; reading and writing are ours, on its descriptor.
//!
//! Rules of this file:
//! - Modem lines are left as they are unless asked for: driving them resets many boards. (The kernel itself raises both
//!   when a port is opened that nobody has open.)
//! - The port is locked for the life of the descriptor. A port that is taken names who has it, as far as can be seen.
//! - What the driver made of speed and format is read back: a port that does something else is not opened.
//! - Bytes that were received with an error are told ([`LineEvent::Parity`], [`LineEvent::Framing`]) behind the byte; a
//!   break is no byte. A driver marks both alike and only counts them apart: where both were counted since the last
//!   look, a line with parity is said to have a parity error.
//! - Modem lines are looked at whenever the port is seen empty, at least every millisecond by its line thread: an edge
//!   lies between two looks. Drivers that ask the adapter over USB for them are asked only when they counted an edge.
//! - What was set for the whole device (RS-485, low latency) is set back when the port is closed.
//! - What was measured (`calibration.rs`) says for how long a byte may have waited. An adapter on USB that nobody measured
//!   counts as [`USB_ADAPTER`], a UART as long as its buffer takes to fill. A pty hands over at once, and has neither
//!   marks nor counts nor modem lines.
//! - Bytes that arrived before a hang-up are read before it is reported.

use super::calibration::Known;
use super::driver::{self, Edges, LineCounts, Rs485, Rs485Setting};
use super::ledger::LineLedger;
use super::marks::{Marks, Piece};
use super::refusal::{holders, missing, no_port, refused, taken};
use super::{Arrival, Look, Port, Read, open_error, termios, usb};
use crate::drive::sys::{check, check_size};
use crate::error::EngineError;
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings, Parity, StopBits};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

/// What an adapter on USB holds back, until somebody measures it: more than the 16 ms that common ones collect for.
const USB_ADAPTER: Duration = Duration::from_millis(20);
/// How many characters a UART collects before it tells.
const UART_BUFFER: u32 = 16;

/// What is done to a port when it is opened; `None` leaves it as it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct SerialOptions {
    /// Drive data-terminal-ready.
    pub dtr: Option<bool>,
    /// Drive request-to-send.
    pub rts: Option<bool>,
    /// Have the driver hand over bytes at once (`ASYNC_LOW_LATENCY`).
    pub low_latency: Option<bool>,
    /// Have the driver switch a transceiver.
    pub rs485: Option<Rs485>,
}

/// An open serial line.
#[derive(Debug)]
pub(crate) struct Serial {
    fd: Arc<OwnedFd>,
    name: String,
    settings: LineSettings,
    machinery: Machinery,
    known: Known,
    marks: Marks,
    /// Bytes of a sequence that was cut may have come this early.
    held_since: Option<Time>,
    waiting: VecDeque<Waiting>,
    line: Line,
    before: Before,
    ledger: Arc<LineLedger>,
}

/// What was read and not yet handed over.
#[derive(Debug)]
enum Waiting {
    Bytes(VecDeque<u8>, Arrival),
    Event(LineEvent, Arrival),
}

/// What the driver told at the last look.
#[derive(Debug, Default)]
struct Line {
    looked: Time,
    /// What it has counted; `None` if it does not count.
    counts: Option<(LineCounts, Edges)>,
    /// Errors that were counted and whose bytes were not yet read.
    owed: LineCounts,
    /// How the modem lines stand; `None` if it has none.
    modem: Option<libc::c_int>,
}

/// What is to be set back.
#[derive(Debug, Default)]
struct Before {
    low_latency: Option<bool>,
    rs485: Option<Rs485Setting>,
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
    pub(crate) fn open(
        path: &Path,
        settings: LineSettings,
        options: &SerialOptions,
        ledger: &Arc<LineLedger>,
    ) -> Result<Serial, EngineError> {
        let given = path;
        let name = path.display().to_string();
        let found = usb::device_of(Path::new("/"), &name).transpose()?;
        let path = found.as_deref().unwrap_or(path);
        let url = format!("serial://{}", path.display());
        if let Some(error) = no_port(&url, path) {
            return Err(error);
        }
        let machinery = Machinery::of(path);
        // Looked at before it is opened, since opening it raises its modem lines, also for who has it. (Ends of a pty are
        // often held open by who made it.)
        let holders = if machinery == Machinery::Pty { Vec::new() } else { holders(path) };
        if !holders.is_empty() {
            return Err(taken(&url, path, &holders));
        }
        let fd = open_device(&url, path, &settings)?;
        let wrong = |what: String| EngineError::Port {
            url: url.clone(),
            what,
            hint: Some("choose a speed and a format that the adapter can make".to_owned()),
        };
        if machinery != Machinery::Pty {
            configure(fd.as_raw_fd(), &settings, machinery).map_err(|error| wrong(error.to_string()))?;
        }
        let mut serial = Serial {
            fd: Arc::new(fd),
            name,
            settings,
            machinery,
            known: Known::of(given),
            marks: Marks::default(),
            held_since: None,
            waiting: VecDeque::new(),
            line: Line::default(),
            before: Before::default(),
            ledger: Arc::clone(ledger),
        };
        serial.prepare(options).map_err(|what| EngineError::Port { url, what, hint: None })?;
        // What was measured holds for a latency, which may be another one only now.
        serial.known = Known::of(given);
        serial.ledger.open(&serial.name, &serial.fd);
        if machinery != Machinery::Pty {
            serial.line.counts = driver::counts(serial.raw()).ok();
            serial.line.modem = driver::modem_lines(serial.raw()).ok();
        }
        // What arrived before we opened it, with whatever settings, is not for us.
        termios::flush_input(serial.raw());
        Ok(serial)
    }

    fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Does what was asked for; what the port cannot do is said.
    fn prepare(&mut self, options: &SerialOptions) -> Result<(), String> {
        let fd = self.raw();
        for (key, line, wanted) in [("dtr", libc::TIOCM_DTR, options.dtr), ("rts", libc::TIOCM_RTS, options.rts)] {
            if let Some(on) = wanted {
                let word = if on { "on" } else { "off" };
                driver::drive(fd, line, on)
                    .map_err(|error| format!("`{key}={word}`: it has no modem lines: {error}"))?;
            }
        }
        if let Some(on) = options.low_latency {
            let before = driver::set_low_latency(fd, on);
            let before = before.map_err(|error| format!("`low_latency`: its driver does not know it: {error}"))?;
            self.before.low_latency = Some(before).filter(|before| *before != on);
        }
        if let Some(wanted) = &options.rs485 {
            let before = driver::set_rs485(fd, wanted);
            let before = before.map_err(|error| format!("`rs485`: its driver does not do it: {error}"))?;
            self.before.rs485 = Some(before);
        }
        Ok(())
    }

    /// The raw bytes of one read of a port that marks errors.
    fn take(&mut self, raw: &[u8], arrival: Arrival) {
        let (mut bytes, mut good) = (Vec::with_capacity(raw.len()), VecDeque::new());
        let pieces = self.marks.read(raw, &mut bytes);
        if pieces.iter().any(|piece| matches!(piece, Piece::Marked(_))) {
            let grown = self.count();
            self.line.owed = self.line.owed.and(&grown);
        }
        for piece in pieces {
            match piece {
                Piece::Bytes(range) => good.extend(&bytes[range]),
                Piece::Marked(byte) => {
                    let event = self.line.kind_of(byte, self.settings.parity);
                    if event != LineEvent::Break {
                        good.push_back(byte);
                    }
                    if !good.is_empty() {
                        self.waiting.push_back(Waiting::Bytes(std::mem::take(&mut good), arrival));
                    }
                    self.waiting.push_back(Waiting::Event(event, arrival));
                }
            }
        }
        if !good.is_empty() {
            self.waiting.push_back(Waiting::Bytes(good, arrival));
        }
    }

    /// Asks the driver what it counted since it was last asked.
    fn count(&mut self) -> LineCounts {
        let Some((before, edges)) = self.line.counts else { return LineCounts::default() };
        let (now, _) = driver::counts(self.raw()).unwrap_or((before, edges));
        self.line.counts = Some((now, edges));
        now.since(&before)
    }

    /// Looks at the line itself while no bytes are there.
    fn look_at_line(&mut self, now: Time) {
        let earliest = self.line.looked - self.resolution();
        let arrival = Arrival::Together(Stamp::between(earliest, now));
        self.line.looked = now;
        // A UART counts the edges that it sees when it is asked how the lines stand, and asking it costs next to nothing.
        let asked = (self.machinery == Machinery::Uart && self.line.modem.is_some()).then(|| self.raw());
        let mut stands = asked.and_then(|fd| driver::modem_lines(fd).ok());
        if let Some((counts, edges)) = self.line.counts
            && let Ok((now_counts, now_edges)) = driver::counts(self.raw())
        {
            let grown = now_counts.since(&counts);
            self.line.counts = Some((now_counts, now_edges));
            self.line.owed = grown;
            if grown.overrun > 0 || grown.buffer_overrun > 0 {
                self.waiting.push_back(Waiting::Event(LineEvent::Overrun, arrival));
            }
            if edges != now_edges && self.line.modem.is_some() {
                stands = stands.or_else(|| driver::modem_lines(self.raw()).ok());
            }
            let events = self.line.modem_events(stands, edges, now_edges);
            self.waiting.extend(events.into_iter().map(|event| Waiting::Event(event, arrival)));
        } else {
            let events = self.line.modem_events(stands, Edges::default(), Edges::default());
            self.waiting.extend(events.into_iter().map(|event| Waiting::Event(event, arrival)));
        }
    }

    fn hand_over(&mut self, buffer: &mut [u8]) -> Option<Read> {
        match self.waiting.pop_front()? {
            Waiting::Event(event, arrival) => Some(Read::Line(event, arrival)),
            Waiting::Bytes(mut bytes, arrival) => {
                let count = bytes.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(bytes.drain(..count)) {
                    *to = from;
                }
                if !bytes.is_empty() {
                    self.waiting.push_front(Waiting::Bytes(bytes, arrival));
                }
                Some(Read::Bytes(count, arrival))
            }
        }
    }
}

impl Line {
    /// What was wrong with a byte that the driver marked.
    fn kind_of(&mut self, byte: u8, parity: Parity) -> LineEvent {
        let owed = &mut self.owed;
        let nothing = *owed == LineCounts::default();
        if byte == 0 && (owed.breaks > 0 || nothing) {
            owed.breaks = owed.breaks.saturating_sub(1);
            return LineEvent::Break;
        }
        let is_parity = match (owed.parity > 0, owed.framing > 0) {
            (one, other) if one != other => one,
            _ => parity != Parity::None,
        };
        let (count, event) = match is_parity {
            true => (&mut owed.parity, LineEvent::Parity),
            false => (&mut owed.framing, LineEvent::Framing),
        };
        *count = count.saturating_sub(1);
        event
    }

    /// What happened to the modem lines. A line that changed twice and is as it was before has been the other way in
    /// between. A single edge without a change was told already, when the state was read after it and the count before;
    /// and the FTDI driver counts one for each line that is on in the first packet after opening, though none moved.
    fn modem_events(&mut self, stands: Option<libc::c_int>, before: Edges, now: Edges) -> Vec<LineEvent> {
        let (Some(known), Some(stands)) = (self.modem, stands) else { return Vec::new() };
        let mut between = known;
        for (line, before, now) in [
            (libc::TIOCM_CTS, before.cts, now.cts),
            (libc::TIOCM_DSR, before.dsr, now.dsr),
            (libc::TIOCM_CD, before.dcd, now.dcd),
        ] {
            if now.wrapping_sub(before) >= 2 && known & line == stands & line {
                between ^= line;
            }
        }
        self.modem = Some(stands);
        let mut events = Vec::new();
        if between != known {
            events.push(driver::modem_event(between));
        }
        if (between ^ stands) & driver::INPUTS != 0 {
            events.push(driver::modem_event(stands));
        }
        events
    }
}

impl Port for Serial {
    fn fd(&self) -> Option<RawFd> {
        Some(self.raw())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        if let Some(read) = self.hand_over(look.buffer) {
            return read;
        }
        // SAFETY: reads into a live buffer of the stated length.
        let result = check_size(unsafe { libc::read(self.raw(), look.buffer.as_mut_ptr().cast(), look.buffer.len()) });
        match result {
            Ok(0) => hung_up(self.raw()).map_or(Read::Nothing, Read::HungUp),
            Ok(count) if self.machinery == Machinery::Pty || self.marks.is_plain(&look.buffer[..count]) => {
                Read::Bytes(count, Arrival::Unstamped)
            }
            Ok(count) => {
                let raw = look.buffer[..count].to_vec();
                let held = self.held_since.take();
                let since = held.unwrap_or(look.since).min(look.since);
                let arrival = held.map_or(Arrival::Unstamped, |_| {
                    Arrival::Together(Stamp::between(since - self.resolution(), look.clock.now()))
                });
                self.take(&raw, arrival);
                self.held_since = self.marks.is_within().then_some(since);
                self.hand_over(look.buffer).unwrap_or(Read::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Read::Nothing,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.watches_line() {
                    self.look_at_line(look.clock.now());
                }
                self.hand_over(look.buffer).unwrap_or(Read::Nothing)
            }
            Err(error) => Read::HungUp(error.to_string()),
        }
    }

    fn hides_input(&self) -> bool {
        true
    }

    fn holds_input(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn watches_line(&self) -> bool {
        self.line.counts.is_some() || self.line.modem.is_some()
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: writes from a live slice of the stated length.
        check_size(unsafe { libc::write(self.raw(), bytes.as_ptr().cast(), bytes.len()) })
    }

    fn command(&mut self, _now: Time, command: &LineCommand) -> io::Result<()> {
        let fd = self.raw();
        match command {
            LineCommand::Settings(settings) if self.machinery == Machinery::Pty => {
                termios::configure(fd, settings)?;
                self.settings = *settings;
                Ok(())
            }
            LineCommand::Settings(settings) => match configure(fd, settings, self.machinery) {
                Ok(()) => {
                    self.settings = *settings;
                    Ok(())
                }
                Err(error) => {
                    // It stays what it was, as everybody believes.
                    let _ = configure(fd, &self.settings, self.machinery);
                    Err(error)
                }
            },
            LineCommand::Rts(on) => driver::drive(fd, libc::TIOCM_RTS, *on),
            LineCommand::Dtr(on) => driver::drive(fd, libc::TIOCM_DTR, *on),
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

impl Drop for Serial {
    fn drop(&mut self) {
        let last = driver::counts(self.raw()).ok().map(|(counts, _)| counts);
        self.ledger.close(&self.name, last.or(self.line.counts.map(|(counts, _)| counts)));
        // A device that is gone has nothing to be set back.
        if let Some(before) = self.before.rs485 {
            let _ = driver::write_rs485(self.raw(), before);
        }
        if let Some(before) = self.before.low_latency {
            let _ = driver::set_low_latency(self.raw(), before);
        }
        // A pty keeps the flag beyond the last close, and would refuse the next user.
        // SAFETY: takes no pointers.
        unsafe { libc::ioctl(self.raw(), libc::TIOCNXCL) };
    }
}

/// Opens and locks a device, with the settings as far as the crate knows them.
fn open_device(url: &str, path: &Path, settings: &LineSettings) -> Result<OwnedFd, EngineError> {
    // Looked at first: the crate reports a missing device, a taken one and a wrong kind of file alike.
    let found = std::fs::metadata(path).map_err(|error| missing(url, path, &error))?;
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
        })
        .preserve_dtr_on_open();
    let opened = serialport::TTYPort::open(&builder);
    let fd = opened.map_err(|error| refused(url, path, &found, &error))?.into_raw_fd();
    // SAFETY: `into_raw_fd` gave up ownership.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_nonblocking(fd.as_raw_fd()).map_err(|error| open_error(url, &error))?;
    Ok(fd)
}

/// Sets speed and format with marks for errors, and looks what the driver made of it.
fn configure(fd: RawFd, settings: &LineSettings, machinery: Machinery) -> io::Result<()> {
    let set = termios::configure(fd, settings).and_then(|()| termios::mark_errors(fd));
    set.map_err(|error| io::Error::other(format!("the driver answered to {settings}: {error}")))?;
    let answered = termios::settings(fd)?;
    if let Some(what) = deviation(settings, &answered) {
        return Err(io::Error::other(what));
    }
    let real = (machinery == Machinery::Uart).then(|| driver::divided_baud(fd, settings.baud)).flatten();
    match real.filter(|real| is_off(settings.baud, *real)) {
        Some(real) => Err(io::Error::other(format!("the UART makes {real} baud of {}: {}", settings.baud, OFF))),
        None => Ok(()),
    }
}

const OFF: &str = "a speed may be 2.5 % off at most";

fn is_off(wanted: u32, real: u32) -> bool {
    u64::from(wanted.abs_diff(real)) * 1000 > u64::from(wanted) * 25
}

/// What a driver made of the settings, if it is something else.
fn deviation(wanted: &LineSettings, answered: &LineSettings) -> Option<String> {
    let format = LineSettings { baud: wanted.baud, ..*answered } != *wanted;
    let speed = is_off(wanted.baud, answered.baud);
    let off = if speed && !format { format!(": {OFF}") } else { String::new() };
    (format || speed).then(|| format!("the driver made {answered} of {wanted}{off}"))
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

    #[test]
    fn a_driver_that_does_something_else_is_told_with_what_it_does() {
        let line = |text: &str| text.parse::<LineSettings>().expect("valid settings");
        let said = |wanted: &str, answered: &str| deviation(&line(wanted), &line(answered));
        assert_eq!(said("115200 8N1", "115384 8N1"), None);
        assert_eq!(said("9600 8E1", "9600 8E1"), None);
        let text = said("4000000 8N1", "9600 8N1").expect("far off");
        assert_eq!(text, "the driver made 9600 8N1 of 4000000 8N1: a speed may be 2.5 % off at most");
        assert_eq!(said("9600 8M1", "9600 8O1").as_deref(), Some("the driver made 9600 8O1 of 9600 8M1"));
        assert_eq!(said("9600 5N1", "9600 8N1").as_deref(), Some("the driver made 9600 8N1 of 9600 5N1"));
    }

    #[test]
    fn what_was_counted_tells_what_was_wrong_with_a_byte() {
        let none = LineCounts::default();
        let counted = |owed: LineCounts, bytes: &[u8], parity| {
            let mut line = Line { owed, ..Line::default() };
            bytes.iter().map(|byte| line.kind_of(*byte, parity)).collect::<Vec<_>>()
        };
        use LineEvent::{Break, Framing, Parity as Wrong};
        let both = LineCounts { parity: 1, framing: 1, ..none };
        assert_eq!(counted(LineCounts { breaks: 1, framing: 1, ..none }, &[0, 0], Parity::None), [Break, Framing]);
        assert_eq!(counted(LineCounts { parity: 2, ..none }, &[0, 7], Parity::Even), [Wrong, Wrong]);
        assert_eq!(counted(LineCounts { framing: 1, ..none }, &[7], Parity::Even), [Framing]);
        assert_eq!(counted(both, &[7, 7], Parity::Even), [Wrong, Framing]);
        assert_eq!(counted(none, &[7, 0], Parity::None), [Framing, Break]);
        assert_eq!(counted(none, &[7, 0], Parity::Odd), [Wrong, Break]);
    }

    #[test]
    fn a_pulse_on_a_modem_line_is_two_events() {
        let mut line = Line { modem: Some(libc::TIOCM_CTS), ..Line::default() };
        let mut seen = |stands, edges: (u32, u32)| {
            let edge = |cts| Edges { cts, ..Edges::default() };
            line.modem_events(Some(stands), edge(edges.0), edge(edges.1))
        };
        let event = |cts| LineEvent::Modem { cts, dsr: false, ri: false, dcd: false };
        assert_eq!(seen(libc::TIOCM_CTS, (0, 0)), []);
        assert_eq!(seen(0, (0, 1)), [event(false)]);
        assert_eq!(seen(0, (1, 3)), [event(true), event(false)]);
        assert_eq!(seen(libc::TIOCM_CTS | libc::TIOCM_RTS, (3, 4)), [event(true)]);
        assert_eq!(seen(libc::TIOCM_CTS, (4, 4)), [], "our own lines are no events");
        assert_eq!(seen(libc::TIOCM_CTS, (4, 5)), [], "one edge leaves no line as it was");
        assert_eq!(seen(libc::TIOCM_CTS, (5, 8)), [event(false), event(true)]);
    }
}
