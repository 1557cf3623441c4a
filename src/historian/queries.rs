//! Questions about records, asked of the tables of `journal/record_table.rs`: on a station's journal and in the historian's embedded store.
//!
//! | file | what it holds |
//! |---|---|
//! | `queries/filter.rs` | what is asked for, checked, and as conditions |
//! | `queries/sql.rs` | SQL into which text from outside can only be bound |
//! | `queries/cursor.rs` | where a page ended |
//! | `queries/counts.rs` | Pareto and yield: from the counts by hour where they can tell, else from the records |
//!
//! Every question is answered in bounded time, however it is put. Where an index leads to few rows (a cycle ID, a serial, a tag) these
//! are sorted; otherwise records are walked in the order of time. A page looks at no more than [`LOOKED_AT_MAX`] records and says where it
//! stopped, so it can be empty and yet not the last; a count that would take more than [`counts::COUNTED_MAX`] is refused.
//! Records are those of parts; what else a station recorded is found with its part ([`get_record`]).

pub mod counts;
mod cursor;
pub mod filter;
mod sql;

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params, params_from_iter};

use crate::journal::record_table::SEQUENCES;
use crate::rpc::proto::{self, record::Body};

pub use counts::{pareto, yield_steps};
use cursor::{Fingerprint, Position};
use filter::Filter;
use sql::Sql;

/// Records of a page that does not say how many it wants.
const PAGE_SIZE: u32 = 100;

/// Records of a page at most. More are refused.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// Bytes of records of a page, beyond which it ends; a single larger record is a page of its own.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Records that are looked at for one page: about 0.1 s. Then it ends with what it has.
const LOOKED_AT_MAX: usize = 100_000;

/// Rows that an index may lead to and are then sorted for each page; where there are more, records are walked in the order of time.
const CANDIDATES_MAX: i64 = 20_000;

/// Records that say more about a part; further ones are left out.
const RELATED_MAX: usize = 100;

/// How long a reader waits for who holds the database, such as a recovery after a crash.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It cannot be asked so.
    #[error("failed to answer: {0}")]
    Invalid(String),
    /// The database does not answer.
    #[error("failed to read the database: {0}")]
    Database(String),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// Records in the order asked for, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Bytes of each record, as committed. There may be fewer than asked for, even none, where more are to come.
    pub records: Vec<Vec<u8>>,
    /// Empty if nothing is to come.
    pub next_cursor: String,
}

/// A record with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its bytes, as committed.
    pub bytes: Vec<u8>,
    /// SHA-256 of them, as stored.
    pub hash: [u8; 32],
    /// Bytes of the records that say more about the same part: late findings, dispositions, in the order of recording.
    pub related: Vec<Vec<u8>>,
}

/// A database that is open for questions only.
#[derive(Debug)]
pub struct RecordFile {
    /// To ask.
    pub connection: Connection,
    /// Where it lies.
    pub path: PathBuf,
}

impl RecordFile {
    /// Opens a journal (its file, or its folder), or the embedded store of a historian. Nothing is written, and who writes is not held up.
    ///
    /// # Errors
    /// When there is none, it may not be read, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, QueryError> {
        let path = &if path.is_dir() { path.join(JOURNAL_FILE) } else { path.to_owned() };
        let said = |what: String| QueryError::Database(format!("{}: {what}", path.display()));
        if !path.is_file() {
            return Err(said(
                "there is no such file; name a journal's folder, or the database file itself".into(),
            ));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| said(error.to_string()))?;
        connection.busy_timeout(BUSY_MAX)?;
        match has_table(&connection, "records") {
            Ok(true) => Ok(Self {
                connection,
                path: path.to_owned(),
            }),
            Ok(false) => Err(said("it holds no records of takt; is it the right file?".into())),
            Err(error) => Err(said(format!(
                "{error}; may you read it and its folder, and is it a database of takt?"
            ))),
        }
    }

    /// What is known of the evidence images of a record; a database without a table of images has none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn images(&self, key: &proto::RecordKey) -> Result<Vec<StoredImage>, QueryError> {
        if !has_table(&self.connection, "images")? {
            return Ok(Vec::new());
        }
        // A journal says where its files are, and whether they still are; a historian keeps that to itself.
        let is_journal: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('images') WHERE name = 'file')",
            [],
            |row| row.get(0),
        )?;
        let Some(first_id) = first_id(&self.connection, key)? else {
            return Ok(Vec::new());
        };
        let mut found = self.connection.prepare(if is_journal {
            "SELECT camera, media_type, sha256, iif(state <= 2, file, NULL) FROM images WHERE record = ?1 ORDER BY camera"
        } else {
            "SELECT camera, media_type, sha256, NULL FROM images WHERE record = ?1 ORDER BY camera"
        })?;
        let folder = self.path.with_file_name(EVIDENCE_FOLDER);
        let images = found.query_map(params![first_id + stored(key.sequence)], |row| {
            Ok(StoredImage {
                camera: row.get(0)?,
                media_type: row.get(1)?,
                sha256: row.get(2)?,
                file: row.get::<_, Option<String>>(3)?.map(|file| folder.join(file)),
            })
        })?;
        Ok(images.collect::<Result<_, _>>()?)
    }
}

/// An evidence image, as a database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Name of the camera.
    pub camera: String,
    /// Media type.
    pub media_type: String,
    /// SHA-256 of the file.
    pub sha256: Vec<u8>,
    /// Where it lies; `None` where it is gone, or where only a running historian can tell.
    pub file: Option<PathBuf>,
}

/// A journal's file in its folder, and its images in a folder beside it.
const JOURNAL_FILE: &str = "journal.sqlite";
const EVIDENCE_FOLDER: &str = "evidence";

/// Records of parts, page by page.
///
/// # Errors
/// When the question makes no sense, its cursor belongs to another, or the database does not answer.
pub fn query_records(connection: &Connection, request: &proto::QueryRecordsRequest) -> Result<Page, QueryError> {
    let asked = request.filter.clone().unwrap_or_default();
    let filter = Filter::of(&asked)?;
    let newest_first = newest_first(request.order)?;
    let page_size = rows(request.page_size, PAGE_SIZE, "page_size")?;
    let question = Fingerprint::of(&asked, newest_first);
    let beginning = beginning(&filter, newest_first);
    let start = match request.cursor.as_str() {
        "" => beginning,
        cursor if newest_first => cursor::read(cursor, question)?.min(beginning),
        cursor => cursor::read(cursor, question)?.max(beginning),
    };
    let _snapshot = snapshot(connection)?;
    let way = Way::of(connection, &filter)?;
    let mut page = PageBuilder::new(connection, page_size);
    for walk in way.in_order(&filter, newest_first, start) {
        page.fill(&walk)?;
    }
    let next_cursor = match page.last {
        Some(position) if page.is_complete => cursor::write(position, question),
        _ => String::new(),
    };
    Ok(Page {
        records: page.records,
        next_cursor,
    })
}

/// One record with what belongs to it; `None` if there is none.
///
/// # Errors
/// When the database does not answer.
pub fn get_record(connection: &Connection, key: &proto::RecordKey) -> Result<Option<Found>, QueryError> {
    let _snapshot = snapshot(connection)?;
    let Some(first_id) = first_id(connection, key)? else {
        return Ok(None);
    };
    let row: Option<(Vec<u8>, [u8; 32])> = connection
        .prepare_cached("SELECT bytes, hash FROM records WHERE id = ?1")?
        .query_row(params![first_id + key.sequence as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((bytes, hash)) = row else { return Ok(None) };
    let related = related(connection, first_id, &bytes)?;
    Ok(Some(Found { bytes, hash, related }))
}

/// The chains that are held, by station and epoch; `held` is left empty: which sequences are there is known to who takes them in.
///
/// # Errors
/// When the database does not answer, or there are too many records to count.
pub fn stations(connection: &Connection) -> Result<Vec<proto::StationSummary>, QueryError> {
    let _snapshot = snapshot(connection)?;
    let records = counts::records_by_chain(connection)?;
    let outcomes = counts::outcomes_by_chain(connection)?;
    let mut chains = connection.prepare("SELECT id, station, epoch FROM chains ORDER BY station, epoch")?;
    let mut last = connection.prepare("SELECT bytes FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1")?;
    let mut summaries = Vec::new();
    let mut rows = chains.query([])?;
    while let Some(row) = rows.next()? {
        let (id, station, epoch): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let first_id = id * SEQUENCES as i64;
        let bytes: Option<Vec<u8>> = last
            .query_row(params![first_id, first_id + SEQUENCES as i64], |row| row.get(0))
            .optional()?;
        let newest = bytes.and_then(|bytes| proto::Record::decode(bytes.as_slice()).ok());
        summaries.push(proto::StationSummary {
            station,
            epoch: epoch as u64,
            records: records.get(&id).copied().unwrap_or_default(),
            held: Vec::new(),
            last_recorded_unix_ns: newest.map(|record| record.recorded_unix_ns).unwrap_or_default(),
            counts: Some(outcomes.get(&id).copied().unwrap_or_default()),
        });
    }
    Ok(summaries)
}

/// The id that sequence 0 of a key's chain would have; `None` where there is no such chain, or can be no such sequence.
fn first_id(connection: &Connection, key: &proto::RecordKey) -> rusqlite::Result<Option<i64>> {
    let chain: Option<i64> = connection
        .prepare_cached("SELECT id FROM chains WHERE station = ?1 AND epoch = ?2")?
        .query_row(params![key.station, stored(key.epoch)], |row| row.get(0))
        .optional()?;
    Ok(chain.filter(|_| key.sequence < SEQUENCES).map(|chain| chain * SEQUENCES as i64))
}

/// A number as the database stores it.
fn stored(number: u64) -> i64 {
    number as i64
}

/// All reads of one answer see the same state. Inside a transaction they do already.
fn snapshot(connection: &Connection) -> rusqlite::Result<Option<Transaction<'_>>> {
    connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)")?
        .query_row(params![name], |row| row.get(0))
}

fn newest_first(order: i32) -> Result<bool, QueryError> {
    match proto::Order::try_from(order) {
        Ok(proto::Order::Unspecified | proto::Order::NewestFirst) => Ok(true),
        Ok(proto::Order::OldestFirst) => Ok(false),
        Err(_) => Err(QueryError::Invalid(format!(
            "order: {order} is no order; there are ORDER_NEWEST_FIRST (1) and ORDER_OLDEST_FIRST (2)"
        ))),
    }
}

/// How many rows are wanted; 0 is the default.
fn rows(asked: u32, default: u32, field: &str) -> Result<usize, QueryError> {
    match asked {
        0 => Ok(default as usize),
        1..=PAGE_SIZE_MAX => Ok(asked as usize),
        _ => Err(QueryError::Invalid(format!("{field} is {asked}; it is 1 to {PAGE_SIZE_MAX}"))),
    }
}

/// Before the first record that can be asked for.
fn beginning(filter: &Filter, newest_first: bool) -> Position {
    if newest_first {
        filter.time.to.map_or(
            Position {
                at_unix_ns: i64::MAX,
                id: i64::MAX,
            },
            |to| Position {
                at_unix_ns: to,
                id: i64::MIN,
            },
        )
    } else {
        Position {
            at_unix_ns: filter.time.first(),
            id: i64::MIN,
        }
    }
}

/// By which index the records of a filter are come by.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    /// Everything there is, by time.
    Time,
    /// What is not Ok, by time.
    Rejects,
    /// These ids, which are few.
    Candidates(Sql),
}

impl Way {
    /// The first index that leads to few rows, else time.
    fn of(connection: &Connection, filter: &Filter) -> Result<Self, QueryError> {
        for candidates in filter.candidates() {
            let count = Sql::default()
                .text("SELECT count(*) FROM (")
                .piece(candidates.clone())
                .text(" LIMIT ")
                .value(CANDIDATES_MAX + 1)
                .text(")");
            let found: i64 = connection
                .prepare_cached(count.as_str())?
                .query_row(params_from_iter(count.values()), |row| row.get(0))?;
            if found <= CANDIDATES_MAX {
                return Ok(Self::Candidates(candidates));
            }
        }
        Ok(if filter.is_rejects_only() { Self::Rejects } else { Self::Time })
    }

    /// `FROM` and the condition that the index is for. The planner has no choice.
    fn from(&self) -> Sql {
        match self {
            Self::Time => Sql::default().text(" FROM records INDEXED BY records_by_time WHERE true"),
            Self::Rejects => Sql::default().text(" FROM records INDEXED BY rejects_by_time WHERE verdict <> 1"),
            // Not indexed but by its primary key.
            Self::Candidates(ids) => Sql::default()
                .text(" FROM records NOT INDEXED WHERE id IN (")
                .piece(ids.clone())
                .text(")"),
        }
    }

    /// Id, time, and whether it is asked for, of the rows behind `start` in the order of time: first those of the same moment, then the
    /// rest. So the index is entered at `start` even where a clock stood still for a million records.
    fn in_order(&self, filter: &Filter, newest_first: bool, start: Position) -> [Sql; 2] {
        let walk = || {
            Sql::default()
                .text("SELECT id, at_unix_ns, ")
                .piece(filter.conditions())
                .piece(self.from())
                .text(" AND at_unix_ns ")
        };
        let same = walk().text("= ").value(start.at_unix_ns);
        if newest_first {
            let rest = walk()
                .text("< ")
                .value(start.at_unix_ns)
                .text(" AND at_unix_ns >= ")
                .value(filter.time.first());
            [
                same.text(" AND id < ").value(start.id).text(" ORDER BY id DESC"),
                rest.text(" ORDER BY at_unix_ns DESC, id DESC"),
            ]
        } else {
            let rest = walk()
                .text("> ")
                .value(start.at_unix_ns)
                .text(" AND at_unix_ns <= ")
                .value(filter.time.last());
            [
                same.text(" AND id > ").value(start.id).text(" ORDER BY id"),
                rest.text(" ORDER BY at_unix_ns, id"),
            ]
        }
    }
}

/// A page that fills.
struct PageBuilder<'a> {
    connection: &'a Connection,
    size: usize,
    bytes: usize,
    looked_at: usize,
    records: Vec<Vec<u8>>,
    /// The record that was looked at last.
    last: Option<Position>,
    /// Whether it takes no more, though there may be more.
    is_complete: bool,
}

impl<'a> PageBuilder<'a> {
    fn new(connection: &'a Connection, size: usize) -> Self {
        Self {
            connection,
            size,
            bytes: 0,
            looked_at: 0,
            records: Vec::new(),
            last: None,
            is_complete: false,
        }
    }

    /// Takes what the walk finds until the page is complete.
    fn fill(&mut self, walk: &Sql) -> Result<(), QueryError> {
        if self.is_complete {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(walk.as_str())?;
        let mut read = self.connection.prepare_cached("SELECT bytes FROM records WHERE id = ?1")?;
        let mut rows = statement.query(params_from_iter(walk.values()))?;
        while let Some(row) = rows.next()? {
            let (position, is_asked_for) = place(row)?;
            if is_asked_for {
                let bytes: Vec<u8> = read.query_row(params![position.id], |row| row.get(0))?;
                if !self.has_room_for(&bytes) {
                    self.is_complete = true;
                    return Ok(());
                }
                self.bytes += bytes.len();
                self.records.push(bytes);
            }
            self.last = Some(position);
            self.looked_at += 1;
            if self.looked_at >= LOOKED_AT_MAX {
                self.is_complete = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn has_room_for(&self, bytes: &[u8]) -> bool {
        self.records.is_empty() || (self.records.len() < self.size && self.bytes + bytes.len() <= PAGE_BYTES_MAX)
    }
}

fn place(row: &Row<'_>) -> rusqlite::Result<(Position, bool)> {
    let position = Position {
        id: row.get(0)?,
        at_unix_ns: row.get(1)?,
    };
    // A condition on a value that is missing is neither true nor false.
    Ok((position, row.get::<_, Option<bool>>(2)?.unwrap_or(false)))
}

/// What else the chain says about the part of a record.
fn related(connection: &Connection, first_id: i64, bytes: &[u8]) -> Result<Vec<Vec<u8>>, QueryError> {
    let Ok(proto::Record {
        body: Some(Body::Part(part)),
        ..
    }) = proto::Record::decode(bytes)
    else {
        return Ok(Vec::new());
    };
    let end_id = first_id + SEQUENCES as i64;
    let mut found: Vec<(i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT id, bytes FROM records INDEXED BY other_records \
             WHERE kind <> 1 AND kind = 2 AND part_sequence = ?1 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4",
        )?
        .query_map(params![stored(part.part_sequence), first_id, end_id, RELATED_MAX as i64], both)?
        .collect::<Result<_, _>>()?;
    if let Some(cycle_id) = part.cycle_id {
        let mut dispositions = connection.prepare_cached(
            "SELECT id, bytes FROM records INDEXED BY records_by_cycle \
             WHERE cycle_id = ?1 AND kind = 3 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4",
        )?;
        let rows = dispositions.query_map(params![cycle_id, first_id, end_id, CANDIDATES_MAX], both)?;
        for row in rows {
            let (id, bytes) = row?;
            if found.len() < RELATED_MAX && is_disposition_in(&bytes, part.plc_session) {
                found.push((id, bytes));
            }
        }
    }
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found.into_iter().map(|(_, bytes)| bytes).collect())
}

fn both(row: &Row<'_>) -> rusqlite::Result<(i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Cycle IDs repeat: those of another session of the PLC are those of another part.
fn is_disposition_in(bytes: &[u8], plc_session: u32) -> bool {
    matches!(
        proto::Record::decode(bytes),
        Ok(proto::Record { body: Some(Body::Disposition(disposition)), .. }) if disposition.plc_session == plc_session
    )
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
