//! `takt failsafe`: the station's outputs, safe, while the station itself does not run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{Exit, print};
use crate::config::station::StationConfig;
use crate::flow::{NothingReceived, Receiver, WhenFull, bounded};
use crate::line::error_code::ErrorCode;
use crate::station::stand_in::{Places, StandIn};
use crate::telemetry::systemd;

/// A port that somebody has is asked for again after this time.
const PORT_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct FailsafeArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Answer PLC and line controllers until told to stop: nothing passes, `ErrorCode` says why. For while the station is down
    #[arg(long)]
    serve: bool,
}

pub(super) fn run(args: &FailsafeArgs) -> anyhow::Result<Exit> {
    if args.serve {
        return stand_in(&args.config);
    }
    // There is no configuration of outputs yet, so there is none that could keep an output from being driven.
    print(
        "no output of this machine is driven by takt: nothing to make safe. A PLC passes no part while the station is down, as its heartbeat stands.\n",
    )?;
    Ok(Exit::Done)
}

fn stand_in(config: &Path) -> anyhow::Result<Exit> {
    let (stop, stopped) = bounded("stop", 1, WhenFull::DropNewest);
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })
    .context("failed to listen for the signals that end this")?;
    let Some((places, why)) = find_out(config) else {
        let status = "nobody connects here as far as is known: nothing to answer";
        tracing::warn!("{status}");
        systemd::ready(status);
        stopped.receive();
        return Ok(Exit::Done);
    };
    systemd::ready(&format!("standing in for the station: {}", why.text()));
    serve(StandIn::new(places, why), why, &stopped)
}

/// Where the others find the station, by the configuration, else as the station noted it; and why it is down.
fn find_out(config: &Path) -> Option<(Places, ErrorCode)> {
    match StationConfig::read(config) {
        Ok(config) => {
            let places = Places::of(&config);
            // The service manager lets this process write nowhere else, so of another disk nothing can be said.
            let may_look = state_directory().is_none_or(|folder| places.state_directory.starts_with(folder));
            let why = if may_look { places.why_down() } else { ErrorCode::StationDown };
            Some((places, why))
        }
        Err(errors) => {
            tracing::error!("{errors}");
            Some((Places::noted(&state_directory()?)?, ErrorCode::ConfigInvalid))
        }
    }
}

/// Where the service manager lets the station keep things (`StateDirectory=`): known without a configuration.
pub(super) fn state_directory() -> Option<PathBuf> {
    let folders = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&folders).next().filter(|folder| folder.is_absolute())
}

fn serve(mut stand_in: StandIn, why: ErrorCode, stopped: &Receiver<()>) -> anyhow::Result<Exit> {
    let mut told = false;
    loop {
        match stand_in.answer() {
            Ok(()) => {
                let addresses: Vec<String> = stand_in.addresses().map(|address| address.to_string()).collect();
                let (addresses, code, name) = (addresses.join(", "), why.code(), why.name());
                print(&format!(
                    "standing in for the station on {addresses}: nothing passes, ErrorCode {code} {name}\n"
                ))?;
                stopped.receive();
                return Ok(Exit::Done);
            }
            Err(error) if !told => {
                tracing::warn!(%error, "cannot stand in everywhere yet");
                told = true;
            }
            Err(_) => {}
        }
        if stopped.receive_timeout(PORT_RETRY) != Err(NothingReceived::TimedOut) {
            return Ok(Exit::Done);
        }
    }
}
