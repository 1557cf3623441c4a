//! The charts of a report as inline SVG. Colours come from classes of the page's style sheet, so they follow its light and dark schemes; no
//! chart tells its classes apart by colour alone.
//!
//! | file | what it does |
//! |---|---|
//! | `charts.rs` | what charts are drawn of |
//! | `axis.rs` | values find their place on an axis |
//! | `curves.rs` | ROC, precision over recall |
//! | `histograms.rs` | scores, times |
//! | `bars.rs` | shares and scores as thin bars |

mod axis;
mod bars;
mod curves;
mod histograms;

pub(in crate::report) use self::bars::{interval_bar, score_bar};
pub(in crate::report) use self::curves::{object_precision, precision, roc};
pub(in crate::report) use self::histograms::{latency_histogram, score_histogram, wire_histogram};
use super::html::text;

/// The plot area of every chart, in units of its view box (`0 0 WIDTH HEIGHT`): labels stand around it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 408.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 250.0;

/// The x coordinate of a share of the plot's width.
fn across(share: f64) -> f64 {
    LEFT + share * (RIGHT - LEFT)
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
