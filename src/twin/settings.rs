//! What a run of the twin needs to know, of its own file and of the station's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model_swaps::SwapSettings;
use super::oracle::Terms;
use super::plc_program::ProgramSettings;
use super::schedule::{Faults, Plan, Rate};
use crate::capture::PixelFormat;
use crate::config::station::CameraSource;
use crate::config::twin::TwinHistorian;
use crate::config::{ConfigErrors, StationConfig, TwinConfig, twin};
use crate::line::config::{ResultMode, TriggerSource};
use crate::part::Region;
use crate::twin::gate::Gate;
use crate::vision::stamp::StampPlace;

/// A camera of the station that the twin stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraSettings {
    /// The socket of the shared memory its frames go through.
    pub socket: PathBuf,
    /// Where the part number is written into the pixels.
    pub stamp: Option<StampPlace>,
    /// Where the part is seen: what its inspections look at, together.
    pub area: Region,
}

/// Everything a run needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The station's file, if the twin is to run it.
    pub start: Option<PathBuf>,
    /// Where the station listens.
    pub address: SocketAddr,
    /// From poll to poll; zero: without wait.
    pub poll: Duration,
    /// One scan; zero: at every poll.
    pub scan: Duration,
    /// What causes an exposure.
    pub trigger_source: TriggerSource,
    /// How results are given.
    pub result_mode: ResultMode,
    /// From the trigger or the exposure to the image that shows the outcome.
    pub deadline: Duration,
    /// How long Accept stays.
    pub accept_hold: Duration,
    /// Without a heartbeat for so long, either side is lost.
    pub heartbeat_timeout: Duration,
    /// How long a trigger may have torn numbers.
    pub torn: Duration,
    /// Smallest time from trigger to trigger.
    pub part_interval_min: Duration,
    /// Whether cycle IDs count up by one.
    pub sequential: bool,
    /// Where the gate is.
    pub gate: Gate,
    /// The cameras.
    pub cameras: Vec<CameraSettings>,
    /// Pixels per row and rows of all of them.
    pub frame_px: (u32, u32),
    /// How their pixels are laid out.
    pub format: PixelFormat,
    /// From the trigger to the exposure.
    pub exposure_delay: Duration,
    /// From the exposure to the frame's arrival.
    pub transfer: Duration,
    /// How many parts come.
    pub count: u32,
    /// How fast.
    pub rate: Rate,
    /// The same seed gives the same parts and faults.
    pub seed: u64,
    /// Folder of images in the layout of MVTec AD; `None`: rendered parts.
    pub dataset: Option<PathBuf>,
    /// Share of parts with a defect, in [0, 1].
    pub defect_share: f64,
    /// Encoder counts from part to part.
    pub encoder_pitch: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// Name of the station.
    pub station: String,
    /// Its journal.
    pub journal: PathBuf,
    /// The historian to run, and the network to cut.
    pub historian: Option<TwinHistorian>,
    /// The models to ask the station for; `None` where it serves nobody who could ask.
    pub swaps: Option<SwapSettings>,
}

/// What no station listens on: one whose cycles come another way.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

impl Settings {
    /// Reads `line.toml` and the `station.toml` it names.
    ///
    /// # Errors
    /// With everything that is wrong with the first of them that has errors.
    pub fn read(file: &Path) -> Result<Self, ConfigErrors> {
        let line = TwinConfig::read(file)?;
        let station = StationConfig::read(&line.station)?;
        Ok(Self::new(&line, &station))
    }

    /// The settings of this line around this station.
    pub fn new(line: &TwinConfig, station: &StationConfig) -> Self {
        Self {
            start: line.start.then(|| line.station.clone()),
            address: line.plc.address.or(station.plc.listen()).unwrap_or(NOWHERE),
            poll: line.plc.poll,
            scan: line.plc.scan,
            trigger_source: station.trigger.source,
            result_mode: station.result.mode,
            deadline: station.timing.deadline,
            accept_hold: station.result.accept_hold,
            heartbeat_timeout: station.plc.heartbeat_timeout,
            torn: station.plc.torn,
            part_interval_min: station.trigger.part_interval_min,
            sequential: station.sequential,
            gate: Gate {
                trigger_to_gate: line.parts.trigger_to_gate.unwrap_or(station.timing.trigger_to_gate),
                actuation: station.timing.gate_actuation,
            },
            cameras: cameras(station, (line.camera.width, line.camera.height)),
            frame_px: (line.camera.width, line.camera.height),
            format: line.camera.format,
            exposure_delay: line.camera.exposure_delay,
            transfer: line.camera.transfer,
            count: line.parts.count,
            rate: match line.parts.rate {
                twin::Rate::Hz(rate) => Rate::PerSecond(rate),
                twin::Rate::Max => Rate::Max,
            },
            seed: line.parts.seed,
            dataset: line.parts.dataset.clone(),
            defect_share: line.parts.defect_share,
            encoder_pitch: line.encoder_pitch,
            faults: line.faults,
            station: station.id.clone(),
            journal: station.journal.directory.join("journal.sqlite"),
            historian: line.historian.clone(),
            swaps: swaps(line, station),
        }
    }

    /// What the parts are drawn from.
    pub fn plan(&self) -> Plan {
        Plan {
            count: self.count,
            rate: self.rate,
            seed: self.seed,
            defect_share: self.defect_share,
            pitch: self.encoder_pitch,
            faults: self.faults,
            // Before, at and after the moment the outcome is shown.
            fault_window: self.deadline.mul_f64(1.2),
        }
    }

    /// What the PLC's program needs to know.
    pub fn program(&self) -> ProgramSettings {
        ProgramSettings {
            mode: self.result_mode,
            gate: self.gate,
            heartbeat_timeout: self.heartbeat_timeout,
            // A station that lives answers within a few polls; one that stands still is lost before this.
            answer_timeout: 2 * self.heartbeat_timeout + self.torn,
            ready_wait: Some(self.rate.interval()).filter(|wait| !wait.is_zero()),
            settle: self.deadline.saturating_sub(self.gate.trigger_to_gate) + self.accept_hold + Duration::from_millis(200),
        }
    }

    /// What the oracle holds the station to.
    pub fn terms(&self) -> Terms {
        Terms {
            deadline: self.deadline,
            from_exposure: self.is_wired(),
            accept_hold: self.accept_hold,
            heartbeat_timeout: self.heartbeat_timeout,
            sequential: self.sequential,
            stamped: !self.cameras.is_empty() && self.cameras.iter().all(|camera| camera.stamp.is_some()),
        }
    }

    /// Whether a sensor exposes, rather than the station's trigger.
    pub fn is_wired(&self) -> bool {
        matches!(self.trigger_source, TriggerSource::Hardware { .. })
    }

    /// Smallest time from one trigger to the next: with a wired trigger, two parts in one arm window could not be told apart.
    pub fn spacing(&self) -> Duration {
        if self.is_wired() { self.part_interval_min } else { Duration::ZERO }
    }
}

/// The first inspection's models, asked for where line controllers are served.
fn swaps(line: &TwinConfig, station: &StationConfig) -> Option<SwapSettings> {
    let inspection = station.inspections().next()?;
    Some(SwapSettings {
        station: format!("http://{}", station.grpc.as_ref()?.listen),
        inspection: inspection.name.clone(),
        package: inspection.model.clone(),
        signing_key: line.signing_key.clone(),
        signature_required: station.models.require_signature,
    })
}

/// The cameras whose frames come through shared memory; the others are left alone.
fn cameras(station: &StationConfig, frame_px: (u32, u32)) -> Vec<CameraSettings> {
    let cameras = station.cameras.iter().enumerate().filter_map(|(index, camera)| {
        let CameraSource::Pipeline { description, .. } = &camera.source else {
            return None;
        };
        let regions = station.inspections().filter(|inspection| inspection.camera == index);
        Some(CameraSettings {
            socket: socket_of(description)?,
            stamp: camera.stamp,
            area: area(regions.map(|inspection| inspection.rules.area.region()), frame_px),
        })
    });
    cameras.collect()
}

/// The smallest rectangle around all regions, as far as it is in the frame; the whole frame where one of them is.
fn area(regions: impl Iterator<Item = Option<Region>>, (width, height): (u32, u32)) -> Region {
    let whole = Region { x: 0, y: 0, width, height };
    let around = |a: Region, b: Region| {
        let (x, y) = (a.x.min(b.x), a.y.min(b.y));
        let right = a.x.saturating_add(a.width).max(b.x.saturating_add(b.width));
        let bottom = a.y.saturating_add(a.height).max(b.y.saturating_add(b.height));
        Region {
            x,
            y,
            width: right - x,
            height: bottom - y,
        }
    };
    let together = regions.map(|region| region.unwrap_or(whole)).reduce(around).unwrap_or(whole);
    if together.is_within(width, height) { together } else { whole }
}

/// The `socket-path` of a pipeline that begins with `shmsrc`.
fn socket_of(description: &str) -> Option<PathBuf> {
    let first = description.split('!').next()?.trim();
    let properties = first.strip_prefix("shmsrc")?;
    let (_, value) = properties.split_once("socket-path=")?;
    let value = value.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split_whitespace().next()?,
    };
    Some(PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_the_pipeline() {
        let socket = |description| socket_of(description).map(|path| path.display().to_string());
        assert_eq!(
            socket("shmsrc socket-path=/tmp/a.sock is-live=true ! gdpdepay").as_deref(),
            Some("/tmp/a.sock")
        );
        assert_eq!(
            socket(r#"shmsrc is-live=true socket-path="/tmp/a b.sock" ! gdpdepay"#).as_deref(),
            Some("/tmp/a b.sock")
        );
        assert_eq!(socket("v4l2src ! videoconvert"), None);
    }
}
