//! Which samples of a row or a column a pixel of a tensor covers, and by how much.

use std::ops::Range;

/// A stretch of samples that becomes a number of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    /// Where it begins, samples; may lie between two.
    pub(super) start: f64,
    /// Its length, samples, above 0; ends among the samples that there are.
    pub(super) length: f64,
    /// Pixels it becomes, at least 1.
    pub(super) pixels: u32,
}

/// The weights for a cut, kept until another cut is asked for.
#[derive(Debug, Default)]
pub(super) struct Taps {
    cut: Option<Cut>,
    reach: Range<usize>,
    /// The first sample of each pixel.
    firsts: Vec<usize>,
    /// Samples of each pixel, as many for all: processors foresee the end of a loop that always has the same length.
    count: usize,
    /// As many weights for each pixel, which may be 0.
    weights: Vec<f32>,
}

/// Shares of a sample below this are rounding of the places of its edges.
const SHARE_MIN: f64 = 1e-6;

impl Taps {
    /// Makes the weights for a cut, unless they are there.
    pub(super) fn prepare(&mut self, cut: Cut) {
        if self.cut == Some(cut) {
            return;
        }
        self.cut = Some(cut);
        self.reach = cut.reach();
        let pixels = || (0..cut.pixels).map(|pixel| cut.edges(pixel));
        self.count = pixels().map(|edges| cut.covered(edges).len()).max().unwrap_or_default();
        self.firsts.clear();
        self.weights.clear();
        for edges in pixels() {
            let samples = cut.covered(edges);
            let first = samples.start.min(self.reach.end - self.count);
            let share = |sample| {
                if samples.contains(&sample) {
                    share(sample, edges).max(SHARE_MIN)
                } else {
                    0.0
                }
            };
            let sum: f64 = samples.clone().map(share).sum();
            self.firsts.push(first);
            self.weights
                .extend((first..first + self.count).map(|sample| (share(sample) / sum) as f32));
        }
    }

    /// The samples that are used.
    pub(super) fn reach(&self) -> Range<usize> {
        self.reach.clone()
    }

    /// For each pixel its first sample and the weights of this and the next ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.firsts.iter().copied().zip(self.weights.chunks_exact(self.count.max(1)))
    }

    /// The same for one pixel.
    pub(super) fn of(&self, pixel: usize) -> (usize, &[f32]) {
        let weights = self.weights.get(pixel * self.count..(pixel + 1) * self.count);
        (self.firsts.get(pixel).copied().unwrap_or_default(), weights.unwrap_or_default())
    }
}

impl Cut {
    /// The samples that lie in it, wholly or in part.
    pub(super) fn reach(&self) -> Range<usize> {
        self.covered((self.start, self.start + self.length))
    }

    /// Where a pixel begins and ends, samples.
    fn edges(&self, pixel: u32) -> (f64, f64) {
        let edge = |pixel: u32| self.start + f64::from(pixel) * self.length / f64::from(self.pixels);
        (edge(pixel), edge(pixel + 1))
    }

    /// The samples of which some lies between two places, at least one.
    fn covered(&self, (start, end): (f64, f64)) -> Range<usize> {
        let last = ((self.start + self.length - SHARE_MIN).ceil() as usize).max(1);
        let first = ((start + SHARE_MIN) as usize).min(last - 1);
        first..((end - SHARE_MIN).ceil() as usize).clamp(first + 1, last)
    }
}

/// How much of a sample lies between two places.
fn share(sample: usize, (start, end): (f64, f64)) -> f64 {
    end.min((sample + 1) as f64) - start.max(sample as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taps(cut: Cut) -> Taps {
        let mut taps = Taps::default();
        taps.prepare(cut);
        taps
    }

    /// The samples, from the first of all, and weights of every pixel, without those of weight 0.
    fn used(start: f64, length: f64, pixels: u32) -> Vec<Vec<(usize, f32)>> {
        let taps = taps(Cut { start, length, pixels });
        let pixels = taps.iter().map(|(first, weights)| (first..).zip(weights.iter().copied()));
        pixels.map(|taps| taps.filter(|(_, weight)| *weight > 0.0).collect()).collect()
    }

    #[test]
    fn a_sample_on_an_edge_is_shared() {
        assert_eq!(
            used(0.0, 3.0, 2),
            [[(0, 2.0 / 3.0), (1, 1.0 / 3.0)], [(1, 1.0 / 3.0), (2, 2.0 / 3.0)]]
        );
        assert_eq!(used(0.5, 2.0, 1), [[(0, 0.25), (1, 0.5), (2, 0.25)]]);
    }

    #[test]
    fn as_many_pixels_as_samples_are_the_samples() {
        assert_eq!(used(4.0, 3.0, 3), [[(4, 1.0)], [(5, 1.0)], [(6, 1.0)]]);
    }

    proptest! {
        #[test]
        fn weights_are_a_mean_of_samples_of_the_cut(start in 0_u32..2000, length in 1_u32..4000, pixels in 1_u32..1500, is_halved: bool) {
            let step = if is_halved { 0.5 } else { 1.0 };
            let (start, length) = (f64::from(start) * step, f64::from(length) * step);
            let taps = taps(Cut { start, length, pixels });
            let reach = taps.reach();
            prop_assert!(reach.start as f64 <= start && reach.start as f64 + 1.0 > start);
            prop_assert!(reach.end as f64 >= start + length && (reach.end as f64) < start + length + 1.0);
            prop_assert_eq!(taps.iter().count(), pixels as usize);
            for (pixel, (first, weights)) in taps.iter().enumerate() {
                prop_assert_eq!(taps.of(pixel), (first, weights));
                prop_assert!(first >= reach.start && first + weights.len() <= reach.end);
                prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
                let sum: f64 = weights.iter().copied().map(f64::from).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            }
        }
    }
}
