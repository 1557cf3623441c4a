//! PatchCore (Roth et al. 2022, arXiv:2106.08265): a patch is as anomalous as it is far from the nearest patches of good images.

use rayon::prelude::*;

use super::coreset::{greedy_coreset, products, project, squared_distance, squared_lengths};
use super::detector::Scores;
use super::features::Embeddings;

/// What PatchCore is fitted with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchCoreOptions {
    /// Patches the memory bank keeps, at most.
    pub bank: usize,
    /// Nearest bank patches whose distances are averaged, at least 1.
    pub neighbours: usize,
    /// Seed of the random projection and the first patch.
    pub seed: u64,
    /// Share of a part's own calm level that is taken off, 0 to 1; for [`Relative`](super::relative::Relative) alone.
    pub own_level: f32,
}

impl Default for PatchCoreOptions {
    /// Chosen by accuracy over all data sets at hand, against time (docs/accuracy.md).
    fn default() -> Self {
        Self {
            bank: 1536,
            neighbours: 3,
            seed: 0,
            own_level: 0.5,
        }
    }
}

/// Bank patches near the nearest one that decide how much its distance counts (the paper's `b`, section 3.3, equation 7).
pub const REWEIGHTING: usize = 9;

/// Query patches handled together, so that their distances stay in the cache.
const BLOCK: usize = 128;

/// A fitted memory bank.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchCore {
    /// Values per patch.
    pub channels: usize,
    /// Mean of the bank; taken off bank and queries, which leaves distances as they are and makes products of small numbers.
    pub centre: Vec<f32>,
    /// Bank patches less `centre`, `[patch][channel]`.
    pub bank: Vec<f32>,
    /// How many nearest distances are averaged.
    pub neighbours: usize,
    /// For each bank patch the bank patches nearest to it, itself first, `[patch][near]`.
    pub near: Vec<usize>,
    /// Entries of `near` per bank patch.
    pub near_count: usize,
}

/// A bank patch and how far it is.
#[derive(Debug, Clone, Copy)]
struct Neighbour {
    distance: f32,
    index: usize,
}

impl PatchCore {
    /// Fits a bank to the patches of good images.
    pub fn fit(good: &Embeddings, options: PatchCoreOptions) -> Self {
        Self::fit_with_origin(good, options).0
    }

    /// Fits a bank and tells which of the good patches each entry was.
    pub(super) fn fit_with_origin(good: &Embeddings, options: PatchCoreOptions) -> (Self, Vec<usize>) {
        let channels = good.channels;
        let (projected, dimensions) = project(&good.values, channels, options.seed);
        let chosen = greedy_coreset(&projected, dimensions, options.bank, options.seed);
        let mut bank: Vec<f32> = chosen
            .iter()
            .flat_map(|&index| &good.values[index * channels..][..channels])
            .copied()
            .collect();
        let centre = mean(&bank, channels);
        bank.chunks_exact_mut(channels)
            .for_each(|patch| patch.iter_mut().zip(&centre).for_each(|(value, mean)| *value -= mean));
        (Self::of_bank(bank, centre, options.neighbours), chosen)
    }

    /// The bank of these patches less their `centre`, which holds at least one.
    pub(super) fn of_bank(bank: Vec<f32>, centre: Vec<f32>, neighbours: usize) -> Self {
        let channels = centre.len();
        let size = bank.len() / channels;
        let near_count = REWEIGHTING.min(size);
        let squares = squared_lengths(&bank, channels);
        let near = bank
            .par_chunks(BLOCK * channels)
            .flat_map_iter(|block| nearest_rows(block, &bank, &squares, channels, near_count))
            .flat_map_iter(|near| near.into_iter().map(|neighbour| neighbour.index))
            .collect();
        Self {
            channels,
            centre,
            bank,
            neighbours: neighbours.clamp(1, size.max(1)),
            near,
            near_count,
        }
    }

    /// A bank chosen from what this one holds and the patches of more good images. What covers the one set and the other covers both (composable
    /// coresets; Malkomes et al. 2015, "Fast distributed k-center clustering with outliers on massive data", theorem 1: at most twice as coarse as one
    /// chosen from all patches at once).
    #[must_use]
    pub fn extended(&self, more: &Embeddings, options: PatchCoreOptions) -> Self {
        let held = self.bank.chunks_exact(self.channels);
        let mut values: Vec<f32> = held
            .flat_map(|patch| patch.iter().zip(&self.centre).map(|(value, mean)| value + mean))
            .collect();
        values.extend(&more.values);
        Self::fit(&Embeddings::new(1, self.channels, values), options)
    }

    /// Patches in the bank.
    pub fn bank_size(&self) -> usize {
        self.bank.len() / self.channels
    }

    /// The patch at `index` of the bank.
    fn patch(&self, index: usize) -> &[f32] {
        &self.bank[index * self.channels..][..self.channels]
    }

    /// Scores one image: each patch by its mean distance to its nearest bank patches, the image by its most anomalous patch, re-weighted.
    pub fn score(&self, image: &[f32]) -> Scores {
        let centred = self.centred(image);
        let nearest = self.nearest_of_all(&centred, &squared_lengths(&self.bank, self.channels));
        let worst = (0..nearest.len()).fold(0, |worst, index| if nearest[index].0 > nearest[worst].0 { index } else { worst });
        let (distance, index) = nearest[worst];
        let image_score = distance * self.weight(&centred[worst * self.channels..][..self.channels], index);
        Scores {
            patches: nearest.into_iter().map(|(distance, _)| distance).collect(),
            image: image_score,
        }
    }

    /// The mean distance of each patch to its nearest bank patches.
    pub(super) fn distances(&self, image: &[f32]) -> Vec<f32> {
        self.distances_without(image, |_| false)
    }

    /// The same without some entries of the bank.
    pub(super) fn distances_without(&self, image: &[f32], is_left_out: impl Fn(usize) -> bool) -> Vec<f32> {
        let mut squares = squared_lengths(&self.bank, self.channels);
        let entries = squares.iter_mut().enumerate();
        entries
            .filter(|(entry, _)| is_left_out(*entry))
            .for_each(|(_, square)| *square = f32::INFINITY);
        let nearest = self.nearest_of_all(&self.centred(image), &squares);
        nearest.into_iter().map(|(distance, _)| distance).collect()
    }

    /// Patches as the bank holds them: less its mean.
    fn centred(&self, image: &[f32]) -> Vec<f32> {
        let patches = image.chunks_exact(self.channels);
        patches
            .flat_map(|patch| patch.iter().zip(&self.centre).map(|(value, mean)| value - mean))
            .collect()
    }

    fn nearest_of_all(&self, centred: &[f32], squares: &[f32]) -> Vec<(f32, usize)> {
        let blocks = centred.chunks(BLOCK * self.channels);
        blocks.flat_map(|block| self.nearest(block, squares)).collect()
    }

    /// For each query patch the mean distance to its nearest bank patches, and the nearest one.
    fn nearest(&self, queries: &[f32], squares: &[f32]) -> Vec<(f32, usize)> {
        let candidates = nearest_rows(queries, &self.bank, squares, self.channels, self.neighbours);
        // The products only rank; the distances that count are taken from the differences themselves.
        let mean_distance = |(patch, candidates): (&[f32], Vec<Neighbour>)| {
            let distances = candidates
                .iter()
                .map(|candidate| squared_distance(patch, self.patch(candidate.index)).sqrt());
            (distances.sum::<f32>() / candidates.len() as f32, candidates[0].index)
        };
        queries.chunks_exact(self.channels).zip(candidates).map(mean_distance).collect()
    }

    /// How much the score of a query patch whose nearest bank patch is `nearest` counts: 1 less the softmax of its distance among those to the
    /// bank patches near `nearest` (equation 7). A query far from one lonely bank patch counts for more than one amid many.
    fn weight(&self, query: &[f32], nearest: usize) -> f32 {
        let near = &self.near[nearest * self.near_count..][..self.near_count];
        if near.len() < 2 {
            return 1.0;
        }
        let distances: Vec<f32> = near
            .iter()
            .map(|&index| squared_distance(query, self.patch(index)).sqrt())
            .collect();
        let largest = distances.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f32> = distances.iter().map(|distance| (distance - largest).exp()).collect();
        1.0 - exponentials[0] / exponentials.iter().sum::<f32>()
    }
}

/// For each row of `queries` the `count` rows of `bank` nearest to it, nearest first; `distance` lacks the query's own squared length.
fn nearest_rows(queries: &[f32], bank: &[f32], squares: &[f32], channels: usize, count: usize) -> Vec<Vec<Neighbour>> {
    let products = products(queries, bank, channels);
    let relative = |row: &[f32]| smallest(row.iter().zip(squares).map(|(product, square)| square - 2.0 * product), count);
    products.chunks_exact(squares.len()).map(relative).collect()
}

/// The `count` smallest values in rising order; equal values by index.
fn smallest(values: impl Iterator<Item = f32>, count: usize) -> Vec<Neighbour> {
    let mut kept: Vec<Neighbour> = Vec::with_capacity(count + 1);
    for (index, distance) in values.enumerate() {
        if kept.len() < count || distance < kept[kept.len() - 1].distance {
            let at = kept.partition_point(|other| other.distance <= distance);
            kept.insert(at, Neighbour { distance, index });
            kept.truncate(count);
        }
    }
    kept
}

fn mean(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = (rows.len() / columns).max(1) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}
