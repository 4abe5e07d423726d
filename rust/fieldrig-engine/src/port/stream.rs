//! Sockets: TCP and UDP with kernel receive stamps, unix sockets without; and the sockets that listen.

use super::segments::Segments;
use super::udp::Others;
use super::{Arrival, Look, Port, Read};
use crate::clock::KernelStamps;
use crate::drive::sys::{check, check_size, own};
use crate::layer::tls::Refusal;
use fieldrig_proto::time::{Duration, Time};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

/// How long `listen` lets connections wait for us.
const BACKLOG: libc::c_int = 1024;

/// How long a look that waits waits at most.
pub(crate) const STREAM_WAIT: Duration = Duration::from_millis(20);

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Stream {
    fd: OwnedFd,
    /// `None` on sockets whose bytes the kernel does not stamp.
    stamps: Option<KernelStamps>,
    /// Counts segments, if asked to.
    segments: Option<Segments>,
    /// A receive without `MSG_DONTWAIT` waits, for at most [`STREAM_WAIT`].
    waits: bool,
    /// Each read gives one datagram, each write sends one.
    datagrams: bool,
}

impl Stream {
    pub(crate) fn tcp(fd: OwnedFd) -> Stream {
        set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY);
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
        let waits = let_wait(&fd).is_ok();
        Stream { fd, stamps: Some(KernelStamps::default()), segments: None, waits, datagrams: false }
    }

    pub(crate) fn unix(fd: OwnedFd) -> Stream {
        // Without kernel stamps the arrival interval is as wide as the wait: looked at by polling instead.
        Stream { fd, stamps: None, segments: None, waits: false, datagrams: false }
    }

    /// A connected socket for datagrams.
    pub(crate) fn udp(fd: OwnedFd) -> Stream {
        let_receive_stamps(&fd);
        let waits = let_wait(&fd).is_ok();
        Stream { fd, stamps: Some(KernelStamps::default()), segments: None, waits, datagrams: true }
    }
}

/// What one receive gave.
pub(super) struct Arrived {
    /// How many bytes.
    pub(super) count: usize,
    /// The wall-clock stamp of the last of them.
    pub(super) kernel: Option<u64>,
}

/// One `recvmsg`, and who sent it, on sockets that are not connected.
pub(super) fn receive(fd: RawFd, buffer: &mut [u8], wait: bool) -> io::Result<(Arrived, Option<SocketAddr>)> {
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut from = RawAddress::empty();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is valid; its pointers are set below to memory that outlives the call.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from.storage).cast();
    message.msg_namelen = from.length;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: `message` names a live buffer, a live address and a live, aligned control area of the stated lengths.
    let count = check_size(unsafe { libc::recvmsg(fd, &raw mut message, flags) })?;
    // SAFETY: the kernel filled `message` and its control area, which is still alive.
    let kernel = unsafe { stamp_of(&message) };
    let sender = if message.msg_namelen > 0 { from.socket_address() } else { None };
    Ok((Arrived { count, kernel }, sender))
}

/// # Safety
/// `message` was filled by `recvmsg` and its control area is alive.
unsafe fn stamp_of(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: the CMSG macros walk the control area within the length the kernel wrote.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                let seconds = u64::try_from(time.tv_sec).ok()?;
                return Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

impl Port for Stream {
    fn fd(&self) -> Option<RawFd> {
        Some(self.fd.as_raw_fd())
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        match receive(self.fd.as_raw_fd(), look.buffer, look.wait).map(|(arrived, _)| arrived) {
            Ok(Arrived { count: 0, .. }) if !self.datagrams => Read::Finished,
            Ok(Arrived { count, kernel }) => {
                let stamps = self.stamps.as_mut();
                let last = stamps.zip(kernel).and_then(|(stamps, kernel)| stamps.map(kernel, look.since));
                let together = self.segments.as_mut().is_some_and(|known| known.took(self.fd.as_raw_fd(), count));
                let arrival = match last {
                    None => Arrival::Unstamped,
                    Some(stamp) if together || self.datagrams => Arrival::Together(stamp),
                    Some(stamp) => Arrival::Last(stamp),
                };
                Read::Bytes(count, arrival)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Read::Nothing
            }
            Err(error) if self.datagrams && error.kind() == io::ErrorKind::ConnectionRefused => {
                Read::Refused(Refusal::new("nobody takes datagrams there (ICMP says that the port is unreachable)"))
            }
            Err(error) => Read::Reset(error.to_string()),
        }
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: sends from a live slice of the stated length.
        check_size(unsafe {
            libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
        })
    }

    fn can_wait(&self) -> bool {
        self.waits
    }

    fn waits_for_us(&self) -> bool {
        !self.datagrams
    }

    fn count_segments(&mut self) {
        self.segments = (self.stamps.is_some() && !self.datagrams).then(Segments::default);
    }

    fn short_read_drains(&self) -> bool {
        !self.datagrams
    }

    fn is_datagram(&self) -> bool {
        self.datagrams
    }

    fn finish(&mut self) {
        // SAFETY: a plain call on an own descriptor; it fails only if the other side is gone already.
        unsafe { libc::shutdown(self.fd.as_raw_fd(), libc::SHUT_WR) };
    }

    fn reset(&mut self) {
        // Closing with a linger time of zero sends RST.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: passes a live `linger` of the stated size.
        unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
    }
}

/// Lets receives wait that do not say otherwise; all others here say `MSG_DONTWAIT`.
fn let_wait(fd: &OwnedFd) -> io::Result<()> {
    let time = libc::timeval { tv_sec: 0, tv_usec: libc::suseconds_t::from(STREAM_WAIT.subsec_micros() as i32) };
    let size = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: passes a live timeval of the stated size.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const time).cast(), size)
    })?;
    // SAFETY: takes no pointers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) }).map(|_| ())
}

fn set_option(fd: RawFd, level: libc::c_int, option: libc::c_int) {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: passes a live int of the stated size. An option the kernel refuses costs precision, not function.
    unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), size) };
}

/// An address in the form of the kernel.
#[derive(Clone)]
pub(super) struct RawAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl RawAddress {
    fn empty() -> RawAddress {
        // SAFETY: an all-zero sockaddr_storage is valid.
        RawAddress {
            storage: unsafe { std::mem::zeroed() },
            length: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    fn filled<T>(address: &T) -> RawAddress {
        let mut raw = RawAddress::empty();
        assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>());
        // SAFETY: both are live and do not overlap; the storage has room (asserted above).
        unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(address), (&raw mut raw.storage).cast(), 1) };
        raw.length = size_of::<T>() as libc::socklen_t;
        raw
    }

    pub(super) fn inet(address: &SocketAddr) -> RawAddress {
        match address {
            SocketAddr::V4(v4) => RawAddress::filled(&libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => RawAddress::filled(&libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    fn unix(path: &Path) -> io::Result<RawAddress> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        // SAFETY: an all-zero sockaddr_un is valid.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if bytes.len() >= address.sun_path.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the path has {} bytes, a unix socket has room for {}",
                    bytes.len(),
                    address.sun_path.len() - 1
                ),
            ));
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        Ok(RawAddress::filled(&address))
    }

    pub(super) fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn length(&self) -> libc::socklen_t {
        self.length
    }

    fn socket_address(&self) -> Option<SocketAddr> {
        // SAFETY: the family says which of the two the kernel wrote; both fit into the storage and have no invalid bits.
        unsafe {
            match libc::c_int::from(self.storage.ss_family) {
                libc::AF_INET => {
                    let v4: libc::sockaddr_in = std::ptr::read((&raw const self.storage).cast());
                    Some(SocketAddr::from((v4.sin_addr.s_addr.to_ne_bytes(), u16::from_be(v4.sin_port))))
                }
                libc::AF_INET6 => {
                    let v6: libc::sockaddr_in6 = std::ptr::read((&raw const self.storage).cast());
                    Some(SocketAddr::from((v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port))))
                }
                _ => None,
            }
        }
    }
}

fn socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    own(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) })
}

/// A socket for datagrams, of the family of an address.
pub(super) fn datagram_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    own(unsafe { libc::socket(family(address), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) })
}

/// Has the kernel stamp what arrives.
pub(super) fn let_receive_stamps(fd: &OwnedFd) {
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
}

fn family(address: &SocketAddr) -> libc::c_int {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

/// The addresses of `host:port`. A literal address and `localhost` need no resolver.
pub(crate) fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(literal) = address.parse::<SocketAddr>() {
        return Ok(vec![literal]);
    }
    let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    Ok(found)
}

/// Begins a TCP connection, from a local address if one is given: the socket, and whether it is connected already.
pub(crate) fn begin_tcp(address: &SocketAddr, source: Option<IpAddr>) -> io::Result<(OwnedFd, bool)> {
    let fd = socket(family(address))?;
    if let Some(source) = source {
        let local = RawAddress::inet(&SocketAddr::new(source, 0));
        // SAFETY: the address is live and of the stated length.
        check(unsafe { libc::bind(fd.as_raw_fd(), local.pointer(), local.length) })?;
    }
    begin(fd, &RawAddress::inet(address))
}

/// Begins a connection to a unix socket.
pub(crate) fn begin_unix(path: &Path) -> io::Result<(OwnedFd, bool)> {
    begin(socket(libc::AF_UNIX)?, &RawAddress::unix(path)?)
}

fn begin(fd: OwnedFd, address: &RawAddress) -> io::Result<(OwnedFd, bool)> {
    // SAFETY: the address is live and of the stated length.
    match check(unsafe { libc::connect(fd.as_raw_fd(), address.pointer(), address.length) }) {
        Ok(_) => Ok((fd, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok((fd, false)),
        Err(error) => Err(error),
    }
}

/// How a connection attempt ended, once its socket is writable.
pub(crate) fn connected(fd: RawFd) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes an int into a live int.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut code).cast(), &raw mut size) })?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Waits until a connection attempt ended; `TimedOut` if it did not within `limit`.
pub(crate) fn await_writable(fd: RawFd, limit: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one live pollfd.
    match check(unsafe { libc::poll(&raw mut poll, 1, millis) }) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// Waits until something of `events` is ready, at most `limit`; who calls looks either way.
pub(crate) fn await_events(fd: RawFd, events: libc::c_short, limit: Duration) {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut poll, 1, millis) };
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    kind: Kind,
    address: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(OwnedFd),
    Unix(OwnedFd),
    Udp(Others),
}

impl Listener {
    pub(crate) fn tcp(address: &SocketAddr) -> io::Result<Listener> {
        let fd = socket(family(address))?;
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR);
        listen(&fd, &RawAddress::inet(address))?;
        let address = local_address(&fd)?.map_or_else(String::new, |address| address.to_string());
        Ok(Listener { kind: Kind::Tcp(fd), address })
    }

    /// Listens on a path. A socket that nobody serves any more is replaced.
    pub(crate) fn unix(path: &Path) -> io::Result<Listener> {
        let raw = RawAddress::unix(path)?;
        let fd = socket(libc::AF_UNIX)?;
        match listen(&fd, &raw) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && abandoned(path) => {
                std::fs::remove_file(path)?;
                listen(&fd, &raw)?;
            }
            result => result?,
        }
        Ok(Listener { kind: Kind::Unix(fd), address: path.display().to_string() })
    }

    /// Waits for datagrams.
    pub(crate) fn udp(address: &SocketAddr) -> io::Result<Listener> {
        let others = Others::bind(address)?;
        Ok(Listener { address: others.address().to_owned(), kind: Kind::Udp(others) })
    }

    pub(crate) fn fd(&self) -> RawFd {
        match &self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => fd.as_raw_fd(),
            Kind::Udp(others) => others.fd(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The next connection that waits, and who it is; `None` if none does.
    pub(crate) fn accept(&self) -> io::Result<Option<(Box<dyn Port>, String)>> {
        let (fd, unix) = match &self.kind {
            Kind::Tcp(fd) => (fd, false),
            Kind::Unix(fd) => (fd, true),
            Kind::Udp(others) => {
                return Ok(others.accept()?.map(|(port, from)| (Box::new(port) as Box<dyn Port>, from)));
            }
        };
        let mut raw = RawAddress::empty();
        // SAFETY: the kernel writes an address into live storage of the stated length.
        let result = own(unsafe {
            libc::accept4(
                fd.as_raw_fd(),
                (&raw mut raw.storage).cast(),
                &raw mut raw.length,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        });
        match result {
            Ok(fd) if unix => Ok(Some((Box::new(Stream::unix(fd)), self.address.clone()))),
            Ok(fd) => {
                let from = raw.socket_address().map_or_else(String::new, |address| address.to_string());
                Ok(Some((Box::new(Stream::tcp(fd)), from)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // A connection that was broken off before we took it is no error of the listener.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Unix(_)) {
            let _ = std::fs::remove_file(&self.address);
        }
    }
}

fn listen(fd: &OwnedFd, address: &RawAddress) -> io::Result<()> {
    // SAFETY: the address is live and of the stated length.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.pointer(), address.length) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) }).map(|_| ())
}

/// The address a socket is bound to.
pub(super) fn local_address(fd: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let mut raw = RawAddress::empty();
    // SAFETY: the kernel writes an address into live storage of the stated length.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut raw.storage).cast(), &raw mut raw.length) })?;
    Ok(raw.socket_address())
}

/// Whether a socket file is there that nobody serves.
fn abandoned(path: &Path) -> bool {
    matches!(begin_unix(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
