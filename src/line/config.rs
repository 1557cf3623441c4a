//! What the line needs to know of the station's configuration.

use std::time::Duration;

use super::event::{CameraIndex, InspectionIndex};
use super::tags::TagPlan;

/// What causes an exposure, and hence how frames find their part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerSource {
    /// The PLC's Trigger edge causes the exposure: the first frame exposed within `frame_window` after it.
    Plc {
        /// How long after the edge the exposure may begin.
        frame_window: Duration,
    },
    /// A sensor is wired to the camera; the edge arms the cycle before the part arrives: exactly one armed cycle and exactly one exposure
    /// within `arm_window`.
    Hardware {
        /// How long after the edge the exposure may begin; shorter than the smallest part interval.
        arm_window: Duration,
    },
    /// The camera runs by itself: the frame exposed nearest to the edge, at most `frame_window` before or after it. Which one that is shows
    /// with the first frame from after the edge.
    FreeRun {
        /// How far from the edge the exposure may be.
        frame_window: Duration,
    },
}

/// How results are given to the PLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultMode {
    /// One result at a time in the result registers. With BufferEnable up to eight parts wait there, each until it is acknowledged.
    Single,
    /// Sixteen results side by side, found by their cycle ID.
    Window,
}

/// Where a part's serial number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SerialMode {
    /// Sampled with the cycle ID.
    #[default]
    WithTrigger,
    /// Latched by SetUserData before the trigger, for the next part that is taken.
    Latched {
        /// Whether a part without one is missed.
        required: bool,
    },
}

/// A recipe, as far as the line needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipePlan {
    /// Its number, not 0, unlike any other's.
    pub number: u16,
    /// Its first inspection; the others follow.
    pub first: InspectionIndex,
    /// The camera of each inspection, at least one.
    pub cameras: Vec<CameraIndex>,
}

impl RecipePlan {
    /// Recipes by number, with the camera of each inspection. Inspections are counted through all of them.
    pub fn all(recipes: impl IntoIterator<Item = (u16, Vec<CameraIndex>)>) -> Vec<Self> {
        let mut next = 0;
        let plan = |(number, cameras): (u16, Vec<CameraIndex>)| {
            let first = next;
            next += cameras.len();
            Self { number, first, cameras }
        };
        recipes.into_iter().map(plan).collect()
    }
}

/// Everything the line needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct LineConfig {
    /// Whether the gate has a sensor of its own: a part that nobody announced is then told apart there. Without one it shifts every part behind it.
    pub gate_sees_parts: bool,
    /// Name of the station, for records.
    pub station: String,
    /// How frames find their part.
    pub trigger_source: TriggerSource,
    /// How results are given.
    pub result_mode: ResultMode,
    /// From the trigger (hardware trigger: the exposure) to the image that shows the outcome.
    pub deadline: Duration,
    /// How long Accept stays.
    pub accept_hold: Duration,
    /// How long a trigger may have torn numbers.
    pub torn: Duration,
    /// How long after TriggerReady dropped for want of a slot an edge is still taken.
    pub trigger_grace: Duration,
    /// Without a heartbeat for so long the PLC is lost.
    pub heartbeat_timeout: Duration,
    /// Whether the PLC counts cycle IDs up by one.
    pub sequential: bool,
    /// Where serial numbers come from.
    pub serial: SerialMode,
    /// Whether nothing is real: no part is passed, and the PLC is told.
    pub simulated: bool,
    /// How many inferences run at a time.
    pub workers: usize,
    /// How many cameras there are.
    pub cameras: usize,
    /// What rides along with every part.
    pub tags: Vec<TagPlan>,
    /// What the PLC can choose from, at least one. With several, none is in force until the PLC has chosen: whoever starts anew does not know
    /// what was chosen before.
    pub recipes: Vec<RecipePlan>,
    /// Checksum of configuration, recipe and models.
    pub config_checksum: u32,
}
