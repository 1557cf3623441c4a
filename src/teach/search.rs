//! `takt teach --auto`: which way to teach sees most within a time budget on this very machine.
//!
//! Ways are tried input by input (size, tiles), because those of one input share what the backbone gives. A way that is too slow is not fitted to
//! all images. Accuracy is measured by the reference scorer on parts that were not taught, latency on the emitted graph with the threads it will have.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::ImageReader;
use prost::Message;
use rayon::prelude::*;
use serde::Serialize;

use super::backbone::Backbone;
use super::dataset::{self, GOOD};
use super::detector::{Detector, Method};
use super::features::{Embeddings, FeatureExtractor, Grid};
use super::graph;
use super::parts::{self, GoodParts, evenly};
use super::patchcore::PatchCoreOptions;
use super::progress::{Progress, Stage, Unseen, Until};
use super::synthetic::{self, Kind};
use super::{FOLDS, IMAGES_MIN, Lesson, SIDE_PX, TeachError, checked_backbone, describe, score_parts};
use crate::evaluate::metrics::auroc;
use crate::model::manifest::{Golden, ThresholdSpec};
use crate::part::Region;
use crate::recipe::Rules;
use crate::vision::Engine;
use crate::vision::Image;
use crate::vision::decode::read_image;
use crate::vision::inspector::{Look, Picture};
use crate::vision::ort::OrtEngine;
use crate::vision::reading::Reader;
use crate::vision::tiling::Tiles;

/// Most good parts that a search looks at, evenly spread; the model that is written at the end is taught from all.
const PARTS_MAX: usize = 150;

/// Most labelled parts that a search looks at, evenly spread over each class.
const TEST_PARTS_OF_A_CLASS_MAX: usize = 60;

/// Pictures that latency is measured on, evenly spread over their sizes, the largest among them.
const TIMED_PICTURES: usize = 4;

/// How often each is timed; the median counts.
const TIMED_RUNS: usize = 5;

/// Parts that a way is fitted to for its latency alone.
const PARTS_FOR_LATENCY: usize = 6;

/// Values of embeddings that are held at once by ways that are judged together, at most (2 GiB): each may have a copy of its own. Fewer are judged
/// together then.
const VALUES_TOGETHER_MAX: usize = 1 << 29;

/// Ways whose accuracy differs by no more are level: the fastest of them is taken. Less than the standard error of such figures.
const LEVEL: f64 = 0.005;

/// A way to teach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// The method.
    pub method: Method,
    /// Its settings.
    pub settings: PatchCoreOptions,
    /// Size of the model's input, pixels.
    pub size: (u32, u32),
    /// How pictures are cut.
    pub tiles: Option<Tiles>,
    /// Whether each image is first brought to one light and contrast.
    pub own_contrast: bool,
}

/// How well a way tells defects from good parts that were not taught.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// Mean over the kinds of defect of their AUROC against the good parts: each kind counts alike, however many parts show it.
    pub mean_auroc: f64,
    /// AUROC of all defects together.
    pub image_auroc: f64,
    /// The kind of defect that is told worst.
    pub weakest: String,
    /// Its AUROC.
    pub weakest_auroc: f64,
}

/// A way and what it gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The way.
    pub way: Way,
    /// From decoded pixels to the verdict, for the slowest of the pictures timed.
    pub latency: Duration,
    /// How well; `None` for ways beyond the budget, and for those that time was over for.
    pub accuracy: Option<Accuracy>,
}

/// What accuracy was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Yardstick {
    /// Labelled pictures of parts.
    Test,
    /// A fifth of the good parts that was not taught, and the same with drawn defects.
    DrawnDefects,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Everything that was tried, in order.
    pub tried: Vec<Tried>,
    /// Which of it is the best within the budget.
    pub best: usize,
    /// The latency allowed.
    pub budget: Duration,
    /// Ways that time was over for.
    pub left: usize,
    /// What accuracy was measured on.
    pub yardstick: Yardstick,
}

impl Found {
    /// `base` taught the best way.
    pub fn lesson(&self, base: &Lesson) -> Lesson {
        self.tried[self.best].way.lesson(base)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}x{}", self.method.name(), self.size.0, self.size.1)?;
        if let Some(tiles) = self.tiles {
            write!(out, ", tiles of {}x{}", tiles.width, tiles.height)?;
        }
        if self.method != Method::Padim {
            write!(out, ", bank {}", self.settings.bank)?;
        }
        if self.method == Method::Relative {
            write!(out, ", own level {}", self.settings.own_level)?;
        }
        if self.own_contrast { write!(out, ", own contrast") } else { Ok(()) }
    }
}

impl Way {
    fn lesson(&self, base: &Lesson) -> Lesson {
        Lesson {
            method: self.method,
            settings: self.settings,
            width: self.size.0,
            height: self.size.1,
            tiles: self.tiles,
            own_contrast: self.own_contrast,
            ..base.clone()
        }
    }
}

/// Images to judge by: parts, and the class of each.
struct Judged {
    parts: GoodParts,
    classes: Vec<String>,
}

/// How long a search may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For one picture, from decoded pixels to the verdict.
    pub budget: Duration,
    /// For the search; past it the best so far is taken. Beyond it nothing more is begun once a way was judged, and the step at hand is ended.
    pub search: Duration,
}

/// Tries ways to teach and finds the best whose latency is within the budget. `base` tells everything that is not searched.
///
/// # Errors
/// When images or the backbone cannot be used, nothing is within the budget, or the user stops it.
pub fn search(base: &Lesson, test: Option<&Path>, bounds: Bounds, progress: &dyn Progress) -> Result<Found, TeachError> {
    let backbone = checked_backbone(base)?;
    search_among(&|timed| inputs(timed, &backbone), base, test, bounds, progress)
}

/// Ways to teach by input, from the pictures that are timed.
type Inputs<'a> = dyn Fn(&[Image]) -> Vec<(Way, Vec<Way>)> + 'a;

fn search_among(
    inputs: &Inputs<'_>,
    base: &Lesson,
    test: Option<&Path>,
    bounds: Bounds,
    progress: &dyn Progress,
) -> Result<Found, TeachError> {
    let until = Until::new(progress, Instant::now() + bounds.search);
    let backbone = checked_backbone(base)?;
    let paths = evenly(dataset::good_images(&base.good)?, PARTS_MAX);
    if paths.len() < 2 * IMAGES_MIN {
        return Err(TeachError::TooFewImages {
            folder: base.good.clone(),
            found: paths.len(),
            needed: 2 * IMAGES_MIN,
        });
    }
    let timed = by_size(&paths)?;
    let inputs = inputs(&timed);
    let all: usize = inputs.iter().map(|(_, ways)| ways.len()).sum();
    until.begin(Stage::Search, all);
    let searched = Searched {
        base,
        test,
        paths,
        timed,
        backbone,
        budget: bounds.budget,
        all,
        done: AtomicUsize::new(0),
    };
    let mut tried = Vec::new();
    for (input, ways) in inputs {
        match searched.input(&input, ways, &mut tried, &until) {
            // Not the user: time is over.
            Err(TeachError::Stopped) if !progress.stopped() => break,
            outcome => outcome?,
        }
    }
    let best = best(&tried).ok_or_else(|| TeachError::Budget {
        budget: bounds.budget,
        fastest: tried.iter().map(|tried| tried.latency).min().unwrap_or_default(),
    })?;
    let judged = tried
        .iter()
        .filter(|tried| tried.accuracy.is_some() || tried.latency > bounds.budget)
        .count();
    Ok(Found {
        best,
        budget: bounds.budget,
        left: all - judged,
        tried,
        yardstick: if test.is_some() { Yardstick::Test } else { Yardstick::DrawnDefects },
    })
}

/// What all ways are tried on.
struct Searched<'a> {
    base: &'a Lesson,
    test: Option<&'a Path>,
    paths: Vec<PathBuf>,
    timed: Vec<Image>,
    backbone: Backbone,
    budget: Duration,
    /// Ways in all.
    all: usize,
    /// Ways that were told of.
    done: AtomicUsize,
}

impl Searched<'_> {
    /// Tries all ways of one input. Latency is measured with nothing else going on; then those within the budget are judged on all cores.
    fn input(&self, input: &Way, ways: Vec<Way>, tried: &mut Vec<Tried>, until: &Until<'_>) -> Result<(), TeachError> {
        let quiet = Unseen(until);
        let lesson = input.lesson(self.base);
        until.check()?;
        let mut extractor = FeatureExtractor::new(&self.backbone, lesson.width as usize, lesson.height as usize, lesson.engine)?
            .with_own_contrast(lesson.own_contrast);
        let few = parts::read(evenly(self.paths.clone(), PARTS_FOR_LATENCY), &lesson, &quiet)?;
        let few = extractor.embed(&few.images, &quiet)?;
        let mut within = Vec::new();
        for way in ways {
            until.check()?;
            let detector = way.method.fit(&few, way.settings);
            let latency = latency(&way.lesson(self.base), &self.backbone, &extractor, &detector, &self.timed)?;
            let tried_way = Tried {
                way,
                latency,
                accuracy: None,
            };
            if latency <= self.budget {
                within.push(tried.len());
            } else {
                self.tell(&tried_way, until);
            }
            tried.push(tried_way);
        }
        if within.is_empty() {
            return Ok(());
        }
        let (good, judged) = yardstick(&self.paths, self.test, &lesson, &quiet)?;
        let good = extractor.embed(&good.images, &quiet)?;
        let seen = extractor.embed(&judged.parts.images, &quiet)?;
        let grid = extractor.grid().clone();
        let together = (VALUES_TOGETHER_MAX / good.values.len().max(1)).max(1);
        for some in within.chunks(together) {
            let judge = |index: &usize| {
                until.check()?;
                let way: Way = tried[*index].way;
                let detector = way.method.fit(&good, way.settings);
                let judged = Tried {
                    accuracy: Some(accuracy(&detector, &judged, &seen, &grid, &quiet)?),
                    ..tried[*index].clone()
                };
                self.tell(&judged, until);
                until.may_end();
                Ok::<_, TeachError>((*index, judged))
            };
            let outcomes: Vec<Result<(usize, Tried), TeachError>> = some.par_iter().map(judge).collect();
            // What was judged before time was over counts.
            let mut failed = None;
            for outcome in outcomes {
                match outcome {
                    Ok((index, judged)) => tried[index] = judged,
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// One line for a way that is done with.
    fn tell(&self, tried: &Tried, until: &Until<'_>) {
        let count = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        until.advance(1);
        let seen = tried.accuracy.as_ref().map_or_else(
            || "too slow".to_owned(),
            |accuracy| {
                format!(
                    "mean AUROC {:.3}, weakest {:.3} {}",
                    accuracy.mean_auroc, accuracy.weakest_auroc, accuracy.weakest
                )
            },
        );
        let ms = tried.latency.as_secs_f64() * 1e3;
        until.tell(&format!("search {count}/{}: {}: {ms:.1} ms, {seen}", self.all, tried.way));
    }
}

/// The fastest of those that are level with the most accurate.
fn best(tried: &[Tried]) -> Option<usize> {
    let mean = |tried: &Tried| tried.accuracy.as_ref().map(|accuracy| accuracy.mean_auroc);
    let most = tried.iter().filter_map(mean).reduce(f64::max)?;
    (0..tried.len())
        .filter(|index| mean(&tried[*index]).is_some_and(|mean| mean >= most - LEVEL))
        .min_by_key(|index| tried[*index].latency)
}

/// Inputs to try, each with a way that has it and all ways of it.
fn inputs(timed: &[Image], backbone: &Backbone) -> Vec<(Way, Vec<Way>)> {
    let settings = PatchCoreOptions::default();
    let with_bank = |bank: usize| PatchCoreOptions { bank, ..settings };
    let own = |own_level: f32| PatchCoreOptions { own_level, ..settings };
    let ways = [
        (Method::Patchcore, with_bank(settings.bank / 3)),
        (Method::Patchcore, settings),
        (Method::Relative, own(0.0)),
        (Method::Relative, own(0.5)),
        (Method::Relative, own(1.0)),
        (Method::Padim, settings),
    ];
    let is_larger = |side: u32| timed.iter().any(|picture| picture.width > side || picture.height > side);
    let fits = |side: u32| SIDE_PX.contains(&side) && side.is_multiple_of(backbone.manifest.size_multiple);
    let whole = [192, 256, 384, 512].map(|side| (side, None));
    let tiled = [256, 384].map(|side| (side, Some(Tiles::of(side, side))));
    let sides = whole.into_iter().chain(tiled.into_iter().filter(|(side, _)| is_larger(*side)));
    let sides = sides.filter(|(side, _)| fits(*side));
    let input = |(side, tiles, own_contrast): (u32, Option<Tiles>, bool)| {
        let way = |(method, settings): (Method, PatchCoreOptions)| Way {
            method,
            settings,
            size: (side, side),
            tiles,
            own_contrast,
        };
        // A Gaussian per position is a matrix per position: beyond the default size the package would be larger than all else.
        let is_tried = |way: &Way| way.method != Method::Padim || (tiles.is_none() && side <= 256 && !own_contrast);
        let ways: Vec<Way> = ways.into_iter().map(way).filter(is_tried).collect();
        Some((*ways.first()?, ways))
    };
    let with_contrast = |(side, tiles)| [(side, tiles, false), (side, tiles, true)];
    sides.flat_map(with_contrast).filter_map(input).collect()
}

/// Good parts to teach from, and parts to judge by.
fn yardstick(paths: &[PathBuf], test: Option<&Path>, lesson: &Lesson, progress: &dyn Progress) -> Result<(GoodParts, Judged), TeachError> {
    let Some(test) = test else {
        let (held_out, rest): (Vec<_>, Vec<_>) = paths.iter().cloned().enumerate().partition(|(index, _)| index % FOLDS == 0);
        let rest = rest.into_iter().map(|(_, path)| path).collect();
        let held_out = held_out.into_iter().map(|(_, path)| path).collect();
        return Ok((parts::read(rest, lesson, progress)?, drawn(held_out, lesson, progress)?));
    };
    let mut classes = Vec::new();
    let mut files = Vec::new();
    let labelled = dataset::test_images(test)?;
    // Folders are in order, so each class is a stretch of the list.
    for class in labelled.chunk_by(|a, b| a.class == b.class) {
        for image in evenly(class.to_vec(), TEST_PARTS_OF_A_CLASS_MAX) {
            classes.push(image.class);
            files.push(image.path);
        }
    }
    let good = parts::read(paths.to_vec(), lesson, progress)?;
    let parts = parts::read(files, lesson, progress)?;
    Ok((good, Judged { parts, classes }))
}

/// Good parts as they are, and once with each kind of drawn defect.
fn drawn(held_out: Vec<PathBuf>, lesson: &Lesson, progress: &dyn Progress) -> Result<Judged, TeachError> {
    let mut classes = vec![GOOD.to_owned(); held_out.len()];
    let mut parts = parts::read(held_out.clone(), lesson, progress)?;
    let mut tensor = parts::tensor(lesson)?;
    for (index, path) in held_out.into_iter().enumerate() {
        progress.check()?;
        let picture = read_image(&path)?;
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let mut damaged = picture.clone();
            synthetic::draw(&mut damaged, kind, lesson.settings.seed + (index * Kind::ALL.len() + at) as u64);
            parts.push(path.clone(), parts::cut(&damaged, lesson, &mut tensor)?);
            classes.push(kind.name().to_owned());
        }
    }
    Ok(Judged { parts, classes })
}

fn accuracy(detector: &Detector, judged: &Judged, seen: &Embeddings, grid: &Grid, progress: &dyn Progress) -> Result<Accuracy, TeachError> {
    let tiles: Vec<usize> = judged.parts.tiles.iter().map(ExactSizeIterator::len).collect();
    let scores: Vec<f32> = score_parts(detector, &tiles, seen, grid, progress)?
        .into_iter()
        .map(|part| part.image)
        .collect();
    Ok(by_class(&scores, &judged.classes))
}

fn by_class(scores: &[f32], classes: &[String]) -> Accuracy {
    let mut names: Vec<&String> = classes.iter().filter(|class| *class != GOOD).collect();
    names.sort_unstable();
    names.dedup();
    let against_good = |is_seen: &dyn Fn(&String) -> bool| {
        let parts = scores.iter().zip(classes).filter(|(_, class)| *class == GOOD || is_seen(class));
        let (scores, defects): (Vec<f32>, Vec<bool>) = parts.map(|(score, class)| (*score, class != GOOD)).unzip();
        // Without any good part or defect there is nothing to tell apart: chance.
        auroc(&scores, &defects).unwrap_or(0.5)
    };
    let of_each: Vec<(&String, f64)> = names.into_iter().map(|name| (name, against_good(&|class| class == name))).collect();
    let weakest = of_each.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    Accuracy {
        mean_auroc: of_each.iter().map(|(_, auroc)| auroc).sum::<f64>() / of_each.len().max(1) as f64,
        image_auroc: against_good(&|_| true),
        weakest: weakest.map(|(name, _)| (*name).clone()).unwrap_or_default(),
        weakest_auroc: weakest.map_or(0.5, |(_, auroc)| *auroc),
    }
}

/// From decoded pixels to the verdict, for the slowest picture, with findings to be looked for.
fn latency(
    lesson: &Lesson,
    backbone: &Backbone,
    extractor: &FeatureExtractor,
    detector: &Detector,
    pictures: &[Image],
) -> Result<Duration, TeachError> {
    let model = graph::emit(backbone, extractor.grid(), detector)?;
    let mut engine = OrtEngine::from_bytes("a way to teach", &model.encode_to_vec(), lesson.engine)?;
    let threshold = ThresholdSpec {
        score: 0.0,
        region: Some(0.0),
        chosen_by: String::new(),
        calibration: None,
    };
    let golden = Golden {
        tolerance: std::collections::BTreeMap::new(),
        images: Vec::new(),
    };
    let manifest = describe::manifest(lesson, None, backbone, &GoodParts::default(), threshold, golden, detector);
    let reader = Reader::new(&manifest, engine.outputs()).map_err(TeachError::Tensor)?;
    let input = &manifest.input;
    let tensor = if input.tiles.is_some() {
        input.tensor_of_tiles()
    } else {
        input.tensor()
    };
    let mut tensor = tensor.map_err(|error| TeachError::Tensor(error.to_string()))?;
    let mut slowest = Duration::ZERO;
    for picture in pictures {
        let mut look = Look::new(&mut engine, &mut tensor, &reader, input);
        let rules = Rules::default();
        let rules = rules.in_picture(Region::whole(picture.width, picture.height));
        let mut once = || {
            let judged = look.judge(Picture::Image(picture), &rules);
            judged.map(|inspection| inspection.latency.inspect())
        };
        // The first run takes memory that later ones use again.
        once().map_err(TeachError::Inspect)?;
        let mut times = (0..TIMED_RUNS)
            .map(|_| once())
            .collect::<Result<Vec<_>, _>>()
            .map_err(TeachError::Inspect)?;
        times.sort_unstable();
        slowest = slowest.max(times[times.len() / 2]);
    }
    Ok(slowest)
}

/// Some pictures, evenly spread over their sizes, the largest among them.
fn by_size(paths: &[PathBuf]) -> Result<Vec<Image>, TeachError> {
    let pixels = |path: &PathBuf| {
        let size = ImageReader::open(path).ok().and_then(|reader| reader.into_dimensions().ok());
        size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    };
    let mut sorted: Vec<(u64, &PathBuf)> = paths.iter().map(|path| (pixels(path), path)).collect();
    sorted.sort();
    sorted.reverse();
    evenly(sorted, TIMED_PICTURES)
        .into_iter()
        .map(|(_, path)| Ok(read_image(path)?))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;
    use crate::teach::progress::Silent;

    fn tried(latency_ms: u64, mean_auroc: Option<f64>) -> Tried {
        Tried {
            way: Way {
                method: Method::Patchcore,
                settings: PatchCoreOptions::default(),
                size: (256, 256),
                tiles: None,
                own_contrast: false,
            },
            latency: Duration::from_millis(latency_ms),
            accuracy: mean_auroc.map(|mean_auroc| Accuracy {
                mean_auroc,
                image_auroc: mean_auroc,
                weakest: "crack".into(),
                weakest_auroc: mean_auroc,
            }),
        }
    }

    #[test]
    fn the_fastest_of_those_that_are_level_is_best_and_what_is_too_slow_is_not() {
        let all = [
            tried(10, Some(0.90)),
            tried(30, Some(0.953)),
            tried(20, Some(0.950)),
            tried(90, None),
        ];
        assert_eq!(best(&all), Some(2));
        assert_eq!(best(&all[3..]), None);
    }

    #[test]
    fn each_kind_of_defect_counts_alike() {
        let classes: Vec<String> = ["good", "good", "a", "a", "a", "b"].map(str::to_owned).to_vec();
        let accuracy = by_class(&[1.0, 2.0, 3.0, 3.0, 3.0, 0.0], &classes);
        assert!((accuracy.mean_auroc - 0.5).abs() < 1e-9);
        assert!((accuracy.image_auroc - 0.75).abs() < 1e-9);
        assert_eq!((accuracy.weakest.as_str(), accuracy.weakest_auroc), ("b", 0.0));
    }

    const AMPLE: Bounds = Bounds {
        budget: Duration::from_mins(1),
        search: Duration::from_hours(1),
    };

    /// A folder of rendered good parts.
    fn rendered() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..12 {
            let part = crate::twin::parts::render(3, index, None).image;
            let png = crate::vision::encode::encode_png(part.width, part.height, &part.rgb).unwrap();
            std::fs::write(folder.path().join(format!("{index:02}.png")), png).unwrap();
        }
        folder
    }

    /// Whole and in tiles, at a size that takes a moment only.
    fn small(_: &[Image]) -> Vec<(Way, Vec<Way>)> {
        let settings = PatchCoreOptions {
            bank: 64,
            ..PatchCoreOptions::default()
        };
        let way = |method, tiles| Way {
            method,
            settings,
            size: (64, 64),
            tiles,
            own_contrast: tiles.is_some(),
        };
        let tiles = Some(Tiles::of(192, 192));
        [
            vec![way(Method::Patchcore, None), way(Method::Relative, None)],
            vec![way(Method::Relative, tiles)],
        ]
        .map(|ways| (ways[0], ways))
        .to_vec()
    }

    #[test]
    fn every_way_within_the_budget_is_judged_and_the_best_becomes_the_lesson() {
        let good = rendered();
        let base = Lesson {
            good: good.path().into(),
            ..Lesson::default()
        };
        let found = search_among(&small, &base, None, AMPLE, &Silent).unwrap();
        assert_eq!(found.left, 0);
        assert_eq!((found.tried.len(), found.yardstick), (3, Yardstick::DrawnDefects));
        assert!(
            found
                .tried
                .iter()
                .all(|tried| tried.accuracy.as_ref().is_some_and(|accuracy| accuracy.mean_auroc > 0.0))
        );
        let lesson = found.lesson(&base);
        let best = &found.tried[found.best].way;
        assert_eq!(
            (lesson.method, lesson.tiles, lesson.width, lesson.good),
            (best.method, best.tiles, 64, base.good.clone())
        );
        let too_little = Bounds {
            budget: Duration::ZERO,
            ..AMPLE
        };
        let too_little = search_among(&small, &base, None, too_little, &Silent);
        assert!(matches!(too_little, Err(TeachError::Budget { fastest, .. }) if fastest > Duration::ZERO));
    }

    /// Hears what is told.
    struct Listener(std::sync::Mutex<Vec<String>>);

    impl Progress for Listener {
        fn begin(&self, _: Stage, _: usize) {}
        fn advance(&self, _: usize) {}
        fn tell(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn stopped(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_search_whose_time_is_over_ends_with_the_best_so_far_and_tells_of_each_way() {
        let good = rendered();
        let base = Lesson {
            good: good.path().into(),
            ..Lesson::default()
        };
        let no_time = Bounds {
            search: Duration::ZERO,
            ..AMPLE
        };
        let listener = Listener(std::sync::Mutex::new(Vec::new()));
        let found = search_among(&small, &base, None, no_time, &listener).unwrap();
        let judged = found.tried.iter().filter(|tried| tried.accuracy.is_some()).count();
        // At least one, whatever the time; never the second input, which begins after it.
        assert!((1..=2).contains(&judged), "{judged}");
        assert_eq!(found.left, 3 - judged);
        assert!(found.tried[found.best].accuracy.is_some());
        let lines = listener.0.into_inner().unwrap();
        assert_eq!(lines.len(), judged);
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("search ") && line.contains("/3: ") && line.contains(" ms, mean AUROC ")),
            "{lines:?}"
        );
    }
}
