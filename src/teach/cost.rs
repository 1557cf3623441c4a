//! A threshold from what mistakes cost, where known defects are at hand: the one with the lowest expected cost of a part, and how sure it is. Pure.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws of the bootstrap.
const DRAWS: usize = 1000;

/// Share of the draws inside the interval.
pub const CONFIDENCE: f64 = 0.95;

/// What mistakes cost, in any unit of money, and how often parts are defective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Of a defective part that passes, above 0.
    pub escape: f64,
    /// Of a good part that is rejected, above 0.
    pub false_reject: f64,
    /// Share of parts that are defective, in (0, 1).
    pub defect_rate: f64,
}

/// The threshold with the lowest expected cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cheapest {
    /// Parts that score above it are rejected.
    pub threshold: f32,
    /// Within these it lies in 95 % of the draws.
    pub threshold_interval: [f32; 2],
    /// Expected cost of a part.
    pub cost: f64,
    /// Within these the cost at the threshold lies in 95 % of the draws.
    pub cost_interval: [f64; 2],
    /// Share of the good parts above it.
    pub false_reject_rate: f64,
    /// Share of the defects at or below it.
    pub escape_rate: f64,
}

/// Costs that make no sense.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CostError {
    /// A cost or the rate is out of range.
    #[error("failed to choose a threshold by cost: costs must be above 0, and the defect rate between 0 and 1")]
    Range,
    /// No scores.
    #[error("failed to choose a threshold by cost: it takes scores of good parts and of defects, all of them numbers")]
    Scores,
}

/// The threshold where the expected cost of a part,
/// `(1 - defect_rate) * false_reject * P(good > t) + defect_rate * escape * P(defect <= t)`, is lowest: the empirical Bayes rule (Elkan 2001, "The
/// foundations of cost-sensitive learning", section 1). It lies midway between the two scores that it parts. Of thresholds that cost the same the
/// widest gap is taken, then the lowest: it leans to rejecting. `good` must be scores of parts that were not taught.
///
/// Intervals are percentiles over draws with replacement of both lists (Efron 1979), repeated from `seed`.
///
/// # Errors
/// When a list is empty or holds what is no number, or costs make no sense.
pub fn cheapest(good: &[f32], defects: &[f32], costs: Costs, seed: u64) -> Result<Cheapest, CostError> {
    let is_above_zero = |cost: f64| cost.is_finite() && cost > 0.0;
    if !(is_above_zero(costs.escape) && is_above_zero(costs.false_reject) && is_above_zero(costs.defect_rate) && costs.defect_rate < 1.0) {
        return Err(CostError::Range);
    }
    if good.is_empty() || defects.is_empty() || !good.iter().chain(defects).all(|score| score.is_finite()) {
        return Err(CostError::Scores);
    }
    let threshold = lowest(good, defects, costs);
    let (false_reject_rate, escape_rate) = rates(good, defects, threshold);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |scores: &[f32]| -> Vec<f32> { (0..scores.len()).map(|_| scores[random.random_range(0..scores.len())]).collect() };
    let (mut thresholds, mut paid) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
    for _ in 0..DRAWS {
        let (good, defects) = (draw(good), draw(defects));
        thresholds.push(lowest(&good, &defects, costs));
        paid.push(cost(rates(&good, &defects, threshold), costs));
    }
    thresholds.sort_unstable_by(f32::total_cmp);
    paid.sort_unstable_by(f64::total_cmp);
    let ends = [(1.0 - CONFIDENCE) / 2.0, f64::midpoint(1.0, CONFIDENCE)].map(|share| ((DRAWS as f64 * share) as usize).min(DRAWS - 1));
    Ok(Cheapest {
        threshold,
        threshold_interval: ends.map(|at| thresholds[at]),
        cost: cost((false_reject_rate, escape_rate), costs),
        cost_interval: ends.map(|at| paid[at]),
        false_reject_rate,
        escape_rate,
    })
}

fn cost((false_rejects, escapes): (f64, f64), costs: Costs) -> f64 {
    (1.0 - costs.defect_rate) * costs.false_reject * false_rejects + costs.defect_rate * costs.escape * escapes
}

/// Shares of good parts above and of defects at or below a threshold.
fn rates(good: &[f32], defects: &[f32], threshold: f32) -> (f64, f64) {
    let above = |scores: &[f32]| scores.iter().filter(|score| **score > threshold).count() as f64 / scores.len() as f64;
    (above(good), 1.0 - above(defects))
}

fn lowest(good: &[f32], defects: &[f32], costs: Costs) -> f32 {
    let mut all: Vec<(f32, bool)> = good
        .iter()
        .map(|score| (*score, false))
        .chain(defects.iter().map(|score| (*score, true)))
        .collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // What one part of each list adds or saves when the threshold rises above it.
    let saved = (1.0 - costs.defect_rate) * costs.false_reject / good.len() as f64;
    let added = costs.defect_rate * costs.escape / defects.len() as f64;
    let beyond = |score: f32| score - 0.05 * score.abs().max(f32::MIN_POSITIVE);
    // Below all scores everything is rejected.
    let mut paid = saved * good.len() as f64;
    let (mut best, mut gap) = ((paid, beyond(all[0].0)), 0.0_f32);
    for (index, (score, is_defect)) in all.iter().enumerate() {
        paid += if *is_defect { added } else { -saved };
        let next = all.get(index + 1).map_or(score + 0.05 * score.abs(), |next| next.0);
        if next <= *score && index + 1 < all.len() {
            continue;
        }
        let is_level = (paid - best.0).abs() <= 1e-12 * best.0.abs();
        if (!is_level && paid < best.0) || (is_level && next - score > gap) {
            best = (paid, f32::midpoint(*score, next));
            gap = next - score;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;
    use proptest::prelude::*;

    const COSTS: Costs = Costs {
        escape: 100.0,
        false_reject: 2.0,
        defect_rate: 0.02,
    };

    proptest! {
        #[test]
        fn no_threshold_is_cheaper(
            good in prop::collection::vec(0_u8..60, 1..40), defects in prop::collection::vec(0_u8..60, 1..40), escape in 0.1..500.0_f64, rate in 0.001..0.9_f64,
        ) {
            let scores = |list: Vec<u8>| list.into_iter().map(f32::from).collect::<Vec<_>>();
            let (good, defects) = (scores(good), scores(defects));
            let costs = Costs { escape, defect_rate: rate, ..COSTS };
            let found = cheapest(&good, &defects, costs, 1).unwrap();
            let least = (-2..130).map(|half| cost(rates(&good, &defects, half as f32 / 2.0), costs)).fold(f64::INFINITY, f64::min);
            prop_assert!((found.cost - least).abs() < 1e-9, "{} against {least}", found.cost);
        }
    }

    #[test]
    fn where_the_lists_are_apart_it_lies_between_them() {
        let found = cheapest(&[1.0, 2.0, 3.0], &[7.0, 8.0], COSTS, 0).unwrap();
        assert_eq!(
            (found.threshold, found.cost, found.escape_rate, found.false_reject_rate),
            (5.0, 0.0, 0.0, 0.0)
        );
        assert!(found.threshold_interval[0] <= 5.0 && found.threshold_interval[1] >= 5.0);
    }

    #[test]
    fn dearer_escapes_lower_the_threshold() {
        let (good, defects) = ([1.0, 2.0, 3.0, 4.0, 5.0], [3.5, 4.5, 5.5, 6.5]);
        let at = |escape| cheapest(&good, &defects, Costs { escape, ..COSTS }, 0).unwrap().threshold;
        assert!(at(10_000.0) < at(100.0) || at(100.0) < at(1.0));
        assert!(at(10_000.0) < 3.5 && at(0.001) >= 5.0);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(cheapest(&[], &[1.0], COSTS, 0), Err(CostError::Scores));
        assert_eq!(cheapest(&[1.0], &[f32::NAN], COSTS, 0), Err(CostError::Scores));
        assert_eq!(cheapest(&[1.0], &[2.0], Costs { escape: 0.0, ..COSTS }, 0), Err(CostError::Range));
    }
}
