//! LINE-5: what the station said is what its journal holds, and what the historian holds, byte for byte. Both files are read as they are, by
//! nobody's code but SQLite's and the contract's; the comparison is pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use prost::Message;
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest, Sha256};

use super::oracle::Finding;
use crate::part::{CycleId, Outcome, PartRecord};
use crate::rpc::convert::outcome_of;
use crate::rpc::proto::{Part, Record, record::Body};

/// A record as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// SHA-256 of its bytes, computed anew.
    pub hash: [u8; 32],
    /// What the bytes say.
    pub record: Record,
}

/// The records of a station in a file, by (epoch, sequence).
pub type Held = BTreeMap<(u64, u64), Kept>;

/// How many records of a station a file holds; 0 as long as there is no such file.
pub fn count(file: &Path, station: &str) -> u64 {
    let counted = open(file).and_then(|connection| {
        let of = "SELECT count(*) FROM records WHERE id >> 40 IN (SELECT id FROM chains WHERE station = ?1)";
        connection.query_row(of, params![station], |row| row.get::<_, i64>(0))
    });
    counted.map_or(0, |count| count as u64)
}

/// Reads them.
///
/// # Errors
/// What SQLite says, or which record is none.
pub fn read(file: &Path, station: &str) -> Result<Held, String> {
    let failed = |error: rusqlite::Error| format!("failed to read {}: {error}", file.display());
    let connection = open(file).map_err(failed)?;
    let of = "SELECT bytes FROM records WHERE id >> 40 IN (SELECT id FROM chains WHERE station = ?1)";
    let mut statement = connection.prepare(of).map_err(failed)?;
    let rows = statement
        .query_map(params![station], |row| row.get::<_, Vec<u8>>(0))
        .map_err(failed)?;
    let mut held = Held::new();
    for bytes in rows {
        let bytes = bytes.map_err(failed)?;
        let record = Record::decode(bytes.as_slice()).map_err(|error| format!("{} holds what is no record: {error}", file.display()))?;
        let key = (record.epoch, record.sequence);
        let hash = Sha256::digest(&bytes).into();
        if held.insert(key, Kept { hash, record }).is_some() {
            return Err(format!("{} holds record {} of epoch {} twice", file.display(), key.1, key.0));
        }
    }
    Ok(held)
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Whether the journal holds what was said, and the historian what the journal holds.
///
/// `starts` are the station's starts of this run: what the journal holds of others was said to somebody else.
pub fn line_5(said: &[PartRecord], starts: &BTreeSet<u16>, journal: &Held, historian: Option<&Held>) -> Finding {
    let mut faults = chain(journal);
    faults.extend(same_as_said(said, starts, journal));
    if let Some(historian) = historian {
        faults.extend(same_in_both(journal, historian));
    }
    Finding {
        broken: Some(faults.len()),
        first: faults.into_iter().next(),
    }
}

/// No gap, and each record knows the one before.
fn chain(journal: &Held) -> Vec<String> {
    let mut faults = Vec::new();
    let mut before: Option<((u64, u64), [u8; 32])> = None;
    for (key, kept) in journal {
        let expected = match before {
            Some(((epoch, sequence), hash)) if epoch == key.0 => {
                if key.1 != sequence + 1 {
                    faults.push(format!(
                        "the journal has no record between {sequence} and {} of epoch {epoch}",
                        key.1
                    ));
                }
                Some(hash)
            }
            _ => (key.1 == 1).then_some([0; 32]),
        };
        if expected.is_some_and(|expected| kept.record.previous_hash != expected) {
            faults.push(format!("record {} of the journal does not follow the one before it", key.1));
        }
        before = Some((*key, kept.hash));
    }
    faults
}

fn part(kept: &Kept) -> Option<&Part> {
    match &kept.record.body {
        Some(Body::Part(part)) => Some(part),
        _ => None,
    }
}

/// Exactly the parts that were said, with the outcomes that were said.
fn same_as_said(said: &[PartRecord], starts: &BTreeSet<u16>, journal: &Held) -> Vec<String> {
    let mut faults = Vec::new();
    let mut recorded: HashMap<(u64, u64), &Part> = HashMap::new();
    for (key, kept) in journal {
        if let Some(part) = part(kept)
            && recorded.insert((key.0, part.part_sequence), part).is_some()
        {
            faults.push(format!("the journal has part {} of epoch {} twice", part.part_sequence, key.0));
        }
    }
    let mut told = HashSet::new();
    for record in said.iter().filter(|record| !record.late_findings) {
        let key = (record.epoch, record.sequence);
        told.insert(key);
        let what = || format!("part {} (cycle {})", record.sequence, record.cycle_id.map_or(0, CycleId::get));
        match recorded.get(&key) {
            None => faults.push(format!("{} is not in the journal", what())),
            Some(part) if !agrees(part, record) => faults.push(format!("{} has another outcome in the journal", what())),
            Some(_) => {}
        }
    }
    let is_of_this_run = |part: &Part| u16::try_from(part.boot_id).is_ok_and(|boot_id| starts.contains(&boot_id));
    let unsaid = recorded.iter().filter(|(key, part)| !told.contains(*key) && is_of_this_run(part));
    faults.extend(unsaid.map(|((_, part), _)| format!("part {part} of the journal was never said")));
    faults
}

fn agrees(part: &Part, record: &PartRecord) -> bool {
    let outcome = Outcome {
        verdict: record.verdict,
        reason: record.reason,
    };
    part.outcome.map(outcome_of) == Some(outcome)
        && part.cycle_id == record.cycle_id.map(CycleId::get)
        && part.result_id == record.result_id
        && part.plc_session == u32::from(record.plc_session)
}

/// The same records, by their hashes.
fn same_in_both(journal: &Held, historian: &Held) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, kept) in journal {
        match historian.get(key) {
            None => faults.push(format!("record {} has not reached the historian", key.1)),
            Some(held) if held.hash != kept.hash => faults.push(format!("record {} is another at the historian", key.1)),
            Some(_) => {}
        }
    }
    let strange = historian.keys().filter(|key| !journal.contains_key(key));
    faults.extend(strange.map(|(_, sequence)| format!("record {sequence} of the historian is not in the journal")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Reason, Verdict};
    use crate::rpc::convert::{self, RecordContext};

    fn said(sequence: u64, verdict: Verdict) -> PartRecord {
        let text = format!(
            r#"{{"station":"a","epoch":9,"sequence":{sequence},"cycle_id":{sequence},"plc_session":1,"boot_id":3,"acquisition_id":1,
                "result_id":{sequence},"encoder":0,"serial":"","recipe":1,"config_checksum":0,"verdict":"not_ok","reason":"anomaly",
                "measured":null,"test_part":false,"recovered":false,"late_findings":false,"triggered_unix_ns":0,"triggered_ns":0,
                "deadline_ns":0,"shown_ns":0,"stages":{{"frame_us":0,"queue_us":0,"preprocess_us":0,"infer_us":0,"postprocess_us":0,
                "total_us":0}},"views":[]}}"#
        );
        PartRecord {
            verdict,
            reason: (verdict == Verdict::NotOk).then_some(Reason::Anomaly),
            ..serde_json::from_str(&text).unwrap()
        }
    }

    /// What a journal makes of them.
    fn kept(records: &[PartRecord]) -> Held {
        let mut previous_hash = vec![0; 32];
        let mut held = Held::new();
        for (sequence, record) in (1..).zip(records) {
            let record = Record {
                station: "a".into(),
                epoch: 9,
                sequence,
                previous_hash: previous_hash.clone(),
                body: Some(convert::body(record, &RecordContext::default(), false)),
                ..Record::default()
            };
            let hash: [u8; 32] = Sha256::digest(record.encode_to_vec()).into();
            previous_hash = Vec::from(hash);
            held.insert((9, sequence), Kept { hash, record });
        }
        held
    }

    #[test]
    fn whatever_differs_is_named() {
        let parts = [said(1, Verdict::Ok), said(2, Verdict::NotOk), said(3, Verdict::Ok)];
        let (journal, starts) = (kept(&parts), BTreeSet::from([3]));
        let first = |said: &[PartRecord], journal: &Held, historian: Option<&Held>| line_5(said, &starts, journal, historian).first;
        assert_eq!(first(&parts, &journal, Some(&journal)), None);

        let other = kept(&[said(1, Verdict::Ok), said(2, Verdict::Ok), said(3, Verdict::Ok)]);
        assert_eq!(
            first(&parts, &other, None).unwrap(),
            "part 2 (cycle 2) has another outcome in the journal"
        );
        assert_eq!(
            first(&parts, &journal, Some(&other)).unwrap(),
            "record 2 is another at the historian"
        );
        assert_eq!(first(&parts[..2], &journal, None).unwrap(), "part 3 of the journal was never said");
        assert_eq!(line_5(&parts[..2], &BTreeSet::new(), &journal, None).first, None);

        let mut short = journal.clone();
        short.remove(&(9, 3));
        assert_eq!(first(&parts, &short, None).unwrap(), "part 3 (cycle 3) is not in the journal");
        assert_eq!(
            first(&parts, &journal, Some(&short)).unwrap(),
            "record 3 has not reached the historian"
        );
        assert_eq!(
            first(&parts[..2], &short, Some(&journal)).unwrap(),
            "record 3 of the historian is not in the journal"
        );
        let mut gap = journal.clone();
        gap.remove(&(9, 2));
        assert!(first(&parts, &gap, None).unwrap().contains("no record between 1 and 3"));
        let twice = kept(&[said(1, Verdict::Ok), said(1, Verdict::Ok)]);
        assert_eq!(first(&parts[..1], &twice, None).unwrap(), "the journal has part 1 of epoch 9 twice");
        let mut forged = journal;
        forged.get_mut(&(9, 1)).unwrap().hash = [7; 32];
        assert_eq!(
            first(&parts, &forged, None).unwrap(),
            "record 2 of the journal does not follow the one before it"
        );
    }
}
