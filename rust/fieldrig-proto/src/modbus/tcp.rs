//! Modbus on TCP: the MBAP header and the framing by its length field (MG 3.1.3).
//!
//! ```text
//!   0            2            4        6      7
//!   transaction  protocol     length   unit   PDU ...
//!   (2)          (2) 0        (2) bytes from the unit on
//! ```
//! [`View`] looks at any bytes; [`Adu`] is what gets sent, with every derived field open to patching.

use super::pdu::MAX_PDU;

/// Bytes before the PDU.
pub const HEADER: usize = 7;
/// Largest length field: unit and the longest PDU (AP 4.1).
pub const MAX_LENGTH: u16 = 1 + MAX_PDU as u16;
/// The only protocol id that is Modbus (MG 3.1.3).
pub const PROTOCOL: u16 = 0;

/// A look at bytes that may be a whole ADU, part of one, or anything.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct View<'a>(pub &'a [u8]);

impl<'a> View<'a> {
    fn word(self, offset: usize) -> Option<u16> {
        self.0.get(offset..offset + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// Transaction id, if it is there.
    #[must_use]
    pub fn transaction(self) -> Option<u16> {
        self.word(0)
    }

    /// Protocol id, if it is there.
    #[must_use]
    pub fn protocol(self) -> Option<u16> {
        self.word(2)
    }

    /// Length field, if it is there: the number of bytes that follow it.
    #[must_use]
    pub fn length(self) -> Option<u16> {
        self.word(4)
    }

    /// Unit id, if it is there.
    #[must_use]
    pub fn unit(self) -> Option<u8> {
        self.0.get(6).copied()
    }

    /// What follows the header; empty if nothing does.
    #[must_use]
    pub fn pdu(self) -> &'a [u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }
}

/// An ADU to be sent. `length: None` is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adu<'a> {
    /// Transaction id.
    pub transaction: u16,
    /// Protocol id, 0 for Modbus.
    pub protocol: u16,
    /// Length field, if it is not to be the right one.
    pub length: Option<u16>,
    /// Unit id.
    pub unit: u8,
    /// PDU.
    pub pdu: &'a [u8],
}

impl<'a> Adu<'a> {
    /// An ADU that is right in every field.
    #[must_use]
    pub fn new(transaction: u16, unit: u8, pdu: &'a [u8]) -> Adu<'a> {
        Adu { transaction, protocol: PROTOCOL, length: None, unit, pdu }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let right = (1 + self.pdu.len()) as u16;
        put_header(out, self.transaction, self.protocol, self.length.unwrap_or(right), self.unit);
        out.extend_from_slice(self.pdu);
    }
}

/// Appends a header.
pub(crate) fn put_header(out: &mut Vec<u8>, transaction: u16, protocol: u16, length: u16, unit: u8) {
    out.reserve(HEADER + usize::from(length.min(MAX_LENGTH)));
    out.extend_from_slice(&transaction.to_be_bytes());
    out.extend_from_slice(&protocol.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.push(unit);
}

/// What the framer found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// A whole ADU by its length field; its other fields may be anything, its PDU may be empty.
    Adu(&'a [u8]),
    /// A header whose length field cannot be gone by: 0 (not even a unit id) or above [`MAX_LENGTH`]. Where the next
    /// ADU begins is unknown from here on. All bytes from that header on.
    Lost(&'a [u8]),
}

/// How many of the first bytes form an ADU: `None` while more bytes are needed, or if the length field cannot be gone by.
#[must_use]
pub fn adu_length(bytes: &[u8]) -> Option<usize> {
    let length = View(bytes).length()?;
    let whole = 6 + usize::from(length);
    ((1..=MAX_LENGTH).contains(&length) && bytes.len() >= whole).then_some(whole)
}

/// Why a datagram is not one whole ADU and nothing else.
#[must_use]
pub fn datagram_problem(bytes: &[u8]) -> String {
    let follow = bytes.len().saturating_sub(6);
    match View(bytes).length() {
        None => format!("the datagram has {} bytes, an ADU has {HEADER} at least", bytes.len()),
        Some(length) if !(1..=MAX_LENGTH).contains(&length) => {
            format!("length at offset 4 is {length}, 1 to {MAX_LENGTH} are allowed")
        }
        Some(length) => format!("length at offset 4 says {length}, {follow} bytes follow in the datagram"),
    }
}

/// Cuts a stream into ADUs by their length fields. ADUs that arrive whole are handed on without being copied.
#[derive(Clone, Debug)]
pub struct Framer {
    rest: Vec<u8>,
    lost: bool,
    most: u16,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer { rest: Vec::new(), lost: false, most: MAX_LENGTH }
    }
}

impl Framer {
    /// Takes bytes and gives every ADU they complete to `found`, in order.
    /// After `Lost` everything up to [`Framer::clear`] is `Lost` too.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Found<'_>)) {
        if self.lost {
            found(Found::Lost(bytes));
            return;
        }
        if self.rest.is_empty() {
            let used = self.cut(bytes, &mut found);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(bytes);
            let used = self.cut(&all, &mut found);
            all.drain(..used);
            self.rest = all;
        }
    }

    /// Goes by length fields up to this, [`MAX_LENGTH`] unless something else is wanted on purpose.
    pub fn set_most(&mut self, most: u16) {
        self.most = most;
    }

    /// Bytes of an ADU that is not whole yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.rest
    }

    /// Forgets what is pending.
    pub fn clear(&mut self) {
        self.rest.clear();
        self.lost = false;
    }

    fn cut(&mut self, bytes: &[u8], found: &mut impl FnMut(Found<'_>)) -> usize {
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            match View(rest).length() {
                None => return start,
                Some(length) if (1..=self.most).contains(&length) => {
                    let Some(adu) = rest.get(..6 + usize::from(length)) else { return start };
                    found(Found::Adu(adu));
                    start += adu.len();
                }
                Some(_) => {
                    self.lost = true;
                    found(Found::Lost(rest));
                    return bytes.len();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adu(transaction: u16, pdu: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Adu::new(transaction, 1, pdu).encode(&mut out);
        out
    }

    fn feed(framer: &mut Framer, bytes: &[u8]) -> Vec<Result<Vec<u8>, Vec<u8>>> {
        let mut all = Vec::new();
        framer.feed(bytes, |found| {
            all.push(match found {
                Found::Adu(adu) => Ok(adu.to_vec()),
                Found::Lost(rest) => Err(rest.to_vec()),
            });
        });
        all
    }

    #[test]
    fn the_header_is_written_as_the_guide_shows() {
        // MG 3.1.3 with the request of its example: transaction 0x1501, unit 0xFF, read one register at 4.
        let mut out = Vec::new();
        Adu::new(0x1501, 0xff, &[3, 0, 4, 0, 1]).encode(&mut out);
        assert_eq!(out, [0x15, 0x01, 0, 0, 0, 6, 0xff, 3, 0, 4, 0, 1]);
        let view = View(&out);
        assert_eq!(
            (view.transaction(), view.protocol(), view.length(), view.unit()),
            (Some(0x1501), Some(0), Some(6), Some(255))
        );
    }

    #[test]
    fn any_split_gives_the_same_adus() {
        let stream = [adu(1, &[3, 0, 0, 0, 1]), adu(2, &[]), adu(3, &[6, 0, 1, 0, 2])].concat();
        let whole = feed(&mut Framer::default(), &stream);
        assert_eq!(whole.len(), 3);
        for split in 0..stream.len() {
            let mut framer = Framer::default();
            let mut found = feed(&mut framer, &stream[..split]);
            found.extend(feed(&mut framer, &stream[split..]));
            assert_eq!(found, whole, "split at {split}");
            assert!(framer.pending().is_empty());
        }
    }

    #[test]
    fn a_length_that_cannot_be_gone_by_loses_the_stream() {
        for length in [0u16, 255, 0xffff] {
            let mut bytes = adu(7, &[3]);
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            let mut framer = Framer::default();
            assert_eq!(feed(&mut framer, &bytes), [Err(bytes.clone())]);
            assert_eq!(feed(&mut framer, &[1, 2]), [Err(vec![1, 2])]);
            framer.clear();
            assert_eq!(feed(&mut framer, &adu(1, &[1])).len(), 1);
        }
    }
}
