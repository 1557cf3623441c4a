//! Everything that is known about one part in the end.

use serde::{Deserialize, Serialize};

use super::{CycleId, Finding, Nanos, Reason, Severity, Verdict};

/// What was decided about a part, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The decision.
    pub verdict: Verdict,
    /// Why, unless it is Ok.
    pub reason: Option<Reason>,
}

impl Outcome {
    /// The part is good.
    pub const OK: Self = Self {
        verdict: Verdict::Ok,
        reason: None,
    };

    /// The part has a defect.
    pub const fn not_ok(reason: Reason) -> Self {
        Self {
            verdict: Verdict::NotOk,
            reason: Some(reason),
        }
    }

    /// The part could not be judged.
    pub const fn not_decidable(reason: Reason) -> Self {
        Self {
            verdict: Verdict::NotDecidable,
            reason: Some(reason),
        }
    }
}

/// Time spent on a part, stage by stage, microseconds. For several inspections the longest of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StageTimes {
    /// From the trigger to the arrival of the last frame.
    pub frame_us: u64,
    /// Waiting for an engine.
    pub queue_us: u64,
    /// Resizing and converting.
    pub preprocess_us: u64,
    /// The engine.
    pub infer_us: u64,
    /// Judging and finding.
    pub postprocess_us: u64,
    /// From the trigger to the image that shows the outcome.
    pub total_us: u64,
}

/// What one inspection of a part saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Name of the inspection in the recipe.
    pub inspection: String,
    /// Name of the camera.
    pub camera: String,
    /// The camera's own number of the frame.
    pub frame_counter: Option<u64>,
    /// When the frame was exposed.
    pub exposed_ns: Nanos,
    /// The part number stamped into the pixels of the very frame that was judged; `None` without a stamp.
    pub stamp: Option<u32>,
    /// The decision of this inspection.
    pub verdict: Verdict,
    /// Why, unless it is Ok.
    pub reason: Option<Reason>,
    /// Anomaly score; `None` where the engine gave none.
    pub score: Option<f32>,
    /// The score above which it is not Ok.
    pub threshold: Option<f32>,
    /// How bad the worst of it is, where a criterion of the recipe says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Where it is not Ok, or what was noted although it is, in pixels of the whole frame.
    pub findings: Vec<Finding>,
    /// The model that judged it; `None` where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelIdentity>,
}

/// Which model package, whatever folder it lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its manifest, which names the hash of every other file, in hexadecimal.
    pub sha256: String,
}

/// Name and value that ride along with a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// What it is: tool, lot, operator.
    pub name: String,
    /// Which one.
    pub value: String,
}

/// How a result left the station, on a wire on which the station writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The PLC confirmed the write, an Ok before its deadline; or it acknowledged the result.
    Confirmed,
    /// It was written, or was to be, and nobody knows whether the PLC has it.
    Unconfirmed,
}

/// What really happened to a part, as the PLC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It went on.
    Passed,
    /// It was rejected.
    Rejected,
    /// Somebody took it away.
    Removed,
}

impl Disposition {
    /// What a number on the wire means; `None` for 0 and unknown ones.
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Passed),
            2 => Some(Self::Rejected),
            3 => Some(Self::Removed),
            _ => None,
        }
    }
}

/// Everything that is known about one part. (station, epoch, sequence) is its key for good; cycle IDs repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Name of the station.
    pub station: String,
    /// Grows when the station's state is made anew.
    pub epoch: u64,
    /// Counts the outcomes of an epoch, from 1, without a gap.
    pub sequence: u64,
    /// The PLC's number of the part; `None` where it gave 0 or none that is valid.
    pub cycle_id: Option<CycleId>,
    /// The PLC's session the cycle ID belongs to.
    pub plc_session: u16,
    /// The station start the part belongs to.
    pub boot_id: u16,
    /// Number of the acquisition; 0 if none was started.
    pub acquisition_id: u32,
    /// Number of the result shown; 0 if none was shown.
    pub result_id: u32,
    /// Encoder position at the trigger.
    pub encoder: u32,
    /// Serial number the PLC gave, without padding.
    pub serial: String,
    /// Number of the recipe.
    pub recipe: u16,
    /// Checksum of configuration, recipe and models.
    pub config_checksum: u32,
    /// The decision.
    pub verdict: Verdict,
    /// Why, unless it is Ok.
    pub reason: Option<Reason>,
    /// Number of the defect as the recipe assigns it, 0 for none.
    #[serde(default)]
    pub defect_code: u16,
    /// How bad the worst defect is, where a criterion of the recipe says so; of an Ok part, what was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What the engine found, where the verdict does not say it: the deadline had passed, or Bypass was set.
    pub measured: Option<Outcome>,
    /// Whether the PLC marked it as a test part: out of the counters, never accepted.
    pub test_part: bool,
    /// Whether this is read back from the black box after a restart.
    pub recovered: bool,
    /// Whether this only adds what the engine found after the outcome was final (`measured`); the outcome is unchanged.
    pub late_findings: bool,
    /// Unix time of the trigger, nanoseconds; 0 if unknown.
    pub triggered_unix_ns: i64,
    /// Monotonic time of the trigger.
    pub triggered_ns: Nanos,
    /// Monotonic time the outcome had to be shown before.
    pub deadline_ns: Nanos,
    /// Monotonic time of the image that first showed the outcome, or recorded it where it is not shown.
    pub shown_ns: Nanos,
    /// Where the time went.
    pub stages: StageTimes,
    /// What each inspection saw.
    pub views: Vec<View>,
    /// What rode along with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Whether the PLC has the result; `None` where none was shown, or where the PLC reads results itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}
