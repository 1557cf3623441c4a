//! What became of parts on a virtual line: promises, the books, time on the wire, and what of it was virtual.
//!
//! Whoever fills in a [`LineRun`] counts; this page adds, and says so where counts that belong together differ.

mod books;

use self::books::books;
use super::Picture;
use super::charts::wire_histogram;
use super::html::{NOT_MEASURED, data_uri, each, milliseconds, number, text};
use crate::evaluate::metrics::percentile;
use crate::part::{Reason, Verdict};

/// A run of parts past a station that was wired to a virtual line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineRun {
    /// The pictures were rendered by a program; else they were recorded.
    pub rendered: bool,
    /// Conservation, identity, deadline, record.
    pub promises: [LinePromise; 4],
    /// Parts that the PLC triggered.
    pub triggers: usize,
    /// Parts that went by without a trigger; the gate rejects them.
    pub untriggered: usize,
    /// Triggers that the station has a record of; `None` if its records are not known.
    pub recorded: Option<usize>,
    /// Lines that the station wrote: more than `recorded` if it wrote something again after a restart, or added to it.
    pub record_lines: Option<usize>,
    /// Triggers that ended in Ok.
    pub ok: usize,
    /// Triggers that ended in NotOk.
    pub not_ok: usize,
    /// Triggers that ended in NotDecidable, by reason; `None` where the reason was not told.
    pub not_decidable: Vec<(Option<Reason>, usize)>,
    /// Triggers that ended in no outcome that is known.
    pub unknown: usize,
    /// Triggers whose verdict the PLC read.
    pub read: usize,
    /// Triggered parts that passed the gate.
    pub passed: usize,
    /// Triggered parts that were rejected.
    pub rejected: usize,
    /// Triggered parts that had not reached the gate when the run ended.
    pub underway: usize,
    /// Good parts among the triggered.
    pub good: usize,
    /// Defective parts among the triggered.
    pub defective: usize,
    /// Defective parts that passed the gate.
    pub escapes: usize,
    /// Good parts that were judged NotOk.
    pub false_rejects: usize,
    /// Outcomes that were not there by their deadline; `None` if not measured.
    pub late: Option<usize>,
    /// Oks shown after their deadline.
    pub ok_after_deadline: usize,
    /// Triggers without a record; `None` if not measured.
    pub lost: Option<usize>,
    /// Verdicts from a picture of another part; `None` if not measured.
    pub wrong_part: Option<usize>,
    /// How often the station was killed on purpose.
    pub station_kills: u32,
    /// How often the historian was killed on purpose.
    pub historian_kills: u32,
    /// How often the network to the historian was cut on purpose.
    pub network_cuts: u32,
    /// How long each time, milliseconds.
    pub network_cut_ms: u64,
    /// Pictures of rejected parts, as the historian keeps them.
    pub evidence: Vec<EvidencePicture>,
    /// How many more it keeps.
    pub evidence_more: usize,
    /// How often the PLC was restarted on purpose.
    pub plc_restarts: u32,
    /// The run ended before all parts had come.
    pub stopped: bool,
    /// From the trigger to the image that shows the outcome at the latest, microseconds.
    pub deadline_us: u64,
    /// From poll to poll of the PLC, microseconds; 0 without wait.
    pub poll_us: u64,
    /// From the last byte of the Trigger write to the reply with the verdict, one per part that has both, microseconds.
    pub trigger_to_verdict_us: Vec<u64>,
    /// The engine's part of it where that is known, microseconds.
    pub engine_us: Vec<u64>,
    /// The rest of it for the same parts, microseconds.
    pub added_us: Vec<u64>,
}

/// The picture of a part at the historian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePicture {
    /// The picture.
    pub picture: Picture,
    /// The file, relative to the page.
    pub file: String,
    /// What it shows.
    pub caption: String,
}

/// Whether a promise was kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinePromise {
    /// `None`: what is needed was not measured; what could be checked was kept.
    pub kept: Option<bool>,
    /// How often it was broken.
    pub broken: usize,
    /// The first thing that broke it.
    pub first: Option<String>,
}

/// Name and wording of each promise, in the order of [`LineRun::promises`].
const PROMISES: [(&str, &str); 4] = [
    ("LINE-1 conservation", "Every trigger ends in exactly one outcome and one record."),
    (
        "LINE-2 identity",
        "Every verdict comes from a picture of that very part, by the number in its pixels.",
    ),
    ("LINE-3 deadline", "Accept is given only for a fresh Ok of that very part, in time."),
    (
        "LINE-5 record",
        "What was shown is what the journal holds, and what the historian has, byte for byte.",
    ),
];

/// One sentence near the top of the page that leads to the section.
pub(super) fn pointer(run: &LineRun) -> String {
    let broken = run.promises.iter().filter(|promise| promise.kept == Some(false)).count();
    let unmeasured = run.promises.iter().filter(|promise| promise.kept.is_none()).count();
    let words = match (broken, unmeasured) {
        (0, 0) => "all four promises were kept".to_owned(),
        (0, _) => "no promise was seen broken, but not all was measured".to_owned(),
        (broken, _) => format!("<strong>{broken} of four promises BROKEN</strong>"),
    };
    format!(
        "<p class=\"pointer\"><a href=\"#line\">On a virtual line</a> with {} triggers, {words}.</p>\n",
        count(run.triggers)
    )
}

/// The section. `rendered`: all pictures on this page were.
pub(super) fn section(run: &LineRun, rendered: bool) -> String {
    format!(
        "<section id=\"line\"><h2>On the line <span class=\"tag\">virtual</span></h2><p class=\"lead\">{}</p>{}{}{}{}{}</section>\n",
        summary(run),
        promises(&run.promises),
        books(run),
        times(run),
        evidence(run),
        label(run.rendered || rendered),
    )
}

fn summary(run: &LineRun) -> String {
    let times = |number: u32| if number == 1 { "once".into() } else { format!("{number} times") };
    let interruption = |number: u32, what: &str| {
        if number == 0 {
            String::new()
        } else {
            format!(" {what} {} on purpose.", times(number))
        }
    };
    format!(
        "{} parts were triggered, {} of them defective.{}{}{}{}{}",
        count(run.triggers),
        count(run.defective),
        interruption(run.station_kills, "The station was killed"),
        interruption(run.plc_restarts, "The PLC was restarted"),
        interruption(run.historian_kills, "The historian was killed"),
        cut(run),
        if run.stopped {
            " The run was stopped before all parts had come."
        } else {
            ""
        },
    )
}

fn cut(run: &LineRun) -> String {
    let seconds = run.network_cut_ms as f64 / 1000.0;
    match run.network_cuts {
        0 => String::new(),
        1 => format!(" The network to the historian was cut for {seconds}\u{a0}s on purpose."),
        cuts => format!(" The network to the historian was cut {cuts} times for {seconds}\u{a0}s on purpose."),
    }
}

/// Pictures of rejected parts, each leading to its file.
fn evidence(run: &LineRun) -> String {
    if run.evidence.is_empty() {
        return String::new();
    }
    let pictures = each(&run.evidence, |shown| {
        let (file, caption) = (text(&shown.file), text(&shown.caption));
        format!(
            "<figure class=\"evidence\"><a href=\"{file}\"><img src=\"{}\" alt=\"{caption}\"></a><figcaption>{caption}</figcaption></figure>",
            data_uri(&shown.picture)
        )
    });
    let more = match run.evidence_more {
        0 => String::new(),
        more => format!(" {} more are in its folder.", count(more)),
    };
    format!("<h3>Evidence</h3><p>Parts that were not passed, as the historian keeps them.{more}</p><div class=\"tiles\">{pictures}</div>")
}

fn promises(promises: &[LinePromise; 4]) -> String {
    let tiles = each(PROMISES.iter().zip(promises), |((name, says), promise)| {
        let (class, shape, value, words) = match promise.kept {
            Some(true) => ("", shape(Verdict::Ok), "kept", String::new()),
            None => (
                "unmeasured",
                String::new(),
                NOT_MEASURED,
                "What could be checked was kept; the station's records are missing.".to_owned(),
            ),
            Some(false) => (
                "attention",
                shape(Verdict::NotOk),
                "BROKEN",
                format!(
                    "<strong>{} time{}. First:</strong> {}",
                    count(promise.broken),
                    if promise.broken == 1 { "" } else { "s" },
                    text(promise.first.as_deref().unwrap_or("unknown")),
                ),
            ),
        };
        let words = if words.is_empty() {
            words
        } else {
            format!("<p class=\"offender\">{words}</p>")
        };
        format!("<div class=\"tile {class}\"><h3>{name}</h3><p class=\"value\">{shape}{value}</p><p>{says}</p>{words}</div>")
    });
    format!("<div class=\"tiles\">{tiles}</div>")
}

fn shape(verdict: Verdict) -> String {
    let name = verdict.name();
    format!("<span class=\"verdict {name}\"><svg class=\"shape\" aria-hidden=\"true\"><use href=\"#shape-{name}\"/></svg></span>")
}

fn times(run: &LineRun) -> String {
    let polling = if run.poll_us == 0 {
        "This PLC polls without a pause.".to_owned()
    } else {
        format!("This PLC polls every {}.", whole_milliseconds(run.poll_us))
    };
    format!(
        "<div class=\"charts line\"><figure><h3>Trigger to verdict, on the wire</h3>{}<figcaption>From the last byte of the PLC's Trigger write to the \
         reply that carries the verdict, one value per part. The deadline is when the station must show an outcome; the PLC reads it at its next \
         poll. {polling}</figcaption></figure><figure><h3>Where the time goes</h3>{}</figure></div>",
        wire_histogram(&run.trigger_to_verdict_us, run.deadline_us),
        split(run),
    )
}

/// The engine and the rest. Only parts count here that have both, so that the rows speak of the same parts.
fn split(run: &LineRun) -> String {
    if run.engine_us.is_empty() || run.added_us.is_empty() {
        return format!("<p class=\"lead\">Time in the engine: {NOT_MEASURED}.</p>");
    }
    let total: Vec<u64> = run
        .engine_us
        .iter()
        .zip(&run.added_us)
        .map(|(engine, added)| engine + added)
        .collect();
    let p50 = |times: &[u64]| percentile(times, 50.0);
    let longest = [&total, &run.engine_us, &run.added_us].iter().filter_map(|times| p50(times)).max();
    let row = |name: &str, means: &str, times: &[u64], class: &str| {
        let share = p50(times)
            .zip(longest.filter(|longest| *longest > 0))
            .map_or(0.0, |(time, longest)| time as f64 / longest as f64 * 100.0);
        format!(
            "<div class=\"share\"><p><strong>{name}</strong> <span class=\"quiet\">{means}</span></p><p class=\"figures\"><strong>{}</strong> \
             <span class=\"quiet\">p99 {}</span></p><svg class=\"meter\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect class=\"track\" width=\"100\" height=\"10\"/><rect class=\"{class}\" width=\"{share:.1}\" height=\"10\"/></svg></div>",
            milliseconds(p50(times)),
            milliseconds(percentile(times, 99.0)),
        )
    };
    format!(
        "{}{}{}<p class=\"caption\">Medians over {} parts that have both times. The last two are taken part by part; medians need not add up \
         to the digit.</p>",
        row("trigger to verdict", "as the PLC sees it", &total, "neutral"),
        row("engine", "the model's own computing", &run.engine_us, "good"),
        row(
            "what the station adds",
            "all the rest: frame, queue, judging, and the PLC's polling",
            &run.added_us,
            "neutral"
        ),
        count(total.len()),
    )
}

/// What was real and what was not.
fn label(rendered: bool) -> String {
    let pictures = if rendered {
        "pictures rendered by a program"
    } else {
        "recorded pictures"
    };
    format!(
        "<p class=\"banner after\"><strong>This line is virtual:</strong> {pictures} in place of parts before a lens, and a software PLC and gate; \
         Modbus TCP, the GStreamer frames and the station itself are real, all on one machine. No real part, light, wire or actuator was involved.</p>"
    )
}

fn count(count: usize) -> String {
    number(Some(count as f64), 0)
}

/// A setting: without the digits that a measurement has.
fn whole_milliseconds(time_us: u64) -> String {
    format!("{}\u{a0}ms", time_us as f64 / 1000.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 200 parts, everything as it should be.
    pub(in super::super) fn kept() -> LineRun {
        let kept = LinePromise {
            kept: Some(true),
            ..LinePromise::default()
        };
        LineRun {
            promises: [kept.clone(), kept.clone(), kept.clone(), kept],
            triggers: 200,
            recorded: Some(200),
            record_lines: Some(200),
            ok: 158,
            not_ok: 40,
            not_decidable: vec![(Some(Reason::NoFrame), 2)],
            read: 200,
            passed: 158,
            rejected: 42,
            good: 160,
            defective: 40,
            late: Some(0),
            lost: Some(0),
            wrong_part: Some(0),
            deadline_us: 200_000,
            poll_us: 10_000,
            trigger_to_verdict_us: (0..200).map(|part| 18_000 + part * 61 % 9_000).collect(),
            engine_us: (0..200).map(|part| 6_000 + part * 13 % 900).collect(),
            added_us: (0..200).map(|part| 12_000 + part * 61 % 9_000 - part * 13 % 900).collect(),
            ..LineRun::default()
        }
    }

    /// The same line, with everything going wrong that can be shown.
    pub(in super::super) fn broken() -> LineRun {
        let mut run = kept();
        run.promises[0] = LinePromise {
            kept: Some(false),
            broken: 2,
            first: Some("cycle 17 of PLC session 2 (part <17>): it is in no record".into()),
        };
        run.promises[1].kept = None;
        LineRun {
            recorded: Some(197),
            record_lines: Some(203),
            ok: 155,
            unknown: 2,
            untriggered: 3,
            read: 190,
            underway: 1,
            rejected: 41,
            escapes: 1,
            lost: Some(2),
            wrong_part: None,
            station_kills: 1,
            plc_restarts: 2,
            stopped: true,
            ..run
        }
    }

    #[test]
    fn a_line_in_order_adds_up_and_asks_for_no_attention() {
        let page = section(&kept(), false);
        assert!(page.contains("triggers = outcomes = records"));
        assert_eq!(page.matches("adds up to the 200\u{a0}triggers").count(), 3);
        assert_eq!(page.matches(">kept</p>").count(), 4);
        assert!(page.contains("NotDecidable: no frame"));
        assert!(
            !page.contains("attention") && !page.contains("does not add up") && !page.contains(NOT_MEASURED),
            "{page}"
        );
        assert!(pointer(&kept()).contains("all four promises were kept"));
    }

    #[test]
    fn what_is_broken_missing_or_does_not_add_up_is_said() {
        let page = section(&broken(), false);
        assert!(
            page.contains("BROKEN</p>") && page.contains("<strong>2 times. First:</strong> cycle 17 of PLC session 2 (part &lt;17&gt;)")
        );
        assert!(page.contains("they differ; LINE-1 above"));
        // 155 + 40 + 2 + 2
        assert!(page.contains(">199</td>") && page.contains("does not add up: there were 200\u{a0}triggers"));
        assert!(page.contains("adds up to the 203\u{a0}parts that came"));
        assert!(page.contains("203 lines in all"));
        assert!(
            page.contains("killed once on purpose") && page.contains("restarted 2 times on purpose") && page.contains("stopped before")
        );
        assert!(page.contains("<th scope=\"row\">wrong part</th><td class=\"number\">not measured</td>"));
        assert!(pointer(&broken()).contains("1 of four promises BROKEN"));
    }

    #[test]
    fn a_station_that_runs_elsewhere_is_not_held_to_its_records() {
        let promise = LinePromise::default();
        let run = LineRun {
            promises: [promise.clone(), promise.clone(), promise.clone(), promise],
            recorded: None,
            record_lines: None,
            engine_us: Vec::new(),
            added_us: Vec::new(),
            ..kept()
        };
        let page = section(&run, false);
        assert_eq!(page.matches("<p class=\"value\">not measured</p>").count(), 4);
        assert!(page.contains("<th scope=\"row\">records</th><td class=\"number\">not measured</td>"));
        assert!(page.contains("Time in the engine: not measured"));
        assert!(!page.contains("they differ") && !page.contains("= records"));
        assert!(pointer(&run).contains("not all was measured"));
    }

    #[test]
    fn the_line_is_called_virtual_and_its_pictures_what_they_are() {
        let rendered = LineRun { rendered: true, ..kept() };
        for (run, all_rendered, pictures) in [
            (&rendered, false, "pictures rendered by a program"),
            (&kept(), true, "pictures rendered by a program"),
            (&kept(), false, "recorded pictures"),
        ] {
            let page = section(run, all_rendered);
            assert!(page.contains("This line is virtual:") && page.contains(pictures));
        }
    }

    #[test]
    fn an_empty_run_is_no_trouble() {
        let page = section(&LineRun::default(), true);
        assert!(page.contains("Trigger to verdict: not measured") && !page.contains("NaN"));
    }
}
