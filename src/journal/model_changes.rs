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

#[cfg(test)]
mod tests {
    use super::super::record_table::{Inserter, Stored, TABLES, chain};
    use super::*;

    fn record(sequence: u64, disposition: proto::Disposition) -> Stored {
        Stored::of(proto::Record {
            station: "press-1".into(),
            epoch: 1,
            sequence,
            previous_hash: vec![0; 32],
            body: Some(Body::Disposition(disposition)),
            ..proto::Record::default()
        })
    }

    fn change(inspection: &str) -> proto::Disposition {
        proto::Disposition {
            model_change: Some(proto::ModelChange {
                inspection: inspection.into(),
                ..proto::ModelChange::default()
            }),
            ..proto::Disposition::default()
        }
    }

    #[test]
    fn changes_are_found_among_dispositions_the_newest_first_and_no_more_than_asked_for() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let transaction = connection.transaction().unwrap();
        let id = chain(&transaction, "press-1", 1).unwrap();
        let mut inserter = Inserter::new(&transaction, id);
        let of_part = proto::Disposition {
            cycle_id: 7,
            kind: 1,
            ..proto::Disposition::default()
        };
        // Nothing but a cycle that no PLC gives: not of takt.
        let of_nobody = proto::Disposition::default();
        let records = [change("rim"), of_part, of_nobody, change("cap"), change("side")];
        for (sequence, disposition) in (1..).zip(records) {
            inserter.insert(&record(sequence, disposition)).unwrap();
        }
        transaction.commit().unwrap();
        let found = |last| {
            let changes = model_changes(&connection, last).unwrap();
            changes
                .iter()
                .map(|record| of(record).unwrap().inspection.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(10), ["side", "cap", "rim"]);
        assert_eq!(found(2), ["side", "cap"]);
    }

    #[test]
    fn a_reader_of_before_takes_it_for_a_disposition_of_no_part() {
        /// `Disposition` as it was.
        #[derive(Clone, Copy, PartialEq, Message)]
        struct OfBefore {
            #[prost(uint32, tag = "1")]
            cycle_id: u32,
            #[prost(uint32, tag = "2")]
            plc_session: u32,
            #[prost(int32, tag = "3")]
            kind: i32,
        }
        let read = OfBefore::decode(change("rim").encode_to_vec().as_slice()).unwrap();
        assert_eq!(read, OfBefore::default());
    }
}
