//! What answers the PLC while the station is down: an image that passes no part and says so. Nobody needs it to be safe, as a PLC passes
//! nothing without a heartbeat that beats; but it tells the PLC's people what is wrong.
//!
//! The station notes where its PLC connects, so that this is known when the configuration cannot be read.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::config::station::{CycleSource, StationConfig};
use crate::line::error_code::ErrorCode;
use crate::line::image::{StationImage, StationMode};
use crate::plc::Shown;
use crate::plc::modbus::{ModbusConfig, ModbusServer, PlcError, SILENCE_MAX};

/// The note, in the state directory.
const NOTE: &str = "plc.toml";

/// Longest note that is read, bytes.
const NOTE_MAX: u64 = 4096;

/// Where a PLC connects, and which may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlcPlace {
    /// Address and port that the station listens on.
    pub listen: SocketAddr,
    /// Addresses of PLCs. What they write is taken, so that no PLC sees an error for it, and ignored.
    pub writers: Vec<IpAddr>,
}

impl PlcPlace {
    /// Of this station; `None` where cycles do not come by Modbus.
    pub fn of(config: &StationConfig) -> Option<Self> {
        match &config.plc.cycle_source {
            CycleSource::Modbus { listen, writers } => Some(Self {
                listen: *listen,
                writers: writers.clone(),
            }),
            CycleSource::Grpc => None,
        }
    }

    /// As the station noted it last; `None` where it never did, or where nobody can read it.
    pub fn noted(folder: &Path) -> Option<Self> {
        let file = folder.join(NOTE);
        let is_short = fs::metadata(&file).is_ok_and(|metadata| metadata.len() <= NOTE_MAX);
        let text = is_short.then(|| fs::read_to_string(&file).ok())??;
        toml::from_str(&text).ok()
    }

    /// Notes it, where the note says something else.
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

    /// Answers there until the server is dropped.
    ///
    /// # Errors
    /// When the port is not to be had: the station has it, or somebody else.
    pub fn serve(&self) -> Result<ModbusServer, PlcError> {
        let config = ModbusConfig {
            listen: self.listen,
            writers: self.writers.clone(),
            tags: true,
            silence_max: SILENCE_MAX,
        };
        let shown: Shown = Arc::new(ArcSwap::from_pointee(image()));
        ModbusServer::start(&config, shown, |_| {})
    }
}

/// Nothing is taken, nothing passes; the heartbeat stands. BootId 0 is that of no station, so the PLC takes what is between camera and gate for
/// rejects.
fn image() -> StationImage {
    StationImage {
        station_mode: StationMode::Preoperational,
        error: true,
        error_code: ErrorCode::StationDown.code(),
        ..StationImage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_station_that_is_down_passes_nothing() {
        let image = image();
        assert!(!image.accept && !image.result_valid && !image.trigger_ready && !image.online && image.verdict.is_none());
        assert_eq!((image.heartbeat, image.boot_id, image.error, image.error_code), (0, 0, true, 11));
    }

    #[test]
    fn the_note_survives_and_nonsense_is_no_note() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(PlcPlace::noted(folder.path()), None);
        let place = PlcPlace {
            listen: "127.0.0.1:1502".parse().unwrap(),
            writers: vec!["192.168.0.10".parse().unwrap()],
        };
        place.note(folder.path()).unwrap();
        assert_eq!(PlcPlace::noted(folder.path()), Some(place.clone()));
        for nonsense in ["listen = 3", "", "writers = []", &"#".repeat(5000)] {
            fs::write(folder.path().join(NOTE), nonsense).unwrap();
            assert_eq!(PlcPlace::noted(folder.path()), None, "{nonsense:.20}");
        }
        place.note(folder.path()).unwrap();
        assert_eq!(PlcPlace::noted(folder.path()), Some(place));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
