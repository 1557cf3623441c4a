//! What happens to the line, and what must happen next.

use std::time::Duration;

use super::commands::Command;
use super::gate::GateEvent;
use super::image::PlcImage;
use crate::part::{ClockQuality, CycleId, Disposition, Nanos, PartRecord, Tag, View};

/// A camera of the station, by its place in the configuration.
pub type CameraIndex = usize;

/// An inspection of the recipe, by its place there.
pub type InspectionIndex = usize;

/// A frame, by a number that the station gives each when it arrives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u64);

/// A part that was accepted, by its number in the epoch (`PartRecord::sequence`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// What happens to the line. Each is told with the moment it happened (not later than the moment it is told).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Nothing happened but time.
    Tick,
    /// The PLC (the one writer) connected; what it will be found to say is no edge.
    PlcConnected,
    /// The PLC's connection ended.
    PlcLost,
    /// The PLC wrote. `written` has a bit set for each bit of the control word that this write covered.
    PlcWrote {
        /// When the write was received.
        at: Nanos,
        /// Everything the PLC says now.
        image: PlcImage,
        /// Which bits of the control word the write covered.
        written: u16,
    },
    /// A camera delivers (again).
    CameraUp(CameraIndex),
    /// A camera does not deliver.
    CameraDown(CameraIndex),
    /// A frame arrived.
    Frame {
        /// Which camera.
        camera: CameraIndex,
        /// The station's number of it.
        frame: FrameId,
        /// The camera's own number of it: counts exposures, lost ones too.
        counter: Option<u64>,
        /// When it was exposed.
        exposed_at: Nanos,
    },
    /// An inspection of a part is done.
    Inspected {
        /// Which part.
        part: Sequence,
        /// Which inspection.
        inspection: InspectionIndex,
        /// What it saw, and how long each stage took.
        inspected: Box<Inspected>,
    },
    /// Models are loaded and proven (`true`), or are not any more.
    ModelsReady(bool),
    /// Other models are loaded and proven. Parts that are triggered from now on are judged by them, open ones by those before.
    ModelsExchanged {
        /// Checksum of configuration, recipe and models.
        config_checksum: u32,
    },
    /// Numbers below these are persisted as used and may be given out.
    IdsGranted {
        /// Bound of AcquisitionId, exclusive.
        acquisition_below: u32,
        /// Bound of ResultId, exclusive.
        result_below: u32,
    },
    /// Whether records are kept, as far as the journal says.
    RecordsKept(RecordsKept),
    /// Whether the historian refuses this station.
    HistorianRefuses(bool),
    /// On which provider the models run.
    Provider(ProviderStanding),
    /// A command that was handed out is executed, or could not be.
    CommandFinished {
        /// Which one.
        command: Command,
        /// Whether it did what it should.
        succeeded: bool,
    },
    /// How far the clock on the wall can be trusted.
    Clock(ClockQuality),
    /// The station's own gate did or saw something.
    Gate(GateEvent),
    /// The station is to stop: no new parts; the open ones run to their outcome.
    Stop,
    /// The station stops now: what is open is not decidable.
    Abort,
}

/// Whether models run where they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderStanding {
    /// On the provider that is wanted.
    #[default]
    AsWanted,
    /// On another one, at least one of them.
    StoodIn,
    /// Not at all: nothing may stand in for the one that is wanted.
    Missing,
}

/// How the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordsKept {
    /// It takes records.
    #[default]
    Safely,
    /// It takes records; little space is left.
    Barely,
    /// No space is left.
    Full,
    /// It does not take records.
    Failing,
}

/// What one inspection found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// What it saw.
    pub view: View,
    /// Class of the worst defect as the recipe numbers it, 0 for none.
    pub defect_code: u16,
    /// Waiting for an engine, microseconds.
    pub queue_us: u64,
    /// Resizing and converting, microseconds.
    pub preprocess_us: u64,
    /// The engine, microseconds.
    pub infer_us: u64,
    /// Judging and finding, microseconds.
    pub postprocess_us: u64,
}

/// A part that was opened: what the black box keeps before the trigger is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Which part.
    pub part: Sequence,
    /// The PLC's number of it.
    pub cycle_id: Option<CycleId>,
    /// The PLC's session.
    pub plc_session: u16,
    /// The station's start.
    pub boot_id: u16,
    /// Number of the acquisition, 0 if none was started.
    pub acquisition_id: u32,
    /// Encoder position.
    pub encoder: u32,
    /// Serial number as the PLC gave it.
    pub serial: [u8; 32],
    /// Recipe in use.
    pub recipe: u16,
    /// RecipeNumber as the PLC gave it.
    pub recipe_asked: u16,
    /// What rides along with it.
    pub tags: Vec<Tag>,
    /// Whether it is out of the production counters.
    pub test_part: bool,
    /// Whether the cycle ID is its own; not where the number was torn, or belongs to another part.
    pub owns_id: bool,
    /// When it was triggered.
    pub triggered_at: Nanos,
    /// What inspects it, from its trigger to its outcome: checksum of configuration, recipe and models. 0 where it is not known any more.
    pub config_checksum: u32,
}

impl Opened {
    /// The serial number without its padding; what cannot be printed is '?'.
    pub fn serial_text(&self) -> String {
        let printable = |byte: &u8| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '?' };
        self.serial.iter().take_while(|byte| **byte != 0).map(printable).collect()
    }
}

/// Something to do for the part: judge this frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Which part.
    pub part: Sequence,
    /// Which inspection.
    pub inspection: InspectionIndex,
    /// Which frame.
    pub frame: FrameId,
    /// When its outcome is due; judging it later serves the record only.
    pub deadline: Nanos,
    /// By which models: those in force when the part was triggered.
    pub config_checksum: u32,
}

/// What must happen next, in the order of the fields: the black box is written before the image is swapped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Commit {
    /// Parts opened.
    pub opened: Vec<Opened>,
    /// Parts that have their outcome (or late findings). Records leave once the image is swapped.
    pub decided: Vec<PartRecord>,
    /// What really happened to parts, as the PLC says: session, cycle ID, what.
    pub dispositions: Vec<(u16, CycleId, Disposition)>,
    /// Whether the image changed.
    pub image_changed: bool,
    /// Results that must be shown before these moments, or not as judged.
    pub due: Vec<(Sequence, Nanos)>,
    /// What the station is to do; it says when it is done ([`Event::CommandFinished`]).
    pub command: Option<Command>,
    /// Frames to judge.
    pub jobs: Vec<Job>,
    /// Frames nobody waits for any more.
    pub released: Vec<FrameId>,
    /// What people should know.
    pub notes: Vec<Note>,
}

impl Commit {
    /// The moment before which the image must be swapped: the earliest deadline of what it shows as judged.
    pub fn swap_before(&self) -> Option<Nanos> {
        self.due.iter().map(|(_, deadline)| *deadline).min()
    }
}

/// What people should know: a line in the log and a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A trigger was not taken.
    TriggerMissed {
        /// Its number as found.
        cycle_id: u32,
        /// Why.
        cause: MissCause,
    },
    /// A trigger repeated one that was taken already.
    TriggerRepeated {
        /// Its number.
        cycle_id: CycleId,
    },
    /// The PLC skipped numbers; each is recorded.
    CyclesSkipped {
        /// The first that was skipped.
        from: CycleId,
        /// How many.
        count: u32,
    },
    /// The PLC skipped more numbers than are recorded, or went backwards.
    CycleJump {
        /// The number before.
        from: CycleId,
        /// The number now.
        to: CycleId,
    },
    /// An acknowledgement that fits no result shown.
    AckIgnored {
        /// The number it gave.
        result_id: u32,
    },
    /// A frame came twice.
    FrameRepeated {
        /// Which camera.
        camera: CameraIndex,
    },
    /// A frame came after its part had its outcome.
    FrameLate {
        /// Which camera.
        camera: CameraIndex,
    },
    /// A frame came without a trigger: a part that nobody announced.
    FrameWithoutTrigger {
        /// Which camera.
        camera: CameraIndex,
    },
    /// The camera's numbers have a gap.
    FramesLost {
        /// Which camera.
        camera: CameraIndex,
        /// How many are missing.
        count: u64,
    },
    /// The PLC began a new session.
    SessionChanged {
        /// The session before.
        from: u16,
        /// The session now.
        to: u16,
    },
    /// A character of the serial number was outside 0x20..0x7E.
    SerialUnprintable {
        /// The part.
        cycle_id: CycleId,
    },
    /// A command is executed.
    CommandTaken {
        /// Which one.
        command: Command,
    },
    /// A command is not executed: unknown, or not now.
    CommandRefused {
        /// Its number as found.
        number: u16,
    },
    /// TriggerReady is held back although nothing is wrong.
    Withheld {
        /// Why.
        cause: Withheld,
    },
    /// An error became active or passed; 0 is none.
    ErrorChanged {
        /// The lowest active error or warning.
        code: u16,
    },
}

/// Why TriggerReady is held back although nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Every result slot is taken.
    Slots,
    /// A part that came now would miss its deadline, by what parts of late took.
    Admission {
        /// From its trigger to its verdict, as expected.
        expected: Duration,
    },
}

/// Why a trigger was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissCause {
    /// The PLC was not online or the handshake not enabled.
    NotEnabled,
    /// The station could not take it: starting, stopping, in error.
    NotReady,
    /// Every result slot was taken.
    Busy,
    /// CycleId and CycleIdTail did not agree in time.
    Torn,
    /// CycleId 0 or above 2^31 - 1.
    IdInvalid,
    /// The cycle ID belongs to another part of this session.
    IdReused,
    /// It asked for another recipe.
    Recipe,
    /// It would have missed its deadline.
    Admission,
    /// No serial number was latched for it.
    SerialMissing,
}
