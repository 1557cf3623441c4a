//! Proves a journal: the bytes of every record, their chain, that none is missing, what they are found by, and the files of evidence.
//!
//! Reads while a station writes, in short steps, up to the records there are when a chain is begun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, types::Value};
use sha2::{Digest, Sha256};

use super::database::is_damage;
use super::evidence::ImageRow;
use super::reader::{IMAGE_COLUMNS, image_row};
use super::record_table::{self, Stored, TABLES};
use super::set_aside::EVIDENCE;
use super::tables::{self, FILE_NAME, NO_HASH, VERSION};
use crate::rpc::proto::record::Body;

/// Records read at a time: a reader that reads for long keeps the write-ahead log from being taken in.
const RECORDS_AT_A_TIME: usize = 1000;

/// Offences that are told one by one; further ones are counted.
pub const OFFENCES_SHOWN_MAX: usize = 10;

/// Why a journal cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("failed to verify {0}: there is no {FILE_NAME} in it; name the folder that a station's state_directory has for its journal")]
    Missing(PathBuf),
    /// It cannot be opened.
    #[error("failed to verify {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A later takt wrote it.
    #[error("failed to verify {path}: its format version is {version}, this takt knows {VERSION}; verify it with the takt that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// Something that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Station and epoch; empty and 0 where the file itself is at fault.
    pub station: String,
    /// The epoch.
    pub epoch: u64,
    /// Sequence of the record.
    pub sequence: u64,
    /// What is wrong.
    pub what: String,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Chains.
    pub chains: u64,
    /// Records.
    pub records: u64,
    /// Sequences that a `Lost` record names.
    pub lost: u64,
    /// Files of evidence.
    pub images: u64,
    /// How much is wrong.
    pub offences_total: u64,
    /// The first of it.
    pub offences: Vec<Offence>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.offences_total == 0
    }
}

/// Verifies the journal in a folder, or a file of one.
///
/// # Errors
/// When it cannot be opened. What is wrong in it is in the report.
pub fn verify(path: &Path) -> Result<Report, VerifyError> {
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    if !file.is_file() {
        return Err(VerifyError::Missing(path.to_owned()));
    }
    let open = |source| VerifyError::Open {
        path: file.clone(),
        source,
    };
    let mut verifier = Verifier {
        evidence: file.with_file_name(EVIDENCE),
        derived: derived_tables().map_err(open)?,
        report: Report::default(),
        chain: Chain::default(),
    };
    let connection = match tables::open_read_only(&file) {
        Ok(connection) => connection,
        Err(error) if is_damage(&error) => {
            verifier.unreadable(&error);
            return Ok(verifier.report);
        }
        Err(error) => return Err(open(error)),
    };
    match tables::version(&connection) {
        Ok(version) if version > VERSION => return Err(VerifyError::Newer { path: file, version }),
        Ok(_) => {}
        Err(error) => {
            verifier.unreadable(&error);
            return Ok(verifier.report);
        }
    }
    match chains(&connection) {
        Ok(chains) => {
            for chain in chains {
                verifier.verify_chain(&connection, chain);
            }
        }
        Err(error) => verifier.unreadable(&error),
    }
    Ok(verifier.report)
}

#[derive(Default)]
struct Chain {
    id: u64,
    station: String,
    epoch: u64,
    /// The next sequence, and the hash that it has to follow; `None` if that is not known.
    next: u64,
    previous_hash: Option<[u8; 32]>,
    /// Sequences that are missing, and not named yet.
    missing: Vec<(u64, u64)>,
}

struct Verifier {
    evidence: PathBuf,
    /// Where columns are derived from bytes once more.
    derived: Connection,
    report: Report,
    chain: Chain,
}

impl Verifier {
    fn verify_chain(&mut self, connection: &Connection, chain: Chain) {
        self.report.chains += 1;
        self.chain = chain;
        if let Err(error) = self.verify_records(connection) {
            self.unreadable(&error);
        }
        for (from, to) in std::mem::take(&mut self.chain.missing) {
            self.offence(
                from,
                format!("records {from} to {to} are missing, and no record says that they are lost"),
            );
        }
        if let Err(error) = self.verify_images(connection) {
            self.unreadable(&error);
        }
    }

    fn verify_records(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let chain = self.chain.id;
        let Some((last, _)) = tables::head(connection, chain)? else {
            return Ok(());
        };
        while self.chain.next <= last {
            // What is removed meanwhile is not missing.
            if let Some((first, hash)) = tables::anchor(connection, chain)?.filter(|(first, _)| *first > self.chain.next) {
                self.chain.next = first;
                self.chain.previous_hash = Some(hash).filter(|hash| *hash != NO_HASH);
            }
            let ids = [tables::id(chain, self.chain.next), tables::id(chain, last)];
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, hash, bytes FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT {RECORDS_AT_A_TIME}"
            ))?;
            let mut rows = statement.query(ids)?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                let (sequence, hash, bytes) = (tables::sequence_of(row.get(0)?), row.get(1)?, row.get(2)?);
                self.verify_record(connection, sequence, hash, bytes)?;
            }
            if count == 0 {
                break;
            }
        }
        Ok(())
    }

    fn verify_record(&mut self, connection: &Connection, sequence: u64, hash: [u8; 32], bytes: Vec<u8>) -> rusqlite::Result<()> {
        self.report.records += 1;
        if sequence > self.chain.next {
            self.chain.missing.push((self.chain.next, sequence - 1));
            self.chain.previous_hash = None;
        }
        self.chain.next = sequence + 1;
        let follows = self.chain.previous_hash.replace(hash);
        let Ok(stored) = Stored::read(bytes) else {
            self.offence(sequence, "its bytes are no record".into());
            return Ok(());
        };
        let record = &stored.record;
        if stored.hash != hash {
            self.offence(sequence, "its bytes do not have the hash that was recorded".into());
        } else if (record.station.as_str(), record.epoch, record.sequence) != (self.chain.station.as_str(), self.chain.epoch, sequence) {
            let says = format!(
                "it says that it is record {} of {} epoch {}",
                record.sequence, record.station, record.epoch
            );
            self.offence(sequence, says);
        } else if follows.is_some_and(|hash| record.previous_hash != hash) {
            self.offence(sequence, "it does not follow the record before it".into());
        } else if let Some(column) = self.differing_column(connection, &stored)? {
            self.offence(sequence, format!("its {column} is not what its bytes say"));
        }
        if let Some(Body::Lost(lost)) = &record.body {
            self.report.lost += lost.to.saturating_sub(lost.from) + 1;
            self.chain.missing.retain(|(from, to)| !(lost.from <= *from && *to <= lost.to));
        }
        Ok(())
    }

    /// Stores the record once more in tables of our own and compares what it is found by.
    fn differing_column(&mut self, connection: &Connection, stored: &Stored) -> rusqlite::Result<Option<String>> {
        let transaction = self.derived.transaction()?;
        record_table::Inserter::new(&transaction, self.chain.id).insert(stored)?;
        let id = tables::id(self.chain.id, stored.sequence);
        let (derived, labels) = (findable(&transaction, id)?, labels(&transaction)?);
        transaction.rollback()?;
        let found = findable(connection, id)?;
        // A record that was removed just now has no columns.
        if let Some((_, column)) = found
            .iter()
            .zip(&derived)
            .zip(COLUMNS)
            .find(|((found, derived), _)| found != derived)
        {
            return Ok(Some(column.to_owned()));
        }
        for label in labels {
            if !found.is_empty() && !has_label(connection, id, &label)? {
                let (_, name, value) = label;
                return Ok(Some(format!("label {name} {value}")));
            }
        }
        Ok(None)
    }

    fn verify_images(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let (mut after, last) = tables::ids(self.chain.id);
        let find = format!(
            "SELECT {IMAGE_COLUMNS} FROM images WHERE state <= 2 AND record > ?1 AND record <= ?2 ORDER BY record LIMIT {RECORDS_AT_A_TIME}"
        );
        loop {
            let images = connection
                .prepare_cached(&find)?
                .query_map([after, last], |row| Ok((row.get(0)?, image_row(row)?)))?
                .collect::<rusqlite::Result<Vec<(i64, ImageRow)>>>()?;
            // A record's images may be cut in two by the limit; whole records are taken.
            let Some(end) = images.last().map(|(id, _)| *id) else {
                return Ok(());
            };
            let is_whole = images.len() < RECORDS_AT_A_TIME || images.first().is_some_and(|(id, _)| *id == end);
            for (id, image) in images.into_iter().filter(|(id, _)| is_whole || *id < end) {
                after = id;
                self.verify_image(connection, id, &image)?;
            }
        }
    }

    fn verify_image(&mut self, connection: &Connection, id: i64, image: &ImageRow) -> rusqlite::Result<()> {
        self.report.images += 1;
        let path = self.evidence.join(&image.file);
        let wrong = match hash_of_file(&path) {
            Ok(hash) if hash == image.sha256 => return Ok(()),
            Ok(_) => "is not the one that was kept".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        // It may have been removed for want of space just now.
        let is_kept: Option<bool> = connection
            .prepare_cached("SELECT state <= 2 FROM images WHERE record = ?1 AND camera = ?2")?
            .query_row((id, &image.camera), |row| row.get(0))
            .optional()?;
        if is_kept == Some(true) {
            self.offence(image.sequence, format!("its image {} {wrong}", path.display()));
        }
        Ok(())
    }

    fn unreadable(&mut self, error: &rusqlite::Error) {
        self.offence(self.chain.next, format!("the file cannot be read from there on: {error}"));
    }

    fn offence(&mut self, sequence: u64, what: String) {
        self.report.offences_total += 1;
        if self.report.offences.len() < OFFENCES_SHOWN_MAX {
            self.report.offences.push(Offence {
                station: self.chain.station.clone(),
                epoch: self.chain.epoch,
                sequence,
                what,
            });
        }
    }
}

/// Tables in memory.
fn derived_tables() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

fn chains(connection: &Connection) -> rusqlite::Result<Vec<Chain>> {
    let find = "SELECT id, station, epoch, first, previous_hash FROM chains LEFT JOIN anchors ON chain = id ORDER BY id";
    let read = |row: &Row<'_>| {
        Ok(Chain {
            id: row.get::<_, i64>(0)? as u64,
            station: row.get(1)?,
            epoch: row.get::<_, i64>(2)? as u64,
            next: row.get::<_, Option<i64>>(3)?.unwrap_or(1) as u64,
            // The first of an epoch follows 32 zero bytes; elsewhere these mean that it is not known.
            previous_hash: row
                .get::<_, Option<[u8; 32]>>(4)?
                .filter(|hash| *hash != NO_HASH || row.get(3) == Ok(Some(1_i64))),
            missing: Vec::new(),
        })
    };
    connection.prepare(find)?.query_map([], read)?.collect()
}

const COLUMNS: [&str; 10] = [
    "kind",
    "at_unix_ns",
    "part_sequence",
    "cycle_id",
    "serial",
    "recipe",
    "verdict",
    "reason",
    "test_part",
    "model_set",
];

/// What a record is found by, in the order of [`COLUMNS`].
fn findable(connection: &Connection, id: i64) -> rusqlite::Result<Vec<Value>> {
    connection
        .prepare_cached(
            "SELECT kind, at_unix_ns, part_sequence, cycle_id, serial, recipe, verdict, reason, test_part, \
             (SELECT models FROM model_sets WHERE model_sets.id = model_set) FROM records WHERE id = ?1",
        )?
        .query_row([id], |row| (0..COLUMNS.len()).map(|column| row.get(column)).collect())
        .optional()
        .map(Option::unwrap_or_default)
}

/// The labels of a record in tables that hold no other.
fn labels(derived: &Connection) -> rusqlite::Result<Vec<(i64, String, String)>> {
    derived
        .prepare_cached("SELECT kind, name, value FROM labels JOIN record_labels ON label = labels.id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Whether a record is found by a label.
fn has_label(connection: &Connection, id: i64, label: &(i64, String, String)) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM labels JOIN record_labels ON label = labels.id \
             WHERE kind = ?1 AND name = ?2 AND value = ?3 AND record = ?4)",
        )?
        .query_row((label.0, &label.1, &label.2, id), |row| row.get(0))
}

fn hash_of_file(path: &Path) -> io::Result<[u8; 32]> {
    Ok(Sha256::digest(fs::read(path)?).into())
}

#[cfg(test)]
mod tests {
    use super::super::database::tests::{EPOCH, journal_of, open, part, parts};
    use super::super::database::{Journal, JournalError};
    use super::super::record_table::Stored;
    use super::*;

    /// What the first offence says of a journal that was tampered with.
    fn first_offence(tamper: &str) -> Offence {
        let (folder, mut journal) = journal_of(100);
        journal.connection().execute_batch(tamper).unwrap();
        let report = verify(folder.path()).unwrap();
        assert!(report.offences_total >= 1, "{tamper} is not noticed");
        report.offences.into_iter().next().unwrap()
    }

    #[test]
    fn every_change_is_noticed_and_the_first_is_named() {
        for (tamper, sequence, says) in [
            ("UPDATE records SET bytes = x'0a01' WHERE id & 0xffff = 40", 40, "no record"),
            (
                "UPDATE records SET bytes = CAST(bytes || x'1800' AS BLOB) WHERE id & 0xffff IN (41, 50)",
                41,
                "hash",
            ),
            (
                "DELETE FROM records WHERE id & 0xffff BETWEEN 42 AND 43",
                42,
                "42 to 43 are missing",
            ),
            ("UPDATE records SET serial = 'SN-1' WHERE id & 0xffff = 44", 44, "serial"),
            ("UPDATE records SET cycle_id = NULL WHERE id & 0xffff = 45", 45, "cycle_id"),
            ("UPDATE records SET verdict = 1 WHERE id & 0xffff = 50", 50, "verdict"),
            ("UPDATE model_sets SET models = 'cap@2'", 1, "model_set"),
            ("DELETE FROM record_labels WHERE record & 0xffff = 47", 47, "label"),
            ("UPDATE anchors SET previous_hash = x'00'", 1, ""),
            ("UPDATE anchors SET first = 0", 0, "0 to 0 are missing"),
        ] {
            let offence = first_offence(tamper);
            assert!(offence.what.contains(says), "{tamper}: {offence:?}");
            assert!(offence.sequence == sequence || says.is_empty(), "{tamper}: {offence:?}");
        }
    }

    #[test]
    fn a_record_that_was_exchanged_with_its_hash_breaks_the_chain_after_it() {
        let (folder, mut journal) = journal_of(100);
        let forged = "SELECT bytes FROM records WHERE id & 0xffff = 30";
        let bytes: Vec<u8> = journal.connection().query_row(forged, [], |row| row.get(0)).unwrap();
        let mut record = Stored::read(bytes).unwrap().record;
        record.recorded_unix_ns += 1;
        let forged = Stored::of(record);
        let exchange = "UPDATE records SET bytes = ?1, hash = ?2 WHERE id & 0xffff = 30";
        journal.connection().execute(exchange, (&forged.bytes, forged.hash)).unwrap();
        let report = verify(folder.path()).unwrap();
        assert_eq!((report.offences_total, report.offences[0].sequence), (1, 31), "{report:?}");
        assert!(report.offences[0].what.contains("does not follow"));
    }

    #[test]
    fn a_page_that_is_garbage_is_an_offence_and_no_panic() {
        let (folder, mut journal) = journal_of(2000);
        journal
            .connection()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        drop(journal);
        let file = folder.path().join(FILE_NAME);
        let mut bytes = fs::read(&file).unwrap();
        // A third into the file: pages of records and indexes.
        let page = bytes.len() / 3 / 4096 * 4096;
        for byte in &mut bytes[page..page + 40 * 4096] {
            *byte ^= 0x5a;
        }
        fs::write(&file, &bytes).unwrap();
        assert!(!verify(folder.path()).unwrap().is_whole());
        // It goes on all the same, with what it has or beside it.
        let (mut journal, _) = open(folder.path());
        if let Err(error) = journal.append(&parts([2001])) {
            assert!(error.is_damage(), "{error}");
            journal.begin_anew(&error.to_string()).unwrap();
            journal.append(&parts([2001])).unwrap();
        }
        assert!(journal.next_sequence() > 2001);
    }

    #[test]
    fn a_journal_is_verified_while_it_is_written() {
        let (folder, mut journal) = journal_of(3000);
        std::thread::scope(|scope| {
            let verified = scope.spawn(|| verify(folder.path()).unwrap());
            for number in 3001..3100 {
                journal.append(&parts([number])).unwrap();
            }
            let report = verified.join().unwrap();
            assert!(report.is_whole() && report.records >= 3000, "{report:?}");
        });
    }

    #[test]
    fn what_is_no_journal_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(verify(folder.path()).unwrap_err().to_string().contains("journal.sqlite"));
        let (folder, mut journal) = journal_of(1);
        journal.connection().pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert!(matches!(verify(folder.path()), Err(VerifyError::Newer { version: 2, .. })));
        fs::write(
            folder.path().join("text"),
            "no database, but long enough to be looked at: ".repeat(100),
        )
        .unwrap();
        assert!(!verify(&folder.path().join("text")).unwrap().is_whole());
    }

    /// A journal of version 1 as it was first written, which every later takt has to open and go on with.
    const VERSION_1: &str = include_str!("../../tests/fixtures/journal_v1.sql");

    #[test]
    fn a_journal_of_version_1_is_opened_verified_and_goes_on() -> Result<(), JournalError> {
        let folder = tempfile::tempdir().unwrap();
        let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        file.execute_batch(VERSION_1).unwrap();
        drop(file);
        let report = verify(folder.path()).unwrap();
        assert!(report.is_whole() && (report.chains, report.records) == (1, 4), "{report:?}");
        let (mut journal, found) = Journal::open(folder.path(), "press 4", EPOCH)?;
        assert_eq!((found.next_sequence, found.recent_parts.len(), found.damaged), (5, 4, None));
        assert_eq!(journal.append(&[part(3), part(51)])?.already, [3]);
        assert!(verify(folder.path()).unwrap().is_whole());
        Ok(())
    }
}
