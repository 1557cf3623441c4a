//! The PLC's side of Modbus TCP: the twin as the master that reads the station's registers and writes its own.
//!
//! Every request waits for its own reply, [`RESPONSE_TIMEOUT`] at most; then the connection is closed, so that a late reply is never taken
//! for another. Connecting again waits 100 ms, doubling to 1 s. The moments at which bytes leave and arrive are taken at the socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Context as Task};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Context, Reader, Writer, tcp};

use super::plc_program::Reading;
use crate::flow::now;
use crate::line::config::ResultMode;
use crate::line::image::PlcImage;
use crate::part::Nanos;
use crate::plc::signals::{PLC_REGISTERS, STATION_REGISTERS, plc_registers, station_image, station_signal};

/// How long a reply may take.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);

/// The wait before connecting again: at first, and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Registers the PLC writes: all but those of a gate that the station owns.
pub(super) const WRITTEN: usize = 34;

/// Registers of status and result: address 0, this many.
const STATUS: usize = 44;

/// How old the copy of the status may get while only results are waited for.
const STATUS_AGE_MAX: Duration = Duration::from_millis(5);

/// What a poll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// Status and results.
    Everything,
    /// Results; in window mode they have a block of their own, and the status may be a little older.
    Results,
}

/// Registers of window mode.
const WINDOW: std::ops::Range<usize> = 100..STATION_REGISTERS;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct WireError {
    /// In words.
    pub(super) reason: String,
    /// When the request's last byte left, if it did.
    pub(super) sent: Option<Nanos>,
}

/// When a request left and its reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RoundTrip {
    /// The last byte of the request left.
    pub(super) sent: Nanos,
    /// The last byte of the reply arrived.
    pub(super) replied: Nanos,
}

/// The wire to a station.
pub(super) struct Wire {
    address: SocketAddr,
    mode: ResultMode,
    link: Option<Link>,
    /// The copy of the station's registers.
    registers: [u16; STATION_REGISTERS],
    /// When the status in it was asked for.
    status_at: Nanos,
    retry_at: Nanos,
    wait: Duration,
    /// Why it is down.
    trouble: Option<String>,
}

struct Link {
    context: Context,
    moments: Arc<Moments>,
}

/// When bytes last left and arrived, nanoseconds; 0 is never.
#[derive(Debug, Default)]
struct Moments {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Wire {
    /// A wire to the station at `address`, not connected yet.
    pub(super) fn new(address: SocketAddr, mode: ResultMode) -> Self {
        Self {
            address,
            mode,
            link: None,
            registers: [0; STATION_REGISTERS],
            status_at: Nanos::default(),
            retry_at: Nanos::default(),
            wait: RECONNECT.0,
            trouble: None,
        }
    }

    /// Whether a connection is there.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_some()
    }

    /// Why there is none, as far as is known.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Closes the connection; the next may be made at once.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
        self.retry_at = Nanos::default();
        self.wait = RECONNECT.0;
    }

    /// Connects, if it is time to. Returns whether a new connection was made.
    pub(super) async fn connect(&mut self) -> bool {
        if self.link.is_some() || now() < self.retry_at {
            return false;
        }
        match self.open().await {
            Ok(link) => {
                self.link = Some(link);
                self.status_at = Nanos::default();
                self.trouble = None;
                true
            }
            Err(error) => {
                self.fail(format!("failed to connect to {}: {error}", self.address));
                false
            }
        }
    }

    async fn open(&self) -> io::Result<Link> {
        let stream = timeout(RESPONSE_TIMEOUT, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        let moments = Arc::new(Moments::default());
        let stream = Stamped {
            stream,
            moments: Arc::clone(&moments),
        };
        Ok(Link {
            context: tcp::attach(stream),
            moments,
        })
    }

    fn fail(&mut self, reason: String) {
        self.link = None;
        self.trouble = Some(reason);
        self.retry_at = now() + self.wait;
        self.wait = (2 * self.wait).min(RECONNECT.1);
    }

    /// Writes what the PLC says, whole.
    ///
    /// # Errors
    /// When no fitting reply came in time; the connection is closed then.
    pub(super) async fn write(&mut self, image: &PlcImage) -> Result<RoundTrip, WireError> {
        self.write_registers(&plc_registers(image)).await
    }

    /// Writes the PLC's registers as they are, whole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) async fn write_registers(&mut self, registers: &[u16; PLC_REGISTERS]) -> Result<RoundTrip, WireError> {
        let words = &registers[..WRITTEN];
        let ((), trip) = self.call(async |context| context.write_multiple_registers(0, words).await).await?;
        Ok(trip)
    }

    /// The station's registers as they were last read.
    pub(super) fn registers(&self) -> &[u16; STATION_REGISTERS] {
        &self.registers
    }

    /// Reads what the station says: status and results, in window mode one after the other.
    ///
    /// # Errors
    /// When no fitting reply came in time; the connection is closed then.
    pub(super) async fn read(&mut self, poll: Poll) -> Result<Reading, WireError> {
        let windows = self.mode == ResultMode::Window;
        let status_is_old = now().since(self.status_at) > STATUS_AGE_MAX;
        let status = if !windows || poll == Poll::Everything || status_is_old {
            let trip = self.read_range(0..STATUS).await?;
            self.status_at = trip.sent;
            Some(trip)
        } else {
            None
        };
        let trip = match status {
            Some(trip) if !windows => trip,
            _ => self.read_range(WINDOW).await?,
        };
        let registers = &self.registers;
        let station = station_image(registers);
        let value = |name: &str| station_signal(name).map_or(0, |signal| signal.read(registers, 0));
        let (heartbeat, boot_id) = match self.mode {
            ResultMode::Single => (station.heartbeat, station.boot_id),
            ResultMode::Window => (value("WindowHeartbeat") as u16, value("WindowBootId") as u16),
        };
        let reading = Reading {
            whole: value("ResultIdTail") == station.result_id,
            heartbeat,
            boot_id,
            polled: trip.sent,
            received: trip.replied,
            station,
        };
        // A reply is what shows that the station is there; a connection alone is not.
        self.wait = RECONNECT.0;
        Ok(reading)
    }

    async fn read_range(&mut self, range: std::ops::Range<usize>) -> Result<RoundTrip, WireError> {
        let (address, count) = (range.start as u16, range.len() as u16);
        let (words, trip) = self
            .call(async |context| context.read_input_registers(address, count).await)
            .await?;
        if words.len() != range.len() {
            let reason = format!("failed to read {count} registers: the reply has {}", words.len());
            self.fail(reason.clone());
            return Err(WireError {
                reason,
                sent: Some(trip.sent),
            });
        }
        self.registers[range].copy_from_slice(&words);
        Ok(trip)
    }

    /// One request and its reply.
    async fn call<T>(&mut self, request: impl AsyncFnOnce(&mut Context) -> tokio_modbus::Result<T>) -> Result<(T, RoundTrip), WireError> {
        let Some(link) = &mut self.link else {
            return Err(WireError {
                reason: "not connected".into(),
                sent: None,
            });
        };
        let moments = Arc::clone(&link.moments);
        let before = moments.sent.load(Ordering::Relaxed);
        let reply = timeout(RESPONSE_TIMEOUT, request(&mut link.context)).await;
        let sent = moments.sent.load(Ordering::Relaxed);
        let reason = match reply {
            Ok(Ok(Ok(value))) => {
                let trip = RoundTrip {
                    sent: Nanos(sent),
                    replied: Nanos(moments.received.load(Ordering::Relaxed)),
                };
                return Ok((value, trip));
            }
            Ok(Ok(Err(exception))) => format!("the station refused: {exception}"),
            Ok(Err(error)) => format!("the connection broke: {error}"),
            Err(_) => format!("no reply within {} ms", RESPONSE_TIMEOUT.as_millis()),
        };
        self.fail(reason.clone());
        Err(WireError {
            reason,
            sent: (sent > before).then_some(Nanos(sent)),
        })
    }
}

/// A stream that notes when bytes leave and arrive.
#[derive(Debug)]
struct Stamped {
    stream: TcpStream,
    moments: Arc<Moments>,
}

impl AsyncRead for Stamped {
    fn poll_read(self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> task::Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(task, buffer);
        if buffer.filled().len() > filled {
            this.moments.received.store(now().0, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> task::Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Before the call: on one machine the reply may be under way before the call returns, and no outcome may seem older than its trigger.
        let leaves = now().0;
        let polled = Pin::new(&mut this.stream).poll_write(task, bytes);
        if let task::Poll::Ready(Ok(1..)) = polled {
            this.moments.sent.store(leaves, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Task<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Task<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Writes once to a station that makes this of the request's first bytes.
    fn written_to(reply: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> (Result<RoundTrip, WireError>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let station = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 13 + 2 * WRITTEN];
            stream.read_exact(&mut request).unwrap();
            request.truncate(12);
            let reply = reply(request);
            stream.write_all(&reply).unwrap();
            // Until the other side closes.
            let _ = stream.read(&mut [0]);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut wire = Wire::new(address, ResultMode::Window);
        let result = runtime.block_on(async {
            assert!(wire.connect().await, "{:?}", wire.trouble());
            wire.write(&PlcImage::default()).await
        });
        let up = wire.is_up();
        drop(wire);
        drop(runtime);
        station.join().unwrap();
        (result, up)
    }

    /// The reply to FC16 repeats address and count.
    fn fitting(mut request: Vec<u8>) -> Vec<u8> {
        request[5] = 6;
        request
    }

    #[test]
    fn a_reply_that_fits_tells_when_both_left() {
        let (trip, up) = written_to(fitting);
        let trip = trip.unwrap();
        assert!(trip.sent <= trip.replied && up);
    }

    #[test]
    fn a_reply_to_another_request_is_never_taken() {
        let (result, up) = written_to(|request| {
            let mut reply = fitting(request);
            reply[1] ^= 1;
            reply
        });
        assert!(result.unwrap_err().sent.is_some());
        assert!(!up);
    }

    #[test]
    fn an_exception_closes_the_connection_and_says_why() {
        let (result, up) = written_to(|request| [&request[..4], &[0, 3, request[6], 0x90, 2]].concat());
        let error = result.unwrap_err();
        assert!(error.reason.contains("refused"), "{error}");
        assert!(!up);
    }
}
