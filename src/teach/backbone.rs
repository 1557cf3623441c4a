//! Backbones: pretrained networks that turn an image into feature maps. One is built in; any other comes as an ONNX file with a manifest beside it.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use serde::Deserialize;

use crate::model::manifest::sha256_hex;
use crate::model::onnx::{FLOAT, ModelProto};

/// Name of the backbone that is built in.
pub const BUILT_IN: &str = "efficientnet_lite0";
const BUILT_IN_ONNX: &[u8] = include_bytes!("../../models/backbones/efficientnet_lite0_s8_s16.onnx");
const BUILT_IN_MANIFEST: &str = include_str!("../../models/backbones/efficientnet_lite0_s8_s16.toml");

/// Version of the manifest format that this takt reads.
const FORMAT_VERSION: u32 = 1;

/// Oldest and newest operator set the emitted graph is written for.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=22;

/// What a backbone says about itself (the TOML file beside it).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneManifest {
    /// Version of this format.
    pub format_version: u32,
    /// Name, for people.
    pub name: String,
    /// SPDX expression of the weights' licence.
    pub licence: String,
    /// Where the weights come from.
    pub provenance: String,
    /// SHA-256 of the ONNX file, if it is to be checked.
    pub sha256: Option<String>,
    /// Name of the graph's input: f32 `[N, 3, H, W]`.
    pub input: String,
    /// Order of the colour channels; only `rgb`.
    pub colour: String,
    /// Subtracted from each channel's value (0 to 255).
    pub mean: [f32; 3],
    /// What the difference is divided by.
    pub std: [f32; 3],
    /// Width and height must be multiples of this.
    pub size_multiple: u32,
    /// The feature maps to use, finest first.
    #[serde(rename = "feature")]
    pub features: Vec<FeatureMap>,
}

/// One output of a backbone: f32 `[N, channels, H / stride, W / stride]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMap {
    /// Name of the graph's output.
    pub output: String,
    /// Pixels per feature.
    pub stride: u32,
    /// Values per feature.
    pub channels: usize,
}

/// A backbone that can be used.
#[derive(Debug, Clone)]
pub struct Backbone {
    /// What it says about itself.
    pub manifest: BackboneManifest,
    /// The network.
    pub model: ModelProto,
    /// The network as it was read.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub sha256: String,
}

/// Why a backbone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// Neither a built-in name nor a file.
    #[error("failed to find backbone {0}: it is neither a file nor the built-in \"{BUILT_IN}\"")]
    Unknown(String),
    /// A file could not be read.
    #[error(
        "failed to read {path}: {source}; a backbone is an ONNX file NAME.onnx with its manifest NAME.toml beside it (models/backbones/README.md)"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is wrong.
    #[error("failed to read backbone manifest {path}: {reason}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The ONNX file is wrong.
    #[error("failed to use backbone {path}: {reason}")]
    Model {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Backbone {
    /// The backbone called `name`, or the one in the ONNX file of that path.
    ///
    /// # Errors
    /// When there is no such backbone, or the file and its manifest do not say the same.
    pub fn open(name: &str) -> Result<Self, BackboneError> {
        if name == BUILT_IN {
            return Self::parse(
                Path::new("efficientnet_lite0_s8_s16.onnx"),
                BUILT_IN_ONNX.to_vec(),
                BUILT_IN_MANIFEST,
            );
        }
        let path = Path::new(name);
        if !path.exists() {
            return Err(BackboneError::Unknown(name.into()));
        }
        let read = |path: &Path, source| BackboneError::Read { path: path.into(), source };
        let bytes = fs::read(path).map_err(|error| read(path, error))?;
        let manifest = path.with_extension("toml");
        let text = fs::read_to_string(&manifest).map_err(|error| read(&manifest, error))?;
        Self::parse(path, bytes, &text)
    }

    fn parse(path: &Path, bytes: Vec<u8>, manifest: &str) -> Result<Self, BackboneError> {
        let manifest_error = |reason: String| BackboneError::Manifest {
            path: path.with_extension("toml"),
            reason,
        };
        let model_error = |reason: String| BackboneError::Model { path: path.into(), reason };
        let manifest: BackboneManifest = toml::from_str(manifest).map_err(|error| manifest_error(error.to_string()))?;
        check_manifest(&manifest).map_err(manifest_error)?;
        let sha256 = sha256_hex(&bytes);
        if manifest.sha256.as_ref().is_some_and(|expected| *expected != sha256) {
            return Err(model_error(
                "its SHA-256 is not the one in the manifest; restore the file, or state the new hash".into(),
            ));
        }
        let model = ModelProto::decode(bytes.as_slice()).map_err(|error| model_error(format!("it is no ONNX model ({error})")))?;
        check_model(&model, &manifest).map_err(model_error)?;
        Ok(Self {
            manifest,
            model,
            bytes,
            sha256,
        })
    }

    /// Version of ONNX's operator set the network is written in.
    pub fn opset(&self) -> i64 {
        opset(&self.model).unwrap_or_default()
    }

    /// Values per patch: the channels of all feature maps.
    pub fn channels(&self) -> usize {
        self.manifest.features.iter().map(|feature| feature.channels).sum()
    }
}

fn opset(model: &ModelProto) -> Option<i64> {
    model
        .opset_import
        .iter()
        .find(|set| set.domain.is_empty() || set.domain == "ai.onnx")
        .map(|set| set.version)
}

fn check_manifest(manifest: &BackboneManifest) -> Result<(), String> {
    if manifest.format_version != FORMAT_VERSION {
        return Err(format!(
            "format_version is {}, this takt reads {FORMAT_VERSION}",
            manifest.format_version
        ));
    }
    if manifest.colour != "rgb" {
        return Err(format!("colour is \"{}\", only \"rgb\" is supported", manifest.colour));
    }
    if manifest.std.iter().any(|std| !std.is_normal()) || manifest.mean.iter().any(|mean| !mean.is_finite()) {
        return Err("mean and std must be finite, and std not zero".into());
    }
    let Some(finest) = manifest.features.first() else {
        return Err("it lists no [[feature]]".into());
    };
    for feature in &manifest.features {
        if feature.channels == 0
            || feature.stride < finest.stride
            || manifest.size_multiple == 0
            || !manifest.size_multiple.is_multiple_of(feature.stride)
        {
            return Err(format!(
                "feature \"{}\": channels must not be 0, strides must grow, and size_multiple {} must be a multiple of stride {}",
                feature.output, manifest.size_multiple, feature.stride
            ));
        }
    }
    Ok(())
}

fn check_model(model: &ModelProto, manifest: &BackboneManifest) -> Result<(), String> {
    let Some(graph) = &model.graph else {
        return Err("it is no ONNX model (it has no graph)".into());
    };
    let version = opset(model).ok_or("it names no ONNX operator set")?;
    if !OPSETS.contains(&version) {
        return Err(format!(
            "it uses operator set {version}; convert it to one from {} to {}",
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    if !model.functions.is_empty() || !graph.sparse_initializer.is_empty() {
        return Err("it has local functions or sparse initialisers; export it without".into());
    }
    if graph
        .initializer
        .iter()
        .any(|tensor| tensor.data_location != 0 || !tensor.external_data.is_empty())
    {
        return Err("its weights are in another file; save it with the weights inside".into());
    }
    let constants: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !constants.contains(&input.name.as_str()))
        .collect();
    match inputs.as_slice() {
        [input] if input.name == manifest.input => {
            let element = input
                .r#type
                .as_ref()
                .and_then(|ty| ty.tensor_type.as_ref())
                .map(|tensor| tensor.elem_type);
            if element != Some(FLOAT) {
                return Err(format!("its input \"{}\" is not f32", manifest.input));
            }
        }
        _ => {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(format!(
                "its inputs are {names:?}, the manifest states \"{}\" alone",
                manifest.input
            ));
        }
    }
    for feature in &manifest.features {
        if !graph.output.iter().any(|output| output.name == feature.output) {
            let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
            return Err(format!("it has no output \"{}\" (it has {names:?})", feature.output));
        }
    }
    Ok(())
}
