//! Modbus peers of another make (the crate `tokio-modbus`), for measurements and tests: a PLC that is the server, whose program looks at its memory; and a
//! master that asks for registers.

use std::collections::{HashMap, VecDeque};
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_modbus::client::{Context, Reader, Writer, tcp};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response};

use crate::flow::now;
use crate::part::Nanos;

/// Holding registers of a [`PlcMemory`]: all that have an address.
pub const REGISTERS: usize = 65_536;

/// Writes that are remembered with their moments; of older ones only the registers are.
const MOMENTS_MAX: usize = 1024;

/// A write of the station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// When the registers had it.
    pub at: Nanos,
    /// The first register.
    pub start: u16,
    /// How many.
    pub count: usize,
}

#[derive(Debug)]
struct Held {
    registers: Vec<u16>,
    written: VecDeque<Written>,
    writes: u64,
    /// How often it was read, by the first register that was asked for.
    reads: HashMap<u16, u64>,
}

/// The holding registers of a PLC that is the server.
#[derive(Debug, Clone)]
pub struct PlcMemory(Arc<(Mutex<Held>, Condvar)>);

impl Default for PlcMemory {
    fn default() -> Self {
        Self(Arc::new((
            Mutex::new(Held {
                registers: vec![0; REGISTERS],
                written: VecDeque::new(),
                writes: 0,
                reads: HashMap::new(),
            }),
            Condvar::new(),
        )))
    }
}

impl PlcMemory {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers as they are, fewer where there are not so many.
    pub fn get(&self, start: u16, count: usize) -> Vec<u16> {
        let held = self.held();
        held.registers.iter().skip(start.into()).take(count).copied().collect()
    }

    /// The PLC's own program writes.
    pub fn put(&self, start: u16, words: &[u16]) {
        let mut held = self.held();
        held.registers
            .iter_mut()
            .skip(start.into())
            .zip(words)
            .for_each(|(register, word)| *register = *word);
    }

    /// The PLC's own program writes, and waits until the station has read the first of these registers, for `patience` at most. Returns whether it has.
    pub fn put_until_read(&self, start: u16, words: &[u16], patience: Duration) -> bool {
        self.put(start, words);
        let reads = |held: &Held| held.reads.get(&start).copied().unwrap_or(0);
        // A read that is counted from now on was answered with them.
        let seen = reads(&self.held());
        let waited = self.0.1.wait_timeout_while(self.held(), patience, |held| reads(held) == seen);
        reads(&waited.unwrap_or_else(PoisonError::into_inner).0) != seen
    }

    /// Registers as they are, and when the station last wrote at least `least` of them from the first on; `None` where it did not since
    /// [`Self::forget_writes`].
    pub fn get_since_written(&self, start: u16, least: usize, count: usize) -> (Option<Nanos>, Vec<u16>) {
        let held = self.held();
        let last = held.written.iter().rev().find(|write| write.start == start && write.count >= least);
        let registers = held.registers.iter().skip(start.into()).take(count).copied().collect();
        (last.map(|write| write.at), registers)
    }

    /// What was written is not remembered as written; the registers stay.
    pub fn forget_writes(&self) {
        self.held().written.clear();
    }

    /// Waits until the station wrote more than `seen` times, for `patience` at most. Returns how often it wrote.
    pub fn wait(&self, seen: u64, patience: Duration) -> u64 {
        let waited = self.0.1.wait_timeout_while(self.held(), patience, |held| held.writes <= seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.writes
    }

    /// The writes of late, oldest first; they are forgotten.
    pub fn take_written(&self) -> Vec<Written> {
        self.held().written.drain(..).collect()
    }

    fn answer(&self, request: &Request<'_>) -> Result<Response, ExceptionCode> {
        let mut held = self.held();
        match request {
            Request::ReadHoldingRegisters(start, count) => {
                let range = usize::from(*start)..usize::from(*start) + usize::from(*count);
                let words = held.registers.get(range).ok_or(ExceptionCode::IllegalDataAddress)?.to_vec();
                *held.reads.entry(*start).or_default() += 1;
                drop(held);
                self.0.1.notify_all();
                Ok(Response::ReadHoldingRegisters(words))
            }
            Request::WriteMultipleRegisters(start, words) => {
                let range = usize::from(*start)..usize::from(*start) + words.len();
                let place = held.registers.get_mut(range).ok_or(ExceptionCode::IllegalDataAddress)?;
                place.copy_from_slice(words);
                if held.written.len() == MOMENTS_MAX {
                    held.written.pop_front();
                }
                held.written.push_back(Written {
                    at: now(),
                    start: *start,
                    count: words.len(),
                });
                held.writes += 1;
                drop(held);
                self.0.1.notify_all();
                Ok(Response::WriteMultipleRegisters(*start, words.len() as u16))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }
}

impl Service for PlcMemory {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        ready(self.answer(&request))
    }
}

/// The server in front of a memory, on a thread of its own. Dropping it ends it with all its connections; the memory stays.
#[derive(Debug)]
pub struct PlcServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PlcServer {
    /// Serves this memory at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(address: SocketAddr, memory: PlcMemory) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let server = Server::new(listener);
            let connected = |stream: tokio::net::TcpStream, _| {
                let memory = memory.clone();
                async move {
                    stream.set_nodelay(true)?;
                    Ok(Some((memory, stream)))
                }
            };
            tokio::select! {
                _ = server.serve(&connected, |_| {}) => {}
                _ = stopped => {}
            }
        };
        let thread = thread::Builder::new()
            .name("foreign-plc".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PlcServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A master, one request at a time.
pub struct Master {
    runtime: tokio::runtime::Runtime,
    context: Context,
}

impl Master {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let context = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(tcp::attach(stream))
        })?;
        Ok(Self { runtime, context })
    }

    /// Reads holding registers.
    ///
    /// # Errors
    /// When there is no fitting answer.
    pub fn read(&mut self, start: u16, count: u16) -> io::Result<Vec<u16>> {
        let answer = self.runtime.block_on(self.context.read_holding_registers(start, count));
        answer.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// Writes holding registers.
    ///
    /// # Errors
    /// When there is no fitting answer.
    pub fn write(&mut self, start: u16, words: &[u16]) -> io::Result<()> {
        let answer = self.runtime.block_on(self.context.write_multiple_registers(start, words));
        answer.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}
