//! What only the driver of a serial port knows or does, by its ioctls: error counts, modem lines, RS-485, low latency.
//! What a driver does not have is an error (ENOTTY and the like), never a zero.

use crate::drive::sys::check;
use fieldrig_proto::line::LineEvent;
use fieldrig_proto::time::Duration;
use std::io;
use std::os::fd::RawFd;

/// How RS-485 is driven.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rs485 {
    /// The driver of the port switches the transceiver by request-to-send; else it leaves it alone.
    pub enabled: bool,
    /// The level of request-to-send while sending; it is the other one in between.
    pub rts_while_sending: bool,
    /// From driving the line to the first bit; whole milliseconds.
    pub before: Duration,
    /// From the last bit to letting go; whole milliseconds.
    pub after: Duration,
    /// What is sent is received, too.
    pub echo: bool,
}

/// How many errors the driver of a port has counted.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct LineCounts {
    /// Bytes without a stop bit.
    pub framing: u32,
    /// Bytes with wrong parity.
    pub parity: u32,
    /// Bytes that the port lost because nobody took them in time.
    pub overrun: u32,
    /// Breaks.
    pub breaks: u32,
    /// Bytes that the kernel lost because nobody read them in time.
    pub buffer_overrun: u32,
}

impl LineCounts {
    /// What was counted since; counts go round at 2^32.
    #[must_use]
    pub fn since(&self, before: &LineCounts) -> LineCounts {
        self.with(before, u32::wrapping_sub)
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &LineCounts) -> LineCounts {
        self.with(other, u32::wrapping_add)
    }

    fn with(&self, other: &LineCounts, put: fn(u32, u32) -> u32) -> LineCounts {
        LineCounts {
            framing: put(self.framing, other.framing),
            parity: put(self.parity, other.parity),
            overrun: put(self.overrun, other.overrun),
            breaks: put(self.breaks, other.breaks),
            buffer_overrun: put(self.buffer_overrun, other.buffer_overrun),
        }
    }
}

/// How often each modem line has changed; the ring indicator counts only ends of ringing on most ports.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Edges {
    pub(super) cts: u32,
    pub(super) dsr: u32,
    pub(super) ri: u32,
    pub(super) dcd: u32,
}

/// `struct serial_icounter_struct` of the kernel (`uapi/linux/serial.h`).
#[repr(C)]
#[derive(Default)]
struct InterruptCounts {
    cts: i32,
    dsr: i32,
    rng: i32,
    dcd: i32,
    rx: i32,
    tx: i32,
    frame: i32,
    overrun: i32,
    parity: i32,
    brk: i32,
    buf_overrun: i32,
    reserved: [i32; 9],
}

/// What the driver has counted.
pub(super) fn counts(fd: RawFd) -> io::Result<(LineCounts, Edges)> {
    let mut found = InterruptCounts::default();
    // SAFETY: the kernel writes a `serial_icounter_struct`, which this is, into a live one.
    check(unsafe { libc::ioctl(fd, libc::TIOCGICOUNT, &raw mut found) })?;
    let counts = LineCounts {
        framing: found.frame.cast_unsigned(),
        parity: found.parity.cast_unsigned(),
        overrun: found.overrun.cast_unsigned(),
        breaks: found.brk.cast_unsigned(),
        buffer_overrun: found.buf_overrun.cast_unsigned(),
    };
    let edges = Edges {
        cts: found.cts.cast_unsigned(),
        dsr: found.dsr.cast_unsigned(),
        ri: found.rng.cast_unsigned(),
        dcd: found.dcd.cast_unsigned(),
    };
    Ok((counts, edges))
}

/// How the modem lines stand.
pub(super) fn modem_lines(fd: RawFd) -> io::Result<libc::c_int> {
    let mut lines: libc::c_int = 0;
    // SAFETY: the kernel writes a live int.
    check(unsafe { libc::ioctl(fd, libc::TIOCMGET, &raw mut lines) })?;
    Ok(lines)
}

/// The inputs among the modem lines.
pub(super) const INPUTS: libc::c_int = libc::TIOCM_CTS | libc::TIOCM_DSR | libc::TIOCM_RI | libc::TIOCM_CD;

/// The event of how the lines stand.
pub(super) fn modem_event(lines: libc::c_int) -> LineEvent {
    let has = |line: libc::c_int| lines & line != 0;
    LineEvent::Modem {
        cts: has(libc::TIOCM_CTS),
        dsr: has(libc::TIOCM_DSR),
        ri: has(libc::TIOCM_RI),
        dcd: has(libc::TIOCM_CD),
    }
}

/// Drives request-to-send or data-terminal-ready.
pub(super) fn drive(fd: RawFd, line: libc::c_int, on: bool) -> io::Result<()> {
    let request = if on { libc::TIOCMBIS } else { libc::TIOCMBIC };
    // SAFETY: the kernel reads a live int.
    check(unsafe { libc::ioctl(fd, request, &raw const line) }).map(|_| ())
}

/// `struct serial_rs485` of the kernel.
#[repr(C)]
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Rs485Setting {
    flags: u32,
    before_millis: u32,
    after_millis: u32,
    rest: [u32; 5],
}

const RS485_ENABLED: u32 = 1;
const RS485_RTS_ON_SEND: u32 = 1 << 1;
const RS485_RTS_AFTER_SEND: u32 = 1 << 2;
const RS485_RX_DURING_TX: u32 = 1 << 4;

impl Rs485Setting {
    fn of(wanted: &Rs485) -> Rs485Setting {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let rts = if wanted.rts_while_sending { RS485_RTS_ON_SEND } else { RS485_RTS_AFTER_SEND };
        let echo = if wanted.echo { RS485_RX_DURING_TX } else { 0 };
        let flags = if wanted.enabled { RS485_ENABLED | rts | echo } else { 0 };
        let (before_millis, after_millis) = (millis(wanted.before), millis(wanted.after));
        Rs485Setting { flags, before_millis, after_millis, rest: [0; 5] }
    }
}

/// Sets RS-485 and gives what was set before.
///
/// # Errors
/// The driver has no RS-485; it made something else of it, which is said.
pub(super) fn set_rs485(fd: RawFd, wanted: &Rs485) -> io::Result<Rs485Setting> {
    let mut before = Rs485Setting::default();
    // SAFETY: the kernel writes a `serial_rs485`, which this is, into a live one.
    check(unsafe { libc::ioctl(fd, libc::TIOCGRS485, &raw mut before) })?;
    let setting = Rs485Setting::of(wanted);
    let answered = write_rs485(fd, setting)?;
    let same = answered.flags & (RS485_ENABLED | RS485_RTS_ON_SEND | RS485_RTS_AFTER_SEND | RS485_RX_DURING_TX)
        == setting.flags
        && (!wanted.enabled
            || (answered.before_millis, answered.after_millis) == (setting.before_millis, setting.after_millis));
    if same {
        return Ok(before);
    }
    write_rs485(fd, before)?;
    Err(io::Error::other(format!("the driver made {answered:?} of {setting:?}")))
}

/// Sets RS-485 and gives what the driver made of it.
pub(super) fn write_rs485(fd: RawFd, setting: Rs485Setting) -> io::Result<Rs485Setting> {
    let mut setting = setting;
    // SAFETY: the kernel reads a `serial_rs485`, which this is, and writes back what it made of it.
    check(unsafe { libc::ioctl(fd, libc::TIOCSRS485, &raw mut setting) })?;
    Ok(setting)
}

/// `struct serial_struct` of the kernel.
#[repr(C)]
#[derive(Copy, Clone)]
struct UartSetting {
    kind: i32,
    line: i32,
    port: u32,
    irq: i32,
    flags: i32,
    xmit_fifo_size: i32,
    custom_divisor: i32,
    baud_base: i32,
    close_delay: u16,
    io_type: u8,
    reserved: u8,
    hub6: i32,
    closing_wait: u16,
    closing_wait2: u16,
    iomem_base: *mut u8,
    iomem_reg_shift: u16,
    port_high: u32,
    iomap_base: libc::c_ulong,
}

const LOW_LATENCY: i32 = 1 << 13;
/// The clock can be divided in other ways than by whole numbers.
const MAGIC_MULTIPLIER: i32 = 1 << 16;

fn uart(fd: RawFd) -> io::Result<UartSetting> {
    // SAFETY: an all-zero serial_struct is valid.
    let mut setting: UartSetting = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a `serial_struct`, which this is, into a live one.
    check(unsafe { libc::ioctl(fd, libc::TIOCGSERIAL, &raw mut setting) })?;
    Ok(setting)
}

/// Asks the driver to hand bytes over at once, or no longer; gives how it was before.
pub(super) fn set_low_latency(fd: RawFd, on: bool) -> io::Result<bool> {
    let mut setting = uart(fd)?;
    let before = setting.flags & LOW_LATENCY != 0;
    if before != on {
        setting.flags ^= LOW_LATENCY;
        // SAFETY: the kernel reads a live `serial_struct`.
        check(unsafe { libc::ioctl(fd, libc::TIOCSSERIAL, &raw const setting) })?;
        if (uart(fd)?.flags & LOW_LATENCY != 0) != on {
            return Err(io::Error::other("the driver takes it and does not do it"));
        }
    }
    Ok(before)
}

/// The speed that a plain UART (8250 to 16550A) really has when asked for `baud`, whatever its driver says: its clock is
/// divided by a whole number. `None` for other ports.
pub(super) fn divided_baud(fd: RawFd, baud: u32) -> Option<u32> {
    let setting = uart(fd).ok()?;
    // Those that are mapped into memory may divide by fractions.
    let plain = (1..=4).contains(&setting.kind) && setting.io_type == 0 && setting.flags & MAGIC_MULTIPLIER == 0;
    let base = u32::try_from(setting.baud_base).ok().filter(|base| plain && *base > 0)?;
    Some(divided(base, baud))
}

fn divided(base: u32, baud: u32) -> u32 {
    let (base, baud) = (u64::from(base), u64::from(baud.max(1)));
    let divisor = ((base + baud / 2) / baud).max(1);
    u32::try_from(base / divisor).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_divided_by_whole_numbers() {
        for (baud, real) in [(9600, 9600), (115_200, 115_200), (57_600, 57_600), (100_000, 115_200), (250_000, 115_200)]
        {
            assert_eq!(divided(115_200, baud), real, "{baud}");
        }
        assert_eq!(divided(1_500_000, 250_000), 250_000);
    }

    #[test]
    fn counts_go_round() {
        let before = LineCounts { parity: u32::MAX, framing: 3, ..LineCounts::default() };
        let now = LineCounts { parity: 1, framing: 3, breaks: 2, ..LineCounts::default() };
        let grown = now.since(&before);
        assert_eq!(grown, LineCounts { parity: 2, breaks: 2, ..LineCounts::default() });
        assert_eq!(before.and(&grown), now);
    }

    #[test]
    fn rs485_is_set_as_it_is_wanted() {
        let wanted = Rs485 {
            enabled: true,
            rts_while_sending: true,
            before: Duration::from_millis(1),
            after: Duration::from_millis(2),
            echo: false,
        };
        let setting = Rs485Setting::of(&wanted);
        assert_eq!((setting.flags, setting.before_millis, setting.after_millis), (0b11, 1, 2));
        let other = Rs485 { rts_while_sending: false, echo: true, ..wanted };
        assert_eq!(Rs485Setting::of(&other).flags, 0b1_0101);
        assert_eq!(Rs485Setting::of(&Rs485 { enabled: false, ..wanted }).flags, 0);
        // The sizes are those of the kernel's structures.
        assert_eq!((size_of::<Rs485Setting>(), size_of::<InterruptCounts>(), size_of::<UartSetting>()), (32, 80, 72));
    }
}
