//! The embedded store: one SQLite file.
//!
//! | what | how |
//! |---|---|
//! | tables | those of `journal/record_table.rs`, and `held`, `chain_totals`, `images`; `user_version` is [`VERSION`] |
//! | writing | one thread; what waits at a moment, of whatever stations, shares a transaction (and its fsync). A batch that is refused is taken back alone |
//! | durable | WAL with `synchronous=FULL`: a write is answered after its transaction is on the disk |
//! | reading | connections of their own: one for stations, [`READERS`] for questions. A question that nobody waits for any more is interrupted |
//!
//! | bound | when reached |
//! |---|---|
//! | [`WRITES_WAITING_MAX`] | the station's stream waits |
//! | [`QUESTIONS_WAITING_MAX`] | the question is refused: ask again later |
//! | [`CHAINS_MAX`] | a new chain is refused |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::held::Held;
use super::ingest::{self, RANGES_MAX, Refusal};
use super::queries::{self, Found, Page};
use super::rollups::{self, Counts, RollupKey, Slice};
use super::store::{Batch, ChainKey, Store, StoreError};
use crate::journal::durable;
use crate::journal::record_table::{self, Inserter, SEQUENCES, Stored};
use crate::rpc::proto::{self, record::Body};

/// Version of the file's tables, in `user_version`.
pub const VERSION: i64 = 1;

/// Says in `application_id` whose file it is: "TAKH".
const APPLICATION_ID: i64 = 0x5441_4b48;

/// Connections that answer questions at a time.
pub const READERS: usize = 4;

/// Questions that may wait for one of them.
pub const QUESTIONS_WAITING_MAX: usize = 64;

/// Writes that may wait for the writer, of all stations.
pub const WRITES_WAITING_MAX: usize = 64;

/// Records of a transaction, bytes: when as many were gathered, no further write joins.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Chains of a file: a record's id is chain × 2^40 + sequence and fits into 63 bits.
pub const CHAINS_MAX: u64 = (1 << 23) - 1;

/// How long to wait for another process that writes the file.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The write-ahead log goes into the file when it has so many pages of 4 KiB: 16 MiB.
const CHECKPOINT_PAGES: i64 = 4096;

/// How often a question that nobody waits for is interrupted until it ends.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(50);

/// Cache of the writer, KiB.
const CACHE_KIB: i64 = 64 << 10;

/// What this store has beside the tables of records.
const TABLES: &str = "
CREATE TABLE held (
    chain INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (chain, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE chain_totals (
    chain INTEGER PRIMARY KEY,
    records INTEGER NOT NULL,
    last_recorded_unix_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE images (
    -- of `records`
    record INTEGER NOT NULL,
    camera TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    PRIMARY KEY (record, camera)
) STRICT, WITHOUT ROWID;
";

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder.
    #[error("failed to open the historian's store {path}: {reason}; check that its folder is on a disk with space and may be written")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later takt wrote it.
    #[error("failed to open the historian's store {path}: its version is {version}, this takt knows {VERSION}; run the takt that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// It is something else.
    #[error("failed to open the historian's store {path}: it is a database, but no historian's store; choose another file")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    name: Arc<str>,
    writes: Option<mpsc::Sender<(Write, Reply)>>,
    writer: Option<JoinHandle<()>>,
    /// For what stations wait for.
    station_reads: Readers,
    /// For what people wait for.
    questions: Readers,
}

/// What the writer is given.
#[derive(Debug)]
enum Write {
    Records(Batch),
    Image(proto::ImageDescription),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Records(batch) => batch.records.iter().map(|record| record.bytes.len()).sum(),
            Self::Image(_) => 0,
        }
    }
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

impl SqliteStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it cannot be used, is of a later version, or is no historian's store.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |reason: String| OpenError::Unusable {
            path: path.to_owned(),
            reason,
        };
        if let Some(folder) = path.parent() {
            durable::make_folder(folder).map_err(|error| unusable(error.to_string()))?;
        }
        let writing = open_for_writing(path)?;
        let name: Arc<str> = path.display().to_string().into();
        let readers = |count| Readers::open(path, &name, count).map_err(|error| unusable(error.to_string()));
        let (station_reads, questions) = (readers(1)?, readers(READERS)?);
        let (writes, to_write) = mpsc::channel(WRITES_WAITING_MAX);
        let store = Arc::clone(&name);
        let writer = std::thread::Builder::new()
            .name("historian-write".into())
            .spawn(move || write_until_closed(writing, to_write, &store))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            name,
            writes: Some(writes),
            writer: Some(writer),
            station_reads,
            questions,
        })
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        let ended = || StoreError::Unavailable {
            store: self.name.to_string(),
            reason: "its writer has ended".into(),
        };
        let (reply, answer) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or_else(ended)?;
        writes.send((write, reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for SqliteStore {
    /// Waits for the writes that were accepted.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.write(Write::Records(batch)).await
    }

    async fn note_image(&self, image: proto::ImageDescription) -> Result<(), StoreError> {
        self.write(Write::Image(image)).await
    }

    async fn held(&self, chain: &ChainKey) -> Result<Held, StoreError> {
        let key = chain.clone();
        let held = move |connection: &Connection| match chain_number(connection, &key.station, key.epoch)? {
            Some(chain) => held_of(connection, chain),
            None => Ok(Held::default()),
        };
        self.station_reads.told(held).await
    }

    async fn hash_of(&self, key: &proto::RecordKey) -> Result<Option<[u8; 32]>, StoreError> {
        let key = key.clone();
        let hash = move |connection: &Connection| match record_id(connection, &key)? {
            Some(id) => hash_of(connection, id),
            None => Ok(None),
        };
        self.station_reads.told(hash).await
    }

    async fn images(&self, key: &proto::RecordKey) -> Result<Vec<proto::ImageDescription>, StoreError> {
        let key = key.clone();
        self.station_reads.told(move |connection| images_of(connection, &key)).await
    }

    async fn stations(&self) -> Result<Vec<proto::StationSummary>, StoreError> {
        self.questions.told(stations).await
    }

    async fn query_records(&self, request: proto::QueryRecordsRequest) -> Result<Page, StoreError> {
        let asked = move |connection: &Connection| queries::query_records(connection, &request);
        self.questions.asked(asked).await
    }

    async fn record(&self, key: proto::RecordKey) -> Result<Option<Found>, StoreError> {
        self.questions.asked(move |connection| queries::get_record(connection, &key)).await
    }

    async fn pareto(&self, request: proto::ParetoRequest) -> Result<proto::ParetoResponse, StoreError> {
        self.questions.asked(move |connection| queries::pareto(connection, &request)).await
    }

    async fn yield_steps(&self, request: proto::YieldRequest) -> Result<proto::YieldResponse, StoreError> {
        let asked = move |connection: &Connection| queries::yield_steps(connection, &request);
        self.questions.asked(asked).await
    }
}

/// The file with its tables, ready to be written.
fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let unusable = |error: rusqlite::Error| OpenError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut connection = Connection::open(path).map_err(unusable)?;
    connection.busy_timeout(BUSY_MAX).map_err(unusable)?;
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(unusable)
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let is_new = connection
        .query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get::<_, bool>(0))
        .map_err(unusable)?;
    if !is_new && application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            version,
        });
    }
    prepare(&mut connection, is_new).map_err(unusable)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    if is_new {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for tables in [record_table::TABLES, record_table::ROLLUPS, TABLES] {
            transaction.execute_batch(tables)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The writer: takes what waits, and answers when it is on the disk.
fn write_until_closed(mut connection: Connection, mut to_write: mpsc::Receiver<(Write, Reply)>, store: &str) {
    while let Some(first) = to_write.blocking_recv() {
        let mut bytes = first.0.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES_MAX
            && let Ok(next) = to_write.try_recv()
        {
            bytes += next.0.bytes();
            group.push(next);
        }
        let (writes, replies): (Vec<Write>, Vec<Reply>) = group.into_iter().unzip();
        let results = write_group(&mut connection, &writes, store).unwrap_or_else(|error| {
            tracing::error!("{error}");
            vec![Err(error); writes.len()]
        });
        // Whoever does not wait any more has no use for the answer.
        replies
            .into_iter()
            .zip(results)
            .for_each(|(reply, result)| drop(reply.send(result)));
    }
}

/// Writes everything in one transaction. A write that is refused is taken back alone; what the disk does not take fails them all.
fn write_group(connection: &mut Connection, writes: &[Write], store: &str) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let failed = |error| Failure::Database(error).told(store);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        transaction.execute_batch("SAVEPOINT alone").map_err(failed)?;
        let written = match write {
            Write::Records(batch) => write_batch(&transaction, batch),
            Write::Image(image) => write_image(&transaction, image),
        };
        results.push(match written {
            Ok(()) => Ok(()),
            Err(Failure::Database(error)) => return Err(failed(error)),
            Err(refused) => {
                transaction.execute_batch("ROLLBACK TO alone").map_err(failed)?;
                Err(refused.told(store))
            }
        });
        transaction.execute_batch("RELEASE alone").map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(results)
}

/// Why something was not written.
enum Failure {
    Refused(StoreError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Failure {
    fn told(self, store: &str) -> StoreError {
        let store = store.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => StoreError::Full { store },
            Self::Database(error) => StoreError::Unavailable {
                store,
                reason: error.to_string(),
            },
        }
    }
}

/// Stores those records of a batch that are not held.
fn write_batch(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else {
        return Ok(());
    };
    let chain = record_table::chain(transaction, &batch.chain.station, batch.chain.epoch)?;
    if chain > CHAINS_MAX {
        let reason = format!("more than {CHAINS_MAX} stations and epochs; begin another store");
        return Err(Refusal::Malformed {
            what: batch.chain.to_string(),
            reason,
        }
        .into());
    }
    let held = held_of(transaction, chain)?;
    let new = if held.touches(&(first.sequence..=last.sequence)) {
        not_held(transaction, chain, batch)?
    } else {
        batch.records.iter().collect()
    };
    check_neighbours(transaction, chain, batch, first, last)?;
    let mut inserter = Inserter::new(transaction, chain);
    for stored in &new {
        inserter.insert(stored)?;
    }
    write_held(transaction, chain, &batch.chain, &held, &new)?;
    write_totals(transaction, chain, &new)?;
    write_rollups(transaction, chain, &rollups::deltas(new.iter().map(|stored| &stored.record)))?;
    Ok(())
}

/// The records that are not held; one that is held with other bytes is refused.
fn not_held<'a>(connection: &Connection, chain: u64, batch: &'a Batch) -> Result<Vec<&'a Stored>, Failure> {
    let mut new = Vec::new();
    for stored in &batch.records {
        match hash_of(connection, id(chain, stored.sequence))? {
            None => new.push(stored),
            Some(hash) if hash == stored.hash => {}
            Some(_) => return Err(ingest::conflict(&batch.chain, stored.sequence).into()),
        }
    }
    Ok(new)
}

/// The records on both sides of a batch link to it, where they are held.
fn check_neighbours(connection: &Connection, chain: u64, batch: &Batch, first: &Stored, last: &Stored) -> Result<(), Failure> {
    let before = hash_of(connection, id(chain, first.sequence - 1))?;
    if before.is_some_and(|before| first.record.previous_hash != before) {
        return Err(ingest::broken_link(&batch.chain, first.sequence).into());
    }
    let after: Option<Vec<u8>> = connection
        .prepare_cached("SELECT bytes FROM records WHERE id = ?1")?
        .query_row([id(chain, last.sequence + 1) as i64], |row| row.get(0))
        .optional()?;
    // What is held was read before it was stored.
    let after = after.and_then(|bytes| Stored::read(bytes).ok());
    match after {
        Some(after) if after.record.previous_hash != last.hash => Err(ingest::broken_link(&batch.chain, after.sequence).into()),
        _ => Ok(()),
    }
}

/// Adds the records, and those that they say are lost, to the ranges held.
fn write_held(connection: &Connection, chain: u64, key: &ChainKey, held: &Held, new: &[&Stored]) -> Result<(), Failure> {
    let mut now = held.clone();
    for stored in new {
        now.add(stored.sequence..=stored.sequence);
        if let Some(Body::Lost(lost)) = &stored.record.body {
            now.add(lost.from..=lost.to);
        }
    }
    if now.len() > RANGES_MAX && now.len() > held.len() {
        return Err(Failure::Refused(StoreError::Scattered {
            chain: key.clone(),
            max: RANGES_MAX,
        }));
    }
    let mut remove = connection.prepare_cached("DELETE FROM held WHERE chain = ?1 AND first = ?2")?;
    for range in held.ranges().iter().filter(|range| !now.ranges().contains(range)) {
        remove.execute(params![chain as i64, *range.start() as i64])?;
    }
    let mut add = connection.prepare_cached("INSERT INTO held (chain, first, last) VALUES (?1, ?2, ?3)")?;
    for range in now.ranges().iter().filter(|range| !held.ranges().contains(range)) {
        add.execute(params![chain as i64, *range.start() as i64, *range.end() as i64])?;
    }
    Ok(())
}

fn write_totals(connection: &Connection, chain: u64, new: &[&Stored]) -> rusqlite::Result<()> {
    let Some(last_recorded) = new.iter().map(|stored| stored.record.recorded_unix_ns).max() else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO chain_totals (chain, records, last_recorded_unix_ns) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET \
             records = records + excluded.records, \
             last_recorded_unix_ns = max(last_recorded_unix_ns, excluded.last_recorded_unix_ns)",
        )?
        .execute(params![chain as i64, new.len() as i64, last_recorded])?;
    Ok(())
}

fn write_rollups(connection: &Connection, chain: u64, deltas: &BTreeMap<RollupKey, Counts>) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO rollups (hour, chain, recipe, model_set, dimension, label, ok, not_ok, not_decidable) \
         VALUES (?1, ?2, ?3, (SELECT id FROM model_sets WHERE models = ?4), ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET \
         ok = ok + excluded.ok, not_ok = not_ok + excluded.not_ok, not_decidable = not_decidable + excluded.not_decidable",
    )?;
    for (key, counts) in deltas {
        let (dimension, label) = match &key.slice {
            Slice::All => (0, 0),
            Slice::Class(class) => (1, label_number(connection, 1, "", class)?),
            Slice::Tag(name, value) => (2, label_number(connection, 2, name, value)?),
            Slice::Reason(reason) => (3, i64::from(*reason)),
        };
        add.execute(params![
            key.hour,
            chain as i64,
            key.recipe,
            key.models,
            dimension,
            label,
            counts.ok as i64,
            counts.not_ok as i64,
            counts.not_decidable as i64,
        ])?;
    }
    Ok(())
}

/// The number of a label that a stored record carries.
fn label_number(connection: &Connection, kind: i64, name: &str, value: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT id FROM labels WHERE kind = ?1 AND name = ?2 AND value = ?3")?
        .query_row(params![kind, name, value], |row| row.get(0))
}

fn write_image(connection: &Connection, image: &proto::ImageDescription) -> Result<(), Failure> {
    let key = proto::RecordKey {
        station: image.station.clone(),
        epoch: image.epoch,
        sequence: image.sequence,
    };
    let record = match record_id(connection, &key)? {
        Some(id) if hash_of(connection, id)?.is_some() => id,
        _ => {
            let what = format!("the image of record {} of station {}", key.sequence, key.station);
            return Err(Refusal::Malformed {
                what,
                reason: "the record is not held; send it first".into(),
            }
            .into());
        }
    };
    connection
        .prepare_cached(
            "INSERT INTO images (record, camera, media_type, size_bytes, sha256, width_px, height_px) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            record as i64,
            image.camera,
            image.media_type,
            image.size_bytes as i64,
            image.sha256,
            image.width_px,
            image.height_px
        ])?;
    Ok(())
}

fn id(chain: u64, sequence: u64) -> u64 {
    chain * SEQUENCES + sequence
}

fn chain_number(connection: &Connection, station: &str, epoch: u64) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT id FROM chains WHERE station = ?1 AND epoch = ?2")?
        .query_row(params![station, epoch as i64], |row| Ok(row.get::<_, i64>(0)? as u64))
        .optional()
}

/// The id that a record has if it is held.
fn record_id(connection: &Connection, key: &proto::RecordKey) -> rusqlite::Result<Option<u64>> {
    let chain = chain_number(connection, &key.station, key.epoch)?;
    Ok(chain.filter(|_| key.sequence < SEQUENCES).map(|chain| id(chain, key.sequence)))
}

fn hash_of(connection: &Connection, id: u64) -> rusqlite::Result<Option<[u8; 32]>> {
    connection
        .prepare_cached("SELECT hash FROM records WHERE id = ?1")?
        .query_row([id as i64], |row| row.get(0))
        .optional()
}

fn held_of(connection: &Connection, chain: u64) -> rusqlite::Result<Held> {
    connection
        .prepare_cached("SELECT first, last FROM held WHERE chain = ?1 ORDER BY first")?
        .query_map(
            [chain as i64],
            |row| Ok(row.get::<_, i64>(0)? as u64..=row.get::<_, i64>(1)? as u64),
        )?
        .collect()
}

fn images_of(connection: &Connection, key: &proto::RecordKey) -> rusqlite::Result<Vec<proto::ImageDescription>> {
    let Some(record) = record_id(connection, key)? else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare_cached(
        "SELECT camera, media_type, size_bytes, sha256, width_px, height_px FROM images WHERE record = ?1 ORDER BY camera",
    )?;
    let images = select.query_map([record as i64], |row| {
        Ok(proto::ImageDescription {
            station: key.station.clone(),
            epoch: key.epoch,
            sequence: key.sequence,
            camera: row.get(0)?,
            media_type: row.get(1)?,
            size_bytes: row.get::<_, i64>(2)? as u64,
            sha256: row.get(3)?,
            width_px: row.get(4)?,
            height_px: row.get(5)?,
        })
    })?;
    images.collect()
}

fn stations(connection: &Connection) -> rusqlite::Result<Vec<proto::StationSummary>> {
    let mut select = connection.prepare_cached(
        "SELECT chains.id, station, epoch, records, last_recorded_unix_ns, \
         coalesce(sum(ok), 0), coalesce(sum(not_ok), 0), coalesce(sum(not_decidable), 0) \
         FROM chains JOIN chain_totals ON chain_totals.chain = chains.id \
         LEFT JOIN rollups ON rollups.chain = chains.id AND dimension = 0 \
         GROUP BY chains.id ORDER BY station, epoch",
    )?;
    let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(|number| number as u64);
    let summaries = select.query_map([], |row| {
        Ok(proto::StationSummary {
            station: row.get(1)?,
            epoch: number(row, 2)?,
            records: number(row, 3)?,
            held: held_of(connection, number(row, 0)?)?.to_proto(),
            last_recorded_unix_ns: row.get(4)?,
            counts: Some(proto::Counts {
                ok: number(row, 5)?,
                not_ok: number(row, 6)?,
                not_decidable: number(row, 7)?,
            }),
        })
    })?;
    summaries.collect()
}

/// Connections that only read.
#[derive(Debug)]
struct Readers {
    store: Arc<str>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One for each connection.
    free: Arc<Semaphore>,
    /// One for each question that is answered or waits.
    places: Semaphore,
}

impl Readers {
    fn open(path: &Path, store: &Arc<str>, count: usize) -> rusqlite::Result<Self> {
        let open = |_| {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY_MAX)?;
            Ok(connection)
        };
        Ok(Self {
            store: Arc::clone(store),
            idle: Arc::new(Mutex::new((0..count).map(open).collect::<rusqlite::Result<_>>()?)),
            free: Arc::new(Semaphore::new(count)),
            places: Semaphore::new(count + QUESTIONS_WAITING_MAX),
        })
    }

    /// What SQLite tells.
    async fn told<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let told = self.run(ask).await?;
        told.map_err(|error| Failure::Database(error).told(&self.store))
    }

    /// What a query answers.
    async fn asked<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T, queries::QueryError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let asked = self.run(ask).await?;
        asked.map_err(|error| StoreError::of_query(error, &self.store))
    }

    /// Runs a question where it may block. It is interrupted when nobody waits for it any more.
    async fn run<T: Send + 'static>(&self, ask: impl FnOnce(&Connection) -> T + Send + 'static) -> Result<T, StoreError> {
        let busy = || StoreError::Busy {
            waiting: QUESTIONS_WAITING_MAX,
        };
        let unavailable = |reason: &str| StoreError::Unavailable {
            store: self.store.to_string(),
            reason: reason.into(),
        };
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let free = Arc::clone(&self.free).acquire_owned().await.map_err(|_| busy())?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.ok_or_else(|| unavailable("a question ended unexpectedly; start the historian again"))?;
        let running = Running::of(&connection);
        let (idle, ends) = (Arc::clone(&self.idle), running.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let answer = ask(&connection);
            // From here on an interruption would hit the next question.
            ends.end();
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(free);
            answer
        });
        let _interrupt = InterruptOnDrop(running);
        answer.await.map_err(|error| unavailable(&error.to_string()))
    }
}

/// A question that is being answered; shared by who answers and who waits.
#[derive(Clone)]
struct Running(Arc<Mutex<Option<InterruptHandle>>>);

impl Running {
    fn of(connection: &Connection) -> Self {
        Self(Arc::new(Mutex::new(Some(connection.get_interrupt_handle()))))
    }

    /// Interrupts it; `false` if it has ended.
    fn interrupt(&self) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(InterruptHandle::interrupt).is_some()
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Interrupts a question that still runs when this is dropped.
struct InterruptOnDrop(Running);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        // SQLite hears an interruption only while a statement runs, so it is told until the question has ended. A thread does that, as the
        // runtime may be stopping.
        let running = self.0.clone();
        if running.interrupt() {
            let until_ended = move || {
                while running.interrupt() {
                    std::thread::sleep(INTERRUPT_PAUSE);
                }
            };
            if let Err(error) = std::thread::Builder::new().name("historian-interrupt".into()).spawn(until_ended) {
                tracing::warn!("failed to interrupt a question for certain: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::historian::chains::{chain, part};
    use crate::historian::contract;

    fn opened(folder: &tempfile::TempDir, name: &str) -> SqliteStore {
        SqliteStore::open(&folder.path().join(name)).unwrap()
    }

    fn key() -> ChainKey {
        ChainKey {
            station: "top".into(),
            epoch: 7,
        }
    }

    fn write(records: &[Stored]) -> Write {
        Write::Records(Batch {
            chain: key(),
            records: records.to_vec(),
        })
    }

    #[test]
    fn the_contract_of_stores_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let others = std::cell::Cell::new(0);
        let other = || {
            others.set(others.get() + 1);
            opened(&folder, &format!("{}.db", others.get()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(contract::is_kept(|| opened(&folder, "same.db"), other));
    }

    #[test]
    fn files_of_others_and_of_later_versions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("historian.db");
        drop(opened(&folder, "historian.db"));
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert!(matches!(SqliteStore::open(&path), Err(OpenError::Newer { version, .. }) if version == VERSION + 1));
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(SqliteStore::open(&foreign), Err(OpenError::Foreign { .. })));
        let text = folder.path().join("text.db");
        std::fs::write(&text, "no database, but long enough to be read as one".repeat(10)).unwrap();
        assert!(matches!(SqliteStore::open(&text), Err(OpenError::Unusable { .. })));
    }

    #[test]
    fn a_full_disk_takes_nothing_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("historian.db");
        let mut connection = open_for_writing(&path).unwrap();
        let records = chain("top", 7, 400, |_| {});
        write_group(&mut connection, &[write(&records[..100])], "s").unwrap()[0]
            .clone()
            .unwrap();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection
            .pragma_update_and_check(None, "max_page_count", pages + 8, |_| Ok(()))
            .unwrap();
        let group = [write(&records[100..102]), write(&records[102..])];
        assert!(matches!(write_group(&mut connection, &group, "s"), Err(StoreError::Full { .. })));
        assert_eq!(held_of(&connection, 1).unwrap().ranges(), [1..=100]);
        connection
            .pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(()))
            .unwrap();
        let results = write_group(&mut connection, &group, "s").unwrap();
        assert_eq!(results, [Ok(()), Ok(())]);
        assert_eq!(held_of(&connection, 1).unwrap().ranges(), [1..=400]);
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_interrupted_and_the_next_one_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(&folder, "historian.db");
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 * READERS {
                let (begun, has_begun) = oneshot::channel();
                let question = store.questions.told(move |connection| {
                    let _ = begun.send(());
                    connection.query_row(endless, [], |row| row.get::<_, i64>(0))
                });
                tokio::select! {
                    answer = question => panic!("{answer:?}"),
                    _ = has_begun => {}
                }
            }
            let answer = store
                .questions
                .told(|connection| connection.query_row("SELECT 7", [], |row| row.get::<_, i64>(0)));
            assert_eq!(answer.await, Ok(7));
        });
    }

    /// The counts, made again from the records by SQL.
    const RECOUNT: &str = "
        WITH parts AS (
            SELECT at_unix_ns / 3600000000000 AS hour, id >> 40 AS chain, * FROM records WHERE kind = 1 AND test_part = 0
        ), slices AS (
            SELECT id, 0 AS dimension, 0 AS label FROM parts
            UNION ALL SELECT record, labels.kind, labels.id FROM record_labels JOIN labels ON labels.id = label
            UNION ALL SELECT id, 3, reason FROM parts WHERE reason <> 0
        )
        SELECT hour, chain, recipe, model_set, dimension, label,
            sum(coalesce(verdict, 0) = 1), sum(coalesce(verdict, 0) = 2), sum(coalesce(verdict, 0) NOT IN (1, 2))
        FROM parts JOIN slices USING (id) GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6";

    fn rows(connection: &Connection, select: &str) -> Vec<[i64; 9]> {
        let mut select = connection.prepare(select).unwrap();
        let rows = select.query_map([], |row| {
            let mut columns = [0; 9];
            (0..9).try_for_each(|at| row.get(at).map(|column| columns[at] = column))?;
            Ok(columns)
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rollups_are_what_a_recount_gives(batches in prop::collection::vec((0usize..120, 1usize..30), 1..25), salt in any::<u64>()) {
            let records = chain("top", 7, 120, |record| {
                let chance = (record.sequence ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
                if chance.is_multiple_of(11) {
                    record.body = Some(Body::LateFindings(proto::LateFindings { part_sequence: record.sequence, ..Default::default() }));
                    return;
                }
                let part = part(record);
                part.test_part = chance.is_multiple_of(7);
                part.recipe = (chance % 3) as u32;
                part.models[0].version = (chance % 2).to_string();
                part.triggered_unix_ns += (chance % 5) as i64 * 3_000_000_000_000;
                part.outcome = (chance % 13 != 0).then_some(proto::Outcome { verdict: (chance % 5) as i32, reason: (chance % 4) as u32 });
            });
            let folder = tempfile::tempdir().unwrap();
            let mut connection = open_for_writing(&folder.path().join("historian.db")).unwrap();
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            let batches: Vec<Write> = batches
                .into_iter()
                .map(|(first, length)| write(&records[first..(first + length).min(records.len())]))
                .collect();
            // Some alone, some together, the last ones again.
            for group in batches.chunks(3).chain([&batches[batches.len() / 2..]]) {
                prop_assert!(write_group(&mut connection, group, "s").unwrap().iter().all(Result::is_ok));
            }
            let kept = rows(&connection, "SELECT * FROM rollups ORDER BY 1, 2, 3, 4, 5, 6");
            prop_assert!(!kept.is_empty() || records.is_empty());
            prop_assert_eq!(kept, rows(&connection, RECOUNT));
        }
    }
}
