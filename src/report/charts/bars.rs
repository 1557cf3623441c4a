//! Shares and scores as thin bars beside their numbers.

use crate::teach::calibration::Interval;

/// A share with its interval as a thin bar from 0 to 100%: the interval is the band, the share the mark.
pub(in crate::report) fn interval_bar(share: f64, interval: Interval) -> String {
    let (low, high) = (interval.low * 100.0, interval.high * 100.0);
    format!(
        "<svg class=\"interval\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" y=\"4\" width=\"100\" \
         height=\"2\"/><rect class=\"band\" x=\"{low:.1}\" y=\"2\" width=\"{:.1}\" height=\"6\"/><rect class=\"mark\" x=\"{:.1}\" width=\"2\" height=\"10\"/></svg>",
        (high - low).max(0.5),
        (share * 100.0 - 1.0).clamp(0.0, 98.0),
    )
}

/// A score against the threshold, which is the mark in the middle: the bar ends at the score, and at the right for twice the threshold or more.
pub(in crate::report) fn score_bar(value: f32, threshold: f32) -> String {
    if !(threshold > 0.0 && threshold.is_finite()) {
        return String::new();
    }
    let class = if value > threshold { "defect" } else { "good" };
    format!(
        "<svg class=\"meter\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" y=\"2\" width=\"100\" \
         height=\"6\"/><rect class=\"{class}\" y=\"2\" width=\"{:.1}\" height=\"6\"/><rect class=\"mark\" x=\"49.6\" width=\"0.8\" height=\"10\"/></svg>",
        (f64::from(value) / f64::from(threshold) * 50.0).clamp(0.0, 100.0),
    )
}
