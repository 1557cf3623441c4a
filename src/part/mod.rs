//! The words every stage shares: what was found on a part and what was decided about it. Pure.

use serde::{Deserialize, Serialize};

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
}

/// Why a part is not Ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The anomaly score is above the model's threshold.
    Anomaly,
    /// The image could not be read.
    Unreadable,
    /// The model gave a score or a map that is no number.
    ModelOutput,
}

impl Reason {
    /// The name used in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::Unreadable => "unreadable",
            Self::ModelOutput => "model_output",
        }
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
}
