//! Records for tests.

use crate::journal::record_table::Stored;
use crate::rpc::proto::{self, record::Body};

/// The first `count` records of a station's epoch, each linked to the one before it; `change` may change each before that.
pub(crate) fn chain(station: &str, epoch: u64, count: u64, change: impl Fn(&mut proto::Record)) -> Vec<Stored> {
    let mut before = [0; 32];
    let link = |sequence| {
        let mut record = record(station, epoch, sequence);
        record.previous_hash = before.to_vec();
        change(&mut record);
        let stored = Stored::of(record);
        before = stored.hash;
        stored
    };
    (1..=count).map(link).collect()
}

/// A part like those of a line: most are Ok, every tenth is not and shows why.
fn record(station: &str, epoch: u64, sequence: u64) -> proto::Record {
    let reject = sequence.is_multiple_of(10);
    let finding = proto::Finding {
        class: ["scratch", "dent"][(sequence / 10 % 2) as usize].into(),
        score: 0.9,
        x: 10,
        y: 20,
        width: 30,
        height: 40,
        area_px: 500,
        ..Default::default()
    };
    let at_unix_ns = 1_700_000_000_000_000_000 + sequence as i64 * 100_000_000;
    let outcome = proto::Outcome {
        verdict: if reject { 2 } else { 1 },
        reason: 0,
    };
    let view = proto::View {
        inspection: "surface".into(),
        camera: "top".into(),
        frame_counter: Some(sequence),
        exposed_us: 1200,
        outcome: Some(outcome),
        score: Some(0.25),
        threshold: Some(0.5),
        findings: if reject { vec![finding] } else { Vec::new() },
        ..Default::default()
    };
    let part = proto::Part {
        part_sequence: sequence,
        cycle_id: Some(sequence as u32),
        plc_session: 1,
        boot_id: 1,
        serial: format!("A{sequence:08}"),
        recipe: 7,
        models: vec![proto::Model {
            name: "surface".into(),
            version: "1.2".into(),
            sha256: vec![5; 32],
        }],
        outcome: Some(outcome),
        triggered_unix_ns: at_unix_ns,
        deadline_us: 200_000,
        views: vec![view],
        tags: vec![proto::Tag {
            name: "cavity".into(),
            value: (sequence % 4).to_string(),
        }],
        evidence_share: 1.0,
        evidence_chosen: reject,
        recipe_name: "housing".into(),
        ..Default::default()
    };
    proto::Record {
        station: station.into(),
        epoch,
        sequence,
        recorded_unix_ns: at_unix_ns + 50_000_000,
        clock_quality: proto::ClockQuality::Ntp.into(),
        body: Some(Body::Part(Box::new(part))),
        ..Default::default()
    }
}

/// The part that a record is about.
pub(crate) fn part(record: &mut proto::Record) -> &mut proto::Part {
    match &mut record.body {
        Some(Body::Part(part)) => part,
        body => panic!("no part: {body:?}"),
    }
}
