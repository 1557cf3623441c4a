//! The words every stage shares: which part, when, what was found on it and what was decided about it. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | verdicts, findings, regions |
//! | `reason.rs` | why a part is not Ok: numbers, words, remedies |
//! | `severity.rs` | how bad a defect is |
//! | `cycle.rs` | the cycle ID that the PLC mints |
//! | `nanos.rs` | time as the line knows it |
//! | `record.rs` | everything that is known about one part in the end |

mod cycle;
mod nanos;
mod reason;
mod record;
mod severity;

use serde::{Deserialize, Serialize};

pub use cycle::CycleId;
pub use nanos::{ClockQuality, Nanos};
pub use reason::Reason;
pub use record::{Delivery, Disposition, ModelIdentity, Outcome, PartRecord, StageTimes, Tag, View};
pub use severity::Severity;

/// The decision about a part. The values follow OPC 40100-1 (Machine Vision) evaluation states; `Undefined` (0) exists only on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The part is good.
    Ok,
    /// The part has a defect.
    NotOk,
    /// The part could not be judged; it is treated as a reject.
    NotDecidable,
}

impl Verdict {
    /// The name used in JSON, tables and file names: `ok`, `not_ok` or `not_decidable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "not_ok",
            Self::NotDecidable => "not_decidable",
        }
    }

    /// The number on the wire (OPC 40100-1); 0 is undefined and no verdict.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 1,
            Self::NotOk => 2,
            Self::NotDecidable => 3,
        }
    }

    /// The verdict of a number on the wire; `None` for undefined and unknown ones.
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Ok),
            2 => Some(Self::NotOk),
            3 => Some(Self::NotDecidable),
            _ => None,
        }
    }
}

/// A rectangle of a frame, in its pixels; not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Left edge, pixels.
    pub x: u32,
    /// Top edge, pixels.
    pub y: u32,
    /// Width, pixels, at least 1.
    pub width: u32,
    /// Height, pixels, at least 1.
    pub height: u32,
}

impl Region {
    /// A whole image.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// Whether it is not empty and lies inside a frame of `width` x `height` pixels.
    pub fn is_within(self, width: u32, height: u32) -> bool {
        let inside = |start: u32, length: u32, end: u32| length > 0 && start.checked_add(length).is_some_and(|stop| stop <= end);
        inside(self.x, self.width, width) && inside(self.y, self.height, height)
    }
}

/// One defect on a part, in pixels of the image that was inspected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Class of the defect; `anomaly` for models that were taught from good parts only.
    pub class: String,
    /// Highest anomaly score inside the region, in the model's own unit.
    pub score: f32,
    /// Left edge, pixels.
    pub x: u32,
    /// Top edge, pixels.
    pub y: u32,
    /// Width, pixels, at least 1.
    pub width: u32,
    /// Height, pixels, at least 1.
    pub height: u32,
    /// Area of the region, pixels.
    pub area_px: u32,
    /// How large it is and where, as far as that is known.
    #[serde(flatten)]
    pub measures: Measures,
    /// How bad it is, where a criterion of the recipe says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl Finding {
    /// Something that is somewhere in a region: the box is all of it, and how large it is is not known.
    pub fn somewhere_in(region: Region, class: &str, score: f32) -> Self {
        Self {
            class: class.into(),
            score,
            x: region.x,
            y: region.y,
            width: region.width,
            height: region.height,
            area_px: region.width.saturating_mul(region.height),
            measures: Measures::default(),
            severity: None,
        }
    }
}

/// Measures of a finding. Millimetres are known where the scale of the camera is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// Its longest extent in any direction (greatest Feret diameter), pixels; of a box its diagonal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_px: Option<f32>,
    /// The same, millimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_mm: Option<f32>,
    /// Its area, square millimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area_mm2: Option<f32>,
    /// Middle of its box, millimetres from the left edge of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_mm: Option<f32>,
    /// Middle of its box, millimetres from the top edge of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_mm: Option<f32>,
}
