//! `takt doctor`: what a service engineer needs to know of a box.

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::table::{Mark, marked_table};
use super::{Exit, Format, print, print_json};
use crate::doctor::examination::Examination;
use crate::doctor::{Check, Finding, Report, Status};
use crate::flow;
use crate::rpc::certificate::date;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The station's configuration [default: /etc/takt/station.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
    /// Only what decides whether an update may stay: configuration, library, golden gate, PLC port, journal
    #[arg(long)]
    boot: bool,
    /// Make one check and print its findings, as takt does in a process of its own
    #[arg(long, hide = true, value_name = "CHECK")]
    probe: Option<String>,
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let examination = Examination {
        config: args.config.clone(),
        boot: args.boot,
        root: "/".into(),
    };
    if let Some(probe) = &args.probe {
        let Some(check) = Check::ALL.iter().find(|check| check.name() == probe) else {
            return Ok(Exit::Usage);
        };
        examination.run_alone(*check).iter().try_for_each(print_json)?;
        return Ok(Exit::Done);
    }
    let report = examination.run();
    let exit = if report.status() == Status::Failed {
        Exit::Failed
    } else {
        Exit::Done
    };
    match args.format {
        Format::Json => print_json(&record(&report, args.boot, exit))?,
        Format::Table => print(&screen(&report, args.boot))?,
    }
    Ok(exit)
}

/// As programs read it; the keys are fixed, see docs/doctor.md.
fn record(report: &Report, boot: bool, exit: Exit) -> serde_json::Value {
    let mut record = json!({
        "takt_version": env!("CARGO_PKG_VERSION"),
        "architecture": env::consts::ARCH,
        "checked_unix_ns": flow::unix_now_ns(),
        "mode": if boot { "boot" } else { "full" },
        "status": report.status(),
        "exit_code": exit as u8,
        "counts": Status::ALL.map(|status| (status.name(), report.count(status))).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "findings": report.findings,
    });
    if boot {
        record["may_stay"] = (exit == Exit::Done).into();
    }
    record
}

/// As people read it: worst words in colour, remedies below the facts.
fn screen(report: &Report, boot: bool) -> String {
    let colours = io::stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var("TERM").as_deref() != Ok("dumb");
    let rows = report.findings.iter().map(|finding| (mark(finding.status, colours), row(finding)));
    let title = format!(
        "takt {} · {}",
        env!("CARGO_PKG_VERSION"),
        date(flow::unix_now_ns().div_euclid(1_000_000_000))
    );
    let table = marked_table(&["check", "status", &title], rows);
    let verdict = match (boot, report.status()) {
        (true, Status::Failed) => "This version must not stay.\n",
        (true, _) => "This version may stay.\n",
        (false, _) => "",
    };
    format!("{table}\n{}\n{verdict}", summary(report))
}

fn row(finding: &Finding) -> Vec<String> {
    let told = match finding.subject.as_str() {
        "" => finding.fact.clone(),
        subject => format!("{subject}: {}", finding.fact),
    };
    let told = match finding.remedy.as_str() {
        "" => told,
        remedy => format!("{told}\n→ {remedy}"),
    };
    vec![finding.check.name().replace('_', " "), finding.status.name().to_owned(), told]
}

fn mark(status: Status, colours: bool) -> Mark {
    match status {
        _ if !colours => Mark::Plain,
        Status::Ok => Mark::Good,
        Status::Unknown => Mark::Faint,
        Status::Warning => Mark::Caution,
        Status::Failed => Mark::Bad,
    }
}

fn summary(report: &Report) -> String {
    let counts = [Status::Failed, Status::Warning, Status::Unknown, Status::Ok].map(|status| (report.count(status), status.name()));
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_where_and_what_to_do() {
        let finding = Finding::new(Check::LastEnd, Status::Warning, "it was killed")
            .of("here")
            .remedy("start it");
        assert_eq!(row(&finding), ["last end", "warning", "here: it was killed\n→ start it"]);
        let report = Report::new(vec![finding, Finding::new(Check::Clock, Status::Ok, "right")]);
        assert_eq!(summary(&report), "1 warning, 1 ok");
        assert!(screen(&report, true).ends_with("This version may stay.\n"));
        let record = record(&report, false, Exit::Done);
        assert_eq!((&record["status"], &record["counts"]["warning"]), (&json!("warning"), &json!(1)));
        assert!(record.get("may_stay").is_none());
    }
}
