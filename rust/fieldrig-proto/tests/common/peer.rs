//! The scripted peer: says what the script says and checks what comes, like a sequence chart.

use super::{Link, Node, Path, World, secs};
use fieldrig_proto::dissect::hex;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// How long an `expect` waits on the virtual clock.
const PATIENCE: Duration = secs(60);

/// A peer that follows a script. It speaks on the connection that was opened last.
pub struct Peer {
    /// The peer as a node of the world, to join it to others.
    pub node: Node<Script>,
    world: World,
}

/// The endpoint behind a [`Peer`].
#[derive(Default)]
pub struct Script {
    conn: Option<Conn>,
    opened: usize,
    received: Vec<u8>,
    stamps: Vec<Stamp>,
    read: usize,
    closed: VecDeque<Why>,
    lines: VecDeque<LineEvent>,
    actions: VecDeque<(Action, Vec<u8>)>,
}

impl Peer {
    pub(super) fn new(world: &World, name: &str) -> Peer {
        Peer { node: world.add(name, Script::default()), world: world.clone() }
    }

    /// Opens a connection without delay to a node, which sees it under `via`.
    pub fn connect<E>(&self, node: &Node<E>, via: &str) -> Link {
        self.join(node, via, &Path::stream())
    }

    /// Opens a connection or attaches a wire to a node, which sees it under `via`.
    #[track_caller]
    pub fn join<E>(&self, node: &Node<E>, via: &str, path: &Path) -> Link {
        let before = self.node.with(|script, _| script.opened);
        let link = self.world.join(&self.node, "peer", node, via, path);
        self.node.wait(PATIENCE, |script, _| (script.opened > before).then_some(()));
        link
    }

    /// Accepts connections at this URL.
    pub fn listen(&self, url: &str) {
        self.world.listen(url, &self.node, "peer", &Path::stream());
    }

    /// Waits until somebody has connected.
    #[track_caller]
    pub fn expect_opened(&self) {
        self.node.wait(PATIENCE, |script, _| script.conn.map(|_| ()));
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.send_timed(bytes, None, None);
    }

    /// Sends bytes not before an instant, or after so much silence.
    #[track_caller]
    pub fn send_timed(&self, bytes: impl AsRef<[u8]>, not_before: Option<Time>, gap_before: Option<Duration>) {
        let bytes = bytes.as_ref().to_vec();
        self.act(|conn| Action::Send { conn, range: 0..bytes.len(), not_before, gap_before }, bytes.clone());
    }

    /// Closes its connection.
    #[track_caller]
    pub fn close(&self, how: How) {
        self.act(|conn| Action::Close(conn, how), Vec::new());
    }

    /// Does something to its line.
    #[track_caller]
    pub fn set_line(&self, command: LineCommand) {
        self.act(|conn| Action::SetLine(conn, command), Vec::new());
    }

    #[track_caller]
    fn act(&self, action: impl FnOnce(Conn) -> Action, bytes: Vec<u8>) {
        let conn = self.node.with(|script, _| script.conn).expect("the peer has a connection");
        self.node.with(|script, _| script.actions.push_back((action(conn), bytes)));
        self.world.settle();
    }

    /// Waits for exactly these bytes next; gives the arrival of the last one.
    #[track_caller]
    pub fn expect(&self, bytes: impl AsRef<[u8]>) -> Stamp {
        let expected = bytes.as_ref();
        let seen = self.node.try_wait(PATIENCE, |script, _| {
            let fresh = &script.received[script.read..];
            let common = fresh.len().min(expected.len());
            (fresh[..common] != expected[..common] || common == expected.len()).then_some(())
        });
        let (fresh, stamp) = self.node.with(|script, _| {
            let from = script.read;
            let to = script.received.len().min(from + expected.len());
            let fresh = script.received[from..to].to_vec();
            script.read = to;
            (fresh, to.checked_sub(1).and_then(|last| script.stamps.get(last)).copied().unwrap_or_default())
        });
        if seen.is_none() || fresh != expected {
            let both = format!("expected {}\n     got {}", hex(expected), hex(&fresh));
            panic!("the peer\n{both}\non the links:\n{}", self.world.journal());
        }
        stamp
    }

    /// Waits for so many bytes, whatever they are.
    #[track_caller]
    pub fn receive(&self, count: usize) -> Vec<u8> {
        self.node.wait(PATIENCE, |script, _| {
            let bytes = script.received.get(script.read..script.read + count)?.to_vec();
            script.read += count;
            Some(bytes)
        })
    }

    /// Takes all bytes that have come and were not expected yet.
    pub fn take(&self) -> Vec<u8> {
        self.world.settle();
        self.node.with(|script, _| {
            let bytes = script.received[script.read..].to_vec();
            script.read = script.received.len();
            bytes
        })
    }

    /// When each byte so far arrived, taken ones included.
    pub fn stamps(&self) -> Vec<Stamp> {
        self.node.with(|script, _| script.stamps.clone())
    }

    /// Nothing comes for so long: no bytes and no end of the connection.
    #[track_caller]
    pub fn expect_silence(&self, duration: Duration) {
        self.world.run_for(duration);
        let fresh = self.take();
        assert!(fresh.is_empty(), "the peer got {}; on the links:\n{}", hex(&fresh), self.world.journal());
        let closed = self.node.with(|script, _| script.closed.front().cloned());
        assert_eq!(closed, None, "the connection ended; on the links:\n{}", self.world.journal());
    }

    /// Waits for the end of a connection, which must come for this reason.
    #[track_caller]
    pub fn expect_closed(&self, why: &Why) {
        let seen = self.node.wait(PATIENCE, |script, _| script.closed.pop_front());
        assert_eq!(&seen, why, "on the links:\n{}", self.world.journal());
    }

    /// Waits for something on the line besides bytes.
    #[track_caller]
    pub fn expect_line(&self, event: &LineEvent) {
        let seen = self.node.wait(PATIENCE, |script, _| script.lines.pop_front());
        assert_eq!(&seen, event, "on the links:\n{}", self.world.journal());
    }
}

impl Endpoint for Script {
    type Event = Record;

    fn handle(&mut self, _now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) => {
                self.conn = Some(conn);
                self.opened += 1;
            }
            Input::Bytes(_, bytes, stamps) => {
                self.stamps.extend((0..bytes.len()).map(|index| stamps.at(index, bytes.len())));
                self.received.extend_from_slice(bytes);
            }
            Input::Line(_, event, _) => self.lines.push_back(event),
            // The end that the script itself asked for is no news.
            Input::Closed(_, Why::Local) => {}
            Input::Closed(_, why) => self.closed.push_back(why),
            Input::Datagram(..) | Input::Writable(_) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (mut action, bytes) = self.actions.pop_front()?;
        if let Action::Send { range, .. } = &mut action {
            *range = out.len()..out.len() + bytes.len();
            out.extend(bytes);
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<Record> {
        None
    }
}
