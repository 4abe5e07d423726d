//! A pseudo terminal: we hold the master, others open the slave as a serial line.
//!
//! Rules of this file:
//! - The master stays open for the life of the port. That nobody has the slave open (a hang-up on the master) is not the
//!   end of the port: the wire is there, nobody is at the other end, and what is sent then is lost as on a real line.
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
    /// Somebody had the slave open at the last look.
    attended: bool,
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
        let mut pty = Pty { master, slave, symlink: None, attended: false };
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

    /// Whether somebody has the slave open now.
    fn look_for_opener(&mut self) -> bool {
        let mut poll = libc::pollfd { fd: self.master.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one live pollfd, no waiting.
        let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
        self.attended = count == 0 || poll.revents & libc::POLLHUP == 0;
        self.attended
    }

    /// The last opener is gone: the next one shall find a fresh port.
    fn freshen(&mut self) {
        // Both act through the master on the slave. They fail only on a pty that is going away as a whole.
        let _ = termios::reset(self.master.as_raw_fd());
        termios::flush(self.master.as_raw_fd());
    }
}

impl Port for Pty {
    fn fd(&self) -> Option<RawFd> {
        Some(self.master.as_raw_fd())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        // SAFETY: reads into a live buffer of the stated length.
        let result = check_size(unsafe {
            libc::read(self.master.as_raw_fd(), look.buffer.as_mut_ptr().cast(), look.buffer.len())
        });
        match result {
            Ok(count) if count > 0 => {
                self.attended = true;
                Read::Bytes(count, Arrival::Unstamped)
            }
            // EIO: nobody has the slave open and nothing is left to read.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                if std::mem::replace(&mut self.attended, false) {
                    self.freshen();
                }
                Read::Nothing
            }
            Ok(_) => Read::Nothing,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                // No EIO: somebody has it open.
                self.attended = true;
                Read::Nothing
            }
            Err(error) => Read::HungUp(error.to_string()),
        }
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        if !self.attended && !self.look_for_opener() {
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
