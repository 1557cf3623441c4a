//! The historian's gRPC service: a store and an image folder, served.
//!
//! | bound | when reached |
//! |---|---|
//! | [`MESSAGE_BYTES_MAX`] | the message is refused |
//! | [`WINDOW_BYTES`] of a stream are being stored | the stream is not read further |
//! | [`STREAMS_MAX`] stations deliver at a time | the next is turned away |
//! | one stream a station | the newest takes over, the older one ends |
//! | [`UPLOADS_MAX`] images are received at a time | the next is turned away, and comes again |
//! | [`SILENCE_MAX`] until Hello, or between chunks of an image | the call ends |
//! | [`QUESTION_MAX`] for a question | it is interrupted |
//! | the store's readers and waiting places | the question is refused |
//! | [`STOP_MAX`] to end calls at a stop | connections are dropped |

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::access::{Access, Role};
use super::proto::historian_service_server::{HistorianService, HistorianServiceServer};
use super::proto::{self, ingest_request, ingest_response};
use crate::historian::images::{self, ImageError, ImageFolder, Receiving};
use crate::historian::ingest::{self, BATCH_BYTES_MAX, Refusal};
use crate::historian::store::{ChainKey, Store, StoreError};

/// Largest message that is read, bytes: a batch, and what describes it.
pub const MESSAGE_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// Bytes of records of a station that may be on their way without an acknowledgement.
pub const WINDOW_BYTES: usize = 4 << 20;

/// Stations that deliver at a time.
pub const STREAMS_MAX: usize = 256;

/// Images that are received at a time.
pub const UPLOADS_MAX: usize = 32;

/// How long to wait for what must come next in a call.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long a question may take.
pub const QUESTION_MAX: Duration = Duration::from_secs(30);

/// How long calls may take to end at a stop.
pub const STOP_MAX: Duration = Duration::from_secs(3);

/// A peer that does not answer is asked so often, and is gone after as long again.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Answers that wait for their reader.
const ANSWERS_MAX: usize = 4;

/// Bytes that a stream may have on the way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Why the historian cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("failed to serve the historian: {0}")]
pub struct ServeError(String);

/// Serves until `stop`, with health and reflection; plain without `tls`.
///
/// # Errors
/// When the listener or the certificates cannot be used.
pub async fn serve<S: Store>(
    listener: TcpListener,
    historian: Historian<S>,
    tls: Option<ServerTlsConfig>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let told = |error: &dyn std::error::Error| ServeError(with_causes(error));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<HistorianServiceServer<Historian<S>>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(4 * STREAM_WINDOW_BYTES);
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(|error| told(&error))?;
    }
    let stopping = historian.stop.clone();
    let service = HistorianServiceServer::new(historian).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let serving = server
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(|error| told(&error))?)
        .add_service(reflection().build_v1alpha().map_err(|error| told(&error))?)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        // Streams of stations would go on for ever.
        stopping.cancel();
        tokio::time::sleep(STOP_MAX).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| told(&error)),
        () = overdue => Ok(()),
    }
}

/// An error with what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}

/// The service.
#[derive(Debug)]
pub struct Historian<S> {
    store: Arc<S>,
    images: ImageFolder,
    access: Access,
    streams: Arc<Streams>,
    uploads: Arc<Semaphore>,
    stop: CancellationToken,
}

impl<S: Store> Historian<S> {
    /// A service over a store and a folder.
    pub fn new(store: S, images: ImageFolder, access: Access) -> Self {
        Self {
            store: Arc::new(store),
            images,
            access,
            streams: Arc::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            stop: CancellationToken::new(),
        }
    }

    /// What the store answers to a question, in time.
    async fn answer<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, Status> {
        match tokio::time::timeout(QUESTION_MAX, question).await {
            Ok(answer) => answer.map_err(store_status),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "failed to answer within {} s; ask for less: a shorter time, fewer stations",
                QUESTION_MAX.as_secs()
            ))),
        }
    }

    /// Whether the station continues what is held, and what that is.
    async fn welcome(&self, hello: &proto::Hello) -> Result<(ChainKey, proto::Welcome), Status> {
        let chain = ingest::chain_of(hello).map_err(refusal_status)?;
        let held = self.store.held(&chain).await.map_err(store_status)?;
        let last = proto::RecordKey {
            station: chain.station.clone(),
            epoch: chain.epoch,
            sequence: hello.next_sequence - 1,
        };
        let last_hash = self.store.hash_of(&last).await.map_err(store_status)?;
        ingest::check_hello(hello, &held, last_hash).map_err(|refusal| {
            tracing::error!("{refusal}");
            refusal_status(refusal)
        })?;
        let welcome = proto::Welcome {
            held: held.to_proto(),
            window_bytes: WINDOW_BYTES as u32,
        };
        Ok((chain, welcome))
    }

    /// The image of a record that a camera took.
    async fn image(&self, key: &proto::RecordKey, camera: &str) -> Result<Option<proto::ImageDescription>, Status> {
        let images = self.store.images(key).await.map_err(store_status)?;
        Ok(images.into_iter().find(|image| image.camera == camera))
    }
}

/// The answers of a stream.
type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl<S: Store> HistorianService for Historian<S> {
    type IngestStream = Answers<proto::IngestResponse>;
    type QueryRecordsStream = tokio_stream::Iter<std::vec::IntoIter<Result<proto::QueryRecordsResponse, Status>>>;
    type GetImageStream = Answers<proto::GetImageResponse>;

    async fn ingest(&self, request: Request<Streaming<proto::IngestRequest>>) -> Result<Response<Self::IngestStream>, Status> {
        let (caller, mut requests) = apart(request);
        let first = next(&mut requests).await?.and_then(|request| request.message);
        let Some(ingest_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("failed to begin: the first message must be Hello"));
        };
        self.access.require_station(&caller, &hello.station)?;
        let (chain, welcome) = self.welcome(&hello).await?;
        let stream = Streams::enter(&self.streams, &chain.station)?;
        let (answers, to_send) = mpsc::channel(ANSWERS_MAX);
        let delivery = Delivery {
            store: Arc::clone(&self.store),
            chain,
            commits: JoinSet::new(),
            bytes: 0,
        };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let welcome = ingest_response::Message::Welcome(welcome);
            let ended = tokio::select! {
                ended = delivery.run(welcome, requests, &answers) => ended,
                () = stream.taken_over.cancelled() => Err(Status::aborted("failed to go on: a newer stream of this station took over")),
                () = stop.cancelled() => Err(Status::unavailable("failed to go on: the historian stops; connect again later")),
            };
            if let Err(status) = ended {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(to_send)))
    }

    async fn upload_image(
        &self,
        request: Request<Streaming<proto::UploadImageRequest>>,
    ) -> Result<Response<proto::UploadImageResponse>, Status> {
        use proto::upload_image_request::Message;
        let (caller, mut requests) = apart(request);
        let first = next(&mut requests).await?.and_then(|request| request.message);
        let Some(Message::Description(description)) = first else {
            return Err(Status::invalid_argument("failed to begin: the first message must be a description"));
        };
        self.access.require_station(&caller, &description.station)?;
        images::check(&description).map_err(refusal_status)?;
        let answer = |already_held| Ok(Response::new(proto::UploadImageResponse { already_held }));
        let key = proto::RecordKey {
            station: description.station.clone(),
            epoch: description.epoch,
            sequence: description.sequence,
        };
        if let Some(held) = self.image(&key, &description.camera).await? {
            return if held.sha256 == description.sha256 {
                answer(true)
            } else {
                Err(Status::already_exists(format!(
                    "failed to receive an image: another one of record {} and camera {} is held; it stays",
                    key.sequence, description.camera
                )))
            };
        }
        if self.store.hash_of(&key).await.map_err(store_status)?.is_none() {
            let reason = format!(
                "failed to receive an image: record {} of {} is not held; send it first",
                key.sequence, key.station
            );
            return Err(Status::failed_precondition(reason));
        }
        let _place = self.uploads.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!(
                "failed to receive an image: {UPLOADS_MAX} are being received; send it later"
            ))
        })?;
        let folder = self.images.clone();
        let described = description.clone();
        let mut receiving = on_disk(move || folder.receive(&described)).await?;
        while let Some(request) = next(&mut requests).await? {
            let Some(Message::Chunk(chunk)) = request.message else {
                return Err(Status::invalid_argument(
                    "failed to receive an image: after its description come chunks",
                ));
            };
            receiving = on_disk(move || receiving.write(&chunk).map(|()| receiving)).await?;
        }
        on_disk(move || Receiving::finish(receiving)).await?;
        self.store.note_image(description).await.map_err(store_status)?;
        answer(false)
    }

    async fn query_records(&self, request: Request<proto::QueryRecordsRequest>) -> Result<Response<Self::QueryRecordsStream>, Status> {
        use proto::query_records_response::Message;
        self.access.require(&request, Role::Read)?;
        let page = self.answer(self.store.query_records(request.into_inner())).await?;
        let end = Message::End(proto::PageEnd {
            next_cursor: page.next_cursor,
        });
        let messages = page.records.into_iter().map(Message::Record).chain([end]);
        let answers: Vec<_> = messages
            .map(|message| Ok(proto::QueryRecordsResponse { message: Some(message) }))
            .collect();
        Ok(Response::new(tokio_stream::iter(answers)))
    }

    async fn get_record(&self, request: Request<proto::GetRecordRequest>) -> Result<Response<proto::GetRecordResponse>, Status> {
        self.access.require(&request, Role::Read)?;
        let key = asked(request.into_inner().key)?;
        let found = self.answer(self.store.record(key.clone())).await?;
        let Some(found) = found else {
            return Err(not_held(&key));
        };
        let images = self.store.images(&key).await.map_err(store_status)?;
        Ok(Response::new(proto::GetRecordResponse {
            record: found.bytes,
            hash: found.hash.to_vec(),
            images,
            related: found.related,
        }))
    }

    async fn pareto(&self, request: Request<proto::ParetoRequest>) -> Result<Response<proto::ParetoResponse>, Status> {
        self.access.require(&request, Role::Read)?;
        self.answer(self.store.pareto(request.into_inner())).await.map(Response::new)
    }

    async fn r#yield(&self, request: Request<proto::YieldRequest>) -> Result<Response<proto::YieldResponse>, Status> {
        self.access.require(&request, Role::Read)?;
        self.answer(self.store.yield_steps(request.into_inner())).await.map(Response::new)
    }

    async fn get_image(&self, request: Request<proto::GetImageRequest>) -> Result<Response<Self::GetImageStream>, Status> {
        use proto::get_image_response::Message;
        self.access.require(&request, Role::Read)?;
        let request = request.into_inner();
        let key = asked(request.key)?;
        let Some(description) = self.image(&key, &request.camera).await? else {
            return Err(Status::not_found(format!(
                "failed to find an image of record {} of station {}, camera {}; GetRecord tells which are held",
                key.sequence, key.station, request.camera
            )));
        };
        let folder = self.images.clone();
        let described = description.clone();
        let mut reading = on_disk(move || folder.read(&described)).await?;
        let (answers, to_send) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(async move {
            let mut message = Message::Description(description);
            // Until the last chunk, an error, or nobody takes them any more.
            while answers.send(Ok(proto::GetImageResponse { message: Some(message) })).await.is_ok() {
                match on_disk(move || reading.next_chunk().map(|chunk| (chunk, reading))).await {
                    Ok((None, _)) => return,
                    Ok((Some(chunk), rest)) => (message, reading) = (Message::Chunk(chunk), rest),
                    Err(status) => {
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(to_send)))
    }

    async fn list_stations(&self, request: Request<proto::ListStationsRequest>) -> Result<Response<proto::ListStationsResponse>, Status> {
        self.access.require(&request, Role::Read)?;
        let stations = self.answer(self.store.stations()).await?;
        Ok(Response::new(proto::ListStationsResponse { stations }))
    }
}

/// A station's records on their way into the store.
struct Delivery<S> {
    store: Arc<S>,
    chain: ChainKey,
    /// What is being stored, each with its sequences and bytes.
    commits: JoinSet<Result<(proto::SequenceRange, usize), StoreError>>,
    bytes: usize,
}

impl<S: Store> Delivery<S> {
    /// Stores what comes and acknowledges what is stored, until the station ends the stream.
    async fn run(
        mut self,
        welcome: ingest_response::Message,
        mut requests: Streaming<proto::IngestRequest>,
        answers: &mpsc::Sender<Result<proto::IngestResponse, Status>>,
    ) -> Result<(), Status> {
        let answer = async |message| {
            let answer = proto::IngestResponse { message: Some(message) };
            let gone = |_| Status::cancelled("the station went away");
            answers.send(Ok(answer)).await.map_err(gone)
        };
        answer(welcome).await?;
        let mut is_open = true;
        while is_open || !self.commits.is_empty() {
            tokio::select! {
                biased;
                Some(committed) = self.commits.join_next() => {
                    let acknowledged = self.committed(committed)?;
                    answer(ingest_response::Message::Acknowledged(acknowledged)).await?;
                }
                request = requests.message(), if is_open && self.bytes < WINDOW_BYTES => match request? {
                    Some(request) => self.take(request)?,
                    None => is_open = false,
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, request: proto::IngestRequest) -> Result<(), Status> {
        let Some(ingest_request::Message::Records(batch)) = request.message else {
            return Err(Status::invalid_argument("failed to go on: after Hello come records"));
        };
        let bytes = ingest::batch_bytes(&batch);
        let batch = ingest::read_batch(&self.chain, batch).map_err(refusal_status)?;
        let range = match (batch.records.first(), batch.records.last()) {
            (Some(first), Some(last)) => proto::SequenceRange {
                first: first.sequence,
                last: last.sequence,
            },
            _ => return Ok(()),
        };
        self.bytes += bytes;
        let store = Arc::clone(&self.store);
        self.commits
            .spawn(async move { store.commit(batch).await.map(|()| (range, bytes)) });
        Ok(())
    }

    /// What is stored now: this, and whatever else has been stored meanwhile.
    fn committed(
        &mut self,
        committed: Result<Result<(proto::SequenceRange, usize), StoreError>, tokio::task::JoinError>,
    ) -> Result<proto::Acknowledged, Status> {
        let mut ranges = Vec::new();
        let mut next = Some(committed);
        while let Some(committed) = next {
            let (range, bytes) = committed
                .map_err(|error| Status::internal(format!("failed to store records: {error}")))?
                .map_err(store_status)?;
            self.bytes -= bytes;
            ranges.push(range);
            next = self.commits.try_join_next();
        }
        Ok(proto::Acknowledged { ranges })
    }
}

/// Which stations deliver now.
#[derive(Debug, Default)]
struct Streams {
    last: AtomicU64,
    by_station: Mutex<HashMap<String, (u64, DropGuard)>>,
}

/// The place of a stream; dropping it leaves.
struct Place {
    streams: Arc<Streams>,
    station: String,
    number: u64,
    taken_over: CancellationToken,
}

impl Streams {
    /// Takes the place of a station; whoever had it is told.
    fn enter(streams: &Arc<Self>, station: &str) -> Result<Place, Status> {
        let mut by_station = streams.by_station.lock().unwrap_or_else(PoisonError::into_inner);
        if by_station.len() >= STREAMS_MAX && !by_station.contains_key(station) {
            return Err(Status::resource_exhausted(format!(
                "failed to begin: {STREAMS_MAX} stations deliver already; connect again later, or run a second historian"
            )));
        }
        let taken_over = CancellationToken::new();
        let number = streams.last.fetch_add(1, Ordering::Relaxed);
        by_station.insert(station.to_owned(), (number, taken_over.clone().drop_guard()));
        Ok(Place {
            streams: Arc::clone(streams),
            station: station.to_owned(),
            number,
            taken_over,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_station = self.streams.by_station.lock().unwrap_or_else(PoisonError::into_inner);
        if by_station.get(&self.station).is_some_and(|(number, _)| *number == self.number) {
            by_station.remove(&self.station);
        }
    }
}

/// Who calls, and what they send.
fn apart<T>(request: Request<Streaming<T>>) -> (Request<()>, Streaming<T>) {
    let (metadata, extensions, requests) = request.into_parts();
    (Request::from_parts(metadata, extensions, ()), requests)
}

/// The next message of a caller who may not be silent for long.
async fn next<T>(requests: &mut Streaming<T>) -> Result<Option<T>, Status> {
    let silent = |_| {
        Status::deadline_exceeded(format!(
            "failed to go on: nothing came for {} s; begin again",
            SILENCE_MAX.as_secs()
        ))
    };
    tokio::time::timeout(SILENCE_MAX, requests.message()).await.map_err(silent)?
}

/// Runs what blocks on the image folder.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, ImageError> + Send + 'static) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(image_status),
        Err(error) => Err(Status::internal(format!("failed to use the image folder: {error}"))),
    }
}

fn asked(key: Option<proto::RecordKey>) -> Result<proto::RecordKey, Status> {
    key.ok_or_else(|| Status::invalid_argument("failed to find a record: the request has no key"))
}

fn not_held(key: &proto::RecordKey) -> Status {
    Status::not_found(format!(
        "failed to find record {} of station {}, epoch {}; ListStations tells what is held",
        key.sequence, key.station, key.epoch
    ))
}

fn refusal_status(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Malformed { .. } => Status::invalid_argument(text),
        Refusal::Newer { .. } | Refusal::OtherChain { .. } => Status::failed_precondition(text),
    }
}

fn store_status(error: StoreError) -> Status {
    let text = error.to_string();
    match error {
        StoreError::Refused(refusal) => refusal_status(refusal),
        StoreError::Scattered { .. } | StoreError::Full { .. } | StoreError::Busy { .. } => Status::resource_exhausted(text),
        StoreError::Unavailable { .. } => Status::unavailable(text),
        StoreError::Question(_) => Status::invalid_argument(text),
    }
}

fn image_status(error: ImageError) -> Status {
    let text = error.to_string();
    match error {
        ImageError::Refused(refusal) => refusal_status(refusal),
        ImageError::Damaged { .. } => Status::data_loss(text),
        ImageError::Lost { .. } => Status::not_found(text),
        ImageError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Status::resource_exhausted(text),
        ImageError::Disk { .. } => Status::unavailable(text),
    }
}

/// Where the historian listens.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let told = |error| ServeError(format!("{address}: {error}; choose another address, or end what listens there"));
    let listener = TcpListener::bind(address).await.map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    Ok((listener, address))
}
