//! How a journal stands, read beside whoever writes it and without changing it: for `takt doctor`. Only the index of its log, which readers
//! share in memory (`-shm`), may be made anew.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::database::JournalError;
use super::evidence::State;
use super::record_table::Kind;
use super::tables::{self, FILE_NAME, VERSION};
use crate::part::Reason;

/// Of so many of the last records it is looked whether they tell of a loss.
const LOOKED_AT: i64 = 10_000;

/// How a journal stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Version of its format.
    pub version: u32,
    /// The sequence that the next record will have.
    pub recorded_below: u64,
    /// The first sequence that the historian has not acknowledged.
    pub acknowledged_below: u64,
    /// When the last record was made, Unix nanoseconds.
    pub last_unix_ns: Option<i64>,
    /// When the last part was triggered that a power cut took, among the last 10,000 records; Unix nanoseconds.
    pub power_loss_unix_ns: Option<i64>,
    /// Whether records of the last 10,000 say that others are lost.
    pub has_losses: bool,
    /// Pictures that the historian does not have.
    pub images_unsent: u64,
    /// Bytes of the database and of the pictures.
    pub used_bytes: u64,
}

/// Looks at the journal of a station; `None` if there is none yet. `is_written`: a station writes it now.
///
/// # Errors
/// When it cannot be read, or a later takt wrote it.
pub fn look(folder: &Path, station: &str, epoch: Option<u64>, is_written: bool) -> Result<Option<Condition>, JournalError> {
    let path = folder.join(FILE_NAME);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(JournalError::Io { path, source }),
    }
    let failed = |source| JournalError::Sqlite {
        path: path.clone(),
        source,
    };
    let connection = open(&path, is_written).map_err(failed)?;
    let version = tables::version(&connection).map_err(failed)?;
    if version > VERSION {
        return Err(JournalError::Newer { path, version });
    }
    let file_bytes = ["", "-wal"].map(|suffix| fs::metadata(folder.join(format!("{FILE_NAME}{suffix}"))).map_or(0, |file| file.len()));
    let mut condition = Condition {
        version,
        recorded_below: 1,
        acknowledged_below: 1,
        used_bytes: file_bytes.iter().sum(),
        ..Condition::default()
    };
    // A file that a first start was cut off from has no tables.
    if version > 0 {
        read(&connection, station, epoch, &mut condition).map_err(failed)?;
    }
    Ok(Some(condition))
}

/// Nobody writes and nothing waits in the log: then not even the files beside the database are made.
fn open(path: &Path, is_written: bool) -> rusqlite::Result<Connection> {
    let log = path.with_file_name(format!("{FILE_NAME}-wal"));
    let log_bytes = fs::metadata(log).map_or(0, |log| log.len());
    if is_written || log_bytes > 0 {
        return tables::open_read_only(path);
    }
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|sign| match sign {
            '%' => "%25".into(),
            '?' => "%3f".into(),
            '#' => "%23".into(),
            sign => sign.to_string(),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

fn read(connection: &Connection, station: &str, epoch: Option<u64>, condition: &mut Condition) -> rusqlite::Result<()> {
    // The epoch in force, or else the last.
    let find = "SELECT id FROM chains WHERE station = ?1 AND (?2 IS NULL OR epoch = ?2) ORDER BY epoch DESC LIMIT 1";
    let epoch = epoch.map(|epoch| epoch as i64);
    let chain: Option<i64> = connection
        .query_row(find, rusqlite::params![station, epoch], |row| row.get(0))
        .optional()?;
    if let Some(chain) = chain.map(|chain| chain as u64) {
        let anchor = tables::anchor(connection, chain)?.map_or(1, |(first, _)| first);
        let head = tables::head(connection, chain)?;
        condition.recorded_below = head.map_or(anchor, |(last, _)| last + 1);
        condition.acknowledged_below = tables::acknowledged_below(connection, chain)?;
        if let Some((last, _)) = head {
            let (first_id, last_id) = (tables::ids(chain).0, tables::id(chain, last));
            let from = first_id.max(last_id - LOOKED_AT);
            condition.last_unix_ns = connection
                .query_row("SELECT at_unix_ns FROM records WHERE id = ?1", [last_id], |row| row.get(0))
                .optional()?;
            condition.power_loss_unix_ns = connection.query_row(
                "SELECT max(at_unix_ns) FROM records WHERE id BETWEEN ?1 AND ?2 AND reason = ?3",
                rusqlite::params![from, last_id, Reason::PowerLoss.code()],
                |row| row.get(0),
            )?;
            condition.has_losses = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM records WHERE id BETWEEN ?1 AND ?2 AND kind = ?3)",
                rusqlite::params![from, last_id, Kind::Lost as i64],
                |row| row.get(0),
            )?;
        }
    }
    let totals =
        "SELECT coalesce(sum(bytes), 0), coalesce(sum(CASE WHEN state = ?1 THEN images END), 0) FROM image_totals WHERE state <= ?2";
    let states = [State::Kept as i64, State::Sent as i64];
    let (bytes, unsent): (i64, i64) = connection.query_row(totals, states, |row| Ok((row.get(0)?, row.get(1)?)))?;
    condition.used_bytes += bytes as u64;
    condition.images_unsent = unsent as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::database::{Journal, NewRecord};
    use crate::journal::log::RecordLog;
    use crate::rpc::proto::record::Body;
    use crate::rpc::proto::{self, ClockQuality};

    fn record(reason: u32, at: i64) -> NewRecord {
        NewRecord {
            body: Body::Part(Box::new(proto::Part {
                part_sequence: at as u64,
                triggered_unix_ns: at,
                outcome: Some(proto::Outcome { verdict: 3, reason }),
                ..proto::Part::default()
            })),
            recorded_unix_ns: at,
            clock_quality: ClockQuality::Synchronised,
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_journal_is_looked_at_while_it_is_written_and_after_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path(), "a", Some(7), false).unwrap(), None);
        let (mut journal, _) = Journal::open(folder.path(), "a", 7).unwrap();
        journal.append(&[record(1, 10), record(46, 20), record(1, 30)]).unwrap();
        journal.reader().unwrap().acknowledge(&[1..=2]).unwrap();
        let written = look(folder.path(), "a", Some(7), true).unwrap().unwrap();
        assert_eq!((written.recorded_below, written.acknowledged_below), (4, 3));
        assert_eq!(
            (written.last_unix_ns, written.power_loss_unix_ns, written.has_losses),
            (Some(30), Some(20), false)
        );
        assert!(written.used_bytes > 0);
        drop(journal);
        let before = files(folder.path());
        let closed = look(folder.path(), "a", None, false).unwrap().unwrap();
        assert_eq!((closed.recorded_below, closed.acknowledged_below, closed.version), (4, 3, VERSION));
        assert_eq!(files(folder.path()), before);
        // Another station's records are not this one's.
        assert_eq!(look(folder.path(), "b", Some(7), false).unwrap().unwrap().recorded_below, 1);
    }

    #[test]
    fn what_is_no_journal_or_a_later_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "this is no database, and long enough to be looked at as one").unwrap();
        assert!(look(folder.path(), "a", None, false).unwrap_err().is_damage());
        fs::remove_file(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(connection);
        assert!(matches!(look(folder.path(), "a", None, false), Err(JournalError::Newer { .. })));
        fs::write(&path, "").unwrap();
        assert_eq!(look(folder.path(), "a", None, false).unwrap().unwrap().version, 0);
    }
}
