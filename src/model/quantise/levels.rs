//! From real numbers to bytes and back: scales, zero points, levels. Pure.
//!
//! A value `x` becomes the level `round(x / scale) + zero_point`, kept within the byte, and stands for `(level - zero_point) * scale`: ONNX
//! `QuantizeLinear` and `DequantizeLinear`; Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference", section 2.1. Rounding is to the nearest, halves to the even one, as there.

/// Levels of a weight on either side of zero. -128 is left out, so that zero stands for zero and both signs reach as far.
const WEIGHT_LEVEL_MAX: f32 = 127.0;

/// Largest bias as a 32-bit number: half of what there is, so that the sum of products added to it has the other half.
const BIAS_LEVEL_MAX: f32 = 1_073_741_824.0;

/// The values that a tensor took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    /// The lowest.
    pub(super) low: f32,
    /// The highest.
    pub(super) high: f32,
}

impl Range {
    /// The range over nothing: whatever is joined to it is the result.
    pub(super) const NOTHING: Self = Self {
        low: f32::INFINITY,
        high: f32::NEG_INFINITY,
    };

    /// Both together. A value that is no number makes the range one that [`Activation::over`] refuses.
    pub(super) fn joined(self, other: Self) -> Self {
        let either = |kept: f32, other: f32, is_further: bool| if other.is_nan() || is_further { other } else { kept };
        Self {
            low: either(self.low, other.low, other.low < self.low),
            high: either(self.high, other.high, other.high > self.high),
        }
    }
}

/// How a tensor's values become bytes from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Activation {
    /// The step between two levels; above zero.
    pub(super) scale: f32,
    /// The level that stands for zero, exactly: padding is zeros.
    pub(super) zero_point: u8,
}

impl Activation {
    /// Levels over a range, and over zero; `None` where the range is not made of finite numbers.
    pub(super) fn over(range: Range) -> Option<Self> {
        let (low, high) = (range.low.min(0.0), range.high.max(0.0));
        let scale = (high - low) / 255.0;
        if !(range.low <= range.high && scale.is_finite()) {
            return None;
        }
        if !scale.is_normal() {
            // Nothing but zeros: any step does.
            return Some(Self { scale: 1.0, zero_point: 0 });
        }
        Some(Self {
            scale,
            zero_point: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8,
        })
    }
}

/// Weights as bytes, each output channel with a scale of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// From -127 to 127, in the order of the weights.
    pub(super) levels: Vec<i8>,
    /// One for each output channel.
    pub(super) scales: Vec<f32>,
    /// What is added to the sum of products of each channel, in steps of that channel's scale times the input's; empty without a bias.
    pub(super) bias: Vec<i32>,
}

/// Weights whose first dimension is the output channel, and their bias (one for each, or none), for inputs of a scale.
///
/// A channel's step is that of its largest weight, or larger where its bias would not fit otherwise. `None` where numbers are not finite, or do
/// not go with the channels.
pub(super) fn weights(values: &[f32], bias: &[f32], channels: usize, input_scale: f32) -> Option<Weights> {
    let is_shaped = channels > 0 && values.len().is_multiple_of(channels) && (bias.is_empty() || bias.len() == channels);
    let is_finite = values.iter().chain(bias).chain([&input_scale]).all(|value| value.is_finite());
    if !(is_shaped && is_finite && !values.is_empty() && input_scale > 0.0) {
        return None;
    }
    let largest = |values: &[f32]| values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let mut quantised = Weights {
        levels: Vec::with_capacity(values.len()),
        scales: Vec::with_capacity(channels),
        bias: Vec::with_capacity(bias.len()),
    };
    for (channel, row) in values.chunks_exact(values.len() / channels).enumerate() {
        let added = bias.get(channel).copied().unwrap_or_default();
        let scale = (largest(row) / WEIGHT_LEVEL_MAX).max(added.abs() / (input_scale * BIAS_LEVEL_MAX));
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let level = |value: &f32| (value / scale).round_ties_even().clamp(-WEIGHT_LEVEL_MAX, WEIGHT_LEVEL_MAX) as i8;
        quantised.levels.extend(row.iter().map(level));
        quantised.scales.push(scale);
        if !bias.is_empty() {
            quantised
                .bias
                .push((f64::from(added) / (f64::from(input_scale) * f64::from(scale))).round_ties_even() as i32);
        }
    }
    Some(quantised)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;
    use proptest::prelude::*;

    /// ONNX `QuantizeLinear`, then `DequantizeLinear`, in the words of the specification and in double precision.
    fn there_and_back(value: f32, activation: Activation) -> f64 {
        let scale = f64::from(activation.scale);
        let level = ((f64::from(value) / scale).round_ties_even() + f64::from(activation.zero_point)).clamp(0.0, 255.0);
        (level - f64::from(activation.zero_point)) * scale
    }

    proptest! {
        #[test]
        fn values_within_the_range_come_back_within_half_a_step(
            low in -1e6_f32..1e6, width in 1e-3_f32..1e6, share in 0.0_f32..=1.0,
        ) {
            let range = Range { low, high: low + width };
            let activation = Activation::over(range).unwrap();
            let value = (low + share * width).clamp(range.low, range.high);
            let error = (there_and_back(value, activation) - f64::from(value)).abs();
            // The zero point is rounded too: up to another half at either end.
            prop_assert!(error <= 1.0001 * f64::from(activation.scale), "{error} of a step of {}", activation.scale);
            prop_assert_eq!(there_and_back(0.0, activation), 0.0);
        }

        #[test]
        fn what_is_cut_at_zero_stays_cut_at_zero(high in 1e-3_f32..1e6, below in -1e6_f32..0.0) {
            let activation = Activation::over(Range { low: 0.0, high }).unwrap();
            prop_assert_eq!(activation.zero_point, 0);
            prop_assert_eq!(there_and_back(below, activation), 0.0);
            prop_assert!(there_and_back(2.0 * high, activation) <= f64::from(high) * 1.000_001);
        }

        #[test]
        fn sums_of_products_are_those_of_the_plain_numbers(
            rows in prop::collection::vec(prop::collection::vec(-3.0_f32..3.0, 6), 1..5),
            bias in -1e4_f32..1e4,
            inputs in prop::collection::vec(0_u8..=255, 6),
            zero_point: u8,
            input_scale in 1e-4_f32..1.0,
        ) {
            let plain: Vec<f32> = rows.concat();
            let biases = vec![bias; rows.len()];
            let quantised = weights(&plain, &biases, rows.len(), input_scale).unwrap();
            for (channel, row) in rows.iter().enumerate() {
                let reals = inputs.iter().map(|level| (f64::from(*level) - f64::from(zero_point)) * f64::from(input_scale));
                let naive: f64 = f64::from(bias) + reals.clone().zip(row).map(|(x, w)| x * f64::from(*w)).sum::<f64>();
                let levels = &quantised.levels[channel * 6..][..6];
                let products = inputs.iter().zip(levels).map(|(x, w)| (i32::from(*x) - i32::from(zero_point)) * i32::from(*w));
                let step = f64::from(input_scale) * f64::from(quantised.scales[channel]);
                let whole = f64::from(products.sum::<i32>() + quantised.bias[channel]) * step;
                // Each weight is off by at most half its step, the bias by half of the product's.
                let allowed = f64::from(quantised.scales[channel]) / 2.0 * reals.map(f64::abs).sum::<f64>() + step / 2.0;
                prop_assert!((whole - naive).abs() <= allowed * 1.001 + naive.abs() * 1e-6, "{whole} for {naive}, {allowed} allowed");
            }
        }
    }

    #[test]
    fn known_ranges_have_the_levels_of_onnx_runtimes_quantiser() {
        // onnxruntime 1.32, quantization.quant_utils.compute_scale_zp(rmin, rmax, 0, 255).
        for (low, high, scale, zero_point) in [
            (-0.992_187_5, 1.0, 0.007_812_5, 127),
            (0.0, 6.0, 0.023_529_412, 0),
            (-2.5, 0.75, 0.012_745_098, 196),
        ] {
            let activation = Activation::over(Range { low, high }).unwrap();
            assert!((activation.scale - scale).abs() < 1e-9, "{activation:?}");
            assert_eq!(activation.zero_point, zero_point);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (low, high) in [
            (f32::NAN, 1.0),
            (0.0, f32::NAN),
            (f32::NEG_INFINITY, 0.0),
            (1.0, -1.0),
            (-f32::MAX, f32::MAX),
        ] {
            assert_eq!(Activation::over(Range { low, high }), None, "{low} to {high}");
        }
        assert_eq!(Activation::over(Range::NOTHING), None);
        let poisoned = Range { low: 0.0, high: 1.0 }.joined(Range {
            low: f32::NAN,
            high: f32::NAN,
        });
        assert_eq!(Activation::over(poisoned.joined(Range { low: 0.0, high: 9.0 })), None);
        assert_eq!(Activation::over(Range { low: 0.0, high: 0.0 }).map(|zeros| zeros.scale), Some(1.0));
        assert_eq!(weights(&[1.0, f32::NAN], &[], 2, 1.0), None);
        assert_eq!(weights(&[1.0, 2.0, 3.0], &[], 2, 1.0), None);
    }
}
