//! The writer thread: empties the rings, orders what it finds by time, and hands pcapng blocks to its sink.
//!
//! While there is traffic it works ten times a second; while there is none it sleeps until the first frame wakes it. So
//! a request and its answer cost no thread switch. Links are emptied one after the other, so what is younger than
//! `HOLD_BACK` before the newest message waits for the next round: the file is in the order of time.

use super::pcapng::{self, Interface, Packet};
use super::split::{Piece, Splitter, sender};
use super::{LinkInfo, MASKED, Shared, instant, ring, upper_pdu};
use crate::secrets::Secrets;
use fieldrig_proto::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

const ROUND: Duration = Duration::from_millis(100);
const HOLD_BACK: u64 = 50_000_000;

/// How the writer is told what to do, and tells what became of it.
#[derive(Default)]
pub(super) struct Control {
    orders: Mutex<Orders>,
    to_writer: Condvar,
    from_writer: Condvar,
    asleep: AtomicBool,
}

#[derive(Default)]
struct Orders {
    awake: bool,
    hurry: bool,
    stop: bool,
    stopped: bool,
    flushes_wanted: u64,
    flushes_done: u64,
    failure: Option<(io::ErrorKind, String)>,
}

impl Control {
    /// For a capture without a writer.
    pub(super) fn without_writer() -> Control {
        let orders = Orders { stop: true, stopped: true, ..Orders::default() };
        Control { orders: Mutex::new(orders), ..Control::default() }
    }

    /// The first frame is in a ring.
    pub(super) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.order(|orders| orders.awake = true);
        }
    }

    /// A ring is full.
    pub(super) fn hurry(&self) {
        self.order(|orders| orders.hurry = true);
    }

    pub(super) fn stop(&self) {
        self.order(|orders| orders.stop = true);
    }

    /// Nothing is taken any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().stop
    }

    /// Waits until the writer has written what was in the rings when this was called.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut orders = self.lock();
        orders.flushes_wanted += 1;
        let mine = orders.flushes_wanted;
        self.to_writer.notify_one();
        while orders.flushes_done < mine && !orders.stopped {
            orders = self.from_writer.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        orders.outcome()
    }

    /// How writing went so far.
    pub(super) fn outcome(&self) -> io::Result<()> {
        self.lock().outcome()
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.lock());
        self.to_writer.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    fn outcome(&self) -> io::Result<()> {
        self.failure.as_ref().map_or(Ok(()), |(kind, text)| Err(io::Error::new(*kind, text.clone())))
    }

    fn is_urgent(&self) -> bool {
        self.hurry || self.stop || self.flushes_wanted > self.flushes_done
    }
}

/// What one round has to do.
struct Round {
    flush: u64,
    stop: bool,
}

/// A message that waits to be written: its block lies in [`Writer::blocks`].
struct Message {
    at: u64,
    block: Range<usize>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    offset: i64,
    secrets: Secrets,
    links: Vec<(Arc<LinkInfo>, Splitter)>,
    buffer: Vec<u8>,
    blocks: Vec<u8>,
    messages: Vec<Message>,
}

impl Writer {
    /// `offset` is the wall clock, in whole seconds, at the origin of the clock of the run.
    pub(super) fn new(shared: Arc<Shared>, sink: Sink, offset: i64, secrets: Secrets) -> Writer {
        let (buffer, blocks, messages) = Default::default();
        Writer { shared, sink, offset, secrets, links: Vec::new(), buffer, blocks, messages }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let mut section = Vec::new();
        pcapng::write_section(&mut section, "times are those of the run; if_tsoffset gives the wall clock");
        // Flushed at once: a file that is only begun is whole, too.
        let begun = self.sink.head(&section).and_then(|()| self.sink.end_of_round());
        self.report(begun, 0);
        let mut idle = true;
        loop {
            let round = self.wait(idle);
            if round.stop {
                self.shared.links().iter().for_each(|link| link.ring.close());
            }
            let found = self.drain();
            if round.stop {
                self.finish_links();
            }
            self.write(!found || round.stop || round.flush > 0);
            if round.flush > 0 || round.stop {
                let flushed = self.sink.flush();
                self.report(flushed, 0);
            }
            self.flushed(round.flush);
            if round.stop {
                return;
            }
            idle = !found;
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self, idle: bool) -> Round {
        let control = &self.shared.control;
        if idle {
            control.asleep.store(true, Ordering::SeqCst);
            // A frame that came before this line is seen here; one that comes after it wakes us.
            if self.shared.links().iter().any(|link| !link.ring.is_empty()) {
                control.asleep.store(false, Ordering::SeqCst);
            }
        }
        let mut orders = control.lock();
        while control.asleep.load(Ordering::SeqCst) && !orders.awake && !orders.is_urgent() {
            orders = control.to_writer.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        control.asleep.store(false, Ordering::SeqCst);
        let (mut orders, _) = control
            .to_writer
            .wait_timeout_while(orders, ROUND, |orders| !orders.is_urgent())
            .unwrap_or_else(PoisonError::into_inner);
        orders.awake = false;
        orders.hurry = false;
        let flush = if orders.flushes_wanted > orders.flushes_done { orders.flushes_wanted } else { 0 };
        Round { flush, stop: orders.stop }
    }

    fn flushed(&self, flush: u64) {
        if flush > 0 {
            self.shared.control.lock().flushes_done = flush;
            self.shared.control.from_writer.notify_all();
        }
    }

    /// Empties all rings; says whether anything was in them.
    fn drain(&mut self) -> bool {
        let mut found = false;
        for (index, link) in self.shared.links().iter().enumerate() {
            if index == self.links.len() {
                self.add(&link.info);
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            link.ring.drain(&mut buffer);
            found |= !buffer.is_empty();
            let (info, splitter) = &mut self.links[index];
            let mut keep = keeper(index as u32, info, &self.secrets, &mut self.blocks, &mut self.messages);
            ring::frames(&buffer).for_each(|frame| splitter.chunk(info, &frame, &mut keep));
            buffer.clear();
            self.buffer = buffer;
        }
        // After the rings: a key is known before the frames that it reads are in them.
        let keys = std::mem::take(&mut *self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner));
        if !keys.is_empty() {
            let mut block = Vec::new();
            pcapng::write_session_keys(&mut block, &keys);
            let written = self.sink.head(&block);
            self.report(written, 0);
        }
        found
    }

    fn add(&mut self, info: &Arc<LinkInfo>) {
        let mut block = Vec::new();
        let interface = Interface {
            name: info.name.clone(),
            description: info.description.clone(),
            protocol: info.protocol.map(|protocol| protocol.name.to_owned()).unwrap_or_default(),
            offset: self.offset,
        };
        pcapng::write_interface(&mut block, &interface);
        let written = self.sink.head(&block);
        self.report(written, 0);
        self.links.push((Arc::clone(info), Splitter::new(self.secrets.clone())));
    }

    fn finish_links(&mut self) {
        for (index, (info, splitter)) in self.links.iter_mut().enumerate() {
            splitter.finish(&mut keeper(index as u32, info, &self.secrets, &mut self.blocks, &mut self.messages));
        }
    }

    /// Hands messages to the sink in the order of time: all of them, or those that nothing older can still follow.
    fn write(&mut self, everything: bool) {
        self.messages.sort_by_key(|message| message.at);
        let newest = self.messages.last().map_or(0, |message| message.at);
        let ready = if everything {
            self.messages.len()
        } else {
            self.messages.partition_point(|message| message.at <= newest.saturating_sub(HOLD_BACK))
        };
        let held = self.messages.split_off(ready);
        let blocks = std::mem::take(&mut self.blocks);
        let count = self.messages.len() as u64;
        let written = self.messages.drain(..).try_for_each(|message| self.sink.block(&blocks[message.block]));
        let written = written.and_then(|()| self.sink.end_of_round());
        self.report(written, count);
        self.messages = held;
        for message in &mut self.messages {
            let start = self.blocks.len();
            self.blocks.extend_from_slice(&blocks[message.block.clone()]);
            message.block = start..self.blocks.len();
        }
    }

    /// Remembers the first failure; counts the messages of a round that failed.
    fn report(&self, outcome: io::Result<()>, messages: u64) {
        let Err(error) = outcome else { return };
        self.shared.lost.fetch_add(messages, Ordering::Relaxed);
        let mut orders = self.shared.control.lock();
        orders.failure.get_or_insert_with(|| (error.kind(), format!("the trace could not be written: {error}")));
    }
}

/// Makes a block of each piece of a link.
fn keeper<'a>(
    index: u32,
    info: &'a LinkInfo,
    secrets: &'a Secrets,
    blocks: &'a mut Vec<u8>,
    messages: &'a mut Vec<Message>,
) -> impl FnMut(&Piece<'_>) + 'a {
    // The header is the same for all messages that go the same way: it is made again only when that changes.
    let mut header = Vec::new();
    let mut header_is_for = None;
    move |piece| {
        let (conn, direction) = (piece.conn, piece.direction);
        let way = Some((conn, direction, piece.whole));
        if header_is_for != way {
            let tag = info.protocol.filter(|_| piece.whole).map_or(upper_pdu::DATA, |protocol| protocol.capture_tag);
            let sender = sender(info, direction);
            header.clear();
            upper_pdu::write(&mut header, &upper_pdu::Place { tag, link: index, conn, direction, sender });
            header_is_for = way;
        }
        let data = secrets.octets(piece.bytes);
        let masked = (piece.masked || matches!(data, Cow::Owned(_))).then_some(MASKED);
        // What no dissector of Wireshark knows is told in words.
        let ours = info.protocol.filter(|protocol| piece.whole && protocol.capture_tag == upper_pdu::DATA);
        let summary = ours.filter(|_| masked.is_none()).map(|protocol| {
            let dissection = (protocol.dissect)(&data, sender(info, direction));
            format!("{}: {}", protocol.name, dissection.summary)
        });
        let comment = if piece.whole { masked.or(summary.as_deref()) } else { Some(NOT_WHOLE) };
        let packet = Packet { interface: index, conn, direction, stamp: piece.stamp, comment, data: &data };
        let start = blocks.len();
        pcapng::write_packet(blocks, &packet, &header);
        messages.push(Message { at: instant(direction, piece.stamp).as_nanos(), block: start..blocks.len() });
    }
}

/// The comment on bytes that form no whole message.
pub(super) const NOT_WHOLE: &str = "no whole message";

impl Drop for Writer {
    /// Whatever happened: nobody waits for a writer that is gone.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report(Err(io::Error::other("its writer panicked")), 0);
        }
        let mut orders = self.shared.control.lock();
        orders.stop = true;
        orders.stopped = true;
        drop(orders);
        self.shared.links().iter().for_each(|link| link.ring.close());
        self.shared.control.from_writer.notify_all();
    }
}

/// Where blocks go.
pub(super) enum Sink {
    /// Into the file as they come.
    File(BufWriter<File>),
    /// The last ones are kept, and written when asked.
    Last {
        /// Section and interfaces.
        head: Vec<u8>,
        blocks: VecDeque<Box<[u8]>>,
        used: usize,
        limit: usize,
        path: PathBuf,
    },
}

impl Sink {
    pub(super) fn file(file: File) -> Sink {
        Sink::File(BufWriter::with_capacity(1 << 16, file))
    }

    pub(super) fn keep_last(limit: usize, path: PathBuf) -> Sink {
        Sink::Last { head: Vec::new(), blocks: VecDeque::new(), used: 0, limit, path }
    }

    fn head(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(bytes),
            Sink::Last { head, .. } => {
                head.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(bytes),
            Sink::Last { blocks, used, limit, .. } => {
                *used += bytes.len();
                blocks.push_back(bytes.into());
                while *used > *limit {
                    let Some(oldest) = blocks.pop_front() else { break };
                    *used -= oldest.len();
                }
                Ok(())
            }
        }
    }

    /// What a crash must not take is handed to the system.
    fn end_of_round(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.flush(),
            Sink::Last { .. } => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.flush(),
            Sink::Last { head, blocks, path, .. } => {
                let mut file = BufWriter::new(File::create(path)?);
                file.write_all(head)?;
                blocks.iter().try_for_each(|block| file.write_all(block))?;
                file.flush()
            }
        }
    }
}
