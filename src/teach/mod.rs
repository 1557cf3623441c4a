//! Good images become a model package.
//!
//! | file | what it does |
//! |---|---|
//! | `dataset.rs` | which images, with which labels |
//! | `parts.rs` | ... read, and cut into tiles |
//! | `backbone.rs`, `features.rs` | images become patch embeddings |
//! | `spatial.rs` | averaging, interpolation and blur as matrices; pure |
//! | `coreset.rs`, `patchcore.rs`, `padim.rs`, `relative.rs`, `detector.rs` | the methods and their reference scorers; pure |
//! | `calibration.rs`, `cost.rs` | the threshold and what it promises, or costs; pure |
//! | `threshold.rs` | ... from held-out good parts, or with known defects |
//! | `graph.rs` | the fitted method as one ONNX graph; pure |
//! | `golden.rs` | the images that prove the graph wherever it runs |
//! | `search.rs`, `synthetic.rs` | which way to teach sees most within a time budget; defects to try that on |
//! | `mod.rs` | the lesson: all of it in order |

pub mod backbone;
pub mod calibration;
pub mod coreset;
pub mod cost;
pub mod dataset;
pub mod detector;
pub mod features;
pub mod golden;
pub mod graph;
pub mod padim;
pub mod parts;
pub mod patchcore;
pub mod progress;
pub mod relative;
pub mod search;
pub mod spatial;
pub mod synthetic;
pub mod threshold;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use prost::Message;
use rayon::prelude::*;

use crate::model::manifest::{
    self, BackboneSpec, FORMAT_VERSION, Fit, Golden, InputSpec, Kind, Manifest, MethodSpec, Normalisation, OutputSpec, Provenance,
    Teaching, ThresholdSpec, sha256_hex,
};
use crate::model::package::{MODEL, Package, PackageError};
use crate::vision::decode::DecodeError;
use crate::vision::findings::ANOMALY;
use crate::vision::ort::load as load_runtime;
use crate::vision::preprocess::{Colour, Element, Filter, Layout};
use crate::vision::tiling::{Tiles, TooManyTiles};
use crate::vision::{AnomalyMap, EngineError, EngineOptions};
use backbone::{Backbone, BackboneError};
use calibration::{CalibrationError, check_rate};
use cost::Cheapest;
use dataset::DatasetError;
use detector::{Detector, Method, Scores};
use features::{Embeddings, FeatureExtractor, Grid};
use parts::GoodParts;
use patchcore::{PatchCore, PatchCoreOptions};
use progress::{Progress, Stage};
use threshold::KnownDefects;

/// Folds of the good images: each is scored by a model that has not seen its fold.
pub const FOLDS: usize = 5;

/// Fewest good images: one per fold.
pub const IMAGES_MIN: usize = FOLDS;

/// Most patches that are held in memory at once (at 152 values each, 0.9 GiB). More images than that are thinned out evenly.
pub const PATCHES_MAX: usize = 1_500_000;

/// Shortest and longest side of the model's input, pixels.
pub const SIDE_PX: std::ops::RangeInclusive<u32> = 64..=1024;

/// What to teach and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Folder of good images.
    pub good: PathBuf,
    /// Built-in backbone's name, or an ONNX file.
    pub backbone: String,
    /// Width of the model's input, pixels.
    pub width: u32,
    /// Height of the model's input, pixels.
    pub height: u32,
    /// How pictures are cut, each tile then brought to the input's size; whole without.
    pub tiles: Option<Tiles>,
    /// Bring each image to one light and contrast first.
    pub own_contrast: bool,
    /// Share of good parts that may be rejected.
    pub false_reject_rate: f64,
    /// Known defects that the threshold is chosen by; from good parts alone without.
    pub known: Option<KnownDefects>,
    /// Refuse what would otherwise be a warning.
    pub strict: bool,
    /// The method.
    pub method: Method,
    /// Its settings.
    pub settings: PatchCoreOptions,
    /// Name of the model.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// Where the backbone runs.
    pub engine: EngineOptions,
}

/// What came out of a lesson.
#[derive(Debug, Clone)]
pub struct Taught {
    /// The package, proven by its golden gate, not yet written.
    pub package: Package,
    /// The reference scorer behind it.
    pub detector: Detector,
    /// Where its patches lie.
    pub grid: Grid,
    /// Time spent in each stage.
    pub stages: Vec<(Stage, Duration)>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The threshold of lowest cost, where defects are known.
    pub cheapest: Option<Cheapest>,
}

/// Why teaching failed.
#[derive(Debug, thiserror::Error)]
pub enum TeachError {
    /// A folder cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The backbone cannot be used.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// An image cannot be used.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An image cannot be resized.
    #[error(transparent)]
    Preprocess(#[from] crate::vision::preprocess::PreprocessError),
    /// No way to teach is fast enough.
    #[error(
        "failed to find a way to teach within {} ms: the fastest takes {:.1} ms on this machine; allow more by --budget-ms, or more --threads",
        budget.as_millis(), fastest.as_secs_f64() * 1e3
    )]
    Budget {
        /// The time allowed.
        budget: Duration,
        /// What the fastest way takes.
        fastest: Duration,
    },
    /// A picture cannot be judged by a model that is tried.
    #[error(transparent)]
    Inspect(crate::vision::inspector::InspectError),
    /// Images of that size cannot be made.
    #[error("failed to prepare images to teach from: {0}")]
    Tensor(String),
    /// Tiles that do not suit the method, or are none.
    #[error("failed to teach in tiles: {0}")]
    Tiles(String),
    /// An image is too large for its tiles.
    #[error(transparent)]
    TooManyTiles(#[from] TooManyTiles),
    /// The runtime failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The scores do not give a threshold.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// Known defects do not give a threshold.
    #[error(transparent)]
    Cost(#[from] cost::CostError),
    /// The graph cannot be built.
    #[error(transparent)]
    Graph(#[from] graph::NameTaken),
    /// The package cannot be written or did not pass its own gate.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The image size does not suit the backbone.
    #[error("failed to teach at {width}x{height} px: both sides must be multiples of {multiple} from {} to {}", SIDE_PX.start(), SIDE_PX.end())]
    Size {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
        /// What the backbone needs.
        multiple: u32,
    },
    /// Too few images.
    #[error(
        "failed to teach from {folder}: it holds {found} different image(s); at least {needed} are needed, 20 or more give a useful model, 100 a threshold for 1 % false rejects"
    )]
    TooFewImages {
        /// The folder of good images.
        folder: PathBuf,
        /// Images that can be used.
        found: usize,
        /// Images needed.
        needed: usize,
    },
    /// The backbone's outputs are not what its manifest states.
    #[error("failed to use backbone {backbone}: output \"{output}\" has shape {got:?}, its manifest leads to {expected:?}")]
    FeatureShape {
        /// The backbone.
        backbone: String,
        /// The output.
        output: String,
        /// The shape expected.
        expected: Vec<usize>,
        /// The shape that came; empty if the output is missing.
        got: Vec<usize>,
    },
    /// The backbone gave numbers that are none.
    #[error("failed to use backbone {0}: it gave values that are no finite numbers for some good images")]
    NotFinite(String),
    /// A warning under `--strict`.
    #[error("failed to teach under --strict: {0}")]
    Strict(String),
    /// A golden image cannot be encoded.
    #[error("failed to encode a golden image: {0}")]
    Golden(#[from] image::ImageError),
    /// The user stopped it.
    #[error("stopped; nothing was written")]
    Stopped,
}

/// Measures stages as they follow each other.
struct Watch<'a> {
    progress: &'a dyn Progress,
    stages: Vec<(Stage, Duration)>,
    started: Instant,
}

impl<'a> Watch<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            stages: Vec::new(),
            started: Instant::now(),
        }
    }

    fn begin(&mut self, stage: Stage, steps: usize) {
        self.end();
        self.stages.push((stage, Duration::ZERO));
        self.progress.begin(stage, steps);
    }

    fn end(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.stages.last_mut() {
            last.1 = now - self.started;
        }
        self.started = now;
    }
}

impl Default for Lesson {
    /// The defaults of the command line; the folder of good images is empty.
    fn default() -> Self {
        Self {
            good: PathBuf::new(),
            backbone: backbone::BUILT_IN.into(),
            width: 256,
            height: 256,
            tiles: None,
            own_contrast: false,
            false_reject_rate: 0.01,
            known: None,
            strict: false,
            method: Method::default(),
            settings: PatchCoreOptions::default(),
            name: "model".into(),
            version: "1".into(),
            engine: EngineOptions::default(),
        }
    }
}

/// A good image at the model's input size, RGB, and the file it came from.
pub type GoodImage = (PathBuf, Vec<u8>);

/// Teaches a model from a folder of good images and proves it. Nothing is written.
///
/// # Errors
/// When an input cannot be used, the runtime fails, the model does not pass its own gate, or the user stops it.
pub fn teach(lesson: &Lesson, progress: &dyn Progress) -> Result<Taught, TeachError> {
    let backbone = checked_backbone(lesson)?;
    let started = Instant::now();
    let paths = dataset::good_images(&lesson.good)?;
    let grid = Grid::new(&backbone, lesson.width as usize, lesson.height as usize);
    let (paths, thinned) = parts::thinned(paths, lesson, &grid);
    progress.begin(Stage::Decode, paths.len());
    let good = parts::read(paths, lesson, progress)?;
    let decoded = started.elapsed();
    let mut taught = teach_parts(lesson, good, progress)?;
    taught.stages.insert(0, (Stage::Decode, decoded));
    taught.warnings.extend(thinned);
    refuse_warnings(lesson, &taught)?;
    Ok(taught)
}

/// Teaches a model from good images that are at the model's input size already; tiles are not cut.
///
/// # Errors
/// As [`teach`].
pub fn teach_images(lesson: &Lesson, images: Vec<GoodImage>, progress: &dyn Progress) -> Result<Taught, TeachError> {
    let lesson = Lesson {
        tiles: None,
        ..lesson.clone()
    };
    teach_parts(&lesson, parts::whole(images), progress)
}

fn teach_parts(lesson: &Lesson, parts: GoodParts, progress: &dyn Progress) -> Result<Taught, TeachError> {
    let backbone = checked_backbone(lesson)?;
    let mut watch = Watch::new(progress);
    let (parts, copies) = parts::without_copies(parts);
    let mut warnings: Vec<String> = copies.into_iter().collect();
    if parts.count() < IMAGES_MIN {
        return Err(TeachError::TooFewImages {
            folder: lesson.good.clone(),
            found: parts.count(),
            needed: IMAGES_MIN,
        });
    }

    watch.begin(Stage::Features, parts.images.len());
    let mut extractor = FeatureExtractor::new(&backbone, lesson.width as usize, lesson.height as usize, lesson.engine)?
        .with_own_contrast(lesson.own_contrast);
    let good = extractor.embed(&parts.images, progress)?;
    if !good.values.par_iter().all(|value| value.is_finite()) {
        return Err(TeachError::NotFinite(backbone.manifest.name));
    }

    watch.begin(Stage::Fit, 1);
    let detector = lesson.method.fit(&good, lesson.settings);
    progress.advance(1);

    watch.begin(Stage::Calibration, parts.images.len());
    let held_out = cross_validate(&parts, &good, extractor.grid(), lesson, progress)?;
    let (promised, too_few) = threshold::by_promise(&held_out, lesson)?;
    let (threshold, cheapest) = match &lesson.known {
        None => {
            warnings.extend(too_few);
            (promised, None)
        }
        // The promise is not used, so it need not be kept.
        Some(known) => {
            let (spec, cheapest) = threshold::by_cost(&promised, &held_out, known, lesson, &detector, &mut extractor, progress)?;
            (spec, Some(cheapest))
        }
    };
    warnings.extend(threshold::suspicious(&parts.paths, &held_out));

    watch.begin(Stage::Gate, 1);
    let model = graph::emit(&backbone, extractor.grid(), &detector)?;
    let samples = golden::choose(&parts, lesson, &held_out, &detector, &mut extractor, &threshold)?;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::from([(MODEL.to_owned(), model.encode_to_vec())]);
    let golden = Golden {
        tolerance: golden::tolerances(),
        images: samples.iter().map(|sample| sample.expected.clone()).collect(),
    };
    files.extend(samples.into_iter().map(|sample| (sample.expected.file, sample.png)));
    let manifest = manifest(lesson, &backbone, &parts, threshold, golden, &detector);
    let package = Package {
        path: PathBuf::from(&lesson.name),
        manifest,
        files,
        sealed: None,
    };
    package.clone().activate(lesson.engine)?;
    progress.advance(1);
    progress.check()?;
    watch.end();
    let taught = Taught {
        package,
        detector,
        grid: extractor.grid().clone(),
        stages: watch.stages,
        warnings,
        cheapest,
    };
    refuse_warnings(lesson, &taught)?;
    Ok(taught)
}

fn refuse_warnings(lesson: &Lesson, taught: &Taught) -> Result<(), TeachError> {
    match taught.warnings.first().filter(|_| lesson.strict) {
        Some(warning) => Err(TeachError::Strict(warning.clone())),
        None => Ok(()),
    }
}

/// Refuses what cannot succeed before any time is spent on it, and gives the backbone.
fn checked_backbone(lesson: &Lesson) -> Result<Backbone, TeachError> {
    check_rate(lesson.false_reject_rate)?;
    let backbone = Backbone::open(&lesson.backbone)?;
    let multiple = backbone.manifest.size_multiple;
    let fits = |side: u32| SIDE_PX.contains(&side) && side.is_multiple_of(multiple);
    if !(fits(lesson.width) && fits(lesson.height)) {
        return Err(TeachError::Size {
            width: lesson.width,
            height: lesson.height,
            multiple,
        });
    }
    if let Some(tiles) = lesson.tiles {
        tiles.check().map_err(|reason| TeachError::Tiles(format!("tiles {reason}")))?;
        if lesson.method == Method::Padim {
            return Err(TeachError::Tiles(
                "padim holds one Gaussian per position, and tiles have none of their own; use another --method".into(),
            ));
        }
    }
    load_runtime()?;
    Ok(backbone)
}

/// What a part scored, over all its tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartScore {
    /// The part's score.
    pub image: f32,
    /// The peak of its map.
    pub peak: f32,
}

/// Scores parts: each is as anomalous as its worst tile.
fn score_parts(
    detector: &Detector,
    tiles: &[usize],
    embeddings: &Embeddings,
    grid: &Grid,
    progress: &dyn Progress,
) -> Result<Vec<PartScore>, TeachError> {
    let (vertical, horizontal) = graph::map_axes(grid);
    let scores = detector.score_all(embeddings, progress)?;
    let peaks: Vec<f32> = scores
        .par_iter()
        .map(|scores| highest(&spatial::apply(&vertical, &horizontal, &scores.patches)))
        .collect();
    let mut first = 0;
    let part = |count: &usize| {
        let of_part = first..first + count;
        first += count;
        let images: Vec<f32> = scores[of_part.clone()].iter().map(|scores| scores.image).collect();
        PartScore {
            image: highest(&images),
            peak: highest(&peaks[of_part]),
        }
    };
    Ok(tiles.iter().map(part).collect())
}

fn highest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Scores every good part by a model fitted without its fold. Every fold takes each fifth file name, so that all of them span the whole production.
fn cross_validate(
    parts: &GoodParts,
    good: &Embeddings,
    grid: &Grid,
    lesson: &Lesson,
    progress: &dyn Progress,
) -> Result<Vec<PartScore>, TeachError> {
    let count = parts.count();
    let mut scores: Vec<Option<PartScore>> = vec![None; count];
    for fold in 0..FOLDS {
        progress.check()?;
        let (held_out, rest): (Vec<usize>, Vec<usize>) = (0..count).partition(|index| index % FOLDS == fold);
        let detector = lesson.method.fit(&parts.subset(good, &rest), lesson.settings);
        let tiles: Vec<usize> = held_out.iter().map(|part| parts.tiles[*part].len()).collect();
        let fold_scores = score_parts(&detector, &tiles, &parts.subset(good, &held_out), grid, progress)?;
        held_out
            .into_iter()
            .zip(fold_scores)
            .for_each(|(index, fold_score)| scores[index] = Some(fold_score));
    }
    Ok(scores.into_iter().flatten().collect())
}

fn manifest(
    lesson: &Lesson,
    backbone: &Backbone,
    parts: &GoodParts,
    threshold: ThresholdSpec,
    golden: Golden,
    detector: &Detector,
) -> Manifest {
    let unix_ns = manifest::unix_ns();
    let bank = match detector {
        Detector::PatchCore(patchcore) => Some(patchcore),
        Detector::Relative(relative) => Some(&relative.as_is.bank),
        Detector::Padim(_) => None,
    };
    Manifest {
        format_version: FORMAT_VERSION,
        name: lesson.name.clone(),
        version: lesson.version.clone(),
        kind: Kind::Anomaly,
        licence: backbone.manifest.licence.clone(),
        classes: vec![ANOMALY.into()],
        ok_classes: Vec::new(),
        input: InputSpec {
            name: graph::PIXELS.into(),
            layout: Layout::Nhwc,
            dtype: Element::U8,
            colour: Colour::Rgb,
            width: lesson.width,
            height: lesson.height,
            batch: 1,
            normalisation: Normalisation::InModel,
            scale: None,
            offset: None,
            fit: Fit::Stretch,
            fill: manifest::BAR_LEVEL,
            filter: Filter::Bilinear,
            tiles: lesson.tiles,
        },
        outputs: OutputSpec::Anomaly {
            anomaly_map: Some(graph::ANOMALY_MAP.into()),
            pred_score: graph::PRED_SCORE.into(),
        },
        threshold,
        provenance: Provenance::Taught(Box::new(Teaching {
            taught_by: manifest::somebody(),
            taught_unix_ns: unix_ns,
            taught_from: lesson.good.display().to_string(),
            images: parts.count(),
            images_sha256: sha256_hex(parts.images.iter().map(|pixels| sha256_hex(pixels)).collect::<String>().as_bytes()),
            takt_version: env!("CARGO_PKG_VERSION").into(),
            method: MethodSpec {
                name: lesson.method.name().into(),
                bank: bank.map(PatchCore::bank_size),
                neighbours: bank.map(|bank| bank.neighbours),
                own_level: matches!(detector, Detector::Relative(_)).then_some(lesson.settings.own_level),
                own_contrast: lesson.own_contrast,
                seed: lesson.settings.seed,
            },
            backbone: BackboneSpec {
                name: backbone.manifest.name.clone(),
                sha256: backbone.sha256.clone(),
                licence: backbone.manifest.licence.clone(),
                provenance: backbone.manifest.provenance.clone(),
            },
        })),
        quantisation: None,
        files: BTreeMap::new(),
        golden,
    }
}

/// The anomaly map that the reference scorer gives, at the model's input size.
pub fn reference_map(grid: &Grid, scores: &Scores) -> AnomalyMap {
    let (vertical, horizontal) = graph::map_axes(grid);
    AnomalyMap {
        width: grid.width,
        height: grid.height,
        scores: spatial::apply(&vertical, &horizontal, &scores.patches),
    }
}
