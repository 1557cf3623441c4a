//! `takt failsafe`: the station's outputs, safe, while the station itself does not run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{Exit, print};
use crate::config::station::StationConfig;
use crate::flow::{NothingReceived, Receiver, WhenFull, bounded};
use crate::station::stand_in::PlcPlace;
use crate::telemetry::systemd;

/// A port that somebody has is asked for again after this time.
const PORT_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct FailsafeArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Answer the PLC until told to stop: nothing passes, `ErrorCode` 11. For while the station is down
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
    let status = match plc_place(config) {
        Some(place) => {
            systemd::ready(&format!("standing in for the station on {}", place.listen));
            return serve(&place, &stopped);
        }
        None => "no PLC connects here as far as is known: nothing to answer",
    };
    tracing::warn!("{status}");
    systemd::ready(status);
    stopped.receive();
    Ok(Exit::Done)
}

/// Where the PLC connects: by the configuration, else where the station noted it.
fn plc_place(config: &Path) -> Option<PlcPlace> {
    match StationConfig::read(config) {
        Ok(config) => PlcPlace::of(&config),
        Err(errors) => {
            tracing::error!("{errors}");
            PlcPlace::noted(&state_directory()?)
        }
    }
}

/// Where the service manager lets the station keep things (`StateDirectory=`): known without a configuration.
pub(super) fn state_directory() -> Option<PathBuf> {
    let folders = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&folders).next().filter(|folder| folder.is_absolute())
}

fn serve(place: &PlcPlace, stopped: &Receiver<()>) -> anyhow::Result<Exit> {
    let mut told = false;
    loop {
        match place.serve() {
            Ok(server) => {
                print(&format!("standing in for the station on {}: nothing passes\n", server.address()))?;
                stopped.receive();
                return Ok(Exit::Done);
            }
            Err(error) if !told => {
                tracing::warn!(%error, "cannot stand in yet");
                told = true;
            }
            Err(_) => {}
        }
        if stopped.receive_timeout(PORT_RETRY) != Err(NothingReceived::TimedOut) {
            return Ok(Exit::Done);
        }
    }
}
