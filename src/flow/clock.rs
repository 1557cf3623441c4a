//! The clocks.

#![allow(unsafe_code, reason = "asking the kernel whether something sets its clock")]

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::part::{ClockQuality, Nanos};

/// Now, by the clock that is never set.
pub fn now() -> Nanos {
    Nanos(nanoseconds(clock_gettime(ClockId::Monotonic)) as u64)
}

/// Now, by the clock on the wall: nanoseconds since 1970. It may be set at any time.
pub fn unix_now_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// 2026-11-01, Unix nanoseconds: before the first takt. Not 1970, because systemd sets a clock that stands there to the day when systemd was built.
const PLAUSIBLE_FROM: i64 = 1_793_491_200_000_000_000;

/// Whether [`unix_now_ns`] can be right at all.
pub fn clock_is_plausible() -> bool {
    unix_now_ns() >= PLAUSIBLE_FROM
}

/// How far [`unix_now_ns`] can be trusted now.
pub fn clock_quality() -> ClockQuality {
    if !clock_is_plausible() {
        return ClockQuality::Implausible;
    }
    // SAFETY: all zero is a valid `timex`, which asks for nothing to be changed.
    let mut ask: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` of our own that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut ask) };
    if state == -1 || state == libc::TIME_ERROR {
        ClockQuality::Unsynchronised
    } else {
        ClockQuality::Synchronised
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
