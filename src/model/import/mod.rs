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

mod file;
mod input;
mod origin;
mod outputs;
mod proof;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::input::Range;

use self::file::ModelFile;
use super::golden::Gated;
use super::manifest::{FORMAT_VERSION, Fit, Golden, Imported, Manifest, Provenance, somebody, unix_ns};
use super::package::{Package, PackageError, check_place, write};
use crate::vision::decode::DecodeError;
use crate::vision::detect::HeadKind;
use crate::vision::detect::nms::Scope;
use crate::vision::pixels::ScoreForm;
use crate::vision::preprocess::{Colour, Filter, PreprocessError, SpecError};
use crate::vision::tiling::{Tiles, TooManyTiles};
use crate::vision::{Engine, EngineError, EngineOptions, Port};

/// How far scores on another provider may be off, as a share of the larger of score and threshold: full precision, another order of additions.
const TOLERANCE: f64 = 1e-3;

/// The score that anomalib's post-processor maps its threshold to.
const ANOMALIB_THRESHOLD: f32 = 0.5;

/// The outputs of anomalib's exports.
const PRED_SCORE: &str = "pred_score";
const ANOMALY_MAP: &str = "anomaly_map";
const PRED_LABEL: &str = "pred_label";

/// What is told about a model, besides what its file says.
#[derive(Debug, Clone, Default)]
pub struct Told {
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
    /// What its scores of classes are.
    pub scores: Option<ScoreForm>,
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
    /// How pictures are cut, each tile then a picture to the model; whole without.
    pub tiles: Option<Tiles>,
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
    #[error(
        "failed to import a model without golden images: {0} holds none that prove it; give a few pictures of parts, good and bad, with --golden"
    )]
    NoGolden(PathBuf),
    /// A golden image is no image.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A golden image cannot be resized.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A golden image is too large for the tiles.
    #[error(transparent)]
    Tiles(#[from] TooManyTiles),
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

/// What has to be asked, all at once.
#[derive(Debug, Default)]
struct Questions(Vec<String>);

impl Questions {
    fn ask(&mut self, question: impl Into<String>) {
        self.0.push(question.into());
    }

    /// What is known, or the question.
    fn unless<T>(&mut self, known: Option<T>, question: &str) -> Option<T> {
        if known.is_none() {
            self.ask(question);
        }
        known
    }
}

/// Imports the model in `file` into a package at `out`, proven by the images in `golden`.
///
/// # Errors
/// With everything that has to be told, or with what is wrong; nothing is written then. Only a package that does not pass its own gate once it is
/// written stays, to be looked at.
pub fn import(file: &Path, out: &Path, golden: &Path, told: &Told, overwrite: bool) -> Result<ImportedModel, ImportError> {
    check_place(out, overwrite)?;
    let tiles = told.tiles.map_or(Ok(()), |tiles| tiles.check());
    tiles.map_err(|reason| unusable(file, format!("its tiles {reason}; change --tile or --overlap")))?;
    let mut model = ModelFile::read(file)?;
    let told = origin::fill_in(&model, told).map_err(|reason| unusable(file, reason))?;
    let mut engine = model.engine()?;
    if input::pin_second_input(&mut model, engine.inputs(), &told).map_err(|reason| unusable(file, reason))? {
        engine = model.engine()?;
    }
    let mut manifest = describe(&model, engine.inputs(), engine.outputs(), &told)?;
    let proof = proof::prove(file, &manifest, &told, &mut engine, golden)?;
    let names = proof.images.iter().map(|image| image.file.clone());
    model.files.extend(names.zip(proof.pngs));
    manifest.golden.images = proof.images;
    write(out, &manifest, &model.files, overwrite)?;
    let active = Package::open(out)?.activate(EngineOptions::default())?;
    Ok(ImportedModel {
        warnings: [warnings(&manifest), proof.warnings].concat(),
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

/// What the package is to say, as far as the file and whoever imports it tell; without golden images.
fn describe(file: &ModelFile<'_>, inputs: &[Port], outputs: &[Port], told: &Told) -> Result<Manifest, ImportError> {
    let mut questions = Questions::default();
    let unusable = |reason| unusable(file.path, reason);
    let input = input::input(inputs, told, &mut questions).map_err(unusable)?;
    let size = input::size(inputs, told).map_err(unusable)?;
    let meaning = outputs::meaning(outputs, size, told, &mut questions).map_err(unusable)?;
    let (Some(input), Some(meaning), true) = (input, meaning, questions.0.is_empty()) else {
        return Err(ImportError::Questions {
            path: file.path.into(),
            questions: questions.0,
        });
    };
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        name: told.name.clone(),
        version: told.version.clone(),
        kind: meaning.kind,
        licence: told.licence.clone().unwrap_or_else(|| "NOASSERTION".into()),
        classes: meaning.classes,
        ok_classes: told.ok_classes.clone(),
        input,
        outputs: meaning.outputs,
        threshold: meaning.threshold,
        provenance: Provenance::Imported(Imported {
            imported_by: somebody(),
            imported_unix_ns: unix_ns(),
            imported_from: file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            producer: format!("{} {}", file.model.producer_name, file.model.producer_version)
                .trim()
                .to_owned(),
            takt_version: env!("CARGO_PKG_VERSION").into(),
        }),
        quantisation: None,
        files: BTreeMap::new(),
        golden: Golden {
            tolerance: BTreeMap::from([("cpu_f32".to_owned(), TOLERANCE)]),
            images: Vec::new(),
        },
    })
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
    let (width, height) = (manifest.input.width, manifest.input.height);
    if let Some(tiles) = manifest.input.tiles.filter(|tiles| (tiles.width, tiles.height) != (width, height)) {
        warnings.push(format!(
            "tiles of {}x{} px are brought to the model's {width}x{height}, so it does not see pixels as the camera gave them; give --tile {width}x{height} for that",
            tiles.width, tiles.height
        ));
    }
    warnings
}
