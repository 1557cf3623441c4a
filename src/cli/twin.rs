//! `takt twin`: a virtual line around a real station, and whether the station keeps its promises.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::progress::Screen;
use super::{Exit, Format, print, print_json};
use crate::part::Verdict;
use crate::teach::progress::Progress;
use crate::twin::report::Promise;
use crate::twin::{PartRun, Settings, TwinReport, Watcher};

/// Without a terminal, a sum is shown after this many parts.
const SUM_EVERY: usize = 50;

#[derive(Debug, Args)]
pub(super) struct TwinArgs {
    /// The line's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Commission the station instead: play its handshake through, sequence by sequence, with everything that goes wrong on a line
    #[arg(long)]
    commission: bool,
    #[command(flatten)]
    commissioning: super::commission::CommissionArgs,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

pub(super) fn run(args: &TwinArgs) -> anyhow::Result<Exit> {
    if args.commission {
        return super::commission::run(&args.config, &args.commissioning, args.format);
    }
    let settings = match Settings::read(&args.config) {
        Ok(settings) => settings,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return Ok(Exit::Usage);
        }
    };
    let mut live = LiveLine::new();
    let report = crate::twin::run(&settings, &mut live)?;
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Table => print(&summary(&report))?,
    }
    Ok(if report.is_kept() { Exit::Done } else { Exit::Failed })
}

/// The parts as they go by, one line each, on standard error.
pub(super) struct LiveLine {
    screen: Screen,
    terminal: bool,
    parts: usize,
    passed: usize,
    escapes: usize,
    false_rejects: usize,
}

impl LiveLine {
    pub(super) fn new() -> Self {
        Self {
            screen: Screen::new(),
            terminal: io::stderr().is_terminal(),
            parts: 0,
            passed: 0,
            escapes: 0,
            false_rejects: 0,
        }
    }

    fn say(text: &str) {
        // A reader that went away is no reason to stop the line.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Colours of Okabe and Ito 2008, which colour-blind people tell apart too.
    fn verdict(&self, verdict: Option<Verdict>) -> String {
        let (word, colour) = match verdict {
            Some(Verdict::Ok) => ("● ok", "38;2;0;114;178"),
            Some(Verdict::NotOk) => ("▲ NOT OK", "38;2;213;94;0"),
            Some(Verdict::NotDecidable) => ("◆ undecided", "38;2;120;120;120"),
            None => ("  unknown", "38;2;120;120;120"),
        };
        if self.terminal {
            format!("\x1b[{colour}m{word:<12}\x1b[0m")
        } else {
            format!("{word:<12}")
        }
    }

    fn row(&self, part: &PartRun) -> String {
        let truth = part.defect.as_deref().unwrap_or("good");
        let time = part
            .trigger_to_verdict_us
            .map_or_else(|| "-".into(), |time| format!("{:.1}", time as f64 / 1e3));
        let gate = part.gate.map_or("on its way", super::super::twin::facts::GateReason::text);
        let mut row = format!(
            "{:>8} {:>8}  {truth:<14} {} {:<14} {time:>7}  {gate}",
            part.cycle_id,
            part.part,
            self.verdict(part.outcome()),
            part.reason.map_or("", crate::part::Reason::name),
        );
        if part.is_escape() {
            row.push_str("  <- escape");
        } else if part.is_false_reject() {
            row.push_str("  <- false reject");
        }
        row
    }
}

impl Watcher for LiveLine {
    fn part(&mut self, part: &PartRun) {
        if self.parts == 0 {
            Self::say(&format!(
                "{:>8} {:>8}  {:<14} {:<12} {:<14} {:>7}  gate",
                "cycle", "part", "truth", "verdict", "reason", "ms"
            ));
        }
        self.parts += 1;
        self.passed += usize::from(part.passed());
        self.escapes += usize::from(part.is_escape());
        self.false_rejects += usize::from(part.is_false_reject());
        Self::say(&self.row(part));
        if !self.terminal && self.parts.is_multiple_of(SUM_EVERY) {
            Self::say(&format!(
                "{} parts, {} passed, {} escapes, {} false rejects",
                self.parts, self.passed, self.escapes, self.false_rejects
            ));
        }
    }

    fn note(&mut self, note: &str) {
        Self::say(&format!("         · {note}"));
    }

    fn stopped(&self) -> bool {
        self.screen.stopped()
    }
}

/// The run in a few lines.
pub(super) fn summary(report: &TwinReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "{name:<20} {what}");
    };
    let outcomes = &report.outcomes;
    let stopped = if report.stopped { ", stopped early" } else { "" };
    line(
        "parts",
        format!("{}, {} without a trigger{stopped}", report.parts, report.untriggered),
    );
    line(
        "outcomes",
        format!(
            "{} ok, {} not ok, {} not decidable, {} unknown",
            outcomes.ok, outcomes.not_ok, outcomes.not_decidable, outcomes.unknown
        ),
    );
    let reasons: Vec<String> = report.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    line("reasons", if reasons.is_empty() { "none".into() } else { reasons.join(", ") });
    line("gate", format!("{} passed, {} rejected", report.passed, report.rejected));
    line(
        "mistakes",
        format!("{} escapes, {} false rejects", report.escapes, report.false_rejects),
    );
    line("late", counted(report.late));
    line("wrong part", counted(report.wrong_part));
    line("lost", counted(report.lost));
    let time = |time: Option<u64>| time.map_or_else(|| "-".into(), |time| format!("{:.1}", time as f64 / 1e3));
    line(
        "trigger to verdict",
        format!(
            "p50 {} ms, p99 {} ms, max {} ms",
            time(report.trigger_to_verdict_us_p50),
            time(report.trigger_to_verdict_us_p99),
            time(report.trigger_to_verdict_us_max)
        ),
    );
    let restarts = format!(
        "station {}, PLC {}, historian {}; network cut {} times",
        report.station_kills, report.plc_restarts, report.historian_kills, report.network_cuts
    );
    line("restarts", restarts);
    line("LINE-1 conservation", promise(&report.line_1));
    line("LINE-2 identity", promise(&report.line_2));
    line("LINE-3 deadline", promise(&report.line_3));
    if let Some(line_5) = &report.line_5 {
        line("LINE-5 record", promise(line_5));
    }
    if let Some(swaps) = &report.swaps {
        let counts = swaps.counts;
        line(
            "models",
            format!(
                "{} asked for: {} in force, {} refused, {} unanswered; parts judged by {}",
                swaps.asked.values().sum::<usize>(),
                counts.activated,
                counts.refused,
                counts.unanswered,
                counts.models
            ),
        );
        line("  in force", promise(&swaps.models_in_force));
        line(
            "  while proving",
            format!(
                "{} parts, p50 {} ms, p99 {} ms; {} others, p50 {} ms, p99 {} ms",
                swaps.parts_during,
                time(swaps.trigger_to_verdict_us_p50_during),
                time(swaps.trigger_to_verdict_us_p99_during),
                swaps.parts_between,
                time(swaps.trigger_to_verdict_us_p50_between),
                time(swaps.trigger_to_verdict_us_p99_between)
            ),
        );
    }
    text
}

fn counted(count: Option<usize>) -> String {
    count.map_or_else(|| "not measured (the station runs elsewhere)".into(), |count| count.to_string())
}

fn promise(promise: &Promise) -> String {
    match (promise.pass, &promise.first) {
        (Some(true), _) => "kept".into(),
        (None, _) => "kept as far as measured".into(),
        (Some(false), first) => format!(
            "BROKEN {} time{}, first: {}",
            promise.broken,
            if promise.broken == 1 { "" } else { "s" },
            first.as_deref().unwrap_or("unknown")
        ),
    }
}
