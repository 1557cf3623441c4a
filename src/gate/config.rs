//! Where trigger, sensors and gates are along the belt, in counts of the encoder, and what must fit together.

use std::time::Duration;

use super::Grade;

/// Most gates along one belt.
pub const GATES_MAX: usize = 4;

/// Parts between the trigger and the last gate that are tracked; what is announced beyond that is rejected as [`super::RejectCause::TrackerFull`].
pub const PARTS_MAX: usize = 256;

/// Things between the sensor of a gate and the gate; beyond that the gate rejects everything until it has gone by.
pub const THINGS_MAX: usize = 64;

/// How the station knows how far the belt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travel {
    /// By an encoder.
    Encoder {
        /// Its readings are 0 to this less 1, then 0 again: 2 to 2^32.
        modulus: u64,
    },
    /// By the time that the belt runs at `top_speed`, as its belt-running signal says.
    Time,
}

/// Which places of the belt a part that was triggered can lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pitch {
    /// The belt has pockets, one every `counts`, each for one part.
    Even {
        /// From one pocket to the next, counts.
        counts: i64,
        /// Where pockets begin.
        origin: Origin,
    },
    /// Parts lie anywhere.
    Random {
        /// How far from its place a part may come to the sensor, counts, either way.
        tolerance: i64,
    },
}

/// Where pockets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// At the trigger when the encoder says this.
    Reading(u32),
    /// At the trigger with each edge of an index signal; no part is tracked before the first.
    Index,
}

/// What a gate's output does to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// Without power it rejects: power fails, a wire breaks, the station dies, and no part passes.
    EnergiseToPass,
    /// Without power everything passes: only with an infeed interlock that stops parts on StopRequest and on a lost heartbeat.
    EnergiseToReject,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatePlan {
    /// What its output does.
    pub kind: GateKind,
    /// Which parts it takes off the belt. The last gate takes everything but Ok, whatever is said here.
    pub rejects: Vec<Grade>,
    /// From the trigger to its part sensor, counts.
    pub sensor: i64,
    /// From the trigger to the gate, counts.
    pub gate: i64,
    /// How long a part is at most along the belt, counts.
    pub part_length: i64,
    /// How far the belt goes at top speed while the gate moves, counts.
    pub lead: i64,
    /// What is kept free before and after a part, counts: half of it for how far the belt goes from one reading of the encoder to the next.
    pub margin: i64,
    /// How far behind the gate a part has gone at most when its ejection is confirmed, counts; `None`: nothing confirms it.
    pub confirm: Option<i64>,
    /// How long the output may be on for one part; after that a gate that is energised to pass is shut.
    pub open_max: Duration,
}

impl GatePlan {
    /// How far before a part the gate begins to act, and how far things must be apart for it to tell them apart, counts.
    pub fn reach(&self) -> i64 {
        self.lead + self.margin
    }

    /// How far the sensor must be before the gate at least, counts: what is within reach of a part was seen before the gate moves for it, and
    /// its window is over.
    pub fn approach_min(&self, pitch: &Pitch) -> i64 {
        let last_in_reach = self.part_length + 2 * self.reach();
        let window_over = pitch.width() + self.reach();
        last_in_reach.max(window_over) + 1
    }
}

impl Pitch {
    /// How much of the belt belongs to one part, counts.
    pub fn width(&self) -> i64 {
        match self {
            Self::Even { counts, .. } => *counts,
            Self::Random { tolerance } => 2 * tolerance + 1,
        }
    }
}

/// Everything that a tracker needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerConfig {
    /// How far the belt went.
    pub travel: Travel,
    /// Highest speed of the belt, counts a second, at least 1.
    pub top_speed: u64,
    /// How much further than top speed allows a single step may go: what is lost to the times of readings, counts.
    pub slack: i64,
    /// Which places belong to a part.
    pub pitch: Pitch,
    /// The gates along the belt.
    pub gates: Vec<GatePlan>,
}

/// What does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The sensor is too near to its gate.
    Approach {
        /// Which gate.
        gate: usize,
        /// How far the sensor must be before the gate, counts.
        least: i64,
    },
    /// The sensor is not behind the trigger, or not behind the gate before it.
    Order {
        /// Which gate.
        gate: usize,
        /// Where the sensor can be at the earliest, counts from the trigger.
        least: i64,
    },
    /// No gate rejects these.
    Unrejected(Grade),
    /// Pockets do not go into the encoder's modulus: after it wraps they would begin elsewhere.
    Modulus,
}

impl TrackerConfig {
    /// What does not fit together; nothing in a configuration that [`super::Tracker`] keeps its promises with.
    pub fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut least = self.pitch.width();
        for (gate, plan) in self.gates.iter().enumerate() {
            if plan.sensor < least {
                misfits.push(Misfit::Order { gate, least });
            }
            let approach = plan.approach_min(&self.pitch);
            if plan.gate.saturating_sub(plan.sensor) < approach {
                misfits.push(Misfit::Approach { gate, least: approach });
            }
            least = plan.gate.saturating_add(plan.part_length + plan.margin + self.pitch.width());
        }
        let rejected = |grade: &Grade| self.gates.iter().any(|plan| plan.rejects.contains(grade));
        misfits.extend(Grade::REJECTED.into_iter().filter(|grade| !rejected(grade)).map(Misfit::Unrejected));
        if let (
            Travel::Encoder { modulus },
            Pitch::Even {
                counts,
                origin: Origin::Reading(_),
            },
        ) = (self.travel, self.pitch)
            && i64::try_from(modulus).is_ok_and(|modulus| modulus % counts.max(1) != 0)
        {
            misfits.push(Misfit::Modulus);
        }
        misfits
    }
}
