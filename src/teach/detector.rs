//! The methods that turn good images into a scorer. Each has a reference implementation here and a way to write itself as ONNX nodes.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TeachError;
use super::features::Embeddings;
use super::padim::Padim;
use super::patchcore::{PatchCore, PatchCoreOptions};
use super::progress::Progress;
use super::relative::Relative;

/// A way to teach from good images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Distance to a memory bank of good patches (Roth et al. 2022).
    #[default]
    Patchcore,
    /// Mahalanobis distance to a Gaussian per position (Defard et al. 2021); for parts that always lie the same way.
    Padim,
    /// Patches as they are and relative to their own part, the worse of the two; for parts that differ in light and contrast.
    Relative,
}

impl Method {
    /// The name used in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patchcore => "patchcore",
            Self::Padim => "padim",
            Self::Relative => "relative",
        }
    }

    /// The method of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Patchcore, Self::Padim, Self::Relative]
            .into_iter()
            .find(|method| method.name() == name)
    }

    /// Fits the method to good images.
    pub fn fit(self, good: &Embeddings, options: PatchCoreOptions) -> Detector {
        match self {
            Self::Patchcore => Detector::PatchCore(PatchCore::fit(good, options)),
            Self::Padim => Detector::Padim(Padim::fit(good, options.seed)),
            Self::Relative => Detector::Relative(Box::new(Relative::fit(good, options))),
        }
    }
}

/// Scores of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// One score per patch, at least 0.
    pub patches: Vec<f32>,
    /// The score of the image.
    pub image: f32,
}

/// A fitted method.
#[derive(Debug, Clone, PartialEq)]
pub enum Detector {
    /// A memory bank.
    PatchCore(PatchCore),
    /// Gaussians per position.
    Padim(Padim),
    /// Two memory banks.
    Relative(Box<Relative>),
}

impl Detector {
    /// The detector with more good images; `images` is how many it was fitted to. What it knew stays: a bank is chosen from what it holds and the new
    /// patches, Gaussians are merged.
    #[must_use]
    pub fn extended(&self, more: &Embeddings, options: PatchCoreOptions, images: usize) -> Self {
        match self {
            Self::PatchCore(patchcore) => Self::PatchCore(patchcore.extended(more, options)),
            Self::Padim(padim) => Self::Padim(padim.extended(more, images)),
            Self::Relative(relative) => Self::Relative(Box::new(relative.extended(more, options))),
        }
    }

    /// Scores one image (`[patch][channel]`).
    pub fn score(&self, image: &[f32]) -> Scores {
        match self {
            Self::PatchCore(patchcore) => patchcore.score(image),
            Self::Padim(padim) => padim.score(image),
            Self::Relative(relative) => relative.score(image),
        }
    }

    /// Scores images on all cores.
    ///
    /// # Errors
    /// On a stop.
    pub fn score_all(&self, images: &Embeddings, progress: &dyn Progress) -> Result<Vec<Scores>, TeachError> {
        images
            .values
            .par_chunks_exact(images.stride())
            .map(|image| {
                progress.check()?;
                let scores = self.score(image);
                progress.advance(1);
                Ok(scores)
            })
            .collect()
    }
}
