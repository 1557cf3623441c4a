//! What answers PLC and line controllers while the station is down: an image that passes no part and says why. Nobody needs it to be safe, as
//! nothing is passed without a heartbeat that beats; but it tells people what is wrong.
//!
//! The station notes where the others find it, so that this is known when the configuration cannot be read.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::station::{CycleSource, GrpcConfig, StationConfig};
use crate::line::error_code::ErrorCode;
use crate::line::image::{StationImage, StationMode};
use crate::plc::Shown;
use crate::plc::modbus::{ModbusConfig, ModbusServer, PlcError, SILENCE_MAX};
use crate::rpc::station_service::{self, ImageSwapped, ServeError, StationFacts, StationPorts};
use crate::rpc::tls::SecurityError;

/// The note, in the state directory.
const NOTE: &str = "stand-in.toml";

/// Longest note that is read, bytes.
const NOTE_MAX: u64 = 16 << 10;

/// What the disk of the state directory must take for a station to start: its numbers, and the first pages of its journal, bytes.
const STATE_BYTES: usize = 64 << 10;

/// Where the others find a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// Its id.
    pub station: String,
    /// Its state directory. Absolute.
    pub state_directory: PathBuf,
    /// Where a PLC connects; `None` where cycles do not come by Modbus.
    pub plc: Option<PlcPlace>,
    /// Where line controllers connect, if they may.
    pub grpc: Option<GrpcConfig>,
}

/// Where a PLC connects, and which may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlcPlace {
    /// Address and port that the station listens on.
    pub listen: SocketAddr,
    /// Addresses of PLCs. What they write is taken, so that no PLC sees an error for it, and ignored.
    pub writers: Vec<IpAddr>,
}

impl Places {
    /// Of this station.
    pub fn of(config: &StationConfig) -> Self {
        let plc = match &config.plc.cycle_source {
            CycleSource::Modbus { listen, writers } => Some(PlcPlace {
                listen: *listen,
                writers: writers.clone(),
            }),
            CycleSource::PolledModbus(_) | CycleSource::Grpc => None,
        };
        Self {
            station: config.id.clone(),
            state_directory: config.state_directory.clone(),
            plc,
            grpc: config.grpc.clone(),
        }
    }

    /// As the station noted them last; `None` where it never did, or where nobody can read it.
    pub fn noted(folder: &Path) -> Option<Self> {
        let file = folder.join(NOTE);
        let is_short = fs::metadata(&file).is_ok_and(|metadata| metadata.len() <= NOTE_MAX);
        let text = is_short.then(|| fs::read_to_string(&file).ok())??;
        toml::from_str(&text).ok()
    }

    /// Notes them, where the note says something else.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn note(&self, folder: &Path) -> io::Result<()> {
        if Self::noted(folder).as_ref() == Some(self) {
            return Ok(());
        }
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(folder.join(NOTE)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Why a station with a configuration that can be read does not run, as far as its disk tells.
    pub fn why_down(&self) -> ErrorCode {
        match takes_state(&self.state_directory) {
            Ok(()) => ErrorCode::StationDown,
            Err(error) => {
                tracing::error!(%error, folder = %self.state_directory.display(), "the disk takes nothing that the station must keep");
                ErrorCode::StateUnavailable
            }
        }
    }
}

/// Whether a folder's disk takes what a station must keep. Nothing is left there.
fn takes_state(folder: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&vec![0; STATE_BYTES])?;
    file.sync_all()
}

/// Why a place of the station's cannot be answered at.
#[derive(Debug, thiserror::Error)]
pub enum StandInError {
    /// The PLC's port is not to be had: the station has it, or somebody else.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The line controllers' is not.
    #[error(transparent)]
    Controllers(#[from] ServeError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// Answers in a station's places, until it is dropped.
pub struct StandIn {
    places: Places,
    shown: Shown,
    plc: Option<ModbusServer>,
    controllers: Option<SocketAddr>,
    stop: CancellationToken,
}

impl StandIn {
    /// For a station that is down for this reason. Answers nowhere yet.
    pub fn new(places: Places, why: ErrorCode) -> Self {
        Self {
            places,
            shown: Arc::new(ArcSwap::from_pointee(image(why))),
            plc: None,
            controllers: None,
            stop: CancellationToken::new(),
        }
    }

    /// Answers wherever it does not yet, and can. To be called again where it could not.
    ///
    /// # Errors
    /// The first place that is not to be had.
    pub fn answer(&mut self) -> Result<(), StandInError> {
        let plc = self.answer_plc();
        let controllers = self.answer_controllers();
        plc.and(controllers)
    }

    /// Where it answers now.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.plc.as_ref().map(ModbusServer::address).into_iter().chain(self.controllers)
    }

    fn answer_plc(&mut self) -> Result<(), StandInError> {
        let Some(place) = self.places.plc.as_ref().filter(|_| self.plc.is_none()) else {
            return Ok(());
        };
        let config = ModbusConfig {
            listen: place.listen,
            writers: place.writers.clone(),
            tags: true,
            silence_max: SILENCE_MAX,
        };
        self.plc = Some(ModbusServer::start(&config, Arc::clone(&self.shown), |_| {})?);
        Ok(())
    }

    fn answer_controllers(&mut self) -> Result<(), StandInError> {
        let Some(place) = self.places.grpc.as_ref().filter(|_| self.controllers.is_none()) else {
            return Ok(());
        };
        let secured = place.security.load()?;
        let ports = StationPorts {
            facts: StationFacts {
                station: self.places.station.clone(),
                ..StationFacts::default()
            },
            shown: Arc::clone(&self.shown),
            swapped: ImageSwapped::default(),
            results: Arc::default(),
            log: None,
            events: Err("the station does not run; the one that answers takes no cycles"),
            access: secured.access,
            models: None,
            accept_hold: Duration::ZERO,
            is_stand_in: true,
        };
        let server = station_service::serve(place.listen, secured.tls, ports, self.stop.clone())?;
        self.controllers = Some(server.address);
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Nothing is taken, nothing passes; the heartbeat stands. BootId 0 is that of no station, so the PLC takes what is between camera and gate for
/// rejects.
fn image(why: ErrorCode) -> StationImage {
    StationImage {
        station_mode: StationMode::Preoperational,
        error: true,
        error_code: why.code(),
        ..StationImage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tls::{SecurityConfig, ServerSecurity};

    #[test]
    fn the_image_of_a_station_that_is_down_passes_nothing() {
        let image = image(ErrorCode::ConfigInvalid);
        assert!(!image.accept && !image.result_valid && !image.trigger_ready && !image.online && image.verdict.is_none());
        assert_eq!((image.heartbeat, image.boot_id, image.error, image.error_code), (0, 0, true, 12));
    }

    fn places(folder: &Path) -> Places {
        Places {
            station: "press-1".into(),
            state_directory: folder.into(),
            plc: Some(PlcPlace {
                listen: "127.0.0.1:1502".parse().unwrap(),
                writers: vec!["192.168.0.10".parse().unwrap()],
            }),
            grpc: Some(GrpcConfig {
                listen: "0.0.0.0:7443".parse().unwrap(),
                security: SecurityConfig {
                    server: Some(ServerSecurity {
                        certificate: "/etc/takt/tls/a.pem".into(),
                        key: "/etc/takt/tls/a.key".into(),
                        client_ca: None,
                    }),
                    insecure: false,
                },
            }),
        }
    }

    #[test]
    fn the_note_survives_and_nonsense_is_no_note() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Places::noted(folder.path()), None);
        let noted = places(folder.path());
        let few = Places {
            plc: None,
            grpc: None,
            ..noted.clone()
        };
        for places in [&noted, &few] {
            places.note(folder.path()).unwrap();
            assert_eq!(Places::noted(folder.path()).as_ref(), Some(places));
        }
        for nonsense in ["station = 3", "", "writers = []", &"#".repeat(NOTE_MAX as usize + 1)] {
            fs::write(folder.path().join(NOTE), nonsense).unwrap();
            assert_eq!(Places::noted(folder.path()), None, "{nonsense:.20}");
        }
        noted.note(folder.path()).unwrap();
        assert_eq!(Places::noted(folder.path()), Some(noted));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_why() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(places(folder.path()).why_down(), ErrorCode::StationDown);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert_eq!(places(&folder.path().join("gone")).why_down(), ErrorCode::StateUnavailable);
    }
}
