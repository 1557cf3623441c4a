//! The port to the PLC: what it says goes to the line as whole images, what the station says is read from the image shown.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | what a PLC does, and the image that it is shown |
//! | `code/` | the PLC's side as source for its engineering tool, from one definition; pure |
//! | `map.rs` | the register map as documents; pure |
//! | `signals.rs` | every signal: name, width, place, meaning, field; pure |
//! | `grpc.rs` | the handshake played for a line controller that speaks gRPC; pure |
//! | `delivery.rs` | which results reached a PLC that the station writes to; pure |
//! | `modbus/` | adapter to Modbus TCP, with the station as server or as client |

pub mod code;
pub mod delivery;
pub mod grpc;
pub mod map;
pub mod modbus;
pub mod signals;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::line::image::StationImage;

/// The image shown: swapped whole by the line thread, read by whoever answers a PLC.
pub type Shown = Arc<ArcSwap<StationImage>>;

/// What the PLC does. Sent to the line thread in the order it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlcEvent {
    /// The one writer connected.
    Connected,
    /// The one writer's connection ended.
    Lost,
    /// The one writer wrote. Fields as in [`crate::line::event::Event::PlcWrote`].
    Wrote {
        /// When the write was received.
        at: crate::part::Nanos,
        /// Everything the PLC says now.
        image: crate::line::image::PlcImage,
        /// Which bits of the control word the write covered.
        written: u16,
    },
}
