//! A server of tokio-modbus behind a port of the engine.
//!
//! ```text
//!   port <--> Reception (endpoint) <--> Transport <--> task of tokio-modbus --> Served --> Tables
//!                  |                                       ^
//!                  +-- newcomers --> doorman --doorbell--> accept
//! ```
//!
//! Rules of this file:
//! - tokio-modbus accepts connections from a TCP listener and nothing else, but then asks for the transport of each. So
//!   there is a listener on loopback that serves as a doorbell: for each connection of the port the doorman connects to
//!   it, and what is handed over is the transport. No byte of Modbus passes there, and whoever else rings is turned away.
//! - The runtime has a thread of its own, which [`Server::close`] ends before the node is closed. From then on nobody is told
//!   of anything, so that what is dropped with the runtime is no news.
//! - What ends for tokio-modbus (a request it cannot read) ends the connection. A line has no end: it is handed over anew.
//! - Where this machine has no socket for the doorbell, whoever came waits, and it is tried again ten times a second. A
//!   silence of that kind is the bench's: the error is kept for [`Server::fault`].

use super::Framing;
use super::tables::{Served, Tables};
use crate::error::EngineError;
use crate::node::Node;
use crate::rig::{Binding, Rig};
use crate::stock::transport::{self, Far, LetGo, Tell, Transport};
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, How, Input, Peer, Why};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Stamp, Time};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_modbus::server;

/// What a server reports beside what the capture has.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerEvent {
    /// tokio-modbus was handed a connection, or a line.
    Handed {
        /// When.
        at: Time,
        /// Which.
        conn: Conn,
        /// Who is at the other end.
        from: String,
    },
    /// tokio-modbus was done with a connection that was still there: it could not read a request, or panicked.
    LetGo {
        /// When.
        at: Time,
        /// Which.
        conn: Conn,
        /// It panicked.
        panicked: bool,
    },
}

impl From<ServerEvent> for Record {
    fn from(event: ServerEvent) -> Record {
        let record = |kind: &'static str, at: Time, conn: Conn| Record::new(kind).at(Stamp::exact(at)).conn(conn);
        match event {
            ServerEvent::Handed { at, conn, from } => record("stock.handed", at, conn).with("from", from),
            ServerEvent::LetGo { at, conn, panicked } => record("stock.let_go", at, conn).with("panicked", panicked),
        }
    }
}

/// How long after a doorbell that failed it is tried again.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// What went wrong on this machine, until somebody asks.
type Fault = Arc<Mutex<Option<io::Error>>>;

/// The way back from the runtime to the node, while there is one.
type Way = Arc<Mutex<Option<Node<Reception>>>>;

/// A server of tokio-modbus. It runs until it is closed or dropped.
pub struct Server {
    node: Node<Reception>,
    way: Way,
    tables: Tables,
    fault: Fault,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the port and serves the tables there. `unit` answers, if it is a line.
    ///
    /// # Errors
    /// The port cannot be opened, on virtual time none can; there is no thread or socket for the runtime.
    pub fn open(
        rig: &Rig,
        name: &str,
        binding: Binding,
        framing: Framing,
        unit: u8,
        tables: Tables,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Server, EngineError> {
        if rig.clock().is_virtual() {
            return Err(EngineError::Port {
                url: binding.port.to_string(),
                what: "a stock server cannot run on virtual time: its runtime waits on the real one".to_owned(),
                hint: Some("use a rig with the real clock, or modbus.Device".to_owned()),
            });
        }
        let (newcomers, waiting) = unbounded_channel();
        let machine = |error: io::Error| EngineError::machine(name, &error);
        let bell = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(machine)?;
        bell.set_nonblocking(true).map_err(machine)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(machine)?;
        let way = Way::default();
        let reception = Reception::new(framing, newcomers, Arc::clone(&way));
        let node = rig.open_with(name, reception, vec![binding], go_on)?;
        *lock(&way) = Some(node.clone());
        let served = Served { tables: tables.clone(), unit: (framing != Framing::Tcp).then_some(unit) };
        let (stop, stopped) = oneshot::channel();
        let fault = Fault::default();
        let keep = Arc::clone(&fault);
        let work = move || {
            // Without a doorbell whoever comes is sent away by the reception.
            if let Err(error) = runtime.block_on(serve(bell, framing, served, waiting, stopped, &keep)) {
                *lock(&keep) = Some(error);
            }
        };
        let server = Server { node, way, tables, fault, running: Mutex::default() };
        let thread = std::thread::Builder::new().name("fr-stock".to_owned()).spawn(work).map_err(machine)?;
        *lock(&server.running) = Some(Running { stop, thread });
        Ok(server)
    }

    /// Its cells.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Where the port bound as `via` can be reached.
    #[must_use]
    pub fn address(&self, via: &str) -> Option<String> {
        self.node.address(via)
    }

    /// Why somebody was left waiting, or was sent away, since this was asked the last time: this machine had no socket for
    /// the server's runtime. Whoever got no answer meanwhile proves nothing.
    #[must_use]
    pub fn fault(&self) -> Option<EngineError> {
        let error = lock(&self.fault).take()?;
        Some(EngineError::machine("the stock server could not serve everybody who came", &error))
    }

    /// Ends the runtime and closes the port. Calling it again does nothing.
    pub fn close(&self) {
        // Dropped with nothing locked.
        let way = lock(&self.way).take();
        drop(way);
        let running = lock(&self.running).take();
        if let Some(Running { stop, thread }) = running {
            // Whether it is there to hear it makes no difference: it is waited for.
            let _ = stop.send(());
            let _ = thread.join();
        }
        self.node.close();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

// ---- the runtime -----------------------------------------------------------------------------------------------------

/// Transports by who rings for them.
type Expected = Arc<Mutex<HashMap<SocketAddr, Transport>>>;

async fn serve(
    bell: std::net::TcpListener,
    framing: Framing,
    served: Served,
    waiting: UnboundedReceiver<Transport>,
    mut stopped: oneshot::Receiver<()>,
    fault: &Fault,
) -> io::Result<()> {
    let bell = TcpListener::from_std(bell)?;
    let expected = Expected::default();
    tokio::spawn(doorman(bell.local_addr()?, Arc::clone(&expected), waiting, Arc::clone(fault)));
    let on_connected = move |_doorbell: TcpStream, from: SocketAddr| {
        let transport = lock(&expected).remove(&from);
        let handed = transport.map(|transport| (served.clone(), transport));
        async move { Ok(handed) }
    };
    // The connection ends with it, and that is reported.
    let on_error = |_: io::Error| {};
    let serving = async {
        match framing {
            Framing::Tcp => {
                let server = server::tcp::Server::new(bell);
                while let Err(error) = server.serve(&on_connected, on_error).await {
                    rest(fault, error).await;
                }
            }
            Framing::Rtu { .. } => {
                let server = server::rtu_over_tcp::Server::new(bell);
                while let Err(error) = server.serve(&on_connected, on_error).await {
                    rest(fault, error).await;
                }
            }
        }
    };
    let mut serving = std::pin::pin!(serving);
    // It is also over when whoever would say it is gone.
    std::future::poll_fn(|context| match Pin::new(&mut stopped).poll(context) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => serving.as_mut().poll(context),
    })
    .await;
    Ok(())
}

/// Keeps what went wrong, and waits before it is tried again.
async fn rest(fault: &Fault, error: io::Error) {
    *lock(fault) = Some(error);
    tokio::time::sleep(AGAIN).await;
}

/// Rings for everybody who comes, one after the other, until it was heard.
async fn doorman(bell: SocketAddr, expected: Expected, mut waiting: UnboundedReceiver<Transport>, fault: Fault) {
    while let Some(transport) = waiting.recv().await {
        let mut transport = Some(transport);
        while let Err(error) = ring(bell, &expected, &mut transport).await {
            rest(&fault, error).await;
        }
    }
}

/// Rings; whoever was not let in stays in `newcomer`.
async fn ring(bell: SocketAddr, expected: &Expected, newcomer: &mut Option<Transport>) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let from = socket.local_addr()?;
    // The other end needs one as well: if it gets none, tokio-modbus lets all connections go.
    drop(TcpSocket::new_v4()?);
    let Some(transport) = newcomer.take() else { return Ok(()) };
    lock(expected).insert(from, transport);
    let rung = socket.connect(bell).await;
    if rung.is_err() {
        *newcomer = lock(expected).remove(&from);
    }
    rung.map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- the endpoint ----------------------------------------------------------------------------------------------------

/// Hands connections over to tokio-modbus, and carries bytes between it and the port.
pub(super) struct Reception {
    framing: Framing,
    newcomers: UnboundedSender<Transport>,
    way: Way,
    guests: Vec<Guest>,
    actions: VecDeque<(Vec<u8>, Action)>,
    events: VecDeque<ServerEvent>,
}

struct Guest {
    conn: Conn,
    peer: Peer,
    far: Far,
    /// The other side has finished: that tokio-modbus lets go is no news.
    finished: bool,
}

impl Reception {
    fn new(framing: Framing, newcomers: UnboundedSender<Transport>, way: Way) -> Reception {
        let (guests, actions, events) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Reception { framing, newcomers, way, guests, actions, events }
    }

    fn hand_over(&mut self, now: Time, conn: Conn, peer: Peer) {
        let way = Arc::clone(&self.way);
        let tell: Tell = Arc::new(move || {
            let node = lock(&way).clone();
            if let Some(node) = node {
                // A node that is closed has nobody to send to.
                let _ = node.with(|reception, now| reception.gather(now));
            }
        });
        let (transport, far) = transport::pair(Some(tell));
        if self.newcomers.send(transport).is_err() {
            // The runtime has ended: nobody would ever answer.
            self.events.push_back(ServerEvent::LetGo { at: now, conn, panicked: false });
            return self.actions.push_back((Vec::new(), Action::Close(conn, How::Rst)));
        }
        self.events.push_back(ServerEvent::Handed { at: now, conn, from: peer.address.clone() });
        self.guests.push(Guest { conn, peer, far, finished: false });
    }

    /// Takes what tokio-modbus wrote, and looks whom it has let go.
    fn gather(&mut self, now: Time) {
        let gap_before = self.framing.gap();
        let mut gone = Vec::new();
        for guest in &self.guests {
            let (conn, bytes) = (guest.conn, guest.far.take());
            if !bytes.is_empty() {
                self.actions.push_back((bytes, Action::Send { conn, range: 0..0, not_before: None, gap_before }));
            }
            match guest.far.let_go() {
                LetGo::Not => {}
                how => gone.push((conn, how == LetGo::Panicked)),
            }
        }
        for (conn, panicked) in gone {
            let Some(guest) = self.leave(conn) else { continue };
            if panicked || !guest.finished {
                self.events.push_back(ServerEvent::LetGo { at: now, conn, panicked });
            }
            if guest.peer.wire {
                self.hand_over(now, conn, guest.peer);
            } else {
                self.actions.push_back((Vec::new(), Action::Close(conn, How::Fin)));
            }
        }
    }

    fn leave(&mut self, conn: Conn) -> Option<Guest> {
        let index = self.guests.iter().position(|guest| guest.conn == conn)?;
        Some(self.guests.swap_remove(index))
    }
}

impl Endpoint for Reception {
    type Event = ServerEvent;

    fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, peer) => self.hand_over(now, conn, peer.clone()),
            Input::Bytes(conn, bytes, _) => {
                if let Some(guest) = self.guests.iter().find(|guest| guest.conn == conn) {
                    guest.far.feed(bytes);
                }
            }
            Input::Closed(conn, why) => match why {
                // tokio-modbus answers what it has, lets go, and then our side is closed.
                Why::Finished => {
                    if let Some(guest) = self.guests.iter_mut().find(|guest| guest.conn == conn) {
                        guest.finished = true;
                        guest.far.end();
                    }
                }
                _ => {
                    if let Some(guest) = self.leave(conn) {
                        guest.far.end();
                    }
                }
            },
            Input::Datagram(..) | Input::Line(..) | Input::Writable(_) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (bytes, mut action) = self.actions.pop_front()?;
        if let Action::Send { range, .. } = &mut action {
            let start = out.len();
            out.extend_from_slice(&bytes);
            *range = start..out.len();
        }
        Some(action)
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::transport::LetGo;

    #[test]
    fn who_cannot_be_let_in_waits_and_the_fault_is_kept_until_the_bell_is_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Bound, and nobody listens yet: it is refused.
            let bell = TcpSocket::new_v4().unwrap();
            bell.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = bell.local_addr().unwrap();
            let (expected, fault) = (Expected::default(), Fault::default());
            let (newcomers, waiting) = unbounded_channel();
            tokio::spawn(doorman(address, Arc::clone(&expected), waiting, Arc::clone(&fault)));
            let (transport, far) = transport::pair(None);
            assert!(newcomers.send(transport).is_ok());
            while lock(&fault).is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!((far.let_go(), lock(&expected).len()), (LetGo::Not, 0));
            let (_doorbell, from) = bell.listen(1).unwrap().accept().await.unwrap();
            assert!(lock(&expected).remove(&from).is_some(), "the same one");
        });
    }
}
