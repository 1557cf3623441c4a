//! `PatchCore` from two sides: patches as they are, and patches relative to the part that they belong to. Pure.
//!
//! Good parts differ in light, contrast and grain, and a bank must allow for all of it: a thin crack on a dull part stays within what bright parts
//! show. Relative to its own part (less the mean of the part's patches, by their deviation) it stands out. Yet a defect that is everywhere on a part
//! shows only as it is. So both are held against a bank of their own, and the worse of the two counts, each in the unit of the peaks that good parts
//! have. A part may further be taken as its own reference: some of the distance at which its calm patches lie is taken off.
//!
//! takt's own; measured in docs/accuracy.md.

use rayon::prelude::*;

use super::detector::Scores;
use super::features::Embeddings;
use super::patchcore::{PatchCore, PatchCoreOptions};

/// One in so many patches of a part is calmer than its calm level: low enough that a large defect does not raise it.
const CALM_SHARE: usize = 10;

/// Good images that the peaks are taken from, at most, evenly spread.
const PEAK_IMAGES: usize = 60;

/// Which peak is the unit: one in so many good images has a higher one. Lower ones would let the side with the longer tail decide alone.
const PEAK_SHARE: usize = 10;

/// Share of the usual deviation below which that of a part is not taken: a blank picture has none.
const DEVIATION_SHARE_MIN: f64 = 0.05;

/// Two fitted banks.
#[derive(Debug, Clone, PartialEq)]
pub struct Relative {
    /// The side of patches as they are.
    pub as_is: Side,
    /// The side of patches relative to their part.
    pub relative: Side,
    /// Share of a part's calm level that is taken off.
    pub own_level: f32,
    /// Added to the mean square of a part's deviations.
    pub floor: f32,
}

/// One side.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Its bank.
    pub bank: PatchCore,
    /// The unit that its distances count in, above 0.
    pub unit: f32,
}

impl Relative {
    /// Fits both banks to good images.
    pub fn fit(good: &Embeddings, options: PatchCoreOptions) -> Self {
        let squares: Vec<f64> = good.images().map(|image| f64::from(centred(image, good.channels).1)).collect();
        let usual = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
        let floor = (usual * DEVIATION_SHARE_MIN.powi(2)).max(f64::from(f32::MIN_POSITIVE)) as f32;
        let relative = relative_to_their_own(good, floor);
        Self {
            as_is: Side::fit(good, options),
            relative: Side::fit(&relative, options),
            own_level: options.own_level,
            floor,
        }
    }

    /// Both banks extended by more good images. What distances count in stays as it was, so that earlier scores still mean the same.
    #[must_use]
    pub fn extended(&self, more: &Embeddings, options: PatchCoreOptions) -> Self {
        let side = |side: &Side, more: &Embeddings| Side {
            bank: side.bank.extended(more, options),
            unit: side.unit,
        };
        Self {
            as_is: side(&self.as_is, more),
            relative: side(&self.relative, &relative_to_their_own(more, self.floor)),
            own_level: self.own_level,
            floor: self.floor,
        }
    }

    /// Scores one image: each patch by the worse side, the image by its worst patch.
    pub fn score(&self, image: &[f32]) -> Scores {
        let channels = self.as_is.bank.channels;
        let as_is = self.as_is.levels(image, self.own_level);
        let relative = self.relative.levels(&relative_to_own(image, channels, self.floor), self.own_level);
        let patches: Vec<f32> = as_is.into_iter().zip(relative).map(|(a, b)| a.max(b).max(0.0)).collect();
        let image = patches.iter().copied().fold(0.0, f32::max);
        Scores { patches, image }
    }
}

impl Side {
    fn fit(good: &Embeddings, options: PatchCoreOptions) -> Self {
        let (bank, origin) = PatchCore::fit_with_origin(good, options);
        // Pictures as they came, the first of their views each.
        let count = good.images().len() / good.views.max(1);
        let step = count.div_ceil(PEAK_IMAGES).max(1);
        let seen: Vec<usize> = (0..count).step_by(step).collect();
        let peak = |&index: &usize| {
            // As if the image had not been taught: a bank holds its own patches at no distance.
            let others = bank.distances_without(good.image(index * good.views), |entry| {
                origin[entry] / good.patches / good.views == index
            });
            highest(&above_own(others, options.own_level))
        };
        let mut peaks: Vec<f32> = seen.par_iter().map(peak).collect();
        peaks.sort_unstable_by(f32::total_cmp);
        let unit = peaks.get(peaks.len() - 1 - peaks.len() / PEAK_SHARE).copied().unwrap_or(1.0);
        Self {
            bank,
            unit: if unit > 0.0 { unit } else { 1.0 },
        }
    }

    fn levels(&self, image: &[f32], own_level: f32) -> Vec<f32> {
        let mut levels = above_own(self.bank.distances(image), own_level);
        for level in &mut levels {
            *level *= 1.0 / self.unit;
        }
        levels
    }
}

/// Where in the rising distances of a part's patches its calm level stands.
pub(super) fn calm_rank(patches: usize) -> usize {
    patches / CALM_SHARE
}

/// Distances less a share of the calm level.
fn above_own(mut distances: Vec<f32>, own_level: f32) -> Vec<f32> {
    if own_level > 0.0 && !distances.is_empty() {
        let mut sorted = distances.clone();
        let rank = calm_rank(sorted.len());
        let calm = *sorted.select_nth_unstable_by(rank, f32::total_cmp).1;
        for distance in &mut distances {
            *distance -= own_level * calm;
        }
    }
    distances
}

/// The patches of each image relative to it.
fn relative_to_their_own(images: &Embeddings, floor: f32) -> Embeddings {
    let values = images.values.par_chunks_exact(images.stride());
    Embeddings {
        values: values
            .flat_map_iter(|image| relative_to_own(image, images.channels, floor))
            .collect(),
        ..*images
    }
}

/// The patches of an image relative to it: less their mean, by the root of their mean square deviation over all channels.
fn relative_to_own(image: &[f32], channels: usize, floor: f32) -> Vec<f32> {
    let (mut patches, mean_square) = centred(image, channels);
    let deviation = (mean_square + floor).sqrt();
    for value in &mut patches {
        *value /= deviation;
    }
    patches
}

/// Patches less their mean, and the mean of the squares that are left.
fn centred(image: &[f32], channels: usize) -> (Vec<f32>, f32) {
    let mut mean = vec![0.0_f64; channels];
    for patch in image.chunks_exact(channels) {
        mean.iter_mut().zip(patch).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = (image.len() / channels).max(1) as f64;
    let mean: Vec<f32> = mean.iter().map(|sum| (sum / count) as f32).collect();
    let patches: Vec<f32> = image
        .chunks_exact(channels)
        .flat_map(|patch| patch.iter().zip(&mean).map(|(value, mean)| value - mean))
        .collect();
    let squares: f64 = patches.iter().map(|value| f64::from(*value).powi(2)).sum();
    let mean_square = squares / patches.len().max(1) as f64;
    (patches, mean_square as f32)
}

fn highest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn embeddings(values: Vec<f32>, patches: usize, channels: usize) -> Embeddings {
        Embeddings::new(patches, channels, values)
    }

    proptest! {
        #[test]
        fn relative_patches_do_not_change_with_light_and_contrast(
            image in prop::collection::vec(-1.0_f32..1.0, 40), gain in 0.2_f32..5.0, light in -3.0_f32..3.0,
        ) {
            let brighter: Vec<f32> = image.iter().map(|value| value * gain + light).collect();
            let (plain, other) = (relative_to_own(&image, 4, 0.0), relative_to_own(&brighter, 4, 0.0));
            prop_assert!(plain.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-3), "{plain:?} {other:?}");
        }

        #[test]
        fn the_own_level_is_taken_off_all_patches_alike(distances in prop::collection::vec(0.0_f32..9.0, 1..50), own_level in 0.0_f32..1.0) {
            let above = above_own(distances.clone(), own_level);
            let mut sorted = distances.clone();
            sorted.sort_by(f32::total_cmp);
            let calm = sorted[distances.len() / CALM_SHARE];
            prop_assert!(above.iter().zip(&distances).all(|(a, d)| (a - (d - own_level * calm)).abs() < 1e-5));
        }
    }

    /// An image of a gain, whose patches are alike up to that; with one patch that is not, if `is_odd`.
    fn image(gain: f32, is_odd: bool) -> Vec<f32> {
        let pattern = [1.0_f32, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0];
        let value = |at: usize| {
            let (patch, channel) = (at / 4, at % 4);
            let change = if is_odd && patch == 5 && channel == 0 { 2.5 } else { 0.0 };
            gain * (pattern[(patch + channel) % 8] + change)
        };
        (0..64).map(value).collect()
    }

    #[test]
    fn what_is_odd_on_a_dull_part_stands_out_against_its_own_part() {
        let taught = (1_u8..9).flat_map(|gain| image(f32::from(gain), false)).collect();
        let good = embeddings(taught, 16, 4);
        let options = PatchCoreOptions {
            bank: 64,
            neighbours: 1,
            ..PatchCoreOptions::default()
        };
        // A dull part with a defect, in units of the worst of good parts of gains that were not taught.
        let share = |score: &dyn Fn(&[f32]) -> f32| {
            let worst = [1.5, 4.5, 7.5]
                .map(|gain| score(&image(gain, false)))
                .into_iter()
                .fold(1e-3, f32::max);
            score(&image(1.0, true)) / worst
        };
        let (plain, relative) = (PatchCore::fit(&good, options), Relative::fit(&good, options).relative);
        let plain = share(&|image| plain.score(image).image);
        let relative = share(&|image| highest(&relative.levels(&relative_to_own(image, 4, 0.0), 0.0)));
        assert!(relative > 2.0 * plain, "as it is {plain}, relative {relative}");
    }

    #[test]
    fn blank_images_give_finite_scores() {
        let good = embeddings(vec![3.0; 5 * 16 * 4], 16, 4);
        let scores = Relative::fit(&good, PatchCoreOptions::default()).score(good.image(0));
        assert!(scores.patches.iter().all(|score| score.is_finite()) && scores.image.is_finite());
    }
}
