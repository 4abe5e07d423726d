//! UDP: one connected socket for who asks, one socket for all who ask us.
//!
//! Rules of this file:
//! - A read gives one datagram, whole, with the kernel's stamp; a write sends one.
//! - Who sends to a listener for the first time becomes a connection of its own; a connection that was closed begins anew
//!   with the next datagram from there.
//! - So many others may be known at a time; who was silent longest is forgotten first. A datagram for which there is no
//!   room is lost, as datagrams may be.

use super::stream::{Arrived, RawAddress, Stream, datagram_socket, let_receive_stamps, local_address, receive};
use super::{Arrival, Look, Port, Read};
use crate::clock::KernelStamps;
use crate::drive::sys::{Kick, check, check_size};
use fieldrig_proto::time::Time;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many others one listener knows.
const MOST_OTHERS: usize = 1024;
/// So many datagrams of one other wait.
const MOST_WAITING: usize = 1024;
/// The longest datagram there is.
const LONGEST: usize = 65_536;

/// A socket that sends to one address and hears only that.
pub(crate) fn connect(address: &SocketAddr) -> io::Result<Stream> {
    let fd = datagram_socket(address)?;
    let raw = RawAddress::inet(address);
    // SAFETY: the address is live and of the stated length.
    check(unsafe { libc::connect(fd.as_raw_fd(), raw.pointer(), raw.length()) })?;
    Ok(Stream::udp(fd))
}

/// A bound socket, and who has sent to it.
#[derive(Debug)]
pub(crate) struct Others {
    fd: Arc<OwnedFd>,
    address: String,
    known: Mutex<HashMap<SocketAddr, Arc<Mutex<Queue>>>>,
    buffer: Mutex<Vec<u8>>,
    count: Mutex<u64>,
}

/// What one other sent and nobody has read yet.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Option<u64>, Vec<u8>)>,
    kick: Option<Arc<Kick>>,
    /// The number of its last datagram among all, to find who was silent longest.
    last: u64,
    forgotten: bool,
    closed: bool,
}

impl Others {
    /// Binds a socket.
    pub(crate) fn bind(address: &SocketAddr) -> io::Result<Others> {
        let fd = datagram_socket(address)?;
        let raw = RawAddress::inet(address);
        // SAFETY: the address is live and of the stated length.
        check(unsafe { libc::bind(fd.as_raw_fd(), raw.pointer(), raw.length()) })?;
        let_receive_stamps(&fd);
        let address = local_address(&fd)?.map_or_else(String::new, |address| address.to_string());
        let (known, count) = Default::default();
        Ok(Others { fd: Arc::new(fd), address, known, buffer: Mutex::new(vec![0; LONGEST]), count })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Where it is bound.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Hands out what has arrived to who is known, until somebody new sent something: the port to him, and his address.
    pub(crate) fn accept(&self) -> io::Result<Option<(OtherPort, String)>> {
        let mut buffer = lock(&self.buffer);
        loop {
            let (arrived, from) = match receive(self.fd(), &mut buffer, false) {
                Ok((Arrived { count, kernel }, Some(from))) => ((kernel, buffer[..count].to_vec()), from),
                Ok((_, None)) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(port) = self.hand_out(from, arrived) {
                return Ok(Some((port, from.to_string())));
            }
        }
    }

    fn hand_out(&self, from: SocketAddr, arrived: (Option<u64>, Vec<u8>)) -> Option<OtherPort> {
        let mut known = lock(&self.known);
        let mut count = lock(&self.count);
        *count += 1;
        if let Some(queue) = known.get(&from) {
            let mut queue = lock(queue);
            if !queue.closed && !queue.forgotten {
                queue.last = *count;
                if queue.waiting.len() < MOST_WAITING {
                    queue.waiting.push_back(arrived);
                    queue.tell();
                }
                return None;
            }
        }
        known.retain(|_, queue| !lock(queue).closed);
        if known.len() >= MOST_OTHERS
            && let Some(silent) = known.iter().min_by_key(|(_, queue)| lock(queue).last).map(|(from, _)| *from)
            && let Some(queue) = known.remove(&silent)
        {
            let mut queue = lock(&queue);
            queue.forgotten = true;
            queue.tell();
        }
        let queue = Queue { waiting: VecDeque::from([arrived]), last: *count, ..Queue::default() };
        let queue = Arc::new(Mutex::new(queue));
        known.insert(from, Arc::clone(&queue));
        Some(OtherPort {
            fd: Arc::clone(&self.fd),
            to: RawAddress::inet(&from),
            queue,
            stamps: KernelStamps::default(),
        })
    }
}

impl Queue {
    fn tell(&self) {
        if let Some(kick) = &self.kick {
            kick.kick();
        }
    }
}

/// One other who sends to a listener.
pub(crate) struct OtherPort {
    fd: Arc<OwnedFd>,
    to: RawAddress,
    queue: Arc<Mutex<Queue>>,
    stamps: KernelStamps,
}

impl Port for OtherPort {
    /// The socket is that of the listener, which kicks.
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let mut queue = lock(&self.queue);
        match queue.waiting.pop_front() {
            Some((kernel, datagram)) => {
                drop(queue);
                let count = datagram.len().min(look.buffer.len());
                look.buffer[..count].copy_from_slice(&datagram[..count]);
                let stamp = kernel.and_then(|kernel| self.stamps.map(kernel, Time::ZERO));
                Read::Bytes(count, stamp.map_or(Arrival::Unstamped, Arrival::Together))
            }
            None if queue.forgotten => Read::Reset("too many others have sent something since".to_owned()),
            None => Read::Nothing,
        }
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: sends from a live slice of the stated length to a live address of the stated length.
        check_size(unsafe {
            let (to, length) = (self.to.pointer(), self.to.length());
            libc::sendto(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags, to, length)
        })
    }

    fn is_datagram(&self) -> bool {
        true
    }

    fn next_arrival(&self) -> Option<Time> {
        (!lock(&self.queue).waiting.is_empty()).then_some(Time::ZERO)
    }

    fn next_room(&self) -> Option<Time> {
        Some(Time::ZERO)
    }

    fn attach(&mut self, kick: Arc<Kick>) {
        kick.kick();
        lock(&self.queue).kick = Some(kick);
    }
}

impl Drop for OtherPort {
    fn drop(&mut self) {
        lock(&self.queue).closed = true;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
