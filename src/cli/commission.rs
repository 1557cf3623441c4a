//! `takt twin --commission`: the handshake of a station, played through, and the report that a commissioning engineer files.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::progress::Screen;
use super::{Exit, Format, print, print_json};
use crate::teach::progress::Progress;
use crate::twin::commission::outcome::{Commissioning, Ending, SequenceOutcome};
use crate::twin::commission::{self, Audience, CommissionError};

#[derive(Debug, Args)]
pub(super) struct CommissionArgs {
    /// Commission the station that runs at this address; it sees its own parts, so that only the handshake is judged
    #[arg(long, value_name = "ADDRESS:PORT", requires = "commission")]
    station: Option<SocketAddr>,
    /// Write an HTML report of each step: signal, time, expectation, what was seen
    #[arg(long, value_name = "FILE.html", requires = "commission")]
    report: Option<PathBuf>,
    /// Write the same as JUnit XML, for build servers
    #[arg(long, value_name = "FILE.xml", requires = "commission")]
    junit: Option<PathBuf>,
}

pub(super) fn run(config: &Path, args: &CommissionArgs, format: Format) -> anyhow::Result<Exit> {
    let mut live = Live { screen: Screen::new() };
    let outcome = match commission::run(config, args.station, &mut live) {
        Err(CommissionError::Config(errors)) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return Ok(Exit::Usage);
        }
        outcome => outcome?,
    };
    if let Some(file) = &args.report {
        std::fs::write(file, commission::page(&outcome)).with_context(|| format!("failed to write report {}", file.display()))?;
    }
    if let Some(file) = &args.junit {
        std::fs::write(file, commission::junit(&outcome)).with_context(|| format!("failed to write report {}", file.display()))?;
    }
    match format {
        Format::Json => print_json(&outcome)?,
        Format::Table => print(&summary(&outcome))?,
    }
    Ok(if outcome.is_passed() { Exit::Done } else { Exit::Failed })
}

/// The sequences as they end, one line each, on standard error.
struct Live {
    screen: Screen,
}

impl Audience for Live {
    fn sequence(&mut self, outcome: &SequenceOutcome) {
        // A reader that went away is no reason to stop.
        let _ = writeln!(io::stderr(), "{}", line(outcome));
    }

    fn stopped(&self) -> bool {
        self.screen.stopped()
    }
}

fn line(outcome: &SequenceOutcome) -> String {
    let mut line = format!(
        "{:<8} {:<26} {:>6.1} s  {}",
        outcome.ending.text(),
        outcome.name,
        outcome.seconds(),
        outcome.title
    );
    if outcome.ending == Ending::Skipped {
        let _ = write!(line, " ({})", outcome.reason);
    }
    if let Some(step) = outcome.failure() {
        let _ = write!(
            line,
            "\n         step {}, {}\n         {}\n         {}",
            step.number, step.title, step.expectation, step.seen
        );
    }
    line
}

/// The run in a few lines.
fn summary(outcome: &Commissioning) -> String {
    let mut text = String::new();
    for sequence in &outcome.sequences {
        let _ = writeln!(text, "{}", line(sequence));
    }
    let _ = writeln!(
        text,
        "\n{} passed, {} failed, {} skipped; {} images read, {} with Accept, each looked at{}",
        outcome.count(Ending::Passed),
        outcome.count(Ending::Failed),
        outcome.count(Ending::Skipped),
        outcome.images,
        outcome.accepting_images,
        if outcome.stopped { "; stopped early" } else { "" },
    );
    if !outcome.verdicts_judged {
        let _ = writeln!(
            text,
            "The handshake was judged, not the verdicts: the station's cameras are not the twin's."
        );
    }
    text
}
