//! Why teaching failed.

use std::path::PathBuf;
use std::time::Duration;

use super::backbone::BackboneError;
use super::calibration::CalibrationError;
use super::dataset::DatasetError;
use super::extend::ExtendError;
use super::{SIDE_PX, cost, graph};
use crate::model::package::PackageError;
use crate::vision::EngineError;
use crate::vision::decode::DecodeError;
use crate::vision::tiling::TooManyTiles;

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
    /// A package cannot be extended.
    #[error(transparent)]
    Extend(#[from] ExtendError),
    /// A golden image cannot be encoded, or one of the package that is extended not be read.
    #[error("failed to encode or read a golden image: {0}")]
    Golden(#[from] image::ImageError),
    /// The user stopped it.
    #[error("stopped; nothing was written")]
    Stopped,
}
