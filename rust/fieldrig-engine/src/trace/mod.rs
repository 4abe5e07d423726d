//! Capture: every byte that crosses a port, written once, as a pcapng file that Wireshark dissects without options.
//!
//! ```text
//!  step() of any thread --frame()--> one bounded ring per link --+
//!  step() of any thread --frame()--> one bounded ring per link --+--> writer thread: splits chunks into messages,
//!                                                                     orders them by time, writes pcapng blocks
//! ```
//!
//! Rules of this folder:
//! - [`Capture::frame`] copies the bytes into the ring of its link and returns; it never touches a file.
//! - Nothing is dropped silently: a full ring blocks the sender and counts the wait ([`Counts::waits`]); what could not
//!   be written (a full disk) is counted ([`Counts::lost`]) and makes [`Capture::flush`] and [`Capture::stop`] fail.
//! - Time stamps in the file are those of the run (nanoseconds since the origin of its clock); the wall clock stands once
//!   per link, as `if_tsoffset`. The stamp of a message is the stamp of the chunk that completed it.
//! - A message stands in the file at one instant ([`instant`]): what went out when it was issued, what came in when it had
//!   come. So no answer stands before what it answers: the other side may have answered before our write returned.
//! - Secrets never reach a file: the writer masks them in whole messages ([`crate::secrets`]).
//! - The writer knows no protocol: it cuts messages with [`Protocol::message_length`] and names them with
//!   [`Protocol::capture_tag`]. Bytes that never became a whole message are written too, as data, with a comment.
//!
//! ```
//! use fieldrig_engine::trace::{Capture, Level};
//! use fieldrig_proto::dissect::{Direction, Sender};
//! use fieldrig_proto::endpoint::Conn;
//! use fieldrig_proto::time::{Stamp, Time};
//!
//! let capture = Capture::start(None, Level::Counts)?;
//! let link = capture.link("console", None, Sender::Client, "115200 8N1");
//! capture.frame(link, Conn(0), Direction::In, Stamp::exact(Time::ZERO), b"boot ok\r\n");
//! assert_eq!(capture.counts().bytes_in, 9);
//! # Ok::<(), std::io::Error>(())
//! ```

mod export;
mod pcapng;
mod ring;
mod split;
mod upper_pdu;
mod writer;

pub use export::{Entry, Follower, Lines, export, read};

use crate::clock::Clock;
use crate::secrets::Secrets;
use fieldrig_proto::dissect::{Direction, Sender};
use fieldrig_proto::endpoint::Conn;
use fieldrig_proto::protocol::Protocol;
use fieldrig_proto::time::{Duration, Stamp, Time};
use ring::Ring;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use writer::{Control, Sink, Writer};

/// How much of the traffic is kept.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Every frame, written to the file as it comes.
    #[default]
    Full,
    /// The last so many bytes of pcapng blocks, written to the file by [`Capture::flush`] and [`Capture::stop`].
    Ring {
        /// How many bytes are kept.
        bytes: usize,
    },
    /// Only numbers: no file and no thread.
    Counts,
}

/// The comment on a message in which a secret is masked.
pub const MASKED: &str = "a secret is masked";

/// Where in time a message stands in the file. Of two of which one caused the other, the cause stands first.
fn instant(direction: Direction, stamp: Stamp) -> Time {
    if direction == Direction::Out { stamp.earliest() } else { stamp.latest() }
}

/// A link within a capture.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkId(u32);

/// What went through a capture so far.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Chunks received.
    pub frames_in: u64,
    /// Chunks sent.
    pub frames_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// How often a sender had to wait because a ring was full.
    pub waits: u64,
    /// Frames that are in no file although the level is not [`Level::Counts`]: they came after [`Capture::stop`], or the
    /// file could not be written.
    pub lost: u64,
}

/// How much one link may have waiting for the writer before its sender blocks.
const RING_BYTES: usize = 4 << 20;

/// What is fixed about a link.
pub(crate) struct LinkInfo {
    name: String,
    description: String,
    protocol: Option<&'static Protocol>,
    we_are: Sender,
    /// On a wire: bytes that form no whole message are given up after this much silence.
    silence: Option<Duration>,
}

struct Link {
    info: Arc<LinkInfo>,
    ring: Ring,
    totals: [Total; 2],
}

#[derive(Default)]
struct Total {
    frames: AtomicU64,
    bytes: AtomicU64,
}

struct Shared {
    links: RwLock<Vec<Arc<Link>>>,
    /// Keys of TLS sessions that are not in the file yet, in the NSS key log format.
    keys: Mutex<String>,
    control: Control,
    lost: AtomicU64,
}

impl Shared {
    fn links(&self) -> Vec<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Owner {
    shared: Arc<Shared>,
    level: Level,
    path: Option<PathBuf>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The capture of one run. Clones are the same capture; when the last is dropped it stops.
#[derive(Clone)]
pub struct Capture {
    owner: Arc<Owner>,
}

impl Capture {
    /// Starts a capture into `trace.pcapng` in the folder (`trace-2.pcapng` and so on where the name is taken). Without
    /// a folder it only counts, whatever the level.
    ///
    /// # Errors
    /// The file cannot be made, or the writer thread cannot be started.
    pub fn start(folder: Option<&Path>, level: Level) -> io::Result<Capture> {
        Capture::start_masked(folder, level, Secrets::default())
    }

    /// [`Capture::start`] of a capture in which secrets are masked: as many `*` stand for their bytes. A message that
    /// was changed has the comment [`MASKED`]: its check sum may be wrong now.
    ///
    /// # Errors
    /// Those of [`Capture::start`].
    pub fn start_masked(folder: Option<&Path>, level: Level, secrets: Secrets) -> io::Result<Capture> {
        let shared = |control| {
            Arc::new(Shared { links: RwLock::default(), keys: Mutex::default(), control, lost: AtomicU64::new(0) })
        };
        let Some(folder) = folder.filter(|_| level != Level::Counts) else {
            let shared = shared(Control::without_writer());
            let owner = Owner { shared, level: Level::Counts, path: None, thread: Mutex::new(None) };
            return Ok(Capture { owner: Arc::new(owner) });
        };
        let (file, path) = new_file(folder, "trace", "pcapng")?;
        let sink = match level {
            Level::Ring { bytes } => Sink::keep_last(bytes, path.clone()),
            _ => Sink::file(file),
        };
        let shared = shared(Control::default());
        let writer = Writer::new(Arc::clone(&shared), sink, wall_clock_offset(), secrets);
        let thread = std::thread::Builder::new().name("fieldrig-trace".to_owned()).spawn(move || writer.run())?;
        let owner = Owner { shared, level, path: Some(path), thread: Mutex::new(Some(thread)) };
        Ok(Capture { owner: Arc::new(owner) })
    }

    /// Adds a link: one interface of the file. `we_are` says who fieldrig is on it; `description` is for people.
    pub fn link(
        &self,
        name: &str,
        protocol: Option<&'static Protocol>,
        we_are: Sender,
        description: impl Into<String>,
    ) -> LinkId {
        self.add(LinkInfo { name: name.to_owned(), description: description.into(), protocol, we_are, silence: None })
    }

    /// Adds a link that is a wire: bytes that form no whole message are written as they are once the wire was silent for
    /// `silence`, so that one disturbed frame does not spoil how the next ones are cut.
    pub fn wire(
        &self,
        name: &str,
        protocol: Option<&'static Protocol>,
        we_are: Sender,
        description: impl Into<String>,
        silence: Duration,
    ) -> LinkId {
        let description = description.into();
        self.add(LinkInfo { name: name.to_owned(), description, protocol, we_are, silence: Some(silence) })
    }

    fn add(&self, info: LinkInfo) -> LinkId {
        let link = Link { info: Arc::new(info), ring: Ring::new(RING_BYTES), totals: Default::default() };
        let link = Arc::new(link);
        let mut links = self.owner.shared.links.write().unwrap_or_else(PoisonError::into_inner);
        links.push(Arc::clone(&link));
        if self.owner.shared.control.is_over() {
            link.ring.close();
        }
        LinkId(u32::try_from(links.len() - 1).unwrap_or(u32::MAX))
    }

    /// Takes one chunk that was received or sent. Blocks only while the ring of the link is full.
    pub fn frame(&self, link: LinkId, conn: Conn, direction: Direction, stamp: Stamp, bytes: &[u8]) {
        let shared = &self.owner.shared;
        let links = shared.links.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = links.get(link.0 as usize) else { return };
        let total = &entry.totals[usize::from(direction == Direction::Out)];
        total.frames.fetch_add(1, Ordering::Relaxed);
        total.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.owner.level == Level::Counts {
            return;
        }
        let frame = ring::Frame { conn, direction, stamp, bytes };
        let pushed = if entry.ring.fits(bytes.len()) {
            entry.ring.push(&frame, || shared.control.hurry())
        } else {
            // About to block: others must be able to add links meanwhile.
            let entry = Arc::clone(entry);
            drop(links);
            entry.ring.push(&frame, || shared.control.hurry())
        };
        match pushed {
            ring::Pushed::First => shared.control.wake(),
            ring::Pushed::More => {}
            ring::Pushed::Closed => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes a key of a TLS session: it stands in the file before every frame that comes after this call, so that
    /// whoever has the file can read them.
    pub(crate) fn session_key(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        self.owner.shared.keys.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
    }

    /// What went through so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let links = self.owner.shared.links();
        let lost = self.owner.shared.lost.load(Ordering::Relaxed);
        links.iter().fold(Counts { lost, ..Counts::default() }, |sum, link| sum.plus(link))
    }

    /// What went through one link so far; `waits` is that of the link, `lost` is not counted by link.
    #[must_use]
    pub fn counts_of(&self, link: LinkId) -> Counts {
        self.owner.shared.links().get(link.0 as usize).map_or_else(Counts::default, |link| Counts::default().plus(link))
    }

    /// The level in force.
    #[must_use]
    pub fn level(&self) -> Level {
        self.owner.level
    }

    /// The file, if one is written.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.owner.path.as_deref()
    }

    /// Waits until everything captured so far is in the file.
    ///
    /// # Errors
    /// The file could not be written; [`Counts::lost`] says how many messages are missing.
    pub fn flush(&self) -> io::Result<()> {
        self.owner.shared.control.flush()
    }

    /// Writes what is left, closes the file and ends the writer thread. Frames that come later are counted as lost.
    /// Calling it again does nothing.
    ///
    /// # Errors
    /// The file could not be written; [`Counts::lost`] says how many messages are missing.
    pub fn stop(&self) -> io::Result<()> {
        self.owner.stop()
    }
}

impl Counts {
    fn plus(mut self, link: &Link) -> Counts {
        let [received, sent] = &link.totals;
        self.frames_in += received.frames.load(Ordering::Relaxed);
        self.bytes_in += received.bytes.load(Ordering::Relaxed);
        self.frames_out += sent.frames.load(Ordering::Relaxed);
        self.bytes_out += sent.bytes.load(Ordering::Relaxed);
        self.waits += link.ring.waits();
        self
    }
}

impl Owner {
    fn stop(&self) -> io::Result<()> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.shared.control.stop();
            if thread.join().is_err() {
                return Err(io::Error::other("the trace writer panicked"));
            }
        }
        self.shared.control.outcome()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever wants to know calls `stop`.
        let _ = self.stop();
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("level", &self.level()).field("path", &self.path()).finish_non_exhaustive()
    }
}

/// The wall clock, in whole seconds, at the origin of the clock of the run.
fn wall_clock_offset() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_origin = Clock::Real.now().since(Time::ZERO);
    i64::try_from(since_epoch.saturating_sub(since_origin).as_secs()).unwrap_or_default()
}

/// Makes `folder/stem.extension`, or `stem-2`, `stem-3` where the name is taken; makes the folder too.
pub(crate) fn new_file(folder: &Path, stem: &str, extension: &str) -> io::Result<(File, PathBuf)> {
    std::fs::create_dir_all(folder)?;
    let mut number = 1;
    loop {
        let name = if number == 1 { format!("{stem}.{extension}") } else { format!("{stem}-{number}.{extension}") };
        let path = folder.join(name);
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            result => return result.map(|file| (file, path)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
