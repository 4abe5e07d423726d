//! A pseudo terminal: we hold the master, others open the slave as a serial line.
//!
//! Rules of this file:
//! - The master stays open for the life of the port. That nobody has the slave open (a hang-up on the master) is not the
//!   end of the port: the wire is there, nobody is at the other end, and what is sent then is lost as on a real line.
//! - Who opens and closes is told by inotify, in order, so that an opener who follows the last one at once is noticed,
//!   too; the hang-up on the master is only a state.
//! - When the last opener closes, the terminal settings go back to what they were and bytes that nobody read are thrown
//!   away, so that the next opener finds a fresh port: no stale bytes, and even parity works again (a pty refuses
//!   parity, and the C library reports that as EINVAL when nothing else changes).

use super::{Arrival, Look, Port, Read, termios};
use crate::drive::sys::{check, check_size, own};
use fieldrig_proto::line::LineCommand;
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
    pub(crate) fn open(symlink: Option<&Path>) -> io::Result<Pty> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: takes no pointers.
        let master = own(unsafe { libc::posix_openpt(flags) })?;
        // SAFETY: plain calls on an own descriptor.
        check(unsafe { libc::grantpt(master.as_raw_fd()) })?;
        // SAFETY: as above.
        check(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
        let slave = slave_name(master.as_raw_fd())?;
        termios::reset(master.as_raw_fd())?;
        hang_up_once(&slave)?;
        let visits = watch(&slave)?;
        let mut pty = Pty { master, slave, symlink: None, visits, openers: 0, marked: true };
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
            termios::flush_output(self.master.as_raw_fd());
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
            if mask & libc::IN_OPEN != 0 {
                visits.came = true;
                self.openers += 1;
            }
            if mask & libc::IN_CLOSE != 0 {
                self.openers = self.openers.saturating_sub(1);
                visits.left |= self.openers == 0;
            }
            rest = tail.get(name..).unwrap_or_default();
        }
        visits
    }

    /// Nobody is there: the next one shall find a fresh port.
    fn freshen(&mut self) {
        // Both act through the master on the slave. They fail only on a pty that is going away as a whole.
        let _ = termios::reset(self.master.as_raw_fd());
        termios::flush(self.master.as_raw_fd());
        self.marked = true;
    }
}

impl Port for Pty {
    fn fd(&self) -> Option<RawFd> {
        Some(self.master.as_raw_fd())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        self.look_for_visits();
        // SAFETY: reads into a live buffer of the stated length.
        let result = check_size(unsafe {
            libc::read(self.master.as_raw_fd(), look.buffer.as_mut_ptr().cast(), look.buffer.len())
        });
        match result {
            Ok(count) if count > 0 => {
                if !self.marked {
                    // Whoever speaks has set the port up. It fails only on a pty that is going away.
                    let _ = termios::mark(self.master.as_raw_fd());
                    self.marked = true;
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
        // SAFETY: writes from a live slice of the stated length.
        check_size(unsafe { libc::write(self.master.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    }

    fn command(&mut self, _now: Time, command: &LineCommand) -> io::Result<()> {
        match command {
            // A pty has no speed; what it stands for is on record in the description of the link.
            LineCommand::Settings(_) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn edge(&self) -> bool {
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

/// Opens and closes the slave once: only then does the master say that nobody has it open.
fn hang_up_once(slave: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(slave).map(drop)
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
