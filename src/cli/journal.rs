//! `takt journal`: proves what a station recorded.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::journal::verify::{Report, verify};

#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
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

pub(super) fn run(args: &JournalArgs) -> anyhow::Result<Exit> {
    match &args.command {
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
