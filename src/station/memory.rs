//! Memory that was needed once is kept for the next part.
//!
//! By default glibc returns freed memory of more than 128 KiB to the system and takes it again page by page, for every frame, map and
//! tensor: that costs a few milliseconds per part, at the worst moments.

#![allow(unsafe_code, reason = "the only way to tell glibc")]

/// Blocks up to this size come from memory that is kept: the most that glibc allows on 64 bits.
const KEPT_BYTES_MAX: i32 = 32 << 20;

/// Free memory that is kept, per thread that allocates.
const FREE_BYTES_MAX: i32 = 256 << 20;

/// Tells the allocator to keep what it has. Call once, before the station's threads start.
pub fn keep() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes plain numbers and changes settings of the allocator only; it answers 0 to a value it does not like, and then the
    // default stays.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREE_BYTES_MAX);
    }
}
