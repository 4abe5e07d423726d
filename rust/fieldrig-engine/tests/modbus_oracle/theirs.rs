//! tokio-modbus 0.17, driven over pipes in memory, because its codec is private: its clients ask, its servers hear.
//!
//! It has panics that bytes from outside can cause. A client's is caught here; a server's is caught by tokio, which ends
//! the task: nothing is heard, and no error told.

use super::Framing;
use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_modbus::client::{Client as _, Context, rtu, tcp};
use tokio_modbus::server::{self, Service};
use tokio_modbus::{ExceptionCode, Request, Response, Slave, SlaveRequest};

/// More than any test writes at a time.
const PIPE: usize = 8192;
/// Nothing here waits for anybody: what lasts so long lasts for ever.
const HANG: Duration = Duration::from_secs(20);

/// What their client made of an answer.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Response),
    Exception(u8),
    Refused(String),
    Panicked,
}

/// What their server heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) requests: Vec<SlaveRequest<'static>>,
    /// Why it ended the connection; none at the end of what was sent, and after a panic.
    pub(crate) error: Option<String>,
}

pub(crate) struct Theirs {
    runtime: Runtime,
    tcp: Door,
    rtu: Door,
}

/// A server. It takes its connections from a socket, and speaks on a pipe instead of each.
struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pipes: Mutex<VecDeque<DuplexStream>>,
    requests: Mutex<Vec<SlaveRequest<'static>>>,
    error: Mutex<Option<String>>,
}

impl Theirs {
    pub(crate) fn new() -> Theirs {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tcp = Door::open(&runtime, Framing::Tcp);
        let rtu = Door::open(&runtime, Framing::Rtu);
        Theirs { runtime, tcp, rtu }
    }

    /// Their client asks. Gives what it sent, and what it made of the answer to that, behind which the stream ends.
    pub(crate) fn ask(
        &self,
        framing: Framing,
        unit: u8,
        request: Request<'static>,
        answer: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> (Vec<u8>, Outcome) {
        let (near, mut far) = duplex(PIPE);
        let other_side = self.runtime.spawn(async move {
            let mut sent = vec![0; PIPE];
            let length = far.read(&mut sent).await.unwrap_or(0);
            sent.truncate(length);
            let _ = far.write_all(&answer(&sent)).await; // a client that has gone reads nothing
            sent
        });
        let mut context = attached(framing, near, unit);
        let said = catch_unwind(AssertUnwindSafe(|| self.soon(context.call(request))));
        drop(context);
        let sent = self.soon(other_side).expect("the other side does not panic");
        let outcome = match said {
            Ok(Ok(Ok(response))) => Outcome::Answer(response),
            Ok(Ok(Err(exception))) => Outcome::Exception(exception.into()),
            Ok(Err(error)) => Outcome::Refused(error.to_string()),
            Err(_) => Outcome::Panicked,
        };
        (sent, outcome)
    }

    /// Their server hears bytes, behind which the stream ends.
    pub(crate) fn hear(&self, framing: Framing, bytes: &[u8]) -> Heard {
        let door = match framing {
            Framing::Tcp => &self.tcp,
            Framing::Rtu => &self.rtu,
        };
        let (near, mut far) = duplex(PIPE);
        locked(&door.shared.pipes).push_back(near);
        self.soon(async {
            let _knock = TcpStream::connect(door.address).await.expect("it listens");
            let _ = far.write_all(bytes).await; // a server may have ended the connection
            let _ = far.shutdown().await;
            let mut answers = Vec::new();
            let _ = far.read_to_end(&mut answers).await;
        });
        Heard { requests: std::mem::take(&mut locked(&door.shared.requests)), error: locked(&door.shared.error).take() }
    }

    fn soon<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(HANG, future).await };
        self.runtime.block_on(limited).expect("it hangs")
    }
}

fn attached(framing: Framing, pipe: DuplexStream, unit: u8) -> Context {
    match framing {
        Framing::Tcp => tcp::attach_slave(pipe, Slave(unit)),
        Framing::Rtu => rtu::attach_slave(pipe, Slave(unit)),
    }
}

impl Door {
    fn open(runtime: &Runtime, framing: Framing) -> Door {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("a port has a number");
        let shared = Arc::new(Shared::default());
        runtime.spawn(serve(framing, listener, Arc::clone(&shared)));
        Door { address, shared }
    }
}

async fn serve(framing: Framing, listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let ears = Arc::clone(&shared);
    let connected = move |_: TcpStream, _: SocketAddr| {
        let pipe = locked(&ears.pipes).pop_front();
        ready(Ok(pipe.map(|pipe| (Ear(Arc::clone(&ears)), pipe))))
    };
    let failed = move |error: io::Error| *locked(&shared.error) = Some(error.to_string());
    match framing {
        Framing::Tcp => server::tcp::Server::new(listener).serve(&connected, failed).await,
        Framing::Rtu => server::rtu_over_tcp::Server::new(listener).serve(&connected, failed).await,
    }
}

/// A service that answers nothing.
struct Ear(Arc<Shared>);

impl Service for Ear {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        locked(&self.0.requests).push(request);
        ready(Ok(None))
    }
}

/// A panic of theirs happens under no lock of ours.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics under it")
}
