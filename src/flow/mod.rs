//! What lies between threads: bounded channels that say what happens when they are full, and the clock they all read.

mod channel;
mod clock;

pub use channel::{NothingReceived, Receiver, Sender, WhenFull, bounded};
pub use clock::{ClockQuality, clock_quality, now, unix_now_ns};
