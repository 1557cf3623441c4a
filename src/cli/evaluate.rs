//! `takt evaluate`: how good a model is on labelled images.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::page::{self, Page};
use super::progress::Screen;
use super::table::{figure, percent, table};
use super::{EngineArgs, Exit, Format, activate, print, print_json};
use crate::evaluate::{ClassReport, Evaluation, Judged, Sample, coco, evaluate, folders};
use crate::model::manifest::{Kind, Manifest};
use crate::vision::inspector::Inspector;

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The model package
    #[arg(long, value_name = "PACKAGE")]
    model: PathBuf,
    /// Data set: `test/good`, `test/<defect>`, and `ground_truth/<defect>` where masks are known; for a classifier `test/<class>`; for a detector
    /// COCO annotations and images; for a model of pixels masks, or class numbers in `labels/<defect>`
    #[arg(long, value_name = "DIR", required_unless_present = "annotations")]
    dataset: Option<PathBuf>,
    /// COCO annotations, where the data set holds several files of them or lies elsewhere
    #[arg(long, value_name = "FILE.json")]
    annotations: Option<PathBuf>,
    /// Folder of the images that the annotations name
    #[arg(long, value_name = "DIR", requires = "annotations")]
    images: Option<PathBuf>,
    /// File to write a page with pictures, curves and all results to
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
    #[command(flatten)]
    engine: EngineArgs,
}

impl EvaluateArgs {
    /// The labelled images: a COCO file that is named, or that a detector's data set holds, else folders.
    fn samples(&self, manifest: &Manifest) -> anyhow::Result<Vec<Sample>> {
        let found = match (&self.annotations, &self.dataset) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(root)) if manifest.kind == Kind::Detection => coco::find(root)?,
            _ => None,
        };
        match (found, &self.dataset) {
            (Some(_), _) if manifest.kind == Kind::Classification => {
                bail!("failed to evaluate a classifier on annotations: give a --dataset with one folder for each class")
            }
            (Some(file), root) => Ok(coco::samples(&file, self.images.as_deref(), root.as_deref(), manifest)?),
            (None, Some(root)) => Ok(folders::samples(root, manifest)?),
            (None, None) => bail!("failed to find a data set: name one with --dataset"),
        }
    }

    /// What names of images are shown relative to.
    fn root(&self) -> &Path {
        let beside = self.annotations.as_deref().and_then(Path::parent);
        self.images
            .as_deref()
            .or(self.dataset.as_deref())
            .or(beside)
            .unwrap_or(Path::new(""))
    }
}

pub(super) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let mut inspector = Inspector::new(activate(&args.model, args.engine)?);
    let samples = args.samples(inspector.manifest())?;
    let screen = Screen::new();
    let (evaluation, judged) = judge(&mut inspector, &samples, &screen)?;
    screen.finish();
    if let Some(file) = &args.report {
        let title = format!("{} {}", inspector.manifest().name, inspector.manifest().version);
        let on = args.annotations.as_deref().unwrap_or(args.root());
        let page = Page {
            title,
            subtitle: format!("{}, judged on {} images of {}", evaluation.kind.name(), judged.len(), on.display()),
            rendered: false,
            stages: &[],
            root: args.root(),
            line: None,
        };
        page::write(file, &page, &mut inspector, &evaluation, &judged)?;
    }
    print_outcome(&evaluation, args.format)?;
    Ok(Exit::Done)
}

/// Judges the test images of a data set in folders.
pub(super) fn outcome(inspector: &mut Inspector, dataset: &Path, screen: &Screen) -> anyhow::Result<(Evaluation, Vec<Judged>)> {
    let samples = folders::samples(dataset, inspector.manifest())?;
    judge(inspector, &samples, screen)
}

fn judge(inspector: &mut Inspector, samples: &[Sample], screen: &Screen) -> anyhow::Result<(Evaluation, Vec<Judged>)> {
    let (mut evaluation, judged) = evaluate(inspector, samples, screen, &mut |_, _| {})?;
    evaluation.peak_rss_mib = peak_rss_mib();
    Ok((evaluation, judged))
}

/// The process's largest resident set so far, from the kernel.
pub(super) fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// Prints the figures as asked.
pub(super) fn print_outcome(evaluation: &Evaluation, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return print_json(evaluation);
    }
    let mut rows = image_rows(evaluation);
    rows.extend(kind_rows(evaluation));
    let milliseconds = |time: Option<u64>| time.map_or_else(|| "-".into(), |time| format!("{:.1} ms", time as f64 / 1e3));
    rows.push(vec![
        "latency p50 / p99".into(),
        format!(
            "{} / {}",
            milliseconds(evaluation.latency_us_p50),
            milliseconds(evaluation.latency_us_p99)
        ),
    ]);
    rows.extend(evaluation.per_class.iter().map(|(class, figures)| {
        vec![
            format!("  {class}"),
            format!(
                "{} images, AUROC {}, escapes {}",
                figures.images,
                figure(figures.image_auroc),
                percent(figures.escape_rate)
            ),
        ]
    }));
    rows.extend(
        evaluation
            .classes
            .iter()
            .map(|(class, report)| vec![format!("  class {class}"), class_words(report)]),
    );
    print(&table(&["figure", "value"], rows))
}

/// Figures that every kind of model has.
fn image_rows(evaluation: &Evaluation) -> Vec<Vec<String>> {
    let rate = |rate: Option<f64>, [low, high]: [f64; 2]| {
        rate.map_or_else(
            || "-".into(),
            |rate| format!("{} (95 %: {} to {})", percent(rate), percent(low), percent(high)),
        )
    };
    let limited = if evaluation.recall_limited_by_images {
        " (above the highest good score: fewer than 100 good images)"
    } else {
        ""
    };
    vec![
        vec![
            "good / defect / unreadable".into(),
            format!(
                "{} / {} / {}",
                evaluation.images_good, evaluation.images_defect, evaluation.images_unreadable
            ),
        ],
        vec![
            "false rejects".into(),
            rate(evaluation.false_reject_rate, evaluation.false_reject_interval),
        ],
        vec!["escapes".into(), rate(evaluation.escape_rate, evaluation.escape_interval)],
        vec!["image AUROC".into(), figure(evaluation.image_auroc)],
        vec![
            "recall at 1 % false rejects".into(),
            format!("{}{limited}", figure(evaluation.recall_at_false_reject_1pct)),
        ],
    ]
}

/// Figures of its kind.
fn kind_rows(evaluation: &Evaluation) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = Vec::new();
    if evaluation.kind == Kind::Anomaly || evaluation.pixel_auroc.is_some() {
        rows.push(row("pixel AUROC", figure(evaluation.pixel_auroc)));
        rows.push(row("AUPRO", figure(evaluation.aupro)));
    }
    if evaluation.accuracy.is_some() {
        rows.push(row("accuracy", figure(evaluation.accuracy)));
    }
    if evaluation.iou_mean.is_some() {
        let value = format!(
            "{} / {} / {}",
            figure(evaluation.iou_mean),
            figure(evaluation.dice_mean),
            figure(evaluation.pixel_accuracy)
        );
        rows.push(row("mean IoU / mean Dice / pixel accuracy", value));
    }
    if let Some(objects) = &evaluation.objects {
        let three = |a, b, c| format!("{} / {} / {}", figure(a), figure(b), figure(c));
        rows.push(row(
            "mAP @[.50:.95] / .50 / .75",
            three(objects.map_50_95, objects.map_50, objects.map_75),
        ));
        rows.push(row(
            "mAP small / medium / large",
            three(objects.map_small, objects.map_medium, objects.map_large),
        ));
        rows.push(row("AR of 1 / 10 / 100", three(objects.ar_1, objects.ar_10, objects.ar_100)));
    }
    if let Some(masks) = &evaluation.masks {
        let value = format!("{} / {} / {}", figure(masks.map_50_95), figure(masks.map_50), figure(masks.map_75));
        rows.push(row("mAP of masks @[.50:.95] / .50 / .75", value));
    }
    if evaluation.answers_unreadable > 0 {
        rows.push(row(
            "answers that cannot be read",
            format!("{}; nothing counts as found there", evaluation.answers_unreadable),
        ));
    }
    rows
}

/// What is known of a class, in words.
fn class_words(report: &ClassReport) -> String {
    if let Some(objects) = report.objects {
        let boxes = format!(
            "{objects} objects, AP {}, AP50 {}, AP75 {}, AR {}",
            figure(report.ap_50_95),
            figure(report.ap_50),
            figure(report.ap_75),
            figure(report.ar_100)
        );
        return match report.mask_ap_50_95 {
            Some(masks) => format!("{boxes}; masks AP {}, AP50 {}", figure(Some(masks)), figure(report.mask_ap_50)),
            None => boxes,
        };
    }
    if let Some(pixels) = report.pixels {
        return format!("{pixels} pixels, IoU {}, Dice {}", figure(report.iou), figure(report.dice));
    }
    format!(
        "{} images, precision {}, recall {}",
        report.images.unwrap_or_default(),
        figure(report.precision),
        figure(report.recall)
    )
}
