//! How bad a defect is.

use serde::{Deserialize, Serialize};

/// How bad a defect is: the three classes of acceptance sampling (MIL-STD-105E, definitions of critical, major and minor defects).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It hardly matters to whoever uses the part.
    Minor,
    /// The part is likely to fail, or to be sent back.
    Major,
    /// Somebody may be hurt by it.
    Critical,
}

impl Severity {
    /// Every severity, the worst last.
    pub const ALL: [Self; 3] = [Self::Minor, Self::Major, Self::Critical];

    /// The name used in configuration, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }
}
