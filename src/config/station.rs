//! `station.toml`: the station.
//!
//! Every type here is what its table means, in units and with defaults applied; a value of it comes from a file that was accepted as a whole.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::gate_file::GateConfig;
use super::locator::LocatorConfig;
pub use super::models::ModelsConfig;
use super::reader::{ConfigErrors, Document};
pub use super::recipe::{InspectionConfig, RecipeConfig};
pub use super::record_file::{GrpcConfig, HistorianConfig, JournalConfig, OK_SHARE, QUOTA_MIB, WhenDiskFull};
use super::station_file;
use super::timing::{GateTiming, Pace, ms, time_to_outcome};
pub use crate::capture::CameraClock;
pub use crate::capture::v4l::{ControlSetting, DeviceSettings};
use crate::gate::alarms::AlarmLimits;
use crate::line::config::{LineConfig, RecipePlan, ResultMode, SerialMode, TriggerSource};
use crate::line::event::CameraIndex;
use crate::line::tags::{TagPlan, TagSource};
use crate::plc::modbus::Layout;
use crate::recipe::Rules;
use crate::recipe::measure::Scale;
use crate::vision::EngineOptions;
use crate::vision::providers::ProviderOrder;
pub use crate::vision::stamp::StampPlace;

/// Folders that are emptied when the machine starts, or sooner.
const FLEETING: [&str; 5] = ["/tmp", "/run", "/var/run", "/var/tmp", "/dev/shm"];

/// A station.
#[derive(Debug, Clone, PartialEq)]
pub struct StationConfig {
    pub(super) document: Document,
    /// Name of the station.
    pub id: String,
    /// What survives power loss: boot id, number blocks, counters. Absolute.
    pub state_directory: PathBuf,
    /// What survives a crash of the program: the black box. Absolute.
    pub runtime_directory: PathBuf,
    /// The PLC.
    pub plc: PlcConfig,
    /// What announces a part.
    pub trigger: TriggerConfig,
    /// How results are given.
    pub result: ResultConfig,
    /// When outcomes are due.
    pub timing: TimingConfig,
    /// Whether the PLC counts cycle IDs up by one.
    pub sequential: bool,
    /// Where serial numbers come from.
    pub serial: SerialMode,
    /// Whether nothing is real: no part is passed.
    pub simulated: bool,
    /// The cameras, at least one, by [`CameraIndex`].
    pub cameras: Vec<CameraConfig>,
    /// What finds parts in frames.
    pub locators: Vec<LocatorConfig>,
    /// What is inspected, at least one recipe; the PLC chooses.
    pub recipes: Vec<RecipeConfig>,
    /// Where models run.
    pub engine: EngineConfig,
    /// Which packages are trusted, and when another may be activated.
    pub models: ModelsConfig,
    /// Where metrics and health can be read; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Which lines are logged; `None`: as usual.
    pub log_filter: Option<String>,
    /// Where records are kept.
    pub journal: JournalConfig,
    /// Who gets them; `None`: nobody yet.
    pub historian: Option<HistorianConfig>,
    /// Where line controllers connect; `None`: nowhere.
    pub grpc: Option<GrpcConfig>,
    /// What rides along with every part.
    pub tags: Vec<TagPlan>,
    /// Gates that the station moves itself; `None`: the PLC moves them.
    pub gate: Option<GateConfig>,
    /// When the line is asked to stop.
    pub alarms: AlarmLimits,
}

/// Who gives the cycles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CycleSource {
    /// A PLC that is a Modbus TCP client of this station.
    Modbus {
        /// Where the station listens.
        listen: SocketAddr,
        /// Who may write: at least one address, canonical (no IPv4 inside IPv6), none twice.
        writers: Vec<IpAddr>,
    },
    /// A PLC that is a Modbus TCP server, which this station polls.
    PolledModbus(PolledPlc),
    /// A line controller at the gRPC service.
    Grpc,
}

/// A PLC that the station polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolledPlc {
    /// Where it listens.
    pub connect: SocketAddr,
    /// Its unit ID.
    pub unit_id: u8,
    /// Its first holding register that the station reads.
    pub read_base: u16,
    /// Its first holding register that the station writes.
    pub write_base: u16,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// How long the write of a result takes at most.
    pub write_max: Duration,
}

/// The PLC, or the line controller in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlcConfig {
    /// Who gives the cycles.
    pub cycle_source: CycleSource,
    /// How often the PLC asks and writes.
    pub poll: Duration,
    /// One scan of the PLC's program.
    pub scan: Duration,
    /// Without a heartbeat for so long the PLC is lost.
    pub heartbeat_timeout: Duration,
    /// How long a trigger may have torn numbers.
    pub torn: Duration,
    /// How long after `TriggerReady` dropped for want of a slot an edge is still taken.
    pub trigger_grace: Duration,
}

impl PlcConfig {
    /// Where a Modbus client connects; `None` where cycles come another way.
    pub fn listen(&self) -> Option<SocketAddr> {
        match &self.cycle_source {
            CycleSource::Modbus { listen, .. } => Some(*listen),
            CycleSource::PolledModbus(_) | CycleSource::Grpc => None,
        }
    }

    /// The PLC that the station polls; `None` where it polls none.
    pub fn polled(&self) -> Option<PolledPlc> {
        match self.cycle_source {
            CycleSource::PolledModbus(polled) => Some(polled),
            CycleSource::Modbus { .. } | CycleSource::Grpc => None,
        }
    }
}

impl PolledPlc {
    /// Where its registers are, with results of this mode.
    pub fn layout(&self, mode: ResultMode, has_tags: bool) -> Layout {
        Layout {
            read_base: self.read_base,
            write_base: self.write_base,
            has_window: mode == ResultMode::Window,
            has_tags,
        }
    }
}

/// What announces a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriggerConfig {
    /// What causes an exposure.
    pub source: TriggerSource,
    /// Smallest time between two parts.
    pub part_interval_min: Duration,
    /// Whether the gate has a sensor of its own.
    pub gate_sees_parts: bool,
}

/// How results are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultConfig {
    /// One at a time or side by side.
    pub mode: ResultMode,
    /// How long Accept stays.
    pub accept_hold: Duration,
}

/// When outcomes are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimingConfig {
    /// From the trigger (hardware trigger: the exposure) to the image that shows the outcome.
    pub deadline: Duration,
    /// From the trigger (hardware trigger: the exposure) to the part's arrival at the gate.
    pub trigger_to_gate: Duration,
    /// From the PLC's output to a gate that stands.
    pub gate_actuation: Duration,
    /// What is kept in hand.
    pub margin: Duration,
}

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// Its name, unlike any other's.
    pub name: String,
    /// Where its frames come from.
    pub source: CameraSource,
    /// How large a pixel is in the plane of the part; `None` where nobody said.
    pub scale: Option<Scale>,
    /// Width and height of the frames that this holds for, where a calibration said it.
    pub calibrated_px: Option<(u32, u32)>,
    /// SHA-256 of that calibration's file, hexadecimal.
    pub calibration_sha256: Option<String>,
    /// Where a twin writes the part number into the pixels; outside every region that is inspected.
    pub stamp: Option<StampPlace>,
}

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraSource {
    /// A GStreamer pipeline, up to our appsink.
    Pipeline {
        /// Its description.
        description: String,
        /// What its times mean.
        clock: CameraClock,
        /// Buffers that takt may hold at once, at least 1; beyond that frames are copied.
        frames_held_max: usize,
    },
    /// A camera device of Linux (V4L2).
    Device(DeviceSettings),
    /// Images of a folder in the order of their names, one per trigger, round and round. Absolute.
    Folder(PathBuf),
}

/// Where models run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// The provider that is wanted, and threads of one inference.
    pub options: EngineOptions,
    /// The same, and what may stand in for it.
    pub order: ProviderOrder,
    /// Whether nothing may: then the station does not inspect without it.
    pub is_required: bool,
    /// Inferences at a time, 1 to 16.
    pub workers: usize,
}

/// Says whether the model package in a folder can be used by these rules, and if not, why.
pub type ModelCheck<'a> = &'a dyn Fn(&Path, &Rules) -> Result<(), String>;

impl StationConfig {
    /// Reads `station.toml`. Model packages are not looked at.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, ConfigErrors> {
        Self::read_with_models(file, &|_, _| Ok(()))
    }

    /// Reads `station.toml` and asks `model_check` about every model package it names.
    ///
    /// # Errors
    /// With everything that is wrong with it or with its models.
    pub fn read_with_models(file: &Path, model_check: ModelCheck<'_>) -> Result<Self, ConfigErrors> {
        Self::from_document(&Document::open(file)?, model_check)
    }

    pub(super) fn from_document(document: &Document, model_check: ModelCheck<'_>) -> Result<Self, ConfigErrors> {
        document.read("the station", |root| station_file::read(root, document, model_check))
    }

    /// The file as it was read, byte for byte.
    pub fn text(&self) -> &str {
        self.document.text()
    }

    /// What `ConfigChecksum` covers besides the models: the file, and the hashes of the calibrations that it names.
    pub fn checksummed(&self) -> String {
        let calibrated = self
            .cameras
            .iter()
            .filter_map(|camera| Some((&camera.name, camera.calibration_sha256.as_ref()?)));
        let lines = calibrated.map(|(name, sha256)| format!("\n# calibration of {name}: {sha256}\n"));
        std::iter::once(self.text().to_owned()).chain(lines).collect()
    }

    /// What the line needs to know. `config_checksum` covers this file, its recipe and its models.
    pub fn line_config(&self, config_checksum: u32) -> LineConfig {
        LineConfig {
            gate_sees_parts: self.trigger.gate_sees_parts,
            station: self.id.clone(),
            trigger_source: self.trigger.source,
            result_mode: self.result.mode,
            deadline: self.timing.deadline,
            accept_hold: self.result.accept_hold,
            torn: self.plc.torn,
            trigger_grace: self.plc.trigger_grace,
            heartbeat_timeout: self.plc.heartbeat_timeout,
            sequential: self.sequential,
            serial: self.serial,
            simulated: self.simulated,
            workers: self.engine.workers,
            cameras: self.cameras.len(),
            tags: self.tags.clone(),
            recipes: RecipePlan::all(self.recipes.iter().map(cameras_of)),
            config_checksum,
        }
    }

    /// The inspections of all recipes, by [`crate::line::event::InspectionIndex`].
    pub fn inspections(&self) -> impl Iterator<Item = &InspectionConfig> {
        self.recipes.iter().flat_map(|recipe| &recipe.inspections)
    }

    /// Whether the PLC has registers for tags that ride along with parts.
    pub fn has_tag_registers(&self) -> bool {
        reads_tags(&self.tags)
    }

    /// Whether verdicts are in time; they are.
    pub fn gate_timing(&self) -> GateTiming {
        gate_timing(&self.plc, &self.timing)
    }

    /// How fast parts may come.
    pub fn pace(&self) -> Pace {
        pace(&self.plc, &self.trigger, &self.result, &self.timing)
    }

    /// What is allowed but should be known, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(listen) = self.plc.listen().filter(|listen| !is_loopback(*listen)) {
            warnings.push(format!(
                "Modbus on {listen} cannot be secured: whoever takes the address of a writer can write; keep that network to the PLC and this station"
            ));
        }
        if let Some(plc) = self.plc.polled().filter(|plc| !is_loopback(plc.connect)) {
            warnings.push(format!(
                "Modbus to {} cannot be secured: whoever takes the address of the PLC can trigger parts; keep that network to the PLC and this station",
                plc.connect
            ));
        }
        if let Some(listen) = self.metrics.filter(|listen| !is_loopback(*listen)) {
            warnings.push(format!("metrics on {listen} can be read by anyone in that network"));
        }
        let state = &self.state_directory;
        if FLEETING.iter().any(|fleeting| state.starts_with(fleeting)) {
            warnings.push(format!(
                "state_directory {} may be gone after a restart of the machine, and numbers given out twice; keep it on a disk",
                state.display()
            ));
        }
        let (pace, interval) = (self.pace(), self.trigger.part_interval_min);
        warnings.extend(pace.limits().iter().filter(|limit| limit.interval > interval).map(|limit| {
            let (interval, limited) = (ms(interval), ms(limit.interval));
            format!(
                "parts may come every {interval} ms, but {limited} ms are safe ({}): a trigger may be missed",
                limit.meaning
            )
        }));
        warnings
    }
}

/// Number of a recipe, and the camera of each of its inspections.
fn cameras_of(recipe: &RecipeConfig) -> (u16, Vec<CameraIndex>) {
    let cameras = recipe.inspections.iter().map(|inspection| inspection.camera);
    (recipe.number, cameras.collect())
}

/// Whether a tag comes from the PLC's registers.
pub(super) fn reads_tags(tags: &[TagPlan]) -> bool {
    tags.iter().any(|tag| !matches!(tag.source, TagSource::Fixed(_)))
}

/// Whether the station keeps to itself what cannot be secured.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

pub(super) fn gate_timing(plc: &PlcConfig, timing: &TimingConfig) -> GateTiming {
    GateTiming {
        poll: plc.poll,
        scan: plc.scan,
        exchange: plc.polled().map(|polled| polled.write_max),
        deadline: timing.deadline,
        gate_actuation: timing.gate_actuation,
        margin: timing.margin,
        trigger_to_gate: timing.trigger_to_gate,
    }
}

pub(super) fn pace(plc: &PlcConfig, trigger: &TriggerConfig, result: &ResultConfig, timing: &TimingConfig) -> Pace {
    Pace {
        handshake: gate_timing(plc, timing).handshake(),
        part_interval_min: trigger.part_interval_min,
        result_mode: result.mode,
        outcome: time_to_outcome(trigger.source, timing.deadline),
        accept_hold: result.accept_hold,
    }
}
