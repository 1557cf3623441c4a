//! Records in SQLite: the same tables on a station (one chain an epoch) and in the historian's embedded store (many), so that the same
//! questions can be asked of both.
//!
//! | table | a row is |
//! |---|---|
//! | `chains` | a (station, epoch), by a small number |
//! | `records` | a record: its bytes as committed, their hash, and columns to find it by; `id` is chain × 2^40 + sequence |
//! | `model_sets` | a set of models that looked at parts, by a small number |
//! | `labels` | a name and value that parts carry: a tag, or the class of a finding |
//! | `record_labels` | which records carry which label |
//!
//! The bytes are the record; every column can be derived from them again.

use std::collections::HashMap;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use crate::rpc::proto::{self, record::Body};

/// Sequences of a chain are below this; chains above it in an id.
pub const SEQUENCES: u64 = 1 << 40;

/// What kind of record a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part and its outcome.
    Part = 1,
    /// What was found after the outcome was final.
    LateFindings = 2,
    /// What really happened to a part.
    Disposition = 3,
    /// Records that exist no more.
    Lost = 4,
}

/// The tables and what they are found by.
pub const TABLES: &str = "
CREATE TABLE chains (
    id INTEGER PRIMARY KEY,
    station TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    UNIQUE (station, epoch)
) STRICT;
CREATE TABLE model_sets (
    id INTEGER PRIMARY KEY,
    -- name@version, one a line, sorted
    models TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE labels (
    id INTEGER PRIMARY KEY,
    -- 1 class of a finding (name is empty), 2 tag
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, name, value)
) STRICT;
CREATE TABLE records (
    -- chain * 2^40 + sequence
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    -- of the trigger; of the recording where that is not known
    at_unix_ns INTEGER NOT NULL,
    part_sequence INTEGER,
    cycle_id INTEGER,
    serial TEXT,
    recipe INTEGER,
    model_set INTEGER,
    verdict INTEGER,
    reason INTEGER,
    test_part INTEGER,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX records_by_time ON records (at_unix_ns);
CREATE INDEX records_by_cycle ON records (cycle_id) WHERE cycle_id IS NOT NULL;
CREATE INDEX records_by_serial ON records (serial) WHERE serial IS NOT NULL;
CREATE INDEX rejects_by_time ON records (at_unix_ns) WHERE verdict <> 1;
CREATE INDEX other_records ON records (part_sequence) WHERE kind <> 1;
CREATE TABLE record_labels (
    label INTEGER NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (label, record)
) STRICT, WITHOUT ROWID;
";

/// Counts by hour, kept by the historian in the transaction that stores the records; test parts are not counted.
pub const ROLLUPS: &str = "
CREATE TABLE rollups (
    -- hours since 1970
    hour INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    recipe INTEGER NOT NULL,
    model_set INTEGER NOT NULL,
    -- 0 every part, 1 by class, 2 by tag, 3 by reason
    dimension INTEGER NOT NULL,
    -- of `labels` for classes and tags, the number of a reason, else 0
    label INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    not_ok INTEGER NOT NULL,
    not_decidable INTEGER NOT NULL,
    PRIMARY KEY (hour, chain, recipe, model_set, dimension, label)
) STRICT, WITHOUT ROWID;
";

/// SHA-256 of a record's bytes.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its sequence in the chain.
    pub sequence: u64,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub record: proto::Record,
}

impl Stored {
    /// A record that is made now.
    pub fn of(record: proto::Record) -> Self {
        let bytes = record.encode_to_vec();
        Self {
            sequence: record.sequence,
            hash: hash(&bytes),
            bytes,
            record,
        }
    }

    /// A record that came as bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn read(bytes: Vec<u8>) -> Result<Self, prost::DecodeError> {
        let record = proto::Record::decode(bytes.as_slice())?;
        Ok(Self {
            sequence: record.sequence,
            hash: hash(&bytes),
            bytes,
            record,
        })
    }
}

/// The number of a chain, made if it is new.
///
/// # Errors
/// What SQLite says.
pub fn chain(connection: &Connection, station: &str, epoch: u64) -> rusqlite::Result<u64> {
    let find = "SELECT id FROM chains WHERE station = ?1 AND epoch = ?2";
    let found = connection
        .prepare_cached(find)?
        .query_row(params![station, epoch as i64], |row| row.get::<_, i64>(0));
    if let Some(id) = found.optional()? {
        return Ok(id as u64);
    }
    connection.execute(
        "INSERT INTO chains (station, epoch) VALUES (?1, ?2)",
        params![station, epoch as i64],
    )?;
    Ok(connection.last_insert_rowid() as u64)
}

/// Inserts records of a chain within one transaction. What a transaction has looked up in the dictionaries it does not look up again.
pub struct Inserter<'t> {
    transaction: &'t Transaction<'t>,
    chain: u64,
    model_sets: HashMap<String, i64>,
    labels: HashMap<(i64, String, String), i64>,
}

impl<'t> Inserter<'t> {
    /// Begins with this chain.
    pub fn new(transaction: &'t Transaction<'t>, chain: u64) -> Self {
        Self {
            transaction,
            chain,
            model_sets: HashMap::new(),
            labels: HashMap::new(),
        }
    }

    /// Inserts a record.
    ///
    /// # Errors
    /// What SQLite says; a constraint violation if the chain has a record of this sequence.
    pub fn insert(&mut self, stored: &Stored) -> rusqlite::Result<()> {
        let id = (self.chain * SEQUENCES + stored.sequence) as i64;
        let columns = Columns::of(&stored.record);
        let model_set = match columns.models {
            Some(models) => Some(self.model_set(models)?),
            None => None,
        };
        self.transaction
            .prepare_cached(
                "INSERT INTO records (id, kind, at_unix_ns, part_sequence, cycle_id, serial, recipe, model_set, verdict, reason, test_part, hash, bytes) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                id,
                columns.kind as i64,
                columns.at_unix_ns,
                columns.part_sequence,
                columns.cycle_id,
                columns.serial,
                columns.recipe,
                model_set,
                columns.outcome.map(|(verdict, _)| verdict),
                columns.outcome.map(|(_, reason)| reason),
                columns.test_part,
                stored.hash,
                stored.bytes,
            ])?;
        for (kind, name, value) in labels(&stored.record) {
            let label = self.label(kind, name, value)?;
            self.transaction
                .prepare_cached("INSERT OR IGNORE INTO record_labels (label, record) VALUES (?1, ?2)")?
                .execute(params![label, id])?;
        }
        Ok(())
    }

    fn model_set(&mut self, models: String) -> rusqlite::Result<i64> {
        if let Some(id) = self.model_sets.get(&models) {
            return Ok(*id);
        }
        let id = dictionary(self.transaction, "model_sets (models)", "models = ?1", params![models])?;
        self.model_sets.insert(models, id);
        Ok(id)
    }

    fn label(&mut self, kind: i64, name: &str, value: &str) -> rusqlite::Result<i64> {
        let key = (kind, name.to_owned(), value.to_owned());
        if let Some(id) = self.labels.get(&key) {
            return Ok(*id);
        }
        let is = "kind = ?1 AND name = ?2 AND value = ?3";
        let id = dictionary(self.transaction, "labels (kind, name, value)", is, params![kind, name, value])?;
        self.labels.insert(key, id);
        Ok(id)
    }
}

/// The number of a dictionary's entry, made if it is new. `table` is its name with the columns in brackets.
fn dictionary(connection: &Connection, table: &str, is: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<i64> {
    let name = table.split_whitespace().next().unwrap_or(table);
    let found = connection
        .prepare_cached(&format!("SELECT id FROM {name} WHERE {is}"))?
        .query_row(values, |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let places = (1..=values.len()).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
    connection.execute(&format!("INSERT INTO {table} VALUES ({places})"), values)?;
    Ok(connection.last_insert_rowid())
}

/// What a record is found by.
struct Columns<'a> {
    kind: Kind,
    at_unix_ns: i64,
    part_sequence: Option<i64>,
    cycle_id: Option<u32>,
    serial: Option<&'a str>,
    recipe: Option<u32>,
    models: Option<String>,
    outcome: Option<(i32, u32)>,
    test_part: Option<bool>,
}

impl<'a> Columns<'a> {
    fn of(record: &'a proto::Record) -> Self {
        let none = Self {
            kind: Kind::Lost,
            at_unix_ns: record.recorded_unix_ns,
            part_sequence: None,
            cycle_id: None,
            serial: None,
            recipe: None,
            models: None,
            outcome: None,
            test_part: None,
        };
        match &record.body {
            Some(Body::Part(part)) => Self {
                kind: Kind::Part,
                at_unix_ns: if part.triggered_unix_ns == 0 {
                    record.recorded_unix_ns
                } else {
                    part.triggered_unix_ns
                },
                part_sequence: Some(part.part_sequence as i64),
                cycle_id: part.cycle_id,
                serial: Some(part.serial.as_str()).filter(|serial| !serial.is_empty()),
                recipe: Some(part.recipe),
                models: Some(model_set(&part.models)),
                // Without an outcome it is not decidable, as a verdict that is not known.
                outcome: Some(part.outcome.map_or((0, 0), |outcome| (outcome.verdict, outcome.reason))),
                test_part: Some(part.test_part),
            },
            Some(Body::LateFindings(late)) => Self {
                kind: Kind::LateFindings,
                part_sequence: Some(late.part_sequence as i64),
                cycle_id: late.cycle_id,
                ..none
            },
            Some(Body::Disposition(disposition)) => Self {
                kind: Kind::Disposition,
                cycle_id: Some(disposition.cycle_id),
                ..none
            },
            Some(Body::Lost(_)) | None => none,
        }
    }
}

/// The models as the dictionary names their set.
pub fn model_set(models: &[proto::Model]) -> String {
    let mut names: Vec<String> = models.iter().map(|model| format!("{}@{}", model.name, model.version)).collect();
    names.sort();
    names.dedup();
    names.join("\n")
}

/// Kind, name and value of every label a part carries.
fn labels(record: &proto::Record) -> Vec<(i64, &str, &str)> {
    let Some(Body::Part(part)) = &record.body else { return Vec::new() };
    let classes = part
        .views
        .iter()
        .flat_map(|view| &view.findings)
        .map(|finding| (1, "", finding.class.as_str()));
    let mut labels: Vec<_> = classes
        .chain(part.tags.iter().map(|tag| (2, tag.name.as_str(), tag.value.as_str())))
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}
