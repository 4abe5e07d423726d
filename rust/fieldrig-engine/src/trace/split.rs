//! Cuts the chunks of a link into messages, each direction of each connection for itself.
//!
//! Where no protocol says what a message is, each chunk is one. A secret may be spread over several of them, as when a
//! console echoes what is typed: bytes that may be the beginning of one wait for the next chunk.

use super::LinkInfo;
use super::ring::Frame;
use crate::secrets::Secrets;
use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::time::Stamp;
use std::borrow::Cow;
use std::collections::HashMap;

/// More than this is never held back for the rest of a message.
const LONGEST_MESSAGE: usize = 1 << 20;

/// One message, or bytes that form none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    pub(super) conn: Conn,
    pub(super) direction: Direction,
    /// When its last byte went or came.
    pub(super) stamp: Stamp,
    pub(super) bytes: &'a [u8],
    /// It is a whole message; else its bytes stand alone.
    pub(super) whole: bool,
    /// A secret in it, or a part of one, is masked already.
    pub(super) masked: bool,
}

/// Bytes that wait for the rest of their message.
struct Partial {
    bytes: Vec<u8>,
    stamp: Stamp,
}

/// Bytes without a protocol that may be the beginning of a secret: those of one chunk or of several.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    masked: bool,
    /// Where each chunk ends, and its stamp.
    chunks: Vec<(usize, Stamp)>,
}

/// The state of one link.
#[derive(Default)]
pub(super) struct Splitter {
    secrets: Secrets,
    partial: HashMap<(Conn, Direction), Partial>,
    held: HashMap<(Conn, Direction), Held>,
}

/// Who sent what went this way.
pub(super) fn sender(info: &LinkInfo, direction: Direction) -> Sender {
    match (info.we_are, direction) {
        (who, Direction::Out) => who,
        (Sender::Client, Direction::In) => Sender::Server,
        (Sender::Server, Direction::In) => Sender::Client,
    }
}

impl Splitter {
    pub(super) fn new(secrets: Secrets) -> Splitter {
        Splitter { secrets, ..Splitter::default() }
    }

    /// Takes a chunk; gives the messages it completes to `out`.
    pub(super) fn chunk(&mut self, info: &LinkInfo, frame: &Frame<'_>, out: &mut dyn FnMut(&Piece<'_>)) {
        let Some(protocol) = info.protocol else {
            if self.secrets.is_empty() {
                out(&piece(frame, frame.stamp, frame.bytes, true));
            } else {
                let held = self.held.entry((frame.conn, frame.direction)).or_default();
                held.take(frame, &self.secrets, out);
            }
            return;
        };
        let key = (frame.conn, frame.direction);
        let mut waiting = self.partial.remove(&key);
        if let (Some(old), Some(silence)) = (&waiting, info.silence)
            && frame.stamp.earliest().since(old.stamp.latest()) >= silence
        {
            out(&piece(frame, old.stamp, &old.bytes, false));
            waiting = None;
        }
        let joined = waiting.map(|mut partial| {
            partial.bytes.extend_from_slice(frame.bytes);
            partial.bytes
        });
        let mut rest: &[u8] = joined.as_deref().unwrap_or(frame.bytes);
        while !rest.is_empty() {
            match (protocol.message_length)(rest, sender(info, frame.direction)) {
                Some(length) if (1..=rest.len()).contains(&length) => {
                    let (message, after) = rest.split_at(length);
                    out(&piece(frame, frame.stamp, message, true));
                    rest = after;
                }
                Some(1..) | None if rest.len() < LONGEST_MESSAGE => {
                    self.partial.insert(key, Partial { bytes: rest.to_vec(), stamp: frame.stamp });
                    return;
                }
                _ => {
                    out(&piece(frame, frame.stamp, rest, false));
                    return;
                }
            }
        }
    }

    /// Gives everything that still waits, in the order of its arrival.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(&Piece<'_>)) {
        let mut left: Vec<_> = self.partial.drain().collect();
        left.sort_by_key(|((conn, direction), partial)| (partial.stamp.latest(), *conn, *direction == Direction::Out));
        for ((conn, direction), partial) in left {
            out(&Piece { conn, direction, stamp: partial.stamp, bytes: &partial.bytes, whole: false, masked: false });
        }
        for ((conn, direction), mut held) in self.held.drain() {
            held.give(conn, direction, held.bytes.len(), out);
        }
    }
}

impl Held {
    /// Takes a chunk; gives what can be no part of a secret that is still open.
    fn take(&mut self, frame: &Frame<'_>, secrets: &Secrets, out: &mut dyn FnMut(&Piece<'_>)) {
        self.bytes.extend_from_slice(frame.bytes);
        self.chunks.push((self.bytes.len(), frame.stamp));
        if let Cow::Owned(masked) = secrets.octets(&self.bytes) {
            self.bytes = masked;
            self.masked = true;
        }
        let ready = self.bytes.len() - secrets.open_end(&self.bytes);
        self.give(frame.conn, frame.direction, ready, out);
    }

    /// Gives the first bytes, each chunk for itself.
    fn give(&mut self, conn: Conn, direction: Direction, ready: usize, out: &mut dyn FnMut(&Piece<'_>)) {
        let mut start = 0;
        for (end, stamp) in &self.chunks {
            let end = (*end).min(ready);
            if start < end {
                let bytes = &self.bytes[start..end];
                out(&Piece { conn, direction, stamp: *stamp, bytes, whole: true, masked: self.masked });
                start = end;
            }
        }
        self.bytes.drain(..ready);
        self.chunks.retain(|(end, _)| *end > ready);
        self.chunks.iter_mut().for_each(|(end, _)| *end -= ready);
        self.masked = false;
    }
}

fn piece<'a>(frame: &Frame<'_>, stamp: Stamp, bytes: &'a [u8], whole: bool) -> Piece<'a> {
    Piece { conn: frame.conn, direction: frame.direction, stamp, bytes, whole, masked: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::LENGTH_PREFIXED;
    use fieldrig_proto::time::{Duration, Time};

    fn info(silence: Option<Duration>) -> LinkInfo {
        LinkInfo {
            name: "link".to_owned(),
            description: String::new(),
            protocol: Some(&LENGTH_PREFIXED),
            we_are: Sender::Client,
            silence,
        }
    }

    /// Pushes chunks at 0, 1, 2 .. ms and gives `(ms of its stamp, bytes, whole)` for each piece.
    fn pieces(info: &LinkInfo, chunks: &[(u64, &[u8])]) -> Vec<(u64, Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        let mut keep = |piece: &Piece<'_>| {
            found.push((piece.stamp.latest().as_nanos() / 1_000_000, piece.bytes.to_vec(), piece.whole));
        };
        for (ms, bytes) in chunks {
            let stamp = Stamp::exact(Time::from_nanos(ms * 1_000_000));
            let frame = Frame { conn: Conn(1), direction: Direction::In, stamp, bytes };
            splitter.chunk(info, &frame, &mut keep);
        }
        splitter.finish(&mut keep);
        found
    }

    #[test]
    fn messages_are_cut_wherever_the_chunks_were() {
        let found = pieces(&info(None), &[(1, &[2, 7, 7, 1]), (2, &[8, 3, 1]), (3, &[2, 3])]);
        let expected = [(1, vec![2, 7, 7], true), (2, vec![1, 8], true), (3, vec![3, 1, 2, 3], true)];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_never_becomes_a_message_is_kept_at_the_end() {
        assert_eq!(pieces(&info(None), &[(1, &[1, 7, 9, 9])]), [(1, vec![1, 7], true), (1, vec![9, 9], false)]);
    }

    #[test]
    fn a_message_of_no_length_gives_up_the_chunk() {
        assert_eq!(
            pieces(&info(None), &[(1, &[0, 5, 5]), (2, &[1, 1])]),
            [(1, vec![0, 5, 5], false), (2, vec![1, 1], true)]
        );
    }

    #[test]
    fn a_secret_spread_over_chunks_is_masked_and_stamps_stay() {
        let raw = LinkInfo { protocol: None, ..info(None) };
        let mut splitter = Splitter::new(Secrets::new(["hunter22"]));
        let mut found = Vec::new();
        let mut keep = |piece: &Piece<'_>| {
            let text = String::from_utf8_lossy(piece.bytes).into_owned();
            found.push((piece.stamp.latest().as_nanos(), text, piece.masked));
        };
        let chunks = [(1, "pass h"), (2, "unter"), (3, "22 ok"), (4, "say hu"), (5, "sh"), (6, "hunt")];
        for (at, text) in chunks {
            let stamp = Stamp::exact(Time::from_nanos(at));
            let frame = Frame { conn: Conn(1), direction: Direction::In, stamp, bytes: text.as_bytes() };
            splitter.chunk(&raw, &frame, &mut keep);
        }
        splitter.finish(&mut keep);
        let found: Vec<_> = found.iter().map(|(at, text, masked)| (*at, text.as_str(), *masked)).collect();
        let masked = [(1, "pass ", false), (1, "*", true), (2, "*****", true), (3, "** ok", true)];
        let rest = [(4, "say ", false), (4, "hu", false), (5, "s", false), (5, "h", false), (6, "hunt", false)];
        assert_eq!(found, [&masked[..], &rest[..]].concat());
    }

    #[test]
    fn silence_on_a_wire_ends_a_torn_message() {
        let wire = info(Some(Duration::from_millis(4)));
        assert_eq!(pieces(&wire, &[(1, &[9, 9]), (20, &[1, 1])]), [(1, vec![9, 9], false), (20, vec![1, 1], true)]);
        assert_eq!(pieces(&wire, &[(1, &[2, 9]), (3, &[9])]), [(3, vec![2, 9, 9], true)]);
    }
}
