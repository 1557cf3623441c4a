//! `model.toml`: what a package holds, how it was made, and the hashes that prove it is whole.
//!
//! The last line is a comment with the SHA-256 of everything above it, so that a changed threshold is noticed as surely as a changed weight.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::part::Verdict;
use crate::vision::detect::HeadKind;
use crate::vision::detect::nms::Scope;
use crate::vision::pixels::ScoreForm;
use crate::vision::preprocess::{self, Colour, Element, Filter, InputTensor, Layout, Place, SpecError, TensorSpec};
use crate::vision::tiling::{TILES_TOGETHER, Tiles};

/// Version of the package format that this takt writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// What starts the line that holds the manifest's own hash.
const SEAL: &str = "# sha256 of all lines above: ";

/// A model package's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format_version: u32,
    /// Name of the model.
    pub name: String,
    /// Version of the model, chosen by whoever taught it.
    pub version: String,
    /// What the model does.
    pub kind: Kind,
    /// SPDX expression of the licence of the weights inside.
    pub licence: String,
    /// Classes a finding can have, by the index the model gives.
    pub classes: Vec<String>,
    /// Those of them that are no defects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ok_classes: Vec<String>,
    /// What goes in.
    pub input: InputSpec,
    /// What comes out.
    pub outputs: OutputSpec,
    /// Above which score a part is not Ok.
    pub threshold: ThresholdSpec,
    /// How the model was made.
    pub provenance: Provenance,
    /// How it came to compute with bytes; absent where it computes with 32-bit numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<Quantisation>,
    /// SHA-256 of each file of the package but this one, by its path inside the package.
    pub files: BTreeMap<String, String>,
    /// What the model must answer before it may be used.
    pub golden: Golden,
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Scores how unlike the good parts an image is.
    Anomaly,
    /// Finds boxes of known classes.
    Detection,
    /// Tells which of known classes an image is.
    Classification,
    /// Tells the class of each pixel.
    Segmentation,
}

impl Kind {
    /// The name used in manifests and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::Detection => "detection",
            Self::Classification => "classification",
            Self::Segmentation => "segmentation",
        }
    }
}

/// The input tensor of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Name in the graph.
    pub name: String,
    /// Order of the dimensions.
    pub layout: Layout,
    /// Element type.
    pub dtype: Element,
    /// Order of the colour channels.
    pub colour: Colour,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// How many images the graph takes at once, where it leaves no choice; all but the first are blank.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub batch: usize,
    /// Who normalises.
    pub normalisation: Normalisation,
    /// What a value of a channel is: `pixel * scale + offset`, pixels from 0 to 255. Only where takt normalises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<[f32; 3]>,
    /// The other half of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<[f32; 3]>,
    /// How an image of another shape gets to the model's size.
    pub fit: Fit,
    /// Level of the bars beside a letterboxed picture, 0 to 255.
    #[serde(default = "bar_level", skip_serializing_if = "is_bar_level")]
    pub fill: u8,
    /// How pixels become fewer, or more.
    #[serde(default = "bilinear")]
    pub filter: Filter,
    /// How pictures are cut into tiles, each of which is then a picture to the model; whole without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiles>,
}

impl InputSpec {
    /// The tensor that it takes.
    ///
    /// # Errors
    /// When there cannot be such a tensor.
    pub fn tensor(&self) -> Result<InputTensor, SpecError> {
        InputTensor::new(self.tensor_spec(), self.batch)
    }

    /// The tensor for several tiles at once, of a graph that takes any number.
    ///
    /// # Errors
    /// When there cannot be such a tensor.
    pub fn tensor_of_tiles(&self) -> Result<InputTensor, SpecError> {
        InputTensor::new(self.tensor_spec(), TILES_TOGETHER)
    }

    fn tensor_spec(&self) -> TensorSpec {
        let letterbox = |place| preprocess::Fit::Letterbox {
            place,
            fill: self.fill,
            grow: true,
        };
        let scale = self.scale.unwrap_or(match self.dtype {
            Element::U8 => [1.0; 3],
            Element::F32 | Element::F16 => [1.0 / 255.0; 3],
        });
        let offset = self.offset.unwrap_or_default();
        TensorSpec {
            width: self.width,
            height: self.height,
            layout: self.layout,
            element: self.dtype,
            colour: self.colour,
            scale: 1.0,
            mean: std::array::from_fn(|channel| -offset[channel] / scale[channel]),
            std: scale.map(f32::recip),
            fit: match self.fit {
                Fit::Stretch => preprocess::Fit::Stretch,
                Fit::Letterbox => letterbox(Place::Centre),
                Fit::LetterboxTopLeft => letterbox(Place::TopLeft),
            },
            filter: self.filter,
        }
    }
}

/// Level of the bars beside a picture where nobody says another: that of Ultralytics and YOLOX.
pub const BAR_LEVEL: u8 = 114;

fn bar_level() -> u8 {
    BAR_LEVEL
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_bar_level(level: &u8) -> bool {
    *level == BAR_LEVEL
}

fn bilinear() -> Filter {
    Filter::Bilinear
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(count: &usize) -> bool {
    *count == 1
}

macro_rules! words {
    ($(#[doc = $doc:expr])+ $name:ident { $($(#[doc = $of:expr])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
        pub enum $name {
            $($(#[doc = $of])+ #[serde(rename = $word)] #[value(name = $word)] $variant,)+
        }

        impl $name {
            /// The word in manifests and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// Who brings pixels to the range that the model computes with.
    Normalisation {
        /// The graph itself: it takes pixels, or pixels / 255 where its input is a float.
        InModel = "in_model",
        /// Whoever makes the tensor, by scale and offset.
        Affine = "affine",
    }
}

words! {
    /// How an image of another shape gets to the model's size.
    Fit {
        /// Each axis by itself.
        Stretch = "stretch",
        /// Both axes alike; what is left over is grey, half of it on either side.
        Letterbox = "letterbox",
        /// Both axes alike; what is left over is grey, right and below.
        LetterboxTopLeft = "letterbox_top_left",
    }
}

/// What comes out of a model, and how it is read: output tensors by name and meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "head", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutputSpec {
    /// Scores per pixel and per image.
    Anomaly {
        /// Scores per pixel: f32 `[N, 1, H, W]`; a model may have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anomaly_map: Option<String>,
        /// Score per image: f32 `[N]` or `[N, 1]`.
        pred_score: String,
    },
    /// Boxes.
    Boxes {
        /// How they are written into the tensors.
        boxes: HeadKind,
        /// The tensors, in the order that the head has them.
        tensors: Vec<String>,
        /// Mask coefficients of each box.
        #[serde(default, skip_serializing_if = "is_none")]
        coefficients: usize,
        /// Boxes that overlap a better one by more than this (intersection over union) are dropped; of no meaning to heads that suppress by
        /// themselves.
        iou: f32,
        /// Among which boxes.
        scope: Scope,
    },
    /// A score per class: f32 `[N, C]`.
    Classes {
        /// The tensor.
        scores: String,
        /// Whether its values are logits, and not yet shares that sum up to 1.
        are_logits: bool,
    },
    /// A class per pixel: scores `[N, C, h, w]` or labels `[N, h, w]`, `[N, 1, h, w]`; its width and height are the input's or a share of it.
    Pixels {
        /// The tensor.
        scores: String,
        /// What its values are.
        form: ScoreForm,
    },
}

impl OutputSpec {
    /// The output tensors that are read.
    pub fn tensors(&self) -> Vec<&str> {
        match self {
            Self::Anomaly { anomaly_map, pred_score } => anomaly_map.iter().chain([pred_score]).map(String::as_str).collect(),
            Self::Boxes { tensors, .. } => tensors.iter().map(String::as_str).collect(),
            Self::Classes { scores, .. } | Self::Pixels { scores, .. } => vec![scores],
        }
    }
}

/// Limits and how they were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdSpec {
    /// A part whose score is above this is not Ok.
    pub score: f32,
    /// Pixels whose score is above this belong to a finding. Of no meaning to models without a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<f32>,
    /// How both were chosen, in words.
    pub chosen_by: String,
    /// What they were calibrated on; `None` for models that were imported with their limits.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// What limits were calibrated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Share of good parts that may be rejected, as asked for.
    pub requested_false_reject_rate: f64,
    /// The smallest share that this many good images can vouch for.
    pub supported_false_reject_rate: f64,
    /// Good images the limits were chosen from.
    pub good_images: usize,
    /// Whether the limits lie beyond every score seen, because too few images were given for the rate.
    pub beyond_data: bool,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Provenance {
    /// takt taught it.
    Taught(Box<Teaching>),
    /// Somebody else trained it.
    Imported(Imported),
}

impl Provenance {
    /// How it was taught, if it was.
    pub fn teaching(&self) -> Option<&Teaching> {
        match self {
            Self::Taught(teaching) => Some(teaching),
            Self::Imported(_) => None,
        }
    }
}

/// How a model was imported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// Who imported it.
    pub imported_by: String,
    /// When, unix nanoseconds.
    pub imported_unix_ns: i64,
    /// The file it was imported from.
    pub imported_from: String,
    /// What wrote that file, as the file says.
    pub producer: String,
    /// Version of takt.
    pub takt_version: String,
}

/// How a model was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teaching {
    /// Who taught it.
    pub taught_by: String,
    /// When, unix nanoseconds.
    pub taught_unix_ns: i64,
    /// The folder of good images.
    pub taught_from: String,
    /// How many images it was taught from, those of the package that it extends among them.
    pub images: usize,
    /// SHA-256 over the pixels of all of them, in order; of an extended package over that of its base and the pixels of the new ones.
    pub images_sha256: String,
    /// Version of takt.
    pub takt_version: String,
    /// The package that it extends; absent for one that was taught at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_from: Option<Extended>,
    /// Method and its settings.
    pub method: MethodSpec,
    /// The backbone.
    pub backbone: BackboneSpec,
}

/// A package that another one extends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extended {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its `model.toml`, which names the hash of each of its files.
    pub sha256: String,
    /// How many images it was taught from.
    pub images: usize,
    /// The folder of its good images.
    pub taught_from: String,
}

words! {
    /// How good images are varied for fitting.
    Variation {
        /// Brightness, contrast, exponent and warmth, a little.
        Light = "light",
        /// Shift, rotation and scale, a little.
        Pose = "pose",
    }
}

/// Method and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// `patchcore`, `padim` or `relative`.
    pub name: String,
    /// Patches in the memory bank; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<usize>,
    /// Nearest patches averaged; absent without a bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<usize>,
    /// Share of a part's own calm level that is taken off; absent where no part is its own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_level: Option<f32>,
    /// Whether each image is first brought to one light and contrast; the graph does it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_contrast: bool,
    /// How good images were varied for fitting; none if they were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Variation>,
    /// Seed of everything random.
    pub seed: u64,
}

/// The backbone a model was taught with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneSpec {
    /// Its name.
    pub name: String,
    /// SHA-256 of its ONNX file.
    pub sha256: String,
    /// Licence of its weights.
    pub licence: String,
    /// Where they come from.
    pub provenance: String,
}

words! {
    /// What a model computes with.
    Precision {
        /// 32-bit floating point.
        F32 = "f32",
        /// Bytes, in its convolutions at least.
        Int8 = "int8",
    }
}

/// How a model came to compute with bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// What it computes with.
    pub precision: Precision,
    /// Who quantised it.
    pub quantised_by: String,
    /// When, unix nanoseconds.
    pub quantised_unix_ns: i64,
    /// The folder of good images that its ranges were taken from.
    pub quantised_from: String,
    /// How many of them.
    pub images: usize,
    /// Convolutions that compute with bytes.
    pub convolutions: usize,
    /// Convolutions that do not.
    pub convolutions_plain: usize,
    /// SHA-256 of the `model.onnx` that it was made of.
    pub model_sha256: String,
    /// Version of takt.
    pub takt_version: String,
}

/// What a model must answer before it may be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// How far a score may be off, as a share of the larger of score and threshold, by `provider_precision`.
    pub tolerance: BTreeMap<String, f64>,
    /// The images.
    #[serde(rename = "image")]
    pub images: Vec<GoldenImage>,
}

/// One golden image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenImage {
    /// Its path inside the package; a PNG of the model's input size.
    pub file: String,
    /// The score that the reference gave it: takt's own scorer for models that it taught, the processor for those that were imported.
    pub score: f32,
    /// The verdict that follows.
    pub verdict: Verdict,
    /// How many findings there are; `None` where that is not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<usize>,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Written by a newer takt.
    #[error("its format version is {found}, this takt reads up to {FORMAT_VERSION}; update takt, or teach the model again with this one")]
    Newer {
        /// The version found.
        found: i64,
    },
    /// Bytes changed after it was written.
    #[error("model.toml was changed after it was written; restore it from a copy, or teach the model again")]
    Changed,
    /// No manifest that makes sense.
    #[error("model.toml is not valid: {0}")]
    Invalid(String),
}

impl Manifest {
    /// What the model computes with.
    pub fn precision(&self) -> Precision {
        self.quantisation
            .as_ref()
            .map_or(Precision::F32, |quantisation| quantisation.precision)
    }

    /// The manifest as text, sealed by its own hash.
    ///
    /// # Errors
    /// When a value cannot be written as TOML, such as an integer above 2^63 - 1.
    pub fn to_text(&self) -> Result<String, ManifestError> {
        let body = toml::to_string(self).map_err(|error| ManifestError::Invalid(error.to_string()))?;
        let hash = sha256_hex(body.as_bytes());
        Ok(format!("{body}{SEAL}{hash}\n"))
    }

    /// Reads a manifest and checks its seal and version.
    ///
    /// # Errors
    /// When it was written by a newer takt, was changed, or is no manifest.
    pub fn from_text(text: &str) -> Result<Self, ManifestError> {
        // The version comes first: a newer format may be sealed in another way.
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("format_version = ")?.trim().parse::<i64>().ok());
        if let Some(found) = version.filter(|found| *found > i64::from(FORMAT_VERSION)) {
            return Err(ManifestError::Newer { found });
        }
        let (body, seal) = text.rsplit_once(SEAL).ok_or(ManifestError::Changed)?;
        if seal != format!("{}\n", sha256_hex(body.as_bytes())) {
            return Err(ManifestError::Changed);
        }
        let invalid = |error: toml::de::Error| ManifestError::Invalid(error.to_string());
        if version != Some(1) {
            return toml::from_str(body).map_err(invalid);
        }
        let mut table: toml::Table = toml::from_str(body).map_err(invalid)?;
        from_version_1(&mut table);
        table.try_into().map_err(invalid)
    }
}

/// Format 1 knew anomaly models only, so it did not say how their outputs are read.
fn from_version_1(manifest: &mut toml::Table) {
    if let Some(toml::Value::Table(outputs)) = manifest.get_mut("outputs") {
        outputs.insert("head".into(), "anomaly".into());
    }
}

/// Who makes a package, as the system knows them.
pub fn somebody() -> String {
    std::env::var("USER").unwrap_or_else(|_| "unknown".into())
}

/// When a package is made, unix nanoseconds.
pub fn unix_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first format was, as takt 0.1 wrote it.
    const VERSION_1: &str = include_str!("../../tests/fixtures/model_v1.toml");

    #[test]
    fn the_first_format_is_read_for_good() {
        let manifest = Manifest::from_text(VERSION_1).unwrap();
        let outputs = OutputSpec::Anomaly {
            anomaly_map: Some("anomaly_map".into()),
            pred_score: "pred_score".into(),
        };
        assert_eq!((manifest.kind, manifest.outputs), (Kind::Anomaly, outputs));
        assert_eq!(manifest.input.tensor().unwrap().spec(), &TensorSpec::taught(64, 64));
        assert_eq!(manifest.threshold.calibration.map(|calibration| calibration.good_images), Some(60));
        assert_eq!(manifest.provenance.teaching().map(|teaching| teaching.images), Some(60));
        assert_eq!(manifest.golden.images.len(), 5);
    }

    #[test]
    fn every_kind_of_output_survives_writing() {
        let written = Manifest::from_text(VERSION_1).unwrap();
        let heads = [
            written.outputs.clone(),
            OutputSpec::Boxes {
                boxes: HeadKind::YoloV8,
                tensors: vec!["output0".into()],
                coefficients: 0,
                iou: 0.5,
                scope: Scope::PerClass,
            },
            OutputSpec::Classes {
                scores: "logits".into(),
                are_logits: true,
            },
            OutputSpec::Pixels {
                scores: "labels".into(),
                form: ScoreForm::Labels,
            },
        ];
        for outputs in heads {
            let manifest = Manifest {
                format_version: FORMAT_VERSION,
                outputs,
                ok_classes: vec!["good".into()],
                provenance: Provenance::Imported(Imported {
                    imported_by: "a".into(),
                    imported_unix_ns: 1,
                    imported_from: "b.onnx".into(),
                    producer: "c 1".into(),
                    takt_version: "0.1.0".into(),
                }),
                ..written.clone()
            };
            assert_eq!(Manifest::from_text(&manifest.to_text().unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn a_change_breaks_the_seal() {
        let changed = VERSION_1.replace("35.809708", "99.0");
        assert_ne!(changed, VERSION_1);
        assert_eq!(Manifest::from_text(&changed), Err(ManifestError::Changed));
    }
}
