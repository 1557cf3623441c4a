//! The journal's file: its tables, its version, and how connections to it are set up.
//!
//! Beside the tables of [`super::record_table`]:
//!
//! | table | a row is |
//! |---|---|
//! | `meta` | what the file is, for people and for programs that do not know it |
//! | `anchors` | where a chain begins in this file: the first sequence, and the hash of the record before it |
//! | `acknowledged` | a range of sequences that the historian holds; ranges neither touch nor overlap |
//! | `images` | an evidence image: why it was to be kept, and what became of it |
//! | `image_totals` | how many images of a sort there are, and their bytes; kept by triggers |

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::record_table::{SEQUENCES, TABLES};

/// Version of the file's format, in `user_version`.
pub(super) const VERSION: u32 = 1;

/// The file in the journal's folder.
pub(super) const FILE_NAME: &str = "journal.sqlite";

/// How long a connection waits while another writes. Nobody writes for longer than a few milliseconds.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What is left of the write-ahead log on disk after a checkpoint, bytes.
const LOG_BYTES_KEPT: u32 = 16 << 20;

/// Pages of a connection's cache, KiB.
const CACHE_KIB: u32 = 8 << 10;

/// SHA-256 before the first record of an epoch, and where the record before is not known.
pub(super) const NO_HASH: [u8; 32] = [0; 32];

const OWN_TABLES: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE anchors (
    chain INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    -- 32 zero bytes: nothing was before it, or nobody knows
    previous_hash BLOB NOT NULL
) STRICT;
CREATE TABLE acknowledged (
    chain INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (chain, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE images (
    -- id in records
    record INTEGER NOT NULL,
    camera TEXT NOT NULL,
    -- below the folder of evidence
    file TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    -- 1 not_ok, 2 not_decidable, 3 sampled_ok
    why INTEGER NOT NULL,
    -- 1 kept, 2 sent, 3 removed for want of space, 4 gone, 5 never kept
    state INTEGER NOT NULL,
    PRIMARY KEY (record, camera)
) STRICT, WITHOUT ROWID;
CREATE INDEX images_unsent ON images (record) WHERE state = 1;
CREATE INDEX images_on_disk ON images (why = 3, state, record) WHERE state <= 2;
CREATE TABLE image_totals (
    why INTEGER NOT NULL,
    state INTEGER NOT NULL,
    images INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (why, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER image_added AFTER INSERT ON images BEGIN
    INSERT INTO image_totals VALUES (NEW.why, NEW.state, 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET images = images + 1, bytes = bytes + NEW.size_bytes;
END;
CREATE TRIGGER image_removed AFTER DELETE ON images BEGIN
    UPDATE image_totals SET images = images - 1, bytes = bytes - OLD.size_bytes WHERE why = OLD.why AND state = OLD.state;
END;
CREATE TRIGGER image_changed AFTER UPDATE ON images BEGIN
    UPDATE image_totals SET images = images - 1, bytes = bytes - OLD.size_bytes WHERE why = OLD.why AND state = OLD.state;
    INSERT INTO image_totals VALUES (NEW.why, NEW.state, 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET images = images + 1, bytes = bytes + NEW.size_bytes;
END;
";

/// How much a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Until it is on the disk: records.
    Power,
    /// Until it is in the page cache; it is on the disk with the next record. For what can be found out again.
    Process,
}

/// Opens the file for writing and makes its tables if it has none.
///
/// # Errors
/// What SQLite says.
pub(super) fn open(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    // Takes effect in a file that is made now: pages that become free can be given back.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let synchronous = match durability {
        Durability::Power => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens the file for reading, while whoever writes it goes on.
///
/// # Errors
/// What SQLite says.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// The file's version; 0 for a file that has nothing in it.
///
/// # Errors
/// What SQLite says.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the tables.
///
/// # Errors
/// What SQLite says.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(OWN_TABLES)?;
    transaction.execute(
        "INSERT INTO meta VALUES ('format', 'takt journal'), ('format_version', ?1)",
        [VERSION.to_string()],
    )?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// First and last id that records of a chain can have.
pub(super) fn ids(chain: u64) -> (i64, i64) {
    (id(chain, 0), id(chain, SEQUENCES - 1))
}

/// Id of a record.
pub(super) fn id(chain: u64, sequence: u64) -> i64 {
    (chain * SEQUENCES + sequence) as i64
}

/// Sequence of the record with an id.
pub(super) fn sequence_of(id: i64) -> u64 {
    id as u64 % SEQUENCES
}

/// A chain's beginning in this file: the first sequence, and the hash of the record before it.
///
/// # Errors
/// What SQLite says.
pub(super) fn anchor(connection: &Connection, chain: u64) -> rusqlite::Result<Option<(u64, [u8; 32])>> {
    connection
        .prepare_cached("SELECT first, previous_hash FROM anchors WHERE chain = ?1")?
        .query_row([chain as i64], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
        .optional()
}

/// Moves a chain's beginning.
///
/// # Errors
/// What SQLite says.
pub(super) fn set_anchor(connection: &Connection, chain: u64, first: u64, previous_hash: &[u8; 32]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO anchors VALUES (?1, ?2, ?3)")?
        .execute(params![chain as i64, first as i64, previous_hash])?;
    Ok(())
}

/// A chain's last record: its sequence and its hash.
///
/// # Errors
/// What SQLite says.
pub(super) fn head(connection: &Connection, chain: u64) -> rusqlite::Result<Option<(u64, [u8; 32])>> {
    let (first, last) = ids(chain);
    connection
        .prepare_cached("SELECT id, hash FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1")?
        .query_row([first, last], |row| Ok((sequence_of(row.get(0)?), row.get(1)?)))
        .optional()
}

/// The lowest sequence from the chain's beginning on that is not acknowledged.
///
/// # Errors
/// What SQLite says.
pub(super) fn acknowledged_below(connection: &Connection, chain: u64) -> rusqlite::Result<u64> {
    let first = anchor(connection, chain)?.map_or(1, |(first, _)| first);
    let covering: Option<i64> = connection
        .prepare_cached("SELECT last FROM acknowledged WHERE chain = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1")?
        .query_row([chain as i64, first as i64], |row| row.get(0))
        .optional()?;
    Ok(covering.map_or(first, |last| first.max(last as u64 + 1)))
}

/// Adds a range to what is acknowledged.
///
/// # Errors
/// What SQLite says.
pub(super) fn acknowledge(connection: &Connection, chain: u64, first: u64, last: u64) -> rusqlite::Result<()> {
    let chain = chain as i64;
    // Those that touch or overlap become one with it.
    let touching = params![chain, first.saturating_sub(1) as i64, last as i64 + 1];
    let (least, most): (Option<i64>, Option<i64>) = connection
        .prepare_cached("SELECT min(first), max(last) FROM acknowledged WHERE chain = ?1 AND last >= ?2 AND first <= ?3")?
        .query_row(touching, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (first, last) = (first as i64, last as i64);
    let joined = (first.min(least.unwrap_or(first)), last.max(most.unwrap_or(last)));
    connection
        .prepare_cached("DELETE FROM acknowledged WHERE chain = ?1 AND first BETWEEN ?2 AND ?3")?
        .execute([chain, joined.0, joined.1])?;
    connection
        .prepare_cached("INSERT INTO acknowledged VALUES (?1, ?2, ?3)")?
        .execute([chain, joined.0, joined.1])?;
    Ok(())
}
