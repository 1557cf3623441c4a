//! The clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::part::Nanos;

/// Now, by the clock that is never set.
pub fn now() -> Nanos {
    Nanos(nanoseconds(clock_gettime(ClockId::Monotonic)) as u64)
}

/// Now, by the clock on the wall: nanoseconds since 1970. It may be set at any time.
pub fn unix_now_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
