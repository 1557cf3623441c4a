//! What a station prints: one line each on standard output, for programs or for people.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;

use super::departures::{Departures, Left};
use super::line_thread::Report;
use crate::flow::Receiver;
use crate::line::error_code::ErrorCode;
use crate::part::{CycleId, PartRecord, Reason, Severity, Verdict};
use crate::telemetry::systemd;

/// The target of events that tell of parts and of the station's state.
const PART_TARGET: &str = "takt::part";

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// One JSON object a line.
    Json,
    /// One readable line each.
    Text,
    /// Nothing on standard output: each is an event of the log, with fields. For the system's journal.
    Log,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum JsonLine<'a> {
    Listening {
        plc: SocketAddr,
    },
    Serving {
        grpc: SocketAddr,
    },
    Part(&'a PartRecord),
    State {
        ready: bool,
        error_code: u16,
        error: Option<&'static str>,
        boot_id: u16,
    },
}

/// Writes reports until nobody sends any more. A reader that went away ends the writing, not the station.
pub fn run(reports: &Receiver<Report>, format: ReportFormat, output: &mut dyn Write, departures: &Departures) {
    let mut broken = false;
    while let Some(report) = reports.receive() {
        if let Report::State { ready, error_code, .. } = &report {
            systemd::status(&state_line(*ready, *error_code));
        }
        if !broken && let Err(error) = write(&report, format, output) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!(%error, "failed to write records to standard output; the journal has them");
            }
            broken = true;
        }
        if let Report::Part(record) = report {
            departures.tell(record.sequence, Left::Printed);
        }
    }
}

fn write(report: &Report, format: ReportFormat, output: &mut dyn Write) -> io::Result<()> {
    let mut line = match (format, report) {
        (ReportFormat::Log, report) => {
            log(report);
            return Ok(());
        }
        (ReportFormat::Json, Report::Listening(plc)) => serde_json::to_vec(&JsonLine::Listening { plc: *plc })?,
        (ReportFormat::Json, Report::Serving(grpc)) => serde_json::to_vec(&JsonLine::Serving { grpc: *grpc })?,
        (ReportFormat::Text, Report::Serving(grpc)) => format!("serving line controllers on {grpc}").into_bytes(),
        (ReportFormat::Json, Report::Part(record)) => serde_json::to_vec(&JsonLine::Part(record))?,
        (
            ReportFormat::Json,
            Report::State {
                ready,
                error_code,
                boot_id,
            },
        ) => serde_json::to_vec(&JsonLine::State {
            ready: *ready,
            error_code: *error_code,
            error: error(*error_code).map(ErrorCode::name),
            boot_id: *boot_id,
        })?,
        (ReportFormat::Text, Report::Listening(plc)) => format!("serving the PLC on {plc}").into_bytes(),
        (ReportFormat::Text, Report::Part(record)) => part_line(record).into_bytes(),
        (ReportFormat::Text, Report::State { ready, error_code, .. }) => state_line(*ready, *error_code).into_bytes(),
    };
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// As an event, whose fields the system's journal can be asked for: `journalctl CYCLE_ID=41`.
fn log(report: &Report) {
    match report {
        Report::Listening(plc) => tracing::info!(target: PART_TARGET, %plc, "serving the PLC"),
        Report::Serving(grpc) => tracing::info!(target: PART_TARGET, %grpc, "serving line controllers"),
        Report::State {
            ready,
            error_code,
            boot_id,
        } => {
            tracing::info!(target: PART_TARGET, ready, code = error_code, boot_id, "{}", state_line(*ready, *error_code));
        }
        Report::Part(record) => tracing::info!(
            target: PART_TARGET,
            cycle_id = record.cycle_id.map(CycleId::get),
            sequence = record.sequence,
            epoch = record.epoch,
            plc_session = record.plc_session,
            verdict = record.verdict.name(),
            reason = record.reason.map(Reason::name),
            defect_code = record.defect_code,
            severity = record.severity.map(Severity::name),
            total_us = record.stages.total_us,
            late_findings = record.late_findings,
            recovered = record.recovered,
            "part"
        ),
    }
}

fn error(code: u16) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|error| error.code() == code)
}

fn state_line(ready: bool, code: u16) -> String {
    let state = match (ready, code) {
        (true, _) => "ready",
        (false, 0) => "not ready: the PLC is not online",
        (false, _) => "not ready",
    };
    error(code).map_or_else(|| state.into(), |error| format!("{state}: {} {}", error.text(), error.remedy()))
}

fn part_line(record: &PartRecord) -> String {
    let cycle = record.cycle_id.map_or(0, CycleId::get);
    let reason = record.reason.map_or("", |reason| reason.name());
    let score = record.views.iter().filter_map(|view| view.score).reduce(f32::max);
    let score = score.map_or_else(String::new, |score| format!("score {score:.2}"));
    let mark = match record.verdict {
        Verdict::Ok => "ok",
        Verdict::NotOk => "NOT OK",
        Verdict::NotDecidable => "NOT DECIDABLE",
    };
    let late = if record.late_findings { "  (late findings)" } else { "" };
    let milliseconds = record.stages.total_us as f64 / 1e3;
    format!("{cycle:>10}  {mark:<13}  {reason:<13}  {score:<14}  {milliseconds:>7.1} ms{late}")
        .trim_end()
        .into()
}
