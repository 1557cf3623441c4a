//! `takt run`: the station.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Exit, Format};
use crate::config::station::StationConfig;
use crate::flow::{WhenFull, bounded};
use crate::station::build::Control;
use crate::station::reporter::ReportFormat;
use crate::station::supervisor;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How parts are told on standard output, one line each
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Things the supervisor may be told before it listens.
const CONTROL_MAX: usize = 64;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = StationConfig::read(&args.config)?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let format = match args.format {
        Format::Json => ReportFormat::Json,
        Format::Table => ReportFormat::Text,
    };
    let (control, happened) = bounded("control", CONTROL_MAX, WhenFull::DropNewest);
    let stop = control.clone();
    ctrlc::set_handler(move || {
        let _ = stop.send(Control::Stop);
    })
    .context("failed to listen for the signals that stop the station")?;
    supervisor::run(&config, format, || Box::new(io::stdout()), &control, &happened)?;
    Ok(Exit::Done)
}
