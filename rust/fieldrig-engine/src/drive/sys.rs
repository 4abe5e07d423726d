//! System calls of the drivers: epoll, eventfd, clocks, exact sleeps. Safe outside, `unsafe` only here.

use fieldrig_proto::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Readable.
pub(crate) const IN: u32 = libc::EPOLLIN as u32;
/// Writable.
pub(crate) const OUT: u32 = libc::EPOLLOUT as u32;
/// Error condition; always reported.
pub(crate) const ERR: u32 = libc::EPOLLERR as u32;
/// Hang-up; always reported.
pub(crate) const HUP: u32 = libc::EPOLLHUP as u32;
/// Edge-triggered.
pub(crate) const EDGE: u32 = libc::EPOLLET as u32;

/// What is ready.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// What was given when it was added.
    pub(crate) token: u64,
    /// Which of the conditions hold.
    pub(crate) events: u32,
}

/// Turns the result of a system call into a `Result`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Turns the result of a read or write into a `Result`.
pub(crate) fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Takes ownership of a descriptor that a system call just made.
pub(crate) fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the caller passes the result of a call that makes a new descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: takes no pointers.
        let fd = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Epoll { fd })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(crate) fn add(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    pub(crate) fn modify(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Forgets `fd`; one that is not known is no error, since closing forgets too.
    pub(crate) fn remove(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` lives through the call; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) }).map(|_| ())
    }

    /// Waits until something is ready or `timeout` is over (`None`: for ever) and puts it into `ready`. An interrupted
    /// wait counts as one that found nothing.
    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) {
        const MAX: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX];
        let limit = timeout.map(timespec);
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `events` has room for MAX entries and `limit` is null or points to a live timespec; no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                events.as_mut_ptr(),
                MAX as libc::c_int,
                limit,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        ready.clear();
        let count = usize::try_from(count).unwrap_or(0);
        ready.extend(events[..count].iter().map(|event| Ready { token: event.u64, events: event.events }));
    }
}

/// Whether bytes can be read; of a terminal also those that the kernel has and did not hand on yet.
pub(crate) fn has_input(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` is one live entry.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & libc::POLLIN != 0
}

/// Which of the descriptors the other side ended or broke off, by position, and with which conditions.
pub(crate) fn ended(fds: impl Iterator<Item = RawFd>) -> Vec<(usize, u32)> {
    let mut polls: Vec<libc::pollfd> = fds.map(|fd| libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 }).collect();
    let count = libc::nfds_t::try_from(polls.len()).unwrap_or(0);
    // SAFETY: `polls` has `count` live entries.
    unsafe { libc::poll(polls.as_mut_ptr(), count, 0) };
    let told = polls.iter().enumerate().filter(|(_, poll)| poll.revents != 0);
    // The conditions have the same bits as those of epoll.
    told.map(|(index, poll)| (index, u32::from(poll.revents.cast_unsigned()))).collect()
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(i32::try_from(duration.subsec_nanos()).unwrap_or(0)),
    }
}

/// Wakes a driver that waits in [`Epoll::wait`]. Several kicks before it looks are one.
#[derive(Debug)]
pub(crate) struct Kick {
    fd: OwnedFd,
    pending: AtomicBool,
}

impl Kick {
    pub(crate) fn new() -> io::Result<Kick> {
        // SAFETY: takes no pointers.
        let fd = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Kick { fd, pending: AtomicBool::new(false) })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(crate) fn kick(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            let one = 1u64;
            // SAFETY: writes eight bytes from a live u64.
            unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Takes the kicks. To be called when the descriptor is readable.
    pub(crate) fn take(&self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into a live u64.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), 8) };
        // After the read: a kick between both is swallowed, but its sender changed what it had to say before it, and
        // the caller looks at all state after this.
        self.pending.store(false, Ordering::SeqCst);
    }
}

/// Sleeps until somebody wakes those that wait at `word`, or for `limit`; not at all if it is not `expected` any more.
pub(crate) fn wait_at(word: &AtomicU32, expected: u32, limit: Duration) {
    let limit = timespec(limit);
    // SAFETY: `word` and `limit` live through the call; the kernel only reads them.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &raw const limit,
        );
    }
}

/// Wakes all that wait at `word`.
pub(crate) fn wake_all_at(word: &AtomicU32) {
    // SAFETY: `word` is live; the kernel uses its address only.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, libc::c_int::MAX);
    }
}

fn clock_nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec; the clocks named here always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// `CLOCK_MONOTONIC`.
pub(crate) fn monotonic_nanos() -> u64 {
    clock_nanos(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME`.
pub(crate) fn realtime_nanos() -> u64 {
    clock_nanos(libc::CLOCK_REALTIME)
}

/// Sleeps until `CLOCK_MONOTONIC` shows `nanos`; a signal ends it early.
pub(crate) fn sleep_until_nanos(nanos: u64) {
    let time = timespec(Duration::from_nanos(nanos));
    // SAFETY: `time` is a live timespec, the remaining time is not wanted with an absolute one.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, std::ptr::null_mut()) };
}
