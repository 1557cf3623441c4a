//! `takt run`: the station.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::{Exit, Format, failsafe, told};
use crate::config::changes::changes;
use crate::config::station::StationConfig;
use crate::flow::{Sender, WhenFull, bounded};
use crate::line::error_code::ErrorCode;
use crate::model::package::Package;
use crate::recipe::Rules;
use crate::station::build::Control;
use crate::station::reporter::ReportFormat;
use crate::station::stand_in::Places;
use crate::station::supervisor;
use crate::telemetry::log::Log;
use crate::telemetry::systemd;
use crate::vision::reading;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How parts are told on standard output, one line each; where the log goes to the system's journal, parts are entries of it unless json is
    /// asked for
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Things the supervisor may be told before it listens.
const CONTROL_MAX: usize = 64;

pub(super) fn run(args: &RunArgs, log: &Log) -> anyhow::Result<Exit> {
    let config = match StationConfig::read(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            // Each line starts with its place, so that an editor can go there.
            let _ = writeln!(io::stderr(), "{errors}");
            systemd::status(&errors.to_string());
            return Ok(Exit::Usage);
        }
    };
    log.set_filter(config.log_filter.as_deref())?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    note_places(&config);
    let format = match args.format {
        Format::Json => ReportFormat::Json,
        Format::Table if log.goes_to_journald() => ReportFormat::Log,
        Format::Table => ReportFormat::Text,
    };
    let (control, happened) = bounded("control", CONTROL_MAX, WhenFull::DropNewest);
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("failed to listen for the signals that stop the station")?;
    let listening = Listening(signals.handle());
    let outcome = std::thread::scope(|scope| {
        let heard = control.clone();
        let (config, file) = (&config, args.config.as_path());
        scope.spawn(move || hear(signals, &heard, config, file, log));
        // Dropped before the scope waits for the thread that listens, whatever happens.
        let _listening = listening;
        supervisor::run(config, format, || Box::new(io::stdout()), &control, &happened)
    });
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(error) => ended(error.into(), &config),
    }
}

/// What to tell the service manager: a disk that takes nothing does not get better by trying again at once.
fn ended(error: anyhow::Error, config: &StationConfig) -> anyhow::Result<Exit> {
    if Places::of(config).why_down() != ErrorCode::StateUnavailable {
        return Err(error);
    }
    let said = told(&error);
    let _ = writeln!(io::stderr(), "error: {said}");
    systemd::status(&said);
    Ok(Exit::StateUnavailable)
}

/// Ends the listening for signals with itself.
struct Listening(Handle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Hears signals until there are no more: the station stops, or reads its configuration again. SIGHUP is the end where a terminal went away.
fn hear(mut signals: Signals, control: &Sender<Control>, config: &StationConfig, file: &Path, log: &Log) {
    let has_terminal = io::stdin().is_terminal();
    for signal in signals.forever() {
        if signal == SIGHUP && !has_terminal {
            reload(config, file, log);
        } else {
            let _ = control.send(Control::Stop);
        }
    }
}

/// Reads the configuration again. What is wrong with it changes nothing, and is said; so is what takes a restart.
fn reload(in_force: &StationConfig, file: &Path, log: &Log) {
    systemd::reloading();
    let model_check = |model: &Path, rules: &Rules| {
        let package = Package::open(model).map_err(|error| error.to_string())?;
        rules.check(&reading::abilities(&package.manifest))
    };
    let read = StationConfig::read_with_models(file, &model_check).map_err(|errors| errors.to_string());
    let applied = read.and_then(|config| {
        log.set_filter(config.log_filter.as_deref()).map_err(|error| error.to_string())?;
        Ok(changes(in_force.text(), config.text()).restart)
    });
    let status = match applied {
        Ok(restart) if restart.is_empty() => "configuration read again".to_owned(),
        Ok(restart) => {
            let restart = restart.join(", ");
            tracing::warn!(
                keys = restart,
                "the configuration was read again; what differs in these keys takes a restart"
            );
            format!("configuration read again; a restart is needed for {restart}")
        }
        Err(errors) => {
            tracing::error!(%errors, "the configuration is not taken over: nothing changes");
            format!("configuration not taken over: {errors}")
        }
    };
    systemd::reloaded(&status);
}

/// Notes where the others find the station, for whoever stands in for a station whose configuration cannot be read.
fn note_places(config: &StationConfig) {
    if let Some(folder) = failsafe::state_directory()
        && let Err(error) = Places::of(config).note(&folder)
    {
        tracing::warn!(%error, "failed to note where PLC and line controllers connect; nobody stands in for the station should its configuration break");
    }
}
