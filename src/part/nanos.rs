//! Time as the line knows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: nanoseconds of the machine's monotonic clock (`CLOCK_MONOTONIC`), which starts at boot and is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The moment `milliseconds` after the clock's start.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds * 1_000_000)
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How far this and another moment are apart.
    pub fn apart(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }

    /// This moment less a time; not before the clock's start.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(time)))
    }
}

impl std::ops::Add<Duration> for Nanos {
    type Output = Self;

    /// Stays at the end of time (584 years after boot) rather than wrapping.
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

/// How far the clock on the wall can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockQuality {
    /// It cannot be right: it says that it is before the first takt.
    Implausible,
    /// Nothing sets it.
    #[default]
    Unsynchronised,
    /// Something disciplines it, by NTP or PTP.
    Synchronised,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
