//! The evaluation page: figures and pictures of judged parts.

mod kinds;
mod picture;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use self::picture::picture;
use super::model::facts;
use crate::evaluate::metrics::percentile;
use crate::evaluate::{Evaluation, Judged};
use crate::model::manifest::{Kind, OutputSpec};
use crate::model::package::MODEL;
use crate::report::{EvaluationReport, Fact, LineRun, Metric, PartRow, Stage, pictured_parts, render};
use crate::vision::inspector::Inspector;

/// What the page says beyond the figures.
pub(super) struct Page<'a> {
    /// Heading.
    pub(super) title: String,
    /// One line below it.
    pub(super) subtitle: String,
    /// Whether the parts were rendered by a program.
    pub(super) rendered: bool,
    /// The stages of teaching, if it was taught in this run.
    pub(super) stages: &'a [(crate::teach::progress::Stage, Duration)],
    /// Folder that image names are shown relative to.
    pub(super) root: &'a Path,
    /// A run of the virtual line with this model, if there was one.
    pub(super) line: Option<LineRun>,
}

/// Writes the page to `file`.
pub(super) fn write(
    file: &Path,
    page: &Page<'_>,
    inspector: &mut Inspector,
    evaluation: &Evaluation,
    judged: &[Judged],
) -> anyhow::Result<()> {
    let manifest = inspector.manifest();
    let mut report = EvaluationReport {
        title: page.title.clone(),
        subtitle: page.subtitle.clone(),
        rendered_data: page.rendered,
        model: model_facts(inspector),
        run: run_facts(inspector, page, evaluation, judged),
        metrics: metrics(evaluation, judged),
        stages: page
            .stages
            .iter()
            .map(|(stage, time)| Stage {
                name: stage.name().into(),
                seconds: time.as_secs_f64(),
            })
            .collect(),
        threshold: manifest.threshold.score,
        line: page.line.clone(),
        parts: judged.iter().map(|part| row(part, page.root)).collect(),
        ..EvaluationReport::default()
    };
    kinds::fill(&mut report, evaluation);
    // Only the parts that are shown get a picture; they are judged once more for it, instead of keeping every picture in memory.
    for index in pictured_parts(&report) {
        report.parts[index].picture = picture(inspector, &judged[index].sample)?;
    }
    std::fs::write(file, render(&report)).with_context(|| format!("failed to write report {}", file.display()))
}

fn row(part: &Judged, root: &Path) -> PartRow {
    PartRow {
        image: part
            .sample
            .path
            .strip_prefix(root)
            .unwrap_or(&part.sample.path)
            .display()
            .to_string(),
        kinds: part.sample.kinds.clone(),
        truth_defect: Some(part.sample.is_defect),
        verdict: part.verdict,
        said: part.said.clone(),
        score: part.score,
        latency_us: part.score.map(|_| part.latency.as_micros() as u64),
        picture: None,
    }
}

fn metrics(evaluation: &Evaluation, judged: &[Judged]) -> Vec<Metric> {
    let metric = |name: &str, value: Option<f64>, decimals, unit: &str, note: &str| Metric {
        name: name.into(),
        value,
        decimals,
        unit: unit.into(),
        note: note.into(),
    };
    let mut metrics = Vec::new();
    if let Some(masks) = &evaluation.masks {
        let half = masks.map_50.map_or_else(|| "not measured".into(), |map| format!("{map:.4}"));
        let note = format!("pixels of objects against outlines, overlaps 0.50 to 0.95; at 0.50 alone {half}");
        metrics.push(metric("mAP of masks", masks.map_50_95, 4, "", &note));
    }
    if evaluation.answers_unreadable > 0 {
        let note = "images of which the model's answer cannot be read; nothing counts as found there";
        metrics.push(metric(
            "Unreadable answers",
            Some(evaluation.answers_unreadable as f64),
            0,
            "",
            note,
        ));
    }
    if evaluation.kind == Kind::Anomaly || evaluation.pixel_auroc.is_some() {
        let merged = evaluation.pixel_error_max.map_or_else(String::new, |error| {
            format!("; neighbouring scores merged, which moves it by {error:.0e} at most")
        });
        let pixels = format!("over all pixels of all test images; needs masks{merged}");
        let overlap = format!("per-region overlap up to a false positive rate of 0.3; needs masks{merged}");
        metrics.push(metric("Pixel AUROC", evaluation.pixel_auroc, 4, "", &pixels));
        metrics.push(metric("AUPRO", evaluation.aupro, 4, "", &overlap));
    }
    let recall = if evaluation.recall_limited_by_images {
        "above the highest good score, as there are fewer than 100 good images"
    } else {
        "at the threshold that rejects 1 % of the good images"
    };
    metrics.push(metric(
        "Recall at 1 % false rejects",
        evaluation.recall_at_false_reject_1pct,
        4,
        "",
        recall,
    ));
    let times: Vec<u64> = judged
        .iter()
        .filter(|part| part.score.is_some())
        .map(|part| part.latency.as_micros() as u64)
        .collect();
    metrics.extend([50.0, 90.0, 95.0, 99.0, 100.0].map(|percent| {
        let name = if percent < 100.0 {
            format!("Latency p{percent}")
        } else {
            "Latency max".into()
        };
        let value = percentile(&times, percent).map(|us| us as f64 / 1e3);
        metric(&name, value, 2, "ms", "from decoded image to verdict")
    }));
    metrics.push(metric(
        "Peak memory",
        evaluation.peak_rss_mib,
        0,
        "MiB",
        "largest resident set of the whole process",
    ));
    metrics
}

/// The model: what `takt model show` says, and which bytes it is.
fn model_facts(inspector: &Inspector) -> Vec<Fact> {
    let manifest = inspector.manifest();
    let mut list: Vec<Fact> = facts(manifest).into_iter().map(|(name, value)| Fact::new(name, value)).collect();
    if manifest.kind != Kind::Anomaly {
        list.push(Fact::new("classes", manifest.classes.join(", ")));
    }
    if !manifest.ok_classes.is_empty() {
        list.push(Fact::new("no defects", manifest.ok_classes.join(", ")));
    }
    if let OutputSpec::Boxes { iou, .. } = &manifest.outputs {
        list.push(Fact::new("overlap kept", format!("up to {iou:.2} of a better box")));
    }
    list.extend(manifest.files.get(MODEL).map(|hash| Fact::new("SHA-256", hash.clone())));
    list
}

fn run_facts(inspector: &Inspector, page: &Page<'_>, evaluation: &Evaluation, judged: &[Judged]) -> Vec<Fact> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok();
    let cpu = cpu.as_deref().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // The program's own folder says nothing to a reader.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    vec![
        Fact::new(
            "images",
            format!(
                "{}: {} good, {} defective, {} of them unreadable; in {}",
                judged.len(),
                evaluation.images_good,
                evaluation.images_defect,
                evaluation.images_unreadable,
                page.root.display()
            ),
        ),
        Fact::new(
            "SHA-256",
            format!("{} (images and what is true of them)", evaluation.dataset_sha256),
        ),
        Fact::new(
            "machine",
            format!(
                "{}, {cores} cores, {}",
                cpu.unwrap_or_else(|| "unknown processor".into()),
                std::env::consts::ARCH
            ),
        ),
        Fact::new("provider", inspector.model().engine.provider().name()),
        Fact::new("command", format!("takt {}", arguments.join(" "))),
        Fact::new("date", format!("{:.0}", jiff::Timestamp::now())),
        Fact::new("takt", env!("CARGO_PKG_VERSION")),
    ]
}
