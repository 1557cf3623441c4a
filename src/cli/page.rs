//! The evaluation page: figures and pictures of judged parts.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;

use super::model::facts;
use crate::report::{EvaluationReport, Fact, LineRun, Metric, PartRow, Picture, Stage, pictured_parts, render};
use crate::teach::evaluate::{Evaluation, Judged};
use crate::vision::inspector::Inspector;
use crate::vision::overlay;

/// JPEG quality of pictures on the page: contours stay crisp, the page stays small enough to mail.
const JPEG_QUALITY: u8 = 82;

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
        model: facts(manifest).into_iter().map(|(name, value)| Fact::new(name, value)).collect(),
        run: run_facts(inspector),
        metrics: metrics(evaluation),
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
    };
    // Only the parts that are shown get a picture; they are judged once more for it, instead of keeping every picture in memory.
    for index in pictured_parts(&report) {
        report.parts[index].picture = picture(inspector, &judged[index].image.path)?;
    }
    std::fs::write(file, render(&report)).with_context(|| format!("failed to write report {}", file.display()))
}

fn row(part: &Judged, root: &Path) -> PartRow {
    PartRow {
        image: part.image.path.strip_prefix(root).unwrap_or(&part.image.path).display().to_string(),
        class: part.image.class.clone(),
        truth_defect: Some(part.image.is_defect()),
        verdict: part.verdict,
        score: part.score,
        latency_us: part.score.map(|_| part.latency.as_micros() as u64),
        picture: None,
    }
}

/// The overlay of an image as JPEG; none if it cannot be read.
fn picture(inspector: &mut Inspector, path: &Path) -> anyhow::Result<Option<Picture>> {
    let Ok((image, inspection)) = inspector.inspect_file(path) else {
        return Ok(None);
    };
    let overlay = overlay::render(&image, &inspection, inspector.manifest().threshold.region);
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(&overlay.rgb, overlay.width, overlay.height, image::ExtendedColorType::Rgb8)
        .with_context(|| format!("failed to encode the picture of {}", path.display()))?;
    Ok(Some(Picture {
        mime: "image/jpeg",
        bytes: bytes.into_inner(),
    }))
}

fn metrics(evaluation: &Evaluation) -> Vec<Metric> {
    let metric = |name: &str, value: Option<f64>, decimals, unit: &str, note: &str| Metric {
        name: name.into(),
        value,
        decimals,
        unit: unit.into(),
        note: note.into(),
    };
    vec![
        metric(
            "Pixel AUROC",
            evaluation.pixel_auroc,
            4,
            "",
            "over all pixels of all test images; needs masks",
        ),
        metric(
            "AUPRO",
            evaluation.aupro,
            4,
            "",
            "per-region overlap up to a false positive rate of 0.3; needs masks",
        ),
        metric(
            "Recall at 1 % false rejects",
            evaluation.recall_at_false_reject_1pct,
            4,
            "",
            if evaluation.recall_limited_by_images {
                "above the highest good score, as there are fewer than 100 good images"
            } else {
                "at the threshold that rejects 1 % of the good images"
            },
        ),
        metric(
            "Peak memory",
            evaluation.peak_rss_mib,
            0,
            "MiB",
            "largest resident set of the whole process",
        ),
    ]
}

fn run_facts(inspector: &Inspector) -> Vec<Fact> {
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
    ]
}
