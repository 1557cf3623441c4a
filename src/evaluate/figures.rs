//! The figures of `takt evaluate`: rates with intervals, areas under curves, latencies; what a kind of model adds comes from `tally.rs`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Judged;
use super::metrics::average_precision::CocoFigures;
use super::metrics::{auroc, average_precision, percentile, recall_at_false_reject};
use crate::model::manifest::{Kind, Manifest};
use crate::part::Verdict;
use crate::teach::calibration::{Interval, clopper_pearson};

/// Confidence of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// Share of good parts at which recall is stated.
const RECALL_AT: f64 = 0.01;

/// How good a model is; the figures of `takt evaluate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// What the model does.
    pub kind: Kind,
    /// SHA-256 over the files of all images and what is true of them, in order.
    pub dataset_sha256: String,
    /// Good images judged.
    pub images_good: usize,
    /// Images with a defect judged.
    pub images_defect: usize,
    /// Images that could not be read. They are rejected, and count in the rates but have no score.
    pub images_unreadable: usize,
    /// Area under the ROC curve over images.
    pub image_auroc: Option<f64>,
    /// Average precision over images: mean share of defects among the rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_average_precision: Option<f64>,
    /// Area under the ROC curve over pixels; only where every defect has a mask.
    pub pixel_auroc: Option<f64>,
    /// Area under the per-region overlap curve up to a false positive rate of 0.3; only where every defect has a mask.
    pub aupro: Option<f64>,
    /// How far the two may be off because there were more distinct scores than are kept apart; absent where they are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_error_max: Option<f64>,
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
    pub per_class: BTreeMap<String, DefectReport>,
    /// Share of images of which a classifier said the right class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// What a classifier said of the images of each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<ConfusionMatrix>,
    /// Mean over the classes of intersection over union, over all pixels of all images; classes that are neither there nor said are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iou_mean: Option<f64>,
    /// The same of the Dice coefficient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice_mean: Option<f64>,
    /// Share of pixels that were said to be of their own class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_accuracy: Option<f64>,
    /// How well a detector finds objects.
    #[serde(flatten)]
    pub objects: Option<CocoFigures>,
    /// How well it finds their pixels: the same figures over masks instead of boxes (`iouType` of `segm`); where the model tells masks and every
    /// object has an outline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<CocoFigures>,
    /// Images of which the model's shares or boxes could not be read. They count as images in which nothing was found.
    #[serde(skip_serializing_if = "is_zero")]
    pub answers_unreadable: usize,
    /// Figures for each class of the model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, ClassReport>,
    /// For each class of a detector that has objects the precision at the recalls 0, 0.01, ... 1, at an overlap of 0.5.
    #[serde(skip)]
    pub object_curves: Vec<(String, Vec<f64>)>,
}

/// Figures for one class of a model; absent where they are of no meaning to its kind, or nothing supports them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ClassReport {
    /// Images that are of the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Images that were said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_said: Option<u64>,
    /// Pixels that are of the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<u64>,
    /// Pixels that were said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels_said: Option<u64>,
    /// Intersection over union of its pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iou: Option<f64>,
    /// Dice coefficient of its pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice: Option<f64>,
    /// Objects of the class, crowds left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Share of the images or pixels said to be of the class that are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Share of the images or pixels of the class that were said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Harmonic mean of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Average precision over the overlaps 0.50 to 0.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap_50_95: Option<f64>,
    /// At an overlap of 0.50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap_50: Option<f64>,
    /// At an overlap of 0.75.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap_75: Option<f64>,
    /// Mean recall over the overlaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_100: Option<f64>,
    /// As `ap_50_95`, over masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_ap_50_95: Option<f64>,
    /// As `ap_50`, over masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_ap_50: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Serde's signature.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What a classifier said of the images of each class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfusionMatrix {
    /// The classes, in the order of the model.
    pub classes: Vec<String>,
    /// A row for each true class: how many of its images were said to be of each class.
    pub counts: Vec<Vec<u64>>,
}

/// Figures for one kind of defect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefectReport {
    /// Images of this kind.
    pub images: usize,
    /// Area under the ROC curve against all good images.
    pub image_auroc: Option<f64>,
    /// Share that passes.
    pub escape_rate: f64,
}

/// Rates, areas and latencies of judged images.
pub(super) fn of_images(judged: &[Judged], manifest: &Manifest) -> Evaluation {
    let (scores, defect) = scored(judged.iter());
    let good = judged.iter().filter(|part| !part.sample.is_defect);
    let bad = judged.iter().filter(|part| part.sample.is_defect);
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
        kind: manifest.kind,
        dataset_sha256: String::new(),
        images_good,
        images_defect,
        images_unreadable: judged.len() - scores.len(),
        image_auroc: auroc(&scores, &defect),
        image_average_precision: average_precision(&scores, &defect),
        pixel_auroc: None,
        aupro: None,
        pixel_error_max: None,
        threshold: manifest.threshold.score,
        false_reject_rate: rate(false_rejects, images_good),
        false_reject_interval: interval(false_rejects, images_good),
        escape_rate: rate(escapes, images_defect),
        escape_interval: interval(escapes, images_defect),
        recall_at_false_reject_1pct: recall.as_ref().map(|recall| recall.recall),
        recall_limited_by_images: recall.is_some_and(|recall| recall.limited),
        latency_us_p50: percentile(&latencies, 50.0),
        latency_us_p99: percentile(&latencies, 99.0),
        peak_rss_mib: None,
        per_class: kinds_of_defect(judged),
        accuracy: None,
        confusion: None,
        iou_mean: None,
        dice_mean: None,
        pixel_accuracy: None,
        objects: None,
        masks: None,
        answers_unreadable: 0,
        classes: BTreeMap::new(),
        object_curves: Vec::new(),
    }
}

fn kinds_of_defect(judged: &[Judged]) -> BTreeMap<String, DefectReport> {
    let mut kinds: BTreeMap<String, Vec<&Judged>> = BTreeMap::new();
    for part in judged.iter().filter(|part| part.sample.is_defect) {
        for kind in &part.sample.kinds {
            kinds.entry(kind.clone()).or_default().push(part);
        }
    }
    let figures = |parts: Vec<&Judged>| {
        let good = judged.iter().filter(|part| !part.sample.is_defect);
        let (scores, defect) = scored(good.chain(parts.iter().copied()));
        let escapes = parts.iter().filter(|part| part.verdict == Verdict::Ok).count();
        DefectReport {
            images: parts.len(),
            image_auroc: auroc(&scores, &defect),
            escape_rate: escapes as f64 / parts.len() as f64,
        }
    };
    kinds.into_iter().map(|(kind, parts)| (kind, figures(parts))).collect()
}

fn scored<'a>(judged: impl Iterator<Item = &'a Judged>) -> (Vec<f32>, Vec<bool>) {
    judged
        .filter_map(|part| Some((part.score.filter(|score| score.is_finite())?, part.sample.is_defect)))
        .unzip()
}

fn rate(count: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

fn interval(count: usize, of: usize) -> [f64; 2] {
    let Interval { low, high } = clopper_pearson(count as u64, of as u64, CONFIDENCE);
    [low, high]
}
