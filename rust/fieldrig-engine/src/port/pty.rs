//! A pseudo terminal: we hold the master, others open the slave as a serial line.
//!
//! Rules of this file:
//! - The master stays open for the life of the port. That nobody has the slave open (a hang-up on the master) is not the
//!   end of the port: the wire is there, nobody is at the other end, and what is sent then is lost as on a real line.
//! - Who opens and closes is told by inotify, in order, so that an opener who follows the last one at once is noticed,
//!   too; the hang-up on the master is only a state.
//! - When the last opener closes, the terminal settings go back to what they were and bytes that it did not read are thrown
//!   away, so that the next opener finds a fresh port: no stale bytes, and even parity works again (a pty refuses
//!   parity, and the C library reports that as EINVAL when nothing else changes). They wait in the slave, and only who
//!   opens the slave can throw them away: so do we, for a moment.
//! - What the last opener wrote before it closed is ours, and is read.
//! - If the other side is to be told apart by its speed, the master is in packet mode (TIOCPKT) and the slave has EXTPROC:
//!   each change of settings comes with what is read. A change is noticed before bytes that were written just before it
//!   and not yet read. The parity bit and the size of characters are never seen.

use super::mismatch::{Mismatch, Sides};
use super::{Arrival, Look, Port, Read, termios};
use crate::drive::sys::{check, check_size, own};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::Time;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An open pty master.
#[derive(Debug)]
pub(crate) struct Pty {
    master: OwnedFd,
    slave: PathBuf,
    symlink: Option<PathBuf>,
    /// Tells who opened and closed the slave.
    visits: OwnedFd,
    /// How many have the slave open, as far as is known.
    openers: u32,
    /// The settings carry the mark that keeps parity from being refused (`termios::mark`).
    marked: bool,
    /// How both sides are set.
    sides: Sides,
    /// The settings of the other side were looked at; what changed is to be told.
    told: bool,
    /// What was taken and not yet written.
    outgoing: Vec<u8>,
    /// So many of the openings and closings that inotify will tell of are our own.
    own_visits: [u32; 2],
}

/// What happened to the slave since the last look.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
struct Visits {
    /// The last opener closed it, whoever opened it since.
    left: bool,
    /// Somebody opened it.
    came: bool,
}

impl Pty {
    /// Makes one; its other end is at [`Pty::address`].
    pub(crate) fn open(symlink: Option<&Path>, settings: LineSettings, mismatch: Mismatch) -> io::Result<Pty> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: takes no pointers.
        let master = own(unsafe { libc::posix_openpt(flags) })?;
        // SAFETY: plain calls on an own descriptor.
        check(unsafe { libc::grantpt(master.as_raw_fd()) })?;
        // SAFETY: as above.
        check(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
        let slave = slave_name(master.as_raw_fd())?;
        let sides = Sides::new(settings, mismatch);
        termios::reset(master.as_raw_fd(), watched(&sides))?;
        visit(&slave)?;
        if mismatch != Mismatch::Unseen {
            let on: libc::c_int = 1;
            // SAFETY: the kernel reads a live int.
            check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) })?;
        }
        let visits = watch(&slave)?;
        let mut pty = Pty {
            master,
            slave,
            symlink: None,
            visits,
            openers: 0,
            marked: true,
            sides,
            told: true,
            outgoing: Vec::new(),
            own_visits: [0; 2],
        };
        if let Some(link) = symlink {
            place_link(&pty.slave, link)?;
            pty.symlink = Some(link.to_owned());
        }
        Ok(pty)
    }

    /// The name under which others open it.
    pub(crate) fn address(&self) -> String {
        self.symlink.as_ref().unwrap_or(&self.slave).display().to_string()
    }

    /// Whether nobody has the slave open now.
    fn is_deserted(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.master.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one live pollfd, no waiting.
        let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
        count > 0 && poll.revents & libc::POLLHUP != 0
    }

    /// Takes what inotify tells. An opener that came after the last one left shall find a fresh port.
    fn look_for_visits(&mut self) {
        let visits = self.read_visits();
        if visits.came {
            self.marked = false;
        }
        if visits.left {
            // Nothing was written since, so all that waits there was meant for those who left.
            self.throw_away();
            if self.is_deserted() {
                self.openers = 0;
                self.freshen();
            }
        }
    }

    fn read_visits(&mut self) -> Visits {
        let mut visits = Visits::default();
        let mut events = [0u8; 1024];
        // SAFETY: reads into a live buffer of the stated length.
        let read = unsafe { libc::read(self.visits.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) };
        let mut rest = &events[..usize::try_from(read).unwrap_or(0)];
        // Each event: descriptor, mask, cookie, length of a name (none here), four bytes each.
        while let Some((event, tail)) = rest.split_at_checked(16) {
            let mask = u32::from_ne_bytes([event[4], event[5], event[6], event[7]]);
            let name = u32::from_ne_bytes([event[12], event[13], event[14], event[15]]) as usize;
            let own = |mine: &mut u32| std::mem::replace(mine, mine.saturating_sub(1)) > 0;
            let [own_opens, own_closes] = &mut self.own_visits;
            if mask & libc::IN_OPEN != 0 && !own(own_opens) {
                visits.came = true;
                self.openers += 1;
            }
            if mask & libc::IN_CLOSE != 0 && !own(own_closes) {
                self.openers = self.openers.saturating_sub(1);
                visits.left |= self.openers == 0;
            }
            rest = tail.get(name..).unwrap_or_default();
        }
        visits
    }

    /// Nobody is there: the next one shall find a fresh port.
    fn freshen(&mut self) {
        // It acts through the master on the slave, and fails only on a pty that is going away as a whole.
        let _ = termios::reset(self.master.as_raw_fd(), watched(&self.sides));
        self.marked = true;
    }

    /// Throws away what was written and not read.
    fn throw_away(&mut self) {
        self.outgoing.clear();
        termios::flush_output(self.master.as_raw_fd());
        // Who has it open for itself alone has flushed it; then we may not be let in.
        if visit(&self.slave).is_ok() {
            self.own_visits = self.own_visits.map(|count| count + 1);
        }
    }

    /// One read of the master: in packet mode the first byte says what the rest is.
    fn read_master(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sides.mismatch == Mismatch::Unseen {
            return read_into(self.master.as_raw_fd(), buffer);
        }
        let mut packet = [0; PACKET];
        loop {
            let room = packet.len().min(buffer.len() + 1);
            let count = read_into(self.master.as_raw_fd(), &mut packet[..room])?;
            match packet.get(..count) {
                Some([DATA, bytes @ ..]) if !bytes.is_empty() => {
                    buffer[..bytes.len()].copy_from_slice(bytes);
                    return Ok(bytes.len());
                }
                Some([_, ..]) => self.look_at_settings(),
                _ => return Ok(0),
            }
        }
    }

    /// The settings of the other side may have changed.
    fn look_at_settings(&mut self) {
        let found = termios::set_to(self.master.as_raw_fd(), &self.sides.ours);
        if found.is_ok_and(|theirs| self.sides.set(theirs)) {
            self.told = false;
        }
        // Whoever sets everything anew takes the flag away that lets us see the next change.
        let _ = termios::mark(self.master.as_raw_fd(), true);
    }

    fn push(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let count = write_from(self.master.as_raw_fd(), &self.outgoing)?;
            self.outgoing.drain(..count);
        }
        Ok(())
    }
}

/// What comes before data in packet mode.
const DATA: u8 = 0;
/// The most that is read at once in packet mode.
const PACKET: usize = 4096;

/// The settings that a fresh slave has, if it is watched.
fn watched(sides: &Sides) -> Option<&LineSettings> {
    (sides.mismatch != Mismatch::Unseen).then_some(&sides.ours)
}

fn read_into(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: reads into a live buffer of the stated length.
    check_size(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

fn write_from(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: writes from a live slice of the stated length.
    check_size(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

impl Port for Pty {
    fn fd(&self) -> Option<RawFd> {
        Some(self.master.as_raw_fd())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        self.look_for_visits();
        if let Some(found) = self.sides.give(look.buffer, Arrival::Unstamped) {
            return found;
        }
        let result = self.read_master(look.buffer);
        if !std::mem::replace(&mut self.told, true) {
            if let Ok(count) = result {
                self.sides.take(&look.buffer[..count]);
            }
            return Read::Line(LineEvent::Settings(self.sides.theirs), Arrival::Unstamped);
        }
        match result {
            Ok(count) if count > 0 => {
                if !self.marked {
                    // Whoever speaks has set the port up. It fails only on a pty that is going away.
                    let _ = termios::mark(self.master.as_raw_fd(), watched(&self.sides).is_some());
                    self.marked = true;
                }
                if self.sides.differ() {
                    self.sides.take(&look.buffer[..count]);
                    return self.sides.give(look.buffer, Arrival::Unstamped).unwrap_or(Read::Nothing);
                }
                Read::Bytes(count, Arrival::Unstamped)
            }
            // EIO: nobody has the slave open and nothing is left to read.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Read::Nothing,
            Ok(_) => Read::Nothing,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Read::Nothing
            }
            Err(error) => Read::HungUp(error.to_string()),
        }
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        self.look_for_visits();
        if self.openers == 0 && self.is_deserted() {
            return Ok(bytes.len());
        }
        self.push()?;
        if !self.sides.differ() {
            return write_from(self.master.as_raw_fd(), bytes);
        }
        self.outgoing = self.sides.say(bytes).0;
        match self.push() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    fn holds_input(&self) -> bool {
        self.sides.waits()
    }

    fn holds_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn flush(&mut self, _now: Time) -> io::Result<()> {
        match self.push() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        match command {
            LineCommand::Settings(settings) => {
                // A pty has no speed; what it stands for decides whom it understands.
                self.sides.ours = *settings;
                Ok(())
            }
            // It is read as a zero, as from a driver that is asked for no more.
            LineCommand::Break(length) if length.is_zero() => Ok(()),
            LineCommand::Break(_) => self.write(now, &[0]).map(drop),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn hides_input(&self) -> bool {
        true
    }

    fn edge(&self) -> bool {
        true
    }

    fn waits_for_us(&self) -> bool {
        true
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(link) = &self.symlink {
            // Only our own: somebody may have put another there.
            if std::fs::read_link(link).is_ok_and(|target| target == self.slave) {
                let _ = std::fs::remove_file(link);
            }
        }
    }
}

/// Watches who opens and closes `path`.
fn watch(path: &Path) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = own(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })?;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: reads a live terminated string.
    check(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), name.as_ptr(), libc::IN_OPEN | libc::IN_CLOSE) })?;
    Ok(fd)
}

fn slave_name(master: RawFd) -> io::Result<PathBuf> {
    let mut name = [0u8; 128];
    // SAFETY: the call writes a terminated string into a live buffer of the stated length.
    let code = unsafe { libc::ptsname_r(master, name.as_mut_ptr().cast(), name.len()) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok(PathBuf::from(OsStr::from_bytes(&name[..end])))
}

/// Opens the slave, throws away what waits in it, and closes it. Only behind the first time does the master say that
/// nobody has it open.
fn visit(slave: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let opened = std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(slave)?;
    termios::flush_input(opened.as_raw_fd());
    Ok(())
}

/// Links `link` to `slave`; a symbolic link that stands there is replaced, a file is not.
fn place_link(slave: &Path, link: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(found) if found.file_type().is_symlink() => std::fs::remove_file(link)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file stands where the link should be")),
        Err(_) => {}
    }
    std::os::unix::fs::symlink(slave, link)
}
