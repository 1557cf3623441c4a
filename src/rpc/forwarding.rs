//! Forwarder and historian together, over real connections that break.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::access::Access;
use super::forwarder::{self, ForwarderState};
use super::historian_service::{self, Historian};
use super::proto::historian_service_client::HistorianServiceClient;
use super::proto::{self, ingest_request, ingest_response};
use crate::historian::chains::chain;
use crate::historian::held::Held;
use crate::historian::images::ImageFolder;
use crate::historian::sqlite::SqliteStore;
use crate::historian::store::{ChainKey, Store as _};
use crate::journal::log::{ImageFile, LogError, RecordLog};
use crate::journal::record_table::Stored;

/// A journal in memory: of its records, those below `written` are committed.
struct MemoryLog {
    records: Vec<Stored>,
    written: watch::Sender<u64>,
    acknowledged: watch::Sender<Held>,
    images: Mutex<Vec<ImageFile>>,
}

impl MemoryLog {
    fn new(records: Vec<Stored>, written_below: u64, acknowledged_below: u64) -> Arc<Self> {
        let acknowledged = [1..=acknowledged_below - 1].into_iter().collect();
        Arc::new(Self {
            records,
            written: watch::Sender::new(written_below),
            acknowledged: watch::Sender::new(acknowledged),
            images: Mutex::default(),
        })
    }

    async fn all_acknowledged(&self, range: RangeInclusive<u64>) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged
            .wait_for(|held| held.gap_from(*range.start()).start() > range.end())
            .await
            .unwrap();
    }
}

impl RecordLog for MemoryLog {
    fn station(&self) -> &str {
        &self.records[0].record.station
    }

    fn epoch(&self) -> u64 {
        self.records[0].record.epoch
    }

    fn written_below(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    fn read(&self, first: u64, last: u64, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let last = last.min(*self.written.borrow() - 1);
        let mut bytes = 0;
        let wanted = self.records.iter().filter(|stored| (first..=last).contains(&stored.sequence));
        let until_full = wanted.take_while(|stored| {
            let goes = bytes <= bytes_max;
            bytes += stored.bytes.len();
            goes
        });
        Ok(until_full.map(|stored| (stored.sequence, stored.bytes.clone())).collect())
    }

    fn hash_of(&self, sequence: u64) -> Result<Option<[u8; 32]>, LogError> {
        let found = self.records.iter().find(|stored| stored.sequence == sequence);
        Ok(found.map(|stored| stored.hash))
    }

    fn acknowledged_below(&self) -> Result<u64, LogError> {
        Ok(*self.acknowledged.borrow().gap_from(1).start())
    }

    fn acknowledge(&self, ranges: &[RangeInclusive<u64>]) -> Result<(), LogError> {
        self.acknowledged
            .send_modify(|held| ranges.iter().cloned().for_each(|range| held.add(range)));
        Ok(())
    }

    fn images_to_send(&self, count: usize) -> Result<Vec<ImageFile>, LogError> {
        let held = self.acknowledged.borrow().clone();
        let images = self.images.lock().unwrap();
        Ok(images
            .iter()
            .filter(|image| held.contains(image.sequence))
            .take(count)
            .cloned()
            .collect())
    }

    fn image_sent(&self, sequence: u64, camera: &str) -> Result<(), LogError> {
        let mut images = self.images.lock().unwrap();
        images.retain(|image| image.sequence != sequence || image.camera != camera);
        // Whoever waits for acknowledgements looks again.
        self.acknowledged.send_modify(|_| {});
        Ok(())
    }
}

/// A historian that runs.
struct Running {
    address: SocketAddr,
    stop: DropGuard,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(folder: &Path, address: SocketAddr) -> Self {
        let store = SqliteStore::open(&folder.join("historian.db")).unwrap();
        let images = ImageFolder::open(&folder.join("images")).unwrap();
        let (listener, address) = historian_service::listen(address).await.unwrap();
        let stop = CancellationToken::new();
        let historian = Historian::new(store, images, Access::open());
        let serving = historian_service::serve(listener, historian, None, stop.clone());
        Self {
            address,
            stop: stop.drop_guard(),
            served: tokio::spawn(async { serving.await.unwrap() }),
        }
    }

    async fn any(folder: &Path) -> Self {
        Self::start(folder, loopback()).await
    }

    async fn stop(self) -> SocketAddr {
        drop(self.stop);
        self.served.await.unwrap();
        self.address
    }

    async fn client(&self) -> HistorianServiceClient<Channel> {
        HistorianServiceClient::new(self.channel().await)
    }

    async fn channel(&self) -> Channel {
        let endpoint = forwarder::endpoint(&format!("http://{}", self.address), None).unwrap();
        endpoint.connect().await.unwrap()
    }
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A forwarder that runs until it is dropped.
struct Forwarding {
    state: watch::Receiver<ForwarderState>,
    _stop: DropGuard,
}

fn forwarding(log: &Arc<MemoryLog>, address: SocketAddr) -> Forwarding {
    let stop = CancellationToken::new();
    let (sender, state) = watch::channel(ForwarderState::Starting);
    let endpoint = forwarder::endpoint(&format!("http://{address}"), None).unwrap();
    let log: Arc<dyn RecordLog> = log.clone();
    tokio::spawn(forwarder::forward(log, endpoint, sender, stop.clone()));
    Forwarding {
        state,
        _stop: stop.drop_guard(),
    }
}

impl Forwarding {
    async fn refused(&mut self) -> String {
        let refused = self.state.wait_for(|state| matches!(state, ForwarderState::Refused { .. })).await;
        match &*refused.unwrap() {
            ForwarderState::Refused { reason } => reason.clone(),
            state => panic!("{state:?}"),
        }
    }
}

/// Passes bytes on to `to`, and drops each of the first `cuts` connections after a number of bytes.
async fn cutting_network(to: SocketAddr, cuts: usize, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    tokio::spawn(async move {
        for cut in 0.. {
            let Ok((near, _)) = listener.accept().await else { return };
            let bytes = if cut < cuts {
                chance.random_range(100..700_000)
            } else {
                usize::MAX
            };
            tokio::spawn(async move {
                if let Ok(far) = TcpStream::connect(to).await {
                    Box::pin(pass(near, far, bytes)).await;
                }
            });
        }
    });
    address
}

async fn pass(mut near: TcpStream, mut far: TcpStream, mut bytes: usize) {
    let (mut from_near, mut from_far) = ([0; 8192], [0; 8192]);
    loop {
        let written = tokio::select! {
            read = near.read(&mut from_near) => match read {
                Ok(read @ 1..) => {
                    let goes = read.min(bytes);
                    far.write_all(&from_near[..goes]).await.map(|()| read)
                }
                _ => return,
            },
            read = far.read(&mut from_far) => match read {
                Ok(read @ 1..) => {
                    let goes = read.min(bytes);
                    near.write_all(&from_far[..goes]).await.map(|()| read)
                }
                _ => return,
            },
        };
        match written {
            Ok(written) if written < bytes => bytes -= written,
            _ => return,
        }
    }
}

fn key() -> ChainKey {
    ChainKey {
        station: "top".into(),
        epoch: 7,
    }
}

fn record_key(sequence: u64) -> proto::RecordKey {
    proto::RecordKey {
        station: "top".into(),
        epoch: 7,
        sequence,
    }
}

async fn assert_holds(folder: &Path, records: &[Stored]) {
    let store = SqliteStore::open(&folder.join("historian.db")).unwrap();
    assert_eq!(store.held(&key()).await.unwrap().ranges(), [1..=records.len() as u64]);
    for stored in records {
        let found = store.record(record_key(stored.sequence)).await.unwrap().unwrap();
        assert_eq!((found.bytes == stored.bytes, found.hash), (true, stored.hash));
    }
    let stations = store.stations().await.unwrap();
    assert_eq!(
        stations.iter().map(|station| station.records).collect::<Vec<_>>(),
        [records.len() as u64]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_through_a_network_that_breaks_and_a_historian_that_stops() {
    const RECORDS: u64 = 10_000;
    const BACKLOG: u64 = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let records = chain("top", 7, RECORDS, |_| {});
    let log = MemoryLog::new(records.clone(), BACKLOG + 1, 1);
    let mut historian = Running::any(folder.path()).await;
    let network = cutting_network(historian.address, 12, 4).await;
    let forwarding = forwarding(&log, network);
    for (step, written) in (BACKLOG..=RECORDS).step_by(500).enumerate() {
        log.written.send_replace(written + 1);
        // The station records on, whether anything arrives or not; now and then the test waits for what is newest.
        if step % 3 == 2 {
            log.all_acknowledged(written..=written).await;
            let address = historian.stop().await;
            historian = Running::start(folder.path(), address).await;
        }
    }
    log.all_acknowledged(1..=RECORDS).await;
    drop(forwarding);
    historian.stop().await;
    assert_holds(folder.path(), &records).await;
}

#[tokio::test]
async fn a_historian_that_lost_records_gets_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let records = chain("top", 7, 300, |_| {});
    // All is acknowledged, but by a historian that is no more.
    let log = MemoryLog::new(records.clone(), 301, 301);
    let historian = Running::any(folder.path()).await;
    let forwarding = forwarding(&log, historian.address);
    let mut client = historian.client().await;
    // The forwarder notes the batch again when it was stored.
    let mut noted = log.acknowledged.subscribe();
    noted.changed().await.unwrap();
    let stations = client
        .list_stations(proto::ListStationsRequest {})
        .await
        .unwrap()
        .into_inner()
        .stations;
    assert_eq!(stations[0].records, 300);
    drop(forwarding);
    historian.stop().await;
    assert_holds(folder.path(), &records).await;
}

#[tokio::test]
async fn clones_and_restored_backups_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let records = chain("top", 7, 100, |_| {});
    let log = MemoryLog::new(records.clone(), 101, 1);
    let historian = Running::any(folder.path()).await;
    let original = forwarding(&log, historian.address);
    log.all_acknowledged(1..=100).await;
    drop(original);

    let diverging = |from: u64| {
        chain("top", 7, 150, move |record| {
            record.recorded_unix_ns += i64::from(record.sequence >= from);
        })
    };
    for (log, said) in [
        // A backup of when 60 records were written, of which 50 had arrived.
        (
            MemoryLog::new(records.clone(), 61, 51),
            "record 100 is held, but the station is only about to write record 61",
        ),
        // A clone whose acknowledged records are others.
        (MemoryLog::new(diverging(90), 151, 101), "record 100 is held and is another one"),
        // A clone that knows of no acknowledgement: it shows its record 100, and nothing of what is held counts as its own.
        (MemoryLog::new(diverging(90), 151, 1), "record 100 is held and is another one"),
    ] {
        let known = log.acknowledged.borrow().clone();
        let reason = forwarding(&log, historian.address).refused().await;
        assert_eq!(*log.acknowledged.borrow(), known);
        assert!(reason.contains(said) && reason.contains("needs a new epoch"), "{reason}");
    }
    historian.stop().await;
    assert_holds(folder.path(), &records).await;
}

#[tokio::test]
async fn images_follow_their_records_and_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let picture: Vec<u8> = (0..700_001_u32).map(|at| (at % 253) as u8).collect();
    let image = |sequence, camera: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(format!("{sequence}.jpg"));
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        ImageFile {
            sequence,
            camera: camera.into(),
            path,
            media_type: "image/jpeg".into(),
            size_bytes: picture.len() as u64,
            sha256: Sha256::digest(&picture).into(),
            size_px: (640, 480),
        }
    };
    let log = MemoryLog::new(chain("top", 7, 20, |_| {}), 21, 1);
    *log.images.lock().unwrap() = vec![
        image(3, "top", Some(&picture)),
        image(4, "gone", None),
        image(5, "damaged", Some(&picture[1..])),
        image(10, "side/../..", Some(&picture)),
    ];
    let historian = Running::any(folder.path()).await;
    let forwarding = forwarding(&log, historian.address);
    let mut noted = log.acknowledged.subscribe();
    noted.wait_for(|_| log.images.lock().unwrap().is_empty()).await.unwrap();
    let mut client = historian.client().await;
    for (sequence, cameras) in [(3, vec!["top"]), (4, vec![]), (5, vec![]), (10, vec!["side/../.."])] {
        let key = Some(record_key(sequence));
        let record = client
            .get_record(proto::GetRecordRequest { key: key.clone() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(record.images.iter().map(|image| &image.camera).collect::<Vec<_>>(), cameras);
        for camera in cameras {
            let request = proto::GetImageRequest {
                key: key.clone(),
                camera: camera.into(),
            };
            let mut answers = client.get_image(request).await.unwrap().into_inner();
            let mut read = Vec::new();
            while let Some(answer) = answers.message().await.unwrap() {
                if let Some(proto::get_image_response::Message::Chunk(chunk)) = answer.message {
                    read.extend(chunk);
                }
            }
            assert!(read == picture);
        }
    }
    let missing = proto::GetImageRequest {
        key: Some(record_key(4)),
        camera: "gone".into(),
    };
    assert_eq!(client.get_image(missing).await.unwrap_err().code(), Code::NotFound);
    drop(forwarding);
    historian.stop().await;
}

/// A station made by hand: its requests, and the answers or why there are none.
async fn ingest(
    client: &mut HistorianServiceClient<Channel>,
    requests: Vec<ingest_request::Message>,
) -> (
    mpsc::Sender<proto::IngestRequest>,
    Result<tonic::Streaming<proto::IngestResponse>, Status>,
) {
    let (sender, to_send) = mpsc::channel(requests.len().max(1));
    for message in requests {
        sender.try_send(proto::IngestRequest { message: Some(message) }).unwrap();
    }
    let answers = client.ingest(ReceiverStream::new(to_send)).await;
    (sender, answers.map(tonic::Response::into_inner))
}

fn hello() -> proto::Hello {
    proto::Hello {
        station: "top".into(),
        epoch: 7,
        next_sequence: 1,
        last_acknowledged_hash: Vec::new(),
        written_below: 1000,
        format_version: 1,
        takt_version: "test".into(),
    }
}

fn records(records: &[Stored]) -> ingest_request::Message {
    ingest_request::Message::Records(proto::RecordBatch {
        lane: proto::Lane::Live.into(),
        first_sequence: records[0].sequence,
        records: records.iter().map(|stored| stored.bytes.clone()).collect(),
    })
}

/// How a stream ends.
async fn ending(answers: Result<tonic::Streaming<proto::IngestResponse>, Status>) -> Status {
    match answers {
        Err(status) => status,
        Ok(mut answers) => loop {
            match answers.message().await {
                Err(status) => return status,
                Ok(answer) => assert!(answer.is_some(), "the stream ended well"),
            }
        },
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_with_what_and_why() {
    use ingest_request::Message::Hello;
    let folder = tempfile::tempdir().unwrap();
    let historian = Running::any(folder.path()).await;
    let mut client = historian.client().await;
    let good = chain("top", 7, 20, |_| {});
    let garbled = ingest_request::Message::Records(proto::RecordBatch {
        lane: 1,
        first_sequence: 1,
        records: vec![vec![0xff; 1000]],
    });
    let long = chain("top", 7, 1, |record| {
        crate::historian::chains::part(record).serial = "s".repeat(10 << 20);
    });
    let later = proto::Hello {
        format_version: 99,
        ..hello()
    };
    for (requests, code, said) in [
        (vec![records(&good)], Code::InvalidArgument, "first message must be Hello"),
        (vec![Hello(later)], Code::FailedPrecondition, "update the historian"),
        (
            vec![Hello(hello()), Hello(hello())],
            Code::InvalidArgument,
            "after Hello come records",
        ),
        (vec![Hello(hello()), garbled], Code::InvalidArgument, "record 1 of station top"),
        (
            vec![Hello(hello()), records(&chain("side", 7, 3, |_| {}))],
            Code::InvalidArgument,
            "station top",
        ),
        (vec![Hello(hello()), records(&long)], Code::OutOfRange, "message"),
    ] {
        let (_open, answers) = ingest(&mut client, requests).await;
        let status = ending(answers).await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(said), "{status}");
    }
    let absent = client.get_record(proto::GetRecordRequest { key: None }).await.unwrap_err();
    assert_eq!(absent.code(), Code::InvalidArgument);
    let unknown = proto::GetRecordRequest { key: Some(record_key(1)) };
    assert_eq!(client.get_record(unknown).await.unwrap_err().code(), Code::NotFound);
    // Nothing of it is held, and the next one is served.
    let stations = client.list_stations(proto::ListStationsRequest {}).await.unwrap().into_inner();
    assert_eq!(stations.stations, []);
    historian.stop().await;
}

#[tokio::test]
async fn the_newest_stream_of_a_station_takes_over() {
    use ingest_request::Message::Hello;
    let folder = tempfile::tempdir().unwrap();
    let historian = Running::any(folder.path()).await;
    let mut client = historian.client().await;
    let (_older_open, older) = ingest(&mut client, vec![Hello(hello())]).await;
    let mut older = older.unwrap();
    assert!(matches!(
        older.message().await.unwrap().unwrap().message,
        Some(ingest_response::Message::Welcome(_))
    ));
    let good = chain("top", 7, 20, |_| {});
    let (newer_open, newer) = ingest(&mut client, vec![Hello(hello()), records(&good)]).await;
    assert_eq!(ending(Ok(older)).await.code(), Code::Aborted);
    drop(newer_open);
    let mut newer = newer.unwrap();
    let mut acknowledged = BTreeSet::new();
    while let Some(answer) = newer.message().await.unwrap() {
        if let Some(ingest_response::Message::Acknowledged(answer)) = answer.message {
            acknowledged.extend(answer.ranges.iter().flat_map(|range| range.first..=range.last));
        }
    }
    assert_eq!(acknowledged, (1..=20).collect());
    historian.stop().await;
}

#[tokio::test]
async fn health_is_told_and_a_stop_ends_streams() {
    use ingest_request::Message::Hello;
    use tonic_health::pb::health_client::HealthClient;
    let folder = tempfile::tempdir().unwrap();
    let historian = Running::any(folder.path()).await;
    let channel = historian.channel().await;
    let request = tonic_health::pb::HealthCheckRequest {
        service: "takt.v1.HistorianService".into(),
    };
    let health = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    assert_eq!(
        health.status,
        tonic_health::pb::health_check_response::ServingStatus::Serving as i32
    );
    let mut client = historian.client().await;
    let (_open, answers) = ingest(&mut client, vec![Hello(hello())]).await;
    let stopped = tokio::time::timeout(Duration::from_mins(1), historian.stop());
    let (status, stopped) = tokio::join!(ending(answers), stopped);
    stopped.unwrap();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}
