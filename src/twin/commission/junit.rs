//! The outcome as JUnit XML, as build servers read it: a suite for each sequence, a case for each step. Pure.
//!
//! There is no standard of it; this keeps to what the schema of Jenkins' JUnit plugin (junit-10.xsd) and Apache Ant's report task have in common.

use std::fmt::Write as _;

use super::outcome::{Commissioning, Ending, SequenceOutcome, StepOutcome};
use crate::report::escaped;

/// The XML of an outcome.
pub fn junit(outcome: &Commissioning) -> String {
    let count = |ending| outcome.sequences.iter().map(|sequence| cases_that(sequence, ending)).sum::<usize>();
    let cases: usize = outcome.sequences.iter().map(cases).sum();
    let seconds: f64 = outcome.sequences.iter().map(SequenceOutcome::seconds).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuites name=\"takt commissioning of {}\" tests=\"{cases}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{seconds:.3}\">",
        escaped(&outcome.station),
        count(Ending::Failed),
        count(Ending::Skipped),
    );
    for sequence in &outcome.sequences {
        suite(&mut xml, outcome, sequence);
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// A sequence that was not begun is one case.
fn cases(sequence: &SequenceOutcome) -> usize {
    sequence.steps.len().max(1)
}

fn cases_that(sequence: &SequenceOutcome, ending: Ending) -> usize {
    if sequence.steps.is_empty() {
        return usize::from(sequence.ending == ending);
    }
    sequence.steps.iter().filter(|step| step.ending == ending).count()
}

fn suite(xml: &mut String, outcome: &Commissioning, sequence: &SequenceOutcome) {
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\" timestamp=\"{}\">",
        escaped(sequence.name),
        cases(sequence),
        cases_that(sequence, Ending::Failed),
        cases_that(sequence, Ending::Skipped),
        sequence.seconds(),
        escaped(&outcome.began),
    );
    if sequence.steps.is_empty() {
        let _ = writeln!(
            xml,
            "    <testcase classname=\"takt.commissioning.{name}\" name=\"{}\" time=\"0.000\"><skipped message=\"{}\"/></testcase>",
            escaped(sequence.title),
            escaped(&sequence.reason),
            name = escaped(sequence.name),
        );
    }
    for step in &sequence.steps {
        case(xml, sequence, step);
    }
    xml.push_str("  </testsuite>\n");
}

fn case(xml: &mut String, sequence: &SequenceOutcome, step: &StepOutcome) {
    let limit = step
        .limit_ms
        .map(|limit| format!(" [{} {limit} ms]", step.timer))
        .unwrap_or_default();
    let _ = write!(
        xml,
        "    <testcase classname=\"takt.commissioning.{}\" name=\"{:02} {}: {}{limit}\" time=\"{:.3}\"",
        escaped(sequence.name),
        step.number,
        escaped(&step.title),
        escaped(&step.expectation),
        step.took_ms / 1e3,
    );
    let _ = match step.ending {
        Ending::Passed => writeln!(xml, "/>"),
        Ending::Skipped => writeln!(xml, "><skipped message=\"a step before it failed\"/></testcase>"),
        Ending::Failed => writeln!(
            xml,
            "><failure type=\"{}\" message=\"{}\">{}: {}; after {:.2} ms</failure></testcase>",
            escaped(if step.signal.is_empty() { "step" } else { &step.signal }),
            escaped(&step.seen),
            escaped(&step.title),
            escaped(&step.seen),
            step.took_ms,
        ),
    };
}
