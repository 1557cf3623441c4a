//! A record as programs, spreadsheets and people read it.
//!
//! Keys in JSON are the fields of `record.proto`, with these words: `verdict` is `ok`, `not_ok` or `not_decidable` (also for a value that this
//! version does not know), `reason` a name of `part/reason.rs` or a number, `kind` is `part`, `late_findings`, `disposition`, `model_change` or
//! `lost`; hashes and checksums are hexadecimal; `hash` is the SHA-256 of the record's bytes. What is missing is null.

use prost::Message;
use serde_json::{Value, json};

use super::csv::Field;
use super::text::{bar, cell, plain};
use super::when::{date_and_time, rfc3339};
use crate::cli::{model_history, shortest};
use crate::journal::record_table;
use crate::part::{Reason, Severity, Verdict};
use crate::rpc::convert;
use crate::rpc::proto::{self, record::Body};

/// A record and the hash of its bytes.
pub(super) struct Recorded {
    pub(super) record: proto::Record,
    hash: [u8; 32],
}

/// What a record of a part says.
#[derive(Clone, Copy)]
struct PartOf<'a> {
    record: &'a proto::Record,
    part: &'a proto::Part,
}

pub(super) const CSV: [&str; 27] = [
    "station",
    "epoch",
    "sequence",
    "triggered",
    "triggered_unix_ns",
    "cycle_id",
    "serial",
    "recipe",
    "recipe_name",
    "models",
    "verdict",
    "reason",
    "classes",
    "findings",
    "score",
    "threshold",
    "total_us",
    "deadline_us",
    "delivery",
    "test_part",
    "recovered",
    "clock_quality",
    "tags",
    "hash",
    "recipe_revision",
    "severity",
    "defect_code",
];

/// Columns before the hash; those after it came later, and nobody's columns move.
const BEFORE_HASH: usize = 23;

impl Recorded {
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        use anyhow::Context;
        let record = proto::Record::decode(bytes).context("failed to read a record; is the database damaged?")?;
        Ok(Self {
            record,
            hash: record_table::hash(bytes),
        })
    }

    /// `station/epoch/sequence`.
    pub(super) fn key(&self) -> String {
        format!("{}/{}/{}", plain(&self.record.station), self.record.epoch, self.record.sequence)
    }

    fn part(&self) -> Option<PartOf<'_>> {
        match &self.record.body {
            Some(Body::Part(part)) => Some(PartOf {
                record: &self.record,
                part,
            }),
            _ => None,
        }
    }

    /// Views of a part, or of what was found late.
    pub(super) fn views(&self) -> &[proto::View] {
        match &self.record.body {
            Some(Body::Part(part)) => &part.views,
            Some(Body::LateFindings(late)) => &late.views,
            _ => &[],
        }
    }

    /// When it was triggered; when it was recorded where that is not known.
    pub(super) fn at_unix_ns(&self) -> i64 {
        match self.part().map(|part| part.part.triggered_unix_ns) {
            None | Some(0) => self.record.recorded_unix_ns,
            Some(triggered) => triggered,
        }
    }

    /// A row of the table: time of day, key, cycle, serial, verdict, why.
    pub(super) fn row(&self) -> Vec<String> {
        let (_, time) = date_and_time(self.at_unix_ns());
        let Some(PartOf { part, .. }) = self.part() else {
            return vec![time, self.key()];
        };
        let classes = classes(part);
        let why = if classes.is_empty() {
            reason_name(part.outcome).unwrap_or_default()
        } else {
            classes.join(", ")
        };
        vec![
            time,
            self.key(),
            part.cycle_id.map(|id| id.to_string()).unwrap_or_default(),
            cell(&part.serial),
            verdict_name(part.outcome).into(),
            cell(&if part.test_part { format!("{why} (test part)") } else { why }),
        ]
    }

    pub(super) fn csv(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::text(&self.record.station),
            Field::word(Some(self.record.epoch)),
            Field::word(Some(self.record.sequence)),
        ];
        if let Some(part) = self.part() {
            fields.extend(part.csv());
        }
        fields.resize(BEFORE_HASH, Field::word(None::<u8>));
        fields.push(Field::word(Some(hex(&self.hash))));
        if let Some(PartOf { part, .. }) = self.part() {
            fields.push(Field::text(&part.recipe_revision));
            fields.push(Field::word(severity_name(part.severity)));
            fields.push(Field::word(Some(part.defect_code)));
        }
        fields.resize(CSV.len(), Field::word(None::<u8>));
        fields
    }

    pub(super) fn json(&self) -> Value {
        let record = &self.record;
        let mut object = json!({
            "station": record.station,
            "epoch": record.epoch,
            "sequence": record.sequence,
            "hash": hex(&self.hash),
            "previous_hash": hex(&record.previous_hash),
            "recorded_unix_ns": record.recorded_unix_ns,
            "clock_quality": clock_quality(record),
        });
        let body = match &record.body {
            Some(Body::Part(part)) => part_json(part),
            Some(Body::LateFindings(late)) => json!({
                "kind": "late_findings",
                "part_sequence": late.part_sequence,
                "cycle_id": late.cycle_id,
                "measured": outcome_json(late.measured),
                "stages": late.stages.map(stages_json),
                "views": views_json(&late.views),
            }),
            Some(Body::Disposition(proto::Disposition {
                model_change: Some(change),
                ..
            })) => {
                let mut body = model_history::json(change);
                body["kind"] = "model_change".into();
                body
            }
            Some(Body::Disposition(disposition)) => json!({
                "kind": "disposition",
                "cycle_id": disposition.cycle_id,
                "plc_session": disposition.plc_session,
                "disposition": disposition_name(disposition),
            }),
            Some(Body::Lost(lost)) => json!({
                "kind": "lost",
                "from": lost.from,
                "to": lost.to,
                "reason": enum_word(lost.reason().as_str_name(), "LOST_REASON_"),
            }),
            None => json!({ "kind": null }),
        };
        if let (Value::Object(all), Value::Object(body)) = (&mut object, body) {
            all.extend(body);
        }
        object
    }

    /// Everything that is known, for people.
    pub(super) fn page(&self) -> String {
        let mut page = Page::default();
        page.line("record", &self.key());
        match &self.record.body {
            Some(Body::Part(part)) => part_page(&mut page, part),
            Some(Body::LateFindings(late)) => {
                page.line("found late", &outcome_text(late.measured));
                page.line("for part", &late.part_sequence.to_string());
                views_page(&mut page, &late.views);
            }
            Some(Body::Disposition(proto::Disposition {
                model_change: Some(change),
                ..
            })) => model_history::lines(change)
                .iter()
                .for_each(|(about, said)| page.line(about, &plain(said))),
            Some(Body::Disposition(disposition)) => {
                page.line(
                    "disposition",
                    &format!("{} (cycle {})", disposition_name(disposition), disposition.cycle_id),
                );
            }
            Some(Body::Lost(lost)) => {
                page.line("lost", &format!("records {} to {} exist no more", lost.from, lost.to));
            }
            None => page.line("holds", "what this version of takt does not know"),
        }
        page.gap();
        let recorded = rfc3339(self.record.recorded_unix_ns);
        page.line("recorded", &format!("{recorded}  (clock: {})", clock_quality(&self.record)));
        page.line("hash", &hex(&self.hash));
        page.line("follows", &hex(&self.record.previous_hash));
        page.text
    }

    /// One line about a record that says more about a part.
    pub(super) fn remark(&self) -> String {
        let (_, time) = date_and_time(self.record.recorded_unix_ns);
        let said = match &self.record.body {
            Some(Body::LateFindings(late)) => format!("found late: {}", outcome_text(late.measured)),
            Some(Body::Disposition(disposition)) => format!("the PLC says: {}", disposition_name(disposition)),
            _ => "another record".into(),
        };
        format!("{time}  {said}  ({})", self.key())
    }
}

impl PartOf<'_> {
    fn csv(self) -> Vec<Field> {
        let part = self.part;
        let worst = worst(&part.views);
        let tags: Vec<String> = part.tags.iter().map(|tag| format!("{}={}", tag.name, tag.value)).collect();
        let models: Vec<String> = part
            .models
            .iter()
            .map(|model| format!("{}@{}", model.name, model.version))
            .collect();
        let findings: usize = part.views.iter().map(|view| view.findings.len()).sum();
        vec![
            Field::word((part.triggered_unix_ns != 0).then(|| rfc3339(part.triggered_unix_ns))),
            Field::word((part.triggered_unix_ns != 0).then_some(part.triggered_unix_ns)),
            Field::word(part.cycle_id),
            Field::text(&part.serial),
            Field::word(Some(part.recipe)),
            Field::text(&part.recipe_name),
            Field::text(models.join("; ")),
            Field::word(Some(verdict_name(part.outcome))),
            Field::word(reason_name(part.outcome)),
            Field::text(classes(part).join("; ")),
            Field::word(Some(findings)),
            Field::word(worst.and_then(|view| view.score).and_then(shortest)),
            Field::word(worst.and_then(|view| view.threshold).and_then(shortest)),
            Field::word(part.stages.map(|stages| stages.total_us)),
            Field::word(Some(part.deadline_us)),
            Field::word(Some(enum_word(part.delivery().as_str_name(), "DELIVERY_"))),
            Field::word(Some(part.test_part)),
            Field::word(Some(part.recovered)),
            Field::word(Some(clock_quality(self.record))),
            Field::text(tags.join("; ")),
        ]
    }
}

/// The view with the highest score.
fn worst(views: &[proto::View]) -> Option<&proto::View> {
    views.iter().max_by(|a, b| {
        a.score
            .unwrap_or(f32::NEG_INFINITY)
            .total_cmp(&b.score.unwrap_or(f32::NEG_INFINITY))
    })
}

/// Classes found on a part, each once.
fn classes(part: &proto::Part) -> Vec<String> {
    let mut classes: Vec<String> = part
        .views
        .iter()
        .flat_map(|view| &view.findings)
        .map(|found| found.class.clone())
        .collect();
    classes.sort();
    classes.dedup();
    classes
}

fn part_json(part: &proto::Part) -> Value {
    let models = part.models.iter().map(model_json);
    let tags = part.tags.iter().map(|tag| json!({ "name": tag.name, "value": tag.value }));
    json!({
        "kind": "part",
        "part_sequence": part.part_sequence,
        "cycle_id": part.cycle_id,
        "plc_session": part.plc_session,
        "boot_id": part.boot_id,
        "acquisition_id": part.acquisition_id,
        "result_id": part.result_id,
        "encoder": part.encoder,
        "serial": part.serial,
        "recipe": part.recipe,
        "recipe_name": part.recipe_name,
        "recipe_revision": part.recipe_revision,
        "config_checksum": format!("{:08x}", part.config_checksum),
        "models": models.collect::<Value>(),
        "verdict": verdict_name(part.outcome),
        "reason": reason_name(part.outcome),
        "severity": severity_name(part.severity),
        "defect_code": part.defect_code,
        "measured": outcome_json(part.measured),
        "delivery": enum_word(part.delivery().as_str_name(), "DELIVERY_"),
        "test_part": part.test_part,
        "recovered": part.recovered,
        "triggered_unix_ns": part.triggered_unix_ns,
        "deadline_us": part.deadline_us,
        "stages": part.stages.map(stages_json),
        "views": views_json(&part.views),
        "tags": tags.collect::<Value>(),
        "evidence_share": part.evidence_share,
        "evidence_chosen": part.evidence_chosen,
    })
}

fn outcome_json(outcome: Option<proto::Outcome>) -> Value {
    outcome.map_or(
        Value::Null,
        |outcome| json!({ "verdict": verdict_name(Some(outcome)), "reason": reason_name(Some(outcome)) }),
    )
}

fn stages_json(stages: proto::StageTimes) -> Value {
    json!({
        "frame_us": stages.frame_us,
        "queue_us": stages.queue_us,
        "preprocess_us": stages.preprocess_us,
        "infer_us": stages.infer_us,
        "postprocess_us": stages.postprocess_us,
        "total_us": stages.total_us,
    })
}

fn model_json(model: &proto::Model) -> Value {
    json!({ "name": model.name, "version": model.version, "sha256": hex(&model.sha256) })
}

fn views_json(views: &[proto::View]) -> Value {
    let finding = |found: &proto::Finding| {
        json!({
            "class": found.class,
            "score": shortest(found.score),
            "x": found.x,
            "y": found.y,
            "width": found.width,
            "height": found.height,
            "area_px": found.area_px,
            "length_px": found.length_px.and_then(shortest),
            "length_mm": found.length_mm.and_then(shortest),
            "area_mm2": found.area_mm2.and_then(shortest),
            "x_mm": found.x_mm.and_then(shortest),
            "y_mm": found.y_mm.and_then(shortest),
            "severity": severity_name(found.severity),
        })
    };
    let view = |view: &proto::View| {
        json!({
            "inspection": view.inspection,
            "camera": view.camera,
            "frame_counter": view.frame_counter,
            "exposed_us": view.exposed_us,
            "stamp": view.stamp,
            "verdict": verdict_name(view.outcome),
            "reason": reason_name(view.outcome),
            "severity": severity_name(view.severity),
            "score": view.score.and_then(shortest),
            "threshold": view.threshold.and_then(shortest),
            "findings": view.findings.iter().map(finding).collect::<Value>(),
            "model": view.model.as_ref().map(model_json),
        })
    };
    views.iter().map(view).collect()
}

/// Lines with what they are about before them.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, about: &str, said: &str) {
        self.text += format!(" {about:<11} {said}").trim_end();
        self.text.push('\n');
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }
}

fn part_page(page: &mut Page, part: &proto::Part) {
    page.line("verdict", verdict_name(part.outcome));
    if let Some(reason) = reason_name(part.outcome) {
        page.line("reason", &reason);
    }
    if let Some(reason) = reason(part.outcome) {
        page.line("", reason.text());
        page.line("remedy", reason.remedy());
    }
    if part.measured.is_some() {
        page.line("measured", &outcome_text(part.measured));
    }
    let marks = [
        (part.test_part, "a test part, not counted"),
        (part.recovered, "read back after a restart"),
    ];
    for (_, mark) in marks.into_iter().filter(|(is, _)| *is) {
        page.line("note", mark);
    }
    page.line("delivery", &enum_word(part.delivery().as_str_name(), "DELIVERY_"));
    page.gap();
    if part.triggered_unix_ns != 0 {
        page.line("triggered", &rfc3339(part.triggered_unix_ns));
    }
    let cycle = part.cycle_id.map_or("none".into(), |id| id.to_string());
    page.line(
        "cycle",
        &format!("{cycle}  (PLC session {}, station start {})", part.plc_session, part.boot_id),
    );
    if !part.serial.is_empty() {
        page.line("serial", &plain(&part.serial));
    }
    let revision = if part.recipe_revision.is_empty() {
        String::new()
    } else {
        format!(", revision {}", plain(&part.recipe_revision))
    };
    page.line("recipe", &format!("{} {}{revision}", part.recipe, plain(&part.recipe_name)));
    if let Some(severity) = severity_name(part.severity) {
        page.line("severity", severity);
    }
    for model in &part.models {
        let seal: String = hex(&model.sha256).chars().take(12).collect();
        page.line("model", &format!("{}@{}  {seal}", plain(&model.name), plain(&model.version)));
    }
    for tag in &part.tags {
        page.line(&cell(&tag.name), &plain(&tag.value));
    }
    if let Some(stages) = part.stages {
        stages_page(page, stages, part.deadline_us);
    }
    views_page(page, &part.views);
}

/// Characters of the longest bar.
const STAGE_BAR: usize = 40;

/// Where the time went, against the deadline.
fn stages_page(page: &mut Page, stages: proto::StageTimes, deadline_us: u64) {
    let milliseconds = |time_us: u64| format!("{:>8.1} ms", time_us as f64 / 1e3);
    let whole = deadline_us.max(stages.total_us).max(1) as f64;
    page.gap();
    let steps = [
        ("frame", stages.frame_us),
        ("queue", stages.queue_us),
        ("preprocess", stages.preprocess_us),
        ("infer", stages.infer_us),
        ("postprocess", stages.postprocess_us),
        ("total", stages.total_us),
        ("deadline", deadline_us),
    ];
    for (name, time_us) in steps {
        page.line(
            name,
            &format!("{}  {}", milliseconds(time_us), bar(time_us as f64 / whole, STAGE_BAR)),
        );
    }
}

fn views_page(page: &mut Page, views: &[proto::View]) {
    for view in views {
        page.gap();
        let score = match (view.score, view.threshold) {
            (Some(score), Some(threshold)) => format!("score {score:.3}, threshold {threshold:.3}"),
            (Some(score), None) => format!("score {score:.3}"),
            _ => "no score".into(),
        };
        page.line(
            "inspection",
            &format!("{} by camera {}", plain(&view.inspection), plain(&view.camera)),
        );
        page.line("", &format!("{}, {score}", outcome_text(view.outcome)));
        for found in &view.findings {
            let place = format!(
                "at {},{}  {}x{} px, area {} px",
                found.x, found.y, found.width, found.height, found.area_px
            );
            let severity = severity_name(found.severity).map_or_else(String::new, |severity| format!("  {severity}"));
            let said = format!(
                "{}{severity}  score {:.3}  {place}{}",
                cell(&found.class),
                found.score,
                millimetres(found)
            );
            page.line("", &said);
        }
    }
}

/// What is known of a finding in millimetres.
fn millimetres(found: &proto::Finding) -> String {
    let length = found.length_mm.map(|length| format!(", {length:.2} mm long"));
    let area = found.area_mm2.map(|area| format!(", {area:.2} mm2"));
    [length, area].into_iter().flatten().collect()
}

/// Minor, major or critical, where a criterion said so.
fn severity_name(severity: i32) -> Option<&'static str> {
    convert::severity_of(severity).map(Severity::name)
}

fn outcome_text(outcome: Option<proto::Outcome>) -> String {
    match reason_name(outcome) {
        Some(reason) => format!("{} ({reason})", verdict_name(outcome)),
        None => verdict_name(outcome).into(),
    }
}

/// What is not known reads as not decidable.
fn verdict_name(outcome: Option<proto::Outcome>) -> &'static str {
    let code = outcome.and_then(|outcome| u16::try_from(outcome.verdict).ok());
    code.and_then(Verdict::from_code).unwrap_or(Verdict::NotDecidable).name()
}

fn reason(outcome: Option<proto::Outcome>) -> Option<Reason> {
    Reason::from_code(u16::try_from(outcome?.reason).ok()?)
}

/// Name of the reason, its number where it has none here.
fn reason_name(outcome: Option<proto::Outcome>) -> Option<String> {
    let number = outcome?.reason;
    (number != 0).then(|| reason(outcome).map_or_else(|| number.to_string(), |reason| reason.name().to_owned()))
}

/// The word of an enum's value: lower case, without the enum's name.
fn enum_word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

fn clock_quality(record: &proto::Record) -> String {
    enum_word(record.clock_quality().as_str_name(), "CLOCK_QUALITY_")
}

fn disposition_name(disposition: &proto::Disposition) -> String {
    enum_word(disposition.kind().as_str_name(), "DISPOSITION_KIND_")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
