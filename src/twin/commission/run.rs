//! A run of the list against a real station.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::driver::Driver;
use super::outcome::{Commissioning, SequenceOutcome};
use super::plant::TwinPlant;
use super::sequences;
use super::step::Terms;
use crate::config::{ConfigErrors, StationConfig, TwinConfig};
use crate::line::config::TriggerSource;
use crate::twin::Settings;
use crate::twin::camera::TwinCameraError;
use crate::twin::pictures::PictureError;

/// Why a run failed: no word on the station's handshake.
#[derive(Debug, thiserror::Error)]
pub enum CommissionError {
    /// The line's or the station's file.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The PLC does not come by Modbus.
    #[error(
        "failed to commission the station: it has no Modbus server; set plc.cycle_source = \"modbus\" and plc.listen, or give --station"
    )]
    NoModbus,
    /// It asks its PLC, and cannot be asked.
    #[error(
        "failed to commission the station: with plc.role = \"client\" it connects to its PLC, and not the other way round; leave --station out, set \
         start = false in line.toml, and let this computer have the address of plc.connect (or give where it listens as [plc] address in line.toml)"
    )]
    Polls,
    /// There is nothing to show to the cameras.
    #[error(transparent)]
    Pictures(#[from] PictureError),
    /// A camera cannot be set up.
    #[error(transparent)]
    Camera(#[from] TwinCameraError),
    /// The station cannot be started.
    #[error("failed to start the station: {0}")]
    Start(String),
    /// Nothing answers.
    #[error(
        "failed to commission the station: it does not answer at {address}: {reason}; check address, cable, plc.writers, and that it runs"
    )]
    Silent {
        /// Where it was looked for.
        address: SocketAddr,
        /// What happened there.
        reason: String,
    },
    /// The PLC's side of the network.
    #[error("failed to start the PLC's network: {0}")]
    Network(#[from] std::io::Error),
}

/// Where station and PLC meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The station listens here.
    Server(SocketAddr),
    /// The PLC does, and the station polls it.
    Client {
        /// Where.
        listen: SocketAddr,
        /// The first register that the station reads.
        read_base: u16,
        /// The first register that it writes.
        write_base: u16,
        /// A station that has not written for so long is not there.
        silence_max: Duration,
    },
}

impl Place {
    fn of(line: &TwinConfig, station: &StationConfig, given: Option<SocketAddr>) -> Result<Self, CommissionError> {
        let Some(polled) = station.plc.polled() else {
            let address = given.or(line.plc.address).or(station.plc.listen());
            return address.map(Self::Server).ok_or(CommissionError::NoModbus);
        };
        if given.is_some() {
            return Err(CommissionError::Polls);
        }
        Ok(Self::Client {
            listen: line.plc.address.unwrap_or(polled.connect),
            read_base: polled.read_base,
            write_base: polled.write_base,
            silence_max: station.plc.heartbeat_timeout,
        })
    }

    /// The address.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Server(address) | Self::Client { listen: address, .. } => address,
        }
    }

    /// Who asks whom, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Server(_) => "Modbus TCP, the station is the server",
            Self::Client { .. } => "Modbus TCP, the PLC is the server",
        }
    }
}

/// Looks on while the list is run.
pub trait Audience {
    /// A sequence ended, or was skipped.
    fn sequence(&mut self, outcome: &SequenceOutcome) {
        let _ = outcome;
    }

    /// Whether the run is to stop.
    fn stopped(&self) -> bool {
        false
    }
}

/// Runs the list against the station of a `line.toml`: the twin's own child, or the one that runs at `station`.
///
/// # Errors
/// When line or station cannot be set up. What the station does wrong is no error but in the outcome.
pub fn run(config: &Path, station: Option<SocketAddr>, audience: &mut dyn Audience) -> Result<Commissioning, CommissionError> {
    let line = TwinConfig::read(config)?;
    let station_config = StationConfig::read(&line.station)?;
    let place = Place::of(&line, &station_config, station)?;
    let mut settings = Settings::new(&line, &station_config);
    if station.is_some() {
        settings.start = None;
    }
    let terms = terms(&settings, &station_config, station.is_none());
    // Until well after the deadline, which with a wired trigger counts from the end of the arm window.
    let mut plant = TwinPlant::new(&settings, terms.own_parts, terms.deadline + Duration::from_millis(200))?;
    super::driver::Plant::start(&mut plant).map_err(CommissionError::Start)?;
    let began = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut driver = Driver::new(&terms, &place, settings.poll, plant)?;
    let address = place.address();
    driver.greet().map_err(|reason| CommissionError::Silent { address, reason })?;
    let mut sequences = Vec::new();
    for sequence in sequences::all(&terms) {
        if audience.stopped() {
            break;
        }
        let outcome = driver.run(&sequence);
        audience.sequence(&outcome);
        sequences.push(outcome);
    }
    Ok(Commissioning {
        station: settings.station.clone(),
        address: address.to_string(),
        wire: place.text(),
        facts: terms.facts(settings.poll),
        began,
        verdicts_judged: terms.own_parts,
        stopped: audience.stopped(),
        images: driver.watchdog.images,
        accepting_images: driver.watchdog.accepting,
        sequences,
    })
}

/// What the list depends on, of this station. `own`: its cameras are the twin's, if they can be.
fn terms(settings: &Settings, station: &StationConfig, own: bool) -> Terms {
    let arm_window = match settings.trigger_source {
        TriggerSource::Hardware { arm_window } => arm_window,
        TriggerSource::Plc { .. } | TriggerSource::FreeRun { .. } => Duration::ZERO,
    };
    Terms {
        mode: settings.result_mode,
        polled: station.plc.polled().is_some(),
        trigger: settings.trigger_source,
        part_interval: match settings.trigger_source {
            // A camera that runs by itself rests here between two parts, so that no frame may be near to both.
            TriggerSource::FreeRun { frame_window } => frame_window,
            TriggerSource::Plc { .. } | TriggerSource::Hardware { .. } => settings.spacing(),
        },
        deadline: settings.deadline + arm_window,
        accept_hold: settings.accept_hold,
        torn: settings.torn,
        heartbeat_timeout: settings.heartbeat_timeout,
        recipes: station.recipes.iter().map(|recipe| recipe.number).collect(),
        serial: station.serial,
        sequential: settings.sequential,
        simulated: station.simulated,
        own_parts: own && !settings.cameras.is_empty() && settings.cameras.len() == station.cameras.len(),
        own_station: settings.start.is_some(),
        long_cut: Duration::from_secs(5).max(settings.heartbeat_timeout + Duration::from_secs(1)),
    }
}
