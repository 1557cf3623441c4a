//! Good images become a model package.
//!
//! | file | what it does |
//! |---|---|
//! | `dataset.rs` | which images, with which labels |
//! | `parts.rs` | ... read, and cut into tiles |
//! | `backbone.rs`, `features.rs` | images become patch embeddings |
//! | `augment.rs` | pictures varied in light and pose, for fitting alone; pure |
//! | `spatial.rs` | averaging, interpolation and blur as matrices; pure |
//! | `coreset.rs`, `patchcore.rs`, `padim.rs`, `relative.rs`, `detector.rs` | the methods and their reference scorers; pure |
//! | `calibration.rs`, `cost.rs` | the threshold and what it promises, or costs; pure |
//! | `threshold.rs` | ... from held-out good parts, or with known defects |
//! | `graph.rs` | the fitted method as one ONNX graph; pure |
//! | `record.rs`, `recover.rs`, `extend.rs` | what a package keeps of its lesson, what its graph holds, and how more good parts are added to it |
//! | `describe.rs`, `error.rs` | what a package says of itself, and why there is none |
//! | `golden.rs` | the images that prove the graph wherever it runs |
//! | `search.rs`, `synthetic.rs` | which way to teach sees most within a time budget; defects to try that on |
//! | `mod.rs` | the lesson: all of it in order |

pub mod augment;
pub mod backbone;
pub mod calibration;
pub mod coreset;
pub mod cost;
pub mod dataset;
mod describe;
pub mod detector;
mod error;
pub mod extend;
pub mod features;
pub mod golden;
pub mod graph;
pub mod padim;
pub mod parts;
pub mod patchcore;
pub mod progress;
pub mod record;
pub mod recover;
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

use crate::model::manifest::{Golden, Variation};
use crate::model::package::{MODEL, Package, RECORD};
use crate::vision::ort::load as load_runtime;
use crate::vision::tiling::Tiles;
use crate::vision::{AnomalyMap, EngineOptions};
use backbone::Backbone;
use calibration::check_rate;
use cost::Cheapest;
use detector::{Detector, Method, Scores};
pub use error::TeachError;
use extend::Base;
use features::{Embeddings, FeatureExtractor, Grid};
use parts::GoodParts;
use patchcore::PatchCoreOptions;
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
    /// How good images are varied for fitting; not at all if empty.
    pub augment: Vec<Variation>,
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
            augment: Vec::new(),
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

impl Lesson {
    /// How many images of each picture the method is fitted to.
    pub(crate) fn views(&self) -> usize {
        if self.augment.is_empty() { 1 } else { 1 + augment::COPIES }
    }

    /// Varied copies of images, those of the first one first.
    fn varied(&self, images: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let copies = |(index, image): (usize, &Vec<u8>)| {
            let seed = self.settings.seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            augment::varied(image, width, height, &self.augment, seed)
        };
        images.par_iter().enumerate().flat_map_iter(copies).collect()
    }
}

/// A good image at the model's input size, RGB, and the file it came from.
pub type GoodImage = (PathBuf, Vec<u8>);

/// Teaches a model from a folder of good images and proves it. Nothing is written.
///
/// # Errors
/// When an input cannot be used, the runtime fails, the model does not pass its own gate, or the user stops it.
pub fn teach(lesson: &Lesson, progress: &dyn Progress) -> Result<Taught, TeachError> {
    teach_folder(lesson, None, progress)
}

/// Teaches a package that was taught before with more good images; `lesson` is one of [`Base::lesson`]. Nothing is written.
///
/// # Errors
/// As [`teach`], and when there is nothing new in the folder.
pub fn extend(base: &Base, lesson: &Lesson, progress: &dyn Progress) -> Result<Taught, TeachError> {
    teach_folder(lesson, Some(base), progress)
}

fn teach_folder(lesson: &Lesson, base: Option<&Base>, progress: &dyn Progress) -> Result<Taught, TeachError> {
    let backbone = checked_backbone(lesson)?;
    let started = Instant::now();
    let paths = dataset::good_images(&lesson.good)?;
    let grid = Grid::new(&backbone, lesson.width as usize, lesson.height as usize);
    let (paths, thinned) = parts::thinned(paths, lesson, &grid);
    progress.begin(Stage::Decode, paths.len());
    let good = parts::read(paths, lesson, progress)?;
    let decoded = started.elapsed();
    let mut taught = teach_parts(lesson, base, good, progress)?;
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
    teach_parts(&lesson, None, parts::whole(images), progress)
}

fn teach_parts(lesson: &Lesson, base: Option<&Base>, parts: GoodParts, progress: &dyn Progress) -> Result<Taught, TeachError> {
    let backbone = checked_backbone(lesson)?;
    let mut watch = Watch::new(progress);
    let (parts, mut warnings) = different(parts, lesson, base)?;

    watch.begin(Stage::Features, parts.images.len() * lesson.views());
    let mut extractor = FeatureExtractor::new(&backbone, lesson.width as usize, lesson.height as usize, lesson.engine)?
        .with_own_contrast(lesson.own_contrast);
    let good = extractor.embed(&parts.images, progress)?;
    let varied = if lesson.augment.is_empty() {
        None
    } else {
        Some(extractor.embed(&lesson.varied(&parts.images), progress)?)
    };
    let is_finite = |seen: &Embeddings| seen.values.par_iter().all(|value| value.is_finite());
    if !(is_finite(&good) && varied.as_ref().is_none_or(is_finite)) {
        return Err(TeachError::NotFinite(backbone.manifest.name));
    }

    watch.begin(Stage::Fit, 1);
    let fit_to = |good: &Embeddings| match base {
        None => lesson.method.fit(good, lesson.settings),
        Some(base) => base.detector.extended(good, lesson.settings, base.record.fitted),
    };
    let fit = |some: &[usize]| match &varied {
        None => fit_to(&parts.subset(&good, some)),
        Some(varied) => fit_to(&good.subset_with(&parts.images_of(some), varied)),
    };
    let detector = match &varied {
        None => fit_to(&good),
        Some(_) => fit(&(0..parts.count()).collect::<Vec<_>>()),
    };
    progress.advance(1);

    watch.begin(Stage::Calibration, parts.images.len());
    let mut held_out = cross_validate(&parts, &good, extractor.grid(), &fit, progress)?;
    // The parts of the base come after the new ones, which have pictures.
    let earlier: Vec<PartScore> = base.iter().flat_map(|base| base.record.held_out(&held_out)).collect();
    held_out.extend(earlier);
    let (mut promised, too_few) = threshold::by_promise(&held_out, lesson)?;
    if base.is_some() {
        let (new, all) = (parts.count(), held_out.len());
        let told = format!(
            ", {new} of them new; those of the {} others were scored by models of the package that is extended",
            all - new
        );
        promised.chosen_by.push_str(&told);
    }
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
    let mut samples = golden::choose(&parts, lesson, &held_out, &detector, &mut extractor, &threshold)?;
    if let Some(base) = base {
        let (carried, turned) = golden::carried(&base.package, lesson, &detector, &mut extractor, &threshold)?;
        samples.extend(carried);
        warnings.extend(turned);
    }
    let record = describe::record(lesson, base, &parts, &detector, &held_out);
    let mut files = BTreeMap::from([(MODEL.to_owned(), model.encode_to_vec()), (RECORD.to_owned(), record.to_bytes())]);
    let golden = Golden {
        tolerance: golden::tolerances(),
        images: samples.iter().map(|sample| sample.expected.clone()).collect(),
    };
    files.extend(samples.into_iter().map(|sample| (sample.expected.file, sample.png)));
    let manifest = describe::manifest(lesson, base, &backbone, &parts, threshold, golden, &detector);
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

/// The parts that can be taught, none of them twice, and what to say of those that were left out.
fn different(parts: GoodParts, lesson: &Lesson, base: Option<&Base>) -> Result<(GoodParts, Vec<String>), TeachError> {
    let (parts, copies) = parts::without_copies(parts);
    let Some(base) = base else {
        if parts.count() < IMAGES_MIN {
            return Err(TeachError::TooFewImages {
                folder: lesson.good.clone(),
                found: parts.count(),
                needed: IMAGES_MIN,
            });
        }
        return Ok((parts, copies.into_iter().collect()));
    };
    let (parts, known) = parts::without_known(parts, |hash| base.record.knows(hash));
    base.check_new(parts.count(), &lesson.good)?;
    Ok((parts, copies.into_iter().chain(known).collect()))
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

/// Scores every good part, as the camera gave it, by a model that `fit` makes of the parts that are not in its fold. Every fold takes each fifth file name, so that all of them span the whole production.
fn cross_validate(
    parts: &GoodParts,
    good: &Embeddings,
    grid: &Grid,
    fit: &dyn Fn(&[usize]) -> Detector,
    progress: &dyn Progress,
) -> Result<Vec<PartScore>, TeachError> {
    let count = parts.count();
    let mut scores: Vec<Option<PartScore>> = vec![None; count];
    for fold in 0..FOLDS {
        progress.check()?;
        let (held_out, rest): (Vec<usize>, Vec<usize>) = (0..count).partition(|index| index % FOLDS == fold);
        if held_out.is_empty() {
            continue;
        }
        let detector = fit(&rest);
        let tiles: Vec<usize> = held_out.iter().map(|part| parts.tiles[*part].len()).collect();
        let fold_scores = score_parts(&detector, &tiles, &parts.subset(good, &held_out), grid, progress)?;
        held_out
            .into_iter()
            .zip(fold_scores)
            .for_each(|(index, fold_score)| scores[index] = Some(fold_score));
    }
    Ok(scores.into_iter().flatten().collect())
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
