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
use crate::model::manifest::Variation;
use crate::model::package;
use crate::teach::backbone::BUILT_IN;
use crate::teach::cost::{Cheapest, Costs};
use crate::teach::detector::Method;
use crate::teach::extend::Base;
use crate::teach::patchcore::PatchCoreOptions;
use crate::teach::search::{Bounds, Found, Tried, Way, Yardstick, search};
use crate::teach::threshold::KnownDefects;
use crate::teach::{Lesson, Taught, TeachError, extend, teach};
use crate::vision::inspector::Inspector;
use crate::vision::tiling::Tiles;
use crate::vision::{EngineOptions, Provider};

/// Size images are brought to unless told otherwise, pixels.
const SIZE: (u32, u32) = (256, 256);

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
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
    /// Package that takt taught before: it is taught the new good parts as well, in its own way; the new package goes to --out
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["auto", "size", "tile", "method", "neighbours", "own_level", "own_contrast", "augment", "seed"])]
    extend: Option<PathBuf>,
    /// Backbone: a built-in name or an ONNX file with its manifest beside it
    #[arg(long, default_value = BUILT_IN, value_name = "NAME|FILE")]
    backbone: String,
    /// Size images are brought to [default: that of --tile, else 256x256]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(u32, u32)>,
    /// Cut pictures into tiles of so many of their pixels, each of which is brought to --size
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    tile: Option<(u32, u32)>,
    /// Pixels that neighbouring tiles have in common, at least [default: a quarter of a tile's shorter side]
    #[arg(long, value_name = "PX", requires = "tile")]
    overlap: Option<u32>,
    /// Share of good parts that may be rejected [default: 0.01, or that of the package of --extend]
    #[arg(long, value_name = "R")]
    false_reject_rate: Option<f64>,
    /// Folder of known defects, or of one folder per kind: the threshold is then the one at which a part costs least
    #[arg(long, value_name = "DIR", requires_all = ["cost_escape", "cost_false_reject"], conflicts_with = "false_reject_rate")]
    defects: Option<PathBuf>,
    /// What a defect that passes costs, in any unit
    #[arg(long, requires = "defects", value_name = "C")]
    cost_escape: Option<f64>,
    /// What a good part that is rejected costs, in the same unit
    #[arg(long, requires = "defects", value_name = "C")]
    cost_false_reject: Option<f64>,
    /// Share of the parts that are defective
    #[arg(long, default_value_t = 0.01, value_name = "R")]
    defect_rate: f64,
    /// Refuse what would otherwise be a warning
    #[arg(long)]
    strict: bool,
    /// Name of the model [default: the package's folder name, or that of the package of --extend]
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Version of the model [default: 1, or the number after that of the package of --extend]
    #[arg(long, value_name = "V", action = ArgAction::Set)]
    version: Option<String>,
    /// How to teach
    #[arg(long, value_enum, default_value_t = Method::default())]
    method: Method,
    /// Patches the memory bank keeps at most (patchcore, relative) [default: 1536, or that of the package of --extend]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    bank: Option<usize>,
    /// Nearest bank patches whose distances are averaged (patchcore)
    #[arg(long, default_value_t = PatchCoreOptions::default().neighbours, value_name = "N", value_parser = parse_count)]
    neighbours: usize,
    /// Share of a part's own calm level that is taken off, 0 to 1 (relative)
    #[arg(long, default_value_t = PatchCoreOptions::default().own_level, value_name = "S", value_parser = parse_share)]
    own_level: f32,
    /// Bring each picture (or tile) to one light and contrast first; for parts that differ in both
    #[arg(long)]
    own_contrast: bool,
    /// Vary good pictures a little for fitting, in light, pose or both: three varied copies of each. For few pictures
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WAYS")]
    augment: Vec<Variation>,
    /// Seed of everything random; the same seed and images give the same model
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Find the size, tiles, method and bank that see most within --budget-ms on this machine. Accuracy is taken from --test, and without it from
    /// held-out good parts and defects drawn onto them
    #[arg(long, requires = "budget_ms", conflicts_with_all = ["size", "tile", "method", "bank", "own_level", "own_contrast", "augment"])]
    auto: bool,
    /// Time for one picture, from decoded pixels to the verdict, milliseconds
    #[arg(long, requires = "auto", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    budget_ms: Option<u64>,
    /// Minutes after which --auto takes the best found so far; one way at least is judged
    #[arg(long, requires = "auto", default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    auto_minutes: u64,
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

fn parse_share(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "give a number from 0 to 1".into())
}

impl TeachArgs {
    fn lesson(&self) -> Lesson {
        let tiles = self.tile.map(|(width, height)| {
            let tiles = Tiles::of(width, height);
            Tiles {
                overlap_px: self.overlap.unwrap_or(tiles.overlap_px),
                ..tiles
            }
        });
        let (width, height) = self.size.or(self.tile).unwrap_or(SIZE);
        let folder = self.out.file_name().map(|name| name.to_string_lossy().into_owned());
        Lesson {
            good: self.good.clone(),
            backbone: self.backbone.clone(),
            width,
            height,
            tiles,
            own_contrast: self.own_contrast,
            augment: self.augment.clone(),
            false_reject_rate: self.false_reject_rate.unwrap_or(Lesson::default().false_reject_rate),
            known: self.known(),
            strict: self.strict,
            method: self.method,
            settings: PatchCoreOptions {
                bank: self.bank.unwrap_or(PatchCoreOptions::default().bank),
                neighbours: self.neighbours,
                seed: self.seed,
                own_level: self.own_level,
            },
            name: self.name.clone().or(folder).unwrap_or_else(|| "model".into()),
            version: self.version.clone().unwrap_or_else(|| "1".into()),
            engine: EngineOptions {
                provider: Provider::Cpu,
                threads: self.threads,
            },
        }
    }
}

impl TeachArgs {
    /// The package to extend, and what is to be taught to it.
    fn extension(&self) -> anyhow::Result<Option<(Base, Lesson)>> {
        let Some(path) = &self.extend else {
            return Ok(None);
        };
        let base = Base::open(path, &self.backbone)?;
        let lesson = base.lesson(&self.lesson(), self.bank);
        // The promise is not used where costs decide.
        let promised = if self.known().is_some() {
            Ok(lesson.false_reject_rate)
        } else {
            base.false_reject_rate()
        };
        let lesson = Lesson {
            false_reject_rate: self.false_reject_rate.map_or(promised, Ok)?,
            name: self.name.clone().unwrap_or_else(|| base.name().to_owned()),
            version: self.version.clone().map_or_else(|| base.next_version(), Ok)?,
            ..lesson
        };
        Ok(Some((base, lesson)))
    }

    fn known(&self) -> Option<KnownDefects> {
        Some(KnownDefects {
            folder: self.defects.clone()?,
            costs: Costs {
                escape: self.cost_escape?,
                false_reject: self.cost_false_reject?,
                defect_rate: self.defect_rate,
            },
        })
    }

    /// What the search found, where one was asked for.
    fn search(&self, screen: &Screen) -> anyhow::Result<Option<Found>> {
        let Some(budget_ms) = self.budget_ms.filter(|_| self.auto) else {
            return Ok(None);
        };
        let bounds = Bounds {
            budget: Duration::from_millis(budget_ms),
            search: Duration::from_mins(self.auto_minutes),
        };
        Ok(Some(search(&self.lesson(), self.test.as_deref(), bounds, screen)?))
    }
}

/// A way to teach in words: method, size, tiles, bank, own level.
fn words(way: &Way) -> [String; 6] {
    let (width, height) = way.size;
    let has_bank = way.method != Method::Padim;
    let own = (way.method == Method::Relative).then(|| way.settings.own_level.to_string());
    [
        way.method.name().to_owned(),
        format!("{width}x{height}"),
        way.tiles
            .map_or_else(|| "-".into(), |tiles| format!("{}x{}", tiles.width, tiles.height)),
        if has_bank { way.settings.bank.to_string() } else { "-".into() },
        own.unwrap_or_else(|| "-".into()),
        if way.own_contrast { "own".into() } else { "-".into() },
    ]
}

fn search_table(found: &Found) -> String {
    let row = |(index, tried): (usize, &Tried)| {
        let figures = tried.accuracy.as_ref().map_or_else(
            || ["-".into(), "-".into(), "-".into()],
            |accuracy| {
                [
                    format!("{:.3}", accuracy.mean_auroc),
                    format!("{:.3}", accuracy.image_auroc),
                    format!("{:.3} {}", accuracy.weakest_auroc, accuracy.weakest),
                ]
            },
        );
        let mark = match &tried.accuracy {
            _ if index == found.best => "taken",
            Some(_) => "",
            None if tried.latency > found.budget => "too slow",
            None => "no time left",
        };
        let latency = format!("{:.1}", tried.latency.as_secs_f64() * 1e3);
        words(&tried.way)
            .into_iter()
            .chain(figures)
            .chain([latency, mark.into()])
            .collect::<Vec<_>>()
    };
    let header = [
        "method",
        "size",
        "tiles",
        "bank",
        "own",
        "contrast",
        "mean AUROC",
        "AUROC",
        "weakest",
        "ms",
        "",
    ];
    let left = match found.left {
        0 => String::new(),
        left => format!("The time of --auto-minutes was over before {left} more way(s) were judged.\n"),
    };
    format!(
        "{}{left}{}\n\n",
        table(&header, found.tried.iter().enumerate().map(row)),
        basis(found.yardstick)
    )
}

fn cost_json(found: Cheapest) -> serde_json::Value {
    json!({
        "threshold": shortest(found.threshold), "threshold_interval": found.threshold_interval.map(shortest), "expected_cost": found.cost,
        "expected_cost_interval": found.cost_interval, "false_reject_rate": found.false_reject_rate, "escape_rate": found.escape_rate,
    })
}

/// What the figures of a search rest on, and how far they go.
fn basis(yardstick: Yardstick) -> &'static str {
    match yardstick {
        Yardstick::Test => {
            "Judged on the pictures of --test. The best of many flatters itself: judge the model once more on parts that it was not chosen by."
        }
        Yardstick::DrawnDefects => {
            "Judged on good parts that were not taught and on defects drawn onto them: good for comparing, no forecast of what real defects do. Give --test where real ones are at hand."
        }
    }
}

fn search_json(found: &Found) -> serde_json::Value {
    let tried = |tried: &Tried| {
        let [method, size, tiles, bank, own_level, _] = words(&tried.way);
        json!({
            "method": method, "size": size, "tiles": tiles, "bank": bank, "own_level": own_level, "own_contrast": tried.way.own_contrast, "accuracy": tried.accuracy,
            "latency_us": u64::try_from(tried.latency.as_micros()).unwrap_or(u64::MAX),
        })
    };
    let all: Vec<serde_json::Value> = found.tried.iter().map(tried).collect();
    json!({"tried": all, "taken": found.best, "judged_on": found.yardstick, "not_judged_in_time": found.left})
}

pub(super) fn run(args: &TeachArgs) -> anyhow::Result<Exit> {
    // Everything that can be refused early is, before minutes are spent.
    package::check_place(&args.out, args.overwrite)?;
    if let Some(test) = &args.test {
        crate::teach::dataset::test_images(test)?;
    }
    let extension = args.extension()?;
    let screen = Screen::new();
    let started = Instant::now();
    let found = args.search(&screen)?;
    screen.finish();
    if let Some(found) = found.as_ref().filter(|_| args.format == Format::Table) {
        print(&search_table(found))?;
    }
    let taught = match &extension {
        Some((base, lesson)) => extend(base, lesson, &screen)?,
        None => teach(
            &found.as_ref().map_or_else(|| args.lesson(), |found| found.lesson(&args.lesson())),
            &screen,
        )?,
    };
    let total = started.elapsed();
    screen.finish();
    taught.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let evaluation = args.test.as_deref().map(|test| try_on(test, &taught, args, &screen)).transpose()?;
    package::write(&args.out, &taught.package.manifest, &taught.package.files, args.overwrite)?;
    report(args, &taught, found.as_ref(), total)?;
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

fn report(args: &TeachArgs, taught: &Taught, found: Option<&Found>, total: Duration) -> anyhow::Result<()> {
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
            "warnings": taught.warnings, "stages": stages, "total_s": total.as_secs_f64(), "search": found.map(search_json), "cost": taught.cheapest.map(cost_json),
        }));
    }
    let total = total.as_secs_f64();
    let interval = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
    let by_cost = taught.cheapest.map(|it| {
        let costs = format!(
            "{:.4} per part expected ({}), threshold {}",
            it.cost,
            interval(it.cost_interval),
            interval(it.threshold_interval.map(f64::from))
        );
        let rates = format!(
            "{} of the held-out good parts, {} of the known defects pass",
            percent(it.false_reject_rate),
            percent(it.escape_rate)
        );
        [vec!["cost".into(), costs], vec!["mistakes".into(), rates]]
    });
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
    print(&table(
        &["model", &manifest.name],
        rows.into_iter().chain(by_cost.into_iter().flatten()),
    ))
}
