//! What lies between threads: bounded channels that say what happens when they are full, and the clock they all read; and sockets that listen
//! before the network is there.

mod channel;
mod clock;
mod listen;

pub use channel::{NothingReceived, Receiver, Sender, WhenFull, bounded};
pub use clock::{clock_is_plausible, clock_quality, now, unix_now_ns};
pub use listen::listen;
