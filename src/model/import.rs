//! A model that somebody else trained becomes a package. What its file says is read from it; what it does not say has to be told, and is asked
//! for: nothing is guessed.
//!
//! | of | is known by |
//! |---|---|
//! | anomaly | an output `pred_score`: exports of anomalib 2, whose scores are normalised so that 0.5 is the threshold |
//! | classification | one output `[N, C]` |
//! | detection | outputs in the shapes of a head that takt reads; where several fit, whoever imports it is asked which |
//!
//! Golden images prove the package wherever it runs later: what the processor gives for them at the import is what every other provider must give.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use prost::Message as _;

use super::golden::Gated;
use super::manifest::{
    BAR_LEVEL, FORMAT_VERSION, Fit, Golden, GoldenImage, Imported, InputSpec, Kind, Manifest, Normalisation, OutputSpec, Provenance,
    ThresholdSpec, somebody, unix_ns,
};
use super::onnx::{GraphProto, ModelProto};
use super::package::{GOLDEN, MODEL, Package, PackageError, check_place, write};
use crate::part::Verdict;
use crate::vision::decode::{DecodeError, list_images, read_image};
use crate::vision::detect::nms::Scope;
use crate::vision::detect::recognise::{Possible, recognise};
use crate::vision::detect::{HeadKind, Size};
use crate::vision::encode::encode_png;
use crate::vision::inspector::{Inspection, Overrides};
use crate::vision::ort::OrtEngine;
use crate::vision::preprocess::{Colour, Element, Filter, InputTensor, Layout, PreprocessError, SpecError};
use crate::vision::reading::Reader;
use crate::vision::{ElementType, Engine, EngineError, EngineOptions, Image, OutputTensor, Port};

/// Most golden images: each is judged at every start.
const GOLDEN_MAX: usize = 8;

/// Largest file that is imported, bytes: what ONNX itself allows for one file, its data apart.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// How far scores on another provider may be off, as a share of the larger of score and threshold: full precision, another order of additions.
const TOLERANCE: f64 = 1e-3;

/// The score that anomalib's post-processor maps its threshold to.
const ANOMALIB_THRESHOLD: f32 = 0.5;

/// The outputs of anomalib's exports.
const PRED_SCORE: &str = "pred_score";
const ANOMALY_MAP: &str = "anomaly_map";
const PRED_LABEL: &str = "pred_label";

/// Values of channels, by what those call them who train models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Range {
    /// 0 to 1: pixels / 255.
    Unit,
    /// -1 to 1: pixels / 127.5 - 1.
    Symmetric,
    /// 0 to 255: pixels as they are.
    Bytes,
    /// Pixels / 255, less the mean and divided by the deviation of ImageNet's channels: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225 for red, green, blue.
    Imagenet,
}

impl Range {
    /// Scale and offset of each channel, in the order of `colour`.
    fn affine(self, colour: Colour) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Unit => ([1.0 / 255.0; 3], [0.0; 3]),
            Self::Symmetric => ([1.0 / 127.5; 3], [-1.0; 3]),
            Self::Bytes => ([1.0; 3], [0.0; 3]),
            Self::Imagenet => {
                // torchvision's documentation of its pre-trained models.
                let (mut mean, mut deviation) = ([0.485_f32, 0.456, 0.406], [0.229_f32, 0.224, 0.225]);
                if colour == Colour::Bgr {
                    mean.reverse();
                    deviation.reverse();
                }
                (
                    deviation.map(|deviation| 1.0 / (255.0 * deviation)),
                    std::array::from_fn(|channel| -mean[channel] / deviation[channel]),
                )
            }
        }
    }
}

/// What is told about a model, besides what its file says.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression of its licence.
    pub licence: Option<String>,
    /// Size of its input where its file leaves it open: width and height, pixels.
    pub size: Option<(u32, u32)>,
    /// Order of colours.
    pub colour: Option<Colour>,
    /// Values of channels.
    pub range: Option<Range>,
    /// Its classes in order.
    pub classes: Vec<String>,
    /// Those that are no defects.
    pub ok_classes: Vec<String>,
    /// Whether scores of classes are logits.
    pub are_logits: Option<bool>,
    /// Above which score a part is not Ok.
    pub threshold: Option<f32>,
    /// How a detector writes boxes.
    pub head: Option<HeadKind>,
    /// Above which intersection over union of two boxes the worse one is dropped.
    pub iou: Option<f32>,
    /// Among which boxes.
    pub scope: Scope,
    /// How an image of another shape gets to the model's size.
    pub fit: Option<Fit>,
    /// Level of the bars beside a letterboxed image.
    pub fill: Option<u8>,
    /// How pixels become fewer.
    pub filter: Option<Filter>,
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("failed to read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Its file does not say it, and nobody did.
    #[error("failed to import {path}: its file does not say {}", .questions.join("; nor "))]
    Questions {
        /// The file.
        path: PathBuf,
        /// What, and the flag that tells it.
        questions: Vec<String>,
    },
    /// takt cannot run such a model, or what was told does not fit it.
    #[error("failed to import {path}: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// No images prove it.
    #[error("failed to import a model without golden images: {0} holds none; give a few pictures of parts, good and bad, with --golden")]
    NoGolden(PathBuf),
    /// A golden image is no image.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A golden image cannot be resized.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A golden image cannot be kept.
    #[error("failed to keep a golden image: {0}")]
    Encode(#[from] image::ImageError),
    /// The runtime does not run it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There cannot be such an input.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The package cannot be written or proven.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// A model that was imported.
#[derive(Debug, Clone)]
pub struct ImportedModel {
    /// What its package says.
    pub manifest: Manifest,
    /// What its golden images gave.
    pub gated: Vec<Gated>,
    /// What should be known.
    pub warnings: Vec<String>,
}

/// Imports the model in `file` into a package at `out`, proven by the images in `golden`.
///
/// # Errors
/// With everything that has to be told, or with what is wrong; nothing is written then. Only a package that does not pass its own gate once it is
/// written stays, to be looked at.
pub fn import(file: &Path, out: &Path, golden: &Path, wishes: &Wishes, overwrite: bool) -> Result<ImportedModel, ImportError> {
    check_place(out, overwrite)?;
    let (model, mut files) = read_model(file)?;
    let mut engine = OrtEngine::from_file(file, EngineOptions::default())?;
    let mut manifest = describe(file, &model, engine.inputs(), engine.outputs(), wishes)?;
    let mut prover = Prover::new(file, &manifest, &mut engine)?;
    for (index, path) in chosen(golden)?.iter().enumerate() {
        let image = read_image(path)?;
        let (inspection, outputs) = prover.prove(&image)?;
        check_answer(&manifest, wishes, &inspection, &outputs, prover.engine.outputs())
            .map_err(|reason| unusable(file, format!("of {} {reason}", path.display())))?;
        let name = format!("{GOLDEN}/{index}.png");
        manifest.golden.images.push(GoldenImage {
            file: name.clone(),
            score: inspection.score,
            verdict: inspection.verdict,
            findings: Some(inspection.findings.len()),
        });
        files.insert(name, encode_png(image.width, image.height, &image.rgb)?);
    }
    if manifest.golden.images.is_empty() {
        return Err(ImportError::NoGolden(golden.into()));
    }
    write(out, &manifest, &files, overwrite)?;
    let active = Package::open(out)?.activate(EngineOptions::default())?;
    Ok(ImportedModel {
        warnings: warnings(&manifest),
        manifest,
        gated: active.gated,
    })
}

fn unusable(file: &Path, reason: impl Into<String>) -> ImportError {
    ImportError::Unusable {
        path: file.into(),
        reason: reason.into(),
    }
}

/// The model, and its files by their names in a package: its own, and those of the weights that lie beside it.
fn read_model(file: &Path) -> Result<(ModelProto, BTreeMap<String, Vec<u8>>), ImportError> {
    let failed = |path: &Path, reason: String| ImportError::File { path: path.into(), reason };
    let read = |path: &Path| {
        let told = |error: std::io::Error| failed(path, format!("{error}; check the path"));
        let size = fs::metadata(path).map_err(told)?.len();
        if size > FILE_BYTES_MAX {
            return Err(failed(path, format!("it has {size} bytes; give one of at most {FILE_BYTES_MAX}")));
        }
        fs::read(path).map_err(told)
    };
    let bytes = read(file)?;
    let model =
        ModelProto::decode(bytes.as_slice()).map_err(|error| failed(file, format!("it is no ONNX model ({error}); export it as ONNX")))?;
    let mut files = BTreeMap::from([(MODEL.to_owned(), bytes)]);
    for name in model.graph.iter().flat_map(data_files).collect::<BTreeSet<_>>() {
        let mut components = Path::new(&name).components();
        let is_plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
        if !is_plain || name == MODEL {
            return Err(failed(
                file,
                format!("its weights are in {name:?}, which does not lie beside it; put all into one folder"),
            ));
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        let data = read(&folder.join(&name))?;
        files.insert(name, data);
    }
    Ok((model, files))
}

/// Names of the files that hold weights of a graph.
fn data_files(graph: &GraphProto) -> impl Iterator<Item = String> {
    let places = graph.initializer.iter().flat_map(|tensor| &tensor.external_data);
    places.filter(|entry| entry.key == "location").map(|entry| entry.value.clone())
}

/// What the package is to say, as far as the file and the wishes tell; without golden images.
fn describe(file: &Path, model: &ModelProto, inputs: &[Port], outputs: &[Port], wishes: &Wishes) -> Result<Manifest, ImportError> {
    let mut questions = Vec::new();
    let input = input(model, inputs, wishes, &mut questions).map_err(|reason| unusable(file, reason))?;
    let size = input.as_ref().map(|input| Size {
        width: input.width,
        height: input.height,
    });
    let answer = answer(outputs, size, wishes, &mut questions).map_err(|reason| unusable(file, reason))?;
    let (Some(input), Some(answer), true) = (input, answer, questions.is_empty()) else {
        return Err(ImportError::Questions {
            path: file.into(),
            questions,
        });
    };
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        name: wishes.name.clone(),
        version: wishes.version.clone(),
        kind: answer.kind,
        licence: wishes.licence.clone().unwrap_or_else(|| "NOASSERTION".into()),
        classes: answer.classes,
        ok_classes: wishes.ok_classes.clone(),
        input,
        outputs: answer.outputs,
        threshold: answer.threshold,
        provenance: Provenance::Imported(Imported {
            imported_by: somebody(),
            imported_unix_ns: unix_ns(),
            imported_from: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
            takt_version: env!("CARGO_PKG_VERSION").into(),
        }),
        files: BTreeMap::new(),
        golden: Golden {
            tolerance: BTreeMap::from([("cpu_f32".to_owned(), TOLERANCE)]),
            images: Vec::new(),
        },
    })
}

/// The input tensor, unless something about it has to be asked.
fn input(model: &ModelProto, inputs: &[Port], wishes: &Wishes, questions: &mut Vec<String>) -> Result<Option<InputSpec>, String> {
    let [port] = inputs else {
        return Err(format!("it has {} inputs; takt gives one image", inputs.len()));
    };
    let dtype = match port.element {
        Some(ElementType::U8) => Element::U8,
        Some(ElementType::F32) => Element::F32,
        None => return Err(format!("its input {port} is neither u8 nor f32; export it so")),
    };
    let &[batch, a, b, c] = port.shape.as_slice() else {
        return Err(format!(
            "its input {port} has no four dimensions; takt gives images, rows, columns and channels"
        ));
    };
    let is_colour = |length: Option<usize>| matches!(length, Some(1 | 3));
    let (layout, channels, height, width) = match (is_colour(a), is_colour(c)) {
        (true, false) => (Layout::Nchw, a, b, c),
        (false, true) => (Layout::Nhwc, c, a, b),
        _ => {
            return Err(format!(
                "in its input {port} neither the second nor the last dimension alone has 1 or 3 channels; export it with fixed channels"
            ));
        }
    };
    let size = |length: Option<usize>, told: Option<u32>, name: &str| match (length, told) {
        (Some(length), Some(told)) if length != told as usize => Err(format!(
            "its input {port} has a {name} of {length}, --size says {told}; leave --size out"
        )),
        (Some(length), _) => u32::try_from(length)
            .map(Some)
            .map_err(|_| format!("its input {port} is too large")),
        (None, told) => Ok(told),
    };
    let width = size(width, wishes.size.map(|(width, _)| width), "width")?;
    let height = size(height, wishes.size.map(|(_, height)| height), "height")?;
    if width.is_none() || height.is_none() {
        questions.push("which size its input has (--size WxH)".into());
    }
    let is_anomalib = model
        .graph
        .iter()
        .any(|graph| graph.output.iter().any(|output| output.name == PRED_SCORE));
    let colour = match (channels, wishes.colour) {
        (Some(1), _) => Some(Colour::Gray),
        (_, Some(colour)) => Some(colour),
        // anomalib reads images as RGB, whatever the model.
        (_, None) if is_anomalib => Some(Colour::Rgb),
        (_, None) => None,
    };
    if colour.is_none() {
        questions.push("in which order its colours are (--colour rgb or --colour bgr)".into());
    }
    // anomalib's pre-processor takes values from 0 to 1; without it the input goes straight into the first layer.
    let is_normalised_inside = is_anomalib
        && first_operators(model, &port.name)
            .iter()
            .any(|operator| ["Sub", "Resize"].contains(&operator.as_str()));
    let range = match (dtype, wishes.range) {
        (_, Some(range)) => Some(range),
        (Element::U8, None) => Some(Range::Bytes),
        (_, None) if is_normalised_inside => Some(Range::Unit),
        (_, None) => None,
    };
    if range.is_none() {
        questions.push("which values its input takes (--range unit, symmetric, bytes or imagenet)".into());
    }
    // What was trained on whole pictures sees them stretched; how a detector's pictures were fitted nobody can see.
    let is_told = is_anomalib || wishes.fit.is_some();
    if !is_told {
        questions.push("how pictures of another shape get to its size (--fit stretch, letterbox or letterbox_top_left)".into());
    }
    let (Some(width), Some(height), Some(colour), Some(range), true) = (width, height, colour, range, is_told) else {
        return Ok(None);
    };
    let (normalisation, affine) = match dtype {
        Element::U8 => (Normalisation::InModel, None),
        _ => (Normalisation::Affine, Some(range.affine(colour))),
    };
    Ok(Some(InputSpec {
        tiles: None,
        name: port.name.clone(),
        layout,
        dtype,
        colour,
        width,
        height,
        batch: batch.unwrap_or(1),
        normalisation,
        scale: affine.map(|(scale, _)| scale),
        offset: affine.map(|(_, offset)| offset),
        fit: wishes.fit.unwrap_or(Fit::Stretch),
        fill: wishes.fill.unwrap_or(BAR_LEVEL),
        filter: wishes.filter.unwrap_or(Filter::Bilinear),
    }))
}

/// What takes a value first.
fn first_operators(model: &ModelProto, value: &str) -> Vec<String> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes
        .filter(|node| node.input.iter().any(|input| input == value))
        .map(|node| node.op_type.clone())
        .collect()
}

/// What comes out, and what it means.
struct Answer {
    kind: Kind,
    outputs: OutputSpec,
    classes: Vec<String>,
    threshold: ThresholdSpec,
}

fn answer(outputs: &[Port], input: Option<Size>, wishes: &Wishes, questions: &mut Vec<String>) -> Result<Option<Answer>, String> {
    let has = |name: &str| outputs.iter().any(|port| port.name == name);
    if has(PRED_SCORE) {
        let chosen_by = if wishes.threshold.is_some() {
            "whoever imported it"
        } else {
            "anomalib, whose exports map their threshold to 0.5"
        };
        let score = wishes.threshold.unwrap_or(ANOMALIB_THRESHOLD);
        return Ok(Some(Answer {
            kind: Kind::Anomaly,
            outputs: OutputSpec::Anomaly {
                anomaly_map: has(ANOMALY_MAP).then(|| ANOMALY_MAP.to_owned()),
                pred_score: PRED_SCORE.to_owned(),
            },
            classes: vec!["anomaly".into()],
            threshold: ThresholdSpec {
                score,
                region: has(ANOMALY_MAP).then_some(score),
                chosen_by: chosen_by.into(),
                calibration: None,
            },
        }));
    }
    if let [port] = outputs
        && let &[_, count] = port.shape.as_slice()
    {
        return of_classes(port, count, wishes, questions);
    }
    of_boxes(outputs, input, wishes, questions)
}

/// A detector, once it is known which.
fn of_boxes(outputs: &[Port], input: Option<Size>, wishes: &Wishes, questions: &mut Vec<String>) -> Result<Option<Answer>, String> {
    let told = (!wishes.classes.is_empty()).then_some(wishes.classes.len());
    let possible = recognise(outputs, told, input);
    let found = outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let possible: Vec<Possible> = possible
        .into_iter()
        .filter(|possible| wishes.head.is_none_or(|head| head == possible.kind))
        .collect();
    let head = match possible.as_slice() {
        [] => {
            return Err(format!(
                "its outputs {found} are none that takt reads, with what was told of them; see docs/models.md"
            ));
        }
        [only] => Some(only),
        several => {
            let names: Vec<&str> = several.iter().map(|possible| possible.kind.name()).collect();
            questions.push(format!("which head its outputs {found} are of (--head {})", names.join(" or ")));
            None
        }
    };
    if wishes.classes.is_empty() {
        let count = head
            .and_then(|head| head.classes)
            .map_or_else(|| "its".to_owned(), |count| format!("its {count}"));
        questions.push(format!("how {count} classes are called (--class NAME, once for each, in order)"));
    }
    if let Some(unknown) = wishes
        .ok_classes
        .iter()
        .find(|class| told.is_some() && !wishes.classes.contains(class))
    {
        return Err(format!("--ok-class {unknown} is none of its classes; name one that --class names"));
    }
    if wishes.threshold.is_none() {
        questions.push("above which score a box makes a part not Ok (--threshold, for example 0.5)".into());
    }
    let overlaps = head.is_some_and(|head| head.kind.overlaps());
    if overlaps && wishes.iou.is_none() {
        questions.push("how much boxes may overlap (--iou, for example 0.45)".into());
    }
    let (Some(head), Some(score), true) = (head, wishes.threshold, told.is_some()) else {
        return Ok(None);
    };
    let tensors = head.outputs.iter().filter_map(|position| outputs.get(*position));
    Ok(Some(Answer {
        kind: Kind::Detection,
        outputs: OutputSpec::Boxes {
            boxes: head.kind,
            tensors: tensors.map(|port| port.name.clone()).collect(),
            coefficients: head.coefficients,
            iou: wishes.iou.unwrap_or(1.0),
            scope: wishes.scope,
        },
        classes: wishes.classes.clone(),
        threshold: ThresholdSpec {
            score,
            region: None,
            chosen_by: "whoever imported it".into(),
            calibration: None,
        },
    }))
}

fn of_classes(port: &Port, count: Option<usize>, wishes: &Wishes, questions: &mut Vec<String>) -> Result<Option<Answer>, String> {
    if wishes.classes.is_empty() {
        let count = count.map_or_else(|| "its".to_owned(), |count| format!("its {count}"));
        questions.push(format!("how {count} classes are called (--class NAME, once for each, in order)"));
    } else if count.is_some_and(|count| count != wishes.classes.len()) {
        return Err(format!(
            "its output {port} has other than the {} classes that --class names",
            wishes.classes.len()
        ));
    }
    if wishes.ok_classes.is_empty() {
        questions.push("which class is a good part (--ok-class NAME)".into());
    }
    if let Some(unknown) = wishes
        .ok_classes
        .iter()
        .find(|class| !wishes.classes.is_empty() && !wishes.classes.contains(class))
    {
        return Err(format!("--ok-class {unknown} is none of its classes; name one that --class names"));
    }
    if wishes.are_logits.is_none() {
        questions.push("whether its scores are logits or sum up to 1 (--scores logits or --scores shares)".into());
    }
    if wishes.threshold.is_none() {
        questions.push("above which share of defects a part is not Ok (--threshold, for example 0.5)".into());
    }
    let (Some(are_logits), Some(score)) = (wishes.are_logits, wishes.threshold) else {
        return Ok(None);
    };
    Ok(Some(Answer {
        kind: Kind::Classification,
        outputs: OutputSpec::Classes {
            scores: port.name.clone(),
            are_logits,
        },
        classes: wishes.classes.clone(),
        threshold: ThresholdSpec {
            score,
            region: None,
            chosen_by: "whoever imported it".into(),
            calibration: None,
        },
    }))
}

/// The images of a folder that prove a model: some, evenly spread over their names.
fn chosen(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let paths = list_images(folder).map_err(|error| ImportError::File {
        path: folder.into(),
        reason: format!("{error}; give a folder of images with --golden"),
    })?;
    let count = paths.len().min(GOLDEN_MAX);
    Ok((0..count).map(|index| paths[index * paths.len() / count].clone()).collect())
}

/// Judges images as the package will.
struct Prover<'a> {
    engine: &'a mut OrtEngine,
    tensor: InputTensor,
    reader: Reader,
}

impl<'a> Prover<'a> {
    fn new(file: &Path, manifest: &Manifest, engine: &'a mut OrtEngine) -> Result<Self, ImportError> {
        let reader = Reader::new(manifest, engine.outputs()).map_err(|reason| unusable(file, reason))?;
        Ok(Self {
            engine,
            tensor: manifest.input.tensor()?,
            reader,
        })
    }

    fn prove(&mut self, image: &Image) -> Result<(Inspection, Vec<OutputTensor>), ImportError> {
        let placement = self.tensor.set_image(0, image, None)?;
        let outputs = self.engine.run(&self.tensor.shape(), self.tensor.values())?;
        let inspection = self.reader.read(outputs.clone(), &placement, Overrides::default());
        Ok((inspection, outputs))
    }
}

/// Whether what a golden image gave can be relied on: a score, and the model's own label, where it gives one and its threshold was assumed.
fn check_answer(
    manifest: &Manifest,
    wishes: &Wishes,
    inspection: &Inspection,
    outputs: &[OutputTensor],
    ports: &[Port],
) -> Result<(), String> {
    if inspection.verdict == Verdict::NotDecidable {
        return Err("its score is of no use; check --range, --colour and --size".into());
    }
    let is_assumed = manifest.kind == Kind::Anomaly && wishes.threshold.is_none();
    let label = ports.iter().position(|port| port.name == PRED_LABEL).filter(|_| is_assumed);
    let label = label.and_then(|position| outputs.get(position)?.values.first());
    if label.is_some_and(|label| (*label > 0.5) != (inspection.verdict == Verdict::NotOk)) {
        return Err(format!(
            "its own label does not follow from its score of {:.4} and anomalib's threshold of {ANOMALIB_THRESHOLD}; give the threshold that it was \
             exported with (--threshold)",
            inspection.score
        ));
    }
    Ok(())
}

/// What should be known of a model that was imported.
fn warnings(manifest: &Manifest) -> Vec<String> {
    let mut warnings = Vec::new();
    if manifest.licence == "NOASSERTION" {
        warnings.push("nobody said under which licence the model may be used; give it with --licence (SPDX)".into());
    }
    if manifest.licence.contains("AGPL") {
        warnings.push("AGPL: whoever uses the box over a network may ask for the source of all that is combined with the model; Ultralytics sells other licences".into());
    }
    if manifest.input.batch > 1 {
        warnings.push(format!(
            "the model takes {} images at once, so each part costs as much as {}; export it with a batch of 1, or a free one",
            manifest.input.batch, manifest.input.batch
        ));
    }
    warnings
}
