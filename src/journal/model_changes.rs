//! Which models were asked for, and what came of it: found in the tables of [`super::record_table`], a journal's or a historian's.

use prost::Message;
use rusqlite::{Connection, params};

use super::record_table::Kind;
use crate::rpc::proto::{self, record::Body};

/// Most changes that are listed at once.
pub const LISTED_MAX: u32 = 10_000;

/// Records of model changes, the newest first and no more than asked for, each chain of a station by itself. They stand where dispositions of
/// cycle 0 would, which no PLC gives, so that the index of cycles leads to them.
///
/// # Errors
/// What SQLite says.
pub fn model_changes(connection: &Connection, last: u32) -> rusqlite::Result<Vec<proto::Record>> {
    let mut statement = connection.prepare(
        "SELECT bytes FROM records INDEXED BY records_by_cycle WHERE cycle_id = 0 AND cycle_id IS NOT NULL AND kind = ?1 \
         ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![Kind::Disposition as i64, last.min(LISTED_MAX)], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    let mut changes = Vec::new();
    for bytes in rows {
        let record = proto::Record::decode(bytes?.as_slice());
        changes.extend(record.ok().filter(|record| of(record).is_some()));
    }
    Ok(changes)
}

/// The model change that a record tells of.
pub fn of(record: &proto::Record) -> Option<&proto::ModelChange> {
    match &record.body {
        Some(Body::Disposition(disposition)) => disposition.model_change.as_ref(),
        _ => None,
    }
}
