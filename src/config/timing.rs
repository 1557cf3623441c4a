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
    /// Where the station polls the PLC: how long an answer of the PLC takes at most.
    pub exchange: Option<Duration>,
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
            match self.exchange {
                None => Term {
                    name: "2 x (poll_ms + scan_ms)",
                    meaning: "the trigger reaches the station, the result reaches the PLC",
                    time: 2 * (self.poll + self.scan),
                },
                // The write of the result is part of deadline_ms; that of the trigger is a reading that takes its time.
                Some(exchange) => Term {
                    name: "2 x (poll_ms + scan_ms) + plc_write_ms_max",
                    meaning: "the trigger is read by the station, the result is seen by the PLC",
                    time: 2 * (self.poll + self.scan) + exchange,
                },
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn timing(trigger_to_gate: u64) -> GateTiming {
        GateTiming {
            poll: millis(10),
            scan: millis(5),
            exchange: None,
            deadline: millis(200),
            gate_actuation: millis(20),
            margin: millis(10),
            trigger_to_gate: millis(trigger_to_gate),
        }
    }

    fn pace(result_mode: ResultMode) -> Pace {
        Pace {
            handshake: timing(0).handshake(),
            part_interval_min: millis(40),
            result_mode,
            outcome: millis(200),
            accept_hold: millis(550),
        }
    }

    #[test]
    fn the_way_to_the_gate_is_long_enough_when_it_is_as_long_as_all_terms() {
        assert_eq!(timing(0).terms().map(|term| term.time), [30, 200, 20, 10].map(millis));
        assert_eq!(timing(0).needed(), millis(260));
        assert_eq!(timing(259).slack(), None);
        assert_eq!(timing(260).slack(), Some(Duration::ZERO));
        assert_eq!(timing(400).slack(), Some(millis(140)));
        let polled = GateTiming {
            exchange: Some(millis(50)),
            ..timing(310)
        };
        assert_eq!((polled.needed(), polled.slack()), (millis(310), Some(Duration::ZERO)));
    }

    #[test]
    fn parts_come_no_faster_than_the_slowest_limit() {
        let window = pace(ResultMode::Window);
        assert_eq!(window.limits().map(|limit| limit.interval), [50, 40, 50].map(millis));
        assert!((window.trigger_rate_hz_max() - 20.0).abs() < 1e-9);
        let single = pace(ResultMode::Single);
        assert_eq!(single.limits().map(|limit| limit.interval), [50, 40, 200].map(millis));
        assert!((single.trigger_rate_hz_max() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn fifteen_parts_at_the_smallest_interval_fit_into_the_window() {
        assert_eq!(pace(ResultMode::Window).accept_hold_max(), Some(millis(400)));
        let fits = Pace {
            accept_hold: millis(400),
            ..pace(ResultMode::Window)
        };
        assert_eq!(fits.result_limit().interval, millis(40));
        let too_long = Pace {
            accept_hold: millis(401),
            ..fits
        };
        assert!(too_long.result_limit().interval > millis(40));
        let hopeless = Pace {
            part_interval_min: millis(13),
            ..fits
        };
        assert_eq!(hopeless.accept_hold_max(), None);
    }

    #[test]
    fn a_wired_trigger_holds_its_slot_from_the_announcement() {
        let hardware = TriggerSource::Hardware { arm_window: millis(30) };
        assert_eq!(time_to_outcome(hardware, millis(200)), millis(230));
        let plc = TriggerSource::Plc { frame_window: millis(30) };
        assert_eq!(time_to_outcome(plc, millis(200)), millis(200));
    }

    #[test]
    fn milliseconds_are_as_long_as_they_need_to_be() {
        assert_eq!([millis(0), millis(100), Duration::from_micros(1500)].map(ms), ["0", "100", "1.5"]);
    }
}
