//! The limits of a model: from the scores of held-out good parts alone, or from what mistakes cost where defects are known.

use std::path::{Path, PathBuf};

use super::calibration::{self, conformal_threshold};
use super::cost::{Cheapest, Costs, cheapest};
use super::dataset;
use super::detector::Detector;
use super::features::FeatureExtractor;
use super::parts::{self, file_name, shortened};
use super::progress::{Progress, Unseen};
use super::{FOLDS, Lesson, PartScore, TeachError, score_parts};
use crate::model::manifest::{Calibration, ThresholdSpec};

/// A good image is named as suspicious if its score is this many median absolute deviations above the median (1.4826 of them are one standard
/// deviation of a normal distribution; Leys et al. 2013, J. Exp. Soc. Psychol. 49).
const SUSPICIOUS_DEVIATIONS: f32 = 8.0;

/// Defects that are looked at, at most, evenly spread over their names: more would not change the threshold.
const DEFECTS_MAX: usize = 1000;

/// Defects that somebody has kept, and what mistakes cost.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownDefects {
    /// Folder of pictures, or of one folder per kind of defect.
    pub folder: PathBuf,
    /// What mistakes cost.
    pub costs: Costs,
}

/// The limits for images and pixels, both from the same promise, and what to say where there are too few images for it.
pub(super) fn by_promise(held_out: &[PartScore], lesson: &Lesson) -> Result<(ThresholdSpec, Option<String>), TeachError> {
    let images: Vec<f32> = held_out.iter().map(|scores| scores.image).collect();
    let peaks: Vec<f32> = held_out.iter().map(|scores| scores.peak).collect();
    let score = conformal_threshold(&images, lesson.false_reject_rate)?;
    let region = conformal_threshold(&peaks, lesson.false_reject_rate)?;
    let too_few = score.beyond_data.then(|| {
        format!(
            "{} good images can vouch for at most {:.1} % false rejects, not {:.1} %; the threshold is the highest score of a good image and {:.0} % more; \
             give at least {:.0} images, or --false-reject-rate {:.3}",
            score.good_images,
            100.0 * score.supported_false_reject_rate,
            100.0 * lesson.false_reject_rate,
            100.0 * (calibration::BEYOND_DATA_MARGIN - 1.0),
            (1.0 / lesson.false_reject_rate - 1.0).ceil(),
            score.supported_false_reject_rate,
        )
    });
    let spec = ThresholdSpec {
        score: score.value,
        region: Some(region.value),
        chosen_by: format!("split conformal over {FOLDS} folds of the good images"),
        calibration: Some(Calibration {
            requested_false_reject_rate: score.requested_false_reject_rate,
            supported_false_reject_rate: score.supported_false_reject_rate,
            good_images: score.good_images,
            beyond_data: score.beyond_data,
        }),
    };
    Ok((spec, too_few))
}

/// Moves the limits to where a part costs least. The known defects are scored by the model itself, which was not taught from them.
pub(super) fn by_cost(
    promised: &ThresholdSpec,
    held_out: &[PartScore],
    known: &KnownDefects,
    lesson: &Lesson,
    detector: &Detector,
    extractor: &mut FeatureExtractor,
    progress: &dyn Progress,
) -> Result<(ThresholdSpec, Cheapest), TeachError> {
    let quiet = Unseen(progress);
    let defects = parts::read(defects_in(&known.folder)?, lesson, &quiet)?;
    let seen = extractor.embed(&defects.images, &quiet)?;
    let tiles: Vec<usize> = defects.tiles.iter().map(ExactSizeIterator::len).collect();
    let defects: Vec<f32> = score_parts(detector, &tiles, &seen, extractor.grid(), &quiet)?
        .iter()
        .map(|part| part.image)
        .collect();
    let good: Vec<f32> = held_out.iter().map(|part| part.image).collect();
    let found = cheapest(&good, &defects, known.costs, lesson.settings.seed)?;
    let count = good.len() as f64;
    let spec = ThresholdSpec {
        score: found.threshold,
        // What is drawn around a finding follows the verdict.
        region: promised
            .region
            .map(|region| region * found.threshold / promised.score.max(f32::MIN_POSITIVE)),
        chosen_by: format!(
            "lowest expected cost of a part over {} held-out good images and {} known defects: an escape costs {}, a false reject {}, {} of the parts are defective",
            good.len(),
            defects.len(),
            known.costs.escape,
            known.costs.false_reject,
            known.costs.defect_rate
        ),
        calibration: Some(Calibration {
            // Of the next good part, as the promise counts: one more than was seen above, among one more.
            requested_false_reject_rate: (found.false_reject_rate * count + 1.0) / (count + 1.0),
            supported_false_reject_rate: 1.0 / (count + 1.0),
            good_images: good.len(),
            beyond_data: false,
        }),
    };
    Ok((spec, found))
}

/// The pictures in a folder and in the folders directly below it.
fn defects_in(folder: &Path) -> Result<Vec<PathBuf>, TeachError> {
    let failed = |source| dataset::DatasetError::Read {
        path: folder.into(),
        source,
    };
    let mut kinds: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    kinds.sort();
    if kinds.is_empty() {
        return Ok(parts::evenly(dataset::images_in(folder)?, DEFECTS_MAX));
    }
    let mut images = dataset::images_in(folder).unwrap_or_default();
    for kind in kinds {
        images.extend(dataset::images_in(&kind)?);
    }
    Ok(parts::evenly(images, DEFECTS_MAX))
}

/// Good images that look unlike all others: probably not good.
pub(super) fn suspicious(paths: &[PathBuf], held_out: &[PartScore]) -> Option<String> {
    let median = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let centre = median(held_out.iter().map(|scores| scores.image).collect());
    let deviation = median(held_out.iter().map(|scores| (scores.image - centre).abs()).collect());
    let names: Vec<String> = paths
        .iter()
        .zip(held_out)
        .filter(|(_, scores)| scores.image > centre + SUSPICIOUS_DEVIATIONS * deviation)
        .map(|(path, _)| file_name(path))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "look at {} image(s) that differ from all other good ones: {}",
            names.len(),
            shortened(&names)
        )
    })
}
