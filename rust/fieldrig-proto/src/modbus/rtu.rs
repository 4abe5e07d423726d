//! Modbus RTU: unit, PDU, CRC; frames end by silence (SL 2.5.1).
//!
//! Rules of this file:
//! - A frame is 4 to 256 bytes: unit, PDU, CRC with the low byte first (SL 2.3, 2.5.1.2).
//! - [`Framing::Exact`] goes by silence alone, t1.5 and t3.5 as the standard has them: for lines whose stamps are fine enough.
//! - [`Framing::Tolerant`] is for real adapters, which deliver in lumps: a frame ends where the length that its first
//!   bytes predict ends, if the CRC is right there; else after a longer pause. A silence of t3.5 is only a hint where a
//!   frame may begin, for what came before it may have been noise.

mod assembler;

pub use assembler::{Assembler, Traffic, adu_length};

use super::pdu::MAX_PDU;
use crate::checksum::crc16_modbus;
use crate::line::silence::{Fault, Timing};
use crate::line::{LineSettings, Parity, StopBits};
use crate::time::Duration;

/// The longest frame (SL 2.3).
pub const MAX_ADU: usize = 1 + MAX_PDU + 2;
/// The shortest frame: unit, function, CRC.
pub const MIN_ADU: usize = 4;
/// Unit id of a broadcast (SL 2.1).
pub const BROADCAST: u8 = 0;
/// Highest unit id of a device; 248 to 255 are reserved (SL 2.2).
pub const LAST_UNIT: u8 = 247;

/// A look at bytes that may be a frame, or anything.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct View<'a>(pub &'a [u8]);

impl<'a> View<'a> {
    /// Unit id, if it is there.
    #[must_use]
    pub fn unit(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// What stands between unit and CRC; empty if nothing does.
    #[must_use]
    pub fn pdu(self) -> &'a [u8] {
        self.0.get(1..self.0.len().saturating_sub(2)).unwrap_or_default()
    }

    /// The CRC it carries, if it is long enough for one.
    #[must_use]
    pub fn crc(self) -> Option<u16> {
        let tail = self.0.get(self.0.len().checked_sub(2)?..)?;
        Some(u16::from_le_bytes([tail[0], tail[1]]))
    }

    /// The CRC it should carry.
    #[must_use]
    pub fn right_crc(self) -> u16 {
        crc16_modbus(&self.0[..self.0.len().saturating_sub(2)])
    }

    /// What is wrong with it as a frame: `None` if length and CRC are right.
    #[must_use]
    pub fn problem(self) -> Option<FrameProblem> {
        let length = self.0.len();
        match self.crc() {
            Some(is) if (MIN_ADU..=MAX_ADU).contains(&length) => {
                let right = self.right_crc();
                (is != right).then_some(FrameProblem::Crc { offset: length - 2, is, right })
            }
            _ => Some(FrameProblem::Length { length }),
        }
    }
}

/// Why bytes are not an RTU frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameProblem {
    /// Too short or too long.
    #[error("the frame has {length} bytes, {MIN_ADU} to {MAX_ADU} are allowed")]
    Length {
        /// Its length.
        length: usize,
    },
    /// The CRC is wrong.
    #[error("CRC at offset {offset} is {is:#06x}, the bytes before it give {right:#06x}")]
    Crc {
        /// Where it stands.
        offset: usize,
        /// What it is.
        is: u16,
        /// What it should be.
        right: u16,
    },
    /// The line says so.
    #[error("{0}")]
    Line(#[from] Fault),
}

/// A frame to be sent. `crc: None` is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adu<'a> {
    /// Unit id.
    pub unit: u8,
    /// PDU.
    pub pdu: &'a [u8],
    /// CRC, if it is not to be the right one.
    pub crc: Option<u16>,
}

impl<'a> Adu<'a> {
    /// A frame that is right in every field.
    #[must_use]
    pub fn new(unit: u8, pdu: &'a [u8]) -> Adu<'a> {
        Adu { unit, pdu, crc: None }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.unit);
        out.extend_from_slice(self.pdu);
        let crc = self.crc.unwrap_or_else(|| crc16_modbus(&out[start..]));
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// How the end of a frame is found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// By silence, to the letter.
    Exact,
    /// By predicted length and CRC, else by a pause of this length.
    Tolerant {
        /// How long nothing came.
        pause: Duration,
    },
}

/// How a line is used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct LineRules {
    /// Its silences.
    pub timing: Timing,
    /// How the end of a frame is found.
    pub framing: Framing,
    /// Keep t3.5 of silence before sending.
    pub gap: bool,
}

/// A lump of a USB adapter (16 ms by default on the commonest) and the time a busy host takes to see it.
const PAUSE: Duration = Duration::from_millis(30);

impl LineRules {
    /// For real adapters and ptys.
    #[must_use]
    pub fn tolerant(line: &LineSettings) -> LineRules {
        let timing = Timing::modbus(line);
        LineRules { timing, framing: Framing::Tolerant { pause: PAUSE.max(timing.between) }, gap: true }
    }

    /// For lines with a stamp for each byte.
    #[must_use]
    pub fn exact(line: &LineSettings) -> LineRules {
        LineRules { timing: Timing::modbus(line), framing: Framing::Exact, gap: true }
    }

    /// For a wire in memory on which bytes take no time: with the silences of the default speed (SL 3.3: 19200 baud, even
    /// parity), which devices keep there, too.
    #[must_use]
    pub fn unpaced() -> LineRules {
        let line = LineSettings { baud: 19_200, data_bits: 8, parity: Parity::Even, stop_bits: StopBits::One };
        let rules = LineRules::tolerant(&line);
        LineRules { timing: rules.timing.unpaced(), ..rules }
    }

    /// For RTU frames inside a TCP connection, which has no silences: framing by length, a long pause as fallback.
    #[must_use]
    pub fn over_tcp() -> LineRules {
        let timing = Timing { character: Duration::ZERO, inside: PAUSE, between: PAUSE };
        LineRules { timing, framing: Framing::Tolerant { pause: Duration::from_millis(500) }, gap: false }
    }

    /// The silence to keep before sending.
    #[must_use]
    pub fn gap_before(&self) -> Option<Duration> {
        self.gap.then_some(self.timing.between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_goes_low_byte_first() {
        // The example of AP 6.3 to unit 17, as libmodbus 3.1.6 sends it (`fixtures/modbus`).
        let mut frame = Vec::new();
        Adu::new(0x11, &[3, 0, 0x6b, 0, 3]).encode(&mut frame);
        assert_eq!(frame, [0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87]);
        frame.swap(6, 7);
        let problem = View(&frame).problem().expect("wrong CRC").to_string();
        assert_eq!(problem, "CRC at offset 6 is 0x7687, the bytes before it give 0x8776");
        assert_eq!(View(&[1, 2, 3]).problem(), Some(FrameProblem::Length { length: 3 }));
    }
}
