//! `takt evaluate`: how good a model is on labelled images.

use std::path::{Path, PathBuf};

use clap::Args;

use super::page::{self, Page};
use super::progress::Screen;
use super::table::{figure, percent, table};
use super::{EngineArgs, Exit, Format, activate, print, print_json};
use crate::teach::dataset::test_images;
use crate::teach::evaluate::{Evaluation, Judged, evaluate};
use crate::vision::inspector::Inspector;

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The model package
    #[arg(long, value_name = "PACKAGE")]
    model: PathBuf,
    /// Data set: `test/good`, `test/<defect>`, and `ground_truth/<defect>` where masks are known
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// File to write a page with pictures, curves and all results to
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let mut inspector = Inspector::new(activate(&args.model, args.engine)?);
    let screen = Screen::new();
    let (evaluation, judged) = outcome(&mut inspector, &args.dataset, &screen)?;
    screen.finish();
    if let Some(file) = &args.report {
        let title = format!("{} {}", inspector.manifest().name, inspector.manifest().version);
        let subtitle = format!("judged on {}", args.dataset.display());
        let page = Page {
            title,
            subtitle,
            rendered: false,
            stages: &[],
            root: &args.dataset,
            line: None,
        };
        page::write(file, &page, &mut inspector, &evaluation, &judged)?;
    }
    print_outcome(&evaluation, args.format)?;
    Ok(Exit::Done)
}

/// Judges the test images of a data set.
pub(super) fn outcome(inspector: &mut Inspector, dataset: &Path, screen: &Screen) -> anyhow::Result<(Evaluation, Vec<Judged>)> {
    let images = test_images(dataset)?;
    let (mut evaluation, judged) = evaluate(inspector, &images, screen, &mut |_, _| {})?;
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
    let rate = |rate: Option<f64>, [low, high]: [f64; 2]| {
        rate.map_or_else(
            || "-".into(),
            |rate| format!("{} (95 %: {} to {})", percent(rate), percent(low), percent(high)),
        )
    };
    let milliseconds = |time: Option<u64>| time.map_or_else(|| "-".into(), |time| format!("{:.1} ms", time as f64 / 1e3));
    let limited = if evaluation.recall_limited_by_images {
        " (above the highest good score: fewer than 100 good images)"
    } else {
        ""
    };
    let mut rows = vec![
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
        vec!["pixel AUROC".into(), figure(evaluation.pixel_auroc)],
        vec!["AUPRO".into(), figure(evaluation.aupro)],
        vec![
            "recall at 1 % false rejects".into(),
            format!("{}{limited}", figure(evaluation.recall_at_false_reject_1pct)),
        ],
        vec![
            "latency p50 / p99".into(),
            format!(
                "{} / {}",
                milliseconds(evaluation.latency_us_p50),
                milliseconds(evaluation.latency_us_p99)
            ),
        ],
    ];
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
    print(&table(&["figure", "value"], rows))
}
