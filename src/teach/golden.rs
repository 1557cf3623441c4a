//! Which images prove a taught model: good ones over the range of scores, and good ones that were visibly damaged on purpose, so that the gate
//! also sees a reject. Expected scores come from the reference scorer.

use std::collections::BTreeMap;

use super::TeachError;
use super::detector::{Detector, Scores};
use super::features::{Embeddings, FeatureExtractor};
use super::progress::Silent;
use crate::model::golden::is_clear;
use crate::model::manifest::{GoldenImage, ThresholdSpec};
use crate::model::package::GOLDEN;
use crate::recipe;
use crate::vision::encode::encode_png;

/// How far a provider may be off, as a share of the larger of score and threshold: the rounding of its arithmetic, measured on the processor
/// and with room for another order of additions elsewhere.
pub fn tolerances() -> BTreeMap<String, f64> {
    [
        ("cpu_f32", 1e-4),
        ("cuda_f32", 1e-3),
        ("tensorrt_f32", 1e-3),
        ("tensorrt_f16", 2e-2),
    ]
    .map(|(name, share)| (name.to_owned(), share))
    .into()
}

/// A golden image and what is expected of it.
pub struct Sample {
    /// Path inside the package, score and verdict.
    pub expected: GoldenImage,
    /// The image as PNG.
    pub png: Vec<u8>,
}

/// Chooses up to three good images (lowest, middle and highest score when held out) and damages two.
///
/// # Errors
/// When the backbone fails or an image cannot be encoded.
pub fn choose(
    images: &[Vec<u8>],
    good: &Embeddings,
    held_out: &[Scores],
    detector: &Detector,
    extractor: &mut FeatureExtractor,
    threshold: &ThresholdSpec,
) -> Result<Vec<Sample>, TeachError> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by(|&a, &b| held_out[a].image.total_cmp(&held_out[b].image));
    let mut picked = vec![order[0], order[order.len() / 2], order[order.len() - 1]];
    picked.dedup();
    let scores = detector.score_all(&good.subset(&picked), &Silent)?;
    let (width, height) = (extractor.grid().width, extractor.grid().height);
    let damaged: Vec<Vec<u8>> = [0, images.len() / 2]
        .iter()
        .map(|&index| damage(&images[index], width, height))
        .collect();
    let damaged_scores = detector.score_all(&extractor.embed(&damaged, &Silent)?, &Silent)?;

    let candidates = picked
        .iter()
        .map(|&index| &images[index])
        .zip(&scores)
        .enumerate()
        .map(|(at, pair)| (format!("good_{at}"), pair));
    let candidates = candidates.chain(
        damaged
            .iter()
            .zip(&damaged_scores)
            .enumerate()
            .map(|(at, pair)| (format!("damaged_{at}"), pair)),
    );
    candidates
        .filter(|(_, (_, scores))| is_clear(scores.image, threshold.score))
        .map(|(name, (pixels, scores))| sample(&name, pixels, scores, threshold, (width as u32, height as u32)))
        .collect()
}

fn sample(
    name: &str,
    pixels: &[u8],
    scores: &Scores,
    threshold: &ThresholdSpec,
    (width, height): (u32, u32),
) -> Result<Sample, TeachError> {
    let expected = GoldenImage {
        file: format!("{GOLDEN}/{name}.png"),
        score: scores.image,
        verdict: recipe::judge(scores.image, threshold.score).0,
        findings: None,
    };
    Ok(Sample {
        expected,
        png: encode_png(width, height, pixels)?,
    })
}

/// A copy with a block in the middle, an eighth of the picture wide and high, inverted and struck through by a checker of 4 pixels.
fn damage(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut damaged = pixels.to_vec();
    for y in height * 7 / 16..height * 9 / 16 {
        for x in width * 7 / 16..width * 9 / 16 {
            let strike = if (x / 4 + y / 4) % 2 == 0 { 255 } else { 0 };
            damaged[(y * width + x) * 3..][..3]
                .iter_mut()
                .for_each(|value| *value = (255 - *value) / 2 + strike / 2);
        }
    }
    damaged
}
