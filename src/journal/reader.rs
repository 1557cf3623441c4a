//! Reading the journal while it is written; and noting what the historian holds, which is the reader's to know.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Row, TransactionBehavior, params};
use tokio::sync::watch;

use super::database::Shared;
use super::evidence::{ImageRow, State, Why};
use super::log::{ImageFile, LogError, RecordLog};
use super::set_aside::EVIDENCE;
use super::tables::{self, Durability, NO_HASH};

/// Connections that are kept for reading; more are opened when needed, and closed after.
const CONNECTIONS_KEPT: usize = 4;

/// Reads the journal beside its writer. Cloning it shares its connections.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Pool {
    /// With the generation of the file they read.
    reading: Mutex<Vec<(u64, Connection)>>,
    writing: Mutex<Option<(u64, Connection)>>,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>) -> rusqlite::Result<Self> {
        let reader = Self {
            shared,
            pool: Arc::default(),
        };
        // Fails now rather than later.
        reader.with(tables::version).map(|_| reader)
    }

    /// The images of a record, those that are gone too.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub fn images_of(&self, sequence: u64) -> Result<Vec<ImageRow>, LogError> {
        let find = format!("SELECT {IMAGE_COLUMNS} FROM images WHERE record = ?1 ORDER BY camera");
        self.asked(|connection| {
            let mut statement = connection.prepare_cached(&find)?;
            let rows = statement.query_map([tables::id(self.shared.chain, sequence)], image_row)?;
            rows.collect()
        })
    }

    /// Folder of the evidence that the files of images are in.
    pub fn evidence_folder(&self) -> PathBuf {
        self.shared.folder.join(EVIDENCE)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn asked<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        self.with(question).map_err(|error| LogError(error.to_string()))
    }

    fn with<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let kept = {
            let mut reading = self.pool.reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.retain(|(of, _)| *of == generation);
            reading.pop()
        };
        let connection = match kept {
            Some((_, connection)) => connection,
            None => tables::open_read_only(&self.shared.path())?,
        };
        let answer = question(&connection)?;
        let mut reading = self.pool.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.len() < CONNECTIONS_KEPT {
            reading.push((generation, connection));
        }
        Ok(answer)
    }

    /// Changes what is not part of the records, in a short transaction that is on the disk with the next record.
    pub(super) fn change(&self, change: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let mut writing = self.pool.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.as_ref().is_none_or(|(of, _)| *of != generation) {
            *writing = Some((generation, tables::open(&self.shared.path(), Durability::Process)?));
        }
        let Some((_, connection)) = writing.as_mut() else { return Ok(()) };
        let _turn = self.shared.turn();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change(&transaction)?;
        transaction.commit()
    }
}

impl RecordLog for JournalReader {
    fn station(&self) -> &str {
        &self.shared.station
    }

    fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    fn written_below(&self) -> watch::Receiver<u64> {
        self.shared.written_below.subscribe()
    }

    fn read(&self, first: u64, last: u64, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let (lowest, highest) = tables::ids(self.shared.chain);
        let highest_sequence = tables::sequence_of(highest);
        let from = tables::id(self.shared.chain, first.min(highest_sequence)).max(lowest);
        let to = tables::id(self.shared.chain, last.min(highest_sequence));
        self.asked(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, bytes FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
            let mut rows = statement.query([from, to])?;
            let (mut records, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let record: Vec<u8> = row.get(1)?;
                bytes += record.len();
                records.push((tables::sequence_of(row.get(0)?), record));
                if bytes > bytes_max {
                    break;
                }
            }
            Ok(records)
        })
    }

    fn hash_of(&self, sequence: u64) -> Result<Option<[u8; 32]>, LogError> {
        self.asked(|connection| {
            let mut statement = connection.prepare_cached("SELECT hash FROM records WHERE id = ?1")?;
            let mut rows = statement.query([tables::id(self.shared.chain, sequence)])?;
            if let Some(row) = rows.next()? {
                return row.get(0).map(Some);
            }
            // Of the last one that was removed it is still known.
            let anchor = tables::anchor(connection, self.shared.chain)?;
            Ok(anchor
                .filter(|(first, hash)| *first == sequence + 1 && *hash != NO_HASH)
                .map(|(_, hash)| hash))
        })
    }

    fn acknowledged_below(&self) -> Result<u64, LogError> {
        self.asked(|connection| tables::acknowledged_below(connection, self.shared.chain))
    }

    fn acknowledge(&self, ranges: &[RangeInclusive<u64>]) -> Result<(), LogError> {
        // What was not written yet cannot be held by anybody.
        let written_below = *self.shared.written_below.borrow();
        let noted = self.change(|connection| {
            for range in ranges {
                let (first, last) = ((*range.start()).max(1), (*range.end()).min(written_below - 1));
                if first <= last {
                    tables::acknowledge(connection, self.shared.chain, first, last)?;
                }
            }
            Ok(())
        });
        noted.map_err(|error| LogError(error.to_string()))
    }

    fn images_to_send(&self, count: usize) -> Result<Vec<ImageFile>, LogError> {
        let find = format!(
            "SELECT {IMAGE_COLUMNS} FROM images WHERE state = 1 AND record BETWEEN ?1 AND ?2 AND EXISTS \
             (SELECT 1 FROM acknowledged WHERE chain = ?3 AND record - ?1 BETWEEN first AND last) ORDER BY record, camera LIMIT ?4"
        );
        let (first, last) = tables::ids(self.shared.chain);
        self.asked(|connection| {
            let mut statement = connection.prepare_cached(&find)?;
            let rows = statement.query_map(params![first, last, self.shared.chain as i64, count as i64], image_row)?;
            rows.map(|row| {
                row.map(|image| ImageFile {
                    path: self.evidence_folder().join(&image.file),
                    sequence: image.sequence,
                    camera: image.camera,
                    media_type: image.media_type,
                    size_bytes: image.size_bytes,
                    sha256: image.sha256,
                    size_px: image.size_px,
                })
            })
            .collect()
        })
    }

    fn image_sent(&self, sequence: u64, camera: &str) -> Result<(), LogError> {
        let path = self.images_of(sequence)?.into_iter().find(|image| image.camera == camera);
        let is_there = path.is_some_and(|image| self.evidence_folder().join(image.file).is_file());
        let state = if is_there { State::Sent } else { State::Gone };
        let noted = self.change(|connection| {
            connection
                .prepare_cached("UPDATE images SET state = ?1 WHERE record = ?2 AND camera = ?3 AND state = 1")?
                .execute(params![state as i64, tables::id(self.shared.chain, sequence), camera])?;
            Ok(())
        });
        noted.map_err(|error| LogError(error.to_string()))
    }
}

/// The columns of `images` that [`image_row`] reads.
pub(super) const IMAGE_COLUMNS: &str = "record, camera, file, media_type, size_bytes, sha256, width_px, height_px, why, state";

pub(super) fn image_row(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    Ok(ImageRow {
        sequence: tables::sequence_of(row.get(0)?),
        camera: row.get(1)?,
        file: row.get(2)?,
        media_type: row.get(3)?,
        size_bytes: row.get::<_, i64>(4)? as u64,
        sha256: row.get(5)?,
        size_px: (row.get(6)?, row.get(7)?),
        why: Why::from_code(row.get(8)?),
        state: State::from_code(row.get(9)?),
    })
}
