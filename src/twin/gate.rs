//! The gate behind the camera: a part passes only if everything the pass rule asks for holds; the default is reject. Pure.

use std::time::Duration;

use super::facts::{Answer, Cycle, GateReason};
use crate::part::{Nanos, Verdict};

/// The pass rule and where the gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// From the trigger to the part's arrival at the gate.
    pub trigger_to_gate: Duration,
    /// How long the gate takes to move.
    pub actuation: Duration,
}

impl Gate {
    /// When the part timer of a part triggered at `raised` expires: the gate must move now or stay shut.
    pub fn decides_at(&self, raised: Nanos) -> Nanos {
        raised + self.trigger_to_gate.saturating_sub(self.actuation)
    }

    /// What the gate does with a part once its timer has expired. `station_alive`: its heartbeat has not stopped.
    pub fn decide(&self, cycle: &Cycle, station_alive: bool) -> GateReason {
        if let Some(reason) = cycle.voided {
            return reason;
        }
        if !station_alive {
            return GateReason::StationLost;
        }
        let in_time = cycle.read.filter(|read| read.received <= self.decides_at(cycle.raised));
        match in_time.map(|read| read.verdict) {
            Some(Verdict::Ok) if cycle.contradiction.is_none() => GateReason::Pass,
            Some(Verdict::Ok | Verdict::NotOk) => GateReason::NotOk,
            Some(Verdict::NotDecidable) => GateReason::NotDecidable,
            None if cycle.answer == Some(Answer::Missed) => GateReason::Missed,
            None => GateReason::NoResult,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::CycleId;
    use crate::twin::facts::{CycleKey, Read};

    const GATE: Gate = Gate {
        trigger_to_gate: Duration::from_millis(400),
        actuation: Duration::from_millis(20),
    };

    fn cycle(verdict: Option<(Verdict, u64)>) -> Cycle {
        let key = CycleKey {
            plc_session: 1,
            cycle_id: CycleId::FIRST,
        };
        let mut cycle = Cycle::new(key, 1, 7, Nanos::from_millis(1000));
        cycle.read = verdict.map(|(verdict, milliseconds)| Read {
            verdict,
            result_id: 1,
            reason_code: 0,
            received: Nanos::from_millis(milliseconds),
            not_yet: None,
        });
        cycle
    }

    #[test]
    fn only_an_ok_in_time_from_a_living_station_passes() {
        let ok = cycle(Some((Verdict::Ok, 1380)));
        assert_eq!(GATE.decide(&ok, true), GateReason::Pass);
        assert_eq!(GATE.decide(&ok, false), GateReason::StationLost);
        assert_eq!(GATE.decide(&cycle(Some((Verdict::Ok, 1381))), true), GateReason::NoResult);
        assert_eq!(GATE.decide(&cycle(Some((Verdict::NotOk, 1100))), true), GateReason::NotOk);
        assert_eq!(
            GATE.decide(&cycle(Some((Verdict::NotDecidable, 1100))), true),
            GateReason::NotDecidable
        );
        assert_eq!(GATE.decide(&cycle(None), true), GateReason::NoResult);
    }

    #[test]
    fn what_was_voided_or_contradicted_does_not_pass() {
        let mut voided = cycle(Some((Verdict::Ok, 1100)));
        voided.voided = Some(GateReason::StationRestarted);
        assert_eq!(GATE.decide(&voided, true), GateReason::StationRestarted);
        let mut contradicted = cycle(Some((Verdict::Ok, 1100)));
        contradicted.contradiction = Some(Verdict::NotOk);
        assert_eq!(GATE.decide(&contradicted, true), GateReason::NotOk);
        let mut missed = cycle(None);
        missed.answer = Some(Answer::Missed);
        assert_eq!(GATE.decide(&missed, true), GateReason::Missed);
    }
}
