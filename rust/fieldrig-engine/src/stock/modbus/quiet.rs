//! What is still owed on a line after a request was given up.
//!
//! Rules of this file:
//! - Only a whole frame with the right CRC, of that unit and that function (or its exception), is the answer. A glitch, a
//!   piece of a frame and a frame of somebody else are none.
//! - It has to end where the bytes end: what comes behind it would be taken for the next answer.
//! - If an earlier answer never came either, nobody knows which this is, and the rest is not cut short.

use fieldrig_proto::checksum::crc16_modbus;

/// The longest RTU frame (SL 2.5.1).
const MAX_ADU: usize = 256;

/// An answer that has not come.
pub(super) struct Owed {
    unit: u8,
    function: u8,
    came: Vec<u8>,
    /// It is the only one.
    alone: bool,
}

impl Owed {
    /// The answer to a request of which this much came before it was given up; `before`: what was owed already.
    pub(super) fn new(unit: u8, function: u8, came: &[u8], before: Option<&Owed>) -> Owed {
        let mut owed = Owed { unit, function, came: Vec::new(), alone: before.is_none() };
        keep(&mut owed.came, came);
        owed
    }

    /// More bytes came: whether the answer ends with them.
    pub(super) fn is_paid(&mut self, bytes: &[u8]) -> bool {
        keep(&mut self.came, bytes);
        let is_it = |frame: &[u8]| {
            let ours = frame[0] == self.unit && frame.get(1).is_some_and(|code| code & 0x7f == self.function & 0x7f);
            ours && has_good_crc(frame)
        };
        self.alone && (0..self.came.len()).any(|from| is_it(&self.came[from..]))
    }
}

/// Unit, function, and two bytes of CRC over all before, low byte first (SL 2.5.1.2).
fn has_good_crc(frame: &[u8]) -> bool {
    frame.len() >= 4
        && frame.split_last_chunk().is_some_and(|(rest, crc)| crc16_modbus(rest) == u16::from_le_bytes(*crc))
}

/// Adds bytes, of which the last are kept, as many as the longest frame has.
pub(super) fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(bytes);
    kept.drain(..kept.len().saturating_sub(MAX_ADU));
}
