//! Terminal settings that the serialport crate does not give: raw mode on a bare descriptor, any speed, the state of a
//! line as it is now.

use crate::drive::sys::check;
use fieldrig_proto::line::{LineSettings, Parity, StopBits};
use std::io;
use std::os::fd::RawFd;

fn read(fd: RawFd) -> io::Result<libc::termios2> {
    // SAFETY: an all-zero termios2 is valid.
    let mut termios: libc::termios2 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a termios2 into a live one.
    check(unsafe { libc::ioctl(fd, libc::TCGETS2, &raw mut termios) })?;
    Ok(termios)
}

fn write(fd: RawFd, termios: &libc::termios2) -> io::Result<()> {
    // SAFETY: the kernel reads a live termios2.
    check(unsafe { libc::ioctl(fd, libc::TCSETS2, std::ptr::from_ref(termios)) }).map(|_| ())
}

/// The state a pty is born in, but raw (no echo, no translation), so that nothing is echoed to a device before the
/// other side has set its own modes.
pub(super) fn reset(fd: RawFd) -> io::Result<()> {
    let mut termios = read(fd)?;
    termios.c_iflag = 0;
    termios.c_oflag = 0;
    termios.c_lflag = MARK;
    termios.c_cflag = libc::CS8 | libc::CREAD | libc::B38400;
    termios.c_ispeed = 38_400;
    termios.c_ospeed = 38_400;
    write(fd, &termios)
}

/// ECHOE and ECHOK do nothing without ECHO. A client that clears them changes something, which keeps the C library from
/// answering EINVAL when a pty refuses nothing but the parity it asks for.
const MARK: libc::tcflag_t = libc::ECHOE | libc::ECHOK;

/// Sets the mark on the settings that a client made, for the next client.
pub(super) fn mark(fd: RawFd) -> io::Result<()> {
    let mut termios = read(fd)?;
    if termios.c_lflag & (MARK | libc::ECHO | libc::ICANON) == 0 {
        termios.c_lflag |= MARK;
        write(fd, &termios)?;
    }
    Ok(())
}

/// The bits of a format. Stick parity (CMSPAR) that somebody left behind would turn even into space.
const FORMAT: libc::tcflag_t = libc::CSIZE | libc::PARENB | libc::PARODD | libc::CMSPAR | libc::CSTOPB;

/// Sets speed and format.
pub(super) fn configure(fd: RawFd, settings: &LineSettings) -> io::Result<()> {
    let mut termios = read(fd)?;
    let size = match settings.data_bits {
        5 => libc::CS5,
        6 => libc::CS6,
        7 => libc::CS7,
        _ => libc::CS8,
    };
    let parity = match settings.parity {
        Parity::None => 0,
        Parity::Even => libc::PARENB,
        Parity::Odd => libc::PARENB | libc::PARODD,
        Parity::Mark => libc::PARENB | libc::CMSPAR | libc::PARODD,
        Parity::Space => libc::PARENB | libc::CMSPAR,
    };
    let stop = if settings.stop_bits == StopBits::Two { libc::CSTOPB } else { 0 };
    let kept = termios.c_cflag & !(FORMAT | libc::CBAUD);
    termios.c_cflag = kept | size | parity | stop | libc::BOTHER;
    termios.c_ispeed = settings.baud;
    termios.c_ospeed = settings.baud;
    write(fd, &termios)
}

/// Has the driver mark bytes that were received with an error, and breaks (see `marks.rs`).
pub(super) fn mark_errors(fd: RawFd) -> io::Result<()> {
    let mut termios = read(fd)?;
    termios.c_iflag &= !(libc::IGNBRK | libc::BRKINT | libc::IGNPAR | libc::ISTRIP);
    termios.c_iflag |= libc::PARMRK | libc::INPCK;
    write(fd, &termios)
}

/// Speed and format as they are now.
pub(super) fn settings(fd: RawFd) -> io::Result<LineSettings> {
    let termios = read(fd)?;
    let data_bits = match termios.c_cflag & libc::CSIZE {
        libc::CS5 => 5,
        libc::CS6 => 6,
        libc::CS7 => 7,
        _ => 8,
    };
    let has = |flag: libc::tcflag_t| termios.c_cflag & flag != 0;
    let parity = match (has(libc::PARENB), has(libc::CMSPAR), has(libc::PARODD)) {
        (false, ..) => Parity::None,
        (true, false, false) => Parity::Even,
        (true, false, true) => Parity::Odd,
        (true, true, true) => Parity::Mark,
        (true, true, false) => Parity::Space,
    };
    let stop_bits = if has(libc::CSTOPB) { StopBits::Two } else { StopBits::One };
    Ok(LineSettings { baud: termios.c_ospeed, data_bits, parity, stop_bits })
}

/// Throws away what waits in both directions.
pub(super) fn flush(fd: RawFd) {
    // SAFETY: takes no pointers. A port that refuses has nothing to throw away.
    unsafe { libc::tcflush(fd, libc::TCIOFLUSH) };
}

/// Throws away what was written and not yet read on the other side.
pub(super) fn flush_output(fd: RawFd) {
    // SAFETY: takes no pointers.
    unsafe { libc::tcflush(fd, libc::TCOFLUSH) };
}

/// Throws away what arrived and was not yet read.
pub(super) fn flush_input(fd: RawFd) {
    // SAFETY: takes no pointers.
    unsafe { libc::tcflush(fd, libc::TCIFLUSH) };
}
