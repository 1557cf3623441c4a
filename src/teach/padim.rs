//! PaDiM (Defard et al. 2021, arXiv:2011.08785): at each position the patches of good images follow a Gaussian; a patch is as anomalous as its
//! Mahalanobis distance to the Gaussian of its position.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::detector::Scores;
use super::features::Embeddings;

/// Channels that are kept, drawn at random (section III-A: a random choice does as well as principal components; 100 for ResNet-18).
pub const CHANNELS: usize = 100;

/// Added to the diagonal of each covariance (equation 2).
const REGULARISATION: f64 = 0.01;

/// Fitted Gaussians.
#[derive(Debug, Clone, PartialEq)]
pub struct Padim {
    /// Values per patch of the embeddings.
    pub channels: usize,
    /// Which of them are used, rising.
    pub used: Vec<usize>,
    /// Mean per position, `[patch][used]`.
    pub means: Vec<f32>,
    /// Inverse of the lower Cholesky factor of each position's covariance, `[patch][used][used]`: the length of its product with the difference
    /// from the mean is the Mahalanobis distance.
    pub whitening: Vec<f32>,
}

impl Padim {
    /// Fits a Gaussian per position to good images. With a single image the covariance is the regularisation alone.
    pub fn fit(good: &Embeddings, seed: u64) -> Self {
        let kept = CHANNELS.min(good.channels);
        let mut used = sample(&mut ChaCha8Rng::seed_from_u64(seed), good.channels, kept).into_vec();
        used.sort_unstable();
        let moments = (0..good.patches).into_par_iter().map(|patch| Moments::of(good, patch, &used));
        Self::of_moments(good.channels, used.clone(), moments)
    }

    /// The Gaussians of the images that this was fitted to, `images` of them, and of more: means and covariances as if all had been there at once, up
    /// to rounding (Chan, Golub and `LeVeque` 1979, "Updating formulae and a pairwise algorithm for computing sample variances", equation 2.1).
    #[must_use]
    pub fn extended(&self, more: &Embeddings, images: usize) -> Self {
        let size = self.used.len();
        let of_new = (0..more.patches).into_par_iter().map(|patch| Moments::of(more, patch, &self.used));
        let moments = of_new.enumerate().map(|(patch, new)| {
            let (mean, whitening) = (
                &self.means[patch * size..][..size],
                &self.whitening[patch * size * size..][..size * size],
            );
            Moments::recovered(mean, whitening, images).merged(&new)
        });
        Self::of_moments(self.channels, self.used.clone(), moments)
    }

    fn of_moments(channels: usize, used: Vec<usize>, moments: impl ParallelIterator<Item = Moments>) -> Self {
        let fitted: Vec<(Vec<f32>, Vec<f32>)> = moments.map(Moments::fitted).collect();
        let (means, whitening): (Vec<_>, Vec<_>) = fitted.into_iter().unzip();
        Self {
            channels,
            used,
            means: means.concat(),
            whitening: whitening.concat(),
        }
    }

    /// Scores one image: each patch by its Mahalanobis distance, the image by its most anomalous patch.
    pub fn score(&self, image: &[f32]) -> Scores {
        let used = self.used.len();
        let patches: Vec<f32> = image
            .chunks_exact(self.channels)
            .zip(self.means.chunks_exact(used).zip(self.whitening.chunks_exact(used * used)))
            .map(|(patch, (mean, whitening))| {
                let difference: Vec<f32> = self.used.iter().zip(mean).map(|(&channel, mean)| patch[channel] - mean).collect();
                whitening
                    .chunks_exact(used)
                    .map(|row| {
                        row.iter()
                            .zip(&difference)
                            .map(|(weight, value)| weight * value)
                            .sum::<f32>()
                            .powi(2)
                    })
                    .sum::<f32>()
                    .sqrt()
            })
            .collect();
        let image = patches.iter().copied().fold(0.0, f32::max);
        Scores { patches, image }
    }
}

/// Count, mean and products of differences from it, summed up, of the patches at one position.
struct Moments {
    count: f64,
    mean: Vec<f64>,
    /// Lower half of `[used][used]`.
    products: Vec<f64>,
}

impl Moments {
    fn of(good: &Embeddings, patch: usize, used: &[usize]) -> Self {
        let (count, size) = (good.images().len() as f64, used.len());
        let values = |image: &[f32]| -> Vec<f64> {
            let channels = used.iter().map(|channel| f64::from(image[patch * good.channels + channel]));
            channels.collect()
        };
        let rows: Vec<Vec<f64>> = good.images().map(values).collect();
        let mean: Vec<f64> = (0..size)
            .map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / count.max(1.0))
            .collect();
        let mut products = vec![0.0_f64; size * size];
        for row in &rows {
            let centred: Vec<f64> = row.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
            for i in 0..size {
                for j in 0..=i {
                    products[i * size + j] += centred[i] * centred[j];
                }
            }
        }
        Self { count, mean, products }
    }

    /// Those that a Gaussian of `images` images was fitted from.
    fn recovered(mean: &[f32], whitening: &[f32], images: usize) -> Self {
        let size = mean.len();
        let factor = inverse_lower(&whitening.iter().map(|value| f64::from(*value)).collect::<Vec<_>>(), size);
        let degrees = (images as f64 - 1.0).max(0.0);
        let mut products = vec![0.0_f64; size * size];
        for i in 0..size {
            for j in 0..=i {
                let covariance: f64 = (0..=j).map(|k| factor[i * size + k] * factor[j * size + k]).sum();
                let added = if i == j { REGULARISATION } else { 0.0 };
                products[i * size + j] = (covariance - added) * degrees;
            }
        }
        Self {
            count: images as f64,
            mean: mean.iter().map(|value| f64::from(*value)).collect(),
            products,
        }
    }

    fn merged(mut self, more: &Self) -> Self {
        let size = self.mean.len();
        let count = (self.count + more.count).max(1.0);
        let apart: Vec<f64> = more.mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        for i in 0..size {
            for j in 0..=i {
                self.products[i * size + j] += more.products[i * size + j] + apart[i] * apart[j] * self.count * more.count / count;
            }
        }
        let means = self.mean.iter_mut().zip(&apart);
        means.for_each(|(mean, apart)| *mean += apart * more.count / count);
        self.count += more.count;
        self
    }

    /// Mean and whitening matrix.
    fn fitted(mut self) -> (Vec<f32>, Vec<f32>) {
        let size = self.mean.len();
        let degrees = (self.count - 1.0).max(1.0);
        self.products.iter_mut().for_each(|product| *product /= degrees);
        (0..size).for_each(|i| self.products[i * size + i] += REGULARISATION);
        let whitening = inverse_cholesky(&mut self.products, size);
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        (narrow(&self.mean), narrow(&whitening))
    }
}

/// The inverse of the lower Cholesky factor of a positive definite matrix, of which the lower half is given and overwritten (Golub and Van Loan,
/// Matrix Computations, algorithm 4.2.1, and forward substitution).
fn inverse_cholesky(matrix: &mut [f64], size: usize) -> Vec<f64> {
    for i in 0..size {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| matrix[i * size + k] * matrix[j * size + k]).sum();
            let value = matrix[i * size + j] - sum;
            // The regularisation keeps the diagonal positive; the floor only guards against rounding.
            matrix[i * size + j] = if i == j {
                value.max(REGULARISATION * 1e-6).sqrt()
            } else {
                value / matrix[j * size + j]
            };
        }
    }
    inverse_lower(matrix, size)
}

/// The inverse of a lower triangular matrix without zeros on its diagonal, by forward substitution; what is above the diagonal is not looked at.
fn inverse_lower(matrix: &[f64], size: usize) -> Vec<f64> {
    let mut inverse = vec![0.0_f64; size * size];
    for column in 0..size {
        for i in column..size {
            let sum: f64 = (column..i).map(|k| matrix[i * size + k] * inverse[k * size + column]).sum();
            inverse[i * size + column] = (f64::from(u8::from(i == column)) - sum) / matrix[i * size + i];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_dimension_is_the_distance_in_standard_deviations() {
        let good = Embeddings::new(1, 1, vec![1.0, 3.0, 5.0]);
        let padim = Padim::fit(&good, 0);
        let expected = (9.0_f32 - 3.0) / (4.0_f32 + 0.01).sqrt();
        assert!((padim.score(&[9.0]).image - expected).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn gaussians_in_two_steps_are_those_of_all_images_at_once(values in prop::collection::vec(-2.0_f32..2.0, 12 * 6), first in 1_usize..12) {
            let good = |values: &[f32]| Embeddings::new(2, 3, values.to_vec());
            let (old, new) = values.split_at(first * 6);
            let (at_once, in_steps) = (Padim::fit(&good(&values), 0), Padim::fit(&good(old), 0).extended(&good(new), first));
            let is_near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 2e-3 * a.abs().max(1.0));
            prop_assert!(is_near(&at_once.means, &in_steps.means));
            prop_assert!(is_near(&at_once.whitening, &in_steps.whitening), "{:?} {:?}", at_once.whitening, in_steps.whitening);
        }
    }

    #[test]
    fn whitening_inverts_the_covariance() {
        let mut matrix = vec![4.0, 0.0, 1.0, 3.0];
        let inverse = inverse_cholesky(&mut matrix, 2);
        // For (4 1; 1 3) and x = (1, 2), x' inverse(C) x = (3 - 4 + 16) / 11.
        let length: f64 = [inverse[0], inverse[2] + 2.0 * inverse[3]].iter().map(|v| v * v).sum();
        assert!((length - 15.0 / 11.0).abs() < 1e-12);
    }
}
