//! `takt journal`: proves what a station recorded.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::config::station::StationConfig;
use crate::flow;
use crate::journal::black_box::BlackBox;
use crate::journal::numbers::Numbers;
use crate::journal::verify::{Report, verify};
use crate::station::build::BLACK_BOX;

#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Begin another epoch, as a station needs that was cloned or restored from a backup; stop the station first
    NewEpoch {
        /// The station's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check every record against its hash and the record before it, and every image against its record; a station may go on meanwhile
    Verify {
        /// Folder of the journal
        #[arg(value_name = "PATH")]
        journal: PathBuf,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
    },
}

/// Begins another epoch. The station must not run: its numbers are in its hands then.
fn new_epoch(config: &Path) -> anyhow::Result<Exit> {
    let config = StationConfig::read(config)?;
    let now_s = flow::unix_now_ns().unsigned_abs() / 1_000_000_000;
    let numbers = Numbers::read(&config.state_directory, now_s)?;
    // In use while a station runs. What it holds of this epoch would be lost with it.
    let (_black_box, held) = BlackBox::open(&config.runtime_directory.join(BLACK_BOX), numbers.epoch)?;
    let unrecorded = held.parts.iter().filter(|kept| kept.opened.part.0 >= held.reported_below).count();
    ensure!(
        unrecorded == 0,
        "failed to begin a new epoch: {unrecorded} parts are in the black box but not in the journal yet; start the station and stop it in order first"
    );
    let next = numbers.in_new_epoch(now_s);
    next.write(&config.state_directory)?;
    print(&format!(
        "station {}: epoch {} ends, epoch {} begins with the next start; what was recorded stays in the journal\n",
        config.id, numbers.epoch, next.epoch
    ))?;
    Ok(Exit::Done)
}

pub(super) fn run(args: &JournalArgs) -> anyhow::Result<Exit> {
    match &args.command {
        JournalCommand::NewEpoch { config } => new_epoch(config),
        JournalCommand::Verify { journal, format } => print_report(journal, &verify(journal)?, *format),
    }
}

/// Fails if anything is not as it was recorded, after it has been told.
fn print_report(journal: &Path, report: &Report, format: Format) -> anyhow::Result<Exit> {
    match format {
        Format::Json => {
            let offences: Vec<_> = report
                .offences
                .iter()
                .map(|offence| json!({ "station": offence.station, "epoch": offence.epoch, "sequence": offence.sequence, "what": offence.what }))
                .collect();
            print_json(
                &json!({ "journal": journal, "whole": report.is_whole(), "chains": report.chains, "records": report.records,
                "lost": report.lost, "images": report.images, "offences_total": report.offences_total, "offences": offences }),
            )?;
        }
        Format::Table => {
            let verdict = if report.is_whole() { "whole" } else { "NOT AS IT WAS RECORDED" };
            let facts = [
                ("chains", report.chains),
                ("records", report.records),
                ("named as lost", report.lost),
                ("images", report.images),
                ("offences", report.offences_total),
            ];
            print(&table(
                &["journal", verdict],
                facts.into_iter().map(|(name, count)| vec![name.into(), count.to_string()]),
            ))?;
            for offence in &report.offences {
                let (station, epoch, sequence) = (&offence.station, offence.epoch, offence.sequence);
                print(&format!("{station} epoch {epoch} record {sequence}: {}\n", offence.what))?;
            }
        }
    }
    Ok(if report.is_whole() { Exit::Done } else { Exit::Failed })
}
