//! The cycle ID that the PLC mints.

use serde::{Deserialize, Serialize};

/// The PLC's number of a part: 1 to 2^31 - 1, then 1 again (PLCs have signed DINT). 0 on the wire is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct CycleId(u32);

impl CycleId {
    /// The first.
    pub const FIRST: Self = Self(1);
    /// The last before it starts again.
    pub const LAST: Self = Self(i32::MAX as u32);

    /// The ID of a number on the wire; `None` for 0 and above 2^31 - 1.
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// The number on the wire.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The ID that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        if self == Self::LAST { Self::FIRST } else { Self(self.0 + 1) }
    }

    /// How many steps of [`Self::next`] lead from `earlier` to this one: 0 to 2^31 - 2.
    pub fn steps_from(self, earlier: Self) -> u32 {
        if self >= earlier {
            self.0 - earlier.0
        } else {
            self.0 + (Self::LAST.0 - earlier.0)
        }
    }
}

impl std::fmt::Display for CycleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CycleId> for u32 {
    fn from(id: CycleId) -> Self {
        id.0
    }
}

impl TryFrom<u32> for CycleId {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("{number} is no cycle ID, they are 1 to {}", Self::LAST.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_last_comes_the_first() {
        assert_eq!(CycleId::LAST.next(), CycleId::FIRST);
        assert_eq!(CycleId::FIRST.steps_from(CycleId::LAST), 1);
        assert_eq!(CycleId::LAST.steps_from(CycleId::FIRST), i32::MAX as u32 - 1);
        assert_eq!(CycleId::FIRST.steps_from(CycleId::FIRST), 0);
    }

    #[test]
    fn zero_and_negative_dints_are_no_ids() {
        assert_eq!(CycleId::new(0), None);
        assert_eq!(CycleId::new(1 << 31), None);
        assert!(serde_json::from_str::<CycleId>("0").is_err());
    }
}
