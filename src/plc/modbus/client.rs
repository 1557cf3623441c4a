//! Adapter to Modbus TCP: the PLC is the server, the station asks and writes.
//!
//! One thread, `plc`, has the one connection. It reads the PLC's registers every [`ClientConfig::poll`] and tells the line what changed; when the image is
//! swapped it writes at once. One request is on its way at a time. After a request without an answer the connection is reset, so that a late answer
//! is never taken and what was not sent yet is thrown away; then it connects again, after 100 ms, doubling to 1 s.
//!
//! Nothing is kept of a connection that ended: what the PLC holds is not known any more, so everything is lowered first and written anew. The image is written
//! whole with every heartbeat, ten times a second: a PLC behind a gateway that lost its memory has it again then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::PlcError;
use super::exchange::{self, Layout, Registers};
use super::frame::{self, FRAME_MAX, Garbage, Span};
use super::reply::{Ask, Unfit};
use super::seldom::Seldom;
use crate::flow::now;
use crate::line::image::{PlcImage, StationImage, control};
use crate::plc::delivery::{Delivered, Deliveries, Offer, WAITING_MAX};
use crate::plc::{PlcEvent, Shown};

/// The wait before connecting again: at first, and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Writes whose times are remembered: the slowest of them says how long the next may take.
const TIMES_KEPT: usize = 8;

/// How the PLC is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientConfig {
    /// The PLC.
    pub connect: SocketAddr,
    /// Its unit ID.
    pub unit_id: u8,
    /// Where it is read and written.
    pub layout: Layout,
    /// How often it is read.
    pub poll: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// How long the write of a result takes at most: an Ok is sent only while that is left until its deadline.
    pub write_max: Duration,
}

/// What the line thread tells the client: offers before the image that shows them is swapped, and that it was.
#[derive(Debug, Clone)]
pub struct ResultPort {
    offers: mpsc::Sender<Offer>,
    swapped: Arc<Notify>,
}

impl ResultPort {
    /// The next image shows this result. Where there is no room (the client stands still), the result is not sent as good.
    pub fn offer(&self, offer: Offer) {
        let _ = self.offers.try_send(offer);
    }

    /// The image was swapped.
    pub fn swapped(&self) {
        self.swapped.notify_one();
    }
}

/// What was measured since the start.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Connections that were made.
    pub connected: AtomicU64,
    /// Times that the PLC's registers were read.
    pub polls: AtomicU64,
    /// Requests that were answered as they should be.
    pub exchanges: AtomicU64,
    /// From these requests to their answers, microseconds altogether.
    pub exchange_us: AtomicU64,
    /// Connections that were closed because an answer did not come in time.
    pub timeouts: AtomicU64,
    /// The slowest of the last writes, microseconds.
    pub write_us_max: AtomicU64,
}

/// The client of a station. Dropping it lowers the PLC's status word, if that can be had at once, and disconnects.
#[derive(Debug)]
pub struct ModbusClient {
    counters: Arc<ClientCounters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModbusClient {
    /// Connects, again and again, from a thread of its own.
    ///
    /// `events` and `delivered` are called on that thread, in the order things happen; they may block for microseconds.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        config: ClientConfig,
        shown: Shown,
        events: impl Fn(PlcEvent) + Send + 'static,
        delivered: impl Fn(Delivered) + Send + 'static,
    ) -> Result<(Self, ResultPort), PlcError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(PlcError::Thread)?;
        let counters = Arc::new(ClientCounters::default());
        let (offers, offered) = mpsc::channel(WAITING_MAX);
        let port = ResultPort {
            offers,
            swapped: Arc::new(Notify::new()),
        };
        let (stop, stopped) = oneshot::channel();
        let client = Client {
            config,
            shown,
            events: Box::new(events),
            delivered: Box::new(delivered),
            offered,
            swapped: Arc::clone(&port.swapped),
            deliveries: Deliveries::new(),
            counters: Arc::clone(&counters),
            write_times: WriteTimes::default(),
            trouble: Trouble::default(),
            slow: Seldom::default(),
            transaction: 0,
        };
        let thread = thread::Builder::new()
            .name("plc".into())
            .spawn(move || runtime.block_on(client.run(stopped)))
            .map_err(PlcError::Thread)?;
        info!("polling the PLC at {}", config.connect);
        let client = Self {
            counters,
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((client, port))
    }

    /// What was measured; stays readable after the client is gone.
    pub fn counters(&self) -> Arc<ClientCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for ModbusClient {
    /// Waits for the thread: for one request at most.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that polled the PLC had panicked");
        }
    }
}

/// Why a connection ended, or none was made.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the PLC closed the connection")]
    Closed,
    #[error("the PLC did not answer within {0:?}")]
    Silent(Duration),
    #[error("what answers does not speak Modbus TCP")]
    Garbage,
    #[error("the PLC {what} when asked {asked}")]
    Refused { what: String, asked: String },
    /// The station stops.
    #[error("the station stops")]
    Stopped,
}

impl From<Garbage> for End {
    fn from(_: Garbage) -> Self {
        Self::Garbage
    }
}

/// What the client knows and whom it tells.
struct Client {
    config: ClientConfig,
    shown: Shown,
    events: Box<dyn Fn(PlcEvent) + Send>,
    delivered: Box<dyn Fn(Delivered) + Send>,
    offered: mpsc::Receiver<Offer>,
    swapped: Arc<Notify>,
    deliveries: Deliveries,
    counters: Arc<ClientCounters>,
    write_times: WriteTimes,
    trouble: Trouble,
    slow: Seldom,
    transaction: u16,
}

/// A connection, and what is known of the PLC at its other end.
struct Link {
    stream: TcpStream,
    /// What the PLC holds of the station's registers; `None` where nobody knows.
    written: Option<Registers>,
    /// What the PLC said last.
    heard: Option<PlcImage>,
}

impl Client {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut wait = RECONNECT.0;
        loop {
            let end = match self.connect().await {
                Ok(mut link) => {
                    let end = self.converse(&mut link, &mut stopped).await;
                    if link.heard.is_some() {
                        (self.events)(PlcEvent::Lost);
                        // It was a PLC that answers: the next attempt may come soon.
                        wait = RECONNECT.0;
                    }
                    self.close(link, &end).await;
                    end
                }
                Err(end) => end,
            };
            if matches!(end, End::Stopped) {
                return;
            }
            self.trouble.tell(self.config.connect, &end);
            if self.rest(wait, &mut stopped).await {
                return;
            }
            wait = (2 * wait).min(RECONNECT.1);
        }
    }

    async fn connect(&self) -> Result<Link, End> {
        let limit = self.config.response_timeout;
        let stream = timeout(limit, TcpStream::connect(self.config.connect)).await;
        let stream = stream.map_err(|_| End::Silent(limit))??;
        stream.set_nodelay(true)?;
        Ok(Link {
            stream,
            written: None,
            heard: None,
        })
    }

    /// Ends a connection: in order where the station stops, else at once, with all that was not sent yet.
    async fn close(&mut self, mut link: Link, end: &End) {
        if matches!(end, End::Stopped) {
            let lowered = self.write(&mut link, usize::from(crate::plc::signals::STATUS), &[0]).await;
            debug!(lowered = lowered.is_ok(), "disconnected from the PLC");
        } else if let Err(error) = link.stream.set_zero_linger() {
            debug!("failed to reset the connection to the PLC: {error}");
        }
    }

    /// Waits, while results run out of time. Returns whether the station stops.
    async fn rest(&mut self, wait: Duration, stopped: &mut oneshot::Receiver<()>) -> bool {
        let until = now() + wait;
        loop {
            self.take_offers();
            self.expire();
            let left = until.since(now());
            if left.is_zero() {
                return false;
            }
            let expires = self.expires_in().map_or(left, |expires| expires.min(left));
            tokio::select! {
                _ = &mut *stopped => return true,
                () = self.swapped.notified() => {}
                () = sleep(expires) => {}
            }
        }
    }

    /// Reads and writes until the connection ends.
    async fn converse(&mut self, link: &mut Link, stopped: &mut oneshot::Receiver<()>) -> End {
        loop {
            let turn = self.turn(link, stopped).await;
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Reads once, then writes what changes until the next reading is due.
    async fn turn(&mut self, link: &mut Link, stopped: &mut oneshot::Receiver<()>) -> Result<(), End> {
        let read_at = now();
        self.read(link).await?;
        let took = now().since(read_at);
        if took > self.config.poll
            && let Some(unsaid) = self.slow.due(now())
        {
            warn!(
                unsaid,
                "the PLC takes {took:?} to answer, which is longer than poll_ms {:?}; raise it, or lighten the PLC's communication",
                self.config.poll
            );
        }
        loop {
            self.show(link).await?;
            let left = (read_at + self.config.poll).since(now());
            if left.is_zero() {
                // Whoever is told to stop is not kept by a PLC that is slower than its poll.
                return if stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                    Ok(())
                } else {
                    Err(End::Stopped)
                };
            }
            let expires = self.expires_in().map_or(left, |expires| expires.min(left));
            tokio::select! {
                biased;
                _ = &mut *stopped => return Err(End::Stopped),
                () = self.swapped.notified() => {}
                () = sleep(expires) => {}
            }
            self.expire();
        }
    }

    /// Reads what the PLC says, and tells the line if that is something else than before.
    async fn read(&mut self, link: &mut Link) -> Result<(), End> {
        let layout = self.config.layout;
        let at = now();
        let block = self.ask_for(link, layout.block()).await?;
        let tags = match layout.tags() {
            Some(tags) => Some(self.ask_for(link, tags).await?),
            None => None,
        };
        self.counters.polls.fetch_add(1, Ordering::Relaxed);
        let image = exchange::plc_image(&block, tags.as_deref());
        if link.heard.is_none() {
            self.counters.connected.fetch_add(1, Ordering::Relaxed);
            self.trouble.ended(self.config.connect);
            (self.events)(PlcEvent::Connected);
        }
        if link.heard.replace(image) != Some(image) {
            // It was so when the answer was made, and may have been before.
            (self.events)(PlcEvent::Wrote {
                at,
                image,
                written: u16::MAX,
            });
            let acknowledged = image
                .is(control::RESULT_ACK)
                .then(|| self.deliveries.acknowledged(image.ack_result_id));
            acknowledged.flatten().into_iter().for_each(&self.delivered);
        }
        Ok(())
    }

    async fn ask_for(&mut self, link: &mut Link, span: Span) -> Result<Vec<u16>, End> {
        let ask = Ask::read(self.next_transaction(), self.config.unit_id, span);
        let asked = || {
            let (first, last) = (span.start, u32::from(span.start) + u32::from(span.count) - 1);
            format!("for holding registers {first} to {last}; the PLC's program must have them, or plc.read_base must be where they begin")
        };
        self.exchange(link, &ask, &asked).await
    }

    /// Writes registers from `first` on, counted from `write_base`.
    async fn write(&mut self, link: &mut Link, first: usize, words: &[u16]) -> Result<(), End> {
        let start = self.config.layout.write_base.saturating_add(first as u16);
        let ask = Ask::write(self.next_transaction(), self.config.unit_id, start, words);
        let asked = || {
            let last = u32::from(start) + words.len() as u32 - 1;
            format!(
                "to take holding registers {start} to {last}; the PLC's program must have them, or plc.write_base must be where they begin"
            )
        };
        let begun = now();
        self.exchange(link, &ask, &asked).await?;
        let slowest = self.write_times.add(now().since(begun));
        self.counters.write_us_max.store(slowest.as_micros() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// One request and its answer.
    async fn exchange(&mut self, link: &mut Link, ask: &Ask, asked: &dyn Fn() -> String) -> Result<Vec<u16>, End> {
        let limit = self.config.response_timeout;
        let begun = now();
        let answer = timeout(limit, answered(&mut link.stream, ask)).await;
        let answer = answer.unwrap_or_else(|_| {
            self.counters.timeouts.fetch_add(1, Ordering::Relaxed);
            Err(End::Silent(limit))
        });
        let words = answer?.map_err(|unfit| End::Refused {
            what: unfit.words(),
            asked: asked(),
        })?;
        self.counters.exchanges.fetch_add(1, Ordering::Relaxed);
        let took = now().since(begun).as_micros() as u64;
        self.counters.exchange_us.fetch_add(took, Ordering::Relaxed);
        Ok(words)
    }

    fn next_transaction(&mut self) -> u16 {
        self.transaction = self.transaction.wrapping_add(1);
        self.transaction
    }

    /// Writes the image that is shown, if the PLC has another.
    async fn show(&mut self, link: &mut Link) -> Result<(), End> {
        let Some(heard) = link.heard else { return Ok(()) };
        // The image first: offers are made before the image that shows them.
        let image = self.shown.load_full();
        self.take_offers();
        let next = exchange::registers(&image, heard.plc_session);
        let is_whole = heard.plc_session == image.echo_plc_session;
        if link.written.as_ref() == Some(&next) {
            return Ok(());
        }
        if is_whole && self.is_too_late(&image) {
            return Ok(());
        }
        let known = link.written.take();
        for write in exchange::writes(known.as_ref(), &next, self.config.layout.has_window) {
            if is_whole && write.raises {
                // Again, because the writes before took their time. What the PLC has now vouches for nothing.
                if self.is_too_late(&image) {
                    return Ok(());
                }
                self.deliveries.begin(&image);
            }
            self.write(link, write.first, &write.words).await?;
        }
        link.written = Some(next);
        if is_whole {
            let confirmed = self.deliveries.confirm(&image, now());
            confirmed.into_iter().for_each(&self.delivered);
        }
        Ok(())
    }

    fn take_offers(&mut self) {
        while let Ok(offer) = self.offered.try_recv() {
            let given_up = self.deliveries.offer(offer);
            given_up.into_iter().for_each(&self.delivered);
        }
    }

    /// Whether a result of this image would be too late; if so, the line is told, and shows another image at once.
    fn is_too_late(&mut self, image: &StationImage) -> bool {
        let allowance = self.allowance();
        let late = self.deliveries.may_send(image, now(), allowance).err().unwrap_or_default();
        late.iter().copied().for_each(&self.delivered);
        !late.is_empty()
    }

    fn expires_in(&mut self) -> Option<Duration> {
        let allowance = self.allowance();
        self.deliveries.expires_at(allowance).map(|at| at.since(now()))
    }

    /// Results whose time is over.
    fn expire(&mut self) {
        let allowance = self.allowance();
        let expired = self.deliveries.expire(now(), allowance);
        expired.into_iter().for_each(&self.delivered);
    }

    /// How long the next write may take: as configured, or as long as one took of late.
    fn allowance(&mut self) -> Duration {
        let slowest = self.write_times.slowest();
        if slowest > self.config.write_max
            && let Some(unsaid) = self.slow.due(now())
        {
            warn!(
                unsaid,
                "writes to the PLC take up to {slowest:?}, longer than plc_write_ms_max {:?}; results must be ready so much earlier, so raise it",
                self.config.write_max
            );
        }
        slowest.max(self.config.write_max)
    }
}

/// Sends a request and waits for its answer. What comes after it is thrown away with the connection.
async fn answered(stream: &mut TcpStream, ask: &Ask) -> Result<Result<Vec<u16>, Unfit>, End> {
    stream.write_all(ask.bytes()).await?;
    let mut received = [0; FRAME_MAX];
    let mut filled = 0;
    loop {
        if let Some(frame) = frame::first(&received[..filled])? {
            // More than the one answer belongs to no request.
            return Ok(if frame.len() == filled {
                ask.reply(&frame)
            } else {
                Err(Unfit::Foreign)
            });
        }
        match stream.read(&mut received[filled..]).await? {
            0 => return Err(End::Closed),
            more => filled += more,
        }
    }
}

/// How long the last writes took.
#[derive(Debug, Default)]
struct WriteTimes {
    times: [Duration; TIMES_KEPT],
    next: usize,
}

impl WriteTimes {
    /// Remembers a time and returns the longest of late.
    fn add(&mut self, time: Duration) -> Duration {
        self.times[self.next] = time;
        self.next = (self.next + 1) % TIMES_KEPT;
        self.slowest()
    }

    fn slowest(&self) -> Duration {
        self.times.into_iter().max().unwrap_or_default()
    }
}

/// Says once why there is no PLC, seldom again, and once that it is back.
#[derive(Debug, Default)]
struct Trouble {
    said: Option<String>,
    seldom: Seldom,
}

impl Trouble {
    fn tell(&mut self, plc: SocketAddr, end: &End) {
        let reason = end.to_string();
        let due = self.seldom.due(now());
        if self.said.as_ref() == Some(&reason) && due.is_none() {
            return;
        }
        warn!("failed to exchange registers with the PLC at {plc}: {reason}; trying again");
        self.said = Some(reason);
    }

    fn ended(&mut self, plc: SocketAddr) {
        let before = self.said.take();
        info!(after = before.as_deref().unwrap_or("the start"), "connected to the PLC at {plc}");
    }
}
