//! `takt teach`: a folder of good parts becomes a model package.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{ArgAction, Args};
use serde_json::json;

use super::evaluate::{outcome, print_outcome};
use super::progress::Screen;
use super::table::{percent, table};
use super::{Exit, Format, print, print_json, shortest};
use crate::evaluate::Evaluation;
use crate::model::package;
use crate::teach::backbone::BUILT_IN;
use crate::teach::detector::Method;
use crate::teach::patchcore::PatchCoreOptions;
use crate::teach::{Lesson, Taught, TeachError, teach};
use crate::vision::inspector::Inspector;
use crate::vision::{EngineOptions, Provider};

#[derive(Debug, Args)]
pub(super) struct TeachArgs {
    /// Folder of images of good parts
    #[arg(long, value_name = "DIR")]
    good: PathBuf,
    /// Folder to write the model package to
    #[arg(long, value_name = "PACKAGE")]
    out: PathBuf,
    /// Labelled images to try the model on: good/ and one folder per kind of defect
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// Backbone: a built-in name or an ONNX file with its manifest beside it
    #[arg(long, default_value = BUILT_IN, value_name = "NAME|FILE")]
    backbone: String,
    /// Size images are brought to
    #[arg(long, default_value = "256x256", value_name = "WxH", value_parser = parse_size)]
    size: (u32, u32),
    /// Share of good parts that may be rejected
    #[arg(long, default_value_t = 0.01, value_name = "R")]
    false_reject_rate: f64,
    /// Refuse what would otherwise be a warning
    #[arg(long)]
    strict: bool,
    /// Name of the model [default: the package's folder name]
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Version of the model
    #[arg(long, default_value = "1", value_name = "V", action = ArgAction::Set)]
    version: String,
    /// How to teach
    #[arg(long, value_enum, default_value_t = Method::default())]
    method: Method,
    /// Patches the memory bank keeps at most (patchcore)
    #[arg(long, default_value_t = PatchCoreOptions::default().bank, value_name = "N", value_parser = parse_count)]
    bank: usize,
    /// Nearest bank patches whose distances are averaged (patchcore)
    #[arg(long, default_value_t = PatchCoreOptions::default().neighbours, value_name = "N", value_parser = parse_count)]
    neighbours: usize,
    /// Seed of everything random; the same seed and images give the same model
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Replace a package that is already there
    #[arg(long)]
    overwrite: bool,
    /// Threads inside one inference; 0 means one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

pub(super) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once(['x', 'X']).ok_or("write it as WIDTHxHEIGHT, such as 256x256")?;
    let side = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("\"{text}\" is no number of pixels"));
    Ok((side(width)?, side(height)?))
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=65_536).contains(count))
        .ok_or_else(|| "give a whole number from 1 to 65536".into())
}

impl TeachArgs {
    fn lesson(&self) -> Lesson {
        let folder = self.out.file_name().map(|name| name.to_string_lossy().into_owned());
        Lesson {
            good: self.good.clone(),
            backbone: self.backbone.clone(),
            width: self.size.0,
            height: self.size.1,
            false_reject_rate: self.false_reject_rate,
            strict: self.strict,
            method: self.method,
            settings: PatchCoreOptions {
                bank: self.bank,
                neighbours: self.neighbours,
                seed: self.seed,
            },
            name: self.name.clone().or(folder).unwrap_or_else(|| "model".into()),
            version: self.version.clone(),
            engine: EngineOptions {
                provider: Provider::Cpu,
                threads: self.threads,
            },
        }
    }
}

pub(super) fn run(args: &TeachArgs) -> anyhow::Result<Exit> {
    // Everything that can be refused early is, before minutes are spent.
    package::check_place(&args.out, args.overwrite)?;
    if let Some(test) = &args.test {
        crate::teach::dataset::test_images(test)?;
    }
    let screen = Screen::new();
    let started = Instant::now();
    let taught = teach(&args.lesson(), &screen)?;
    let total = started.elapsed();
    screen.finish();
    taught.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let evaluation = args.test.as_deref().map(|test| try_on(test, &taught, args, &screen)).transpose()?;
    package::write(&args.out, &taught.package.manifest, &taught.package.files, args.overwrite)?;
    report(args, &taught, total)?;
    evaluation.map_or(Ok(()), |evaluation| print_outcome(&evaluation, args.format))?;
    Ok(Exit::Done)
}

/// Judges labelled images; defects that look better than good parts cast doubt on the lesson.
fn try_on(test: &Path, taught: &Taught, args: &TeachArgs, screen: &Screen) -> anyhow::Result<Evaluation> {
    let engine = EngineOptions {
        provider: Provider::Cpu,
        threads: args.threads,
    };
    let mut inspector = Inspector::new(taught.package.clone().activate(engine)?);
    let (evaluation, _) = outcome(&mut inspector, test, screen)?;
    screen.finish();
    if evaluation.image_auroc.is_some_and(|auroc| auroc < 0.5) {
        let doubt = format!(
            "the defects in {} look better than its good parts: does {} hold good parts?",
            test.display(),
            args.good.display()
        );
        if args.strict {
            return Err(TeachError::Strict(doubt).into());
        }
        eprintln!("warning: {doubt}");
    }
    Ok(evaluation)
}

fn report(args: &TeachArgs, taught: &Taught, total: Duration) -> anyhow::Result<()> {
    let manifest = &taught.package.manifest;
    let threshold = &manifest.threshold;
    let calibration = threshold.calibration.as_ref();
    let images = manifest.provenance.teaching().map_or(0, |teaching| teaching.images);
    if args.format == Format::Json {
        let stages: serde_json::Map<String, serde_json::Value> = taught
            .stages
            .iter()
            .map(|(stage, time)| (format!("{}_s", stage.name()), json!(time.as_secs_f64())))
            .collect();
        return print_json(&json!({
            "package": args.out, "name": manifest.name, "version": manifest.version, "images": images,
            "threshold": shortest(threshold.score), "requested_false_reject_rate": calibration.map(|it| it.requested_false_reject_rate),
            "supported_false_reject_rate": calibration.map(|it| it.supported_false_reject_rate), "beyond_data": calibration.map(|it| it.beyond_data),
            "warnings": taught.warnings, "stages": stages, "total_s": total.as_secs_f64(),
        }));
    }
    let total = total.as_secs_f64();
    let rows = [
        vec!["package".into(), args.out.display().to_string()],
        vec!["taught from".into(), format!("{images} good images in {total:.1} s")],
        vec!["threshold".into(), format!("{:.3}", threshold.score)],
        vec![
            "false rejects".into(),
            format!(
                "at most {} asked, {} supported by the images",
                percent(calibration.map_or(f64::NAN, |it| it.requested_false_reject_rate)),
                percent(calibration.map_or(f64::NAN, |it| it.supported_false_reject_rate))
            ),
        ],
        vec!["golden images".into(), format!("{} passed", manifest.golden.images.len())],
    ];
    print(&table(&["model", &manifest.name], rows))
}
