//! The outcome as one HTML page that loads nothing and runs no script: for the screen at the machine, and on paper for its file. Pure.

use super::outcome::{Commissioning, Ending, Fact, SequenceOutcome, StepOutcome};
use crate::report::{STYLE, escaped};

/// What this page needs besides the style that all reports share. Sequences fold by a checkbox, so that paper shows every step.
const OWN_STYLE: &str = include_str!("page.css");

/// The page of an outcome. Sequences that failed are unfolded.
pub fn page(outcome: &Commissioning) -> String {
    let title = format!("Commissioning of {}", outcome.station);
    let sequences: String = outcome.sequences.iter().map(sequence).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}: {word}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><p class=\"eyebrow\">takt commissioning report</p><h1>{title}: <span class=\"{class}\">{word}</span></h1>\
         <p class=\"subtitle\">{} ({}), begun {}</p></header>\n\
         {}{}{}<section>\n<h2>Sequences</h2>\n\
         <p class=\"lead\">Touch a sequence to see its steps; on paper all of them are printed. What is <em>noted</em> was read by a step before.</p>\n{sequences}</section>\n{}{SIGNATURES}</main>\n\
         <footer>Written by takt {}. This page is complete in itself: it loads nothing and runs no script. takt is not a safety component: \
         no signal of it may be used for a safety function (ISO 13849-1, IEC 62061).</footer>\n</body>\n</html>\n",
        escaped(&outcome.address),
        escaped(outcome.wire),
        escaped(&outcome.began),
        banner(outcome),
        tiles(outcome),
        failures(outcome),
        facts(&outcome.facts),
        env!("CARGO_PKG_VERSION"),
        title = escaped(&title),
        word = if outcome.is_passed() { "passed" } else { "not passed" },
        class = if outcome.is_passed() { "good" } else { "bad" },
    )
}

/// Who answers for it, by hand.
const SIGNATURES: &str = "<section class=\"signatures\"><p>Commissioned by</p><p>Date</p><p>Signature</p></section>\n";

fn banner(outcome: &Commissioning) -> String {
    let mut said = Vec::new();
    if outcome.stopped {
        said.push("<strong>The run was stopped before its end.</strong> What is missing here was not run.".to_owned());
    }
    if !outcome.verdicts_judged {
        said.push(
            "<strong>The handshake was judged, not the verdicts.</strong> The station's cameras saw whatever was in front of them."
                .to_owned(),
        );
    }
    said.iter()
        .fold(String::new(), |text, said| text + "<p class=\"banner\">" + said + "</p>\n")
}

fn tiles(outcome: &Commissioning) -> String {
    let tile = |name: &str, value: String, note: String, is_bad: bool| {
        let class = if is_bad { "tile attention" } else { "tile" };
        format!("<div class=\"{class}\"><h2>{name}</h2><div class=\"value\">{value}</div><span class=\"quiet\">{note}</span></div>")
    };
    let (passed, failed, skipped) = (
        outcome.count(Ending::Passed),
        outcome.count(Ending::Failed),
        outcome.count(Ending::Skipped),
    );
    let steps = outcome.sequences.iter().flat_map(|sequence| &sequence.steps);
    let steps = steps.filter(|step| step.ending == Ending::Passed).count();
    format!(
        "<section class=\"tiles\">{}{}{}{}</section>\n",
        tile(
            "Passed",
            passed.to_string(),
            format!("of {} sequences; {steps} steps", outcome.sequences.len()),
            passed == 0
        ),
        tile(
            "Failed",
            failed.to_string(),
            if failed == 0 { "sequences" } else { "each at the step named below" }.into(),
            failed > 0
        ),
        tile(
            "Skipped",
            skipped.to_string(),
            "not possible here; each with its reason".into(),
            false
        ),
        tile(
            "Accept watchdog",
            outcome.images.to_string(),
            format!("images looked at, {} of them passing a part", outcome.accepting_images),
            false
        ),
    )
}

/// What failed, all of it at one glance: what is to be mended.
fn failures(outcome: &Commissioning) -> String {
    let row = |sequence: &SequenceOutcome| {
        let step = sequence.failure()?;
        Some(format!(
            "<tr><th><a href=\"#{}\">{}</a></th><td>{}. {}</td><td class=\"seen\">{}</td></tr>\n",
            escaped(sequence.name),
            escaped(sequence.title),
            step.number,
            escaped(&step.title),
            escaped(&step.seen)
        ))
    };
    let rows: String = outcome.sequences.iter().filter_map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<section>\n<h2>What failed</h2>\n<div class=\"scroll\"><table><thead><tr><th>Sequence</th><th>Step</th><th>What was seen</th></tr></thead>\
         <tbody>{rows}</tbody></table></div></section>\n"
    )
}

/// What the station was held to.
fn facts(facts: &[Fact]) -> String {
    let rows = facts
        .iter()
        .map(|fact| format!("<dt>{}</dt><dd>{}</dd>", escaped(&fact.name), escaped(&fact.value)));
    format!(
        "<section>\n<h2>What the station was held to</h2>\n<dl class=\"facts\">{}</dl></section>\n",
        rows.collect::<String>()
    )
}

fn class(ending: Ending) -> &'static str {
    match ending {
        Ending::Passed => "passed",
        Ending::Failed => "failed",
        Ending::Skipped => "skipped",
    }
}

fn sequence(sequence: &SequenceOutcome) -> String {
    let open = if sequence.ending == Ending::Failed { " checked" } else { "" };
    let note = if sequence.ending == Ending::Skipped {
        escaped(&sequence.reason)
    } else {
        format!("{} steps, {:.1} s", sequence.steps.len(), sequence.seconds())
    };
    let body = if sequence.steps.is_empty() {
        String::new()
    } else {
        steps(sequence)
    };
    format!(
        "<div class=\"sequence {}\" id=\"{name}\"><input type=\"checkbox\" id=\"fold-{name}\"{open}><label for=\"fold-{name}\">\
         <span class=\"ending\">{}</span><span>{} <span class=\"file\">{name}</span></span><span class=\"quiet\">{note}</span></label>\
         <div class=\"body\"><p class=\"lead\">{}</p>{body}</div></div>\n",
        class(sequence.ending),
        sequence.ending.text(),
        escaped(sequence.title),
        escaped(sequence.proves),
        name = escaped(sequence.name),
    )
}

fn steps(sequence: &SequenceOutcome) -> String {
    let rows: String = sequence.steps.iter().map(row).collect();
    format!(
        "<table><thead><tr><th>#</th><th>Step</th><th>Signals</th><th>Took</th><th>At most</th><th>Outcome</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

fn row(step: &StepOutcome) -> String {
    let seen = if step.seen.is_empty() {
        String::new()
    } else {
        format!("<div class=\"seen\">{}</div>", escaped(&step.seen))
    };
    let limit = step.limit_ms.map(|limit| format!("{} {limit} ms", step.timer)).unwrap_or_default();
    let took = if step.ending == Ending::Skipped {
        String::new()
    } else {
        format!("{:.1} ms", step.took_ms)
    };
    format!(
        "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}{seen}</td><td class=\"time\">{took}</td><td class=\"time\">{limit}</td><td class=\"ending\">{}</td></tr>\n",
        class(step.ending),
        step.number,
        escaped(&step.title),
        escaped(&step.expectation),
        step.ending.text(),
    )
}
