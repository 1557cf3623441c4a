//! The charts of a report as inline SVG. Colours come from classes of the page's style sheet, so they follow its light and dark schemes; no
//! chart tells its classes apart by colour alone.

use super::html::{each, milliseconds, number, percent, score, text};
use crate::teach::calibration::Interval;
use crate::teach::metrics::{RocPoint, percentile};

/// The plot area of every chart, in units of its view box (`0 0 WIDTH HEIGHT`): labels stand around it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 408.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 250.0;

/// Bars of a histogram.
const BINS: usize = 36;

/// Width of a character of a label, rather too wide, and the height of a row of labels.
const LABEL_CHARACTER: f64 = 7.2;
const LABEL_ROW: f64 = 16.0;

/// Empty room at both ends of an axis, as a share of the range of its values: keeps bars and lines off the frame. More than a bar's width,
/// so that [`Axis::aligned_to`] loses nothing.
const ROOM: f64 = 0.035;

/// A range is drawn on a logarithmic axis when its top is this many times its median: a linear one would press half of it into a corner.
const LOG_ABOVE_MEDIAN: f64 = 4.0;

/// A deadline is off the axis when it is more than this many times the longest time.
const FAR: u64 = 10;

/// The receiver operating characteristic with the working point of the chosen threshold as (false reject rate, detection rate), shares of 1.
pub(super) fn roc(curve: &[RocPoint], auroc: Option<f64>, working_point: Option<(f64, f64)>) -> String {
    if curve.is_empty() {
        return empty_chart("ROC curve: needs good and defective parts");
    }
    let place = |rate: f64, detection: f64| (across(rate), BOTTOM - detection * (BOTTOM - TOP));
    let line = each(curve, |point| {
        let (x, y) = place(point.false_reject_rate, point.detection_rate);
        format!("{x:.1},{y:.1} ")
    });
    let grid = each([0.0, 0.25, 0.5, 0.75, 1.0], |share| {
        let (x, y) = place(share, share);
        let label = format!("{:.0}", share * 100.0);
        format!("{}{}", column_tick(x, &label), row_tick(y, &label))
    });
    let marker = working_point.map_or_else(String::new, |(rate, detection)| {
        let (x, y) = place(rate, detection);
        // The label goes where the curve is not: below and to the right of a point that lies in the upper left.
        let (label_x, anchor) = if rate < 0.55 { (x + 12.0, "start") } else { (x - 12.0, "end") };
        format!(
            "<path class=\"point\" d=\"M{x:.1} {:.1}l6 6-6 6-6-6z\"/><text class=\"strong\" x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">\
             at the threshold: {} found,</text><text class=\"strong\" x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} falsely rejected</text>",
            y - 6.0,
            y + 20.0,
            percent(Some(detection)),
            y + 36.0,
            percent(Some(rate)),
        )
    });
    let area = number(auroc, 4);
    svg(
        &format!("ROC curve, area under it {area}"),
        &format!(
            "{grid}<polygon class=\"area\" points=\"{LEFT},{BOTTOM} {line}{RIGHT},{BOTTOM}\"/>\
             <line class=\"faint dashed\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{TOP}\"/>\
             <polyline class=\"curve\" points=\"{line}\"/>{marker}\
             <text class=\"strong\" x=\"{}\" y=\"{}\" text-anchor=\"end\">AUROC {area}</text>{}{}",
            RIGHT - 8.0,
            BOTTOM - 12.0,
            column_title("good parts rejected, %"),
            row_title("defects found, %"),
        ),
    )
}

/// The scores of good parts (bars up) and defects (bars down) on one axis, with the threshold between accepted and rejected.
pub(super) fn score_histogram(good: &[f32], defects: &[f32], threshold: f32) -> String {
    let finite = |scores: &[f32]| {
        scores
            .iter()
            .copied()
            .map(f64::from)
            .filter(|score| score.is_finite())
            .collect::<Vec<_>>()
    };
    let (good, defects, threshold) = (
        finite(good),
        finite(defects),
        Some(f64::from(threshold)).filter(|threshold| threshold.is_finite()),
    );
    if good.is_empty() && defects.is_empty() {
        return empty_chart("Scores: no part has one");
    }
    let Some(axis) = Axis::over(good.iter().chain(&defects).copied().chain(threshold)) else {
        return String::new();
    };
    let axis = threshold.map_or(axis, |threshold| axis.aligned_to(threshold));
    let (up, down) = (bins(&axis, &good), bins(&axis, &defects));
    let highest = up.iter().chain(&down).copied().max().unwrap_or(1).max(1);
    // Each side gets the room its highest bar needs, so both share one scale and neither is half empty.
    let (up_most, down_most) = (up.iter().copied().max().unwrap_or(0), down.iter().copied().max().unwrap_or(0));
    let per_part = (BOTTOM - TOP) / (up_most + down_most).max(1) as f64;
    let base = TOP + up_most as f64 * per_part;
    let bars = |counts: &[usize], class: &str, direction: f64| {
        each(counts.iter().enumerate().filter(|(_, count)| **count > 0), |(bin, count)| {
            let height = *count as f64 * per_part;
            bar(bin, if direction < 0.0 { base - height } else { base }, height, class)
        })
    };
    let counts = each(
        tick_values(0.0, highest as f64, 4)
            .into_iter()
            .filter(|count| count.fract() == 0.0 && *count > 0.0),
        |count| {
            let label = number(Some(count), 0);
            let above = if count <= up_most as f64 {
                row_tick(base - count * per_part, &label)
            } else {
                String::new()
            };
            let below = if count <= down_most as f64 {
                row_tick(base + count * per_part, &label)
            } else {
                String::new()
            };
            above + &below
        },
    );
    let line = threshold.map_or_else(String::new, |value| {
        marker_line(axis.at(value), &format!("threshold {}", score(Some(value as f32))))
    });
    svg(
        &format!("Histogram of scores: {} good parts, {} defects", good.len(), defects.len()),
        &format!(
            "{}{counts}{}{}<line class=\"axis\" x1=\"{LEFT}\" y1=\"{base:.1}\" x2=\"{RIGHT}\" y2=\"{base:.1}\"/>{line}{}{}",
            axis.ticks_html(),
            bars(&up, "good", -1.0),
            bars(&down, "defect", 1.0),
            column_title(if axis.log { "anomaly score (logarithmic)" } else { "anomaly score" }),
            row_title("parts per bar"),
        ),
    )
}

/// How long the parts took, with the median and the 99th percentile (nearest rank).
pub(super) fn latency_histogram(latencies_us: &[u64]) -> String {
    let values = in_milliseconds(latencies_us);
    let Some(axis) = Axis::over(values.iter().copied()) else {
        return empty_chart("Latency: not measured");
    };
    let (p50, p99) = (percentile(latencies_us, 50.0), percentile(latencies_us, 99.0));
    let line = |value: Option<u64>, name: &str| {
        value.map_or_else(String::new, |us| {
            marker_line(axis.at(us as f64 / 1000.0), &format!("{name} {}", milliseconds(Some(us))))
        })
    };
    // Labels of percentiles that lie close together would overprint: the upper one then speaks for both.
    let gap = p50
        .zip(p99)
        .map_or(1.0, |(a, b)| axis.at(b as f64 / 1000.0) - axis.at(a as f64 / 1000.0));
    let lines = if gap > 0.3 {
        line(p50, "p50") + &line(p99, "p99")
    } else {
        line(p99, &format!("p50 {}, p99", milliseconds(p50)))
    };
    svg(
        &format!(
            "Histogram of latency: median {}, 99th percentile {}",
            milliseconds(p50),
            milliseconds(p99)
        ),
        &format!("{}{lines}", time_bars(&axis, &values, "latency")),
    )
}

/// Times on the wire with median, 99th percentile, the longest, and the deadline. The axis reaches up to the deadline unless that would press
/// the times into a corner; then the deadline is only named.
pub(super) fn wire_histogram(times_us: &[u64], deadline_us: u64) -> String {
    let values = in_milliseconds(times_us);
    let deadline = deadline_us as f64 / 1000.0;
    let longest = times_us.iter().copied().max();
    let is_far = longest.is_some_and(|longest| deadline_us > FAR * longest);
    let axis = Axis::over(values.iter().copied().chain((!is_far).then_some(deadline)));
    let Some(axis) = axis.filter(|_| !values.is_empty()) else {
        return empty_chart("Trigger to verdict: not measured");
    };
    let (p50, p99) = (percentile(times_us, 50.0), percentile(times_us, 99.0));
    let near = (!is_far).then_some(deadline_us);
    let marks: Vec<(f64, String)> = [("p50", p50), ("p99", p99), ("max", longest), ("deadline", near)]
        .into_iter()
        .filter_map(|(name, us)| Some((axis.at(us? as f64 / 1000.0), format!("{name} {}", milliseconds(us)))))
        .collect();
    let far = if is_far {
        let label = format!("deadline {} \u{2192}", milliseconds(Some(deadline_us)));
        strong_text(RIGHT - 6.0, TOP + 18.0, "end", &label)
    } else {
        String::new()
    };
    let (lines, labels_height) = marker_lines(&marks);
    tall_svg(
        &format!(
            "Histogram of the time from trigger to verdict: median {}, 99th percentile {}, longest {}, deadline {}",
            milliseconds(p50),
            milliseconds(p99),
            milliseconds(longest),
            milliseconds(Some(deadline_us)),
        ),
        &format!("{}{lines}{far}", time_bars(&axis, &values, "trigger to verdict")),
        labels_height,
    )
}

fn in_milliseconds(times_us: &[u64]) -> Vec<f64> {
    times_us.iter().map(|us| *us as f64 / 1000.0).collect()
}

/// How many of `values`, milliseconds, fall where on the axis: bars, ticks and titles.
fn time_bars(axis: &Axis, values: &[f64], name: &str) -> String {
    let counts = bins(axis, values);
    let highest = counts.iter().copied().max().unwrap_or(1).max(1);
    let per_part = (BOTTOM - TOP) / highest as f64;
    let bars = each(counts.iter().enumerate().filter(|(_, count)| **count > 0), |(bin, count)| {
        let height = *count as f64 * per_part;
        bar(bin, BOTTOM - height, height, "neutral")
    });
    let rows = each(
        tick_values(0.0, highest as f64, 4).into_iter().filter(|count| count.fract() == 0.0),
        |count| row_tick(BOTTOM - count * per_part, &number(Some(count), 0)),
    );
    let scale = if axis.log { "ms (logarithmic)" } else { "ms" };
    format!(
        "{}{rows}{bars}<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>{}{}",
        axis.ticks_html(),
        column_title(&format!("{name}, {scale}")),
        row_title("parts per bar"),
    )
}

/// A share with its interval as a thin bar from 0 to 100%: the interval is the band, the share the mark.
pub(super) fn interval_bar(share: f64, interval: Interval) -> String {
    let (low, high) = (interval.low * 100.0, interval.high * 100.0);
    format!(
        "<svg class=\"interval\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" y=\"4\" width=\"100\" \
         height=\"2\"/><rect class=\"band\" x=\"{low:.1}\" y=\"2\" width=\"{:.1}\" height=\"6\"/><rect class=\"mark\" x=\"{:.1}\" width=\"2\" height=\"10\"/></svg>",
        (high - low).max(0.5),
        (share * 100.0 - 1.0).clamp(0.0, 98.0),
    )
}

/// A score against the threshold, which is the mark in the middle: the bar ends at the score, and at the right for twice the threshold or more.
pub(super) fn score_bar(value: f32, threshold: f32) -> String {
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

/// A horizontal axis that covers some values, linear or logarithmic.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// The axis over finite `values`; `None` if there are none.
    fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
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
    fn aligned_to(self, value: f64) -> Self {
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
    fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks_html(&self) -> String {
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
fn tick_values(low: f64, high: f64, count: u32) -> Vec<f64> {
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
fn bins(axis: &Axis, values: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    for value in values {
        counts[((axis.at(*value) * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// The x coordinate of a share of the plot's width.
fn across(share: f64) -> f64 {
    LEFT + share * (RIGHT - LEFT)
}

fn bar(bin: usize, top: f64, height: f64, class: &str) -> String {
    let width = (RIGHT - LEFT) / BINS as f64;
    format!(
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
        LEFT + bin as f64 * width + 0.5,
        width - 1.0
    )
}

/// A vertical line at a share of the width, labelled above the plot.
fn marker_line(share: f64, label: &str) -> String {
    let x = across(share);
    let (label_x, anchor) = if share < 0.25 {
        (x - 2.0, "start")
    } else if share > 0.75 {
        (x + 2.0, "end")
    } else {
        (x, "middle")
    };
    limit_line(x, TOP - 8.0) + &strong_text(label_x, TOP - 13.0, anchor, label)
}

/// Vertical lines at shares of the width with labels above the plot, in as many rows as it takes for none to overprint another. Returns the
/// height of the rows above the first, too.
fn marker_lines(marks: &[(f64, String)]) -> (String, f64) {
    let label_width = |label: &str| label.chars().count() as f64 * LABEL_CHARACTER;
    let mut marks: Vec<&(f64, String)> = marks.iter().collect();
    marks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (fitting, mut cramped): (Vec<_>, Vec<_>) = marks
        .into_iter()
        .partition(|(share, label)| across(*share) + label_width(label) < WIDTH);
    // Labels run to the right where there is room, else to the left. Placed in this order, the lines under a label end below it.
    cramped.reverse();
    let mut rows: Vec<Vec<(f64, f64)>> = Vec::new();
    let (mut lines, mut labels) = (String::new(), String::new());
    for ((share, label), leftwards) in cramped
        .iter()
        .map(|mark| (*mark, true))
        .chain(fitting.iter().map(|mark| (*mark, false)))
    {
        let (x, width) = (across(*share), label_width(label));
        let (label_x, anchor, start) = if leftwards {
            (x + 2.0, "end", x - width)
        } else {
            (x - 2.0, "start", x)
        };
        let is_free = |row: &Vec<(f64, f64)>| row.iter().all(|(from, to)| start + width < *from || start > *to);
        let row = rows.iter().position(is_free).unwrap_or(rows.len());
        rows.resize(rows.len().max(row + 1), Vec::new());
        rows[row].push((start, start + width));
        let baseline = TOP - 13.0 - row as f64 * LABEL_ROW;
        lines.push_str(&limit_line(x, baseline + 5.0));
        labels.push_str(&strong_text(label_x, baseline, anchor, label));
    }
    (lines + &labels, rows.len().saturating_sub(1) as f64 * LABEL_ROW)
}

/// A vertical line from `top` to the foot of the plot.
fn limit_line(x: f64, top: f64) -> String {
    format!("<line class=\"limit\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>")
}

fn strong_text(x: f64, baseline: f64, anchor: &str, label: &str) -> String {
    format!(
        "<text class=\"strong\" x=\"{x:.1}\" y=\"{baseline:.1}\" text-anchor=\"{anchor}\">{}</text>",
        text(label)
    )
}

fn column_tick(x: f64, label: &str) -> String {
    let y = BOTTOM + 17.0;
    format!(
        "<line class=\"faint\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/><text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"
    )
}

fn row_tick(y: f64, label: &str) -> String {
    let (x, baseline) = (LEFT - 6.0, y + 4.0);
    format!(
        "<line class=\"faint\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/><text x=\"{x}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>"
    )
}

fn column_title(title: &str) -> String {
    format!(
        "<text class=\"title\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{title}</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 38.0
    )
}

fn row_title(title: &str) -> String {
    let y = f64::midpoint(TOP, BOTTOM);
    format!("<text class=\"title\" transform=\"translate(14 {y}) rotate(-90)\" text-anchor=\"middle\">{title}</text>")
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

fn svg(description: &str, content: &str) -> String {
    tall_svg(description, content, 0.0)
}

/// A chart with `above` more room on top.
fn tall_svg(description: &str, content: &str, above: f64) -> String {
    format!(
        "<svg class=\"chart\" viewBox=\"0 {} {WIDTH} {}\" role=\"img\" aria-label=\"{}\">{content}</svg>",
        -above,
        HEIGHT + above,
        text(description)
    )
}

fn empty_chart(words: &str) -> String {
    let (x, y) = (WIDTH / 2.0, HEIGHT / 2.0);
    svg(
        words,
        &format!(
            "<text class=\"title\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            text(words)
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;

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
    fn charts_without_data_say_so() {
        assert!(roc(&[], None, None).contains("needs good and defective parts"));
        assert!(score_histogram(&[f32::NAN], &[], 1.0).contains("no part has one"));
        assert!(latency_histogram(&[]).contains("not measured"));
        assert!(wire_histogram(&[], 200_000).contains("not measured"));
    }

    #[test]
    fn the_deadline_is_marked_before_the_times_and_after_them_and_named_far_beyond_them() {
        for (deadline_us, arrow) in [(1_000, ""), (20_000, ""), (260_000, ""), (260_001, " \u{2192}")] {
            let chart = wire_histogram(&[18_000, 19_000, 21_000, 26_000], deadline_us);
            let label = format!("deadline {}{arrow}</text>", milliseconds(Some(deadline_us)));
            assert!(chart.contains(&label), "{chart}");
            assert!(
                chart.contains("p50 19.0\u{a0}ms</text>") && chart.contains("max 26.0\u{a0}ms</text>"),
                "{chart}"
            );
        }
    }

    #[test]
    fn labels_that_would_overprint_get_rows_of_their_own() {
        let marks = |shares: &[f64]| shares.iter().map(|share| (*share, "p99 12.3 ms".to_owned())).collect::<Vec<_>>();
        assert_eq!(marker_lines(&marks(&[0.1, 0.5, 1.0])).1, 0.0);
        assert_eq!(marker_lines(&marks(&[0.1, 0.12, 0.14, 1.0])).1, 2.0 * LABEL_ROW);
        assert_eq!(marker_lines(&marks(&[0.99, 1.0])).1, LABEL_ROW);
        assert_eq!(marker_lines(&[]).1, 0.0);
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

    proptest! {
        #[test]
        fn every_value_gets_a_place_and_no_coordinate_is_nonsense(
            good in prop::collection::vec(any::<f32>(), 0..30),
            defects in prop::collection::vec(any::<f32>(), 0..30),
            threshold in any::<f32>(),
            latencies in prop::collection::vec(0_u64..10_000_000, 0..30),
            deadline in 0_u64..10_000_000,
        ) {
            for chart in [score_histogram(&good, &defects, threshold), latency_histogram(&latencies), wire_histogram(&latencies, deadline)] {
                prop_assert!(!chart.contains("NaN") && !chart.contains("\"inf") && !chart.contains("\"-inf"), "{}", chart);
            }
            let values: Vec<f64> = good.iter().copied().map(f64::from).filter(|value| value.is_finite()).collect();
            if let Some(axis) = Axis::over(values.iter().copied()) {
                prop_assert_eq!(bins(&axis, &values).iter().sum::<usize>(), values.len());
            }
        }
    }
}
