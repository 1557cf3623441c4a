//! The outcome as one HTML page that loads nothing; pure.

use super::outcome::{Commissioning, Ending, SequenceOutcome, StepOutcome};
use crate::report::{STYLE, escaped};

/// What this page needs besides the style that all reports share.
const OWN_STYLE: &str = "\
td.ending { white-space: nowrap; font-weight: 600; }
tr.failed td { background: var(--attention-soft); }
tr.failed td.ending, .sequence.failed > summary .ending { color: var(--defect-ink); }
tr.skipped td, .sequence.skipped > summary { color: var(--quiet); }
tr.passed td.ending, .sequence.passed > summary .ending { color: var(--good); }
td.time { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.sequence { background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin: 0 0 10px; }
.sequence > summary { padding: 10px 16px; cursor: pointer; display: grid; grid-template-columns: 90px 1fr auto; gap: 12px; }
.sequence > summary .ending { font-weight: 600; }
.sequence .body { padding: 0 16px 14px; overflow-x: auto; }
.sequence table { width: 100%; border-collapse: collapse; }
.sequence th, .sequence td { text-align: left; vertical-align: top; padding: 5px 8px; border-top: 1px solid var(--line); font-size: 14px; }
.seen { color: var(--defect-ink); overflow-wrap: anywhere; white-space: pre-line; }
";

/// The page of an outcome. Sequences that failed are unfolded.
pub fn page(outcome: &Commissioning) -> String {
    let title = format!("Commissioning of {}", outcome.station);
    let banner = banner(outcome);
    let sequences: String = outcome.sequences.iter().map(sequence).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><p class=\"eyebrow\">takt commissioning report</p><h1>{title}</h1><p class=\"subtitle\">{} over Modbus TCP, begun {}</p></header>\n\
         {banner}{}<section>\n<h2>Sequences</h2>\n{sequences}</section>\n</main>\n\
         <footer>Written by takt {}. This page is complete in itself: it loads nothing and runs no script. takt is not a safety component: \
         no signal of it may be used for a safety function (ISO 13849-1, IEC 62061).</footer>\n</body>\n</html>\n",
        escaped(&outcome.address),
        escaped(&outcome.began),
        tiles(outcome),
        env!("CARGO_PKG_VERSION"),
        title = escaped(&title),
    )
}

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
    let failed = outcome.count(Ending::Failed);
    let steps: usize = outcome.sequences.iter().map(|sequence| sequence.steps.len()).sum();
    format!(
        "<section class=\"tiles\">{}{}{}{}</section>\n",
        tile(
            "Passed",
            outcome.count(Ending::Passed).to_string(),
            format!("of {} sequences, {steps} steps", outcome.sequences.len()),
            false
        ),
        tile("Failed", failed.to_string(), "unfolded below".into(), failed > 0),
        tile(
            "Skipped",
            outcome.count(Ending::Skipped).to_string(),
            "not possible here; the reason is given".into(),
            false
        ),
        tile(
            "Accept watchdog",
            outcome.images.to_string(),
            format!("images looked at, {} with Accept", outcome.accepting_images),
            false
        ),
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
    let open = if sequence.ending == Ending::Failed { " open" } else { "" };
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
        "<details class=\"sequence {}\" id=\"{}\"{open}><summary><span class=\"ending\">{}</span><span>{}</span><span class=\"quiet\">{note}</span></summary>\
         <div class=\"body\"><p class=\"lead\">{}</p>{body}</div></details>\n",
        class(sequence.ending),
        escaped(sequence.name),
        sequence.ending.text(),
        escaped(sequence.title),
        escaped(sequence.proves),
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
