//! Reading a trace back, and `trace.jsonl`: one line per message, for people and programs that do not read pcapng.

use super::pcapng::{self, Block, Interface, Packet};
use super::{MASKED, instant, upper_pdu};
use crate::json;
use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::time::{Stamp, Time};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// One message of a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When its last byte went or came.
    pub stamp: Stamp,
    /// Name of the link.
    pub link: String,
    /// Connection on that link.
    pub conn: Conn,
    /// Which way it went.
    pub direction: Direction,
    /// Who sent it.
    pub sender: Sender,
    /// Name of the protocol, empty for bytes of no known protocol.
    pub protocol: String,
    /// What is remarkable about it: it is no whole message.
    pub comment: Option<String>,
    /// The message.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// Where in time it stands: when it was issued, or when it had come.
    #[must_use]
    pub fn at(&self) -> Time {
        instant(self.direction, self.stamp)
    }
}

/// Reads all messages of a `trace.pcapng`, ordered by time. A torn last block (a crash while it was written) ends the
/// trace; it is no error.
///
/// # Errors
/// The file cannot be read, or is no trace of fieldrig.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    Follower::open(path)?.read()
}

/// Reads a trace while it is written: each [`Follower::read`] gives what is new.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: File,
    /// What was read and is no whole block yet.
    rest: Vec<u8>,
    begun: bool,
    interfaces: Vec<Interface>,
}

impl Follower {
    /// Begins at the beginning.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Follower> {
        let (rest, interfaces) = Default::default();
        Ok(Follower { path: path.to_owned(), file: File::open(path)?, rest, begun: false, interfaces })
    }

    /// The messages that were written since the last call, ordered by time.
    ///
    /// # Errors
    /// The file cannot be read, or is no trace of fieldrig.
    pub fn read(&mut self) -> io::Result<Vec<Entry>> {
        self.file.read_to_end(&mut self.rest)?;
        let mut entries = self.entries().map_err(|problem| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}", self.path.display()))
        })?;
        entries.sort_by_key(Entry::at);
        Ok(entries)
    }

    fn entries(&mut self) -> Result<Vec<Entry>, &'static str> {
        let (mut bytes, mut entries) = (self.rest.as_slice(), Vec::new());
        if !self.begun && !bytes.is_empty() {
            if !matches!(pcapng::read_block(bytes), Some((Block::Section, _))) {
                return Err("not a trace: no pcapng section header at offset 0");
            }
            self.begun = true;
        }
        while let Some((block, length)) = pcapng::read_block(bytes) {
            bytes = &bytes[length..];
            match block {
                Block::Interface(interface) => self.interfaces.push(interface),
                Block::Packet(packet) => {
                    let interface = self.interfaces.get(packet.interface as usize);
                    let interface = interface.ok_or("a packet of an unknown interface")?;
                    entries.push(entry(interface, &packet).ok_or("a packet that fieldrig did not write")?);
                }
                Block::Section | Block::Other => {}
            }
        }
        let read = self.rest.len() - bytes.len();
        self.rest.drain(..read);
        Ok(entries)
    }
}

fn entry(interface: &Interface, packet: &Packet<'_>) -> Option<Entry> {
    let (_, sender, bytes) = upper_pdu::read(packet.data)?;
    Some(Entry {
        stamp: packet.stamp,
        link: interface.name.clone(),
        conn: packet.conn,
        direction: packet.direction,
        sender,
        protocol: interface.protocol.clone(),
        comment: packet.comment.map(str::to_owned),
        bytes: bytes.to_vec(),
    })
}

/// Writes `trace.jsonl` from a `trace.pcapng` and says how many messages it holds. Each line has `t` (seconds on
/// the clock of the run: when what went out was issued, when what came in had come), `uncertainty` (so much later it may
/// have gone, so much earlier come), `link`, `conn`, `direction` (`in` or `out`), `protocol`, `summary` and `hex`.
/// Messages of protocols that are not in the list have no summary.
///
/// # Errors
/// Those of [`read`], and the new file cannot be written.
pub fn export(from: &Path, to: &Path, protocols: &[&'static Protocol]) -> io::Result<u64> {
    let entries = read(from)?;
    let mut file = BufWriter::new(File::create(to)?);
    let mut lines = Lines::default();
    for entry in &entries {
        writeln!(file, "{}", lines.line(entry, protocols))?;
    }
    file.flush()?;
    Ok(entries.len() as u64)
}

/// Makes the lines of `trace.jsonl`, message by message in their order. Remembers which connection speaks another
/// protocol than its link was declared to speak: a broker for MQTT 5 takes clients of MQTT 3.1.1, too.
#[derive(Default, Debug)]
pub struct Lines {
    spoken: HashMap<(String, Conn), &'static str>,
}

impl Lines {
    /// A message as a line, without a line feed.
    #[must_use]
    pub fn line(&mut self, entry: &Entry, protocols: &[&'static Protocol]) -> String {
        let summary = match &entry.comment {
            // Of a protocol that is described elsewhere the comment says what its name would say here.
            Some(comment) if comment != MASKED => {
                let name = comment.strip_prefix(&*entry.protocol).and_then(|rest| rest.strip_prefix(": "));
                name.unwrap_or(comment).to_owned()
            }
            _ => self.summary(entry, protocols),
        };
        line(entry, self.name(entry), &summary)
    }

    fn name<'a>(&self, entry: &'a Entry) -> &'a str {
        self.spoken.get(&(entry.link.clone(), entry.conn)).copied().unwrap_or(&entry.protocol)
    }

    fn summary(&mut self, entry: &Entry, protocols: &[&'static Protocol]) -> String {
        let name = self.name(entry);
        let Some(protocol) = protocols.iter().find(|protocol| protocol.name == name) else {
            return String::new();
        };
        let dissection = (protocol.dissect)(&entry.bytes, entry.sender);
        if let Some(speaks) = dissection.speaks {
            self.spoken.insert((entry.link.clone(), entry.conn), speaks);
        }
        dissection.summary
    }
}

fn line(entry: &Entry, protocol: &str, summary: &str) -> String {
    let direction = if entry.direction == Direction::In { "in" } else { "out" };
    let protocol = if protocol.is_empty() { "data" } else { protocol };
    let mut line = format!("{{\"t\":{},\"uncertainty\":", entry.at());
    let _ = write!(line, "{}", json::seconds(entry.stamp.uncertainty()));
    let _ = write!(line, ",\"link\":{},\"conn\":{}", json::text(&entry.link), entry.conn.0);
    let _ = write!(line, ",\"direction\":\"{direction}\",\"protocol\":{}", json::text(protocol));
    let _ = write!(line, ",\"summary\":{},\"hex\":\"{}\"}}", json::text(summary), json::hex(&entry.bytes));
    line
}
