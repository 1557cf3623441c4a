//! Values find their place on an axis: its ends, its ticks, linear or logarithmic, and how many values fall on each piece of it.

use super::super::html::each;
use super::{across, column_tick};

/// Bars of a histogram.
pub(super) const BINS: usize = 36;

/// Empty room at both ends of an axis, as a share of the range of its values: keeps bars and lines off the frame. More than a bar's width,
/// so that [`Axis::aligned_to`] loses nothing.
const ROOM: f64 = 0.035;

/// A range is drawn on a logarithmic axis when its top is this many times its median: a linear one would press half of it into a corner.
const LOG_ABOVE_MEDIAN: f64 = 4.0;

/// A horizontal axis that covers some values, linear or logarithmic.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    pub(super) log: bool,
}

impl Axis {
    /// The axis over finite `values`; `None` if there are none.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let (low, median, high) = (*values.first()?, values[values.len() / 2], *values.last()?);
        let log = low > 0.0 && high > LOG_ABOVE_MEDIAN * median;
        // Equal values get a bar in the middle.
        Some(if log {
            let room = (high / low).powf(ROOM);
            Self {
                low: low / room,
                high: high * room,
                log,
            }
        } else {
            let room = if high > low {
                ROOM * (high - low)
            } else {
                high.abs().max(1.0) * 0.5
            };
            let start = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
            Self {
                low: start,
                high: high + room,
                log,
            }
        })
    }

    /// The axis moved to the left by less than a bar so that `value` lies between two bars: each bar is then on one side of it.
    pub(super) fn aligned_to(self, value: f64) -> Self {
        let bars = self.at(value) * BINS as f64;
        let shift = (bars.ceil() - bars) / BINS as f64;
        if self.log {
            let factor = (self.low / self.high).powf(shift);
            Self {
                low: self.low * factor,
                high: self.high * factor,
                ..self
            }
        } else {
            let distance = (self.high - self.low) * shift;
            Self {
                low: self.low - distance,
                high: self.high - distance,
                ..self
            }
        }
    }

    /// Where `value` lies on the axis, 0 at the left end and 1 at the right.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    pub(super) fn ticks_html(&self) -> String {
        each(self.ticks(), |value| column_tick(across(self.at(value)), &tick_label(value)))
    }

    /// Round values on the axis, about five.
    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            return tick_values(self.low, self.high, 5);
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let within = |steps: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            all.filter(|value| (self.low..=self.high).contains(value)).collect()
        };
        let fine = within(&[1.0, 2.0, 5.0]);
        if fine.len() > 7 { within(&[1.0]) } else { fine }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `count` of them.
pub(super) fn tick_values(low: f64, high: f64, count: u32) -> Vec<f64> {
    let rough = (high - low) / f64::from(count);
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let step = power
        * [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|step| step * power >= rough * 0.999)
            .unwrap_or(10.0);
    let (first, last) = ((low / step).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

/// How many values fall into each of [`BINS`] equal pieces of the axis.
pub(super) fn bins(axis: &Axis, values: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    for value in values {
        counts[((axis.at(*value) * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// A number on an axis: as few digits as it takes.
fn tick_label(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded == 0.0 && value != 0.0 {
        format!("{value:.0e}")
    } else {
        format!("{rounded}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(tick_values(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(tick_values(3.2, 17.9, 5), [5.0, 10.0, 15.0]);
        assert_eq!(tick_values(1.0, 1.0, 5), [1.0]);
        let axis = Axis {
            low: 0.9,
            high: 120.0,
            log: true,
        };
        assert_eq!(axis.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn a_long_tail_is_drawn_on_a_logarithmic_axis() {
        assert!(Axis::over([1.0, 1.1, 1.2, 40.0].into_iter()).is_some_and(|axis| axis.log));
        assert!(Axis::over([1.0, 1.1, 1.2, 3.0].into_iter()).is_some_and(|axis| !axis.log));
        assert!(Axis::over([0.0, 1.1, 1.2, 40.0].into_iter()).is_some_and(|axis| !axis.log));
        assert!(Axis::over(std::iter::empty()).is_none());
    }

    #[test]
    fn the_threshold_lies_between_two_bars() {
        for (values, threshold) in [([3.0, 4.0, 5.0, 9.0], 7.1), ([1.0, 1.1, 1.2, 90.0], 2.5)] {
            let axis = Axis::over(values.into_iter()).map(|axis| axis.aligned_to(threshold));
            let bars = axis.map_or(0.0, |axis| axis.at(threshold) * BINS as f64);
            assert!(bars > 1.0 && (bars - bars.round()).abs() < 1e-9, "{bars}");
            assert!(axis.is_some_and(|axis| axis.low < values[0] && axis.high > values[3]));
        }
    }
}
