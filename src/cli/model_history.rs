//! `takt model history`: which models a station was asked for, and what came of it.

use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};

use super::model_activation::{named, words};
use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::historian::queries::RecordFile;
use crate::journal::model_changes::{self, LISTED_MAX};
use crate::rpc::proto;

/// Lists those of a journal or of a historian's database, the newest last.
pub(super) fn history(records: &Path, last: u32, format: Format) -> anyhow::Result<Exit> {
    ensure!(
        (1..=LISTED_MAX).contains(&last),
        "failed to list {last} changes: ask for 1 to {LISTED_MAX}"
    );
    let mut found = model_changes::model_changes(&RecordFile::open(records)?.connection, last)?;
    found.reverse();
    let changes = found.iter().filter_map(|record| Some((record, model_changes::of(record)?)));
    match format {
        Format::Json => {
            for (record, change) in changes {
                let mut line = json!({
                    "station": record.station,
                    "epoch": record.epoch,
                    "sequence": record.sequence,
                    "recorded_unix_ns": record.recorded_unix_ns,
                });
                if let (Value::Object(line), Value::Object(change)) = (&mut line, json(change)) {
                    line.extend(change);
                }
                print_json(&line)?;
            }
        }
        Format::Table if found.is_empty() => print("no other model was asked for\n")?,
        Format::Table => {
            let row = |(record, change): (&proto::Record, &proto::ModelChange)| {
                let side = |model: &Option<proto::Model>| model.as_ref().map_or_else(|| "-".into(), words);
                vec![
                    time(change.asked_unix_ns),
                    format!("{}/{}/{}", record.station, record.epoch, record.sequence),
                    change.inspection.clone(),
                    format!("{} {}", wish(change), outcome(change)),
                    side(&change.from),
                    side(&change.to),
                    change.by.clone(),
                    change.reason.clone(),
                ]
            };
            print(&table(
                &["asked", "record", "inspection", "what", "from", "to", "by", "why not"],
                changes.map(row),
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// A change, for programs.
pub(super) fn json(change: &proto::ModelChange) -> Value {
    json!({
        "wish": wish(change),
        "outcome": outcome(change),
        "inspection": change.inspection,
        "by": change.by,
        "package": change.package,
        "from": change.from.as_ref().map(named),
        "to": change.to.as_ref().map(named),
        "from_checksum": format!("{:08x}", change.from_checksum),
        "to_checksum": format!("{:08x}", change.to_checksum),
        "reason": change.reason,
        "asked_unix_ns": change.asked_unix_ns,
    })
}

/// A change for people: what about it is said by which words.
pub(super) fn lines(change: &proto::ModelChange) -> Vec<(&'static str, String)> {
    let checksum = |checksum: u32| format!("ConfigChecksum {checksum:08x}");
    let side = |model: &Option<proto::Model>, sum: u32| {
        let model = model.as_ref().map_or_else(|| "no model".into(), words);
        format!("{model}, {}", checksum(sum))
    };
    let said = [
        ("model", format!("{} {}", wish(change), outcome(change))),
        ("inspection", change.inspection.clone()),
        ("asked by", change.by.clone()),
        ("asked", time(change.asked_unix_ns)),
        ("package", change.package.clone()),
        ("from", side(&change.from, change.from_checksum)),
        ("to", side(&change.to, change.to_checksum)),
        ("why not", change.reason.clone()),
    ];
    said.into_iter().filter(|(_, said)| !said.is_empty()).collect()
}

fn wish(change: &proto::ModelChange) -> &'static str {
    match change.wish() {
        proto::ModelWish::Activate => "activate",
        proto::ModelWish::RollBack => "rollback",
        proto::ModelWish::Configuration => "configuration",
        proto::ModelWish::Unspecified => "unknown",
    }
}

/// What is not known reads as refused: so the contract says.
fn outcome(change: &proto::ModelChange) -> &'static str {
    match change.outcome() {
        proto::ModelOutcome::Exchanged => "exchanged",
        proto::ModelOutcome::Unchanged => "unchanged",
        proto::ModelOutcome::NotNow => "not_now",
        proto::ModelOutcome::Refused | proto::ModelOutcome::Unspecified => "refused",
    }
}

fn time(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .map_or_else(|_| unix_ns.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
