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
        let fitted: Vec<(Vec<f32>, Vec<f32>)> = (0..good.patches)
            .into_par_iter()
            .map(|patch| fit_position(good, patch, &used))
            .collect();
        let (means, whitening): (Vec<_>, Vec<_>) = fitted.into_iter().unzip();
        Self {
            channels: good.channels,
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

/// Mean and whitening matrix of one position.
fn fit_position(good: &Embeddings, patch: usize, used: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let (count, size) = (good.images().len() as f64, used.len());
    let rows: Vec<Vec<f64>> = good
        .images()
        .map(|image| {
            used.iter()
                .map(|channel| f64::from(image[patch * good.channels + channel]))
                .collect()
        })
        .collect();
    let mean: Vec<f64> = (0..size).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / count).collect();
    let mut covariance = vec![0.0_f64; size * size];
    for row in &rows {
        let centred: Vec<f64> = row.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
        for i in 0..size {
            for j in 0..=i {
                covariance[i * size + j] += centred[i] * centred[j] / (count - 1.0).max(1.0);
            }
        }
    }
    (0..size).for_each(|i| covariance[i * size + i] += REGULARISATION);
    let whitening = inverse_cholesky(&mut covariance, size);
    (
        mean.iter().map(|v| *v as f32).collect(),
        whitening.iter().map(|v| *v as f32).collect(),
    )
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

    #[test]
    fn one_dimension_is_the_distance_in_standard_deviations() {
        let good = Embeddings {
            patches: 1,
            channels: 1,
            values: vec![1.0, 3.0, 5.0],
        };
        let padim = Padim::fit(&good, 0);
        let expected = (9.0_f32 - 3.0) / (4.0_f32 + 0.01).sqrt();
        assert!((padim.score(&[9.0]).image - expected).abs() < 1e-5);
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
