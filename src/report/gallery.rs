//! The pictures: what went wrong first and worst first, then examples of what went right.

use super::charts::score_bar;
use super::html::{data_uri, each, score, text};
use super::outcome::{Outcome, finite_score};
use super::{EvaluationReport, PartRow};
use crate::part::Verdict;

/// Escapes and false rejects that get a picture, each.
pub const MISTAKES_SHOWN_MAX: usize = 24;

/// Parts not decidable, defects found and good parts accepted that get a picture, each.
pub const EXAMPLES_SHOWN_MAX: usize = 8;

/// One row of pictures under a heading.
pub(super) struct Gallery {
    heading: &'static str,
    order: &'static str,
    /// What to say when there is nothing to show; nothing at all if empty.
    none: &'static str,
    /// How many parts would belong here.
    total: usize,
    /// Those that are shown, as indices into the parts.
    pub(super) shown: Vec<usize>,
}

/// All galleries of `parts` in the order of the page.
pub(super) fn galleries(parts: &[PartRow]) -> [Gallery; 5] {
    let of = |outcome: Outcome| -> Vec<usize> { (0..parts.len()).filter(|index| Outcome::of(&parts[*index]) == outcome).collect() };
    let score_of = |index: &usize| finite_score(&parts[*index]);
    let lowest_first = |mut indices: Vec<usize>| {
        indices.sort_by(|a, b| score_of(a).partial_cmp(&score_of(b)).unwrap_or(std::cmp::Ordering::Equal));
        indices
    };
    let highest_first = |indices: Vec<usize>| lowest_first(indices).into_iter().rev().collect::<Vec<usize>>();
    let gallery = |heading, order, none, indices: Vec<usize>, most: usize| Gallery {
        heading,
        order,
        none,
        total: indices.len(),
        shown: indices.into_iter().take(most).collect(),
    };
    [
        gallery(
            "Escapes",
            "Defective parts that were judged Ok, the lowest score first. In the first panel what is known to be defective is outlined in blue.",
            "No defective part was judged Ok.",
            lowest_first(of(Outcome::Escape)),
            MISTAKES_SHOWN_MAX,
        ),
        gallery(
            "False rejects",
            "Good parts that were judged NotOk, the highest score first. In the second panel what the model found is outlined.",
            "No good part was judged NotOk.",
            highest_first(of(Outcome::FalseReject)),
            MISTAKES_SHOWN_MAX,
        ),
        gallery(
            "Not decidable",
            "Parts that could not be judged; on a line they are rejected.",
            "",
            of(Outcome::Undecided),
            EXAMPLES_SHOWN_MAX,
        ),
        gallery(
            "Defects found",
            "Examples, one of each kind in turn, the closest to the threshold first.",
            "",
            classes_in_turn(parts, &lowest_first(of(Outcome::Found))),
            EXAMPLES_SHOWN_MAX,
        ),
        gallery(
            "Good parts accepted",
            "Examples, the closest to the threshold first.",
            "",
            highest_first(of(Outcome::Accepted)),
            EXAMPLES_SHOWN_MAX,
        ),
    ]
}

/// `indices` reordered so that the first of each class come first, then the second of each, and so on.
fn classes_in_turn(parts: &[PartRow], indices: &[usize]) -> Vec<usize> {
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    let mut ranked: Vec<(usize, &str, usize)> = Vec::with_capacity(indices.len());
    for index in indices {
        let class = parts[*index].kinds.first().map_or("", String::as_str);
        let rank = seen.entry(class).or_default();
        ranked.push((*rank, class, *index));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, class, _)| (*rank, *class));
    ranked.into_iter().map(|(_, _, index)| index).collect()
}

pub(super) fn section(report: &EvaluationReport) -> String {
    if report.parts.is_empty() {
        return String::new();
    }
    each(galleries(&report.parts), |gallery| match (gallery.total, gallery.none) {
        (0, "") => String::new(),
        (0, none) => format!("<section><h2>{}</h2><p class=\"lead\">{none}</p></section>\n", gallery.heading),
        (total, _) => format!(
            "<section><h2>{} ({total})</h2><p class=\"lead\">{}{}</p><div class=\"cards\">{}</div></section>\n",
            gallery.heading,
            gallery.order,
            shown_words(gallery.shown.len(), total),
            each(&gallery.shown, |index| card(&report.parts[*index], report.threshold)),
        ),
    })
}

/// How many of a gallery's parts are missing from it; nothing if none is.
fn shown_words(shown: usize, total: usize) -> String {
    if shown == total {
        String::new()
    } else {
        format!(" {shown} of {total} shown.")
    }
}

fn card(part: &PartRow, threshold: f32) -> String {
    let outcome = Outcome::of(part);
    let image = text(&part.image);
    let picture = part.picture.as_ref().map_or_else(
        || "<div class=\"placeholder\">no picture</div>".to_string(),
        |picture| format!("<img src=\"{}\" alt=\"{image}\" loading=\"lazy\">", data_uri(picture)),
    );
    let meter = finite_score(part).map_or_else(String::new, |value| score_bar(value, threshold));
    let said = part
        .said
        .as_ref()
        .map_or_else(String::new, |said| format!("<dt>said</dt><dd>{}</dd>", text(said)));
    format!(
        "<article class=\"card{}\">{picture}<div class=\"words\"><p class=\"outcome\">{}</p><dl><dt>truth</dt><dd>{}</dd>{said}<dt>verdict</dt><dd>{}</dd>\
         <dt>score</dt><dd>{}</dd><dt>threshold</dt><dd>{}</dd></dl>{meter}<p class=\"file\">{image}</p></div></article>",
        if outcome.is_mistake() { " mistake" } else { "" },
        outcome.name(),
        truth(part),
        verdict(part.verdict),
        score(part.score),
        score(Some(threshold)),
    )
}

/// What the part really is, in words.
pub(super) fn truth(part: &PartRow) -> String {
    match part.truth_defect {
        Some(false) if part.kinds.iter().all(|kind| kind == "good") => "good".into(),
        Some(false) => format!("good: {}", text(&part.kinds.join(", "))),
        Some(true) => format!("defect: {}", text(&part.kinds.join(", "))),
        None => "unknown".into(),
    }
}

/// A verdict as shape, colour and word.
pub(super) fn verdict(verdict: Verdict) -> String {
    let (name, word) = (verdict.name(), word(verdict));
    format!("<span class=\"verdict {name}\"><svg class=\"shape\" aria-hidden=\"true\"><use href=\"#shape-{name}\"/></svg>{word}</span>")
}

/// A verdict as the standards write it.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "Ok",
        Verdict::NotOk => "NotOk",
        Verdict::NotDecidable => "NotDecidable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(class: &str, verdict: Verdict, score: f32) -> PartRow {
        let truth_defect = Some(class != "good");
        PartRow {
            image: String::new(),
            kinds: vec![class.into()],
            truth_defect,
            verdict,
            said: None,
            score: Some(score),
            latency_us: None,
            picture: None,
        }
    }

    #[test]
    fn the_worst_come_first_and_classes_take_turns() {
        let parts = [
            part("scratch", Verdict::Ok, 3.0),
            part("scratch", Verdict::Ok, 1.0),
            part("good", Verdict::NotOk, 11.0),
            part("good", Verdict::NotOk, 19.0),
            part("scratch", Verdict::NotOk, 12.0),
            part("scratch", Verdict::NotOk, 13.0),
            part("dent", Verdict::NotOk, 50.0),
            part("good", Verdict::Ok, 2.0),
        ];
        let shown: Vec<Vec<usize>> = galleries(&parts).into_iter().map(|gallery| gallery.shown).collect();
        assert_eq!(shown, [vec![1, 0], vec![3, 2], vec![], vec![6, 4, 5], vec![7]]);
    }

    #[test]
    fn galleries_are_bounded_and_say_so() {
        let parts = vec![part("good", Verdict::NotOk, 11.0); MISTAKES_SHOWN_MAX + 1];
        let page = section(&EvaluationReport {
            parts,
            threshold: 10.0,
            ..EvaluationReport::default()
        });
        assert_eq!(page.matches("<article").count(), MISTAKES_SHOWN_MAX);
        assert!(page.contains(&format!("{MISTAKES_SHOWN_MAX} of {} shown", MISTAKES_SHOWN_MAX + 1)));
    }
}
