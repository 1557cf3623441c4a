//! `takt run`: the station.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::{Exit, Format, failsafe, told};
use crate::config::changes::{Changes, changes};
use crate::config::station::StationConfig;
use crate::flow::{Sender, WhenFull, bounded};
use crate::line::error_code::ErrorCode;
use crate::model::package::Package;
use crate::recipe::Rules;
use crate::station::configuration::Configuration;
use crate::station::reporter::ReportFormat;
use crate::station::stand_in::Places;
use crate::station::supervisor;
use crate::station::threads::Control;
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
    let configuration = Configuration::new(config);
    let outcome = std::thread::scope(|scope| {
        let heard = control.clone();
        let (configuration, file) = (&configuration, args.config.as_path());
        scope.spawn(move || hear(signals, &heard, configuration, file, log));
        // Dropped before the scope waits for the thread that listens, whatever happens.
        let _listening = listening;
        supervisor::run(configuration, format, || Box::new(io::stdout()), &control, &happened)
    });
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(error) => ended(error.into(), &configuration.in_force()),
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
fn hear(mut signals: Signals, control: &Sender<Control>, configuration: &Configuration, file: &Path, log: &Log) {
    let has_terminal = io::stdin().is_terminal();
    for signal in signals.forever() {
        if signal == SIGHUP && !has_terminal {
            reload(configuration, file, log);
        } else {
            let _ = control.send(Control::Stop);
        }
    }
}

/// Reads the configuration again. What is wrong with it changes nothing, and is said; so is what takes a restart. Other models are proven
/// beside those in force, which takes its time: another thread waits for it, so that a stop is heard meanwhile.
fn reload(configuration: &Configuration, file: &Path, log: &Log) {
    systemd::reloading();
    let model_check = |model: &Path, rules: &Rules| {
        let package = Package::open(model).map_err(|error| error.to_string())?;
        rules.check(&reading::abilities(&package.manifest))
    };
    let read = StationConfig::read_with_models(file, &model_check).map_err(|errors| errors.to_string());
    let applied = read.and_then(|config| {
        log.set_filter(config.log_filter.as_deref()).map_err(|error| error.to_string())?;
        Ok((changes(configuration.in_force().text(), config.text()), config))
    });
    let status = match applied {
        Ok((Changes { models: true, .. }, config)) => return exchange_models(configuration.clone(), config),
        Ok((Changes { restart, .. }, _)) if restart.is_empty() => READ_AGAIN.to_owned(),
        Ok((Changes { restart, .. }, _)) => {
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

/// What is told when all of it is in force.
const READ_AGAIN: &str = "configuration read again";

/// Has other models put in force. The thread ends with its answer at the latest, and with the process; there is one exchange at a time.
fn exchange_models(configuration: Configuration, config: StationConfig) {
    let wait = move || {
        let status = match configuration.exchange_models(Arc::new(config)) {
            Ok(_) => format!("{READ_AGAIN}; other models are in force"),
            // The log has it of each inspection.
            Err(error) => format!(
                "{READ_AGAIN}; its models are not taken over, those before stay in force: {}",
                error.told()
            ),
        };
        systemd::reloaded(&status);
    };
    if let Err(error) = Builder::new().name("reload".into()).spawn(wait) {
        tracing::error!(%error, "no thread can be started to exchange models: nothing changes");
        systemd::reloaded("models are not taken over: no thread can be started");
    }
}

/// Notes where the others find the station, for whoever stands in for a station whose configuration cannot be read.
fn note_places(config: &StationConfig) {
    if let Some(folder) = failsafe::state_directory()
        && let Err(error) = Places::of(config).note(&folder)
    {
        tracing::warn!(%error, "failed to note where PLC and line controllers connect; nobody stands in for the station should its configuration break");
    }
}
