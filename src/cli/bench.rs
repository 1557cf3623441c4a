//! `takt bench`: how fast, on this machine, in one run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::bench_cameras::{self, CamerasArgs};
use super::bench_gpio::{self, GpioArgs};
use super::bench_offline::{self, OfflineArgs};
use super::bench_plc::{self, PlcArgs};
use super::bench_record::{self, RecordArgs};
use super::bench_station::{self, StationArgs};
use super::table::table;
use super::{EngineArgs, progress::Screen};
use super::{Exit, Format, activate, print, print_json};
use crate::evaluate::metrics::percentile;
use crate::model::package::Package;
use crate::teach::backbone::{BUILT_IN, Backbone};
use crate::teach::{Lesson, teach_images};
use crate::twin::{RenderedSet, parts};
use crate::vision::inspector::Inspector;
use crate::vision::ort::OrtEngine;
use crate::vision::preprocess::{Preprocessor, TensorValues};
use crate::vision::{Engine, EngineOptions, Image, Provider};

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Inspecting a decoded image against the bare ONNX session, turn by turn
    Vision(VisionArgs),
    /// How many frames of several cameras the engines judge, against bare sessions
    Cameras(CamerasArgs),
    /// What the station adds to the engine's time, on the wire, with a virtual line around it
    Station(StationArgs),
    /// From a decided verdict to a PLC of another make that can read it, beside that peer's own round trip
    Plc(PlcArgs),
    /// From a decided verdict to an output line that another reader of the GPIO chip sees changed, beside the ioctl's own time
    Gpio(GpioArgs),
    /// Weeks without a historian, as fast as the disk allows, then everything is sent at once
    Offline(OfflineArgs),
    /// What records cost beside bare SQLite, and whether a busy disk reaches the verdicts
    Record(RecordArgs),
}

#[derive(Debug, Args)]
struct VisionArgs {
    /// A model package; without one, a model is taught from rendered parts first
    #[arg(long, value_name = "PACKAGE")]
    model: Option<PathBuf>,
    /// How many times each is run
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    rounds: u32,
    /// Execution provider
    #[arg(long, value_enum, default_value_t = Provider::Cpu)]
    provider: Provider,
    /// Threads inside one inference; 0 means one per core
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Size of the decoded image that is inspected: a common camera's.
const CAMERA_PX: (u32, u32) = (640, 480);

/// Runs that are not counted: caches fill, clocks rise.
const WARM_UP: u32 = 20;

#[derive(Debug, Serialize)]
struct VisionBench {
    rounds: u32,
    threads: usize,
    provider: Provider,
    input_px: [u32; 2],
    image_px: [u32; 2],
    engine_us_p50: u64,
    engine_us_p99: u64,
    inspect_us_p50: u64,
    inspect_us_p99: u64,
    /// What inspecting costs over the bare session.
    ratio_p50: f64,
    /// The backbone alone, without the distances to good parts; only for models taught on the built-in one.
    backbone_us_p50: Option<u64>,
    /// The whole graph over its backbone.
    engine_to_backbone_ratio_p50: Option<f64>,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    match &args.command {
        BenchCommand::Vision(args) => run_vision(args),
        BenchCommand::Cameras(args) => bench_cameras::run(args),
        BenchCommand::Station(args) => bench_station::run(args),
        BenchCommand::Plc(args) => bench_plc::run(args),
        BenchCommand::Gpio(args) => bench_gpio::run(args),
        BenchCommand::Offline(args) => bench_offline::run(args),
        BenchCommand::Record(args) => bench_record::run(args),
    }
}

fn run_vision(args: &VisionArgs) -> anyhow::Result<Exit> {
    let bench = vision(args)?;
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&report(&bench))?,
    }
    Ok(Exit::Done)
}

fn vision(args: &VisionArgs) -> anyhow::Result<VisionBench> {
    let engine = EngineArgs {
        provider: args.provider,
        threads: args.threads,
    };
    let model = match &args.model {
        Some(model) => activate(model, engine)?,
        None => taught_from_rendered_parts()?.activate(EngineOptions::from(engine))?,
    };
    let manifest = model.package.manifest.clone();
    let Some(teaching) = manifest.provenance.teaching() else {
        anyhow::bail!(
            "failed to compare model {} with its backbone: it was imported; give one that takt taught",
            manifest.name
        );
    };
    let (width, height) = (manifest.input.width, manifest.input.height);
    let mut backbone = backbone_of(&teaching.backbone.sha256, engine.into())?;
    let mut inspector = Inspector::new(model);

    let image = camera_image()?;
    let input = Preprocessor::new(width, height).resize(&image)?.to_vec();
    let shape = [1, height as usize, width as usize, 3];
    let plane = [1, 3, height as usize, width as usize];
    let normalised: Vec<f32> = input.iter().map(|value| f32::from(*value) / 128.0 - 1.0).collect();

    let (mut engine_times, mut inspect_times, mut backbone_times) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + args.rounds {
        let times = [
            // The very session that inspects: a second one differs by the luck of where its memory lies, by more than what is measured.
            timed(|| inspector.engine().run(&shape, TensorValues::U8(&input)))?,
            timed(|| inspector.inspect(&image))?,
            backbone
                .as_mut()
                .map(|backbone| timed(|| backbone.run(&plane, TensorValues::F32(&normalised))))
                .transpose()?
                .unwrap_or_default(),
        ];
        if round >= WARM_UP {
            engine_times.push(times[0]);
            inspect_times.push(times[1]);
            backbone_times.push(times[2]);
        }
    }
    let at = |times: &[Duration], percent| percentile(times, percent).unwrap_or_default();
    let micros = |times: &[Duration], percent| at(times, percent).as_micros() as u64;
    let ratio = |over: &[Duration], under: &[Duration]| at(over, 50.0).as_secs_f64() / at(under, 50.0).as_secs_f64();
    Ok(VisionBench {
        rounds: args.rounds,
        threads: args.threads,
        provider: args.provider,
        input_px: [width, height],
        image_px: [CAMERA_PX.0, CAMERA_PX.1],
        engine_us_p50: micros(&engine_times, 50.0),
        engine_us_p99: micros(&engine_times, 99.0),
        inspect_us_p50: micros(&inspect_times, 50.0),
        inspect_us_p99: micros(&inspect_times, 99.0),
        ratio_p50: ratio(&inspect_times, &engine_times),
        backbone_us_p50: backbone.is_some().then(|| micros(&backbone_times, 50.0)),
        engine_to_backbone_ratio_p50: backbone.is_some().then(|| ratio(&engine_times, &backbone_times)),
    })
}

fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

/// The built-in backbone, if that is what the model was taught on.
fn backbone_of(sha256: &str, engine: EngineOptions) -> anyhow::Result<Option<OrtEngine>> {
    let backbone = Backbone::open(BUILT_IN)?;
    if backbone.sha256 != sha256 {
        return Ok(None);
    }
    Ok(Some(OrtEngine::from_bytes("the bare backbone", &backbone.bytes, engine)?))
}

/// Good rendered parts at the default size: enough for a full memory bank.
pub(super) fn taught_from_rendered_parts() -> anyhow::Result<Package> {
    let screen = Screen::new();
    let lesson = Lesson::default();
    let mut preprocessor = Preprocessor::new(lesson.width, lesson.height);
    let set = RenderedSet::default();
    let good = (0..u64::from(set.train_good)).map(|index| (PathBuf::from(index.to_string()), parts::render(set.seed, index, None).image));
    let images: Result<Vec<_>, _> = good
        .map(|(name, image)| preprocessor.resize(&image).map(|pixels| (name, pixels.to_vec())))
        .collect();
    let taught = teach_images(&lesson, images?, &screen)?;
    screen.finish();
    Ok(taught.package)
}

/// A rendered part at the camera's size.
fn camera_image() -> anyhow::Result<Image> {
    let (width, height) = CAMERA_PX;
    let part = parts::render(1, 0, None).image;
    Ok(Image {
        width,
        height,
        rgb: Preprocessor::new(width, height).resize(&part)?.to_vec(),
    })
}

fn report(bench: &VisionBench) -> String {
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
    let mut rows = vec![
        vec![
            "bare ONNX session".into(),
            ms(bench.engine_us_p50),
            ms(bench.engine_us_p99),
            String::new(),
        ],
        vec![
            "inspect".into(),
            ms(bench.inspect_us_p50),
            ms(bench.inspect_us_p99),
            format!("{:.3} of the bare session", bench.ratio_p50),
        ],
    ];
    if let (Some(us), Some(ratio)) = (bench.backbone_us_p50, bench.engine_to_backbone_ratio_p50) {
        rows.push(vec![
            "bare backbone".into(),
            ms(us),
            String::new(),
            format!("the session takes {ratio:.2} of it"),
        ]);
    }
    table(&["", "p50", "p99", ""], rows)
}
