//! What the station knows becomes what it writes down and sends. The only place that knows both takt's own types and those of the contract.

use super::proto::{self, record::Body};
use crate::model::activation::{CameOfIt, ModelChange, Wish};
use crate::part::{
    ClockQuality, CycleId, Delivery, Disposition, Finding, ModelIdentity, Nanos, Outcome, PartRecord, Reason, Severity, StageTimes,
    Verdict, View,
};

/// What every record of a station says alike.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordContext {
    /// The recipes that a part may be inspected by.
    pub recipes: Vec<RecipeTitle>,
    /// The models that look at parts.
    pub models: Vec<proto::Model>,
    /// Share of Ok parts whose images are kept.
    pub ok_share: f64,
}

/// What a recipe is called.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecipeTitle {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its revision; empty where it has none.
    pub revision: String,
}

/// What is recorded of a part, or of what was found too late.
pub fn body(record: &PartRecord, context: &RecordContext, evidence_chosen: bool) -> Body {
    if record.late_findings {
        return Body::LateFindings(proto::LateFindings {
            part_sequence: record.sequence,
            cycle_id: record.cycle_id.map(CycleId::get),
            measured: record.measured.map(outcome),
            stages: Some(stages(&record.stages)),
            views: record.views.iter().map(|view| seen(view, record.triggered_ns)).collect(),
        });
    }
    let decided = Outcome {
        verdict: record.verdict,
        reason: record.reason,
    };
    let delivery = match record.delivery {
        _ if record.result_id == 0 => proto::Delivery::NotShown,
        None => proto::Delivery::Shown,
        Some(Delivery::Confirmed) => proto::Delivery::Confirmed,
        Some(Delivery::Unconfirmed) => proto::Delivery::Unconfirmed,
    };
    let title = context
        .recipes
        .iter()
        .find(|title| title.number == record.recipe)
        .cloned()
        .unwrap_or_default();
    Body::Part(Box::new(proto::Part {
        part_sequence: record.sequence,
        cycle_id: record.cycle_id.map(CycleId::get),
        plc_session: record.plc_session.into(),
        boot_id: record.boot_id.into(),
        acquisition_id: record.acquisition_id,
        result_id: record.result_id,
        encoder: record.encoder,
        serial: record.serial.clone(),
        recipe: record.recipe.into(),
        recipe_name: title.name,
        recipe_revision: title.revision,
        config_checksum: record.config_checksum,
        models: context.models.clone(),
        outcome: Some(outcome(decided)),
        measured: record.measured.map(outcome),
        delivery: delivery.into(),
        defect_code: record.defect_code.into(),
        severity: severity(record.severity).into(),
        test_part: record.test_part,
        recovered: record.recovered,
        triggered_unix_ns: record.triggered_unix_ns,
        deadline_us: micros(record.triggered_ns, record.deadline_ns).unsigned_abs(),
        stages: Some(stages(&record.stages)),
        views: record.views.iter().map(|view| seen(view, record.triggered_ns)).collect(),
        tags: record.tags.iter().map(tag).collect(),
        evidence_share: if record.verdict == Verdict::Ok { context.ok_share } else { 1.0 },
        evidence_chosen,
    }))
}

/// What the PLC says of a part's fate.
pub fn disposition(plc_session: u16, cycle_id: CycleId, what: Disposition) -> Body {
    let kind = match what {
        Disposition::Passed => proto::DispositionKind::Passed,
        Disposition::Rejected => proto::DispositionKind::Rejected,
        Disposition::Removed => proto::DispositionKind::Removed,
    };
    Body::Disposition(proto::Disposition {
        cycle_id: cycle_id.get(),
        plc_session: plc_session.into(),
        kind: kind.into(),
        model_change: None,
    })
}

/// That other models were asked for, and what came of it.
pub fn model_change(change: &ModelChange) -> Body {
    let wish = match &change.wish {
        Wish::Package(_) => proto::ModelWish::Activate,
        Wish::Previous => proto::ModelWish::RollBack,
        Wish::Configuration(_) => proto::ModelWish::Configuration,
    };
    let came_of_it = match change.came_of_it {
        CameOfIt::Exchanged => proto::ModelOutcome::Exchanged,
        CameOfIt::Unchanged => proto::ModelOutcome::Unchanged,
        CameOfIt::Refused => proto::ModelOutcome::Refused,
        CameOfIt::NotNow => proto::ModelOutcome::NotNow,
    };
    let package = match &change.wish {
        Wish::Package(package) | Wish::Configuration(package) => package.display().to_string(),
        Wish::Previous => String::new(),
    };
    Body::Disposition(proto::Disposition {
        cycle_id: 0,
        plc_session: 0,
        kind: proto::DispositionKind::Unspecified.into(),
        model_change: Some(proto::ModelChange {
            wish: wish.into(),
            outcome: came_of_it.into(),
            inspection: change.inspection.clone(),
            by: change.by.clone(),
            package,
            from: change.from.as_ref().map(model),
            to: change.to.as_ref().map(model),
            from_checksum: change.from_checksum,
            to_checksum: change.to_checksum,
            reason: change.reason.clone(),
            asked_unix_ns: change.asked_unix_ns,
        }),
    })
}

/// How far a recorded time can be trusted.
pub fn clock_quality(quality: ClockQuality) -> proto::ClockQuality {
    match quality {
        ClockQuality::Implausible => proto::ClockQuality::Implausible,
        ClockQuality::Unsynchronised => proto::ClockQuality::Unsynchronised,
        ClockQuality::Synchronised => proto::ClockQuality::Synchronised,
    }
}

/// A verdict and why.
pub fn outcome(outcome: Outcome) -> proto::Outcome {
    let verdict = match outcome.verdict {
        Verdict::Ok => proto::Verdict::Ok,
        Verdict::NotOk => proto::Verdict::NotOk,
        Verdict::NotDecidable => proto::Verdict::NotDecidable,
    };
    proto::Outcome {
        verdict: verdict.into(),
        reason: outcome.reason.map_or(0, |reason| reason.code().into()),
    }
}

/// The other way; a verdict that is not known is none that passes a part.
pub fn outcome_of(outcome: proto::Outcome) -> Outcome {
    let verdict = match proto::Verdict::try_from(outcome.verdict) {
        Ok(proto::Verdict::Ok) => Verdict::Ok,
        Ok(proto::Verdict::NotOk) => Verdict::NotOk,
        Ok(proto::Verdict::NotDecidable | proto::Verdict::Unspecified) | Err(_) => Verdict::NotDecidable,
    };
    Outcome {
        verdict,
        reason: u16::try_from(outcome.reason).ok().and_then(Reason::from_code),
    }
}

fn stages(times: &StageTimes) -> proto::StageTimes {
    proto::StageTimes {
        frame_us: times.frame_us,
        queue_us: times.queue_us,
        preprocess_us: times.preprocess_us,
        infer_us: times.infer_us,
        postprocess_us: times.postprocess_us,
        total_us: times.total_us,
    }
}

fn seen(view: &View, triggered: Nanos) -> proto::View {
    proto::View {
        inspection: view.inspection.clone(),
        camera: view.camera.clone(),
        frame_counter: view.frame_counter,
        exposed_us: micros(triggered, view.exposed_ns),
        stamp: view.stamp,
        outcome: Some(outcome(Outcome {
            verdict: view.verdict,
            reason: view.reason,
        })),
        score: view.score,
        threshold: view.threshold,
        severity: severity(view.severity).into(),
        findings: view.findings.iter().map(finding).collect(),
        model: view.model.as_ref().map(model),
    }
}

/// A model, as records name it.
pub fn model(model: &ModelIdentity) -> proto::Model {
    proto::Model {
        name: model.name.clone(),
        version: model.version.clone(),
        sha256: bytes_of_hex(&model.sha256),
    }
}

/// What is no hexadecimal number becomes nothing.
fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(pair).collect();
    bytes.unwrap_or_default()
}

fn finding(finding: &Finding) -> proto::Finding {
    proto::Finding {
        class: finding.class.clone(),
        score: finding.score,
        x: finding.x,
        y: finding.y,
        width: finding.width,
        height: finding.height,
        area_px: finding.area_px,
        length_px: finding.measures.length_px,
        length_mm: finding.measures.length_mm,
        area_mm2: finding.measures.area_mm2,
        x_mm: finding.measures.x_mm,
        y_mm: finding.measures.y_mm,
        severity: severity(finding.severity).into(),
    }
}

/// How bad; unspecified where no criterion says.
pub fn severity(severity: Option<Severity>) -> proto::Severity {
    match severity {
        None => proto::Severity::Unspecified,
        Some(Severity::Minor) => proto::Severity::Minor,
        Some(Severity::Major) => proto::Severity::Major,
        Some(Severity::Critical) => proto::Severity::Critical,
    }
}

/// The other way: none where no criterion says; what is not known is the worst.
pub fn severity_of(number: i32) -> Option<Severity> {
    match proto::Severity::try_from(number) {
        Ok(proto::Severity::Unspecified) => None,
        Ok(proto::Severity::Minor) => Some(Severity::Minor),
        Ok(proto::Severity::Major) => Some(Severity::Major),
        Ok(proto::Severity::Critical) | Err(_) => Some(Severity::Critical),
    }
}

fn tag(tag: &crate::part::Tag) -> proto::Tag {
    proto::Tag {
        name: tag.name.clone(),
        value: tag.value.clone(),
    }
}

/// From one moment to another, microseconds; negative if that was before.
fn micros(from: Nanos, to: Nanos) -> i64 {
    (to.0 as i64).wrapping_sub(from.0 as i64) / 1000
}
