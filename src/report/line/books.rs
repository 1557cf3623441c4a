//! The books of a line: each group of counts adds up to the triggers, or the page says that it does not.

use super::super::html::{NOT_MEASURED, each, text};
use super::{LineRun, count, shape};
use crate::part::{Reason, Verdict};

/// One line of the books.
struct Entry {
    name: String,
    /// `None`: not measured.
    count: Option<usize>,
    /// HTML.
    means: String,
    attention: bool,
}

impl Entry {
    fn new(name: &str, count: Option<usize>, means: &str) -> Self {
        Self {
            name: name.into(),
            count,
            means: means.into(),
            attention: false,
        }
    }

    /// Something that deserves a look unless there is none of it.
    fn unwanted(name: &str, count: Option<usize>, means: &str) -> Self {
        Self {
            attention: count.is_some_and(|count| count > 0),
            ..Self::new(name, count, means)
        }
    }

    fn row(&self) -> String {
        format!(
            "<tr{}><th scope=\"row\">{}</th><td class=\"number\">{}</td><td>{}</td></tr>",
            if self.attention { " class=\"attention\"" } else { "" },
            text(&self.name),
            self.count.map_or_else(|| NOT_MEASURED.into(), count),
            self.means
        )
    }
}

/// The reconciliation: each group of counts adds up to the triggers, or the page says that it does not.
pub(super) fn books(run: &LineRun) -> String {
    let groups = [
        group("Triggers, outcomes, records", &conservation(run), &agreement(run)),
        summed("Outcomes", &outcomes(run), run.triggers, "triggers"),
        summed("Over the wire", &wire(run), run.triggers, "triggers"),
        gate(run),
        group("What should be zero", &mistakes(run), ""),
    ];
    format!(
        "<div class=\"scroll\"><table class=\"books\"><thead><tr><th scope=\"col\">what</th><th scope=\"col\" class=\"number\">count</th>\
         <th scope=\"col\">what it means</th></tr></thead>{}</table></div>",
        groups.concat()
    )
}

fn group(heading: &str, entries: &[Entry], last: &str) -> String {
    let rows = each(entries, Entry::row);
    format!("<tbody><tr class=\"group\"><th colspan=\"3\" scope=\"rowgroup\">{heading}</th></tr>{rows}{last}</tbody>")
}

/// A group whose counts are to make `total`.
fn summed(heading: &str, entries: &[Entry], total: usize, of_what: &str) -> String {
    let sum: usize = entries.iter().filter_map(|entry| entry.count).sum();
    let words = if sum == total {
        format!("adds up to the {}\u{a0}{of_what}", count(total))
    } else {
        format!("does not add up: there were {}\u{a0}{of_what}", count(total))
    };
    group(heading, entries, &conclusion("together", &count(sum), sum == total, &words))
}

/// The last line of a group: whether it fits.
fn conclusion(name: &str, number: &str, fits: bool, words: &str) -> String {
    let (class, mark) = if fits {
        ("sum", shape(Verdict::Ok))
    } else {
        ("sum attention", shape(Verdict::NotOk))
    };
    format!("<tr class=\"{class}\"><th scope=\"row\">{name}</th><td class=\"number\">{number}</td><td>{mark}{words}</td></tr>")
}

/// Triggers that ended in an outcome that is known.
fn outcomes_known(run: &LineRun) -> usize {
    run.ok + run.not_ok + undecided(run)
}

fn undecided(run: &LineRun) -> usize {
    run.not_decidable.iter().map(|(_, count)| count).sum()
}

fn conservation(run: &LineRun) -> Vec<Entry> {
    let more = run.recorded.zip(run.record_lines).filter(|(recorded, lines)| lines > recorded);
    let more = more.map_or_else(String::new, |(_, lines)| {
        format!(
            "; {} lines in all, with what was added later or told again after a restart",
            count(lines)
        )
    });
    vec![
        Entry::new("triggers", Some(run.triggers), "parts for which the PLC raised Trigger"),
        Entry::new(
            "outcomes",
            Some(outcomes_known(run)),
            "triggers that ended in Ok, NotOk or NotDecidable",
        ),
        Entry::new("records", run.recorded, &format!("triggers that the station has a record of{more}")),
    ]
}

fn agreement(run: &LineRun) -> String {
    let outcomes = outcomes_known(run);
    match run.recorded {
        None => String::new(),
        Some(recorded) if run.triggers == outcomes && outcomes == recorded => {
            conclusion("compared", "", true, "triggers = outcomes = records")
        }
        // A restart may have swallowed an edge: no breach, but nothing to be silent about.
        Some(_) => conclusion(
            "compared",
            "",
            false,
            "they differ; LINE-1 above says whether a restart explains it",
        ),
    }
}

fn outcomes(run: &LineRun) -> Vec<Entry> {
    let mut entries = vec![
        Entry::new("Ok", Some(run.ok), "judged good"),
        Entry::new("NotOk", Some(run.not_ok), "judged defective"),
    ];
    entries.extend(run.not_decidable.iter().map(|(reason, parts)| {
        let name = reason.map_or("reason not told", Reason::name).replace('_', " ");
        let means = reason.map_or("not judged; the result as the PLC reads it does not say why", Reason::text);
        Entry::new(&format!("NotDecidable: {name}"), Some(*parts), &text(means.trim_end_matches('.')))
    }));
    if run.not_decidable.is_empty() {
        entries.push(Entry::new("NotDecidable", Some(0), "not judged, with the reason"));
    }
    if run.unknown > 0 {
        entries.push(Entry::unwanted(
            "unknown",
            Some(run.unknown),
            "no verdict is known: the trigger got lost with the station, the PLC or the link",
        ));
    }
    entries
}

fn wire(run: &LineRun) -> Vec<Entry> {
    vec![
        Entry::new("read by the PLC", Some(run.read), "it polled a result of that very cycle"),
        Entry::new(
            "not read",
            Some(run.triggers.saturating_sub(run.read)),
            "no result was shown or none was read in time; the gate rejects",
        ),
    ]
}

fn gate(run: &LineRun) -> String {
    let mut entries = vec![
        Entry::new("passed", Some(run.passed), "a fresh Ok was read before the part reached the gate"),
        Entry::new("rejected", Some(run.rejected), "everything else: the gate rejects by default"),
    ];
    if run.underway > 0 {
        entries.push(Entry::new("underway", Some(run.underway), "not at the gate when the run ended"));
    }
    if run.untriggered > 0 {
        entries.push(Entry::unwanted(
            "without a trigger",
            Some(run.untriggered),
            "the station was not ready in time; the gate rejects them unseen",
        ));
        return summed("At the gate", &entries, run.triggers + run.untriggered, "parts that came");
    }
    summed("At the gate", &entries, run.triggers, "triggers")
}

fn mistakes(run: &LineRun) -> Vec<Entry> {
    let share = |whole: usize, kind: &str, what: &str| format!("of {}\u{a0}{kind} parts: {what}", count(whole));
    vec![
        Entry::unwanted(
            "escapes",
            Some(run.escapes),
            &share(run.defective, "defective", "judged Ok and passed the gate"),
        ),
        Entry::unwanted("false rejects", Some(run.false_rejects), &share(run.good, "good", "judged NotOk")),
        Entry::unwanted("late", run.late, "no outcome by the deadline: NotDecidable, never Ok"),
        Entry::unwanted(
            "Ok after the deadline",
            Some(run.ok_after_deadline),
            "an Ok that came too late to count",
        ),
        Entry::unwanted("lost", run.lost, "triggers that had to be in a record and are not"),
        Entry::unwanted("wrong part", run.wrong_part, "verdicts from a picture of another part"),
    ]
}
