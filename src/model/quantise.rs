//! A package whose model computes with 32-bit numbers becomes one that computes with bytes, where that pays: on processors with instructions for
//! sums of products of bytes (VNNI, dot product).
//!
//! | file | what it does |
//! |---|---|
//! | `plan.rs` | which nodes of a graph, and which values; pure |
//! | `index.rs` | who makes and who takes each value of a graph; pure |
//! | `levels.rs` | from numbers to bytes and back; pure |
//! | `rewrite.rs` | the graph that tells ranges, and the graph that computes with bytes; pure |
//! | `limits.rs` | the threshold for bytes; pure |
//! | `external.rs` | weights that lie beside a model come into it; pure |
//!
//! Ranges are those that values take on good parts. The golden images keep the scores that the model gives at full precision: whether bytes may
//! stand in for it is what they decide.

mod external;
mod index;
mod levels;
mod limits;
mod plan;
mod rewrite;
#[cfg(test)]
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;

use self::levels::Range;
use self::limits::Both;
pub use self::plan::NotQuantisable;
use self::plan::Plan;
use self::rewrite::{Observed, observing, rewritten};
use super::golden::{Gated, GoldenError};
use super::manifest::{Kind, Manifest, Precision, Quantisation, sha256_hex, somebody, unix_ns};
use super::onnx::ModelProto;
use super::package::{GOLDEN, MODEL, Package, PackageError, RECORD, check_place, write};
use crate::part::{Region, Verdict};
use crate::recipe;
use crate::teach::record::Record;
use crate::vision::decode::{DecodeError, list_images, read_image};
use crate::vision::inspector::{InspectError, Inspector};
use crate::vision::ort::OrtEngine;
use crate::vision::preprocess::{InputTensor, PreprocessError};
use crate::vision::tiling::Tiles;
use crate::vision::{Engine, EngineError, EngineOptions, Image, Provider};

/// Most good images that ranges are taken from, evenly spread over their names: more add little, and each costs a run of the whole graph.
const IMAGES_MAX: usize = 100;

/// Most tiles of a picture that ranges are taken from, evenly spread.
const TILES_MAX: usize = 16;

/// Fewest: one image says little about what values its model takes.
const IMAGES_MIN: usize = 4;

/// How far a score may move unless told, as a share of the larger of score and threshold.
pub const TOLERANCE: f64 = 0.05;

/// Below this it is not worth it: the spread of such a measurement.
const SPEED_RATIO_MIN: f64 = 1.1;

/// Largest graph that can be written as one file: what ONNX's own format allows.
const GRAPH_BYTES_MAX: usize = i32::MAX as usize;

/// How a package is to be quantised.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The folder of good images.
    pub good: PathBuf,
    /// How far a score may move, as a share of the larger of score and threshold.
    pub tolerance: f64,
    /// Threads inside one inference; 0 means one per core.
    pub threads: usize,
}

/// Why a package cannot be quantised. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// The package is of no use, before or after.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its graph has nothing to quantise.
    #[error("failed to quantise {package}: {source}")]
    Graph {
        /// The package.
        package: PathBuf,
        /// Why.
        source: NotQuantisable,
    },
    /// Something in its files is of no use.
    #[error("failed to quantise {package}: {reason}")]
    Model {
        /// The package.
        package: PathBuf,
        /// What, and the remedy.
        reason: String,
    },
    /// The good images are not there, or too few.
    #[error("failed to quantise a model with the images in {folder}: {reason}; give a folder with good images of the part")]
    Images {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A good image cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A good image cannot be resized.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The runtime fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image cannot be judged.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Score and verdict are near enough, but not what was found.
    #[error(
        "failed to quantise {package}: computed with bytes, it does not find as much in {image} as at full precision; keep the package as it is, or give more good images"
    )]
    Findings {
        /// The package.
        package: PathBuf,
        /// The image.
        image: String,
    },
    /// Bytes are not near enough to full precision.
    #[error(
        "failed to quantise {package}: computed with bytes, {image} scores {score:.6} ({}) instead of {expected:.6} ({}), off by {:.1} % where {:.1} % are allowed; \
         keep the package as it is, give more good images, or allow more with --tolerance", verdict.name(), expected_verdict.name(), 100.0 * moved, 100.0 * tolerance
    )]
    Gate {
        /// The package.
        package: PathBuf,
        /// The image.
        image: String,
        /// With bytes.
        score: f32,
        /// The verdict with bytes.
        verdict: Verdict,
        /// At full precision.
        expected: f32,
        /// The verdict at full precision.
        expected_verdict: Verdict,
        /// How far the score moved, as a share of the larger of score and threshold.
        moved: f64,
        /// How far it may.
        tolerance: f64,
    },
}

/// A package that was quantised.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// What it says.
    pub manifest: Manifest,
    /// What its golden images gave.
    pub gated: Vec<Gated>,
    /// How far the scores of good images moved, as shares of the larger of score and threshold, lowest first.
    pub moved: Vec<f64>,
    /// How many times as fast as at full precision, here: medians of the engine's time over the good images, each judged both ways in turn.
    pub speed_ratio: f64,
    /// What should be known.
    pub warnings: Vec<String>,
}

/// Makes a package at `out` of the one at `path` that computes with bytes, proven by its golden images on the processor.
///
/// # Errors
/// When it cannot be done, or scores or verdicts do not stay what they were; nothing is written then.
pub fn quantise(path: &Path, out: &Path, wishes: &Wishes, overwrite: bool) -> Result<Quantised, QuantiseError> {
    check_place(out, overwrite)?;
    let options = EngineOptions {
        threads: wishes.threads,
        ..EngineOptions::default()
    };
    let package = Package::open(path)?;
    let plain = package.clone().activate(options)?;
    let images = good_images(&wishes.good)?;
    let model = model_of(&package)?;
    let failed = |reason: String| QuantiseError::Model {
        package: path.into(),
        reason,
    };
    let plan = Plan::of(&model).map_err(|source| QuantiseError::Graph {
        package: path.into(),
        source,
    })?;
    let tensor = package.manifest.input.tensor().map_err(|error| failed(error.to_string()))?;
    let ranges = observe(&model, &plan, tensor, package.manifest.input.tiles, &images, options)?;
    let model = rewritten(&model, &plan, &ranges).map_err(|error| failed(error.to_string()))?;
    let mut made = made(&package, out, &plan, &model, wishes, images.len());
    let activated = |made: &Package| made.clone().activate(options).map_err(|error| refused(path, &made.manifest, error));
    let mut is_new = unknown_to(&package)?;
    let Compared {
        moved,
        speed_ratio,
        warnings,
        both,
    } = compare(
        path,
        Inspector::new(plain),
        Inspector::new(activated(&made)?),
        &images,
        &mut is_new,
        wishes,
    )?;
    if made.manifest.kind == Kind::Anomaly && package.manifest.provenance.teaching().is_some() {
        made.manifest.threshold = limits::of_bytes(&package.manifest.threshold, &both);
        // Once more by the limits that it will have.
        activated(&made)?;
    }
    let warnings = warnings
        .into_iter()
        .chain(turned(&both, &package.manifest, &made.manifest))
        .collect();
    write(out, &made.manifest, &made.files, overwrite)?;
    let active = Package::open(out)?.activate(options)?;
    Ok(Quantised {
        manifest: made.manifest,
        gated: active.gated,
        moved,
        speed_ratio,
        warnings,
    })
}

/// Good images, evenly spread over their names, each with its file.
fn good_images(folder: &Path) -> Result<Vec<(PathBuf, Image)>, QuantiseError> {
    let failed = |reason: String| QuantiseError::Images {
        folder: folder.into(),
        reason,
    };
    let paths = list_images(folder).map_err(|error| failed(error.to_string()))?;
    if paths.len() < IMAGES_MIN {
        return Err(failed(format!("it holds {} images, at least {IMAGES_MIN} are needed", paths.len())));
    }
    let count = paths.len().min(IMAGES_MAX);
    let chosen = (0..count).map(|index| paths[index * paths.len() / count].clone());
    chosen.map(|path| Ok((path.clone(), read_image(&path)?))).collect()
}

/// The model of a package, its weights inside.
fn model_of(package: &Package) -> Result<ModelProto, QuantiseError> {
    let failed = |reason: String| QuantiseError::Model {
        package: package.path.clone(),
        reason,
    };
    let bytes = package.files.get(MODEL).map(Vec::as_slice).unwrap_or_default();
    let mut model =
        ModelProto::decode(bytes).map_err(|error| failed(format!("its {MODEL} is no ONNX model ({error}); restore it from a copy")))?;
    external::brought_in(&mut model, &package.files).map_err(failed)?;
    let size = model.encoded_len();
    if size > GRAPH_BYTES_MAX {
        return Err(failed(format!(
            "it has {size} bytes with its weights, more than one ONNX file holds; use it as it is"
        )));
    }
    Ok(model)
}

/// Runs the model on good images and notes which values its insides take.
fn observe(
    model: &ModelProto,
    plan: &Plan,
    mut tensor: InputTensor,
    tiles: Option<Tiles>,
    images: &[(PathBuf, Image)],
    options: EngineOptions,
) -> Result<BTreeMap<String, Range>, QuantiseError> {
    let (model, observed) = observing(model, plan);
    let mut engine = OrtEngine::from_bytes("with ranges as outputs", &model.encode_to_vec(), options)?;
    let position = |name: &String| engine.outputs().iter().position(|port| port.name == *name);
    let places: Vec<_> = observed
        .iter()
        .map(|Observed { low, high, .. }| (position(low), position(high)))
        .collect();
    let mut ranges: BTreeMap<String, Range> = BTreeMap::new();
    let seen = images
        .iter()
        .flat_map(|(_, image)| seen_of(image, tiles).into_iter().map(move |region| (image, region)));
    for (image, region) in seen {
        tensor.set_image(0, image, region)?;
        let outputs = engine.run(&tensor.shape(), tensor.values())?;
        // What is missing is no number, which no range survives.
        let number = |place: Option<usize>| {
            let output = place.and_then(|place| outputs.get(place));
            output.and_then(|output| output.values.first().copied()).unwrap_or(f32::NAN)
        };
        for (Observed { value, .. }, (low, high)) in observed.iter().zip(&places) {
            let seen = Range {
                low: number(*low),
                high: number(*high),
            };
            let range = ranges.entry(value.clone()).or_insert(Range::NOTHING);
            *range = range.joined(seen);
        }
    }
    Ok(ranges)
}

/// What the model sees of a picture: all of it, or tiles of it, evenly spread. More tiles than there may be are told of where it is judged.
fn seen_of(image: &Image, tiles: Option<Tiles>) -> Vec<Option<Region>> {
    let cut = tiles.and_then(|tiles| tiles.cut(Region::whole(image.width, image.height)).ok());
    cut.map_or_else(
        || vec![None],
        |regions| {
            let count = regions.len().min(TILES_MAX);
            (0..count).map(|index| Some(regions[index * regions.len() / count])).collect()
        },
    )
}

/// Tells whether a picture is known not to have been taught to the model: the record of its lesson lists what was. Without one nothing is known.
fn unknown_to(package: &Package) -> Result<impl FnMut(&Image) -> bool, QuantiseError> {
    let record = package.files.get(RECORD).and_then(|bytes| Record::read(bytes).ok());
    let mut spec = package.manifest.input.clone();
    spec.batch = 1;
    let mut tensor = spec.tensor().map_err(|error| QuantiseError::Model {
        package: package.path.clone(),
        reason: error.to_string(),
    })?;
    let tiles = spec.tiles;
    Ok(move |image: &Image| {
        let Some(record) = &record else { return false };
        crate::teach::parts::hash_of_picture(image, tiles, &mut tensor).is_some_and(|hash| !record.knows(&hash))
    })
}

/// The package as it will be, not yet proven.
fn made(package: &Package, out: &Path, plan: &Plan, model: &ModelProto, wishes: &Wishes, images: usize) -> Package {
    let mut manifest = package.manifest.clone();
    let tolerated = [Provider::Cpu, Provider::Cuda, Provider::TensorRt]
        .map(|provider| (format!("{}_{}", provider.name(), Precision::Int8.name()), wishes.tolerance));
    manifest.golden.tolerance.extend(tolerated);
    if manifest.kind == Kind::Anomaly {
        // Regions of a map merge and part with the last digit of a score; boxes are objects, and stay counted.
        manifest.golden.images.iter_mut().for_each(|image| image.findings = None);
    }
    manifest.threshold.chosen_by = format!("{}; kept from the model at full precision", manifest.threshold.chosen_by);
    manifest.quantisation = Some(Quantisation {
        precision: Precision::Int8,
        quantised_by: somebody(),
        quantised_unix_ns: unix_ns(),
        quantised_from: wishes.good.display().to_string(),
        images,
        convolutions: plan.quantised(),
        convolutions_plain: plan.convolutions - plan.quantised(),
        model_sha256: package.files.get(MODEL).map(|bytes| sha256_hex(bytes)).unwrap_or_default(),
        takt_version: env!("CARGO_PKG_VERSION").into(),
    });
    let golden = format!("{GOLDEN}/");
    let mut files = package.files.clone();
    files.retain(|name, _| name.starts_with(&golden));
    files.insert(MODEL.to_owned(), model.encode_to_vec());
    Package {
        path: out.into(),
        manifest,
        files,
        sealed: None,
    }
}

/// What a shut gate means here.
fn refused(path: &Path, manifest: &Manifest, error: PackageError) -> QuantiseError {
    let near = |score, expected| moved(score, expected, manifest.threshold.score).abs() <= tolerance(manifest);
    match error {
        PackageError::Golden {
            source:
                GoldenError::Mismatch {
                    image,
                    score,
                    verdict,
                    expected,
                    expected_verdict,
                    ..
                },
            ..
        } => {
            if verdict == expected_verdict && near(score, expected) {
                QuantiseError::Findings {
                    package: path.into(),
                    image,
                }
            } else {
                QuantiseError::Gate {
                    package: path.into(),
                    image,
                    score,
                    verdict,
                    expected,
                    expected_verdict,
                    moved: moved(score, expected, manifest.threshold.score),
                    tolerance: tolerance(manifest),
                }
            }
        }
        other => other.into(),
    }
}

fn tolerance(manifest: &Manifest) -> f64 {
    manifest.golden.tolerance.get("cpu_int8").copied().unwrap_or(TOLERANCE)
}

/// The middle one, or the one above the middle; zero of none.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// How far a score moved, as the golden gate measures it.
fn moved(score: f32, expected: f32, threshold: f32) -> f64 {
    (f64::from(score) - f64::from(expected)) / f64::from(expected.abs().max(threshold.abs()))
}

/// What the good images gave both ways.
struct Compared {
    moved: Vec<f64>,
    speed_ratio: f64,
    warnings: Vec<String>,
    both: Vec<Both>,
}

/// Good parts whose verdict is another one with bytes and their limits.
fn turned(both: &[Both], plain: &Manifest, bytes: &Manifest) -> Option<String> {
    let judged = |score: f32, manifest: &Manifest| recipe::judge(score, manifest.threshold.score).0;
    let turned = both
        .iter()
        .filter(|part| judged(part.plain, plain) != judged(part.bytes, bytes))
        .count();
    (turned > 0).then(|| {
        format!(
            "{turned} of {} good images have another verdict than at full precision: their scores are near the threshold",
            both.len()
        )
    })
}

/// Judges the good images both ways. A score that moved too far ends it.
fn compare(
    path: &Path,
    mut plain: Inspector,
    mut bytes: Inspector,
    images: &[(PathBuf, Image)],
    is_new: &mut dyn FnMut(&Image) -> bool,
    wishes: &Wishes,
) -> Result<Compared, QuantiseError> {
    let threshold = plain.manifest().threshold.score;
    let (mut shifts, mut times, mut both) = (Vec::with_capacity(images.len()), (Vec::new(), Vec::new()), Vec::new());
    for (file, image) in images {
        let (before, after) = (plain.inspect(image)?, bytes.inspect(image)?);
        let shift = moved(after.score, before.score, threshold);
        // Written so that what is no number fails.
        let is_near = shift.abs() <= wishes.tolerance;
        if !is_near {
            return Err(QuantiseError::Gate {
                package: path.into(),
                image: file.display().to_string(),
                score: after.score,
                verdict: after.verdict,
                expected: before.score,
                expected_verdict: before.verdict,
                moved: shift,
                tolerance: wishes.tolerance,
            });
        }
        both.push(Both {
            plain: before.score,
            bytes: after.score,
            is_new: is_new(image),
        });
        shifts.push(shift);
        times.0.push(before.latency.infer);
        times.1.push(after.latency.infer);
    }
    shifts.sort_by(f64::total_cmp);
    let mut warnings = Vec::new();
    let speed_ratio = median(&mut times.0).as_secs_f64() / median(&mut times.1).as_secs_f64();
    if speed_ratio < SPEED_RATIO_MIN {
        warnings.push(format!(
            "bytes are {speed_ratio:.2} times as fast as full precision here: keep the package as it is, unless it is for another machine"
        ));
    }
    Ok(Compared {
        moved: shifts,
        speed_ratio,
        warnings,
        both,
    })
}

#[cfg(test)]
mod tests {
    use super::samples::{self, CHANNELS, node};
    use super::*;
    use crate::model::onnx::{GraphProto, NodeProto};
    use crate::vision::preprocess::TensorValues;
    use proptest::prelude::*;

    const SHAPE: [usize; 4] = [1, CHANNELS, 8, 8];

    fn engine(model: &ModelProto) -> OrtEngine {
        OrtEngine::from_bytes("a sample", &model.encode_to_vec(), EngineOptions::default()).unwrap()
    }

    /// A model of these nodes that takes `x` alone.
    fn of_floats(nodes: Vec<NodeProto>) -> ModelProto {
        let mut model = samples::model(nodes);
        let graph = model.graph.take().map(|graph| GraphProto {
            input: graph.input.into_iter().filter(|input| input.name == "x").collect(),
            ..graph
        });
        ModelProto { graph, ..model }
    }

    /// What a model gives at full precision and with bytes, whose ranges come from the very picture, and the largest value among them.
    fn both_ways(nodes: Vec<NodeProto>, picture: &[f32]) -> (Vec<f32>, Vec<f32>, f32) {
        let model = of_floats(nodes);
        let plan = Plan::of(&model).unwrap();
        let (with_ranges, observed) = observing(&model, &plan);
        let mut observer = engine(&with_ranges);
        let told = observer.run(&SHAPE, TensorValues::F32(picture)).unwrap();
        let at = |name: &String| told[observer.outputs().iter().position(|port| port.name == *name).unwrap()].values[0];
        let ranges = observed.iter().map(|observed| {
            let range = Range {
                low: at(&observed.low),
                high: at(&observed.high),
            };
            (observed.value.clone(), range)
        });
        let ranges: BTreeMap<String, Range> = ranges.collect();
        let largest = ranges.values().fold(0.0_f32, |most, range| most.max(range.high.max(-range.low)));
        let bytes = rewritten(&model, &plan, &ranges).unwrap();
        let run = |model: &ModelProto| engine(model).run(&SHAPE, TensorValues::F32(picture)).unwrap().remove(0).values;
        (run(&model), run(&bytes), largest)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bytes_give_what_full_precision_gives_within_a_few_steps(
            picture in prop::collection::vec(-4.0_f32..4.0, CHANNELS * 64), shape in 0_usize..4,
        ) {
            let nodes = match shape {
                0 => vec![node("Conv", &["x", "w", "bias"], "a"), node("Conv", &["a", "w", "bias"], "y")],
                1 => vec![node("Conv", &["x", "w", "bias"], "a"), node("Relu", &["a"], "b"), node("Conv", &["b", "w"], "y")],
                2 => vec![
                    node("Conv", &["x", "w", "bias"], "a"),
                    node("Clip", &["a", "zero", "six"], "b"),
                    node("Conv", &["b", "w", "bias"], "c"),
                    node("Add", &["b", "c"], "d"),
                    node("Relu", &["d"], "e"),
                    node("Conv", &["e", "w"], "y"),
                ],
                _ => vec![
                    node("Conv", &["x", "w", "bias"], "a"),
                    node("Sigmoid", &["a"], "b"),
                    node("Mul", &["a", "b"], "c"),
                    node("Conv", &["c", "w"], "y"),
                ],
            };
            let (plain, bytes, largest) = both_ways(nodes, &picture);
            prop_assert_eq!(plain.len(), bytes.len());
            let worst = plain.iter().zip(&bytes).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Three layers, each with 1/255 of its range as a step and 18 products to add up; the kernel's weights sum up to less than 3.
            prop_assert!(worst <= 0.05 * largest, "off by {worst} where values reach {largest}");
        }
    }

    #[test]
    fn pixels_become_bytes_without_any_loss() {
        let mut model = samples::model(vec![
            samples::cast("pixels", "floats"),
            node("Sub", &["floats", "six"], "centred"),
            node("Div", &["centred", "eight"], "scaled"),
            node("Conv", &["scaled", "w"], "a"),
            node("Conv", &["a", "w"], "b"),
            node("Neg", &["scaled"], "y"),
        ]);
        // Once with the scaled value as a plain one too, once as bytes alone.
        let plain = Plan::of(&model).unwrap();
        assert!(plain.observed().any(|value| value == "scaled"));
        if let Some(graph) = &mut model.graph {
            graph.node.pop();
            graph.output[0].name = "b".into();
            graph.input.retain(|input| input.name == "pixels");
        }
        let plan = Plan::of(&model).unwrap();
        assert_eq!(plan.observed().collect::<Vec<_>>(), ["a"]);
        let range = Range { low: -80.0, high: 80.0 };
        let bytes = rewritten(&model, &plan, &BTreeMap::from([("a".to_owned(), range)])).unwrap();
        let picture: Vec<u8> = (0..=255).cycle().take(CHANNELS * 64).collect();
        let run = |model: &ModelProto| engine(model).run(&SHAPE, TensorValues::U8(&picture)).unwrap().remove(0).values;
        // What is left is the step of what comes out, and the rounding of 18 weights to a 127th of the largest.
        let worst = run(&model).iter().zip(run(&bytes)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let first = 160.0 / 255.0 / 2.0 + 18.0 * 31.125 * 0.25 / 127.0 / 2.0;
        // The second convolution adds up 18 of these, each times 0.25 at most.
        assert!(worst <= 18.0 * 0.25 * first, "{worst}");
    }
}
