//! How many parts have which score, and which took how long.

use super::super::html::{each, milliseconds, number, score};
use super::axis::{Axis, BINS, bins, tick_values};
use super::{BOTTOM, LEFT, RIGHT, TOP, WIDTH, across, column_title, empty_chart, row_tick, row_title, strong_text, svg, tall_svg};
use crate::evaluate::metrics::percentile;

/// Width of a character of a label, rather too wide, and the height of a row of labels.
const LABEL_CHARACTER: f64 = 7.2;
const LABEL_ROW: f64 = 16.0;

/// A deadline is off the axis when it is more than this many times the longest time.
const FAR: u64 = 10;

/// The scores of good parts (bars up) and defects (bars down) on one axis, with the threshold between accepted and rejected.
pub(in crate::report) fn score_histogram(good: &[f32], defects: &[f32], threshold: f32) -> String {
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
            column_title(if axis.log { "score (logarithmic)" } else { "score" }),
            row_title("parts per bar"),
        ),
    )
}

/// How long the parts took, with the median and the 99th percentile (nearest rank).
pub(in crate::report) fn latency_histogram(latencies_us: &[u64]) -> String {
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
pub(in crate::report) fn wire_histogram(times_us: &[u64], deadline_us: u64) -> String {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn charts_without_data_say_so() {
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
