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
///
/// With `watched`, it has this speed, and who changes it is told by the master in packet mode (EXTPROC).
pub(super) fn reset(fd: RawFd, watched: Option<&LineSettings>) -> io::Result<()> {
    let mut termios = read(fd)?;
    termios.c_iflag = 0;
    termios.c_oflag = 0;
    termios.c_lflag = MARK | if watched.is_some() { libc::EXTPROC } else { 0 };
    let baud = watched.map_or(38_400, |line| line.baud);
    let two = watched.is_some_and(|line| line.stop_bits == StopBits::Two);
    let odd = watched.is_some_and(|line| line.parity == Parity::Odd);
    let stop = if two { libc::CSTOPB } else { 0 };
    termios.c_cflag = libc::CS8 | libc::CREAD | code_of(baud) | stop | if odd { libc::PARODD } else { 0 };
    termios.c_ispeed = baud;
    termios.c_ospeed = baud;
    write(fd, &termios)
}

/// How the C library names a speed; programs that read settings and write them back must find one that they know.
fn code_of(baud: u32) -> libc::tcflag_t {
    match baud {
        300 => libc::B300,
        600 => libc::B600,
        1200 => libc::B1200,
        2400 => libc::B2400,
        4800 => libc::B4800,
        9600 => libc::B9600,
        19_200 => libc::B19200,
        38_400 => libc::B38400,
        57_600 => libc::B57600,
        115_200 => libc::B115200,
        230_400 => libc::B230400,
        460_800 => libc::B460800,
        921_600 => libc::B921600,
        _ => libc::BOTHER,
    }
}

/// How a pty is set, as far as it keeps that: speed, stop bits, odd parity. The rest is as in `known`: a pty refuses the
/// parity bit and every other size, so that even parity cannot be told from none.
pub(super) fn set_to(fd: RawFd, known: &LineSettings) -> io::Result<LineSettings> {
    let termios = read(fd)?;
    let odd = termios.c_cflag & libc::PARODD != 0;
    let parity = match known.parity {
        _ if odd => Parity::Odd,
        Parity::Odd => Parity::Even,
        other => other,
    };
    let stop_bits = if termios.c_cflag & libc::CSTOPB != 0 { StopBits::Two } else { StopBits::One };
    Ok(LineSettings { baud: termios.c_ospeed.max(1), parity, stop_bits, ..*known })
}

/// ECHOE and ECHOK do nothing without ECHO. A client that clears them changes something, which keeps the C library from
/// answering EINVAL when a pty refuses nothing but the parity it asks for.
const MARK: libc::tcflag_t = libc::ECHOE | libc::ECHOK;

/// Sets the mark on the settings that a client made, for the next client.
pub(super) fn mark(fd: RawFd, watched: bool) -> io::Result<()> {
    let mut termios = read(fd)?;
    let wanted = if watched { libc::EXTPROC } else { 0 };
    let marks = termios.c_lflag & (MARK | libc::ECHO | libc::ICANON) == 0;
    if marks || termios.c_lflag & wanted != wanted {
        termios.c_lflag |= wanted | if marks { MARK } else { 0 };
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
