//! The tiles with the answer, and the tables.

use std::collections::BTreeMap;

use super::charts::interval_bar;
use super::gallery::{truth, verdict};
use super::html::{each, interval, milliseconds, number, percent, score, text, with_unit};
use super::outcome::{Outcome, Share, Summary, finite_score};
use super::{EvaluationReport, Fact, Metric, PartRow, Stage};
use crate::evaluate::metrics::{auroc, percentile};
use crate::part::Verdict;

/// The answer: escapes, false rejects, separation, latency.
pub(super) fn tiles(summary: &Summary, headline: Option<&Metric>) -> String {
    let tile = |name: &str, value: &str, class: &str, words: &str| {
        format!("<div class=\"tile {class}\"><h2>{name}</h2><p class=\"value\">{value}</p><p>{words}</p></div>")
    };
    let rate = |name: &str, share: Share, of_what: &str| {
        let words = match share.value() {
            None => format!("no {of_what} evaluated"),
            Some(value) => format!(
                "{} of {} {of_what}{}<span class=\"quiet\">with 95% confidence {}</span>",
                share.count,
                share.of,
                interval_bar(value, share.interval()),
                interval(share.interval())
            ),
        };
        tile(
            name,
            &percent(share.value()),
            if share.count > 0 { "attention" } else { "" },
            &words,
        )
    };
    let latency = |percent: f64| milliseconds(percentile(&summary.latencies_us, percent));
    let undecided = match summary.undecided.count {
        0 => String::new(),
        count => format!(
            "<p class=\"lead\">{count} of {} parts could not be judged. They count as rejected: a good one as a false reject, a defective one not as an \
             escape.</p>",
            summary.undecided.of
        ),
    };
    let separation = format!(
        "over {} good and {} defective parts with a score",
        summary.good_scores.len(),
        summary.defect_scores.len()
    );
    let timing = match summary.latencies_us.iter().max() {
        None => "no part was timed".into(),
        Some(slowest) => {
            format!(
                "median; p99 <strong>{}</strong>, slowest {}, over {} parts",
                latency(99.0),
                milliseconds(Some(*slowest)),
                summary.latencies_us.len()
            )
        }
    };
    let headline = headline.map_or_else(String::new, |metric| {
        let value = with_unit(number(metric.value, metric.decimals), &metric.unit);
        tile(&text(&metric.name), &value, "", &text(&metric.note))
    });
    format!(
        "<section aria-label=\"Summary\"><div class=\"tiles{}\">{}{}{}{headline}{}</div>{undecided}</section>\n",
        if headline.is_empty() { "" } else { " five" },
        rate("Escapes", summary.escapes, "defective parts"),
        rate("False rejects", summary.false_rejects, "good parts"),
        tile("Image AUROC", &number(summary.auroc, 4), "", &separation),
        tile("Latency", &latency(50.0), "", &timing),
    )
}

/// Truth against verdict, counted.
pub(super) fn confusion(summary: &Summary) -> String {
    let row = |name: &str, counts: [usize; 3], rejected: Option<Share>, accepted: Option<Share>, wrong: usize| {
        let cells = each(counts.into_iter().enumerate(), |(column, count)| {
            let class = if count > 0 && (column == wrong || column == 2) {
                "number attention"
            } else {
                "number"
            };
            format!("<td class=\"{class}\">{count}</td>")
        });
        let rate = rejected
            .map(|share| ("falsely rejected", share))
            .or(accepted.map(|share| ("escaped", share)));
        let words = rate.map_or_else(String::new, |(word, share)| match share.value() {
            None => String::new(),
            value => format!(
                "{} {word} <span class=\"quiet\">({})</span>",
                percent(value),
                interval(share.interval())
            ),
        });
        format!("<tr><th scope=\"row\">{name}</th>{cells}<td class=\"wide\">{words}</td></tr>")
    };
    let [good, defect, unknown] = summary.counts;
    let unknown_row = if unknown == [0; 3] {
        String::new()
    } else {
        row("unknown", unknown, None, None, 3)
    };
    format!(
        "<section><h2>Truth and verdict</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">truth</th>{}<th scope=\"col\" class=\"wide\">rate, with its 95% \
         Clopper-Pearson interval</th></tr></thead><tbody>{}{}{unknown_row}</tbody></table></div></section>\n",
        each([Verdict::Ok, Verdict::NotOk, Verdict::NotDecidable], |judged| format!(
            "<th scope=\"col\" class=\"number\">{}</th>",
            verdict(judged)
        )),
        row("good", good, Some(summary.false_rejects), None, 1),
        row("defective", defect, None, Some(summary.escapes), 0),
    )
}

/// How each kind of parts fared; a part with several kinds of defect is of each of them.
pub(super) fn kinds(report: &EvaluationReport) -> String {
    let mut kinds = BTreeMap::<(Option<bool>, &str), Vec<&PartRow>>::new();
    for part in &report.parts {
        for kind in &part.kinds {
            kinds.entry((part.truth_defect, kind)).or_default().push(part);
        }
    }
    if kinds.is_empty() {
        return String::new();
    }
    let good: Vec<f32> = report
        .parts
        .iter()
        .filter(|part| part.truth_defect == Some(false))
        .filter_map(finite_score)
        .collect();
    let rows = each(&kinds, |((truth_defect, kind), parts)| kind_row(*truth_defect, kind, parts, &good));
    format!(
        "<section><h2>Kind by kind</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">kind</th><th scope=\"col\" class=\"number\">parts</th>\
         <th scope=\"col\" class=\"number\">judged right</th><th scope=\"col\" class=\"wide\">share, with its 95% interval</th>\
         <th scope=\"col\" class=\"number\">median score</th><th scope=\"col\" class=\"number\">AUROC against good</th></tr></thead>\
         <tbody>{rows}</tbody></table></div></section>\n"
    )
}

fn kind_row(truth_defect: Option<bool>, kind: &str, parts: &[&PartRow], good: &[f32]) -> String {
    let right = truth_defect.map(|_| {
        Share::among(parts.iter().copied(), |part| {
            matches!(Outcome::of(part), Outcome::Found | Outcome::Accepted)
        })
    });
    let mut scores: Vec<f32> = parts.iter().filter_map(|part| finite_score(part)).collect();
    scores.sort_unstable_by(f32::total_cmp);
    let against_good = match truth_defect {
        Some(true) => {
            let defect: Vec<bool> = (0..good.len() + scores.len()).map(|index| index >= good.len()).collect();
            number(auroc(&[good, scores.as_slice()].concat(), &defect), 4)
        }
        _ => "\u{2013}".into(),
    };
    let (count, share) = match right {
        None => ("\u{2013}".into(), "truth unknown".into()),
        Some(right) => {
            let bar = interval_bar(right.value().unwrap_or(0.0), right.interval());
            (
                right.count.to_string(),
                format!(
                    "{bar}{} <span class=\"quiet\">({})</span>",
                    percent(right.value()),
                    interval(right.interval())
                ),
            )
        }
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{count}</td><td class=\"wide\">{share}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{against_good}</td></tr>",
        text(kind),
        parts.len(),
        score(scores.get(scores.len().saturating_sub(1) / 2).copied()),
    )
}

/// Figures beyond the tiles.
pub(super) fn metrics(metrics: &[Metric]) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let rows = each(metrics, |metric| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td>{}</td></tr>",
            text(&metric.name),
            with_unit(number(metric.value, metric.decimals), &metric.unit),
            text(&metric.note),
        )
    });
    format!("<section><h2>More figures</h2><div class=\"scroll\"><table><tbody>{rows}</tbody></table></div></section>\n")
}

/// Where the time of teaching went.
pub(super) fn stages(stages: &[Stage]) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let seconds = |stage: &Stage| Some(stage.seconds).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let total: f64 = stages.iter().filter_map(seconds).sum();
    let rows = each(stages, |stage| {
        let share = seconds(stage)
            .filter(|_| total > 0.0)
            .map_or(0.0, |seconds| seconds / total * 100.0);
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"wide\"><svg class=\"meter\" viewBox=\"0 0 100 10\" \
             preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"neutral\" y=\"1\" width=\"{share:.1}\" height=\"8\"/></svg></td></tr>",
            text(&stage.name),
            with_unit(number(seconds(stage), 1), "s"),
        )
    });
    format!(
        "<section><h2>Teaching took {}</h2><div class=\"scroll\"><table><tbody>{rows}</tbody></table></div></section>\n",
        with_unit(number(Some(total), 1), "s")
    )
}

/// The model and the run, side by side.
pub(super) fn facts(report: &EvaluationReport) -> String {
    let list = |heading: &str, facts: &[Fact]| {
        if facts.is_empty() {
            return String::new();
        }
        let rows = each(facts, |fact| format!("<dt>{}</dt><dd>{}</dd>", text(&fact.name), text(&fact.value)));
        format!("<section><h2>{heading}</h2><dl class=\"facts\">{rows}</dl></section>\n")
    };
    format!(
        "<div class=\"columns\">{}{}</div>",
        list("Model", &report.model),
        list("Run", &report.run)
    )
}

/// Every part.
pub(super) fn parts(report: &EvaluationReport) -> String {
    if report.parts.is_empty() {
        return "<section><h2>Every part</h2><p class=\"lead\">No part was evaluated.</p></section>\n".into();
    }
    let rows = each(&report.parts, |part| {
        let outcome = Outcome::of(part);
        format!(
            "<tr{}><td class=\"file\">{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>\n",
            if outcome.is_mistake() { " class=\"attention\"" } else { "" },
            text(&part.image),
            truth(part),
            verdict(part.verdict),
            outcome.name(),
            score(part.score),
            milliseconds(part.latency_us),
        )
    });
    format!(
        "<section><h2>Every part</h2><p class=\"lead\">Threshold {}; scores above it are rejected.</p><div class=\"scroll\"><table class=\"parts\"><thead><tr>\
         <th scope=\"col\">image</th><th scope=\"col\">truth</th><th scope=\"col\">verdict</th><th scope=\"col\">outcome</th>\
         <th scope=\"col\" class=\"number\">score</th><th scope=\"col\" class=\"number\">latency</th></tr></thead><tbody>\n{rows}</tbody></table></div></section>\n",
        score(Some(report.threshold)),
    )
}
