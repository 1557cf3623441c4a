//! How good a model is on labelled images.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::TeachError;
use super::calibration::{Interval, clopper_pearson};
use super::dataset::LabelledImage;
use super::metrics::{RocPoint, aupro, auroc, percentile, pixel_auroc, recall_at_false_reject, roc_curve};
use super::progress::{Progress, Stage};
use crate::part::Verdict;
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::inspector::{InspectError, Inspection, Inspector};
use crate::vision::{AnomalyMap, Image, Mask};

/// Confidence of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// Share of good parts at which recall is stated.
const RECALL_AT: f64 = 0.01;

/// How good a model is; the figures of `takt evaluate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Good images judged.
    pub images_good: usize,
    /// Images with a defect judged.
    pub images_defect: usize,
    /// Images that could not be read. They are rejected, and count in the rates but have no score.
    pub images_unreadable: usize,
    /// Area under the ROC curve over images.
    pub image_auroc: Option<f64>,
    /// Area under the ROC curve over pixels; only where every defect has a mask.
    pub pixel_auroc: Option<f64>,
    /// Area under the per-region overlap curve up to a false positive rate of 0.3; only where every defect has a mask.
    pub aupro: Option<f64>,
    /// The threshold of the model.
    pub threshold: f32,
    /// Share of good images that are rejected.
    pub false_reject_rate: Option<f64>,
    /// Its 95 % Clopper-Pearson interval.
    pub false_reject_interval: [f64; 2],
    /// Share of defects that pass.
    pub escape_rate: Option<f64>,
    /// Its 95 % Clopper-Pearson interval.
    pub escape_interval: [f64; 2],
    /// Share of defects found where 1 % of the good images are rejected.
    pub recall_at_false_reject_1pct: Option<f64>,
    /// Whether there were fewer than 100 good images, so that the highest good score is the limit for that recall.
    pub recall_limited_by_images: bool,
    /// Median time from decoded pixels to the verdict, microseconds.
    pub latency_us_p50: Option<u64>,
    /// The same at the 99th percentile.
    pub latency_us_p99: Option<u64>,
    /// Most memory the process ever held, mebibytes; absent where the system does not tell.
    pub peak_rss_mib: Option<f64>,
    /// Figures per kind of defect, each against all good images.
    pub per_class: BTreeMap<String, ClassEvaluation>,
}

/// Figures for one kind of defect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassEvaluation {
    /// Images of this kind.
    pub images: usize,
    /// Area under the ROC curve against all good images.
    pub image_auroc: Option<f64>,
    /// Share that passes.
    pub escape_rate: f64,
}

/// One image and what the model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The image and its label.
    pub image: LabelledImage,
    /// The decision.
    pub verdict: Verdict,
    /// Its score, unless it could not be read.
    pub score: Option<f32>,
    /// Time from decoded pixels to the verdict.
    pub latency: Duration,
}

/// Looks at each image as it is judged: the pixels and what was found, or why it could not be read.
pub type Onlooker<'a> = dyn FnMut(&LabelledImage, Result<(&Image, &Inspection), &DecodeError>) + 'a;

/// Judges labelled images and measures how good the model is. All anomaly maps are held at once where there are masks: 4 bytes per pixel of
/// the model's input and image.
///
/// # Errors
/// When a mask cannot be read, the runtime fails, or the user stops it.
pub fn evaluate(
    inspector: &mut Inspector,
    images: &[LabelledImage],
    progress: &dyn Progress,
    onlooker: &mut Onlooker<'_>,
) -> Result<(Evaluation, Vec<Judged>), TeachError> {
    progress.begin(Stage::Test, images.len());
    let mut masked = images.iter().all(|image| !image.is_defect() || image.mask.is_some());
    let mut judged = Vec::with_capacity(images.len());
    let (mut maps, mut masks) = (Vec::new(), Vec::new());
    for image in images {
        progress.check()?;
        match inspector.inspect_file(&image.path) {
            Ok((pixels, inspection)) => {
                onlooker(image, Ok((&pixels, &inspection)));
                let (verdict, score, latency) = (inspection.verdict, Some(inspection.score), inspection.latency.inspect());
                judged.push(Judged {
                    image: image.clone(),
                    verdict,
                    score,
                    latency,
                });
                // Without a map of each image there are no pixels to be right about.
                masked &= inspection.map.is_some();
                if let Some(map) = inspection.map.filter(|_| masked) {
                    masks.push(mask(image.mask.as_deref(), &map)?);
                    maps.push(map);
                }
            }
            Err(InspectError::Decode(error)) => {
                onlooker(image, Err(&error));
                judged.push(Judged {
                    image: image.clone(),
                    verdict: Verdict::NotDecidable,
                    score: None,
                    latency: Duration::ZERO,
                });
            }
            Err(InspectError::Preprocess(error)) => return Err(error.into()),
            Err(InspectError::Tiles(error)) => return Err(error.into()),
            Err(InspectError::Engine(error)) => return Err(error.into()),
        }
        progress.advance(1);
    }
    let mut evaluation = summarise(&judged, inspector.manifest().threshold.score);
    if masked {
        evaluation.pixel_auroc = pixel_auroc(&maps, &masks);
        evaluation.aupro = aupro(&maps, &masks);
    }
    Ok((evaluation, judged))
}

/// The ROC curve of judged images.
pub fn roc(judged: &[Judged]) -> Vec<RocPoint> {
    let (scores, defect) = scored(judged.iter());
    roc_curve(&scores, &defect)
}

/// Rates, areas and latencies of judged images.
pub fn summarise(judged: &[Judged], threshold: f32) -> Evaluation {
    let (scores, defect) = scored(judged.iter());
    let good = judged.iter().filter(|part| !part.image.is_defect());
    let bad = judged.iter().filter(|part| part.image.is_defect());
    let images_good = good.clone().count();
    let images_defect = bad.clone().count();
    let false_rejects = good.filter(|part| part.verdict != Verdict::Ok).count();
    let escapes = bad.filter(|part| part.verdict == Verdict::Ok).count();
    let recall = recall_at_false_reject(&scores, &defect, RECALL_AT);
    let latencies: Vec<u64> = judged
        .iter()
        .filter(|part| part.score.is_some())
        .map(|part| part.latency.as_micros() as u64)
        .collect();
    Evaluation {
        images_good,
        images_defect,
        images_unreadable: judged.len() - scores.len(),
        image_auroc: auroc(&scores, &defect),
        pixel_auroc: None,
        aupro: None,
        threshold,
        false_reject_rate: rate(false_rejects, images_good),
        false_reject_interval: interval(false_rejects, images_good),
        escape_rate: rate(escapes, images_defect),
        escape_interval: interval(escapes, images_defect),
        recall_at_false_reject_1pct: recall.as_ref().map(|recall| recall.recall),
        recall_limited_by_images: recall.is_some_and(|recall| recall.limited),
        latency_us_p50: percentile(&latencies, 50.0),
        latency_us_p99: percentile(&latencies, 99.0),
        peak_rss_mib: None,
        per_class: classes(judged),
    }
}

fn classes(judged: &[Judged]) -> BTreeMap<String, ClassEvaluation> {
    let mut classes: BTreeMap<String, Vec<&Judged>> = BTreeMap::new();
    for part in judged.iter().filter(|part| part.image.is_defect()) {
        classes.entry(part.image.class.clone()).or_default().push(part);
    }
    let figures = |parts: Vec<&Judged>| {
        let good = judged.iter().filter(|part| !part.image.is_defect());
        let (scores, defect) = scored(good.chain(parts.iter().copied()));
        let escapes = parts.iter().filter(|part| part.verdict == Verdict::Ok).count();
        ClassEvaluation {
            images: parts.len(),
            image_auroc: auroc(&scores, &defect),
            escape_rate: escapes as f64 / parts.len() as f64,
        }
    };
    classes.into_iter().map(|(class, parts)| (class, figures(parts))).collect()
}

fn scored<'a>(judged: impl Iterator<Item = &'a Judged>) -> (Vec<f32>, Vec<bool>) {
    judged
        .filter_map(|part| Some((part.score.filter(|score| score.is_finite())?, part.image.is_defect())))
        .unzip()
}

fn rate(count: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

fn interval(count: usize, of: usize) -> [f64; 2] {
    let Interval { low, high } = clopper_pearson(count as u64, of as u64, CONFIDENCE);
    [low, high]
}

/// The mask of an image at the size of its map, by the nearest pixel; without a file, no defect anywhere.
fn mask(path: Option<&Path>, map: &AnomalyMap) -> Result<Mask, DecodeError> {
    let (width, height) = (map.width, map.height);
    let Some(path) = path else {
        return Ok(Mask {
            width,
            height,
            defect: vec![false; width * height],
        });
    };
    let image = read_image(path)?;
    let source = |target: usize, from: u32, to: usize| ((2 * target + 1) * from as usize / (2 * to)).min(from as usize - 1);
    let defect = (0..width * height)
        .map(|index| {
            let (x, y) = (
                source(index % width, image.width, width),
                source(index / width, image.height, height),
            );
            image.rgb[(y * image.width as usize + x) * 3] > 127
        })
        .collect();
    Ok(Mask { width, height, defect })
}
