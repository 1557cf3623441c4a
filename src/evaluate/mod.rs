//! How good a model is on labelled images, whoever trained it and whatever kind it is of.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | judges the images one after the other |
//! | `sample.rs` | an image and what is true of it |
//! | `folders.rs` | folders of images become samples |
//! | `coco.rs` | a COCO file becomes samples |
//! | `labels.rs` | which class each pixel truly is of |
//! | `tally.rs` | what is counted while images go by, by kind of model |
//! | `objects.rs` | objects found against those that are there |
//! | `figures.rs` | the figures that come of it |
//! | `metrics/` | the arithmetic; pure |
//!
//! It stands beside `teach/` and not in it because most of its models were taught elsewhere. Nothing that grows with pixels is kept from image to
//! image: maps become steps of bounded number ([`metrics::pixels`]), found objects 32 bytes each.

pub mod coco;
pub mod figures;
pub mod folders;
mod labels;
pub mod metrics;
mod objects;
pub mod sample;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use self::figures::{CONFIDENCE, ClassReport, ConfusionMatrix, DefectReport, Evaluation};
pub use self::sample::{Object, Sample, Truth};
use self::tally::Tally;
use crate::part::Verdict;
use crate::teach::TeachError;
use crate::teach::dataset::DatasetError;
use crate::teach::progress::{Progress, Stage};
use crate::vision::Image;
use crate::vision::decode::DecodeError;
use crate::vision::inspector::{InspectError, Inspection, Inspector};
use crate::vision::reading::Wanted;

/// Boxes down to this score take part in mAP, however high the model's threshold is: the curve of precision over recall goes on below it. The
/// usual value for detectors; below it there is noise alone.
pub const BOX_SCORE_MIN: f32 = 0.001;

/// Why a model could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A folder cannot be used.
    #[error(transparent)]
    Folders(#[from] DatasetError),
    /// The folders are not those of the model's classes.
    #[error(
        "failed to use {folder}: \"{name}\" is none of the model's classes ({}); a classifier is evaluated on one folder for each class, a model of pixels \
         on masks in one folder for each kind of defect: rename the folder or take it out",
        .classes.join(", ")
    )]
    Folder {
        /// The folder of all classes.
        folder: PathBuf,
        /// The folder that is none of them.
        name: String,
        /// The classes of the model.
        classes: Vec<String>,
    },
    /// Annotations cannot be used.
    #[error(transparent)]
    Coco(#[from] coco::CocoError),
    /// A picture of class numbers cannot be used.
    #[error("failed to read {path} as classes of pixels: {reason}")]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The outline of an object cannot be used.
    #[error(
        "failed to use the outline of object {object} (from 0) on {path}: it is no polygon of three corners or more, or its run lengths are not those of the \
         picture's {width}x{height} pixels; correct it, or take the segmentation out of all objects to measure boxes alone"
    )]
    Outline {
        /// The image.
        path: PathBuf,
        /// Which of its objects.
        object: usize,
        /// Width of the image, pixels.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// A mask cannot be read.
    #[error(transparent)]
    Mask(#[from] DecodeError),
    /// An image does not fit the model.
    #[error(transparent)]
    Preprocess(#[from] crate::vision::preprocess::PreprocessError),
    /// An image is too large for the model's tiles.
    #[error(transparent)]
    Tiles(#[from] crate::vision::tiling::TooManyTiles),
    /// The runtime failed.
    #[error(transparent)]
    Engine(#[from] crate::vision::EngineError),
    /// The user stopped it.
    #[error(transparent)]
    Stopped(#[from] TeachError),
}

/// One image and what the model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The image and what is true of it.
    pub sample: Sample,
    /// The decision.
    pub verdict: Verdict,
    /// Its score, unless it could not be read.
    pub score: Option<f32>,
    /// The class that a classifier said.
    pub said: Option<String>,
    /// Time from decoded pixels to the verdict.
    pub latency: Duration,
}

/// Looks at each image as it is judged: the pixels and what was found, or why it could not be read.
pub type Onlooker<'a> = dyn FnMut(&Sample, Result<(&Image, &Inspection), &DecodeError>) + 'a;

/// Judges labelled images and measures how good the model is.
///
/// # Errors
/// When a mask cannot be read, the runtime fails, or the user stops it.
pub fn evaluate(
    inspector: &mut Inspector,
    samples: &[Sample],
    progress: &dyn Progress,
    onlooker: &mut Onlooker<'_>,
) -> Result<(Evaluation, Vec<Judged>), EvaluateError> {
    progress.begin(Stage::Test, samples.len());
    let mut tally = Tally::new(inspector.manifest(), samples);
    inspector.keep_answers(Wanted {
        score_min: BOX_SCORE_MIN,
        masks: tally.asks_for_masks(),
    });
    let mut dataset = Sha256::new();
    let mut judged = Vec::with_capacity(samples.len());
    for sample in samples {
        progress.check()?;
        sample.hash_into(&mut dataset);
        match inspector.inspect_file(&sample.path) {
            Ok((pixels, inspection)) => {
                onlooker(sample, Ok((&pixels, &inspection)));
                let said = tally.add(sample, (pixels.width, pixels.height), &inspection, inspector.take_answer())?;
                judged.push(Judged {
                    sample: sample.clone(),
                    verdict: inspection.verdict,
                    score: Some(inspection.score),
                    said,
                    latency: inspection.latency.inspect(),
                });
            }
            Err(InspectError::Decode(error)) => {
                onlooker(sample, Err(&error));
                tally.add_unreadable(sample);
                judged.push(Judged {
                    sample: sample.clone(),
                    verdict: Verdict::NotDecidable,
                    score: None,
                    said: None,
                    latency: Duration::ZERO,
                });
            }
            Err(InspectError::Preprocess(error)) => return Err(error.into()),
            Err(InspectError::Tiles(error)) => return Err(error.into()),
            Err(InspectError::Engine(error)) => return Err(error.into()),
        }
        progress.advance(1);
    }
    let mut evaluation = figures::of_images(&judged, inspector.manifest());
    evaluation.dataset_sha256 = sample::hexadecimal(dataset);
    tally.figures_into(&mut evaluation);
    Ok((evaluation, judged))
}
