//! Records: where each ends, for stamps and for the capture of cipher text.

use fieldrig_proto::dissect::{Dissection, Sender};
use fieldrig_proto::protocol::Protocol;

/// RFC 5246 6.2.1, RFC 8446 5.1: type, version, length.
const HEADER: usize = 5;

/// How many bytes the first record has; `None` while its header is not whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else { return None };
    Some(HEADER + usize::from(u16::from_be_bytes([*high, *low])))
}

/// Finds the ends of records in bytes that come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    header: Vec<u8>,
    /// Bytes of the record under way that are still to come, once its header is whole.
    left: usize,
}

impl Cutter {
    /// How many of `bytes` belong to the record under way, and whether it ends with them.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        if self.left == 0 {
            taken = bytes.len().min(HEADER - self.header.len());
            self.header.extend_from_slice(&bytes[..taken]);
            let Some(whole) = length(&self.header) else { return (taken, false) };
            self.header.clear();
            self.left = whole - HEADER;
        }
        let body = (bytes.len() - taken).min(self.left);
        self.left -= body;
        (taken + body, self.left == 0)
    }
}

/// TLS records, for the capture.
pub(crate) static RECORDS: Protocol = Protocol {
    name: "tls",
    schemes: &["tls"],
    dissect: &|bytes, _: Sender| {
        let kind = match bytes.first() {
            Some(20) => "change cipher spec",
            Some(21) => "alert",
            Some(22) => "handshake",
            Some(23) => "application data",
            _ => "unknown record",
        };
        Dissection {
            protocol: "tls",
            summary: format!("TLS {kind}, {} bytes", bytes.len()),
            fields: Vec::new(),
            speaks: None,
        }
    },
    message_length: &|bytes, _: Sender| length(bytes),
    unasked: false,
    half_duplex: false,
    capture_tag: "tls",
    constructors: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_in_whatever_pieces_they_come() {
        let stream = [&[22, 3, 3, 0, 3, 1, 2, 3][..], &[23, 3, 3, 0, 1, 9], &[23, 3, 3, 0, 0]].concat();
        for size in 1..=stream.len() {
            let (mut cutter, mut ends, mut at) = (Cutter::default(), Vec::new(), 0);
            for piece in stream.chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (taken, whole) = cutter.next(rest);
                    at += taken;
                    rest = &rest[taken..];
                    ends.extend(whole.then_some(at));
                }
            }
            assert_eq!(ends, [8, 14, 19], "pieces of {size}");
        }
    }
}
