//! A plant as it could be: stations, recipes, models, tags, classes, verdicts; and the counts by hour, recounted plainly.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::journal::record_table::{self, ROLLUPS, Stored, TABLES};
use crate::rpc::proto::{self, record::Body};

/// 2025-06-01 00:00 UTC.
pub(crate) const START_NS: i64 = 1_748_736_000_000_000_000;

pub(crate) const SECOND_NS: i64 = 1_000_000_000;

/// What differs from part to part.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) station: &'static str,
    pub(crate) epoch: u64,
    pub(crate) at_unix_ns: i64,
    pub(crate) verdict: proto::Verdict,
    pub(crate) reason: u32,
    pub(crate) recipe: u32,
    pub(crate) classes: Vec<&'static str>,
    pub(crate) models: Vec<(&'static str, &'static str)>,
    pub(crate) tags: Vec<(&'static str, String)>,
    pub(crate) cycle_id: Option<u32>,
    pub(crate) serial: String,
    pub(crate) test_part: bool,
}

impl Draft {
    /// A good part.
    pub(crate) fn ok(at_unix_ns: i64) -> Self {
        Self {
            station: "press-3",
            epoch: 1,
            at_unix_ns,
            verdict: proto::Verdict::Ok,
            reason: 0,
            recipe: 7,
            classes: vec![],
            models: vec![("lid-top", "1.4.0")],
            tags: vec![("tool", "T12".into())],
            cycle_id: None,
            serial: String::new(),
            test_part: false,
        }
    }

    /// The part of a day's production, by number: 2 % rejects, two parts a second.
    pub(crate) fn of_production(number: u64, at_unix_ns: i64) -> Self {
        // Spreads the numbers without a generator of chance.
        let dice = |sides: u64, salt: u64| (number.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % sides;
        let recipe = [7, 7, 7, 12][dice(4, 1) as usize];
        let mut draft = Self {
            station: ["press-3", "press-4", "weld-1"][(number % 3) as usize],
            recipe,
            models: vec![if recipe == 7 { ("lid-top", "1.4.0") } else { ("lid-side", "0.9.2") }],
            tags: vec![
                ("tool", format!("T{}", 11 + dice(4, 2))),
                ("cavity", (1 + dice(8, 3)).to_string()),
                ("lot", format!("L{}", number / 5000)),
            ],
            cycle_id: Some(1 + number as u32),
            serial: format!("SN{number:09}"),
            ..Self::ok(at_unix_ns)
        };
        match dice(1000, 4) {
            0..12 => {
                draft.verdict = proto::Verdict::NotOk;
                draft.reason = 1;
                draft.classes = vec![["scratch", "dent", "scratch", "burr", "stain", "scratch"][dice(6, 5) as usize]];
            }
            12..18 => {
                draft.verdict = proto::Verdict::NotDecidable;
                draft.reason = [20, 30, 30, 31, 13][dice(5, 6) as usize];
            }
            _ => {}
        }
        draft
    }

    pub(crate) fn record(&self, sequence: u64) -> proto::Record {
        let outcome = proto::Outcome {
            verdict: self.verdict.into(),
            reason: self.reason,
        };
        let finding = |(place, class): (usize, &&str)| proto::Finding {
            class: (*class).into(),
            score: 0.81 + place as f32 / 100.0,
            x: 212 + place as u32,
            y: 96,
            width: 40,
            height: 18,
            area_px: 431,
        };
        let part = proto::Part {
            defect_code: 0,
            part_sequence: sequence,
            cycle_id: self.cycle_id,
            plc_session: 3,
            boot_id: 5,
            acquisition_id: sequence as u32,
            result_id: sequence as u32,
            encoder: 1000 + sequence as u32,
            serial: self.serial.clone(),
            recipe: self.recipe,
            recipe_name: format!("lid {}", self.recipe),
            config_checksum: 0x5EED_CAFE,
            models: self.models.iter().map(|(name, version)| model(name, version)).collect(),
            outcome: Some(outcome),
            measured: None,
            delivery: proto::Delivery::Confirmed.into(),
            test_part: self.test_part,
            recovered: false,
            triggered_unix_ns: self.at_unix_ns,
            deadline_us: 120_000,
            stages: Some(proto::StageTimes {
                frame_us: 14_200,
                queue_us: 300,
                preprocess_us: 2_100,
                infer_us: 21_700,
                postprocess_us: 900,
                total_us: 39_650,
            }),
            views: vec![proto::View {
                inspection: "surface".into(),
                camera: "top".into(),
                frame_counter: Some(sequence),
                exposed_us: 3_100,
                stamp: None,
                outcome: Some(outcome),
                score: Some(if self.classes.is_empty() { 0.231 } else { 0.812 }),
                threshold: Some(0.5),
                findings: self.classes.iter().enumerate().map(finding).collect(),
                model: None,
            }],
            tags: self.tags.iter().map(|(name, value)| tag(name, value)).collect(),
            evidence_share: if self.verdict == proto::Verdict::Ok { 0.01 } else { 1.0 },
            evidence_chosen: self.verdict != proto::Verdict::Ok,
        };
        record(
            self.station,
            self.epoch,
            sequence,
            self.at_unix_ns.saturating_add(40_000_000),
            Body::Part(Box::new(part)),
        )
    }
}

fn model(name: &str, version: &str) -> proto::Model {
    proto::Model {
        name: name.into(),
        version: version.into(),
        sha256: record_table::hash(format!("{name}@{version}").as_bytes()).to_vec(),
    }
}

pub(crate) fn tag(name: &str, value: &str) -> proto::Tag {
    proto::Tag {
        name: name.into(),
        value: value.into(),
    }
}

pub(crate) fn record(station: &str, epoch: u64, sequence: u64, recorded_unix_ns: i64, body: Body) -> proto::Record {
    proto::Record {
        station: station.into(),
        epoch,
        sequence,
        previous_hash: vec![0; 32],
        recorded_unix_ns,
        clock_quality: proto::ClockQuality::Ntp.into(),
        body: Some(body),
    }
}

/// A database with the records' tables, and those of the counts by hour on demand.
pub(crate) fn database(with_rollups: bool) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(TABLES).unwrap();
    if with_rollups {
        connection.execute_batch(ROLLUPS).unwrap();
    }
    connection
}

/// Inserts the parts, each at the end of its chain, and counts them by hour where there is a table for it.
pub(crate) fn insert(connection: &mut Connection, drafts: impl IntoIterator<Item = Draft>) {
    let transaction = connection.transaction().unwrap();
    let mut next: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for draft in drafts {
        let chain = record_table::chain(&transaction, draft.station, draft.epoch).unwrap();
        let sequence = next.entry((draft.station, draft.epoch)).or_insert(1);
        record_table::Inserter::new(&transaction, chain)
            .insert(&Stored::of(draft.record(*sequence)))
            .unwrap();
        *sequence += 1;
    }
    transaction.commit().unwrap();
    if super::has_table(connection, "rollups").unwrap() {
        recount(connection);
    }
}

/// Inserts one record of any kind.
pub(crate) fn insert_record(connection: &mut Connection, record: proto::Record) {
    let transaction = connection.transaction().unwrap();
    let chain = record_table::chain(&transaction, &record.station, record.epoch).unwrap();
    record_table::Inserter::new(&transaction, chain)
        .insert(&Stored::of(record))
        .unwrap();
    transaction.commit().unwrap();
}

/// The counts by hour, from the bytes of every record.
pub(crate) fn recount(connection: &mut Connection) {
    let mut counts: BTreeMap<[i64; 6], [i64; 3]> = BTreeMap::new();
    let transaction = connection.transaction().unwrap();
    {
        let mut rows = transaction
            .prepare("SELECT id / 1099511627776, model_set, bytes FROM records")
            .unwrap();
        let mut rows = rows.query([]).unwrap();
        let mut find = transaction
            .prepare("SELECT id FROM labels WHERE kind = ?1 AND name = ?2 AND value = ?3")
            .unwrap();
        let mut label = |kind: i64, name: &str, value: &str| -> Option<i64> {
            find.query_row(params![kind, name, value], |row| row.get(0)).optional().unwrap()
        };
        while let Some(row) = rows.next().unwrap() {
            let record = Stored::read(row.get(2).unwrap()).unwrap().record;
            let Some(Body::Part(part)) = &record.body else { continue };
            if part.test_part {
                continue;
            }
            let outcome = part.outcome.unwrap_or_default();
            let mut keys = vec![(0, 0)];
            keys.extend(
                part.views
                    .iter()
                    .flat_map(|view| &view.findings)
                    .map(|found| (1, label(1, "", &found.class).unwrap())),
            );
            keys.extend(part.tags.iter().map(|tag| (2, label(2, &tag.name, &tag.value).unwrap())));
            keys.push((3, outcome.reason as i64));
            keys.sort_unstable();
            keys.dedup();
            for (dimension, label) in keys {
                let hour = part.triggered_unix_ns.div_euclid(3600 * SECOND_NS);
                let key = [hour, row.get(0).unwrap(), part.recipe as i64, row.get(1).unwrap(), dimension, label];
                counts.entry(key).or_default()[match outcome.verdict {
                    1 => 0,
                    2 => 1,
                    _ => 2,
                }] += 1;
            }
        }
    }
    transaction.execute("DELETE FROM rollups", []).unwrap();
    for ([hour, chain, recipe, set, dimension, label], [ok, not_ok, not_decidable]) in counts {
        transaction
            .prepare_cached("INSERT INTO rollups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .unwrap()
            .execute(params![hour, chain, recipe, set, dimension, label, ok, not_ok, not_decidable])
            .unwrap();
    }
    transaction.commit().unwrap();
}

/// The same in a file, as a journal is.
pub(crate) fn file(path: &std::path::Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(TABLES).unwrap();
    connection
}

/// Notes an evidence image, with what questions read of the journal's table.
pub(crate) fn add_image(path: &std::path::Path, key: &proto::RecordKey, camera: &str, file: &str, bytes: &[u8], state: i64) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS images (record INTEGER, camera TEXT, file TEXT, media_type TEXT, sha256 BLOB, state INTEGER)",
        )
        .unwrap();
    let chain = record_table::chain(&connection, &key.station, key.epoch).unwrap();
    let id = (chain * record_table::SEQUENCES + key.sequence) as i64;
    connection
        .execute(
            "INSERT INTO images VALUES (?1, ?2, ?3, 'image/png', ?4, ?5)",
            params![id, camera, file, record_table::hash(bytes), state],
        )
        .unwrap();
}
