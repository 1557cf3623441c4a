//! The journal: every record of a station in one SQLite file, each bound to the one before it by its hash.
//!
//! | file in the folder | what |
//! |---|---|
//! | `journal.sqlite` (`-wal`, `-shm`) | the records ([`super::tables`]) |
//! | `sequences.toml` | how far sequences may have been given out ([`super::set_aside`]) |
//! | `evidence/EPOCH/GROUP/SEQUENCE-CAMERA.jpg` | images; a group is 1024 sequences |
//! | `journal.lock` | locked while a station writes |
//! | `damaged-TIME/` | what could not be read any more, as it was |
//!
//! [`Journal`] appends, one in the world; [`JournalReader`] reads beside it. What [`Journal::append`] returned is on the disk.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;

use super::durable;
pub use super::reader::JournalReader;
use super::record_bounds;
use super::record_table::{self, Inserter, Kind, Stored};
use super::set_aside::{self, Reserved};
use super::tables::{self, Durability, FILE_NAME, NO_HASH, VERSION};
use crate::flow::unix_now_ns;
use crate::rpc::proto::record::Body;
use crate::rpc::proto::{self, ClockQuality, LostReason};

/// Parts that are told again at start: as many as the line remembers cycle IDs of, and the black box holds.
pub const RECENT_PARTS: usize = 65_536;

/// Records whose hash and link are checked at start; `takt journal verify` checks all of them.
const CHECKED_AT_OPEN: usize = 256;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file beside the database cannot be read or written.
    #[error(
        "failed to use {path} of the journal: {source}; check that state_directory is a folder on a disk with space and may be written"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database cannot be read or written.
    #[error("failed to use journal {path}: {source}; check that its disk has space and may be written")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A later takt wrote it.
    #[error(
        "failed to open journal {path}: its format version is {version}, this takt knows {VERSION}; run the takt that wrote it, \
         or move the file away: records then begin anew, which needs a new epoch"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Another process writes it.
    #[error("failed to open the journal in {path}: another station writes it; stop it, or give this one a state_directory of its own")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl JournalError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Io { source, .. } => matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            Self::Newer { .. } | Self::InUse { .. } => false,
        }
    }

    /// Whether the file is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => is_damage(source),
            _ => false,
        }
    }
}

/// Whether SQLite says that the file is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch)
    ) || matches!(
        error,
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)
    )
}

/// Something to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// What.
    pub body: Body,
    /// When the journal got it, Unix nanoseconds.
    pub recorded_unix_ns: i64,
    /// How far that time can be trusted.
    pub clock_quality: ClockQuality,
}

/// What became of records that were given to the journal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Appended {
    /// Those that are new, in the order they were given.
    pub stored: Vec<Arc<Stored>>,
    /// Parts, by their number, that were recorded before and are not recorded twice.
    pub already: Vec<u64>,
}

/// A part as the line remembers it from before a start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecentPart {
    /// The station's number of it.
    pub part_sequence: u64,
    /// The PLC's number of it.
    pub cycle_id: Option<u32>,
    /// The PLC's session.
    pub plc_session: u32,
    /// Encoder at the trigger.
    pub encoder: u32,
    /// Its serial.
    pub serial: String,
    /// Its recipe.
    pub recipe: u32,
}

/// What an earlier life left, and what was put right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The sequence of the next record.
    pub next_sequence: u64,
    /// The last [`RECENT_PARTS`] parts of the epoch in the order they were recorded.
    pub recent_parts: Vec<RecentPart>,
    /// What was damaged.
    pub damaged: Option<Damage>,
    /// Image files without a row, and files that were not finished: removed.
    pub orphans_removed: u64,
    /// Images whose file is gone: marked.
    pub images_gone: u64,
}

/// A journal that could not go on as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// The folder that holds the damaged file, and its evidence, as they were; `None` where there was none.
    pub set_aside: Option<PathBuf>,
    /// First and last sequence that a `Lost` record names; `None` where nothing was recorded before, as far as is known.
    pub lost: Option<(u64, u64)>,
}

/// What the writer tells readers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) station: String,
    pub(super) epoch: u64,
    pub(super) chain: u64,
    /// Changes when the file was set aside: connections to it are of no use then.
    pub(super) generation: std::sync::atomic::AtomicU64,
    pub(super) written_below: watch::Sender<u64>,
    /// Held by whoever writes. SQLite would let the next one sleep and look again, for tens of milliseconds.
    pub(super) turn: Mutex<()>,
}

impl Shared {
    /// Waits until nobody else of this process writes.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path(), source }
    }
}

/// The one writer of a station's records.
pub struct Journal {
    shared: Arc<Shared>,
    connection: Connection,
    head: Head,
    reserved: Reserved,
    recorded: RecordedParts,
    _lock: File,
}

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    next_sequence: u64,
    previous_hash: [u8; 32],
}

/// Parts that were recorded before the start, to know those that recovery gives again.
#[derive(Debug, Default)]
struct RecordedParts {
    below: u64,
    /// The last of them; whichever is not here and below the oldest is looked up.
    recent: HashSet<u64>,
    oldest: u64,
}

/// The file as it was found, or made.
struct Opened {
    connection: Connection,
    chain: u64,
    head: Head,
    /// Whether the chain was made just now.
    is_new: bool,
    /// Whether the chain has no records.
    is_empty: bool,
    /// Its last parts.
    recent: Vec<RecentPart>,
}

impl Journal {
    /// Opens the journal of a station and puts right what an earlier life left: a file that is damaged is set aside, evidence that belongs
    /// to no record is removed.
    ///
    /// # Errors
    /// When the folder cannot be used, another process writes it, or a later takt wrote it.
    pub fn open(folder: &Path, station: &str, epoch: u64) -> Result<(Self, Found), JournalError> {
        durable::make_folder(folder).map_err(|source| JournalError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let lock = lock(folder)?;
        let reserved = Reserved::read(folder, epoch)?;
        let (opened, mut damage) = match look(folder, station, epoch)? {
            Ok(opened) => (opened, None),
            Err(what) => set_aside_and_begin_anew(folder, station, epoch, &what, reserved)?,
        };
        let mut head = opened.head;
        if let Some((next, last)) = reserved.went_back(head.next_sequence, opened.is_new) {
            // A backup was restored, or the file was removed.
            if opened.is_empty {
                tables::set_anchor(&opened.connection, opened.chain, reserved.below, &NO_HASH).map_err(|source| failed(folder, source))?;
            }
            head = Head {
                next_sequence: reserved.below,
                previous_hash: NO_HASH,
            };
            let damage = damage.get_or_insert_with(|| Damage {
                what: "it is older than what was recorded: a backup was restored, or it was removed".into(),
                set_aside: None,
                lost: None,
            });
            damage.lost = Some((damage.lost.map_or(next, |(from, _)| from), last));
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            station: station.to_owned(),
            epoch,
            chain: opened.chain,
            generation: 0.into(),
            written_below: watch::Sender::new(head.next_sequence),
            turn: Mutex::default(),
        });
        let mut journal = Self {
            shared,
            connection: opened.connection,
            head,
            reserved,
            recorded: RecordedParts::default(),
            _lock: lock,
        };
        let mut found = Found::default();
        if let Some(damage) = &damage {
            journal.note_loss(damage)?;
        }
        journal.recorded = RecordedParts::of(&opened.recent);
        (found.orphans_removed, found.images_gone) = super::evidence::sweep(&journal.shared, &mut journal.connection);
        found.next_sequence = journal.head.next_sequence;
        found.recent_parts = opened.recent;
        found.damaged = damage;
        Ok((journal, found))
    }

    /// A reader beside this writer.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> Result<JournalReader, JournalError> {
        JournalReader::new(Arc::clone(&self.shared)).map_err(|source| self.shared.failed(source))
    }

    /// The sequence of the next record.
    pub fn next_sequence(&self) -> u64 {
        self.head.next_sequence
    }

    /// Appends records in one transaction; when this returns they are on the disk. A part that is recorded already is left out. Texts that
    /// are too long are cut ([`record_bounds`]).
    ///
    /// # Errors
    /// When the disk does not take them; nothing is appended then.
    pub fn append<'a, Records>(&mut self, records: Records) -> Result<Appended, JournalError>
    where
        Records: IntoIterator<Item = &'a NewRecord, IntoIter: ExactSizeIterator>,
    {
        let records = records.into_iter();
        let sequence_below = self.head.next_sequence + records.len() as u64;
        self.reserved.reach(&self.shared.folder, self.shared.epoch, sequence_below)?;
        let Self {
            shared,
            connection,
            head,
            recorded,
            ..
        } = self;
        let (mut appended, mut new_head) = (Appended::default(), *head);
        let insert = || -> rusqlite::Result<()> {
            let _turn = shared.turn();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut inserter = Inserter::new(&transaction, shared.chain);
            let mut again = HashSet::new();
            for new in records {
                if let Some(part) = repeated(new, recorded.below)
                    && (!again.insert(part) || recorded.contains(&transaction, shared.chain, part)?)
                {
                    appended.already.push(part);
                    continue;
                }
                let stored = Stored::of(link(shared, &new_head, new));
                inserter.insert(&stored)?;
                new_head = Head {
                    next_sequence: stored.sequence + 1,
                    previous_hash: stored.hash,
                };
                appended.stored.push(Arc::new(stored));
            }
            drop(inserter);
            transaction.commit()
        };
        insert().map_err(|source| shared.failed(source))?;
        *head = new_head;
        for stored in &appended.stored {
            if let Some(Body::Part(part)) = &stored.record.body
                && (part.recovered || part.part_sequence < recorded.below)
            {
                recorded.recent.insert(part.part_sequence);
            }
        }
        if !appended.stored.is_empty() {
            shared.written_below.send_replace(head.next_sequence);
        }
        Ok(appended)
    }

    /// The last `count` parts of the epoch in the order they were recorded.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub fn recent_parts(&self, count: usize) -> Result<Vec<RecentPart>, JournalError> {
        let mut parts = Vec::new();
        let read = read_recent_parts(&self.connection, self.shared.chain, count, &mut parts);
        read.map(|()| parts).map_err(|source| self.shared.failed(source))
    }

    /// Goes on in a new file after the one in use turned out to be damaged; readers follow.
    ///
    /// # Errors
    /// When no new file can be made.
    pub fn begin_anew(&mut self, what: &str) -> Result<Damage, JournalError> {
        let Shared {
            folder, station, epoch, ..
        } = &*self.shared;
        let damage = set_aside::move_away(folder, what)?;
        let mut connection = tables::open(&self.shared.path(), Durability::Power).map_err(|source| failed(folder, source))?;
        let first = tables::anchor(&self.connection, self.shared.chain)
            .ok()
            .flatten()
            .map_or(1, |(first, _)| first);
        begin_chain(&mut connection, station, *epoch, self.shared.chain, self.head).map_err(|source| failed(folder, source))?;
        self.connection = connection;
        self.shared.generation.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        let next = self.head.next_sequence;
        let damage = Damage {
            lost: (next > first).then(|| (first, next - 1)),
            ..damage
        };
        self.note_loss(&damage)?;
        Ok(damage)
    }

    /// Records what is lost, and says it.
    fn note_loss(&mut self, damage: &Damage) -> Result<(), JournalError> {
        tracing::error!(journal = %self.shared.path().display(), what = damage.what, set_aside = ?damage.set_aside, lost = ?damage.lost,
            "the journal was damaged; records that the historian does not hold are only in what was set aside");
        if let Some((from, to)) = damage.lost {
            self.append(&[lost(from, to, LostReason::Damaged)])?;
        }
        Ok(())
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl RecordedParts {
    fn of(recent: &[RecentPart]) -> Self {
        let numbers = || recent.iter().map(|part| part.part_sequence);
        Self {
            below: numbers().max().map_or(0, |highest| highest + 1),
            recent: numbers().collect(),
            // Where all were told, none is older.
            oldest: if recent.len() < RECENT_PARTS {
                0
            } else {
                numbers().min().unwrap_or(0)
            },
        }
    }

    fn contains(&self, connection: &Connection, chain: u64, part: u64) -> rusqlite::Result<bool> {
        if self.recent.contains(&part) {
            return Ok(true);
        }
        if part >= self.oldest {
            return Ok(false);
        }
        // Older than any black box remembers. Slow, and right.
        let (first, last) = tables::ids(chain);
        connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM records WHERE id BETWEEN ?1 AND ?2 AND kind = ?3 AND part_sequence = ?4)")?
            .query_row(params![first, last, Kind::Part as i64, part as i64], |row| row.get(0))
    }
}

/// The number of a part that may have been recorded before.
fn repeated(new: &NewRecord, recorded_below: u64) -> Option<u64> {
    match &new.body {
        Body::Part(part) if part.recovered || part.part_sequence < recorded_below => Some(part.part_sequence),
        _ => None,
    }
}

/// The next link of the chain.
fn link(shared: &Shared, head: &Head, new: &NewRecord) -> proto::Record {
    let mut body = new.body.clone();
    if record_bounds::fit(&mut body) {
        tracing::warn!(sequence = head.next_sequence, "a record was too long and has been cut");
    }
    proto::Record {
        station: shared.station.clone(),
        epoch: shared.epoch,
        sequence: head.next_sequence,
        previous_hash: head.previous_hash.to_vec(),
        recorded_unix_ns: new.recorded_unix_ns,
        clock_quality: new.clock_quality.into(),
        body: Some(body),
    }
}

/// That records are lost.
pub(super) fn lost(from: u64, to: u64, reason: LostReason) -> NewRecord {
    NewRecord {
        body: Body::Lost(proto::Lost {
            from,
            to,
            reason: reason.into(),
        }),
        recorded_unix_ns: unix_now_ns(),
        clock_quality: ClockQuality::Unspecified,
    }
}

fn failed(folder: &Path, source: rusqlite::Error) -> JournalError {
    JournalError::Sqlite {
        path: folder.join(FILE_NAME),
        source,
    }
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("journal.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| JournalError::Io { path, source })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| JournalError::InUse { path: folder.to_owned() })?;
    Ok(file)
}

/// Opens the file, or makes it. The inner error says what is damaged.
fn look(folder: &Path, station: &str, epoch: u64) -> Result<Result<Opened, String>, JournalError> {
    let path = folder.join(FILE_NAME);
    let look = || -> rusqlite::Result<Result<Opened, LookError>> {
        let mut connection = tables::open(&path, Durability::Power)?;
        match tables::version(&connection)? {
            0 => tables::create(&mut connection)?,
            VERSION => {}
            version if version > VERSION => return Ok(Err(LookError::Newer(version))),
            _ => return Ok(Err(LookError::Damaged("it has an unknown version".into()))),
        }
        let chain = record_table::chain(&connection, station, epoch)?;
        let is_new = tables::anchor(&connection, chain)?.is_none();
        if is_new {
            tables::set_anchor(&connection, chain, 1, &NO_HASH)?;
        }
        if let Some(what) = broken_end(&connection, chain)? {
            return Ok(Err(LookError::Damaged(what)));
        }
        let head = head(&connection, chain)?;
        let is_empty = tables::head(&connection, chain)?.is_none();
        let mut recent = Vec::new();
        read_recent_parts(&connection, chain, RECENT_PARTS, &mut recent)?;
        Ok(Ok(Opened {
            connection,
            chain,
            head,
            is_new,
            is_empty,
            recent,
        }))
    };
    match look() {
        Ok(Ok(opened)) => Ok(Ok(opened)),
        Ok(Err(LookError::Newer(version))) => Err(JournalError::Newer { path, version }),
        Ok(Err(LookError::Damaged(what))) => Ok(Err(what)),
        Err(error) if is_damage(&error) || is_missing_table(&error) => Ok(Err(error.to_string())),
        Err(source) => Err(JournalError::Sqlite { path, source }),
    }
}

enum LookError {
    Newer(u32),
    Damaged(String),
}

/// A table that version 1 has is not there: somebody else's file, or half of one.
fn is_missing_table(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(text)) if text.starts_with("no such") || text.contains("already exists"))
        || matches!(error, rusqlite::Error::SqlInputError { .. })
}

fn head(connection: &Connection, chain: u64) -> rusqlite::Result<Head> {
    let (first, previous_hash) = tables::anchor(connection, chain)?.unwrap_or((1, NO_HASH));
    Ok(match tables::head(connection, chain)? {
        Some((sequence, hash)) if sequence >= first => Head {
            next_sequence: sequence + 1,
            previous_hash: hash,
        },
        _ => Head {
            next_sequence: first,
            previous_hash,
        },
    })
}

/// What is wrong with the last records of a chain, if anything is.
fn broken_end(connection: &Connection, chain: u64) -> rusqlite::Result<Option<String>> {
    let (first, last) = tables::ids(chain);
    let mut statement = connection.prepare("SELECT id, hash, bytes FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT ?3")?;
    let mut rows = statement.query(params![first, last, CHECKED_AT_OPEN as i64])?;
    let mut after: Option<proto::Record> = None;
    while let Some(row) = rows.next()? {
        let sequence = tables::sequence_of(row.get(0)?);
        let hash: [u8; 32] = row.get(1)?;
        let stored = match Stored::read(row.get(2)?) {
            Ok(stored) if stored.hash == hash && stored.sequence == sequence => stored,
            _ => return Ok(Some(format!("the bytes of record {sequence} are not those that were recorded"))),
        };
        if let Some(after) = after
            && after.sequence == sequence + 1
            && after.previous_hash != hash
        {
            return Ok(Some(format!("record {} does not follow the one before it", after.sequence)));
        }
        after = Some(stored.record);
    }
    Ok(None)
}

/// Sets a damaged file aside and makes a new one that goes on where it ended, as far as that is known.
fn set_aside_and_begin_anew(
    folder: &Path,
    station: &str,
    epoch: u64,
    what: &str,
    reserved: Reserved,
) -> Result<(Opened, Option<Damage>), JournalError> {
    let left = what_is_left(folder, station, epoch);
    let unknown = Left {
        first: 1,
        head: Head {
            next_sequence: reserved.below,
            previous_hash: NO_HASH,
        },
        recent: Vec::new(),
    };
    let Left { first, head, recent } = left.unwrap_or(unknown);
    let damage = set_aside::move_away(folder, what)?;
    let mut connection = tables::open(&folder.join(FILE_NAME), Durability::Power).map_err(|source| failed(folder, source))?;
    begin_chain(&mut connection, station, epoch, 1, head).map_err(|source| failed(folder, source))?;
    let damage = Damage {
        lost: (head.next_sequence > first).then(|| (first, head.next_sequence - 1)),
        ..damage
    };
    let opened = Opened {
        connection,
        chain: 1,
        head,
        is_new: false,
        is_empty: true,
        recent,
    };
    Ok((opened, Some(damage)))
}

/// What can still be read of a chain in a file that is damaged.
struct Left {
    first: u64,
    head: Head,
    /// Its last parts, back to where it cannot be read.
    recent: Vec<RecentPart>,
}

fn what_is_left(folder: &Path, station: &str, epoch: u64) -> Option<Left> {
    let connection = tables::open_read_only(&folder.join(FILE_NAME)).ok()?;
    let find = "SELECT id FROM chains WHERE station = ?1 AND epoch = ?2";
    let chain: i64 = connection.query_row(find, params![station, epoch as i64], |row| row.get(0)).ok()?;
    let (first, _) = tables::anchor(&connection, chain as u64).ok()??;
    let head = head(&connection, chain as u64).ok()?;
    let mut recent = Vec::new();
    // What was read before it failed stays.
    let _ = read_recent_parts(&connection, chain as u64, RECENT_PARTS, &mut recent);
    Some(Left { first, head, recent })
}

/// Makes tables and a chain that begins at a head.
fn begin_chain(connection: &mut Connection, station: &str, epoch: u64, chain: u64, head: Head) -> rusqlite::Result<()> {
    tables::create(connection)?;
    connection.execute(
        "INSERT INTO chains (id, station, epoch) VALUES (?1, ?2, ?3)",
        params![chain as i64, station, epoch as i64],
    )?;
    tables::set_anchor(connection, chain, head.next_sequence, &head.previous_hash)
}

/// A part's record, only what the line remembers of it; the rest of the bytes is passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Remembered {
    #[prost(message, optional, tag = "10")]
    part: Option<RememberedPart>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RememberedPart {
    #[prost(uint64, tag = "1")]
    part_sequence: u64,
    #[prost(uint32, optional, tag = "2")]
    cycle_id: Option<u32>,
    #[prost(uint32, tag = "3")]
    plc_session: u32,
    #[prost(uint32, tag = "7")]
    encoder: u32,
    #[prost(string, tag = "8")]
    serial: String,
    #[prost(uint32, tag = "9")]
    recipe: u32,
}

/// Reads the last parts of a chain, in the order they were recorded; those that were read before an error are there too.
fn read_recent_parts(connection: &Connection, chain: u64, count: usize, parts: &mut Vec<RecentPart>) -> rusqlite::Result<()> {
    let read = read_newest_first(connection, chain, count, parts);
    parts.reverse();
    read
}

fn read_newest_first(connection: &Connection, chain: u64, count: usize, parts: &mut Vec<RecentPart>) -> rusqlite::Result<()> {
    let (first, last) = tables::ids(chain);
    let mut statement =
        connection.prepare_cached("SELECT bytes FROM records WHERE id BETWEEN ?1 AND ?2 AND kind = ?3 ORDER BY id DESC LIMIT ?4")?;
    let mut rows = statement.query(params![first, last, Kind::Part as i64, count as i64])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob()?;
        if let Ok(Remembered { part: Some(part) }) = prost::Message::decode(bytes) {
            parts.push(RecentPart {
                part_sequence: part.part_sequence,
                cycle_id: part.cycle_id,
                plc_session: part.plc_session,
                encoder: part.encoder,
                serial: part.serial,
                recipe: part.recipe,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::journal::log::RecordLog;
    use crate::journal::verify::verify;
    use crate::rpc::proto::{Finding, Outcome, Part, Tag, View};
    use std::fs;

    pub(in crate::journal) const EPOCH: u64 = 1_700_000_000;

    /// A typical part: one view, three tags, one in fifty with a finding.
    pub(in crate::journal) fn part(part_sequence: u64) -> NewRecord {
        let is_reject = part_sequence.is_multiple_of(50);
        let outcome = Outcome {
            verdict: if is_reject { proto::Verdict::NotOk } else { proto::Verdict::Ok }.into(),
            reason: u32::from(is_reject),
        };
        let finding = Finding {
            class: "scratch".into(),
            score: 7.5,
            x: 100,
            y: 120,
            width: 30,
            height: 20,
            area_px: 400,
            ..Default::default()
        };
        let tag = |name: &str, value: String| Tag { name: name.into(), value };
        let at = 1_790_000_000_000_000_000 + part_sequence as i64 * 50_000_000;
        let part = Part {
            part_sequence,
            cycle_id: Some(part_sequence as u32 + 1000),
            plc_session: 3,
            boot_id: 1,
            acquisition_id: part_sequence as u32,
            result_id: part_sequence as u32,
            encoder: part_sequence as u32 * 10,
            serial: format!("SN-{part_sequence:010}"),
            recipe: 7,
            config_checksum: 0xdead_beef,
            models: vec![proto::Model {
                name: "cap".into(),
                version: "2026-11-01".into(),
                sha256: vec![9; 32],
            }],
            outcome: Some(outcome),
            delivery: 3,
            triggered_unix_ns: at,
            deadline_us: 150_000,
            stages: Some(proto::StageTimes {
                frame_us: 15_000,
                queue_us: 40,
                preprocess_us: 900,
                infer_us: 21_000,
                postprocess_us: 300,
                total_us: 38_000,
            }),
            views: vec![View {
                inspection: "surface".into(),
                camera: "top".into(),
                frame_counter: Some(part_sequence),
                exposed_us: 900,
                outcome: Some(outcome),
                score: Some(3.25),
                threshold: Some(5.5),
                findings: if is_reject { vec![finding] } else { Vec::new() },
                ..View::default()
            }],
            tags: vec![
                tag("tool", "A4".into()),
                tag("cavity", (part_sequence % 8).to_string()),
                tag("lot", format!("L{}", part_sequence / 5000)),
            ],
            evidence_share: 0.01,
            recipe_name: "cap 28 mm".into(),
            ..Part::default()
        };
        NewRecord {
            body: Body::Part(Box::new(part)),
            recorded_unix_ns: at + 40_000_000,
            clock_quality: ClockQuality::Ntp,
        }
    }

    pub(in crate::journal) fn parts(numbers: impl IntoIterator<Item = u64>) -> Vec<NewRecord> {
        numbers.into_iter().map(part).collect()
    }

    pub(in crate::journal) fn open(folder: &Path) -> (Journal, Found) {
        Journal::open(folder, "press 4", EPOCH).unwrap()
    }

    /// A folder with a journal that holds parts from 1 on.
    pub(in crate::journal) fn journal_of(count: u64) -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path());
        journal.append(&parts(1..=count)).unwrap();
        (folder, journal)
    }

    fn sequences(appended: &Appended) -> Vec<u64> {
        appended.stored.iter().map(|stored| stored.sequence).collect()
    }

    #[test]
    fn records_are_numbered_without_a_gap_and_each_follows_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, found) = open(folder.path());
        assert_eq!((found.next_sequence, found.damaged), (1, None));
        let first = journal.append(&parts([5, 3])).unwrap();
        let second = journal.append(&parts([4])).unwrap();
        assert_eq!((sequences(&first), sequences(&second)), (vec![1, 2], vec![3]));
        let records = [&first.stored[0], &first.stored[1], &second.stored[0]];
        assert_eq!(records[0].record.previous_hash, NO_HASH);
        assert_eq!(records[1].record.previous_hash, records[0].hash);
        assert_eq!(records[2].record.previous_hash, records[1].hash);
        let read = journal.reader().unwrap().read(2, u64::MAX, usize::MAX).unwrap();
        assert_eq!(
            read,
            records[1..]
                .iter()
                .map(|stored| (stored.sequence, stored.bytes.clone()))
                .collect::<Vec<_>>()
        );
        drop(journal);

        let (mut journal, found) = open(folder.path());
        assert_eq!(found.next_sequence, 4);
        let recent: Vec<_> = found.recent_parts.iter().map(|part| (part.part_sequence, part.cycle_id)).collect();
        assert_eq!(recent, [(5, Some(1005)), (3, Some(1003)), (4, Some(1004))]);
        assert_eq!(
            (found.recent_parts[0].encoder, found.recent_parts[0].serial.as_str()),
            (50, "SN-0000000005")
        );
        assert_eq!(journal.append(&parts([6])).unwrap().stored[0].record.previous_hash, records[2].hash);
        let report = verify(folder.path()).unwrap();
        assert!(report.is_whole() && report.records == 4, "{report:?}");
    }

    #[test]
    fn parts_that_recovery_gives_again_are_recorded_once() {
        let (folder, mut journal) = journal_of(10);
        let mut recovered = part(10);
        if let Body::Part(part) = &mut recovered.body {
            part.recovered = true;
        }
        assert_eq!(
            journal.append(&[part(11), recovered.clone()]).unwrap().already,
            [] as [u64; 0],
            "of this life, nobody gives any again"
        );
        drop(journal);
        let (mut journal, _) = open(folder.path());
        let appended = journal.append(&[recovered.clone(), part(9), part(12), part(12)]).unwrap();
        assert_eq!((appended.already, appended.stored.len()), (vec![10, 9], 2));
    }

    #[test]
    fn an_epoch_counts_from_one_and_an_earlier_one_stays() {
        let (folder, journal) = journal_of(3);
        drop(journal);
        let (mut journal, found) = Journal::open(folder.path(), "press 4", EPOCH + 1).unwrap();
        assert_eq!((found.next_sequence, found.recent_parts, found.damaged), (1, vec![], None));
        assert_eq!(sequences(&journal.append(&parts([1])).unwrap()), [1]);
        let report = verify(folder.path()).unwrap();
        assert!(report.is_whole() && (report.chains, report.records) == (2, 4), "{report:?}");
    }

    #[test]
    fn a_full_disk_appends_nothing_and_what_comes_later_follows() {
        let (folder, mut journal) = journal_of(10);
        let pages: i64 = journal.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        journal.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
        let error = journal.append(&parts(11..=500)).unwrap_err();
        assert!(error.is_full() && !error.is_damage(), "{error}");
        assert_eq!(journal.next_sequence(), 11);
        journal.connection.pragma_update(None, "max_page_count", 1 << 30).unwrap();
        assert_eq!(sequences(&journal.append(&parts([11])).unwrap()), [11]);
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn what_was_not_committed_never_was() {
        let (folder, mut journal) = journal_of(2);
        {
            let transaction = journal.connection.transaction().unwrap();
            record_table::Inserter::new(&transaction, 1)
                .insert(&Stored::of(proto::Record {
                    sequence: 3,
                    ..proto::Record::default()
                }))
                .unwrap();
            // Neither committed nor rolled back: the process ends.
            std::mem::forget(transaction);
        }
        // A copy of what is on the disk, as a kill leaves it.
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_file())
        {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let (mut journal, found) = open(copy.path());
        assert_eq!((found.next_sequence, found.damaged), (3, None));
        journal.append(&parts([3])).unwrap();
        assert!(verify(copy.path()).unwrap().is_whole());
    }

    #[test]
    fn a_file_that_is_no_database_is_set_aside_and_no_sequence_is_given_twice() {
        let (folder, journal) = journal_of(20);
        drop(journal);
        let _ = fs::remove_file(folder.path().join("journal.sqlite-wal"));
        fs::write(folder.path().join(FILE_NAME), [7; 9000]).unwrap();
        let (mut journal, found) = open(folder.path());
        let damage = found.damaged.unwrap();
        let (from, to) = damage.lost.unwrap();
        assert!(
            from == 1 && to >= 20 && found.next_sequence == to + 2,
            "{damage:?} {}",
            found.next_sequence
        );
        assert_eq!(fs::read(damage.set_aside.unwrap().join(FILE_NAME)).unwrap(), [7; 9000]);
        journal.append(&parts([21])).unwrap();
        let report = verify(folder.path()).unwrap();
        assert!(report.is_whole() && report.records == 2, "{report:?}");
    }

    #[test]
    fn a_journal_that_was_removed_is_missed() {
        let (folder, journal) = journal_of(20);
        drop(journal);
        fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
        let (_, found) = open(folder.path());
        let damage = found.damaged.unwrap();
        assert!(
            damage.set_aside.is_none() && damage.lost.unwrap().0 == 1 && damage.lost.unwrap().1 >= 20,
            "{damage:?}"
        );
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn changed_bytes_at_the_end_are_noticed_and_the_chain_goes_on_after_them() {
        let (folder, journal) = journal_of(20);
        journal
            .connection
            .execute("UPDATE records SET bytes = x'00' WHERE id & 0xffff = 15", [])
            .unwrap();
        let last = journal.head;
        drop(journal);
        let (mut journal, found) = open(folder.path());
        let damage = found.damaged.unwrap();
        assert!(damage.what.contains("record 15"), "{damage:?}");
        assert_eq!((damage.lost, found.next_sequence), (Some((1, 20)), 22));
        let lost = journal.reader().unwrap().read(21, 21, 1).unwrap();
        assert_eq!(Stored::read(lost[0].1.clone()).unwrap().record.previous_hash, last.previous_hash);
        journal.append(&parts([21])).unwrap();
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn a_file_that_breaks_while_in_use_is_replaced_and_readers_follow() {
        let (folder, mut journal) = journal_of(20);
        let reader = journal.reader().unwrap();
        assert_eq!(reader.read(1, 99, usize::MAX).unwrap().len(), 20);
        let damage = journal.begin_anew("a test says so").unwrap();
        assert_eq!(damage.lost, Some((1, 20)));
        journal.append(&parts([21])).unwrap();
        let read: Vec<u64> = reader
            .read(1, 99, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(sequence, _)| sequence)
            .collect();
        assert_eq!(read, [21, 22]);
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn a_later_version_is_refused_by_name() {
        let (folder, journal) = journal_of(1);
        journal.connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(journal);
        let Err(error) = Journal::open(folder.path(), "press 4", EPOCH) else {
            panic!()
        };
        assert!(error.to_string().contains("its format version is 2, this takt knows 1"), "{error}");
        assert!(folder.path().join(FILE_NAME).exists());
    }

    #[test]
    fn two_stations_do_not_write_one_journal_nor_one_to_a_file() {
        let (folder, _journal) = journal_of(1);
        assert!(matches!(Journal::open(folder.path(), "b", EPOCH), Err(JournalError::InUse { .. })));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let Err(error) = Journal::open(&file, "b", EPOCH) else { panic!() };
        assert!(
            matches!(error, JournalError::Io { .. }) && error.to_string().contains("state_directory"),
            "{error}"
        );
    }

    #[test]
    fn times_of_1970_and_serials_of_ten_megabytes_are_records_like_others() {
        let (folder, mut journal) = journal_of(0);
        let mut odd = part(1);
        odd.recorded_unix_ns = 5;
        odd.clock_quality = ClockQuality::Implausible;
        if let Body::Part(part) = &mut odd.body {
            part.serial = "x".repeat(10 << 20);
            part.triggered_unix_ns = -3;
        }
        let stored = &journal.append(&[odd]).unwrap().stored[0];
        assert!(stored.bytes.len() <= record_bounds::BODY_BYTES_MAX + 1024, "{}", stored.bytes.len());
        assert!(verify(folder.path()).unwrap().is_whole());
        drop(journal);
        assert_eq!(open(folder.path()).1.next_sequence, 2);
    }

    #[test]
    fn what_the_historian_holds_is_noted_in_any_order_and_never_beyond_the_end() {
        let (_folder, journal) = journal_of(20);
        let reader = journal.reader().unwrap();
        assert_eq!(reader.acknowledged_below().unwrap(), 1);
        reader.acknowledge(&[5..=7, 10..=12]).unwrap();
        assert_eq!(reader.acknowledged_below().unwrap(), 1);
        reader.acknowledge(&[1..=4, 5..=5]).unwrap();
        assert_eq!(reader.acknowledged_below().unwrap(), 8);
        reader.acknowledge(&[6..=u64::MAX, 0..=0]).unwrap();
        assert_eq!(reader.acknowledged_below().unwrap(), 21);
        let ranges: i64 = journal
            .connection
            .query_row("SELECT count(*) FROM acknowledged", [], |row| row.get(0))
            .unwrap();
        assert_eq!(ranges, 1);
        assert_eq!(reader.read(3, 9, 1).unwrap().len(), 1);
        assert_eq!((reader.read(21, 99, 1).unwrap(), reader.hash_of(21).unwrap()), (vec![], None));
    }
}
