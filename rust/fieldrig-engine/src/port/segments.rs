//! Whether what one read took came in one TCP segment.
//!
//! The kernel stamps the last segment of a read only. When several messages lie in what was read, the instant of the
//! first is known as well as that of the last only if they came together. The kernel counts segments and bytes; the
//! count is believed only where every byte it counts has been read, before and after, so that no segment is counted
//! for a read that did not take it.

use crate::drive::sys::check;
use std::os::fd::RawFd;

/// What is known about the segments of one connection.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// Bytes read so far.
    read: u64,
    /// Data segments counted when everything counted had been read; `None` if that was not so the last time.
    settled: Option<u32>,
    started: bool,
}

impl Segments {
    /// Notes that `count` bytes were read, and says whether they came in one segment.
    pub(crate) fn took(&mut self, fd: RawFd, count: usize) -> bool {
        self.read += count as u64;
        let Some((bytes, segments)) = counted(fd) else {
            self.settled = None;
            return false;
        };
        self.judge(bytes, segments)
    }

    fn judge(&mut self, bytes: u64, segments: u32) -> bool {
        let before = if self.started { self.settled } else { Some(0) };
        self.started = true;
        self.settled = (bytes == self.read).then_some(segments);
        matches!((before, self.settled), (Some(before), Some(now)) if now.wrapping_sub(before) == 1)
    }
}

/// Bytes and data segments received, as the kernel counts them.
fn counted(fd: RawFd) -> Option<(u64, u32)> {
    // SAFETY: an all-zero tcp_info is valid.
    let mut info: TcpInfo = unsafe { std::mem::zeroed() };
    let mut size = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into live storage of that size.
    check(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size) })
        .ok()?;
    (size as usize == size_of::<TcpInfo>()).then_some((info.bytes_received, info.data_segs_in))
}

/// The beginning of `struct tcp_info` of Linux 4.6 and later, up to the last field used here.
#[repr(C)]
struct TcpInfo {
    bytes: [u8; 8],
    words: [u32; 24],
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_count_is_believed_only_between_two_moments_at_which_everything_was_read() {
        let mut known = Segments { read: 10, ..Segments::default() };
        assert!(known.judge(10, 1), "the first segment");
        known.read = 20;
        assert!(!known.judge(30, 3), "something counted is not read yet");
        known.read = 30;
        assert!(!known.judge(30, 3), "what was counted before was read now");
        known.read = 40;
        assert!(known.judge(40, 4));
        known.read = 60;
        assert!(!known.judge(60, 6), "two segments in one read");
    }

    #[test]
    fn the_kernel_tells_one_segment_from_two() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut sender = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        sender.set_nodelay(true).expect("an option");
        let (mut receiver, _) = listener.accept().expect("a connection");
        let mut known = Segments::default();
        let mut buffer = [0; 64];
        sender.write_all(b"one").expect("sent");
        let count = receiver.read(&mut buffer).expect("received");
        assert!(known.took(receiver.as_raw_fd(), count));
        sender.write_all(b"two").expect("sent");
        sender.write_all(b"three").expect("sent");
        // Loopback delivers before the write returns: both are there.
        let count = receiver.read(&mut buffer).expect("received");
        assert_eq!(&buffer[..count], b"twothree");
        assert!(!known.took(receiver.as_raw_fd(), count));
        sender.write_all(b"four").expect("sent");
        let count = receiver.read(&mut buffer).expect("received");
        assert!(known.took(receiver.as_raw_fd(), count));
    }
}
