//! Adapter to Modbus TCP: the station is the server, the PLC asks and writes; or, in `client.rs`, the other way round.
//!
//! One thread, `plc`, serves all connections, so writes reach the line in the order they were received. A request is answered from one image, and
//! a write is applied whole and told as one event. What is written stays until the station starts again.
//!
//! Bounds: at most [`CONNECTIONS_MAX`] connections, room for every address that may write among them; 1 KiB of requests a connection, one answer
//! at a time; a connection is closed that sends no whole request, or takes no answer, for [`ModbusConfig::silence_max`], or that speaks another
//! protocol. Whoever may only read gets exception 01 for writing.
//!
//! The framing is our own: the server of the crate `tokio-modbus` 0.17 panics on a coil write that announces more coils than it carries, closes
//! the connection where exception 03 is due, and waits for up to 64 KiB before it looks whether what comes is Modbus at all.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | thread, connections, log, counters |
//! | `frame.rs` | bytes: frames, requests, answers, exceptions; pure |
//! | `registers.rs` | what is behind the addresses; pure |
//! | `client.rs` | the other role: the station polls a PLC that is the server |
//! | `exchange.rs` | what it reads there, and writes in which order; pure |
//! | `reply.rs` | its requests, and which replies are taken for theirs; pure |
//! | `writer.rs` | who may write; pure |
//! | `seldom.rs` | how often a warning is said; pure |

pub mod client;
mod exchange;
mod frame;
mod registers;
mod reply;
mod seldom;
mod writer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

pub use self::exchange::Layout;
use self::frame::{Answer, FRAME_MAX, Frame, Garbage};
use self::registers::Holding;
use self::seldom::Seldom;
use self::writer::{Change, Writers};
use super::{PlcEvent, Shown};
use crate::flow::{self, now};
use crate::part::Nanos;

/// Connections served at a time.
pub const CONNECTIONS_MAX: usize = 32;

/// Addresses that may be allowed to write.
pub const WRITERS_MAX: usize = 16;

/// How long a connection may be silent unless configured otherwise. A PLC polls at least once a second.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Room for what a connection sent and is not answered yet; at least one frame.
const RECEIVED_MAX: usize = 1024;
const _: () = assert!(RECEIVED_MAX >= FRAME_MAX);

/// Pause after a connection could not be accepted, for want of file handles say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen and who may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusConfig {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Addresses that may write, at most [`WRITERS_MAX`]; one connection of them does at a time. All others read.
    pub writers: Vec<IpAddr>,
    /// Whether there are registers for tags that ride along with parts.
    pub tags: bool,
    /// A connection is closed after this time without a whole request; [`SILENCE_MAX`] suits PLCs.
    pub silence_max: Duration,
}

/// Why the PLC cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PlcError {
    /// Another program, or another station, has the port.
    #[error(
        "failed to listen for the PLC on {0}: another program has this port; stop it (`ss -tlnp` names it), or set another port in plc.listen"
    )]
    PortTaken(SocketAddr),
    /// Ports below 1024 are for programs with a capability.
    #[error(
        "failed to listen for the PLC on {0}: this port needs a permission; grant it (`setcap cap_net_bind_service=+ep` on the program, or \
         AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit), or set a port above 1023 in plc.listen"
    )]
    PortForbidden(SocketAddr),
    /// Anything else that the system says.
    #[error("failed to listen for the PLC on {0}: {1}; plc.listen must be an address of this machine and a free port")]
    Listen(SocketAddr, #[source] io::Error),
    /// More addresses may write than there is room for.
    #[error("failed to reserve connections for {0} addresses in plc.writers: {WRITERS_MAX} is the most; name only the PLCs")]
    TooManyWriters(usize),
    /// The system gives no thread, or no way to wait for connections.
    #[error("failed to start the thread that serves the PLC: {0}; raise the limits of this service for threads and open files")]
    Thread(#[source] io::Error),
}

/// What was counted since the start. Numbers only grow, unless they say otherwise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open now; falls as well.
    pub connections: AtomicU64,
    /// Connections that were accepted.
    pub accepted: AtomicU64,
    /// Connections that were closed at once, because there were [`CONNECTIONS_MAX`] already.
    pub turned_away: AtomicU64,
    /// Connections that were replaced by a newer one from the same address.
    pub replaced: AtomicU64,
    /// Connections that were closed because they do not speak Modbus TCP.
    pub garbage: AtomicU64,
    /// Connections that were closed because they were silent.
    pub silent: AtomicU64,
    /// Writes by those who may only read.
    pub refused_writes: AtomicU64,
    /// Requests that were answered, with exceptions too.
    pub requests: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The Modbus server of a station. Dropping it closes every connection.
#[derive(Debug)]
pub struct ModbusServer {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModbusServer {
    /// Listens, and serves from a thread of its own.
    ///
    /// `events` is called on that thread, in the order things happen; it may block for microseconds, as all connections wait meanwhile. No event tells
    /// the end of the server itself.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(config: &ModbusConfig, shown: Shown, events: impl Fn(PlcEvent) + Send + Sync + 'static) -> Result<Self, PlcError> {
        if config.writers.len() > WRITERS_MAX {
            return Err(PlcError::TooManyWriters(config.writers.len()));
        }
        let listener = flow::listen(config.listen).map_err(|error| refused(config.listen, error))?;
        let address = listener.local_addr().map_err(|error| refused(config.listen, error))?;
        listener.set_nonblocking(true).map_err(PlcError::Thread)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(PlcError::Thread)?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener).map_err(PlcError::Thread)?
        };
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = oneshot::channel();
        let config = config.clone();
        let thread = thread::Builder::new().name("plc".into()).spawn({
            let counters = Arc::clone(&counters);
            move || {
                let station = Station::new(&config, shown, Box::new(events), counters);
                LocalSet::new().block_on(&runtime, serve(listener, Rc::new(station), stopped));
            }
        });
        info!("serving the PLC on {address}");
        Ok(Self {
            address,
            counters,
            stop: Some(stop),
            thread: Some(thread.map_err(PlcError::Thread)?),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted; stays readable after the server is gone.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for ModbusServer {
    /// Waits for the thread: for the event in hand, if there is one. So the one who receives the events must not be the one who drops this.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that served the PLC had panicked");
        }
    }
}

fn refused(address: SocketAddr, error: io::Error) -> PlcError {
    match error.kind() {
        io::ErrorKind::AddrInUse => PlcError::PortTaken(address),
        io::ErrorKind::PermissionDenied => PlcError::PortForbidden(address),
        _ => PlcError::Listen(address, error),
    }
}

/// Everything that connections share. One thread has it, and no borrow is held across an await.
struct Station {
    shown: Shown,
    events: Box<dyn Fn(PlcEvent)>,
    counters: Arc<Counters>,
    silence_max: Duration,
    /// Connections that may be made from addresses that only read.
    readers_max: usize,
    holding: RefCell<Holding>,
    writers: RefCell<Writers<Id>>,
    garbage: RefCell<Seldom>,
    refusals: RefCell<Seldom>,
    full: RefCell<Seldom>,
}

impl Station {
    fn new(config: &ModbusConfig, shown: Shown, events: Box<dyn Fn(PlcEvent)>, counters: Arc<Counters>) -> Self {
        Self {
            shown,
            events,
            counters,
            silence_max: config.silence_max,
            readers_max: CONNECTIONS_MAX - config.writers.len().min(WRITERS_MAX),
            holding: RefCell::new(Holding::new(config.tags)),
            writers: RefCell::new(Writers::new(&config.writers)),
            garbage: RefCell::default(),
            refusals: RefCell::default(),
            full: RefCell::default(),
        }
    }

    /// Tells the line that the one writer went or came.
    fn tell(&self, change: &Change<Id>) {
        if change.lost {
            (self.events)(PlcEvent::Lost);
        }
        if change.gained {
            (self.events)(PlcEvent::Connected);
        }
    }

    /// Answers a frame that was received at a moment, and tells the line what it wrote.
    fn answer(&self, frame: &Frame<'_>, at: Nanos, client: Client, answer: &mut Answer) {
        count(&self.counters.requests);
        if frame.writes() && !self.writers.borrow().may_write(client.connection) {
            self.refuse(frame, client, answer);
            return;
        }
        let written = self.holding.borrow_mut().answer(frame, &self.shown.load(), answer);
        if let Some(written) = written {
            (self.events)(PlcEvent::Wrote {
                at,
                image: written.image,
                written: written.control,
            });
        }
    }

    fn refuse(&self, frame: &Frame<'_>, client: Client, answer: &mut Answer) {
        answer.exception(frame, frame::Exception::Function);
        count(&self.counters.refused_writes);
        if let Some(unsaid) = self.refusals.borrow_mut().due(now()) {
            let peer = client.peer;
            if self.writers.borrow().allows(peer.ip()) {
                warn!(%peer, unsaid, "refused a write: another address of plc.writers is connected and writes; disconnect it first");
            } else {
                warn!(%peer, unsaid, "refused a write: add the address to plc.writers if this is the PLC");
            }
        }
    }
}

/// Whose frame it is.
#[derive(Debug, Clone, Copy)]
struct Client {
    connection: Id,
    peer: SocketAddr,
}

/// Why a connection ended.
enum End {
    /// The client closed it.
    Closed,
    /// What came was not Modbus TCP.
    Garbage,
    /// Nothing whole came, or no answer was taken.
    Silent,
    /// It broke.
    Broken(io::Error),
}

/// The connections that are open.
struct Connections {
    station: Rc<Station>,
    tasks: JoinSet<End>,
    open: HashMap<Id, (SocketAddr, AbortHandle)>,
}

/// Accepts connections until told to stop. Connections end with this.
async fn serve(listener: TcpListener, station: Rc<Station>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = Connections {
        station,
        tasks: JoinSet::new(),
        open: HashMap::new(),
    };
    loop {
        tokio::select! {
            // In this order: who left makes room for who comes.
            biased;
            _ = &mut stopped => break,
            Some(ended) = connections.tasks.join_next_with_id() => match ended {
                Ok((connection, end)) => connections.ended(connection, &end),
                // Replaced, or panicked; neither is anything to say about the client.
                Err(error) => connections.ended(error.id(), &End::Closed),
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connections.begin(stream, peer),
                Err(error) => {
                    debug!("failed to accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.station.counters.connections.store(0, Ordering::Relaxed);
}

impl Connections {
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        let station = &self.station;
        let allowed = |address: &SocketAddr| station.writers.borrow().allows(address.ip());
        let readers = self.open.values().filter(|(other, _)| !allowed(other)).count();
        if !allowed(&peer) && readers >= station.readers_max {
            count(&station.counters.turned_away);
            if let Some(unsaid) = station.full.borrow_mut().due(now()) {
                warn!(%peer, unsaid, "turned a connection away: {readers} are reading already; close some of them");
            }
            return;
        }
        // Answers are small and awaited; the system must not collect them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, "failed to set TCP_NODELAY: {error}");
        }
        let task = self.tasks.spawn_local(converse(Rc::clone(station), stream, peer));
        let change = station.writers.borrow_mut().connect(task.id(), peer.ip());
        debug!(%peer, writes = change.gained, "connected");
        count(&station.counters.accepted);
        station.counters.connections.fetch_add(1, Ordering::Relaxed);
        station.tell(&change);
        self.open.insert(task.id(), (peer, task));
        if let Some((peer, replaced)) = change.replaced.and_then(|replaced| self.open.get(&replaced)) {
            count(&self.station.counters.replaced);
            info!(%peer, "closing a connection: a newer one from the same address takes over");
            replaced.abort();
        }
    }

    fn ended(&mut self, connection: Id, end: &End) {
        let station = &self.station;
        let Some((peer, _)) = self.open.remove(&connection) else { return };
        station.counters.connections.fetch_sub(1, Ordering::Relaxed);
        match end {
            End::Closed => debug!(%peer, "disconnected"),
            End::Broken(error) => debug!(%peer, "disconnected: {error}"),
            End::Silent => {
                count(&station.counters.silent);
                info!(%peer, "closed a connection that was silent for {:?}", station.silence_max);
            }
            End::Garbage => {
                count(&station.counters.garbage);
                if let Some(unsaid) = station.garbage.borrow_mut().due(now()) {
                    warn!(%peer, unsaid, "closed a connection that does not speak Modbus TCP");
                }
            }
        }
        let change = station.writers.borrow_mut().disconnect(connection);
        station.tell(&change);
    }
}

/// Answers one request after the other, in the order they come.
async fn converse(station: Rc<Station>, mut stream: TcpStream, peer: SocketAddr) -> End {
    let client = Client {
        connection: tokio::task::id(),
        peer,
    };
    let mut answer = Answer::default();
    let mut received = Received {
        bytes: [0; RECEIVED_MAX],
        filled: 0,
        at: Nanos::default(),
    };
    loop {
        // A whole silence for each request: bytes that trickle in do not prolong it.
        let length = match timeout(station.silence_max, received.frame(&mut stream)).await {
            Err(_) => return End::Silent,
            Ok(Err(end)) => return end,
            Ok(Ok(length)) => length,
        };
        let Ok(Some(frame)) = frame::first(&received.bytes[..length]) else {
            return End::Garbage;
        };
        station.answer(&frame, received.at, client, &mut answer);
        received.remove(length);
        match timeout(station.silence_max, stream.write_all(answer.bytes())).await {
            Err(_) => return End::Silent,
            Ok(Err(error)) => return End::Broken(error),
            Ok(Ok(())) => {}
        }
    }
}

/// What a connection sent and was not answered yet.
struct Received {
    bytes: [u8; RECEIVED_MAX],
    filled: usize,
    /// When the last of it came.
    at: Nanos,
}

impl Received {
    /// Waits for the first frame to be whole and returns its length.
    async fn frame(&mut self, stream: &mut TcpStream) -> Result<usize, End> {
        loop {
            match frame::first(&self.bytes[..self.filled]) {
                Err(Garbage) => return Err(End::Garbage),
                Ok(Some(frame)) => return Ok(frame.len()),
                Ok(None) => {}
            }
            match stream.read(&mut self.bytes[self.filled..]).await {
                Ok(0) => return Err(End::Closed),
                Ok(more) => self.filled += more,
                Err(error) => return Err(End::Broken(error)),
            }
            self.at = now();
        }
    }

    fn remove(&mut self, length: usize) {
        self.bytes.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}
