//! The station's client of the historian: sends what the journal committed, and notes what the historian acknowledged.
//!
//! One stream carries two lanes. LIVE is what was committed since the connection; BACKLOG is whatever else the historian does not hold, lowest
//! first. A live batch always goes before the next backlog batch, and the backlog may fill only half of the window, so live records never wait
//! behind more than one batch. Images go in calls of their own, one at a time, after their records were acknowledged.
//!
//! | bound | when reached |
//! |---|---|
//! | [`BATCH_BYTES`] of a batch, and one record | the next batch |
//! | the window of the historian's Welcome, at most [`WINDOW_BYTES_MAX`] | nothing is read until something is acknowledged |
//! | [`RANGES_LIVE_MAX`] pieces held | nothing is sent live until the backlog has closed gaps |
//! | [`BACKOFF_MIN`] doubling to [`BACKOFF_MAX`] between attempts | |
//! | [`REFUSED_PAUSE`] after a refusal | somebody must do something first |

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
pub use tonic::transport::Endpoint;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Status, Streaming};

use super::proto::historian_service_client::HistorianServiceClient;
use super::proto::{self, Lane, ingest_request, ingest_response, upload_image_request};
use crate::historian::held::Held;
use crate::historian::images::CHUNK_BYTES_MAX;
use crate::historian::ingest::FORMAT_VERSION;
use crate::journal::log::{ImageFile, LogError, RecordLog};
use crate::journal::record_table::SEQUENCES;

/// A batch has no further record when it has so many bytes.
pub const BATCH_BYTES: usize = 256 << 10;

/// Most bytes of records on the way, whatever the historian allows.
pub const WINDOW_BYTES_MAX: usize = 4 << 20;

/// With more pieces held than this, a live lane would soon make more than a historian keeps.
pub const RANGES_LIVE_MAX: usize = 512;

/// The first pause between attempts.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The pause after the historian refused the station.
pub const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// How long a connection may take, and Hello until its Welcome.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A historian that does not answer is asked so often, and is gone after as long again.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Messages that wait for the connection.
const OUTBOUND_MAX: usize = 1;

/// Images that are asked of the journal at a time.
const IMAGES_AT_A_TIME: usize = 8;

/// How long one image may take.
const IMAGE_MAX: Duration = Duration::from_mins(1);

/// How often the journal is asked for images when nothing says that there are some.
const IMAGES_PAUSE: Duration = Duration::from_secs(5);

/// How it stands between station and historian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwarderState {
    /// It has not been tried yet.
    Starting,
    /// Records flow.
    Connected,
    /// The historian is not reached; tried again within seconds.
    Waiting {
        /// Since when.
        since: Instant,
        /// What went wrong last.
        reason: String,
    },
    /// The historian does not take this station's records: somebody must do something. Tried again rarely.
    Refused {
        /// What the historian says.
        reason: String,
    },
}

/// Where the historian is: `http://HOST:PORT`, `https://` with `tls`.
///
/// # Errors
/// When that is no such address, or the certificates cannot be used.
pub fn endpoint(url: &str, tls: Option<ClientTlsConfig>) -> Result<Endpoint, String> {
    let wrong =
        |error: tonic::transport::Error| format!("failed to use {url:?} as the historian's address: {error}; write http://HOST:PORT");
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(wrong)?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    match tls {
        Some(tls) => endpoint.tls_config(tls).map_err(wrong),
        None => Ok(endpoint),
    }
}

/// Forwards until `stop`, whatever happens in between. `state` tells how it stands.
pub async fn forward(log: Arc<dyn RecordLog>, historian: Endpoint, state: watch::Sender<ForwarderState>, stop: CancellationToken) {
    let forwarder = Forwarder { log, historian, state };
    tokio::select! {
        () = stop.cancelled() => {}
        () = forwarder.run() => {}
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("failed to reach the historian at {uri}: {reason}")]
    Unreachable { uri: String, reason: String },
    #[error("{0}")]
    Told(String, Code),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("failed to read the journal: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("failed to go on: the historian ended the stream")]
    Closed,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Told(status.message().to_owned(), status.code())
    }
}

impl Ended {
    /// Whether trying again soon is of no use.
    fn is_refusal(&self) -> bool {
        use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented};
        let refusals = [
            AlreadyExists,
            FailedPrecondition,
            InvalidArgument,
            OutOfRange,
            PermissionDenied,
            Unauthenticated,
            Unimplemented,
        ];
        matches!(self, Self::Told(_, code) if refusals.contains(code))
    }
}

struct Forwarder {
    log: Arc<dyn RecordLog>,
    historian: Endpoint,
    state: watch::Sender<ForwarderState>,
}

impl Forwarder {
    async fn run(&self) {
        let mut backoff = BACKOFF_MIN;
        let mut since = Instant::now();
        loop {
            let mut progress = false;
            // A session ends with the reason why.
            let Err(ended) = self.session(&mut progress).await;
            if progress {
                backoff = BACKOFF_MIN;
                since = Instant::now();
            }
            let reason = ended.to_string();
            let pause = if ended.is_refusal() {
                tracing::error!("the historian refuses this station's records: {reason}");
                self.state.send_replace(ForwarderState::Refused { reason });
                REFUSED_PAUSE
            } else {
                tracing::info!("{reason}");
                self.state.send_replace(ForwarderState::Waiting { since, reason });
                backoff
            };
            tokio::time::sleep(jittered(pause)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One connection from beginning to end. `progress` tells whether anything was acknowledged.
    async fn session(&self, progress: &mut bool) -> Result<std::convert::Infallible, Ended> {
        let connected = tokio::time::timeout(CONNECT_MAX, self.historian.connect()).await;
        let unreachable = |reason: String| Ended::Unreachable {
            uri: self.historian.uri().to_string(),
            reason,
        };
        let channel = connected
            .map_err(|_| unreachable(format!("no answer within {} s", CONNECT_MAX.as_secs())))?
            .map_err(|error| unreachable(with_causes(&error)))?;
        let mut written = self.log.written_below();
        let written_below = *written.borrow_and_update();
        let hello = self.hello(written_below).await?;
        let next_sequence = hello.next_sequence;
        let (outbound, to_send) = mpsc::channel(OUTBOUND_MAX);
        let hello = proto::IngestRequest {
            message: Some(ingest_request::Message::Hello(hello)),
        };
        // The channel is empty: this cannot fail.
        outbound.try_send(hello).map_err(|_| Ended::Closed)?;
        let mut client = HistorianServiceClient::new(channel.clone());
        let begun = async {
            let mut answers = client.ingest(ReceiverStream::new(to_send)).await?.into_inner();
            let welcome = answers.message().await?.and_then(|answer| answer.message);
            match welcome {
                Some(ingest_response::Message::Welcome(welcome)) => Ok((welcome, answers)),
                _ => Err(Ended::Closed),
            }
        };
        let (welcome, answers) = tokio::time::timeout(CONNECT_MAX, begun)
            .await
            .map_err(|_| unreachable("it does not answer Hello".into()))??;
        self.state.send_replace(ForwarderState::Connected);
        let held = Held::from(welcome.held.as_slice());
        // More is held than this station knows: a connection broke before the acknowledgement came.
        *progress = *held.gap_from(next_sequence).start() > next_sequence;
        let delivery = Delivery {
            log: Arc::clone(&self.log),
            lanes: Lanes::new(&held, next_sequence, written_below, welcome.window_bytes),
            held,
            written,
            reading: None,
            ready: None,
            noting: None,
            to_note: Held::default(),
            noted: Arc::new(Notify::new()),
        };
        let images = Images {
            log: Arc::clone(&self.log),
            client: HistorianServiceClient::new(channel),
            noted: Arc::clone(&delivery.noted),
        };
        tokio::select! {
            ended = delivery.run(outbound, answers, progress) => ended,
            ended = images.run() => ended,
        }
    }

    async fn hello(&self, written_below: u64) -> Result<proto::Hello, Ended> {
        let log = Arc::clone(&self.log);
        let hello = move || -> Result<proto::Hello, LogError> {
            let next_sequence = log.acknowledged_below()?.max(1);
            let last = log.hash_of(next_sequence - 1)?;
            Ok(proto::Hello {
                station: log.station().to_owned(),
                epoch: log.epoch(),
                next_sequence,
                last_acknowledged_hash: last.map(Vec::from).unwrap_or_default(),
                written_below,
                format_version: FORMAT_VERSION,
                takt_version: env!("CARGO_PKG_VERSION").into(),
            })
        };
        Ok(tokio::task::spawn_blocking(hello).await??)
    }
}

/// What is read next, of which lane.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    lane: Lane,
    range: RangeInclusive<u64>,
}

/// What the historian holds or will hold, and what comes next. Pure.
#[derive(Debug)]
struct Lanes {
    /// Held by the historian, on the way to it, or not there any more.
    settled: Held,
    /// Everything below this is backlog.
    live_from: u64,
    /// Everything below this was looked at for the backlog.
    backlog_next: u64,
    /// What the next live record will be.
    live_next: u64,
    window: usize,
    /// What is on the way: lane, last sequence and bytes, by first sequence.
    on_the_way: BTreeMap<u64, (Lane, u64, usize)>,
}

impl Lanes {
    /// Of each range held whose acknowledgement never came, the last record goes again: its hash proves those before it.
    fn new(held: &Held, next_sequence: u64, written_below: u64, window_bytes: u32) -> Self {
        let settle = |range: &RangeInclusive<u64>| {
            let last = *range.end() - u64::from(*range.end() >= next_sequence);
            *range.start()..=last
        };
        let settled: Held = held.ranges().iter().map(settle).collect();
        // A live lane begins another piece. With very many of them everything is backlog.
        let live_from = if settled.len() > RANGES_LIVE_MAX {
            SEQUENCES
        } else {
            written_below
        };
        Self {
            settled,
            live_from,
            backlog_next: 1,
            live_next: live_from,
            window: (window_bytes as usize).min(WINDOW_BYTES_MAX),
            on_the_way: BTreeMap::new(),
        }
    }

    fn bytes(&self, lane: Option<Lane>) -> usize {
        let of_lane = self.on_the_way.values().filter(|(of, ..)| lane.is_none_or(|lane| lane == *of));
        of_lane.map(|(.., bytes)| bytes).sum()
    }

    /// What to read next, if the window lets it through.
    fn next(&mut self, written_below: u64) -> Option<Wanted> {
        // However small the window, one batch goes.
        if !self.on_the_way.is_empty() && self.bytes(None) >= self.window {
            return None;
        }
        if self.live_next < written_below {
            return Some(Wanted {
                lane: Lane::Live,
                range: self.live_next..=written_below - 1,
            });
        }
        let backlog_bytes = self.bytes(Some(Lane::Backlog));
        if backlog_bytes > 0 && backlog_bytes >= self.window / 2 {
            return None;
        }
        let gap = self.settled.gap_from(self.backlog_next);
        let range = *gap.start()..=*gap.end().min(&(self.live_from.min(written_below) - 1));
        self.backlog_next = *range.start();
        (!range.is_empty()).then_some(Wanted {
            lane: Lane::Backlog,
            range,
        })
    }

    /// Notes what was read for `wanted`: up to `last`, or nothing of it where it is `None`.
    fn sent(&mut self, wanted: &Wanted, batch: Option<RangeInclusive<u64>>, bytes: usize) {
        let next = batch.as_ref().map_or(*wanted.range.end(), |batch| *batch.end()) + 1;
        match wanted.lane {
            Lane::Live => self.live_next = next,
            Lane::Backlog | Lane::Unspecified => self.backlog_next = next,
        }
        if let Some(batch) = batch {
            self.settled.add(batch.clone());
            self.on_the_way.insert(*batch.start(), (wanted.lane, *batch.end(), bytes));
        }
    }

    /// Notes what the historian has committed.
    fn acknowledged(&mut self, acknowledged: &Held) {
        self.on_the_way.retain(|first, (_, last, _)| {
            !acknowledged
                .ranges()
                .iter()
                .any(|range| range.contains(first) && range.contains(last))
        });
    }
}

/// Records that were read together.
type Records = Vec<(u64, Vec<u8>)>;

/// A stream of records to the historian.
struct Delivery {
    log: Arc<dyn RecordLog>,
    lanes: Lanes,
    /// What the historian holds, as it said, and acknowledged since.
    held: Held,
    written: watch::Receiver<u64>,
    /// What is being read.
    reading: Option<(Wanted, JoinHandle<Result<Records, LogError>>)>,
    /// What was read and waits for the connection.
    ready: Option<proto::RecordBatch>,
    /// What is being noted as acknowledged; what comes meanwhile is noted together.
    noting: Option<JoinHandle<Result<(), LogError>>>,
    to_note: Held,
    noted: Arc<Notify>,
}

impl Delivery {
    async fn run(
        mut self,
        outbound: mpsc::Sender<proto::IngestRequest>,
        mut answers: Streaming<proto::IngestResponse>,
        progress: &mut bool,
    ) -> Result<std::convert::Infallible, Ended> {
        loop {
            self.read_next();
            self.note_next();
            tokio::select! {
                answer = answers.message() => {
                    self.take(answer?.ok_or(Ended::Closed)?);
                    *progress = true;
                }
                // A stream that takes nothing any more tells why in its last answer.
                Ok(place) = outbound.reserve(), if self.ready.is_some() && !outbound.is_closed() => {
                    let message = self.ready.take().map(ingest_request::Message::Records);
                    place.send(proto::IngestRequest { message });
                }
                read = finished(self.reading.as_mut().map(|(_, reading)| reading)) => {
                    let records = read??;
                    if let Some((wanted, _)) = self.reading.take() {
                        self.prepare(&wanted, records);
                    }
                }
                noted = finished(self.noting.as_mut()) => {
                    noted??;
                    self.noting = None;
                    self.noted.notify_one();
                }
                // The journal tells when something was committed; when it is gone this station ends.
                written = self.written.changed() => written.map_err(|_| Ended::Closed)?,
            }
        }
    }

    fn read_next(&mut self) {
        if self.ready.is_some() || self.reading.is_some() {
            return;
        }
        let written_below = *self.written.borrow_and_update();
        let Some(wanted) = self.lanes.next(written_below) else { return };
        let (log, range) = (Arc::clone(&self.log), wanted.range.clone());
        let reading = tokio::task::spawn_blocking(move || log.read(*range.start(), *range.end(), BATCH_BYTES));
        self.reading = Some((wanted, reading));
    }

    /// Makes a batch of those records that follow each other.
    fn prepare(&mut self, wanted: &Wanted, records: Records) {
        let Some(first) = records.first().map(|(sequence, _)| *sequence) else {
            return self.lanes.sent(wanted, None, 0);
        };
        let follow = (first..).zip(records).take_while(|(expected, (sequence, _))| expected == sequence);
        let records: Vec<Vec<u8>> = follow.map(|(_, (_, bytes))| bytes).collect();
        let last = first + records.len() as u64 - 1;
        let bytes = records.iter().map(Vec::len).sum();
        self.lanes.sent(wanted, Some(first..=last), bytes);
        self.ready = Some(proto::RecordBatch {
            lane: wanted.lane.into(),
            first_sequence: first,
            records,
        });
    }

    fn take(&mut self, answer: proto::IngestResponse) {
        if let Some(ingest_response::Message::Acknowledged(acknowledged)) = answer.message {
            let acknowledged = Held::from(acknowledged.ranges.as_slice());
            self.lanes.acknowledged(&acknowledged);
            acknowledged.ranges().iter().cloned().for_each(|range| self.held.add(range));
            // An acknowledged record is linked to those before it, so it acknowledges the whole range that it is in.
            let whole = self.held.ranges().iter().filter(|range| acknowledged.touches(range)).cloned();
            whole.for_each(|range| self.to_note.add(range));
        }
    }

    fn note_next(&mut self) {
        if self.noting.is_some() || self.to_note.is_empty() {
            return;
        }
        let (log, held) = (Arc::clone(&self.log), std::mem::take(&mut self.to_note));
        self.noting = Some(tokio::task::spawn_blocking(move || log.acknowledge(held.ranges())));
    }
}

/// When a task is finished; never where there is none.
async fn finished<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// The images of acknowledged records.
struct Images {
    log: Arc<dyn RecordLog>,
    client: HistorianServiceClient<Channel>,
    noted: Arc<Notify>,
}

impl Images {
    async fn run(mut self) -> Result<std::convert::Infallible, Ended> {
        loop {
            let log = Arc::clone(&self.log);
            let images = tokio::task::spawn_blocking(move || log.images_to_send(IMAGES_AT_A_TIME)).await??;
            let none = images.is_empty();
            let mut failed = false;
            for image in images {
                failed |= !self.send(image).await?;
            }
            if failed {
                tokio::time::sleep(IMAGES_PAUSE).await;
            } else if none {
                // Either way the journal is asked again.
                let _ = tokio::time::timeout(IMAGES_PAUSE, self.noted.notified()).await;
            }
        }
    }

    /// Sends an image and notes it; `false` if it has to be sent later.
    async fn send(&mut self, image: ImageFile) -> Result<bool, Ended> {
        let description = proto::ImageDescription {
            station: self.log.station().to_owned(),
            epoch: self.log.epoch(),
            sequence: image.sequence,
            camera: image.camera.clone(),
            media_type: image.media_type.clone(),
            size_bytes: image.size_bytes,
            sha256: image.sha256.to_vec(),
            width_px: image.size_px.0,
            height_px: image.size_px.1,
        };
        let (chunks, to_send) = mpsc::channel(OUTBOUND_MAX);
        let path = image.path.clone();
        let read = tokio::task::spawn_blocking(move || send_file(&path, description, &chunks));
        let uploaded = tokio::time::timeout(IMAGE_MAX, self.client.upload_image(ReceiverStream::new(to_send))).await;
        // An answer that came early ends the reading too.
        match (read.await?, uploaded) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("failed to send {}: it is gone", image.path.display());
            }
            (Err(error), _) => {
                tracing::warn!("failed to send {}: {error}; it is sent later", image.path.display());
                return Ok(false);
            }
            (Ok(()), Ok(Ok(_))) => {}
            (Ok(()), Ok(Err(status))) if matches!(status.code(), Code::AlreadyExists | Code::DataLoss | Code::InvalidArgument) => {
                tracing::error!(
                    "failed to send {}: {}; it is not sent again",
                    image.path.display(),
                    status.message()
                );
            }
            (Ok(()), Ok(Err(status))) => {
                tracing::info!("failed to send {}: {}; it is sent later", image.path.display(), status.message());
                return Ok(false);
            }
            (Ok(()), Err(_)) => return Ok(false),
        }
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.image_sent(image.sequence, &image.camera)).await??;
        Ok(true)
    }
}

/// Gives the description and the bytes of a file, until nobody takes them any more. Blocks.
fn send_file(path: &Path, description: proto::ImageDescription, chunks: &mpsc::Sender<proto::UploadImageRequest>) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    let mut message = upload_image_request::Message::Description(description);
    loop {
        if chunks.blocking_send(proto::UploadImageRequest { message: Some(message) }).is_err() {
            return Ok(());
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        (&mut file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        message = upload_image_request::Message::Chunk(chunk);
    }
}

/// An error with what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}

/// Half of a pause to all of it, by chance, so that stations do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(held: &[(u64, u64)], window_bytes: u32, written_below: u64) -> Lanes {
        let held: Held = held.iter().map(|&(first, last)| first..=last).collect();
        Lanes::new(&held, *held.gap_from(1).start(), written_below, window_bytes)
    }

    fn send(lanes: &mut Lanes, written_below: u64, records: u64, bytes: usize) -> Option<(Lane, RangeInclusive<u64>)> {
        let wanted = lanes.next(written_below)?;
        let last = (wanted.range.start() + records - 1).min(*wanted.range.end());
        let batch = *wanted.range.start()..=last;
        lanes.sent(&wanted, Some(batch.clone()), bytes);
        Some((wanted.lane, batch))
    }

    #[test]
    fn gaps_are_filled_from_below_and_live_goes_first() {
        let mut lanes = lanes(&[(1, 4), (8, 9)], 1000, 13);
        assert_eq!(send(&mut lanes, 13, 2, 1), Some((Lane::Backlog, 5..=6)));
        assert_eq!(send(&mut lanes, 15, 9, 1), Some((Lane::Live, 13..=14)));
        assert_eq!(send(&mut lanes, 15, 9, 1), Some((Lane::Backlog, 7..=7)));
        // Record 9 is held, but not acknowledged yet.
        assert_eq!(send(&mut lanes, 15, 9, 1), Some((Lane::Backlog, 9..=12)));
        assert_eq!(send(&mut lanes, 15, 9, 1), None);
        assert_eq!(send(&mut lanes, 16, 9, 1), Some((Lane::Live, 15..=15)));
    }

    #[test]
    fn the_backlog_leaves_half_of_the_window_to_live_records() {
        let mut lanes = lanes(&[], 100, 1001);
        assert_eq!(send(&mut lanes, 1001, 10, 60), Some((Lane::Backlog, 1..=10)));
        assert_eq!(send(&mut lanes, 1001, 10, 60), None);
        assert_eq!(send(&mut lanes, 1002, 10, 60), Some((Lane::Live, 1001..=1001)));
        assert_eq!(send(&mut lanes, 1003, 10, 60), None, "the window is full");
        lanes.acknowledged(&[1..=9].into_iter().collect());
        assert_eq!(send(&mut lanes, 1003, 10, 60), None, "a part of a batch frees nothing");
        lanes.acknowledged(&[1..=10].into_iter().collect());
        assert_eq!(send(&mut lanes, 1003, 10, 60), Some((Lane::Live, 1002..=1002)));
    }

    #[test]
    fn what_the_journal_has_no_more_is_passed_over() {
        let mut lanes = lanes(&[(50, 60)], 100, 71);
        let gone = lanes.next(71).unwrap();
        assert_eq!(gone.range, 1..=49);
        lanes.sent(&gone, None, 0);
        assert_eq!(send(&mut lanes, 71, 100, 1), Some((Lane::Backlog, 60..=70)));
        assert_eq!(lanes.next(71), None);
    }

    #[test]
    fn with_very_many_pieces_everything_is_backlog() {
        let held: Vec<(u64, u64)> = (1..=RANGES_LIVE_MAX as u64 + 1).map(|at| (at * 10, at * 10 + 1)).collect();
        let mut lanes = lanes(&held, 1000, 10_000);
        assert_eq!(send(&mut lanes, 10_001, 100, 1), Some((Lane::Backlog, 1..=9)));
        assert_eq!(send(&mut lanes, 10_001, 100, 1), Some((Lane::Backlog, 11..=19)));
    }

    #[test]
    fn pauses_differ_and_are_never_longer_than_said() {
        let pauses: Vec<Duration> = (0..20).map(|_| jittered(BACKOFF_MAX)).collect();
        assert!(pauses.iter().all(|pause| (BACKOFF_MAX / 2..=BACKOFF_MAX).contains(pause)));
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
