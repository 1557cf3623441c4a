//! Runs a station for as long as it is wanted: what failed is started anew, with outputs that pass no part in between.

use std::io::Write;

use super::build::{self, Control, Ended, StationError};
use super::memory;
use super::reporter::ReportFormat;
use crate::config::station::StationConfig;
use crate::flow::{Receiver, Sender};

/// Runs until `control` says stop.
///
/// # Errors
/// When the station cannot be set up, or has nothing to inspect with.
pub fn run(
    config: &StationConfig,
    format: ReportFormat,
    output: impl Fn() -> Box<dyn Write + Send>,
    control: &Sender<Control>,
    happened: &Receiver<Control>,
) -> Result<(), StationError> {
    memory::keep();
    loop {
        let station = build::start(config, format, output(), control, |_| {})?;
        match station.run(happened)? {
            Ended::Stopped => return Ok(()),
            // As after a kill: the black box says what was shown, the next start has another BootId.
            Ended::LineFailed => tracing::error!("the line failed; every open part is not decidable, the station starts anew"),
        }
    }
}
