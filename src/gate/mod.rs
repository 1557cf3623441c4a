//! A gate that the station moves itself: which part is at it is told by the belt's encoder and by a sensor before the gate, and whatever is
//! not known to be good is rejected. Pure: readings, edges, triggers and outcomes go in with their time; what the outputs are to be, and what
//! became of each part, comes out.
//!
//! Everything is measured in counts of the encoder. A place on the belt goes by its *mark*: the position of the odometer when that place was
//! at the trigger. It is at a sensor `d` counts further on when the position is its mark plus `d`.
//!
//! ```text
//!  trigger             sensor of the gate          gate
//! ────┼───────────────────────┼──────────────────────┼─────────> belt
//!     0                    sensor                  gate          counts from the trigger
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | what happens, what became of parts |
//! | `config.rs` | where things are, what fits together |
//! | `odometer.rs` | readings that wrap and jump become a position; time in place of an encoder |
//! | `quadrature.rs` | the two channels of an encoder become steps |
//! | `tracker.rs` | parts from the trigger to the last gate |
//! | `approach.rs` | what the sensor of one gate saw, and what the gate does about it |
//! | `counters.rs` | what a PLC that counts at the gate says of it |
//! | `wiring.rs` | which GPIO line is what |
//! | `in_order.rs` | edges in the order in which they came |
//! | `board.rs` | the port to whatever the gate is wired to |
//! | `gpio.rs` | adapter to GPIO lines of Linux; not pure |
//! | `alarms.rs` | when the line is to stop: rejects in a row, too many of them, parts that are not where they should be |
//!
//! Promises: a part passes a gate only if its own outcome says so and nothing else can be meant; every ID ends in exactly one [`Fate`]; no
//! part is acted on twice.

pub mod alarms;
mod approach;
pub mod board;
pub mod config;
pub mod counters;
pub mod gpio;
pub mod in_order;
mod odometer;
pub mod quadrature;
#[cfg(test)]
mod tests;
mod tracker;
pub mod wiring;

pub use tracker::Tracker;

use crate::part::{CycleId, Severity, Verdict};

/// A gate of the station, by its place in the configuration, which is that along the belt.
pub type GateIndex = usize;

/// A part as the PLC names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// The PLC's session: cycle IDs are unique within it.
    pub plc_session: u16,
    /// Its number.
    pub cycle_id: CycleId,
}

/// What an outcome means to gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// It may pass all of them.
    Ok,
    /// Its worst defect hardly matters.
    Minor,
    /// It is likely to fail.
    Major,
    /// It may hurt somebody; also where nobody said how bad the defect is.
    Critical,
    /// It could not be judged.
    NotDecidable,
}

impl Grade {
    /// Every grade that some gate must reject.
    pub const REJECTED: [Self; 4] = [Self::Minor, Self::Major, Self::Critical, Self::NotDecidable];

    /// The grade of an outcome. `severity` is that of the worst defect.
    pub fn of(verdict: Verdict, severity: Option<Severity>) -> Self {
        match (verdict, severity) {
            (Verdict::Ok, _) => Self::Ok,
            (Verdict::NotDecidable, _) => Self::NotDecidable,
            (Verdict::NotOk, Some(Severity::Minor)) => Self::Minor,
            (Verdict::NotOk, Some(Severity::Major)) => Self::Major,
            (Verdict::NotOk, Some(Severity::Critical) | None) => Self::Critical,
        }
    }

    /// The name used in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
            Self::NotDecidable => "not_decidable",
        }
    }
}

/// What happens at the belt. Each is told with its time, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing happened but time.
    Tick,
    /// The encoder says this; see [`config::Travel::Encoder`].
    Encoder {
        /// Its reading.
        reading: u32,
    },
    /// Counts of the encoder were lost: where parts are is not known any more.
    EncoderLost,
    /// The belt moves, or stands.
    Belt {
        /// Whether it moves.
        running: bool,
    },
    /// A pocket of the belt begins at the trigger; see [`config::Origin::Index`].
    Index,
    /// A part was at the trigger.
    Triggered {
        /// Which.
        id: PartId,
        /// What the encoder said then; `None`: what it says now.
        reading: Option<u32>,
    },
    /// A part has its outcome.
    Decided {
        /// Which.
        id: PartId,
        /// What it means.
        grade: Grade,
    },
    /// Something reached the sensor of a gate.
    PartSeen {
        /// Which gate.
        gate: GateIndex,
        /// What the encoder said then; `None`: what it says now.
        reading: Option<u32>,
    },
    /// The sensor of a gate is free again.
    PartGone {
        /// Which gate.
        gate: GateIndex,
    },
    /// Something was ejected at a gate.
    Ejected {
        /// Which gate.
        gate: GateIndex,
    },
    /// Gates must not move, or may again.
    Inhibit(bool),
    /// Whatever is on the belt is to be rejected: the PLC began a new session.
    Void,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It passed the last gate.
    Passed,
    /// It was, or will be, rejected.
    Rejected(RejectCause),
    /// It did not come to the gate: somebody took it away.
    Removed,
}

/// Why a part was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectCause {
    /// Its outcome says so.
    Graded(Grade),
    /// It had no outcome when the gate had to move.
    Undecided,
    /// Another ID lies in the same pocket or window.
    SharedWindow,
    /// More than one part came in its pocket or window.
    SeveralParts,
    /// What came is longer than a part: parts that touch.
    TooLong,
    /// What must be rejected is too near for the gate to tell them apart.
    TooClose,
    /// Where it is was not known any more.
    EncoderJump,
    /// The PLC began a new session.
    SessionEnded,
    /// The gate had to stay as it was.
    Inhibited,
    /// The belt went back while the gate was open for it.
    Reversed,
    /// The gate was open for it too long.
    Stood,
    /// The gate was told too late where it is.
    Overrun,
    /// Nobody could say where it was triggered.
    NoPosition,
    /// More parts are on the belt than are tracked.
    TrackerFull,
    /// What the gate is wired to did not work.
    BoardFailed,
}

impl RejectCause {
    /// The name used in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graded(grade) => grade.name(),
            Self::Undecided => "undecided",
            Self::SharedWindow => "shared_window",
            Self::SeveralParts => "several_parts",
            Self::TooLong => "too_long",
            Self::TooClose => "too_close",
            Self::EncoderJump => "encoder_jump",
            Self::SessionEnded => "session_ended",
            Self::Inhibited => "inhibited",
            Self::Reversed => "reversed",
            Self::Stood => "stood",
            Self::Overrun => "overrun",
            Self::NoPosition => "no_position",
            Self::TrackerFull => "tracker_full",
            Self::BoardFailed => "board_failed",
        }
    }
}

/// What the tracker has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// What became of a part: exactly once for each that was triggered.
    Fate {
        /// Which.
        id: PartId,
        /// What.
        fate: Fate,
        /// At which gate; `None`: before it came to one.
        gate: Option<GateIndex>,
    },
    /// A part that nobody announced came to a gate, and is rejected.
    Untracked {
        /// Which gate.
        gate: GateIndex,
    },
    /// What was to be ejected was not, as far as the confirmation says.
    NotEjected {
        /// Which gate.
        gate: GateIndex,
        /// Which part, where it has an ID.
        id: Option<PartId>,
    },
    /// Something was ejected that should not have been.
    EjectedUnasked {
        /// Which gate.
        gate: GateIndex,
    },
    /// The encoder's step was longer than the belt can have gone: everything on it is rejected.
    EncoderJump {
        /// The step, counts; 0 where counts were lost.
        step: i64,
    },
}
