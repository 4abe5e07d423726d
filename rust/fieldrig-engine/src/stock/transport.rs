//! What their code takes for a connection: two queues of bytes between it and an endpoint of ours.
//!
//! Rules of this file:
//! - Nothing here waits or blocks. Who reads an empty queue is woken when bytes come; who polls by hand has no need of it.
//! - A write is complete at once. With the flush that follows it, and when the transport is dropped, the endpoint's side is
//!   told ([`Tell`]), unless it looks by itself.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Tells the endpoint's side that there is something to take. Called with nothing locked.
pub(super) type Tell = Arc<dyn Fn() + Send + Sync>;

/// How a transport was let go.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum LetGo {
    /// It is in use.
    Not,
    /// Their code was done with it.
    Done,
    /// Their code panicked.
    Panicked,
}

struct Queues {
    incoming: VecDeque<u8>,
    /// Nothing more comes in.
    ended: bool,
    outgoing: Vec<u8>,
    reader: Option<Waker>,
    let_go: LetGo,
}

/// Both ends of a new transport.
pub(super) fn pair(tell: Option<Tell>) -> (Transport, Far) {
    let queues =
        Queues { incoming: VecDeque::new(), ended: false, outgoing: Vec::new(), reader: None, let_go: LetGo::Not };
    let queues = Arc::new(Mutex::new(queues));
    (Transport { queues: Arc::clone(&queues), tell }, Far { queues })
}

/// The endpoint's end.
pub(super) struct Far {
    queues: Arc<Mutex<Queues>>,
}

impl Far {
    /// Bytes came.
    pub(super) fn feed(&self, bytes: &[u8]) {
        let mut queues = lock(&self.queues);
        queues.incoming.extend(bytes);
        wake(queues);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        let mut queues = lock(&self.queues);
        queues.ended = true;
        wake(queues);
    }

    /// Takes what came and their code has not read.
    pub(super) fn drop_unread(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.queues).incoming).into()
    }

    /// Takes what their code wrote.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.queues).outgoing)
    }

    /// Whether their code still has its end.
    pub(super) fn let_go(&self) -> LetGo {
        lock(&self.queues).let_go
    }
}

/// The end of their code.
pub(super) struct Transport {
    queues: Arc<Mutex<Queues>>,
    tell: Option<Tell>,
}

impl Transport {
    fn tell(&self) {
        if let Some(tell) = &self.tell {
            tell();
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let let_go = if std::thread::panicking() { LetGo::Panicked } else { LetGo::Done };
        lock(&self.queues).let_go = let_go;
        self.tell();
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut queues = lock(&self.queues);
        if queues.incoming.is_empty() && !queues.ended {
            queues.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = queues.incoming.len().min(into.remaining());
        let bytes: Vec<u8> = queues.incoming.drain(..count).collect();
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.queues).outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell();
        Poll::Ready(Ok(()))
    }
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes who reads, with nothing locked.
fn wake(mut queues: MutexGuard<'_, Queues>) {
    let reader = queues.reader.take();
    drop(queues);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn read(transport: &mut Transport) -> Poll<Vec<u8>> {
        let mut space = [0; 4];
        let mut into = ReadBuf::new(&mut space);
        let polled = Pin::new(transport).poll_read(&mut Context::from_waker(Waker::noop()), &mut into);
        polled.map(|read| read.map(|()| into.filled().to_vec()).unwrap())
    }

    #[test]
    fn bytes_that_came_are_read_before_the_end() {
        let (mut transport, far) = pair(None);
        assert_eq!(read(&mut transport), Poll::Pending);
        far.feed(&[1, 2, 3, 4, 5]);
        far.end();
        assert_eq!(read(&mut transport), Poll::Ready(vec![1, 2, 3, 4]));
        assert_eq!(read(&mut transport), Poll::Ready(vec![5]));
        assert_eq!(read(&mut transport), Poll::Ready(vec![]), "no bytes are the end");
    }

    #[test]
    fn the_other_side_is_told_of_a_flush_and_of_the_end() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let (mut transport, far) = pair(Some(Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(matches!(Pin::new(&mut transport).poll_write(context, b"ab"), Poll::Ready(Ok(2))));
        assert_eq!(told.load(Ordering::SeqCst), 0);
        assert!(Pin::new(&mut transport).poll_flush(context).is_ready());
        assert_eq!((told.load(Ordering::SeqCst), far.take(), far.let_go()), (1, b"ab".to_vec(), LetGo::Not));
        drop(transport);
        assert_eq!((told.load(Ordering::SeqCst), far.let_go()), (2, LetGo::Done));
    }
}
