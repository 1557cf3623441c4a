//! Spatial arithmetic as matrices. Averaging, interpolation and blur are linear and separable, so each is one small matrix per axis, and a chain
//! of them is the product of these. The reference scorer and the emitted graph use the very same matrices.

/// A linear map along one axis: `rows` outputs from `columns` inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisMap {
    /// Length of the axis after the map.
    pub rows: usize,
    /// Length of the axis before the map.
    pub columns: usize,
    /// `rows * columns` weights, row-major.
    pub weights: Vec<f32>,
}

impl AxisMap {
    fn from_fn(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> f64) -> Self {
        let weights = (0..rows * columns).map(|i| weight(i / columns, i % columns) as f32).collect();
        Self { rows, columns, weights }
    }

    /// Leaves the axis as it is.
    pub fn identity(length: usize) -> Self {
        Self::from_fn(length, length, |row, column| f64::from(u8::from(row == column)))
    }

    /// Weighted average of each point with its neighbours; `kernel` has an odd length and need not sum to 1. Points beyond the border count as
    /// zero, as in the average pooling of PatchCore (Roth et al. 2022, section 3.1).
    pub fn local_average(length: usize, kernel: &[f64]) -> Self {
        let (total, reach) = (kernel.iter().sum::<f64>(), kernel.len() / 2);
        Self::from_fn(length, length, |row, column| {
            kernel.get((column + reach).wrapping_sub(row)).map_or(0.0, |weight| weight / total)
        })
    }

    /// Linear interpolation with pixel centres aligned at half pixels and the border repeated (ONNX `Resize`, `half_pixel`).
    pub fn linear(rows: usize, columns: usize) -> Self {
        let last = columns.saturating_sub(1);
        Self::from_fn(rows, columns, |row, column| {
            let position = (((row as f64) + 0.5) * columns as f64 / rows as f64 - 0.5).max(0.0);
            let (below, fraction) = ((position.floor() as usize).min(last), position.fract());
            let above = (below + 1).min(last);
            f64::from(u8::from(column == below)) * (1.0 - fraction) + f64::from(u8::from(column == above)) * fraction
        })
    }

    /// Gaussian blur with standard deviation `sigma` in points, cut off at 4 sigma, the border mirrored.
    pub fn gaussian(length: usize, sigma: f64) -> Self {
        let reach = (4.0 * sigma).ceil() as i64;
        let kernel: Vec<f64> = (-reach..=reach).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
        let total: f64 = kernel.iter().sum();
        let mut weights = vec![0.0_f64; length * length];
        for row in 0..length {
            for (offset, weight) in (-reach..=reach).zip(&kernel) {
                weights[row * length + mirrored(row as i64 + offset, length)] += weight / total;
            }
        }
        Self {
            rows: length,
            columns: length,
            weights: weights.iter().map(|weight| *weight as f32).collect(),
        }
    }

    /// This map followed by `next`.
    ///
    /// `next.columns` must equal `self.rows`.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        debug_assert_eq!(next.columns, self.rows);
        Self::from_fn(next.rows, self.columns, |row, column| {
            (0..self.rows)
                .map(|middle| {
                    f64::from(next.weights[row * next.columns + middle]) * f64::from(self.weights[middle * self.columns + column])
                })
                .sum()
        })
    }

    /// The weights with rows and columns exchanged.
    pub fn transposed(&self) -> Vec<f32> {
        (0..self.rows * self.columns)
            .map(|i| self.weights[(i % self.rows) * self.columns + i / self.rows])
            .collect()
    }
}

/// The index that a mirrored border (`d c b a | a b c d | d c b a`) puts at `position`.
fn mirrored(position: i64, length: usize) -> usize {
    let (length, period) = (length as i64, 2 * length as i64);
    let folded = position.rem_euclid(period);
    (if folded < length { folded } else { period - 1 - folded }) as usize
}

/// Applies one map to the rows' axis and one to the columns' axis of a plane of `vertical.columns * horizontal.columns` values.
pub fn apply(vertical: &AxisMap, horizontal: &AxisMap, plane: &[f32]) -> Vec<f32> {
    let (height, width) = (vertical.columns, horizontal.columns);
    let mut half = vec![0.0_f32; vertical.rows * width];
    for (row, weights) in half.chunks_exact_mut(width).zip(vertical.weights.chunks_exact(height)) {
        for (weight, source) in weights.iter().zip(plane.chunks_exact(width)).filter(|(weight, _)| **weight != 0.0) {
            row.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    let mut out = vec![0.0_f32; vertical.rows * horizontal.rows];
    for (row, source) in out.chunks_exact_mut(horizontal.rows).zip(half.chunks_exact(width)) {
        for (value, weights) in row.iter_mut().zip(horizontal.weights.chunks_exact(width)) {
            *value = weights.iter().zip(source).map(|(weight, value)| weight * value).sum();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn averaging_counts_the_border_as_zero() {
        let map = AxisMap::local_average(3, &[1.0, 1.0, 1.0]);
        let third = 1.0 / 3.0;
        assert_eq!(map.weights, [third, third, 0.0, third, third, third, 0.0, third, third]);
    }

    #[test]
    fn doubling_aligns_half_pixels() {
        let doubled = apply(&AxisMap::linear(4, 2), &AxisMap::identity(1), &[0.0, 1.0]);
        assert_eq!(doubled, [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn mirror_repeats_the_edge_point() {
        let order: Vec<usize> = (-3..6).map(|position| mirrored(position, 3)).collect();
        assert_eq!(order, [2, 1, 0, 0, 1, 2, 2, 1, 0]);
    }

    proptest! {
        #[test]
        fn blur_and_interpolation_keep_a_constant(length in 1_usize..40, rows in 1_usize..40, sigma in 0.3_f64..8.0, value in -5.0_f32..5.0) {
            let map = AxisMap::linear(rows, length).then(&AxisMap::gaussian(rows, sigma));
            let out = apply(&map, &AxisMap::identity(1), &vec![value; length]);
            prop_assert!(out.iter().all(|v| (v - value).abs() < 1e-4));
        }

        #[test]
        fn a_chain_equals_its_steps(plane in prop::collection::vec(-1.0_f32..1.0, 12)) {
            let (first, second) = (AxisMap::local_average(4, &[1.0, 2.0, 1.0]), AxisMap::linear(9, 4));
            let across = AxisMap::identity(3);
            let steps = apply(&second, &across, &apply(&first, &across, &plane));
            let chain = apply(&first.then(&second), &across, &plane);
            prop_assert!(steps.iter().zip(&chain).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
