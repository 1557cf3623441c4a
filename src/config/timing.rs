//! Whether a verdict is at the gate before its part, and how fast parts may come. Pure.
//!
//! All times are worst cases: a change on either side waits for a whole poll and a whole PLC scan before the other side acts on it.

use std::time::Duration;

use crate::line::config::{ResultMode, TriggerSource};

/// Parts of window mode that may hold a slot at regular triggers: of the sixteen, one is kept for an edge within the grace time.
pub const WINDOW_PARTS_MAX: u32 = 15;

/// The times that decide whether a verdict is in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateTiming {
    /// How often the PLC asks and writes.
    pub poll: Duration,
    /// One scan of the PLC's program.
    pub scan: Duration,
    /// From the trigger (hardware trigger: the exposure) to the image that shows the outcome, at most.
    pub deadline: Duration,
    /// From the PLC's output to a gate that stands.
    pub gate_actuation: Duration,
    /// What is kept in hand.
    pub margin: Duration,
    /// From the trigger (hardware trigger: the exposure) to the part's arrival at the gate.
    pub trigger_to_gate: Duration,
}

/// One summand of the time a verdict needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The key it comes from, or what it is.
    pub name: &'static str,
    /// What happens in this time.
    pub meaning: &'static str,
    /// How long it is.
    pub time: Duration,
}

impl GateTiming {
    /// The summands, in the order of the data path.
    pub fn terms(&self) -> [Term; 4] {
        [
            Term {
                name: "2 x (poll_ms + scan_ms)",
                meaning: "the trigger reaches the station, the result reaches the PLC",
                time: 2 * (self.poll + self.scan),
            },
            Term {
                name: "deadline_ms",
                meaning: "the station shows an outcome",
                time: self.deadline,
            },
            Term {
                name: "gate_actuation_ms",
                meaning: "the gate moves",
                time: self.gate_actuation,
            },
            Term {
                name: "margin_ms",
                meaning: "kept in hand",
                time: self.margin,
            },
        ]
    }

    /// The sum of all terms: the shortest way to the gate that is long enough.
    pub fn needed(&self) -> Duration {
        self.terms().iter().map(|term| term.time).sum()
    }

    /// How much of the way is left over; `None` if the part is at the gate before its verdict.
    pub fn slack(&self) -> Option<Duration> {
        self.trigger_to_gate.checked_sub(self.needed())
    }

    /// How long one trigger handshake takes: Trigger up, answer, Trigger down, ready again.
    pub fn handshake(&self) -> Duration {
        4 * self.poll + 2 * self.scan
    }
}

/// What decides how fast parts may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long one trigger handshake takes.
    pub handshake: Duration,
    /// Smallest time between two parts that the line has.
    pub part_interval_min: Duration,
    /// How results are given.
    pub result_mode: ResultMode,
    /// From the trigger to the image that shows the outcome, at most; see [`time_to_outcome`].
    pub outcome: Duration,
    /// How long Accept stays.
    pub accept_hold: Duration,
}

/// One reason why parts may not come faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What takes the time.
    pub meaning: &'static str,
    /// The smallest time between two parts.
    pub interval: Duration,
}

/// How long a part may be open: with a hardware trigger its deadline counts from the exposure, which may come `arm_window` after the trigger.
pub fn time_to_outcome(source: TriggerSource, deadline: Duration) -> Duration {
    match source {
        TriggerSource::Hardware { arm_window } => arm_window + deadline,
        TriggerSource::Plc { .. } | TriggerSource::FreeRun { .. } => deadline,
    }
}

impl Pace {
    /// Every limit.
    pub fn limits(&self) -> [Limit; 3] {
        [
            Limit {
                meaning: "trigger handshake: 4 polls + 2 scans",
                interval: self.handshake,
            },
            Limit {
                meaning: "the line: part_interval_ms_min",
                interval: self.part_interval_min,
            },
            self.result_limit(),
        ]
    }

    /// What the result mode allows when every part takes its whole deadline.
    pub fn result_limit(&self) -> Limit {
        match self.result_mode {
            ResultMode::Single => Limit {
                meaning: "single mode: one part open, until its deadline",
                interval: self.outcome,
            },
            ResultMode::Window => Limit {
                meaning: "window mode: 15 parts open or held",
                interval: div_ceil(self.outcome + self.accept_hold, WINDOW_PARTS_MAX),
            },
        }
    }

    /// The longest `accept_hold` with which the slots of window mode suffice; `None` where none does.
    pub fn accept_hold_max(&self) -> Option<Duration> {
        (WINDOW_PARTS_MAX * self.part_interval_min).checked_sub(self.outcome)
    }

    /// Parts per second that are sure to be taken.
    pub fn trigger_rate_hz_max(&self) -> f64 {
        let longest = self.limits().map(|limit| limit.interval).into_iter().max().unwrap_or_default();
        1.0 / longest.as_secs_f64()
    }
}

/// Division that never comes out too short.
fn div_ceil(time: Duration, by: u32) -> Duration {
    let floor = time / by;
    if floor * by < time {
        floor + Duration::from_nanos(1)
    } else {
        floor
    }
}

/// Milliseconds as people read them: as many decimals as it takes, at most three.
pub fn ms(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64() * 1e3);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
