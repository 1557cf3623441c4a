//! `model.toml`: what a package holds, how it was made, and the hashes that prove it is whole.
//!
//! The last line is a comment with the SHA-256 of everything above it, so that a changed threshold is noticed as surely as a changed weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::part::Verdict;

/// Version of the package format that this takt writes and reads.
pub const FORMAT_VERSION: u32 = 1;

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
    /// Classes a finding can have.
    pub classes: Vec<String>,
    /// What goes in.
    pub input: InputSpec,
    /// What comes out.
    pub outputs: OutputSpec,
    /// Above which score a part is not Ok.
    pub threshold: ThresholdSpec,
    /// How the model was made.
    pub provenance: Provenance,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Name in the graph.
    pub name: String,
    /// Order of the dimensions; `nhwc`.
    pub layout: String,
    /// Element type; `u8`.
    pub dtype: String,
    /// Order of the colour channels; `rgb`.
    pub colour: String,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Who normalises; `in_model`.
    pub normalisation: String,
    /// How an image of another shape gets to the model's size; `stretch`.
    pub fit: String,
}

/// The output tensors of an anomaly model, by name and meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Scores per pixel: f32 `[N, 1, H, W]`.
    pub anomaly_map: String,
    /// Score per image: f32 `[N]`.
    pub pred_score: String,
}

/// Limits and how they were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdSpec {
    /// A part whose score is above this is not Ok.
    pub score: f32,
    /// Pixels whose score is above this belong to a finding.
    pub region: f32,
    /// How both were chosen, in words.
    pub chosen_by: String,
    /// Share of good parts that may be rejected, as asked for.
    pub requested_false_reject_rate: f64,
    /// The smallest share that this many good images can vouch for.
    pub supported_false_reject_rate: f64,
    /// Good images the limits were chosen from.
    pub good_images: usize,
    /// Whether the limits lie beyond every score seen, because too few images were given for the rate.
    pub beyond_data: bool,
}

/// How a model was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who taught it.
    pub taught_by: String,
    /// When, unix nanoseconds.
    pub taught_unix_ns: i64,
    /// The folder of good images.
    pub taught_from: String,
    /// How many images it was taught from.
    pub images: usize,
    /// SHA-256 over the pixels of all of them, in order.
    pub images_sha256: String,
    /// Version of takt.
    pub takt_version: String,
    /// Method and its settings.
    pub method: MethodSpec,
    /// The backbone.
    pub backbone: BackboneSpec,
}

/// Method and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// `patchcore` or `padim`.
    pub name: String,
    /// Patches in the memory bank; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<usize>,
    /// Nearest patches averaged; absent without a bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<usize>,
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
    /// The score that the reference scorer gave it.
    pub score: f32,
    /// The verdict that follows.
    pub verdict: Verdict,
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
        toml::from_str(body).map_err(|error| ManifestError::Invalid(error.to_string()))
    }
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
