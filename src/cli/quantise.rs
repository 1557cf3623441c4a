//! `takt model quantise`: a package that computes with bytes, of one that computes with 32-bit numbers.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::model::facts;
use super::table::{percent, table};
use super::{Exit, Format, print, print_json};
use crate::model::quantise::{Quantised, TOLERANCE, Wishes, quantise};

#[derive(Debug, Args)]
pub(super) struct QuantiseArgs {
    /// The package that computes with 32-bit numbers
    package: PathBuf,
    /// Good images of the part: the values that the model takes on them are what bytes have to tell apart
    #[arg(long, value_name = "DIR")]
    good: PathBuf,
    /// Folder to write the package to
    #[arg(long, value_name = "PACKAGE")]
    out: PathBuf,
    /// How far a score may move, as a share of the larger of score and threshold
    #[arg(long, value_name = "SHARE", default_value_t = TOLERANCE, value_parser = parse_share)]
    tolerance: f64,
    /// Threads inside one inference; 0 means one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Replace a package that is there
    #[arg(long)]
    overwrite: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    (share > 0.0 && share <= 1.0)
        .then_some(share)
        .ok_or_else(|| "give a share above 0 and up to 1".to_owned())
}

pub(super) fn run(args: &QuantiseArgs) -> anyhow::Result<Exit> {
    let wishes = Wishes {
        good: args.good.clone(),
        tolerance: args.tolerance,
        threads: args.threads,
    };
    let quantised = quantise(&args.package, &args.out, &wishes, args.overwrite)?;
    for warning in &quantised.warnings {
        eprintln!("warning: {warning}");
    }
    report(args, &quantised)?;
    Ok(Exit::Done)
}

fn report(args: &QuantiseArgs, quantised: &Quantised) -> anyhow::Result<()> {
    let manifest = &quantised.manifest;
    let at = |place: usize| quantised.moved.get(place).copied().unwrap_or_default();
    let count = quantised.moved.len();
    let [lowest, median, highest] = [at(0), at(count / 2), at(count.saturating_sub(1))];
    if args.format == Format::Json {
        return print_json(&json!({
            "package": args.out, "name": manifest.name, "version": manifest.version, "quantisation": manifest.quantisation,
            "golden": quantised.gated.len(), "score_moved_min": lowest, "score_moved_p50": median, "score_moved_max": highest,
            "tolerance": args.tolerance, "speed_ratio": quantised.speed_ratio, "warnings": quantised.warnings,
        }));
    }
    let mut rows: Vec<Vec<String>> = facts(manifest).into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    rows.push(vec![
        "scores moved".into(),
        format!(
            "{} to {}, median {}, on {count} good images; {} allowed",
            percent(lowest),
            percent(highest),
            percent(median),
            percent(args.tolerance)
        ),
    ]);
    rows.push(vec![
        "speed".into(),
        format!("{:.2} times as fast as at full precision, here", quantised.speed_ratio),
    ]);
    print(&table(&["model", &manifest.name], rows))
}
